"""Convolutions: against their definition in loops, in every way they are computed; first values; what is refused."""

from __future__ import annotations

import contextlib
import importlib

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.checks import refuses
from tests.differences import assert_close
from tests.samples import convolve as definition
from tinygrad_bp import nn, ops
from tinygrad_bp.nn import functional as F

convolve = importlib.import_module("tinygrad_bp.ops.convolve")  # ops.convolve is NumPy's function
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


def in_order(x):
    """x as this library's convolutions leave it: (n, c, h, w) over memory ordered c, h, w, n."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)


# ---- the rows against the definition, in ways that the samples of the table are too small for ---------------------

CASES = {
    "3 x 3": ((3, 3, 5, 6), (2, 3, 3, 3), definition.how(padding=(1, 1))),
    "3 x 3, an odd width": ((2, 2, 3, 5), (3, 2, 3, 3), definition.how(padding=(2, 1))),
    "3 x 3, one column": ((2, 1, 3, 3), (2, 1, 3, 3), definition.how()),
    "1 x 1": ((3, 4, 5, 4), (6, 2, 1, 1), definition.how(groups=2)),
    "more padding than kernel": ((2, 3, 4, 3), (2, 3, 2, 1), definition.how(padding=(3, 2))),
    "depthwise": ((2, 4, 5, 4), (4, 1, 3, 3), definition.how(padding=(1, 1), groups=4)),
    "stride larger than kernel": ((2, 2, 7, 8), (3, 2, 2, 2), definition.how(stride=(3, 4))),
    "everything": ((3, 4, 9, 8), (6, 2, 3, 2), definition.how((2, 3), (3, 1), (2, 3), 2)),
}


@pytest.fixture
def winograd(monkeypatch):
    """Winograd's algorithm for small arrays as well."""
    monkeypatch.setattr(convolve, "FILTERS", 1)
    monkeypatch.setattr(convolve, "SAMPLES", 1)


def test_winograds_algorithm_is_used_from_16_filters_and_8_samples_on(monkeypatch):
    used = []
    monkeypatch.setattr(convolve, "_winograd", lambda x, w, size, padding: used.append(w.shape) or np.zeros(1))
    for n, c, f, used_now in [(8, 16, 16, 1), (7, 16, 16, 0), (8, 15, 16, 0), (8, 16, 15, 0)]:
        used.clear()
        with contextlib.suppress(ValueError):  # what stands in its place returns nothing of use
            F.conv2d(np.zeros((n, c, 4, 4)), np.zeros((f, c, 3, 3)))
        assert len(used) == used_now


@pytest.mark.usefixtures("winograd")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_three_rows_are_what_the_definition_says(case, dtype):
    shape, weight, how = CASES[case]
    x, w, b = (normal(*s).astype(dtype) for s in (shape, weight, weight[:1]))
    y = definition.conv2d(*(a.astype(float) for a in (x, w, b)), **how)
    g = normal(*y.shape).astype(dtype)
    size, kernel = {"size": shape[2:]}, {"kernel_size": weight[2:]}
    expected = {
        ops.conv2d: ((x, w, b), {}, y),
        ops.conv2d_dx: ((g, w), size, definition.conv2d_dx(g.astype(float), w.astype(float), **size, **how)),
        ops.conv2d_dw: ((x, g), kernel, definition.conv2d_dw(x.astype(float), g.astype(float), **kernel, **how)),
    }
    for row, (inputs, own, right) in expected.items():
        for order in (np.ascontiguousarray, in_order):
            found = row(*[order(a) if a.ndim == 4 else a for a in inputs], **own, **how)
            assert found.dtype == dtype
            assert_close(found, right, row.name, 1e-13 if dtype == "float64" else 1e-4)


@pytest.mark.usefixtures("winograd")
@pytest.mark.parametrize(("of_x", "of_w"), [("u1", "f4"), ("i8", "i8"), ("f4", "f8"), ("f2", "f2"), (">f8", ">f8")])
def test_other_and_mixed_types_are_computed_with_as_numpy_does(of_x, of_w):
    x, w, g = (RNG.integers(0, 256, (2, 3, 4, 5)), RNG.integers(-9, 9, (2, 3, 3, 3)), RNG.integers(0, 9, (2, 2, 4, 5)))
    if of_x == "f2":
        x = x % 4  # sums of which half precision holds
    how, wanted = definition.how(padding=(1, 1)), np.result_type(of_x, of_w)
    y = ops.conv2d(x.astype(of_x), w.astype(of_w), None, **how)
    dx = ops.conv2d_dx(g.astype(of_x), w.astype(of_w), (4, 5), **how)
    dw = ops.conv2d_dw(x.astype(of_x), g.astype(of_w), (3, 3), **how)
    assert y.dtype == dx.dtype == dw.dtype == wanted
    assert np.array_equal(y, definition.conv2d(x, w, None, **how))
    assert np.array_equal(dx, definition.conv2d_dx(g, w, (4, 5), **how))
    if of_x != "f2":
        assert np.array_equal(dw, definition.conv2d_dw(x, g, (3, 3), **how))


def test_results_keep_the_order_that_is_fast_and_are_flattened_without_a_copy():
    x, w = bp.Tensor(normal(5, 2, 6, 4), requires_grad=True), normal(3, 2, 3, 3)
    y = F.relu(F.conv2d(x, w, np.ones(3)))
    assert y.data.transpose(1, 2, 3, 0).flags.c_contiguous
    assert np.shares_memory(nn.Flatten()(y).data, y.data)
    (dx,) = bp.autograd.grad(y, x, np.ones(y.shape))
    assert dx.data.transpose(1, 2, 3, 0).flags.c_contiguous


def test_an_empty_batch_and_no_filters_in_common():
    x, w = np.zeros((0, 2, 5, 5)), normal(4, 2, 3, 3)
    assert F.conv2d(x, w, stride=2).shape == (0, 4, 2, 2)
    assert ops.conv2d_dx(np.zeros((0, 4, 2, 2)), w, (5, 5), (2, 2), (0, 0), (1, 1), 1).shape == x.shape
    dw = ops.conv2d_dw(x, np.zeros((0, 4, 2, 2)), (3, 3), (2, 2), (0, 0), (1, 1), 1)
    assert dw.tolist() == np.zeros(w.shape).tolist()


# ---- nan and infinity ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("winograd")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("case", ["3 x 3", "3 x 3, an odd width", "1 x 1", "depthwise", "everything"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_where_the_definition_has_it(case, value):
    shape, weight, how = CASES[case]
    x, w = normal(*shape), normal(*weight)
    x[0, 0, 1, 2] = value
    y, right = ops.conv2d(x, w, None, **how), definition.conv2d(x, w, None, **how)
    assert np.array_equal(np.isfinite(y), np.isfinite(right))
    assert 0 < np.isfinite(y).sum() < y.size
    finite = np.where(np.isfinite(right), right, 0.0)
    assert_close(np.where(np.isfinite(y), y, 0.0), finite, "the others", 1e-13)
    if "3 x 3" not in case:  # where Winograd's algorithm is used infinity may come out as nan
        assert_close(y, right, "infinities", 1e-13)
    g = np.where(np.isfinite(right), 1.0, value)
    dx, right = (f(g, w, size=shape[2:], **how) for f in (ops.conv2d_dx, definition.conv2d_dx))
    assert np.array_equal(np.isfinite(dx), np.isfinite(right))


# ---- the functions ---------------------------------------------------------------------------------------------------


def test_along_one_axis_and_one_sample():
    x, w, b = normal(2, 4, 9), normal(6, 2, 3), normal(6)
    y = F.conv1d(x, w, b, stride=2, padding=1, dilation=2, groups=2)
    how = definition.how((1, 2), (0, 1), (1, 2), 2)
    assert_close(y, definition.conv2d(x[:, :, None], w[:, :, None], b, **how)[:, :, 0], "conv1d", 1e-14)
    assert_close(F.conv1d(x[0], w, b, 2, 1, 2, 2), y[0], "one sample", 1e-14)
    image, weight = normal(3, 5, 4), normal(2, 3, 2, 2)
    assert_close(F.conv2d(image, weight), F.conv2d(image[None], weight)[0], "one image", 1e-14)
    assert_close(
        F.conv_transpose2d(image, normal(3, 1, 2, 2) * 0 + 1.0)[0, 1:-1, 1:-1],
        sum(image.sum(0)[i : i + 4, j : j + 3] for i in (0, 1) for j in (0, 1)),
        "one image, transposed",
        1e-14,
    )


def test_same_and_valid():
    x, w = normal(2, 3, 6, 5), normal(4, 3, 4, 3)
    assert_close(F.conv2d(x, w, padding="valid"), F.conv2d(x, w), "valid", 0.0)
    same = F.conv2d(x, w, padding="same", dilation=(1, 2))
    wide = np.pad(x, [(0, 0), (0, 0), (1, 2), (2, 2)])
    assert_close(same, F.conv2d(wide, w, dilation=(1, 2)), "one row more below than above", 1e-14)
    assert same.shape == (2, 4, 6, 5)


def test_the_transposed_convolution_is_the_derivative_of_the_convolution():
    g, w = normal(2, 4, 3, 2), normal(4, 1, 3, 2)
    how = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    x = F.conv_transpose2d(g, w, output_padding=(1, 2), **how)
    probe = bp.Tensor(np.zeros(x.shape), requires_grad=True)
    assert_close(x, bp.autograd.grad(F.conv2d(probe, w, **how), probe, g)[0].data, "derivative", 1e-14)
    assert_close(F.conv_transpose2d(g, w, np.array([1.0, 2.0]), output_padding=(1, 2), **how)[:, 1], x[:, 1] + 2.0, "b")


def test_settings_of_layers_reach_the_function():
    x = normal(2, 4, 7, 6)
    layer = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False)
    assert_close(layer(x).data, F.conv2d(x, layer.weight, None, (2, 1), (1, 0), (1, 2), 2).data, "Conv2d", 0.0)
    layer = nn.Conv1d(4, 2, 3, 2, 1, 2)
    assert_close(layer(x[..., 0]).data, F.conv1d(x[..., 0], layer.weight, layer.bias, 2, 1, 2).data, "Conv1d", 0.0)
    layer = nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, True, (1, 2))
    expected = F.conv_transpose2d(x, layer.weight, layer.bias, (2, 3), (1, 0), (1, 2), 2, (1, 2))
    assert_close(layer(x).data, expected.data, "ConvTranspose2d", 0.0)


def test_first_values_and_names():
    for layer, shape, fan in [
        (nn.Conv1d(4, 6, 3, groups=2), (6, 2, 3), 6),
        (nn.Conv2d(20, 40, (5, 3)), (40, 20, 5, 3), 300),
        (nn.ConvTranspose2d(20, 40, 5, groups=4), (20, 10, 5, 5), 250),
    ]:
        assert {name: p.shape for name, p in layer.named_parameters()} == {"weight": shape, "bias": (layer.bias.size,)}
        largest = abs(layer.weight.data).max() * fan**0.5
        assert 0.8 < largest <= 1.0
        assert abs(layer.bias.data).max() <= fan**-0.5
    assert nn.Conv2d(2, 2, 1, bias=False).bias is None
    assert nn.Conv2d(2, 2, 1, dtype="float32").weight.dtype == np.float32
    assert repr(nn.Conv2d(1, 20, 5)).startswith("Conv2d(in_channels=1, out_channels=20, kernel_size=5, stride=1, padd")


def test_a_compiled_step_keeps_the_order_of_memory_and_stands_alone(tmp_path):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 3))

    def step(x, y):
        net.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss, net[0].weight.grad

    compiled, x, y = bp.compile(step), normal(5, 1, 4, 4), np.array([0, 1, 2, 0, 1])
    for a, b in zip(compiled(x, y), step(x, y), strict=True):
        assert_close(a.data, b.data, "compiled", 1e-14)
    assert "def _shifted(" in compiled.source


# ---- what is refused -------------------------------------------------------------------------------------------------

X, W = np.zeros((2, 4, 5, 6)), np.zeros((6, 4, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.conv2d(X, W[:, :3]), "conv2d: input (2, 4, 5, 6) has 4 channels, weight (6, 3, 3, 3) expects 3. Pa"),
        (lambda: F.conv2d(X, W, groups=2), "has 4 channels, weight (6, 4, 3, 3) expects 4 times groups=2. Pass"),
        (lambda: F.conv2d(X, W, groups=3), "conv2d: groups=3 does not divide channels 4 or filters 6. Pass a divisor"),
        (lambda: F.conv2d(X, W, groups=0), "conv2d: groups is 0. Pass numbers >= 1."),
        (
            lambda: F.conv2d(X, W[0]),
            "conv2d: input (2, 4, 5, 6) and weight (4, 3, 3) do not fit. Pass (n, c, size) and",
        ),
        (lambda: F.conv2d(X[0, 0], W), "conv2d: input (5, 6) and weight (6, 4, 3, 3) do not fit."),
        (lambda: F.conv1d(X, W), "conv1d: input (2, 4, 5, 6) and weight (6, 4, 3, 3) do not fit."),
        (
            lambda: F.conv2d(X, W, np.zeros(4)),
            "conv2d: bias (4,) does not fit weight (6, 4, 3, 3). Pass one a filter, (6",
        ),
        (
            lambda: F.conv1d(X[0], np.zeros((4, 5, 3)), np.zeros(3)),
            "conv1d: bias (3,) does not fit weight (4, 5, 3). Pass one a filter,",
        ),
        (lambda: F.conv2d(X, W, stride=0), "conv2d: stride is 0. Pass numbers >= 1."),
        (lambda: F.conv2d(X, W, padding=(0, -1)), "conv2d: padding is (0, -1). Pass numbers >= 0."),
        (lambda: F.conv2d(X, W, dilation=(1, 0)), "conv2d: dilation is (1, 0). Pass numbers >= 1."),
        (lambda: F.conv2d(X, W, dilation=3), "conv2d: the kernel (3, 3) spans (7, 7), the padded input (5, 6). Pass a"),
        (
            lambda: F.conv1d(X[0], np.zeros((1, 5, 9))),
            "conv1d: the kernel (9,) spans (9,), the padded input (6,). Pass",
        ),
        (lambda: F.conv2d(X, W[..., :0]), "conv2d: weight has shape (6, 4, 3, 0). Pass filters"),
        (lambda: F.conv2d(X, W, padding="full"), 'conv2d: padding is \'full\'. Pass "valid", "same" or numbers.'),
        (lambda: F.conv2d(X, W, None, 2, "same"), 'conv2d: padding="same" needs stride 1, got (2, 2). Pass numbers.'),
        (lambda: F.conv_transpose2d(X, W), "conv_transpose2d: input (2, 4, 5, 6) and weight (6, 4, 3, 3) do not fit."),
        (lambda: F.conv_transpose2d(X, W[:4], groups=3), "conv_transpose2d: groups=3 does not divide 4 channels. Pass"),
        (
            lambda: F.conv_transpose2d(X, W[:4], np.zeros(3)),
            "conv_transpose2d: bias (3,) does not fit weight (4, 4, 3,",
        ),
        (
            lambda: F.conv_transpose2d(X, W[:4], None, (1, 2), 0, 1),
            "conv_transpose2d: output_padding is (1, 1), stride (1, 2). Pass an output_padding less than that.",
        ),
        (
            lambda: F.conv_transpose2d(X, W[:4], padding=4),
            "conv_transpose2d: the result of input (2, 4, 5, 6) would be of",
        ),
        (
            lambda: ops.conv2d_dx(X, W[:4], (9, 9), (1, 1), (0, 0), (1, 1), 1),
            "conv2d_dx: g (2, 4, 5, 6) is no result of",
        ),
        (
            lambda: ops.conv2d_dw(X, X, (2, 1), (1, 1), (0, 0), (1, 1), 1),
            "conv2d_dw: g (2, 4, 5, 6) is no result of this",
        ),
        (lambda: ops.conv2d(X, W, None, (0, 1), (0, 0), (1, 1), 1), "conv2d: stride is (0, 1). Pass numbers >= 1."),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), "Conv2d: out_channels=6 is no multiple of groups=4. Pass a multiple."),
        (lambda: nn.Conv1d(3, 6, 3, groups=2), "Conv1d: in_channels=3 is no multiple of groups=2. Pass a multiple."),
        (lambda: nn.Conv2d(0, 6, 3), "Conv2d: in_channels is 0. Pass numbers >= 1."),
        (lambda: nn.Conv2d(4, 6, (3, 0)), "Conv2d: kernel_size is (3, 0). Pass numbers >= 1."),
        (lambda: nn.Conv2d(4, 6, 3, stride=0), "Conv2d: stride is 0. Pass numbers >= 1."),
        (lambda: nn.Conv2d(4, 6, 3, padding="reflect"), 'Conv2d: padding is \'reflect\'. Pass "valid", "same" or num'),
        (
            lambda: nn.Conv2d(4, 6, 3)(X[:, :3]),
            "conv2d: input (2, 3, 5, 6) has 3 channels, weight (6, 4, 3, 3) expects",
        ),
    ],
)
def test_values_that_are_refused(call, message):
    with refuses(ValueError, message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.conv2d(X, W, stride=1.0), "conv2d: stride is 1.0. Pass an integer or 2 of them."),
        (lambda: F.conv2d(X, W, padding=(1, 1, 1)), "conv2d: padding is (1, 1, 1). Pass an integer or 2 of them."),
        (lambda: F.conv1d(X[0], W[0], dilation=(1, 1)), "conv1d: dilation is (1, 1). Pass an integer."),
        (lambda: F.conv2d("x", W), "conv2d: the input is a str. Pass a Tensor, an array or a list of numbers."),
        (lambda: nn.Conv2d(4, 6, 2.5), "Conv2d: kernel_size is 2.5. Pass an integer or 2 of them."),
        (lambda: nn.Conv2d(4, True, 3), "Conv2d: out_channels is True. Pass an integer."),
        (
            lambda: nn.ConvTranspose2d(4, 6, 3, padding="same"),
            "ConvTranspose2d: padding is 'same'. Pass an integer or 2",
        ),
    ],
)
def test_types_that_are_refused(call, message):
    with refuses(TypeError, message):
        call()
