"""Michael Nielsen's network.py, written by hand (the documents 000 and 001).

A net of sigmoid layers trained by stochastic gradient descent on the quadratic cost. A sample is a pair of columns:
x of shape (n_in, 1) and y of shape (n_out, 1). `CrossEntropyNetwork` is the variant of his third chapter, as far as
it is needed to replay his published learning curves, and `shuffle` is Python 2's, whose order those curves depend on.
"""

from __future__ import annotations

import random

import numpy as np


class Network:
    """Layers of the given sizes; biases and weights are drawn from N(0, 1), biases first.

    `biases[k]` has shape (sizes[k+1], 1) and `weights[k]` has shape (sizes[k+1], sizes[k]). The first layer is the
    input and has neither.
    """

    def __init__(self, sizes):
        self.num_layers = len(sizes)
        self.sizes = sizes
        self.large_weight_initializer()

    def large_weight_initializer(self):
        self.biases = [np.random.randn(y, 1) for y in self.sizes[1:]]
        self.weights = [np.random.randn(y, x) for x, y in zip(self.sizes[:-1], self.sizes[1:])]

    def feedforward(self, a):
        """The net's output for the input a."""
        for b, w in zip(self.biases, self.weights):
            a = sigmoid(np.dot(w, a) + b)
        return a

    def SGD(self, training_data, epochs, mini_batch_size, eta, test_data=None):
        """Train by mini-batch stochastic gradient descent; after each epoch print how many of test_data are right."""
        training_data = list(training_data)
        test_data = None if test_data is None else list(test_data)
        n = len(training_data)
        for j in range(epochs):
            shuffle(training_data)
            for k in range(0, n, mini_batch_size):
                self.update_mini_batch(training_data[k : k + mini_batch_size], eta)
            if test_data is None:
                print(f"Epoch {j} completed.")
            else:
                print(f"Epoch {j}: {self.evaluate(test_data)} / {len(test_data)}")

    def update_mini_batch(self, mini_batch, eta):
        """One step of gradient descent, with the mean of the gradients of the samples in mini_batch."""
        nabla_b = [np.zeros(b.shape) for b in self.biases]
        nabla_w = [np.zeros(w.shape) for w in self.weights]
        for x, y in mini_batch:
            delta_nabla_b, delta_nabla_w = self.backprop(x, y)
            nabla_b = [nb + dnb for nb, dnb in zip(nabla_b, delta_nabla_b)]
            nabla_w = [nw + dnw for nw, dnw in zip(nabla_w, delta_nabla_w)]
        self.weights = [w - eta / len(mini_batch) * nw for w, nw in zip(self.weights, nabla_w)]
        self.biases = [b - eta / len(mini_batch) * nb for b, nb in zip(self.biases, nabla_b)]

    def backprop(self, x, y):
        """The gradient (nabla_b, nabla_w) of the cost of the sample (x, y), shaped like biases and weights.

        x and y may have m columns, one per sample; the gradients are then the sums over the m samples.
        """
        nabla_b = [np.zeros(b.shape) for b in self.biases]
        nabla_w = [np.zeros(w.shape) for w in self.weights]
        activation = x
        activations = [x]
        zs = []
        for b, w in zip(self.biases, self.weights):
            z = np.dot(w, activation) + b
            zs.append(z)
            activation = sigmoid(z)
            activations.append(activation)
        delta = self.output_error(zs[-1], activations[-1], y)  # BP1
        nabla_b[-1] = delta.sum(axis=1, keepdims=True)  # BP3
        nabla_w[-1] = np.dot(delta, activations[-2].T)  # BP4
        for l in range(2, self.num_layers):  # noqa: E741 - the document's letter
            delta = np.dot(self.weights[-l + 1].T, delta) * sigmoid_prime(zs[-l])  # BP2
            nabla_b[-l] = delta.sum(axis=1, keepdims=True)
            nabla_w[-l] = np.dot(delta, activations[-l - 1].T)
        return nabla_b, nabla_w

    def output_error(self, z, output_activations, y):
        """dC/dz of the output layer (BP1)."""
        return self.cost_derivative(output_activations, y) * sigmoid_prime(z)

    def cost_derivative(self, output_activations, y):
        """dC/da of the output layer, for the quadratic cost."""
        return output_activations - y

    def cost(self, x, y):
        """C = ||a - y||^2 / 2, summed over the columns of x and y."""
        return 0.5 * np.sum((self.feedforward(x) - y) ** 2)

    def evaluate(self, test_data):
        """How many of the pairs (x, label) have their largest output at the label."""
        return sum(int(np.argmax(self.feedforward(x)) == label) for x, label in test_data)


class CrossEntropyNetwork(Network):
    """The same net with the cross-entropy cost and initial weights of deviation 1/sqrt(n_in)."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.weights = [w / np.sqrt(w.shape[1]) for w in self.weights]

    def output_error(self, z, output_activations, y):
        return output_activations - y

    def cost_derivative(self, output_activations, y):
        return (output_activations - y) / (output_activations * (1.0 - output_activations))

    def cost(self, x, y):
        """C = -sum(y ln a + (1 - y) ln(1 - a)), summed over the columns of x and y; 0 ln 0 counts as 0."""
        a = self.feedforward(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sum(np.nan_to_num(-y * np.log(a) - (1.0 - y) * np.log(1.0 - a)))


def sigmoid(z):
    """1 / (1 + exp(-z)), without overflow at either end."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def sigmoid_prime(z):
    """The derivative of the sigmoid at z."""
    s = sigmoid(z)
    return s * (1.0 - s)


def vectorized_result(label):
    """The column (10, 1) with a one at the label."""
    e = np.zeros((10, 1))
    e[label] = 1.0
    return e


def shuffle(sequence):
    """Shuffle a list in place as Python 2's random.shuffle did; Python 3 draws differently from the same seed."""
    for i in reversed(range(1, len(sequence))):
        j = int(random.random() * (i + 1))
        sequence[i], sequence[j] = sequence[j], sequence[i]
