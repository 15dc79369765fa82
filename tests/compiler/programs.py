"""Training programs, drawn: a net, a loss, an update, the form of the step and what happens between its calls.

A program is plain data, so a failure prints as what it takes to repeat it. `make` builds it as a user would have
written it; `run` plays its events on twins. Left out are nets some of whose gradients are zero mathematically: there
rounding is all that Adam sees.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F
from tinygrad_bp.optim import SGD, Adam, Optimizer

from .twins import MANY_STEPS, SINGLE, Twins

# ---- nets ------------------------------------------------------------------------------------------------------------

LINEAR: dict[str, Callable[[Any, nn.Linear], Any]] = {
    "layer": lambda x, layer: layer(x),
    "rows": lambda x, layer: bp.ops.add(bp.ops.matmul(x, layer.weight.T), layer.bias),
    "numpy": lambda x, layer: np.matmul(x, np.transpose(layer.weight)) + layer.bias,
    "einsum": lambda x, layer: np.einsum("ni,oi->no", x, layer.weight) + layer.bias,
    "rows by hand": lambda x, layer: np.stack([(x * w).sum(1) for w in layer.weight], 1) + layer.bias,
}
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    **{f"nn.{kind.__name__}": kind() for kind in (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.SiLU, nn.Softplus, nn.Softmax)},
    "nn.LeakyReLU": nn.LeakyReLU(0.2),
    "nn.ELU": nn.ELU(0.7),
    "F.sigmoid": F.sigmoid,
    "np.tanh": np.tanh,
    "1 / (1 + exp(-x))": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "maximum": lambda x: np.maximum(x, 0.1 * x),
    "where": lambda x: np.where(x > 0, np.sin(x), np.expm1(-(x**2))),
    "softmax by hand": lambda x: (lambda e: e / e.sum(1, keepdims=True))(np.exp(x - x.max(1, keepdims=True))),
    "clip": lambda x: np.clip(x, -0.5, 0.5) + 0.1 * x,
    "normalised": lambda x: x / np.sqrt((x * x).mean(1, keepdims=True) + 0.5),
    "var": lambda x: np.tanh(x) * (1.0 + np.tanh(x.var(axis=0))),
    "none": lambda x: x,
}


class Net(nn.Module):
    """Linear layers, each followed by an activation and an extra; written by hand."""

    def __init__(self, program: Program) -> None:
        p, sizes = program, program.sizes
        self.layers = [nn.Linear(a, b, dtype=p.dtype) for a, b in zip(sizes, sizes[1:])]
        self.means = [bp.Tensor(np.zeros(n, p.dtype)) for n in sizes[1:]]
        self.factor = 1.5
        self._program = p

    def forward(self, x: Any) -> Any:
        p = self._program
        for k, layer in enumerate(self.layers[:-1]):
            h = LINEAR[p.linear[k]](x, layer)
            h = ACTIVATIONS[p.activations[k]](h)
            x = getattr(self, p.extras[k])(h, k) if p.extras[k] else h
        return LINEAR[p.linear[-1]](x, self.layers[-1])

    def centred(self, x: Any, k: int) -> Any:
        y = x - self.means[k]
        if self.training:
            self.means[k].data *= 0.9
            self.means[k].data += 0.1 * x.data.mean(0)
        return y

    def recentred(self, x: Any, k: int) -> Any:
        if self.training:
            self.means[k].data = 0.9 * self.means[k].data + 0.1 * x.detach().data.mean(0)
        return x - 0.5 * self.means[k]

    def noisy(self, x: Any, k: int) -> Any:
        return x + 0.1 * bp.randn(x.shape, dtype=x.dtype) if self.training else x

    def dropped(self, x: Any, k: int) -> Any:
        if not self.training:
            return x
        return x * (bp.random.generator().random(x.shape) < 0.8).astype(x.dtype) / 0.8

    def scaled(self, x: Any, k: int) -> Any:
        return x * self.factor

    def tied(self, x: Any, k: int) -> Any:
        """The layer's weights once more, the other way round and back."""
        w = self.layers[k].weight
        return x + np.tanh((x @ w) @ w.T)

    def shifted(self, x: Any, k: int) -> Any:
        return np.concatenate([x[:, 1:], x[:, :1] * 0.5], 1)

    def gathered(self, x: Any, k: int) -> Any:
        return x + x[:, [0, 0, *range(2, x.shape[1])]]


EXTRAS = ("", "", "centred", "recentred", "noisy", "dropped", "scaled", "tied", "shifted", "gathered")

LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "mse": (nn.MSELoss(), "numbers"),
    "quadratic": (nn.QuadraticLoss(), "numbers"),
    "l1": (F.l1_loss, "numbers"),
    "by hand": (lambda a, y: ((a - y) ** 2).sum() / len(y), "numbers"),
    "by numpy": (lambda a, y: np.mean(np.log1p(np.square(a - y))), "numbers"),
    "logits": (nn.BCEWithLogitsLoss(reduction="sum"), "probabilities"),
    "bce": (lambda a, y: F.binary_cross_entropy(np.clip(bp.ops.sigmoid(a), 0.01, 0.99), y), "probabilities"),
    "cross entropy": (nn.CrossEntropyLoss(), "labels"),
    "nll": (lambda a, y: F.nll_loss(F.log_softmax(a), y), "labels"),
    "labels by hand": (lambda a, y: -F.log_softmax(a)[np.arange(len(y)), y].mean(), "labels"),
}

# ---- updates ---------------------------------------------------------------------------------------------------------


class Tamed(Optimizer):
    """A user's own: a running mean of gradients, tamed."""

    remembered = {"mean": True, "count": False}

    def __init__(self, params: Any, lr: float, decay: float = 0.5) -> None:
        super().__init__(params, lr=lr, decay=decay)

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        if "mean" not in state:
            state |= {"mean": np.zeros_like(p), "count": np.zeros(())}
        state["count"] += 1.0
        state["mean"] *= group["decay"]
        state["mean"] += (1.0 - group["decay"]) * g
        p -= group["lr"] * np.tanh(state["mean"]) / np.sqrt(state["count"])


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "SGD": lambda params: SGD(params, lr=0.05),
    "momentum": lambda params: SGD(params, lr=0.05, momentum=0.9),
    "nesterov": lambda params: SGD(params, lr=0.05, momentum=0.8, nesterov=True),
    "weight decay": lambda params: SGD(params, lr=0.05, weight_decay=0.01),
    "dampening": lambda params: SGD(params, lr=0.05, momentum=0.5, dampening=0.2, weight_decay=0.01),
    "Adam": lambda params: Adam(params, lr=0.01, eps=1e-3),
    "Adam with weight decay": lambda params: Adam(params, lr=0.01, eps=1e-3, weight_decay=0.01),
    "Tamed": lambda params: Tamed(params, lr=0.05),
}
PLAIN = ("plain -=", "plain new array", "plain tensor")
"""Updates without an optimizer."""


def clipped(how: str, params: list[Any]) -> None:
    """Gradient clipping as people write it."""
    params = [p for p in params if p.grad is not None]
    if how == "in place":
        for p in params:
            np.clip(p.grad.data, -0.1, 0.1, out=p.grad.data)
    elif how == "replaced":
        for p in params:
            p.grad = bp.Tensor(np.clip(p.grad.data, -0.1, 0.1))
    elif how == "norm":
        norm = np.sqrt(sum((p.grad.data**2).sum() for p in params))
        for p in params:
            p.grad.data *= np.minimum(1.0, 0.5 / norm)
    elif how == "mutated":
        for p in params:
            p.grad.data[...] = p.grad.data * 0.5
            p.grad.data[..., 0] = 0.01


def moved(how: str, params: list[Any], rate: float) -> None:
    for p in params:
        if p.grad is None:
            continue
        if how == "plain -=":
            p.data -= rate * p.grad.data
        elif how == "plain new array":
            p.data = p.data - rate * p.grad.data
        else:
            with bp.no_grad():
                p.data = (p - p.grad * rate).data


# ---- programs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """What is drawn."""

    dtype: str
    sizes: tuple[int, ...]
    linear: tuple[str, ...]
    activations: tuple[str, ...]
    extras: tuple[str, ...]
    loss: str
    update: str
    clip: str
    penalty: bool
    groups: bool
    frozen: bool
    accumulate: int
    zero: str
    form: str
    returns: str
    events: tuple[tuple[Any, ...], ...]

    def make(self) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The step, and what belongs to it."""
        net, (loss, _), params = Net(self), LOSSES[self.loss], []
        params += net.parameters()
        if self.frozen:
            params[0].requires_grad = False
        optimizer = None
        if self.update in OPTIMIZERS:
            groups = [{"params": params[::2], "lr": 0.02}, {"params": params[1::2]}]
            optimizer = OPTIMIZERS[self.update](groups if self.groups else params)
        things = {"net": net} | ({"optimizer": optimizer} if optimizer else {})
        rate = 0.05

        def forget() -> None:
            if optimizer:
                optimizer.zero_grad()
            else:
                for p in params:
                    p.grad = None

        def step(x: Any, y: Any) -> Any:
            if self.zero == "start":
                forget()
            for _ in range(self.accumulate):
                output = net(x)
                cost = loss(output, y)
                if self.penalty:
                    cost = cost + 0.01 * sum((p * p).sum() for p in params)
                cost.backward()
            clipped(self.clip, params)
            gradients = [None if p.grad is None else p.grad.detach() for p in params]
            if optimizer:
                optimizer.step()
            else:
                moved(self.update, params, rate)
            if self.zero == "end":
                forget()
            return {
                "nothing": None,
                "loss": cost,
                "array": cost.data,
                "outputs": (output, cost),
                "gradients": gradients,
                "parameters": params,
                "nested": {"cost": cost, "more": [output[0], (cost, None, 3)], "twice": (output, output)},
            }[self.returns]

        return self._formed(step), things

    def _formed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step with the arguments of this program's form."""
        if self.form == "dict":
            return lambda batch: step(batch["x"], y=batch["y"])
        if self.form == "pair":
            return lambda *pair: step(*pair[0])
        if self.form == "partial":
            return partial(lambda rest, x, y: step(x, y), ())
        return Holder(step).run if self.form == "method" else step

    def _arguments(self, x: Any, y: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.form == "dict":
            return ({"x": x, "y": y},), {}
        if self.form == "pair":
            return ((x, y),), {}
        if self.form == "tensors":
            return (bp.Tensor(x), bp.Tensor(y)), {}
        return ((x,), {"y": y}) if self.form == "keywords" else ((x, y), {})

    def run(self, twins: Twins) -> None:
        """Play the events, unless the training diverges: then rounding grows as everything does."""
        rng = np.random.default_rng(len(repr(self)))
        for event, value in self.events:
            if event in ("call", "eagerly"):
                size, times = value
                for _ in range(times):
                    args, kwargs = self._arguments(*self._batch(rng, size))
                    twins.call(*args, compiled=event == "call", **kwargs)
                    if any(np.abs(p.data).max() > 100.0 for p in twins.mine["net"].parameters()):
                        return
            else:
                twins.both(partial(CHANGES[event], value=value))

    def _batch(self, rng: np.random.Generator, n: int) -> tuple[Any, Any]:
        x, k = rng.normal(size=(n, self.sizes[0])).astype(self.dtype), self.sizes[-1]
        kind = LOSSES[self.loss][1]
        if kind == "labels":
            return x, rng.integers(0, k, n)
        y = rng.uniform(size=(n, k)) if kind == "probabilities" else rng.normal(size=(n, k))
        return x, y.astype(self.dtype)


class Holder:
    """A user's own class with the step as a method."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step, self.name, self.options = step, "holder", {"depth": 2}

    def run(self, x: Any, y: Any) -> Any:
        return self.step(x, y)


# ---- what happens between calls --------------------------------------------------------------------------------------


def _setting(things: dict[str, Any], name: str, value: Any) -> None:
    for group in things["optimizer"].param_groups if "optimizer" in things else ():
        if name in group and (group[name] or name == "lr" or value):
            group[name] = value


def _weight(things: dict[str, Any]) -> Any:
    return next(things["net"].parameters())


def _replaced(things: dict[str, Any], value: float) -> None:
    _weight(things).data = _weight(things).data * np.asarray(value, _weight(things).dtype)


def _written(things: dict[str, Any], value: float) -> None:
    _weight(things).data[:1] *= value


def _zeroed(things: dict[str, Any], value: float) -> None:
    for p in things["net"].parameters():
        p.grad = None


def _frozen(things: dict[str, Any], value: bool) -> None:
    _weight(things).requires_grad = value
    _weight(things).grad = None


def _loaded(things: dict[str, Any], value: float) -> None:
    net = things["net"]
    net.load_state_dict({name: array * np.asarray(value, array.dtype) for name, array in net.state_dict().items()})
    if "optimizer" in things:
        things["optimizer"].load_state_dict(things["optimizer"].state_dict())


CHANGES: dict[str, Callable[..., None]] = {
    "lr": lambda things, value: _setting(things, "lr", value),
    "momentum": lambda things, value: _setting(things, "momentum", value),
    "betas": lambda things, value: _setting(things, "betas", value),
    "weight_decay": lambda things, value: _setting(things, "weight_decay", value),
    "training": lambda things, value: things["net"].train(value),
    "factor": lambda things, value: setattr(things["net"], "factor", value),
    "replaced": _replaced,
    "written": _written,
    "zeroed": _zeroed,
    "requires_grad": _frozen,
    "loaded": _loaded,
}
VALUES: dict[str, tuple[Any, ...]] = {
    "call": ((4, 1), (4, 1), (4, 2), (4, 3), (6, 2), (1, 1)),
    "eagerly": ((4, 1), (6, 2)),
    "lr": (0.02, 0.01, 0.0),
    "momentum": (0.5, 0.3),
    "betas": ((0.8, 0.9), (0.5, 0.99)),
    "weight_decay": (0.02, 0.0),
    "training": (False, True),
    "factor": (0.5, 1.0),
    "replaced": (0.9,),
    "written": (0.9,),
    "zeroed": (None,),
    "requires_grad": (False, True),
    "loaded": (0.9,),
}
ZEROS = ("start", "start", "end", "never")
FORMS = ("plain", "plain", "keywords", "tensors", "dict", "pair", "partial", "method")
RETURNS = ("nothing", "loss", "array", "outputs", "gradients", "parameters", "nested")
CLIPS = ("", "", "", "in place", "replaced", "norm", "mutated")


def program(seed: int) -> Program:
    """The program of a number: hypothesis, left to draw each part, would draw many that are nearly the same."""
    draw = random.Random(seed)

    def each(options: Any, n: int) -> tuple[Any, ...]:
        return tuple(draw.choices(list(options), k=n))

    depth = draw.choice([0, 1, 1, 2])
    dtype = draw.choice(["float64", "float64", "float64", "float32"])
    kinds = each(["call", "call", "lr", *VALUES], draw.randint(1, 4))
    events = [("call", draw.choice(VALUES["call"]))]
    events += [(kind, draw.choice(VALUES[kind])) for kind in kinds] + [("call", (4, 2))]
    long = dtype == "float64" and draw.random() < 0.1
    if long:
        events = [("call", (4, 50))]
    return Program(
        dtype=dtype,
        sizes=each(range(2, 6), depth + 2),
        linear=each(LINEAR, depth + 1),
        activations=each(ACTIVATIONS, depth),
        extras=each(EXTRAS, depth),
        loss=draw.choice(list(LOSSES)),
        update=draw.choice([*OPTIMIZERS, *PLAIN]),
        clip=draw.choice(CLIPS),
        penalty=draw.random() < 0.3,
        groups=draw.random() < 0.3,
        frozen=draw.random() < 0.3,
        accumulate=draw.choice([1, 1, 1, 2]),
        zero="start" if long else draw.choice(ZEROS),  # or it diverges
        form=draw.choice(FORMS),
        returns=draw.choice(RETURNS),
        events=tuple(events),
    )


programs = st.builds(program, st.integers(0, 2**32 - 1))
"""Any program."""


def check(drawn: Program, backend: str = "numpy") -> None:
    """Run the program eagerly and compiled."""
    drawn.run(Twins(drawn.make, SINGLE if drawn.dtype == "float32" else MANY_STEPS, backend))
