"""The backprop of a model, written for you: a training step is compiled, printed, and timed beside the eager one.

Page: docs/compile.md.
"""

# %% A net for 8 x 8 digits, and a training step as everyone writes it
import time

import tinygrad_bp as bp
from tinygrad_bp import nn


def training_step(seed=0):
    bp.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10))
    loss, optimizer = nn.CrossEntropyLoss(), bp.optim.SGD(net.parameters(), lr=0.5)

    def step(x, y):
        optimizer.zero_grad()
        cost = loss(net(x), y)
        cost.backward()
        optimizer.step()
        return cost

    return net, step


# %% Some epochs of it, and what they cost
def train(step, X, y, epochs):
    started = time.perf_counter()
    for _ in range(epochs):
        for i in range(0, len(X), 10):
            step(X[i : i + 10], y[i : i + 10])
    return time.perf_counter() - started


# %% Eager, then compiled: the same weights to the last digits; and the source of the step
def main(short=False):
    X, y = bp.data.digits()
    X, y = X[:1500], y[:1500]
    epochs = 1 if short else 20
    net, eager = training_step()
    twin, function = training_step()
    compiled = bp.compile(function)
    seconds, replayed = train(eager, X, y, epochs), train(compiled, X, y, epochs)
    apart = max(abs(p.data - q.data).max() for p, q in zip(net.parameters(), twin.parameters()))
    print(compiled.source)
    print(f"eager {seconds:.2f} s, compiled {replayed:.2f} s; the weights differ by {apart:.0e}")
    return apart


if __name__ == "__main__":
    main()
