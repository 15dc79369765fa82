"""Nielsen's network.py, with the backward pass left to the library; a mini-batch goes through at once, a sample a row.

Learns MNIST, in short mode the digits in the package; draws both pictures. Page: docs/classics/001-nielsen-network.md.
"""

# %% network.py
import numpy as np

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F
from tinygrad_bp import nn, optim
from tinygrad_bp.data import DataLoader, digits, mnist, train_test_split


class Network:
    def __init__(self, sizes):
        randn = bp.random.generator().standard_normal
        self.biases = [nn.Parameter(randn(y)) for y in sizes[1:]]
        self.weights = [nn.Parameter(randn((y, x))) for x, y in zip(sizes[:-1], sizes[1:])]

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights):
            a = F.sigmoid(F.linear(a, w, b))
        return a

    def cost(self, x, y):
        return F.quadratic_loss(self.feedforward(x), y)

    def SGD(self, training_data, epochs, mini_batch_size, eta, test_data):
        """Train; how many of test_data are right after each epoch."""
        optimizer = optim.SGD(self.biases + self.weights, lr=eta)
        right = []
        for j in range(epochs):
            for mini_batch in DataLoader(*training_data, batch_size=mini_batch_size, shuffle=True):
                self.backprop(*mini_batch)
                optimizer.step()
            right.append(self.evaluate(test_data))
            print(f"Epoch {j}: {right[-1]} / {len(test_data[1])}")
        return right

    def backprop(self, x, y):
        """The gradient (nabla_b, nabla_w) of the mean cost of the samples, shaped like biases and weights."""
        for parameter in self.biases + self.weights:
            parameter.grad = None
        self.cost(x, y).backward()
        return [b.grad for b in self.biases], [w.grad for w in self.weights]

    @bp.no_grad()
    def evaluate(self, test_data):
        return int((self.feedforward(test_data[0]).numpy().argmax(axis=1) == test_data[1]).sum())


def draw(right, n_test, file):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left_axes, right_axes = figure.subplots(1, 2)
    x = np.arange(-10, 10, 0.1)
    left_axes.plot(x, F.sigmoid(x))
    left_axes.set(title="sigmoid(x)", xlabel="x")
    right_axes.plot(100 * np.array(right) / n_test, marker=".")
    right_axes.set(title="Right answers on the test set", xlabel="epoch", ylabel="%")
    figure.savefig(file, dpi=120)


# %% test.py
def main(short=False, file="classic_001_network.png"):
    bp.manual_seed(10)
    x, x_test, labels, labels_test = train_test_split(*digits())
    if not short:
        (x, labels), _, (x_test, labels_test) = mnist()
    net = Network([x.shape[1], 30, 10])
    right = net.SGD((x, np.eye(10)[labels]), 10 if short else 30, 10, 3.0, test_data=(x_test, labels_test))
    draw(right, len(labels_test), file)
    return right


if __name__ == "__main__":
    main()
