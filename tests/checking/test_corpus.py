"""The corpus is right, and the checker is right about it: no right code failed, no mistake passed, most of them named.

Every hand-written backward is first compared with extrapolated differences of its forward in extended precision.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from .corpus import development, held_out, tables
from .corpus.functions import (
    AT_KINK,
    FLOAT32,
    NEAR_KINK,
    NOMINAL,
    REGIMES,
    floats,
    has_kink,
    is_mistake,
    jacobian,
    regimes_of,
    steps,
)
from .corpus.measure import DEVELOPMENT, FUNCTIONS, HALVES, HELD_OUT, MISLEADING, RIGHT, Row, Task, mistakes_in, perform
from .corpus.tools import FAIL, FAST, FULL, PASS

SEED = 1
LONG = np.finfo(np.longdouble).eps
CASES = [(f, r) for f in FUNCTIONS.values() for r in regimes_of(f)]
SMOOTH = [(f, r) for f, r in CASES if r.name not in (*FLOAT32, AT_KINK)]
KINKED = [(f, r) for f, r in CASES if r.name == AT_KINK]


def names(cases):
    return [f"{f.name}, {r.name}" for f, r in cases]


# ---- the corpus is right -----------------------------------------------------------------------------------------


def along(forward, arrays, direction):
    """t -> forward(arrays + t direction), in extended precision; the float arrays laid end to end are moved."""
    chosen = floats(arrays)
    cuts = np.cumsum([arrays[k].size for k in chosen])[:-1]
    parts = dict(zip(chosen, np.split(direction, cuts)))

    def at(t):
        moved = [
            x.astype(np.longdouble) + t * parts[k].reshape(x.shape) if k in parts else x for k, x in enumerate(arrays)
        ]
        return np.asarray(forward(*moved)).astype(np.longdouble).ravel()

    return at


def extrapolated(at, h):
    """The derivative at 0 by central differences at h, h/2 and h/4, whose errors in h^2 and h^4 cancel."""
    coarse, middle, fine = ((at(s) - at(-s)) / (2 * s) for s in (h, h / 2, h / 4))
    coarse, fine = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * fine - coarse) / 15


@pytest.mark.parametrize(("function", "regime"), SMOOTH, ids=names(SMOOTH))
def test_a_backward_of_the_corpus_equals_differences_in_extended_precision(function, regime):
    right = regime.make(function)
    arrays = right.draw(SEED)
    a, s = jacobian(right, arrays), steps(arrays)
    y = np.abs(np.asarray(right.forward(*arrays))).max()
    for i in range(a.shape[1]):
        h = 1e-9 if regime.name == NEAR_KINK else 1e-5 * min(1, s[i])
        column = extrapolated(along(right.forward, arrays, np.eye(a.shape[1])[i]), np.longdouble(h))
        least = 1e-9 * np.abs(a).max() + 4e-16 * y / s[i] + 10 * LONG * y / h
        assert np.max(np.abs(column - a[:, i])) <= least, f"entry {i}: {a[:, i]} and {column}"


@pytest.mark.parametrize(("function", "regime"), KINKED, ids=names(KINKED))
def test_a_backward_at_a_kink_lies_between_the_slopes_in_every_direction(function, regime):
    right = regime.make(function)
    arrays = right.draw(SEED)
    a, h, rng = jacobian(right, arrays), np.longdouble(1e-9), np.random.default_rng(0)
    assert has_kink(right, arrays).any()
    for direction in [*np.eye(a.shape[1]), *rng.normal(size=(20, a.shape[1]))]:
        at = along(right.forward, arrays, direction)
        slopes = [(at(h) - at(0)) / h, (at(0) - at(-h)) / h]
        assert np.all(a @ direction >= np.minimum(*slopes) - 1e-7)
        assert np.all(a @ direction <= np.maximum(*slopes) + 1e-7)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_right_code_is_no_mistake_and_every_mistake_of_a_function_shows(function):
    for regime in regimes_of(function):
        right = regime.make(function)
        assert not is_mistake(right, right, right.draw(SEED), regime)
    for _, m in mistakes_in("all"):
        if m.function == function.name:
            (regime,) = (r for r in REGIMES if r.name == (AT_KINK if m.only_at_kink else NOMINAL))
            right, wrong = regime.make(function), m.made_in(function, regime)
            assert is_mistake(wrong, right, right.draw(SEED), regime, m.only_at_kink), m.kind


def test_the_corpus_is_as_large_and_as_evenly_split_as_it_says():
    assert len(FUNCTIONS) >= 24
    assert len(REGIMES) >= 9
    kinds = {half: {m.kind for _, m in mistakes_in(half)} for half in (DEVELOPMENT, HELD_OUT)}
    assert min(len(k) for k in kinds.values()) >= 40
    assert not {f.name for f in development.FUNCTIONS} & {f.name for f in held_out.FUNCTIONS}


# ---- the checker is right ----------------------------------------------------------------------------------------


@cache
def measured(name: str) -> list[Row]:
    """Right code in every regime; mistakes in ordinary inputs, at kinks, and in one other regime in turn."""
    function = FUNCTIONS[name]
    regimes = list(regimes_of(function))
    others = [r.name for r in regimes if not r.needs_kink and r.name not in (NOMINAL, *FLOAT32)]
    chosen = {NOMINAL, AT_KINK, NEAR_KINK, others[list(FUNCTIONS).index(name) % len(others)]}
    rows = []
    for r in regimes:
        rows += perform(Task(name, r.name, [SEED], [], [FULL, FAST], "all"))
        rows += perform(Task(name, r.name, [], [SEED] if r.name in chosen else [], [FULL], "all", share=12))
    return rows


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_code_is_never_failed(name):
    assert not [row for row in measured(name) if not row.kind and row.verdict == FAIL]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_mistake_passes(name):
    assert not [row for row in measured(name) if row.kind and row.verdict == PASS]


@pytest.mark.parametrize("name", [name for name, half in HALVES.items() if half == DEVELOPMENT])
def test_every_development_mistake_gets_its_name(name):
    rows = [row for row in measured(name) if row.expected and row.halves == (DEVELOPMENT,) * 2 and tables.is_plain(row)]
    assert rows
    assert not [row for row in rows if row.naming != RIGHT]


def test_held_out_mistakes_are_named_and_hardly_any_is_misnamed():
    rows = [row for name in FUNCTIONS for row in measured(name) if row.expected and HELD_OUT in row.halves]
    rows = [row for row in rows if tables.is_plain(row)]
    naming = [row.naming for row in rows]
    listed = "\n".join(f"{r.function}: {r.kind}: {r.codes}, expected {r.expected}" for r in rows if r.naming != RIGHT)
    assert naming.count(RIGHT) >= 0.85 * len(naming), listed
    assert naming.count(MISLEADING) <= 0.03 * len(naming), listed
