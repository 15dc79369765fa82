"""The data sets a document can name: their parts, their targets, and that nothing is learnt from rows held out."""

from __future__ import annotations

import inspect
import logging
import re
from pathlib import Path
from typing import Literal, get_type_hints

import numpy as np
import pytest

from tinygrad_bp.data import datasets, generated, train_test_split, train_validation_test_split
from tinygrad_bp.data.sources import SOURCES, Parts, csv, digits, mnist, moons, npz, spirals, xor

CLASSES = Literal["labels", "one-hot", "binary"]
TARGETS = Literal["labels", "one-hot", "binary", "numbers"]
FLOATS = Literal["float32", "float64"]

PARTS = {"validation": (float, 0.1), "test": (float, 0.2)}
REST = {"targets": (CLASSES, "labels"), "dtype": (FLOATS | None, None), "seed": (int, inspect.Parameter.empty)}
FILE = {"path": (str, inspect.Parameter.empty)}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("digits", PARTS | REST),
        ("mnist", {"folder": (str | None, None)} | REST),
        (
            "csv",
            FILE
            | {"target": (str | list[str], inspect.Parameter.empty), "features": (list[str] | None, None)}
            | {"scale": (bool, True), "targets": (TARGETS, "labels")}
            | PARTS
            | REST
            | {"targets": (TARGETS, "labels")},
        ),
        (
            "npz",
            FILE
            | {"x": (str, "X"), "y": (str, "y"), "scale": (bool, False), "targets": (TARGETS, "labels")}
            | PARTS
            | REST
            | {"targets": (TARGETS, "labels"), "dtype": (Literal["float32", "float64", "int64"] | None, None)},
        ),
        ("moons", {"n": (int, 200), "noise": (float, 0.1)} | PARTS | REST),
        ("spirals", {"n": (int, 300), "classes": (int, 3), "noise": (float, 0.2)} | PARTS | REST),
        ("xor", {"n": (int, 200), "noise": (float, 0.1)} | PARTS | REST),
    ],
)
def test_the_signatures_are_the_keys_of_a_document(name, arguments):
    hints = get_type_hints(SOURCES[name])
    assert hints.pop("return") is Parts
    found = inspect.signature(SOURCES[name]).parameters
    assert {key: (hints[key], found[key].default) for key in found} == arguments
    assert list(found)[-1] == "seed"
    assert found["seed"].kind is inspect.Parameter.KEYWORD_ONLY


def same(parts: Parts, others: Parts) -> bool:
    pairs = zip(
        (parts.train, parts.validation, parts.test), (others.train, others.validation, others.test), strict=True
    )
    return all(np.array_equal(a, b) for part, other in pairs for a, b in zip(part, other, strict=True))


@pytest.mark.parametrize("source", [digits, moons, spirals, xor])
def test_the_seed_decides_everything(source):
    assert same(source(seed=3), source(seed=3))
    assert not same(source(seed=3), source(seed=4))


# ---- arrays -------------------------------------------------------------------------------------------------------


def test_digits_are_shared_out():
    parts = digits(seed=5)
    assert (parts.train[0].shape, parts.train[0].dtype, parts.train[1].dtype) == ((1257, 64), np.float64, np.int64)
    assert (len(parts.validation[1]), len(parts.test[1])) == (180, 360)
    assert parts.columns.classes == tuple("0123456789")
    assert (parts.columns.features, parts.columns.shape) == (None, (64,))
    wanted = train_validation_test_split(*datasets.digits(), seed=5)
    assert same(parts, Parts(*wanted, parts.columns))


def test_a_part_of_nothing_is_none():
    parts = digits(validation=0.0, seed=5)
    X_train, X_test, y_train, y_test = train_test_split(*datasets.digits(), seed=5)
    assert parts.validation is None
    assert np.array_equal(parts.train[0], X_train)
    assert np.array_equal(parts.train[1], y_train)
    assert np.array_equal(parts.test[0], X_test)
    assert np.array_equal(parts.test[1], y_test)
    everything = digits(validation=0.0, test=0.0, seed=5)
    assert (everything.validation, everything.test, len(everything.train[0])) == (None, None, 1797)


def test_targets_and_dtypes():
    labels = digits(seed=0).train[1]
    hot = digits(targets="one-hot", dtype="float32", seed=0).train
    assert (hot[0].dtype, hot[1].dtype) == (np.float32, np.float32)
    assert np.array_equal(hot[1], np.eye(10)[labels])
    column = xor(targets="binary", seed=0).train[1]
    assert (column.shape, column.dtype) == ((140, 1), np.float64)
    assert np.array_equal(column[:, 0], xor(seed=0).train[1])


@pytest.mark.parametrize(
    ("source", "make", "arguments"),
    [
        (moons, generated.moons, {"n": 50, "noise": 0.3}),
        (spirals, generated.spirals, {"n": 50, "classes": 4, "noise": 0.3}),
        (xor, generated.xor, {"n": 50, "noise": 0.3}),
    ],
)
def test_generated_points_are_shared_out(source, make, arguments):
    parts = source(**arguments, seed=7)
    X, y = make(**arguments, seed=7)
    found = np.concatenate([np.column_stack(pair) for pair in (parts.train, parts.validation, parts.test)])
    rows = np.column_stack([X, y])
    assert np.array_equal(found[np.lexsort(found.T)], rows[np.lexsort(rows.T)])
    assert len(parts.test[0]) == 10
    alike = train_validation_test_split(X, y, seed=7)  # the split has a seed of its own
    assert not same(parts, Parts(*alike, parts.columns))


def test_mnist_has_its_own_parts(monkeypatch):
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 256, (n, 784)).astype("f4") / 256, np.arange(n) % 10) for n in (30, 20, 10)]
    monkeypatch.setattr(datasets, "mnist", lambda folder: datasets.Mnist(*pairs) if folder == "here" else None)
    parts = mnist("here", seed=0)
    for (X, y), (wanted, labels) in zip((parts.train, parts.validation, parts.test), pairs, strict=True):
        assert (X.dtype, y.dtype) == (np.float32, np.int64)  # its own dtype
        assert np.array_equal(X, wanted)
        assert np.array_equal(y, labels)
    assert mnist("here", targets="one-hot", seed=0).test[1].dtype == np.float32
    assert mnist("here", dtype="float64", seed=0).test[0].dtype == np.float64
    assert mnist("here", dtype="float64", targets="one-hot", seed=0).test[1].shape == (10, 10)
    with pytest.raises(ValueError, match=r'^mnist: targets = "binary" takes two classes, .y. has 10: .*one-hot"\.$'):
        mnist("here", targets="binary", seed=0)


def test_rows_of_a_file_for_a_data_set_in_the_package(tmp_path):
    parts = moons(n=50, seed=0)
    X, y = parts.test
    rows = "".join(f"{label},{a!r},{b!r}\n" for (a, b), label in zip(X.tolist(), y))
    (tmp_path / "new.csv").write_text("y,a,b\n" + rows)
    found = parts.columns.read_pair(tmp_path / "new.csv")
    assert np.array_equal(found[0], X)
    assert np.array_equal(found[1], y)


# ---- .csv ---------------------------------------------------------------------------------------------------------

SIZES = np.random.default_rng(1).normal(20.0, 5.0, 60)


@pytest.fixture
def flowers(tmp_path) -> Path:
    """60 rows: two numbers, a colour, the kind, a price."""
    path = tmp_path / "flowers.csv"
    lines = ["size;colour;kind;price;constant"]
    for k, size in enumerate(SIZES.tolist()):
        lines.append(f"{size!r};{('red', 'blue')[k % 2]};{('iris', 'rose', 'aster')[k % 3]};{k + 0.5};7")
    path.write_text("\n".join(lines))
    return path


def test_a_csv_of_classes(flowers):
    parts = csv(flowers, "kind", seed=0)
    X, y = parts.train
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((42, 5), np.float64, (42,), np.int64)
    assert (len(parts.validation[0]), len(parts.test[0])) == (6, 12)
    assert np.bincount(parts.test[1]).tolist() == [4, 4, 4]
    columns = parts.columns
    assert columns.classes == ("aster", "iris", "rose")
    assert columns.features == ("size", "colour", "price", "constant")
    assert columns.categories == {"colour": ("blue", "red")}
    assert np.allclose(X[:, [0, 3]].mean(axis=0), 0.0, atol=1e-14)
    assert np.allclose(X[:, [0, 3]].std(axis=0), 1.0, atol=1e-14)
    assert (X[:, 4] == 0.0).all()
    assert set(map(tuple, X[:, 1:3])) == {(0.0, 1.0), (1.0, 0.0)}


def test_the_parts_are_the_rows_of_the_file(flowers):
    parts = csv(flowers, "kind", seed=0)
    X, y = parts.columns.read_pair(flowers)
    found = np.concatenate([np.column_stack(pair) for pair in (parts.train, parts.validation, parts.test)])
    rows = np.column_stack([X, y])
    assert np.array_equal(found[np.lexsort(found.T)], rows[np.lexsort(rows.T)])


def test_a_csv_unscaled_of_some_features(flowers):
    parts = csv(flowers, "kind", features=["price", "size"], scale=False, validation=0.0, test=0.0, seed=0)
    X = parts.train[0]
    order = np.argsort(X[:, 0])
    assert np.array_equal(X[order], np.column_stack([np.arange(60) + 0.5, SIZES]))
    assert parts.columns.mean is None


def test_regression(flowers):
    parts = csv(flowers, ["price", "size"], features=["colour"], targets="numbers", dtype="float32", seed=0)
    assert (parts.train[0].shape, parts.train[1].shape) == ((42, 2), (42, 2))
    assert (parts.train[1].dtype, parts.columns.classes) == (np.float32, None)
    one = csv(flowers, "price", targets="numbers", seed=0)
    assert one.train[1].shape == (42, 1)
    everything = np.concatenate([one.train[1], one.validation[1], one.test[1]])
    assert sorted(everything[:, 0]) == [k + 0.5 for k in range(60)]


@pytest.mark.parametrize("targets", ["labels", "numbers"])
def test_rows_held_out_change_nothing_in_the_training_part(flowers, tmp_path, targets):
    target = "kind" if targets == "labels" else "price"
    parts = csv(flowers, target, targets=targets, seed=0)
    names, *rows = [line.split(";") for line in flowers.read_text().split("\n")]
    column = parts.columns.read(flowers)
    trained = {tuple(row) for row in parts.train[0]}
    held_out = [k for k, row in enumerate(column) if tuple(row) not in trained]
    assert len(held_out) == 18
    for k in held_out:
        rows[k][0] = repr(float(rows[k][0]) * 1000.0)
        rows[k][4] = "8"
    changed = tmp_path / "changed.csv"
    changed.write_text("\n".join(";".join(row) for row in [names, *rows]))
    others = csv(changed, target, targets=targets, seed=0)
    assert np.array_equal(others.train[0], parts.train[0])
    assert np.array_equal(others.train[1], parts.train[1])
    assert others.columns.to_dict() == parts.columns.to_dict()
    assert not np.array_equal(others.test[0], parts.test[0])


def test_a_category_of_rows_held_out_only(tmp_path, caplog):
    path = tmp_path / "a.csv"
    order = train_validation_test_split(np.arange(40), np.arange(40) % 2, seed=0)
    first, *_, last = sorted([order[1][0][0], *order[2][0]])
    rows = [[("blue", "red")[k // 2 % 2], str(k), str(k % 2)] for k in range(40)]

    def parts(*held_out: tuple[int, str]) -> Parts:
        for row, colour in held_out:
            rows[row][0] = colour
        path.write_text("\n".join(["colour,size,y", *map(",".join, rows)]))
        return csv(path, "y", seed=0)

    before = parts()
    assert caplog.messages == []
    one = parts((first, "green"))
    two = parts((last, "grey"))
    end = "held out, and in none to train on: taken as none of the known ones."
    assert caplog.record_tuples == [
        ("tinygrad_bp", logging.WARNING, f"{path}: column 'colour' is 'green' in 1 row {end}"),
        ("tinygrad_bp", logging.WARNING, f"{path}: column 'colour' is 'green', 'grey' in 2 rows {end}"),
    ]
    for after in (one, two):
        assert np.array_equal(after.train[0], before.train[0])  # nothing is learnt from them
        assert after.columns.to_dict() == before.columns.to_dict()
    mean, std = before.columns.mean[2], before.columns.std[2]
    strange = [row for X, _ in (two.validation, two.test) for row in X if not row[:2].any()]
    assert sorted(row[2] * std + mean for row in strange) == pytest.approx([first, last])
    message = f"{path}: line {first + 2}, column 'colour' is 'green', a category that no training row has."
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        two.columns.read(path)  # a file read later


def test_what_is_a_number_is_decided_by_the_whole_file(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{k % 2},{k % 2}" for k in range(20)]
    seen = set()
    for row in range(20):
        path.write_text("\n".join(["code,y", *rows[:row], f"many,{row % 2}", *rows[row + 1 :]]))
        seen.add(csv(path, "y", seed=0).columns.categories["code"])
    assert seen == {("0", "1"), ("0", "1", "many")}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "kin"}, ValueError, "{path}: there is no column 'kin'. Did you mean 'kind'?"),
        ({"features": ["sice"]}, ValueError, "{path}: there is no column 'sice'. Did you mean 'size'?"),
        (
            {"features": ["size", "size"]},
            ValueError,
            "csv: features is \"['size', 'size']\". Give at least one name, and ",
        ),
        ({"features": []}, ValueError, "csv: features is '[]'. Give at least one name, and each once."),
        ({"features": "size"}, TypeError, "csv: features is 'size', a str. Give a list of names."),
        ({"features": ["kind"]}, ValueError, "csv: 'kind' is the target and in features. Leave it out of features."),
        ({"target": 3}, TypeError, "csv: target is '3', a int. Give a list of names."),
        (
            {"target": ["kind", "colour"]},
            ValueError,
            "csv: target is 'kind', 'colour'. Give one column of classes, or set targets = \"numbers\".",
        ),
        (
            {"target": "price"},
            ValueError,
            "{path}: line 2, column 'price' is '0.5', no label. Set targets = \"numbers\"",
        ),
        ({"target": "constant"}, ValueError, "{path}: the target 'constant' is '7' in all 60 rows. Give rows of two"),
        (
            {"targets": "numbers"},
            ValueError,
            "{path}: line 2, column 'kind' is 'iris', where a number is expected. Correct it.",
        ),
        (
            {"targets": "binary"},
            ValueError,
            "{path}: targets = \"binary\" takes two classes, 'kind' has 3: 'aster', 'iris', 'rose'. Set targets = ",
        ),
        ({"targets": "label"}, ValueError, "csv: targets is 'label'. Did you mean 'labels'?"),
        ({"dtype": "int64"}, ValueError, "csv: dtype is 'int64'. Choose from 'float32', 'float64'."),
        ({"dtype": "float16"}, ValueError, "csv: dtype is 'float16'. Did you mean 'float64'?"),
        (
            {"dtype": np.dtype("float32")},
            TypeError,
            "csv: dtype is dtype('float32'), a Float32DType. Give one of 'float32', 'float64'.",
        ),
        (
            {"targets": None},
            TypeError,
            "csv: targets is None, a NoneType. Give one of 'labels', 'one-hot', 'binary', 'numbers'.",
        ),
        ({"test": 1.5}, ValueError, "train_validation_test_split: test is 1.5."),
        ({"seed": -1}, ValueError, "train_validation_test_split: seed is -1, which is negative."),
        ({"path": 5}, TypeError, "data: the path is 5, a int."),
    ],
)
def test_arguments_that_cannot_be(flowers, arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(message.format(path=flowers))):
        csv(**{"path": flowers, "target": "kind", "seed": 0} | arguments)


# ---- .npz ---------------------------------------------------------------------------------------------------------


def test_an_npz_of_pictures(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 255, (40, 1, 3, 3)).astype(np.uint8), np.array(["cat", "dog"])[np.arange(40) % 2]
    np.savez_compressed(tmp_path / "a.npz", pictures=X, animals=y)
    parts = npz(tmp_path / "a.npz", x="pictures", y="animals", targets="binary", seed=0)
    assert (parts.train[0].shape, parts.train[0].dtype, parts.train[1].shape) == ((28, 1, 3, 3), np.float64, (28, 1))
    assert parts.columns.classes == ("cat", "dog")
    assert parts.columns.arrays == ("pictures", "animals")
    found, targets = parts.columns.read_pair(tmp_path / "a.npz")
    assert np.array_equal(found, X)
    assert np.array_equal(targets[:, 0], np.arange(40) % 2)


def test_an_npz_is_scaled_by_its_training_rows(tmp_path):
    X = np.random.default_rng(0).normal(3.0, 2.0, (40, 2, 3))
    X[:, 1, 1] = 5.0
    np.savez(tmp_path / "a.npz", X=X, y=X[:, 0, 0])
    parts = npz(tmp_path / "a.npz", scale=True, targets="numbers", seed=0)
    assert (parts.train[0].shape, parts.train[1].shape) == ((28, 2, 3), (28, 1))
    assert np.allclose(parts.train[0].mean(axis=0), 0.0, atol=1e-14)
    assert np.allclose(np.delete(parts.train[0].std(axis=0), 4), 1.0)
    rows = np.isin(X[:, 0, 0], parts.train[1])
    X[~rows] *= 1000.0
    np.savez(tmp_path / "b.npz", X=X, y=X[:, 0, 0])
    others = npz(tmp_path / "b.npz", scale=True, targets="numbers", seed=0)
    assert np.array_equal(others.train[0], parts.train[0])
    assert not np.array_equal(others.test[0], parts.test[0])


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
def test_an_autoencoder_has_its_inputs_as_targets(tmp_path, shape):
    A = np.random.default_rng(0).random((40, *shape)).astype(np.float32)
    np.savez(tmp_path / "a.npz", A=A)
    parts = npz(tmp_path / "a.npz", x="A", y="A", targets="numbers", dtype="float32", seed=0)
    for X, y in (parts.train, parts.validation, parts.test):
        assert (y.shape, y.dtype) == ((len(X), *shape), np.float32)
        assert np.array_equal(X, y)
    scaled = npz(tmp_path / "a.npz", x="A", y="A", targets="numbers", dtype="float32", scale=True, seed=0)
    assert np.array_equal(scaled.train[1], parts.train[0])
    assert not np.array_equal(scaled.train[0], parts.train[0])


def test_tokens_stay_whole_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.arange(40).reshape(20, 2), y=np.arange(20) % 2)
    parts = npz(tmp_path / "a.npz", dtype="int64", seed=0)
    assert (parts.train[0].dtype, parts.train[1].dtype) == (np.int64, np.int64)
    np.savez(tmp_path / "a.npz", X=np.arange(20).reshape(20, 1) + 2**53, y=np.arange(20) % 2)
    parts = npz(tmp_path / "a.npz", dtype="int64", validation=0.0, test=0.0, seed=0)  # float64 has only the even ones
    assert np.array_equal(np.sort(parts.train[0][:, 0]), np.arange(20) + 2**53)


@pytest.mark.parametrize(
    ("arrays", "arguments", "error", "message"),
    [
        (
            {"X": np.ones(4), "y": [0, 1, 0, 1]},
            {},
            ValueError,
            "{path}: 'X' has shape (4,). Give rows of numbers, (n, ...",
        ),
        ({"X": np.ones((4, 0)), "y": [0, 1, 0, 1]}, {}, ValueError, "{path}: 'X' has shape (4, 0). Give rows of num"),
        ({"X": np.ones((4, 1)), "y": [0, 1, 0]}, {}, ValueError, "{path}: 'X' has 4 rows, 'y' 3. Give as many."),
        (
            {"X": np.ones((4, 1)), "y": np.ones((4, 1, 1))},
            {},
            ValueError,
            "{path}: 'y' has shape (4, 1, 1). Give (n,) or",
        ),
        (
            {"X": np.ones((4, 1)), "y": np.eye(4)},
            {},
            ValueError,
            "{path}: the array 'y' has shape (4, 4). Give one lab",
        ),
        (
            {"X": [["a"]], "y": [1.5]},
            {"targets": "numbers"},
            ValueError,
            "{path}: the array 'X' holds text, no numbers.",
        ),
        ({"X": np.ones((4, 1))}, {}, ValueError, "{path}: there is no array 'y'. Its arrays: 'X'."),
        ({"X": np.ones((4, 1))}, {"y": 5}, TypeError, "npz: [x, y] is \"['X', 5]\", a list. Give a list of names."),
        (
            {"X": np.ones((4, 1))},
            {"y": "X"},
            ValueError,
            "npz: x and y are both 'X'. Name the array of the labels; for an autoencoder set targets = \"numbers\".",
        ),
    ],
)
def test_an_npz_that_does_not_fit(tmp_path, arrays, arguments, error, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(error, match="^" + re.escape(message.format(path=path))):
        npz(path, validation=0.0, test=0.0, **arguments, seed=0)
