"""What would be a constant of an ONNX file by accident, because it is the same for the rows that were tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.exporting.followed import refuse_unfollowed

POSITIVE = np.array([[0.5, 1.0, 9.0], [1.0, 2.0, 8.0]])  # so are all of its signs, and the place of the largest
TOKENS = np.array([[1, 2, 3], [3, 1, 2]])  # of which none is 0


class Called(nn.Module):
    """A function of x and of an embedding."""

    def __init__(self, function: Any) -> None:
        self.function, self.embedding = function, nn.Embedding(5, 2)

    def forward(self, x: Any) -> Any:
        return self.function(x, self.embedding)


def unrecorded(x: Any, _: Any) -> Any:
    with bp.no_grad():
        mask = np.where(x > 0.0, 1.0, 0.0)
    return x * mask


def caught(x: Any, _: Any) -> Any:
    try:
        return x * float(x.sum() > 0.0)
    except ValueError:
        return x


def counted(x: Any, embedding: Any) -> Any:
    embedding.weight.data[0] += 1.0
    return x * embedding.weight[0, 0]


def replaced(x: Any, embedding: Any) -> Any:
    embedding.weight.data = np.ones_like(embedding.weight.data)
    return x


@pytest.mark.parametrize(
    ("function", "x", "what"),
    [
        (lambda x, _: x * (x.data > 0.0), POSITIVE, r"shape \(2, 3\), bool"),
        (lambda x, _: x * np.sign(x.detach()), POSITIVE, r"shape \(2, 3\), float64"),
        (lambda x, _: bp.tensor(np.sign(x.data)), POSITIVE, r"shape \(2, 3\), float64"),
        (unrecorded, POSITIVE, r"shape \(2, 3\), float64"),
        (lambda x, _: x * (np.argmax(x, 1, keepdims=True) + 1), POSITIVE, r"shape \(2, 1\), int64"),
        (lambda x, _: x[:, np.argsort(x.data.mean(0))], POSITIVE, r"shape \(3,\), int64"),
        (lambda x, _: (x, x, bp.tensor(x.data > 0.0)), POSITIVE, r"shape \(2, 3\), bool"),
        (lambda x, embedding: embedding(x) * (x != 0)[..., None], TOKENS, r"shape \(2, 3, 1\), bool"),
        (lambda x, embedding: np.where((x != 0)[..., None], embedding(x), 0.0), TOKENS, r"shape \(2, 3, 1\), bool"),
        (lambda x, embedding: embedding(np.minimum(x, 3)), TOKENS, r"shape \(2, 3\), int64"),
    ],
)
def test_computed_from_x_without_a_recipe(function: Any, x: Any, what: str) -> None:
    message = rf"^export: 1(\.embedding)?: an array of {what}, is computed from x, and no recipe tells how\."
    with pytest.raises(ValueError, match=message):
        refuse_unfollowed(nn.Sequential(nn.Identity(), Called(function)), x)


@pytest.mark.parametrize(
    "function", [lambda x, _: x if x.detach().numpy().sum() > 0.0 else -x, lambda x, _: x * x.max().item(), caught]
)
def test_decisions_on_numbers(function: Any) -> None:
    message = r"^export: line \d+ of test_followed\.py \(.+\) needs the numbers in an array of shape \(\)"
    with pytest.raises(ValueError, match=message):
        refuse_unfollowed(Called(function), POSITIVE)


@pytest.mark.parametrize("function", [counted, replaced])
def test_state_that_is_written(function: Any) -> None:
    model = nn.Sequential(Called(function))
    before = model.state_dict()["0.embedding.weight"].copy()
    message = r"^export: the model writes into 0\.embedding\.weight in eval\(\)\. Let it write only while training\.$"
    with pytest.raises(ValueError, match=message):
        refuse_unfollowed(model, POSITIVE)
    assert np.array_equal(model.state_dict()["0.embedding.weight"], before)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x, _: np.where(x > 0.0, x, -x) * np.argmax(x, 1, keepdims=True), POSITIVE),
        (lambda x, _: x + x.data + np.zeros((len(x), 1)) + np.zeros_like(x.data), POSITIVE),
        (lambda x, embedding: embedding(x) * embedding.weight.data[0], TOKENS),
        (lambda x, embedding: embedding(x.astype(np.int64)) + np.arange(3)[:, None], TOKENS),
        (lambda x, _: np.arange(3.0) * bp.Tensor(np.ones(3), requires_grad=True), POSITIVE),
    ],
)
def test_what_recipes_tell(function: Any, x: Any) -> None:
    model = Called(function)
    model.embedding.weight.requires_grad = False
    before = model.embedding.weight.data.copy()
    refuse_unfollowed(model, x)
    assert model.training
    assert not model.embedding.weight.requires_grad
    assert np.array_equal(model.embedding.weight.data, before)


@pytest.mark.oracle
def test_no_file_is_made_of_it() -> None:
    pytest.importorskip("onnx", reason="needs onnx, of the extra 'onnx'")
    from tinygrad_bp.exporting.onnx_file import onnx_model

    model = Called(lambda x, embedding: embedding(x) * (x != 0)[..., None])
    with pytest.raises(ValueError, match=r"^export: the model: an array of shape .* is computed from x"):
        onnx_model(model, TOKENS)
    model = Called(counted)
    before = model.embedding.weight.data.copy()
    with pytest.raises(ValueError, match=r"^export: the model writes into embedding\.weight"):
        onnx_model(model, POSITIVE)
    assert np.array_equal(model.embedding.weight.data, before)
