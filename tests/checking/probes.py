"""Points at which a mutant's gradients are compared with the row's own: far more than the samples, and wilder.

Where the two agree everywhere, at orders 1 and 2, the mutant changes no gradient. The points are the row's samples with
other values (new ones of the same domain, ties, zeros, the ends of the range), other dtypes and layouts, incoming
gradients with zeros in them, and more shapes, axes and indices. What is not promised is not compared: the gradient of
nan, unless the incoming one is 0 there, and entries where infinite or huge inputs make the row's own gradient nan.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy import array

from tinygrad_bp import Tensor, autograd
from tinygrad_bp.autograd import Op

from .. import samples
from ..checks import floats, pull, signed, tracked, with_floats
from ..samples import R, S, Sample, vary
from ..test_conventions import BY_ROWS, WILD, WILD_ROWS

Arrays = list[Any]


class Point(NamedTuple):
    """Where gradients are compared."""

    sample: Sample
    upstream: Any
    """The incoming gradient."""
    relative: float
    """How far two gradients may be apart, relative to them."""
    floor: float
    """The same, relative to the largest, or to 1."""
    tame: bool
    """Whether the inputs are of the size of 1: then nan must be nan."""


def gradients(call: Callable[..., Any], point: Point) -> Iterator[Any]:
    """The gradients of all inputs, plain and recorded, and those of their sum by the inputs and the incoming one."""
    inputs, params = point.sample
    yield from pull(call, inputs, params, point.upstream)
    leaves, seed = tracked(inputs), Tensor(point.upstream, requires_grad=True)
    wanted = [*[leaves[k] for k in floats(inputs)], seed]
    y = call(*leaves, **params)
    yield y.data
    first = autograd.grad(y, wanted[:-1], seed, create_graph=True)
    yield from (g.data for g in first)
    total = sum((weights(g.shape, k + 1) * g).sum() for k, g in enumerate(first))
    second = autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else [None] * len(wanted)
    yield from (np.zeros_like(x.data) if g is None else g.data for g, x in zip(second, wanted))


weights = functools.cache(signed)


def differ(call: Callable[..., Any], point: Point, own: Arrays) -> bool:
    """Whether some gradient is not the row's own, or cannot be computed."""
    try:
        return any(map(apart, gradients(call, point), own, itertools.repeat(point)))
    except Exception:
        return True


def apart(a: Any, b: Any, point: Point) -> bool:
    """Whether two gradients differ, the second being the row's own."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return True
    if np.array_equal(a, b):
        return False
    known = ~np.isnan(b)
    if point.tame and not np.isnan(a[~known]).all():
        return True
    a, b = a[known].astype(float), b[known].astype(float)
    ends = ~(np.isfinite(a) & np.isfinite(b))
    if not np.array_equal(a[ends], b[ends]):
        return True
    a, b = a[~ends], b[~ends]
    allowed = point.relative * np.abs(b) + point.floor * np.max(np.abs(b), initial=1.0)
    return bool((np.abs(a - b) > allowed).any())


# ---- points ----------------------------------------------------------------------------------------------------------

EACH, EXACT, SINGLE = (1e-9, 0.0), (1e-9, 1e-12), (1e-3, 1e-4)
TAME = array([0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0])
ENDS = array([*TAME, 40.0, -40.0, 800.0, -800.0, 1e200, -1e200, 1e-300, np.inf, -np.inf])
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
AXES = [None, 0, 1, 2, -1, -2, (0, 1), (2, 0), (-1, -2), (0, 1, 2), ()]


def pairs(values: Any) -> Sample:
    """Each with each."""
    return S(*[x.ravel() for x in np.meshgrid(values, values)])


# More shapes, axes and indices for rows that have no family of shapes.
MORE: dict[str, samples.Samples] = {
    "clip": [R((4, 5), (5,), (4, 1)), S(array([-1.0, 0.0, 1.0, 2.0]), 0.0, 1.0), R((3,), (3,), ())],
    "where": [S(array([0, 1, -2]), samples.real(3), samples.real(3, k=1)), S(False, samples.real(2), 1.0)],
    "elu": vary(samples.real(5), alpha=[-0.7, 0.0]),
    "prod": [S(array([[0.0, 2.0, 0.0, 3.0, 1.0], [0.0, 5.0, 4.0, 3.0, 1.0]]), axis=1), R((2, 3, 4, 2), axis=(3, 1))],
    "cumsum": [R((3, 3), axis=0), R((3, 3), axis=1), R((2, 3, 4), axis=1), R((2, 3, 4))],
    "transpose": [R((3, 3)), R((2, 2, 2), axes=(1, 2, 0)), R((2, 3, 4, 5), axes=(3, 0, -2, 1))],
    "swapaxes": [R((2, 2, 2), axis1=0, axis2=2), R((2, 3, 4), axis1=1, axis2=1)],
    "moveaxis": [R((2, 2, 2), source=0, destination=2), R((2, 3, 4, 5), source=(3, 0), destination=(1, 2))],
    "roll": [R((3, 3), shift=(1, 1), axis=(0, 1)), R((4,), shift=5), R((2, 5), shift=(1, 3), axis=1)],
    "pad": [
        *[R((2, 2), pad_width=((1, 2), (3, 0))), R((3,), pad_width=(1, 2)), R((2, 2, 2), pad_width=1)],
        R((), pad_width=1),
    ],
    "concatenate": [R((2, 2), (2, 2), axis=-1), R((2, 2), (2, 2), (1, 2)), R((2, 1, 2), (2, 3, 2), axis=-2)],
    "getitem": vary(samples.real(4, 4), index=[array([1, 1, 3]), (array([0, 1]), array([1, 1])), (slice(3, 0, -2), 1)]),
    "linear": [
        *[R((3, 3), (3, 3), (3,)), R((2, 2, 2), (2, 2), (2,))],
        *[R((80, 3), (70, 3), (70,)), R((64, 2), (64, 2), (64,))],
    ],
    "matmul": [
        *[R((3, 3), (3, 3)), R((2, 2, 2), (2, 2, 2)), R((2, 2, 2, 2), (2, 2))],
        *[R((2,), (3, 2, 2)), R((3, 2, 2), (2,))],
    ],
    "einsum": [
        *[R((3, 3), (3, 3), subscripts=f"ij,jk->{output}") for output in ("ik", "ki", "j", "")],
        *[R((2, 2, 2), (2, 2), subscripts="iji,jk->k"), R((2, 3, 2), subscripts="iji->j")],
        *[
            R((3, 3, 3), subscripts="iij->"),
            R((2, 1), (1, 3), subscripts="ij,ij->ij"),
            R((1,) * 3, subscripts="iij->j"),
        ],
        *[R((3,), (3,), (3,), subscripts="i,i,i->i"), R((1, 1), (3, 3), subscripts="ij,ij->")],
        *[R((3, 1), (3, 2), subscripts="ij,ij->j"), R((2, 2), (2, 2), subscripts="ii,ij->j")],
        *[R((3, 3), subscripts="AA->A"), R((3, 3), (2,), subscripts="ii,A->iA"), R((2, 2), (3,), subscripts="ii,A->A")],
        R((1,) * 27, subscripts=f"{CAPITALS}Z->"),
    ],
    "softmax": [R((3, 3), axis=0), R((2, 2, 2), axis=0)],
    "quadratic_loss": [R(shape, shape, reduction="none") for shape in [(3,), (2, 3, 2), (3, 3)]],
    "mse_loss": [R((2, 3, 2), (2, 3, 2), reduction=reduction) for reduction in ("none", "sum", "mean")],
    "sum_to": [R((2, 2), shape=(2,)), R((2, 2), shape=(2, 1)), R((3, 2, 2), shape=(2, 2))],
}
LEFT_OUT = array([[-np.inf, -np.inf], [0.0, 1.0]])  # logits, of which the first row has no loss


def points_of(row: Op, call: Callable[..., Any]) -> list[Point]:
    """All points of a row that its forward has a value at."""
    rng = np.random.default_rng(0)
    points = []
    for sample, share in drawn(row, rng):
        inputs, params = sample = differentiable(row, sample)
        try:
            shape = np.shape(call(*inputs, **params))
        except (ValueError, TypeError):
            continue
        u = np.asarray(signed(shape) * (rng.random(shape) < share))
        xs = [inputs[k] for k in floats(inputs)]
        elementwise = row.name in samples.UNARY or row.name in samples.BINARY
        allowed = SINGLE if any(x.dtype == np.float32 for x in xs) else EACH if elementwise else EXACT
        points.append(Point(sample, u, *allowed, all(np.max(np.abs(x), initial=0.0) < 10.0 for x in xs)))
    if row.name == "cross_entropy":
        for y in (array([0, 1]), np.eye(2)):
            points.append(Point(S(LEFT_OUT, y, reduction="none"), array([0.0, 1.0]), *EXACT, False))
    return points


def differentiable(row: Op, sample: Sample) -> Sample:
    """The sample with bools in the place of inputs without a derivative."""
    without = [k for k in floats(sample.inputs) if row.partials and row.partials[k] is None]
    return Sample(tuple(x > 0 if k in without else x for k, x in enumerate(sample.inputs)), sample.params)


Draws = Iterator[tuple[Sample, float]]


def drawn(row: Op, rng: Any) -> Draws:
    """Samples, each with the share of the entries of its output whose incoming gradient is not 0."""
    if row.name in samples.UNARY:
        x = samples.UNARY[row.name]
        given = [S(x(90)), S(x(3, 3)), S(np.asfortranarray(x(4, 3))), S(x(6).astype(np.float32)), S(TAME), S(ENDS)]
        yield from ((sample, 1.0) for sample in given)
        yield S(WILD), 0.0
    elif row.name in samples.BINARY:
        a, b = samples.BINARY[row.name]
        given = [S(a(60), b(60, k=1)), S(a(3, 3), b(3, k=1)), S(a(3), b(3, 3, k=1)), S(a(2, 1, 3), b(2, 1, k=1))]
        given += [S(np.round(a(30)), np.round(b(30, k=1))), S(a(6).astype(np.float32), b(6, k=1).astype(np.float32))]
        given += [S(a(3).astype(np.float32), b(2, 3, k=1)), pairs(TAME), pairs(ENDS)]
        yield from ((sample, 1.0) for sample in given)
        yield pairs(WILD), 0.0
        for alone in [(0.0, np.inf), (np.inf, 0.0), (0.0, np.nan), (np.nan, 0.0), (0.0, 0.0)]:
            yield S(*np.array(alone)), 1.0
            yield S(*np.array(alone)), 0.0
    else:
        for i, sample in enumerate(sample for sample in samples.of(row.name) if floats(sample.inputs)):
            yield from others(row, sample, rng, [i % 3, (i + 1) % 3, 3][: 2 + (i % 4 == 0)])
        if row.name in samples.REDUCTIONS:
            shapes = itertools.cycle([(2, 3, 4), (2, 2, 2), (1, 3, 1)])
            for i, (shape, axis) in enumerate(zip(shapes, AXES * 2)):
                yield from others(row, R(shape, axis=axis, keepdims=i % 4 == 0), rng, [i % 2])
        if row.name in BY_ROWS:
            yield S(WILD_ROWS, axis=1), 0.0
    for sample in MORE.get(row.name, []):
        yield from others(row, sample, rng, range(3))


def others(row: Op, sample: Sample, rng: Any, kinds: Iterable[int]) -> Draws:
    """The sample with other values: of the same domain in Fortran's order, ties, ends of the range, float32."""
    ends = ENDS[:11] if row.name == "prod" else ENDS  # which products overflow depends on the order of the factors
    values: list[tuple[Callable[[Any], Any], float]] = [
        (lambda x: np.asfortranarray(shuffled(x, rng)), 1.0),
        (lambda x: rng.integers(-1, 2, x.shape).astype(float), 0.7),
        (lambda x: rng.choice(ends, x.shape), 1.0),
        (lambda x: shuffled(x, rng).astype(np.float32), 1.0),
    ]
    inputs, params = sample
    if all(np.size(inputs[k]) for k in floats(inputs)):
        for kind in kinds:
            new, share = values[kind]
            yield Sample(with_floats(inputs, tuple(new(inputs[k]) for k in floats(inputs))), params), share


def shuffled(x: Any, rng: Any) -> Any:
    """Other values, not far from these, in other places."""
    return np.asarray(rng.permutation(x.ravel()).reshape(x.shape) * rng.uniform(0.9, 1.1, x.shape))
