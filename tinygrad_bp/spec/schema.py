"""The JSON Schema of documents, from which editors complete and check, made from the signatures that are the schema.

Every member of a registry is a table in ``$defs``, such as ``layer.Linear``. Which of them a table has to be is decided
by its `type` (of data its `name`) with if and then, so that a mistake is told at its own place, and not as "fits none
of 60 schemas". Editors that complete from ``anyOf`` and not from if and then find the same tables there, beside `true`,
which always holds. What is inferred from the data or has to fit them no schema can say.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from .. import data, nn
from ..training.loop import fit
from ..training.metrics import METRICS
from .arguments import NONE, REQUIRED, Argument, alternatives, arguments, made_of, wanted
from .experiment import of_loader, of_train
from .model import FORMAT, INFERRED
from .registry import DATA, LAYERS, LOSSES, OPTIMIZERS, SCHEDULES

__all__ = ["schema"]

Schema = dict[str, Any]

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_LEAST = {"epochs": 1, "batch_size": 1, "seed": 0}


def schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a document, with all that is registered at the moment.

    >>> linear = schema()["$defs"]["layer.Linear"]
    >>> linear["required"], linear["properties"]["bias"]["default"]
    (['type', 'out_features'], True)
    """
    keys = {
        "$schema": {"type": "string", "description": "Where this schema is; for editors."},
        "format": {"const": FORMAT, "description": "The version of this form."},
        "seed": _property("seed", Argument(int, 0)) | {"description": "Whence everything random comes."},
        "data": _ref("data"),
        "model": _ref("model"),
        "loss": _ref("loss"),
        "optim": _ref("optimizer"),
        "schedule": _ref("schedule"),
        "train": _ref("train"),
    }
    of_run = ("loss", "optim", "schedule", "train")
    train = _properties(of_train(), fit)
    train["metrics"] |= {"anyOf": [{"type": "array", "items": {"enum": list(METRICS)}}, {"const": NONE}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tinygrad_bp document",
        **_table(keys, ["format", "model"]),
        "dependentRequired": {key: ["data", "loss", "optim", "train"] for key in of_run},
        "$defs": {
            **_choice("data", "name", DATA, more=_properties(of_loader(), data.DataLoader)),
            "model": {
                "if": {"required": ["type"]},
                "then": _ref("layer"),
                "else": _ref("model.layers"),
                "anyOf": [True, _ref("model.layers"), _ref("layer")],
            },
            "model.layers": _table({"layers": _type(list[nn.Module])}, ["layers"]),
            **_choice("layer", "type", LAYERS),
            **_choice("loss", "type", LOSSES),
            **_choice("optimizer", "type", OPTIMIZERS, given=1),
            **_choice("schedule", "type", SCHEDULES, given=1),
            "train": _table(train, _required(of_train())),
        },
    }


# ---- tables --------------------------------------------------------------------------------------------------------


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _table(properties: Mapping[str, Any], required: Sequence[str]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False}


def _choice(
    what: str, key: str, registry: Mapping[str, Callable[..., Any]], given: int = 0, more: Schema | None = None
) -> dict[str, Schema]:
    """The table of every member of a registry, and of them all: the one that is named by `key`."""
    tables = {}
    for name, make in registry.items():
        known, about = arguments(make, given), _first_line(make)
        named = {key: {"const": name, "description": about}}
        tables[f"{what}.{name}"] = {
            "description": about,
            **_table(named | _properties(known, make) | (more or {}), [key, *_required(known)]),
        }
    cases = [
        {
            "if": {"type": "object", "properties": {key: {"const": name}}, "required": [key]},
            "then": _ref(f"{what}.{name}"),
        }
        for name in registry
    ]
    one = {"type": "object", "properties": {key: {"enum": list(registry)}}, "required": [key], "allOf": cases}
    return {what: one | {"anyOf": [True, *map(_ref, tables)]}, **tables}


def _required(known: Mapping[str, Argument]) -> list[str]:
    return [name for name, argument in known.items() if argument.default is REQUIRED and name not in INFERRED]


def _properties(known: Mapping[str, Argument], make: Callable[..., Any]) -> dict[str, Schema]:
    about = _described(make)
    described = {name: {"description": about[name]} if name in about else {} for name in known}
    return {name: _property(name, argument) | described[name] for name, argument in known.items()}


def _property(name: str, argument: Argument) -> Schema:
    found = _type(argument.hint)
    if name in _LEAST:
        found |= {"minimum": _LEAST[name]}
    if argument.default is not REQUIRED and argument.default is not None:
        with suppress(TypeError, ValueError):  # what JSON has no word for
            found |= {"default": json.loads(json.dumps(argument.default, allow_nan=False))}
    return found


# ---- types ---------------------------------------------------------------------------------------------------------


def _type(hint: Any) -> Schema:
    """What `arguments.converted` takes, and a little more: 1.0 is an integer."""
    parts = alternatives(hint)
    if Any in parts:
        return {}
    found: list[Schema] = []
    for one in map(_one_type, parts):
        if found and "enum" in found[-1] and "const" in one:
            found[-1]["enum"].append(one["const"])
        elif one and one not in found:
            found.append(one)
    return found[0] if len(found) == 1 else {"anyOf": found}


def _one_type(one: Any) -> Schema:
    origin, parts = get_origin(one), get_args(one)
    kind = origin or one
    if one is NoneType:
        return {"const": NONE}
    if origin is Literal:
        return {"enum": list(parts)}
    if not wanted(one):
        return {}
    if one in _TYPES:
        return {"type": _TYPES[one]}
    if issubclass(kind, os.PathLike):
        return {"type": "string"}
    if issubclass(kind, Iterable) and not issubclass(kind, Mapping):
        return {"type": "array"} | _entries(kind, parts)
    base = made_of(one)
    return {"type": "object"} if base is None else _ref("layer" if base is nn.Module else "schedule")


def _entries(kind: type, parts: tuple[Any, ...]) -> Schema:
    """Of a list or tuple; one type for all of them is told in the way that every draft knows."""
    if not parts:
        return {}
    if kind is not tuple or ... in parts:
        return {"items": _type(parts[0])}
    types = [_type(part) for part in parts]
    same = all(one == types[0] for one in types)
    return ({"items": types[0]} if same else {"prefixItems": types}) | {"minItems": len(types), "maxItems": len(types)}


# ---- docstrings ----------------------------------------------------------------------------------------------------


def _first_line(make: Any) -> str:
    return _plain((make.__doc__ or "").strip().partition("\n")[0])


def _described(make: Any) -> dict[str, str]:
    """What the section "Parameters" says of each of them."""
    section = inspect.cleandoc(make.__doc__ or "").partition("Parameters\n----------\n")[2]
    found: dict[str, str] = {}
    for names, text in re.findall(
        r"^([\w, ]+)\n((?: {4}.*\n?)+)", re.split(r"\n\n\w+\n-+\n", section)[0], re.MULTILINE
    ):
        found |= dict.fromkeys(names.split(", "), _plain(" ".join(text.split())))
    return found


def _plain(text: str) -> str:
    """Without the marks of Sphinx."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "").replace("`", "")
