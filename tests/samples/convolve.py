"""Samples and references for the page `convolve` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .values import Samples

ROWS: dict[str, Samples] = {}
SPELLED: dict[str, Samples] = {}
FORMULAS: dict[str, Callable[..., Any]] = {}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
