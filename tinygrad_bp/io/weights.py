"""Arrays by name, in a file: .safetensors or .npz, never pickle.

`save` writes beside the file and then puts the new one in its place, so that a crash, a full disk or a kill leaves the
old file whole and nothing else behind. `load` returns exactly what was saved, bit for bit, or says in one line what is
wrong with the file: an .npz carries a checksum of every array, and a .safetensors from `save` carries SHA-256 digests.
Which arrays make a model is known to :meth:`~tinygrad_bp.nn.Module.state_dict`.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..tensor import Tensor
from .atomic import in_place_of

__all__ = ["load", "save"]

Arrays = dict[str, NDArray[Any]]


def save(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write arrays by name, such as ``model.state_dict()``, to a .safetensors or .npz file.

    Parameters
    ----------
    path
        The file, replaced in one piece if it exists. Its suffix chooses the format.
    state
        Arrays or tensors of real numbers or bools, by name.

    Raises
    ------
    ValueError, TypeError
        Another suffix; a name that is no string or an array of another kind; arguments in the wrong order.
    ImportError
        .safetensors without the package: ``pip install 'tinygrad_bp[cli]'``.
    OSError
        The folder does not exist or cannot be written. An older file is untouched.

    Examples
    --------
    >>> import tempfile, tinygrad_bp as bp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/weights.npz", {"w": bp.ones(2)})
    ...     load(f"{folder}/weights.npz")
    {'w': array([1., 1.])}
    """
    write, _ = _format("save", path)
    if not isinstance(state, Mapping):
        raise TypeError(f"save: the state is a {type(state).__name__}. Pass save(path, state), as from state_dict().")
    arrays = {name: _checked(name, value) for name, value in state.items()}
    with in_place_of(path) as file:
        write(file, arrays)


def load(path: str | os.PathLike[str]) -> Arrays:
    """Arrays by name from a .safetensors or .npz file.

    Raises
    ------
    ValueError
        Another suffix, or a file that is truncated, corrupt, compressed or holds Python objects.
    ImportError
        .safetensors without the package: ``pip install 'tinygrad_bp[cli]'``.
    OSError
        The file does not exist or cannot be read.

    Examples
    --------
    >>> load("weights.pt")
    Traceback (most recent call last):
    ValueError: load: weights.pt has the suffix '.pt'. Use .safetensors or .npz.
    """
    _, read = _format("load", path)
    data = Path(path).read_bytes()
    try:
        return read(data)
    except ImportError:
        raise
    except Exception as error:  # whatever a parser says of a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"load: {os.fspath(path)} is damaged: {reason}. Use another copy of the file.") from error


# ---- the two formats ----------------------------------------------------------------------------------------------


def _write_npz(file: BinaryIO, arrays: Arrays) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read_npz(data: bytes) -> Arrays:
    arrays = {}
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:  # which could claim to hold any amount
                raise ValueError(f"'{info.filename}' is compressed; write it with np.savez")
            with archive.open(info) as entry:
                array = np.lib.format.read_array(entry, allow_pickle=False)
                if entry.read():  # at its end the entry's checksum is compared
                    raise ValueError(f"'{info.filename}' is longer than its array")
            arrays[info.filename.removesuffix(".npy")] = array
        end = len(data) - len(archive.comment)
    promised = int.from_bytes(data[end - 12 : end - 10], "little")  # in the last record; zipfile does not compare
    if promised != min(len(arrays), 0xFFFF):
        raise ValueError(f"{len(arrays)} arrays were found, the file should hold {promised}")
    return arrays


def _write_safetensors(file: BinaryIO, arrays: Arrays) -> None:
    digests = {name: _digest(array) for name, array in arrays.items()}
    file.write(_safetensors().save(arrays, {"sha256": json.dumps(digests)}))


def _read_safetensors(data: bytes) -> Arrays:
    arrays: Arrays = _safetensors().load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__", {})
    if "sha256" in metadata:
        digests = json.loads(metadata["sha256"])
        for name in digests | arrays:
            if name not in arrays or digests.get(name) != _digest(arrays[name]):
                raise ValueError(f"'{name}' is not what was saved")
    return arrays


def _digest(array: NDArray[Any]) -> str:
    """SHA-256 of the dtype, the shape and the bytes."""
    return hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()


def _safetensors() -> Any:
    try:
        from safetensors import numpy as safetensors
    except ImportError:
        raise ImportError(
            "weights: .safetensors files need the package safetensors. pip install 'tinygrad_bp[cli]', or use .npz."
        ) from None
    return safetensors


Format = tuple[Callable[[BinaryIO, Arrays], None], Callable[[bytes], Arrays]]
_FORMATS: dict[str, Format] = {
    ".safetensors": (_write_safetensors, _read_safetensors),
    ".npz": (_write_npz, _read_npz),
}


def _format(name: str, path: str | os.PathLike[str]) -> Format:
    if not isinstance(path, (str, os.PathLike)):
        call = {"save": "save(path, state)", "load": "load(path)"}[name]
        raise TypeError(f"{name}: the path is a {type(path).__name__}. Pass {call}.")
    suffix = Path(path).suffix
    if suffix not in _FORMATS:
        raise ValueError(f"{name}: {os.fspath(path)} has the suffix '{suffix}'. Use .safetensors or .npz.")
    return _FORMATS[suffix]


def _checked(name: Any, value: Any) -> NDArray[Any]:
    """The array of an entry, contiguous and in native byte order."""
    if not isinstance(name, str) or "\0" in name or name == "__metadata__":
        raise ValueError(f"save: {name!r} cannot be the name of an array. Use a string such as '0.weight'.")
    array = np.asarray(value.data if isinstance(value, Tensor) else value, order="C")
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"save: '{name}' has dtype {array.dtype}. Pass real numbers of at most 8 bytes, or bools.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
