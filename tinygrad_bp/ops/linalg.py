"""Linear algebra: inverses, solutions, determinants, decompositions and norms of stacks of matrices.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`; matrices are the last two axes, those before them a stack.
A decomposition is one row: its factors lie packed in one array, and the function of NumPy's name cuts them out. What
NumPy takes from one triangle of a symmetric matrix has its derivative there. Where no other source is named, the
formulas are those of Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from ..opaque import kernel
from ..recipe import Op, row, unary
from . import reduce
from .arithmetic import over, times
from .discrete import astype, not_equal, of_floats
from .reduce import _norm, _others
from .shape import _from_zero, expand_dims, moveaxis, squeeze

# fmt: off
__all__ = [
    "cholesky", "cond", "det", "eigh", "eigvalsh", "inv", "matrix_norm", "matrix_power", "norm", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "vector_norm",
]
# fmt: on

CURES = {
    "Singular matrix": "Add a multiple of the identity, or use pinv",
    "Matrix is not positive definite": "Add a multiple of the identity",
}


def _told(name: str, function: Callable[..., Any], x: Any, *others: Any) -> Any:
    """``function(x, *others)``, NumPy's complaints about the numbers in one line of ours."""
    try:
        return function(x, *others)
    except LinAlgError as error:
        cure = CURES.get(str(error), "Look for nan and inf in it")
        raise LinAlgError(f"{name}: {error} (shape {x.shape}). {cure}.") from None


def _matrices(name: str, x: Any, square: bool = False) -> None:
    """Refuse what is not a stack of matrices."""
    shape = np.shape(x)
    if len(shape) < 2 or (square and shape[-1] != shape[-2]):
        kind, sizes = ("square matrix", "n, n") if square else ("matrix", "m, n")
        raise LinAlgError(f"{name}: shape {shape} is no {kind}. Pass (..., {sizes}).")


# ---- several arrays in one ---------------------------------------------------------------------------------


def _packed(lead: tuple[int, ...], *parts: Any) -> Any:
    """Arrays end to end along one axis; `lead` are the axes that they share."""
    return np.concatenate([part.reshape((*lead, math.prod(part.shape[len(lead) :]))) for part in parts], -1)


def _cut(y: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """The arrays of these shapes that are packed in y."""
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    starts = [0, *ends[:-1]]
    return [y[..., i:j].reshape((*y.shape[:-1], *shape)) for i, j, shape in zip(starts, ends, shapes, strict=True)]


def _eye(x: Any) -> Any:
    """The identity for square matrices x, in their dtype."""
    return np.eye(x.shape[-1], dtype=x.dtype)


# ---- inverses and solutions --------------------------------------------------------------------------------


def _inv(a: Any) -> Any:
    _matrices("inv", a, square=True)
    return _told("inv", np.linalg.inv, a)


def _solve(a: Any, b: Any) -> Any:
    _matrices("solve", a, square=True)
    if b.shape[-2] != a.shape[-1]:
        shapes = f"matrix {a.shape} and right side {b.shape}"
        raise ValueError(f"solve: {shapes} do not fit. Pass (..., n, n) and (n,) or (..., n, k).")
    return _told("solve", np.linalg.solve, a, b)


def _solve_joint(g: Any, y: Any, a: Any, b: Any) -> list[Any]:
    gb = np.linalg.solve(a.mT, g)
    return [-(gb @ y.mT), gb]


inv = unary("inv", _inv, lambda g, y, a: -(y.mT @ g @ y.mT))
_solutions = row("solve", _solve, joint=_solve_joint)


def solve(a: Any, b: Any) -> Any:
    """The x with a x = b, for a vector b or, if it has more axes, a stack of matrices."""
    return _solutions(a, b) if np.ndim(b) > 1 else _solutions(a, expand_dims(b, 1))[..., 0]


def _finite(a: Any) -> Any:
    """`a`, for LAPACK to find the singular values of: at infinity it may look for them forever."""
    if not np.isfinite(a).all():
        raise LinAlgError("SVD did not converge")
    return a


@kernel
def _pinv_of(a: Any, tolerance: tuple[tuple[str, Any], ...]) -> Any:
    return np.linalg.pinv(_finite(a), **dict(tolerance))


def _pinv(a: Any, rcond: Any = None, rtol: Any = np._NoValue) -> Any:
    _matrices("pinv", a)
    tolerance = (("rcond", rcond),) if rtol is np._NoValue else (("rcond", rcond), ("rtol", rtol))
    return _told("pinv", _pinv_of, a, tolerance)


def _pinv_da(g: Any, p: Any, a: Any) -> Any:
    """At constant rank: Golub and Pereyra, "The differentiation of pseudo-inverses ..." (1973), equation 4.12."""
    gt = g.mT
    beside_rows, beside_columns = gt @ p @ p.mT, p.mT @ p @ gt
    return beside_rows - a @ (p @ beside_rows) + beside_columns - (beside_columns @ p) @ a - p.mT @ g @ p.mT


pinv = unary("pinv", _pinv, lambda g, y, a, rcond, rtol: _pinv_da(g, y, a))


def _power(a: Any, n: int) -> Any:
    _matrices("matrix_power", a, square=True)
    return _told("matrix_power", np.linalg.matrix_power, a, n)


def _power_da(g: Any, a: Any, n: int) -> Any:
    """The corner of a power of a matrix of four: Higham, "Functions of Matrices" (2008), equation 3.16."""
    above, below = [a.mT, g], [np.zeros_like(a), a.mT]
    four = np.concatenate([np.concatenate(above, -1), np.concatenate(below, -1)], -2)
    return np.linalg.matrix_power(four, n)[..., : a.shape[-1], a.shape[-1] :]


matrix_power = unary("matrix_power", _power, lambda g, y, a, n: _power_da(g, a, n))

# ---- determinants ------------------------------------------------------------------------------------------


def _det(a: Any) -> Any:
    _matrices("det", a, square=True)
    return np.linalg.det(a)


@kernel
def _cofactors_of(a: Any) -> Any:
    """The derivative of the determinant, for singular matrices as well: from A = U S V. Nan where A is not finite."""
    finite = np.isfinite(a).all((-2, -1), keepdims=True)
    u, s, v = np.linalg.svd(np.where(finite, a, 0.0))
    return np.where(finite, np.linalg.det(u @ v)[..., None, None] * (u * _others(s)[..., None, :] @ v), np.nan)


def _cofactors_da(g: Any, a: Any) -> Any:
    """As for diagonal matrices, whose minors are products of entries: turned by U and V."""
    u, s, v = svd(np.where(np.isfinite(a), a, 0.0))
    eye = _eye(s)
    products = np.prod(np.where(eye[:, None] + eye > 0, 1.0, s[..., None, None, :]), -1)
    pairs = np.where(eye > 0, 0.0, products)  # else those of one entry cancel, and leave noise where they are large
    turned = u.mT @ g @ v.mT
    inside = eye * (pairs @ (eye * turned).sum(-1)[..., None]) - pairs * turned.mT
    return slogdet(u @ v).sign[..., None, None] * (u @ inside @ v)


_cofactors: Op = unary("cofactors", lambda a: _cofactors_of(a), lambda g, y, a: _cofactors_da(g, a))
det = unary("det", _det, lambda g, y, a: times(g[..., None, None], _cofactors(a)))


@kernel
def _slogdet(a: Any) -> Any:
    return np.stack(np.linalg.slogdet(a), -1)


def _slogdet_da(g: Any, y: Any, a: Any) -> Any:
    regular = y[..., :1, None] != 0
    inverse = np.linalg.inv(np.where(regular, a, _eye(a)))
    return times(g[..., 1:, None], np.where(regular, inverse.mT, np.nan))


_signs_and_logs = unary("slogdet", _slogdet, lambda g, y, a: _slogdet_da(g, y, a))


class SlogdetResult(NamedTuple):
    """What slogdet returns."""

    sign: Any
    logabsdet: Any


def slogdet(a: Any) -> SlogdetResult:
    """(sign, log |det a|), whose product sign exp(logabsdet) is the determinant; the sign has no derivative."""
    _matrices("slogdet", a, square=True)
    sign, log = _cut(_signs_and_logs(a), (), ())
    return SlogdetResult(np.sign(sign), log)


# ---- decompositions ----------------------------------------------------------------------------------------


def _to_lower(m: Any) -> Any:
    """The gradient by the lower triangle of a symmetric matrix, from the one by all its entries."""
    return np.tril(m) + np.triu(m, 1).mT


def _cholesky(a: Any) -> Any:
    return _told("cholesky", np.linalg.cholesky, a)


def _cholesky_da(g: Any, l: Any) -> Any:  # noqa: E741
    m = l.mT @ g
    half = np.tril(m) + np.tril(m, -1)
    return _to_lower(0.5 * np.linalg.solve(l.mT, np.linalg.solve(l.mT, half.mT).mT))


_lower = unary("cholesky", _cholesky, lambda g, y, a: _cholesky_da(g, y))


def cholesky(a: Any, *, upper: bool = False) -> Any:
    """The lower triangular L with L L^T = a; from the upper triangle of a the transposed, if `upper`."""
    _matrices("cholesky", a, square=True)
    return _lower(a.mT).mT if upper else _lower(a)


class QRResult(NamedTuple):
    """What qr returns."""

    Q: Any
    R: Any


@kernel
def _qr(a: Any) -> Any:
    return _packed(a.shape[:-2], *np.linalg.qr(a))


def _qr_shapes(a: Any) -> tuple[tuple[int, ...], ...]:
    m, n = a.shape[-2:]
    return (m, min(m, n)), (min(m, n), n)


def _qr_da(g: Any, y: Any, a: Any) -> Any:
    """Roberts and Roberts, "QR and LQ Decomposition Matrix Backpropagation Algorithms" (2020).

    What R has beyond a square is Q^T times the last columns of a.
    """
    (q, r), (gq, gr) = _cut(y, *_qr_shapes(a)), _cut(g, *_qr_shapes(a))
    k = q.shape[-1]
    gq = gq + a[..., k:] @ gr[..., k:].mT
    square, eye = r[..., :k], _eye(q)
    m = square @ gr[..., :k].mT - gq.mT @ q
    regular = np.all(np.where(eye > 0, square, 1.0), (-2, -1), keepdims=True)
    first = over(gq + q @ (np.tril(m) + np.tril(m, -1).mT), regular)
    first = np.linalg.solve(np.where(regular, square, eye), first.mT).mT
    return np.concatenate([first, q @ gr[..., k:]], -1)


_q_and_r = unary("qr", _qr, lambda g, y, a: _qr_da(g, y, a))


def qr(a: Any, mode: str = "reduced") -> Any:
    """(Q, R) with a = Q R, Q of orthonormal columns, R upper triangular; R alone for mode "r".

    Raises
    ------
    ValueError
        For mode "complete" of more rows than columns: which columns complete Q is nowhere said.
    """
    _matrices("qr", a)
    if mode not in ("reduced", "r") and (mode != "complete" or a.shape[-2] > a.shape[-1]):
        raise ValueError(f"qr: mode {mode!r} of shape {a.shape} has no derivative. Pass mode='reduced' or 'r'.")
    result = QRResult(*_cut(_q_and_r(a), *_qr_shapes(a)))
    return result.R if mode == "r" else result


def _between(m: Any, d: Any) -> Any:
    """m_ij / (d_j - d_i), and 0 on the diagonal."""
    eye = _eye(m)
    return over(m * (1.0 - eye), d[..., None, :] - d[..., None] + eye)


class EighResult(NamedTuple):
    """What eigh returns."""

    eigenvalues: Any
    eigenvectors: Any


@kernel
def _eigh(a: Any, triangle: Any) -> Any:
    return _packed(a.shape[:-2], *np.linalg.eigh(a, triangle))


def _eigh_shapes(a: Any) -> tuple[tuple[int, ...], ...]:
    return a.shape[-1:], a.shape[-2:]


def _eigh_da(g: Any, y: Any, a: Any, triangle: str) -> Any:
    (w, v), (gw, gv) = _cut(y, *_eigh_shapes(a)), _cut(g, *_eigh_shapes(a))
    m = _to_lower(v @ (gw[..., None] * _eye(v) + _between(v.mT @ gv, w)) @ v.mT)
    return m if triangle in "lL" else m.mT


_values_and_vectors = unary(
    "eigh",
    lambda a, triangle: _told("eigh", _eigh, a, triangle),
    lambda g, y, a, triangle: _eigh_da(g, y, a, triangle),
)


def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """(eigenvalues, eigenvectors) of symmetric matrices, given by their triangle `UPLO`; of rising eigenvalues."""
    _matrices("eigh", a, square=True)
    if UPLO not in ("L", "U", "l", "u"):
        raise ValueError(f"eigh: UPLO is {UPLO!r}. Pass 'L' or 'U', the triangle that counts.")
    return EighResult(*_cut(_values_and_vectors(a, UPLO), *_eigh_shapes(a)))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of symmetric matrices, rising."""
    return eigh(a, UPLO).eigenvalues


class SVDResult(NamedTuple):
    """What svd returns."""

    U: Any
    S: Any
    Vh: Any


@kernel
def _svd(a: Any) -> Any:
    return _packed(a.shape[:-2], *np.linalg.svd(_finite(a), full_matrices=False))


def _svd_shapes(a: Any) -> tuple[tuple[int, ...], ...]:
    m, n = a.shape[-2:]
    k = min(m, n)
    return (m, k), (k,), (k, n)


def _svd_da(g: Any, y: Any, a: Any) -> Any:
    """Townsend, "Differentiating the singular value decomposition" (2016); a singular value of 0 has slope 0."""
    (u, s, v), (gu, gs, gv) = _cut(y, *_svd_shapes(a)), _cut(g, *_svd_shapes(a))
    left, right = _between(u.mT @ gu, s * s), _between(v @ gv.mT, s * s)
    rows, columns = s[..., None], s[..., None, :]
    inside = times(gs, np.sign(s))[..., None] * _eye(s) + (left + left.mT) * columns + rows * (right + right.mT)
    ga = u @ inside @ v
    if a.shape[-2] > a.shape[-1]:
        ga = ga + over(gu - u @ (u.mT @ gu), columns) @ v
    if a.shape[-2] < a.shape[-1]:
        ga = ga + u @ over(gv - (gv @ v.mT) @ v, rows)
    return ga


_factors = unary("svd", lambda a: _told("svd", _svd, a), lambda g, y, a: _svd_da(g, y, a))


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """(U, S, Vh) with a = U diag(S) Vh, singular values S falling; S alone if not `compute_uv`.

    Raises
    ------
    ValueError
        For `full_matrices` of matrices that are not square, if U and Vh are wanted: what completes them is nowhere
        said.
    """
    _matrices("svd", a)
    if hermitian:
        raise ValueError("svd: hermitian=True is not offered. Use eigh.")
    if compute_uv and full_matrices and a.shape[-2] != a.shape[-1]:
        raise ValueError(f"svd: full_matrices=True of shape {a.shape} has no derivative. Pass full_matrices=False.")
    result = SVDResult(*_cut(_factors(a), *_svd_shapes(a)))
    return result if compute_uv else result.S


def svdvals(x: Any) -> Any:
    """The singular values, falling."""
    return svd(x, compute_uv=False)


# ---- norms -------------------------------------------------------------------------------------------------


def vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """(sum |x|^ord)^(1/ord), the largest |x| for inf, the smallest for -inf, for 0 how many are not 0; any axes."""
    x = of_floats(x)
    if ord is None or ord == 2:
        return _norm(x, axis, keepdims)
    if isinstance(ord, str):
        raise ValueError(f"norm: ord={ord!r} of a vector is not offered. Pass a number, inf or -inf.")
    if ord == 0:
        return reduce.sum(astype(not_equal(x, 0), np.result_type(x.dtype, np.float16)), axis, keepdims)
    if ord in (np.inf, -np.inf):
        return (reduce.max if ord > 0 else reduce.min)(abs(x), axis, keepdims)
    if ord == 1:
        return reduce.sum(abs(x), axis, keepdims)
    return reduce.sum(abs(x) ** ord, axis, keepdims) ** (1.0 / ord)


_EXTREME: dict[Any, Op] = {1: reduce.max, 2: reduce.max, np.inf: reduce.max}
_EXTREME |= {-order: reduce.min for order in _EXTREME}


def _matrix_norm(x: Any, ord: Any, axis: Sequence[int], keepdims: bool) -> Any:
    if ord in (None, "fro", "f"):
        return _norm(x, tuple(axis), keepdims)
    if ord != "nuc" and ord not in _EXTREME:
        raise ValueError(f"norm: ord={ord!r} of a matrix is not offered. Pass 'fro', 'nuc', 1, 2, inf, -1, -2 or -inf.")
    x = moveaxis(x, axis, (-2, -1))
    if ord == "nuc":
        y = reduce.sum(svdvals(x), -1)[..., None, None]
    elif ord in (2, -2):
        y = _EXTREME[ord](svdvals(x), -1)[..., None, None]
    else:
        summed, compared = (-2, -1) if ord in (1, -1) else (-1, -2)
        y = _EXTREME[ord](reduce.sum(abs(x), summed, True), compared, True)
    return moveaxis(y, (-2, -1), axis) if keepdims else squeeze(y, (-2, -1))


def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """sqrt(sum x^2) for "fro", the sum of the singular values for "nuc", the largest for 2, the smallest for -2.

    1 is the largest sum |x| of a column, inf of a row, -1 and -inf are the smallest.
    """
    _matrices("matrix_norm", x)
    return _matrix_norm(of_floats(x), ord, (-2, -1), keepdims)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The vector norm along one axis or the matrix norm of two; with neither axis nor ord the root of all squares."""
    x = of_floats(x)
    if ord is None and (axis is None or np.size(axis) < 3):
        return _norm(x, axis, keepdims)
    axes = tuple(range(np.ndim(x))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if len(axes) == 1:
        return vector_norm(x, axis=axes[0], keepdims=keepdims, ord=ord)
    if len(axes) == 2:
        return _matrix_norm(x, ord, [_from_zero("norm", x, i) for i in axes], keepdims)
    shape = np.shape(x)
    raise ValueError(f"norm: ord={ord!r} of {len(axes)} axes of {shape} is no norm. Pass axis=, one or two of them.")


def cond(x: Any, p: Any = None) -> Any:
    """The condition number: the norm of x times that of its inverse, of any ord; 2 if None, of any matrices then."""
    _matrices("cond", x, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(x)
        with np.errstate(all="ignore"):
            return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(x, ord=p) * matrix_norm(inv(x), ord=p)
