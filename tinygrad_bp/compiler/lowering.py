"""A plan made ready for loops: what NumPy's functions do is said in instructions that a loop or BLAS understands.

:func:`lower` is a pass from plan to plan whose result is for :mod:`~tinygrad_bp.compiler.fusion` only, as it has three
operations more: ``product(a, b, c)`` is a @ b + c, computed where c stands or was copied; ``gather(x, i, ..., ok)`` is
x[i, ...]; and ``guard(..., ok)``, with the params of a call, is that call if `ok` is False, and nothing otherwise.
Checks of values are guards, so that a compiled step calls them only to raise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from .plan import LEAVES, VIEWS, Plan, Value, unpack

__all__ = ["lower"]

BOOL = np.dtype(bool)


def lower(plan: Plan, blas: bool = True) -> Plan:
    """The plan with a ``copy`` for every result that no instruction computes, and with lowered calls and products."""
    plan = _with_calls(_with_copies(plan))
    return _with_products(plan) if blas else plan


def _with_copies(plan: Plan) -> Plan:
    """Let every state that is written, and every output, have an instruction of its own that computes it."""
    body, taken = list(plan.body), set[Value]()

    def own(v: Value) -> Value:
        if v.op in LEAVES or v.op in VIEWS or v.op == "full" or v in taken:
            body.append(replace(v, op="copy", args=(v,), params=(), alias=None))
            return body[-1]
        taken.add(v)
        return v

    writes = tuple((state, own(last)) for state, last in plan.writes)
    new = {v: v if v in taken else own(v) for v in plan.outputs}
    return Plan(tuple(body), plan.inputs, plan.states, writes, tuple(new[v] for v in plan.outputs))


def _with_products(plan: Plan) -> Plan:
    """BLAS adds a product to what stands there already: a bias, or the gradient that a state holds."""
    uses = Counter(a for v in plan.body for a in v.values) + Counter(plan.results())
    states = {last: state for state, last in plan.writes}
    merged: dict[Value, tuple[Value, Value]] = {}
    for v in plan.body:
        if v.op == "add" and len(v.values) == 2:
            for m, c in (v.args, v.args[::-1]):
                alone = m.op == "matmul" and uses[m] == 1 and m.shape == v.shape
                start = (c.size < v.size and c.op != "full") or c is states.get(v)
                if alone and start and m.dtype == c.dtype == v.dtype and v not in merged:
                    merged[v] = (m, c)
    gone = {m for m, _ in merged.values()}
    lowering = _Lowering()
    for v in plan.body:
        if v in merged:
            m, c = merged[v]
            lowering.put(v, replace(v, op="product", args=(*m.args, c)))
        elif v not in gone:
            lowering.put(v, v)
    return plan.mapped(lowering.body, lowering.new)


def _with_calls(plan: Plan) -> Plan:
    lowering = _Lowering()
    for v in plan.body:
        rule = _RULES.get(_name(v.params[0])) if v.op in ("call", "check") else None
        if rule is None or not rule(lowering, v):
            lowering.put(v, v)
    return plan.mapped(lowering.body, lowering.new)


class _Lowering:
    """The new body, and what stands in the place of the old values."""

    def __init__(self) -> None:
        self.body: list[Value] = []
        self.new: dict[Value, Value] = {}

    def put(self, old: Value, v: Value) -> bool:
        """Append an instruction that takes the place of an old one."""
        if any(a in self.new for a in v.values):
            v = replace(v, args=tuple(self.new.get(a, a) if isinstance(a, Value) else a for a in v.args))
        if v is not old:
            self.new[old] = v
        self.body.append(v)
        return True

    def __call__(self, op: str, *args: Any, like: Any = None, dtype: Any = None, params: Any = ()) -> Value:
        """Append an instruction; it has the shape of `like`, by default of the first of args."""
        like = args[0] if like is None else like
        args = tuple(self.new.get(a, a) if isinstance(a, Value) else a for a in args)
        shape = like if isinstance(like, tuple) else like.shape
        v = Value(op, args, params, shape, args[0].dtype if dtype is None else dtype)
        self.body.append(v)
        return v

    def total(self, x: Value, op: str = "sum") -> Value:
        """A reduction of all entries."""
        return self(op, x, like=(), params=(tuple(range(x.ndim)), False)) if x.ndim else x

    def guard(self, v: Value, ok: Value) -> Value:
        """The check `v`, only if `ok` is False."""
        self.put(v, replace(v, op="guard", args=(*v.args, ok)))
        return self.body[-1]


# ---- one function each -------------------------------------------------------------------------------------


def _arguments(v: Value) -> list[Any]:
    positional, named = unpack(v.params[1], v.args)
    return [] if named else list(positional)


def _is_float(*args: Any) -> bool:
    return all(isinstance(x, Value) and x.dtype.name in ("float32", "float64") and x.size for x in args)


def _vdot(lowering: _Lowering, v: Value) -> bool:
    """The sum of a b."""
    arguments = _arguments(v)
    if not _is_float(*arguments) or len(arguments) != 2:
        return False
    a, b = arguments
    if a.shape != b.shape or a.dtype != b.dtype or not a.ndim:
        return False
    together = lowering("multiply", a, b)
    return lowering.put(v, replace(v, op="sum", args=(together,), params=(tuple(range(a.ndim)), False)))


def _gathered(lowering: _Lowering, v: Value) -> bool:
    """x[i, j, ...] with one array of integers for every axis; NumPy is called if one points outside."""
    x, places = _arguments(v)
    places = places if isinstance(places, tuple) else (places,)
    fits = all(isinstance(i, Value) and i.dtype.kind in "iu" and i.size for i in places)
    if not fits or len(places) != x.ndim or x.dtype.name not in ("float32", "float64") or not v.ndim:
        return False
    inside = []
    for i, n in zip(places, x.shape):
        above, below = lowering("greater_equal", i, -n, dtype=BOOL), lowering("less", i, n, dtype=BOOL)
        inside.append(lowering.total(lowering("logical_and", above, below), "all"))
    guard = lowering.guard(v, _all(lowering, inside))
    del lowering.new[v]
    return lowering.put(v, replace(v, op="gather", args=(x, *places, guard), params=(), alias=None))


def _all(lowering: _Lowering, parts: list[Value]) -> Value:
    ok = parts[0]
    for part in parts[1:]:
        ok = lowering("logical_and", ok, part)
    return ok


def _finite(lowering: _Lowering, v: Value) -> bool:
    """The squares of what `check_finite` or `check_squares` looks at have a finite sum."""
    _, gradients, *cheaper = _arguments(v)
    flat, factors = cheaper or ([g for g in gradients if g is not None], [])
    if not _is_float(*flat, *(x for pair in factors for x in pair)):
        return False
    squares = {x: lowering.total(lowering("multiply", x, x)) for x in (*flat, *(x for pair in factors for x in pair))}
    bounds = [squares[x] for x in flat]
    bounds += [lowering("multiply", squares[d], squares[x], dtype=np.result_type(d.dtype, x.dtype)) for d, x in factors]
    if bounds:
        lowering.guard(v, _all(lowering, [lowering("less", bound, inf, dtype=BOOL) for bound in bounds]))
    return bool(bounds)


def _labels(lowering: _Lowering, v: Value) -> bool:
    """0 <= label < classes."""
    _, labels, classes = _arguments(v)
    return _between(lowering, v, labels, 0, "less", classes)


def _unit(lowering: _Lowering, v: Value) -> bool:
    """0 <= value <= 1."""
    return _between(lowering, v, _arguments(v)[2], 0.0, "less_equal", 1.0)


def _between(lowering: _Lowering, v: Value, x: Any, low: Any, order: str, high: Any) -> bool:
    if not isinstance(x, Value) or not x.size or x.dtype.kind not in "iuf":
        return False
    above, below = lowering("greater_equal", x, low, dtype=BOOL), lowering(order, x, high, dtype=BOOL)
    lowering.guard(v, lowering.total(lowering("logical_and", above, below), "all"))
    return True


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', '')}"


_RULES: dict[str, Callable[[_Lowering, Value], bool]] = {
    "numpy.vdot": _vdot,
    "_operator.getitem": _gathered,
    "tinygrad_bp.compiler.handle._getitem": _gathered,
    "tinygrad_bp.optim.optimizers.check_finite": _finite,
    "tinygrad_bp.compiler.checks.check_squares": _finite,
    "tinygrad_bp.nn.functional.accepted._check_range": _labels,
    "tinygrad_bp.nn.functional.accepted.check_unit": _unit,
}
"""By name, as a check that is recorded is not the function that its module shows."""
