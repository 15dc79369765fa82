"""Reductions: sums, means, products and extremes along axes, and those that leave nan out.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`; `axis` is None (all), an integer or a tuple, `keepdims`
leaves the axes in with length 1, as in NumPy. Ties of ``max`` and ``min`` share the gradient equally; ``norm`` has
gradient 0 at 0; ``prod`` and ``cumprod`` are right with zeros.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..opaque import value_check
from ..recipe import Node, primitive, unary
from .arithmetic import gate, over, subtract, times, where
from .discrete import isnan, of_floats
from .elementary import sqrt

# fmt: off
__all__ = [
    "all", "any", "argmax", "argmin", "average", "count_nonzero", "cumprod", "cumsum", "logsumexp", "max", "mean",
    "min", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar", "prod",
    "ptp", "std", "sum", "var",
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


@value_check
def _check_weights(total: Any) -> None:
    if not np.all(total):
        raise ZeroDivisionError("average: some weights sum to 0. Pass weights whose sums are not 0.")


def average(a: Any, axis: Any = None, weights: Any = None, keepdims: bool = False) -> Any:
    """sum(w a) / sum(w) along `axis`; one weight for each entry, or for each place along `axis`.

    Raises
    ------
    ValueError
        For weights of another shape.
    ZeroDivisionError
        Where weights sum to 0.
    """
    if weights is None:
        return mean(a, axis, keepdims)
    shape, given = np.shape(a), np.shape(weights)
    if given != shape:
        axes = () if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, len(shape), "average")
        if given != tuple(shape[i] for i in axes):
            cure = "Pass one weight for each entry, or for each place along axis."
            raise ValueError(f"average: weights {given} do not fit shape {shape} with axis={axis}. {cure}")
        weights = np.transpose(weights, np.argsort(axes))
        weights = np.reshape(weights, tuple(n if i in axes else 1 for i, n in enumerate(shape)))
    a, total = of_floats(a), sum(weights, axis, keepdims)
    _check_weights(total.data if isinstance(total, Node) else total)
    return sum(np.multiply(a, weights), axis, keepdims) / total


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


def _by_rows(function: Any, x: Any, axis: Any) -> Any:
    """function(x) along the reduced axes of x laid out as one, the last; in the shape of x."""
    axes = tuple(range(x.ndim)) if axis is None or not x.ndim else axis if isinstance(axis, tuple) else (axis,)
    last = tuple(range(x.ndim - len(axes), x.ndim))
    rows = np.moveaxis(x, axes, last)
    lead = rows.shape[: x.ndim - len(axes)]
    y = function(rows.reshape((*lead, math.prod(rows.shape[len(lead) :]))))
    return np.moveaxis(y.reshape(rows.shape), last, axes)


prod = unary(
    "prod",
    lambda x, axis=None, keepdims=False: np.prod(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: times(_kept(g, x, axis), _by_rows(_others, x, axis)),
)


def _later(x: Any, steps: int) -> Any:
    """The entries so many steps later in their row, 0 after its end."""
    return np.concatenate([x[..., steps:], np.zeros_like(x[..., :steps])], -1)


def _cumprod_dx(g: Any, y: Any, x: Any, axis: int) -> Any:
    """dC/dx_i = y_(i-1) s_i, where s_i = g_i + x_(i+1) s_(i+1), found for all i at once by doubling the steps."""
    g, y, x = (np.moveaxis(a, axis, -1) for a in (g, y, x))
    before = np.concatenate([np.ones_like(y[..., :1]), y[..., :-1]], -1)
    factor, steps = _later(x, 1), 1
    while steps < x.shape[-1]:
        g = g + times(factor, _later(g, steps))
        factor = factor * _later(factor, steps)
        steps = 2 * steps
    return np.moveaxis(times(before, g), -1, axis)


cumprod = unary(
    "cumprod",
    lambda x, axis=None: np.cumprod(x, axis),
    lambda g, y, x, axis: _cumprod_dx(g, y, x.reshape(y.shape), axis or 0).reshape(x.shape),
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


def ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """max(x) - min(x): from peak to peak."""
    return subtract(max(a, axis, keepdims), min(a, axis, keepdims))


argmax = primitive("argmax", lambda x, axis=None, keepdims=False: np.argmax(x, axis, keepdims=keepdims))
argmin = primitive("argmin", lambda x, axis=None, keepdims=False: np.argmin(x, axis, keepdims=keepdims))
all = primitive("all", lambda x, axis=None, keepdims=False: np.all(x, axis, keepdims=keepdims))
any = primitive("any", lambda x, axis=None, keepdims=False: np.any(x, axis, keepdims=keepdims))
count_nonzero = primitive(
    "count_nonzero", lambda x, axis=None, keepdims=False: np.count_nonzero(x, axis, keepdims=keepdims)
)

# ---- nan left out ------------------------------------------------------------------------------------------


def _known(x: Any, axis: Any) -> Any:
    """How many entries are not nan."""
    return (x == x).sum(axis, keepdims=True)


def _nanvar_slope(x: Any, axis: Any, ddof: int) -> Any:
    n, absent = _known(x, axis), np.isnan(x)
    mean = np.where(absent, 0.0, x).sum(axis, keepdims=True) / n
    return np.where(absent, 0.0, x - mean) * 2.0 / (n - ddof)


nanmean = unary(
    "nanmean",
    lambda x, axis=None, keepdims=False: np.nanmean(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: np.where(np.isnan(x), 0.0, _kept(g, x, axis) / _known(x, axis)),
)
nanvar = unary(
    "nanvar",
    lambda x, axis=None, ddof=0, keepdims=False: np.nanvar(x, axis, ddof=ddof, keepdims=keepdims),
    lambda g, y, x, axis, ddof, keepdims: times(_kept(g, x, axis), _nanvar_slope(x, axis, ddof)),
)
nanmax = unary(
    "nanmax",
    lambda x, axis=None, keepdims=False: np.nanmax(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _winners(g, y, x, axis),
)
nanmin = unary(
    "nanmin",
    lambda x, axis=None, keepdims=False: np.nanmin(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _winners(g, y, x, axis),
)


def nanstd(a: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """sqrt(nanvar(x))."""
    return sqrt(nanvar(a, axis, ddof, keepdims))


def nansum(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum, nan counting as 0."""
    return sum(where(isnan(a), 0, a), axis, keepdims)


def nanprod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product, nan counting as 1."""
    return prod(where(isnan(a), 1, a), axis, keepdims)


def nancumsum(a: Any, axis: int | None = None) -> Any:
    """Running sums, nan counting as 0."""
    return cumsum(where(isnan(a), 0, a), axis)


def nancumprod(a: Any, axis: int | None = None) -> Any:
    """Running products, nan counting as 1."""
    return cumprod(where(isnan(a), 1, a), axis)


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
    lambda g, y, x, axis, keepdims: over(times(_kept(gate(g, y != 0), x, axis), x), _kept(y, x, axis)),
)
