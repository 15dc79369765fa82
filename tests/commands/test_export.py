"""export: what a run has learnt as a file that others run, without the training data."""

from __future__ import annotations

import csv
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.commands.shell import MOONS, ROOT, exit_code, left, state_of

PLANTS = """
format = 1
data = {name = "csv", path = "plants.csv", target = "kind", batch_size = 16, validation = 0.0}
model = {layers = [{type = "Linear", out_features = 4}, {type = "Tanh"}, {type = "Linear", out_features = 3}]}
loss = {type = "CrossEntropyLoss"}
optim = {type = "Adam", lr = 0.1}
train = {epochs = 2, metrics = []}
"""
KINDS = ("tall", "small", "\u00fcber")
RUNS = {
    "plants": ("plants.toml", []),
    "column": ("moons.toml", ["data.targets=binary", "model.layers[2].out_features=1", "loss.type=BCEWithLogitsLoss"]),
    "chance": (
        "moons.toml",
        ["data.targets=binary", "model.layers[2]={type = 'Sequential', layers = [{type = 'Linear', out_features = 1}, "
         "{type = 'Sigmoid'}]}", "loss.type=BCELoss"],
    ),
    "float32": ("moons.toml", ["data.dtype=float32"]),
    "numbers": (
        "plants.toml",
        ["data.target=length", "data.targets=numbers", "model.layers=[{type = 'Linear', out_features = 1}]",
         "loss.type=MSELoss"],
    ),
}  # fmt: skip


def plants(rows, seed=0):
    """Lines of CSV: a length that tells the kind, the kind, and a colour that tells nothing."""
    draw = np.random.default_rng(seed)
    lines = [f"{10 * (k % 3) + draw.normal():.3f},{KINDS[k % 3]},{('red', 'green')[k % 2]}" for k in range(rows)]
    return "\n".join(["length,kind,colour", *lines, ""])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with finished runs; the data they were trained on are gone."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plants.csv").write_text(plants(60), "utf-8")
    (folder / "plants.toml").write_text(PLANTS)
    (folder / "moons.toml").write_text(MOONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, (document, settings) in RUNS.items():
            words = [word for setting in settings for word in ("--set", setting)]
            assert exit_code("train", document, *words, "-o", name, "--quiet") == 0
    (folder / "plants.csv").unlink()
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder with new rows of both kinds."""
    monkeypatch.chdir(tmp_path)
    Path("new.csv").write_text(plants(7, seed=1), "utf-8")
    X, y = bp.data.moons(n=50, seed=5)
    np.savez("new.npz", X=X, y=y)
    np.save("new.npy", X)
    return tmp_path


def data_of(run):
    return ("new.csv", "new.csv") if run in ("plants", "numbers") else ("new.npz", "new.npy")


def predicted(trained, run, capsys):
    assert exit_code("predict", trained / run, data_of(run)[0]) == 0
    return [row[0] for row in csv.reader(io.StringIO(capsys.readouterr().out))][1:]


@pytest.mark.parametrize("run", RUNS)
def test_the_python_file_says_what_predict_says(run, trained, monkeypatch, capsys):
    wanted = predicted(trained, run, capsys)
    assert exit_code("export", trained / run, "--to", "numpy", "-o", "model.py") == 0
    assert capsys.readouterr().out == "model.py\n"
    monkeypatch.setattr(sys, "argv", ["model.py", data_of(run)[1]])
    runpy.run_path("model.py", run_name="__main__")
    found = capsys.readouterr().out.splitlines()
    if run == "numbers":
        np.testing.assert_allclose(np.array(found, float), np.array(wanted, float), rtol=1e-12)
    else:
        assert found == wanted
        assert len(set(wanted)) > 1


def test_what_gives_its_input_again_reads_all_columns(monkeypatch, capsys):
    """Where targets are X itself, the columns of a .csv have their names, and are inputs all the same."""
    np.savez("pairs.npz", X=np.load("new.npy"))
    Path("pairs.toml").write_text(
        MOONS.replace(
            'name = "moons", n = 80,', 'name = "npz", path = "pairs.npz", y = "X", targets = "numbers",'
        ).replace("CrossEntropyLoss", "MSELoss")
    )
    assert exit_code("train", "pairs.toml", "-o", "run", "--quiet") == 0
    assert exit_code("export", "run", "--to", "numpy", "-o", "model.py") == 0
    Path("pairs.csv").write_text("X0,X1\n0.5,1\n-1,0.25\n")
    capsys.readouterr()
    assert exit_code("predict", "run", "pairs.csv") == 0
    wanted = capsys.readouterr().out.splitlines()[1:]
    monkeypatch.setattr(sys, "argv", ["model.py", "pairs.csv"])
    runpy.run_path("model.py", run_name="__main__")
    found = capsys.readouterr().out.splitlines()
    table = [np.loadtxt(lines, delimiter=",") for lines in (found, wanted)]
    assert table[0].shape == (2, 2)
    np.testing.assert_allclose(*table, rtol=1e-12)


def test_a_file_runs_alone(trained, capsys):
    wanted = predicted(trained, "plants", capsys)
    assert exit_code("export", trained / "plants", "--to", "numpy", "-o", "model.py") == 0
    command = [sys.executable, "-I", "model.py", "new.csv"]
    done = subprocess.run(command, capture_output=True, env={"PYTHONIOENCODING": "utf-8"}, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == wanted


def test_other_commands_do_not_load_what_writes_the_files():
    code = "import sys, tinygrad_bp.__main__; print([name for name in sys.modules if 'exporting' in name])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "[]\n"


def test_without_o_the_file_goes_into_the_run_folder(trained, capsys):
    before = state_of(trained / "plants")
    assert exit_code("export", trained / "plants", "--to", "numpy") == 0
    path = trained / "plants" / "model.py"
    assert capsys.readouterr().out == f"{path}\n"
    text = path.read_text("ascii")
    path.unlink()
    assert set(state_of(trained / "plants")) == set(before)
    assert 'COLUMNS = ("length", "colour=green", "colour=red")\n' in text
    assert 'CATEGORIES = {"colour": ("green", "red")}\n' in text
    assert 'CLASSES = ("small", "tall", "\\xfcber")\n' in text
    assert "\n    x = (x - mean) / scale\n" in text
    assert "\n    z1 = x @ W1.T + b1 " in text
    assert left() == ["new.csv", "new.npy", "new.npz"]


@pytest.mark.oracle
@pytest.mark.parametrize("run", RUNS)
def test_the_onnx_file_gives_what_the_python_file_gives(run, trained, capsys):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for kind, name in (("numpy", "model.py"), ("onnx", "model.onnx")):
        assert exit_code("export", trained / run, "--to", kind, "-o", name) == 0
    known = runpy.run_path("model.py")
    x = known["read"](data_of(run)[1])
    (found,) = onnxruntime.InferenceSession("model.onnx").run(None, {"x": x.astype(np.float32)})
    wanted = known["predict"](x)
    assert np.abs(found - wanted).max() <= 1e-6 * max(1.0, np.abs(wanted).max())
    kept = {entry.key: json.loads(entry.value) for entry in onnx.load("model.onnx").metadata_props}
    assert kept["classes"] == list(known["CLASSES"]) if run != "numbers" else "classes" not in kept
    assert kept.get("threshold") == {"column": 0.0, "chance": 0.5}.get(run)
    assert kept.get("columns") == (list(known["COLUMNS"]) if "COLUMNS" in known else None)


@pytest.fixture
def registry():
    """The registry of layers, afterwards as before."""
    before = dict(bp.spec.LAYERS)
    yield
    bp.spec.LAYERS.clear()
    bp.spec.LAYERS.update(before)


def test_layers_of_ones_own_are_imported(registry):
    Path("half.py").write_text(
        "import tinygrad_bp as bp\n\n@bp.register\nclass Half(bp.nn.Module):\n"
        "    def forward(self, x):\n        return 0.5 * x\n"
    )
    Path("own.toml").write_text(MOONS.replace('"Tanh"', '"Half"'))
    assert exit_code("train", "own.toml", "--import", "half.py", "-o", "run", "--quiet") == 0
    assert exit_code("export", "run", "--to", "numpy", "--import", "half.py") == 0
    assert "    half = z1 * 0.5 " in Path("run/model.py").read_text()


def test_what_cannot_be_exported_is_named_and_nothing_is_written(registry, capsys):
    Path("choosing.py").write_text(
        "import tinygrad_bp as bp\n\n@bp.register\nclass Choosing(bp.nn.Module):\n"
        "    def forward(self, x):\n        return x if x.sum() > 0 else -x\n"
    )
    Path("own.toml").write_text(MOONS.replace('"Tanh"', '"Choosing"'))
    assert exit_code("train", "own.toml", "--import", "choosing.py", "-o", "run", "--quiet") == 0
    before = state_of("run")
    assert exit_code("export", "run", "--to", "numpy", "--import", "choosing.py") == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert "choosing.py (return x if x.sum() > 0 else -x) needs the numbers in an array" in errors
    assert state_of("run") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["moons.toml", "--to", "numpy"], "moons.toml: is a document, not trained yet. Train it, then name its run"),
        (["none", "--to", "numpy"], "none: there is no such run folder or document."),
        (["{run}", "--to", "numpy", "-o", "model.onnx"], "-o model.onnx: --to numpy writes a .py file. Name one."),
        (["{run}", "--to", "onnx", "-o", "model"], "-o model: --to onnx writes a .onnx file. Name one."),
        (["{run}", "--to", "torch"], "argument --to: invalid choice: 'torch'"),
        (["{run}"], "the following arguments are required: --to"),
    ],
)
def test_bad_usage_is_one_line(arguments, message, trained, capsys):
    Path("moons.toml").write_text(MOONS)
    assert exit_code("export", *[word.format(run=trained / "plants") for word in arguments]) == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert message in errors
