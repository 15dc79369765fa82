"""The training loop, written out.

`fit` is the loop everyone writes: for every mini-batch clear the gradients, run the model, compare with the targets,
walk back, step. Around those five lines it only counts: each epoch becomes one record of plain numbers, and the
records are the history. The five lines are compiled where they can be (:mod:`tinygrad_bp.compiler`). `evaluate` scores
a model on data without recording or changing anything. Neither prints or writes a file; what shows progress passes
`on_epoch`. The order of the rows and the initial weights come from seeds
held elsewhere (`DataLoader`, `bp.manual_seed`), so that the same seeds give the same history, bit for bit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..compiler.plan import CompileError
from ..compiler.step import compile as compiled_step
from ..nn.module import Module
from ..opaque import value_check
from ..optim.optimizers import Optimizer
from ..tensor import Tensor
from .scoring import Loss, Score, evaluate, score

__all__ = ["Record", "fit"]

Record = dict[str, Any]
Step = Callable[[Any, Any], tuple[Tensor, Tensor]]

_log = logging.getLogger("tinygrad_bp")


def fit(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    loader: Iterable[tuple[Any, ...]],
    epochs: int,
    test: tuple[Any, Any] | None = None,
    on_epoch: Callable[[Record], object] | None = None,
    compile: bool = True,
) -> list[Record]:
    """Train `model` in place for `epochs` passes over `loader`; returns one record per epoch.

    Parameters
    ----------
    loader
        Gives `(inputs, targets)` mini-batches each time it is iterated: a `DataLoader`, or a list of pairs.
    test
        Inputs and targets held out; the model is scored on them after every epoch.
    on_epoch
        Called with each record as soon as the epoch is over. What it raises ends the training.
    compile
        Whether to record the step once and replay it, which is faster. A model that cannot be recorded is trained
        eagerly, and the log of the package (``logging.getLogger("tinygrad_bp")``) says why.

    Returns
    -------
    list of dict
        `epoch` from 1, `loss` (mean over the rows, each counted with the weights it was trained on), `accuracy` where
        the targets are class labels, `test_loss` and `test_accuracy` where `test` is given, and `seconds` of the epoch.

    Raises
    ------
    ValueError
        Fewer than one epoch, or a loader that gives no batch.
    FloatingPointError
        The loss of a batch is not finite. The weights are those before that batch.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> x = np.array([[-1.0], [1.0]])
    >>> model = bp.nn.Linear(1, 1)
    >>> history = fit(model, bp.nn.MSELoss(), bp.optim.SGD(model.parameters(), lr=0.1), [(x, 3 * x)], epochs=50)
    >>> len(history), round(model.weight.item(), 3)
    (50, 3.0)
    """
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)):
        raise TypeError(f"fit: epochs is {epochs!r}, a {type(epochs).__name__}. Pass an integer >= 1.")
    if epochs < 1:
        raise ValueError(f"fit: epochs is {epochs}. Train for at least 1.")
    model.train()
    step = _step(model, loss, optimizer)
    if compile:
        step = _compiled(step)
    history: list[Record] = []
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        record: Record = {"epoch": epoch} | _metrics("", _total(_epoch(step, loss, loader, epoch)))
        if test is not None:
            record |= _metrics("test_", evaluate(model, loss, *test))
        record["seconds"] = time.perf_counter() - started
        history.append(record)
        if on_epoch is not None:
            on_epoch(record)
    return history


def _epoch(step: Step, loss: Loss, loader: Iterable[tuple[Any, ...]], epoch: int) -> list[Score]:
    """A step for every mini-batch; how the model did on each, with the weights before that step."""
    scores = []
    for batch, (inputs, targets) in enumerate(loader, start=1):
        try:
            cost, outputs = step(inputs, targets)
        except FloatingPointError as error:
            if not str(error).startswith("the loss is"):
                raise
            raise FloatingPointError(
                f"fit: {error} in epoch {epoch}, batch {batch}. Lower the learning rate, or look for inputs that "
                "are not finite."
            ) from None
        scores.append(score(loss, cost, outputs, targets))
    if not scores:
        raise ValueError(
            f"fit: the loader gave no batch in epoch {epoch}. Pass one that starts anew each time it is iterated."
        )
    return scores


def _step(model: Module, loss: Loss, optimizer: Optimizer) -> Step:
    """One mini-batch: what everyone writes."""

    def step(inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        outputs = model(inputs)
        cost = loss(outputs, targets)
        check_loss(cost.data)
        cost.backward()
        optimizer.step()
        return cost, outputs

    return step


@value_check
def check_loss(cost: Any) -> None:
    """Refuse a loss that is not finite, before anything is written."""
    if not np.isfinite(cost).all():
        raise FloatingPointError(f"the loss is {cost}")


def _compiled(step: Step) -> Step:
    """The step recorded and replayed, or from its first refusal on the step itself."""
    replay = compiled_step(step)

    def run(inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        nonlocal replay
        try:
            result: tuple[Tensor, Tensor] = replay(inputs, targets)
        except CompileError as error:
            _log.warning("fit: the step is not compiled, training is slower. %s", error)
            replay = step
            result = step(inputs, targets)
        return result

    return run


def _total(scores: list[Score]) -> Score:
    rows = sum(score.rows for score in scores)
    correct = [score.correct for score in scores if score.correct is not None]
    return Score(
        sum(score.loss * score.rows for score in scores) / rows,
        rows,
        sum(correct) if len(correct) == len(scores) else None,
    )


def _metrics(prefix: str, score: Score) -> Record:
    metrics = {f"{prefix}loss": score.loss}
    if score.accuracy is not None:
        metrics[f"{prefix}accuracy"] = score.accuracy
    return metrics
