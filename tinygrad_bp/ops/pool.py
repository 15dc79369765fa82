"""Pooling: the largest or the mean of windows that slide over the last axes.

Axis by axis, columns first: of windows of K entries the first is taken, then K - 1 are compared with it or added to it,
each a strided view of the whole array. Results keep the memory order of the input. ``max_pool`` picks; ``_take`` picks
from another array at the same places and ``_put`` puts back there, each the other's derivative, as the places do not
move with small changes of x. The first of equals wins, and gets the whole gradient; of nans the last, as in PyTorch.
Params are tuples, an entry an axis. The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..opaque import kernel
from ..recipe import Op, primitive, unary

__all__ = ["max_pool"]

Sizes = tuple[int, ...]
Window = tuple[int, int, int, int, int, int]
"""Windows along one axis: (axis, how many, entries of one, stride, padding before, distance of two entries)."""

# ---- windows -----------------------------------------------------------------------------------------------


def _windows(
    x: Any, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[Window, ...]:
    """The windows along the last axes of x; `ceil_mode` adds one that begins in the input and ends behind it."""
    found = []
    for axis, k, s, p, d in zip(range(x.ndim - len(size), x.ndim), size, stride, padding, dilation, strict=True):
        n, span = x.shape[axis], (k - 1) * d + 1
        room = n + 2 * p - span
        if room < 0 and not ceil_mode:
            count = 0
        else:
            count = 1 + (-(-room // s) if ceil_mode else room // s)
            count -= ceil_mode and (count - 1) * s >= n + p
        if count < 1:
            raise ValueError(
                f"a window spans {span} entries of axis {axis}, which has {n} and a padding of {p}. "
                "Pass a smaller kernel_size or dilation"
            )
        found.append((axis, count, k, s, p, d))
    return tuple(found)


def _tap(k: int, window: Window) -> tuple[slice, ...]:
    """Entry k of every window of a padded array."""
    axis, count, _, stride, _, dilation = window
    start = k * dilation
    return (slice(None),) * axis + (slice(start, start + (count - 1) * stride + 1, stride),)


def _lengths(shape: Sizes, windows: tuple[Window, ...]) -> Sizes:
    """The shape with its padding, and what the last windows need behind that."""
    lengths = list(shape)
    for axis, count, size, stride, padding, dilation in windows:
        lengths[axis] = max(shape[axis] + 2 * padding, (count - 1) * stride + (size - 1) * dilation + 1)
    return tuple(lengths)


def _inside(shape: Sizes, windows: tuple[Window, ...]) -> tuple[slice, ...]:
    """Where the array lies in the padded array."""
    starts = [0] * len(shape)
    for axis, _, _, _, padding, _ in windows:
        starts[axis] = padding
    return tuple(slice(start, start + n) for start, n in zip(starts, shape))


def _padded(x: Any, windows: tuple[Window, ...], number: float) -> Any:
    """X with `number` around it, where a window looks beyond it."""
    lengths = _lengths(x.shape, windows)
    if lengths == x.shape:
        return x
    padded = np.full_like(x, number, shape=lengths)
    padded[_inside(x.shape, windows)] = x
    return padded


def _fresh(like: Any, length: int, window: Window) -> tuple[Any, bool]:
    """An array to put entries of windows into, and whether no two of them share a place: then it holds no zeros."""
    axis, count, size, stride, _, dilation = window
    shape = (*like.shape[:axis], length, *like.shape[axis + 1 :])
    apart = stride > (size - 1) * dilation
    whole = apart and length == count * size and 1 == dilation < size
    return (np.empty_like if whole else np.zeros_like)(like, shape=shape), apart


# ---- the largest -------------------------------------------------------------------------------------------


@kernel
def _largest(x: Any, windows: tuple[Window, ...]) -> Any:
    """The largest entry of every window."""
    given, x = x, _padded(x, windows, -np.inf)
    for window in reversed(windows):
        best = x[_tap(0, window)]
        for k in range(1, window[2]):
            best = np.maximum(best, x[_tap(k, window)], out=best if k > 1 else None)
        x = best
    return np.copy(x) if np.may_share_memory(x, given) else x


def _victories(x: Any, windows: tuple[Window, ...]) -> list[list[Any]]:
    """For each axis, the last first: which entries k = 1, 2, ... of the windows beat all before them."""
    nans = x.size and np.isnan(np.max(x))
    x = _padded(x, windows, -np.inf)
    found = []
    for window in reversed(windows):
        axis, _, size, stride, padding, dilation = window
        best, won = x[_tap(0, window)], []
        for k in range(1, size):
            rival = x[_tap(k, window)]
            beats = rival > best
            if nans:
                beats |= rival != rival
            if padding:  # before the input there is nobody to be equal to
                alone = -(-(padding - (k - 1) * dilation) // stride)
                beats[(slice(None),) * axis + (slice(max(alone, 0)),)] = True
            won.append(beats)
            best = np.maximum(best, rival, out=best if k > 1 else None)
        found.append(won)
        x = best
    return found


@kernel
def _picked(h: Any, x: Any, windows: tuple[Window, ...]) -> Any:
    """The entries of h where x has the largest entry of each window."""
    h = _padded(h, windows, 0.0)
    for window, victories in zip(reversed(windows), _victories(x, windows)):
        picked = h[_tap(0, window)]
        for k, won in enumerate(victories, 1):
            picked = np.where(won, h[_tap(k, window)], picked)
        h = picked
    return h


def _given(g: Any, victories: list[Any], length: int, window: Window) -> Any:
    """G to the last entry that won; where it has not, to the one before it; and so on, up to the first entry."""
    x, apart = _fresh(g, length, window)
    first, rest = x[_tap(0, window)], g
    for k in range(len(victories), 0, -1):
        place = x[_tap(k, window)]
        part = np.multiply(rest, victories[k - 1], out=place if apart else None)
        if not apart:
            place += part
        rest = np.subtract(rest, part, out=first if apart and k == 1 else None if rest is g else rest)
    if rest is not first:
        first += rest
    return x


@kernel
def _placed(g: Any, x: Any, windows: tuple[Window, ...]) -> Any:
    """Zeros with g added where x has the largest entry of each window."""
    lengths = _lengths(x.shape, windows)
    for window, victories in zip(windows, reversed(_victories(x, windows))):
        g = _given(g, victories, lengths[window[0]], window)
    return g if g.shape == x.shape else g[_inside(x.shape, windows)]


_take: Op = primitive(
    "max_pool_take",
    lambda h, x, size, stride, padding, dilation, ceil_mode: _picked(
        h, x, _windows(x, size, stride, padding, dilation, ceil_mode)
    ),
    lambda g, y, h, x, *params: _put(g, x, *params),
    None,
)
_put: Op = primitive(
    "max_pool_put",
    lambda g, x, size, stride, padding, dilation, ceil_mode: _placed(
        g, x, _windows(x, size, stride, padding, dilation, ceil_mode)
    ),
    lambda h, z, g, x, *params: _take(h, x, *params),
    None,
)
max_pool = unary(
    "max_pool",
    lambda x, size, stride, padding, dilation, ceil_mode=False: _largest(
        x, _windows(x, size, stride, padding, dilation, ceil_mode)
    ),
    lambda g, y, x, *params: _put(g, x, *params),
)
