"""Linear algebra against PyTorch: values, gradients and second derivatives of matrices that hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_bp import Tensor, autograd

from .checks import signed
from .differences import assert_close

pytestmark = pytest.mark.oracle
la = np.linalg
torch: Any = None
ta: Any = None


@pytest.fixture(autouse=True, scope="module")
def pytorch() -> None:
    """PyTorch, imported by the first test that runs and not by collecting them."""
    global torch, ta
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    ta = torch.linalg


def drawn(rng: Any, *shape: int) -> Any:
    """Matrices of singular values between 1 and 4, at least 0.3 apart."""
    *lead, m, n = shape
    k = min(m, n)
    s = 1.0 + 0.5 * rng.permuted(np.broadcast_to(np.arange(k), (*lead, k)), axis=-1) + rng.uniform(0.0, 0.2, (*lead, k))
    u, v = (la.qr(rng.normal(size=(*lead, i, i)))[0][..., :k] for i in (m, n))
    return (u * s[..., None, :]) @ v.mT


def definite(x: Any) -> Any:
    """Symmetric, so that both know all entries; positive definite, with eigenvalues apart."""
    return x @ x.mT


def symmetric(x: Any) -> Any:
    return x + x.mT


NORMS = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]
# Ours and theirs; each returns one array or several.
SQUARE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "inv": (la.inv, lambda x: ta.inv(x)),
    "det": (la.det, lambda x: ta.det(x)),
    "slogdet": (lambda x: la.slogdet(x)[1], lambda x: ta.slogdet(x)[1]),
    "cholesky": (lambda x: la.cholesky(definite(x)), lambda x: ta.cholesky(definite(x))),
    "cholesky, upper": (
        lambda x: la.cholesky(definite(x), upper=True),
        lambda x: ta.cholesky(definite(x), upper=True),
    ),
    "eigh": (lambda x: la.eigh(definite(x)), lambda x: ta.eigh(definite(x))),
    "eigh, upper": (lambda x: la.eigh(definite(x), "U"), lambda x: ta.eigh(definite(x), "U")),
    "eigvalsh": (lambda x: la.eigvalsh(symmetric(x)), lambda x: ta.eigvalsh(symmetric(x))),
    **{
        f"matrix_power {n}": (lambda x, n=n: la.matrix_power(x, n), lambda x, n=n: ta.matrix_power(x, n))
        for n in (-3, -1, 1, 2, 5)
    },
    "cond": (lambda x: la.cond(x, 1), lambda x: ta.matrix_norm(x, 1) * ta.matrix_norm(ta.inv(x), 1)),
}
ANY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "qr": (la.qr, lambda x: ta.qr(x)),
    "svd": (lambda x: la.svd(x, full_matrices=False), lambda x: ta.svd(x, full_matrices=False)),
    "svdvals": (la.svdvals, lambda x: ta.svdvals(x)),
    "pinv": (la.pinv, lambda x: ta.pinv(x)),
    "cond": (la.cond, lambda x: ta.cond(x)),
    **{
        f"norm {p}": (
            lambda x, p=p: la.norm(x, p, axis=(-2, -1)),
            lambda x, p=p: ta.matrix_norm(x, "fro" if p is None else p),
        )
        for p in NORMS
    },
    **{
        f"vector_norm {p}": (
            lambda x, p=p: la.vector_norm(x, ord=p, axis=(-1, -2), keepdims=True),
            lambda x, p=p: ta.vector_norm(x, p, (-1, -2), keepdim=True),
        )
        for p in (1, 2, 3.5, -1, np.inf, -np.inf)
    },
}


def several(y: Any) -> list[Any]:
    return list(y) if isinstance(y, tuple) else [y]


def aligned(mine: list[Any], yours: list[Any]) -> list[Any]:
    """PyTorch's factors with the signs of ours: vectors are known up to their signs."""
    if len(mine) > 1:
        k = int(mine[0].ndim < mine[1].ndim)  # eigenvalues come before their vectors
        signs = torch.tensor(np.sign((mine[k].data * yours[k].numpy(force=True)).sum(-2, keepdims=True)))
        yours[k] = yours[k] * signs
        if k == 0:
            yours[-1] = yours[-1] * signs.mT
    return yours


def check(ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: Any) -> None:
    xs, ts = [Tensor(x, requires_grad=True) for x in arrays], [torch.tensor(x, requires_grad=True) for x in arrays]
    mine = several(ours(*xs))
    yours = aligned(mine, several(theirs(*ts)))
    for k, (a, b) in enumerate(zip(mine, yours, strict=True)):
        assert_close(a.data, b.numpy(force=True), f"result {k}", 1e-12)
    us = [signed(a.shape, k) for k, a in enumerate(mine)]
    first = autograd.grad(mine, xs, us, create_graph=True)
    theirs_first = torch.autograd.grad(yours, ts, [torch.tensor(u) for u in us], create_graph=True)
    for k, (a, b) in enumerate(zip(first, theirs_first)):
        assert_close(a.data, b.numpy(force=True), f"gradient {k}", 1e-12)
    totals = [sum((g * g).sum() for g in grads) for grads in (first, theirs_first)]
    if all(total.requires_grad for total in totals):
        second = autograd.grad(totals[0], xs)
        for k, (a, b) in enumerate(zip(second, torch.autograd.grad(totals[1], ts))):
            assert_close(a.data, b.numpy(force=True), f"second derivative {k}", 1e-11)


def solved(a: Any, b: Any) -> Any:
    """With all stacks written out: PyTorch takes some of them for vectors."""
    if b.ndim == 1:
        return ta.solve(a, b[:, None])[..., 0]
    stack = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ta.solve(a.expand(*stack, *a.shape[-2:]), b.expand(*stack, *b.shape[-2:]))


stacks = st.lists(st.integers(1, 2), max_size=2).map(tuple)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", SQUARE)
@settings(max_examples=10)
@given(stacks, st.integers(1, 4), seeds)
def test_square_matrices(name: str, stack: tuple[int, ...], n: int, seed: int) -> None:
    check(*SQUARE[name], drawn(np.random.default_rng(seed), *stack, n, n))


@pytest.mark.parametrize("name", ANY)
@settings(max_examples=10)
@given(stacks, st.integers(1, 4), st.integers(1, 4), seeds)
def test_matrices(name: str, stack: tuple[int, ...], m: int, n: int, seed: int) -> None:
    check(*ANY[name], drawn(np.random.default_rng(seed), *stack, m, n))


@settings(max_examples=20)
@given(st.sampled_from([((), ()), ((2,), ()), ((), (2,)), ((2, 1), (3,))]), st.integers(1, 4), st.integers(1, 3), seeds)
def test_solve(stacks: Any, n: int, k: int, seed: int) -> None:
    """Stacks broadcast; a right side of one axis is a vector."""
    rng = np.random.default_rng(seed)
    a = drawn(rng, *stacks[0], n, n)
    check(la.solve, solved, a, rng.normal(size=(*stacks[1], n, k)))
    check(la.solve, solved, a, rng.normal(size=n))
