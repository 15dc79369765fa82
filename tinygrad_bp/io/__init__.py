"""Files: the weights of a model, written in one piece and checked when read."""

from __future__ import annotations

from .weights import load, save

__all__ = ["load", "save"]
