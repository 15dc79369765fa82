"""Activations beyond sigmoid, tanh and relu, each with its derivative beside it.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. At a kink the slope is that of the left side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import unary
from .arithmetic import over, times
from .elementary import _sigmoid

__all__ = ["elu", "leaky_relu", "silu", "softplus"]

leaky_relu = unary(
    "leaky_relu",
    lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
    lambda g, y, x, slope: np.where(x > 0, g, slope * g),
)
elu = unary(
    "elu",
    lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
    lambda g, y, x, alpha: np.where(x > 0, g, times(g, y + alpha)),
)
softplus = unary("softplus", lambda x: np.logaddexp(x, 0.0), lambda g, y, x: over(g, 1.0 + np.exp(-x)))


def _silu_slope(s: Any, x: Any) -> Any:
    return s * (1.0 + x * (1.0 - s))


silu = unary("silu", lambda x: x * _sigmoid(x), lambda g, y, x: times(g, _silu_slope(over(1.0, 1.0 + np.exp(-x)), x)))
