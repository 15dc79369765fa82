"""A model, its data and its training as a document: TOML, JSON, or a dict of the same shape.

There is no second list of options here. The keys of a table are the arguments of what it makes, with their types and
defaults, read from the signature of the constructor or function; `type` and `name` choose from closed lists, never from
an import path. `in_features` may be left out: the data and the layers before it tell. `from_spec` checks a document,
makes everything in it and tries it on one row of every class, so that what it returns will train; anything wrong is one
line with the path in the document, the value and, where one is near, the right word. `to_spec` goes back.
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
import re
import tomllib
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from . import data, nn, optim
from .nn import losses
from .random import manual_seed
from .recipe import no_grad
from .tensor import default_dtype
from .training import Record, fit

__all__ = ["Experiment", "from_spec", "to_spec"]

Pair = tuple[NDArray[Any], NDArray[Any]]
Table = Mapping[str, Any]

FORMAT = 1
INFERRED = {"in_features": -1}  # an argument that is the length of an axis of the layer's input


def _digits(test: float = 0.2, *, seed: int) -> tuple[Pair, Pair]:
    X_train, X_test, y_train, y_test = data.train_test_split(*data.digits(), test=test, seed=seed)
    return (X_train, y_train), (X_test, y_test)


def _mnist(folder: str | None = None, *, seed: int) -> tuple[Pair, Pair]:
    train, _, test = data.mnist(folder)
    return train, test


def _classes(package: Any, base: type) -> dict[str, Any]:
    found = {name: getattr(package, name) for name in package.__all__}
    return {name: made for name, made in found.items() if inspect.isclass(made) and issubclass(made, base)}


DATA: dict[str, Callable[..., tuple[Pair, Pair]]] = {"digits": _digits, "mnist": _mnist}
LOSSES = _classes(losses, nn.Module)
_OF_OTHER_CALLS = {"Module", "Sequential", *nn.recurrent.__all__, *nn.attention.__all__, *LOSSES}
LAYERS = {name: made for name, made in _classes(nn, nn.Module).items() if name not in _OF_OTHER_CALLS}
"""Layers that take one array and return one, made from plain values."""
OPTIMIZERS = {name: made for name, made in _classes(optim, optim.Optimizer).items() if name != "Optimizer"}


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a document describes, made and ready to train.

    Attributes
    ----------
    seed
        From which the split, the initial weights and the order of the rows each have a seed of their own
        (``np.random.SeedSequence``): from one seed for all three, the split and the first shuffle would be alike.
    train, test
        Inputs and targets to train on, and held out.
    loader, model, loss, optimizer
        As `fit` takes them.
    settings
        The other arguments of `fit`: ``{"epochs": 60}``.
    """

    seed: int
    train: Pair = field(repr=False)
    test: Pair = field(repr=False)
    loader: data.DataLoader = field(repr=False)
    model: nn.Sequential
    loss: nn.Module
    optimizer: optim.Optimizer
    settings: dict[str, Any]

    def fit(self, on_epoch: Callable[[Record], object] | None = None) -> list[Record]:
        """Train the model as the document says; returns the history of :func:`~tinygrad_bp.fit`."""
        return fit(
            self.model, self.loss, self.optimizer, self.loader, **self.settings, test=self.test, on_epoch=on_epoch
        )


def from_spec(document: str | os.PathLike[str] | Table) -> Experiment:
    """The experiment that a document describes; restarts the package's generator (`bp.manual_seed`) from its seed.

    Parameters
    ----------
    document
        A path, read as JSON if it ends in .json and else as TOML, or a dict of the same shape.

    Raises
    ------
    ValueError, TypeError, OSError
        In one line: the file, the path in the document, the value, and what to write instead.

    Examples
    --------
    >>> experiment = from_spec({
    ...     "format": 1,
    ...     "data": {"name": "digits", "batch_size": 32},
    ...     "model": {"layers": [{"type": "Linear", "out_features": 10}]},
    ...     "loss": {"type": "CrossEntropyLoss"},
    ...     "optim": {"type": "SGD", "lr": 0.1},
    ...     "train": {"epochs": 2},
    ... })
    >>> experiment.model
    Sequential(
      (0): Linear(in_features=64, out_features=10)
    )
    >>> history = experiment.fit()
    >>> round(history[-1]["test_accuracy"], 1)
    0.9
    """
    if isinstance(document, Mapping):
        return _experiment(document)
    if not isinstance(document, (str, os.PathLike)):
        raise TypeError(f"from_spec: the document is a {type(document).__name__}. Pass a path or a dict.")
    path = Path(document)
    with _at(os.fspath(document)):
        return _experiment(_read(path))


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
        fields = _arguments(LAYERS[kind])
        settings = {name: _setting(stage, name, fields[name]) for name in fields}
        layers.append({"type": kind} | {name: v for name, v in settings.items() if v != fields[name].default})
    return {"layers": layers}


def _setting(stage: Any, name: str, argument: _Argument) -> Any:
    """The value with which the constructor would make this stage again."""
    if name == "dtype":
        dtype = next(stage.parameters()).dtype
        return None if dtype == default_dtype() else dtype.name
    value = getattr(stage, name)
    return value is not None if argument.hint is bool and not isinstance(value, bool) else value


# ---- reading ------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Any:
    if path.is_dir():
        raise IsADirectoryError("is a folder. Name a document.")
    if not path.exists():
        beside = [file.name for file in path.parent.glob("*") if file.suffix in (".toml", ".json")]
        raise FileNotFoundError(f"there is no such file.{_nearest(path.name, beside)}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8. Save the document as UTF-8.") from error
    try:
        return json.loads(text, object_pairs_hook=_unique) if path.suffix == ".json" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ValueError(f"this is no {kind}: {error}. Correct the document there.") from error
    except RecursionError as error:
        raise ValueError("the values are nested too deeply. Give the tables that a document has.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {_shown(twice)} stands twice in one table. Keep one.")
    return table


def _experiment(document: Any) -> Experiment:
    sections = dict.fromkeys(("data", "model", "loss", "optim", "train"), _Argument(dict))
    keys = {"format": _Argument(int), "seed": _Argument(int, 0), **sections}
    if not isinstance(document, Mapping):
        raise TypeError(f"the document is {_kind(document)}. Give a table with {', '.join(keys)}.")
    if document.get("format", FORMAT) != FORMAT:
        raise ValueError(f"format = {_shown(document['format'])}: this version reads format {FORMAT}.")
    values = {"seed": 0} | _checked(document, "", keys, "the document")
    if values["seed"] < 0:
        raise ValueError(f"seed = {_shown(values['seed'])}: is negative. Give an integer >= 0.")
    of_split, of_weights, of_order = map(int, np.random.SeedSequence(values["seed"]).generate_state(3))
    manual_seed(of_weights)
    train, test, loader = _data(values["data"], of_split, of_order)
    rows = np.unique(train[1], return_index=True)[1]  # one of every class
    model, outputs = _model(values["model"], train[0][rows])
    loss = _loss(values["loss"], outputs, train[1][rows])
    optimizer = _made(values["optim"], "optim", OPTIMIZERS, "optimizer", model.parameters())
    settings = _checked(values["train"], "train", _arguments(fit), "[train]")
    if settings["epochs"] < 1:
        raise ValueError(f"train.epochs = {settings['epochs']}: too few. Train for at least 1.")
    return Experiment(values["seed"], train, test, loader, model, loss, optimizer, settings)


def _data(table: Table, of_split: int, of_order: int) -> tuple[Pair, Pair, data.DataLoader]:
    load = DATA[_choice(table, "data", "name", DATA, "data set")]
    of_data = _arguments(load)
    of_loader = _arguments(data.DataLoader) | {"shuffle": _Argument(bool, True)}
    values = _checked(table, "data", of_data | of_loader, f"[data] of {table['name']}", "name")
    with _at("data"):
        train, test = load(**{name: values[name] for name in values if name in of_data}, seed=of_split)
        batches = {"shuffle": True} | {name: values[name] for name in values if name in of_loader}
        return train, test, data.DataLoader(*train, **batches, seed=of_order)


def _model(table: Table, inputs: Any) -> tuple[nn.Sequential, Any]:
    """The layers, each made to fit what those before it give for `inputs`, and what the last one gives."""
    layers = _checked(table, "model", {"layers": _Argument(list)}, "[model]")["layers"]
    if not layers:
        raise ValueError("model.layers: there are none. Give at least one [[model.layers]].")
    stages: list[nn.Module] = []
    for position, layer in enumerate(layers):
        where = f"model.layers[{position}]"
        stages.append(_made(layer, where, LAYERS, "layer", shape=np.shape(inputs)))
        with _at(f"{where} after {f'model.layers[{position - 1}]' if position else 'the data'}"), no_grad():
            inputs = stages[-1].eval()(inputs)
    return nn.Sequential(*stages).train(), inputs


def _loss(table: Table, outputs: Any, targets: Any) -> nn.Module:
    loss: nn.Module = _made(table, "loss", LOSSES, "loss")
    labels = targets.ndim == 1 and targets.dtype.kind in "iu"
    with _at(f"loss of the model's output {np.shape(outputs)}"), no_grad():
        try:
            cost = loss(outputs, targets)
        except ValueError as error:
            if not labels or isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)):
                raise
            raise ValueError(
                f"{table['type']} does not take class labels {targets.shape}. "
                "Use CrossEntropyLoss, or NLLLoss after LogSoftmax."
            ) from error
    if np.ndim(cost):
        raise ValueError(
            f'loss.reduction = {_shown(table["reduction"])}: gives no single number. Choose "mean" or "sum".'
        )
    return loss


def _made(
    table: Any, where: str, registry: Mapping[str, Any], what: str, *given: Any, shape: tuple[int, ...] = ()
) -> Any:
    """What a table with a `type` describes; sizes it leaves out are taken from the shape of the input."""
    kind = _choice(table, where, "type", registry, what)
    arguments = _arguments(registry[kind])
    sizes = {name: shape[axis] for name, axis in INFERRED.items() if name in arguments and shape}
    optional = {name: _Argument(arguments[name].hint, size) for name, size in sizes.items()}
    values = _checked(table, where, arguments | optional, kind, "type")
    with _at(where):
        return registry[kind](*given, **sizes | values)


# ---- checking -----------------------------------------------------------------------------------------------------


class _Argument(NamedTuple):
    """The type of an argument and its default, if it has one."""

    hint: Any
    default: Any = inspect.Parameter.empty


def _arguments(make: Callable[..., Any]) -> dict[str, _Argument]:
    """The arguments that a table can give: those a document has a word for, but not the seed, which is for all."""
    hints = get_type_hints(make.__init__ if inspect.isclass(make) else make)
    named = (p for p in inspect.signature(make).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    found = {p.name: _Argument(hints.get(p.name), p.default) for p in named}
    return {name: argument for name, argument in found.items() if name != "seed" and _wanted(argument.hint)}


_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string", dict: "a table", list: "a list"}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _wanted(hint: Any) -> str:
    """The type in words, '' where no value of a document has it."""
    words = []
    for one in _alternatives(hint):
        if one in _WORDS:
            words.append(_WORDS[one])
        elif get_origin(one) is Literal:
            words.append("one of " + ", ".join(map(_shown, get_args(one))))
        elif get_origin(one) is tuple and all(part in _WORDS for part in get_args(one)):
            words.append("[" + ", ".join(_WORDS[part] for part in get_args(one)) + "]")
    return " or ".join(words)


def _fits(value: Any, hint: Any) -> bool:
    """Whether the value has the type: an integer is a number too, true and false are neither."""
    for one in _alternatives(hint):
        if get_origin(one) is Literal:
            fits = any(type(value) is type(choice) and value == choice for choice in get_args(one))
        elif get_origin(one) is tuple:
            parts = get_args(one)
            fits = isinstance(value, (list, tuple)) and len(value) == len(parts) and all(map(_fits, value, parts))
        elif one is dict:
            fits = isinstance(value, Mapping)
        else:
            fits = type(value) is one or (one is float and type(value) is int)
        if fits:
            return True
    return False


def _checked(
    table: Any, where: str, arguments: Mapping[str, _Argument], owner: str, choice: str | None = None
) -> dict[str, Any]:
    """The values of a table, all known and of the right types, without the key that chose its owner."""
    values = {}
    for key, value in _table(table, where).items():
        if key == choice:
            continue
        place = f"{_path(where, key)} = {_shown(value)}"
        if key not in arguments:
            keys = ", ".join(arguments) or "none"
            raise ValueError(f"{place}: {owner} has no such key.{_nearest(key, arguments) or f' Its keys: {keys}.'}")
        hint = arguments[key].hint
        if not _fits(value, hint):
            choices = [one for part in _alternatives(hint) if get_origin(part) is Literal for one in get_args(part)]
            if choices and isinstance(value, str):
                raise ValueError(f"{place}: is not {_wanted(hint)}.{_nearest(value, choices)}")
            raise TypeError(f"{place}: is {_kind(value)}. Give {_wanted(hint)}.")
        values[key] = tuple(value) if isinstance(value, list) and hint is not list else value
    for key, argument in arguments.items():
        if key not in values and argument.default is inspect.Parameter.empty:
            raise ValueError(f"{_path(where, key)}: is missing from {owner}. Give {_wanted(argument.hint)}.")
    return values


def _choice(table: Any, where: str, key: str, registry: Collection[str], what: str) -> str:
    place, value = _path(where, key), _table(table, where).get(key)
    choices = f" Choose from {', '.join(registry)}."
    if value is None:
        raise ValueError(f"{place}: is missing.{choices}")
    if not isinstance(value, str):
        raise TypeError(f"{place} = {_shown(value)}: is {_kind(value)}.{choices}")
    if value not in registry:
        raise ValueError(f"{place} = {_shown(value)}: there is no such {what}.{_nearest(value, registry) or choices}")
    return value


def _table(table: Any, where: str) -> Table:
    if not isinstance(table, Mapping):
        raise TypeError(f"{where} = {_shown(table)}: is {_kind(table)}. Give a table.")
    return table


# ---- saying what is wrong -----------------------------------------------------------------------------------------


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Errors of the block begin with the place; what a value of the document can cause is one of three kinds."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{where}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from error
    except (ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from error


def _path(where: str, key: str) -> str:
    word = key if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else json.dumps(key)
    return f"{where}.{word}" if where else word


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "a bool", int: "an integer", float: "a float", str: "a string", list: "a list"}
    return "a table" if isinstance(value, Mapping) else kinds.get(type(value), f"a {type(value).__name__}")


def _nearest(word: str, choices: Collection[str]) -> str:
    """' Did you mean ...?', or '' where nothing is near; case does not count."""
    lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(str(word).lower(), lower, n=1)
    return f" Did you mean {_shown(lower[found[0]])}?" if found else ""
