"""docs/gradient-checking.md is complete and true: every code of the checker has a section, and all that it shows runs.

Its doctests run with those of the other pages. Here are the parts that are no doctests: the sections, compared with
the codes in the source; the tests it shows, as a pytest run; its commands, with the output it promises.
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import settings

from tinygrad_bp.checking import hypothesis_hook
from tinygrad_bp.checking.report import SEVERITY, Status

pytest_plugins = "pytester"

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "gradient-checking.md").read_text("utf-8")
MAKERS = {"Diagnosis", "Broken", "says"}  # what is called with a code as its first argument


def codes_in(source):
    """The codes that a module makes diagnoses of."""
    tree = ast.parse(source)
    first = [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args
        if getattr(node.func, "id", getattr(node.func, "attr", None)) in MAKERS
    ]
    names = {node.id for node in first if isinstance(node, ast.Name)}
    first += [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(getattr(target, "id", None) in names for target in node.targets)
    ]
    constants = [node for value in first for node in ast.walk(value) if isinstance(node, ast.Constant)]
    return {node.value for node in constants if isinstance(node.value, str) and re.fullmatch("[A-Z]+", node.value)}


CHECKING = [path.read_text("ascii") for path in sorted((ROOT / "tinygrad_bp" / "checking").glob("*.py"))]
CODES = set().union(*map(codes_in, CHECKING))
TITLED = re.findall(r"^### ([A-Z, ]+)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
SECTIONS = {code: section for title, section in TITLED for code in title.split(", ")}


def blocks(kind, after):
    """The code blocks of a kind in the section of that title."""
    (section,) = re.findall(rf"^## {after}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def test_codes_are_found_however_they_are_written():
    source = """
def rule(case):
    code = "MANY" if case.many else "ONE"
    if case.bad:
        raise Broken("BAD", "a text", "A HINT")
    return case.says(code, "text") or Diagnosis("LAST", "text")
"""
    assert codes_in(source) == {"MANY", "ONE", "BAD", "LAST"}
    assert {"SIGN", "BROADCAST", "UPSTREAM", "INPUT", "ASYMMETRIC"} < CODES


def test_every_code_has_a_section_and_every_section_a_code():
    assert sorted(SECTIONS) == sorted(CODES)


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_section_shows_its_code(code):
    shown = [example.want for example in doctest.DocTestParser().get_examples(SECTIONS.get(code, ""))]
    assert any(re.search(rf"^{code}: |'{code}'", want, re.MULTILINE) for want in shown)


def test_the_table_of_answers_has_them_all_the_worst_last():
    rows = re.findall(r"^\| ([A-Z]+) \| (?:yes|no) \|", PAGE, re.MULTILINE)
    assert tuple(rows) == SEVERITY == get_args(Status)


def test_the_table_of_reasons_has_them_all():
    reasons = re.findall(r"undecided \((\w+)\)", "".join(CHECKING))
    (table,) = re.findall(r"^\| why it cannot tell .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^\| (\w+): ", table, re.MULTILINE) == reasons


def test_the_links_within_the_page_lead_somewhere():
    titles = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
    for path in re.findall(r"\]\(([^#)]+)\)", PAGE):
        assert (ROOT / "docs" / path).is_file(), path


def test_the_tests_it_shows_pass(pytester, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    hypothesis_hook.register()  # as where the package is installed
    settings.register_profile("few", settings(), max_examples=10)
    settings.load_profile("few")
    shown = blocks("python", "In tests")
    pytester.makepyfile(**{f"test_{k}": source for k, source in enumerate(shown)})
    plugin = ("-p", "no:tinygrad_bp", "-p", "tinygrad_bp.checking.pytest_plugin", "-p", "no:cacheprovider")
    try:
        result = pytester.runpytest_inprocess(*plugin, "-W", "error", "--bp-seed", "7")
    finally:
        settings.load_profile("reproducible")
    result.assert_outcomes(passed=3 + 1 + 3)


def test_its_commands_print_and_exit_as_it_says():
    (commands,), (promised,) = (blocks(kind, "On the command line") for kind in ("sh", "text"))
    runs = [
        subprocess.run(
            [sys.executable, *shlex.split(line)[1:]],
            cwd=ROOT,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        for line in commands.splitlines()
    ]
    assert [run.returncode for run in runs] == [0, 0, 1], [run.stderr for run in runs]
    for want, run in zip(promised.splitlines(keepends=True), runs, strict=True):
        first = run.stdout.splitlines(keepends=True)[0]
        assert doctest.OutputChecker().check_output(want, first, doctest.ELLIPSIS), first
