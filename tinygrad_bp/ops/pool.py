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
from .linear import matmul
from .shape import moveaxis

__all__ = ["adaptive_avg_pool", "avg_pool", "max_pool"]

Sizes = tuple[int, ...]
Window = tuple[int, int, int, int, int, int]
"""Windows along one axis: (axis, how many, entries of one, stride, padding before, distance of two entries)."""

BLOCK = 1 << 20  # bytes

# ---- windows -----------------------------------------------------------------------------------------------


def _windows(
    shape: Sizes, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[Window, ...]:
    """The windows along the last axes; `ceil_mode` adds one that begins in the input and ends behind it."""
    found = []
    for axis, k, s, p, d in zip(
        range(len(shape) - len(size), len(shape)), size, stride, padding, dilation, strict=True
    ):
        n, span = shape[axis], (k - 1) * d + 1
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


def _fresh(like: Any, length: int, window: Window) -> tuple[Any, int]:
    """An array to put entries of windows into; and how many, one after the other, never meet in a place.

    If these are all, and there is nothing beside them, it need not hold zeros.
    """
    axis, count, size, stride, _, dilation = window
    shape = (*like.shape[:axis], length, *like.shape[axis + 1 :])
    alone = size if stride > (size - 1) * dilation else stride if dilation == 1 else 1
    whole = alone == size > 1 and length == count * size
    return (np.empty_like if whole else np.zeros_like)(like, shape=shape), alone


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


def _given(g: Any, victories: list[Any], length: int, window: Window, finite: bool) -> Any:
    """G to the last entry that won; where it has not, to the one before it; and so on, up to the first entry."""
    x, alone = _fresh(g, length, window)
    if not finite:  # 0 times infinity is nan, so that choice takes the place of products, and nothing is written over
        x, alone = np.zeros_like(x), 0
    size, first, rest = len(victories) + 1, x[_tap(0, window)], g
    for k in range(size - 1, 0, -1):
        place, won = x[_tap(k, window)], victories[k - 1]
        if finite:
            part = np.multiply(rest, won, out=place if k >= size - alone else None)
            rest = np.subtract(rest, part, out=first if k == 1 and alone == size else None if rest is g else rest)
        else:
            part, rest = np.where(won, rest, 0.0), np.where(won, 0.0, rest)
        if part is not place:
            place += part
    if rest is not first:
        first += rest
    return x


def _placed_at_once(g: Any, x: Any, windows: tuple[Window, ...]) -> Any:
    lengths, finite = _lengths(x.shape, windows), bool(np.isfinite(g).all())
    for window, victories in zip(windows, reversed(_victories(x, windows))):
        g = _given(g, victories, lengths[window[0]], window, finite)
    return g if g.shape == x.shape else g[_inside(x.shape, windows)]


@kernel
def _placed(g: Any, x: Any, windows: tuple[Window, ...]) -> Any:
    """Zeros with g added where x has the largest entry of each window; in blocks, so that the masks stay in cache."""
    if np.argsort(g.strides).tolist() != np.argsort(x.strides).tolist():  # after Flatten g has lost the order of memory
        given, g = g, np.empty_like(x, g.dtype, shape=g.shape)
        g[...] = given
    if x.nbytes <= 2 * BLOCK or x.ndim == len(windows):
        return _placed_at_once(g, x, windows)
    dx = np.empty_like(x, dtype=g.dtype)
    axis = int(np.argmax(x.strides[: x.ndim - len(windows)]))
    step = max(1, x.shape[axis] * BLOCK // x.nbytes)
    for start in range(0, x.shape[axis], step):
        block = (slice(None),) * axis + (slice(start, start + step),)
        dx[block] = _placed_at_once(g[block], x[block], windows)
    return dx


_take: Op = primitive(
    "max_pool_take",
    lambda h, x, size, stride, padding, dilation, ceil_mode: _picked(
        h, x, _windows(x.shape, size, stride, padding, dilation, ceil_mode)
    ),
    lambda g, y, h, x, *params: _put(g, x, *params),
    None,
)
_put: Op = primitive(
    "max_pool_put",
    lambda g, x, size, stride, padding, dilation, ceil_mode: _placed(
        g, x, _windows(x.shape, size, stride, padding, dilation, ceil_mode)
    ),
    lambda h, z, g, x, *params: _take(h, x, *params),
    None,
)
max_pool = unary(
    "max_pool",
    lambda x, size, stride, padding, dilation, ceil_mode=False: _largest(
        x, _windows(x.shape, size, stride, padding, dilation, ceil_mode)
    ),
    lambda g, y, x, *params: _put(g, x, *params),
)

# ---- the mean ----------------------------------------------------------------------------------------------


def _counts(shape: Sizes, windows: tuple[Window, ...], count_include_pad: bool, dtype: Any) -> Any:
    """How many entries a window averages: one number, or an array that broadcasts against the windows."""
    total: Any = 1
    for axis, count, size, stride, padding, _ in windows:
        n = shape[axis]
        starts = np.arange(count) * stride - padding
        ends = np.minimum(starts + size, n + padding)
        if not count_include_pad:
            starts, ends = np.maximum(starts, 0), np.minimum(ends, n)
        lengths = ends - starts
        same = (lengths == lengths[:1]).all()
        total = total * (int(lengths[0]) if same else lengths.reshape((-1,) + (1,) * (len(shape) - axis - 1)))
    return total if isinstance(total, int) else total.astype(dtype)


@kernel
def _totals(x: Any, windows: tuple[Window, ...]) -> Any:
    """The sum of the entries of every window."""
    given, x = x, _padded(x, windows, 0.0)
    for window in reversed(windows):
        total = x[_tap(0, window)]
        for k in range(1, window[2]):
            total = np.add(total, x[_tap(k, window)], out=total if k > 1 else None)
        x = total
    return np.copy(x) if np.may_share_memory(x, given) else x


@kernel
def _spread(g: Any, shape: Sizes, windows: tuple[Window, ...]) -> Any:
    """Zeros of `shape` with g added to every entry of its window: the transpose of the totals."""
    lengths = _lengths(shape, windows)
    for window in windows:
        x, alone = _fresh(g, lengths[window[0]], window)
        for k in range(window[2]):
            place = x[_tap(k, window)]
            np.copyto(place, g) if k < alone else np.add(place, g, out=place)
        g = x
    return g if g.shape == shape else g[_inside(shape, windows)]


def _mean(x: Any, windows: tuple[Window, ...], count_include_pad: bool) -> Any:
    return _totals(x, windows) / _counts(x.shape, windows, count_include_pad, x.dtype)


def _mean_dx(g: Any, shape: Sizes, windows: tuple[Window, ...], count_include_pad: bool) -> Any:
    return _spread(g / _counts(shape, windows, count_include_pad, g.dtype), shape, windows)


_share: Op = unary(
    "avg_pool_put",
    lambda g, shape, size, stride, padding, ceil_mode, count_include_pad: _mean_dx(
        g, shape, _windows(shape, size, stride, padding, (1,) * len(size), ceil_mode), count_include_pad
    ),
    lambda h, z, g, shape, *params: avg_pool(h, *params),
)
avg_pool: Op = unary(
    "avg_pool",
    lambda x, size, stride, padding, ceil_mode=False, count_include_pad=True: _mean(
        x, _windows(x.shape, size, stride, padding, (1,) * len(size), ceil_mode), count_include_pad
    ),
    lambda g, y, x, *params: _share(g, x.shape, *params),
)


def adaptive_avg_pool(x: Any, size: Sizes) -> Any:
    """The means of `size` windows that cover the last axes.

    Of n entries window i has those from ``i n / size``, rounded down, to ``(i + 1) n / size``, rounded up.
    """
    lengths = x.shape[x.ndim - len(size) :]
    if not any(n % count for n, count in zip(lengths, size)):
        widths = tuple(n // count for n, count in zip(lengths, size))
        return avg_pool(x, widths, widths, (0,) * len(size))
    for axis, (n, count) in enumerate(zip(lengths, size), x.ndim - len(size)):
        x = moveaxis(matmul(moveaxis(x, axis, -1), _averages(n, count).astype(x.dtype)), -1, axis)
    return x


def _averages(n: int, count: int) -> Any:
    """The matrix, (n, count), whose columns average the windows."""
    i, entry = np.arange(count), np.arange(n)[:, None]
    inside = (entry >= i * n // count) & (entry < -(-(i + 1) * n // count))
    return inside / inside.sum(0)
