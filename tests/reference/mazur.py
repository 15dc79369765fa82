"""The 2-2-2 net of Matt Mazur's worked example, written by hand (document 002).

`train` runs the loop. A variant - a misprint of the document, or another reading of the text - is another `forward`,
another `backward` or another rule for the biases, handed to `train`; the names say which.
"""

from __future__ import annotations

import numpy as np

WEIGHT = (0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55)
BIAS = (0.35, 0.35, 0.60, 0.60)  # of h1, h2, o1, o2
i1, i2 = 0.05, 0.10
target1, target2 = 0.01, 0.99
alpha = 0.5


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def sigmoid_derivative(x):
    """The derivative of the sigmoid at the pre-activation x."""
    return sigmoidDerivationx(sigmoid(x))


def sigmoidDerivationx(y):
    """The same derivative, from the sigmoid's output y."""
    return y * (1.0 - y)


def relu_derivative(x):
    """1 where x is positive, 0 elsewhere: also at 0, at -0.0 and at nan. Always float."""
    return np.where(np.asarray(x) > 0, 1.0, 0.0)


def forward(weight, bias):
    """(outh1, outh2, outo1, outo2)."""
    w1, w2, w3, w4, w5, w6, w7, w8 = weight
    outh1 = sigmoid(i1 * w1 + i2 * w2 + bias[0])
    outh2 = sigmoid(i1 * w3 + i2 * w4 + bias[1])
    outo1 = sigmoid(outh1 * w5 + outh2 * w6 + bias[2])
    outo2 = sigmoid(outh1 * w7 + outh2 * w8 + bias[3])
    return outh1, outh2, outo1, outo2


def backward(weight, out):
    """(dE/dw1 ... dE/dw8, dE/d(net) of h1, h2, o1, o2); the latter are the gradients of four biases."""
    outh1, outh2 = out[:2]
    w5, w6, w7, w8 = weight[4:]
    deltao1, deltao2 = output_deltas(out)
    deltah1 = (deltao1 * w5 + deltao2 * w7) * sigmoidDerivationx(outh1)
    deltah2 = (deltao1 * w6 + deltao2 * w8) * sigmoidDerivationx(outh2)
    return gradients(out, deltah1, deltah2, deltao1, deltao2)


def output_deltas(out):
    outo1, outo2 = out[2:]
    return (outo1 - target1) * sigmoidDerivationx(outo1), (outo2 - target2) * sigmoidDerivationx(outo2)


def gradients(out, deltah1, deltah2, deltao1, deltao2):
    outh1, outh2 = out[:2]
    hidden = (deltah1 * i1, deltah1 * i2, deltah2 * i1, deltah2 * i2)
    output = (deltao1 * outh1, deltao1 * outh2, deltao2 * outh1, deltao2 * outh2)
    return hidden + output, (deltah1, deltah2, deltao1, deltao2)


def error(out):
    """E = ((target1 - outo1)^2 + (target2 - outo2)^2) / 2."""
    return 0.5 * (target1 - out[2]) ** 2 + 0.5 * (target2 - out[3]) ** 2


# Misprints of the document, and a variant of the text it goes back to.


def forward_line_36(weight, bias):
    """Line 36 as printed: o2 sees h2 twice and h1 never."""
    outh1, outh2, outo1, _ = forward(weight, bias)
    return outh1, outh2, outo1, sigmoid(outh2 * weight[6] + outh2 * weight[7] + bias[3])


def backward_of_line_36(weight, out):
    """The true gradient of `forward_line_36`."""
    outh1, outh2 = out[:2]
    w5, w6, w7, w8 = weight[4:]
    deltao1, deltao2 = output_deltas(out)
    deltah1 = deltao1 * w5 * sigmoidDerivationx(outh1)
    deltah2 = (deltao1 * w6 + deltao2 * (w7 + w8)) * sigmoidDerivationx(outh2)
    weight_gradients, deltas = gradients(out, deltah1, deltah2, deltao1, deltao2)
    return (*weight_gradients[:6], deltao2 * outh2, deltao2 * outh2), deltas


def backward_line_63(weight, out):
    """Line 63 as printed: w5 where w7 belongs."""
    return backward((*weight[:6], weight[4], weight[7]), out)


def backward_sequential(weight, out):
    """Mazur's text: w5..w8 are updated before the errors of h1 and h2 are computed from them."""
    output_gradients = backward(weight, out)[0][4:]
    updated = tuple(w - alpha * g for w, g in zip(weight[4:], output_gradients))
    return backward((*weight[:4], *updated), out)


def fixed(deltas):
    """Biases stay, as in the document."""
    return (0.0, 0.0, 0.0, 0.0)


def per_neuron(deltas):
    """Each neuron has its own bias."""
    return deltas


def per_layer(deltas):
    """The two neurons of a layer share one bias."""
    h, o = deltas[0] + deltas[1], deltas[2] + deltas[3]
    return (h, h, o, o)


def train(steps, forward=forward, backward=backward, biases=fixed):
    """(weight, out) after so many steps of gradient descent; out is the forward pass of those weights."""
    weight, bias = WEIGHT, BIAS
    for _ in range(steps):
        weight_gradients, deltas = backward(weight, forward(weight, bias))
        weight = tuple(w - alpha * g for w, g in zip(weight, weight_gradients))
        bias = tuple(b - alpha * g for b, g in zip(bias, biases(deltas)))
    return weight, forward(weight, bias)
