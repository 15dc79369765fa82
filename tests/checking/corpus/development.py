"""The development half: functions, and kinds of mistakes, that the diagnosis rules may be tuned on.

The functions come first, each a forward and its backward; then the mistakes of single functions, as the wrong
backward; then the kinds that can be planted in any function. No axis has length 2, so that a factor 2 is no count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .functions import Arrays, Function, Mistake, anywhere, floats, mistake

# ---- functions ---------------------------------------------------------------------------------------------------


def normal(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], Arrays]:
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes)


def two_at(which: int, *kinks: float) -> Callable[[Arrays, float], Arrays]:
    """Entries 1 and 4 of an array are moved to a distance above and below a kink."""

    def move(arrays: Arrays, distance: float) -> Arrays:
        x = arrays[which].copy()
        x.flat[1], x.flat[4] = kinks[0] + distance, kinks[-1] - distance
        return (*arrays[:which], x, *arrays[which + 1 :])

    return move


def linear(x, W, b):
    return x @ W.T + b


def linear_backward(x, W, b, u):
    return u @ W, u.T @ x, u.sum(0)


def matmul(A, B):
    return A @ B


def matmul_backward(A, B, u):
    return u @ B.T, A.T @ u


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def sigmoid_backward(x, u):
    y = sigmoid(x)
    return (u * y * (1 - y),)


def tanh(x):
    return np.tanh(x)


def tanh_backward(x, u):
    return (u * (1 - np.tanh(x) ** 2),)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(logits, labels):
    z = logits - logits.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


def one_hot(labels, like):
    return (labels[:, None] == np.arange(like.shape[1])).astype(like.dtype)


def cross_entropy_backward(logits, labels, u):
    return (u * (softmax(logits) - one_hot(labels, logits)) / len(labels),)


def cross_entropy_inputs(rng):
    return rng.normal(size=(4, 5)), rng.integers(0, 5, 4)


def normalised(x, axis):
    centred = x - x.mean(axis, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis, keepdims=True) + 1e-5)
    return centred / deviation, deviation


def layer_norm(x, gamma, beta):
    return normalised(x, 1)[0] * gamma + beta


def layer_norm_backward(x, gamma, beta, u, mean=True, variance=True):
    z, deviation = normalised(x, 1)
    g = u * gamma
    dx = g - mean * g.mean(1, keepdims=True) - variance * z * (g * z).mean(1, keepdims=True)
    return dx / deviation, (u * z).sum(0), u.sum(0)


def conv1d(x, w):
    return sliding_window_view(x, len(w)) @ w


def conv1d_backward(x, w, u):
    return np.convolve(u, w), sliding_window_view(x, len(u)) @ u


def leaky_relu(x):
    return np.where(x > 0, x, 0.1 * x)


def leaky_relu_backward(x, u):
    return (u * np.where(x > 0, 1.0, 0.1),)


def max_pool(x):
    return x.reshape(3, 3, 3).max(-1)


def max_pool_backward(x, u):
    windows = x.reshape(3, 3, 3)
    first = windows.argmax(-1)[..., None] == np.arange(3)
    return ((first * u[..., None]).reshape(x.shape),)


def max_pool_kink(arrays, distance):
    x = arrays[0].copy()
    x[0, 0] = x[0, :3].max() + 0.5
    x[0, 1] = x[0, 0] - distance
    x[1, 7] = x[1, 6:].max() + 0.5
    x[1, 6] = x[1, 7] - distance
    return (x,)


def absolute(x):
    return np.abs(x)


def absolute_backward(x, u):
    return (u * np.sign(x),)


def maximum(a, b):
    return np.maximum(a, b)


def maximum_backward(a, b, u):
    return u * (a >= b), u * (a < b)


def maximum_kink(arrays, distance):
    a, b = arrays[0], arrays[1].copy()
    b[0, 0], b[1, 1] = a[0, 0] + distance, a[1, 1] - distance
    return a, b


def embedding(table, rows):
    return table[rows]


def embedding_backward(table, rows, u):
    g = np.zeros_like(table)
    np.add.at(g, rows, u)
    return (g,)


def embedding_inputs(rng):
    return rng.normal(size=(4, 3)), rng.permutation(np.array([0, 2, 2, 3, 2]))


def log_abs(x):
    return np.log(np.abs(x))


def log_abs_backward(x, u):
    return (u / x,)


def row_norm(x):
    return x / np.sqrt((x**2).sum(1, keepdims=True))


def row_norm_backward(x, u):
    r = np.sqrt((x**2).sum(1, keepdims=True))
    y = x / r
    return ((u - y * (u * y).sum(1, keepdims=True)) / r,)


def mse(prediction, target):
    return ((prediction - target) ** 2).mean()


def mse_backward(prediction, target, u):
    g = u * 2 * (prediction - target) / prediction.size
    return g, -g


def outer_product(x, y):
    return x * y


def outer_product_backward(x, y, u):
    return (u * y).sum(1, keepdims=True), (u * x).sum(0)


def einsum(A, B, v):
    return np.einsum("ij,jk,k->i", A, B, v)


def einsum_backward(A, B, v, u):
    return np.outer(u, B @ v), np.outer(u @ A, v), (u @ A) @ B


def residual(x, W):
    return x + np.tanh(x @ W)


def residual_backward(x, W, u, skip=1.0):
    g = u * (1 - np.tanh(x @ W) ** 2)
    return skip * u + g @ W.T, x.T @ g


def add(a, b):
    return a + b


def add_backward(a, b, u):
    return u.copy(), u.copy()


FUNCTIONS = (
    Function("linear", linear, linear_backward, normal((4, 3), (5, 3), (5,))),
    Function("matmul", matmul, matmul_backward, normal((3, 4), (4, 4))),
    Function("sigmoid", sigmoid, sigmoid_backward, normal((3, 4))),
    Function("tanh", tanh, tanh_backward, normal((3, 4))),
    Function("cross entropy", cross_entropy, cross_entropy_backward, cross_entropy_inputs),
    Function("layer norm", layer_norm, layer_norm_backward, normal((3, 5), (5,), (5,))),
    Function("conv1d", conv1d, conv1d_backward, normal((9,), (3,))),
    Function("leaky relu", leaky_relu, leaky_relu_backward, normal((3, 5)), two_at(0, 0.0)),
    Function("max pool", max_pool, max_pool_backward, normal((3, 9)), max_pool_kink),
    Function("abs", absolute, absolute_backward, normal((3, 4)), two_at(0, 0.0)),
    Function("maximum", maximum, maximum_backward, normal((3, 4), (3, 4)), maximum_kink),
    Function("embedding", embedding, embedding_backward, embedding_inputs),
    Function("log abs", log_abs, log_abs_backward, normal((3, 4))),
    Function("row norm", row_norm, row_norm_backward, normal((3, 4))),
    Function("mse", mse, mse_backward, normal((4, 3), (4, 3))),
    Function("outer product", outer_product, outer_product_backward, normal((3, 1), (4,))),
    Function("einsum", einsum, einsum_backward, normal((3, 4), (4, 3), (3,))),
    Function("residual", residual, residual_backward, normal((4, 3), (3, 3))),
    Function("add", add, add_backward, normal((3, 4), (3, 4))),
)

# ---- mistakes of one function ------------------------------------------------------------------------------------


def _embedding_overwritten(table, rows, u):
    g = np.zeros_like(table)
    g[rows] += u
    return (g,)


def _embedding_next_row(table, rows, u):
    g = np.zeros_like(table)
    np.add.at(g, (rows + 1) % len(table), u)
    return (g,)


def _max_pool_all(x, u):
    return (np.repeat(u, 3, axis=1),)


def _max_pool_least(x, u):
    return max_pool_backward(-x, u)


def _max_pool_ties(x, u):
    windows = x.reshape(3, 3, 3)
    return (((windows == windows.max(-1, keepdims=True)) * u[..., None]).reshape(x.shape),)


def _sigmoid_at_output(x, u):
    y = sigmoid(sigmoid(x))
    return (u * y * (1 - y),)


def _layer_norm_gamma(x, gamma, beta, u):
    return layer_norm_backward(x, gamma, beta, u)[0], (u * x).sum(0), u.sum(0)


_BROADCAST = "BROADCAST SHAPE"  # of a gradient in the wrong shape both names help
_SPECIFIC = (
    mistake("linear", "sum over the batch forgotten", "BROADCAST", lambda x, W, b, u: (u @ W, u.T @ x, u[0].copy())),
    mistake("linear", "sum over the batch forgotten, raw", _BROADCAST, lambda x, W, b, u: (u @ W, u.T @ x, u.copy())),
    mistake("linear", "transposed, raw", "TRANSPOSE SHAPE", lambda x, W, b, u: (u @ W, x.T @ u, u.sum(0))),
    mistake(
        "linear", "batch mean too many", "MEAN FACTOR", lambda x, W, b, u: (u @ W, u.T @ x / len(x), u.sum(0) / len(x))
    ),
    mistake("linear", "bias averaged", "MEAN FACTOR BROADCAST", lambda x, W, b, u: (u @ W, u.T @ x, u.mean(0))),
    mistake("matmul", "W where W.T belongs", "TRANSPOSE", lambda A, B, u: (u @ B, A.T @ u)),
    mistake("matmul", "sums reversed", "FLIP", lambda A, B, u: (u @ B.T, A[:, ::-1].T @ u)),
    mistake("sigmoid", "y(1-y) forgotten", "CHAIN", lambda x, u: (u.copy(),)),
    mistake("sigmoid", "y(1-y) twice", "CHAIN", lambda x, u: (u * (sigmoid(x) * (1 - sigmoid(x))) ** 2,)),
    mistake("sigmoid", "x(1-x) for y(1-y)", "CHAIN", lambda x, u: (u * x * (1 - x),)),
    mistake("sigmoid", "derivative at the output", "CHAIN", _sigmoid_at_output),
    mistake("sigmoid", "half of the chain factor", "CHAIN", lambda x, u: (u * sigmoid(x),)),
    mistake("tanh", "1-y^2 forgotten", "CHAIN", lambda x, u: (u.copy(),)),
    mistake("tanh", "1-y^2 twice", "CHAIN", lambda x, u: (u * (1 - np.tanh(x) ** 2) ** 2,)),
    mistake("tanh", "derivative at the output", "CHAIN", lambda x, u: (u * (1 - np.tanh(np.tanh(x)) ** 2),)),
    mistake(
        "cross entropy",
        "batch mean forgotten",
        "MEAN FACTOR",
        lambda z, t, u: (cross_entropy_backward(z, t, u)[0] * len(t),),
    ),
    mistake(
        "cross entropy", "divided twice", "MEAN FACTOR", lambda z, t, u: (cross_entropy_backward(z, t, u)[0] / len(t),)
    ),
    mistake("cross entropy", "target - output", "SIGN", lambda z, t, u: (u * (one_hot(t, z) - softmax(z)) / len(t),)),
    mistake("cross entropy", "one-hot forgotten", "MISSING REGION", lambda z, t, u: (u * softmax(z) / len(t),)),
    mistake("layer norm", "path through the mean", "MISSING", lambda *a: layer_norm_backward(*a, mean=False)),
    mistake("layer norm", "path through the variance", "MISSING", lambda *a: layer_norm_backward(*a, variance=False)),
    mistake("layer norm", "both paths", "MISSING", lambda *a: layer_norm_backward(*a, mean=False, variance=False)),
    mistake("layer norm", "input for normalised input", "", _layer_norm_gamma),
    mistake("conv1d", "kernel flipped", "FLIP", lambda x, w, u: (np.convolve(u, w[::-1]), conv1d_backward(x, w, u)[1])),
    mistake(
        "conv1d",
        "kernel gradient flipped",
        "FLIP",
        lambda x, w, u: (np.convolve(u, w), conv1d_backward(x, w, u)[1][::-1].copy()),
    ),
    mistake(
        "conv1d", "off by one", "SHIFT", lambda x, w, u: (np.roll(np.convolve(u, w), 1), conv1d_backward(x, w, u)[1])
    ),
    mistake("leaky relu", "branches exchanged", "REGION CHAIN", lambda x, u: (u * np.where(x > 0, 0.1, 1.0),)),
    mistake("leaky relu", "slope forgotten", "REGION DETACHED", lambda x, u: (u * (x > 0),)),
    mistake("leaky relu", "always open", "REGION", lambda x, u: (u.copy(),)),
    mistake(
        "leaky relu",
        "outside the slopes at a kink",
        "KINK REGION",
        lambda x, u: (u * np.where(x > 0, 1.0, np.where(x < 0, 0.1, 1.5)),),
        only_at_kink=True,
    ),
    mistake("max pool", "mask forgotten", "REGION MISSING BROADCAST", _max_pool_all),
    mistake("max pool", "minimum's entry", "REGION", _max_pool_least),
    mistake("max pool", "ties counted twice", "KINK REGION", _max_pool_ties, only_at_kink=True),
    mistake("abs", "sign(x) forgotten", "REGION CHAIN SIGN", lambda x, u: (u.copy(),)),
    mistake(
        "abs", "outside the slopes at a kink", "KINK REGION", lambda x, u: (u * np.where(x == 0, -3, np.sign(x)),), True
    ),
    mistake("abs", "x/|x| at 0", "NONFINITE", lambda x, u: (u * np.where(x == 0, np.nan, np.sign(x)),), True),
    mistake("maximum", "branches exchanged", "REGION SWAPPED", lambda a, b, u: (u * (a < b), u * (a >= b))),
    mistake("maximum", "ties counted twice", "KINK REGION", lambda a, b, u: (u * (a >= b), u * (a <= b)), True),
    mistake("embedding", "duplicates overwritten", "DUPLICATE", _embedding_overwritten),
    mistake("embedding", "next row", "SHIFT", _embedding_next_row),
    mistake("log abs", "sign(x) forgotten", "REGION CHAIN SIGN", lambda x, u: (u / np.abs(x),)),
    mistake("log abs", "1/x forgotten", "CHAIN", lambda x, u: (u.copy(),)),
    mistake("row norm", "path through the sum", "MISSING", lambda x, u: (u / np.sqrt((x**2).sum(1, keepdims=True)),)),
    mistake("mse", "batch mean forgotten", "MEAN FACTOR", lambda p, t, u: (u * 2 * (p - t), u * 2 * (t - p))),
    mistake("mse", "2 forgotten", "FACTOR", lambda p, t, u: (u * (p - t) / p.size, u * (t - p) / p.size)),
    mistake("mse", "target - output", "SIGN", lambda p, t, u: mse_backward(p, t, -u)),
    mistake("mse", "divided by the rows only", "MEAN FACTOR", lambda p, t, u: mse_backward(p, t, u * p.shape[1])),
    mistake(
        "outer product", "sum over the batch forgotten", "BROADCAST", lambda x, y, u: (u[:, :1] * y[:1], u[0] * x[0])
    ),
    mistake("outer product", "sum over the batch forgotten, raw", _BROADCAST, lambda x, y, u: (u * y, u * x)),
    mistake(
        "outer product", "other factor forgotten", "CHAIN", lambda x, y, u: (u.sum(1, keepdims=True), (u * x).sum(0))
    ),
    mistake(
        "einsum",
        "other factor forgotten",
        "CHAIN",
        lambda A, B, v, u: (np.outer(u, B @ v), np.outer(u @ A, np.ones_like(v)), u @ A @ B),
    ),
    mistake("residual", "residual path lost", "SKIP", lambda *a: residual_backward(*a, skip=0.0)),
    mistake("residual", "residual path twice", "SKIP", lambda *a: residual_backward(*a, skip=2.0)),
    mistake("residual", "1-y^2 forgotten", "CHAIN", lambda x, W, u: (u + u @ W.T, x.T @ u)),
    mistake("add", "same array twice", "SHARED", lambda a, b, u: (g := u.copy(), g)),
    mistake("add", "incoming gradient returned", "SHARED", lambda a, b, u: (u, u.copy())),
)

# ---- mistakes of any function ------------------------------------------------------------------------------------


def changed(change: Callable[[Any], Any], which: slice = slice(None)) -> Callable[[Function], Function]:
    """Gradients are changed after they were computed: all, or those of a slice."""

    def plant(f: Function) -> Function:
        def backward(*arrays: Any) -> Any:
            gradients = list(f.backward(*arrays))
            gradients[which] = [change(g) for g in gradients[which]]
            return tuple(gradients)

        return replace(f, backward=backward)

    return plant


def where(fits: Callable[[Any], bool], change: Callable[[Any], Any]) -> Callable[[Function], Function | None]:
    """The gradient of the last float array that fits is changed; None where none fits."""

    def plant(f: Function) -> Function | None:
        arrays = f.draw(0)
        chosen = [i for i, k in enumerate(floats(arrays)) if fits(arrays[k])]
        return changed(change, slice(chosen[-1], chosen[-1] + 1))(f) if chosen else None

    return plant


def with_upstream(change: Callable[[Any], Any]) -> Callable[[Function], Function]:
    return lambda f: replace(f, backward=lambda *a: f.backward(*a[:-1], change(a[-1])))


def put(index: int, value: Callable[[float], float]) -> Callable[[Any], Any]:
    """One entry of a gradient is replaced."""

    def change(g: Any) -> Any:
        g = g.copy()
        g.flat[index % g.size] = value(g.flat[index % g.size])
        return g

    return change


def _times_rows(f: Function) -> Function:
    return changed(lambda g: g * f.draw(0)[0].shape[0])(f)


def _writes_input(f: Function) -> Function:
    def backward(*arrays: Any) -> Any:
        gradients = f.backward(*arrays)
        x = arrays[0]
        x *= 0.5
        return gradients

    return replace(f, backward=backward)


def _writes_upstream(f: Function) -> Function:
    def backward(*arrays: Any) -> Any:
        gradients = tuple(g.copy() for g in f.backward(*arrays))
        arrays[-1][...] = 0.0
        return gradients

    return replace(f, backward=backward)


def _accumulates(f: Function) -> Function:
    total: list[Any] = []

    def backward(*arrays: Any) -> Any:
        gradients = f.backward(*arrays)
        total[:] = [t + g for t, g in zip(total, gradients)] if total else gradients
        return tuple(g.copy() for g in total)

    return replace(f, backward=backward)


def _returns_inputs(f: Function) -> Function:
    return replace(f, backward=lambda *a: tuple(a[k] for k in floats(a[:-1])))


def _too_many(f: Function) -> Function:
    return replace(f, backward=lambda *a: (*f.backward(*a), *a[:-1]))


def _is_square(x: Any) -> bool:
    return x.ndim == 2 and x.shape[0] == x.shape[1]


_GENERAL = (
    anywhere("sign", "SIGN", changed(lambda g: -g)),
    anywhere("factor 2", "FACTOR", changed(lambda g: 2 * g)),
    anywhere("too large by 1e-4", "FACTOR", changed(lambda g: g * (1 + 1e-4))),
    anywhere("times the rows", "MEAN FACTOR", _times_rows),
    anywhere("detached", "DETACHED", changed(np.zeros_like)),
    anywhere("one entry zero", "DETACHED REGION", changed(put(5, lambda g: 0.0), slice(0, 1))),
    anywhere("one entry x 1.5", "", changed(put(4, lambda g: 1.5 * g), slice(-1, None))),
    anywhere("incoming gradient ignored", "UPSTREAM", with_upstream(np.ones_like)),
    anywhere("incoming gradient squared", "UPSTREAM", with_upstream(lambda u: u * u)),
    anywhere("input written", "MUTATION", _writes_input),
    anywhere("incoming gradient written", "MUTATION", _writes_upstream),
    anywhere("accumulates over calls", "ACCUMULATES", _accumulates),
    anywhere("inputs returned", "SHARED UPSTREAM", _returns_inputs),
    anywhere("None", "NONE DETACHED", changed(lambda g: None, slice(-1, None))),
    anywhere("too many gradients", "COUNT", _too_many),
    anywhere("one entry nan", "NONFINITE", changed(put(3, lambda g: math.nan), slice(0, 1))),
    anywhere("raveled", "SHAPE", where(lambda x: x.ndim > 1, np.ravel)),
    anywhere("transposed", "TRANSPOSE", where(_is_square, lambda g: g.T.copy())),
    anywhere("flipped", "FLIP", where(lambda x: x.shape[-1] > 1, lambda g: g[..., ::-1].copy())),
    anywhere("shifted", "SHIFT", where(lambda x: x.shape[-1] > 3, lambda g: np.roll(g, 1, -1))),
)

MISTAKES: tuple[Mistake, ...] = _SPECIFIC + _GENERAL
