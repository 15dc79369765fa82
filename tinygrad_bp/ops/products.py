"""Products spelled with ``matmul`` and ``multiply``: dot, outer and their relatives.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`; the rows are on the page :mod:`~tinygrad_bp.ops.linear`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import multiply
from .linear import matmul
from .shape import reshape

__all__ = ["dot", "outer"]


def dot(a: Any, b: Any) -> Any:
    """np.dot for scalars, vectors and matrices."""
    if np.ndim(a) > 2 or np.ndim(b) > 2:
        raise ValueError(f"dot: shapes {np.shape(a)} and {np.shape(b)} have more than two axes. Use matmul or einsum.")
    return multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else matmul(a, b)


def outer(a: Any, b: Any) -> Any:
    """a_i b_j of the flattened inputs."""
    return multiply(reshape(a, (-1, 1)), reshape(b, -1))
