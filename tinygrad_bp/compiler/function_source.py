"""Python functions as text that stands alone: the source of a function, after that of whatever it uses.

:class:`Functions` collects what a printed program calls. NumPy's functions are called by their public name; others are
printed as they were written, after the module's functions and constants they use, under names of their own.
Annotations are kept, so the text needs ``from __future__ import annotations``. What has no source that could stand
alone (a lambda, a closure, a method, a class) is refused with a :class:`~tinygrad_bp.compiler.plan.CompileError`.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

import numpy as np

from .plan import CompileError

__all__ = ["Functions", "Text"]

_ABSENT = object()


class Text(str):
    """Text that is written as it is, not as a string in quotes."""


class Functions:
    """What a program is going to call, and the text that defines it, under names that are not `reserved`.

    Names in `ufuncs` are kept for NumPy's functions of that name.

    Examples
    --------
    >>> functions = Functions()
    >>> functions.expression((np.linalg.norm, np.float32, -math.inf, slice(1, None)))
    '(np.linalg.norm, np.float32, -np.inf, slice(1, None, None))'
    >>> functions.texts
    []
    """

    def __init__(self, reserved: Iterable[str] = ("np",), ufuncs: Iterable[str] = ()) -> None:
        self.imports: list[str] = []
        """Lines that import what is not NumPy's."""
        self.constants: list[str] = []
        self.texts: list[str] = []
        """The functions, each after those it uses."""
        self.names = set(reserved)
        """What the parts define, and what is reserved."""
        self.numpy = set(ufuncs)
        """Names that mean NumPy's functions, of which are used:"""
        self.imported: set[str] = set()
        self._defined: dict[tuple[str, str], str] = {}
        self._printed: dict[Any, str] = {}

    def can_import(self, name: str) -> bool:
        """Whether the function of NumPy's can be imported by its name; if so, it is."""
        if name in self.names or hasattr(builtins, name):
            return False
        self.numpy.add(name)
        self.imported.add(name)
        return True

    def called(self, function: Any) -> str:
        """The name by which to call a function; NumPy's best known are imported."""
        name = self.expression(function)
        return name[3:] if name.count(".") == 1 and self.can_import(name[3:]) else name

    def expression(self, x: Any) -> str:
        """Python's text for a constant: a number, string, dtype or function, or tuples, lists and dicts of them."""
        if isinstance(x, Text):
            return x
        if type(x) in (tuple, list):
            parts = ", ".join(map(self.expression, x))
            return f"[{parts}]" if type(x) is list else f"({parts},)" if len(x) == 1 else f"({parts})"
        if type(x) is dict:
            return (
                "{" + ", ".join(f"{self.expression(key)}: {self.expression(below)}" for key, below in x.items()) + "}"
            )
        if type(x) is slice:
            return f"slice({self.expression(x.start)}, {self.expression(x.stop)}, {self.expression(x.step)})"
        if type(x) is float and not math.isfinite(x):
            return "np.nan" if x != x else "np.inf" if x > 0 else "-np.inf"
        if type(x) is str and '"' not in x:
            return f'"{repr(x)[1:-1]}"'
        if x is None or type(x) in (bool, int, float, complex, str, bytes):
            return repr(x)
        if x is Ellipsis:
            return "..."
        if isinstance(x, np.dtype):
            return f"np.{x.name}" if np.dtype(getattr(np, x.name, object)) == x else f"np.dtype({x.str!r})"
        if isinstance(x, np.generic):
            return f"np.{type(x).__name__}({self.expression(x.item())})"
        if not callable(x):
            raise CompileError(f"compile: {x!r}, a {type(x).__name__}, cannot be written in the source of the step.")
        return _public_name(x) or (x.__name__ if _is_builtin(x) else self._print(x))

    def _print(self, function: Any) -> str:
        """Print a function after what it uses; return its name in the text."""
        function = inspect.unwrap(function)
        if function not in self._printed:
            text, tree = _source(function)
            name = self._printed[function] = self._free(function.__name__)
            called = {function.__name__: name}
            for used, value in _globals(function, tree):
                called[used] = self._define(function, used, value)
            self.texts.append(_renamed(function, text, tree, {old: new for old, new in called.items() if old != new}))
        return self._printed[function]

    def _define(self, user: Any, name: str, value: Any) -> str:
        """Define the global `name` of the function `user`; return its name in the text."""
        public = _public_name(value)
        if value is np and name == "np":
            return name
        if public == f"np.{name}" and self.can_import(name):
            return name
        if isinstance(value, FunctionType) and public is None and not _is_standard(value.__module__):
            return self._print(value)
        if isinstance(value, ModuleType) and _is_standard(value.__name__):
            line = f"import {value.__name__} as {{}}"
        elif public is not None:
            line = f"{{}} = {public}"
        elif callable(value):
            module, own = getattr(value, "__module__", None), getattr(value, "__name__", "")
            if not _is_standard(module) or getattr(import_module(str(module)), own, None) is not value:
                _refuse(user, f"it uses {name}, which is no plain function")
            line = f"from {module} import {own} as {{}}"
        elif _is_constant(value):
            line = "{} = " + self.expression(value).replace("{", "{{").replace("}", "}}")
        else:
            _refuse(user, f"it uses {name}, a {type(value).__name__}")
        if (name, line) not in self._defined:
            called = self._defined[name, line] = self._free(name)
            lines = self.constants if line.startswith("{}") else self.imports
            lines.append(re.sub(r"(\w+) as \1$", r"\1", line.format(called)))
        return self._defined[name, line]

    def _free(self, name: str) -> str:
        free = name
        while free in self.names or free in self.numpy or hasattr(builtins, free):
            free = f"{name}_{len(self.names)}"
        self.names.add(free)
        return free


def _public_name(x: Any) -> str | None:
    """How NumPy's users call it, "np.linalg.norm"; None for what is not NumPy's."""
    ufunc, name = getattr(x, "__self__", None), getattr(x, "__name__", "")
    if isinstance(ufunc, np.ufunc):
        return f"np.{ufunc.__name__}.{name}"
    module = "numpy" if isinstance(x, np.ufunc) else getattr(x, "__module__", None)  # until NumPy 2.1 they had none
    path = str(module).split(".")
    if path[0] == "numpy":
        for way in ([*path[1:], name], [name]):
            found: Any = np
            for part in way:
                found = getattr(found, part, None)
            if found is x:
                return ".".join(["np", *way])
    return None


def _is_builtin(x: Any) -> bool:
    return getattr(builtins, getattr(x, "__name__", ""), _ABSENT) is x


def _is_standard(module: Any) -> bool:
    """Whether it is there wherever the text is to run."""
    return str(module).partition(".")[0] in sys.stdlib_module_names | {"numpy"}


def _is_constant(x: Any) -> bool:
    if type(x) is tuple:
        return all(map(_is_constant, x))
    return x is None or type(x) in (bool, int, float, complex, str, bytes) or isinstance(x, (np.generic, np.dtype))


def _refuse(function: Any, why: str) -> NoReturn:
    name = getattr(function, "__qualname__", None) or repr(function)
    raise CompileError(
        f"compile: {name} cannot be printed with the step: {why}. Write it with def at the top of a module, using "
        "nothing but NumPy, numbers and functions like it."
    )


def _source(function: Any) -> tuple[str, ast.FunctionDef]:
    """The text of a function from ``def`` on, and its syntax tree."""
    if not isinstance(function, FunctionType):
        _refuse(function, f"it is a {type(function).__name__}")
    if function.__name__ == "<lambda>":
        _refuse(function, f"it is the lambda of line {function.__code__.co_firstlineno} of {function.__module__}")
    if function.__code__.co_freevars:
        _refuse(function, f"it uses {', '.join(function.__code__.co_freevars)} of the function around it")
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        _refuse(function, "its source is not to be found")
    (tree,) = ast.parse(text).body
    if not isinstance(tree, ast.FunctionDef):
        _refuse(function, f"it is a {type(tree).__name__}")
    decorators = [name for name in map(ast.unparse, tree.decorator_list) if name not in ("kernel", "value_check")]
    if decorators:
        _refuse(function, f"it is decorated with {', '.join(decorators)}")
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if not all(map(_is_standard, modules)):
                _refuse(function, f"it imports {', '.join(map(str, modules))}")
    return "\n".join(text.rstrip().split("\n")[tree.lineno - 1 :]), tree


def _globals(function: Any, tree: ast.FunctionDef) -> Iterator[tuple[str, Any]]:
    """What a function finds outside of itself: (name, value), without what is built in."""
    defaults = [*tree.args.defaults, *(x for x in tree.args.kw_defaults if x is not None)]
    names = {node.id: None for default in defaults for node in ast.walk(default) if isinstance(node, ast.Name)}
    names |= dict.fromkeys(_global_names(function, function.__code__))
    for name in names:
        if name in function.__globals__:
            yield name, function.__globals__[name]
        elif not hasattr(builtins, name):
            _refuse(function, f"it uses {name}, which its module does not define")


def _global_names(function: Any, code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            _refuse(function, f"it writes the global {instruction.argval}")
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(function, constant)


def _renamed(function: Any, text: str, tree: ast.FunctionDef, new: dict[str, str]) -> str:
    """The text of a function with other names for globals and for itself."""
    lines = [line.encode() for line in text.split("\n")]
    if tree.name in new:
        lines[0] = lines[0].replace(tree.name.encode(), new[tree.name].encode(), 1)
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.arg in new:
            _refuse(function, f"it uses the name {node.arg} for two things")
        if isinstance(node, ast.Name) and node.id in new:
            if not isinstance(node.ctx, ast.Load):
                _refuse(function, f"it uses the name {node.id} for two things")
            places.append((node.lineno - tree.lineno, node.col_offset, node.id))
    shift = len(new.get(tree.name, tree.name)) - len(tree.name)
    for row, column, name in sorted(places, reverse=True):
        column += shift if row == 0 else 0
        lines[row] = lines[row][:column] + new[name].encode() + lines[row][column + len(name.encode()) :]
    return "\n".join(line.decode() for line in lines)
