"""Circular and hyperbolic functions and their inverses, each with its derivative beside it.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`; ``tanh`` is on the page
:mod:`~tinygrad_bp.ops.elementary`. At the ends of their domains ``arcsin``, ``arccos``, ``arccosh`` and ``arctanh``
have slope inf; ``arctan2`` has slope 0 at the origin.
"""

from __future__ import annotations

import numpy as np

from ..recipe import binary, unary
from .arithmetic import over, times

# fmt: off
__all__ = [
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cos", "cosh", "sin", "sinh", "tan",
]
# fmt: on

sin = unary("sin", np.sin, lambda g, y, x: times(g, np.cos(x)))
cos = unary("cos", np.cos, lambda g, y, x: -times(g, np.sin(x)))
tan = unary("tan", np.tan, lambda g, y, x: times(g, 1.0 + y * y))
arcsin = unary("arcsin", np.arcsin, lambda g, y, x: over(g, np.sqrt((1.0 - x) * (1.0 + x))))
arccos = unary("arccos", np.arccos, lambda g, y, x: -over(g, np.sqrt((1.0 - x) * (1.0 + x))))
arctan = unary("arctan", np.arctan, lambda g, y, x: over(g, 1.0 + x * x))
arctan2 = binary(
    "arctan2",
    np.arctan2,
    lambda g, z, a, b: times(over(g, np.hypot(a, b)), over(b, np.hypot(a, b))),
    lambda g, z, a, b: -times(over(g, np.hypot(a, b)), over(a, np.hypot(a, b))),
)
sinh = unary("sinh", np.sinh, lambda g, y, x: times(g, np.cosh(x)))
cosh = unary("cosh", np.cosh, lambda g, y, x: times(g, np.sinh(x)))
arcsinh = unary("arcsinh", np.arcsinh, lambda g, y, x: over(g, np.hypot(x, 1.0)))
arccosh = unary("arccosh", np.arccosh, lambda g, y, x: over(g, np.sqrt(x - 1.0) * np.sqrt(x + 1.0)))
arctanh = unary("arctanh", np.arctanh, lambda g, y, x: over(g, (1.0 - x) * (1.0 + x)))
