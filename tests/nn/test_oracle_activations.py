"""Activations equal PyTorch's, with their gradients, on shapes and arguments that hypothesis draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import tinygrad_bp as bp
from tests.differences import assert_close
from tinygrad_bp import nn

pytestmark = pytest.mark.oracle

positive = st.floats(0.1, 4.0)
LAYERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    **dict.fromkeys(["Sigmoid", "Tanh", "ReLU", "SELU", "SiLU", "Mish", "Softsign", "LogSigmoid"], st.just({})),
    "LeakyReLU": st.fixed_dictionaries({"negative_slope": st.floats(-1.0, 1.0)}),
    "ELU": st.fixed_dictionaries({"alpha": st.floats(-2.0, 2.0)}),
    "GELU": st.fixed_dictionaries({"approximate": st.sampled_from(["none", "tanh"])}),
    "Softplus": st.fixed_dictionaries({}, optional={"beta": positive, "threshold": st.floats(-1.0, 40.0)}),
    **dict.fromkeys(["Softmax", "LogSoftmax"], st.fixed_dictionaries({"dim": st.integers(-2, 1)})),
}
entries = st.floats(-60.0, 60.0, width=32).filter(bool)  # a kink has no one slope
arrays = npst.arrays(np.float64, npst.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4), elements=entries)


@pytest.mark.parametrize("name", LAYERS)
@given(data=st.data(), values=arrays)
def test_an_activation_equals_pytorchs(name: str, data: Any, values: Any) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    settings = data.draw(LAYERS[name])
    x, theirs = bp.Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, expected = getattr(nn, name)(**settings)(x), getattr(torch.nn, name)(**settings)(theirs)
    g = np.cos(np.arange(values.size)).reshape(values.shape)
    y.backward(g)
    expected.backward(torch.from_numpy(g))
    assert x.grad is not None
    assert_close(y.data, expected.detach().numpy(), "value", 1e-12)
    assert_close(x.grad.data, theirs.grad.numpy(), "gradient", 1e-12)


def test_every_activation_is_compared() -> None:
    assert set(nn.activations.__all__) == set(LAYERS)
