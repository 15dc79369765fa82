"""Each pass says the same in fewer instructions: exact plans, special values, and drawn plans evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings

from tests.compiler.build import SEEN, memory_of, plans, run
from tinygrad_bp.compiler.passes import common_subexpressions, dead_code, fold_constants, optimize, simplify
from tinygrad_bp.compiler.plan import Plan


def assert_equal_results(new: Plan, old: Plan, seed: int) -> None:
    memories = [memory_of(old, seed) for _ in range(2)]
    SEEN.clear()
    got, seen = run(new, memories[0], np.random.default_rng(seed)), SEEN.copy()
    SEEN.clear()
    want, wanted = run(old, memories[1], np.random.default_rng(seed)), SEEN.copy()
    pairs = [
        *zip([*got, *seen], [*want, *wanted], strict=True),
        *((memories[0][v], memories[1][v]) for v in old.states),
    ]
    for a, b in pairs:
        assert a.shape == b.shape and a.dtype == b.dtype
        tolerance = 1e-13 if a.dtype == float else 1e-5
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.max(np.abs(b), initial=0)))


@settings(max_examples=500)
@given(plans())
def test_drawn_plans_keep_their_results(plan: Plan) -> None:
    for improve in (dead_code, fold_constants, simplify, common_subexpressions, optimize):
        new = improve(plan)
        assert_equal_results(new, plan, seed=2)
    assert optimize(new) is new
