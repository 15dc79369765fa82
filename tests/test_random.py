"""The one generator: seeding repeats everything, NumPy's global generator is left alone, bad seeds are refused."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import random


def test_a_seed_repeats_the_draws():
    random.manual_seed(3)
    first = random.generator().standard_normal(5)
    random.manual_seed(np.int64(3))
    assert np.array_equal(random.generator().standard_normal(5), first)
    random.manual_seed(4)
    assert not np.array_equal(random.generator().standard_normal(5), first)


def test_unseeded_runs_differ():
    draw = [sys.executable, "-c", "from tinygrad_bp import random; print(random.generator().random())"]
    assert subprocess.check_output(draw) != subprocess.check_output(draw)


def test_numpys_global_generator_is_neither_used_nor_changed():
    before = np.random.get_state()[1].copy()
    random.manual_seed(0)
    random.generator().random(10)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, "manual_seed: seed is -1, which is negative. Give an integer >= 0."),
        (True, TypeError, "manual_seed: seed is True, a bool. Give an integer >= 0."),
        (1.0, TypeError, "manual_seed: seed is 1.0, a float. Give an integer >= 0."),
        ("1", TypeError, "manual_seed: seed is '1', a str. Give an integer >= 0."),
        (None, TypeError, "manual_seed: seed is None, a NoneType. Give an integer >= 0."),
        ([1, 2], TypeError, "manual_seed: seed is [1, 2], a list. Give an integer >= 0."),
    ],
)
def test_bad_seeds(seed, error, message):
    state = random.generator().bit_generator.state
    with pytest.raises(error, match=re.escape(message)):
        random.manual_seed(seed)
    assert random.generator().bit_generator.state == state


@pytest.mark.parametrize("name", ["rand", "randn", "zeros", "ones"])
def test_a_shape_is_given_as_lengths_or_as_one_sequence(name):
    make = getattr(bp, name)
    for lengths in ((2, 3), ((2, 3),), ([2, 3],), (np.array([2, 3]),), (np.int64(2), 3)):
        assert make(*lengths).shape == (2, 3)
    assert make().shape == make(()).shape == ()
    assert make(4).shape == make((4,)).shape == (4,)


@pytest.mark.parametrize("name", ["rand", "randn", "zeros", "ones"])
def test_bad_shapes(name):
    make = getattr(bp, name)
    for shape, shown in (
        ((2.5,), "(2.5,)"),
        (("3",), "('3',)"),
        ((None, 2), "(None, 2)"),
        (((2, 3), 4), "((2, 3), 4)"),
    ):
        message = f"{name}: shape {shown} is not made of integers. Pass lengths such as 2, 3."
        with pytest.raises(TypeError, match="^" + re.escape(message) + "$"):
            make(*shape)
    with pytest.raises(ValueError, match=rf"^{name}: shape \(2, -1\) has a negative length\. Pass lengths >= 0\.$"):
        make(2, -1)


def test_bad_shapes_of_full():
    assert bp.full(2, 7.0).tolist() == [7.0, 7.0]
    with pytest.raises(TypeError, match=r"^full: shape \(2\.5,\) is not made of integers\."):
        bp.full(2.5, 0.0)


@pytest.mark.parametrize("draw", [random.rand, random.randn])
def test_random_numbers_are_floating(draw):
    assert draw(2, dtype="float32").dtype == np.float32
    with pytest.raises(TypeError, match=rf"^{draw.__name__}: int64 is not a floating dtype\. Pass float64"):
        draw(2, dtype=np.int64)
