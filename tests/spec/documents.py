"""The document that the tests change."""

from __future__ import annotations

import copy
import functools
import operator
import tomllib
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "examples" / "digits.toml").read_text("utf-8")
DOCUMENT = tomllib.loads(TEXT)


def changed(path, value):
    """DOCUMENT with one value replaced or added; ... removes it."""
    document = copy.deepcopy(DOCUMENT)
    *way, last = path
    table = functools.reduce(operator.getitem, way, document)
    if value is ...:
        del table[last]
    else:
        table[last] = value
    return document


def layer(position, key):
    return ("model", "layers", position, key)
