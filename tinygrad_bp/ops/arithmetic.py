"""Arithmetic, extremes and choice: the operators of a tensor that have derivatives.

In every page of the table *g is dC/d(output); y (or z) the output; x, a, b the inputs; then params. Say it in NumPy;
use nothing else; broadcasting is undone for you.* A partial divides by ``over(g, d)`` and multiplies by ``times(g, d)``
where d can be 0, infinite or nan: both are 0 where g is 0, so a branch that ``where`` did not take never turns a
gradient into nan. At ties ``maximum`` and ``minimum`` give each
side half; ``absolute`` has slope 0 at 0; ``clip`` has slope 1 on the closed interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recipe import Op, binary, primitive, unary

# fmt: off
__all__ = [
    "absolute", "add", "clip", "divide", "gate", "hypot", "maximum", "minimum", "multiply", "negative", "over",
    "positive", "power", "reciprocal", "remainder", "square", "subtract", "times", "where",
]
# fmt: on

# ---- g/d, but 0 where g is 0; a*b, but 0 where either is 0; g where a condition holds, else 0 ---------------
# (whatever the other is: inf and nan too; at every order: they are rows themselves)


def _is_finite(z: Any) -> bool:
    """Whether z holds numbers, and all are finite; what stands in for an array holds none."""
    has_numbers = type(z) is np.ndarray or isinstance(z, (np.generic, float))
    return has_numbers and bool(np.isfinite(z).all())


def _times(a: Any, b: Any) -> Any:
    z = a * b
    return z if _is_finite(z) else np.where(np.logical_and(a, b), z, 0.0)


def _gate(g: Any, is_open: Any) -> Any:
    z = g * is_open  # a tenth of the time of np.where
    return z if _is_finite(z) else np.where(is_open, g, 0.0)


over: Op = binary(
    "over",
    lambda g, d: np.where(g == 0, 0.0, g / d),
    lambda h, q, g, d: over(h, d),
    lambda h, q, g, d: -times(over(h, d), q),
)
times: Op = binary(
    "times",
    _times,
    lambda h, z, a, b: times(h, b),
    lambda h, z, a, b: times(h, a),
)
gate: Op = binary("gate", _gate, lambda h, z, g, is_open: gate(h, is_open), None)

# ---- the four operations and their relatives ---------------------------------------------------------------

add = binary("add", np.add, lambda g, z, a, b: g, lambda g, z, a, b: g)
subtract = binary("subtract", np.subtract, lambda g, z, a, b: g, lambda g, z, a, b: -g)
multiply = binary("multiply", np.multiply, lambda g, z, a, b: times(g, b), lambda g, z, a, b: times(g, a))
divide = binary("divide", np.divide, lambda g, z, a, b: over(g, b), lambda g, z, a, b: -times(over(g, b), z))
remainder = binary("remainder", np.remainder, lambda g, z, a, b: g, lambda g, z, a, b: -times(g, np.floor_divide(a, b)))
power = binary(
    "power",
    np.power,
    lambda g, z, a, p: times(g, times(p, a ** (p - 1))),
    lambda g, z, a, p: np.where(np.logical_and(a == 0, p >= 0), 0.0, times(times(g, z), np.log(a))),  # 0**p is flat
)
negative = unary("negative", np.negative, lambda g, y, x: -g)
positive = unary("positive", np.positive, lambda g, y, x: g)
square = unary("square", np.square, lambda g, y, x: times(g, 2.0 * x))
reciprocal = unary("reciprocal", np.reciprocal, lambda g, y, x: -times(times(g, y), y))
absolute = unary("absolute", np.absolute, lambda g, y, x: times(g, np.sign(x)))
hypot = binary("hypot", np.hypot, lambda g, z, a, b: over(times(g, a), z), lambda g, z, a, b: over(times(g, b), z))

# ---- extremes and choice -----------------------------------------------------------------------------------


def _won(g: Any, a: Any, b: Any) -> Any:
    """The share of g that goes to a where the larger wins: all, half at a tie, or nothing."""
    return np.where(a > b, g, np.where(a == b, 0.5 * g, 0.0))


maximum = binary("maximum", np.maximum, lambda g, z, a, b: _won(g, a, b), lambda g, z, a, b: _won(g, b, a))
minimum = binary("minimum", np.minimum, lambda g, z, a, b: _won(g, b, a), lambda g, z, a, b: _won(g, a, b))


_clip = primitive(
    "clip",
    lambda x, a_min, a_max: np.clip(x, a_min, a_max),
    lambda g, y, x, a_min, a_max: gate(g, x == y),
    lambda g, y, x, a_min, a_max: gate(g, x < y),
    lambda g, y, x, a_min, a_max: gate(g, x > y),
)


def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """`x` moved into [a_min, a_max]; a bound that is reached receives the gradient. None is no bound."""
    return _clip(x, a_min, a_max)


where = primitive(
    "where",
    lambda c, a, b: np.where(c, a, b),
    None,
    lambda g, z, c, a, b: gate(g, np.logical_and(c, True)),
    lambda g, z, c, a, b: gate(g, np.logical_not(c)),
)
