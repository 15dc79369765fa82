"""Samples and references for the page `recurrent` of the table: data, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .values import S, Samples, unit


def inputs(gates: int, steps: int, batch: int, n: int, states: int = 1) -> tuple[Any, ...]:
    """z, w, b and the states before the first step."""
    shapes = [(steps, batch, gates * n), (gates * n, n), (gates * n,), *[(batch, n)] * states]
    return tuple(unit(*shape, k=k) for k, shape in enumerate(shapes))


def without_bias(*args: Any) -> tuple[Any, ...]:
    z, w, _, *states = inputs(*args)
    return z, w, 0.0, *states


def with_kinks(*args: Any) -> tuple[Any, ...]:
    """The same with states that weigh more than z: some units are off where z is above 0, and on where it is below."""
    z, w, *others = inputs(*args)
    return z, 4.0 * w, *others


SIZES = [(2, 1, 1), (3, 2, 1), (2, 1, 2)]  # steps, batch, n
ROWS: dict[str, Samples] = {
    "rnn": [
        *[S(*inputs(1, *sizes)) for sizes in [(3, 2, 2), (2, 0, 2)]],
        *[S(*without_bias(1, 2, 1, 3)), S(*with_kinks(1, 2, 2, 2), nonlinearity="relu")],
    ],
    "lstm": [*[S(*inputs(4, *sizes, 2)) for sizes in [*SIZES, (1, 0, 1)]], S(*without_bias(4, 1, 2, 1, 2))],
    "gru": [*[S(*inputs(3, *sizes)) for sizes in [*SIZES, (1, 0, 1)]], S(*without_bias(3, 1, 2, 1))],
}
SPELLED: dict[str, Samples] = {}


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def rnn(z: Any, w: Any, b: Any, h: Any, nonlinearity: str = "tanh") -> Any:
    hs = []
    for z_t in z:
        x = z_t + h @ w.T + b
        h = np.tanh(x) if nonlinearity == "tanh" else x * (x > 0)
        hs.append(h)
    return np.stack(hs)


def lstm(z: Any, w: Any, b: Any, h: Any, c: Any) -> Any:
    ys = []
    for z_t in z:
        i, f, a, o = np.split(z_t + h @ w.T + b, 4, axis=1)
        i, f, a, o = sigmoid(i), sigmoid(f), np.tanh(a), sigmoid(o)
        c = f * c + i * a
        h = o * np.tanh(c)
        ys.append([h, c, i, f, a, o])
    return np.stack(ys, 1)


def gru(z: Any, w: Any, b: Any, h: Any) -> Any:
    ys = []
    for z_t in z:
        (z_r, z_u, z_a), (r, u, q) = np.split(z_t, 3, axis=1), np.split(h @ w.T + b, 3, axis=1)
        r, u = sigmoid(z_r + r), sigmoid(z_u + u)
        a = np.tanh(z_a + r * q)
        h = (1.0 - u) * a + u * h
        ys.append([h, a, r, u, q])
    return np.stack(ys, 1)


FORMULAS: dict[str, Callable[..., Any]] = {"rnn": rnn, "lstm": lstm, "gru": gru}
"""What a name must compute, where NumPy has no function of that name: as a textbook has it."""
LINEAR: set[str] = set()
"""Rows whose derivative does not depend on their inputs (or in steps only)."""
