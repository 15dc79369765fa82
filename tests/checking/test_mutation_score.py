"""The gradient mutation score: 100 % of the mutants of the table that change a gradient are killed by some test.

The other sections say that nothing escapes mutation, that planting leaves no trace, and that the tests are needed as
they are: with weaker ones there are survivors.
"""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import autograd, ops

from .. import checks, differences, samples
from ..checks import check_order_1, floats
from ..test_table import ALL_ROWS, entry_of
from .mutants import CHECKS, Check, Judge, fates, score
from .mutations import LINES, Mutant, mutants, planted
from .probes import differ
from .test_every_row import of_floats, said


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def test_the_mutation_score_is_100_percent(judge: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(fates(judge))
    count = Counter(fate.kind for fate in found)
    with capsys.disabled():
        print(f"\n{score(count)}")
    survivors = [str(fate) for fate in found if fate.kind == "survived"]
    assert not survivors, "\n".join(survivors)
    assert count["equivalent"] < 0.1 * count["killed"]


def by_the_checker(call: Any, sample: Any) -> None:
    report = bp.gradcheck(*of_floats(call, sample), order=2)
    assert report.status not in {"FAIL", "CONTRACT"} or said(report) == "EMPTY", str(report)


def test_the_checker_kills_what_the_checks_of_the_table_kill() -> None:
    """On the same samples, for one mutant in so many: bp.gradcheck needs no differences of ours beside it."""
    for name, line in LINES.items():  # right, they pass
        by_the_checker(entry_of(line.row).call, next(s for s in samples.of(name) if floats(s.inputs)))
    ours, its = (Judge(checks=checks, suite=False) for checks in (CHECKS, [by_the_checker]))
    chosen = [mutant for mutant in mutants()[:: len(mutants()) // 160] if ours.fate(mutant).kind == "killed"]
    survivors = [str(mutant) for mutant in chosen if its.fate(mutant).kind != "killed"]
    assert len(chosen) > 120
    assert not survivors, "\n".join(survivors)


# ---- nothing escapes -------------------------------------------------------------------------------------------------


def test_every_derivative_of_the_table_is_mutated() -> None:
    """Each row with a derivative is found in the source, with all its partials and the functions they call."""
    differentiable = [row for row in ALL_ROWS if row.differentiable]
    assert [LINES[row.name].row for row in differentiable] == differentiable
    mutated = Counter((line.row.name, mutant.unit) for mutant in mutants() for line in mutant.lines)
    for name, line in LINES.items():
        assert len(line.row.partials) == sum(unit.startswith("partial") for unit in line.given)
        assert bool(line.row.joint) == ("joint" in line.given)
        for unit, tree in line.given.items():
            if not isinstance(tree, ast.Constant):  # a function given by its name is a unit of that name
                assert mutated[name, tree.id if isinstance(tree, ast.Name) else unit] >= 10
        assert all(mutated[name, helper] >= 10 for helper in line.helpers)


@pytest.mark.parametrize(
    ("row", "change"),
    [
        ("tanh", "g * (1.0 + y * y)"),  # a sign
        ("square", "times(g, 3.0 * x)"),  # a factor
        ("sin", "times(g, np.sin(x))"),  # a function's sibling
        ("softmax", "times(y, g)"),  # a term dropped
        ("softmax", "times(y, g - times(g, y))"),  # a sum dropped
        ("linear", "_product(_rows(g), _rows(x))"),  # a transpose dropped
        ("divide", "g / b"),  # a guard dropped
        ("relu", "gate(g, x >= 0)"),  # a comparison
        ("where", "gate(g, c)"),  # a branch
        ("flip", ": g"),  # a step dropped
        ("multiply", "times(g, a)"),  # another input
        ("exp", "times(g * g, y)"),  # the incoming gradient twice
        ("max", "won.sum(axis, keepdims=False)"),
        ("cumsum", "np.flip(np.cumsum(np.flip(g, axis or 1)"),
        ("matmul", "a.T @ g"),
        ("pad", "slice(before, before - n)"),
    ],
)
def test_the_mistakes_people_make_are_among_them(row: str, change: str) -> None:
    assert any(change in mutant.source for mutant in mutants() if LINES[row] in mutant.lines)


# ---- planting leaves no trace ----------------------------------------------------------------------------------------


def test_planted_unchanged_a_derivative_is_the_row_s_own(judge: Judge) -> None:
    """So a mutant differs from its row by the mutation only."""
    for name, line in LINES.items():
        for unit, tree in (line.given | line.helpers).items():
            source = ast.unparse(tree)
            with planted(Mutant((line,), unit, "", source, source)), np.errstate(all="ignore"):
                for point, own in judge.known[name].sampled:
                    assert not differ(judge.known[name].call, point, own), f"{name}: {unit}"


def test_a_mutant_is_taken_out_again() -> None:
    chosen = [
        next(m for m in mutants() if m.unit == unit) for unit in ("partial 0", "forward", "joint", "_kept", "_fit")
    ]
    for mutant in chosen:
        before = [(line.row.forward, line.row.partials, line.row.joint) for line in mutant.lines], autograd._fit
        with pytest.raises(KeyError), planted(mutant):
            changed = [(line.row.forward, line.row.partials, line.row.joint) for line in mutant.lines], autograd._fit
            assert changed != before
            raise KeyError
        assert before == ([(x.row.forward, x.row.partials, x.row.joint) for x in mutant.lines], autograd._fit)


# ---- the tests are needed as they are --------------------------------------------------------------------------------

SOME = ["tanh", "multiply", "softmax"]


def survivors(*weak: Check) -> str:
    return "\n".join(str(fate) for fate in fates(Judge(SOME, weak, suite=False), SOME) if fate.kind == "survived")


def test_order_1_alone_leaves_survivors() -> None:
    found = survivors(check_order_1)
    assert "held(y)" in found


def test_a_loose_tolerance_leaves_survivors(monkeypatch: pytest.MonkeyPatch) -> None:
    def loose(a: Any, b: Any, what: str) -> None:
        differences.assert_close(a, b, what, 1e-1)

    monkeypatch.setattr(checks, "assert_close", loose)
    found = survivors(*CHECKS)
    assert "1.001 *" in found
    assert "1.01 " in found


def test_numbers_alone_leave_survivors(monkeypatch: pytest.MonkeyPatch) -> None:
    of = samples.of
    monkeypatch.setattr(samples, "of", lambda row: [s for s in of(row) if np.ndim(s.inputs[0]) == 0])
    assert "np.transpose(" in survivors(*CHECKS)


def test_without_the_conventions_the_guards_survive() -> None:
    assert "lambda g, z, a, b: g * b" in survivors(*CHECKS)
    assert ops.multiply.partials[0] is LINES["multiply"].row.partials[0]
