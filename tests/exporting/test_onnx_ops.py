"""Every row that has an exporter: what onnxruntime makes of it is what the row computes, at every sample and size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tests import samples
from tests.exporting.runtime import assert_agrees
from tinygrad_bp import nn, ops
from tinygrad_bp.autograd import copy
from tinygrad_bp.exporting import onnx_layers, onnx_ops
from tinygrad_bp.exporting.onnx_file import onnx_model

pytestmark = pytest.mark.oracle
ROWS = {row.name: row for row in (*ops.TABLE, copy)}


def of_a_number(sample: Any) -> bool:
    return not np.ndim(sample.inputs[0])


# Samples that have no ONNX, and what is said.
REFUSED = {
    "getitem": (lambda sample: isinstance(sample.params["index"], bool), r"has the index \w+\. Use expand_dims\."),
    "softmax": (of_a_number, r"is of a number\. Give it an axis\."),
    "log_softmax": (of_a_number, r"is of a number\. Give it an axis\."),
    **{
        name: (lambda sample: np.ndim(sample.inputs[0]) < 2, r"makes a matrix of a vector\. Give it a matrix\.")
        for name in ("tril", "triu")
    },
}


class EverySample(nn.Module):
    """The row applied to its samples, whose numbers are the last row of x one after the other."""

    def __init__(self, name: str, given: list[Any]) -> None:
        self.name, self.samples = name, given

    def numbers(self) -> Any:
        arrays = [np.ravel(x) for sample in self.samples for x in sample.inputs if isinstance(x, np.ndarray)]
        return np.concatenate([np.ones(1), *arrays]).astype(np.float32)

    def forward(self, x: Any) -> Any:
        numbers, begin, results = x[-1], 1, []
        for sample in self.samples:
            inputs = []
            for each in sample.inputs:
                if isinstance(each, np.ndarray):
                    begin, each = begin + each.size, numbers[begin : begin + each.size].reshape(each.shape)
                inputs.append(each)
            row = ROWS[self.name]
            results.append(
                row(inputs, **sample.params) if getattr(row, "variadic", 0) else row(*inputs, **sample.params)
            )
        return tuple(results)


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def is_refused(name: str, sample: Any) -> bool:
    return name in REFUSED and bool(REFUSED[name][0](sample))


@pytest.mark.parametrize("name", sorted(onnx_ops.EXPORTERS))
def test_every_sample(name: str) -> None:
    model = EverySample(name, [sample for sample in samples.of(name) if not is_refused(name, sample)])
    numbers = model.numbers()
    assert len(model.samples) > 1
    batches = [np.concatenate([np.zeros((n, numbers.size), np.float32), numbers[None]]) for n in (0, 2)]
    assert_agrees(model, batches, labels=[f"{name}: {sample}" for sample in model.samples])


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_samples_that_are_refused(name: str) -> None:
    refused = [sample for sample in samples.of(name) if is_refused(name, sample)]
    assert refused
    for sample in refused:
        model = EverySample(name, [sample])
        with pytest.raises(ValueError, match=rf"^export: the model: '{name}' {REFUSED[name][1]}$"):
            onnx_model(model, model.numbers()[None])


WIDE = np.array([0.0, 1e-8, 1e-3, 0.5, 5.0, 19.0, 21.0, 41.0, 88.0, 104.0, 1e4, 1e20, np.inf])


# fmt: off
FAR = [
    "absolute", "arcsinh", "arctan", "cbrt", "ceil", "deg2rad", "elu", "erf", "floor", "gelu_tanh", "isfinite",
    "isinf", "isnan", "leaky_relu", "log_sigmoid", "mish", "ndtr", "negative", "relu", "rint", "selu", "sigmoid",
    "sign", "silu", "softplus", "softsign", "square", "tanh", "trunc",
]
# fmt: on


@pytest.mark.parametrize("name", FAR)
def test_far_from_zero(name: str) -> None:
    """What overflows in float32 only is left out."""
    x = np.concatenate([-WIDE, WIDE])
    with np.errstate(all="ignore"):
        small = np.abs(ROWS[name](x)) < 3e38
        assert_agrees(Called(ROWS[name]), [x[small][:, None].astype(np.float32)])


def test_reductions_far_from_zero() -> None:
    x = np.array([[1e4, -1e4, 90.0], [-200.0, -201.0, -1e6], [-np.inf, 0.0, 300.0], [88.0, 88.0, 89.0]], np.float32)
    for row in (ops.softmax, ops.log_softmax, ops.logsumexp, ops.max):
        assert_agrees(Called(lambda x, row=row: row(x, -1)), [x])
    assert_agrees(Called(lambda x: ops.logsumexp(x, 1, True)), [np.full((2, 3), -np.inf, np.float32)])


@pytest.mark.parametrize("function", [np.expm1, np.log1p])
def test_near_zero(function: Any) -> None:
    """Of numbers that 1 swallows in float32 no digit is lost; nor is anything where the other formula takes over."""
    near = np.concatenate([[0.0, -0.999, 0.999, 1.0, 2.0, 60.0, np.inf], np.geomspace(1e-9, 0.9, 40)])
    assert_agrees(Called(function), [near[:, None].astype(np.float32)])
    tiny = np.float32(2.0) ** -np.arange(20, 60, dtype=np.float32)
    assert_agrees(Called(lambda x: function(x) / x), [np.concatenate([-tiny, tiny])[:, None]])


def test_rows_in_neither_list_are_refused_by_name() -> None:
    missing = sorted(set(ROWS) - set(onnx_ops.EXPORTERS) - set(onnx_layers.EXPORTERS))
    assert "sort" in missing
    message = r"^export: 0: 'sort' has no counterpart in ONNX here\. Spell it with other operations, or leave it out\.$"
    with pytest.raises(ValueError, match=message):
        onnx_model(nn.Sequential(Called(np.sort)), np.zeros((1, 3)))


@pytest.mark.parametrize(("shift", "axis"), [(1, 0), (2, None), ((1, 1), (1, 0))])
def test_rolling_the_rows_is_refused(shift: Any, axis: Any) -> None:
    message = r"^export: the model: 'roll' turns round an axis as long as there are rows\. Roll another axis\.$"
    with pytest.raises(ValueError, match=message):
        onnx_model(Called(lambda x: np.roll(x, shift, axis)), np.zeros((1, 3)))


FUNCTIONS: dict[str, Any] = {
    "sum over rows": lambda x: x.sum(0),
    "mean over rows": lambda x: x.mean((0, -1), keepdims=True),
    "var over rows": lambda x: x.var(0),
    "var over rows, n - 1": lambda x: x.var(0, ddof=1),
    "max of all": lambda x: x.max(),
    "argmax of all": lambda x: np.argmax(x),
    "cumsum of all": lambda x: np.cumsum(x),
    "cumsum of rows": lambda x: np.cumsum(x, 0),
    "softmax over rows": lambda x: bp.ops.softmax(x, 0),
    "less the mean of the rows": lambda x: x - x.mean(0),
    "flat": lambda x: x.reshape(-1),
    "flat rows": lambda x: x.reshape(x.shape[0], -1),
    "rows of nothing": lambda x: x[:, :0].reshape(x.shape[0], 0, 1),
    "rows apart": lambda x: x.reshape(x.shape[0], 1, -1, 1),
    "transposed": lambda x: x.T,
    "rows last": lambda x: np.moveaxis(x, 0, -1),
    "two axes in one": lambda x: x.swapaxes(0, 1).reshape(x.shape[1], -1),
    "as wide as the batch": lambda x: np.broadcast_to(x.mean(0), x.shape),
    "as many ones": lambda x: x + np.ones((x.shape[0], 1, 1)),
    "as many weights": lambda x: x @ np.broadcast_to(np.linspace(0.0, 1.0, x.shape[2]), (x.shape[0], x.shape[2]))[:1].T,
    "first and last row": lambda x: x[0] * x[-1],
    "rows backwards": lambda x: x[::-1],
    "all but the first": lambda x: x[1:, ..., :-1],
    "up to a row before the end": lambda x: x[: x.shape[0] - 1],
    "a new axis, a number, a slice": lambda x: x[:, None, 0, 1:],
    "columns by a list": lambda x: x[:, [0, -1, 0]],
    "entries by two lists": lambda x: x[:, [0, 1, 0], [-1, 0, 0]],
    "entries by two lists with a slice between": lambda x: x[[0, 0], :, [0, -1]],
    "entries by two lists far from the front": lambda x: np.stack([x, -x], 1)[:, [0, 1, 1], :, [1, 0, 0]],
    "twice as many rows of a number": lambda x: np.concatenate([x, np.full((2 * x.shape[0], *x.shape[1:]), 7.0)]),
    "entries by a list and a number": lambda x: x[:, 0, [0, 1]],
    "columns by a mask": lambda x: x[:, np.arange(x.shape[1]) % 2 == 0],
    "each row twice": lambda x: np.concatenate([x, x]),
    "each row beside itself": lambda x: np.concatenate([x, 2.0 * x], -1),
    "stacked": lambda x: np.stack([x, -x], 1),
    "with a border": lambda x: np.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=3.0),
    "rolled columns": lambda x: np.roll(x, (1, -3), (1, 2)),
    "flipped": lambda x: np.flip(x, (0, 2)),
    "larger of two": lambda x: np.maximum(x, x[..., ::-1]),
    "where": lambda x: np.where(x > 0.1, np.exp(x), -x),
    "whole numbers as factors": lambda x: x * np.argmax(x, 1, keepdims=True) + np.arange(x.shape[2]),
    "bools as factors": lambda x: x * (x > 0) * np.array(True),
    "counted": lambda x: x / x.shape[0] ** 0 * np.count_nonzero(x, 1, keepdims=True),
    "number of rows": lambda x: x + x.shape[0],
    "of a float the whole part": lambda x: (3.0 * x).astype(int) * x,
    "product of matrices": lambda x: x @ x.mT,
    "sum of products": lambda x: bp.ops.einsum("nij,nkj->ik", x, x),
    "linear of three axes": lambda x: bp.ops.linear(x, np.ones((2, x.shape[2])), np.array([1.0, 2.0])),
    "linear of three axes with whole numbers": lambda x: bp.ops.linear(x, np.ones((2, x.shape[2]), int), None),
    "linear with weights from x": lambda x: bp.ops.linear(x, x[0], x[0, :, 0]),
    "norm": lambda x: np.linalg.norm(x, axis=-1),
    "std": lambda x: np.std(x, axis=1),
    "clipped": lambda x: np.clip(x, -0.5, x[0]),
}


class Functions(nn.Module):
    def forward(self, x: Any) -> Any:
        return tuple(function(x) for function in FUNCTIONS.values())


@pytest.mark.parametrize("shape", [(2, 3), (4, 2), (3, 5)])
def test_functions_of_any_number_of_rows(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(shape)
    batches = [rng.normal(size=(n, *shape)).astype(np.float32) for n in (2, 3, 8)]
    assert_agrees(Functions(), batches, labels=[*FUNCTIONS])
