"""Numbers at the ends of the range: nothing overflows, warns or loses its digits where the result is defined."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_bp import Tensor, autograd, grad, ops
from tinygrad_bp.ops.activations import SATURATION
from tinygrad_bp.ops.special import ERF_SLOPE

from . import samples
from .differences import assert_close

ULP = np.finfo(float).eps


def gradient(f: Callable[..., Any], x: Any) -> Any:
    x = Tensor(x, requires_grad=True)
    f(x).sum().backward()
    assert x.grad is not None
    return x.grad.data


# ---- erf -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_erf_to_two_units_in_the_last_place(dtype: Any) -> None:
    near_the_joint = np.linspace(0.8, 0.9, 10001)
    x = np.concatenate([np.linspace(-6.5, 6.5, 20001), near_the_joint, 10.0 ** np.linspace(-320, 308, 629)])
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    expected = np.array([math.erf(v) for v in x.tolist()])
    error = np.abs(ops.erf(x).astype(float) - expected) / np.spacing(np.abs(expected).astype(dtype))
    assert ops.erf(x).dtype == dtype
    assert np.max(error) <= 2.0


def test_erf_at_the_ends() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1e308, -6.0])
    expected = np.array([math.erf(v) for v in x.tolist()])
    assert np.array_equal(ops.erf(x), expected, equal_nan=True)
    assert np.array_equal(np.signbit(ops.erf(x)), np.signbit(expected))
    assert gradient(ops.erf, x[:4]).tolist() == [ERF_SLOPE, ERF_SLOPE, 0.0, 0.0]


@pytest.mark.parametrize(("x", "dtype"), [(0.5, float), (2, float), (np.float16(-0.5), np.float16), (True, np.float16)])
def test_erf_of_other_numbers(x: Any, dtype: Any) -> None:
    y = ops.erf(x)
    assert y.dtype == dtype
    assert abs(y - math.erf(x)) <= np.finfo(dtype).eps


def test_erf_of_many_is_erf_of_each() -> None:
    x = np.linspace(-3, 3, 40000).reshape(2, 20000)
    assert np.array_equal(ops.erf(x)[:, ::999], ops.erf(x[:, ::999]))


def test_erf_keeps_the_order_of_memory() -> None:
    x = np.linspace(-3, 3, 24).reshape(2, 3, 4)
    for order in [(0, 1, 2), (2, 0, 1), (1, 2, 0)]:
        y = ops.erf(x.transpose(order))
        assert y.strides == x.transpose(order).strides
        assert np.array_equal(y, ops.erf(x).transpose(order))
    assert np.array_equal(ops.erf(x[:, ::2]), ops.erf(x)[:, ::2])


# ---- sinc ------------------------------------------------------------------------------------------------------------


def test_sinc_near_0_has_all_the_digits_of_its_slope() -> None:
    x = 10.0 ** -np.arange(2.0, 300.0, 7.0)
    z = np.pi * x
    slope = -np.pi * z / 3 * (1 - z**2 / 10 + z**4 / 280 - z**6 / 15120)
    assert_close(gradient(ops.sinc, x) / slope, np.ones(len(x)), "slope", 4 * ULP)


def test_sinc_at_0_at_every_order() -> None:
    slope: Any = ops.sinc
    for order, expected in enumerate([1.0, 0.0, -(np.pi**2) / 3, 0.0, np.pi**4 / 5]):
        assert_close(slope(Tensor(0.0)).data, expected, f"order {order}", 4 * ULP)
        slope = grad(slope)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_family_of_sinc_is_the_same_on_both_sides_of_its_joint(n: int) -> None:
    x = np.array([np.nextafter((n + 2) / np.pi, 0.0), (n + 2) / np.pi])
    below, above = ops.sinc(x, n)
    assert abs(below / above - 1.0) < 50 * ULP


# ---- order -----------------------------------------------------------------------------------------------------------


def test_many_equal_entries_keep_their_order() -> None:
    x = np.tile([2.0, 1.0], 40)
    ranks = np.argsort(np.argsort(x, kind="stable"))
    assert gradient(lambda t: np.sort(t) * np.arange(80.0), x).tolist() == ranks.tolist()
    assert np.nonzero(gradient(np.median, x))[0].tolist() == [0, 79]
    assert np.nonzero(gradient(lambda t: np.quantile(t, 0.25, method="lower"), x))[0].tolist() == [39]


@pytest.mark.parametrize("method", ["linear", "inverted_cdf", "hazen", "normal_unbiased", "nearest", "midpoint"])
def test_quantiles_of_float32_have_their_gradients_where_their_values_are(method: str) -> None:
    x = np.random.default_rng(0).normal(size=(1, 501)).astype(np.float32)
    q = [0.0, 0.1, 0.5, 0.7, 1.0]
    y = ops.quantile(x, q, 1, method)
    assert y.dtype == np.float32
    for k in range(len(q)):
        shares = gradient(lambda t, k=k: ops.quantile(t, q, 1, method)[k], x)
        assert shares.dtype == np.float32
        assert_close((shares * x).sum(), y[k, 0], f"quantile {q[k]}", 1e-6)


@pytest.mark.parametrize(
    ("dtype", "n", "q", "low", "share"),
    [(np.float32, 300001, 0.1234567, 37037, 0.01), (np.float16, 4001, 0.1232, 492, 0.8)],
)
def test_the_shares_of_a_quantile_of_many(dtype: Any, n: int, q: float, low: int, share: float) -> None:
    x = np.random.default_rng(0).permutation(n).astype(dtype)
    found = gradient(lambda t: np.quantile(t, q), x)[np.argsort(x, kind="stable")]
    assert found.dtype == dtype
    assert np.nonzero(found)[0].tolist() == [low, low + 1]
    assert_close(found[low : low + 2], [1.0 - share, share], "shares", np.finfo(dtype).eps)


def test_infinite_places_of_a_table() -> None:
    x, table = np.array([-np.inf, np.inf]), [0.0, 1.0]
    assert np.interp(Tensor(x), table, [2.0, 2.0]).tolist() == [2.0, 2.0]
    assert np.interp(Tensor([0.0, 1.0]), table, [2.0, 3.0], left=5.0, right=7.0).tolist() == [2.0, 3.0]
    assert gradient(lambda values: np.interp(x, table, values), [2.0, 3.0]).tolist() == [1.0, 1.0]
    assert gradient(lambda places: np.interp(x, places, [2.0, 3.0]), table).tolist() == [0.0, 0.0]


def test_the_median_of_nothing_known() -> None:
    with pytest.warns(RuntimeWarning, match="All-NaN"):
        found = gradient(lambda x: np.nanmedian(x, axis=1), [[np.nan, np.nan], [np.nan, 1.0]])
    assert found.tolist() == [[0.0, 0.0], [0.0, 1.0]]


# ---- the ends of the range -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1.0, 1e200, 1e307])
def test_the_slopes_of_angles_at_any_distance(size: float) -> None:
    by_a = gradient(lambda a: np.arctan2(a, 4.0 * size), [3.0 * size]) * size
    by_b = gradient(lambda b: np.arctan2(3.0 * size, b), [4.0 * size]) * size
    assert_close([by_a, by_b], [[0.16], [-0.12]], "arctan2", 4 * ULP)


def test_the_slope_of_arccosh_far_out() -> None:
    assert_close(gradient(np.arccosh, [1e200, 1e307]) * [1e200, 1e307], np.ones(2), "slope", ULP)


def test_the_slopes_of_angles_at_infinity() -> None:
    for a, b in [(np.inf, 1.0), (1.0, np.inf), (np.inf, np.inf)]:
        assert gradient(lambda x, b=b: np.arctan2(x, b), [a]).tolist() == [0.0]
        assert gradient(lambda x, a=a: np.arctan2(a, x), [b]).tolist() == [0.0]


@pytest.mark.parametrize(("dtype", "x"), [(np.float64, [-40.0, -30.0, -700.0]), (np.float32, [-15.0, -19.9, -80.0])])
def test_exponential_tails_keep_their_digits(dtype: Any, x: list[float]) -> None:
    x, eps = np.array(x, dtype), np.finfo(dtype).eps
    for row, factor in [(ops.elu, 1.0), (lambda x: ops.elu(x, 2.0), 2.0), (ops.selu, SATURATION), (ops.expm1, 1.0)]:
        assert_close(gradient(row, x) / (factor * np.exp(x)), np.ones(3), "slope", 2 * eps)


def test_an_exponential_tail_ends_on_the_left_side() -> None:
    slope = grad(lambda x: ops.elu(x, 2.0))
    assert [grad(slope)(Tensor(x)).item() for x in (0.0, 1.0, 1e4)] == [2.0, 0.0, 0.0]


def test_a_norm_that_is_0_by_underflow_has_slope_0() -> None:
    assert gradient(np.linalg.norm, [1e-200, 1e-200]).tolist() == [0.0, 0.0]


def test_infinite_logits_have_a_loss() -> None:
    x, y = np.array([np.inf, np.inf, np.inf, -np.inf, -np.inf]), np.array([0.0, 0.5, 1.0, 0.0, 1.0])
    losses = ops.binary_cross_entropy_with_logits(x, y, "none")
    assert losses.tolist() == [np.inf, np.inf, 0.0, 0.0, np.inf]


@pytest.mark.parametrize("g", [np.inf, -np.inf, np.nan])
def test_an_infinite_gradient_reaches_the_largest_of_a_window_only(g: float) -> None:
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    for size, stride in [((3, 4), (3, 4)), ((3, 3), (1, 1)), ((1, 2), (1, 2)), ((2, 2), (1, 2))]:
        t = Tensor(x, requires_grad=True)
        y = ops.max_pool(t, size, stride, (0, 0), (1, 1))
        seed = np.ones(y.shape)
        seed[..., -1, -1] = g
        y.backward(seed)
        assert t.grad is not None
        assert np.array_equal(t.grad.data == 0, ~np.isin(x, y.data))
        assert np.array_equal(t.grad.data[..., -1, -1], [[g]], equal_nan=True)
        assert np.isfinite(t.grad.data).sum() == x.size - 1


def test_the_second_derivative_of_a_determinant_of_unequal_scales() -> None:
    a, ones = Tensor(np.diag([1e14, 1e14, 1.0]), requires_grad=True), np.eye(3)
    (first,) = autograd.grad(ops.det(a), [a], create_graph=True)
    (second,) = autograd.grad((first * ones).sum(), [a])  # of bc + ac + ab
    assert_close(np.diag(second.data), np.array([1e14 + 1.0, 1e14 + 1.0, 2e14]), "second", 1e-15)


# ---- running products ------------------------------------------------------------------------------------------------


def test_cumprod_of_many_with_zeros() -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.5, 300)
    x[[100, 200]] = 0.0
    before = np.cumprod(np.concatenate([[1.0], x[:100]]))
    expected = np.zeros(300)
    for i in range(101):  # the last of them is the first 0, past which products go on until the second
        expected[i] = before[i] * np.cumprod(np.concatenate([[1.0], x[i + 1 :]])).sum()
    assert_close(gradient(np.cumprod, x), expected, "slope", 1e-13)


# ---- sigmoid and its relatives ---------------------------------------------------------------------------------------


def test_38_sigmoid_keeps_the_digits_of_its_tail() -> None:
    x = np.array([-40.0, -100.0, -700.0, -720.0, -745.0])
    assert np.array_equal(ops.sigmoid(x), np.exp(x))
    assert 0 < ops.sigmoid(np.array(-720.0)) < np.finfo(float).tiny  # a denormal number
    assert_close(gradient(ops.sigmoid, x) / np.exp(x), np.ones(5), "slope", 4 * ULP)


def test_38_sigmoid_is_silent_at_the_ends() -> None:
    x = np.array([-np.inf, -1e308, -800.0, 800.0, 1e308, np.inf])
    assert ops.sigmoid(x).tolist() == [0, 0, 0, 1, 1, 1]
    assert gradient(ops.sigmoid, x).tolist() == [0] * 6


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sigmoid_everywhere(dtype: Any) -> None:
    x = np.linspace(-80, 80, 4001).astype(dtype)
    wide = x.astype(np.longdouble)
    relative = (ops.sigmoid(x) * (1 + np.exp(-wide)) - 1).astype(float)
    assert ops.sigmoid(x).dtype == dtype
    assert np.max(np.abs(relative)) <= 3 * np.finfo(dtype).eps


@pytest.mark.parametrize(
    ("row", "values", "slopes"),
    [
        (ops.tanh, [-1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
        (ops.softplus, [0.0, 0.0, 800.0, 1e4], [0.0, 0.0, 1.0, 1.0]),
        (ops.silu, [0.0, 0.0, 800.0, 1e4], [0.0, 0.0, 1.0, 1.0]),
        (ops.elu, [-1.0, -1.0, 800.0, 1e4], [0.0, 0.0, 1.0, 1.0]),
        (ops.relu, [0.0, 0.0, 800.0, 1e4], [0.0, 0.0, 1.0, 1.0]),
        (ops.gelu, [0.0, 0.0, 800.0, 1e4], [0.0, 0.0, 1.0, 1.0]),
        (ops.gelu_tanh, [0.0, 0.0, 800.0, 1e4], [0.0, 0.0, 1.0, 1.0]),
        (ops.mish, [0.0, 0.0, 800.0, 1e4], [0.0, 0.0, 1.0, 1.0]),
        (ops.log_sigmoid, [-1e4, -800.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]),
    ],
)
def test_81_activations_are_silent_at_large_inputs(row: Any, values: list[float], slopes: list[float]) -> None:
    x = np.array([-1e4, -800.0, 800.0, 1e4])
    assert row(x).tolist() == values
    assert gradient(row, x).tolist() == slopes


def test_38_softplus_keeps_the_digits_of_its_tail() -> None:
    x = np.array([-40.0, -300.0, -700.0])
    assert_close(ops.softplus(x) / np.exp(x), np.ones(3), "value", 4 * ULP)
    assert_close(gradient(ops.softplus, x) / np.exp(x), np.ones(3), "slope", 4 * ULP)


@pytest.mark.parametrize(("x", "y", "loss"), [(1e4, 0.0, 1e4), (1e4, 1.0, 0.0), (-1e4, 1.0, 1e4), (-1e4, 0.0, 0.0)])
def test_38_bce_with_logits_of_any_size(x: float, y: float, loss: float) -> None:
    def f(x: Any) -> Any:
        return ops.binary_cross_entropy_with_logits(x, np.array([y]))

    assert f(np.array([x])) == loss
    assert gradient(f, [x]).tolist() == [float(x > 0) - y]


# ---- softmax and its relatives ---------------------------------------------------------------------------------------

LOGITS = [
    *[[1e4, -1e4, 0.0], [1e4, 1e4 - 1, 1e4 - 2], [-1e4, -1e4 + 1, -1e4 - 3], [1e308, 1e308, 0.0]],
    *[[0.0, 0.0, 0.0], [7.0, 7.0, 1.0], [-np.inf, 0.0, 1.0], [-np.inf, -np.inf, -1e4], [3.0, -30.0, -300.0]],
]


@pytest.mark.parametrize("x", LOGITS)
def test_35_softmax_is_exact_at_any_size(x: list[float]) -> None:
    """Against long doubles, relative to each value, not to the largest."""
    shifted = np.array(x, np.longdouble) - np.max(np.array(x, np.longdouble))
    total = np.exp(shifted).sum()
    p = np.exp(shifted) / total
    array = np.array(x)
    normal = p > np.finfo(float).tiny
    relative = (ops.softmax(array)[normal] / p[normal]).astype(float)
    assert_close(relative, np.ones_like(relative), "softmax", 4 * ULP)
    assert_close(ops.log_softmax(array), (shifted - np.log(total)).astype(float), "log_softmax", 4 * ULP)
    assert_close(ops.logsumexp(array), float(np.max(np.array(x, np.longdouble)) + np.log(total)), "logsumexp", 4 * ULP)
    assert_close(gradient(ops.logsumexp, x), p.astype(float), "the slope of logsumexp is softmax", 8 * ULP)


def test_36_an_impossible_class_has_gradient_zero() -> None:
    x = [-np.inf, 0.0, 1.0]
    for f in (ops.softmax, ops.logsumexp, lambda x: ops.log_softmax(x)[1:]):
        assert gradient(f, x)[0] == 0.0
    assert gradient(lambda x: ops.cross_entropy(x.reshape(1, 3), np.array([1])), x)[0] == 0.0


def test_0_log_0_is_0_in_a_cross_entropy() -> None:
    logits, target = [[-np.inf, 0.0, 0.0]], np.array([[0.0, 0.5, 0.5]])
    assert_close(ops.cross_entropy(np.array(logits), target), np.log(2.0), "loss", ULP)
    assert gradient(lambda x: ops.cross_entropy(x, target), logits).tolist() == [[0.0, 0.0, 0.0]]


def test_36_a_row_of_impossible_classes() -> None:
    """Its logsumexp is -inf; its softmax is nan, with NumPy's warning."""
    x = np.full(3, -np.inf)
    assert ops.logsumexp(x) == -np.inf
    for row in (ops.softmax, ops.log_softmax):
        with pytest.warns(RuntimeWarning, match="invalid value"):
            assert np.isnan(row(x)).all()


def test_81_logits_farther_apart_than_the_range() -> None:
    assert ops.softmax(np.array([1e308, -1e308])).tolist() == [1.0, 0.0]
    assert ops.log_softmax(np.array([1e308, -1e308])).tolist() == [0.0, -np.inf]
    assert ops.logsumexp(np.array([np.inf, 1000.0])) == np.inf


@pytest.mark.parametrize("x", [1e4, -1e4])
def test_logaddexp_of_any_size(x: float) -> None:
    assert_close(ops.logaddexp(np.array([x, x]), np.array([x, 0.0])), [x + np.log(2), max(x, 0.0)], "value", ULP)
    assert gradient(lambda t: ops.logaddexp(t, np.array([x, 0.0])), [x, x]).tolist() == [0.5, float(x > 0)]


# ---- sums ------------------------------------------------------------------------------------------------------------


def test_46_a_sum_of_many_float32_is_exact() -> None:
    ones = Tensor(np.ones(10_000_000, np.float32))
    assert ones.sum().item() == 1e7
    assert ones.mean().item() == 1.0
    assert ones.sum().dtype == np.float32


@pytest.mark.parametrize("offset", [0.0, 1e8, -1e8])
def test_46_the_variance_of_small_noise_on_a_large_number(offset: float) -> None:
    noise = np.random.default_rng(0).integers(-8, 9, 1000) / 8.0
    assert_close(ops.var(offset + noise), np.var(noise), "value", 1e-12)
    rounding = 2 * np.spacing(abs(offset)) / 1000  # of the mean
    assert_close(gradient(ops.var, offset + noise), 2 * (noise - noise.mean()) / 1000, "slope", rounding + ULP)


def test_expm1_and_log1p_near_zero() -> None:
    for row in (ops.expm1, ops.log1p):
        assert row(np.array(1e-300)) == 1e-300
        assert gradient(row, 1e-300) == 1.0


def test_a_tiny_gradient_is_not_none() -> None:
    """Only 0 divided by anything is taken for 0."""
    assert ops.over(np.array(1e-200), 1e-200) == 1.0
    assert gradient(lambda x: ops.over(x, 1e-200), 1e-200) == 1e200


# ---- integers --------------------------------------------------------------------------------------------------------

OF_ONE = ["softmax", "log_softmax", "log_sigmoid", "softplus", "gelu", "gelu_tanh", "softsign", "silu", "mish", "selu"]
OF_TWO = [ops.mse_loss, ops.quadratic_loss, ops.binary_cross_entropy_with_logits, lambda x, y: ops.average(x, None, y)]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool])
def test_small_integers_do_not_wrap(dtype: Any) -> None:
    """What is computed in several steps is computed in floats."""
    x = np.array([[0, 100, 3], [-128 if dtype is np.int8 else 255, 2, 127]]).astype(dtype)
    wide = x.astype(float)
    for f in [getattr(ops, name) for name in OF_ONE] + [lambda x: ops.gradient(x, axis=1)]:
        assert_close(f(x), f(wide), str(f), 1e-15)
    for g in OF_TWO:
        assert_close(g(x, x[::-1]), g(wide, wide[::-1]), str(g), 1e-15)
    for ord in (None, 1, 2, -1, np.inf):
        for of in (x, x[1]):
            assert_close(ops.norm(of, ord), np.linalg.norm(of.astype(float), ord), f"norm {ord}", 1e-15)
    table = np.array([0, 1], dtype)
    assert_close(ops.interp(x, table, table[::-1]), np.interp(wide, [0.0, 1.0], [1.0, 0.0]), "interp", 1e-15)


# ---- dtypes ----------------------------------------------------------------------------------------------------------

TWO_FLOATS = [row for row in ops.TABLE if row.name in samples.BINARY and row.partials and all(row.partials)]


@pytest.mark.parametrize("row", TWO_FLOATS, ids=lambda row: row.name)
def test_45_each_gradient_has_the_dtype_of_its_input(row: Any) -> None:
    domains = samples.BINARY[row.name]
    single, double = domains[0](3).astype(np.float32), domains[1](2, 3, k=1)
    a, b = Tensor(single, requires_grad=True), Tensor(double, requires_grad=True)
    row(a, b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("norm", [ops.layer_norm, ops.batch_norm, ops.rms_norm])
def test_45_weights_of_float64_make_a_normalised_float32_one_of_float64(norm: Any) -> None:
    x, w, b = (Tensor(np.arange(1.0, k), requires_grad=True) for k in (7, 4, 4))
    x = Tensor(x.data.reshape(2, 3).astype(np.float32), requires_grad=True)
    rest = {ops.layer_norm: (b,), ops.batch_norm: (b, None), ops.rms_norm: ()}[norm]
    y = norm(x, w, *rest)
    y.sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    assert (y.dtype, x.grad.dtype, w.grad.dtype) == (np.float64, np.float32, np.float64)
    assert norm(x, None, *[None for _ in rest]).dtype == np.float32


@pytest.mark.parametrize("there", [np.float32, np.float64])
@pytest.mark.parametrize("here", [np.float32, np.float64])
def test_45_a_gradient_comes_back_through_a_cast(here: Any, there: Any) -> None:
    x = Tensor(np.ones(3, here), requires_grad=True)
    (3.0 * x.astype(there)).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == here
    assert x.grad.tolist() == [3.0, 3.0, 3.0]
