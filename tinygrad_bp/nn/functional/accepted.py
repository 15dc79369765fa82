"""What the functions of a network accept, and how they refuse the rest: one line with the numbers, and a cure.

Shapes of input and target must be equal (nothing is broadcast against a target), labels must be classes,
probabilities must be probabilities. Checks of values are marked, so that a compiled step repeats them.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import DTypeLike

from ...opaque import value_check
from ...recipe import Node
from ...tensor import default_dtype

REDUCTIONS = ("mean", "sum", "none")
IGNORED = -100
"""PyTorch's mark of a label that is to be left out."""

# fmt: off
__all__ = [
    "IGNORED", "REDUCTIONS", "as_dtype", "as_floats", "as_input", "as_sizes", "as_weight", "check_classes",
    "check_distributions", "check_labels", "check_loss", "check_reduction", "check_setting", "check_settings",
    "check_shares", "check_unit", "input_and_target", "raw", "refuse", "which_count",
]
# fmt: on


def as_input(name: str, role: str, x: Any) -> Any:
    """Lists and numbers as an array; what is none and has no shape is refused, and what holds no real numbers."""
    if isinstance(x, Node):
        return x
    if isinstance(x, (list, tuple, float, int)):
        try:
            x = np.asarray(x)
        except ValueError:
            raise ValueError(f"{name}: the {role} is no regular array. Pass rows of equal length.") from None
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fiub":
        raise TypeError(f"{name}: the {role} has dtype {x.dtype}. Pass real numbers.")
    if not hasattr(x, "shape"):
        raise TypeError(f"{name}: the {role} is a {type(x).__name__}. Pass a Tensor, an array or a list of numbers.")
    return x


def as_floats(name: str, x: Any, role: str = "input") -> Any:
    """An array of floats, and nothing else."""
    x = as_input(name, role, x)
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: {role} has dtype {x.dtype}. Pass floats.")
    return x


def as_dtype(name: str, dtype: DTypeLike | None) -> np.dtype[Any]:
    """The dtype of parameters: by default the package's."""
    try:
        found = np.dtype(default_dtype() if dtype is None else dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind != "f":
        raise TypeError(f'{name}: dtype is {dtype!r}. Pass one of floats, such as "float32".')
    return found


def raw(x: Any) -> Any:
    """The array of a Tensor, anything else as it is."""
    return x.data if isinstance(x, Node) else x


def as_sizes(name: str, role: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """One integer for each of the axes; a single one counts for all."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * axes
    if len(values) != axes or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in values):
        form = f"an integer or {axes} of them" if axes > 1 else "an integer"
        raise TypeError(f"{name}: {role} is {value!r}. Pass {form}.")
    if min(values) < least:
        raise ValueError(f"{name}: {role} is {value}. Pass numbers >= {least}.")
    return tuple(map(int, values))


_RANGES = {
    **dict.fromkeys(("dropout", "dropout_p", "momentum", "p"), (0.0, 1.0)),
    **dict.fromkeys(("beta", "eps", "layer_norm_eps"), (0.0, inf)),
    **dict.fromkeys(("alpha", "negative_slope", "scale", "threshold"), (-inf, inf)),
}
"""Arguments that are numbers, and the least and largest they can be."""


def check_settings(name: str, **settings: Any) -> None:
    """Refuse numbers out of range, by the names of their arguments; of all other names, what is no flag."""
    for role, value in settings.items():
        if role in _RANGES:
            low, high = _RANGES[role]
            check_setting(name, role, value, high, low)
        elif not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name}: {role} is {value!r}. Pass True or False.")


def input_and_target(name: str, input: Any, target: Any, reduction: str) -> tuple[Any, Any]:
    """The input and a target of its shape, of its dtype if it holds integers; anything else is refused."""
    input, target = as_input(name, "input", input), as_input(name, "target", target)
    shape = input.shape
    if target.shape != shape:
        raise ValueError(
            f"{name}: input has shape {shape}, target {target.shape}. They must be equal; nothing is broadcast. "
            + _fitting(input, target)
        )
    if input.dtype.kind != "f" and target.dtype.kind != "f":
        raise TypeError(f"{name}: input has dtype {input.dtype}, target {target.dtype}. Pass floats for one of them.")
    check_reduction(name, reduction, shape)
    return input, target if target.dtype.kind == "f" else target.astype(input.dtype)


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


def check_classes(name: str, values: Any, reduction: str) -> None:
    """Refuse what has no axis of classes: it is the second, or the only one."""
    if not values.ndim:
        raise ValueError(f"{name}: input has shape (). Pass (n, classes), (n, classes, ...) or (classes,).")
    if not values.shape[min(1, values.ndim - 1)]:
        raise ValueError(f"{name}: input has shape {values.shape}, so there are no classes. Pass one score a class.")
    check_reduction(name, reduction, values.shape)


def check_loss(name: str, **settings: Any) -> None:
    """Refuse settings of a loss that are out of range, by the names of their arguments."""
    for role, value in settings.items():
        if role != "ignore_index":
            check_setting(name, role, value, 1.0 if role == "label_smoothing" else np.inf)
        elif isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name}: {role} is {value!r}, a {type(value).__name__}. Pass an integer.")
        if role == "delta" and not value:
            raise ValueError(f"{name}: delta is 0, so the loss would be. Pass a number > 0.")


def check_setting(name: str, role: str, value: Any, high: float, low: float = 0.0) -> None:
    """Refuse what is no number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: {role} is {value!r}, a {type(value).__name__}. Pass a number.")
    if not low <= value <= high:
        wanted = "" if low < 0 else " >= 0" if high > 1 else " from 0 to 1"
        raise ValueError(f"{name}: {role} is {value}. Pass a number{wanted}.")


def check_reduction(name: str, reduction: str, shape: tuple[int, ...]) -> None:
    """Refuse an unknown reduction, and the mean of nothing."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'{name}: reduction is {reduction!r}. Choose "mean", "sum" or "none".')
    if reduction == "mean" and 0 in shape:
        raise ValueError(f'{name}: an empty batch of shape {shape} has no mean. Skip it, or use reduction="sum".')


def check_labels(name: str, labels: Any, shape: tuple[int, ...], otherwise: str = "") -> None:
    """Refuse what is no class of each entry of an input of `shape`, (n, classes, ...) or (classes,)."""
    wanted = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if labels.shape != wanted:
        flat = len(shape) == 2 and labels.size == shape[0]
        raise ValueError(
            f"{name}: input {shape} needs labels {wanted}{otherwise}, the target has shape {labels.shape}. "
            f"{'Flatten it: y.reshape(-1)' if flat else 'Pass one label a row'}."
        )
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"{name}: labels have dtype {labels.dtype}. Pass integers (labels.astype(int)){otherwise}.")


def which_count(name: str, labels: Any, classes: int, ignore_index: int) -> Any:
    """Which labels are not left out, or None if it is certain that all count; those have to be classes.

    Labels of -100 are looked for where their values are at hand: not while a step is compiled.
    """
    if not labels.size:
        return None
    if ignore_index == IGNORED:
        try:
            _check_range(name, labels, classes)
            return None
        except ValueError:
            if type(labels) is not ndarray or IGNORED not in labels:
                raise
    counts = labels != ignore_index
    _check_range(name, np.where(counts, labels, 0), classes)
    return counts


@value_check
def _check_range(name: str, labels: Any, classes: int) -> None:
    if np.minimum.reduce(labels, None) < 0 or np.maximum.reduce(labels, None) >= classes:
        wrong = (labels < 0) | (labels >= classes)
        advice = "Count labels from 0, and give the input a column for each"
        if (labels == -100).any():
            advice = "A compiled step leaves labels out only if ignore_index is another number, such as -1"
        refuse(name, "label", labels, wrong, f"is not a class; classes are 0 to {classes - 1}. {advice}")


def as_weight(name: str, role: str, weight: Any, input: Any, classes: int | None = None) -> Any:
    """A weight that broadcasts to the input, or has one number a class, as an array of its dtype: a constant."""
    if isinstance(weight, Node) and weight.tracked:
        raise ValueError(f"{name}: {role} requires grad, but a loss has no derivative by it. Pass {role}.detach().")
    w = raw(as_input(name, role, weight))
    if w.shape != (classes,) if classes else not _broadcasts(w.shape, input.shape):
        wanted = f"one a class, ({classes},)" if classes else f"a shape that broadcasts to {input.shape}"
        raise ValueError(f"{name}: {role} has shape {w.shape}. Pass {wanted}.")
    _check_weight(name, role, w)
    return w.astype(input.dtype if input.dtype.kind == "f" else float, copy=False)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


@value_check
def _check_weight(name: str, role: str, w: Any) -> None:
    if w.size and not (w.min() >= 0 and w.max() < np.inf):
        refuse(name, role, w, ~((w >= 0) & (w < np.inf)), "is no finite number >= 0. Pass such numbers")


@value_check
def check_shares(name: str, total: Any) -> None:
    """Refuse the mean of entries that count nothing."""
    if total == 0:
        raise ValueError(
            f"{name}: every label is left out or has weight 0, so there is nothing to average. "
            'Skip the batch, or use reduction="sum".'
        )


@value_check
def check_distributions(name: str, p: Any, axis: int = -1) -> None:
    """Refuse rows that are no distribution."""
    check_unit(name, "target", p)
    totals = np.asarray(p.sum(axis))
    wrong = np.abs(totals - 1.0) > 1e-3  # rounding is far below this, forgotten normalisation far above
    if wrong.any():
        refuse(name, "the target's row sum", totals, wrong, "is not 1. Divide each row by its sum")


@value_check
def check_unit(name: str, role: str, values: Any) -> None:
    """Refuse values outside of [0, 1]."""
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        refuse(name, role, values, ~((values >= 0) & (values <= 1)), "is not in [0, 1]. Pass probabilities")


def refuse(
    name: str,
    what: str,
    values: ndarray[Any, Any],
    wrong: ndarray[Any, Any],
    why: str,
    kind: type[Exception] = ValueError,
) -> None:
    """Name the first of the values that are wrong."""
    first = np.argwhere(wrong)[0].tolist()
    at = first[0] if len(first) == 1 else tuple(first)
    raise kind(f"{name}: {what} {values[tuple(first)]} at index {at} {why}.")
