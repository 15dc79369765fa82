"""Indexing: ``getitem`` takes entries out, ``put`` puts them back, and each is the other's derivative.

Slices, integers, None, Ellipsis, integer arrays and boolean masks mean what they mean in NumPy; entries taken twice
receive both gradients. The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import Node, Op, unary
from .shape import _from_zero, reshape

__all__ = ["getitem", "put", "take", "take_along_axis"]


def _is_basic(index: Any) -> bool:
    """Whether an index takes every entry at most once: integers, slices, None, Ellipsis, or one boolean mask."""
    if isinstance(index, np.ndarray) and index.dtype == bool:
        return True
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, slice, np.integer)) for part in parts)


def _put(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with g added at `index`."""
    x = np.zeros_like(g, shape=shape)
    if _is_basic(index):
        x[index] = g
    else:
        np.add.at(x, index, g)
    return x


_getitem = unary("getitem", lambda x, index: x[index], lambda g, y, x, index: put(g, index, x.shape))
put: Op = unary("put", _put, lambda h, x, g, index, shape: h[index])


def _raw(index: Any) -> Any:
    """An index with Tensors, arrays and lists in it as arrays of its own, which nobody else can write."""
    if isinstance(index, tuple):
        return tuple(_raw(part) for part in index)
    if isinstance(index, (Node, np.ndarray)):
        return np.copy(index.data if isinstance(index, Node) else index)
    return np.array(index, dtype=None if index else int) if isinstance(index, list) else index


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``, any index of NumPy's."""
    return _getitem(x, _raw(index))


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices at integer `indices` along `axis` (of the flattened tensor if None)."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    positions = np.asarray(_raw(indices))
    if positions.dtype == bool:
        positions = positions.astype(np.intp)  # here False and True are 0 and 1, not a mask
    return getitem(x, (slice(None),) * _from_zero("take", x, axis) + (positions,))


def take_along_axis(x: Any, indices: Any, axis: int | None) -> Any:
    """One entry of `x` for every entry of `indices`, matched along the other axes (of the flattened tensor if None)."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis, indices = _from_zero("take_along_axis", x, axis), np.asarray(_raw(indices))
    if indices.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis: shape {x.shape} has {x.ndim} axes, indices {indices.shape} have {indices.ndim}. "
            "Pass as many; an axis of 1 is broadcast."
        )
    grid = list(np.indices(x.shape, sparse=True))
    grid[axis] = indices
    return getitem(x, tuple(grid))
