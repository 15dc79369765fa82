"""What a diagnosis is drawn from: the gradient of one argument, analytic and numeric, and what may be said of it.

A claim is put as a model: a matrix that would equal the numeric one if the claim were true. It holds if it does so to
within the numeric error at every entry that was measured, and thereby mends entries that are wrong. Which claims are
made is decided in :mod:`~tinygrad_bp.checking.diagnosis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .patterns import Functions, fits, groups, intermediates, multiples, statistics, subsets
from .report import Diagnosis

__all__ = ["Case", "axes_named", "subscript"]

Array = NDArray[Any]
SAMPLE = 1500  # entries on which the many candidates of a factor or a region are compared


@dataclass(frozen=True)
class Case:
    """The gradient of one argument, found wrong: all that the rules look at.

    The matrices are of shape (m, n): a row for every entry of y and a column for every entry of x; or m = 1, the
    gradient of the one number v . y.
    """

    argument: str
    x: Array
    y: Array
    """The output; several outputs raveled and joined."""
    others: Mapping[str, Any]
    """The other arguments."""
    analytic: Array
    """A"""
    numeric: Array
    """N"""
    error: Array
    """Of N."""
    wrong: Array
    kink: Array
    measured: Array
    """(n,) whether the column was measured."""
    raw: Array | None
    """The gradient as the backward returned it for the incoming gradient `v`; its shape may be wrong."""
    v: Array
    step: Array
    """(n,) the scale of each entry of x."""
    rivals: Mapping[str, Array] = field(default_factory=dict)
    """N of the other arguments, where known: gradients get swapped."""

    # ---- the matrices ----------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """The shape of y, or of the one number v . y."""
        return self.y.shape if len(self.analytic) == self.y.size else ()

    @cached_property
    def full(self) -> tuple[int, ...]:
        """The shape of a matrix with its axes apart: those of the rows, then those of x."""
        return (*self.rows, *self.x.shape)

    @cached_property
    def counts(self) -> Array:
        """Entries to compare: measured, finite, not at a kink."""
        finite = np.isfinite(self.analytic) & np.isfinite(self.numeric) & np.isfinite(self.error)
        return finite & self.measured & ~self.kink

    @cached_property
    def tolerance(self) -> Array:
        """How near to N a model of it must come."""
        n = np.abs(np.where(self.counts, self.numeric, 0))
        wrong = self.wrong & self.counts & (n > 0)
        off = np.abs(self.analytic[wrong] - self.numeric[wrong]) / n[wrong]
        share = min(1e-5, 0.02 * float(np.median(off))) if off.size else 1e-5  # it must tell A from N
        return np.where(self.counts, 10 * self.error + share * (n + 1e-4 * n.max(initial=0)) + 1e-300, np.inf)

    @cached_property
    def live(self) -> Array:
        """Entries where either derivative is not zero."""
        return self.counts & (np.maximum(np.abs(self.analytic), np.abs(self.numeric)) > self.tolerance)

    @cached_property
    def bad(self) -> Array:
        """Live entries that are wrong."""
        return self.live & self.wrong

    @cached_property
    def right(self) -> Array:
        """Entries known to be right, and not because both are zero."""
        return self.live & ~self.wrong & (10 * self.tolerance < np.abs(self.numeric))

    @cached_property
    def lost(self) -> Array:
        """Wrong entries where A = 0."""
        scale = np.abs(np.where(self.counts, self.numeric, 0)).max(initial=0)
        return np.asarray(self.bad & (np.abs(self.analytic) <= 1e-9 * scale))

    @cached_property
    def residual(self) -> Array:
        """A - N, and 0 where they agree or were not compared."""
        return np.where(self.wrong & self.counts, self.analytic - self.numeric, 0.0)

    @cached_property
    def apart(self) -> float:
        """A relative difference that is seen in most entries."""
        seen = self.live & (np.abs(self.numeric) > self.tolerance)
        ratio = 20 * self.tolerance[seen] / np.abs(self.numeric[seen])
        return float(np.median(ratio)) if ratio.size else 1.0

    @cached_property
    def gradient(self) -> Array:
        """N^T v, what `raw` should be; nan where it was not measured."""
        one = len(self.numeric) == 1 < self.v.size
        return np.reshape(self.numeric[0] if one else self.numeric.T @ self.v.ravel(), self.x.shape)

    # ---- models ----------------------------------------------------------------------------------------------------

    def explained_by(self, model: Array, least: int = 2) -> bool:
        """model = N wherever it counts and the model is not nan; at least `least` wrong entries come right by it."""
        model = model.reshape(self.numeric.shape)
        known = self.counts & ~np.isnan(model)
        gap = np.abs(np.where(known, model - self.numeric, 0))
        mended = known & (gap < 0.1 * np.abs(self.residual))
        return bool((gap <= self.tolerance).all() and mended.sum() >= least)

    def turned_right(self, turn: Callable[[Array], Array]) -> bool:
        """Whether A, with its axes apart, becomes N by `turn`, by which N itself becomes another."""
        n = np.where(self.counts, self.numeric, np.nan).reshape(self.full)
        return self.explained_by(turn(self.analytic.reshape(self.full))) and bool(
            (np.abs(turn(n) - n) > self.tolerance.reshape(self.full)).any()
        )

    def turned_right_by_rows(self, turn: Callable[[Array], Array]) -> bool:
        """The same up to a factor for every output, such as the slope of what follows, where only A has to turn."""
        axes, a, n = range(len(self.rows)), self.analytic, self.numeric.reshape(self.full)
        told, a_is, n_turns = (self.told_by_groups(model, axes) for model in (turn(a.reshape(self.full)), a, turn(n)))
        return told > 2 and not a_is and not n_turns

    def told_by_groups(self, model: Array, axes: Sequence[int]) -> int:
        """How many entries, beyond one of a group (equal indices along `axes`), tell that in a group N = c model."""
        on = self.counts.ravel()
        label = groups(self.full, axes)[on]
        return multiples(self.numeric.ravel()[on], model.ravel()[on], self.tolerance.ravel()[on], label)

    # ---- values at hand, at a sample of the entries ----------------------------------------------------------------

    @cached_property
    def sample(self) -> tuple[Array, ...]:
        """Indices, axis by axis of `full`, of live entries whose verdict is known: all, or evenly spaced ones."""
        flat = np.flatnonzero(self.right | self.bad)
        return np.unravel_index(flat[:: -(-flat.size // SAMPLE) or 1], self.full)

    def at(self, matrix: Array) -> Array:
        """The entries of a matrix at the sample."""
        return np.asarray(matrix.reshape(self.full)[self.sample])

    @cached_property
    def sampled(self) -> tuple[Array, Array, Array]:
        """A, N and the tolerance at the sample."""
        return self.at(self.analytic), self.at(self.numeric), self.at(self.tolerance)

    @cached_property
    def arguments(self) -> dict[str, Array]:
        """The other arguments that are numbers."""
        arrays = {name: np.asarray(value) for name, value in self.others.items()}
        return {name: value for name, value in arrays.items() if value.dtype.kind in "fiub"}

    @cached_property
    def statistics(self) -> dict[str, Array]:
        """What a value may be divided by."""
        return _numbers(dict(statistics({self.argument: self.x, **self.arguments})))

    @cached_property
    def values(self) -> dict[str, Array]:
        """What a factor or a mask may be made of: arguments, output, likely intermediate values."""
        own = {self.argument: self.x, **self.arguments}
        output = {"output" if "y" in own else "y": self.y}
        columns = self.x.shape[-1] if self.x.ndim else 0
        found = {**own, **output, **dict(intermediates(own, columns))}
        if not self.rows:
            found["the incoming gradient"] = self.v
        return _numbers(found)

    def aligned(self, functions: Functions) -> Iterator[tuple[str, Array, Array]]:
        """(name, values, places) at the sample of every function of every value, in every way its axes fit."""
        for word, function in functions.items():
            for name, value in (self.values | self.statistics if word == "{}" else self.values).items():
                z = function(value)
                for axes in fits(z.shape, self.full) if np.isfinite(z).all() else ():
                    index = tuple(self.sample[axis] for axis in axes)
                    yield word.replace("{}", name), z[index], np.ravel_multi_index(index, z.shape)

    def slicings(self) -> Iterator[tuple[Array, Array, str]]:
        """Groups of rows and of columns: by indices that x and y share, by an index of y alone, none."""
        shared = [k for k, (a, b) in enumerate(zip(self.rows, self.x.shape)) if a == b > 1]
        for axes in subsets(shared):
            where = f"for every index along {axes_named(axes)}"
            yield groups(self.rows, axes), groups(self.x.shape, axes), where
        every = groups(self.x.shape, ())
        for axis in range(len(self.rows)):
            yield groups(self.rows, (axis,)), every, f"for every index along axis {axis} of the output"
        yield groups(self.rows, ()), every, "over all entries"

    # ---- words -----------------------------------------------------------------------------------------------------

    def says(self, code: str, text: str, hint: str = "") -> Diagnosis:
        """A diagnosis about this argument."""
        return Diagnosis(code, text, hint, self.argument)

    def entry(self, k: int) -> str:
        """The name of an entry of the matrix: ``W[1, 2]``, or ``dy[0]/dW[1, 2]``."""
        row, column = divmod(k, self.x.size)
        x = self.argument + subscript(np.unravel_index(column, self.x.shape))
        return f"dy{subscript(np.unravel_index(row, self.rows))}/d{x}" if len(self.analytic) > 1 else x

    def axis(self, k: int) -> str:
        """The name of an axis of `full`."""
        own = k - len(self.rows)
        return f"axis {k} of the output" if own < 0 else f"axis {own} of {self.argument}"

    def dimension(self, size: float, accuracy: float) -> str:
        """What there are so many of: indices of an axis or of several, entries of x for each of y; else empty."""
        arrays = {self.argument: self.x, **self.arguments, "the output": self.y if self.y.size > 1 else self.v}
        named = [
            (len(axes), np.prod([array.shape[k] for k in axes]), f"the size of {axes_named(axes)} of {name}")
            for name, array in arrays.items()
            for axes in subsets([k for k in range(array.ndim) if array.shape[k] > 1])
        ]
        named += [(9, self.x.size / self.y.size, f"the number of entries of {self.argument} for each of the output")]
        fitting = [(order, name) for order, count, name in named if abs(count - size) <= accuracy * size]
        return min(fitting, key=lambda one: one[0])[1] if fitting else ""


def _numbers(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.squeeze(array).astype(float) for name, array in arrays.items() if array.size > 1}


def subscript(index: tuple[Any, ...]) -> str:
    """``[1, 2]``"""
    return f"[{', '.join(str(int(k)) for k in index)}]" if index else ""


def axes_named(axes: tuple[int, ...]) -> str:
    """``axis 0``, ``axes 0, 2``"""
    return f"ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(str, axes))}"
