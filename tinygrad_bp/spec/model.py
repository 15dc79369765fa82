"""A model from its table in a document, and back.

Sizes that are left out are taken from what comes in: each layer is tried, as soon as it is made, on what the one before
gives for some rows of the data, unrecorded, in evaluation and without a draw. So two layers that do not fit are named
before training starts. The way back reads the attributes that have the names of the arguments.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np

from .. import data, nn
from ..data.sources import Parts
from ..optim.lr_scheduler import LRScheduler
from ..random import generator
from ..recipe import no_grad
from ..tensor import Tensor, default_dtype
from .arguments import (
    DTYPE,
    LISTS,
    NONE,
    REQUIRED,
    WRONG,
    Argument,
    Table,
    alternatives,
    arguments,
    as_table,
    call,
    checked,
    choice,
    converted,
    made_of,
    parameters,
    wanted,
)
from .mistakes import at, kind_of, path_of, shown
from .reading import anchored, check_sizes, plain, read
from .registry import DATA, LAYERS, SCHEDULES

__all__ = ["from_spec", "made", "model_of", "parts_of", "sections", "seeds", "to_spec"]

FORMAT = 1
SECTIONS = ("data", "model", "loss", "optim", "schedule", "train")
INFERRED = dict.fromkeys(("in_features", "input_size", "d_model", "embed_dim", "normalized_shape"), -1)
INFERRED |= dict.fromkeys(("in_channels", "num_features", "num_channels"), 1)
"""Arguments that, left out, are the length of this axis of the layer's input."""


class _LeftOutError(ValueError):
    """A size is left out and nothing tells it."""


# ---- the document --------------------------------------------------------------------------------------------------


def from_spec(document: str | os.PathLike[str] | Table) -> nn.Module:
    """The model that a document describes, its weights drawn from the package's generator.

    Parameters
    ----------
    document
        A path, read as JSON if it ends in .json and else as TOML, or a dict of the same shape. It needs `format` and
        `model`; its data are read only if the model leaves a size out.

    Raises
    ------
    ValueError, TypeError, OSError
        In one line: the file, the path in the document, the value, and what to write instead.

    Examples
    --------
    >>> from_spec({"format": 1, "model": {"layers": [{"type": "Linear", "in_features": 2, "out_features": 1}]}})
    Sequential(
      (0): Linear(in_features=2, out_features=1)
    )
    """
    if isinstance(document, Mapping):
        return _model(anchored(plain(document), Path()))
    if not isinstance(document, (str, os.PathLike)):
        raise TypeError(f"from_spec: the document is a {type(document).__name__}. Pass a path or a dict.")
    with at(os.fspath(document)):
        return _model(read(Path(document)))


def _model(document: Any) -> nn.Module:
    values = sections(document, ("model",))
    state = generator().bit_generator.state
    try:
        return model_of(values["model"], None)[0]
    except _LeftOutError as error:
        if "data" not in values:
            raise ValueError(str(error)) from None
    generator().bit_generator.state = state
    parts = parts_of(values["data"], seeds(values["seed"])[0])
    return model_of(values["model"], parts.train[0][:2])[0]


def sections(document: Any, required: Collection[str]) -> dict[str, Any]:
    """The seed and the tables of a document of this format, each known, and the required ones there."""
    tables = {name: Argument(dict, REQUIRED if name in required else None) for name in SECTIONS}
    keys = {"format": Argument(int), "seed": Argument(int, 0), **tables}
    if not isinstance(document, Mapping):
        raise TypeError(f"the document is {kind_of(document)}. Give a table with {', '.join(keys)}.")
    if document.get("format", FORMAT) != FORMAT:
        raise ValueError(f"format = {shown(document['format'])}: this version reads format {FORMAT}.")
    values = {"seed": 0} | checked(document, "", keys, "the document")
    if values["seed"] < 0:
        raise ValueError(f"seed = {shown(values['seed'])}: is negative. Give an integer >= 0.")
    for section in ("data", "model"):
        check_sizes(values.get(section), section)
    return values


def seeds(seed: int) -> tuple[int, int, int]:
    """Those of the split, the weights and the order of the rows: from one for all, split and shuffle would be alike."""
    of_split, of_weights, of_order = map(int, np.random.SeedSequence(seed).generate_state(3))
    return of_split, of_weights, of_order


def parts_of(table: Any, seed: int) -> Parts:
    """The data that [data] names; its arguments for the DataLoader are checked and left alone."""
    name = choice(table, "data", "name", DATA, "data set")
    known = arguments(DATA[name])
    values = checked(table, "data", known | arguments(data.DataLoader, given=1), f"[data] of {name}", "name")
    with at("data"):
        parts: Parts = DATA[name](**{key: values[key] for key in values if key in known}, seed=seed)
    return parts


# ---- from tables ---------------------------------------------------------------------------------------------------


def made(table: Any, where: str, registry: Mapping[str, Any], what: str, *given: Any) -> Any:
    """What a table with a `type` describes: that class, called with `given` and the values of the table."""
    kind = choice(table, where, "type", registry, what)
    known = _keys(registry[kind], where, kind, len(given))
    values = checked(table, where, known, kind, "type")
    for key, value in values.items():
        values[key] = _nested(value, path_of(where, key), known[key].hint, given, None, "")
    with at(where):
        return call(registry[kind], given, values)


def model_of(table: Any, inputs: Any) -> tuple[nn.Module, Any]:
    """The model of a table, made to fit rows of inputs, and what it gives for them; without inputs, None."""
    try:
        model, outputs = _layer(table, "model", inputs, "the data")
    except RecursionError:
        raise ValueError("model: the tables are nested too deeply. Give fewer in one another.") from None
    if inputs is not None:
        _check_time(model, "model", inputs)
        _check_rows(np.shape(inputs), outputs)
        _check_batch_first(model, inputs, outputs)
    return model, outputs


def _check_time(model: nn.Module, where: str, inputs: Any) -> bool:
    """Refuse stages that take the rows of the data for steps in time; False after one that may have moved the rows."""
    first = [module.batch_first for module in model.modules() if hasattr(module, "batch_first")]
    ours = all(_is_ours(type(module)) for module in model.modules())
    if first and isinstance(model, nn.Sequential):
        stages: list[Any] = [*model]
        for k, stage in enumerate(stages):
            if not _check_time(stage, f"{where}.layers[{k}]", inputs):
                return False
            with _generator_kept(), no_grad(), np.errstate(all="ignore"):
                inputs = stage.eval()(inputs)
            stage.train()
        return True
    flat = getattr(inputs, "ndim", 3) == 2
    if first and ours and (flat or not all(first)):
        place = f"{where} ({type(model).__name__}): takes the rows for steps in time"
        steps = "Put Unflatten before it, with dim = 1 and unflattened_size = [steps, numbers], and give it batch_first"
        raise ValueError(f"{place}. {steps if flat else 'Give it batch_first'} = true.")
    return ours


def _is_ours(made: type) -> bool:
    return made.__module__.startswith(nn.__name__)


def _check_batch_first(model: nn.Module, inputs: Any, outputs: Any) -> None:
    """Refuse layers that take the rows of the data for steps in time, in others than ours."""
    if len(inputs) < 2 or all(getattr(module, "batch_first", True) for module in model.modules()):
        return
    with _generator_kept(), no_grad(), np.errstate(all="ignore"):
        alone, among = np.asarray(model.eval()(inputs[-1:]))[0], np.asarray(outputs)[-1]
        tolerance = np.finfo(np.result_type(among, np.float16)).eps ** 0.5
        same = np.allclose(alone, among, tolerance, tolerance * np.abs(among).max(), equal_nan=True)
    model.train()
    if not same:
        raise ValueError(
            "model: what it gives for a row depends on the rows before it, which it takes for steps in time. "
            "Give the recurrent and attention layers batch_first = true."
        )


def _check_rows(shape: tuple[int, ...], outputs: Any) -> None:
    if not hasattr(outputs, "shape"):
        raise ValueError(
            f"model: gives {_several(outputs)}. End it with a layer that gives one array, as LastStep does."
        )
    if outputs.shape[:1] != shape[:1]:
        raise ValueError(
            f"model: gives {outputs.shape} for inputs {shape}, not a row for each. Keep the first axis; recurrent "
            "layers and attention do with batch_first = true."
        )


def _layer(table: Any, where: str, inputs: Any, before: str, sure: bool = True) -> tuple[nn.Module, Any]:
    """A layer, and what it gives for `inputs`, if they are known; if they are not `sure`, it need not take them."""
    whole = where == "model" and "type" not in as_table(table, where)
    kind = "Sequential" if whole else choice(table, where, "type", LAYERS, "layer")
    known = _keys(LAYERS[kind], where, kind)
    if whole:
        known["layers"] = Argument(known["layers"].hint)
    optional = {key: Argument(known[key].hint, None) for key in INFERRED if key in known}
    values = checked(table, where, known | optional, "[model]" if whole else kind, "type")
    for key in known:
        if key not in values and (size := _size(key, known[key], where, inputs, before)):
            values[key] = size
    if LAYERS[kind] is nn.Sequential:
        stages, outputs = _chain(values.get("layers", ()), where, inputs, before, sure)
        return nn.Sequential(*stages), outputs
    for key, value in values.items():
        values[key] = _nested(value, path_of(where, key), known[key].hint, (), inputs, before)
    with at(where if _is_ours(LAYERS[kind]) else f"{where} ({kind})"):  # the messages of ours have the name
        layer: nn.Module = call(LAYERS[kind], (), values)
    return layer, None if inputs is None else _tried(layer, where, inputs, before, sure)


def _chain(tables: Any, where: str, inputs: Any, before: str, sure: bool) -> tuple[list[nn.Module], Any]:
    """The layers of a Sequential, each made for what the one before gives."""
    stages = []
    for position, table in enumerate(tables):
        place = f"{where}.layers[{position}]"
        stage, inputs = _layer(table, place, inputs, before, sure)
        before = f"{place} ({table['type']})"
        stages.append(stage)
    return stages, inputs


def _nested(value: Any, place: str, hint: Any, given: tuple[Any, ...], inputs: Any, before: str) -> Any:
    """The value of an argument, with what its tables describe; layers in it may get the inputs of the one around."""
    base = made_of(hint)
    if isinstance(value, list) and (base or hint is Any):
        return [_nested(each, f"{place}[{k}]", hint, given, inputs, before) for k, each in enumerate(value)]
    if value is None or not (base or (hint is Any and isinstance(value, Mapping) and "type" in value)):
        return value
    if base is LRScheduler:
        return made(value, place, SCHEDULES, "schedule", *given)
    return _layer(value, place, inputs, before, sure=False)[0]


def _keys(make: Any, where: str, kind: str, given: int = 0) -> dict[str, Argument]:
    """The arguments that are keys; those that would have to be, and cannot, are refused."""
    for name, argument in parameters(make, given).items():
        if argument.default is REQUIRED and not wanted(argument.hint):
            raise TypeError(f"{where}: {kind} needs {name}, and a document has no word for that. Give it a default.")
    return arguments(make, given)


def _size(key: str, argument: Argument, where: str, inputs: Any, before: str) -> Any:
    """What the input says of an argument that is left out; None, if the argument is not of that kind."""
    if key == "dtype" and argument == Argument(DTYPE, None):
        dtype = getattr(inputs, "dtype", None)
        return dtype.name if dtype is not None and dtype.kind == "f" else None
    if key not in INFERRED or argument.default is not REQUIRED:
        return None
    place, axis, give = path_of(where, key), INFERRED[key], f"Give {wanted(argument.hint)}"
    if inputs is None:
        raise _LeftOutError(f"{place}: is left out, and what comes in is not known. {give}, or [data] that tells it.")
    if not hasattr(inputs, "shape"):
        raise ValueError(f"{place}: is left out, and {before} gives {_several(inputs)}. {_BETWEEN}")
    if len(inputs.shape) < abs(axis) + (axis > 0):
        raise ValueError(f"{place}: is left out, and {before} gives {inputs.shape}, without axis {axis}. {give}.")
    return inputs.shape[axis]


_BETWEEN = "Put a layer between that makes it one array, as LastStep and EveryStep do."


def _several(values: Any) -> str:
    return f"{len(values)} values" if isinstance(values, (tuple, list, dict)) else f"a {type(values).__name__}"


def _tried(layer: nn.Module, where: str, inputs: Any, before: str, sure: bool) -> Any:
    """What the layer gives for the inputs."""
    place = f"{where} ({type(layer).__name__}) after {before}"
    try:
        _check_stage(layer, place)
        with at(place), _generator_kept(), no_grad(), np.errstate(all="ignore"):
            return layer.eval()(inputs)
    except (TypeError, ValueError, OSError) as error:
        if not sure:
            return None
        if isinstance(inputs, tuple):
            raise ValueError(f"{place}: that gives {_several(inputs)}. {_BETWEEN}") from error
        if cure := _cure(layer, inputs):
            raise type(error)(f"{error} {cure}") from error
        raise
    finally:
        layer.train()


def _cure(layer: nn.Module, inputs: Any) -> str:
    """What to write in the document where a layer does not take such rows, or ''."""
    if isinstance(layer, nn.Embedding) and getattr(inputs, "dtype", np.dtype(int)).kind == "f":
        return 'With data.dtype = "int64" those of an .npz stay integers.'
    axes = {"1d": "length", "2d": "height, width"}.get(type(layer).__name__[-2:])
    if axes is None or getattr(inputs, "ndim", 0) != 2 or isinstance(layer, nn.BatchNorm1d):
        return ""
    return f"Put Unflatten before it, with dim = 1 and unflattened_size = [channels, {axes}]."


def _check_stage(layer: nn.Module, place: str) -> None:
    arrays = [
        p.name
        for p in inspect.signature(layer.forward).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(arrays) > 1:
        raise ValueError(
            f"{place}: takes {len(arrays)} arrays ({', '.join(arrays)}), and a stage gets one. "
            "Register a layer of your own that passes them on."
        )


@contextmanager
def _generator_kept() -> Iterator[None]:
    """Draws of the block are not counted."""
    state = generator().bit_generator.state
    try:
        yield
    finally:
        generator().bit_generator.state = state


# ---- and back ------------------------------------------------------------------------------------------------------


def to_spec(model: nn.Module) -> dict[str, Any]:
    """The document, ``{"format": 1, "model": {...}}``, from which `from_spec` makes an equal model, with new weights.

    Arguments at their defaults are left out; a dtype stands where it is not the package's. What a document cannot say
    is refused.

    Raises
    ------
    TypeError
        No Module; a layer that is not registered, does not keep an argument as an attribute, or holds something there
        that no document has a word for, such as a function.
    ValueError
        Layers that share weights, or have others than they were made with.

    Examples
    --------
    >>> to_spec(nn.Sequential(nn.Linear(64, 10, bias=False), nn.LeakyReLU()))["model"]
    {'layers': [{'type': 'Linear', 'in_features': 64, 'out_features': 10, 'bias': False}, {'type': 'LeakyReLU'}]}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"to_spec: the model is a {type(model).__name__}. Pass a Module.")
    table = _table(model, "model", {})
    if type(model) is nn.Sequential:
        table = {"layers": table.get("layers", [])}
    with _generator_kept():
        again = model_of(table, None)[0]
    _check_equal(model, again)
    return {"format": FORMAT, "model": table}


def _table(layer: Any, where: str, seen: dict[int, str]) -> dict[str, Any]:
    """The table of a layer; `seen` are the places of those before it."""
    if not isinstance(layer, nn.Module):
        raise TypeError(f"to_spec: {where} is {_named(layer)}, not a layer. Make it the forward of a registered one.")
    kind = next((name for name, made in LAYERS.items() if made is type(layer)), None)
    if kind is None:
        full = f"{type(layer).__module__}.{type(layer).__qualname__}"
        raise TypeError(f"to_spec: {where} is a {full}, which no document knows. Call bp.register with the class.")
    if id(layer) in seen and [*layer.parameters(), *layer.buffers()]:
        raise ValueError(f"to_spec: {where} is {seen[id(layer)]} again. A document cannot share weights.")
    seen[id(layer)] = where
    table: dict[str, Any] = {"type": kind}
    for name, argument in parameters(type(layer)).items():
        value = _kept(layer, name, argument, where)
        word = None if value is argument.default else _word(value, path_of(where, name), argument.hint, seen)
        if word is not None and word != _listed(argument.default):
            table[name] = word
    return table


def _kept(layer: nn.Module, name: str, argument: Argument, where: str) -> Any:
    """The value of an argument, from the attribute of its name."""
    if argument.hint == DTYPE:
        dtypes = [t.dtype for t in (*layer.parameters(), *layer.buffers()) if t.dtype.kind == "f"]
        return dtypes[0].name if dtypes and dtypes[0] != default_dtype() else None
    if isinstance(layer, nn.Sequential) and name == "layers":
        return list(layer)
    if not hasattr(layer, name):
        raise TypeError(
            f"to_spec: {where} ({type(layer).__name__}) keeps no attribute {name}. Write self.{name} = {name} in its "
            "__init__, so that a document can be made of it."
        )
    value = getattr(layer, name)
    flag = bool in (argument.hint, type(argument.default))
    if flag and not isinstance(value, bool):  # the part itself, or None: a bias that has no weight beside says nothing
        says_nothing = name == "bias" and value is None and getattr(layer, "weight", layer) is None
        return argument.default if says_nothing else value is not None
    return value.p if isinstance(value, nn.Dropout) and not made_of(argument.hint) else value


def _word(value: Any, place: str, hint: Any, seen: dict[int, str]) -> Any:
    """The value as a document says it."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        value = np.asarray(value.data if isinstance(value, Tensor) else value).tolist()
    if isinstance(value, (tuple, list)):
        inner = [get_args(one)[0] for one in alternatives(hint) if get_origin(one) in (tuple, *LISTS)]
        return [_word(each, f"{place}[{k}]", inner[0] if inner else Any, seen) for k, each in enumerate(value)]
    if isinstance(value, nn.Module) or (value is not None and made_of(hint)):
        return _table(value, place, seen)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _word(each, path_of(place, key), Any, seen) for key, each in value.items()}
    word = NONE if value is None else os.fspath(value) if isinstance(value, os.PathLike) else value
    back = converted(word, hint)
    if back is WRONG or (value is None) != (back is None) or not isinstance(word, (bool, int, float, str)):
        raise TypeError(
            f"to_spec: {place} is {_named(value)}, for which a document has no word. "
            "Give one of its words, or register a layer that needs none."
        )
    return word


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, (tuple, list)) else value


def _named(value: Any) -> str:
    return f"the function {value.__name__}" if hasattr(value, "__name__") else f"a {type(value).__name__}"


def _check_equal(model: nn.Module, again: nn.Module) -> None:
    """Refuse a model that is no longer what its layers were made as."""
    for describe in (_modules, _tensors):
        own, new = describe(model), describe(again)
        names = own if describe is _modules else own | new  # a layer without weights may stand in several places
        for name in names:
            if own.get(name) != new.get(name):
                raise ValueError(
                    f"to_spec: {name or 'the model'} is {own.get(name, 'not there')}, and from the document it would "
                    f"be {new.get(name, 'not there')}. Write a layer that makes it so, and register that."
                )


def _modules(model: nn.Module) -> dict[str, str]:
    """Each by its name: its class, and of ours without parts also its settings."""
    return {
        name: repr(module)
        if type(module).__module__.startswith(nn.__name__) and not [*module.children()]
        else type(module).__name__
        for name, module in model.named_modules()
    }


def _tensors(model: nn.Module) -> dict[str, str]:
    return {name: f"{array.dtype} {array.shape}" for name, array in model.state_dict().items()}
