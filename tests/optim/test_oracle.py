"""Every optimizer equals PyTorch's over a hundred steps of the same net."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.differences import close
from tests.optim.test_optimizers import CASES
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F

pytestmark = pytest.mark.oracle

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 5)), RNG.integers(3, size=32)


@pytest.mark.parametrize("case", CASES)
def test_a_hundred_steps_equal_pytorchs(case):
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    optimizer, _, settings = CASES[case]
    ours = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})
    mine = optimizer(ours.parameters(), **settings)
    other = getattr(torch.optim, optimizer.__name__)(theirs.parameters(), **settings)
    for step in range(100):
        batch = slice(8 * (step % 4), 8 * (step % 4) + 8)
        mine.zero_grad()
        F.cross_entropy(ours(X[batch]), Y[batch]).backward()
        mine.step()
        other.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.from_numpy(X[batch])), torch.from_numpy(Y[batch])).backward()
        other.step()
    for name, array in ours.state_dict().items():
        assert close(array, theirs.state_dict()[name].numpy(), 1e-12), name


@pytest.mark.parametrize("case", CASES)
def test_state_dicts_are_named_as_pytorchs(case):
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    optimizer, _, settings = CASES[case]
    w = bp.tensor([1.0], requires_grad=True)
    w.grad = bp.tensor([1.0])
    v = torch.tensor([1.0], requires_grad=True)
    v.grad = torch.tensor([1.0])
    mine, other = optimizer([w], **settings), getattr(torch.optim, optimizer.__name__)([v], **settings)
    mine.step()
    other.step()
    ours, theirs = mine.state_dict(), other.state_dict()
    assert ours["state"].get(0, {}).keys() == {k for k, v in theirs["state"].get(0, {}).items() if v is not None}
    assert ours["param_groups"][0].keys() <= theirs["param_groups"][0].keys()
