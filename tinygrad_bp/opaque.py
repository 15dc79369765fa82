"""Functions that are one step to whoever records them: kernels, which compute, and checks of values, which may raise.

Both look at the numbers in arrays, or do with them what no recorder could follow (views with strides of their own,
several results). While a step is recorded (:mod:`tinygrad_bp.compiler`), their calls are handed to the recorder, which
prints their source with the step: so they are written with ``def`` at the top of a module, in NumPy and nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

__all__ = ["hand_to", "is_recording", "kernel", "value_check"]

Function = Callable[..., Any]


class Recorder(Protocol):
    """Whoever records a step."""

    def kernel(self, function: Function, args: tuple[Any, ...]) -> Any:
        """``function(*args)``, as one instruction."""
        ...

    def check(self, function: Function, args: tuple[Any, ...]) -> None:
        """``function(*args)``, to be repeated in every replay."""
        ...


_recorder: Recorder | None = None


def hand_to(recorder: Recorder | None) -> None:
    """Hand every call to `recorder` from now on; None: run them again."""
    global _recorder
    _recorder = recorder


def is_recording() -> bool:
    """Whether a step is being recorded."""
    return _recorder is not None


def kernel(function: Function) -> Function:
    """A computation: ``function(*args)`` returns a new array and writes to nothing it is given."""

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        recorder = _recorder  # read once: another thread's recording may end meanwhile
        return function(*args) if recorder is None else recorder.kernel(function, args)

    return called


def value_check(function: Function) -> Callable[..., None]:
    """A check of values: ``function(*args)`` returns nothing and never warns, but raises if the numbers are wrong."""
    quiet = np.errstate(all="ignore")(function)

    @functools.wraps(function)
    def checked(*args: Any) -> None:
        recorder = _recorder
        if recorder is None:
            quiet(*args)
        else:
            recorder.check(function, args)

    return checked
