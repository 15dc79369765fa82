"""Everything a run needs to go on where it stopped, as one nested dict of arrays and plain values.

`gather` takes it: the weights and buffers of the model, what the optimizer and the schedule remember, the package's
generator, where the loader is in which shuffle, and what the loop itself counts. `restore` writes it back in place,
all of it or nothing, into objects made the same way as those it was taken from. Neither touches a file.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import random
from ..nn.module import Module
from ..optim.lr_scheduler import LRScheduler
from ..optim.optimizers import Optimizer

__all__ = ["fingerprint", "gather", "has_position", "restore"]

State = dict[str, Any]


def fingerprint(loader: Any) -> str | None:
    """SHA-256 of the arrays that a `DataLoader` cuts; None for loaders that show no arrays.

    >>> from tinygrad_bp.data import DataLoader
    >>> fingerprint(DataLoader([1.0, 2.0]))[:8], fingerprint([([1.0], [2.0])])
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
