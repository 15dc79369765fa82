"""Samples and references for the page `losses` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array

from .values import S, Samples, fraction

ROWS: dict[str, Samples] = {
    "binary_cross_entropy": [
        *[S(fraction(*shape), fraction(*shape, k=1)) for shape in [(), (3,), (2, 3), (0, 3)]],
        *[S(fraction(2, 3), fraction(3, k=1)), S(fraction(2), array([0.0, 1.0]))],
    ],
}
SPELLED: dict[str, Samples] = {}
FORMULAS: dict[str, Callable[..., Any]] = {
    "binary_cross_entropy": lambda p, y: -y * np.log(p) - (1 - y) * np.log(1 - p),
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
