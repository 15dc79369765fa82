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
STACK = array([[[1.2, -0.3], [0.8, 2.5]], [[-0.4, 1.9], [3.0, 0.6]], [[2.2, 0.7], [1.5, -0.9]]])
TALL = array([[2.0, 0.3], [-0.5, 1.1], [0.8, 0.9]])
TALLS = array([TALL, TALL[::-1] * array([1.3, -0.8])])
SINGULAR = S(array([[1.0, 2.0, 0.5], [-1.5, 0.4, 1.0], [-0.5, 2.4, 1.5]]))
# Positive definite by their lower triangles, also when each entry takes the place of the next.
DEFINITE = [
    array([[2.0, 0.3], [1.1, 3.0]]),
    array([[4.0, 0.7, 0.3], [1.5, 5.0, 0.2], [0.4, 1.6, 6.0]]),
    array([[[2.0, 0.3], [1.1, 3.0]], [[2.5, 0.2], [0.9, 1.8]]]),
]
SQUARE = [TWO, THREE, STACK]
ANY = [TWO, TALL, STACK, np.swapaxes(TALLS, 1, 2).copy(), THREE, TALLS]

ROWS: dict[str, Samples] = {
    "inv": [*map(S, SQUARE), R((1, 1)), S(np.zeros((0, 2, 2)))],
    "solve": [
        *[S(TWO, real(2, 1)), S(THREE, real(3, 2)), S(STACK, real(2, 3)), S(TWO, real(3, 2, 2))],
        *[S(STACK, real(3, 1, 2, 1)), S(STACK[:1], real(2, 2, 1))],
    ],
    "det": [*map(S, SQUARE), SINGULAR, R((1, 1))],
    "cofactors": [*map(S, SQUARE), SINGULAR, R((1, 1))],
    "slogdet": [*map(S, SQUARE), R((1, 1))],
    "cholesky": [*map(S, DEFINITE)],
    "qr": [*map(S, ANY)],
    "eigh": [S(x, triangle=triangle) for triangle in "LU" for x in SQUARE],
    "svd": [*map(S, ANY)],
    "pinv": [*map(S, ANY), S(TALL, rcond=1e-3), S(TALL, rtol=1e-3)],
    "matrix_power": [S(TWO, n=2), S(THREE, n=-2), S(STACK, n=3), *vary(TWO, n=[0, 1])],
}
SPELLED: dict[str, Samples] = {
    "solve": [S(TWO, real(2)), S(TWO, real(2, 3)), S(STACK, real(2))],
    "slogdet": [S(THREE, piece=0), S(THREE, piece=1), S(STACK, piece=1)],
    "cholesky": [S(DEFINITE[1]), S(array([[1.2, 0.5], [1.9, 3.0]]), upper=True), S(DEFINITE[2])],
    "qr": [S(TALL, piece=0), S(TALL.T.copy(), piece=1), S(STACK, mode="r"), S(TWO, piece=0, mode="complete")],
    "eigh": [S(TWO, piece=0), S(TWO, piece=1, UPLO="u"), S(STACK, piece=1)],
    "eigvalsh": [S(THREE, UPLO="U"), S(TWO), S(STACK)],
    "svd": [
        *[S(TALL, full_matrices=False, piece=piece) for piece in (0, 1)],
        *[S(STACK, piece=2), S(TALL, compute_uv=False)],
    ],
    "svdvals": [S(TALL), S(TWO), S(STACK)],
    "norm": [
        *vary(real(3), ord=[-1, -2, 2.5]),
        S(array([[1.0, 0.0], [0.5, -2.0]]), axis=0, ord=0),
        *[S(TALLS, ord=p, axis=(2, 1)) for p in ("nuc", 1, -1, 2, -2, np.inf, -np.inf)],
        *[S(TALL, ord=np.inf), S(TALL, ord=1), S(TALLS, ord=2, axis=(-1, 1), keepdims=True), R((2, 3), axis=(0,))],
        *[S(TALLS, ord=-1, axis=(0, 2)), S(TALLS, ord=1, axis=(2, 0), keepdims=True)],
    ],
    "vector_norm": [
        *[R((2, 3)), R((2, 3), ord=3, keepdims=True), R((2, 3, 2), axis=(0, 2), ord=np.inf), R((2, 3), axis=1, ord=1)],
    ],
    "matrix_norm": [S(TALL), S(TALL, ord="nuc", keepdims=True), S(STACK, ord=-1)],
    "cond": [S(TWO), S(THREE, p=1), S(STACK, p=-2), S(TALL), S(TWO, p="fro"), S(STACK, p=np.inf)],
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
