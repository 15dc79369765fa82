"""python -m tinygrad_bp: what a document describes, done.

A command is a function of its arguments, named in `_parser`; what it returns is the exit code: 0 right, 1 a run or a
check that failed, 2 bad usage or input, 130 interrupted; of `check` also 3, undecided, and 4, the contract broken.
Whatever is wrong is one line on stderr, except that a reader who leaves (``| head -1``) ends a run in silence. `train`
writes its files into a hidden folder inside the run folder and moves them out when all are complete; whether it fails
or is interrupted, it removes what it made.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import secrets
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from . import __version__, ops
from .io.weights import save
from .spec import Experiment, from_spec
from .training import Record, Score, evaluate
from .view.curves import draw_curves

if TYPE_CHECKING:
    from .checking.report import Report

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default that of the process; returns the exit code."""
    typed = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(typed, argparse.Namespace(typed=typed))
    with suppress(ValueError):  # where this is not the main thread
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code: int = arguments.command(arguments)
    except KeyboardInterrupt:
        print("interrupted: nothing was written.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tinygrad_bp",
        description="Backpropagation on NumPy.",
        epilog="Exit codes: 0 right, 1 a run or check that failed, 2 bad usage or input; of check also 3 undecided, "
        "4 contract broken.",
    )
    parser.add_argument("--version", action="version", version=f"tinygrad_bp {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
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
    check = commands.add_parser(
        "check",
        help="check gradients: right, wrong or cannot tell, and what is wrong named",
        description="Check the gradients of what TARGET names, of NumPy code written by hand, of a saved case, or of "
        "every row and layer of this package.",
        epilog="Exit codes: 0 PASS or KINK, 1 FAIL, 2 bad usage or target, 3 INCONCLUSIVE or VACUOUS, 4 CONTRACT.",
    )
    of = check.add_mutually_exclusive_group(required=True)
    what = "pkg.mod:NAME or file.py:NAME, a function of Tensors, a row, a layer or what makes one; or a document"
    of.add_argument("target", nargs="?", metavar="TARGET", help=what)
    of.add_argument("--plain", metavar="SOURCE:FORWARD,BACKWARD", help="functions of arrays, in a module or file")
    of.add_argument("--load", metavar="FILE", help="what a report has saved: the same check again")
    of.add_argument("--all", action="store_const", const=True, help="every row and every layer of this package")
    check.add_argument("--args", metavar="VALUES", help="arguments of a class or factory: '3, 4'")
    check.add_argument(
        "--input", action="append", metavar="[NAME=]4x3", help="a shape, in order or by name; repeatable"
    )
    check.add_argument("--loss", action="store_const", const=True, help="--plain: forward returns a scalar loss")
    check.add_argument("--seed", type=_natural, metavar="N", help="of inputs, parameters and the checker (0)")
    check.add_argument("--order", type=int, choices=(1, 2), help="2 checks the backward itself, too")
    check.add_argument("--mode", choices=("auto", "full", "fast"), help="how much is measured")
    check.add_argument("--rtol", type=float, metavar="X", help="the relative error that counts as right (1e-6)")
    check.add_argument("--json", action="store_true", help="the reports as JSON")
    check.set_defaults(command=_check)
    doctor = commands.add_parser(
        "doctor",
        help="what makes NumPy slow on this machine, and what to do about it",
        description="Tell versions, the CPU, NumPy's BLAS and its kernels, threads, the speed of products and of a "
        "training step written by hand, eager and compiled, and what could be improved.",
    )
    doctor.add_argument("--json", action="store_true", help="the same as JSON")
    doctor.set_defaults(command=_doctor)
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no integer >= 0")
    return int(text)


# ---- train --------------------------------------------------------------------------------------------------------


def _train(arguments: argparse.Namespace) -> int:
    document = Path(arguments.document)
    with _exit(2, ImportError, OSError, TypeError, ValueError):
        _need("rich", "matplotlib", "safetensors")
        experiment = from_spec(document)
        text = document.read_bytes()
        folder = _free(document.stem) if arguments.folder is None else _empty(arguments.folder)
        made = _draft(folder)
    with _exit(1, ArithmeticError, MemoryError, OSError, RuntimeError, ValueError):
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


# ---- check --------------------------------------------------------------------------------------------------------

_WITHOUT = {
    "target": ("loss",),
    "plain": ("args", "order"),
    "load": ("args", "input", "loss", "mode", "order", "rtol", "seed"),
    "all": ("args", "input", "loss"),
}
_CODES = {"PASS": 0, "KINK": 0, "FAIL": 1, "INCONCLUSIVE": 3, "VACUOUS": 3, "CONTRACT": 4}


def _check(arguments: argparse.Namespace) -> int:
    from .checking import targets
    from .checking.report import SEVERITY

    given = {name: value for name, value in vars(arguments).items() if value is not None}
    kind = next(kind for kind in _WITHOUT if kind in given)
    kinds = (ImportError, MemoryError, OSError, TypeError, ValueError)
    with _exit(2, *kinds), redirect_stdout(sys.stderr):  # where what is run prints
        for option in _WITHOUT[kind]:
            if option in given:
                raise ValueError(
                    f"check: --{option} does not go with {'TARGET' if kind == 'target' else '--' + kind}. Leave it out."
                )
        seed, shapes = given.get("seed", 0), given.get("input", [])
        options = {name: given[name] for name in ("order", "mode", "rtol", "loss") if name in given} | {"rng": seed}
        if kind == "target":
            checks = targets.named_checks(given["target"], given.get("args"), shapes, seed, options)
        elif kind == "plain":
            checks = [targets.plain_check(given["plain"], shapes, seed, options)]
        else:
            checks = [targets.loaded_check(given["load"])] if kind == "load" else targets.every_check(seed, options)
        reports = [check.run() for check in checks]
    if arguments.json:
        found = [report.to_dict() for report in reports]
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2, allow_nan=False))
    elif len(reports) == 1:
        print(replace(reports[0], call=None))  # to run it again takes this command, not the report
        if not reports[0]:
            print(f"  reproduce  python -m tinygrad_bp {shlex.join(arguments.typed)}")
    else:
        _print_table([check.name for check in checks], reports)
        if kind == "all":
            print(f"without a derivative: {', '.join(row.name for row in ops.TABLE if not row.differentiable)}")
        counts = Counter(sorted((report.status for report in reports), key=SEVERITY.index))
        print(f"{len(reports)} checks: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    return _CODES[max((report.status for report in reports), key=SEVERITY.index)]


def _print_table(names: Sequence[str], reports: Sequence[Report]) -> None:
    """A line for each check, then the reports that are not right."""
    for name, report in zip(names, reports):
        count = sum(block.verdict.size for block in report.blocks.values())
        how = "by projections" if report.mode == "fast" else f"to {report.resolution:.0e}"
        cells = (f"{report.status:<12}", f"{name:<{max(map(len, names))}}", f"{count:6} derivatives {how:<14}")
        print("  ".join([*cells, f"{report.evals:5} forward calls"]))
    for report in reports:
        if not report:
            print(f"\n{replace(report, call=None)}")


# ---- doctor -------------------------------------------------------------------------------------------------------


def _doctor(arguments: argparse.Namespace) -> int:
    from .doctor import examine, render, to_dict

    facts = examine()
    print(json.dumps(to_dict(facts), indent=2, allow_nan=False) if arguments.json else render(facts))
    return 0


# ---- the run folder -----------------------------------------------------------------------------------------------


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


# ---- errors -------------------------------------------------------------------------------------------------------


@contextmanager
def _exit(code: int, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds end the program: their message on stderr in one line, and the exit code."""
    try:
        yield
    except BrokenPipeError:
        raise
    except kinds as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(code)


def _need(*packages: str) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(f"{' and '.join(missing)}: not installed. pip install 'tinygrad_bp[cli]'.")


if __name__ == "__main__":
    sys.exit(main())
