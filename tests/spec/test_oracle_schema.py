"""The schema judged by the package jsonschema: valid itself, and of one mind with `Experiment.from_spec`."""

from __future__ import annotations

import copy
import functools
import json
import operator
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.nn.test_layers import LAYERS as SAMPLES
from tests.spec.documents import DOCUMENT, changed, layer
from tests.spec.drawn import documents
from tests.spec.test_experiment import ODD, PLACES
from tests.spec.test_model import sample
from tinygrad_bp.spec.schema import schema

pytestmark = pytest.mark.oracle
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("**/*.toml"))


@functools.cache
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra 'bench'")
    return jsonschema.Draft202012Validator(schema())


def mistakes(document: Any) -> list[str]:
    """Each with its place, as an editor shows them."""
    return [f"{error.json_path}: {error.message}" for error in validator().iter_errors(document)]


def test_the_schema_is_a_schema():
    validator().check_schema(schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_documents(path):
    assert mistakes(tomllib.loads(path.read_text("utf-8"))) == []


@settings(max_examples=100)
@given(documents())
def test_what_from_spec_accepts_the_schema_accepts(document):
    experiment = bp.Experiment.from_spec(document)
    assert mistakes(document) == []
    assert mistakes(json.loads(json.dumps(experiment.to_spec()))) == []


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=2))
def test_what_the_schema_refuses_from_spec_refuses(changes):
    document = copy.deepcopy(DOCUMENT)
    for (*way, last), value in changes:
        with suppress(LookupError, TypeError):
            functools.reduce(operator.getitem, way, document)[last] = copy.deepcopy(value)
    if mistakes(document):
        with pytest.raises((ValueError, TypeError, OSError)):
            bp.Experiment.from_spec(document)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_layer_as_to_spec_tells_it(name):
    assert mistakes(bp.to_spec(sample(name)[0])) == []


MODEL_ONLY = {key: DOCUMENT[key] for key in ("format", "model")}
PLANTED = [
    (changed(["sede"], 1), "$: Additional properties are not allowed ('sede' was unexpected)"),
    (changed(["format"], 2), "$.format: 1 was expected"),
    (changed(["format"], ...), "$: 'format' is a required property"),
    (changed(["seed"], -1), "$.seed: -1 is less than the minimum of 0"),
    (changed(["seed"], "1"), "$.seed: '1' is not of type 'integer'"),
    (changed(["train"], ...), "$: 'train' is a dependency of 'loss'"),
    (MODEL_ONLY | {"train": {"epochs": 1}}, "$: 'optim' is a dependency of 'train'"),
    (
        changed(["data", "name"], "digit"),
        "$.data.name: 'digit' is not one of ['digits', 'mnist', 'csv', 'npz', 'moons'",
    ),
    (changed(["data", "name"], ...), "$.data: 'name' is a required property"),
    (changed(["data", "batchsize"], 3), "$.data: Additional properties are not allowed ('batchsize' was unexpected)"),
    (changed(["data", "batch_size"], 0), "$.data.batch_size: 0 is less than the minimum of 1"),
    (changed(["data", "targets"], "label"), "$.data.targets: 'label' is not one of ['labels', 'one-hot', 'binary']"),
    (changed(["data"], {"name": "csv", "path": "a.csv"}), "$.data: 'target' is a required property"),
    (changed(["data"], "digits"), "$.data: 'digits' is not of type 'object'"),
    (changed(layer(2, "type"), "Linaer"), "$.model.layers[2].type: 'Linaer' is not one of ['Sequential', "),
    (changed(layer(2, "type"), ...), "$.model.layers[2]: 'type' is a required property"),
    (
        changed(layer(2, "out_featurs"), 3),
        "$.model.layers[2]: Additional properties are not allowed ('out_featurs' was unexpected)",
    ),
    (changed(layer(2, "out_features"), ...), "$.model.layers[2]: 'out_features' is a required property"),
    (changed(layer(2, "out_features"), 1.5), "$.model.layers[2].out_features: 1.5 is not of type 'integer'"),
    (changed(layer(2, "bias"), 0), "$.model.layers[2].bias: 0 is not of type 'boolean'"),
    (changed(layer(2, "dtype"), "int64"), "$.model.layers[2].dtype: 'int64' is not one of ['float16', "),
    (
        changed(["model"], {"type": "Sequential", "layers": [{"type": "Sequential", "layers": [{"type": "ReLu"}]}]}),
        "$.model.layers[0].layers[0].type: 'ReLu' is not one of ",
    ),
    (
        changed(["model"], {"type": "TransformerEncoder", "num_layers": 2, "encoder_layer": {"type": "Linear"}}),
        "$.model.encoder_layer: 'out_features' is a required property",
    ),
    (changed(["model"], {}), "$.model: 'layers' is a required property"),
    (changed(["loss", "reduction"], "summ"), "$.loss.reduction: 'summ' is not one of ['mean', 'sum', 'none']"),
    (changed(["optim", "lr"], ...), "$.optim: 'lr' is a required property"),
    (changed(["optim"], {"type": "Adam", "betas": [0.9]}), "$.optim.betas: [0.9] is too short"),
    (changed(["schedule"], {"type": "StepLR"}), "$.schedule: 'step_size' is a required property"),
    (
        changed(["schedule"], {"type": "SequentialLR", "milestones": [], "schedulers": [{"type": "Step"}]}),
        "$.schedule.schedulers[0].type: 'Step' is not one of ['CosineAnnealingLR', ",
    ),
    (changed(["train", "metrics"], ["acc"]), "$.train.metrics: ['acc'] is not valid under any of the given schemas"),
    (changed(["train", "epochs"], 0), "$.train.epochs: 0 is less than the minimum of 1"),
    (changed(["train", "out"], "x"), "$.train: Additional properties are not allowed ('out' was unexpected)"),
]


@pytest.mark.parametrize(("document", "message"), PLANTED, ids=[message[:60] for _, message in PLANTED])
def test_a_planted_mistake_is_told_at_its_place(document, message):
    found = mistakes(document)
    assert any(text.startswith(message) for text in found), found
    assert len(found) <= 3
    with pytest.raises((ValueError, TypeError)):
        bp.Experiment.from_spec(document)


def test_a_document_for_a_model_alone_is_one():
    assert mistakes(MODEL_ONLY) == []
    assert mistakes(DOCUMENT | {"$schema": "schema.json"}) == []
