"""What ``check TARGET`` names, found and made ready: a list of checks that only need to be run.

A target is ``pkg.mod:NAME`` or ``file.py:NAME``, where NAME is a function of Tensors, a row, a layer, or a class or
factory of layers, with its arguments in brackets: ``NAME(3, 4)``. A document stands for its model with its loss on a
mini-batch of its data, and for each of its layers. Finding a target imports its module, so it runs the code there. All
that can be wrong with a target is an ImportError, OSError, TypeError or ValueError of one line.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..nn.module import Module, Sequential
from ..random import manual_seed
from ..recipe import Op, no_grad
from ..spec import Experiment
from .cases import is_found_again, load_case
from .checks import check_backprop, check_layer, gradcheck
from .domains import OURS, Draw, call_of
from .report import Report

__all__ = ["Check", "every_check", "loaded_check", "named_checks", "plain_check"]

Options = dict[str, Any]
EMPTY = inspect.Parameter.empty


class Check(NamedTuple):
    """One thing to check, by the name it has in a table."""

    name: str
    run: Callable[[], Report]


def named_checks(target: str, arguments: str | None, shapes: Sequence[str], seed: int, options: Options) -> list[Check]:
    """The checks of a document, or the one of ``module:NAME`` or ``file.py:NAME``.

    Parameters
    ----------
    arguments
        Of the class or factory: ``"3, 4"``.
    shapes
        Of its inputs: ``"4x3"`` in order, ``"x=4x3"`` by name, ``"x="`` for a number. Of our own rows and layers none
        is needed.
    seed
        Of parameters and inputs.
    options
        Of the check.
    """
    manual_seed(seed)
    if target.endswith((".toml", ".json")):
        if arguments is not None or shapes:
            raise ValueError("check: a document has its own model and data. Leave --args and --input out.")
        return _of_document(target, options)
    source, name, inside = _split(target)
    arguments = inside if arguments is None else arguments
    thing = _found(source, name)
    known = isinstance(thing, Op) or any(thing is ours for ours in OURS.values())
    if known and arguments is None and not shapes:
        thing, inputs = call_of(thing, seed)
    else:
        thing = _made(thing, source, name, arguments)
        inputs = _inputs(thing.forward if isinstance(thing, Module) else thing, name, shapes, seed)
    return [_check(name, thing, inputs, options)]


def plain_check(target: str, shapes: Sequence[str], seed: int, options: Options) -> Check:
    """The check of ``module:forward,backward``, NumPy code written by hand."""
    source, _, names = target.rpartition(":")
    if not source or names.count(",") != 1:
        raise ValueError(f"check: --plain {target} does not name two functions. Write module:forward,backward.")
    forward, backward = (_made(_found(source, name), source, name, None) for name in names.split(","))
    inputs = _inputs(forward, names.split(",")[0], shapes, seed)
    return Check(names, partial(check_backprop, forward, backward, *inputs, **options))


def loaded_check(path: str) -> Check:
    """The check that a report has saved."""
    case = load_case(path)
    for target in case.targets:
        if not is_found_again(target):
            what = f"check: {target} is a lambda, a local function or a layer without a name"
            raise ValueError(f"{what}. Define it at the top of a module and save the report again.")
    parts = [_split(target) for target in case.targets]
    things = [_made(_found(source, name), source, name, arguments) for source, name, arguments in parts]
    inputs = dict(case.inputs)
    for name, parameter in things[0].named_parameters() if case.kind == "layer" else ():
        value = inputs.pop(name, None)
        if np.shape(value) != parameter.shape:
            what = f"check: {name} of {case.targets[0]} has shape {parameter.shape}, in {path} {np.shape(value)}"
            raise ValueError(f"{what}. Save the report again.")
        parameter.data[...] = value
    check: Any = {"function": gradcheck, "backprop": check_backprop, "layer": check_layer}[case.kind]
    return Check(path, partial(check, *things, *inputs.values(), **case.options))


def every_check(seed: int, options: Options) -> list[Check]:
    """A check of each row of the table that has a derivative, and of each layer of ours."""
    manual_seed(seed)
    checked = {name: thing for name, thing in OURS.items() if getattr(thing, "differentiable", True)}
    return [_check(name, *call_of(thing, seed), options) for name, thing in checked.items()]


def _check(name: str, thing: Any, inputs: Sequence[Any], options: Options) -> Check:
    check: Any = check_layer if isinstance(thing, Module) else gradcheck
    return Check(name, partial(check, thing, *inputs, **options))


class _Cost(Module):
    """The loss of a model, as a layer."""

    def __init__(self, model: Module, loss: Module) -> None:
        self.model, self.loss = model, loss

    def forward(self, input: Any, target: Any) -> Any:
        return self.loss(self.model(input), target)


def _of_document(path: str, options: Options) -> list[Check]:
    experiment = Experiment.from_spec(path)
    x, y = next(iter(experiment.loader))
    checks = [_check("model and loss", _Cost(experiment.model, experiment.loss), (x, y), options)]
    model = experiment.model
    for k, layer in enumerate(model if isinstance(model, Sequential) else ()):
        if hasattr(x, "shape"):  # behind a recurrent layer there are its states too
            name = repr(layer) if "\n" not in repr(layer) else type(layer).__name__
            checks.append(_check(f"{k}: {name}", layer, (x,), options))
        with no_grad():
            x = layer(x)
    return checks


# ---- finding -------------------------------------------------------------------------------------------------------

_TARGET = re.compile(r"(?P<source>.+?):(?P<name>[^():/\\]+)(\((?P<arguments>.*)\))?", re.DOTALL)


def _split(target: str) -> tuple[str, str, str | None]:
    match = _TARGET.fullmatch(target)
    if match is None:
        raise ValueError(f"check: {target!r} names nothing. Write pkg.mod:NAME, file.py:NAME or a .toml or .json file.")
    return match["source"], match["name"], match["arguments"]


def _found(source: str, name: str) -> Any:
    """The object of that dotted name in a module or file."""
    thing: Any = _module(source)
    for part in name.split("."):
        if not hasattr(thing, part):
            raise ValueError(f"check: {source} has no {name!r}.{_near(part, dir(thing)) or ' Name what it defines.'}")
        thing = getattr(thing, part)
    return thing


def _module(source: str) -> ModuleType:
    """A module by its name, looked for where Python does and in the current folder, or by its file."""
    path = Path(source).resolve() if source.endswith(".py") else None
    if path and not path.is_file():
        near = _near(path.name, [file.name for file in path.parent.glob("*.py")])
        raise FileNotFoundError(f"check: there is no file {source}.{near or ' Check the path.'}")
    folder = str(path.parent) if path else os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _executed(str(path)) if path else importlib.import_module(source)
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and f"{source}.".startswith(f"{missing}."):
            parent, _, last = missing.rpartition(".")
            beside = pkgutil.iter_modules(getattr(sys.modules.get(parent), "__path__", None))
            near = _near(last, [module.name for module in beside]) or " Name it from this folder, or name its file."
            raise ImportError(f"check: there is no module {missing}.{near}") from error
        raise ImportError(f"check: importing {source} raised {_words(error)}. Mend it, or name another.") from error


def _executed(path: str) -> ModuleType:
    """A file as a module; its name is the path, so that ``__module__`` leads back to the file."""
    if path not in sys.modules:
        module = sys.modules[path] = ModuleType(path)
        module.__file__ = path
        try:
            SourceFileLoader(path, path).exec_module(module)
        except BaseException:
            del sys.modules[path]
            raise
    return sys.modules[path]


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": .")


def _near(word: str, choices: Collection[str]) -> str:
    near = difflib.get_close_matches(word, choices, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


# ---- making --------------------------------------------------------------------------------------------------------


def _made(thing: Any, source: str, name: str, arguments: str | None) -> Any:
    """What a class, or a function that takes nothing or is given `arguments`, makes; anything else as it is."""
    if arguments is None and not (
        isinstance(thing, type) or (inspect.isfunction(thing) and not _parameters(thing, name))
    ):
        made = thing
    else:
        call = f"{name}({arguments or ''})"
        try:
            made = thing(*ast.literal_eval(f"({arguments},)" if arguments else "()"))
        except Exception as error:
            raise ValueError(f"check: {call} raised {_words(error)}. Give its arguments with --args '3, 4'.") from error
        if isinstance(made, Module):
            made._made_by = f"{Path(source).resolve() if source.endswith('.py') else source}:{call}"
    if not callable(made):
        what = f"check: {source}:{name} {'is' if made is thing else 'makes'} a {type(made).__name__}"
        raise TypeError(f"{what}. Name a function, a row, a layer, or what makes a layer.")
    return made


# ---- inputs --------------------------------------------------------------------------------------------------------


def _inputs(function: Any, name: str, shapes: Sequence[str], seed: int) -> list[Any]:
    """Random arrays of these shapes, in the order of the arguments of a function."""
    parameters = _parameters(function, name)
    given: dict[str, tuple[int, ...]] = {}
    for text in shapes:
        argument, _, shape = text.rpartition("=")
        argument = argument or next((p for p in parameters if p not in given), "")
        if argument not in parameters or argument in given:
            raise ValueError(f"check: --input {text}: {name} takes {', '.join(parameters)}. Give each one shape.")
        if not re.fullmatch(r"(\d+(x\d+)*)?", shape):
            raise ValueError(f"check: --input {text}: {shape!r} is no shape. Write 4x3, x=4x3, or x= for a number.")
        given[argument] = tuple(map(int, shape.split("x"))) if shape else ()
    for p, default in parameters.items():
        if p not in given and default is EMPTY:
            raise ValueError(f"check: the input {p} of {name} has no shape. Give it: --input {p}=4x3.")
    last = max((k for k, p in enumerate(parameters) if p in given), default=-1)
    draw = Draw(seed)
    named = list(parameters.items())[: last + 1]
    return [draw.input_of(function, k, given[p]) if p in given else default for k, (p, default) in enumerate(named)]


def _parameters(function: Any, name: str) -> dict[str, Any]:
    """The positional arguments with their defaults."""
    if isinstance(function, Op):
        names = getattr(function, "names", None) or [f"input {k}" for k in range(function.arity or 0)]
        return {p: getattr(function, "defaults", {}).get(p, EMPTY) for p in names}
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise TypeError(f"check: {name} does not tell its arguments. Wrap it in a function that names them.") from error
    return {p.name: p.default for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)}
