"""bp.export: a trained model as a file that others run, ONNX or Python; each kind is a module of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..nn.module import Module
from .numpy_file import write_numpy
from .onnx_file import write_onnx

__all__ = ["export"]


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
    ValueError
        Another suffix; or what cannot be exported, with the name of the module.
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
    suffix = Path(path).suffix.lower()
    if suffix == ".onnx":
        texts = {key: x if isinstance(x, str) else json.dumps(x) for key, x in (metadata or {}).items()}
        write_onnx(model, x, path, texts, mean, scale)
    elif suffix == ".py":
        write_numpy(model, x, path, mean=mean, scale=scale, metadata=metadata)
    else:
        raise ValueError(f"export: {os.fspath(path)} ends in {suffix!r}. Name a file .onnx or .py.")
