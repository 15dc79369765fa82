"""The command line: what it prints last, what it leaves behind, and how it refuses."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import __main__ as command
from tinygrad_bp.commands import train

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "examples" / "digits.toml").read_text("utf-8")
SHORT = TEXT.replace("epochs = 60", "epochs = 2")
LONG = TEXT.replace("epochs = 60", "epochs = 1000000")
FILES = ["curve.png", "document.toml", "metrics.jsonl", "model.safetensors"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder but for a short document, digits.toml."""
    monkeypatch.chdir(tmp_path)
    Path("digits.toml").write_text(SHORT)
    return tmp_path


def spawned(*arguments, **options):
    """The process of a command line, with the package of this checkout."""
    return subprocess.Popen(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "tinygrad_bp", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )


def exit_code(*arguments):
    """What main returns or exits with."""
    try:
        return command.main(arguments)
    except SystemExit as stop:
        return stop.code or 0


def left():
    """Every file and folder below the current folder, hidden ones too."""
    return sorted(path.as_posix() for path in Path().rglob("*"))


# ---- train --------------------------------------------------------------------------------------------------------


def test_the_document_of_the_readme_is_right_on_97_of_100_digits():
    Path("digits.toml").write_text(TEXT)
    process = spawned("train", "digits.toml")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    lines = output.splitlines()
    last = re.fullmatch(r"test accuracy (\d\.\d{4}) \((\d+) of 360\)", lines[-1])
    assert last
    assert float(last[1]) == round(int(last[2]) / 360, 4) >= 0.97
    assert lines[0] == "digits.toml: 4810 weights and biases, 1437 rows to train on, 360 held out"
    assert lines[1].startswith("epoch  1/60  loss ")
    assert lines[-4].startswith("epoch 60/60  loss ")
    assert len(lines) < 20
    assert lines[-2] == f"wrote {Path('runs', 'digits-1')}: {', '.join(FILES)}"
    assert sorted(os.listdir("runs/digits-1")) == FILES


def test_the_run_folder_holds_the_run(capsys):
    assert exit_code("train", "digits.toml", "-o", "out/here") == 0
    assert left() == ["digits.toml", "out", "out/here", *(f"out/here/{name}" for name in FILES)]
    run = Path("out/here")
    assert (run / "document.toml").read_bytes() == Path("digits.toml").read_bytes()
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    again = bp.Experiment.from_spec("digits.toml")
    history = again.fit()
    assert [record["test_loss"] for record in records] == [record["test_loss"] for record in history]
    weights = bp.load(run / "model.safetensors")
    assert all(np.array_equal(weights[name], array) for name, array in again.model.state_dict().items())
    fresh = bp.Experiment.from_spec(run / "document.toml")
    fresh.model.load_state_dict(weights)
    correct = int((fresh.model(fresh.test[0]).data.argmax(axis=1) == fresh.test[1]).sum())
    assert capsys.readouterr().out.splitlines()[-1] == f"test accuracy {correct / 360:.4f} ({correct} of 360)"


def test_two_runs_are_bit_identical_and_numbered():
    assert [exit_code("train", "digits.toml") for _ in range(2)] == [0, 0]
    assert sorted(os.listdir("runs")) == ["digits-1", "digits-2"]
    one, two = (Path("runs", f"digits-{n}") for n in (1, 2))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    first, second = ((run / "metrics.jsonl").read_text() for run in (one, two))
    assert re.sub(r'"seconds": [^}]*', "", first) == re.sub(r'"seconds": [^}]*', "", second)


def test_a_json_document_stays_json():
    Path("net.json").write_text(json.dumps({**bp.spec.tomllib.loads(SHORT), "train": {"epochs": 1}}))
    assert exit_code("train", "net.json") == 0
    assert Path("runs/net-1/document.json").read_bytes() == Path("net.json").read_bytes()


def test_an_empty_folder_is_a_run_folder():
    Path("out").mkdir(mode=0o700)
    assert exit_code("train", "digits.toml", "-o", "out") == 0
    assert sorted(os.listdir("out")) == FILES
    assert Path("out").stat().st_mode & 0o777 == 0o700


def test_without_class_labels_the_last_line_is_the_loss():
    assert train._verdict(bp.training.Score(0.25, 360, None)) == "test loss 0.2500 (360 rows)"


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal needs Unix")
def test_a_terminal_shows_a_bar_with_loss_and_accuracy():
    import pty

    main_end, end = pty.openpty()
    process = spawned("train", "digits.toml", stdout=end)
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(main_end, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    assert process.wait() == 0, process.stderr.read()
    process.stderr.close()
    os.close(main_end)
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"epoch 2/2\s+loss \d\.\d{4}\s+test accuracy 0\.\d{4} ", plain)  # in 80 columns nothing is cut off
    assert "\u2501" in plain  # the bar
    assert plain.splitlines()[-1].startswith("test accuracy 0.")


# ---- nothing half-written -----------------------------------------------------------------------------------------


def test_a_run_that_diverges_leaves_one_line_and_nothing_else():
    Path("digits.toml").write_text(TEXT.replace("lr = 0.05", "lr = 1e200"))
    process = spawned("train", "digits.toml")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert re.fullmatch(r"fit: the loss is nan in epoch 1, batch \d+\. Lower the learning rate.*\n", errors)
    assert left() == ["digits.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts a process as Unix does")
def test_control_c_leaves_one_line_and_nothing_else():
    Path("long.toml").write_text(LONG)
    listening = functools.partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # also where tests run in the background
    process = spawned("train", "long.toml", preexec_fn=listening)
    assert "rows to train on" in process.stdout.readline()
    assert process.stdout.readline().startswith("epoch       1/1000000  loss")
    assert len(left()) == 5  # two documents, runs, runs/long-1, and the draft in it
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (130, "interrupted: nothing was written.\n")
    assert left() == ["digits.toml", "long.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process as Unix does")
def test_a_kill_leaves_no_file():
    Path("long.toml").write_text(LONG)
    process = spawned("train", "long.toml")
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert [path for path in left() if Path(path).is_file()] == ["digits.toml", "long.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="ends a process as Unix does")
def test_the_end_of_a_terminal_leaves_nothing():
    Path("long.toml").write_text(LONG)
    process = spawned("train", "long.toml", "-o", "out/here")
    process.stdout.readline()
    process.terminate()
    process.communicate()
    assert process.returncode == 143
    assert left() == ["digits.toml", "long.toml"]


@pytest.mark.parametrize("where", ["save", "draw_curves", "evaluate"])
@pytest.mark.parametrize("output", [[], ["-o", "out/here"], ["-o", "empty"]])
def test_a_file_that_cannot_be_written_leaves_none(where, output, monkeypatch, capsys):
    if "empty" in output:
        Path("empty").mkdir()
    before = left()
    monkeypatch.setattr(command, where, fails("No space left on device"))
    assert exit_code("train", "digits.toml", *output) == 1
    assert capsys.readouterr().err == "No space left on device\n"
    assert left() == before


@pytest.mark.parametrize("moved", [0, 2])
def test_files_that_cannot_be_moved_are_removed(moved, monkeypatch, capsys):
    rename, count = Path.rename, iter(range(9))
    monkeypatch.setattr(
        Path, "rename", lambda self, to: rename(self, to) if next(count) < moved else fails("Stale file handle")()
    )
    assert exit_code("train", "digits.toml", "-o", "out") == 1
    assert capsys.readouterr().err == "Stale file handle\n"
    assert left() == ["digits.toml"]


def fails(message):
    def fail(*_, **__):
        raise OSError(message)

    return fail


def test_a_reader_that_goes_away_ends_the_run_in_silence():
    read, write = os.pipe()
    os.close(read)
    process = spawned("train", "digits.toml", stdout=write)
    os.close(write)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (1, "")
    assert left() == ["digits.toml"]


# ---- bad usage and bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"tinygrad_bp: the following arguments are required: command\. See tinygrad_bp --help\."),
        (["trian", "digits.toml"], r"tinygrad_bp: argument command: invalid choice: 'trian' .*"),
        (["train"], r"tinygrad_bp train: the following arguments are required: document\. See tinygrad_bp train --h.*"),
        (["train", "digits.toml", "--lr", "1"], r"tinygrad_bp: unrecognized arguments: --lr 1\. See .*"),
        (["train", "digit.toml"], r'digit\.toml: there is no such file\. Did you mean "digits\.toml"\?'),
        (["train", "."], r"\.: is a folder\. Name a document\."),
        (["train", "wrong.toml"], r'wrong\.toml: optim\.lrr = 0\.05: SGD has no such key\. Did you mean "lr"\?'),
        (["train", "digits.toml", "-o", "full"], r"-o full: is not an empty folder\. Name a new one\."),
        (["train", "digits.toml", "-o", "wrong.toml"], r"-o wrong\.toml: is not an empty folder\. Name a new one\."),
        (
            ["train", "digits.toml", "-o", "wrong.toml/out"],
            r"wrong\.toml/out: Not a directory\. Name another folder .*",
        ),
    ],
)
def test_bad_usage_or_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    Path("wrong.toml").write_text(SHORT.replace("lr =", "lrr ="))
    Path("full").mkdir()
    Path("full", "a file").touch()
    before = left()
    assert exit_code(*arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(message + r"\n", errors), errors
    assert left() == before


def test_exit_codes_reach_the_shell():
    process = spawned("train", "nowhere.toml")
    assert process.communicate() == ("", "nowhere.toml: there is no such file.\n")
    assert process.returncode == 2


@pytest.mark.parametrize("package", ["rich", "matplotlib", "safetensors"])
def test_a_missing_extra_is_said_before_anything_runs(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert exit_code("train", "digits.toml") == 2
    assert capsys.readouterr() == ("", f"{package}: not installed. pip install 'tinygrad_bp[cli]'.\n")
    assert left() == ["digits.toml"]


def test_version_and_help(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"tinygrad_bp {bp.__version__}\n"
    assert exit_code("--help") == 0
    assert "train the model of a document" in capsys.readouterr().out
    assert exit_code("train", "--help") == 0
    assert "-o FOLDER" in capsys.readouterr().out
