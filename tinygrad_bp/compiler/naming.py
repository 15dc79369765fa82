"""Names and comments for a recorded step: z1, a1, delta1, grad_W1, and which of the four equations a line belongs to.

The words are Nielsen's: a layer computes z = x W^T + b and a = sigmoid(z); delta is dC/dz. BP1 is the error of the
output layer, the slope of the loss times that of the activation; BP2 passes it back through the weights; BP3 and BP4
make gradients of it. Nothing depends on a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..recipe import Node
from .handle import Handle
from .origin import Origin
from .plan import Plan, Value
from .trace import Trace

__all__ = ["named"]

_ACTIVATIONS = {
    *("sigmoid", "tanh", "relu", "leaky_relu", "elu", "silu", "softplus", "softmax", "log_softmax", "mish"),
}


class _Names:
    """What everything is called: leaves first, then results and gradients in the order of the instructions."""

    def __init__(self, trace: Trace, paths: Mapping[Node, str], results: Mapping[Value, str]) -> None:
        self.trace = trace
        self.of: dict[Value, str] = {}
        self._counts: Counter[str] = Counter()
        self._from_loss: set[Any] = set()
        walked = {(o.target, o.owner) for o in trace.origins.values() if o.part == "backward"}
        self.shared = Counter(target for target, _ in walked)  # how many partials are added to a gradient
        roots = {o.root for o in trace.origins.values() if o.root is not None}
        self.returned = {x.data._value: "loss" for x in roots if isinstance(x.data, Handle) and not x.ndim} | dict(
            results
        )
        self._layers(paths)

    def _layers(self, paths: Mapping[Node, str]) -> None:
        """Weights and biases of layers by the order of their first use, other tensors by where they are found."""
        layers: dict[Any, int] = {}
        for origin in self.trace.origins.values():
            if origin.op is not None and origin.op.name == "linear" and origin.part == "forward":
                k = layers.setdefault(origin.owner, len(layers) + 1)
                for letter, x in zip("Wb", origin.inputs[1:]):
                    if x in self.trace.tensors:
                        self.of.setdefault(self.trace.tensors[x][0], f"{letter}{k}")
        ends = Counter(path.rpartition(".")[2] for path in paths.values())
        for node, (leaf, *_) in self.trace.tensors.items():
            path = paths.get(node, "p")
            end = path.rpartition(".")[2]
            self.of.setdefault(leaf, end if ends[end] == 1 else path.replace(".", "_"))

    def of_node(self, x: Any) -> str:
        """The name of a tensor, an array of the step, or a number."""
        if isinstance(x, Node):
            if x in self.trace.tensors:
                return self.of.get(self.trace.tensors[x][0], "")
            x = x.data
        return self.of.get(x._value, x._value.name) if isinstance(x, Handle) else ""

    def result(self, origin: Origin) -> str:
        """The name of what the call of a row returns."""
        row = origin.op.name if origin.op else "result"
        z = self.of_node(origin.inputs[0]) if origin.inputs else ""
        if row in _ACTIVATIONS and _is_z(z):
            return f"a{z[1:]}"
        if _is_loss(row):
            return "loss"
        letter = "z" if row == "linear" else row.lstrip("_")
        self._counts[letter] += 1
        return f"{letter}{self._counts[letter]}"

    def gradient(self, origin: Origin) -> str:
        """The name of the gradient that a partial contributes to."""
        name = self.of_node(origin.target)
        return f"delta{name[1:]}" if _is_z(name) else f"grad_{name or 'x'}"

    def forward_note(self, origin: Origin, name: str) -> str:
        """The comment on a call of a row."""
        row = origin.op.name if origin.op else ""
        if row == "linear":
            x, w, *b = map(self.of_node, origin.inputs)
            return f"{row}: {name} = {x or 'input'} {w}^T" + (f" + {b[0]}" if b and b[0] else "")
        return f"{row}: {name}"

    def backward_note(self, origin: Origin, name: str) -> str:
        """The comment on a partial."""
        row = origin.op.name if origin.op else ""
        first = self.of_node(origin.owner) if origin.owner is not None else ""
        delta = f"delta{first[1:]}"
        if row == "linear":
            position = next((k for k, x in enumerate(origin.inputs) if x is origin.target), 0)
            x, w, *_ = map(self.of_node, origin.inputs)
            sign = "+=" if self.shared[origin.target] > 1 else "="
            return (
                f"BP2: {delta} back through {w}",
                f"BP4: {name} {sign} {delta}^T {x or 'input'}",
                f"BP3: {name} {sign} {delta}, summed over the batch",
            )[position]
        if _is_loss(row):
            self._from_loss.add(origin.target)
            return f"BP1: {name}, the slope of the loss"
        if row in _ACTIVATIONS and name.startswith("delta"):
            equation = "BP1" if origin.owner in self._from_loss else "BP2"
            if "softmax" in row:
                return f"{equation}: {name} = grad_{first}, back through {row}"
            return f"{equation}: {name} = grad_{first} * {row}'({self.of_node(origin.target)})"
        return f"{row}, backward: {name}"


def _is_loss(row: str) -> bool:
    return row.endswith("loss") or "cross_entropy" in row


def _is_z(name: str) -> bool:
    return name[:1] == "z" and name[1:].isdigit()


def named(
    plan: Plan, trace: Trace, paths: Mapping[Node, str], gradients: Mapping[Value, Node], results: Mapping[Value, str]
) -> Plan:
    """The plan with names and notes.

    `paths` names tensors, `gradients` maps the leaf of a gradient to its tensor, `results` names what is returned.
    """
    names = _Names(trace, paths, results)
    names.of.update({leaf: leaf.name for leaf in plan.inputs})
    last: dict[Any, Value] = {}
    for v in plan.body:
        origin = trace.origins[v]
        last[origin.part, origin.owner if origin.part == "forward" else origin.target] = v
    notes: dict[Value, str] = {}
    called: dict[Any, tuple[str, str]] = {}
    for v in plan.body:
        origin = trace.origins[v]
        if origin.part == "forward":
            if origin.owner not in called:
                name = names.result(origin)
                called[origin.owner] = (name, names.forward_note(origin, name))
            name, notes[v] = called[origin.owner]
            if last["forward", origin.owner] is v:
                names.of[v] = name if re.fullmatch(r"[za]\d+|loss", name) else names.returned.get(v, name)
        elif origin.part == "backward" and origin.target is not None:
            name = names.gradient(origin)
            notes[v] = names.backward_note(origin, name)
            if last["backward", origin.target] is v:
                names.of[v] = name
        elif origin.part == "update" and origin.target is not None:
            notes[v] = f"{type(origin.owner).__name__}: {names.of_node(origin.target)}"
        elif origin.part == "":
            notes[v] = origin.owner
        if v.op == "check":
            notes[v] = "check, before anything is written"
    for leaf, _, (_, p, word) in trace.memory:
        names.of[leaf] = f"{word}_{names.of_node(p)}" if p in trace.tensors else word
    for leaf in trace.made():
        names.of[leaf] = "made"
    for leaf, node in gradients.items():
        names.of[leaf] = f"grad_{names.of_node(node) or 'x'}"
    return _renamed(plan, names.of, notes)


def _renamed(plan: Plan, names: Mapping[Value, str], notes: Mapping[Value, str]) -> Plan:
    new: dict[Value, Any] = {}

    def renewed(v: Value) -> Value:
        if v not in new:
            args = tuple(renewed(x) if isinstance(x, Value) else x for x in v.args)
            new[v] = replace(v, args=args, name=names.get(v, v.name), note=notes.get(v, v.note))
        result: Value = new[v]
        return result

    inputs, states = tuple(map(renewed, plan.inputs)), tuple(map(renewed, plan.states))
    body = tuple(map(renewed, plan.body))
    writes = tuple((renewed(state), renewed(v)) for state, v in plan.writes)
    return Plan(body, inputs, states, writes, tuple(map(renewed, plan.outputs)))
