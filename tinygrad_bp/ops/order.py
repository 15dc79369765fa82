"""Sorting and what follows from an order: medians, quantiles, partitions; and functions given by a table.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. A result here is made of entries of its input, and their
places are constants: the gradient goes back to where the entries stood. Of equal entries the first counts as the
smaller, as in a stable sort.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import Node, Op, unary
from .arithmetic import clip, times, where
from .discrete import of_floats
from .index import diff, getitem, put
from .reduce import _by_rows, _count, _kept, _known, sum
from .shape import _array, _from_zero

__all__ = ["interp", "median", "nanmedian", "partition", "percentile", "quantile", "sort", "trapezoid"]

# ---- permutations ------------------------------------------------------------------------------------------


_permuted: Op = unary(
    "permuted",
    lambda x, order, axis: np.take_along_axis(x, order, axis),
    lambda g, y, x, order, axis: _permuted(g, np.argsort(order, axis), axis),
)


def _put_back(g: Any, order: Any, x: Any, axis: int | None) -> Any:
    """The gradient of x from that of x in another order."""
    last = -1 if axis is None else axis
    return _permuted(g, np.argsort(order, last), last).reshape(x.shape)


sort = unary(
    "sort",
    lambda x, axis=-1, kind=None, stable=None: np.sort(x, axis, kind, stable=stable),
    lambda g, y, x, axis, kind, stable: _put_back(g, np.argsort(x, axis, "stable"), x, axis),
)
partition = unary(
    "partition",
    lambda x, kth, axis=-1: np.take_along_axis(x, np.argpartition(x, kth, axis), axis),
    lambda g, y, x, kth, axis: _put_back(g, np.argpartition(x, kth, axis), x, axis),
)

# ---- medians and quantiles ---------------------------------------------------------------------------------


def _ranks(x: Any, axis: Any) -> Any:
    """For every entry how many stand before it in the order along the axes."""
    return _by_rows(lambda rows: np.argsort(np.argsort(rows, -1, "stable"), -1), x, axis)


def _between(g: Any, ranks: Any, low: Any, high: Any, share: Any) -> Any:
    """`share` of g to the entry of rank `high`, the rest to that of rank `low`."""
    return np.where(ranks == low, (1.0 - share) * g, 0.0) + np.where(ranks == high, share * g, 0.0)


median = unary(
    "median",
    lambda x, axis=None, keepdims=False: np.median(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: _median_dx(g, x, axis, _count(x, y)),
)
nanmedian = unary(
    "nanmedian",
    lambda x, axis=None, keepdims=False: np.nanmedian(x, axis, keepdims=keepdims),
    lambda g, y, x, axis, keepdims: np.where(np.isnan(x), 0.0, _median_dx(g, x, axis, _known(x, axis))),
)


def _median_dx(g: Any, x: Any, axis: Any, n: Any) -> Any:
    return _between(_kept(g, x, axis), _ranks(x, axis), (n - 1) // 2, n // 2, 0.5)


def _quantile(x: Any, q: Any, axis: Any = None, method: Any = "linear", keepdims: bool = False) -> Any:
    y = np.quantile(x, q, axis, method=method, keepdims=keepdims)
    dtype = getattr(x, "dtype", y.dtype)
    return y.astype(dtype) if dtype.kind == "f" else y  # NumPy's is float64 for float32 and several q


def _quantile_dx(g: Any, x: Any, q: Any, axis: Any, method: Any) -> Any:
    """Every quantile lies between two ranks: where, that same quantile of the ranks tells."""

    def of_rows(rows: Any) -> Any:
        *lead, n = rows.shape
        places = np.ravel(np.quantile(np.arange(n, dtype=float), q, method=method))
        low = np.floor(places).astype(int)
        share = (places - low).astype(x.dtype)
        by_place = np.moveaxis(g.reshape((len(places), *lead)), 0, -1)
        in_order = put(times(by_place, 1.0 - share), (Ellipsis, low), rows.shape)
        in_order = in_order + put(times(by_place, share), (Ellipsis, np.minimum(low + 1, n - 1)), rows.shape)
        return _permuted(in_order, np.argsort(np.argsort(rows, -1, "stable"), -1), -1)

    return _by_rows(of_rows, x, axis)


quantile = unary(
    "quantile",
    _quantile,
    lambda g, y, x, q, axis, method, keepdims: _quantile_dx(g, x, q, axis, method),
)


def percentile(a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """quantile(a, q / 100)."""
    return quantile(a, np.true_divide(q, 100), axis, method, keepdims)


# ---- functions given by a table ----------------------------------------------------------------------------


def _at(table: Any, k: Any) -> Any:
    """The entries of a vector at positions that a compiled step computes anew."""
    if isinstance(table, Node):
        return getitem(table, k)
    return np.take_along_axis(table, np.reshape(k, -1), 0).reshape(np.shape(k))


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """The piecewise linear function through the points (xp, fp), xp increasing, at x; constant beyond the ends.

    Differentiable by x, xp and fp; at a point of the table with the slope to its right.
    """
    x, xp, fp = map(of_floats, (x, xp, fp))
    if xp.ndim != 1 or xp.shape != fp.shape or not len(xp):
        raise ValueError(f"interp: xp {xp.shape} and fp {fp.shape} are no table. Pass two vectors of one length.")
    inside = clip(x, xp[0], xp[-1])
    k = np.maximum(np.searchsorted(xp, inside, "right") - 1, 0)
    after = np.minimum(k + 1, len(xp) - 1)  # from the last point on there is no rise
    start, value = _at(xp, k), _at(fp, k)
    width = _at(xp, after) - start
    slope = (_at(fp, after) - value) / (width + (width == 0))
    y = slope * (inside - start) + value
    y = y if left is None else where(x < xp[0], left, y)
    return y if right is None else where(x > xp[-1], right, y)


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of y(x) along `axis` by the trapezoidal rule, at places `x`, or `dx` apart."""
    y = _array(y)
    axis = _from_zero("trapezoid", y, axis)
    before, width = (slice(None),) * axis, dx
    if x is not None:
        x = _array(x)
        if x.shape != (y.shape if x.ndim != 1 else y.shape[axis : axis + 1]):
            cure = "Pass one place for each entry, or for each along axis."
            raise ValueError(f"trapezoid: places x {x.shape} do not fit y {y.shape} with axis={axis}. {cure}")
        width = diff(x).reshape((-1,) + (1,) * (y.ndim - axis - 1)) if x.ndim == 1 else diff(x, axis=axis)
    return sum(width * (y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]) / 2.0, axis)
