"""The functions of a network, spelled as in PyTorch: layers, activations and losses without state.

Each is a thin name over a row of the table (:mod:`tinygrad_bp.ops`), with `dim` for an axis. Tensors, arrays and
numbers are accepted everywhere; fed only arrays, a function returns an array. The losses are also where targets are
checked: shapes must be equal (nothing is broadcast against a target), labels must be classes, probabilities must be
probabilities. Layers that own parameters live in :mod:`~tinygrad_bp.nn.layers`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from .. import ops
from ..recipe import Node
from ..valuecheck import value_check

__all__ = [
    "REDUCTIONS",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "elu",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "quadratic_loss",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

REDUCTIONS = ("mean", "sum", "none")

# ---- layers and activations ---------------------------------------------------------------------------------------


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``z = x W^T + b`` for every row x of `input`: shapes (..., in), (out, in), (out,) give (..., out).

    >>> import tinygrad_bp as bp
    >>> linear(bp.tensor([[1.0, 2.0]]), bp.tensor([[3.0, 4.0]]), bp.tensor([5.0]))
    tensor([[16.]])
    """
    return ops.linear(_array("linear", "input", input), weight, bias)


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)), silent and exact to the ends of the range.

    >>> import tinygrad_bp as bp
    >>> sigmoid(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([0. , 0.5, 1. ])
    """
    return ops.sigmoid(input)


def tanh(input: Any) -> Any:
    """The hyperbolic tangent.

    >>> import tinygrad_bp as bp
    >>> tanh(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([-1.,  0.,  1.])
    """
    return ops.tanh(input)


def relu(input: Any) -> Any:
    """max(x, 0); the slope at 0 is 0.

    >>> import tinygrad_bp as bp
    >>> relu(bp.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return ops.relu(input)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """``x`` where x > 0, else ``negative_slope * x``.

    >>> import tinygrad_bp as bp
    >>> leaky_relu(bp.tensor([-1.0, 2.0]), 0.5)
    tensor([-0.5,  2. ])
    """
    return ops.leaky_relu(input, negative_slope)


def elu(input: Any, alpha: float = 1.0) -> Any:
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``.

    >>> import tinygrad_bp as bp
    >>> elu(bp.tensor([-800.0, 2.0]))
    tensor([-1.,  2.])
    """
    return ops.elu(input, alpha)


def silu(input: Any) -> Any:
    """``x * sigmoid(x)``, also called swish.

    >>> import tinygrad_bp as bp
    >>> silu(bp.tensor([-800.0, 0.0, 800.0]))
    tensor([ -0.,   0., 800.])
    """
    return ops.silu(input)


def softplus(input: Any) -> Any:
    """log(1 + exp(x)), without overflow.

    >>> import tinygrad_bp as bp
    >>> softplus(bp.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """
    return ops.softplus(input)


def softmax(input: Any, dim: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `dim`.

    >>> import tinygrad_bp as bp
    >>> softmax(bp.tensor([[1000.0, 1000.0], [0.0, -1000.0]]))
    tensor([[0.5, 0.5],
            [1. , 0. ]])
    """
    return ops.softmax(input, dim)


def log_softmax(input: Any, dim: int = -1) -> Any:
    """``x - log(sum(exp(x)))`` along `dim`: the logarithm of softmax where softmax itself would be 0.

    >>> import tinygrad_bp as bp
    >>> log_softmax(bp.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    return ops.log_softmax(input, dim)


# ---- losses, (input, target, reduction) ---------------------------------------------------------------------------


def quadratic_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """sum((a - y)^2) / (2n) over n rows: the quadratic cost of Nielsen's book, equation (6).

    `reduction="sum"` does not divide by n, `"none"` gives the cost of each row. Shapes must be equal.

    >>> import tinygrad_bp as bp
    >>> quadratic_loss(bp.tensor([[1.0, 2.0], [3.0, 4.0]]), bp.zeros(2, 2))
    tensor(7.5)
    """
    input, target = _pair("quadratic_loss", input, target, reduction)
    if input.shape == ():
        raise ValueError("quadratic_loss: a number has no rows to average over. Pass an input of at least one axis.")
    return ops.quadratic_loss(input, target, reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean((a - y)^2) over all entries. Shapes must be equal.

    >>> import tinygrad_bp as bp
    >>> mse_loss(bp.tensor([1.0, 3.0]), [0.0, 0.0])
    tensor(5.)
    """
    input, target = _pair("mse_loss", input, target, reduction)
    return ops.mse_loss(input, target, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean(abs(a - y)) over all entries. Shapes must be equal.

    >>> import tinygrad_bp as bp
    >>> l1_loss(bp.tensor([1.0, -3.0]), [0.0, 0.0])
    tensor(2.)
    """
    input, target = _pair("l1_loss", input, target, reduction)
    return _reduced(ops.absolute(ops.subtract(input, target)), reduction)


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean(-y log(p) - (1 - y) log(1 - p)) over all entries, for probabilities p and targets y in [0, 1].

    A logarithm counts at least -100, as in PyTorch, so that a certain and wrong answer costs 100 and not infinity;
    below that the cost is flat. From logits, :func:`binary_cross_entropy_with_logits` is exact everywhere.

    >>> import tinygrad_bp as bp
    >>> binary_cross_entropy(bp.tensor([0.5, 0.0]), [1.0, 1.0], reduction="none")
    tensor([  0.69314718, 100.        ])
    """
    input, target = _pair("binary_cross_entropy", input, target, reduction)
    _check_unit("binary_cross_entropy", "input", _raw(input))
    _check_unit("binary_cross_entropy", "target", _raw(target))
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
    input, target = _pair("binary_cross_entropy_with_logits", input, target, reduction)
    _check_unit("binary_cross_entropy_with_logits", "target", _raw(target))
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
    input, target = _array("cross_entropy", "input", input), _array("cross_entropy", "target", target)
    logits, values = _raw(input), _raw(target)
    _check_rows("cross_entropy", logits, reduction)
    if values.shape == logits.shape:
        _check_distributions("cross_entropy", values)
    else:
        _check_labels("cross_entropy", values, logits.shape, f" or probabilities {logits.shape}")
    return ops.cross_entropy(input, target, reduction)


def nll_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """mean(-x[label]) over n rows of log-probabilities x, (n, classes); labels are integers (n,).

    >>> import numpy as np, tinygrad_bp as bp
    >>> nll_loss(bp.tensor(np.log([[0.25, 0.75], [0.5, 0.5]])), [1, 0], reduction="none")
    tensor([0.28768207, 0.69314718])
    """
    input, target = _array("nll_loss", "input", input), _array("nll_loss", "target", target)
    values, labels = _raw(input), _raw(target)
    _check_rows("nll_loss", values, reduction)
    _check_labels("nll_loss", labels, values.shape, "")
    picked = ops.getitem(input, (np.arange(len(labels)), labels))
    return _reduced(ops.negative(picked), reduction)


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)


# ---- what a loss accepts ------------------------------------------------------------------------------------------


def _array(name: str, role: str, x: Any) -> Any:
    """Lists and numbers as an array; what is none and has no shape is refused."""
    if isinstance(x, (Node, np.ndarray)):
        return x
    if isinstance(x, (list, tuple, float, int)):
        try:
            return np.asarray(x)
        except ValueError:
            raise ValueError(f"{name}: the {role} is no regular array. Pass rows of equal length.") from None
    if not hasattr(x, "shape"):
        raise TypeError(f"{name}: the {role} is a {type(x).__name__}. Pass a Tensor, an array or a list of numbers.")
    return x


def _raw(x: Any) -> Any:
    return x.data if isinstance(x, Node) else x


def _pair(name: str, input: Any, target: Any, reduction: str) -> tuple[Any, Any]:
    """The input and a target of its shape; anything else is refused."""
    input, target = _array(name, "input", input), _array(name, "target", target)
    shape = input.shape
    if target.shape != shape:
        raise ValueError(
            f"{name}: input has shape {shape}, target {target.shape}. They must be equal; nothing is broadcast. "
            + _fitting(input, target)
        )
    if input.dtype.kind != "f" and target.dtype.kind != "f":
        raise TypeError(f"{name}: input has dtype {input.dtype}, target {target.dtype}. Pass floats for one of them.")
    _check_reduction(name, reduction, shape)
    return input, target


def _fitting(input: Any, target: Any) -> str:
    """What to do about a target of another shape."""
    if input.ndim == 2 and input.shape[1] > 1 and target.shape == input.shape[:1] and target.dtype.kind in "iu":
        return "For class labels use cross_entropy."
    if target.size != input.size:
        return "Pass one target for each entry."
    if input.shape == (*target.shape, 1):
        return "Reshape: y[:, None]."
    transposed = ", or transpose" if target.shape == input.shape[::-1] and input.ndim == 2 else ""
    return f"Reshape: y.reshape{input.shape}{transposed}."


def _check_rows(name: str, values: Any, reduction: str) -> None:
    if values.ndim != 2:
        raise ValueError(f"{name}: input has shape {values.shape}. Pass (n, classes).")
    _check_reduction(name, reduction, values.shape)


def _check_reduction(name: str, reduction: str, shape: tuple[int, ...]) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f'{name}: reduction is {reduction!r}. Choose "mean", "sum" or "none".')
    if reduction == "mean" and 0 in shape:
        raise ValueError(f'{name}: an empty batch of shape {shape} has no mean. Skip it, or use reduction="sum".')


def _check_labels(name: str, labels: Any, shape: tuple[int, ...], otherwise: str) -> None:
    n, classes = shape
    if labels.shape != (n,):
        raise ValueError(
            f"{name}: input {shape} needs labels ({n},){otherwise}, the target has shape {labels.shape}. "
            f"{'Flatten it: y.reshape(-1)' if labels.size == n else 'Pass one label a row'}."
        )
    if labels.dtype.kind not in "iu" and n:
        raise TypeError(f"{name}: labels have dtype {labels.dtype}. Pass integers (labels.astype(int)){otherwise}.")
    if n:
        _check_range(name, labels, classes)


@value_check
def _check_range(name: str, labels: Any, classes: int) -> None:
    if np.minimum.reduce(labels) < 0 or np.maximum.reduce(labels) >= classes:
        wrong = (labels < 0) | (labels >= classes)
        advice = "Count labels from 0, and give the input a column for each"
        _refuse(name, "label", labels, wrong, f"is not a class; classes are 0 to {classes - 1}. {advice}")


@value_check
def _check_distributions(name: str, p: Any) -> None:
    _check_unit(name, "target", p)
    totals = p.sum(-1)
    wrong = np.abs(totals - 1.0) > 1e-3  # rounding is far below this, forgotten normalisation far above
    if wrong.any():
        _refuse(name, "the target's row sum", totals, wrong, "is not 1. Divide each row by its sum")


@value_check
def _check_unit(name: str, role: str, values: Any) -> None:
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        _refuse(name, role, values, ~((values >= 0) & (values <= 1)), "is not in [0, 1]. Pass probabilities")


def _refuse(name: str, what: str, values: ndarray[Any, Any], wrong: ndarray[Any, Any], why: str) -> None:
    first = np.argwhere(wrong)[0].tolist()
    at = first[0] if len(first) == 1 else tuple(first)
    raise ValueError(f"{name}: {what} {values[tuple(first)]} at index {at} {why}.")
