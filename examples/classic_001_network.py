"""Nielsen's network.py, with the backward pass left to the library; a mini-batch goes through at once, a sample a row.

Learns MNIST, or without it the digits in the package; draws both pictures. Page: docs/classics/001-nielsen-network.md.
"""

# %% network.py
import numpy as np

import tinygrad_bp as bp
import tinygrad_bp.nn.functional as F


class Network(bp.nn.Module):
    def __init__(self, sizes):
        randn = bp.random.generator().standard_normal
        self.biases = [bp.nn.Parameter(randn(y)) for y in sizes[1:]]
        self.weights = [bp.nn.Parameter(randn((y, x))) for x, y in zip(sizes[:-1], sizes[1:])]

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights):
            a = F.sigmoid(F.linear(a, w, b))
        return a

    def cost(self, x, y):
        return F.quadratic_loss(self.feedforward(x), y)

    def SGD(self, training_data, epochs, mini_batch_size, eta, test_data):
        """Train; how many of test_data are right after each epoch."""
        optimizer = bp.optim.SGD(self.parameters(), lr=eta)
        right = []
        for j in range(epochs):
            for mini_batch in bp.data.DataLoader(*training_data, batch_size=mini_batch_size, shuffle=True):
                self.backprop(*mini_batch)
                optimizer.step()
            right.append(self.evaluate(test_data))
            print(f"Epoch {j}: {right[-1]} / {len(test_data[1])}")
        return right

    def backprop(self, x, y):
        """The gradient (nabla_b, nabla_w) of the mean cost of the samples, shaped like biases and weights."""
        self.zero_grad()
        self.cost(x, y).backward()
        return [b.grad for b in self.biases], [w.grad for w in self.weights]

    @bp.no_grad()
    def evaluate(self, test_data):
        return int((self.feedforward(test_data[0]).numpy().argmax(axis=1) == test_data[1]).sum())


def draw(right, n_test, file):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left_axes, right_axes = figure.subplots(1, 2)
    left_axes.plot(x := np.arange(-10, 10, 0.1), F.sigmoid(x))
    left_axes.set(title="sigmoid(x)", xlabel="x")
    right_axes.plot(100 * np.array(right) / n_test, marker=".")
    right_axes.set(title="Right answers on the test set", xlabel="epoch", ylabel="%")
    figure.savefig(file, dpi=120)


# %% test.py
def main(short=False, file="classic_001_network.png"):
    bp.manual_seed(10)
    x, x_test, labels, labels_test = bp.data.train_test_split(*bp.data.digits())
    try:
        if not short:
            (x, labels), _, (x_test, labels_test) = bp.data.mnist()
    except OSError as missing:
        short = True
        print("The digits in the package instead of MNIST, which is looked for in TINYGRAD_BP_DATA;", missing)
    net = Network([x.shape[1], 30, 10])
    right = net.SGD((x, np.eye(10)[labels]), 10 if short else 30, 10, 3.0, test_data=(x_test, labels_test))
    draw(right, len(labels_test), file)
    return right


if __name__ == "__main__":
    main()
