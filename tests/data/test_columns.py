"""Columns: files become the X and y of training again, bit for bit, also through JSON, or one line says why not."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_bp.data.columns import Columns, classes_of
from tinygrad_bp.data.tables import Arrays, Table, parse_csv, read_csv

# ---- a table, learnt ----------------------------------------------------------------------------------------------


def table_of(text: str) -> Table:
    return parse_csv("some.csv", text.strip().encode())


ROWS = """
    width, colour, height, kind
    1.0, red, 10, iris
    3.0, blue, 10, rose
    5.0, red, 10, iris
    """
FLOWERS = table_of(ROWS + "70, green, 11, rose")


def flowers(targets="labels", dtype="float64", scale=True) -> Columns:
    """Learnt on the first three rows."""
    classes = classes_of(FLOWERS, "kind")[1]
    columns = Columns.of_table(FLOWERS, ["width", "colour", "height"], ["kind"], targets, classes, [0, 1, 2], dtype)
    if not scale:
        return columns
    return columns.learnt_from(columns.unscaled(table_of(ROWS)), "some.csv")


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "new.csv") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_numbers_are_scaled_and_text_is_one_hot(write):
    X, y = flowers().read_pair(write("width,colour,height,kind\n1,red,10,iris\n7,blue,12.5,rose\n"))
    deviation = math.sqrt(8 / 3)
    assert X.tolist() == [[-2 / deviation, 0.0, 1.0, 0.0], [4 / deviation, 1.0, 0.0, 2.5]]
    assert (X.dtype, y.dtype, y.tolist()) == (np.float64, np.int64, [0, 1])
    assert flowers().categories == {"colour": ("blue", "red")}
    assert flowers().shape == (4,)


def test_columns_are_found_by_name_and_others_ignored(write):
    columns = flowers()
    X = columns.read(write("kind,height,colour,width\nrose,10,blue,2\n"))
    assert np.array_equal(X, columns.read(write("note,colour,width,height\n,blue,2,10\n")))


def test_the_mean_of_equal_numbers_is_that_number():
    table = table_of("a,b,kind\n" + "0.1,1,x\n" * 9 + "0.1,2,y\n")
    columns = Columns.of_table(table, ["a", "b"], ["kind"], "labels", ("x", "y"), range(10), "float64")
    columns = columns.learnt_from(columns.unscaled(table), "some.csv")
    assert columns.mean[0] == 0.1
    assert columns.std[0] == 1.0


@pytest.mark.parametrize(
    ("targets", "dtype", "y"),
    [
        ("labels", "float32", np.array([1, 0], np.int64)),
        ("one-hot", "float64", np.array([[0.0, 1.0], [1.0, 0.0]])),
        ("one-hot", "float32", np.array([[0, 1], [1, 0]], np.float32)),
        ("binary", "float64", np.array([[1.0], [0.0]])),
        ("binary", "float32", np.array([[1], [0]], np.float32)),
    ],
)
def test_targets_of_classes(write, targets, dtype, y):
    X, found = flowers(targets, dtype).read_pair(write("width,colour,height,kind\n1,red,10,rose\n7,blue,12,iris\n"))
    assert X.dtype == dtype
    assert found.dtype == y.dtype
    assert np.array_equal(found, y)


def test_targets_of_numbers(write):
    table = table_of("a,b,c\n1,2,3\n4,5,6")
    columns = Columns.of_table(table, ["b"], ["c", "a"], "numbers", None, [0, 1], "float32")
    X, y = columns.read_pair(write("a;b;c\n1;2;3,5\n".replace(",", ".")))
    assert (X.tolist(), y.tolist(), y.dtype) == ([[2.0]], [[3.5, 1.0]], np.float32)
    assert columns.read(write("b\n7")).tolist() == [[7.0]]


def test_classes_are_whole_numbers_in_their_order_or_sorted_text(write):
    y, classes = classes_of(table_of("kind\n10\n9.0\n+9\n-1\n010"), "kind")
    assert (y.tolist(), classes) == ([2, 1, 1, 0, 2], ("-1", "9", "10"))
    assert classes_of(table_of("kind\n10\n9.0\nx"), "kind")[1] == ("10", "9.0", "x")
    columns = Columns(("a",), ("kind",), "labels", classes, (1,))
    assert columns.read_pair(write("a,kind\n1,9\n2,10.0\n3,-1"))[1].tolist() == [1, 2, 0]
    mixed = Columns(("a",), ("kind",), "labels", ("007", "x"), (1,))
    assert mixed.read_pair(write("a,kind\n1,007\n2,007"))[1].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width,height\n1,2", "there is no column 'colour'. Its columns: 'width', 'height'."),
        ("Width,colour,height\n1,red,2", "there is no column 'width'. Did you mean 'Width'?"),
        ("width,colour,height\n1,red,2\n3,red,\n", "line 3, column 'height' is empty. Give a value, or"),
        ("width,colour,height\n1,red,2\nx,red,2\n", "line 3, column 'width' is 'x', where a number is expected."),
        ("width,colour,height\n\n1,red,inf\n", "line 3, column 'height' is inf. Give a finite number"),
        (
            "width,colour,height\n1,red,2\n1,Red,2\n",
            "line 3, column 'colour' is 'Red', a category that no training row has. Correct it, or leave the column "
            "out. Did you mean 'red'?",
        ),
        (
            "width,colour,height\n1,yellow,2\n",
            "line 2, column 'colour' is 'yellow', a category that no training row has. Correct it, or leave the column "
            "out. Known: 'blue', 'red'.",
        ),
    ],
)
def test_rows_that_do_not_fit(write, text, message):
    path = write(text)
    for read in (flowers().read, flowers().read_pair):
        with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {message}")):
            read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width,colour,height\n1,red,2", "there is no column 'kind'. Its columns: 'width', 'colour', 'height'."),
        (
            "width,colour,height,kind\n1,red,2,rose\n1,red,2,Iris",
            "line 3, column 'kind' is 'Iris', no class of the training data. Correct it. Did you mean 'iris'?",
        ),
        (
            "width,colour,height,kind\n1,red,2,7",
            "line 2, column 'kind' is '7', no class of the training data. Correct it. Known: 'iris', 'rose'.",
        ),
    ],
)
def test_targets_that_do_not_fit(write, text, message):
    path = write(text)
    assert flowers().read(path).shape[1] == 4
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {message}") + "$"):
        flowers().read_pair(path)


def test_numbers_that_are_too_large(write):
    path = write("width,colour,height,kind\n1e300,red,2,rose")
    with pytest.raises(ValueError, match=r"new.csv: a number of X is too large for float32 after scaling. Correct"):
        flowers(dtype="float32").read(path)
    columns = Columns(("width",), ("height",), "numbers", None, (1,), mean=np.array([0.0]), std=np.array([1e-200]))
    with pytest.raises(ValueError, match="a number of X is too large for float64 after scaling"):
        columns.read(path)
    narrow = Columns(("height",), ("width",), "numbers", None, (1,), dtype="float32")
    with pytest.raises(ValueError, match=r"new.csv: a target is too large for float32. Correct it, or use float64.$"):
        narrow.read_pair(path)


@pytest.mark.parametrize("numbers", [["-1e308", "1e308", "1e308"], ["0", "5e-324", "0"]])
def test_numbers_that_cannot_be_scaled(numbers):
    table = table_of("\n".join(["a", *numbers]))
    columns = Columns.of_table(table, ["a"], ["y"], "numbers", None, range(3), "float64")
    message = f"some.csv: numbers from {min(map(float, numbers))} to {max(map(float, numbers))} cannot be scaled in "
    with pytest.raises(ValueError, match="^" + re.escape(message + "float64. Set scale = false.") + "$"):
        columns.learnt_from(columns.unscaled(table), "some.csv")


def test_files_of_another_kind(write, tmp_path):
    path = write("", "new.xlsx")
    with pytest.raises(
        ValueError, match=re.escape("new.xlsx: the file has the suffix '.xlsx'. Give a .csv or .npz fil")
    ):
        flowers().read(path)
    np.savez(tmp_path / "new.npz", X=np.ones(2))
    with pytest.raises(
        ValueError, match=r"new.npz: the model was trained on the columns of a .csv. Give such a file.$"
    ):
        flowers().read(tmp_path / "new.npz")
    with pytest.raises(FileNotFoundError, match=r"new.nzp: there is no such file. Did you mean 'new.npz'\?$"):
        flowers().read(tmp_path / "new.nzp")
    with pytest.raises(TypeError, match=r"^data: the path is None, a NoneType. Give the name of"):
        flowers().read(None)


def test_too_many_texts_are_neither_categories_nor_classes():
    table = table_of("name,y\n" + "".join(f"n{k},{k}\n" for k in range(30)))
    with pytest.raises(
        ValueError, match=r"^some.csv: column 'name' has 30 different texts in 30 rows, too many for cat"
    ):
        Columns.of_table(table, ["name"], ["y"], "numbers", None, range(30), "float64")
    message = (
        "some.csv: the target 'y' has 30 different values in 30 rows, too many for classes. Set targets = \"numbers"
    )
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        classes_of(table, "y")
    assert len(classes_of(table_of("y\n" + "".join(f"{k}\n" for k in range(20))), "y")[1]) == 20
    many = Arrays("a.npz", {"y": np.arange(5000) // 2})
    with pytest.raises(ValueError, match="'y' has 2500 different values in 5000 rows, too many"):
        classes_of(many, "y")


def test_a_stray_text_among_numbers_is_no_category():
    ages = [str(k) for k in range(30)]
    for column in (ages, ages * 20):  # too many for categories, or not: the cell is what is wrong
        table = table_of("age,y\n" + "".join(f"{age},{k}\n" for k, age in enumerate([*column, "12a"])))
        message = f"some.csv: line {len(column) + 2}, column 'age' is '12a', no number, as {len(column)} of "
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            Columns.of_table(table, ["age"], ["y"], "numbers", None, range(30), "float64")
    assert classes_of(table_of("y\n" + "\n".join(ages[:10] * 2 + ["none of them"])), "y")[1][-1] == "none of them"


def test_targets_that_are_no_classes():
    with pytest.raises(
        ValueError, match=re.escape("line 3, column 'y' is '2.5', no label. Set targets = \"numbers\", or")
    ):
        classes_of(table_of("y\n1\n2.5"), "y")
    with pytest.raises(
        ValueError, match=re.escape("the target 'y' is '1' in all 2 rows. Give rows of two classes or m")
    ):
        classes_of(table_of("y\n1\n1.0"), "y")
    with pytest.raises(ValueError, match=re.escape("line 3, column 'y' is '?', no number like 1234.5.")):
        classes_of(table_of("y\n1\n?"), "y")


# ---- arrays -------------------------------------------------------------------------------------------------------


def of_arrays(X, y, targets="labels", dtype="float64", classes=None) -> Columns:
    return Columns.of_arrays(Arrays("a.npz", {"X": X, "y": y}), ("X", "y"), targets, classes, dtype)


def test_arrays_of_any_shape_from_both_kinds_of_file(write, tmp_path):
    X, y = np.arange(12.0).reshape(2, 3, 2), np.array([5, 3])
    columns = of_arrays(X, y, classes=("3", "5"))
    np.savez(tmp_path / "new.npz", X=X, y=y)
    path = write("a,b,y,c,d,e,f\n0,1,5,2,3,4,5\n6,7,3.0,8,9,10,11")
    for file in (tmp_path / "new.npz", path):
        found, labels = columns.read_pair(file)
        assert np.array_equal(found, X)
        assert labels.tolist() == [1, 0]
        assert np.array_equal(columns.read(file), X)
    np.savez(tmp_path / "only.npz", X=X)
    assert np.array_equal(columns.read(tmp_path / "only.npz"), X)
    with pytest.raises(ValueError, match=r"only.npz: there is no array 'y'. Its arrays: 'X'.$"):
        columns.read_pair(tmp_path / "only.npz")


@pytest.mark.parametrize(
    "y", [np.ones(2), np.ones((2, 1)), np.array([[1, 2], [3, 4]])], ids=["(n,)", "(n, 1)", "(n, 2)"]
)
def test_arrays_of_numbers(write, tmp_path, y):
    columns = of_arrays(np.eye(2), y, "numbers")
    np.savez(tmp_path / "new.npz", X=np.eye(2), y=y)
    found = columns.read_pair(tmp_path / "new.npz")[1]
    assert found.dtype == np.float64
    assert np.array_equal(found, y.reshape(2, -1))
    assert columns.target == (("y0", "y1") if y.shape == (2, 2) else ("y",))
    header = ",".join(columns.target)
    text = f"{header},p,q\n" + "".join(",".join(map(str, [*row, *x])) + "\n" for row, x in zip(found, np.eye(2)))
    again = columns.read_pair(write(text))
    assert np.array_equal(again[0], np.eye(2))
    assert np.array_equal(again[1], found)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array(["b", "a"]), ["b", "a"]),
        (np.array([True, False]), ["1", "0"]),
        (np.array([[2.0], [1.0]]), ["2", "1"]),
        (np.array([2**63, 1], np.uint64), ["9223372036854775808", "1"]),
    ],
)
def test_labels_of_arrays(y, labels):
    source = Arrays("a.npz", {"y": y})
    assert source.labels("y") == labels
    assert classes_of(source, "y")[1] == tuple(sorted(labels))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 4)), "y": [0, 1]}, "'X' has shape (2, 4), the model was trained on (n, 3)."),
        ({"X": np.ones((2, 3, 1)), "y": [0, 1]}, "'X' has shape (2, 3, 1), the model was trained on (n, 3)."),
        ({"X": [["a", "b", "c"]], "y": [0]}, "the array 'X' holds text, no numbers. Give numbers."),
        (
            {"X": np.ones((2, 3)), "y": [0, 7]},
            "row 1 of the array 'y' is '7', no class of the training data. Correct it. Known:",
        ),
        ({"X": np.ones((2, 3)), "y": [0, 0.5]}, "row 1 of the array 'y' is 0.5, no label. Set targets = \"numbers\"."),
        ({"X": np.ones((5, 3)), "y": [0, 1, 0, 1]}, "'X' has 5 rows, 'y' 4. Give as many."),
        ({"X": np.ones((2, 3)), "y": np.eye(2)}, "the array 'y' has shape (2, 2). Give one label for a row."),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    columns = of_arrays(np.ones((2, 3)), np.arange(2), classes=("0", "1"))
    np.savez(tmp_path / "new.npz", **arrays)
    with pytest.raises(ValueError, match="^" + re.escape(f"{tmp_path}/new.npz: {message}")):
        columns.read_pair(tmp_path / "new.npz")


def test_a_csv_of_another_width_and_targets_of_another(write, tmp_path):
    columns = of_arrays(np.ones((2, 3)), np.arange(2), classes=("0", "1"))
    message = "new.csv: the file has 2 columns besides 'y', the model was trained on 3. Give these, in their order"
    with pytest.raises(ValueError, match=re.escape(message)):
        columns.read(write("a,b,y\n1,2,3"))
    with pytest.raises(ValueError, match=re.escape("new.csv: the file has 4 columns, the model was trained on 3.")):
        columns.read(write("a,b,c,d\n1,2,3,4"))
    numbers = of_arrays(np.ones((2, 3)), np.ones((2, 2)), "numbers")
    np.savez(tmp_path / "new.npz", X=np.ones((2, 3)), y=np.ones((2, 3)))
    with pytest.raises(ValueError, match=re.escape("new.npz: 'y' has shape (2, 3). Give 2 numbers for each row.")):
        numbers.read_pair(tmp_path / "new.npz")


def test_a_csv_without_a_line_of_names(write):
    columns = of_arrays(np.ones((2, 3)), np.arange(2), classes=("0", "1"))
    path = write("0.1,2,3\n1,2,3\n")
    message = f"{path}: its first line is numbers, '0.1', '2', '3', which would be lost as names. Give a line of names"
    with pytest.raises(ValueError, match="^" + re.escape(message) + r" first\.$"):
        columns.read(path)
    for header in ("0,1,2", "1,2,3", "0.1,2,c", "y,0,1,2"):  # pandas counts its columns
        row = ",".join("5" for _ in header.split(","))
        assert columns.read(write(f"{header}\n{row}\n")).tolist() == [[5.0, 5.0, 5.0]]
    spectrum = Columns(("400.5", "401"), ("y",), "numbers", None, (2,))
    assert spectrum.read(write("400.5,401\n1,2\n")).tolist() == [[1.0, 2.0]]


def test_whole_numbers_stay_whole(tmp_path):
    columns = of_arrays(np.array([[1, 2]]), np.array([0]), classes=("0", "1"), dtype="int64", targets="one-hot")
    np.savez(tmp_path / "a.npz", X=[[3.0, 65.0]], y=[1])
    X, y = columns.read_pair(tmp_path / "a.npz")
    assert (X.dtype, X.tolist(), y.dtype) == (np.int64, [[3, 65]], np.float64)
    for odd in (0.5, 1e300):
        np.savez(tmp_path / "a.npz", X=[[3.0, odd]], y=[1])
        with pytest.raises(
            ValueError, match=r"a.npz: X holds numbers that int64 has not\. Give whole numbers, or anot"
        ):
            columns.read(tmp_path / "a.npz")


# ---- kept as JSON -------------------------------------------------------------------------------------------------

cells = st.floats(-1e9, 1e9).map(repr) | st.sampled_from(["3", "-0.0"])


@pytest.fixture(scope="module")
def some(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("columns") / "some.csv"


@st.composite
def drawn(draw):
    """The rows of a file with one to four columns of numbers or text, and targets."""
    n = draw(st.integers(3, 8))
    text = st.sampled_from(["a", "b", "C d", "\u00e9"])
    features = draw(st.lists(st.sampled_from([cells, text]), min_size=1, max_size=4))
    columns = [draw(st.lists(kind, min_size=n, max_size=n)) for kind in features]
    targets = draw(st.sampled_from(["labels", "one-hot", "binary", "numbers"]))
    target = draw(st.lists(cells if targets == "numbers" else st.sampled_from("xy"), min_size=n, max_size=n))
    assume(targets == "numbers" or len(set(target)) == 2)
    return targets, [[f"c{k}" for k in range(len(columns))] + ["y"], *zip(*columns, target)]


@given(drawn=drawn(), dtype=st.sampled_from(["float32", "float64"]), scale=st.booleans())
def test_through_json_every_bit_of_x_comes_back(some, drawn, dtype, scale):
    targets, rows = drawn
    with some.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    table = read_csv(some)
    classes = None if targets == "numbers" else classes_of(table, "y")[1]
    columns = Columns.of_table(table, table.names[:-1], ["y"], targets, classes, range(len(table.lines)), dtype)
    if scale:
        try:
            columns = columns.learnt_from(columns.unscaled(table), "some")
        except ValueError:  # numbers such as 0 and 1e-200, whose variance is 0
            assume(False)
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    for mine, theirs in zip(again.read_pair(some), (columns.inputs(table), columns.outputs(table)), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()
    assert again.to_dict() == columns.to_dict()
    assert (again.features, again.classes, again.target) == (columns.features, columns.classes, columns.target)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
def test_targets_that_are_x_itself(write, tmp_path, shape):
    X = np.arange(2.0 * math.prod(shape)).reshape(2, *shape)
    columns = Columns.of_arrays(Arrays("a.npz", {"A": X}), ("A", "A"), "numbers", None, "float64")
    columns = Columns.from_dict(json.loads(json.dumps(columns.learnt_from(X, "a.npz").to_dict())))
    np.savez(tmp_path / "new.npz", A=X)
    header = ",".join(columns.target)  # as predict writes it
    assert header.startswith("A0,A1,A2")
    for path in (tmp_path / "new.npz", write("\n".join([header, *(",".join(map(str, row.ravel())) for row in X)]))):
        found, targets = columns.read_pair(path)
        assert np.array_equal(targets, X)
        assert np.array_equal(found, np.sign(X - X.mean(axis=0)))  # scaled
        assert np.array_equal(columns.read(path), found)


def test_arrays_through_json():
    X = np.random.default_rng(0).standard_normal((5, 2, 3))
    columns = of_arrays(X, np.arange(5), "numbers").learnt_from(X, "a.npz")
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    assert again.scaled(X, "a.npz").tobytes() == columns.scaled(X, "a.npz").tobytes()
    assert again.arrays == ("X", "y")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": 1}, "columns: the keys 'more' are missing or unknown."),
        ({"features": []}, "columns: features = '[]' cannot be."),
        ({"features": ["a", "a"]}, "columns: features = \"['a', 'a']\" cannot be."),
        ({"features": None}, "columns: features, target and arrays exclude each other."),
        ({"target": ["width"]}, "columns: features, target and arrays exclude each other."),
        ({"target": []}, "columns: target = '[]' cannot be."),
        ({"targets": "classes"}, "columns: targets = 'classes' cannot be."),
        ({"targets": "numbers"}, "columns: targets are numbers, the classes ('iris', 'rose')."),
        ({"classes": None}, "columns: targets are labels, the classes None."),
        ({"classes": ["a"]}, "columns: classes = \"['a']\" cannot be."),
        (
            {"targets": "binary", "classes": ["a", "b", "c"]},
            "columns: targets are binary, the classes ('a', 'b', 'c').",
        ),
        ({"shape": [10**30]}, f"columns: shape is ({10**30},), which the features are not."),
        ({"shape": [True]}, "columns: shape = '[True]' cannot be."),
        ({"shape": []}, "columns: shape = '[]' cannot be."),
        ({"shape": 4}, "columns: shape = '4' cannot be."),
        ({"categories": {"colour": [1]}}, "columns: categories = \"{'colour': [1]}\" cannot be."),
        ({"categories": {"hue": ["a"]}}, "columns: categories belong to features."),
        ({"mean": None}, "columns: mean and std belong together."),
        ({"mean": [1.0]}, "columns: 1 means and 4 stds are not the 4 numbers of a row."),
        ({"mean": [math.nan] * 4}, "columns: mean = '[nan, nan, nan, nan]' cannot be."),
        ({"mean": ["1"] * 4}, "columns: mean = \"['1', '1', '1', '1']\" cannot be."),
        ({"std": [0.0] * 4}, "columns: std = '[0.0, 0.0, 0.0, 0.0]' cannot be."),
        ({"std": 1.0}, "columns: std = '1.0' cannot be."),
        ({"arrays": 5}, "columns: arrays = '5' cannot be."),
        ({"arrays": ["X"]}, "columns: arrays = \"['X']\" cannot be."),
        ({"dtype": "object"}, "columns: dtype = 'object' cannot be."),
    ],
)
def test_dicts_that_are_no_columns(change, message):
    table = flowers().to_dict() | change
    with pytest.raises(ValueError, match="^" + re.escape(message) + " Give the dict that to_dict returned.$"):
        Columns.from_dict(table)


def test_no_dict_and_half_a_dict():
    with pytest.raises(TypeError, match=r"^columns: this is a list\. Give the dict that to_dict returned\.$"):
        Columns.from_dict([])
    with pytest.raises(ValueError, match=r"^columns: the keys .*'features', .* are missing or unknown\. Give the dict"):
        Columns.from_dict({})


ANYTHING = [None, True, 0, -1, 10**30, 0.5, math.nan, math.inf, "", "X", "numbers", "binary", "float32", {}, {"a": 1}]
ANYTHING += [
    [],
    [1],
    [10**30],
    [0.5],
    [math.inf],
    ["a", "a"],
    ["a", "b"],
    ["width", "height"],
    [[]],
    {"colour": ["red"]},
]


@given(changes=st.dictionaries(st.sampled_from(sorted(flowers().to_dict())), st.sampled_from(ANYTHING), max_size=4))
def test_any_dict_is_columns_or_one_line(some, changes):
    some.write_text("width,colour,height,kind\n1,red,2,rose\n")
    try:
        columns = Columns.from_dict(flowers().to_dict() | changes)
        columns.read_pair(some)
    except ValueError as error:
        assert re.match("columns: |" + re.escape(str(some)), str(error))
        assert "\n" not in str(error)
