"""train: the model of a document is trained, and what it became is kept in a run folder."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..io.weights import save
from ..spec import Experiment
from ..training.loop import Record
from ..training.scoring import Score, evaluate
from ..view.curves import draw_curves
from .running import exit_on, need

__all__ = ["add"]


def add(commands: Any) -> None:
    """Enter the command."""
    train = commands.add_parser(
        "train",
        help="train the model of a document and write a run folder",
        description="Train the model of a document. Writes its weights (model.safetensors), the metrics of every epoch "
        "(metrics.jsonl), their picture (curve.png) and the document itself.",
    )
    train.add_argument("document", help="a .toml or .json file")
    train.add_argument(
        "-o", dest="folder", help="the run folder, new or empty (default: runs/NAME-N, NAME from the document)"
    )
    train.set_defaults(command=_train)


def _train(arguments: argparse.Namespace) -> int:
    document = Path(arguments.document)
    with exit_on(2, ImportError, OSError, TypeError, ValueError):
        need("rich", "matplotlib", "safetensors")
        experiment = Experiment.from_spec(document)
        text = document.read_bytes()
        folder = _free(document.stem) if arguments.folder is None else _empty(arguments.folder)
        made = _draft(folder)
    with exit_on(1, ArithmeticError, MemoryError, OSError, RuntimeError, ValueError):
        with _moved_out(made) as draft:
            history = _fitted(experiment, document.name)
            score = evaluate(experiment.model, experiment.loss, *experiment.test)
            save(draft / "model.safetensors", experiment.model.state_dict())
            (draft / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history), "ascii")
            draw_curves(history, document.stem).savefig(draft / "curve.png")
            (draft / f"document{document.suffix}").write_bytes(text)
        print(f"wrote {folder}: {', '.join(sorted(os.listdir(folder)))}")
        print(_verdict(score), flush=True)
    return 0


def _fitted(experiment: Experiment, name: str) -> list[Record]:
    weights = sum(parameter.size for parameter in experiment.model.parameters())
    rows = f"{len(experiment.train[1])} rows to train on, {len(experiment.test[1])} held out"
    print(f"{name}: {weights} weights and biases, {rows}", flush=True)
    with _progress(experiment.settings["epochs"]) as on_epoch, np.errstate(all="ignore"):  # fit finds what overflows
        history = experiment.fit(on_epoch)
    print(f"trained in {sum(record['seconds'] for record in history):.1f} s")
    return history


def _verdict(score: Score) -> str:
    if score.correct is None:
        return f"test loss {score.loss:.4f} ({score.rows} rows)"
    return f"test accuracy {score.accuracy:.4f} ({score.correct} of {score.rows})"


@contextmanager
def _progress(epochs: int) -> Iterator[Callable[[Record], None]]:
    """Shows each record it is given: a bar on a terminal, else about ten lines in all."""
    if not sys.stdout.isatty():
        shown = {1, epochs} | {epochs * tenth // 10 for tenth in range(1, 10)}
        yield lambda record: print(_line(record, epochs), flush=True) if record["epoch"] in shown else None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn()) as progress:
        task = progress.add_task("starting", total=epochs)
        yield lambda record: progress.update(task, advance=1, description=_line(_gist(record), epochs))


def _gist(record: Record) -> Record:
    """The loss and the accuracy, on held out rows where there are any: what fits beside a bar in 80 columns."""
    accuracies = [key for key in ("test_accuracy", "accuracy") if key in record]
    return {key: record[key] for key in ("epoch", "loss", *accuracies[:1])}


def _line(record: Record, epochs: int) -> str:
    metrics = (f"{key.replace('_', ' ')} {value:.4f}" for key, value in record.items() if key not in _COUNTS)
    return "  ".join([f"epoch {record['epoch']:{len(str(epochs))}}/{epochs}", *metrics])


_COUNTS = ("epoch", "seconds")


def _free(name: str) -> Path:
    return next(path for n in itertools.count(1) if not os.path.lexists(path := Path("runs", f"{name}-{n}")))


def _empty(name: str) -> Path:
    folder = Path(name)
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"-o {name}: is not an empty folder. Name a new one.")
    return folder


def _draft(folder: Path) -> list[Path]:
    """A hidden folder in `folder`, and every folder that had to be made for it, innermost first."""
    draft = folder / f".{secrets.token_hex(4)}"
    try:
        made = [path for path in (draft, *draft.parents) if not path.exists()]
        draft.mkdir(parents=True)
    except OSError as error:
        raise type(error)(f"{folder}: {error.strerror}. Name another folder with -o.") from error
    return made


@contextmanager
def _moved_out(made: list[Path]) -> Iterator[Path]:
    """What the block writes into the draft goes to the folder around it; if it fails, all that was made is removed."""
    draft, files = made[0], []
    try:
        yield draft
        files = [draft.parent / name for name in os.listdir(draft)]
        for file in files:
            (draft / file.name).rename(file)
        draft.rmdir()
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        for folder in made[1:]:
            with suppress(OSError):
                folder.rmdir()
        raise
