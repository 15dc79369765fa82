"""A model becomes its table and comes back; every mistake in [model] is one line with its place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.spec.documents import changed, layer
from tinygrad_bp.spec import LAYERS

# ---- and back -----------------------------------------------------------------------------------------------------


def test_to_spec_leaves_defaults_out():
    model = bp.nn.Sequential(
        bp.nn.Linear(3, 4),
        bp.nn.ELU(0.5),
        bp.nn.ELU(),
        bp.nn.Linear(4, 2, bias=False, dtype=np.float32),
        bp.nn.Flatten(end_dim=1),
    )
    assert bp.to_spec(model) == {
        "layers": [
            {"type": "Linear", "in_features": 3, "out_features": 4},
            {"type": "ELU", "alpha": 0.5},
            {"type": "ELU"},
            {"type": "Linear", "in_features": 4, "out_features": 2, "bias": False, "dtype": "float32"},
            {"type": "Flatten", "end_dim": 1},
        ]
    }


NUMBERS = st.floats(0.001, 2.0)
STAGES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("Linear"), "in_features": st.just(64), "out_features": st.just(64)},
        optional={"bias": st.just(False), "dtype": st.just("float32")},
    ),
    st.fixed_dictionaries(
        {"type": st.just("LeakyReLU")}, optional={"negative_slope": NUMBERS.filter(lambda x: x != 0.01)}
    ),
    st.fixed_dictionaries({"type": st.just("ELU")}, optional={"alpha": NUMBERS.filter(lambda x: x != 1.0)}),
    st.fixed_dictionaries({"type": st.sampled_from(["Softmax", "LogSoftmax"])}, optional={"dim": st.just(1)}),
    st.fixed_dictionaries({"type": st.just("Flatten")}, optional={"start_dim": st.just(-1)}),
    st.sampled_from([{"type": name} for name in ("Identity", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh")]),
)


@settings(max_examples=50)
@given(st.lists(STAGES, max_size=5))
def test_a_model_and_its_table_are_each_others_inverse(stages):
    table = {"layers": [*stages, {"type": "Linear", "in_features": 64, "out_features": 10}]}
    model = bp.Experiment.from_spec(changed(["model"], table)).model
    assert bp.to_spec(model) == table
    assert repr(bp.Experiment.from_spec(changed(["model"], json.loads(json.dumps(bp.to_spec(model))))).model) == repr(
        model
    )


def test_every_layer_goes_there_and_back():
    needed = {"Linear": (64, 10), "Embedding": (5, 3), "Conv1d": (2, 3, 3), "Conv2d": (2, 3, 3)}
    needed |= {"ConvTranspose2d": (2, 3, 3), "GroupNorm": (2, 4)}
    needed |= {name: (2,) for name in LAYERS if "Pool" in name or name.startswith(("Batch", "Layer", "RMS"))}
    for name, make in LAYERS.items():
        assert bp.to_spec(bp.nn.Sequential(make(*needed.get(name, ()))))["layers"][0]["type"] == name


def test_layers_are_tried_as_they_will_be_tested(monkeypatch):
    class Dropout(bp.nn.Module):
        def forward(self, input):
            assert not self.training  # in training it would draw from the generator
            return input

    monkeypatch.setitem(LAYERS, "Dropout", Dropout)
    model = bp.Experiment.from_spec(changed(layer(1, "type"), "Dropout")).model
    assert model[1].training


class Doubled(bp.nn.Linear):
    pass


class ReLU(bp.nn.ReLU):
    pass


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (bp.nn.ReLU(), r"to_spec: the model is a ReLU\. Pass a Sequential"),
        (bp.nn.Sequential(bp.nn.ReLU(), abs), r"to_spec: stage 1 is a builtins\.builtin_function_or_method\. A doc"),
        (bp.nn.Sequential(Doubled(1, 1)), r"to_spec: stage 0 is a .*\.Doubled\. A document knows only nn's Dropout, "),
        (bp.nn.Sequential(ReLU()), r"to_spec: stage 0 is a .*test_model\.ReLU\. A document knows only"),
        (bp.nn.Sequential(bp.nn.Sequential()), r"to_spec: stage 0 is a tinygrad_bp\.nn\.module\.Sequential\."),
    ],
)
def test_to_spec_refuses_what_a_document_cannot_say(model, message):
    with pytest.raises(TypeError, match=message):
        bp.to_spec(model)


# ---- mistakes -----------------------------------------------------------------------------------------------------

MISTAKES = [
    (["model", "layers"], [], r"model\.layers: there are none\. Give at least one \[\[model\.layers\]\]\."),
    (["model", "layers"], {}, r"model\.layers = {}: is a table\. Give a list\."),
    (["model", "layer"], [], r'model\.layer = \[\]: \[model\] has no such key\. Did you mean "layers"\?'),
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
        r'= "os\.system": there is no such layer\. Choose from Dropout, Embedding, .*, RMSNorm\.',
    ),
    (layer(0, "type"), ..., r"model\.layers\[0\]\.type: is missing\. Choose from Dropout, "),
    (
        layer(2, "out_featurs"),
        10,
        r'layers\[2\]\.out_featurs = 10: Linear has no such key\. Did you mean "out_features"\?',
    ),
    (layer(2, "out_features"), ..., r"model\.layers\[2\]\.out_features: is missing from Linear\. Give an integer\."),
    (layer(2, "out_features"), "10", r'model\.layers\[2\]\.out_features = "10": is a string\. Give an integer\.'),
    (layer(2, "out_features"), 0, r"model\.layers\[2\]: Linear: out_features is 0\. Pass numbers >= 1\."),
    (layer(2, "out_features"), 10**15, r"model\.layers\[2\]: .*(Unable to allocate|array is too big|dimension)"),
    (layer(2, "out_features"), 10**30, r"model\.layers\[2\]: .*(dimension|too large)"),
    (
        layer(2, "in_features"),
        100,
        r"model\.layers\[2\] after model\.layers\[1\]: linear: input \(10, 64\) has 64 features, w",
    ),
    (
        layer(0, "in_features"),
        100,
        r"model\.layers\[0\] after the data: linear: input \(10, 64\) has 64 features, weight",
    ),
    (layer(2, "bias"), 0, r"model\.layers\[2\]\.bias = 0: is an integer\. Give true or false\."),
    (layer(2, "dtype"), 32, r"model\.layers\[2\]\.dtype = 32: is an integer\. Give a string\."),
    (layer(2, "dtype"), "flaot32", r"model\.layers\[2\]: Linear: dtype is 'flaot32'\. Pass one of floats"),
    (layer(2, "dtype"), "int64", r"model\.layers\[2\]: Linear: dtype is 'int64'\. Pass one of floats"),
    (layer(1, "alpha"), 1, r"model\.layers\[1\]\.alpha = 1: ReLU has no such key\. Its keys: none\."),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[message[:40] for _, _, message in MISTAKES])
def test_a_mistake_is_one_line_with_its_place(path, value, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        bp.Experiment.from_spec(changed(path, value))
    assert len(str(caught.value).splitlines()) == 1


def test_to_spec_keeps_the_dtype_under_another_default():
    net = bp.nn.Sequential(bp.nn.Linear(2, 3))
    bp.set_default_dtype(np.float32)
    try:
        assert bp.to_spec(net)["layers"][0]["dtype"] == "float64"
        assert "dtype" not in bp.to_spec(bp.nn.Sequential(bp.nn.Linear(2, 3)))["layers"][0]
    finally:
        bp.set_default_dtype(np.float64)


def test_to_spec_refuses_shared_weights():
    shared = bp.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"^to_spec: stage 2 is an earlier one again\. A document cannot share"):
        bp.to_spec(bp.nn.Sequential(shared, bp.nn.ReLU(), shared))
