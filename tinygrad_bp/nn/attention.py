"""Attention and the encoder layer of the transformer."""

from __future__ import annotations

__all__: list[str] = []
