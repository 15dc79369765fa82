"""Central differences, to compare gradients with: (f(x + h) - f(x - h)) / 2h, entry by entry, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_bp as bp


def close(a: Any, b: Any, tol: float) -> bool:
    """max|a - b| <= tol * max(1, max|b|)"""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    return bool(np.max(np.abs(a - b), initial=0.0) <= tol * max(1.0, np.max(np.abs(b), initial=0.0)))


def assert_gradients(
    function: Callable[[], bp.Tensor], *leaves: bp.Tensor, step: float = 1e-5, tol: float = 1e-8
) -> None:
    """The gradients of the leaves that `function` reads equal those by differences, for a random upstream gradient."""
    upstream = np.random.default_rng(0).normal(size=function().shape)
    for leaf in leaves:
        leaf.grad = None
    function().backward(upstream)
    for leaf in leaves:
        by_differences = np.zeros_like(leaf.data)
        for index in np.ndindex(leaf.shape):
            value = leaf.data[index]
            ends = []
            for h in (step, -step):
                leaf.data[index] = value + h
                ends.append((function().data * upstream).sum())
            leaf.data[index] = value
            by_differences[index] = (ends[0] - ends[1]) / (2 * step)
        assert leaf.grad is not None
        assert close(leaf.grad.data, by_differences, tol), f"{leaf.grad.data} is not {by_differences}"
