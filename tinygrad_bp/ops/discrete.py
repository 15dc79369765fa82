"""Without a derivative, but not invisible: comparisons, logic, rounding; and the change of dtype.

These rows are recorded like all others, so that whoever reads a recipe sees everything that was computed, but their
results are not tracked: no gradient flows through them. Only a change between floating dtypes has a derivative, 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import Op, primitive, unary

# fmt: off
__all__ = [
    "astype", "bitwise_and", "bitwise_or", "bitwise_xor", "ceil", "equal", "floor", "floor_divide", "greater",
    "greater_equal", "invert", "isfinite", "isinf", "isnan", "less", "less_equal", "logical_and", "logical_not",
    "logical_or", "logical_xor", "not_equal", "rint", "round", "sign", "signbit", "trunc",
]
# fmt: on

equal = primitive("equal", np.equal)
not_equal = primitive("not_equal", np.not_equal)
less = primitive("less", np.less)
less_equal = primitive("less_equal", np.less_equal)
greater = primitive("greater", np.greater)
greater_equal = primitive("greater_equal", np.greater_equal)
logical_and = primitive("logical_and", np.logical_and)
logical_or = primitive("logical_or", np.logical_or)
logical_xor = primitive("logical_xor", np.logical_xor)
logical_not = primitive("logical_not", np.logical_not)
bitwise_and = primitive("bitwise_and", np.bitwise_and)
bitwise_or = primitive("bitwise_or", np.bitwise_or)
bitwise_xor = primitive("bitwise_xor", np.bitwise_xor)
invert = primitive("invert", np.invert)
isnan = primitive("isnan", np.isnan)
isinf = primitive("isinf", np.isinf)
isfinite = primitive("isfinite", np.isfinite)
sign = primitive("sign", np.sign)
signbit = primitive("signbit", np.signbit)
floor = primitive("floor", np.floor)
ceil = primitive("ceil", np.ceil)
rint = primitive("rint", np.rint)
round = primitive("round", lambda x, decimals=0: np.round(x, decimals))
trunc = primitive("trunc", np.trunc)
floor_divide = primitive("floor_divide", np.floor_divide)
_discrete = primitive("discrete", lambda x, dtype=None: x.astype(dtype))

# ---- dtype -------------------------------------------------------------------------------------------------

_cast: Op = unary("cast", lambda x, dtype: x.astype(dtype), lambda g, y, x, dtype: g)


def astype(x: Any, dtype: Any) -> Any:
    """`x` in another dtype; the gradient comes back in that of `x`. Integers and bools have no derivative."""
    new = np.dtype(dtype)
    if new.kind not in "fiub":
        raise TypeError(f"astype: dtype {new} is not offered. Pass one of real numbers or bools.")
    return (_cast if new.kind == "f" else _discrete)(x, new)


def of_floats(x: Any) -> Any:
    """An array or Tensor of floats: of integers, bools and lists of them in float64, where no product or sum wraps."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return x if x.dtype.kind == "f" else astype(x, float)
