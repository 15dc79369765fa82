"""train: the model of a document is trained, and what it became is kept in a run folder.

The folder gets the document as it is run (spec.toml) and how rows are read from files (columns.json) first; the rest is
written by :func:`~tinygrad_bp.fit`. What is said goes to stdout; with ``--json`` the progress goes to stderr, and one
object to stdout when all is done.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import os
import shlex
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ..data.columns import Columns
from ..data.download import cache_folder
from ..io.atomic import in_place_of, only_writer_of
from ..io.weights import load
from ..spec import Experiment
from ..spec.mistakes import at, path_of, shown
from ..spec.reading import overridden, read, written
from ..training.run_folder import RunFolder
from .running import add_import, document_of, exit_on, import_all, load_weights, need, print_json, score_lines

__all__ = ["add"]

CHECKPOINT = Path("checkpoint", "state.safetensors")


def add(commands: Any) -> None:
    """Enter the command."""
    train = commands.add_parser(
        "train",
        help="train the model of a document and write a run folder",
        description="Train the model of a document. The run folder holds the weights (model.safetensors), the metrics "
        "of every epoch (metrics.jsonl), their picture (curve.png, curve.svg), the document as it was run (spec.toml), "
        "how rows are read from files (columns.json), the weights after some epochs (snapshots), and a checkpoint from "
        "which a run that was stopped goes on.",
    )
    train.add_argument("document", metavar="FILE|RUN", help="a .toml or .json document, or the folder of a run")
    train.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value in the document, as optim.lr=0.1; repeatable",
    )
    train.add_argument("--seed", metavar="N", help="the same as --set seed=N")
    train.add_argument(
        "-o", "--out", metavar="DIR", help="the run folder, new or empty (default: runs/NAME, NAME from the document)"
    )
    train.add_argument("--resume", action="store_true", help="go on where the run in the folder was stopped")
    add_import(train)
    train.add_argument("--quiet", action="store_true", help="say nothing but errors")
    train.add_argument("--json", action="store_true", help="print the result as JSON, and the progress on stderr")
    train.set_defaults(command=_train)


def _train(arguments: argparse.Namespace) -> int:
    target = io.StringIO() if arguments.quiet else sys.stderr if arguments.json else sys.stdout
    with redirect_stdout(target), _log_on_stderr(logging.ERROR if arguments.quiet else logging.WARNING):
        result = _run(arguments)
    if arguments.json:
        print_json(result)
    return 0


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, or find that nothing is left to do; returns what ``--json`` prints."""
    began = time.monotonic()
    with exit_on(2, ImportError, MemoryError, OSError, TypeError, ValueError):
        need("rich", "matplotlib", "safetensors", "tomli_w")
        os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))  # else it writes below ~/.config
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # else it says how long fonts take
        import_all(arguments.modules)
        document, run = document_of(arguments.document)
        seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
        folder = RunFolder(_place(arguments, run))
        folder.check(arguments.resume)
        with at(arguments.document):
            experiment = Experiment.from_spec(overridden(document, [*arguments.settings, *seed]))
            spec = written(experiment.to_spec())
        _make(folder.path)
        with only_writer_of(folder.path):
            folder.check(arguments.resume)  # again: reading the data took its time
            shorter = _check_same(folder.path, spec)
            finished = folder.finished(experiment.settings["epochs"]) and (folder.path / "columns.json").exists()
            if not finished:
                _prepare(folder.path, spec, experiment.parts.columns, shorter)
    if finished:
        print(f"{folder.path}: this run is finished, nothing is left to do.")
    else:
        if run is not None and not arguments.resume:
            print(f"a new run of {run}, in {folder.path}; with --resume {run} itself would go on")
        print(_head(experiment, Path(arguments.document).name), flush=True)
        _fit(experiment, folder.path, arguments, shorter)
        print(f"wrote {folder.path}: {', '.join(sorted(os.listdir(folder.path)))}")
    with exit_on(1, ArithmeticError, MemoryError, OSError, ValueError):
        result = _result(experiment, folder.path)
    of = next((part for part in ("test", "validation") if result[part] is not None), None)
    print(*(score_lines(of, result[of]) if of else ["no rows were held out"]), sep="\n", flush=True)
    return {**result, "seconds": time.monotonic() - began}


# ---- before -------------------------------------------------------------------------------------------------------


def _place(arguments: argparse.Namespace, run: Path | None) -> Path:
    """The run folder."""
    if arguments.out is not None:
        return Path(arguments.out)
    if run is not None and arguments.resume:
        return run
    return Path("runs", Path(arguments.document).stem if run is None else run.resolve().name)


def _check_same(folder: Path, spec: str) -> bytes | None:
    """Refuse to go on with a run of another document, and name the first value that differs; more epochs are none.

    Returns what spec.toml was where the run is to have more of them.
    """
    path = folder / "spec.toml"
    if not path.is_file():
        return None
    with at(str(path)):
        there, here = read(path), tomllib.loads(spec)
        difference = _difference(there, here, "")
    if difference and _epochs(there) < _epochs(here):
        there["train"]["epochs"] = here["train"]["epochs"]
        if not (difference := _difference(there, here, "")):
            return path.read_bytes()
    if difference:
        raise ValueError(f"{folder}: was run with {difference}. Leave that as it was, or name another folder: --out.")
    return None


def _epochs(document: dict[str, Any]) -> float:
    """Those of a document, infinitely many where it has no such number."""
    table = document.get("train")
    epochs = table.get("epochs") if isinstance(table, dict) else None
    return epochs if isinstance(epochs, int) else math.inf


def _difference(there: Any, here: Any, place: str) -> str:
    """The first place where two documents differ, with both values; "" where they are the same."""
    if isinstance(there, dict) and isinstance(here, dict):
        parts = [(there.get(key), here.get(key), path_of(place, key)) for key in {**here, **there}]
    elif isinstance(there, list) and isinstance(here, list):
        parts = [(*pair, f"{place}[{k}]") for k, pair in enumerate(zip_longest(there, here))]
    else:
        same = there == here or repr(there) == repr(here)  # nan is nan
        return "" if same else f"{place} {_value(there)}, here it is {_value(here).removeprefix('= ')}"
    return next(filter(None, (_difference(*part) for part in parts)), "")


def _value(value: Any) -> str:
    return "left out" if value is None else f"= {json.dumps(value) if isinstance(value, str) else shown(value)}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"{folder}: {error.strerror}. Name another folder with --out.") from error


def _prepare(folder: Path, spec: str, columns: Columns, shorter: bytes | None) -> None:
    """Write the files that `fit` does not; those of a run with a checkpoint stay, but for its number of epochs."""
    files = {"spec.toml": spec, "columns.json": json.dumps(columns.to_dict(), indent=2) + "\n"}
    for name, text in files.items():
        stays = (folder / CHECKPOINT).exists() and (folder / name).exists()
        if not stays or (shorter is not None and name == "spec.toml"):
            with in_place_of(folder / name) as file:
                file.write(text.encode())


def _head(experiment: Experiment, name: str) -> str:
    weights = sum(parameter.size for parameter in experiment.model.parameters())
    parts = experiment.parts
    rows = [f"{len(parts.train[0])} rows to train on"]
    rows += [
        f"{len(part[0])} {use}" for part, use in ((parts.validation, "to validate"), (parts.test, "to test")) if part
    ]
    head = f"{name}: {weights} weights and biases; {', '.join(rows)}"
    texts = [f"{column} ({len(known)})" for column, known in parts.columns.categories.items()]
    return f"{head}\ncolumns of text, one-hot: {', '.join(texts)}" if texts else head


# ---- the run ------------------------------------------------------------------------------------------------------


def _fit(experiment: Experiment, folder: Path, arguments: argparse.Namespace, shorter: bytes | None) -> None:
    """Train; what ends it early is said in one line, with what is kept."""
    with exit_on(2, TypeError, ValueError), exit_on(1, ArithmeticError, MemoryError, OSError, RuntimeError):
        try:
            with np.errstate(all="ignore"):  # fit finds what overflows
                experiment.fit(out=folder, resume=arguments.resume, progress=not arguments.quiet)
        except ValueError as error:
            if shorter is not None and str(error).startswith("resume: "):  # it has not gone on
                with in_place_of(folder / "spec.toml") as file:
                    file.write(shorter)
            raise
        except FloatingPointError as error:
            kept = f"What was saved until then stays in {folder}; give the next run another folder with --out."
            raise FloatingPointError(f"{error} {kept}") from error
        except OSError as error:
            if error.errno is None or isinstance(error, BrokenPipeError):  # a line of ours, or a reader who has left
                raise
            again = _again(folder, arguments.modules)
            raise OSError(f"{folder}: {error.strerror}. Make room, and go on with: {again}") from error
        except (KeyboardInterrupt, SystemExit) as stop:
            print(_interrupted(stop, experiment, folder, arguments.modules), file=sys.stderr)
            sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)


def _interrupted(stop: BaseException, experiment: Experiment, folder: Path, modules: list[str]) -> str:
    """What is kept of a run that was interrupted, and how it goes on; of SIGINT `fit` says whether all was saved."""
    if RunFolder(folder).finished(experiment.settings["epochs"]):
        return f"interrupted when all was done: {folder} is finished."
    epoch = f"epoch {len(_records(folder)) + 1} of {experiment.settings['epochs']}"
    saved = "saved" if str(stop) else "at the last checkpoint"
    return f"interrupted in {epoch}: {saved}. Go on with: {_again(folder, modules)}"


def _again(folder: Path, modules: list[str]) -> str:
    """The command that goes on with a run."""
    imports = [word for module in modules for word in ("--import", module)]
    return shlex.join(["python", "-m", "tinygrad_bp", "train", str(folder), "--resume", *imports])


def _records(folder: Path) -> list[dict[str, Any]]:
    """What was measured, a record an epoch."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def _result(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """What the run has come to, as its folder has it."""
    load_weights(experiment.model, folder)
    loop = load(folder / CHECKPOINT)["loop"]
    records, best = loop["history"], loop.get("best_epoch")
    with np.errstate(all="ignore"):
        scores = {
            part: None if getattr(experiment.parts, part) is None else experiment.evaluate(part)
            for part in ("validation", "test")
        }
    return {
        "folder": str(folder),
        "finished": True,
        "epochs": len(records),
        "best": records[best - 1] if best else None,
        "final": records[-1],
        **scores,
    }


# ---- what is said -------------------------------------------------------------------------------------------------


@contextmanager
def _log_on_stderr(level: int) -> Iterator[None]:
    """What the package logs is a line on stderr: why a step is not compiled."""
    log, lines = logging.getLogger("tinygrad_bp"), _Lines(level)
    log.addHandler(lines)
    try:
        yield
    finally:
        log.removeHandler(lines)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(" ".join(record.getMessage().split()), file=sys.stderr)
