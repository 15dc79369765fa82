"""The rules of the diagnosis: each a small function that names one kind of mistake, or None.

The docstring of a rule states its test, with A the analytic and N the numeric matrix, a row for every output and a
column for every entry of the argument x. A rule speaks only where the numbers bear it out; in which order the rules are
asked is told in :mod:`~tinygrad_bp.checking.diagnosis`, what counts as agreement in
:mod:`~tinygrad_bp.checking.evidence`, the arithmetic in :mod:`~tinygrad_bp.checking.patterns`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evidence import Case, axes_named, subscript
from .patterns import (
    FUNCTIONS,
    PREDICATES,
    TERMS,
    bits,
    broadcasts,
    groups,
    is_of_rank,
    moved,
    multiple,
    multiples,
    orders,
    rank,
    reread,
    subsets,
    thinned,
)
from .report import Diagnosis

Array = NDArray[Any]
Turned = Callable[[Case, Callable[[Array], Array]], bool]
ENOUGH = 16  # bits: of a thousand candidates less than one in fifty fits by chance

# ---- nothing to compare ----------------------------------------------------------------------------------------------


def wrong_shape(case: Case) -> Diagnosis | None:
    """raw.shape != x.shape; the sum of raw over some axes, or raw with its axes in another order, is N^T v."""
    raw, shape, right = case.raw, case.x.shape, case.gradient
    if raw is None or raw.shape == shape:
        return None
    known = np.isfinite(right)
    text = f"the gradient has shape {raw.shape}, {case.argument} has {shape}"
    near = 10 * case.error.max(initial=0, where=np.isfinite(case.error)) * np.abs(case.v).sum()
    near += 1e-5 * np.abs(right[known]).max(initial=0)

    def equal(a: Array) -> bool:
        comparable = a.size == case.x.size and bool(known.any())
        return comparable and np.allclose(a.reshape(shape)[known], right[known], 0, near)

    if equal(raw):
        return case.says("SHAPE", f"{text}: the numbers are right", f"reshape it to {shape}")
    for axes in subsets(range(raw.ndim)):
        if equal(raw.sum(axes)):
            keep = ", keepdims=True" if raw.ndim == len(shape) else ""
            hint = f"sum it as {case.argument} was broadcast: .sum({axes[0] if len(axes) == 1 else axes}{keep})"
            return case.says("BROADCAST", f"{text}: it is not summed over {axes_named(axes)}", hint)
    for order in orders(raw.shape, shape):
        if equal(raw.transpose(order)):
            return case.says("TRANSPOSE", f"{text}: it is transposed", f"transpose it: .transpose{order}")
    return case.says("SHAPE", text, f"return one number for every entry of {case.argument}")


def not_finite(case: Case) -> Diagnosis | None:
    """A is nan or infinite where N is a number."""
    bad = ~np.isfinite(case.analytic) & np.isfinite(case.numeric) & np.isfinite(case.error) & case.measured
    if not bad.any():
        return None
    k = int(np.flatnonzero(bad)[0])
    text = f"{case.analytic.flat[k]} at {case.entry(k)}, where the slope is {case.numeric.flat[k]:.6g}"
    hint = "where(mask, f(x), 0) meets the slope of f where the mask is off, too: take f of where(mask, x, 1)"
    return case.says("NONFINITE", f"{text} ({bad.sum()} such entries)", hint)


def at_kinks(case: Case) -> Diagnosis | None:
    """Every wrong entry is at a kink: A is outside the slopes to the two sides."""
    if not case.wrong.any() or (case.wrong & ~case.kink).any():
        return None
    k = int(np.flatnonzero(case.wrong)[0])
    value = f"{case.analytic.flat[k]:.6g} at the kink {case.entry(k)}"
    text = f"{value}: not between the slopes, alone or with those it ties"
    return case.says("KINK", text, "take one side's slope or a value between; at a tie, one entry's or shares of it")


def unresolved(case: Case) -> Diagnosis | None:
    """No wrong entry is clear enough to be compared: every rule below has some."""
    return None if case.bad.any() else other(case)


def flat(case: Case) -> Diagnosis | None:
    """N = 0 everywhere, A is not: one mistake cannot be told from another here."""
    if (case.live & (np.abs(case.numeric) > case.tolerance)).any():
        return None
    k = int(np.argmax(np.where(case.bad, np.abs(case.analytic), -1)))
    text = f"the function does not change here, yet the gradient is {case.analytic.flat[k]:.6g} at {case.entry(k)}"
    return case.says("OTHER", text, "if the inputs are saturated, check at smaller ones: more can be told there")


# ---- one number tells all --------------------------------------------------------------------------------------------


def detached(case: Case) -> Diagnosis | None:
    """A = 0, N is not."""
    if case.right.any() or (case.lost != case.bad).any():
        return None
    text = "the gradient is all zero, the numeric one is not"
    return case.says("DETACHED", text, "the path is cut, or the gradient never written")


def sign_or_factor(case: Case) -> Diagnosis | None:
    """A = c N: c is -1; a count, or one by a count; or any other number."""
    live, n = case.live, np.abs(case.numeric)
    c = multiple(case.analytic[live], case.numeric[live], case.tolerance[live])
    accuracy = 1e-6 + float((case.tolerance[live] / n[live]).min())
    if c is None or abs(c - 1) <= accuracy:
        return None
    if abs(c + 1) <= accuracy:
        return case.says("SIGN", "the gradient has the wrong sign", "change its sign")
    large, size = abs(c) > 1, max(abs(c), 1 / abs(c))
    twice = abs(size - 2) <= 2 * accuracy
    one_to_one = len(live) > 1 and max(live.sum(0).max(), live.sum(1).max()) == 1
    count = case.dimension(size, accuracy)
    if count and c > 0 and not twice and not one_to_one:
        hint = "divide by it: a mean, not a sum" if large else "do not divide by it: a sum, not a mean"
        return case.says("MEAN", f"too {'large' if large else 'small'} by {size:.6g}, {count}", hint)
    notes = [
        f"{'twice' if large else 'half'} the right value"
        if twice and c > 0
        else f"off by the factor {c:.{6 if abs(abs(c) - 1) > 1e-3 else 9}g}"
    ]
    notes += [f"{size:.6g} is {count}"] if count else []
    root = case.dimension(size**2, 2 * accuracy)
    notes += [f"{size:.6g} is the square root of {root}"] if root else []
    for name, value in case.arguments.items():
        for power, word in ((1, name), (-1, f"1 / {name}")):
            if value.size == 1 and value.any() and abs(c / float(value.item()) ** power - 1) <= accuracy:
                notes.append(f"{c:.6g} is {word}")
    return case.says("FACTOR", "; ".join(notes), f"multiply by {1 / c:.6g}")


def swapped(case: Case) -> Diagnosis | None:
    """A = N of another argument."""
    for name, rival in case.rivals.items():
        if rival.shape == case.numeric.shape:
            a, n, tolerance = (p[case.live] for p in (case.analytic, rival, case.tolerance))
            c = multiple(a, n, tolerance + 1e-5 * np.abs(n))
            if c is not None and abs(c - 1) < 1e-3:
                return case.says("SWAPPED", f"this is the gradient of {name}", "return them in the arguments' order")
    return None


# ---- the right numbers in the wrong places ---------------------------------------------------------------------------


def shifted(case: Case) -> Diagnosis | None:
    """A moved by one or two along an axis is N, but for what enters at the end."""
    for axis, size in enumerate(case.full):
        for by, enters in product((1, -1, 2, -2), (None, np.nan)):
            if size > 1 + abs(by) and case.turned_right(partial(moved, axis=axis, by=by, enters=enters)):
                text = f"the gradient is off by {'one' if abs(by) == 1 else 'two'} along {case.axis(axis)}"
                return case.says("SHIFT", text, "check the two ends of the slice, or the sign of the shift")
    return None


def flipped(case: Case, turned_right: Turned = Case.turned_right) -> Diagnosis | None:
    """A reversed along some axes is N."""
    m = len(case.rows)
    for axes in subsets([k for k, size in enumerate(case.full) if size > 1]):
        if turned_right(case, partial(np.flip, axis=axes)):
            own = [k for k in axes if k >= m] or list(axes)
            text = f"the gradient is reversed along {' and '.join(map(case.axis, own))}"
            return case.says("FLIP", text, "reverse it: a kernel, or a running sum that runs the wrong way")
    return None


def transposed(case: Case, turned_right: Turned = Case.turned_right) -> Diagnosis | None:
    """A with its axes in another order is N; or A was reshaped where it had to be transposed."""
    m, shape = len(case.rows), case.x.shape
    for order in orders(case.full, case.full):
        if turned_right(case, partial(np.transpose, axes=order)):
            moved = [k for k in range(len(order)) if order[k] != k]
            if moved[0] >= m:
                text = f"the gradient is transposed: its axes come in the order {tuple(k - m for k in order[m:])}"
            elif moved[-1] >= m:
                places = " and ".join(map(case.axis, moved))
                text = f"a matrix is used where its transpose belongs: {places} are exchanged"
            else:
                text = "the incoming gradient is transposed, or summed over the wrong axis"
            summed = moved[-1] < m and 0 < len(shape) < m
            return case.says("BROADCAST" if summed else "TRANSPOSE", text, "transpose it")
    for old in (shape[::-1], shape) if len(shape) > 1 else ():
        if turned_right(case, partial(reread, shape=old)):
            text = "the gradient is reshaped where it should be transposed"
            return case.says("TRANSPOSE", text, "C and F order are mixed: use .T")
    return None


# ---- paths and outputs are forgotten ---------------------------------------------------------------------------------


def skip_path(case: Case) -> Diagnosis | None:
    """A - N = c I (of the one number v . y: c v)."""
    if case.y.shape != case.x.shape or case.x.size < 2:
        return None
    identity = np.eye(case.x.size) if case.rows else case.v.reshape(1, -1)
    on = case.live & (identity != 0)
    c = float(np.median((case.analytic - case.numeric)[on] / identity[on])) if on.any() else 0.0
    if not c or not case.explained_by(case.analytic - c * identity):
        return None
    text = f"analytic - numeric is {c:.6g} times the identity: a path straight from {case.argument} to the output is "
    return case.says("SKIP", text + ("lost" if c < 0 else "counted twice"), "add the incoming gradient once per path")


def diagonal(case: Case) -> Diagnosis | None:
    """A_ij = 0 != N_ij for i != j, and A_ii = N_ii; or the reverse, all right but the diagonal."""
    if case.x.shape != case.y.shape or not case.rows or not case.measured.all():
        return None
    on = np.eye(case.x.size, dtype=bool)
    off = case.live & ~on
    if off.any() and case.lost[off].all() and case.right[on].any() and not case.wrong[on].any():
        text = "right for the entry's own output, 0 for the other outputs that depend on it"
        return case.says("MISSING", text, "sum over the outputs: of a softmax y * (g - sum(g * y))")
    if off.sum() > 2 and not case.wrong[off].any() and case.bad[on].sum() > 1:
        text = "right for the other outputs, wrong for the entry's own: its direct path lacks a term"
        return case.says("MISSING", text, "add the direct path to the path through the others")
    return None


def contributions(case: Case) -> Diagnosis | None:
    """What is wrong is 0; all columns keep as many of their outputs, at one index of an axis; or keep one each."""
    lacking = np.asarray(case.bad.any(0))
    uses, kept = case.live.sum(0), (case.live & ~case.bad).sum(0)
    if (case.bad & ~case.lost).any() or not kept[lacking].all() or not case.measured.all():
        return None
    text = f"counts {kept[lacking].min()} of the {uses[lacking].max()} outputs that use each entry"
    if lacking[uses > 0].all() and np.ptp(kept[lacking]) == 0:
        used = np.unravel_index(np.flatnonzero((case.live & ~case.bad).any(1)), case.rows)
        last_too = broadcasts(case.x.shape, case.rows)  # else the loop over the outputs overwrites
        for axis, index in enumerate(used):
            if case.rows[axis] > 1 and np.ptp(index) == 0 and (last_too or index[0] == 0):
                return case.says("BROADCAST", text, f"sum the incoming gradient over axis {axis}")
    if (kept[lacking] == 1).all():
        text = f"{lacking.sum()} of {case.x.size} entries are used several times and keep one contribution"
        return case.says("DUPLICATE", text, "accumulate with += (np.add.at where indices repeat), do not assign")
    return None


# ---- a factor is missing ---------------------------------------------------------------------------------------------


def chain_factor(case: Case) -> Diagnosis | None:
    """A F = c N (F is missing) or A = c N F (F is one too many), F a function of a value at hand."""
    (a, n, tolerance), found = case.sampled, list[tuple[float, str, str]]()
    for name, factor, _ in case.aligned(FUNCTIONS):
        told = bits(factor[factor != 0], case.apart)
        if told:
            missing = multiple(a * factor, n, tolerance)
            extra = multiple(a, n * factor, tolerance * np.abs(factor) + 1e-300)
            for c, text, hint in (
                (missing, f"the factor {name} is missing", f"multiply by {name}"),
                (extra, f"there is one factor {name} too many", f"divide by {name}"),
            ):
                if c is not None and told + _prior(case, c) >= ENOUGH:
                    constant = "" if abs(c - 1) < 1e-4 else f" (and a constant, {c:.4g})"
                    found.append((-_prior(case, c), text + constant, hint))
    return case.says("CHAIN", *min(found, key=lambda one: one[0])[1:]) if found else None


def _prior(case: Case, c: float) -> float:
    """In bits: a constant of +-1/2, 1 or 2 was to be expected, any other was not."""
    return -math.log2(case.apart) if min(abs(abs(c) - k) for k in (0.5, 1, 2)) < case.apart else 0.0


def mistaken_value(case: Case) -> Diagnosis | None:
    """A f(q) = +-N f(p): the function f of one value p, where that of another, q, belongs."""
    a, n, tolerance = case.sampled
    few = slice(None, None, a.size // 8 + 1)
    for word, function in FUNCTIONS.items():
        terms = [(name, z) for name, z, _ in case.aligned({word: function}) if z.all() and np.ptp(z)]
        logs = np.log(np.abs(np.array([z[few] for _, z in terms])))
        off = logs[:, None] - logs - np.log(np.abs(a / n))[few] if terms else np.ones((0, 0, 1))
        for p, q in np.argwhere((np.abs(off) < case.apart).all(-1)).tolist():
            (name, used), (belongs, due) = terms[p], terms[q]
            c = multiple(a * due, n * used, tolerance * np.abs(used))
            if c is not None and bits(used / due, case.apart) >= ENOUGH:
                turned = sorted(name.replace(".T", "")) == sorted(belongs.replace(".T", ""))
                belongs = belongs if c > 0 else f"-{belongs}"
                text = f"the factor is {name}, where {belongs} belongs"
                return case.says("TRANSPOSE" if turned else "CHAIN", text, f"take {belongs}")
    return None


# ---- a term is missing -----------------------------------------------------------------------------------------------


def missing_mean(case: Case) -> Diagnosis | None:
    """A - N is constant along an axis of x."""
    tensor = np.where(case.counts, case.analytic - case.numeric, 0).reshape(case.full)
    for axis in range(len(case.rows), len(case.full)) if case.measured.all() else ():
        constant = np.broadcast_to(np.median(tensor, axis, keepdims=True), tensor.shape)
        if case.full[axis] > 2 and case.explained_by(case.analytic - constant.reshape(case.analytic.shape), 3):
            lost = "a path through a mean or sum over it is missing"
            text = f"analytic - numeric is constant along {case.axis(axis)}: {lost}"
            return case.says("MISSING", text, "differentiate the mean (or sum) too: it depends on every entry")
    return None


def missing_term(case: Case) -> Diagnosis | None:
    """A - N = c F, F a value at hand; or c = +-1, 1/2, 2 and F a function of one."""
    a, n, tolerance = case.sampled
    for name, term, _ in case.aligned(TERMS) if bits(n[case.at(case.bad)], case.apart) else ():
        c = multiple(term, a - n, tolerance) if np.count_nonzero(term) > 2 and np.ptp(term) else None
        if c is not None:
            plain = name in case.values or name in case.statistics
            if bits(term, case.apart) >= (ENOUGH / 2 if plain else ENOUGH) and (plain or _prior(case, c)):
                what = "this term is " + ("missing" if c < 0 else "one too many")
                text = f"analytic - numeric = {1 / c:.6g} * {name}: {what}"
                return case.says("MISSING", text, f"add {-1 / c:.6g} * {name}")
    return None


# ---- where it is wrong -----------------------------------------------------------------------------------------------


def repeated(case: Case) -> Diagnosis | None:
    """Wrong exactly in the rows of x that an integer argument names more than once."""
    for name, index in case.arguments.items():
        rows, count = index.ravel(), len(case.x) if case.x.ndim else 0
        if index.dtype.kind in "iu" and index.size > 1 and -count <= rows.min() and rows.max() < count:
            many = np.bincount(rows % count, minlength=count)[case.sample[len(case.rows)]] > 1
            if (many == case.at(case.bad)).all() and many.any() and not many.all():
                text = f"wrong exactly in the rows that {name} names more than once"
                return case.says("DUPLICATE", text, "accumulate (np.add.at): g[index] += keeps one of them")
    return None


def region(case: Case) -> Diagnosis | None:
    """Wrong exactly where a value at hand is < 0, > 0, == 0, ...; or A = c N there and A = d N elsewhere."""
    (a, n, tolerance), bad = case.sampled, case.at(case.bad)
    for name, z, places in case.aligned({"{}": FUNCTIONS["{}"]}):
        for word, predicate in PREDICATES.items():
            side, where = predicate(z), word.replace("{}", name)
            every, inner = np.unique(places).size, np.unique(places[side]).size
            if math.comb(every, inner) < (16 if name in (case.argument, "y", "output") else 256):
                continue
            inside, outside = (multiple(a[k], n[k], tolerance[k]) for k in (side, ~side))
            if (side == bad).all():
                return _wrong_where(case, where, inside)
            if inside and outside:
                text = f"{inside:.6g} times the right gradient where {where}, {outside:.6g} times it elsewhere"
                return case.says("REGION", text, "check the two branches: they may be exchanged")
    return None


def index_region(case: Case) -> Diagnosis | None:
    """Wrong exactly at one index, or at both ends, of an axis of x or y."""
    bad = case.at(case.bad)
    for axis, size in reversed(list(enumerate(case.full))):
        index = case.sample[axis]
        first = int(index[bad].min(initial=size))
        for side, where in (
            (index == first, f"the index is {first} along {case.axis(axis)}"),
            ((index == 0) | (index == size - 1), f"{case.axis(axis)} ends, on both sides (padding?)"),
        ):
            if size > 2 and (side == bad).all() and not side.all() and case.bad.any(0).sum() > 1:
                return _wrong_where(case, where, multiple(*(p[side] for p in case.sampled)))
    return None


def _wrong_where(case: Case, where: str, c: float | None) -> Diagnosis:
    there = f"it is {c:.6g} times the right one" if c else "it is off"
    there = "the gradient is 0" if (case.lost == case.bad).all() else there
    return case.says("REGION", f"wrong exactly where {where}: there {there}", "check that branch, mask or slice")


def only_lost(case: Case) -> Diagnosis | None:
    """What is wrong is 0: for some of the outputs that use an entry, or for all."""
    columns = np.asarray(case.bad.any(0))
    kept = case.right.sum(0)[columns]
    if (case.bad & ~case.lost).any():
        return None
    if kept.any():
        text = f"counts {kept.min()} of the {case.live.sum(0)[columns].max()} outputs that use an entry"
        return case.says("MISSING", text, "every output that uses an entry contributes")
    first = case.argument + subscript(np.unravel_index(int(np.flatnonzero(columns)[0]), case.x.shape))
    text = f"{columns.sum()} of {case.x.size} entries get no gradient, the first is {first}"
    return case.says("DETACHED", text, "their gradient is never written")


def mask(case: Case) -> Diagnosis | None:
    """Wrong exactly where N = 0 and A is not; or A = 0 exactly where N is not."""
    spurious = case.bad & (np.abs(case.numeric) <= case.tolerance)
    if spurious.sum() < 3 or (case.bad & ~case.lost & ~spurious).any() or case.lost.any() == case.right.any():
        return None
    if case.lost.any():
        text, hint = "0 exactly where the numeric gradient is not", "the mask is inverted, or the indices are wrong"
    elif (case.right.any(0) & spurious.any(0)).any():
        text = "right for the outputs that use an entry, but others contribute, too"
        return case.says("OTHER", f"{text}; {other(case).text}", "a sum runs too far")
    else:
        text, hint = "right, but not 0 where the numeric gradient is 0", "a mask is missing: multiply by it"
    return case.says("REGION", text, hint)


def rearranged_behind_a_slope(case: Case) -> Diagnosis | None:
    """A reversed or transposed is N up to a factor for every output: the slope of what follows."""
    return flipped(case, Case.turned_right_by_rows) or transposed(case, Case.turned_right_by_rows)


def misplaced(case: Case) -> Diagnosis | None:
    """Every row of A has the numbers of that row of N, or every column those of that column, at other entries."""
    if case.bad.sum() < 4 or not case.counts.all():
        return None
    for axis in (1, 0):
        by_a, by_n = np.argsort(case.analytic, axis), np.argsort(case.numeric, axis)
        gap = np.take_along_axis(case.analytic, by_a, axis) - np.take_along_axis(case.numeric, by_n, axis)
        if (np.abs(gap) <= np.take_along_axis(case.tolerance, by_n, axis)).all():
            text = "the right numbers at the wrong entries"
            return case.says("REGION", text, "check the indices: argmax, gather, slices")
    return None


# ---- what is left of a pattern ---------------------------------------------------------------------------------------


def missing_path(case: Case) -> Diagnosis | None:
    """A - N is of rank 1 or 2 in every slice along some axes, and 0 between slices; A or N is of a higher rank."""
    for rows, columns, where in case.slicings() if case.counts.all() else ():
        if columns.any() and case.residual[rows[:, None] != columns].any():
            continue
        ranks = []
        for group in range(rows.max(initial=0) + 1):
            block = np.ix_(thinned(rows == group), thinned((columns == group) | (columns.max() == 0)))
            d, tolerance = case.residual[block], case.tolerance[block]
            of = max(rank(case.numeric[block], tolerance), rank(case.analytic[block], tolerance))
            most = min(of, int(d.any(0).sum()), int(d.any(1).sum()))
            ranks.append(
                next((r for r in (0, 1, 2) if is_of_rank(d, r, tolerance) and (not d.any() or r + 1 < most)), 9)
            )
        if max(ranks) <= 2:
            lost = "a path through a mean, variance, norm or sum is missing"
            text = f"analytic - numeric is of rank {max(ranks)} {where}: {lost}"
            return case.says("MISSING", text, "differentiate the statistic too: it depends on every entry")
    return None


def missing_norm(case: Case) -> Diagnosis | None:
    """For every output A - N is a multiple of F, a value at hand; and A is no multiple of N."""
    a, n, tolerance = case.sampled
    axes = range(len(case.rows))
    if not case.rows or case.told_by_groups(case.analytic, axes):
        return None
    label = groups(case.full, axes)[np.ravel_multi_index(case.sample, case.full)]
    for name, z, _ in case.aligned({"{}": FUNCTIONS["{}"]}):
        if multiples(a - n, z, tolerance, label) > 2:
            text = f"for every output analytic - numeric is a multiple of {name}: "
            if name in (case.argument, "y", "output"):
                hint = "differentiate the norm too: it depends on every entry"
                return case.says("MISSING", text + "a path through a norm, or the like, is missing", hint)
            return case.says("CHAIN", text + f"the path through {name} has a wrong slope", "a factor is missing there")
    return None


def off_together(case: Case) -> Diagnosis | None:
    """Of a flat vector of parameters, most wrong entries are in groups of A = c N, with one c for each group."""
    bad = np.flatnonzero(case.bad[0])
    if len(case.analytic) > 1 or case.x.ndim != 1 or len(bad) < 2:
        return None
    c = case.analytic[0, bad] / case.numeric[0, bad]
    vague = 2 * case.tolerance[0, bad] / np.abs(case.numeric[0, bad])
    same = np.abs(c[:, None] - c) <= vague[:, None] + vague
    shared = same.sum(1) > 1
    if shared.sum() < 0.6 * len(bad):
        return None
    groups = dict.fromkeys(tuple(bad[row].tolist()) for row in same[shared])
    said = [
        f"{', '.join(map(case.entry, group[:4]))}{' ...' if len(group) > 4 else ''} are "
        f"{case.analytic[0, group[0]] / case.numeric[0, group[0]]:.6g} times the right values"
        for group in list(groups)[:3]
    ]
    return case.says("DELTA", "; ".join(said), "what is passed back to them, their delta, is wrong, not their own line")


def factor_by_axis(case: Case) -> Diagnosis | None:
    """N = c A, with one c for every index along an axis, or for every output, or for every entry of x."""
    m = len(case.rows)
    own, all_axes = range(m), range(len(case.full))
    for axes in (*((k,) for k in all_axes), own, all_axes[m:]):
        if case.told_by_groups(case.analytic, axes) > 2 and case.bad.sum() > case.right.sum():
            where = " and ".join(map(case.axis, axes))
            text = f"right up to a factor that depends on the index along {where} only; {other(case).text}"
            return case.says("OTHER", text, "look for a slope, a weight or a count that belongs to it")
    return None


def value_alone(case: Case) -> Diagnosis | None:
    """A = +-F, F a value at hand; or A = c I."""
    alone = {name: z for name, z, _ in case.aligned({"{}": FUNCTIONS["{}"]}) if bits(z, case.apart) >= ENOUGH}
    if case.rows == case.x.shape and case.lost[~np.eye(case.x.size, dtype=bool)].any():
        alone["the incoming gradient"] = case.at(np.eye(case.x.size))
    for name, z in alone.items():
        c = multiple(case.at(case.analytic), z, 1e-6 * np.abs(z) + 1e-9 * np.abs(z).max(initial=0))
        if c and abs(abs(c) - 1) < 1e-6:
            text = f"the gradient is {name} alone, as if the rest were a constant"
            return case.says("CHAIN", text, "multiply by the slopes of what comes before and after")
    return None


# ---- none fits -------------------------------------------------------------------------------------------------------


def other(case: Case) -> Diagnosis:
    """The worst entry, with analytic, numeric and their ratio."""
    off = np.where(case.wrong & np.isfinite(case.numeric), np.abs(case.analytic - case.numeric), -1)
    k = int(np.argmax(off))
    a, n = case.analytic.flat[k], case.numeric.flat[k]
    text = f"{case.wrong.any(0).sum()} of {case.x.size} entries are wrong; worst {case.entry(k)}: analytic {a:.6g}, "
    return case.says("OTHER", f"{text}numeric {n:.6g}" + (f", ratio {a / n:.6g}" if n else ""))
