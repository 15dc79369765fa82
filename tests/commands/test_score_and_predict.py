"""eval, predict and schema: what a run folder knows, alone, and how bad input is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.commands.shell import MOONS, exit_code, left, state_of
from tinygrad_bp.data.columns import Columns
from tinygrad_bp.spec.schema import schema

KINDS = ("a, or b", "plain", "\u00fcber")
CSV = """
format = 1
data = {name = "csv", path = "plants.csv", target = "kind", batch_size = 16, validation = 0.0}
model = {layers = [{type = "Linear", out_features = 3}]}
loss = {type = "CrossEntropyLoss"}
optim = {type = "Adam", lr = 0.1}
train = {epochs = 3, metrics = ["accuracy", "f1"]}
"""


def plants(rows, seed=0):
    """A table of that many rows, as text: a length that tells the kind, the kind, and a colour that tells nothing."""
    draw = np.random.default_rng(seed)
    table = [["length", "kind", "colour"]]
    for k in range(rows):
        table.append([f"{k % 3 + draw.normal(0, 0.2):.3f}", KINDS[k % 3], ("red", "green")[k % 2]])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with finished runs of all kinds of targets; the data they were trained on are gone."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plants.csv").write_text(plants(90), "utf-8")
    (folder / "plants.toml").write_text(CSV)
    (folder / "moons.toml").write_text(MOONS)
    regression = [
        "data.name=csv",
        "data.path=plants.csv",
        "data.target=length",
        "data.targets=numbers",
        "train.epochs=1",
    ]
    column = ["data.targets=binary", "model.layers[2].out_features=1", "loss.type=BCEWithLogitsLoss"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, document, settings in [
            ("plants", "plants.toml", []),
            ("column", "moons.toml", column),
            ("squares", "moons.toml", ["data.targets=one-hot", "loss.type=MSELoss"]),
            ("numbers", "plants.toml", [*regression, "loss.type=MSELoss", "train.metrics=['mae']"]),
            ("float32", "moons.toml", ["data.dtype=float32"]),
        ]:
            if name == "numbers":
                settings += ["model.layers=[{type = 'Linear', out_features = 1}]"]
            words = [word for setting in settings for word in ("--set", setting)]
            assert exit_code("train", document, *words, "-o", name, "--quiet") == 0
    (folder / "plants.csv").unlink()
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder with new rows of both kinds, and a document."""
    monkeypatch.chdir(tmp_path)
    Path("new.csv").write_text(plants(7, seed=1), "utf-8")
    Path("moons.toml").write_text(MOONS)
    X, y = bp.data.moons(n=300, seed=5)
    np.savez("new.npz", X=X, y=y)
    return tmp_path


def model_of(run):
    model = bp.from_spec(run / "spec.toml")
    model.load_state_dict(bp.load(run / "model.safetensors"))
    return model.eval()


def columns_of(run):
    return Columns.from_dict(json.loads((run / "columns.json").read_text()))


def table_of(text):
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


# ---- eval ---------------------------------------------------------------------------------------------------------


def test_a_run_is_scored_on_its_own_held_out_rows(trained, capsys):
    experiment = bp.Experiment.from_spec(trained / "column" / "spec.toml")
    experiment.model.load_state_dict(bp.load(trained / "column" / "model.safetensors"))
    for part in ("test", "validation", "train"):
        assert exit_code("eval", trained / "column", *([] if part == "test" else ["--on", part])) == 0
        scores = experiment.evaluate(part)
        assert capsys.readouterr().out == f"{part} loss {scores['loss']:.4f} ({scores['rows']} rows)\n"
        assert exit_code("eval", trained / "column", "--on", part, "--json") == 0
        assert json.loads(capsys.readouterr().out) == {"model": str(trained / "column"), "on": part, **scores}


@pytest.mark.parametrize(
    ("settings", "part"), [([], "test"), (["test = 0.0"], "validation"), (["test = 0.0", "validation = 0.0"], "train")]
)
def test_a_document_is_scored_as_it_is_initialised(settings, part, capsys):
    Path("moons.toml").write_text(MOONS.replace("n = 80", ", ".join(["n = 80", *settings])))
    assert exit_code("eval", "moons.toml") == 0
    scores = bp.Experiment.from_spec("moons.toml").evaluate(part)
    output, errors = capsys.readouterr()
    assert output == f"{part} loss {scores['loss']:.4f} ({scores['rows']} rows)\n"
    assert errors == "moons.toml: is a document, its model is not trained.\n"
    assert left() == ["moons.toml", "new.csv", "new.npz"]


def test_a_run_is_scored_on_a_file_without_the_training_data(trained, capsys):
    before = state_of(trained)
    assert exit_code("eval", trained / "plants", "new.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    right = sum(predicted(trained, "new.csv", capsys)[k] == KINDS[k % 3] for k in range(7))
    assert lines[-1] == f"new.csv accuracy {right / 7:.4f} ({right} of 7)"
    assert [line.split()[1] for line in lines] == ["loss", "f1", "accuracy"]
    assert exit_code("eval", trained / "numbers", "new.csv", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["model", "on", "loss", "mae", "rows"]
    assert (found["on"], found["rows"]) == ("new.csv", 7)
    assert state_of(trained) == before


def predicted(trained, file, capsys):
    assert exit_code("predict", trained / "plants", file) == 0
    return [row[0] for row in table_of(capsys.readouterr().out)[1]]


def test_options_stand_anywhere(trained, capsys):
    run = str(trained / "numbers")
    said = []
    for arguments in ([run, "new.csv", "--json"], [run, "--json", "new.csv"], ["--json", run, "new.csv"]):
        assert exit_code("eval", *arguments) == 0
        said.append(capsys.readouterr().out)
    assert json.loads(said[0])["on"] == "new.csv"
    assert said == [said[0]] * 3
    assert exit_code("eval", run, "--json", "new.csv", "more.csv") == 2
    assert capsys.readouterr().err == "tinygrad_bp: unrecognized arguments: more.csv. See tinygrad_bp --help.\n"


def test_a_document_is_scored_on_a_file(capsys):
    assert exit_code("eval", "moons.toml", "new.npz") == 0
    assert re.fullmatch(r"new\.npz loss \d\.\d{4} \(300 rows\)\n", capsys.readouterr().out)


def test_what_is_not_finite_is_null_in_json(monkeypatch, capsys):
    monkeypatch.setattr(bp.Experiment, "evaluate", lambda *_: {"loss": float("inf"), "r2": float("nan"), "rows": 3})
    assert exit_code("eval", "moons.toml", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": "moons.toml", "on": "test", "loss": None, "r2": None, "rows": 3,
    }  # fmt: skip


# ---- predict ------------------------------------------------------------------------------------------------------


def test_classes_are_told_by_their_names(trained, capsys):
    assert exit_code("predict", trained / "plants", "new.csv") == 0
    names, found = table_of(capsys.readouterr().out)
    assert names == ["kind"]
    outputs = model_of(trained / "plants")(columns_of(trained / "plants").read("new.csv")).data
    assert [row[0] for row in found] == [KINDS[k] for k in outputs.argmax(axis=1)]
    Path("unknown.csv").write_text(Path("new.csv").read_text("utf-8").replace("kind", "other"), "utf-8")
    assert predicted(trained, "unknown.csv", capsys) == [row[0] for row in found]  # the targets are not looked at


@pytest.mark.parametrize("run", ["plants", "column", "float32"])
def test_probabilities_read_back_exactly(run, trained, capsys):
    file = "new.csv" if run == "plants" else "new.npz"
    assert exit_code("predict", trained / run, file, "--probabilities") == 0
    header, rows = table_of(capsys.readouterr().out)
    assert header == (list(KINDS) if run == "plants" else ["0", "1"])
    outputs = bp.training.predict(model_of(trained / run), columns_of(trained / run).read(file))
    if run == "column":
        chances = np.asarray(bp.ops.sigmoid(outputs))
        chances = np.concatenate([1 - chances, chances], axis=1)
    else:
        chances = np.asarray(bp.ops.softmax(outputs, axis=1))
    found = np.array(rows, dtype=chances.dtype)
    assert np.array_equal(found, chances)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)
    assert exit_code("predict", trained / run, file) == 0
    classes = [header[k] for k in chances.argmax(axis=1)]
    assert [row[0] for row in table_of(capsys.readouterr().out)[1]] == classes


def test_a_net_without_probabilities_tells_classes_only(trained, capsys):
    assert exit_code("predict", trained / "squares", "new.npz") == 0
    header, rows = table_of(capsys.readouterr().out)
    outputs = model_of(trained / "squares")(np.load("new.npz")["X"]).data
    assert (header, [int(row[0]) for row in rows]) == (["y"], outputs.argmax(axis=1).tolist())
    assert exit_code("predict", trained / "squares", "new.npz", "--probabilities") == 2
    assert re.fullmatch(r".*MSELoss.* Train with CrossEntropyLoss, .*\n", capsys.readouterr().err)


def test_numbers_are_told_as_numbers(trained, capsys):
    assert exit_code("predict", trained / "numbers", "new.csv", "-o", "out.csv") == 0
    assert capsys.readouterr() == ("", "")
    header, rows = table_of(Path("out.csv").read_text())
    outputs = model_of(trained / "numbers")(columns_of(trained / "numbers").read("new.csv")).data
    assert header == ["length"]
    assert np.array_equal(np.array(rows, dtype=float), outputs)
    assert exit_code("predict", trained / "numbers", "new.csv", "--probabilities") == 2
    message = "new.csv: --probabilities: the model predicts numbers, not classes. Leave it out.\n"
    assert capsys.readouterr().err == message


def test_a_net_whose_rows_are_no_rows_of_numbers_is_refused(trained, capsys):
    shutil.copytree(trained / "float32", "cubes")
    spec = Path("cubes/spec.toml")
    last = '{ type = "Unflatten", dim = 1, unflattened_size = [2, 1] },'
    spec.write_text(spec.read_text().replace("\n]\n", f"\n    {last}\n]\n", 1))
    assert exit_code("predict", "cubes", "new.npz") == 2
    message = r"new\.npz: the model gives \(300, 2, 1\), not a row of numbers for each row\. .*\n"
    assert re.fullmatch(message, capsys.readouterr().err)


def test_the_output_is_replaced_in_one_piece(trained, monkeypatch, capsys):
    def full(*_):
        raise OSError("No space left on device")

    Path("out.csv").write_text("older")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        assert exit_code("predict", trained / "plants", "new.csv", "-o", "out.csv") == 2
    assert capsys.readouterr().err == "No space left on device\n"
    assert Path("out.csv").read_text() == "older"
    assert exit_code("predict", trained / "plants", "new.csv", "-o", "out.csv") == 0
    assert Path("out.csv").read_text("utf-8").startswith("kind\n")
    assert left() == ["moons.toml", "new.csv", "new.npz", "out.csv"]


# ---- schema -------------------------------------------------------------------------------------------------------


def test_the_schema_is_printed_or_written(capsys):
    assert exit_code("schema") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == schema()
    assert exit_code("schema", "-o", "schema.json") == 0
    assert capsys.readouterr().out == ""
    assert Path("schema.json").read_text() == printed


def test_the_schema_knows_layers_that_are_imported(monkeypatch, capsys):
    Path("ours.py").write_text(
        "import tinygrad_bp as bp\nclass OurOwn(bp.nn.Module):\n    def __init__(self, size: int): pass\n"
    )
    try:
        assert exit_code("schema", "--import", "ours.py") == 0
    finally:
        bp.spec.LAYERS.pop("OurOwn", None)
        sys.modules.pop("ours", None)
    layer = json.loads(capsys.readouterr().out)["$defs"]["layer.OurOwn"]
    assert layer["required"] == ["type", "size"]


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "moon.toml"], r"moon\.toml: there is no such file\. Did you mean .?moons\.toml.?\?"),
        (["eval", "runs/no"], r"runs/no: there is no such run folder or document\. A run is begun by train FILE\."),
        (["eval", "."], r"\.: is no run folder, it holds no spec\.toml\. Name a document, or a folder of train\."),
        (["eval", "held.toml", "--on", "validation"], r"held\.toml: .*no part .*validation.*test.*"),
        (["eval", "RUN/plants"], r".*data: .*plants\.csv: there is no such file\..*"),
        (["eval", "RUN/plants", "new.csv", "--on", "test"], r"--on test: does not go with new\.csv\. Leave one out\."),
        (["eval", "RUN/plants", "old.csv"], r"old\.csv: there is no such file\."),
        (["predict", "RUN/plants", "moons.toml"], r"moons\.toml: the file has the suffix '\.toml'\. Give .*"),
        (["predict", "RUN/column", "new.csv"], r"new\.csv: the file has 3 columns.* 2\. .*"),
        (["predict", "moons.toml", "new.csv"], r"moons\.toml: is a document, not trained yet\. Train it, .*"),
        (["predict", "RUN/plants", "new.csv", "-o", "./new.csv"], r"-o \./new\.csv: is the data itself\. .*"),
        (["predict", "RUN/plants", "new.csv", "-o", "none/o.csv"], r"save: there is no folder .*none\. .*"),
        (["predict", "RUN/plants", "new.csv", "-o", "bare"], r"save: .*bare is a folder\. Name a file in it\."),
        (["schema", "-o", "bare"], r"save: .*bare is a folder\. Name a file in it\."),
        (["predict", "fresh", "new.csv"], r"fresh: holds no trained weights yet\. Go on with train fresh --resume\."),
        (["predict", "bare", "new.csv"], r"bare/columns\.json: is missing\. train bare --resume writes it\."),
        (["predict", "deep", "new.csv"], r"deep/columns\.json: .*"),
        (["predict", "lossless", "new.csv"], r"lossless/spec\.toml: loss: is missing from the document\. .*"),
        (["eval", "lossless", "new.csv"], r"lossless/spec\.toml: loss: is missing from the document\. .*"),
        (["predict", "broken", "new.csv"], r"broken/model\.safetensors: .*"),
        (["eval", "other", "new.csv"], r"other/model\.safetensors: load_state_dict: .*"),
        (["schema", "-o", "none/schema.json"], r"save: there is no folder .*none\. .*"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, trained, capsys):
    for name in ("fresh", "bare", "deep", "lossless", "broken", "other"):
        shutil.copytree(trained / "plants", name)
    Path("fresh/model.safetensors").unlink()
    Path("bare/columns.json").unlink()
    Path("deep/columns.json").write_text("[" * 100_000)
    Path("lossless/spec.toml").write_text("format = 1\nmodel = {layers = []}\ntrain = {epochs = 1}\n")
    Path("broken/model.safetensors").write_bytes(b"half")
    spec = Path("other/spec.toml")
    spec.write_text(spec.read_text().replace("out_features = 3", "out_features = 4"))
    Path("held.toml").write_text(MOONS.replace("n = 80", "validation = 0.0"))
    before = state_of(".")
    assert exit_code(*(argument.replace("RUN", str(trained)) for argument in arguments)) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(message + r"\n", errors), errors
    assert state_of(".") == before


def test_what_is_trained_needs_no_extra(trained, monkeypatch, capsys):
    for package in ("safetensors", "rich", "matplotlib", "tomli_w"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert exit_code("predict", trained / "plants", "new.csv") == 0
    assert exit_code("eval", trained / "plants", "new.csv") == 0
    assert capsys.readouterr().err == ""
