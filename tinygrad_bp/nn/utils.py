"""PyTorch's nn.utils: gradients clipped, parameters as one vector.

What is changed is written in place, as by an optimizer; all of it runs inside a compiled step as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import ops
from ..opaque import value_check
from ..recipe import no_grad, wrote
from ..tensor import Tensor
from .functional.accepted import as_input, check_setting, raw
from .module import Module

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]

Tensors = Tensor | Iterable[Tensor]


@no_grad()
def clip_grad_norm_(
    parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """g <- g * min(1, max_norm / (norm + 1e-6)), with the norm of all gradients as one vector, which is returned.

    Parameters
    ----------
    parameters
        One tensor or several; those without a gradient are left out.
    max_norm
        What the norm is at most, afterwards.
    norm_type
        The order of the norm: 2, another number > 0, or inf.
    error_if_nonfinite
        Whether a norm that is nan or infinite is refused. Otherwise it makes all gradients nan or 0, as in PyTorch; an
        optimizer's step refuses gradients that are not finite.

    Raises
    ------
    ValueError
        A `max_norm` below 0, a `norm_type` not above it.
    FloatingPointError
        The norm is not finite and `error_if_nonfinite`; nothing was written.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> w = bp.tensor([1.5, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> clip_grad_norm_([w], max_norm=1.0), w.grad
    (tensor(5.), tensor([0.59999988, 0.79999984]))
    """
    name = "clip_grad_norm_"
    check_setting(name, "max_norm", max_norm, math.inf)
    check_setting(name, "norm_type", norm_type, math.inf)
    if not norm_type:
        raise ValueError(f"{name}: norm_type is 0. Pass a number > 0.")
    gradients = _gradients(name, parameters)
    norm: Tensor = _norm(gradients, norm_type) if gradients else Tensor(0.0)
    if error_if_nonfinite:
        _check_norm(name, norm.data)
    factor: Any = raw(np.minimum(max_norm / (norm + 1e-6), 1.0))
    with np.errstate(invalid="ignore"):
        for g in gradients:
            np.multiply(g.data, factor.astype(g.dtype), out=g.data)
    wrote(*gradients)
    return norm


def _norm(gradients: list[Tensor], order: float) -> Any:
    """The norm of all entries together."""
    if order == math.inf:
        largest = [np.max(np.abs(g)) for g in gradients if g.size]
        return np.max(np.stack(largest)) if largest else np.sum(gradients[0])
    if order == 2.0:
        return np.sqrt(sum(np.vdot(g, g) for g in gradients))
    return sum(np.sum(np.abs(g) ** order) for g in gradients) ** (1.0 / order)


@value_check
def _check_norm(name: str, norm: Any) -> None:
    if not np.isfinite(norm):
        raise FloatingPointError(
            f"{name}: the norm of the gradients is {norm}. Nothing was written; lower lr, or look for what overflowed."
        )


def clip_grad_value_(parameters: Tensors, clip_value: float) -> None:
    """g <- g moved into [-clip_value, clip_value].

    >>> import tinygrad_bp as bp
    >>> w = bp.tensor([0.25, -4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> clip_grad_value_(w, 1.0)
    >>> w.grad
    tensor([ 0.5, -1. ])
    """
    name = "clip_grad_value_"
    check_setting(name, "clip_value", clip_value, math.inf)
    gradients = _gradients(name, parameters)
    for g in gradients:
        np.clip(g.data, -clip_value, clip_value, out=g.data)
    wrote(*gradients)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All entries in one vector, one tensor after the other; gradients flow back through it.

    >>> import tinygrad_bp as bp
    >>> parameters_to_vector([bp.tensor([[1.0, 2.0]]), bp.tensor(3.0)])
    tensor([1., 2., 3.])
    """
    parts = [ops.reshape(p, (p.size,)) for p in _listed("parameters_to_vector", parameters)]
    if not parts:
        raise ValueError("parameters_to_vector: there are no parameters. Pass those of a model that has some.")
    vector: Tensor = ops.concatenate(parts)
    return vector


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Write the entries of a vector into the tensors, one after the other: what `parameters_to_vector` put together.

    >>> import tinygrad_bp as bp
    >>> w, b = bp.zeros(1, 2), bp.zeros(1)
    >>> vector_to_parameters([1.0, 2.0, 3.0], [w, b])
    >>> w, b
    (tensor([[1., 2.]]), tensor([3.]))
    """
    name = "vector_to_parameters"
    values, tensors = raw(as_input(name, "vector", vec)), _listed(name, parameters)
    total = sum(p.size for p in tensors)
    if values.shape != (total,):
        raise ValueError(f"{name}: the vector has shape {values.shape}, the tensors {total} entries. Pass ({total},).")
    start = 0
    for p in tensors:
        p.data[...] = values[start : start + p.size].reshape(p.shape)
        start += p.size
    wrote(*tensors)


def _listed(name: str, parameters: Any) -> list[Tensor]:
    """One tensor or several, in a list."""
    if isinstance(parameters, Tensor):
        return [parameters]
    if isinstance(parameters, Module) or not isinstance(parameters, Iterable):
        raise TypeError(f"{name}: got a {type(parameters).__name__} for parameters. Pass net.parameters().")
    tensors = list(parameters)
    for position, p in enumerate(tensors):
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: parameter {position} is a {type(p).__name__}. Pass Tensors.")
    return tensors


def _gradients(name: str, parameters: Any) -> list[Tensor]:
    """The gradients of those that have one."""
    return [p.grad for p in _listed(name, parameters) if p.grad is not None]
