"""The rows of the table as ONNX nodes: arithmetic, activations, products, reductions, shapes and indices.

Each exporter is one line or a few of the :class:`~tinygrad_bp.exporting.onnx_writer.Writer`; `EXPORTERS` says which row
has which. A row is recorded only if a float went into it, so arithmetic is that of floats, whatever its other inputs
are. The rows of layers that ONNX has a node of its own for are in `onnx_layers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ..recipe import Op
from .onnx_writer import Exporter, Writer, refusal
from .paired import Rows, Size, Value

__all__ = ["EXPORTERS"]

_FIRST, _LAST = -(2**63), 2**63 - 1  # of int64: ends of slices that have none

# ---- one node each -----------------------------------------------------------------------------------------


def _node(op_type: str, **attributes: Any) -> Exporter:
    """One node, of floats."""
    return lambda w, value: w.node(op_type, *_floats(w, value), **attributes)


def _not(op_type: str) -> Exporter:
    """The opposite of one node, of floats."""
    return lambda w, value: w.node("Not", w.node(op_type, *_floats(w, value)))


def _logic(op_type: str) -> Exporter:
    """One node, of bools."""
    return lambda w, value: w.node(op_type, *[w.of(x, bool) for x in value.inputs])


def _floats(w: Writer, value: Value) -> list[str]:
    return [w.of(x, float) for x in value.inputs]


def _scaled(factor: float) -> Exporter:
    return lambda w, value: w.node("Mul", *_floats(w, value), w.of(factor))


# ---- arithmetic --------------------------------------------------------------------------------------------


def _cast(w: Writer, value: Value) -> str:
    return w.of(value.inputs[0], value.dtype)


def _square(w: Writer, value: Value) -> str:
    return w.node("Mul", *_floats(w, value) * 2)


def _hypot(w: Writer, value: Value) -> str:
    return w.node("Sqrt", w.node("Add", *[w.node("Mul", x, x) for x in _floats(w, value)]))


def _over(w: Writer, value: Value) -> str:
    g, d = _floats(w, value)
    zero = w.of(0.0)
    return w.node("Where", w.node("Equal", g, zero), zero, w.node("Div", g, d))


def _times(w: Writer, value: Value) -> str:
    return w.node("Where", _logic("And")(w, value), w.node("Mul", *_floats(w, value)), w.of(0.0))


def _gate(w: Writer, value: Value) -> str:
    g, is_open = value.inputs
    return w.node("Where", w.of(is_open, bool), w.of(g, float), w.of(0.0))


def _where(w: Writer, value: Value) -> str:
    condition, a, b = value.inputs
    return w.node("Where", w.of(condition, bool), w.of(a, value.dtype), w.of(b, value.dtype))


def _clip(w: Writer, value: Value) -> str:
    x, low, high = _floats(w, value)
    x = w.node("Max", x, low) if low else x
    return w.node("Min", x, high) if high else x


def _remainder(w: Writer, value: Value) -> str:
    """C's fmod, and the divisor more where their signs differ."""
    a, b = _floats(w, value)
    zero, rest = w.of(0.0), w.node("Mod", a, b, fmod=1)
    other = w.node("Xor", w.node("Less", rest, zero), w.node("Less", b, zero))
    moved = w.node("And", other, w.node("Not", w.node("Equal", rest, zero)))
    return w.node("Where", moved, w.node("Add", rest, b), rest)


def _floor_divide(w: Writer, value: Value) -> str:
    a, b = _floats(w, value)
    return w.node("Round", w.node("Div", w.node("Sub", a, _remainder(w, value)), b))


def _trunc(w: Writer, value: Value) -> str:
    (x,) = _floats(w, value)
    return w.node("Mul", w.node("Sign", x), w.node("Floor", w.node("Abs", x)))


def _round(w: Writer, value: Value) -> str:
    (x,), scale = _floats(w, value), w.of(10.0 ** value.params[0])
    return w.node("Div", w.node("Round", w.node("Mul", x, scale)), scale) if value.params[0] else w.node("Round", x)


def _isfinite(w: Writer, value: Value) -> str:
    (x,) = _floats(w, value)
    return w.node("Not", w.node("Or", w.node("IsNaN", x), w.node("IsInf", x)))


# ---- elementary functions and activations ------------------------------------------------------------------


def _exp2(w: Writer, value: Value) -> str:
    return w.node("Pow", w.of(2.0), *_floats(w, value))


def _expm1(w: Writer, value: Value) -> str:
    (x,) = _floats(w, value)
    half = w.node("Tanh", w.node("Mul", x, w.of(0.5)))  # t, where exp(x) - 1 = 2 t / (1 - t)
    near = w.node("Div", w.node("Add", half, half), w.node("Sub", w.of(1.0), half))
    return _by_distance(w, x, near, w.node("Sub", w.node("Exp", x), w.of(1.0)))


def _log1p(w: Writer, value: Value) -> str:
    (x,) = _floats(w, value)
    half = w.node("Atanh", w.node("Div", x, w.node("Add", x, w.of(2.0))))
    return _by_distance(w, x, w.node("Add", half, half), w.node("Log", w.node("Add", x, w.of(1.0))))


def _by_distance(w: Writer, x: str, near: str, far: str) -> str:
    """Near 0 what keeps its digits there, the plain formula elsewhere."""
    return w.node("Where", w.node("Less", w.node("Abs", x), w.of(0.5)), near, far)


def _logarithm(base: float) -> Exporter:
    return lambda w, value: w.node("Div", w.node("Log", *_floats(w, value)), w.of(math.log(base)))


def _cbrt(w: Writer, value: Value) -> str:
    (x,) = _floats(w, value)
    return w.node("Mul", w.node("Sign", x), w.node("Pow", w.node("Abs", x), w.of(1.0 / 3.0)))


def _logaddexp(w: Writer, value: Value) -> str:
    a, b = _floats(w, value)
    smaller = w.node("Softplus", w.node("Neg", w.node("Abs", w.node("Sub", a, b))))
    return w.node("Add", w.node("Max", a, b), smaller)


def _elu(w: Writer, value: Value) -> str:
    return w.node("Elu", *_floats(w, value), alpha=float(value.params[0]))


def _leaky_relu(w: Writer, value: Value) -> str:
    return w.node("LeakyRelu", *_floats(w, value), alpha=float(value.params[0]))


def _softplus(w: Writer, value: Value) -> str:
    (x,), (beta, threshold) = _floats(w, value), value.params
    u = x if beta == 1.0 else w.node("Mul", x, w.of(float(beta)))
    y = w.node("Softplus", u)
    y = y if beta == 1.0 else w.node("Div", y, w.of(float(beta)))
    return w.node("Where", w.node("Greater", u, w.of(float(threshold))), x, y)


def _log_sigmoid(w: Writer, value: Value) -> str:
    return w.node("Neg", w.node("Softplus", w.node("Neg", *_floats(w, value))))


def _silu(w: Writer, value: Value) -> str:
    (x,) = _floats(w, value)
    return w.node("Mul", x, w.node("Sigmoid", x))


def _ndtr(w: Writer, value: Value) -> str:
    erf = w.node("Erf", w.node("Mul", *_floats(w, value), w.of(math.sqrt(0.5))))
    return w.node("Mul", w.node("Add", erf, w.of(1.0)), w.of(0.5))


def _softmax(op_type: str) -> Exporter:
    def exporter(w: Writer, value: Value) -> str:
        if not value.shape:
            raise refusal(value, "is of a number. Give it an axis")
        return w.node(op_type, *_floats(w, value), axis=value.params[0])

    return exporter


# ---- products ----------------------------------------------------------------------------------------------


def _linear(w: Writer, value: Value) -> str:
    x, weight, bias = value.inputs
    if len(value.shape) == 2:
        return w.node("Gemm", w.of(x, float), w.of(weight, float), w.of(bias, float), transB=1)
    turned = w.constant(weight.data.T, f"{weight.name}.T") if weight.name else w.node("Transpose", w.of(weight, float))
    product = w.node("MatMul", w.of(x, float), turned)
    return product if bias is None else w.node("Add", product, w.of(bias, float))


def _einsum(w: Writer, value: Value) -> str:
    return w.node("Einsum", *_floats(w, value), equation=value.params[0])


# ---- reductions --------------------------------------------------------------------------------------------


def _reduced(w: Writer, value: Value, op_type: str, x: str, axis: Any, keepdims: bool) -> str:
    """A reduction of x, which has the shape of the first input, along `axis`."""
    axes = _axes(value.inputs[0], axis)
    return w.node(op_type, x, w.ints(axes), keepdims=int(keepdims)) if axes else x


def _axes(x: Value, axis: Any) -> list[int]:
    """The axes that are meant by None, a number or a tuple; a number has none."""
    n = len(x.shape)
    return [*range(n)] if axis is None or not n else [*axis] if isinstance(axis, tuple) else [axis]


def _reduction(op_type: str) -> Exporter:
    def exporter(w: Writer, value: Value) -> str:
        axis, keepdims = value.params
        return _reduced(w, value, op_type, w.of(value.inputs[0], float), axis, keepdims)

    return exporter


def _count(op_type: str) -> Exporter:
    """A reduction of what is not 0, counted as 1."""

    def exporter(w: Writer, value: Value) -> str:
        axis, keepdims = value.params
        ones = w.cast(w.of(value.inputs[0], bool), int)
        return w.cast(_reduced(w, value, op_type, ones, axis, keepdims), value.dtype)

    return exporter


def _norm(w: Writer, value: Value) -> str:
    squares, (axis, keepdims) = w.node("Mul", *_floats(w, value) * 2), value.params
    return w.node("Sqrt", _reduced(w, value, "ReduceSum", squares, axis, keepdims))


def _logsumexp(w: Writer, value: Value) -> str:
    (x,), (axis, keepdims) = _floats(w, value), value.params
    top = _reduced(w, value, "ReduceMax", x, axis, True)
    top = w.node("Where", w.node("IsInf", top), w.of(0.0), top)
    total = _reduced(w, value, "ReduceSum", w.node("Exp", w.node("Sub", x, top)), axis, keepdims)
    return w.node("Add", w.node("Log", total), top if keepdims else _reshaped(w, top, value.shape))


def _var(w: Writer, value: Value) -> str:
    (x,), (axis, ddof, keepdims) = _floats(w, value), value.params
    d = w.node("Sub", x, _reduced(w, value, "ReduceMean", x, axis, True))
    squares = w.node("Mul", d, d)
    if not ddof:
        return _reduced(w, value, "ReduceMean", squares, axis, keepdims)
    n = w.node("ReduceProd", w.node("Gather", w.node("Shape", x), w.ints(_axes(value.inputs[0], axis))), keepdims=0)
    free = w.node("Sub", w.cast(n, float), w.of(float(ddof)))
    return w.node("Div", _reduced(w, value, "ReduceSum", squares, axis, keepdims), free)


def _cumsum(w: Writer, value: Value) -> str:
    (x,), (axis,) = _floats(w, value), value.params
    return w.node("CumSum", x if axis is not None else w.node("Reshape", x, w.ints([-1])), w.of(axis or 0))


def _place(op_type: str) -> Exporter:
    """Where the extreme is: along an axis, or in all entries one after the other."""

    def exporter(w: Writer, value: Value) -> str:
        (x,), (axis, keepdims) = _floats(w, value), value.params
        if axis is not None and value.inputs[0].shape:
            return w.node(op_type, x, axis=axis, keepdims=int(keepdims))
        found = w.node(op_type, w.node("Reshape", x, w.ints([-1])), axis=0, keepdims=0)
        return w.node("Reshape", found, w.ints(value.shape))

    return exporter


# ---- shapes ------------------------------------------------------------------------------------------------


def _reshaped(w: Writer, x: str, shape: Sequence[Size]) -> str:
    """X in another shape, of which one length is left to be found where one depends on the rows."""
    fixed = [n for n in shape if not isinstance(n, Rows)]
    if len(fixed) == len(shape) - 1 and all(fixed):
        shape = [-1 if isinstance(n, Rows) else n for n in shape]
    return w.node("Reshape", x, w.ints(shape), allowzero=1)


def _reshape(w: Writer, value: Value) -> str:
    return _reshaped(w, w.of(value.inputs[0]), value.shape)


def _squeeze(w: Writer, value: Value) -> str:
    x, (axis,) = value.inputs[0], value.params
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else _axes(x, axis)
    return w.node("Squeeze", w.of(x), w.ints(axes)) if axes else w.of(x)


def _expand_dims(w: Writer, value: Value) -> str:
    axes = _axes(value, value.params[0])
    return w.node("Unsqueeze", w.of(value.inputs[0]), w.ints(axes)) if axes else w.of(value.inputs[0])


def _transpose(w: Writer, value: Value) -> str:
    """Whatever the row, it puts an array whose lengths are 0, 1, 2, ... into the order that is asked for."""
    x = value.inputs[0]
    order = cast(Op, value.row).forward(np.empty(tuple(range(len(x.shape)))), *value.params).shape
    return w.node("Transpose", w.of(x), perm=order) if order else w.of(x)


def _broadcast_to(w: Writer, value: Value) -> str:
    if 0 in value.shape:  # onnxruntime expands an axis of 1 to any length but 0
        return w.node("ConstantOfShape", w.ints(value.shape))
    return w.node("Expand", w.of(value.inputs[0]), w.ints(value.shape))


def _slice(w: Writer, x: str, parts: dict[int, slice]) -> str:
    """`parts` of x by axis."""
    parts = {axis: part for axis, part in parts.items() if part != slice(None)}
    if not parts:
        return x
    steps = [1 if part.step is None else part.step for part in parts.values()]
    starts = [_end(part.start, 0, _LAST, step) for part, step in zip(parts.values(), steps)]
    stops = [_end(part.stop, _LAST, _FIRST, step) for part, step in zip(parts.values(), steps)]
    return w.node("Slice", x, w.ints(starts), w.ints(stops), w.ints([*parts]), w.ints(steps))


def _end(given: Size | None, forward: int, backward: int, step: int) -> Size:
    return given if given is not None else forward if step > 0 else backward


def _flip(w: Writer, value: Value) -> str:
    x = value.inputs[0]
    return _slice(w, w.of(x), dict.fromkeys(_axes(x, value.params[0]), slice(None, None, -1)))


def _roll(w: Writer, value: Value) -> str:
    (x,), (shift, axis) = value.inputs, value.params
    y = w.of(x) if axis is not None else w.node("Reshape", w.of(x), w.ints([-1]))
    axes = axis if isinstance(axis, tuple) else (axis or 0,)
    for k, i in np.broadcast(np.array(shift, object), np.array(axes, object)):
        sizes = x.shape if axis is None else (x.shape[i],)
        if any(isinstance(n, Rows) for n in (k, *sizes)):
            raise refusal(value, "turns round an axis as long as there are rows. Roll another axis")
        if turn := k % max(1, math.prod(sizes)):
            parts = [_slice(w, y, {i % max(1, len(x.shape)): part}) for part in (slice(-turn, None), slice(0, -turn))]
            y = w.node("Concat", *parts, axis=i)
    return y if axis is not None else _reshaped(w, y, value.shape)


def _triangle(upper: int) -> Exporter:
    def exporter(w: Writer, value: Value) -> str:
        if len(value.inputs[0].shape) < 2:
            raise refusal(value, "makes a matrix of a vector. Give it a matrix")
        return w.node("Trilu", w.of(value.inputs[0]), w.of(value.params[0]), upper=upper)

    return exporter


def _pad(w: Writer, value: Value) -> str:
    (x,), (width, fill) = value.inputs, value.params
    if np.ndim(fill):
        raise refusal(value, "has several constants. Pass one")
    widths = np.broadcast_to(np.array(width, object), (len(x.shape), 2))
    return w.node("Pad", w.of(x), w.ints(widths.T.reshape(-1).tolist()), w.of(fill, value.dtype))


def _concatenate(w: Writer, value: Value) -> str:
    return w.node("Concat", *[w.of(x, value.dtype) for x in value.inputs], axis=value.params[0])


# ---- indices -----------------------------------------------------------------------------------------------


def _getitem(w: Writer, value: Value) -> str:
    x, index = value.inputs[0], value.params[0]
    parts = _parts(value, index if isinstance(index, tuple) else (index,), len(x.shape))
    y = w.of(x)
    if new := [i for i, part in enumerate(parts) if part is None]:
        y = w.node("Unsqueeze", y, w.ints(new))
        parts = [slice(None) if part is None else part for part in parts]
    y = _slice(w, y, {i: part for i, part in enumerate(parts) if isinstance(part, slice)})
    arrays = {i: part for i, part in enumerate(parts) if not isinstance(part, slice)}
    if all(isinstance(part, (int, Rows)) for part in arrays.values()):
        for i in reversed(arrays):
            y = w.node("Gather", y, w.of(arrays[i], int), axis=i)
        return y
    if len(arrays) == 1:
        ((i, places),) = arrays.items()
        return w.node("Gather", y, _places(w, places), axis=i)
    return _gathered(w, value, y, arrays, len(parts))


def _parts(value: Value, index: tuple[Any, ...], rank: int) -> list[Any]:
    """One part for each axis, and None for each new one: slices, integers and arrays of integers."""
    parts: list[Any] = []
    for part in index:
        if isinstance(part, bool):
            raise refusal(value, f"has the index {part}. Use expand_dims")
        is_mask = isinstance(part, np.ndarray) and part.dtype == bool
        parts += np.nonzero(part) if is_mask else [part]
    used = sum(part is not None and part is not Ellipsis for part in parts)
    rest = [slice(None)] * (rank - used)
    place = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    return [*parts[:place], *rest, *parts[place + 1 :]]


def _places(w: Writer, places: Any) -> str:
    return w.of(places, int) if isinstance(places, Value) else w.constant(places)


def _gathered(w: Writer, value: Value, x: str, arrays: dict[int, Any], rank: int) -> str:
    """Several arrays of indices, which broadcast: their axes are moved to the front, and what is found to its place."""
    if any(isinstance(places, (Value, Rows)) for places in arrays.values()):
        raise refusal(value, "has several indices that depend on the rows. Index one axis after the other")
    places = np.stack(np.broadcast_arrays(*arrays.values()), -1)
    others = [i for i in range(rank) if i not in arrays]
    x = w.node("Transpose", x, perm=[*arrays, *others])
    found = w.node("GatherND", x, w.constant(places))
    first, new = min(arrays), places.ndim - 1
    if max(arrays) - first + 1 > len(arrays):  # apart from each other: what is found stays in front
        return found
    order = [*range(new, new + first), *range(new), *range(new + first, new + len(others))]
    return w.node("Transpose", found, perm=order)


# ---- the list ----------------------------------------------------------------------------------------------

# fmt: off
_NODES = {  # rows that are one node
    "absolute": "Abs", "add": "Add", "arccos": "Acos", "arccosh": "Acosh", "arcsin": "Asin", "arcsinh": "Asinh",
    "arctan": "Atan", "arctanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "det": "Det", "divide": "Div",
    "equal": "Equal", "erf": "Erf", "exp": "Exp", "floor": "Floor", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "isinf": "IsInf", "isnan": "IsNaN", "less": "Less",
    "less_equal": "LessOrEqual", "log": "Log", "matmul": "MatMul", "maximum": "Max", "minimum": "Min", "mish": "Mish",
    "multiply": "Mul", "negative": "Neg", "power": "Pow", "reciprocal": "Reciprocal", "relu": "Relu", "rint": "Round",
    "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "softsign": "Softsign", "sqrt": "Sqrt",
    "subtract": "Sub", "tan": "Tan", "tanh": "Tanh",
}
# fmt: on
EXPORTERS: dict[str, Exporter] = {name: _node(op_type) for name, op_type in _NODES.items()} | {
    "all": _count("ReduceMin"),
    "any": _count("ReduceSum"),
    "argmax": _place("ArgMax"),
    "argmin": _place("ArgMin"),
    "broadcast_to": _broadcast_to,
    "cast": _cast,
    "cbrt": _cbrt,
    "clip": _clip,
    "concatenate": _concatenate,
    "copy": _cast,
    "count_nonzero": _count("ReduceSum"),
    "cumsum": _cumsum,
    "deg2rad": _scaled(math.pi / 180.0),
    "discrete": _cast,
    "einsum": _einsum,
    "elu": _elu,
    "exp2": _exp2,
    "expand_dims": _expand_dims,
    "expm1": _expm1,
    "flip": _flip,
    "floor_divide": _floor_divide,
    "fmod": _node("Mod", fmod=1),
    "gate": _gate,
    "gelu_tanh": _node("Gelu", approximate="tanh"),
    "getitem": _getitem,
    "hypot": _hypot,
    "isfinite": _isfinite,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "log10": _logarithm(10.0),
    "log1p": _log1p,
    "log2": _logarithm(2.0),
    "log_sigmoid": _log_sigmoid,
    "log_softmax": _softmax("LogSoftmax"),
    "logaddexp": _logaddexp,
    "logical_and": _logic("And"),
    "logical_not": _logic("Not"),
    "logical_or": _logic("Or"),
    "logical_xor": _logic("Xor"),
    "logsumexp": _logsumexp,
    "max": _reduction("ReduceMax"),
    "mean": _reduction("ReduceMean"),
    "min": _reduction("ReduceMin"),
    "moveaxis": _transpose,
    "ndtr": _ndtr,
    "norm": _norm,
    "not_equal": _not("Equal"),
    "over": _over,
    "pad": _pad,
    "positive": _cast,
    "prod": _reduction("ReduceProd"),
    "rad2deg": _scaled(180.0 / math.pi),
    "remainder": _remainder,
    "reshape": _reshape,
    "roll": _roll,
    "round": _round,
    "selu": _node("Selu", alpha=1.6732632423543772, gamma=1.0507009873554805),
    "silu": _silu,
    "softmax": _softmax("Softmax"),
    "softplus": _softplus,
    "square": _square,
    "squeeze": _squeeze,
    "sum": _reduction("ReduceSum"),
    "swapaxes": _transpose,
    "times": _times,
    "transpose": _transpose,
    "tril": _triangle(0),
    "triu": _triangle(1),
    "trunc": _trunc,
    "var": _var,
    "where": _where,
}
"""Rows by name."""
