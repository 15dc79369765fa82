"""The training step with Adam, written by hand in NumPy in the same two ways as the step of plain SGD.

p <- p - rate m / (sqrt(v / (1 - beta2^t)) + eps) with rate = lr / (1 - beta1^t), and running means m of g and v of g^2
(Kingma and Ba, 2015). Both scalars are divided out before the arrays are touched; a pass over an array is what costs.
"""

from __future__ import annotations

import numpy as np

from .nets import Contender, Problem

RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


def hand_written(p: Problem, name: str = "hand-written") -> Contender:
    layers = [(W.copy(), b.copy()) for W, b in p.weights]
    means = [(np.zeros_like(q), np.zeros_like(q)) for layer in layers for q in layer]
    x, y, n, t = p.x, p.y, p.net.batch, 0

    def step() -> None:
        nonlocal t
        activations = [x]
        for W, b in layers:
            z = activations[-1] @ W.T + b
            activations.append(1.0 / (1.0 + np.exp(-z)))
        a = activations.pop()
        delta = (a - y) / n * a * (1.0 - a)
        gradients = []
        for W, _ in reversed(layers):
            a = activations.pop()
            gradients += [delta.sum(0), delta.T @ a]
            if activations:
                delta = delta @ W * a * (1.0 - a)
        t += 1
        rate, root = RATE / (1.0 - BETA1**t), (1.0 - BETA2**t) ** 0.5
        parameters = [q for layer in layers for q in layer]
        for q, g, (m, v) in zip(parameters, reversed(gradients), means, strict=True):
            m *= BETA1
            m += (1.0 - BETA1) * g
            v *= BETA2
            v += (1.0 - BETA2) * (g * g)
            q -= rate * m / (np.sqrt(v) / root + EPS)

    return Contender(name, step, lambda: [array for layer in layers for array in layer])


def hand_written_out(p: Problem) -> Contender:
    layers = [(W.copy(), b.copy()) for W, b in p.weights]
    flat = [q for layer in layers for q in layer]
    gradients, scratch = [np.empty_like(q) for q in flat], [np.empty_like(q) for q in flat]
    means = [(np.zeros_like(q), np.zeros_like(q)) for q in flat]
    activations = [p.x, *(np.empty((p.net.batch, len(b)), p.dtype) for _, b in layers)]
    deltas = [np.empty_like(a) for a in activations[1:]]
    slopes = [np.empty_like(a) for a in activations[1:]]
    one, share, ones = np.array(1, p.dtype), np.array(1 / p.net.batch, p.dtype), np.ones(p.net.batch, p.dtype)
    beta1, rest1 = np.array(BETA1, p.dtype), np.array(1 - BETA1, p.dtype)
    beta2, rest2 = np.array(BETA2, p.dtype), np.array(1 - BETA2, p.dtype)
    rate, root, eps = np.zeros((), p.dtype), np.zeros((), p.dtype), np.array(EPS, p.dtype)
    t = 0

    def step() -> None:
        nonlocal t
        for (W, b), x, a in zip(layers, activations[:-1], activations[1:], strict=True):
            x.dot(W.T, a)
            np.add(a, b, a)
            np.negative(a, a)
            np.exp(a, a)
            np.add(a, one, a)
            np.reciprocal(a, a)
        np.subtract(activations[-1], p.y, deltas[-1])
        np.multiply(deltas[-1], share, deltas[-1])
        for k in reversed(range(len(layers))):
            a, delta, slope = activations[k + 1], deltas[k], slopes[k]
            np.subtract(one, a, slope)
            np.multiply(slope, a, slope)
            np.multiply(delta, slope, delta)
            delta.T.dot(activations[k], gradients[2 * k])
            ones.dot(delta, gradients[2 * k + 1])
            if k:
                delta.dot(layers[k][0], deltas[k - 1])
        t += 1
        rate[()], root[()] = RATE / (1.0 - BETA1**t), (1.0 - BETA2**t) ** 0.5
        for q, g, (m, v), s in zip(flat, gradients, means, scratch, strict=True):
            np.multiply(m, beta1, m)
            np.add(m, np.multiply(g, rest1, s), m)
            np.multiply(v, beta2, v)
            np.multiply(g, g, s)
            np.add(v, np.multiply(s, rest2, s), v)
            np.divide(np.sqrt(v, s), root, s)
            np.add(s, eps, s)
            np.divide(m, s, s)
            np.subtract(q, np.multiply(s, rate, s), q)

    return Contender("hand-written, out=", step, lambda: flat)
