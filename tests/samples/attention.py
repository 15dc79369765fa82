"""Samples and references for the page `attention` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .values import R, S, Samples, real

ONE_KEY_LEFT_OUT = np.array([[True, False, True, True], [True, True, True, False], [True, True, False, True]])
NO_KEYS = np.array([[False, False], [True, True]])
ROWS: dict[str, Samples] = {
    "attention_weights": [
        S(real(3, 2), real(4, 2, k=1), None),
        S(real(3, 2), real(4, 2, k=1), ONE_KEY_LEFT_OUT, scale=0.7),
        S(real(2, 3), real(2, 3, k=1), NO_KEYS),
        R((2, 2, 1, 3), (2, 1, 2, 3), (1, 2), scale=0.5),
        S(real(2, 0, 2), real(2, 1, 2), None),
    ]
}
SPELLED: dict[str, Samples] = {}


def attention_weights(q: Any, k: Any, mask: Any, scale: float = 1.0) -> Any:
    e = np.exp(scale * np.einsum("...ld,...sd->...ls", q, k))
    if mask is not None:
        e = e * (mask if mask.dtype == bool else np.exp(mask))
    total = np.sum(e, -1, keepdims=True)
    return e / np.where(total > 0, total, 1.0)


FORMULAS: dict[str, Callable[..., Any]] = {"attention_weights": attention_weights}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
