"""Plan to plan: the same results in fewer instructions.

Each pass is a pure function, and :func:`optimize` is their order. What replaces a value has its shape and dtype, and
its value but for rounding: nan, inf and the sign of zero are kept, so ``x + 0.0`` stays (it is 0.0 where x is -0.0),
and so does ``x * 0``. Only constant factors of moderate size are merged, where the order of rounding is another than
was written. Its name and note go to what replaces a value. Where values live is no concern of this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

import numpy as np

from .plan import EFFECTS, LEAVES, REDUCTIONS, UFUNCS, VIEWS, Plan, Slot, Value, evaluate

__all__ = ["common_subexpressions", "dead_code", "fold_constants", "optimize", "rewrite", "simplify"]


def optimize(plan: Plan) -> Plan:
    """All passes until nothing changes. They go through the plan together, an instruction at a time: that is faster."""
    for _ in range(10):  # two or three are enough
        before = dead_code(plan)
        plan = rewrite(before, partial(_improved, _First()))
        if plan is before:
            break
    return plan


def _improved(first: _First, v: Value) -> Value:
    v = _folded(v) or v
    return first(_simplified(v) or v)


# ---- how a plan is rewritten -------------------------------------------------------------------------------


def rewrite(plan: Plan, rule: Callable[[Value], Value | None]) -> Plan:
    """Each instruction, its args already rewritten, as the rule says it; None: as it is.

    The rule may answer with a value that was there before, with a leaf, or with a new instruction of the same name,
    whose args may be new instructions in their turn. The plan itself is returned if nothing changes.
    """
    new: dict[Any, Value] = {}
    body: dict[Value, None] = {}  # an ordered set
    named: dict[Value, Value] = {}

    def place(v: Value) -> None:
        for a in v.args:
            if a not in body and isinstance(a, Value) and a.op not in LEAVES:
                place(a)
        body[v] = None

    for v in plan.body:
        w = v
        for a in v.args:
            if a in new:
                w = _value(v.op, tuple([new.get(b, b) for b in v.args]), v.params, v)
                break
        found = rule(w) or w
        if found in body:
            if _called(found, v) is not found:
                named.setdefault(found, v)
        elif found.op not in LEAVES:
            place(found)
        if found is not v:
            new[v] = found
    if not new:
        return plan
    plan = plan.mapped(body, new)
    return rewrite(plan, lambda v: _called(v, named[v]) if v in named else None) if named else plan


def _value(op: str, args: tuple[Any, ...], params: tuple[Any, ...], like: Value) -> Value:
    """An instruction with the shape, the dtype and the name of another."""
    alias = like.alias if like.op == op else None
    return Value(op, args, params, like.shape, like.dtype, like.name, like.note, alias)


def _called(v: Value, like: Value) -> Value:
    """`v` with the name and the note of `like`, where it has none."""
    name, note = v.name or like.name, v.note or like.note
    if (name, note) == (v.name, v.note):
        return v
    return Value(v.op, v.args, v.params, v.shape, v.dtype, name, note, v.alias)


# ---- dead code ---------------------------------------------------------------------------------------------


def dead_code(plan: Plan) -> Plan:
    """Without the instructions whose results nobody needs, and without states that are written what they hold."""
    writes = tuple((state, last) for state, last in plan.writes if last is not state)
    needed = {*plan.outputs, *(last for _, last in writes)}
    kept = []
    for v in reversed(plan.body):
        if v in needed or v.op in EFFECTS:
            needed.update(v.values)
            kept.append(v)
    if len(kept) == len(plan.body) and len(writes) == len(plan.writes):
        return plan
    return Plan(tuple(reversed(kept)), plan.inputs, plan.states, writes, plan.outputs)


# ---- common subexpressions ---------------------------------------------------------------------------------

# Not maximum and minimum: of 0.0 and -0.0 they give the one or the other depending on the order.
_COMMUTATIVE = {"add", "multiply", "equal", "not_equal", "logical_and", "logical_or", "logical_xor", "hypot"}


def common_subexpressions(plan: Plan) -> Plan:
    """What is computed twice from the same values is computed once."""
    return rewrite(plan, _First())


class _First:
    """For a value the first one that it is equal to."""

    def __init__(self) -> None:
        self.seen: dict[Any, Value] = {}

    def __call__(self, v: Value) -> Value:
        if v.op in EFFECTS or v.op in LEAVES:
            return v
        args = [_key(a) for a in v.args]
        if v.op in _COMMUTATIVE:
            args.sort(key=hash)
        params = _key(v.params) if v.params else ()
        return self.seen.setdefault((v.op, *args, params, v.shape, v.dtype), v)


def _key(x: Any) -> Any:
    """What is equal if and only if x is the same value, number or tree of them: 0.0 is not -0.0, and 1 is not 1.0."""
    if isinstance(x, Value):
        return id(x.params[0] if x.op == "constant" else x)
    if isinstance(x, (tuple, list)):
        return (type(x), *map(_key, x))
    if isinstance(x, dict):
        return (dict, *((key, _key(below)) for key, below in x.items()))
    if isinstance(x, slice):
        return (slice, _key(x.start), _key(x.stop), _key(x.step))
    return (type(x), repr(x)) if isinstance(x, (int, float, complex, str, np.generic, Slot)) else id(x)


# ---- constants ---------------------------------------------------------------------------------------------


def fold_constants(plan: Plan) -> Plan:
    """What is computed from numbers alone, or from arrays that were made inside the step, is computed now.

    An array of the user's is no constant: it may be written between two steps. Nor is what a function gives, which may
    depend on more than its args, nor anything much larger than what it is made of.
    """
    return rewrite(plan, _folded)


def _folded(v: Value) -> Value | None:
    if not v.args or v.op in EFFECTS or v.op == "call":
        return None
    for a in v.args:
        if isinstance(a, Value) and a.op != "full" and not (a.op == "constant" and a.name == "made"):
            return None
    if v.op in _UNIFORM and v.size and all(a.op == "full" for a in v.values):
        result = _array(v.args[0]) if v.op in VIEWS else _evaluated(v)
        return _value("full", (), (result.flat[0].astype(v.dtype).item(),), v)
    if v.size > max((1024, *(a.size for a in v.values if a.op == "constant"))):
        return None
    return Value("constant", (), (_evaluated(v),), v.shape, v.dtype, "made")


# One number everywhere makes one number everywhere.
_UNIFORM = frozenset(UFUNCS) | frozenset(REDUCTIONS) | frozenset(VIEWS) | {"copy", "cast", "where"}


def _array(a: Any) -> Any:
    if not isinstance(a, Value):
        return a
    return np.broadcast_to(np.full((), a.params[0], a.dtype), a.shape) if a.op == "full" else a.params[0]


def _evaluated(v: Value) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(v, [_array(a) for a in v.args]))


# ---- simplification ----------------------------------------------------------------------------------------


def simplify(plan: Plan) -> Plan:
    """Fewer and cheaper instructions, by the rules below: each looks at one instruction and at what its args are."""
    return rewrite(plan, _simplified)


def _simplified(v: Value) -> Value | None:
    for rule in _RULES.get(v.op) or ((_operands,) if v.op in UFUNCS else ()):
        if simpler := rule(v):
            return _simplified(simpler) or simpler
    return None


def _is(a: Any, *ops: str) -> bool:
    return isinstance(a, Value) and a.op in ops


def _alike(a: Any, v: Value) -> bool:
    return isinstance(a, Value) and a.shape == v.shape and a.dtype == v.dtype


def _number(a: Any) -> Any:
    """The Python number that an arg is everywhere, or None."""
    if not isinstance(a, Value):
        return a
    if a.op != "full" or a.dtype.kind not in "biuf":
        return None
    number = a.params[0]
    kinds = {bool: "b", int: "iu", float: "f"}.get(type(number), "")
    return number if kinds and a.dtype.kind in kinds else np.full((), number, a.dtype).item()


# What a ufunc computes: in which dtypes, and of which shape.


def _kind(a: Any) -> Any:
    return a.dtype if isinstance(a, Value) else np.dtype(bool) if type(a) is bool else type(a)


@cache
def _loop(op: str, kinds: tuple[Any, ...]) -> tuple[np.dtype[Any], ...] | None:
    """The dtypes of what a function computes with and of its result; the types int and float mean Python numbers."""
    if op == "where":
        chosen = np.result_type(*(kind(0) if isinstance(kind, type) else kind for kind in kinds[1:]))
        return kinds[0], chosen, chosen, chosen
    try:
        return UFUNCS[op].resolve_dtypes((*kinds, None))
    except TypeError:
        return None


def _shape(args: tuple[Any, ...]) -> tuple[int, ...]:
    shapes = {a.shape for a in args if isinstance(a, Value)}
    return shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)


def _ufunc(op: str, args: tuple[Any, ...], v: Value) -> Value | None:
    """A function of these args in the place of `v`, if it has its shape and dtype."""
    loop = _loop(op, tuple(map(_kind, args)))
    return _value(op, args, (), v) if loop and loop[-1] == v.dtype and _shape(args) == v.shape else None


def _operands(v: Value) -> Value | None:
    """f(full(c), y) = f(c, y); f(broadcast_to(x), y) = f(x, y): functions broadcast by themselves."""
    args = v.args
    if not any(isinstance(a, Value) and a.op in _SPREAD for a in args):
        return None
    loop = _loop(v.op, tuple(map(_kind, args)))
    for k, a in enumerate(args):
        plain = _plain(a) if isinstance(a, Value) else a
        is_number = not isinstance(plain, Value)
        if plain is a or loop is None or (is_number and (loop[k] != a.dtype or (v.op == "where" and k == 0))):
            continue
        simpler = (*args[:k], plain, *args[k + 1 :])
        if any(isinstance(b, Value) for b in simpler) and _shape(simpler) == v.shape:
            args = simpler if _loop(v.op, tuple(map(_kind, simpler))) == loop else args
    return _value(v.op, args, v.params, v) if args is not v.args else None


_SPREAD = "full", "copy", "broadcast_to", "reshape"


def _plain(a: Value) -> Any:
    """The number that is everywhere in `a`, or what `a` is a broadcast of, or `a`."""
    if _is(a, "full"):
        number = _number(a)
        return a if number is None else number
    if _is(a, "copy") and _is(a.args[0], "broadcast_to"):
        return a.args[0].args[0]
    if _is(a, "broadcast_to") or (_is(a, "reshape") and _adds_axes(a.args[0].shape, a.shape)):
        return a.args[0]
    return a


def _adds_axes(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    """Whether the new shape is the old one behind axes of length 1."""
    return new == (1,) * (len(new) - len(old)) + old


# Rules: what an instruction may be replaced by, or None.


def _commuted(v: Value) -> Value | None:
    """c * x = x * c"""
    x, y = v.args
    return _value(v.op, (y, x), (), v) if not isinstance(x, Value) and isinstance(y, Value) else None


def _add(v: Value) -> Value | None:
    """n + 0 = n for whole numbers; x + (-y) = x - y"""
    x, y = v.args
    if _number(y) == 0 and v.dtype.kind in "iu" and _alike(x, v):
        return cast(Value, x)
    for a, b in ((x, y), (y, x)):
        if _is(b, "negative") and (found := _ufunc("subtract", (a, b.args[0]), v)):
            return found
    return None


def _subtract(v: Value) -> Value | None:
    """x - 0 = x; x - (-y) = x + y"""
    x, y = v.args
    number = _number(y)
    if number == 0 and math.copysign(1.0, number) == 1.0 and _alike(x, v):
        return cast(Value, x)
    return _ufunc("add", (x, y.args[0]), v) if _is(y, "negative") else None


def _multiply(v: Value) -> Value | None:
    """x * 1 = x; x * -1 = -x; x * x = square(x); (x * c) * d = x * (c d)"""
    x, y = v.args
    number = _number(y)
    if number == 1 and _alike(x, v):
        return cast(Value, x)
    if number == -1 and (found := _ufunc("negative", (x,), v)):
        return found
    return _ufunc("square", (x,), v) if x is y else _scaled(v)


def _divide(v: Value) -> Value | None:
    """x / 1 = x; 1 / x = reciprocal(x); x / 2 = x * 0.5; (x * c) / d = x * (c / d)"""
    x, y = v.args
    number = _number(y)
    if number == 1 and _alike(x, v):
        return cast(Value, x)
    if _number(x) == 1 and v.dtype.kind == "f" and (found := _ufunc("reciprocal", (y,), v)):
        return found
    if _is_moderate(number) and number != 1 and abs(math.frexp(number)[0]) == 0.5 and v.dtype.itemsize > 2:
        return _ufunc("multiply", (x, 1 / number), v)
    return _scaled(v)


def _negative(v: Value) -> Value | None:
    """-(-x) = x; -(x * c) = x * -c"""
    (x,) = v.args
    return cast(Value, x.args[0]) if _is(x, "negative") else _scaled(v)


def _is_moderate(number: Any) -> bool:
    return type(number) in (int, float) and 2.0**-40 < abs(number) < 2.0**40


def _scaled(v: Value) -> Value | None:
    """``(x * c) / d = x * (c / d)``, and so for any two of multiplied, divided, negated."""
    x, c, d = _factor(v)
    y, a, b = _factor(x) if x is not v else (x, 1, 1)
    if y is x:
        return None
    number, divisor = a * c, b * d
    if abs(number) == 1:
        return _value("divide", (y, float(number * divisor)), (), v)
    return _value("multiply", (y, number / divisor), (), v)


def _factor(v: Value) -> tuple[Value, float, float]:
    """(x, c, d) where `v` is x * c / d."""
    if v.op in ("multiply", "divide", "negative") and v.dtype.kind == "f" and v.dtype.itemsize > 2:
        x, number = v.args[0], -1 if v.op == "negative" else _number(v.args[1])
        if _is_moderate(number) and _alike(x, v):
            return (x, 1, number) if v.op == "divide" else (x, number, 1)
    return v, 1, 1


def _power(v: Value) -> Value | None:
    """x**1 = x; x**2 = square(x); x**3 = square(x) * x; x**-1 = reciprocal(x)"""
    x, y = v.args
    if not _alike(x, v) or v.dtype.kind != "f":
        return None
    match _number(y):
        case 1:
            return cast(Value, x)
        case 2:
            return _value("square", (x,), (), v)
        case 3:
            return _value("multiply", (Value("square", (x,), (), v.shape, v.dtype), x), (), v)
        case -1:
            return _value("reciprocal", (x,), (), v)
    return None


def _itself(v: Value) -> Value | None:
    """transpose, reshape, broadcast_to, slice, cast, positive that change nothing"""
    x = v.args[0]
    if not _alike(x, v):
        return None
    if v.op == "transpose" and v.params[0] != tuple(range(v.ndim)):
        return None
    if v.op == "slice":
        parts = v.params[0] if isinstance(v.params[0], tuple) else (v.params[0],)
        if not all(part is Ellipsis or (isinstance(part, slice) and part.step in (None, 1)) for part in parts):
            return None
    return cast(Value, x)


def _transpose(v: Value) -> Value | None:
    """transpose(transpose(x)) = transpose(x), in the order of both"""
    x = v.args[0]
    if not _is(x, "transpose"):
        return None
    return _value("transpose", x.args, (tuple(x.params[0][axis] for axis in v.params[0]),), v)


def _reshape(v: Value) -> Value | None:
    """reshape(reshape(x)) = reshape(x); reshape(sum(x, keepdims=True)) = sum(x), or the other way round"""
    x = v.args[0]
    if not _is(x, *REDUCTIONS):
        return _value(v.op, x.args, v.params, v) if _is(x, "reshape") else None
    (y,), (axes, keepdims) = x.args, x.params
    if keepdims:
        shape = tuple(n for axis, n in enumerate(y.shape) if axis not in axes)
    else:
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(y.shape))
    return _value(x.op, (y,), (axes, not keepdims), v) if v.shape == shape else None


def _broadcast_to(v: Value) -> Value | None:
    """broadcast_to(x) = broadcast_to(y) where x is y broadcast, or y with axes in front"""
    plain = _plain(v.args[0])
    return _value(v.op, (plain,), v.params, v) if isinstance(plain, Value) and plain is not v.args[0] else None


def _copy(v: Value) -> Value | None:
    """copy(x) = x: nothing is ever overwritten. Products of what is only broadcast are slow: that stays."""
    x = v.args[0]
    return None if _is(x, "broadcast_to") else cast(Value, x)


def _cast(v: Value) -> Value | None:
    """cast(cast(x)) = cast(x) where the first loses nothing"""
    x = v.args[0]
    if not _is(x, "cast") or not (v.dtype.kind == x.dtype.kind == x.args[0].dtype.kind == "f"):
        return None
    return _value("cast", x.args, (), v) if x.dtype.itemsize >= x.args[0].dtype.itemsize else None


def _where(v: Value) -> Value | None:
    """where(True, x, y) = x; where(c, x, x) = x"""
    condition, x, y = v.args
    truth = _number(condition)
    chosen = x if x is y or truth else y if truth is not None else None
    return cast(Value, chosen) if _alike(chosen, v) else None


_RULES: dict[str, tuple[Callable[[Value], Value | None], ...]] = {
    **dict.fromkeys(_COMMUTATIVE, (_operands, _commuted)),
    "add": (_operands, _commuted, _add),
    "subtract": (_operands, _subtract),
    "multiply": (_operands, _commuted, _multiply),
    "divide": (_operands, _divide),
    "power": (_operands, _power),
    "negative": (_operands, _negative),
    "positive": (_itself,),
    "where": (_where, _operands),
    "reshape": (_itself, _reshape),
    "broadcast_to": (_itself, _broadcast_to),
    "transpose": (_itself, _transpose),
    "slice": (_itself,),
    "cast": (_itself, _cast),
    "copy": (_copy,),
}
