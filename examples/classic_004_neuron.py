"""The logistic neuron with three inputs, and the 2-4-4-3 net it grows into; the derivatives are left to the library.

Samples are columns, as in the document. Page: docs/classics/004-neuron.md.
"""

# %% Forward, cost, update: the neuron is the net of one layer
import numpy as np

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F
from tinygrad_bp import nn, optim


def initialize(sizes):
    randn = bp.random.generator().standard_normal
    W = [nn.Parameter(randn((n_out, n_in))) for n_in, n_out in zip(sizes[:-1], sizes[1:])]
    b = [nn.Parameter(np.zeros((n_out, 1))) for n_out in sizes[1:]]
    return W, b


def forward(X, W, b):
    """The z of the last layer; y_hat = a = sigmoid(z)."""
    A = X
    for W_l, b_l in zip(W, b):
        z = W_l @ A + b_l
        A = F.sigmoid(z)
    return z


def cost(z, Y):
    """J = -mean over the samples of sum(y log(a) + (1 - y) log(1 - a))."""
    return F.binary_cross_entropy_with_logits(z, Y, reduction="sum") / Y.shape[1]


def backprop(X, Y, W, b):
    gradients = bp.autograd.grad(cost(forward(X, W, b), Y), W + b)
    return gradients[: len(W)], gradients[len(W) :]


# %% The neuron: dJ/dw = (a - y) x^T
def show_neuron():
    W, b = initialize([3, 1])
    x, y = np.array([[1.0], [2.0], [-0.5]]), np.array([[1.0]])
    (dw,), (db,) = backprop(x, y, W, b)
    a = F.sigmoid(forward(x, W, b)).detach().numpy()
    print("dJ/dw", dw.numpy(), "(a - y) x^T", (a - y) @ x.T)
    print("dJ/db", db.numpy(), "a - y", a - y)


# %% The net: two features, three classes, 20 samples
def show_net(steps):
    labels = np.arange(20) % 3
    centres = np.array([[0.0, 2.0, 4.0], [0.0, 3.0, 0.0]])
    X = centres[:, labels] + 0.3 * bp.random.generator().standard_normal((2, 20))
    Y = np.eye(3)[:, labels]
    W, b = initialize([2, 4, 4, 3])
    optimizer = optim.SGD(W + b, lr=1.0)
    for step in range(steps + 1):
        z = forward(X, W, b)
        J = cost(z, Y)
        if step % (steps // 5) == 0:
            right = int((z.detach().numpy().argmax(axis=0) == labels).sum())
            print(f"step {step}: J {J.item():.4f}, {right} of 20 right")
        optimizer.zero_grad()
        J.backward()
        optimizer.step()


# %%
def main(short=False):
    bp.manual_seed(0)
    show_neuron()
    show_net(200 if short else 2000)


if __name__ == "__main__":
    main()
