"""The DataLoader: every row once per pass, shuffles that repeat from the seed, and every bad argument refused."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bp import random
from tinygrad_bp.data import DataLoader


def rows(loader: DataLoader) -> list[list[int]]:
    """One pass over a loader of one array, batch by batch."""
    return [batch.tolist() for (batch,) in loader]


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_a_pass_cuts_one_order_into_batches(n, batch_size, shuffle, drop_last, seed):
    if drop_last and batch_size > n:
        return
    X = np.arange(3 * n).reshape(n, 3)
    loader = DataLoader(X, X[:, 0], batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)
    batches = list(loader)
    assert len(batches) == len(loader)
    sizes = [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0 and not drop_last)
    assert [len(x) for x, _ in batches] == sizes
    assert all(np.array_equal(x[:, 0], first) for x, first in batches)
    seen = np.concatenate([x for x, _ in batches])
    assert len(np.unique(seen[:, 0])) == len(seen)
    assert np.array_equal(seen[:, 2], seen[:, 0] + 2)
    if not shuffle:
        assert np.array_equal(seen, X[: len(seen)])


def test_the_default_is_one_row_at_a_time_in_order():
    assert rows(DataLoader([5, 6, 7])) == [[5], [6], [7]]


def test_passes_differ_and_a_rebuilt_loader_repeats_them():
    loader = DataLoader(np.arange(20), batch_size=6, shuffle=True, seed=5)
    first, second, third = rows(loader), rows(loader), rows(loader)
    assert first != second != third != first
    assert sorted(k for batch in second for k in batch) == list(range(20))
    again = DataLoader(np.arange(20), batch_size=6, shuffle=True, seed=5)
    assert [rows(again), rows(again), rows(again)] == [first, second, third]
    assert rows(DataLoader(np.arange(20), batch_size=6, shuffle=True, seed=6)) != first


def test_the_order_is_drawn_when_a_pass_begins():
    loader = DataLoader(np.arange(20), batch_size=20, shuffle=True, seed=5)
    early, late = iter(loader), iter(loader)
    second, first = next(late)[0], next(early)[0]
    again = DataLoader(np.arange(20), batch_size=20, shuffle=True, seed=5)
    assert rows(again) == [first.tolist()]
    assert rows(again) == [second.tolist()]


def test_without_a_seed_the_package_generator_shuffles():
    loader = DataLoader(np.arange(20), batch_size=6, shuffle=True)
    random.manual_seed(1)
    first = rows(loader)
    assert rows(loader) != first
    random.manual_seed(1)
    assert rows(loader) == first


def test_with_a_seed_or_without_shuffling_the_package_generator_is_not_used():
    state = random.generator().bit_generator.state
    rows(DataLoader(np.arange(20), shuffle=True, seed=0))
    rows(DataLoader(np.arange(20)))
    assert random.generator().bit_generator.state == state


def test_batches_in_order_are_views_and_shuffled_ones_are_copies():
    X = np.zeros((4, 2), dtype=np.float32)
    for (batch,) in DataLoader(X, batch_size=3):
        assert np.shares_memory(batch, X)
        assert batch.dtype == np.float32
    for (batch,) in DataLoader(X, batch_size=3, shuffle=True):
        assert not np.shares_memory(batch, X)
        assert batch.dtype == np.float32


def test_a_pickled_loader_goes_on_where_it_was():
    loader = DataLoader(np.arange(20), batch_size=6, shuffle=True, seed=5)
    rows(loader)
    copy = pickle.loads(pickle.dumps(loader))
    assert rows(copy) == rows(loader)


ONE_TO_FIVE = np.arange(1, 6)


@pytest.mark.parametrize(
    ("arrays", "arguments", "error", "message"),
    [
        ((), {}, ValueError, "no arrays. Give at least one, e.g. DataLoader(X, y, batch_size=32)."),
        ((np.ones((4, 2)), ONE_TO_FIVE), {}, ValueError, "the arrays have 4 and 5 rows. Give arrays of one length."),
        ((ONE_TO_FIVE, [1], [2, 3]), {}, ValueError, "the arrays have 5, 1 and 2 rows. Give arrays of one length."),
        ((np.empty((0, 3)), []), {}, ValueError, "the arrays have 0 rows. Give at least one row."),
        ((ONE_TO_FIVE, 1.0), {}, ValueError, "array 1 has no rows, its shape is (). Give shape (n, ...)."),
        (([[1, 2], [3]],), {}, ValueError, "array 0 is ragged. Give rows of one shape."),
        ((ONE_TO_FIVE, list("abcde")), {}, TypeError, "array 1 has dtype <U1. Give numbers or bools."),
        (([None],), {}, TypeError, "array 0 has dtype object. Give numbers or bools."),
        (([1j],), {}, TypeError, "array 0 has dtype complex128. Give numbers or bools."),
        ((ONE_TO_FIVE,), {"batch_size": 0}, ValueError, "batch_size is 0. Give an integer >= 1."),
        ((ONE_TO_FIVE,), {"batch_size": -2}, ValueError, "batch_size is -2. Give an integer >= 1."),
        ((ONE_TO_FIVE,), {"batch_size": 2.0}, TypeError, "batch_size is 2.0, a float. Give an integer >= 1."),
        ((ONE_TO_FIVE,), {"batch_size": True}, TypeError, "batch_size is True, a bool. Give an integer >= 1."),
        ((ONE_TO_FIVE,), {"batch_size": "2"}, TypeError, "batch_size is '2', a str. Give an integer >= 1."),
        ((ONE_TO_FIVE,), {"batch_size": None}, TypeError, "batch_size is None, a NoneType. Give an integer >= 1."),
        (
            (ONE_TO_FIVE,),
            {"batch_size": 6, "drop_last": True},
            ValueError,
            "drop_last leaves out all 5 rows, fewer than batch_size 6. "
            "Give a batch_size of at most 5 or drop_last=False.",
        ),
        ((ONE_TO_FIVE,), {"seed": -1}, ValueError, "seed is -1, which is negative. Give an integer >= 0."),
        ((ONE_TO_FIVE,), {"seed": 0.5}, TypeError, "seed is 0.5, a float. Give an integer >= 0."),
        ((ONE_TO_FIVE,), {"seed": False}, TypeError, "seed is False, a bool. Give an integer >= 0."),
    ],
)
def test_bad_arguments(arrays, arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(f"DataLoader: {message}") + "$"):
        DataLoader(*arrays, **arguments)
