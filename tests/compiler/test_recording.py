"""What is promised of recording: state is found, what cannot be replayed is refused, and nothing real is changed."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp

# ---- arrays and tensors mixed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x, w: x * w,
        lambda x, w: x @ w,
        lambda x, w: np.add(x, w),
        lambda x, w: np.concatenate([x, w]),
        lambda x, w: np.where(x > 0, x, w),
    ],
)
def test_an_argument_left_of_a_tensor_does_not_lose_its_gradient(mixed):
    w = bp.tensor([1.0, 2.0], requires_grad=True)

    def step(x):
        w.grad = None
        mixed(x, w).sum().backward()
        return w.grad

    x = np.array([3.0, -4.0])
    assert bp.compile(step)(x).tolist() == step(x).tolist()


@pytest.mark.parametrize("axis", [2, -3, (0, 0)])
def test_a_wrong_axis_is_refused_as_without_compiling(axis):
    with pytest.raises(ValueError, match="axis"):
        bp.compile(lambda x: bp.Tensor(x).sum(axis))(np.ones((2, 3)))


@pytest.mark.parametrize("index", [np.int64(1), np.array([True, False, True]), np.array([2, 0])])
def test_gradients_of_entries_taken_by_an_array(index):
    def step(x):
        t = bp.Tensor(x, requires_grad=True)
        (t[index] ** 2).sum().backward()
        return t.grad

    x = np.array([1.0, 2.0, 3.0])
    assert bp.compile(step)(x).tolist() == step(x).tolist()
