"""The JSON Schema holds what the signatures hold, and editors find what they need in it."""

from __future__ import annotations

import inspect
import json
from typing import Literal

import pytest

import tinygrad_bp as bp
from tinygrad_bp.optim.lr_scheduler import LRScheduler
from tinygrad_bp.spec import DATA, LAYERS, LOSSES, OPTIMIZERS, SCHEDULES
from tinygrad_bp.spec.schema import _described, _type, schema
from tinygrad_bp.training.metrics import METRICS

KINDS = {"data": DATA, "layer": LAYERS, "loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}


def values(part, key):
    """Everything that stands under a key, at any depth."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(part, list):
        for value in part:
            yield from values(value, key)


def test_every_member_of_every_registry_is_a_table():
    tables = schema()["$defs"]
    for kind, registry in KINDS.items():
        key = "name" if kind == "data" else "type"
        assert tables[kind]["properties"][key]["enum"] == list(registry)
        for name in registry:
            assert tables[f"{kind}.{name}"]["properties"][key]["const"] == name
            assert tables[f"{kind}.{name}"]["additionalProperties"] is False
    others = {"model", "model.layers", "train", *KINDS}
    assert tables.keys() == others | {f"{kind}.{name}" for kind, registry in KINDS.items() for name in registry}


def test_every_reference_leads_somewhere_and_all_is_json_in_ascii():
    whole = schema()
    text = json.dumps(whole, allow_nan=False)
    assert json.loads(text) == whole
    assert text.isascii()
    assert {ref.removeprefix("#/$defs/") for ref in values(whole, "$ref")} <= whole["$defs"].keys()
    assert schema() == whole
    assert None not in values(whole, "default")


def test_a_table_says_what_the_signature_says():
    tables = schema()["$defs"]
    assert tables["layer.Linear"] == {
        "description": "z = x W^T + b, for every row x.",
        "type": "object",
        "properties": {
            "type": {"const": "Linear", "description": "z = x W^T + b, for every row x."},
            "in_features": {
                "type": "integer",
                "description": "Entries of a row, and of the result: (..., in) gives (..., out).",
            },
            "out_features": {
                "type": "integer",
                "description": "Entries of a row, and of the result: (..., in) gives (..., out).",
            },
            "bias": {"type": "boolean", "default": True, "description": "Whether there is a b."},
            "dtype": {
                "enum": ["float16", "float32", "float64", "none"],
                "description": "Of the parameters; by default the package's.",
            },
        },
        "required": ["type", "out_features"],
        "additionalProperties": False,
    }
    assert tables["layer.TransformerEncoder"]["properties"]["encoder_layer"] == {"$ref": "#/$defs/layer"}
    assert tables["layer.Sequential"]["properties"]["layers"]["items"] == {"$ref": "#/$defs/layer"}
    assert tables["schedule.SequentialLR"]["properties"]["schedulers"]["items"] == {"$ref": "#/$defs/schedule"}
    assert tables["optimizer.SGD"]["required"] == ["type", "lr"]
    assert tables["data.csv"]["required"] == ["name", "path", "target"]
    assert tables["data.digits"]["properties"]["shuffle"]["default"] is True
    assert tables["data.digits"]["properties"]["batch_size"]["minimum"] == 1
    assert tables["train"]["required"] == ["epochs"]
    assert tables["train"]["properties"]["epochs"] == {"type": "integer", "minimum": 1}
    assert tables["train"]["properties"]["metrics"]["anyOf"][0]["items"] == {"enum": list(METRICS)}
    assert not {"out", "resume", "progress", "on_epoch", "validation"} & tables["train"]["properties"].keys()
    assert not {"seed", "params", "optimizer", "arrays"} & set().union(*values(tables, "properties"))


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (bool, {"type": "boolean"}),
        (int | float, {"anyOf": [{"type": "integer"}, {"type": "number"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Literal["a"] | None, {"enum": ["a", "none"]}),
        (float | None, {"anyOf": [{"type": "number"}, {"const": "none"}]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array"}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, int], {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        (dict[str, int], {"type": "object"}),
        (bp.nn.Module | None, {"anyOf": [{"$ref": "#/$defs/layer"}, {"const": "none"}]}),
        (LRScheduler, {"$ref": "#/$defs/schedule"}),
    ],
)
def test_types(hint, expected):
    assert _type(hint) == expected


def test_what_is_registered_is_in_it(monkeypatch):
    class Gain(bp.nn.Module):
        """x times :class:`Gain`, as ``x * g``.

        Parameters
        ----------
        g, h
            How much:
            of `x`.
        mode
            Which.

        Attributes
        ----------
        more
            No parameter.
        """

        def __init__(self, g: float, h: float = float("inf"), mode: Literal["a", "b"] = "b", other=None):
            pass

    monkeypatch.setitem(LAYERS, "Gain", Gain)
    table = schema()["$defs"]["layer.Gain"]
    assert table["description"] == "x times Gain, as x * g."
    assert table["properties"] == {
        "type": {"const": "Gain", "description": "x times Gain, as x * g."},
        "g": {"type": "number", "description": "How much: of x."},
        "h": {"type": "number", "description": "How much: of x."},  # JSON has no word for its default
        "mode": {"enum": ["a", "b"], "default": "b", "description": "Which."},
        "other": {},
    }
    assert table["required"] == ["type", "g"]
    assert "Gain" in schema()["$defs"]["layer"]["properties"]["type"]["enum"]


def test_a_docstring_is_not_needed():
    assert _described(lambda: None) == {}


def test_descriptions_are_there_and_have_no_marks_of_sphinx():
    whole = schema()
    for kind, registry in KINDS.items():
        for name, make in registry.items():
            description = whole["$defs"][f"{kind}.{name}"]["description"]
            assert bool(description) == bool(make.__doc__), name
    assert not [
        text for text in values(whole, "description") if isinstance(text, str) and ("`" in text or "\n" in text)
    ]
    arguments = inspect.signature(bp.fit).parameters
    assert set(_described(bp.fit)) <= set(arguments)
