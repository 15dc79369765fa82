"""Rows shared out at random: to training and test, or to training, validation and test.

Class labels are shared out class by class, so that every part holds them in the same proportion; numbers are drawn
from all rows alike. The same seed gives the same parts. Nothing is scaled here.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import random

__all__ = ["check_number", "train_test_split", "train_validation_test_split"]

Pair: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
Counts: TypeAlias = NDArray[np.int64]


def train_test_split(
    X: ArrayLike, y: ArrayLike, test: float = 0.2, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return X_train, X_test, y_train, y_test: shuffled by the seed, every class shared out in the same proportion.

    ceil(test * n) rows are held out. Each class gives its share of them rounded down, and the classes with the largest
    remainders one more.

    Parameters
    ----------
    X
        Shape (n, ...).
    y
        Class labels, integers, shape (n,).
    test
        The part held out, between 0 and 1.
    seed
        An integer >= 0.

    Raises
    ------
    TypeError
        Labels that are not integers, a `test` that is not a number, a seed that is not an integer.
    ValueError
        Different numbers of rows, no rows, `test` outside (0, 1), or a class missing from one of the parts.

    Examples
    --------
    >>> X, y = np.arange(20).reshape(10, 2), np.repeat([0, 1], 5)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y)
    >>> X_train.shape, X_test.shape, np.bincount(y_test)
    ((8, 2), (2, 2), array([1, 1]))
    """
    X, y = np.asarray(X), np.asarray(y)
    if y.ndim != 1 or X.shape[:1] != y.shape:
        raise ValueError(f"train_test_split: X has shape {X.shape}, y {y.shape}. Give X (n, ...) and y (n,).")
    if len(y) == 0:
        raise ValueError("train_test_split: X and y have 0 rows. Give at least two rows of each class.")
    if y.dtype.kind not in "iu":
        raise TypeError(f"train_test_split: y has dtype {y.dtype}. Give class labels as integers.")
    check_number("train_test_split", "test", test, 1.0)
    generator = random.seeded(seed, "train_test_split")
    classes, counts = np.unique(y, return_counts=True)
    sizes = _shares(counts, float(test), counts)
    for label, count, size in zip(classes, counts, sizes, strict=True):
        if not 0 < size < count:
            raise ValueError(
                f"train_test_split: of the {count} rows of class {label}, test={test} holds out {size}. "
                "Give more rows of it, or another test, so that both parts have some."
            )
    train, tested, _ = _drawn(y, classes, sizes, np.zeros_like(sizes), generator)
    return X[train], X[tested], y[train], y[tested]


def train_validation_test_split(
    X: ArrayLike, y: ArrayLike, validation: float = 0.1, test: float = 0.2, seed: int = 0, stratify: bool = True
) -> tuple[Pair, Pair | None, Pair | None]:
    """Return (X, y) to train on, to validate and to test, shuffled by the seed; a part of 0.0 is None.

    ceil(validation * n) and ceil(test * n) rows are held out. With ``validation=0.0`` training and test part are those
    of :func:`train_test_split`.

    Parameters
    ----------
    X
        Shape (n, ...).
    y
        Shape (n, ...): class labels, integers of shape (n,), or with ``stratify=False`` anything.
    validation, test
        The parts held out, each >= 0, together < 1.
    seed
        An integer >= 0.
    stratify
        Whether `y` are class labels, of which every part takes its share of each class. A class with few rows may be
        missing from validation and test, but never from training.

    Raises
    ------
    TypeError
        Labels that are not integers, a part that is not a number, a seed that is not an integer.
    ValueError
        Different numbers of rows, no rows, parts that are negative or leave nothing to train on.

    Examples
    --------
    >>> X, y = np.arange(20).reshape(10, 2), np.linspace(0.0, 1.0, 10)
    >>> train, validation, test = train_validation_test_split(X, y, validation=0.0, stratify=False)
    >>> train[0].shape, validation, test[1].shape
    ((8, 2), None, (2,))
    """
    name = "train_validation_test_split"
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y):
        raise ValueError(f"{name}: X has shape {X.shape}, y {y.shape}. Give the same number of rows.")
    if len(y) == 0:
        raise ValueError(f"{name}: X and y have 0 rows. Give at least one.")
    if stratify and (y.ndim != 1 or y.dtype.kind not in "iu"):
        raise TypeError(
            f"{name}: y has dtype {y.dtype} and shape {y.shape}. Give class labels as integers, shape (n,), "
            "or stratify=False."
        )
    for part, value in (("validation", validation), ("test", test)):
        check_number(name, part, value, 1.0)
    if validation + test >= 1:
        raise ValueError(
            f"{name}: validation {validation} and test {test} leave nothing to train on. Give parts that sum to less "
            "than 1."
        )
    generator = random.seeded(seed, name)
    groups = y if stratify else np.zeros(len(y), dtype=np.int64)
    classes, counts = np.unique(groups, return_counts=True)
    tested = _shares(counts, float(test), counts - 1)
    validated = _shares(counts, float(validation), counts - 1 - tested)
    if int(tested.sum()) < _size(counts, test) or int(validated.sum()) < _size(counts, validation):
        rows = f"{len(y)} rows of {len(classes)} classes" if stratify else f"{len(y)} rows"
        raise ValueError(
            f"{name}: {rows} are too few for validation={validation} and test={test}: none would be left to train on. "
            "Give more rows, or smaller parts."
        )
    rows_of = _drawn(groups, classes, tested, validated, generator)
    train_part, test_part, validation_part = ((X[rows], y[rows]) for rows in rows_of)
    return train_part, validation_part if validation else None, test_part if test else None


def check_number(operation: str, name: str, value: object, below: float = math.inf) -> None:
    """Refuse what is no number >= 0 and < `below`."""
    bound = f"number from 0 to {below:g}, not {below:g} itself" if below < math.inf else "finite number >= 0"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{operation}: {name} is {value!r}, a {type(value).__name__}. Give a {bound}.")
    if not 0 <= value < below:
        raise ValueError(f"{operation}: {name} is {value}. Give a {bound}.")


def _size(counts: Counts, part: float) -> int:
    """ceil(part * n)"""
    return math.ceil(round(float(part) * int(counts.sum()), 9))  # 0.07 * 100 is 7, whatever the last bit says


def _shares(counts: Counts, part: float, most: Counts) -> Counts:
    """How many rows of each class make up the part: rounded down, then one more for the largest remainders.

    Of no class more than `most`: others give the rest, and where none has room for it the part is not full.
    """
    shares = part * counts
    sizes: Counts = np.minimum(np.floor(shares).astype(np.int64), most)
    order = np.argsort(sizes - shares, kind="stable")
    while (short := _size(counts, part) - int(sizes.sum())) > 0 and len(order := order[sizes[order] < most[order]]):
        sizes[order[:short]] += 1
    return sizes


def _drawn(
    y: NDArray[Any], classes: NDArray[Any], tested: Counts, validated: Counts, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """The rows of training, test and validation: of each class so many at random, each part then shuffled."""
    part = np.zeros(len(y), dtype=np.int8)
    for label, a, b in zip(classes, tested, validated, strict=True):
        rows = generator.permutation(np.flatnonzero(y == label))
        part[rows[:a]] = 1
        part[rows[a : a + b]] = 2
    return [generator.permutation(np.flatnonzero(part == k)) for k in range(3)]
