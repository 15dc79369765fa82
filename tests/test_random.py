"""The one generator: seeding repeats everything, NumPy's global generator is left alone, bad seeds are refused."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

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
