"""The nets that are measured, and their training step by plain SGD written by hand in NumPy, in two ways.

`hand_written` is what the chain rule looks like when a person who knows NumPy writes it down: vectorised, one exp per
sigmoid, nothing computed that the update does not need (not even the loss). Every ratio in the report is to it.
`hand_written_out` is the same arithmetic in buffers that are allocated once: what remains when no memory is asked for.
All nets are layers of x @ W.T + b and a sigmoid under the quadratic loss sum((a - y)^2) / 2n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]

LEARNING_RATE = 0.5  # keeps every net learning for thousands of steps: no saturation, so no denormals


@dataclass(frozen=True)
class Net:
    """Layer sizes and the rows of a mini-batch; the name is how the reports call it."""

    name: str
    sizes: tuple[int, ...]
    batch: int


NETS = (
    Net("784-30-10, batch 10", (784, 30, 10), 10),
    Net("784-100-10, batch 10", (784, 100, 10), 10),
    Net("784, six of 32, 10, batch 32", (784, *[32] * 6, 10), 32),
    Net("784-512-512-10, batch 128", (784, 512, 512, 10), 128),
)


@dataclass(frozen=True)
class Problem:
    """One net in one dtype with its first weights and its mini-batch; nobody may write into these arrays."""

    net: Net
    dtype: str
    optimizer: str
    weights: tuple[tuple[Array, Array], ...]
    x: Array
    y: Array

    @property
    def flat(self) -> list[Array]:
        """[W1, b1, W2, b2, ...]."""
        return [array for layer in self.weights for array in layer]


@dataclass(frozen=True)
class Contender:
    """One way to compute the step: `step()` makes one update, `parameters()` reads [W1, b1, W2, b2, ...].

    Where one call of `step` makes many updates, `updates` says how many, and `some(k)` makes k of them.
    """

    name: str
    step: Callable[[], object]
    parameters: Callable[[], list[Array]]
    updates: int = 1
    some: Callable[[int], object] | None = None


def problem(net: Net, dtype: str, optimizer: str = "SGD") -> Problem:
    """Weights N(0, 16 / inputs), so that gradients reach the first of many sigmoids; x uniform in [0, 1), one-hot y."""
    rng = np.random.default_rng(0)
    weights = tuple(
        ((rng.standard_normal((m, n)) * 4 / n**0.5).astype(dtype), rng.standard_normal(m).astype(dtype))
        for n, m in zip(net.sizes[:-1], net.sizes[1:], strict=True)
    )
    x = rng.random((net.batch, net.sizes[0])).astype(dtype)
    y = np.eye(net.sizes[-1], dtype=dtype)[rng.integers(0, net.sizes[-1], net.batch)]
    return Problem(net, dtype, optimizer, weights, x, y)


def hand_written(p: Problem, name: str = "hand-written") -> Contender:
    layers = [(W.copy(), b.copy()) for W, b in p.weights]
    x, y, rate = p.x, p.y, LEARNING_RATE / p.net.batch

    def step() -> None:
        activations = [x]
        for W, b in layers:
            z = activations[-1] @ W.T + b
            activations.append(1.0 / (1.0 + np.exp(-z)))
        a = activations.pop()
        delta = (a - y) * a * (1.0 - a)
        for W, b in reversed(layers):
            a = activations.pop()
            dW = delta.T @ a
            db = delta.sum(0)
            if activations:
                delta = delta @ W * a * (1.0 - a)
            W -= rate * dW
            b -= rate * db

    return Contender(name, step, lambda: [array for layer in layers for array in layer])


def hand_written_out(p: Problem) -> Contender:
    layers = [(W.copy(), b.copy()) for W, b in p.weights]
    gradients = [(np.empty_like(W), np.empty_like(b)) for W, b in layers]
    activations = [p.x, *(np.empty((p.net.batch, len(b)), p.dtype) for _, b in layers)]
    deltas = [np.empty_like(a) for a in activations[1:]]
    slopes = [np.empty_like(a) for a in activations[1:]]
    one, ones = np.array(1, p.dtype), np.ones(p.net.batch, p.dtype)
    rate = np.array(LEARNING_RATE / p.net.batch, p.dtype)

    def step() -> None:
        for (W, b), x, a in zip(layers, activations[:-1], activations[1:], strict=True):
            x.dot(W.T, a)
            np.add(a, b, a)
            np.negative(a, a)
            np.exp(a, a)
            np.add(a, one, a)
            np.reciprocal(a, a)
        np.subtract(activations[-1], p.y, deltas[-1])
        for k in reversed(range(len(layers))):
            (W, b), (dW, db), a, delta, slope = layers[k], gradients[k], activations[k + 1], deltas[k], slopes[k]
            np.subtract(one, a, slope)
            np.multiply(slope, a, slope)
            np.multiply(delta, slope, delta)
            delta.T.dot(activations[k], dW)
            ones.dot(delta, db)
            if k:
                delta.dot(W, deltas[k - 1])
            np.multiply(dW, rate, dW)
            np.subtract(W, dW, W)
            np.multiply(db, rate, db)
            np.subtract(b, db, b)

    return Contender("hand-written, out=", step, lambda: [array for layer in layers for array in layer])
