"""Nested lists, tuples and dicts of arrays: taken apart into a flat list of leaves, and put together again.

A dict, and a list or tuple that holds an array, a Tensor, None or another container at any depth, is a container; a
list of numbers is an array, as everywhere in NumPy. None is an empty container. Named tuples and ordered dicts keep
their type. The structure of a container is the container itself: no second description is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .recipe import Node

__all__ = ["leaves", "like", "matched", "paths"]


def _parts(x: Any) -> list[tuple[str, Any]] | None:
    """What a container holds, each with its index as it is written; None for a leaf."""
    if x is None:
        return []
    if isinstance(x, dict):
        return [(f"[{key!r}]", part) for key, part in x.items()]
    if isinstance(x, (list, tuple)) and (not x or any(map(_holds_array, x))):
        return [(f"[{k}]", part) for k, part in enumerate(x)]
    return None


def _holds_array(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return _parts(x) is not None
    return x is None or isinstance(x, (Node, np.ndarray, dict))


def paths(x: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf of a container, with the way to it: ``("['w'][0]", leaf)``; a leaf alone is its own, at ""."""
    parts = _parts(x)
    if parts is None:
        yield "", x
    for name, part in parts or ():
        yield from ((name + way, leaf) for way, leaf in paths(part))


def leaves(x: Any) -> list[Any]:
    """Every leaf of a container, in order.

    >>> leaves({"w": [np.ones(2), np.zeros(1)], "b": 3.0})
    [array([1., 1.]), array([0.]), 3.0]
    """
    return [leaf for _, leaf in paths(x)]


def like(x: Any, new: Iterable[Any]) -> Any:
    """A container as `x`, with `new` leaves in its order.

    >>> like({"w": [np.ones(2), np.zeros(1)], "b": 3.0}, "ABC")
    {'w': ['A', 'B'], 'b': 'C'}
    """
    return _like(x, iter(new))


def _like(x: Any, new: Iterator[Any]) -> Any:
    parts = _parts(x)
    if parts is None:
        return next(new)
    filled = [_like(part, new) for _, part in parts]
    if isinstance(x, dict):
        return x | dict(zip(x, filled))
    if hasattr(x, "_make"):  # a named tuple
        return x._make(filled)
    return None if x is None else type(x)(filled)


def matched(name: str, x: Any, given: Any) -> list[Any]:
    """The leaves of `given`, which must be a container as `x`, in the order of x; errors speak for `name`."""
    parts = _parts(x)
    if parts is None:
        return [given]
    others = [("", part) for part in given] if isinstance(given, (list, tuple)) else _parts(given)
    if isinstance(x, dict) and isinstance(given, dict):
        others = [(f"[{key!r}]", given[key]) for key in x if key in given]
        fits = len(others) == len(x) == len(given)
    else:
        fits = others is not None and len(others) == len(parts) and isinstance(given, dict) == isinstance(x, dict)
    if not fits:
        raise ValueError(f"{name}: got {_kind(given)} for {_kind(x)}. Pass a container of the same structure.")
    return [leaf for (way, part), (_, other) in zip(parts, others or ()) for leaf in matched(name + way, part, other)]


def _kind(x: Any) -> str:
    parts = _parts(x)
    if parts is None:
        return "one array"
    if isinstance(x, dict):
        return f"a dict of {', '.join(map(repr, x))}"
    return "None" if x is None else f"a {type(x).__name__} of {len(parts)}"
