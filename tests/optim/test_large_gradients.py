"""Gradients of more than 10,000 entries, which `step` looks through in another way than small ones."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import optim


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_found(bad):
    p = bp.Tensor(np.ones((30, 784)), requires_grad=True)
    p.grad = bp.Tensor(np.zeros((30, 784)))
    p.grad.data[29, 783] = bad
    with pytest.raises(FloatingPointError, match=r"shape \(30, 784\), has 1 of 23520 entries that are not finite"):
        optim.SGD([p], lr=1.0).step()
    assert np.all(p.data == 1.0)


def test_entries_whose_squares_overflow_are_finite():
    p = bp.Tensor(np.zeros((30, 784)), requires_grad=True)
    p.grad = bp.Tensor(np.full((30, 784), 1e300))
    optim.SGD([p], lr=1.0).step()
    assert np.all(p.data == -1e300)


def test_the_check_can_be_switched_off():
    p = bp.Tensor([1.0, 2.0], requires_grad=True)
    p.grad = bp.Tensor([np.inf, 1.0])
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.check_finite = False
    optimizer.step()
    assert p.tolist() == [-np.inf, 1.0]
