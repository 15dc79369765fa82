"""Documents as they come: TOML and JSON files, and dicts of the same shape."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from .mistakes import nearest, shown

__all__ = ["read"]


def read(path: Path) -> Any:
    if path.is_dir():
        raise IsADirectoryError("is a folder. Name a document.")
    if not path.exists():
        beside = [file.name for file in path.parent.glob("*") if file.suffix in (".toml", ".json")]
        raise FileNotFoundError(f"there is no such file.{nearest(path.name, beside)}")
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
        raise ValueError(f"the key {shown(twice)} stands twice in one table. Keep one.")
    return table
