"""Ways in which a wrong gradient was once called right, or a right one wrong: each found by trying, none may return."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- wrong, and never passed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 3000])
def test_an_argument_whose_share_is_too_small_to_show(n):
    def loss(a, b):
        return np.sum(np.tanh(b)) + 1e-12 * np.sum(np.sin(a))

    def backward(a, b):
        return 5e-12 * np.cos(a), 1 - np.tanh(b) ** 2

    assert not bp.check_backprop(loss, backward, normal(n), normal(n, seed=1), loss=True)


@pytest.mark.parametrize("n", [20, 3000])
@pytest.mark.parametrize("constant", [1e8, 1e10])
@pytest.mark.parametrize("seed", range(5))
def test_a_small_gradient_beside_a_large_constant(n, constant, seed):
    def backward(a):
        return -3e-7 * (1 - np.tanh(a) ** 2)

    def loss(a):
        return constant + 1e-7 * np.sum(np.tanh(a))

    report = bp.check_backprop(loss, backward, normal(n, seed=seed), loss=True)
    assert report.status in ("FAIL", "INCONCLUSIVE")
    assert report.status == "FAIL" or "too small beside the function's own value" in str(report)


def test_steps_that_are_whole_periods():
    def backward(x):
        g = 2**13 * np.pi * np.cos(2**13 * np.pi * x)
        g[0] = 0.0
        return g

    x = np.array([0.3, 0.7, 0.9, 0.55])
    assert not bp.check_backprop(lambda x: np.sum(np.sin(2**13 * np.pi * x)), backward, x, loss=True)


@pytest.mark.parametrize("slope", [1.04, -0.04, 1.002])
def test_a_little_outside_the_slopes_of_a_kink(slope):
    def backward(x, upstream):
        return upstream * np.where(x == 0, slope, x > 0)

    assert bp.check_backprop(lambda x: np.maximum(x, 0), backward, np.array([0.0, 1.0])).status == "FAIL"


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize(
    ("forward", "g"),
    [
        (lambda x, y: np.maximum(x, -y), (1.0, -1.0)),
        (lambda x, y: np.abs(x + y), (1.0, -1.0)),
        (lambda x, y: np.maximum(x, y), (1.0, 1.0)),
        (lambda x, y: np.maximum(x, y), (0.0, 0.0)),
    ],
    ids=["max(x, -y)", "|x + y|", "both", "none"],
)
def test_ties(forward, g, mode):
    def backward(x, y, upstream):
        return g[0] * upstream, g[1] * upstream

    zeros = np.zeros(3)
    assert bp.check_backprop(forward, backward, zeros, zeros.copy(), mode=mode).status == "FAIL"


def test_outputs_of_very_different_sizes():
    def backward(x, u):
        return 1e9 * u[0] + 5e-7 * u[1] * (1 - np.tanh(x) ** 2)

    assert not bp.check_backprop(lambda x: (1e9 * x, 1e-7 * np.tanh(x)), backward, normal(4))


def test_tiny_inputs_excuse_nothing():
    x = np.full(3, 1e-12)
    report = bp.check_backprop(np.exp, lambda x, upstream: np.abs(upstream) * np.exp(x), x)
    assert report.diagnosis[0].code == "UPSTREAM"


def test_a_loss_hides_no_contract():
    def backward(x):
        return x

    assert bp.check_backprop(lambda x: np.sum(x**2) / 2, backward, normal(3), loss=True).diagnosis[0].code == "SHARED"
    whole = bp.check_backprop(lambda x: np.sum(x), lambda x: np.ones(3, int), normal(3), loss=True)
    assert whole.diagnosis[0].code == "DTYPE"


def test_arguments_of_one_name_are_two():
    def total(x1, *rest):
        return x1 * 2 + rest[0]

    wrong = bp.check_backprop(total, lambda a, b, u: (2 * u, 3 * u), normal(3), normal(3, seed=1))
    assert wrong.status == "FAIL"
    assert len(wrong.blocks) == 2


def test_a_layer_is_checked_by_its_parameters_too():
    class Half(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(np.ones(3))

        def forward(self, x):
            return x * (0.5 * self.w + 0.5 * self.w.detach())

    report = bp.gradcheck(Half(), normal(2, 3))
    assert report.status == "FAIL"
    assert report.diagnosis[0].argument == "w"


def test_an_argument_named_like_a_parameter():
    class Scale(nn.Module):
        def __init__(self):
            self.x = nn.Parameter(np.ones(3))

        def forward(self, x):
            return x.detach() * self.x + 3.0 * x - 2.0 * x.detach()

    report = bp.check_layer(Scale(), normal(2, 3))
    assert report.status == "FAIL"
    assert {name for _, name in report.blocks} == {"x", "input x"}
    assert {d.argument for d in report.diagnosis} == {"input x"}


def test_labels_that_are_written():
    labels = np.array([0, 1])

    def forward(x, labels):
        y = x[np.arange(2), labels]
        labels[:] = 1 - labels
        return y

    report = bp.check_backprop(forward, lambda x, labels, u: np.zeros_like(x), normal(2, 2), labels)
    assert report.diagnosis[0].code in ("MUTATION", "NONDETERMINISTIC")
    assert labels.tolist() == [0, 1]


# ---- right, and never failed ---------------------------------------------------------------------------------------


class Cached:
    """A layer as courses teach it: forward keeps what backward needs."""

    def forward(self, x, W):
        self.x, self.W = x, W
        return np.tanh(x @ W)

    def backward(self, x, W, upstream):
        g = upstream * (1 - np.tanh(self.x @ self.W) ** 2)
        return g @ self.W.T, self.x.T @ g


@pytest.mark.parametrize("mode", ["full", "fast"])
def test_a_layer_that_keeps_what_its_backward_needs(mode):
    layer = Cached()
    assert bp.check_backprop(layer.forward, layer.backward, normal(4, 3), normal(3, 2), mode=mode).status == "PASS"


def test_gradients_go_by_their_keys():
    a, b = normal(3), normal(3, seed=1)

    def loss(p):
        return np.sum(p["a"] ** 2) + np.sum(p["b"] ** 3)

    assert bp.check_loss(loss, {"a": a, "b": b}, {"b": 3 * b**2, "a": 2 * a}).status == "PASS"
    report = bp.check_loss(loss, {"a": a, "b": b}, {"da": 2 * a, "b": 3 * b**2})
    assert "params['a'] has no counterpart in grads" in str(report)


def test_a_nest_of_parameters_comes_as_it_was_passed():
    W, b, v = normal(2, 3), normal(2), normal(4)
    gradient = [[np.ones((2, 3)), 2 * b], 3 * v**2]

    def loss(layer, v):
        return layer[0].sum() + np.sum(layer[1] ** 2) + np.sum(v**3)

    assert bp.check_loss(loss, [[W, b], v], gradient).status == "PASS"


@pytest.mark.parametrize(
    ("params", "grads", "message"),
    [
        (None, None, "params is None"),
        ([normal(2), None], [normal(2), None], r"params[1] is None"),
        (normal(2) * 1j, normal(2), "params is of dtype complex128"),
        ("abc", "abc", "params is of dtype <U3"),
        (np.arange(3), np.arange(3), "params is of dtype int64"),
    ],
)
def test_parameters_that_are_none(params, grads, message):
    report = bp.check_loss(np.sum, params, grads)
    assert report.status == "CONTRACT"
    assert message in str(report)


def test_a_loss_that_keeps_its_dimensions():
    x = normal(3)
    assert bp.check_backprop(lambda x: np.sum(x**2, keepdims=True), lambda x: 2 * x, x, loss=True).status == "PASS"
    assert bp.check_loss(lambda x: np.sum(x**2, keepdims=True)[None], x, 2 * x).status == "PASS"


def test_a_forward_that_raises_the_second_time():
    calls = []

    def forward(x):
        calls.append(x)
        if len(calls) > 1:
            raise RuntimeError("once is enough")
        return x * 2

    report = bp.check_backprop(forward, lambda x, u: 2 * u, normal(2))
    assert report.diagnosis[0].code == "RAISES"
    assert "once is enough (test_false_passes.py" in str(report)


def test_generators_are_put_back_whatever_happens():
    rng = np.random.default_rng(5)

    class Noisy(nn.Module):
        def forward(self, x):
            return x * rng.random(x.shape) * bp.rand(*x.shape)

    def infinite(x):
        return x / 0.0 * rng.random()

    before = rng.bit_generator.state, bp.random.generator().bit_generator.state
    assert bp.check_layer(Noisy(), normal(2, 3), rng=rng, order=2).ok
    assert not bp.gradcheck(infinite, normal(2), rng=rng)
    assert (rng.bit_generator.state, bp.random.generator().bit_generator.state) == before


def test_a_layer_that_holds_its_generator():
    class Dropped(nn.Module):
        def __init__(self, rng):
            self.rng = rng

        def forward(self, x):
            return x * (self.rng.random(x.shape) < 0.7)

    rng = np.random.default_rng(5)
    assert bp.check_layer(Dropped(rng), normal(2, 3), rng=rng).ok


def test_a_layer_that_cannot_be_copied():
    class Locked(nn.Module):
        def __init__(self):
            self.lock = threading.Lock()

        def forward(self, x):
            return x * 2.0

    report = bp.check_layer(Locked(), normal(2))
    assert report.diagnosis[0].code == "INPUT"
    assert "it cannot be copied: " in str(report)


def test_a_backward_that_returns_something_else_each_time():
    answers = iter([(np.ones(2), np.ones(2)), (np.ones(2),), "x", None, None, None])
    report = bp.check_backprop(lambda x, y: x + y, lambda x, y, u: next(answers), normal(2), normal(2))
    assert report.status == "CONTRACT"
    assert report.diagnosis[0].code == "COUNT"


def test_full_mode_refuses_what_no_memory_holds():
    report = bp.gradcheck(lambda x: x * 2.0, np.ones(100_000), mode="full")
    assert "INPUT: full mode would measure 100000 x 100000 derivatives. Use mode='fast'" in str(report)


def test_second_derivatives_that_are_rounding_need_no_symmetry():
    """They are zero, and come out as 1e-17 and -3e-17."""
    norm = lambda x: bp.ops.sqrt(x * x).sum() + bp.ops.softmax(x).sum()
    assert bp.gradcheck(norm, normal(4), order=2).status == "PASS"


def test_many_wrong_arguments_end_soon():
    source = (
        f"def many({', '.join(f'a{k}' for k in range(100))}):\n    return {' + '.join(f'a{k}' for k in range(100))}"
    )
    scope = {}
    exec(source, scope)
    arguments = [normal(30, seed=k) for k in range(100)]
    report = bp.check_backprop(scope["many"], lambda *args: [2.5 * args[-1].copy() for _ in range(100)], *arguments)
    assert report.status == "FAIL"
    assert report.evals < 25_000


def test_the_seed_is_part_of_the_reproduction():
    assert "rng=7" in bp.gradcheck(bp.ops.exp, normal(2), rng=7).repro()


def test_many_outputs_of_one_number():
    report = bp.gradcheck(lambda x: x * np.arange(1.0, 200_001.0), 0.5)
    assert report.status == "PASS"
    assert report.mode == "fast"


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: (x, x), "numeric_jacobian: f returned 2 outputs. Measure one at a time."),
        (lambda x: x * np.random.default_rng().random(), "two calls of f at x gave different results"),
    ],
)
def test_numeric_jacobian_refuses(f, message):
    with pytest.raises(ValueError, match=message):
        bp.numeric_jacobian(f, normal(3))
    with pytest.raises(ValueError, match="numeric_jacobian: x is no array of numbers"):
        bp.numeric_jacobian(f, "a")


def test_numeric_jacobian_at_a_leap():
    found = bp.numeric_jacobian(np.sign, np.array([0.0, 1.0]))
    assert np.isnan(found.value[0, 0]) and np.isinf(found.error[0, 0])
    assert found.value[1, 1] == 0.0
