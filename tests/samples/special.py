"""Samples and references for the page `special` of the table: data, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array

from .values import Domain, S, Samples, real

UNARY: dict[str, Domain] = dict.fromkeys(["erf"], real)
BINARY: dict[str, tuple[Domain, Domain]] = {}
ROWS: dict[str, Samples] = {
    "erf": [S(array([-7.0, -3.0, 0.0, 3.0, 7.0]))],
}
SPELLED: dict[str, Samples] = {}
FORMULAS: dict[str, Callable[..., Any]] = {
    "erf": np.vectorize(math.erf, otypes=[float]),
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
