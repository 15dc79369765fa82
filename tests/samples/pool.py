"""Samples and references for the page `pool` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from .values import R, S, Samples, real


def pairs(size: Any, stride: Any, padding: Any = (0, 0), dilation: Any = (1, 1), ceil_mode: bool = False) -> Any:
    return {"size": size, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}


def windows(shape: Any, size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
    """(place of the window in the output, places of its entries in the input), counted one by one."""
    axes = []
    for n, k, s, p, d in zip(shape[len(shape) - len(size) :], size, stride, padding, dilation):
        beyond = s - 1 if ceil_mode else 0  # how far the last window may reach
        starts = [i for i in range(-p, n if ceil_mode else n + p, s) if i + (k - 1) * d < n + p + beyond]
        axes.append([[j for j in range(i, i + k * d, d) if 0 <= j < n] for i in starts])
    for at in product(*[range(len(axis)) for axis in axes]):
        yield at, list(product(*[axis[i] for axis, i in zip(axes, at)]))


def output(shape: Any, *params: Any) -> Any:
    return tuple(n + 1 for n in list(windows(shape, *params))[-1][0])


def largest(x: Any, *params: Any) -> Any:
    """For every window the place of its largest entry, the first of equals, in the last axes of x made flat."""
    spatial = x.shape[x.ndim - len(params[0]) :]
    flat = x.reshape(*x.shape[: x.ndim - len(spatial)], int(np.prod(spatial)))
    places = np.zeros((*flat.shape[:-1], *output(x.shape, *params)), int)
    for at, entries in windows(x.shape, *params):
        inside = np.array([np.ravel_multi_index(e, spatial) for e in entries])
        places[(..., *at)] = inside[np.argmax(flat[..., inside], -1)]
    return places


def take(h: Any, x: Any, size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False) -> Any:
    places = largest(x, size, stride, padding, dilation, ceil_mode)
    n = int(np.prod(x.shape[: x.ndim - len(size)]))
    rows, chosen = (y.reshape(n, y.size // max(n, 1)) for y in (h, places))
    return np.take_along_axis(rows, chosen, -1).reshape(places.shape)


def put(g: Any, x: Any, size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False) -> Any:
    places = largest(x, size, stride, padding, dilation, ceil_mode)
    dx = np.zeros((int(np.prod(x.shape[: x.ndim - len(size)])), int(np.prod(x.shape[x.ndim - len(size) :]))))
    for row, place, part in zip(dx, places.reshape(len(dx), -1), g.reshape(len(dx), -1)):
        np.add.at(row, place, part)
    return dx.reshape(x.shape)


def means(shape: Any, size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool) -> Any:
    """(place of the window in the output, places of its entries in the input, by how many their sum is divided)."""
    lengths = shape[len(shape) - len(size) :]
    for at, entries in windows(shape, size, stride, padding, (1,) * len(size), ceil_mode):
        padded = [min(i * s + k, n + 2 * p) - i * s for i, n, k, s, p in zip(at, lengths, size, stride, padding)]
        yield at, entries, np.prod(padded) if count_include_pad else len(entries)


def average(
    x: Any, size: Any, stride: Any, padding: Any, ceil_mode: bool = False, count_include_pad: bool = True
) -> Any:
    found = list(means(x.shape, size, stride, padding, ceil_mode, count_include_pad))
    y = np.zeros((*x.shape[: x.ndim - len(size)], *[n + 1 for n in found[-1][0]]))
    for at, entries, count in found:
        y[(..., *at)] = sum(x[(..., *e)] for e in entries) / count
    return y


def share(g: Any, shape: Any, size: Any, *params: Any, **named: Any) -> Any:
    x = np.zeros(shape)
    for at, entries, count in means(shape, size, *params, **named):
        for e in entries:
            x[(..., *e)] += g[(..., *at)] / count
    return x


def adaptive(x: Any, size: Any) -> Any:
    lead = x.ndim - len(size)
    y = np.zeros((*x.shape[:lead], *size))
    for at in np.ndindex(*size):
        places = [slice(i * n // m, int(np.ceil((i + 1) * n / m))) for i, n, m in zip(at, x.shape[lead:], size)]
        y[(..., *at)] = x[(..., *places)].mean(tuple(range(lead, x.ndim)))
    return y


def ranks(*shape: int) -> Any:
    """Whole numbers in random order, some of them twice."""
    return np.random.default_rng(shape).permutation(int(np.prod(shape))).reshape(shape) // 2


PLAIN = pairs((2, 2), (2, 2))
OVERLAPPING = pairs((3, 2), (2, 1), (1, 0))
CEILED = pairs((2, 3), (3, 2), (1, 1), (2, 1), True)
SPREAD = pairs((2, 2), (2, 1), (0, 0), (2, 1))
MEANS = [
    {"size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False, "count_include_pad": True},
    {"size": (3, 2), "stride": (2, 1), "padding": (1, 1), "ceil_mode": False, "count_include_pad": True},
    {"size": (3, 2), "stride": (2, 2), "padding": (1, 0), "ceil_mode": True, "count_include_pad": False},
]
LINE = {"size": (3,), "stride": (2,), "padding": (1,), "dilation": (1,)}

ROWS: dict[str, Samples] = {
    "max_pool": [
        R((1, 2, 4, 4), **PLAIN),
        R((2, 4, 3), **OVERLAPPING),
        R((5, 4), **CEILED),
        R((2, 5), **LINE),
        R((0, 4), **LINE),
    ],
    "max_pool_take": [S(real(1, 2, 4, 3), ranks(1, 2, 4, 3), **PLAIN), S(real(5, 3), ranks(5, 3), **SPREAD)],
    "max_pool_put": [S(real(1, 2, 2, 1), ranks(1, 2, 4, 3), **PLAIN), S(real(2, 2), ranks(5, 3), **SPREAD)],
    "avg_pool": [R((2, 4, 5), **MEANS[0]), R((3, 2), **MEANS[1]), R((4, 3), **MEANS[2]), R((0, 3, 2), **MEANS[0])],
    "avg_pool_put": [
        R((1, 2, 2), shape=(1, 4, 5), **MEANS[0]),
        R((2, 3), shape=(3, 2), **MEANS[1]),
        R((3, 2), shape=(4, 3), **MEANS[2]),
    ],
}
SPELLED: dict[str, Samples] = {
    "adaptive_avg_pool": [R((2, 4, 3), size=(2, 1)), R((2, 5, 3), size=(3, 2)), R((1, 2), size=(3,))],
}
FORMULAS: dict[str, Callable[..., Any]] = {
    "max_pool": lambda x, *params, **named: take(x, x, *params, **named),
    "max_pool_take": take,
    "max_pool_put": put,
    "avg_pool": average,
    "avg_pool_put": share,
    "adaptive_avg_pool": adaptive,
}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set(ROWS)
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
