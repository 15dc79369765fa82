"""Shape and joining: nothing is computed, values only move, so every derivative moves the gradient back.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. Functions below the rows are spelled with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..recipe import Node, row, unary
from .discrete import astype

# fmt: off
__all__ = [
    "append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays", "broadcast_to",
    "column_stack", "concatenate", "delete", "dsplit", "dstack", "expand_dims", "flip", "fliplr", "flipud", "hsplit",
    "hstack", "insert", "matrix_transpose", "meshgrid", "moveaxis", "pad", "ravel", "repeat", "reshape", "resize",
    "roll", "rollaxis", "rot90", "split", "squeeze", "stack", "swapaxes", "tile", "transpose", "tril", "triu",
    "unstack", "vsplit", "vstack",
]
# fmt: on

reshape = unary("reshape", lambda x, shape: np.reshape(x, shape), lambda g, y, x, shape: g.reshape(x.shape))
squeeze = unary("squeeze", lambda x, axis=None: np.squeeze(x, axis), lambda g, y, x, axis: g.reshape(x.shape))
expand_dims = unary("expand_dims", lambda x, axis: np.expand_dims(x, axis), lambda g, y, x, axis: g.reshape(x.shape))
transpose = unary(
    "transpose",
    lambda x, axes=None: np.transpose(x, axes),
    lambda g, y, x, axes: np.transpose(g, None if axes is None else np.argsort([i % x.ndim for i in axes])),
)
swapaxes = unary(
    "swapaxes", lambda x, axis1, axis2: np.swapaxes(x, axis1, axis2), lambda g, y, x, i, j: np.swapaxes(g, i, j)
)
moveaxis = unary(
    "moveaxis",
    lambda x, source, destination: np.moveaxis(x, source, destination),
    lambda g, y, x, source, destination: np.moveaxis(g, destination, source),
)
broadcast_to = unary("broadcast_to", lambda x, shape: np.broadcast_to(x, shape), lambda g, y, x, shape: g)
flip = unary("flip", lambda x, axis=None: np.flip(x, axis), lambda g, y, x, axis: np.flip(g, axis))
roll = unary(
    "roll",
    lambda x, shift, axis=None: np.roll(x, shift, axis),
    lambda g, y, x, shift, axis: np.roll(g, np.negative(shift), axis),
)
tril = unary("tril", lambda x, k=0: np.tril(x, k), lambda g, y, x, k: np.tril(g, k))
triu = unary("triu", lambda x, k=0: np.triu(x, k), lambda g, y, x, k: np.triu(g, k))


def _unpad(x: Any, pad_width: Any) -> tuple[slice, ...]:
    widths = np.broadcast_to(np.asarray(pad_width, dtype=int), (x.ndim, 2)).tolist()
    return tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))


_pad = unary(
    "pad",
    lambda x, pad_width, constant_values=0.0: np.pad(x, pad_width, constant_values=constant_values),
    lambda g, y, x, pad_width, value: g[_unpad(x, pad_width)],
)


def _from_zero(name: str, x: Any, axis: int) -> int:
    """An axis of x counted from the first."""
    if not -np.ndim(x) <= axis < np.ndim(x):
        raise np.exceptions.AxisError(f"{name}: shape {np.shape(x)} has no axis {axis}. Pass one that it has.")
    return axis % int(np.ndim(x))


def _array(x: Any) -> Any:
    """A list or a number as an array; arrays and Tensors as they are."""
    return x if hasattr(x, "dtype") else np.asarray(x)


def _raw(index: Any) -> Any:
    """An index with Tensors, arrays and lists in it as arrays of its own, which nobody else can write."""
    if isinstance(index, tuple):
        return tuple(_raw(part) for part in index)
    if isinstance(index, (Node, np.ndarray)):
        return np.copy(index.data if isinstance(index, Node) else index)
    return np.array(index, dtype=None if index else int) if isinstance(index, list) else index


def ravel(a: Any) -> Any:
    """The entries as a vector."""
    return reshape(a, -1)


def matrix_transpose(x: Any) -> Any:
    """The last two axes swapped."""
    if np.ndim(x) < 2:
        raise ValueError(f"matrix_transpose: shape {np.shape(x)} is no stack of matrices. Pass at least two axes.")
    return swapaxes(x, -1, -2)


def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """`axis` moved to lie before `start`; moveaxis says it better."""
    n = np.ndim(a)
    axis, start = _from_zero("rollaxis", a, axis), start + n if start < 0 else start
    if not 0 <= start <= n:
        raise np.exceptions.AxisError(f"rollaxis: shape {np.shape(a)} has no axis {start}. Pass one from 0 to {n}.")
    return moveaxis(a, axis, start - (axis < start))


def fliplr(m: Any) -> Any:
    """Columns reversed."""
    return flip(m, 1)


def flipud(m: Any) -> Any:
    """Rows reversed."""
    return flip(m, 0)


def rot90(m: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """`k` quarter turns in the plane of two axes, from the first towards the second."""
    i, j = (_from_zero("rot90", m, axis) for axis in axes)
    if i == j:
        raise ValueError(f"rot90: axes {tuple(axes)} are one axis. Pass two.")
    if k % 2 == 0:
        return flip(m, (i, j) if k % 4 else ())
    return swapaxes(flip(m, j), i, j) if k % 4 == 1 else flip(swapaxes(m, i, j), j)


def _each(name: str, shaped: Callable[[Any], Any], arrays: Sequence[Any]) -> Any:
    """One array in shape, or a tuple of several."""
    if not arrays:
        raise TypeError(f"{name}: there is nothing to reshape. Pass an array.")
    return shaped(arrays[0]) if len(arrays) == 1 else tuple(map(shaped, arrays))


def atleast_1d(*arrays: Any) -> Any:
    """Numbers as vectors of one entry."""
    return _each("atleast_1d", lambda x: reshape(x, np.shape(x) or (1,)), arrays)


def atleast_2d(*arrays: Any) -> Any:
    """Vectors as matrices of one row."""
    return _each("atleast_2d", lambda x: reshape(x, (1,) * (2 - np.ndim(x)) + np.shape(x)), arrays)


def atleast_3d(*arrays: Any) -> Any:
    """Vectors of shape (n,) as (1, n, 1), matrices (m, n) as (m, n, 1)."""

    def shaped(x: Any) -> Any:
        shape = np.shape(x)
        return reshape(x, {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}.get(len(shape), shape))

    return _each("atleast_3d", shaped, arrays)


def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    """All in the shape that they broadcast to."""
    shape = _common("broadcast_arrays", *map(np.shape, arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


def _common(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        what = f"{name}: shapes {' and '.join(map(str, shapes))} do not broadcast"
        raise ValueError(f"{what}. Make them equal, or 1, axis by axis.") from None


def meshgrid(*xi: Any, indexing: str = "xy", sparse: bool = False) -> tuple[Any, ...]:
    """Coordinates of a grid from those along its axes; 'xy' counts columns first, 'ij' rows."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}. Pass 'xy' or 'ij'.")
    axes = [*range(len(xi))]
    if indexing == "xy":
        axes[:2] = axes[1::-1]
    grids = [reshape(x, (-1,) + (1,) * (len(xi) - 1 - axis)) for axis, x in zip(axes, xi, strict=True)]
    grids = [reshape(x, (1,) * (len(xi) - np.ndim(x)) + np.shape(x)) for x in grids]
    return tuple(grids) if sparse else broadcast_arrays(*grids)


# ---- joining and splitting ---------------------------------------------------------------------------------


def _pieces(g: Any, xs: Sequence[Any], axis: int) -> list[Any]:
    """The slices of g that belong to each of the joined arrays."""
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()
    before = (slice(None),) * (axis % g.ndim)
    return [g[(*before, slice(end - x.shape[axis], end))] for x, end in zip(xs, ends, strict=True)]


_concatenate = row(
    "concatenate",
    lambda xs, axis=0: np.concatenate(xs, axis),
    joint=lambda g, y, xs, axis: _pieces(g, xs, axis),
    variadic=True,
)


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """Join along an axis that exists; None flattens first."""
    return _concatenate([reshape(x, -1) for x in arrays], 0) if axis is None else _concatenate(arrays, axis)


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Join along a new axis."""
    arrays = list(arrays)
    shapes = sorted({np.shape(x) for x in arrays})
    if len(shapes) > 1:
        raise ValueError(f"stack: shapes {' and '.join(map(str, shapes))} differ. Pass arrays of one shape.")
    return _concatenate([expand_dims(x, axis) for x in arrays], axis)


def vstack(arrays: Sequence[Any]) -> Any:
    """Join as rows; vectors are rows."""
    return _concatenate([x if np.ndim(x) > 1 else reshape(x, (1, -1)) for x in arrays], 0)


def hstack(arrays: Sequence[Any]) -> Any:
    """Join as columns; vectors end to end."""
    arrays = [x if np.ndim(x) else reshape(x, (1,)) for x in arrays]
    return _concatenate(arrays, 0 if not arrays or np.ndim(arrays[0]) == 1 else 1)


def dstack(arrays: Sequence[Any]) -> Any:
    """Join along the third axis."""
    return _concatenate([atleast_3d(x) for x in arrays], 2)


def column_stack(arrays: Sequence[Any]) -> Any:
    """Join as columns; vectors are columns."""
    return _concatenate([x if np.ndim(x) > 1 else reshape(x, (-1, 1)) for x in arrays], 1)


def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` after `arr`, both flattened if axis is None."""
    return concatenate((arr, values), axis)


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Cut along an axis, at indices or into sections, the first of which may be longer by one."""
    return _cut("array_split", x, indices_or_sections, axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Cut along an axis, into equal sections or at indices."""
    return _cut("split", x, indices_or_sections, axis, equal=True)


def vsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """Cut along the first axis, of a matrix or more."""
    return _cut("vsplit", x, indices_or_sections, 0 if np.ndim(x) > 1 else np.ndim(x), equal=True)


def hsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """Cut along the second axis; a vector along its first."""
    return _cut("hsplit", x, indices_or_sections, 0 if np.ndim(x) == 1 else 1, equal=True)


def dsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """Cut along the third axis."""
    return _cut("dsplit", x, indices_or_sections, 2, equal=True)


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The slices along an axis, without it: the inverse of stack."""
    axis = _from_zero("unstack", x, axis)
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))


def _cut(name: str, x: Any, where: Any, axis: int, equal: bool = False) -> list[Any]:
    axis, where = _from_zero(name, x, axis), _raw(where)
    n = x.shape[axis]
    if isinstance(where, (int, np.integer)) and (where < 1 or (equal and n % where)):
        what = f"{name}: {n} entries make no {where} {'equal ' if equal else ''}sections"
        raise ValueError(f"{what}. Pass a {'divisor' if equal else 'number from 1'}, or indices.")
    pieces = [piece.tolist() for piece in np.array_split(np.arange(n), where)]
    before = (slice(None),) * axis
    return [x[(*before, slice(piece[0], piece[-1] + 1) if piece else slice(0))] for piece in pieces]


# ---- any other arrangement ---------------------------------------------------------------------------------


def _arranged(name: str, arrange: Callable[..., Any], *xs: Any) -> Any:
    """`arrange(*xs)`, which moves, copies or drops entries: it is given their positions, and they are taken there."""
    ends = np.cumsum([np.size(x) for x in xs]).tolist()
    positions = [np.arange(end - np.size(x), end).reshape(np.shape(x)) for x, end in zip(xs, ends, strict=True)]
    try:
        found = arrange(*positions)
    except (ValueError, IndexError, TypeError) as error:
        shapes = " and ".join(str(np.shape(x)) for x in xs)
        raise type(error)(f"{name}: {str(error).rstrip('.')} (input shapes: {shapes}).") from error
    flat = [reshape(x, (-1,)) for x in xs]
    return (flat[0] if len(flat) == 1 else _concatenate(flat, 0))[found]


_COPYING = ("edge", "reflect", "symmetric", "wrap")


def pad(x: Any, pad_width: Any, mode: Any = "constant", constant_values: Any = 0.0) -> Any:
    """`x` with a border of a constant, or of copies of its entries: mode edge, reflect, symmetric or wrap."""
    if isinstance(pad_width, dict):
        raise TypeError("pad: pad_width is a dict. Pass one (before, after) for each axis.")
    if mode in _COPYING:
        return _arranged("pad", lambda p: np.pad(p, pad_width, mode), x)
    if mode != "constant":
        raise ValueError(f"pad: mode {mode!r} is not offered. Pass 'constant' or one of {', '.join(_COPYING)}.")
    return _pad(x, pad_width, constant_values)


def block(arrays: Any) -> Any:
    """One array from nested lists of blocks: the innermost are joined along the last axis, their lists before it."""
    return _arranged("block", lambda *p: np.block(_refilled(arrays, iter(p))), *_leaves(arrays))


def _leaves(nest: Any) -> list[Any]:
    return [x for part in nest for x in _leaves(part)] if isinstance(nest, list) else [nest]


def _refilled(nest: Any, leaves: Iterator[Any]) -> Any:
    return [_refilled(part, leaves) for part in nest] if isinstance(nest, list) else next(leaves)


def resize(a: Any, new_shape: Any) -> Any:
    """The entries, again and again, until the shape is full."""
    return _arranged("resize", lambda p: np.resize(p, _raw(new_shape)), a)


def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """`arr` without the slices at `obj` along an axis (of the flattened array if None)."""
    return _arranged("delete", lambda p: np.delete(p, _raw(obj), axis), arr)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`arr` with `values` put in before `obj` along an axis (of the flattened array if None)."""
    arr, values = _array(arr), _array(values)
    return _arranged("insert", lambda p, new: np.insert(p, _raw(obj), new, axis), arr, astype(values, arr.dtype))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Every entry `repeats` times in a row; the copies' gradients add."""
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = _from_zero("repeat", x, axis)
    n, counts = x.shape[axis], np.asarray(_raw(repeats))
    if np.min(counts, initial=0) < 0 or counts.shape not in ((), (1,), (n,)):
        raise ValueError(f"repeat: repeats {repeats} do not fit {n} entries. Pass one count, or one for each, from 0.")
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    if counts.size != 1:
        return x[(slice(None),) * axis + (np.repeat(np.arange(n), counts),)]
    copies = broadcast_to(expand_dims(x, axis + 1), (*before, n, counts.item(), *after))
    return reshape(copies, (*before, n * counts.item(), *after))


def tile(x: Any, reps: Any) -> Any:
    """`x` laid side by side `reps` times; the copies' gradients add."""
    counts = np.atleast_1d(_raw(reps)).tolist()
    if min(counts, default=0) < 0:
        raise ValueError(f"tile: reps {reps} are negative. Pass counts from 0.")
    n = max(np.ndim(x), len(counts))
    shape, counts = (1,) * (n - np.ndim(x)) + np.shape(x), [1] * (n - len(counts)) + counts
    copies = broadcast_to(
        reshape(x, [k for length in shape for k in (1, length)]), [k for pair in zip(counts, shape) for k in pair]
    )
    return reshape(copies, [count * length for count, length in zip(counts, shape)])
