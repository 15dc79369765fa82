"""The cost function of exercise 4 of Andrew Ng's Machine Learning course, written by hand (document 003).

A net of one hidden sigmoid layer and one sigmoid output per label, under the regularised cross-entropy. Theta1 has
shape (hidden, 1 + inputs), Theta2 (labels, 1 + hidden): the first column of each multiplies a constant 1, is the
bias, and is not regularised. Labels run from 1 to num_labels.
"""

from __future__ import annotations

import numpy as np


def sigmoid(z):
    """1 / (1 + exp(-z)), without overflow at either end."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def sigmoidGradient(z):
    """The derivative of the sigmoid at z."""
    s = sigmoid(z)
    return s * (1.0 - s)


def with_ones(a):
    """a with a column of ones in front."""
    return np.hstack((np.ones((len(a), 1)), a))


def nnCostFunction(nn_params, input_layer_size, hidden_layer_size, num_labels, X, y, Lambda, order="C"):
    """cost, grad1, grad2, reg_J, grad1_reg, grad2_reg: without and with the regulariser.

    X is (m, input_layer_size), y is (m,) or (m, 1). nn_params is Theta1 and Theta2 unrolled one after the other:
    row by row (order "C"), or column by column (order "F"), which is Octave's Theta(:).
    """
    split = hidden_layer_size * (input_layer_size + 1)
    Theta1 = nn_params[:split].reshape(hidden_layer_size, input_layer_size + 1, order=order)
    Theta2 = nn_params[split:].reshape(num_labels, hidden_layer_size + 1, order=order)
    m = len(X)
    y10 = np.where(np.reshape(y, (m, 1)) == np.arange(1, num_labels + 1), 1.0, 0.0)
    if not np.all(y10.sum(axis=1) == 1.0):
        raise ValueError(f"nnCostFunction: labels must be 1 to {num_labels}, got {np.min(y)} to {np.max(y)}.")

    a0 = with_ones(X)
    z1 = a0 @ Theta1.T
    a1 = with_ones(sigmoid(z1))
    z2 = a1 @ Theta2.T
    # With a = sigmoid(z), -y ln a - (1 - y) ln(1 - a) is ln(1 + exp(z)) - y z: finite where a is exactly 0 or 1.
    cost = np.sum(np.logaddexp(0.0, z2) - y10 * z2) / m

    d2 = sigmoid(z2) - y10
    d1 = d2 @ Theta2[:, 1:] * sigmoidGradient(z1)
    grad1 = d1.T @ a0 / m
    grad2 = d2.T @ a1 / m

    Theta1, Theta2 = (np.hstack((np.zeros((len(Theta), 1)), Theta[:, 1:])) for Theta in (Theta1, Theta2))
    reg_J = cost + Lambda / (2 * m) * (np.sum(Theta1**2) + np.sum(Theta2**2))
    return cost, grad1, grad2, reg_J, grad1 + Lambda / m * Theta1, grad2 + Lambda / m * Theta2


def predict(Theta1, Theta2, X):
    """The label, 1 to num_labels, of the largest output for each row of X."""
    return 1 + np.argmax(with_ones(sigmoid(with_ones(X) @ Theta1.T)) @ Theta2.T, axis=1)


def debugInitializeWeights(fan_out, fan_in):
    """(fan_out, 1 + fan_in) of sin(1), sin(2), ... / 10, filled column by column."""
    count = fan_out * (fan_in + 1)
    return np.sin(np.arange(1.0, count + 1)).reshape(fan_out, fan_in + 1, order="F") / 10


def debug_problem():
    """nn_params (column by column), 3, 5, 3, X, y: the little net that checkNNGradients.m checks."""
    Theta1, Theta2 = debugInitializeWeights(5, 3), debugInitializeWeights(3, 5)
    nn_params = np.concatenate([Theta1.ravel(order="F"), Theta2.ravel(order="F")])
    return nn_params, 3, 5, 3, debugInitializeWeights(5, 2), 1 + np.arange(1, 6) % 3


def computeNumericalGradient(J, theta, e=1e-4):
    """(J(theta + e) - J(theta - e)) / 2e, one component at a time."""
    numgrad = np.zeros_like(theta)
    for p in range(theta.size):
        perturb = np.zeros_like(theta)
        perturb[p] = e
        numgrad[p] = (J(theta + perturb) - J(theta - perturb)) / (2 * e)
    return numgrad
