"""The corpus is right, and the checker is right about it: no right code failed, no mistake passed, most of them named.

Every hand-written backward is first compared with extrapolated differences of its forward in extended precision.
"""

from __future__ import annotations

import numpy as np
import pytest

from .corpus import development, held_out
from .corpus.functions import (
    AT_KINK,
    FLOAT32,
    NEAR_KINK,
    NOMINAL,
    REGIMES,
    floats,
    is_mistake,
    jacobian,
    regimes_of,
    steps,
)

FUNCTIONS = development.FUNCTIONS + held_out.FUNCTIONS
MISTAKES = development.MISTAKES + held_out.MISTAKES
LONG = np.finfo(np.longdouble).eps
CASES = [(f, r) for f in FUNCTIONS for r in regimes_of(f)]
IDS = [f"{f.name}, {r.name}" for f, r in CASES]


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


@pytest.mark.parametrize(("function", "regime"), [c for c in CASES if c[1].name not in (FLOAT32, AT_KINK)])
def test_a_backward_of_the_corpus_equals_differences_in_extended_precision(function, regime):
    right = regime.make(function)
    arrays = right.draw(1)
    a, s = jacobian(right, arrays), steps(arrays)
    y = np.abs(np.asarray(right.forward(*arrays))).max()
    for i in range(a.shape[1]):
        h = 1e-9 if regime.name == NEAR_KINK else 1e-5 * min(1, s[i])
        column = extrapolated(along(right.forward, arrays, np.eye(a.shape[1])[i]), np.longdouble(h))
        least = 1e-9 * np.abs(a).max() + 4e-16 * y / s[i] + 10 * LONG * y / h
        assert np.max(np.abs(column - a[:, i])) <= least, f"entry {i}: {a[:, i]} and {column}"
