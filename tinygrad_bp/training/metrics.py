"""What is reported beside the loss: numbers that add up over mini-batches.

A :class:`Metric` turns outputs and targets into a few sums, and the sums of all batches into one number; so a batch
is looked at once, and a run can stop in the middle of an epoch and go on. `METRICS` are those that can be named.
Metrics see arrays, never tensors, and know nothing of losses but what `of` asks: how outputs become classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn import functional as F
from ..nn.functional.accepted import IGNORED
from ..spelling import did_you_mean

__all__ = ["METRICS", "Loss", "Mean", "Metric", "chosen", "nearest", "usual"]

Array = NDArray[Any]
Loss = Callable[[Any, Any], Any]
Function = Callable[[Array, Array], Any]

_TAKEN = ("epoch", "lr", "loss", "rows", "seconds")  # keys of a record that are no metric


class Metric:
    """The base: a subclass says which sums of a batch are added up, and what they mean.

    Attributes
    ----------
    name
        Its key in the records: the name of the class in small letters, unless set.
    higher_is_better
        Whether an improvement is a higher number.

    Examples
    --------
    >>> class Within(Metric):
    ...     '''The share of the outputs that are at most 0.5 off.'''
    ...     def sums(self, outputs, targets):
    ...         return np.array([np.count_nonzero(abs(outputs - targets) <= 0.5), outputs.size])
    ...     def value(self, sums):
    ...         return float(sums[0] / sums[1])
    >>> within = Within()
    >>> within.name, within.value(within.sums(np.array([1.0, 2.0]), np.array([1.0, 3.0])))
    ('within', 0.5)
    """

    higher_is_better = True

    @property
    def name(self) -> str:
        """Its key in the records."""
        return type(self).__name__.lower()

    def sums(self, outputs: Array, targets: Array) -> Array:
        """A few numbers in an array (m,), which are added up over the batches of an epoch; every subclass defines it.

        Parameters
        ----------
        outputs, targets
            Of one batch, a row a sample.
        """
        raise NotImplementedError(f"{type(self).__name__}: has no sums. Define sums(self, outputs, targets).")

    def value(self, sums: Array) -> float:
        """The metric, from the sums of all batches together; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__}: has no value. Define value(self, sums).")

    def of(self, loss: Loss) -> Metric:
        """The same for the outputs of a model that is trained with this loss."""
        return self

    def misfit(self, outputs: Array, targets: Array) -> str:
        """Why it is not for such outputs and targets, which may be more rows, in words; "" if it is."""
        return ""


class Mean(Metric):
    """f(outputs, targets), one number a batch, averaged over the rows; its name is the function's.

    >>> def bias(outputs, targets):
    ...     return (outputs - targets).mean()
    >>> metric = Mean(bias, higher_is_better=False)
    >>> metric.name, metric.value(metric.sums(np.array([1.0, 2.0]), np.array([1.0, 3.0])))
    ('bias', -0.5)
    """

    def __init__(self, function: Function, higher_is_better: bool = True) -> None:
        self.function, self.higher_is_better = function, higher_is_better

    @property
    def name(self) -> str:
        """The function's."""
        return str(getattr(self.function, "__name__", "metric"))

    def sums(self, outputs: Array, targets: Array) -> Array:
        """[sum of f over the rows, rows]"""
        rows = len(targets)
        return np.array([float(self.function(outputs, targets)) * rows, rows])

    def value(self, sums: Array) -> float:
        """sum of f / rows"""
        return float(sums[0] / sums[1])


# ---- of classes --------------------------------------------------------------------------------------------


class _OfClasses(Metric):
    """Targets are labels (n,), one-hot rows (n, k), or a column (n, 1) of 0 and 1; outputs are scores.

    Parameters
    ----------
    threshold
        An output of a column above it says 1.
    ignored
        The label that does not count.
    """

    def __init__(self, threshold: float = 0.5, ignored: int | None = None) -> None:
        self.threshold, self.ignored = threshold, ignored

    def of(self, loss: Loss) -> Metric:
        """Logits are above 0 where their probabilities are above 0.5; a loss may leave a label out."""
        function = getattr(loss, "function", loss)
        ignored = IGNORED if function in (F.cross_entropy, F.nll_loss) else None
        logits = function is F.binary_cross_entropy_with_logits
        return type(self)(0.0 if logits else 0.5, getattr(loss, "ignore_index", ignored))

    def misfit(self, outputs: Array, targets: Array) -> str:
        return (
            ""
            if _are_classes(outputs, targets, self.ignored)
            else "needs class labels (n,) >= 0, one-hot rows (n, k) or a column (n, 1) of 0 and 1"
        )

    def _classes(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Predicted and true classes."""
        if targets.ndim < outputs.ndim:
            predicted = outputs.argmax(1)
            if self.ignored is not None:
                counts = targets != self.ignored
                if np.count_nonzero(counts) < counts.size:
                    return predicted[counts], targets[counts]
            return predicted, targets
        if outputs.ndim == 2 and outputs.shape[1] > 1:
            return outputs.argmax(1), targets.argmax(1)
        return outputs > self.threshold, targets > 0.5


class Accuracy(_OfClasses):
    """The share of the rows classified right.

    >>> accuracy = Accuracy()
    >>> accuracy.value(accuracy.sums(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1])))
    0.6666666666666666
    """

    def sums(self, outputs: Array, targets: Array) -> Array:
        """[right, counted]"""
        predicted, true = self._classes(outputs, targets)
        return np.array([np.count_nonzero(predicted == true), true.size])

    def value(self, sums: Array) -> float:
        """right / counted"""
        return float(sums[0] / sums[1]) if sums[1] else math.nan


class F1(_OfClasses):
    """2 right / (predicted + true) of every class, averaged over the classes that were met (macro average).

    Of a column of 0 and 1, both are classes.

    >>> f1 = F1()
    >>> f1.value(f1.sums(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1])))
    0.6666666666666666
    """

    def sums(self, outputs: Array, targets: Array) -> Array:
        """For every class how often it was right, then how often it was predicted and how often it was true."""
        predicted, true = (classes.reshape(-1).astype(int) for classes in self._classes(outputs, targets))
        k = outputs.shape[1] if outputs.ndim > 1 and outputs.shape[1] > 1 else 2
        right, *met = (np.bincount(x, minlength=k) for x in (true[predicted == true], predicted, true))
        return np.concatenate([right, met[0] + met[1]])

    def value(self, sums: Array) -> float:
        """mean(2 right / (predicted + true))"""
        right, met = np.split(sums, 2)
        return float((2.0 * right[met > 0] / met[met > 0]).mean()) if met.any() else math.nan


# ---- of numbers --------------------------------------------------------------------------------------------


class _OfNumbers(Metric):
    """Outputs and targets have the same shape."""

    higher_is_better = False

    def misfit(self, outputs: Array, targets: Array) -> str:
        return "" if _alike(outputs, targets) else "compares numbers, entry by entry"


class MAE(_OfNumbers):
    """mean(abs(a - y)) over all entries.

    >>> mae = MAE()
    >>> mae.value(mae.sums(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    1.0
    """

    def sums(self, outputs: Array, targets: Array) -> Array:
        """[sum of the errors, entries]"""
        return np.array([np.abs(outputs - targets).sum(dtype=float), targets.size])

    def value(self, sums: Array) -> float:
        """errors / entries"""
        return float(sums[0] / sums[1])


class RMSE(_OfNumbers):
    """sqrt(mean((a - y)^2)) over all entries.

    >>> rmse = RMSE()
    >>> round(rmse.value(rmse.sums(np.array([1.0, 3.0]), np.array([1.0, 1.0]))), 6)
    1.414214
    """

    def sums(self, outputs: Array, targets: Array) -> Array:
        """[sum of the squared errors, entries]"""
        return np.array([np.square(outputs - targets).sum(dtype=float), targets.size])

    def value(self, sums: Array) -> float:
        """sqrt(errors / entries)"""
        return math.sqrt(sums[0] / sums[1])


class R2(_OfNumbers):
    """1 - sum((a - y)^2) / sum((y - mean(y))^2), of every column, averaged over those of y that vary; nan if none does.

    >>> r2 = R2()
    >>> r2.value(r2.sums(np.array([[1.0], [2.5]]), np.array([[1.0], [3.0]])))
    0.875
    """

    higher_is_better = True

    def sums(self, outputs: Array, targets: Array) -> Array:
        """[rows, then for every column the sums of y, of y^2 and of (a - y)^2]"""
        y = targets.reshape(len(targets), math.prod(targets.shape[1:])).astype(float)
        error = outputs.reshape(y.shape) - y
        return np.concatenate([[len(y)], y.sum(0), np.square(y).sum(0), np.square(error).sum(0, dtype=float)])

    def value(self, sums: Array) -> float:
        """mean(1 - errors / (squares - total^2 / rows))"""
        total, squares, errors = np.split(sums[1:], 3)
        spread = squares - total**2 / sums[0]
        varies = spread > 1e-14 * squares  # the rest is rounding
        return float((1.0 - errors[varies] / spread[varies]).mean()) if varies.any() else math.nan


# ---- which -------------------------------------------------------------------------------------------------

METRICS: dict[str, Metric | Function] = {metric.name: metric for metric in (Accuracy(), F1(), MAE(), RMSE(), R2())}
"""The metrics that can be named, among them those that were registered: a Metric, or a function as of `Mean`."""


def chosen(metrics: Sequence[str | Metric | Function], loss: Loss, operation: str) -> list[Metric]:
    """The metrics meant by names, Metrics and functions, for a model that is trained with `loss`.

    Raises
    ------
    ValueError
        A name that is unknown, or that two of them have; in the name of `operation`.
    TypeError
        Something that is no metric.

    >>> [metric.name for metric in chosen(["accuracy", max], F.cross_entropy, "fit")]
    ['accuracy', 'max']
    """
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise TypeError(f'{operation}: metrics is {metrics!r}. Pass a list, such as ["accuracy"].')
    found: dict[str, Metric] = {}
    for given in metrics:
        if isinstance(given, str) and given not in METRICS:
            raise ValueError(f'{operation}: there is no metric "{given}".{nearest(given, METRICS)}')
        metric = METRICS[given] if isinstance(given, str) else given
        if isinstance(metric, type) or not (isinstance(metric, Metric) or callable(metric)):
            raise TypeError(
                f"{operation}: {metric!r} is no metric. Pass a name, a Metric or a function of outputs and targets."
            )
        metric = (metric if isinstance(metric, Metric) else Mean(metric)).of(loss)
        if metric.name in found or metric.name in _TAKEN or metric.name.startswith("val_"):
            raise ValueError(f'{operation}: the name "{metric.name}" of a metric is taken. Give each one of its own.')
        found[metric.name] = metric
    return list(found.values())


def usual(loss: Loss, outputs: Array, targets: Array) -> list[Metric]:
    """Accuracy where the targets are classes, else nothing."""
    accuracy = Accuracy().of(loss)
    return [] if accuracy.misfit(outputs, targets) else [accuracy]


def _are_classes(outputs: Array, targets: Array, ignored: int | None) -> bool:
    """Labels, one-hot rows, or a column of 0 and 1."""
    if outputs.ndim == targets.ndim + 1 > 1:
        if targets.dtype.kind not in "iu" or targets.shape[1:] != outputs.shape[2:] or outputs.shape[1] == 1:
            return False
        return bool(((targets >= 0) | (targets == ignored)).all())
    if not _alike(outputs, targets) or not 0 < targets.ndim <= 2 or not np.isin(targets, (0, 1)).all():
        return False
    column = targets.ndim == 1 or targets.shape[1] == 1
    return column or bool((targets.sum(1) == 1).all())


def _alike(outputs: Array, targets: Array) -> bool:
    """Whether rows of both have the same shape."""
    return outputs.ndim == targets.ndim and outputs.shape[1:] == targets.shape[1:]


def nearest(word: str, choices: Collection[str]) -> str:
    """' Did you mean ...?', or all choices where nothing is near."""
    return did_you_mean(word, choices, '"{}"'.format) or f" Choose {', '.join(choices)}."
