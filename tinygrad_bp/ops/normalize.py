"""Normalisations: a group of entries moved to mean 0 and variance 1.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

__all__: list[str] = []
