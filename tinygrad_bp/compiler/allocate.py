"""Where every value of a plan lives.

:func:`allocate` gives each instruction a home: an array outside (a state, whose last value is written straight into
it), a buffer that is allocated once and lent to one value after the other, or nothing (its call allocates: what is
returned belongs to the caller). Views have no home, they live in their argument. No memory is written while anybody
still reads it, through however many views. What the plan computes is not changed: only copies are added to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

import numpy as np

from .passes import rewrite
from .plan import EFFECTS, REDUCTIONS, UFUNCS, VIEWS, Plan, Value

__all__ = ["Buffer", "Layout", "allocate"]

# What computes into an array that it is given; of what may be written over its own args, which.
_INTO = frozenset(UFUNCS) | frozenset(REDUCTIONS) | {"matmul", "where", "copy", "cast", "put", "add_at"}
_DRAWN_INTO = frozenset({"random", "standard_normal"})  # methods whose arguments are size, dtype and out
_OVER = {"where": (2,), "copy": (0,), "cast": (0,), "put": (0,), "add_at": (0,)} | dict.fromkeys(UFUNCS, (0, 1))


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
    What leads up to the new value may be computed in the state's memory too, if nothing that can fail is in between.
    `where` may be written over its third argument, `put` and `add_at` over their first, an elementwise function over
    any argument of its shape and dtype that nobody reads any more. A `full` has its buffer for itself.
    """
    plan = _with_copies(rewrite(plan, _reshaped_copy))
    roots = _roots(plan)
    reads = [[roots[a] for a in (v, *v.values)] for v in plan.body]
    last = {root: i for i, together in enumerate(reads) for root in together}  # the last to read it, through views too
    for v in plan.results():
        last[v] = len(plan.body)
    homes: dict[Value, Value | Buffer | None] = dict.fromkeys(plan.outputs)
    homes.update(_straight(plan, roots, last))
    lent: dict[Value, Buffer] = {}
    free: dict[tuple[Any, ...], list[Buffer]] = {}
    numbers = count()
    for i, v in enumerate(plan.body):
        if roots[v] is v and v not in homes:
            kind = v.shape, v.dtype
            if v.op == "full":
                homes[v] = Buffer(next(numbers), *kind)
            elif v.op in _INTO or (v.op == "draw" and v.params[0] in _DRAWN_INTO and v.shape):
                over = next((a for a in _overwritable(v, roots) if a in lent and last[a] == i), None)
                stack = free.get(kind)
                lent[v] = lent.pop(over) if over else stack.pop() if stack else Buffer(next(numbers), *kind)
                homes[v] = lent[v]
            else:
                homes[v] = None
        for root in reads[i]:
            if last[root] == i and root in lent:
                free.setdefault((root.shape, root.dtype), []).append(lent.pop(root))
    homes = {v: homes[v] for v in plan.body if v in homes}
    return plan, Layout(homes, tuple((state, v) for state, v in plan.writes if homes[v] is not state))


def _roots(plan: Plan) -> dict[Value, Value]:
    """For each value the one whose memory it may be a view of."""
    roots: dict[Value, Value] = {}
    for v in plan.body:
        for a in v.values:
            roots.setdefault(a, a)
        at = 0 if v.op in VIEWS else v.alias
        roots[v] = v if at is None else roots[v.args[at]]
    return roots


def _overwritable(v: Value, roots: Mapping[Value, Value]) -> Iterator[Value]:
    """The args of `v` in whose memory it may be computed, if nobody else reads them."""
    for k in _OVER.get(v.op, ())[: len(v.args)]:
        a = v.args[k]
        if isinstance(a, Value) and roots[a] is a and a.shape == v.shape and a.dtype == v.dtype:
            others = [b for b in v.args[:k] + v.args[k + 1 :] if isinstance(b, Value) and roots[b] is a]
            if not others or (v.op in UFUNCS and all(b is a for b in others)):
                yield a


def _straight(plan: Plan, roots: Mapping[Value, Value], last: Mapping[Value, int]) -> Iterator[tuple[Value, Value]]:
    """(value, state) for what is computed in a state's own memory: its last value, and what leads up to that."""
    place = {v: i for i, v in enumerate(plan.body)}
    risks = list(accumulate(v.op in EFFECTS or v.op == "call" for v in plan.body))
    taken = set(plan.outputs)
    for state, final in plan.writes:
        v: Value | None = final if (final.shape, final.dtype) == (state.shape, state.dtype) else None
        while v in place and v not in taken and v.op in _INTO and risks[place[v]] == risks[place[final]]:
            i, read = place[v], last.get(state, -1)
            if read > i or (read == i and state not in _overwritable(v, roots)):
                break
            taken.add(v)
            yield v, state
            v = next((a for a in _overwritable(v, roots) if last[a] == i), None)


def _reshaped_copy(v: Value) -> Value | None:
    """reshape(copy(x)) for a reshape(x) that is no view even of a C-contiguous array, since the copy has a home."""
    if v.op != "reshape" or v.size <= 1 or not _copies(v):
        return None
    (x,) = v.args
    copied = Value("copy", (x,), (), x.shape, x.dtype)
    return Value("reshape", (copied,), v.params, v.shape, v.dtype, v.name, v.note)


def _copies(v: Value) -> bool:
    example = _example(v.args[0])
    return not np.may_share_memory(example, example.reshape(v.shape))


def _example(x: Value) -> Any:
    """An array in memory as `x` is, if the array behind it is C-contiguous."""
    return VIEWS[x.op](_example(x.args[0]), *x.params) if x.op in VIEWS else np.empty(x.shape, np.int8)


def _with_copies(plan: Plan) -> Plan:
    """The plan in which outputs and last values are computed by instructions of their own, each output by one."""
    roots = _roots(plan)
    place = {v: i for i, v in enumerate(plan.body)}
    after: dict[int, list[Value]] = {}  # instructions to insert behind the i-th; -1: at the beginning

    def copied(v: Value, at: int) -> Value:
        after.setdefault(at, []).append(Value("copy", (v,), (), v.shape, v.dtype, v.name))
        return after[at][-1]

    def is_computed(v: Value) -> bool:
        return v in place and roots[v] is v

    outputs: dict[Value, None] = {}
    for v in plan.outputs:
        outputs[v if is_computed(v) and v not in outputs else copied(v, place.get(v, -1))] = None
    final, end = dict(plan.writes), len(plan.body) - 1
    writes = []
    for state, v in plan.writes:
        if not is_computed(v) and v is not state:
            overwriting = place.get(final.get(roots.get(v, v), v), -1)  # a state must be read before
            v = copied(v, overwriting - 1 if overwriting > place.get(v, -1) else end)
        if v is not state:
            writes.append((state, v))
    body = after.get(-1, [])
    for i, v in enumerate(plan.body):
        body.append(v)
        body += after.get(i, ())
    return Plan(tuple(body), plan.inputs, plan.states, tuple(writes), tuple(outputs))
