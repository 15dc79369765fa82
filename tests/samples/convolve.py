"""Samples and references for the page `convolve` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from .values import R, S, Samples, real


def how(stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1) -> Any:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


Place = tuple[Any, ...]


def places(
    x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Iterator[tuple[Place, Place, Place]]:
    """Which entry of y each entry of w, times which entry of x, is part of (for all samples at once), one by one."""
    f_all, c_all, *kernel = w
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(x[2:], kernel, stride, padding, dilation)]
    for f, c, *at in product(*map(range, (f_all, c_all, *kernel, *size))):
        ij, pq = at[:2], at[2:]
        rs = [o * s + k * d - p for o, k, s, p, d in zip(pq, ij, stride, padding, dilation)]
        if all(0 <= r < n for r, n in zip(rs, x[2:])):
            yield (slice(None), f, *pq), (f, c, *ij), (slice(None), f // (f_all // groups) * c_all + c, *rs)


def conv2d(x: Any, w: Any, b: Any, **how: Any) -> Any:
    _, _, *sizes = x.shape
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(sizes, w.shape[2:], how["stride"], how["padding"], how["dilation"])
    ]
    y = np.zeros((len(x), len(w), *size)) + (0.0 if b is None else b[:, None, None])
    for at_y, at_w, at_x in places(x.shape, w.shape, **how):
        y[at_y] += w[at_w] * x[at_x]
    return y


def conv2d_dx(g: Any, w: Any, size: Any, **how: Any) -> Any:
    x = np.zeros((len(g), w.shape[1] * how["groups"], *size))
    for at_y, at_w, at_x in places(x.shape, w.shape, **how):
        x[at_x] += w[at_w] * g[at_y]
    return x


def conv2d_dw(x: Any, g: Any, kernel_size: Any, **how: Any) -> Any:
    w = np.zeros((g.shape[1], x.shape[1] // how["groups"], *kernel_size))
    for at_y, at_w, at_x in places(x.shape, w.shape, **how):
        w[at_w] += (x[at_x] * g[at_y]).sum()
    return w


WIDE = how(stride=(1, 2), padding=(1, 0))
TALL = how(stride=(3, 1), padding=(2, 1), dilation=(2, 1))
APART = how(stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2)

ROWS: dict[str, Samples] = {
    "conv2d": [
        R((1, 2, 2, 4), (2, 2, 2, 2), (2,), **WIDE),
        S(real(1, 1, 5, 2), real(2, 1, 2, 1, k=1), None, **TALL),
        S(real(1, 2, 4, 2), real(2, 1, 2, 2, k=1), None, **APART),
        R((2, 2, 1, 2), (1, 2, 1, 1), (1,), **how()),
        R((0, 1, 3, 3), (1, 1, 2, 2), (1,), **how()),
    ],
    "conv2d_dx": [
        R((1, 2, 3, 2), (2, 2, 2, 2), size=(2, 4), **WIDE),
        R((1, 2, 3, 4), (2, 1, 2, 1), size=(5, 2), **TALL),
        R((1, 2, 2, 2), (2, 1, 2, 2), size=(4, 2), **APART),
        R((0, 1, 2, 2), (1, 1, 2, 2), size=(3, 3), **how()),
    ],
    "conv2d_dw": [
        R((1, 2, 2, 4), (1, 2, 3, 2), kernel_size=(2, 2), **WIDE),
        R((1, 1, 5, 2), (1, 2, 3, 4), kernel_size=(2, 1), **TALL),
        R((1, 2, 4, 2), (1, 2, 2, 2), kernel_size=(2, 2), **APART),
        R((0, 1, 3, 3), (0, 1, 2, 2), kernel_size=(2, 2), **how()),
    ],
}
SPELLED: dict[str, Samples] = {}
FORMULAS: dict[str, Callable[..., Any]] = {"conv2d": conv2d, "conv2d_dx": conv2d_dx, "conv2d_dw": conv2d_dw}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
