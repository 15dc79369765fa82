"""The library computes what hand-written backpropagation computes: the five classics, through the examples.

Every gradient is compared with `tests/reference` on random nets and batches, and the published numbers are reproduced
by the library. Costs and gradients must agree to 1e-12 relative, numbers to 12 digits.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F
from examples import (
    classic_000_backprop,
    classic_001_network,
    classic_002_mazur,
    classic_003_ex4,
    classic_004_neuron,
)
from tests.differences import close
from tests.reference import coursera, mazur, neuron, nielsen
from tinygrad_bp import nn, optim
from tinygrad_bp.data import mnist

ROOT = Path(__file__).parent.parent

seeds = st.integers(0, 2**32 - 1)
layer_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=5)
batches = st.integers(1, 7)


def all_close(actual, expected):
    return all(close(a, b, 1e-12) for a, b in zip(actual, expected, strict=True))


def to_12_digits(expected):
    return pytest.approx(expected, rel=5e-12, abs=0)


# 000: one sample, a column


def by_hand(sizes, seed, kind=nielsen.Network):
    np.random.seed(seed)
    return kind(sizes)


@given(sizes=layer_sizes, samples=batches, seed=seeds)
def test_000_backprop(sizes, samples, seed):
    hand, net = by_hand(sizes, seed), classic_000_backprop.Network(sizes)
    net.biases = [bp.Tensor(b, requires_grad=True) for b in hand.biases]
    net.weights = [bp.Tensor(w, requires_grad=True) for w in hand.weights]
    x, y = np.random.randn(sizes[0], samples), np.random.rand(sizes[-1], samples)
    assert close(net.feedforward(x).detach(), hand.feedforward(x), 1e-12)
    assert close(net.cost(x, y).item(), hand.cost(x, y), 1e-12)
    for actual, expected in zip(net.backprop(x, y), hand.backprop(x, y)):
        assert all_close(actual, expected)


@pytest.mark.parametrize(
    ("w", "b", "steps", "output"),
    [(0.6, 0.9, 0, 0.817574), (0.6, 0.9, 300, 0.093956)]
    + [(2.0, 2.0, 0, 0.982014), (2.0, 2.0, 150, 0.933417), (2.0, 2.0, 300, 0.202848)],
)
def test_000_one_neuron(w, b, steps, output):
    assert round(classic_000_backprop.learn(w, b, steps), 6) == output


# 001: a mini-batch of rows


class CrossEntropyNetwork(classic_001_network.Network):
    """The example's net with the book's second cost, computed from the numbers before the last sigmoid."""

    def cost(self, x, y):
        for b, w in zip(self.biases[:-1], self.weights[:-1]):
            x = F.sigmoid(F.linear(x, w, b))
        z = F.linear(x, self.weights[-1], self.biases[-1])
        return F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(y)


def rows(hand, kind):
    """The same net with its samples in rows."""
    net = kind(hand.sizes)
    net.biases = [nn.Parameter(b[:, 0]) for b in hand.biases]
    net.weights = [nn.Parameter(w) for w in hand.weights]
    return net


KINDS = [(nielsen.Network, classic_001_network.Network), (nielsen.CrossEntropyNetwork, CrossEntropyNetwork)]


@given(kinds=st.sampled_from(KINDS), sizes=layer_sizes, samples=batches, seed=seeds)
def test_001_backprop_of_a_mini_batch(kinds, sizes, samples, seed):
    hand = by_hand(sizes, seed, kinds[0])
    net = rows(hand, kinds[1])
    x, y = np.random.randn(samples, sizes[0]), np.random.rand(samples, sizes[-1])
    assert close(net.feedforward(x).detach().T, hand.feedforward(x.T), 1e-12)
    assert close(net.cost(x, y).item(), hand.cost(x.T, y.T) / samples, 1e-12)
    nabla_b, nabla_w = hand.backprop(x.T, y.T)
    actual_b, actual_w = net.backprop(x, y)
    assert all_close(actual_b, [nb[:, 0] / samples for nb in nabla_b])
    assert all_close(actual_w, [nw / samples for nw in nabla_w])


def test_001_a_step_of_sgd():
    hand = by_hand([4, 3, 2], 0)
    net = rows(hand, classic_001_network.Network)
    x, y = np.random.randn(5, 4), np.random.rand(5, 2)
    net.SGD((x, y), 1, 5, 3.0, test_data=(x, y.argmax(axis=1)))
    hand.update_mini_batch([(x[[k]].T, y[[k]].T) for k in range(5)], 3.0)
    assert all_close([b.detach() for b in net.biases], [b[:, 0] for b in hand.biases])
    assert all_close([w.detach() for w in net.weights], hand.weights)


def test_001_overfitting_replayed(data_file):
    """Nielsen's published curves of 400 epochs, 40,000 steps: costs within 1e-9, every count of right answers."""
    published = np.array(json.loads(data_file("nielsen/overfitting.json").read_text()))
    (x, labels), _, (x_test, labels_test) = mnist(data_file("mnist.pkl.gz").parent)
    x, labels, x_test = x[:1000].astype(float), labels[:1000], x_test.astype(float)
    y, y_test = np.eye(10)[labels], np.eye(10)[labels_test]
    hand = by_hand([784, 30, 10], 12345678, nielsen.CrossEntropyNetwork)
    hand.large_weight_initializer()
    net = rows(hand, CrossEntropyNetwork)
    optimizer = optim.SGD(net.biases + net.weights, lr=0.5)
    random.seed(12345678)
    order = list(range(1000))
    curves = []
    for _ in range(400):
        nielsen.shuffle(order)
        for k in range(0, 1000, 10):
            net.backprop(x[order[k : k + 10]], y[order[k : k + 10]])
            optimizer.step()
        with bp.no_grad():
            curves.append((net.cost(x_test, y_test).item(), net.cost(x, y).item()))
        curves[-1] += (net.evaluate((x_test, labels_test)), net.evaluate((x, labels)))
    test_cost, cost, test_right, right = np.transpose(curves)
    assert np.array_equal(right, published[3])
    assert np.array_equal(test_right, published[1])
    assert np.max(np.abs(cost / published[2] - 1)) < 1e-9
    assert np.max(np.abs(test_cost / published[0] - 1)) < 1e-9
    assert (cost[-1], right[-1]) == (pytest.approx(0.0042016444290295845, rel=1e-12), 1000)
