"""Every example runs in its short mode, and the document of the README through the command line for one epoch."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NEED_TORCH = ["check_pytorch.py"]
RUN = [pytest.param(path, marks=pytest.mark.oracle if path.name in NEED_TORCH else ()) for path in SCRIPTS]
DOCUMENTS = sorted((ROOT / "examples").glob("*.toml"))


@pytest.mark.parametrize("script", RUN, ids=lambda path: path.name)
def test_a_script_runs_in_short_mode(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(script))["main"]
    try:
        main(short=True)
    except FileNotFoundError as error:
        if os.environ.get("TINYGRAD_BP_DATA"):
            raise
        pytest.skip(f"needs real data: {error}")


@pytest.mark.parametrize("script", ["classic_001_network.py", "classic_003_ex4.py"])
def test_a_script_without_its_data_says_so_in_one_line_and_runs_in_short_mode(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGRAD_BP_DATA", str(tmp_path))
    main = runpy.run_path(str(ROOT / "examples" / script))["main"]
    main(short=True)
    short = capsys.readouterr().out.splitlines()
    main()
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "TINYGRAD_BP_DATA" in line]
    assert len(told) == 1
    assert [line for line in lines if line not in told] == short


def test_a_mistake_in_a_backprop_is_named_and_mended(capsys):
    runpy.run_path(str(ROOT / "examples" / "check_by_hand.py"))["main"]()
    wrong, mended = capsys.readouterr().out.split("\n\n")
    assert wrong.startswith("FAIL  dense(x, W, b)")
    assert "CHAIN (x, W, b): the factor (1 - y**2) is missing" in wrong
    assert mended.startswith("PASS  dense(x, W, b)")


@pytest.mark.oracle
def test_functions_of_pytorch_are_checked(capsys):
    runpy.run_path(str(ROOT / "examples" / "check_pytorch.py"))["main"]()
    right, theirs, wrong = re.findall(r"^\S.*", capsys.readouterr().out, re.MULTILINE)
    assert right.startswith("PASS  cross_entropy(input, target): 12 derivatives are right")
    assert theirs.endswith("True")
    assert wrong.startswith("CONTRACT  squared(x): UPSTREAM: the backward multiplies by the incoming gradient twice")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_idea_long(script):
    assert len(script.read_text("utf-8").splitlines()) < 80


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_trains_for_one_epoch(document, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "tinygrad_bp", "train", str(document), "--set", "train.epochs=1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"test accuracy [01]\.\d{4} \(\d+ of \d+\)", run.stdout.splitlines()[-1])


def test_a_compiled_step_trains_as_the_eager_one(capsys):
    assert runpy.run_path(str(ROOT / "examples" / "compile_a_step.py"))["main"](short=True) < 1e-12
    assert "# BP4: grad_W1 = delta1^T x\n        delta1_T.dot(x, grad_W1)" in capsys.readouterr().out
