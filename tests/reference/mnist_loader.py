"""The module that document 001 imports and does not show: MNIST from Nielsen's pickle, as columns.

Unpickling runs code, so the file is compared with its known sha256 first.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle

import numpy as np

from .nielsen import vectorized_result

SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


def load_data(path):
    """((50000, 784), labels), ((10000, 784), labels), ((10000, 784), labels): training, validation, test."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"mnist_loader: {path} is not Nielsen's mnist.pkl.gz. Fetch the original file.")
    return pickle.loads(gzip.decompress(content), encoding="latin1")


def load_data_wrapper(path):
    """Three lists of (column, target); the target is a one-hot column in training, a label in the other two."""
    training, validation, test = load_data(path)
    training_data = [(np.reshape(x, (784, 1)), vectorized_result(y)) for x, y in zip(*training)]
    validation_data = [(np.reshape(x, (784, 1)), y) for x, y in zip(*validation)]
    test_data = [(np.reshape(x, (784, 1)), y) for x, y in zip(*test)]
    return training_data, validation_data, test_data
