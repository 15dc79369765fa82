"""Rows shared out: every row once, every class in proportion, the same from the same seed; bad input refused."""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bp.data import digits, train_test_split, train_validation_test_split

# -- in two --


@given(
    counts=st.lists(st.integers(4, 30), min_size=1, max_size=6),
    test=st.floats(0.25, 0.75),
    seed=st.integers(0, 2**40),
)
def test_a_split_keeps_every_row_once_and_every_class_in_proportion(counts, test, seed):
    y = np.repeat(np.arange(len(counts)) * 3 - 4, counts)
    X = np.arange(len(y))
    X_train, X_test, y_train, y_test = train_test_split(X, y, test=test, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([X_train, X_test])), X)
    assert np.array_equal(y[X_train], y_train)
    assert np.array_equal(y[X_test], y_test)
    assert abs(len(X_test) - test * len(y)) < 1
    for label, count in zip(np.unique(y), counts, strict=True):
        assert abs(np.count_nonzero(y_test == label) - test * count) <= 1


def test_the_digits_split_is_a_fifth_shuffled_and_repeats():
    X, y = digits()
    X_train, X_test, y_train, y_test = train_test_split(X, y)
    assert (len(X_train), len(X_test)) == (1437, 360)
    assert np.bincount(y_test).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    again = train_test_split(X, y, test=0.2, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(again, (X_train, X_test, y_train, y_test), strict=True))
    assert not np.array_equal(train_test_split(X, y, seed=1)[3], y_test)


def test_a_split_is_drawn_at_random_and_shuffled():
    X_train, X_test, _, _ = train_test_split(np.arange(60), np.repeat([0, 1], 30), test=0.5)
    assert sorted(X_test) != [*range(15), *range(30, 45)]
    for part in (X_train, X_test):
        assert part.tolist() != sorted(part)
        assert set(part[:10] < 30) == {True, False}


MIXED = np.random.default_rng(3).integers(0, 4, 97)


@pytest.mark.parametrize(
    ("settings", "content"),
    [
        ({}, "d9ddc195a2ab136d5e80e7a90a68c4c96effd4658df86ccaae6baadf626a046c"),
        ({"test": 0.37, "seed": 12}, "cb59e0528831bbb22284079f0f7d0ca82419940dcca86cbfc3a65db0c3834385"),
        ({"test": np.float32(0.5), "seed": 2**70}, "b05dfacaf9f8aa5837835a5d5c05e0bf8c65c5caec8fc83faef16a799c69277b"),
    ],
)
def test_a_seed_means_the_same_rows_in_every_version(settings, content):
    parts = train_test_split(np.arange(97), MIXED, **settings)
    assert hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest() == content


@pytest.mark.parametrize(
    ("n", "test", "held_out"), [(30, 0.1, 3), (100, 0.07, 7), (10, 0.25, 3), (10, np.float32(0.5), 5)]
)
def test_the_size_of_the_held_out_part(n, test, held_out):
    assert len(train_test_split(np.zeros(n), np.zeros(n, dtype=int), test=test)[1]) == held_out


PAIR = (np.zeros((8, 2)), np.repeat([0, 1], 4))


@pytest.mark.parametrize(
    ("X", "y", "arguments", "error", "message"),
    [
        (PAIR[0][:7], PAIR[1], {}, ValueError, "X has shape (7, 2), y (8,). Give X (n, ...) and y (n,)."),
        (PAIR[0], PAIR[1][:, None], {}, ValueError, "X has shape (8, 2), y (8, 1). Give X (n, ...) and y (n,)."),
        (1.0, 1, {}, ValueError, "X has shape (), y (). Give X (n, ...) and y (n,)."),
        (PAIR[0][:0], PAIR[1][:0], {}, ValueError, "X and y have 0 rows. Give at least two rows of each class."),
        (PAIR[0], PAIR[1] * 1.0, {}, TypeError, "y has dtype float64. Give class labels as integers."),
        (*PAIR, {"test": 0}, ValueError, "of the 4 rows of class 0, test=0 holds out 0. Give more rows of it, or"),
        (*PAIR, {"test": 1.0}, ValueError, "test is 1.0. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"test": -0.2}, ValueError, "test is -0.2. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"test": float("nan")}, ValueError, "test is nan. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"test": True}, TypeError, "test is True, a bool. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"test": "0.2"}, TypeError, "test is '0.2', a str. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"seed": -1}, ValueError, "seed is -1, which is negative. Give an integer >= 0."),
        (*PAIR, {"seed": 1.5}, TypeError, "seed is 1.5, a float. Give an integer >= 0."),
        (
            np.zeros(9),
            np.repeat([0, 7], [8, 1]),
            {},
            ValueError,
            "of the 1 rows of class 7, test=0.2 holds out 0. "
            "Give more rows of it, or another test, so that both parts have some.",
        ),
        (*PAIR, {"test": 0.9}, ValueError, "of the 4 rows of class 0, test=0.9 holds out 4. Give more rows of it,"),
        (*PAIR, {"test": 0.1}, ValueError, "of the 4 rows of class 1, test=0.1 holds out 0. Give more rows of it,"),
    ],
)
def test_bad_splits(X, y, arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(f"train_test_split: {message}")):
        train_test_split(X, y, **arguments)


# -- in three --


def rows_of(parts) -> list[list[int]]:
    """The rows of the parts that are there, where X are the numbers of the rows."""
    return [part[0].tolist() for part in parts if part is not None]


@given(
    counts=st.lists(st.integers(12, 30), min_size=1, max_size=5),
    validation=st.floats(0.0, 0.4),
    test=st.floats(0.0, 0.4),
    seed=st.integers(0, 2**40),
    stratify=st.booleans(),
)
def test_three_parts_keep_every_row_once_and_are_of_the_right_sizes(counts, validation, test, seed, stratify):
    y = np.repeat(np.arange(len(counts)) * 3 - 4, counts)
    X = np.arange(len(y))
    parts = train_validation_test_split(X, y, validation, test, seed, stratify)
    assert sorted(row for part in rows_of(parts) for row in part) == X.tolist()
    for part, share in ((parts[1], validation), (parts[2], test)):
        assert (part is None) == (share == 0)
        assert (len(part[0]) if part else 0) == math.ceil(round(share * len(y), 9))
        if part and stratify:
            for label, count in zip(np.unique(y), counts, strict=True):
                assert abs(np.count_nonzero(part[1] == label) - share * count) <= 1
    for part in filter(None, parts):
        assert np.array_equal(y[part[0]], part[1])


@pytest.mark.parametrize("stratify", [True, False])
def test_the_seed_decides_and_the_parts_are_drawn_at_random_and_shuffled(stratify):
    X, y = np.arange(90), np.repeat([0, 1], 45)
    parts = rows_of(train_validation_test_split(X, y, 0.3, 0.3, seed=4, stratify=stratify))
    assert parts == rows_of(train_validation_test_split(X, y, 0.3, 0.3, seed=4, stratify=stratify))
    assert parts != rows_of(train_validation_test_split(X, y, 0.3, 0.3, seed=5, stratify=stratify))
    for part in parts:
        assert part != sorted(part)
        assert max(np.diff(sorted(part))) > 1
        assert set(np.array(part[:15]) < 45) == {True, False}


def test_without_validation_the_parts_are_those_of_train_test_split():
    X_train, X_test, y_train, y_test = train_test_split(np.arange(97), MIXED, 0.3, 7)
    (X, y), validation, test = train_validation_test_split(np.arange(97), MIXED, 0.0, 0.3, 7)
    assert validation is None
    assert [X.tolist(), y.tolist()] == [X_train.tolist(), y_train.tolist()]
    assert [part.tolist() for part in test] == [X_test.tolist(), y_test.tolist()]
    with_validation = train_validation_test_split(np.arange(97), MIXED, 0.2, 0.3, 7)
    assert sorted(with_validation[2][0]) == sorted(X_test)


def test_numbers_and_rows_of_any_shape_are_shared_out_plainly():
    X, y = np.arange(40.0).reshape(10, 2, 2), np.arange(20.0).reshape(10, 2)
    train, validation, test = train_validation_test_split(X, y, 0.2, 0.3, stratify=False)
    assert [part[0].shape for part in (train, validation, test)] == [(5, 2, 2), (2, 2, 2), (3, 2, 2)]
    for X_part, y_part in (train, validation, test):
        assert np.array_equal(X_part[:, 0, 0] / 2, y_part[:, 0])
    everything = train_validation_test_split(X, y, 0, 0, stratify=False)
    assert everything[1:] == (None, None)
    assert len(everything[0][0]) == 10


def test_a_rare_class_may_be_missing_from_what_is_held_out():
    y = np.array([0] * 50 + [*range(1, 11)])  # 0.2 rows of each should be tested, and of these remainders 2 rounded up
    train, validation, test = train_validation_test_split(np.arange(60), y, 0.1, 0.2)
    assert np.bincount(train[1]).tolist() == [32] + [1] * 10
    assert validation[1].tolist() == [0] * 6
    assert test[1].tolist() == [0] * 12


SUM = "leave nothing to train on. Give parts that sum to less than 1."
NUMBER = "Give a number from 0 to 1, not 1 itself."
FEW = "none would be left to train on. Give more rows, or smaller parts."


@pytest.mark.parametrize(
    ("X", "y", "arguments", "error", "message"),
    [
        (PAIR[0][:7], PAIR[1], {}, ValueError, "X has shape (7, 2), y (8,). Give the same number of rows."),
        (1.0, 1, {}, ValueError, "X has shape (), y (). Give the same number of rows."),
        (PAIR[0][:0], PAIR[1][:0], {}, ValueError, "X and y have 0 rows. Give at least one."),
        (
            PAIR[0],
            PAIR[1] * 1.0,
            {},
            TypeError,
            "y has dtype float64 and shape (8,). Give class labels as integers, shape (n,), or stratify=False.",
        ),
        (PAIR[0], PAIR[1][:, None], {}, TypeError, "y has dtype int64 and shape (8, 1). Give class labels as "),
        (*PAIR, {"validation": -0.1}, ValueError, "validation is -0.1. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"test": 1}, ValueError, "test is 1. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"test": float("nan")}, ValueError, "test is nan. Give a number from 0 to 1, not 1 itself."),
        (*PAIR, {"validation": 0.4, "test": 0.6}, ValueError, f"validation 0.4 and test 0.6 {SUM}"),
        (*PAIR, {"validation": 0.9, "test": 0.9}, ValueError, f"validation 0.9 and test 0.9 {SUM}"),
        (*PAIR, {"validation": "0.1"}, TypeError, f"validation is '0.1', a str. {NUMBER}"),
        (*PAIR, {"test": True}, TypeError, f"test is True, a bool. {NUMBER}"),
        (*PAIR, {"seed": -1}, ValueError, "seed is -1, which is negative. Give an integer >= 0."),
        (*PAIR, {"seed": 0.5}, TypeError, "seed is 0.5, a float. Give an integer >= 0."),
        (
            *PAIR,
            {"validation": 0.5, "test": 0.4},
            ValueError,
            f"8 rows of 2 classes are too few for validation=0.5 and test=0.4: {FEW}",
        ),
        (
            PAIR[0][:2],
            PAIR[1][:2] / 2,
            {"stratify": False},
            ValueError,
            f"2 rows are too few for validation=0.1 and test=0.2: {FEW}",
        ),
        (
            PAIR[0][:1],
            PAIR[1][:1],
            {"validation": 0.0},
            ValueError,
            f"1 rows of 1 classes are too few for validation=0.0 and test=0.2: {FEW}",
        ),
    ],
)
def test_bad_splits_in_three(X, y, arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(f"train_validation_test_split: {message}")):
        train_validation_test_split(X, y, **arguments)
