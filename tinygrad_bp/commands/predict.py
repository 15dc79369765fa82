"""predict: what a trained model says about the rows of a file, as CSV."""

from __future__ import annotations

import argparse
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.columns import Columns
from ..io.atomic import in_place_of
from ..nn.losses import BCEWithLogitsLoss
from ..nn.module import Module
from ..spec.mistakes import at
from ..training.scoring import predict, probabilities
from .running import add_import, document_of, exit_on, import_all, trained

__all__ = ["add"]


def add(commands: Any) -> None:
    """Enter the command."""
    parser = commands.add_parser(
        "predict",
        help="what a trained model says about the rows of a file",
        description="Predict the rows of DATA, a .csv with the columns of the training data or an .npz with its X, "
        "with the model of a run folder. Writes CSV: the class of each row, or its numbers. The training data is not "
        "needed.",
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a run")
    parser.add_argument("data", metavar="DATA", help="a .csv or .npz file; targets in it are not looked at")
    parser.add_argument("-o", dest="output", metavar="OUT.csv", help="write it there instead of to stdout")
    parser.add_argument("--probabilities", action="store_true", help="a column for each class, and its probability")
    add_import(parser)
    parser.set_defaults(command=_predict)


def _predict(arguments: argparse.Namespace) -> int:
    with exit_on(2, ImportError, MemoryError, OSError, TypeError, ValueError):
        import_all(arguments.modules)
        document, folder = document_of(arguments.run)
        if folder is None:
            raise ValueError(f"{arguments.run}: is a document, not trained yet. Train it, then name its run folder.")
        if arguments.output is not None and os.path.realpath(arguments.output) == os.path.realpath(arguments.data):
            raise ValueError(f"-o {arguments.output}: is the data itself. Name another file.")
        model, loss, columns, _ = trained(document, folder)
        X = columns.read(arguments.data)
        with np.errstate(all="ignore"), at(arguments.data):
            header, table = _table(columns, predict(model, X), loss, arguments.probabilities)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(table)
        if arguments.output is None:
            print(text.getvalue(), end="", flush=True)
        else:
            with in_place_of(Path(arguments.output)) as file:
                file.write(text.getvalue().encode())
    return 0


def _table(columns: Columns, outputs: NDArray[Any], loss: Module, asked: bool) -> tuple[Sequence[str], list[list[Any]]]:
    """The header and the rows; floats are written as the shortest decimals that read back exactly."""
    if columns.classes is None:
        if asked:
            raise ValueError("--probabilities: the model predicts numbers, not classes. Leave it out.")
        return columns.target, outputs.reshape(len(outputs), -1).tolist()
    if outputs.ndim != 2:
        raise ValueError(f"the model gives {outputs.shape}, not a row of numbers for each row. Score it with eval.")
    column = columns.targets == "binary"
    classes = [*columns.classes, *map(str, range(len(columns.classes), outputs.shape[1]))]
    if asked:
        chances = probabilities(loss, outputs)
        return classes, (np.concatenate([1.0 - chances, chances], axis=1) if column else chances).tolist()
    found = outputs[:, 0] > (0.0 if isinstance(loss, BCEWithLogitsLoss) else 0.5) if column else outputs.argmax(axis=1)
    return columns.target, [[classes[k]] for k in found.tolist()]
