"""Samples and references for the page `reductions` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .values import Domain, Samples

REDUCTIONS: dict[str, Domain] = {}
ROWS: dict[str, Samples] = {}
SPELLED: dict[str, Samples] = {}
FORMULAS: dict[str, Callable[..., Any]] = {}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
