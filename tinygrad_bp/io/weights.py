"""States in files: .safetensors or .npz, never pickle.

A state is arrays by name, or a dict of dicts, lists, numbers, strings and arrays, as an optimizer has. `load` returns
exactly what was saved, bit for bit, or says in one line what is wrong with the file. Arrays by name are a plain file
that other programs read. Of anything nested the arrays are stored by dotted names, and beside them as JSON what is
where. A .safetensors carries one SHA-256 of its header and data, an .npz a checksum of every entry.
Which arrays make a model is known to :meth:`~tinygrad_bp.nn.Module.state_dict`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..tensor import Tensor
from .atomic import in_place_of

__all__ = ["load", "npy_entry", "save"]

Arrays = dict[str, NDArray[Any]]

_STRUCTURE = "tinygrad_bp.structure"  # the JSON of what is where: a key of the metadata, or an array of bytes
_DEEPEST = 100
_LONGEST = 100_000_000  # bytes of a header, as in the safetensors package
_LONGEST_NAME = 60_000  # bytes; a .zip has two for the length of a name with what belongs to it
_DTYPES = {
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    "BOOL": "?",
    "C64": "<c8",
}


def save(path: str | os.PathLike[str], state: Mapping[Any, Any]) -> None:
    """Write a state, such as ``model.state_dict()`` or ``optimizer.state_dict()``, to a .safetensors or .npz file.

    Parameters
    ----------
    path
        The file, replaced in one piece if it exists. Its suffix chooses the format.
    state
        Arrays or tensors of real numbers or bools by name; or nested: dicts (keys: strings and integers), lists,
        tuples, strings, numbers, bools and None besides. Tensors come back as arrays, other mappings as dicts.

    Raises
    ------
    ValueError, TypeError
        Another suffix; a value or key of another kind, with its path; arguments in the wrong order.
    ImportError
        .safetensors without the package: ``pip install 'tinygrad_bp[cli]'``.
    OSError
        The folder does not exist or cannot be written. An older file is untouched.

    Examples
    --------
    >>> import tempfile, tinygrad_bp as bp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/weights.npz", {"w": bp.ones(2), "betas": (0.9, 0.999)})
    ...     load(f"{folder}/weights.npz")
    {'w': array([1., 1.]), 'betas': (0.9, 0.999)}
    """
    write, _ = _format("save", path)
    if not isinstance(state, Mapping):
        raise TypeError(f"save: the state is a {type(state).__name__}. Pass save(path, state), as from state_dict().")
    arrays: Arrays = {}
    structure: str | None = None
    if all(isinstance(value, (np.ndarray, Tensor)) and isinstance(name, str) for name, value in state.items()):
        arrays = {name: _checked(name, value) for name, value in state.items()}
    else:
        structure = json.dumps(_described(state, (), arrays))
    with in_place_of(path) as file:
        write(file, arrays, structure)


def load(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """The state in a .safetensors or .npz file: what `save` was given, or another program's arrays by name.

    Raises
    ------
    ValueError
        Another suffix; a file that is truncated, altered, compressed, or holds Python objects or bfloat16.
    OSError
        The file does not exist or cannot be read.

    Examples
    --------
    >>> load("weights.pt")
    Traceback (most recent call last):
    ValueError: load: weights.pt has the suffix '.pt'. Use .safetensors or .npz.
    """
    _, read = _format("load", path)
    with open(path, "rb") as file:
        try:
            arrays, structure = read(file, os.fstat(file.fileno()).st_size)
            return arrays if structure is None else _put_together(structure, arrays)
        except _ForeignError as error:
            raise ValueError(f"load: {os.fspath(path)} holds {error}") from None
        except Exception as error:  # whatever a parser says of a damaged file
            said = isinstance(error, (ValueError, MemoryError, zipfile.BadZipFile))
            reason = (str(error).partition("\n")[0].rstrip(".") if said else "") or "it does not follow its format"
            name = os.fspath(path)
            raise ValueError(f"load: {name} is damaged: {reason}. Use another copy of the file.") from error


class _ForeignError(ValueError):
    """What is sound, perhaps, but is not read here."""


# ---- nested states ------------------------------------------------------------------------------------------------


def _described(value: Any, path: tuple[Any, ...], arrays: Arrays) -> Any:
    """A value as JSON: what JSON has is itself, all else {kind: content}. Arrays are put into `arrays` by name."""
    where = ".".join(map(str, path))
    if len(path) > _DEEPEST:
        raise ValueError(f"save: '{where[:40]}...' is nested more than {_DEEPEST} deep. Pass a flatter state.")
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if abs(value) < 2**63 else {"int": hex(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, (np.ndarray, np.generic, Tensor)):
        while where in arrays:
            where += "'"
        arrays[where] = _checked(where, value)
        return {"scalar" if isinstance(value, np.generic) else "array": where}
    if type(value) in (list, tuple):
        parts = [_described(part, (*path, i), arrays) for i, part in enumerate(value)]
        return parts if type(value) is list else {"tuple": parts}
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"save: '{where}' has the key {key!r}. Use strings and integers.")
        return {"dict": [[key, _described(part, (*path, key), arrays)] for key, part in value.items()]}
    raise TypeError(
        f"save: '{where}' is a {type(value).__name__}. Pass arrays, numbers, strings, bools, None, or dicts, lists and "
        "tuples of them."
    )


def _put_together(structure: str, arrays: Arrays) -> dict[Any, Any]:
    """The state that `_described` described, using up `arrays`."""
    try:
        state = _value(json.loads(structure), arrays)
    except Exception:  # it is a stranger's: anything may be anywhere
        state = None
    if not isinstance(state, dict) or arrays:
        raise ValueError("its description of what is where is not one that save writes")
    return state


def _value(part: Any, arrays: Arrays) -> Any:
    if isinstance(part, list):
        return [_value(each, arrays) for each in part]
    if not isinstance(part, dict):
        return part
    ((kind, content),) = part.items()
    match kind:
        case "dict":
            return _unique([(key, _value(each, arrays)) for key, each in content])
        case "tuple":
            return tuple(_value(each, arrays) for each in content)
        case "array":
            return arrays.pop(content)
        case "scalar":
            return arrays.pop(content)[()]
        case "int":
            return int(content, 16)
        case "float":
            return float(content)
    raise ValueError(f"'{kind}' is no kind of value")


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict, if no key is in it twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made


# ---- the two formats ----------------------------------------------------------------------------------------------


def _write_npz(file: BinaryIO, arrays: Arrays, structure: str | None) -> None:
    if structure is not None:
        arrays = arrays | {_STRUCTURE: np.frombuffer(structure.encode(), np.uint8)}
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read_npz(file: BinaryIO, size: int) -> tuple[Arrays, str | None]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        for info in entries:
            if info.compress_type != zipfile.ZIP_STORED:  # which could claim to hold any amount
                raise _ForeignError(f"'{info.filename}' compressed. Write it with np.savez.")
        if min((info.header_offset for info in entries), default=archive.start_dir) > 0:
            raise ValueError("there is something in it that no entry tells of")
        if sum(info.file_size for info in entries) > size:
            raise ValueError("its entries claim to be longer than the file")
        arrays = _unique([(info.filename.removesuffix(".npy"), npy_entry(archive, info)) for info in entries])
        file.seek(size - len(archive.comment) - 12)
    promised = int.from_bytes(file.read(2), "little")  # in the last record; zipfile does not compare
    if promised != min(len(arrays), 0xFFFF):
        raise ValueError(f"{len(arrays)} arrays were found, the file should hold {promised}")
    structure = arrays.pop(_STRUCTURE, None)
    return arrays, None if structure is None else structure.tobytes().decode()


def npy_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """The array of an entry, if its header and the list of entries agree on its size; never Python objects."""
    npy: Any = np.lib.format
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with archive.open(info) as entry:
        version = npy.read_magic(entry)
        if version not in headers:
            raise ValueError(f"'{info.filename}' has version {version} of the format")
        shape, _, dtype = headers[version](entry)
        claimed, there = math.prod(shape) * dtype.itemsize, info.file_size - entry.tell()
        if dtype.hasobject:
            raise ValueError(f"'{info.filename}' holds Python objects, which are never loaded")
        if claimed != there:  # before it is allocated
            raise ValueError(f"'{info.filename}' claims {claimed} bytes of data, {there} are there")
        entry.seek(0)
        array: NDArray[Any] = npy.read_array(entry, allow_pickle=False)  # to the end: there the checksum is compared
        return array


def _write_safetensors(file: BinaryIO, arrays: Arrays, structure: str | None) -> None:
    content = memoryview(_safetensors().save(arrays))
    start = 8 + int.from_bytes(content[:8], "little")
    metadata = {} if structure is None else {_STRUCTURE: structure}
    header = {"__metadata__": metadata} | json.loads(bytes(content[8:start]))
    metadata["sha256"] = _digest(header, content[start:])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST:
        raise ValueError(f"save: the header would have {len(text)} bytes. Pass fewer names and numbers, or use .npz.")
    file.write(len(text).to_bytes(8, "little") + text)
    file.write(content[start:])


def _read_safetensors(file: BinaryIO, size: int) -> tuple[Arrays, str | None]:
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _LONGEST):
        raise ValueError(f"the header claims {length} bytes, the file has {size}")
    header = json.loads(str(file.read(length), "utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict) or not isinstance(metadata := header.get("__metadata__", {}), dict):
        raise ValueError("the header is no list of arrays by name")
    data = np.fromfile(file, np.uint8)
    if "sha256" in metadata and metadata["sha256"] != _digest(header, data.data):
        raise ValueError("its content is not what was saved, the SHA-256 is another")
    structure = metadata.get(_STRUCTURE)
    if structure is not None and "sha256" not in metadata:
        raise ValueError("its SHA-256 is missing")
    return _cut(data, {name: entry for name, entry in header.items() if name != "__metadata__"}), structure


def _cut(data: NDArray[Any], entries: dict[str, Any]) -> Arrays:
    """The arrays in the data of a .safetensors, one behind the other without holes, as views of it."""
    arrays: Arrays = {}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (begin, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if dtype not in _DTYPES:
            raise _ForeignError(f"'{name}' as {dtype!r}, which NumPy does not have. Convert it to F32 first.")
        if not begin == end <= stop <= data.size:
            raise ValueError(f"'{name}' is said to lie at {begin} to {stop}, it must begin at {end} of {data.size}")
        array = data[begin:stop].view(_DTYPES[dtype]).reshape(shape)
        if list(array.shape) != shape:
            raise ValueError(f"'{name}' has the shape {shape}")
        arrays[name] = np.require(array, requirements="A")
        end = stop
    if end != data.size:
        raise ValueError(f"its arrays have {end} bytes, but {data.size} are there")
    return arrays


def _digest(header: dict[str, Any], data: memoryview) -> str:
    """SHA-256 of the header, without the digest and in one spelling, and of the data."""
    metadata = {name: text for name, text in header["__metadata__"].items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(header | {"__metadata__": metadata}, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()


def _safetensors() -> Any:
    try:
        from safetensors import numpy as safetensors
    except ImportError:
        raise ImportError(
            "weights: .safetensors files need the package safetensors. pip install 'tinygrad_bp[cli]', or use .npz."
        ) from None
    return safetensors


Write = Callable[[BinaryIO, Arrays, str | None], None]
Read = Callable[[BinaryIO, int], tuple[Arrays, str | None]]
_FORMATS: dict[str, tuple[Write, Read]] = {
    ".safetensors": (_write_safetensors, _read_safetensors),
    ".npz": (_write_npz, _read_npz),
}


def _format(name: str, path: str | os.PathLike[str]) -> tuple[Write, Read]:
    if not isinstance(path, (str, os.PathLike)):
        call = {"save": "save(path, state)", "load": "load(path)"}[name]
        raise TypeError(f"{name}: the path is a {type(path).__name__}. Pass {call}.")
    suffix = Path(path).suffix
    if suffix not in _FORMATS:
        raise ValueError(f"{name}: {os.fspath(path)} has the suffix '{suffix}'. Use .safetensors or .npz.")
    return _FORMATS[suffix]


def _checked(name: str, value: Any) -> NDArray[Any]:
    """The array of an entry, contiguous and in native byte order."""
    if "\0" in name or name in ("__metadata__", _STRUCTURE) or not 0 <= _size(name) <= _LONGEST_NAME:
        text = repr(name) if len(name) <= 100 else f"{name[:40]!r}... of {len(name)} characters"
        raise ValueError(f"save: {text} cannot be the name of an array. Use a string such as '0.weight'.")
    array = np.asarray(value.data if isinstance(value, Tensor) else value, order="C")
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"save: '{name}' has dtype {array.dtype}. Pass real numbers of at most 8 bytes, or bools.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _size(name: str) -> int:
    """How many bytes a name takes, -1 for half of a surrogate pair."""
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        return -1
