"""Which row answers which NumPy function: what makes ``np.exp(t)`` and ``np.concatenate([t, array])`` record.

NumPy hands over any call that has a Tensor in it (NEP 13 for ufuncs, NEP 18 for the other functions). Here it is looked
up: a row is called with the arguments in its own order; questions about shapes and dtypes pass through to the arrays; a
function without a row raises, so that a gradient is never lost in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from . import ops
from .recipe import Node, Op, ParamOp

__all__ = ["call_function", "call_ufunc"]

UFUNCS: dict[Any, Callable[..., Any]] = {row.forward: row for row in ops.TABLE if isinstance(row.forward, np.ufunc)}
UFUNCS |= {np.matmul: ops.matmul, np.fabs: ops.absolute, np.conjugate: ops.positive}
UFUNCS |= {np.radians: ops.deg2rad, np.degrees: ops.rad2deg, np.float_power: ops.float_power}
GUFUNCS = ("vecdot", "matvec", "vecmat")  # NumPy 2.0 has the first only
UFUNCS |= {getattr(np, name): getattr(ops, name) for name in GUFUNCS if hasattr(np, name)}

REDUCTIONS: dict[Any, Op] = {np.add: ops.sum, np.multiply: ops.prod, np.maximum: ops.max, np.minimum: ops.min}
REDUCTIONS |= {np.logical_and: ops.all, np.logical_or: ops.any, np.logaddexp: ops.logsumexp}
ACCUMULATIONS: dict[Any, Callable[..., Any]] = {np.add: ops.cumsum, np.multiply: ops.cumprod}

# Every NumPy function that records, by name: NumPy 2.0 does not have all of them.
ROWS: dict[str, Callable[..., Any]] = {
    f"np.{name}": getattr(ops, name)
    for name in (
        *("sum", "mean", "prod", "max", "min", "var", "std", "cumsum", "argmax", "argmin", "all", "any"),
        *("count_nonzero", "reshape", "squeeze", "expand_dims", "transpose", "swapaxes", "moveaxis", "broadcast_to"),
        *("flip", "roll", "tril", "triu", "pad", "concatenate", "stack", "vstack", "hstack", "split", "repeat"),
        *("tile", "take", "take_along_axis", "clip", "dot", "outer", "einsum", "append", "array_split", "astype"),
        *("atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays", "column_stack", "delete", "dsplit"),
        *("dstack", "fliplr", "flipud", "hsplit", "insert", "matrix_transpose", "meshgrid", "ravel", "resize"),
        *("rollaxis", "rot90", "unstack", "vsplit", "choose", "compress", "diag", "diagflat", "diagonal", "diff"),
        *("ediff1d", "extract", "gradient", "select", "trace", "convolve", "correlate", "cross", "inner", "kron"),
        *("tensordot", "vdot", "average", "cumprod", "interp", "median", "nan_to_num", "nancumprod", "nancumsum"),
        *("nanmax", "nanmean", "nanmedian", "nanmin", "nanprod", "nanstd", "nansum", "nanvar", "partition"),
        *("percentile", "ptp", "quantile", "round", "sinc", "sort", "trapezoid"),
    )
}
ROWS |= {
    f"np.linalg.{name}": getattr(ops, name)
    for name in (
        *("inv", "solve", "pinv", "matrix_power", "det", "slogdet", "cholesky", "qr", "eigh", "eigvalsh", "svd"),
        *("svdvals", "norm", "vector_norm", "matrix_norm", "cond"),
    )
}
ROWS |= {
    f"np.linalg.{name}": getattr(ops, name)
    for name in ("cross", "matmul", "matrix_transpose", "multi_dot", "outer", "tensordot", "vecdot")
}
ROWS |= {
    "np.amax": ops.max,
    "np.linalg.trace": lambda x, offset=0: ops.trace(x, offset, -2, -1),
    "np.amin": ops.min,
    **dict.fromkeys(["np.real", "np.real_if_close"], ops.positive),
    "np.linalg.diagonal": lambda x, offset=0: ops.diagonal(x, offset, -2, -1),
    "np.copy": lambda a: ops.astype(a, a.dtype),
    "np.cumulative_sum": lambda x, axis=None: ops.cumsum(x, _only_axis("sum", x, axis)),
    "np.cumulative_prod": lambda x, axis=None: ops.cumprod(x, _only_axis("prod", x, axis)),
    "np.full_like": lambda a, fill_value, dtype=None, shape=None: _full_like(_raw(a), fill_value, dtype, shape),
    "np.around": ops.round,
    "np.fix": ops.trunc,
    "np.where": lambda condition, x=None, y=None: (
        np.nonzero(_raw(condition)) if x is None and y is None else ops.where(condition, x, y)
    ),
}

# Every NumPy function that answers about shapes, dtypes, positions or comparisons of the arrays.
PASSED = {
    f"np.{name}"
    for name in (
        *("shape", "ndim", "size", "result_type", "can_cast", "iscomplexobj", "isrealobj", "shares_memory"),
        *("may_share_memory", "zeros_like", "ones_like", "empty_like", "array_equal", "allclose"),
        *("isclose", "argsort", "nonzero", "argwhere", "searchsorted", "array_repr", "array_str", "array2string"),
        *("argpartition", "array_equiv", "common_type", "diag_indices_from", "digitize", "einsum_path", "flatnonzero"),
        *("iscomplex", "isin", "isneginf", "isposinf", "isreal", "ix_", "lexsort", "min_scalar_type", "nanargmax"),
        *("nanargmin", "ravel_multi_index", "tril_indices_from", "triu_indices_from", "unravel_index"),
        "linalg.matrix_rank",
    )
}

# Functions that refuse a Tensor, by the reason, which names a way out.
REFUSED: dict[str, str] = {
    "tensors hold real numbers": "angle imag sort_complex linalg.eig linalg.eigvals",
    "bits and whole numbers have no derivative; give it t.detach().numpy()": (
        "bitwise_count bitwise_left_shift bitwise_right_shift gcd lcm left_shift packbits right_shift unpackbits"
    ),
    "the pieces of a floating-point number have no derivative; give it t.detach().numpy()": (
        "frexp ldexp modf nextafter spacing"
    ),
    "counts have no derivative; give it t.detach().numpy()": (
        "bincount histogram histogram2d histogram_bin_edges histogramdd"
    ),
    "sets are of values, not of tensors; find positions in t.detach().numpy(), and index": (
        "in1d intersect1d setdiff1d setxor1d union1d unique unique_all unique_counts unique_inverse unique_values"
    ),
    "a tensor is not written in place; use np.where or bp.ops.put": (
        "copyto fill_diagonal place put put_along_axis putmask"
    ),
    "it calls a function of yours entry by entry; say it with np.where on whole arrays": (
        "apply_along_axis apply_over_axes piecewise"
    ),
    "polynomials are written as sums of powers": (
        "poly polyadd polyder polydiv polyfit polyint polymul polysub polyval roots vander"
    ),
    "dates are not numbers": "busday_count busday_offset datetime_as_string is_busday isnat",
    "files take arrays; use bp.save": "save savetxt savez savez_compressed",
    "it makes a new array; write its formula, such as a + (b - a) * np.linspace(0, 1)": ("geomspace linspace logspace"),
    "nobody has asked for it yet; compute it with rows, or give it t.detach().numpy()": (
        "corrcoef cov divmod i0 linalg.lstsq linalg.tensorinv linalg.tensorsolve nanpercentile nanquantile trim_zeros "
        "unwrap"
    ),
}
_REASONS = {f"np.{name}": reason for reason, names in REFUSED.items() for name in names.split()}


def _found(name: str) -> Any:
    """The function of that name in NumPy, None where this version has none."""
    *modules, last = name.split(".")[1:]
    return getattr(np.linalg if modules else np, last, None)


FUNCTIONS = {function: row for name, row in ROWS.items() if (function := _found(name))}
PASS_THROUGH = {function for name in PASSED if (function := _found(name))}

# What NumPy 2.0 does not tell: the parameters of its functions in C.
_IN_C = {np.concatenate: "arrays axis out", np.where: "condition x y"}
_IN_C |= {np.dot: "a b out", np.vdot: "a b", np.inner: "a b"}
_RENAMED = {"newshape": "shape", "min": "a_min", "max": "a_max", "x2": "b", "correction": "ddof"}
# Functions that compute in the dtype they are given: what they are given is cast first.
_WITH_DTYPE = {"sum", "prod", "mean", "var", "std", "cumsum", "cumprod", "trace"}
_WITH_DTYPE |= {f"nan{name}" for name in _WITH_DTYPE} | {"cumulative_sum", "cumulative_prod"}


def _only_axis(name: str, x: Any, axis: int | None) -> int | None:
    if axis is None and np.ndim(x) > 1:
        raise ValueError(f"np.cumulative_{name}: shape {np.shape(x)} has {np.ndim(x)} axes. Pass axis=.")
    return axis


def _full_like(a: Any, fill_value: Any, dtype: Any, shape: Any) -> Any:
    """Every entry is `fill_value`, which may be a Tensor; of a number an array, as zeros_like is."""
    ones = np.ones_like(a, dtype, shape=shape)
    return ops.astype(ops.multiply(fill_value, ones), ones.dtype)


def _raw(value: Any) -> Any:
    """A value with every Tensor in it replaced by its array."""
    if isinstance(value, Node):
        return value.data
    return type(value)(map(_raw, value)) if type(value) in (list, tuple) else value


@cache
def _parameters(function: Any) -> tuple[dict[str, Any], bool]:
    """The parameters of a row or of a NumPy function with their defaults, in order, and whether it takes any number."""
    if isinstance(function, ParamOp):
        return dict.fromkeys(function.names), False
    if function in _IN_C:
        return dict.fromkeys(_IN_C[function].split()), False
    found = signature(function).parameters
    return {n: p.default for n, p in found.items()}, any(p.kind is p.VAR_POSITIONAL for p in found.values())


def _call(name: str, function: Any, row: Any, args: Any, kwargs: Any) -> Any:
    """The row, called with the arguments of its NumPy function: the first by position, the rest by name."""
    defaults, _ = _parameters(function)
    known, takes_any_number = _parameters(row)
    first, *others = defaults
    operands = (args if takes_any_number else args[:1]) or (kwargs.pop(first),)
    named = {}
    for n, value in (dict(zip(others, args[len(operands) :])) | kwargs).items():
        default = defaults.get(n)
        if n == "dtype" and value is not None and function.__name__ in _WITH_DTYPE:
            if np.dtype(value).kind != "f" and function.__name__.endswith(("mean", "var", "std")):
                raise TypeError(f"{name}: dtype={np.dtype(value)} would round the result. Pass one of floats.")
            operands = (ops.astype(operands[0], value),)
        elif n in known or _RENAMED.get(n) in known:
            named[n if n in known else _RENAMED[n]] = value
        elif value is not None and value is not default and (type(value) is not type(default) or value != default):
            raise TypeError(f"{name}: {n}= is not offered on a Tensor. Leave it out.")
    return row(*operands, **named)


def _refuse(name: str) -> TypeError:
    reason, _, cure = _REASONS.get(name, "").partition("; ")
    cure = cure or "call it on t.detach().numpy(), or say it with rows of tinygrad_bp.ops"
    lost = "the gradient would be lost" + (reason and f": {reason}")
    return TypeError(f"{name}: has no derivative here, {lost}. {cure[0].upper()}{cure[1:]}.")


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``ufunc(*inputs)`` or ``ufunc.reduce(...)`` by its row."""
    name = f"np.{ufunc.__name__}"
    if kwargs.pop("out", None) is not None:
        raise TypeError(f"{name}: cannot write a Tensor into an array. Use the result, or write t.detach().numpy().")
    kwargs = {n: value for n, value in kwargs.items() if value is not None or n == "axis"}
    if method == "reduce" and ufunc in REDUCTIONS:
        return REDUCTIONS[ufunc](*inputs, **{"axis": 0} | kwargs)
    if method == "accumulate" and ufunc in ACCUMULATIONS:
        return ACCUMULATIONS[ufunc](*inputs, **{"axis": 0} | kwargs)
    if method == "outer" and ufunc in UFUNCS and not kwargs:
        a, b = inputs
        return UFUNCS[ufunc](ops.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
    if method != "__call__" or kwargs:
        raise TypeError(f"{name}: {', '.join(kwargs) or method} is not offered on a Tensor. Call {name}(...) plainly.")
    if ufunc not in UFUNCS:
        raise _refuse(name)
    return UFUNCS[ufunc](*inputs)


def call_function(function: Any, args: Any, kwargs: Any) -> Any:
    """``function(*args, **kwargs)`` by its row, or on the arrays where nothing is differentiated."""
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
    if function in FUNCTIONS:
        return _call(name, function, FUNCTIONS[function], args, kwargs)
    if function in PASS_THROUGH:
        return function(*_raw(args), **{key: _raw(value) for key, value in kwargs.items()})
    raise _refuse(name)
