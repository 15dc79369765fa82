"""A plan as a module for numba: fused loops, products by BLAS, and whatever else is left to NumPy between them.

:func:`emit` writes the module. Its ``part_0``, ``part_1``, ... are compiled functions, which find all arrays but the
inputs through a table of addresses; ``make`` allocates what they compute in, and returns ``step``, which calls them in
order and NumPy in between: a net of layers and losses is one part. The arrays belong to ``step``, so that no address
outlives its array. Elementwise results are NumPy's to the last bit, but for those of
:mod:`~tinygrad_bp.compiler.kernels`; sums are taken in another order. How the text is compiled is said in
:mod:`~tinygrad_bp.compiler.numba_module`.
"""

from __future__ import annotations

import keyword
import math
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from . import kernels
from .fusion import Fused, Group, as_matrices, fuse, matrix
from .loop_source import Loop
from .numba_module import Module, load, require
from .numba_module import blas as found_blas
from .numpy_source import Source
from .plan import REDUCTIONS, Plan, Value

__all__ = ["emit", "load", "require"]

Shape = tuple[int, ...]


def emit(plan: Plan, title: str = "One training step", blas: bool | None = None) -> Source:
    """The plan as a module for numba, for :func:`load`.

    ``step`` takes the inputs of the plan, and last a ``numpy.random.Generator`` if the plan draws; it returns None, an
    array, or a tuple of arrays, all of them new. Without `blas`, products are left to NumPy; by default they are where
    NumPy's own BLAS is not found.
    """
    return _Writer(fuse(plan, found_blas() is not None if blas is None else blas)).source(title)


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
        self.fused, self.plan, self.places, self.stored = fused, fused.plan, fused.places, fused.stored
        self.names: dict[Value, str] = {}
        self.taken = {*"ijklmnopqrstuvw", *vars(np), *kernels.KERNELS, *vars(sys.modules["builtins"])}
        self.taken |= {"make", "step", "rng", "inf", "nan", "np", "dgemm", "sgemm"}
        self.taken |= {"memory", "vector", "loop", "part", "table", "tools", "at"}
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
                if v in self.stored and v not in self.fused.direct:
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
            "from tinygrad_bp.compiler.numba_module import tools",
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
            yield self._shared(Loop(self, v.shape).copy(start, v))
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
        loop = Loop(self, group.space)
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
