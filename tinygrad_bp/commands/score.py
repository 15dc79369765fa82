"""eval: how well a model does on rows that it was not trained on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..spec import Experiment
from ..spec.mistakes import at
from ..training.scoring import evaluate
from .running import (
    Trained,
    add_import,
    document_of,
    exit_on,
    import_all,
    load_weights,
    print_json,
    score_lines,
    trained,
)  # fmt: skip

__all__ = ["add"]

PARTS = ("test", "validation", "train")


def add(commands: Any) -> None:
    """Enter the command."""
    parser = commands.add_parser(
        "eval",
        help="how well a model does on rows held out, or on those of a file",
        description="Score the model of a run folder, or of a document, freshly initialised, on the rows held out: the "
        "test part of its data, else the validation part, else the rows it was trained on; or on the rows of DATA.",
    )
    parser.add_argument("model", metavar="RUN|FILE", help="the folder of a run, or a .toml or .json document")
    parser.add_argument("data", metavar="DATA", nargs="?", help="a .csv or .npz file with targets, for a run folder")
    parser.add_argument("--on", choices=PARTS, help="this part of the data of the document")
    add_import(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.set_defaults(command=_eval)


def _eval(arguments: argparse.Namespace) -> int:
    with exit_on(2, ImportError, MemoryError, OSError, TypeError, ValueError):
        import_all(arguments.modules)
        of, scores = _of_file(arguments) if arguments.data else _of_part(arguments)
    if not Path(arguments.model).is_dir():
        print(f"{arguments.model}: is a document, its model is not trained.", file=sys.stderr)
    if arguments.json:
        print_json({"model": arguments.model, "on": of, **scores})
    else:
        print(*score_lines(of, scores), sep="\n")
    return 0


def _of_part(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The part of the document's data, and the scores on it."""
    document, folder = document_of(arguments.model)
    with at(arguments.model):
        experiment = Experiment.from_spec(document)
    if folder is not None:
        load_weights(experiment.model, folder)
    of = arguments.on or next(part for part in PARTS if getattr(experiment.parts, part) is not None)
    with at(arguments.model), np.errstate(all="ignore"):
        return of, experiment.evaluate(of)


def _of_file(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The file, and the scores on it; the training data is not needed."""
    if arguments.on:
        raise ValueError(f"--on {arguments.on}: does not go with {arguments.data}. Leave one out.")
    document, folder = document_of(arguments.model)
    if folder is None:
        with at(arguments.model):
            experiment = Experiment.from_spec(document)
        columns, metrics = experiment.parts.columns, experiment.settings.get("metrics")
        made = Trained(experiment.model, experiment.loss, columns, metrics)
    else:
        made = trained(document, folder)
    X, y = made.columns.read_pair(arguments.data)
    with at(arguments.data), np.errstate(all="ignore"):
        return arguments.data, evaluate(made.model, made.loss, X, y, metrics=made.metrics)
