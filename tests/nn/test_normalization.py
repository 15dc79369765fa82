"""Normalisation: running statistics, memory, float32, derivatives of order 2 with known moments, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.differences import assert_close, close, gradient
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F
from tinygrad_bp.ops.normalize import channel_moments

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(3.0, 2.0, (4, 3, 5, 2))


def test_running_statistics_move_towards_those_of_each_batch():
    layer = nn.BatchNorm2d(3, momentum=0.25)
    mean, var = IMAGES.mean((0, 2, 3)), IMAGES.var((0, 2, 3), ddof=1)
    layer(IMAGES)
    assert close(layer.running_mean.data, 0.25 * mean, 1e-14)
    assert close(layer.running_var.data, 0.75 + 0.25 * var, 1e-14)
    layer(IMAGES)
    assert close(layer.running_mean.data, 0.4375 * mean, 1e-14)
    assert layer.num_batches_tracked.item() == 2
    assert [p.shape for p in layer.parameters()] == [(3,), (3,)]
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def test_without_momentum_the_running_statistics_are_means_over_the_batches():
    layer, batches = nn.BatchNorm1d(3, momentum=None), RNG.normal(size=(5, 4, 3))
    for batch in batches:
        layer(batch)
    assert close(layer.running_mean.data, batches.mean((0, 1)), 1e-14)
    assert close(layer.running_var.data, batches.var(1, ddof=1).mean(0), 1e-14)


def test_evaluation_uses_them_and_leaves_them():
    layer = nn.BatchNorm1d(3)
    layer(RNG.normal(size=(4, 3)))
    layer.eval()
    before = layer.state_dict()
    one = RNG.normal(size=(1, 3))
    expected = (one - before["running_mean"]) / np.sqrt(before["running_var"] + 1e-5)
    assert close(layer(one).data, expected, 1e-14)
    assert all(np.array_equal(x, before[name]) for name, x in layer.state_dict().items())


def test_without_running_statistics_evaluation_uses_its_batch():
    layer = nn.BatchNorm1d(3, track_running_stats=False).eval()
    x = RNG.normal(size=(4, 3))
    assert close(layer(x).data, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 1e-14)
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_gradients_are_those_of_the_statistics_that_were_used():
    layer, values = nn.BatchNorm1d(3).eval(), RNG.normal(size=(4, 3))
    x = bp.Tensor(values, requires_grad=True)
    loss = (layer(x) ** 2).sum()
    layer.train()(values)
    loss.backward()
    assert close(x.grad.data, 2.0 * values / (1.0 + 1e-5), 1e-14)  # of mean 0 and variance 1


def test_the_result_is_of_the_widest_dtype():
    narrow = bp.Tensor(RNG.normal(size=(4, 6)).astype(np.float32), requires_grad=True)
    for layer in (nn.BatchNorm1d(6), nn.LayerNorm(6), nn.RMSNorm(6), nn.GroupNorm(2, 6)):
        y = layer(narrow)
        (dx,) = bp.autograd.grad((y * y * y).sum(), narrow)
        assert y.dtype == np.float64
        assert dx.dtype == np.float32
        assert layer.eval()(narrow).dtype == np.float64


def test_a_large_mean_costs_no_digits_of_the_variance():
    x = 1e8 + RNG.normal(size=(1000, 2))
    for y in (F.layer_norm(x.T, 1000).T, F.batch_norm(x, None, None, training=True)):
        assert np.abs(y.mean(0)).max() < 1e-6
        assert np.abs(y.std(0) - 1.0).max() < 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_memory_order_and_the_dtype_of_the_input_are_kept(dtype):
    memory = np.ascontiguousarray(IMAGES.transpose(1, 2, 3, 0)).astype(dtype)
    x = bp.Tensor(memory.transpose(3, 0, 1, 2))
    x.tracked = True
    layer = nn.BatchNorm2d(3, dtype=dtype)
    y = layer(x)
    (dx,) = bp.autograd.grad((y * y * y).sum(), x)
    assert y.dtype == dx.dtype == layer.running_var.dtype == dtype
    assert y.data.transpose(1, 2, 3, 0).flags.c_contiguous
    packed = bp.Tensor(x.data.copy(), requires_grad=True)
    (nn.BatchNorm2d(3, dtype=dtype)(packed) ** 3).sum().backward()
    assert close(packed.grad.data, dx.data, 1e-4 if dtype == np.float32 else 1e-13)


def test_known_moments_are_functions_of_the_input_at_order_2():
    def slopes(x):
        (g,) = bp.autograd.grad((nn.BatchNorm1d(2)(x) ** 3).sum(), x, create_graph=True)
        return (g * g).sum()

    values = RNG.normal(size=(4, 2))
    x = bp.Tensor(values, requires_grad=True)
    (second,) = bp.autograd.grad(slopes(x), x)
    assert_close(second.data, gradient(lambda x: slopes(bp.Tensor(x, requires_grad=True)).item(), values)[0], "order 2")


def test_moments():
    assert close(channel_moments(IMAGES), [IMAGES.mean((0, 2, 3)), IMAGES.var((0, 2, 3))], 1e-14)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: nn.BatchNorm1d(0), ValueError, r"^BatchNorm1d: num_features is 0\. Pass numbers >= 1\.$"),
        (
            lambda: nn.BatchNorm2d(3)(np.zeros((4, 3))),
            ValueError,
            r"^BatchNorm2d: input has shape \(4, 3\)\. Pass \(n, 3, height, width\)\.$",
        ),
        (
            lambda: nn.BatchNorm1d(3)(np.zeros((4, 2))),
            ValueError,
            r"^BatchNorm1d: input has shape \(4, 2\)\. Pass \(n, 3\) or \(n, 3, length\)\.$",
        ),
        (
            lambda: nn.BatchNorm1d(3)(np.zeros((1, 3))),
            ValueError,
            r"^batch_norm: input \(1, 3\) has 1 entries a channel, which have no variance\. "
            r"Pass more samples, or call eval\(\)\.$",
        ),
        (
            lambda: nn.BatchNorm1d(3)(np.zeros((4, 3), int)),
            TypeError,
            r"^batch_norm: input has dtype int64\. Pass floats",
        ),
        (
            lambda: F.batch_norm(np.zeros((4, 3)), None, None),
            ValueError,
            r"^batch_norm: there are no running statistics\. Pass running_mean and running_var, or training=True\.$",
        ),
        (
            lambda: F.batch_norm(np.zeros((4, 3)), np.zeros(2), np.ones(3)),
            ValueError,
            r"^batch_norm: running_mean has shape \(2,\)\. Pass one of shape \(3,\)\.$",
        ),
        (
            lambda: F.batch_norm(np.zeros(3), None, None, training=True),
            ValueError,
            r"^batch_norm: input has shape \(3,\)\.",
        ),
        (
            lambda: nn.LayerNorm((3, 2))(np.zeros((4, 3))),
            ValueError,
            r"^layer_norm: input \(4, 3\) does not end in normalized_shape \(3, 2\)\. Make them fit\.$",
        ),
        (lambda: nn.LayerNorm(()), TypeError, r"^LayerNorm: normalized_shape is \(\)\. Pass an integer\.$"),
        (lambda: nn.RMSNorm(0), ValueError, r"^RMSNorm: normalized_shape is 0\. Pass numbers >= 1\.$"),
        (
            lambda: F.layer_norm(np.zeros((4, 3)), 3, np.ones((1, 3))),
            ValueError,
            r"^layer_norm: weight has shape \(1, 3\)\. Pass one of shape \(3,\)\.$",
        ),
        (
            lambda: nn.GroupNorm(2, 3),
            ValueError,
            r"^GroupNorm: 3 channels make no 2 equal groups\. Pass a divisor as num_groups\.$",
        ),
        (lambda: F.group_norm(np.zeros((4, 3)), 2), ValueError, r"^group_norm: 3 channels make no 2 equal groups\."),
        (
            lambda: F.group_norm(np.zeros(4), 2),
            ValueError,
            r"^group_norm: input has shape \(4,\)\. Pass \(n, channels, ",
        ),
        (
            lambda: nn.GroupNorm(2, 4)(np.zeros((4, 6))),
            ValueError,
            r"^group_norm: weight has shape \(4,\)\. Pass one of",
        ),
    ],
)
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
