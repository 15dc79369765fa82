"""What a function refers to beyond its arguments: which of it a recording may rely on, and what it must not change.

A recording is of use as long as the names in the function mean the same objects, and the plain values in those (a
number in a closure, `training` of a layer) are equal. While it is made, none of them may change: a counter that is
increased, a list that is appended to or an array that is written would not be in a replay. Tensors and optimizers are
not looked at here; :mod:`tinygrad_bp.compiler.trace` finds those.
"""

from __future__ import annotations

import dis
import pickle
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..nn.module import Module
from ..optim.optimizers import Optimizer
from ..recipe import Node, Op
from .plan import CompileError

__all__ = ["Surroundings"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_LIBRARIES = ("tinygrad_bp.", "numpy")


class Surroundings:
    """The names a function can see, and what they mean now.

    Attributes
    ----------
    entries
        (where it is, a dict or a cell; its name; what it is).
    modules
        The root of every tree of modules among them.
    holders
        The lists, dicts, sets and deques among them, at any depth, and the ``__dict__`` of every object.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.entries: list[tuple[Any, str, Any]] = []
        self.modules: list[Module] = []
        self.holders: list[tuple[str, Any]] = []
        self._seen: set[int] = set()
        self._function(function)
        self.inside = self._look_inside()

    # -- what is there --

    def _function(self, function: Any) -> None:
        """The closure, globals, defaults and bound object of a function."""
        if isinstance(function, partial):
            for value in (function.func, *function.args, *function.keywords.values()):
                self._object(value)
        elif isinstance(function, MethodType):
            self._object(function.__self__)
            self._function(function.__func__)
        elif isinstance(function, FunctionType):
            if function.__module__ and function.__module__.startswith(_LIBRARIES):
                return
            names = function.__code__.co_freevars
            for name, cell in zip(names, function.__closure__ or ()):
                self._entry(cell, name, cell.cell_contents)
            for name in sorted(set(_names(function.__code__))):
                if name in function.__globals__:
                    self._entry(function.__globals__, name, function.__globals__[name])
            for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
                self._object(value)
        else:
            self._object(function)

    def _entry(self, place: Any, name: str, value: Any) -> None:
        if isinstance(value, (ModuleType, type)):
            return
        self.entries.append((place, name, value))
        self._object(value, name)

    def _object(self, value: Any, name: str = "an object") -> None:
        if id(value) in self._seen or isinstance(value, _PLAIN):
            return
        self._seen.add(id(value))
        if isinstance(value, Module):
            self.modules.append(value)
        elif isinstance(value, (FunctionType, MethodType, partial)):
            self._function(value)
        elif isinstance(value, (Node, Optimizer, Op, np.ndarray, np.random.Generator, ModuleType, type)):
            return
        elif isinstance(value, (list, tuple, dict, set, deque)):
            if not isinstance(value, tuple):
                self.holders.append((name, value))
            for below in value.values() if isinstance(value, dict) else value:
                self._object(below, name)
        elif hasattr(value, "__wrapped__"):
            self._function(value.__wrapped__)
        elif isinstance(getattr(value, "__dict__", None), dict) and not type(value).__module__.startswith(_LIBRARIES):
            self.holders.append((name, vars(value)))
            for attribute, below in vars(value).items():
                self._entry(vars(value), attribute, below)
            if callable(value):
                self._function(type(value).__call__)

    # -- what it means --

    def paths(self) -> dict[Node, str]:
        """Tensors by where they are found: the name of a variable, or a dotted path in a module."""
        found = {value: name for _, name, value in self.entries if isinstance(value, Node)}
        for module in self.modules:
            found |= {value: path for path, value in module._tensors().items() if value not in found}
        return found

    def _look_inside(self) -> list[Any]:
        """What the modules and containers hold, in an order that stays."""
        held: list[Any] = []
        for root in self.modules:
            for module in root.modules():
                held += [module, module.training, *vars(module).values()]
        for _, _, value in self.entries:
            if isinstance(value, (list, dict)):
                held += value.values() if isinstance(value, dict) else value
        return held

    def inside_holds(self) -> bool:
        """Whether modules and containers hold what they held when this was made."""
        return _are_same(self._look_inside(), self.inside)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within the block nothing here may change: what did is put back, and refused."""
        kept = list(self._kept())
        generators = [_Kept("", *_of_generator(g)) for g in self._generators()]
        arrays = [x for x in (*(x for *_, x in self.entries), *self.inside) if isinstance(x, np.ndarray)]
        arrays = [array for array in arrays if array.flags.writeable]
        for array in arrays:
            array.flags.writeable = False
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
            for array in arrays:
                array.flags.writeable = True
            changed = [k.name for k in kept if k.put_back()]
            drawn = [k for k in generators if k.put_back()]
        if changed:
            raise CompileError(
                f"compile: the step changes '{changed[0]}', which a replay would not repeat. Keep it in a bp.Tensor, "
                "or change it outside of the step."
            )
        if drawn:
            raise CompileError(
                "compile: the step draws from a random generator of its own, whose numbers would be the same in every "
                "call. Draw from bp.random.generator(), or outside of the step."
            )

    def _kept(self) -> Iterator[_Kept]:
        for place, name, _ in self.entries:
            if isinstance(place, dict):
                yield _Kept(name, partial(_of_name, place, name), partial(place.__setitem__, name))
            else:
                yield _Kept(name, partial(getattr, place, "cell_contents"), partial(setattr, place, "cell_contents"))
        for name, holder in self.holders:
            yield _Kept(name, partial(dict if isinstance(holder, dict) else list, holder), partial(_refill, holder))
        for root in self.modules:
            for path, module in root.named_modules():
                inside = vars(module)
                yield _Kept(path or type(module).__name__, partial(dict, inside), partial(_refill, inside))

    def _generators(self) -> Iterator[Any]:
        yield random
        if "numpy.random" in sys.modules:
            yield np.random
        yield from (x for x in (*(x for *_, x in self.entries), *self.inside) if isinstance(x, np.random.Generator))


class _Kept:
    """Something as it is now, and how to make it so again."""

    def __init__(self, name: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.name, self._read, self._write, self._before = name, read, write, read()

    def put_back(self) -> bool:
        """Undo what has changed; whether anything had."""
        now, before = self._read(), self._before
        if isinstance(before, dict):
            same = list(now) == list(before) and _are_same(list(now.values()), list(before.values()))
        else:
            same = _are_same(now, before) if isinstance(before, list) else _are_same([now], [before])
        if not same:
            self._write(before)
        return not same


def _of_generator(generator: Any) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """How to read and write the state of Python's, NumPy's global or any other generator."""
    if generator is random:
        return lambda: _Bits(random.getstate()), lambda bits: random.setstate(bits.state)
    if generator is np.random:
        return lambda: _Bits(np.random.get_state()), lambda bits: np.random.set_state(bits.state)
    bit = generator.bit_generator
    return lambda: _Bits(bit.state), lambda bits: setattr(bit, "state", bits.state)


class _Bits:
    """The state of a generator, equal to another by its bytes."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bits) and pickle.dumps(self.state) == pickle.dumps(other.state)


def _names(code: CodeType) -> Iterator[str]:
    """The global names in a function and in the functions inside it."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _are_same(now: list[Any], before: list[Any]) -> bool:
    """Whether these are the same objects, or equal plain values, in the same order."""
    return len(now) == len(before) and all(
        x is y or (type(x) is type(y) and isinstance(x, (*_PLAIN, _Bits)) and bool(x == y)) for x, y in zip(now, before)
    )


def _of_name(place: dict[str, Any], name: str) -> Any:
    return place.get(name)


def _refill(place: Any, before: Any) -> None:
    place.clear()
    place.extend(before) if isinstance(place, (list, deque)) else place.update(before)
