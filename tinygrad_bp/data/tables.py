"""Tables from files: a .csv as columns by name, an .npz as arrays by name.

A file is taken whole or refused in one line: `file: what is wrong, with the numbers. What to do.` Nothing in it is
executed, and nothing is allocated that its size does not vouch for. What is a number is decided here; what the columns
mean to a model is known to `columns`.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..io.weights import npy_entry
from ..spelling import did_you_mean

__all__ = ["Arrays", "Table", "checked_path", "hint", "listed", "number", "parse_csv", "read_csv", "read_npz", "shown"]

DELIMITERS = ",;\t"
EXPANSION = 200  # how many times its size a compressed array over LARGE bytes may become; NumPy's of real data: 5 to 50
LARGE = 1 << 28
_NAN = re.compile(r"[+-]?nan", re.IGNORECASE)
# What is meant as a number or as none, and is not one to `float`: 3,14  1 000  12%  ?  NA
_ALMOST = re.compile(r"[+-]?[\d.,_ ]*\d[\d.,_ ]*%?|\?|-|\.|n/?a|[+-]?(nan|inf|infinity)|null|none", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a .csv: all its numbers, and of its text what is asked for.

    Attributes
    ----------
    path
        The file, as errors name it.
    names
        Of the columns, in the order of the file.
    lines
        The line on which every row begins.
    """

    path: str
    names: tuple[str, ...]
    lines: Sequence[int] = field(repr=False)
    _numbers: NDArray[np.float64] = field(repr=False)  # shape (rows, columns), nan where a cell is none
    _records: Callable[[], Iterator[tuple[int, list[str]]]] = field(repr=False)  # reads them again
    _cells: dict[str, Sequence[str]] = field(default_factory=dict, init=False, repr=False)

    def cells(self, name: str) -> Sequence[str]:
        """The text of a column without spaces around it; ValueError if there is no such column or a cell is empty."""
        k = self._position(name)
        if name not in self._cells:
            others = np.flatnonzero(~np.isfinite(self._numbers).all(axis=0))  # these will be asked for, too
            kept = sorted({k, *others.tolist()})
            texts = zip(*([row[k].strip() for k in kept] for _, row in islice(self._records(), 1, None)))
            self._cells.update(zip((self.names[k] for k in kept), texts))
        cells = self._cells[name]
        if "" in cells:
            self.refuse(name, cells.index(""), "is empty. Give a value, or leave the row or the column out.")
        return cells

    labels = cells

    def is_numeric(self, name: str) -> bool:
        """Whether every cell of a column is a number; ValueError where some are almost one (3,14 or ?) or not finite.

        A column of which only some cells are numbers, like 0, 1, 2, 3+, is text.
        """
        odd = self._no_numbers(name)
        if not odd:
            return True
        cells = self.cells(name)
        if all(_ALMOST.fullmatch(cells[row]) for row in odd) and any(map(str.isdecimal, "".join(cells))):
            self.refuse(name, odd[0], f"is {shown(cells[odd[0]])}, no number like 1234.5. Correct it, or leave it out.")
        for row, cell in enumerate(cells):
            if cell.lower() == "nan":
                self.refuse(name, row, "is nan, a missing value. Give a value, or leave the row or the column out.")
        return False

    def numbers(self, name: str) -> NDArray[np.float64]:
        """The numbers of a column, shape (n,); ValueError at the first cell that is none or not finite."""
        if odd := self._no_numbers(name):
            self.refuse(name, odd[0], f"is {shown(self.cells(name)[odd[0]])}, where a number is expected. Correct it.")
        return self._numbers[:, self._position(name)]

    def refuse_strays(self, name: str) -> None:
        """ValueError at the first cell that is no number, where they are too few to be meant.

        That is 1 of 100 cells at most, or 1 of 10 different ones: 12a among ages, but not 3+ beside 0, 1 and 2.
        """
        odd, cells = self._no_numbers(name), self.cells(name)
        n, strays = len(cells), {cells[row] for row in odd}
        if 100 * len(odd) <= n or 10 * len(strays) <= len(set(cells)):
            what = f"is {shown(cells[odd[0]])}, no number, as {n - len(odd)} of {n} cells are. Correct it, or leave it"
            self.refuse(name, odd[0], f"{what} out. If these are categories, put a letter before each.")

    def _no_numbers(self, name: str) -> list[int]:
        """The rows whose cells are no numbers; ValueError where all are, but one is not finite."""
        numbers = self._numbers[:, self._position(name)]
        finite = np.isfinite(numbers)
        if finite.all():
            return []
        cells = self.cells(name)
        odd = [row for row in np.flatnonzero(np.isnan(numbers)).tolist() if not _NAN.fullmatch(cells[row])]
        if not odd:
            row = int(finite.argmin())
            self.refuse(name, row, f"is {numbers[row]}. Give a finite number, or leave the row or the column out.")
        return odd

    def _position(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"{self.path}: there is no column {shown(name)}.{hint(name, 'Its columns:', self.names)}")
        return self.names.index(name)

    def refuse(self, name: str, row: int, what: str) -> NoReturn:
        """Raise a ValueError about the cell of column `name` in `row`."""
        raise ValueError(f"{self.path}: line {self.lines[row]}, column {shown(name)} {what}")


@dataclass(frozen=True, eq=False)
class Arrays:
    """Finite numbers, bools or text in arrays of rows, by name; `path` is the file, or what errors say instead."""

    path: str
    arrays: dict[str, NDArray[Any]] = field(repr=False)

    def numbers(self, name: str) -> NDArray[Any]:
        """An array as it is; ValueError for text."""
        if self.arrays[name].dtype.kind == "U":
            raise ValueError(f"{self.path}: the array {shown(name)} holds text, no numbers. Give numbers.")
        return self.arrays[name]

    def labels(self, name: str) -> list[str]:
        """An array of text or whole numbers, shape (n,) or (n, 1), as text; ValueError for another."""
        array = self.arrays[name]
        if array.shape not in ((len(array),), (len(array), 1)):
            raise ValueError(f"{self.path}: the array {shown(name)} has shape {array.shape}. Give one label for a row.")
        array = array.reshape(-1)
        if array.dtype.kind == "f":
            broken = array != np.trunc(array)
            if broken.any():
                self.refuse(name, int(broken.argmax()), f'is {array[broken][0]}, no label. Set targets = "numbers".')
        return [str(label) if array.dtype.kind == "U" else str(int(label)) for label in array]

    def refuse(self, name: str, row: int, what: str) -> NoReturn:
        """Raise a ValueError about `row` of the array `name`."""
        raise ValueError(f"{self.path}: row {row} of the array {shown(name)} {what}")


def read_csv(path: str | os.PathLike[str]) -> Table:
    r"""The rows of a .csv file whose first line names the columns.

    UTF-8, with or without a byte order mark; lines end in LF, CRLF or CR. Cells are separated by ``,``, ``;`` or tabs:
    by the one that cuts the header into most names, ``,`` if two do. Cells in double quotes may hold any of these.
    Spaces around names and cells are dropped, and blank lines skipped.

    Raises
    ------
    TypeError
        A path of another type.
    OSError
        No such file, a folder, a file that cannot be read.
    ValueError
        A file that is no text, names that are missing or stand twice, rows of another length, no rows, bad quotes.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "some.csv")
    ...     _ = path.write_text('height; kind\n1.5; "a; b"\n')
    ...     table = read_csv(path)
    >>> table.names, table.numbers("height"), table.cells("kind"), table.lines
    (('height', 'kind'), array([1.5]), ('a; b',), [2])
    """
    path = checked_path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unread(path, error) from error
    return parse_csv(str(path), content)


def parse_csv(path: str, content: bytes) -> Table:
    """The rows of a .csv whose bytes are at hand; errors name the path."""
    _check_text(path, content)
    delimiter = max(DELIMITERS, key=lambda delimiter: _width(path, content, delimiter))
    records = _records(path, content, delimiter)
    _, header = next(records, (1, []))
    names = _checked_names(path, [*map(str.strip, header)])
    lines: list[int] = []

    def rows() -> Iterator[list[float]]:
        for line, cells in records:
            if len(cells) != len(names):
                raise ValueError(
                    f"{path}: line {line} has {len(cells)} cells, the header {len(names)}, separated by "
                    f"{shown(delimiter)}. Correct the line; a cell that holds {shown(delimiter)} needs quotes."
                )
            lines.append(line)
            yield _numbers(cells)

    numbers = np.fromiter(chain.from_iterable(rows()), np.float64)
    if not lines:
        found = f"names {len(names)} columns and has no rows" if names else "is empty"
        raise ValueError(f"{path}: the file {found}. Give a line of names and at least one row.")
    return Table(path, names, lines, numbers.reshape(len(lines), -1), partial(_records, path, content, delimiter))


def read_npz(path: str | os.PathLike[str], names: Sequence[str]) -> Arrays:
    """The arrays of these names from an .npz, as np.savez or np.savez_compressed write it; others are not looked at.

    Raises
    ------
    TypeError
        A path of another type.
    OSError
        No such file, a folder, a file that cannot be read.
    ValueError
        No array of the name, no rows or not as many in each, nan or inf,
        an array of objects, a file that is damaged or a trap.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez_compressed(f"{folder}/some.npz", X=np.eye(2), y=[0, 1])
    ...     read_npz(f"{folder}/some.npz", ["y"]).arrays
    {'y': array([0, 1])}
    """
    path = checked_path(path)
    try:
        content = path.open("rb")
    except OSError as error:
        raise _unread(path, error) from error
    try:
        with content, zipfile.ZipFile(content) as archive:
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            unknown = [name for name in names if name not in entries]
            size = os.path.getsize(path)
            arrays = {} if unknown else {name: _array(archive, entries[name], size) for name in names}
    except Exception as error:  # whatever zipfile and NumPy say of a damaged file
        reason = str(error).partition("\n")[0][:200].removesuffix(".") or type(error).__name__
        raise ValueError(f"{path}: this is no sound .npz: {reason}. Write it again with np.savez.") from error
    if unknown:
        name = unknown[0]
        raise ValueError(f"{path}: there is no array {shown(name)}.{hint(name, 'Its arrays:', entries)}")
    for name, array in arrays.items():
        if array.dtype.kind not in "biufU":
            raise ValueError(f"{path}: the array {shown(name)} has dtype {array.dtype}. Give numbers, bools or text.")
        if array.ndim == 0 or len(array) == 0:
            raise ValueError(f"{path}: the array {shown(name)} has shape {array.shape}, no rows. Give at least one.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise ValueError(f"{path}: row {row} of the array {shown(name)} holds nan or inf. Give finite numbers.")
    (first, n), *others = ((name, len(array)) for name, array in arrays.items())
    for name, rows in others:
        if rows != n:
            raise ValueError(f"{path}: {shown(first)} has {n} rows, {shown(name)} {rows}. Give as many.")
    return Arrays(str(path), arrays)


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there; else TypeError, IsADirectoryError or FileNotFoundError, with the near match."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"data: the path is {path!r}, a {type(path).__name__}. Give the name of a .csv or .npz file.")
    path = Path(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a folder. Name a .csv or .npz file.")
    if not os.path.isfile(path):
        beside = os.listdir(path.parent) if os.path.isdir(path.parent) else []
        near = did_you_mean(path.name, [name for name in beside if name.endswith((".csv", ".npz"))], shown)
        raise FileNotFoundError(f"{path}: there is no such file.{near}")
    return path


def hint(word: str, those: str, choices: Collection[str]) -> str:
    """' Did you mean ...?', or all the choices after `those` words.

    >>> hint("Specis", "Its columns:", ["species", "width"]), hint("q", "Its columns:", ["species", "width"])
    (" Did you mean 'species'?", " Its columns: 'species', 'width'.")
    """
    return did_you_mean(word, choices, shown) or f" {those} {listed(choices)}."


def shown(text: str) -> str:
    """The text in quotes, on one line and of one line's length."""
    return repr(text) if len(text) <= 40 else f"{text[:37]!r}..."


def listed(names: Collection[str]) -> str:
    """The names, the first eight if there are more than ten."""
    words = [shown(name) for name in names]
    return ", ".join(words) if len(words) <= 10 else f"{', '.join(words[:8])}, ... ({len(words)} in all)"


# ---- .csv ---------------------------------------------------------------------------------------------------------


def _check_text(path: str, content: bytes) -> None:
    at, what = content.find(b"\0"), "is NUL"
    if at < 0:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            at, what = error.start, "is not UTF-8"
        else:
            return
    line = content.count(b"\n", 0, at) + 1
    raise ValueError(f"{path}: byte {at}, on line {line}, {what}: no text in UTF-8. Save the table as CSV in UTF-8.")


def _records(path: str, content: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The lines on which rows begin, and their cells: first the header, then all that are not blank."""
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True, skipinitialspace=True)
    line, width = 1, 0
    try:
        for cells in reader:
            if cells and (width == 1 or (width and len(cells) > 1) or "".join(cells).strip()):
                width = width or len(cells)
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}: in the row that begins on line {line}: {error}. Correct its quotes.") from error


def _width(path: str, content: bytes, delimiter: str) -> int:
    """How many names the header has, if they are separated so."""
    try:
        return len(next(_records(path, content, delimiter), (1, []))[1])
    except ValueError:
        return 0


def _checked_names(path: str, names: list[str]) -> tuple[str, ...]:
    if "" in names:
        raise ValueError(f"{path}: column {names.index('') + 1} of {len(names)} has no name. Name it in line 1.")
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        first, second = [at for at, name in enumerate(names, 1) if name == twice][:2]
        raise ValueError(f"{path}: columns {first} and {second} are both named {shown(twice)}. Rename one.")
    return tuple(names)


def _numbers(cells: list[str]) -> list[float]:
    """The numbers that the cells are: Python's, but without 1_000 and the digits of other scripts; nan for none."""
    text = "".join(cells)
    if "_" not in text and text.isascii():
        try:
            return [*map(float, cells)]
        except ValueError:
            pass
    return [number(cell) for cell in cells]


def number(cell: str) -> float:
    """The number that a cell is, nan for none."""
    try:
        return float(cell) if "_" not in cell and cell.isascii() else math.nan
    except ValueError:
        return math.nan


# ---- .npz ---------------------------------------------------------------------------------------------------------


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> NDArray[Any]:
    """The array of an entry of a file of this size, which must vouch for the entry's."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{shown(info.filename)} is compressed by an unusual method, {info.compress_type}")
    packed = min(info.compress_size, size)
    if info.file_size > (packed if info.compress_type == zipfile.ZIP_STORED else max(LARGE, EXPANSION * packed)):
        raise ValueError(f"{shown(info.filename)} claims to hold {info.file_size} bytes in {packed}")
    return npy_entry(archive, info)


def _unread(path: Path, error: OSError) -> OSError:
    return type(error)(f"{path}: cannot be read: {error.strerror or error}. Check the file and its permissions.")
