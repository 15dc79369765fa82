"""The classics' own backpropagation checked as it stands; the gradients the documents print wrong, found and named.

Nothing here is rewritten for the checker: a function of arrays goes through `check_backprop`, a net that keeps its
parameters in itself through `check_loss`, in one line each. The misprints are told by their lines, as on the pages in
docs/classics.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.reference import coursera, mazur, neuron, nielsen

RNG = np.random.default_rng(0)
MAZUR = np.array(mazur.WEIGHT), np.array(mazur.BIAS)


# ---- as they stand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nielsen.Network, nielsen.CrossEntropyNetwork])
@pytest.mark.parametrize("sizes", [[3, 4, 2], [5, 1], [2, 3, 3, 2]])
@pytest.mark.parametrize("samples", [1, 6])
def test_000_and_001_backprop_of_a_network(kind, sizes, samples):
    np.random.seed(0)
    net = kind(sizes)
    x, y = RNG.standard_normal((sizes[0], samples)), RNG.random((sizes[-1], samples))
    before = [p.copy() for p in net.biases + net.weights]
    report = bp.check_loss(lambda: net.cost(x, y), [net.biases, net.weights], net.backprop(x, y))
    assert report.status == "PASS", report
    assert sum(block.size for block in report.blocks.values()) == sum(p.size for p in before)
    assert all(map(np.array_equal, net.biases + net.weights, before))


def test_000_the_net_of_the_book_in_fast_mode():
    np.random.seed(0)
    net = nielsen.Network([784, 30, 10])
    x, y = RNG.random((784, 1)), nielsen.vectorized_result(3)
    nabla_b, nabla_w = net.backprop(x, y)
    report = bp.check_loss(lambda: net.cost(x, y), [net.biases, net.weights], (nabla_b, nabla_w))
    assert report.status == "PASS", report
    assert report.mode == "fast"
    row, column = np.unravel_index(np.abs(nabla_w[0]).argmax(), nabla_w[0].shape)  # most others are saturated
    nabla_w[0][row, column] *= 1.0001
    report = bp.check_loss(lambda: net.cost(x, y), [net.biases, net.weights], (nabla_b, nabla_w))
    assert report.status == "FAIL"
    assert report.worst(1)[0].where == f"dy/dparams[1][0][{row}, {column}]"


def test_002_backward():
    report = bp.check_backprop(of_error(mazur.forward), of_backward(mazur.backward), *MAZUR, loss=True)
    assert report.status == "PASS", report


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("Lambda", [0.0, 3.0])
def test_003_nn_cost_function(Lambda, order):
    nn_params, *problem = coursera.debug_problem()

    def J(nn_params):
        return coursera.nnCostFunction(nn_params, *problem, Lambda, order)[3]

    def grad(nn_params):
        return np.concatenate([g.ravel(order) for g in coursera.nnCostFunction(nn_params, *problem, Lambda, order)[4:]])

    report = bp.check_backprop(J, grad, nn_params, loss=True)
    assert report.status == "PASS", report
    assert report.blocks["y", "nn_params"].size == 38
    assert bp.check_loss(J, nn_params, grad(nn_params)).status == "PASS"
    other = {"C": "F", "F": "C"}[order]  # unrolled the other way: row by row for column by column
    gradients = coursera.nnCostFunction(nn_params, *problem, Lambda, order)[4:]
    report = bp.check_loss(J, nn_params, np.concatenate([g.ravel(other) for g in gradients]))
    assert report.status == "FAIL"


def test_003_on_handwritten_digits():
    X, y = bp.data.digits()
    problem = (64, 25, 10, X[:50], y[:50] + 1, 1.0)
    nn_params = RNG.uniform(-0.12, 0.12, 25 * 65 + 10 * 26)
    *_, grad1, grad2 = coursera.nnCostFunction(nn_params, *problem)
    grad = np.concatenate([grad1.ravel(), grad2.ravel()])
    report = bp.check_loss(lambda p: coursera.nnCostFunction(p, *problem)[3], nn_params, grad, mode="fast")
    assert report.status == "PASS", report


@pytest.mark.parametrize("sizes", [[3, 1], [2, 4, 4, 3]])
def test_004_the_neuron_and_its_net(sizes):
    W, b = neuron.initialize(sizes, RNG)
    X, Y = RNG.standard_normal((sizes[0], 20)), RNG.random((sizes[-1], 20))
    gradients = neuron.backprop(neuron.forward(X, W, b), Y, W)
    report = bp.check_loss(lambda: neuron.cost(neuron.forward(X, W, b)[-1], Y), (W, b), gradients)
    assert report.status == "PASS", report


# ---- as printed ----------------------------------------------------------------------------------------------------


def of_error(forward):
    """The error of Mazur's net as a function of its weights and biases."""

    def E(weight, bias):
        return mazur.error(forward(weight, bias))

    return E


def of_backward(backward, forward=mazur.forward):
    """Its gradient by both."""

    def gradients(weight, bias):
        return backward(weight, forward(weight, bias))

    return gradients


def wrong_weights(report):
    """The numbers of the weights of Mazur's net whose gradient is wrong, from 1, as the document counts them."""
    assert report.status == "FAIL"
    assert [d.argument for d in report.diagnosis] == ["weight", "bias"]
    assert [d.code for d in report.diagnosis] == ["DELTA", "OTHER"]  # no two biases share what is passed back
    return (1 + np.flatnonzero(report.blocks["y", "weight"].verdict == bp.checking.Verdict.FAIL)).tolist()


def test_002_line_36_the_forward_is_of_another_net():
    """o2 sees h2 twice and h1 never; the printed gradient is that of the net which was meant."""
    forward = mazur.forward_line_36
    report = bp.check_backprop(of_error(forward), of_backward(mazur.backward, forward), *MAZUR, loss=True)
    assert wrong_weights(report) == [1, 2, 3, 4, 7]  # w1, w2 reach E by o1 only, w3, w4 by o2 twice; w7 weighs h2
    worst = {w.index: w for w in report.worst(12) if w.argument == "weight"}
    outh1, outh2 = forward(*MAZUR)[:2]
    assert worst[(6,)].ratio == pytest.approx(outh1 / outh2, rel=1e-9)
    right = of_backward(mazur.backward_of_line_36, forward)
    assert bp.check_backprop(of_error(forward), right, *MAZUR, loss=True).status == "PASS"


def test_002_line_63_the_weight_of_another_path():
    """w5 stands where w7 belongs, in what o2 passes back to h1: w1 and w2 are 10.48 % too large."""
    report = bp.check_backprop(of_error(mazur.forward), of_backward(mazur.backward_line_63), *MAZUR, loss=True)
    assert wrong_weights(report) == [1, 2]
    for worst in report.worst(3):
        assert worst.argument in ("weight", "bias")
        assert worst.ratio == pytest.approx(1.10481, rel=1e-5)
    assert report.worst(3)[2].index == (0,)


def test_002_as_printed():
    """Both at once: the loop of the document."""
    forward = mazur.forward_line_36
    report = bp.check_backprop(of_error(forward), of_backward(mazur.backward_line_63, forward), *MAZUR, loss=True)
    assert wrong_weights(report) == [1, 2, 3, 4, 7]


def test_002_the_text_it_goes_back_to():
    """The output weights are updated before the hidden errors are computed from them."""
    report = bp.check_backprop(of_error(mazur.forward), of_backward(mazur.backward_sequential), *MAZUR, loss=True)
    assert wrong_weights(report) == [1, 2, 3, 4]


def test_004_line_28_the_sign():
    """-(y/a + (y - 1)/(1 - a)) a (a - 1) x^T is (y - a) x^T, the opposite of the gradient."""
    x, y = RNG.standard_normal((3, 1)), 1.0

    def J(w, b):
        (a,) = neuron.sigmoid(w @ x + b).ravel()
        return -(y * np.log(a) + (1 - y) * np.log(1 - a))

    def printed(w, b, slope):
        a = neuron.sigmoid(w @ x + b)
        delta = -(y / a + (y - 1) / (1 - a)) * slope(a)
        return delta @ x.T, delta

    w, b = RNG.standard_normal((1, 3)), RNG.standard_normal((1, 1))
    report = bp.check_backprop(J, lambda w, b: printed(w, b, lambda a: a * (a - 1)), w, b, loss=True)
    assert report.status == "FAIL"
    assert [(d.code, d.argument) for d in report.diagnosis] == [("SIGN", "w"), ("SIGN", "b")]
    mended = bp.check_backprop(J, lambda w, b: printed(w, b, lambda a: a * (1 - a)), w, b, loss=True)
    assert mended.status == "PASS", mended


def test_001_lines_277_and_278_divided_by_m_twice():
    """C is a mean over the m samples already: its gradient over m is m times too small."""
    m = 7
    np.random.seed(0)
    net = nielsen.Network([3, 4, 2])
    x, y = RNG.standard_normal((3, m)), RNG.random((2, m))
    mean = [[g / m for g in layers] for layers in net.backprop(x, y)]
    printed = [[g / m for g in layers] for layers in mean]
    params = [net.biases, net.weights]
    assert bp.check_loss(lambda: net.cost(x, y) / m, params, mean).status == "PASS"
    report = bp.check_loss(lambda: net.cost(x, y) / m, params, printed)
    assert report.status == "FAIL"
    assert {d.code for d in report.diagnosis} == {"FACTOR"}
    assert {d.hint for d in report.diagnosis} == {"multiply by 7"}


def test_001_lines_277_and_278_where_the_samples_are_an_argument():
    """The checker then sees an axis of that size, and names it."""
    m = 7
    x, labels = RNG.standard_normal((3, m)), RNG.integers(0, 2, m)

    def C(w, b, labels):
        a = nielsen.sigmoid(w @ x + b)
        return 0.5 * np.sum((a - np.eye(2)[:, labels]) ** 2) / m

    def printed(w, b, labels):
        z = w @ x + b
        delta = (nielsen.sigmoid(z) - np.eye(2)[:, labels]) * nielsen.sigmoid_prime(z) / m
        return delta @ x.T / m, delta.sum(axis=1, keepdims=True) / m

    w, b = RNG.standard_normal((2, 3)), RNG.standard_normal((2, 1))
    report = bp.check_backprop(C, printed, w, b, labels, loss=True)
    assert report.status == "FAIL"
    assert [(d.code, d.argument) for d in report.diagnosis] == [("MEAN", "w"), ("MEAN", "b")]
    assert "too small by 7, the size of axis 0 of labels" in report.diagnosis[0].text
