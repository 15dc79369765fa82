"""Products spelled with ``matmul`` and ``multiply``: dot, outer, tensordot and their relatives; and convolution.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`; the rows are on the page :mod:`~tinygrad_bp.ops.linear`, but
for the convolution of two vectors, which is one here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..recipe import binary
from .arithmetic import multiply
from .index import getitem
from .linear import matmul
from .shape import _from_zero, expand_dims, flip, moveaxis, pad, reshape, roll, transpose

# fmt: off
__all__ = [
    "convolve", "correlate", "cross", "dot", "inner", "kron", "matvec", "multi_dot", "outer", "tensordot", "vdot",
    "vecdot", "vecmat",
]
# fmt: on


def dot(a: Any, b: Any) -> Any:
    """Sums over the last axis of `a` and the last but one of `b` (its only one, if it is a vector)."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return multiply(a, b)
    if np.ndim(a) > 2 or np.ndim(b) > 2:
        return tensordot(a, b, (-1, -2 if np.ndim(b) > 1 else -1))
    return matmul(a, b)


def vdot(a: Any, b: Any) -> Any:
    """The sum of a_i b_i of the flattened inputs."""
    return matmul(reshape(a, (-1,)), reshape(b, (-1,)))


def inner(a: Any, b: Any) -> Any:
    """Sums over the last axes of both."""
    return multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else tensordot(a, b, (-1, -1))


def outer(a: Any, b: Any) -> Any:
    """a_i b_j of the flattened inputs."""
    return multiply(reshape(a, (-1, 1)), reshape(b, (-1,)))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sums over pairs of axes: the last `axes` of `a` with the first of `b`, or those of two lists."""
    if isinstance(axes, (int, np.integer)):
        pairs: Any = range(-axes, 0), range(axes)
    else:
        pairs = tuple([i] if np.ndim(i) == 0 else [*i] for i in axes)
    if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
        raise ValueError(f"tensordot: axes {axes} are no pairs. Pass a number, or as many axes of a as of b.")
    i, j = ([_from_zero("tensordot", x, int(k)) for k in ks] for x, ks in zip((a, b), pairs, strict=True))
    summed, others = [np.shape(a)[k] for k in i], [np.shape(b)[k] for k in j]
    if summed != others or len({*i}) < len(i) or len({*j}) < len(j):
        what = f"tensordot: axes {i} of {np.shape(a)} and {j} of {np.shape(b)} do not fit"
        raise ValueError(f"{what}. Sum each axis once, over axes of one length.")
    kept_a, kept_b = ([k for k in range(np.ndim(x)) if k not in ks] for x, ks in ((a, i), (b, j)))
    lead, tail = [np.shape(a)[k] for k in kept_a], [np.shape(b)[k] for k in kept_b]
    n = math.prod(summed)
    left = reshape(transpose(a, [*kept_a, *i]), (math.prod(lead), n))
    right = reshape(transpose(b, [*j, *kept_b]), (n, math.prod(tail)))
    return reshape(matmul(left, right), (*lead, *tail))


def kron(a: Any, b: Any) -> Any:
    """Every entry of `a` times the whole of `b`, in its place."""
    n = max(np.ndim(a), np.ndim(b))
    p, q = ((1,) * (n - np.ndim(x)) + np.shape(x) for x in (a, b))
    left = reshape(a, [k for length in p for k in (length, 1)])
    right = reshape(b, [k for length in q for k in (1, length)])
    return reshape(multiply(left, right), [k * m for k, m in zip(p, q, strict=True)])


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """a_1 b_2 - a_2 b_1 and so on round; of vectors of 2 the third component, the only one."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(a, _from_zero("cross", a, axisa), -1), moveaxis(b, _from_zero("cross", b, axisb), -1)
    lengths = a.shape[-1], b.shape[-1]
    if not {*lengths} <= {2, 3}:
        raise ValueError(f"cross: vectors of {lengths[0]} and {lengths[1]} components. Pass 3 (or 2) of each.")
    a, b = (pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 3 - x.shape[-1])]) for x in (a, b))
    c = multiply(roll(a, -1, -1), roll(b, -2, -1)) - multiply(roll(a, -2, -1), roll(b, -1, -1))
    return c[..., 2] if lengths == (2, 2) else moveaxis(c, -1, axisc)


def vecdot(x1: Any, x2: Any, axis: int = -1) -> Any:
    """The sum of x1_i x2_i along one axis, broadcast along the others."""
    x1, x2 = (moveaxis(x, _from_zero("vecdot", x, axis), -1) for x in (x1, x2))
    return getitem(matmul(expand_dims(x1, -2), expand_dims(x2, -1)), (..., 0, 0))


def matvec(x1: Any, x2: Any) -> Any:
    """Matrices times vectors, both in stacks that broadcast."""
    return getitem(matmul(x1, expand_dims(x2, -1)), (..., 0))


def vecmat(x1: Any, x2: Any) -> Any:
    """Vectors times matrices, both in stacks that broadcast."""
    return getitem(matmul(expand_dims(x1, -2), x2), (..., 0, slice(None)))


def multi_dot(arrays: Sequence[Any]) -> Any:
    """The product of a chain of matrices (the ends may be vectors), in the order that multiplies least."""
    if len(arrays) < 2:
        raise ValueError(f"multi_dot: {len(arrays)} matrices. Pass two or more.")
    first, last = reshape(arrays[0], (1, -1)) if np.ndim(arrays[0]) == 1 else arrays[0], arrays[-1]
    chain = [first, *arrays[1:-1], reshape(last, (-1, 1)) if np.ndim(last) == 1 else last]
    if any(np.ndim(x) != 2 for x in chain):
        raise ValueError(f"multi_dot: shapes {[np.shape(x) for x in arrays]}. Pass matrices; the ends may be vectors.")
    sides = [np.shape(x)[0] for x in chain] + [np.shape(chain[-1])[1]]

    @functools.cache
    def best(i: int, j: int) -> tuple[int, int]:
        """What the product of chain[i:j] costs at least, and where it is divided for that."""
        costs = ((best(i, k)[0] + best(k, j)[0] + sides[i] * sides[k] * sides[j], k) for k in range(i + 1, j))
        return min(costs, default=(0, 0))

    def product(i: int, j: int) -> Any:
        k = best(i, j)[1]
        return matmul(product(i, k), product(k, j)) if k else chain[i]

    ends = (np.shape(x)[1:] if k else np.shape(x)[:-1] for k, x in enumerate((arrays[0], arrays[-1])))
    return reshape(product(0, len(chain)), [n for end in ends for n in end])


# ---- convolution of two vectors ----------------------------------------------------------------------------

_convolve = binary(
    "convolve",
    lambda a, v: np.convolve(a, v),
    lambda g, y, a, v: np.convolve(g, np.flip(v), "valid"),
    lambda g, y, a, v: np.convolve(g, np.flip(a), "valid"),
)


def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The sum of a_i v_(k-i) for every k; mode same: as many as the longer has; valid: where the two overlap wholly."""
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"convolve: mode is {mode!r}. Pass 'full', 'same' or 'valid'.")
    if np.ndim(a) != 1 or np.ndim(v) != 1 or not np.size(a) or not np.size(v):
        raise ValueError(f"convolve: shapes {np.shape(a)} and {np.shape(v)}. Pass two vectors with entries.")
    y = _convolve(a, v)
    short, long = sorted((np.size(a), np.size(v)))
    start, n = (0, short + long - 1) if mode == "full" else ((short - 1) // 2, long)
    start, n = (short - 1, long - short + 1) if mode == "valid" else (start, n)
    return getitem(y, slice(start, start + n))


def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """The sum of a_(k+i) v_i for every k; modes as of convolve."""
    return convolve(a, flip(v), mode) if np.size(a) >= np.size(v) else flip(convolve(v, flip(a), mode))
