"""Saying what is wrong in a document: the path, the value, and the nearest right word."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["at", "kind_of", "nearest", "path_of", "shown"]


@contextmanager
def at(where: str) -> Iterator[None]:
    """Errors of the block begin with the place; what a value of the document can cause is one of three kinds."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{where}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from error
    except (ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from error


def path_of(where: str, key: str) -> str:
    word = key if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else json.dumps(key)
    return f"{where}.{word}" if where else word


def shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "a bool", int: "an integer", float: "a float", str: "a string", list: "a list"}
    return "a table" if isinstance(value, Mapping) else kinds.get(type(value), f"a {type(value).__name__}")


def nearest(word: str, choices: Collection[str]) -> str:
    """' Did you mean ...?', or '' where nothing is near; case does not count."""
    lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(str(word).lower(), lower, n=1)
    return f" Did you mean {shown(lower[found[0]])}?" if found else ""
