"""The arguments of a constructor, read from its signature, and the values of a table checked against them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from .mistakes import kind_of, nearest, path_of, shown

__all__ = ["Argument", "arguments", "as_table", "checked", "choice"]

Table = Mapping[str, Any]


class Argument(NamedTuple):
    """The type of an argument and its default, if it has one."""

    hint: Any
    default: Any = inspect.Parameter.empty


def arguments(make: Callable[..., Any]) -> dict[str, Argument]:
    """The arguments that a table can give: those a document has a word for, but not the seed, which is for all."""
    hints = get_type_hints(make.__init__ if inspect.isclass(make) else make)
    named = (p for p in inspect.signature(make).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    found = {p.name: Argument(hints.get(p.name), p.default) for p in named}
    return {name: argument for name, argument in found.items() if name != "seed" and wanted(argument.hint)}


_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string", dict: "a table", list: "a list"}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def wanted(hint: Any) -> str:
    """The type in words, '' where no value of a document has it."""
    words = []
    for one in _alternatives(hint):
        if one in _WORDS:
            words.append(_WORDS[one])
        elif get_origin(one) is Literal:
            words.append("one of " + ", ".join(map(shown, get_args(one))))
        elif get_origin(one) is tuple and all(part in _WORDS for part in get_args(one)):
            words.append("[" + ", ".join(_WORDS[part] for part in get_args(one)) + "]")
    return " or ".join(words)


def fits(value: Any, hint: Any) -> bool:
    """Whether the value has the type: an integer is a number too, true and false are neither."""
    for one in _alternatives(hint):
        if get_origin(one) is Literal:
            right = any(type(value) is type(choice) and value == choice for choice in get_args(one))
        elif get_origin(one) is tuple:
            parts = get_args(one)
            right = isinstance(value, (list, tuple)) and len(value) == len(parts) and all(map(fits, value, parts))
        elif one is dict:
            right = isinstance(value, Mapping)
        else:
            right = type(value) is one or (one is float and type(value) is int)
        if right:
            return True
    return False


def checked(
    table: Any, where: str, arguments: Mapping[str, Argument], owner: str, choice: str | None = None
) -> dict[str, Any]:
    """The values of a table, all known and of the right types, without the key that chose its owner."""
    values = {}
    for key, value in as_table(table, where).items():
        if key == choice:
            continue
        place = f"{path_of(where, key)} = {shown(value)}"
        if key not in arguments:
            keys = ", ".join(arguments) or "none"
            raise ValueError(f"{place}: {owner} has no such key.{nearest(key, arguments) or f' Its keys: {keys}.'}")
        hint = arguments[key].hint
        if not fits(value, hint):
            choices = [one for part in _alternatives(hint) if get_origin(part) is Literal for one in get_args(part)]
            if choices and isinstance(value, str):
                raise ValueError(f"{place}: is not {wanted(hint)}.{nearest(value, choices)}")
            raise TypeError(f"{place}: is {kind_of(value)}. Give {wanted(hint)}.")
        values[key] = tuple(value) if isinstance(value, list) and hint is not list else value
    for key, argument in arguments.items():
        if key not in values and argument.default is inspect.Parameter.empty:
            raise ValueError(f"{path_of(where, key)}: is missing from {owner}. Give {wanted(argument.hint)}.")
    return values


def choice(table: Any, where: str, key: str, registry: Collection[str], what: str) -> str:
    place, value = path_of(where, key), as_table(table, where).get(key)
    choices = f" Choose from {', '.join(registry)}."
    if value is None:
        raise ValueError(f"{place}: is missing.{choices}")
    if not isinstance(value, str):
        raise TypeError(f"{place} = {shown(value)}: is {kind_of(value)}.{choices}")
    if value not in registry:
        raise ValueError(f"{place} = {shown(value)}: there is no such {what}.{nearest(value, registry) or choices}")
    return value


def as_table(table: Any, where: str) -> Table:
    if not isinstance(table, Mapping):
        raise TypeError(f"{where} = {shown(table)}: is {kind_of(table)}. Give a table.")
    return table
