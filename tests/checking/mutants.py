"""The mutation score: does some test fail for every mutant of the table that changes a gradient?

A mutant is *killed* by the first check that fails while it is planted: those of order 1 and 2 on the row's samples,
else a test of the table, of the conventions or of the numerics that uses the row. It is *equivalent* if its gradients
are the row's own at all points of :mod:`~tests.checking.probes`. What is left has *survived*, and a sample or a test is
missing. ``python -m tests.checking.mutants [row ...]`` lists all of them.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_bp.autograd import Op

from .. import samples, test_conventions, test_numerics, test_table
from ..checks import check_order_1, check_order_2, floats, pull, signed
from ..differences import TOLERANCE, error
from ..samples import Sample
from ..test_table import entry_of
from .mutations import LINES, Mutant, mutants, planted
from .probes import EXACT, Arrays, Point, differ, gradients, points_of

Check = Callable[[Callable[..., Any], Sample], None]
CHECKS: tuple[Check, ...] = (check_order_1, check_order_2)

# ---- the tests -------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A test with its arguments."""

    name: str
    run: Callable[[], object]

    def fails(self) -> bool:
        try:
            self.run()
        except Exception:
            return True
        except BaseException as error:  # what pytest raises where pytest.raises or pytest.warns was disappointed
            if type(error).__name__ != "Failed":
                raise
            return True
        return False


def cases_of(module: ModuleType) -> Iterator[Case]:
    """The tests of a module, once for each set of their parameters."""
    for name, test in vars(module).items():
        if name.startswith("test_"):
            marks = [mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            names = [[words] if isinstance(words, str) else words for words, _ in marks]
            for values in itertools.product(*[values for _, values in marks]):
                given: dict[str, Any] = {}
                for words, value in zip(names, values):
                    given |= zip(words, value if len(words) > 1 else [value])
                yield Case(f"{name}{list(given.values())}", partial(test, **given))


def cases_of_the_table(row: Op) -> Iterator[Case]:
    """The tests of a row's memory, dtype and forward."""
    for test in (test_table.test_forward_is_numpy, test_table.test_one_input_alone):
        yield Case(test.__name__, partial(test, entry_of(row)))
    yield Case("test_float32_stays_float32", partial(test_table.test_float32_stays_float32, entry_of(row)))
    for layout in test_table.LAYOUTS:
        yield Case(f"test_layouts[{layout.__name__}]", partial(test_table.test_layouts, entry_of(row), layout))


def by_row(rows: Sequence[Op], cases: Iterable[Case]) -> dict[Op, list[Case]]:
    """The cases in which the derivative of each row is asked for."""
    used: set[Op] = set()

    def noted(row: Op, f: Any) -> Any:
        return f and (lambda *args: used.add(row) or f(*args))

    before = [(row.partials, row.joint) for row in rows]
    found: dict[Op, list[Case]] = {row: [] for row in rows}
    try:
        for row, (partials, joint) in zip(rows, before):
            row.partials, row.joint = tuple(noted(row, partial) for partial in partials), noted(row, joint)
        for case in cases:
            used.clear()
            case.run()
            for row in used:
                found[row].append(case)
    finally:
        for row, (partials, joint) in zip(rows, before):
            row.partials, row.joint = partials, joint
    return found


# ---- fates -----------------------------------------------------------------------------------------------------------


class Fate(NamedTuple):
    """What became of a mutant: `by` names the test that killed it, or where a survivor's gradients are others."""

    mutant: Mutant
    kind: str
    by: str = ""

    def __str__(self) -> str:
        return f"{self.kind:<10} {self.mutant}" + (f"   [{self.by}]" if self.by else "")


class Known(NamedTuple):
    """A row's own gradients at its samples, and at many more points."""

    call: Callable[..., Any]
    sampled: list[tuple[Point, Arrays]]
    probed: list[tuple[Point, Arrays]]


class Judge:
    """Decides what becomes of mutants of some rows; `checks` are put to their samples, then the `suite` is run."""

    def __init__(self, rows: Iterable[str] = LINES, checks: Sequence[Check] = CHECKS, suite: bool = True) -> None:
        self.checks = checks
        self.suite = suite
        self.known = {name: known(LINES[name].row) for name in rows}
        self.cases: dict[Op, list[Case]] = {}
        if suite:
            general = [*cases_of(test_conventions), *cases_of(test_numerics)]
            self.cases = by_row([LINES[name].row for name in self.known], general)
            for row in self.cases:
                self.cases[row] += cases_of_the_table(row)

    def fate(self, mutant: Mutant) -> Fate:
        rows = [line.row for line in mutant.lines if line.row.name in self.known]
        with planted(mutant):
            with np.errstate(all="ignore"):
                for row in rows:
                    if killer := self.killed_on_a_sample(row):
                        return Fate(mutant, "killed", killer)
                where = next(filter(None, map(self.difference, rows)), "")
            if not where:
                return Fate(mutant, "equivalent")
            for row in rows:
                if killer := self.killed_by_the_suite(row):
                    return Fate(mutant, "killed", killer)
        return Fate(mutant, "survived", where)

    def killed_on_a_sample(self, row: Op) -> str:
        """The check and the sample that kill; only where a gradient is another than the row's own a check is run."""
        call, sampled, _ = self.known[row.name]
        for i, (point, own) in enumerate(sampled):
            if differ(call, point, own):
                if self.suite and far(call, point, own):
                    sampled.insert(0, sampled.pop(i))
                    return f"{check_order_1.__name__}: {row.name}({point.sample})"
                for check in self.checks:
                    if Case("", partial(check, call, point.sample)).fails():
                        sampled.insert(0, sampled.pop(i))  # the next mutant may fall to the same
                        return f"{check.__name__}: {row.name}({point.sample})"
        return ""

    def killed_by_the_suite(self, row: Op) -> str:
        cases = self.cases.get(row, [])
        for i, case in enumerate(cases):
            if case.fails():
                cases.insert(0, cases.pop(i))
                return case.name
        return ""

    def difference(self, row: Op) -> str:
        """A point where the planted mutant has other gradients than the row, "" if there is none."""
        call, sampled, probed = self.known[row.name]
        for point, own in itertools.chain(sampled, probed):
            if differ(call, point, own):
                return f"{row.name}({point.sample})"
        return ""


def far(call: Callable[..., Any], point: Point, own: Arrays) -> bool:
    """Whether order 1 must fail: a gradient is further from the row's own than both may be from the differences.

    The table's tests say that the row's own is where it may be; so the differences need not be computed again.
    """
    try:
        first = pull(call, *point.sample, point.upstream)
        return any(error(a, b) > 3.0 * TOLERANCE for a, b in zip(first, own))
    except Exception:
        return True


@np.errstate(all="ignore")
def known(row: Op) -> Known:
    call = entry_of(row).call
    own = [sample for sample in samples.of(row.name) if floats(sample.inputs)]
    sampled = [Point(s, signed(np.shape(call(*s.inputs, **s.params))), *EXACT, True) for s in own]
    probed = points_of(row, call)
    return Known(call, *[[(point, list(gradients(call, point))) for point in points] for points in (sampled, probed)])


def fates(judge: Judge, rows: Iterable[str] = LINES) -> Iterator[Fate]:
    """The fate of every mutant of some rows."""
    chosen = set(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mutant is not killed by the warnings it causes
        for mutant in mutants():
            if chosen.intersection(line.row.name for line in mutant.lines):
                yield judge.fate(mutant)


def main(rows: Sequence[str]) -> int:
    count = Counter[str]()
    for fate in fates(Judge(rows or LINES), rows or LINES):
        count[fate.kind] += 1
        print(fate)
    print(score(count))
    return int(bool(count["survived"]))


def score(count: Mapping[str, int]) -> str:
    killed, of = count["killed"], count["killed"] + count["survived"]
    return f"mutation score: killed {killed} of {of} mutants that change a gradient ({count['equivalent']} equivalent)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
