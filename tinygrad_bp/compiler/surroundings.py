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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy import ndarray

from ..nn.module import Module
from ..optim.optimizers import Optimizer
from ..recipe import Node, Op
from .plan import CompileError
from .trace import in_recording

__all__ = ["Entry", "Surroundings"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_LIBRARIES = {"tinygrad_bp", "numpy", "builtins"}
_OPEN = (Module, Optimizer, SimpleNamespace)  # and argparse.Namespace: libraries' classes for what users put in
_STDLIB = sysconfig.get_path("stdlib")
_SHORT = 100  # entries of an array of integers that may decide what is done
_OWN_DRAWS = (
    "compile: the step draws from a random generator of its own, whose numbers would be the same in every call. "
    "Draw from bp.random.generator(), or outside of the step."
)
_OF_TRACE = {"state", "param_groups", "defaults"}  # of an optimizer: seen when it is used


def _is_foreign(x: Any) -> bool:
    """Whether a class, function or module belongs to a library, which does not change."""
    name = (x.__name__ if isinstance(x, ModuleType) else getattr(x, "__module__", None)) or ""
    root = name.partition(".")[0]
    if root not in sys.stdlib_module_names:
        return root in _LIBRARIES
    file = getattr(sys.modules.get(root), "__file__", None)  # a file of the user's may be called sched.py
    return file is None or file.startswith(_STDLIB)


@dataclass(frozen=True, eq=False)
class Entry:
    """A place that a name leads to, and what is there: in a cell, a dict or a list, of a class, or in a slot."""

    name: str
    place: Any
    key: Any
    value: Any
    relied_on: bool = True

    @property
    def text(self) -> str:
        """The expression that reads it, with {} for the place."""
        if isinstance(self.place, CellType):
            return "{}.cell_contents"
        if isinstance(self.place, list):
            return f"{{}}[{self.key}]"
        return f"{{}}.get({self.key!r})" if hasattr(self.place, "get") else f"{{}}.{self.key}"

    @property
    def by_content(self) -> bool:
        """Whether it is a short array of integers or bools: an index, lengths; such numbers may decide what is done."""
        return _is_array(self.value) and self.value.dtype.kind in "iub" and self.value.size <= _SHORT

    def replace(self, value: Any) -> bool:
        """Put another value there, if that can be done."""
        if isinstance(self.place, CellType):
            self.place.cell_contents = value
        elif isinstance(self.place, (list, dict)):
            self.place[self.key] = value
        else:
            return False
        return True


class Surroundings:
    """The names that a function and the objects among its arguments can see, and what they mean now.

    Attributes
    ----------
    entries
        Every place that is relied on.
    plain
        The lists, dicts, sets and deques of nothing but plain values.
    modules
        The modules among them, each before those inside it.
    """

    def __init__(self, function: Callable[..., Any], arguments: Any = ()) -> None:
        self._attributes: set[str] = {"forward", "update", "step"}
        known = -1
        while known != len(self._attributes):  # which methods are used is known when all functions have been seen
            known = len(self._attributes)
            self.entries: list[Entry] = []
            self.modules: list[Module] = []
            self.plain: list[Any] = []
            self._holders: list[tuple[str, Any]] = []
            self._arrays: list[ndarray[Any, Any]] = []
            self._generators: list[Any] = []
            self._seen: set[int] = set()
            self._function(function, root=True)
            self._walk(arguments, "an argument")
        self.inside = self._look_inside()

    # -- what is there --

    def _walk(self, value: Any, name: str) -> None:
        if id(value) in self._seen or isinstance(value, (*_PLAIN, Node)):
            return
        self._seen.add(id(value))
        if isinstance(value, Op):
            self._walk((value.forward, value.partials, value.joint), name)
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
            raise CompileError(
                f"compile: the step uses '{name}', a {type(value).__name__}, which a replay would not advance. "
                "Pass what it gives as an argument."
            )
        elif isinstance(value, _OPEN) or type(value).__name__ == "Namespace" or not _is_foreign(type(value)):
            self._object(value, name)

    def _function(self, function: Any, root: bool = False) -> None:
        """The closure, globals, defaults and bound object of a function; libraries' functions do not change."""
        if isinstance(function, partial):
            self._walk((function.func, function.args, function.keywords), "a partial")
        elif isinstance(function, MethodType):
            self._walk(function.__self__, "self")
            self._walk(function.__func__, "a method")
        elif hasattr(function, "__wrapped__"):
            self._walk(function.__wrapped__, "a function")
        elif not isinstance(function, FunctionType):
            self._walk(function, "an object")
        elif root or not _is_foreign(function):
            code = function.__code__
            for name, cell in zip(code.co_freevars, function.__closure__ or ()):
                self._enter(name, cell, None, cell.cell_contents)
            instructions = list(_instructions(code))
            self._attributes.update(i.argval for i in instructions if i.opname in ("LOAD_ATTR", "LOAD_METHOD"))
            for name in {i.argval for i in instructions if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}:
                if name in function.__globals__:
                    self._enter(name, function.__globals__, name, function.__globals__[name])
            for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
                self._walk(value, "a default")

    def _container(self, value: Any, name: str) -> None:
        if isinstance(value, (list, dict, set, deque)):
            self._holders.append((name, value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        if not isinstance(value, (tuple, frozenset)) and all(isinstance(below, _PLAIN) for _, below in items):
            self.plain.append(value)
        elif isinstance(value, (list, dict)):
            for key, below in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(key, _PLAIN):
                    self._enter(f"{name}[{key!r}]", value, key, below)
        else:
            for k, below in enumerate(value):
                self._walk(below, f"{name}[{k}]")

    def _object(self, value: Any, name: str) -> None:
        """The attributes of an object, and of its class."""
        held = getattr(value, "__dict__", {})
        if isinstance(value, Module):
            self.modules.append(value)
        self._holders.append((name, held))
        for key, below in held.items():
            if not (isinstance(value, Optimizer) and key in _OF_TRACE):
                self._enter(f"{name}.{key}", held, key, below, not isinstance(value, Module))
        for cls in type(value).__mro__:
            if not _is_foreign(cls):
                self._names_of(cls, type(value).__name__)
                for key in vars(cls).get("__slots__", ()):
                    if hasattr(value, key):
                        self._enter(f"{name}.{key}", value, key, getattr(value, key))

    def _names_of(self, owner: Any, name: str) -> None:
        """What is used of a class or a module of the user's: methods, functions, numbers."""
        for key, value in list(vars(owner).items()):
            if key in self._attributes or key == "__call__":
                self._enter(f"{name}.{key}", vars(owner), key, value)

    def _enter(self, name: str, place: Any, key: Any, value: Any, relied_on: bool = True) -> None:
        self.entries.append(Entry(name, place, key, value, relied_on))
        self._walk(value, name.rpartition(".")[2] if isinstance(value, Node) else name)

    # -- what it means --

    def paths(self) -> dict[Node, str]:
        """Tensors by where they are found: a dotted path in a module, or the name of a variable."""
        found: dict[Node, str] = {}
        for module in self.modules:
            found |= {value: path for path, value in module._tensors().items() if value not in found}
        return {entry.value: entry.name for entry in self.entries if isinstance(entry.value, Node)} | found

    def lengths(self) -> Iterator[tuple[Any, int]]:
        """What can grow, with its length now; the attributes of modules are looked after in another way."""
        others = {id(vars(module)) for module in self.modules} | {id(held) for held in self.plain}
        return ((held, len(held)) for _, held in self._holders if id(held) not in others)

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
        arrays = [x for x in self._arrays if x.flags.writeable]
        for array in arrays:
            array.flags.writeable = False
        replaced = {e: stand_in(e.value) for e in self.entries if _is_array(e.value) and not e.by_content}
        replaced |= {e: _new_generator for e in self.entries if e.value is _default_rng}
        replaced = {entry: new for entry, new in replaced.items() if entry.replace(new)}
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
        finally:
            changed = [
                entry.name
                for entry in self.entries
                if not _are_same([_read(entry)], [replaced.get(entry, entry.value)])
            ]
            np.random.default_rng = _default_rng
            for entry in self.entries:
                if _read(entry) is not entry.value:
                    entry.replace(entry.value)
            for array in arrays:
                array.flags.writeable = True
            changed += [k.name for k in kept if k.put_back()]
            changed_state = [g for g in drawn if g.put_back()]
        if changed:
            raise CompileError(
                f"compile: the step changes '{changed[0]}', which a replay would not repeat. Keep it in a bp.Tensor, "
                "or change it outside of the step."
            )
        if changed_state:
            raise CompileError(_OWN_DRAWS)


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
            same = len(held) == len(before) and (isinstance(held, set) or _are_same(list(held), list(before)))
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
    if isinstance(place, list):
        return place[key] if key < len(place) else None
    return place.get(key) if hasattr(place, "get") else getattr(place, key, None)
