"""Drawn programs do the same compiled as eagerly; and the drawing finds defects that are planted."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from .programs import Program, check, programs


@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(programs())
def test_a_drawn_program_does_the_same_compiled(program: Program) -> None:
    check(program)
