"""The activations as layers.

Each calls one function of :mod:`~tinygrad_bp.nn.functional`. Argument names and defaults are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from . import functional as F
from .functional.accepted import as_sizes, check_settings
from .module import Module

# fmt: off
__all__ = [
    "ELU", "GELU", "SELU", "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "ReLU", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Tanh",
]
# fmt: on


class _Activation(Module):
    function: ClassVar[Callable[..., Any]]
    _settings: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Any) -> Any:
        """What the function of this name gives for these settings."""
        return type(self).function(input, *(getattr(self, name) for name in self._settings))


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)).

    >>> import tinygrad_bp as bp
    >>> Sigmoid()(bp.tensor([0.0]))
    tensor([0.5])
    """

    function = staticmethod(F.sigmoid)


class Tanh(_Activation):
    """The hyperbolic tangent.

    >>> import tinygrad_bp as bp
    >>> Tanh()(bp.tensor([0.0]))
    tensor([0.])
    """

    function = staticmethod(F.tanh)


class ReLU(_Activation):
    """max(x, 0); the slope at 0 is 0.

    >>> import tinygrad_bp as bp
    >>> ReLU()(bp.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    function = staticmethod(F.relu)


class LeakyReLU(_Activation):
    """``x`` where x > 0, else ``negative_slope * x``.

    >>> import tinygrad_bp as bp
    >>> LeakyReLU(0.5)(bp.tensor([-1.0, 2.0]))
    tensor([-0.5,  2. ])
    """

    function = staticmethod(F.leaky_relu)
    _settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        check_settings("LeakyReLU", negative_slope=negative_slope)
        self.negative_slope = negative_slope


class ELU(_Activation):
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> ELU()(bp.tensor([-800.0, 2.0]))
    tensor([-1.,  2.])
    """

    function = staticmethod(F.elu)
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        check_settings("ELU", alpha=alpha)
        self.alpha = alpha


class SiLU(_Activation):
    """``x * sigmoid(x)``, also called swish.

    >>> import tinygrad_bp as bp
    >>> SiLU()(bp.tensor([0.0, 800.0]))
    tensor([  0., 800.])
    """

    function = staticmethod(F.silu)


class SELU(_Activation):
    """``1.0507 x`` where x > 0, else ``1.7581 (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> SELU()(bp.tensor([-800.0, 1.0]))
    tensor([-1.75809934,  1.05070099])
    """

    function = staticmethod(F.selu)


class GELU(_Activation):
    """x times the normal distribution function, or with `approximate` "tanh" something close and faster.

    >>> import tinygrad_bp as bp
    >>> GELU()(bp.tensor([0.0, 1.0]))
    tensor([0.        , 0.84134475])
    """

    function = staticmethod(F.gelu)
    _settings = ("approximate",)

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        F.gelu(0.0, approximate)  # which refuses other words
        self.approximate = approximate


class Mish(_Activation):
    """``x * tanh(softplus(x))``.

    >>> import tinygrad_bp as bp
    >>> Mish()(bp.tensor([0.0, 800.0]))
    tensor([  0., 800.])
    """

    function = staticmethod(F.mish)


class Softplus(_Activation):
    """log(1 + exp(beta * x)) / beta; x itself where ``beta * x > threshold``.

    >>> import tinygrad_bp as bp
    >>> Softplus()(bp.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """

    function = staticmethod(F.softplus)
    _settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        F.softplus(0.0, beta, threshold)  # which refuses other settings
        self.beta = beta
        self.threshold = threshold


class Softsign(_Activation):
    """x / (1 + abs(x)).

    >>> import tinygrad_bp as bp
    >>> Softsign()(bp.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    function = staticmethod(F.softsign)


class LogSigmoid(_Activation):
    """log(sigmoid(x)).

    >>> import tinygrad_bp as bp
    >>> LogSigmoid()(bp.tensor([-800.0, 800.0]))
    tensor([-800.,    0.])
    """

    function = staticmethod(F.logsigmoid)


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along `dim`.

    >>> import tinygrad_bp as bp
    >>> Softmax()(bp.tensor([1.0, 1.0]))
    tensor([0.5, 0.5])
    """

    function = staticmethod(F.softmax)
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        (self.dim,) = as_sizes("Softmax", "dim", dim, 1, -64)  # NumPy has no more axes


class LogSoftmax(_Activation):
    """``x - log(sum(exp(x)))`` along `dim`.

    >>> import tinygrad_bp as bp
    >>> LogSoftmax()(bp.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """

    function = staticmethod(F.log_softmax)
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        (self.dim,) = as_sizes("LogSoftmax", "dim", dim, 1, -64)
