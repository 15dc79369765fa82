"""The pytest plugin: its fixture, marker and options, what a failure looks like, and that loading disturbs nothing."""

from __future__ import annotations

import os
import re
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tinygrad_bp.checking import checks, strategies  # noqa: F401 - a run in this process keeps what was loaded before

pytest_plugins = "pytester"

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ("-p", "no:tinygrad_bp", "-p", "tinygrad_bp.checking.pytest_plugin", "-p", "no:cacheprovider")

HEAD = """
import numpy as np
import pytest
import tinygrad_bp as bp

X = np.array([0.3, 0.4])
right = bp.ops.sin
wrong = bp.primitive("wrong", np.sin, lambda g, y, x: -g * np.cos(x))
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """run(source, *options): the result of a test file, with the plugin and with warnings as errors."""

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the next file of the same name may be as old and as long
    monkeypatch.delitem(
        sys.modules, "tinygrad_bp.checking.pytest_plugin", raising=False
    )  # pytest imports a plugin itself

    def run(source, *options):
        pytester.makepyfile(test_it=HEAD + source)
        return pytester.runpytest_inprocess(*PLUGIN, "-W", "error", *options)

    return run


def failures(result):
    """The lines below the title of each failed test, up to the next title."""
    shown: dict[str, list[str]] = {}
    lines = iter(result.outlines)
    for line in lines:
        if "= FAILURES =" in line:
            break
    for line in lines:
        if line.startswith("==="):
            break
        title = re.fullmatch(r"_+ (\S+) _+", line)
        if title:
            body = shown[title[1]] = []
        else:
            body.append(line)
    return shown


# ---- the fixture -----------------------------------------------------------------------------------------------------


def test_the_fixture_returns_the_report_of_a_right_gradient(run):
    result = run(
        """
def test_right(gradcheck):
    report = gradcheck(right, X, mode="fast")
    assert (report.status, report.seed, report.mode) == ("PASS", 0, "fast")
    assert gradcheck.seed == 0
"""
    )
    result.assert_outcomes(passed=1)


WRONG = """
def test_fixture(gradcheck):
    gradcheck(wrong, X)

def test_assert():
    assert bp.gradcheck(wrong, X)

def test_name():
    report = bp.gradcheck(wrong, X)
    assert report

def test_ok():
    report = bp.gradcheck(wrong, X)
    assert report.ok

def test_assert_gradcheck():
    bp.assert_gradcheck(wrong, X)

def test_backprop():
    assert bp.check_backprop(lambda x: np.sin(x), lambda x, g: -g * np.cos(x), X)

@pytest.fixture
def failing():
    assert bp.gradcheck(wrong, X)

def test_setup(failing):
    pass

import unittest

class Case(unittest.TestCase):
    def test_unittest(self):
        assert bp.gradcheck(wrong, X)
"""


def test_a_failure_is_shown_as_the_report_and_the_line_it_stands_on(run, pytester):
    result = run(WRONG)
    result.assert_outcomes(failed=7, errors=1)
    path = pytester.path / "test_it.py"
    source = path.read_text().splitlines()
    shown = failures(result)
    assert len(shown) == 7
    for name, lines in shown.items():
        assert lines[0].startswith("FAIL  "), name
        assert lines[1].startswith("  diagnosis  SIGN: "), name
        at = re.fullmatch(rf"{re.escape(str(path))}:(\d+): +(.*)", lines[-1])  # and no line of a traceback
        assert at, name
        assert source[int(at[1]) - 1].strip() == at[2], name
        assert not [line for line in lines[:-1] if line.startswith((">", "E ", "tinygrad_bp"))], name
    result.stdout.fnmatch_lines(["FAILED *::test_assert - Failed: FAIL *", "ERROR *::test_setup - Failed: FAIL *"])


def test_other_failures_are_shown_as_always(run):
    result = run(
        """
def test_value():
    report = bp.gradcheck(wrong, X)
    assert 1 == 2

def test_empty():
    report = bp.gradcheck(wrong, X)
    raise AssertionError

def test_key():
    report = bp.gradcheck(wrong, X)
    {}["key"]
"""
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["E*assert 1 == 2", "E*AssertionError", "E*KeyError: 'key'"])
    result.stdout.no_fnmatch_line("*SIGN*")


# ---- marker and options ----------------------------------------------------------------------------------------------

SEEDS = """
@pytest.mark.gradcheck(seeds=3)
def test_seeds(gradcheck):
    print("seed", gradcheck.seed, gradcheck(right, X).seed)

def test_one(gradcheck):
    print("alone", gradcheck.seed, gradcheck(right, X, rng=9).seed)
"""


@pytest.mark.parametrize(("options", "first"), [((), 0), (("--bp-seed", "5"), 5)])
def test_the_marker_runs_the_test_with_so_many_seeds(run, options, first):
    result = run(SEEDS, "-s", "-v", *options)
    result.assert_outcomes(passed=4)
    for seed in range(first, first + 3):
        result.stdout.fnmatch_lines([f"*::test_seeds?seed{seed}? *seed {seed} {seed}"])
    result.stdout.fnmatch_lines([f"*::test_one *alone {first} 9"])


def test_the_marker_leaves_tests_without_the_fixture_alone(run):
    run(
        """
pytestmark = pytest.mark.gradcheck(seeds=3)

def test_without():
    pass

@pytest.mark.parametrize("n", [1, 2])
def test_with(gradcheck, n):
    gradcheck(right, X)
"""
    ).assert_outcomes(passed=7)


def test_a_marker_of_other_arguments_is_refused(run):
    given = ["", "3", "seeds=0", "seeds=True", "seeds='3'", "seeds=3, rtol=0.5"]
    for arguments in given:
        result = run(f"\n@pytest.mark.gradcheck({arguments})\ndef test_seeds(gradcheck):\n    pass\n")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"gradcheck({arguments}): a marker of other arguments. Write gradcheck(seeds=3)."])


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", ""])
def test_a_bad_seed_is_a_usage_error(run, seed):
    result = run(SEEDS, f"--bp-seed={seed}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*argument --bp-seed: '{seed}' is no seed. Give an integer >= 0."])


@pytest.mark.parametrize(("options", "outcome"), [((), "passed"), (("--bp-strict",), "failed")])
def test_strict_fails_at_kinks(run, options, outcome):
    source = "\ndef test_kink(gradcheck):\n    gradcheck(bp.ops.relu, np.array([0.0, 1.0]))\n"
    run(source, *options).assert_outcomes(**{outcome: 1})
    run(source.replace("]))", ']), kinks="allow")'), *options).assert_outcomes(passed=1)


def test_marker_and_options_are_documented(run):
    result = run(SEEDS, "--markers", "--strict-markers")
    result.stdout.fnmatch_lines(["@pytest.mark.gradcheck(seeds): run the test once for each of so many seeds*"])
    result = run(SEEDS, "--help")
    result.stdout.fnmatch_lines(["gradient checks:", "*--bp-seed=N *", "*--bp-strict *"])


def test_junit_properties_hold_status_and_diagnosis(run, pytester):
    run(
        """
def test_right(gradcheck):
    gradcheck(right, X)

def test_wrong(gradcheck):
    gradcheck(right, X)
    gradcheck(wrong, X)

def test_asserted():
    assert bp.gradcheck(wrong, X)

def test_none():
    pass
""",
        "--junit-xml=junit.xml",
    )
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in ET.parse(pytester.path / "junit.xml").iter("testcase")
    }
    failed = {"gradcheck_status": "FAIL", "gradcheck_diagnosis": "SIGN"}
    assert found == {
        "test_right": {"gradcheck_status": "PASS", "gradcheck_diagnosis": ""},
        "test_wrong": failed,
        "test_asserted": failed,
        "test_none": {},
    }


# ---- with hypothesis -------------------------------------------------------------------------------------------------

DRAWN = """
from hypothesis import given, settings
from tinygrad_bp.checking import hypothesis_hook, strategies

hypothesis_hook.register()  # as where it is installed
constant = bp.primitive("constant", lambda x: np.ones_like(x), lambda g, y, x: g * 0.0)

@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(x=...)
def test_drawn(gradcheck, x: bp.Tensor):
    gradcheck({}, x)
"""


def test_the_fixture_goes_with_hypothesis(run):
    run(DRAWN.replace("{}", "right")).assert_outcomes(passed=1)


def test_a_wrong_gradient_shrinks_to_a_small_example_below_the_report(run):
    drawn = "x=strategies.tensors(np.float64, strategies.array_shapes(max_dims=1, max_side=1))"
    result = run(DRAWN.replace("{}", "wrong").replace("x=...", drawn))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAIL  wrong(x)*", "*gradcheck(wrong, x)", "*x=tensor(0., requires_grad=True*"])


def test_a_function_that_is_never_tested_does_not_pass(run):
    result = run(DRAWN.replace("{}", "constant").replace("x=...", "x=strategies.tensors(np.float64)"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*It looks like this test is filtering out a lot of inputs. 0 inputs *"])


# ---- installed -------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(pytester, monkeypatch):
    """The folder of a distribution with the entry points of pyproject.toml, on the path beside this checkout."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    info = pytester.mkdir("installed") / "tinygrad_bp-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tinygrad_bp\nVersion: 0.1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for group, named in points.items()]
    (info / "entry_points.txt").write_text("".join(lines))
    files = (path.relative_to(ROOT).as_posix() for path in (ROOT / "tinygrad_bp").rglob("*.py"))
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(info.parent), str(ROOT)]))
    return info.parent


def test_installed_it_is_loaded_and_clean(pytester, installed):
    pytester.makepyfile(HEAD + SEEDS)
    result = pytester.run(sys.executable, "-W", "error", "-m", "pytest", "-W", "error", "--strict-markers")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["plugins:*tinygrad_bp-0.1.0*"])


def test_blocked_it_is_not_imported(pytester, installed):
    """What addopts of pyproject.toml says, so that tests/conftest.py comes before NumPy."""
    assert "-p no:tinygrad_bp" in (ROOT / "pyproject.toml").read_text("utf-8")
    pytester.makeconftest("import sys\n\nassert not {'numpy', 'tinygrad_bp'} & set(sys.modules)\n")
    pytester.makepyfile("def test_nothing():\n    pass\n")
    result = pytester.run(sys.executable, "-m", "pytest", "-p", "no:tinygrad_bp")
    result.assert_outcomes(passed=1)
    assert pytester.run(sys.executable, "-m", "pytest").ret == pytest.ExitCode.USAGE_ERROR  # the conftest fails


@pytest.mark.parametrize(
    "imports",
    [
        "import hypothesis, tinygrad_bp",
        "import tinygrad_bp, hypothesis",
        "import tinygrad_bp.checking.strategies",
        "import tinygrad_bp.checking.hypothesis_hook",
        "from hypothesis.extra import numpy",
    ],
)
def test_installed_an_annotation_is_enough(pytester, installed, imports):
    code = f"""
{imports}
import sys
print("tinygrad_bp.checking.strategies" in sys.modules)
import hypothesis
from hypothesis import HealthCheck, given, settings
import tinygrad_bp as bp

@settings(max_examples=5, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(x=...)
def test(x: bp.Tensor):
    assert x.requires_grad

test()
"""
    result = pytester.run(sys.executable, "-W", "error", "-c", code)
    assert result.ret == 0, result.stderr
    assert result.outlines == [str("strategies" in imports)]  # until a Tensor is drawn, its strategies are not loaded
