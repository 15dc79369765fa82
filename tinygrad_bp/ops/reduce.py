"""Reductions: sums, means, products, extremes, norms along axes.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`; `axis` is None (all), an integer or a tuple, `keepdims`
leaves the axes in with length 1, as in NumPy. Ties of ``max`` and ``min`` share the gradient equally; ``norm`` has
gradient 0 at 0; ``prod`` is right with zeros.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..recipe import primitive, unary
from .arithmetic import over, times
from .elementary import sqrt

# fmt: off
__all__ = [
    "all", "any", "argmax", "argmin", "count_nonzero", "cumsum", "logsumexp", "max", "mean", "min", "prod", "std",
    "sum", "var",
]
# fmt: on


def _kept(y: Any, x: Any, axis: Any) -> Any:
    """A reduction of x with its reduced axes put back at length 1."""
    if axis is None:
        return y.reshape((1,) * x.ndim)
    axes = {i % x.ndim for i in (axis if isinstance(axis, tuple) else (axis,))} if x.ndim else ()
    return y.reshape(tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _spread(g: Any, x: Any, axis: Any) -> Any:
    """Every entry of x receives the gradient of the reduction it took part in."""
    return np.broadcast_to(_kept(g, x, axis), x.shape)


def _count(x: Any, y: Any) -> int:
    """How many entries of x fall together in one entry of its reduction y."""
    n: int = x.size // (y.size or 1)
    return n


# ---- sums and moments --------------------------------------------------------------------------------------

sum = unary(
    "sum",
    lambda x, axis=None, keepdims=False: np.sum(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _spread(g, x, axis),
)
mean = unary(
    "mean",
    lambda x, axis=None, keepdims=False: np.mean(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _spread(g / _count(x, y), x, axis),
)
var = unary(
    "var",
    lambda x, axis=None, ddof=0, keepdims=False: np.var(x, axis, ddof=ddof, keepdims=keepdims),
    lambda g, y, x, axis, ddof, keepdims: times(
        _kept(g, x, axis), (x - _mean(x, y, axis)) * 2.0 / (_count(x, y) - ddof)
    ),
)


def _mean(x: Any, y: Any, axis: Any) -> Any:
    """The mean of each group of entries that y reduces, without NumPy's warning where there are none."""
    return x.sum(axis, keepdims=True) / _count(x, y)


cumsum = unary(
    "cumsum",
    lambda x, axis=None: np.cumsum(x, axis),
    lambda g, y, x, axis: np.flip(np.cumsum(np.flip(g, axis or 0), axis or 0), axis or 0).reshape(x.shape),
)


def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """sqrt(var(x)): the standard deviation, over n - ddof."""
    return sqrt(var(x, axis, ddof, keepdims))


# ---- products ----------------------------------------------------------------------------------------------


def _others(x: Any) -> Any:
    """For every entry, the product of the other entries of its row, without a division.

    Pairs are multiplied level by level, up to the product of all; on the way down each takes its partner's product.
    """
    n, levels = x.shape[-1], []
    while x.shape[-1] > 1:
        if x.shape[-1] % 2:
            x = np.concatenate([x, np.ones_like(x[..., :1])], -1)
        levels.append(x)
        x = x[..., 0::2] * x[..., 1::2]
    others = np.ones_like(x)
    for level in reversed(levels):
        pairs = level.reshape((*level.shape[:-1], level.shape[-1] // 2, 2))
        others = (others[..., : pairs.shape[-2], None] * pairs[..., ::-1]).reshape(level.shape)
    return others[..., :n]


def _prod_dx(g: Any, x: Any, axis: Any) -> Any:
    axes = tuple(range(x.ndim)) if axis is None or not x.ndim else axis if isinstance(axis, tuple) else (axis,)
    last = tuple(range(x.ndim - len(axes), x.ndim))
    rows = np.moveaxis(x, axes, last)
    lead = rows.shape[: x.ndim - len(axes)]
    others = _others(rows.reshape((*lead, math.prod(rows.shape[len(lead) :])))).reshape(rows.shape)
    return times(_kept(g, x, axes), np.moveaxis(others, last, axes))


prod = unary(
    "prod",
    lambda x, axis=None, keepdims=False: np.prod(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _prod_dx(g, x, axis),
)

# ---- extremes ----------------------------------------------------------------------------------------------


def _winners(g: Any, y: Any, x: Any, axis: Any) -> Any:
    """G to the entries equal to the extreme y, in equal shares."""
    won = x == _kept(y, x, axis)
    return np.where(won, _kept(g, x, axis) / won.sum(axis, keepdims=True), 0.0)


max = unary(
    "max",
    lambda x, axis=None, keepdims=False: np.max(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _winners(g, y, x, axis),
)
min = unary(
    "min",
    lambda x, axis=None, keepdims=False: np.min(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _winners(g, y, x, axis),
)
argmax = primitive("argmax", lambda x, axis=None, keepdims=False: np.argmax(x, axis, keepdims=keepdims))
argmin = primitive("argmin", lambda x, axis=None, keepdims=False: np.argmin(x, axis, keepdims=keepdims))
all = primitive("all", lambda x, axis=None, keepdims=False: np.all(x, axis, keepdims=keepdims))
any = primitive("any", lambda x, axis=None, keepdims=False: np.any(x, axis, keepdims=keepdims))
count_nonzero = primitive(
    "count_nonzero", lambda x, axis=None, keepdims=False: np.count_nonzero(x, axis, keepdims=keepdims)
)

# ---- norms and log-sums ------------------------------------------------------------------------------------


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    top = np.max(x, axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        y = top + np.log(np.sum(np.exp(x - top), axis, keepdims=True))
    return y if keepdims else np.squeeze(y, axis)


def _shares(e: Any, axis: Any) -> Any:
    """E divided by its sum: whatever rounding has put on all of it alike is gone."""
    return e / e.sum(axis, keepdims=True)


logsumexp = unary(
    "logsumexp",
    _logsumexp,
    lambda g, y, x, axis, keepdims: times(_kept(g, x, axis), _shares(np.exp(x - _kept(y, x, axis)), axis)),
)
_norm = unary(
    "norm",
    lambda x, axis=None, keepdims=False: np.sqrt(np.sum(x * x, axis, keepdims=keepdims)),
    lambda g, y, x, axis, keepdims: over(times(_kept(g, x, axis), x), _kept(y, x, axis)),
)
