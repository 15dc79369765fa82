"""Samples and references for the page `reductions` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import array

from .values import Domain, R, S, Samples, positive, real, vary, whole

REDUCTIONS: dict[str, Domain] = {}
FEW: Samples = [R((3,)), R((2, 3), axis=1), R((2, 3, 2), axis=(0, 2), keepdims=True), R(()), R((0, 3), axis=1)]
ROWS: dict[str, Samples] = {
    "cumprod": [
        *[R(()), R((2, 3)), R((2, 5, 2), axis=1), R((1, 2), axis=0), R((2, 0), axis=1), S(array([2.0, 0.0, 3.0, 5.0]))],
        *vary(array([[0.0, 2.0, 0.0], [3.0, 0.0, 5.0]]), axis=[0, 1, None]),
    ],
    **dict.fromkeys(["nanmean", "nanmax", "nanmin"], FEW),
    "nanvar": [*FEW, R((2, 3), axis=1, ddof=1)],
}
SPELLED: dict[str, Samples] = {
    "ptp": [R((3,)), R((2, 3), axis=1), R((2, 3, 2), axis=(0, 2), keepdims=True)],
    "average": [
        *[R((2, 3)), R((2, 3), axis=0), R((2, 3), axis=1, keepdims=True), S(real(2, 3), positive(3), axis=1)],
        *[S(real(2, 3), positive(2, 3)), S(real(2, 3), positive(2, 3), axis=-1, keepdims=True)],
        *[S(real(2, 3, 4), positive(4, 2), axis=(2, 0)), S(real(3), whole(3) + 3)],
    ],
    **{name: [R((3,)), R((2, 3), axis=0)] for name in ("nansum", "nanprod", "nancumsum", "nancumprod")},
    "nanstd": [R((3,)), R((2, 3), axis=1, ddof=1), R((2, 3), axis=0, keepdims=True)],
}
FORMULAS: dict[str, Callable[..., Any]] = {}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR = {"nanmean", "nanmax", "nanmin"}
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
