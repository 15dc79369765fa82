"""Functions under `kernel` are one instruction of a plan, printed with the step."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_bp as bp
from tinygrad_bp.opaque import kernel


@kernel
def swapped_halves(x: Any, k: int) -> Any:
    """What no recorder could follow: it looks at the numbers, and at the memory."""
    if x.sum() > 1e9:
        return x
    return np.lib.stride_tricks.as_strided(np.concatenate([x, x]), x.shape, x.strides)[k:]


def test_a_kernel_is_one_instruction_and_is_printed():
    row = bp.primitive("tail", lambda x: swapped_halves(x, 1), lambda g, y, x: np.pad(g, (1, 0)))

    def step(x: Any) -> Any:
        x = bp.Tensor(x, requires_grad=True)
        (row(x) * np.arange(2.0)).sum().backward()
        return row(x), x.grad

    compiled = bp.compile(step)
    for x in (np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])):
        for found, wanted in zip(compiled(x), step(x), strict=True):
            assert found.tolist() == wanted.tolist()
    assert len(compiled.recordings) == 1
    assert compiled.source.count("def swapped_halves(") == 1
    assert "@kernel" not in compiled.source


def test_a_table_of_constants_is_read_at_positions_that_are_computed_anew():
    def step(x):
        x = bp.Tensor(x, requires_grad=True)
        y = np.interp(x, [0.0, 1.0, 3.0], [1.0, 3.0, -1.0])
        y.sum().backward()
        return y, x.grad

    compiled = bp.compile(step)
    for x in ([0.2, 2.0], [-1.0, 0.5], [4.0, 1.0]):
        for a, b in zip(step(np.array(x)), compiled(np.array(x)), strict=True):
            assert a.tolist() == b.tolist()
