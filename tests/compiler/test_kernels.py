"""Elementary functions against the same in more digits, in units in the last place; as they stand, and in numba.

float64 is compared with NumPy's long double where that has more digits, float32 with float64.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tinygrad_bp.compiler.kernels import KERNELS, compiled

FUNCTIONS = ["exp", "expm1", "log", "log1p", "tanh"]
KINDS = [
    pytest.param(
        np.float64,
        marks=pytest.mark.skipif(
            np.finfo(np.longdouble).nmant < 60, reason="long double is no longer than float64 here"
        ),
    ),
    np.float32,
]
LARGE = {np.float64: (-745.2, 709.8), np.float32: (-104.0, 88.8)}


def arguments(function: str, dtype: Any, n: int) -> Any:
    """Numbers of every size, dense near 0, 1 and where the method changes; subnormal numbers; the ends of the range."""
    generator = np.random.default_rng(0)
    low, high = LARGE[dtype]
    tiny, bits = np.finfo(dtype).smallest_normal, {np.float64: np.int64, np.float32: np.int32}[dtype]
    sizes = np.exp(generator.uniform(np.log(tiny) - 5.0, np.log(np.finfo(dtype).max) - 0.01, n))
    multiples = (
        np.arange(-1100, 1100)[:, None] * (np.log(2.0) / 2.0) * (1.0 + np.array([-1e-9, -1e-16, 0.0, 1e-16, 1e-9]))
    )
    x = np.concatenate(
        [
            *(generator.uniform(a, b, n) for a, b in ((low, high), (-2.0, 2.0), (-0.6, 0.6), (0.5, 2.0), (-1.0, 0.0))),
            *(sizes, -sizes, 1.0 + generator.normal(size=n) * 1e-4, generator.normal(size=n) * 1e-6),
            *(multiples.ravel(), np.exp2(np.arange(-1000, 1000)), np.sqrt(np.exp2(np.arange(-1000, 1000)))),
            np.array([low, high, 0.55, np.nextafter(0.55, 0), 20.0, -20.0, tiny, -tiny]),
        ]
    )
    with np.errstate(over="ignore"):
        x = np.concatenate([x.astype(dtype), generator.integers(1, int(tiny.view(bits)), n, bits).view(dtype)])
    inside = {"log": x > 0, "log1p": x > -1}.get(function, np.ones(x.shape, bool))
    return x[inside & np.isfinite(x)]


def distance(got: Any, function: str, x: Any) -> Any:
    """How far from the true value, in units of its last place."""
    wide = np.longdouble if x.dtype == np.float64 else np.float64
    with np.errstate(all="ignore"):
        true = getattr(np, function)(x.astype(wide))
        nearest = true.astype(x.dtype)
        units = np.abs(got.astype(wide) - true) / np.spacing(np.abs(nearest))
    return np.where(got == nearest, 0.0, units)  # also where both are infinite


def applied(kernel: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.array([kernel(number) for number in x], x.dtype)


def vectorised(function: str, dtype: Any) -> Any:
    numba = pytest.importorskip("numba", reason="needs numba: pip install 'tinygrad_bp[jit]'")
    kernel = compiled()[f"{function}_{dtype.__name__}"]

    @numba.njit(error_model="numpy")
    def run(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = kernel(x[i])

    return run


def calls_libm(run: Any, function: str) -> bool:
    (code,) = run.inspect_asm().values()
    return re.search(rf"\b{function}f?\b", code) is not None


def test_calls_of_libm_are_seen() -> None:
    numba = pytest.importorskip("numba", reason="needs numba: pip install 'tinygrad_bp[jit]'")
    run = numba.njit(lambda x: np.exp(x))
    run(1.0)
    assert calls_libm(run, "exp")


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_within_two_units_in_the_last_place(function: str, dtype: Any) -> None:
    x = arguments(function, dtype, 300)
    units = distance(applied(KERNELS[f"{function}_{dtype.__name__}"], x), function, x)
    worst = int(units.argmax())
    assert units[worst] <= 2.0, f"{function}({x[worst]!r}) is off by {units[worst]}"


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_within_two_units_in_vector_instructions(function: str, dtype: Any) -> None:
    run = vectorised(function, dtype)
    x = arguments(function, dtype, 200_000)
    got = np.empty_like(x)
    run(x, got)
    units = distance(got, function, x)
    worst = int(units.argmax())
    assert units[worst] <= 2.0, f"{function}({x[worst]!r}) is off by {units[worst]}"
    assert not calls_libm(run, function), "libm is called, one number at a time"


ENDS = {
    "exp": {np.inf: np.inf, -np.inf: 0.0, 800.0: np.inf, -800.0: 0.0, 0.0: 1.0, -1e-30: 1.0, 1e30: np.inf, -1e30: 0.0},
    "expm1": {np.inf: np.inf, -np.inf: -1.0, 800.0: np.inf, -800.0: -1.0, 0.0: 0.0, 1e-30: 1e-30, 1e30: np.inf},
    "log": {np.inf: np.inf, -np.inf: np.nan, 0.0: -np.inf, -1.0: np.nan, 1.0: 0.0, -1e-30: np.nan},
    "log1p": {np.inf: np.inf, -np.inf: np.nan, -1.0: -np.inf, -2.0: np.nan, 0.0: 0.0, 1e-30: 1e-30},
    "tanh": {np.inf: 1.0, -np.inf: -1.0, 1e-30: 1e-30, -1e-30: -1e-30, 0.0: 0.0, 1e30: 1.0, -25.0: -1.0, 25.0: 1.0},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_far_ends(function: str, dtype: Any) -> None:
    x = np.array([*ENDS[function], np.nan], dtype)
    want = np.array([*ENDS[function].values(), np.nan], dtype)
    np.testing.assert_array_equal(applied(KERNELS[f"{function}_{dtype.__name__}"], x), want)
    got = np.empty_like(x)
    vectorised(function, dtype)(x, got)
    np.testing.assert_array_equal(got, want)


def test_the_last_numbers_before_overflow_and_underflow() -> None:
    x = np.array([709.782712893384, 709.7827128933841, -745.1332191019411, -745.1332191019412, -708.4, -744.0])
    got, want = applied(KERNELS["exp_float64"], x), np.exp(x, where=x < 709.7827128933841, out=np.full(6, np.inf))
    assert got[1] == np.inf and got[2] == 5e-324 and got[3] == 0.0
    np.testing.assert_allclose(got, want, rtol=4e-16, atol=5e-324)


@pytest.mark.parametrize("kernel", ["maximum", "minimum"])
def test_the_larger_and_the_smaller_let_nan_through(kernel: str) -> None:
    for a in (1.0, 2.0, np.nan, np.inf, -np.inf):
        for b in (1.0, 2.0, np.nan, np.inf, -np.inf):
            np.testing.assert_equal(KERNELS[kernel](a, b), getattr(np, kernel)(a, b))
