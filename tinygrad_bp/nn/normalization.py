"""Layers that normalise: by batch, by layer, by group."""

from __future__ import annotations

__all__: list[str] = []
