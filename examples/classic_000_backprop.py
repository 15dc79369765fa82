"""Nielsen's backprop(x, y) -> (nabla_b, nabla_w), with the backward pass left to the library.

A sample is a column, as in the document. Page: docs/classics/000-nielsen-backprop.md.
"""

# %% The net: only the way forward is written down
import numpy as np

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F


class Network:
    def __init__(self, sizes):
        randn = bp.random.generator().standard_normal
        self.num_layers = len(sizes)
        self.biases = [bp.Tensor(randn((y, 1)), requires_grad=True) for y in sizes[1:]]
        self.weights = [bp.Tensor(randn((y, x)), requires_grad=True) for x, y in zip(sizes[:-1], sizes[1:])]

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights):
            a = F.sigmoid(w @ a + b)
        return a

    def cost(self, x, y):
        return ((self.feedforward(x) - y) ** 2).sum() / 2

    def backprop(self, x, y):
        """The gradient of the cost of one sample, shaped like biases and weights."""
        gradients = bp.autograd.grad(self.cost(x, y), [*self.biases, *self.weights])
        return list(gradients[: self.num_layers - 1]), list(gradients[self.num_layers - 1 :])


# %% The gradient says how much the cost changes when a weight does
def show_gradient():
    net = Network([2, 3, 1])
    x, y = np.array([[0.5], [-1.0]]), np.array([[1.0]])
    nabla_b, nabla_w = net.backprop(x, y)
    print("nabla_b", [g.shape for g in nabla_b], "nabla_w", [g.shape for g in nabla_w])

    before = net.cost(x, y).item()
    moved = net.weights[0].detach().numpy().copy()
    moved[0, 1] += 1e-6
    net.weights[0] = bp.Tensor(moved)
    slope = (net.cost(x, y).item() - before) / 1e-6
    print(f"dC/dw of one weight: {nabla_w[0].data[0, 1]:.6f} by backprop, {slope:.6f} by moving it a little")


# %% One neuron learns to answer 0 when it sees 1: quickly, or slowly where its sigmoid is flat
def learn(w, b, steps, eta=0.15):
    net = Network([1, 1])
    net.weights, net.biases = [bp.Tensor([[w]], requires_grad=True)], [bp.Tensor([[b]], requires_grad=True)]
    x, y = np.array([[1.0]]), np.array([[0.0]])
    for _ in range(steps):
        nabla_b, nabla_w = net.backprop(x, y)
        net.weights = [bp.Tensor(w.data - eta * nw.data, True) for w, nw in zip(net.weights, nabla_w)]
        net.biases = [bp.Tensor(b.data - eta * nb.data, True) for b, nb in zip(net.biases, nabla_b)]
    return net.feedforward(x).item()


# %%
def main(short=False):
    bp.manual_seed(0)
    show_gradient()
    for w, b in ((0.6, 0.9), (2.0, 2.0)):
        steps = (0, 300) if short else (0, 150, 300)
        print(f"w = {w}, b = {b}: " + ", ".join(f"{learn(w, b, n):.6f} after {n} steps" for n in steps))


if __name__ == "__main__":
    main()
