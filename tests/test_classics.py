"""The library computes what hand-written backpropagation computes: the five classics, through the examples.

Every gradient is compared with `tests/reference` on random nets and batches, and the published numbers are reproduced
by the library. Costs and gradients must agree to 1e-12 relative, numbers to 12 digits.
"""

from __future__ import annotations

import ast
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
    [
        (0.6, 0.9, 0, 0.817574),
        (0.6, 0.9, 300, 0.093956),
        (2.0, 2.0, 0, 0.982014),
        (2.0, 2.0, 150, 0.933417),
        (2.0, 2.0, 300, 0.202848),
    ],
)
def test_000_one_neuron(w, b, steps, output):
    assert round(classic_000_backprop.learn(w, b, steps), 6) == output


# 001: a mini-batch of rows


class CrossEntropyNetwork(classic_001_network.Network):
    """The example's net with the book's second cost, computed from the numbers before the last sigmoid."""

    def logits(self, a):
        for b, w in zip(self.biases[:-1], self.weights[:-1]):
            a = F.sigmoid(F.linear(a, w, b))
        return F.linear(a, self.weights[-1], self.biases[-1])

    def cost(self, x, y):
        return cross_entropy(self.logits(x), y)


def cross_entropy(z, y):
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
    """Nielsen's published curves of 400 epochs, 40,000 steps, seen after every fourth: costs within 1e-9, counts."""
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
    for epoch in range(400):
        nielsen.shuffle(order)
        for k in range(0, 1000, 10):
            net.backprop(x[order[k : k + 10]], y[order[k : k + 10]])
            optimizer.step()
        if epoch % 4 < 3:
            continue
        with bp.no_grad():
            z, z_test = net.logits(x), net.logits(x_test)
        right = [np.sum(a.data.argmax(axis=1) == b) for a, b in ((z_test, labels_test), (z, labels))]
        curves.append((cross_entropy(z_test, y_test).item(), right[0], cross_entropy(z, y).item(), right[1]))
    test_cost, test_right, cost, right = np.transpose(curves)
    published = published[:, 3::4]
    assert np.array_equal(right, published[3])
    assert np.array_equal(test_right, published[1])
    assert np.max(np.abs(cost / published[2] - 1)) < 1e-9
    assert np.max(np.abs(test_cost / published[0] - 1)) < 1e-9
    assert (cost[-1], right[-1]) == (pytest.approx(0.0042016444290295845, rel=1e-12), 1000)


def test_001_network_py_on_mnist(data_folder, tmp_path):
    """784-30-10, quadratic cost, eta 3, batches of 10, 30 epochs: at best 95.2 % or more (published: 95.42 %)."""
    right = classic_001_network.main(file=tmp_path / "pictures.png")
    assert len(right) == 30
    assert max(right) >= 9520
    assert (tmp_path / "pictures.png").stat().st_size > 10_000


# 002: 2-2-2


@given(
    weight=st.lists(st.floats(-2, 2), min_size=8, max_size=8), bias=st.lists(st.floats(-2, 2), min_size=4, max_size=4)
)
def test_002_every_partial_derivative(weight, bias):
    out = mazur.forward(weight, bias)
    w = [bp.Tensor(np.reshape(half, (2, 2)), requires_grad=True) for half in (weight[:4], weight[4:])]
    b = [bp.Tensor(half, requires_grad=True) for half in (bias[:2], bias[2:])]
    E = F.quadratic_loss(classic_002_mazur.forward(w, b), classic_002_mazur.target)
    E.backward()
    gradient, deltas = mazur.backward(weight, out)
    assert close(E.item(), mazur.error(out), 1e-12)
    assert close(np.concatenate([x.grad.numpy().ravel() for x in w]), gradient, 1e-12)
    assert close(np.concatenate([x.grad.numpy() for x in b]), deltas, 1e-12)


def test_002_errors_and_weights():
    weight, errors = classic_002_mazur.train(10000)
    assert errors[0] == to_12_digits(0.298371108760003)
    assert errors[1] == to_12_digits(0.291027773693599)
    assert errors[9999] == to_12_digits(3.51085481225126e-05)
    assert errors[10000] == to_12_digits(3.51018778297886e-05)
    assert classic_002_mazur.forward(weight).tolist() == [to_12_digits([0.0159136204435507, 0.984064273514624])]
    expected = mazur.train(10000)[0]
    assert np.concatenate([w.detach().numpy().ravel() for w in weight]) == to_12_digits(expected)


def forward_line_36(weight):
    """The document's line 36: o2 sees h2 twice and h1 never."""
    outh = F.sigmoid(F.linear(classic_002_mazur.i, weight[0], classic_002_mazur.bias[0]))
    seen = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])  # which h each weight of o1 and of o2 meets
    neto = (weight[1] * (seen @ outh.reshape(2))).sum(axis=1) + classic_002_mazur.bias[1]
    return F.sigmoid(neto.reshape(1, 2))


def test_002_line_36_has_its_own_gradient():
    """Autograd differentiates the forward pass that was written, misprint and all."""
    _, errors = classic_002_mazur.train(10000, forward_line_36)
    assert errors[0] == to_12_digits(0.298302342104489)
    assert errors[1] == to_12_digits(0.290958238480991)
    assert errors[10000] == to_12_digits(3.42084571574e-05)


VARIANTS = {  # of the gradients: E after 1 and after 10000 steps
    "sequential": (mazur.forward, mazur.backward_sequential, 0.291027923905442, 3.50847862963e-05),
    "as printed": (mazur.forward_line_36, mazur.backward_line_63, 0.290959927847244, 3.63798879571e-05),
    "line 36": (mazur.forward_line_36, mazur.backward, 0.290959997402024, 3.50188287367e-05),
    "line 63": (mazur.forward, mazur.backward_line_63, 0.291027730486242, 3.72321226999e-05),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_002_misprinted_gradients_are_stepped_along(name):
    """The optimizer takes the gradients it is given: hand it the misprinted ones, and it lands on the misprints."""
    forward, backward, *expected = VARIANTS[name]
    weight = nn.Parameter(mazur.WEIGHT)
    optimizer = optim.SGD([weight], lr=mazur.alpha)
    errors = []
    for step in range(10000):
        out = forward(tuple(weight.data), mazur.BIAS)
        if step == 1:
            errors.append(mazur.error(out))
        weight.grad = bp.Tensor(backward(tuple(weight.data), out)[0])
        optimizer.step()
    errors.append(mazur.error(forward(tuple(weight.data), mazur.BIAS)))
    assert errors == to_12_digits(expected)


BIASES = {"a bias for each neuron": (2, 0.28047144679143, 2.44756223593e-06)}
BIASES["a bias for each layer"] = (1, 0.285750886699296, 4.35532106616e-06)


@pytest.mark.parametrize("name", BIASES)
def test_002_learned_biases(name):
    n, *expected = BIASES[name]
    w = [nn.Parameter(np.reshape(half, (2, 2))) for half in (mazur.WEIGHT[:4], mazur.WEIGHT[4:])]
    b = [nn.Parameter(np.full(n, value)) for value in (0.35, 0.60)]
    optimizer = optim.SGD(w + b, lr=0.5)
    errors = []
    for _ in range(10001):
        E = F.quadratic_loss(classic_002_mazur.forward(w, [c + np.zeros(2) for c in b]), classic_002_mazur.target)
        errors.append(E.item())
        optimizer.zero_grad()
        E.backward()
        optimizer.step()
    assert [errors[1], errors[10000]] == to_12_digits(expected)


def test_002_derivatives():
    x = np.array([-2.0, -0.0, 0.0, 3.0])
    assert close(classic_002_mazur.sigmoid_derivative(x), mazur.sigmoid_derivative(x), 1e-12)
    assert close(classic_002_mazur.relu_derivative(x), mazur.relu_derivative(x), 0)


# 003: Coursera's exercise 4


@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4)),
    samples=batches,
    Lambda=st.floats(0, 10),
    order=st.sampled_from("CF"),
    seed=seeds,
)
def test_003_cost_and_gradients(sizes, samples, Lambda, order, seed):
    rng = np.random.default_rng(seed)
    inputs, hidden, labels = sizes
    nn_params = rng.standard_normal(hidden * (inputs + 1) + labels * (hidden + 1))
    X, y = rng.standard_normal((samples, inputs)), rng.integers(1, labels + 1, samples)
    problem = (nn_params, inputs, hidden, labels, X, y, Lambda, order)
    assert all_close(classic_003_ex4.nnCostFunction(*problem), coursera.nnCostFunction(*problem))


@pytest.mark.parametrize(("Lambda", "J"), [(0, 2.100950569902465), (3, 2.146359815024358)])
def test_003_check_nn_gradients(Lambda, J):
    actual, difference = classic_003_ex4.checkNNGradients(Lambda)
    assert actual == to_12_digits(J)
    assert difference < 1e-9


@pytest.mark.parametrize(
    ("Lambda", "J", "total"),
    [
        (0, 0.287629165161319, 0.026047433852895),
        (1, 0.383769859090924, 0.009955936585682),
        (3, 0.576051246950133, -0.022227057948744),
    ],
)
def test_003_ex4(data_file, Lambda, J, total):
    data, weights = (scipy.io.loadmat(data_file(name)) for name in ("ex4data1.mat", "ex4weights.mat"))
    nn_params = np.concatenate([weights["Theta1"].ravel(), weights["Theta2"].ravel()])
    problem = (nn_params, 400, 25, 10, data["X"], data["y"], Lambda)
    actual = classic_003_ex4.nnCostFunction(*problem)
    assert actual[3] == to_12_digits(J)
    assert actual[4].sum() + actual[5].sum() == pytest.approx(total, rel=0, abs=1e-14)
    assert all_close(actual, coursera.nnCostFunction(*problem))


# 004: the neuron and the 2-4-4-3 net


@given(sizes=st.sampled_from([[3, 1], [2, 4, 4, 3]]) | layer_sizes, samples=batches, seed=seeds)
def test_004_columns_and_rows(sizes, samples, seed):
    """By hand with samples as columns; by the library as columns, and transposed, as rows of `linear`."""
    rng = np.random.default_rng(seed)
    W, b = neuron.initialize(sizes, rng)
    b = [rng.standard_normal(v.shape) for v in b]
    X, Y = rng.standard_normal((sizes[0], samples)), rng.random((sizes[-1], samples))
    A = neuron.forward(X, W, b)
    dW, db = neuron.backprop(A, Y, W)

    W_columns, b_columns = [nn.Parameter(w) for w in W], [nn.Parameter(v) for v in b]
    z = classic_004_neuron.forward(X, W_columns, b_columns)
    assert close(F.sigmoid(z).detach(), A[-1], 1e-12)
    assert close(classic_004_neuron.cost(z, Y).item(), neuron.cost(A[-1], Y), 1e-12)
    for actual, expected in zip(classic_004_neuron.backprop(X, Y, W_columns, b_columns), (dW, db)):
        assert all_close(actual, expected)

    net = CrossEntropyNetwork(sizes)
    net.weights, net.biases = [nn.Parameter(w) for w in W], [nn.Parameter(v[:, 0]) for v in b]
    assert close(net.logits(X.T).detach().T, z.detach(), 1e-12)
    db_rows, dW_rows = net.backprop(X.T, Y.T)
    assert all_close(dW_rows, dW)
    assert all_close([v.numpy()[:, np.newaxis] for v in db_rows], db)


# Second derivatives


@pytest.mark.parametrize("kinds", KINDS, ids=["quadratic", "cross-entropy"])
def test_hessian_is_the_difference_of_hand_written_gradients(kinds):
    sizes, samples, step = [2, 3, 2], 4, 1e-5
    hand = by_hand(sizes, 0, kinds[0])
    x, y = np.random.randn(2, samples), np.random.rand(2, samples)
    shapes = [b.shape for b in hand.biases] + [w.shape for w in hand.weights]
    cuts = np.cumsum([np.prod(shape) for shape in shapes])
    theta = np.concatenate([p.ravel() for p in hand.biases + hand.weights])

    def parts(theta):
        starts = [0, *cuts[:-1]]
        return [theta[a:b].reshape(shape) for a, b, shape in zip(starts, cuts, shapes, strict=True)]

    def hand_gradient(theta):
        hand.biases, hand.weights = parts(theta)[:2], parts(theta)[2:]
        nabla_b, nabla_w = hand.backprop(x, y)
        return np.concatenate([g.ravel() for g in nabla_b + nabla_w]) / samples

    def cost(theta):
        net = kinds[1](sizes)
        net.biases, net.weights = [b.reshape(-1) for b in parts(theta)[:2]], parts(theta)[2:]
        return net.cost(x.T, y.T)

    numeric = [(hand_gradient(theta + e) - hand_gradient(theta - e)) / (2 * step) for e in step * np.eye(theta.size)]
    hessian = bp.hessian(cost)(theta)
    assert close(bp.grad(cost)(theta), hand_gradient(theta), 1e-12)
    assert close(hessian, numeric, 1e-9)
    assert close(hessian, hessian.T, 1e-14)


# The pages quote the table


def table():
    """The source of every row, by its name."""
    rows = {}
    for path in (ROOT / "tinygrad_bp/ops").glob("*.py"):
        text = path.read_text("ascii")
        for statement in ast.parse(text).body:
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                name = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
                rows[ast.unparse(name)] = ast.get_source_segment(text, statement)
    return rows


@pytest.mark.parametrize("page", sorted((ROOT / "docs/classics").glob("0*.md")), ids=lambda path: path.name)
def test_a_page_quotes_rows_as_they_are(page):
    """Where a page says `code` of `row`, the code stands in the statement that defines the row."""
    quotes = re.findall(r"`([^`]+)` of `(\w+)`", page.read_text("utf-8"))
    assert len(quotes) >= 4
    for code, row in quotes:
        assert code in table()[row]
