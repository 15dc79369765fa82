"""Everything a run needs to go on where it stopped, as one nested dict of arrays and plain values.

`gather` takes it: the weights and buffers of the model and of the loss, what the optimizer and the schedule remember,
the package's generator, where the loader is in which shuffle, and what the loop itself counts. `restore` writes it back
in place, all of it or nothing, into objects made the same way as those it was taken from. Neither touches a file.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from .. import random
from ..nn.module import Module
from ..optim.lr_scheduler import LRScheduler
from ..optim.optimizers import Optimizer
from ..tensor import Tensor

__all__ = ["fingerprint", "gather", "has_position", "restore"]

State = dict[str, Any]

_FORMAT = 1
_KEYS = {"format", "made", "model", "loss", "optimizer", "schedule", "loader", "generator", "loop"}


def fingerprint(data: Any) -> str:
    """SHA-256 of all numbers in arrays, tensors, lists, tuples and dicts of them, or a `DataLoader`; else of the type.

    >>> from tinygrad_bp.data import DataLoader
    >>> fingerprint(DataLoader([1.0, 2.0])) == fingerprint((np.array([1.0, 2.0]),))
    True
    """
    digest = hashlib.sha256()
    for part in _parts(data):
        digest.update(part)
    return digest.hexdigest()


def _parts(data: Any) -> Iterator[Any]:
    data = getattr(data, "arrays", data)
    if isinstance(data, (np.ndarray, np.generic, Tensor)):
        array = np.ascontiguousarray(data.data if isinstance(data, Tensor) else data)
        yield f"{array.dtype.str} {array.shape} ".encode()
        yield array.data
    elif isinstance(data, (list, tuple, dict)):
        yield f"{len(data)} ".encode()
        for part in data.values() if isinstance(data, dict) else data:
            yield from _parts(part)
    else:
        yield f"{data!r} ".encode() if isinstance(data, (int, float, str)) else type(data).__name__.encode()


def has_position(loader: Any) -> bool:
    """Whether a run can go on in the middle of a pass over this loader, as with a `DataLoader`."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def gather(
    model: Module,
    loss: Any,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    loader: Any,
    data: Mapping[str, str],
    loop: Mapping[str, Any],
) -> State:
    """The state of a run between two batches, as copies: later steps do not change it.

    Parameters
    ----------
    data
        Fingerprints by name, of all that has to be the same: taken once, for they read all the data.
    loop
        What the loop counts and remembers: plain values and arrays, nested as `tinygrad_bp.io.save` takes them.
    """
    return {
        "format": _FORMAT,
        "made": _made(model, optimizer, schedule, loader, data),
        "model": model.state_dict(),
        "loss": loss.state_dict() if isinstance(loss, Module) else {},
        "optimizer": optimizer.state_dict(),
        "schedule": None if schedule is None else schedule.state_dict(),
        "loader": loader.state_dict() if has_position(loader) else None,
        "generator": random.generator().bit_generator.state,
        "loop": dict(loop),
    }


def restore(
    state: Mapping[str, Any],
    model: Module,
    loss: Any,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    loader: Any,
    data: Mapping[str, str],
) -> dict[str, Any]:
    """Write what `gather` returned into the same kind of objects, in place; returns its `loop`.

    Raises
    ------
    ValueError
        It is of another model, loss, optimizer, schedule or loader, or of other data. Nothing was changed.
    """
    if set(state) != _KEYS or state["format"] != _FORMAT:
        raise ValueError("resume: the checkpoint is not one of this version. Use the version that wrote it.")
    made = _made(model, optimizer, schedule, loader, data)
    for part, here in made.items():
        for line, its in zip_longest(here.split("\n"), state["made"][part].split("\n"), fillvalue="nothing"):
            if line != its:
                were = f"of the run was {its.strip()}, here it is {line.strip()}"
                what = "is not that of the run" if part in data else were
                raise ValueError(f"resume: {part} {what}. Use what the run was begun with, or another folder.")
    before = gather(model, loss, optimizer, schedule, loader, data, {})
    try:
        _write(state, model, loss, optimizer, schedule, loader)
    except Exception as error:
        _write(before, model, loss, optimizer, schedule, loader)
        reason = str(error).removeprefix("load_state_dict: ")
        raise ValueError(f"resume: the checkpoint does not fit. {reason}") from error
    return dict(state["loop"])


def _write(
    state: Mapping[str, Any],
    model: Module,
    loss: Any,
    optimizer: Optimizer,
    schedule: LRScheduler | None,
    loader: Any,
) -> None:
    model.load_state_dict(state["model"])
    if isinstance(loss, Module):
        loss.load_state_dict(state["loss"])
    optimizer.load_state_dict(state["optimizer"])
    if schedule is not None:
        schedule.load_state_dict(state["schedule"])
    if has_position(loader):
        loader.load_state_dict(state["loader"])  # which may draw from the generator, so that comes last
    random.generator().bit_generator.state = state["generator"]


def _made(
    model: Module, optimizer: Optimizer, schedule: LRScheduler | None, loader: Any, data: Mapping[str, str]
) -> dict[str, str]:
    """How the parts of a run were made, in words, as far as going on with others would give another result."""
    return {
        "the model": repr(model),
        "the optimizer": _call(optimizer, optimizer.defaults),
        "the schedule": "none" if schedule is None else _call(schedule, schedule.state_dict()),
        "the loader": type(loader).__name__,
        **data,
    }


def _call(made: Any, values: Mapping[str, Any]) -> str:
    """The arguments of the constructor among the values, but for the epoch."""
    names = [name for name in inspect.signature(type(made)).parameters if name in values and name != "last_epoch"]
    return f"{type(made).__name__}({', '.join(f'{name}={values[name]!r}' for name in names)})"
