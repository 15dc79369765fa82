"""PyTorch's nn.utils: gradients clipped, parameters as one vector."""

from __future__ import annotations

__all__: list[str] = []
