"""What the commands share: how they end, what they read, and how they say how well a model does.

What is wrong is one line on stderr and an exit code. A model is named by a document, which makes it afresh, or by the
folder of a run, with what it has learnt there; layers of one's own are imported first. Nothing is written here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from ..data.columns import Columns
from ..io.weights import load
from ..nn.module import Module
from ..spec import from_spec
from ..spec.mistakes import at
from ..spec.model import made, sections
from ..spec.reading import read
from ..spec.registry import LOSSES, import_layers

__all__ = [
    "Trained",
    "add_import",
    "document_of",
    "exit_on",
    "import_all",
    "load_weights",
    "need",
    "no_bytecode",
    "print_json",
    "score_lines",
    "trained",
]


@contextmanager
def exit_on(code: int, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds end the program: their message on stderr in one line, and the exit code."""
    try:
        yield
    except BrokenPipeError:
        raise
    except kinds as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(code)


def need(*packages: str) -> None:
    """Raise ImportError where packages of the extra `cli` are not installed."""
    missing = [package.replace("_", "-") for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(f"{' and '.join(missing)}: not installed. pip install 'tinygrad_bp[cli]'.")


# ---- what is read -------------------------------------------------------------------------------------------------


def add_import(parser: argparse.ArgumentParser) -> None:
    """Enter ``--import MODULE``, which may be given several times."""
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="layers of your own, a module or a .py file; repeatable",
    )


@contextmanager
def no_bytecode() -> Iterator[None]:
    """Modules that are imported leave no __pycache__ beside them."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def import_all(modules: list[str]) -> None:
    """Import what ``--import`` names; what it prints goes to stderr, so that results stay results."""
    with no_bytecode(), redirect_stdout(sys.stderr):
        for module in modules:
            import_layers(module)


def document_of(name: str) -> tuple[dict[str, Any], Path | None]:
    """The document that `name` is, and None, or the one in the run folder that it is, and that folder."""
    path = Path(name)
    if not path.exists() and path.suffix not in (".toml", ".json"):
        raise FileNotFoundError(f"{name}: there is no such run folder or document. A run is begun by train FILE.")
    if not path.is_dir():
        with at(name):
            return read(path), None
    spec = path / "spec.toml"
    if not spec.is_file():
        raise ValueError(f"{name}: is no run folder, it holds no spec.toml. Name a document, or a folder of train.")
    with at(str(spec)):
        return read(spec), path


def load_weights(model: Module, folder: Path) -> None:
    """Give the model what it has learnt in the run."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ValueError(f"{folder}: holds no trained weights yet. Go on with train {folder} --resume.")
    with at(str(path)):
        model.load_state_dict(load(path))


class Trained(NamedTuple):
    """A model, its loss, how it reads rows, and the names of its metrics, None for the usual ones."""

    model: Module
    loss: Module
    columns: Columns
    metrics: list[str] | None


def trained(document: Mapping[str, Any], folder: Path) -> Trained:
    """What the run in the folder has learnt; the training data is not needed."""
    with at(str(folder / "spec.toml")):
        tables = sections(document, ("model", "loss", "train"))
        model, loss = from_spec(document), made(tables["loss"], "loss", LOSSES, "loss")
    load_weights(model, folder)
    path = folder / "columns.json"
    with at(str(path)):
        if not path.is_file():
            raise ValueError(f"is missing. train {folder} --resume writes it.")
        columns = Columns.from_dict(json.loads(path.read_bytes()))
    return Trained(model, loss, columns, tables["train"].get("metrics"))


# ---- what is said -------------------------------------------------------------------------------------------------


def score_lines(of: str, scores: Mapping[str, float]) -> list[str]:
    """A line for each number, ``test f1 0.9664``; last the accuracy, or the loss, with the rows."""
    rows = int(scores["rows"])
    last = "accuracy" if "accuracy" in scores else "loss"
    lines = [f"{of} {name} {shown_number(value)}" for name, value in scores.items() if name not in (last, "rows")]
    right = scores[last] * rows
    counted = last == "accuracy" and math.isfinite(right) and abs(right - round(right)) < 1e-6  # of rows, not of labels
    return [
        *lines,
        f"{of} {last} {shown_number(scores[last])} ({f'{round(right)} of {rows}' if counted else f'{rows} rows'})",
    ]


def shown_number(value: float) -> str:
    """Four digits after the point, or, of what is small or large, four in all."""
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e5 else f"{value:.3e}"


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object on stdout; what is not finite is null."""
    print(json.dumps(_finite(values), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
