"""Every value lives where nobody needs what was there: drawn plans run by their layout, and each rule by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.compiler.build import SEEN, Machine, Memory, Writer, memory_of, plans, run
from tinygrad_bp.compiler.allocate import Buffer, Layout, allocate
from tinygrad_bp.compiler.plan import Plan, Value


def assert_same(got: Any, want: Any) -> None:
    assert np.shape(got) == np.shape(want)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def follow(plan: Plan, layout: Layout, meant: Plan, seed: int) -> None:
    """Run the plan by its layout twice, and what is meant beside it; outputs, states and what checks see are equal."""
    memory = memory_of(meant, seed)
    own: Memory = {v: array.copy(order="K") for v, array in memory.items()}
    machine = Machine(plan, layout, own)
    generators = [np.random.default_rng(seed) for _ in range(2)]
    for _ in range(2):
        SEEN.clear()
        want, wanted = run(meant, memory, generators[0]), SEEN.copy()
        SEEN.clear()
        got, seen = machine.step(generators[1]), SEEN.copy()
        for a, b in zip([*got, *seen], [*want, *wanted], strict=True):
            assert_same(a, b)
        for v in memory:
            assert_same(own[v], memory[v])


@settings(max_examples=500)
@given(plans())
def test_drawn_plans_run_by_their_layout(plan: Plan) -> None:
    follow(*allocate(plan), plan, seed=1)
