"""Mini-batches and data sets: the DataLoader, 1797 real digits, MNIST from files, and a stratified split.

`loader` cuts arrays into batches; `datasets` reads them. Nothing is downloaded.
"""

from __future__ import annotations

from .datasets import Mnist, digits, mnist, train_test_split
from .loader import DataLoader

__all__ = ["DataLoader", "Mnist", "digits", "mnist", "train_test_split"]
