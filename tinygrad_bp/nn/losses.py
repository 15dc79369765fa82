"""The losses as modules: built once with their reduction, called with (input, target).

Each holds one function of :mod:`~tinygrad_bp.nn.functional`, where the formulas, shapes and errors are written, and its
settings as attributes. `reduction` is "mean" (over entries, or over rows where a loss belongs to a row), "sum", or
"none". A weight becomes a buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from ..tensor import Tensor
from . import functional as F
from .functional.accepted import IGNORED, as_input, check_loss, check_reduction
from .module import Module

# fmt: off
__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "L1Loss", "MSELoss", "NLLLoss", "QuadraticLoss",
    "SmoothL1Loss",
]
# fmt: on

Reduction = Literal["mean", "sum", "none"]


class _Loss(Module):
    function: ClassVar[Callable[..., Any]]

    def __init__(self, reduction: Reduction = "mean") -> None:
        check_reduction(type(self).__name__, reduction, ())
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        others = ("training", "forward")  # forward is there while record_calls looks on
        settings = {name: value for name, value in vars(self).items() if name not in others}
        return type(self).function(input, target, **settings)

    def _set(self, **settings: Any) -> None:
        check_loss(type(self).__name__, **settings)
        vars(self).update(settings)

    def _weight(self, role: str, weight: Any) -> Tensor | None:
        """A weight as a buffer."""
        return None if weight is None else Tensor(as_input(type(self).__name__, role, weight))


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


class HuberLoss(_Loss):
    """mean(d^2 / 2) where abs(d) <= delta, else delta * (abs(d) - delta / 2), of d = a - y.

    >>> import tinygrad_bp as bp
    >>> HuberLoss()(bp.tensor([1.0, -3.0]), [0.0, 0.0])
    tensor(1.5)
    """

    function = staticmethod(F.huber_loss)

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self._set(delta=delta)


class SmoothL1Loss(_Loss):
    """The Huber loss divided by its `beta`.

    >>> import tinygrad_bp as bp
    >>> SmoothL1Loss(beta=2.0)(bp.tensor([1.0, -3.0]), [0.0, 0.0])
    tensor(1.125)
    """

    function = staticmethod(F.smooth_l1_loss)

    def __init__(self, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self._set(beta=beta)


class BCELoss(_Loss):
    """mean(-y log(p) - (1 - y) log(1 - p)) for probabilities p.

    >>> import tinygrad_bp as bp
    >>> BCELoss()(bp.tensor([0.5, 0.5]), [1.0, 0.0])
    tensor(0.69314718)
    """

    function = staticmethod(F.binary_cross_entropy)

    def __init__(self, weight: Any = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.weight = self._weight("weight", weight)


class BCEWithLogitsLoss(_Loss):
    """The binary cross-entropy of sigmoid(x), from the logits x.

    >>> import tinygrad_bp as bp
    >>> BCEWithLogitsLoss()(bp.tensor([0.0, -10000.0]), [1.0, 0.0])
    tensor(0.34657359)
    """

    function = staticmethod(F.binary_cross_entropy_with_logits)

    def __init__(self, weight: Any = None, reduction: Reduction = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.weight = self._weight("weight", weight)
        self.pos_weight = self._weight("pos_weight", pos_weight)


class CrossEntropyLoss(_Loss):
    """mean(-log(softmax(x)[label])) from logits x, (n, classes).

    >>> import tinygrad_bp as bp
    >>> CrossEntropyLoss()(bp.tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, 0])
    tensor(0.34657359)
    """

    function = staticmethod(F.cross_entropy)

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = IGNORED,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight = self._weight("weight", weight)
        self._set(ignore_index=ignore_index, label_smoothing=label_smoothing)


class NLLLoss(_Loss):
    """mean(-x[label]) from log-probabilities x, (n, classes).

    >>> import tinygrad_bp as bp
    >>> NLLLoss()(bp.nn.LogSoftmax()(bp.zeros(1, 2)), [0])
    tensor(0.69314718)
    """

    function = staticmethod(F.nll_loss)

    def __init__(self, weight: Any = None, ignore_index: int = IGNORED, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.weight = self._weight("weight", weight)
        self._set(ignore_index=ignore_index)
