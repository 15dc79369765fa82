"""Whoever watches a training sees a bar on a terminal, some lines elsewhere, and nothing unless asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.terminal import shown_by
from tinygrad_bp.training import progress
from tinygrad_bp.training.progress import line

ROOT = Path(__file__).parents[2]
TRAINING = """
import numpy as np, tinygrad_bp as bp
X, y = bp.data.digits()
bp.manual_seed(0)
net = bp.nn.Sequential(bp.nn.Linear(64, 8), bp.nn.Tanh(), bp.nn.Linear(8, 10))
loader = bp.data.DataLoader(X[:200], y[:200], batch_size=20)
optimizer = bp.optim.SGD(net.parameters(), lr=0.1)
settings = {"validation": (X[200:300], y[200:300]), "metrics": ["accuracy", "f1"]}
bp.fit(net, bp.nn.CrossEntropyLoss(), optimizer, loader, 12, progress=True, **settings)
print("the next line")
"""


def fitted(epochs, on=True, **settings):
    bp.manual_seed(0)
    model = bp.nn.Linear(2, 1)
    pair = np.eye(2), np.array([[1.0], [2.0]])
    optimizer = bp.optim.SGD(model.parameters(), lr=0.05)
    return bp.fit(model, bp.nn.MSELoss(), optimizer, [pair], epochs, validation=pair, progress=on, **settings)


def shown_epochs(text):
    return [int(number) for number in re.findall(r"^epoch +(\d+)/", text, re.MULTILINE)]


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [(1, [1]), (3, [1, 2, 3]), (100, [1, *range(10, 101, 10)]), (25, [1, *(25 * k // 10 for k in range(1, 11))])],
)
def test_without_a_terminal_there_are_about_ten_lines(epochs, shown, capsys):
    fitted(epochs)
    output, errors = capsys.readouterr()
    assert (shown_epochs(output), errors) == (shown, "")


def test_a_line_has_all_that_was_measured(capsys):
    (*_, record) = fitted(2, metrics=["mae"])
    last = capsys.readouterr().out.splitlines()[-1]
    loss, mae, val_loss, val_mae = (f"{record[key]:.4f}" for key in ("loss", "mae", "val_loss", "val_mae"))
    assert last == f"epoch 2/2  loss {loss}  mae {mae}  val loss {val_loss}  val mae {val_mae}"


def test_numbers_that_four_digits_do_not_tell_have_an_exponent():
    record = {"epoch": 1, "lr": 1e-4, "loss": 0.0, "mae": 123456.0, "rmse": float("nan"), "r2": -0.5}
    assert line(record, 10) == "epoch  1/10  lr 1.000e-04  loss 0.0000  mae 1.235e+05  rmse nan  r2 -0.5000"


def test_beside_the_bar_is_what_fits_of_it():
    record = {
        "epoch": 7,
        "lr": 0.1,
        "loss": 1.0,
        "accuracy": 0.5,
        "val_loss": 2.0,
        "val_accuracy": 0.25,
        "seconds": 1.0,
    }
    parts = ["epoch 7/9  loss 1.0000", "  val accuracy 0.2500", "  accuracy 0.5000", "  val loss 2.0000"]
    for k in range(1, 5):
        assert progress._within(len("".join(parts[:k])), record, 9) == "".join(parts[:k])
    assert progress._within(1000, record, 9) == "".join(parts)


def test_stopping_early_is_said_after_the_last_epoch(capsys):
    history = fitted(1000, patience=1, monitor="loss", metrics=[], clip_norm=0.0)
    *_, last, said = capsys.readouterr().out.splitlines()
    assert last.startswith(f"epoch {len(history):4}/1000  loss ")
    assert (
        said == f"stopped after epoch 2: no better loss for 1 epochs, the best is {history[0]['loss']:.6g} of epoch 1"
    )


def test_it_is_silent_unless_asked(capsys):
    fitted(3, on=False)
    assert capsys.readouterr() == ("", "")


def test_lines_are_shown_where_a_run_ends_with_an_error(capsys):
    def stop(record):
        if record["epoch"] == 15:
            raise StopIteration

    with pytest.raises(StopIteration):
        fitted(100, on_epoch=stop)
    assert shown_epochs(capsys.readouterr().out) == [1, 10, 15]


class Terminal:
    """Standard output that says it is a terminal."""

    def __init__(self, stream):
        self._stream = stream

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self._stream, name)


@pytest.mark.parametrize(("terminal", "installed"), [("dumb", True), ("xterm", False)])
def test_a_terminal_without_rich_or_a_cursor_gets_lines(terminal, installed, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal(sys.stdout))
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(progress, "find_spec", lambda _: installed or None)
    fitted(3)
    assert shown_epochs(capsys.readouterr().out) == [1, 2, 3]


def test_the_bar_is_drawn_ten_times_a_second_at_most(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    now, drawn = [0.0], []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    bar = progress.Bar(10, 100, lambda: (1, len(drawn), 0.5))
    monkeypatch.setattr(bar._progress, "refresh", lambda: drawn.append(now[0]))
    for step in range(1, 1001):
        now[0] = step / 1000
        bar.after_batch()
    assert 8 <= len(drawn) <= 10


def test_a_bar_that_patience_has_ended_waits_for_nothing(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    with progress.Bar(10, 100, lambda: (3, 0, 0.5)) as bar:
        pass
    assert bar._progress.tasks[0].finished
    with pytest.raises(KeyboardInterrupt), progress.Bar(10, 100, lambda: (3, 0, 0.5)) as bar:
        raise KeyboardInterrupt
    assert not bar._progress.tasks[0].finished


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal needs Unix")
@pytest.mark.parametrize(("columns", "no_color"), [(80, ""), (48, "1")])
def test_a_terminal_shows_a_bar(columns, no_color):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLUMNS": str(columns),
        "LINES": "24",
    }
    environment |= {"NO_COLOR": no_color} if no_color else {}
    command = [sys.executable, "-c", TRAINING]
    text = shown_by(lambda end: subprocess.Popen(command, stdout=end, stderr=subprocess.PIPE, env=environment))
    assert bool(re.search(r"\x1b\[[\d;]*m", text)) is (not no_color)
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text)
    frames = [frame for frame in re.split(r"[\r\n]+", plain) if frame]
    assert frames[-1] == "the next line"
    metrics = r"  val accuracy \d\.\d{4}" if columns == 80 else ""
    assert re.fullmatch(rf"\u2501+ epoch 12/12  loss \d\.\d{{4}}{metrics} 0:00:00 *", frames[-2]), frames[-2]
    assert all(len(frame) <= columns for frame in frames)
