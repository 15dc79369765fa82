"""The arithmetic of the diagnosis: multiples, rearrangements, ranks, and the values a factor may be made of.

Plain functions of arrays and shapes. What a pattern means, and which is asked for first, is decided in
:mod:`~tinygrad_bp.checking.diagnosis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FUNCTIONS",
    "PREDICATES",
    "distinct",
    "fits",
    "flips",
    "intermediates",
    "multiple",
    "orders",
    "rank",
    "shifts",
    "slices",
]

Array = NDArray[Any]
Shape = Sequence[int]


def _sigmoid(z: Array) -> Array:
    return 0.5 * (1 + np.tanh(z / 2))


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "{}": lambda z: z,
    "{} * (1 - {})": lambda z: z * (1 - z),
    "(1 - {}**2)": lambda z: 1 - z**2,
    "(1 - {})": lambda z: 1 - z,
    "{}**2": lambda z: z**2,
    "exp({})": np.exp,
    "sign({})": np.sign,
    "cos({})": np.cos,
    "sin({})": np.sin,
    "(1 + {})": lambda z: 1 + z,
    "(1 + {}**2)": lambda z: 1 + z**2,
    "sqrt({})": np.sqrt,
    "log({})": np.log,
    "sigmoid({})": _sigmoid,
    "sigmoid(-{})": lambda z: _sigmoid(-z),
    "sigmoid'({})": lambda z: _sigmoid(z) * _sigmoid(-z),
    "tanh({})": np.tanh,
    "tanh'({})": lambda z: 1 - np.tanh(z) ** 2,
}
"""What a chain rule multiplies by; `{}` is the name of a value."""

PREDICATES: Mapping[str, Callable[[Array], Array]] = {
    "{} < 0": lambda z: z < 0,
    "{} > 0": lambda z: z > 0,
    "{} == 0": lambda z: z == 0,
    "{} <= 0": lambda z: z <= 0,
    "{} >= 0": lambda z: z >= 0,
    "{} != 0": lambda z: z != 0,
    "|{}| > 1": lambda z: np.abs(z) > 1,
    "|{}| < 1": lambda z: np.abs(z) < 1,
}
"""Where a branch or a mask divides the entries."""


def multiple(a: Array, b: Array, tolerance: Array) -> float | None:
    """The c of a = c * b, where every entry of b is known to within its `tolerance`; None where there is none."""
    weight = 1 / tolerance
    a, b = a * weight, b * weight
    if not b.any():
        return None
    c = float(a @ b / (b @ b))
    return c if c and np.isfinite(c) and (np.abs(a - c * b) <= abs(c)).all() else None


def distinct(z: Array, apart: float) -> int:
    """How many values of `z` there are that differ by more than `apart` of the largest."""
    z = np.sort(z, axis=None)
    return 1 + int(np.count_nonzero(np.diff(z) > apart * np.abs(z).max())) if z.size else 0


def rank(a: Array, tolerance: float) -> int:
    """How many singular values exceed the `tolerance` (a Frobenius norm)."""
    return int(np.count_nonzero(np.linalg.svd(a, compute_uv=False) > tolerance))


def orders(shape: Shape, target: Shape) -> Iterator[tuple[int, ...]]:
    """The orders of the axes of `shape`, but the one they have, that make it `target`."""
    for order in permutations(range(len(shape))):
        if list(order) != sorted(order) and [shape[k] for k in order] == list(target):
            yield order


def flips(shape: Shape) -> Iterator[tuple[int, ...]]:
    """Sets of axes to reverse, small ones first."""
    axes = [k for k, size in enumerate(shape) if size > 1]
    for count in range(1, len(axes) + 1):
        yield from combinations(axes, count)


def shifts(a: Array) -> Iterator[tuple[int, Array]]:
    """(axis, `a` moved by one along it): rolled, and with what leaves at one end replaced by zeros."""
    for axis, by in product((k for k, size in enumerate(a.shape) if size > 2), (1, -1)):
        rolled = np.roll(a, by, axis)
        yield axis, rolled
        edge: list[slice | int] = [slice(None)] * a.ndim
        edge[axis] = 0 if by == 1 else -1
        rolled = rolled.copy()
        rolled[tuple(edge)] = 0
        yield axis, rolled


def fits(shape: Shape, full: Shape) -> Iterator[tuple[int, ...]]:
    """The choices of axes of `full`, in order, that have the sizes of `shape`; the last axes first."""
    for axes in reversed(list(combinations(range(len(full)), len(shape)))):
        if all(full[k] == size for k, size in zip(axes, shape)):
            yield axes


def intermediates(values: Mapping[str, Array], shape: Shape) -> Iterator[tuple[str, Array]]:
    """What a function of `values` is likely to compute on its way: a @ b, a @ b + c, a - b, the one-hot rows of labels.

    The one-hot rows have as many columns as an array of `shape`.
    """
    for (p, a), (q, b) in permutations(values.items(), 2):
        if {a.ndim, b.ndim} <= {1, 2} and a.ndim + b.ndim > 2 and a.shape[-1] == b.shape[0]:
            ab = a @ b
            yield f"({p} @ {q})", ab
            for r, c in values.items():
                if r not in (p, q) and c.ndim and c.shape == ab.shape[ab.ndim - c.ndim :]:
                    yield f"({p} @ {q} + {r})", ab + c
        if a.shape == b.shape and p < q:
            yield f"({p} - {q})", a.astype(float) - b
    for name, labels in values.items():
        if (
            labels.dtype.kind in "iu"
            and labels.size
            and labels.min() >= 0
            and labels.max() < max(shape[-1:], default=0)
        ):
            yield f"one_hot({name})", np.eye(shape[-1])[labels]


def slices(shape: Shape, axes: Sequence[int]) -> Array:
    """For every entry of an array of that shape, flat, the number of the slice it is in: equal where `axes` agree."""
    index = np.indices(shape).reshape(len(shape), -1)
    sizes = tuple(shape[k] for k in axes)
    return np.ravel_multi_index(tuple(index[k] for k in axes), sizes) if axes else np.zeros(index.shape[1], int)
