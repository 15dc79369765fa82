"""Checks that look at numbers: a compiled step must repeat them, so whoever records a step has to see them.

A function under :func:`value_check` only raises or does nothing. While a step is recorded
(:mod:`tinygrad_bp.compiler`), calls of it are handed to the recorder instead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["hand_to", "value_check"]

_recorder: Callable[[Callable[..., None], tuple[Any, ...]], None] | None = None


def hand_to(recorder: Callable[[Callable[..., None], tuple[Any, ...]], None] | None) -> None:
    """From now on call ``recorder(function, args)`` in the place of every check; None: run them again."""
    global _recorder
    _recorder = recorder


def value_check(function: Callable[..., None]) -> Callable[..., None]:
    """A check of values: ``function(*args)`` returns nothing and never warns, but raises if the numbers are wrong."""
    quiet = np.errstate(all="ignore")(function)

    @functools.wraps(function)
    def checked(*args: Any) -> None:
        recorder = _recorder  # read once: another thread's recording may end meanwhile
        if recorder is None:
            quiet(*args)
        else:
            recorder(function, args)

    return checked
