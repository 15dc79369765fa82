"""Right, wrong or cannot tell: each derivative judged against its measured value and the error of that measurement.

`full` measures every derivative alone. `fast` measures sums of them with random signs along a few lines, judges those
with the numeric error as the tolerance (a share of the sum would let single entries hide), and goes down by halves to
the entries that are wrong. Where numbers cannot decide the verdict is UNSURE, never PASS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Contract
from .differences import (
    EPS,
    Estimate,
    Line,
    Noise,
    depths,
    derivatives,
    entries,
    line,
    noise_level,
    random_line,
)
from .problem import Broken, Problem
from .report import Verdict

__all__ = ["Findings", "fast", "full"]

Array = NDArray[Any]
PASS, KINK, UNSURE, FAIL = Verdict.PASS, Verdict.KINK, Verdict.UNSURE, Verdict.FAIL

LARGEST_TABLE = 1_000_000  # derivatives held at once while they are measured
PROJECTIONS = 3
TIES = 24  # pairs of entries that are tried together where several meet at a kink
LINES = 160  # that fast mode may spend on finding what is wrong
ARGUMENTS = 8  # wrong arguments that are looked into
LOCATED = 8  # wrong entries that are enough
FEW = 200  # entries that are measured one by one rather than searched
SAMPLE = 40  # entries of a wrong argument measured alone for the diagnosis


@dataclass(frozen=True)
class Tolerance:
    """What a derivative may be off, and how sharply it must be measured; arrays that broadcast with the derivatives."""

    rtol: float
    floor: Array
    """Rounding of function and backward: absolute."""
    tight: Array
    """An error this small is sharp at once."""
    unit: Array
    """An error this small is sharp enough at the end."""
    share: float
    """An error that is this share of the value is sharp enough, too."""
    safety: float
    """How many estimated errors a difference must exceed to be called wrong."""

    def at(self, columns: Any) -> Tolerance:
        """The same for some of the inputs."""
        return replace(self, floor=self.floor[columns], tight=self.tight[columns], unit=self.unit[columns])


@dataclass(frozen=True)
class Findings:
    """Everything measured, as matrices: a row for each entry of x, a column for each output (or for v . y)."""

    analytic: Array
    estimate: Estimate
    verdict: Array
    measured: Array
    """Which entries of x were measured alone."""
    noise: float
    """Of the function, relative to its size."""
    vanishes: Array
    """Which derivatives are zero as far as rounding shows."""
    mode: str
    v: Array | None = None
    """Fast mode: the incoming gradient whose product with the outputs was differentiated."""
    sharpness: float = float("nan")
    """Fast mode: the error of the sums, relative to what an argument typically adds to them."""


def judge(a: Array, found: Estimate, tolerance: Tolerance, strict: bool = False) -> Array:
    """A :class:`Verdict` for each analytic value `a` against what was measured.

    Wrong is what is off by more than the tolerance and several times the numeric error. Right is what is not, if the
    measurement was sharp. At a kink any value between the slopes to the two sides is allowed.
    """
    size = np.fmax(np.abs(a), np.abs(found.value))
    allowed = tolerance.rtol * size + tolerance.floor + 1e-280
    loose = tolerance.tight if strict else np.maximum(tolerance.share * np.abs(found.value), tolerance.unit)
    sharp = (found.error <= np.maximum(allowed, loose)) | ((a == 0.0) & found.is_zero)
    off = np.abs(a - found.value) > allowed + tolerance.safety * found.error
    verdict = np.where(off, FAIL, np.where(sharp, PASS, UNSURE))
    between = (a >= found.lo - allowed) & (a <= found.hi + allowed)
    verdict = np.where(found.kink, np.where(between, KINK, FAIL), verdict)
    measurable = np.isfinite(found.error)
    return np.where(np.isfinite(a), verdict, np.where(measurable, FAIL, UNSURE)).astype(np.int8)


class _Measuring:
    """What both modes need: scales, the noise of the function, and the tolerances made of them."""

    def __init__(
        self, problem: Problem, contract: Contract, rtol: float, rng: np.random.Generator, steep: Array | None = None
    ) -> None:
        self.problem, self.contract, self.rtol, self.rng = problem, contract, rtol, rng
        self.scale = contract.scale
        self.depth = depths(problem, self.scale)
        u = random_line(problem, self.scale, rng)
        if steep is not None:
            u[steep] = 0.0  # at an infinite slope there is no telling noise from the function
        self.noise = noise_level(lambda h: problem.value(problem.x + h * u), problem.y)
        self.size = self._sizes(problem.y)
        if not self.size.all():
            self.size = np.where(self.size, self.size, self._sizes(problem.value(problem.x + u / 4.0)))
        self.relative = self.noise.relative
        self.resolution = max(1e-8, 40.0 * self.relative)
        self.share, self.safety = (3e-4, 10.0) if self.relative > 2e-8 else (1e-4, 6.0)  # float32 inside, or not

    def _sizes(self, y: Array) -> Array:
        """For every output the largest number in its array."""
        size = np.abs(np.nan_to_num(y, posinf=0.0, neginf=0.0))
        for cut in self.problem.output_cuts:
            size[cut] = size[cut].max(initial=0.0)
        return np.asarray(size)

    def along(self, v: Array) -> float:
        """The size of the one number v . y."""
        return float(np.sqrt(np.square(self.size * v).sum()))

    def tolerance(self, analytic: Array, v: Array | None = None) -> Tolerance:
        """For a matrix of analytic derivatives, a row for each entry of x."""
        s = self.scale[:, None]
        outputs = self.size if v is None else np.array([self.along(v)])
        size = np.abs(np.nan_to_num(analytic, posinf=0.0, neginf=0.0))
        largest = (size * s).max(axis=0, initial=0.0)
        block = np.zeros_like(size)
        for cut in self.problem.cuts:
            block[cut] = size[cut].max(axis=0, initial=0.0)
        rounding = 32.0 * EPS * np.maximum(block, largest / s)
        floor = rounding + (4.0 * EPS * outputs / s) + 10.0 * self.contract.defect[:, None]
        row = 1e-5 * largest / s
        unit = np.maximum(self.resolution * outputs / s, row)
        return Tolerance(self.rtol, floor, 1e-3 * row, unit, self.share, self.safety)


# ---- full ----------------------------------------------------------------------------------------------------------


def full(problem: Problem, contract: Contract, rtol: float, rng: np.random.Generator) -> Findings:
    """Every derivative of every output by every entry of x."""
    analytic = np.empty((problem.x.size, problem.y.size))
    for k in range(problem.y.size):
        analytic[:, k] = problem.row(k)
    measuring = _Measuring(problem, contract, rtol, rng, np.asarray(np.isinf(analytic).any(axis=1)))
    tolerance = measuring.tolerance(analytic)
    found = _measured(measuring, analytic, tolerance, np.arange(problem.x.size), problem.y, measuring.noise)
    verdict = judge(analytic, found, tolerance)
    _unresolved(measuring, analytic, found, tolerance, verdict)
    _at_infinite_slopes(measuring, analytic, verdict)
    at_kink = verdict == KINK
    if at_kink.sum(axis=0).max(initial=0) >= 2:
        for i, k in _ill_fitting_ties(measuring, np.flatnonzero(at_kink.any(axis=1)), lambda k: analytic[:, k]):
            verdict[i, k] = FAIL
    zero = vanishes(measuring.size, measuring.scale, analytic, found)
    return Findings(analytic, found, verdict, np.ones(problem.x.size, bool), measuring.relative, zero, "full")


def _unresolved(measuring: _Measuring, analytic: Array, found: Estimate, tolerance: Tolerance, verdict: Array) -> None:
    """A value is not right because its error is small beside other arguments': it must be small beside its own."""
    for cut in measuring.problem.cuts:
        largest = np.fmax(np.abs(analytic[cut]), np.abs(found.value[cut])).max(initial=0.0)
        vague = np.maximum(found.error[cut], tolerance.floor[cut]) > 1e-2 * largest
        exact = (analytic[cut] == 0.0) & found.at(cut).is_zero
        zero = vanishes(measuring.size, measuring.scale[cut], analytic[cut], found.at(cut))
        verdict[cut] = np.where(vague & ~exact & ~zero & (verdict[cut] == PASS), UNSURE, verdict[cut])


def vanishes(size: Array | float, scale: Array, analytic: Array, found: Estimate) -> Array:
    """Whether derivatives are zero as far as rounding of the outputs shows: the value given, and the value measured."""
    rounding = 4.0 * EPS * size / scale[:, None]
    sharp = found.error * scale[:, None] <= 1e-9 * size + 1e-290
    measured = (np.abs(found.value) <= rounding + 6.0 * found.error) & sharp
    return (np.abs(analytic) <= rounding) & ~found.kink & (measured | found.is_zero | np.isnan(found.value))


def _measured(
    measuring: _Measuring, analytic: Array, tolerance: Tolerance, columns: Array, y: Array, noise: Noise,
    v: Array | None = None,
) -> Estimate:  # fmt: skip
    """The derivatives by these entries of x, as many at a time as memory allows."""
    shape = (len(columns), y.size)
    found = Estimate.unknown(shape)
    at_once = max(1, LARGEST_TABLE // (6 * max(1, y.size)))
    for start in range(0, len(columns), at_once):
        part = columns[start : start + at_once]
        lines = entries(measuring.problem, part.tolist(), measuring.scale, v)

        def decided(estimate: Estimate, which: Array, part: Array = part) -> Array:
            chosen = part[which]
            return np.asarray(
                (judge(analytic[chosen], estimate, tolerance.at(chosen), strict=True) == PASS).all(axis=1)
            )

        found.put(slice(start, start + at_once), derivatives(lines, y, noise, decided, measuring.depth[part]))
    return found


def _at_infinite_slopes(measuring: _Measuring, analytic: Array, verdict: Array) -> None:
    """An infinite derivative is right where the slopes on every side that exists grow without bound in its sense."""
    for i in np.flatnonzero(np.asarray(np.isinf(analytic).any(axis=1))):
        (at,) = entries(measuring.problem, [int(i)], measuring.scale)
        agree = np.isinf(analytic[i])
        exists = np.zeros_like(agree)
        for sign in (1.0, -1.0):
            samples = [at(sign * 2.0**-k) for k in (16, 20, 24)]
            a, b, c = ((y - measuring.problem.y) / h for y, h in samples)
            there = np.isfinite(c)
            grows = (np.abs(b) > 1.5 * np.abs(a)) & (np.abs(c) > 1.5 * np.abs(b)) & (np.sign(c) == np.sign(analytic[i]))
            agree &= ~there | grows
            exists |= there
        verdict[i] = np.where(agree & exists, KINK, verdict[i])


def _ill_fitting_ties(measuring: _Measuring, members: Array, row: Callable[[int], Array]) -> list[tuple[int, int]]:
    """Where entries meet at a kink (max at a tie), the derivative along several of them together must fit too.

    Along a direction d any right gradient g of one output has g . d between the slopes to the two sides. Tried are
    all of its entries at a kink together, and random pairs with equal and with opposite signs. Entries that do not
    meet, whose slopes only add up, are let be: there each may choose its own side. `row` gives g for an output;
    returned are pairs of entry and output that do not fit.
    """
    rng, wrong = measuring.rng, []
    members = rng.permutation(members)[: 2 * TIES]
    step = 2.0**-12 * measuring.scale[members].min()
    slopes = _Slopes(measuring, step)
    single = [slopes.along(np.array([i]), np.ones(1)) for i in members]
    bent = np.array([np.abs(ahead - behind) > slopes.uncertain(ahead, behind) for ahead, behind in single])
    (outputs,) = np.nonzero(bent.sum(axis=0) >= 2)
    for k in rng.permutation(outputs)[:TIES]:
        together, g = np.flatnonzero(bent[:, k]), row(int(k))
        pairs = [rng.permutation(together)[:2] for _ in range(2)]
        tried = [(pair, np.array(signs)) for pair in pairs for signs in ((1.0, 1.0), (1.0, -1.0))]
        for which, signs in [*tried, (together, np.ones(len(together)))]:
            ahead, behind = (side[k] for side in slopes.along(members[which], signs))
            added = sum(single[i][0][k] if sign > 0 else -single[i][1][k] for i, sign in zip(which, signs))
            along = signs @ g[members[which]]
            off = slopes.uncertain(ahead, behind, along)[k]
            outside = along < min(ahead, behind) - off or along > max(ahead, behind) + off
            if outside and abs(added - ahead) > off:
                wrong += [(int(i), int(k)) for i in members[which]]
    return wrong


class _Slopes:
    """One-sided slopes of all outputs along directions, each computed once."""

    def __init__(self, measuring: _Measuring, step: float) -> None:
        self.problem, self.step, self.noise = measuring.problem, step, measuring.noise.level
        self._known: dict[bytes, tuple[Array, Array]] = {}

    def along(self, group: Array, signs: Array) -> tuple[Array, Array]:
        """The slopes ahead and behind."""
        u = np.zeros(self.problem.x.size)
        u[group] = self.step * signs
        if (key := u.tobytes()) not in self._known:
            ahead, behind = (self.problem.value(self.problem.x + side * u) for side in (1.0, -1.0))
            self._known[key] = (ahead - self.problem.y) / self.step, (self.problem.y - behind) / self.step
        return self._known[key]

    def uncertain(self, *slopes: Any) -> Array:
        """How much of such slopes is noise or curvature."""
        return np.asarray(20.0 * self.noise / self.step + 2e-3 * sum(np.abs(slope) for slope in slopes))


# ---- fast ----------------------------------------------------------------------------------------------------------


def fast(problem: Problem, contract: Contract, rtol: float, rng: np.random.Generator) -> Findings:
    """Sums of all derivatives with random signs; where one is off, the entries that make it so."""
    measuring = _Measuring(problem, contract, rtol, rng)
    n = problem.x.size
    verdict, measured, found = np.full((n, 1), PASS, np.int8), np.zeros(n, bool), Estimate.unknown((n, 1))
    for _ in range(PROJECTIONS):
        v = rng.standard_normal(problem.y.size) if problem.y.size > 1 else np.ones(1)
        u = measuring.scale * rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1.0, n)
        search = _Search(measuring, v, u)
        passed = search.judged(np.arange(n)) == PASS
        if not passed:
            break
    sharpness = search.settle_small_shares(verdict[:, 0]) if passed else np.nan
    analytic = search.gradient[:, None]
    tolerance = measuring.tolerance(analytic, v)
    if not passed or (verdict == FAIL).any():
        columns = np.arange(n)
        if n > FEW:
            verdict[:, 0] = search.descend()
            columns = search.worth_measuring(verdict[:, 0])
        if not len(columns):
            verdict[:] = UNSURE  # the whole is off, and no part of it
        else:
            y = np.array([search.y])
            alone = _measured(measuring, analytic, tolerance, columns, y, search.noise, v)
            found.put(columns, alone)
            verdict[columns] = judge(analytic[columns], alone, tolerance.at(columns))
            measured[columns] = True
            if (verdict == KINK).sum() >= 2:
                for i, _ in _ill_fitting_ties(measuring, np.flatnonzero(verdict == KINK), problem.row):
                    verdict[i] = FAIL
    zero = vanishes(search.size, measuring.scale, analytic, found)
    return Findings(analytic, found, verdict, measured, measuring.relative, zero, "fast", v, sharpness)


class _Search:
    """Sums of derivatives of v . y along one line with random signs, halved until what is wrong stands alone."""

    def __init__(self, measuring: _Measuring, v: Array, u: Array) -> None:
        self.measuring, self.v, self.u = measuring, v, u
        self.gradient = measuring.problem.vjp(v)
        self.y = float(v @ measuring.problem.y)
        self.noise = measuring.noise.along(v)
        self.size = measuring.along(v)

    def judged(self, columns: Array) -> int:
        """The verdict on the sum over these entries of x."""
        measuring, g = self.measuring, self.gradient[columns]
        u = np.zeros_like(self.u)
        u[columns] = self.u[columns]
        a = np.array([[g @ u[columns]]])
        size = np.abs(u[columns])
        with np.errstate(invalid="ignore"):
            floor = 64.0 * EPS * (np.abs(g) @ size) + 10.0 * measuring.contract.defect[columns] @ size
        unit = measuring.resolution * self.size
        bounds = np.array([floor, 1e-3 * unit, unit])[:, None, None]
        tolerance = Tolerance(1e-9, bounds[0], bounds[1], bounds[2], measuring.share, measuring.safety)

        def decided(found: Estimate, _: Array) -> Array:
            return np.asarray((judge(a, found, tolerance, strict=True) == PASS).all(axis=1))

        at: Line = line(measuring.problem, u, self.v)
        found = derivatives([at], np.array([self.y]), self.noise, decided, np.array([30]))
        self.error = float(found.error[0, 0])
        return int(judge(a, found, tolerance)[0, 0])

    def settle_small_shares(self, verdict: Array) -> float:
        """Judge arguments alone whose share of the sum, just found right, is too small to show in it.

        What an argument adds is about the norm of its part of the sum. Where the error is not small beside that even
        alone, the argument is UNSURE. Returns the largest error, relative to the share.
        """
        whole, sharpness = self.error, 0.0
        for cut in self.measuring.problem.cuts:
            columns = np.arange(cut.start, cut.stop)
            share = float(np.linalg.norm(self.gradient[cut] * self.u[cut]))
            error = whole
            if columns.size and 6.0 * error > 1e-2 * share:
                verdict[cut] = self.judged(columns)
                error = self.error
                if share and 6.0 * error > 1e-2 * share and verdict[cut.start] == PASS:
                    verdict[cut] = UNSURE
            sharpness = max(sharpness, error / share if share else 0.0)
        return sharpness

    def descend(self) -> Array:
        """A verdict for each entry of x: PASS where a line through it was right, else what its own line says.

        The whole line is known to be off; its parts are judged, arguments first, then halves of those that are off.
        When the lines allowed are used up, or wrong entries enough are found, what is left is UNSURE.
        """
        verdict = np.full(self.u.size, UNSURE, np.int8)
        arguments = [np.arange(cut.start, cut.stop) for cut in self.measuring.problem.cuts if cut.stop > cut.start]
        off = [columns for columns in arguments if not self._settled(columns, verdict)]
        for columns in off[:ARGUMENTS]:
            self._halve(columns, verdict, LINES // min(len(off), ARGUMENTS))
        return verdict

    def _settled(self, columns: Array, verdict: Array) -> bool:
        found = self.judged(columns)
        if found == PASS or len(columns) == 1:
            verdict[columns] = found
        return found == PASS

    def _halve(self, columns: Array, verdict: Array, lines: int) -> None:
        stack = [columns]
        while stack and lines > 0 and (verdict[columns] == FAIL).sum() < LOCATED:
            part = stack.pop()
            halves = [half for half in np.array_split(part, 2) if len(half)]
            lines -= len(halves)
            stack += [half for half in halves if not self._settled(half, verdict) and len(half) > 1][::-1]

    def worth_measuring(self, verdict: Array) -> Array:
        """The entries found wrong or undecided alone, and a sample of the rest of their arguments, of the first few."""
        chosen: list[int] = []
        cuts = [cut for cut in self.measuring.problem.cuts if (verdict[cut] != PASS).any()]
        for cut in cuts[:ARGUMENTS]:
            columns = np.arange(cut.start, cut.stop)
            open_ = columns[verdict[cut] != PASS]
            if len(open_):
                known = columns[(verdict[cut] == FAIL) | (verdict[cut] == KINK)]
                sample = self.measuring.rng.permutation(columns)[:SAMPLE]
                undecided = self.measuring.rng.permutation(open_)[:SAMPLE]
                chosen += sorted({*known.tolist(), *sample.tolist(), *undecided.tolist()})
        return np.array(chosen, int)


def select(mode: str, problem: Problem) -> str:
    """The mode that "auto" means: every derivative alone up to 2,000 entries, unless the outputs are very many too."""
    n, m = problem.x.size, problem.y.size
    if mode == "full" and n * m > 40 * LARGEST_TABLE:
        raise Broken("INPUT", f"full mode would measure {n} x {m} derivatives", "Use mode='fast', or smaller arrays")
    if mode != "auto":
        return mode
    return "full" if n <= 2000 and m <= 5000 and n * m <= LARGEST_TABLE else "fast"
