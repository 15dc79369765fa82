"""Equality first, then time: contenders take turns in short blocks, and a ratio is taken within a round.

Whatever slows the machine down for a while slows all contenders of that round, so the median of the rounds' ratios is
steadier than the ratio of two medians. Nothing here knows a framework.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

import numpy as np

from .nets import Array, Contender, Problem
from .results import Timing

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
STEPS_COMPARED = 3
_BLOCK_SECONDS = 0.003


def check_equal(p: Problem, contenders: Sequence[Contender]) -> None:
    """Three steps leave the same weights: ValueError names the contender and the array that differ.

    The Euclidean distance is measured against how far the first contender moved that array, which is stricter than
    against the array's own size: a gradient that is wrong by one part in a thousand is found in every layer. (Not the
    largest entry: Adam divides by |g| + eps, so in float32 an entry whose gradient is all rounding may go anywhere.)
    """
    for contender in contenders:
        if contender.some:
            contender.some(STEPS_COMPARED)
        else:
            for _ in range(STEPS_COMPARED):
                contender.step()
    expected = contenders[0].parameters()
    moved = [_distance(a, b) for a, b in zip(p.flat, expected, strict=True)]
    for contender in contenders[1:]:
        for k, (theirs, right) in enumerate(zip(contender.parameters(), expected, strict=True)):
            difference = _distance(theirs, right)
            if theirs.dtype != p.dtype or not difference <= TOLERANCE[p.dtype] * moved[k]:
                raise ValueError(
                    f"{contender.name}: {p.net.name}, {p.optimizer}, {p.dtype}: after {STEPS_COMPARED} steps parameter "
                    f"{k} ({theirs.dtype}) is {difference:.1e} from {contenders[0].name}, which moved it by "
                    f"{moved[k]:.1e}. It computes another update; nothing was timed."
                )


def _distance(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a.astype(np.float64) - b))


def measure(p: Problem, contenders: Sequence[Contender], rounds: int) -> Timing:
    """Blocks of steps in turn, the order rotated every round, the garbage collector off within a round."""
    check_equal(p, contenders)
    for contender in contenders:
        contender.step()  # where `some` is another compilation, this is the first call of what is timed
    block = max(1, round(_BLOCK_SECONDS / _seconds_per_step(contenders[0], 10)))
    seconds = []
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for turn in range(rounds):
            row = [0.0] * len(contenders)
            for place in range(len(contenders)):
                k = (turn + place) % len(contenders)
                if contenders[k].updates == 1:
                    contenders[k].step()  # brings its arrays back into the cache
                row[k] = _seconds_per_step(contenders[k], block)
            seconds.append(row)
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    names = [contender.name for contender in contenders]
    return Timing(p.net.name, p.dtype, p.optimizer, names, seconds)


def _seconds_per_step(contender: Contender, steps: int) -> float:
    step, calls = contender.step, max(1, round(steps / contender.updates))
    start = time.perf_counter_ns()
    for _ in range(calls):
        step()
    return (time.perf_counter_ns() - start) / (calls * contender.updates) * 1e-9
