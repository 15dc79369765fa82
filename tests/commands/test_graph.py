"""graph: the net of a document or of a run, as a picture in a file or on the standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.shell import MOONS, exit_code, left


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moons.toml").write_text(MOONS)
    return tmp_path


def test_a_document_goes_to_the_standard_output(capsys):
    assert exit_code("graph", "moons.toml") == 0
    out, errors = capsys.readouterr()
    assert out.startswith("<svg ") and out.endswith("</svg>\n") and errors == ""
    assert ">Linear</text>" in out and ">2\u00d72</text>" in out
    assert left() == ["moons.toml"]


def test_a_run_gets_a_file_in_its_folder(capsys):
    assert exit_code("train", "moons.toml", "--quiet") == 0
    capsys.readouterr()
    assert exit_code("graph", "runs/moons") == 0
    assert capsys.readouterr().out == "runs/moons/graph.svg\n"
    assert ">Linear</text>" in Path("runs/moons/graph.svg").read_text("utf-8")
    assert exit_code("train", "runs/moons", "--resume", "--quiet") == 0  # it is still the folder of a run


def test_o_names_the_file_and_its_kind(capsys):
    assert exit_code("graph", "moons.toml", "--backward", "--depth", "0", "-o", "whole.dot") == 0
    assert capsys.readouterr().out == "whole.dot\n"
    text = Path("whole.dot").read_text("utf-8")
    assert text.startswith("digraph") and "Sequential vjp" in text and "Linear" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "missing.toml"),
        (["moons.toml", "-o", "graph.png"], "draw: cannot write graph.png. Name a .svg, .dot or .gv file."),
        (["moons.toml", "--depth", "-1"], "moons.toml: draw: depth is -1. Pass 0 for the model"),
        (["moons.toml", "-o", "nowhere/graph.svg"], "nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, message, capsys):
    assert exit_code("graph", *arguments) == 2
    out, errors = capsys.readouterr()
    assert out == "" and errors.count("\n") == 1 and message in errors
    assert left() == ["moons.toml"]
