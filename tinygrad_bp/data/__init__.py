"""Mini-batches and data sets: the DataLoader, real and generated data, and how rows are shared out.

`loader` cuts arrays into batches; `split` shares rows out to training, validation and test; `datasets` holds 1797 real
digits and reads MNIST, which `download` fetches once; `generated` draws points in the plane.
"""

from __future__ import annotations

from .datasets import Mnist, digits, mnist
from .generated import moons, spirals, xor
from .loader import DataLoader
from .split import train_test_split, train_validation_test_split

__all__ = [
    "DataLoader",
    "Mnist",
    "digits",
    "mnist",
    "moons",
    "spirals",
    "train_test_split",
    "train_validation_test_split",
    "xor",
]
