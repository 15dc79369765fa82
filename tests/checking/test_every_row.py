"""The checker used on ourselves: every row of the table, every layer and every loss, at orders 1 and 2, none left out.

A sample passes, but for two kinds that are known beforehand and not by the checker: where an array has no entries the
report says EMPTY, and where all differences are 0 it says VACUOUS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn, ops
from tinygrad_bp.checking import Report

from .. import samples
from ..checks import floats, is_differentiable, naming, signed, with_floats
from ..differences import vjp
from ..nn.test_layers import LAYERS, with_shapes
from ..samples import Sample
from ..test_table import ALL_ROWS, Entry, entry_of, every_entry

Function = Callable[..., Any]


def of_floats(call: Function, sample: Sample) -> tuple[Any, ...]:
    """The call as a function of the float arrays of a sample, then these."""
    inputs, params = sample
    return lambda *xs: call(*with_floats(inputs, xs), **params), *[inputs[k] for k in floats(inputs)]


def checked(entry: Entry) -> list[Sample]:
    return [s for s in entry.samples if floats(s.inputs) and is_differentiable(entry.call, s)]


def expected(call: Function, xs: list[Any]) -> str:
    """What a report on right gradients must say, decided without the checker."""
    y = np.asarray(call(*xs))
    if not (y.size and sum(x.size for x in xs)):
        return "EMPTY"
    return "PASS" if any(map(np.any, vjp(call, signed(y.shape), *xs))) else "VACUOUS"


def said(report: Report) -> str:
    """The status, or what contract is broken."""
    return report.diagnosis[0].code if report.status == "CONTRACT" else report.status


# ---- rows ------------------------------------------------------------------------------------------------------------


@every_entry
def test_orders_1_and_2(entry: Entry) -> None:
    for sample in checked(entry):
        call, *xs = of_floats(entry.call, sample)
        with naming(sample):
            report = bp.gradcheck(call, *xs, order=2)
            assert said(report) == expected(call, xs), str(report)
            assert report.order == 2 or not report.ok


def test_every_row_with_a_derivative_is_checked() -> None:
    assert all(checked(entry_of(row)) for row in ALL_ROWS if row.differentiable)


# What makes an array of a packed one, for the row to work on: strides below 0, the first axis fastest, strides of 0.
LAYOUTS: list[tuple[Function, Function]] = [
    (lambda x: np.flip(x), lambda t, shape: ops.flip(t)),
    (lambda x: np.transpose(x), lambda t, shape: ops.transpose(t)),
    (lambda x: x[:1] if x.ndim else x, lambda t, shape: ops.broadcast_to(t, shape)),
]


@every_entry
def test_memory_layouts(entry: Entry) -> None:
    for i, sample in enumerate(checked(entry)):
        call, *xs = of_floats(entry.call, sample)
        pack, unpack = LAYOUTS[i % 3]
        packed, shapes = [pack(x).copy() for x in xs], [x.shape for x in xs]

        def unpacked(*ts: Any, call: Function = call, shapes: Any = shapes, unpack: Function = unpack) -> Any:
            return call(*map(unpack, ts, shapes))

        with naming(sample):
            report = bp.gradcheck(unpacked, *packed)
            assert said(report) == expected(unpacked, packed), str(report)


@every_entry
def test_float32_inside(entry: Entry) -> None:
    """Half as many digits must never look like a mistake; at worst they are too few to tell."""
    for sample in checked(entry):
        call, *xs = of_floats(entry.call, sample)
        with naming(sample):
            report = bp.gradcheck(lambda *ts, call=call: call(*[t.astype(np.float32) for t in ts]), *xs)
            assert said(report) in {expected(call, xs), "INCONCLUSIVE"}, str(report)


# ---- layers and losses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape"), with_shapes((5, 3), (1, 3), (2, 2, 3), (2, 0, 3)), ids=str)
def test_layers(name: str, shape: tuple[int, ...]) -> None:
    """By every parameter and the input, in training and in evaluation."""
    bp.manual_seed(1)
    layer, x = LAYERS[name](), samples.real(*shape)
    report = bp.check_layer(layer, x, order=2)
    assert said(report) == expected(lambda x: layer(bp.Tensor(x)).data, [x]), str(report)
    checked = {argument for _, argument in report.blocks}
    assert not report.blocks or checked.issuperset(name for name, _ in layer.named_parameters())


LABELS = np.array([0, 3, 1])
LOSSES: dict[str, list[Any]] = {
    "BCELoss": [(samples.fraction(3, 4), samples.fraction(3, 4, k=1))],
    "BCEWithLogitsLoss": [(samples.real(3, 4), samples.fraction(3, 4)), (samples.real(3), samples.flag(3).astype(int))],
    "CrossEntropyLoss": [(samples.real(3, 4), LABELS), (samples.real(3, 4), samples.distribution(3, 4))],
    **{name: [(samples.real(3, 4), samples.real(3, 4, k=1))] for name in ("HuberLoss", "SmoothL1Loss")},
    "L1Loss": [(samples.real(3, 4), samples.real(3, 4, k=1)), (samples.real(), samples.real(k=1))],
    "MSELoss": [(samples.real(3, 4), samples.real(3, 4, k=1)), (samples.real(), samples.real(k=1))],
    "NLLLoss": [(samples.real(3, 4), LABELS)],
    "QuadraticLoss": [
        (samples.real(3, 4), samples.real(3, 4, k=1)),
        (samples.real(2, 1, 2), samples.real(2, 1, 2, k=1)),
    ],
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", [name for name in nn.__all__ if name.endswith("Loss")])
def test_losses(name: str, reduction: str) -> None:
    for arrays in LOSSES[name]:
        report = bp.check_layer(getattr(nn, name)(reduction=reduction), *arrays, order=2)
        assert said(report) == "PASS", str(report)


# ---- the corners that `docs/conventions.md` decides ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "x"),
    [
        (ops.relu, [0.0, -0.0, 1.0]),
        (lambda x: ops.leaky_relu(x, 0.1), [0.0, 1.0]),
        (lambda x: ops.elu(x, 2.0), [0.0, 1.0]),
        (np.abs, [0.0, -1.0]),
        (lambda x: np.clip(x, -1.0, 1.0), [-1.0, 0.5, 1.0]),
        (lambda x: np.linalg.norm(x, 1), [0.0, -2.0]),
        (np.max, [1.0, 3.0, 3.0, 3.0]),
        (np.min, [1.0, 1.0, 3.0]),
        (lambda x: np.maximum(x, 0.0), [-1.0, 0.0, 1.0]),
        (lambda x: np.linalg.norm(x, np.inf), [3.0, -3.0, 1.0]),
        (np.linalg.norm, [0.0, 0.0]),
        (np.std, [3.0, 3.0]),
        (np.sqrt, [0.0, 1.0]),
    ],
)
def test_at_a_kink_the_value_is_allowed(call: Function, x: list[float]) -> None:
    report = bp.gradcheck(call, x)
    assert said(report) == "KINK", str(report)
