"""Problems made of what people have: functions of Tensors, NumPy code written by hand, a loss, a layer.

Each adapter says how forward and backward are called with arrays, and which of the arguments are differentiated: float
arrays are, integers, bools, None and everything else are handed on as they are. What a :class:`Problem` does with them
is in :mod:`~tinygrad_bp.checking.problem`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import autograd
from ..nn.module import Module
from ..recipe import Node, unary, wrote
from ..tensor import Tensor
from .problem import Broken, Problem, Record, tensors, tracked
from .report import counted

__all__ = ["argument_names", "of_backprop", "of_function", "of_gradient", "of_layer", "of_loss"]

Array = NDArray[Any]


# ---- functions of Tensors ------------------------------------------------------------------------------------------


def argument_names(function: Any, count: int) -> list[str]:
    """The names of the first `count` positional arguments, as the signature has them; else x, or x0, x1 ..."""
    names = getattr(function, "names", None) or _parameters(getattr(function, "forward", function))
    spare = (name for name in (["x"] if count == 1 else map("x{}".format, range(count * 2))) if name not in names)
    return [*names[:count], *islice(spare, max(0, count - len(names)))]


def _parameters(function: Any) -> Sequence[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _name(function: Any) -> str:
    name = getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else str(name)


def _is_float(value: Any) -> bool:
    value = value.data if isinstance(value, Node) else value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "c":
        raise Broken("DTYPE", f"an argument has dtype {value.dtype}", "Pass real numbers")
    return isinstance(value, float) or (isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f")


class _Arguments:
    """The arguments of a call, the float arrays among them replaceable."""

    def __init__(self, function: Callable[..., Any], given: Sequence[Any], without_floats: bool = False) -> None:
        given = [np.asarray(a, np.float64) if _is_float_list(a) else a for a in given]
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in given]  # whatever the function does to them
        names = argument_names(function, len(given))
        if not callable(function):
            what = f"a {type(function).__name__} is no function"
            raise Broken("INPUT", what, "Pass the function itself, not its result")
        self.given = given
        self.positions = [k for k, value in enumerate(given) if _is_float(value)]
        self.floats = {names[k]: _array(given[k]) for k in self.positions}
        self.others = {names[k]: _array(a) for k, a in enumerate(given) if _is_data(a) and k not in self.positions}
        self.label = f"{_name(function)}({', '.join(names)})"
        if not self.positions and not without_floats:
            came = ", ".join(f"{name} is {_kind(a)}" for name, a in zip(names, given)) or "no argument was passed"
            hint = "Pass float arrays, each as an argument of its own"
            raise Broken("INPUT", f"there is nothing to differentiate: {came}", hint)

    def filled(self, floats: Sequence[Any]) -> list[Any]:
        """All arguments, with these in the place of the float arrays."""
        arguments = list(self.given)
        for k, value in zip(self.positions, floats):
            arguments[k] = value
        return arguments


def _is_float_list(value: Any) -> bool:
    """Whether a list of numbers is meant as a float array."""
    if not isinstance(value, (list, tuple)):
        return False
    try:
        return np.asarray(value).dtype.kind == "f"
    except (TypeError, ValueError):
        return False


def _kind(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic, Node)):
        return f"of dtype {value.dtype}" if not isinstance(value, Node) else f"of dtype {value.data.dtype}"
    return "None" if value is None else f"a {type(value).__name__}"


def _is_data(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, Node))


def _array(value: Any) -> Array:
    return np.asarray(value.data if isinstance(value, Node) else value)


def of_function(fn: Callable[..., Any], inputs: Sequence[Any], rng: np.random.Generator | None = None) -> Problem:
    """A function of Tensors, with the backward that its graph gives."""
    call = _Arguments(fn, inputs)
    return _oftensors(
        call.label, lambda leaves: (fn(*call.filled(leaves)), leaves), call.floats, others=call.others, rng=rng
    )


def of_gradient(first: Problem) -> Problem:
    """The backward of a Problem of Tensors as the function: (x, v) -> v . dy/dx, differentiated by x and by v."""
    n = len(first.names)
    v = np.random.default_rng(1).standard_normal(first.y.size)
    seeds = ["incoming gradient"] if len(first.outputs) == 1 else [f"incoming gradient of {y}" for y in first.outputs]

    def record(leaves: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        result, wanted = first.record(leaves[:n])  # type: ignore[misc]
        paired = [(y, u) for y, u in zip(tensors(result), leaves[n:]) if y.tracked]
        ys, us = [y for y, _ in paired], [u for _, u in paired]
        found = autograd.grad(ys, wanted, us, create_graph=True, allow_unused=True) if ys else [None] * n
        gradients = [Tensor(np.zeros_like(x.data)) if g is None else g for x, g in zip(wanted, found)]
        return {f"grad {name}": g for name, g in zip(first.names, gradients)}, [*wanted, *leaves[n:]]

    inputs = dict(zip(first.names, first.inputs)) | dict(zip(seeds, first.upstream(v)))
    name = f"gradient of {first.name}"
    return _oftensors(name, record, inputs, others=first.others, rng=first.rng, leave=first.leave)


def _oftensors(name: str, record: Record, inputs: Mapping[str, Any], **more: Any) -> Problem:
    return Problem(
        name,
        lambda arrays: record(tracked(arrays))[0],
        lambda arrays, upstream: _pulled(record, tracked(arrays), upstream),
        inputs,
        record=record,
        **more,
    )


def _pulled(record: Record, leaves: list[Any], upstream: list[Array]) -> list[Any]:
    """The gradients, None where there is no path; the first partial is handed `upstream` itself."""
    result, wanted = record(leaves)
    outputs = [_handing(v)(y) for y, v in zip(tensors(result), upstream) if y.tracked]
    if not outputs:
        return [None] * len(wanted)
    found = autograd.grad(outputs, wanted, [np.zeros(y.shape) for y in outputs], allow_unused=True)
    return [None if g is None else g.data for g in found]


def _handing(v: Array) -> Any:
    """A row that hands `v` back as the gradient, itself and not a copy, so that a write into it is seen."""
    return unary("upstream", lambda y: y, lambda g, z, y: v.astype(y.dtype, copy=False))


# ---- NumPy code written by hand ------------------------------------------------------------------------------------


def of_backprop(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    arrays: Sequence[Any],
    loss: bool = False,
    rng: np.random.Generator | None = None,
) -> Problem:
    """``forward(*arrays)`` and ``backward(*arrays, upstream)``; of a `loss`, ``backward(*arrays)``."""
    call = _Arguments(forward, arrays)
    names = argument_names(forward, len(arrays))

    def gradients(floats: list[Array], upstream: list[Array]) -> list[Any]:
        handed = [] if loss else [tuple(upstream) if several else upstream[0]]
        found = _per_argument(backward(*call.filled(floats), *handed), names, call.positions)
        return _scaled(found, upstream) if loss else found

    problem = Problem(
        call.label, lambda floats: forward(*call.filled(floats)), gradients, call.floats, others=call.others, rng=rng
    )
    several, problem.seedless = len(problem.outputs) > 1, loss
    problem.hint = "A backward takes the arguments and, last, the incoming gradient; with loss=True only the arguments"
    if loss and problem.y.size != 1:
        shape = problem.output_shapes[0]
        raise Broken("SHAPE", f"the loss has shape {shape}", "Return a scalar, or pass a backward that takes upstream")
    return problem


def _scaled(gradients: list[Any], upstream: list[Array]) -> list[Any]:
    """The gradients of a loss times the incoming one, which is 1 wherever their own arrays are looked at."""
    v = upstream[0].item()
    return gradients if v == 1.0 else [None if g is None else np.asarray(g) * v for g in gradients]


def _per_argument(found: Any, names: list[str], positions: list[int]) -> list[Any]:
    """What a backward returned, as one gradient for each float argument."""
    wanted = [names[k] for k in positions]
    if isinstance(found, Mapping):
        missing = [name for name in wanted if name not in found]
        if missing:
            has = ", ".join(map(str, found)) or "nothing"
            raise Broken("COUNT", f"the backward returned {has}; {missing[0]} is missing", "Name each float argument")
        return [found[name] for name in wanted]
    if not isinstance(found, (tuple, list)):
        found = (found,)
    if len(positions) > 1 and len(found) == 1 and found[0] is None:
        raise Broken("COUNT", "the backward returned None", f"Return a gradient for each of {', '.join(wanted)}")
    if len(found) == len(positions):
        return list(found)
    if len(found) == len(names):
        return [found[k] for k in positions]
    raise Broken(
        "COUNT",
        f"the backward returned {counted(len(found), 'gradient')} for {counted(len(positions), 'float argument')}",
        f"Return one for each: {', '.join(wanted)}",
    )


# ---- a loss with its gradients in hand -----------------------------------------------------------------------------


def of_loss(f: Callable[..., Any], params: Any, grads: Any, rng: np.random.Generator | None = None) -> Problem:
    """A scalar ``f(params)``, or ``f()`` that reads `params` where they are, and its gradients `grads`."""
    if hasattr(params, "__next__"):
        params = list(params)
    arrays, gradients = _leaves(params, ""), _leaves(grads, "")
    strange = [name for name in (*arrays, *gradients) if (name in arrays) != (name in gradients)]
    if strange:
        has, lacks = ("grads", "params") if strange[0] in gradients else ("params", "grads")
        raise Broken("COUNT", f"{has}{strange[0]} has no counterpart in {lacks}", "Nest both in the same way")
    in_place = not _takes_arguments(f)
    for name, a in arrays.items():
        if a is None or a.dtype.kind != "f":
            what = "None" if a is None else f"of dtype {a.dtype}"
            raise Broken("INPUT", f"params{name} is {what}", "Pass float arrays")
        if in_place and (a.dtype != np.float64 or not a.flags.writeable):
            what = "is read-only" if a.dtype == np.float64 else f"has dtype {a.dtype}"
            text = f"params{name} {what}; f() reads it where it is, so it is written"
            raise Broken("INPUT", text, "Pass float64 arrays")
    before = [a.copy() for a in arrays.values()]
    given = [None if gradients[name] is None else np.array(gradients[name]) for name in arrays]

    def forward(floats: list[Array]) -> Any:
        if in_place:
            _write(arrays.values(), floats)
            return f()
        nest = _nested(params, iter(floats))
        return f(*nest) if isinstance(nest, (list, tuple)) else f(nest)

    names = [f"params{name}" for name in arrays]
    problem = Problem(
        f"{_name(f).replace('function', 'loss')}({'' if in_place else ', '.join(names)})",
        forward,
        lambda floats, upstream: _scaled(given, upstream),
        dict(zip(names, arrays.values())),
        rng=rng,
        leave=lambda: _write(arrays.values(), before) if in_place else None,
    )
    problem.seedless = True
    try:
        if problem.y.size != 1:
            raise Broken("SHAPE", f"the loss has shape {problem.output_shapes[0]}", "Return a scalar")
        if in_place and any(np.any(g) for g in given) and problem.value(1.001 * problem.x + 0.001) == problem.y:
            text = "the loss stays the same when all parameters change: it does not read these arrays"
            raise Broken("INPUT", text, "Pass the very arrays that f() computes with, not copies")
    except BaseException:
        problem.leave()
        raise
    return problem


def _write(targets: Any, values: Any) -> None:
    for target, value in zip(targets, values):
        target[...] = value


def _takes_arguments(f: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        return True


def _leaves(tree: Any, path: str) -> dict[str, Any]:
    """The arrays of nested lists, tuples and dicts by their place; Tensors as the arrays they hold."""
    if isinstance(tree, Mapping):
        items = [(f"{path}[{key!r}]", value) for key, value in tree.items()]
    elif isinstance(tree, (list, tuple)):
        items = [(f"{path}[{k}]", value) for k, value in enumerate(tree)]
    else:
        return {path: None if tree is None else _array(tree)}
    return {name: a for place, value in items for name, a in _leaves(value, place).items()}


def _nested(tree: Any, arrays: Iterator[Array]) -> Any:
    """The arrays in the places that they have in the tree."""
    if isinstance(tree, Mapping):
        return {key: _nested(value, arrays) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_nested(value, arrays) for value in tree]
    return next(arrays)


# ---- layers --------------------------------------------------------------------------------------------------------


def of_layer(layer: Module, given: Sequence[Any], rng: np.random.Generator | None = None) -> Problem:
    """A layer as a function of its inputs and of all its parameters, whose arrays are replaced: hand it a copy."""
    parameters = {name: p for name, p in layer.named_parameters() if p.requires_grad}
    call = _Arguments(layer.forward, given, bool(parameters))
    buffers = [(b, b.data.copy()) for b in layer.buffers()]
    n = len(parameters)

    def record(leaves: list[Any]) -> tuple[Any, list[Any]]:
        for p, x in zip(parameters.values(), leaves):
            p.data = x.data
        for b, a in buffers:
            b.data[...] = a
        wrote(*parameters.values())
        return layer(*call.filled(leaves[n:])), [*parameters.values(), *leaves[n:]]

    floats = {f"input {name}" if name in parameters else name: a for name, a in call.floats.items()}
    name = repr(layer) if "\n" not in repr(layer) else type(layer).__name__
    inputs = {name: p.data for name, p in parameters.items()} | floats
    return _oftensors(name, record, inputs, others=call.others, rng=rng)
