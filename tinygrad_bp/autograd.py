"""The engine: how a tensor remembers how it was made, and the walk back that turns this memory into gradients.

A value that was computed carries its recipe ``(op, inputs, params)``; a leaf carries None. An :class:`Op` is a row of
the table: a function of arrays with one line per partial derivative. The walk is a topological sort from the output
back to the leaves; it applies the chain rule, undoes broadcasting and keeps dtypes, and knows no operation by name.
Fed arrays, a partial runs at NumPy's speed; with ``create_graph=True`` the same line is fed the tensors themselves and
records a graph of its own, which is how derivatives of any order come from the same rows.
The operations live in :mod:`tinygrad_bp.ops`, the operators and methods of a tensor in :mod:`tinygrad_bp.tensor`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import numpy as np
from numpy import asarray, generic, ndarray

__all__ = [
    "Node",
    "Op",
    "backward",
    "binary",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "primitive",
    "topological",
    "unary",
    "wrote",
]

new = object.__new__
NUMBERS = frozenset({float, int, bool, type(None)})
F = TypeVar("F", bound=Callable[..., Any])

# ---- values ------------------------------------------------------------------------------------------------


class Node:
    """A value and how it was made: the slots of a Tensor, without its spelling."""

    __slots__ = ("__weakref__", "clock", "data", "gradient", "recipe", "tracked")
    __hash__ = object.__hash__

    data: Any
    """The array (0-d included); while compiling, a stand-in for one."""
    tracked: bool
    """Whether gradients flow to it: a leaf that requires grad, or a value computed from one."""
    recipe: tuple[Op, Any, Any] | None
    """``(op, inputs, params)``, None for a leaf, ``(op, None, None)`` once backward() has freed it."""
    gradient: Any
    """What backward() has accumulated on this leaf: a Tensor or None."""
    clock: int
    """The time of the last write to the data by the library."""


_result: type[Node] = Node
_now = 0


def returns(cls: type[Node]) -> None:
    """Rows return instances of `cls` from now on (the Tensor class says so once, when it is defined)."""
    global _result
    _result = cls


def wrote(*nodes: Node) -> None:
    """Stamp nodes whose arrays were just written in place, so that graphs holding the old values are refused."""
    global _now
    _now += 1
    for node in nodes:
        node.clock = _now


def leaf(data: Any, tracked: bool = False, cls: type[Node] | None = None) -> Any:
    """A value nobody computed, holding `data` itself (no copy, no check)."""
    node = new(cls or _result)
    node.data, node.tracked, node.recipe, node.gradient, node.clock = data, tracked, None, None, _now
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
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
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

    __slots__ = ("arity", "forward", "joint", "name", "partials")

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        partials: tuple[Callable[..., Any] | None, ...],
        joint: Callable[..., Any] | None = None,
        arity: int | None = None,
    ) -> None:
        self.name, self.forward, self.partials, self.joint, self.arity = name, forward, partials, joint, arity

    def __repr__(self) -> str:
        return f"<op '{self.name}'>"

    @property
    def differentiable(self) -> bool:
        """Whether the row has any derivative."""
        return bool(self.partials or self.joint)

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
                values.append(x.data)
            else:
                values.append(x)
                kind = type(x)
                if kind not in NUMBERS and (kind is not ndarray or x.dtype.kind not in "fiub"):
                    strange = True
        if strange and found:
            return Op.__call__(self, *map(self._plain, inputs), params=params)
        try:
            y = self.forward(*values, *params)
        except (ValueError, TypeError, IndexError) as error:
            raise self._explained(error, values) from error
        if not found:
            return y
        node = new(_result)
        node.data = y if type(y) is ndarray else self._array(y)
        node.gradient = None
        node.clock = _now
        if tracked and _recording.get()[-1]:
            node.recipe = (self, inputs, params)
            node.tracked = self.partials != () or self.joint is not None
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
        if type(x) in NUMBERS or (isinstance(x, ndarray) and x.dtype.kind in "fiub"):
            return x
        what = f"an array of dtype {x.dtype}" if isinstance(x, ndarray) else f"a {type(x).__name__}"
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
        if "broadcast" in text and shapes:
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
        for name, value in zip(reversed(self.names), reversed(params)):
            if isinstance(value, Node):
                raise TypeError(
                    f"{self.name}: '{name}' has no derivative, it cannot be a Tensor. Pass a number or an array."
                )
        return super().__call__(*inputs, params=params)

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
    if isinstance(forward, np.ufunc):
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
    gradient of the gradient comes from the same line. Broadcasting is undone for you. A partial writes to nothing it is
    given. Without partials the operation is not differentiable; None in the place of a partial says so of one input.

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


# ---- undoing a broadcast -----------------------------------------------------------------------------------


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    lead = g.ndim - len(shape)
    if lead == 1 and g.ndim == 2 and g.shape[1] == shape[0]:
        return _ones(g.shape[0], g.dtype).dot(g)  # a matrix-vector product: four times as fast as g.sum(0)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1)
    total = g.sum(axes, keepdims=True) if lead >= 0 else g
    if total.shape[lead:] != shape:
        raise ValueError(f"sum_to: shape {g.shape} is no broadcast of {shape}.")
    return total.reshape(shape)


_ones_cache: dict[Any, ndarray[Any, Any]] = {}


def _ones(n: int, dtype: Any) -> ndarray[Any, Any]:
    """A vector of ones that nobody may write to; those of small batches are kept."""
    ones = _ones_cache.get((n, dtype))
    if ones is None:
        ones = np.ones(n, dtype)
        if n <= 1024:
            _ones_cache[n, dtype] = ones
    return ones


copy = unary("copy", lambda x: x.copy(), lambda g, y, x: g)
sum_to = unary("sum_to", _sum_to, lambda h, y, g, shape: np.broadcast_to(h, g.shape))


def _fit(gx: Any, x: Node, op: Op, k: int) -> Any:
    """A partial's result in the shape and dtype of its input: broadcasting undone, precision kept."""
    shape, dtype = x.data.shape, x.data.dtype
    if isinstance(gx, (float, int)):
        gx = asarray(gx)
    if not hasattr(gx, "shape"):
        raise RuntimeError(
            f"backward: the partial of '{op.name}' for input {k} returned a {type(gx).__name__}. "
            "Return an array, or declare the partial itself as None."
        )
    try:
        if gx.shape != shape:
            gx = sum_to(gx, shape) if isinstance(gx, Node) else _sum_to(gx, shape)
    except ValueError:
        raise RuntimeError(
            f"backward: the partial of '{op.name}' for input {k} returned shape {gx.shape}, the input has {shape}. "
            "Return the shape of the input, or of the output where the input was broadcast."
        ) from None
    if gx.dtype.kind != "f":
        raise RuntimeError(
            f"backward: the partial of '{op.name}' for input {k} returned dtype {gx.dtype}. Return a floating array."
        )
    return gx if gx.dtype == dtype else gx.astype(dtype)


# ---- the walk ----------------------------------------------------------------------------------------------


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every computed, tracked node behind `roots`, each after all of its inputs (depth-first, no recursion).

    On the way it refuses a freed graph, and a value that was written after it had been used.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = [root for root in roots if root.recipe is not None]
    while stack:
        node = stack.pop()
        if node is None:  # a mark: all inputs of the node below it are in order
            order.append(stack.pop())  # type: ignore[arg-type]
        elif node not in seen:
            seen.add(node)
            op, inputs, _ = node.recipe  # type: ignore[misc]
            if inputs is None:
                raise RuntimeError(
                    f"backward: the graph of '{op.name}' was freed by an earlier backward(). "
                    "Pass retain_graph=True to that call."
                )
            stack.append(node)
            stack.append(None)
            for x in inputs:
                if isinstance(x, Node):
                    if x.clock > node.clock:
                        raise _stale(op, x)
                    if x.tracked and x.recipe is not None:
                        stack.append(x)
    return order


def _on_path(order: Iterable[Node], targets: Iterable[Node]) -> set[Node]:
    """The targets and every node of `order` (inputs first) that was computed from one."""
    reached = set(targets)
    for node in order:
        if any(isinstance(x, Node) and x in reached for x in node.recipe[1]):  # type: ignore[index]
            reached.add(node)
    return reached


def _walk(
    order: Sequence[Node], seeds: Iterable[tuple[Node, Any]], targets: Sequence[Node] | None, create_graph: bool
) -> dict[Node, Any]:
    """dC/d(node) for the leaves of the graph, or for `targets`: arrays, or Tensors where `create_graph`.

    `order` holds the computed nodes, inputs first; `seeds` pairs outputs with their incoming gradients.
    """
    keep = frozenset(targets or ())
    path = None if targets is None else _on_path(order, keep)
    grads: dict[Node, Any] = {}
    owned: set[Node] = set()
    for root, seed in seeds:
        grads[root] = grads[root] + seed if root in grads else seed
    with np.errstate(all="ignore"):
        for node in reversed(order):
            if node not in grads or (path is not None and node not in path):
                continue
            g = grads[node] if node in keep else grads.pop(node)
            op, inputs, params = node.recipe  # type: ignore[misc]
            if create_graph:
                args = (g, node, *inputs, *params)
            else:
                args = (g, node.data, *[x.data if isinstance(x, Node) else x for x in inputs], *params)
            joint = None if op.joint is None else _all_of(op, op.joint(*args), inputs)
            for k, x in enumerate(inputs):
                if not isinstance(x, Node) or not x.tracked or (path is not None and x not in path):
                    continue
                if joint is not None:
                    gx = joint[k]
                else:
                    partial = op.partials[k]
                    if partial is None:
                        continue
                    gx = partial(*args)
                data = x.data
                if getattr(gx, "shape", None) != data.shape or gx.dtype is not data.dtype:
                    gx = _fit(gx, x, op, k)
                if x not in grads:
                    if x.recipe is None and not create_graph and (gx.base is not None or _is_any(gx, args)):
                        gx = gx.copy()  # a leaf's gradient shares memory with nothing
                    grads[x] = gx
                elif x in owned:
                    grads[x] += gx
                else:
                    grads[x] = grads[x] + gx
                    owned.add(x)
    return grads


def _all_of(op: Op, partials: Any, inputs: Sequence[Any]) -> list[Any]:
    """What a joint line returned, checked: one gradient for every input, no two the same array."""
    if not isinstance(partials, (list, tuple)) or len(partials) != len(inputs):
        got = len(partials) if isinstance(partials, (list, tuple)) else f"a {type(partials).__name__}"
        raise RuntimeError(
            f"backward: '{op.name}' has {len(inputs)} inputs, its joint partials are {got}. Return one for each."
        )
    return [gx.copy() if _is_any(gx, partials[:k]) else gx for k, gx in enumerate(partials)]


def _is_any(gx: Any, others: Iterable[Any]) -> bool:
    for other in others:  # noqa: SIM110 (a generator would double the time)
        if gx is other:
            return True
    return False


def _stale(op: Op, x: Node) -> RuntimeError:
    return RuntimeError(
        f"backward: an input of '{op.name}' of shape {x.data.shape} was written after '{op.name}' had used it "
        "(an optimizer step or a load between forward and backward). Run the forward again."
    )


def _seed(output: Node, gradient: Any, name: str) -> Any:
    """The incoming gradient of an output: given, or one for a scalar."""
    if not output.tracked:
        raise RuntimeError(
            f"{name}: this tensor of shape {output.data.shape} does not require grad and was not computed from one "
            "that does. Create an input with requires_grad=True, outside no_grad()."
        )
    data = output.data
    if gradient is None:
        if data.ndim != 0:
            raise RuntimeError(
                f"{name}: a tensor of shape {data.shape} has no implicit gradient; only a scalar has. "
                "Reduce it (loss.mean()) or pass gradient=."
            )
        return data.dtype.type(1)
    value = gradient.data if isinstance(gradient, Node) else asarray(gradient)
    if value.shape != data.shape:
        raise ValueError(f"{name}: gradient has shape {value.shape}, the tensor {data.shape}. Pass one of that shape.")
    if value.dtype.kind not in "fiub":
        raise TypeError(f"{name}: gradient has dtype {value.dtype}. Pass a floating array.")
    return gradient if isinstance(gradient, Node) and gradient.tracked else np.array(value, data.dtype)


def _differentiate(
    outputs: Sequence[Node],
    gradients: Sequence[Any],
    targets: Sequence[Node] | None,
    retain: bool,
    create: bool,
    name: str,
) -> dict[Node, Any]:
    """Seed, sort, walk, then free the graph unless it is retained; on an error nothing has changed."""
    seeds = [(output, _seed(output, gradient, name)) for output, gradient in zip(outputs, gradients, strict=True)]
    order = topological(outputs)
    if create:
        with enable_grad():
            seeds = [(o, s if isinstance(s, Node) else leaf(asarray(s))) for o, s in seeds]
            grads = _walk(order, seeds, targets, True)
    else:
        seeds = [(o, s.data.copy() if isinstance(s, Node) else s) for o, s in seeds]
        grads = _walk(order, seeds, targets, False)
    if not retain:
        for node in order:
            node.recipe = (node.recipe[0], None, None)  # type: ignore[index]
    return grads


def backward(output: Node, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
    """Add dC/d(leaf) to the gradient of every leaf that `output` was computed from."""
    retain = create_graph if retain_graph is None else retain_graph
    grads = _differentiate([output], [gradient], None, retain, create_graph, "backward")
    taken: set[int] = set()
    for node, g in grads.items():
        if node.recipe is None:
            g = _own(g, taken) if create_graph else leaf(g if type(g) is ndarray else asarray(g))
            node.gradient = g if node.gradient is None else _sum(node.gradient, g)


def _own(g: Any, taken: set[int]) -> Any:
    """A recorded gradient that shares memory with no other: itself, or a recorded copy."""
    if g.data.base is not None or id(g.data) in taken:
        with enable_grad():
            g = copy(g)
    taken.add(id(g.data))
    return g


def _sum(old: Any, g: Any) -> Any:
    return old + g if old.tracked or g.tracked else leaf(asarray(old.data + g.data))


def grad(
    outputs: Node | Sequence[Node],
    inputs: Node | Sequence[Node],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """d(outputs)/d(input) for every input, weighted by `grad_outputs`, as Tensors; no ``.grad`` is touched.

    Parameters as PyTorch's ``torch.autograd.grad``. `inputs` may be leaves or computed tensors.

    Raises
    ------
    RuntimeError
        An input does not require grad, or none of the outputs was computed from it (unless `allow_unused`,
        which gives None in its place); a non-scalar output without `grad_outputs`; a freed graph; a stale value.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> x = bp.Tensor(3.0, requires_grad=True)
    >>> (dx,) = bp.autograd.grad(x**3, x, create_graph=True)
    >>> bp.autograd.grad(dx, x)
    (tensor(18.),)
    """
    outputs, inputs = _nodes(outputs, "output"), _nodes(inputs, "input")
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif not isinstance(grad_outputs, (list, tuple)) or (len(outputs) == 1 and len(grad_outputs) != 1):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs, {len(grad_outputs)} grad_outputs. Pass one for each output.")
    for k, x in enumerate(inputs):
        if not x.tracked:
            raise RuntimeError(
                f"grad: input {k} of shape {x.data.shape} does not require grad. Set requires_grad=True."
            )
    retain = create_graph if retain_graph is None else retain_graph
    grads = _differentiate(outputs, grad_outputs, inputs, retain, create_graph, "grad")
    results: list[Any] = []
    taken: set[int] = set()
    for k, x in enumerate(inputs):
        g = grads.get(x)
        if g is None and not allow_unused:
            raise RuntimeError(
                f"grad: the outputs were not computed from input {k} of shape {x.data.shape}. "
                "Pass allow_unused=True to get None for it."
            )
        if g is not None:
            g = _own(g, taken) if create_graph else leaf(np.array(g))
        results.append(g)
    return tuple(results)


def _nodes(nodes: Any, what: str) -> list[Node]:
    found: list[Any] = (
        [nodes] if isinstance(nodes, Node) else list(nodes) if isinstance(nodes, (list, tuple)) else [nodes]
    )
    for k, node in enumerate(found):
        if not isinstance(node, Node):
            raise TypeError(f"grad: {what} {k} is a {type(node).__name__}. Pass Tensors.")
    return found
