"""Documents are read, changed from the command line and written, exactly; what cannot be is one line."""

from __future__ import annotations

import builtins
import copy
import json
import math
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.spec.documents import DOCUMENT
from tinygrad_bp.spec.reading import LARGEST, anchored, check_sizes, overridden, read, written

# ---- read ---------------------------------------------------------------------------------------------------------


def test_relative_places_of_data_are_relative_to_the_document(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    text = '[data]\nname = "csv"\npath = "../data/a.csv"\nfolder = "/data"\ntarget = "path"\n'
    (tmp_path / "sub" / "a.toml").write_text(text)
    expected = {
        "name": "csv",
        "path": str(tmp_path / "data" / "a.csv"),
        "folder": os.path.abspath("/data"),
        "target": "path",
    }
    assert read(tmp_path / "sub" / "a.toml") == {"data": expected}
    monkeypatch.chdir(tmp_path / "sub")
    assert read(Path("a.toml")) == {"data": expected}


def test_data_that_is_no_table_is_left_for_others_to_refuse(tmp_path):
    for data in ([], "digits", {"path": 3}):
        (tmp_path / "a.json").write_text(json.dumps({"data": data}))
        assert read(tmp_path / "a.json") == {"data": data}


def test_json_has_its_words_for_numbers_that_are_not_finite(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [NaN, -Infinity, 1e999, null]}')
    nan, *rest = read(tmp_path / "a.json")["a"]
    assert math.isnan(nan)
    assert rest == [-math.inf, math.inf, None]


def test_what_tells_an_editor_where_the_schema_is_is_left_out(tmp_path):
    (tmp_path / "a.json").write_text('{"$schema": "schema.json", "format": 1}')
    (tmp_path / "a.toml").write_text('#:schema ./schema.json\n"$schema" = "schema.json"\nformat = 1')
    assert read(tmp_path / "a.json") == read(tmp_path / "a.toml") == {"format": 1}
    document = {"$schema": "schema.json", "format": 1, "model": {"type": "ReLU"}}
    assert anchored(document, tmp_path) == {"format": 1, "model": {"type": "ReLU"}}
    assert repr(bp.from_spec(document)) == "ReLU()"


HOSTILE = {
    "long.toml": b"x = " + b"9" * 5000,
    "long.json": b'{"x": ' + b"9" * 5000 + b"}",
    "hex.toml": b"a.b = [0x" + b"f" * 5000 + b"]",
    "dotted.toml": b"a." * 400_000 + b"a = 1",
    "tables.toml": b"[" + b'"\\"=".a.' * 100_000 + b"a]",
    "deep.toml": b"x = " + b"[" * 5000 + b"]" * 5000,
    "deep.json": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "tree.json": b'{"x":' * 200 + b"1" + b"}" * 200,
    "large.toml": b"#" * 1_000_001,
    "null.toml": b"\x00",
    "picture.toml": b"\x89PNG\r\n\x1a\n",
    "pickle.json": b"\x80\x04\x95",
    "code.toml": b"import os\nos.system('true')",
    "list.json": b"[]",
    "none.json": b"",
}
REFUSALS = {
    "long": r"an integer has more than 1000 digits\. Give a shorter one\.$",
    "hex": r"^a\.b\[0\]: an integer has more than 1000 digits\. Give a shorter one\.$",
    "large": r"^is larger than 1000000 bytes\. Name a document\.$",
    **dict.fromkeys(("dotted", "tables", "deep", "tree"), r"^the values are nested too deeply\. Give the tables that "),
    **dict.fromkeys(("null", "code"), r"^this is no TOML: .*\. Correct the document there\.$"),
    "none": r"^this is no JSON: Expecting value: line 1 column 1 \(char 0\)\. Correct the document there\.$",
    **dict.fromkeys(("picture", "pickle"), r"^byte 0 is not UTF-8\. Save the document as UTF-8\.$"),
    "list": r"^the document is a list\. Give a table\.$",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_line(name, tmp_path):
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises((ValueError, TypeError), match=REFUSALS[name.partition(".")[0]]) as caught:
        read(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_without_end_is_refused():
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero")
    with pytest.raises(ValueError, match=r"^is larger than 1000000 bytes"):
        read(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["a\x00b.toml", "no/such/folder/a.toml"])
def test_a_name_of_nothing(name):
    with pytest.raises(FileNotFoundError, match=r"^there is no such file\."):
        read(Path(name))


def test_only_sizes_have_to_be_small():
    check_sizes({"n": LARGEST, "on": True, "rate": 1e300, "path": "9" * 99, "layers": [{"seed": 2**99}]}, "data")
    for value, place in (
        ({"n": LARGEST + 1}, r"x\.n"),
        ([[0, 10**9]], r"x\[0\]\[1\]"),
        ([{"a b": 10**9}], r'x\[0\]\."a b"'),
    ):
        with pytest.raises(ValueError, match=rf"^{place} = 10+1?: is too large\. Give at most 100000000\.$"):
            check_sizes(value, "x")


# ---- overridden ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "place", "value"),
    [
        ("optim.lr=0.1", ("optim", "lr"), 0.1),
        (" optim.lr = 1e-3 ", ("optim", "lr"), 1e-3),
        ("optim.lr=nan", ("optim", "lr"), math.nan),
        ("seed=3", ("seed",), 3),
        ("model.layers[0].out_features=32", ("model", "layers", 0, "out_features"), 32),
        ('model.layers[1]={type = "Tanh"}', ("model", "layers", 1), {"type": "Tanh"}),
        ('train.metrics=["accuracy"]', ("train", "metrics"), ["accuracy"]),
        ("train.compile=false", ("train", "compile"), False),
        ("data.name=moons", ("data", "name"), "moons"),
        ("data.name='moons'", ("data", "name"), "moons"),
        ("data.path=a=b.csv", ("data", "path"), "a=b.csv"),
        ("data.path=", ("data", "path"), ""),
        ("data.path=1\nx = 2", ("data", "path"), "1\nx = 2"),
        ("data.path=C:\\data\\iris.csv", ("data", "path"), "C:\\data\\iris.csv"),
        ('schedule={type = "StepLR", step_size = 3}', ("schedule",), {"type": "StepLR", "step_size": 3}),
        ("a_b-c=1", ("a_b-c",), 1),
        ("seed=" + "9" * 5000, ("seed",), "9" * 5000),
    ],
)
def test_a_value_is_put_in_its_place(setting, place, value):
    before = copy.deepcopy(DOCUMENT)
    result = overridden(DOCUMENT, [setting])
    assert before == DOCUMENT
    *way, last = place
    inside, expected = result, copy.deepcopy(DOCUMENT)
    at = expected
    for step in way:
        inside, at = inside[step], at[step]
    assert repr(inside[last]) == repr(value)
    at[last] = inside[last]
    assert result == expected


def test_later_settings_see_the_earlier():
    settings = ["schedule={}", "schedule.type=StepLR", "schedule.step_size=3", "schedule.step_size=4"]
    assert overridden({}, settings) == {"schedule": {"type": "StepLR", "step_size": 4}}


def test_the_copy_shares_nothing_with_the_document():
    result = overridden(DOCUMENT, [])
    assert result == DOCUMENT
    result["model"]["layers"][0]["type"] = "Tanh"
    result["model"]["layers"].append({})
    assert DOCUMENT["model"]["layers"][0]["type"] == "Linear"
    assert len(DOCUMENT["model"]["layers"]) == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.lr", r'"optim\.lr": is no setting\. Give place=value, as in optim\.lr=0\.1\.'),
        ("=3", r'"=3": is no setting\.'),
        ("optim..lr=3", r'"optim\.\.lr=3": is no setting\.'),
        ("[0]=3", r'"\[0\]=3": is no setting\.'),
        ("model.layers[-1].p=3", r"is no setting\."),
        ("model.layers[0]p=3", r"is no setting\."),
        ("model.layers.[0].p=3", r"is no setting\."),
        ("a b=3", r"is no setting\."),
        ("\x00=3", r'"\\u0000=3": is no setting\.'),
        ("optm.lr=3", r'optm: there is no such table\. Did you mean "optim"\?'),
        (
            "schedule.type=StepLR",
            r"schedule: there is no such table\. There is .*model, .*\. Give a new one whole: schedule={\.\.\.}\.",
        ),
        (
            "model.a.b=3",
            r"model\.a: there is no such table\. There is layers\. Give a new one whole: model\.a={\.\.\.}\.",
        ),
        ("model.layers.0.p=3", r"model\.layers\.0: model\.layers is a list, not a table\. Write model\.layers\[0\]\."),
        (
            "train.metrics=[accuracy]",
            r"train\.metrics=\[accuracy\]: is no TOML\. Strings stand in quotes there, and all of it for the shell: '",
        ),
        ("model.layers[3].p=3", r"model\.layers\[3\]: model\.layers has 3 entries, counted from 0\."),
        ("model.layers[3]=3", r"model\.layers\[3\]: model\.layers has 3 entries, counted from 0\."),
        ("model[0].p=3", r"model\[0\]: model is a table, not a list\."),
        ("model.layers.type=3", r"model\.layers\.type: model\.layers is a list, not a table\."),
        ("seed.x=3", r"seed\.x: seed is an integer, not a table\."),
        ("seed.x.y=3", r"seed\.x: seed is an integer, not a table\."),
        ("x=" + "[" * 5000, r"the values are nested too deeply\."),
        ("x=" + "[" * 101 + "]" * 101, r"the values are nested too deeply\."),
        ("seed=0x" + "f" * 5000, r"seed: an integer has more than 1000 digits\. Give a shorter one\."),
    ],
)
def test_a_wrong_setting_is_one_line(setting, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        overridden(DOCUMENT, ["seed=1", setting])
    assert len(str(caught.value).splitlines()) == 1


# ---- written ------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = st.one_of(st.booleans(), st.integers(-(2**80), 2**80), st.floats(), TEXTS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@settings(max_examples=40)
@given(st.dictionaries(TEXTS, VALUES))
def test_what_is_written_is_read_back_bit_for_bit(document):
    again = tomllib.loads(written(document))
    assert exact(again) == exact(document)


def exact(value):
    """The value with floats as their bits, so that nan equals nan and -0.0 not 0.0."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()  # TOML has one nan
    if isinstance(value, dict):
        return {key: exact(one) for key, one in value.items()}
    return [exact(one) for one in value] if isinstance(value, (list, tuple)) else (type(value), value)


def test_what_is_none_is_left_out():
    document = {"a": None, "b": {"c": None}, "d": [{"e": None, "f": (1, 2)}], "g": 3}
    assert tomllib.loads(written(document)) == {"b": {}, "d": [{"f": [1, 2]}], "g": 3}


def test_what_toml_cannot_say_is_one_line():
    with pytest.raises(ValueError, match=r"^'\\udcff' is no character of TOML\. Take it out of the document\.$"):
        written({"data": {"path": "\udcff.csv"}})
    with pytest.raises(TypeError, match="is not TOML serializable"):
        written({"a": [None]})


def test_without_tomli_w_a_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "tomli_w":
            raise ModuleNotFoundError("No module named 'tomli_w'", name="tomli_w")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    message = "writing a document needs the package tomli-w: pip install tomli-w."
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(message)}$"):
        written({})
