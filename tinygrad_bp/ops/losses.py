"""Losses beyond those of a perceptron, each with its derivative beside it; :mod:`~tinygrad_bp.ops.fused` has the first.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. A loss that is a sum of a few rows is spelled with them in
:mod:`~tinygrad_bp.nn.functional` and has no row here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import primitive
from .arithmetic import times

__all__ = ["binary_cross_entropy"]


def _logarithms(p: Any) -> tuple[Any, Any]:
    """log p and log(1 - p), at least -100."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(p), -100.0), np.maximum(np.log1p(-p), -100.0)


def _binary_cross_entropy(p: Any, y: Any) -> Any:
    log_p, log_q = _logarithms(p)
    return (y - 1.0) * log_q - y * log_p


def _target_slope(p: Any) -> Any:
    log_p, log_q = _logarithms(p)
    return log_q - log_p


binary_cross_entropy = primitive(
    "binary_cross_entropy",
    _binary_cross_entropy,
    lambda g, c, p, y: times(g, (p - y) / np.maximum(p * (1.0 - p), 1e-12)),
    lambda g, c, p, y: times(g, _target_slope(p)),
)
"""-y log(p) - (1 - y) log(1 - p), no logarithm below -100, no slope above 1e12: a certain and wrong answer has both."""
