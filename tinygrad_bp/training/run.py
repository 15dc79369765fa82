"""Where a training is: what the loop counts, and what it remembers of the epochs before.

The sums of the running epoch, the records of those that are over, and the best of them. Everything in a :class:`Run`
is a plain value or an array, so that a checkpoint can hold it. The model, the optimizer and files are not its matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..tensor import Tensor, as_array
from .metrics import Loss, Metric, chosen, nearest, usual
from .scoring import require_fit, summed

__all__ = ["Record", "Run"]

Record = dict[str, Any]


@dataclass
class Run:
    """The running epoch in sums, the epochs before in records, and the best of them.

    Attributes
    ----------
    asked
        The metrics that were asked for; None: accuracy where the targets are classes.
    validated
        Whether records have numbers of validation rows.
    monitor
        The key of a record that is to improve.
    rises
        Whether that is better when it is higher.
    patience
        How many epochs without improvement end the run.
    metrics
        Those that are measured, known from the first batch on.
    best_weights
        What `state_dict()` of the model gave after the best epoch, where it is to be restored.
    eager
        Whether the step could not be compiled.
    """

    loss: Loss
    asked: list[Metric] | None
    validated: bool
    monitor: str
    patience: int | None = None
    metrics: list[Metric] | None = None
    batch: int = 0
    rows: int = 0
    cost: float = 0.0
    sums: list[Any] = field(default_factory=list)
    history: list[Record] = field(default_factory=list)
    best: float = math.nan
    best_epoch: int = 0
    best_weights: Mapping[str, Any] | None = None
    eager: bool = False

    def __post_init__(self) -> None:
        self.kept: list[Record] = []  # the history without seconds, which differ from run to run
        self._summed = summed(self.loss)
        rising = {"accuracy": True} if self.asked is None else {m.name: m.higher_is_better for m in self.asked}
        self.check_monitor([*rising])
        self.rises = rising.get(self.monitor.removeprefix("val_"), False)

    @property
    def epoch(self) -> int:
        """The running one, from 1."""
        return len(self.history) + 1

    @property
    def stopped(self) -> bool:
        """Whether patience is over."""
        return self.patience is not None and len(self.history) - self.best_epoch >= self.patience

    def over(self, epochs: int) -> bool:
        """Whether there is no epoch to come."""
        return self.stopped or len(self.history) >= epochs

    def now(self) -> tuple[int, int, float]:
        """The running epoch, how many batches of it are done, and its loss so far."""
        return self.epoch, self.batch, self.cost / (self.rows or 1)

    def going_on(self, loader: Any) -> str:
        """Where a run that was ended goes on, in words."""
        if self.epoch == 1 and not self.batch:
            return "nothing was saved yet: from the beginning"
        batches = len(loader) if hasattr(loader, "__len__") else None
        batch, of = (self.batch + 1, "") if batches is None else (min(self.batch + 1, batches), f" of {batches}")
        return f"going on in epoch {self.epoch}, batch {batch}{of}"

    def count(self, cost: Tensor, outputs: Tensor, targets: Any, loader: Any) -> None:
        """A batch with the weights it met."""
        if self.metrics is None and not isinstance(outputs, Tensor):
            raise TypeError(
                f"fit: the model gives a {type(outputs).__name__}, which has no rows. Let it give one tensor."
            )
        given, wanted = outputs.data, targets if type(targets) is np.ndarray else as_array(targets)
        if self.metrics is None:
            self._choose(given, wanted, loader)
        rows = len(given)
        self.batch += 1
        self.rows += rows
        self.cost += cost.item() if self._summed else cost.item() * rows
        for k, metric in enumerate(self.metrics or ()):
            self.sums[k] = self.sums[k] + metric.sums(given, wanted)

    def _choose(self, outputs: Any, targets: Any, loader: Any) -> None:
        """The metrics, at the first batch; the targets of a `DataLoader` can all be looked at."""
        arrays: tuple[Any, ...] = getattr(loader, "arrays", ())
        targets = arrays[1] if len(arrays) == 2 else targets
        found = usual(self.loss, outputs, targets) if self.asked is None else self.asked
        require_fit("fit", found, outputs, targets)
        self.check_monitor([metric.name for metric in found])
        self._begin_epoch(found)

    def _begin_epoch(self, metrics: list[Metric]) -> None:
        self.metrics, self.sums = metrics, [0.0] * len(metrics)
        self.batch, self.rows, self.cost = 0, 0, 0.0

    def check_monitor(self, metrics: list[str]) -> None:
        """Refuse to monitor what will not be in the records."""
        keys = ["loss", *metrics]
        keys += [f"val_{key}" for key in keys] if self.validated else []
        if self.monitor not in keys:
            raise ValueError(f'fit: there is no "{self.monitor}" to monitor.{nearest(str(self.monitor), keys)}')

    def record(self, lr: float | None) -> Record:
        """What was measured in the running epoch."""
        if self.metrics is None or not self.batch:
            raise ValueError(
                f"fit: the loader gave no batch in epoch {self.epoch}. "
                "Pass one that starts anew each time it is iterated."
            )
        record: Record = {"epoch": self.epoch} | ({} if lr is None else {"lr": float(lr)})
        record["loss"] = self.cost / self.rows
        return record | {metric.name: float(metric.value(sums)) for metric, sums in zip(self.metrics, self.sums)}

    def end_epoch(self, record: Record) -> bool:
        """The epoch has become a record; returns whether it is the best so far."""
        self.history.append(record)
        self.kept.append({key: value for key, value in record.items() if key != "seconds"})
        self._begin_epoch(self.metrics or [])
        value = record[self.monitor]
        bound = self.best if self.best_epoch else -math.inf if self.rises else math.inf
        better = bool(value > bound if self.rises else value < bound)
        if better:
            self.best, self.best_epoch = value, record["epoch"]
        return better

    def why_stopped(self) -> str:
        """What ended the run before its last epoch, in words."""
        best = f"the best is {self.best:.6g} of epoch {self.best_epoch}" if self.best_epoch else "it was never a number"
        waited = len(self.history) - self.best_epoch
        return f"stopped after epoch {len(self.history)}: no better {self.monitor} for {waited} epochs, {best}"

    _PLAIN: ClassVar[tuple[str, ...]] = ("batch", "rows", "cost", "best", "best_epoch", "best_weights", "eager")

    def state(self) -> dict[str, Any]:
        """All of it, as plain values and arrays that later batches do not change."""
        names = None if self.metrics is None else [metric.name for metric in self.metrics]
        plain = {name: getattr(self, name) for name in self._PLAIN}
        return plain | {"metrics": names, "sums": list(self.sums), "history": list(self.kept)}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Be where the run of `state` was."""
        vars(self).update({name: state[name] for name in self._PLAIN})
        self.history, self.kept, self.sums = list(state["history"]), list(state["history"]), list(state["sums"])
        names = state["metrics"]
        if names is not None:
            self.metrics = chosen(names, self.loss, "fit") if self.asked is None else self.asked
