"""Columns: how the rows of a file become X and y, learnt once on the training rows and then kept with the model.

Numbers are scaled, text becomes one-hot, classes are counted from 0. A data set of arrays without names has Columns
too. What was learnt goes into plain JSON and back without losing a bit, so that `read` gives a file's rows years later
exactly as training saw them. Reading files is in `tables`, sharing out rows in `sources`.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from .tables import Arrays, Table, checked_path, hint, listed, number, read_csv, read_npz, shown

__all__ = ["Columns", "Dtype", "Pair", "Targets", "classes_of"]

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[Array, Array]
Targets: TypeAlias = Literal["labels", "one-hot", "binary", "numbers"]
Dtype: TypeAlias = Literal["float32", "float64", "int64"]

FEW, MANY = 20, 1000  # up to FEW different texts may be classes or categories in any file, over MANY in none
_log = logging.getLogger("tinygrad_bp")
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(\.0*)?")


@dataclass(frozen=True, eq=False)
class Columns:
    r"""How the rows of a file become X, shape (n, *shape), and y.

    Attributes
    ----------
    features
        The columns of a .csv that X is made of, in this order; None for arrays without names.
    target
        The columns with the targets. For arrays: the name of y; if that has k > 1 columns, ``y0, y1, ...``.
    targets
        What y is: ``"labels"``, int64, shape (n,): the position in `classes`; ``"one-hot"``, shape (n, classes);
        ``"binary"``, shape (n, 1), 1.0 for the second class; ``"numbers"``, shape (n, len(target)), as in the file, or
        that of X where X and y are one array.
    classes
        The labels: whole numbers in their order, or text, sorted; None for numbers.
    shape
        Of one row of X.
    categories
        For each column of text what the training rows hold, sorted: its places in X, 1.0 for the one that is there.
    mean, std
        X is (x - mean) / std, both of the flattened shape, 0 and 1 for categories; None where nothing is scaled.
    arrays
        The names of X and y in an .npz; None for the columns of a .csv.
    dtype
        Of X, and of y where it is not labels (which are int64; numbers beside an X of int64 are float64).

    Examples
    --------
    >>> columns = Columns(("age", "kind"), ("sick",), "labels", ("no", "yes"), (3,), {"kind": ("cat", "dog")})
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "new.csv")
    ...     _ = path.write_text("kind,age\ndog,4\ncat,7\n")
    ...     columns.read(path)
    array([[4., 0., 1.],
           [7., 1., 0.]])
    """

    features: tuple[str, ...] | None
    target: tuple[str, ...]
    targets: Targets
    classes: tuple[str, ...] | None
    shape: tuple[int, ...]
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mean: NDArray[np.float64] | None = field(default=None, repr=False)
    std: NDArray[np.float64] | None = field(default=None, repr=False)
    arrays: tuple[str, str] | None = None
    dtype: Dtype = "float64"

    def read(self, path: str | os.PathLike[str]) -> Array:
        """X of a .csv or .npz, shape (n, *shape). The targets may be missing, other columns and arrays are ignored.

        Columns of a .csv are found by their names. Where training saw arrays without names, a .csv gives the
        numbers of a row of X in its columns, the target's left out, in their order. It needs a line of names all the
        same, of which 0, 1, 2, ... and 1, 2, 3, ... are the only ones that may be numbers.

        Raises
        ------
        TypeError, OSError
            A path of another type; a file that is not there or cannot be read.
        ValueError
            Another suffix or a malformed file; a column or array that is missing, of another shape or kind; a category
            that no training row had; a number that is not finite, before or after scaling.
        """
        return self.inputs(self._source(path))

    def read_pair(self, path: str | os.PathLike[str]) -> Pair:
        """X and y of a .csv or .npz, as :meth:`read`; ValueError also where a target is missing or of unknown class."""
        source = self._source(path, with_targets=True)
        return self.inputs(source), self.outputs(source)

    def inputs(self, source: Table | Arrays) -> Array:
        """X of a table or of arrays in memory."""
        return self.scaled(self.unscaled(source), source.path)

    def unscaled(self, source: Table | Arrays, learning: bool = False) -> Array:
        """X of a table or of arrays in memory, before scaling, arrays in the dtype that they have.

        A category that no training row has is an error; while `learning`, where it stands in a row held out, it is none
        of the known ones, zeros in all their places, and a warning is logged.
        """
        if isinstance(source, Arrays):
            X = source.numbers(self._array_names[0])
            if X.shape[1:] != self.shape:
                raise ValueError(
                    f"{source.path}: {shown(self._array_names[0])} has shape {X.shape}, the model was trained on "
                    f"(n, {', '.join(map(str, self.shape))}). Give rows of that shape."
                )
            return X
        names = self.features or [name for name in source.names if self._copies or name not in self.target]
        if not self.features and len(names) != math.prod(self.shape):
            besides = "" if len(names) == len(source.names) else f" besides {listed(self.target)}"
            raise ValueError(
                f"{source.path}: the file has {len(names)} columns{besides}, the model was trained on "
                f"{math.prod(self.shape)}. Give these, in their order, and no others."
            )
        if not self.features and all(map(math.isfinite, map(number, names))) and names not in _counted(names):
            raise ValueError(
                f"{source.path}: its first line is numbers, {listed(names)}, which would be lost as names. Give a line "
                "of names first."
            )
        blocks = [
            self._categories(source, name, learning) if name in self.categories else source.numbers(name)[:, None]
            for name in names
        ]
        return np.concatenate(blocks, axis=1).reshape(-1, *self.shape)

    def scaled(self, X: Array, path: str) -> Array:
        """X scaled and as `dtype`; errors name the path."""
        dtype = np.dtype(self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.mean is not None and self.std is not None:
                flat = X.reshape(len(X), -1) - self.mean
                X = np.divide(flat, self.std, out=flat).reshape(X.shape)
            cast = X.astype(dtype, copy=False)
        if not np.isfinite(cast).all():
            raise ValueError(f"{path}: a number of X is too large for {dtype} after scaling. Correct the data.")
        if dtype.kind == "i" and not np.array_equal(cast, X):
            raise ValueError(f"{path}: X holds numbers that {dtype} has not. Give whole numbers, or another dtype.")
        return cast

    def outputs(self, source: Table | Arrays) -> Array:
        """The targets of a table or of arrays in memory, as `targets` says."""
        dtype = np.dtype("float64" if self.dtype == "int64" else self.dtype)
        if self.classes is None:
            with np.errstate(over="ignore"):
                y = self._numbers(source).astype(dtype)
            if not np.isfinite(y).all():
                raise ValueError(f"{source.path}: a target is too large for {dtype}. Correct it, or use float64.")
            return y
        name = self._array_names[1] if isinstance(source, Arrays) else self.target[0]
        known = set(self.classes)
        labels = [label if label in known else _whole(label) or label for label in source.labels(name)]
        codes = _positions(source, name, labels, self.classes, "no class of the training data. Correct it")
        if self.targets == "labels":
            return codes
        if self.targets == "binary":
            return codes[:, None].astype(dtype)
        return np.eye(len(self.classes), dtype=dtype)[codes]

    def _numbers(self, source: Table | Arrays) -> Array:
        if self._copies:
            return self.unscaled(source)
        if isinstance(source, Table):
            return np.stack([source.numbers(name) for name in self.target], axis=1)
        y = source.numbers(self._array_names[1])
        if y.shape[1:] != (len(self.target),) and (y.ndim > 1 or len(self.target) > 1):
            wanted = f"Give {len(self.target)} numbers for each row"
            raise ValueError(f"{source.path}: {shown(self._array_names[1])} has shape {y.shape}. {wanted}.")
        return y.reshape(len(y), -1)

    def _categories(self, table: Table, name: str, learning: bool) -> NDArray[np.float64]:
        """A column of text, 1.0 at the place of each row's category."""
        known, cells = self.categories[name], table.cells(name)
        what = None if learning else "a category that no training row has. Correct it, or leave the column out"
        positions = _positions(table, name, cells, known, what)
        if strange := [cells[row] for row in np.flatnonzero(positions < 0).tolist()]:
            rows = "1 row" if len(strange) == 1 else f"{len(strange)} rows"
            texts = f"{shown(name)} is {listed(sorted(set(strange)))} in {rows} held out, and in none to train on"
            _log.warning("%s: column %s: taken as none of the known ones.", table.path, texts)
        return np.eye(len(known) + 1, len(known))[positions]  # the last row, also known as -1, is zeros

    @property
    def _copies(self) -> bool:
        """Whether the targets are X itself."""
        return self.arrays is not None and self.arrays[0] == self.arrays[1]

    @property
    def _array_names(self) -> tuple[str, str]:
        """The arrays that are X and y."""
        return self.arrays or ("X", "y")

    def _source(self, path: str | os.PathLike[str], with_targets: bool = False) -> Table | Arrays:
        suffix = checked_path(path).suffix.lower()
        if suffix in (".csv", ".tsv", ".txt"):
            return read_csv(path)
        if suffix != ".npz":
            raise ValueError(f"{os.fspath(path)}: the file has the suffix {suffix!r}. Give a .csv or .npz file.")
        if self.arrays is None:
            raise ValueError(f"{os.fspath(path)}: the model was trained on the columns of a .csv. Give such a file.")
        return read_npz(path, self.arrays if with_targets else self.arrays[:1])

    # ---- learning -------------------------------------------------------------------------------------------------

    @classmethod
    def of_table(
        cls,
        table: Table,
        features: Sequence[str],
        target: Sequence[str],
        targets: Targets,
        classes: tuple[str, ...] | None,
        rows: Sequence[int] | NDArray[np.int64],
        dtype: Dtype,
    ) -> Columns:
        """The columns of a .csv, unscaled. Which are numbers all rows decide, the categories only these `rows`."""
        text = {name: table.cells(name) for name in features if not table.is_numeric(name)}
        for name, cells in text.items():
            table.refuse_strays(name)
            if (different := len(set(cells))) > _most(cells):
                raise ValueError(
                    f"{table.path}: column {shown(name)} has {different} different texts in {len(cells)} rows, too many"
                    " for categories. Leave it out: name the others in features."
                )
        categories = {name: tuple(sorted({cells[row] for row in rows})) for name, cells in text.items()}
        width = sum(len(categories.get(name, "1")) for name in features)
        return cls(tuple(features), tuple(target), targets, classes, (width,), categories, dtype=dtype)

    @classmethod
    def of_arrays(
        cls,
        source: Arrays,
        arrays: tuple[str, str],
        targets: Targets,
        classes: tuple[str, ...] | None,
        dtype: Dtype,
    ) -> Columns:
        """The two arrays, unscaled."""
        X, y = (source.arrays[name] for name in arrays)
        size = math.prod(y.shape[1:])
        target = [f"{arrays[1]}{k}" for k in range(size)] if size > 1 else [arrays[1]]
        return cls(None, tuple(target), targets, classes, X.shape[1:], arrays=arrays, dtype=dtype)

    def learnt_from(self, X: Array, path: str) -> Columns:
        """These columns, scaled by mean and deviation of X, unscaled training rows; a deviation of 0 counts as 1."""
        with np.errstate(over="ignore", invalid="ignore"):
            flat = X.reshape(len(X), -1).astype(np.float64, copy=False)
            constant = flat.max(axis=0) == flat.min(axis=0)  # the mean of equal numbers may be off by a rounding
            mean = np.where(constant, flat[0], flat.mean(axis=0))
            std = np.where(constant, 1.0, flat.std(axis=0))
        if not (np.isfinite(std) & (std > 0)).all():
            column = int((np.isfinite(std) & (std > 0)).argmin())
            spread = f"from {flat[:, column].min()} to {flat[:, column].max()}"
            raise ValueError(f"{path}: numbers {spread} cannot be scaled in float64. Set scale = false.")
        hot = [name in self.categories for name in self.features or () for _ in self.categories.get(name, "1")]
        hot = hot or [False] * len(mean)
        return replace(self, mean=np.where(hot, 0.0, mean), std=np.where(hot, 1.0, std))

    # ---- keeping --------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON; floats come back from it bit for bit."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Columns:
        """The Columns that gave this dict; TypeError or ValueError where none can have given it.

        >>> columns = Columns(None, ("y",), "labels", ("0", "1"), (2,), arrays=("X", "y"))
        >>> Columns.from_dict(columns.to_dict()).to_dict() == columns.to_dict()
        True
        """
        if not isinstance(table, Mapping):
            raise TypeError(f"columns: this is a {type(table).__name__}. Give the dict that to_dict returned.")
        odd = [str(key) for key in table.keys() ^ _KEPT.keys()]
        if odd:
            raise ValueError(f"columns: the keys {listed(sorted(odd))} are missing or unknown. {_AGAIN}")
        for name, fits in _KEPT.items():
            if not fits(table[name]):
                raise ValueError(f"columns: {name} = {shown(str(table[name]))} cannot be. {_AGAIN}")
        columns = cls(**{name: _kept(name, value) for name, value in table.items()})
        if problem := columns._contradiction():
            raise ValueError(f"columns: {problem}. {_AGAIN}")
        return columns

    def _contradiction(self) -> str:
        """What does not go together, '' for columns that were learnt."""
        features, size = self.features or (), math.prod(self.shape)
        classes = {"binary": self.classes is not None and len(self.classes) == 2, "numbers": self.classes is None}
        if not classes.get(self.targets, self.classes is not None):
            return f"targets are {self.targets}, the classes {self.classes}"
        if (self.features is None) == (self.arrays is None) or set(features) & set(self.target):
            return "features, target and arrays exclude each other"
        if not self.categories.keys() <= set(features):
            return "categories belong to features"
        if self.features and self.shape != (sum(len(self.categories.get(name, "1")) for name in features),):
            return f"shape is {self.shape}, which the features are not"
        if (self.mean is None) != (self.std is None):
            return "mean and std belong together"
        if self.mean is not None and self.std is not None and not len(self.mean) == len(self.std) == size:
            return f"{len(self.mean)} means and {len(self.std)} stds are not the {size} numbers of a row"
        return ""


def classes_of(source: Table | Arrays, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The class of every row, counted from 0, and the labels: whole numbers in their order, or text, sorted.

    Raises ValueError for one class only, for numbers that are not whole, and for too many: over 1000, or over 20 that
    are more than half as many as the rows.
    """
    labels = source.labels(name)
    if isinstance(source, Table) and source.is_numeric(name):
        for row, label in enumerate(labels):
            if _whole(label) is None:
                source.refuse(name, row, f'is {shown(label)}, no label. Set targets = "numbers", or name another.')
    whole = [_whole(label) for label in labels]
    if None in whole:
        classes = sorted(set(labels))
    else:
        labels = [str(label) for label in whole]
        classes = sorted(set(labels), key=int)
    at = f"{source.path}: the target {shown(name)}"
    if len(classes) < 2:
        raise ValueError(f"{at} is {shown(classes[0])} in all {len(labels)} rows. Give rows of two classes or more.")
    if len(classes) > _most(labels):
        raise ValueError(
            f"{at} has {len(classes)} different values in {len(labels)} rows, too many for classes. "
            'Set targets = "numbers", or name another.'
        )
    return _positions(source, name, labels, classes, "no class"), tuple(classes)


def _counted(names: Sequence[str]) -> list[list[str]]:
    """The numbers that are names of so many columns."""
    return [[str(k + first) for k in range(len(names))] for first in (0, 1)]


def _most(cells: Sequence[str]) -> int:
    return max(FEW, min(MANY, len(cells) // 2))


def _positions(
    source: Table | Arrays, name: str, texts: Sequence[str], known: Sequence[str], otherwise: str | None
) -> NDArray[np.int64]:
    """Where each text of a column is among the known ones; else ValueError, which says what it is otherwise, or -1."""
    position = {text: k for k, text in enumerate(known)}
    found = [position.get(text, -1) for text in texts]
    if otherwise and -1 in found:
        text = texts[row := found.index(-1)]
        source.refuse(name, row, f"is {shown(text)}, {otherwise}.{hint(text, 'Known:', known)}")
    return np.array(found, dtype=np.int64)


def _whole(label: str) -> str | None:
    """A whole number in its usual form: 7 for 07 and 7.0."""
    found = _WHOLE.fullmatch(label)
    return str(int(found[1])) if found else None


# ---- what a dict may hold -----------------------------------------------------------------------------------------

_AGAIN = "Give the dict that to_dict returned."


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: list(one) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _kept(name: str, value: Any) -> Any:
    if name in ("mean", "std") and value is not None:
        return np.array(value, dtype=np.float64)
    if name == "categories":
        return {key: tuple(one) for key, one in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(x, str) for x in value) and 0 < len(value) == len(set(value))


def _finite(value: Any) -> bool:
    numbers = isinstance(value, list) and all(type(x) is float for x in value)
    return value is None or (numbers and all(map(math.isfinite, value)))


_KEPT: dict[str, Callable[[Any], bool]] = {
    "features": lambda value: value is None or _names(value),
    "target": _names,
    "targets": lambda value: value in get_args(Targets),
    "classes": lambda value: value is None or (_names(value) and len(value) > 1),
    "shape": lambda value: isinstance(value, list) and value != [] and all(type(x) is int and x > 0 for x in value),
    "categories": lambda value: isinstance(value, dict) and all(map(_names, value.values())),
    "mean": _finite,
    "std": lambda value: _finite(value) and (value is None or all(x > 0 for x in value)),
    "arrays": lambda value: value is None or (isinstance(value, list) and [*map(type, value)] == [str, str]),
    "dtype": lambda value: value in get_args(Dtype),
}
