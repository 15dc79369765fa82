"""Shape and joining: nothing is computed, values only move, so every derivative moves the gradient back.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. Functions below the rows are spelled with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..recipe import row, unary

# fmt: off
__all__ = [
    "broadcast_to", "concatenate", "expand_dims", "flip", "hstack", "moveaxis", "pad", "repeat", "reshape", "roll",
    "split", "squeeze", "stack", "swapaxes", "tile", "transpose", "tril", "triu", "vstack",
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


pad = unary(
    "pad",
    lambda x, pad_width, mode="constant", constant_values=0.0: _pad(x, pad_width, mode, constant_values),
    lambda g, y, x, pad_width, mode, value: g[_unpad(x, pad_width)],
)


def _pad(x: Any, pad_width: Any, mode: str, value: float) -> Any:
    if isinstance(pad_width, dict):
        raise TypeError("pad: pad_width is a dict. Pass one (before, after) for each axis.")
    if mode != "constant":
        raise ValueError(f"pad: mode '{mode}' is not offered. Pass mode='constant'.")
    return np.pad(x, pad_width, constant_values=value)


def _from_zero(name: str, x: Any, axis: int) -> int:
    """An axis of x counted from the first."""
    if not -np.ndim(x) <= axis < np.ndim(x):
        raise np.exceptions.AxisError(f"{name}: shape {np.shape(x)} has no axis {axis}. Pass one that it has.")
    return axis % int(np.ndim(x))


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


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Cut along an axis, into equal sections or at indices."""
    axis = _from_zero("split", x, axis)
    n = x.shape[axis]
    if isinstance(indices_or_sections, int) and (indices_or_sections < 1 or n % indices_or_sections):
        raise ValueError(
            f"split: {n} entries make no {indices_or_sections} equal sections. Pass a divisor, or indices."
        )
    pieces = [piece.tolist() for piece in np.split(np.arange(n), indices_or_sections)]
    before = (slice(None),) * axis
    return [x[(*before, slice(piece[0], piece[-1] + 1) if piece else slice(0))] for piece in pieces]


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Every entry `repeats` times in a row; the copies' gradients add."""
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = _from_zero("repeat", x, axis)
    n, counts = x.shape[axis], np.asarray(repeats)
    if np.min(counts, initial=0) < 0 or counts.shape not in ((), (1,), (n,)):
        raise ValueError(f"repeat: repeats {repeats} do not fit {n} entries. Pass one count, or one for each, from 0.")
    return x[(slice(None),) * axis + (np.repeat(np.arange(n), counts),)]


def tile(x: Any, reps: Any) -> Any:
    """`x` laid side by side `reps` times; the copies' gradients add."""
    if np.min(reps, initial=0) < 0:
        raise ValueError(f"tile: reps {reps} are negative. Pass counts from 0.")
    return reshape(x, (-1,))[np.tile(np.arange(np.size(x)).reshape(np.shape(x)), reps)]
