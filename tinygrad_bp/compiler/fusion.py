"""Which instructions of a plan share a loop, in which order loops, products and calls run, and what is kept in memory.

:func:`fuse` sorts the instructions of a plan into groups. A "loop" goes once over an index space and computes all its
elementwise instructions and the reductions of their results entry by entry; a "product" is one call of BLAS; a "guard"
is a question on the way; a "call" is left to NumPy. Views are no instructions: a :class:`Place` says where in another
array their entries stand. A value that is needed in its own loop only has no memory. How a loop is written is said in
:mod:`~tinygrad_bp.compiler.numba_source`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .lowering import lower
from .plan import EFFECTS, REDUCTIONS, UFUNCS, VIEWS, Plan, Value

__all__ = ["Fused", "Group", "Place", "as_matrices", "fuse", "loop_dtypes", "matrix"]

Shape = tuple[int, ...]

FLOATS = ("float32", "float64")
READABLE = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", *FLOATS}
"""The dtypes that a loop may read; it computes floats and truth values."""

# fmt: off
FLOATING = {
    "add", "subtract", "multiply", "divide", "negative", "positive", "absolute", "fabs", "square", "reciprocal", "sqrt",
    "power", "maximum", "minimum", "exp", "expm1", "log", "log1p", "tanh", "exp2", "log2", "log10", "sin", "cos", "tan",
    "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "arcsinh", "arccosh", "arctanh", "hypot", "logaddexp",
    "floor", "ceil", "trunc", "rint", "isnan", "isinf", "isfinite",
}
COMPARING = {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal"}
LOGICAL = {"logical_and", "logical_or", "logical_xor", "logical_not"}
# fmt: on


@dataclass(frozen=True)
class Place:
    """Where the entries of a value stand: entry (i, j, ...) is `offset` + i strides[0] + ... in the array of `root`."""

    root: Value
    offset: int
    strides: Shape


@dataclass(frozen=True, eq=False)
class Group:
    """Instructions that run together: a "loop" over the indices of `space`, one "product", "guard" or "call"."""

    kind: str
    space: Shape
    members: list[Value]


@dataclass(frozen=True)
class Fused:
    """A plan in groups.

    Attributes
    ----------
    plan
        The plan as :mod:`~tinygrad_bp.compiler.lowering` leaves it.
    groups
        In the order they run.
    places
        Of every value.
    stored
        The results that need memory.
    direct
        Of those, the ones that are written straight into a state; other last values are copied at the end.
    """

    plan: Plan
    groups: tuple[Group, ...]
    places: Mapping[Value, Place]
    stored: frozenset[Value]
    direct: Mapping[Value, Value]


def fuse(plan: Plan, blas: bool = True) -> Fused:
    """Sort a plan into groups; without BLAS its products are calls."""
    plan = lower(plan, blas)
    places = _places(plan)
    kinds = {v: _kind(v, places, blas) for v in plan.body if v.op != "full" and places[v].root is v}
    order = {v: i for i, v in enumerate(plan.body)}
    direct = _direct(plan, places, kinds, order)
    before = _edges(places, kinds, direct)
    levels = _levels(before, kinds)
    groups = tuple(_grouped(levels, kinds))
    stored = frozenset(_stored(plan, groups, places, kinds))
    return Fused(plan, groups, places, stored, direct)


# ---- where entries stand -----------------------------------------------------------------------------------


def _places(plan: Plan) -> dict[Value, Place]:
    """The place of every value, found by making its views of an array of bytes; a reshape that copies is a root."""
    bytes_: dict[Value, Any] = {}
    places: dict[Value, Place] = {}

    def root(v: Value) -> None:
        bytes_[v] = np.empty(v.shape, np.int8)
        places[v] = Place(v, 0, bytes_[v].strides)

    for v in plan.body:
        for a in v.values:
            if a not in places:
                root(a)
        if v.op in VIEWS:
            under = places[v.args[0]].root
            view = VIEWS[v.op](bytes_[v.args[0]], *v.params)
            if np.may_share_memory(view, bytes_[under]):
                offset = view.__array_interface__["data"][0] - bytes_[under].__array_interface__["data"][0]
                bytes_[v], places[v] = view, Place(under, offset, view.strides)
                continue
        root(v)
    for leaf in (*plan.inputs, *plan.states):
        if leaf not in places:
            root(leaf)
    return places


def _same_index(v: Value, k: int, places: Mapping[Value, Place]) -> bool:
    """Whether v, to compute entry (i, j, ...) of its space, reads entry (i, j, ...) of the array of its operand k."""
    a, space = v.values[k], _space(v)
    place = places[a]
    own = places[place.root].strides
    return (
        not (v.op == "gather" and k == 0)
        and a.shape == space == place.root.shape
        and place.offset == 0
        and all(s == t for s, t, n in zip(place.strides, own, space) if n > 1)
    )


def matrix(place: Place, shape: Shape) -> tuple[bool, int] | None:
    """(transposed, leading dimension) by which BLAS reads a matrix, or None if it cannot."""
    (rows, columns), (down, right) = shape, place.strides
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return False, down if rows > 1 else columns
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return True, right if columns > 1 else rows
    return None


def as_matrices(v: Value, places: Mapping[Value, Place]) -> list[tuple[Place, Shape]]:
    """The factors of a product as matrices: a vector is a row on the left, a column on the right."""
    factors = []
    for k, a in enumerate(v.args[:2]):
        place, shape = places[a], a.shape
        if a.ndim == 1:
            shape = (a.size, 1) if k else (1, a.size)
            place = replace(place, strides=(place.strides[0], 1) if k else (a.size, place.strides[0]))
        factors.append((place, shape))
    return factors


# ---- what runs where ---------------------------------------------------------------------------------------


def loop_dtypes(v: Value) -> tuple[np.dtype[Any], ...] | None:
    """The dtypes to which a loop casts the args of an elementwise instruction; None if it is not for loops."""
    own = tuple(a.dtype if isinstance(a, Value) else np.dtype(bool) if type(a) is bool else type(a) for a in v.args)
    if v.op in EFFECTS or not v.values or any(a.dtype.name not in READABLE for a in v.values):
        return None
    if v.op == "where":
        return (np.dtype(bool), v.dtype, v.dtype) if v.dtype.name in (*FLOATS, "bool") else None
    if v.op == "gather":
        return tuple(a.dtype for a in v.values)
    if v.op == "copy":
        return (v.dtype,)
    if v.op == "cast":
        return (v.values[0].dtype,) if v.dtype.name in (*FLOATS, "bool") else None
    if v.op in LOGICAL:
        return (np.dtype(bool),) * len(own)
    if v.op not in FLOATING | COMPARING:
        return None
    kinds = UFUNCS[v.op].resolve_dtypes((*own, None))[:-1]
    names = {t.name for t in kinds}
    if v.op in COMPARING and len(names) == 1 and names <= READABLE - set(FLOATS):
        in_range = (type(a) is not int or a == np.array(a).astype(t) for a, t in zip(v.args, kinds))
        return kinds if all(in_range) else None
    return kinds if names <= set(FLOATS) else None


def _kind(v: Value, places: Mapping[Value, Place], blas: bool) -> str:
    if v.op == "guard":
        return "guard"
    if v.size == 0 or any(a.size == 0 for a in v.values):
        return "call"
    if v.op in ("matmul", "product"):
        fits = blas and v.dtype.name in FLOATS and all(a.dtype == v.dtype and a.ndim <= 2 for a in v.values)
        return "product" if fits and all(matrix(*factor) for factor in as_matrices(v, places)) else "call"
    if v.op in REDUCTIONS:
        (x,) = v.args
        fits = x.dtype.name in READABLE if v.op in ("all", "any") else x.dtype == v.dtype and v.dtype.name in FLOATS
        return "loop" if fits else "call"
    return "loop" if loop_dtypes(v) else "call"


def _space(v: Value) -> Shape:
    return v.values[0].shape if v.op in REDUCTIONS else v.shape


def _direct(
    plan: Plan, places: Mapping[Value, Place], kinds: Mapping[Value, str], order: Mapping[Value, int]
) -> dict[Value, Value]:
    """The last values that may be written over the old one: nobody reads that later, or elsewhere at the same time."""
    direct = {last: state for state, last in plan.writes}
    writer = dict(plan.writes)
    for v in kinds:
        for k, a in enumerate(v.values):
            last = writer.get(places[a].root)
            if last is None or order[v] < order[last]:
                continue
            adds = kinds[v] == "product" and k == 2
            same = (kinds[v] == "loop" and v.op not in REDUCTIONS) or adds
            if v is not last or not same or not _same_index(v, k, places):
                direct.pop(last, None)
    return direct


Edges = dict[Value, list[tuple[Value, int]]]


def _edges(places: Mapping[Value, Place], kinds: Mapping[Value, str], direct: Mapping[Value, Value]) -> Edges:
    """What an instruction comes after: (other, 0) if they may share a loop, else (other, 1)."""
    writer = {state: last for last, state in direct.items()}
    before: Edges = {v: [] for v in kinds}
    effect: Value | None = None
    check: Value | None = None
    for v in kinds:
        for k, a in enumerate(v.values):
            u = places[a].root
            shares = kinds[v] == "loop" and _same_index(v, k, places)
            if u in kinds:
                elementwise = kinds[u] == "loop" and u.op not in REDUCTIONS
                before[v].append((u, int(not (shares and elementwise))))
            last = writer.get(u)
            if last is not None and last is not v:
                alike = kinds[last] == "loop" and last.op not in REDUCTIONS and _space(last) == _space(v)
                before[last].append((v, int(not (shares and alike))))
        if v.op in ("check", "guard", "draw"):
            before[v] += [(effect, 1)] if effect else []
            effect = v
            check = check if v.op == "draw" else v
        elif v in direct and check:
            before[v].append((check, 1))
    return before


def _levels(before: Edges, kinds: Mapping[Value, str]) -> dict[Value, int]:
    """As early as possible; then what only a later loop needs is moved there."""
    levels: dict[Value, int] = {}
    for v, others in before.items():
        levels[v] = max((levels[u] + cost for u, cost in others), default=0)
    after: Edges = {v: [] for v in before}
    for v, others in before.items():
        for u, cost in others:
            after[u].append((v, cost))
    for v in reversed(before):
        if kinds[v] == "loop" and v.op not in REDUCTIONS and after[v]:
            latest = min(levels[w] - cost for w, cost in after[v])
            if any(cost == 0 and levels[w] == latest for w, cost in after[v]):
                levels[v] = latest
    return levels


def _grouped(levels: Mapping[Value, int], kinds: Mapping[Value, str]) -> Iterator[Group]:
    """Level by level; calls stand together where they can, as what is compiled should be in few pieces."""
    by_level: dict[int, dict[Any, Group]] = {}
    for v, level in levels.items():
        key = _space(v) if kinds[v] == "loop" else v
        found = by_level.setdefault(level, {})
        if key not in found:
            found[key] = Group(kinds[v], _space(v) if kinds[v] == "loop" else v.shape, [])
        found[key].members.append(v)
    calls_first = True
    for level in sorted(by_level):
        calls = [g for g in by_level[level].values() if g.kind == "call"]
        others = [g for g in by_level[level].values() if g.kind != "call"]
        yield from (*calls, *others) if calls_first else (*others, *calls)
        calls_first = bool(calls) and not (calls_first and others)


def _stored(
    plan: Plan, groups: tuple[Group, ...], places: Mapping[Value, Place], kinds: Mapping[Value, str]
) -> Iterator[Value]:
    """What is read outside of its loop, and all that no loop computes entry by entry."""
    group = {v: g for g in groups for v in g.members}
    yield from plan.results()
    for v, kind in kinds.items():
        if v.op not in ("check", "guard") and (kind != "loop" or v.op in REDUCTIONS):
            yield v
        for k, a in enumerate(v.values):
            u = places[a].root
            if u in kinds and u.op != "guard" and not (group[u] is group[v] and _same_index(v, k, places)):
                yield u
