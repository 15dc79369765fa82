"""Sorting and what follows from an order: medians, quantiles, partitions.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

__all__: list[str] = []
