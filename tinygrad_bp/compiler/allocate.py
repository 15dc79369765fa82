"""Where every value of a plan lives.

:func:`allocate` gives each instruction a home: an array outside (a state, whose last value is written straight into
it), a buffer that is allocated once and lent to one value after the other, or nothing (its call allocates: what is
returned belongs to the caller). Views have no home, they live in their argument. No memory is written while anybody
still reads it, through however many views. What the plan computes is not changed: only copies are added to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from .plan import LEAVES, REDUCTIONS, UFUNCS, VIEWS, Plan, Value

__all__ = ["Buffer", "Layout", "allocate"]

# Operations that compute into an array they are given, and of those that read and write the same index: which args.
_INTO = frozenset(UFUNCS) | frozenset(REDUCTIONS) | {"matmul", "where", "copy", "cast", "full", "put", "add_at"}
_SAME_INDEX = {"where": (2,), "copy": (0,), "cast": (0,), "put": (0,), "add_at": (0,)}


@dataclass(frozen=True)
class Buffer:
    """A C-contiguous array that is allocated once."""

    number: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Layout:
    """Where the values of a plan live."""

    homes: Mapping[Value, Value | Buffer | None]
    """For each instruction that is no view: a state, a buffer, or None: its call allocates the result, every time."""
    copies: tuple[tuple[Value, Value], ...]
    """(state, value): what is copied into states after the last instruction, in any order."""


def allocate(plan: Plan) -> tuple[Plan, Layout]:
    """The plan with the copies that it needs, and a home for each of its instructions.

    Outputs are allocated by their own instruction or copied, and share memory with nothing. A state holds its new
    value from the instruction on that computes it, if by then nobody needs the old one; otherwise from the end on.
    `where` may be written over its third argument, `put` and `add_at` over their first, an elementwise function over
    any argument of its shape and dtype that nobody reads any more. A `full` has its buffer for itself.
    """
    plan = _with_copies(plan)
    roots = _roots(plan)
    last = {v: i for i, v in enumerate(plan.body)}  # the last instruction that reads an array, through views too
    for i, v in enumerate(plan.body):
        last.update((roots[a], i) for a in v.values)
    last.update((v, len(plan.body)) for v in plan.results())
    returned = set(plan.outputs)
    homes: dict[Value, Value | Buffer | None] = dict(_straight(plan, roots, last))
    lent: dict[Value, Buffer] = {}
    free: dict[tuple[Any, ...], list[Buffer]] = {}
    numbers = count()
    for i, v in enumerate(plan.body):
        if roots[v] is v and v not in homes:
            homes[v] = None
            if v.op in _INTO and v not in returned:
                kind = (v.shape, v.dtype)
                over = next((a for a in _overwritable(v, roots) if a in lent and last[a] == i), None)
                if over:
                    homes[v] = lent[v] = lent.pop(over)
                elif v.op == "full":
                    homes[v] = Buffer(next(numbers), *kind)
                else:
                    homes[v] = lent[v] = free[kind].pop() if free.get(kind) else Buffer(next(numbers), *kind)
        for a in dict.fromkeys(roots[b] for b in (v, *v.values)):
            if a in lent and last[a] == i:
                free.setdefault((a.shape, a.dtype), []).append(lent.pop(a))
    return plan, Layout(homes, tuple((state, v) for state, v in plan.writes if homes[v] is not state))


def _roots(plan: Plan) -> dict[Value, Value]:
    """For each value the one whose memory it may be a view of."""
    roots: dict[Value, Value] = {}
    for v in plan.body:
        roots.update((a, a) for a in v.values if a.op in LEAVES)
        at = 0 if v.op in VIEWS else v.alias
        roots[v] = v if at is None else roots[v.args[at]]
    return roots


def _overwritable(v: Value, roots: Mapping[Value, Value]) -> Iterator[Value]:
    """The args of `v` in whose memory it may be computed, if nobody else reads them."""
    for k in range(len(v.args)) if v.op in UFUNCS else _SAME_INDEX.get(v.op, ()):
        a = v.args[k]
        if isinstance(a, Value) and roots[a] is a and (a.shape, a.dtype) == (v.shape, v.dtype):
            others = [b for j, b in enumerate(v.args) if isinstance(b, Value) and roots[b] is a and j != k]
            if all(b is a and v.op in UFUNCS for b in others):
                yield a


def _straight(plan: Plan, roots: Mapping[Value, Value], last: Mapping[Value, int]) -> Iterator[tuple[Value, Value]]:
    """(value, state) for each last value that can be computed in the state's own memory."""
    taken: set[Value] = set(plan.outputs)
    place = {v: i for i, v in enumerate(plan.body)}
    for state, v in plan.writes:
        read = last.get(state, -1)
        if v in taken or v.op not in _INTO or (v.shape, v.dtype) != (state.shape, state.dtype) or v.op == "full":
            continue
        if read < place[v] or (read == place[v] and state in _overwritable(v, roots)):
            taken.add(v)
            yield v, state


def _with_copies(plan: Plan) -> Plan:
    """The plan in which outputs and last values are computed by instructions of their own, each output by one."""
    views = {v for v in plan.body if v.op in VIEWS or v.alias is not None}
    after: dict[Value | None, list[Value]] = {}
    before: dict[Value, list[Value]] = {}

    def copy(v: Value) -> Value:
        return Value("copy", (v,), (), v.shape, v.dtype, v.name)

    outputs: list[Value] = []
    for v in plan.outputs:
        if v in outputs or v in views or v.op in LEAVES:
            outputs.append(copy(v))
            after.setdefault(None if v.op in LEAVES else v, []).append(outputs[-1])
        else:
            outputs.append(v)
    roots = _roots(plan)
    place = {v: i for i, v in enumerate(plan.body)}
    final = dict(plan.writes)
    end: list[Value] = []
    writes = []
    for state, v in plan.writes:
        if v is state:
            continue
        if v in views or v.op in LEAVES:
            c = copy(v)
            overwriting = final.get(roots.get(v, v))
            if overwriting is None or place.get(overwriting, -1) <= place.get(v, -1):
                end.append(c)
            else:
                before.setdefault(overwriting, []).append(c)
            v = c
        writes.append((state, v))
    body = [*after.get(None, ())]
    for v in plan.body:
        body += [*before.get(v, ()), v, *after.get(v, ())]
    return Plan((*body, *end), plan.inputs, plan.states, tuple(writes), tuple(outputs))
