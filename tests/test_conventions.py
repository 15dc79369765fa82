"""Kinks, ties and edges: every line of docs/conventions.md is run, and a gradient of 0 stays 0 through every row."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_bp import Tensor, autograd, ops

from . import samples
from .differences import assert_close

PAGE = Path(__file__).parent.parent / "docs" / "conventions.md"
NAMES = {"np": np, "ops": ops, "inf": np.inf, "nan": np.nan}


def lines_of_the_page() -> list[tuple[str, str, str]]:
    """(f, x, gradient) of every line of the tables."""
    cells = [[cell.strip().strip("`") for cell in line.split(" | ")] for line in PAGE.read_text("utf-8").splitlines()]
    return [(row[0].removeprefix("| `"), row[1], row[2]) for row in cells if row[0].startswith("| `")]


def slopes(f: Callable[..., Any], *arrays: Any, orders: int) -> list[list[Any]]:
    """The gradients of sum(f), of the sum of these, and so on: for every order one array for every input."""
    xs, found = [Tensor(x, requires_grad=True) for x in arrays], []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        total = f(*xs).sum()
        for _ in range(orders):
            tracked = isinstance(total, Tensor) and total.requires_grad
            grads = autograd.grad(total, xs, create_graph=True, allow_unused=True) if tracked else [None] * len(xs)
            found.append([np.zeros(x.shape) if g is None else g.data for g, x in zip(grads, xs)])
            total = sum((g * 1.5).sum() for g in grads if g is not None)
    return found


def test_the_page_has_tables() -> None:
    assert len(lines_of_the_page()) >= 30


@pytest.mark.parametrize(("f", "x", "gradient"), lines_of_the_page(), ids=lambda cell: cell)
def test_a_line_of_the_page(f: str, x: str, gradient: str) -> None:
    def evaluated(x: Any) -> Any:
        return eval(f, NAMES | {"x": x})

    (first,), (second,) = slopes(evaluated, eval(x, NAMES), orders=2)
    assert_close(first, np.array(eval(gradient, NAMES), float), f, 1e-15)
    if "where" in f:
        assert np.isfinite(second).all()


@pytest.mark.parametrize(("f", "x", "gradient"), lines_of_the_page(), ids=lambda cell: cell)
def test_a_line_of_the_page_is_linear_in_the_incoming_gradient(f: str, x: str, gradient: str) -> None:
    """A gradient at a kink is a share of the incoming one, of any sign, and its derivative by it is that share."""
    expected, point = np.array(eval(gradient, NAMES), float), Tensor(eval(x, NAMES), requires_grad=True)
    with np.errstate(all="ignore"):
        y = eval(f, NAMES | {"x": point})
    u = Tensor(np.full(y.shape, -2.0), requires_grad=True)
    (first,) = autograd.grad(y, point, u, create_graph=True)
    assert_close(first.data, -2.0 * expected, "twice as much, downhill", 1e-15)
    if np.isfinite(expected).all():
        (by_u,) = autograd.grad(first.sum(), u, allow_unused=True) if first.requires_grad else (None,)
        assert_close(0.0 if by_u is None else by_u.data.sum(), expected.sum(), "by the incoming gradient", 1e-15)


# ---- zero stays zero -------------------------------------------------------------------------------------------------

ROWS = {row.name: row for row in ops.TABLE}
WILD = np.array([np.nan, np.inf, -np.inf, -2.0, -1.0, -0.5, -0.0, 0.0, 1.0, 1e200, -1e200, 1e-300])
PAIRS = [pair.ravel() for pair in np.meshgrid(WILD, WILD)]
WILD_ROWS = np.array([[0.0, 0.0], [-np.inf, -np.inf], [np.inf, 1.0], [np.nan, 1.0], [1e200, 1e200], [2.0, 2.0]])
FAST = {"sigmoid", "tanh"}  # their slopes are finite except at nan: one multiplication cheaper
ELEMENTWISE = [
    *[(name, 1) for name in samples.UNARY if ROWS[name].differentiable],
    *[(name, 2) for name in samples.BINARY if ROWS[name].differentiable],
]
BY_ROWS = [name for name in samples.REDUCTIONS if ROWS[name].differentiable] + ["softmax", "log_softmax"]


@pytest.mark.parametrize(("name", "inputs"), ELEMENTWISE)
def test_the_branch_not_taken_counts_for_nothing(name: str, inputs: int) -> None:
    """At orders 1, 2 and 3, whatever the values."""
    arrays = [WILD[1:] if name in FAST else WILD] if inputs == 1 else PAIRS
    for grads in slopes(lambda *xs: np.where(np.zeros(arrays[0].shape, bool), ROWS[name](*xs), 0.0), *arrays, orders=3):
        for g in grads:
            assert_close(g, np.zeros_like(g), name, 0.0)


@pytest.mark.parametrize("name", BY_ROWS)
def test_a_row_left_out_counts_for_nothing(name: str) -> None:
    def left_out(x: Tensor) -> Any:
        y = ROWS[name](x, axis=1)
        return np.where(np.zeros(y.shape, bool), y, 0.0)

    for (g,) in slopes(left_out, WILD_ROWS, orders=3):
        assert_close(g, np.zeros_like(g), name, 0.0)


def test_a_sample_left_out_of_a_loss_counts_for_nothing() -> None:
    """A row of logits that are all -inf has no loss; masked, it has gradient 0."""
    labels = np.array([0, 1])
    for target in (labels, np.eye(2)[labels]):
        x = Tensor([[-np.inf, -np.inf], [0.0, 0.0]], requires_grad=True)
        with np.errstate(all="ignore"):
            losses = ops.cross_entropy(x, target, "none")
        np.where(np.array([False, True]), losses, 0.0).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [[0.0, 0.0], [0.5, -0.5]]


@pytest.mark.parametrize("loss", [ops.mse_loss, ops.quadratic_loss, ops.binary_cross_entropy_with_logits])
def test_a_target_without_a_number_left_out_counts_for_nothing(loss: Any) -> None:
    target, taken = np.array([[0.0, 1.0], [np.nan, np.inf]]), np.array([[True], [False]])
    for x in ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [np.inf, np.nan]]):
        p, y = Tensor(x, requires_grad=True), Tensor(target, requires_grad=True)
        with np.errstate(all="ignore"):
            losses = loss(p, y, "none")
            np.where(taken if losses.ndim == 2 else taken[:, 0], losses, 0.0).sum().backward()
        assert p.grad is not None
        assert y.grad is not None
        assert p.grad.data[1].tolist() == y.grad.data[1].tolist() == [0.0, 0.0]
        assert np.all(p.grad.data[0])


# ---- what a kink may not do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [ops.maximum, ops.minimum])
def test_the_shares_of_a_tie_are_one_in_all(row: Any) -> None:
    a, b = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    row(a, b).backward(np.ones(2))
    assert a.grad is not None
    assert b.grad is not None
    assert (a.grad.data + b.grad.data).tolist() == [1.0, 1.0]


def test_bounds_of_clip_receive_what_they_stop() -> None:
    x, low, high = (Tensor(v, requires_grad=True) for v in ([-2.0, -1.0, 0.0, 1.0, 2.0], -1.0, 1.0))
    ops.clip(x, low, high).backward(np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert [t.grad.tolist() for t in (x, low, high) if t.grad is not None] == [[0.0, 2.0, 4.0, 8.0, 0.0], 1.0, 16.0]


def test_the_mean_of_nothing() -> None:
    for f in (np.mean, np.var):
        x = Tensor(np.zeros((0, 3)), requires_grad=True)
        with pytest.warns(RuntimeWarning):
            y = f(x, axis=0)
        assert np.isnan(y.data).all()
        y.backward(np.ones(3))
        assert x.grad is not None
        assert x.grad.shape == (0, 3)


def test_the_variance_of_one_with_nobody_to_spare() -> None:
    x = Tensor([3.0], requires_grad=True)
    with pytest.warns(RuntimeWarning):
        y = x.var(ddof=1)
    y.backward()
    assert x.grad is not None
    assert np.isnan(y.data)
    assert np.isnan(x.grad.data).all()


def test_the_vectors_of_a_singular_square_matrix_have_slopes() -> None:
    """A single singular value of 0 is apart from the others: as the eigenvectors of x x^T and x^T x."""
    (x,) = samples.linalg.SINGULAR.inputs
    for by_svd, by_eigh in [
        (lambda x: np.linalg.svd(x).U, lambda x: np.linalg.eigh(x @ x.mT).eigenvectors),
        (lambda x: np.linalg.svd(x).Vh, lambda x: np.linalg.eigh(x.mT @ x).eigenvectors),
    ]:
        (found, expected) = (slopes(lambda x, f=f: np.abs(f(x)), x, orders=1)[0][0] for f in (by_svd, by_eigh))
        assert_close(found, expected, "singular vectors", 1e-12)
