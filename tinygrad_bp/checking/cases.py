"""A check that can be run again: its inputs in an .npz file, beside the names of what was checked.

The file holds the arrays by the names of the arguments and, as JSON under ``case.json``, the rest of the call. A
function or class is known by the name from which it can be found again, ``module:name`` or ``file.py:name``; one
without such a name (a lambda, a function made inside another) is saved all the same, for the sake of its arrays.
Finding, and running, is done by :mod:`~tinygrad_bp.checking.targets`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..io.weights import load, save
from ..nn.module import Module
from ..tensor import Tensor

__all__ = ["Case", "Kind", "is_found_again", "load_case", "name_of", "save_case"]

Kind = Literal["function", "backprop", "layer"]
_CASE = "case.json"


@dataclass(frozen=True)
class Case:
    """What ``save_case`` was given."""

    kind: Kind
    targets: tuple[str, ...]
    """The names of the function, of the layer, or of forward and backward."""
    inputs: dict[str, Any]
    """Arguments by name, in order; of a layer its parameters too."""
    options: dict[str, Any]
    """Keyword arguments of the check."""


def save_case(
    path: str | os.PathLike[str],
    kind: Kind,
    things: Sequence[Any],
    inputs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> None:
    """Write a check to the file `path`, which ends in .npz.

    Parameters
    ----------
    kind
        "function" for `gradcheck`, "backprop" for `check_backprop`, "layer" for `check_layer`.
    things
        What was checked: the function or the layer; forward and backward.
    inputs
        Arguments by name, in order, and the parameters of a layer. Arrays, Tensors, numbers, strings and None are kept;
        of anything else only its type.
    options
        Keyword arguments of the check: numbers and strings.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_case(f"{folder}/case.npz", "function", [np.sum], {"x": np.ones(2), "axis": 0}, {"order": 2})
    ...     load_case(f"{folder}/case.npz")
    Case(kind='function', targets=('numpy:sum',), inputs={'x': array([1., 1.]), 'axis': 0}, options={'order': 2})
    """
    arrays = {name: np.asarray(value) for name, value in inputs.items() if isinstance(value, (np.ndarray, np.generic))}
    arrays |= {name: value.data for name, value in inputs.items() if isinstance(value, Tensor)}
    values = {name: None if name in arrays else _value(value) for name, value in inputs.items()}
    document = {"kind": kind, "targets": [*map(name_of, things)], "inputs": values, "options": dict(options)}
    save(path, arrays | {_CASE: np.frombuffer(json.dumps(document).encode(), np.uint8)})


def _value(value: Any) -> dict[str, Any]:
    plain = value is None or isinstance(value, (bool, int, float, str))
    return {"value": value} if plain else {"type": type(value).__name__}


def load_case(path: str | os.PathLike[str]) -> Case:
    """The check that ``save_case`` wrote.

    Raises
    ------
    OSError, ValueError
        No such file, a damaged file, or one that holds no check.
    """
    try:
        arrays = load(path)
    except OSError as error:
        what = f"check: {os.fspath(path)}: {error.strerror}"
        raise type(error)(f"{what}. Name a file that a report has saved.") from error
    try:
        document = json.loads(arrays.pop(_CASE).tobytes())
        kind, targets, options = document["kind"], tuple(document["targets"]), dict(document["options"])
        inputs = {name: arrays[name] if value is None else value for name, value in document["inputs"].items()}
        if kind not in get_args(Kind):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"check: {os.fspath(path)} holds no check. Use a file that a report has saved.") from error
    for name, value in inputs.items():
        if isinstance(value, dict):
            if "value" not in value:
                what = f"check: the argument {name} of {' and '.join(targets)} was a {value.get('type')}"
                raise ValueError(f"{what}, which no file holds. Call the check with the arrays of {os.fspath(path)}.")
            inputs[name] = value["value"]
    return Case(kind, targets, inputs, options)


# ---- names ---------------------------------------------------------------------------------------------------------


def name_of(thing: Any) -> str:
    """Where `thing` can be found again, as ``module:name`` or ``file.py:name``; see :func:`is_found_again`.

    >>> name_of(np.linalg.norm), name_of(len), name_of(lambda: 0)
    ('numpy.linalg:norm', 'builtins:len', 'tinygrad_bp.checking.cases:<lambda>')
    """
    made = getattr(thing, "_made_by", None)  # by a class or factory that a check named
    if isinstance(thing, Module) and isinstance(made, str):
        return made
    own = sys.modules.get(getattr(thing, "__module__", None) or "")
    name = getattr(thing, "__qualname__", None)
    found: Any = own
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    if own is not None and found is thing:
        return f"{_source(own)}:{name}"
    for module in list(sys.modules.values()):  # a layer or a row by the name it was given
        for given, value in list(vars(module).items()) if module is not None else []:
            if value is thing and not given.startswith("_"):
                return f"{_source(module)}:{given}"
    what = (name or type(thing).__name__).rpartition("<locals>.")[2].strip("<>")
    return f"{_source(own) if own else 'builtins'}:<{what}>"


def is_found_again(name: str) -> bool:
    """Whether a name of :func:`name_of` leads back to the thing: not that of a lambda or a local function."""
    return "<" not in name


def _source(module: Any) -> str:
    """The name of a module of a package, the file of any other, which need not be where Python looks."""
    file = getattr(module, "__file__", None)
    if file and file.endswith(".py") and ("." not in module.__name__ and not hasattr(module, "__path__")):
        return str(Path(file).resolve())
    return str(module.__name__)
