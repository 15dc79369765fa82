"""The data sets: the digits in the package, MNIST from both kinds of file and from a server on this machine.

Damaged, wrong and missing files are each refused in one line.
"""

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

from tests import make_digits
from tinygrad_bp.data import datasets, digits, mnist

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


def test_a_named_folder_without_files_is_left_as_it_is(tmp_path, server, monkeypatch):
    monkeypatch.setattr(datasets, "MIRROR", server.url(""))
    message = (
        f"mnist: {tmp_path} has neither mnist.pkl.gz nor the four files {TRAIN_X}, {TRAIN_Y}, {TEST_X}, {TEST_Y}. "
        "Put either there."
    )
    with pytest.raises(FileNotFoundError, match="^" + re.escape(message)):
        mnist(tmp_path)
    monkeypatch.setenv("TINYGRAD_BP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"nowhere has neither mnist\.pkl\.gz nor the four files"):
        mnist()
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


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


# -- MNIST, downloaded from a server here --


@pytest.fixture
def mirror(made, server, tmp_path, monkeypatch):
    """A server of the files made here, and an empty cache."""
    for path in made.iterdir():
        server.answers[f"/{path.name}"] = path.read_bytes()
    hashes = {name: hashlib.sha256((made / name).read_bytes()).hexdigest() for name in datasets.IDX_SHA256}
    monkeypatch.setattr(datasets, "IDX_SHA256", hashes)
    monkeypatch.setattr(datasets, "MIRROR", server.url(""))
    monkeypatch.setenv("TINYGRAD_BP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYGRAD_BP_DATA", raising=False)
    return server


NAMES = [TRAIN_X, TRAIN_Y, TEST_X, TEST_Y]


def test_mnist_is_downloaded_once(mirror, made, tmp_path, capsys):
    found = mnist()
    assert mirror.asked == [f"/{name}" for name in NAMES]
    assert [line.split(" (")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"downloading {mirror.url(name)}" for name in NAMES
    ]
    cache = tmp_path / "cache" / "mnist"
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {
        path.name: path.read_bytes() for path in made.iterdir()
    }
    for (X, y), (X_made, y_made) in zip(found, mnist(made), strict=True):
        assert np.array_equal(X, X_made)
        assert np.array_equal(y, y_made)
    mnist()
    assert len(mirror.asked) == 4
    assert capsys.readouterr().err == ""


def test_a_damaged_file_in_the_cache_is_downloaded_again(mirror, made, tmp_path):
    cache = tmp_path / "cache" / "mnist"
    shutil.copytree(made, cache)
    (cache / TEST_Y).write_bytes((made / TEST_Y).read_bytes()[:-1])
    assert mnist().test[1][:3].tolist() == [0, 1, 2]
    assert mirror.asked == [f"/{TEST_Y}"]
    assert (cache / TEST_Y).read_bytes() == (made / TEST_Y).read_bytes()


def test_a_download_that_fails_is_taken_up_where_it_failed(mirror, tmp_path):
    labels = mirror.answers.pop(f"/{TRAIN_Y}")
    message = (
        f"fetch: {mirror.url(TRAIN_Y)} answered 404 Not Found. Check the address, or try again later. "
        "Or name a folder that has MNIST's files in TINYGRAD_BP_DATA."
    )
    with pytest.raises(ConnectionError, match="^" + re.escape(message) + "$"):
        mnist()
    assert [path.name for path in (tmp_path / "cache" / "mnist").iterdir()] == [TRAIN_X]
    mirror.answers[f"/{TRAIN_Y}"] = labels[::-1]
    with pytest.raises(
        ValueError, match=rf"^fetch: .*{TRAIN_Y} has sha256 \w+, not \w+\. .* Or name a folder that has "
    ):
        mnist()
    mirror.answers[f"/{TRAIN_Y}"] = labels
    mirror.asked.clear()
    mnist()
    assert mirror.asked == [f"/{name}" for name in NAMES[1:]]


def test_the_files_of_the_mirror_are_the_real_ones(data_file):
    for name, sha256 in datasets.IDX_SHA256.items():
        assert hashlib.sha256(data_file(f"mnist/{name}").read_bytes()).hexdigest() == sha256
    assert datasets.IDX_SHA256.keys() == datasets.IDX.keys()
    assert datasets.MIRROR == "https://ossci-datasets.s3.amazonaws.com/mnist/"


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
