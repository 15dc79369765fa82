"""Elementary functions in plain arithmetic, which a compiler turns into vector instructions; calls of libm it cannot.

Each takes and gives one NumPy scalar, and is within 2 units in the last place of the true value at every argument:
subnormal numbers, infinities and nan included. Those for float32 compute in float64 with a shorter series and round
once. They run as they stand, slowly; :func:`compiled` hands them to numba, which may contract a product and a sum into
one instruction but not reorder: the reduction of the argument depends on the order.

The methods are the classic ones: J.-M. Muller, Elementary Functions, 3rd ed., 2016, chapters 3 and 11.
"""

from __future__ import annotations

from functools import cache
from math import inf, nan
from types import FunctionType
from typing import Any

from numpy import float32, float64, int64

__all__ = ["KERNELS", "compiled"]

# log(2), its inverse, and log(2) in two parts: n * HIGH is exact for every n that occurs.
LOG2, PER_LOG2 = 0.6931471805599453, 1.4426950408889634
HIGH, LOW = 0x162E42FEE / 2.0**33, 1.9082149292705877e-10

# Added to a number below 2^51, ROUND leaves it rounded to an integer in the last bits; ROUND_BITS are its own.
ROUND, ROUND_BITS = 1.5 * 2.0**52, 0x4338 << 48

# A float64 is its exponent + BIAS in the bits from 52 on, then its FRACTION; and the bits of sqrt(1/2).
BIAS, FRACTION, ROOT_BITS = 1023, (1 << 52) - 1, 0x3FE6A09E667F3BCD
FROM_ROOT = (BIAS << 52) - ROOT_BITS

# fmt: off


def exp_float64(x: Any) -> Any:
    """e^x = 2^n e^r with x = n log(2) + r, |r| <= log(2) / 2: Taylor's series, then 2^n in two steps, one may round."""
    y = -746.0 if x < -746.0 else x
    y = 710.0 if y > 710.0 else y
    shifted = y * PER_LOG2 + ROUND
    n = shifted - ROUND
    r = (y - n * HIGH) - n * LOW
    s = 1/2 + r * (1/6 + r * (1/24 + r * (1/120 + r * (1/720 + r * (1/5040 + r * (1/40320 + r * (1/362880 + r * (
        1/3628800 + r * (1/39916800 + r * (1/479001600 + r * (1/6227020800)))))))))))
    k = float64(shifted).view(int64) - ROUND_BITS
    half = k >> 1
    first, second = int64((half + BIAS) << 52).view(float64), int64((k - half + BIAS) << 52).view(float64)
    return (1.0 + (r + r * r * s)) * first * second


def exp_float32(x: Any) -> Any:
    """As above, with no power of 2 out of range."""
    y = float64(x)
    y = float64(-150.0) if y < -150.0 else y
    y = float64(100.0) if y > 100.0 else y
    shifted = y * PER_LOG2 + ROUND
    r = y - (shifted - ROUND) * LOG2
    s = 1/2 + r * (1/6 + r * (1/24 + r * (1/120 + r * (1/720 + r * (1/5040 + r * (1/40320))))))
    k = float64(shifted).view(int64) - ROUND_BITS
    return float32((1.0 + (r + r * r * s)) * int64((k + BIAS) << 52).view(float64))


def expm1_float64(x: Any) -> Any:
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1): no digit is lost where x is small, as n is 0."""
    y = -40.0 if x < -40.0 else x
    y = 710.0 if y > 710.0 else y
    shifted = y * PER_LOG2 + ROUND
    n = shifted - ROUND
    r = (y - n * HIGH) - n * LOW
    s = 1/2 + r * (1/6 + r * (1/24 + r * (1/120 + r * (1/720 + r * (1/5040 + r * (1/40320 + r * (1/362880 + r * (
        1/3628800 + r * (1/39916800 + r * (1/479001600 + r * (1/6227020800)))))))))))
    k = float64(shifted).view(int64) - ROUND_BITS
    half = k >> 1
    first, second = int64((half + BIAS) << 52).view(float64), int64((k - half + BIAS) << 52).view(float64)
    inverse = int64((half - k + BIAS) << 52).view(float64)
    return ((r + r * r * s) * first + (first - inverse)) * second


def tanh_float64(x: Any) -> Any:
    """1 - 2 / (e^2|x| + 1) with the sign of x; where that is below 1/2, Lambert's continued fraction, ending in 15."""
    size = abs(x)
    small = size < 0.55
    z = size * size
    a = size * z * (675675.0 + z * (45045.0 + z * (594.0 + z)))
    b = 2027025.0 + z * (945945.0 + z * (51975.0 + z * (630.0 + z)))
    a = a if small else 2.0
    b = b if small else exp_float64(2.0 * size) + 1.0
    value = (size if small else 1.0) - a / b
    return -value if x < 0.0 else value


def tanh_float32(x: Any) -> Any:
    """e / (e + 2) with the sign of x, where e = e^2|x| - 1 as above, with the shorter series."""
    size = abs(float64(x))
    y = 2.0 * (10.0 if size > 10.0 else size)
    shifted = y * PER_LOG2 + ROUND
    r = y - (shifted - ROUND) * LOG2
    s = 1/2 + r * (1/6 + r * (1/24 + r * (1/120 + r * (1/720 + r * (1/5040 + r * (1/40320))))))
    power = int64((float64(shifted).view(int64) - ROUND_BITS + BIAS) << 52).view(float64)
    e = (r + r * r * s) * power + (power - 1.0)
    value = e / (e + 2.0)
    return float32(-value if x < 0.0 else value)


def log_float64(x: Any) -> Any:
    """k log(2) + log(1 + f), x = 2^k (1 + f) and sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = 2 artanh(f / (2 + f))."""
    small = x < 2.0**-1022
    y = x * 2.0**54 if small else x
    bits = float64(y).view(int64) + FROM_ROOT
    k = int64((bits >> 52) + (ROUND_BITS - BIAS)).view(float64) - ROUND
    k = k - 54.0 if small else k
    f = int64((bits & FRACTION) + ROOT_BITS).view(float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    t = z * (2/3 + z * (2/5 + z * (2/7 + z * (2/9 + z * (2/11 + z * (2/13 + z * (2/15 + z * (2/17 + z * (2/19
        + z * (2/21))))))))))
    h = 0.5 * f * f
    value = k * HIGH - ((h - (s * (h + t) + k * LOW)) - f)
    value = value if 0.0 < x < inf else x + nan if x < 0.0 else x
    return -inf if x == 0.0 else value


def log_float32(x: Any) -> Any:
    """As above, with the shorter series and no small numbers."""
    y = float64(x)
    bits = float64(y).view(int64) + FROM_ROOT
    k = int64((bits >> 52) + (ROUND_BITS - BIAS)).view(float64) - ROUND
    f = int64((bits & FRACTION) + ROOT_BITS).view(float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    value = k * LOG2 + s * (2.0 + z * (2/3 + z * (2/5 + z * (2/7 + z * (2/9 + z * (2/11))))))
    value = value if 0.0 < y < inf else y + nan if y < 0.0 else y
    return float32(-inf if y == 0.0 else value)


def log1p_float64(x: Any) -> Any:
    """log(u) + c / u with u = 1 + x as rounded, and c what the rounding left out."""
    u = 1.0 + x
    c = (x - (u - 1.0)) / u
    return log_float64(u) + (c if -inf < c < inf else 0.0)


# fmt: on


def expm1_float32(x: Any) -> Any:
    """From float64."""
    return float32(expm1_float64(float64(x)))


def log1p_float32(x: Any) -> Any:
    """From float64."""
    return float32(log1p_float64(float64(x)))


def maximum(a: Any, b: Any) -> Any:
    """The larger; nan if either is."""
    return a if a >= b or a != a else b


def minimum(a: Any, b: Any) -> Any:
    """The smaller; nan if either is."""
    return a if a <= b or a != a else b


def plus(a: Any, b: Any) -> Any:
    """a + b, in a sum that may be taken in any order."""
    return a + b


def times(a: Any, b: Any) -> Any:
    """a b, in a product that may be taken in any order."""
    return a * b


KERNELS: dict[str, FunctionType] = {
    name: function for name, function in globals().items() if type(function) is FunctionType and function is not cache
}
"""By name, each after those it calls."""


@cache
def compiled() -> dict[str, Any]:
    """The kernels as numba's functions, to be called by others of its functions and made part of them."""
    from numba import njit

    scope = dict(globals())
    for name, function in KERNELS.items():
        fast = {"reassoc", "nsz"} if function in (plus, times) else {"contract"}
        again = FunctionType(function.__code__, scope, name)
        scope[name] = njit(again, forceinline=True, error_model="numpy", fastmath=fast)
    return {name: scope[name] for name in KERNELS}
