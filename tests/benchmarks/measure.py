"""Equality first, then time: contenders take turns in short blocks, and a ratio is taken within a round.

Whatever slows the machine down for a while slows all contenders of that round, so the median of the rounds' ratios is
steadier than the ratio of two medians. Whole processes measure what an import costs. Nothing here knows a framework.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from .nets import Contender, Problem

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
STEPS_COMPARED = 3
_BLOCK_SECONDS = 0.003
_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Timing:
    """Seconds of one step, per round and contender; the others are compared with the first contender."""

    problem: Problem
    names: list[str]
    seconds: list[list[float]]

    @property
    def baseline(self) -> float:
        """The first contender's step in seconds, median over rounds."""
        return median(row[0] for row in self.seconds)

    @property
    def ratios(self) -> dict[str, float]:
        """Name: median over rounds of its seconds / the first contender's seconds in that round."""
        return {name: median(row[k] / row[0] for row in self.seconds) for k, name in enumerate(self.names)}


@dataclass(frozen=True)
class ImportTiming:
    """Seconds of two whole processes that import one module each, medians, and the median ratio of pairs."""

    numpy: float
    tinygrad_bp: float
    ratio: float


def check_equal(p: Problem, contenders: Sequence[Contender]) -> None:
    """Three steps leave the same weights: ValueError names the contender and the array that differ.

    The difference is measured against how far the first contender moved that array, which is stricter than against
    the array's own size: a gradient that is wrong by one part in a thousand is found in every layer.
    """
    for contender in contenders:
        for _ in range(STEPS_COMPARED):
            contender.step()
    expected = contenders[0].parameters()
    moved = [float(np.abs(b - a).max()) for a, b in zip(p.flat, expected, strict=True)]
    for contender in contenders[1:]:
        for k, (theirs, right) in enumerate(zip(contender.parameters(), expected, strict=True)):
            difference = float(np.abs(theirs - right).max())
            if theirs.dtype != p.dtype or not difference <= TOLERANCE[p.dtype] * moved[k]:
                raise ValueError(
                    f"{contender.name}: {p.net.name}, {p.dtype}: after {STEPS_COMPARED} steps parameter {k} "
                    f"({theirs.dtype}) is {difference:.1e} from {contenders[0].name}, which moved it by {moved[k]:.1e}."
                    " It computes another update; nothing was timed."
                )


def measure(p: Problem, contenders: Sequence[Contender], rounds: int) -> Timing:
    """Blocks of steps in turn, the order rotated every round, the garbage collector off within a round."""
    check_equal(p, contenders)
    block = max(1, round(_BLOCK_SECONDS / _seconds_per_step(contenders[0].step, 10)))
    seconds = []
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for turn in range(rounds):
            row = [0.0] * len(contenders)
            for place in range(len(contenders)):
                k = (turn + place) % len(contenders)
                contenders[k].step()  # brings its arrays back into the cache
                row[k] = _seconds_per_step(contenders[k].step, block)
            seconds.append(row)
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return Timing(p, [contender.name for contender in contenders], seconds)


def measure_import(pairs: int) -> ImportTiming:
    """`import numpy` and `import tinygrad_bp` in new processes, in turn, both from bytecode, as they are installed."""
    with tempfile.TemporaryDirectory() as bytecode:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def seconds(module: str) -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=_REPOSITORY, env=environment)
            return time.perf_counter() - start

        times = [(seconds("numpy"), seconds("tinygrad_bp")) for _ in range(pairs + 1)]
    del times[0]  # wrote the bytecode
    return ImportTiming(median(a for a, _ in times), median(b for _, b in times), median(b / a for a, b in times))


def _seconds_per_step(step: Callable[[], object], steps: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(steps):
        step()
    return (time.perf_counter_ns() - start) / steps * 1e-9
