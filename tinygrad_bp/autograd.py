"""The walk back: from an output along the recipes to the leaves, which turns partial derivatives into gradients.

The walk is a topological sort, depth-first without recursion, linear in the edges. It applies the chain rule, undoes
broadcasting and keeps dtypes, and knows no operation by name. Fed arrays, a row's partial runs at NumPy's speed; with
``create_graph=True`` the same line is fed the tensors themselves and records a graph of its own, which is how
derivatives of any order come from the same rows. Recipes and rows are defined in :mod:`tinygrad_bp.recipe`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy import asarray, ndarray

from .recipe import Node, Op, enable_grad, leaf, unary

__all__ = ["backward", "grad", "sum_to", "topological", "walk"]

# ---- undoing a broadcast -----------------------------------------------------------------------------------


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    lead = g.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 != g.shape[i + lead])
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


def _fit(gx: Any, x: Node, op: Op, inputs: Sequence[Any]) -> Any:
    """A partial's result in the shape and dtype of its input: broadcasting undone, precision kept."""
    shape, dtype = x.data.shape, x.data.dtype
    if type(gx) is ndarray and gx.ndim == 2 and gx.shape[1:] == shape and gx.dtype is dtype:
        return _ones(len(gx), dtype).dot(gx)  # of a batch: a matrix-vector product, four times as fast as gx.sum(0)
    if isinstance(gx, (float, int)):
        gx = asarray(gx)
    if not hasattr(gx, "shape"):
        cure = "Return an array, or declare the partial itself as None."
        raise _misfit(x, op, inputs, f"a {type(gx).__name__}. {cure}")
    try:
        if gx.shape != shape:
            gx = sum_to(gx, shape) if isinstance(gx, Node) else _sum_to(gx, shape)
    except ValueError:
        cure = "Return the shape of the input, or of the output where the input was broadcast."
        raise _misfit(x, op, inputs, f"shape {gx.shape}, the input has {shape}. {cure}") from None
    if gx.dtype.kind != "f":
        raise _misfit(x, op, inputs, f"dtype {gx.dtype}. Return a floating array.")
    return gx if gx.dtype == dtype else gx.astype(dtype)


def _misfit(x: Node, op: Op, inputs: Sequence[Any], returned: str) -> RuntimeError:
    position = next(k for k, other in enumerate(inputs) if other is x)
    return RuntimeError(f"backward: the partial of '{op.name}' for input {position} returned {returned}")


# ---- the walk ----------------------------------------------------------------------------------------------


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every computed, tracked node behind `roots`, inputs before what was computed from them: in order of time.

    On the way it refuses a freed graph, and a value that was written after it had been used.
    """
    stack = [root for root in roots if root.recipe is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        op, inputs, _ = node.recipe  # type: ignore[misc]
        if inputs is None:
            raise RuntimeError(
                f"backward: the graph of '{op.name}' was freed by an earlier backward(). "
                "Pass retain_graph=True to that call."
            )
        for x in inputs:
            if isinstance(x, Node):
                if x.clock > node.clock:
                    raise _stale(op, [x])
                if x.tracked and x.recipe is not None and x not in seen:
                    seen.add(x)
                    stack.append(x)
    return sorted(seen, key=attrgetter("clock"))


def _on_path(order: Iterable[Node], targets: Iterable[Node]) -> set[Node]:
    """The targets and every node of `order` (inputs first) that was computed from one."""
    reached = set(targets)
    for node in order:
        if any(isinstance(x, Node) and x in reached for x in node.recipe[1]):  # type: ignore[index]
            reached.add(node)
    return reached


@np.errstate(all="ignore")
def walk(
    order: Sequence[Node], seeds: Iterable[tuple[Node, Any]], targets: Sequence[Node] | None, create_graph: bool
) -> dict[Node, Any]:
    """dC/d(node) for the leaves of the graph, or for `targets`: arrays, or Tensors where `create_graph`.

    `order` holds the computed nodes, inputs first; `seeds` pairs outputs with their incoming gradients.
    """
    keep = frozenset(targets or ())
    path = None if targets is None else _on_path(order, keep)
    grads: dict[Node, Any] = {}
    kept: dict[Node, Any] = {}
    owned: set[Node] = set()
    for root, seed in seeds:
        grads[root] = grads[root] + seed if root in grads else seed
    try:
        for node in reversed(order):
            g = grads.pop(node, None)
            if g is None or (path is not None and node not in path):
                continue
            if node in keep:
                kept[node] = g
            op, inputs, params = node.recipe  # type: ignore[misc]
            if create_graph:
                if any(isinstance(x, Node) and x.data is not value for x, value in zip(inputs, node.values)):
                    raise _stale(op, inputs)
                args = (g, node, *inputs, *params)
            else:
                args = (g, node.data, *node.values, *params)
            joint = op.joint
            partials = op.partials if joint is None else _all_of(op, joint(*args), inputs)
            for x, gx in zip(inputs, partials):
                if not isinstance(x, Node) or not x.tracked or gx is None or (path is not None and x not in path):
                    continue
                if joint is None:
                    gx = gx(*args)
                if create_graph and isinstance(gx, ndarray):
                    gx = leaf(gx)
                data = x.data
                if getattr(gx, "shape", None) != data.shape or gx.dtype is not data.dtype:
                    gx = _fit(gx, x, op, inputs)
                if x not in grads:
                    grads[x] = copy(gx) if gx is g and x.recipe is None else gx
                elif x in owned:
                    grads[x] += gx
                else:
                    grads[x] = grads[x] + gx
                    owned.add(x)
    except Exception as error:
        if not str(error).startswith("backward:"):
            error.add_note(f"in the backward of '{op.name}'")
        raise
    return grads | kept if kept else grads


def _all_of(op: Op, partials: Any, inputs: Sequence[Any]) -> list[Any]:
    """What a joint line returned, checked: one gradient for every input, no two the same array."""
    if not isinstance(partials, (list, tuple)) or len(partials) != len(inputs):
        got = len(partials) if isinstance(partials, (list, tuple)) else f"a {type(partials).__name__}"
        raise RuntimeError(
            f"backward: '{op.name}' has {len(inputs)} inputs, its joint partials are {got}. Return one for each."
        )
    shared = {id(gx) for k, gx in enumerate(partials) if any(gx is other for other in partials[:k])}
    return [gx.copy() if id(gx) in shared and gx is not None else gx for gx in partials]


def _stale(op: Op, inputs: Iterable[Any]) -> RuntimeError:
    shapes = " and ".join(str(x.data.shape) for x in inputs if isinstance(x, Node))
    return RuntimeError(
        f"backward: an input of '{op.name}' of shape {shapes} was written after '{op.name}' had used it "
        "(an optimizer step or a load between forward and backward). Run the forward again."
    )


def _seed(output: Node, gradient: Any, name: str, create_graph: bool) -> Any:
    """The incoming gradient of an output: given, or one for a scalar; a Tensor where `create_graph`."""
    if not output.tracked:
        raise RuntimeError(
            f"{name}: this tensor of shape {output.data.shape} does not require grad and was not computed from one "
            "that does. Create an input with requires_grad=True, outside no_grad(); gradients need create_graph=True."
        )
    data = output.data
    if gradient is None:
        if data.ndim != 0:
            raise RuntimeError(
                f"{name}: a tensor of shape {data.shape} has no implicit gradient; only a scalar has. "
                "Reduce it (loss.mean()) or pass gradient=."
            )
        if create_graph or type(data) is not ndarray:  # what stands in for an array has ones of its own kind
            one = np.ones_like(data)
            return leaf(one) if create_graph else one
        return data.dtype.type(1)
    value = gradient.data if isinstance(gradient, Node) else np.copy(gradient)
    if value.shape != data.shape:
        raise ValueError(f"{name}: gradient has shape {value.shape}, the tensor {data.shape}. Pass one of that shape.")
    if value.dtype.kind not in "fiub":
        raise TypeError(f"{name}: gradient has dtype {value.dtype}. Pass a floating array.")
    if create_graph and isinstance(gradient, Node) and gradient.tracked:
        with enable_grad():
            return copy(gradient)
    seed = value.astype(data.dtype)
    return leaf(seed) if create_graph else seed


def _differentiate(
    outputs: Sequence[Node], gradients: Sequence[Any], targets: Sequence[Node] | None, create_graph: bool, name: str
) -> tuple[list[Node], dict[Node, Any]]:
    """Seed, sort and walk: the computed nodes, inputs first, and the gradients. Nothing is changed yet."""
    seeds = [(output, _seed(output, gradient, name, create_graph)) for output, gradient in zip(outputs, gradients)]
    order = topological(outputs)
    if not create_graph:
        return order, walk(order, seeds, targets, False)
    with enable_grad():
        return order, walk(order, seeds, targets, True)


def _free(order: Iterable[Node]) -> None:
    for node in order:
        node.recipe, node.values = (node.recipe[0], None, None), None  # type: ignore[index]


def backward(output: Node, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
    """Add dC/d(leaf) to the gradient of every leaf that `output` was computed from."""
    order, grads = _differentiate([output], [gradient], None, create_graph, "backward")
    if not (create_graph if retain_graph is None else retain_graph):
        _free(order)
    taken: set[int] = set()
    for node, g in grads.items():
        if node.recipe is None:
            g = _own(g, taken) if create_graph else leaf(g if type(g) is ndarray and g.base is None else np.copy(g))
            node.gradient = g if node.gradient is None else node.gradient + g


def _own(g: Any, taken: set[int]) -> Any:
    """A recorded gradient that shares memory with no other: itself, or a recorded copy."""
    if g.data.base is not None or id(g.data) in taken:
        with enable_grad():
            g = copy(g)
    taken.add(id(g.data))
    return g


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
    order, grads = _differentiate(outputs, grad_outputs, inputs, create_graph, "grad")
    for k, x in enumerate(inputs):
        if x not in grads and not allow_unused:
            raise RuntimeError(
                f"grad: the outputs were not computed from input {k} of shape {x.data.shape}. "
                "Pass allow_unused=True to get None for it."
            )
    if not (create_graph if retain_graph is None else retain_graph):
        _free(order)
    taken: set[int] = set()
    found = [grads.get(x) for x in inputs]
    return tuple(None if g is None else _own(g, taken) if create_graph else leaf(np.copy(g)) for g in found)


def _nodes(nodes: Any, what: str) -> list[Node]:
    found: list[Any] = list(nodes) if isinstance(nodes, (list, tuple)) else [nodes]
    for k, node in enumerate(found):
        if not isinstance(node, Node):
            raise TypeError(f"grad: {what} {k} is a {type(node).__name__}. Pass Tensors.")
    return found
