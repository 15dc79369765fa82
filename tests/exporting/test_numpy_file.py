"""The Python file of a model: it reads as if written by hand, and computes what the model does with NumPy alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tests import samples
from tests.nn.test_layers import LAYERS, with_shapes
from tinygrad_bp import nn, ops
from tinygrad_bp.exporting.numpy_file import numpy_source, write_numpy
from tinygrad_bp.nn import functional as F

# Runs every file of the folder in a world in which nothing but NumPy is installed, on all arrays of its .npz.
ALONE = """
import importlib.util, sys, warnings
from pathlib import Path

class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"numpy"}:
            raise ImportError(f"{name} is not installed")

warnings.simplefilter("error")
sys.meta_path.insert(0, OnlyNumPy())
import numpy as np

for path in sorted(Path(".").glob("*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    outputs = {}
    with np.load(path.with_suffix(".npz")) as given:
        for name in given.files:
            y = module.predict(given[name])
            outputs |= {f"{name} {k}": one for k, one in enumerate(y if type(y) is tuple else (y,))}
    np.savez(path.with_suffix(".out.npz"), **outputs)
"""
# Layers whose shapes, as they are tested elsewhere, have no rows in front.
BATCHES = {"Conv2d": (2, 2, 2, 2), "ConvTranspose2d": (2, 2, 2, 2)}
Made = Callable[[], Any]


class Every(nn.Module):
    """All that a statement may look like, without regard to sense."""

    def __init__(self) -> None:
        self.w = nn.Parameter(np.linspace(-1.0, 1.0, 12).reshape(3, 4))
        self.table = bp.Tensor(np.arange(1.0, 41.0))  # a buffer

    def forward(self, x: Any) -> Any:
        n = len(x)
        a = x @ self.w
        b = (a - (a * 2.0 - 1.0)) / (2.0 / (a * a + 1.0)) - (-a) ** 3
        c = np.where((a > 0.1) != (b <= 0.0), np.concatenate([a, b], axis=1)[:, 1:-3], -(a + b) * 0.5)
        d = a - c.sum(axis=0) / n + self.table[np.argmax(c, axis=1)][:, None]
        e = (d.max(axis=(0, 1)) - c.min()) * np.ones((1, n)) + np.arange(n)
        f = np.pad(np.broadcast_to(a[:1], (n, 4)), ((0, n), (0, 1))) + np.full_like(a, 0.25)[0, 0]
        return (
            d,
            {"not": "an array"},
            f,
            a.astype("float32") * 0.5,
            np.full_like(a, 0.25),
            (e, c[[0, 2, 1]], np.exp(-np.abs(b)) * np.ones((n, 4)), x[1:, ::-1]),
        )


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def rows(model: Any, shape: tuple[int, ...], dtype: str, n: int) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(n).normal(size=(n, *shape[1:])).astype(dtype)
    return drawn.astype(np.int64) % 3 if isinstance(model, nn.Embedding) else drawn


def in_dtype(made: Made, dtype: str) -> Any:
    """The same model at every call, with parameters of a dtype."""
    bp.manual_seed(0)
    bp.set_default_dtype(dtype)
    try:
        return made()
    finally:
        bp.set_default_dtype("float64")


def outputs_of(model: Any, x: Any) -> list[np.ndarray[Any, Any]]:
    def flat(y: Any) -> list[Any]:
        if isinstance(y, (tuple, list)):
            return [array for one in y for array in flat(one)]
        y = y.data if isinstance(y, bp.Tensor) else y
        return [np.asarray(y)] if isinstance(y, (np.ndarray, np.generic)) else []

    with bp.no_grad(), np.errstate(all="ignore"):
        return flat(model(x))


CASES: dict[str, tuple[Made, tuple[int, ...], str]] = {}
for _name, _shape in with_shapes((4, 3)):
    if _name != "Embedding":
        _made, _batch = LAYERS[_name], BATCHES.get(_name, _shape)
        CASES[f"{_name} {_batch}"] = (_made, _batch, "float64")
        CASES[f"{_name} {_batch} float32"] = (_made, _batch, "float32")
CASES["Embedding"] = (lambda: nn.Embedding(3, 2), (4, 5), "float64")
CASES["Every"] = (Every, (4, 3), "float64")
CASES["a net"] = (
    lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3), nn.Softmax()
    ),
    (2, 1, 6, 6),
    "float64",
)
BATCH_SIZES = {name: (3, 4, 9) if name == "Every" else (1, 2, 4, 9) for name in CASES}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all files gave, and what the models give: one process runs all the files."""
    folder = tmp_path_factory.mktemp("files")
    wanted: dict[str, dict[str, Any]] = {}
    for k, (name, (made, shape, dtype)) in enumerate(CASES.items()):
        model = in_dtype(made, dtype)
        batches = {f"{n} rows": rows(model, shape, dtype, n) for n in BATCH_SIZES[name]}
        write_numpy(model, batches["4 rows"], folder / f"file{k}.py")
        np.savez(folder / f"file{k}.npz", **batches)
        model.eval()
        wanted[name] = {f"{n} {j}": y for n, x in batches.items() for j, y in enumerate(outputs_of(model, x))}
    command = [sys.executable, "-I", "-c", ALONE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = {name: dict(np.load(folder / f"file{k}.out.npz")) for k, name in enumerate(CASES)}
    return {"found": found, "wanted": wanted}


@pytest.mark.parametrize("name", CASES)
def test_a_file_gives_what_the_model_gives(name: str, answers: dict[str, Any]) -> None:
    found, wanted = answers["found"][name], answers["wanted"][name]
    assert found.keys() == wanted.keys()
    for key, y in wanted.items():
        assert (found[key].shape, found[key].dtype) == (y.shape, y.dtype)
        tolerance = 1e-12 if y.dtype == np.float64 else 1e-6
        assert np.abs(found[key] - y).max(initial=0.0) <= tolerance * max(1.0, np.abs(y).max(initial=0.0)), key


class Row(nn.Module):
    """A row of the table, on inputs that are cut out of the first row of x."""

    def __init__(self, name: str, sample: Any) -> None:
        self.op, self.sample = getattr(ops, name), sample

    def forward(self, x: Any) -> Any:
        inputs, start = [], 0
        for given in self.sample.inputs:
            is_cut = isinstance(given, np.ndarray) and given.dtype.kind == "f"
            inputs.append(x[0, start : start + given.size].reshape(given.shape) if is_cut else given)
            start += given.size if is_cut else 0
        return self.op(*inputs, **self.sample.params)


# Rows whose function in ops takes other arguments than the row itself.
SPELLED_OTHERWISE = {"concatenate", "discrete", "einsum", "eigh", "qr", "slogdet", "svd"}
ROWS = {
    name: [sample for sample in samples.of(name) if len(sample.inputs)]
    for name in sorted({row.name for row in ops.TABLE} - SPELLED_OTHERWISE)
    if hasattr(ops, name)
}


def test_the_rows_of_the_table_are_there() -> None:
    assert len(ROWS) > 120


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_the_table_can_be_written(name: str) -> None:
    for sample in (ROWS[name][len(ROWS[name]) // 2], ROWS[name][-1]):
        cut = [x.ravel() for x in sample.inputs if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
        x = np.concatenate([*cut, np.ones(1)])[None].repeat(2, axis=0)
        model = Row(name, sample)
        found = loaded(numpy_source(model, x))["predict"](x)
        for given, wanted in zip(found if type(found) is tuple else (found,), outputs_of(model, x), strict=True):
            assert (np.shape(given), np.asarray(given).dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_allclose(given, wanted, rtol=1e-12, atol=1e-12, err_msg=repr(sample))


BRACKETS: dict[str, Callable[[Any], Any]] = {
    "nan": lambda x: np.where(x > 0.0, float("nan"), x),
    "a sign before a method": lambda x: (-x).max(axis=1) - (-x).min(),
    "a sign before a power": lambda x: np.exp(-((-x) ** 2)) + (-np.abs(x) - 1.0) ** 3.0,
    "a power of a power": lambda x: (np.exp(x) ** x) ** 2 + np.exp(x) ** (x**2) + (np.abs(x) ** 0.5) ** 3.5,
    "negative numbers": lambda x: (-2.0) ** np.round(x) - (x - -3.0) ** -1.5 * -2.0,
    "minus zero": lambda x: np.concatenate([np.full_like(x, -0.0), x], axis=1),
    "backwards from the first": lambda x: x[:, 0::-1] + x[:, 1::-2],
    "over the rows": lambda x: ops.std(x * 2.0, axis=0) + ops.softmax(x, 0),
}


@pytest.mark.parametrize("name", BRACKETS)
def test_what_binds_how_tightly(name: str) -> None:
    model, x = Called(BRACKETS[name]), np.random.default_rng(0).normal(size=(4, 3))
    known = loaded(numpy_source(model, x))
    for n in (1, 4, 6):
        rows = np.random.default_rng(n).normal(size=(n, 3))
        with np.errstate(all="ignore"):
            found = known["predict"](rows)
        (wanted,) = outputs_of(model, rows)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert (np.signbit(found) == np.signbit(wanted)).all()


def test_tensors_that_the_forward_makes_of_numbers_are_constants() -> None:
    class Beginning(nn.Module):
        def __init__(self) -> None:
            self.inner, self.gru, self.kept = nn.Linear(3, 2), nn.GRU(3, 2, batch_first=True), nn.Identity()

        def forward(self, x: Any) -> Any:
            state = self.gru(x[:, None], bp.zeros(1, len(x), 2))[1][0]
            return self.inner(bp.ones(3)) * x[:, :1] + state, self.kept(bp.full((2,), 0.5)), np.arange(3)

    bp.manual_seed(0)
    model, x = Beginning(), np.random.default_rng(0).normal(size=(4, 3))
    found = loaded(numpy_source(model, x))["predict"](x)
    for given, wanted in zip(found, outputs_of(model, x), strict=True):
        assert given.dtype == wanted.dtype
        np.testing.assert_allclose(given, wanted, rtol=1e-12)


# ---- how it reads -------------------------------------------------------------------------------------------------


def predict_in(text: str) -> str:
    """The function predict, without its first lines, which are about the shape."""
    body = text[text.index("def predict(x):") :].partition("\n\n\n")[0]
    return "\n".join(line.removeprefix("    ") for line in body.partition('a row a sample.")\n')[2].split("\n"))


def loaded(text: str) -> dict[str, Any]:
    known: dict[str, Any] = {"__name__": "model"}
    exec(text, known)
    return known


def classifier() -> Any:
    bp.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.Softmax())


def test_a_net_reads_as_if_written_by_hand() -> None:
    text = numpy_source(classifier(), np.ones((1, 4)))
    assert (
        predict_in(text)
        == """
# 0: Linear(in_features=4, out_features=3)
z1 = x @ W1.T + b1   # (n, 3)

# 1: Sigmoid()
a1 = sigmoid(z1)     # (n, 3)

# 2: Linear(in_features=3, out_features=2)
z2 = a1 @ W2.T + b2  # (n, 2)

# 3: Softmax(dim=-1)
a2 = softmax(z2)     # (n, 2)
return a2"""
    )
    assert (
        """

def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)

"""
        in text
    )
    assert text.startswith('''"""A model written out: a2 = predict(x), with NumPy and nothing else.

    Sequential(
      (0): Linear(in_features=4, out_features=3)
''')
    assert "\nW1  (3, 4)  float64\n" in text
    assert text.endswith('"""\nW1, b1, W2, b2 = load()\n\n\nif __name__ == "__main__":\n    main()\n')
    assert "Any" not in text


def test_layers_of_one_kind_share_a_function_and_modules_within_modules_are_named() -> None:
    block = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid())
    text = numpy_source(nn.Sequential(block, nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), block), np.ones((2, 2)))
    assert text.count("def sigmoid(z):") == 1
    assert "# 1.0: Linear(in_features=2, out_features=2)\nz2 = a1 @ W2.T + b2" in predict_in(text)
    assert "z3 = a2 @ W1.T + b1  # (n, 2)" in predict_in(text)  # the first again


def test_the_lines_of_a_residual_net_stand_under_the_module_that_has_them() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return F.relu(self.inner(2.0 * x)) + x

    text = predict_in(numpy_source(nn.Sequential(Residual(), nn.LayerNorm(3)), np.ones((1, 3))))
    assert text.startswith("""
# 0: Residual
multiply = x * 2.0  """)
    assert "\n# 0.inner: Linear(in_features=3, out_features=3)\nz1 = multiply @ W1.T + b1  " in text
    assert text.count("\n# 0: Residual\n") == 2
    assert "\na1 = np.maximum(z1, 0.0)  " in text
    assert "\nresidual = a1 + x  " in text


def test_numbers_of_rows_are_n_and_long_lines_are_cut() -> None:
    text = predict_in(numpy_source(Attending(), np.ones((1, 3, 8))))
    assert "n = len(x)" in text
    assert "z1.reshape(n, 3, 2, 4).transpose(0, 2, 1, 3)" in text
    assert max(len(line.partition("  # ")[0]) for line in text.split("\n")) <= 100


class Attending(nn.Module):
    def __init__(self) -> None:
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.attention(x, x, x)[0]


def test_the_same_model_gives_the_same_bytes() -> None:
    assert numpy_source(classifier(), np.ones((1, 4))) == numpy_source(classifier(), np.zeros((3, 4)))


def test_a_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[0].eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    bp.manual_seed(1)
    drawn = bp.random.generator().bit_generator.state
    numpy_source(model, np.ones((2, 2)))
    assert [module.training for module in model.modules()] == [True, False, True, True]
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert bp.random.generator().bit_generator.state == drawn
    with pytest.raises(ValueError, match="linear"):
        numpy_source(model, np.ones((2, 3)))
    assert [module.training for module in model.modules()] == [True, False, True, True]


# ---- what goes in and out -----------------------------------------------------------------------------------------


def test_rows_of_another_shape_are_refused_by_the_file() -> None:
    predict = loaded(numpy_source(classifier(), np.ones((1, 4))))["predict"]
    with pytest.raises(ValueError, match=r"predict: x has shape \(2, 5\)\. Pass \(n, 4\), a row a sample\."):
        predict(np.ones((2, 5)))
    assert predict([[1, 2, 3, 4]]).shape == (1, 2)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_scaling_is_part_of_the_file(shape: tuple[int, ...], dtype: str) -> None:
    model = in_dtype(lambda: nn.Sequential(nn.Flatten(), classifier()), dtype)
    mean, scale = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 1.0, 2.0, 4.0])
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(dtype)
    raw = np.asarray(x, np.float64).reshape(5, 4) * scale + mean
    known = loaded(numpy_source(model, x, mean=mean.reshape(shape), scale=scale))
    found = known["predict"](raw.reshape(x.shape))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, model(x).data, rtol=1e-12 if dtype == "float64" else 1e-5)
    one: list[dict[str, Any]] = [{"mean": mean}, {"scale": scale}]
    for given in one:
        predict = loaded(numpy_source(model, x, **given))["predict"]
        wanted = model(((raw - given.get("mean", 0)) / given.get("scale", 1)).reshape(x.shape).astype(dtype)).data
        np.testing.assert_allclose(predict(raw.reshape(x.shape)), wanted, rtol=1e-12 if dtype == "float64" else 1e-4)


def test_numbers_are_scaled_before_they_are_rounded() -> None:
    model = in_dtype(lambda: nn.Linear(2, 2), "float32")
    x = np.array([[1.0, -1.0], [0.5, 0.0]], np.float32)
    predict = loaded(numpy_source(model, x, mean=[1e9, -1e9], scale=[1.0, 2.0]))["predict"]
    raw = np.asarray(x, np.float64) * [1.0, 2.0] + [1e9, -1e9]
    np.testing.assert_allclose(predict(raw), model(x).data, rtol=1e-5)


def test_a_classifier_says_the_class() -> None:
    model, x = classifier(), np.random.default_rng(0).normal(size=(20, 4))
    known = loaded(numpy_source(model, x, metadata={"classes": ["no", "\"\u00fc'"]}))
    assert known["CLASSES"] == ("no", "\"\u00fc'")
    assert known["classify"](x) == [known["CLASSES"][k] for k in model(x).data.argmax(axis=1)]
    column = nn.Sequential(nn.Linear(4, 1))
    for threshold in (0.0, 0.5):
        known = loaded(numpy_source(column, x, metadata={"classes": ["no", "yes"], "threshold": threshold}))
        assert known["classify"](x) == [["no", "yes"][int(y > threshold)] for (y,) in column(x).data]
    known = loaded(numpy_source(nn.Linear(4, 3), x, metadata={"classes": ["no", "yes"]}))
    assert known["CLASSES"] == ("no", "yes", "2")  # more outputs than classes
    assert "classify" not in loaded(numpy_source(nn.Linear(4, 3), x))


def run(text: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the program exits with, None for 0."""
    monkeypatch.setattr(sys, "argv", ["model.py", *arguments])
    try:
        exec(text, {"__name__": "__main__"})
    except SystemExit as stop:
        return stop.code
    return None


def test_as_a_program_it_predicts_the_rows_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model, x = nn.Linear(2, 2), np.array([[0.5, 1.0], [2.0, 3.0], [0.25, 7.0]])
    wanted = "".join(f"{a!r},{b!r}\n" for a, b in model(x).data.tolist())
    np.save("rows.npy", x)
    lines = [",".join(map(str, row)) for row in x.tolist()]
    Path("rows.csv").write_text("\n".join(["left,right", *lines, ""]), "utf-8")
    Path("counted.csv").write_text("\n".join(["0,1", *lines, ""]), "utf-8")
    Path("target.csv").write_text("\n".join(["left,kind,right", *(line.replace(",", ",?,") for line in lines)]))
    Path("pixels.csv").write_text("\n".join(["1x1,1x2", *lines]))
    Path("tabs.csv").write_text("\n".join(["left\t right", *lines]).replace(",", "\t"))
    Path("semicolons.csv").write_text("\r".join(['"left, or not"; "right"', *lines]).replace(",", ";"), "utf-8-sig")
    plain = numpy_source(model, x)
    for file in ("rows.npy", "rows.csv", "counted.csv", "pixels.csv", "tabs.csv", "semicolons.csv"):
        assert run(plain, file, monkeypatch=monkeypatch) is None
        assert capsys.readouterr().out == wanted
    text = numpy_source(model, x, metadata={"target": ["kind"]})
    assert run(text, "target.csv", monkeypatch=monkeypatch) is None
    assert capsys.readouterr().out == wanted
    Path("rows.csv").write_text("\n".join(lines))
    assert "the first line is numbers" in run(plain, "rows.csv", monkeypatch=monkeypatch)
    assert "row 1, column 'kind' is '?', no fin" in run(plain, "target.csv", monkeypatch=monkeypatch)
    for file, message in [
        ("a,b,c,d\n1,2,3,4\n5,6,7,8\n", "cannot reshape array of size 8 into shape (2,2)"),
        ("a,b\n1,2\n3\n", "row 2 has 1 cells, but there are 2 names."),
        ("a,b,c\n1,2\n", "row 1 has 2 cells, but there are 3 names."),
        ("a,a\n1,2\n", "two columns have the same name."),
        ("a,b\n", "there are no rows. Give a line of names, then the rows."),
        ("", "there are no rows. Give a line of names, then the rows."),
        ("1e3,1.5\n1,2\n", "the first line is numbers. Give a line of names first."),
        (f"a,b\n1,{'2' * 200_000}\n", "field larger than field limit"),
        ("a,b\n1,2\n1,nan\n", "row 2, column 'b' is 'nan', no finite number."),
        ("a,b\n1,\n", "row 1, column 'b' is '', no finite number."),
        ("a,b\n1_000,2\n", "row 1, column 'a' is '1_000', no finite number."),
        ("a,b\n\u0661,2\n", "row 1, column 'a' is '\u0661', no finite number."),
    ]:
        Path("rows.csv").write_text(file)
        assert message in run(plain, "rows.csv", monkeypatch=monkeypatch)
    Path("rows.csv").write_text("left,kind,right\n1,?\n")
    assert run(text, "rows.csv", monkeypatch=monkeypatch) == "rows.csv: row 1 has 2 cells, but there are 3 names."
    Path("none.npy").touch()
    assert "none.npy: No data left in file" in run(plain, "none.npy", monkeypatch=monkeypatch)
    assert "none.csv" in run(plain, "none.csv", monkeypatch=monkeypatch)
    assert run(plain, monkeypatch=monkeypatch) == "usage: python model.py rows.npy|rows.csv"


def test_columns_are_found_by_their_names_and_text_becomes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bp.manual_seed(0)
    model = nn.Linear(5, 2)
    places = ["a=ge", "kind=cat", "kind=b=c", "ki=nd=1", "ki=nd=2"]
    categories = {"kind": ["cat", "b=c"], "ki=nd": ["1", "2"]}
    columns = {"columns": places, "categories": categories, "classes": ["no", "yes"]}
    text = numpy_source(model, np.ones((1, 5)), metadata=columns)
    x = np.array([[4.0, 0.0, 1.0, 1.0, 0.0], [7.0, 1.0, 0.0, 0.0, 1.0]])
    Path("rows.csv").write_text("kind=cat,kind,a=ge,ki=nd\n1, b=c,4,1\n\n0,cat,7, 2\n", "utf-8-sig")
    np.testing.assert_array_equal(loaded(text)["read"]("rows.csv"), x)
    assert run(text, "rows.csv", monkeypatch=monkeypatch) is None
    assert capsys.readouterr().out.split() == [["no", "yes"][k] for k in model(x).data.argmax(axis=1)]
    for file, message in [
        ("kind,ki=nd,a=ge\ncow,1,4\n", "kind is 'cow'. Known are ('cat', 'b=c')."),
        ("kind,ki=nd\ncat,1\n", "there is no column 'a=ge'."),
        ("a=ge,ki=nd\n4,1\n", "there is no column 'kind'."),
        ("kind,ki=nd,a=ge\ncat,1,inf\n", "row 1, column 'a=ge' is 'inf', no finite number."),
    ]:
        Path("rows.csv").write_text(file)
        assert run(text, "rows.csv", monkeypatch=monkeypatch) == f"rows.csv: {message}"
    text = numpy_source(model, np.ones((1, 5)), metadata={"columns": places})  # all of them numbers
    Path("rows.csv").write_text(",".join(places[::-1]) + "\n5,4,3,2,1\n")
    assert loaded(text)["read"]("rows.csv").tolist() == [[1, 2, 3, 4, 5]]
    Path("rows.csv").write_text("kind,a=ge\ncat,1\n")
    assert run(text, "rows.csv", monkeypatch=monkeypatch) == "rows.csv: there is no column 'kind=cat'."


def test_text_of_any_kind_leaves_the_file_ascii(tmp_path: Path) -> None:
    odd = ["\u00fc", "a\\b", '"""', "line\nbreak", "\U0001f600"]
    write_numpy(
        nn.Linear(5, 5), np.ones((1, 5)), tmp_path / "m.py", metadata={"classes": odd, "columns": odd, "by": odd}
    )
    text = (tmp_path / "m.py").read_text("ascii")
    assert list(loaded(text)["CLASSES"]) == list(loaded(text)["COLUMNS"]) == odd
    many = [f"pixel {k}" for k in range(784)]
    text = numpy_source(nn.Linear(784, 1), np.ones((1, 784)), metadata={"columns": many})
    assert list(loaded(text)["COLUMNS"]) == many
    assert max(map(len, text.split("\n"))) <= 120


def test_bad_tokens_are_refused_by_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = numpy_source(nn.Embedding(3, 2), np.zeros((1, 4), int))
    np.save(tmp_path / "rows.npy", np.full((2, 4), 3))
    assert "embedding: input 3" in run(text, str(tmp_path / "rows.npy"), monkeypatch=monkeypatch)


def test_numbers_that_are_not_whole_are_refused_where_the_model_takes_integers() -> None:
    model = nn.Embedding(3, 2)
    predict = loaded(numpy_source(model, np.zeros((1, 4), int)))["predict"]
    rows = [[0.0, 2.0, 1.0, 0.0]]
    assert (predict(rows) == model(np.array(rows, int)).data).all()
    with pytest.raises(ValueError, match=r"predict: x holds numbers that int64 has not\. Pass whole numbers\."):
        predict(np.array([[0.0, 1.5, 1.0, 0.0]]))


NAMES = "file allow_pickle table numbers read cells predict np csv PLACES lambda sum sigmoid x z n exp a1 load z1"


@pytest.mark.parametrize("name", NAMES.split())
def test_a_tensor_may_have_any_name(name: str, tmp_path: Path) -> None:
    """Also one that means something in the file, in Python, or to NumPy."""

    class Named(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.sigmoid(x @ getattr(self, name)) * len(x) + np.exp(x).sum()

    model = Named()
    setattr(model, name, nn.Parameter(np.array([[1.0, 2.0], [3.0, 4.0]])))
    known = loaded(numpy_source(model, np.ones((1, 2)), metadata={"columns": ["a", "b=c"], "categories": {"b": "c"}}))
    (tmp_path / "rows.csv").write_text("b,a\nc,0.25\nc,-1\n")
    x = known["read"](str(tmp_path / "rows.csv"))
    np.testing.assert_allclose(known["predict"](x), model(x).data, rtol=1e-12)
    assert x.tolist() == [[0.25, 1.0], [-1.0, 1.0]]


# ---- what is refused ----------------------------------------------------------------------------------------------


class Drawing(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + bp.random.generator().normal(size=(3,))


class Counting(nn.Module):
    def __init__(self) -> None:
        self.count = bp.Tensor(np.zeros(()))

    def forward(self, x: Any) -> Any:
        self.count.data += 1.0
        return x * self.count


def caught(x: Any) -> Any:
    try:
        return x * float(x.sum())
    except RuntimeError:
        return x


REFUSED = {
    "numbers": (lambda x: x if x.sum() > 0 else -x, r"export: line \d+ of .* needs the numbers in an array"),
    "numbers that it tries to get": (caught, r"export: line \d+ of .* needs the numbers in an array"),
    "a loop": (
        lambda x: sum(np.exp(row) for row in x),
        r"export: Called \(0\) does other things for 5 rows than for 7",
    ),
    "other operations": (
        lambda x: (np.sin if len(x) < 6 else np.cos)(x),
        r"export: Called \(0\) does other things for 5 rows than for 7",
    ),
    "another dtype": (
        lambda x: x.astype("float32" if len(x) < 6 else "float64"),
        r"export: Called \(0\) does other things for 5 rows than for 7",
    ),
    "another operand": (
        lambda x: (a := np.sin(x)) * (b := np.cos(x)) + (a if len(x) < 6 else b),
        r"export: Called \(0\) does other things for 5 rows than for 7",
    ),
    "the root": (lambda x: x * len(x) ** 0.5, r"export: Called \(0\) does other things for 5 rows than for 7"),
    "the square": (lambda x: x * len(x) ** 2, r"export: the model does other things for 1 rows than for 5 and 7"),
    "a grid": (lambda x: x + np.linspace(0.0, 1.0, len(x))[:, None], r"export: Called \(0\) does other things"),
    "few rows": (lambda x: x if len(x) < 10 else 2 * x, r"export: the model does other things for 11 rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_file_cannot_say_is_refused_with_its_module(name: str, tmp_path: Path) -> None:
    function, message = REFUSED[name]
    (tmp_path / "model.py").write_text("before")
    with pytest.raises(ValueError, match=message):
        write_numpy(nn.Sequential(Called(function), nn.Linear(3, 2)), np.ones((2, 3)), tmp_path / "model.py")
    assert (tmp_path / "model.py").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]


def test_randomness_and_writing_in_eval_mode_are_refused() -> None:
    with pytest.raises(ValueError, match=r"export: Drawing \(1\) draws random numbers in eval mode\. Let it draw only"):
        numpy_source(nn.Sequential(nn.Linear(3, 3), Drawing()), np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"export: Counting writes into a tensor in eval mode\. Let it write only"):
        numpy_source(Counting(), np.ones((1, 3)))


def test_a_number_of_outputs_that_follows_the_rows_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"export: Called returns other things for other numbers of rows\. Let it not\."
    ):
        numpy_source(Called(lambda x: (x,) * len(x)), np.ones((1, 3)))


def test_arguments_that_do_not_fit_are_refused() -> None:
    model, x = nn.Linear(3, 2), np.ones((1, 3))
    with pytest.raises(TypeError, match=r"export: the model is a function\. Pass a Module\."):
        numpy_source(outputs_of, x)  # type: ignore[arg-type]
    for empty in (np.ones((0, 3)), 1.0):
        with pytest.raises(ValueError, match=r"export: x has shape \(.*\), no rows\. Pass some rows"):
            numpy_source(model, empty)
    with pytest.raises(ValueError, match=r"export: mean has shape \(2,\), a row of x 3 numbers\. Pass one for each\."):
        numpy_source(model, x, mean=[1.0, 2.0])
    with pytest.raises(TypeError, match=r"export: x is int64, and only floats are scaled\. Pass floats, or no mean"):
        numpy_source(nn.Embedding(2, 2), np.zeros((1, 3), int), scale=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"export: 2 columns, but a row of x has 3\. Name them all\."):
        numpy_source(model, x, metadata={"columns": ["a", "b"]})
    with pytest.raises(ValueError, match=r"export: two columns are named 'b'\. Name them differently\."):
        numpy_source(model, x, metadata={"columns": ["a", "b", "b"]})
    for output in ({"y": x}, None, ()):
        with pytest.raises(TypeError, match=rf"export: the model returns a {type(output).__name__}\. Return a Tensor"):
            numpy_source(Called(lambda x, output=output: output), x)
    with pytest.raises(ValueError, match=r"export: 3 classes, but the model gives \(n, 2\)\. Name as many\."):
        numpy_source(model, x, metadata={"classes": ["a", "b", "c"]})


def test_export_chooses_by_the_suffix(tmp_path: Path) -> None:
    bp.export(nn.Linear(3, 2), bp.ones(2, 3), tmp_path / "net.PY", metadata={"author": "somebody"})
    assert "\nauthor: somebody\n" in (tmp_path / "net.PY").read_text()
    with pytest.raises(ValueError, match=r"export: .*net\.pt ends in '\.pt'\. Name a file \.onnx or \.py\."):
        bp.export(nn.Linear(3, 2), bp.ones(2, 3), tmp_path / "net.pt")
