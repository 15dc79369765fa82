"""Everything a run needs to go on where it stopped, as one nested dict of arrays and plain values.

`gather` takes it: the weights and buffers of the model, what the optimizer and the schedule remember, the package's
generator, where the loader is in which shuffle, and what the loop itself counts. `restore` writes it back in place,
all of it or nothing, into objects made the same way as those it was taken from. Neither touches a file.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from .. import random
from ..nn.module import Module
from ..optim.lr_scheduler import LRScheduler
from ..optim.optimizers import Optimizer

__all__ = ["fingerprint", "gather", "has_position", "restore"]

State = dict[str, Any]

_FORMAT = 1
_DATA = "the training data"
_KEYS = {"format", "made", "model", "optimizer", "schedule", "loader", "generator", "loop"}


def fingerprint(loader: Any) -> str | None:
    """SHA-256 of the arrays that a `DataLoader` cuts; None for loaders that show no arrays.

    >>> from tinygrad_bp.data import DataLoader
    >>> fingerprint(DataLoader([1.0, 2.0]))[:8], fingerprint([([1.0], [2.0])])
    ('2b806466', None)
    """
    arrays = getattr(loader, "arrays", None)
    if arrays is None:
        return None
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def has_position(loader: Any) -> bool:
    """Whether a run can go on in the middle of a pass over this loader, as with a `DataLoader`."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def gather(
    model: Module,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    loader: Any,
    data: str | None,
    loop: Mapping[str, Any],
) -> State:
    """The state of a run between two batches, as copies: later steps do not change it.

    Parameters
    ----------
    data
        `fingerprint(loader)`, taken once: it reads all the data.
    loop
        What the loop counts and remembers: plain values and arrays, nested as `tinygrad_bp.io.save` takes them.
    """
    return {
        "format": _FORMAT,
        "made": _made(model, optimizer, schedule, loader, data),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": None if schedule is None else schedule.state_dict(),
        "loader": loader.state_dict() if has_position(loader) else None,
        "generator": random.generator().bit_generator.state,
        "loop": dict(loop),
    }


def restore(
    state: Mapping[str, Any],
    model: Module,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    loader: Any,
    data: str | None,
) -> dict[str, Any]:
    """Write what `gather` returned into the same kind of objects, in place; returns its `loop`.

    Raises
    ------
    ValueError
        It is of another model, optimizer, schedule or loader, of other settings or of other data. Nothing was changed.
    """
    if set(state) != _KEYS or state["format"] != _FORMAT:
        raise ValueError("resume: the checkpoint is not one of this version. Use the version that wrote it.")
    made = _made(model, optimizer, schedule, loader, data)
    for part, here in made.items():
        for line, its in zip_longest(here.split("\n"), state["made"][part].split("\n"), fillvalue="nothing"):
            if line != its:
                were = f"of the run was {its.strip()}, here it is {line.strip()}"
                what = "is not that of the run" if part == _DATA else were
                raise ValueError(f"resume: {part} {what}. Use what the run was begun with, or another folder.")
    before = gather(model, optimizer, schedule, loader, data, {})
    try:
        _write(state, model, optimizer, schedule, loader)
    except Exception as error:
        _write(before, model, optimizer, schedule, loader)
        reason = str(error).removeprefix("load_state_dict: ")
        raise ValueError(f"resume: the checkpoint does not fit. {reason}") from error
    return dict(state["loop"])


def _write(
    state: Mapping[str, Any], model: Module, optimizer: Optimizer, schedule: LRScheduler | None, loader: Any
) -> None:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if schedule is not None:
        schedule.load_state_dict(state["schedule"])
    if has_position(loader):
        loader.load_state_dict(state["loader"])  # which may draw from the generator, so that comes last
    random.generator().bit_generator.state = state["generator"]


def _made(
    model: Module, optimizer: Optimizer, schedule: LRScheduler | None, loader: Any, data: str | None
) -> dict[str, str]:
    """How the parts of a run were made, in words, as far as going on with others would give another result."""
    return {
        "the model": repr(model),
        "the optimizer": _call(optimizer, optimizer.defaults),
        "the schedule": "none" if schedule is None else _call(schedule, schedule.state_dict()),
        "the loader": type(loader).__name__,
        _DATA: f"SHA-256 {data}",
    }


def _call(made: Any, values: Mapping[str, Any]) -> str:
    """The arguments of the constructor among the values, but for the epoch."""
    names = [name for name in inspect.signature(type(made)).parameters if name in values and name != "last_epoch"]
    return f"{type(made).__name__}({', '.join(f'{name}={values[name]!r}' for name in names)})"
