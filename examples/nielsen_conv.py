"""The convolutional net of chapter 6 of Nielsen's book: 20 filters 5x5, pool, 40 filters 5x5, pool, 100, softmax.

Learns MNIST in single precision, with ReLU, to more than 98.9 %; without MNIST the digits in the package, drawn larger.
Page: docs/convolutions.md.
"""

# %% the net, with a softmax inside the cost
import numpy as np

import tinygrad_bp as bp
from tinygrad_bp import nn


def network():
    return nn.Sequential(
        *[nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)],  # 28 x 28, after the filters 24 x 24, after pooling 12 x 12
        *[nn.Conv2d(20, 40, 5), nn.ReLU(), nn.MaxPool2d(2)],  # 8 x 8, 4 x 4
        *[nn.Flatten(), nn.Linear(40 * 4 * 4, 100), nn.ReLU()],
        nn.Linear(100, 10),
    )


@bp.no_grad()
def right_answers(net, x, labels):
    """How many, 500 pictures at a time."""
    batches = bp.data.DataLoader(x, labels, batch_size=500)
    return sum(int((net(part).numpy().argmax(1) == wanted).sum()) for part, wanted in batches)


# %% pictures (n, 1, 28, 28) and labels, to train on and to test
def mnist():
    train, _, test = bp.data.mnist()
    return [(x.reshape(-1, 1, 28, 28).astype(np.float32), labels) for x, labels in (train, test)]


def digits():
    x, labels = bp.data.digits()
    x = np.kron(x.reshape(-1, 1, 8, 8), np.ones((3, 3)))  # three times as large: 24 x 24
    x = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)]).astype(np.float32)
    return (x[:600], labels[:600]), (x[600:900], labels[600:900])


# %% training
def main(short=False, epochs=10):
    try:
        train, test = digits() if short else mnist()
    except OSError as missing:
        print("The digits in the package instead of MNIST, which is looked for in TINYGRAD_BP_DATA;", missing)
        short, (train, test) = True, digits()
    bp.manual_seed(0)
    bp.set_default_dtype("float32")
    net = network()
    bp.set_default_dtype("float64")
    optimizer = bp.optim.Adam(net.parameters(), lr=1e-3)
    schedule = bp.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    right = []

    def report(record):
        right.append(right_answers(net, *test))
        print(f"Epoch {record['epoch']}: cost {record['loss']:.4f}, {right[-1]} / {len(test[1])} right")

    batches = bp.data.DataLoader(*train, batch_size=32, shuffle=True)
    epochs = 2 if short else epochs
    bp.fit(net, nn.CrossEntropyLoss(), optimizer, batches, epochs, schedule=schedule, on_epoch=report)
    return right


if __name__ == "__main__":
    main()
