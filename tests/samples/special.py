"""Samples and references for the page `special` of the table: data, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array

from .values import Domain, R, S, Samples, above_one, flag, positive, real, unit, vary, whole


def spherical(x: Any, n: int) -> Any:
    """j_n(z) / z^n as an integral (Abramowitz and Stegun, 10.1.13), z = pi x."""
    t, weights = np.polynomial.legendre.leggauss(60)
    values = np.cos(np.pi * x[..., None] * t) * (1.0 - t * t) ** n
    return (values * weights).sum(-1) / (2.0 ** (n + 1) * math.factorial(n))


UNARY: dict[str, Domain] = dict.fromkeys(["erf", "sinc", "deg2rad", "rad2deg", "nan_to_num", "signbit"], real)
BINARY: dict[str, tuple[Domain, Domain]] = {
    **dict.fromkeys(["fmax", "fmin", "logaddexp2"], (real, real)),
    "fmod": (unit, above_one),
    **dict.fromkeys(["logical_xor", "bitwise_xor"], (flag, flag)),
}
ROWS: dict[str, Samples] = {
    "erf": [S(array([-7.0, -3.0, 0.0, 3.0, 7.0]))],
    "sinc": [S(array([0.0, 0.01, 0.9, 1.1, 4.3])), *vary(array([0.0, 1e-3, 0.94, 0.97, 1.3, -4.2]), n=[1, 2])],
    "fmod": [
        S(array([7.3, -5.2, 7.3]), array([2.0, 3.0, -2.0])),
        S(array([7.3, -5.2]), 2),
        S(9.0 * real(2, 4), above_one(4)),
    ],
    "logaddexp2": [S(array([0.0, 30.0, -30.0]), array([0.0, -5.0, 5.0]))],
    "copysign": [
        S(real(3), -2.0),
        S(real(2, 3), whole(3)),
        S(real(2, 1), array([2, -1])),
        S(real(), 1),
        S(real(0), -1),
    ],
    "heaviside": [S(whole(2, 3), real(2, 3)), S(whole(2, 3), real(3)), S(whole(3), real(2, 1)), S(0, real())],
    "round": [R((2, 3)), R((2, 3), decimals=1), S(100.0 * real(3), decimals=-2)],
    "nan_to_num": [S(array([1.5, -2.0]), nan=1.0, posinf=2.0, neginf=3.0)],
}
SPELLED: dict[str, Samples] = {
    "float_power": [
        S(positive(2, 3), real(3)),
        S(real(3), 2),
        S(2, real(3)),
        S(real(2, 3), array([2, 3, 0])),
        R((0,), (0,)),
    ],
}
FORMULAS: dict[str, Callable[..., Any]] = {
    "sinc": lambda x, n=0: np.sinc(x) if n == 0 else spherical(x, n),
    "erf": np.vectorize(math.erf, otypes=[float]),
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR = {"deg2rad", "rad2deg", "nan_to_num", "copysign", "heaviside", "fmax", "fmin", "fmod"}
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
