"""Powers of e, logarithms, roots and the first activations, each with its derivative beside it.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. Where the derivative is cheaper in terms of the output y it
is said so. At 0 ``sqrt`` and ``cbrt`` have slope inf; ``relu`` takes the slope of the left side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import binary, unary
from .arithmetic import gate, over, times

# fmt: off
__all__ = [
    "cbrt", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "relu", "sigmoid", "sqrt", "tanh",
]
# fmt: on

LN2, LN10 = float(np.log(2.0)), float(np.log(10.0))

# ---- powers of e, roots ------------------------------------------------------------------------------------

exp = unary("exp", np.exp, lambda g, y, x: times(g, y))
exp2 = unary("exp2", np.exp2, lambda g, y, x: times(g, y * LN2))
expm1 = unary("expm1", np.expm1, lambda g, y, x: times(g, np.exp(x)))
log = unary("log", np.log, lambda g, y, x: over(g, x))
log2 = unary("log2", np.log2, lambda g, y, x: over(g, x * LN2))
log10 = unary("log10", np.log10, lambda g, y, x: over(g, x * LN10))
log1p = unary("log1p", np.log1p, lambda g, y, x: over(g, 1.0 + x))
sqrt = unary("sqrt", np.sqrt, lambda g, y, x: over(g, 2.0 * y))
cbrt = unary("cbrt", np.cbrt, lambda g, y, x: over(g, 3.0 * y * y))
logaddexp = binary(
    "logaddexp",
    np.logaddexp,
    lambda g, z, a, b: over(g, 1.0 + np.exp(b - a)),
    lambda g, z, a, b: over(g, 1.0 + np.exp(a - b)),
)

# ---- activations -------------------------------------------------------------------------------------------


_HALF = np.dtype(np.float16)


def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) as e / (1 + e), e = exp(min(x, 40)): no overflow, and the left tail keeps its digits."""
    enough = 10.0 if getattr(x, "dtype", None) is _HALF else 40.0  # from here on 1 + e == e
    e = np.exp(np.minimum(x, enough))
    return e / (1.0 + e)


sigmoid = unary("sigmoid", _sigmoid, lambda g, y, x: g * y * (1.0 - y))
tanh = unary("tanh", np.tanh, lambda g, y, x: g * (1.0 - y * y))
relu = unary("relu", lambda x: np.maximum(x, 0.0), lambda g, y, x: gate(g, x > 0))
