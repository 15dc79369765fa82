"""The activations as layers.

Each calls one function of :mod:`~tinygrad_bp.nn.functional`. Argument names and defaults are PyTorch's.
"""

from __future__ import annotations

from typing import Literal

from . import functional as F
from .functional.accepted import as_sizes, check_settings
from .module import Calling

# fmt: off
__all__ = [
    "ELU", "GELU", "SELU", "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "ReLU", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Tanh",
]
# fmt: on


class Sigmoid(Calling):
    """1 / (1 + exp(-x)).

    >>> import tinygrad_bp as bp
    >>> Sigmoid()(bp.tensor([0.0]))
    tensor([0.5])
    """

    function = staticmethod(F.sigmoid)


class Tanh(Calling):
    """The hyperbolic tangent.

    >>> import tinygrad_bp as bp
    >>> Tanh()(bp.tensor([0.0]))
    tensor([0.])
    """

    function = staticmethod(F.tanh)


class ReLU(Calling):
    """max(x, 0); the slope at 0 is 0.

    >>> import tinygrad_bp as bp
    >>> ReLU()(bp.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    function = staticmethod(F.relu)


class LeakyReLU(Calling):
    """``x`` where x > 0, else ``negative_slope * x``.

    >>> import tinygrad_bp as bp
    >>> LeakyReLU(0.5)(bp.tensor([-1.0, 2.0]))
    tensor([-0.5,  2. ])
    """

    function = staticmethod(F.leaky_relu)
    settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        check_settings("LeakyReLU", negative_slope=negative_slope)
        self.negative_slope = negative_slope


class ELU(Calling):
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> ELU()(bp.tensor([-800.0, 2.0]))
    tensor([-1.,  2.])
    """

    function = staticmethod(F.elu)
    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        check_settings("ELU", alpha=alpha)
        self.alpha = alpha


class SiLU(Calling):
    """``x * sigmoid(x)``, also called swish.

    >>> import tinygrad_bp as bp
    >>> SiLU()(bp.tensor([0.0, 800.0]))
    tensor([  0., 800.])
    """

    function = staticmethod(F.silu)


class SELU(Calling):
    """``1.0507 x`` where x > 0, else ``1.7581 (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> SELU()(bp.tensor([-800.0, 1.0]))
    tensor([-1.75809934,  1.05070099])
    """

    function = staticmethod(F.selu)


class GELU(Calling):
    """x times the normal distribution function, or with `approximate` "tanh" something close and faster.

    >>> import tinygrad_bp as bp
    >>> GELU()(bp.tensor([0.0, 1.0]))
    tensor([0.        , 0.84134475])
    """

    function = staticmethod(F.gelu)
    settings = ("approximate",)

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        F.gelu(0.0, approximate)  # which refuses other words
        self.approximate = approximate


class Mish(Calling):
    """``x * tanh(softplus(x))``.

    >>> import tinygrad_bp as bp
    >>> Mish()(bp.tensor([0.0, 800.0]))
    tensor([  0., 800.])
    """

    function = staticmethod(F.mish)


class Softplus(Calling):
    """log(1 + exp(beta * x)) / beta; x itself where ``beta * x > threshold``.

    >>> import tinygrad_bp as bp
    >>> Softplus()(bp.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """

    function = staticmethod(F.softplus)
    settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        F.softplus(0.0, beta, threshold)  # which refuses other settings
        self.beta = beta
        self.threshold = threshold


class Softsign(Calling):
    """x / (1 + abs(x)).

    >>> import tinygrad_bp as bp
    >>> Softsign()(bp.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    function = staticmethod(F.softsign)


class LogSigmoid(Calling):
    """log(sigmoid(x)).

    >>> import tinygrad_bp as bp
    >>> LogSigmoid()(bp.tensor([-800.0, 800.0]))
    tensor([-800.,    0.])
    """

    function = staticmethod(F.logsigmoid)


class Softmax(Calling):
    """exp(x) / sum(exp(x)) along `dim`.

    >>> import tinygrad_bp as bp
    >>> Softmax()(bp.tensor([1.0, 1.0]))
    tensor([0.5, 0.5])
    """

    function = staticmethod(F.softmax)
    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        (self.dim,) = as_sizes("Softmax", "dim", dim, 1, -64)  # NumPy has no more axes


class LogSoftmax(Calling):
    """``x - log(sum(exp(x)))`` along `dim`.

    >>> import tinygrad_bp as bp
    >>> LogSoftmax()(bp.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """

    function = staticmethod(F.log_softmax)
    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        (self.dim,) = as_sizes("LogSoftmax", "dim", dim, 1, -64)
