"""The DataLoader: mini-batches of arrays that belong together, row by row.

It cuts NumPy arrays that are in memory; there are no workers, no transforms and no files here.
Every pass is one epoch. With a seed the whole sequence of shuffles repeats from one loader to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import random

__all__ = ["DataLoader"]


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
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
            kind = type(batch_size).__name__
            raise TypeError(f"DataLoader: batch_size is {batch_size!r}, a {kind}. Give an integer >= 1.")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size is {batch_size}. Give an integer >= 1.")
        if drop_last and batch_size > lengths[0]:
            raise ValueError(
                f"DataLoader: drop_last leaves out all {lengths[0]} rows, fewer than batch_size {batch_size}. "
                f"Give a batch_size of at most {lengths[0]} or drop_last=False."
            )
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._generator = None if seed is None else random.seeded(seed, "DataLoader")

    def __len__(self) -> int:
        rows = len(self.arrays[0])
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
        cuts = [slice(k * self.batch_size, (k + 1) * self.batch_size) for k in range(len(self))]
        if not self.shuffle:
            return (tuple(array[cut] for array in self.arrays) for cut in cuts)
        order = (self._generator or random.generator()).permutation(len(self.arrays[0]))
        return (tuple(array[order[cut]] for array in self.arrays) for cut in cuts)


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
