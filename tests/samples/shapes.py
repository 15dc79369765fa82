"""Samples and references for the page `shapes` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array

from .values import R, S, Samples, flag, real, vary, whole

ROWS: dict[str, Samples] = {}
SPELLED: dict[str, Samples] = {
    "ravel": [R((2, 3)), R(())],
    "matrix_transpose": [R((2, 3)), R((2, 1, 3))],
    "rollaxis": [R((2, 3, 1), axis=2), R((2, 3, 4), axis=0, start=2), R((2, 3, 4), axis=-3, start=-1)],
    "fliplr": [R((2, 3)), R((2, 3, 2))],
    "flipud": [R((3,)), R((2, 3))],
    "rot90": [*vary(real(2, 3), k=[1, 2, 3, 4, -1]), R((2, 3, 2), axes=(2, 0)), R((2, 3, 2), k=3, axes=(-1, 1))],
    "atleast_1d": [R(()), R((3,)), R((0, 2))],
    "atleast_2d": [R(()), R((3,)), R((2, 3))],
    "atleast_3d": [R(()), R((3,)), R((2, 3)), R((1, 2, 3))],
    "broadcast_arrays": [R((3,), (2, 1)), R((), (0,)), R((2,))],
    "meshgrid": [
        *[R((2,), (3,), (2,), indexing=how, sparse=sparse) for how in ("xy", "ij") for sparse in (False, True)],
        *[R((2,), ()), R((2,)), R((2,), (3,))],
    ],
    "dstack": [R((3,), (3,)), R((2, 3), (2, 3)), R((2, 1, 1), (2, 1, 2))],
    "column_stack": [R((3,), (3,)), R((2, 3), (2, 1)), R((2, 3), (2,))],
    "append": [R((2, 3), (2,)), R((2, 3), (1, 3), axis=0), R((2, 3), (2, 1), axis=-1)],
    "array_split": [
        *[R((5,), indices_or_sections=3, piece=piece) for piece in (0, 1, 2)],
        *[R((2, 5), indices_or_sections=[1, 3], axis=1, piece=1), R((2,), indices_or_sections=3, piece=2)],
    ],
    "vsplit": [R((4, 2), indices_or_sections=2, piece=1)],
    "hsplit": [R((4,), indices_or_sections=2, piece=1), R((2, 4), indices_or_sections=[1], piece=1)],
    "dsplit": [R((1, 2, 4), indices_or_sections=2, piece=0)],
    "unstack": [R((2, 3), piece=1), R((2, 3), axis=-1, piece=2), R((0, 3), axis=1, piece=0)],
    "pad": [
        R((2, 3), pad_width=((0, 1), (2, 0)), constant_values=7.0),
        *[R((2, 3), pad_width=((1, 1), (2, 4)), mode=mode) for mode in ("edge", "reflect", "symmetric", "wrap")],
    ],
    "block": [
        *[
            S(real(2, 1), real(2, 2), real(1, 2), real(1, 1), rows=[2, 2]),
            R((2,), (3,), rows=None),
            R((2, 3), rows=[1]),
        ],
        R((), (), (2,), rows=[2, 1]),
    ],
    "resize": [R((3,), new_shape=(2, 4)), R((2, 3), new_shape=4), R((2,), new_shape=(0,))],
    "delete": [R((5,), obj=[0, 3]), R((2, 3), obj=1, axis=1), R((2, 3), obj=slice(1), axis=0), R((2, 3), obj=-1)],
    "insert": [
        *[R((3,), (2,), obj=1), R((2, 3), (2,), obj=1, axis=1), R((2, 3), (), obj=[0, 2], axis=-1)],
        *[S(real(3), whole(2), obj=[0, 3]), R((2, 3), (3,), obj=4)],
    ],
    # index
    "take": [R((3,), indices=[4, -1], mode="wrap"), R((2, 3), indices=[4, -1], axis=1, mode="clip")],
    "compress": [R((2, 3), condition=[True, False], axis=0), R((2, 3), condition=[0, 1, 1, 0, 1])],
    "extract": [S(real(2, 3), condition=flag(2, 3)), S(real(3), condition=array([1, 0, 2]))],
    "choose": [
        *[R((3,), (3,), a=array([1, 0, 1])), R((2, 1), (), a=array([[1, 0], [0, 0]]))],
        R((3,), (3,), a=array([5, 0, -1]), mode="wrap"),
    ],
    "select": [
        *[R((2, 3), (3,), conditions=[flag(2, 3), flag(3)], default=1.5), R((3,), conditions=[flag(3)])],
        R((3,), (3,), (3,), conditions=[flag(3), ~flag(3), flag(3)]),
    ],
    "diagonal": [
        *[*vary(real(3, 4), offset=[0, 1, -2, 7]), R((2, 3, 3), axis1=1, axis2=-1), R((2, 3, 2), offset=-1, axis2=2)],
        R((0, 3)),
    ],
    "diag": [*vary(real(3), k=[0, 1, -2]), *vary(real(2, 3), k=[0, 1, -1]), R((0,))],
    "diagflat": [R((2, 2)), R((), k=-1)],
    "trace": [*vary(real(2, 3), offset=[0, 1, -1]), R((2, 3, 3), axis1=-1, axis2=1)],
    "diff": [
        *[R((5,), n=0), R((5,)), R((2, 3)), R((5,), n=2), R((2, 3), axis=0), R((2, 1)), R((2, 3), n=5), R((0, 3))],
        *[R((2, 3), (2, 2), at="prepend"), R((3,), (), at="append"), R((2, 3), (), at="prepend", n=2), S(flag(4))],
    ],
    "ediff1d": [R((2, 2)), R((3,), (2,), ()), R((1,), (1,))],
    "gradient": [
        *[R((4,)), R((4,), edge_order=2), S(real(2, 3), 0.5, axis=1), S(real(4), 0.7), R((2,)), R((3, 2))],
        *[R((3, 4), edge_order=2, axis=(1,)), S(real(3, 2), 0.5, 2.0)],
        *[R((2, 4), at=[[0.1, 0.4, 1.2, 1.5]], axis=-1, edge_order=order) for order in (1, 2)],
        *[R((3, 2), at=[array([0.0, 1.0, 4.0]), 2.0], axis=(0, 1)), S(whole(2, 3), axis=1)],
    ],
}
FORMULAS: dict[str, Callable[..., Any]] = {
    "unstack": lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
