"""Functions of one or two real variables beyond the elementary ones: erf, sinc, copysign and their like.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. ``erf`` is computed here, to 2 units in the last place, from
two published approximations; the others are NumPy's. ``sinc`` is one of a family closed under differentiation, so that
it is right at 0 at every order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..opaque import kernel
from ..recipe import Op, binary, unary
from .arithmetic import _won, over, power, times
from .discrete import astype

# fmt: off
__all__ = [
    "copysign", "deg2rad", "erf", "float_power", "fmax", "fmin", "fmod", "heaviside", "logaddexp2", "nan_to_num",
    "rad2deg", "sinc",
]
# fmt: on

# ---- erf -----------------------------------------------------------------------------------------------------

# Near 0: erf(x) = x + x P(x^2) / Q(x^2), from s_erf.c of fdlibm (Sun Microsystems, 1993).
# fmt: off
NEAR_P = (
    -2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02, -3.25042107247001499370e-01,
    1.28379167095512558561e-01,
)
NEAR_Q = (
    -3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03, 6.50222499887672944485e-02,
    3.97917223959155352819e-01, 1.0,
)
# Farther out: erfc(x) = exp(-x^2) P(x) / Q(x), from W. J. Cody, Rational Chebyshev approximations for the error
# function, Mathematics of Computation 23 (1969), 631-637.
FAR_P = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
    8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
)
FAR_Q = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)
# fmt: on


def _polynomial(x: Any, coefficients: Any) -> Any:
    """By Horner's rule, the coefficient of the highest power first."""
    y = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        y += coefficient
        y *= x
    y += coefficients[-1]
    return y


def _erf_of(x: Any) -> Any:
    """The error function of a vector of float32 or float64."""
    x = np.clip(x, -6.0, 6.0)  # beyond it is 1
    y = _polynomial(x * x, NEAR_P)
    y /= _polynomial(x * x, NEAR_Q)
    y *= x
    y += x
    far = np.nonzero(np.abs(x) >= 0.84375)
    x = x[far]
    a = np.abs(x)
    y[far] = np.copysign(1.0 - np.exp(-a * a) * (_polynomial(a, FAR_P) / _polynomial(a, FAR_Q)), x)
    return y


@kernel
def _erf(x: Any) -> Any:
    """The error function, in blocks that fit the cache."""
    x = np.asarray(x)
    y = x.astype(np.result_type(x.dtype, np.float32))  # in the order of memory of x, with no gaps
    flat = y.ravel("K")
    for start in range(0, y.size, 32768):
        block = slice(start, start + 32768)
        flat[block] = _erf_of(flat[block])
    return y.astype(np.result_type(x.dtype, np.float16), copy=False)


ERF_SLOPE = 2.0 / math.sqrt(math.pi)
erf = unary("erf", lambda x: _erf(x), lambda g, y, x: times(g, ERF_SLOPE * np.exp(-x * x)))

# ---- sinc ----------------------------------------------------------------------------------------------------


@kernel
def _spherical(x: Any, n: int) -> Any:
    """j_n(z) / z^n with z = pi x, j_n the spherical Bessel function of order n > 0; even, and smooth at 0.

    Near 0 by its power series, farther out by the recurrence from cos and sin (Abramowitz and Stegun, 10.1.2, 10.1.19).
    """
    z = np.pi * np.abs(np.asarray(x))
    near, far = np.minimum(z, n + 2.0), np.maximum(z, 1.0)
    series, term = 0.0, 1.0 / math.prod(range(1, 2 * n + 2, 2))
    for k in range(1, 20):
        series, term = series + term, term * near * near / (-2.0 * k * (2 * n + 2 * k + 1))
    before, y = np.cos(far), np.sin(far) / far
    for k in range(1, n + 1):
        before, y = y, ((2 * k - 1) * y - before) / (far * far)
    return np.where(z < n + 2.0, series, y)


sinc: Op = unary(
    "sinc",
    lambda x, n=0: _spherical(x, n) if n else np.sinc(x),
    lambda g, y, x, n: -times(g, np.pi**2 * x * sinc(x, n + 1)),
)

# ---- signs and steps -----------------------------------------------------------------------------------------

copysign = binary("copysign", np.copysign, lambda g, z, a, b: times(g, np.sign(a) * np.copysign(1.0, b)), None)
heaviside = binary("heaviside", np.heaviside, None, lambda g, z, a, b: np.where(a == 0, g, 0.0))
nan_to_num = unary(
    "nan_to_num",
    lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
    lambda g, y, x, nan, posinf, neginf: np.where(np.isfinite(x), g, 0.0),
)

# ---- cousins of rows on other pages --------------------------------------------------------------------------

deg2rad = unary("deg2rad", np.deg2rad, lambda g, y, x: g * (math.pi / 180.0))
rad2deg = unary("rad2deg", np.rad2deg, lambda g, y, x: g * (180.0 / math.pi))
logaddexp2 = binary(
    "logaddexp2",
    np.logaddexp2,
    lambda g, z, a, b: over(g, 1.0 + np.exp2(b - a)),
    lambda g, z, a, b: over(g, 1.0 + np.exp2(a - b)),
)


def _unless_nan(won: Any, g: Any, a: Any, b: Any) -> Any:
    """The share of g that goes to a: what it won; all if b is nan, half if both are."""
    return np.where(np.isnan(b), np.where(np.isnan(a), 0.5 * g, g), won)


fmax = binary(
    "fmax",
    np.fmax,
    lambda g, z, a, b: _unless_nan(_won(g, a, b), g, a, b),
    lambda g, z, a, b: _unless_nan(_won(g, b, a), g, b, a),
)
fmin = binary(
    "fmin",
    np.fmin,
    lambda g, z, a, b: _unless_nan(_won(g, b, a), g, a, b),
    lambda g, z, a, b: _unless_nan(_won(g, a, b), g, b, a),
)
fmod = binary("fmod", np.fmod, lambda g, z, a, b: g, lambda g, z, a, b: -times(g, (a - z) / b))


def float_power(x1: Any, x2: Any) -> Any:
    """x1 ** x2 in float64 at least, whatever the dtypes."""
    given = [x if hasattr(x, "dtype") else np.asarray(x) for x in (x1, x2)]
    return power(*[astype(x, np.result_type(x.dtype, float)) for x in given])
