"""The command line as a whole: usage, exit codes, readers that leave, and where files are written."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.commands.shell import MOONS, exit_code, left, spawned


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder with nothing but a document, moons.toml."""
    monkeypatch.chdir(tmp_path)
    Path("moons.toml").write_text(MOONS)
    return tmp_path


# ---- usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"tinygrad_bp: the following arguments are required: command\. See tinygrad_bp --help\."),
        (["trian", "moons.toml"], r"tinygrad_bp: argument command: invalid choice: '?trian'? .*"),
        (
            ["train"],
            r"tinygrad_bp train: the following arguments are required: FILE\|RUN\. See tinygrad_bp train --h.*",
        ),
        (["train", "moons.toml", "--lr", "1"], r"tinygrad_bp: unrecognized arguments: --lr 1\. See .*"),
        (["eval", "moons.toml", "--on", "all"], r"tinygrad_bp eval: argument --on: invalid choice: '?all'? .*"),
        (["predict", "run"], r"tinygrad_bp predict: the following arguments are required: DATA\. See .*"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert exit_code(*arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(message + r"\n", errors), errors
    assert left() == ["moons.toml"]


def test_exit_codes_reach_the_shell():
    process = spawned("train", "nowhere.toml")
    assert process.communicate() == ("", "nowhere.toml: there is no such file.\n")
    assert process.returncode == 2


def test_version_and_help(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"tinygrad_bp {bp.__version__}\n"
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    for name in ("train", "eval", "predict", "schema", "check", "doctor"):
        assert f"\n    {name} " in shown
        assert exit_code(name, "--help") == 0
        assert f"usage: tinygrad_bp {name} " in capsys.readouterr().out


def test_a_command_in_another_thread_leaves_signals_alone(capsys):
    before, codes = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=lambda: codes.append(exit_code("schema")))
    thread.start()
    thread.join()
    assert codes == [0]
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_goes_away_ends_a_command_in_silence():
    read, write = os.pipe()
    os.close(read)
    process = spawned("schema", stdout=write)
    os.close(write)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (1, "")


# ---- layers of one's own ------------------------------------------------------------------------------------------

MINE = """
import tinygrad_bp as bp
print("imported")
class Twice(bp.nn.Module):
    def forward(self, x):
        return 2.0 * x
"""
WITH_MINE = MOONS.replace('{type = "Tanh"}', '{type = "Twice"}')


@pytest.mark.parametrize("command", ["train", "eval", "check", "schema"])
def test_modules_that_cannot_be_imported_are_one_line(command, capsys):
    Path("broken.py").write_text("import nothing_of_that_name\n")
    target = [] if command == "schema" else ["moons.toml"]
    for name, message in [
        ("brokn.py", r"import brokn\.py: there is no such file\. Did you mean .?broken\.py.?\?\n"),
        (
            "broken.py",
            r"import broken\.py: .*broken\.py:1: ModuleNotFoundError: No module named 'nothing_of_that_name'\n",
        ),
    ]:
        assert exit_code(command, *target, "--import", name) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert re.fullmatch(message, errors), errors
    assert left() == ["broken.py", "moons.toml"]


# ---- nothing is written elsewhere ---------------------------------------------------------------------------------


def test_every_command_writes_into_the_run_folder_and_the_cache_only(tmp_path):
    home, cache, here = (tmp_path / name for name in ("home", "cache", "here"))
    for folder in (home, cache, here):
        folder.mkdir()
    (here / "mine.py").write_text(MINE)
    (here / "net.toml").write_text(WITH_MINE)
    np.savez(here / "new.npz", X=np.zeros((3, 2)), y=[0, 1, 1])
    given = left(here)
    mine = ["--import", "mine.py"]
    unset = {"MPLCONFIGDIR", "TINYGRAD_BP_CACHE", "PYTHONDONTWRITEBYTECODE"}
    places = {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(cache), "XDG_CACHE_HOME": str(cache)}
    with pytest.MonkeyPatch.context() as patch:
        for name in unset:
            patch.delenv(name, raising=False)
        for arguments in (
            ["train", "net.toml", *mine],
            ["eval", "runs/net", *mine],
            ["predict", "runs/net", "new.npz", "--probabilities", *mine],
            ["check", "net.toml", *mine],
            ["check", "mine.py:Twice", "--input", "2x3"],
            ["schema", *mine],
        ):
            process = spawned(*arguments, cwd=here, env=places)
            output, errors = process.communicate()
            assert process.returncode == 0, errors
            assert errors == "imported\n"
            assert "imported" not in output
    assert left(home) == []
    assert [path for path in left(here) if not path.startswith("runs")] == given
    assert [path for path in left(cache) if not path.startswith("tinygrad_bp/matplotlib")] == ["tinygrad_bp"]
    assert {path for path in left(here / "runs") if "/" not in path} == {"net"}
