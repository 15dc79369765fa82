"""Function: forward and backward as two methods, for people who come from PyTorch."""

from __future__ import annotations

__all__: list[str] = []
