"""How a command ends: errors as one line on stderr with an exit code, and extras that have to be installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["exit_on", "need"]


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
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(f"{' and '.join(missing)}: not installed. pip install 'tinygrad_bp[cli]'.")
