"""Losses: settings are refused when a loss is made, and weights of every shape that broadcasts."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.differences import close
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F

X, Y = np.array([0.3, -1.2, 2.0, 0.7]), np.array([1.0, 0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.HuberLoss(delta=-1), ValueError, "HuberLoss: delta is -1. Pass a number >= 0."),
        (lambda: nn.HuberLoss(delta=0), ValueError, "HuberLoss: delta is 0, so the loss would be. Pass a number > 0."),
        (lambda: nn.SmoothL1Loss(beta="a"), TypeError, "SmoothL1Loss: beta is 'a', a str. Pass a number."),
        (lambda: nn.NLLLoss(ignore_index=1.5), TypeError, "NLLLoss: ignore_index is 1.5, a float. Pass an integer."),
        (
            lambda: nn.CrossEntropyLoss(label_smoothing=2),
            ValueError,
            "CrossEntropyLoss: label_smoothing is 2. Pass a number from 0 to 1.",
        ),
        (
            lambda: F.cross_entropy(np.eye(3), [0, 1, 2], label_smoothing=None),
            TypeError,
            "cross_entropy: label_smoothing is None, a NoneType. Pass a number.",
        ),
        (
            lambda: F.cross_entropy(np.ones((4, 0)), [0, 0, 0, 0]),
            ValueError,
            "cross_entropy: input has shape (4, 0), so there are no classes. Pass one score a class.",
        ),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        make()


@pytest.mark.parametrize("weight", [3.0, [3.0], [3.0, 1.0, 0.0, 2.0]])
def test_weights_of_entries_broadcast_to_an_input_of_one_axis(weight):
    w = np.broadcast_to(weight, X.shape)
    for name, x in (("binary_cross_entropy", 1.0 / (1.0 + np.exp(-X))), ("binary_cross_entropy_with_logits", X)):
        plain = getattr(F, name)(x, Y, reduction="none")
        assert close(getattr(F, name)(x, Y, weight, reduction="none"), w * plain, 1e-15)
    hits, misses = np.log1p(np.exp(-X)), np.log1p(np.exp(X))
    loss = nn.BCEWithLogitsLoss(reduction="none", pos_weight=weight)(X, Y)
    assert close(loss.data, w * Y * hits + (1.0 - Y) * misses, 1e-15)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "quadratic_loss", "huber_loss", "smooth_l1_loss"])
def test_integers_to_hit_do_not_change_the_dtype(name):
    x = bp.Tensor(X.astype(np.float32), requires_grad=True)
    loss = getattr(F, name)(x, np.arange(4))
    loss.backward()
    assert loss.dtype == x.grad.dtype == np.float32
    assert close(loss.data, getattr(F, name)(X, np.arange(4.0)), 1e-6)


def test_a_weight_that_requires_grad_is_refused():
    w = bp.Tensor(np.ones(3), requires_grad=True)
    for name, role, y in (
        ("cross_entropy", "weight", [0, 1, 2]),
        ("nll_loss", "weight", [0, 1, 2]),
        ("binary_cross_entropy", "weight", np.eye(3)),
        ("binary_cross_entropy_with_logits", "pos_weight", np.eye(3)),
    ):
        message = f"{name}: {role} requires grad, but a loss has no derivative by it. Pass {role}.detach()."
        with pytest.raises(ValueError, match=re.escape(message)):
            getattr(F, name)(np.full((3, 3), 0.5), y, **{role: w})
        getattr(F, name)(np.full((3, 3), 0.5), y, **{role: w.detach()})
