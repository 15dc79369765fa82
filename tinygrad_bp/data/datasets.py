"""Real data sets as NumPy arrays: the digits in the package, and MNIST.

`digits.npz` holds the 1797 handwritten digits of the UCI data set "Optical Recognition of Handwritten Digits"
(E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0), in the form in which scikit-learn
distributes them (BSD-3-Clause); the pixels are stored as unsigned bytes and otherwise unchanged.
MNIST is read from Nielsen's pickle, which must have the right sha256 before it is opened and may hold nothing but
arrays, or from the four original IDX files, which are downloaded once where no folder is named. Every file is checked.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import pickle
import zlib
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .download import cache_folder, fetch

__all__ = ["Mnist", "digits", "mnist"]

Pair: TypeAlias = tuple[NDArray[np.floating[Any]], NDArray[np.int64]]

PICKLE = "mnist.pkl.gz"
PICKLE_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
IMAGES, LABELS = 2051, 2049  # the magic numbers of IDX files of unsigned bytes in three dimensions and in one
IDX = {
    "train-images-idx3-ubyte.gz": (IMAGES, 60000, 28, 28),
    "train-labels-idx1-ubyte.gz": (LABELS, 60000),
    "t10k-images-idx3-ubyte.gz": (IMAGES, 10000, 28, 28),
    "t10k-labels-idx1-ubyte.gz": (LABELS, 10000),
}
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # where PyTorch fetches them
IDX_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


class Mnist(NamedTuple):
    """MNIST in three pairs of X, shape (n, 784), float32 in [0, 255/256], and y, shape (n,), int64 in 0..9."""

    train: Pair
    validation: Pair
    test: Pair


def digits() -> Pair:
    """Return X, shape (1797, 64), float64 in [0, 1], and y, shape (1797,), int64 in 0..9: 8x8 pictures of digits.

    A pixel is the number of the dots set in a 4x4 block, 0..16, divided by 16. The module's docstring names the source.

    >>> X, y = digits()
    >>> X.shape, X.max(), y[:10]
    ((1797, 64), np.float64(1.0), array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    """
    packed = resources.files(__package__).joinpath("digits.npz")
    with packed.open("rb") as file, np.load(file, allow_pickle=False) as npz:
        return npz["pixels"] / 16.0, npz["labels"].astype(np.int64)


def mnist(folder: str | os.PathLike[str] | None = None) -> Mnist:
    """Return MNIST: 50000 pictures to train on, 10000 to validate and 10000 to test, 28x28 pixels each, row by row.

    A pixel is a byte divided by 256, as in Nielsen's pickle. Both kinds of file give the same arrays: of the IDX files'
    60000 training pictures the last 10000 are the validation part.

    Parameters
    ----------
    folder
        Where Nielsen's `mnist.pkl.gz` is, or the four original `*-ubyte.gz` files.
        None means the folder that the environment variable TINYGRAD_BP_DATA names. Where that is not set either, the
        four files (11.6 MB) are downloaded once, to the folder ``mnist`` in
        :func:`~tinygrad_bp.data.download.cache_folder`.

    Raises
    ------
    FileNotFoundError
        A named folder with neither the pickle nor all four files. Nothing is ever written there.
    ValueError
        A file that is damaged or not MNIST.
    OSError
        No folder was named, and the files cannot be downloaded or written.

    Examples
    --------
    >>> (X, y), validation, test = mnist("folder/with/mnist")
    Traceback (most recent call last):
    FileNotFoundError: mnist: folder/with/mnist has neither mnist.pkl.gz nor the four ...
    """
    folder = folder or os.environ.get("TINYGRAD_BP_DATA")
    if not folder:
        return _from_idx(_downloaded())
    folder = Path(folder)
    if (folder / PICKLE).is_file():
        return _from_pickle(folder / PICKLE)
    missing = [name for name in IDX if not (folder / name).is_file()]
    if len(missing) == len(IDX):
        raise FileNotFoundError(
            f"mnist: {folder} has neither {PICKLE} nor the four files {', '.join(IDX)}. Put either there."
        )
    if missing:
        raise FileNotFoundError(f"mnist: {folder} lacks {', '.join(missing)}. Put all four files there.")
    return _from_idx(folder)


def _downloaded() -> Path:
    """The folder in the cache, with all four files in it."""
    folder = cache_folder() / "mnist"
    try:
        for name, sha256 in IDX_SHA256.items():
            fetch(MIRROR + name, folder / name, sha256)
    except (OSError, ValueError) as error:
        raise type(error)(f"{error} Or name a folder that has MNIST's files in TINYGRAD_BP_DATA.") from error
    return folder


# All that a pickle of arrays may name. Python 2 wrote an array as _reconstruct(ndarray, ...), which NumPy 2 has moved.
_ARRAY_PARTS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and built-in containers, and refuses every other name before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of an array")
        return _ARRAY_PARTS[module, name]


def _from_pickle(path: Path) -> Mnist:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != PICKLE_SHA256:
            raise ValueError(
                f"mnist: {path} has sha256 {found}, Nielsen's file {PICKLE_SHA256}. "
                "Copy it again, or name a folder with the four IDX files."
            )
        file.seek(0)
        with gzip.open(file) as stream:
            try:
                parts = _ArrayUnpickler(stream, encoding="latin1").load()
            except pickle.UnpicklingError as error:
                raise ValueError(f"mnist: {path} is refused: {error}. Copy it again.") from error
    return Mnist(*((X, y) for X, y in parts))


def _from_idx(folder: Path) -> Mnist:
    train_X, train_y, test_X, test_y = (_read_idx(folder / name, header) for name, header in IDX.items())
    train_X, test_X = ((X.reshape(-1, 784) / np.float32(256)) for X in (train_X, test_X))
    train_y, test_y = (y.astype(np.int64) for y in (train_y, test_y))
    return Mnist((train_X[:50000], train_y[:50000]), (train_X[50000:], train_y[50000:]), (test_X, test_y))


def _read_idx(path: Path, header: tuple[int, ...]) -> NDArray[Any]:
    """Read unsigned bytes whose file starts with `header`, 32-bit big-endian: the magic number, then the shape."""
    shape = header[1:]
    head, body = 4 * len(header), math.prod(shape)
    try:
        with gzip.open(path) as stream:
            content = stream.read(head + body + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"mnist: {path} is damaged: {error}. Copy it again.") from error
    found = tuple(int.from_bytes(content[at : at + 4]) for at in range(0, head, 4))
    if found != header:
        raise ValueError(f"mnist: {path} starts with {found}, MNIST's file with {header}. Copy it again.")
    if len(content) != head + body:
        relation = "more" if len(content) > head + body else "less"
        raise ValueError(f"mnist: {path} holds {relation} than its {body} bytes of data. Copy it again.")
    array = np.frombuffer(content, np.uint8, offset=head).reshape(shape)
    if header[0] == LABELS and array.max() > 9:
        raise ValueError(f"mnist: {path} has the label {array.max()}, labels are 0..9. Copy it again.")
    return array
