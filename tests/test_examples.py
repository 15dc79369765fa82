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
DOCUMENTS = sorted((ROOT / "examples").glob("*.toml"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
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
    monkeypatch.delenv("TINYGRAD_BP_DATA", raising=False)
    main = runpy.run_path(str(ROOT / "examples" / script))["main"]
    main(short=True)
    short = capsys.readouterr().out.splitlines()
    main()
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "TINYGRAD_BP_DATA" in line]
    assert len(told) == 1
    assert [line for line in lines if line not in told] == short


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_idea_long(script):
    assert len(script.read_text("utf-8").splitlines()) < 80


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_trains_for_one_epoch(document, tmp_path):
    text, changed = re.subn(r"^epochs = \d+$", "epochs = 1", document.read_text("utf-8"), flags=re.MULTILINE)
    assert changed == 1
    (tmp_path / document.name).write_text(text, "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "tinygrad_bp", "train", document.name],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"test accuracy [01]\.\d{4} \(\d+ of \d+\)", run.stdout.splitlines()[-1])
