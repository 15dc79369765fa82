"""Samples and references for the page `normalize` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .values import R, S, Samples, real


def standardized(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def affine(x: Any, w: Any, b: Any, shape: Any) -> Any:
    x = x if w is None else x * w.reshape(shape)
    return x if b is None else x + b.reshape(shape)


def last(x: Any, axes: int) -> tuple[int, ...]:
    return tuple(range(x.ndim - axes, x.ndim))


def layer_norm(x: Any, w: Any, b: Any, axes: int = 1, eps: float = 1e-5) -> Any:
    return affine(standardized(x, last(x, axes), eps), w, b, x.shape[x.ndim - axes :])


def rms_norm(x: Any, w: Any, axes: int = 1, eps: float = 1e-5) -> Any:
    y = x / np.sqrt((x * x).mean(last(x, axes), keepdims=True) + eps)
    return affine(y, w, None, x.shape[x.ndim - axes :])


def batch_norm(x: Any, w: Any, b: Any, moments: Any = None, eps: float = 1e-5) -> Any:
    return affine(standardized(x, (0, *range(2, x.ndim)), eps), w, b, (-1,) + (1,) * (x.ndim - 2))


def group_norm(x: Any, w: Any, b: Any, num_groups: int, eps: float = 1e-5) -> Any:
    groups = [standardized(part, tuple(range(1, x.ndim)), eps) for part in np.split(x, num_groups, 1)]
    return affine(np.concatenate(groups, 1), w, b, (-1,) + (1,) * (x.ndim - 2))


ROWS: dict[str, Samples] = {
    "layer_norm": [R((3, 4), (4,), (4,)), R((2, 2, 3), (2, 3), (2, 3), axes=2, eps=0.1), S(real(2, 3), None, None)],
    "rms_norm": [R((3, 4), (4,)), R((2, 2, 3), (2, 3), axes=2, eps=0.1), S(real(2, 3), None, eps=1e-3)],
    "batch_norm": [
        S(real(4, 3), real(3, k=1), real(3, k=2), None),
        S(real(2, 2, 1, 3), real(2, k=1), real(2, k=2), None, eps=0.1),
        S(real(3, 2, 2), None, None, None),
    ],
}
SPELLED: dict[str, Samples] = {
    "group_norm": [R((2, 4, 2), (4,), (4,), num_groups=2), S(real(2, 4), None, None, num_groups=2, eps=0.1)],
}
FORMULAS: dict[str, Callable[..., Any]] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "batch_norm": batch_norm,
    "group_norm": group_norm,
}
"""What a name must compute, where NumPy has none of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
