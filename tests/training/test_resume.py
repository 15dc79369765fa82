"""A run that was ended anywhere and gone on with ends bit for bit where the one ends that was not."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import tempfile
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp.data import DataLoader, digits
from tinygrad_bp.optim import lr_scheduler
from tinygrad_bp.training import keeper
from tinygrad_bp.training.run import Run

X, Y = (part[:90] for part in digits())
HELD_OUT = tuple(part[90:150] for part in digits())
BATCHES = 4  # three of 28 rows, and one of 6


class Killed(BaseException):
    """The process is gone."""


def plain():
    return bp.nn.Sequential(bp.nn.Linear(64, 8), bp.nn.Tanh(), bp.nn.Linear(8, 10))


def noisy():
    """Draws in every step, and has buffers."""
    return bp.nn.Sequential(
        *(bp.nn.Linear(64, 8), bp.nn.BatchNorm1d(8), bp.nn.ReLU(), bp.nn.Dropout(0.3), bp.nn.Linear(8, 10))
    )


class Counting(bp.nn.Module):
    """Cannot be compiled for a batch that is smaller."""

    def __init__(self):
        self.layer, self._seen = bp.nn.Linear(64, 10), 0

    def forward(self, x):
        if len(x) < 28:
            self._seen += 1
        return self.layer(x)


def sgd(parameters):
    return bp.optim.SGD(parameters, lr=0.1)


def momentum(parameters):
    return bp.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)


def adam(parameters):
    return bp.optim.AdamW(parameters, lr=0.01)


def warm_up(optimizer):
    rising = lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    return lr_scheduler.SequentialLR(optimizer, [rising, lr_scheduler.ExponentialLR(optimizer, 0.5)], milestones=[2])


def plateau(optimizer):
    return lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)


def cosine(optimizer):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)


class Setup:
    """The same code every time: new objects of one run."""

    def __init__(self, model=plain, optimizer=sgd, schedule=None, seed=None, shuffle=True, loader=None, **settings):
        self.arguments = (model, optimizer, schedule, seed, shuffle, loader)
        self.settings = {"validation": HELD_OUT} | settings

    def fit(self, out, epochs=3, **more):
        model, optimizer, schedule, seed, shuffle, loader = self.arguments
        bp.manual_seed(3)
        self.model = model()
        self.optimizer = optimizer(self.model.parameters())
        self.schedule = schedule and schedule(self.optimizer)
        loader = loader or DataLoader(X, Y, batch_size=28, shuffle=shuffle, seed=seed)
        return bp.fit(
            *(self.model, bp.nn.CrossEntropyLoss(), self.optimizer, loader, epochs),
            schedule=self.schedule,
            out=out,
            **self.settings | more,
        )

    def left(self, out):
        """Everything that is left of a run: its files and its objects, in bytes."""
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}
        return files | {
            "model": {name: array.tobytes() for name, array in self.model.state_dict().items()},
            "optimizer": repr(self.optimizer.state_dict()),
            "schedule": repr(self.schedule),
            "generator": bp.random.generator().bit_generator.state,
        }


@contextlib.contextmanager
def after(batches, what):
    """`what` happens once, during the batch of that number."""
    count, number = Run.count, iter(range(1, 10**6))

    def counted(self, *args):
        count(self, *args)
        if next(number) == batches:
            what()

    with mock.patch.object(Run, "count", counted):
        yield


def control_c():
    signal.raise_signal(signal.SIGINT)


def killed():
    raise Killed


@pytest.fixture
def quick(monkeypatch):
    """Pictures and waiting for the disk take most of the time; a checkpoint after every batch."""
    monkeypatch.setattr("tinygrad_bp.training.run_folder.write_curves", lambda *_, **__: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(keeper, "OFTEN", 0.0)


def without_seconds(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


SETUPS = {
    "sgd": Setup(clip_norm=0.5, metrics=["accuracy", "f1"]),
    "momentum": Setup(noisy, momentum, plateau, seed=1, clip_norm=1.0, monitor="val_accuracy"),
    "adam": Setup(noisy, adam, warm_up, patience=1, monitor="loss", restore_best=True),
    "half eager": Setup(Counting, momentum, shuffle=False),
    "eager": Setup(noisy, adam, cosine, compile=False, patience=2, restore_best=True),
    "eager, seeded": Setup(plain, momentum, seed=5, compile=False, validation=None),
}


@functools.cache
def uninterrupted(name):
    with tempfile.TemporaryDirectory() as folder:
        history = SETUPS[name].fit(f"{folder}/run")
        return without_seconds(history), SETUPS[name].left(f"{folder}/run")


def ends_as_if_nothing_had_been(name, ends):
    with tempfile.TemporaryDirectory() as folder:
        for batches, what in ends:
            with after(batches, what), contextlib.suppress(KeyboardInterrupt, Killed):
                SETUPS[name].fit(f"{folder}/run", resume=True)
        history = SETUPS[name].fit(f"{folder}/run", resume=True)
        assert (without_seconds(history), SETUPS[name].left(f"{folder}/run")) == uninterrupted(name)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("sgd", [(1, control_c), (3, killed)]),  # after the first batch, and after the last of an epoch
        ("momentum", [(2, killed), (5, control_c)]),
        ("adam", [(5, control_c)]),
        ("half eager", [(4, killed), (1, control_c)]),
    ],
)
def test_a_compiled_run_goes_on_bit_for_bit(name, ends, quick):
    ends_as_if_nothing_had_been(name, ends)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["eager", "eager, seeded"]),
    ends=st.lists(
        st.tuples(st.integers(1, 3 * BATCHES), st.sampled_from([control_c, killed])), min_size=1, max_size=3
    ),
)
def test_a_run_that_was_ended_anywhere_goes_on_bit_for_bit(name, ends, quick):
    ends_as_if_nothing_had_been(name, ends)
