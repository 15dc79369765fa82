"""How a tensor remembers how it was made: the recipe, and the row of the table that a recipe names.

A value that was computed carries its recipe ``(op, inputs, params)``, plain data; a leaf carries None. An :class:`Op`
is a row: a function of arrays with one line per partial derivative; called on Tensors it computes and leaves the recipe
in its result. A recipe never points at its own output, so a graph dies by reference counting alone. Here are also the
grad modes, which switch recording off and on, and the write clock, which tells old values from new ones. The rows
themselves are in :mod:`tinygrad_bp.ops`; the walk back along the recipes is in :mod:`tinygrad_bp.autograd`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import numpy as np
from numpy import asarray, generic, ndarray

# fmt: off
__all__ = [
    "Node", "Op", "ParamOp", "binary", "enable_grad", "is_grad_enabled", "leaf", "no_grad", "primitive", "returns",
    "row", "unary", "wrote",
]
# fmt: on

new = object.__new__
NUMBERS: set[type] = {float, int, bool, type(None)}  # what rows are fed as it is; and what stands in for arrays
F = TypeVar("F", bound=Callable[..., Any])

# ---- values ------------------------------------------------------------------------------------------------


class Node:
    """A value and how it was made: the slots of a Tensor, without its spelling."""

    __slots__ = ("__weakref__", "clock", "data", "gradient", "recipe", "tracked", "values")
    __hash__ = object.__hash__

    data: Any
    """The array (0-d included); while compiling, a stand-in for one."""
    tracked: bool
    """Whether gradients flow to it: a leaf that requires grad, or a value computed from one."""
    recipe: tuple[Op, Any, Any] | None
    """``(op, inputs, params)``, None for a leaf, ``(op, None, None)`` once backward() has freed it."""
    values: Any
    """Of a computed node: the inputs of its recipe as the arrays and numbers the row was fed."""
    gradient: Any
    """What backward() has accumulated on this leaf: a Tensor or None."""
    clock: int
    """When it was computed, or last written by the library: unique, growing."""


_result: type[Node] = Node
_tick: Callable[[], int] = (
    itertools.count().__next__
)  # the clock: every computed value and every write has its own time


def returns(cls: type[Node]) -> None:
    """Rows return instances of `cls` from now on (the Tensor class says so once, when it is defined)."""
    global _result
    _result = cls


def wrote(*nodes: Node) -> None:
    """Stamp nodes whose arrays were just written in place, so that graphs holding the old values are refused."""
    now = _tick()
    for node in nodes:
        node.clock = now


def leaf(data: Any, tracked: bool = False, cls: type[Node] | None = None) -> Any:
    """A value nobody computed, holding `data` itself (no copy, no check)."""
    node = new(cls or _result)
    node.data = data
    node.tracked = tracked
    node.recipe = node.gradient = None
    node.clock = _tick()
    return node


# ---- grad mode: per thread and per asyncio task ------------------------------------------------------------

_recording: ContextVar[tuple[bool, ...]] = ContextVar("tinygrad_bp_recording", default=(True,))  # the modes we are in


def is_grad_enabled() -> bool:
    """Whether operations record their recipes in this thread or task."""
    return _recording.get()[-1]


class _Mode:
    """Recording on or off: a ``with`` block or a decorator."""

    on: bool

    def __enter__(self) -> None:
        _recording.set((*_recording.get(), self.on))

    def __exit__(self, *_: object) -> None:
        _recording.set(_recording.get()[:-1])

    def __call__(self, function: F) -> F:
        """`function` with every call inside the mode."""
        mode = type(self)
        kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        if any(is_kind(function) for is_kind in kinds):
            raise TypeError(f"{mode.__name__}: a generator or coroutine outlives the call. Use a with block inside it.")

        @functools.wraps(function)
        def inside(*args: Any, **named: Any) -> Any:
            with mode():
                return function(*args, **named)

        return cast(F, inside)


class no_grad(_Mode):  # noqa: N801
    """Record nothing inside: a ``with`` block or a decorator.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> w = bp.Tensor([1.0, 2.0], requires_grad=True)
    >>> with bp.no_grad():
    ...     (w * 2).requires_grad
    False
    """

    on = False


class enable_grad(_Mode):  # noqa: N801
    """Record again inside a ``no_grad()`` block: a ``with`` block or a decorator.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> with bp.no_grad(), bp.enable_grad():
    ...     bp.is_grad_enabled()
    True
    """

    on = True


# ---- the row -----------------------------------------------------------------------------------------------


class Op:
    """A row of the table: ``y = forward(*inputs)`` and its partial derivatives.

    Partial k is called ``(g, y, *inputs)`` with ``g = dC/dy`` and returns dC/d(input k), in any shape that broadcasting
    made of it; it writes to nothing it is given. None marks an input without a derivative. A row without partials is
    not differentiable. A *joint* line takes the place of the partials and returns all of them at once.
    """

    __slots__ = ("arity", "differentiable", "forward", "joint", "name", "partials")

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        partials: tuple[Callable[..., Any] | None, ...],
        joint: Callable[..., Any] | None = None,
        arity: int | None = None,
    ) -> None:
        self.name, self.forward, self.partials, self.joint, self.arity = name, forward, partials, joint, arity
        self.differentiable = bool(partials or joint)

    def __repr__(self) -> str:
        return f"<op '{self.name}'>"

    def __call__(self, *inputs: Any, params: tuple[Any, ...] = ()) -> Any:
        """Compute, and record the recipe if an input is tracked; without a Tensor among them: arrays in, array out."""
        if len(inputs) != self.arity and self.arity is not None:
            raise TypeError(f"{self.name}: takes {self.arity} inputs, got {len(inputs)}. Pass {self.arity}.")
        values = []
        found = tracked = strange = False
        for x in inputs:
            if isinstance(x, Node):
                found = True
                if x.tracked:
                    tracked = True
                x = x.data
            elif (x.dtype.kind not in "fiub") if type(x) is ndarray else (type(x) not in NUMBERS):
                strange = True  # a list, a NumPy scalar, or nothing to compute with: _plain decides
            values.append(x)
        if strange and found:
            return Op.__call__(self, *map(self._plain, inputs), params=params)
        try:
            y = self.forward(*values, *params) if params else self.forward(*values)
        except (ValueError, TypeError, IndexError) as error:
            raise self._explained(error, values) from error
        if not found:
            return y
        node = new(_result)
        node.data = y if type(y) is ndarray else self._array(y)
        node.gradient = None
        node.clock = _tick()
        if tracked and _recording.get()[-1]:
            node.recipe = (self, inputs, params)
            node.values = values
            node.tracked = self.differentiable
        else:
            node.recipe = None
            node.tracked = False
        return node

    def _plain(self, x: Any) -> Any:
        """An input as it is recorded; NumPy scalars count as Python numbers, so float32 stays float32."""
        if isinstance(x, Node):
            return x
        if isinstance(x, generic):
            x = x.item()
        elif isinstance(x, (list, tuple, ndarray)) and not isinstance(x, (np.matrix, np.ma.MaskedArray)):
            x = asarray(x)
        if type(x) in NUMBERS or (type(x) is ndarray and x.dtype.kind in "fiub"):
            return x
        what = f"an array of dtype {x.dtype}" if type(x) is ndarray else f"a {type(x).__name__}"
        raise TypeError(f"{self.name}: cannot compute with {what}. Pass a Tensor, an array of numbers or a number.")

    def _array(self, y: Any) -> Any:
        """The forward's result as an array: NumPy's reductions return scalars."""
        if isinstance(y, (generic, float, int)):
            return asarray(y)
        if hasattr(y, "dtype"):
            return y
        raise TypeError(f"{self.name}: its forward returned a {type(y).__name__}. Return an array.")

    def _explained(self, error: Exception, values: Iterable[Any]) -> Exception:
        """NumPy's own complaint as one line that names the operation and the shapes."""
        text = str(error)
        if text.startswith(f"{self.name}:"):
            return error
        kinds = (np.exceptions.AxisError, IndexError, TypeError)
        kind: type[Exception] = next((k for k in kinds if isinstance(error, k)), ValueError)
        shapes = " and ".join(str(np.shape(x)) for x in values if isinstance(x, ndarray))
        if "broadcast" in text and " and " in shapes:
            return ValueError(f"{self.name}: shapes {shapes} do not broadcast. Make them equal, or 1, axis by axis.")
        return kind(f"{self.name}: {text} (input shapes: {shapes or 'none'}).")


class ParamOp(Op):
    """A row whose inputs are followed by params (an axis, an index): ``forward(*inputs, *params)``, partials likewise.

    Params are given by position or by name, have defaults, and are never differentiated. A `variadic` row takes its
    inputs as one sequence.
    """

    __slots__ = ("defaults", "names", "tail", "variadic")

    def __init__(self, name: str, forward: Any, partials: Any, joint: Any, arity: int, variadic: bool) -> None:
        arguments = inspect.signature(forward).parameters.values()
        self.names = tuple(a.name for a in arguments)
        self.defaults = {a.name: a.default for a in arguments if a.default is not a.empty}
        self.tail = tuple(self.defaults.values())
        self.variadic = variadic
        if variadic:
            forward, joint = self._gathered(forward, 0), self._gathered(joint, 2)
        super().__init__(name, forward, partials, joint, None if variadic else arity)

    def _gathered(self, function: Callable[..., Any], before: int) -> Callable[..., Any]:
        """`function` of one sequence of inputs as a function of the inputs."""
        params = len(self.names) - 1
        return lambda *args: function(*args[:before], args[before : len(args) - params], *args[len(args) - params :])

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Compute and record, as every row; params left out take their defaults."""
        missing = len(self.names) - len(args)
        if named or not 0 <= missing <= len(self.defaults):
            args = self._complete(args, named)
        elif missing:
            args += self.tail[-missing:]
        inputs, params = (tuple(args[0]), args[1:]) if self.variadic else (args[: self.arity], args[self.arity :])
        for value in params:
            if isinstance(value, Node):
                name = next(name for name, given in zip(self.names, args) if given is value)
                raise TypeError(
                    f"{self.name}: '{name}' has no partial derivative, it cannot be a Tensor. "
                    "Pass a number or an array, or give the operation a partial for it."
                )
        return Op.__call__(self, *inputs, params=params)

    def _complete(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments in order, those not given at their defaults."""
        if len(args) > len(self.names):
            raise TypeError(
                f"{self.name}: takes {len(self.names)} arguments ({', '.join(self.names)}), got {len(args)}."
            )
        given = dict(zip(self.names, args, strict=False))
        for name, value in named.items():
            if name not in self.names:
                raise TypeError(f"{self.name}: has no argument '{name}'. It takes {', '.join(self.names)}.")
            if name in given:
                raise TypeError(f"{self.name}: argument '{name}' was given twice. Pass it once.")
            given[name] = value
        given = self.defaults | given
        for name in self.names:
            if name not in given:
                raise TypeError(f"{self.name}: argument '{name}' is missing. It takes {', '.join(self.names)}.")
        return tuple(given[name] for name in self.names)


def row(
    name: str,
    forward: Callable[..., Any],
    partials: tuple[Callable[..., Any] | None, ...] = (),
    joint: Callable[..., Any] | None = None,
    variadic: bool = False,
) -> Op:
    """A row of the table; the first arguments of `forward` are its inputs, one for each partial, the rest its params.

    Without partials every argument that has no default is an input.
    """
    for function in (forward, *partials, joint):
        if not callable(function) and (function is not None or function is forward):
            raise TypeError(f"{name}: a {type(function).__name__} is no function. Pass forward, then partials or None.")
    if isinstance(forward, np.ufunc):
        if forward.nout != 1 or (partials and len(partials) != forward.nin):
            counts = f"{forward.nin} inputs and {forward.nout} outputs for {len(partials)} partials"
            raise TypeError(f"{name}: its forward has {counts}. Give one partial for each input of one output.")
        return Op(name, forward, partials, joint, forward.nin)
    try:
        arguments = inspect.signature(forward).parameters.values()
    except ValueError as error:
        raise TypeError(f"{name}: its forward does not tell its arguments. Wrap it: lambda x: forward(x).") from error
    if any(a.kind in (a.VAR_POSITIONAL, a.VAR_KEYWORD, a.KEYWORD_ONLY) for a in arguments):
        raise TypeError(f"{name}: its forward takes * or keyword-only arguments. Name each input by position.")
    arity = len(partials) or sum(a.default is a.empty for a in arguments)
    if arity > len(arguments):
        raise TypeError(f"{name}: {arity} partials for a forward of {len(arguments)} inputs. Give one for each input.")
    if variadic or arity < len(arguments):
        return ParamOp(name, forward, partials, joint, arity, variadic)
    return Op(name, forward, partials, joint, arity)


def primitive(name: str, forward: Callable[..., Any], *partials: Callable[..., Any] | None) -> Op:
    """``y = forward(*inputs, *params)`` as an operation, with one partial ``(g, y, *inputs, *params)`` an input.

    Say the forward and the partials in dispatching NumPy (operators, ``np.`` functions, array methods): then the
    gradient of the gradient comes from the same line. Broadcasting is undone for you. A partial returns g or a new
    array, and writes to nothing it is given. None in the place of a partial says that this input has no derivative,
    no partials at all that none has.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_bp as bp
    >>> cube = bp.primitive("cube", lambda x: x * x * x, lambda g, y, x: g * 3 * x * x)
    >>> x = bp.Tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).sum().backward()
    >>> x.grad
    tensor([ 3., 12.])
    """
    return row(name, forward, partials)


def unary(name: str, forward: Callable[..., Any], dx: Callable[..., Any]) -> Op:
    """A row of one input (params may follow) and its one partial ``(g, y, x, *params)``."""
    return row(name, forward, (dx,))


def binary(name: str, forward: Callable[..., Any], da: Callable[..., Any] | None, db: Callable[..., Any] | None) -> Op:
    """A row of two inputs (params may follow) and its two partials ``(g, z, a, b, *params)``."""
    return row(name, forward, (da, db))
