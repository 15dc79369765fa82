"""Drawn programs do the same compiled as eagerly; and the drawing finds defects that are planted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tinygrad_bp.compiler import entry, numpy_source, passes, record
from tinygrad_bp.compiler.allocate import Buffer, Layout, allocate
from tinygrad_bp.compiler.plan import Plan, Value

from . import programs as drawn
from .programs import Program, check, programs

PROGRAMS = 200
drawing = {"suppress_health_check": list(HealthCheck), "database": None}


def test_drawn_programs_do_the_same_compiled() -> None:
    seen: Counter[Any] = Counter()

    @settings(max_examples=PROGRAMS, phases=[Phase.generate], **drawing)
    @given(programs)
    def run(program: Program) -> None:
        check(program)
        seen.update([program.loss, program.update, program.clip, program.zero, program.form, program.returns])
        seen.update({*program.linear, *program.activations, *program.extras, program.dtype, program.penalty, "any"})
        seen.update(kind for kind, _ in program.events)

    run()
    options = [drawn.LINEAR, drawn.ACTIVATIONS, drawn.EXTRAS, drawn.LOSSES, drawn.OPTIMIZERS, drawn.PLAIN, drawn.CLIPS]
    options += [drawn.ZEROS, drawn.FORMS, drawn.RETURNS, drawn.VALUES, ("float32", True)]
    assert seen["any"] >= PROGRAMS
    assert not [name for names in options for name in names if seen[name] < 5]


# ---- planted ---------------------------------------------------------------------------------------------------------


def overwriting(plan: Plan) -> tuple[Plan, Layout]:
    """The layout, in which one value is written where another is that will still be read."""
    plan, layout = allocate(plan)
    homes, body = dict(layout.homes), plan.body
    for i, v in enumerate(body):
        last = max((k for k, reader in enumerate(body) if v in reader.values), default=0)
        for w in body[i + 1 : last]:
            a, b = homes.get(v), homes.get(w)
            if isinstance(a, Buffer) and isinstance(b, Buffer) and a != b and (a.shape, a.dtype) == (b.shape, b.dtype):
                return plan, Layout(homes | {w: a}, layout.copies)
    return plan, layout


def scaled_twice(plan: Plan) -> Plan:
    """The improved plan, with each number that divides squared."""

    def doubled(v: Value) -> Value:
        squared = tuple(x * x if isinstance(x, float) and v.op == "multiply" else x for x in v.args)
        return replace(v, args=squared) if squared != v.args else v

    return passes.rewrite(passes.optimize(plan), doubled)


def lr_baked_in(trace: Any, settings: Any = entry._settings) -> Any:
    return settings(trace)[0], lambda numbers: True


def stale_gradients(self: Any, *args: Any, door: Any = entry.Facts.door) -> Any:
    return door(self, *args[:-2], [], args[-1])


DEFECTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a value is overwritten": (numpy_source, "allocate", overwriting),
    "a scaling is doubled": (record, "optimize", scaled_twice),
    "lr is baked in": (entry, "_settings", lr_baked_in),
    "grad is stale": (entry.Facts, "door", stale_gradients),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(max_examples=100, phases=[Phase.generate], report_multiple_bugs=False, **drawing)
    @given(programs)
    def run(program: Program) -> None:
        check(program)

    monkeypatch.setattr(*DEFECTS[defect])
    with pytest.raises(AssertionError, match="call"):
        run()
