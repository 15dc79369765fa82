"""tinygrad_bp: automatic differentiation in NumPy, for people who learn, teach or write backpropagation.

A :class:`Tensor` records how it was made; ``backward()`` gives the gradients. Not related to tinygrad.
"""

from __future__ import annotations

from . import autograd, ops
from .random import manual_seed
from .recipe import enable_grad, is_grad_enabled, no_grad, primitive
from .tensor import (
    Tensor,
    arange,
    eye,
    from_numpy,
    full,
    ones,
    set_default_dtype,
    tensor,
    zeros,
)
from .transforms import grad, hessian, jacobian, value_and_grad, vjp

__version__ = "0.1.0"

__all__ = [
    "Tensor",
    "arange",
    "autograd",
    "enable_grad",
    "eye",
    "from_numpy",
    "full",
    "grad",
    "hessian",
    "is_grad_enabled",
    "jacobian",
    "manual_seed",
    "no_grad",
    "ones",
    "ops",
    "primitive",
    "set_default_dtype",
    "tensor",
    "value_and_grad",
    "vjp",
    "zeros",
]
