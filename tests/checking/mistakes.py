"""Functions and wrong backwards of one of their arguments: the set on which the rules of the diagnosis are developed.

N comes from differences of the function, A from the wrong backward, one row for each output; or one row in all, for
the gradient of v . y.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf

from tests.differences import slopes
from tinygrad_bp.checking.diagnosis import Case

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
            names[0], x, y, dict(zip(names[1:], others)), analytic, numeric, error, wrong, np.zeros_like(wrong),
            measured, raw, v, np.abs(x).ravel(), rivals,
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


normal_w, scrambled = normal(2), 1 + 0.3 * normal(4, 3)
A43, B43, W35, b5, W52 = normal(4, 3), normal(4, 3), normal(3, 5), normal(5), normal(5, 2)
Q, K, V = normal(4, 3), normal(5, 3), normal(5, 3)
c43 = RNG.random((4, 3)) > 0.5
GATHERED = (np.array([0, 1, 1, 3, 1]), np.array([0, 2, 2, 1, 0]))


def batch_norm(x: Any) -> Any:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def attention(Q: Any, K: Any, V: Any) -> Any:
    return softmax(Q @ K.T / np.sqrt(Q.shape[1])) @ V


def attention_dS(g: Any, Q: Any, K: Any, V: Any, path: float = 1) -> Any:
    P, u = attention(Q, K, np.eye(len(K))), g @ V.T
    return P * (u - path * (u * P).sum(1, keepdims=True)) / np.sqrt(Q.shape[1])


def convolve2(x: Any, k: Any) -> Any:
    return np.einsum("ijkl,kl", sliding_window_view(x, k.shape), k)


def convolve2_dx(g: Any, x: Any, k: Any) -> Any:
    dx = np.zeros_like(x)
    for i, j in np.ndindex(g.shape):
        dx[i : i + k.shape[0], j : j + k.shape[1]] += g[i, j] * k
    return dx


def cosine(a: Any, b: Any) -> Any:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


silu = lambda x: x * sigmoid(x)
average = lambda x: x.reshape(3, 3, 3).mean(-1)
huber = lambda x: np.where(abs(x) < 1, x**2 / 2, abs(x) - 0.5)
two_layers = lambda W1, X, b1, W2: np.tanh(X @ W1 + b1) @ W2
two_layers_b = lambda b1, X, W1, W2: np.tanh(X @ W1 + b1) @ W2
two_layers_x = lambda X, W1, b1, W2: np.tanh(X @ W1 + b1) @ W2
bilinear = lambda W, x, z: np.einsum("bi,ij,bj->b", x, W, z)


MISTAKES = {
    # shape
    "bias not summed": mistake("BROADCAST", "not summed over axis 0", bias, lambda g, b, X, W: g, B, X, W),
    "column not summed": mistake(
        "BROADCAST", "over axis 1", lambda c, x: c * x, lambda g, c, x: g * x, normal(4, 1), X
    ),
    "gradient.T": mistake("TRANSPOSE", "transposed", dense, lambda g, W, X, b: (X.T @ g).T, W, X, B),
    "flat": mistake("SHAPE", "numbers are right", times, lambda g, x, w: (g * w).ravel(), X, normal(4, 3)),
    "one number": mistake("SHAPE", "has shape", times, lambda g, x, w: np.array(1.0), X, normal(4, 3)),
    # not a number
    "where trap": mistake(
        "NONFINITE",
        "nan at",
        lambda x: np.where(x > 0, np.sqrt(np.abs(x)), 0.0),
        lambda g, x: g * np.where(x > 0, 1.0, 0.0) * 0.5 / np.sqrt(x),
        X,
    ),
    # one number
    "zeros": mistake("DETACHED", "all zero", times, lambda g, x, w: 0 * g, X, normal(4, 3)),
    "minus": mistake("SIGN", "wrong sign", lambda a, b: a - b, lambda g, a, b: -g, X, normal(4, 3)),
    "minus sum": mistake("SIGN", "sign", cross_entropy, lambda g, z, t: g * (one_hot(t, 3) - p(z)) / 4, X, T),
    "square": mistake("FACTOR", "half", lambda x: x**2, lambda g, x: g * x, X),
    "half square": mistake("FACTOR", "twice", lambda x: x**2 / 2, lambda g, x: 2 * g * x, X),
    "scale": mistake(
        "FACTOR",
        "1 / alpha",
        lambda x, alpha: alpha * np.tanh(x),
        lambda g, x, alpha: g * (1 - np.tanh(x) ** 2),
        X,
        np.array(0.3),
    ),
    "no mean": mistake(
        "MEAN", "large by 4, the size of axis 0 of z", cross_entropy, lambda g, z, t: g * (p(z) - one_hot(t, 3)), X, T
    ),
    "mean": mistake(
        "MEAN",
        "small by 4",
        lambda W, X: np.tanh(X @ W).sum(0),
        lambda g, W, X: X.T @ (g * (1 - np.tanh(X @ W) ** 2)) / 4,
        W,
        X,
    ),
    "swap": mistake(
        "SWAPPED", "gradient of b", lambda a, b: a**2 * b, lambda g, a, b: g * a**2, X, normal(4, 3), rivals=True
    ),
    # places
    "dW transposed": mistake(
        "TRANSPOSE", "transposed", lambda W, x: x @ W, lambda g, W, x: np.outer(g, x), S, normal(3)
    ),
    "W for W.T": mistake("TRANSPOSE", "matrix", lambda x, W: x @ W, lambda g, x, W: g @ W, X, S),
    "reshaped": mistake("TRANSPOSE", "reshaped", dense, lambda g, W, X, b: (g.T @ X).reshape(W.shape), W, X, B),
    "summed over rows": mistake("BROADCAST", "wrong axis", lambda b, x: x + b, lambda g, b, x: g.sum(1), normal(3), S),
    "kernel not flipped": mistake(
        "FLIP",
        "reversed",
        lambda x, k: np.convolve(x, k, "valid"),
        lambda g, x, k: np.convolve(g, k),
        normal(7),
        normal(3),
    ),
    "kernel gradient reversed": mistake(
        "FLIP",
        "reversed along axis 0 of k",
        convolve,
        lambda g, k, x: np.correlate(x, g, "valid"),
        normal(3),
        normal(7),
    ),
    "columns reversed": mistake(
        "FLIP", "axis 1", lambda x: np.tanh(x[:, ::-1]), lambda g, x: g * (1 - np.tanh(x[:, ::-1]) ** 2), X
    ),
    "rolled": mistake(
        "SHIFT", "off by one", lambda x, w: np.roll(x, 1) * w, lambda g, x, w: np.roll(g * w, -2), normal(7), normal(7)
    ),
    "slice": mistake(
        "SHIFT", "off by one", lambda x: x[1:] ** 3 + 0, lambda g, x: np.append(3 * x[1:] ** 2 * g, 0), normal(6)
    ),
    "cumsum": mistake("FLIP", "axis 1 of x", lambda x: np.cumsum(x, 1), lambda g, x: np.cumsum(g, 1), X),
    # forgotten paths
    "skip lost": mistake(
        "SKIP", "lost", lambda x, W: x + np.tanh(x @ W), lambda g, x, W: (g * (1 - np.tanh(x @ W) ** 2)) @ W.T, X, S
    ),
    "skip twice": mistake("SKIP", "twice", lambda x: x + np.tanh(x), lambda g, x: g * (3 - np.tanh(x) ** 2), X),
    "softmax diagonal": mistake("MISSING", "0 for the other outputs", softmax, lambda g, x: g * p(x) * (1 - p(x)), X),
    "softmax off diagonal": mistake(
        "MISSING", "lacks a term", softmax, lambda g, x: -p(x) * (g * p(x)).sum(-1, keepdims=True), X
    ),
    "one row": mistake("BROADCAST", "counts 1 of the 4", lambda b, x: x + b, lambda g, b, x: g[0], normal(3), X),
    "one row, tanh": mistake(
        "BROADCAST", "counts 1 of the 4", tanh_bias, lambda g, b, X, W: (g * (1 - np.tanh(X @ W + b) ** 2))[-1], B, X, W
    ),
    "gather overwritten": mistake(
        "DUPLICATE", "keep one", lambda e, i: e[i], lambda g, e, i: assign_at(e.shape, i, g), normal(5, 2), INDEX
    ),
    "gather overwritten, mixed": mistake(
        "DUPLICATE",
        "keep one",
        lambda e, i: np.tanh(e[i]) @ normal_w,
        lambda g, e, i: assign_at(e.shape, i, np.outer(g, normal_w) * (1 - np.tanh(e[i]) ** 2)),
        normal(5, 2),
        INDEX,
    ),
    "loop overwritten": mistake(
        "DUPLICATE",
        "keep one",
        lambda k, x: np.array([x[i : i + 3] @ k for i in range(4)]),
        lambda g, k, x: g[3] * x[3:6],
        normal(3),
        normal(6),
    ),
    "loop ends early": mistake(
        "REGION", "index is 3 along axis 0 of the output", lambda W, x: x @ W, lambda g, W, x: x[:-1].T @ g[:-1], W, X
    ),
    # factors
    "tanh'": mistake("CHAIN", "(1 - y**2) is missing", lambda x: np.tanh(x), lambda g, x: g, X),
    "sigmoid', of y": mistake("CHAIN", "y * (1 - y) is missing", lambda x: sigmoid(x), lambda g, x: g, X),
    "1 - y": mistake("CHAIN", "(1 - y) is missing", lambda x: sigmoid(x), lambda g, x: g * sigmoid(x), X),
    "y twice": mistake("CHAIN", "y too many", lambda x: np.exp(x), lambda g, x: g * np.exp(x) ** 2, X),
    "other argument": mistake("CHAIN", "w is missing", times, lambda g, x, w: g, X, normal(4, 3)),
    "division": mistake("CHAIN", "w too many", lambda x, w: x / w, lambda g, x, w: g, X, normal(4, 3)),
    "sign": mistake("REGION", "x < 0: there it is -1 times", lambda x: np.abs(x), lambda g, x: g, X),
    "cos": mistake("CHAIN", "cos(x) is missing", lambda x: np.sin(x), lambda g, x: g, X),
    "hidden tanh'": mistake(
        "CHAIN",
        "tanh'((X @ W + b)) is missing",
        lambda b, X, W, V: np.tanh(X @ W + b) @ V,
        lambda g, b, X, W, V: (g @ V.T).sum(0),
        B,
        normal(1, 3),
        W,
        normal(5, 2),
    ),
    "outer tanh'": mistake(
        "CHAIN", "(1 - y**2) is missing", lambda X, W: np.tanh(X @ W), lambda g, X, W: g @ W.T, X, W
    ),
    "weights in a sum": mistake(
        "CHAIN", "w is missing", lambda x, w: np.sum(w * x**2), lambda g, x, w: 2 * g * x, X, normal(4, 3)
    ),
    # terms
    "centre": mistake("MISSING", "constant along axis 1", lambda x: x - x.mean(1, keepdims=True), lambda g, x: g, X),
    "softmax p u": mistake("MISSING", "rank 1", softmax, lambda g, x: p(x) * g, normal(2, 5)),
    "norm": mistake(
        "MISSING", "rank 1", lambda x: x / np.linalg.norm(x), lambda g, x: g / np.linalg.norm(x), normal(6)
    ),
    "variance": mistake(
        "MISSING",
        "rank 1",
        normalise,
        lambda g, x: (g - g.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
        normal(2, 5),
    ),
    "mean and variance": mistake(
        "MISSING", "rank 2", normalise, lambda g, x: g / np.sqrt(x.var(-1, keepdims=True) + 1e-5), normal(2, 5)
    ),
    "weight decay": mistake(
        "MISSING",
        "-0.1 * w",
        lambda w, x: np.sum(np.tanh(x * w)) + 0.05 * np.sum(w**2),
        lambda g, w, x: g * x * (1 - np.tanh(x * w) ** 2),
        normal(6),
        normal(6),
    ),
    "target": mistake(
        "CHAIN", "-(t - x) belongs", lambda x, t: np.sum((x - t) ** 2) / 2, lambda g, x, t: g * x, X, normal(4, 3)
    ),
    # regions
    "relu mask": mistake("REGION", "x < 0", lambda x: np.maximum(x, 0), lambda g, x: g, X),
    "leaky slope": mistake("REGION", "x < 0: there the gradient is 0", leaky, lambda g, x: g * (x > 0), X),
    "abs": mistake(
        "REGION",
        "x < 0",
        lambda x, w: np.where(x < 0, np.sin(x), w * x),
        lambda g, x, w: g * np.where(x < 0, 1, w),
        normal(12),
        normal(12),
    ),
    "hidden mask": mistake(
        "REGION", "y == 0", lambda W, X, b: np.maximum(X @ W + b, 0), lambda g, W, X, b: X.T @ g, W, X, B
    ),
    "clip": mistake("REGION", "|x| > 1", lambda x: np.clip(x, -1, 1), lambda g, x: g, normal(12)),
    "last column": mistake(
        "REGION",
        "index is 2 along axis 1 of x",
        lambda x: np.exp(x),
        lambda g, x: g * np.exp(x) * np.array([1, 1, 1.5]),
        X,
    ),
    "edges": mistake(
        "REGION",
        "both sides",
        lambda x: np.exp(x),
        lambda g, x: g * np.exp(x) * np.array([3, 1, 1, 1, 1, 7]),
        normal(6),
    ),
    "forgotten entries": mistake(
        "DETACHED",
        "2 of 12",
        lambda x: np.exp(x),
        lambda g, x: g * np.exp(x) * (np.arange(12).reshape(4, 3) % 7 != 4),
        X,
    ),
    # no name
    "noise": mistake("OTHER", "worst", lambda x: np.exp(x), lambda g, x: g * np.exp(x) * scrambled, X),
    "1 by 1": mistake("FACTOR", "factor 3.7", lambda x: 3.7 * x + 0, lambda g, x: g * 3.7**2, np.array([0.2])),
    # of larger functions
    "bn mean": mistake(
        "MISSING",
        "",
        batch_norm,
        lambda g, x: (g - batch_norm(x) * (g * batch_norm(x)).mean(0)) / np.sqrt(x.var(0) + 1e-5),
        normal(5, 3),
    ),
    "bn var": mistake("MISSING", "", batch_norm, lambda g, x: (g - g.mean(0)) / np.sqrt(x.var(0) + 1e-5), normal(5, 3)),
    "bn both": mistake("MISSING", "", batch_norm, lambda g, x: g / np.sqrt(x.var(0) + 1e-5), normal(5, 3)),
    "bn no std": mistake(
        "CHAIN", "", batch_norm, lambda g, x: g - g.mean(0) - batch_norm(x) * (g * batch_norm(x)).mean(0), normal(5, 3)
    ),
    "mlp W1 tanh": mistake("CHAIN", "", two_layers, lambda g, W1, X, b1, W2: X.T @ (g @ W2.T), W35, A43, b5, W52),
    "mlp b1 tanh": mistake("CHAIN", "", two_layers_b, lambda g, b1, X, W1, W2: (g @ W2.T).sum(0), b5, A43, W35, W52),
    "mlp X tanh": mistake("CHAIN", "", two_layers_x, lambda g, X, W1, b1, W2: g @ W2.T @ W1.T, A43, W35, b5, W52),
    "mlp W1 batch mean": mistake(
        "MEAN",
        "",
        two_layers,
        lambda g, W1, X, b1, W2: X.T @ (g @ W2.T * (1 - np.tanh(X @ W1 + b1) ** 2)) / 4,
        W35,
        A43,
        b5,
        W52,
    ),
    "mlp b1 sum": mistake(
        "BROADCAST",
        "",
        two_layers_b,
        lambda g, b1, X, W1, W2: (g @ W2.T * (1 - np.tanh(X @ W1 + b1) ** 2))[0],
        b5,
        A43,
        W35,
        W52,
    ),
    "mlp relu mask": mistake(
        "REGION",
        "",
        lambda W1, X, b1, W2: np.maximum(X @ W1 + b1, 0) @ W2,
        lambda g, W1, X, b1, W2: X.T @ (g @ W2.T),
        W35,
        A43,
        b5,
        W52,
    ),
    "avg 1/k": mistake("MEAN", "", average, lambda g, x: np.repeat(g, 3, 1), normal(3, 9)),
    "avg only first": mistake("DETACHED", "", average, lambda g, x: np.kron(g, [1 / 3, 0, 0]), normal(3, 9)),
    "avg tile": mistake("REGION", "", average, lambda g, x: np.tile(g, (1, 3)) / 3, normal(3, 9)),
    "cumsum dir": mistake("FLIP", "", lambda x: np.cumsum(x, -1), lambda g, x: np.cumsum(g, -1), normal(3, 4)),
    "cumsum excl": mistake(
        "SHIFT", "", lambda x: np.cumsum(x, -1), lambda g, x: np.cumsum(g[..., ::-1], -1)[..., ::-1] - g, normal(3, 4)
    ),
    "cumsum wrong axis": mistake(
        "TRANSPOSE", "", lambda x: np.cumsum(x, -1), lambda g, x: np.cumsum(g[::-1], 0)[::-1], normal(4, 4)
    ),
    "cumsum ident": mistake("MISSING", "", lambda x: np.cumsum(x, -1), lambda g, x: g, normal(3, 4)),
    "tanh cumsum dir": mistake(
        "FLIP",
        "",
        lambda x: np.tanh(np.cumsum(x, -1)),
        lambda g, x: np.cumsum(g * (1 - np.tanh(np.cumsum(x, -1)) ** 2), -1),
        normal(3, 4),
    ),
    "bilinear W no z": mistake(
        "CHAIN",
        "",
        bilinear,
        lambda g, W, x, z: np.einsum("b,bi->i", g, x)[:, None] * np.ones(5),
        W35,
        A43,
        normal(4, 5),
    ),
    "bilinear x T": mistake(
        "TRANSPOSE",
        "",
        lambda x, W, z: np.einsum("bi,ij,bj->b", x, W, z),
        lambda g, x, W, z: g[:, None] * (z @ W),
        normal(4, 3),
        normal(3, 3),
        normal(4, 3),
    ),
    "softplus": mistake("CHAIN", "", lambda x: np.log1p(np.exp(x)), lambda g, x: g, A43),
    "softplus y": mistake("CHAIN", "", lambda x: np.log1p(np.exp(x)), lambda g, x: g * sigmoid(-x), A43),
    "softplus exp": mistake("CHAIN", "", lambda x: np.log1p(np.exp(x)), lambda g, x: g * np.exp(x), A43),
    "softmax p u, square": mistake("MISSING", "", softmax, lambda g, x: p(x) * g, normal(3, 4)),
    "softmax sum g": mistake("MISSING", "", softmax, lambda g, x: p(x) * (g - g.sum(-1, keepdims=True)), normal(3, 4)),
    "softmax mean": mistake("MISSING", "", softmax, lambda g, x: p(x) * (g - g.mean(-1, keepdims=True)), normal(3, 4)),
    "softmax no p": mistake("CHAIN", "", softmax, lambda g, x: g - (g * p(x)).sum(-1, keepdims=True), normal(3, 4)),
    "softmax diag": mistake("MISSING", "", softmax, lambda g, x: g * p(x) * (1 - p(x)), normal(3, 4)),
    "softmax ident": mistake("CHAIN", "", softmax, lambda g, x: g, normal(3, 4)),
    "att Q path": mistake("MISSING", "", attention, lambda g, Q, K, V: attention_dS(g, Q, K, V, 0) @ K, Q, K, V),
    "att Q scale": mistake(
        "FACTOR", "square root", attention, lambda g, Q, K, V: np.sqrt(3) * attention_dS(g, Q, K, V) @ K, Q, K, V
    ),
    "att K path": mistake(
        "MISSING", "", lambda K, Q, V: attention(Q, K, V), lambda g, K, Q, V: attention_dS(g, Q, K, V, 0).T @ Q, K, Q, V
    ),
    "att K scale": mistake(
        "FACTOR",
        "square root",
        lambda K, Q, V: attention(Q, K, V),
        lambda g, K, Q, V: np.sqrt(3) * attention_dS(g, Q, K, V).T @ Q,
        K,
        Q,
        V,
    ),
    "att V T": mistake(
        "TRANSPOSE",
        "",
        lambda V, Q, K: attention(Q, K, V),
        lambda g, V, Q, K: softmax(Q @ K.T / np.sqrt(3)) @ g,
        normal(4, 3),
        normal(4, 3),
        normal(4, 3),
    ),
    "gather2 dup": mistake(
        "DUPLICATE",
        "",
        lambda x, r, c: x[r, c],
        lambda g, x, r, c: assign_at(x.shape, (r, c), g),
        normal(4, 3),
        *GATHERED,
    ),
    "gather2 swapped": mistake(
        "REGION",
        "",
        lambda x, r, c: x[r, c],
        lambda g, x, r, c: add_at(x.shape, (c, r % 3), g),
        normal(4, 4),
        *GATHERED,
    ),
    "scaled bc sum": mistake("BROADCAST", "", lambda s, x: s * x, lambda g, s, x: (g * x)[:1], normal(1, 3), A43),
    "scaled bc mean": mistake(
        "MEAN", "", lambda s, x: s * x, lambda g, s, x: (g * x).mean(0, keepdims=True), normal(1, 3), A43
    ),
    "scaled bc x": mistake("CHAIN", "", lambda s, x: s * x, lambda g, s, x: g.sum(0, keepdims=True), normal(1, 3), A43),
    "lse": mistake("CHAIN", "", lambda x: np.log(np.exp(x).sum(-1)), lambda g, x: g[:, None] * np.exp(x), A43),
    "lse missing": mistake(
        "CHAIN", "", lambda x: np.log(np.exp(x).sum(-1)), lambda g, x: g[:, None] * np.ones_like(x), A43
    ),
    "std ddof": mistake(
        "FACTOR",
        "",
        lambda x: x.std(-1),
        lambda g, x: (g / x.std(-1))[:, None] * (x - x.mean(-1, keepdims=True)) / 3,
        normal(3, 4),
    ),
    "var no mean": mistake("MISSING", "", lambda x: x.var(-1), lambda g, x: 2 * g[:, None] * x / 4, normal(3, 4)),
    "var no 2": mistake(
        "FACTOR", "", lambda x: x.var(-1), lambda g, x: g[:, None] * (x - x.mean(-1, keepdims=True)) / 4, normal(3, 4)
    ),
    "var no n": mistake(
        "MEAN", "", lambda x: x.var(-1), lambda g, x: 2 * g[:, None] * (x - x.mean(-1, keepdims=True)), normal(3, 4)
    ),
    "std no std": mistake(
        "CHAIN", "", lambda x: x.std(-1), lambda g, x: g[:, None] * (x - x.mean(-1, keepdims=True)) / 4, normal(3, 4)
    ),
    "silu first": mistake("MISSING", "", silu, lambda g, x: g * sigmoid(x), A43),
    "silu second": mistake("MISSING", "", silu, lambda g, x: g * x * sigmoid(x) * (1 - sigmoid(x)), A43),
    "gelu first": mistake(
        "OTHER",
        "",
        lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
        lambda g, x: g * 0.5 * (1 + erf(x / np.sqrt(2))),
        A43,
    ),
    "pow n": mistake("FACTOR", "p", lambda x, p: x**p, lambda g, x, p: g * x ** (p - 1), A43, np.array(3)),
    "pow n-1": mistake("CHAIN", "", lambda x, p: x**p, lambda g, x, p: g * p * x**p, A43, np.array(3)),
    "prod": mistake("CHAIN", "", lambda x: x.prod(-1), lambda g, x: (g * x.prod(-1))[:, None] * np.ones_like(x), A43),
    "prod times": mistake("CHAIN", "", lambda x: x.prod(-1), lambda g, x: (g * x.prod(-1))[:, None] * x, A43),
    "norm of rows": mistake("CHAIN", "", lambda x: np.linalg.norm(x, axis=-1), lambda g, x: g[:, None] * x, A43),
    "norm squared": mistake("FACTOR", "", lambda x: (x**2).sum(-1), lambda g, x: g[:, None] * x, A43),
    "where no mask": mistake("REGION", "", lambda a, c, b: np.where(c, a, b), lambda g, a, c, b: g, A43, c43, B43),
    "where swapped": mistake(
        "REGION",
        "",
        lambda a, c, b: np.where(c, np.sin(a), b),
        lambda g, a, c, b: np.where(c, 0, g * np.cos(a)),
        A43,
        c43,
        B43,
    ),
    "sort inverse": mistake("TRANSPOSE", "", lambda x: np.sort(x), lambda g, x: g[np.argsort(x)], normal(7)),
    "sort none": mistake("REGION", "", lambda x: np.sort(x), lambda g, x: g, normal(7)),
    "pad off": mistake("SHIFT", "", lambda x: np.pad(np.sin(x), 2), lambda g, x: np.cos(x) * g[1:-3], normal(6)),
    "elu": mistake("REGION", "", lambda x: np.where(x > 0, x, np.exp(x) - 1), lambda g, x: g, A43),
    "elu y": mistake(
        "REGION",
        "",
        lambda x: np.where(x > 0, x, np.exp(x) - 1),
        lambda g, x: g * np.where(x > 0, 1, np.exp(x) - 1),
        A43,
    ),
    "dropout mask": mistake("REGION", "", lambda x, m: x * m / 0.8, lambda g, x, m: g / 0.8, A43, c43),
    "dropout scale": mistake("FACTOR", "", lambda x, m: x * m / 0.8, lambda g, x, m: g * m, A43, c43),
    "huber": mistake("REGION", "", huber, lambda g, x: g * x, normal(24)),
    "hinge": mistake(
        "REGION", "", lambda x, t: np.maximum(0, 1 - t * x), lambda g, x, t: -g * t, normal(14), np.sign(normal(14))
    ),
    "cos sim": mistake(
        "MISSING",
        "",
        cosine,
        lambda g, a, b: (
            g[:, None] * b / np.linalg.norm(a, axis=-1, keepdims=True) / np.linalg.norm(b, axis=-1, keepdims=True)
        ),
        normal(3, 5),
        normal(3, 5),
    ),
    "conv2 flip": mistake(
        "FLIP", "", convolve2, lambda g, x, k: convolve2_dx(g, x, k[::-1, ::-1]), normal(5, 5), normal(3, 3)
    ),
    "relu conv2 flip": mistake(
        "FLIP",
        "",
        lambda x, k: np.tanh(convolve2(x, k)),
        lambda g, x, k: convolve2_dx(g * (1 - np.tanh(convolve2(x, k)) ** 2), x, k[::-1, ::-1]),
        normal(5, 5),
        normal(3, 3),
    ),
    "conv2 T": mistake("TRANSPOSE", "", convolve2, lambda g, x, k: convolve2_dx(g, x, k.T), normal(5, 5), normal(3, 3)),
    "cumprod": mistake(
        "CHAIN",
        "",
        lambda x: np.cumprod(x, -1),
        lambda g, x: np.cumsum((g * np.cumprod(x, -1))[..., ::-1], -1)[..., ::-1],
        normal(3, 4),
    ),
    "concat order": mistake(
        "REGION", "", lambda a, b: np.concatenate([a, b]) ** 2, lambda g, a, b: 2 * a * g[3:], normal(3), normal(3)
    ),
    "repeat": mistake("REGION", "", lambda x: np.repeat(x, 3), lambda g, x: g.reshape(3, -1).sum(0), normal(4)),
    "repeat one": mistake("DUPLICATE", "", lambda x: np.repeat(x, 3), lambda g, x: g.reshape(-1, 3)[:, 0], normal(4)),
    "mean axis": mistake(
        "TRANSPOSE", "", lambda x: x.mean(0), lambda g, x: np.broadcast_to(g[:, None] / 3, x.shape), normal(3, 3)
    ),
    "bce": mistake(
        "CHAIN",
        "",
        lambda p, t: -(t * np.log(p) + (1 - t) * np.log(1 - p)),
        lambda g, p, t: g * (p - t),
        RNG.uniform(0.1, 0.9, (4, 3)),
        RNG.uniform(size=(4, 3)),
    ),
    "bce sigmoid": mistake(
        "CHAIN",
        "",
        lambda z, t: -(t * np.log(sigmoid(z)) + (1 - t) * np.log(1 - sigmoid(z))).mean(),
        lambda g, z, t: g * (sigmoid(z) - t) * sigmoid(z) * (1 - sigmoid(z)) / z.size,
        A43,
        RNG.uniform(size=(4, 3)),
    ),
    "quadratic no sp": mistake(
        "CHAIN",
        "",
        lambda z, t: ((sigmoid(z) - t) ** 2).sum() / 2,
        lambda g, z, t: g * (sigmoid(z) - t),
        A43,
        RNG.uniform(size=(4, 3)),
    ),
    "L2": mistake(
        "MISSING",
        "",
        lambda w, X, decay: np.sum((X @ w) ** 2) + decay * np.sum(w**2) / 2,
        lambda g, w, X, decay: 2 * g * X.T @ (X @ w),
        normal(6),
        normal(4, 6),
        np.array(0.1),
    ),
    "lin reg T": mistake(
        "TRANSPOSE", "", lambda W, X: (X @ W) ** 2, lambda g, W, X: (g * 2 * (X @ W)).T @ X, normal(3, 3), normal(4, 3)
    ),
    "einsum attn scale": mistake(
        "FACTOR",
        "",
        lambda q, k: np.einsum("bd,cd->bc", q, k) / np.sqrt(5),
        lambda g, q, k: g @ k,
        normal(3, 5),
        normal(4, 5),
    ),
    "gate other": mistake(
        "CHAIN", "", lambda a, b: np.tanh(a) * sigmoid(b), lambda g, a, b: g * (1 - np.tanh(a) ** 2), A43, B43
    ),
    "gate slope": mistake("CHAIN", "", lambda a, b: np.tanh(a) * sigmoid(b), lambda g, a, b: g * sigmoid(b), A43, B43),
    "gate wrong slope": mistake(
        "CHAIN",
        "",
        lambda a, b: np.tanh(a) * sigmoid(b),
        lambda g, a, b: g * (1 - np.tanh(b) ** 2) * sigmoid(b),
        A43,
        B43,
    ),
    "div b": mistake("CHAIN", "", lambda b, a: a / b, lambda g, b, a: -g * a / b, A43, B43),
    "div b sign": mistake("SIGN", "", lambda b, a: a / b, lambda g, b, a: g * a / b**2, A43, B43),
    "sqrt": mistake("CHAIN", "", lambda x: np.sqrt(x), lambda g, x: g * np.sqrt(x) / 2, np.abs(A43) + 0.2),
    "log": mistake("CHAIN", "", lambda x: np.log(x), lambda g, x: g * x, np.abs(A43) + 0.2),
    "outer accum": mistake("MISSING", "", lambda x: x * x.sum(), lambda g, x: g * x.sum(), normal(5)),
    "normalize sum": mistake(
        "MISSING",
        "",
        lambda x: x / x.sum(-1, keepdims=True),
        lambda g, x: g / x.sum(-1, keepdims=True),
        np.abs(normal(3, 4)) + 0.2,
    ),
    "center std only": mistake(
        "MISSING",
        "",
        lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
        lambda g, x: (g - g.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
        normal(3, 6),
    ),
    "max all": mistake(
        "REGION", "", lambda x: x.max(-1), lambda g, x: np.repeat(g[:, None], x.shape[1], 1), normal(4, 5)
    ),
    "max mean": mistake(
        "OTHER", "", lambda x: x.max(-1), lambda g, x: np.repeat(g[:, None], x.shape[1], 1) / 5, normal(4, 5)
    ),
    "max argmin": mistake(
        "REGION", "", lambda x: x.max(-1), lambda g, x: g[:, None] * (x == x.min(-1, keepdims=True)), normal(4, 5)
    ),
    "nll no mean": mistake(
        "MEAN", "", lambda lp, t: -lp[np.arange(len(t)), t].mean(), lambda g, lp, t: -g * one_hot(t, 3), A43, T
    ),
    "nll sign": mistake(
        "SIGN", "", lambda lp, t: -lp[np.arange(len(t)), t].mean(), lambda g, lp, t: g * one_hot(t, 3) / 4, A43, T
    ),
    "ce onehot twice": mistake(
        "MISSING", "", cross_entropy, lambda g, z, t: g * (p(z) - 2 * one_hot(t, 3)) / 4, A43, T
    ),
    "rows sample ignored": mistake(
        "REGION",
        "",
        lambda x, W: np.tanh(x @ W),
        lambda g, x, W: np.vstack([((g * (1 - np.tanh(x @ W) ** 2)) @ W.T)[:-1], np.zeros(3)]),
        A43,
        W35,
    ),
    "dW last sample lost": mistake(
        "REGION",
        "",
        lambda W, x: np.tanh(x @ W),
        lambda g, W, x: x[:-1].T @ (g * (1 - np.tanh(x @ W) ** 2))[:-1],
        W35,
        A43,
    ),
    "rnn truncated": mistake(
        "OTHER",
        "",
        lambda W, x: np.tanh(np.tanh(x @ W) @ W),
        lambda g, W, x: np.tanh(x @ W).T @ (g * (1 - np.tanh(np.tanh(x @ W) @ W) ** 2)),
        normal(3, 3),
        A43,
    ),
    "delta of two weights": mistake(
        "DELTA",
        "w[0], w[1] are 1.1 times the right values",
        lambda w: np.sin(w[0] + 2 * w[1]) + w[2] ** 2 + w[3] ** 3,
        lambda g, w: g * np.array([1.1, 2.2, 2 * w[2], 3 * w[3] ** 2]) * [*np.cos([w[0] + 2 * w[1]] * 2), 1, 1],
        normal(4),
    ),
}
