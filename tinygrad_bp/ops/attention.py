"""Attention: how much each query looks at each key.

Scaled dot-product attention (Vaswani et al., 2017, equation 1) is ``attention_weights(q, k) @ v``: this row and
``matmul``. The weights are a value of the graph, so the backward computes no softmax again. Scaled are the queries and
not the scores, which are many more. The words are those of :mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..opaque import kernel
from ..recipe import row

__all__ = ["attention_weights"]


@kernel
def _weights(q: Any, k: Any, mask: Any, scale: float) -> Any:
    s = (q * scale) @ k.mT
    if mask is not None:
        s += np.where(mask, 0.0, -np.inf) if np.asarray(mask).dtype == bool else mask
    with np.errstate(over="ignore"):
        s -= s.max(-1, keepdims=True, initial=np.finfo(s.dtype).min)  # finite where all keys are left out
    np.exp(s, s)
    total = s @ np.ones(s.shape[-1], s.dtype)  # a matrix-vector product: four times as fast as s.sum(-1)
    s /= np.maximum(total, 1.0)[..., None]  # only without a key it is less
    return s


def _weights_slopes(g: Any, p: Any, q: Any, k: Any, mask: Any, scale: float) -> tuple[Any, Any, Any]:
    of_row = (g * p) @ np.ones_like(p, shape=p.shape[-1:])
    ds = (g - of_row[..., None]) * p
    return scale * (ds @ k), scale * (ds.mT @ q), ds


attention_weights = row(
    "attention_weights", lambda q, k, mask, scale=1.0: _weights(q, k, mask, scale), joint=_weights_slopes
)
"""softmax(scale q k^T + mask), a row a query: (..., L, d) and (..., S, d) give (..., L, S).

In a mask of bools True takes part, one of floats is added. The weights of a query that no key is left for are 0.
"""
