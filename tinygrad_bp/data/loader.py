"""The DataLoader: mini-batches of arrays that belong together, row by row.

It cuts NumPy arrays that are in memory; there are no workers, no transforms and no files here.
Every pass is one epoch. With a seed the whole sequence of shuffles repeats from one loader to the next.
Where it is can be saved at any moment: the state of a generator and a number of batches, not the order itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import random

__all__ = ["DataLoader", "check_integer"]


@dataclass(slots=True)
class _Pass:
    """How many batches a pass has given out, and the state of the generator from which its order was drawn."""

    given: int
    before: Mapping[str, Any] | None


class DataLoader:
    """Tuples (a[rows], b[rows], ...) of `batch_size` rows each, all rows once per pass.

    Every pass of one loader shuffles anew; a loader made again with the same seed repeats the same sequence of passes.
    Without a seed the shuffles are drawn from `tinygrad_bp.random.generator()`.

    Parameters
    ----------
    *arrays
        One or more arrays of numbers or bools with the same number of rows, shape (n, ...) each.
        They are not copied: without `shuffle` the batches are views of them.
    batch_size
        Rows per batch, >= 1. The last batch of a pass is smaller where it does not divide n.
    shuffle
        Whether each pass visits the rows in a new random order.
    drop_last
        Whether to leave out a last batch that is smaller.
    seed
        An integer >= 0, or None.

    Raises
    ------
    TypeError
        An array of another kind, a `batch_size` or `seed` that is not an integer.
    ValueError
        No arrays, no rows, different numbers of rows, `batch_size` < 1, `seed` < 0, or a pass without a single batch.

    Examples
    --------
    >>> X, y = np.arange(10).reshape(5, 2), np.arange(5)
    >>> for x_batch, y_batch in DataLoader(X, y, batch_size=2, shuffle=True, seed=0):
    ...     print(x_batch.shape, y_batch)
    (2, 2) [2 4]
    (2, 2) [3 0]
    (1, 2) [1]
    """

    def __init__(
        self,
        *arrays: ArrayLike,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
    ) -> None:
        if not arrays:
            raise ValueError("DataLoader: no arrays. Give at least one, e.g. DataLoader(X, y, batch_size=32).")
        self.arrays = tuple(_rows(array, position) for position, array in enumerate(arrays))
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"DataLoader: the arrays have {_listed(lengths)} rows. Give arrays of one length.")
        if lengths[0] == 0:
            raise ValueError("DataLoader: the arrays have 0 rows. Give at least one row.")
        check_integer("DataLoader", "batch_size", batch_size, 1)
        if drop_last and batch_size > lengths[0]:
            raise ValueError(
                f"DataLoader: drop_last leaves out all {lengths[0]} rows, fewer than batch_size {batch_size}. "
                f"Give a batch_size of at most {lengths[0]} or drop_last=False."
            )
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._generator = None if seed is None else random.seeded(seed, "DataLoader")
        self._running: _Pass | None = None  # the pass begun last, until it has come to its end
        self._resumes = False  # whether the next iteration goes on with it, as after load_state_dict

    def __len__(self) -> int:
        rows = len(self.arrays[0])
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
        generator = self._generator or random.generator()
        running = self._running
        if not self._resumes or running is None:
            running = self._running = _Pass(0, generator.bit_generator.state if self.shuffle else None)
        elif self._generator is None and running.before is not None:
            generator = _generator_at(running.before)  # the package's own is past this draw
        self._resumes = False
        return self._batches(running, generator.permutation(len(self.arrays[0])) if self.shuffle else None)

    def _batches(self, running: _Pass, order: NDArray[np.int64] | None) -> Iterator[tuple[NDArray[Any], ...]]:
        """What is still to come of a pass; it is counted before it is given out."""
        arrays, size = self.arrays, self.batch_size
        for k in range(running.given, len(self)):
            running.given = k + 1
            cut = slice(k * size, (k + 1) * size)
            rows = cut if order is None else order[cut]
            yield tuple(array[rows] for array in arrays)
        if self._running is running:
            self._running = None

    def state_dict(self) -> dict[str, Any]:
        """Where this loader is: what is still to come of the pass begun last, and the shuffles after it.

        A plain dict of ints, strings and dicts, good for JSON. A batch counts as gone from the moment it is given out.
        A pass that was abandoned can still be gone on with, so until the next one begins it is what the state tells.
        Without a seed, the passes after this one come from :func:`tinygrad_bp.random.generator`, whose state is kept by
        whoever restores the whole program.

        >>> loader = DataLoader(np.arange(4))
        >>> batches = iter(loader)
        >>> next(batches)
        (array([0]),)
        >>> again = DataLoader(np.arange(4))
        >>> again.load_state_dict(loader.state_dict())
        >>> list(again)
        [(array([1]),), (array([2]),), (array([3]),)]
        """
        state = self._settings()
        state["position"] = self._running.given if self._running else 0
        before = self._running.before if self._running else None
        if before is None and self.shuffle and self._generator is not None:
            before = self._generator.bit_generator.state
        return state if before is None else state | {"generator": deepcopy(before)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Be where the loader of `state` was: the next iteration gives what was still to come, then whole passes.

        After the last batch of a pass nothing is still to come until its iterator has ended, so the next iteration may
        give nothing. Nothing is changed where the state is refused, and the package's generator never is.

        Raises
        ------
        TypeError
            The state is no dict.
        ValueError
            A loader of other rows or with other settings, or a state that is not whole.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: the state is a {type(state).__name__}. Pass what state_dict() returned.")
        settings = self._settings()
        needed = settings.keys() | {"position"}
        if not needed <= state.keys() <= needed | {"generator"}:
            keys = sorted(map(str, state))
            raise ValueError(f"load_state_dict: got the keys {keys}. Pass what state_dict() returned.")
        for name, own in settings.items():
            if not isinstance(state[name], int) or state[name] != own:
                raise ValueError(
                    f"load_state_dict: {name} is {state[name]!r} in the state and {own!r} here. "
                    "Make the loader as the one that was saved."
                )
        position, before = state["position"], state.get("generator")
        if type(position) is not int or not 0 <= position <= len(self):
            raise ValueError(
                f"load_state_dict: position is {position!r}, a pass has {len(self)} batches. "
                "Pass what state_dict() returned."
            )
        drawn = before is not None
        if drawn != settings["shuffle"] and (drawn or settings["seeded"] or position):
            raise ValueError(
                f"load_state_dict: the state has {'a' if drawn else 'no'} generator. Pass what state_dict() returned."
            )
        if drawn:
            restored = _generator_at(before)
            before = restored.bit_generator.state
            if settings["seeded"]:
                self._generator = restored
        self._resumes = drawn or position > 0
        self._running = _Pass(position, before)

    def _settings(self) -> dict[str, Any]:
        """What must be the same in a loader that goes on where another was."""
        return {
            "rows": len(self.arrays[0]),
            "batch_size": self.batch_size,
            "shuffle": bool(self.shuffle),
            "drop_last": bool(self.drop_last),
            "seeded": bool(self.shuffle and self._generator is not None),
        }


def check_integer(operation: str, name: str, value: object, least: int) -> None:
    """Refuse what is no integer >= `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{operation}: {name} is {value!r}, a {type(value).__name__}. Give an integer >= {least}.")
    if value < least:
        raise ValueError(f"{operation}: {name} is {value}. Give an integer >= {least}.")


def _generator_at(state: Any) -> np.random.Generator:
    """A generator that draws next what the one of this state would have drawn."""
    generator = np.random.default_rng(0)
    try:
        generator.bit_generator.state = state
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"load_state_dict: the generator's state is refused: {error}. Pass what state_dict() returned."
        ) from error
    return generator


def _rows(array: ArrayLike, position: int) -> NDArray[Any]:
    try:
        rows = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"DataLoader: array {position} is ragged. Give rows of one shape.") from error
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"DataLoader: array {position} has dtype {rows.dtype}. Give numbers or bools.")
    if rows.ndim == 0:
        raise ValueError(f"DataLoader: array {position} has no rows, its shape is (). Give shape (n, ...).")
    return rows


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
