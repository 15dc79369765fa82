"""explain: its numbers are those of backpropagation written by hand, its labels are true, and it leaves no trace."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F
from tests.differences import close
from tests.reference import coursera, mazur, neuron, nielsen
from tinygrad_bp import nn
from tinygrad_bp.random import generator

seeds = st.integers(0, 2**32 - 1)
layer_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=5)
draw = np.random.default_rng(7)


def stacked(weights, biases, ends_in_sigmoid=True):
    """Sigmoid layers with these weights; biases are columns."""
    stages = []
    for w, b in zip(weights, biases):
        linear = nn.Linear(w.shape[1], w.shape[0])
        linear.weight.data[...], linear.bias.data[...] = w, np.ravel(b)
        stages += [linear, nn.Sigmoid()]
    return nn.Sequential(*(stages if ends_in_sigmoid else stages[:-1]))


def all_close(actual, expected):
    return all(close(a, np.reshape(b, a.shape), 1e-12) for a, b in zip(actual, expected, strict=True))


# ---- the five classics, by hand ------------------------------------------------------------------------------------

COSTS = {
    "quadratic": (nielsen.Network, nn.QuadraticLoss(), True),
    "cross-entropy of logits": (nielsen.CrossEntropyNetwork, nn.BCEWithLogitsLoss(reduction="sum"), False),
    "cross-entropy": (nielsen.CrossEntropyNetwork, nn.BCELoss(reduction="sum"), True),
}


@pytest.mark.parametrize("cost", COSTS)
@settings(max_examples=40)
@given(sizes=layer_sizes, seed=seeds)
def test_000_and_001_one_sample_of_the_net_of_nielsen(cost, sizes, seed):
    kind, loss, ends_in_sigmoid = COSTS[cost]
    np.random.seed(seed)
    hand = kind(sizes)
    x, y = np.random.randn(sizes[0], 1), np.random.rand(sizes[-1], 1)
    step = bp.explain(stacked(hand.weights, hand.biases, ends_in_sigmoid), loss, x.T, y.T)
    nabla_b, nabla_w = hand.backprop(x, y)
    a = x
    for layer, b, w in zip(step.layers, hand.biases, hand.weights, strict=True):
        z = w @ a + b
        assert all_close([layer.before, layer.z], [a, z])
        a = nielsen.sigmoid(z)
        if layer.activation:
            assert close(layer.a, a.T, 1e-12)
    assert close(step.loss, hand.cost(x, y), 1e-12)
    assert all_close([layer.delta for layer in step.layers], nabla_b)  # of one sample
    assert all_close([layer.gradients["bias"] for layer in step.layers], nabla_b)
    assert all_close([layer.gradients["weight"] for layer in step.layers], nabla_w)
    labels = [["BP2", "BP4", "BP3"]] * (len(sizes) - 2) + [["BP1", "BP4", "BP3"]]
    assert [list(layer.equations.values()) for layer in step.layers] == labels


def test_001_the_whole_net_and_one_row_of_a_mini_batch():
    np.random.seed(0)
    hand = nielsen.Network([784, 30, 10])
    x, y = np.random.rand(784, 10), np.random.rand(10, 10)
    net = stacked(hand.weights, hand.biases)
    batch, alone = (
        bp.explain(net, nn.QuadraticLoss(), x.T, y.T),
        bp.explain(net, nn.QuadraticLoss(), x.T, y.T, sample=3),
    )
    nabla_b, nabla_w = hand.backprop(x, y)
    assert all_close([10 * layer.gradients["weight"] for layer in batch.layers], nabla_w)
    assert all_close([10 * layer.gradients["bias"] for layer in batch.layers], nabla_b)
    nabla_b, nabla_w = hand.backprop(x[:, 3:4], y[:, 3:4])
    assert all_close([layer.gradients["weight"] for layer in alone.layers], nabla_w)
    assert all_close([layer.delta for layer in alone.layers], nabla_b)
    assert (alone.sample, alone.rows, alone.x.shape, alone.output.shape) == (3, 10, (1, 784), (1, 10))
    assert (batch.sample, batch.rows, batch.x.shape) == (None, 10, (10, 784))
    assert alone.findings == batch.findings


def test_002_mazur():
    w, b = mazur.WEIGHT, mazur.BIAS
    net = stacked([np.reshape(w[:4], (2, 2)), np.reshape(w[4:], (2, 2))], [b[:2], b[2:]])
    step = bp.explain(net, nn.QuadraticLoss(), [[mazur.i1, mazur.i2]], [[mazur.target1, mazur.target2]])
    out = mazur.forward(w, b)
    gradients, deltas = mazur.backward(w, out)
    hidden, output = step.layers
    assert close(step.loss, 0.298371108760003, 1e-14)
    assert all_close([hidden.a, output.a], [out[:2], out[2:]])
    assert all_close([hidden.delta, output.delta], [deltas[:2], deltas[2:]])
    assert all_close([hidden.gradients["weight"], output.gradients["weight"]], [gradients[:4], gradients[4:]])


def test_003_coursera():
    params, inputs, hidden, labels, X, y = coursera.debug_problem()
    cost, grad1, grad2, *_ = coursera.nnCostFunction(params, inputs, hidden, labels, X, y, 0.0, order="F")
    thetas = np.split(params, [hidden * (inputs + 1)])
    thetas = [theta.reshape(-1, n + 1, order="F") for theta, n in zip(thetas, (inputs, hidden))]
    net = stacked([theta[:, 1:] for theta in thetas], [theta[:, 0] for theta in thetas], ends_in_sigmoid=False)

    def loss(z, y):
        return F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z)

    step = bp.explain(net, loss, X, (y[:, None] == np.arange(1, labels + 1)) * 1.0)
    assert step.loss_name == "loss" and close(step.loss, cost, 1e-12)
    for layer, grad in zip(step.layers, (grad1, grad2), strict=True):
        assert all_close([layer.gradients["bias"], layer.gradients["weight"]], [grad[:, 0], grad[:, 1:]])


def test_004_the_2_4_4_3_net_on_20_samples():
    W, b = neuron.initialize([2, 4, 4, 3], np.random.default_rng(4))
    X, Y = draw.standard_normal((2, 20)), np.eye(3)[:, draw.integers(0, 3, 20)]
    A = neuron.forward(X, W, b)
    dW, db = neuron.backprop(A, Y, W)

    def loss(z, y):
        return F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z)

    layers = bp.explain(stacked(W, b, ends_in_sigmoid=False), loss, X.T, Y.T).layers
    assert all_close([layer.before for layer in layers], [a.T for a in A[:-1]])
    assert close(layers[-1].delta, (A[-1] - Y).T / 20, 1e-12)
    assert all_close([layer.gradients["weight"] for layer in layers], dW)
    assert all_close([layer.gradients["bias"] for layer in layers], db)


# ---- labels are true ------------------------------------------------------------------------------------------------


class Functional(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.second(F.relu(self.first(x)))


class Residual(nn.Module):
    def __init__(self):
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = np.tanh(self.first(x))
        return self.head(h + np.tanh(self.second(h)))


class Shared(nn.Module):
    def __init__(self):
        self.same, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.same(self.same(x).sigmoid()).sigmoid())


class Gated(nn.Module):
    def __init__(self):
        self.gate, self.value, self.head = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.gate(x).sigmoid() * self.value(x))


class Activated(nn.Linear):
    """Gives z, and what becomes of it."""

    def forward(self, input):
        z = super().forward(input)
        return z, np.tanh(z)


class Blocks(nn.Module):
    def __init__(self):
        self.first, self.block, self.head = Activated(6, 5), Functional(), nn.Linear(3, 3)
        self.block.second = nn.Dropout(0.5)
        self.block.first = nn.Flatten()

    def forward(self, x):
        _, a = self.first(x)
        return self.head(self.block(a)[:, :3])


class Attending(nn.Module):
    def __init__(self):
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.attention(x, x, x)[0])[:, 0]


class Tagger(nn.Module):
    """Uses the states that its LSTM returns beside the output, which it drops."""

    def __init__(self):
        self.embedding, self.lstm, self.head = nn.Embedding(9, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        _, (h, _) = self.lstm(self.embedding(x))
        return self.head(h[0])


NUMBERS, LABELS = draw.standard_normal((12, 6)), draw.integers(0, 3, 12)
IMAGES, WORDS = draw.standard_normal((12, 2, 6, 6)), draw.integers(0, 9, (12, 7))
SEQUENCES = draw.standard_normal((12, 5, 4))


def encoder():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
    return nn.Sequential(layer, lambda x: x.mean(axis=1), nn.Linear(4, 3))


def convolutional():
    stages = nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.Tanh(), nn.Flatten()
    return nn.Sequential(*stages, nn.Linear(16, 3))


def normalised():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 3))


def recurrent():
    return nn.Sequential(nn.GRU(4, 5, batch_first=True), nn.LastStep(batch_first=True), nn.Linear(5, 3))


ALONE = {"delta": "", "weight": "", "bias": ""}
ALL_OF = {"weight": "BP4", "bias": "BP3"}
NETS = {
    "mlp": (lambda: stacked([np.eye(6)[:4], np.ones((3, 4))], [np.ones(4), np.ones(3)], False), NUMBERS, "Sigmoid, -"),
    "functional": (Functional, NUMBERS, "ReLU, -"),
    "convolutional": (convolutional, IMAGES, "ReLU + MaxPool2d, Tanh + Flatten, -"),
    "normalised": (normalised, NUMBERS, "-, ReLU + Dropout, -"),
    "residual": (Residual, NUMBERS, "Tanh, Tanh, -"),
    "shared": (Shared, NUMBERS, "Sigmoid, Sigmoid, -"),
    "gated": (Gated, NUMBERS, "Sigmoid, -, -"),
    "blocks": (Blocks, NUMBERS, "Tanh + Flatten + ReLU + Dropout, -"),
    "attending": (Attending, SEQUENCES, "-, -, -"),
    "recurrent": (recurrent, SEQUENCES, "LastStep, -"),
    "tagger": (Tagger, WORDS, "-, -, -"),
    "one layer": (lambda: nn.Linear(6, 3), NUMBERS, "-"),
}


def explained(name):
    bp.manual_seed(3)
    make, x, _ = NETS[name]
    return bp.explain(make(), nn.CrossEntropyLoss(), x, LABELS)


SLOPES = {
    "": np.ones_like,
    "ReLU": lambda z: z > 0,
    "Sigmoid": lambda z: nielsen.sigmoid_prime(z),
    "Tanh": lambda z: 1 - np.tanh(z) ** 2,
}


def dropped(layer):
    """What Dropout(0.3) has multiplied the activations with, 1 where it was not there."""
    return np.where(layer.a == 0.0, 0.0, 1.0 / 0.7) if "Dropout" in layer.activation else 1.0


def rows_of(array):
    return array.reshape(-1, array.shape[-1])


@pytest.mark.parametrize("name", NETS)
def test_what_a_label_says_gives_the_number(name):
    layers = explained(name).layers
    assert ", ".join(layer.activation or "-" for layer in layers) == NETS[name][2]
    for k, layer in enumerate(layers):
        assert layer.number == k + 1 and layer.delta.shape == layer.z.shape
        assert layer.gradients.keys() == layer.parameters.keys()
        assert layer.equations.keys() == {"delta", *layer.parameters}
        if layer.kind == "Linear" and layer.equations["weight"]:
            assert layer.equations["weight"] == "BP4" and layer.equations["bias"] == "BP3"
            assert close(layer.gradients["weight"], rows_of(layer.delta).T @ rows_of(layer.before), 1e-13)
            assert close(layer.gradients["bias"], rows_of(layer.delta).sum(0), 1e-13)
        if layer.equations["delta"] == "BP1":
            assert layer is layers[-1]
        if layer.equations["delta"] == "BP1" and layer.z.ndim == 2:
            z = layer.z - layer.z.max(1, keepdims=True)
            softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
            assert close(layer.delta, (softmax - np.eye(3)[LABELS]) / 12, 1e-13)
        first = layer.activation.split(" + ")[0]
        if (
            layer.equations["delta"] == "BP2"
            and layers[k + 1].kind == "Linear"
            and first in SLOPES
            and name != "blocks"
        ):
            above = layers[k + 1]
            back = (above.delta @ above.parameters["weight"]).reshape(layer.z.shape)
            assert close(layer.delta, back * SLOPES[first](layer.z) * dropped(layer), 1e-13)


def test_a_convolution_obeys_bp3_and_bp4_and_passes_its_error_down():
    first, second, head = explained("convolutional").layers
    assert [layer.equations["delta"] for layer in (first, second, head)] == ["BP2", "BP2", "BP1"]
    for layer, padding in ((first, 1), (second, 0)):
        assert (layer.equations["weight"], layer.equations["bias"]) == ("BP4", "BP3")
        padded = np.pad(layer.before, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, layer.parameters["weight"].shape[2:], (2, 3))
        assert close(layer.gradients["weight"], np.einsum("nohw,nihwkl->oikl", layer.delta, windows), 1e-12)
        assert close(layer.gradients["bias"], layer.delta.sum((0, 2, 3)), 1e-12)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("normalised", [ALONE | ALL_OF, ALONE | {"delta": "BP2"}, {"delta": "BP1"} | ALL_OF]),
        ("gated", [{"delta": ""} | ALL_OF, {"delta": ""} | ALL_OF, {"delta": "BP1"} | ALL_OF]),
        ("blocks", [ALONE | {"delta": "BP2"}, {"delta": "BP1"} | ALL_OF]),
        ("residual", [{"delta": ""} | ALL_OF, {"delta": ""} | ALL_OF, {"delta": "BP1"} | ALL_OF]),
        ("shared", [ALONE | {"delta": "BP2"}, ALONE | {"delta": "BP2"}, {"delta": "BP1"} | ALL_OF]),
    ],
)
def test_where_more_than_an_equation_is_at_work_there_is_no_label(name, labels):
    assert [layer.equations for layer in explained(name).layers] == labels


def test_a_layer_that_is_called_twice_is_told_twice_with_the_gradient_of_both():
    first, second, _ = explained("shared").layers
    assert first.path == second.path == "same" and first.before is not second.before
    both = sum(layer.delta.T @ layer.before for layer in (first, second))
    assert close(first.gradients["weight"], both, 1e-13) and close(second.gradients["weight"], both, 1e-13)


def test_of_several_outputs_the_one_that_counts_is_told():
    embedding, lstm, head = explained("tagger").layers
    assert [layer.kind for layer in (embedding, lstm, head)] == ["Embedding", "LSTM", "Linear"]
    assert lstm.z.shape == (1, 12, 5) and lstm.delta.any()
    assert close(lstm.delta[0], head.delta @ head.parameters["weight"], 1e-13) and lstm.equations["delta"] == "BP2"
    assert embedding.before.dtype == WORDS.dtype and embedding.equations == {"delta": "", "weight": ""}


def test_a_transformer_is_told_with_the_layers_in_its_attention():
    bp.manual_seed(0)
    layers = bp.explain(encoder(), nn.CrossEntropyLoss(), SEQUENCES, LABELS).layers
    assert [layer.kind for layer in layers[:3]] == ["MultiheadAttention", "Linear", "LayerNorm"]
    assert [layer.path for layer in layers[:2]] == ["0.self_attn", "0.self_attn.out_proj"]
    assert [layer.activation for layer in layers[:3]] == ["Dropout", "Dropout", ""]
    assert all(any(gradient.any() for gradient in layer.gradients.values()) for layer in layers)


def test_a_layer_within_a_layer_is_not_the_one_above_it():
    attention, inside, head = explained("attending").layers
    assert (inside.path, head.path) == ("attention.out_proj", "head")
    assert (attention.equations["delta"], inside.equations["delta"]) == ("", "BP2")
    assert close(inside.delta, head.delta @ head.parameters["weight"], 1e-13)


# ---- what it takes, and what it leaves ------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [None, 1])
def test_it_leaves_no_trace(sample):
    net = nn.Sequential(nn.Conv1d(6, 4, 1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 3)).train()
    net = nn.Sequential(net, nn.Linear(3, 3)) if sample is not None else nn.Sequential(net, nn.BatchNorm1d(3))
    nn.CrossEntropyLoss()(net(NUMBERS[:, :, None]), LABELS).backward()
    net[1].weight.requires_grad = False
    grads = [p.grad for p in net.parameters()]
    numbers = [None if grad is None else grad.numpy().copy() for grad in grads]
    state, drawn, attributes = net.state_dict(), generator().bit_generator.state, [dict(vars(m)) for m in net.modules()]
    x = NUMBERS[:, :, None].copy()
    step = bp.explain(net, nn.CrossEntropyLoss(), x, LABELS, sample)
    assert generator().bit_generator.state == drawn
    assert all(np.array_equal(value, state[name]) for name, value in net.state_dict().items())
    assert [p.grad for p in net.parameters()] == grads
    assert all(n is None or np.array_equal(n, grad.numpy()) for n, grad in zip(numbers, grads))
    assert [dict(vars(m)) for m in net.modules()] == attributes
    assert not net[1].weight.requires_grad and step.layers[-1].gradients["weight"].any()
    x[...] = 0.0
    assert step.x.any() and step.layers[0].before.any()


def test_it_runs_in_the_mode_that_the_model_is_in():
    net = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 3))
    training, evaluating = (bp.explain(net.train(mode), F.cross_entropy, NUMBERS, LABELS) for mode in (True, False))
    assert training.layers[0].activation == "Dropout" and not training.layers[0].a.all()
    assert evaluating.layers[0].activation == "" and evaluating.layers[0].a.all()


def test_a_row_draws_what_it_would_draw_alone():
    net = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5), nn.Linear(40, 3))
    row = bp.explain(net, F.cross_entropy, NUMBERS, LABELS, sample=2)
    alone = bp.explain(net, F.cross_entropy, NUMBERS[2:3], LABELS[2:3])
    assert np.array_equal(row.layers[0].a, alone.layers[0].a) and not row.layers[0].a.all()


def test_tensors_functions_float32_and_no_grad_are_taken():
    net = nn.Sequential(nn.Linear(6, 4, dtype="float32"), nn.ReLU(), nn.Linear(4, 3, dtype="float32"))
    x = bp.tensor(NUMBERS, dtype="float32")
    with bp.no_grad():
        step = bp.explain(net, F.cross_entropy, x, bp.from_numpy(LABELS))
    assert step.loss_name == "CrossEntropyLoss" and all(layer.delta.any() for layer in step.layers)
    assert {array.dtype for layer in step.layers for array in (layer.z, layer.delta)} == {np.dtype("float32")}
    expected = nn.CrossEntropyLoss()(net(x), LABELS)
    assert step.loss == expected.item()


def test_what_the_loss_was_not_computed_from_has_no_error():
    class Cut(Functional):
        def forward(self, x):
            return self.second(F.relu(self.first(x)).detach())

    class Gone(Functional):
        def forward(self, x):
            return super().forward(x).detach()

    first, second = bp.explain(Cut(), F.cross_entropy, NUMBERS, LABELS).layers
    assert not first.delta.any() and not first.gradients["weight"].any() and first.equations["delta"] == ""
    assert second.gradients["weight"].any()
    for layer in bp.explain(Gone(), F.cross_entropy, NUMBERS, LABELS).layers:
        assert not layer.delta.any() and set(layer.equations.values()) == {""}


class Locked(nn.Module):
    def __init__(self):
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((np.tanh, F.mse_loss, NUMBERS, NUMBERS), TypeError, "explain: the model is a ufunc. Pass a Module"),
        ((nn.Tanh(), F.mse_loss, NUMBERS, LABELS[:5]), ValueError, r"x has shape \(12, 6\), y \(5,\). Pass as many"),
        ((nn.Tanh(), F.mse_loss, NUMBERS[:0], NUMBERS[:0]), ValueError, "at least one"),
        ((nn.Tanh(), F.mse_loss, 1.0, 1.0), ValueError, r"x has shape \(\), y \(\)"),
        ((nn.Tanh(), F.mse_loss, NUMBERS, NUMBERS, 12), IndexError, "there is no row 12 among 12. Choose 0 to 11"),
        ((nn.Tanh(), F.mse_loss, NUMBERS, NUMBERS, -1), IndexError, "there is no row -1"),
        ((nn.Tanh(), np.subtract, NUMBERS, NUMBERS), ValueError, r"the loss has shape \(12, 6\), not one number"),
        ((nn.BatchNorm1d(6), F.mse_loss, NUMBERS, NUMBERS, 0), ValueError, "explain: row 0 alone: .*Leave sample out"),
        ((nn.Tanh(), "mse", NUMBERS, NUMBERS), TypeError, "explain: the loss is 'mse'. Pass a function"),
        ((nn.Tanh(), nn.MSELoss, NUMBERS, NUMBERS), TypeError, "explain: the loss is <class .*such as nn.MSELoss"),
        ((nn.Tanh(), lambda a, y: None, NUMBERS, NUMBERS), TypeError, "explain: the loss gives None. Let it return"),
        ((nn.Tanh(), F.mse_loss, None, NUMBERS), TypeError, "explain: x is no array"),
        ((nn.Tanh(), F.mse_loss, NUMBERS, "y"), TypeError, "explain: y is no array"),
        ((nn.Tanh(), F.mse_loss, NUMBERS, NUMBERS, "0"), TypeError, "explain: sample is '0'. Pass the number of a row"),
        ((nn.Tanh(), F.mse_loss, NUMBERS, NUMBERS, True), TypeError, "explain: sample is True"),
        ((Locked(), F.mse_loss, NUMBERS, NUMBERS), TypeError, "explain: the model cannot be copied: .*lock"),
    ],
)
def test_what_is_no_step_is_refused(arguments, kind, message):
    state = generator().bit_generator.state
    with pytest.raises(kind, match=message):
        bp.explain(*arguments)
    assert generator().bit_generator.state == state


def test_a_penalty_on_the_weights_is_in_their_gradients():
    net = nn.Linear(6, 3)

    def loss(z, y):
        return F.cross_entropy(z, y) + (net.weight**2).sum()

    step = bp.explain(net, loss, NUMBERS, LABELS)
    (layer,) = step.layers
    assert net.weight.grad is None
    cost = loss(net(NUMBERS), LABELS)
    cost.backward()
    assert step.loss == cost.item() and close(layer.gradients["weight"], net.weight.grad.numpy(), 1e-13)
    assert layer.equations == {"delta": "", "weight": "", "bias": "BP3"}
    net.weight.data[...] = 0.0
    assert layer.parameters["weight"].all()


def test_what_a_forward_writes_into_its_weights_is_not_left_there():
    class Bounded(nn.Linear):
        def forward(self, input):
            self.weight.data[...] = 0.5
            return super().forward(input)

    net = Bounded(6, 3)
    before = net.weight.data.copy()
    assert (bp.explain(net, F.cross_entropy, NUMBERS, LABELS).layers[0].parameters["weight"] == 0.5).all()
    assert np.array_equal(net.weight.data, before)


# ---- what it can be made into ---------------------------------------------------------------------------------------


def test_the_text_is_a_worked_example():
    np.random.seed(1)
    hand = nielsen.Network([2, 3, 1])
    step = bp.explain(stacked(hand.weights, hand.biases), nn.QuadraticLoss(), NUMBERS[:, :2], NUMBERS[:, :1] > 0, 0)
    text = step.text()
    assert str(step) == text
    lines = text.splitlines()
    shapes = [re.split(r"  +", line.rstrip()) for line in lines if line.endswith(")")]
    assert [row for row in shapes if row[0].startswith("BP")] == [
        ["BP1", "delta^2 = (a^2 - y) * sigmoid'(z^2)", "(1, 1)"],
        ["BP3", "dC/db^2 = delta^2", "(1,)"],
        ["BP4", "dC/dw^2 = delta^2 (a^1)^T", "(1, 3)"],
        ["BP2", "delta^1 = (w^2)^T delta^2 * sigmoid'(z^1)", "(1, 3)"],
        ["BP3", "dC/db^1 = delta^1", "(3,)"],
        ["BP4", "dC/dw^1 = delta^1 (a^0)^T", "(3, 2)"],
    ]
    at = lines.index(next(line for line in lines if line.startswith("BP2")))
    assert lines[at + 1].split() == [f"{value:.4g}" for value in step.layers[0].delta[0]]
    assert "on row 0 of 12, alone" in text and f"C = QuadraticLoss = {step.loss:.4g}" in text


FORMULAS = [
    (nn.CrossEntropyLoss(), [], LABELS, "(softmax(z^1) - y) / 12"),
    (nn.CrossEntropyLoss(), [], np.eye(3)[LABELS], "(softmax(z^1) - y) / 12"),
    (nn.CrossEntropyLoss(reduction="sum"), [], LABELS, "softmax(z^1) - y"),
    (nn.CrossEntropyLoss(label_smoothing=0.1), [], LABELS, "dC/dz^1"),
    (nn.BCEWithLogitsLoss(), [], np.eye(3)[LABELS], "(sigmoid(z^1) - y) / 36"),
    (nn.BCELoss(), [nn.Sigmoid()], np.eye(3)[LABELS], "(a^1 - y) / 36"),
    (nn.QuadraticLoss(), [nn.Tanh()], np.eye(3)[LABELS], "(a^1 - y) / 12 * tanh'(z^1)"),
    (nn.MSELoss(), [nn.ReLU()], np.eye(3)[LABELS], "(a^1 - y) / 18 * relu'(z^1)"),
    (nn.MSELoss(reduction="sum"), [], np.eye(3)[LABELS], "(z^1 - y) * 2"),
    (nn.MSELoss(), [nn.Softmax()], np.eye(3)[LABELS], "dC/da^1, back through Softmax"),
    (nn.NLLLoss(), [nn.LogSoftmax()], LABELS, "dC/da^1, back through LogSoftmax"),
    (nn.HuberLoss(), [nn.GELU()], np.eye(3)[LABELS], "dC/da^1 * gelu'(z^1)"),
]


@pytest.mark.parametrize(("loss", "activation", "y", "formula"), FORMULAS)
def test_bp1_is_told_as_the_loss_has_it(loss, activation, y, formula):
    text = bp.explain(nn.Sequential(nn.Linear(6, 3), *activation), loss, NUMBERS, y).text(100)
    (line,) = [line for line in text.splitlines() if line.startswith("BP1")]
    assert re.split(r"  +", line)[1] == f"delta^1 = {formula}"


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_text_keeps_to_its_width_and_is_ascii(name, width):
    step = explained(name)
    text = step.text(width)
    assert max(map(len, text.splitlines())) <= width and text.isascii() and "\x1b" not in text
    assert not any(line.endswith(" ") for line in text.splitlines())
    colored = step.text(width, color=True)
    assert "\x1b[" in colored and re.sub(r"\x1b\[\d+m", "", colored) == text


def test_a_large_array_is_told_by_its_norm_and_its_greatest_entries():
    step = explained("convolutional")
    weight = step.layers[0].parameters["weight"]
    text = " ".join(step.text().split())
    place = np.unravel_index(np.abs(weight).argmax(), weight.shape)
    entry = f"{weight[place]:.4g} at [{','.join(map(str, place))}]"
    assert f"w^1 (3, 2, 3, 3) norm {np.linalg.norm(weight):.4g}; largest {entry}, " in text
    assert "BP2 delta^1 = convT(w^2, delta^2), back through MaxPool2d and ReLU" in text
    assert "BP3 dC/db^1 = delta^1, summed over rows and places" in text


@pytest.mark.parametrize(("entries", "whole"), [(24, True), (25, False)])
def test_a_small_array_is_told_whole(entries, whole):
    net = nn.Linear(entries, 1)
    text = bp.explain(net, F.mse_loss, np.ones((1, entries)), np.ones((1, 1))).text()
    numbers = [f"{value:.4g}" for value in net.weight.data[0]]
    assert (" ".join(numbers) in " ".join(text.split())) == whole
    assert "       all 1\n" in text


def test_what_is_beyond_all_numbers_is_told_without_warnings():
    net = nn.Linear(6, 3)
    net.weight.data[...] *= 1e308
    assert "! nonfinite" in bp.explain(net, F.cross_entropy, 10.0 * NUMBERS, LABELS).text()


def test_a_layer_that_is_called_by_name_is_told_without_its_input():
    class Named(Functional):
        def forward(self, x):
            return self.second(input=F.relu(self.first(input=x)))

    step = bp.explain(Named(), F.cross_entropy, NUMBERS, LABELS)
    assert [layer.before.shape for layer in step.layers] == [(0,), (0,)]
    assert "BP1  delta^2" in step.text() and step.html().startswith("<!DOCTYPE")


def test_what_a_layer_is_given_has_a_name_of_its_own_where_it_is_no_activation():
    text = " ".join(explained("gated").text(100).split())
    assert "x^3, the input of the layer (12, 5) norm" in text and "z^3 = w^3 x^3 + b^3 (12, 3)" in text
    assert "BP4 dC/dw^3 = delta^3 (x^3)^T, summed over the rows" in text
    assert "z^1 = w^1 a^0 + b^1" in text and "delta^1 = dC/dz^1, by the chain rule" in text


def test_findings_are_told_first_with_the_layer_they_are_about():
    net = stacked([np.zeros((4, 6)), np.ones((3, 4))], [np.ones(4), np.ones(3)], False)
    text = bp.explain(net, F.cross_entropy, NUMBERS, LABELS).text()
    assert '! symmetry: layer 1, Linear "0"\n  All weights are 0' in text
    assert text.index("WHAT KEEPS IT FROM LEARNING") < text.index("FORWARD")
    assert "Nothing was found" in explained("functional").text()


def test_a_layer_of_which_half_is_zero_says_so():
    net = Functional()
    net.first.weight.data[:2], net.first.bias.data[:2] = 0.0, -1.0
    step = bp.explain(net, F.cross_entropy, NUMBERS, LABELS)
    assert "2 of 5 units are 0 in every row" in step.text() and not step.findings


def test_it_is_saved_as_page_and_text_and_shown_in_notebooks(tmp_path):
    step = explained("mlp")
    step.save(tmp_path / "step.txt")
    step.save(tmp_path / "step.html")
    assert (tmp_path / "step.txt").read_text() == step.text() + "\n"
    assert (tmp_path / "step.html").read_text() == step.html()
    assert step.html("A <title>").startswith("<!DOCTYPE html>") and "A &lt;title&gt;" in step.html("A <title>")
    assert step._repr_html_().startswith("<iframe ") and "&lt;!DOCTYPE html&gt;" in step._repr_html_()
    assert repr(step) == f"<Explanation: CrossEntropyLoss {step.loss:.6g}, 2 layers, findings: none>"
    with pytest.raises(ValueError, match=r"explain: '.*step\.pdf' ends in neither .html nor .txt"):
        step.save(tmp_path / "step.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step.html", "step.txt"]


def test_the_net_is_drawn_where_it_can_be(monkeypatch):
    pytest.importorskip("graphlay", reason="graphlay is not installed: pip install 'tinygrad_bp[cli]'")
    assert "<svg" in explained("functional").graph

    def missing(*arguments, **named):
        raise ModuleNotFoundError("draw: a picture needs graphlay.")

    monkeypatch.setattr("tinygrad_bp.view.explain.draw", missing)
    assert explained("functional").graph == ""
