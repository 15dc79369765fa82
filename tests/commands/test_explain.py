"""explain on the command line: text always, a page for a run, a slider over what the run kept, and nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import tinygrad_bp as bp
from tests.commands.shell import MOONS, exit_code, left, spawned, state_of
from tests.terminal import shown_by
from tinygrad_bp.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that learnt, and one whose learning rate was too small to."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "moons.toml").write_text(MOONS)
    for name, setting in (("learnt", "train.epochs=4"), ("stuck", "optim.lr=1e-9")):
        arguments = ["--set", setting, "-o", folder / name, "--quiet"]
        assert exit_code("train", folder / "moons.toml", *arguments) == 0
    return folder


@pytest.fixture(autouse=True)
def folder(runs, tmp_path, monkeypatch):
    """A current folder with a document and copies of the runs."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    return tmp_path


def expected(path, rows=128, sample=None, weights=None):
    """What `explain` says of the model, here without the command."""
    experiment = bp.Experiment.from_spec(path)
    if weights is not None:
        experiment.model.load_state_dict(bp.load(weights))
    X, y = experiment.parts.train
    return bp.explain(experiment.model, experiment.loss, X[:rows], y[:rows], sample)


def test_a_document_is_told_as_it_is_initialised(capsys):
    before = state_of(".")
    assert exit_code("explain", "moons.toml") == 0
    output, errors = capsys.readouterr()
    assert output == expected("moons.toml").text() + "\n"
    assert errors == "moons.toml: is a document, its model is not trained.\n"
    assert state_of(".") == before


@pytest.mark.parametrize("arguments", [["--sample", 3], ["--rows", 16], ["--rows", 16, "--sample", 15]])
def test_rows_and_a_row_are_chosen(arguments, capsys):
    chosen = {name[2:]: value for name, value in zip(arguments[::2], arguments[1::2])}
    assert exit_code("explain", "moons.toml", *arguments) == 0
    assert capsys.readouterr().out == expected("moons.toml", **chosen).text() + "\n"


def test_a_run_gets_a_page_with_the_epochs_that_it_kept(capsys):
    before = state_of(".")
    assert exit_code("explain", "learnt", "--sample", 0) == 0
    output, errors = capsys.readouterr()
    weights = "learnt/model.safetensors"
    assert output == expected("learnt/spec.toml", sample=0, weights=weights).text() + "\n"
    assert errors == f"wrote {Path('learnt/explain.html')}\n"
    page = Path("learnt/explain.html").read_text()
    epochs = [epoch for epoch, _ in RunFolder("learnt").snapshots()]
    assert epochs[0] == 0 and epochs[-1] == 4
    assert re.findall(r'"label": ?"(epoch \d+)"', page) == [f"epoch {epoch}" for epoch in epochs]
    for epoch, path in RunFolder("learnt").snapshots():
        loss = expected("learnt/spec.toml", sample=0, weights=path).loss
        assert re.search(rf'"label": ?"epoch {epoch}".*?"loss": ?{re.escape(repr(loss))}', page)
    assert re.search(r'"validation": ?\[0\.', page)  # the curves
    changed = {path for path in left() if Path(path) not in before}
    assert changed == {"learnt/explain.html"}
    assert exit_code("train", "learnt", "--resume", "--quiet") == 0  # the page is no stranger in a run folder


def test_a_page_is_written_where_it_is_asked_for_and_not_with_text(capsys):
    assert exit_code("explain", "moons.toml", "-o", "moons.html") == 0
    assert exit_code("explain", "learnt", "-o", "learnt.HTML") == 0
    assert Path("moons.html").read_text().startswith("<!DOCTYPE html>") and Path("learnt.HTML").is_file()
    assert exit_code("explain", "learnt", "--text") == 0
    assert not Path("learnt/explain.html").exists()


def test_a_run_without_snapshots_gets_the_step_of_its_weights():
    shutil.rmtree("learnt/snapshots")
    assert exit_code("explain", "learnt") == 0
    page = Path("learnt/explain.html").read_text()
    loss = expected("learnt/spec.toml", weights="learnt/model.safetensors").loss
    assert re.findall(r'"loss": ?([\d.]+)', page)[0] == repr(loss)


def test_a_run_that_stopped_before_its_weights_were_kept_is_told_from_its_last_snapshot(capsys):
    Path("learnt/model.safetensors").unlink()
    assert exit_code("explain", "learnt") == 0
    output, errors = capsys.readouterr()
    assert output == expected("learnt/spec.toml", weights=RunFolder("learnt").snapshots()[-1][1]).text() + "\n"
    assert "learnt: its training has no end yet; told are the last weights kept." in errors
    assert '"epoch 4"' in Path("learnt/explain.html").read_text()


def test_a_run_that_still_guesses_is_told_of(capsys):
    assert exit_code("explain", "stuck", "--sample", 1, "--text") == 0
    output = capsys.readouterr().out
    assert "! chance\n  After epoch 2 the loss is 0." in output
    assert exit_code("explain", "learnt", "--text") == 0
    assert "chance" not in capsys.readouterr().out
    assert exit_code("explain", "stuck") == 0
    assert Path("stuck/explain.html").read_text().count("After epoch") == 2  # not at 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: there is no such run folder or document. A run is begun by train FILE."),
        (["moons.toml", "--rows", "0"], "--rows 0: is too few. Give at least 1."),
        (
            ["moons.toml", "--sample", "99"],
            "moons.toml: explain: there is no row 99 among 56. Choose 0 to 55.",
        ),
        (["moons.toml", "-o", "moons.png"], "-o moons.png: is no .html file. Name one."),
        (["moons.toml", "-o", "no/moons.html"], "save: there is no folder no. Create it first."),
        (["learnt", "--import", "missing.py"], "missing.py"),
    ],
)
def test_bad_input_is_one_line_and_leaves_everything_as_it_was(arguments, message, capsys):
    before = state_of(".")
    assert exit_code("explain", *arguments) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1
    assert message.replace(" no.", f" {Path.cwd() / 'no'}.") in errors
    assert state_of(".") == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", None, "learnt: holds no trained weights yet"),
        ("metrics.jsonl", b"{", "metrics.jsonl: "),
        ("metrics.jsonl", b"[1]", "metrics.jsonl: a line is no record of an epoch"),
        ("snapshots/epoch-00001.safetensors", b"half", "epoch-00001.safetensors: "),
    ],
)
def test_a_damaged_run_is_one_line(file, content, message, capsys):
    path = Path("learnt", file)
    path.write_bytes(content) if content is not None else (path.unlink(), shutil.rmtree("learnt/snapshots"))
    assert exit_code("explain", "learnt") == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and message in errors
    assert not Path("learnt/explain.html").exists()


@pytest.mark.parametrize(("settings", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_is_told_in_colours_unless_it_says_no(settings, colored):
    pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    environment = {"NO_COLOR": "", "COLUMNS": "72"} | settings
    shown = shown_by(lambda end: spawned("explain", "learnt", "--text", stdout=end, env=environment))
    assert ("\x1b[" in shown) == colored
    plain = re.sub(r"\x1b\[\d+m", "", shown).replace("\r\n", "\n")
    assert plain == expected("learnt/spec.toml", weights="learnt/model.safetensors").text(72) + "\n"
