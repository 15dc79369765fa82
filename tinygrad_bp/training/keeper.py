"""What keeps a run: checkpoints now and then, everything at its end, and signals heeded between two batches.

How often a checkpoint is worth its time, and after which epochs the weights are kept, is decided here; what is in a
checkpoint is said in :mod:`tinygrad_bp.training.state`, where it lies in :mod:`tinygrad_bp.training.run_folder`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from heapq import nsmallest
from typing import Any

from ..io.atomic import only_writer_of
from .run import Record, Run
from .run_folder import RunFolder
from .state import gather, has_position, restore

__all__ = ["Keeper"]

OFTEN = 20.0  # saving takes at most one part in so many of the time
Objects = tuple[Any, Any, Any, Any, Any, Any]


class Keeper:
    """A run and its folder.

    Parameters
    ----------
    settings
        What must be the same in a run that goes on: plain values by name.
    objects
        Model, loss, optimizer, schedule, loader, and the fingerprints of the data: as `gather` and `restore` take them.
    """

    def __init__(self, folder: RunFolder, run: Run, settings: Mapping[str, Any], objects: Objects) -> None:
        self.folder, self.run, self.settings, self.objects = folder, run, dict(settings), objects
        self._has_position = has_position(objects[4])
        self._signal: int | None = None
        self._finished = False
        self._took = self._ended = 0.0  # the last checkpoint: how long it took, and when it was there

    def begin(self, resume: bool, epochs: int) -> None:
        """Make the folder, or take over the run that is in it; until `listening` is over nobody else writes there."""
        with ExitStack() as alone:
            alone.enter_context(only_writer_of(self.folder.path))
            state = self.folder.begin(resume)
            if state is not None:
                try:
                    self._take_over(restore(state, *self.objects), epochs)
                except (AttributeError, LookupError, TypeError) as error:
                    raise ValueError("resume: the checkpoint is not as fit writes it. Name another folder.") from error
            if not self._finished:
                self.folder.rewrite(self.run.kept)
                self._begin_snapshots(state is None)
            self._epochs = epochs
            if not self._has_position:
                self._between = self._state()
            self._alone = alone.pop_all()

    def _take_over(self, loop: Mapping[str, Any], epochs: int) -> None:
        begun_with = {"snapshots": self.settings["snapshots"]} | loop["settings"]  # runs once had none
        for name, here in self.settings.items():
            if (its := begun_with[name]) != here:
                raise ValueError(
                    f"resume: {name} of the run was {its!r}, here it is {here!r}. Use what the run was begun with, or "
                    "another folder."
                )
        self.run.go_on(loop)
        begun = len(self.run.history) + (self.run.batch > 0)
        if epochs < begun:
            raise ValueError(f"resume: the run is in epoch {begun}, epochs is {epochs}. Pass at least {begun}.")
        self._finished = self.folder.finished(epochs)

    def _begin_snapshots(self, new: bool) -> None:
        self._kept = _thinned(range(len(self.run.history) + 1), self.settings["snapshots"])
        self.folder.thin_snapshots(self._kept)
        if new:
            self._snapshot()

    def _snapshot(self, last: bool = False) -> None:
        """Keep the weights after the epoch that is just over, if its turn is, in the place of those that give way."""
        epoch, most = len(self.run.history), self.settings["snapshots"]
        self._kept = _thinned({*self._kept, epoch}, most)
        if epoch in self._kept or (last and most):
            self.folder.save_snapshot(epoch, self.objects[0].state_dict())
            self.folder.thin_snapshots({*self._kept, epoch})

    def _state(self, finished: bool = False) -> dict[str, Any]:
        loop = self.run.state() | {"settings": self.settings, "finished": finished}
        return gather(*self.objects, loop)

    def after_batch(self) -> None:
        """Heed a signal, or save if it is time."""
        if self._signal is not None:
            self._interrupt()
        if self._has_position and time.perf_counter() - self._ended > OFTEN * self._took:
            self._save()

    @contextmanager
    def after_epoch(self, record: Record) -> Iterator[None]:
        """Keep the record; then, after the block or whatever it raises, all the rest."""
        self.folder.append(record)
        try:
            yield
        except BaseException:
            self._snapshot(last=True)
            self._close(self._state())
            raise
        self._snapshot()
        if not self._has_position:
            self._between = self._state()
            if time.perf_counter() - self._ended > OFTEN * self._took:
                self._save()
        if not self.run.over(self._epochs):
            self.after_batch()

    def _save(self) -> None:
        started = time.perf_counter()
        self.folder.save_checkpoint(self._state())
        self._ended = time.perf_counter()
        self._took = self._ended - started

    def end(self) -> None:
        """The run is finished."""
        if not self._finished:
            self._snapshot(last=True)
            self._close(self._state(finished=True))

    def _close(self, state: Mapping[str, Any]) -> None:
        run = self.run
        best = None if run.best_weights is None else run.best_epoch
        self.folder.close(run.kept, state["model"] if run.best_weights is None else run.best_weights, state, best)

    def _interrupt(self) -> None:
        self._close(self._state() if self._has_position else self._between)
        text = f"fit: interrupted in epoch {self.run.epoch}, all is in {self.folder.path}. Go on by resume=True."
        raise _end(self._signal, text)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGINT and SIGTERM are noted, and heeded after the batch, at the latest here; a second one ends at once."""
        previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (int(signal.SIGINT), int(signal.SIGTERM)):
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    previous[number] = signal.signal(number, self._heard)
        try:
            with self._alone:
                yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self._signal is not None:
            raise _end(self._signal, "")

    def _heard(self, number: int, frame: object) -> None:
        if self._signal is not None:
            raise _end(number, "")
        self._signal = number


def _thinned(epochs: Iterable[int], most: int) -> list[int]:
    """Which of the epochs up to now have a snapshot, where the last has one in any case.

    The first in an order that is the same for every run: so what was removed is never missed, however long the run
    is. They are 0 and 1, the powers of two, three times these, five times these, and so on, the later before.
    """
    return nsmallest(most - 1, epochs, key=lambda n: (n // (n & -n), -n) if n > 1 else (0, n))


def _end(number: int | None, text: str) -> BaseException:
    """What a signal raises."""
    return KeyboardInterrupt(text) if number == signal.SIGINT else SystemExit(128 + signal.SIGTERM)
