"""Samples and references for the page `products` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .values import R, S, Samples, real


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """Component by component: NumPy warns of vectors of two."""
    if axis is not None:
        axisa = axisb = axisc = axis
    (a0, a1, *a2), (b0, b1, *b2) = np.moveaxis(a, axisa, 0), np.moveaxis(b, axisb, 0)
    (x,), (y,) = a2 or [0.0 * a0], b2 or [0.0 * b0]
    c = [a1 * y - x * b1, x * b0 - a0 * y, a0 * b1 - a1 * b0]
    return np.stack(np.broadcast_arrays(*c), axisc) if a2 or b2 else c[2]


ROWS: dict[str, Samples] = {"convolve": [R((3,), (2,)), R((2,), (4,)), R((1,), (1,))]}
SPELLED: dict[str, Samples] = {
    "dot": [R((2, 3, 2), (2,)), R((3,), (2, 3, 4)), R((2, 3), (2, 3, 2)), R((2, 0, 2), (1, 2, 1))],
    "vdot": [R((3,), (3,)), R((2, 3), (3, 2)), R((), ()), R((0,), (0,))],
    "inner": [R((3,), (3,)), R((2, 3), (4, 3)), R((2, 1, 3), (3,)), R((), (2, 3)), S(2.0, real(3))],
    "tensordot": [
        *[
            R((2, 3), (2, 3)),
            R((2, 3), (3, 4), axes=1),
            R((2,), (3,), axes=0),
            R((2, 3, 4), (4, 3, 2), axes=([1], [1])),
        ],
        *[R((2, 3, 4), (4, 2, 3), axes=([0, 2], [1, 0])), R((2, 3), (3, 2), axes=(-1, 0)), R((2, 0), (0, 3), axes=1)],
        R((2, 3), (3, 2), axes=((0, 1), (1, 0))),
    ],
    "kron": [R((2,), (3,)), R((2, 1), (2, 3)), R((2,), (2, 3)), R((1, 2, 1), (2,)), R((), (2,)), R((0,), (2,))],
    "cross": [
        *[R((3,), (3,)), R((3, 2), (3, 2), axis=0), R((2, 3), (3,)), R((3, 2), (2, 3), axisa=0, axisc=0)],
        *[R((2,), (2,)), R((2, 2), (2, 2)), R((2,), (3,)), R((3, 2), (3, 3), axisb=0)],
    ],
    "vecdot": [R((3,), (3,)), R((2, 3), (3,)), R((3, 2), (3, 1), axis=0), R((2, 0), (2, 0))],
    "matvec": [R((2, 3), (3,)), R((2, 2, 3), (2, 3)), R((4, 1, 2, 3), (2, 3))],
    "vecmat": [R((2,), (2, 3)), R((2, 2), (2, 2, 3)), R((3, 2), (4, 1, 2, 3))],
    "multi_dot": [
        *[R((2, 3), (3, 1)), R((2, 3), (3, 1), (1, 4)), R((2,), (2, 3), (3, 1), (1,)), R((3,), (3,))],
        *[R((1, 4), (4, 1), (1, 3), (3, 2)), R((4, 1), (1, 4), (4,)), R((2,), (2, 3), (3, 1))],
    ],
    "einsum": [
        *[R((2, 3), (3, 4), subscripts="ij,jk"), R((2, 3), subscripts="ji"), R((2, 3, 4), subscripts="i...j->j...")],
        *[R((2, 3, 4), (4, 2), subscripts="...j,ji->...i"), R((2, 1, 3), (4, 3), subscripts="...i,...i->...")],
        *[R((2, 3), (3, 4), (4, 2), subscripts="ij,jk,kl->il", optimize=how) for how in (True, "optimal")],
        R((2, 3), (3, 4), (4, 2), subscripts="ij,jk,kl", optimize=["einsum_path", (1, 2), (0, 1)]),
        *[R((2, 3), (3, 4), subscripts=[[0, 1], [1, 2], [0, 2]]), R((2, 3), (2, 3), subscripts=[[5, 30], [5, 30]])],
        *[R((2, 3, 3), subscripts=[[..., 1, 1], [...]]), R((2, 3), (3,), subscripts=[[0, ...], [...]])],
    ],
    "convolve": [R((4,), (3,), mode=mode) for mode in ("full", "same", "valid")]
    + [R((2,), (5,), mode="same"), R((2,), (5,), mode="valid"), R((4,), (2,), mode="same"), R((3,), (1,))],
    "correlate": [R((4,), (3,), mode=mode) for mode in ("full", "same", "valid")]
    + [R((2,), (5,), mode="same"), R((2,), (5,)), R((4,), (2,), mode="same"), R((3,), (4,), mode="same")],
}
FORMULAS: dict[str, Callable[..., Any]] = {
    "cross": cross,
    "matvec": lambda a, v: np.einsum("...ij,...j->...i", a, v),
    "vecmat": lambda v, a: np.einsum("...i,...ij->...j", v, a),
    "multi_dot": np.linalg.multi_dot,
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
