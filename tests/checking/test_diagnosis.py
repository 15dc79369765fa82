"""The diagnosis names mistakes planted here, each rule its own, and claims nothing where the evidence is thin.

A mistake is a function and a wrong backward for one of its arguments; N comes from differences of the function, A from
the backward, one row for each output.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.differences import slopes
from tinygrad_bp.checking import diagnosis
from tinygrad_bp.checking.diagnosis import RULES, Case, diagnose

RNG = np.random.default_rng(7)


def normal(*shape: int) -> Any:
    """Numbers of both signs, none nearer than 0.1 to 0, +-1."""
    x = RNG.normal(size=shape)
    near = lambda x: np.abs(np.abs(x) - np.round(np.abs(x))) < 0.1
    return np.where(near(x), x + 0.25, x)


@dataclass(frozen=True)
class Mistake:
    code: str
    text: str
    """What the diagnosis must say."""
    f: Callable[..., Any]
    backward: Callable[..., Any]
    """(incoming gradient, *arguments) -> the wrong gradient of the first argument."""
    arguments: tuple[Any, ...]
    rivals: bool = False

    def numeric(self, v: Any, k: int = 0) -> Any:
        """v . df/d(argument k)"""
        arguments = [np.array(x) for x in self.arguments]
        return slopes(lambda: float(np.sum(v * self.f(*arguments))), arguments[k])

    def case(self, scalar: bool = False) -> Case:
        """All of the Jacobian; or the gradient of v . f at the columns that are no multiples of 5."""
        names = list(inspect.signature(self.f).parameters)
        x, *others = self.arguments
        y = np.asarray(self.f(*self.arguments), float)
        v = np.random.default_rng(1).normal(size=y.shape)
        rows = [v] if scalar else list(np.eye(y.size).reshape(-1, *y.shape))
        measured = np.arange(x.size) % 5 != 0 if scalar and x.size > 5 else np.ones(x.size, bool)
        numeric = np.array([self.numeric(row) for row in rows]).reshape(len(rows), x.size)
        with np.errstate(all="ignore"):
            raws = [np.asarray(self.backward(row, *self.arguments)) for row in rows]
            raw = np.asarray(self.backward(v, *self.arguments))
        kept = raw.shape == x.shape
        analytic = np.array(raws).reshape(len(rows), x.size) if kept else np.full((len(rows), x.size), np.nan)
        error = 1e-10 * (np.abs(numeric) + np.abs(numeric).max(initial=0))
        size = np.fmax(np.abs(analytic), np.abs(numeric))
        wrong = ~(np.abs(analytic - numeric) <= 1e-6 * size + 6 * error) & measured
        numeric = np.where(measured, numeric, np.nan)
        rivals = {}
        if self.rivals:
            rivals = {names[1]: np.array([self.numeric(row, 1) for row in rows]).reshape(len(rows), -1)}
        return Case(
            names[0], x, y, dict(zip(names[1:], others)), analytic, numeric, error,
            wrong, np.zeros_like(wrong), measured, raw, v, np.abs(x).ravel(), rivals,
        )  # fmt: skip


# ---- functions -----------------------------------------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def one_hot(t: Any, n: int) -> Any:
    return np.eye(n)[t]


def add_at(shape: Any, index: Any, g: Any) -> Any:
    out = np.zeros(shape)
    np.add.at(out, index, g)
    return out


def assign_at(shape: Any, index: Any, g: Any) -> Any:
    out = np.zeros(shape)
    out[index] = g
    return out


def convolve(k: Any, x: Any) -> Any:
    """A convolution without padding."""
    return np.convolve(x, k, "valid")


def normalise(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def cross_entropy(z: Any, t: Any) -> Any:
    return -np.mean(np.log(softmax(z))[np.arange(len(t)), t])


X, W, B, G = normal(4, 3), normal(3, 5), normal(5), normal(4, 5)
S = normal(3, 3)
T, INDEX = np.array([2, 0, 1, 2]), np.array([0, 2, 2, 4, 2, 1])
POSITIVE = np.abs(X) + 0.2

dense = lambda W, X, b: X @ W + b
bias = lambda b, X, W: X @ W + b
into = lambda X, W, b: X @ W + b
tanh_bias = lambda b, X, W: np.tanh(X @ W + b)
leaky = lambda x: np.where(x > 0, x, 0.01 * x)
times = lambda x, w: x * w
p = softmax


def mistake(code: str, text: str, f: Any, backward: Any, *arguments: Any, rivals: bool = False) -> Mistake:
    return Mistake(code, text, f, backward, arguments, rivals)


MISTAKES = {
    # shape
    "bias not summed": mistake("BROADCAST", "not summed over axis 0", bias, lambda g, b, X, W: g, B, X, W),
    "column not summed": mistake("BROADCAST", "over axis 1", lambda c, x: c * x, lambda g, c, x: g * x, normal(4, 1), X),
    "gradient.T": mistake("TRANSPOSE", "transposed", dense, lambda g, W, X, b: (X.T @ g).T, W, X, B),
    "flat": mistake("SHAPE", "numbers are right", times, lambda g, x, w: (g * w).ravel(), X, normal(4, 3)),
    "one number": mistake("SHAPE", "has shape", times, lambda g, x, w: np.array(1.0), X, normal(4, 3)),
    # not a number
    "where trap": mistake(
        "NONFINITE", "nan at", lambda x: np.where(x > 0, np.sqrt(np.abs(x)), 0.0),
        lambda g, x: g * np.where(x > 0, 1.0, 0.0) * 0.5 / np.sqrt(x), X,
    ),  # fmt: skip
    # one number
    "zeros": mistake("DETACHED", "all zero", times, lambda g, x, w: 0 * g, X, normal(4, 3)),
    "minus": mistake("SIGN", "wrong sign", lambda a, b: a - b, lambda g, a, b: -g, X, normal(4, 3)),
    "minus sum": mistake("SIGN", "sign", cross_entropy, lambda g, z, t: g * (one_hot(t, 3) - p(z)) / 4, X, T),
    "square": mistake("FACTOR", "half", lambda x: x**2, lambda g, x: g * x, X),
    "half square": mistake("FACTOR", "twice", lambda x: x**2 / 2, lambda g, x: 2 * g * x, X),
    "scale": mistake("FACTOR", "1 / alpha", lambda x, alpha: alpha * np.tanh(x), lambda g, x, alpha: g * (1 - np.tanh(x) ** 2), X, np.array(0.3)),
    "no mean": mistake("MEAN", "large by 4, the size of axis 0 of z", cross_entropy, lambda g, z, t: g * (p(z) - one_hot(t, 3)), X, T),
    "mean": mistake("MEAN", "small by 4", lambda W, X: np.tanh(X @ W).sum(0), lambda g, W, X: X.T @ (g * (1 - np.tanh(X @ W) ** 2)) / 4, W, X),
    "swap": mistake("SWAPPED", "gradient of b", lambda a, b: a**2 * b, lambda g, a, b: g * a**2, X, normal(4, 3), rivals=True),
    # places
    "dW transposed": mistake("TRANSPOSE", "transposed", lambda W, x: x @ W, lambda g, W, x: np.outer(g, x), S, normal(3)),
    "W for W.T": mistake("TRANSPOSE", "matrix", lambda x, W: x @ W, lambda g, x, W: g @ W, X, S),
    "reshaped": mistake("TRANSPOSE", "reshaped", dense, lambda g, W, X, b: (g.T @ X).reshape(W.shape), W, X, B),
    "summed over rows": mistake("BROADCAST", "wrong axis", lambda b, x: x + b, lambda g, b, x: g.sum(1), normal(3), S),
    "kernel not flipped": mistake("FLIP", "reversed", lambda x, k: np.convolve(x, k, "valid"), lambda g, x, k: np.convolve(g, k), normal(7), normal(3)),
    "kernel gradient reversed": mistake("FLIP", "reversed along axis 0 of k", convolve, lambda g, k, x: np.correlate(x, g, "valid"), normal(3), normal(7)),
    "columns reversed": mistake("FLIP", "axis 1", lambda x: np.tanh(x[:, ::-1]), lambda g, x: g * (1 - np.tanh(x[:, ::-1]) ** 2), X),
    "rolled": mistake("SHIFT", "off by one", lambda x, w: np.roll(x, 1) * w, lambda g, x, w: np.roll(g * w, -2), normal(7), normal(7)),
    "slice": mistake("SHIFT", "off by one", lambda x: x[1:] ** 3 + 0, lambda g, x: np.append(3 * x[1:] ** 2 * g, 0), normal(6)),
    "cumsum": mistake("FLIP", "axis 1 of x", lambda x: np.cumsum(x, 1), lambda g, x: np.cumsum(g, 1), X),
    # forgotten paths
    "skip lost": mistake("SKIP", "lost", lambda x, W: x + np.tanh(x @ W), lambda g, x, W: (g * (1 - np.tanh(x @ W) ** 2)) @ W.T, X, S),
    "skip twice": mistake("SKIP", "twice", lambda x: x + np.tanh(x), lambda g, x: g * (3 - np.tanh(x) ** 2), X),
    "softmax diagonal": mistake("MISSING", "0 for the other outputs", softmax, lambda g, x: g * p(x) * (1 - p(x)), X),
    "softmax off diagonal": mistake("MISSING", "lacks a term", softmax, lambda g, x: -p(x) * (g * p(x)).sum(-1, keepdims=True), X),
    "one row": mistake("BROADCAST", "counts 1 of the 4", lambda b, x: x + b, lambda g, b, x: g[0], normal(3), X),
    "one row, tanh": mistake("BROADCAST", "counts 1 of the 4", tanh_bias, lambda g, b, X, W: (g * (1 - np.tanh(X @ W + b) ** 2))[-1], B, X, W),
    "gather overwritten": mistake("DUPLICATE", "keep one", lambda e, i: e[i], lambda g, e, i: assign_at(e.shape, i, g), normal(5, 2), INDEX),
    "gather overwritten, mixed": mistake("DUPLICATE", "keep one", lambda e, i: np.tanh(e[i]) @ normal_w, lambda g, e, i: assign_at(e.shape, i, np.outer(g, normal_w) * (1 - np.tanh(e[i]) ** 2)), normal(5, 2), INDEX),
    "loop overwritten": mistake("DUPLICATE", "keep one", lambda k, x: np.array([x[i : i + 3] @ k for i in range(4)]), lambda g, k, x: g[3] * x[3:6], normal(3), normal(6)),
    "loop ends early": mistake("REGION", "index is 3 along axis 0 of the output", lambda W, x: x @ W, lambda g, W, x: x[:-1].T @ g[:-1], W, X),
    # factors
    "tanh'": mistake("CHAIN", "(1 - y**2) is missing", lambda x: np.tanh(x), lambda g, x: g, X),
    "sigmoid', of y": mistake("CHAIN", "y * (1 - y) is missing", lambda x: sigmoid(x), lambda g, x: g, X),
    "1 - y": mistake("CHAIN", "(1 - y) is missing", lambda x: sigmoid(x), lambda g, x: g * sigmoid(x), X),
    "y twice": mistake("CHAIN", "y too many", lambda x: np.exp(x), lambda g, x: g * np.exp(x) ** 2, X),
    "other argument": mistake("CHAIN", "w is missing", times, lambda g, x, w: g, X, normal(4, 3)),
    "division": mistake("CHAIN", "w too many", lambda x, w: x / w, lambda g, x, w: g, X, normal(4, 3)),
    "sign": mistake("REGION", "x < 0: there it is -1 times", lambda x: np.abs(x), lambda g, x: g, X),
    "cos": mistake("CHAIN", "cos(x) is missing", lambda x: np.sin(x), lambda g, x: g, X),
    "hidden tanh'": mistake("CHAIN", "tanh'((X @ W + b)) is missing", lambda b, X, W, V: np.tanh(X @ W + b) @ V, lambda g, b, X, W, V: (g @ V.T).sum(0), B, normal(1, 3), W, normal(5, 2)),
    "outer tanh'": mistake("CHAIN", "(1 - y**2) is missing", lambda X, W: np.tanh(X @ W), lambda g, X, W: g @ W.T, X, W),
    "weights in a sum": mistake("CHAIN", "w is missing", lambda x, w: np.sum(w * x**2), lambda g, x, w: 2 * g * x, X, normal(4, 3)),
    # terms
    "centre": mistake("MISSING", "constant along axis 1", lambda x: x - x.mean(1, keepdims=True), lambda g, x: g, X),
    "softmax p u": mistake("MISSING", "rank 1", softmax, lambda g, x: p(x) * g, normal(2, 5)),
    "norm": mistake("MISSING", "rank 1", lambda x: x / np.linalg.norm(x), lambda g, x: g / np.linalg.norm(x), normal(6)),
    "variance": mistake("MISSING", "rank 1", normalise, lambda g, x: (g - g.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5), normal(2, 5)),
    "mean and variance": mistake("MISSING", "rank 2", normalise, lambda g, x: g / np.sqrt(x.var(-1, keepdims=True) + 1e-5), normal(2, 5)),
    "weight decay": mistake("MISSING", "-0.1 * w", lambda w, x: np.sum(np.tanh(x * w)) + 0.05 * np.sum(w**2), lambda g, w, x: g * x * (1 - np.tanh(x * w) ** 2), normal(6), normal(6)),
    "target": mistake("CHAIN", "-(t - x) belongs", lambda x, t: np.sum((x - t) ** 2) / 2, lambda g, x, t: g * x, X, normal(4, 3)),
    # regions
    "relu mask": mistake("REGION", "x < 0", lambda x: np.maximum(x, 0), lambda g, x: g, X),
    "leaky slope": mistake("REGION", "x < 0: there the gradient is 0", leaky, lambda g, x: g * (x > 0), X),
    "abs": mistake("REGION", "x < 0", lambda x, w: np.where(x < 0, np.sin(x), w * x), lambda g, x, w: g * np.where(x < 0, 1, w), normal(12), normal(12)),
    "hidden mask": mistake("REGION", "y == 0", lambda W, X, b: np.maximum(X @ W + b, 0), lambda g, W, X, b: X.T @ g, W, X, B),
    "clip": mistake("REGION", "|x| > 1", lambda x: np.clip(x, -1, 1), lambda g, x: g, normal(12)),
    "last column": mistake("REGION", "index is 2 along axis 1 of x", lambda x: np.exp(x), lambda g, x: g * np.exp(x) * np.array([1, 1, 1.5]), X),
    "edges": mistake("REGION", "both sides", lambda x: np.exp(x), lambda g, x: g * np.exp(x) * np.array([3, 1, 1, 1, 1, 7]), normal(6)),
    "forgotten entries": mistake("DETACHED", "2 of 12", lambda x: np.exp(x), lambda g, x: g * np.exp(x) * (np.arange(12).reshape(4, 3) % 7 != 4), X),
    # no name
    "noise": mistake("OTHER", "worst", lambda x: np.exp(x), lambda g, x: g * np.exp(x) * scrambled, X),
    "1 by 1": mistake("FACTOR", "factor 3.7", lambda x: 3.7 * x + 0, lambda g, x: g * 3.7**2, np.array([0.2])),
}  # fmt: skip

normal_w, scrambled = normal(2), 1 + 0.3 * normal(4, 3)


@pytest.mark.parametrize("name", MISTAKES)
def test_names_the_mistake(name):
    mistake = MISTAKES[name]
    found = diagnose(mistake.case())
    assert (found.code, mistake.text in found.text) == (mistake.code, True), found
