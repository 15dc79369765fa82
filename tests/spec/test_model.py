"""A model becomes its table and comes back, sizes are inferred, and every mistake in [model] is one line."""

from __future__ import annotations

import json
import tomllib
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.nn.test_layers import LAYERS as SAMPLES
from tests.nn.test_layers import SHAPES
from tests.spec.documents import changed, layer
from tinygrad_bp import nn
from tinygrad_bp.spec import LAYERS
from tinygrad_bp.spec.arguments import REQUIRED, alternatives, arguments, made_of
from tinygrad_bp.spec.model import model_of


def document(**table):
    return {"format": 1, "model": table}


def entries(y):
    """All arrays in what a layer returns."""
    return [y.data] if isinstance(y, bp.Tensor) else [a for part in y if part is not None for a in entries(part)]


# ---- there and back -----------------------------------------------------------------------------------------------


def test_to_spec_leaves_defaults_out():
    model = nn.Sequential(
        nn.Linear(3, 4),
        nn.ELU(0.5),
        nn.ELU(),
        nn.Sequential(nn.Linear(4, 2, bias=False, dtype=np.float32)),
        nn.Flatten(end_dim=1),
        nn.BatchNorm1d(2, momentum=None),
    )
    assert bp.to_spec(model) == document(
        layers=[
            {"type": "Linear", "in_features": 3, "out_features": 4},
            {"type": "ELU", "alpha": 0.5},
            {"type": "ELU"},
            {
                "type": "Sequential",
                "layers": [{"type": "Linear", "in_features": 4, "out_features": 2, "bias": False, "dtype": "float32"}],
            },
            {"type": "Flatten", "end_dim": 1},
            {"type": "BatchNorm1d", "num_features": 2, "momentum": "none"},
        ]
    )
    assert bp.to_spec(nn.LeakyReLU()) == document(type="LeakyReLU")
    assert bp.to_spec(nn.Sequential()) == document(layers=[])


def sample(name):
    """The layer of that name in the tests of layers, without what they wrap it in."""
    made = SAMPLES[name]()
    if name == "Embedding":
        return made.embedding, np.array([[0, 3], [1, 1]])
    if name == "MultiheadAttention":
        return nn.MultiheadAttention(2, 2, bias=False, vdim=3), None
    if isinstance(made, nn.Sequential) and name != "Sequential":
        made = made[0]
    for module in made.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation = "gelu"  # a document has no word for a function
    return made, np.random.default_rng(0).normal(size=SHAPES.get(name.split()[0], [(5, 3)])[-1])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_layer_goes_there_and_back(name):
    model, x = sample(name)
    spec = bp.to_spec(model)
    again = bp.from_spec(spec)
    assert bp.to_spec(again) == spec == json.loads(json.dumps(spec)) == tomllib.loads(tomli_w.dumps(spec))
    assert repr(again) == repr(model)
    own, new = model.state_dict(), again.state_dict()
    assert [(key, a.shape, a.dtype) for key, a in new.items()] == [(key, a.shape, a.dtype) for key, a in own.items()]
    again.load_state_dict(own)
    if x is not None:
        for a, b in zip(entries(model.eval()(bp.Tensor(x))), entries(again.eval()(bp.Tensor(x))), strict=True):
            assert np.array_equal(a, b)


def tables(kind, depth=0):
    """Tables of a layer: values for its arguments by their types, without defaults."""

    def values(hint):
        return st.one_of([one for part in alternatives(hint) if (one := value(part)) is not None])

    def value(hint):
        parts = get_args(hint)
        if made_of(hint):
            below = tables("Linear") if depth == 2 else st.sampled_from(sorted(LAYERS)).flatmap(at_depth)
            return below if made_of(hint) is hint else st.lists(below, max_size=3)
        if get_origin(hint) is tuple:
            return st.lists(values(parts[0]), min_size=1, max_size=2)
        if get_origin(hint) is Literal:
            return st.sampled_from(parts)
        plain = {bool: st.booleans(), int: st.integers(1, 4), float: st.sampled_from([0.25, 0.5, 1])}
        return {**plain, NoneType: st.just("none")}.get(hint)

    def at_depth(name):
        return tables(name, depth + 1)

    def without_defaults(table):
        kept = {key: word for key, word in table.items() if key == "type" or not is_default(known[key], word)}
        if kept.get("elementwise_affine") is False:
            kept.pop("bias", None)  # without a weight there is none anyway
        return kept

    def is_default(argument, word):
        default = list(argument.default) if isinstance(argument.default, tuple) else argument.default
        return word == ("none" if default is None else default) or word == "float64"

    known = arguments(LAYERS[kind])
    required = {key: values(a.hint) for key, a in known.items() if a.default is REQUIRED}
    optional = {key: values(a.hint) for key, a in known.items() if a.default is not REQUIRED}
    return st.fixed_dictionaries({"type": st.just(kind)} | required, optional=optional).map(without_defaults)


@pytest.mark.parametrize(
    "table",
    [
        {"type": "Embedding", "num_embeddings": 5, "embedding_dim": 2, "padding_idx": -1},
        {"type": "AdaptiveAvgPool2d", "output_size": [1, "none"]},
        {"type": "AdaptiveAvgPool2d", "output_size": "none"},
        {"type": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3], "padding": "same"},
        {"type": "MaxPool2d", "kernel_size": 2, "stride": 2},
        {"type": "MultiheadAttention", "embed_dim": 4, "num_heads": 2, "kdim": 4, "bias": False},
        {"type": "LayerNorm", "normalized_shape": [3], "dtype": "float16"},
        {"type": "BatchNorm1d", "num_features": 2, "momentum": "none"},
    ],
)
def test_what_is_written_stays_as_it_was(table):
    assert bp.to_spec(bp.from_spec(document(**table))) == document(**table)


@pytest.mark.parametrize("kind", LAYERS)
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_table_goes_there_and_back(kind, data):
    table = data.draw(tables(kind))
    if kind == "Sequential":
        table = {"layers": table.get("layers", [])}
    try:
        model = bp.from_spec(document(**table))
    except (TypeError, ValueError):
        assume(False)  # sizes that do not go together
    assert bp.to_spec(model) == document(**with_dtypes_that_count(table))


def with_dtypes_that_count(table):
    """The table without the dtype of layers that have no parameters."""
    bare = table.get("affine") is False and table.get("track_running_stats", table["type"] != "GroupNorm") is False
    kept = dict(table)
    if bare or table.get("elementwise_affine") is False:
        kept.pop("dtype", None)
    for key, value in kept.items():
        if isinstance(value, list):
            kept[key] = [with_dtypes_that_count(one) if isinstance(one, dict) else one for one in value]
        elif isinstance(value, dict):
            kept[key] = with_dtypes_that_count(value)
    return kept


def test_to_spec_keeps_the_dtype_under_another_default():
    net = nn.Sequential(nn.Linear(2, 3))
    bp.set_default_dtype(np.float32)
    try:
        assert bp.to_spec(net)["model"]["layers"][0]["dtype"] == "float64"
        assert "dtype" not in bp.to_spec(nn.Sequential(nn.Linear(2, 3)))["model"]["layers"][0]
    finally:
        bp.set_default_dtype(np.float64)


def test_to_spec_draws_nothing():
    net = nn.Sequential(nn.Linear(2, 3))
    bp.manual_seed(3)
    first = bp.rand(2).tolist()
    bp.manual_seed(3)
    bp.to_spec(net)
    assert bp.rand(2).tolist() == first


class Scaled(nn.Module):
    """A layer of a user's, registered below."""

    def __init__(self, block, factor=0.5, *sizes: int, names: dict | None = None):
        self.block, self.factor, self.sizes, self.names = block, nn.Parameter(factor), sizes, names

    def forward(self, x):
        return self.factor * self.block(x)


class Shifted(nn.Module):
    def __init__(self, width: int, bias: bool = True, slope: bool = False):
        self.width = width
        self.bias = nn.Parameter(np.zeros(width)) if bias else None
        self.slope = nn.Parameter(np.ones(width)) if slope else None


class Stored(nn.Linear):
    def __init__(self, rows, **settings):
        super().__init__(**settings)
        self.rows = rows


@pytest.fixture
def registered(monkeypatch):
    for made in (Scaled, Shifted, Stored, Forgetful, Widened, Acting):
        monkeypatch.setitem(LAYERS, made.__name__, made)


class Forgetful(nn.Module):
    def __init__(self, width: int):
        pass


class Widened(nn.Module):
    def __init__(self, width: int):
        self.width = 2 * width
        self.weight = nn.Parameter(np.zeros(self.width))


class Acting(nn.Module):
    def __init__(self, act: Any = None, other: type = int):
        self.act, self.other = act, other


def test_layers_of_users_go_there_and_back(registered):
    block = {"type": "Sequential", "layers": [{"type": "Linear", "in_features": 3, "out_features": 2}]}
    spec = document(type="Scaled", block=block, factor=0.25, sizes=[1, 2], names={"a": 1})
    model = bp.from_spec(spec)
    assert (type(model.block), model.factor.item(), model.sizes, model.names) == (nn.Sequential, 0.25, (1, 2), {"a": 1})
    assert bp.to_spec(model) == spec
    spec = document(type="Stored", rows=[1, "a"], in_features=3, out_features=2, bias=False)
    assert bp.to_spec(bp.from_spec(spec)) == spec
    for flags in ({}, {"bias": False}, {"slope": True}, {"bias": False, "slope": True}):
        spec = document(type="Shifted", width=3, **flags)
        assert bp.to_spec(bp.from_spec(spec)) == spec


class Doubled(nn.Linear):
    pass


class ReLU(nn.ReLU):
    pass


TRANSFORMER = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2)
TRANSFORMER.layers[1].dropout.p = 0.75
NO_WORD = r"for which a document has no word\. Give one of its words, or register a layer that needs none\."
REFUSED = [
    ([1], TypeError, r"to_spec: the model is a list\. Pass a Module\."),
    (
        nn.Sequential(nn.ReLU(), nn.Sequential(abs)),
        TypeError,
        r"to_spec: model\.layers\[1\]\.layers\[0\] is the function abs, not a layer\. Make it the forward of a reg",
    ),
    (
        nn.Sequential(Doubled(1, 1)),
        TypeError,
        r"to_spec: model\.layers\[0\] is a \S*test_model\.Doubled, which no document knows\. Call bp\.register with",
    ),
    (ReLU(), TypeError, r"to_spec: model is a \S*test_model\.ReLU, which no document knows\."),
    (
        nn.TransformerEncoderLayer(4, 2, 8, activation=nn.functional.tanh),
        TypeError,
        rf"to_spec: model\.activation is the function tanh, {NO_WORD}",
    ),
    (
        TRANSFORMER,
        ValueError,
        r"to_spec: layers\.1\.dropout is Dropout\(p=0\.75\), and from the document it would be Dropout\(p=0\.1\)\. Wr",
    ),
    (
        Forgetful(3),
        TypeError,
        r"to_spec: model \(Forgetful\) keeps no attribute width\. Write self\.width = width in its __init__, so",
    ),
    (Widened(3), ValueError, r"to_spec: weight is float64 \(6,\), and from the document it would be float64 \(12,\)\."),
    (Acting(abs), TypeError, rf"to_spec: model\.act is the function abs, {NO_WORD}"),
    (Acting(other=str), TypeError, rf"to_spec: model\.other is the function str, {NO_WORD}"),
    (Scaled(nn.ReLU(), names={1: 2}), TypeError, r"to_spec: model\.names is a dict, for which a document"),
]


@pytest.mark.parametrize(("model", "kind", "message"), REFUSED)
def test_to_spec_refuses_what_a_document_cannot_say(registered, model, kind, message):
    with pytest.raises(kind, match=f"^{message}") as caught:
        bp.to_spec(model)
    assert len(str(caught.value).splitlines()) == 1


def test_to_spec_refuses_shared_weights():
    shared, relu = nn.Linear(2, 2), nn.ReLU()
    with pytest.raises(
        ValueError, match=r"^to_spec: model\.layers\[2\] is model\.layers\[0\] again\. A document cannot"
    ):
        bp.to_spec(nn.Sequential(shared, nn.ReLU(), shared))
    assert len(bp.to_spec(nn.Sequential(relu, shared, relu))["model"]["layers"]) == 3  # no weights, nothing shared
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(
        ValueError, match=r"^to_spec: 1\.weight is not there, and from the document it would be float64"
    ):
        bp.to_spec(tied)


# ---- sizes ----------------------------------------------------------------------------------------------------------


def made_for(inputs, *layers):
    return model_of({"layers": list(layers)}, inputs)


def test_sizes_are_inferred_from_images():
    model, y = made_for(
        np.ones((3, 64)),
        {"type": "Unflatten", "dim": 1, "unflattened_size": [1, 8, 8]},
        {"type": "Conv2d", "out_channels": 4, "kernel_size": 3},
        {"type": "BatchNorm2d"},
        {"type": "GroupNorm", "num_groups": 2},
        {"type": "MaxPool2d", "kernel_size": 2},
        {"type": "Flatten"},
        {"type": "LayerNorm"},
        {"type": "Sequential", "layers": [{"type": "Linear", "out_features": 5}, {"type": "RMSNorm"}]},
        {"type": "Linear", "out_features": 10},
    )
    sizes = [model[1].in_channels, model[2].num_features, model[3].num_channels, model[6].normalized_shape]
    assert sizes == [1, 4, 4, 36]
    assert (model[7][0].in_features, model[7][1].normalized_shape, model[8].in_features) == (36, 5, 5)
    assert y.shape == (3, 10)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_sizes_are_inferred_from_sequences(kind):
    model, y = made_for(
        np.ones((3, 8, 6)),
        {"type": kind, "hidden_size": 5, "batch_first": True},
        {"type": "EveryStep"},
        {"type": "LSTM", "hidden_size": 4, "batch_first": True, "bidirectional": True},
        {"type": "LastStep", "batch_first": True},
        {"type": "Linear", "out_features": 2},
    )
    assert (model[0].input_size, model[2].input_size, model[4].in_features, y.shape) == (6, 5, 8, (3, 2))


def test_sizes_are_inferred_in_arguments_that_are_layers(registered):
    model, y = made_for(
        np.ones((3, 8, 6)),
        {
            "type": "TransformerEncoder",
            "encoder_layer": {"type": "TransformerEncoderLayer", "nhead": 2, "dim_feedforward": 4, "batch_first": True},
            "num_layers": 1,
            "norm": {"type": "LayerNorm"},
        },
        {
            "type": "Scaled",
            "block": {"type": "Sequential", "layers": [{"type": "Linear", "out_features": 2}, {"type": "LayerNorm"}]},
        },
    )
    assert (model[0].layers[0].d_model, model[0].norm.normalized_shape) == (6, 6)
    assert (model[1].block[0].in_features, model[1].block[1].normalized_shape, y.shape) == (6, 2, (3, 8, 2))
    spec = bp.to_spec(model)
    assert spec["model"]["layers"][0]["encoder_layer"]["d_model"] == 6
    assert bp.to_spec(bp.from_spec(spec)) == spec


def test_the_dtype_is_that_of_the_input():
    model, y = made_for(
        np.ones((3, 4), np.float32),
        {"type": "Linear", "out_features": 2},
        {"type": "LayerNorm", "dtype": "float64"},
        {"type": "Linear", "out_features": 2},
    )
    assert [p.dtype for p in (model[0].weight, model[1].weight, model[2].weight)] == ["float32", "float64", "float64"]
    model, y = made_for(
        np.ones((3, 4), np.int64),
        {"type": "Embedding", "num_embeddings": 5, "embedding_dim": 2, "dtype": "float32"},
        {"type": "Linear", "out_features": 2},
    )
    assert (model[1].weight.dtype, y.dtype, y.shape) == ("float32", "float32", (3, 4, 2))


def test_a_trial_changes_nothing():
    class Noisy(nn.Module):
        def forward(self, x):
            bp.rand(3)
            return x

    layers = [{"type": "Noisy"}, {"type": "BatchNorm1d"}, {"type": "Dropout"}, {"type": "Linear", "out_features": 2}]
    LAYERS["Noisy"] = Noisy
    bp.manual_seed(5)
    try:
        model, _ = made_for(np.ones((3, 4)), *layers)
    finally:
        del LAYERS["Noisy"]
    after = bp.rand(1).item()
    bp.manual_seed(5)
    by_hand = nn.Linear(4, 2)
    assert np.array_equal(model[3].weight.data, by_hand.weight.data)
    assert bp.rand(1).item() == after
    assert model[1].num_batches_tracked.item() == 0
    assert all(module.training for module in model.modules())
    assert model[3].weight.grad is None


def test_from_spec_reads_the_data_only_for_a_size_left_out():
    complete = {"type": "Linear", "in_features": 64, "out_features": 2}
    spec = document(layers=[complete]) | {"data": {"name": "nothing"}}
    assert bp.from_spec(spec)[0].in_features == 64  # though there is no such data set
    left_out = {"type": "Linear", "out_features": 3}
    bp.manual_seed(1)
    model = bp.from_spec(document(layers=[complete | {"out_features": 5}, left_out]) | {"data": {"name": "digits"}})
    bp.manual_seed(1)
    by_hand = [nn.Linear(64, 5), nn.Linear(5, 3)]
    assert [np.array_equal(a.weight.data, b.weight.data) for a, b in zip(model, by_hand)] == [True, True]


def test_from_spec_of_a_file(tmp_path):
    file = tmp_path / "model.toml"
    file.write_text('format = 1\nmodel = {type = "Linear", in_features = 2, out_features = 1}')
    assert repr(bp.from_spec(file)) == repr(bp.from_spec(str(file))) == "Linear(in_features=2, out_features=1)"
    (tmp_path / "rows.csv").write_text("a,b,y\n" + "1,2,0\n3,4,1\n" * 20)
    file.write_text(
        'format = 1\ndata = {name = "csv", path = "rows.csv", target = "y"}\n'
        'model = {layers = [{type = "Linear", out_features = 1}]}'
    )
    assert bp.from_spec(file)[0].in_features == 2
    file.write_text("format = 1")
    with pytest.raises(ValueError, match=r"model\.toml: model: is missing from the document\. Give a table\."):
        bp.from_spec(file)
    with pytest.raises(TypeError, match=r"^from_spec: the document is a list\. Pass a path or a dict\."):
        bp.from_spec([1])


# ---- mistakes -----------------------------------------------------------------------------------------------------

MISTAKES = [
    (["model", "layers"], {}, r"model\.layers = {}: is a table\. Give \[a table, \.\.\.\]\."),
    (["model", "layers"], ..., r"model\.layers: is missing from \[model\]\. Give \[a table, \.\.\.\]\."),
    (["model", "layer"], [], r"model\.layer: unknown key of \[model\]\. Did you mean layers\?"),
    (["model", "typ"], "ReLU", r"model\.typ: unknown key of \[model\]\. Did you mean type\?"),
    (["model", "type"], "Relu", r'model\.type = "Relu": there is no such layer\. Did you mean "ReLU"\?'),
    (["model", "layers", 0], 3, r"model\.layers\[0\] = 3: is an integer\. Give a table\."),
    (
        layer(0, "type"),
        "Linaer",
        r'model\.layers\[0\]\.type = "Linaer": there is no such layer\. Did you mean "Linear"\?',
    ),
    (layer(1, "type"), "relu", r'model\.layers\[1\]\.type = "relu": there is no such layer\. Did you mean "ReLU"\?'),
    (layer(1, "type"), "RELU", r'model\.layers\[1\]\.type = "RELU": there is no such layer\. Did you mean "ReLU"\?'),
    (
        layer(0, "type"),
        "os.system",
        r'= "os\.system": there is no such layer\. One of your own comes in by --import or bp\.register\. Choose from '
        r"Sequential, .*, LSTM, ",
    ),
    (layer(0, "type"), "MSELoss", r'= "MSELoss": there is no such layer\.'),
    (layer(0, "type"), ..., r"model\.layers\[0\]\.type: is missing\. Choose from Sequential, Dropout, "),
    (
        layer(2, "out_featurs"),
        10,
        r"model\.layers\[2\]\.out_featurs: unknown key of Linear\. Did you mean out_features\?",
    ),
    (
        layer(2, "x"),
        10,
        r"model\.layers\[2\]\.x: unknown key of Linear\. Its keys: in_features, out_features, bias, dtype\.",
    ),
    (layer(1, "alpha"), 1, r"model\.layers\[1\]\.alpha: unknown key of ReLU\. Its keys: none\."),
    (layer(2, "out_features"), ..., r"model\.layers\[2\]\.out_features: is missing from Linear\. Give an integer\."),
    (layer(2, "out_features"), "10", r'model\.layers\[2\]\.out_features = "10": is a string\. Give an integer\.'),
    (layer(2, "out_features"), None, r"model\.layers\[2\]\.out_features = null: is null\. Give an integer\."),
    (layer(2, "out_features"), 0, r"model\.layers\[2\]: Linear: out_features is 0\. Pass numbers >= 1\."),
    (layer(2, "out_features"), 10**30, r"model\.layers\[2\]\.out_features = 10+: is too large\."),
    (layer(2, "bias"), 0, r"model\.layers\[2\]\.bias = 0: is an integer\. Give true or false\."),
    (layer(2, "dtype"), 32, r'\.dtype = 32: is an integer\. Give one of "float16", "float32", "float64" or "none"\.'),
    (layer(2, "dtype"), "flaot32", r'\.dtype = "flaot32": is not one of .*\. Did you mean "float32"\?'),
    (layer(2, "dtype"), "int64", r'model\.layers\[2\]\.dtype = "int64": is not one of "float16", "float32"'),
    (
        layer(2, "in_features"),
        100,
        r"model\.layers\[2\] \(Linear\) after model\.layers\[1\] \(ReLU\): linear: input \(10, 64\) has 64 features, w",
    ),
    (
        layer(0, "in_features"),
        100,
        r"model\.layers\[0\] \(Linear\) after the data: linear: input \(10, 64\) has 64 features, weight",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[message[:40] for _, _, message in MISTAKES])
def test_a_mistake_is_one_line_with_its_place(path, value, message):
    with pytest.raises(
        (ValueError, TypeError), match=f"^{message}" if message.startswith("model") else message
    ) as caught:
        bp.Experiment.from_spec(changed(path, value))
    assert len(str(caught.value).splitlines()) == 1


class Failing(nn.Module):
    def forward(self, x):
        return x.nothing


class Needing(nn.Module):
    def __init__(self, function: type):
        self.function = function


class Refusing(nn.Module):
    def __init__(self, scale: float):
        raise TypeError("the scale is no float")


LSTM = {"type": "LSTM", "hidden_size": 5}
FIRST = {"batch_first": True}
TIME = {"type": "Unflatten", "dim": 1, "unflattened_size": [2, 2]}
ENCODER = {"type": "TransformerEncoderLayer", "nhead": 1, "dim_feedforward": 2}
TRIALS = [
    (
        [{"type": "Sequential", "layers": [{"type": "ReLU"}, {"type": "Linear", "in_features": 3, "out_features": 1}]}],
        r"model\.layers\[0\]\.layers\[1\] \(Linear\) after model\.layers\[0\]\.layers\[0\] \(ReLU\): linear: input ",
    ),
    (
        [{"type": "ReLU"}, {"type": "Sequential", "layers": [{"type": "Conv2d", "out_channels": 1, "kernel_size": 3}]}],
        r"model\.layers\[1\]\.layers\[0\] \(Conv2d\) after model\.layers\[0\] \(ReLU\): conv2d: ",
    ),
    (
        [LSTM, {"type": "Linear", "out_features": 1}],
        r"model\.layers\[1\]\.in_features: is left out, and model\.layers\[0\] \(LSTM\) gives 2 values\. Put a layer",
    ),
    (
        [LSTM, {"type": "Linear", "in_features": 5, "out_features": 1}],
        r"model\.layers\[1\] \(Linear\) after model\.layers\[0\] \(LSTM\): that gives 2 values\. Put a layer between",
    ),
    ([TIME, LSTM | FIRST], r"model: gives 2 values\. End it with a layer that gives one array, as LastStep does\."),
    (
        [{"type": "Flatten", "start_dim": 0}],
        r"model: gives \(28,\) for inputs \(7, 4\), not a row for each\. Keep the first axis; recurrent layers",
    ),
    (
        [TIME, LSTM | FIRST, {"type": "LastStep"}],
        r"model\.layers\[2\] \(LastStep\): takes the rows for steps in time\. Give it batch_first = true\.$",
    ),
    (
        [{"type": "Sequential", "layers": [TIME, LSTM]}],
        r"model\.layers\[0\]\.layers\[1\] \(LSTM\): takes the rows for steps in time\. Give it batch_first = t",
    ),
    (
        [
            TIME,
            {"type": "TransformerEncoder", "num_layers": 1, "encoder_layer": ENCODER},
        ],  # after LayerNorm two numbers are 1 and -1, whatever the other rows are
        r"model\.layers\[1\] \(TransformerEncoder\): takes the rows for steps in time\. Give it batch_first = ",
    ),
    (
        [LSTM | FIRST, {"type": "EveryStep"}],
        r"model\.layers\[0\] \(LSTM\): takes the rows for steps in time\. Put Unflatten before it, with dim = 1 "
        r"and unflattened_size = \[steps, numbers\], and give it batch_first = true\.$",
    ),
    (
        [{"type": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3}],
        r"model\.layers\[0\] \(Conv2d\) after the data: conv2d: .* Put Unflatten before it, with dim = 1 and "
        r"unflattened_size = \[channels, height, width\]\.$",
    ),
    (
        [{"type": "Conv1d", "out_channels": 2, "kernel_size": 3}],
        r"model\.layers\[0\] \(Conv1d\) after the data: conv1d: .* unflattened_size = \[channels, length\]\.$",
    ),
    (
        [{"type": "BatchNorm1d", "num_features": 3}],
        r"model\.layers\[0\] \(BatchNorm1d\) after the data: BatchNorm1d: (?!.*Unflatten)",
    ),
    (
        [{"type": "Embedding", "num_embeddings": 5, "embedding_dim": 2}],
        r'model\.layers\[0\] \(Embedding\) after the data: embedding: .* With data\.dtype = "int64" those of an \.npz ',
    ),
    ([{"type": "Refusing", "scale": 1}], r"model\.layers\[0\] \(Refusing\): the scale is no float$"),
    (
        [{"type": "Flatten", "start_dim": 0}, {"type": "BatchNorm1d"}],
        r"model\.layers\[1\]\.num_features: is left out, and model\.layers\[0\] \(Flatten\) gives \(28,\), without a",
    ),
    (
        [{"type": "MultiheadAttention", "num_heads": 2}],
        r"model\.layers\[0\] \(MultiheadAttention\) after the data: takes 3 arrays \(query, key, value\), and a stag",
    ),
    (
        [{"type": "Failing"}],
        r"model\.layers\[0\] \(Failing\) after the data: AttributeError: 'numpy.ndarray' object has no attribute 'no",
    ),
    (
        [{"type": "Needing"}],
        r"model\.layers\[0\]: Needing needs function, and a document has no word for that\. Give it a default\.",
    ),
    (
        [{"type": "TransformerEncoder", "num_layers": 1, "encoder_layer": {"type": "Linaer"}}],
        r'model\.layers\[0\]\.encoder_layer\.type = "Linaer": there is no such layer\. Did you mean "Linear"\?',
    ),
    (
        [{"type": "TransformerEncoder", "num_layers": 1, "encoder_layer": 3}],
        r"model\.layers\[0\]\.encoder_layer = 3: is an integer\. Give a table\.",
    ),
    (
        [{"type": "GELU", "approximate": "tan"}],
        r'.*\.approximate = "tan": is not one of "none", "tanh"\. Did you mean "tanh"',
    ),
]


@pytest.mark.parametrize(("layers", "message"), TRIALS, ids=[message[:40] for _, message in TRIALS])
def test_what_does_not_fit_is_named(monkeypatch, layers, message):
    monkeypatch.setitem(LAYERS, "Failing", Failing)
    monkeypatch.setitem(LAYERS, "Needing", Needing)
    monkeypatch.setitem(LAYERS, "Refusing", Refusing)
    with pytest.raises((ValueError, TypeError), match=f"^{message}") as caught:
        made_for(np.ones((7, 4)), *layers)
    assert len(str(caught.value).splitlines()) == 1


def test_a_size_that_nothing_tells_is_asked_for():
    tables = [{"type": "ReLU"}, {"type": "Linear", "out_features": 1}]
    message = (
        r"^model\.layers\[1\]\.in_features: is left out, and what comes in is not known\. Give an integer, or \[data\]"
    )
    with pytest.raises(ValueError, match=message) as caught:
        bp.from_spec(document(layers=tables))
    assert (caught.type, caught.value.__suppress_context__) == (ValueError, True)  # none of our own in the traceback
    tables[1]["in_featurs"] = 3
    with pytest.raises(
        ValueError, match=r"^model\.layers\[1\]\.in_featurs: unknown key of Linear\. Did you mean in_features\?"
    ):
        bp.from_spec(document(layers=tables))


def test_layers_inside_of_others_need_not_take_the_input_of_these(monkeypatch):
    class Summed(nn.Module):
        def __init__(self, block: nn.Module):
            self.block = block

        def forward(self, x):
            return self.block(x.sum(-1, keepdims=True))

    monkeypatch.setitem(LAYERS, "Summed", Summed)
    inside = {"type": "Linear", "in_features": 1, "out_features": 2}
    _, y = made_for(np.ones((3, 4)), {"type": "Summed", "block": inside})
    assert y.shape == (3, 2)
    outside = {"type": "Summed", "block": {"type": "Linear", "out_features": 2}}
    with pytest.raises(
        ValueError, match=r"^model\.layers\[0\] \(Summed\) after the data: linear: input \(3, 1\) has 1 f"
    ):
        made_for(np.ones((3, 4)), outside)


def test_tables_in_tables_have_an_end():
    table = {"type": "ReLU"}
    for _ in range(3000):
        table = {"type": "Sequential", "layers": [table]}
    with pytest.raises(ValueError, match=r"nested too deeply\. Give "):
        bp.from_spec({"format": 1, "model": table})


class Outputs(nn.Module):
    """Of a recurrent layer inside."""

    def __init__(self, inner: nn.Module):
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


class Swapped(nn.Module):
    def forward(self, x):
        return x.swapaxes(0, 1)


def test_rows_taken_for_steps_in_time_are_refused(monkeypatch):
    monkeypatch.setitem(LAYERS, "Outputs", Outputs)
    layers = [{"type": "Unflatten", "dim": 1, "unflattened_size": [8, 8]}]
    layers += [{"type": "Outputs", "inner": {"type": "GRU", "input_size": 8, "hidden_size": 4}}]
    layers += [{"type": "Flatten"}, {"type": "Linear", "out_features": 10}]
    document = {"format": 1, "data": {"name": "digits"}, "model": {"layers": layers}}
    with pytest.raises(ValueError, match=r"^model: what it gives for a row depends on the rows before it, .* batch_fi"):
        bp.from_spec(document)
    layers[1]["inner"]["batch_first"] = True
    assert bp.from_spec(document)(np.zeros((3, 64))).shape == (3, 10)
    assert all(module.training for module in bp.from_spec(document).modules())


def test_rows_that_were_moved_behind_time_may_stay_there(monkeypatch):
    monkeypatch.setitem(LAYERS, "Swapped", Swapped)
    layers = [TIME, {"type": "Sequential", "layers": [{"type": "Swapped"}]}, LSTM, {"type": "LastStep"}]
    _, outputs = made_for(np.ones((7, 4)), *layers)
    assert outputs.shape == (7, 5)
