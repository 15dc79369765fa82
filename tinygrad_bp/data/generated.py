"""Points in the plane that no straight line separates: moons, spirals, xor.

Each is the field's usual definition, written in its docstring. The classes are as equal in size as n allows, the rows
are shuffled, and the same seed gives the same points.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import random
from .loader import check_integer
from .split import check_number

__all__ = ["moons", "spirals", "xor"]

Pair: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]


def moons(n: int = 200, noise: float = 0.1, seed: int = 0) -> Pair:
    """Return X, shape (n, 2), and y, shape (n,), int64 in 0..1: two half circles that reach into each other.

    Class 0 is (cos t, sin t), class 1 (1 - cos t, 1/2 - sin t), t evenly from 0 to pi; to both coordinates comes normal
    noise of standard deviation `noise`. As in scikit-learn's make_moons.

    Raises TypeError or ValueError where n is no integer >= 2, `noise` no number >= 0, `seed` no integer >= 0.

    >>> X, y = moons(5, noise=0.0)
    >>> X[y == 1].round(2)
    array([[2. , 0.5],
           [0. , 0.5]])
    """
    generator = random.seeded(seed, "moons")
    check_integer("moons", "n", n, 2)
    check_number("moons", "noise", noise)
    y = np.arange(n) % 2
    t = math.pi * _progress(n, 2)
    X = np.stack([np.where(y, 1.0 - np.cos(t), np.cos(t)), np.where(y, 0.5 - np.sin(t), np.sin(t))], axis=1)
    return _shuffled(X + noise * generator.standard_normal((n, 2)), y, generator)


def spirals(n: int = 300, classes: int = 3, noise: float = 0.2, seed: int = 0) -> Pair:
    """Return X, shape (n, 2), and y, shape (n,), int64: one arm of a spiral for each class, from the centre outwards.

    Class j is r (sin t, cos t) with r evenly from 0 to 1 and t = 2 pi j / classes + 4 r + noise * N(0, 1), in radians.
    The spiral of Stanford's CS231n (https://cs231n.github.io/neural-networks-case-study/), whose arms begin 4 apart
    instead of 2 pi / classes, which is nearly the same for three.

    Raises TypeError or ValueError where `classes` is no integer >= 2, n no integer >= `classes`, `noise` no number
    >= 0, `seed` no integer >= 0.

    >>> X, y = spirals(n=100)
    >>> X.shape, np.bincount(y)
    ((100, 2), array([34, 33, 33]))
    """
    generator = random.seeded(seed, "spirals")
    check_integer("spirals", "classes", classes, 2)
    check_integer("spirals", "n", n, classes)
    check_number("spirals", "noise", noise)
    y = np.arange(n) % classes
    r = _progress(n, classes)
    t = 2.0 * math.pi * y / classes + 4.0 * r + noise * generator.standard_normal(n)
    return _shuffled(np.stack([r * np.sin(t), r * np.cos(t)], axis=1), y, generator)


def xor(n: int = 200, noise: float = 0.1, seed: int = 0) -> Pair:
    """Return X, shape (n, 2), and y, shape (n,), int64 in 0..1: the corners of the unit square, y = a xor b.

    Corners (a, b) = (0, 0), (0, 1), (1, 0), (1, 1) in turn; to both coordinates comes normal noise of standard
    deviation `noise`. The problem that no perceptron without a hidden layer solves (Minsky and Papert, Perceptrons,
    1969).

    Raises TypeError or ValueError where n is no integer >= 4, `noise` no number >= 0, `seed` no integer >= 0.

    >>> X, y = xor(4, noise=0.0)
    >>> np.column_stack([X, y])
    array([[1., 0., 1.],
           [1., 1., 0.],
           [0., 1., 1.],
           [0., 0., 0.]])
    """
    generator = random.seeded(seed, "xor")
    check_integer("xor", "n", n, 4)
    check_number("xor", "noise", noise)
    corner = np.arange(n) % 4
    a, b = corner // 2, corner % 2
    return _shuffled(np.stack([a, b], axis=1) + noise * generator.standard_normal((n, 2)), a ^ b, generator)


def _progress(n: int, classes: int) -> NDArray[np.float64]:
    """From 0 to 1, evenly for each class, where row i is of class i % classes."""
    step = np.arange(n) // classes
    last = (n - 1 - np.arange(n) % classes) // classes  # the step of the last row of the same class
    return step / np.maximum(last, 1)


def _shuffled(X: NDArray[np.float64], y: NDArray[np.int64], generator: np.random.Generator) -> Pair:
    order = generator.permutation(len(y))
    return X[order], y[order].astype(np.int64)
