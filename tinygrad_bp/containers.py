"""Nested lists, tuples and dicts of arrays: taken apart into a flat list, and put together again."""

from __future__ import annotations

__all__: list[str] = []
