"""save and load: every bit comes back, damage is noticed, and a failed save leaves the old file and nothing else."""

from __future__ import annotations

import os
import re
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, boolean_dtypes, floating_dtypes, integer_dtypes

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.io import load, save

SUFFIXES = ["npz", "safetensors"]
each_format = pytest.mark.parametrize("suffix", SUFFIXES)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- every bit ----------------------------------------------------------------------------------------------------

NAN = np.frombuffer(np.uint64(0x7FF8DEADBEEF0001).tobytes(), np.float64)
STATE = {
    "0.weight": np.arange(6.0).reshape(2, 3),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "backwards": np.arange(5, dtype=np.float32)[::-1],
    "number": np.array(-0.0),
    "nothing": np.zeros((0, 3), np.float16),
    "nan": NAN,
    "bools": np.array([True, False]),
    "bytes": np.arange(256, dtype=np.uint8),
    "file": np.array([1, -1]),
    "a/../b": np.ones(1),
    "name.npy": np.ones(1),
    "Zürich 数": np.array(7, np.int8),
    "": np.zeros(1),
}


@each_format
def test_every_bit_comes_back(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    save(path, STATE)
    loaded = load(path)
    assert set(loaded) == set(STATE)
    for name, array in STATE.items():
        assert same(loaded[name], array), name
        assert loaded[name].flags.writeable
        assert loaded[name].flags.c_contiguous
    save(str(path), {})
    assert load(str(path)) == {}


@each_format
@given(
    array=st.one_of(floating_dtypes(endianness="="), integer_dtypes(endianness="="), boolean_dtypes()).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0))
    )
)
def test_any_array_comes_back(tmp_path_factory, suffix, array):
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    save(path, {"a": array})
    assert same(load(path)["a"], array)


@each_format
def test_tensors_lists_and_foreign_byte_order_are_saved_as_arrays(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    save(path, {"t": bp.tensor([1.0, 2.0], requires_grad=True), "l": [1, 2], "b": np.arange(3.0).astype(">f8")})
    loaded = load(path)
    assert same(loaded["t"], np.array([1.0, 2.0]))
    assert same(loaded["l"], np.array([1, 2]))
    assert same(loaded["b"], np.arange(3.0))


@each_format
def test_a_model_is_saved_and_loaded(tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    ours, theirs = (nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2)) for _ in range(2))
    x = np.ones((5, 4))
    save(path, ours.state_dict())
    assert (theirs(x).data != ours(x).data).any()
    theirs.load_state_dict(load(path))
    assert (theirs(x).data == ours(x).data).all()


@each_format
def test_the_same_state_gives_the_same_file(tmp_path, suffix):
    a, b = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    save(a, STATE)
    save(b, STATE)
    assert a.read_bytes() == b.read_bytes()
    if suffix == "npz":
        with zipfile.ZipFile(a) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_files_are_those_of_numpy_and_safetensors(tmp_path):
    from safetensors import numpy as safetensors

    state = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(3)}
    save(tmp_path / "w.npz", state)
    with np.load(tmp_path / "w.npz") as loaded:
        assert all(same(loaded[name], array) for name, array in state.items())
    np.savez(tmp_path / "theirs.npz", **state)
    assert all(same(load(tmp_path / "theirs.npz")[name], array) for name, array in state.items())

    save(tmp_path / "w.safetensors", state)
    assert all(same(safetensors.load_file(tmp_path / "w.safetensors")[name], array) for name, array in state.items())
    safetensors.save_file(state, tmp_path / "theirs.safetensors", {"format": "pt"})
    assert all(same(load(tmp_path / "theirs.safetensors")[name], array) for name, array in state.items())


# ---- damage -------------------------------------------------------------------------------------------------------


def damaged(path):
    """Loading fails in one line that names the file."""
    with pytest.raises(ValueError, match=r"^load: ") as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"load: {path} is damaged: "), message
    assert message.endswith(". Use another copy of the file.")
    assert "\n" not in message
    return message


@each_format
def test_every_flipped_byte_is_noticed_or_harmless(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    state = {"a": np.arange(4.0), "b": np.arange(3, dtype=np.float32), "c": np.array(True)}
    save(path, state)
    whole = path.read_bytes()
    noticed = 0
    for position in range(len(whole)):
        for mask in (1, 128):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ mask]) + whole[position + 1 :])
            try:
                loaded = load(path)
            except ValueError:
                damaged(path)
                noticed += 1
            else:
                assert set(loaded) == set(state)
                assert all(same(loaded[name], array) for name, array in state.items())
    assert noticed > len(whole)


@each_format
def test_every_truncation_is_noticed(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    save(path, {"a": np.arange(4.0)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        damaged(path)


@each_format
def test_a_flipped_weight_is_named(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    save(path, {"0.weight": np.full(4, 1234.5), "0.bias": np.zeros(3)})
    whole = path.read_bytes()
    position = whole.index(np.float64(1234.5).tobytes())
    path.write_bytes(whole[:position] + b"!" + whole[position + 1 :])
    assert "'0.weight" in damaged(path)


@each_format
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x05\x06" + bytes(17), b"\xff" * 100, b"\x02" + bytes(7) + b"[]"]
)
def test_other_files_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    damaged(path)


def npz(path, *entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)


def header(text, data=b""):
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + data


def test_an_npz_whose_list_of_entries_is_shorter_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    save(path, {"a": np.ones(1), "b": np.ones(1)})
    data = path.read_bytes()
    path.write_bytes(data[:-12] + b"\x03\x00" + data[-10:])
    assert "2 arrays were found, the file should hold 3" in damaged(path)


def test_an_npz_that_is_a_trap_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "Object arrays cannot be loaded when allow_pickle=False" in damaged(path)
    npz(path, ("a.npy", bytes(10**6)), compression=zipfile.ZIP_DEFLATED)
    assert "'a.npy' is compressed; write it with np.savez" in damaged(path)
    npz(path, ("readme.txt", b"hello"))
    damaged(path)
    npz(path, ("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,)}")))
    damaged(path)
    npz(path, ("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}")))
    damaged(path)
    npz(path, ("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(16))))
    assert "'a.npy' is longer than its array" in damaged(path)


def test_a_safetensors_with_the_wrong_digests_is_refused(tmp_path):
    from safetensors import numpy as safetensors

    path = tmp_path / "w.safetensors"
    safetensors.save_file({"a": np.ones(2)}, path, {"sha256": "{}"})
    assert "'a' is not what was saved" in damaged(path)
    safetensors.save_file({}, path, {"sha256": '{"a": "00"}'})
    assert "'a' is not what was saved" in damaged(path)
    safetensors.save_file({"a": np.ones(2)}, path, {"sha256": "[]"})
    damaged(path)


@each_format
def test_a_missing_file_and_a_folder_keep_pythons_errors(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"w.{suffix}"):
        load(tmp_path / f"w.{suffix}")
    (tmp_path / f"w.{suffix}").mkdir()
    with pytest.raises(OSError, match=f"w.{suffix}"):
        load(tmp_path / f"w.{suffix}")


# ---- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pt", "w", "w.npy", "w.NPZ"])
def test_another_suffix_is_refused(tmp_path, name):
    path = tmp_path / name
    tail = rf"{re.escape(str(path))} has the suffix '{path.suffix}'\. Use \.safetensors or \.npz\.$"
    with pytest.raises(ValueError, match=f"^save: {tail}"):
        save(path, {})
    with pytest.raises(ValueError, match=f"^load: {tail}"):
        load(path)
    assert list(tmp_path.iterdir()) == []


@each_format
@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({1: np.ones(2)}, ValueError, "save: 1 cannot be the name of an array. Use a string such as '0.weight'."),
        ({"a\0b": np.ones(2)}, ValueError, "save: 'a\\x00b' cannot be the name of an array."),
        ({"__metadata__": np.ones(2)}, ValueError, "save: '__metadata__' cannot be the name of an array."),
        ({"a": "text"}, TypeError, "save: 'a' has dtype <U4. Pass real numbers of at most 8 bytes, or bools."),
        ({"a": [None]}, TypeError, "save: 'a' has dtype object. Pass real numbers"),
        ({"a": np.ones(2, complex)}, TypeError, "save: 'a' has dtype complex128. Pass real numbers"),
        ({"a": np.zeros(1, "M8[s]")}, TypeError, "save: 'a' has dtype datetime64[s]. Pass real numbers"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_the_old_file_stays(tmp_path, suffix, state, error, message):
    path = tmp_path / f"w.{suffix}"
    save(path, {"a": np.ones(2)})
    before = path.read_bytes()
    with pytest.raises(error, match="^" + re.escape(message)):
        save(path, {"good": np.ones(2)} | state)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@each_format
@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 on this machine")
def test_numbers_of_more_than_eight_bytes_are_refused(tmp_path, suffix):
    with pytest.raises(
        TypeError, match=r"^save: 'a' has dtype float\d+\. Pass real numbers of at most 8 bytes, or bools"
    ):
        save(tmp_path / f"w.{suffix}", {"a": np.ones(2, np.longdouble)})


def test_without_the_package_the_cure_is_named(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save(path, {"a": np.ones(2)})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    message = (
        r"^weights: \.safetensors files need the package safetensors\. pip install 'tinygrad_bp\[cli\]', or use \.npz"
    )
    with pytest.raises(ImportError, match=message):
        load(path)
    with pytest.raises(ImportError, match=message):
        save(tmp_path / "new.safetensors", {"a": np.ones(2)})
    assert list(tmp_path.iterdir()) == [path]


# ---- arguments in the wrong order ---------------------------------------------------------------------------------


def test_save_and_load_say_what_they_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = nn.Linear(2, 1)
    with pytest.raises(TypeError, match=r"^save: the path is a dict\. Pass save\(path, state\)\.$"):
        save(net.state_dict(), "a.npz")
    with pytest.raises(TypeError, match=r"^save: the state is a Linear\. Pass save\(path, state\), as from state_dict"):
        save("a.npz", net)
    for path, kind in ((net, "Linear"), (5, "int"), (None, "NoneType")):
        with pytest.raises(TypeError, match=rf"^load: the path is a {kind}\. Pass load\(path\)\.$"):
            load(path)
    assert os.listdir() == []


def test_a_comment_in_an_npz_does_no_harm(tmp_path):
    path = tmp_path / "w.npz"
    save(path, {"w": np.ones(3)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"trained on Monday"
    assert load(path)["w"].tolist() == [1.0, 1.0, 1.0]
