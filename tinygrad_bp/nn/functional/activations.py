"""Activations, spelled as in PyTorch: thin names over rows of the table, with `dim` for an axis."""

from __future__ import annotations

from typing import Any, Literal

from ... import ops
from ...recipe import Op
from ...tensor import default_dtype
from .accepted import as_input, as_sizes, check_settings

# fmt: off
__all__ = [
    "elu", "gelu", "leaky_relu", "log_softmax", "logsigmoid", "mish", "relu", "selu", "sigmoid", "silu", "softmax",
    "softplus", "softsign", "tanh",
]
# fmt: on


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)), silent and exact to the ends of the range.

    >>> import tinygrad_bp as bp
    >>> sigmoid(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([0. , 0.5, 1. ])
    """
    return ops.sigmoid(_real("sigmoid", input))


def tanh(input: Any) -> Any:
    """The hyperbolic tangent.

    >>> import tinygrad_bp as bp
    >>> tanh(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([-1.,  0.,  1.])
    """
    return ops.tanh(_real("tanh", input))


def relu(input: Any) -> Any:
    """max(x, 0); the slope at 0 is 0.

    >>> import tinygrad_bp as bp
    >>> relu(bp.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return ops.relu(as_input("relu", "input", input))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """``x`` where x > 0, else ``negative_slope * x``.

    >>> import tinygrad_bp as bp
    >>> leaky_relu(bp.tensor([-1.0, 2.0]), 0.5)
    tensor([-0.5,  2. ])
    """
    check_settings("leaky_relu", negative_slope=negative_slope)
    return ops.leaky_relu(_real("leaky_relu", input), negative_slope)


def elu(input: Any, alpha: float = 1.0) -> Any:
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> elu(bp.tensor([-800.0, 2.0]))
    tensor([-1.,  2.])
    """
    check_settings("elu", alpha=alpha)
    return ops.elu(_real("elu", input), alpha)


def silu(input: Any) -> Any:
    """``x * sigmoid(x)``, also called swish.

    >>> import tinygrad_bp as bp
    >>> silu(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([ -0.,   0., 800.])
    """
    return ops.silu(_real("silu", input))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta, without overflow; x itself where ``beta * x > threshold``, as in PyTorch.

    >>> import tinygrad_bp as bp
    >>> softplus(bp.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """
    check_settings("softplus", beta=beta, threshold=threshold)
    if beta == 0:
        raise ValueError(f"softplus: beta is {beta}. Pass a number > 0.")
    return ops.softplus(_real("softplus", input), beta, threshold)


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)), also where sigmoid itself is 0.

    >>> import tinygrad_bp as bp
    >>> logsigmoid(bp.tensor([-800.0, 800.0]))
    tensor([-800.,    0.])
    """
    return ops.log_sigmoid(_real("logsigmoid", input))


def selu(input: Any) -> Any:
    """``1.0507 x`` where x > 0, else ``1.7581 (exp(x) - 1)`` (Klambauer et al., 2017).

    >>> import tinygrad_bp as bp
    >>> selu(bp.tensor([-800.0, 1.0]))
    tensor([-1.75809934,  1.05070099])
    """
    return ops.selu(_real("selu", input))


def softsign(input: Any) -> Any:
    """x / (1 + abs(x)).

    >>> import tinygrad_bp as bp
    >>> softsign(bp.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """
    return ops.softsign(_real("softsign", input))


def mish(input: Any) -> Any:
    """``x * tanh(softplus(x))`` (Misra, 2019).

    >>> import tinygrad_bp as bp
    >>> mish(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([ -0.,   0., 800.])
    """
    return ops.mish(_real("mish", input))


def gelu(input: Any, approximate: Literal["none", "tanh"] = "none") -> Any:
    """x times the normal distribution function (Hendrycks and Gimpel, 2016).

    `approximate` "tanh" takes ``0.5 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`` in its place: off by at most 0.0005,
    and several times as fast.

    >>> import tinygrad_bp as bp
    >>> gelu(bp.tensor([-800.0, 1.0])), gelu(bp.tensor([-800.0, 1.0]), approximate="tanh")
    (tensor([-0.        ,  0.84134475]), tensor([-0.        ,  0.84119199]))
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate is {approximate!r}. Choose "none" or "tanh".')
    return (ops.gelu if approximate == "none" else ops.gelu_tanh)(_real("gelu", input))


def softmax(input: Any, dim: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `dim`.

    >>> import tinygrad_bp as bp
    >>> softmax(bp.tensor([[1000.0, 1000.0], [0.0, -1000.0]]))
    tensor([[0.5, 0.5],
            [1. , 0. ]])
    """
    return _along("softmax", ops.softmax, input, dim)


def log_softmax(input: Any, dim: int = -1) -> Any:
    """``x - log(sum(exp(x)))`` along `dim`: the logarithm of softmax where softmax itself would be 0.

    >>> import tinygrad_bp as bp
    >>> log_softmax(bp.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    return _along("log_softmax", ops.log_softmax, input, dim)


def _real(name: str, input: Any) -> Any:
    """An input of floats; integers become such, as small ones would overflow."""
    input = as_input(name, "input", input)
    return input if input.dtype.kind == "f" else input.astype(default_dtype())


def _along(name: str, row: Op, input: Any, dim: int) -> Any:
    input = _real(name, input)
    if type(dim) is not int:
        (dim,) = as_sizes(name, "dim", dim, 1, -64)
    return row(input, dim) if input.size else ops.exp(input)  # of nothing, nothing
