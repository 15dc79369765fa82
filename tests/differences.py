"""Central differences, extrapolated: the numbers that every gradient of this project is compared with.

Three central differences at steps h, h/2 and h/4 are combined so that their errors in h^2 and h^4 cancel (Richardson).
In float64, for functions smooth within h of the point, this gives 11 to 13 digits; kinks nearer than h are the
caller's to avoid. Only `assert_gradients` knows Tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_bp as bp

STEP = 2.0**-7  # of an entry of size 1 or less; a larger entry takes a proportionally larger step
TOLERANCE = 1e-9  # of every gradient that is compared with differences, relative as `close` says


def derivative(f: Callable[[float], float], x: float) -> float:
    """f'(x)"""
    h = STEP * max(1.0, abs(x))
    coarse, middle, fine = ((f(x + s) - f(x - s)) / ((x + s) - (x - s)) for s in (h, h / 2, h / 4))
    coarse, fine = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * fine - coarse) / 15


def slopes(f: Callable[[], Any], x: Any) -> Any:
    """df/dx for every entry of the array x that f reads; f is scalar, x is as before afterwards."""
    dx = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        before = x[index]

        def at(value: float, index: tuple[int, ...] = index) -> float:
            x[index] = value
            return float(f())

        try:
            dx[index] = derivative(at, float(before))
        finally:
            x[index] = before
    return dx


def gradient(f: Callable[..., Any], *arrays: Any) -> list[Any]:
    """df/dx for every array x; f is scalar."""
    arrays = tuple(np.array(x, np.float64) for x in arrays)
    return [slopes(lambda: f(*arrays), x) for x in arrays]


def vjp(f: Callable[..., Any], u: Any, *arrays: Any) -> list[Any]:
    """d<u, f>/dx for every array x."""
    return gradient(lambda *xs: np.vdot(u, f(*xs)), *arrays)


def error(a: Any, b: Any) -> float:
    """max|a - b| / max(1, max|b|); infinities and nans must be where b has them."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return np.inf
    a, b = a[finite].astype(np.float64), b[finite].astype(np.float64)
    worst = np.max(np.abs(a - b), initial=0.0) / np.max(np.abs(b), initial=1.0)
    return np.inf if np.isnan(worst) else float(worst)


def close(a: Any, b: Any, tol: float) -> bool:
    """max|a - b| <= tol * max(1, max|b|)"""
    return error(a, b) <= tol


def assert_close(a: Any, b: Any, what: str, tol: float = TOLERANCE) -> None:
    found = error(a, b)
    assert found <= tol, f"{what}: relative error {found:.1e} > {tol:.0e}\n{a!s:.999}\nexpected\n{b!s:.999}"


def assert_gradients(function: Callable[[], bp.Tensor], *leaves: bp.Tensor, tol: float = TOLERANCE) -> None:
    """The gradients of the leaves that `function` reads equal those by differences, for a random upstream gradient."""
    upstream = np.random.default_rng(0).normal(size=function().shape)
    for leaf in leaves:
        leaf.grad = None
    function().backward(upstream)
    for k, leaf in enumerate(leaves):
        assert leaf.grad is not None
        by_differences = slopes(lambda: np.vdot(upstream, function().data), leaf.data)
        assert_close(leaf.grad.data, by_differences, f"leaf {k}", tol)
