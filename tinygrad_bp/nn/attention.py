"""Attention with learned projections, and the encoder of the transformer (Vaswani et al., 2017).

The weights of attention are computed by the row on the page :mod:`~tinygrad_bp.ops.attention`. Names of arguments and
parameters, their order, how they begin and what masks mean are PyTorch's; its `add_bias_kv`, `add_zero_attn` and nested
tensors are not offered.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from .. import ops
from . import functional as F
from .functional.accepted import as_dtype, as_input, as_sizes, check_settings
from .functional.attention import as_mask, attend, causal
from .init import xavier_uniform_, zeros_
from .layers import Dropout, Linear
from .module import Module, Parameter
from .normalization import LayerNorm

__all__ = ["MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer"]


class MultiheadAttention(Module):
    """Attention in `num_heads` subspaces at once: of ``x W^T + b`` for queries, keys and values, joined and projected.

    Parameters
    ----------
    embed_dim
        Features of a query and of the result; a head has embed_dim / num_heads of them.
    num_heads
        How many heads, a divisor of `embed_dim`.
    dropout
        The probability with which a weight of attention becomes 0 in training.
    bias
        Whether the projections have biases.
    kdim, vdim
        Features of keys and values, by default `embed_dim`.
    batch_first
        Whether inputs are (batch, length, features) instead of (length, batch, features).
    dtype
        Of the parameters; by default the package's.

    Attributes
    ----------
    in_proj_weight
        The projections of queries, keys and values, one below the other, (3 * embed_dim, embed_dim); where `kdim` or
        `vdim` differ there are `q_proj_weight`, `k_proj_weight` and `v_proj_weight` in its place. They begin
        Xavier-uniform, as PyTorch's.
    in_proj_bias
        (3 * embed_dim,), begins 0; or None.
    out_proj
        The Linear of the result; its bias begins 0.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> attention = MultiheadAttention(8, 2, batch_first=True)
    >>> x = bp.zeros(3, 5, 8)
    >>> y, weights = attention(x, x, x)
    >>> y.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        name = type(self).__name__
        self.embed_dim = as_sizes(name, "embed_dim", embed_dim, 1, 1)[0]
        self.num_heads = as_sizes(name, "num_heads", num_heads, 1, 1)[0]
        (keys,) = as_sizes(name, "kdim", embed_dim if kdim is None else kdim, 1, 1)
        (values,) = as_sizes(name, "vdim", embed_dim if vdim is None else vdim, 1, 1)
        self.kdim, self.vdim, self._widths = kdim, vdim, (self.embed_dim, keys, values)
        if embed_dim % num_heads:
            raise ValueError(f"{name}: embed_dim {embed_dim} is no multiple of num_heads {num_heads}. Pass a divisor.")
        check_settings(name, dropout=dropout, bias=bias, batch_first=batch_first)
        self.dropout = float(dropout)
        self.bias = bias
        self.batch_first = batch_first
        dtype = as_dtype(name, dtype)
        self._joined = keys == values == embed_dim
        if self._joined:
            self.in_proj_weight = Parameter(np.zeros((3 * embed_dim, embed_dim), dtype))
        else:
            self.q_proj_weight = Parameter(np.zeros((embed_dim, embed_dim), dtype))
            self.k_proj_weight = Parameter(np.zeros((embed_dim, keys), dtype))
            self.v_proj_weight = Parameter(np.zeros((embed_dim, values), dtype))
        for weight in self.parameters():
            xavier_uniform_(weight)
        self.in_proj_bias = Parameter(np.zeros(3 * embed_dim, dtype)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype)
        if self.out_proj.bias is not None:
            zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """The result, shaped as `query`, and the weights (batch, L, S), (batch, num_heads, L, S) if not averaged.

        Parameters
        ----------
        query, key, value
            (L, batch, embed_dim), (S, batch, kdim), (S, batch, vdim); with `batch_first` the batch comes first; or
            (L, embed_dim), (S, kdim), (S, vdim).
        key_padding_mask
            (batch, S): bools, True leaves a key *out*, or floats, which are added to its scores.
        need_weights
            Whether to return the weights; otherwise None.
        attn_mask
            (L, S) or (batch * num_heads, L, S), likewise. A query that no key is left for gets weights of 0.
        average_attn_weights
            Whether the weights are the mean over the heads.
        is_causal
            Query i sees the keys up to the i-th. Beside an `attn_mask` it only says that the mask is of this kind.
        """
        name = type(self).__name__
        check_settings(name, need_weights=need_weights, average_attn_weights=average_attn_weights, is_causal=is_causal)
        given = {"query": query, "key": key, "value": value}
        inputs = [as_input(name, role, x) for role, x in given.items()]
        batched = self._check(*(x.shape for x in inputs))
        if not batched:
            inputs = [ops.expand_dims(x, 0) for x in inputs]
        heads = (self.num_heads, self.embed_dim // self.num_heads)
        to_heads, to_features = _AXES[self.batch_first or not batched]
        q, k, v = (
            ops.transpose(ops.reshape(ops.linear(x, w, b), (*x.shape[:2], *heads)), to_heads)
            for x, (w, b) in zip(inputs, self._projections())
        )
        mask = self._mask(attn_mask, key_padding_mask, (*q.shape[:3], k.shape[2]), batched)
        if is_causal and attn_mask is None:
            mask = _both(causal(q.shape[2], k.shape[2]), mask)
        y, weights = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        y = self.out_proj(ops.reshape(ops.transpose(y, to_features), inputs[0].shape))
        if average_attn_weights and need_weights:
            weights = ops.mean(weights, 1)
        y, weights = (y, weights) if batched else (y[0], weights[0])
        return y, weights if need_weights else None

    def _check(self, *shapes: tuple[int, ...]) -> bool:
        """Whether inputs of these shapes have a batch; those that do not fit are refused."""
        name, (q, k, v) = type(self).__name__, shapes
        ranks = {len(shape) for shape in shapes}
        if ranks not in ({2}, {3}):
            form = "(batch, length, features)" if self.batch_first else "(length, batch, features)"
            raise ValueError(f"{name}: query {q}, key {k}, value {v}. Pass all as {form}, or as (length, features).")
        for role, shape, width in zip(("query", "key", "value"), shapes, self._widths):
            if shape[-1] != width:
                have = f"{role} {shape} has {shape[-1]} features, the layer expects {width}"
                raise ValueError(f"{name}: {have}. Give the layer other sizes, or the input {width} features.")
        if k[:-1] != v[:-1]:
            raise ValueError(f"{name}: key {k} and value {v} differ in length or batch. Pass one value for each key.")
        batch = 0 if self.batch_first else 1
        if ranks == {3} and q[batch] != k[batch]:
            raise ValueError(f"{name}: query {q} is a batch of {q[batch]}, key {k} of {k[batch]}. Pass as many.")
        return ranks == {3}

    def _projections(self) -> list[tuple[Any, Any]]:
        """Weight and bias of queries, keys and values."""
        parts = [slice(i * self.embed_dim, (i + 1) * self.embed_dim) for i in range(3)]
        if self._joined:
            weights = [self.in_proj_weight[part] for part in parts]
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        bias = self.in_proj_bias
        return list(zip(weights, [None] * 3 if bias is None else [bias[part] for part in parts]))

    def _mask(self, attn_mask: Any, padding: Any, scores: tuple[int, ...], batched: bool) -> Any:
        """One mask for the row, True takes part, broadcasting to the scores (batch, num_heads, L, S); or None."""
        batch, heads, queries, keys = scores
        shapes = [(queries, keys), (batch * heads, queries, keys)]
        mask = self._taking_part("attn_mask", attn_mask, shapes)
        if mask is not None and mask.ndim == 3:
            mask = ops.reshape(mask, scores)
        padding = self._taking_part("key_padding_mask", padding, [(batch, keys) if batched else (keys,)])
        return _both(mask, None if padding is None else ops.reshape(padding, (batch, 1, 1, keys)))

    def _taking_part(self, role: str, mask: Any, shapes: list[tuple[int, ...]]) -> Any:
        """A mask of PyTorch's layers, where True is left out, turned round."""
        if mask is None:
            return None
        mask = as_mask(type(self).__name__, role, mask)
        if mask.shape not in shapes:
            form = " or ".join(map(str, shapes))
            raise ValueError(f"{type(self).__name__}: {role} has shape {mask.shape}. Pass {form} for these inputs.")
        return ops.logical_not(mask) if mask.dtype == bool else mask


# Axes (batch, length, head, feature), and with the batch second, to (batch, head, length, feature), and back.
_AXES = {True: ((0, 2, 1, 3), (0, 2, 1, 3)), False: ((1, 2, 0, 3), (2, 0, 1, 3))}


def _both(a: Any, b: Any) -> Any:
    """The mask that leaves out what either of two leaves out, or adds what both add."""
    if a is None or b is None:
        return b if a is None else a
    if a.dtype == b.dtype == bool:
        return ops.logical_and(a, b)
    a, b = (ops.where(x, 0.0, -np.inf) if x.dtype == bool else x for x in (a, b))
    return ops.add(a, b)


class TransformerEncoderLayer(Module):
    """Self-attention, then a network of two layers at every place; each added to its input and normalised.

    ``x = norm1(x + attention(x)); y = norm2(x + linear2(activation(linear1(x))))``, with dropout before each sum and
    after the activation; where `norm_first`, ``x = x + attention(norm1(x)); y = x + network(norm2(x))``.

    Parameters
    ----------
    d_model
        Features of the input and of the result.
    nhead
        Heads of the attention, a divisor of `d_model`.
    dim_feedforward
        Width of the hidden layer.
    dropout
        The probability of all dropouts.
    activation
        "relu", "gelu" or a function.
    layer_norm_eps
        The eps of both LayerNorms.
    batch_first
        Whether inputs are (batch, length, d_model) instead of (length, batch, d_model).
    norm_first
        Whether to normalise the inputs of the two parts instead of the sums.
    bias
        Whether linear layers and norms have biases.
    dtype
        Of the parameters; by default the package's.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> layer = TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(bp.zeros(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Literal["relu", "gelu"] | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        name = type(self).__name__
        check_settings(name, dropout=dropout, norm_first=norm_first, layer_norm_eps=layer_norm_eps)
        if not callable(activation) and activation not in ("relu", "gelu"):
            raise ValueError(f'{name}: activation is {activation!r}. Choose "relu" or "gelu", or pass a function.')
        self.d_model, self.nhead, self.dim_feedforward, self.bias = d_model, nhead, dim_feedforward, bias
        self.layer_norm_eps, self.batch_first = layer_norm_eps, batch_first
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """The result, shaped as `src`; masks as in :class:`MultiheadAttention`."""

        def attention(x: Any) -> Any:
            return self.dropout1(self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0])

        if self.norm_first:
            x = ops.add(src, attention(self.norm1(src)))
            return ops.add(x, self._network(self.norm2(x)))
        x = self.norm1(ops.add(src, attention(src)))
        return self.norm2(ops.add(x, self._network(x)))

    def _network(self, x: Any) -> Any:
        activation = getattr(F, self.activation) if isinstance(self.activation, str) else self.activation
        return self.dropout2(self.linear2(self.dropout(activation(self.linear1(x)))))


class TransformerEncoder(Module):
    """`num_layers` copies of an encoder layer, one after the other, then `norm` if there is one.

    >>> import tinygrad_bp as bp
    >>> encoder = TransformerEncoder(TransformerEncoderLayer(8, 2, 16), 2)
    >>> encoder(bp.zeros(5, 3, 8)).shape
    (5, 3, 8)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        name = type(self).__name__
        (self.num_layers,) = as_sizes(name, "num_layers", num_layers, 1, 1)
        for role, given in {"encoder_layer": encoder_layer, "norm": norm}.items():
            if not isinstance(given, Module) and (given is not None or role == "encoder_layer"):
                raise TypeError(f"{name}: {role} is {given!r}. Pass a layer that is made, such as LayerNorm(8).")
        self.layers = [copy.deepcopy(encoder_layer) for _ in range(self.num_layers)]
        self.norm = norm

    @property
    def encoder_layer(self) -> Any:
        """The first of the copies."""
        return self.layers[0]

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """The result, shaped as `src`; masks as in :class:`MultiheadAttention`."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)
