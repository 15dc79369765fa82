"""Pooling equals PyTorch's, with its gradients, on shapes, arguments, ties and nans that hypothesis draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.differences import assert_close
from tinygrad_bp import nn

pytestmark = pytest.mark.oracle


@st.composite
def images(draw: Any, axes: int) -> Any:
    """Few different values, so that there are ties; some nans or -infs; in either memory order."""
    shape = draw(st.tuples(*[st.integers(1, 3)] * draw(st.integers(1, 2)), *[st.integers(1, 8)] * axes))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.integers(-2, 3, shape).astype(float)
    x[rng.random(shape) < 0.2] = draw(st.sampled_from([0.5, np.nan, -np.inf]))
    return x if draw(st.booleans()) else np.asfortranarray(x)


def size(axes: int, low: int, high: int) -> Any:
    number = st.integers(low, high)
    return number | st.tuples(*[number] * axes)


def of_axis(value: Any, axis: int) -> Any:
    return value[axis] if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", ["MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d"])
@settings(max_examples=50)
@given(data=st.data())
def test_pooling_equals_pytorchs(name: str, data: Any) -> None:
    axes = int(name[-2])
    x = data.draw(images(axes))
    arguments = {"kernel_size": data.draw(size(axes, 1, 4)), "ceil_mode": data.draw(st.booleans())}
    arguments |= data.draw(
        st.fixed_dictionaries({}, optional={"stride": size(axes, 1, 4), "padding": size(axes, 0, 2)})
    )
    if name.startswith("Max"):
        arguments["dilation"] = data.draw(size(axes, 1, 3))
    else:
        x[~np.isfinite(x)] = 1.0
        arguments["count_include_pad"] = data.draw(st.booleans())
    for axis in range(axes):
        k, p, d = (of_axis(arguments.get(key, 0), axis) for key in ("kernel_size", "padding", "dilation"))
        assume(2 * p <= k)
        assume(not p or d <= x.shape[x.ndim - axes + axis])  # else a window may lie beside the input
    compare(name, arguments, x)


@pytest.mark.parametrize("axes", [1, 2])
@given(data=st.data())
def test_adaptive_pooling_equals_pytorchs(axes: int, data: Any) -> None:
    x = data.draw(images(axes))
    x[~np.isfinite(x)] = 1.0
    compare(f"AdaptiveAvgPool{axes}d", {"output_size": data.draw(size(axes, 1, 9))}, x)


def compare(name: str, arguments: dict[str, Any], values: Any) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    theirs = torch.tensor(values, requires_grad=True)
    x = bp.Tensor(values)
    x.tracked = True  # requires_grad would copy, and lose the memory order
    try:
        expected = getattr(torch.nn, name)(**arguments)(theirs)
    except RuntimeError:  # a window larger than the input
        with pytest.raises(ValueError, match="a window spans"):
            getattr(nn, name)(**arguments)(x)
        return
    y = getattr(nn, name)(**arguments)(x)
    g = np.cos(np.arange(y.size)).reshape(y.shape)
    (dx,) = bp.autograd.grad(y, x, g)
    expected.backward(torch.from_numpy(g))
    assert_close(y.data, expected.detach().numpy(), "value", 1e-12)
    assert_close(dx.data, theirs.grad.numpy(), "gradient", 1e-12)
