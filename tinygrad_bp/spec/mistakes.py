"""Saying what is wrong in a document, in one line: the path, the value, and the nearest right word."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..spelling import did_you_mean

__all__ = ["at", "kind_of", "nearest", "one_line", "path_of", "shown"]


@contextmanager
def at(where: str) -> Iterator[None]:
    """Errors of the block begin with the place; what is none of our kinds is a ValueError that says which it was."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{where}: {one_line(error)}") from error
    except TypeError as error:
        raise TypeError(f"{where}: {one_line(error)}") from error
    except (ValueError, IndexError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"{where}: {one_line(error)}") from error
    except Exception as error:
        raise ValueError(f"{where}: {type(error).__name__}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """The message without line breaks."""
    return " ".join(str(error).split("\n"))


def path_of(where: str, key: str) -> str:
    """The place of a key in the table at `where`."""
    word = key if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else json.dumps(key)
    return f"{where}.{word}" if where else word


def shown(value: Any) -> str:
    """The value as JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind_of(value: Any) -> str:
    """What a value of a document is, in words."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "a bool", int: "an integer", float: "a float", str: "a string", list: "a list"}
    return "a table" if isinstance(value, Mapping) else kinds.get(type(value), f"a {type(value).__name__}")


def nearest(word: str, choices: Collection[str], quoted: bool = True) -> str:
    """' Did you mean ...?', or '' where nothing is near; case does not count."""
    return did_you_mean(str(word), choices, shown if quoted else str)
