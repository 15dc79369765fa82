"""A dense layer and its backprop in plain NumPy, a mistake in it found and named, then mended. No Tensor in sight.

Page: docs/gradient-checking.md.
"""

# %% The layer: y = tanh(x W + b), samples as rows
import numpy as np

import tinygrad_bp as bp


def dense(x, W, b):
    return np.tanh(x @ W + b)


# %% Its backprop: from upstream = dC/dy to dC/dx, dC/dW, dC/db; the slope of tanh has been forgotten
def wrong_backprop(x, W, b, upstream):
    delta = upstream
    return delta @ W.T, x.T @ delta, delta.sum(axis=0)


# %% The same, mended: tanh' = 1 - y^2
def dense_backprop(x, W, b, upstream):
    delta = upstream * (1 - dense(x, W, b) ** 2)
    return delta @ W.T, x.T @ delta, delta.sum(axis=0)


# %% Forward, backward and a point at which to check them: random numbers of size 1, no two axes of one size
def main(short=False):
    rng = np.random.default_rng(0)
    x, W, b = rng.standard_normal((6, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4)

    print(bp.check_backprop(dense, wrong_backprop, x, W, b))
    print()
    print(bp.check_backprop(dense, dense_backprop, x, W, b))


if __name__ == "__main__":
    main()
