"""The closed registries, and what is added to them."""

from __future__ import annotations

import tinygrad_bp as bp
from tinygrad_bp.spec import DATA, LAYERS, LOSSES, OPTIMIZERS


def test_the_registries_hold_the_public_classes_and_nothing_else():
    pages = (bp.nn.layers, bp.nn.activations, bp.nn.convolution, bp.nn.pooling, bp.nn.normalization)
    assert set(LAYERS) == {name for page in pages for name in page.__all__}
    assert set(LOSSES) == set(bp.nn.losses.__all__)
    assert set(OPTIMIZERS) == set(bp.optim.__all__) - {"Optimizer", "lr_scheduler"}
    assert set(DATA) == {"digits", "mnist"}
