"""The table: one page per family, each row a function of arrays with one line per partial derivative.

Fed Tensors a row records its recipe, fed arrays it is the plain function. :data:`TABLE` lists every row, so that tests
(and readers) can walk it.
"""
# ruff: noqa: I001, RUF022 (lists as compact as a table of contents)

from __future__ import annotations

from ..recipe import Op
from . import arithmetic, discrete, einsum as _einsum, elementary, fused, index, linear as _linear, reduce, shape

# fmt: off
from .arithmetic import (
    absolute, add, clip, divide, hypot, maximum, minimum, multiply, negative, over, positive, power, reciprocal,
    remainder, square, subtract, times, where,
)
from .discrete import (
    astype, bitwise_and, bitwise_or, ceil, equal, floor, floor_divide, greater, greater_equal, invert, isfinite,
    isinf, isnan, less, less_equal, logical_and, logical_not, logical_or, not_equal, rint, sign, trunc,
)
from .elementary import (
    arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, cbrt, cos, cosh, elu, exp, exp2, expm1,
    leaky_relu, log, log10, log1p, log2, logaddexp, relu, sigmoid, silu, sin, sinh, softplus, sqrt, tan, tanh,
)
from .reduce import (
    all, any, argmax, argmin, count_nonzero, cumsum, logsumexp, max, mean, min, norm, prod, std, sum, var,
)
from .shape import (
    broadcast_to, concatenate, expand_dims, flip, hstack, moveaxis, pad, repeat, reshape, roll, split, squeeze,
    stack, swapaxes, tile, transpose, tril, triu, vstack,
)
from .index import (
    getitem, put, take, take_along_axis,
)
from .linear import (
    dot, linear, matmul, outer,
)
from .einsum import (
    einsum,
)
from .fused import (
    binary_cross_entropy_with_logits, cross_entropy, log_softmax, mse_loss, quadratic_loss, softmax,
)

_PAGES = (arithmetic, discrete, elementary, reduce, shape, index, _linear, _einsum, fused)
_FOUND = (row for page in _PAGES for row in vars(page).values() if isinstance(row, Op))
TABLE: tuple[Op, ...] = tuple(dict.fromkeys(_FOUND))

__all__ = [
    "TABLE", "absolute", "add", "all", "any", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "argmax", "argmin", "astype", "binary_cross_entropy_with_logits", "bitwise_and", "bitwise_or",
    "broadcast_to", "cbrt", "ceil", "clip", "concatenate", "cos", "cosh", "count_nonzero", "cross_entropy",
    "cumsum", "divide", "dot", "einsum", "elu", "equal", "exp", "exp2", "expand_dims", "expm1", "flip", "floor",
    "floor_divide", "getitem", "greater", "greater_equal", "hstack", "hypot", "invert", "isfinite", "isinf",
    "isnan", "leaky_relu", "less", "less_equal", "linear", "log", "log10", "log1p", "log2", "log_softmax",
    "logaddexp", "logical_and", "logical_not", "logical_or", "logsumexp", "matmul", "max", "maximum", "mean",
    "min", "minimum", "moveaxis", "mse_loss", "multiply", "negative", "norm", "not_equal", "outer", "over",
    "pad", "positive", "power", "prod", "put", "quadratic_loss", "reciprocal", "relu", "remainder", "repeat",
    "reshape", "rint", "roll", "sigmoid", "sign", "silu", "sin", "sinh", "softmax", "softplus", "split", "sqrt",
    "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take", "take_along_axis", "tan",
    "tanh", "tile", "times", "transpose", "tril", "triu", "trunc", "var", "vstack", "where",
]
# fmt: on
