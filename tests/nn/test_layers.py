"""Layers: their gradients against finite differences, their first values, their errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.differences import assert_gradients, close
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F


def flat(layer):
    """A layer that returns several tensors, nested, with all their entries joined."""

    def entries(y):
        return [y.reshape(-1)] if isinstance(y, bp.Tensor) else [x for part in y for x in entries(part)]

    return nn.Sequential(layer, lambda y: np.concatenate(entries(y)))


class LookedUp(nn.Module):
    """An embedding of the same numbers in every call, times the input, (4, 3)."""

    def __init__(self):
        self.embedding = nn.Embedding(4, 3)

    def forward(self, x):
        return self.embedding([3, 0, 3, 1]) * x


class SelfAttention(nn.MultiheadAttention):
    """Attention of one input to itself."""

    def forward(self, x):
        return super().forward(x, x, x)


LAYERS = {
    "Linear": lambda: nn.Linear(3, 4),
    "Linear without bias": lambda: nn.Linear(3, 2, bias=False),
    "Flatten": nn.Flatten,
    "Unflatten": lambda: nn.Unflatten(-1, (3, -1)),
    "Identity": nn.Identity,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "ELU": lambda: nn.ELU(0.7),
    "SiLU": nn.SiLU,
    "Softplus": lambda: nn.Softplus(2.0, 1.0),
    "SELU": nn.SELU,
    "GELU": nn.GELU,
    "GELU by tanh": lambda: nn.GELU("tanh"),
    "Mish": nn.Mish,
    "Softsign": nn.Softsign,
    "LogSigmoid": nn.LogSigmoid,
    "Softmax": nn.Softmax,
    "Softmax over rows": lambda: nn.Softmax(dim=0),
    "LogSoftmax": nn.LogSoftmax,
    "LogSoftmax over rows": lambda: nn.LogSoftmax(0),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Softmax()),
    "Conv1d": lambda: nn.Conv1d(2, 2, 2, stride=2, padding=1),
    "Conv2d": lambda: nn.Conv2d(2, 4, (2, 1), padding="same", groups=2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, 1, 2, stride=(2, 1), output_padding=(1, 0)),
    "Dropout": lambda: nn.Dropout(0.25).eval(),  # in training every call is another function
    "Embedding": LookedUp,
    "BatchNorm1d": lambda: nn.BatchNorm1d(3),
    "BatchNorm2d": lambda: nn.BatchNorm2d(2, momentum=None),
    "LayerNorm": lambda: nn.LayerNorm(3),
    "RMSNorm": lambda: nn.RMSNorm(3),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "MaxPool1d": lambda: nn.MaxPool1d(2, 1),
    "MaxPool2d": lambda: nn.MaxPool2d((2, 1), padding=(1, 0)),
    "AvgPool1d": lambda: nn.AvgPool1d(2, 1),
    "AvgPool2d": lambda: nn.AvgPool2d((2, 1), padding=(1, 0), count_include_pad=False),
    "AdaptiveAvgPool1d": lambda: nn.AdaptiveAvgPool1d(2),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((1, None)),
    "RNN": lambda: flat(nn.RNN(3, 1, num_layers=2, bidirectional=True)),
    "LSTM": lambda: flat(nn.LSTM(3, 1)),
    "GRU": lambda: flat(nn.GRU(3, 1, bias=False, batch_first=True)),
    "EveryStep": nn.EveryStep,
    "LastStep": nn.LastStep,
    "LastStep of a batch that comes first": lambda: nn.LastStep(batch_first=True),
    "RNNCell": lambda: nn.RNNCell(3, 2),
    "LSTMCell": lambda: flat(nn.LSTMCell(3, 2)),
    "GRUCell": lambda: nn.GRUCell(3, 2),
    "MultiheadAttention": lambda: flat(SelfAttention(2, 2, bias=False)),  # that of keys changes nothing
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(3, 1, 1, 0.0, F.tanh, norm_first=True, bias=False),
    "TransformerEncoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(3, 1, 1, 0.0, F.tanh, bias=False), 1
    ),
}
# Layers whose inputs are not rows of any batch: the shapes they are tested with.
SHAPES = {
    "Conv1d": [(1, 2, 3)],
    **{key: [(2, 2, 2)] for key in ["Conv2d", "ConvTranspose2d"]},
    "Embedding": [(4, 3)],
    "BatchNorm1d": [(4, 3), (2, 3, 2)],
    "BatchNorm2d": [(2, 2, 1, 2)],
    "LayerNorm": [(4, 3)],
    "RMSNorm": [(4, 3)],
    "GroupNorm": [(2, 4, 2)],
    **{key: [(2, 1, 3)] for key in ["MaxPool1d", "AvgPool1d", "AdaptiveAvgPool1d"]},
    **{key: [(2, 1, 3, 2)] for key in ["MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"]},
    "RNN": [(2, 3)],
    **{key: [(2, 2, 3)] for key in ["LSTM", "GRU"]},
    "LastStep": [(2, 3), (3, 2, 3)],
    **{key: [(1, 3)] for key in ["RNNCell", "LSTMCell", "GRUCell"]},
    "MultiheadAttention": [(2, 1, 2)],
    **{key: [(2, 3)] for key in ["TransformerEncoderLayer", "TransformerEncoder"]},
}


def with_shapes(*shapes):
    """Every layer with each of these shapes, or with those it has of its own."""
    return [(name, shape) for name in LAYERS for shape in SHAPES.get(name.split()[0], shapes)]


def test_every_layer_is_in_the_list():
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    losses = {name for name in layers if name.endswith("Loss")}
    assert layers - losses - {"Module", "Parameter"} == {name.split()[0] for name in LAYERS}


@pytest.mark.parametrize(("name", "shape"), with_shapes((3,), (5, 3), (2, 5, 3), (2, 0, 3)))
def test_gradients_of_input_and_parameters_equal_differences(name, shape):
    if name.split()[0] == "Flatten" and len(shape) < 2:
        shape = (1, 3)
    bp.manual_seed(1)
    layer = LAYERS[name]()
    x = bp.Tensor(np.random.default_rng(2).normal(size=shape), requires_grad=True)
    assert_gradients(lambda: layer(x), x, *layer.parameters())


@pytest.mark.parametrize(("name", "shape"), with_shapes((5, 3)))
def test_float32_stays_float32(name, shape):
    bp.set_default_dtype("float32")
    try:
        layer = LAYERS[name]()
    finally:
        bp.set_default_dtype("float64")
    x = bp.Tensor(np.ones(shape, np.float32), requires_grad=True)
    y = layer(x)
    assert y.dtype == np.float32
    y.sum().backward()
    assert {t.grad.dtype for t in (x, *layer.parameters())} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("name", "shape"), with_shapes((5, 3)))
def test_arrays_are_accepted(name, shape):
    layer = LAYERS[name]()
    x = np.random.default_rng(2).normal(size=shape)
    assert np.array_equal(np.asarray(layer(bp.Tensor(x)).data), getattr(layer(x), "data", layer(x)))


def test_settings_reach_the_function():
    x = np.random.default_rng(2).normal(size=(5, 3))
    assert np.array_equal(nn.LeakyReLU(0.2)(x), np.where(x > 0, x, 0.2 * x))
    assert close(nn.ELU(0.7)(x), np.where(x > 0, x, 0.7 * (np.exp(x) - 1)), 1e-15)
    assert np.array_equal(nn.Softplus(2.0, 1.0)(x), nn.functional.softplus(x, 2.0, 1.0))
    assert np.array_equal(nn.GELU("tanh")(x), nn.functional.gelu(x, "tanh"))
    assert close(nn.Softmax(0)(x).sum(0), np.ones(3), 1e-14)
    assert close(np.exp(nn.LogSoftmax(0)(x)).sum(0), np.ones(3), 1e-14)


# ---- Linear -------------------------------------------------------------------------------------------------------


@given(n=st.integers(0, 5), fan_in=st.integers(1, 6), fan_out=st.integers(1, 6), seed=st.integers(0, 99))
def test_linear_is_x_times_w_transposed_plus_b(n, fan_in, fan_out, seed):
    bp.manual_seed(seed)
    layer = nn.Linear(fan_in, fan_out)
    x = np.random.default_rng(seed).normal(size=(n, fan_in))
    assert close(layer(x).data, x @ layer.weight.data.T + layer.bias.data, 1e-14)


def test_linear_begins_uniform_in_one_over_the_square_root_of_its_inputs():
    bp.manual_seed(3)
    layer = nn.Linear(100, 400)
    for parameter, entries in ((layer.weight, 40000), (layer.bias, 400)):
        assert np.abs(parameter.data).max() <= 0.1
        spread = 0.1 / np.sqrt(3)
        assert abs(parameter.data.std() - spread) < 5 * spread / np.sqrt(entries)
        assert abs(parameter.data.mean()) < 5 * spread / np.sqrt(entries)
    assert layer.weight.shape == (400, 100)
    assert layer.bias.shape == (400,)


def test_the_seed_decides_the_weights_and_their_dtype_only_rounds_them():
    def first(**kwargs):
        bp.manual_seed(4)
        return nn.Linear(5, 6, **kwargs).state_dict()

    assert all((first()[name] == first()[name]).all() for name in ("weight", "bias"))
    assert first(dtype=np.float32)["weight"].dtype == np.float32
    assert (first(dtype=np.float32)["weight"] == first()["weight"].astype(np.float32)).all()
    assert (nn.Linear(5, 6).weight.data != first()["weight"]).all()


def test_linear_without_bias():
    layer = nn.Linear(2, 3, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("size", [0, -3])
def test_sizes_below_one_are_refused(size):
    with pytest.raises(ValueError, match=rf"^Linear: out_features is {size}\. Pass numbers >= 1\.$"):
        nn.Linear(2, size)


@pytest.mark.parametrize("size", [2.0, "2", True, None])
def test_sizes_that_are_no_integers_are_refused(size):
    with pytest.raises(TypeError, match=rf"^Linear: in_features is {size!r}\. Pass an integer\.$"):
        nn.Linear(size, 2)
    assert nn.Linear(np.int64(2), 2).in_features == 2


def test_an_input_of_the_wrong_width_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^linear: input \(64, 784\) has 784 features, weight \(10, 100\) expects 100\. "
        r"Give the layer in_features=784 or the input 100 columns\.$",
    ):
        nn.Linear(100, 10)(np.zeros((64, 784)))


@pytest.mark.parametrize("x", [5, 2.0, True, np.float64(2.0), bp.tensor(1.0)])
def test_an_input_without_axes_is_refused(x):
    message = r"^linear: input \(\) and weight \(1, 2\) do not fit\. Pass \(\.\.\., in\) and \(out, in\)\.$"
    with pytest.raises(ValueError, match=message):
        nn.Linear(2, 1)(x)


# ---- Flatten ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "shape", "flat"),
    [
        (1, -1, (2, 3, 4, 5), (2, 60)),
        (1, -1, (2, 3), (2, 3)),
        (1, -1, (0, 3, 4), (0, 12)),
        (0, -1, (2, 3), (6,)),
        (1, 2, (2, 3, 4, 5), (2, 12, 5)),
        (-2, -1, (2, 3, 4, 5), (2, 3, 20)),
        (0, 0, (2, 3), (2, 3)),
    ],
)
def test_flatten(start, end, shape, flat):
    x = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(nn.Flatten(start, end)(x), x.reshape(flat))


def test_flatten_without_axes_to_flatten():
    with pytest.raises(ValueError, match=r"^Flatten: input \(3,\) has no axes from 1 to -1\. Add a batch axis\.$"):
        nn.Flatten()(np.zeros(3))


@pytest.mark.parametrize("settings", [{"start_dim": "a"}, {"end_dim": 1.0}, {"start_dim": True}])
def test_flatten_needs_axes(settings):
    with pytest.raises(TypeError, match=r"^Flatten: \w+ is .*\. Pass an integer\."):
        nn.Flatten(**settings)


# ---- Unflatten ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dim", "sizes", "shape", "expected"),
    [
        (1, (1, 8, 8), (5, 64), (5, 1, 8, 8)),
        (1, (1, 8, 8), (0, 64), (0, 1, 8, 8)),
        (-1, (2, -1), (5, 3, 6), (5, 3, 2, 3)),
        (0, (-1,), (5, 3), (5, 3)),
        (1, (0, 3), (5, 0), (5, 0, 3)),
    ],
)
def test_unflatten(dim, sizes, shape, expected):
    x = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(nn.Unflatten(dim, sizes)(x), x.reshape(expected))
    assert np.array_equal(nn.Unflatten(dim, list(sizes))(x), x.reshape(expected))


@pytest.mark.parametrize(
    ("dim", "sizes", "kind", "message"),
    [
        (1, (2, 4), ValueError, r"axis 1 of input \(5, 6\) does not split into \(2, 4\)\. Pass sizes that do\."),
        (1, (4, -1), ValueError, r"axis 1 of input \(5, 6\) does not split into \(4, -1\)\."),
        (1, (0, -1), ValueError, r"axis 1 of input \(5, 6\) does not split into \(0, -1\)\."),
        (2, (2, 3), ValueError, r"input \(5, 6\) has no axis 2\. Pass one of its axes as dim\."),
        (1, (-1, -1), ValueError, r"unflattened_size is \(-1, -1\)\. Pass -1 for one at most\."),
        (1, (), TypeError, r"unflattened_size is \(\)\. Pass a tuple of sizes\."),
        (1, (-2, 3), ValueError, r"unflattened_size is \(-2, 3\)\. Pass numbers >= -1\."),
        (1, (2.0, 3), TypeError, r"unflattened_size is \(2\.0, 3\)\. Pass an integer or 2 of them\."),
        (1, 6, TypeError, r"unflattened_size is 6\. Pass a tuple of sizes\."),
        (0.5, (2, 3), TypeError, r"dim is 0\.5\. Pass an integer\."),
    ],
)
def test_unflatten_needs_sizes_that_fit(dim, sizes, kind, message):
    with pytest.raises(kind, match=rf"^Unflatten: {message}"):
        nn.Unflatten(dim, sizes)(np.zeros((5, 6)))


# ---- what comes after a recurrent layer ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_steps_of_recurrent_layers(make, batch_first):
    layer = make(3, 4, batch_first=batch_first)
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    output, _ = layer(x)
    assert nn.EveryStep()(layer(x)).tolist() == nn.EveryStep()(output).tolist() == output.tolist()
    last = output[:, -1] if batch_first else output[-1]
    assert nn.LastStep(batch_first)(layer(x)).tolist() == nn.LastStep(batch_first)(output).tolist() == last.tolist()
    assert nn.LastStep(batch_first)(layer(x[0])).tolist() == layer(x[0])[0][-1].tolist()  # one sequence, no batch


def test_steps_need_an_output():
    with pytest.raises(ValueError, match=r"^LastStep: the output has shape \(3,\)\. Pass that of a recurrent layer\."):
        nn.LastStep()(np.zeros(3))
    with pytest.raises(TypeError, match=r"^EveryStep: the input is a str\. Pass a Tensor"):
        nn.EveryStep()("a")
    with pytest.raises(TypeError, match=r"^LastStep: batch_first is 1\. Pass True or False\."):
        nn.LastStep(1)


# ---- Dropout ------------------------------------------------------------------------------------------------------


@given(p=st.floats(0, 1), dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 9))
def test_dropout_keeps_some_and_scales_them(p, dtype, seed):
    bp.manual_seed(seed)
    x = bp.Tensor(np.random.default_rng(seed).uniform(1, 2, (20, 10)).astype(dtype), requires_grad=True)
    y = nn.Dropout(p)(x)
    y.sum().backward()
    kept = y.data != 0
    scale = dtype(1 / (1 - p)) if p < 1 else dtype(0)
    assert y.dtype == x.grad.dtype == dtype
    assert np.array_equal(y.data, np.where(kept, x.data * scale, 0))
    assert np.array_equal(x.grad.data, np.where(kept, scale, 0))
    assert abs(kept.mean() - (1 - p)) < 0.2
    assert p > 0 or kept.all()


def test_dropout_draws_anew_in_each_call_and_only_in_training():
    layer, x = nn.Dropout(0.5), bp.ones(100)
    bp.manual_seed(0)
    first, second = layer(x), layer(x)
    assert (first.data != second.data).any()
    bp.manual_seed(0)
    assert np.array_equal(layer(x).data, first.data)
    before = bp.random.generator().bit_generator.state
    assert layer.eval()(x) is x
    assert nn.functional.dropout(x, 0.5, training=False) is x
    assert bp.random.generator().bit_generator.state == before


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=rf"^Dropout: p is {p}\. Pass a number from 0 to 1\.$"):
        nn.Dropout(p)
    with pytest.raises(ValueError, match=rf"^dropout: p is {p}\. Pass a number from 0 to 1\.$"):
        nn.functional.dropout(np.ones(3), p)
    with pytest.raises(TypeError, match=r"^Dropout: p is '0.5', a str\. Pass a number\.$"):
        nn.Dropout("0.5")
    with pytest.raises(TypeError, match=r"^dropout: input has dtype int64\. Pass floats\.$"):
        nn.Dropout()(np.arange(3))


# ---- Embedding ----------------------------------------------------------------------------------------------------


@given(
    numbers=st.lists(st.integers(0, 4), max_size=8),
    kind=st.sampled_from([np.int64, np.int8, np.uint8]),
    dim=st.integers(1, 3),
    padding=st.none() | st.integers(-5, 4),
)
def test_embedding_takes_rows_and_adds_their_gradients(numbers, kind, dim, padding):
    layer = nn.Embedding(5, dim, padding_idx=padding)
    numbers = np.array(numbers, kind).reshape(-1, 1)
    y = layer(numbers)
    g = np.random.default_rng(0).normal(size=y.shape)
    y.backward(g)
    expected = np.zeros((5, dim))
    for number, part in zip(numbers[:, 0], g[:, 0]):
        expected[number] += part
    if padding is not None:
        expected[padding] = 0
        assert not layer.weight.data[padding].any()
    assert np.array_equal(y.data, layer.weight.data[numbers])
    assert close(layer.weight.grad.data, expected, 1e-14)


def test_the_row_of_padding_can_be_counted_from_the_end():
    weight = bp.Tensor(np.ones((5, 2)), requires_grad=True)
    nn.functional.embedding([4, 3], weight, padding_idx=-1).sum().backward()
    assert weight.grad.data[:, 0].tolist() == [0, 0, 0, 1, 0]


def test_embedding_begins_normal():
    bp.manual_seed(1)
    weight = nn.Embedding(200, 100, dtype=np.float32).weight
    assert weight.dtype == np.float32
    assert abs(weight.data.mean()) < 5 / np.sqrt(20000)
    assert abs(weight.data.std() - 1) < 5 / np.sqrt(40000)


@pytest.mark.parametrize(
    ("numbers", "kind", "message"),
    [
        ([0, 5], IndexError, r"^embedding: input 5 at index 1 is no row of the weight\. Pass 0 to 4\.$"),
        ([[0, 1], [-1, 2]], IndexError, r"^embedding: input -1 at index \(1, 0\) is no row of the weight\."),
        ([0.0, 1.0], TypeError, r"^embedding: input has dtype float64\. Pass integers, the numbers of rows\.$"),
        ("ab", TypeError, r"^embedding: the input is a str\. Pass a Tensor, an array or a list of numbers\.$"),
    ],
)
def test_embedding_refuses_what_numbers_no_row(numbers, kind, message):
    with pytest.raises(kind, match=message):
        nn.Embedding(5, 2)(numbers)


def test_embedding_refuses_other_settings():
    with pytest.raises(ValueError, match=r"^Embedding: padding_idx 5 is none of 5 rows\. Pass -5 to 4\.$"):
        nn.Embedding(5, 2, padding_idx=5)
    with pytest.raises(TypeError, match=r"^Embedding: padding_idx is 1\.0\. Pass an integer\.$"):
        nn.Embedding(5, 2, padding_idx=1.0)
    with pytest.raises(ValueError, match=r"^Embedding: embedding_dim is 0\. Pass numbers >= 1\.$"):
        nn.Embedding(5, 0)
    message = r"^embedding: weight has shape \(5,\)\. Pass \(num_embeddings, embedding_dim\)\.$"
    with pytest.raises(ValueError, match=message):
        nn.functional.embedding([0], np.zeros(5))
