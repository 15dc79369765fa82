"""The DataLoader: every row once per pass, shuffles that repeat from the seed, and every bad argument refused.

Where it is can be saved and restored at any moment, and whatever does not fit is refused before anything is changed.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterator

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


# -- where it is, saved and restored --


def package_state() -> dict:
    return random.generator().bit_generator.state


def to_come(batches: Iterator, loader: DataLoader) -> list:
    """What is left of a pass and the two passes after it, with a draw of somebody else's before each."""
    passes = [[batch.tolist() for (batch,) in batches]]
    for _ in range(2):
        random.generator().random()
        passes.append(rows(loader))
    return passes


@given(
    n=st.integers(1, 20),
    batch_size=st.integers(1, 8),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.one_of(st.none(), st.integers(0, 2**40)),
    passes=st.integers(0, 2),
    given_out=st.integers(0, 20),
    again=st.booleans(),
)
def test_a_loaded_state_goes_on_wherever_it_was_saved(
    n, batch_size, shuffle, drop_last, seed, passes, given_out, again
):
    if drop_last and batch_size > n:
        return
    settings = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last, "seed": seed}
    loader = DataLoader(np.arange(n), **settings)
    for _ in range(passes):
        rows(loader)
    batches = iter(loader)
    for _, _ in zip(range(min(given_out, len(loader))), batches):
        random.generator().random()
    saved = json.dumps(loader.state_dict())
    generator = package_state()
    expected = to_come(batches, loader)
    restored = DataLoader(np.arange(n), **settings)
    if again:
        rows(restored)  # a loader in use
    restored.load_state_dict(json.loads(saved))
    random.generator().bit_generator.state = generator
    assert json.dumps(restored.state_dict()) == saved
    assert to_come(iter(restored), restored) == expected


@pytest.mark.parametrize("settings", [{"seed": 3, "shuffle": True}, {"shuffle": True}, {}])
def test_between_passes_the_next_is_a_whole_one_and_after_the_last_batch_nothing_is_to_come(settings):
    loader = DataLoader(np.arange(5), **settings)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    last = loader.state_dict()
    assert list(batches) == []
    between, generator = loader.state_dict(), package_state()
    following = rows(loader)
    for state, expected in ((last, [[], following]), (between, [following])):
        restored = DataLoader(np.arange(5), **settings)
        restored.load_state_dict(state)
        random.generator().bit_generator.state = generator
        assert [rows(restored) for _ in expected] == expected


@pytest.mark.parametrize("settings", [{"seed": 3, "shuffle": True}, {"shuffle": True}])
def test_the_state_is_that_of_the_pass_begun_last(settings):
    loader = DataLoader(np.arange(9), **settings)
    first, second = iter(loader), iter(loader)
    next(second)
    for _ in range(4):
        next(first)
    state, generator = loader.state_dict(), package_state()
    assert state["position"] == 1
    expected = [[batch.tolist() for (batch,) in second], rows(loader)]
    assert list(first)  # an older pass that ends leaves the state of the newer one alone
    restored = DataLoader(np.arange(9), **settings)
    restored.load_state_dict(state)
    random.generator().bit_generator.state = generator
    assert [rows(restored), rows(restored)] == expected


def test_an_older_pass_that_ends_is_not_the_end_of_the_newer():
    loader = DataLoader(np.arange(4))
    first, second = iter(loader), iter(loader)
    next(second)
    assert len(list(first)) == 4
    assert loader.state_dict()["position"] == 1


def test_an_abandoned_pass_can_be_gone_on_with_until_the_next_begins():
    loader = DataLoader(np.arange(9), shuffle=True, seed=1)
    started = []
    for (batch,) in loader:
        started.append(batch.tolist())
        if len(started) == 4:
            break
    abandoned = loader.state_dict()
    second = iter(loader)
    newer = loader.state_dict()
    restored = DataLoader(np.arange(9), shuffle=True, seed=1)
    first = rows(DataLoader(np.arange(9), shuffle=True, seed=1))
    restored.load_state_dict(abandoned)
    assert started + rows(restored) == first
    restored.load_state_dict(newer)
    assert rows(restored) == [batch.tolist() for (batch,) in second] != first


@pytest.mark.parametrize("seed", [None, 3])
def test_a_pass_that_has_begun_has_its_order_before_its_first_batch(seed):
    loader = DataLoader(np.arange(9), shuffle=True, seed=seed)
    batches = iter(loader)
    state, generator = loader.state_dict(), package_state()
    expected = [[batch.tolist() for (batch,) in batches], rows(loader)]
    loader.load_state_dict(state)
    random.generator().bit_generator.state = generator
    assert [rows(loader), rows(loader)] == expected


def test_a_loaded_pass_that_is_abandoned_is_followed_by_a_whole_one():
    loader = DataLoader(np.arange(9), shuffle=True, seed=1)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    second = rows(loader)
    loader.load_state_dict(state)
    next(iter(loader))
    assert rows(loader) == second


def test_loading_does_not_touch_the_package_generator_nor_an_iterator_that_is_open():
    loader = DataLoader(np.arange(6), shuffle=True)
    batches = iter(loader)
    next(batches)
    state, generator = loader.state_dict(), package_state()
    loader.load_state_dict(state)
    continued = rows(loader)
    assert package_state() == generator
    assert [batch.tolist() for (batch,) in batches] == continued


def test_a_state_is_a_plain_dict_that_shares_nothing_with_the_loader():
    loader = DataLoader(np.arange(6), shuffle=True, seed=0)
    next(iter(loader))
    state = loader.state_dict()
    kept = copy.deepcopy(state)
    other = DataLoader(np.arange(6), shuffle=True, seed=9)
    other.load_state_dict(state)
    expected = rows(other)
    other.load_state_dict(state)
    state["generator"]["state"]["state"] = 0
    assert loader.state_dict() == other.state_dict() == kept
    assert rows(other) == expected
    assert {type(value) for value in kept.values()} == {int, bool, dict}


SAVED = {"rows": 5, "batch_size": 1, "shuffle": True, "drop_last": False, "seeded": True, "position": 2}
GENERATOR = np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize(
    ("settings", "state", "error", "message"),
    [
        ({"shuffle": True, "seed": 0}, [], TypeError, "the state is a list. Pass what state_dict() returned."),
        ({}, {"rows": 5, 3: 4}, ValueError, "got the keys ['3', 'rows']. Pass what state_dict() returned."),
        ({}, SAVED | {"more": 1}, ValueError, "got the keys ['batch_size', 'drop_last', 'more', 'position', "),
        ({"shuffle": True, "seed": 0}, SAVED | {"rows": 6}, ValueError, "rows is 6 in the state and 5 here. Make the "),
        ({"shuffle": True, "seed": 0}, SAVED | {"rows": np.arange(2)}, ValueError, "rows is array([0, 1]) in the "),
        (
            {"batch_size": 2},
            SAVED,
            ValueError,
            "batch_size is 1 in the state and 2 here. Make the loader as the one that was saved.",
        ),
        ({"seed": 0}, SAVED, ValueError, "shuffle is True in the state and False here. Make the loader as the one "),
        (
            {"shuffle": True, "seed": 0, "drop_last": True},
            SAVED,
            ValueError,
            "drop_last is False in the state and True here. Make the loader as the one that was saved.",
        ),
        ({"shuffle": True}, SAVED, ValueError, "seeded is True in the state and False here. Make the loader as the "),
        ({}, {"position": 6}, ValueError, "position is 6, a pass has 5 batches. Pass what state_dict() returned."),
        ({}, {"position": -1}, ValueError, "position is -1, a pass has 5 batches. Pass what state_dict() returned."),
        ({}, {"position": 1.0}, ValueError, "position is 1.0, a pass has 5 batches. Pass what state_dict() returned."),
        ({}, {"generator": GENERATOR}, ValueError, "the state has a generator. Pass what state_dict() returned."),
        (
            {"shuffle": True},
            {"position": 1},
            ValueError,
            "the state has no generator. Pass what state_dict() returned.",
        ),
        ({"shuffle": True, "seed": 0}, SAVED, ValueError, "the state has no generator. Pass what state_dict() "),
        ({"shuffle": True, "seed": 0}, SAVED | {"position": 0}, ValueError, "the state has no generator. Pass what "),
        (
            {"shuffle": True, "seed": 0},
            SAVED | {"generator": GENERATOR | {"bit_generator": "MT19937"}},
            ValueError,
            "the generator's state is refused: state must be for a PCG64 ",
        ),
        (
            {"shuffle": True, "seed": 0},
            SAVED | {"generator": GENERATOR | {"state": {"state": 1 << 200, "inc": 1}}},
            ValueError,
            "the generator's state is refused: ",
        ),
        (
            {"shuffle": True, "seed": 0},
            SAVED | {"generator": GENERATOR | {"state": np.arange(3)}},
            ValueError,
            "the generator's state is refused: ",
        ),
        ({"shuffle": True, "seed": 0}, SAVED | {"generator": {}}, ValueError, "the generator's state is refused: "),
        ({"shuffle": True, "seed": 0}, SAVED | {"generator": 7}, ValueError, "the generator's state is refused: "),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(settings, state, error, message):
    loader = DataLoader(np.arange(5), **settings)
    batches = iter(loader)
    next(batches)
    before = loader.state_dict()
    if isinstance(state, dict) and len(state) == 1:  # a loader's own state with one thing in it changed
        state = DataLoader(np.arange(5), **settings).state_dict() | state
    with pytest.raises(error, match="^" + re.escape(f"load_state_dict: {message}")) as caught:
        loader.load_state_dict(state)
    assert "\n" not in str(caught.value)
    assert loader.state_dict() == before
    assert len(list(batches)) == len(loader) - 1


# -- bad arguments --

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
