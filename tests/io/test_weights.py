"""save and load: every bit comes back, damage is noticed, and a failed save leaves the old file and nothing else."""

from __future__ import annotations

import copy
import json
import math
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
from tinygrad_bp.io import load, save, weights

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
    "strided": np.arange(24.0).reshape(4, 6)[::2, ::3],
    "spread": np.broadcast_to(np.float32(3.0), (2, 3)),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.uint16).reshape(2, 3)),
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
def test_tensors_and_foreign_byte_order_are_saved_as_arrays(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    save(path, {"t": bp.tensor([1.0, 2.0], requires_grad=True), "b": np.arange(3.0).astype(">f8")})
    loaded = load(path)
    assert same(loaded["t"], np.array([1.0, 2.0]))
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
    begin, end = re.escape(f"load: {path} "), r"Use another copy of the file\.$"
    compressed = r"holds '[^']*' compressed\. Write it with np\.savez\.$"  # one flipped bit says so
    assert re.match(f"{begin}(is damaged: .*{end}|{compressed})", message), message
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
def test_a_flipped_weight_is_noticed_as_such(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    save(path, {"0.weight": np.full(4, 1234.5), "0.bias": np.zeros(3)})
    whole = path.read_bytes()
    position = whole.index(np.float64(1234.5).tobytes())
    path.write_bytes(whole[:position] + b"!" + whole[position + 1 :])
    reason = {"npz": "Bad CRC-32 for file '0.weight.npy'", "safetensors": "the SHA-256 is another"}[suffix]
    assert reason in damaged(path)


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
    path.write_bytes(data[:-14] + bytes(8) + data[-6:])  # no entries, and no length of their list
    assert "there is something in it that no entry tells of" in damaged(path)


def test_an_npz_that_is_a_trap_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "'a.npy' holds Python objects, which are never loaded" in damaged(path)
    npz(path, ("readme.txt", b"hello"))
    damaged(path)
    one = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}"
    for shape in ((2**60,), (2**40,), (-1,), (2,), (2**62, 4)):
        npz(path, ("a.npy", header(one.replace("(1,)", str(shape)), bytes(8))))
        assert f"'a.npy' claims {8 * math.prod(shape)} bytes of data, 8 are there" in damaged(path)
    npz(path, ("a.npy", header(one, bytes(16))))
    assert "'a.npy' claims 8 bytes of data, 16 are there" in damaged(path)
    npz(path, ("a.npy", header(one, bytes(8)).replace(b"NUMPY\x01", b"NUMPY\x03")))
    assert "'a.npy' has version (3, 0) of the format" in damaged(path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        npz(path, ("a.npy", header(one, bytes(8))), ("a.npy", header(one, bytes(8))))
    assert "a name is there twice" in damaged(path)


def test_entries_of_an_npz_that_are_one_on_another_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000,)}", bytes(8000)))
        for k in range(3):
            again = copy.copy(archive.filelist[0])
            again.filename = f"{k}.npy"
            archive.filelist.append(again)
    assert "its entries claim to be longer than the file" in damaged(path)


def safetensors_file(path, header, data=b""):
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(begin, stop, dtype="F64", shape=None):
    return {"dtype": dtype, "shape": [(stop - begin) // 8] if shape is None else shape, "data_offsets": [begin, stop]}


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        ("[]", 0, "the header is no list of arrays by name"),
        ('{"__metadata__": []}', 0, "the header is no list of arrays by name"),
        ({"a": entry(0, 2**63)}, 8, "'a' is said to lie at 0 to 9223372036854775808, it must begin at 0 of 8"),
        ({"a": entry(0, 8, shape=[2**60])}, 8, "cannot reshape"),
        ({"a": entry(0, 0, shape=[0, 2**70])}, 0, "Maximum allowed dimension exceeded"),
        ({"a": entry(0, 8, shape=[-1])}, 8, "'a' has the shape [-1]"),
        ({"a": entry(0, 8, shape=[1.0])}, 8, "it does not follow its format"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "'b' is said to lie at 4 to 12, it must begin at 8 of 12"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, 8, "'b' is said to lie at 0 to 8, it must begin at 8 of 8"),
        ({"a": entry(0, 8), "b": entry(16, 24)}, 24, "'b' is said to lie at 16 to 24, it must begin at 8 of 24"),
        ({"a": entry(8, 0, shape=[1])}, 8, "'a' is said to lie at 8 to 0, it must begin at 0 of 8"),
        ({"a": entry(0, 8)}, 16, "its arrays have 8 bytes, but 16 are there"),
        ({"a": entry(0, 8, dtype=["F64"])}, 8, "it does not follow its format"),
        ({"a": {"dtype": "F64"}}, 0, "it does not follow its format"),
        ({"a": 1}, 0, "it does not follow its format"),
        ('{"a": 1, "a": 2}', 0, "a name is there twice"),
        ("[" * 200_000, 0, "it does not follow its format"),
        ('{"a": ' * 200_000, 0, "it does not follow its format"),
        ('{"a": ' + "9" * 5000 + "}", 0, "Exceeds the limit"),
        ('{"\ud800": 1}', 0, "'utf-8' codec can't decode"),
        ({"__metadata__": {"sha256": "00"}, "a": entry(0, 8)}, 8, "the SHA-256 is another"),
        ({"__metadata__": {"sha256": None}}, 0, "the SHA-256 is another"),
        ({"__metadata__": {weights._STRUCTURE: '{"dict": []}'}}, 0, "its SHA-256 is missing"),
    ],
)
def test_a_safetensors_that_is_a_trap_is_refused(tmp_path, header, data, reason):
    assert reason in damaged(safetensors_file(tmp_path / "w.safetensors", header, bytes(data)))


def test_sound_files_of_other_programs_that_are_not_read(tmp_path):
    path = safetensors_file(tmp_path / "w.safetensors", {"a": entry(0, 8, dtype="BF16", shape=[4])}, bytes(8))
    message = f"load: {path} holds 'a' as 'BF16', which NumPy does not have. Convert it to F32 first."
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        load(path)
    np.savez_compressed(path := tmp_path / "w.npz", a=np.ones(3))
    message = f"load: {path} holds 'a.npy' compressed. Write it with np.savez."
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        load(path)


def test_what_a_safetensors_claims_is_not_allocated(tmp_path):
    path = tmp_path / "w.safetensors"
    for claim in (2**31, 2**63):
        path.write_bytes(claim.to_bytes(8, "little") + b"{}")
        assert f"the header claims {claim} bytes, the file has 10" in damaged(path)
    with open(path, "wb") as file:  # 2 GB of nothing
        file.write((2**31 - 8).to_bytes(8, "little"))
        file.truncate(2**31)
    assert "the header claims" in damaged(path)


def test_a_safetensors_of_another_program_is_read_as_it_lies(tmp_path):
    header = {"a": entry(0, 2, "F16", []), "../b": entry(2, 10), "none": entry(2, 2, "I64", [0, 3])}
    path = safetensors_file(tmp_path / "w.safetensors", header, np.float16(1.5).tobytes() + np.float64(2.5).tobytes())
    loaded = load(path)
    assert same(loaded["a"], np.array(1.5, np.float16))
    assert same(loaded["../b"], np.array([2.5]))
    assert loaded["../b"].flags.aligned
    assert same(loaded["none"], np.zeros((0, 3), np.int64))


@pytest.mark.parametrize(
    "structure",
    [
        "", "1", "[]", "{}", '{"dict": 1}', '{"dict": [["a", {"array": "a"}], ["a", 1]]}', '{"dict": [["a", 1]]}',
        '{"dict": [["a", {"array": "b"}]]}', '{"dict": [["a", {"array": "a"}], ["b", {"array": "a"}]]}',
        '{"dict": [["a", {"object": "a"}]]}', '{"dict": [[[], {"array": "a"}]]}', '{"list": []}',
        '{"dict": [["a", {"array": "a"}], ["b", {"int": "seven"}]]}', '{"tuple": ' * 5000, '{"tuple": [' * 400,
    ],
)  # fmt: skip
@each_format
def test_a_description_that_save_would_not_write_is_refused(tmp_path, suffix, structure):
    path = tmp_path / f"w.{suffix}"
    with open(path, "wb") as file:
        {"npz": weights._write_npz, "safetensors": weights._write_safetensors}[suffix](
            file, {"a": np.ones(1)}, structure
        )
    assert "its description of what is where is not one that save writes" in damaged(path)


@each_format
def test_a_missing_file_and_a_folder_keep_pythons_errors(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"w.{suffix}"):
        load(tmp_path / f"w.{suffix}")
    (tmp_path / f"w.{suffix}").mkdir()
    with pytest.raises(OSError, match=f"w.{suffix}"):
        load(tmp_path / f"w.{suffix}")


# ---- nested states ------------------------------------------------------------------------------------------------

NESTED = {
    "numbers": [0, -1, 2**63, -(2**127), 10**5000, 0.1, -0.0, 5e-324, 1e308, math.inf, -math.inf, 3.0, True, False],
    "nan": math.nan,
    "texts": ["", "Zürich", "\0", "\ud800", "__metadata__"],
    "none": None,
    "betas": (0.9, (1,), []),
    "": {},
    "state": {0: {"step": np.array(3.0)}, 1: {}, -1: {"0": np.arange(4)[::2]}},
    "1": {0: np.zeros((0, 2)), "0": np.ones(1, np.float16), "0'": np.ones(2)},
    "a": {"b": np.array(1)},
    "a.b": np.array(2),
    "scalars": [np.float64(0.5), np.float32(-0.0), np.int64(-5), np.bool_(True)],
}
ENDLESS: dict = {}
ENDLESS["a"] = ENDLESS


def alike(a, b):
    """The same value of the same kind, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and [type(k) for k in a] == [type(k) for k in b] and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return same(a, b)
    return repr(a) == repr(b) if isinstance(a, float) else a == b  # -0.0 and nan


@each_format
def test_a_nested_state_comes_back(tmp_path, suffix):
    path = tmp_path / f"n.{suffix}"
    save(path, NESTED)
    assert alike(load(path), NESTED)
    first = path.read_bytes()
    save(path, NESTED)
    assert path.read_bytes() == first
    save(path, {"t": bp.ones(2), "nested": [bp.zeros(1)]})
    assert alike(load(path), {"t": np.ones(2), "nested": [np.zeros(1)]})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@each_format
@given(state=st.dictionaries(st.text(max_size=3) | st.integers(), values, min_size=1, max_size=3))
def test_any_nested_state_comes_back(tmp_path_factory, suffix, state):
    path = tmp_path_factory.getbasetemp() / f"nested.{suffix}"
    save(path, state)
    assert alike(load(path), state)


def test_the_arrays_of_a_nested_state_are_there_for_other_programs(tmp_path):
    from safetensors import numpy as safetensors

    save(tmp_path / "n.safetensors", NESTED)
    theirs = safetensors.load_file(tmp_path / "n.safetensors")
    assert theirs["state.-1.0"].tolist() == [0, 2]
    assert (theirs["a.b"], theirs["a.b'"], theirs["1.0"].shape) == (1, 2, (0, 2))
    save(tmp_path / "n.npz", NESTED)
    with np.load(tmp_path / "n.npz") as loaded:
        assert set(loaded) == {*theirs, "tinygrad_bp.structure"}


def test_a_header_is_strict_and_may_be_spelled_in_another_way(tmp_path):
    path = tmp_path / "n.safetensors"
    save(path, NESTED)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    json.loads(header["__metadata__"][weights._STRUCTURE], parse_constant=refuse)
    header = {name: dict(reversed(part.items())) for name, part in reversed(header.items())}
    safetensors_file(path, json.dumps(header, indent=1), whole[start:])
    assert path.read_bytes() != whole
    assert alike(load(path), NESTED)


@pytest.mark.parametrize("name", ["a" * length for length in range(1, 9)])
def test_arrays_lie_where_they_can_be_mapped(tmp_path, name):
    save(tmp_path / "w.safetensors", {name: np.ones(2)})
    assert int.from_bytes((tmp_path / "w.safetensors").read_bytes()[:8], "little") % 8 == 0


def test_a_header_that_nobody_would_read_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "n.safetensors"
    monkeypatch.setattr(weights, "_LONGEST", 1000)
    message = r"^save: the header would have \d+ bytes\. Pass fewer names and numbers, or use \.npz\.$"
    with pytest.raises(ValueError, match=message):
        save(path, {"numbers": list(range(1000))})
    assert list(tmp_path.iterdir()) == []


@each_format
def test_every_flipped_byte_of_a_nested_state_is_noticed_or_harmless(tmp_path, suffix):
    path = tmp_path / f"n.{suffix}"
    state = {"lr": 0.25, "state": {0: {"step": np.array(3.0)}}, "betas": (0.5, 2**70), "names": ["ab"]}
    save(path, state)
    whole = bytearray(path.read_bytes())
    noticed = 0
    for position in range(len(whole)):
        whole[position] ^= 1
        path.write_bytes(whole)
        try:
            assert alike(load(path), state)
        except ValueError:
            damaged(path)
            noticed += 1
        whole[position] ^= 1
    assert noticed > len(whole) // 2 if suffix == "npz" else noticed == len(whole)


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
        ({1.0: np.ones(2)}, TypeError, "save: '' has the key 1.0. Use strings and integers."),
        ({"a": {True: 1}}, TypeError, "save: 'a' has the key True. Use strings and integers."),
        ({"a\0b": np.ones(2)}, ValueError, "save: 'a\\x00b' cannot be the name of an array."),
        ({"__metadata__": np.ones(2)}, ValueError, "save: '__metadata__' cannot be the name of an array."),
        ({"\ud800": np.ones(2)}, ValueError, "save: '\\ud800' cannot be the name of an array."),
        ({"x" * 60_001: np.ones(2)}, ValueError, f"save: '{'x' * 40}'... of 60001 characters cannot be the name of an"),
        (
            {"a": np.array("text")},
            TypeError,
            "save: 'a' has dtype <U4. Pass real numbers of at most 8 bytes, or bools.",
        ),
        ({"a": np.array([None])}, TypeError, "save: 'a' has dtype object. Pass real numbers"),
        ({"a": [0, np.array([{}])]}, TypeError, "save: 'a.1' has dtype object. Pass real numbers"),
        (
            {"a": {"b": [len]}},
            TypeError,
            "save: 'a.b.0' is a builtin_function_or_method. Pass arrays, numbers, strings",
        ),
        ({"a": ({1, 2},)}, TypeError, "save: 'a.0' is a set. Pass arrays, numbers, strings"),
        ({"a": 1j}, TypeError, "save: 'a' is a complex. Pass arrays, numbers, strings"),
        ({"a": b"bytes"}, TypeError, "save: 'a' is a bytes. Pass arrays, numbers, strings"),
        (ENDLESS, ValueError, "save: 'a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a....' is nested more than 100 deep. Pass"),
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
        save(tmp_path / "new.safetensors", {"a": np.ones(2)})
    assert same(load(path)["a"], np.ones(2))
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
