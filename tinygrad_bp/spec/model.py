"""A model from its table in a document, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..recipe import no_grad
from ..tensor import default_dtype
from .arguments import Argument, Table, arguments, checked, choice
from .mistakes import at
from .reading import read
from .registry import LAYERS

__all__ = ["from_spec", "made", "model_of", "to_spec"]

FORMAT = 1
INFERRED = {"in_features": -1}  # an argument that is the length of an axis of the layer's input


def from_spec(document: str | os.PathLike[str] | Table) -> nn.Module:
    """The model that a document describes."""
    table = document if isinstance(document, Mapping) else read(Path(document))
    return model_of(table["model"], None)[0]


def to_spec(model: nn.Sequential) -> dict[str, Any]:
    """The ``[model]`` table of a document, from which an equal model is made; arguments at their defaults are left out.

    Raises
    ------
    TypeError
        Not a Sequential, or a stage that is none of the library's layers.

    Examples
    --------
    >>> to_spec(nn.Sequential(nn.Linear(64, 10, bias=False), nn.LeakyReLU()))
    {'layers': [{'type': 'Linear', 'in_features': 64, 'out_features': 10, 'bias': False}, {'type': 'LeakyReLU'}]}
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"to_spec: the model is a {type(model).__name__}. Pass a Sequential.")
    layers = []
    for position, stage in enumerate(model):
        kind = type(stage).__name__
        if LAYERS.get(kind) is not type(stage):
            full = f"{type(stage).__module__}.{kind}"
            raise TypeError(f"to_spec: stage {position} is a {full}. A document knows only nn's {', '.join(LAYERS)}.")
        again = any(stage is other for other in model[:position])
        if again and isinstance(stage, nn.Module) and [*stage.parameters()]:
            raise ValueError(f"to_spec: stage {position} is an earlier one again. A document cannot share weights.")
        fields = arguments(LAYERS[kind])
        settings = {name: _setting(stage, name, fields[name]) for name in fields}
        layers.append({"type": kind} | {name: v for name, v in settings.items() if v != fields[name].default})
    return {"layers": layers}


def _setting(stage: Any, name: str, argument: Argument) -> Any:
    """The value with which the constructor would make this stage again."""
    if name == "dtype":
        dtype = next(stage.parameters()).dtype
        return None if dtype == default_dtype() else dtype.name
    value = getattr(stage, name)
    return value is not None if argument.hint is bool and not isinstance(value, bool) else value


def model_of(table: Table, inputs: Any) -> tuple[nn.Sequential, Any]:
    """The layers, each made to fit what those before it give for `inputs`, and what the last one gives."""
    layers = checked(table, "model", {"layers": Argument(list)}, "[model]")["layers"]
    if not layers:
        raise ValueError("model.layers: there are none. Give at least one [[model.layers]].")
    stages: list[nn.Module] = []
    for position, layer in enumerate(layers):
        where = f"model.layers[{position}]"
        stages.append(made(layer, where, LAYERS, "layer", shape=np.shape(inputs)))
        with at(f"{where} after {f'model.layers[{position - 1}]' if position else 'the data'}"), no_grad():
            inputs = stages[-1].eval()(inputs)
    return nn.Sequential(*stages).train(), inputs


def made(
    table: Any, where: str, registry: Mapping[str, Any], what: str, *given: Any, shape: tuple[int, ...] = ()
) -> Any:
    """What a table with a `type` describes; sizes it leaves out are taken from the shape of the input."""
    kind = choice(table, where, "type", registry, what)
    known = arguments(registry[kind])
    sizes = {name: shape[axis] for name, axis in INFERRED.items() if name in known and shape}
    optional = {name: Argument(known[name].hint, size) for name, size in sizes.items()}
    values = checked(table, where, known | optional, kind, "type")
    with at(where):
        return registry[kind](*given, **sizes | values)
