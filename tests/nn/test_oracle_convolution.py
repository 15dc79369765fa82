"""Convolutions equal PyTorch's: values and gradients by input, weight and bias, on drawn shapes and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.differences import assert_close
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning"),
]
SAME = 1e-12


def each(axes: int, values: Any) -> Any:
    """One for all axes, or one an axis."""
    return values | st.tuples(*[values] * axes)


def pair(value: Any, axes: int) -> Any:
    return value if isinstance(value, tuple) else (value,) * axes


@st.composite
def convolutions(draw: Any, axes: int, transposed: bool = False) -> Any:
    """Shapes of input and weight, and arguments; now and then large enough for Winograd's algorithm."""
    groups, n = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    c, f = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = draw(st.tuples(*[st.integers(1, 4)] * axes))
    how = {"stride": draw(each(axes, st.integers(1, 3))), "dilation": draw(each(axes, st.integers(1, 3)))}
    how |= {"padding": draw(each(axes, st.integers(0, 4))), "groups": groups}
    if not transposed and draw(st.integers(0, 9)) == 9:
        groups, n, c, f, kernel = 1, 8, 16, 17, (3,) * axes
        how = {"padding": draw(each(axes, st.integers(0, 4)))}
    elif not transposed and draw(st.integers(0, 4)) == 4:
        how |= {"padding": draw(st.sampled_from(["same", "valid"])), "stride": 1}
    size = draw(st.tuples(*[st.integers(1, 9)] * axes))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, pair(how.get("dilation", 1), axes))]
    if transposed:
        stride = pair(how["stride"], axes)
        how["output_padding"] = tuple(draw(st.integers(0, s - 1)) for s in stride)
        around = pair(how["padding"], axes)
        results = [
            (m - 1) * s + k - 2 * p + e for m, s, k, p, e in zip(size, stride, spans, around, how["output_padding"])
        ]
        assume(min(results) >= 1)
    elif how["padding"] != "same":
        padding = pair(0 if how["padding"] == "valid" else how["padding"], axes)
        assume(all(m + 2 * p >= k for m, p, k in zip(size, padding, spans)))
    weight = (c, f // groups, *kernel) if transposed else (f, c // groups, *kernel)
    return (*((n,) if draw(st.booleans()) else ()), c, *size), weight, f, how


def compared(name: str, case: Any) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    torch.set_num_threads(1)
    shape, weight, f, how = case
    rng = np.random.default_rng(len(str(case)))
    arrays = [rng.normal(size=s) for s in (shape, weight, (f,))]
    mine = [bp.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, expected = getattr(F, name)(*mine, **how), getattr(torch.nn.functional, name)(*theirs, **how)
    assert_close(y.data, expected.detach().numpy(), "value", SAME)
    g = rng.normal(size=y.shape)
    y.backward(g)
    expected.backward(torch.from_numpy(g))
    for which, a, b in zip(("input", "weight", "bias"), mine, theirs):
        assert a.grad is not None
        assert_close(a.grad.data, b.grad.numpy(), which, SAME)


@given(case=convolutions(1))
def test_conv1d(case: Any) -> None:
    compared("conv1d", case)


@given(case=convolutions(2))
def test_conv2d(case: Any) -> None:
    compared("conv2d", case)


@given(case=convolutions(2, transposed=True))
def test_conv_transpose2d(case: Any) -> None:
    compared("conv_transpose2d", case)


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("Conv1d", (4, 6, 3, 2, 1, 2, 2), (3, 4, 9)),
        ("Conv2d", (4, 6, (3, 2), 2, (1, 0), (1, 2), 2, False), (3, 4, 7, 6)),
        ("ConvTranspose2d", (4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, True, (1, 2)), (3, 4, 3, 2)),
    ],
)
def test_layers_take_pytorchs_arguments_and_states(name: str, settings: Any, shape: Any) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    ours, theirs = getattr(nn, name)(*settings), getattr(torch.nn, name)(*settings).double()
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in ours.state_dict().items()})
    x = np.random.default_rng(0).normal(size=shape)
    assert_close(ours(x).data, theirs(torch.from_numpy(x)).detach().numpy(), "value", SAME)
