"""The near match: the nearest name as it is written, whatever the case, in the quotes that are asked for."""

from __future__ import annotations

from tinygrad_bp.spelling import did_you_mean


def test_the_nearest_name_or_nothing():
    assert did_you_mean("epocs", ["epoch", "Epochs", "lr"]) == " Did you mean 'Epochs'?"
    assert did_you_mean("EPOCHS", ["lr", "epochs"], str) == " Did you mean epochs?"
    assert did_you_mean("q", ["epochs"]) == ""
    assert did_you_mean("q", []) == ""
