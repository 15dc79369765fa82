"""Sample inputs for the rows of the first pages, and for the functions spelled with them: data, nothing else."""

from __future__ import annotations

import numpy as np
from numpy import array

from . import reductions, special
from .values import (
    SHAPES,
    R,
    S,
    Samples,
    above_one,
    along,
    both,
    distribution,
    each,
    flag,
    fraction,
    label,
    loss,
    nothing,
    positive,
    real,
    reduced,
    unit,
    vary,
    whole,
)

UNARY = {
    **dict.fromkeys(["negative", "positive", "square", "reciprocal", "absolute"], real),
    **dict.fromkeys(["exp", "exp2", "expm1", "cbrt", "sin", "cos", "arctan", "sinh", "cosh", "tanh", "arcsinh"], real),
    **dict.fromkeys(["log", "log2", "log10", "sqrt"], positive),
    **dict.fromkeys(["log1p", "tan", "arcsin", "arccos", "arctanh"], unit),
    "arccosh": above_one,
    **dict.fromkeys(["sigmoid", "relu", "leaky_relu", "elu", "softplus", "silu"], real),
    **dict.fromkeys(["ndtr", "gelu_tanh", "log_sigmoid", "mish", "selu", "softsign"], real),
    **dict.fromkeys(["isnan", "isinf", "isfinite", "sign", "floor", "ceil", "rint", "trunc"], real),
    **dict.fromkeys(["logical_not", "invert"], flag),
    **special.UNARY,
}
BINARY = {
    **dict.fromkeys(["over", "times", "add", "subtract", "multiply", "divide", "floor_divide"], (real, real)),
    **dict.fromkeys(["hypot", "maximum", "minimum", "logaddexp", "arctan2"], (real, real)),
    "gate": (real, flag),
    "remainder": (unit, above_one),
    "power": (positive, real),
    **dict.fromkeys(["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"], (whole, whole)),
    **dict.fromkeys(["logical_and", "logical_or", "bitwise_and", "bitwise_or"], (flag, flag)),
    **special.BINARY,
}
REDUCTIONS = {
    **dict.fromkeys(["sum", "mean", "prod", "var", "max", "min", "logsumexp", "norm"], real),
    **dict.fromkeys(["all", "any", "count_nonzero"], flag),
    **reductions.REDUCTIONS,
}

# ---- every row -------------------------------------------------------------------------------------------------------

FAMILIES: dict[str, Samples] = {
    **{name: each(x) for name, x in UNARY.items()},
    **{name: both(a, b) for name, (a, b) in BINARY.items()},
    **{name: reduced(x) for name, x in REDUCTIONS.items()},
}
ROWS: dict[str, Samples] = {
    # arithmetic
    "over": [S(array([0.0, 1.0]), array([2.0, 3.0])), S(array([0.0, 0.0]), 2.0)],
    "times": [S(array([0.0, 1.0, 0.0]), array([2.0, 0.0, 0.0]))],
    "remainder": [S(array([7.3, -5.2, 7.3]), array([2.0, 3.0, -2.0])), S(array([7.3, -5.2]), 2)],
    "power": [
        *[S(real(3), p) for p in (0, 1, 2, 3, -1, 0.0, 2.0, -2.0)],
        *[S(real(2, 3), array([2, 3, 0])), S(array([0.0, 0.0]), array([2, 3]))],
        *[S(2, real(3)), S(0.0, positive(3)), S(positive(3), np.zeros(3)), S(positive(2, 1), array([0.0, 1.0, 2.0]))],
    ],
    "clip": [
        *[S(real(*shape), -1.03, 1.03) for shape in SHAPES],
        *[S(real(2, 3), None, 0.2), S(real(2, 3), 0.2, None), S(real(2, 3), array([-1.0, 0.1, 1.0]), 5.0)],
        S(real(20), real(20, k=1) - 1.0, real(20, k=2) + 1.0),
        *[S(real(2, 3), unit(3, k=1) - 1.0, fraction(2, 1, k=1)), S(real(3), unit(2, 1, k=1), None)],
    ],
    "where": [
        *[S(flag(*shape), real(*shape), real(*shape, k=1)) for shape in SHAPES],
        *[S(flag(2, 3), real(3), real(2, 1)), S(whole(2, 3), real(2, 1, 1), real()), S(flag(0, 3), real(3), real(1))],
        *[S(flag(2, 1), real(3), 0.0), S(flag(3), 1.5, real(3)), S(True, 1.5, real(3))],
    ],
    "logical_and": both(whole, real),
    "logical_or": both(whole, real),
    "logical_not": each(whole),
    "bitwise_and": both(whole, whole),
    "bitwise_or": both(whole, whole),
    "invert": each(whole),
    **{name: [S(array([np.nan, np.inf, -np.inf, -0.0]))] for name in ("isnan", "isinf", "isfinite")},
    **{name: [S(array([-1.5, -0.5, 0.0, 0.5, 1.5, 2.5]))] for name in ("floor", "ceil", "rint", "trunc", "sign")},
    "discrete": [sample for shape in SHAPES for sample in vary(real(*shape), dtype=[np.dtype(int), np.dtype(bool)])],
    "cast": [R(shape, dtype=np.dtype(float)) for shape in SHAPES],
    "copy": [R(shape) for shape in SHAPES],
    # elementary
    "sigmoid": [S(array([-40.0, -5.0, 0.0, 5.0, 40.0]))],
    "tanh": [S(array([-5.0, 0.0, 5.0]))],
    "softplus": [S(array([-40.0, -5.0, 0.0, 5.0, 40.0]))],
    "logaddexp": [S(array([0.0, 30.0, -30.0]), array([0.0, -5.0, 5.0]))],
    "leaky_relu": vary(real(2, 3), negative_slope=[0.2, 0.0, -1.0]),
    "elu": vary(real(2, 3), alpha=[0.7, 2.0, -0.7]),
    # reductions
    **{name: nothing(REDUCTIONS[name]) for name in ("sum", "norm", "all", "any", "count_nonzero")},
    "max": [R((), axis=0), R((), axis=-1, keepdims=True)],
    "min": [R((), axis=0)],
    "var": [R((4,), ddof=1), R((2, 3), axis=1, ddof=1, keepdims=True), R((2, 3, 2), axis=(0, 2), ddof=2)],
    "argmax": [*along(real), R((2, 3), axis=1, keepdims=True), R((2, 3), keepdims=True)],
    "argmin": [*along(real), R((2, 3), axis=1, keepdims=True), R((2, 3), keepdims=True)],
    "cumsum": [*along(real), R((0,)), R((0, 3), axis=0), R((2, 3, 2), axis=-2)],
    "prod": [
        *[R((7,)), S(array([0.0, 2.0, 3.0])), S(array([0.0, 2.0, 0.0]))],
        *vary(array([[0.0, 2.0, 5.0], [0.0, 0.0, 3.0]]), axis=[0, 1, None, (1, 0)]),
        *[*nothing(real), R((), axis=0)],
    ],
    # shape
    "reshape": [
        *vary(real(2, 3), shape=[(3, 2), -1, (3, -1, 1), [6]]),
        *[R((), shape=(1, 1)), R((1,), shape=()), R((0, 3), shape=(3, 0)), R((4,), shape=(4,))],
    ],
    "squeeze": [*vary(real(1, 3, 1), axis=[None, 0, -1, (0, 2)]), R(()), R((1, 0))],
    "expand_dims": [*vary(real(2, 3), axis=[0, -1, (1, -1)]), R((), axis=0), R((0,), axis=-1)],
    "transpose": [*[R(shape) for shape in SHAPES], *vary(real(2, 3, 4), axes=[(2, 0, 1), (1, 2, 0), [-1, 0, -2]])],
    "swapaxes": [R((2, 3), axis1=0, axis2=1), R((2, 3, 4), axis1=-1, axis2=0), R((0, 3), axis1=0, axis2=1)],
    "moveaxis": [
        *[R((2, 3, 4), source=0, destination=-1), R((2, 3, 4), source=(0, 1), destination=(-1, 0))],
        R((0, 3), source=1, destination=0),
    ],
    "broadcast_to": [
        *[R((3,), shape=(2, 3)), R((2, 1), shape=(4, 2, 3)), R((), shape=(2, 2)), R((3,), shape=3)],
        *[R((1,), shape=(0,)), R((3,), shape=(0, 3)), R((), shape=())],
    ],
    "flip": [*vary(real(2, 3, 2), axis=[None, 0, (0, -1)]), R((0,)), R(())],
    "roll": [
        *[*vary(real(2, 3), shift=[2, -1, 0]), R((2, 3), shift=1, axis=1), R((0,), shift=1), R((), shift=1)],
        *[R((2, 3), shift=(1, 2), axis=(0, 1)), R((2, 3), shift=1, axis=(0, 1))],
    ],
    **{name: [R((3, 3)), R((0, 3)), R((3,)), *vary(real(2, 2, 4), k=[0, 1, -1, 9])] for name in ("tril", "triu")},
    "pad": [
        *vary(real(2, 3), pad_width=[0, 1, (1, 2), ((0, 1), (2, 0)), ((1,), (2,))]),
        *[R((2, 3), pad_width=1, constant_values=7.0), R((0, 3), pad_width=1)],
    ],
    "concatenate": [
        *[R((3,), (2,)), R((2, 3), (1, 3)), R((2,)), R((0,), (3,)), R((0, 3), (0, 3)), S(real(3), whole(2))],
        *[R((2, 3), (2, 1), (2, 2), axis=1), R((2, 3, 1), (2, 3, 2), axis=-1)],
    ],
    # index
    "getitem": [
        *vary(real(), index=[(), None, ...]),
        *vary(real(5), index=[2, -1, np.int64(1), slice(1, 4), slice(None, None, -2), True, False]),
        *vary(real(5), index=[array(1), array([], int), array([4, 4, 0]), np.zeros(5, bool), flag(5)]),
        *vary(real(3, 4), index=[(slice(None), 1), (1, 2), (..., None, 0), (None, 1), array([0, 0, 2]), flag(3)]),
        *vary(
            real(3, 4), index=[flag(3, 4), (array([0, 2, 0]), array([1, 3, 1])), (slice(2), array([[0, 3], [3, 3]]))]
        ),
        *[R((0, 3), index=slice(0)), R((2, 3, 4), index=(array([0, 1, 1]), slice(1, 3), array([0, 0, 0])))],
    ],
    "put": [
        *[
            R((), index=2, shape=(5,)),
            R((3,), index=slice(1, 4), shape=(5,)),
            R((2,), index=(1, slice(2)), shape=(2, 3)),
        ],
        *[R((3,), index=array([0, 0, 2]), shape=(4,)), R((3, 4), index=array([0, 0, 1]), shape=(2, 4))],
        *[R((2,), index=array([True, False, True]), shape=(3,)), R((0,), index=array([], int), shape=(3,))],
    ],
    # linear
    "linear": [
        *[R((2, 3), (4, 3), (4,)), R((3,), (4, 3), (4,)), R((5, 2, 3), (4, 3), (4,)), S(real(2, 3), real(4, 3), None)],
        *[R((1, 1), (1, 1), (1,)), R((0, 3), (4, 3), (4,)), R((2, 0), (4, 0), (4,)), R((2, 3), (0, 3), (0,))],
        *[R((5, 2, 0), (4, 0), (4,)), R((0, 2, 3), (4, 3), (4,))],
    ],
    "matmul": [
        *[R((2, 3), (3, 4)), R((3,), (3,)), R((3,), (3, 2)), R((2, 3), (3,))],
        *[R((4, 2, 3), (4, 3, 2)), R((4, 2, 3), (3, 2)), R((2, 3), (4, 3, 2)), R((3,), (4, 3, 2)), R((4, 2, 3), (3,))],
        *[R((2, 1, 2, 3), (5, 3, 1)), R((1, 2, 3), (4, 3, 2)), R((1, 1), (1, 1))],
        *[R((0, 3), (3, 2)), R((2, 0), (0, 3)), R((0,), (0,)), R((2, 3), (3, 0)), R((0, 2, 3), (3,)), R((0,), (0, 2))],
    ],
    "einsum": [
        *[R((2, 3), (3, 4), subscripts="ij,jk->ik"), R((2, 3), (2, 3), subscripts="ij,ij->j")],
        *[R((2, 3), (3, 4), (4, 2), subscripts="ij,jk,ki->"), R((5, 2, 3), (5, 3, 2), subscripts="bij,bjk->bik")],
        *[R((3,), (4,), subscripts="i,j->ij"), R((3,), (4,), subscripts="i,j->j"), R((), (3,), subscripts=",i->i")],
        *vary(real(2, 3), subscripts=["ij->ji", "ij->", "ij->j"]),
        *vary(real(3, 3), subscripts=["ii->i", "ii->"]),
        *[R((2, 2, 3), (3,), subscripts="iij,j->i"), R((2, 2, 2), subscripts="iii->i"), R((), subscripts="->")],
        *[R((2, 1), (2, 3), subscripts="ij,ij->i"), R((0, 3), (3, 2), subscripts="ij,jk->ik")],
        *[R((2, 2), subscripts="AA->A"), R((2, 2), (3,), subscripts="ii,A->iA")],
        R((1,) * 27, subscripts="ABCDEFGHIJKLMNOPQRSTUVWXYZZ->A"),
    ],
    # fused
    **{
        name: [
            *[R((3,)), R((2, 3)), R(()), R((1,)), R((0, 3)), S(10.0 * real(2, 4))],
            *[R((2, 3), axis=0), R((2, 3, 2), axis=1), R((2, 3, 2), axis=-2), R((3, 0), axis=0)],
        ]
        for name in ("softmax", "log_softmax")
    },
    "quadratic_loss": [*loss(real, real), *[R(shape, shape, reduction="none") for shape in [(3,), (2, 3, 2)]]],
    "mse_loss": [*loss(real, real), R((), ()), R((0, 3), (0, 3), reduction="sum")],
    "binary_cross_entropy_with_logits": [*loss(real, fraction), S(10.0 * real(3), fraction(3))],
    "cross_entropy": [
        *[*loss(real, label), *loss(real, distribution), *loss(real, positive)],
        *[S(real(0, 3), whole(0), reduction="sum"), S(real(0, 3), real(0, 3), reduction="none")],
    ],
    # the walker's own
    "sum_to": [
        *vary(real(2, 3), shape=[(3,), (1, 3), (2, 1), (1, 1), ()]),
        *[R((4, 2, 3), shape=(2, 1)), R((), shape=()), R((0, 3), shape=(3,)), R((0, 3), shape=(1, 3))],
    ],
}

# ---- every function spelled with rows --------------------------------------------------------------------------------

SPELLED: dict[str, Samples] = {
    "astype": [*vary(real(3), dtype=[float, int, "bool"]), R((0,), dtype=bool)],
    "clip": [R((2, 3), a_min=-1.0, a_max=0.4), R((2, 3), a_min=0.2), R((2, 3), a_max=0.2), R((), a_max=5)],
    "std": [R((3,)), R((2, 3), axis=1), R((2, 3, 2), axis=(0, 2), ddof=1, keepdims=True), R((0, 3), axis=1)],
    "norm": [
        *vary(real(3), ord=[None, 1, 2, 3, 0.5, np.inf, -np.inf]),
        *[R((2, 3), ord=p, axis=axis) for p in (None, 1, 2, 3.0, np.inf) for axis in (0, -1)],
        *[R((2, 3)), R((2, 3), ord="fro"), R((2, 3, 2), ord="fro", axis=(0, 2)), R((2, 3, 2)), R(())],
        *[R((2, 3), axis=1, keepdims=True), R((2, 3), ord=1, axis=0, keepdims=True), R((2, 3), keepdims=True)],
        *[R((0,)), R((0, 3), ord=1, axis=0), R((2, 3, 2), axis=(0, 1))],
    ],
    "concatenate": [R((2, 3), (4, 1), axis=None), R((), (2,), axis=None), R((2, 3), (1, 3)), R((2, 3), (2, 1), axis=1)],
    "stack": [
        *[R((3,), (3,)), R((2, 3), (2, 3), axis=1), R((2,), (2,), axis=-1), R((), ()), R((0,), (0,))],
        S(real(3), whole(3)),
    ],
    "vstack": [R((3,), (3,)), R((2, 3), (3,)), R((), ())],
    "hstack": [R((3,), (2,)), R((2, 3), (2, 1)), R((), (2,))],
    "split": [
        *[R((6,), indices_or_sections=3, piece=1), R((2, 5), indices_or_sections=[1, 3], axis=1, piece=2)],
        *[R((5,), indices_or_sections=[3, 1], piece=piece) for piece in (0, 1, 2)],
        *[R((5,), indices_or_sections=[-2], piece=1), R((5,), indices_or_sections=[2, 9], piece=2)],
    ],
    "repeat": [
        *[R((3,), repeats=2), R((2, 3), repeats=2), R((), repeats=3), R((0,), repeats=2), R((3,), repeats=0)],
        *[R((2, 3), repeats=2, axis=1), R((2, 3), repeats=[1, 0, 2], axis=-1)],
    ],
    "tile": [*vary(real(2, 3), reps=[2, (2, 1), (2, 1, 1)]), R((3,), reps=(2, 2)), R((), reps=3), R((3,), reps=0)],
    "getitem": [
        *vary(real(3), index=[[0, 0, 2], [], [True, False, True], slice(2)]),
        *vary(real(2, 3), index=[([0, 1, 0], [2, 2, 2]), (slice(None), [2, 0])]),
    ],
    "take": [
        *vary(real(4), indices=[[0, 3, 3], [[0, 1], [1, 0]], array([], int), -1]),
        *[R((2, 3), indices=[0, 5, 5]), R((2, 3), indices=[2, 0, 2], axis=1), R((2, 3), indices=1, axis=-1)],
    ],
    "take_along_axis": [
        *[R((2, 3), indices=array(indices), axis=1) for indices in ([[0, 0], [2, 1]], [[0, 2]])],
        *[R((2, 3), indices=array([[0, 1, 1]]), axis=0), R((2, 3), indices=array([[1, 0]]), axis=-1)],
        *[R((1, 3), indices=array([[0, 2], [1, 1]]), axis=1), R((2, 3), indices=array([5, 0, 5]), axis=None)],
    ],
    "dot": [R((3,), (3,)), R((2, 3), (3,)), R((2, 3), (3, 2)), R((), (2, 3)), R((3,), (3, 2)), S(2.0, real(3))],
    "outer": [R((3,), (2,)), R((2, 3), (2, 1)), R((), (2,)), R((0,), (2,))],
    "einsum": [
        *vary(real(2, 3), subscripts=["ji", "...", "...j->j...", "i...->..."]),
        *[R((3, 3), subscripts="ii"), R((2, 3, 3), subscripts="...ii"), R((2, 3), (3, 4), subscripts="ij,jk")],
        *[R((4, 2, 3), (3, 2), subscripts="...ij,jk->...ik"), R((4, 2, 3), (2, 3), subscripts="...i,...i->...")],
        R((2, 3), (3,), subscripts="i j , j -> i"),
    ],
}
