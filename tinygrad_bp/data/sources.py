"""SOURCES: the data sets a document can name, each a function of plain arguments that returns Parts.

The arguments are the keys of a document's [data] table, with these types and defaults. Rows are shared out at random
by the seed, so that every class has its share of each part; everything that is learnt from data (means, deviations,
categories) is learnt on the training part alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from . import datasets, generated
from .columns import Columns, Dtype, Pair, Targets, classes_of
from .split import train_validation_test_split
from .tables import Arrays, Table, hint, listed, read_csv, read_npz, shown

__all__ = ["SOURCES", "Parts", "csv", "digits", "mnist", "moons", "npz", "spirals", "xor"]

Classes: TypeAlias = Literal["labels", "one-hot", "binary"]
Floats: TypeAlias = Literal["float32", "float64"]
Array: TypeAlias = NDArray[Any]
Rows: TypeAlias = tuple[Array, Array | None, Array | None]
Shares: TypeAlias = tuple[float, float, int]  # of validation, of test, and the seed


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows to train on, and those held out to validate and to test, or None; and how rows of files become the like.

    `train`, `validation` and `test` are pairs (X, y), `columns` the :class:`Columns` that made them.
    """

    train: Pair = field(repr=False)
    validation: Pair | None = field(repr=False)
    test: Pair | None = field(repr=False)
    columns: Columns


def digits(
    validation: float = 0.1, test: float = 0.2, targets: Classes = "labels", dtype: Floats | None = None, *, seed: int
) -> Parts:
    """The 1797 digits of 8x8 pixels that come with the package, shared out; X has shape (n, 64), in [0, 1].

    Parameters
    ----------
    validation, test
        The parts held out, each >= 0, together < 1; 0.0: no such part.
    targets
        ``"labels"``: y is int64, shape (n,), 0..9; ``"one-hot"``: shape (n, 10); ``"binary"`` takes two classes.
    dtype
        Of X, and of y where it is not labels; None: the data set's own, float64.
    seed
        An integer >= 0, which decides who is in which part.

    Raises
    ------
    TypeError, ValueError
        Values outside these.

    Examples
    --------
    >>> parts = digits(seed=0)
    >>> [part[0].shape for part in (parts.train, parts.validation, parts.test)]
    [(1257, 64), (180, 64), (360, 64)]
    """
    return _of_arrays("digits", datasets.digits(), targets, dtype, (validation, test, seed))


def mnist(folder: str | None = None, targets: Classes = "labels", dtype: Floats | None = None, *, seed: int) -> Parts:
    """MNIST in its own parts: 50000 pictures to train on, 10000 to validate, 10000 to test; X has shape (n, 784).

    Parameters
    ----------
    folder
        Where the files are, as :func:`tinygrad_bp.data.mnist` takes it.
    targets
        As for :func:`digits`.
    dtype
        Of X, and of y where it is not labels; None: the data set's own, float32.
    seed
        Not used: the parts are the usual ones, in their order.

    Raises
    ------
    TypeError, ValueError, OSError
        Values outside these; files that are missing or damaged.
    """
    _check_choices("mnist", targets, Classes, dtype, Floats)
    train, validation, test = (Arrays("mnist", {"X": X, "y": y}) for X, y in datasets.mnist(folder))
    _, classes = _classes(train, "y", targets)
    columns = Columns.of_arrays(train, ("X", "y"), targets, classes, dtype or "float32")
    pairs = [(columns.inputs(part), columns.outputs(part)) for part in (train, validation, test)]
    return Parts(pairs[0], pairs[1], pairs[2], columns)


def csv(
    path: str,
    target: str | list[str],
    features: list[str] | None = None,
    scale: bool = True,
    targets: Targets = "labels",
    validation: float = 0.1,
    test: float = 0.2,
    dtype: Floats | None = None,
    *,
    seed: int,
) -> Parts:
    """Rows of a .csv file with a line of names; X has a column for each number and for each category of a text.

    A column is numbers if all its cells are, in the whole file; else it is text, and becomes one-hot over what the
    training rows hold of it; what only rows held out hold is none of these, and a warning is logged. Mean, deviation
    and categories are learnt on the training rows alone.

    Parameters
    ----------
    path
        The file, as :func:`tinygrad_bp.data.tables.read_csv` takes it.
    target
        The name of the column with the targets; for ``targets = "numbers"`` one name or several.
    features
        The names of the columns that X is made of; None: all but the targets.
    scale
        Whether numbers x become (x - mean) / std; a std of 0 counts as 1.
    targets
        As for :func:`digits`, of two classes or more: whole numbers in their order, or text, sorted.
        ``"numbers"``: y has shape (n, targets), as in the file; rows are then shared out without regard to y.
    validation, test, dtype, seed
        As for :func:`digits`.

    Raises
    ------
    TypeError, OSError
        Values of other types; a file that is not there or cannot be read.
    ValueError
        A malformed file, an empty cell, a column that is not there, a target of no or too many classes, values outside
        these.
    """
    _check_choices("csv", targets, Targets, dtype, Floats)
    table = read_csv(path)
    wanted = [target] if isinstance(target, str) else _check_names("csv", "target", target)
    if targets != "numbers" and len(wanted) > 1:
        raise ValueError(f'csv: target is {listed(wanted)}. Give one column of classes, or set targets = "numbers".')
    for name in wanted:
        table.cells(name)
    if features is None:
        features = [name for name in table.names if name not in wanted]
    for name in _check_names("csv", "features", features):
        if name in wanted:
            raise ValueError(f"csv: {shown(name)} is the target and in features. Leave it out of features.")
    y, classes = _classes(table, wanted[0], targets)
    rows = _shared_out(len(table.lines), y, (validation, test, seed))
    columns = Columns.of_table(table, features, wanted, targets, classes, rows[0], dtype or "float64")
    return _parts(table, columns, rows, scale)


def npz(
    path: str,
    x: str = "X",
    y: str = "y",
    scale: bool = False,
    targets: Targets = "labels",
    validation: float = 0.1,
    test: float = 0.2,
    dtype: Dtype | None = None,
    *,
    seed: int,
) -> Parts:
    """Rows of two arrays of an .npz file: X of any shape (n, ...), y of labels (n,) or numbers (n, k).

    Both may be one array, for an autoencoder: y is then X before scaling, of the same shape.

    Parameters
    ----------
    path
        The file, as np.savez or np.savez_compressed writes it. Arrays of objects are refused.
    x, y
        The names of the arrays.
    scale
        Whether each number of a row becomes (x - mean) / std, learnt on the training rows; a std of 0 counts as 1.
    targets
        As for :func:`csv`.
    dtype
        As for :func:`digits`, or ``"int64"``: X is whole numbers, such as the tokens of an Embedding.
    validation, test, seed
        As for :func:`digits`.

    Raises
    ------
    TypeError, OSError
        Values of other types; a file that is not there or cannot be read.
    ValueError
        A malformed file, an array that is not there or has another shape, values outside these.
    """
    _check_choices("npz", targets, Targets, dtype, Dtype)
    source = read_npz(path, _check_names("npz", "[x, y]", [x] if x == y else [x, y]))
    if x == y and targets != "numbers":
        otherwise = 'for an autoencoder set targets = "numbers"'
        raise ValueError(f"npz: x and y are both {shown(x)}. Name the array of the labels; {otherwise}.")
    X, labels = source.arrays[x], source.arrays[y]
    if X.ndim < 2 or 0 in X.shape:
        raise ValueError(f"{source.path}: {shown(x)} has shape {X.shape}. Give rows of numbers, (n, ...).")
    if x != y and (labels.ndim > 2 or 0 in labels.shape):
        raise ValueError(f"{source.path}: {shown(y)} has shape {labels.shape}. Give (n,) or (n, k).")
    return _of_source(source, (x, y), scale, targets, dtype, (validation, test, seed))


def moons(
    n: int = 200,
    noise: float = 0.1,
    validation: float = 0.1,
    test: float = 0.2,
    targets: Classes = "labels",
    dtype: Floats | None = None,
    *,
    seed: int,
) -> Parts:
    """Two half circles that reach into each other, :func:`tinygrad_bp.data.moons` of the seed, shared out.

    Arguments and errors are those of that function and of :func:`digits`.

    >>> parts = moons(n=100, targets="binary", seed=0)
    >>> parts.train[0].shape, parts.train[1].shape
    ((70, 2), (70, 1))
    """
    pair = generated.moons(n, noise, seed)
    return _of_arrays("moons", pair, targets, dtype, (validation, test, _next(seed)))


def spirals(
    n: int = 300,
    classes: int = 3,
    noise: float = 0.2,
    validation: float = 0.1,
    test: float = 0.2,
    targets: Classes = "labels",
    dtype: Floats | None = None,
    *,
    seed: int,
) -> Parts:
    """The arms of a spiral, one a class, :func:`tinygrad_bp.data.spirals` of the seed, shared out.

    Arguments and errors are those of that function and of :func:`digits`.

    >>> spirals(classes=5, seed=0).columns.classes
    ('0', '1', '2', '3', '4')
    """
    pair = generated.spirals(n, classes, noise, seed)
    return _of_arrays("spirals", pair, targets, dtype, (validation, test, _next(seed)))


def xor(
    n: int = 200,
    noise: float = 0.1,
    validation: float = 0.1,
    test: float = 0.2,
    targets: Classes = "labels",
    dtype: Floats | None = None,
    *,
    seed: int,
) -> Parts:
    """The corners of a square, of which opposite ones are of a class, :func:`tinygrad_bp.data.xor`, shared out.

    Arguments and errors are those of that function and of :func:`digits`.

    >>> xor(n=40, validation=0.0, seed=0).validation is None
    True
    """
    pair = generated.xor(n, noise, seed)
    return _of_arrays("xor", pair, targets, dtype, (validation, test, _next(seed)))


SOURCES: dict[str, Callable[..., Parts]] = {
    "digits": digits,
    "mnist": mnist,
    "csv": csv,
    "npz": npz,
    "moons": moons,
    "spirals": spirals,
    "xor": xor,
}


def _of_arrays(name: str, pair: Pair, targets: Targets, dtype: Dtype | None, shares: Shares) -> Parts:
    _check_choices(name, targets, Classes, dtype, Floats)
    return _of_source(Arrays(name, dict(zip("Xy", pair))), ("X", "y"), False, targets, dtype, shares)


def _of_source(
    source: Arrays, names: tuple[str, str], scale: bool, targets: Targets, dtype: Dtype | None, shares: Shares
) -> Parts:
    y, classes = _classes(source, names[1], targets)
    columns = Columns.of_arrays(source, names, targets, classes, dtype or "float64")
    return _parts(source, columns, _shared_out(len(source.arrays[names[1]]), y, shares), scale)


def _parts(source: Table | Arrays, columns: Columns, rows: Rows, scale: bool) -> Parts:
    X = columns.unscaled(source, learning=True)
    if scale:
        columns = columns.learnt_from(X[rows[0]], source.path)
    X, y = columns.scaled(X, source.path), columns.outputs(source)
    validation, test = (None if part is None else (X[part], y[part]) for part in rows[1:])
    return Parts((X[rows[0]], y[rows[0]]), validation, test, columns)


def _shared_out(n: int, y: Array | None, shares: Shares) -> Rows:
    """The rows of each part, of every class its share; without classes of all alike."""
    rows = np.arange(n)
    try:
        train, validation, test = train_validation_test_split(rows, rows if y is None else y, *shares, y is not None)
    except ValueError as error:
        if y is None or 2 * len(np.unique(y)) <= n or "too few" not in str(error):
            raise
        raise ValueError(f'{error} If the target is a number and no class, set targets = "numbers".') from error
    return train[0], validation and validation[0], test and test[0]


def _classes(source: Table | Arrays, name: str, targets: Targets) -> tuple[Array | None, tuple[str, ...] | None]:
    """The class of every row and the labels, None and None for numbers."""
    if targets == "numbers":
        return None, None
    y, classes = classes_of(source, name)
    if targets == "binary" and len(classes) > 2:
        raise ValueError(
            f'{source.path}: targets = "binary" takes two classes, {shown(name)} has {len(classes)}: '
            f'{listed(classes)}. Set targets = "labels" or "one-hot".'
        )
    return y, classes


def _check_choices(name: str, targets: str, known: Any, dtype: str | None, dtypes: Any) -> None:
    for key, value, choices in (("targets", targets, known), ("dtype", dtype, dtypes)):
        words = get_args(choices)
        if key == "dtype" and value is None:
            continue
        if not isinstance(value, str):
            raise TypeError(f"{name}: {key} is {value!r}, a {type(value).__name__}. Give one of {listed(words)}.")
        if value not in words:
            raise ValueError(f"{name}: {key} is {shown(value)}.{hint(value, 'Choose from', words)}")


def _check_names(source: str, key: str, names: list[str]) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{source}: {key} is {shown(str(names))}, a {type(names).__name__}. Give a list of names.")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{source}: {key} is {shown(str(names))}. Give at least one name, and each once.")
    return names


def _next(seed: int) -> int:
    """The seed of the split, another than that of the points."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])
