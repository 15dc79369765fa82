"""A model on data, without recording and without changing anything: its outputs, how good they are, probabilities.

Everything runs in eval mode and goes through the model in chunks of rows, so that large data needs no large
activations; the modes are put back. Data may be arrays, tensors, or whatever else the model takes, which is passed on
as a whole. Nothing here prints, draws or writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..nn import functional as F
from ..nn.module import Module
from ..recipe import no_grad
from ..tensor import Tensor, as_array
from .metrics import Function, Loss, Metric, chosen, usual

__all__ = ["evaluate", "predict", "probabilities", "require_fit", "summed"]

ROWS = 256  # in a chunk


def evaluate(
    model: Module, loss: Loss, X: Any, y: Any, metrics: Sequence[str | Metric | Function] | None = None
) -> dict[str, Any]:
    """The loss, the metrics and the number of rows: ``{"loss": 0.1, "accuracy": 0.97, "rows": 360}``.

    Parameters
    ----------
    X, y
        Inputs and targets, a row a sample.
    metrics
        Names, :class:`~tinygrad_bp.training.Metric` objects or functions of outputs and targets; left out, accuracy
        where the targets are classes.

    Returns
    -------
    dict
        "loss" is that of all rows together; of a loss with ``reduction="sum"`` it is divided by the rows.

    Raises
    ------
    ValueError
        A metric that is unknown or does not fit the targets.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> evaluate(bp.nn.Identity(), bp.nn.MSELoss(), bp.ones(4, 1), 3 * bp.ones(4, 1), ["mae"])
    {'loss': 4.0, 'mae': 2.0, 'rows': 4}
    """
    asked = None if metrics is None else chosen(metrics, loss, "evaluate")
    outputs, targets = predict(model, X), as_array(y)
    if not len(outputs):
        raise ValueError("evaluate: X has no rows. Pass at least one.")
    with no_grad():
        cost = loss(Tensor(outputs), y).item()
    if asked is None:
        asked = usual(loss, outputs, targets)
    require_fit("evaluate", asked, outputs, targets)
    found = {metric.name: float(metric.value(metric.sums(outputs, targets))) for metric in asked}
    return {"loss": cost / len(outputs) if summed(loss) else cost, **found, "rows": len(outputs)}


def predict(model: Module, X: Any) -> NDArray[Any]:
    """The outputs of the model for all rows of X, as one array.

    Raises
    ------
    ValueError
        The model does not give a row for every row.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> model = bp.nn.Linear(3, 2)
    >>> outputs = predict(model, np.ones((1000, 3)))
    >>> type(outputs).__name__, outputs.shape
    ('ndarray', (1000, 2))
    """
    if isinstance(X, Tensor):
        X = X.data
    with _eval_mode(model), no_grad():
        if not isinstance(X, np.ndarray) or X.ndim < 2 or len(X) <= ROWS:
            return as_array(model(X))
        chunks = [X[start : start + ROWS] for start in range(0, len(X), ROWS)]
        outputs = [as_array(model(chunk)) for chunk in chunks]
    for chunk, given in zip(chunks, outputs):
        if given.shape[:1] != chunk.shape[:1]:
            raise ValueError(
                f"predict: the model gave shape {given.shape} for {len(chunk)} rows. "
                "Let it give one row for each; a row is a sample."
            )
    return np.concatenate(outputs)


def probabilities(loss: Loss, outputs: Any) -> NDArray[Any]:
    """What outputs of a model trained with `loss` say, as probabilities.

    softmax(x) for CrossEntropyLoss, exp(x) for NLLLoss, sigmoid(x) for BCEWithLogitsLoss, x for BCELoss.

    Raises
    ------
    ValueError
        Another loss.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> probabilities(bp.nn.CrossEntropyLoss(), [[0.0, 0.0, 0.0, 0.0]])
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    function = getattr(loss, "function", loss)
    if function not in _PROBABILITIES:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise ValueError(
            f"probabilities: the outputs of a model trained with {name} are none. "
            "Train with CrossEntropyLoss, NLLLoss, BCEWithLogitsLoss or BCELoss."
        )
    return _PROBABILITIES[function](as_array(outputs))


_PROBABILITIES: dict[Any, Callable[[NDArray[Any]], NDArray[Any]]] = {
    F.cross_entropy: lambda x: np.asarray(ops.softmax(x, min(1, x.ndim - 1))),
    F.nll_loss: np.exp,
    F.binary_cross_entropy_with_logits: lambda x: np.asarray(ops.sigmoid(x)),
    F.binary_cross_entropy: lambda x: x,
}


@contextmanager
def _eval_mode(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def summed(loss: Loss) -> bool:
    """Whether a loss is the sum of its rows, not their mean."""
    return getattr(loss, "reduction", "mean") == "sum"


def require_fit(operation: str, metrics: Sequence[Metric], outputs: NDArray[Any], targets: NDArray[Any]) -> None:
    """Refuse a metric that is not for such outputs and targets."""
    for metric in metrics:
        if misfit := metric.misfit(outputs, targets):
            raise ValueError(
                f"{operation}: {metric.name} {misfit}; the outputs have shape {outputs.shape}, the targets "
                f"{targets.shape} and dtype {targets.dtype}. Choose another metric."
            )
