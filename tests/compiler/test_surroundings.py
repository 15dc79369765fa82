"""What a step refers to: state is found wherever it is, a change is noticed, and what a replay cannot do is refused."""

from __future__ import annotations

import collections
import functools
import random
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.compiler.plan import CompileError

from .twins import Twins, same, state

rng = np.random.default_rng(0)


def batch(n: int = 5) -> tuple[Any, Any]:
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 2))


class Trainer:
    """A user's own class: a net, an optimizer, and steps that reach them in different ways."""

    def __init__(self) -> None:
        self.net = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 2))
        self.optimizer = bp.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.5)
        self.parts = [self.net, {"optimizer": self.optimizer}]
        self.extra = bp.tensor([0.5, -1.0], requires_grad=True)

    @property
    def things(self) -> dict[str, Any]:
        return {"net": self.net, "optimizer": self.optimizer, "extra": self.extra}

    def step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        cost = ((self.net(x) - y) ** 2).mean() + (self.extra**2).sum()
        cost.backward()
        self.optimizer.step()
        return cost

    def in_a_list(self, x: Any, y: Any) -> Any:
        self.parts[1]["optimizer"].zero_grad()
        cost = ((self.parts[0](x) - y) ** 2).mean()
        cost.backward()
        self.parts[1]["optimizer"].step()
        return cost

    def layers(self) -> Any:
        yield from self.net

    def by_a_generator(self, x: Any, y: Any) -> Any:
        for p in self.net.parameters():
            p.grad = None
        for layer in self.layers():
            x = layer(x)
        cost = ((x - y) ** 2).mean()
        cost.backward()
        self.optimizer.step()
        return cost

    def __call__(self, x: Any, y: Any) -> Any:
        return self.step(x, y)


TRAINERS: dict[str, Trainer] = {}


def by_a_global(x: Any, y: Any) -> Any:
    return TRAINERS["now"].step(x, y)


def given(x: Any, y: Any, trainer: Trainer) -> Any:
    return trainer.step(x, y)


WAYS = {
    "a bound method": lambda t: t.step,
    "an object that is called": lambda t: t,
    "a list and a dict": lambda t: t.in_a_list,
    "a generator": lambda t: t.by_a_generator,
    "a closure": lambda t: lambda x, y: t.step(x, y),
    "a default": lambda t: lambda x, y, t=t: t.step(x, y),
    "a partial": lambda t: functools.partial(given, trainer=t),
    "a function inside": lambda t: lambda x, y: (lambda: t.step(x, y))(),
}


@pytest.mark.parametrize("way", WAYS)
def test_state_is_found_wherever_it_is(way: str) -> None:
    def make() -> Any:
        trainer = Trainer()
        return WAYS[way](trainer), trainer.things

    twins = Twins(make)
    for _ in range(4):
        twins.call(*batch())
    accumulates = way not in ("a list and a dict", "a generator")  # then another adds to what the first has left
    assert len(twins.compiled.recordings) == 1 + accumulates


def test_another_object_under_the_same_name_is_noticed() -> None:
    compiled, x, y = bp.compile(by_a_global), *batch()
    for k in range(3):
        bp.manual_seed(k)
        TRAINERS["now"] = Trainer()
        bp.manual_seed(k)
        twin = Trainer()
        for _ in range(2):
            same(compiled(x, y).data, twin.step(x, y).data, "loss", 1e-13)
        same(state(TRAINERS["now"].things), state(twin.things), "state", 1e-13)


FACTOR = 1.0


class Scaling:
    def scaled(self, x: Any) -> Any:
        return x * FACTOR


class Heir(Scaling):
    def __call__(self, x: Any) -> Any:
        return super().scaled(x)


def test_a_method_of_the_class_above_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, x = bp.compile(Heir()), bp.Tensor(np.ones(3))
    compiled(x)
    monkeypatch.setattr(f"{__name__}.FACTOR", 2.0)
    same(compiled(x).data, np.full(3, 2.0), "scaled")


# ---- changes between calls -------------------------------------------------------------------------------------------


def group(things: dict[str, Any]) -> Any:
    return things["optimizer"].param_groups[0]


def weight(things: dict[str, Any]) -> Any:
    return things["net"][0].weight


def memory(things: dict[str, Any]) -> list[dict[str, Any]]:
    return [kept for kept in things["optimizer"].state.values() if "momentum_buffer" in kept]


CHANGES = {
    "data replaced": lambda t: setattr(weight(t), "data", weight(t).data * 0.5),
    "data written": lambda t: weight(t).data.fill(0.25),
    "data in float32": lambda t: [setattr(p, "data", p.data.astype("float32")) for p in t["net"].parameters()],
    "frozen": lambda t: (setattr(weight(t), "requires_grad", False), setattr(weight(t), "grad", None)),
    "grad set": lambda t: setattr(weight(t), "grad", bp.Tensor(np.ones((4, 3)))),
    "grad forgotten": lambda t: t["optimizer"].zero_grad(),
    "grad written": lambda t: [p.grad.data.fill(1.0) for p in t["net"].parameters() if p.grad is not None],
    "eval": lambda t: t["net"].eval(),
    "an attribute of a layer": lambda t: setattr(t["net"][1], "negative_slope", 0.7),
    "a method of a layer": lambda t: setattr(t["net"][1], "forward", lambda x: x * 0.3),
    "a layer without its bias": lambda t: setattr(t["net"][0], "bias", None),
    "model.load_state_dict": lambda t: t["net"].load_state_dict({k: v * 0.5 for k, v in t["net"].state_dict().items()}),
    "optimizer.load_state_dict": lambda t: t["optimizer"].load_state_dict(t["optimizer"].state_dict()),
    "optimizer.load_state_dict of none": lambda t: t["optimizer"].load_state_dict(
        {"state": {}, "param_groups": t["optimizer"].state_dict()["param_groups"]}
    ),
    "state_dict taken and changed": lambda t: [v.fill(9.0) for v in t["net"].state_dict().values()],
    "memory forgotten": lambda t: [kept.pop("momentum_buffer") for kept in memory(t)],
    "memory replaced": lambda t: [kept.update(momentum_buffer=kept["momentum_buffer"] * 2) for kept in memory(t)],
    "memory written": lambda t: [kept["momentum_buffer"].fill(0.5) for kept in memory(t)],
    "add_param_group": lambda t: t["optimizer"].add_param_group({"params": [t["extra"]], "lr": 0.3}),
    "another group": lambda t: t["optimizer"].param_groups.__setitem__(0, group(t) | {"lr": 0.3}),
    "check_finite": lambda t: setattr(t["optimizer"], "check_finite", False),
    "weight_decay": lambda t: group(t).update(weight_decay=0.1),
    "no momentum": lambda t: group(t).update(momentum=0.0),
    "nesterov": lambda t: group(t).update(nesterov=True),
    "nesterov without momentum": lambda t: group(t).update(nesterov=True, momentum=0.0),
    "lr as an int": lambda t: group(t).update(lr=1),
    "lr of NumPy": lambda t: group(t).update(lr=np.float32(0.25)),
}


@pytest.mark.parametrize("zero", ["start", "never", "end"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_calls_takes_effect(change: str, zero: str) -> None:
    def make() -> Any:
        trainer = Trainer()

        def step(x: Any, y: Any) -> Any:
            if zero == "start":
                trainer.optimizer.zero_grad()
            cost = ((trainer.net(x) - y) ** 2).mean() + (trainer.extra**2).sum()
            cost.backward()
            trainer.optimizer.step()
            if zero == "end":
                trainer.optimizer.zero_grad()
            return cost

        return step, trainer.things

    twins = Twins(make, 1e-5 if "float32" in change else 1e-12)
    for _ in range(3):
        twins.call(*batch())
    twins.both(CHANGES[change])
    for _ in range(3):
        twins.call(*batch())
    recordings = len(twins.compiled.recordings)
    for _ in range(3):
        twins.call(*batch())
    assert len(twins.compiled.recordings) == recordings


# ---- what a replay would not repeat ----------------------------------------------------------------------------------


class Log:
    def __init__(self) -> None:
        self.count, self.lines, self.array = 0, [], np.zeros(3)


LOG, COUNT, LINES, TABLE, SEEN, LAST = Log(), 0, [], {"a": [1]}, {1}, collections.deque([1])
FIXED, OWN = (np.zeros(3),), np.random.default_rng(5)


def counted() -> None:
    global COUNT
    COUNT += 1


def learning_rate(t: Trainer, value: float) -> None:
    t.optimizer.param_groups[0]["lr"] *= value


EFFECTS: dict[str, tuple[Any, str]] = {
    "an attribute": (lambda t: setattr(LOG, "count", LOG.count + 1), "changes 'LOG.count'"),
    "a new attribute": (lambda t: setattr(LOG, "fresh", 1), "changes 'LOG.fresh'"),
    "an attribute of a module": (
        lambda t: setattr(t.net[1], "negative_slope", 0.1),
        "changes 'trainer.net._stages\\[1\\].negative_slope'",
    ),
    "a list of an object": (lambda t: LOG.lines.append(1), "changes 'LOG.lines'"),
    "a global": (lambda t: counted(), "changes 'COUNT'"),
    "a list": (lambda t: LINES.append(1), "changes 'LINES'"),
    "a list in a dict": (lambda t: TABLE["a"].append(1), r"changes 'TABLE\['a'\]'"),
    "a dict": (lambda t: TABLE.update(b=2), "changes 'TABLE.b'"),
    "a set": (lambda t: SEEN.add(2), "changes 'SEEN'"),
    "a deque": (lambda t: LAST.append(2), "changes 'LAST'"),
    "an array in a tuple": (lambda t: FIXED[0].fill(1.0), "writes into an array"),
    "an array in a tuple, by a stand-in": (lambda t: np.add(t.extra.data[0], FIXED[0], out=FIXED[0]), "writes into an"),
    "the mode": (lambda t: t.net.eval(), "changes 'trainer.net.training'"),
    "Python's generator": (lambda t: random.random(), "draws from a random generator of its own"),
    "NumPy's generator": (lambda t: np.random.rand(), "draws from a random generator of its own"),
    "a generator": (lambda t: OWN.normal(), "draws from a random generator of its own"),
    "a new seed": (lambda t: bp.manual_seed(3), "calls manual_seed"),
    "lr": (lambda t: learning_rate(t, 0.5), "changes lr in param_groups"),
    "a group": (
        lambda t: t.optimizer.add_param_group({"params": [bp.tensor(1.0, requires_grad=True)]}),
        "adds a group",
    ),
}


@pytest.mark.parametrize("effect", EFFECTS)
def test_what_a_replay_would_not_repeat_is_refused_and_undone(effect: str) -> None:
    change, message = EFFECTS[effect]
    trainer, (x, y) = Trainer(), batch()
    trainer.step(x, y)

    def step(x: Any, y: Any) -> Any:
        cost = trainer.step(x, y)
        bp.randn(2)
        change(trainer)
        return cost

    def everything() -> Any:
        kept = [LOG.count, sorted(vars(LOG)), LOG.lines[:], LOG.array.copy(), COUNT, LINES[:], {"a": TABLE["a"][:]}]
        kept += [list(TABLE), sorted(SEEN), list(LAST), FIXED[0].copy(), OWN.bit_generator.state["state"]["state"]]
        kept += [random.getstate(), np.random.get_state()[1].copy(), str(bp.random.generator().bit_generator.state)]
        kept += [trainer.net.training, trainer.net[1].negative_slope, len(trainer.optimizer.param_groups)]
        return [*kept, state(trainer.things)]

    before = everything()
    compiled = bp.compile(step)
    with pytest.raises(CompileError, match=message):
        compiled(x, y)
    same(everything(), before, "left behind")
    assert not compiled.recordings
    assert FIXED[0].flags.writeable


def test_draws_are_noticed_however_arrays_are_printed() -> None:
    with np.printoptions(threshold=5), pytest.raises(CompileError, match="draws"):
        bp.compile(lambda x: x * np.random.rand())(np.ones(2))


def test_an_error_of_the_function_comes_out_and_leaves_everything_as_it_was() -> None:
    trainer, (x, y) = Trainer(), batch()
    trainer.step(x, y)
    before = state(trainer.things)

    def step(x: Any, y: Any) -> None:
        trainer.step(x, y)
        raise LookupError("the user's own")

    for _ in range(2):
        with pytest.raises(LookupError, match="the user's own"):
            bp.compile(step)(x, y)
        same(state(trainer.things), before, "left behind")
    assert type(trainer.net[0].weight.data) is np.ndarray
    assert isinstance(bp.random.generator(), np.random.Generator)
