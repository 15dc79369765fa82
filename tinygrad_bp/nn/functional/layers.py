"""Layers without state, spelled as in PyTorch: what nn.Linear and its like compute with their parameters."""

from __future__ import annotations

from typing import Any

from ... import ops
from .accepted import as_input

__all__ = ["linear"]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``z = x W^T + b`` for every row x of `input`: shapes (..., in), (out, in), (out,) give (..., out).

    >>> import tinygrad_bp as bp
    >>> linear(bp.tensor([[1.0, 2.0]]), bp.tensor([[3.0, 4.0]]), bp.tensor([5.0]))
    tensor([[16.]])
    """
    return ops.linear(as_input("linear", "input", input), weight, bias)
