"""Whether recipes tell everything that a model makes of its input: what the walk in `paired` cannot see itself.

Numbers that left the recipes (``x.data``, detached, whole numbers compared) look like constants wherever they happen
to be the same for the rows of a forward pass. So the model runs once on the compiler's stand-ins for arrays, which
know what they were computed from. Nothing is written from that run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from ..compiler.handle import Handle
from ..compiler.plan import Value
from ..compiler.trace import Trace
from ..compiler.watch import recording
from ..nn.calls import innermost
from ..recipe import Node, enable_grad
from ..tensor import Tensor
from .numpy_plan import arrays_in, evaluated
from .paired import calls_of, recorded

__all__ = ["refuse_unfollowed"]


def refuse_unfollowed(model: Any, x: NDArray[Any]) -> None:
    """Raise the ValueError of a model that decides on numbers, writes, or computes from x what no recipe tells.

    >>> import numpy as np, tinygrad_bp as bp
    >>> refuse_unfollowed(bp.nn.Sequential(bp.nn.Flatten(), lambda x: x * (x.data > 0)), np.ones((2, 3)))
    Traceback (most recent call last):
        ...
    ValueError: export: the model: an array of shape (2, 3), bool, is computed from x, and no recipe tells how. ...
    """
    with evaluated(model), recorded(model), recording() as trace, enable_grad():
        given = Tensor(x, requires_grad=x.dtype.kind == "f")
        given.data = trace.input(x, "x")
        calls = calls_of(model, given, len(x))
        if trace.refusals:  # which the model has caught
            raise trace.refusals[0]
        for name, tensor in model._tensors().items():
            before, now, _ = trace.tensors.get(tensor, (None, None, None))
            if now is not None and now.value is not before:
                raise ValueError(f"export: the model writes into {name} in eval(). Let it write only while training.")
        moving = _computed_from(trace, given.data.value)
        for node, array in _left([y for y in arrays_in(calls[0].output) if isinstance(y, Node)]):
            if isinstance(array, Handle) and array.value in moving:
                call = innermost(calls, node)
                what = f"an array of shape {array.shape}, {array.dtype}, is computed from x, and no recipe tells how"
                raise ValueError(
                    f"export: {(call and call.path) or 'the model'}: {what}. Compute it from Tensors of floats, "
                    "without detach() and no_grad(); whole numbers can only be indices."
                )


def _computed_from(trace: Trace, x: Value) -> set[Value]:
    """All that was computed from x, but not x itself and its copies."""
    same, found = {x}, set[Value]()
    for v in trace.body:
        if v.op in ("copy", "cast") and v.args[0] in same and v.dtype == x.dtype:
            same.add(v)
        elif not (same | found).isdisjoint(v.values):
            found.add(v)
    return found


def _left(outputs: list[Node]) -> Iterator[tuple[Node, Any]]:
    """What nobody computed as far as recipes tell, each with the tensor that was computed from it, or that it is."""
    seen, pending = set[int](), [(y, y) for y in reversed(outputs)]
    while pending:
        node, into = pending.pop()
        if node.recipe is None:
            yield into, node.data
        elif id(node) not in seen:
            seen.add(id(node))
            for part in arrays_in(node.recipe[1:]):
                if isinstance(part, Node):
                    pending.append((part, node))
                else:
                    yield node, part
