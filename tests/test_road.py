"""The road of docs/road.md, walked: its commands, in their order, print what stands below them and leave its files.

A block of the page is a list of commands (`$ ...`) with what they print on either output, `...` for what differs from
machine to machine. What needs onnx is skipped where that is not installed.
"""

from __future__ import annotations

import doctest
import fnmatch
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "road.md").read_text("utf-8")


class Command(NamedTuple):
    line: str
    prints: str
    """What the page says."""


def commands() -> list[Command]:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [Command(*found) for block in blocks for found in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)]


COMMANDS = commands()


def needs(command: Command) -> list[str]:
    """The packages that the command needs and that are not here."""
    named = re.findall(r"\b(onnx(?:runtime)?)\b", command.line)
    return [package for package in named if importlib.util.find_spec(package) is None]


class Road:
    """A folder, and what came of the commands so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.came: list[subprocess.CompletedProcess[str]] = []

    def after(self, number: int) -> subprocess.CompletedProcess[str]:
        """What came of a command; those before it are run first."""
        while len(self.came) <= number:
            self.came.append(self.run(COMMANDS[len(self.came)]))
        return self.came[number]

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        python = 'python() { "$PYTHON" "$@"; }\n'  # of this environment, whatever is on the PATH
        return subprocess.run(
            ["sh", "-c", python + (":" if needs(command) else command.line)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> Road:
    folder = tmp_path_factory.mktemp("road")
    shutil.copy(ROOT / "examples" / "digits.toml", folder)
    return Road(folder)


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=lambda number: COMMANDS[number].line)
def test_a_command_prints_what_the_page_says(road, number):
    command = COMMANDS[number]
    if missing := needs(command):
        pytest.skip(f"needs {' and '.join(missing)}: pip install '.[bench]'")
    came = road.after(number)
    assert came.returncode == 0, came.stdout
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    right = doctest.OutputChecker().check_output(command.prints, came.stdout, flags)
    assert right, f"the page says\n{command.prints}\nit is\n{came.stdout}"


def test_the_files_of_the_page_are_there_and_no_others(road):
    road.after(len(COMMANDS) - 1)
    made = [file.relative_to(road.folder).as_posix() for file in road.folder.rglob("*") if file.is_file()]
    named = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    if importlib.util.find_spec("onnx") is None:
        named.remove("runs/digits/model.onnx")
    assert not [pattern for pattern in named if not fnmatch.filter(made, pattern)]
    assert not [file for file in made if not any(fnmatch.fnmatch(file, pattern) for pattern in named)]


def test_the_road_leads_through_all_of_it():
    lines = " ".join(command.line for command in COMMANDS)
    stations = ["train digits.toml", "--resume", "eval", "--to numpy", "--to onnx", "graph", "explain"]
    assert re.search(".*".join(stations), lines)
