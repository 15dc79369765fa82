"""The functions: values, gradients against differences, what each loss accepts and refuses."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import tinygrad_bp as bp
from tests.differences import assert_gradients, close
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F
from tinygrad_bp.nn.functional.accepted import REDUCTIONS

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
P, Q = RNG.uniform(0.05, 0.95, size=(5, 3)), RNG.uniform(size=(5, 3))
LABELS = np.array([2, 0, 1, 1, 2])
DISTRIBUTIONS = Q / Q.sum(1, keepdims=True)

# name: (function, class, input, target, losses that the reduction "none" gives)
LOSSES = {
    "quadratic": (F.quadratic_loss, nn.QuadraticLoss, A, B, ((A - B) ** 2).sum(1) / 2),
    "mse": (F.mse_loss, nn.MSELoss, A, B, (A - B) ** 2),
    "l1": (F.l1_loss, nn.L1Loss, A, B, np.abs(A - B)),
    "bce": (F.binary_cross_entropy, nn.BCELoss, P, Q, -Q * np.log(P) - (1 - Q) * np.log(1 - P)),
    "bce with logits": (
        F.binary_cross_entropy_with_logits,
        nn.BCEWithLogitsLoss,
        A,
        Q,
        np.log(1 + np.exp(A)) - A * Q,
    ),
    "cross-entropy, labels": (
        F.cross_entropy,
        nn.CrossEntropyLoss,
        A,
        LABELS,
        -np.log(np.exp(A) / np.exp(A).sum(1, keepdims=True))[np.arange(5), LABELS],
    ),
    "cross-entropy, distributions": (
        F.cross_entropy,
        nn.CrossEntropyLoss,
        A,
        DISTRIBUTIONS,
        -(DISTRIBUTIONS * np.log(np.exp(A) / np.exp(A).sum(1, keepdims=True))).sum(1),
    ),
    "nll": (F.nll_loss, nn.NLLLoss, A, LABELS, -A[np.arange(5), LABELS]),
    "huber": (F.huber_loss, nn.HuberLoss, A, B, np.where(abs(A - B) < 1, (A - B) ** 2 / 2, abs(A - B) - 0.5)),
    "smooth l1": (
        F.smooth_l1_loss,
        nn.SmoothL1Loss,
        A,
        B,
        np.where(abs(A - B) < 1, (A - B) ** 2 / 2, abs(A - B) - 0.5),
    ),
}
each_loss = pytest.mark.parametrize("name", LOSSES)


def test_every_loss_is_in_the_list():
    functions = {name for name in F.__all__ if "reduction" in str(getattr(getattr(F, name), "__annotations__", ""))}
    assert functions == {function.__name__ for function, *_ in LOSSES.values()}
    assert {name for name in nn.__all__ if name.endswith("Loss")} == {cls.__name__ for _, cls, *_ in LOSSES.values()}


# ---- activations --------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    F.sigmoid: lambda x: 1 / (1 + np.exp(-x)),
    F.tanh: np.tanh,
    F.relu: lambda x: np.where(x > 0, x, 0),
    F.leaky_relu: lambda x: np.where(x > 0, x, 0.01 * x),
    F.elu: lambda x: np.where(x > 0, x, np.exp(x) - 1),
    F.silu: lambda x: x / (1 + np.exp(-x)),
    F.softplus: lambda x: np.log(1 + np.exp(x)),
    F.selu: lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
    F.gelu: lambda x: x / 2 * (1 + special.erf(x / np.sqrt(2))),
    F.mish: lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    F.softsign: lambda x: x / (1 + np.abs(x)),
    F.logsigmoid: lambda x: -np.log(1 + np.exp(-x)),
    F.softmax: lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    F.log_softmax: lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
}


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda f: f.__name__)
def test_an_activation_is_its_formula(function):
    assert close(function(bp.tensor(A)).data, ACTIVATIONS[function](A), 1e-14)
    assert type(function(A)) is np.ndarray


def test_arguments_have_pytorchs_names_and_defaults():
    x, w, b = bp.tensor(A), bp.tensor(B), bp.tensor(np.ones(5))
    assert close(F.linear(input=x, weight=w, bias=b).data, A @ B.T + 1.0, 1e-14)
    assert close(F.linear(x, w).data, A @ B.T, 1e-14)
    assert close(F.leaky_relu(x, negative_slope=0.3).data, np.where(A > 0, A, 0.3 * A), 1e-14)
    assert close(F.elu(x, alpha=2.0).data, np.where(A > 0, A, 2 * (np.exp(A) - 1)), 1e-14)
    assert close(
        F.softplus(x, beta=2.0, threshold=1.0).data, np.where(2 * A > 1, A, np.log(1 + np.exp(2 * A)) / 2), 1e-14
    )
    assert close(F.gelu(x, approximate="tanh").data, F.gelu(x).data, 5e-4)
    assert close(F.softmax(x, dim=0).data.sum(0), np.ones(3), 1e-14)
    assert close(np.exp(F.log_softmax(x, dim=0).data).sum(0), np.ones(3), 1e-14)
    assert all(next(iter(inspect.signature(f).parameters)) == "input" for f in ACTIVATIONS)


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda f: f.__name__)
def test_an_activation_is_finite_and_silent_far_out(function):
    x = bp.Tensor([-1000.0, -100.0, 100.0, 1000.0], requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert np.isfinite(y.data).all()
    assert np.isfinite(x.grad.data).all()


def test_settings_of_activations_that_are_refused():
    with pytest.raises(ValueError, match=r'^gelu: approximate is True\. Choose "none" or "tanh"\.$'):
        nn.GELU(approximate=True)
    for beta in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=rf"^softplus: beta is {beta}\. Pass a number >=? 0\.$"):
            nn.Softplus(beta)


# ---- losses: values and gradients ---------------------------------------------------------------------------------


@each_loss
def test_a_loss_is_its_formula_in_every_reduction(name):
    function, _, x, y, losses = LOSSES[name]
    assert close(function(bp.tensor(x), y, reduction="none").data, losses, 1e-14)
    assert close(function(bp.tensor(x), y, reduction="sum").data, losses.sum(), 1e-14)
    assert close(function(bp.tensor(x), y).data, losses.mean(), 1e-14)


@each_loss
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_equal_differences(name, reduction):
    function, _, values, target, _ = LOSSES[name]
    x = bp.Tensor(values, requires_grad=True)
    assert_gradients(lambda: function(x, target, reduction=reduction), x)
    if not name.startswith(("cross", "nll")):
        y = bp.Tensor(target, requires_grad=True)
        assert_gradients(lambda: function(values, y, reduction=reduction), y)
        assert_gradients(lambda: function(x, y, reduction=reduction), x, y)


@each_loss
def test_a_class_is_its_function_with_a_reduction(name):
    function, cls, x, y, _ = LOSSES[name]
    for reduction in REDUCTIONS:
        assert np.array_equal(
            cls(reduction=reduction)(bp.tensor(x), y).data, function(bp.tensor(x), y, reduction=reduction).data
        )
    assert cls()(bp.tensor(x), y).item() == function(bp.tensor(x), y).item()
    assert repr(cls(reduction="sum")).startswith(f"{cls.__name__}(reduction='sum'")


@each_loss
def test_tensors_arrays_and_lists_are_accepted_on_both_sides(name):
    function, _, x, y, losses = LOSSES[name]
    for a in (bp.tensor(x), x, x.tolist()):
        for b in (bp.tensor(y), y, y.tolist()):
            assert close(getattr(function(a, b), "data", function(a, b)), losses.mean(), 1e-14)


def test_numbers_are_accepted():
    assert F.mse_loss(3.0, 1) == 4.0
    assert F.l1_loss(bp.tensor(3.0), 1.0).item() == 2.0


@each_loss
def test_float32_stays_float32(name):
    function, _, x, y, _ = LOSSES[name]
    logits = bp.Tensor(x.astype(np.float32), requires_grad=True)
    loss = function(logits, y if y.dtype.kind == "i" else y.astype(np.float32))
    assert loss.dtype == np.float32
    loss.backward()
    assert logits.grad.dtype == np.float32


@each_loss
def test_an_empty_batch_sums_to_zero_and_has_no_mean(name):
    function, _, x, y, _ = LOSSES[name]
    assert function(bp.tensor(x[:0]), y[:0], reduction="sum").item() == 0.0
    assert function(bp.tensor(x[:0]), y[:0], reduction="none").data.size == 0
    with pytest.raises(
        ValueError, match=rf"^{function.__name__}: an empty batch of shape \(0, 3\) has no mean\. Skip it, or use red"
    ):
        function(bp.tensor(x[:0]), y[:0])


@each_loss
@pytest.mark.parametrize("reduction", ["avg", None, "Mean"])
def test_an_unknown_reduction_is_refused(name, reduction):
    function, cls, x, y, _ = LOSSES[name]
    with pytest.raises(ValueError, match=rf'^{function.__name__}: reduction is {reduction!r}\. Choose "mean", "sum"'):
        function(x, y, reduction=reduction)
    with pytest.raises(ValueError, match=rf'^{cls.__name__}: reduction is {reduction!r}\. Choose "mean", "sum"'):
        cls(reduction=reduction)


@given(n=st.integers(1, 6), classes=st.integers(1, 6), scale=st.sampled_from([1.0, 30.0, 1e4]), seed=st.integers(0, 99))
def test_one_hot_rows_cost_what_their_labels_cost(n, classes, scale, seed):
    rng = np.random.default_rng(seed)
    logits = bp.Tensor(scale * rng.normal(size=(n, classes)), requires_grad=True)
    labels = rng.integers(classes, size=n)
    losses, gradients = [], []
    for target in (labels, np.eye(classes)[labels], labels.astype(np.uint8)):
        logits.grad = None
        loss = F.cross_entropy(logits, target)
        loss.backward()
        losses.append(loss.item())
        gradients.append(logits.grad.data)
    assert close(losses[1], losses[0], 1e-12)
    assert close(gradients[1], gradients[0], 1e-12)
    assert losses[2] == losses[0]
    assert close(F.nll_loss(F.log_softmax(logits), labels).data, losses[0], 1e-12)


# ---- losses: the ends of the range --------------------------------------------------------------------------------


def test_a_logarithm_of_zero_counts_one_hundred_in_silence():
    p = bp.Tensor([0.0, 0.0, 1.0, 1.0, 1e-50], requires_grad=True)
    losses = F.binary_cross_entropy(p, [1.0, 0.0, 1.0, 0.0, 1.0], reduction="none")
    assert losses.tolist() == [100.0, 0.0, 0.0, 100.0, 100.0]
    losses.sum().backward()
    assert p.grad.tolist() == [-1e12, 0.0, 0.0, 1e12, -1e12]  # as in PyTorch


def test_logits_of_any_size_are_exact():
    x = bp.Tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    losses = F.binary_cross_entropy_with_logits(x, [1.0, 0.0, 0.0, 1.0], reduction="none")
    assert losses.tolist() == [0.0, 0.0, 1e4, 1e4]
    losses.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0, -1.0]
    assert F.cross_entropy([[1e4, -1e4], [1e308, 0.0]], [1, 0], reduction="none").tolist() == [2e4, 0.0]


# ---- losses: what is refused --------------------------------------------------------------------------------------

EQUAL_SHAPES = [name for name in LOSSES if not name.startswith(("cross", "nll"))]


@pytest.mark.parametrize("name", EQUAL_SHAPES)
@pytest.mark.parametrize(
    ("shape", "target", "advice"),
    [
        ((4, 1), (4,), "Reshape: y[:, None]."),
        ((4,), (4, 1), "Reshape: y.reshape(4,)."),
        ((4, 3), (3, 4), "Reshape: y.reshape(4, 3), or transpose."),
        ((4, 3), (4,), "Pass one target for each entry."),
        ((4, 3), (3,), "Pass one target for each entry."),
        ((4, 3), (), "Pass one target for each entry."),
        ((4,), (1,), "Pass one target for each entry."),
    ],
)
def test_nothing_is_broadcast_against_a_target(name, shape, target, advice):
    function = LOSSES[name][0]
    message = (
        f"{function.__name__}: input has shape {shape}, target {target}. They must be equal; nothing is broadcast. "
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message + advice)}$"):
        function(bp.zeros(*shape), np.zeros(target))


@pytest.mark.parametrize("name", LOSSES)
def test_what_has_no_shape(name):
    function = LOSSES[name][0]
    for bad, kind in ((None, "NoneType"), ("a", "str"), ({}, "dict")):
        message = f"^{function.__name__}: the {{}} is a {kind}\\. Pass a Tensor, an array or a list of numbers\\.$"
        with pytest.raises(TypeError, match=message.format("input")):
            function(bad, [0])
        with pytest.raises(TypeError, match=message.format("target")):
            function(bp.ones(1, 3), bad)
    with pytest.raises(ValueError, match=rf"^{function.__name__}: the target is no regular array\. Pass rows of equal"):
        function(bp.ones(2, 3), [[1], [2, 3]])


def test_linear_takes_lists_and_refuses_ragged_ones():
    assert F.linear([[1.0, 2.0]], np.array([[3.0, 4.0]])).tolist() == [[11.0]]
    for layer in (lambda x: F.linear(x, np.ones((1, 2))), bp.nn.Linear(2, 1)):
        with pytest.raises(ValueError, match=r"^linear: the input is no regular array\. Pass rows of equal length\.$"):
            layer([[1, 2], [3]])


@pytest.mark.parametrize("name", EQUAL_SHAPES)
def test_class_labels_belong_to_another_loss(name):
    with pytest.raises(ValueError, match=r"nothing is broadcast\. For class labels use cross_entropy\.$"):
        LOSSES[name][0](bp.tensor(A), LABELS)


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss], ids=lambda f: f.__name__)
class TestLabels:
    @pytest.mark.parametrize(("label", "index"), [(-1, 3), (3, 0), (1000, 4)])
    def test_a_label_that_is_no_class(self, function, label, index):
        labels = LABELS.copy()
        labels[index] = label
        with pytest.raises(
            ValueError,
            match=rf"^{function.__name__}: label {label} at index {index} is not a class; classes are 0 to 2\. "
            r"Count labels from 0, and give the input a column for each\.$",
        ):
            function(bp.tensor(A), labels)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.bool_])
    def test_labels_that_are_no_integers(self, function, dtype):
        name = np.dtype(dtype).name
        with pytest.raises(TypeError, match=rf"^{function.__name__}: labels have dtype {name}\. Pass integers"):
            function(bp.tensor(A), LABELS.astype(dtype))

    @pytest.mark.parametrize("shape", [(5, 1), (4,), (), (1, 5)])
    def test_labels_of_another_shape(self, function, shape):
        otherwise = " or probabilities (5, 3)" if function is F.cross_entropy else ""
        message = f"{function.__name__}: input (5, 3) needs labels (5,){otherwise}, the target has shape {shape}. "
        message += "Flatten it: y.reshape(-1)." if np.prod(shape) == 5 else "Pass one label a row."
        with pytest.raises(ValueError, match=re.escape(message)):
            function(bp.tensor(A), np.zeros(shape, int))

    def test_an_input_without_classes(self, function):
        message = f"{function.__name__}: input has shape (). Pass (n, classes), (n, classes, ...) or (classes,)."
        with pytest.raises(ValueError, match=re.escape(message)):
            function(bp.tensor(1.0), [0])

    @pytest.mark.parametrize(("shape", "labels"), [((3,), ()), ((2, 3, 4), (2, 4)), ((2, 3, 4, 5), (2, 4, 5))])
    def test_labels_that_do_not_fit_other_inputs(self, function, shape, labels):
        for wrong in ((7,), (*labels, 1)):
            with pytest.raises(
                ValueError, match=re.escape(f"{function.__name__}: input {shape} needs labels {labels}")
            ):
                function(bp.zeros(*shape), np.zeros(wrong, int))

    def test_one_sample_and_many_axes_cost_what_their_rows_cost(self, function):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
        rows = function(np.moveaxis(x, 1, -1).reshape(-1, 3), y.reshape(-1), reduction="none")
        assert close(function(x, y, reduction="none"), rows.reshape(2, 4, 5), 1e-15)
        assert close(function(x, y), rows.mean(), 1e-15)
        assert close(function(x[0, :, 0, 0], y[0, 0, 0]), rows[0], 1e-15)
        assert close(function(x[0, :, 0, 0], int(y[0, 0, 0]), reduction="none"), rows[0], 1e-15)
        assert function(x[:0], y[:0], reduction="sum") == 0.0

    def test_a_label_that_is_left_out_costs_nothing_whatever_its_logits(self, function):
        values = A.copy()
        values[[0, 3]] = [[np.nan] * 3, [np.inf, 0.0, -np.inf]]
        counted = function(values[[1, 2, 4]], LABELS[[1, 2, 4]])
        for mark in (-100, -1, 7):
            labels = LABELS.copy()
            labels[[0, 3]] = mark
            for settings in ({}, {"ignore_index": mark}) if mark == -100 else ({"ignore_index": mark},):
                x = bp.Tensor(values, requires_grad=True)
                with np.errstate(invalid="ignore"):
                    loss = function(x, labels, **settings)
                loss.backward()
                assert close(loss.data, counted, 1e-15)
                assert not x.grad.data[[0, 3]].any()
                assert np.isfinite(x.grad.data).all()

    def test_a_label_that_is_no_class_beside_one_that_is_left_out(self, function):
        for labels, index, wrong in (([-100, -1, 0, 0, 0], {}, -1), ([5, 0, 5, 3, 0], {"ignore_index": 5}, 3)):
            with pytest.raises(ValueError, match=rf"^{function.__name__}: label {wrong} at index \d is not a class;"):
                function(A, np.array(labels), **index)

    def test_nothing_left_has_no_mean(self, function):
        gone, name = np.full(5, -100), function.__name__
        message = rf"^{name}: every label is left out or has weight 0, so there is nothing to average\. Skip the batch"
        with pytest.raises(ValueError, match=message):
            function(A, gone)
        with pytest.raises(ValueError, match=message):
            function(A, LABELS * 0, weight=[0.0, 1.0, 1.0])
        assert function(A, gone, reduction="sum") == 0.0
        assert function(A, gone, reduction="none").tolist() == [0.0] * 5

    def test_a_compiled_step_is_told_what_to_leave_out(self, function):
        labels = np.array([0, -100, 1, 2, 0])
        with pytest.raises(ValueError, match=r"A compiled step leaves labels out only if ignore_index is another numb"):
            bp.compile(lambda x, y: function(bp.Tensor(x), y))(A, labels)
        step = bp.compile(lambda x, y: function(bp.Tensor(x), y, ignore_index=-1))
        for y in (np.maximum(labels, -1), LABELS):
            assert close(step(A, y).data, function(A, y, ignore_index=-1), 1e-15)

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"weight": [1.0, 2.0]}, ValueError, r"weight has shape \(2,\)\. Pass one a class, \(3,\)\."),
            ({"weight": 2.0}, ValueError, r"weight has shape \(\)\. Pass one a class, \(3,\)\."),
            ({"weight": [1.0, -2.0, 1.0]}, ValueError, r"weight -2\.0 at index 1 is no finite number >= 0\."),
            ({"weight": [1.0, 1.0, np.inf]}, ValueError, r"weight inf at index 2 is no finite number >= 0\."),
            ({"weight": np.array(["a"] * 3)}, TypeError, r"the weight has dtype <U1\. Pass real numbers\."),
            ({"weight": "sum"}, TypeError, r"the weight is a str\. Pass a Tensor, an array or a list of numbers\."),
            ({"ignore_index": 1.0}, TypeError, r"ignore_index is 1\.0, a float\. Pass an integer\."),
            ({"ignore_index": None}, TypeError, r"ignore_index is None, a NoneType\. Pass an integer\."),
        ],
    )
    def test_settings_that_are_refused(self, function, settings, error, message):
        with pytest.raises(error, match=f"^{function.__name__}: {message}"):
            function(A, LABELS, **settings)


def test_rows_that_are_no_distribution():
    wrong = DISTRIBUTIONS.copy()
    wrong[3] = [1.0, 0.0, 0.25]
    with pytest.raises(
        ValueError,
        match=r"^cross_entropy: the target's row sum 1\.25 at index 3 is not 1\. Divide each row by its sum\.$",
    ):
        F.cross_entropy(A, wrong)
    wrong = DISTRIBUTIONS.copy()
    wrong[1] = [-0.5, 1.0, 0.5]
    with pytest.raises(
        ValueError, match=r"^cross_entropy: target -0\.5 at index \(1, 0\) is not in \[0, 1\]\. Pass prob"
    ):
        F.cross_entropy(A, wrong)


def test_settings_of_losses_that_are_refused():
    def refused(error, message, call):
        with pytest.raises(error, match=message):
            call()

    refused(
        ValueError,
        r"^cross_entropy: label_smoothing is 1\.5\. Pass a number from 0 to 1\.$",
        lambda: F.cross_entropy(A, LABELS, label_smoothing=1.5),
    )
    refused(
        TypeError,
        r"^cross_entropy: label_smoothing is '1', a str\. Pass",
        lambda: F.cross_entropy(A, LABELS, label_smoothing="1"),
    )
    refused(
        ValueError,
        r"^cross_entropy: ignore_index is 1, but the target holds prob",
        lambda: F.cross_entropy(A, DISTRIBUTIONS, ignore_index=1),
    )
    refused(ValueError, r"^huber_loss: delta is -1\.0\. Pass a number >= 0\.$", lambda: F.huber_loss(A, B, delta=-1.0))
    refused(ValueError, r"^huber_loss: delta is 0, so the loss would be\. Pass", lambda: F.huber_loss(A, B, delta=0))
    refused(
        ValueError, r"^smooth_l1_loss: beta is nan\. Pass a number >= 0\.$", lambda: F.smooth_l1_loss(A, B, beta=np.nan)
    )
    refused(
        TypeError,
        r"^smooth_l1_loss: beta is None, a NoneType\. Pass a number\.$",
        lambda: F.smooth_l1_loss(A, B, beta=None),
    )
    refused(
        ValueError,
        r"^binary_cross_entropy: weight has shape \(5,\)\. Pass a shape that broadcasts to \(5, 3\)\.$",
        lambda: F.binary_cross_entropy(P, Q, [1.0] * 5),
    )
    refused(
        ValueError,
        r"^binary_cross_entropy_with_logits: pos_weight -1\.0 at index 1 is no",
        lambda: F.binary_cross_entropy_with_logits(A, Q, pos_weight=[1.0, -1.0, 2.0]),
    )
    refused(TypeError, r"^CrossEntropyLoss: the weight is a str\. Pass", lambda: nn.CrossEntropyLoss("sum"))


def test_a_smooth_l1_loss_without_a_bend_is_the_l1_loss():
    assert np.array_equal(F.smooth_l1_loss(A, B, beta=0, reduction="none"), F.l1_loss(A, B, "none"))


def test_weights_are_buffers_of_a_loss_and_do_not_change_its_dtype():
    loss = nn.BCEWithLogitsLoss([1.0, 2.0, 3.0], pos_weight=np.ones(3))
    assert list(loss.state_dict()) == ["weight", "pos_weight"]
    assert nn.CrossEntropyLoss([1, 2, 3])(A, LABELS) == F.cross_entropy(A, LABELS, [1, 2, 3])
    for function, y in ((F.cross_entropy, LABELS), (F.nll_loss, LABELS), (F.cross_entropy, DISTRIBUTIONS)):
        x = bp.Tensor(A.astype(np.float32), requires_grad=True)
        loss = function(x, y if y.ndim == 1 else y.astype(np.float32), [1.0, 2.0, 3.0])
        loss.backward()
        assert loss.dtype == x.grad.dtype == np.float32


@pytest.mark.parametrize("bad", [-0.25, 1.5, np.nan])
def test_probabilities_outside_zero_and_one(bad):
    wrong = P.copy()
    wrong[2, 1] = bad
    where = rf"{bad} at index \(2, 1\) is not in \[0, 1\]\. Pass probabilities\.$"
    with pytest.raises(ValueError, match=rf"^binary_cross_entropy: input {where}"):
        F.binary_cross_entropy(wrong, Q)
    with pytest.raises(ValueError, match=rf"^binary_cross_entropy: target {where}"):
        F.binary_cross_entropy(P, wrong)
    with pytest.raises(ValueError, match=rf"^binary_cross_entropy_with_logits: target {where}"):
        F.binary_cross_entropy_with_logits(A, wrong)


def test_the_quadratic_loss_of_a_number():
    with pytest.raises(ValueError, match=r"^quadratic_loss: a number has no rows to average over\."):
        F.quadratic_loss(bp.tensor(1.0), 0.0)


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4)])
def test_the_quadratic_loss_has_one_cost_a_row(shape):
    rng = np.random.default_rng(0)
    a, y = bp.Tensor(rng.normal(size=shape), requires_grad=True), rng.normal(size=shape)
    costs = F.quadratic_loss(a, y, reduction="none")
    assert costs.shape == (3,)
    assert np.allclose(costs.detach().numpy().sum() / 3, F.quadratic_loss(a, y).item())
    weights = rng.normal(size=3)
    costs.backward(weights)
    assert np.allclose(a.grad.numpy(), (a.data - y) * weights.reshape(3, *[1] * (len(shape) - 1)))


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.quadratic_loss])
def test_a_loss_of_integers_alone_is_refused(loss):
    with pytest.raises(TypeError, match=rf"^{loss.__name__}: input has dtype uint8, target uint8\. Pass floats"):
        loss(np.array([0], np.uint8), np.array([20], np.uint8))
