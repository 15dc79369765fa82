"""checkpoint: recompute in the backward pass what the forward pass did not store."""

from __future__ import annotations

__all__: list[str] = []
