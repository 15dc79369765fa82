"""Functions of functions: gradients, Jacobians and Hessians of any function of tensors, nesting to any order.

Each takes a function and calls it on tensors of its own, so no ``.grad`` is touched and ``requires_grad`` of the
arguments does not matter. A result is itself differentiable exactly where something else is being differentiated: an
enclosing transform, or a tensor that requires grad and that the function uses. There is no walk or rule here; both are
in :mod:`tinygrad_bp.autograd`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import autograd, ops
from .autograd import topological
from .recipe import enable_grad, is_grad_enabled
from .tensor import Tensor, as_array

__all__ = ["grad", "hessian", "jacobian", "value_and_grad", "vjp"]

Argnums = int | tuple[int, ...]


class _Variable(Tensor):
    """A tensor that one call differentiates by; open while the function runs, of no interest to anybody later."""

    __slots__ = ("open",)
    open: bool


class _Traced:
    """One call of a function on fresh tensors, ready to be pulled back as often as asked."""

    def __init__(self, name: str, f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]) -> None:
        self.name, outer = name, is_grad_enabled()
        arguments = list(args)
        for k in argnums:
            arguments[k] = self._variable(k, args[k])
        self.variables = [arguments[k] for k in argnums]
        with enable_grad():
            y = f(*arguments)
        for x in self.variables:
            if isinstance(x, _Variable):
                x.open = False
        if not isinstance(y, (Tensor, np.ndarray, np.generic, float, int)):
            raise TypeError(f"{name}: the function returned a {type(y).__name__}. Return one Tensor, array or number.")
        self.y = y if isinstance(y, Tensor) else Tensor(y)
        self.nested = outer and self._has_other_leaves()

    def _variable(self, k: int, x: Any) -> Tensor:
        """A tensor only this call knows: a leaf, or an alias where an enclosing transform tracks `x`."""
        if isinstance(x, Tensor) and x.tracked:
            with enable_grad():
                return ops.positive(x)
        array = as_array(x)
        if array.dtype.kind != "f":
            raise TypeError(f"{self.name}: argument {k} has dtype {array.dtype}. Pass floats, such as 2.0.")
        variable = _Variable(array, requires_grad=True)
        variable.open = True
        return variable

    def _has_other_leaves(self) -> bool:
        """Whether anything else is being differentiated: an argument that was tracked, or a leaf behind the result."""
        if not all(isinstance(x, _Variable) for x in self.variables):
            return True
        behind = (x for node in topological([self.y] if self.y.tracked else []) for x in node.recipe[1])  # type: ignore[index]
        return any(
            isinstance(x, Tensor) and x.tracked and x.recipe is None and getattr(x, "open", True)
            for x in (self.y, *behind)
        )

    @property
    def value(self) -> Tensor:
        """The result, with its history only where it is to be differentiated further."""
        return self.y if self.nested else self.y.detach()

    def pull(self, seed: Any) -> tuple[Tensor, ...]:
        """Seed . dy/dx for every variable x; zeros where y does not depend on x."""
        if not self.y.tracked:
            return tuple(Tensor(np.zeros_like(x.data)) for x in self.variables)
        nested = self.nested or (isinstance(seed, Tensor) and seed.tracked and is_grad_enabled())
        found = autograd.grad(self.y, self.variables, seed, True, nested, allow_unused=True)
        return tuple(
            Tensor(np.zeros_like(x.data)) if g is None else g for x, g in zip(self.variables, found, strict=True)
        )

    def require_scalar(self) -> None:
        if self.y.ndim:
            raise RuntimeError(
                f"{self.name}: the function returned shape {self.y.shape}; only a scalar has a "
                + ("hessian. Reduce it." if self.name == "hessian" else "gradient. Reduce it, or use jacobian or vjp.")
            )


def _require_function(name: str, f: Any) -> None:
    if not callable(f):
        raise TypeError(
            f"{name}: got a {type(f).__name__}, not a function. "
            "Pass a function, or use bp.autograd.grad(outputs, inputs) on tensors."
        )


def _positions(name: str, argnums: Argnums, n: int) -> tuple[int, ...]:
    single = name in ("jacobian", "hessian")
    positions = argnums if isinstance(argnums, tuple) else (argnums,)
    for k in positions:
        if not isinstance(k, int) or (single and k is not argnums):
            what = "an integer" if single else "an integer or a tuple of integers"
            raise TypeError(f"{name}: argnums is {argnums!r}. Pass {what}.")
        if not -n <= k < n:
            raise ValueError(f"{name}: argnums {k} is out of range for {n} arguments. Count from 0.")
    return positions


def vjp(f: Callable[..., Any], *x: Any) -> tuple[Tensor, Callable[[Any], tuple[Tensor, ...]]]:
    """``(y, pull)`` with y = f(*x) and pull(v) = v^T dy/dx, one Tensor for every argument.

    `pull` may be called any number of times; v has y's shape.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> y, pull = bp.vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    >>> pull([1.0, 10.0])
    (tensor([ 3., 40.]), tensor([ 1., 20.]))
    """
    _require_function("vjp", f)
    traced = _Traced("vjp", f, x, range(len(x)))
    return traced.value, lambda v: traced.pull(v if isinstance(v, Tensor) else as_array(v))


def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns ``(f(*x), df/dx)`` of a scalar f; `argnums` as in :func:`grad`.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.value_and_grad(lambda x: (x * x).sum())([3.0, 4.0])
    (tensor(25.), tensor([6., 8.]))
    """
    return _value_and_grad("value_and_grad", f, argnums)


def _value_and_grad(name: str, f: Callable[..., Any], argnums: Argnums) -> Callable[..., Any]:
    _require_function(name, f)

    def evaluate(*args: Any) -> Any:
        traced = _Traced(name, f, args, _positions(name, argnums, len(args)))
        traced.require_scalar()
        gradients = traced.pull(None)
        return traced.value, gradients[0] if isinstance(argnums, int) else gradients

    return evaluate


def grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that returns df/dx of a scalar f, for argument `argnums` or a tuple of them.

    Raises
    ------
    RuntimeError
        f does not return a scalar.
    TypeError
        The argument is not floating.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> cube = lambda x: x**3
    >>> bp.grad(cube)(2.0), bp.grad(bp.grad(cube))(2.0), bp.grad(bp.grad(bp.grad(cube)))(2.0)
    (tensor(12.), tensor(12.), tensor(6.))
    """
    both = _value_and_grad("grad", f, argnums)
    return lambda *args: both(*args)[1]


def jacobian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Tensor]:
    """A function that returns dy/dx of shape ``y.shape + x.shape``, a backward pass for every entry of y.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.jacobian(lambda x: x * x)([1.0, 2.0])
    tensor([[2., 0.],
            [0., 4.]])
    """
    return _jacobian("jacobian", f, argnums)


def _jacobian(name: str, f: Callable[..., Any], argnums: int) -> Callable[..., Tensor]:
    _require_function(name, f)

    def evaluate(*args: Any) -> Tensor:
        traced = _Traced(name, f, args, _positions(name, argnums, len(args)))
        y, (x,) = traced.y, traced.variables
        seeds = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
        rows = [traced.pull(seed)[0] for seed in seeds]
        if not rows:
            return Tensor(np.zeros(y.shape + x.shape, x.dtype))
        return ops.stack(rows).reshape(y.shape + x.shape)

    return evaluate


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Tensor]:
    """A function that returns the second derivatives of a scalar f, of shape ``x.shape + x.shape``.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.hessian(lambda x: x[0] ** 2 * x[1])([1.0, 2.0])
    tensor([[4., 2.],
            [2., 0.]])
    """
    both = _value_and_grad("hessian", f, argnums)
    return _jacobian("hessian", lambda *args: both(*args)[1], argnums)
