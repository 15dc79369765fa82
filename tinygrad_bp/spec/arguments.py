"""The arguments of a constructor, read from its signature, and the values of a table checked against them.

A document has words for true and false, numbers, strings, lists and tables. So an argument is a key if its type is one
of these, a choice of such words, a list or tuple of them, a path, a dict, or a Module or LRScheduler, which is a table
with a `type`. An argument without annotation takes any of them. Where None is allowed beside what is no string, "none"
says it, for TOML has no null.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeGuard, Union, get_args, get_origin, get_type_hints

from numpy.typing import DTypeLike

from .. import nn
from ..optim.lr_scheduler import LRScheduler
from .mistakes import kind_of, nearest, path_of, shown

__all__ = [
    "DTYPE", "LISTS", "NONE", "REQUIRED", "WRONG", "Argument", "Table", "alternatives", "arguments", "as_table", "call",
    "checked", "choice", "converted", "made_of", "parameters", "wanted",
]  # fmt: skip

Table = Mapping[str, Any]
REQUIRED = inspect.Parameter.empty
NONE = "none"
WRONG = object()
"""What `converted` returns for a value of another type."""


class Argument(NamedTuple):
    """The type of an argument and its default, if it has one."""

    hint: Any
    default: Any = REQUIRED


def arguments(make: Callable[..., Any], given: int = 0) -> dict[str, Argument]:
    """The arguments that a table can give: those a document has a word for, without the first `given`.

    The seed of a function and of the DataLoader is none of them: one seed is for all.
    """
    return {name: argument for name, argument in parameters(make, given).items() if wanted(argument.hint)}


def parameters(make: Callable[..., Any], given: int = 0) -> dict[str, Argument]:
    """All arguments but the first `given` and the seed of what is no Module; ``*args`` is a list."""
    found: dict[str, Argument] = {}
    for function in _functions(make):
        try:
            hints = get_type_hints(function)
        except Exception:  # annotations that mean nothing outside of their own file
            hints = {}
        own = list(inspect.signature(function).parameters.values())
        passed_on = any(p.kind is p.VAR_KEYWORD for p in own)
        for p in own[1:] if inspect.isclass(make) else own:
            hint = hints.get(p.name, Any)
            if p.kind is p.VAR_POSITIONAL and not passed_on:
                found.setdefault(p.name, Argument(list[hint], ()))  # type: ignore[valid-type]
            elif p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                found.setdefault(p.name, Argument(DTYPE if hint in DTYPE_LIKE else hint, p.default))
    if not _is_module(make):
        found.pop("seed", None)
    return dict(list(found.items())[given:])


DTYPE = Literal["float16", "float32", "float64"] | None
DTYPE_LIKE = (DTypeLike, DTypeLike | None)


def _functions(make: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The function itself; of a class its ``__init__``, and the one above as long as ``**kwargs`` are passed on."""
    if not inspect.isclass(make):
        return [make]
    found = []
    for init in [vars(cls)["__init__"] for cls in make.__mro__[:-1] if "__init__" in vars(cls)]:
        found.append(init)
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(init).parameters.values()):
            break
    return found


def call(make: Callable[..., Any], given: Sequence[Any], values: Mapping[str, Any]) -> Any:
    """``make(*given, ...)`` with the values by name, or by position where it takes them only so."""
    own = list(inspect.signature(make).parameters.values())[len(given) :]
    several = next((p.name for p in own if p.kind is p.VAR_POSITIONAL), None)
    values = dict(values)
    last = values.pop(several, ()) if several else ()
    kinds = {inspect.Parameter.POSITIONAL_ONLY} | ({inspect.Parameter.POSITIONAL_OR_KEYWORD} if last else set())
    first = [values.pop(p.name, p.default) for p in own if p.kind in kinds]
    return make(*given, *first, *last, **values)


# ---- types ---------------------------------------------------------------------------------------------------------

_WORDS: dict[Any, str] = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
_WORDS |= {types.NoneType: '"none"', dict: "a table", list: "a list", Any: "a value"}
LISTS = (list, Sequence, Iterable, Collection)
_TABLES = (dict, Mapping)
_PATHS = (Path, os.PathLike)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def made_of(hint: Any) -> type | None:
    """Module or LRScheduler, where that or a list of it is the type: what a nested table makes."""
    for one in alternatives(hint):
        if get_origin(one) in LISTS:
            return made_of(get_args(one)[0])
        for base in (nn.Module, LRScheduler):
            if inspect.isclass(one) and issubclass(one, base):
                return base
    return None


def wanted(hint: Any) -> str:
    """The type in words, '' where no value of a document has it."""
    words = dict.fromkeys(filter(None, map(_wanted_one, alternatives(hint))))
    return " or ".join(words) if set(words) - {_WORDS[types.NoneType]} else ""


def _wanted_one(one: Any) -> str:
    origin, parts = get_origin(one), get_args(one)
    if one in _WORDS:
        return _WORDS[one]
    if origin is Literal:
        return "one of " + ", ".join(map(shown, parts))
    if origin in (tuple, *LISTS):
        words = [wanted(part) for part in parts if part is not ...]
        more = ", ..." if origin is not tuple or ... in parts else ""
        return f"[{', '.join(words)}{more}]" if all(words) else ""
    if one in _PATHS or origin in _PATHS:
        return _WORDS[str]
    if one in _TABLES or origin in _TABLES or made_of(one):
        return _WORDS[dict]
    return _WORDS[list] if one in (tuple, *LISTS) else ""


def converted(value: Any, hint: Any) -> Any:
    """The value as the constructor takes it, or WRONG: an integer is a number too, true and false are neither."""
    return next((got for got in (_converted_one(value, one) for one in alternatives(hint)) if got is not WRONG), WRONG)


def _converted_one(value: Any, one: Any) -> Any:
    origin, parts = get_origin(one), get_args(one)
    if one is Any:
        return value if isinstance(value, (bool, int, float, str, list, tuple, Mapping)) else WRONG
    if one is types.NoneType:
        return None if value == NONE else WRONG
    if origin is Literal:
        return value if any(type(value) is type(part) and value == part for part in parts) else WRONG
    if tuple in (one, origin) or one in LISTS or origin in LISTS:
        return _converted_list(value, tuple in (one, origin), parts or (Any, ...))
    if one in _PATHS or origin in _PATHS:
        return Path(value) if isinstance(value, str) else WRONG
    if one in _TABLES or origin in _TABLES or made_of(one):
        return value if isinstance(value, Mapping) else WRONG
    return value if type(value) is one or (one is float and type(value) is int) else WRONG


def _converted_list(value: Any, fixed: bool, parts: tuple[Any, ...]) -> Any:
    if not isinstance(value, (list, tuple)):
        return WRONG
    if not fixed and made_of(parts[0]):
        return list(value)  # each is a table of its own, with a place of its own
    if not fixed or ... in parts:
        parts = (parts[0],) * len(value)
    found = [converted(each, part) for each, part in zip(value, parts)]
    if len(value) != len(parts) or any(each is WRONG for each in found):
        return WRONG
    return tuple(found) if fixed else found


# ---- tables --------------------------------------------------------------------------------------------------------


def checked(
    table: Any, where: str, arguments: Mapping[str, Argument], owner: str, choice: str | None = None
) -> dict[str, Any]:
    """The values of a table, all known and of the right types, without the key that chose its owner."""
    values = {}
    for key, value in as_table(table, where).items():
        if key == choice:
            continue
        place = path_of(where, key)
        if key not in arguments:
            near = nearest(key, [*arguments, choice] if choice else [*arguments], quoted=False)
            keys = ", ".join(arguments) or "none"
            raise ValueError(f"{place}: unknown key of {owner}.{near or f' Its keys: {keys}.'}")
        values[key] = converted(value, arguments[key].hint)
        if values[key] is WRONG:
            _refuse(f"{place} = {shown(value)}", value, arguments[key].hint)
    for key, argument in arguments.items():
        if key not in values and argument.default is REQUIRED:
            raise ValueError(f"{path_of(where, key)}: is missing from {owner}. Give {wanted(argument.hint)}.")
    return values


def _refuse(place: str, value: Any, hint: Any) -> None:
    choices = [one for part in alternatives(hint) if get_origin(part) is Literal for one in get_args(part)]
    if choices and isinstance(value, str):
        raise ValueError(f"{place}: is not {wanted(hint)}.{nearest(value, choices)}")
    raise TypeError(f"{place}: is {kind_of(value)}. Give {wanted(hint)}.")


def choice(table: Any, where: str, key: str, registry: Collection[str], what: str) -> str:
    """The name that a table chooses from a registry."""
    place, value = path_of(where, key), as_table(table, where).get(key)
    choices = f" Choose from {', '.join(registry)}."
    if value is None:
        raise ValueError(f"{place}: is missing.{choices}")
    if not isinstance(value, str):
        raise TypeError(f"{place} = {shown(value)}: is {kind_of(value)}.{choices}")
    if value not in registry:
        near = nearest(value, registry) or f" One of your own comes in by --import or bp.register.{choices}"
        raise ValueError(f"{place} = {shown(value)}: there is no such {what}.{near}")
    return value


def as_table(table: Any, where: str) -> Table:
    """The value, if it is a table."""
    if not isinstance(table, Mapping):
        raise TypeError(f"{where} = {shown(table)}: is {kind_of(table)}. Give a table.")
    return table


def _is_module(make: Any) -> TypeGuard[type[nn.Module]]:
    return inspect.isclass(make) and issubclass(make, nn.Module)
