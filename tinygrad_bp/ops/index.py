"""Indexing: ``getitem`` takes entries out, ``put`` puts them back, and each is the other's derivative.

Slices, integers, None, Ellipsis, integer arrays and boolean masks mean what they mean in NumPy; entries taken twice
receive both gradients. The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import Node, Op, unary
from .arithmetic import subtract, where
from .discrete import astype, not_equal, of_floats
from .reduce import sum
from .shape import _arranged, _array, _from_zero, _raw, broadcast_to, concatenate, moveaxis, reshape

# fmt: off
__all__ = [
    "choose", "compress", "diag", "diagflat", "diagonal", "diff", "ediff1d", "extract", "getitem", "gradient", "put",
    "select", "take", "take_along_axis", "trace",
]
# fmt: on


def _is_basic(index: Any) -> bool:
    """Whether an index takes every entry at most once: integers, slices, None, Ellipsis, or one boolean mask."""
    if isinstance(index, np.ndarray) and index.dtype == bool:
        return True
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, slice, np.integer)) for part in parts)


def _is_rows(index: Any) -> bool:
    """Whether an index is an array of integers, which takes whole rows."""
    return isinstance(index, np.ndarray) and index.dtype.kind in "iu"


def _get(x: Any, index: Any) -> Any:
    return np.take(x, index, 0) if _is_rows(index) else x[index]  # the former is up to three times as fast


def _put(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with g added at `index`."""
    if _is_rows(index) and g.size:
        return _put_rows(g, index, shape)
    x = np.zeros_like(g, shape=shape)
    if _is_basic(index):
        x[index] = g
    else:
        np.add.at(x, index, g)
    return x


def _put_rows(g: Any, rows: Any, shape: tuple[int, ...]) -> Any:
    """The same entry by entry: NumPy has a loop for that, three to six times as fast as row by row."""
    x = np.zeros_like(g, order="C", shape=shape)
    width = x.size // shape[0]
    starts = rows.astype(np.intp).reshape(-1, 1) * width
    np.add.at(x.reshape(-1), (starts + np.arange(width)).reshape(-1), g.reshape(-1))
    return x


_getitem = unary("getitem", _get, lambda g, y, x, index: put(g, index, x.shape))
put: Op = unary("put", _put, lambda h, x, g, index, shape: h[index])


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``, any index of NumPy's."""
    return _getitem(x, _raw(index))


def take(x: Any, indices: Any, axis: int | None = None, mode: Any = "raise") -> Any:
    """The slices at integer `indices` along `axis` (of the flattened tensor if None); mode as NumPy's."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    positions = _array(_raw(indices))
    if positions.dtype == bool:
        positions = positions.astype(np.intp)  # here False and True are 0 and 1, not a mask
    axis = _from_zero("take", x, axis)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"take: mode is {mode!r}. Choose 'raise', 'wrap' or 'clip'.")
    if mode != "raise":
        last = max(x.shape[axis], 1) - 1
        positions = positions % (last + 1) if mode == "wrap" else np.minimum(np.maximum(positions, 0), last)
    return getitem(x, (slice(None),) * axis + (positions,) if axis else positions)


def take_along_axis(x: Any, indices: Any, axis: int | None) -> Any:
    """One entry of `x` for every entry of `indices`, matched along the other axes (of the flattened tensor if None)."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis, indices = _from_zero("take_along_axis", x, axis), _array(_raw(indices))
    if indices.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis: shape {x.shape} has {x.ndim} axes, indices {indices.shape} have {indices.ndim}. "
            "Pass as many; an axis of 1 is broadcast."
        )
    grid = list(np.indices(x.shape, sparse=True))
    grid[axis] = indices
    return getitem(x, tuple(grid))


def compress(condition: Any, a: Any, axis: int | None = None) -> Any:
    """The slices along `axis` where the vector `condition` is true (of the flattened array if None)."""
    return _arranged("compress", lambda p: np.compress(_raw(condition), p, axis), a)


def extract(condition: Any, arr: Any) -> Any:
    """The entries where `condition` is true, as a vector."""
    return _arranged("extract", lambda p: np.extract(_raw(condition), p), arr)


def choose(a: Any, choices: Any, mode: Any = "raise") -> Any:
    """Entry by entry, the one of `choices` that the integer in `a` says."""
    return _arranged("choose", lambda *p: np.choose(_raw(a), p, mode=mode), *choices)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """Entry by entry, the choice of the first condition that is true, else the default."""
    if len(condlist) != len(choicelist) or not len(condlist):
        counts = f"{len(condlist)} conditions for {len(choicelist)} choices"
        raise ValueError(f"select: {counts}. Pass one condition for each choice.")
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        default = where(condition, choice, default)
    return default


# ---- diagonals ---------------------------------------------------------------------------------------------


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonals in the plane of two axes, as the last axis; an offset above 0 is above the main one."""
    if np.ndim(a) < 2:
        raise ValueError(f"diagonal: shape {np.shape(a)} has no diagonals. Pass at least two axes.")
    x = moveaxis(a, (axis1, axis2), (-2, -1))
    i = np.arange(max(0, -offset), max(0, min(x.shape[-2], x.shape[-1] - offset)))
    return getitem(x, (Ellipsis, i, i + offset))


def diag(v: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or the matrix with the vector `v` there."""
    if np.ndim(v) == 1:
        n = np.size(v) + abs(k)
        return put(v, np.nonzero(np.eye(n, k=k)), (n, n))
    if np.ndim(v) != 2:
        raise ValueError(f"diag: shape {np.shape(v)} is no vector and no matrix. Pass one or two axes.")
    return diagonal(v, k)


def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix with all entries of `v` on its k-th diagonal."""
    return diag(reshape(v, (-1,)), k)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal."""
    return sum(diagonal(a, offset, axis1, axis2), -1)


# ---- differences of neighbours -----------------------------------------------------------------------------


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """a[i + 1] - a[i] along `axis`, n times over; bools differ where they are not equal."""
    a, axis = _array(a), _from_zero("diff", a, axis)
    if n < 0:
        raise ValueError(f"diff: n is {n}. Pass how often to take differences, from 0.")
    border = (*np.shape(a)[:axis], 1, *np.shape(a)[axis + 1 :])
    ends = [x if x is None or np.ndim(x) else broadcast_to(x, border) for x in (prepend, append)]
    if n and any(x is not None for x in ends):
        a = concatenate([x for x in (ends[0], a, ends[1]) if x is not None], axis)
    for _ in range(n):
        after, before = (a[(slice(None),) * axis + (part,)] for part in (slice(1, None), slice(None, -1)))
        a = (not_equal if a.dtype == bool else subtract)(after, before)
    return a


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of the flattened array, between what is to be put before and after them."""
    inner = diff(reshape(ary, (-1,)))
    ends = [None if x is None else x if isinstance(x, Node) else np.asarray(x, inner.dtype) for x in (to_begin, to_end)]
    return concatenate([reshape(x, (-1,)) for x in (ends[0], inner, ends[1]) if x is not None])


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes along each axis: central differences, of second order on any grid; at the ends one-sided.

    `varargs` are one spacing, or one for each axis: a number, or the coordinates along it. One array for one axis, else
    a tuple.
    """
    axes: tuple[int, ...] = tuple(range(np.ndim(f))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(_from_zero("gradient", f, i) for i in axes)
    spacings = varargs * len(axes) if len(varargs) == 1 and np.ndim(varargs[0]) == 0 else varargs or (1.0,) * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes. Pass one for all, or one for each.")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order is {edge_order}. Pass 1 or 2.")
    slopes = tuple(_slopes(f, h, i, edge_order) for h, i in zip(spacings, axes, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


def _slopes(f: Any, h: Any, axis: int, edge_order: int) -> Any:
    n = np.shape(f)[axis]
    if n <= edge_order:
        raise ValueError(f"gradient: axis {axis} has {n} entries, edge_order={edge_order} needs {edge_order + 1}.")
    if np.ndim(h) and np.shape(h) != (n,):
        raise ValueError(f"gradient: coordinates {np.shape(h)} do not fit an axis of {n}. Pass one for each entry.")
    f = moveaxis(of_floats(f), axis, -1)
    dx = astype(diff(of_floats(h)) if np.ndim(h) else h * np.ones(n - 1), f.dtype)
    slope = diff(f) / dx
    before, after = dx[:-1], dx[1:]
    inner = (after * slope[..., :-1] + before * slope[..., 1:]) / (before + after)
    first, last = slope[..., :1], slope[..., -1:]
    if edge_order == 2:
        first = first + (first - slope[..., 1:2]) * (dx[:1] / (dx[:1] + dx[1:2]))
        last = last + (last - slope[..., -2:-1]) * (dx[-1:] / (dx[-1:] + dx[-2:-1]))
    return moveaxis(concatenate([first, inner, last], -1), -1, axis)
