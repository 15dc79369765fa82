"""Ways to make a tensor: from data, and from a shape.

Each takes `requires_grad` and `dtype`, whose default is that of the package. Random ones are in
:mod:`tinygrad_bp.random`.
"""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike, NDArray

from .tensor import DType, Tensor, as_array, default_dtype

__all__ = ["arange", "as_shape", "eye", "from_numpy", "full", "ones", "tensor", "zeros"]


def as_shape(name: str, lengths: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape in ``(2, 3)`` or ``((2, 3),)``; errors speak in the name of `name`."""
    shape = tuple(lengths[0]) if len(lengths) == 1 and np.ndim(lengths[0]) else lengths
    try:
        found = tuple(map(index, shape))
    except TypeError:
        raise TypeError(f"{name}: shape {shape} is not made of integers. Pass lengths such as 2, 3.") from None
    if min(found, default=0) < 0:
        raise ValueError(f"{name}: shape {found} has a negative length. Pass lengths >= 0.")
    return found


def tensor(data: Any, requires_grad: bool = False, dtype: DType = None) -> Tensor:
    """A new tensor with a copy of `data`."""
    return Tensor(as_array(data, dtype).copy(), requires_grad)


def from_numpy(array: NDArray[Any]) -> Tensor:
    """A tensor that shares memory with `array`."""
    if not isinstance(array, ndarray):
        raise TypeError(f"from_numpy: got a {type(array).__name__}. Pass an ndarray, or use tensor(...).")
    return Tensor(array)


def zeros(*shape: Any, requires_grad: bool = False, dtype: DType = None) -> Tensor:
    """Zeros of the given shape: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return full(as_shape("zeros", shape), 0.0, requires_grad, dtype)


def ones(*shape: Any, requires_grad: bool = False, dtype: DType = None) -> Tensor:
    """Ones of the given shape: ``ones(2, 3)`` or ``ones((2, 3))``."""
    return full(as_shape("ones", shape), 1.0, requires_grad, dtype)


def full(shape: Any, value: ArrayLike, requires_grad: bool = False, dtype: DType = None) -> Tensor:
    """`value` everywhere."""
    return Tensor(
        np.full(as_shape("full", (shape,)), value, default_dtype() if dtype is None else dtype), requires_grad
    )


def arange(*args: Any, requires_grad: bool = False, dtype: DType = None) -> Tensor:
    """As np.arange: integers stay integers unless `dtype` says otherwise."""
    array = np.arange(*args, dtype=dtype)
    return Tensor(array, requires_grad, default_dtype() if dtype is None and array.dtype.kind == "f" else None)


def eye(n: int, requires_grad: bool = False, dtype: DType = None) -> Tensor:
    """The identity matrix."""
    return Tensor(np.eye(n, dtype=default_dtype() if dtype is None else dtype), requires_grad)
