"""The hand-written classics reproduce the published numbers, and the documents' mistakes are mistakes.

Sections follow the documents: 000 and 001 (Nielsen), 002 (Mazur), 003 (Coursera), 004 (neuron). A formula as printed
is tried against finite differences next to its mended form. Numbers that need a
data file find it through `data_file`.
"""

from __future__ import annotations

import json
import pickle
import random

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from tests.reference import coursera, mazur, mnist_loader, neuron, nielsen


def agree(actual, expected, tolerance):
    """max|a - b| <= tolerance * max(1, max|b|)."""
    expected = np.asarray(expected, dtype=float)
    assert np.shape(actual) == expected.shape
    return np.max(np.abs(actual - expected)) <= tolerance * max(1.0, np.max(np.abs(expected)))


def differences(function, x, step=1e-5):
    """The gradient of a scalar function of an array, by central differences."""
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[i] += step
        behind[i] -= step
        gradient[i] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


def to_12_digits(expected):
    return pytest.approx(expected, rel=5e-12, abs=0)


# 000 and 001: Nielsen


def a_network(sizes, seed, kind=nielsen.Network):
    np.random.seed(seed)
    return kind(sizes)


def numeric_backprop(net, x, y):
    """What net.backprop(x, y) should return, by differences of the cost."""

    def gradients(parameters):
        result = []
        for k, parameter in enumerate(parameters):

            def cost(value, k=k, parameter=parameter):
                parameters[k] = value
                result = net.cost(x, y)
                parameters[k] = parameter
                return result

            result.append(differences(cost, parameter))
        return result

    return gradients(net.biases), gradients(net.weights)


@given(
    kind=st.sampled_from([nielsen.Network, nielsen.CrossEntropyNetwork]),
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    samples=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_nielsen_backprop_is_the_gradient(kind, sizes, samples, seed):
    net = a_network(sizes, seed, kind)
    x, y = np.random.randn(sizes[0], samples), np.random.rand(sizes[-1], samples)
    for actual, expected in zip(net.backprop(x, y), numeric_backprop(net, x, y)):
        for a, b in zip(actual, expected, strict=True):
            assert agree(a, b, 1e-8)


def test_nielsen_backprop_of_columns_is_the_sum_over_samples():
    net = a_network([3, 4, 2], 0)
    x, y = np.random.randn(3, 5), np.random.rand(2, 5)
    one_by_one = [net.backprop(x[:, [k]], y[:, [k]]) for k in range(5)]
    for which, together in enumerate(net.backprop(x, y)):
        for k, gradient in enumerate(together):
            assert agree(gradient, sum(sample[which][k] for sample in one_by_one), 1e-15)


def test_nielsen_cross_entropy_cancels_sigmoid_prime():
    net = a_network([3, 2], 0, nielsen.CrossEntropyNetwork)
    z, y = np.random.randn(2, 1), np.array([[0.0], [1.0]])
    a = nielsen.sigmoid(z)
    assert agree(net.cost_derivative(a, y) * nielsen.sigmoid_prime(z), net.output_error(z, a, y), 1e-15)


@pytest.mark.parametrize(
    ("start", "first", "halfway", "last"),
    [((0.6, 0.9), 0.817574, None, 0.093956), ((2.0, 2.0), 0.982014, 0.933417, 0.202848)],
)
def test_nielsen_one_neuron(start, first, halfway, last):
    net = nielsen.Network([1, 1])
    net.weights, net.biases = [np.array([[start[0]]])], [np.array([[start[1]]])]
    x, y = np.array([[1.0]]), np.array([[0.0]])
    outputs = [net.feedforward(x).item()]
    for _ in range(300):
        net.update_mini_batch([(x, y)], 0.15)
        outputs.append(net.feedforward(x).item())
    assert round(outputs[0], 6) == first
    assert halfway is None or round(outputs[150], 6) == halfway
    assert round(outputs[300], 6) == last


def test_nielsen_sgd_prints_what_evaluate_counts(capsys):
    net = a_network([2, 3, 2], 0)
    random.seed(0)
    targets = np.array([[[1.0], [0.0]], [[0.0], [1.0]]])
    x = np.random.randn(40, 2, 1)
    labels = (x[:, 0, 0] > 0).astype(int)
    test_data = list(zip(x, labels))
    net.SGD(zip(x, targets[labels]), 20, 5, 3.0, zip(x, labels))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[-1] == f"Epoch 19: {net.evaluate(test_data)} / 40"
    assert net.evaluate(test_data) >= 38
    net.SGD(zip(x, targets[labels]), 1, 5, 3.0)
    assert capsys.readouterr().out == "Epoch 0 completed.\n"


class Monitored(nielsen.CrossEntropyNetwork):
    """Keeps what the book's monitors record after each epoch, in the order of its files."""

    def watch(self, training_data, test_data):
        self.curves = []
        self.sets = [(test_data, columns(test_data)), (training_data, columns(training_data))]

    def evaluate(self, test_data):
        epoch = []
        for labelled, (x, y) in self.sets:
            epoch += [self.cost(x, y) / len(labelled), super().evaluate(labelled)]
        self.curves.append(epoch)
        return epoch[1]


def columns(labelled):
    return np.hstack([x for x, _ in labelled]), np.hstack([nielsen.vectorized_result(y) for _, y in labelled])


def test_nielsen_overfitting_first_epochs(data_file):
    """The first epochs of the published overfitting.json; test_classics replays all 400 through the library."""
    published = np.array(json.loads(data_file("nielsen/overfitting.json").read_text()))
    training_data, _, test_data = mnist_loader.load_data_wrapper(data_file("mnist.pkl.gz"))
    random.seed(12345678)
    np.random.seed(12345678)
    net = Monitored([784, 30, 10])
    net.large_weight_initializer()
    net.watch([(x, np.argmax(y)) for x, y in training_data[:1000]], test_data)
    net.SGD(training_data[:1000], 3, 10, 0.5, test_data)
    assert net.curves[0][1::2] == [5887, 690]
    assert net.curves[0][::2] == pytest.approx([2.076277232332908, 1.8433647860328504], rel=1e-13, abs=0)
    assert net.curves == [pytest.approx(epoch, rel=1e-13, abs=0) for epoch in published[:, :3].T]


def test_nielsen_network_py_first_epoch(data_file, capsys):
    """784-30-10, quadratic, eta 3, batches of 10, seed 0: about 73 % right after one epoch (rounding decides the rest).

    001, line 378, leaves the sigmoid in a comment: the linear net that its `evaluate` scores is far worse.
    """
    training_data, _, test_data = mnist_loader.load_data_wrapper(data_file("mnist.pkl.gz"))
    random.seed(0)
    net = a_network([784, 30, 10], 0)
    net.SGD(training_data, 1, 10, 3.0, test_data)
    right = net.evaluate(test_data)
    assert capsys.readouterr().out == f"Epoch 0: {right} / 10000\n"
    assert 7200 < right < 7500
    net.feedforward = lambda a: feedforward_line_378(net, a)
    assert 4000 < net.evaluate(test_data) < 6006


def feedforward_line_378(net, a):
    """001, lines 377-379 as printed: `a = np.dot(w, a) + b # z = w x + b a = sigmoid(a)`."""
    for b, w in zip(net.biases, net.weights):
        a = np.dot(w, a) + b
    return a


def test_nielsen_line_188_adds_the_list_of_biases():
    net = a_network([2, 3, 1], 0)
    a = np.ones((2, 1))
    with pytest.raises(ValueError, match="inhomogeneous"):
        np.dot(net.weights[0], a) + net.biases
    net = a_network([2, 2, 2], 0)
    assert (np.dot(net.weights[0], a) + net.biases).shape == (2, 2, 1)


def test_nielsen_line_265_output_error_is_not_propagated_from_a_later_layer():
    """delta = dC/da * sigma'(z) at the output; (W^T delta) * sigma'(z) is the error of the layer before."""
    net = a_network([2, 2, 2], 0)
    x, y = np.random.randn(2, 1), np.random.rand(2, 1)
    hidden, output = numeric_backprop(net, x, y)[0]
    hidden_z = np.dot(net.weights[0], x) + net.biases[0]
    output_z = np.dot(net.weights[1], nielsen.sigmoid(hidden_z)) + net.biases[1]
    mended = net.cost_derivative(nielsen.sigmoid(output_z), y) * nielsen.sigmoid_prime(output_z)
    propagated = np.dot(net.weights[1].T, mended)
    assert agree(mended, output, 1e-9)
    assert not agree(propagated * nielsen.sigmoid_prime(output_z), output, 1e-2)
    assert agree(propagated * nielsen.sigmoid_prime(hidden_z), hidden, 1e-9)


def test_nielsen_line_345_random_shuffle_loses_rows_of_a_2d_array():
    rows = np.arange(12).reshape(6, 2)
    random.seed(0)
    random.shuffle(rows)
    assert len(np.unique(rows, axis=0)) < 6
    flat = np.arange(6)
    random.shuffle(flat)
    assert sorted(flat) == [0, 1, 2, 3, 4, 5]


def test_nielsen_line_60_exp_overflows_with_a_warning():
    with pytest.warns(RuntimeWarning, match="overflow encountered in exp"):
        assert 1.0 / (1.0 + np.exp(-np.float64(-710.0))) == 0.0
    assert nielsen.sigmoid(np.array([-710.0, -800.0, 800.0])).tolist() == [np.exp(-710.0), 0.0, 1.0]


def test_nielsen_line_290_a_zip_is_true_and_spent_after_one_reading():
    test_data = zip([1, 2], [3, 4])
    assert bool(test_data) and len(list(test_data)) == 2
    assert bool(test_data) and len(list(test_data)) == 0


def test_nielsen_line_127_randn_is_not_between_0_and_1():
    biases = a_network([1, 1000], 0).biases[0]
    assert biases.min() < -2 and biases.max() > 2
    assert abs(biases.mean()) < 0.1 and abs(biases.std() - 1) < 0.1


# 002: Mazur

W_AFTER_1 = (
    *(0.1497807161328, 0.1995614322655, 0.2497511436324, 0.2995022872647),
    *(0.3589164797179, 0.4086661860762, 0.5113012702387, 0.5613701211080),
)
W_AFTER_10000 = (
    *(0.3785099883501, 0.6570199767003, 0.4773007056848, 0.7546014113696),
    *(-3.892977198866, -3.868416687704, 2.861810948620, 2.925688966772),
)
BLOG_W_AFTER_1 = (
    *(0.149780716, 0.19956143, 0.24975114, 0.29950229),
    *(0.35891648, 0.408666186, 0.511301270, 0.561370121),
)


def test_mazur_first_step():
    weight, out = mazur.train(0)
    assert out == pytest.approx(
        (0.593269992107187, 0.596884378259767, 0.751365069552316, 0.772928465321463), rel=1e-14, abs=0
    )
    assert mazur.error(out) == pytest.approx(0.298371108760003, rel=1e-14, abs=0)
    expected = (4.38567734474e-4, 8.77135468949e-4, 4.97712735261e-4, 9.95425470522e-4)
    expected += (0.0821670405642, 0.0826676278475, -0.0226025404775, -0.0227402422160)
    assert mazur.backward(weight, out)[0] == to_12_digits(expected)
    weight, out = mazur.train(1)
    assert weight == to_12_digits(W_AFTER_1)
    assert weight == pytest.approx(BLOG_W_AFTER_1, abs=1e-8)
    assert mazur.error(out) == pytest.approx(0.291027773693599, rel=1e-14, abs=0)


def test_mazur_after_10000_steps():
    weight, out = mazur.train(10000)
    assert weight == to_12_digits(W_AFTER_10000)
    assert out[2:] == to_12_digits((0.0159136204435507, 0.984064273514624))
    assert mazur.error(out) == to_12_digits(3.51018778297886e-05)
    assert mazur.error(mazur.train(9999)[1]) == to_12_digits(3.51085481225126e-05)


VARIANTS = {
    "sequential": ({"backward": mazur.backward_sequential}, 0.298371108760003, 0.291027923905442, 3.50847862963e-05),
    "bias per neuron": ({"biases": mazur.per_neuron}, 0.298371108760003, 0.28047144679143, 2.44756223593e-06),
    "bias per layer": ({"biases": mazur.per_layer}, 0.298371108760003, 0.285750886699296, 4.35532106616e-06),
    "as printed (lines 36 and 63)": (
        {"forward": mazur.forward_line_36, "backward": mazur.backward_line_63},
        0.298302342104489,
        0.290959927847244,
        3.63798879571e-05,
    ),
    "line 36": ({"forward": mazur.forward_line_36}, 0.298302342104489, 0.290959997402024, 3.50188287367e-05),
    "line 63": ({"backward": mazur.backward_line_63}, 0.298371108760003, 0.291027730486242, 3.72321226999e-05),
    "line 36 with its own gradient": (
        {"forward": mazur.forward_line_36, "backward": mazur.backward_of_line_36},
        0.298302342104489,
        0.290958238480991,
        3.42084571574e-05,
    ),
}
OUTPUTS = {  # after 9999 steps, which is what the document prints last, and after 10000
    "sequential": (None, (0.0159121963260343, 0.984065734485629)),
    "as printed (lines 36 and 63)": (
        (0.0161067142992953, 0.984043365122806),
        (0.0161061418473703, 0.984043926826004),
    ),
    "line 36": ((0.0159150441391365, 0.98407857921712), (0.0159144795171895, 0.984079139461681)),
    "line 63": ((0.0161068479562252, 0.98390208514685), (0.0161062755013953, 0.983902652634061)),
    "line 36 with its own gradient": (
        (0.0159197531273186, 0.984221892401347),
        (0.0159191884451176, 0.984222446671296),
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_mazur_variants(name):
    rules, *errors = VARIANTS[name]
    for steps, expected in zip((0, 1, 10000), errors, strict=True):
        assert mazur.error(mazur.train(steps, **rules)[1]) == to_12_digits(expected)
    for steps, expected in zip((9999, 10000), OUTPUTS.get(name, ())):
        assert expected is None or mazur.train(steps, **rules)[1][2:] == to_12_digits(expected)


def test_mazur_blog_printed_the_sequential_variant():
    _, out = mazur.train(1, backward=mazur.backward_sequential)
    assert round(mazur.error(out), 9) == 0.291027924
    _, out = mazur.train(10000, backward=mazur.backward_sequential)
    assert [round(o, 9) for o in out[2:]] == [0.015912196, 0.984065734]
    assert mazur.error(mazur.train(9999)[1]) == pytest.approx(0.0000351085, abs=5e-11)


def test_mazur_last_line_of_the_document_as_printed():
    """Lines 39-41 print target - out, of the weights before the last update."""
    _, out = mazur.train(9999, forward=mazur.forward_line_36, backward=mazur.backward_line_63)
    printed = [round(target - o, 13) for target, o in zip((mazur.target1, mazur.target2), out[2:])]
    assert printed == [-0.0061067142993, 0.0059566348772]
    assert printed[1] == pytest.approx(0.00595663487719, abs=5e-14)


def numeric_mazur(forward, weight, bias):
    return differences(lambda w: mazur.error(forward(w, bias)), np.array(weight), 1e-4)


@given(
    weight=st.lists(st.floats(-2, 2), min_size=8, max_size=8), bias=st.lists(st.floats(-1, 1), min_size=4, max_size=4)
)
def test_mazur_backward_is_the_gradient(weight, bias):
    for forward, backward in (
        (mazur.forward, mazur.backward),
        (mazur.forward_line_36, mazur.backward_of_line_36),
    ):
        gradient, deltas = backward(weight, forward(weight, bias))
        assert agree(gradient, numeric_mazur(forward, weight, bias), 1e-8)
        numeric = differences(lambda b, forward=forward: mazur.error(forward(weight, b)), np.array(bias), 1e-4)
        assert agree(deltas, numeric, 1e-8)


def test_mazur_line_36_is_not_what_lines_43_to_76_differentiate():
    numeric = numeric_mazur(mazur.forward_line_36, mazur.WEIGHT, mazur.BIAS)
    out = mazur.forward_line_36(mazur.WEIGHT, mazur.BIAS)
    printed = np.array(mazur.backward(mazur.WEIGHT, out)[0])
    assert agree(mazur.backward_of_line_36(mazur.WEIGHT, out)[0], numeric, 1e-10)
    wrong = np.abs(printed / numeric - 1) > 1e-3
    assert wrong.tolist() == [True] * 4 + [False, False, True, False]


def test_mazur_line_63_makes_dw1_and_dw2_10_percent_too_large():
    numeric = numeric_mazur(mazur.forward, mazur.WEIGHT, mazur.BIAS)
    out = mazur.forward(mazur.WEIGHT, mazur.BIAS)
    printed = np.array(mazur.backward_line_63(mazur.WEIGHT, out)[0])
    assert agree(mazur.backward(mazur.WEIGHT, out)[0], numeric, 1e-10)
    assert printed[0] == pytest.approx(4.84533e-4, rel=1e-5)
    assert printed / numeric == pytest.approx([1.105, 1.105, 1, 1, 1, 1, 1, 1], abs=5e-4)


def relu_derivative_line_9(x):
    d = np.array(x, copy=True)
    d[x < 0] = 0
    d[x >= 0] = 1
    return d


def test_mazur_line_9_relu_derivative():
    x = np.array([-2.0, -0.0, 0.0, 3.0, np.nan])
    assert relu_derivative_line_9(x)[:4].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert np.isnan(relu_derivative_line_9(x)[4])
    assert mazur.relu_derivative(x).tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert relu_derivative_line_9(np.array([-1, 2])).dtype.kind == "i"
    assert mazur.relu_derivative(np.array([-1, 2])).dtype == np.float64


def test_mazur_lines_7_and_16_take_different_arguments():
    x = np.array([-1.0, 0.0, 2.0])
    assert agree(mazur.sigmoid_derivative(x), mazur.sigmoidDerivationx(mazur.sigmoid(x)), 0)
    assert agree(mazur.sigmoid_derivative(x), (mazur.sigmoid(x + 1e-6) - mazur.sigmoid(x - 1e-6)) / 2e-6, 1e-9)
    assert not agree(mazur.sigmoidDerivationx(x), mazur.sigmoid_derivative(x), 0.1)


# 003: Coursera


def test_coursera_sigmoid_gradient():
    expected = [0.196611933241482, 0.235003712201594, 0.25, 0.235003712201594, 0.196611933241482]
    assert coursera.sigmoidGradient(np.array([-1, -0.5, 0, 0.5, 1])) == pytest.approx(expected, rel=1e-14, abs=0)


@pytest.mark.parametrize(("Lambda", "J"), [(0, 2.100950569902465), (3, 2.146359815024358)])
def test_coursera_check_nn_gradients(Lambda, J):
    nn_params, *sizes, X, y = coursera.debug_problem()

    def cost(params):
        return coursera.nnCostFunction(params, *sizes, X, y, Lambda, order="F")[3]

    grads = coursera.nnCostFunction(nn_params, *sizes, X, y, Lambda, order="F")[4:]
    grad = np.concatenate([g.ravel(order="F") for g in grads])
    numgrad = coursera.computeNumericalGradient(cost, nn_params)
    assert cost(nn_params) == pytest.approx(J, rel=1e-14, abs=0)
    assert np.linalg.norm(numgrad - grad) / np.linalg.norm(numgrad + grad) < 1e-9
    if Lambda == 0:
        expected = [-9.278252357989e-03, 8.899119595670e-03, -8.360107617465e-03, 7.628135510830e-03]
        assert grad[:5] == to_12_digits([*expected, -6.747983700319e-03])


@pytest.fixture(scope="module")
def ex4(data_file):
    data = scipy.io.loadmat(data_file("ex4data1.mat"))
    weights = scipy.io.loadmat(data_file("ex4weights.mat"))
    return data["X"], data["y"], weights["Theta1"], weights["Theta2"]


def ex4_result(ex4, Lambda, order="C"):
    X, y, Theta1, Theta2 = ex4
    nn_params = np.concatenate([Theta.ravel(order=order) for Theta in (Theta1, Theta2)])
    return coursera.nnCostFunction(nn_params, 400, 25, 10, X, y, Lambda, order)


@pytest.mark.parametrize(
    ("Lambda", "J", "published", "total", "norm"),
    [
        (0, 0.287629165161319, 0.287629, 0.026047433852895, 1.893154747248e-02),
        (1, 0.383769859090924, 0.383770, 0.009955936585682, 1.291312864262e-02),
        (3, 0.576051246950133, 0.576051, -0.022227057948744, 3.765283528241e-03),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_coursera_ex4(ex4, Lambda, J, published, total, norm, order):
    cost, grad1, grad2, reg_J, grad1_reg, grad2_reg = ex4_result(ex4, Lambda, order)
    assert cost == pytest.approx(0.287629165161319, rel=5e-13, abs=0)
    assert reg_J == pytest.approx(J, rel=5e-13, abs=0)
    assert round(reg_J, 6) == published
    assert grad1_reg.sum() + grad2_reg.sum() == pytest.approx(total, rel=0, abs=1e-14)
    assert np.hypot(np.linalg.norm(grad1_reg), np.linalg.norm(grad2_reg)) == to_12_digits(norm)
    assert grad1.sum() + grad2.sum() == pytest.approx(0.026047433852895, rel=0, abs=1e-14)


def test_coursera_ex4_regulariser_and_accuracy(ex4):
    X, y, Theta1, Theta2 = ex4
    squares = [np.sum(Theta[:, 1:] ** 2) for Theta in (Theta1, Theta2)]
    assert squares == to_12_digits([392.584142427684, 568.822796868363])
    assert sum(squares) / (2 * 5000) == to_12_digits(0.096140693929605)
    assert np.sum(coursera.predict(Theta1, Theta2, X) == y[:, 0]) == 4876
    a2 = coursera.sigmoid(coursera.with_ones(coursera.sigmoid(coursera.with_ones(X) @ Theta1.T)) @ Theta2.T)
    y10 = np.where(y == np.arange(1, 11), 1.0, 0.0)
    assert np.sum((a2 - y10) ** 2) / (2 * 5000) == to_12_digits(0.030466188263038)


def test_coursera_octave_order_read_row_by_row_is_another_net(ex4):
    """003 reshapes nn_params row by row; ex4.m unrolls column by column."""
    X, y, Theta1, Theta2 = ex4
    octave = np.concatenate([Theta1.ravel(order="F"), Theta2.ravel(order="F")])
    few = (400, 25, 10, X[:50], y[:50], 0)
    assert round(coursera.nnCostFunction(octave, *few)[0], 2) == 8.42
    assert round(coursera.nnCostFunction(octave, *few, order="F")[0], 4) == 0.1031


def test_coursera_pixels_row_by_row_are_another_picture(ex4):
    X, y, Theta1, Theta2 = ex4
    transposed = X.reshape(-1, 20, 20).swapaxes(1, 2).reshape(-1, 400)
    assert round(ex4_result((transposed, y, Theta1, Theta2), 0)[0], 6) == 5.830351
    assert np.mean(coursera.predict(Theta1, Theta2, transposed) == y[:, 0]) == pytest.approx(0.187, abs=5e-4)


def test_coursera_flat_y():
    """003 fills y10 with np.where(y == i, 1, 0), which only has a column's shape if y has."""
    nn_params, *sizes, X, y = coursera.debug_problem()
    y10 = np.zeros((5, 3))
    with pytest.raises(ValueError, match="could not broadcast"):
        y10[:, 0][:, np.newaxis] = np.where(y == 1, 1, 0)
    for a, b in zip(
        coursera.nnCostFunction(nn_params, *sizes, X, y, 1.0),
        coursera.nnCostFunction(nn_params, *sizes, X, y[:, np.newaxis], 1.0),
    ):
        assert agree(a, b, 0)


def test_coursera_labels_must_be_1_to_num_labels():
    nn_params, *sizes, X, y = coursera.debug_problem()
    with pytest.raises(ValueError, match=r"labels must be 1 to 3, got 0 to 2"):
        coursera.nnCostFunction(nn_params, *sizes, X, y - 1, 0.0)


def test_coursera_saturated_outputs():
    """003 takes log(a2): 0 * log(0) is nan. From z, the cost is finite."""
    with pytest.warns(RuntimeWarning, match="divide by zero|invalid value"):
        assert np.isnan(-1.0 * np.log(np.array([1.0])) - (1 - 1.0) * np.log(1 - np.array([1.0])))
    nn_params, *sizes, X, y = coursera.debug_problem()
    assert np.isfinite(coursera.nnCostFunction(1e5 * nn_params, *sizes, X, y, 0.0)[0])


# 004: the logistic neuron and the 2-4-4-3 net


@given(
    sizes=st.sampled_from([[3, 1], [2, 4, 4, 3], [1, 2, 1]]), samples=st.integers(1, 5), seed=st.integers(0, 2**32 - 1)
)
def test_neuron_backprop_is_the_gradient(sizes, samples, seed):
    rng = np.random.default_rng(seed)
    W, b = neuron.initialize(sizes, rng)
    b = [rng.standard_normal(v.shape) for v in b]
    X, Y = rng.standard_normal((sizes[0], samples)), rng.random((sizes[-1], samples))
    dW, db = neuron.backprop(neuron.forward(X, W, b), Y, W)

    def cost(W, b):
        return neuron.cost(neuron.forward(X, W, b)[-1], Y)

    for k in range(len(W)):
        assert agree(dW[k], differences(lambda w, k=k: cost([*W[:k], w, *W[k + 1 :]], b), W[k]), 1e-8)
        assert agree(db[k], differences(lambda v, k=k: cost(W, [*b[:k], v, *b[k + 1 :]]), b[k]), 1e-8)


def test_neuron_line_28_has_the_wrong_sign():
    """Printed: -(y/a + (y-1)/(1-a)) a(a-1), which is y - a; the derivative of the sigmoid is a(1-a)."""
    W, b, x, y = np.array([[0.5, -0.25, 1.0]]), np.array([[0.1]]), np.array([[1.0], [2.0], [-0.5]]), np.array([[1.0]])
    a = neuron.forward(x, [W], [b])[-1]
    dJ_da = -(y / a + (y - 1) / (1 - a))
    numeric = differences(lambda v: neuron.cost(neuron.forward(x, [W], [v])[-1], y), b)
    assert agree(dJ_da * a * (1 - a), numeric, 1e-9)
    assert agree(dJ_da * a * (a - 1), -numeric, 1e-9)
    numeric_w = differences(lambda w: neuron.cost(neuron.forward(x, [w], [b])[-1], y), W)
    assert agree((a - y) @ x.T, numeric_w, 1e-9)
    dW, db = neuron.backprop([x, a], y, [W])
    assert agree(dW[0], numeric_w, 1e-9)
    assert agree(db[0], numeric, 1e-9)
    W_new, b_new = neuron.update([W], [b], dW, db, alpha=0.5)
    assert agree(W_new[0], W - 0.5 * numeric_w, 1e-9)
    assert agree(b_new[0], b - 0.5 * numeric, 1e-9)


def test_neuron_sum_and_mean_over_20_samples():
    """Line 24 is the cost of one sample; for the 20 of line 37 the mean is meant, and the gradients divide by 20."""
    rng = np.random.default_rng(0)
    W, b = neuron.initialize([2, 4, 4, 3], rng)
    X, Y = rng.standard_normal((2, 20)), np.eye(3)[:, rng.integers(3, size=20)]
    assert Y.shape == (3, 20) and [w.shape for w in W] == [(4, 2), (4, 4), (3, 4)]
    dW, db = neuron.backprop(neuron.forward(X, W, b), Y, W)
    each = [neuron.backprop(neuron.forward(X[:, [k]], W, b), Y[:, [k]], W) for k in range(20)]
    for layer in range(3):
        assert agree(dW[layer], sum(one[0][layer] for one in each) / 20, 1e-15)
        assert agree(db[layer], sum(one[1][layer] for one in each) / 20, 1e-15)


def test_neuron_net_learns_three_classes():
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 3
    X = np.array([[0.0, 2.0, 4.0], [0.0, 3.0, 0.0]])[:, labels] + 0.3 * rng.standard_normal((2, 20))
    Y = np.eye(3)[:, labels]
    W, b = neuron.initialize([2, 4, 4, 3], rng)
    start = neuron.cost(neuron.forward(X, W, b)[-1], Y)
    for _ in range(2000):
        W, b = neuron.update(W, b, *neuron.backprop(neuron.forward(X, W, b), Y, W), alpha=1.0)
    A = neuron.forward(X, W, b)[-1]
    assert neuron.cost(A, Y) < 0.1 * start
    assert np.array_equal(A.argmax(axis=0), labels)


# The loader


def test_a_changed_pickle_is_refused(tmp_path):
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(pickle.dumps("anything"))
    with pytest.raises(ValueError, match=r"mnist_loader: .* is not Nielsen's mnist\.pkl\.gz"):
        mnist_loader.load_data(path)
