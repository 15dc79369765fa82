"""The printed step computes what the plan means, reads as a person would write it, and allocates what it returns only."""

from __future__ import annotations

import gc
import keyword
import math
import re
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.compiler.build import LEAVES_OF_DRAWN, Memory, Writer, memory_of, numbers_of, plans, run
from tinygrad_bp.compiler.numpy_source import Source, emit
from tinygrad_bp.compiler.plan import UFUNCS, CompileError, Plan, Value

SEEN: list[Any] = []


def look(x: Any) -> None:
    """A check that remembers what it was shown, by way of a module: the list itself could not be printed."""
    sys.modules["tests.compiler.test_numpy_source"].SEEN.append(np.array(x))  # type: ignore[attr-defined]


def loaded(source: Source) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(source.text, "<step>", "exec"), namespace)
    return namespace


def made(source: Source, memory: Memory) -> Callable[..., Any]:
    arrays = [v.params[0] if v.op == "constant" else memory[v] for v in source.arrays]
    return loaded(source)["make"](*arrays)


def assert_same(got: Any, want: Any) -> None:
    assert isinstance(got, np.generic if not want.shape else np.ndarray) or type(got) is np.ndarray
    assert got.shape == want.shape and got.dtype == want.dtype
    small = got.dtype.itemsize == 4
    np.testing.assert_allclose(got, want, rtol=1e-5 if small else 1e-12, atol=1e-4 if small else 1e-11)


def follow(plan: Plan, memory: Memory, steps: int = 3) -> str:
    """Step the source beside the plan; outputs, states and what checks see are equal, inputs are left alone."""
    source = emit(plan)
    print(source.text)  # shown by a test that fails
    read = {a for v in plan.body for a in v.values}
    own: Memory = {v: x.copy(order="K" if v in read else "C") for v, x in memory.items()}
    step = made(source, own)
    generators = [np.random.default_rng(1) for _ in range(2)]
    rng = generators[1:] * any(v.op == "draw" for v in plan.body)
    kept: list[Any] = []
    for _ in range(steps):
        SEEN.clear()
        want, wanted = run(plan, memory, generators[0]), SEEN.copy()
        SEEN.clear()
        with np.errstate(all="ignore"):
            result = step(*(own[v] for v in plan.inputs), *rng)
        got = [] if result is None else list(result) if type(result) is tuple else [result]
        assert not any(np.shares_memory(a, b) for k, a in enumerate(got) for b in [*own.values(), *kept, *got[:k]])
        for a, b in zip([*got, *SEEN], [*want, *wanted], strict=True):
            assert_same(a, b)
        for v in memory:
            assert_same(own[v], memory[v])
        kept += got
    return source.text


def printable(plan: Plan) -> Plan:
    """The plan with a check that can be printed in the place of the one of the drawn plans."""
    new: dict[Value, Value] = {}
    body = []
    for v in plan.body:
        args = tuple(new.get(a, a) if isinstance(a, Value) else a for a in v.args)
        new[v] = replace(v, args=args, params=(look, v.params[1]) if v.op == "check" else v.params)
        body.append(new[v])
    return plan.mapped(body, new)


@settings(max_examples=500)
@given(plans())
def test_drawn_plans_compute_what_they_mean(plan: Plan) -> None:
    plan = printable(plan)
    follow(plan, memory_of(plan, 1))
