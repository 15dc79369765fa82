"""Products of matrices: linear, matmul and their relatives. The four equations of backpropagation live on this page.

``linear`` is one layer, z = x W^T + b, a row of x a sample. Its three partials are three of the four equations:
BP2, the error passed back, dC/dx = g W; BP4, dC/dW = g^T x; BP3, dC/db = g, summed over the batch by the walker. BP1,
the error of the output layer, is the row of the loss times the row of the activation. The other words are those of
:mod:`~tinygrad_bp.ops.arithmetic`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..recipe import binary, primitive

__all__ = ["linear", "matmul"]

# ---- linear ------------------------------------------------------------------------------------------------


def _product(a: Any, b: Any) -> Any:
    """a @ b, as one product of matrices; small ones by their own method, whose call costs a third of np.matmul's."""
    if a.ndim > 2:
        return _product(_rows(a), b).reshape((*a.shape[:-1], b.shape[-1]))
    return a.dot(b) if a.ndim == 2 and len(a) * b.shape[-1] < 4096 else a @ b


def _rows(x: Any) -> Any:
    """All samples as the rows of one matrix, whatever axes the batch has."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _linear(x: Any, w: Any, b: Any = None) -> Any:
    try:
        z = _product(x, w.T)
    except (AttributeError, ValueError):
        raise ValueError(_misfit(x, w)) from None
    if w.ndim != 2:
        raise ValueError(_misfit(x, w))
    if b is None:
        return z
    if getattr(b, "shape", ()) != w.shape[:1]:
        raise ValueError(f"linear: bias {np.shape(b)} does not fit weight {w.shape}. Pass one a row, {w.shape[:1]}.")
    return np.add(z, b, z if z.dtype == b.dtype else None)


def _misfit(x: Any, w: Any) -> str:
    x, w = np.shape(x), np.shape(w)
    if len(w) != 2 or not x:
        return f"linear: input {x} and weight {w} do not fit. Pass (..., in) and (out, in)."
    advice = f"Give the layer in_features={x[-1]} or the input {w[1]} columns."
    return f"linear: input {x} has {x[-1]} features, weight {w} expects {w[1]}. {advice}"


linear = primitive(
    "linear",
    _linear,
    lambda g, z, x, w, b: _product(g, w),  #                 BP2: the error, back through the weights
    lambda g, z, x, w, b: _product(_rows(g).T, _rows(x)),  # BP4: error times input
    lambda g, z, x, w, b: _rows(g),  #                       BP3: the error itself
)

# ---- matmul ------------------------------------------------------------------------------------------------


def _matmul_da(g: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return g[..., None] * b
    return (g[..., None, :] @ b.mT)[..., 0, :] if a.ndim == 1 else g @ b.mT


def _matmul_db(g: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1:
        return a * g if b.ndim == 1 else a[:, None] * g[..., None, :]
    return (a.mT @ g[..., None])[..., 0] if b.ndim == 1 else a.mT @ g


def _matmul(a: Any, b: Any) -> Any:
    try:
        return np.matmul(a, b)
    except ValueError:
        raise ValueError(
            f"matmul: shapes {np.shape(a)} and {np.shape(b)} do not fit. The last axis of the first must be as long "
            "as the last but one of the second; axes before them must broadcast."
        ) from None


matmul = binary("matmul", _matmul, lambda g, z, a, b: _matmul_da(g, a, b), lambda g, z, a, b: _matmul_db(g, a, b))
