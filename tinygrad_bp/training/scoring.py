"""How a model does on some rows: without recording and without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..nn.module import Module
from ..recipe import no_grad
from ..tensor import Tensor

__all__ = ["Loss", "Score", "evaluate", "score"]

Loss = Callable[[Tensor, Any], Tensor]


class Score(NamedTuple):
    """How a model did on some rows; `correct` is None where the targets are not class labels."""

    loss: float
    rows: int
    correct: int | None

    @property
    def accuracy(self) -> float | None:
        """correct / rows"""
        return None if self.correct is None else self.correct / self.rows


def evaluate(model: Module, loss: Loss, inputs: ArrayLike | Tensor, targets: ArrayLike | Tensor) -> Score:
    """The loss and the number of rows classified right, in eval mode and without recording; the modes are put back.

    >>> import tinygrad_bp as bp
    >>> evaluate(bp.nn.Identity(), bp.nn.MSELoss(), bp.ones(4, 1), bp.zeros(4, 1))
    Score(loss=1.0, rows=4, correct=None)
    """
    with _eval_mode(model), no_grad():
        outputs = model(inputs)
        return score(loss, loss(outputs, targets), outputs, targets)


@contextmanager
def _eval_mode(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def score(loss: Loss, cost: Tensor, outputs: Tensor, targets: Any) -> Score:
    rows = len(outputs)
    summed = getattr(loss, "reduction", "mean") == "sum"
    labels = np.asarray(targets)
    classes = outputs.ndim == 2 and labels.ndim == 1 and labels.dtype.kind in "iu"
    correct = int(np.count_nonzero(np.asarray(np.argmax(outputs, axis=1)) == labels)) if classes else None
    return Score(cost.item() / rows if summed else cost.item(), rows, correct)
