"""Values for samples, and ways to say many samples in a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Sample(NamedTuple):
    inputs: tuple[Any, ...]
    params: dict[str, Any]

    def __repr__(self) -> str:
        shapes = [str(x.shape) if isinstance(x, np.ndarray) else repr(x) for x in self.inputs]
        return ", ".join(shapes + [f"{name}={value!r}" for name, value in self.params.items()])


Samples = list[Sample]
Domain = Callable[..., Any]

# ---- values: a lattice of distinct numbers in random order, the k-th array between the points of the others ----------


def positive(*shape: int, k: int = 0) -> Any:
    """0.51 to 2.01."""
    steps = np.random.default_rng([*shape, k]).permutation(int(np.prod(shape)))
    return (0.51 + 0.05 * (steps % 30) + 0.025 * k).reshape(shape)


def real(*shape: int, k: int = 0) -> Any:
    """The same with random signs."""
    return positive(*shape, k=k) * np.random.default_rng([*shape, k, 1]).choice([-1.0, 1.0], shape)


def unit(*shape: int, k: int = 0) -> Any:
    """0.18 to 0.71 with random signs."""
    return 0.35 * real(*shape, k=k)


def fraction(*shape: int, k: int = 0) -> Any:
    """0.18 to 0.71."""
    return 0.35 * positive(*shape, k=k)


def above_one(*shape: int, k: int = 0) -> Any:
    return 1.0 + positive(*shape, k=k)


def distribution(*shape: int, k: int = 0) -> Any:
    """Rows that sum to one."""
    p = positive(*shape, k=k)
    return p / p.sum(-1, keepdims=True)


def whole(*shape: int, k: int = 0) -> Any:
    return np.asarray(np.random.default_rng([*shape, k]).integers(-2, 3, shape))


def label(*shape: int, k: int = 0) -> Any:
    """A class for every row of a matrix."""
    return whole(shape[0], k=k) % shape[1]


def flag(*shape: int, k: int = 0) -> Any:
    return np.asarray(np.random.default_rng([*shape, k]).random(shape) < 0.5)


# ---- samples ---------------------------------------------------------------------------------------------------------


def S(*inputs: Any, **params: Any) -> Sample:
    """These inputs and params."""
    return Sample(tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in inputs), params)


def R(*shapes: tuple[int, ...], **params: Any) -> Sample:
    """Real inputs of these shapes, and params."""
    return S(*[real(*shape, k=k) for k, shape in enumerate(shapes)], **params)


def vary(*inputs: Any, **param: Any) -> Samples:
    """The same inputs with each value of a param."""
    return [S(*inputs, **{name: value}) for name, values in param.items() for value in values]


SHAPES = [(), (1,), (3,), (2, 3), (2, 1, 3), (0,), (2, 0, 3)]
PAIRS = [
    ((), ()),
    ((3,), (3,)),
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((2, 1, 2), (3, 1)),
]
PAIRS += [
    ((), (3,)),
    ((3,), ()),
    ((1,), (2, 2)),
    ((2, 2), (1, 1)),
    ((0,), (0,)),
    ((0,), (1,)),
    ((0, 3), (3,)),
    ((), (0,)),
]


def each(x: Domain) -> Samples:
    """One array, of every shape."""
    return [S(x(*shape)) for shape in SHAPES]


def both(a: Domain, b: Domain) -> Samples:
    """Two arrays of shapes that broadcast, or an array and a number."""
    numbers = [S(a(3), b(k=1).item()), S(a().item(), b(3, k=1))]
    return numbers + [S(a(*shape), b(*other, k=1)) for shape, other in PAIRS]


def along(x: Domain) -> Samples:
    """A reduction of one axis, or of all."""
    return [
        *[S(x(*shape)) for shape in [(), (1,), (3,), (2, 3)]],
        *[
            S(x(*shape), axis=axis)
            for shape, axis in [((2, 3), 0), ((2, 3), -1), ((2, 3, 2), 1), ((2, 1), 1), ((0, 3), 1)]
        ],
    ]


def reduced(x: Domain) -> Samples:
    """A reduction of any axes, kept or not."""
    return [
        *along(x),
        *[S(x(2, 3, 2), axis=(0, 2)), S(x(2, 3, 2), axis=(-1, 0), keepdims=True), S(x(2, 3), axis=())],
        *[S(x(2, 3), keepdims=True), S(x(2, 3), axis=0, keepdims=True), S(x(0, 3), axis=1, keepdims=True)],
    ]


def nothing(x: Domain) -> Samples:
    """A reduction of no entries, where it has a value."""
    return [S(x(0)), S(x(0, 3), axis=0), S(x(2, 0), axis=1, keepdims=True), S(x(2, 0, 3), axis=(0, 1))]


def loss(x: Domain, y: Domain) -> Samples:
    """A loss of two arrays with each reduction."""
    pairs = [(x(3, 4), y(3, 4, k=1)), (x(1, 2), y(1, 2, k=1))]
    return [S(*pairs[0])] + [sample for pair in pairs for sample in vary(*pair, reduction=["mean", "sum", "none"])]
