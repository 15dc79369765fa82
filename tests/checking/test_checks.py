"""The checks as people call them: every status, every broken contract, every bad input, and nothing left behind."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


X, W, B = normal(4, 3), normal(5, 3, seed=1), normal(5, seed=2)


def affine(x, W, b):
    return x @ W.T + b


def affine_backward(x, W, b, upstream):
    return upstream @ W, upstream.T @ x, upstream.sum(0)


def codes(report):
    return [d.code for d in report.diagnosis]


# ---- right ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "full", "fast"])
def test_a_right_backward_passes(mode):
    report = bp.check_backprop(affine, affine_backward, X, W, B, mode=mode)
    assert report
    assert report.status == "PASS"
    assert not report.diagnosis
    assert list(report.blocks) == [("v . y" if mode == "fast" else "y", name) for name in ("x", "W", "b")]


def test_full_mode_measures_every_derivative():
    report = bp.check_backprop(affine, affine_backward, X, W, B)
    block = report.blocks["y", "W"]
    assert block.analytic.shape == block.numeric.shape == block.verdict.shape == (4, 5, 5, 3)
    assert block.shape == W.shape
    assert np.abs(block.analytic - block.numeric).max() < 1e-9
    assert report.resolution < 1e-9
    assert report.noise < 1e-15


def test_forward_calls_on_passing_code():
    report = bp.gradcheck(lambda x: bp.ops.tanh(x), normal(40))
    assert report.evals <= 8 * 40
    report = bp.gradcheck(lambda x: bp.ops.tanh(x), normal(5000))
    assert report.mode == "fast"
    assert report.evals <= 100


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("fn", "inputs"),
    [
        (lambda x, w: (x @ w).tanh().sum(), (normal(4, 3), normal(3, 2))),
        (lambda x: (x, x * x), (normal(3),)),
        (lambda x: {"a": x.exp(), "b": x.sum()}, (normal(2, 2),)),
        (F.cross_entropy, (normal(4, 3), np.array([0, 2, 1, 1]))),
        (bp.ops.relu, (normal(6),)),
        (lambda x: x.sum(), (np.float64(3.0),)),
        (lambda x, bias: x * 2 if bias is None else x + bias, (normal(3), None)),
        (bp.ops.multiply, (normal(3).astype(np.float32), 2.0)),
        (lambda x: x * x, ([1.0, 2.0],)),
        (lambda x: x**3, (bp.Tensor([1.0, 2.0], requires_grad=True),)),
    ],
)
def test_functions_of_tensors(fn, inputs, order):
    report = bp.gradcheck(fn, *inputs, order=order)
    assert report.status == "PASS", report
    assert report.order == order


def test_integer_outputs_are_passed_over():
    assert bp.gradcheck(lambda x: (x.exp(), bp.ops.argmax(x)), normal(3)).status == "PASS"


# ---- kinks, zeros, edges -------------------------------------------------------------------------------------------


def test_a_value_between_the_slopes_of_a_kink_is_right_and_listed():
    for slope in (0.0, 0.5, 1.0):
        leaky = bp.primitive(
            "leaky", lambda x: np.maximum(x, 0), lambda g, y, x, s=slope: g * np.where(x == 0, s, x > 0)
        )
        report = bp.gradcheck(lambda x: leaky(x), np.array([0.0, 1.0, -2.0]))  # noqa: B023
        assert report.status == "KINK"
        assert report.ok
        assert (np.diag(report.blocks["y", "x"].verdict) == bp.checking.Verdict.KINK).tolist() == [True, False, False]
        assert not bp.gradcheck(leaky, np.array([0.0, 1.0]), kinks="fail")


@pytest.mark.parametrize("slope", [-0.2, 1.3, 17.0])
def test_a_value_outside_the_slopes_of_a_kink_is_wrong(slope):
    wrong = bp.primitive("wrong", lambda x: np.maximum(x, 0), lambda g, y, x: g * np.where(x == 0, slope, x > 0))
    report = bp.gradcheck(wrong, np.array([0.0, 1.0, -2.0]))
    assert report.status == "FAIL"
    assert codes(report)[0] == "KINK"


def test_ties_share_the_slope():
    tied = np.array([1.0, 1.0, 0.5])
    assert bp.gradcheck(bp.ops.max, tied).status == "KINK"
    both = bp.primitive("both", lambda x: x.max(), lambda g, y, x: g * (x == y))
    assert bp.gradcheck(both, tied).status == "FAIL"
    assert bp.gradcheck(bp.ops.maximum, tied, tied.copy()).status == "KINK"
    twice = bp.primitive("twice", np.maximum, lambda g, y, a, b: g * (a >= b), lambda g, y, a, b: g * (b >= a))
    assert bp.gradcheck(twice, tied, tied.copy()).status == "FAIL"


def test_kinks_that_do_not_meet_are_no_tie():
    v = np.array([1.0, -1.0, 2.0])
    assert bp.gradcheck(lambda x: (F.relu(x) * v).sum(), np.zeros(3)).status == "KINK"


def test_an_infinite_slope_is_a_kink():
    assert bp.gradcheck(bp.ops.sqrt, [0.0, 1.0]).status == "KINK"
    assert bp.gradcheck(bp.ops.cbrt, [0.0, 1.0]).status == "KINK"
    minus = bp.primitive("minus", np.sqrt, lambda g, y, x: -g / (2 * y))
    assert bp.gradcheck(minus, [0.0]).status != "KINK"


def test_where_nothing_can_be_measured_nothing_is_passed():
    zero = bp.primitive("zero", np.sqrt, lambda g, y, x: np.where(y > 0, g / (2 * np.where(y > 0, y, 1)), 0.0))
    report = bp.gradcheck(zero, [0.0, 1.0])
    assert report.status == "INCONCLUSIVE"
    assert "undecided (domain)" in str(report)


@pytest.mark.parametrize("mode", ["full", "fast"])
def test_near_a_kink_the_slope_counts(mode):
    x = np.array([1e-7, -1e-7, 0.3])
    right = bp.check_backprop(np.abs, lambda x, upstream: upstream * np.sign(x), x, mode=mode)
    wrong = bp.check_backprop(np.abs, lambda x, upstream: upstream * (x >= -1e-6), x, mode=mode)
    assert right.status == "PASS"
    assert wrong.status == "FAIL"


@pytest.mark.parametrize("mode", ["full", "fast"])
def test_where_every_derivative_is_zero_nothing_was_tested(mode):
    report = bp.gradcheck(bp.ops.relu, np.array([-1.0, -2.0]), mode=mode)
    assert report.status == "VACUOUS"
    assert not report
    assert "nothing was tested" in str(report)


@pytest.mark.parametrize(
    "fn",
    [lambda x: bp.ops.power(x, 0), lambda x: bp.ops.where(True, 1.5, x), lambda x: bp.ops.prod(x * [0.0, 0.0, 1.0])],
    ids=["power 0", "not taken", "two zeros"],
)
def test_a_constant_function_is_vacuous_not_noisy(fn):
    assert bp.gradcheck(fn, np.array([0.5, 1.2, -1.1])).status == "VACUOUS"


def test_one_zero_block_is_listed_and_spoils_nothing():
    report = bp.gradcheck(lambda x, y: x * 1.0 + 0.0 * y, normal(3), normal(3, seed=1))
    assert report.status == "PASS"
    assert "y is zero here: not tested" in str(report)


def test_what_rounding_hides_is_inconclusive():
    """The slope is 1e-9 of what float32 inside can show."""

    def forward(x):
        return (np.float32(1e3) + (1e-6 * np.sin(x)).astype(np.float32)).astype(float)

    report = bp.check_backprop(forward, lambda x, upstream: upstream * 1e-6 * np.cos(x), normal(3))
    assert report.status in ("INCONCLUSIVE", "VACUOUS")
    assert not report


def test_what_the_function_raises_near_the_inputs_is_said():
    def fussy(x):
        if x[0] > 1.0:
            raise RuntimeError("boom")
        return x * 2

    report = bp.check_backprop(fussy, lambda x, u: 2 * u, np.array([1.0, 2.0]))
    assert report.status == "INCONCLUSIVE"
    assert "the function cannot be computed on both sides: the forward raised RuntimeError: boom (test_ch" in str(
        report
    )


def test_a_jump_is_not_passed():
    report = bp.check_backprop(lambda x: np.floor(x) + x, lambda x, upstream: upstream * 1.0, np.array([1.0, 2.0]))
    assert report.status in ("FAIL", "INCONCLUSIVE")


# ---- wrong ---------------------------------------------------------------------------------------------------------

BACKWARDS = {
    "BROADCAST": lambda x, W, b, u: (u @ W, u.T @ x, u[0].copy()),
    "SIGN": lambda x, W, b, u: (-u @ W, u.T @ x, u.sum(0)),
    "FACTOR": lambda x, W, b, u: (u @ W, 1.7 * u.T @ x, u.sum(0)),
    "DETACHED": lambda x, W, b, u: (u @ W, None, u.sum(0)),
    "MEAN": lambda x, W, b, u: (u @ W, u.T @ x, u.mean(0)),
}


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize("code", BACKWARDS)
def test_a_wrong_backward_fails_and_is_named(code, mode):
    report = bp.check_backprop(affine, BACKWARDS[code], X, W, B, mode=mode)
    assert report.status == "FAIL"
    assert not report
    if mode == "full":
        assert codes(report) == [code]
    assert "test_checks.py, line" in str(report)


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize("size", [1e-4, 5e-6])
def test_small_relative_errors_are_caught(size, mode):
    def backward(x, W, b, upstream):
        return upstream @ W, (1 + size) * upstream.T @ x, upstream.sum(0)

    assert bp.check_backprop(affine, backward, X, W, B, mode=mode).status == "FAIL"


def test_close_numbers_are_printed_until_they_differ():
    report = bp.check_backprop(np.tanh, lambda x, u: (1 + 4e-6) * u * (1 - np.tanh(x) ** 2), X)
    assert "ratio 1 +4.0e-06" in str(report)


def test_rtol_is_what_is_allowed():
    slope = lambda size: bp.primitive("slope", np.tanh, lambda g, y, x: g * (1 - y * y) * (1 + size))
    assert bp.gradcheck(slope(4e-7), normal(5)).ok
    assert not bp.gradcheck(slope(2e-6), normal(5)).ok
    assert not bp.gradcheck(slope(1e-9), normal(5), rtol=1e-10).ok
    assert bp.gradcheck(slope(1e-4), normal(5), rtol=1e-3).ok


@pytest.mark.parametrize("seed", range(5))
def test_one_wrong_entry_of_10000_is_found(seed):
    x = normal(10_000, seed=seed)
    wrong = int(np.random.default_rng(seed).integers(x.size))

    def backward(x, upstream):
        g = upstream * (1 - np.tanh(x) ** 2)
        g[wrong] *= 1.5
        return g

    report = bp.check_backprop(np.tanh, backward, x, rng=seed)
    assert report.mode == "fast"
    assert report.status == "FAIL"
    assert report.worst(1)[0].index == (wrong,)
    assert report.worst(1)[0].ratio == pytest.approx(1.5)


def test_a_wrong_row_is_named_with_its_file_and_line():
    slope = bp.primitive("slope", np.tanh, lambda g, y, x: g * (1 - y))
    report = bp.gradcheck(lambda x, w: slope(x @ w).sum(), X, W.T)
    assert report.status == "FAIL"
    assert "the row 'slope' is wrong by itself: its partial for input 0 is test_checks.py, line" in str(report)


def test_second_opinions_come_with_a_failure():
    report = bp.check_backprop(np.tanh, lambda x, upstream: upstream * (1 - np.tanh(x)), normal(3))
    assert any("Taylor remainder along the worst entry falls like h^1.0" in opinion for opinion in report.opinions)
    assert any("complex step gives" in opinion and "numeric" in opinion for opinion in report.opinions)


def test_order_2_checks_the_backward():
    """Right at order 1, but the slope is a constant to the next order."""
    wrong = bp.primitive(
        "wrong", np.tanh, lambda g, y, x: g * (1 - np.tanh(x.data if isinstance(x, bp.Tensor) else x) ** 2)
    )
    assert bp.gradcheck(wrong, normal(3)).ok
    report = bp.gradcheck(wrong, normal(3), order=2)
    assert report.status == "FAIL"
    assert report.order == 2


def test_order_2_demands_symmetric_second_derivatives():
    """The gradient field (-y, x) is the gradient of nothing."""
    from tinygrad_bp.checking import opinions, verdict
    from tinygrad_bp.checking.contract import examine
    from tinygrad_bp.checking.problem import Problem

    def field(arrays):
        return {"grad x": -arrays[1], "grad y": arrays[0]}

    problem = Problem("field", field, lambda arrays, u: [u[1], -u[0]], {"x": normal(2), "y": normal(2, seed=1)})
    rng = np.random.default_rng(0)
    found = verdict.full(problem, examine(problem, rng), 1e-6, rng)
    assert (found.verdict == bp.checking.Verdict.PASS).all()
    assert [d.code for d in opinions.asymmetry(problem, found)] == ["ASYMMETRIC"]


# ---- contracts -----------------------------------------------------------------------------------------------------


def written(x, W, b, upstream):
    upstream *= 2
    return upstream @ W / 2, upstream.T @ x / 2, upstream.sum(0) / 2


def writing(x, W, b, upstream):
    result = upstream @ W, upstream.T @ x, upstream.sum(0)
    x[0] = 0
    return result


KEPT = {"b": np.zeros(5)}


def accumulating(x, W, b, upstream):
    KEPT["b"] = KEPT["b"] + upstream.sum(0)
    return upstream @ W, upstream.T @ x, KEPT["b"]


def random_backward(x, W, b, upstream):
    return upstream @ W, upstream.T @ x, upstream.sum(0) + np.random.default_rng().random()


def contiguous_only(x, W, b, upstream):
    flat = upstream.ravel("K").reshape(upstream.shape)
    return flat @ W, flat.T @ x, flat.sum(0)


CONTRACTS = {
    "UPSTREAM: ignores": (lambda x, W, b, u: (0 * u @ W + W.sum(0), u.T @ x, u.sum(0)), "not linear|ignores"),
    "UPSTREAM: constant": (
        lambda x, W, b, u: (np.ones((4, 5)) @ W, np.ones((5, 4)) @ x, np.full(5, 4.0)),
        "the backward ignores the incoming gradient",
    ),
    "UPSTREAM: squared": (
        lambda x, W, b, u: (u**2 @ W, (u**2).T @ x, (u**2).sum(0)),
        "multiplies by the incoming gradient twice",
    ),
    "UPSTREAM: signed square": (
        lambda x, W, b, u: ((u * abs(u)) @ W, (u * abs(u)).T @ x, (u * abs(u)).sum(0)),
        "multiplies by the incoming gradient twice",
    ),
    "UPSTREAM: absolute": (
        lambda x, W, b, u: (abs(u) @ W, abs(u).T @ x, abs(u).sum(0)),
        "takes the absolute value of the incoming gradient",
    ),
    "UPSTREAM: sign": (
        lambda x, W, b, u: (np.sign(u) @ W, np.sign(u).T @ x, np.sign(u).sum(0)),
        "ignores the incoming gradient, or only looks at its sign",
    ),
    "UPSTREAM: clipped": (
        lambda x, W, b, u: (np.clip(u, -1, 1) @ W, np.clip(u, -1, 1).T @ x, np.clip(u, -1, 1).sum(0)),
        "not linear in the incoming gradient.*clipped",
    ),
    "MUTATION": (written, "the backward writes into the incoming gradient"),
    "MUTATION: argument": (writing, "the backward writes into its argument x"),
    "ACCUMULATES": (accumulating, "twice the gradient of b: it adds to what the first one left"),
    "NONDETERMINISTIC": (random_backward, "two backwards with the same arguments gave different gradients of b"),
    "LAYOUT": (contiguous_only, "the gradients are others when the incoming gradient is not contiguous"),
    "SHARED": (lambda x, W, b, u: (u @ W, W, u.sum(0)), "the gradient of W shares its memory with the argument W"),
    "SHAPE": (lambda x, W, b, u: (u @ W, u.T @ x, u.sum()), r"the gradient has shape \(\), b has \(5,\)"),
    "DTYPE": (lambda x, W, b, u: (u @ W, u.T @ x, u.sum(0).astype(int)), "the gradient of b has dtype int64"),
    "DTYPE: complex": (lambda x, W, b, u: (u @ W, u.T @ x, u.sum(0) + 0j), "the gradient of b has dtype complex128"),
    "DTYPE: object": (lambda x, W, b, u: (u @ W, u.T @ x, "ab"), "the gradient of b has dtype"),
    "COUNT": (lambda x, W, b, u: (u @ W, u.T @ x), "the backward returned 2 gradients for 3 float arguments"),
    "COUNT: dict": (lambda x, W, b, u: {"x": u @ W, "W": u.T @ x}, "the backward returned x, W; b is missing"),
    "RAISES": (lambda x, W, b, u: u[7], r"the backward raised IndexError: index 7 is out of bounds.*test_checks.py"),
    "RAISES: arity": (lambda x: x, "the backward raised TypeError: .* 1 positional argument but 4 were given"),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_broken_contract_is_named(name):
    backward, message = CONTRACTS[name]
    KEPT["b"] = np.zeros(5)
    report = bp.check_backprop(affine, backward, X, W, B)
    assert report.status == "CONTRACT"
    assert not report
    finding = next(d for d in report.diagnosis if d.code == name.split(":")[0])
    assert finding.hint
    assert re.search(message, finding.text), finding.text


def test_two_gradients_may_not_be_one_array():
    def backward(x, y, upstream):
        g = upstream.copy()
        return g, g

    report = bp.check_backprop(lambda x, y: x + y, backward, normal(3), normal(3, seed=1))
    assert codes(report) == ["SHARED"]
    assert "the gradient of x shares its memory with the gradient of y" in str(report)


def test_a_forward_that_misbehaves():
    def writes(x):
        x += 1.0
        return x * 2

    report = bp.check_backprop(writes, lambda x, upstream: 2 * upstream, normal(3))
    assert codes(report) == ["MUTATION"]
    assert "the forward writes into its argument x" in str(report)
    rng = np.random.default_rng()
    report = bp.check_backprop(lambda x: x * rng.random(), lambda x, upstream: upstream * 1.0, normal(3))
    assert codes(report) == ["NONDETERMINISTIC"]
    assert "two calls of the forward with the same inputs gave different outputs" in str(report)


def test_a_row_that_writes_into_the_incoming_gradient():
    def doubling(g, y, x):
        g *= 2.0
        return g

    report = bp.gradcheck(bp.primitive("double", lambda x: 2.0 * x, doubling), normal(3))
    assert "MUTATION" in codes(report)


def test_a_shape_that_changes_with_the_values():
    report = bp.check_backprop(lambda x: x[x > 0], lambda x, upstream: x * 0 + upstream.sum(), np.array([1e-3, 1.0]))
    assert report.status == "CONTRACT"
    assert "the output has shape (1,) near the inputs and (2,) at them" in str(report)


# ---- bad input to the checker --------------------------------------------------------------------------------------

INPUTS = {
    "no inputs": (lambda: bp.gradcheck(bp.ops.exp), "INPUT", "nothing to differentiate: no argument was passed"),
    "None": (lambda: bp.gradcheck(bp.ops.exp, None), "INPUT", "nothing to differentiate: x is None"),
    "integers": (
        lambda: bp.gradcheck(bp.ops.exp, np.arange(3)),
        "INPUT",
        "nothing to differentiate: x is of dtype int64",
    ),
    "a string": (lambda: bp.gradcheck(bp.ops.exp, "x"), "INPUT", "nothing to differentiate: x is a str"),
    "empty": (lambda: bp.gradcheck(bp.ops.exp, np.zeros((0, 3))), "EMPTY", "the arrays have no entries"),
    "nan": (lambda: bp.gradcheck(bp.ops.exp, [1.0, np.nan]), "NONFINITE", r"x is nan at index \(1,\)"),
    "inf": (lambda: bp.gradcheck(bp.ops.exp, np.inf), "NONFINITE", "x is inf"),
    "complex": (lambda: bp.gradcheck(bp.ops.exp, np.ones(2) * 1j), "DTYPE", "an argument has dtype complex128"),
    "infinite output": (lambda: bp.gradcheck(bp.ops.log, [0.0]), "NONFINITE", "the output y is -inf"),
    "too few": (lambda: bp.gradcheck(lambda x, y: x * y, [1.0]), "RAISES", "missing 1 required positional argument"),
    "too many": (lambda: bp.gradcheck(lambda x: x, [1.0], [1.0]), "RAISES", "takes 1 positional argument but 2"),
    "a raise": (lambda: bp.gradcheck(lambda x: {}["k"], [1.0]), "RAISES", "the forward raised KeyError: 'k' .test_ch"),
    "no function": (lambda: bp.gradcheck(5, [1.0]), "INPUT", "an? int is no function"),
    "no output": (lambda: bp.gradcheck(lambda x: None, [1.0]), "INPUT", "the forward returned a NoneType for y"),
    "a string out": (lambda: bp.gradcheck(lambda x: "a", [1.0]), "INPUT", "the forward returned a <U1 for y"),
    "integers out": (lambda: bp.gradcheck(lambda x: bp.ops.argmax(x), [1.0]), "INPUT", "returned int64, which has no"),
    "nothing out": (lambda: bp.gradcheck(lambda x: (), [1.0]), "INPUT", "returned nothing, which has no derivative"),
    "no scalar": (
        lambda: bp.check_backprop(np.sin, np.cos, normal(2), loss=True),
        "SHAPE",
        r"the loss has shape \(2,\)",
    ),
    "params": (lambda: bp.check_loss(np.sum, [X, W], [X]), "COUNT", "params.1. has no counterpart in grads"),
    "no loss": (lambda: bp.check_loss(np.sin, X, X), "SHAPE", r"the loss has shape \(4, 3\)"),
    "float32": (
        lambda: bp.check_loss(lambda: 0.0, X.astype(np.float32), X),
        "INPUT",
        "params has dtype float32; f.. reads it where it is",
    ),
    "copies": (
        lambda: bp.check_loss(lambda: float(X.sum()), X.copy(), np.ones_like(X)),
        "INPUT",
        "the loss stays the same when all parameters change: it does not read these arrays",
    ),
    "no layer": (lambda: bp.check_layer(np.sin, X), "INPUT", "a ufunc is no nn.Module"),
    "layer input": (lambda: bp.check_layer(nn.Linear(4, 2), X), "RAISES", "has 3 features, .* expects 4"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_bad_input_is_a_report_with_one_clear_line(name):
    check, code, message = INPUTS[name]
    report = check()
    assert report.status == "CONTRACT"
    assert codes(report)[0] == code
    first = str(report).splitlines()[0]
    assert re.search(message, first), first
    assert len(str(report).splitlines()) <= 25
    json.loads(report.to_json())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "slow"}, ValueError, "gradcheck: mode is 'slow'. Pass 'auto', 'full' or 'fast'."),
        ({"order": 3}, ValueError, "gradcheck: order is 3. Pass 1 or 2."),
        ({"kinks": "maybe"}, ValueError, "gradcheck: kinks is 'maybe'. Pass 'allow' or 'fail'."),
        ({"rtol": -1}, ValueError, "gradcheck: rtol is -1. Pass a number between 0 and 1"),
        ({"rtol": "small"}, ValueError, "gradcheck: rtol is 'small'. Pass a number between 0 and 1"),
        ({"rng": -3}, TypeError, "gradcheck: rng is -3. Pass None, a seed >= 0 or a numpy.random.Generator."),
        ({"rng": "seed"}, TypeError, "gradcheck: rng is 'seed'. Pass None"),
    ],
)
def test_wrong_options_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        bp.gradcheck(bp.ops.exp, [1.0], **options)


# ---- layers, losses ------------------------------------------------------------------------------------------------


def test_a_layer_by_its_parameters_and_inputs():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    report = bp.check_layer(net, X)
    assert report.status == "PASS"
    assert [name for _, name in report.blocks] == ["0.weight", "0.bias", "2.weight", "2.bias", "input"]


class Scaled(nn.Module):
    """Twice its input in training, `factor` times in evaluation, where the gradient is lost."""

    def __init__(self):
        self.factor = nn.Parameter(np.float32([3.0, 4.0]))
        self.calls = bp.zeros(1)

    def forward(self, x):
        self.calls.data += 1
        return x * self.factor * 2.0 if self.training else x * self.factor.detach()


def test_a_layer_in_training_and_in_evaluation():
    report = bp.check_layer(Scaled(), normal(3, 2))
    assert report.status == "FAIL"
    assert "this is in evaluation; in training: PASS" in str(report)
    assert report.diagnosis[0].code == "DETACHED"


def test_a_layer_is_left_as_it_was_found():
    layer = Scaled().train(False)
    factor, array, generator = layer.factor, layer.factor.data, bp.random.generator().bit_generator.state
    before = array.copy()
    bp.check_layer(layer, normal(3, 2))
    assert layer.factor is factor
    assert layer.factor.data is array
    assert array.dtype == np.float32
    assert np.array_equal(array, before)
    assert layer.factor.grad is None
    assert not layer.training
    assert layer.calls.tolist() == [0.0]
    assert bp.random.generator().bit_generator.state == generator


def test_what_draws_from_the_package_generator_is_put_back():
    def dropped(x):
        return x * (bp.rand(*x.shape).data < 0.5)

    state = bp.random.generator().bit_generator.state
    assert bp.gradcheck(dropped, normal(8)).ok
    assert bp.random.generator().bit_generator.state == state


def test_what_draws_from_a_generator_of_its_own_is_put_back_when_told():
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state

    def dropped(x):
        return x * (rng.random(x.shape) < 0.5)

    assert codes(bp.gradcheck(dropped, normal(8))) == ["NONDETERMINISTIC"]
    rng.bit_generator.state = state
    assert bp.gradcheck(dropped, normal(8), rng=rng).ok
    assert rng.bit_generator.state == state


def test_the_same_seed_gives_the_same_report():
    reports = [bp.gradcheck(bp.ops.tanh, normal(3000), rng=7) for _ in range(2)]
    assert reports[0].to_json() == reports[1].to_json()
    assert reports[0].seed == 7
    before = np.random.get_state()[1].copy()
    bp.gradcheck(bp.ops.tanh, normal(3))
    assert np.array_equal(np.random.get_state()[1], before)


def test_a_loss_that_reads_its_parameters_where_they_are():
    w, v = normal(3), normal(2, seed=1)
    before = w.copy(), v.copy()
    report = bp.check_loss(lambda: np.sum(w**2) + np.prod(v), {"w": w, "deep": [v]}, {"w": 2 * w, "deep": [v[::-1]]})
    assert report.status == "PASS"
    assert [name for _, name in report.blocks] == ["params['w']", "params['deep'][0]"]
    assert np.array_equal(w, before[0]) and np.array_equal(v, before[1])
    wrong = bp.check_loss(lambda: np.sum(w**2) + np.prod(v), [w, v], [w, v[::-1]])
    assert codes(wrong) == ["FACTOR"]
    assert np.array_equal(w, before[0]) and np.array_equal(v, before[1])


def test_a_loss_of_a_models_parameters():
    net = nn.Linear(3, 2)
    loss = lambda: F.mse_loss(net(X), np.zeros((4, 2)))
    loss().backward()
    assert bp.check_loss(loss, net.parameters(), [p.grad for p in net.parameters()]).ok


def test_a_loss_is_restored_when_it_raises():
    w = normal(3)
    before = w.copy()

    def f():
        if not np.array_equal(w, before):
            raise KeyboardInterrupt
        return w.sum()

    with pytest.raises(KeyboardInterrupt):
        bp.check_loss(f, w, np.ones(3))
    assert np.array_equal(w, before)


def test_backwards_in_every_form():
    def loss(x, W):
        return np.sum((x @ W.T) ** 2)

    def dx(x, W):
        return 2 * x @ W.T @ W

    def dW(x, W):
        return 2 * (x @ W.T).T @ x

    for backward in (
        lambda x, W: (dx(x, W), dW(x, W)),
        lambda x, W: [dx(x, W), dW(x, W)],
        lambda x, W: {"W": dW(x, W), "x": dx(x, W), "more": 1},
    ):
        assert bp.check_backprop(loss, backward, X, W, loss=True).status == "PASS"
    labels = np.array([0, 1, 2, 1])
    one = lambda x, y, upstream: np.eye(3)[y] * upstream[:, None]
    picked = lambda x, y: x[np.arange(4), y]
    assert bp.check_backprop(picked, one, X, labels).status == "PASS"
    assert bp.check_backprop(picked, lambda x, y, u: (one(x, y, u), None), X, labels).status == "PASS"
    several = bp.check_backprop(lambda x: (x**2, x.sum()), lambda x, u: 2 * x * u[0] + u[1], normal(3))
    assert several.status == "PASS"
    assert list(several.blocks) == [("y[0]", "x"), ("y[1]", "x")]


def test_assert_gradcheck():
    assert bp.assert_gradcheck(bp.ops.tanh, normal(3)).ok
    wrong = bp.primitive("wrong", np.tanh, lambda g, y, x: g)
    with pytest.raises(AssertionError, match=r"FAIL  wrong\(x\): the gradient of x"):
        bp.assert_gradcheck(wrong, normal(3))
