"""What a function refers to beyond its arguments: which of it a recording relies on, and what it must not change.

A recording is of use as long as the names in the function mean the same objects, and the plain values in those (a
number in a closure, in a dict of settings, `training` of a layer) are equal. While it is made none of them may change:
a counter that is increased or a list that is appended to would not be in a replay. Arrays of NumPy's that are found
here are replaced by handles for as long as it takes. Tensors, and what optimizers remember, are found where they are
used, in :mod:`tinygrad_bp.compiler.trace`.
"""

from __future__ import annotations

import dis
import io
import pickle
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy import ndarray

from ..nn.module import Module
from ..optim.optimizers import Optimizer
from ..recipe import Node, Op
from .plan import CompileError
from .watch import in_recording

__all__ = ["Entry", "Surroundings"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_LIBRARIES = {"tinygrad_bp", "numpy"}
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_LARGE = 65536  # bytes of an array that is compared in every call
_SHORT = 100  # entries of an array of integers that may decide what is done
_OWN_DRAWS = (
    "compile: the step draws from a random generator of its own, whose numbers would be the same in every call. "
    "Draw from bp.random.generator(), or outside of the step."
)
_LOAD_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")  # the second until Python 3.11, the third after it
_OF_TRACE = {"state", "param_groups", "defaults"}  # of an optimizer: seen when it is used


def _is_foreign(x: Any) -> bool:
    """Whether a class, function or module belongs to a library, which does not change."""
    name = (x.__name__ if isinstance(x, ModuleType) else getattr(x, "__module__", None)) or ""
    root = name.partition(".")[0]
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None:
        return root in sys.builtin_module_names or root == "builtins"
    return root in _LIBRARIES or file.startswith(_INSTALLED)


@dataclass(frozen=True, eq=False)
class Entry:
    """A place that a name leads to, and what is there: in a cell, a container, a class, a module or a slot."""

    name: str
    place: Any
    key: Any
    value: Any
    relied_on: bool = True

    def expression(self, place: str) -> str:
        """Python that reads it, given the name of the place."""
        if isinstance(self.place, CellType):
            return f"{place}.cell_contents"
        if isinstance(self.place, (list, tuple, deque)):
            return f"{place}[{self.key}]"
        return f"{place}.get({self.key!r})" if hasattr(self.place, "get") else f"{place}.{self.key}"

    @property
    def is_replaceable(self) -> bool:
        """Whether something else can be put there."""
        return isinstance(self.place, (CellType, list, dict))

    @property
    def by_content(self) -> bool:
        """Whether it is an array whose numbers are relied on: short integers, which may decide what is done.

        And an array that no stand-in can replace, since it is in a tuple, a class or a slot.
        """
        if not _is_array(self.value):
            return False
        return not self.is_replaceable or (self.value.dtype.kind in "iub" and self.value.size <= _SHORT)

    def replace(self, value: Any) -> None:
        """Put another value there."""
        if isinstance(self.place, CellType):
            self.place.cell_contents = value
        else:
            self.place[self.key] = value


class Surroundings:
    """The names that a function and the objects among its arguments can see, and what they mean now.

    Attributes
    ----------
    entries
        Every place that is looked at.
    plain
        The lists, dicts, sets and deques of nothing but plain values, with their names.
    modules
        The modules among them, each before those inside it.
    """

    def __init__(self, function: Callable[..., Any], arguments: Iterable[Any] = ()) -> None:
        self._spelled: set[str] = {"forward", "update", "step"}
        known = -1
        while known != len(self._spelled):  # which attributes are used is known when all functions have been seen
            known = len(self._spelled)
            self.entries: list[Entry] = []
            self.plain: list[tuple[str, Any]] = []
            self.modules: list[Module] = []
            self._holders: list[tuple[str, Any]] = []
            self._arrays: list[ndarray[Any, Any]] = []
            self._generators: list[Any] = []
            self._seen: set[int] = set()
            self._waiting: deque[tuple[Any, str]] = deque((x, "an argument") for x in arguments)
            self._function(function, root=True)
            while self._waiting:
                self._visit(*self._waiting.popleft())
        for entry in self.entries:
            if entry.by_content and entry.value.nbytes > _LARGE:
                raise CompileError(
                    f"compile: '{entry.name}' is an array of shape {entry.value.shape} in a tuple, a class or a slot, "
                    "where its numbers cannot be followed. Give it a name of its own, or keep it in a bp.Tensor."
                )
        self.inside = self._look_inside()

    # -- what is there --

    def _visit(self, value: Any, name: str) -> None:
        if id(value) in self._seen or isinstance(value, (*_PLAIN, Node)):
            return
        self._seen.add(id(value))
        if isinstance(value, Op):
            self._waiting.append(((value.forward, value.partials, value.joint), name))
        elif isinstance(value, ndarray):
            self._arrays.append(value)
        elif isinstance(value, (np.random.Generator, random.Random)):
            self._generators.append(value)
        elif isinstance(value, (FunctionType, MethodType, partial)) or hasattr(value, "__wrapped__"):
            self._function(value)
        elif isinstance(value, (list, tuple, dict, set, frozenset, deque)):
            self._container(value, name)
        elif isinstance(value, (type, ModuleType)):
            if not _is_foreign(value):
                self._names_of(value, name)
        elif isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            if not _is_foreign(type(value)) or type(value).__module__ in ("builtins", "itertools"):
                raise CompileError(
                    f"compile: the step uses '{name}', a {type(value).__name__}, which a replay would not advance. "
                    "Pass what it gives as an argument."
                )
        elif not isinstance(value, BuiltinFunctionType):
            self._object(value, name)

    def _function(self, function: Any, root: bool = False) -> None:
        """The closure, globals, defaults and bound object of a function; libraries' functions do not change."""
        if isinstance(function, partial):
            self._waiting.append(((function.func, function.args, function.keywords), "a partial"))
        elif isinstance(function, MethodType):
            self._waiting += [(function.__self__, "self"), (function.__func__, "a method")]
        elif hasattr(function, "__wrapped__"):
            self._waiting.append((function.__wrapped__, "a function"))
        elif not isinstance(function, FunctionType):
            self._waiting.append((function, "the step"))
        elif root or not _is_foreign(function):
            code = function.__code__
            for name, cell in zip(code.co_freevars, function.__closure__ or ()):
                self._enter(name, cell, None, cell.cell_contents)
            instructions = list(_instructions(code))
            self._spelled.update(i.argval for i in instructions if i.opname in _LOAD_ATTRIBUTE)
            for name in {i.argval for i in instructions if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}:
                self._spelled.add(name)
                if name in function.__globals__:
                    self._enter(name, function.__globals__, name, function.__globals__[name])
            self._waiting.append((function.__defaults__, f"a default of {function.__name__}"))
            self._waiting.append((function.__kwdefaults__, f"a default of {function.__name__}"))

    def _container(self, value: Any, name: str) -> None:
        changes = not isinstance(value, (tuple, frozenset))
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        if changes:
            self._holders.append((name, value))
        if changes and all(isinstance(below, _PLAIN) for _, below in items):
            self.plain.append((name, value))
            return
        for key, below in items:
            if type(key) in _PLAIN and not isinstance(value, (set, frozenset)):
                self._enter(f"{name}[{key!r}]", value, key, below, changes)
            else:
                self._waiting.append((below, name))

    def _object(self, value: Any, name: str) -> None:
        """The attributes of an object, and of its class: those that the code spells, of a library's class no others."""
        foreign = _is_foreign(type(value)) and not isinstance(value, (Module, Optimizer))
        every = not foreign and not {"getattr", "vars", "__dict__"}.isdisjoint(self._spelled)
        held = getattr(value, "__dict__", None)
        if isinstance(value, Module):
            self.modules.append(value)
        if isinstance(held, dict):
            if not foreign:
                self._holders.append((name, held))
            for key, below in held.items():
                used = every or key in self._spelled
                if (used or not foreign) and not (isinstance(value, Optimizer) and key in _OF_TRACE):
                    self._enter(f"{name}.{key}", held, key, below, used and not isinstance(value, Module))
        for cls in type(value).__mro__:
            if not _is_foreign(cls):
                self._names_of(cls, type(value).__name__)
                for key in vars(cls).get("__slots__", ()):
                    if hasattr(value, key):
                        self._enter(f"{name}.{key}", value, key, getattr(value, key))

    def _names_of(self, owner: Any, name: str) -> None:
        """What is used of a class or a module of the user's: methods, functions, numbers."""
        for key, value in list(vars(owner).items()):
            if key in self._spelled or key == "__call__":
                self._enter(f"{name}.{key}", vars(owner), key, value)

    def _enter(self, name: str, place: Any, key: Any, value: Any, relied_on: bool = True) -> None:
        self.entries.append(Entry(name, place, key, value, relied_on))
        self._waiting.append((value, name))

    # -- what it means --

    def paths(self) -> dict[Node, str]:
        """Tensors by where they are found: a dotted path in a module, or the name of a variable."""
        found: dict[Node, str] = {}
        for module in self.modules:
            found |= {value: path for path, value in module._tensors().items() if value not in found}
        return {entry.value: entry.name for entry in self.entries if isinstance(entry.value, Node)} | found

    def containers(self) -> Iterator[tuple[str, Any]]:
        """What can grow and holds more than plain values, with its name; objects' attributes are not among them."""
        others = {id(vars(module)) for module in self.modules} | {id(held) for _, held in self.plain}
        others |= {id(entry.place) for entry in self.entries if entry.name.endswith(f".{entry.key}")}
        return ((name, held) for name, held in self._holders if id(held) not in others)

    def _look_inside(self) -> list[Any]:
        """The attributes of the modules, in an order that stays."""
        return [x for module in self.modules for x in (module.training, *vars(module).values())]

    def inside_holds(self) -> bool:
        """Whether the attributes of the modules are what they were when this was made."""
        return _are_same(self._look_inside(), self.inside)

    @contextmanager
    def watched(self, stand_in: Callable[[ndarray[Any, Any]], Any]) -> Iterator[None]:
        """Within the block arrays are replaced by their stand-ins, and nothing else may change.

        What has changed is put back, and refused.
        """
        kept = [_Kept(name, held) for name, held in self._holders]
        drawn = [_Drawn(g) for g in (random, np.random, *self._generators)]
        now: dict[Entry, Any] = {}
        changed: list[str] = []
        with ExitStack() as undo:
            undo.callback(lambda: changed.extend(k.name for k in kept if k.put_back()))
            undo.callback(lambda: changed.extend(self._put_back(now)))
            for array in sorted(self._arrays, key=lambda x: x.base is None):  # back in the other order: bases first
                if array.flags.writeable:
                    array.flags.writeable = False
                    undo.callback(setattr, array.flags, "writeable", True)
            for entry in self.entries:
                if entry.is_replaceable and (
                    entry.value is _default_rng or (_is_array(entry.value) and not entry.by_content)
                ):
                    now[entry] = _new_generator if entry.value is _default_rng else stand_in(entry.value)
                    entry.replace(now[entry])
            undo.callback(setattr, np.random, "default_rng", _default_rng)
            np.random.default_rng = _new_generator  # type: ignore[assignment]
            try:
                yield
            except ValueError as error:
                if "read-only" not in str(error):
                    raise
                raise CompileError(
                    "compile: the step writes into an array that belongs to no tensor and no optimizer. "
                    "Keep it in a bp.Tensor, or call the step without compiling it."
                ) from error
        own_draws = [g for g in drawn if g.put_back()]
        if changed:
            raise CompileError(
                f"compile: the step changes '{changed[0]}', which a replay would not repeat. Keep it in a bp.Tensor, "
                "or change it outside of the step."
            )
        if own_draws:
            raise CompileError(_OWN_DRAWS)

    def _put_back(self, now: dict[Entry, Any]) -> list[str]:
        """Undo what the step, and the stand-ins, have changed of the entries; the names of what the step changed."""
        changed = []
        for entry in self.entries:
            found = _read(entry)
            if not _are_same([found], [now.get(entry, entry.value)]):
                changed.append(entry.name)
            if found is not entry.value and entry.is_replaceable:
                entry.replace(entry.value)
        return changed


_default_rng = np.random.default_rng


def _new_generator(*args: Any) -> np.random.Generator:
    """In the place of np.random.default_rng, while a step is recorded."""
    if in_recording() and not sys._getframe(1).f_globals["__name__"].startswith("tinygrad_bp."):
        raise CompileError(_OWN_DRAWS)
    return _default_rng(*args)


class _Kept:
    """A list, dict, set or deque as it is now, and how to make it so again."""

    def __init__(self, name: str, held: Any) -> None:
        self.name, self._held, self._before = name, held, held.copy()

    def put_back(self) -> bool:
        """Undo what has changed; whether anything had."""
        held, before = self._held, self._before
        if isinstance(held, dict):
            same = list(held) == list(before) and _are_same(list(held.values()), list(before.values()))
            missing = [key for key in {**held, **before} if held.get(key) is not before.get(key)]
            self.name += f".{missing[0]}" if missing and isinstance(missing[0], str) else ""
        else:
            same = held == before if isinstance(held, set) else _are_same(list(held), list(before))
        if not same:
            held.clear()
            (held.update if isinstance(held, (dict, set)) else held.extend)(before)
        return not same


class _Drawn:
    """The state of Python's generator, NumPy's global one, or any other."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._before = self._read()

    def _read(self) -> Any:
        if self._generator is np.random:
            return np.random.get_state() if "numpy.random" in sys.modules else None
        bit = getattr(self._generator, "bit_generator", None)
        return self._generator.getstate() if bit is None else bit.state

    def put_back(self) -> bool:
        """Undo what was drawn; whether anything was."""
        if pickle.dumps(self._read()) == pickle.dumps(self._before):
            return False
        if self._generator is np.random:
            np.random.set_state(self._before)
        elif hasattr(self._generator, "bit_generator"):
            self._generator.bit_generator.state = self._before
        else:
            self._generator.setstate(self._before)
        return True


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """The instructions of a function and of the functions inside it."""
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)


def _is_array(x: Any) -> bool:
    return type(x) is ndarray and x.dtype.kind in "fiub" and x.dtype.itemsize <= 8


def _are_same(now: list[Any], before: list[Any]) -> bool:
    """Whether these are the same objects, or equal plain values, in the same order."""
    return len(now) == len(before) and all(
        x is y or (type(x) is type(y) and isinstance(x, _PLAIN) and bool(x == y)) for x, y in zip(now, before)
    )


def _read(entry: Entry) -> Any:
    place, key = entry.place, entry.key
    if isinstance(place, CellType):
        return place.cell_contents
    if isinstance(place, (list, tuple, deque)):
        return place[key] if key < len(place) else None
    return place.get(key) if hasattr(place, "get") else getattr(place, key, None)
