"""How far a training is, for whoever watches: a bar on a terminal, else about ten lines in all.

The bar is drawn by rich (extra `cli`) and redrawn ten times a second at most, by the loop itself: no thread takes time
from the steps. Where rich is not installed, or the output is no terminal, there are plain lines. Colours follow
NO_COLOR. Everything goes to the standard output.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from .run import Record, Run

__all__ = ["Bar", "Lines", "Silent", "line", "shown_on"]

_BETWEEN = 0.1  # seconds from one drawing of the bar to the next


class Silent:
    """Shows nothing: what a loop tells while it runs."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None: ...

    def after_epoch(self, record: Record) -> None:
        """An epoch is over."""

    def say(self, text: str) -> None:
        """Something happened."""


class Lines(Silent):
    """A line for each of about ten epochs, and for the last."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._shown = {1, epochs} | {epochs * tenth // 10 for tenth in range(1, 10)}
        self._last: Record | None = None

    def __exit__(self, *_: object) -> None:
        self._tell_last()

    def after_epoch(self, record: Record) -> None:
        """An epoch is over."""
        self._last = record
        if record["epoch"] in self._shown:
            self._tell_last()

    def say(self, text: str) -> None:
        """Something happened."""
        self._tell_last()
        print(text, flush=True)

    def _tell_last(self) -> None:
        if self._last is not None:
            print(line(self._last, self.epochs), flush=True)
        self._last = None


class Bar(Silent):
    """A bar over all batches, with what was measured and the time left.

    Parameters
    ----------
    epochs, batches
        How many there are, and in an epoch; None where the loader does not say.
    now
        The running epoch, how many of its batches are done, and its loss so far.
    """

    def __init__(self, epochs: int, batches: int | None, now: Callable[[], tuple[int, int, float]]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self.epochs, self.batches, self._now = epochs, batches, now
        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        self._progress = Progress(BarColumn(20), text, TimeRemainingColumn(), auto_refresh=False)
        self._task = self._progress.add_task("starting", total=epochs * (batches or 1), completed=self._done())
        self._last: Record = {}
        self._drawn = 0.0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:  # nothing is to come, also where patience has ended the run
            self._progress.update(self._task, total=self._done())
        self._draw()
        self._progress.stop()

    def after_batch(self) -> None:
        """A batch is over."""
        if time.perf_counter() - self._drawn > _BETWEEN:
            self._draw()

    def after_epoch(self, record: Record) -> None:
        """An epoch is over."""
        self._last = record
        self.after_batch()

    def say(self, text: str) -> None:
        """Something happened."""
        self._progress.print(text, markup=False, highlight=False, soft_wrap=True)

    def _done(self) -> int:
        epoch, batch, _ = self._now()
        return (epoch - 1) * (self.batches or 1) + (batch if self.batches else 0)

    def _draw(self) -> None:
        epoch, batch, loss = self._now()
        record = self._last | {"epoch": epoch, "loss": loss} if batch else self._last
        text = _within(self._progress.console.width - 32, record, self.epochs) if record else ""
        self._progress.update(self._task, completed=self._done(), description=text)
        self._progress.refresh()
        self._drawn = time.perf_counter()


def shown_on(epochs: int, loader: Any, run: Run) -> Bar | Lines:
    """A bar where the standard output is a terminal and rich is installed, else lines."""
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and find_spec("rich"):
        return Bar(epochs, len(loader) if hasattr(loader, "__len__") else None, run.now)
    return Lines(epochs)


def line(record: Record, epochs: int) -> str:
    """All that was measured in an epoch, in one line.

    >>> line({"epoch": 3, "loss": 0.25, "val_accuracy": 0.9, "seconds": 0.1}, epochs=60)
    'epoch  3/60  loss 0.2500  val accuracy 0.9000'
    """
    return _line(record, epochs, [key for key in record if key not in _COUNTS])


_COUNTS = ("epoch", "seconds")


def _line(record: Record, epochs: int, keys: list[str]) -> str:
    measured = (f"{key.replace('_', ' ')} {_number(record[key])}" for key in keys)
    return "  ".join([f"epoch {record['epoch']:{len(str(epochs))}}/{epochs}", *measured])


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def _within(width: int, record: Record, epochs: int) -> str:
    """The loss, and of the metrics what fits, those on validation rows first."""
    metrics = [key for key in record if key not in _COUNTS and key not in ("lr", "loss", "val_loss")]
    keys = ["loss"]
    for key in [*sorted(metrics, key=lambda key: not key.startswith("val_")), "val_loss"]:
        if key in record and len(_line(record, epochs, [*keys, key])) <= width:
            keys.append(key)
    return _line(record, epochs, keys)
