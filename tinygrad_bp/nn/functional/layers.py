"""Layers without state, spelled as in PyTorch: what nn.Linear and its like compute with their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...opaque import value_check
from ...random import generator
from .accepted import as_floats, as_input, as_sizes, check_settings, raw, refuse

__all__ = ["dropout", "embedding", "linear"]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``z = x W^T + b`` for every row x of `input`: shapes (..., in), (out, in), (out,) give (..., out).

    >>> import tinygrad_bp as bp
    >>> linear(bp.tensor([[1.0, 2.0]]), bp.tensor([[3.0, 4.0]]), bp.tensor([5.0]))
    tensor([[16.]])
    """
    return ops.linear(as_input("linear", "input", input), weight, bias)


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """Every entry 0 with probability `p`, else divided by 1 - p, so that its mean stays; the input if not `training`.

    The draws are of the package's generator (:func:`~tinygrad_bp.manual_seed`), new ones in each call.

    >>> import tinygrad_bp as bp
    >>> bp.manual_seed(0)
    >>> dropout(bp.ones(4), 0.5), dropout(bp.ones(4), 0.5, training=False)
    (tensor([2., 0., 0., 0.]), tensor([1., 1., 1., 1.]))
    """
    check_settings("dropout", p=p, training=training)
    if not training or p == 0.0:
        return as_input("dropout", "input", input)
    input = as_floats("dropout", input)
    dtype = input.dtype
    kept = generator().random(input.shape, dtype=np.float64 if dtype.itemsize > 4 else np.float32) >= p
    return ops.multiply(input, kept * dtype.type(1.0 / (1.0 - p) if p < 1.0 else 0.0))


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """The rows of `weight`, (num, dim), that the integers of `input`, (...), number: (..., dim).

    The row `padding_idx`, counted from the end if negative, receives no gradient.

    >>> import tinygrad_bp as bp
    >>> embedding([2, 0], bp.tensor([[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]))
    tensor([[2. , 2.5],
            [0. , 0.5]])
    """
    weight, numbers = as_input("embedding", "weight", weight), raw(as_input("embedding", "input", input))
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight has shape {weight.shape}. Pass (num_embeddings, embedding_dim).")
    if numbers.dtype.kind not in "iu" and numbers.size:
        raise TypeError(f"embedding: input has dtype {numbers.dtype}. Pass integers, the numbers of rows.")
    rows = len(weight)
    if numbers.size:
        _check_rows(numbers, rows)
    else:
        numbers = numbers.astype(np.intp)  # a list of nothing is one of floats
    taken = ops.take(weight, numbers, 0)
    if padding_idx is None:
        return taken
    number = check_row("embedding", padding_idx, rows)
    return ops.where((numbers == number)[..., None], raw(taken), taken)


def check_row(name: str, padding_idx: int, rows: int) -> int:
    """`padding_idx` counted from 0; what numbers no row is refused."""
    (row,) = as_sizes(name, "padding_idx", padding_idx, 1, -rows)
    if row >= rows:
        raise ValueError(f"{name}: padding_idx {row} is none of {rows} rows. Pass {-rows} to {rows - 1}.")
    return row % rows


@value_check
def _check_rows(numbers: Any, rows: int) -> None:
    wrong = (numbers < 0) | (numbers >= rows)
    if wrong.any():
        refuse("embedding", "input", numbers, wrong, f"is no row of the weight. Pass 0 to {rows - 1}", IndexError)
