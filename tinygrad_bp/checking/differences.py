"""Derivatives measured by differences, each with an estimate of its own error.

A function is sampled on lines through the point, at steps that fall by powers of two. Central differences are
extrapolated to step zero (Richardson), and of all steps and orders the one of least estimated error is kept. The
error is known because the noise of the function is measured first (More and Wild, Estimating Computational Noise,
SIAM J. Sci. Comput. 33, 2011), so that a function that rounds to float32 inside is not taken for a wrong derivative.
Differences to one side tell kinks from curvature. Nothing here knows what the derivative should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .adapters import argument_names
from .problem import Broken, Problem

__all__ = ["Estimate", "Line", "derivatives", "entries", "line", "noise_level", "numeric_jacobian"]

Array = NDArray[Any]
Line = Callable[[float], tuple[Array, float]]
"""``line(t)``: the outputs t along a line, and the step that was really taken (x + h rounds)."""

EPS = float(np.finfo(np.float64).eps)
QUICK = (8, 9, 10)  # steps 2^-k of the scale: smooth functions of size 1 are decided by these
LADDER = ((4, 6, 8, 10, 12, 14), (0, 2, 16, 18, 20), (-4, -2, 22, 24, 26, 28, 30))  # tried until one decides
DEEPER = range(32, 82, 2)  # and on, where an entry is far smaller than its scale
ODD = 0.7316
ORDERS = 4  # of extrapolation: errors in h^2, h^4 and h^6 cancel


@dataclass(frozen=True)
class Estimate:
    """Derivatives, measured; arrays of one shape."""

    value: Array
    """Nan where the function cannot be computed on both sides."""
    error: Array
    """How far `value` may be off; infinite where it cannot be told."""
    kink: Array
    """Where the slopes to the two sides differ, however small the step."""
    lo: Array
    """The smaller of the two slopes at a kink, else `value`."""
    hi: Array
    step: Array
    """The step at which `value` was read off."""

    @property
    def is_zero(self) -> Array:
        """Where the differences themselves were exactly zero, not only small."""
        return np.asarray((self.value == 0.0) & np.isfinite(self.error))

    @classmethod
    def unknown(cls, shape: tuple[int, ...]) -> Estimate:
        """Nothing measured yet."""
        value, error, lo, hi, step = (np.full(shape, np.nan) for _ in range(5))
        return cls(value, error, np.zeros(shape, bool), lo, hi, step)

    def at(self, index: Any) -> Estimate:
        """The same of some of the derivatives."""
        return Estimate(*(getattr(self, f.name)[index] for f in fields(self)))

    def put(self, index: Any, other: Estimate) -> None:
        """Write `other` in the place of some of the derivatives."""
        for f in fields(self):
            getattr(self, f.name)[index] = getattr(other, f.name)


# ---- noise ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """How much of each output is rounding."""

    level: Array
    """At the point, by output."""
    relative: float
    """To the size of an output, wherever it is computed."""

    def along(self, v: Array) -> Noise:
        """Of the one number v . y."""
        return Noise(np.sqrt([np.square(v * self.level).sum()]), self.relative)


def noise_level(along: Callable[[float], Array], y: Array) -> Noise:
    """The noise of every output, seen on a line through the point.

    Differences of order 5 to 7 at equal steps leave nothing of a smooth function, only its noise, times a known
    factor. Two step sizes; of each the quieter side, since a kink lies on one side only. 28 calls, or 42.
    """
    noise, size, single = np.zeros(y.size), np.abs(y), True
    steps = [2.9e-7, 7.3e-7]
    if (along(2.1e-6) == y).any():
        steps.append(3e-5)  # the smaller ones cannot be seen
    for h in steps:
        quieter = np.full(y.size, np.inf)
        for side in (h, -h):
            table, level = np.array([y] + [along(side * i) for i in range(1, 8)]), np.zeros(y.size)
            single = single and bool((table == table.astype(np.float32)).all())
            size = np.fmax(size, np.abs(table).max(axis=0, initial=0.0))
            for order in range(1, 8):
                table = np.diff(table, axis=0)
                if order >= 5:
                    factor = math.factorial(order) ** 2 / math.factorial(2 * order)
                    level = np.maximum(level, np.sqrt(factor * (table**2).mean(0)))
            quieter = np.fmin(quieter, np.where(np.isfinite(level), level, np.inf))
        noise = np.maximum(noise, np.where(np.isfinite(quieter), quieter, 0.0))
    if single:  # whatever the steps, float32 holds every output: that it looks quiet is luck
        noise = np.maximum(noise, np.finfo(np.float32).eps * size)
    large = size > 1e-3 * size.max(initial=0.0)
    ratios = noise[large] / size[large]
    ratios = ratios[ratios < 1e-3] if (ratios < 1e-3).any() else ratios  # more is no rounding: a singular point
    relative = max(EPS, min(float(np.quantile(ratios, 0.75)), 1e-2)) if ratios.size else EPS
    return Noise(2.0 * np.maximum(noise, relative * np.abs(y)) + 1e-300, 2.0 * relative)


# ---- lines ---------------------------------------------------------------------------------------------------------


def line(problem: Problem, u: Array, v: Array | None = None) -> Line:
    """The line x + t u; with `v` of the one number v . y."""

    def at(t: float) -> tuple[Array, float]:
        y = problem.value(problem.x + t * u)
        return (y if v is None else np.array([v @ y])), t

    return at


def entries(problem: Problem, indices: Sequence[int], scale: Array, v: Array | None = None) -> list[Line]:
    """For each index the line along which that entry of x alone changes, a step of 1 being its scale."""

    def along(i: int) -> Line:
        def at(t: float) -> tuple[Array, float]:
            x = problem.x.copy()
            x[i] += t * scale[i]
            y = problem.value(x)
            return (y if v is None else np.array([v @ y])), float(x[i] - problem.x[i])

        return at

    return [along(i) for i in indices]


# ---- differences ---------------------------------------------------------------------------------------------------


class _Samples:
    """Outputs at steps of both signs on several lines: arrays of shape (lines, outputs) by k, the step being 2^-k."""

    def __init__(self, lines: Sequence[Line], y: Array) -> None:
        self.lines, self.y = list(lines), y
        self.ahead: dict[int, tuple[Array, Array]] = {}
        self.behind: dict[int, tuple[Array, Array]] = {}

    def add(self, steps: Sequence[int]) -> None:
        """Sample at t = +-2^-k for every k of `steps` that is new."""
        for k in steps:
            if k not in self.ahead:
                self.ahead[k], self.behind[k] = self._sampled(2.0**-k), self._sampled(-(2.0**-k))

    def _sampled(self, t: float) -> tuple[Array, Array]:
        found = [at(t) for at in self.lines]
        return np.array([y for y, _ in found]), np.array([[h] for _, h in found])

    def of(self, which: Array) -> _Samples:
        """The samples of some of the lines."""
        some = _Samples([self.lines[i] for i in which.tolist()], self.y)
        some.ahead, some.behind = (
            {k: (y[which], h[which]) for k, (y, h) in side.items()} for side in (self.ahead, self.behind)
        )
        return some

    def estimate(self, noise: Noise, steps: Sequence[int]) -> Estimate:
        """What the samples at these steps tell."""
        steps = sorted(steps)
        plus, minus = (np.array([side[k][0] for k in steps]) for side in (self.ahead, self.behind))
        ahead, behind = (np.array([side[k][1] for k in steps]) for side in (self.ahead, self.behind))
        forward, backward = (plus - self.y) / ahead, (minus - self.y) / behind
        far = np.fmax(np.abs(plus), np.abs(minus))
        band = np.maximum(noise.level, noise.relative * np.where(np.isfinite(far), far, 0.0)) / np.abs(ahead)
        ratios = np.exp2(np.diff(steps))
        central = (plus - minus) / (ahead - behind)
        value, error, step = _extrapolated(central, ratios, band, np.abs(ahead))
        kink, broken, lo, hi = _one_sided(forward, backward, ratios, band)
        broken |= _grows(central, band)
        value, error = np.where(np.isinf(error), np.nan, value), np.where(broken, np.inf, error)
        return Estimate(value, error, kink, np.where(kink, lo, value), np.where(kink, hi, value), step)


def _extrapolated(central: Array, ratios: Array, band: Array, steps: Array) -> tuple[Array, Array, Array]:
    """Of the whole Richardson table in h^2 the entry of least estimated error: value, error, step.

    Axis 0 counts the steps. An entry is off by as much as the next order changes it, or the step before (an eighth of
    that), or any smaller step disagrees with it beyond its own noise: that kills lucky coincidences.
    """
    count = len(central)
    best, error, step = np.zeros(central.shape[1:]), np.full(central.shape[1:], np.inf), np.zeros(central.shape[1:])
    column = central
    for order in range(min(ORDERS, count - 1)):
        before = column
        if order:
            factor = np.array([np.prod(ratios[k - order : k]) ** 2 if k >= order else np.nan for k in range(count)])
            gain = np.diff(before, axis=0, prepend=np.nan) / (factor[:, None, None] - 1.0)
            column = before + gain
        change = np.abs(np.diff(column, axis=0, prepend=np.nan))
        for k in range(max(order, 1), count):
            off = np.fmax(np.abs(gain[k]), change[k] / 8.0) if order else change[k]
            if k + 1 < count:
                later = np.abs(column[k + 1 :] - column[k]) - 3.0 * band[k + 1 :]
                off = np.maximum(off, np.fmax.reduce(later, axis=0))
            off = off + 1.5 * band[k]
            better = np.isfinite(column[k]) & (off < error)
            best, error = np.where(better, column[k], best), np.where(better, off, error)
            step = np.where(better, steps[k], step)
    return best, error, step


def _grows(central: Array, band: Array) -> Array:
    """Whether the slope still grows from step to step at the smallest ones: it has no limit there."""
    if len(central) <= len(QUICK):
        return np.zeros(central.shape[1:], bool)
    size = np.abs(central[-4:])
    return np.asarray(((size[1:] > 10.0 * band[-3:]) & (size[1:] > 1.5 * size[:-1])).all(axis=0))


def _one_sided(forward: Array, backward: Array, ratios: Array, band: Array) -> tuple[Array, Array, Array, Array]:
    """Kinks, points without any slope, and the slopes to the two sides of kinks.

    The jump from the slope behind to the slope ahead falls with the step where the function is smooth, stays where it
    has a kink, and grows where it leaps or stands upright. The smallest step at which it would still be seen above the
    noise decides. The slopes are read off where they change least, and widened by that change.
    """
    jump = np.abs(forward - backward)
    kink, broken = np.zeros(jump.shape[1:], bool), np.zeros(jump.shape[1:], bool)
    lo, hi, slack = np.full(jump.shape[1:], np.nan), np.full(jump.shape[1:], np.nan), np.full(jump.shape[1:], np.inf)
    for k in range(2, len(jump)):
        visible = jump[k] > 10.0 * band[k]
        stays = visible & (jump[k] > 0.6 * jump[k - 2]) & (jump[k] > 1e-7 * np.abs(forward[k]))
        decides = visible | (10.0 * band[k] < 0.5 * jump[k - 2])
        kink = np.where(decides, stays, kink)
        broken = np.where(decides, stays & (jump[k] > 1.6 * jump[k - 2]), broken)
        r = ratios[k - 1]
        ahead, behind = ((r * side[k] - side[k - 1]) / (r - 1.0) for side in (forward, backward))
        change = np.abs(forward[k] - forward[k - 1]) + np.abs(backward[k] - backward[k - 1]) + 3.0 * band[k]
        sharper = stays & (change < slack)
        slack = np.where(sharper, change, slack)
        lo = np.where(sharper, np.fmin(ahead, behind) - change, lo)
        hi = np.where(sharper, np.fmax(ahead, behind) + change, hi)
    return kink & ~broken, broken, lo, hi


def derivatives(
    lines: Sequence[Line],
    y: Array,
    noise: Noise,
    decided: Callable[[Estimate, Array], Array],
    depth: Array,
) -> Estimate:
    """The derivative of every output along every line, of shape (lines, outputs).

    Three steps to either side come first; lines for which ``decided(estimate, indices)`` is false go down the ladder,
    to step 2^-depth of the scale if need be.
    """
    samples = _Samples(lines, y)
    samples.add(QUICK)
    found = samples.estimate(noise, QUICK)
    rest = np.flatnonzero(~decided(found, np.arange(len(lines))))
    if not rest.size:
        return found
    samples, steps = samples.of(rest), []
    for rungs in (*LADDER, DEEPER):
        more = [k for k in rungs if k <= max(30, depth[rest].max())]
        if not more:
            break
        steps += more
        samples.add(more)
        found.put(rest, samples.estimate(noise, steps))
        open_ = np.flatnonzero(~decided(found.at(rest), rest))
        rest, samples = rest[open_], samples.of(open_)
        if not rest.size:
            break
    return found


def scales(problem: Problem) -> Array:
    """For every entry of x the size its steps are measured by: about |x|, or a tenth of its array's rms.

    It is no round number, so that no step is a whole period of a function that repeats itself. Where the arrays of an
    argument are so small that the outputs hardly notice, the scale grows towards 1.
    """
    scale = np.ones(problem.x.size)
    for cut in problem.cuts:
        a = problem.x[cut]
        rms = float(np.sqrt(np.mean(np.square(a)))) if a.size else 0.0
        if rms > 0.0:
            scale[cut] = np.maximum(np.abs(a), 0.1 * rms)
            while rms < 1.0 and not _noticed(problem, cut, scale[cut]):
                grown = min(1.0 / rms, 1024.0)
                scale[cut], rms = scale[cut] * grown, rms * grown
    return ODD * scale


def _noticed(problem: Problem, cut: slice, scale: Array) -> bool:
    """Whether a step changes any output by more than 1e-5 of itself."""
    x = problem.x.copy()
    x[cut] += 2.0 ** -QUICK[0] * scale * np.where(np.arange(len(scale)) % 2, -1.0, 1.0)
    change = np.abs(problem.value(x) - problem.y)
    return bool((~(change <= 1e-5 * np.abs(problem.y))).any())


def depths(problem: Problem, scale: Array) -> Array:
    """How far down the ladder may go: an entry far smaller than its scale may have its own features there."""
    size = np.abs(problem.x)
    with np.errstate(divide="ignore"):
        below = np.where(size > 0, np.log2(scale / size), 0.0) + 16
    return np.asarray(np.clip(below, 30, DEEPER[-1]).astype(int))


def random_line(problem: Problem, scale: Array, rng: np.random.Generator) -> Array:
    """A direction with a random sign for each entry, as long as the entry itself: it leaves no domain on the way."""
    size = np.abs(problem.x)
    grown = np.zeros(size.shape, bool)
    for cut in problem.cuts:
        grown[cut] = scale[cut].max(initial=0.0) > 32.0 * size[cut].max(initial=0.0)
    return np.asarray(np.where((size > 0.0) & ~grown, size, scale) * rng.choice([-1.0, 1.0], size.size))


def numeric_jacobian(f: Callable[[Any], Any], x: Any) -> Estimate:
    """Df/dx by differences alone, with its own error: arrays of shape ``f(x).shape + x.shape``.

    Parameters
    ----------
    f : callable
        Takes a float64 array and returns one (or a Tensor).
    x : array-like
        Where.

    Returns
    -------
    Estimate
        Where nothing settles (a leap, the edge of the domain) the value is nan and the error infinite.

    Raises
    ------
    ValueError
        f cannot be computed at x, gives several outputs, or another result at each call.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_bp as bp
    >>> found = bp.numeric_jacobian(lambda x: np.sin(x) * x[0], np.array([1.0, 2.0]))
    >>> found.value
    array([[ 1.38177329,  0.        ],
           [ 0.90929743, -0.41614684]])
    >>> bool((found.error < 1e-11).all()), bool(found.kink.any())
    (True, False)
    """
    try:
        with np.errstate(all="ignore"):
            problem = _measurable(f, x)
            scale = scales(problem)
            u = random_line(problem, scale, np.random.default_rng(0))
            noise = noise_level(lambda h: problem.value(problem.x + h * u), problem.y)
            lines = entries(problem, range(problem.x.size), scale)
            known = lambda found, indices: (found.error <= 1e-10 * np.abs(found.value)).all(axis=1)
            found = derivatives(lines, problem.y, noise, known, depths(problem, scale))
    except Broken as broken:
        raise ValueError(f"numeric_jacobian: {broken.diagnosis.text}. {broken.diagnosis.hint}.") from broken
    found.value[np.isinf(found.error)] = np.nan
    shape = problem.output_shapes[0] + problem.shapes[0]
    return Estimate(*(np.asarray(getattr(found, f.name).T.reshape(shape)) for f in fields(found)))


def _measurable(f: Callable[[Any], Any], x: Any) -> Problem:
    try:
        array = np.asarray(x, np.float64)
    except (TypeError, ValueError) as error:
        raise Broken("INPUT", f"x is no array of numbers ({error})", "Pass real numbers") from error
    problem = Problem(
        "numeric_jacobian", lambda arrays: f(arrays[0]), lambda *_: [None], {argument_names(f, 1)[0]: array}
    )
    if len(problem.outputs) > 1:
        raise Broken("INPUT", f"f returned {len(problem.outputs)} outputs", "Measure one at a time")
    if not np.array_equal(problem.value(problem.x), problem.y):
        raise Broken("NONDETERMINISTIC", "two calls of f at x gave different results", "Let f draw nothing")
    return problem
