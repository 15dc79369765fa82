"""Documents as they come and go: TOML and JSON files read, single values replaced, TOML written.

What comes out is plain dicts, lists and values; what they mean is not asked here, but for one thing: a relative `path`
or `folder` in ``[data]`` is relative to the document, so it is made absolute when the document is read.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .mistakes import kind_of, nearest, path_of, shown

__all__ = ["anchored", "check_sizes", "overridden", "plain", "read", "written"]

LONGEST_FILE = 1_000_000  # bytes; a table for each of ten thousand layers fits
LARGEST = 10**8  # of an integer that may be a size
DEEPEST = 100  # tables and lists in one another
LONGEST = 1000  # digits of an integer
_DEEP = "the values are nested too deeply. Give the tables that a document has."
_LONG = f"an integer has more than {LONGEST} digits. Give a shorter one."


def read(path: Path) -> dict[str, Any]:
    """The document in a file, JSON if its name ends in .json and else TOML; messages do not name the file."""
    if path.is_dir():
        raise IsADirectoryError("is a folder. Name a document.")
    if not path.exists():
        beside = [file.name for file in path.parent.glob("*") if file.suffix in (".toml", ".json")]
        raise FileNotFoundError(f"there is no such file.{nearest(path.name, beside)}")
    with path.open("rb") as file:
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise ValueError(f"is larger than {LONGEST_FILE} bytes. Name a document.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8. Save the document as UTF-8.") from error
    try:
        document = json.loads(text, object_pairs_hook=_unique) if path.suffix == ".json" else _toml(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ValueError(f"this is no {kind}: {error}. Correct the document there.") from error
    except ValueError as error:
        if "integer string conversion" in str(error):  # Python's own limit on digits
            raise ValueError(_LONG) from error
        raise
    except RecursionError as error:
        raise ValueError(_DEEP) from error
    if not isinstance(document, dict):
        raise TypeError(f"the document is {kind_of(document)}. Give a table.")
    return anchored(plain(document), path.parent)


def overridden(document: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of the document with values replaced or added: ``place=value``, the value TOML or else a string.

    Raises ValueError or TypeError where a setting has no ``=`` or its place is in no table or list of the document.

    >>> overridden({"optim": {"type": "SGD", "lr": 0.5}}, ["optim.lr=0.1", "optim.type=Adam"])
    {'optim': {'type': 'Adam', 'lr': 0.1}}
    >>> overridden({"model": {"layers": [{"type": "Tanh"}]}}, ["model.layers[0].type=ReLU", "seed=1"])
    {'model': {'layers': [{'type': 'ReLU'}]}, 'seed': 1}
    """
    result: dict[str, Any] = plain(document)
    for setting in settings:
        place, equals, text = setting.partition("=")
        if not equals or not _PLACE.fullmatch(place := place.strip()):
            raise ValueError(f"{shown(setting)}: is no setting. Give place=value, as in optim.lr=0.1.")
        inside: Any = result
        here = ""
        *way, last = (int(index) if index else key for key, index in _STEP.findall(place))
        for step in way:
            _check_step(inside, here, step, exists=True)
            here, inside = _below(here, step), inside[step]
        _check_step(inside, here, last, exists=False)
        inside[last] = _value(text, place)
        result = plain(result)  # which refuses what is too deep
    return result


def written(document: Mapping[str, Any]) -> str:
    """The document as TOML, from which `tomllib` reads it back exactly; what is None is left out.

    Raises
    ------
    ModuleNotFoundError
        The package tomli-w is not installed.
    TypeError, ValueError
        A value that TOML has no word for.
    """
    try:
        import tomli_w
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("writing a document needs the package tomli-w: pip install tomli-w.") from error
    text = tomli_w.dumps(_without_none(plain(document)))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text[error.start]!a} is no character of TOML. Take it out of the document.") from error
    return text


def anchored(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The document with `path` and `folder` of its data absolute: where they are relative, they are so to `folder`.

    Its key ``$schema``, which tells editors where the schema is, is left out.
    """
    document = {key: value for key, value in document.items() if key != "$schema"}
    data = document.get("data")
    if not isinstance(data, Mapping):
        return document
    places = {key: data[key] for key in ("path", "folder") if isinstance(data.get(key), str)}
    absolute = {key: os.path.abspath(folder / value) for key, value in places.items()}
    return {**document, "data": {**data, **absolute}}


def plain(value: Any, where: str = "", depth: int = 0) -> Any:
    """A deep copy with dicts for mappings and lists for tuples; too deep nesting and huge integers are refused."""
    if depth > DEEPEST:
        raise ValueError(_DEEP)
    if isinstance(value, Mapping):
        return {key: plain(one, path_of(where, key), depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one, _below(where, k), depth + 1) for k, one in enumerate(value)]
    if isinstance(value, int) and abs(value) >= 10**LONGEST:
        raise ValueError(f"{where}: {_LONG}")
    return value


def check_sizes(value: Any, where: str) -> None:
    """Refuse integers that would fill the memory before anyone can say so; a `seed` may be of any size."""
    if isinstance(value, int) and value > LARGEST:
        raise ValueError(f"{where} = {shown(value)}: is too large. Give at most {LARGEST}.")
    for key, one in value.items() if isinstance(value, Mapping) else ():
        if key != "seed":
            check_sizes(one, path_of(where, key))
    for k, one in enumerate(value) if isinstance(value, list) else ():
        check_sizes(one, _below(where, k))


# A dotted key, or more than that; possessive, so that no text takes longer than its length.
_DOTTED = re.compile(r"""(?:(?:[\w-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+')[ \t]*+(?:\.[ \t]*+)?+)++""")
_STEP = re.compile(r"([A-Za-z0-9_-]+)|\[([0-9]{1,9})\]")
_PLACE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+|\[[0-9]{1,9}\])*")


def _check_step(inside: Any, here: str, step: str | int, exists: bool) -> None:
    """Refuse a key of what is no table, an index of what is no list, and what is not there."""
    place, indexed = _below(here, step), isinstance(step, int)
    if isinstance(inside, list) != indexed or not isinstance(inside, (list, dict)):
        index = f" Write {here}[{step}]." if isinstance(inside, list) and str(step).isdecimal() else ""
        raise TypeError(f"{place}: {here} is {kind_of(inside)}, not a {'list' if indexed else 'table'}.{index}")
    if isinstance(step, int) and step >= len(inside):
        raise ValueError(f"{place}: {here} has {len(inside)} entries, counted from 0.")
    if isinstance(inside, dict) and exists and step not in inside:
        tables = [key for key, value in inside.items() if isinstance(value, (dict, list))]
        there = f" There is {', '.join(tables)}." if tables else ""
        hint = nearest(str(step), tables) or f"{there} Give a new one whole: {place}={{...}}."
        raise ValueError(f"{place}: there is no such table.{hint}")


def _below(here: str, step: str | int) -> str:
    return f"{here}[{step}]" if isinstance(step, int) else path_of(here, step)


def _toml(text: str) -> dict[str, Any]:
    if any(key[0].count(".") > DEEPEST for key in _DOTTED.finditer(text)):  # tomllib takes minutes for one that is long
        raise ValueError(_DEEP)
    return tomllib.loads(text)


def _value(text: str, place: str) -> Any:
    try:
        table = _toml(f"value = {text.strip()}")
    except RecursionError as error:
        raise ValueError(_DEEP) from error
    except ValueError as error:
        if text.strip().startswith(("[", "{")):
            raise ValueError(
                f"{place}={shown(text)[1:-1]}: is no TOML. Strings stand in quotes there, and all of it for the shell: "
                """'train.metrics=["f1"]'."""
            ) from error
        return text
    return table["value"] if len(table) == 1 else text


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} stands twice in one table. Keep one.")
    return table
