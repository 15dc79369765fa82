"""Normalisations, Embedding and their state equal PyTorch's, on shapes and arguments that hypothesis draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.differences import assert_close
from tinygrad_bp import nn

pytestmark = pytest.mark.oracle
SAME = 1e-12

eps = st.sampled_from([1e-5, 1e-3, 0.5])
lengths = st.integers(1, 5)


def normal(shape: Any, seed: int) -> Any:
    """Normal numbers, in either memory order."""
    x = np.random.default_rng(seed).normal(2.0, 3.0, shape)
    return x if seed % 2 else np.asfortranarray(x)


class Pair:
    """A layer of ours and PyTorch's of the same name and arguments, with the same random parameters."""

    def __init__(self, name: str, *args: Any, **named: Any) -> None:
        self.torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
        self.ours = getattr(nn, name)(*args, **named)
        self.theirs = getattr(self.torch.nn, name)(*args, **named, dtype=self.torch.float64)
        rng = np.random.default_rng(0)
        for p, q in zip(self.ours.parameters(), self.theirs.parameters(), strict=True):
            assert p.shape == tuple(q.shape)
            p.data[...] = rng.normal(size=p.shape)
            q.data.copy_(self.torch.from_numpy(p.data))

    def call(self, values: Any) -> None:
        """Forward and backward of both: values, gradients and state must be equal."""
        differentiable = values.dtype.kind == "f"
        x, other = bp.Tensor(values), self.torch.tensor(values, requires_grad=differentiable)
        x.tracked = differentiable  # requires_grad would copy, and lose the memory order
        y, expected = self.ours(x), self.theirs(other)
        assert_close(bp.Tensor(y).data, expected.detach().numpy(), "value", SAME)
        if y.requires_grad:
            g = np.cos(np.arange(y.size)).reshape(y.shape)
            inputs = ([x] if differentiable else []) + list(self.ours.parameters())
            others = ([other] if differentiable else []) + list(self.theirs.parameters())
            grads = bp.autograd.grad(y, inputs, g)
            for ours, theirs in zip(grads, self.torch.autograd.grad(expected, others, self.torch.from_numpy(g))):
                assert_close(ours.data, theirs.numpy(), "gradient", SAME)
        state, wanted = self.ours.state_dict(), self.theirs.state_dict()
        assert list(state) == list(wanted)
        for name, array in state.items():
            assert_close(array, wanted[name].numpy(), name, SAME)


@settings(max_examples=50)
@given(lead=st.lists(lengths, max_size=2), shape=st.lists(lengths, min_size=1, max_size=2), data=st.data())
def test_layer_norm(lead: Any, shape: Any, data: Any) -> None:
    arguments = {"elementwise_affine": data.draw(st.booleans()), "bias": data.draw(st.booleans())}
    Pair("LayerNorm", shape, eps=data.draw(eps), **arguments).call(
        normal((*lead, *shape), data.draw(st.integers(0, 99)))
    )


@settings(max_examples=50)
@given(lead=st.lists(lengths, max_size=2), shape=st.lists(lengths, min_size=1, max_size=2), data=st.data())
def test_rms_norm(lead: Any, shape: Any, data: Any) -> None:
    arguments = {"elementwise_affine": data.draw(st.booleans()), "eps": data.draw(eps | st.none())}
    Pair("RMSNorm", shape, **arguments).call(normal((*lead, *shape), data.draw(st.integers(0, 99))))


@given(n=lengths, groups=st.integers(1, 3), each=st.integers(1, 3), rest=st.lists(lengths, max_size=2), data=st.data())
def test_group_norm(n: int, groups: int, each: int, rest: Any, data: Any) -> None:
    x = normal((n, groups * each, *rest), data.draw(st.integers(0, 99)))
    if x[0].size // groups > 1 or n > 1:  # which PyTorch refuses
        Pair("GroupNorm", groups, groups * each, eps=data.draw(eps), affine=data.draw(st.booleans())).call(x)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d"])
@settings(max_examples=30)
@given(n=st.integers(2, 5), channels=lengths, data=st.data())
def test_batch_norm(name: str, n: int, channels: int, data: Any) -> None:
    """Three batches in training, one in evaluation."""
    axes = 2 if name.endswith("2d") else data.draw(st.integers(0, 1))
    shape = (n, channels, *data.draw(st.lists(lengths, min_size=axes, max_size=axes)))
    arguments = {"momentum": data.draw(st.none() | st.floats(0.0, 1.0)), "affine": data.draw(st.booleans())}
    layers = Pair(name, channels, eps=data.draw(eps), track_running_stats=data.draw(st.booleans()), **arguments)
    for seed in range(3):
        layers.call(normal(shape, seed))
    layers.ours.eval()
    layers.theirs.eval()
    layers.call(normal(shape, 3))


@given(num=lengths, dim=lengths, shape=st.lists(st.integers(0, 4), max_size=2), data=st.data())
def test_embedding(num: int, dim: int, shape: Any, data: Any) -> None:
    padding = data.draw(st.none() | st.integers(-num, num - 1))
    Pair("Embedding", num, dim, padding_idx=padding).call(np.random.default_rng(num).integers(0, num, shape))
