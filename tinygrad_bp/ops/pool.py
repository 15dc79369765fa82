"""Pooling: the largest or the mean of windows.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

__all__: list[str] = []
