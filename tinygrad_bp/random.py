"""The one random generator of the package.

Initialisers, shuffles without a seed and the examples draw from it, so that `manual_seed` makes a whole run repeatable.
It is seeded from the operating system until then. NumPy's global generator is never used nor changed.
There is one generator for all threads; give a thread its own seed where the order of draws must not depend on timing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .creation import as_shape
from .tensor import Tensor, default_dtype

__all__ = ["generator", "manual_seed", "rand", "randn", "seeded"]

_generator: np.random.Generator | None = None  # made at the first draw: numpy.random is a third of the import of NumPy


def generator() -> np.random.Generator:
    """Return the generator that everything random in the package draws from.

    >>> manual_seed(0)
    >>> generator().standard_normal(2)
    array([ 0.12573022, -0.13210486])
    """
    global _generator
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator


def manual_seed(seed: int) -> None:
    """Restart the package's generator, so that everything random after this line repeats.

    Raises TypeError if the seed is not an integer and ValueError if it is negative.

    >>> manual_seed(7); first = generator().random(3)
    >>> manual_seed(7); (generator().random(3) == first).all()
    np.True_
    """
    global _generator
    _generator = seeded(seed, "manual_seed")


def seeded(seed: int, operation: str) -> np.random.Generator:
    """Return a generator of its own for `seed`, an integer >= 0; errors speak in the name of `operation`.

    >>> seeded(0, "shuffle").permutation(4)
    array([2, 0, 1, 3])
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{operation}: seed is {seed!r}, a {type(seed).__name__}. Give an integer >= 0.")
    if seed < 0:
        raise ValueError(f"{operation}: seed is {seed}, which is negative. Give an integer >= 0.")
    return np.random.default_rng(seed)


def rand(*shape: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """Uniform numbers in [0, 1), of the given shape: ``rand(2, 3)`` or ``rand((2, 3))``.

    >>> manual_seed(0)
    >>> rand(2)
    tensor([0.63696169, 0.26978671])
    """
    return _floating("rand", generator().random(as_shape("rand", shape)), requires_grad, dtype)


def randn(*shape: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """Normal numbers with mean 0 and variance 1, of the given shape: ``randn(2, 3)`` or ``randn((2, 3))``.

    >>> manual_seed(0)
    >>> randn(2)
    tensor([ 0.12573022, -0.13210486])
    """
    return _floating("randn", generator().standard_normal(as_shape("randn", shape)), requires_grad, dtype)


def _floating(name: str, drawn: Any, requires_grad: bool, dtype: Any) -> Tensor:
    new = default_dtype() if dtype is None else np.dtype(dtype)
    if new.kind != "f":
        raise TypeError(f"{name}: {new} is not a floating dtype. Pass float64 or float32.")
    return Tensor(drawn.astype(new), requires_grad)
