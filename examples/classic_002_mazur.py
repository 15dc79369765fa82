"""Mazur's 2-2-2 net, with every partial derivative of the document left to the library.

Page: docs/classics/002-mazur.md.
"""

# %% The two derivatives the document begins with
import numpy as np

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F
from tinygrad_bp import optim


def sigmoid_derivative(x):
    return bp.grad(lambda x: F.sigmoid(x).sum())(x)


def relu_derivative(x):
    return bp.grad(lambda x: F.relu(x).sum())(x)


# %% The net: a row of a weight matrix belongs to one neuron
i = np.array([[0.05, 0.10]])
target = np.array([[0.01, 0.99]])
bias = [np.array([0.35, 0.35]), np.array([0.60, 0.60])]
alpha = 0.5


def forward(weight, bias=bias):
    """(outo1, outo2), a row."""
    outh = F.sigmoid(F.linear(i, weight[0], bias[0]))
    return F.sigmoid(F.linear(outh, weight[1], bias[1]))


def train(numIter, forward=forward):
    """The weights after numIter steps of gradient descent, and the error E before each step and after the last."""
    w1_w4 = bp.Tensor([[0.15, 0.20], [0.25, 0.30]], requires_grad=True)
    w5_w8 = bp.Tensor([[0.40, 0.45], [0.50, 0.55]], requires_grad=True)
    weight = [w1_w4, w5_w8]
    optimizer = optim.SGD(weight, lr=alpha)
    errors = []
    for _ in range(numIter):
        E = F.quadratic_loss(forward(weight), target)
        errors.append(E.item())
        optimizer.zero_grad()
        E.backward()
        optimizer.step()
    errors.append(F.quadratic_loss(forward(weight), target).item())
    return weight, errors


# %%
def main(short=False):
    x = np.array([-1.0, 0.0, 1.0])
    print("sigmoid'", sigmoid_derivative(x), "relu'", relu_derivative(x))

    numIter = 100 if short else 10000
    weight, errors = train(numIter)
    for step in (0, 1, numIter):
        print(f"E after {step} steps: {errors[step]:.15g}")
    print("weights", [w.tolist() for w in weight])
    print("outputs", forward(weight).tolist())


if __name__ == "__main__":
    main()
