"""The activations as layers.

Each calls one row of the table (:mod:`tinygrad_bp.ops`), where the formulas are computed. Argument names and defaults
are PyTorch's.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from .module import Module

__all__ = ["ELU", "LeakyReLU", "LogSoftmax", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh"]


class Sigmoid(Module):
    """1 / (1 + exp(-x)).

    >>> import tinygrad_bp as bp
    >>> Sigmoid()(bp.tensor([0.0]))
    tensor([0.5])
    """

    def forward(self, input: Any) -> Any:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent.

    >>> import tinygrad_bp as bp
    >>> Tanh()(bp.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Any) -> Any:
        """tanh(x)."""
        return ops.tanh(input)


class ReLU(Module):
    """max(x, 0); the slope at 0 is 0.

    >>> import tinygrad_bp as bp
    >>> ReLU()(bp.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Any) -> Any:
        """max(x, 0)."""
        return ops.relu(input)


class LeakyReLU(Module):
    """``x`` where x > 0, else ``negative_slope * x``.

    >>> import tinygrad_bp as bp
    >>> LeakyReLU(0.5)(bp.tensor([-1.0, 2.0]))
    tensor([-0.5,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Any:
        """``x`` where x > 0, else ``negative_slope * x``."""
        return ops.leaky_relu(input, self.negative_slope)


class ELU(Module):
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> ELU()(bp.tensor([-800.0, 2.0]))
    tensor([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        """``x`` where x > 0, else ``alpha * (exp(x) - 1)``."""
        return ops.elu(input, self.alpha)


class SiLU(Module):
    """``x * sigmoid(x)``, also called swish.

    >>> import tinygrad_bp as bp
    >>> SiLU()(bp.tensor([0.0, 800.0]))
    tensor([  0., 800.])
    """

    def forward(self, input: Any) -> Any:
        """``x * sigmoid(x)``."""
        return ops.silu(input)


class Softplus(Module):
    """log(1 + exp(x)).

    >>> import tinygrad_bp as bp
    >>> Softplus()(bp.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """

    def forward(self, input: Any) -> Any:
        """log(1 + exp(x))."""
        return ops.softplus(input)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along `dim`.

    >>> import tinygrad_bp as bp
    >>> Softmax()(bp.tensor([1.0, 1.0]))
    tensor([0.5, 0.5])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        """exp(x) / sum(exp(x))."""
        return ops.softmax(input, self.dim)


class LogSoftmax(Module):
    """``x - log(sum(exp(x)))`` along `dim`.

    >>> import tinygrad_bp as bp
    >>> LogSoftmax()(bp.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        """``x - log(sum(exp(x)))``."""
        return ops.log_softmax(input, self.dim)
