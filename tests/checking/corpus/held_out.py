"""The held-out half: measured, never tuned on. Who writes or mends diagnosis rules does not read this file.

The functions come first, each a forward and its backward; then the mistakes of single functions, as the wrong
backward; then kinds that can be planted in any function. No axis has length 2, so that a factor 2 is no count.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from . import development as dev
from .development import changed, normal, normalised, put, sigmoid, softmax, two_at, where, with_upstream
from .functions import Function, Mistake, anywhere, floats, mistake

# ---- functions ---------------------------------------------------------------------------------------------------


def batch_norm(x, gamma, beta):
    return normalised(x, 0)[0] * gamma + beta


def batch_norm_backward(x, gamma, beta, u, mean=True, variance=True):
    z, deviation = normalised(x, 0)
    g = u * gamma
    dx = g - mean * g.mean(0) - variance * z * (g * z).mean(0)
    return dx / deviation, (u * z).sum(0), u.sum(0)


def mlp(x, W1, b1, W2, b2):
    return sigmoid(x @ W1.T + b1) @ W2.T + b2


def mlp_backward(x, W1, b1, W2, b2, u, slope=lambda h: h * (1 - h)):
    h = sigmoid(x @ W1.T + b1)
    g = (u @ W2) * slope(h)
    return g @ W1, g.T @ x, g.sum(0), u.T @ h, u.sum(0)


def average_pool(x):
    return x.reshape(3, 3, 3).mean(-1)


def average_pool_backward(x, u):
    return (np.repeat(u, 3, axis=1) / 3,)


def cumsum(x):
    return np.cumsum(x, axis=1)


def cumsum_backward(x, u):
    return (np.cumsum(u[:, ::-1], axis=1)[:, ::-1].copy(),)


def bilinear(x, W, z):
    return ((x @ W) * z).sum(1)


def bilinear_backward(x, W, z, u):
    v = u[:, None]
    return v * (z @ W.T), x.T @ (v * z), v * (x @ W)


def softplus(x):
    return np.logaddexp(0, x)


def softplus_backward(x, u):
    return (u * sigmoid(x),)


def softmax_rows(x):
    return softmax(x)


def softmax_rows_backward(x, u):
    p = softmax(x)
    return (p * (u - (p * u).sum(1, keepdims=True)),)


def attention(Q, K, V):
    return softmax(Q @ K.T / math.sqrt(Q.shape[1])) @ V


def attention_backward(Q, K, V, u, scale=1.0, total=1.0):
    d = math.sqrt(Q.shape[1])
    p = softmax(Q @ K.T / d)
    dp = u @ V.T
    ds = p * (dp - total * (p * dp).sum(1, keepdims=True)) / d * scale
    return ds @ K, ds.T @ Q, p.T @ u


def gather(x, rows, columns):
    return x[rows, columns]


def gather_backward(x, rows, columns, u):
    g = np.zeros_like(x)
    np.add.at(g, (rows, columns), u)
    return (g,)


def gather_inputs(rng):
    return rng.normal(size=(4, 3)), np.array([0, 3, 1, 0, 2, 0]), np.array([1, 2, 0, 1, 2, 1])


def scaled_broadcast(x, s, t):
    return x * s + t


def scaled_broadcast_backward(x, s, t, u):
    return u * s, (u * x).sum(0), u.sum(1, keepdims=True)


def logsumexp(x):
    m = x.max(1)
    return m + np.log(np.exp(x - m[:, None]).sum(1))


def logsumexp_backward(x, u):
    return (u[:, None] * softmax(x),)


def row_max(x):
    return x.max(1)


def row_max_backward(x, u):
    return (u[:, None] * (x.argmax(1)[:, None] == np.arange(x.shape[1])),)


def row_max_kink(arrays, distance):
    x = arrays[0].copy()
    x[0, 1] = x[0].max() + 0.5
    x[0, 3] = x[0, 1] - distance
    x[2, 0] = x[2].max() + 0.5
    x[2, 2] = x[2, 4] = x[2, 0] - distance
    return (x,)


def batched_matmul(A, B):
    return A @ B


def batched_matmul_backward(A, B, u):
    return u @ B.T, np.einsum("bij,bik->jk", A, u)


def product(x):
    return x.prod(1)


def product_backward(x, u):
    others = np.array([np.delete(x, j, axis=1).prod(1) for j in range(x.shape[1])]).T
    return (u[:, None] * others,)


def padded_conv(x, w):
    p = len(w) // 2
    return sliding_window_view(np.pad(x, p), len(w)) @ w


def padded_conv_backward(x, w, u):
    p = len(w) // 2
    return np.convolve(u, w)[p:-p].copy(), sliding_window_view(np.pad(x, p), len(u)) @ u


def hinge(scores, signs):
    return np.maximum(0, 1 - signs.astype(scores.dtype) * scores).mean()


def hinge_backward(scores, signs, u):
    return (u * np.where(1 - signs * scores > 0, -signs, 0) / scores.size,)


def hinge_inputs(rng):
    return rng.normal(size=(7,)), rng.choice(np.array([-1, 1]), 7)


def hinge_kink(arrays, distance):
    scores, signs = arrays[0].copy(), arrays[1]
    scores[1], scores[4] = signs[1] * (1 - distance), signs[4] * (1 + distance)
    return scores, signs


def clip(x):
    return np.clip(x, -1, 1)


def clip_backward(x, u):
    return (u * (np.abs(x) <= 1),)


def dense_relu(x, W, b):
    return np.maximum(0, x @ W + b)


def dense_relu_backward(x, W, b, u, slope=lambda z: z > 0):
    g = u * slope(x @ W + b)
    return g @ W.T, x.T @ g, g.sum(0)


def dense_relu_kink(arrays, distance):
    x, W, b = (a.copy() for a in arrays)
    b[1], b[3] = distance - (x @ W)[0, 1], -distance - (x @ W)[2, 3]
    return x, W, b


def recurrent(h, W, x):
    for t in range(len(x)):
        h = np.tanh(h @ W + x[t])
    return h


def recurrent_backward(h, W, x, u, steps=None, slope=lambda s: 1 - s**2):
    states = [h]
    for t in range(len(x)):
        states.append(np.tanh(states[-1] @ W + x[t]))
    dW, dx = np.zeros_like(W), np.zeros_like(x)
    for t in reversed(range(len(x))):
        u = u * slope(states[t + 1])
        dx[t] = u
        if steps is None or len(x) - t <= steps:
            dW += np.outer(states[t], u)
        u = u @ W.T
    return u, dW, dx


def gated(x, V):
    g = sigmoid(x @ V)
    return 0.5 * x + g * g


def gated_backward(x, V, u, skip=0.5):
    g = sigmoid(x @ V)
    d = u * 2 * g * g * (1 - g)
    return skip * u + d @ V.T, x.T @ d


def power_spectrum(x):
    return np.abs(np.fft.fft(x)) ** 2


def power_spectrum_backward(x, u):
    return (2 * len(x) * np.fft.ifft(u * np.fft.fft(x)).real,)


def concatenate(a, b):
    return np.concatenate([a, b], axis=1)


def concatenate_backward(a, b, u):
    return u[:, : a.shape[1]].copy(), u[:, a.shape[1] :].copy()


def deviation(x):
    return np.sqrt(((x - x.mean(0)) ** 2).sum(0) / (len(x) - 1))


def deviation_backward(x, u):
    return (u * (x - x.mean(0)) / (len(x) - 1) / deviation(x),)


FUNCTIONS = (
    Function("batch norm", batch_norm, batch_norm_backward, normal((5, 3), (3,), (3,))),
    Function("mlp", mlp, mlp_backward, normal((4, 3), (4, 3), (4,), (3, 4), (3,))),
    Function("average pool", average_pool, average_pool_backward, normal((3, 9))),
    Function("cumsum", cumsum, cumsum_backward, normal((3, 4))),
    Function("bilinear", bilinear, bilinear_backward, normal((3, 3), (3, 4), (3, 4))),
    Function("softplus", softplus, softplus_backward, normal((3, 4))),
    Function("softmax", softmax_rows, softmax_rows_backward, normal((3, 5))),
    Function("attention", attention, attention_backward, normal((3, 3), (4, 3), (4, 3))),
    Function("gather", gather, gather_backward, gather_inputs),
    Function("scaled broadcast", scaled_broadcast, scaled_broadcast_backward, normal((4, 3), (3,), (4, 1))),
    Function("logsumexp", logsumexp, logsumexp_backward, normal((4, 5))),
    Function("row max", row_max, row_max_backward, normal((4, 5)), row_max_kink),
    Function("batched matmul", batched_matmul, batched_matmul_backward, normal((3, 3, 3), (3, 3))),
    Function("product", product, product_backward, normal((3, 4))),
    Function("padded conv", padded_conv, padded_conv_backward, normal((7,), (5,))),
    Function("hinge", hinge, hinge_backward, hinge_inputs, hinge_kink),
    Function("clip", clip, clip_backward, normal((3, 5)), two_at(0, 1.0, -1.0)),
    Function("dense relu", dense_relu, dense_relu_backward, normal((3, 3), (3, 4), (4,)), dense_relu_kink),
    Function("recurrent", recurrent, recurrent_backward, normal((3,), (3, 3), (4, 3))),
    Function("gated", gated, gated_backward, normal((4, 3), (3, 3))),
    Function("power spectrum", power_spectrum, power_spectrum_backward, normal((7,))),
    Function("concatenate", concatenate, concatenate_backward, normal((3, 3), (3, 4))),
    Function("deviation", deviation, deviation_backward, normal((5, 3))),
)

# ---- mistakes of one function ------------------------------------------------------------------------------------


def _gather_overwritten(x, rows, columns, u):
    g = np.zeros_like(x)
    g[rows, columns] += u
    return (g,)


def _gather_exchanged(x, rows, columns, u):
    g = np.zeros_like(x)
    np.add.at(g, (rows, (columns + 1) % x.shape[1]), u)
    return (g,)


def _average_pool_first(x, u):
    g = np.zeros_like(x)
    g[:, ::3] = u / 3
    return (g,)


def _mlp_first_layer_open(x, W1, b1, W2, b2, u):
    return mlp_backward(x, W1, b1, W2, b2, u, slope=np.ones_like)


def _mlp_bias(x, W1, b1, W2, b2, u):
    return (*mlp_backward(x, W1, b1, W2, b2, u)[:4], u[-1].copy())


def _mlp_biases_raw(x, W1, b1, W2, b2, u):
    h = sigmoid(x @ W1.T + b1)
    return (*mlp_backward(x, W1, b1, W2, b2, u)[:2], (u @ W2) * h * (1 - h), u.T @ h, u.copy())


def _mlp_divided(x, W1, b1, W2, b2, u):
    dx, *weights = mlp_backward(x, W1, b1, W2, b2, u)
    return (dx, *(g / len(x) for g in weights))


def _padded_conv_cropped(x, w, u):
    g = np.convolve(u, w)[2:-2].copy()
    g[0] = g[-1] = 0
    return g, padded_conv_backward(x, w, u)[1]


def _product_of_all(x, u):
    return (np.repeat((u * x.prod(1))[:, None], x.shape[1], axis=1),)


def _recurrent_swapped(h, W, x, u):
    dh, dW, dx = recurrent_backward(h, W, x, u)
    return dh, dW, dx[::-1].copy()


def _masked_log_trap(x, u):
    with np.errstate(all="ignore"):
        return (u * np.where(np.abs(x) > 0.5, 1 / x, np.log(-np.abs(x))),)


_BROADCAST = "BROADCAST SHAPE"
_SPECIFIC = (
    mistake("batch norm", "batch mean's path", "MISSING", lambda *a: batch_norm_backward(*a, mean=False)),
    mistake("batch norm", "batch variance's path", "MISSING", lambda *a: batch_norm_backward(*a, variance=False)),
    mistake(
        "batch norm",
        "statistics as constants",
        "MISSING",
        lambda *a: batch_norm_backward(*a, mean=False, variance=False),
    ),
    mistake(
        "batch norm",
        "gamma forgotten in x",
        "CHAIN",
        lambda x, gamma, beta, u: (
            batch_norm_backward(x, np.ones_like(gamma), beta, u)[0],
            *batch_norm_backward(x, gamma, beta, u)[1:],
        ),
    ),
    mistake("mlp", "hidden slope forgotten", "CHAIN", _mlp_first_layer_open),
    mistake("mlp", "hidden slope h only", "CHAIN", lambda *a: mlp_backward(*a, slope=lambda h: h)),
    mistake("mlp", "hidden slope of tanh", "CHAIN", lambda *a: mlp_backward(*a, slope=lambda h: 1 - h**2)),
    mistake("mlp", "bias of one example", "BROADCAST", _mlp_bias),
    mistake("mlp", "biases not summed", _BROADCAST, _mlp_biases_raw),
    mistake("mlp", "averaged where it should be summed", "MEAN FACTOR", _mlp_divided),
    mistake("average pool", "window not divided", "MEAN FACTOR", lambda x, u: (np.repeat(u, 3, axis=1),)),
    mistake("average pool", "first of the window only", "DETACHED REGION", _average_pool_first),
    mistake("average pool", "tiled for repeated", "TRANSPOSE", lambda x, u: (np.tile(u, (1, 3)) / 3,)),
    mistake("cumsum", "not reversed", "TRANSPOSE FLIP", lambda x, u: (np.cumsum(u, axis=1),)),
    mistake("cumsum", "reversed once", "FLIP", lambda x, u: (np.cumsum(u[:, ::-1], axis=1),)),
    mistake("cumsum", "own entry left out", "SKIP SHIFT MISSING", lambda x, u: (cumsum_backward(x, u)[0] - u,)),
    mistake("cumsum", "no sum at all", "MISSING", lambda x, u: (u.copy(),)),
    mistake(
        "bilinear",
        "other argument left out",
        "CHAIN",
        lambda x, W, z, u: (
            bilinear_backward(x, W, z, u)[0],
            x.T @ (u[:, None] * np.ones_like(z)),
            bilinear_backward(x, W, z, u)[2],
        ),
    ),
    mistake(
        "bilinear",
        "W forgotten",
        "CHAIN MISSING TRANSPOSE",
        lambda x, W, z, u: (u[:, None] * z[:, :3], *bilinear_backward(x, W, z, u)[1:]),
    ),
    mistake("softplus", "sigmoid(-x)", "CHAIN", lambda x, u: (u * sigmoid(-x),)),
    mistake("softplus", "sigmoid's derivative", "CHAIN", lambda x, u: (u * sigmoid(x) * (1 - sigmoid(x)),)),
    mistake("softplus", "as for relu", "REGION", lambda x, u: (u * (x > 0),)),
    mistake("softmax", "p(1-p) only", "MISSING", lambda x, u: (u * softmax(x) * (1 - softmax(x)),)),
    mistake("softmax", "p u only", "MISSING", lambda x, u: (u * softmax(x),)),
    mistake(
        "softmax", "sum over the wrong axis", "MISSING", lambda x, u: (softmax(x) * (u - (softmax(x) * u).sum(0)),)
    ),
    mistake("attention", "scale forgotten", "FACTOR MEAN", lambda *a: attention_backward(*a, scale=math.sqrt(3))),
    mistake("attention", "softmax's sum forgotten", "MISSING", lambda *a: attention_backward(*a, total=0.0)),
    mistake(
        "attention",
        "values not weighted",
        "CHAIN MISSING BROADCAST",
        lambda Q, K, V, u: (*attention_backward(Q, K, V, u)[:2], np.ones((4, 3)) @ u),
    ),
    mistake("gather", "repeated entries overwritten", "DUPLICATE", _gather_overwritten),
    mistake("gather", "next column", "SHIFT", _gather_exchanged),
    mistake(
        "scaled broadcast",
        "first row for all rows",
        "BROADCAST",
        lambda x, s, t, u: (u * s, u[0] * x[0], u.sum(1, keepdims=True)),
    ),
    mistake("scaled broadcast", "sums not taken", _BROADCAST, lambda x, s, t, u: (u * s, u * x, u.copy())),
    mistake(
        "scaled broadcast",
        "sum over the wrong axis",
        "BROADCAST SHAPE",
        lambda x, s, t, u: (u * s, (u * x).sum(0), u.sum(0, keepdims=True)),
    ),
    mistake(
        "scaled broadcast",
        "scale left out",
        "CHAIN",
        lambda x, s, t, u: (u.copy(), (u * x).sum(0), u.sum(1, keepdims=True)),
    ),
    mistake(
        "logsumexp", "softmax forgotten", "CHAIN MISSING BROADCAST", lambda x, u: (np.repeat(u[:, None], 5, axis=1),)
    ),
    mistake("logsumexp", "exp not normalised", "CHAIN FACTOR", lambda x, u: (u[:, None] * np.exp(x),)),
    mistake("logsumexp", "maximum's entry only", "REGION DETACHED MISSING", row_max_backward),
    mistake("row max", "to every entry", "REGION MISSING BROADCAST", lambda x, u: (np.repeat(u[:, None], 5, axis=1),)),
    mistake("row max", "minimum's entry", "REGION", lambda x, u: row_max_backward(-x, u)),
    mistake(
        "row max", "every tie counted", "KINK REGION", lambda x, u: (u[:, None] * (x == x.max(1, keepdims=True)),), True
    ),
    mistake(
        "row max",
        "no tie counted",
        "KINK REGION DETACHED",
        lambda x, u: (u[:, None] * ((x == (m := x.max(1, keepdims=True))) & ((x == m).sum(1, keepdims=True) == 1)),),
        True,
    ),
    mistake("batched matmul", "first of the batch only", "BROADCAST REGION", lambda A, B, u: (u @ B.T, A[0].T @ u[0])),
    mistake("batched matmul", "sums not taken", _BROADCAST, lambda A, B, u: (u @ B.T, A.transpose(0, 2, 1) @ u)),
    mistake(
        "batched matmul",
        "B for its transpose",
        "TRANSPOSE",
        lambda A, B, u: (u @ B, batched_matmul_backward(A, B, u)[1]),
    ),
    mistake(
        "batched matmul", "A for its transpose", "TRANSPOSE", lambda A, B, u: (u @ B.T, np.einsum("bji,bik->jk", A, u))
    ),
    mistake("product", "not divided by x", "CHAIN", _product_of_all),
    mistake("product", "ones", "CHAIN", lambda x, u: (np.repeat(u[:, None], x.shape[1], axis=1),)),
    mistake(
        "padded conv",
        "padding cropped at one end",
        "SHIFT",
        lambda x, w, u: (np.convolve(u, w)[4:].copy(), padded_conv_backward(x, w, u)[1]),
    ),
    mistake("padded conv", "edges dropped", "REGION DETACHED", _padded_conv_cropped),
    mistake(
        "padded conv",
        "kernel reversed",
        "FLIP TRANSPOSE",
        lambda x, w, u: (np.convolve(u, w[::-1])[2:-2].copy(), padded_conv_backward(x, w, u)[1]),
    ),
    mistake("hinge", "mean not taken", "MEAN FACTOR", lambda s, t, u: hinge_backward(s, t, u * s.size)),
    mistake("hinge", "mean taken twice", "MEAN FACTOR", lambda s, t, u: hinge_backward(s, t, u / s.size)),
    mistake(
        "hinge", "sign left out", "CHAIN REGION SIGN", lambda s, t, u: (u * np.where(1 - t * s > 0, -1, 0) / s.size,)
    ),
    mistake("hinge", "margin ignored", "REGION", lambda s, t, u: (u * -t / s.size,)),
    mistake(
        "hinge",
        "both branches at the margin",
        "KINK REGION",
        lambda s, t, u: (u * -t * ((t * s < 1) + 2.0 * (t * s == 1)) / s.size,),
        True,
    ),
    mistake("clip", "bounds ignored", "REGION", lambda x, u: (u.copy(),)),
    mistake("clip", "lower bound ignored", "REGION", lambda x, u: (u * (x <= 1),)),
    mistake(
        "clip",
        "bounds counted twice",
        "KINK REGION",
        lambda x, u: (u * ((x >= -1) & (x <= 1)) * (1 + (np.abs(x) == 1)),),
        True,
    ),
    mistake(
        "dense relu", "gate left open", "MISSING REGION CHAIN", lambda *a: dense_relu_backward(*a, slope=np.ones_like)
    ),
    mistake(
        "dense relu",
        "-1 at the corner",
        "KINK REGION",
        lambda *a: dense_relu_backward(*a, slope=lambda z: np.heaviside(z, -1.0)),
        True,
    ),
    mistake("recurrent", "last step only", "MISSING DUPLICATE", lambda *a: recurrent_backward(*a, steps=1)),
    mistake("recurrent", "first step left out", "MISSING DUPLICATE", lambda *a: recurrent_backward(*a, steps=3)),
    mistake("recurrent", "steps in reverse", "FLIP", _recurrent_swapped),
    mistake("gated", "scaled residual lost", "SKIP", lambda *a: gated_backward(*a, skip=0.0)),
    mistake("gated", "residual not scaled", "SKIP", lambda *a: gated_backward(*a, skip=1.0)),
    mistake(
        "power spectrum",
        "conjugate forgotten",
        "FLIP SHIFT",
        lambda x, u: (2 * len(x) * np.fft.ifft(u * np.fft.fft(x).conj()).real,),
    ),
    mistake(
        "power spectrum", "length forgotten", "MEAN FACTOR", lambda x, u: (2 * np.fft.ifft(u * np.fft.fft(x)).real,)
    ),
    mistake("concatenate", "views of the incoming gradient", "SHARED", lambda a, b, u: (u[:, :3], u[:, 3:])),
    mistake(
        "concatenate",
        "cut one column early",
        "SHIFT",
        lambda a, b, u: (np.roll(u, 1, 1)[:, :3].copy(), np.roll(u, 1, 1)[:, 3:].copy()),
    ),
    mistake("deviation", "n for n - 1", "MEAN FACTOR", lambda x, u: (deviation_backward(x, u)[0] * 4 / 5,)),
    mistake(
        "deviation", "root's derivative forgotten", "CHAIN", lambda x, u: (2 * u * (x - x.mean(0)) / (len(x) - 1),)
    ),
    mistake("sigmoid", "1-y only", "CHAIN", lambda x, u: (u * (1 - sigmoid(x)),)),
    mistake("sigmoid", "tanh's slope", "CHAIN", lambda x, u: (u * (1 - sigmoid(x) ** 2),)),
    mistake("tanh", "1-x^2", "CHAIN", lambda x, u: (u * (1 - x**2),)),
    mistake("tanh", "sigmoid's slope", "CHAIN", lambda x, u: (u * np.tanh(x) * (1 - np.tanh(x)),)),
    mistake("tanh", "1-y", "CHAIN", lambda x, u: (u * (1 - np.tanh(x)),)),
    mistake("log abs", "masked after the log", "NONFINITE", _masked_log_trap),
    mistake(
        "layer norm",
        "deviation forgotten",
        "CHAIN",
        lambda x, gamma, beta, u: (
            dev.layer_norm_backward(x, gamma, beta, u)[0] * normalised(x, 1)[1],
            *dev.layer_norm_backward(x, gamma, beta, u)[1:],
        ),
    ),
    mistake(
        "row norm",
        "norm squared",
        "CHAIN",
        lambda x, u: (dev.row_norm_backward(x, u)[0] / np.sqrt((x**2).sum(1, keepdims=True)),),
    ),
    mistake(
        "linear",
        "rows out of step",
        "",
        lambda x, W, b, u: (u @ W, u.T @ x[::-1], u.sum(0)),
    ),
    mistake(
        "embedding",
        "duplicates averaged",
        "DUPLICATE FACTOR MEAN",
        lambda table, rows, u: (
            dev.embedding_backward(table, rows, u)[0] / np.maximum(1, np.bincount(rows, minlength=len(table)))[:, None],
        ),
    ),
    mistake("residual", "inner path lost", "MISSING", lambda x, W, u: (u.copy(), dev.residual_backward(x, W, u)[1])),
    mistake("residual", "residual subtracted", "SKIP", lambda *a: dev.residual_backward(*a, skip=-1.0)),
    mistake("leaky relu", "slope on the wrong side only", "REGION", lambda x, u: (u * np.where(x > 0, 0.1, 0.1),)),
)

# ---- mistakes of any function ------------------------------------------------------------------------------------


def _forward_writes(f: Function) -> Function:
    @wraps(f.forward)
    def forward(*arrays: Any) -> Any:
        y = f.forward(*arrays)
        x = arrays[0]
        x -= x.mean()
        return y

    return replace(f, forward=forward) if f.draw(0)[0].dtype.kind == "f" else f


def _random_backward(f: Function) -> Function:
    rng = np.random.default_rng(0)
    return changed(lambda g: g * (1 + 0.1 * rng.normal(size=g.shape)))(f)


def _random_forward(f: Function) -> Function:
    rng = np.random.default_rng(0)

    @wraps(f.forward)
    def forward(*arrays: Any) -> Any:
        y = f.forward(*arrays)
        return y * (1 + 1e-3 * rng.normal(size=np.shape(y)))

    return replace(f, forward=forward)


def _decays(f: Function) -> Function:
    def backward(*arrays: Any) -> Any:
        chosen = floats(arrays[:-1])
        return tuple(g + 0.01 * arrays[k] for k, g in zip(chosen, f.backward(*arrays)))

    return replace(f, backward=backward)


def _swapped(f: Function) -> Function | None:
    """The gradients of two arrays of the same shape are exchanged."""
    arrays = f.draw(0)
    shapes = [arrays[k].shape for k in floats(arrays)]
    pairs = [(i, j) for j in range(len(shapes)) for i in range(j) if shapes[i] == shapes[j]]
    if not pairs:
        return None
    i, j = pairs[0]

    def backward(*a: Any) -> Any:
        gradients = list(f.backward(*a))
        gradients[i], gradients[j] = gradients[j], gradients[i]
        return tuple(gradients)

    return replace(f, backward=backward)


def _first_row_zero(g: Any) -> Any:
    g = g.copy()
    g[0] = 0
    return g


def _pushed(g: Any) -> Any:
    """Off by one slice: the last row is lost, the first is empty."""
    return np.concatenate([np.zeros_like(g[:1]), g[:-1]])


def _first_two_exchanged(g: Any) -> Any:
    g = g.copy()
    g.flat[0], g.flat[1] = g.flat[1], g.flat[0]
    return g


_LAST = slice(-1, None)
_GENERAL = (
    anywhere("sign of one argument", "SIGN", changed(lambda g: -g, _LAST)),
    anywhere("half, one argument", "FACTOR", changed(lambda g: 0.5 * g, _LAST)),
    anywhere("factor 1.7", "FACTOR", changed(lambda g: 1.7 * g)),
    anywhere("factor -0.3", "FACTOR SIGN", changed(lambda g: -0.3 * g)),
    anywhere("too large by 5e-6", "FACTOR", changed(lambda g: g * (1 + 5e-6))),
    anywhere("one argument detached", "DETACHED", changed(np.zeros_like, slice(0, 1))),
    anywhere("one row zero", "DETACHED REGION", where(lambda x: x.ndim > 1 and len(x) > 1, _first_row_zero)),
    anywhere("two entries exchanged", "", changed(_first_two_exchanged, slice(0, 1))),
    anywhere("one entry's sign", "", changed(put(2, lambda g: -g), slice(0, 1))),
    anywhere("incoming gradient clipped", "UPSTREAM", with_upstream(lambda u: np.clip(u, -1, 1))),
    anywhere("incoming gradient's size", "UPSTREAM", with_upstream(np.abs)),
    anywhere("incoming gradient's sign", "UPSTREAM", with_upstream(np.sign)),
    anywhere("incoming gradient rectified", "UPSTREAM", with_upstream(lambda u: np.maximum(u, 0))),
    anywhere("incoming gradient normalised", "UPSTREAM", with_upstream(lambda u: u / np.sqrt((u**2).sum()))),
    anywhere("weight decay added", "UPSTREAM", _decays),
    anywhere("forward writes its input", "MUTATION", _forward_writes),
    anywhere("random backward", "ACCUMULATES NONDETERMINISTIC", _random_backward),
    anywhere("random forward", "NONDETERMINISTIC", _random_forward),
    anywhere("one gradient too few", "COUNT", lambda f: replace(f, backward=lambda *a: f.backward(*a)[:-1])),
    anywhere("integer gradients", "DTYPE", changed(lambda g: g.astype(np.int64), _LAST)),
    anywhere("complex gradients", "DTYPE", changed(lambda g: g.astype(np.complex128))),
    anywhere("one entry inf", "NONFINITE", changed(put(1, lambda g: math.inf), _LAST)),
    anywhere("leading axis kept", "SHAPE BROADCAST", changed(lambda g: g[None], _LAST)),
    anywhere(
        "reshaped for transposed",
        "TRANSPOSE",
        where(lambda x: x.ndim == 2 and min(x.shape) > 1, lambda g: g.T.reshape(g.shape)),
    ),
    anywhere("flipped, first axis", "FLIP", where(lambda x: x.ndim > 1 and len(x) > 1, lambda g: g[::-1].copy())),
    anywhere("shifted back, first axis", "SHIFT", where(lambda x: len(x) > 3, lambda g: np.roll(g, -1, 0))),
    anywhere("pushed by one", "SHIFT", where(lambda x: len(x) > 3, _pushed)),
    anywhere("gradients exchanged", "SWAPPED", _swapped),
)

MISTAKES: tuple[Mistake, ...] = _SPECIFIC + _GENERAL
