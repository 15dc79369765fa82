"""Write tinygrad_bp/data/digits.npz from scikit-learn's table: python tests/make_digits.py digits.csv.gz."""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

CSV_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
TARGET = Path(__file__).parent.parent / "tinygrad_bp" / "data" / "digits.npz"


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    packed = path.read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != CSV_SHA256:
        raise ValueError(f"make_digits: {path} has sha256 {found}, expected {CSV_SHA256}. Take scikit-learn's file.")
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
    return table[:, :64], table[:, 64]


if __name__ == "__main__":
    pixels, labels = read(Path(sys.argv[1]))
    np.savez_compressed(TARGET, pixels=pixels, labels=labels)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
