"""The closed lists that `type` and `name` of a document choose from, and what is added to them.

They hold the public classes of `bp.nn` and `bp.optim` and the data sources. What is yours comes in by `register`, in
Python, or by `import_layers`, which the command line calls; never from within a document.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from .. import nn, optim
from ..data.sources import SOURCES
from ..nn import losses
from ..optim import lr_scheduler
from ..training.metrics import METRICS, Metric
from .arguments import REQUIRED, parameters, wanted
from .mistakes import at, nearest, one_line

__all__ = ["DATA", "LAYERS", "LOSSES", "OPTIMIZERS", "SCHEDULES", "import_layers", "register"]


def _classes(package: Any, base: type) -> dict[str, Any]:
    found = {name: getattr(package, name) for name in package.__all__}
    return {name: made for name, made in found.items() if inspect.isclass(made) and issubclass(made, base)}


def _can_be_given(make: Callable[..., Any]) -> bool:
    """Whether a document has a word for every argument without a default, after the first."""
    return all(wanted(a.hint) for a in parameters(make, given=1).values() if a.default is REQUIRED)


LOSSES: dict[str, Any] = _classes(losses, nn.Module)
LAYERS = {name: made for name, made in _classes(nn, nn.Module).items() if name not in {"Module", *LOSSES}}
OPTIMIZERS = {name: made for name, made in _classes(optim, optim.Optimizer).items() if name != "Optimizer"}
_SCHEDULES = _classes(lr_scheduler, lr_scheduler.LRScheduler)
SCHEDULES = {name: made for name, made in _SCHEDULES.items() if name != "LRScheduler" and _can_be_given(made)}
DATA = SOURCES

_KINDS: dict[str, tuple[dict[str, Any], type | None]] = {
    "layer": (LAYERS, nn.Module),
    "loss": (LOSSES, nn.Module),
    "optimizer": (OPTIMIZERS, optim.Optimizer),
    "schedule": (SCHEDULES, lr_scheduler.LRScheduler),
    "data": (DATA, None),
    "metric": (METRICS, Metric),
}
"""Each kind with its registry and the class that its members are made from; those of data are functions."""

Made = TypeVar("Made", bound=Callable[..., Any])


def register(made: Made, kind: str | None = None) -> Made:
    """Documents can name `made`; returned as it is, so that this is a decorator too.

    Parameters
    ----------
    made
        A class made from Module, Optimizer or LRScheduler, or a function with an argument `seed` that returns
        :class:`~tinygrad_bp.data.sources.Parts`: its arguments become keys. Or a
        :class:`~tinygrad_bp.training.metrics.Metric`, or a function of outputs and targets, as a metric.
    kind
        "loss" for a loss, which else is a layer; "data" or "metric" for a function.

    Raises
    ------
    ValueError
        The name is taken by another object; a kind that is none.
    TypeError
        `made` is not of this kind, or of none.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> @bp.register
    ... class Scale(bp.nn.Module):
    ...     def __init__(self, factor: float = 2.0):
    ...         self.factor = factor
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> bp.from_spec({"format": 1, "model": {"type": "Scale", "factor": 0.5}})
    Scale(factor=0.5)
    >>> del bp.spec.LAYERS["Scale"]  # and no longer
    """
    if kind is not None and kind not in _KINDS:
        raise ValueError(f"register: kind is {kind!r}. Choose from {', '.join(_KINDS)}.")
    found = [kind] if kind else [each for each in _KINDS if not inspect.isfunction(made) and _fits(made, each)]
    member: Any = made() if inspect.isclass(made) and issubclass(made, Metric) else made
    name = member.name if isinstance(member, Metric) else getattr(made, "__name__", type(made).__name__)
    if not found or not _fits(made, found[0]):
        raise TypeError(
            f"register: {name} is no {found[0] if found else 'layer, optimizer, schedule or metric'}. Pass a class "
            'made from Module, Optimizer, LRScheduler or Metric, or a function and its kind: "data", with an argument '
            'seed, or "metric".'
        )
    registry = _KINDS[found[0]][0]
    if _full_name(registry.get(name, member)) != _full_name(member):
        raise ValueError(f"register: {name} is the name of {_full_name(registry[name])} already. Choose another.")
    registry[name] = member
    return made


def _fits(made: Any, kind: str) -> bool:
    base = _KINDS[kind][1]
    if inspect.isfunction(made):
        return kind == "metric" or (kind == "data" and "seed" in inspect.signature(made).parameters)
    is_class = base is not None and inspect.isclass(made) and issubclass(made, base)
    return is_class or (kind == "metric" and isinstance(made, Metric))


def _full_name(member: Any) -> str:
    """Equal for the same definition, run again."""
    definition = member if hasattr(member, "__qualname__") else type(member)
    return f"{definition.__module__}.{definition.__qualname__}"


# ---- layers of others ----------------------------------------------------------------------------------------------


def import_layers(name: str | os.PathLike[str]) -> ModuleType:
    """Import a module, on the path or in the current folder, or a .py file, and register the layers defined in it.

    Those are its public classes made from Module, beside what the module registers itself. Importing it twice is no
    conflict.

    Raises
    ------
    FileNotFoundError
        There is no such module or file.
    ValueError
        It does not run: the message, one line, has its file and line. Or a name is taken.
    """
    text = os.fspath(name)
    module = _from_file(text) if text.endswith(".py") else _by_name(text)
    known = [made for registry, _ in _KINDS.values() for made in registry.values()]
    for key, made in list(vars(module).items()):
        layer = inspect.isclass(made) and issubclass(made, nn.Module) and made.__module__ == module.__name__
        if layer and not key.startswith("_") and not any(made is one for one in known):
            with at(f"import {text}"):
                register(made)
    return module


def _from_file(text: str) -> ModuleType:
    path = Path(text).resolve()
    if not path.is_file():
        near = nearest(path.name, [file.name for file in path.parent.glob("*.py")])
        raise FileNotFoundError(f"import {text}: there is no such file.{near}")
    there = sys.modules.get(path.stem)
    if there is not None and getattr(there, "__file__", None) == str(path):
        return there
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if there is not None or spec is None or spec.loader is None:
        raise ValueError(f"import {text}: there is a module {path.stem} already. Give the file another name.")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[path.stem]
        raise _failed(text, error) from error
    return module


def _by_name(text: str) -> ModuleType:
    here = os.getcwd()
    if not all(part.isidentifier() for part in text.split(".")):
        raise FileNotFoundError(f"import {text}: there is no such module. Name a module or a .py file.")
    added = [] if here in sys.path else [here]
    sys.path += added
    try:
        return importlib.import_module(text)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{text}.".startswith(f"{error.name}."):
            near = nearest(text, [file.stem for file in Path(here).glob("*.py")])
            raise FileNotFoundError(f"import {text}: there is no such module.{near}") from error
        raise _failed(text, error) from error
    finally:
        for folder in added:
            sys.path.remove(folder)


def _failed(text: str, error: BaseException) -> ValueError:
    """What went wrong in a module, with the last of its own lines that was run."""
    file, line = getattr(error, "filename", None), getattr(error, "lineno", None)
    if not isinstance(error, SyntaxError):
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        others = [each for each in frames if each[0] not in (__file__, importlib.__file__) and each[0][0] != "<"]
        file, line = [each for each in others if each[0] == others[0][0]][-1]
    what = error.msg if isinstance(error, SyntaxError) else one_line(error)
    return ValueError(f"import {text}: {file}:{line}: {type(error).__name__}: {what}")
