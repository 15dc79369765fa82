"""export: the model of a run as a file that others run, ONNX or Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..data.columns import Columns
from ..nn.losses import BCEWithLogitsLoss
from ..nn.module import Module
from .running import add_import, document_of, exit_on, import_all, trained

__all__ = ["add"]

SUFFIXES = {"onnx": ".onnx", "numpy": ".py"}


def add(commands: Any) -> None:
    """Enter the command."""
    parser = commands.add_parser(
        "export",
        help="a trained model as a file that others run: ONNX, or Python with NumPy alone",
        description="Write the model of a run folder as a file that takes what its data files hold: numbers are scaled "
        "in it. Columns of text are given as one 0 or 1 for each category. The training data is not needed.",
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a run")
    parser.add_argument("--to", choices=SUFFIXES, required=True, help="model.onnx, or model.py that needs NumPy alone")
    parser.add_argument("-o", dest="output", metavar="FILE", help="write it there instead of into the run folder")
    add_import(parser)
    parser.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> int:
    from ..exporting import export  # which no other command needs

    with exit_on(2, ImportError, MemoryError, OSError, TypeError, ValueError):
        import_all(arguments.modules)
        document, folder = document_of(arguments.run)
        if folder is None:
            raise ValueError(f"{arguments.run}: is a document, not trained yet. Train it, then name its run folder.")
        suffix = SUFFIXES[arguments.to]
        path = Path(arguments.output or folder / f"model{suffix}")
        if path.suffix.lower() != suffix:
            raise ValueError(f"-o {path}: --to {arguments.to} writes a {suffix} file. Name one.")
        model, loss, columns, _ = trained(document, folder)
        metadata = _metadata(columns, loss)
        export(model, _rows(columns), path, mean=columns.mean, scale=columns.std, metadata=metadata)
    print(path)
    return 0


def _rows(columns: Columns) -> Any:
    """Some rows such as the model takes; their numbers do not matter."""
    drawn = np.random.default_rng(0).normal(size=(2, *columns.shape))
    return (drawn > 0 if columns.dtype == "int64" else drawn).astype(columns.dtype)


def _metadata(columns: Columns, loss: Module) -> dict[str, Any]:
    """What the numbers mean that go in and come out."""
    found: dict[str, Any] = {}
    if columns.arrays is None or len(set(columns.arrays)) > 1:  # else the targets are the inputs themselves
        found["target"] = list(columns.target)
    if columns.features is not None:
        known = columns.categories
        hot = {name: [f"{name}={kind}" for kind in kinds] for name, kinds in known.items()}
        found["columns"] = [place for name in columns.features for place in hot.get(name, [name])]
        found["categories"] = {name: list(kinds) for name, kinds in known.items()}
    if columns.classes is not None:
        found["classes"] = list(columns.classes)
    if columns.targets == "binary":
        found["threshold"] = 0.0 if isinstance(loss, BCEWithLogitsLoss) else 0.5
    return found
