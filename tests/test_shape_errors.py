"""What functions of shapes, positions and products refuse, in the form of `test_table_errors.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_bp import Tensor, ops

from .test_table_errors import AxisError, of, refused, test_refused

V, M, CUBE = of((3,)), of((2, 3)), of((2, 3, 4))

CASES = [
    # one array in another arrangement
    refused(ops.matrix_transpose, V, ValueError, "matrix_transpose: shape (3,) is no stack of matrices. Pass at least"),
    refused(lambda x: ops.rollaxis(x, 2), M, AxisError, "rollaxis: shape (2, 3) has no axis 2."),
    refused(lambda x: ops.rollaxis(x, 1, 3), M, AxisError, "rollaxis: shape (2, 3) has no axis 3. Pass one from 0 to"),
    refused(lambda x: ops.rot90(x, 1, (1, -1)), M, ValueError, "rot90: axes (1, -1) are one axis. Pass two."),
    refused(lambda x: ops.rot90(x), V, AxisError, "rot90: shape (3,) has no axis 1."),
    refused(ops.fliplr, V, AxisError, "flip: axis 1 is out of bounds for array of dimension 1 (input shapes: (3,))."),
    refused(
        lambda x: ops.pad(x, 1, "mean"),
        V,
        ValueError,
        "pad: mode 'mean' is not offered. Pass 'constant' or one of edge, reflect, symmetric, wrap.",
    ),
    refused(lambda x: ops.pad(x, -1, "edge"), V, ValueError, "pad: index can't contain negative values (input shapes:"),
    refused(lambda x: ops.resize(x, -1), V, ValueError, "resize: all elements of `new_shape` must be non-negative (in"),
    refused(lambda x: ops.delete(x, 3), V, IndexError, "delete: index 3 is out of bounds for axis 0 with size 3"),
    refused(lambda x: ops.insert(x, 9, 1.0), V, IndexError, "insert: index 9 is out of bounds for axis 0 with size 3"),
    # several arrays
    refused(
        ops.broadcast_arrays,
        [*V, *of((2,))],
        ValueError,
        "broadcast_arrays: shapes (3,) and (2,) do not broadcast. Make them equal, or 1, axis by axis.",
    ),
    refused(lambda x: ops.meshgrid(x, indexing="yx"), V, ValueError, "meshgrid: indexing is 'yx'. Pass 'xy' or 'ij'."),
    refused(
        lambda x, y: ops.block([[x, y]]),
        [*M, *of((3, 3))],
        ValueError,
        "block: all the input array dimensions except for the concatenation axis must match exactly",
    ),
    refused(lambda x: ops.vsplit(x, 1), V, AxisError, "vsplit: shape (3,) has no axis 1. Pass one that it has."),
    refused(lambda x: ops.hsplit(x, 2), M, ValueError, "hsplit: 3 entries make no 2 equal sections. Pass a divisor"),
    refused(lambda x: ops.dsplit(x, 1), M, AxisError, "dsplit: shape (2, 3) has no axis 2."),
    refused(lambda x: ops.unstack(x, 2), M, AxisError, "unstack: shape (2, 3) has no axis 2."),
    refused(
        lambda x: ops.array_split(x, 0),
        V,
        ValueError,
        "array_split: 3 entries make no 0 sections. Pass a number",
    ),
    # positions
    refused(lambda x: ops.compress([1] * 4, x, 1), M, IndexError, "compress: index 3 is out of bounds for axis 1 with"),
    refused(lambda x: ops.choose([3], [x, x]), V, ValueError, "choose: invalid entry in choice array (input shapes:"),
    refused(
        lambda x: ops.select([x > 0], [x, x]), V, ValueError, "select: 1 conditions for 2 choices. Pass one condition"
    ),
    refused(lambda x: ops.select([], []), V, ValueError, "select: 0 conditions for 0 choices."),
    refused(ops.diagonal, V, ValueError, "diagonal: shape (3,) has no diagonals. Pass at least two axes."),
    refused(ops.diag, CUBE, ValueError, "diag: shape (2, 3, 4) is no vector and no matrix. Pass one or two axes."),
    refused(
        lambda x: ops.take(x, 0, 0, "foo"), CUBE, ValueError, "take: mode is 'foo'. Choose 'raise', 'wrap' or 'clip'."
    ),
    refused(
        lambda x: ops.norm(x, axis=(0, 1, 2)), CUBE, ValueError, "norm: ord=None of 3 axes of (2, 3, 4) is no norm."
    ),
    # differences
    refused(lambda x: ops.diff(x, -1), V, ValueError, "diff: n is -1. Pass how often to take differences, from 0."),
    refused(ops.diff, of(()), AxisError, "diff: shape () has no axis -1."),
    refused(
        lambda x: ops.gradient(x, 1.0, 2.0, 3.0),
        M,
        TypeError,
        "gradient: 3 spacings for 2 axes. Pass one for all, or one for each.",
    ),
    refused(lambda x: ops.gradient(x, edge_order=3), V, ValueError, "gradient: edge_order is 3. Pass 1 or 2."),
    refused(
        lambda x: ops.gradient(x, edge_order=2), M, ValueError, "gradient: axis 0 has 2 entries, edge_order=2 needs 3."
    ),
    refused(
        lambda x: ops.gradient(x, [0.0, 1.0]),
        V,
        ValueError,
        "gradient: coordinates (2,) do not fit an axis of 3. Pass one for each entry.",
    ),
    # products
    refused(lambda x: ops.tensordot(x, x, (0, 1)), M, ValueError, "tensordot: axes [0] of (2, 3) and [1] of (2, 3) do"),
    refused(
        lambda x: ops.tensordot(x, x, ([0, 1], [0])),
        M,
        ValueError,
        "tensordot: axes ([0, 1], [0]) are no pairs. Pass a number, or as many axes of a as of b.",
    ),
    refused(
        lambda x: ops.tensordot(x, x, ([0, 0], [0, 0])),
        M,
        ValueError,
        "tensordot: axes [0, 0] of (2, 3) and [0, 0] of (2, 3) do not fit. Sum each axis once, over axes of one",
    ),
    refused(lambda x: ops.tensordot(x, x, 3), M, AxisError, "tensordot: shape (2, 3) has no axis -3."),
    refused(ops.dot, [*CUBE, *V], ValueError, "tensordot: axes [2] of (2, 3, 4) and [0] of (3,) do not fit."),
    refused(ops.cross, of((4,), (4,)), ValueError, "cross: vectors of 4 and 4 components. Pass 3 (or 2) of each."),
    refused(lambda x: ops.multi_dot([x]), M, ValueError, "multi_dot: 1 matrices. Pass two or more."),
    refused(
        lambda x: ops.multi_dot([x, x, x]),
        V,
        ValueError,
        "multi_dot: shapes [(3,), (3,), (3,)]. Pass matrices; the ends may be vectors.",
    ),
    refused(lambda x: ops.convolve(x, x, "all"), V, ValueError, "convolve: mode is 'all'. Pass 'full', 'same' or"),
    refused(ops.convolve, of((2, 2), (3,)), ValueError, "convolve: shapes (2, 2) and (3,). Pass two vectors with"),
    refused(ops.convolve, of((0,), (3,)), ValueError, "convolve: shapes (0,) and (3,). Pass two vectors with entries."),
    refused(
        lambda x: ops.einsum(x, "ij"),
        M,
        TypeError,
        "einsum: axes are a str, they belong after each operand as a list. Pass einsum(a, [0, 1], b, [1, 2], [0, 2]), "
        'or "ij,jk->ik" first.',
    ),
    refused(lambda x: ops.einsum(x, [0, 52]), M, ValueError, "einsum: axis 52 has no letter. Pass numbers from"),
]


@pytest.mark.parametrize("tensors", [True, False], ids=["Tensors", "arrays"])
@pytest.mark.parametrize(("f", "arrays", "kind", "words"), CASES)
def test_what_is_refused(
    f: Callable[..., Any], arrays: list[Any], kind: type[Exception], words: str, tensors: bool
) -> None:
    test_refused(f, arrays, kind, words, tensors)


def test_nothing_to_reshape() -> None:
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        with pytest.raises(TypeError, match=f"{name}: there is nothing to reshape. Pass an array."):
            getattr(ops, name)()


def test_several_arrays_are_reshaped_each() -> None:
    for name, shapes in (("atleast_1d", [(1,), (2,)]), ("atleast_2d", [(1, 1), (1, 2)])):
        results = getattr(ops, name)(1.0, Tensor(np.zeros(2)))
        assert [x.shape for x in results] == shapes
