"""Second opinions on a gradient that was found wrong, by ways that share nothing with the differences that found it.

The Taylor remainder |f(x + hu) - f(x) - h g.u| falls like h^2 where g is right and like h where it is wrong, and needs
no good step. The complex step f(x + ihu).imag / h has no rounding at all, where plain NumPy code takes complex numbers.
And a gradient of any function has a symmetric derivative: a field that has not is the gradient of nothing.
"""

from __future__ import annotations

import warnings
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .differences import EPS
from .problem import Problem
from .report import Diagnosis, Verdict
from .verdict import Findings

__all__ = ["asymmetry", "second"]

CURE = "Some partial uses a constant (.item(), a saved value) where it should use the Tensor: say it in NumPy"

Array = NDArray[Any]


def second(problem: Problem, found: Findings, rng: np.random.Generator) -> tuple[str, ...]:
    """What the Taylor remainder and the complex step say along the entry that is wrong by most."""
    off = np.where(found.verdict == Verdict.FAIL, np.abs(found.analytic - found.estimate.value), -1.0)
    off[~np.isfinite(off)] = -1.0
    i, k = np.unravel_index(int(np.argmax(off)), off.shape)
    if off[i, k] < 0.0 or found.estimate.kink[i, k]:
        return ()
    v = found.v if found.v is not None else np.arange(problem.y.size) == k
    u = np.zeros(problem.x.size)
    u[i] = np.abs(problem.x[i]) or 1.0
    a, n = float(found.analytic[i, k] * u[i]), float(found.estimate.value[i, k] * u[i])
    said = []
    power = _taylor_power(problem, u, v, a)
    if power is not None:
        said.append(
            f"the Taylor remainder along the worst entry falls like h^{power:.2f} (h^2 where a gradient is right)"
        )
    exact = _complex_step(problem, u, v)
    if exact is not None and abs(exact - n) <= 1e-4 * abs(n):
        agrees = "analytic" if abs(exact - a) < abs(exact - n) else "numeric"
        said.append(f"the complex step gives {exact / u[i]:.10g}, as the {agrees} value")
    return tuple(said)


def _taylor_power(problem: Problem, u: Array, v: Array, slope: float) -> float | None:
    """P of |f(x + hu) - f(x) - h slope| ~ h^p, the median over steps at which rounding does not show."""
    y = float(v @ problem.y)
    steps = 2.0 ** -np.arange(4, 14)
    remainder = np.array([abs(float(v @ problem.value(problem.x + h * u)) - y - h * slope) for h in steps])
    clear = np.isfinite(remainder) & (remainder > 100.0 * EPS * (np.abs(v) @ np.abs(problem.y)))
    if clear.sum() < 4:
        return None
    powers = np.diff(np.log2(remainder[clear])) / np.diff(np.log2(steps[clear]))
    return float(np.median(powers))


def _complex_step(problem: Problem, u: Array, v: Array) -> float | None:
    """D f along u from the imaginary part of f(x + ihu); None where the function does not take complex numbers."""
    if not problem.owns_gradients:
        return None
    h = 1e-20
    x = problem.x + 1j * h * u
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as that an imaginary part was discarded
            result = problem.forward([x[cut].reshape(shape) for cut, shape in zip(problem.cuts, problem.shapes)])
        outputs = result if isinstance(result, (tuple, list)) else [result]
        y = np.concatenate([np.asarray(y, complex).ravel() for y in outputs])
    except Exception:  # it was not written for complex numbers
        return None
    value = float(v @ (y.imag / h)) if y.size == problem.y.size else float("nan")
    return value if np.isfinite(value) and value else None


def asymmetry(problem: Problem, found: Findings) -> list[Diagnosis]:
    """Of a backward as the function: second derivatives by two arguments that depend on their order."""
    if found.mode != "full":
        return []
    diagnoses, rounding = [], 1e-13 * np.abs(found.analytic).max(initial=0.0)
    names = [name for name in problem.names if f"grad {name}" in problem.outputs]
    for name, other in combinations_with_replacement(names, 2):
        a = _second_derivative(problem, found, name, other)
        b = _second_derivative(problem, found, other, name).T
        largest = np.abs(a).max(initial=0.0)
        off = np.abs(a - b).max(initial=0.0)
        if off > 1e-8 * largest + rounding:
            text = f"d2/d{name}d{other} differs from d2/d{other}d{name} by {off:.2g}, at a size of {largest:.2g}"
            diagnoses.append(Diagnosis("ASYMMETRIC", text, CURE))
    return diagnoses


def _second_derivative(problem: Problem, found: Findings, output: str, argument: str) -> Array:
    rows = problem.cuts[problem.names.index(argument)]
    columns = problem.output_cuts[problem.outputs.index(f"grad {output}")]
    return np.asarray(found.analytic[rows, columns].T)
