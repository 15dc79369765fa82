"""Rows that could be spelled with others but are one row each: stable at every input, and half as many steps.

softmax, log_softmax and the losses from logits. The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. A loss row
takes `reduction`: "none" gives the loss of every sample (or entry), "sum" adds, "mean" divides by their number; that
number is applied to the gradient of the scalar, not to the large array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import primitive, unary
from .activations import in_columns
from .arithmetic import times
from .elementary import sigmoid

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "log_softmax", "mse_loss", "quadratic_loss", "softmax"]

# ---- softmax -----------------------------------------------------------------------------------------------


@in_columns
def _softmax(x: Any, axis: int = -1) -> Any:
    with np.errstate(over="ignore"):
        e = np.exp(x - 1.0 * np.maximum.reduce(x, axis, keepdims=True))  # of integers a float, so that none wraps
    return e / np.add.reduce(e, axis, keepdims=True)


@in_columns
def _log_softmax(x: Any, axis: int = -1) -> Any:
    with np.errstate(over="ignore"):
        x = x - 1.0 * np.maximum.reduce(x, axis, keepdims=True)
    return x - np.log(np.add.reduce(np.exp(x), axis, keepdims=True))


softmax = unary("softmax", _softmax, lambda g, y, x, axis: times(y, g - times(g, y).sum(axis, keepdims=True)))
log_softmax = unary("log_softmax", _log_softmax, lambda g, y, x, axis: g - times(np.exp(y), g.sum(axis, keepdims=True)))

# ---- losses ------------------------------------------------------------------------------------------------


def _reduced(losses: Any, reduction: str, n: int) -> Any:
    return losses if reduction == "none" else _averaged(losses.sum(), reduction, n)


def _averaged(total: Any, reduction: str, n: int) -> Any:
    if reduction == "mean":
        return total / n
    if reduction != "sum":
        raise ValueError(f'reduction is {reduction!r}. Choose "mean", "sum" or "none".')
    return total


def _share(g: Any, reduction: str, n: int) -> Any:
    """The gradient that reaches each of the n losses that were reduced."""
    return g / n if reduction == "mean" else g


def _row_share(g: Any, x: Any, reduction: str) -> Any:
    """The same where a loss belongs to a whole row of the input."""
    return g.reshape((len(x),) + (1,) * (x.ndim - 1)) if reduction == "none" else _share(g, reduction, len(x))


def _per_entry(slope: Any, g: Any, reduction: str) -> Any:
    """Slopes times gradients; a loss that was left out gives 0, even if it holds no number."""
    return (times if reduction == "none" else np.multiply)(slope, g)


def _per_row(slope: Any, g: Any, reduction: str) -> Any:
    return _per_entry(slope, _row_share(g, slope, reduction), reduction)


def _difference(a: Any, y: Any) -> Any:
    return a - (y if a.dtype.kind == "f" else 1.0 * y)  # integers would wrap


def _quadratic(a: Any, y: Any, reduction: str = "mean") -> Any:
    d = _difference(a, y)
    if reduction == "none":
        return 0.5 * (d * d).sum(tuple(range(1, d.ndim)))
    return _averaged(0.5 * np.vdot(d, d), reduction, len(d))


quadratic_loss = primitive(
    "quadratic_loss",
    _quadratic,
    lambda g, c, a, y, reduction: _per_row(a - y, g, reduction),
    lambda g, c, a, y, reduction: _per_row(y - a, g, reduction),
)
mse_loss = primitive(
    "mse_loss",
    lambda a, y, reduction="mean": _reduced(_difference(a, y) ** 2, reduction, a.size),
    lambda g, c, a, y, reduction: _per_entry(a - y, 2.0 * _share(g, reduction, a.size), reduction),
    lambda g, c, a, y, reduction: _per_entry(y - a, 2.0 * _share(g, reduction, a.size), reduction),
)


def _binary_cross_entropy_with_logits(x: Any, y: Any, reduction: str = "mean") -> Any:
    with np.errstate(invalid="ignore"):
        losses = times(np.maximum(x, 0.0), 1.0 - y) - times(np.minimum(x, 0.0), y)
        losses += np.log1p(np.exp(np.minimum(x, -1.0 * x)))
    return _reduced(losses, reduction, x.size)


binary_cross_entropy_with_logits = primitive(
    "binary_cross_entropy_with_logits",
    _binary_cross_entropy_with_logits,
    lambda g, c, x, y, reduction: _per_entry(sigmoid(x) - y, _share(g, reduction, x.size), reduction),
    lambda g, c, x, y, reduction: _per_entry(-x, _share(g, reduction, x.size), reduction),
)


def _cross_entropy(x: Any, y: Any, reduction: str = "mean") -> Any:
    log_p = _log_softmax(x)
    if y.ndim < x.ndim:  # labels
        return _reduced(-log_p[np.arange(len(x)), y], reduction, len(x))
    with np.errstate(invalid="ignore"):
        return _reduced(-times(y, log_p).sum(-1), reduction, len(x))  # 0 log 0 is 0


def _cross_entropy_slope(x: Any, y: Any) -> Any:
    p = softmax(x)
    if y.ndim < x.ndim:
        return p - (y[:, None] == np.arange(x.shape[-1]))
    return p * y.sum(-1, keepdims=True) - y


cross_entropy = primitive(
    "cross_entropy",
    _cross_entropy,
    lambda g, c, x, y, reduction: _per_row(_cross_entropy_slope(x, y), g, reduction),
    lambda g, c, x, y, reduction: _per_row(-log_softmax(x), g, reduction),
)
