"""What keeps a net from learning: every fault is found where it was planted, and healthy nets have none."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F
from tinygrad_bp import nn
from tinygrad_bp.view import findings as module
from tinygrad_bp.view.findings import still_guessing

DIGITS, LABELS = (array[:128] for array in bp.data.digits())
ONE_HOT = np.eye(10)[LABELS]
ROWS = DIGITS.reshape(-1, 8, 8)
IMAGES = DIGITS.reshape(-1, 1, 8, 8)
MOONS, SIDES = bp.data.moons(n=128, seed=1)
COLUMN = SIDES.reshape(-1, 1) * 1.0
WORDS = np.random.default_rng(0).integers(0, 20, (64, 7))
OF_LABELS = nn.CrossEntropyLoss()


def mlp(sizes, activation, *after):
    stages = [nn.Linear(sizes[0], sizes[1])]
    for n_in, n_out in zip(sizes[1:], sizes[2:]):
        stages += [activation(), nn.Linear(n_in, n_out)]
    return nn.Sequential(*stages, *after)


class Functional(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Linear(64, 30), nn.Linear(30, 10)

    def forward(self, x):
        return self.second(self.between(self.first(x)))

    def between(self, z):
        return F.relu(z)


class Cut(Functional):
    def between(self, z):
        return F.relu(z).detach()


class Tagger(nn.Module):
    def __init__(self):
        self.embedding, self.lstm, self.head = nn.Embedding(20, 8), nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        _, (h, _) = self.lstm(self.embedding(x))
        return self.head(h[0])


class Encoder(nn.Module):
    def __init__(self):
        self.embed, self.head = nn.Linear(8, 16), nn.Linear(16, 10)
        self.layers = [nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True) for _ in range(2)]

    def forward(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(axis=1))


def recurrent(kind):
    return nn.Sequential(kind(8, 32, batch_first=True), nn.LastStep(batch_first=True), nn.Linear(32, 10))


def convolutional(*norm):
    first = nn.Conv2d(1, 8, 3), *norm, nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*first, nn.Conv2d(8, 16, 2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))


def zero_head():
    net = mlp([64, 30, 10], nn.ReLU)
    nn.init.zeros_(net[2].weight)
    return net


HEALTHY = {
    "relu": (lambda: mlp([64, 30, 10], nn.ReLU), OF_LABELS, DIGITS, LABELS),
    "deeper relu": (lambda: mlp([64, 64, 64, 64, 10], nn.ReLU), OF_LABELS, DIGITS, LABELS),
    "sigmoid": (lambda: mlp([64, 30, 30, 10], nn.Sigmoid), OF_LABELS, DIGITS, LABELS),
    "tanh": (lambda: mlp([64, 30, 30, 10], nn.Tanh), OF_LABELS, DIGITS, LABELS),
    "quadratic cost": (lambda: mlp([64, 30, 10], nn.Sigmoid, nn.Sigmoid()), nn.QuadraticLoss(), DIGITS, ONE_HOT),
    "softmax, squares": (lambda: mlp([64, 30, 10], nn.Tanh, nn.Softmax()), nn.MSELoss(), DIGITS, ONE_HOT),
    "log-softmax": (lambda: mlp([64, 30, 10], nn.ReLU, nn.LogSoftmax()), nn.NLLLoss(), DIGITS, LABELS),
    "functional": (Functional, F.cross_entropy, DIGITS, LABELS),
    "normalised": (
        *(lambda: mlp([64, 30, 10], lambda: nn.Sequential(nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.2))), OF_LABELS),
        *(DIGITS, LABELS),
    ),
    "raw, BatchNorm first": (
        *(lambda: nn.Sequential(nn.BatchNorm1d(64), mlp([64, 30, 10], nn.GELU)), OF_LABELS),
        *(DIGITS * 255, LABELS),
    ),
    "one layer": (lambda: nn.Linear(64, 10), OF_LABELS, DIGITS, LABELS),
    "head of zeros": (zero_head, OF_LABELS, DIGITS, LABELS),
    "convolutional": (convolutional, OF_LABELS, IMAGES, LABELS),
    "convolutional, normalised": (lambda: convolutional(nn.BatchNorm2d(8)), OF_LABELS, IMAGES, LABELS),
    "rnn": (lambda: recurrent(nn.RNN), OF_LABELS, ROWS, LABELS),
    "lstm": (lambda: recurrent(nn.LSTM), OF_LABELS, ROWS, LABELS),
    "gru": (lambda: recurrent(nn.GRU), OF_LABELS, ROWS, LABELS),
    "transformer": (Encoder, OF_LABELS, ROWS, LABELS),
    "words": (Tagger, OF_LABELS, WORDS, WORDS[:, 0] % 3),
    "two classes": (lambda: mlp([2, 8, 1], nn.Tanh), nn.BCEWithLogitsLoss(), MOONS, COLUMN),
    "probabilities": (lambda: mlp([2, 8, 1], nn.ReLU, nn.Sigmoid()), nn.BCELoss(), MOONS, COLUMN),
    "numbers": (lambda: mlp([2, 16, 1], nn.ReLU), nn.MSELoss(), MOONS, MOONS[:, :1] * MOONS[:, 1:]),
    "autoencoder": (lambda: mlp([64, 16, 64], nn.ReLU, nn.Sigmoid()), nn.BCELoss(), DIGITS, DIGITS),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_nets_have_none_before_and_in_training(name):
    make, loss, x, y = HEALTHY[name]
    bp.manual_seed(1)
    net, draw = make(), np.random.default_rng(3)
    optimizer = bp.optim.Adam(net.parameters(), lr=0.01)
    for steps in (0, 1, 29, 120):
        for _ in range(steps):
            rows = draw.integers(0, len(x), 32)
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
        assert not bp.explain(net, loss, x, y).findings, steps
    for few in (16, 2) if "BatchNorm" in repr(net) else (16, 2, 1):
        assert not bp.explain(net, loss, x[:few], y[:few]).findings, few
    before, after = bp.explain(make(), loss, x, y), bp.explain(net, loss, x, y)
    assert after.loss < 0.8 * before.loss  # it does learn, so nothing was overlooked
    assert not list(still_guessing(after, 1))


# ---- planted faults -------------------------------------------------------------------------------------------------


def filled(net, value):
    """All parameters: a number, or what a function makes of the array."""
    for parameter in net.parameters():
        parameter.data[...] = value(parameter.data) if callable(value) else value
    return net


def normal(deviation):
    return lambda data: deviation * np.random.default_rng(0).standard_normal(data.shape)


def with_bias(net, stage, bias):
    net[stage].bias.data[...] = bias
    return net


def frozen(net):
    for parameter in net.parameters():
        parameter.requires_grad = False
    return net


def half_dead():
    bias = np.where(np.arange(30) < 25, -50.0, 0.5)
    return with_bias(mlp([64, 30, 10], nn.ReLU), 0, bias)


def dead_channels():
    net = convolutional()
    net[3].bias.data[...] = -50.0
    return net


def missing(array):
    return np.where(np.arange(len(array)).reshape(-1, *[1] * (array.ndim - 1)) == 5, np.nan, array)


def usual(*after):
    return mlp([64, 30, 10], nn.ReLU, *after)


# name: the net, the loss, x, y, and the findings: (layer, kind, what the text says of it)
FAULTS = {
    "eight sigmoids": (
        *(lambda: mlp([64, *[30] * 8, 10], nn.Sigmoid), OF_LABELS, DIGITS, LABELS),
        [
            ("0", "vanishing", r"norm of delta is .*e-02 in layer 9 and .*e-08 in layer 1, .*e\+06 times less"),
            ("", "constant", "outputs of all 128 rows are the same to .*e-07"),
        ],
    ),
    "zeros, sigmoid": (
        *(lambda: filled(mlp([64, 30, 10], nn.Sigmoid), 0.0), OF_LABELS, DIGITS, LABELS),
        [("0", "symmetry", "All weights are 0, .* the 30 units stay alike")],
    ),
    "zeros, relu": (
        *(lambda: filled(usual(), 0.0), OF_LABELS, DIGITS, LABELS),
        [
            ("0", "symmetry", "All weights are 0"),
            ("0", "dead", "All 30 units are dead"),
            ("0", "zero", "Every gradient of the layer is exactly 0"),
            ("", "constant", "outputs of all 128 rows"),
        ],
    ),
    "all the same": (
        *(lambda: filled(mlp([64, 30, 10], nn.Tanh), 0.1), OF_LABELS, DIGITS, LABELS),
        [("0", "symmetry", "All weights are the same, and so every unit")],
    ),
    "a filter many times": (
        *(lambda: filled(convolutional(), 0.1), OF_LABELS, IMAGES, LABELS),
        [("0", "symmetry", "the 8 units stay alike"), ("3", "symmetry", "the 16 units stay alike")],
    ),
    "dead": (
        *(lambda: with_bias(usual(), 0, -50.0), OF_LABELS, DIGITS, LABELS),
        [
            ("0", "dead", "All 30 units are dead: ReLU gives 0 for every one of 128 rows"),
            ("0", "zero", "exactly 0"),
            ("", "constant", "inputs do not come through"),
        ],
    ),
    "mostly dead": (half_dead, OF_LABELS, DIGITS, LABELS, [("0", "dead", "2[5-9] of 30 units are dead")]),
    "dead channels": (
        *(dead_channels, OF_LABELS, IMAGES, LABELS),
        [
            ("3", "dead", "All 16 units are dead"),
            ("3", "zero", "exactly 0"),
            ("", "constant", "inputs do not come through"),
        ],
    ),
    "saturated": (
        *(lambda: filled(mlp([64, 30, 10], nn.Tanh), normal(2.0)), OF_LABELS, DIGITS, LABELS),
        [
            ("0", "saturated", r"77% of the activations are saturated: abs\(z\) is"),
            ("", "chance", "guessing, ln 10"),
        ],
    ),
    "surely wrong": (  # Nielsen's neuron, w = b = 2, in more rows than one
        *(lambda: filled(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid()), 2.0), nn.QuadraticLoss()),
        *(np.linspace(0.9, 1.1, 16)[:, None], np.linspace(0.0, 0.1, 16)[:, None]),
        [("0", "saturated", "16 of the 16 outputs that are wrong are saturated: with QuadraticLoss BP1")],
    ),
    "exploding": (
        *(lambda: filled(mlp([64, 64, 64, 64, 64, 10], nn.ReLU), normal(2.0)), OF_LABELS, DIGITS, LABELS),
        [
            ("0", "exploding", r"in layer 5 and .* in layer 1, .*e\+04 times more"),
            ("", "chance", "the net is sure of what is wrong"),
        ],
    ),
    "pixels to 255": (
        *(lambda: mlp([64, 30, 10], nn.Sigmoid), OF_LABELS, DIGITS * 255, LABELS),
        [("", "scale", r"Column \d+ of x has numbers around 2\d\d"), ("0", "saturated", "9.% of the activations")],
    ),
    "one column": (
        *(lambda: mlp([2, 8, 2], nn.ReLU), OF_LABELS, MOONS * [1.0, 100.0], SIDES),
        [("", "scale", "Column 1 of x has numbers around .*, the middle one")],
    ),
    "beyond the squares of float32": (
        *(lambda: filled(nn.Linear(2, 2, dtype="float32"), normal(1e-30)), OF_LABELS),
        *((MOONS * 1e30).astype(np.float32), SIDES),
        [("", "scale", r"has numbers around \d\.\d+e\+29|\+30"), ("", "exploding", "gradient has norm .*e")],
    ),
    "tiny": (usual, OF_LABELS, DIGITS * 1e-5, LABELS, [("", "scale", "No column"), ("", "constant", "the same to")]),
    "rows alike": (
        usual,
        OF_LABELS,
        DIGITS[:1].repeat(128, 0),
        LABELS,
        [("", "inputs", "All 128 rows of x are the same")],
    ),
    "prices": (
        *(lambda: mlp([2, 8, 1], nn.ReLU), nn.MSELoss(), MOONS, 1e5 + 2e4 * MOONS[:, :1]),
        [
            ("", "scale", r"The targets are around 1\.\d+e\+05"),
            ("", "exploding", "The gradient has norm .*, all parameters .*: any usual step"),
        ],
    ),
    "one class": (usual, OF_LABELS, DIGITS, LABELS * 0 + 3, [("", "labels", "All 128 rows of y are 3:")]),
    "softmax twice": (
        *(lambda: usual(nn.Softmax()), OF_LABELS, DIGITS, LABELS),
        [("2", "logits", "takes the softmax itself, .* Softmax gives it those from 0.*Leave the last Softmax out")],
    ),
    "softmax twice, functional": (
        *(lambda: nn.Sequential(usual(), lambda z: F.softmax(z)), F.cross_entropy, DIGITS, LABELS),
        [("0.2", "logits", "CrossEntropyLoss takes the softmax itself")],
    ),
    "relu at the end": (
        *(lambda: usual(nn.ReLU()), OF_LABELS, DIGITS, LABELS),
        [("2", "logits", "Leave the last ReLU out")],
    ),
    "sigmoid twice": (
        *(lambda: mlp([2, 8, 1], nn.Tanh, nn.Sigmoid()), nn.BCEWithLogitsLoss(), MOONS, COLUMN),
        [("2", "logits", "BCEWithLogitsLoss takes the sigmoid itself, of any numbers; Sigmoid gives it")],
    ),
    "one number for classes": (
        *(lambda: mlp([2, 8, 1], nn.Tanh), OF_LABELS, MOONS, SIDES * 0),
        [("", "labels", "are 0"), ("2", "logits", "gets one number a row")],
    ),
    "no logarithms": (
        *(lambda: usual(nn.Softmax()), nn.NLLLoss(), DIGITS, LABELS),
        [("2", "logits", "adds up to 11.*, not 1. End the net with LogSoftmax")],
    ),
    "out of reach": (
        *(lambda: mlp([2, 8, 1], nn.Tanh, nn.Sigmoid()), nn.MSELoss(), MOONS, 3 * MOONS[:, :1]),
        [("2", "range", r"Sigmoid gives numbers from 0 to 1; \d+ of 128 targets are not among them")],
    ),
    "nothing between": (
        *(lambda: nn.Sequential(nn.Linear(64, 30), nn.Dropout(0.1), nn.Linear(30, 10)), OF_LABELS, DIGITS, LABELS),
        [("0", "linear", "between this layer and layer 2")],
    ),
    "cut off": (Cut, OF_LABELS, DIGITS, LABELS, [("first", "zero", "exactly 0, it learns nothing")]),
    "frozen": (lambda: frozen(usual()), OF_LABELS, DIGITS, LABELS, [("", "frozen", "No parameter requires grad")]),
    "a loss without the net": (
        *(usual, lambda output, y: F.cross_entropy(output.detach(), y), DIGITS, LABELS),
        [("2", "zero", "Give the loss what the net gives, as it is")],
    ),
    "faint": (
        *(lambda: filled(usual(), lambda data: data * (1e-6 if data.ndim > 1 else 0.0)), OF_LABELS, DIGITS, LABELS),
        [("0", "vanishing", "times less")],
    ),
    "steps taken for rows": (
        *(lambda: nn.Sequential(nn.LSTM(8, 16), nn.LastStep(batch_first=True), nn.Linear(16, 10)), OF_LABELS),
        *(ROWS, LABELS, [("", "rows", "The output of row 127 depends on other rows of x")]),
    ),
    "softmax over the rows": (
        *(lambda: usual(nn.Softmax(0)), nn.MSELoss(), DIGITS, ONE_HOT),
        [("", "rows", "a softmax or mean over axis 0")],
    ),
    "every pair": (
        *(lambda: mlp([2, 8, 1], nn.Tanh), lambda z, y: ((z - y) ** 2).mean(), MOONS, SIDES * 1.0),
        [("", "rows", r"The loss takes \(128, 1\) and \(128,\) together, which gives \(128, 128\)")],
    ),
    "no parameters": (nn.Tanh, nn.MSELoss(), MOONS, MOONS / 9, [("", "frozen", "The model has no parameters")]),
    "missing inputs": (
        *(usual, OF_LABELS, missing(DIGITS), LABELS),
        [("", "nonfinite", r"the inputs x has 64 of 8192, at \[5, 0\] nan. Clean the data")],
    ),
    "infinite inputs": (
        *(usual, OF_LABELS, np.where(missing(DIGITS) >= 0.0, DIGITS, np.inf), LABELS),
        [("", "nonfinite", "inf. Clean the data")],
    ),
    "missing targets": (
        *(lambda: mlp([2, 8, 1], nn.ReLU), nn.MSELoss(), MOONS, missing(COLUMN)),
        [("", "nonfinite", r"the targets y has 1 of 128, at \[5, 0\] nan. Clean")],
    ),
    "ruined": (
        *(lambda: with_bias(usual(), 2, [np.inf, *[0.0] * 9]), OF_LABELS, DIGITS, LABELS),
        [("2", "nonfinite", r"the parameter bias has 1 of 10, at \[0\] inf. An update has ruined it")],
    ),
    "overflow": (
        *(lambda: filled(mlp([64, 30, 10], nn.ReLU), 1e200), OF_LABELS, DIGITS, LABELS),
        [("2", "nonfinite", "z, what the layer gives, has 1280 of 1280")],
    ),
    "infinite slope": (
        *(lambda: nn.Sequential(filled(nn.Linear(2, 1), 0.0), np.sqrt), nn.MSELoss(), MOONS, COLUMN),
        [("0", "nonfinite", "delta has 64 of 128, at .0, 0. -inf")],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(name):
    make, loss, x, y, expected = FAULTS[name]
    bp.manual_seed(1)
    found = bp.explain(make(), loss, x, y).findings
    assert [(finding.layer, finding.kind) for finding in found] == [(layer, kind) for layer, kind, _ in expected]
    for finding, (_, _, said) in zip(found, expected, strict=True):
        assert re.search(said, finding.text), finding.text
        assert finding.text.endswith(".") and finding.text.isascii()


class Around(nn.Module):
    """A residual block."""

    def __init__(self):
        self.first, self.second = nn.Linear(30, 30), nn.Linear(30, 30)

    def forward(self, x):
        return x + self.second(F.relu(self.first(x)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(64, 30), Around(), nn.Linear(30, 10)),
        lambda: nn.Sequential(nn.Linear(64, 4), nn.Linear(4, 10)),
    ],
    ids=["residual", "bottleneck"],
)
def test_two_linear_layers_that_can_do_more_or_less_than_one_are_no_fault(make):
    assert not bp.explain(make(), OF_LABELS, DIGITS, LABELS).findings


@pytest.mark.parametrize("name", ["mostly dead", "saturated"])
def test_what_looks_ill_in_a_net_that_has_learnt_is_no_fault(name):
    make, loss, x, y, _ = FAULTS[name]
    bp.manual_seed(1)
    step = bp.explain(make(), loss, x, y)
    kind = name.split()[-1]
    assert kind in {finding.kind for finding in module.findings(step)}
    right = dataclasses.replace(step, output=10.0 * ONE_HOT)
    assert kind not in {finding.kind for finding in module.findings(right)}


def test_a_single_output_that_is_saturated_and_wrong_is_no_fault():
    net = filled(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid()), 2.0)
    x = np.linspace(0.9, 1.1, 16)[:, None]
    assert not bp.explain(net, nn.QuadraticLoss(), x, np.where(x == x[3], 0.0, 0.98)).findings


def test_every_kind_was_planted():
    source = Path(module.__file__).read_text()
    kinds = set(re.findall(r'^\s+"([a-z]+)",$|Finding\([\w.\[\]"-]*, "([a-z]+)"', source, re.MULTILINE))
    planted = {kind for *_, expected in FAULTS.values() for _, kind, _ in expected}
    assert planted >= {a or b for a, b in kinds} and len(planted) >= 16


@pytest.mark.parametrize(("name", "loss"), [("relu", 2.3026), ("two classes", 0.6931)])
def test_a_trained_net_that_still_guesses_is_told_of(name, loss):
    make, cost, x, y = HEALTHY[name]
    step = bp.explain(filled(make(), 0.0), cost, x, y)
    (finding,) = still_guessing(step, 30)
    assert finding.kind == "chance" and f"After epoch 30 the loss is {step.loss:.4g}; guessing" in finding.text
    assert step.loss == pytest.approx(loss, abs=1e-4)
    assert not list(still_guessing(step, 0))
    assert not list(still_guessing(dataclasses.replace(step, loss_name="MSELoss"), 30))


def test_of_few_rows_nothing_is_said_that_holds_by_chance():
    bp.manual_seed(1)
    assert not bp.explain(half_dead(), OF_LABELS, DIGITS[:4], LABELS[:1].repeat(4)).findings
    assert not bp.explain(half_dead(), OF_LABELS, DIGITS[:16], LABELS[:16]).findings
