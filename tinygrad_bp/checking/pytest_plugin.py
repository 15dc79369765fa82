"""A pytest plugin, loaded where the package is installed: gradient checks as tests, with the report as the failure.

The fixture ``gradcheck`` is ``bp.gradcheck`` that fails the test; ``@pytest.mark.gradcheck(seeds=3)`` runs a test that
uses it with so many seeds, and ``--bp-seed`` says which is the first. Any failed assertion about a report, such as
``assert bp.check_layer(layer, x)``, is shown as the text of the report in place of a traceback. With
``--junit-xml`` the status and the code of the diagnosis become properties of the test. ``-p no:tinygrad_bp`` keeps the
plugin, and with it NumPy, from being imported before the first conftest.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .report import Report

__all__ = ["Gradcheck", "gradcheck"]

PACKAGE = __name__.partition(".")[0]


class Gradcheck:
    """What the fixture ``gradcheck`` is: ``gradcheck(fn, *inputs, **options)`` returns the report or fails the test."""

    def __init__(self, config: pytest.Config) -> None:
        self._first = int(config.getoption("bp_seed"))
        self._options = {"kinks": "fail"} if config.getoption("bp_strict") else {}
        self._item: pytest.Item | None = None

    @property
    def seed(self) -> int:
        """The seed of this run of the test, for inputs that the test draws itself."""
        callspec = getattr(self._item, "callspec", None)
        return int(callspec.params.get(_SEED, self._first)) if callspec else self._first

    def __call__(self, fn: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
        """`gradcheck` with the seed of this run; hypothesis draws again where there is nothing to test."""
        from .checks import gradcheck

        report = gradcheck(fn, *inputs, **{"rng": self.seed, **self._options, **options})
        _note(self._item, report)
        hypothesis = sys.modules.get("hypothesis")
        if hypothesis and hypothesis.currently_in_test_context() and _is_idle(report):
            hypothesis.assume(False)
        if not report:
            raise AssertionError(str(report))
        return report


@pytest.fixture(scope="session")  # it keeps nothing from test to test, so hypothesis may call a test with it repeatedly
def gradcheck(pytestconfig: pytest.Config) -> Gradcheck:
    """``gradcheck(fn, *inputs, **options)``: fails the test, with the report, where a gradient cannot be trusted."""
    return pytestconfig.stash[_FIXTURE]


_FIXTURE = pytest.StashKey[Gradcheck]()
_SEED = "_gradcheck_seed"

# ---- options, marker, seeds ----------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """--bp-seed and --bp-strict."""
    group = parser.getgroup("tinygrad_bp", "gradient checks")
    group.addoption("--bp-seed", type=_natural, default=0, metavar="N", help="the first seed of gradcheck (0)")
    group.addoption("--bp-strict", action="store_true", help="gradcheck fails at kinks, too")


def _is_idle(report: Report) -> bool:
    """Whether the inputs have no entries, or every derivative is zero at them."""
    return report.status == "VACUOUS" or [d.code for d in report.diagnosis] == ["EMPTY"]


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no seed. Give an integer >= 0.")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and the fixture."""
    config.addinivalue_line("markers", "gradcheck(seeds): run the test once for each of so many seeds of gradcheck")
    config.stash[_FIXTURE] = Gradcheck(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed of the marker."""
    marker = metafunc.definition.get_closest_marker("gradcheck")
    if marker is None or "gradcheck" not in metafunc.fixturenames:
        return
    seeds = marker.kwargs.get("seeds")
    if marker.args or set(marker.kwargs) != {"seeds"} or type(seeds) is not int or seeds < 1:
        given = ", ".join([*map(repr, marker.args), *(f"{name}={value!r}" for name, value in marker.kwargs.items())])
        pytest.fail(f"gradcheck({given}): a marker of other arguments. Write gradcheck(seeds=3).", pytrace=False)
    first = metafunc.config.getoption("bp_seed")
    metafunc.fixturenames.append(_SEED)
    metafunc.parametrize(_SEED, range(first, first + seeds), ids=lambda seed: f"seed{seed}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell the fixture whose seed and whose properties are meant."""
    item.config.stash[_FIXTURE]._item = item


# ---- what is shown -------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed assertion about a report fails with the text of the report, and where the assertion stands."""
    outcome = yield
    failure = call.excinfo
    report = _asserted(failure) if failure and isinstance(failure.value, AssertionError) else None
    if failure and report is not None:
        _note(item, report)
        text = "\n".join([str(report), _where(failure), *getattr(failure.value, "__notes__", ())])
        shown = pytest.fail.Exception(text, pytrace=False).with_traceback(failure.tb)
        outcome.longrepr = item.repr_failure(pytest.ExceptionInfo.from_exception(shown))
    return outcome


def _asserted(excinfo: pytest.ExceptionInfo[BaseException]) -> Report | None:
    """The report that the assertion is about: a value of its frame, and in its message as pytest words that."""
    from .report import Report

    message = str(excinfo.value)
    for value in excinfo.traceback[-1].frame.f_locals.values():
        if isinstance(value, Report) and (repr(value).partition("\n")[0][:60] in message or message == str(value)):
            return value
    return None


def _where(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """The last line that is not of this package."""
    theirs = [e for e in excinfo.traceback if e.frame.f_globals.get("__name__", "").partition(".")[0] != PACKAGE]
    return f"{theirs[-1].path}:{theirs[-1].lineno + 1}: {theirs[-1].statement}"


def _note(item: pytest.Item | None, report: Report) -> None:
    """The last report on a test, as properties of the JUnit file."""
    if item is not None:
        codes = " ".join(dict.fromkeys(d.code for d in report.diagnosis))
        kept = [pair for pair in item.user_properties if not pair[0].startswith("gradcheck_")]
        item.user_properties[:] = [*kept, ("gradcheck_status", report.status), ("gradcheck_diagnosis", codes)]
