"""One loop as text: what it loads, computes, folds and stores, entry by entry.

A :class:`Loop` is told which instructions it is to do, and writes nested ``for`` lines over as few axes as the strides
of its arrays allow: contiguous arrays of one shape are walked through as one axis. An array is called by its name and
is flat; what does not change in an inner loop is loaded before it. Names and memory are the affair of
:mod:`~tinygrad_bp.compiler.numba_source`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any, Protocol

import numpy as np

from . import kernels
from .fusion import Place, loop_dtypes
from .plan import Value

__all__ = ["Loop", "Names"]

Shape = tuple[int, ...]

# fmt: off
_EXPRESSIONS = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}", "power": "{0} ** {1}",
    "negative": "-{0}", "positive": "{0}", "copy": "{0}", "absolute": "abs({0})", "fabs": "abs({0})",
    "square": "{0} * {0}", "reciprocal": "np.{T}(1) / {0}",
    "maximum": "maximum({0}, {1})", "minimum": "minimum({0}, {1})",
    "greater": "{0} > {1}", "greater_equal": "{0} >= {1}", "less": "{0} < {1}", "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}", "not_equal": "{0} != {1}", "where": "{1} if {0} else {2}",
    "isnan": "{0} != {0}", "isinf": "abs({0}) == np.{T}(inf)", "isfinite": "abs({0}) < np.{T}(inf)",
    "logical_and": "{0} & {1}", "logical_or": "{0} | {1}", "logical_xor": "{0} != {1}", "logical_not": "not {0}",
    **{op: f"{op}_{{T}}({{0}})" for op in ("exp", "expm1", "log", "log1p", "tanh")},
}
"""Of the operands as they are called in the loop; anything else is np.<op>(...)."""

_FOLDS = {
    "sum": ("0.0", "plus({0}, {1})"), "prod": ("1.0", "times({0}, {1})"), "max": ("-inf", "maximum({0}, {1})"),
    "min": ("inf", "minimum({0}, {1})"), "all": ("True", "{0} & {1}"), "any": ("False", "{0} | {1}"),
}
"""How a reduction starts, and how it goes on."""
# fmt: on


class Names(Protocol):
    """What a loop asks about the module it is part of."""

    @property
    def places(self) -> Mapping[Value, Place]:
        """Where the entries of every value stand."""
        ...

    @property
    def stored(self) -> Set[Value]:
        """The values that have memory."""
        ...

    @property
    def kernels(self) -> set[str]:
        """The functions that are used, to be completed."""
        ...

    def called(self, v: Value) -> str:
        """The name of a value."""
        ...

    def array(self, root: Value) -> str:
        """The name of an array."""
        ...

    def local(self, name: str, suffix: str = "") -> str:
        """The name of an entry of the array of this name."""
        ...


class Loop:
    """The lines of one loop over the indices of `space`."""

    def __init__(self, names: Names, space: Shape) -> None:
        self.names, self.space = names, space
        self.loads: dict[tuple[str, int, Shape], str] = {}
        self.body: list[str] = []
        self.stores: list[tuple[str, Shape, str]] = []
        self.folds: list[tuple[Value, str, Shape, str]] = []
        self.computed: dict[Value, str] = {}

    # -- what is done --

    def compute(self, v: Value) -> None:
        """An elementwise instruction."""
        dtypes = [np.dtype(t) for t in loop_dtypes(v) or ()]
        skipped = (0, len(v.args) - 1) if v.op == "gather" else ()
        pairs = [(a, dtype) for k, (a, dtype) in enumerate(zip(v.args, dtypes)) if k not in skipped]
        operands = [self._operand(a, dtype) for a, dtype in pairs]
        name = self.computed[v] = self.names.local(self.names.called(v))
        if v.op == "gather":
            text = self._gathered(v, operands)
        elif v.op == "cast":
            text = f"{operands[0]} != 0" if v.dtype.kind == "b" else f"np.{v.dtype}({operands[0]})"
        elif v.op == "power" and v.args[1] == 2:
            text = _EXPRESSIONS["square"].format(*operands)
        else:
            text = _EXPRESSIONS.get(v.op, f"np.{v.op}({', '.join(['{0}', '{1}'][: len(operands)])})")
            text = text.format(*operands, T=dtypes[-1])
        self.body.append(f"{name} = {text}")
        self._need(text)
        if v in self.names.stored:
            self.stores.append((self.names.array(v), _c_strides(v.shape), name))

    def reduce(self, v: Value) -> None:
        """A reduction of what the loop loads or computes."""
        (x,) = v.args
        axes, _ = v.params
        operand = self._operand(x, np.dtype(bool) if v.op in ("all", "any") else x.dtype)
        kept = iter(_c_strides(tuple(n for k, n in enumerate(x.shape) if k not in axes)))
        strides = tuple(0 if k in axes else next(kept) for k in range(x.ndim))
        self.folds.append((v, self.names.array(v), strides, operand))
        self._need(_FOLDS[v.op][1])

    def copy(self, source: Value, target: Value) -> Iterator[str]:
        """The lines that copy a value, broadcast."""
        self.stores.append((self.names.array(target), _c_strides(target.shape), self._operand(source, source.dtype)))
        return self.lines()

    def _gathered(self, v: Value, positions: list[str]) -> str:
        """The entry of an array at these positions, of which negative ones count from its end."""
        place = self.names.places[v.args[0]]
        terms = [str(place.offset)]
        for i, stride, n in zip(positions, place.strides, v.args[0].shape):
            terms.append(f"{stride} * ({i} + {n} if {i} < 0 else {i})")
        return f"{self.names.array(place.root)}[{' + '.join(terms)}]"

    def _need(self, text: str) -> None:
        self.names.kernels.update(set(re.findall(r"\w+", text)) & kernels.KERNELS.keys())

    def _operand(self, a: Any, dtype: np.dtype[Any]) -> str:
        if not isinstance(a, Value):
            return _literal(a, dtype)
        place = self.names.places[a]
        if place.root.op == "full":
            return _literal(place.root.params[0], dtype)
        name = self.computed.get(place.root) or self._load(a, place)
        if a.dtype == dtype:
            return name
        return f"({name} != 0)" if dtype.kind == "b" else f"np.{dtype}({name})"

    def _load(self, a: Value, place: Place) -> str:
        missing = len(self.space) - a.ndim
        strides = (0,) * missing + tuple(0 if n == 1 else s for s, n in zip(place.strides, a.shape))
        key = (self.names.array(place.root), place.offset, strides)
        if key not in self.loads:
            same = sum(name == key[0] for name, *_ in self.loads)
            self.loads[key] = self.names.local(key[0], str(same or ""))
        return self.loads[key]

    # -- how it is written --

    def lines(self) -> Iterator[str]:
        """The loop."""
        patterns = [key[2] for key in self.loads] + [store[1] for store in self.stores] + [f[2] for f in self.folds]
        sizes, patterns = _collapsed(self.space, patterns)
        n = len(sizes)
        loads = [(name, key[0], key[1], p) for (key, name), p in zip(self.loads.items(), patterns)]
        stores = [(*store, p) for store, p in zip(self.stores, patterns[len(loads) :])]
        inner: list[str] = list(self.body)
        inner += [f"{array}[{_index(0, p)}] = {value}" for array, _, value, p in stores]
        before: list[list[str]] = [[] for _ in range(n + 1)]
        after: list[list[str]] = [[] for _ in range(n + 1)]
        for name, array, offset, p in loads:
            before[_depth(p)].append(f"{name} = {array}[{_index(offset, p)}]")
        for (v, array, _, operand), p in zip(self.folds, patterns[len(loads) + len(stores) :]):
            start, step = _FOLDS[v.op]
            depth = _depth(p)
            kind = "float64" if v.op in ("sum", "prod") else v.dtype.name
            if 0 in p[:depth]:
                place = f"{array}[{_index(0, p)}]"
                yield from (f"for i in range({v.size}):", f"    {array}[i] = {start}")
                inner.append(f"{place} = {step.format(place, operand)}")
            else:
                name = self.names.local(array, v.op)
                before[depth].append(f"{name} = {start if v.dtype.kind == 'b' else f'np.{kind}({start})'}")
                operand = operand if v.dtype.name in ("bool", kind) else f"np.{kind}({operand})"
                inner.append(f"{name} = {step.format(name, operand)}")
                after[depth].append(f"{array}[{_index(0, p)}] = {name}")
        for depth, size in enumerate([*sizes, 0]):
            yield from ("    " * depth + line for line in before[depth])
            if depth < n:
                yield "    " * depth + f"for {_axis(depth)} in range({size}):"
        yield from ("    " * n + line for line in inner)
        for depth in reversed(range(n + 1)):
            yield from ("    " * depth + line for line in after[depth])


def _literal(x: Any, dtype: np.dtype[Any]) -> str:
    """A number as a scalar of the dtype."""
    if dtype.kind == "b":
        return repr(bool(x))
    if dtype.name != "float64":
        return f"np.{dtype}({x!r})"
    return f"({float(x)!r})" if x < 0 else repr(float(x))


def _c_strides(shape: Shape) -> Shape:
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))


def _depth(strides: Shape) -> int:
    """How many loops are open where an entry at these strides is known."""
    return max((k + 1 for k, stride in enumerate(strides) if stride), default=0)


def _axis(k: int) -> str:
    return "ijklmnopqrstuvw"[k]


def _index(offset: int, strides: Shape) -> str:
    terms = [_axis(k) if stride == 1 else f"{stride} * {_axis(k)}" for k, stride in enumerate(strides) if stride]
    return " + ".join([*terms, *([str(offset)] if offset or not terms else [])])


def _collapsed(space: Shape, patterns: list[Shape]) -> tuple[list[int], list[Shape]]:
    """The space with as few axes as these strides allow, and the strides along them."""
    sizes: list[int] = []
    merged: list[list[int]] = [[] for _ in patterns]
    for k, size in enumerate(space):
        if size == 1:
            continue
        if sizes and all(m[-1] == p[k] * size for m, p in zip(merged, patterns)):
            sizes[-1] *= size
            for m, p in zip(merged, patterns):
                m[-1] = p[k]
        else:
            sizes.append(size)
            for m, p in zip(merged, patterns):
                m.append(p[k])
    return sizes, [tuple(m) for m in merged]
