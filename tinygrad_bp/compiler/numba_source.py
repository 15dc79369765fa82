"""A plan as a module for numba: fused loops, products by BLAS, and whatever else is left to NumPy between them.

:func:`emit` writes the module, :func:`load` compiles it. Its ``part_0``, ``part_1``, ... are compiled functions, which
find all arrays but the inputs through a table of addresses, and call the loops; ``make`` allocates what they compute
in, and returns ``step``, which calls them in order and NumPy in between: a net of layers and losses is one part. The
arrays belong to ``step``, so that no address outlives its array. Modules are kept in the user's cache directory, under
a name that depends on their text and on all versions involved; where that cannot be written they are compiled anew in
every process. Elementwise results are NumPy's to the last bit, but for those of
:mod:`~tinygrad_bp.compiler.kernels`; sums are taken in another order.
"""

from __future__ import annotations

import hashlib
import keyword
import math
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import kernels
from .fusion import Fused, Group, Place, as_matrices, fuse, loop_dtypes, matrix
from .numpy_source import Source
from .plan import REDUCTIONS, UFUNCS, CompileError, Plan, Value, evaluate

__all__ = ["Module", "emit", "load", "require", "tools"]

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


@dataclass(frozen=True)
class Module(Source):
    """A plan as text, with what the text leaves to NumPy.

    Attributes
    ----------
    written
        Which of the arrays are written.
    calls
        The instructions that the text calls call_0, call_1, ...
    """

    written: tuple[bool, ...]
    calls: tuple[Value, ...]


def emit(plan: Plan, title: str = "One training step", blas: bool | None = None) -> Source:
    """The plan as a module for numba, for :func:`load`.

    ``step`` takes the inputs of the plan, and last a ``numpy.random.Generator`` if the plan draws; it returns None, an
    array, or a tuple of arrays, all of them new. Without `blas`, products are left to NumPy; by default they are where
    NumPy's own BLAS is not found.
    """
    return _Writer(fuse(plan, _blas() is not None if blas is None else blas)).source(title)


# ---- the text ----------------------------------------------------------------------------------------------


@dataclass
class _Part:
    """A compiled function in sections; between them stand guards, where it may stop and later go on."""

    number: int
    sections: list[list[str]]
    checks: list[Value] = field(default_factory=list)

    @property
    def placeholder(self) -> str:
        """What stands for a call of it until its arguments are known."""
        return f"<part {self.number}>"


class _Writer:
    """The names and lines of one module."""

    def __init__(self, fused: Fused) -> None:
        self.fused, self.plan, self.places = fused, fused.plan, fused.places
        self.names: dict[Value, str] = {}
        self.taken = {*"ijklmnopqrstuvw", *vars(np), *kernels.KERNELS, *vars(sys.modules["builtins"])}
        self.taken |= {
            "make",
            "step",
            "rng",
            "inf",
            "nan",
            "np",
            "memory",
            "vector",
            "dgemm",
            "sgemm",
            "loop",
            "part",
            "table",
            "tools",
            "at",
        }
        self.arguments: dict[Value, None] = {}
        self.slots: dict[str, tuple[int, Shape, str]] = {}  # name: its address in the table, shape, dtype
        self.setup: list[str] = []
        self.kernels: set[str] = set()
        self.calls: list[Value] = []
        self.locals: dict[str, str] = {}
        self.entries: set[str] = set()
        self.seen = 0
        self.loops: dict[tuple[str, ...], dict[str, tuple[list[str], list[str]]]] = {}
        self.inputs = {self.called(v): v for v in self.plan.inputs}
        self._allocate()

    # -- names and memory --

    def _unique(self, wish: str) -> str:
        name, k = wish, 1
        while name in self.taken or keyword.iskeyword(name):
            k += 1
            name = f"{wish}_{k}"
        self.taken.add(name)
        return name

    def called(self, v: Value) -> str:
        """The name of a value, whether it has memory or not."""
        if v not in self.names:
            self.names[v] = self._unique(re.sub(r"\W|^(?=\d)", "_", v.name) or f"t{len(self.names)}")
        return self.names[v]

    def local(self, name: str, suffix: str = "") -> str:
        """The name of an entry of an array, of its address, or of what is folded into it."""
        word = f"{name}_{suffix}"
        if word not in self.locals:
            self.locals[word] = self._unique(word)
            self.entries.add(self.locals[word])
        return self.locals[word]

    def array(self, root: Value) -> str:
        """The name of the array of a root."""
        root = self.fused.direct.get(root, root)
        name = self.called(root)
        if name not in self.slots and root.op != "input":
            if root.op in ("state", "constant"):
                self.arguments[root] = None
            else:
                number = repr(root.params[0])
                self.setup.append(f"{name} = np.full({root.shape}, {number}, np.{root.dtype})")
            self._slot(name, root, self.size)
            self.size += 1
        return name

    def _slot(self, name: str, v: Value, slot: int) -> None:
        self.slots[name] = (slot, v.shape, v.dtype.name)

    def _allocate(self) -> None:
        """Lend buffers to the values that are stored, from the group that computes them to the last that reads them."""
        last: dict[Value, int] = {}
        for g, group in enumerate(self.fused.groups):
            for v in group.members:
                for a in (v, *v.values):
                    last[self.places[a].root] = g
        last.update((v, len(self.fused.groups)) for v in self.plan.results())
        ends: dict[int, list[Value]] = {}
        free: dict[tuple[Shape, str], list[int]] = {}
        lent: dict[Value, int] = {}
        names: dict[int, list[Value]] = {}
        for g, group in enumerate(self.fused.groups):
            for v in group.members:
                if v in self.fused.stored and v not in self.fused.direct:
                    pool = free.get((v.shape, v.dtype.name))
                    lent[v] = pool.pop() if pool else len(names)
                    names.setdefault(lent[v], []).append(v)
                    ends.setdefault(last[v], []).append(v)
            for v in ends.pop(g, ()):
                free.setdefault((v.shape, v.dtype.name), []).append(lent[v])
        self.size = len(names)
        for slot, values in names.items():
            called = [self.called(v) for v in values]
            self.setup.append(f"{' = '.join(called)} = np.empty({values[0].shape}, np.{values[0].dtype})")
            for name in called:
                self._slot(name, values[0], slot)

    # -- the module --

    def source(self, title: str) -> Module:
        """All of it."""
        parts: list[_Part] = []
        lines: list[str] = []
        part: _Part | None = None
        for group in self.fused.groups:
            v = group.members[0]
            if group.kind == "call":
                lines.append(self._call(v))
                part = None
                continue
            if part is None:
                part = _Part(len(parts), [[]])
                parts.append(part)
                lines.append(part.placeholder)
            if group.kind == "guard":
                part.sections[-1] += [f"if not {self.array(v.args[-1])}[0]:", f"    return {len(part.sections)}"]
                part.sections.append([])
                lines += [f"if at == {len(part.checks) + 1}:", f"    {self._call(v)}", f"    {part.placeholder}"]
                part.checks.append(v)
            else:
                part.sections[-1] += self._product(v) if group.kind == "product" else [self._loop(group)]
        loops, text = self._functions()
        contiguous: dict[str, None] = {}
        for part in parts:
            part.sections = [[x for line in section for x in loops.get(line, [line])] for section in part.sections]
            given, written = self._part(part)
            text += written
            contiguous.update(dict.fromkeys(given))
            at = 0
            for k, line in enumerate(lines):
                if line.strip() == part.placeholder:
                    result = "at = " if at < len(part.checks) else ""
                    call = f"{result}part_{part.number}({', '.join([*given, 'memory', str(at)])})"
                    lines[k] = line.replace(part.placeholder, call)
                    at += 1
        return self._module(title, text, lines, contiguous)

    def _part(self, part: _Part) -> tuple[list[str], list[str]]:
        """The inputs that a part reads, and its lines."""
        body = list(part.sections[0])
        if part.checks:
            body = ["if at == 0:", *_indented(body or ["pass"])]
            for k, section in enumerate(part.sections[1:], 1):
                body += [f"if at <= {k}:", *_indented(section)] if section else []
        body.append("return 0")
        used = set(re.findall(r"\w+", "\n".join(body)))
        inputs = self.inputs
        given = [name for name in inputs if {name, self.local(name, "at")} & used]
        head = [f"{self.local(name, 'at')} = {name}.ctypes.data" for name in given]
        for name, (slot, shape, dtype) in self.slots.items():
            if self.local(name, "at") in used:
                head.append(f"{self.local(name, 'at')} = memory[{slot}]")
            if name in used:
                head.append(f"{name} = vector(memory[{slot}], {math.prod(shape)}, np.{_stored_as(dtype)})")
        for name in given:
            if name in used:
                size, dtype = inputs[name].size, _stored_as(inputs[name].dtype.name)
                head.append(f"{name} = vector({self.local(name, 'at')}, {size}, np.{dtype})")
        types = [f"Array({_stored_as(inputs[x].dtype.name, 'boolean')}, {inputs[x].ndim}, 'C')" for x in given]
        signature = ", ".join([*types, "Array(int64, 1, 'C')", "int64"])
        arguments = ", ".join([*given, "memory", "at"])
        return given, [
            f'@part("{signature}")',
            f"def part_{part.number}({arguments}):",
            *_indented([*head, *body]),
            "",
            "",
        ]

    def _module(self, title: str, parts: list[str], lines: list[str], contiguous: Iterable[str]) -> Module:
        for state, value in self.plan.writes:
            if value not in self.fused.direct:
                lines.append(f"np.copyto({self.array(state)}, {self.array(value)})")
        results = [f"{self.array(v)}.copy()" for v in self.plan.outputs]
        if results:
            lines.append(f"return {', '.join(results)}")
        lines = [*(f'{name} = np.asarray({name}, None, "C")' for name in contiguous), *lines]
        draws = ["rng"] if any(v.op == "draw" for v in self.plan.body) else []
        inputs = ", ".join([*(self.called(v) for v in self.plan.inputs), *draws])
        owners = dict[int, str]()
        for name, (slot, *_) in self.slots.items():
            owners.setdefault(slot, name)
        table = "".join(f"{owners[slot]}, " for slot in sorted(owners))
        given = ", ".join([*map(self.called, self.arguments), *(f"call_{k}" for k in range(len(self.calls)))])
        known = sorted({*self.kernels, "loop", "part", "vector", "table"})
        text = [
            f'"""{title}."""',
            "",
            "from math import inf, nan",
            "",
            "import numpy as np",
            "",
            "from tinygrad_bp.compiler.numba_source import tools",
            "",
            f"{', '.join(known)} = tools({', '.join(map(repr, known))})",
            "",
            "",
            *parts,
            f"def make({given}):",
            *_indented(self.setup),
            f"    arrays = ({table})",
            "    memory = table(arrays)",
            "",
            f"    def step({inputs}):",
            *_indented(_indented(lines or ["pass"])),
            "",
            "    step.arrays = arrays",
            "    return step",
        ]
        written = {state for state, _ in self.plan.writes}
        arrays = tuple(self.arguments)
        return Module("\n".join(text) + "\n", arrays, tuple(v in written for v in arrays), tuple(self.calls))

    # -- what NumPy does --

    def _call(self, v: Value) -> str:
        """An instruction that is no loop and no product, with the array for its result first."""
        out = [] if v.op in ("check", "guard") else [self.array(v)]
        given = v.args[:-1] if v.op == "guard" else v.args
        args = [self._operand(a) if isinstance(a, Value) else repr(a) for a in given]
        self.calls.append(v)
        rng = ["rng"] if v.op == "draw" else []
        return f"call_{len(self.calls) - 1}({', '.join([*out, *args, *rng])})"

    def _operand(self, a: Value) -> str:
        """An array of a value, which may be a view."""
        place = self.places[a]
        name = self.array(place.root)
        if place.root is a:
            return name
        n = a.dtype.itemsize
        strides = tuple(n * stride for stride in place.strides)
        text = f"np.ndarray({a.shape}, np.{_stored_as(a.dtype.name)}, {name}, {n * place.offset}, {strides})"
        if place.root.op == "input":
            return text.replace(f" {name},", f' np.asarray({name}, None, "C"),')
        view = self.called(a)
        line = f"{view} = {text}"
        if line not in self.setup:
            self.setup.append(line)
        return view

    # -- products --

    def _product(self, v: Value) -> Iterator[str]:
        (a, (m, k)), (b, (_, n)) = as_matrices(v, self.places)
        out, start = self.array(v), v.args[2] if len(v.args) == 3 else None
        if start is not None and self.array(self.places[start].root) != out:
            yield self._shared(_Loop(self, v.shape).copy(start, v))
        transposed, operands = [], []
        for place, shape in ((a, (m, k)), (b, (k, n))):
            flip, leading = matrix(place, shape) or (False, 0)
            transposed.append(112 if flip else 111)
            address = self.local(self.array(place.root), "at")
            operands += [address + (f" + {v.dtype.itemsize * place.offset}" if place.offset else ""), leading]
        one, beta = f"np.{v.dtype}(1)", f"np.{v.dtype}({int(start is not None)})"
        words = [101, *transposed, m, n, k, one, *operands, beta, self.local(out, "at"), n]
        gemm = {"float64": "dgemm", "float32": "sgemm"}[v.dtype.name]
        self.kernels.add(gemm)
        yield f"{gemm}({', '.join(map(str, words))})"

    # -- loops --

    def _loop(self, group: Group) -> str:
        loop = _Loop(self, group.space)
        for v in group.members:
            if v.op in REDUCTIONS:
                loop.reduce(v)
            else:
                loop.compute(v)
        return self._shared(loop.lines())

    def _shared(self, lines: Iterable[str]) -> str:
        """What stands for these lines until it is known how often they occur."""
        text = "\n".join(lines)
        words = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", text))
        arrays = [word for word in words if word in self.slots or word in self.inputs]
        numbers = {word: f"${k}" for k, word in enumerate(w for w in words if w in self.entries or w in arrays)}
        kinds = [self.slots[word][2] if word in self.slots else self.inputs[word].dtype.name for word in arrays]
        key = (re.sub(r"[A-Za-z_]\w*", lambda m: numbers.get(m[0], m[0]), text), *kinds)
        self.seen += 1
        place = f"<loop {self.seen}>"
        self.loops.setdefault(key, {})[place] = (text.split("\n"), arrays)
        return place

    def _functions(self) -> tuple[dict[str, list[str]], list[str]]:
        """The lines of every loop, and functions for loops that differ only in names: they are compiled once."""
        lines: dict[str, list[str]] = {}
        functions: list[str] = []
        for k, found in enumerate(self.loops.values()):
            lines.update((place, text) for place, (text, _) in found.items())
            if len(found) > 1:
                text, arrays = next(iter(found.values()))
                name = self._unique(f"loop_{k}")
                functions += ["@loop", f"def {name}({', '.join(arrays)}):", *_indented(text), "", ""]
                lines.update((place, [f"{name}({', '.join(given)})"]) for place, (_, given) in found.items())
        return lines, functions


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" if line else "" for line in lines)


def _stored_as(name: str, truth: str = "bool_") -> str:
    return truth if name == "bool" else name


def _literal(x: Any, dtype: np.dtype[Any]) -> str:
    """A number as a scalar of the dtype."""
    if dtype.kind == "b":
        return repr(bool(x))
    if dtype.name != "float64":
        return f"np.{dtype}({x!r})"
    return f"({float(x)!r})" if x < 0 else repr(float(x))


class _Loop:
    """The lines of one loop: what it loads, computes and folds, entry by entry."""

    def __init__(self, writer: _Writer, space: Shape) -> None:
        self.writer, self.space = writer, space
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
        name = self.computed[v] = self.writer.local(self.writer.called(v))
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
        if v in self.writer.fused.stored:
            self.stores.append((self.writer.array(v), _c_strides(v.shape), name))

    def reduce(self, v: Value) -> None:
        """A reduction of what the loop loads or computes."""
        (x,) = v.args
        axes, _ = v.params
        operand = self._operand(x, np.dtype(bool) if v.op in ("all", "any") else x.dtype)
        kept = iter(_c_strides(tuple(n for k, n in enumerate(x.shape) if k not in axes)))
        strides = tuple(0 if k in axes else next(kept) for k in range(x.ndim))
        self.folds.append((v, self.writer.array(v), strides, operand))
        self._need(_FOLDS[v.op][1])

    def copy(self, source: Value, target: Value) -> Iterator[str]:
        """The lines that copy a value, broadcast."""
        self.stores.append((self.writer.array(target), _c_strides(target.shape), self._operand(source, source.dtype)))
        return self.lines()

    def _gathered(self, v: Value, positions: list[str]) -> str:
        """The entry of an array at these positions, of which negative ones count from its end."""
        place = self.writer.places[v.args[0]]
        terms = [str(place.offset)]
        for i, stride, n in zip(positions, place.strides, v.args[0].shape):
            terms.append(f"{stride} * ({i} + {n} if {i} < 0 else {i})")
        return f"{self.writer.array(place.root)}[{' + '.join(terms)}]"

    def _need(self, text: str) -> None:
        self.writer.kernels.update(set(re.findall(r"\w+", text)) & kernels.KERNELS.keys())

    def _operand(self, a: Any, dtype: np.dtype[Any]) -> str:
        if not isinstance(a, Value):
            return _literal(a, dtype)
        place = self.writer.places[a]
        if place.root.op == "full":
            return _literal(place.root.params[0], dtype)
        name = self.computed.get(place.root) or self._load(a, place)
        if a.dtype == dtype:
            return name
        return f"({name} != 0)" if dtype.kind == "b" else f"np.{dtype}({name})"

    def _load(self, a: Value, place: Place) -> str:
        missing = len(self.space) - a.ndim
        strides = (0,) * missing + tuple(0 if n == 1 else s for s, n in zip(place.strides, a.shape))
        key = (self.writer.array(place.root), place.offset, strides)
        if key not in self.loads:
            same = sum(name == key[0] for name, *_ in self.loads)
            self.loads[key] = self.writer.local(key[0], str(same or ""))
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
                name = self.writer.local(array, v.op)
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


# ---- numba -------------------------------------------------------------------------------------------------


def require() -> None:
    """Raise CompileError where numba is not installed, or is switched off."""
    if find_spec("numba") is None:
        raise CompileError(
            "compile: backend 'numba' needs numba, which is not installed. pip install 'tinygrad_bp[jit]', or leave "
            "backend= out."
        )
    if import_module("numba").config.DISABLE_JIT:
        raise CompileError(
            "compile: backend 'numba' needs numba, which NUMBA_DISABLE_JIT switches off. Unset that variable, or leave "
            "backend= out."
        )


@cache
def _blas() -> Path | None:
    """The OpenBLAS that NumPy's wheels bring, if this is one of them and its products are called what they are."""
    import ctypes

    beside = Path(np.__file__).parent
    folders = (beside.parent / "numpy.libs", beside / ".dylibs")
    for path in sorted(path for folder in folders if folder.is_dir() for path in folder.glob("*openblas64_*")):
        try:
            if hasattr(ctypes.CDLL(str(path)), "scipy_cblas_dgemm64_"):
                return path
        except OSError:
            continue
    return None


@cache
def _tools() -> Mapping[str, Any]:
    """What the modules are made with: kernels, dgemm and sgemm, vector, part, table."""
    numba, binding = import_module("numba"), import_module("llvmlite.binding")  # which have no types
    njit, carray, types = numba.njit, numba.carray, numba.types

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def pointer(context: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.int64), code

    @njit(forceinline=True)  # type: ignore[untyped-decorator]
    def vector(address: Any, size: Any, dtype: Any) -> Any:
        return carray(pointer(address), size, dtype)

    found: dict[str, Any] = {**kernels.compiled(), "vector": vector, "loop": _loop, "part": _part, "table": _table}
    path = _blas()
    if path is not None:
        binding.load_library_permanently(str(path))
        int32, int64 = types.int32, types.int64
        for name, number in (("dgemm", types.float64), ("sgemm", types.float32)):
            three, matrix = (int32,) * 3 + (int64,) * 3, (int64, int64)
            signature = types.void(*three, number, *matrix, *matrix, number, *matrix)
            found[name] = types.ExternalFunction(f"scipy_cblas_{name}64_", signature)
    return found


def tools(*names: str) -> tuple[Any, ...]:
    """What a module is made with, by name."""
    return tuple(_tools()[name] for name in names)


def _part(signature: str) -> Callable[[Any], Any]:
    """Compile a function for arguments of these types now, and for others when they come."""

    def compiled(function: Any) -> Any:
        kept = os.path.isfile(function.__code__.co_filename)
        part = import_module("numba").njit(function, error_model="numpy", cache=kept)
        part.compile(f"int64({signature})")
        return part

    return compiled


def _loop(function: Any) -> Any:
    """Compile a function when a part that calls it is compiled."""
    return import_module("numba").njit(function, error_model="numpy")


def _table(arrays: tuple[Any, ...]) -> Any:
    """Their addresses; somebody must hold the arrays for as long as they are used."""
    return np.array([a.ctypes.data for a in arrays], np.int64)


def load(source: Source) -> Callable[..., Callable[..., Any]]:
    """Compile a module; returns ``make(*arrays)``, which returns ``step(*inputs)``.

    The arrays may lie in memory as they like; those that are not C-contiguous are copied at every step.

    Raises CompileError where numba is not installed.
    """
    require()
    assert isinstance(source, Module)
    module = _module(source.text)
    calls = [_caller(v) for v in source.calls]

    def make(*arrays: Any) -> Callable[..., Any]:
        straight = tuple(a if a.flags.c_contiguous else a.copy("C") for a in arrays)
        step: Callable[..., Any] = module.make(*straight, *calls)
        strided = [(a, s, w) for a, s, w in zip(arrays, straight, source.written) if a is not s]
        return partial(_copying, step, strided) if strided else step

    return make


def _copying(step: Callable[..., Any], strided: list[tuple[Any, Any, bool]], *inputs: Any) -> Any:
    """A step on contiguous copies of arrays that are not."""
    for array, straight, _ in strided:
        np.copyto(straight, array)
    try:
        return step(*inputs)
    finally:
        for array, straight, written in strided:
            if written:
                np.copyto(array, straight)


def _caller(v: Value) -> Callable[..., None]:
    """The instruction as a function of the array for its result and of its arguments."""
    if v.op in ("check", "guard"):
        check = replace(v, op="call")
        return lambda *args: evaluate(check, args) and None
    if v.op == "draw":
        return lambda out, *args: np.copyto(out, evaluate(v, args[:-1], args[-1]))
    if v.op == "product":
        return lambda out, a, b, c: np.add(np.matmul(a, b), c, out)
    if v.op in UFUNCS or v.op == "matmul":
        function = UFUNCS.get(v.op, np.matmul)
        return lambda out, *args: function(*args, out=out)
    return lambda out, *args: np.copyto(out, evaluate(v, args))


# ---- the cache ---------------------------------------------------------------------------------------------


def _module(text: str) -> ModuleType:
    """The text as a module: from its file in the cache directory, or from nowhere if that does not work."""
    path = _file(text)
    if path is not None:
        try:
            return _executed(text, path)
        except (OSError, RuntimeError):
            pass
    return _executed(text, None)


def _executed(text: str, path: Path | None) -> ModuleType:
    name = f"tinygrad_bp_step_{path.stem if path else hashlib.sha256(text.encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    sys.modules[name] = module  # where numba looks for it when it reads its cache
    exec(compile(text, path or f"<{name}>", "exec"), vars(module))
    return module


def _file(text: str) -> Path | None:
    """The module's own file in the cache directory; None if it cannot be written."""
    from .. import __version__

    numba, llvmlite = import_module("numba"), import_module("llvmlite.binding")
    cpu = platform.machine(), llvmlite.get_host_cpu_name()
    versions = np.__version__, numba.__version__, llvmlite.llvm_version_info, sys.version, __version__, *cpu
    own = [Path(str(file)).read_bytes() for file in (kernels.__file__, __file__)]
    key = hashlib.sha256(b"\0".join([text.encode(), repr(versions).encode(), repr(_blas()).encode(), *own]))
    try:
        path = _folder() / f"{key.hexdigest()[:24]}.py"
        if not path.is_file() or path.read_text("ascii") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, suffix=".tmp", delete=False, encoding="ascii"
            ) as file:
                file.write(text)
            os.replace(file.name, path)
    except (OSError, ValueError, RuntimeError):
        return None
    return path


def _folder() -> Path:
    """Where compiled modules are kept: TINYGRAD_BP_CACHE, or the place the system has for such things."""
    own = os.environ.get("TINYGRAD_BP_CACHE")
    if own:
        return Path(own)
    local = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return Path(local or Path.home() / ".cache") / "tinygrad_bp"
