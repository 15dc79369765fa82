"""Figures of their own: one wrong entry among very many, and the smallest relative error that is caught."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .development import tanh, tanh_backward
from .functions import Arrays, Function, copies
from .measure import FUNCTIONS
from .tools import FAIL, FAST, FULL, OURS, PEERS, Tool, ours

SIZES = (100, 1000, 10_000)
LARGEST = {"torch slow": 100, FULL: 100, "h = 1e-5": 1000}  # the number of entries from which on it takes too long
ERRORS = (1e-3, 1e-4, 1e-5, 2e-6, 1e-7, 1e-8, 1e-9)
STRICT = "ours, rtol=1e-10"


class Diluted(NamedTuple):
    """How many of the trials a tool caught, and in how many the wrong entry was the worst one listed."""

    wrong: str
    size: int
    tool: str
    trials: int
    caught: int
    located: int | None


def tools(peers: bool) -> dict[str, Tool]:
    return OURS | (PEERS if peers else {})


def diluted(trials: int, peers: bool) -> list[Diluted]:
    """tanh of many entries, where one entry of the gradient is zero, or one in a hundred has the wrong sign."""
    found = []
    for wrong in ("one entry zero", "1 % of the signs"):
        for size in SIZES:
            for name, tool in tools(peers).items():
                if size > LARGEST.get(name, size):
                    continue
                caught = located = 0
                for seed in range(trials):
                    function, arrays, where = _with_wrong_entries(wrong, size, seed)
                    said = tool(function, arrays, seed)
                    caught += said.verdict == FAIL
                    worst = [] if said.report is None else said.report.worst(1)
                    located += bool(worst) and worst[0].index[-1:] in where
                found.append(Diluted(wrong, size, name, trials, caught, located if name in OURS else None))
    return found


def _with_wrong_entries(wrong: str, size: int, seed: int) -> tuple[Function, Arrays, list[tuple[int]]]:
    rng = np.random.default_rng([seed, size])
    arrays = (rng.normal(size=size),)
    factor = np.ones(size)
    if wrong == "one entry zero":
        factor[rng.integers(size)] = 0.0
    else:
        factor[rng.permutation(size)[: size // 100]] = -1.0
    function = Function("tanh", tanh, lambda x, u: (tanh_backward(x, u)[0] * factor,), lambda rng: arrays)
    return function, arrays, [(int(k),) for k in np.flatnonzero(factor != 1.0)]


def smallest_errors(peers: bool) -> dict[str, dict[float, float]]:
    """For every tool and relative error of the whole gradient, the share of functions in which it is caught."""
    chosen = {FULL: OURS[FULL], STRICT: ours("full", rtol=1e-10), FAST: OURS[FAST]} | (PEERS if peers else {})
    return {name: {error: _share_caught(tool, error) for error in ERRORS} for name, tool in chosen.items()}


def _share_caught(tool: Tool, error: float) -> float:
    caught = 0
    for f in FUNCTIONS.values():
        wrong = replace(f, backward=_scaled(f, 1 + error))
        caught += tool(wrong, copies(f.draw(0)), 0).verdict == FAIL
    return caught / len(FUNCTIONS)


def _scaled(f: Function, factor: float):
    return lambda *arrays: tuple(factor * g for g in f.backward(*arrays))
