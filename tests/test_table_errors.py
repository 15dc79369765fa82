"""What rows refuse: the kind of the error and its words, the same for Tensors and for arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_bp import Tensor, ops

AxisError = np.exceptions.AxisError
LinAlgError = np.linalg.LinAlgError
NAN = np.full((2, 2), np.nan)
ZEROS = np.zeros


def of(*shapes: tuple[int, ...]) -> list[Any]:
    return [ZEROS(shape) for shape in shapes]


def refused(f: Callable[..., Any], arrays: list[Any], kind: type[Exception], words: str) -> Any:
    return pytest.param(f, arrays, kind, words, id=words[:60])


FIT = "do not broadcast. Make them equal, or 1, axis by axis."
OURS = [
    # averages, order, tables
    refused(
        lambda x, w: ops.average(x, 1, w),
        of((2, 3), (2,)),
        ValueError,
        "average: weights (2,) do not fit shape (2, 3) with axis=1. Pass one weight for each entry, or for each place",
    ),
    refused(
        lambda x, w: ops.average(x, 0, w),
        of((2, 3), (2,)),
        ZeroDivisionError,
        "average: some weights sum to 0. Pass weights whose sums are not 0.",
    ),
    refused(lambda x, w: ops.average(x, 2, w), of((2, 3), (2,)), AxisError, "average: axis 2 is out of bounds"),
    refused(lambda x: ops.quantile(x, 1.5), of((3,)), ValueError, "quantile: Quantiles must be in the range [0, 1]"),
    refused(lambda x: ops.quantile(x, 0.5, method="half"), of((3,)), ValueError, "quantile: 'half' is not a valid"),
    refused(lambda x: ops.partition(x, 4), of((3,)), ValueError, "partition: kth(=4) out of bounds (3)"),
    refused(
        ops.interp,
        of((3,), (2,), (3,)),
        ValueError,
        "interp: xp (2,) and fp (3,) are no table. Pass two vectors of one length.",
    ),
    refused(ops.interp, of((3,), (0,), (0,)), ValueError, "interp: xp (0,) and fp (0,) are no table."),
    refused(ops.interp, of((3,), (2, 2), (2, 2)), ValueError, "interp: xp (2, 2) and fp (2, 2) are no table."),
    refused(lambda y: ops.trapezoid(y, axis=2), of((2, 3)), AxisError, "trapezoid: shape (2, 3) has no axis 2."),
    refused(
        lambda y, x: ops.trapezoid(y, x, axis=0),
        of((2, 3), (3,)),
        ValueError,
        "trapezoid: places x (3,) do not fit y (2, 3) with axis=0. Pass one place for each entry, or for each along",
    ),
    # broadcasting
    refused(ops.add, of((3,), (4,)), ValueError, f"add: shapes (3,) and (4,) {FIT}"),
    refused(ops.maximum, of((2, 3), (2,)), ValueError, f"maximum: shapes (2, 3) and (2,) {FIT}"),
    refused(ops.where, [ZEROS(2, bool), *of((3,), (3,))], ValueError, f"where: shapes (2,) and (3,) and (3,) {FIT}"),
    refused(ops.clip, of((3,), (2,)), ValueError, f"clip: shapes (3,) and (2,) {FIT}"),
    # dtypes
    refused(
        lambda x: ops.astype(x, complex),
        of((3,)),
        TypeError,
        "astype: dtype complex128 is not offered. Pass one of real numbers or bools.",
    ),
    # shape
    refused(
        lambda *xs: ops.stack(xs),
        of((2,), (3,)),
        ValueError,
        "stack: shapes (2,) and (3,) differ. Pass arrays of one shape.",
    ),
    refused(
        lambda x: ops.split(x, 2),
        of((5,)),
        ValueError,
        "split: 5 entries make no 2 equal sections. Pass a divisor, or indices.",
    ),
    refused(lambda x: ops.split(x, 0), of((4,)), ValueError, "split: 4 entries make no 0 equal sections."),
    refused(
        lambda x: ops.split(x, 1, 1), of((5,)), AxisError, "split: shape (5,) has no axis 1. Pass one that it has."
    ),
    refused(
        lambda x: ops.repeat(x, [1, 2]),
        of((3,)),
        ValueError,
        "repeat: repeats [1, 2] do not fit 3 entries. Pass one count, or one for each, from 0.",
    ),
    refused(lambda x: ops.repeat(x, -1), of((3,)), ValueError, "repeat: repeats -1 do not fit 3 entries."),
    refused(lambda x: ops.repeat(x, 2, axis=0), of(()), AxisError, "repeat: shape () has no axis 0."),
    refused(
        lambda x: ops.tile(x, (2, -1)), of((3,)), ValueError, "tile: reps (2, -1) are negative. Pass counts from 0."
    ),
    # index
    refused(lambda x: ops.take(x, [0], axis=4), of((3,)), AxisError, "take: shape (3,) has no axis 4."),
    refused(
        lambda x: ops.take_along_axis(x, ZEROS((2, 3), int), -3),
        of((2, 3)),
        AxisError,
        "take_along_axis: shape (2, 3) has no axis -3.",
    ),
    refused(
        lambda x: ops.take_along_axis(x, ZEROS(2, int), 0),
        of((2, 3)),
        ValueError,
        "take_along_axis: shape (2, 3) has 2 axes, indices (2,) have 1. Pass as many; an axis of 1 is broadcast.",
    ),
    # products
    refused(
        ops.linear,
        of((2, 3), (4, 2), (4,)),
        ValueError,
        "linear: input (2, 3) has 3 features, weight (4, 2) expects 2.",
    ),
    refused(
        ops.linear,
        of((), (4, 3), (4,)),
        ValueError,
        "linear: input () and weight (4, 3) do not fit. Pass (..., in) and (out, in).",
    ),
    refused(ops.linear, of((2, 3), (3,), (3,)), ValueError, "linear: input (2, 3) and weight (3,) do not fit."),
    refused(
        ops.linear,
        of((2, 3), (4, 3), (3,)),
        ValueError,
        "linear: bias (3,) does not fit weight (4, 3). Pass one a row, (4,).",
    ),
    refused(ops.linear, [*of((2, 3), (4, 3)), 1.0], ValueError, "linear: bias () does not fit weight (4, 3)."),
    refused(
        ops.matmul,
        of((2, 3), (2, 3)),
        ValueError,
        "matmul: shapes (2, 3) and (2, 3) do not fit. The last axis of the first must be as long as the last but one "
        "of the second; axes before them must broadcast.",
    ),
    refused(ops.matmul, of((2, 2, 3), (3, 3, 2)), ValueError, "matmul: shapes (2, 2, 3) and (3, 3, 2) do not fit."),
    refused(ops.matmul, of((), (3,)), ValueError, "matmul: shapes () and (3,) do not fit."),
    refused(
        lambda x: ops.einsum("ij,jk", x),
        of((2, 3)),
        ValueError,
        "einsum: 'ij,jk' names 2 operands, got 1. Pass one for each.",
    ),
    refused(
        lambda x: ops.einsum("...i->i", x),
        of((2, 3)),
        ValueError,
        "einsum: '...i->i' loses the axes of its ellipsis. Put ... into the output, or name them.",
    ),
    # linear algebra
    *[
        refused(f, of((2, 3)), LinAlgError, f"{name}: shape (2, 3) is no square matrix. Pass (..., n, n).")
        for name, f in {
            **{name: getattr(ops, name) for name in ("inv", "det", "slogdet", "cholesky", "eigh")},
            "eigh": ops.eigvalsh,
            "solve": lambda a: ops.solve(a, a),
            "matrix_power": lambda a: ops.matrix_power(a, 2),
            "cond": lambda a: ops.cond(a, 1),
        }.items()
    ],
    *[
        refused(f, of((3,)), LinAlgError, f"{name}: shape (3,) is no matrix. Pass (..., m, n).")
        for name, f in {
            **{name: getattr(ops, name) for name in ("pinv", "qr", "svd", "matrix_norm", "cond")},
            "svd": ops.svdvals,
        }.items()
    ],
    refused(
        ops.solve,
        of((2, 2), (3, 1)),
        ValueError,
        "solve: matrix (2, 2) and right side (3, 1) do not fit. Pass (..., n, n) and (n,) or (..., n, k).",
    ),
    *[
        refused(
            f,
            of((2, 2)),
            LinAlgError,
            f"{name}: Singular matrix (shape (2, 2)). Add a multiple of the identity, or use pinv.",
        )
        for name, f in {
            "inv": ops.inv,
            "solve": lambda a: ops.solve(a, a),
            "matrix_power": lambda a: ops.matrix_power(a, -1),
        }.items()
    ],
    refused(
        ops.cholesky,
        of((2, 2)),
        LinAlgError,
        "cholesky: Matrix is not positive definite (shape (2, 2)). Add a multiple of the identity.",
    ),
    refused(
        ops.eigh,
        [np.full((3, 3), np.nan)],
        LinAlgError,
        "eigh: Eigenvalues did not converge (shape (3, 3)). Look for nan and inf in it.",
    ),
    refused(ops.svd, [NAN], LinAlgError, "svd: SVD did not converge (shape (2, 2)). Look for nan and inf in it."),
    refused(ops.svdvals, [np.full((2, 2), np.inf)], LinAlgError, "svd: SVD did not converge (shape (2, 2))."),
    refused(ops.pinv, [NAN], LinAlgError, "pinv: SVD did not converge (shape (2, 2))."),
    refused(
        lambda a: ops.eigh(a, "X"),
        of((2, 2)),
        ValueError,
        "eigh: UPLO is 'X'. Pass 'L' or 'U', the triangle that counts.",
    ),
    refused(
        lambda a: ops.qr(a, "complete"),
        of((3, 2)),
        ValueError,
        "qr: mode 'complete' of shape (3, 2) has no derivative. Pass mode='reduced' or 'r'.",
    ),
    refused(lambda a: ops.qr(a, "raw"), of((2, 2)), ValueError, "qr: mode 'raw' of shape (2, 2) has no derivative."),
    refused(
        ops.svd,
        of((2, 3)),
        ValueError,
        "svd: full_matrices=True of shape (2, 3) has no derivative. Pass full_matrices=False.",
    ),
    refused(
        lambda a: ops.svd(a, hermitian=True), of((2, 2)), ValueError, "svd: hermitian=True is not offered. Use eigh."
    ),
    refused(
        lambda x: ops.norm(x, ord=3),
        of((2, 3)),
        ValueError,
        "norm: ord=3 of a matrix is not offered. Pass 'fro', 'nuc', 1, 2, inf, -1, -2 or -inf.",
    ),
    refused(lambda x: ops.norm(x, ord="nuc"), of((3,)), ValueError, "norm: ord='nuc' of a vector is not offered."),
    refused(
        lambda x: ops.norm(x, ord=2),
        of((2, 3, 2)),
        ValueError,
        "norm: ord=2 of 3 axes of (2, 3, 2) is no norm. Pass axis=, one or two of them.",
    ),
    refused(lambda x: ops.norm(x, 1, (0, 2)), of((2, 3)), AxisError, "norm: shape (2, 3) has no axis 2."),
    # losses
    refused(
        lambda a, y: ops.mse_loss(a, y, "average"),
        of((3,), (3,)),
        ValueError,
        'mse_loss: reduction is \'average\'. Choose "mean", "sum" or "none".',
    ),
]
# NumPy's own words, with the name of the row before them and the shapes behind them.
NUMPYS = [
    refused(ops.max, of((0, 3)), ValueError, "max: zero-size array to reduction operation maximum"),
    refused(ops.argmin, of((0,)), ValueError, "argmin: attempt to get argmin of an empty sequence"),
    refused(lambda x: ops.sum(x, axis=2), of((2, 3)), AxisError, "sum: axis 2 is out of bounds"),
    refused(lambda x: ops.mean(x, axis=(0, 0)), of((2, 3)), ValueError, "mean: duplicate value in 'axis'"),
    refused(lambda x: ops.softmax(x, axis=2), of((2, 3)), AxisError, "softmax: axis 2 is out of bounds"),
    refused(lambda x: ops.cumsum(x, axis=1.5), of((2, 3)), TypeError, "cumsum: "),
    refused(lambda x: ops.reshape(x, (-1, -1)), of((2, 3)), ValueError, "reshape: can only specify one unknown"),
    refused(lambda x: ops.reshape(x, 4), of((2, 3)), ValueError, "reshape: cannot reshape array of size 6"),
    refused(lambda x: ops.transpose(x, (0, 0)), of((2, 3)), ValueError, "transpose: repeated axis"),
    refused(lambda x: ops.swapaxes(x, 0, 5), of((2, 3)), AxisError, "swapaxes: axis2: axis 5 is out of bounds"),
    refused(lambda x: ops.squeeze(x, 0), of((2, 3)), ValueError, "squeeze: cannot select an axis to squeeze"),
    refused(lambda x: ops.expand_dims(x, 5), of((2, 3)), AxisError, "expand_dims: axis 5 is out of bounds"),
    refused(lambda *xs: ops.concatenate(xs), of((2, 3), (2, 4)), ValueError, "concatenate: all the input array dim"),
    refused(lambda x: ops.concatenate([x, x]), of(()), ValueError, "concatenate: zero-dimensional arrays"),
    refused(lambda *xs: ops.hstack(xs), of((2,), (2, 2)), ValueError, "concatenate: all the input arrays must have"),
    refused(lambda x: ops.getitem(x, 5), of((3,)), IndexError, "getitem: index 5 is out of bounds"),
    refused(lambda x: ops.getitem(x, (0, 0)), of((3,)), IndexError, "getitem: too many indices for array"),
    refused(lambda x: ops.getitem(x, 1.0), of((3,)), IndexError, "getitem: only integers, slices"),
    refused(lambda x: ops.getitem(x, ZEROS(4, bool)), of((3,)), IndexError, "getitem: boolean index did not match"),
    refused(lambda x: ops.take(x, [0, 3]), of((3,)), IndexError, "getitem: index 3 is out of bounds"),
    refused(lambda x: ops.put(x, 5, (4,)), of(()), IndexError, "put: index 5 is out of bounds"),
    refused(lambda x: ops.einsum("ij->ik", x), of((2, 3)), ValueError, "einsum: einstein sum subscripts string"),
    refused(ops.invert, of((3,)), TypeError, "invert: ufunc 'invert' not supported"),
]


@pytest.mark.parametrize("tensors", [True, False], ids=["Tensors", "arrays"])
@pytest.mark.parametrize(("f", "arrays", "kind", "words"), OURS + NUMPYS)
def test_refused(f: Callable[..., Any], arrays: list[Any], kind: type[Exception], words: str, tensors: bool) -> None:
    floats = [x for x in arrays if isinstance(x, np.ndarray) and x.dtype == float]
    inputs = [Tensor(x, requires_grad=True) if tensors and any(x is y for y in floats) else x for x in arrays]
    with pytest.raises(kind, match=re.escape(words)):
        f(*inputs)


def test_hstack_of_nothing() -> None:
    with pytest.raises(ValueError, match="concatenate: need at least one array"):
        ops.hstack([])


def test_pad_refuses_a_dict():
    with pytest.raises(TypeError, match=r"^pad: pad_width is a dict\. Pass one \(before, after\) for each axis\."):
        ops.pad(np.ones(3), {0: (1, 1)})


def test_a_norm_along_a_numpy_integer():
    x = np.array([[3.0, 4.0], [6.0, 8.0]])
    assert np.linalg.norm(Tensor(x), 2, np.int64(1)).tolist() == [5.0, 10.0]
