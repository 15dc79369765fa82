"""Layers in ONNX files: what onnxruntime computes of them for any number of rows is what they compute in float32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.exporting.runtime import assert_agrees
from tests.nn.test_layers import LAYERS, with_shapes
from tinygrad_bp import nn, ops
from tinygrad_bp.exporting.onnx_file import onnx_model
from tinygrad_bp.nn import functional as F

pytestmark = pytest.mark.oracle
BATCHES = (1, 2, 4, 7)


def made(build):
    """A model of float32 whose every number is drawn, so that no weight is 1 and no bias and no running mean is 0."""
    bp.manual_seed(3)
    bp.set_default_dtype("float32")
    try:
        model = build()
    finally:
        bp.set_default_dtype("float64")
    rng = np.random.default_rng(5)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype == np.float32:
            tensor.data += rng.uniform(-0.2, 0.2, tensor.shape)
    return model.eval()


def rows(n, *shape):
    """Normal numbers, every second of the last axis moved: what divides by the spread of two is well conditioned."""
    x = np.random.default_rng(n).normal(size=(n, *shape))
    return (x + np.arange(x.shape[-1]) % 2 * 8.0).astype(np.float32)


def assert_exported(model, *shape, batches=BATCHES):
    """The file, written from two rows, computes what the model computes of several numbers of rows."""
    assert_agrees(model, [rows(n, *shape) for n in (2, *batches)])


def operations(model, *shape):
    return [node.op_type for node in onnx_model(model, rows(2, *shape)).graph.node]


# ---- every layer ---------------------------------------------------------------------------------------------------


# The shapes in the other list are of one sample; and of attention the output joins what grows with the rows and with
# their square. The rest of its numbers must be a batch.
BATCHED = {**dict.fromkeys(("Conv2d", "ConvTranspose2d"), (2, 2, 2, 2)), "MultiheadAttention": None, "Embedding": None}
CASES = [(name, BATCHED.get(name, shape)) for name, shape in with_shapes((5, 3), (2, 5, 3))]


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, shape in CASES if shape])
def test_every_layer(name, shape):
    assert_exported(made(LAYERS[name]), *shape[1:])


class Looked(nn.Module):
    """A function as a model."""

    def __init__(self, function, **parts):
        self.function = function
        self.parts = parts

    def forward(self, x):
        return self.function(x, **self.parts)


def test_embedding_of_integers():
    model = made(lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2)))
    assert_agrees(model, [np.random.default_rng(n).integers(0, 9, (n, 3)) for n in BATCHES])


# ---- convolutions --------------------------------------------------------------------------------------------------

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw, axes):
    """Channels, filters and sizes, and the keywords of a convolution that fits them."""
    groups = draw(st.integers(1, 3))
    channels, filters = (groups * draw(st.integers(1, 3)) for _ in "io")
    kernel, stride, dilation = (draw(pairs)[:axes] for _ in "ksd")
    padding = draw(st.one_of(st.tuples(*[st.integers(0, 2)] * axes), st.sampled_from(["same", "valid"])))
    if padding == "same":
        stride = (1,) * axes
    size = tuple(draw(st.integers((k - 1) * d + 1, 9)) for k, d in zip(kernel, dilation))
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": draw(st.booleans())}
    return channels, filters, kernel, size, how


@settings(max_examples=30)
@given(drawn=st.integers(1, 2).flatmap(convolutions))
def test_convolutions(drawn):
    channels, filters, kernel, size, how = drawn
    layer = nn.Conv1d if len(size) == 1 else nn.Conv2d
    assert_exported(made(lambda: layer(channels, filters, kernel, **how)), channels, *size)


@settings(max_examples=30)
@given(drawn=convolutions(2), more=pairs)
def test_transposed_convolutions(drawn, more):
    channels, filters, kernel, size, how = drawn
    how["padding"] = (
        0 if isinstance(how["padding"], str) else tuple(min(p, k - 1) for p, k in zip(how["padding"], kernel))
    )
    how["output_padding"] = tuple(m % s for m, s in zip(more, how["stride"]))
    assert_exported(made(lambda: nn.ConvTranspose2d(channels, filters, kernel, **how)), channels, *size)


# ---- pools ---------------------------------------------------------------------------------------------------------


@st.composite
def pools(draw, axes):
    """Kernel, stride, padding, dilation, and a size that the windows fit into."""
    kernel, stride, dilation = (draw(pairs)[:axes] for _ in "ksd")
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(draw(st.integers((k - 1) * d + 1, 9)) for k, d in zip(kernel, dilation))
    return kernel, stride, padding, dilation, size


@settings(max_examples=60)
@given(drawn=st.integers(1, 2).flatmap(pools), ceil_mode=st.booleans())
def test_max_pools(drawn, ceil_mode):
    kernel, stride, padding, dilation, size = drawn
    layer = nn.MaxPool1d if len(size) == 1 else nn.MaxPool2d
    assert_exported(layer(kernel, stride, padding, dilation, ceil_mode=ceil_mode), 2, *size)


@settings(max_examples=60)
@given(drawn=st.integers(1, 2).flatmap(pools), ceil_mode=st.booleans(), count_include_pad=st.booleans())
def test_average_pools(drawn, ceil_mode, count_include_pad):
    kernel, stride, padding, _, size = drawn
    layer = nn.AvgPool1d if len(size) == 1 else nn.AvgPool2d
    assert_exported(layer(kernel, stride, padding, ceil_mode, count_include_pad), 2, *size)


@settings(max_examples=20)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), output=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_adaptive_pools(size, output):
    assert_exported(nn.AdaptiveAvgPool2d(output), 2, *size)
    assert_exported(nn.AdaptiveAvgPool1d(output[0]), 2, size[0])


def test_windows_along_the_rows():
    """Rows that are the steps of one signal: a convolution and pools without a batch, along an axis of any length."""

    def along(x, conv):
        signal = F.relu(conv(x.T))
        return F.max_pool1d(signal, 2, 1), F.avg_pool1d(signal, 3, 1, 1), F.avg_pool1d(signal, 3, 1, 1, False, False)

    assert_exported(Looked(along, conv=made(lambda: nn.Conv1d(3, 4, 3, padding=1))), 3, batches=(2, 3, 8, 9))


@pytest.mark.parametrize("padding", [0, 1])
def test_windows_of_two_rows_that_are_rounded_up(padding):
    def along(x):
        signal = x.reshape(2 * len(x), 2).T
        means = [F.avg_pool1d(signal, 3, 2, padding, True, count) for count in (True, False)]
        return F.max_pool1d(signal, 3, 2, padding, ceil_mode=True), *means

    assert_exported(Looked(along), 4, batches=(2, 3, 8, 9))


def test_pools_of_more_axes_are_refused():
    message = r"^export: the model: 'avg_pool' is of 1 of 4 axes\. Reshape its input to \(n, channels, \.\.\.\)\.$"
    with pytest.raises(ValueError, match=message):
        onnx_model(Looked(lambda x: ops.avg_pool(x, (2,), (2,), (0,))), rows(2, 3, 4, 6))


# ---- normalisations ------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(shape=st.lists(st.integers(2, 5), min_size=1, max_size=3), axes=st.integers(1, 3), affine=st.booleans())
def test_norms_of_the_last_axes(shape, axes, affine):
    last = tuple(shape[-axes:])
    assert_exported(made(lambda: nn.LayerNorm(last, 1, elementwise_affine=affine)), *shape)
    assert_exported(made(lambda: nn.LayerNorm(last, bias=False)), *shape)
    assert_exported(made(lambda: nn.RMSNorm(last, 1.5, elementwise_affine=affine)), *shape)


@settings(max_examples=30)
@given(
    groups=st.integers(1, 3), per=st.integers(1, 3), size=st.lists(st.integers(2, 4), max_size=2), affine=st.booleans()
)
def test_norms_of_channels(groups, per, size, affine):
    channels = groups * per
    assert_exported(made(lambda: nn.GroupNorm(groups, channels, affine=affine)), channels, 3, *size)
    batch_norm = nn.BatchNorm2d if len(size) == 2 else nn.BatchNorm1d
    assert_exported(made(lambda: batch_norm(channels, affine=affine)), channels, *size)


def test_batch_norm_with_moments_that_are_given():
    moments = np.array([[0.5, -1.0, 0.0], [2.0, 0.1, 1.0]], np.float32)
    w = bp.Tensor(np.array([2.0, 0.5, -1.0]), dtype=np.float32)
    assert_exported(Looked(lambda x: ops.batch_norm(x, w, None, moments, 1)), 3, 2)


def test_a_norm_over_the_rows():
    shift = np.array([0.5], np.float32)
    assert_exported(Looked(lambda x: ops.layer_norm(x.T, None, shift)), 3, batches=(3, 5, 8))


# ---- recurrences ---------------------------------------------------------------------------------------------------

KINDS = {
    "RNN": nn.RNN,
    "RNN of relu": lambda *sizes, **how: nn.RNN(*sizes, nonlinearity="relu", **how),
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
}


@settings(max_examples=40)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 2)),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    other=st.integers(1, 4),
)
def test_recurrences(kind, sizes, flags, other):
    """Output and last states; rows are sequences, or with the batch second the steps of `other` sequences."""
    how = dict(zip(("bias", "batch_first", "bidirectional"), flags))
    assert_exported(made(lambda: KINDS[kind](*sizes, **how)), other, sizes[0])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_recurrence_is_one_node_a_layer_and_direction(kind):
    """The product of the input is in it; and where states are not used, nothing that computes them is in the file."""
    layer = made(lambda: KINDS[kind](3, 2, num_layers=2, bidirectional=True, batch_first=True))
    found = operations(nn.Sequential(layer, nn.LastStep(True)), 4, 3)
    assert found.count(kind[:4].strip()) == 4
    assert not {"Gemm", "MatMul", "Reshape", "Expand"} & {*found}
    assert len(operations(layer, 4, 3)) > len(found)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_sequence(kind):
    assert_exported(made(lambda: KINDS[kind](3, 2, bidirectional=True)), 3)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_states_before_the_first_step(kind):
    layer = made(lambda: KINDS[kind](3, 2))
    learned = bp.Tensor(rows(1, 1, 2), requires_grad=True)

    def forward(x, layer):
        h = np.broadcast_to(learned, (1, len(x), 2))
        c = x[None, :, 0, :2]
        return layer(np.swapaxes(x, 0, 1), (h, c) if kind == "LSTM" else h + c)

    assert_exported(Looked(forward, layer=layer), 4, 3)


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells_in_a_loop(cell):
    def forward(x, cell):
        states = None
        for t in range(3):
            states = cell(x[:, t], states)
        return states

    assert_exported(Looked(forward, cell=made(lambda: cell(3, 2))), 3, 3)


def test_a_recurrence_without_the_product():
    """What comes in is no product, or one of another shape: it goes into the node as it is."""
    w, b = rows(8, 2), rows(8)
    state = np.zeros((1, 2), np.float32)

    def forward(x):
        z = F.linear(x.reshape(-1, 2), w).reshape(2, -1, 8)
        for each in (np.swapaxes(x, 0, 1) * 0.5, z):
            y = ops.lstm(each, w, b, *[np.broadcast_to(state, (each.shape[1], 2))] * 2)
            yield from (y[0], y[1, -1], y[0, 1:, :, 0])

    assert_exported(Looked(lambda x: tuple(forward(x))), 4, 8)


@pytest.mark.parametrize(
    ("row", "gates", "take"),
    [
        (ops.lstm, 4, lambda y: y[1]),
        (ops.lstm, 4, lambda y: y[1, 0]),
        (ops.lstm, 4, lambda y: y[2, -1]),
        (ops.gru, 3, lambda y: y[1, 0]),
        (ops.gru, 3, np.sum),
    ],
)
def test_gates_are_refused(row, gates, take):
    def forward(x):
        states = [np.zeros((len(x), 2), np.float32)] * (1 + (row is ops.lstm))
        return take(row(np.swapaxes(x, 0, 1), rows(2 * gates, 2), 0.0, *states))

    message = rf"^export: the model: '{row.name}' gives h at every step and the last c in ONNX, nothing else\. Take"
    with pytest.raises(ValueError, match=message):
        onnx_model(Looked(forward), rows(2, 4, 2 * gates))


def test_weights_that_the_input_makes_are_refused():
    def forward(x):
        return ops.rnn(x[None], x.T @ x, 0.0, np.zeros((len(x), 3)))

    with pytest.raises(
        ValueError, match=r"^export: the model: 'rnn' has weights that are computed from the input\. Pass"
    ):
        onnx_model(Looked(forward), rows(2, 3))


# ---- attention -----------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Attention of one input to itself, with its weights."""

    def __init__(self, *sizes, mask=None, causal=False, **how):
        self.attention, self.mask, self.causal = nn.MultiheadAttention(*sizes, **how), mask, causal

    def forward(self, x):
        return self.attention(x, x, x, attn_mask=self.mask, is_causal=self.causal)


@settings(max_examples=20)
@given(heads=st.integers(1, 3), per=st.integers(1, 3), length=st.integers(1, 5), flags=st.tuples(*[st.booleans()] * 3))
def test_attention(heads, per, length, flags):
    bias, batch_first, causal = flags
    attention = made(
        lambda: Attention(heads * per, heads, causal=causal and batch_first, bias=bias, batch_first=batch_first)
    )
    assert_exported(attention, length, heads * per)


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_attention_masks(dtype):
    """Of bools and of numbers; a query that no key is left for has weights of 0."""
    hidden = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]], dtype)
    mask = hidden if dtype is bool else np.where(hidden == 1, np.float32(-np.inf), np.float32(0.5))
    assert_exported(made(lambda: Attention(4, 2, batch_first=True, mask=mask)), 3, 4)


def test_a_mask_that_the_input_makes():
    def forward(x):
        return F.scaled_dot_product_attention(x, x, x, attn_mask=x[:, None, :, 0] > 0.0)

    assert_exported(Looked(forward), 5, 2)


# ---- whole networks ------------------------------------------------------------------------------------------------


class Decoder(nn.Module):
    """The states after a sequence, and steps from there whose outputs are the next inputs."""

    def __init__(self):
        self.encoder, self.cell = nn.LSTM(3, 4, batch_first=True), nn.LSTMCell(3, 4)
        self.output = nn.Linear(4, 3)

    def forward(self, x):
        _, (h, c) = self.encoder(x)
        y, states, outputs = x[:, -1], (h[0], c[0]), []
        for _ in range(3):
            states = self.cell(y, states)
            y = self.output(states[0])
            outputs.append(y)
        return np.stack(outputs, axis=1)


class Normed(nn.Module):
    """Weights computed from parameters: they are constants of the file."""

    def __init__(self):
        self.filters, self.recurrent = nn.Parameter(rows(4, 2, 3)), nn.Parameter(rows(6, 2))

    def forward(self, x):
        y = F.conv1d(x, self.filters / np.linalg.norm(self.filters, axis=(1, 2), keepdims=True))
        z = F.linear(np.swapaxes(y, 1, 2).reshape(-1, 4), np.tanh(self.recurrent).reshape(3, 4))
        return ops.gru(z.reshape(-1, 5, 3).swapaxes(0, 1), self.recurrent[:3, :1], 0.0, x[:, 0, :1])[0]


def residual(x, convolution, norm, linear):
    y = x.reshape(-1, 1, 8, 8)
    z = F.relu(norm(convolution(y)) + y)
    z = np.concatenate([F.max_pool2d(z, 2), F.avg_pool2d(z, 2)], axis=1)
    return F.softmax(linear(z.reshape(len(x), -1)))


NETWORKS = {
    "MLP": (
        lambda: nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Dropout(), nn.Linear(30, 10), nn.LogSoftmax()),
        (64,),
    ),
    "MLP with norms": (
        lambda: nn.Sequential(
            nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3)
        ),
        (9,),
    ),
    "CNN": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 6, 3, padding="same", bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2),
            nn.GroupNorm(2, 8),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        ),
        (64,),
    ),
    "residual": (
        lambda: Looked(
            residual, convolution=nn.Conv2d(1, 4, 3, padding=1), norm=nn.BatchNorm2d(4), linear=nn.Linear(128, 5)
        ),
        (64,),
    ),
    "autoencoder": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, 2, 1), nn.ELU(), nn.ConvTranspose2d(4, 1, 3, 2, 1, output_padding=1), nn.Sigmoid()
        ),
        (1, 6, 6),
    ),
    "LSTM": (
        lambda: nn.Sequential(
            nn.LSTM(3, 5, 2, batch_first=True, dropout=0.2, bidirectional=True), nn.LastStep(True), nn.Linear(10, 2)
        ),
        (7, 3),
    ),
    "GRU and LSTM": (
        lambda: nn.Sequential(
            nn.GRU(3, 4, batch_first=True),
            nn.EveryStep(),
            nn.LSTM(4, 4, batch_first=True),
            nn.EveryStep(),
            nn.Linear(4, 2),
        ),
        (6, 3),
    ),
    "decoder": (Decoder, (4, 3)),
    "weights of weights": (Normed, (2, 7)),
    "transformer": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, norm=nn.LayerNorm(8)),
        (5, 8),
    ),
    "transformer, norms first": (
        lambda: nn.TransformerEncoderLayer(6, 3, 8, activation="gelu", norm_first=True, bias=False, batch_first=True),
        (4, 6),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    build, shape = NETWORKS[name]
    assert_exported(made(build), *shape, batches=(1, 3, 16))


def test_a_norm_of_its_own_batch_is_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    message = r"'batch_norm' normalises by what its own batch has\. Give it running statistics\.$"
    with pytest.raises(ValueError, match=rf"^export: 1: {message}"):
        onnx_model(model, rows(2, 3))
    with pytest.raises(ValueError, match=rf"^export: the model: {message}"):
        onnx_model(Looked(lambda x: ops.batch_norm(x, None, None, None)), rows(2, 3))
