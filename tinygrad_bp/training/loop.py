"""The training loop, written out.

`fit` is the loop everyone writes: for every mini-batch clear the gradients, run the model, compare with the targets,
walk back, step. Around those five lines it only counts: each epoch becomes one record of plain numbers, and the
records are the history. The five lines are compiled where they can be (:mod:`tinygrad_bp.compiler`). With a run folder
it also keeps what it counts and learns, so that a run that was ended at any instant goes on bit for bit. The order of
the rows and the initial weights come from seeds held elsewhere (`DataLoader`, `bp.manual_seed`).
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from ..compiler.plan import CompileError
from ..compiler.step import compile as compiled_step
from ..data.loader import DataLoader
from ..nn.module import Module
from ..nn.utils import clip_grad_norm_
from ..opaque import value_check
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from ..optim.optimizers import Optimizer, check_number
from ..tensor import Tensor
from .keeper import Keeper
from .metrics import Function, Loss, Metric, chosen
from .progress import Bar, Silent, shown_on
from .run import Record, Run
from .run_folder import RunFolder
from .scoring import evaluate
from .state import fingerprint

__all__ = ["Record", "fit"]

Step = Callable[[Any, Any], tuple[Tensor, Tensor]]

_log = logging.getLogger("tinygrad_bp")


def fit(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    loader: Iterable[tuple[Any, ...]],
    epochs: int,
    *,
    validation: tuple[Any, Any] | None = None,
    metrics: Sequence[str | Metric | Function] | None = None,
    schedule: LRScheduler | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    monitor: str | None = None,
    restore_best: bool = False,
    compile: bool = True,
    out: str | os.PathLike[str] | None = None,
    snapshots: int = 12,
    resume: bool = False,
    progress: bool = False,
    on_epoch: Callable[[Record], object] | None = None,
) -> list[Record]:
    """Train `model` in place for `epochs` passes over `loader`; returns one record per epoch.

    Parameters
    ----------
    loader
        Gives `(inputs, targets)` mini-batches each time it is iterated: a `DataLoader`, or a list of pairs.
    validation
        Inputs and targets held out; the model is scored on them after every epoch.
    metrics
        Names ("accuracy", "f1", "mae", "rmse", "r2"), :class:`~tinygrad_bp.training.Metric` objects or functions of
        outputs and targets. Left out: accuracy where the targets are classes, else none.
    schedule
        Of `optimizer`; stepped once an epoch, `ReduceLROnPlateau` with the monitored number, for which its `mode` is.
    clip_norm
        What the norm of all gradients together is at most.
    patience
        How many epochs without improvement end the training.
    monitor
        The number of a record that is to improve: "val_loss" where there is validation, else "loss", unless named.
        A number that is nan is no improvement.
    restore_best
        Whether the model has the weights of the best epoch at the end, and not those of the last.
    compile
        Whether to record the step once and replay it, which is faster. A model that cannot be recorded is trained
        eagerly, and the log of the package (``logging.getLogger("tinygrad_bp")``) says why.
    out
        The run folder (:mod:`tinygrad_bp.training.run_folder`), new or empty. It holds a checkpoint after the first
        batch, and later ones so often that saving takes a twentieth of the time at most.
    snapshots
        How many files of weights `out` holds at most: before training, after the first epochs, then ever more seldom,
        and after the last. 0: none.
    resume
        Whether to go on with the run in `out`, in objects made as at its beginning; the result is that of a run that
        was never ended, bit for bit. A run that was finished stays as it is, unless `epochs` is more now. With a
        loader that cannot tell where it is (no `DataLoader`) it goes on at the beginning of an epoch.
    progress
        Whether to show a bar on a terminal, about ten lines elsewhere.
    on_epoch
        Called with each record as soon as the epoch is over. What it raises ends the training.

    Returns
    -------
    list of dict
        `epoch` from 1, `lr` where there is a schedule (of the first group, in that epoch), `loss` and the metrics over
        the rows, each counted with the weights it was trained on, `val_loss` and so on where there is validation, and
        `seconds`; epochs before a resume have none.

    Raises
    ------
    ValueError
        Fewer than one epoch, a loader that gives no batch, an unknown metric or monitor, a metric that does not fit
        the targets, a folder that is in use, a run that was begun with something else.
    FloatingPointError
        The loss of a batch is not finite. The weights are those before that batch; the last checkpoint stays.
    KeyboardInterrupt
        With `out`, Ctrl-C lets the batch come to its end and saves everything first; a second one ends at once.
        SIGTERM does the same and raises ``SystemExit(143)``. Without `out`, or in another thread than the main one,
        signals are left as they are.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> x = np.array([[-1.0], [1.0]])
    >>> model = bp.nn.Linear(1, 1)
    >>> history = fit(model, bp.nn.MSELoss(), bp.optim.SGD(model.parameters(), lr=0.1), [(x, 3 * x)], epochs=50)
    >>> len(history), round(model.weight.item(), 3)
    (50, 3.0)
    """
    _check_objects(model, loss, optimizer, loader, schedule)
    _check(epochs, validation, clip_norm, patience, out, snapshots, resume)
    asked = None if metrics is None else chosen(metrics, loss, "fit")
    monitor = monitor or ("loss" if validation is None else "val_loss")
    run = Run(loss, asked, validation is not None, monitor, patience)
    if isinstance(schedule, ReduceLROnPlateau) and schedule.mode != (mode := "max" if run.rises else "min"):
        raise ValueError(f'fit: of {monitor} the schedule waits for the {schedule.mode}. Make it with mode="{mode}".')
    model.train()
    keeper = None
    if out is not None:
        settings = {
            "clip_norm": None if clip_norm is None else float(clip_norm),
            "patience": None if patience is None else int(patience),
            "restore_best": bool(restore_best),
            "compile": bool(compile),
            "snapshots": int(snapshots),
        }
        keeper = _keeper(out, run, settings, (model, loss, optimizer, schedule, loader), validation)
        keeper.begin(resume, epochs)
    step = _step(model, loss, optimizer, clip_norm)
    if compile and not run.eager:
        step = _compiled(step, run)
    shown = shown_on(epochs, loader, run) if progress and not run.over(epochs) else Silent()
    after_batch = [shown.after_batch] if isinstance(shown, Bar) else []
    after_batch += [keeper.after_batch] if keeper else []
    with keeper.listening() if keeper else nullcontext(), shown:
        if resume:
            shown.say(run.going_on(loader))
        while not run.over(epochs):
            started = time.perf_counter()
            _epoch(step, loader, run, after_batch)
            record = run.record(None if schedule is None else optimizer.param_groups[0]["lr"])
            if validation is not None:
                scores = evaluate(model, loss, *validation, run.metrics)
                record |= {f"val_{name}": score for name, score in scores.items() if name != "rows"}
            record["seconds"] = time.perf_counter() - started
            if run.end_epoch(record) and restore_best:
                run.best_weights = model.state_dict()
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(record[monitor])
            elif schedule is not None:
                schedule.step()
            with keeper.after_epoch(record) if keeper else nullcontext():
                shown.after_epoch(record)
                if on_epoch is not None:
                    on_epoch(record)
        if run.stopped and len(run.history) < epochs:
            _log.info("fit: %s", run.why_stopped())
            shown.say(run.why_stopped())
        if keeper is not None:
            keeper.end()
    if run.best_weights is not None:
        model.load_state_dict(run.best_weights)
    return run.history


def _keeper(
    out: str | os.PathLike[str], run: Run, settings: dict[str, Any], objects: tuple[Any, ...], validation: Any
) -> Keeper:
    """What keeps this run in its folder, and what has to be the same for it to go on."""
    model, loss, optimizer, schedule, loader = objects
    is_module = isinstance(loss, Module)
    settings |= {
        "loss": repr(loss) if is_module else getattr(loss, "__name__", "a function"),
        "metrics": None if run.asked is None else [metric.name for metric in run.asked],
        "monitor": run.monitor,
    }
    data = {
        "the training data": fingerprint(loader),
        "the validation data": fingerprint(validation),
        "the weight of the loss": fingerprint(loss.state_dict() if is_module else None),
    }
    return Keeper(RunFolder(out), run, settings, (model, loss, optimizer, schedule, loader, data))


def _epoch(step: Step, loader: Any, run: Run, after_batch: Sequence[Callable[[], None]]) -> None:
    """A step for every mini-batch, counted with the weights before that step."""
    try:
        for inputs, targets in loader:
            cost, outputs = step(inputs, targets)
            run.count(cost, outputs, targets, loader)
            for look in after_batch:
                look()
    except FloatingPointError as error:
        if not str(error).startswith("the loss is"):
            raise
        raise FloatingPointError(
            f"fit: {error} in epoch {run.epoch}, batch {run.batch + 1}. Lower the learning rate, or look for inputs "
            "that are not finite."
        ) from None


def _check_objects(model: Any, loss: Any, optimizer: Any, loader: Any, schedule: Any) -> None:
    """Refuse what is of another kind."""
    for name, given, kind, wanted in (
        ("model", model, Module, "a Module"),
        ("optimizer", optimizer, Optimizer, "one of bp.optim's"),
        ("schedule", schedule, LRScheduler | None, "one of bp.optim.lr_scheduler's"),
    ):
        if not isinstance(given, kind):
            raise TypeError(f"fit: {name} is a {type(given).__name__}. Pass {wanted}.")
    if isinstance(loss, type):
        raise TypeError(f"fit: loss is the class {loss.__name__}. Make an instance: {loss.__name__}().")
    if schedule is not None and schedule.optimizer is not optimizer:
        raise ValueError("fit: the schedule is of another optimizer. Make it for this one.")
    if isinstance(loader, DataLoader) and len(loader.arrays) != 2:
        raise ValueError(f"fit: the loader is of {len(loader.arrays)} arrays. Make it of inputs and targets, (X, y).")


def _check(epochs: Any, validation: Any, clip_norm: Any, patience: Any, out: Any, snapshots: Any, resume: bool) -> None:
    """Refuse arguments that cannot be meant."""
    for name, value, least, what in (
        ("epochs", epochs, 1, "Train for at least 1"),
        ("patience", 1 if patience is None else patience, 1, "Wait for at least 1"),
        ("snapshots", snapshots, 0, "Keep some, or 0 for none"),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"fit: {name} is {value!r}, a {type(value).__name__}. Pass an integer >= {least}.")
        if value < least:
            raise ValueError(f"fit: {name} is {value}. {what}.")
    if validation is not None and not (isinstance(validation, (tuple, list)) and len(validation) == 2):
        raise TypeError(f"fit: validation is a {type(validation).__name__}. Pass a pair of inputs and targets, (X, y).")
    if clip_norm is not None:
        check_number("fit", "clip_norm", clip_norm, 0.0, math.inf)
    if resume and out is None:
        raise ValueError("fit: resume is True, but there is no run folder. Name it with out.")


def _step(model: Module, loss: Loss, optimizer: Optimizer, clip_norm: float | None) -> Step:
    """One mini-batch: what everyone writes."""

    def step(inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        outputs = model(inputs)
        cost = loss(outputs, targets)
        check_loss(cost.data)
        cost.backward()
        if clip_norm is not None:
            clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip_norm)
        optimizer.step()
        return cost, outputs

    return step


@value_check
def check_loss(cost: Any) -> None:
    """Refuse a loss that is not finite, before anything is written."""
    if not np.isfinite(cost).all():
        raise FloatingPointError(f"the loss is {cost}")


def _compiled(step: Step, run: Run) -> Step:
    """The step recorded and replayed, or from its first refusal on the step itself."""
    replay = compiled_step(step)

    def compiled(inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        nonlocal replay
        try:
            result: tuple[Tensor, Tensor] = replay(inputs, targets)
        except CompileError as error:
            _log.warning("fit: the step is not compiled, training is slower. %s", error)
            replay, run.eager = step, True
            result = step(inputs, targets)
        return result

    return compiled
