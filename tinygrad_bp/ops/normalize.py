"""Normalisation: mean 0 and variance 1 over sets of entries, then a weight and a bias.

``layer_norm`` and ``rms_norm`` see a matrix whose rows are normalised, with a weight a column; ``batch_norm`` one with
a channel a row (a view where memory is ordered c, h, w, n), with a weight a row. Sums are matrix-vector products, the
fastest NumPy has. With r = 1 / sqrt(variance + eps), c the centred entries and g the gradient after the weight, every
backward is ``r (g - mean(g)) - c r^3 mean(g c)``. The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..opaque import kernel
from ..recipe import Node, row
from .arithmetic import add, multiply
from .shape import reshape

__all__ = ["batch_norm", "group_norm", "layer_norm", "rms_norm"]

# ---- rows --------------------------------------------------------------------------------------------------


def _matrix(x: Any, axes: int) -> Any:
    """Its last axes as one, the others as one."""
    return x.reshape(math.prod(x.shape[: x.ndim - axes]), math.prod(x.shape[x.ndim - axes :]))


def _widened(x: Any, *others: Any) -> Any:
    """X in the dtype that it has together with others, some of which may be None."""
    return x.astype(np.result_type(x, *[other for other in others if other is not None]), copy=False)


@kernel
def _normalized(x: Any, w: Any, b: Any, axes: int, eps: float, centred: bool) -> Any:
    x = _widened(x, w, b)
    rows = _matrix(x, axes)
    n = rows.shape[1]
    c = rows - (rows @ np.full(n, 1.0 / n, x.dtype))[:, None] if centred else rows
    r = 1.0 / np.sqrt(np.vecdot(c, c) / n + eps)
    y = np.multiply(c, r[:, None], out=c if centred else None)
    if w is not None:
        y *= w.reshape(-1)
    if b is not None:
        y += b.reshape(-1)
    return y.reshape(x.shape)


def _row_slopes(g: Any, x: Any, w: Any, b: Any, axes: int, eps: float, centred: bool) -> tuple[Any, Any, Any]:
    rows, gs = _matrix(x, axes), _matrix(g, axes)
    n = rows.shape[1]
    even = np.ones_like(rows, shape=(n,)) / n
    weights = even if w is None else w.reshape(-1) / n
    c = rows - (rows @ even)[:, None] if centred else rows
    r = 1.0 / np.sqrt((c * c) @ even + eps)
    gc = gs * c
    dx = gs if w is None else gs * w.reshape(-1)
    if centred:
        dx = dx - (gs @ weights)[:, None]
    dx = dx * r[:, None]
    dx -= c * (r * r * r * (gc @ weights))[:, None]
    dw = None if w is None else (r @ gc).reshape(w.shape)
    db = None if b is None else (np.ones_like(r) @ gs).reshape(b.shape)
    return dx if dx.shape == x.shape else dx.reshape(x.shape), dw, db


layer_norm = row(
    "layer_norm",
    lambda x, w, b, axes=1, eps=1e-5: _normalized(x, w, b, axes, eps, True),
    joint=lambda g, y, x, w, b, axes, eps: _row_slopes(g, x, w, b, axes, eps, True),
)
rms_norm = row(
    "rms_norm",
    lambda x, w, axes=1, eps=1e-5: _normalized(x, w, None, axes, eps, False),
    joint=lambda g, y, x, w, axes, eps: _row_slopes(g, x, w, None, axes, eps, False)[:2],
)


def group_norm(x: Any, w: Any, b: Any, num_groups: int, eps: float = 1e-5) -> Any:
    """(n, c, ...) normalised over groups of channels, sample by sample, with a weight and a bias a channel."""
    flat = layer_norm(reshape(x, (x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups)), None, None, 1, eps)
    y, channel = reshape(flat, x.shape), (-1,) + (1,) * (len(x.shape) - 2)
    y = y if w is None else multiply(y, reshape(w, channel))
    return y if b is None else add(y, reshape(b, channel))


# ---- channels ----------------------------------------------------------------------------------------------


def _channels(x: Any) -> Any:
    """(n, c, ...) as a matrix with a channel a row."""
    return x.transpose(*range(1, x.ndim), 0).reshape(x.shape[1], math.prod(x.shape[2:]) * x.shape[0])


def _samples(y: Any, shape: tuple[int, ...]) -> Any:
    """A matrix with a channel a row as (n, c, ...)."""
    return y.reshape(*shape[1:], shape[0]).transpose(len(shape) - 1, *range(len(shape) - 1))


@kernel
def channel_moments(x: Any) -> Any:
    """The mean and the variance (over n, not n - 1) of every channel of (n, c, ...), as the rows of a matrix."""
    rows = _channels(x)
    even = np.full(rows.shape[1], 1.0 / rows.shape[1], x.dtype)
    mean = rows @ even
    c = rows - mean[:, None]
    c *= c
    return np.stack([mean, c @ even])


@kernel
def _scaled(x: Any, w: Any, b: Any, moments: Any, eps: float) -> Any:
    channel = (-1,) + (1,) * (x.ndim - 2)
    r = 1.0 / np.sqrt(moments[1] + eps)
    y = _widened(x, w, b) - moments[0].reshape(channel)
    y *= (r if w is None else r * w).reshape(channel)
    if b is not None:
        y += b.reshape(channel)
    return y


def _channel_slopes(g: Any, x: Any, w: Any, b: Any, moments: Any, eps: float) -> tuple[Any, ...]:
    rows, gs = _channels(x), _channels(g)
    n = rows.shape[1]
    even = np.ones_like(rows, shape=(n,)) / n
    known = moments is not None and not isinstance(x, Node)  # differentiated once more, they depend on x
    c = rows - (moments[0] if known else rows @ even)[:, None]
    r = 1.0 / np.sqrt((moments[1] if known else (c * c) @ even) + eps)
    scale = r if w is None else r * w
    g_mean, gc_mean = gs @ even, (gs * c) @ even
    dx = (gs - g_mean[:, None]) * scale[:, None] - c * (scale * r * r * gc_mean)[:, None]
    return _samples(dx, x.shape), None if w is None else n * r * gc_mean, None if b is None else n * g_mean, None


batch_norm = row(
    "batch_norm",
    lambda x, w, b, moments, eps=1e-5: _scaled(x, w, b, channel_moments(x) if moments is None else moments, eps),
    joint=lambda g, y, x, w, b, moments, eps: _channel_slopes(g, x, w, b, moments, eps),
)
"""Every channel of (n, c, ...) normalised; `moments` are its :func:`channel_moments`, or None if nobody knows them."""
