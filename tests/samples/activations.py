"""Samples and references for the page `activations` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array
from scipy import special

from .values import S, Samples, each, real, vary


def gelu_tanh(x: Any) -> Any:
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def selu(x: Any) -> Any:
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return scale * np.where(x > 0, x, alpha * (np.exp(x) - 1))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return np.where(beta * x > threshold, x, np.log(1 + np.exp(beta * x)) / beta)


FAR = [S(array([-40.0, -5.0, -0.1, 5.0, 40.0]))]
ROWS: dict[str, Samples] = {
    "ndtr": [S(array([-3.0, -0.1, 5.0]))],
    **dict.fromkeys(["gelu_tanh", "log_sigmoid", "mish", "selu", "softsign"], FAR),
    "softplus": [
        *vary(real(2, 3), beta=[0.5, 3.0]),
        S(array([-1.0, 0.5, 1.5]), threshold=0.9),
        S(array([-1.0, 0.5, 1.5]), beta=2.0, threshold=1.9),
    ],
}
SPELLED: dict[str, Samples] = {"gelu": [*each(real)[:4], S(array([-3.0, -0.1, 5.0]))]}
FORMULAS: dict[str, Callable[..., Any]] = {
    "ndtr": special.ndtr,
    "gelu": lambda x: x / 2 * (1 + special.erf(x / np.sqrt(2))),
    "gelu_tanh": gelu_tanh,
    "log_sigmoid": lambda x: -np.log(1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    "selu": selu,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
