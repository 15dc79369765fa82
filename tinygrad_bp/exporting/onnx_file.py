"""A model as a file for ONNX runtimes: float32, any number of rows, and in the file what its numbers mean.

What a walk of the forward pass in evaluation would not see is refused (`followed`), then it is walked (`paired`), each
row is written by its exporter (`onnx_ops`, `onnx_layers`), and the result is checked by ONNX's own checker before a
file is made. A row without an exporter is refused by name. Needs the package `onnx`, of the extra of that name;
runtimes are not imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import __version__
from ..io.atomic import in_place_of
from ..recipe import Node
from . import onnx_layers, onnx_ops
from .followed import refuse_unfollowed
from .numpy_plan import some
from .onnx_writer import Writer, refusal, type_of
from .paired import Paired, Rows, Value, paired

__all__ = ["onnx_model", "write_onnx"]

OPSET = 21
IR_VERSION = 10  # the one that came with the opset; runtimes refuse what is newer than they are
EXPORTERS = onnx_ops.EXPORTERS | onnx_layers.EXPORTERS


def onnx_model(
    model: Any,
    x: Any,
    metadata: Mapping[str, str] | None = None,
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
) -> Any:
    """The `onnx.ModelProto` of what ``model(x)`` computes in evaluation.

    Parameters
    ----------
    model
        A Module; it is left in the mode it was in.
    x
        Some rows, axis 0: their shape and dtype become those of the input "x", whose first axis is "rows".
    metadata
        Texts to keep in the file.
    mean, scale
        Of one row of x, flattened or not: the file takes numbers as they were before ``(x - mean) / scale``.

    Returns
    -------
    onnx.ModelProto
        Floats are float32, integers int64, opset 21. The output is "y"; of several "y0", "y1", ...

    Raises
    ------
    ModuleNotFoundError
        The package onnx is not installed.
    ValueError
        A row has no ONNX, or the model does what no recipe tells: the message names the module.

    Examples
    --------
    With the package onnx:

    >>> import tinygrad_bp as bp
    >>> net = bp.nn.Sequential(bp.nn.Linear(4, 3), bp.nn.Softmax())
    >>> [node.op_type for node in onnx_model(net, bp.zeros(1, 4)).graph.node]  # doctest: +SKIP
    ['Gemm', 'Softmax']
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("export: this needs the package onnx. pip install 'tinygrad_bp[onnx]'.") from error
    refuse_unfollowed(model, some(np.asarray(x.data if isinstance(x, Node) else x), 2))
    found = paired(model, x)
    result = onnx.helper.make_model(
        _graph(found, type(model).__name__, mean, scale),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tinygrad_bp",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(result, dict(metadata or {}))
    try:
        onnx.checker.check_model(result, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ValueError(f"export: onnx refuses the file: {reason}. Spell the model with other operations.") from error
    return result


def _graph(found: Paired, title: str, mean: ArrayLike | None, scale: ArrayLike | None) -> Any:
    """The `onnx.GraphProto` of a forward."""
    import onnx

    onnx_layers.check(found)
    names = ["y"] if len(found.outputs) == 1 else [f"y{k}" for k in range(len(found.outputs))]
    w = Writer(found.input, names)
    if mean is not None or scale is not None:
        _scale(w, found.input, mean, scale)
    for value in found.body:
        exporter = EXPORTERS.get(value.op) if value.is_known else None
        if exporter is None:
            raise refusal(value, "has no counterpart in ONNX here. Spell it with other operations, or leave it out")
        w.write(value, exporter)
    for name, value in zip(names, found.outputs):
        w.output(value, name)
    nodes, initializers = _used(w, names)
    return onnx.helper.make_graph(
        nodes,
        title,
        [_info("x", found.input)],
        [_info(name, value) for name, value in zip(names, found.outputs)],
        initializers,
    )


def write_onnx(
    model: Any,
    x: Any,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
) -> None:
    """:func:`onnx_model` as a file, written whole or not at all.

    >>> import tempfile
    >>> import tinygrad_bp as bp
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
    ...     write_onnx(bp.nn.Linear(4, 3), bp.zeros(1, 4), f"{folder}/model.onnx")
    ...     os.listdir(folder)
    ['model.onnx']
    """
    content = onnx_model(model, x, metadata, mean, scale).SerializeToString()
    with in_place_of(path) as file:
        file.write(content)


def _scale(w: Writer, x: Value, mean: ArrayLike | None, scale: ArrayLike | None) -> None:
    """(x - mean) / scale in the place of the input."""
    if x.dtype.kind != "f":
        raise TypeError(
            f"export: x is {x.dtype}, and only floats are scaled. Pass rows of floats, or no mean and scale."
        )

    def exporter(w: Writer, x: Value) -> str:
        y, shape = w.of(x), x.data.shape[1:]
        if mean is not None:  # in two steps, as near to it as float64 is: rows are as large as it before the first
            whole = np.asarray(mean, float).reshape(shape)
            for part in (whole, whole - whole.astype(np.float32)):
                y = w.node("Sub", y, w.constant(part))
        return y if scale is None else w.node("Div", y, w.constant(np.asarray(scale, float).reshape(shape)))

    w.write(x, exporter)


def _used(w: Writer, outputs: list[str]) -> tuple[list[Any], list[Any]]:
    """The nodes and constants that the outputs need: one node of ONNX may have done the work of several rows."""
    needed, nodes = set(outputs), []
    for node in reversed(w.nodes):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    return nodes[::-1], [array for array in w.initializers if array.name in needed]


def _info(name: str, value: Value) -> Any:
    """Name, type and shape of an input or output."""
    from onnx import helper

    shape = [_dimension(n) if isinstance(n, Rows) else n for n in value.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(type_of(value.dtype)), shape)


def _dimension(n: Rows) -> str:
    factor = "rows" if n.scale == 1 else f"{n.scale}*rows"
    return f"{factor}{n.shift:+d}" if n.shift else factor
