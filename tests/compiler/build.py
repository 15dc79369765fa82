"""Plans written by hand, and two interpreters: of a plan, and of a plan and its layout, which follows it literally."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_bp.compiler.plan import Plan, Value, evaluate, pack


class Writer:
    """Writes a plan: one method per operation, each of which finds shape and dtype by trying it."""

    def __init__(self) -> None:
        self.body: list[Value] = []
        self.inputs: list[Value] = []
        self.states: list[Value] = []
        self.examples: dict[Value, Any] = {}

    def input(self, array: Any, name: str = "x") -> Value:
        return self._leaf("input", (), array, name, self.inputs)

    def state(self, array: Any, name: str = "s") -> Value:
        return self._leaf("state", (), array, name, self.states)

    def constant(self, array: Any, name: str = "") -> Value:
        return self._leaf("constant", (np.asarray(array),), array, name, [])

    def full(self, shape: tuple[int, ...], number: complex, dtype: Any = np.float64) -> Value:
        return self._add("full", (), (number,), np.full(shape, number, dtype))

    def cast(self, x: Value, dtype: Any) -> Value:
        return self._add("cast", (x,), (), self.examples[x].astype(dtype))

    def put(self, x: Value, value: Any, index: Any, op: str = "put") -> Value:
        values, template = pack(index)
        return self._add(op, (x, value, *values), (template,), self.examples[x])

    def call(self, function: Any, *args: Any, op: str = "call", alias: int | None = None, **named: Any) -> Value:
        values, template = pack((args, named))
        return self(op, *values, params=(function, template), alias=alias)

    def __call__(self, op: str, *args: Any, params: tuple[Any, ...] = (), alias: int | None = None) -> Value:
        trial = Value(op, args, params, (), np.dtype(float))
        generator = np.random.default_rng(0)
        with np.errstate(all="ignore"):
            example = evaluate(trial, [self.examples.get(a, a) if isinstance(a, Value) else a for a in args], generator)
        return self._add(op, args, params, np.zeros(()) if example is None else example, alias)

    def plan(self, writes: Sequence[tuple[Value, Value]] = (), outputs: Sequence[Value] = ()) -> Plan:
        return Plan(tuple(self.body), tuple(self.inputs), tuple(self.states), tuple(writes), tuple(outputs))

    def _leaf(self, op: str, params: tuple[Any, ...], array: Any, name: str, leaves: list[Value]) -> Value:
        array = np.asarray(array)
        leaf = Value(op, (), params, array.shape, array.dtype, name)
        self.examples[leaf] = array
        leaves.append(leaf)
        return leaf

    def _add(self, op: str, args: tuple[Any, ...], params: Any, example: Any, alias: int | None = None) -> Value:
        example = np.asarray(example)
        self.body.append(Value(op, args, params, example.shape, example.dtype, alias=alias))
        self.examples[self.body[-1]] = example
        return self.body[-1]


Memory = dict[Value, Any]


def run(plan: Plan, memory: Memory, generator: np.random.Generator | None = None) -> list[Any]:
    """The outputs, each value in an array of its own; `memory` holds inputs and states, written at the end."""
    held: Memory = {leaf: array.copy() for leaf, array in memory.items()}
    for v in plan.body:
        args = [_array(a, held) for a in v.args]
        with np.errstate(all="ignore"):
            result = evaluate(v, args, generator)
        held[v] = None if result is None else np.array(result)
        if v.op != "check":
            assert held[v].shape == v.shape and held[v].dtype == v.dtype, f"{v.op} gives {held[v].dtype}{held[v].shape}"
    outputs = [np.array(_array(v, held)) for v in plan.outputs]
    for state, last in plan.writes:
        memory[state][...] = _array(last, held)
    return outputs


def _array(a: Any, held: Memory) -> Any:
    if not isinstance(a, Value):
        return a
    return a.params[0] if a.op == "constant" else held[a]
