"""The arithmetic of the diagnosis: multiples, ranks, rearrangements, and the values a factor may be made of.

Plain functions of arrays and shapes. What is compared is told by :mod:`~tinygrad_bp.checking.evidence`; what a pattern
means, and which is asked for first, by :mod:`~tinygrad_bp.checking.diagnosis`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FUNCTIONS",
    "PREDICATES",
    "TERMS",
    "Functions",
    "bits",
    "broadcasts",
    "fits",
    "groups",
    "intermediates",
    "is_of_rank",
    "moved",
    "multiple",
    "multiples",
    "orders",
    "rank",
    "reread",
    "statistics",
    "subsets",
    "thinned",
]

Array = NDArray[Any]
MANY = 6  # axes, of rows and columns together, beyond which not every order of them is tried
Shape = Sequence[int]
Functions = Mapping[str, Callable[[Array], Array]]


def _sigmoid(z: Array) -> Array:
    return 0.5 * (1 + np.tanh(z / 2))


FUNCTIONS: Functions = {
    "{}": lambda z: z,
    "{} * (1 - {})": lambda z: z * (1 - z),
    "(1 - {}**2)": lambda z: 1 - z**2,
    "(1 - {})": lambda z: 1 - z,
    "{}**2": lambda z: z**2,
    "exp({})": np.exp,
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

TERMS: Functions = {
    **FUNCTIONS,
    "{} * sigmoid'({})": lambda z: z * _sigmoid(z) * _sigmoid(-z),
    "{} * tanh'({})": lambda z: z * (1 - np.tanh(z) ** 2),
    "{} * exp({})": lambda z: z * np.exp(z),
    "{} * cos({})": lambda z: z * np.cos(z),
}
"""What a product rule adds."""

PREDICATES: Functions = {
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
    a, b = a / tolerance, b / tolerance
    c = float(a @ b / (b @ b)) if b.any() else 0.0
    return c if c and np.isfinite(c) and (np.abs(a - c * b) <= abs(c)).all() else None


def multiples(a: Array, b: Array, tolerance: Array, label: Array) -> int:
    """How many entries, beyond one for each label, tell that a = c_label * b; 0 where it is not so."""
    a, b = a / tolerance, b / tolerance
    c = (np.bincount(label, a * b) / np.bincount(label, b * b))[label]
    if (np.abs(a - np.where(np.isfinite(c), c, 0) * b) > 1).any():
        return 0
    told = np.abs(a) > 1
    return int(told.sum()) - len(np.unique(label[told]))


def bits(z: Array, apart: float) -> float:
    """What it tells, in bits, that a constant fits all of `z`, of whose values those `apart` (relative) are told apart.

    Every value after the first could have been any of those within the range.
    """
    z = np.sort(z, axis=None)
    unit = apart * float(np.abs(z).max(initial=0.0)) or 1.0
    return int(np.count_nonzero(np.diff(z) > unit)) * math.log2(1 + float(np.ptp(z)) / unit) if z.size else 0.0


def rank(a: Array, tolerance: Array) -> int:
    """How many singular values are beyond doubt, each entry being known to within its tolerance."""
    return int(np.count_nonzero(np.linalg.svd(a, compute_uv=False) > 2 * np.linalg.norm(tolerance)))


def is_of_rank(a: Array, r: int, tolerance: Array) -> bool:
    """Whether a matrix of rank `r` agrees with `a`, and is much nearer to every entry than 0 is."""
    u, s, v = np.linalg.svd(a, full_matrices=False)
    gap = np.abs(a - (u[:, :r] * s[:r]) @ v[:r])
    return bool((gap <= np.where(a == 0, tolerance, np.minimum(tolerance, 0.1 * np.abs(a)))).all())


def thinned(chosen: Array) -> Array:
    """At most 64 of the indices: enough to tell a low rank."""
    index = np.flatnonzero(chosen)
    return index[:: -(-index.size // 64) or 1]


def subsets(items: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All but the empty one, small ones first."""
    return chain.from_iterable(combinations(items, count + 1) for count in range(len(items)))


def orders(shape: Shape, target: Shape) -> Iterator[tuple[int, ...]]:
    """The orders of the axes of `shape`, but the one they have, that make it `target`; of many axes, two exchanged."""
    axes = range(len(shape))
    exchanged = ([j if k == i else i if k == j else k for k in axes] for i, j in combinations(axes, 2))
    for order in permutations(axes) if len(axes) <= MANY else map(tuple, exchanged):
        if list(order) != sorted(order) and [shape[k] for k in order] == list(target):
            yield order


def moved(a: Array, axis: int, by: int, enters: float | None) -> Array:
    """`a` moved along an axis, where `enters` enters at one end, or (None) what leaves at the other."""
    rolled = np.roll(a, by, axis)
    if enters is None:
        return rolled
    index = np.arange(a.shape[axis]).reshape([-1 if k == axis else 1 for k in range(a.ndim)])
    return np.where(index < by if by > 0 else index >= a.shape[axis] + by, enters, rolled)


def broadcasts(small: Shape, large: Shape) -> bool:
    """Whether an array of the one shape is repeated to become one of the other."""
    fits_in = all(a in (1, b) for a, b in zip(reversed(small), reversed(large)))
    return len(small) <= len(large) and fits_in and math.prod(small) < math.prod(large)


def reread(a: Array, shape: Shape) -> Array:
    """The last axes of `a` taken for those of an array of `shape`, and transposed: C for F order, or back."""
    order = (0, *range(len(shape), 0, -1))
    return a.reshape(-1, *shape).transpose(order).reshape(a.shape)


def fits(shape: Shape, full: Shape) -> list[tuple[int, ...]]:
    """The choices of axes of `full` that have the sizes of `shape`: those in order first, the last axes first."""
    choices = (permutations if len(full) <= MANY else combinations)(range(len(full)), len(shape))
    fitting = [axes for axes in choices if all(full[k] == size for k, size in zip(axes, shape))]
    return sorted(fitting, key=lambda axes: (list(axes) != sorted(axes), -sum(axes)))


def groups(shape: Shape, axes: Sequence[int]) -> Array:
    """For every entry of an array, flat, the number of its group: equal where the indices along `axes` are."""
    index, found = np.indices(shape), np.zeros(shape, int)
    for k in axes:
        found = found * shape[k] + index[k]
    return found.ravel()


def intermediates(values: Mapping[str, Array], columns: int) -> Iterator[tuple[str, Array]]:
    """What a function of `values` is likely to compute on its way: a @ b, a @ b + c, a - b, one-hot rows of labels."""
    turned = {f"{p}.T": a.T for p, a in values.items() if a.ndim == 2}
    for (p, a), (q, b) in permutations({**values, **turned}.items(), 2):
        if {a.ndim, b.ndim} <= {1, 2} and a.ndim + b.ndim > 2 and a.shape[-1] == b.shape[0]:
            ab = a @ b
            yield f"({p} @ {q})", ab
            for r, c in values.items():
                if r not in (p, q) and c.ndim and c.shape == ab.shape[ab.ndim - c.ndim :]:
                    yield f"({p} @ {q} + {r})", ab + c
        if a.shape == b.shape and p < q and p in values and q in values:
            yield f"({p} - {q})", a.astype(float) - b
    for name, labels in values.items():
        if labels.dtype.kind in "iu" and labels.size and labels.min() >= 0 and labels.max() < columns:
            yield f"one_hot({name})", np.eye(columns)[labels]


def statistics(values: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """What a function of `values` is likely to divide by: their sums, norms and deviations along an axis."""
    for name, value in values.items():
        for axis in range(value.ndim) if value.ndim > 1 else ():
            yield f"{name}.sum({axis})", value.sum(axis)
            yield f"norm({name}, axis={axis})", np.sqrt(np.square(value, dtype=float).sum(axis))
            yield f"{name}.std({axis})", value.std(axis)
