"""Where the program stands while it is recorded: in which row, partial or update, and on which line of the user's.

All of it is read from the frames of the running program, so the engine need not know that it is watched, and nothing
but names, comments and messages depends on it.
"""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from .. import autograd
from ..optim.optimizers import Optimizer
from ..recipe import Op

__all__ = ["Origin", "origin", "program_line"]

_SHOWN = 80  # letters of a line that is quoted
_OUTSIDE = (str(Path(__file__).parents[1]), str(Path(np.__file__).parent))


@dataclass(frozen=True, eq=False)
class Origin:
    """Which call of a row, which partial, or which update led to an instruction."""

    part: str
    """"forward", "backward", "update", or "" for code that is in no row."""
    op: Op | None = None
    inputs: tuple[Any, ...] = ()
    target: Any = None
    """The tensor whose gradient or whose update is computed."""
    owner: Any = None
    """The frame of the row's call, the node walked through, the optimizer, or the line of the user's program."""
    root: Any = None
    """The tensor that is differentiated."""


_CALL = Op.__call__.__code__
_WALK = autograd.walk.__wrapped__.__code__  # type: ignore[attr-defined]  # under np.errstate
_STEP = Optimizer.step.__code__


def origin() -> Origin:
    """What the engine is doing just now, read from its frames: so the engine need not know that it is watched."""
    found = None
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is _CALL:
            found = Origin("forward", frame.f_locals["self"], frame.f_locals["inputs"], None, frame)
        elif frame.f_code is _WALK:
            seen = frame.f_locals
            op, inputs, x = seen["op"], seen["inputs"], seen.get("x")
            target = x if any(x is other for other in inputs) else None
            return Origin("backward", op, inputs, target, seen["node"], seen["order"][-1])
        elif frame.f_code is _STEP:
            return Origin("update", None, (), frame.f_locals.get("p"), frame.f_locals["self"])
        frame = frame.f_back
    return found or Origin("", owner=_line()[1])


def _line() -> tuple[str, str]:
    """The line of the user's program that is running: where it is, and what it says."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OUTSIDE):
        frame = frame.f_back
    if frame is None:
        return "the step", ""
    path, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(path, number, frame.f_globals).strip()
    return f"line {number} of {Path(path).name}", text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def program_line() -> str:
    """The line of the user's program that is running, in words."""
    place, text = _line()
    return f"{place} ({text})" if text else place
