"""The data sets: the digits in the package, MNIST from both kinds of file, and damaged, wrong and missing files."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import make_digits
from tinygrad_bp.data import datasets, digits, mnist, train_test_split

TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


# -- the digits in the package --


def test_digits():
    X, y = digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1797, 64), np.float64, (1797,), np.int64)
    assert (X.min(), X.max()) == (0.0, 1.0)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    pixels = X * 16
    assert np.array_equal(pixels, pixels.round())
    content = hashlib.sha256(pixels.astype(np.uint8).tobytes() + y.astype(np.uint8).tobytes()).hexdigest()
    assert content == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_digits_are_a_fresh_copy_each_time():
    X, y = digits()
    X[:], y[:] = -1.0, -1
    assert digits()[0].min() == 0.0
    assert digits()[1].min() == 0


def test_the_embedded_digits_are_the_table(data_file):
    pixels, labels = make_digits.read(data_file("digits.csv.gz"))
    X, y = digits()
    assert np.array_equal(X * 16, pixels)
    assert np.array_equal(y, labels)


def test_make_digits_refuses_another_table(tmp_path):
    (tmp_path / "digits.csv.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"^make_digits: .*digits.csv.gz has sha256 \w+, expected 09f66e6d\w+. Take "):
        make_digits.read(tmp_path / "digits.csv.gz")


# -- MNIST, the real files --


def test_both_kinds_of_file_give_the_same_mnist(data_file):
    nielsen = mnist(data_file("mnist.pkl.gz").parent)
    original = mnist(data_file(f"mnist/{TRAIN_X}").parent)
    for part, rows in (("train", 50000), ("validation", 10000), ("test", 10000)):
        (X, y), (X_idx, y_idx) = getattr(nielsen, part), getattr(original, part)
        assert (X.shape, X.dtype, y.shape, y.dtype) == ((rows, 784), np.float32, (rows,), np.int64)
        assert (X_idx.dtype, y_idx.dtype) == (np.float32, np.int64)
        assert (X.min(), X.max()) == (0.0, 255 / 256)
        assert np.array_equal(X, X_idx)
        assert np.array_equal(y, y_idx)
    assert nielsen.train[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_the_folder_comes_from_the_environment(data_file, monkeypatch):
    monkeypatch.setenv("TINYGRAD_BP_DATA", str(data_file(f"mnist/{TRAIN_X}").parent))
    assert mnist().test[1][:5].tolist() == [7, 2, 1, 0, 4]


# -- MNIST, files made here --


def idx(magic: int, array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, compresslevel=1))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Four IDX files of the right sizes: picture k has k % 251 everywhere, its label is k % 10."""
    folder = tmp_path_factory.mktemp("idx")
    for images, labels, n in ((TRAIN_X, TRAIN_Y, 60000), (TEST_X, TEST_Y, 10000)):
        write(folder / images, idx(2051, np.broadcast_to((np.arange(n) % 251)[:, None, None], (n, 28, 28))))
        write(folder / labels, idx(2049, np.arange(n) % 10))
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of the files made here, for a test to damage."""
    return Path(shutil.copytree(made, tmp_path / "mnist"))


def test_idx_files(made):
    (X, y), (X_validation, y_validation), (X_test, y_test) = mnist(str(made))
    numbers = np.arange(60000)
    assert np.array_equal(X, np.broadcast_to((numbers[:50000] % 251)[:, None] / np.float32(256), (50000, 784)))
    assert np.array_equal(X_validation[:, 5], (numbers[50000:] % 251) / 256)
    assert np.array_equal(X_test[:, 783], (numbers[:10000] % 251) / 256)
    assert np.array_equal(np.concatenate([y, y_validation]), numbers % 10)
    assert np.array_equal(y_test, numbers[:10000] % 10)
    assert {a.dtype for a in (X, X_validation, X_test)} == {np.dtype(np.float32)}
    assert {a.dtype for a in (y, y_validation, y_test)} == {np.dtype(np.int64)}


def test_the_pickle_comes_before_the_idx_files(folder):
    (folder / "mnist.pkl.gz").write_bytes(b"not Nielsen's")
    with pytest.raises(ValueError, match=r"mnist.pkl.gz has sha256"):
        mnist(folder)


def test_no_folder(monkeypatch):
    monkeypatch.delenv("TINYGRAD_BP_DATA", raising=False)
    message = "mnist: no folder. Give one with MNIST's files, or name it in TINYGRAD_BP_DATA."
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        mnist()


def test_an_empty_folder(tmp_path):
    message = (
        f"mnist: {tmp_path} has neither mnist.pkl.gz nor the four files {TRAIN_X}, {TRAIN_Y}, {TEST_X}, {TEST_Y}. "
        "Put either there."
    )
    with pytest.raises(FileNotFoundError, match="^" + re.escape(message)):
        mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has neither mnist\.pkl\.gz nor the four files"):
        mnist(tmp_path / "nowhere")


def test_some_of_the_four_files(folder):
    (folder / TRAIN_Y).unlink()
    (folder / TEST_X).unlink()
    message = f"mnist: {folder} lacks {TRAIN_Y}, {TEST_X}. Put all four files there."
    with pytest.raises(FileNotFoundError, match="^" + re.escape(message)):
        mnist(folder)


LABELS = np.arange(10000) % 10


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TEST_Y, b"", "starts with (0, 0), MNIST's file with (2049, 10000)."),
        (TEST_Y, b"\x00\x00\x08", "starts with (8, 0), MNIST's file with (2049, 10000)."),
        (TEST_Y, idx(2050, LABELS), "starts with (2050, 10000), MNIST's file with (2049, 10000)."),
        (TEST_Y, idx(2049, LABELS[:-1]), "starts with (2049, 9999), MNIST's file with (2049, 10000)."),
        (TEST_Y, idx(2049, LABELS)[:-1], "holds less than its 10000 bytes of data."),
        (TEST_Y, idx(2049, LABELS) + b"\x00", "holds more than its 10000 bytes of data."),
        (TEST_Y, idx(2049, LABELS + 1), "has the label 10, labels are 0..9."),
        (
            TEST_X,
            idx(2049, LABELS),
            f"starts with {struct.unpack('>4I', idx(2049, LABELS)[:16])}, MNIST's file with (2051, 10000, 28, 28).",
        ),
        (
            TEST_X,
            idx(2051, np.zeros((1, 28, 28))),
            "starts with (2051, 1, 28, 28), MNIST's file with (2051, 10000, 28, 28).",
        ),
        (
            TEST_X,
            struct.pack(">4I", 2051, 10000, 784, 1) + bytes(100),
            "starts with (2051, 10000, 784, 1), MNIST's file with (2051, 10000, 28, 28).",
        ),
        (TRAIN_Y, idx(2049, LABELS), "starts with (2049, 10000), MNIST's file with (2049, 60000)."),
    ],
)
def test_idx_files_that_are_not_mnist(folder, name, content, message):
    write(folder / name, content)
    with pytest.raises(ValueError, match="^" + re.escape(f"mnist: {folder / name} {message} Copy it again.") + "$"):
        mnist(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[: len(packed) // 2],
        lambda packed: idx(2049, LABELS),
        lambda packed: packed[:20] + b"\xff" * 20 + packed[40:],
        lambda packed: packed[:-8] + bytes(8),
    ],
    ids=["truncated", "not packed", "flipped", "wrong checksum"],
)
def test_damaged_idx_files(folder, damage):
    path = folder / TEST_Y
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="^" + re.escape(f"mnist: {path} is damaged: ") + ".*\\. Copy it again.$"):
        mnist(folder)


# -- Nielsen's pickle, made here --


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did, which Python 3 reads as text in the given encoding."""

    dispatch = pickle._Pickler.dispatch | {
        bytes: lambda self, value: self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
    }


def python_2_pickle(parts: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2, fix_imports=False).dump(parts)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def nielsen(tmp_path, monkeypatch):
    """A function that writes a pickle where Nielsen's should be, and has its sha256 believed."""

    def put(content: bytes, believed: bool = True) -> Path:
        path = tmp_path / "mnist.pkl.gz"
        write(path, content)
        if believed:
            monkeypatch.setattr(datasets, "PICKLE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        return path

    return put


def test_a_python_2_pickle_of_arrays(nielsen):
    parts = tuple((np.full((3, 784), k / 256, np.float32), np.arange(3)) for k in range(3))
    found = mnist(nielsen(python_2_pickle(parts)).parent)
    for (X, y), (X_found, y_found) in zip(parts, found, strict=True):
        assert np.array_equal(X, X_found)
        assert np.array_equal(y, y_found)
        assert (X_found.dtype, y_found.dtype) == (np.float32, np.int64)


def test_a_pickle_with_another_sha256_is_not_opened(nielsen, monkeypatch):
    monkeypatch.setattr(datasets, "_ArrayUnpickler", None)
    path = nielsen(pickle.dumps([]), believed=False)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    message = (
        f"mnist: {path} has sha256 {found}, Nielsen's file "
        "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416. "
        "Copy it again, or name a folder with the four IDX files."
    )
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        mnist(path.parent)


class Harmful:
    def __reduce__(self):
        return (exec, ("open('harm.txt', 'w')",))


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (Harmful(), "builtins.exec"),
        ([np.array([Harmful()], dtype=object)], "builtins.exec"),
        (print, "builtins.print"),
        (np.load, "numpy.load"),
    ],
    ids=["call", "object array", "built-in", "numpy function"],
)
def test_a_pickle_of_anything_but_arrays_is_refused(nielsen, tmp_path, monkeypatch, parts, named):
    monkeypatch.chdir(tmp_path)
    path = nielsen(python_2_pickle(parts))
    message = f"mnist: {path} is refused: it holds {named}, which is no part of an array. Copy it again."
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        mnist(path.parent)
    assert not Path("harm.txt").exists()


# -- the split --


@given(
    counts=st.lists(st.integers(4, 30), min_size=1, max_size=6),
    test=st.floats(0.25, 0.75),
    seed=st.integers(0, 2**40),
)
def test_a_split_keeps_every_row_once_and_every_class_in_proportion(counts, test, seed):
    y = np.repeat(np.arange(len(counts)) * 3 - 4, counts)
    X = np.arange(len(y))
    X_train, X_test, y_train, y_test = train_test_split(X, y, test=test, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([X_train, X_test])), X)
    assert np.array_equal(y[X_train], y_train)
    assert np.array_equal(y[X_test], y_test)
    assert abs(len(X_test) - test * len(y)) < 1
    for label, count in zip(np.unique(y), counts, strict=True):
        assert abs(np.count_nonzero(y_test == label) - test * count) <= 1


def test_the_digits_split_is_a_fifth_shuffled_and_repeats():
    X, y = digits()
    X_train, X_test, y_train, y_test = train_test_split(X, y)
    assert (len(X_train), len(X_test)) == (1437, 360)
    assert np.bincount(y_test).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    again = train_test_split(X, y, test=0.2, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(again, (X_train, X_test, y_train, y_test), strict=True))
    assert not np.array_equal(train_test_split(X, y, seed=1)[3], y_test)


def test_a_split_is_drawn_at_random_and_shuffled():
    X_train, X_test, _, _ = train_test_split(np.arange(60), np.repeat([0, 1], 30), test=0.5)
    assert sorted(X_test) != [*range(15), *range(30, 45)]
    for part in (X_train, X_test):
        assert part.tolist() != sorted(part)
        assert set(part[:10] < 30) == {True, False}


@pytest.mark.parametrize(
    ("n", "test", "held_out"), [(30, 0.1, 3), (100, 0.07, 7), (10, 0.25, 3), (10, np.float32(0.5), 5)]
)
def test_the_size_of_the_held_out_part(n, test, held_out):
    assert len(train_test_split(np.zeros(n), np.zeros(n, dtype=int), test=test)[1]) == held_out


PAIR = (np.zeros((8, 2)), np.repeat([0, 1], 4))


@pytest.mark.parametrize(
    ("X", "y", "arguments", "error", "message"),
    [
        (PAIR[0][:7], PAIR[1], {}, ValueError, "X has shape (7, 2), y (8,). Give X (n, ...) and y (n,)."),
        (PAIR[0], PAIR[1][:, None], {}, ValueError, "X has shape (8, 2), y (8, 1). Give X (n, ...) and y (n,)."),
        (1.0, 1, {}, ValueError, "X has shape (), y (). Give X (n, ...) and y (n,)."),
        (PAIR[0][:0], PAIR[1][:0], {}, ValueError, "X and y have 0 rows. Give at least two rows of each class."),
        (PAIR[0], PAIR[1] * 1.0, {}, TypeError, "y has dtype float64. Give class labels as integers."),
        (*PAIR, {"test": 0}, ValueError, "test is 0. Give a number between 0 and 1."),
        (*PAIR, {"test": 1.0}, ValueError, "test is 1.0. Give a number between 0 and 1."),
        (*PAIR, {"test": -0.2}, ValueError, "test is -0.2. Give a number between 0 and 1."),
        (*PAIR, {"test": float("nan")}, ValueError, "test is nan. Give a number between 0 and 1."),
        (*PAIR, {"test": True}, TypeError, "test is True, a bool. Give a number between 0 and 1."),
        (*PAIR, {"test": "0.2"}, TypeError, "test is '0.2', a str. Give a number between 0 and 1."),
        (*PAIR, {"seed": -1}, ValueError, "seed is -1, which is negative. Give an integer >= 0."),
        (*PAIR, {"seed": 1.5}, TypeError, "seed is 1.5, a float. Give an integer >= 0."),
        (
            np.zeros(9),
            np.repeat([0, 7], [8, 1]),
            {},
            ValueError,
            "of the 1 rows of class 7, test=0.2 holds out 0. "
            "Give more rows of it, or another test, so that both parts have some.",
        ),
        (*PAIR, {"test": 0.9}, ValueError, "of the 4 rows of class 0, test=0.9 holds out 4. Give more rows of it,"),
        (*PAIR, {"test": 0.1}, ValueError, "of the 4 rows of class 1, test=0.1 holds out 0. Give more rows of it,"),
    ],
)
def test_bad_splits(X, y, arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(f"train_test_split: {message}")):
        train_test_split(X, y, **arguments)
