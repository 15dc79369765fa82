"""What the corpus is made of: functions with a hand-written backward, the regimes they are run in, planted mistakes.

A backward takes the arrays and the incoming gradient and returns one gradient for each float array. A regime makes
another function of a function: other inputs, a scaled or wiggly output, float32 inside. A mistake makes a wrong one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import numpy as np

Arrays = tuple[Any, ...]
Forward = Callable[..., Any]
Backward = Callable[..., Any]
EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Function:
    """forward(*arrays), backward(*arrays, upstream); inputs(rng) draws, kink(arrays, d) moves them d from a kink."""

    name: str
    forward: Forward
    backward: Backward
    inputs: Callable[[np.random.Generator], Arrays]
    kink: Callable[[Arrays, float], Arrays] | None = None

    def draw(self, seed: int) -> Arrays:
        return self.inputs(np.random.default_rng([seed, zlib.crc32(self.name.encode())]))


@dataclass(frozen=True)
class Regime:
    name: str
    make: Callable[[Function], Function]
    needs_kink: bool = False


@dataclass(frozen=True)
class Mistake:
    """A kind of mistake: in the backward of one function, or (no function named) planted in any that admits it."""

    kind: str
    codes: tuple[str, ...]
    """The diagnoses that name it; empty: it has no name."""
    plant: Callable[[Function], Function | None]
    """The function with the mistake; None where it cannot be made."""
    function: str = ""
    only_at_kink: bool = False

    def made_in(self, function: Function, regime: Regime) -> Function | None:
        """The mistaken function in the regime; a mistake of one function is made in its own code, before the regime."""
        if self.only_at_kink and regime.name != AT_KINK:
            return None
        if self.function:
            wrong = self.plant(function) if self.function == function.name else None
            return wrong and regime.make(wrong)
        return self.plant(regime.make(function))


def mistake(function: str, kind: str, codes: str, backward: Backward, only_at_kink: bool = False) -> Mistake:
    """A mistake of one function: its wrong backward."""
    return Mistake(kind, tuple(codes.split()), lambda f: replace(f, backward=backward), function, only_at_kink)


def anywhere(kind: str, codes: str, plant: Callable[[Function], Function | None]) -> Mistake:
    """A mistake that can be planted in many functions."""
    return Mistake(kind, tuple(codes.split()), plant)


# ---- arrays ------------------------------------------------------------------------------------------------------


def floats(arrays: Arrays) -> list[int]:
    """Which arrays are differentiated."""
    return [k for k, x in enumerate(arrays) if x.dtype.kind == "f"]


def entries(arrays: Arrays) -> int:
    return sum(arrays[k].size for k in floats(arrays))


def on_floats(change: Callable[[Any], Any], arrays: Arrays) -> Arrays:
    return tuple(change(x) if x.dtype.kind == "f" else x for x in arrays)


def steps(arrays: Arrays) -> Any:
    """The scale of every float entry: max(|x|, rms / 10), 1 for an array of zeros."""

    def scale(x: Any) -> Any:
        rms = np.sqrt(np.mean(x**2))
        return np.maximum(np.abs(x), 0.1 * rms) if rms else np.ones_like(x)

    return np.concatenate([scale(arrays[k]).ravel() for k in floats(arrays)])


# ---- regimes -----------------------------------------------------------------------------------------------------


def _inputs(change: Callable[[Any], Any]) -> Callable[[Function], Function]:
    return lambda f: replace(f, inputs=lambda rng: on_floats(change, f.inputs(rng)))


def _tiny_gradients(f: Function) -> Function:
    @wraps(f.forward)
    def forward(*arrays: Any) -> Any:
        return 1e-7 * f.forward(*arrays)

    return replace(f, forward=forward, backward=lambda *a: f.backward(*a[:-1], 1e-7 * a[-1]))


def _float32_inside(f: Function) -> Function:
    @wraps(f.forward)
    def forward(*arrays: Any) -> Any:
        return np.asarray(f.forward(*on_floats(lambda x: x.astype(np.float32), arrays)), np.float64)

    return replace(f, forward=forward)


def _float32_both_ways(f: Function) -> Function:
    inside = _float32_inside(f)

    def backward(*arrays: Any) -> Any:
        gradients = f.backward(*on_floats(lambda x: x.astype(np.float32), tuple(map(np.asarray, arrays))))
        return tuple(np.array(g, np.float32) for g in gradients)

    return replace(inside, backward=backward)


def _wiggly(f: Function) -> Function:
    @wraps(f.forward)
    def forward(*arrays: Any) -> Any:
        return np.sin(300 * f.forward(*arrays))

    def backward(*arrays: Any) -> Any:
        *inputs, upstream = arrays
        return f.backward(*inputs, 300 * np.cos(300 * f.forward(*inputs)) * upstream)

    return replace(f, forward=forward, backward=backward)


def _from_kink(distance: float) -> Callable[[Function], Function]:
    return lambda f: replace(f, inputs=lambda rng: f.kink(f.inputs(rng), distance))


NOMINAL, AT_KINK, NEAR_KINK = "nominal", "at a kink", "1e-7 from a kink"
FLOAT32 = ("float32 inside", "float32 both ways")
REGIMES = (
    Regime(NOMINAL, lambda f: f),
    Regime("inputs x 1e4", _inputs(lambda x: x * 1e4)),
    Regime("inputs x 1e-6", _inputs(lambda x: x * 1e-6)),
    Regime("inputs + 1e3", _inputs(lambda x: x + 1e3)),
    Regime("gradients x 1e-7", _tiny_gradients),
    Regime(FLOAT32[0], _float32_inside),
    Regime(FLOAT32[1], _float32_both_ways),
    Regime("wiggly", _wiggly),
    Regime(AT_KINK, _from_kink(0.0), needs_kink=True),
    Regime(NEAR_KINK, _from_kink(1e-7), needs_kink=True),
)


def regimes_of(function: Function) -> Iterator[Regime]:
    return (regime for regime in REGIMES if function.kink or not regime.needs_kink)


# ---- is it a mistake here? ---------------------------------------------------------------------------------------


def jacobian(function: Function, arrays: Arrays) -> Any:
    """The analytic Jacobian, one row for each output."""
    shape = np.shape(function.forward(*copies(arrays)))
    seeds = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.array([_joined(function.backward(*copies(arrays), seed), arrays) for seed in seeds])


def is_mistake(wrong: Function, right: Function, arrays: Arrays, regime: Regime, kinked: bool = False) -> bool:
    """Whether the wrong function breaks a promise or gives another gradient, beyond rounding, at this point.

    Differences count where they are above 1e-6 of the entry, 64 eps of the largest derivative and 4 eps |y| / |x|
    (float32 inside: 1e-3 of the entry and of |y| / |x|); at a kink, not in entries that have one, since there several
    values are right (but mistakes made for kinks, `kinked`, count there).
    """
    if _breaks_a_promise(wrong, right, arrays):
        return True
    y = np.asarray(right.forward(*copies(arrays)))
    rows = [*np.eye(y.size).reshape(-1, *y.shape), *np.random.default_rng(0).normal(size=(4, *y.shape))]
    a = np.array([_joined(right.backward(*copies(arrays), v), arrays) for v in rows])
    b = np.array([_joined(wrong.backward(*copies(arrays), v), arrays) for v in rows])
    if not np.isfinite(b).all():
        return True
    weights = np.abs(rows).reshape(-1, y.size)
    size, slope = weights @ np.abs(a[: y.size]), weights @ np.abs(y).reshape(-1, 1) / steps(arrays)
    if regime.name in FLOAT32:
        least = 1e-3 * (size + slope)
    else:
        least = np.maximum(1e-6 * size, np.maximum(64 * EPS * size.max(), 4 * EPS * slope))
    seen = np.abs(a - b) > least
    if regime.name == AT_KINK and not kinked:
        seen = seen[:, ~has_kink(right, arrays)]
    return bool(seen.any())


def has_kink(function: Function, arrays: Arrays) -> Any:
    """For every float entry, whether some output's slopes to its two sides differ."""
    found = []
    for k in floats(arrays):
        for i in range(arrays[k].size):
            f0, *sides = (function.forward(*_moved(arrays, k, i, h)) for h in (0.0, 1e-6, -1e-6))
            jump = np.abs(sides[0] + sides[1] - 2 * f0) / 1e-6
            found.append(bool(np.any(jump > 1e-3)))
    return np.array(found)


def _moved(arrays: Arrays, k: int, i: int, h: float) -> Arrays:
    moved = copies(arrays)
    moved[k].flat[i] += h
    return moved


def copies(arrays: Arrays) -> Arrays:
    return tuple(x.copy() for x in arrays)


def _joined(gradients: Any, arrays: Arrays) -> Any:
    """One vector; None is zero."""
    inputs = [arrays[k] for k in floats(arrays)]
    return np.concatenate([np.ravel(np.zeros(x.shape) if g is None else g) for g, x in zip(gradients, inputs)])


def _breaks_a_promise(wrong: Function, right: Function, arrays: Arrays) -> bool:
    """Other inputs or incoming gradient afterwards, shared memory, wrong kinds and shapes, results that vary."""
    given, y = copies(arrays), np.asarray(right.forward(*copies(arrays)))
    outputs = [np.asarray(wrong.forward(*given)) for _ in range(3)]
    upstream = np.random.default_rng(1).normal(size=y.shape)
    v = upstream.copy()
    gradients = wrong.backward(*given, v)
    expected = right.backward(*copies(arrays), upstream)
    if not all(np.array_equal(a, b) for a, b in zip([*given, v], [*arrays, upstream])):
        return True
    if not all(np.array_equal(o, y, equal_nan=True) for o in outputs) or len(gradients) != len(expected):
        return True
    for g, e in zip(gradients, expected):
        if g is None and np.any(e):
            return True
        if g is not None and (np.shape(g) != e.shape or np.asarray(g).dtype != e.dtype):
            return True
    some = [g for g in gradients if g is not None]
    if any(np.shares_memory(g, x) for i, g in enumerate(some) for x in (*given, v, *some[:i])):
        return True
    first = [g.copy() for g in some]
    again = [g for g in wrong.backward(*given, v) if g is not None]
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again))
