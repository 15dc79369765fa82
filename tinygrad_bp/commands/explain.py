"""explain: one step of backpropagation told with its numbers, in the terminal and as a page to look at.

The net of a document is told as it is initialised, that of a run as it was learnt; the page of a run has a slider over
the epochs whose weights were kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..io.atomic import in_place_of
from ..io.weights import load
from ..spec.mistakes import at
from ..training.run_folder import RunFolder
from ..view.explain import Explanation, explain
from ..view.findings import still_guessing
from ..view.page import page
from .material import Material, material
from .running import add_import, exit_on

__all__ = ["add"]


def add(commands: Any) -> None:
    """Enter the command."""
    parser = commands.add_parser(
        "explain",
        help="one step of backpropagation with its numbers, and what keeps the net from learning",
        description="Tell one step of backpropagation on rows of the training data, in training mode (dropout draws, "
        "BatchNorm takes the mean of the rows): what every layer computes, its error and gradients by the four "
        "equations, and what keeps the net from learning. A run folder gets the page explain.html, with a slider over "
        "the epochs whose weights it kept.",
    )
    parser.add_argument("model", metavar="RUN|FILE", help="the folder of a run, or a .toml or .json document")
    parser.add_argument("--rows", type=int, default=128, metavar="N", help="the first N rows of the data (128)")
    parser.add_argument("--sample", type=int, metavar="K", help="the numbers of row K alone, from 0")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("-o", dest="output", metavar="PAGE.html", help="write the page there")
    place.add_argument("--text", action="store_true", help="write no page")
    add_import(parser)
    parser.set_defaults(command=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    with exit_on(2, ImportError, IndexError, MemoryError, OSError, TypeError, ValueError):
        if arguments.rows < 1:
            raise ValueError(f"--rows {arguments.rows}: is too few. Give at least 1.")
        if arguments.output is not None and Path(arguments.output).suffix.lower() != ".html":
            raise ValueError(f"-o {arguments.output}: is no .html file. Name one.")
        found = material(arguments.model, arguments.modules)
        history = _history(found.folder) if found.folder else []
        step = _step(found, arguments, len(history))
        output = None if arguments.text else arguments.output or (found.folder and found.folder / "explain.html")
        if output:
            steps = _snapshots(found, arguments) or [("", step)]
            text = page(steps, history, f"{Path(arguments.model).name}: backpropagation, step by step")
            with in_place_of(output) as file:
                file.write(text.encode())
    if found.folder is None:
        print(f"{arguments.model}: is a document, its model is not trained.", file=sys.stderr)
    elif not (found.folder / "model.safetensors").is_file():
        print(f"{arguments.model}: its training has no end yet; told are the last weights kept.", file=sys.stderr)
    on_terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, 100) if on_terminal else 80
    print(step.text(width, color=on_terminal and not os.environ.get("NO_COLOR")), flush=True)
    if output:
        print(f"wrote {output}", file=sys.stderr)
    return 0


def _step(found: Material, arguments: argparse.Namespace, epoch: int) -> Explanation:
    """The step of the model with the weights that it has now, those after an epoch."""
    X, y = found.X[: arguments.rows], found.y[: arguments.rows]
    with at(arguments.model):
        whole = explain(found.model, found.loss, X, y)
        step = whole if arguments.sample is None else explain(found.model, found.loss, X, y, arguments.sample)
    return replace(step, findings=[*still_guessing(whole, epoch), *whole.findings])


def _snapshots(found: Material, arguments: argparse.Namespace) -> list[tuple[str, Explanation]]:
    """The steps with the weights that were kept in the run."""
    steps = []
    for epoch, path in RunFolder(found.folder).snapshots() if found.folder else []:
        with at(str(path)):
            found.model.load_state_dict(load(path))
        steps.append((f"epoch {epoch}", _step(found, arguments, epoch)))
    return steps


def _history(folder: Path) -> list[dict[str, Any]]:
    """What was measured in the run, a record an epoch."""
    path = folder / "metrics.jsonl"
    with at(str(path)):
        records = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is no record of an epoch. Go on with train --resume, or take the file away.")
    return records
