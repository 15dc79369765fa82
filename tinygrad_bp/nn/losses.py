"""The losses as modules: built once with their reduction, called with (input, target).

Each holds one function of :mod:`~tinygrad_bp.nn.functional`, where the formulas, shapes and errors are written.
`reduction` is "mean" (over entries, or over rows where a loss belongs to a row), "sum", or "none".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from . import functional as F
from .functional.accepted import REDUCTIONS
from .module import Module

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "L1Loss", "MSELoss", "NLLLoss", "QuadraticLoss"]


class _Loss(Module):
    function: ClassVar[Callable[[Any, Any, str], Any]]

    def __init__(self, reduction: Literal["mean", "sum", "none"] = "mean") -> None:
        if reduction not in REDUCTIONS:
            name = type(self).__name__
            raise ValueError(f'{name}: reduction is {reduction!r}. Choose "mean", "sum" or "none".')
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return type(self).function(input, target, self.reduction)


class QuadraticLoss(_Loss):
    """sum((a - y)^2) / (2n) over n rows.

    >>> import tinygrad_bp as bp
    >>> QuadraticLoss()(bp.tensor([[1.0, 2.0], [3.0, 4.0]]), bp.zeros(2, 2))
    tensor(7.5)
    """

    function = staticmethod(F.quadratic_loss)


class MSELoss(_Loss):
    """mean((a - y)^2).

    >>> import tinygrad_bp as bp
    >>> MSELoss(reduction="sum")(bp.tensor([1.0, 3.0]), [0.0, 0.0])
    tensor(10.)
    """

    function = staticmethod(F.mse_loss)


class L1Loss(_Loss):
    """mean(abs(a - y)).

    >>> import tinygrad_bp as bp
    >>> L1Loss()(bp.tensor([1.0, -3.0]), [0.0, 0.0])
    tensor(2.)
    """

    function = staticmethod(F.l1_loss)


class BCELoss(_Loss):
    """mean(-y log(p) - (1 - y) log(1 - p)) for probabilities p.

    >>> import tinygrad_bp as bp
    >>> BCELoss()(bp.tensor([0.5, 0.5]), [1.0, 0.0])
    tensor(0.69314718)
    """

    function = staticmethod(F.binary_cross_entropy)


class BCEWithLogitsLoss(_Loss):
    """The binary cross-entropy of sigmoid(x), from the logits x.

    >>> import tinygrad_bp as bp
    >>> BCEWithLogitsLoss()(bp.tensor([0.0, -10000.0]), [1.0, 0.0])
    tensor(0.34657359)
    """

    function = staticmethod(F.binary_cross_entropy_with_logits)


class CrossEntropyLoss(_Loss):
    """mean(-log(softmax(x)[label])) from logits x, (n, classes).

    >>> import tinygrad_bp as bp
    >>> CrossEntropyLoss()(bp.tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, 0])
    tensor(0.34657359)
    """

    function = staticmethod(F.cross_entropy)


class NLLLoss(_Loss):
    """mean(-x[label]) from log-probabilities x, (n, classes).

    >>> import tinygrad_bp as bp
    >>> NLLLoss()(bp.nn.LogSoftmax()(bp.zeros(1, 2)), [0])
    tensor(0.69314718)
    """

    function = staticmethod(F.nll_loss)
