"""A training step as a plan: an immutable list of instructions, each a NumPy call on values made before it.

A :class:`Value` is what one instruction computes, written once and never changed (static single assignment): its
operation by name, what it is computed from, its shape and dtype. A :class:`Plan` is the list of them, what comes in,
which arrays outside it reads, what they are to hold at the end, and what goes out. What an operation means is said
once, in :func:`evaluate`. Nothing here is recorded, improved or written as source; ``print(plan)`` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# fmt: off
__all__ = [
    "EFFECTS", "LEAVES", "REDUCTIONS", "UFUNCS", "VIEWS", "CompileError", "Plan", "Slot", "Value", "evaluate", "pack",
    "unpack",
]
# fmt: on

UFUNCS: dict[str, np.ufunc] = {
    name: function
    for name, function in vars(np).items()
    if isinstance(function, np.ufunc) and function.nout == 1 and not function.signature and function.__name__ == name
}
"""Elementwise operations, by the name of their NumPy function: args broadcast, and a result may overwrite an arg."""

REDUCTIONS: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "all": np.logical_and,
    "any": np.logical_or,
}
"""``op(x)`` with params ``(axes, keepdims)``: axes a sorted tuple, each >= 0."""

VIEWS: dict[str, Callable[..., Any]] = {
    "transpose": np.transpose,
    "reshape": np.reshape,
    "broadcast_to": np.broadcast_to,
    "slice": lambda x, index: x[index],
}
"""``op(x)`` with one param (axes, shape, shape, a basic index): nothing is computed, memory is shared if it can be."""

LEAVES = frozenset({"input", "state", "constant"})
"""No instructions: an argument; an array that lives outside (a parameter, what an optimizer remembers, a gradient to
be left behind, a setting such as lr as a 0-d array); an array nobody writes, params ``(array,)``."""

EFFECTS = frozenset({"check", "draw"})
"""Kept, and kept in order, whether their result is read or not."""


class CompileError(RuntimeError):
    """A function that cannot be compiled as it stands; the message says where and why. Called eagerly, it works."""


@dataclass(frozen=True)
class Slot:
    """The place of ``args[k]`` in a template of arguments."""

    k: int


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """What one instruction computes; two values are the same only if they are one object.

    Attributes
    ----------
    op
        A name in `UFUNCS`, `REDUCTIONS`, `VIEWS`, `LEAVES`, or one of

        - ``matmul(a, b)`` as np.matmul, operands of one axis or more;
        - ``where(c, a, b)``, ``copy(x)``, ``cast(x)`` to the dtype of this value;
        - ``full()`` with params ``(number,)``: that number everywhere;
        - ``put(x, v, ...)`` with params ``(index,)``: x with v at the index; ``add_at`` adds it there, repeatedly;
        - ``call(...)`` with params ``(function, template)``: any function of NumPy's or ours that gives one array;
        - ``check(...)``, likewise, which gives nothing and may raise;
        - ``draw(...)``, params ``(method, template)``: a method of the package's random generator.

        A template is ``(args, kwargs)`` in which every array is a :class:`Slot`; so is an index.
    args
        Values, or Python numbers, which take the dtype of the others as in NumPy.
    alias
        Of a call: the position of the argument whose memory the result may share, if any.
    name, note
        What the source is to call it, and the comment above it; both may be "".
    """

    op: str
    args: tuple[Any, ...]
    params: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str = ""
    note: str = ""
    alias: int | None = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(np.prod(self.shape))

    @property
    def values(self) -> tuple[Value, ...]:
        """The args that are values."""
        return tuple(x for x in self.args if isinstance(x, Value))

    def __repr__(self) -> str:
        return f"<{self.name or self.op} {self.dtype}{list(self.shape)}>"


def pack(tree: Any) -> tuple[tuple[Value, ...], Any]:
    """The values in nested tuples, lists, dicts and slices, and the tree with a Slot in the place of each."""
    values: list[Value] = []

    def taken(x: Any) -> Any:
        if isinstance(x, Value):
            values.append(x)
            return Slot(len(values) - 1)
        return _mapped(taken, x)

    template = taken(tree)
    return tuple(values), template


def unpack(template: Any, args: Sequence[Any]) -> Any:
    """The tree with ``args[k]`` in the place of ``Slot(k)``."""
    return args[template.k] if isinstance(template, Slot) else _mapped(lambda x: unpack(x, args), template)


def _mapped(function: Callable[[Any], Any], x: Any) -> Any:
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(function, x))
    if type(x) in (tuple, list):
        return type(x)(map(function, x))
    if type(x) is dict:
        return {key: function(below) for key, below in x.items()}
    return slice(function(x.start), function(x.stop), function(x.step)) if type(x) is slice else x


def evaluate(v: Value, args: Sequence[Any], generator: np.random.Generator | None = None) -> Any:
    """What the instruction computes from these arrays and numbers: the meaning of every operation but leaves."""
    op, params = v.op, v.params
    if op in UFUNCS:
        return UFUNCS[op](*args)
    if op in REDUCTIONS:
        axes, keepdims = params
        return REDUCTIONS[op].reduce(args[0], axis=axes, keepdims=keepdims)
    if op in VIEWS:
        return VIEWS[op](args[0], *params)
    if op in ("call", "check", "draw"):
        function, (positional, named) = params[0], unpack(params[1], args)
        return (getattr(generator, function) if op == "draw" else function)(*positional, **named)
    if op in ("put", "add_at"):
        x, value, *places = args
        x, index = x.copy(), unpack(params[0], places)
        if op == "put":
            x[index] = value
        else:
            np.add.at(x, index, value)
        return x
    if op == "full":
        return np.full(v.shape, params[0], v.dtype)
    if op == "cast":
        return args[0].astype(v.dtype)
    others: dict[str, Callable[..., Any]] = {"matmul": np.matmul, "where": np.where, "copy": np.copy}
    return others[op](*args)


@dataclass(frozen=True)
class Plan:
    """The instructions of a step in the order they run, and what connects them to the world."""

    body: tuple[Value, ...]
    """The instructions; leaves are not among them."""
    inputs: tuple[Value, ...]
    """The arguments, leaves "input"."""
    states: tuple[Value, ...]
    """The arrays outside, leaves "state"."""
    writes: tuple[tuple[Value, Value], ...]
    """(state, the value it holds at the end), for each state that is written."""
    outputs: tuple[Value, ...]
    """What is returned, as arrays that nobody else holds."""

    def __str__(self) -> str:
        called: dict[Value, str] = {}
        taken: set[str] = set()

        def name(v: Any) -> str:
            if not isinstance(v, Value):
                return repr(v)
            if v not in called:
                words = (f"{v.name or 'v'}{k}" for k in range(len(taken) + 1))
                called[v] = next(word for word in ([v.name] if v.name else []) + list(words) if word not in taken)
                taken.add(called[v])
            return called[v]

        for leaf in (*self.inputs, *self.states):
            name(leaf)
        leaves = {"inputs": self.inputs, "states": self.states}
        lines = [
            f"{kind:>12}: {', '.join(f'{name(v)} {list(v.shape)}' for v in values)}"
            for kind, values in leaves.items()
            if values
        ]
        for v in self.body:
            words = [*map(name, v.args), *(getattr(p, "__name__", None) or repr(p) for p in v.params)]
            lines.append(f"{name(v):>12} = {v.op}({', '.join(words)})  {list(v.shape)} {v.dtype}")
        lines += [f"{name(state):>12} <- {name(last)}" for state, last in self.writes]
        return "\n".join([*lines, f"{'return':>12} {', '.join(map(name, self.outputs))}"])

    def results(self) -> Iterator[Value]:
        """The values that must be there at the end."""
        yield from (last for _, last in self.writes)
        yield from self.outputs

    def mapped(self, body: Iterable[Value], new: Mapping[Value, Any]) -> Plan:
        """The same plan with another body, and with `new[v]` in the place of every v written or returned."""
        writes = tuple((state, new.get(last, last)) for state, last in self.writes)
        return Plan(tuple(body), self.inputs, self.states, writes, tuple(new.get(v, v) for v in self.outputs))
