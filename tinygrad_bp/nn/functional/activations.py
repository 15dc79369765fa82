"""Activations, spelled as in PyTorch: thin names over rows of the table, with `dim` for an axis."""

from __future__ import annotations

from typing import Any

from ... import ops

__all__ = ["elu", "leaky_relu", "log_softmax", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh"]


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)), silent and exact to the ends of the range.

    >>> import tinygrad_bp as bp
    >>> sigmoid(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([0. , 0.5, 1. ])
    """
    return ops.sigmoid(input)


def tanh(input: Any) -> Any:
    """The hyperbolic tangent.

    >>> import tinygrad_bp as bp
    >>> tanh(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([-1.,  0.,  1.])
    """
    return ops.tanh(input)


def relu(input: Any) -> Any:
    """max(x, 0); the slope at 0 is 0.

    >>> import tinygrad_bp as bp
    >>> relu(bp.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return ops.relu(input)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """``x`` where x > 0, else ``negative_slope * x``.

    >>> import tinygrad_bp as bp
    >>> leaky_relu(bp.tensor([-1.0, 2.0]), 0.5)
    tensor([-0.5,  2. ])
    """
    return ops.leaky_relu(input, negative_slope)


def elu(input: Any, alpha: float = 1.0) -> Any:
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> elu(bp.tensor([-800.0, 2.0]))
    tensor([-1.,  2.])
    """
    return ops.elu(input, alpha)


def silu(input: Any) -> Any:
    """``x * sigmoid(x)``, also called swish.

    >>> import tinygrad_bp as bp
    >>> silu(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([ -0.,   0., 800.])
    """
    return ops.silu(input)


def softplus(input: Any) -> Any:
    """log(1 + exp(x)), without overflow.

    >>> import tinygrad_bp as bp
    >>> softplus(bp.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """
    return ops.softplus(input)


def softmax(input: Any, dim: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `dim`.

    >>> import tinygrad_bp as bp
    >>> softmax(bp.tensor([[1000.0, 1000.0], [0.0, -1000.0]]))
    tensor([[0.5, 0.5],
            [1. , 0. ]])
    """
    return ops.softmax(input, dim)


def log_softmax(input: Any, dim: int = -1) -> Any:
    """``x - log(sum(exp(x)))`` along `dim`: the logarithm of softmax where softmax itself would be 0.

    >>> import tinygrad_bp as bp
    >>> log_softmax(bp.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    return ops.log_softmax(input, dim)
