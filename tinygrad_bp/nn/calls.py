"""One forward pass as a list of calls: which module was called with what, gave what, and when.

Modules are asked for nothing: for the time of one call of the whole, every module below it has a `forward` of its own
that notes the call and goes on to the one it had. Whatever was computed carries the time it was computed at, so the
operations between the beginning and the end of a call are its operations, and nothing has to be noted of them. Here
is not what is made of a list: tables, pictures and files are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ..recipe import Node, leaf

__all__ = ["Call", "innermost", "record_calls"]


@dataclass(eq=False)
class Call:
    """One call of one module.

    Attributes
    ----------
    path
        The dotted name of the module, "" for the whole.
    module, inputs, output
        What was called, with which arguments by position, and what it returned.
    began, ended
        The clock before and after: a value belongs to the call if ``began < value.clock < ended``.
    parent
        The call within which this one was made, None for that of the whole.
    children
        The calls within this one, in their order.
    """

    path: str
    module: Any
    inputs: tuple[Any, ...]
    output: Any = None
    began: int = 0
    ended: int = 0
    parent: Call | None = field(default=None, repr=False)
    children: list[Call] = field(default_factory=list, repr=False)


def record_calls(model: Any, *inputs: Any, **named: Any) -> list[Call]:
    """The calls of ``model(*inputs, **named)`` in the order in which they began; the first is that of the model.

    A module that is called twice is in the list twice. Calls from other threads are not noted.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> net = bp.nn.Sequential(bp.nn.Linear(2, 3), bp.nn.Sigmoid())
    >>> [(call.path, type(call.module).__name__, call.output.shape) for call in record_calls(net, bp.ones(5, 2))]
    [('', 'Sequential', (5, 3)), ('0', 'Linear', (5, 3)), ('1', 'Sigmoid', (5, 3))]
    """
    calls: list[Call] = []
    open_calls: list[Call] = []
    thread = threading.get_ident()

    def noted(path: str, module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return forward(*args, **kwargs)
            call = Call(path, module, args, began=_now(), parent=open_calls[-1] if open_calls else None)
            if call.parent is not None:
                call.parent.children.append(call)
            calls.append(call)
            open_calls.append(call)
            try:
                call.output = forward(*args, **kwargs)
            finally:
                call.ended = _now()
                open_calls.pop()
            return call.output

        return called

    with ExitStack() as restored:
        for path, module in list(model.named_modules()):
            attributes = vars(module)
            own = attributes.get("forward")
            attributes["forward"] = noted(path, module, module.forward)
            if own is None:
                restored.callback(attributes.pop, "forward")
            else:
                restored.callback(attributes.__setitem__, "forward", own)
        model(*inputs, **named)
    return calls


def innermost(calls: list[Call], node: Node) -> Call | None:
    """The smallest call within which `node` was computed, None for what is older than all of them or younger."""
    found = None
    for call in calls:
        if call.began < node.clock < call.ended:
            found = call  # those within it come after it
    return found


def _now() -> int:
    return int(leaf(None).clock)
