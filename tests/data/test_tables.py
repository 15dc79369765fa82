"""Tables from files: every dialect comes back, and a malformed file is one line that says where and what."""

from __future__ import annotations

import csv
import io
import os
import re
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bp.data import tables
from tinygrad_bp.data.tables import Table, read_csv, read_npz

# ---- .csv that is right -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def some(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tables") / "some.csv"


def table_of(path: Path, content: str | bytes) -> Table:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_csv(path)


def rows_of(table: Table) -> list[list[str]]:
    """The text of all cells, also of those that are refused for being empty."""
    for name in table.names:
        with suppress(ValueError):
            table.cells(name)
    return [list(row) for row in zip(*(table._cells[name] for name in table.names), strict=True)]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
words = texts.filter(str.strip)


@st.composite
def written(draw):
    """Names, rows, and the bytes of a .csv that holds them, in any dialect that is read."""
    names = draw(st.lists(words, min_size=1, max_size=5, unique_by=str.strip))
    rows = draw(st.lists(st.lists(texts, min_size=len(names), max_size=len(names)), min_size=1, max_size=5))
    delimiter = draw(st.sampled_from(",;\t"))
    stream = io.StringIO(newline="")
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(stream, delimiter=delimiter, lineterminator=ends, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    return names, rows, stream.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))


@given(drawn=written())
def test_what_csv_writer_quotes_comes_back(some, drawn):
    names, rows, content = drawn
    table = table_of(some, content)
    assert [*table.names] == [name.strip() for name in names]
    assert rows_of(table) == [[cell.strip() for cell in row] for row in rows]


plain = st.text("abcXYZ019.-_ '!", min_size=1, max_size=6).filter(str.strip)


@given(
    rows=st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(plain, min_size=n, max_size=n), min_size=2, max_size=5)),
    delimiter=st.sampled_from(",;\t"),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_the_delimiter_is_seen_from_the_header(some, rows, delimiter, ends):
    rows[0] = [f"{k} {name}" for k, name in enumerate(rows[0])]
    table = table_of(some, ends.join(delimiter.join(row) for row in rows))
    assert [list(table.names), *rows_of(table)] == [[cell.strip() for cell in row] for row in rows]


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_come_back_bit_for_bit(some, numbers):
    table = table_of(some, "x\n" + "".join(f"{number!r}\n" for number in numbers))
    assert table.is_numeric("x")
    assert table.numbers("x").tobytes() == np.array(numbers).tobytes()


def test_blank_lines_are_skipped_and_lines_counted_as_an_editor_does(some):
    table = table_of(some, '\n  \na, "b"\n1, 2\n\n   \n3, "4\n5"\n"6",7')
    assert [*table.names] == ["a", "b"]
    assert rows_of(table) == [["1", "2"], ["3", "4\n5"], ["6", "7"]]
    assert table.lines == [4, 7, 9]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("a,b;c", ("a", "b;c")),
        ("a (x, y);b;c", ("a (x, y)", "b", "c")),
        ('"a;b","c"', ("a;b", "c")),
        ("a\tb,c\td", ("a", "b,c", "d")),
        ("alone", ("alone",)),
    ],
)
def test_headers_with_several_delimiters(some, header, names):
    delimiter = next(d for d in ",;\t" if len(header.split(d)) >= len(names))
    assert table_of(some, f"{header}\n" + delimiter.join("1" * len(names))).names == names


def test_text_and_numbers_of_a_row_are_those_of_the_row(some):
    table = table_of(some, "id,size,kind,mixed\n1,2.5, a ,7\n\n2,1e3,b,x\n3,-0,a,8\n")
    assert [table.is_numeric(name) for name in table.names] == [True, True, False, False]
    assert table.numbers("size").tolist() == [2.5, 1000.0, -0.0]
    for name, cells in (("mixed", "7 x 8"), ("id", "1 2 3"), ("kind", "a b a"), ("size", "2.5 1e3 -0")):
        assert table.cells(name) == tuple(cells.split())


def test_numbers_take_little_more_memory_than_their_file(some):
    X = np.random.default_rng(0).random((400, 100))
    header = ",".join(f"c{k}" for k in range(100))
    np.savetxt(some, X, delimiter=",", header=header, comments="", fmt="%.17g")
    tracemalloc.start()
    try:
        table = read_csv(some)
        assert all(np.array_equal(table.numbers(f"c{k}"), X[:, k]) for k in range(100))
        assert tracemalloc.get_traced_memory()[1] < 3.5 * some.stat().st_size
    finally:
        tracemalloc.stop()


# ---- .csv that is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty. Give a line of names and at least one row."),
        ("\ufeff\n\n", "the file is empty."),
        ("a,b\n", "the file names 2 columns and has no rows. Give a line of names and at least one row."),
        ("a,,c\n1,2,3", "column 2 of 3 has no name. Name it in line 1."),
        ("a,b, a\n1,2,3", "columns 1 and 3 are both named 'a'. Rename one."),
        (
            "a;b\n1;2\n\n1;2;3\n",
            "line 4 has 3 cells, the header 2, separated by ';'. Correct the line; a cell that holds ';' needs quotes.",
        ),
        ("a\tb\n1\n", "line 2 has 1 cells, the header 2, separated by '\\t'."),
        ('a,b\n1,2\n"3,4\n5,6\n', "in the row that begins on line 3: unexpected end of data. Correct its quotes."),
        ('a,b\n"1"2,3\n', "in the row that begins on line 2: ',' expected after '\"'. Correct its quotes."),
        ("a\n" + "1" * 200_000, "in the row that begins on line 2: field larger than field limit (131072)."),
        (b"a,b\n1,\0\n", "byte 6, on line 2, is NUL: no text in UTF-8. Save the table as CSV in UTF-8."),
        (b"a,b\n1,\xe9\n", "byte 6, on line 2, is not UTF-8: no text in UTF-8. Save the table as CSV in UTF-8."),
        ("a,b\n1,2\n".encode("utf-16"), "byte 3, on line 1, is NUL: no text in UTF-8."),
    ],
)
def test_malformed_csv(tmp_path, content, message):
    path = tmp_path / "some.csv"
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {message}")) as caught:
        table_of(path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "line", "what"),
    [
        ("1\n2.5\n,5", 4, "is empty. Give a value, or leave the row or the column out."),
        ("1\nnan\n3", 3, "is nan. Give a finite number, or leave the row or the column out."),
        ("1\n2\n-1e999", 4, "is -inf. Give a finite number, or leave the row or the column out."),
        ("1\n?\n3", 3, "is '?', no number like 1234.5. Correct it, or leave it out."),
        ("NA\n2\n3", 2, "is 'NA', no number like 1234.5."),
        ('"3,14"\n"2,71"', 2, "is '3,14', no number like 1234.5."),
        ("1_000\n2", 2, "is '1_000', no number like 1234.5."),
        ("1\n\u0661", 3, "is '\u0661', no number like 1234.5."),
        ("5 %\n3", 2, "is '5 %', no number like 1234.5."),
        ("a\nNaN\nb", 3, "is nan, a missing value. Give a value, or leave the row or the column out."),
    ],
)
def test_cells_that_are_no_value(some, cells, line, what):
    rows = [row if row.startswith(",") else f"{row}," for row in cells.split("\n")]
    table = table_of(some, "x,other\n" + "".join(f"{row}\n".replace(",\n", ",0\n") for row in rows))
    with pytest.raises(ValueError, match="^" + re.escape(f"{some}: line {line}, column 'x' {what}")):
        table.is_numeric("x")


@pytest.mark.parametrize("cells", ["0\n1\n3+", "a\nb", "none\nna", "1\n2020-01-01", "red\n7", "none\nsome", "1\n20-30"])
def test_columns_that_are_text(some, cells):
    table = table_of(some, f"x\n{cells}")
    assert table.is_numeric("x") is False
    with pytest.raises(ValueError, match=r"line \d, column 'x' is '.*', where a number is expected. Correct it.$"):
        table.numbers("x")


@pytest.mark.parametrize(
    ("numbers", "strays"),
    [
        (range(400), {4: "12a"}),
        ([k % 270 for k in range(400)], {4: "unknown", 7: "3O"}),
        ([k % 4 for k in range(400)], {7: "unknown"}),  # few cells, though 1 of 5 different ones
        (
            [k % 40 for k in range(80)],
            dict.fromkeys(range(3, 80, 2), "--"),
        ),  # many cells, though 1 of 21 different ones
    ],
)
def test_strays_among_numbers_are_refused_with_their_line(some, numbers, strays):
    cells = [strays.get(k, str(number)) for k, number in enumerate(numbers)]
    table = table_of(some, "x\n" + "\n".join(cells))
    assert table.is_numeric("x") is False
    row, n = min(strays), len(cells)
    message = (
        f"{some}: line {row + 2}, column 'x' is '{strays[row]}', no number, as {n - len(strays)} of {n} cells are."
    )
    advice = " Correct it, or leave it out. If these are categories, put a letter before each."
    with pytest.raises(ValueError, match="^" + re.escape(message + advice) + "$"):
        table.refuse_strays("x")


@pytest.mark.parametrize(
    "cells",
    [
        ["0", "1", "2", "3+"] * 25,
        ["0"] * 345 + ["1"] * 102 + ["2"] * 101 + ["3+"] * 51,
        ["0", "1"] * 49 + ["x", "x"],
        [*"12345678x"],
        ["red", "7"],
    ],
)
def test_texts_and_numbers_that_are_categories(some, cells):
    table = table_of(some, "x\n" + "\n".join(cells))
    table.refuse_strays("x")
    assert table.is_numeric("x") is False


def test_only_columns_in_use_must_be_filled(some):
    assert rows_of(table_of(some, "a,b\n1,\n,2\n3,4"))[1] == ["", "2"]


def test_a_column_that_is_not_there(some):
    table = table_of(some, "Species,width\na,1")
    for name, hint in (("species", "Did you mean 'Species'?"), ("q", "Its columns: 'Species', 'width'.")):
        with pytest.raises(ValueError, match="^" + re.escape(f"{some}: there is no column '{name}'. {hint}") + "$"):
            table.cells(name)
    many = table_of(some, ",".join(f"c{k}" for k in range(100)) + "\n" + "1," * 99 + "1")
    with pytest.raises(ValueError, match=r"Its columns: 'c0', .*'c7', \.\.\. \(100 in all\)\.$"):
        many.cells("target")


@pytest.mark.parametrize("read", [read_csv, lambda path: read_npz(path, ["X"])], ids=["csv", "npz"])
def test_paths_of_no_file(tmp_path, read):
    (tmp_path / "iris.csv").write_text("a\n1")
    (tmp_path / "Iriss.csv~").write_text("")
    with pytest.raises(
        FileNotFoundError, match="^" + re.escape(f"{tmp_path}/iriss.csv: there is no such file.") + ".*"
    ):
        read(f"{tmp_path}/iriss.csv")
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'iris.csv'\?$"):
        read(tmp_path / "Iriss.csv")
    for nowhere in (tmp_path / "no" / "a.csv", tmp_path / ("x" * 300), "a\0b", tmp_path / "iris.csv" / "b"):
        with pytest.raises(FileNotFoundError, match=r"there is no such file\.$"):
            read(nowhere)
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Name a \.csv or \.npz file\.$"):
        read(tmp_path)
    with pytest.raises(TypeError, match=r"^data: the path is 5, a int\. Give the name of a \.csv or \.npz file\.$"):
        read(5)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("read", [read_csv, lambda path: read_npz(path, ["X"])], ids=["csv", "npz"])
def test_a_file_that_cannot_be_read(tmp_path, monkeypatch, read):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "some.csv"
    path.write_text("a\n1")
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    message = f"{path}: cannot be read: Permission denied. Check the file and its permissions."
    with pytest.raises(PermissionError, match="^" + re.escape(message) + "$"):
        read(path)


# ---- .npz ---------------------------------------------------------------------------------------------------------


def npz(path: Path, *entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def npy(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + len(line).to_bytes(2 if version[0] == 1 else 4, "little") + line + data


def described(shape: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    arrays = {
        "X": np.arange(24.0, dtype="f4").reshape(4, 3, 2),
        "y": np.array(["a", "b", "a", "c"]),
        "fortran": np.asfortranarray(np.eye(4)),
        "swapped": np.arange(4, dtype=">i4"),
        "bools": np.arange(4) > 1,
    }
    save(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz", list(arrays)).arrays
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_arrays_of_different_numbers_of_rows(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((5, 3)), y=np.ones(5), z=np.ones(4))
    assert list(read_npz(tmp_path / "a.npz", ["X", "y"]).arrays) == ["X", "y"]
    with pytest.raises(
        ValueError, match="^" + re.escape(f"{tmp_path}/a.npz: 'X' has 5 rows, 'z' 4. Give as many.") + "$"
    ):
        read_npz(tmp_path / "a.npz", ["X", "z"])


def test_arrays_that_are_not_asked_for_are_not_looked_at(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones(2), names=np.array([{}], dtype=object))
    assert read_npz(tmp_path / "a.npz", ["X"]).arrays["X"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(described("(1152921504606846976,)")), "'X.npy' claims 9223372036854775808 bytes of data, 0 are there"),
        (npy(described("(2,)"), bytes(24)), "'X.npy' claims 16 bytes of data, 24 are there"),
        (npy(described("(-1,)"), bytes(8)), "'X.npy' claims -8 bytes of data, 8 are there"),
        (npy(described("(1,)", "'|O'"), bytes(8)), "'X.npy' holds Python objects, which are never loaded"),
        (npy(described("(1,)"), bytes(8), b"\x03\x00"), "'X.npy' has version (3, 0) of the format"),
        (npy("__import__('os').system('false')"), "malformed node or string"),
        (npy("(" * 5000 + ")" * 5000), ""),
        (b"", ""),
        (b"hello", ""),
    ],
)
def test_an_npz_that_is_a_trap_is_refused(tmp_path, content, message):
    path = npz(tmp_path / "a.npz", ("X.npy", content))
    begin, end = f"{path}: this is no sound .npz: {message}", "Write it again with np.savez."
    with pytest.raises(ValueError, match="^" + re.escape(begin) + ".*" + re.escape(end) + "$"):
        read_npz(path, ["X"])


def test_an_npz_that_would_burst_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros(10**6))
    assert read_npz(tmp_path / "a.npz", ["X"]).arrays["X"].shape == (10**6,)
    monkeypatch.setattr(tables, "LARGE", 10**6)
    with pytest.raises(ValueError, match=r"'X.npy' claims to hold 8000128 bytes in \d+\. Write it again"):
        read_npz(tmp_path / "a.npz", ["X"])
    path = npz(tmp_path / "b.npz", ("X.npy", bytes(9)), compression=zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match=r"'X.npy' is compressed by an unusual method, 12\. Write"):
        read_npz(path, ["X"])


def test_an_npz_that_lies_of_its_size_is_refused_before_it_is_believed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", npy(described("(250000000,)")))
        archive.filelist[0].file_size = archive.filelist[0].compress_size = 2_000_000_128
    size = (tmp_path / "a.npz").stat().st_size
    with pytest.raises(ValueError, match=rf"'X.npy' claims to hold 2000000128 bytes in {size}\. Write it again"):
        read_npz(tmp_path / "a.npz", ["X"])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_checksum_is_noticed(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("X.npy", npy(described("(1000,)"), np.arange(1000.0).tobytes()))
        archive.filelist[0].CRC ^= 1
    with pytest.raises(ValueError, match=r"a.npz: this is no sound .npz: Bad CRC-32 for file 'X.npy'\. Write it again"):
        read_npz(tmp_path / "a.npz", ["X"])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(2, complex), "the array 'X' has dtype complex128. Give numbers, bools or text."),
        (np.array([b"a"]), "the array 'X' has dtype |S1. Give numbers, bools or text."),
        (np.float64(1), "the array 'X' has shape (), no rows. Give at least one."),
        (np.ones((0, 3)), "the array 'X' has shape (0, 3), no rows. Give at least one."),
        (np.array([[1, 2], [3, np.nan]]), "row 1 of the array 'X' holds nan or inf. Give finite numbers."),
    ],
)
def test_arrays_that_are_no_data(tmp_path, array, message):
    np.savez(tmp_path / "a.npz", X=array)
    with pytest.raises(ValueError, match="^" + re.escape(f"{tmp_path}/a.npz: {message}") + "$"):
        read_npz(tmp_path / "a.npz", ["X"])


def test_an_array_that_is_not_there(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.ones(2), y=np.ones(2))
    for name, hint in (("X_train", "Did you mean 'x_train'?"), ("Z", "Its arrays: 'x_train', 'y'.")):
        with pytest.raises(ValueError, match=re.escape(f"a.npz: there is no array '{name}'. {hint}") + "$"):
            read_npz(tmp_path / "a.npz", [name])


# ---- anything at all ----------------------------------------------------------------------------------------------


def refused_in_one_line(read, path: Path) -> bool:
    """Whether the file is refused; anything but a ValueError of one line that begins with the file fails."""
    try:
        read(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
        return True
    return False


def use(path: Path) -> None:
    table = read_csv(path)
    for name in table.names:
        table.is_numeric(name)


@given(content=st.binary() | st.text('a,;\t"\n\r 1', max_size=60).map(str.encode))
def test_any_bytes_are_a_table_or_one_line(some, content):
    some.write_bytes(content)
    refused_in_one_line(use, some)
    refused_in_one_line(lambda path: read_npz(path, ["X"]), some)


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.integers(at, min(at + 8, len(content))))
        content[at:end] = draw(st.binary(max_size=8))
    return bytes(content[: draw(st.integers(0, len(content)))]) if draw(st.booleans()) else bytes(content)


def of_npz(save) -> bytes:
    stream = io.BytesIO()
    save(stream, X=np.arange(6.0).reshape(3, 2), y=[0, 1, 2])
    return stream.getvalue()


@given(data=st.data())
def test_a_damaged_file_is_whole_or_one_line(some, data):
    kind = data.draw(st.sampled_from(["csv", "npz", "compressed"]))
    if kind == "csv":
        some.write_bytes(data.draw(damaged(b'a;b;"c d"\r\n1;2.5;x\r\n3;-4e5;"y;z"\r\n')))
        refused_in_one_line(use, some)
    else:
        some.write_bytes(data.draw(damaged(of_npz(np.savez if kind == "npz" else np.savez_compressed))))
        refused_in_one_line(lambda path: read_npz(path, ["X", "y"]), some)


def test_every_flipped_byte_of_an_array_is_noticed(some):
    whole = of_npz(np.savez)
    at = whole.index(np.arange(6.0).tobytes())
    for position in range(at, at + 48):
        some.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert refused_in_one_line(lambda path: read_npz(path, ["X"]), some)
