"""The losses, (input, target, reduction), spelled as in PyTorch.

Each is a thin name over rows of the table; what it accepts as a target is said in
:mod:`~tinygrad_bp.nn.functional.accepted`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from .accepted import (
    as_input,
    check_distributions,
    check_labels,
    check_rows,
    check_unit,
    input_and_target,
    raw,
)

# fmt: off
__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "l1_loss", "mse_loss", "nll_loss",
    "quadratic_loss",
]
# fmt: on


def quadratic_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """sum((a - y)^2) / (2n) over n rows: the quadratic cost of Nielsen's book, equation (6).

    `reduction="sum"` does not divide by n, `"none"` gives the cost of each row. Shapes must be equal.

    >>> import tinygrad_bp as bp
    >>> quadratic_loss(bp.tensor([[1.0, 2.0], [3.0, 4.0]]), bp.zeros(2, 2))
    tensor(7.5)
    """
    input, target = input_and_target("quadratic_loss", input, target, reduction)
    if input.shape == ():
        raise ValueError("quadratic_loss: a number has no rows to average over. Pass an input of at least one axis.")
    return ops.quadratic_loss(input, target, reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean((a - y)^2) over all entries. Shapes must be equal.

    >>> import tinygrad_bp as bp
    >>> mse_loss(bp.tensor([1.0, 3.0]), [0.0, 0.0])
    tensor(5.)
    """
    input, target = input_and_target("mse_loss", input, target, reduction)
    return ops.mse_loss(input, target, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean(abs(a - y)) over all entries. Shapes must be equal.

    >>> import tinygrad_bp as bp
    >>> l1_loss(bp.tensor([1.0, -3.0]), [0.0, 0.0])
    tensor(2.)
    """
    input, target = input_and_target("l1_loss", input, target, reduction)
    return _reduced(ops.absolute(ops.subtract(input, target)), reduction)


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean(-y log(p) - (1 - y) log(1 - p)) over all entries, for probabilities p and targets y in [0, 1].

    A logarithm counts at least -100, as in PyTorch, so that a certain and wrong answer costs 100 and not infinity;
    below that the cost is flat. From logits, :func:`binary_cross_entropy_with_logits` is exact everywhere.

    >>> import tinygrad_bp as bp
    >>> binary_cross_entropy(bp.tensor([0.5, 0.0]), [1.0, 1.0], reduction="none")
    tensor([  0.69314718, 100.        ])
    """
    input, target = input_and_target("binary_cross_entropy", input, target, reduction)
    check_unit("binary_cross_entropy", "input", raw(input))
    check_unit("binary_cross_entropy", "target", raw(target))
    with np.errstate(divide="ignore"):
        log_p, log_q = ops.log(input), ops.log1p(ops.negative(input))
    hits = ops.multiply(target, ops.maximum(log_p, -100.0))
    misses = ops.multiply(ops.subtract(1.0, target), ops.maximum(log_q, -100.0))
    return _reduced(ops.negative(ops.add(hits, misses)), reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Any:
    """The binary cross-entropy of sigmoid(x), exact for any logit x; targets in [0, 1], of the same shape.

    >>> import tinygrad_bp as bp
    >>> binary_cross_entropy_with_logits(bp.tensor([0.0, -10000.0]), [1.0, 1.0], reduction="none")
    tensor([6.93147181e-01, 1.00000000e+04])
    """
    input, target = input_and_target("binary_cross_entropy_with_logits", input, target, reduction)
    check_unit("binary_cross_entropy_with_logits", "target", raw(target))
    return ops.binary_cross_entropy_with_logits(input, target, reduction)


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean(-log(softmax(x)[label])) over n rows of logits x.

    Parameters
    ----------
    input
        Logits, (n, classes).
    target
        Labels, integers (n,) from 0 to classes - 1; or probabilities, (n, classes), each row a distribution.
    reduction
        "mean" divides by n, "sum" adds, "none" gives (n,).

    Raises
    ------
    TypeError
        Labels that are not integers.
    ValueError
        Shapes that do not fit, a label that is no class, rows that are no distribution, the mean of an empty batch.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> cross_entropy(bp.tensor([[0.0, 0.0], [1000.0, 0.0]]), [0, 1], reduction="none")
    tensor([6.93147181e-01, 1.00000000e+03])
    """
    input, target = as_input("cross_entropy", "input", input), as_input("cross_entropy", "target", target)
    logits, values = raw(input), raw(target)
    check_rows("cross_entropy", logits, reduction)
    if values.shape == logits.shape:
        check_distributions("cross_entropy", values)
    else:
        check_labels("cross_entropy", values, logits.shape, f" or probabilities {logits.shape}")
    return ops.cross_entropy(input, target, reduction)


def nll_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean(-x[label]) over n rows of log-probabilities x, (n, classes); labels are integers (n,).

    >>> import numpy as np, tinygrad_bp as bp
    >>> nll_loss(bp.tensor(np.log([[0.25, 0.75], [0.5, 0.5]])), [1, 0], reduction="none")
    tensor([0.28768207, 0.69314718])
    """
    input, target = as_input("nll_loss", "input", input), as_input("nll_loss", "target", target)
    values, labels = raw(input), raw(target)
    check_rows("nll_loss", values, reduction)
    check_labels("nll_loss", labels, values.shape, "")
    picked = ops.getitem(input, (np.arange(len(labels)), labels))
    return _reduced(ops.negative(picked), reduction)


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)
