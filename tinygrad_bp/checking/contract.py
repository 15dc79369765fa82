"""What a backward must do whatever its numbers are: the cheap checks that come before any difference is taken.

The same call gives the same result; nobody's arrays are written, none is shared; each argument gets a gradient of its
shape; and the gradients are linear in the incoming gradient, which one-hot seeds cannot see and signed random vectors
do. Each finding has a code of its own. How far linearity is missed on a backward that keeps it is the rounding noise of
that backward, and is handed on as a floor for the comparison with differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .differences import scales
from .problem import Broken, Problem, fits
from .report import Diagnosis

__all__ = ["Contract", "examine"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Contract:
    """What was found before any number was compared."""

    broken: tuple[Diagnosis, ...]
    defect: Array
    """For every entry of x, how far the backward is from linear: its rounding noise."""
    v: Array
    """An incoming gradient, signed and random."""
    raw: list[Any]
    """What the backward returned for it, as it came."""
    scale: Array
    """For every entry of x the size its steps are measured by."""


def examine(problem: Problem, rng: np.random.Generator) -> Contract:
    """Call forward and backward a few times each, and look at everything but the numbers."""
    v, w = (np.ones(1) if problem.seedless else rng.standard_normal(problem.y.size) for _ in range(2))
    no_defect, scale = np.zeros(problem.x.size), scales(problem)
    broken = _of_the_forward(problem)
    if any(d.code == "NONDETERMINISTIC" for d in broken):
        return Contract(tuple(broken), no_defect, v, [None] * len(problem.names), scale)
    arrays, upstream = problem.arrays(problem.x), problem.upstream(v)
    raw = problem.pull(arrays, upstream)
    broken += _of_the_arrays(problem, arrays, upstream, v, raw)
    broken += _of_the_gradients(problem, raw)
    if any(d.code in ("SHAPE", "DTYPE") for d in broken):
        return Contract(tuple(broken), no_defect, v, raw, scale)
    first, again = problem.flat(raw), problem.vjp(v)
    if not np.array_equal(first, again, equal_nan=True):
        broken.append(_not_repeatable(problem, first, again))
        return Contract(tuple(broken), no_defect, v, raw, scale)
    other, mixed, none = problem.vjp(w), problem.vjp(v - 3.0 * w), problem.vjp(0.0 * v)
    with np.errstate(invalid="ignore"):
        defect = np.nan_to_num(np.abs(mixed - first + 3.0 * other), posinf=0.0)
    bound = _rounding(problem, first, other, scale)
    if (defect > bound).any():
        broken.append(_not_linear(problem, v, first))
        defect = no_defect
    elif none[np.isfinite(none)].any():
        broken.append(_not_zero(problem, none))
    elif (np.abs(np.nan_to_num(_strided(problem, v) - first)) > bound).any():
        text = "the gradients are others when the incoming gradient is not contiguous in memory"
        broken.append(Diagnosis("LAYOUT", text, "Index it by axis; do not reshape, ravel or read its buffer in place"))
    return Contract(tuple(broken), defect, v, raw, scale)


def _rounding(problem: Problem, first: Array, other: Array, scale: Array) -> Array:
    """What rounding may leave of v - 3 w, with float32 inside; what is not linear is off by as much as the gradient."""
    size = sum(k * np.abs(np.nan_to_num(g, posinf=0.0, neginf=0.0)) for k, g in ((1.0, first), (3.0, other)))
    bound = 1e-5 * size + 1e-10 * np.abs(problem.y).max(initial=0.0) / scale
    for cut in problem.cuts:
        bound[cut] += 1e-6 * size[cut].max(initial=0.0)
    return np.asarray(bound)


def _of_the_forward(problem: Problem) -> list[Diagnosis]:
    found = []
    arrays = problem.arrays(problem.x)
    problem.run(arrays)
    found += _written(problem, arrays, "forward")
    if not np.array_equal(problem.value(problem.x), problem.y, equal_nan=True):
        text = "two calls of the forward with the same inputs gave different outputs"
        hint = "Draw from the generator passed as rng=, or from the package's own; keep no state"
        found.append(Diagnosis("NONDETERMINISTIC", text, hint))
    return found


def _written(problem: Problem, arrays: list[Array], who: str) -> list[Diagnosis]:
    looked_at = [*zip(problem.names, arrays, problem.inputs), *problem.others_before()]
    return [
        Diagnosis("MUTATION", f"the {who} writes into its argument {name}", f"Work on a copy: {name}.copy()", name)
        for name, a, before in looked_at
        if not np.array_equal(a, before, equal_nan=before.dtype.kind == "f")
    ]


def _of_the_arrays(
    problem: Problem, arrays: list[Array], upstream: list[Array], v: Array, raw: list[Any]
) -> list[Diagnosis]:
    """Nothing written, nothing shared."""
    found = _written(problem, arrays, "backward")
    if not np.array_equal(np.concatenate([u.ravel() for u in upstream]), v):
        text, hint = "the backward writes into the incoming gradient", "Work on a copy: grad = upstream * local"
        found.append(Diagnosis("MUTATION", text, hint))
    if not problem.owns_gradients:
        return found
    gradients = [(name, g) for name, g in zip(problem.names, raw) if isinstance(g, np.ndarray)]
    others = [("the incoming gradient", u) for u in upstream] + list(zip(problem.names, arrays))
    pairs = [*((g, other) for g in gradients for other in others), *combinations(gradients, 2)]
    for (name, g), (other, a) in pairs:
        if np.shares_memory(g, a):
            what = other if other == "the incoming gradient" else f"the gradient of {other}"
            if any(a is x for x in arrays):
                what = f"the argument {other}"
            text = f"the gradient of {name} shares its memory with {what}"
            found.append(Diagnosis("SHARED", text, "Return an array of its own: .copy()", name))
            break
    return found


def _of_the_gradients(problem: Problem, raw: list[Any]) -> list[Diagnosis]:
    """One for each argument, of its shape, of real numbers."""
    found = []
    for name, g, shape in zip(problem.names, raw, problem.shapes):
        if g is None:
            continue
        try:
            array = np.asarray(g)
        except (TypeError, ValueError, RuntimeError) as error:
            raise Broken("DTYPE", f"the gradient of {name} is no array: {error}", "Return an array") from error
        if array.dtype.kind != "f":
            what = type(g).__name__ if array.dtype.kind == "O" else array.dtype
            hint = "Return floats; make room for it with np.zeros_like(x, dtype=float)"
            found.append(Diagnosis("DTYPE", f"the gradient of {name} has dtype {what}, not a float", hint, name))
        elif not fits(array, shape):
            text = f"the gradient of {name} has shape {array.shape}, {name} has {shape}"
            found.append(Diagnosis("SHAPE", text, f"Return an array of shape {shape}", name))
    return found


def _not_repeatable(problem: Problem, first: Array, again: Array) -> Diagnosis:
    changed = [
        name for name, cut in zip(problem.names, problem.cuts)
        if not np.array_equal(first[cut], again[cut], equal_nan=True)
    ]  # fmt: skip
    names = " and ".join(changed)
    if np.allclose(again, 2.0 * first, equal_nan=True) or any(
        np.allclose(again[cut], 2.0 * first[cut]) and first[cut].any() for cut in problem.cuts
    ):
        text = f"a second backward returns twice the gradient of {names}: it adds to what the first one left"
        return Diagnosis("ACCUMULATES", text, "Start from zeros in every call", changed[0])
    text = f"two backwards with the same arguments gave different gradients of {names}"
    return Diagnosis("NONDETERMINISTIC", text, "Draw nothing in the backward, and keep no state", changed[0])


def _not_zero(problem: Problem, none: Array) -> Diagnosis:
    for name, cut in zip(problem.names, problem.cuts):
        largest = float(np.abs(np.nan_to_num(none[cut], posinf=0.0, neginf=0.0)).max(initial=0.0))
        if largest:
            text = f"an incoming gradient of zero gives a gradient of {name} that is not zero (up to {largest:.3g})"
            return Diagnosis("UPSTREAM", text, "Every term must be multiplied by the incoming gradient", name)
    raise AssertionError("nothing to report")


def _not_linear(problem: Problem, v: Array, first: Array) -> Diagnosis:
    """What the backward does to the incoming gradient, if it is something well known."""

    def same(a: Array, b: Array) -> bool:
        return bool(np.allclose(a, b, 1e-6, 1e-9 * np.abs(np.nan_to_num(b)).max(initial=0.0), equal_nan=True))

    twice, opposite = problem.vjp(2.0 * v), problem.vjp(-v)
    if same(twice, first):
        does = "ignores the incoming gradient, or only looks at its sign"
        if same(opposite, first):
            does = "ignores the incoming gradient"
        return Diagnosis("UPSTREAM", f"the backward {does}", "Multiply the local derivative by it")
    if same(twice, 4.0 * first):
        text = "the backward multiplies by the incoming gradient twice: doubled, it gives four times the gradient"
        return Diagnosis("UPSTREAM", text, "Multiply by it once")
    if same(opposite, first):
        return Diagnosis("UPSTREAM", "the backward takes the absolute value of the incoming gradient", "Keep its sign")
    text = "the backward is not linear in the incoming gradient: vjp(v - 3w) is not vjp(v) - 3 vjp(w)"
    if same(problem.vjp(1e-3 * v), 1e-3 * first) or np.abs(twice).max() < 1.9 * np.abs(first).max():
        text += "; it grows less than the incoming gradient does, as if clipped"
    return Diagnosis("UPSTREAM", text, "Only multiply it by numbers that do not depend on it, and add")


def _strided(problem: Problem, v: Array) -> Array:
    """The gradients for v, handed over as arrays that are not contiguous."""
    upstream = []
    for u in problem.upstream(v):
        wide = np.zeros((*u.shape[:-1], 2 * u.shape[-1]) if u.ndim else (), order="F")
        spread = wide[..., ::2] if u.ndim else wide
        spread[...] = u
        upstream.append(spread)
    return problem.flat(problem.pull(problem.arrays(problem.x), upstream))
