"""python -m tinygrad_bp: what a document describes, done.

A command is a file in :mod:`~tinygrad_bp.commands`; what it returns is the exit code: 0 right, 1 a run or a check that
failed, 2 bad usage or input, 130 interrupted (143 by SIGTERM); of `check` also 3, undecided, and 4, the contract
broken. Whatever is wrong is one line on stderr, except that a reader who leaves (``| head -1``) ends a run in silence.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from . import __version__
from .commands import check, doctor, explain, export, graph, predict, schema, score, train

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default that of the process; returns the exit code."""
    typed = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(typed, argparse.Namespace(typed=typed))
    try:
        with _terminable():
            code: int = arguments.command(arguments)
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM in the block ends the program with exit code 143; heard in the main thread only."""
    before = signal.getsignal(signal.SIGTERM)
    heard = threading.current_thread() is threading.main_thread() and before is not None
    if heard:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        if heard:
            signal.signal(signal.SIGTERM, before)


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Of two positionals the second may be left out, and may stand behind an option: eval RUN --json DATA."""
        found, rest = super().parse_known_args(args, namespace)
        second = [action.dest for action in self._get_positional_actions()[1:] if action.nargs == "?"]
        if second and getattr(found, second[0]) is None and rest and not rest[0].startswith("-"):
            setattr(found, second[0], rest.pop(0))
        return found, rest

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tinygrad_bp",
        description="Backpropagation on NumPy.",
        epilog="Exit codes: 0 right, 1 a run or check that failed, 2 bad usage or input, 130 interrupted; of "
        "check also 3 undecided, 4 contract broken.",
    )
    parser.add_argument("--version", action="version", version=f"tinygrad_bp {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (train, score, predict, export, graph, explain, schema, check, doctor):
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
