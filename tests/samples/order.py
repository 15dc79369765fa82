"""Samples and references for the page `order` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array

from .values import R, S, Samples, real, unit, vary, whole

TABLE = array([-0.9, -0.2, 0.15, 1.1])
LINES = ["inverted_cdf", "hazen", "midpoint", "nearest"]


def partition(x: Any, kth: Any, axis: int = -1) -> Any:
    return np.take_along_axis(x, np.argpartition(x, kth, axis), axis)


MEDIANS: Samples = [R((4,)), R((2, 3), axis=1), R((3, 4), axis=-1, keepdims=True), R((2, 3, 2), axis=(2, 0))]
ROWS: dict[str, Samples] = {
    "sort": [
        *[R((4,)), R((2, 3), axis=0), R((2, 3), axis=None), R((2, 3, 2), axis=1, kind="stable"), R((0,))],
        R((), axis=None),
    ],
    "permuted": [R((4,), order=array([2, 0, 3, 1]), axis=0), R((2, 3), order=array([[1, 2, 0], [0, 2, 1]]), axis=-1)],
    "partition": [R((5,), kth=2), R((2, 4), kth=1), R((3, 2), kth=(0, 2), axis=0), R((1, 3), kth=-1, axis=1)],
    "median": [*MEDIANS, R(()), R((3,)), R((0, 3), axis=1)],
    "nanmedian": MEDIANS,
    "quantile": [
        *vary(real(5), q=[0.3, 1.0, array([[0.2], [0.9]])]),
        *[R((2, 3, 2), q=array([0.2, 0.7]), axis=(0, 2)), R((3, 2), q=0.25, axis=0), R((), q=0.5)],
        *[R((2, 3), q=array([0.3, 0.8]), axis=0, keepdims=True), R((2, 4), q=0.35)],
        *[R((4,), q=0.23, method=method) for method in LINES],
    ],
}
SPELLED: dict[str, Samples] = {
    "percentile": [R((5,), q=30), R((2, 3), q=[20.0, 75.0], axis=1), R((4,), q=60, method="higher", keepdims=True)],
    "interp": [
        *[S(unit(5), TABLE, real(4)), S(real(2, 3), TABLE, real(4)), S(real(5), TABLE, real(4), left=2.0, right=-3.0)],
        *[
            S(unit(3), array([-1, 0, 1]), real(3)),
            S(real(3), array([0.0, 0.7]), whole(2)),
            S(unit(), TABLE, real(4)),
            S(real(2), array([0.5]), array([2.0])),
        ],
    ],
    "trapezoid": [
        *[R((4,)), R((2, 3), dx=0.5, axis=0), S(real(4), TABLE), S(real(2, 3), unit(3)), R((2, 3), (2, 3), axis=0)],
        *[S(real(2, 3, 2), unit(3), axis=1), S(real(3), array([0, 1, 3])), R((1,)), R((0, 3), axis=-1)],
    ],
}
FORMULAS: dict[str, Callable[..., Any]] = {
    "partition": partition,
    "permuted": lambda x, order, axis: np.take_along_axis(x, order, axis),
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR = {"permuted", "sort", "partition", "median", "nanmedian", "quantile"}
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
