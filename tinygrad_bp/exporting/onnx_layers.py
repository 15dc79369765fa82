"""How the rows of layers are said in ONNX: convolutions, pools, normalisations, recurrences and attention.

An exporter is given the writer and the value that a row computed, writes nodes and returns the name of the result.
Windows that reach beyond the input are padded by numbers that are worked out here: what ONNX's own `ceil_mode` adds,
runtimes count differently. A recurrence is one RNN, LSTM or GRU node, which takes in the product with the input too;
such a node gives h at every step and the last c only, so nothing else can be taken of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import onnx_ops
from .onnx_writer import Exporter, Writer, refusal
from .paired import Paired, Value

__all__ = ["EXPORTERS", "check"]


def _given(writer: Writer, *inputs: Any) -> list[str]:
    """The names of inputs that are not None: of a last one that is named "" onnxruntime 1.32 dies."""
    return [writer.of(x, float) for x in inputs if x is not None]


# ---- convolutions --------------------------------------------------------------------------------------------------


def _conv(writer: Writer, value: Value) -> str:
    return _convolution(writer, "Conv", value.inputs, *value.params)


def _conv_transpose(writer: Writer, value: Value) -> str:
    (x, w), (_, stride, padding, dilation, groups) = value.inputs, value.params
    sizes = zip(x.data.shape[2:], value.data.shape[2:], w.data.shape[2:], stride, padding, dilation)
    more = [size - (n - 1) * s + 2 * p - d * (k - 1) - 1 for n, size, k, s, p, d in sizes]
    return _convolution(writer, "ConvTranspose", (x, w), stride, padding, dilation, groups, more)


def _convolution(
    writer: Writer,
    op_type: str,
    inputs: tuple[Any, ...],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    output_padding: list[int] | None = None,
) -> str:
    return writer.node(
        op_type,
        *_given(writer, *inputs),
        strides=[*stride],
        pads=[*padding] * 2,
        dilations=[*dilation],
        group=groups,
        output_padding=output_padding,
    )


# ---- pools ---------------------------------------------------------------------------------------------------------


def _max_pool(writer: Writer, value: Value) -> str:
    size, stride, padding, dilation, _ = value.params
    before, behind = _reach(value, size, stride, padding, dilation)
    x = _images(writer, value, len(size))
    if any(p >= k for p, k in zip(behind, size)):  # more than a runtime allows
        x, before, behind = _padded(writer, x, before, behind, -np.inf), [0] * len(size), [0] * len(size)
    y = writer.node("MaxPool", x, kernel_shape=[*size], strides=[*stride], pads=before + behind, dilations=[*dilation])
    return _as_given(writer, value, len(size), y)


def _avg_pool(writer: Writer, value: Value) -> str:
    size, stride, padding, _, count_include_pad = value.params
    before, behind = _reach(value, size, stride, padding, (1,) * len(size))
    x = _images(writer, value, len(size))
    if count_include_pad and any(padding):  # entries of the padding count, those behind it do not
        x = _padded(writer, x, before, padding, 0.0)
        before, behind = [0] * len(size), [max(n - p, 0) for n, p in zip(behind, padding)]
    y = writer.node("AveragePool", x, kernel_shape=[*size], strides=[*stride], pads=before + behind)
    return _as_given(writer, value, len(size), y)


def _reach(value: Value, size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[list[int], list[int]]:
    """How many entries before and behind each axis the windows of the result reach."""
    lengths, counts = (x.data.shape[-len(size) :] for x in (value.inputs[0], value))
    ends = [(count - 1) * s + (k - 1) * d + 1 - p for count, k, s, p, d in zip(counts, size, stride, padding, dilation)]
    return [*padding], [max(0, end - n) for end, n in zip(ends, lengths)]


def _images(writer: Writer, value: Value, axes: int) -> str:
    """The input as (n, channels, ...), which pools need."""
    x = value.inputs[0]
    missing = axes + 2 - x.data.ndim
    if missing < 0:
        raise refusal(value, f"is of {axes} of {x.data.ndim} axes. Reshape its input to (n, channels, ...)")
    return writer.node("Unsqueeze", writer.of(x), writer.ints(range(missing))) if missing else writer.of(x)


def _as_given(writer: Writer, value: Value, axes: int, y: str) -> str:
    """The result without the axes that were added."""
    missing = axes + 2 - value.data.ndim
    return writer.node("Squeeze", y, writer.ints(range(missing))) if missing else y


def _padded(writer: Writer, x: str, before: Sequence[int], behind: Sequence[int], number: float) -> str:
    pads = [0, 0, *before, 0, 0, *behind]
    return writer.node("Pad", x, writer.ints(pads), writer.of(number))


# ---- normalisations ------------------------------------------------------------------------------------------------


def _layer_norm(writer: Writer, value: Value) -> str:
    (x, w, b), (axes, eps) = value.inputs, value.params
    if w is None:
        y = _normalized(writer, value, centred=True)
        return y if b is None else writer.node("Add", y, writer.of(b))
    return writer.node("LayerNormalization", *_given(writer, x, w, b), axis=-axes, epsilon=float(eps))


def _rms_norm(writer: Writer, value: Value) -> str:
    y, w = _normalized(writer, value, centred=False), value.inputs[1]
    return y if w is None else writer.node("Mul", y, writer.of(w))


def _normalized(writer: Writer, value: Value, centred: bool) -> str:
    """``c / sqrt(mean(c^2) + eps)`` over the last axes, where c is x or x without its mean."""
    c, (axes, eps) = writer.of(value.inputs[0]), value.params
    last = writer.ints(range(-axes, 0))
    if centred:
        c = writer.node("Sub", c, writer.node("ReduceMean", c, last))
    variance = writer.node("ReduceMean", writer.node("Mul", c, c), last)
    shifted = writer.node("Add", variance, writer.of(eps, float))
    return writer.node("Div", c, writer.node("Sqrt", shifted))


def _batch_norm(writer: Writer, value: Value) -> str:
    (x, w, b, moments), (eps,) = value.inputs, value.params
    if moments is None:
        raise refusal(value, "normalises by what its own batch has. Give it running statistics")
    mean, variance = _known(value, moments)
    scale = np.ones_like(mean) if w is None else _known(value, w)
    shift = np.zeros_like(mean) if b is None else _known(value, b)
    given = [writer.constant(each) for each in (scale, shift, mean, variance)]
    return writer.node("BatchNormalization", writer.of(x, float), *given, epsilon=float(eps))


def _known(value: Value, x: Any) -> Any:
    """The numbers of an input that are the same for any rows."""
    if isinstance(x, Value) and not x.is_fixed:
        raise refusal(value, "has weights that are computed from the input. Pass parameters or constants")
    return x.data if isinstance(x, Value) else x


# ---- recurrences ---------------------------------------------------------------------------------------------------

_GATES = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""ONNX's gates (of lstm i, o, f, a; of gru u, r, a) as places among those of the rows (i, f, a, o; r, u, a)."""


def _rnn(writer: Writer, value: Value) -> str:
    y, *_ = _recurrence(writer, value, "RNN", activations=[value.params[0].capitalize()])
    return writer.node("Squeeze", y, writer.ints([1]))


def _lstm(writer: Writer, value: Value) -> str:
    y, *_ = _recurrence(writer, value, "LSTM")
    return writer.node("Transpose", y, perm=[1, 0, 2, 3])


def _gru(writer: Writer, value: Value) -> str:
    y, *_ = _recurrence(writer, value, "GRU", linear_before_reset=1)
    return writer.node("Transpose", y, perm=[1, 0, 2, 3])


def _recurrence(writer: Writer, value: Value, op_type: str, **attributes: Any) -> tuple[str, ...]:
    """Y (steps, 1, batch, n), and the last of each state, (1, batch, n)."""
    z, w, b, *states = value.inputs
    x, w_x, b_x = _source(writer, z)
    gates, n = _GATES[value.op], w.shape[1]
    size = len(gates) * n
    places = np.arange(size).reshape(-1, n)[[*gates]].reshape(-1)
    weights = [_known(value, each)[places] for each in (w_x, w)]
    biases = [np.broadcast_to(_known(value, each), (size,))[places] for each in (b_x, b)]
    constants = [writer.constant(each[None]) for each in (*weights, np.concatenate(biases))]
    zeros = all(state.kind == "constant" and not state.data.any() for state in states)
    before = [] if zeros else [writer.node("Unsqueeze", writer.of(state), writer.ints([0])) for state in states]
    return writer.node(op_type, x, *constants, "", *before, outputs=1 + len(states), hidden_size=n, **attributes)


def _source(writer: Writer, z: Value) -> tuple[str, Any, Any]:
    """X (steps, batch, entries), the weight and the bias that z is the product of; where it is none, z and 1."""
    product = z.inputs[0] if z.op == "flip" and z.params == (0,) else z
    linear = _origin(product, "reshape")
    rows = _origin(linear, "linear")
    x = _origin(rows, "reshape")
    if x is None or x.shape != (*z.shape[:2], rows.shape[1]):
        return writer.of(z, float), np.eye(z.data.shape[2]), 0.0
    _, w, b = linear.inputs
    if product is not z:
        name = onnx_ops.EXPORTERS["flip"](writer, dataclasses.replace(z, inputs=(x,), shape=x.shape))
    return writer.of(x, float) if product is z else name, w, 0.0 if b is None else b


def _origin(value: Any, op: str) -> Any:
    """What a value was computed from by this row, else None."""
    return value.inputs[0] if value is not None and value.op == op else None


def _getitem(writer: Writer, value: Value) -> str:
    """Any entries; the last c is what the node of an LSTM gives beside h."""
    x, (index,) = value.inputs[0], value.params
    if x.op != "lstm" or not _is_last_cell(x, index):
        return onnx_ops.EXPORTERS["getitem"](writer, value)
    stacked = _made(writer, writer.of(x))
    return writer.node("Squeeze", _made(writer, stacked.input[0]).output[2], writer.ints([0]))


def _is_last_cell(x: Value, index: Any) -> bool:
    return index == (1, -1) or (index == (1, 0) and x.shape[1] == 1)


def _made(writer: Writer, name: str) -> Any:
    """The node that computes a value."""
    return next(node for node in writer.nodes if name in node.output)


def check(found: Paired) -> None:
    """Refuse to take of a recurrence what its node does not give: only h at every step, and the last c."""
    taken = [(x, value) for value in found.body for x in value.inputs if isinstance(x, Value)]
    for x, value in [*taken, *((y, None) for y in found.outputs)]:
        if x.op not in ("lstm", "gru"):
            continue
        index = value.params[0] if value is not None and value.op == "getitem" else None
        first = index[0] if isinstance(index, tuple) else index
        if type(first) is not int or (first != 0 and not (x.op == "lstm" and _is_last_cell(x, index))):
            raise refusal(
                x, "gives h at every step and the last c in ONNX, nothing else. Take output[0] or output[1, -1]"
            )


# ---- attention -----------------------------------------------------------------------------------------------------


def _attention_weights(writer: Writer, value: Value) -> str:
    (q, k, mask), (scale,) = value.inputs, value.params
    axes = [*range(k.data.ndim)]
    turned = writer.node("Transpose", writer.of(k, float), perm=[*axes[:-2], axes[-1], axes[-2]])
    s = writer.node("MatMul", writer.node("Mul", writer.of(q, float), writer.of(scale, float)), turned)
    if mask is None:
        return writer.node("Softmax", s, axis=-1)
    zero, never, last = writer.of(0.0), writer.of(-np.inf), writer.ints([-1])
    added = writer.node("Where", writer.of(mask), zero, never) if mask.dtype == bool else writer.of(mask, float)
    s = writer.node("Add", s, added)
    largest = writer.node("Max", writer.node("ReduceMax", s, last), writer.of(float(np.finfo(np.float32).min)))
    e = writer.node("Exp", writer.node("Sub", s, largest))
    total = writer.node("ReduceSum", e, last)
    return writer.node("Div", e, writer.node("Max", total, writer.of(1.0)))  # only without a key it is less


EXPORTERS: dict[str, Exporter] = {
    "conv2d": _conv,
    "conv2d_dx": _conv_transpose,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "batch_norm": _batch_norm,
    "rnn": _rnn,
    "lstm": _lstm,
    "gru": _gru,
    "getitem": _getitem,
    "attention_weights": _attention_weights,
}
"""Which row has which exporter; they come before those of `onnx_ops`."""
