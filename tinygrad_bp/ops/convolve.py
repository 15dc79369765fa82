"""Convolutions: one family of three rows, each the derivative of the others.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

__all__: list[str] = []
