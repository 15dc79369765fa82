"""Convolutions: one family of three rows, each the derivative of the others.

With x (n, c, h, w) and weights (f, c / groups, kh, kw), ``y[n, f, p, q]`` is the sum over c, i and j of ``w[f, c, i, j]
x[n, c, stride p + dilation i - padding, stride q + dilation j - padding]``, where x is 0 beyond its edges (what is
called a convolution in networks is a correlation). It is linear in x and in w: ``conv2d_dx`` and ``conv2d_dw`` are its
two transposes, and the partials of all three are made of the three. Params are pairs, (vertical, horizontal).

Results are shaped (n, c, h, w) over memory ordered c, h, w, n: a shift in space is then one long run, an elementwise
function keeps the order, and a flattened result is a view. Arrays in any other order are copied into it first. What
a convolution spends its time on is products of matrices, whose columns are here the pixels of one row of the result
in all samples; the notes at each function say which matrices.
The other words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..opaque import kernel
from ..recipe import Op, binary, primitive

__all__ = ["conv2d", "conv2d_dw", "conv2d_dx"]

Pair = tuple[int, int]
How = tuple[Pair, Pair, Pair, int]
"""Stride, padding, dilation and groups."""
FILTERS, SAMPLES = 16, 8  # from which on Winograd's algorithm wins

# ---- geometry ------------------------------------------------------------------------------------------------------


def _inside(length: int, count: int, start: int, step: int) -> tuple[int, int, slice]:
    """Of `count` steps from `start` on: the first that is inside an axis, the first that is beyond it, and where."""
    low = min(count, max(0, -(start // step)))
    high = max(low, min(count, (length - 1 - start) // step + 1))
    first = start + low * step
    return low, high, slice(first, first + (high - low - 1) * step + 1, step) if high > low else slice(0, 0)


def _chwn(x: Any) -> Any:
    """(n, c, h, w) as (c, h, w, n), contiguous: a view of what this page has made, of anything else a copy."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def _matrix(w: Any, groups: int) -> Any:
    """The weights of every group as a matrix of rows of a window."""
    f, c, kh, kw = w.shape
    return w.transpose(0, 2, 3, 1).reshape(groups, 1, f // groups, kh * kw * c)


# ---- windows: what the weights are multiplied with -------------------------------------------------------------------


def _shifted(x: Any, kernel_size: Pair, size: Pair, how: How) -> Any:
    """V[g, r, i, j, c, q, n] = x[c, ., stride q + dilation j - padding, n] of group g, 0 beyond the edges.

    V holds shifted copies for the columns of the kernel only, so kw times x. Its rows r are those of the padded x, i is
    always 0, and the window of row p of the result is kh rows of V: overlapping windows, but each of them one
    contiguous matrix. Where windows share no rows of x, r counts rows of the result and i the rows of the kernel.
    """
    (c, height, width, n), (kh, kw), (stride, padding, dilation, groups) = x.shape, kernel_size, how
    rows, taps, step = (size[0] - 1) * stride[0] + kh, 1, 1
    if dilation[0] > 1 or stride[0] >= kh:
        rows, taps, step = size[0], kh, stride[0]
    v = np.empty((groups, rows, taps, kw, c // groups, size[1], n), np.result_type(x, x))
    x = x.reshape(groups, c // groups, height, width, n).transpose(0, 2, 1, 3, 4)
    for i in range(taps):
        top, bottom, vertical = _inside(height, rows, i * dilation[0] - padding[0], step)
        v[:, :top, i] = 0
        v[:, bottom:, i] = 0
        for j in range(kw):
            left, right, horizontal = _inside(width, size[1], j * dilation[1] - padding[1], stride[1])
            part = v[:, top:bottom, i, j]
            part[..., :left, :] = 0
            part[..., right:, :] = 0
            part[..., left:right, :] = x[:, vertical, :, horizontal]
    return v


def _windows(x: Any, kernel_size: Pair, size: Pair, how: How) -> Any:
    """(groups, rows of the result, kh kw c, w n): of every row of the result, all that its pixels see."""
    (c, height, width, n), (stride, padding, _, groups) = x.shape, how
    if kernel_size == stride == (1, 1) and padding == (0, 0) and size == (height, width):
        return x.reshape(groups, 1, c // groups, height * width * n)  # one product for all rows
    v = _shifted(x, kernel_size, size, how)
    step = v.strides[1] * (1 if v.shape[2] == kernel_size[0] else stride[0])
    shape = (groups, size[0], kernel_size[0] * kernel_size[1] * (c // groups), size[1] * n)
    return np.lib.stride_tricks.as_strided(v, shape, (v.strides[0], step, v.strides[4], v.itemsize))


# ---- Winograd's algorithm F(2, 3) along each row -------------------------------------------------------------------
# (Winograd, 1980; Lavin and Gray, 2016.) Two neighbouring results of three weights cost four products in the place of
# six. In exact arithmetic the result is the same; rounding is no worse; nan appears where it is due, and so does
# infinity, but as nan.

_G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def _suits_winograd(a: Any, b: Any, f: int, c: int, kernel_size: Pair, how: How) -> bool:
    """Whether to do so what a, (c, h, w, n), and b are part of: a convolution of c channels by f filters."""
    stride, _, dilation, groups = how
    plain = kernel_size == (3, 3) and stride == dilation == (1, 1) and groups == 1
    exact = a.dtype == b.dtype and a.dtype in (np.float32, np.float64)  # sums of bytes would overflow
    return plain and exact and min(f, c) >= FILTERS and a.shape[3] >= SAMPLES


def _sums(x: Any, size: Pair, padding: Pair) -> Any:
    """The windows (4, rows, 3 c, w / 2 n) of Winograd's four products."""
    (rows, columns), (c, _, _, n) = size, x.shape
    half = (columns + 1) // 2
    p = _shifted(x, (3, 2), (rows, half + 1), ((1, 2), padding, (1, 1), 1))[0, :, 0]
    d0, d1, d2, d3 = p[:, 0, :, :-1], p[:, 1, :, :-1], p[:, 0, :, 1:], p[:, 1, :, 1:]
    v = np.empty((4, rows + 2, c, half, n), p.dtype)
    np.subtract(d0, d2, out=v[0])
    np.add(d1, d2, out=v[1])
    np.subtract(d2, d1, out=v[2])
    np.subtract(d1, d3, out=v[3])
    strides = (v.strides[0], v.strides[1], v.strides[2], v.itemsize)
    return np.lib.stride_tricks.as_strided(v, (4, rows, 3 * c, half * n), strides)


def _winograd(x: Any, w: Any, size: Pair, padding: Pair) -> Any:
    (f, c), (rows, columns), n = w.shape[:2], size, x.shape[3]
    u = np.matmul(w.transpose(0, 2, 1, 3), np.array(_G, w.dtype).T).transpose(3, 0, 1, 2).reshape(4, 1, f, 3 * c)
    windows, y = _sums(x, size, padding), np.empty((f, rows, columns, n), np.result_type(x, w))
    even, odd = y[:, :, 0::2].transpose(1, 0, 2, 3), y[:, :, 1::2].transpose(1, 0, 2, 3)
    m = np.empty((4, 2, f, windows.shape[3]), y.dtype)
    for row in range(0, rows, 2):  # two at a time stay in the cache
        few = slice(row, min(row + 2, rows))
        part = m[:, : few.stop - row]
        np.matmul(u, windows[:, few], out=part)
        m0, m1, m2, m3 = part.reshape(4, few.stop - row, f, (columns + 1) // 2, n)
        np.add(m0, m1, out=m0)
        np.add(m0, m2, out=even[few])
        np.subtract(m1, m2, out=m1)
        np.subtract(m1[:, :, : columns // 2], m3[:, :, : columns // 2], out=odd[few])
    return y


def _winograd_dw(x: Any, g: Any, padding: Pair) -> Any:
    """Its transpose, by the weights."""
    (f, rows, columns, n), c = g.shape, len(x)
    half, m = (columns + 1) // 2, np.zeros((4, rows, f, (columns + 1) // 2, n), g.dtype)
    m[0] = g[:, :, 0::2].transpose(1, 0, 2, 3)
    np.negative(g[:, :, 1::2].transpose(1, 0, 2, 3), out=m[3, :, :, : columns // 2])
    np.subtract(m[0], m[3], out=m[1])
    np.add(m[0], m[3], out=m[2])
    t = np.matmul(_sums(x, (rows, columns), padding), m.reshape(4, rows, f, half * n).mT).sum(1)
    return np.tensordot(t.reshape(4, 3, c, f), np.array(_G, g.dtype), (0, 0)).transpose(2, 1, 0, 3)


# ---- the three products, on (c, h, w, n) ---------------------------------------------------------------------------


def _correlated(x: Any, w: Any, size: Pair, how: How) -> Any:
    """The weights times every window."""
    f, n, groups = len(w), x.shape[3], how[3]
    if _suits_winograd(x, w, f, len(x), w.shape[2:], how):
        return _winograd(x, w, size, how[1])
    windows, y = _windows(x, w.shape[2:], size, how), np.empty((f, *size, n), np.result_type(x, w))
    rows = y.reshape(groups, f // groups, windows.shape[1], windows.shape[3]).transpose(0, 2, 1, 3)
    np.matmul(_matrix(w, groups), windows, out=rows)
    return y


@kernel
def _conv2d(x: Any, w: Any, b: Any, size: Pair, how: How) -> Any:
    y = _correlated(_chwn(x), w, size, how).transpose(3, 0, 1, 2)
    if b is None:
        return y
    return np.add(y, b.reshape(len(w), 1, 1), out=y if y.dtype == np.result_type(y, b) else None)


@kernel
def _conv2d_dw(x: Any, g: Any, kernel_size: Pair, how: How) -> Any:
    """The windows times g, summed over the rows of the result."""
    x, g, (_, padding, _, groups) = _chwn(x), _chwn(g), how
    (f, height, width, _), c = g.shape, len(x) // groups
    if _suits_winograd(x, g, f, c, kernel_size, how):
        return _winograd_dw(x, g, padding)
    windows = _windows(x, kernel_size, (height, width), how)
    rows = g.reshape(groups, f // groups, windows.shape[1], windows.shape[3])
    dw = np.matmul(windows, rows.transpose(0, 2, 3, 1)).sum(1)
    return dw.reshape(groups, *kernel_size, c, f // groups).transpose(0, 4, 3, 1, 2).reshape(f, c, *kernel_size)


@kernel
def _conv2d_dx(g: Any, w: Any, size: Pair, how: How) -> Any:
    """The transposed weights times g, which gives what each pixel of g adds to each of its window; added up there.

    With a vertical stride of 1 the product already sums over the rows of the kernel: it is a correlation with the
    weights flipped vertically, and what is left to be added up is one layer a column of the kernel.
    """
    g, (f, c, kh, kw), (stride, padding, dilation, groups) = _chwn(g), w.shape, how
    up, left = dilation[0] * (kh - 1) - padding[0], dilation[1] * (kw - 1) - padding[1]
    if _suits_winograd(g, w, c, f, (kh, kw), how):
        return _winograd(g, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), size, (up, left)).transpose(3, 0, 1, 2)
    w, (_, rows, columns, n) = w.reshape(groups, f // groups, c, kh, kw), g.shape
    if stride[0] == 1:
        w = w[:, :, :, ::-1].transpose(0, 4, 2, 1, 3).reshape(groups * kw * c, f // groups, kh, 1)
        summed: How = ((1, 1), (up, 0), (dilation[0], 1), groups)
        start, rows, kh = 0, size[0], 1
    else:
        w = w.transpose(0, 3, 4, 2, 1).reshape(groups * kh * kw * c, f // groups, 1, 1)
        summed = ((1, 1), (0, 0), (1, 1), groups)
        start = -padding[0]
    t = _correlated(g, w, (rows, columns), summed).reshape(groups, kh, kw, c, rows, columns, n)
    dx = np.zeros((groups, c, *size, n), t.dtype)
    for i in range(kh):
        top, bottom, vertical = _inside(size[0], rows, start + i * dilation[0], stride[0])
        for j in range(kw):
            left, right, horizontal = _inside(size[1], columns, j * dilation[1] - padding[1], stride[1])
            dx[:, :, vertical, horizontal] += t[:, i, j, :, top:bottom, left:right]
    return dx.reshape(groups * c, *size, n).transpose(3, 0, 1, 2)


# ---- the rows ------------------------------------------------------------------------------------------------------


def conv_size(name: str, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> tuple[int, ...]:
    """The size of the result of a convolution over x of shape (n, c, *size), or why there is none."""
    if not len(w) == len(x) == len(stride) + 2:
        raise ValueError(f"{name}: input {x} and weight {w} do not fit. Pass (n, c, size) and (f, c / groups, kernel).")
    if groups < 1 or x[1] % groups or w[0] % groups:
        raise ValueError(f"{name}: groups={groups} does not divide channels {x[1]} or filters {w[0]}. Pass a divisor.")
    if x[1] != w[1] * groups:
        times = f" times groups={groups}" if groups > 1 else ""
        raise ValueError(
            f"{name}: input {x} has {x[1]} channels, weight {w} expects {w[1]}{times}. "
            "Pass an input of as many, or another weight."
        )
    for what, values, least in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if min(values) < least:
            raise ValueError(f"{name}: {what} is {values}. Pass numbers >= {least}.")
    spans = tuple(d * (k - 1) + 1 for k, d in zip(w[2:], dilation))
    room = tuple(n + 2 * p for n, p in zip(x[2:], padding))
    if min(w) < 1 or any(span > there for span, there in zip(spans, room)):
        raise ValueError(
            f"{name}: the kernel {w[2:]} spans {spans}, the padded input {room}. Pass a larger input or more padding."
        )
    return tuple((there - span) // s + 1 for there, span, s in zip(room, spans, stride))


def check_bias(name: str, b: Any, w: Any, filters: int) -> None:
    """Refuse a bias of another shape than (filters,)."""
    if b != (filters,):
        raise ValueError(f"{name}: bias {b} does not fit weight {w}. Pass one a filter, {(filters,)}.")


def _check_gradient(name: str, g: Any, filters: int, size: tuple[int, ...]) -> None:
    if g.shape[1:] != (filters, *size):
        raise ValueError(f"{name}: g {g.shape} is no result of this convolution. Pass (n, {filters}, *{size}).")


def _forward(x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    how = stride, padding, dilation, groups
    size = conv_size("conv2d", x.shape, w.shape, *how)
    if b is not None:
        check_bias("conv2d", b.shape, w.shape, len(w))
    return _conv2d(x, w, b, size, how)


def _forward_dx(g: Any, w: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    how, shape = (stride, padding, dilation, groups), (len(g), w.shape[1] * groups, *size)
    _check_gradient("conv2d_dx", g, len(w), conv_size("conv2d_dx", shape, w.shape, *how))
    return _conv2d_dx(g, w, size, how)


def _forward_dw(x: Any, g: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    how, shape = (stride, padding, dilation, groups), (g.shape[1], x.shape[1] // max(groups, 1), *kernel_size)
    _check_gradient("conv2d_dw", g, shape[0], conv_size("conv2d_dw", x.shape, shape, *how))
    return _conv2d_dw(x, g, kernel_size, how)


conv2d: Op = primitive(
    "conv2d",
    _forward,
    lambda g, y, x, w, b, *how: conv2d_dx(g, w, x.shape[2:], *how),
    lambda g, y, x, w, b, *how: conv2d_dw(x, g, w.shape[2:], *how),
    lambda g, y, x, w, b, *how: g.sum((0, 2, 3)),
)
conv2d_dx: Op = binary(
    "conv2d_dx",
    _forward_dx,
    lambda h, x, g, w, size, *how: conv2d(h, w, None, *how),
    lambda h, x, g, w, size, *how: conv2d_dw(h, g, w.shape[2:], *how),
)
conv2d_dw: Op = binary(
    "conv2d_dw",
    _forward_dw,
    lambda h, w, x, g, kernel_size, *how: conv2d_dx(g, h, x.shape[2:], *how),
    lambda h, w, x, g, kernel_size, *how: conv2d(x, h, None, *how),
)
