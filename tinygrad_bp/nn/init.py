"""Initial values, written in place into a tensor, drawn from the package's one generator.

`fan_in` is the number of inputs that one output sums over, `fan_out` the number of outputs that one input feeds: for a
weight (out, in, *kernel) they are in * prod(kernel) and out * prod(kernel). Every function returns its tensor.
:mod:`~tinygrad_bp.nn.layers` says which layer starts with which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from ..random import generator
from ..recipe import wrote
from ..tensor import Tensor

# fmt: off
__all__ = [
    "calculate_gain", "constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "normal_", "ones_",
    "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]
# fmt: on


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every entry becomes `val`.

    >>> import tinygrad_bp as bp
    >>> constant_(bp.zeros(2), 0.5)
    tensor([0.5, 0.5])
    """
    return _write(tensor, np.full(_shape("constant_", tensor, val=val), val))


def zeros_(tensor: Tensor) -> Tensor:
    """Every entry becomes 0.

    >>> import tinygrad_bp as bp
    >>> zeros_(bp.ones(2))
    tensor([0., 0.])
    """
    return _write(tensor, np.zeros(_shape("zeros_", tensor)))


def ones_(tensor: Tensor) -> Tensor:
    """Every entry becomes 1.

    >>> import tinygrad_bp as bp
    >>> ones_(bp.zeros(2))
    tensor([1., 1.])
    """
    return _write(tensor, np.ones(_shape("ones_", tensor)))


def eye_(tensor: Tensor) -> Tensor:
    """The identity, of a matrix of any shape.

    >>> import tinygrad_bp as bp
    >>> eye_(bp.zeros(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    shape = _shape("eye_", tensor)
    if len(shape) != 2:
        raise ValueError(f"eye_: a tensor of shape {shape} is no matrix. Pass one of two axes.")
    return _write(tensor, np.eye(*shape))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Draw from U(a, b).

    >>> import tinygrad_bp as bp
    >>> bp.manual_seed(0)
    >>> uniform_(bp.zeros(2), -1.0, 1.0)
    tensor([ 0.27392337, -0.46042657])
    """
    shape = _shape("uniform_", tensor, a=a, b=b)
    if not a <= b:
        raise ValueError(f"uniform_: the bounds {a} and {b} enclose nothing. Pass a <= b.")
    return _write(tensor, generator().uniform(a, b, shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw from N(mean, std^2).

    >>> import tinygrad_bp as bp
    >>> bp.manual_seed(0)
    >>> normal_(bp.zeros(2))
    tensor([ 0.12573022, -0.13210486])
    """
    shape = _shape("normal_", tensor, mean=mean, std=std)
    if not std >= 0:
        raise ValueError(f"normal_: std is {std}. Pass one >= 0.")
    return _write(tensor, generator().normal(mean, std, shape))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """Draw from N(mean, std^2), again and again where a number falls outside of [a, b].

    >>> import tinygrad_bp as bp
    >>> bp.manual_seed(0)
    >>> trunc_normal_(bp.zeros(2), a=0.0)
    tensor([0.12573022, 0.64042265])
    """
    shape = _shape("trunc_normal_", tensor, mean=mean, std=std, a=a, b=b)
    if not (std > 0 and a < b):
        raise ValueError(f"trunc_normal_: std is {std}, the bounds {a} and {b}. Pass a std > 0 and a < b.")
    share = 0.5 * (math.erf((b - mean) / (std * math.sqrt(2.0))) - math.erf((a - mean) / (std * math.sqrt(2.0))))
    if not share > 1e-3:
        raise ValueError(
            f"trunc_normal_: N({mean}, {std}^2) falls into [{a}, {b}] with probability {share:.1e}. "
            "Move the bounds around the mean."
        )
    values, outside = np.empty(math.prod(shape)), np.arange(math.prod(shape))
    while outside.size:
        values[outside] = drawn = generator().normal(mean, std, outside.size)
        outside = outside[(drawn < a) | (drawn > b)]
    return _write(tensor, values.reshape(shape))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """`gain` times a random orthogonal matrix (Saxe et al., 2014): rows or columns, the fewer, are orthonormal.

    A weight (out, in, *kernel) is taken as a matrix of `out` rows.

    >>> import numpy as np, tinygrad_bp as bp
    >>> w = orthogonal_(bp.zeros(2, 5)).data
    >>> np.allclose(w @ w.T, np.eye(2))
    True
    """
    _fans("orthogonal_", tensor, gain=gain)
    shape = tensor.data.shape
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator().normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diagonal(r))  # so that all orthogonal matrices are equally likely
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(shape))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(-l, l), l = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010, equation 16).

    >>> import tinygrad_bp as bp
    >>> xavier_uniform_(bp.zeros(3, 5)).shape
    (3, 5)
    """
    return _symmetric(tensor, gain * math.sqrt(2.0 / sum(_fans("xavier_uniform_", tensor, gain=gain))))


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, gain^2 * 2 / (fan_in + fan_out)) (Glorot and Bengio, 2010, equation 12).

    >>> import tinygrad_bp as bp
    >>> xavier_normal_(bp.zeros(3, 5)).shape
    (3, 5)
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor, gain=gain))))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """U(-l, l), l = gain * sqrt(3 / fan) (He et al., 2015); `a` is the negative slope of leaky_relu.

    >>> import tinygrad_bp as bp
    >>> kaiming_uniform_(bp.zeros(3, 5), nonlinearity="relu").shape
    (3, 5)
    """
    return _symmetric(tensor, calculate_gain(nonlinearity, a) / math.sqrt(_fan("kaiming_uniform_", tensor, mode)))


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """N(0, gain^2 / fan) (He et al., 2015, equation 14); `a` is the negative slope of leaky_relu.

    >>> import tinygrad_bp as bp
    >>> kaiming_normal_(bp.zeros(3, 5), nonlinearity="relu").shape
    (3, 5)
    """
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan("kaiming_normal_", tensor, mode)))


def lecun_normal_(tensor: Tensor) -> Tensor:
    """N(0, 1 / fan_in) (LeCun et al., 1998); Nielsen's better initialisation, chapter 3.

    >>> import tinygrad_bp as bp
    >>> lecun_normal_(bp.zeros(3, 5)).shape
    (3, 5)
    """
    return normal_(tensor, 0.0, 1.0 / math.sqrt(_fan("lecun_normal_", tensor, "fan_in")))


_GAINS: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(["linear", "conv1d", "conv2d", "conv_transpose2d", "sigmoid"], lambda slope: 1.0),
    "tanh": lambda slope: 5.0 / 3.0,
    "relu": lambda slope: math.sqrt(2.0),
    "selu": lambda slope: 0.75,
    "leaky_relu": lambda slope: math.sqrt(2.0 / (1.0 + slope * slope)),
}


def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """The factor that keeps the scale of signals through an activation; `param` is the slope of leaky_relu.

    >>> calculate_gain("relu")
    1.4142135623730951
    """
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: '{nonlinearity}' has no gain. Choose one of {', '.join(_GAINS)}.")
    _check_numbers("calculate_gain", param=param)
    return _GAINS[nonlinearity](param)


def _check_numbers(name: str, **numbers: Any) -> None:
    for role, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}: {role} is {value!r}, a {type(value).__name__}. Pass a number.")


def _shape(name: str, tensor: Any, **numbers: Any) -> tuple[int, ...]:
    """The shape of a tensor of floats; anything else is refused, and settings that are no numbers."""
    if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
        what = f"one of {tensor.dtype}" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
        raise TypeError(f"{name}: got {what} for a tensor. Pass one of floats, such as layer.weight.")
    _check_numbers(name, **numbers)
    return tensor.shape


def _fans(name: str, tensor: Tensor, **numbers: Any) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight."""
    shape = _shape(name, tensor, **numbers)
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"{name}: a tensor of shape {shape} has no fans. Pass a weight (out, in, ...).")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def _fan(name: str, tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode is '{mode}'. Choose fan_in or fan_out.")
    return _fans(name, tensor)[mode == "fan_out"]


def _symmetric(tensor: Tensor, std: float) -> Tensor:
    """The uniform distribution around 0 of this standard deviation."""
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound)


def _write(tensor: Tensor, values: Any) -> Tensor:
    tensor.data[...] = values
    wrote(tensor)
    return tensor
