"""The losses of an input and a target, spelled as in PyTorch.

Each is a thin name over rows of the table; what it accepts as a target is said in
:mod:`~tinygrad_bp.nn.functional.accepted`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from .accepted import (
    IGNORED,
    as_input,
    as_weight,
    check_classes,
    check_distributions,
    check_labels,
    check_loss,
    check_shares,
    check_unit,
    input_and_target,
    raw,
    which_count,
)

# fmt: off
__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "l1_loss", "mse_loss",
    "nll_loss", "quadratic_loss", "smooth_l1_loss",
]
# fmt: on

# ---- of entries --------------------------------------------------------------------------------------------


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


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """mean(d^2 / 2) where abs(d) <= delta, else delta * (abs(d) - delta / 2), of d = a - y (Huber, 1964).

    >>> import tinygrad_bp as bp
    >>> huber_loss(bp.tensor([1.0, -3.0]), [0.0, 0.0], reduction="none", delta=2.0)
    tensor([0.5, 4. ])
    """
    input, target = input_and_target("huber_loss", input, target, reduction)
    check_loss("huber_loss", delta=delta)
    return _reduced(_huber(input, target, delta), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """The Huber loss divided by its `beta`: slope 1 far out, and for `beta` 0 the L1 loss (Girshick, 2015).

    >>> import tinygrad_bp as bp
    >>> smooth_l1_loss(bp.tensor([1.0, -3.0]), [0.0, 0.0], reduction="none", beta=2.0)
    tensor([0.25, 2.  ])
    """
    input, target = input_and_target("smooth_l1_loss", input, target, reduction)
    check_loss("smooth_l1_loss", beta=beta)
    if not beta:
        return l1_loss(input, target, reduction)
    return _reduced(ops.divide(_huber(input, target, beta), beta), reduction)


def _huber(input: Any, target: Any, delta: float) -> Any:
    d = ops.subtract(input, target)
    slope = ops.clip(d, -delta, delta)
    return ops.multiply(slope, ops.subtract(d, ops.multiply(0.5, slope)))


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """mean(-y log(p) - (1 - y) log(1 - p)) over all entries, for probabilities p and targets y in [0, 1].

    As in PyTorch a logarithm counts at least -100 and a slope at most 1e12, so that a certain and wrong answer costs
    100 and not infinity, and still learns. `weight`, of a shape that broadcasts to the input's, multiplies the entries;
    the mean divides by their number all the same. From logits, :func:`binary_cross_entropy_with_logits` is exact
    everywhere.

    >>> import tinygrad_bp as bp
    >>> binary_cross_entropy(bp.tensor([0.5, 0.0]), [1.0, 1.0], reduction="none")
    tensor([  0.69314718, 100.        ])
    """
    name = "binary_cross_entropy"
    input, target = input_and_target(name, input, target, reduction)
    check_unit(name, "input", raw(input))
    check_unit(name, "target", raw(target))
    return _reduced(_weighted(name, ops.binary_cross_entropy(input, target), weight, input), reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """The binary cross-entropy of sigmoid(x), exact for any logit x; targets in [0, 1], of the same shape.

    `weight` multiplies the entries, `pos_weight` what the targets y contribute (not what 1 - y does); both have shapes
    that broadcast to the input's. The mean divides by the number of entries all the same.

    >>> import tinygrad_bp as bp
    >>> binary_cross_entropy_with_logits(bp.tensor([0.0, -10000.0]), [1.0, 1.0], reduction="none")
    tensor([6.93147181e-01, 1.00000000e+04])
    """
    name = "binary_cross_entropy_with_logits"
    input, target = input_and_target(name, input, target, reduction)
    check_unit(name, "target", raw(target))
    if weight is None and pos_weight is None:
        return ops.binary_cross_entropy_with_logits(input, target, reduction)
    if pos_weight is None:
        losses = ops.binary_cross_entropy_with_logits(input, target, "none")
    else:
        of_hits = as_weight(name, "pos_weight", pos_weight, input)
        hits = ops.multiply(ops.multiply(of_hits, target), ops.log_sigmoid(input))
        misses = ops.multiply(ops.subtract(1.0, target), ops.log_sigmoid(ops.negative(input)))
        losses = ops.negative(ops.add(hits, misses))
    return _reduced(_weighted(name, losses, weight, input), reduction)


def _weighted(name: str, losses: Any, weight: Any, input: Any) -> Any:
    return losses if weight is None else ops.multiply(losses, as_weight(name, "weight", weight, input))


# ---- of classes --------------------------------------------------------------------------------------------


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """mean(-log(softmax(x)[label])) over n rows of logits x.

    Parameters
    ----------
    input
        Logits: (n, classes), (n, classes, d1, ...), or (classes,) for one sample.
    target
        Labels, integers of the input's shape without its axis of classes, from 0 to classes - 1; or probabilities of
        the input's shape, distributions along that axis.
    weight
        One number >= 0 for each class, which multiplies what a sample of that class costs.
    ignore_index
        Samples of this label cost nothing and do not count. A compiled step leaves out labels of -100 only if it is
        told another number: with -100 it refuses them.
    reduction
        "mean", "sum" or "none", which gives the labels' shape. The mean of labels divides by the weights of those that
        count, the mean of probabilities by the number of samples, as in PyTorch.
    label_smoothing
        The share of each target that is spread evenly over all classes, from 0 to 1 (Szegedy et al., 2016).

    Raises
    ------
    TypeError
        Labels that are not integers.
    ValueError
        Shapes that do not fit, a label that is no class, rows that are no distribution, weights below 0, the mean of
        an empty batch or of one that is left out as a whole (in PyTorch nan).

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> cross_entropy(bp.tensor([[0.0, 0.0], [1000.0, 0.0]]), [0, 1], reduction="none")
    tensor([6.93147181e-01, 1.00000000e+03])
    >>> cross_entropy(bp.tensor([[0.0, 0.0], [1000.0, 0.0]]), [0, -1], ignore_index=-1)
    tensor(0.69314718)
    """
    name = "cross_entropy"
    check_loss(name, ignore_index=ignore_index, label_smoothing=label_smoothing)
    input, target = as_input(name, "input", input), as_input(name, "target", target)
    x, y = raw(input), raw(target)
    check_classes(name, x, reduction)
    axis, counts = min(1, x.ndim - 1), None
    labeled = y.shape != x.shape
    if labeled:
        check_labels(name, y, x.shape, f" or probabilities {x.shape}")
        counts = which_count(name, y, x.shape[axis], ignore_index)
    else:
        check_distributions(name, y, axis)
        if ignore_index != IGNORED:
            raise ValueError(
                f"{name}: ignore_index is {ignore_index}, but the target holds probabilities. Leave it out."
            )
    if weight is None and counts is None and x.ndim == 2 and not label_smoothing:
        return ops.cross_entropy(input, target, reduction)
    classes = x.shape[axis]
    w = None if weight is None else as_weight(name, "weight", weight, x, classes)
    targets = _labels(y, counts) if labeled else _rows(target)
    shares = _shares(x, targets, w, counts) if labeled else None
    if labeled and (w is not None or label_smoothing):
        targets = (targets[:, None] == np.arange(classes)).astype(x.dtype if x.dtype.kind == "f" else float)
    losses = ops.cross_entropy(_rows(input), _smoothed(targets, label_smoothing, w, classes), "none")
    return _gathered(name, losses, counts, shares, reduction, x.shape[:axis] + x.shape[axis + 1 :])


def _smoothed(targets: Any, share: float, weight: Any, classes: int) -> Any:
    """Targets with a share of each spread evenly over all classes, times the weights of these."""
    if share:
        targets = ops.add(ops.multiply(targets, 1.0 - share), share / classes)
    return targets if weight is None else ops.multiply(targets, weight)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = IGNORED, reduction: str = "mean") -> Any:
    """mean(-x[label]) over n rows of log-probabilities x, (n, classes); labels are integers (n,).

    Shapes, `weight`, `ignore_index` and `reduction` are those of :func:`cross_entropy` with labels.

    >>> import numpy as np, tinygrad_bp as bp
    >>> nll_loss(bp.tensor(np.log([[0.25, 0.75], [0.5, 0.5]])), [1, 0], reduction="none")
    tensor([0.28768207, 0.69314718])
    """
    name = "nll_loss"
    check_loss(name, ignore_index=ignore_index)
    input, target = as_input(name, "input", input), as_input(name, "target", target)
    x, y = raw(input), raw(target)
    check_classes(name, x, reduction)
    check_labels(name, y, x.shape)
    axis = min(1, x.ndim - 1)
    counts = which_count(name, y, x.shape[axis], ignore_index)
    w = None if weight is None else as_weight(name, "weight", weight, x, x.shape[axis])
    labels = _labels(y, counts)
    losses = ops.negative(ops.getitem(_rows(input), (np.arange(labels.size), labels)))
    if w is not None:
        losses = ops.multiply(losses, np.take(w, labels))
    return _gathered(name, losses, counts, _shares(x, labels, w, counts), reduction, y.shape)


def _rows(x: Any) -> Any:
    """(n, classes, d1, ...) or (classes,) as rows of classes, one a sample."""
    if x.ndim == 2:
        return x
    if x.ndim == 1:
        return ops.reshape(x, (1, x.shape[0]))
    n, classes, *others = x.shape
    return ops.reshape(ops.moveaxis(x, 1, -1), (n * math.prod(others), classes))


def _labels(y: Any, counts: Any) -> Any:
    """The labels in a row, 0 in the place of those that are left out."""
    return (y if counts is None else np.where(counts, y, 0)).reshape(-1)


def _shares(x: Any, labels: Any, w: Any, counts: Any) -> Any:
    """How much each of the labels counts in a mean; None if all count alike."""
    shares: Any = None if w is None else np.take(w, labels)
    if counts is None:
        return shares
    counts = counts.reshape(-1)
    return counts.astype(x.dtype if x.dtype.kind == "f" else float) if w is None else np.where(counts, shares, 0.0)


def _gathered(name: str, losses: Any, counts: Any, shares: Any, reduction: str, shape: tuple[int, ...]) -> Any:
    """The losses of all samples reduced, without those that are left out."""
    if counts is not None:
        losses = ops.where(counts.reshape(-1), losses, 0.0)
    if reduction == "mean" and shares is not None:
        total = shares.sum()
        check_shares(name, total)
        return ops.divide(ops.sum(losses), total)
    return ops.reshape(losses, shape) if reduction == "none" else _reduced(losses, reduction)


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)
