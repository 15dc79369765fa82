"""From two Jacobians that differ to the name of the mistake: an ordered table of rules, the first that fits wins.

Every rule is one small function; its docstring states its test, with A the analytic and N the numeric Jacobian,
m outputs by n inputs. A rule speaks only where the numbers carry it: what it proposes must agree with N to within the
numeric error at every entry that was measured, and must mend entries that are wrong. Where the evidence is thin the
weaker claim is made, in the end OTHER: a wrong name costs its reader more than none. Rules that need only some columns
of the Jacobian, or only the gradient of one scalar, work on those.

The arithmetic is in :mod:`~tinygrad_bp.checking.patterns`; what is wrong is decided in
:mod:`~tinygrad_bp.checking.verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .patterns import (
    FUNCTIONS,
    PREDICATES,
    distinct,
    fits,
    flips,
    intermediates,
    multiple,
    orders,
    rank,
    shifts,
    slices,
)
from .report import Diagnosis

__all__ = ["RULES", "Case", "diagnose"]

Array = NDArray[Any]
SAMPLE = 4096  # entries on which the many candidates of a chain factor or a region are compared


@dataclass(frozen=True)
class Case:
    """The gradient of one argument, found wrong: all that the rules look at."""

    argument: str
    x: Array
    """The argument, n entries."""
    y: Array
    """The output, m entries; several outputs raveled and joined; in fast mode the scalar ``v . output``, m = 1."""
    others: Mapping[str, Array]
    """The other array arguments, integer ones too."""
    analytic: Array
    """A, shape (m, n), like `numeric` (N), `error` (of N), `wrong` and `kink`."""
    numeric: Array
    error: Array
    wrong: Array
    kink: Array
    measured: Array
    """(n,) whether the column was measured."""
    raw: Array | None
    """The gradient as the backward returned it for the incoming gradient `v`; its shape may be wrong."""
    v: Array
    step: Array
    """(n,) the scale of each entry of `x`."""
    rivals: Mapping[str, Array] = field(default_factory=dict)
    """N of the other arguments, where known: gradients get swapped."""

    @cached_property
    def full(self) -> tuple[int, ...]:
        """The shape of a Jacobian with its axes apart: those of y, then those of x."""
        return (*self.y.shape, *self.x.shape)

    @cached_property
    def counts(self) -> Array:
        """Entries to compare: measured, finite, not at a kink."""
        finite = np.isfinite(self.analytic) & np.isfinite(self.numeric) & np.isfinite(self.error)
        return finite & self.measured & ~self.kink

    @cached_property
    def tolerance(self) -> Array:
        """How near to N a model of it must come."""
        n = np.abs(np.where(self.counts, self.numeric, 0))
        return np.where(self.counts, 10 * self.error + 1e-5 * n + 1e-9 * n.max(initial=0) + 1e-300, np.inf)

    @cached_property
    def live(self) -> Array:
        """Entries where either derivative is not zero."""
        return self.counts & (np.maximum(np.abs(self.analytic), np.abs(self.numeric)) > self.tolerance)

    @cached_property
    def right(self) -> Array:
        """Entries known to be right, and not because both are zero."""
        return self.live & ~self.wrong & (10 * self.tolerance < np.abs(self.numeric))

    @cached_property
    def lost(self) -> Array:
        """Wrong entries where A = 0."""
        scale = np.abs(np.where(self.counts, self.numeric, 0)).max(initial=0)
        return np.asarray(self.wrong & self.counts & (np.abs(self.analytic) <= 1e-9 * scale))

    @cached_property
    def residual(self) -> Array:
        """A - N, and 0 where they agree or were not compared."""
        return np.where(self.wrong & self.counts, self.analytic - self.numeric, 0.0)

    @cached_property
    def sharpness(self) -> float:
        """A relative difference that can be seen in most entries."""
        seen = self.live & (np.abs(self.numeric) > self.tolerance)
        ratio = 20 * self.tolerance[seen] / np.abs(self.numeric[seen])
        return float(np.median(ratio)) if ratio.size else 1.0

    @cached_property
    def gradient(self) -> Array:
        """N^T v, what `raw` should be; nan where it was not measured."""
        if self.v.size == len(self.numeric):
            return np.reshape(self.numeric.T @ self.v.ravel(), self.x.shape)
        return np.reshape(self.numeric[0], self.x.shape)

    @cached_property
    def sample(self) -> tuple[Array, ...]:
        """Indices, axis by axis of `full`, of live entries whose verdict is known: all, or evenly spaced ones."""
        flat = np.flatnonzero(self.right | (self.wrong & self.live))
        return np.unravel_index(flat[:: -(-flat.size // SAMPLE) or 1], self.full)

    def at(self, matrix: Array) -> Array:
        """The entries of an (m, n) array at the sample."""
        return matrix.reshape(self.full)[self.sample]

    def explained_by(self, model: Array, least: int = 2) -> bool:
        """model = N wherever it counts, and thereby at least `least` wrong entries come right."""
        return bool(np.count_nonzero(self._mended(model.reshape(self.numeric.shape))) >= least)

    def explained_by_rows(self, model: Array) -> bool:
        """The same up to a factor for each output, such as the slope of what follows, where A itself is not."""
        return self._mended_by_rows(model.reshape(self.numeric.shape)) > 2 > self._mended_by_rows(self.analytic)

    def _mended_by_rows(self, model: Array) -> int:
        """How many entries, beyond one of each row, come right."""
        factor = (model * np.where(self.counts, self.numeric, 0)).sum(1) / (model * model).sum(1)
        mended = self._mended(np.where(np.isfinite(factor), factor, 0)[:, None] * model)
        return int(np.count_nonzero(mended) - np.count_nonzero(mended.any(1)))

    def _mended(self, model: Array) -> Array:
        """The wrong entries at which the model agrees with N; none if it disagrees anywhere."""
        gap = np.abs(np.where(self.counts, model - self.numeric, 0))
        agrees = (gap <= self.tolerance).all()
        return np.asarray(agrees & (gap < 0.1 * np.abs(self.residual)))

    @cached_property
    def arguments(self) -> dict[str, Array]:
        """The other arguments that are numbers."""
        arrays = {name: np.asarray(value) for name, value in self.others.items()}
        return {name: value for name, value in arrays.items() if value.dtype.kind in "fiub"}

    @cached_property
    def values(self) -> dict[str, Array]:
        """What a factor or a mask may be made of: arguments, output, likely intermediate values."""
        own = {self.argument: self.x, **self.arguments}
        output = {"output" if "y" in own else "y": self.y}
        found = {**own, **output, **dict(intermediates(own, self.x.shape))}
        if len(self.analytic) == 1:
            found["incoming gradient"] = self.v
        return {name: np.squeeze(value).astype(float) for name, value in found.items() if value.size > 1}

    def aligned(self, functions: Mapping[str, Callable[[Array], Array]]) -> Iterator[tuple[str, Array]]:
        """Every function of every value, at the sample, in every way its axes fit those of x and y."""
        for word, function in functions.items():
            for name, value in self.values.items():
                with np.errstate(all="ignore"):
                    z = function(value)
                for axes in fits(z.shape, self.full) if np.isfinite(z).all() else ():
                    yield word.replace("{}", name), z[tuple(self.sample[axis] for axis in axes)]

    def divided_by(self, side: Array, least: int = 2) -> bool:
        """Whether the sample is wrong exactly on one side, with at least `least` entries on each."""
        wrong = self.at(self.wrong)
        return bool((wrong == side).all() and least <= np.count_nonzero(wrong) <= wrong.size - least)

    def says(self, code: str, text: str, hint: str = "") -> Diagnosis:
        """A diagnosis about this argument."""
        return Diagnosis(code, text, hint, self.argument)

    def entry(self, k: int) -> str:
        """The name of an entry of the matrix: ``W[1, 2]``, or ``dy[0]/dW[1, 2]``."""
        row, column = divmod(k, self.x.size)
        x = self.argument + _subscript(np.unravel_index(column, self.x.shape))
        return x if self.y.size == 1 else f"dy{_subscript(np.unravel_index(row, self.y.shape))}/d{x}"

    def axis(self, k: int) -> str:
        """The name of an axis of `full`."""
        return f"axis {k} of the output" if k < self.y.ndim else f"axis {k - self.y.ndim} of {self.argument}"

    def dimension(self, size: float, accuracy: float) -> str:
        """What has this size: an axis, several axes, an array; empty where nothing has."""
        output = self.v.shape if self.y.size == 1 else self.y.shape
        shapes = {
            self.argument: self.x.shape,
            **{name: value.shape for name, value in self.arguments.items()},
            "the output": output,
        }
        for count in (1, 2, 3, 4):
            for name, shape in shapes.items():
                for axes in combinations([k for k in range(len(shape)) if shape[k] > 1], count):
                    if abs(np.prod([shape[k] for k in axes]) - size) <= accuracy * size:
                        return f"{_axes(axes)} of {name}"
        return ""


def _subscript(index: tuple[Any, ...]) -> str:
    return f"[{', '.join(str(int(k)) for k in index)}]" if index else ""


def _axes(axes: tuple[int, ...]) -> str:
    return f"ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(str, axes))}" if axes else ""


# The shape is wrong, or there is no number: nothing else can be compared.


def wrong_shape(case: Case) -> Diagnosis | None:
    """raw.shape != x.shape; the sum of raw over some axes, or its transpose, is N^T v."""
    if case.raw is None or case.raw.shape == case.x.shape:
        return None
    raw, shape, name = case.raw, case.x.shape, case.argument
    known = np.isfinite(case.gradient)
    tolerance = 1e-5 * np.abs(case.gradient[known]).max(initial=0)

    def equal(a: Array) -> bool:
        return a.size == case.x.size and np.allclose(a.reshape(shape)[known], case.gradient[known], 1e-5, tolerance)

    for axes in flips(raw.shape):
        if known.any() and equal(raw.sum(axes)):
            text = f"the gradient has shape {raw.shape}, {name} has {shape}: it is not summed over {_axes(axes)}"
            keep = ", keepdims=True" if raw.ndim == len(shape) else ""
            return case.says("BROADCAST", text, f"sum it as {name} was broadcast: .sum({axes}{keep})")
    for order in orders(raw.shape, shape):
        if known.any() and equal(raw.transpose(order)):
            text = f"the gradient has shape {raw.shape}, {name} has {shape}: it is transposed"
            return case.says("TRANSPOSE", text, f"transpose it: .transpose({order})")
    text = f"the gradient has shape {raw.shape}, {name} has {shape}"
    if known.any() and equal(raw):
        return case.says("SHAPE", text + ": the values are right", f"reshape it to {shape}")
    return case.says("SHAPE", text, f"return one number for every entry of {name}")


def not_finite(case: Case) -> Diagnosis | None:
    """A is nan or infinite where N is a number."""
    bad = ~np.isfinite(case.analytic) & np.isfinite(case.numeric) & np.isfinite(case.error) & case.measured
    if not bad.any():
        return None
    k = int(np.flatnonzero(bad)[0])
    text = f"{case.analytic.flat[k]} at {case.entry(k)}, where the slope is {case.numeric.flat[k]:.6g}"
    text += f" ({bad.sum()} such entries)"
    hint = "where(mask, f(x), 0) meets f' where the mask is off too: call f on where(mask, x, 1)"
    return case.says("NONFINITE", text, hint)


def at_kinks(case: Case) -> Diagnosis | None:
    """Every wrong entry is at a kink: A is outside the slopes to the two sides."""
    if not case.wrong.any() or (case.wrong & ~case.kink).any():
        return None
    k = int(np.flatnonzero(case.wrong)[0])
    text = f"{case.analytic.flat[k]:.6g} at the kink {case.entry(k)}: not between the slopes to its two sides"
    return case.says("KINK", text, "take the slope of one side, or a value between the two")


# One number for all entries.


def flat(case: Case) -> Diagnosis | None:
    """N = 0 everywhere, A is not: saturated, most likely, and no place to tell one mistake from another."""
    if not case.wrong.any() or (case.live & (np.abs(case.numeric) > case.tolerance)).any():
        return None
    k = int(np.argmax(np.where(case.wrong & case.counts, np.abs(case.analytic), -1)))
    text = f"the function does not change here, yet the gradient is {case.analytic.flat[k]:.6g} at {case.entry(k)}"
    return case.says("OTHER", text, "if the inputs are saturated, check at smaller ones: more can be told there")


def detached(case: Case) -> Diagnosis | None:
    """A = 0 everywhere, N is not."""
    if not case.lost.any() or (np.abs(case.analytic) > 0)[case.counts & ~case.lost].any():
        return None
    text = "the gradient is all zero, the numeric one is not"
    return case.says("DETACHED", text, "the path is cut, or the gradient never written")


def sign_or_factor(case: Case) -> Diagnosis | None:
    """A = c * N: c is -1, the size of an axis or one by it, or any other number."""
    live = case.live
    c = multiple(case.analytic[live], case.numeric[live], case.tolerance[live]) if live.any() else None
    if c is None:
        return None
    accuracy = 1e-6 + float((case.tolerance[live] / np.maximum(np.abs(case.numeric[live]), 1e-300)).min())
    if abs(c + 1) <= accuracy:
        return case.says("SIGN", "the gradient has the wrong sign", "change its sign")
    size = abs(c) if abs(c) > 1 else 1 / abs(c)
    large = abs(c) > 1
    where = case.dimension(size, accuracy)
    simple = abs(size - 2) <= accuracy * size
    if where and not simple and c > 0:
        text = f"too {'large' if large else 'small'} by {size:.6g}, the size of {where}"
        hint = "divide by it: a mean, not a sum" if large else "do not divide by it: a sum, not a mean"
        return case.says("MEAN", text, hint)
    text = f"off by the constant factor {c:.6g}" if not simple else f"{'twice' if large else 'half'} the right value"
    notes = ["the sign is wrong too"] if c < 0 else []
    notes += [f"{size:.6g} is the size of {where}"] if where else []
    for name, value in case.arguments.items():
        scalar = float(value.item()) if value.size == 1 else 0.0
        if scalar and abs(c * scalar - 1) <= accuracy:
            notes.append(f"{c:.6g} is 1 / {name}")
        elif scalar and abs(c / scalar - 1) <= accuracy:
            notes.append(f"{c:.6g} is {name}")
    return case.says("FACTOR", "; ".join([text, *notes]), f"multiply by {1 / c:.6g}")


def swapped(case: Case) -> Diagnosis | None:
    """A = N of another argument."""
    for name, rival in case.rivals.items():
        if rival.shape == case.numeric.shape and case.live.any():
            a, n, tolerance = (p[case.live] for p in (case.analytic, rival, case.tolerance))
            c = multiple(a, n, tolerance + 1e-5 * np.abs(n))
            if c is not None and abs(c - 1) < 1e-3:
                return case.says("SWAPPED", f"this is the gradient of {name}", "return them in the arguments' order")
    return None


# The right numbers in the wrong places.


def other_direction(case: Case) -> Diagnosis | None:
    """Along one axis N is zero on one side of the diagonal, A on the other, and A = N^T."""
    if case.x.shape != case.y.shape or case.x.ndim == 0 or not case.measured.all():
        return None
    i, j = np.indices(case.x.shape).reshape(case.x.ndim, -1, 1), np.indices(case.x.shape).reshape(case.x.ndim, 1, -1)
    for axis in range(case.x.ndim):
        later = i[axis] < j[axis]
        for side in (later, ~later & (i[axis] != j[axis])):
            used = np.abs(case.numeric) > case.tolerance
            if not (used & case.counts)[side].any() and (case.lost[~side]).any() and case.explained_by(case.analytic.T):
                return case.says("FLIP", f"the sum along axis {axis} runs the wrong way", "flip, accumulate, flip back")
    return None


def transposed(case: Case) -> Diagnosis | None:
    """A with its axes in another order is N; or A was reshaped where it had to be transposed."""
    tensor, own = case.analytic.reshape(case.full), case.y.ndim
    for order in orders(case.full, case.full):
        model = tensor.transpose(order)
        if case.explained_by(model) or (order[0] != 0 and case.explained_by_rows(model)):
            moved = [k for k in range(len(order)) if order[k] != k]
            if min(moved) >= own:
                text = f"the gradient is transposed: its axes are in the order {tuple(k - own for k in order[own:])}"
            elif max(moved) < own:
                text = "the incoming gradient is transposed, or summed over the wrong axis"
            else:
                exchanged = " and ".join(map(case.axis, moved))
                text = f"a matrix is used where its transpose belongs: {exchanged} are exchanged"
            code = "BROADCAST" if max(moved) < own and 0 < case.x.ndim < own else "TRANSPOSE"
            return case.says(code, text, "transpose it")
    m, shape = len(case.analytic), case.x.shape
    reshaped = case.analytic.reshape(m, *shape[::-1]).transpose(0, *range(len(shape), 0, -1))
    back = tensor.reshape(m, *shape).transpose(0, *range(len(shape), 0, -1))
    if len(shape) > 1 and (case.explained_by(reshaped) or case.explained_by(back)):
        text = "the gradient is reshaped where it should be transposed"
        return case.says("TRANSPOSE", text, "C and F order are mixed: use .T")
    return None


def shifted(case: Case) -> Diagnosis | None:
    """A moved by one along an axis is N."""
    for axis, moved in shifts(case.analytic.reshape(case.full)):
        if case.explained_by(moved, 3):
            text = f"the gradient is off by one along {case.axis(axis)}"
            return case.says("SHIFT", text, "check the two ends of the slice")
    return None


def flipped(case: Case) -> Diagnosis | None:
    """A reversed along some axes is N."""
    tensor = case.analytic.reshape(case.full)
    for axes in flips(case.full):
        model = np.flip(tensor, axes)
        if case.explained_by(model) or (axes[0] < case.y.ndim and case.explained_by_rows(model)):
            own = [k for k in axes if k >= case.y.ndim] or list(axes)
            text = f"the gradient is reversed along {' and '.join(map(case.axis, own))}"
            return case.says("FLIP", text, "reverse it (a convolution's kernel, a scan)")
    return None


# Some outputs are forgotten.


def skip_path(case: Case) -> Diagnosis | None:
    """A - N = c * I (of one scalar: c * v)."""
    identity = np.eye(case.x.size) if len(case.analytic) == case.x.size else case.v.reshape(1, -1)
    if case.x.size < 2 or case.v.shape != case.x.shape or (identity.shape != case.analytic.shape):
        return None
    where = case.live & (identity != 0)
    if not where.any():
        return None
    c = float(np.median((case.analytic - case.numeric)[where] / identity[where]))
    if not case.explained_by(case.analytic - c * identity):
        return None
    text = f"A - N is {c:.6g} times the identity: a path straight from {case.argument} to the output is "
    return case.says("SKIP", text + ("lost" if c < 0 else "counted twice"), "add the incoming gradient once per path")


def diagonal_only(case: Case) -> Diagnosis | None:
    """A_ij = 0 for i != j, where N_ij != 0, and A_ii = N_ii; or the reverse, all right but the diagonal."""
    if case.x.shape != case.y.shape or case.x.size < 3 or not case.measured.all():
        return None
    diagonal = np.eye(case.x.size, dtype=bool)
    off = case.live & ~diagonal
    if off.any() and case.lost[off].all() and case.right[diagonal].any() and not case.wrong[diagonal].any():
        text = "only d output[i] / d input[i] is there: every output depends on other inputs too"
        return case.says("MISSING", text, "sum over the outputs: for a softmax y * (g - sum(g * y))")
    if off.sum() > 2 and not case.wrong[off].any() and (case.wrong & case.live)[diagonal].sum() > 1:
        text = "right off the diagonal, wrong on it: d output[i] / d input[i] lacks a term"
        return case.says("MISSING", text, "add the direct path to the path through the others")
    return None


def contributions(case: Case) -> Diagnosis | None:
    """Wrong entries are 0, the others right: every column keeps k of its K outputs, or some columns do."""
    wrong = case.wrong & case.counts
    if len(case.analytic) == 1 or not case.measured.all() or not wrong.any() or not (case.lost == wrong).all():
        return None
    uses, kept = case.live.sum(0), (case.live & ~wrong).sum(0)
    lacking = np.asarray(wrong.any(0))
    if not (kept[lacking] > 0).all():
        return None
    used = f"counts {kept[lacking].min()} of the {uses[lacking].max()} outputs that use each entry"
    if lacking[uses > 0].all() and len(set(kept[lacking])) == 1 and _broadcasts(case.x.shape, case.y.shape):
        rows = np.unravel_index(np.flatnonzero((case.live & ~wrong).any(1)), case.y.shape)
        axes = tuple(k for k, index in enumerate(rows) if case.y.shape[k] > 1 and len(set(index.tolist())) == 1)
        return case.says("BROADCAST", used, f"sum the incoming gradient over {_axes(axes) or 'the broadcast axes'}")
    if (kept[lacking] == 1).all():
        text = f"{lacking.sum()} of {case.x.size} entries are used several times and keep one contribution"
        return case.says("DUPLICATE", text, "accumulate with += (np.add.at where indices repeat), do not assign")
    return case.says("MISSING", f"{used}: the others are dropped", "every output that uses an entry contributes")


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    try:
        return small != large and np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


# A factor or a term is missing, made of values at hand.


def chain_factor(case: Case) -> Diagnosis | None:
    """A F = c N (F is missing) or A = c N F (F is one too many), F a function of a value at hand."""
    a, n, tolerance = case.at(case.analytic), case.at(case.numeric), case.at(case.tolerance)
    found = []
    for name, factor in case.aligned(FUNCTIONS):
        if factor.all() and distinct(factor, case.sharpness) > 1:
            for c, text, hint in (
                (multiple(a * factor, n, tolerance), "the factor {} is missing", "multiply by {}"),
                (
                    multiple(a, n * factor, tolerance * np.abs(factor)),
                    "there is one factor {} too many",
                    "divide by {}",
                ),
            ):
                if c is not None and (_plain(c) or distinct(factor, case.sharpness) > 2):
                    found.append((not _plain(c), c, text.format(name), hint.format(name)))
    if not found:
        return None
    _, c, text, hint = min(found, key=lambda one: one[0])
    return case.says("CHAIN", text if abs(c - 1) < 1e-4 else f"{text} (and a constant, {c:.4g})", hint)


def _plain(c: float) -> bool:
    return min(abs(abs(c) - k) for k in (0.5, 1, 2)) < 1e-4


def mistaken_value(case: Case) -> Diagnosis | None:
    """A f(q) = c N f(p): the function f of one value, where that of another belongs; c = 1 or -1."""
    a, n, tolerance = case.at(case.analytic), case.at(case.numeric), case.at(case.tolerance)
    for word, function in FUNCTIONS.items():
        terms = [(name, z) for name, z in case.aligned({word: function}) if z.all() and distinct(z, case.sharpness) > 1]
        for (p, used), (q, right) in permutations(terms, 2):
            c = multiple(a * right, n * used, tolerance * np.abs(used))
            if p != q and c is not None and abs(abs(c) - 1) < 1e-4 and distinct(used / right, case.sharpness) > 2:
                return case.says("CHAIN", f"the factor is {p}, where {q} belongs", f"take {q}")
    return None


def missing_mean(case: Case) -> Diagnosis | None:
    """A - N is constant along an axis of x."""
    tensor = np.where(case.counts, case.analytic - case.numeric, 0).reshape(case.full)
    if not case.measured.all():
        return None
    for axis in range(case.y.ndim, len(case.full)):
        flat = np.broadcast_to(np.median(tensor, axis, keepdims=True), tensor.shape).reshape(case.analytic.shape)
        if case.full[axis] > 2 and case.explained_by(case.analytic - flat, 3):
            text = f"A - N is constant along {case.axis(axis)}: a path through a mean or sum over it is missing"
            return case.says("MISSING", text, "differentiate the mean (or sum) too, it depends on every entry")
    return None


def missing_term(case: Case) -> Diagnosis | None:
    """A - N = c F, F a value at hand; of a scalar also the sign of one."""
    d, tolerance = case.at(case.analytic - case.numeric), case.at(case.tolerance)
    words = ("{}", "sign({})") if len(case.analytic) == 1 else ("{}",)
    for name, term in case.aligned({word: FUNCTIONS[word] for word in words}):
        c = multiple(term, d, tolerance) if distinct(term, case.sharpness) > 1 and np.count_nonzero(term) > 2 else None
        if c is not None:
            text = f"A - N = {1 / c:.6g} * {name}: this term is {'missing' if c < 0 else 'one too many'}"
            return case.says("MISSING", text, f"add {-1 / c:.6g} * {name}")
    return None


def missing_path(case: Case) -> Diagnosis | None:
    """A - N has rank 1 or 2 in every slice along some axes, N a higher one, and is 0 between slices."""
    if not case.measured.all() or not case.counts.all():
        return None
    same = case.x.shape == case.y.shape
    choices = [(k,) for k in range(case.x.ndim)] if same and case.x.ndim > 1 else []
    for axes in [*choices, tuple(range(case.x.ndim))]:
        rest = tuple(k for k in range(case.x.ndim) if k not in axes)
        label = slices(case.x.shape, rest)
        if rest and case.residual[label[:, None] != label[None, :]].any():
            continue
        ranks = []
        for group in range(label.max(initial=0) + 1):
            rows = label == group if rest else np.ones(len(case.analytic), bool)
            block = np.ix_(rows, label == group)
            noise = 2 * float(np.linalg.norm(case.tolerance[block]))
            ranks.append([rank(part[block], noise) for part in (case.residual, case.numeric, case.analytic)])
        worst = max(r for r, _, _ in ranks)
        wide = min(np.count_nonzero(case.residual.any(k)) for k in (0, 1)) > worst + 1
        if wide and worst in (1, 2) and all(not r or r + 1 < max(n_rank, a_rank) for r, n_rank, a_rank in ranks):
            where = f"each slice along axis {axes[0]}" if rest else "all"
            text = f"A - N has rank {worst} over {where}: a path through a mean, variance, norm or sum is missing"
            return case.says("MISSING", text, "differentiate the statistic too, it depends on every entry")
    return None


# Some entries are wrong, the others right.


def repeated(case: Case) -> Diagnosis | None:
    """Wrong exactly in the rows of x that an integer argument names more than once."""
    for name, index in case.arguments.items():
        if index.dtype.kind in "iu" and index.size > 1 and case.x.ndim:
            rows = index.ravel()
            if rows.min() >= -len(case.x) and rows.max() < len(case.x):
                many = np.bincount(rows % len(case.x), minlength=len(case.x))[case.sample[case.y.ndim]] > 1
                if case.divided_by(many, least=1):
                    text = f"wrong exactly in the rows that {name} names more than once"
                    return case.says("DUPLICATE", text, "accumulate (np.add.at), g[index] += keeps one of them")
    return None


def region(case: Case) -> Diagnosis | None:
    """Wrong exactly where a value at hand is < 0, > 0, == 0, ...; or off by one factor there, by another elsewhere."""
    a, n, tolerance = case.at(case.analytic), case.at(case.numeric), case.at(case.tolerance)
    if case.wrong.any(0).sum() < 2:
        return None
    for name, z in case.aligned({"{}": FUNCTIONS["{}"]}):
        for word, predicate in PREDICATES.items():
            side, where = predicate(z), word.replace("{}", name)
            if not side.any() or side.all() or (distinct(z[side], case.sharpness) < 2 and word != "{} == 0"):
                continue
            inside, outside = (multiple(a[k], n[k], tolerance[k]) for k in (side, ~side))
            if case.divided_by(side):
                return case.says(
                    "REGION", f"wrong exactly where {where}: there {_off(case, inside)}", "check that branch or mask"
                )
            if inside and outside and distinct(z[~side], case.sharpness) > 1:
                text = f"{inside:.6g} times the right gradient where {where}, {outside:.6g} times elsewhere"
                return case.says("REGION", text, "check the two branches: they may be exchanged")
    return None


def index_region(case: Case) -> Diagnosis | None:
    """Wrong exactly at one index, or both ends, of an axis of x or y."""
    if case.wrong.any(0).sum() < 2:
        return None
    for axis, size in reversed(list(enumerate(case.full))):
        index = case.sample[axis]
        (wrong,) = np.nonzero(case.at(case.wrong))
        k = index[wrong[0]] if wrong.size else 0
        for side, where in (
            (index == k, f"the index is {k} along {case.axis(axis)}"),
            ((index == 0) | (index == size - 1), f"{case.axis(axis)} ends, at both edges (padding?)"),
        ):
            if size > 2 and case.divided_by(side):
                c = multiple(*(case.at(z)[side] for z in (case.analytic, case.numeric, case.tolerance)))
                return case.says(
                    "REGION", f"wrong exactly where {where}: there {_off(case, c)}", "check the slice or the padding"
                )
    return None


def _off(case: Case, c: float | None) -> str:
    if case.lost[case.wrong & case.live].all():
        return "the gradient is 0"
    return f"it is {c:.6g} times the right one" if c else "it is off"


def no_mask(case: Case) -> Diagnosis | None:
    """Wrong exactly where N = 0 and A is not."""
    wrong = case.wrong & case.live
    spurious = case.live & (np.abs(case.numeric) <= case.tolerance)
    if (wrong != spurious).any() or min(wrong.sum(), case.right.sum()) < 3:
        return None
    return case.says(
        "REGION", "right, but not 0 where the numeric gradient is 0: a mask is missing", "multiply by the mask"
    )


def misplaced(case: Case) -> Diagnosis | None:
    """Every row of A has the numbers of that row of N, at other entries."""
    rows = np.asarray(case.counts.all(1))
    if (case.wrong & rows[:, None]).sum() < 4:
        return None
    a, n, tolerance = case.analytic[rows], case.numeric[rows], case.tolerance[rows]
    by_a, by_n = np.argsort(a, axis=1), np.argsort(n, axis=1)
    gap = np.take_along_axis(a, by_a, 1) - np.take_along_axis(n, by_n, 1)
    if (np.abs(gap) > np.take_along_axis(tolerance, by_n, 1)).any():
        return None
    return case.says("REGION", "the right numbers at the wrong entries", "check the indices: argmax, gather, slices")


def some_entries(case: Case) -> Diagnosis | None:
    """A = 0 in whole columns, the others right."""
    wrong = case.wrong & case.live
    columns = wrong.any(0)
    if not wrong.any() or not case.lost[wrong].all() or case.right[:, columns].any():
        return None
    first = case.argument + _subscript(np.unravel_index(int(np.flatnonzero(columns)[0]), case.x.shape))
    text = f"{columns.sum()} of {case.x.size} entries get no gradient, the first is {first}"
    return case.says("DETACHED", text, "their gradient is never written")


def other(case: Case) -> Diagnosis:
    """The worst entry, with analytic, numeric and their ratio."""
    wrong = int(case.wrong.any(0).sum())
    off = np.where(case.wrong & np.isfinite(case.numeric), np.abs(case.analytic - case.numeric), -1)
    k = int(np.argmax(off))
    a, n = case.analytic.flat[k], case.numeric.flat[k]
    ratio = f", ratio {a / n:.6g}" if n else ""
    text = f"{wrong} of {case.x.size} entries are wrong; worst {case.entry(k)}: "
    return case.says("OTHER", f"{text}analytic {a:.6g}, numeric {n:.6g}{ratio}")


RULES: tuple[Callable[[Case], Diagnosis | None], ...] = (
    wrong_shape,
    not_finite,
    at_kinks,
    flat,
    detached,
    sign_or_factor,
    swapped,
    other_direction,
    transposed,
    shifted,
    flipped,
    skip_path,
    diagonal_only,
    contributions,
    chain_factor,
    repeated,
    missing_mean,
    missing_term,
    region,
    index_region,
    some_entries,
    mistaken_value,
    no_mask,
    misplaced,
    missing_path,
)


def diagnose(case: Case) -> Diagnosis:
    """The first rule that fits names the mistake; OTHER where none does."""
    with np.errstate(all="ignore"):
        for rule in RULES:
            found = rule(case)
            if found is not None:
                return found
        return other(case)
