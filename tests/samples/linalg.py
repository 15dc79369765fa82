"""Samples and references for the page `linalg` of the table: data, nothing else.

Eigenvalues and singular values lie apart. The third sample of a row, and every third after it, is a stack: some tests
make all entries along the first axis equal, which leaves no other matrix regular.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array

from .values import R, S, Samples, real, vary

TWO = array([[2.1, 0.4], [-0.7, 1.3]])
THREE = array([[3.1, 0.5, -0.3], [0.4, -2.2, 0.7], [-0.6, 0.2, 1.3]])
PAIR = array([[[1.2, -0.3], [0.8, 2.5]], [[-0.4, 1.9], [3.0, 0.6]]])
TALL = array([[2.0, 0.3], [-0.5, 1.1], [0.7, 0.9]])
RANK_TWO = array([[1.0, 2.0, 0.5], [-1.5, 0.4, 1.0], [-0.5, 2.4, 1.5]])
# Positive definite by their lower triangles, also when each entry takes the place of the next.
DEFINITE = [
    array([[2.0, 0.3], [1.1, 3.0]]),
    array([[4.0, 0.7, 0.3], [1.5, 5.0, 0.2], [0.4, 1.6, 6.0]]),
    array([[[2.0, 0.3], [1.1, 3.0]], [[2.5, 0.2], [0.9, 1.8]]]),
]
SQUARE = [TWO, THREE, PAIR]
ANY = [TWO, TALL, PAIR, TALL.T.copy(), THREE, array([TALL, -TALL[::-1]])]

ROWS: dict[str, Samples] = {
    "inv": [*map(S, SQUARE), R((1, 1)), S(np.zeros((0, 2, 2)))],
    "solve": [
        *[S(TWO, real(2, 1)), S(THREE, real(3, 2)), S(PAIR, real(2, 3)), S(TWO, real(3, 2, 2))],
        *[S(PAIR, real(3, 1, 2, 1)), S(PAIR[:1], real(2, 2, 1))],
    ],
    "det": [*map(S, SQUARE), S(RANK_TWO), R((1, 1))],
    "cofactors": [*map(S, SQUARE), S(RANK_TWO), R((1, 1))],
    "slogdet": [*map(S, SQUARE), R((1, 1))],
    "cholesky": [*map(S, DEFINITE)],
    "qr": [*map(S, ANY)],
    "eigh": [S(x, triangle=triangle) for triangle in "LU" for x in SQUARE],
    "svd": [*map(S, ANY)],
    "pinv": [*map(S, ANY), S(TALL, rcond=1e-3), S(TALL, rtol=1e-3)],
    "matrix_power": [S(TWO, n=2), S(THREE, n=-2), S(PAIR, n=3), *vary(TWO, n=[0, 1])],
}
SPELLED: dict[str, Samples] = {
    "solve": [S(TWO, real(2)), S(PAIR, real(2)), S(TWO, real(2, 3))],
    "slogdet": [S(THREE, piece=0), S(THREE, piece=1), S(PAIR, piece=1)],
    "cholesky": [S(DEFINITE[1]), S(DEFINITE[0].T.copy(), upper=True), S(DEFINITE[2])],
    "qr": [S(TALL, piece=0), S(TALL.T.copy(), piece=1), S(PAIR, mode="r"), S(TWO, piece=0, mode="complete")],
    "eigh": [S(TWO, piece=0), S(TWO, piece=1, UPLO="u"), S(PAIR, piece=1)],
    "eigvalsh": [S(THREE, UPLO="U"), S(TWO), S(PAIR)],
    "svd": [
        *[S(TALL, full_matrices=False, piece=piece) for piece in (0, 1)],
        *[S(PAIR, piece=2), S(TALL, compute_uv=False)],
    ],
    "svdvals": [S(TALL), S(TWO), S(PAIR)],
    "norm": [
        *vary(real(3), ord=[-1, -2, 2.5]),
        *vary(TALL, ord=["nuc", 1, -1, 2, -2, np.inf, -np.inf]),
        *[R((2, 3, 2), ord=p, axis=(2, 0)) for p in ("nuc", 1, -np.inf)],
        *[R((2, 3, 2), ord=2, axis=(-1, 1), keepdims=True), S(TALL, ord=np.inf, keepdims=True), R((2, 3), axis=(0,))],
    ],
    "vector_norm": [
        *[R((2, 3)), R((2, 3), ord=3, keepdims=True), R((2, 3, 2), axis=(0, 2), ord=np.inf), R((2, 3), axis=1, ord=1)],
    ],
    "matrix_norm": [S(TALL), S(TALL, ord="nuc", keepdims=True), S(PAIR, ord=-1)],
    "cond": [S(TWO), S(THREE, p=1), S(PAIR, p=-2), S(TALL), S(TWO, p="fro"), S(PAIR, p=np.inf)],
}


def cofactors(a: Any) -> Any:
    """Determinants of what is left without a row and a column, with their signs."""
    n = a.shape[-1]
    minors = [
        (-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, -2), j, -1)) for i in range(n) for j in range(n)
    ]
    return np.stack(minors, -1).reshape(a.shape)


def packed(f: Callable[..., Any]) -> Callable[..., Any]:
    """The arrays that f returns, end to end."""
    return lambda a, *args: np.concatenate([x.reshape((*a.shape[:-2], -1)) for x in map(np.asarray, f(a, *args))], -1)


FORMULAS: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np.linalg, name)
        for name in (
            *("inv", "solve", "det", "slogdet", "cholesky", "qr", "eigh", "eigvalsh", "svd", "svdvals", "pinv"),
            *("matrix_power", "vector_norm", "matrix_norm", "cond"),
        )
    },
    "cofactors": cofactors,
    "packed slogdet": packed(np.linalg.slogdet),
    "packed qr": packed(np.linalg.qr),
    "packed eigh": lambda a, triangle: packed(np.linalg.eigh)(a, triangle),
    "packed svd": packed(lambda a: np.linalg.svd(a, full_matrices=False)),
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
