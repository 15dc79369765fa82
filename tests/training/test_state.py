"""gather and restore: a run that goes on from a file ends bit for bit where the uninterrupted one ends."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn, optim
from tinygrad_bp.data import DataLoader
from tinygrad_bp.io import load, save
from tinygrad_bp.optim import lr_scheduler as lr
from tinygrad_bp.training.state import fingerprint, gather, has_position, restore

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "groups": lambda p: optim.SGD([{"params": p[:1], "lr": 0.2}, {"params": p[1:], "momentum": 0.5}], lr=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01, lr_decay=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.99)),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
}
SCHEDULES = {
    "none": lambda o: None,
    "LambdaLR": lambda o: lr.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "StepLR": lambda o: lr.StepLR(o, step_size=2),
    "MultiStepLR": lambda o: lr.MultiStepLR(o, milestones=[1, 3], gamma=0.3),
    "ExponentialLR": lambda o: lr.ExponentialLR(o, gamma=0.7),
    "LinearLR": lambda o: lr.LinearLR(o, start_factor=0.1, total_iters=4),
    "CosineAnnealingLR": lambda o: lr.CosineAnnealingLR(o, T_max=3),
    "SequentialLR": lambda o: lr.SequentialLR(
        o, [lr.LinearLR(o, start_factor=0.5, total_iters=2), lr.ExponentialLR(o, gamma=0.5)], milestones=[2]
    ),
    "ReduceLROnPlateau": lambda o: lr.ReduceLROnPlateau(o, factor=0.5, patience=0, cooldown=1),
}
X = np.random.default_rng(0).standard_normal((8, 3))
Y = np.array([0, 1, 0, 1, 1, 0, 1, 0])


class Tempered(nn.Module):
    """Cross-entropy with a temperature that is learnt."""

    def __init__(self):
        self.scale = nn.Parameter(1.0)

    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs * self.scale, targets)


class Run:
    """A small net with everything that has a state, and its training batch by batch."""

    def __init__(self, optimizer="Adam", schedule="none", seed=3, width=4, p=0.5, data=X, batch_size=3):
        self.model = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(p), nn.Linear(width, 2))
        self.loss = Tempered()
        self.optimizer = OPTIMIZERS[optimizer]([*self.model.parameters(), *self.loss.parameters()])
        self.schedule = SCHEDULES[schedule](self.optimizer)
        self.loader = DataLoader(data, Y, batch_size=batch_size, shuffle=True, seed=seed)
        data = {"the training data": fingerprint(self.loader)}
        self.parts = (self.model, self.loss, self.optimizer, self.schedule, self.loader, data)
        self.losses = []
        self.batches = iter(())

    def train(self, batches):
        for _ in range(batches):
            batch = next(self.batches, None)
            if batch is None:  # the end of an epoch
                if self.schedule is not None and self.losses:
                    plateau = isinstance(self.schedule, lr.ReduceLROnPlateau)
                    self.schedule.step(*[self.losses[-1]] * plateau)
                self.batches = iter(self.loader)
                batch = next(self.batches)
            self.optimizer.zero_grad()
            loss = self.loss(self.model(batch[0]), batch[1])
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())

    def gather(self):
        return gather(*self.parts, {"losses": self.losses})

    def go_on(self, state):
        self.losses = restore(state, *self.parts)["losses"]
        self.batches = iter(self.loader)


def bits(state):
    """A nested state in which arrays are compared by their bytes."""
    if isinstance(state, dict):
        return {name: bits(value) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [bits(value) for value in state]
    return (state.dtype.str, state.shape, state.tobytes()) if isinstance(state, np.ndarray) else state


CASES = [(name, "none", 0) for name in OPTIMIZERS]
CASES += [("momentum" if name == "ReduceLROnPlateau" else "SGD", name, 1) for name in SCHEDULES]


@pytest.mark.parametrize(("optimizer", "schedule", "seed"), [*CASES, ("Adam", "SequentialLR", None)])
def test_a_run_goes_on_bit_for_bit(tmp_path, optimizer, schedule, seed):
    bp.manual_seed(7)
    whole = Run(optimizer, schedule, seed)
    saved = []
    for stop in (0, 4, 6, 8):  # before the first step, in a pass, at the end of one, in the last
        whole.train(stop - len(whole.losses))
        suffix = "npz" if stop == 4 else "safetensors"
        saved.append(tmp_path / f"{stop}.{suffix}")
        save(saved[-1], whole.gather())
    whole.train(4)
    end = bits(whole.gather())
    for path in saved:
        bp.manual_seed(99)
        again = Run(optimizer, schedule, seed)
        again.train(2 if path is saved[0] else 0)  # an optimizer that remembers forgets it
        again.go_on(load(path))
        again.train(12 - len(again.losses))
        assert bits(again.gather()) == end, path.name


def test_what_was_gathered_is_not_changed_by_what_follows():
    run = Run("momentum", "ReduceLROnPlateau")
    run.train(3)
    state = run.gather()
    before = bits(state)
    run.train(4)
    state["loop"]["losses"] = state["loop"]["losses"][:3]  # the loop's own affair
    assert bits(state) == before


def test_parameters_are_written_in_place():
    run = Run()
    arrays = [p.data for p in run.model.parameters()]
    state = Run().gather()
    run.go_on(state)
    assert all(p.data is array for p, array in zip(run.model.parameters(), arrays, strict=True))
    assert (arrays[0] == state["model"]["0.weight"]).all()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"width": 5},
            "resume: the model of the run was (0): Linear(in_features=3, out_features=5), here it is (0): "
            "Linear(in_features=3, out_features=4). Use what the run was begun with, or another folder.",
        ),
        ({"p": 0.25}, "resume: the model of the run was (2): Dropout(p=0.25), here it is (2): Dropout(p=0.5). "),
        ({"optimizer": "AdamW"}, "resume: the optimizer of the run was AdamW(lr=0.01, betas=(0.9, 0.999), "),
        (
            {"schedule": "StepLR"},
            "resume: the schedule of the run was StepLR(step_size=2, gamma=0.1), here it is none.",
        ),
        ({"data": X + 1}, "resume: the training data is not that of the run. Use what"),
        ({"batch_size": 2}, "resume: the checkpoint does not fit. batch_size is 2 in the state and 3 here."),
        ({"seed": None}, "resume: the checkpoint does not fit. seeded is False in the state and True here."),
    ],
)
def test_another_run_is_refused_and_nothing_is_changed(other, message):
    theirs = Run(**other)
    theirs.train(4)
    ours = Run()
    ours.train(4)
    before = bits(ours.gather())
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        restore(theirs.gather(), *ours.parts)
    assert bits(ours.gather()) == before


@pytest.mark.parametrize("part", ["model", "loss", "optimizer", "schedule", "loader", "generator"])
def test_a_part_that_does_not_fit_leaves_all_parts_as_they_were(part):
    run = Run(schedule="ExponentialLR")
    state = run.gather()
    run.train(4)
    before = bits(run.gather())
    state[part] = {"what": "ever"}
    with pytest.raises(ValueError, match=r"^resume: the checkpoint does not fit\. "):
        restore(state, *run.parts)
    assert bits(run.gather()) == before


def test_another_version_is_refused():
    run = Run()
    for change in ({"format": 2}, {"more": 1}):
        with pytest.raises(
            ValueError, match=r"^resume: the checkpoint is not one of this version\. Use the version that wrote it\.$"
        ):
            restore(run.gather() | change, *run.parts)


def test_a_loader_without_a_position_is_no_obstacle():
    batches = [(X, Y)]
    assert not has_position(batches)
    assert has_position(DataLoader(X))
    run = Run()
    parts = (run.model, max, run.optimizer, None, batches, {})
    state = gather(*parts, {"epoch": 3})
    assert state["loader"] is None
    assert restore(state, *parts) == {"epoch": 3}


def test_the_fingerprint_is_that_of_the_numbers():
    one = fingerprint(DataLoader(X))
    assert one == fingerprint(DataLoader(X[:, ::-1][:, ::-1], batch_size=2)) == fingerprint([bp.Tensor(X)])
    others = [[X + 1], [X, Y], [X.reshape(4, 6)], [X.view(np.int64)], [X[:0]], [[X]], X.tolist(), X[0, 0], X, None]
    assert len({one, *map(fingerprint, others)}) == 11
    assert fingerprint({"x": (X, [1])}) == fingerprint({"x": (X, [1])}) != fingerprint({"x": (X, [2])})
