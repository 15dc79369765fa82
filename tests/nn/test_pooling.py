"""Pooling: what windows there are, which of equals wins, memory, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.differences import close
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F
from tinygrad_bp.ops import pool

NAN, INF = np.nan, np.inf


def winners(x, *args, **named):
    """The gradient of the sum of all maxima."""
    x = bp.Tensor(x, requires_grad=True)
    F.max_pool1d(x.reshape(1, -1), *args, **named).sum().backward()
    return x.grad.tolist()


@pytest.mark.parametrize(
    ("x", "settings", "gradient"),
    [
        ([1.0, 1.0, 1.0], {"kernel_size": 3}, [1, 0, 0]),
        ([2.0, 1.0, 2.0, 2.0], {"kernel_size": 2, "stride": 1}, [1, 0, 2, 0]),
        ([2.0, 2.0, 1.0], {"kernel_size": 2, "stride": 1, "padding": 1}, [2, 1, 1]),
        ([-INF, -INF, -INF], {"kernel_size": 3, "stride": 2, "padding": 1}, [1, 1, 0]),
        ([NAN, 2.0, NAN, 1.0], {"kernel_size": 4}, [0, 0, 1, 0]),
        ([NAN, 2.0, 3.0, 1.0], {"kernel_size": 2}, [1, 0, 1, 0]),
    ],
)
def test_the_first_of_equals_gets_the_gradient_and_of_nans_the_last(x, settings, gradient):
    assert winners(x, **settings) == gradient


def test_of_equals_in_a_window_the_first_in_the_first_row_gets_the_gradient():
    x = bp.Tensor([[[0.0, 1.0], [1.0, 1.0]]], requires_grad=True)
    nn.MaxPool2d(2)(x).sum().backward()
    assert x.grad.tolist() == [[[0, 1], [0, 0]]]


def test_a_nan_is_the_largest_and_ends_no_other_window():
    x = np.array([[0.0, NAN, 3.0, 2.0, 1.0]])
    assert np.array_equal(F.max_pool1d(x, 2, 1), [[NAN, NAN, 3, 2]], equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.AdaptiveAvgPool2d(2),
    ],
    ids=repr,
)
def test_the_memory_order_and_the_dtype_of_the_input_are_kept(layer, dtype):
    memory = np.random.default_rng(0).normal(size=(3, 6, 4, 2)).astype(dtype)
    x = bp.Tensor(memory.transpose(3, 0, 1, 2))
    x.tracked = True
    y = layer(x)
    (dx,) = bp.autograd.grad(y, x, np.ones_like(y.data))
    assert y.dtype == dx.dtype == dtype
    assert y.data.transpose(1, 2, 3, 0).flags.c_contiguous
    packed = bp.Tensor(x.data.copy(), requires_grad=True)
    layer(packed).sum().backward()
    assert np.array_equal(layer(packed).data, y.data)
    assert close(packed.grad.data, dx.data, 1e-6 if dtype == np.float32 else 1e-15)


def test_gradients_in_blocks_are_the_same(monkeypatch):
    x = np.random.default_rng(0).integers(0, 5, (7, 3, 5, 4)).astype(float)

    def gradient(x):
        x = bp.Tensor(x, requires_grad=True)
        y = F.max_pool2d(x, 3, 1, 1)
        (y * y).sum().backward()
        return x.grad.data

    at_once = gradient(x), gradient(x.transpose(1, 0, 2, 3))
    monkeypatch.setattr(pool, "BLOCK", 2 * x[0].nbytes)
    assert np.array_equal(gradient(x), at_once[0])
    assert np.array_equal(gradient(x.transpose(1, 0, 2, 3)), at_once[1])


def test_one_sample_needs_no_batch_axis():
    x = np.random.default_rng(0).normal(size=(3, 7, 5))
    for layer in (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((3, 2))):
        assert np.array_equal(layer(x), layer(x[None])[0])


def test_windows_of_one_entry_copy():
    x = np.ones((1, 2, 3))
    for y in (F.max_pool1d(x, 1), F.avg_pool1d(x, 1), F.adaptive_avg_pool1d(x, 3)):
        assert np.array_equal(y, x)
        assert not np.shares_memory(x, y)


IMAGE = np.zeros((2, 3, 4, 4))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: nn.MaxPool2d(0), ValueError, r"^MaxPool2d: kernel_size is 0\. Pass numbers >= 1\."),
        (lambda: nn.MaxPool2d(2.0), TypeError, r"^MaxPool2d: kernel_size is 2\.0\. Pass an integer or 2 of them\."),
        (lambda: nn.AvgPool2d((2, 2, 2)), TypeError, r"^AvgPool2d: kernel_size is \(2, 2, 2\)\. Pass an integer or 2"),
        (lambda: nn.MaxPool1d(2, 0), ValueError, r"^MaxPool1d: stride is 0\. Pass numbers >= 1\."),
        (lambda: nn.MaxPool1d(2, dilation=0), ValueError, r"^MaxPool1d: dilation is 0\. Pass numbers >= 1\."),
        (lambda: nn.AvgPool1d(2, padding=-1), ValueError, r"^AvgPool1d: padding is -1\. Pass numbers >= 0\."),
        (
            lambda: nn.MaxPool2d((3, 2), padding=(1, 2)),
            ValueError,
            r"^MaxPool2d: padding 2 is more than half of kernel_size 2\. Pass at most 1\.$",
        ),
        (lambda: nn.AdaptiveAvgPool2d(0), ValueError, r"^AdaptiveAvgPool2d: output_size is 0\. Pass numbers"),
        (lambda: nn.AdaptiveAvgPool1d(None), TypeError, r"^AdaptiveAvgPool1d: output_size is None\. Pass an integer\."),
        (
            lambda: F.adaptive_avg_pool2d(IMAGE, 1.5),
            TypeError,
            r"^adaptive_avg_pool2d: output_size is 1\.5\.",
        ),
        (
            lambda: F.max_pool2d(IMAGE[0, 0], 2),
            ValueError,
            r"^max_pool2d: input has shape \(4, 4\)\. Pass \(n, channels, height, width\), or one sample without n\.$",
        ),
        (
            lambda: F.avg_pool1d(IMAGE, 2),
            ValueError,
            r"^avg_pool1d: input has shape \(2, 3, 4, 4\)\. Pass \(n, channels, l",
        ),
        (lambda: F.max_pool2d(IMAGE.astype(int), 2), TypeError, r"^max_pool2d: input has dtype int64\. Pass floats\.$"),
        (
            lambda: nn.MaxPool2d(3, dilation=2)(IMAGE),
            ValueError,
            r"^max_pool: a window spans 5 entries of axis 2, which has 4 and a padding of 0\. "
            r"Pass a smaller kernel_size or dilation \(input shapes: \(2, 3, 4, 4\)\)\.$",
        ),
        (
            lambda: F.avg_pool2d(IMAGE, (2, 5)),
            ValueError,
            r"^avg_pool: a window spans 5 entries of axis 3, which has 4",
        ),
        (
            lambda: F.adaptive_avg_pool2d(IMAGE[:, :, :0], 1),
            ValueError,
            r"^adaptive_avg_pool2d: input has shape \(2, 3, 0, 4\), nothing to average\. Pass axes of at least one",
        ),
    ],
)
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
