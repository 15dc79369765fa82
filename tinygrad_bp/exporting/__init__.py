"""bp.export: a trained model as a file that others run, ONNX or Python; each kind is a module of its own."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn.module import Module
from ..recipe import Node
from .numpy_file import scaling, write_numpy
from .onnx_file import write_onnx

__all__ = ["export"]

COARSE = 1e-4  # of the spread of a column: that much float32 may move a number of it


def export(
    model: Module,
    x: Any,
    path: str | os.PathLike[str],
    *,
    mean: Any = None,
    scale: Any = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write what ``model(x)`` gives in evaluation to a file, for any number of rows: ``.onnx``, or ``.py``.

    The ``.onnx`` needs the package onnx to be written; input "x", output "y", floats are float32. The ``.py`` needs
    NumPy to be run, and nothing else: ``predict(x)``, in the dtype of the model. A file of that name is replaced, and
    only when the new one is complete. The model is left as it was.

    Parameters
    ----------
    x
        Some rows such as the model takes, an array or a Tensor, axis 0 the rows.
    mean, scale
        Of one row: the file takes numbers as they were before ``(x - mean) / scale``.
    metadata
        Kept in the file, in ONNX as text, JSON if it is not text. The ``.py`` uses ``classes``, ``columns``,
        ``target`` and ``threshold``, as :func:`~tinygrad_bp.exporting.numpy_file.numpy_source` says.

    Raises
    ------
    TypeError
        The model is no Module, takes more than x, or returns something else than tensors; x is no array.
    ValueError
        Another suffix; or what cannot be exported, with the name of the module: it looks at numbers that are known only
        when it runs (``if`` on a value), has parameters that are not finite, does other things for other numbers of
        rows. To ONNX also a row without a counterpart there, and a column whose `mean` is so large against its `scale`
        that float32 would lose it.
    ModuleNotFoundError
        The package onnx (extra ``onnx``) is not installed.

    Examples
    --------
    >>> import runpy, tempfile, tinygrad_bp as bp
    >>> net = bp.nn.Sequential(bp.nn.Linear(2, 2), bp.nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bp.export(net, bp.ones(1, 2), f"{folder}/net.py")
    ...     predict = runpy.run_path(f"{folder}/net.py")["predict"]
    >>> predict([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).shape
    (3, 2)
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"export: the path is a {type(path).__name__}. Give the name of a file, .onnx or .py.")
    suffix = Path(path).suffix.lower()
    if suffix not in (".onnx", ".py"):
        raise ValueError(f"export: {os.fspath(path)} ends in {suffix!r}. Name a file .onnx or .py.")
    rows = _rows(model, x)
    _refuse_parameters(model, float(np.finfo(np.float64 if suffix == ".py" else np.float32).max))
    if suffix == ".py":
        write_numpy(model, rows, path, mean=mean, scale=scale, metadata=metadata)
        return
    _refuse_coarse((metadata or {}).get("columns"), **scaling(rows, mean, scale))
    texts = {key: x if isinstance(x, str) else json.dumps(x) for key, x in (metadata or {}).items()}
    write_onnx(model, rows, path, texts, mean, scale)


def _rows(model: Any, x: Any) -> NDArray[Any]:
    """X as an array, if the model takes one."""
    if not isinstance(model, Module):
        raise TypeError(f"export: the model is a {type(model).__name__}. Pass a Module.")
    if isinstance(x, (tuple, list)) and any(isinstance(one, (Node, np.ndarray)) for one in x):
        raise TypeError(f"export: x is a {type(x).__name__} of {len(x)} arrays. Pass one, axis 0 the rows.")
    rows = np.asarray(x.data if isinstance(x, Node) else x)
    if rows.dtype.kind not in "fiub" or not rows.ndim or not rows.size:
        raise ValueError(f"export: x is {rows.dtype} of shape {rows.shape}. Pass at least one row of numbers.")
    try:
        inspect.signature(model.forward).bind(rows)
    except TypeError as error:
        name = type(model).__name__
        raise TypeError(f"export: {name}.forward, given x: {error}. Wrap it in a Module that takes x alone.") from None
    return rows


def _refuse_parameters(model: Module, largest: float) -> None:
    for name, parameter in model.named_parameters():
        top = float(np.abs(parameter.data).max(initial=0.0))
        if not top <= largest:
            what = f"{top:.3g}, too large for float32" if np.isfinite(top) else "nan or inf"
            raise ValueError(f"export: {name} holds {what}. Train the model again, with a smaller learning rate.")


def _refuse_coarse(columns: Sequence[str] | None, mean: Any = (), scale: Any = ()) -> None:
    """Refuse columns that float32 rounds to steps that matter, before anything is subtracted from them."""
    for k, (center, spread) in enumerate(zip(mean, scale)):
        step = float(np.spacing(np.float32(abs(center))))
        if not step / 2.0 <= COARSE * abs(spread):
            what = f"column {columns[k] if columns else k!r} is {center:.6g} +- {spread:.3g}, where float32 has steps"
            raise ValueError(f"export: {what} of {step:.3g}. Subtract {center:.3g} and train again, or use .py.")
