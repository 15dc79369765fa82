"""The activations as layers.

Each calls one row of the table (:mod:`tinygrad_bp.ops`), where the formulas are computed. Argument names and defaults
are PyTorch's.
"""

from __future__ import annotations

from typing import Any, Literal

from .. import ops
from . import functional as F
from .module import Module

# fmt: off
__all__ = [
    "ELU", "GELU", "SELU", "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "ReLU", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Tanh",
]
# fmt: on


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


class SELU(Module):
    """``1.0507 x`` where x > 0, else ``1.7581 (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> SELU()(bp.tensor([-800.0, 1.0]))
    tensor([-1.75809934,  1.05070099])
    """

    def forward(self, input: Any) -> Any:
        """``1.0507 x`` where x > 0, else ``1.7581 (exp(x) - 1)``."""
        return ops.selu(input)


class GELU(Module):
    """x times the normal distribution function, or with `approximate` "tanh" something close and faster.

    >>> import tinygrad_bp as bp
    >>> GELU()(bp.tensor([0.0, 1.0]))
    tensor([0.        , 0.84134475])
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        """x times the normal distribution function."""
        return F.gelu(input, self.approximate)


class Mish(Module):
    """``x * tanh(softplus(x))``.

    >>> import tinygrad_bp as bp
    >>> Mish()(bp.tensor([0.0, 800.0]))
    tensor([  0., 800.])
    """

    def forward(self, input: Any) -> Any:
        """``x * tanh(softplus(x))``."""
        return ops.mish(input)


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta; x itself where ``beta * x > threshold``.

    >>> import tinygrad_bp as bp
    >>> Softplus()(bp.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        """log(1 + exp(beta * x)) / beta."""
        return F.softplus(input, self.beta, self.threshold)


class Softsign(Module):
    """x / (1 + abs(x)).

    >>> import tinygrad_bp as bp
    >>> Softsign()(bp.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    def forward(self, input: Any) -> Any:
        """x / (1 + abs(x))."""
        return ops.softsign(input)


class LogSigmoid(Module):
    """log(sigmoid(x)).

    >>> import tinygrad_bp as bp
    >>> LogSigmoid()(bp.tensor([-800.0, 800.0]))
    tensor([-800.,    0.])
    """

    def forward(self, input: Any) -> Any:
        """log(sigmoid(x))."""
        return ops.log_sigmoid(input)


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
