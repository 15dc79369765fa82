"""A plan as NumPy source: the step as a person would have written it by hand, and what runs.

:func:`emit` writes a module that imports NumPy and nothing else and defines ``make(W1, b1, ..., lr)``: it allocates
every buffer once, takes the views of them, and returns ``step(x, y)``, a flat list with one line for every call, which
writes its result into its last argument. Where values live was decided in :mod:`~tinygrad_bp.compiler.allocate`; here
they get names, numbers become arrays without axes (which NumPy takes twice as fast as Python's), and products the
spelling that is fastest for their size. The file that runs on its own is made in
:mod:`~tinygrad_bp.compiler.standalone`.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .allocate import Buffer, Layout, allocate
from .function_source import Functions, Text
from .plan import REDUCTIONS, UFUNCS, VIEWS, Plan, Value, unpack

__all__ = ["Source", "emit", "one_line"]

SMALL = (
    4096  # entries of a product; below, the bound .dot is faster than matmul; above, it loses by clearing its result
)
SHORT = 16  # entries of an array that is written out
WIDTH = 96

_RESERVED = frozenset({"np", "make", "step", "rng", "load", "main", "ARCHIVE"})
_OUT_BY_NAME = {"maximum", "minimum"}  # NumPy deprecates it by position here, lest it be taken for one more operand
_NUMPY_FUNCTION = type(np.vdot)  # which give scalars of NumPy's, if those are floating
_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_SPOKEN = {0.0: "zero", 1.0: "one", 2.0: "two", 0.5: "half"}
_SUFFIX = {"transpose": "T", "reshape": "reshaped", "broadcast_to": "broadcast", "slice": "part"}


@dataclass(frozen=True)
class Source:
    """A plan as text."""

    text: str
    """A module that defines ``make``, which returns ``step``."""
    arrays: tuple[Value, ...]
    """The states and constants whose arrays are the arguments of ``make``, in order. What is written and never read (a
    gradient left behind) must be C-contiguous."""


def emit(plan: Plan, title: str = "One training step") -> Source:
    """The plan as NumPy source.

    ``step`` takes the inputs of the plan, and last a ``numpy.random.Generator`` called ``rng`` if the plan draws. It
    returns None, an array, or a tuple of arrays: as many as the plan has outputs, all of them new. What has no axes may
    be a NumPy scalar.

    Raises CompileError if the plan calls a function whose source cannot be written.
    """
    return _Writer(*allocate(plan)).source(title)


class _Writer:
    """The names and lines of one module."""

    def __init__(self, plan: Plan, layout: Layout) -> None:
        self.plan, self.homes, self.copies = plan, layout.homes, layout.copies
        self.outputs = set(plan.outputs)
        self.read = {a for v in plan.body for a in v.values}
        self.written = {state for state, _ in plan.writes}
        self.states = [state for state in plan.states if state in self.read or state in self.written]
        ufuncs = {f.__name__ for v in plan.body if (f := UFUNCS.get(v.op) or REDUCTIONS.get(v.op))}
        self.functions = Functions(_RESERVED, {"copyto", "matmul", *ufuncs})
        for v in plan.body:
            if v.op in ("call", "check"):
                self._call(v, [""] * len(v.args))  # functions choose their names before values do
        self.taken = self.functions.names | self.functions.numpy
        self.buffers: list[str] = []  # the lines of make, by what they define
        self.numbers: list[str] = []
        self.views: list[str] = []
        self.constants: list[Value] = []
        self.names: dict[Value, str] = {}
        # Values whose memory is there before the step, and if that is sure to be C-contiguous.
        self.fixed: dict[Value, bool] = {}
        self._hoisted: dict[Any, str] = {}
        self._counts: dict[str, int] = {}
        self._name_values()

    # ---- names ----

    def _unique(self, wish: str) -> str:
        word = name = re.sub(r"\W|^(?=\d)", "_", wish)
        k = self._counts.get(word, 1)
        while name in self.taken or keyword.iskeyword(name):
            k += 1
            name = f"{word}_{k}"
        self._counts[word] = k
        self.taken.add(name)
        return name

    def _numbered(self, letter: str) -> str:
        k = self._counts[f"{letter}#"] = self._counts.get(f"{letter}#", 0) + 1
        return self._unique(f"{letter}{k}")

    def _name_values(self) -> None:
        """Name the leaves and what is computed, and allocate the buffers."""
        for leaf in (*self.plan.inputs, *self.states):
            self.names[leaf] = self._unique(leaf.name) if leaf.name else self._numbered(leaf.op[0])
        self.fixed.update(dict.fromkeys(self.states, False))
        becomes = self._becomes()
        called: dict[Buffer, dict[str, None]] = {}
        for v in self.plan.body:
            home = self.homes.get(v)
            if isinstance(home, Value):
                self.names[v], self.fixed[v] = self.names[home], home not in self.read
            elif isinstance(home, Buffer) and v.op != "full":
                last = becomes[v]
                if last not in self.names:
                    self.names[last] = self._unique(last.name) if last.name else self._numbered("t")
                self.names[v], self.fixed[v] = self.names[last], True
                called.setdefault(home, {})[self.names[v]] = None
            elif home is None and v.op not in VIEWS and v.op != "check":
                wish = v.name or "out" * (v in self.outputs)
                self.names[v] = self._unique(wish) if wish else self._numbered("t")
        for home, names in called.items():
            self.buffers.append(f"{' = '.join(names)} = {_empty(home)}")

    def _becomes(self) -> dict[Value, Value]:
        """Whose name a value in a buffer has: the named one it is about to become there, by calls in place."""
        becomes: dict[Value, Value] = {}
        following: dict[Buffer, Value] = {}
        spare: dict[Buffer, Value] = {}
        for v in reversed(self.plan.body):
            home = self.homes.get(v)
            if isinstance(home, Buffer):
                next_one = following.pop(home, None)
                becomes[v] = v if v.name else next_one or spare.setdefault(home, v)
                if any(self.homes.get(a) == home for a in v.values):
                    following[home] = becomes[v]
        return becomes

    def _name(self, v: Value) -> str:
        """What to call an operand."""
        if v not in self.names:
            self.names[v] = self._filled(v) if v.op == "full" else self._constant(v)
        return self.names[v]

    def _hoist(self, key: Any, wish: str, text: str, view: bool = False) -> str:
        """Define a name in ``make``, once; return it."""
        if key not in self._hoisted:
            name = self._hoisted[key] = self._unique(wish)
            (self.views if view else self.numbers).append(f"{name} = {text}")
        return self._hoisted[key]

    def _imported(self, name: str) -> str:
        self.functions.imported.add(name)
        return name

    # ---- operands ----

    def _number(self, x: Any, dtype: np.dtype[Any]) -> str:
        """An array without axes that holds a number."""
        try:
            key = (repr(np.array(x, dtype).item()), dtype)
        except OverflowError:
            return repr(x)
        return self._hoisted.get(key) or self._hoist(key, _spoken(x), f"np.array({_scalar(x, dtype)}{_dtype(dtype)})")

    def _operands(self, v: Value) -> list[str]:
        """The args of a ufunc: numbers in the dtype in which it computes with them."""
        if len(v.values) == len(v.args):
            return [self._name(a) for a in v.args]
        dtypes = _loop(v.op, tuple(a.dtype if isinstance(a, Value) else _kind(a) for a in v.args))
        return [self._name(a) if isinstance(a, Value) else self._number(a, t) for a, t in zip(v.args, dtypes)]

    def _literals(self, v: Value) -> list[str]:
        """The args of anything else: numbers as they are."""
        return [self._name(a) if isinstance(a, Value) else self.functions.expression(a) for a in v.args]

    def _filled(self, v: Value) -> str:
        number = v.params[0]
        self.fixed[v] = True
        if not v.shape:
            return self._number(number, v.dtype)
        return self._hoist(v, v.name or {0: "zeros", 1: "ones"}.get(number, "full"), _full(v.shape, number, v.dtype))

    def _constant(self, v: Value) -> str:
        self.fixed[v] = False
        text = _array(v.params[0]) if v.name == "made" else ""
        if text:
            return self._hoist(text, _telling(text), text)
        self.constants.append(v)
        return self._unique(v.name) if v.name not in ("", "made") else self._numbered("c")

    # ---- calls ----

    def _into(self, v: Value, out: str) -> str:
        """A call that writes into `out`, or allocates if that is ""."""
        last = [out] if out else []
        if v.op in UFUNCS:
            named = "out=" if out and v.op in _OUT_BY_NAME else ""
            return f"{self._imported(v.op)}({', '.join([*self._operands(v), *(named + x for x in last)])})"
        if v.op == "matmul":
            a, b = (self._name(x) for x in v.args)
            if v.size < SMALL and max(x.ndim for x in v.args) <= 2 and self._is_dense(v):
                return f"{a}.dot({', '.join([b, *last])})"
            return f"{self._imported('matmul')}({', '.join([a, b, *last])})"
        (x,), (axes, keepdims) = v.args, v.params
        name = self._name(x)
        as_product = v.op == "sum" and axes == (0,) and not keepdims and x.ndim == 2 and x.dtype.char in "fd"
        if as_product and self._is_dense(v):
            n = x.shape[0]
            ones = self._hoist(("ones", n, x.dtype), f"ones{n}", _full((n,), 1, x.dtype))
            return f"{ones}.dot({', '.join([name, *last])})"
        axis = None if axes == tuple(range(x.ndim)) else axes[0] if len(axes) == 1 else axes
        more = ["None", out or "None", *["True"] * keepdims] if out or keepdims else []
        return f"{self._imported(REDUCTIONS[v.op].__name__)}.reduce({', '.join([name, repr(axis), *more])})"

    def _is_dense(self, v: Value) -> bool:
        """Whether the home of `v` is sure to be C-contiguous, as dot and generators demand; a parameter may not be."""
        return self.fixed.get(v, True)

    def _of_scalars(self, v: Value) -> str:
        """Arithmetic with NumPy's scalars, which is ten times as fast as with arrays; "" if it is not that."""
        scalar = [a for a in v.values if not a.shape and self.homes.get(a, a) is None]
        if not scalar or v.op not in _OPERATORS or v.shape or v.dtype.kind != "f":
            return ""
        return f" {_OPERATORS[v.op]} ".join(self._literals(v))

    def _call(self, v: Value, args: list[str]) -> str:
        """A function of any kind."""
        function, (positional, named) = v.params[0], unpack(v.params[1], [Text(a) for a in args])
        if getattr(function, "__name__", "") in ("getitem", "_getitem"):
            return f"{positional[0]}[{self._index(positional[1])}]"
        return f"{self.functions.called(function)}({self._arguments(positional, named)})"

    def _draw(self, v: Value, out: str = "") -> str:
        method, (positional, named) = v.params[0], unpack(v.params[1], [Text(a) for a in self._literals(v)])
        if out:
            positional, named = (), ({} if v.dtype == np.float64 else {"dtype": v.dtype}) | {"out": Text(out)}
        return f"rng.{method}({self._arguments(positional, named)})"

    def _arguments(self, positional: Iterable[Any], named: dict[str, Any]) -> str:
        expression = self.functions.expression
        return ", ".join([*map(expression, positional), *(f"{key}={expression(x)}" for key, x in named.items())])

    def _index(self, index: Any) -> str:
        """What stands between the brackets."""
        if type(index) is tuple and index:
            return ", ".join(map(self._index, index)) + "," * (len(index) == 1)
        if type(index) is slice:
            start, stop, step = ("" if x is None else self._index(x) for x in (index.start, index.stop, index.step))
            return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
        return self.functions.expression(index.item() if isinstance(index, np.integer) else index)

    # ---- instructions ----

    def _lines(self, v: Value) -> Iterator[str]:
        """What an instruction that is no view does in ``step``."""
        if v.op == "check":
            yield self._call(v, self._literals(v))
            return
        name = self.names[v]
        into = self.homes.get(v) is not None
        if v.op in UFUNCS or v.op in REDUCTIONS or v.op == "matmul":
            yield self._into(v, name) if into else f"{name} = {self._of_scalars(v) or self._into(v, '')}"
        elif into:
            yield from self._fill(v, name)
        else:
            yield f"{name} = {self._new(v)}"
        if v.op in ("put", "add_at"):
            _, new, *others = self._literals(v)
            index = self._index(unpack(v.params[0], [Text(a) for a in others]))
            yield f"{name}[{index}] = {new}" if v.op == "put" else f"np.add.at({name}, np.s_[{index}], {new})"

    def _new(self, v: Value) -> str:
        """What allocates the result of an instruction that does not write into its last argument."""
        if v.op == "full":
            return _full(v.shape, v.params[0], v.dtype)
        if v.op == "where":
            dtypes = (np.dtype(bool), v.dtype, v.dtype)
            parts = (self._name(a) if isinstance(a, Value) else self._number(a, t) for a, t in zip(v.args, dtypes))
            return f"np.where({', '.join(parts)})"
        if v.op in ("call", "draw"):
            call = self._draw(v) if v.op == "draw" else self._call(v, self._literals(v))
            plain = v.shape or (v.dtype.kind == "f" and isinstance(v.params[0], _NUMPY_FUNCTION))
            return call if plain else f"np.asarray({call})"  # Python's numbers would take the dtype of what they meet
        x = self._name(v.args[0])
        if v.op == "cast":
            return f"{x}.astype({_dtype_name(v.dtype)})"
        return f"{x}.copy()" if v.shape else f"np.array({x})"

    def _fill(self, v: Value, name: str) -> Iterator[str]:
        """What writes it into its home."""
        if v.op == "where":
            c, a, b = v.args
            if not isinstance(c, Value) or c.dtype != np.bool:
                yield self._copyto(name, self._new(v))
                return
            if not isinstance(b, Value):
                yield f"{name}.fill({_scalar(b, v.dtype)})"
            elif not self._is_at_home(b, v):
                yield self._copied(name, b, v.dtype)
            chosen = self._name(a) if isinstance(a, Value) else self._number(a, v.dtype)
            yield self._copyto(name, chosen, f"where={self._name(c)}")
        elif v.op == "draw":
            yield self._draw(v, name)
        elif not self._is_at_home(v.args[0], v):
            yield self._copied(name, v.args[0], v.dtype)

    def _copied(self, name: str, x: Value, dtype: np.dtype[Any]) -> str:
        """A copy of `x` into `name`, which has this dtype."""
        if x.op == "full" and x.dtype == dtype:
            return f"{name}.fill({_scalar(x.params[0], x.dtype)})"
        return self._copyto(name, self._name(x), *['casting="unsafe"'] * (not np.can_cast(x.dtype, dtype, "same_kind")))

    def _copyto(self, *words: str) -> str:
        return f"{self._imported('copyto')}({', '.join(words)})"

    def _is_at_home(self, x: Any, v: Value) -> bool:
        """Whether the arg `x` is already where `v` is to be."""
        home = self.homes[v]
        return isinstance(x, Value) and (x is home or self.homes.get(x) == home)

    def _view(self, v: Value) -> Iterator[str]:
        """A view is taken in ``make`` if it is sure to be one, and of memory that is there; else where it stands."""
        (x,), (param,) = v.args, v.params
        base = self._name(x)
        suffix, is_view = _SUFFIX[v.op], x in self.fixed
        if v.op == "transpose":
            reverse = param is None or tuple(param) == tuple(reversed(range(x.ndim)))
            text = f"{base}.T" if reverse else f"{base}.transpose({', '.join(map(str, param))})"
        elif v.op == "slice":
            parts = param if type(param) is tuple else (param,)
            if not v.shape and not any(part is ... for part in parts):
                param = (*parts, ...)  # an array, no scalar
            text = f"{base}[{self._index(param)}]"
        elif v.op == "reshape":
            is_view = is_view and (self.fixed[x] or _without_ones(v.shape) == _without_ones(x.shape))
            suffix = "flat" if v.ndim == 1 else suffix
            text = f"{base}.reshape({', '.join(map(str, v.shape)) or '()'})"
        else:
            text = f"np.broadcast_to({base}, {v.shape})"
        wish = v.name or f"{base}_{suffix}"
        if is_view:
            self.names[v], self.fixed[v] = self._hoist(text, wish, text, view=True), self.fixed[x]
        else:
            self.names[v] = self._unique(wish)
            yield f"{self.names[v]} = {text}"

    # ---- the module ----

    def source(self, title: str) -> Source:
        """The text."""
        body: list[str] = []
        note = ""
        for v in self.plan.body:
            if v.op == "full" and self.homes[v] is not None:
                continue  # made when somebody asks for it
            lines = list(self._view(v) if v.op in VIEWS else self._lines(v))
            if lines and v.note != note:
                note = v.note
                body += [f"# {' '.join(note.split())}"] if note else []
            body += lines
        body += [self._copied(self.names[state], v, state.dtype) for state, v in self.copies]
        if self.plan.outputs:
            body.append(f"return {', '.join(self.names[v] for v in self.plan.outputs)}")
        roles = dict.fromkeys(self.plan.inputs, "argument")
        for v in self.states:
            roles[v] = " and ".join(["read"] * (v in self.read) + ["written"] * (v in self.written))
        roles |= dict.fromkeys(self.constants, "constant")
        arrays = (*self.states, *self.constants)
        return Source(self._module(title, body, arrays, roles), arrays)

    def _module(self, title: str, body: list[str], arrays: tuple[Value, ...], roles: dict[Value, str]) -> str:
        made = [self.names[v] for v in arrays]
        taken = [self.names[v] for v in self.plan.inputs] + ["rng"] * any(v.op == "draw" for v in self.plan.body)
        given = ", ".join(self.names[v] for v in self.plan.outputs)
        rows = [
            (self.names[v], str(v.shape), *[str(v.dtype)] * (v.dtype != np.float64), role) for v, role in roles.items()
        ]
        widths = [max((len(row[k]) for row in rows), default=0) for k in range(2)]
        lines = [f'"""{one_line(title)}.', ""]
        lines += [f"    {line}" for line in _wrapped("step = make", made)]
        lines += [f"    {line}" for line in _wrapped(f"{given} = step" if given else "step", taken)]
        lines += ["", *(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {', '.join(row[2:])}" for row in rows), ""]
        lines += [
            "Numbers are float64 where nothing else is said; a call writes into its last array (copyto: first).",
            '"""',
            "",
        ]
        functions = self.functions
        lines += ["from __future__ import annotations", ""] if functions.texts else []
        lines += [*sorted(functions.imports), ""] if functions.imports else []
        lines += ["import numpy as np"]
        lines += (
            _wrapped("from numpy import ", sorted(functions.imported), brackets=False) if functions.imported else []
        )
        lines += ["", *functions.constants] if functions.constants else []
        for text in functions.texts:
            lines += ["", "", *text.split("\n")]
        setup = [*self.buffers, *self.numbers, *self.views]
        lines += ["", "", *_wrapped("def make", made, ":"), *(f"    {line}" for line in setup)]
        lines += [""] * bool(setup)
        lines += [f"    {line}" for line in _wrapped("def step", taken, ":")]
        lines += [f"        {line}" for line in body or ["pass"]]
        return "\n".join([*lines, "", "    return step", ""])


# ---- text --------------------------------------------------------------------------------------------------


def one_line(title: str) -> str:
    """A title as it can stand in a docstring, without its full stop."""
    return " ".join(title.split()).rstrip(".").replace("\\", "\\\\").replace('"', "'")


def _wrapped(before: str, words: list[str], after: str = "", brackets: bool = True) -> list[str]:
    """``before(words)after``, on several lines if it is long."""
    inside = ", ".join(words)
    line = f"{before}({inside}){after}" if brackets else f"{before}{inside}"
    if len(line) <= WIDTH:
        return [line]
    return [
        f"{before}(",
        *textwrap.wrap(f"{inside},", WIDTH, initial_indent="    ", subsequent_indent="    "),
        f"){after}",
    ]


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return Functions().expression(dtype)


def _dtype(dtype: np.dtype[Any]) -> str:
    return "" if dtype == np.float64 else f", {_dtype_name(dtype)}"


def _shape(shape: tuple[int, ...]) -> str:
    return repr(shape[0] if len(shape) == 1 else shape)


def _empty(v: Value | Buffer) -> str:
    return f"np.empty({_shape(v.shape)}{_dtype(v.dtype)})"


def _full(shape: tuple[int, ...], number: Any, dtype: np.dtype[Any]) -> str:
    if number in (0, 1) and not np.signbit(number):
        return f"np.{'ones' if number else 'zeros'}({_shape(shape)}{_dtype(dtype)})"
    return f"np.full({_shape(shape)}, {_scalar(number, dtype)}{_dtype(dtype)})"


def _scalar(x: Any, dtype: np.dtype[Any]) -> str:
    return Functions().expression(float(x) if dtype == np.float64 else x)


def _array(array: np.ndarray[Any, Any]) -> str:
    """An expression for an array, "" if that would be long."""
    dtype, n = array.dtype, array.size
    if dtype.kind not in "biufc":
        return ""
    if array.ndim == 1 and n > 1 and dtype == np.intp and (array == np.arange(n)).all():
        return f"np.arange({n})"
    if array.ndim and n > 1 and (array == array.flat[0]).all():
        return _full(array.shape, array.flat[0].item(), dtype)
    if 0 < n <= SHORT:
        return f"np.array({Functions().expression(array.tolist())}{_dtype(dtype)})"
    return ""


def _telling(text: str) -> str:
    """A name for a constant."""
    arange = re.fullmatch(r"np\.arange\((\d+)\)", text)
    return f"arange{arange[1]}" if arange else "constant"


def _spoken(x: Any) -> str:
    """A name for a number."""
    if x in _SPOKEN:
        return _SPOKEN[x]
    short = f"{abs(x):g}"
    if isinstance(x, complex) or float(short) != abs(x) == abs(x):
        return "c"
    return f"{'minus_' if x < 0 else ''}{_SPOKEN.get(-x) or ('c' if short[0].isdigit() else '') + short}"


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [n for n in shape if n != 1]


# ---- dtypes ------------------------------------------------------------------------------------------------


def _kind(x: Any) -> Any:
    """A Python number's type, where NumPy lets it take the dtype of the others; else a dtype."""
    return type(x) if type(x) in (int, float, complex) else np.asarray(x).dtype


@cache
def _loop(op: str, kinds: tuple[Any, ...]) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which a ufunc computes with operands of these dtypes or of Python's types."""
    if not any(isinstance(kind, np.dtype) for kind in kinds):
        kinds = tuple(np.dtype(kind) for kind in kinds)
    return UFUNCS[op].resolve_dtypes((*kinds, None))
