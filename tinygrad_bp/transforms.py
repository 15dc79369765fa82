"""Functions of functions: gradients, Jacobians, Hessians and their products with vectors, nesting to any order.

Each takes a function and calls it on tensors of its own, so no ``.grad`` is touched and ``requires_grad`` of the
arguments does not matter. Arguments and results may be nested lists, tuples and dicts of arrays
(:mod:`tinygrad_bp.containers`); what is found has their structure. A result is itself differentiable exactly where
something else is being differentiated: an enclosing transform, or a tensor that requires grad and that the function
uses. There is no walk or rule here; both are in :mod:`tinygrad_bp.autograd`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import autograd, ops
from .autograd import topological
from .containers import leaves, like, matched, paths
from .recipe import enable_grad, is_grad_enabled
from .tensor import Tensor, as_array

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Argnums = int | tuple[int, ...]


class _Variable(Tensor):
    """A tensor that one call differentiates by; open while the function runs, of no interest to anybody later."""

    __slots__ = ("open",)
    open: bool

    def __init__(self, data: Any, open: bool) -> None:
        super().__init__(data, requires_grad=True)
        self.open = open


class _Traced:
    """One call of a function on fresh tensors, ready to be pulled back as often as asked.

    `arguments` are those that are differentiated by, `variables` the tensors in them, `outputs` the tensors in the
    result y.
    """

    def __init__(self, name: str, f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]) -> None:
        self.name, outer = name, is_grad_enabled()
        arguments = list(args)
        for k in argnums:
            if args[k] is None:
                raise TypeError(f"{name}: argument {k} is None. Pass an array, a number or a container of them.")
            arguments[k] = like(args[k], [self._variable(f"{k}{way}", x) for way, x in paths(args[k])])
        self.arguments = [arguments[k] for k in argnums]
        self.variables: list[Tensor] = leaves(self.arguments)
        with enable_grad():
            self.y = f(*arguments)
        for x in self.variables:
            if isinstance(x, _Variable):
                x.open = False
        self.outputs = [self._output(y) for y in (leaves(self.y) if self.y is not None else [None])]
        self.nested = outer and self._has_other_leaves()

    def _variable(self, position: str, x: Any) -> Tensor:
        """A tensor only this call knows: a leaf, or an alias where an enclosing transform tracks `x`."""
        if isinstance(x, Tensor) and x.tracked:
            with enable_grad():
                return ops.positive(x)
        array = _array(f"{self.name}: argument {position}", x)
        if array.dtype.kind != "f":
            raise TypeError(f"{self.name}: argument {position} has dtype {array.dtype}. Pass floats, such as 2.0.")
        return _Variable(array, open=True)

    def _output(self, y: Any) -> Tensor:
        if not isinstance(y, (Tensor, np.ndarray, np.generic, float, int)):
            what = f"the function returned a {type(y).__name__}"
            raise TypeError(f"{self.name}: {what}. Return Tensors, arrays or numbers, or containers of them.")
        return y if isinstance(y, Tensor) else Tensor(y)

    def _has_other_leaves(self) -> bool:
        """Whether anything else is being differentiated: an argument that was tracked, or a leaf behind the result."""
        if not all(isinstance(x, _Variable) for x in self.variables):
            return True
        behind = (x for node in topological(y for y in self.outputs if y.tracked) for x in node.recipe[1])  # type: ignore[index]
        return any(
            isinstance(x, Tensor) and x.tracked and x.recipe is None and getattr(x, "open", True)
            for x in (*self.outputs, *behind)
        )

    @property
    def value(self) -> Any:
        """The result, with its history only where it is to be differentiated further."""
        return like(self.y, self.outputs if self.nested else [y.detach() for y in self.outputs])

    def pull(self, seeds: Sequence[Any]) -> list[Any]:
        """The sum of seed . dy/dx over all outputs y, as the arguments are built."""
        nested = self.nested or _are_tracked(seeds)
        found: list[Any] = like(self.arguments, _gradients(self.outputs, self.variables, seeds, nested))
        return found

    def require_scalar(self) -> None:
        shapes = [y.shape for y in self.outputs]
        if shapes != [()]:
            what = f"shape {shapes[0]}" if len(shapes) == 1 else f"{len(shapes)} arrays"
            cures = {"hessian": "hessian. Reduce it.", "hvp": "hessian. Reduce it."}
            cure = cures.get(self.name, "gradient. Reduce it, or use jacobian or vjp.")
            raise RuntimeError(f"{self.name}: the function returned {what}; only a scalar has a {cure}")


def _are_tracked(values: Sequence[Any]) -> bool:
    """Whether what is computed with `values` is to be differentiated further."""
    return is_grad_enabled() and any(isinstance(v, Tensor) and v.tracked for v in values)


def _gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Any], nested: bool) -> list[Tensor]:
    """The sum of seed . dy/dx over the outputs y for every input x, zeros where nothing depends on it."""
    reached = [(y, seed) for y, seed in zip(outputs, seeds) if y.tracked]
    found: Sequence[Any] = [None] * len(inputs)
    if reached and inputs:
        ys, seeds = zip(*reached)
        found = autograd.grad(ys, inputs, seeds, True, nested, allow_unused=True)
    return [Tensor(np.zeros_like(x.data)) if g is None else g for x, g in zip(inputs, found)]


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


def _vectors(name: str, x: Any, given: Any) -> list[Any]:
    """The leaves of `given`, one of the shape of each leaf of `x`."""
    vectors = []
    for (way, leaf), v in zip(paths(x), matched(name, x, given)):
        which = f"{name}: the vector {way}".rstrip()
        vectors.append(_array(which, v))
        if vectors[-1].shape != np.shape(leaf):
            raise ValueError(f"{which} has shape {vectors[-1].shape}, not {np.shape(leaf)}. Pass one of that shape.")
    return vectors


def _arguments(name: str, x: Any) -> tuple[Any, tuple[Any, ...]]:
    """x, and the arguments it holds: those of a tuple, in which numbers and lists are made arrays, or itself."""
    if not isinstance(x, tuple):
        return x, (x,)
    args = tuple(
        like(part, [_array(f"{name}: argument {k}{way}", leaf) for way, leaf in paths(part)])
        for k, part in enumerate(x)
    )
    return args, args


def _array(what: str, x: Any) -> Any:
    try:
        return x if isinstance(x, Tensor) else as_array(x)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {str(error).removeprefix('Tensor: ')}") from None


def vjp(f: Callable[..., Any], *x: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """``(y, pull)`` with y = f(*x) and pull(v) = v^T dy/dx, one result for every argument.

    `pull` may be called any number of times; v is built as y.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> y, pull = bp.vjp(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0])
    >>> pull([1.0, 10.0])
    (tensor([ 3., 40.]), tensor([ 1., 20.]))
    """
    _require_function("vjp", f)
    traced = _Traced("vjp", f, x, range(len(x)))
    return traced.value, lambda v: tuple(traced.pull(_vectors("vjp", traced.y, v)))


def jvp(f: Callable[..., Any], x: Any, t: Any) -> tuple[Any, Any]:
    """``(y, dy)`` with y = f(x) and dy = dy/dx t, the derivative along t, which is built as x.

    A tuple x holds all arguments of f; anything else is its one argument. The pull of a vjp is linear in its seed, so
    dy is the pull of that pull: no second set of rules is needed, at twice the cost of a gradient (Jamie Townsend,
    "A new trick for calculating Jacobian vector products", 2017).

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.jvp(lambda x: x**3, 2.0, 1.0)
    (tensor(8.), tensor(12.))
    >>> bp.jvp(lambda a, b: {"product": a * b}, (2.0, 3.0), (1.0, 0.0))
    ({'product': tensor(6.)}, {'product': tensor(3.)})
    """
    _require_function("jvp", f)
    x, args = _arguments("jvp", x)
    tangents = _vectors("jvp", x, t)
    traced = _Traced("jvp", f, args, range(len(args)))
    dtypes = [y.dtype if y.dtype.kind == "f" else float for y in traced.outputs]  # of integers dy is 0
    seeds = [_Variable(np.zeros_like(y.data, dtype), open=False) for y, dtype in zip(traced.outputs, dtypes)]
    with enable_grad():
        pulled = _gradients(traced.outputs, traced.variables, seeds, True)
    return traced.value, like(traced.y, _gradients(pulled, seeds, tangents, traced.nested or _are_tracked(tangents)))


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """H v with H the second derivatives of the scalar f at x, without building H; v and the result are built as x.

    A tuple x holds all arguments of f; anything else is its one argument.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.hvp(lambda x: x[0] ** 2 * x[1], [1.0, 2.0], [1.0, 0.0])
    tensor([4., 2.])
    """
    _require_function("hvp", f)
    x, args = _arguments("hvp", x)
    vectors = _vectors("hvp", x, v)
    traced = _Traced("hvp", f, args, range(len(args)))
    traced.require_scalar()
    with enable_grad():
        slopes = _gradients(traced.outputs, traced.variables, [None], True)
    return like(x, _gradients(slopes, traced.variables, vectors, traced.nested or _are_tracked(vectors)))


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
        found = traced.pull([None])
        return traced.value, found[0] if isinstance(argnums, int) else tuple(found)

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


def jacobian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns dy/dx of shape ``y.shape + x.shape``, a backward pass for every entry of y.

    Where y or x is a container, one such block for every array in x, within one for every array in y.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.jacobian(lambda x: x * x)([1.0, 2.0])
    tensor([[2., 0.],
            [0., 4.]])
    """
    return _jacobian("jacobian", f, argnums)


def _jacobian(name: str, f: Callable[..., Any], argnums: int) -> Callable[..., Any]:
    _require_function(name, f)

    def evaluate(*args: Any) -> Any:
        traced = _Traced(name, f, args, _positions(name, argnums, len(args)))
        (argument,), blocks = traced.arguments, []
        for y in traced.outputs:
            seeds = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
            rows = [_gradients([y], traced.variables, [seed], traced.nested) for seed in seeds]
            columns = zip(*rows) if rows else [()] * len(traced.variables)
            blocks.append(like(argument, [_stacked(column, y, x) for column, x in zip(columns, traced.variables)]))
        return like(traced.y, blocks)

    return evaluate


def _stacked(rows: Sequence[Tensor], y: Tensor, x: Tensor) -> Tensor:
    """A block of the Jacobian from its rows."""
    if not rows:
        return Tensor(np.zeros(y.shape + x.shape, x.dtype))
    return ops.stack(rows).reshape(y.shape + x.shape)


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
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
