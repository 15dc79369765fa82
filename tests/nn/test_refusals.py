"""What every layer and function refuses, in one line that names it and its argument: flags, numbers, dtypes, inputs."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F

V, IMAGES = np.ones((4, 3)), np.ones((2, 3, 8, 8))
READ_ONLY = np.zeros(3)
READ_ONLY.flags.writeable = False
ENCODER = nn.TransformerEncoderLayer(8, 2, 16)

FLAGS = [
    (lambda: nn.Linear(2, 3, "no"), "Linear: bias is 'no'"),
    (lambda: nn.Conv2d(3, 8, 3, bias=1), "Conv2d: bias is 1"),
    (lambda: nn.MaxPool2d(2, ceil_mode="yes"), "MaxPool2d: ceil_mode is 'yes'"),
    (lambda: nn.AvgPool1d(2, count_include_pad=None), "AvgPool1d: count_include_pad is None"),
    (lambda: nn.BatchNorm2d(3, affine=None), "BatchNorm2d: affine is None"),
    (lambda: nn.BatchNorm1d(3, track_running_stats="a"), "BatchNorm1d: track_running_stats is 'a'"),
    (lambda: nn.LayerNorm(3, bias="no"), "LayerNorm: bias is 'no'"),
    (lambda: nn.RMSNorm(3, elementwise_affine=0), "RMSNorm: elementwise_affine is 0"),
    (lambda: nn.GroupNorm(1, 3, affine="a"), "GroupNorm: affine is 'a'"),
    (lambda: nn.LSTM(3, 4, bidirectional="yes"), "LSTM: bidirectional is 'yes'"),
    (lambda: nn.GRUCell(3, 4, "no"), "GRUCell: bias is 'no'"),
    (lambda: nn.MultiheadAttention(4, 2, batch_first="a"), "MultiheadAttention: batch_first is 'a'"),
    (lambda: nn.MultiheadAttention(3, 1)(V, V, V, need_weights="no"), "MultiheadAttention: need_weights is 'no'"),
    (lambda: nn.TransformerEncoderLayer(8, 2, norm_first="a"), "TransformerEncoderLayer: norm_first is 'a'"),
    (lambda: F.max_pool2d(IMAGES, 2, ceil_mode="yes"), "max_pool2d: ceil_mode is 'yes'"),
    (lambda: F.avg_pool2d(IMAGES, 2, count_include_pad="a"), "avg_pool2d: count_include_pad is 'a'"),
    (lambda: F.dropout(V, 0.5, "no"), "dropout: training is 'no'"),
    (lambda: F.batch_norm(V, None, None, training="yes"), "batch_norm: training is 'yes'"),
    (
        lambda: F.scaled_dot_product_attention(V, V, V, is_causal="no"),
        "scaled_dot_product_attention: is_causal is 'no'",
    ),
    (lambda: nn.Linear(2, 3).train("yes"), "train: mode is 'yes'"),
]


@pytest.mark.parametrize(("call", "message"), FLAGS)
def test_flags(call, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}. Pass True or False.$"):
        call()


NUMBERS = [
    (lambda: nn.BatchNorm2d(3, eps=-1), ValueError, "BatchNorm2d: eps is -1. Pass a number >= 0."),
    (lambda: nn.BatchNorm1d(3, eps="a"), TypeError, "BatchNorm1d: eps is 'a', a str. Pass a number."),
    (lambda: nn.BatchNorm1d(3, momentum=2.0), ValueError, "BatchNorm1d: momentum is 2.0. Pass a number from 0 to 1."),
    (lambda: nn.BatchNorm1d(3, momentum="a"), TypeError, "BatchNorm1d: momentum is 'a', a str. Pass a number."),
    (lambda: nn.LayerNorm(3, eps=-0.1), ValueError, "LayerNorm: eps is -0.1. Pass a number >= 0."),
    (lambda: nn.RMSNorm(3, eps=np.nan), ValueError, "RMSNorm: eps is nan. Pass a number >= 0."),
    (lambda: nn.GroupNorm(1, 3, eps=-1), ValueError, "GroupNorm: eps is -1. Pass a number >= 0."),
    (lambda: F.batch_norm(V, None, None, training=True, eps=-1), ValueError, "batch_norm: eps is -1. Pass a number"),
    (lambda: F.layer_norm(V, 3, eps="a"), TypeError, "layer_norm: eps is 'a', a str. Pass a number."),
    (lambda: F.rms_norm(V, 3, eps=-1), ValueError, "rms_norm: eps is -1. Pass a number >= 0."),
    (lambda: F.group_norm(V, 3, eps=-1), ValueError, "group_norm: eps is -1. Pass a number >= 0."),
    (lambda: nn.LeakyReLU("a"), TypeError, "LeakyReLU: negative_slope is 'a', a str. Pass a number."),
    (lambda: F.leaky_relu(V, None), TypeError, "leaky_relu: negative_slope is None, a NoneType. Pass a number."),
    (lambda: nn.ELU(np.nan), ValueError, "ELU: alpha is nan. Pass a number."),
    (lambda: F.elu(V, "a"), TypeError, "elu: alpha is 'a', a str. Pass a number."),
    (lambda: nn.Softplus(threshold="a"), TypeError, "softplus: threshold is 'a', a str. Pass a number."),
    (lambda: nn.GELU("fast"), ValueError, "gelu: approximate is 'fast'. Choose"),
    (lambda: nn.Softmax(None), TypeError, "Softmax: dim is None. Pass an integer."),
    (lambda: nn.LogSoftmax((0, 1)), TypeError, "LogSoftmax: dim is (0, 1). Pass an integer."),
    (lambda: F.softmax(V, "a"), TypeError, "softmax: dim is 'a'. Pass an integer."),
    (lambda: F.log_softmax(V, None), TypeError, "log_softmax: dim is None. Pass an integer."),
    (lambda: nn.TransformerEncoderLayer(8, 2, layer_norm_eps=-1), ValueError, "TransformerEncoderLayer: layer_norm_e"),
    (
        lambda: F.scaled_dot_product_attention(V, V, V, scale="a"),
        TypeError,
        "scaled_dot_product_attention: scale is 'a', a str. Pass a number.",
    ),
    (lambda: nn.AdaptiveAvgPool2d("a"), TypeError, "AdaptiveAvgPool2d: output_size is 'a'. Pass an integer or 2 of t"),
    (lambda: nn.AdaptiveAvgPool2d((1, 2, None)), TypeError, "AdaptiveAvgPool2d: output_size is (1, 2, None). Pass an"),
    (lambda: nn.Conv2d(3, 8, 3, 2, padding="same"), ValueError, 'Conv2d: padding="same" needs stride 1, got (2, 2).'),
    (
        lambda: nn.ConvTranspose2d(3, 4, 3, 1, output_padding=1, dilation=2),
        ValueError,
        "ConvTranspose2d: output_padding is (1, 1), stride (1, 1). Pass an output_padding less than that.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), NUMBERS)
def test_numbers(call, kind, message):
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        call()


@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: nn.Linear(2, 3, dtype=dtype),
        lambda dtype: nn.Embedding(2, 3, dtype=dtype),
        lambda dtype: nn.Conv1d(2, 3, 1, dtype=dtype),
        lambda dtype: nn.BatchNorm1d(3, affine=False, dtype=dtype),
        lambda dtype: nn.LayerNorm(3, dtype=dtype),
        lambda dtype: nn.RMSNorm(3, dtype=dtype),
        lambda dtype: nn.GroupNorm(1, 3, dtype=dtype),
        lambda dtype: nn.GRU(2, 3, dtype=dtype),
        lambda dtype: nn.RNNCell(2, 3, dtype=dtype),
        lambda dtype: nn.MultiheadAttention(4, 2, dtype=dtype),
    ],
)
def test_dtypes(make):
    for dtype in ("flaot32", "int64"):
        with pytest.raises(TypeError, match=rf'^\w+: dtype is {dtype!r}\. Pass one of floats, such as "float32"\.$'):
            make(dtype)
    assert all(t.dtype == np.float32 for t in make("float32").parameters())


INPUTS = {
    **{name: (getattr(nn, name)(), name.lower()) for name in nn.activations.__all__},
    "LeakyReLU": (nn.LeakyReLU(), "leaky_relu"),
    "LogSoftmax": (nn.LogSoftmax(), "log_softmax"),
    "Linear": (nn.Linear(3, 2), "linear"),
    "BatchNorm1d": (nn.BatchNorm1d(3), "BatchNorm1d"),
    "LayerNorm": (nn.LayerNorm(3), "layer_norm"),
    "Flatten": (nn.Flatten(), "Flatten"),
    "Dropout": (nn.Dropout().eval(), "dropout"),
    "mse_loss": (lambda x: F.mse_loss(x, V), "mse_loss"),
    "cross_entropy": (lambda x: F.cross_entropy(x, [0, 1, 2, 0]), "cross_entropy"),
}


@pytest.mark.parametrize("key", INPUTS)
def test_inputs_that_are_no_real_numbers(key):
    layer, name = INPUTS[key]
    for x, kind in ((None, "NoneType"), ("a", "str")):
        with pytest.raises(TypeError, match=rf"^{name}: the input is a {kind}\. Pass a Tensor, an array or a list of "):
            layer(x)
    with pytest.raises(TypeError, match=rf"^{name}: the input has dtype complex128\. Pass real numbers\.$"):
        layer(V + 1j)
    layer(V.tolist())


@pytest.mark.parametrize("statistic", [[0.0, 0.0, 0.0], np.zeros(3, int), READ_ONLY])
def test_running_statistics_that_cannot_be_written(statistic):
    for role in ("running_mean", "running_var"):
        given = {"running_mean": np.zeros(3), "running_var": np.ones(3)} | {role: statistic}
        message = rf"^batch_norm: {role} is written in training\. Pass a Tensor or a writable array of floats\.$"
        with pytest.raises(TypeError, match=message):
            F.batch_norm(V, **given, training=True)
        assert not given["running_mean" if role == "running_var" else "running_var"][0] % 1
        assert F.batch_norm(V, **given).shape == V.shape


@pytest.mark.parametrize("shape", [(4, 3, 0, 3), (0, 3, 3, 3)])
def test_filters_without_entries(shape):
    for function in (F.conv2d, F.conv_transpose2d):
        message = rf"^{function.__name__}: weight has shape {re.escape(str(shape))}\. Pass filters of at least one ent"
        with pytest.raises(ValueError, match=message):
            function(IMAGES, np.ones(shape))
    with pytest.raises(TypeError, match=r"^conv2d: weight has dtype uint8\. Pass floats\.$"):
        F.conv2d(IMAGES.astype(np.uint8), np.ones((1, 3, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("layer", "norm", "role"),
    [(nn.TransformerEncoderLayer, None, "encoder_layer"), (None, None, "encoder_layer"), (ENCODER, "ln", "norm")],
)
def test_layers_that_are_none(layer, norm, role):
    with pytest.raises(TypeError, match=rf"^TransformerEncoder: {role} is .*\. Pass a layer that is made, such as "):
        nn.TransformerEncoder(layer, 2, norm)


# ---- what is close to these, and is taken ----------------------------------------------------------------------------


def test_nothing_and_small_integers_are_taken():
    assert F.softmax(np.ones((2, 0)), 1).shape == (2, 0)
    assert nn.Embedding(5, 3)([]).shape == (0, 3)
    assert nn.LSTM(3, 4, 2, dropout=1)(np.ones((2, 2, 3)))[0].shape == (2, 2, 4)
    small = np.array([[0, 2, 255]], np.uint8)
    for function in (F.softmax, F.log_softmax, F.logsigmoid, F.sigmoid, F.silu, F.gelu, F.mish, F.elu, F.softsign):
        assert np.array_equal(function(small), function(small.astype(float)))
        assert np.array_equal(function(bp.Tensor(small)).data, function(small.astype(float)))


def test_a_batch_that_is_refused_is_not_counted():
    layer = nn.BatchNorm1d(3, momentum=None)
    with pytest.raises(ValueError, match="which have no variance"):
        layer(np.ones((1, 3)))
    assert layer.num_batches_tracked.item() == 0
    assert layer(V).shape == V.shape
    assert layer.num_batches_tracked.item() == 1
