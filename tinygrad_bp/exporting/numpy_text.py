"""The instructions of a plan as statements of Python, readable as if written by hand: ``z1 = x @ W1.T + b1``.

What is used once, and is short, stands inside what uses it; the rest gets a name. A number that follows the rows is
printed as ``n``, or what is computed from it. Which instructions there are is said in
:mod:`~tinygrad_bp.exporting.numpy_plan`; the file around them is made in :mod:`~tinygrad_bp.exporting.numpy_file`.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..compiler.function_source import Functions, Text
from ..compiler.plan import REDUCTIONS, VIEWS, Value, unpack
from .paired import Rows

__all__ = ["Block", "Expression", "is_of_states", "place", "size_text"]

INSIDE, SHORT, WIDTH = 60, 16, 96  # letters: of what stands inside another line; of what always does; of a line

_LEVELS = {"<": 1, "<=": 1, ">": 1, ">=": 1, "==": 1, "!=": 1, "+": 2, "-": 2, "*": 3, "/": 3, "@": 3, "**": 5}
_SYMBOLS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
_SYMBOLS |= {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**"}
_SIGN, _ATOM = 4, 6  # how tightly a sign binds, and what needs no brackets
_SPOKEN = {"exp": "e", "sum": "total", "max": "largest", "transpose": "turned", "full": "filled", "slice": "part"}


class Expression(NamedTuple):
    """An expression, and how tightly it binds."""

    text: str
    level: int = _ATOM

    def within(self, level: int) -> str:
        """In brackets, unless it binds at least that tightly."""
        return self.text if self.level >= level else f"({self.text})"


class Block:
    """Instructions as statements, under these names for what is there before; `n` occurs if `by_rows`, in the end."""

    def __init__(
        self, functions: Functions, names: Mapping[Value, str], body: Sequence[Value], results: Sequence[Value]
    ) -> None:
        self.functions, self.names, self.body, self.results = functions, dict(names), body, results
        self.taken = functions.names | set(self.names.values())
        self.given = {v: self.unique(v.name) for v in body if v.name}
        self.users: dict[Value, list[Value]] = {}
        for v in body:
            for a in v.values:
                self.users.setdefault(a, []).append(v)
        self.inside: dict[Value, Expression] = {}
        self.calls: dict[Value, tuple[str, Value]] = {}  # what a function of its own computes, and from what
        self.skipped: set[Value] = set()
        self.by_rows = False

    def unique(self, wish: str) -> str:
        """The name, or the first free one that begins with it."""
        word = re.sub(r"\W", "_", wish, flags=re.ASCII)
        word = name = word if word.isidentifier() else f"_{word}"
        k = 1
        while name in self.taken or keyword.iskeyword(name) or hasattr(builtins, name):
            k += 1
            name = f"{word}_{k}"
        self.taken.add(name)
        return name

    def statements(self) -> Iterator[tuple[Value, str]]:
        """(value, line) for each line."""
        for v in self.body:
            if v in self.skipped:
                continue
            if v.op in ("put", "add_at"):
                yield from self._put(v)
                continue
            found = self.expression(v)
            if len(found.text) > WIDTH:
                for a in dict.fromkeys(v.values):
                    if a in self.inside and len(self.inside[a].text) >= SHORT and a in self.body:
                        yield a, f"{self._named(a)} = {self.inside.pop(a).text}"
                found = self.expression(v)
            if v.op == "check":
                yield v, found.text
            elif self._fits_inside(v, found.text):
                self.inside[v] = found
            else:
                yield v, f"{self._named(v)} = {found.text}"

    def _fits_inside(self, v: Value, text: str) -> bool:
        users = self.users.get(v, [])
        if v in self.results or v.name or not users:
            return False
        if is_of_states(v) or (v.op == "full" and len(text) < SHORT):
            return True
        return len(users) == 1 == users[0].values.count(v) and place(users[0]) == place(v) and len(text) <= INSIDE

    def _named(self, v: Value) -> str:
        row = v.note.split()[1]
        self.names[v] = self.given.get(v) or self.unique(_SPOKEN.get(v.op, v.op if row == "t" else row))
        return self.names[v]

    def _put(self, v: Value) -> Iterator[tuple[Value, str]]:
        x, new, *places = v.args
        index = self._index(unpack(v.params[0], [Text(self._of(a).text) for a in places]))
        copied = f"{self._of(x).within(_ATOM)}.copy()"
        name = self._named(v)
        yield v, f"{name} = {copied}"
        new = self._of(new).text
        yield v, f"{name}[{index}] = {new}" if v.op == "put" else f"np.add.at({name}, np.s_[{index}], {new})"

    def text_of(self, v: Value) -> str:
        """What to call a value that is there."""
        return self._of(v).text

    def _of(self, x: Any) -> Expression:
        """An operand."""
        if isinstance(x, Value):
            return self.inside[x] if x in self.inside else Expression(self.names[x])
        if isinstance(x, Rows):
            return Expression(self.size(x), _ATOM if x == Rows(1, 0) else 2)
        return Expression(self.functions.expression(x), _ATOM if not isinstance(x, (int, float)) or x >= 0 else _SIGN)

    def size(self, x: Any) -> str:
        """A number, or how one follows the rows."""
        self.by_rows = self.by_rows or isinstance(x, Rows)
        return size_text(x)

    def shape(self, shape: tuple[Any, ...]) -> str:
        """Several of them, in brackets."""
        self.by_rows = self.by_rows or any(isinstance(x, Rows) for x in shape)
        return size_text(shape)

    def _sized(self, tree: Any) -> Any:
        """A tree for `Functions.expression`: with text in the place of numbers that follow the rows."""
        if isinstance(tree, Rows):
            return Text(self.size(tree))
        if type(tree) in (tuple, list):
            return type(tree)(map(self._sized, tree))
        if type(tree) is dict:
            return {key: self._sized(x) for key, x in tree.items()}
        return slice(*map(self._sized, (tree.start, tree.stop, tree.step))) if type(tree) is slice else tree

    def _index(self, index: Any) -> str:
        """What stands between the brackets."""
        if type(index) is tuple and index:
            return ", ".join(map(self._index, index)) + "," * (len(index) == 1)
        if type(index) is slice:
            first = index.start or None if index.step is None else index.start
            start, stop, step = ("" if x is None else self._index(x) for x in (first, index.stop, index.step))
            return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
        return self.functions.expression(self._sized(index.item() if isinstance(index, np.integer) else index))

    def expression(self, v: Value) -> Expression:
        """What computes it."""
        if v in self.calls:
            function, given = self.calls[v]
            return Expression(f"{function}({self._of(given).text})")
        args = [self._of(a) for a in v.args]
        if v.op in _SYMBOLS:
            symbol = _SYMBOLS[v.op]
            level = _LEVELS[symbol]
            left = args[0].within(level + (symbol == "**" or level == 1))
            return Expression(f"{left} {symbol} {args[1].within(_SIGN if symbol == '**' else level + 1)}", level)
        match v.op:
            case "negative":
                return Expression(f"-{args[0].within(_SIGN)}", _SIGN)
            case "square":
                return Expression(f"{args[0].within(_ATOM)} ** 2", 5)
            case "reciprocal":
                return Expression(f"1.0 / {args[0].within(4)}", 3)
            case "call" | "check":
                return self._call(v, [Text(a.text) for a in args])
            case "cast":
                return Expression(f"{args[0].within(_ATOM)}.astype({self.functions.expression(v.dtype)})")
            case "copy":
                return Expression(f"{args[0].within(_ATOM)}.copy()")
            case "full":
                return self._full(v)
        if v.op in REDUCTIONS:
            axes, keepdims = v.params
            axis = (
                "" if len(axes) == v.args[0].ndim and len(axes) > 1 else f"axis={axes[0] if len(axes) == 1 else axes}"
            )
            inside = ", ".join([*[axis] * bool(axis), *["keepdims=True"] * keepdims])
            return Expression(f"{args[0].within(_ATOM)}.{v.op}({inside})")
        return self._view(v, args[0].within(_ATOM)) if v.op in VIEWS else Expression(f"np.{v.op}({_listed(args)})")

    def _call(self, v: Value, args: list[Any]) -> Expression:
        function, (positional, named) = v.params[0], unpack(self._sized(v.params[1]), args)
        if getattr(function, "__name__", "") in ("getitem", "_getitem"):
            return Expression(f"{positional[0]}[{self._index(positional[1])}]")
        words = [*map(self.functions.expression, positional)]
        words += [f"{key}={self.functions.expression(x)}" for key, x in named.items()]
        return Expression(f"{self.functions.expression(function)}({', '.join(words)})")

    def _full(self, v: Value) -> Expression:
        number, dtype = v.params[0], self.functions.expression(v.dtype)
        if not v.shape:
            return Expression(f"{dtype}({self.functions.expression(number)})")
        shape, last = self.shape(v.shape), "" if v.dtype == np.float64 else f", {dtype}"
        if number in (0, 1) and not np.signbit(number):
            return Expression(f"np.{'ones' if number else 'zeros'}({shape}{last})")
        return Expression(f"np.full({shape}, {self.functions.expression(number)}, {dtype})")

    def _view(self, v: Value, x: str) -> Expression:
        (param,) = v.params
        if v.op == "transpose":
            turned = tuple(param) == tuple(reversed(range(v.ndim)))
            return Expression(f"{x}.T" if turned else f"{x}.transpose({', '.join(map(str, param))})")
        if v.op == "slice":
            return Expression(f"{x}[{self._index(param)}]")
        if v.op == "broadcast_to":
            return Expression(f"np.broadcast_to({x}, {self.shape(param)})")
        follow = [k for k, size in enumerate(param) if isinstance(size, Rows)]
        if len(follow) == 1 and param[follow[0]] != Rows(1, 0):
            param = tuple(-1 if k in follow else size for k, size in enumerate(param))
        return Expression(f"{x}.reshape({', '.join(map(self.size, param)) or '()'})")


def _listed(args: Iterable[Expression]) -> str:
    return ", ".join(a.text for a in args)


def size_text(x: Any) -> str:
    """A number, or how it follows the n rows; or a shape of them.

    >>> size_text((Rows(1, 0), Rows(2, -1), 10))
    '(n, 2 * n - 1, 10)'
    """
    if isinstance(x, tuple):
        return f"({', '.join(map(size_text, x))}{',' * (len(x) == 1)})"
    if not isinstance(x, Rows) or x.at(1) < 0:
        return repr(x) if not isinstance(x, Rows) else "..."  # n * n, which two numbers of rows do not tell
    text = "n" if x.scale == 1 else f"{x.scale} * n"
    return text if x.shift == 0 else f"{text} {'+' if x.shift > 0 else '-'} {abs(x.shift)}"


def place(v: Value) -> str:
    """The number of the call that computed it."""
    return v.note.split()[0]


def is_of_states(v: Value) -> bool:
    """Whether it is only a view of a parameter."""
    return v.op in VIEWS and (v.args[0].op in ("state", "constant") or is_of_states(v.args[0]))
