"""Attention, spelled as in PyTorch.

The row is :data:`~tinygrad_bp.ops.attention_weights`. What is refused is refused here, in one line with the shapes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from .accepted import as_input, check_settings
from .layers import dropout

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """softmax(scale q k^T + mask) v, softmax over the keys (Vaswani et al., 2017, equation 1).

    Parameters
    ----------
    query, key, value
        (..., L, d), (..., S, d) and (..., S, e) give (..., L, e). Axes before these are broadcast.
    attn_mask
        Which keys a query sees, broadcast to (..., L, S): bools, True takes part, or floats, which are added. Where no
        key is left for a query its result is 0, and so are its gradients.
    dropout_p
        The probability of a weight to become 0 (the others grow by 1/(1 - p)); set it to 0 outside of training.
    is_causal
        Query i sees the keys up to the i-th: in the place of a mask.
    scale
        By default 1/sqrt(d).

    Raises
    ------
    ValueError
        Shapes that do not fit; both a mask and `is_causal`; a `dropout_p` outside of [0, 1].
    TypeError
        A mask of integers; a `dropout_p` that is no number.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> x = bp.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    >>> scaled_dot_product_attention(x, x, x, is_causal=True)[0]
    tensor([1., 0.])
    """
    name = "scaled_dot_product_attention"
    check_settings(name, dropout_p=dropout_p, is_causal=is_causal, **{} if scale is None else {"scale": scale})
    query, key, value = (as_input(name, *pair) for pair in (("query", query), ("key", key), ("value", value)))
    scores = _scores(name, query.shape, key.shape, value.shape)
    if is_causal:
        if attn_mask is not None:
            raise ValueError(f"{name}: attn_mask and is_causal=True are both given. Pass one of them.")
        attn_mask = causal(*scores[-2:])
    elif attn_mask is not None:
        attn_mask = as_mask(name, "attn_mask", attn_mask)
        if _broadcast(attn_mask.shape, scores) != scores:
            wrong = f"attn_mask has shape {attn_mask.shape}, the scores {scores}"
            raise ValueError(f"{name}: {wrong}. Pass a mask that broadcasts to them.")
    return attend(query, key, value, attn_mask, dropout_p, scale)[0]


def attend(q: Any, k: Any, v: Any, mask: Any, dropout_p: float, scale: float | None = None) -> tuple[Any, Any]:
    """The result, and the weights that gave it; nothing is checked."""
    weights = ops.attention_weights(q, k, mask, 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return ops.matmul(weights, v), weights


def causal(queries: int, keys: int) -> Any:
    """The mask in which query i sees the keys up to the i-th."""
    return np.tri(queries, keys, dtype=bool)


def as_mask(name: str, role: str, mask: Any) -> Any:
    """A mask of bools or floats; anything else is refused."""
    mask = as_input(name, role, mask)
    if mask.dtype.kind not in "bf":
        raise TypeError(f"{name}: {role} has dtype {mask.dtype}. Pass bools, or floats to add to the scores.")
    return mask


def _scores(name: str, q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> tuple[int, ...]:
    """(..., L, S) for inputs of these shapes; those that do not fit are refused."""
    if min(len(q), len(k), len(v)) < 2:
        raise ValueError(f"{name}: query {q}, key {k}, value {v}. Give each the axes (..., length, features).")
    if not q[-1] == k[-1] > 0:
        raise ValueError(f"{name}: query {q} has {q[-1]} features, key {k} has {k[-1]}. Give both as many, 1 or more.")
    if k[-2] != v[-2]:
        raise ValueError(f"{name}: key {k} has length {k[-2]}, value {v} has {v[-2]}. Pass one value for each key.")
    batch = _broadcast(q[:-2], k[:-2], v[:-2])
    if batch is None:
        raise ValueError(f"{name}: batches of query {q}, key {k}, value {v} do not broadcast. Make them equal, or 1.")
    return (*batch, q[-2], k[-2])


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None
