"""Activations beyond sigmoid, tanh and relu, each with its derivative beside it.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. At a kink the slope is that of the left side. GELU is x times
the normal distribution function (Hendrycks and Gimpel, 2016), SELU's two constants make mean 0 and variance 1 a fixed
point (Klambauer et al., 2017), Mish is x tanh(softplus(x)) (Misra, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..recipe import unary
from .arithmetic import multiply, over, times
from .elementary import _sigmoid
from .special import erf

__all__ = [
    "elu",
    "gelu",
    "gelu_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "ndtr",
    "selu",
    "silu",
    "softplus",
    "softsign",
]


def in_columns(f: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """f(x, axis) with the rows of a narrow matrix made columns, where NumPy reduces several times as fast."""

    def turned(x: Any, axis: int = -1) -> Any:
        is_narrow = axis == -1 and np.ndim(x) == 2 and x.shape[1] <= 64
        return f(x.T.copy(), 0).T if is_narrow else f(x, axis)

    return turned


# ---- straight on the right, exponential on the left -------------------------------------------------------

leaky_relu = unary(
    "leaky_relu",
    lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
    lambda g, y, x, slope: np.where(x > 0, g, slope * g),
)
elu = unary(
    "elu",
    lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
    lambda g, y, x, alpha: np.where(x > 0, g, times(g, alpha * np.exp(x))),
)
SCALE, SATURATION = 1.0507009873554804934, 1.7580993408473768599  # SELU's lambda, and lambda times its alpha
selu = unary(
    "selu",
    lambda x: np.where(x > 0, SCALE * x, SATURATION * np.expm1(np.minimum(x, 0.0))),
    lambda g, y, x: np.where(x > 0, SCALE * g, times(g, SATURATION * np.exp(x))),
)
softplus = unary(
    "softplus",
    lambda x, beta=1.0, threshold=20.0: np.where(
        beta * x > threshold, x, np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(1.0 * beta * x))) / beta
    ),
    lambda g, y, x, beta, threshold: np.where(beta * x > threshold, g, over(g, 1.0 + np.exp(-beta * x))),
)
log_sigmoid = unary(
    "log_sigmoid",
    lambda x: np.minimum(x, 0.0) - np.log1p(np.exp(np.minimum(x, -1.0 * x))),
    lambda g, y, x: over(g, 1.0 + np.exp(x)),
)
softsign = unary("softsign", lambda x: x / (1.0 + np.abs(1.0 * x)), lambda g, y, x: over(g, np.square(1.0 + np.abs(x))))

# ---- x times a gate ----------------------------------------------------------------------------------------


def _gated_slope(s: Any, turn: Any) -> Any:
    """The slope of x s, where s = sigmoid(u) and turn = x du/dx."""
    return s * (1.0 + turn * (1.0 - s))


silu = unary("silu", lambda x: x * _sigmoid(x), lambda g, y, x: times(g, _gated_slope(_sigmoid(x), x)))

ROOT_HALF, ROOT_TAU = math.sqrt(0.5), math.sqrt(2.0 * math.pi)


ndtr = unary(
    "ndtr",
    lambda x: 0.5 * (1.0 + erf(x * ROOT_HALF)),
    lambda g, y, x: times(g, np.exp(-0.5 * x * x) / ROOT_TAU),
)


def gelu(x: Any) -> Any:
    """x times the normal distribution function, which is a value of the graph: erf is computed once."""
    return multiply(x, ndtr(x))


LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
CUBIC = 0.044715 * LINEAR


def _gelu_gate(x: Any) -> Any:
    """0.5 (1 + tanh(u)) = sigmoid(2u), with u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return _sigmoid(x * (x * CUBIC * x + LINEAR))


gelu_tanh = unary(
    "gelu_tanh",
    lambda x: x * _gelu_gate(x),
    lambda g, y, x: times(g, _gated_slope(_gelu_gate(x), x * (x * x * (3.0 * CUBIC) + LINEAR))),
)


def _mish_gate(x: Any) -> tuple[Any, Any]:
    """tanh(log(1 + e)) as n / (n + 2), n = e (e + 2); and e = exp(x), held where the gate is 1."""
    e = np.exp(np.minimum(x, 40.0))
    n = e * (e + 2.0)
    return n / (n + 2.0), e


def _mish_slope(x: Any) -> Any:
    t, e = _mish_gate(x)
    return t + x * (1.0 - t * t) * (e / (1.0 + e))


mish = unary("mish", lambda x: x * _mish_gate(x)[0], lambda g, y, x: times(g, _mish_slope(x)))
