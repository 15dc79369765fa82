"""Functions of one or two real variables beyond the elementary ones: erf, sinc, copysign and their like.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

__all__: list[str] = []
