"""Losses equal PyTorch's, with their gradients, on shapes, targets and settings that hypothesis draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.differences import assert_close
from tinygrad_bp.nn import functional as F
from tinygrad_bp.nn.functional import accepted

pytestmark = pytest.mark.oracle

REDUCTIONS = st.sampled_from(accepted.REDUCTIONS)
seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


def same(name: str, x: Any, y: Any, **settings: Any) -> None:
    """The loss of ours, and its gradient along a fixed direction, is PyTorch's."""
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    mine, theirs = bp.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    given = {key: torch.from_numpy(a) if isinstance(a, np.ndarray) else a for key, a in settings.items()}
    loss = getattr(F, name)(mine, y, **settings)
    expected = getattr(torch.nn.functional, name)(theirs, torch.from_numpy(y), **given)
    u = np.cos(np.arange(loss.size)).reshape(loss.shape)
    loss.backward(u)
    expected.backward(torch.from_numpy(u))
    assert mine.grad is not None
    assert_close(loss.data, expected.detach().numpy(), "loss", 1e-12)
    assert_close(mine.grad.data, theirs.grad.numpy(), "gradient", 1e-12)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
@given(shape=shapes, seed=seeds, reduction=REDUCTIONS, bend=st.floats(0.1, 3.0))
def test_distances(name: str, shape: tuple[int, ...], seed: int, reduction: str, bend: float) -> None:
    rng = np.random.default_rng(seed)
    settings = {"smooth_l1_loss": {"beta": bend}, "huber_loss": {"delta": bend}}.get(name, {})
    x, y = (np.asarray(rng.normal(size=shape)) for _ in range(2))
    same(name, np.asarray(3.0 * x), y, reduction=reduction, **settings)


@given(shape=shapes, seed=seeds, reduction=REDUCTIONS, weighted=st.booleans(), by_hits=st.booleans())
def test_two_classes(shape: tuple[int, ...], seed: int, reduction: str, weighted: bool, by_hits: bool) -> None:
    rng = np.random.default_rng(seed)
    y = np.asarray(rng.uniform(size=shape) if seed % 2 else rng.integers(0, 2, shape) * 1.0)
    settings = {"weight": rng.uniform(size=shape[-1:])} if weighted else {}
    same("binary_cross_entropy", np.asarray(rng.uniform(size=shape)), y, reduction=reduction, **settings)
    if by_hits:
        settings["pos_weight"] = rng.uniform(0.0, 3.0, shape[-1:])
    same(
        "binary_cross_entropy_with_logits",
        np.asarray(10.0 * rng.normal(size=shape)),
        y,
        reduction=reduction,
        **settings,
    )


def test_certain_answers_of_two_classes() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    p, y = (np.array(values) for values in zip(*[(p, y) for p in (0.0, 1e-13, 1.0 - 1e-13, 1.0) for y in (0, 0.3, 1)]))
    mine, theirs = bp.Tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    F.binary_cross_entropy(mine, y, reduction="sum").backward()
    torch.nn.functional.binary_cross_entropy(theirs, torch.from_numpy(y), reduction="sum").backward()
    assert mine.grad is not None
    assert np.allclose(mine.grad.data, theirs.grad.numpy(), rtol=1e-8, atol=0.0)  # its 1e-12 is a float32


class_shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
smoothings = st.sampled_from([0.0, 0.1, 1.0])


@given(class_shapes, seeds, REDUCTIONS, st.booleans(), st.sampled_from([None, -100, -1, 0]), smoothings)
def test_labels(
    shape: tuple[int, ...], seed: int, reduction: str, weighted: bool, ignored: int | None, smoothing: float
) -> None:
    rng = np.random.default_rng(seed)
    classes = shape[min(1, len(shape) - 1)]
    x, y = (
        3.0 * rng.normal(size=shape),
        np.asarray(rng.integers(0, classes, shape[:1] + shape[2:] if shape[1:] else ())),
    )
    settings: dict[str, Any] = {"weight": rng.uniform(0.1, 2.0, classes)} if weighted else {}
    if ignored is not None:
        y = np.where(rng.random(y.shape) < 0.3, ignored, y)
        settings |= {} if ignored == -100 else {"ignore_index": ignored}
        if (y == ignored).all():  # PyTorch's mean of nothing is nan, ours an error
            reduction = "sum"
    same("cross_entropy", x, y, reduction=reduction, label_smoothing=smoothing, **settings)
    same("nll_loss", x, y, reduction=reduction, **settings)


@given(class_shapes, seeds, REDUCTIONS, st.booleans(), smoothings)
def test_probabilities(shape: tuple[int, ...], seed: int, reduction: str, weighted: bool, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    axis = min(1, len(shape) - 1)
    y = rng.uniform(size=shape)
    settings = {"weight": rng.uniform(0.1, 2.0, shape[axis])} if weighted else {}
    x, y = 3.0 * rng.normal(size=shape), y / y.sum(axis, keepdims=True)
    same("cross_entropy", x, y, reduction=reduction, label_smoothing=smoothing, **settings)
