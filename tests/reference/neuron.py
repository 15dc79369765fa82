"""A logistic neuron and the 2-4-4-3 net it grows into, written by hand (document 004).

Samples are columns: X is (features, m), Y is (outputs, m). Parameters are lists of W, (n_out, n_in), and of b,
(n_out, 1), one of each per layer; the neuron is the net of sizes [3, 1]. Every unit is a sigmoid, and the cost is the
cross-entropy summed over outputs and averaged over samples, so delta = a - y at the output whatever the size.
"""

from __future__ import annotations

import numpy as np


def sigmoid(z):
    """1 / (1 + exp(-z)), without overflow at either end."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def initialize(sizes, rng):
    """Lists W of (n_out, n_in) from N(0, 1) and b of (n_out, 1) zeros."""
    W = [rng.standard_normal((n_out, n_in)) for n_in, n_out in zip(sizes[:-1], sizes[1:])]
    return W, [np.zeros((n_out, 1)) for n_out in sizes[1:]]


def forward(X, W, b):
    """The activations of all layers, input first: z = W a + b, a = sigmoid(z)."""
    A = [X]
    for W_l, b_l in zip(W, b):
        A.append(sigmoid(W_l @ A[-1] + b_l))
    return A


def cost(A, Y):
    """J = -mean over the columns of sum(y ln a + (1 - y) ln(1 - a)); A is the output, strictly between 0 and 1."""
    return -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)) / Y.shape[1]


def backprop(A, Y, W):
    """(dW, db), lists like W and b: the gradient of the cost, from the activations of `forward`."""
    dW, db = [], []
    delta = (A[-1] - Y) / Y.shape[1]
    for l in reversed(range(len(W))):  # noqa: E741 - the layer, as in the document
        dW.insert(0, delta @ A[l].T)
        db.insert(0, delta.sum(axis=1, keepdims=True))
        delta = W[l].T @ delta * A[l] * (1 - A[l])
    return dW, db


def update(W, b, dW, db, alpha):
    """W - alpha dW and b - alpha db."""
    return [w - alpha * d for w, d in zip(W, dW)], [v - alpha * d for v, d in zip(b, db)]
