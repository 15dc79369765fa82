"""Moons, spirals, xor: the points their definitions say, classes as equal as n allows, the same from the same seed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_bp.data import moons, spirals, xor

EACH = pytest.mark.parametrize("make", [moons, spirals, xor])


@given(
    make=st.sampled_from([moons, spirals, xor]),
    n=st.integers(4, 50),
    noise=st.sampled_from([0, 0.0, 0.1, np.float32(0.5)]),
    seed=st.integers(0, 2**40),
)
def test_shapes_kinds_and_classes_as_equal_as_n_allows(make, n, noise, seed):
    X, y = make(n, noise=noise, seed=seed)
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((n, 2), np.float64, (n,), np.int64)
    counts = np.bincount(y)
    assert len(counts) == (3 if make is spirals else 2)
    assert counts.max() - counts.min() <= 1
    assert np.isfinite(X).all()


@EACH
def test_the_seed_decides_and_rows_are_shuffled(make):
    X, y = make()
    again = make(seed=0)
    assert np.array_equal(X, again[0])
    assert np.array_equal(y, again[1])
    assert not np.array_equal(X, make(seed=1)[0])
    assert not np.array_equal(y, make(seed=1)[1])
    assert len(np.unique(y[:20])) == len(np.unique(y))


def in_order(X: np.ndarray) -> np.ndarray:
    return X[np.lexsort(X.T.round(12))]


def test_moons_are_those_of_scikit_learn():
    """make_moons(101, noise=None): linspace(0, pi) along each half circle."""
    X, y = moons(101, noise=0.0)
    outer, inner = np.linspace(0, np.pi, 51), np.linspace(0, np.pi, 50)
    outer = np.column_stack([np.cos(outer), np.sin(outer)])
    inner = np.column_stack([1 - np.cos(inner), 1 - np.sin(inner) - 0.5])
    assert np.abs(in_order(X[y == 0]) - in_order(outer)).max() < 1e-14
    assert np.abs(in_order(X[y == 1]) - in_order(inner)).max() < 1e-14


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_an_arm_of_the_spiral_winds_four_radians_outwards(classes):
    X, y = spirals(20 * classes, classes, noise=0.0)
    for arm in range(classes):
        points = X[y == arm]
        r = np.hypot(*points.T)
        points, r = points[np.argsort(r)], np.sort(r)
        assert np.abs(r - np.linspace(0, 1, 20)).max() < 1e-15
        angle = np.unwrap(np.arctan2(points[1:, 0], points[1:, 1]))
        turned = angle - 4 * r[1:] - 2 * np.pi * arm / classes
        assert np.abs((turned + np.pi) % (2 * np.pi) - np.pi).max() < 1e-13


def test_xor_are_the_corners_of_the_square():
    X, y = xor(22, noise=0.0)
    assert np.array_equal(X[:, 0].astype(int) ^ X[:, 1].astype(int), y)
    corners, counts = np.unique(X, axis=0, return_counts=True)
    assert corners.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert sorted(counts) == [5, 5, 6, 6]


@EACH
def test_noise_is_normal_of_the_given_standard_deviation(make):
    X, y = make(4000, noise=0.5, seed=3)
    smooth = make(4000, noise=0.0, seed=3)
    if make is spirals:
        off = np.unwrap(np.arctan2(X[:, 0], X[:, 1]) - 2 * np.pi * y / 3 - 4 * np.hypot(*X.T), period=2 * np.pi)
        off = (off + np.pi) % (2 * np.pi) - np.pi
    else:  # the same rows in the same order: what is drawn is drawn before the noise is scaled
        assert np.array_equal(y, smooth[1])
        off = (X - smooth[0]).ravel()
    assert abs(off.std() - 0.5) < 0.02
    assert abs(off.mean()) < 0.03
    assert abs(np.mean(np.abs(off) < 0.5) - 0.683) < 0.02


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (moons, {"n": 1}, ValueError, "moons: n is 1. Give an integer >= 2."),
        (xor, {"n": 3}, ValueError, "xor: n is 3. Give an integer >= 4."),
        (spirals, {"n": 4, "classes": 5}, ValueError, "spirals: n is 4. Give an integer >= 5."),
        (spirals, {"classes": 1}, ValueError, "spirals: classes is 1. Give an integer >= 2."),
        (spirals, {"classes": 2.0}, TypeError, "spirals: classes is 2.0, a float. Give an integer >= 2."),
        (moons, {"n": "200"}, TypeError, "moons: n is '200', a str. Give an integer >= 2."),
        (xor, {"n": True}, TypeError, "xor: n is True, a bool. Give an integer >= 4."),
        (moons, {"noise": -0.1}, ValueError, "moons: noise is -0.1. Give a finite number >= 0."),
        (spirals, {"noise": float("nan")}, ValueError, "spirals: noise is nan. Give a finite number >= 0."),
        (xor, {"noise": float("inf")}, ValueError, "xor: noise is inf. Give a finite number >= 0."),
        (xor, {"noise": None}, TypeError, "xor: noise is None, a NoneType. Give a finite number >= 0."),
        (moons, {"noise": True}, TypeError, "moons: noise is True, a bool. Give a finite number >= 0."),
        (moons, {"seed": -1}, ValueError, "moons: seed is -1, which is negative. Give an integer >= 0."),
        (spirals, {"seed": 0.5}, TypeError, "spirals: seed is 0.5, a float. Give an integer >= 0."),
        (xor, {"seed": None}, TypeError, "xor: seed is None, a NoneType. Give an integer >= 0."),
    ],
)
def test_bad_arguments(make, arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        make(**arguments)
