"""Functions of shapes and products against PyTorch's, on shapes and arguments that hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_bp import autograd

from . import samples
from .checks import signed, tracked
from .differences import assert_close

pytestmark = pytest.mark.oracle
sides = st.integers(1, 4)
NONE = st.just(())

# name: NumPy's call, PyTorch's call (with torch first), shapes and arguments as strategies
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Any, Any]] = {
    "tensordot": (
        lambda a, b: np.tensordot(a, b, ([1, 2], [2, 0])),
        lambda t, a, b: t.tensordot(a, b, ([1, 2], [2, 0])),
        st.builds(lambda m, n, p, q: [(m, n, p), (p, q, n)], sides, sides, sides, sides),
        NONE,
    ),
    "kron": (
        np.kron,
        lambda t, a, b: t.kron(a, b),
        st.builds(lambda m, n, p, q: [(m, n), (p, q)], *[sides] * 4),
        NONE,
    ),
    "cross": (
        lambda a, b: np.cross(a, b, axis=0),
        lambda t, a, b: t.linalg.cross(a, b, dim=0),
        st.builds(lambda n: [(3, n), (3, n)], sides),
        NONE,
    ),
    "multi_dot": (
        lambda *xs: np.linalg.multi_dot(xs),
        lambda t, *xs: t.linalg.multi_dot(xs),
        st.builds(lambda m, n, p, q: [(m, n), (n, p), (p, q)], *[sides] * 4),
        NONE,
    ),
    "einsum": (
        lambda a, b, c: np.einsum("bik,kj...,ji->bi...", a, b, c),
        lambda t, a, b, c: t.einsum("bik,kj...,ji->bi...", a, b, c),
        st.builds(lambda b, i, j, k, n: [(b, i, k), (k, j, n), (j, i)], *[sides] * 5),
        NONE,
    ),
    "diff": (
        lambda x, n, axis: np.diff(x, n, axis),
        lambda t, x, n, axis: t.diff(x, n, axis),
        st.builds(lambda m, n: [(m + 2, n + 2)], sides, sides),
        st.tuples(st.integers(1, 2), st.integers(-2, 1)),
    ),
    "gradient": (
        lambda x, h, order: np.gradient(x, h, axis=1, edge_order=order),
        lambda t, x, h, order: t.gradient(x, spacing=h, dim=1, edge_order=order)[0],
        st.builds(lambda m, n: [(m, n + 2)], sides, sides),
        st.tuples(st.floats(0.5, 2.0), st.integers(1, 2)),
    ),
    "gradient at coordinates": (
        lambda x, order: np.gradient(x, np.array([0.0, 0.3, 1.0, 1.2, 2.0]), axis=1, edge_order=order),
        lambda t, x, order: t.gradient(
            x, spacing=(t.tensor([0.0, 0.3, 1.0, 1.2, 2.0], dtype=x.dtype),), dim=1, edge_order=order
        )[0],
        st.builds(lambda m: [(m, 5)], sides),
        st.tuples(st.integers(1, 2)),
    ),
    "rot90": (
        lambda x, k: np.rot90(x, k, (0, 2)),
        lambda t, x, k: t.rot90(x, k, (0, 2)),
        st.builds(lambda m, n, p: [(m, n, p)], sides, sides, sides),
        st.tuples(st.integers(-4, 4)),
    ),
    "tile": (
        lambda x, m, n: np.tile(x, (m, n)),
        lambda t, x, m, n: t.tile(x, (m, n)),
        st.builds(lambda n: [(n,)], sides),
        st.tuples(sides, sides),
    ),
    "diagonal": (
        lambda x, k: np.diagonal(x, k, 0, 2),
        lambda t, x, k: t.diagonal(x, k, 0, 2),
        st.builds(lambda m, n, p: [(m, n, p)], sides, sides, sides),
        st.tuples(st.integers(-3, 3)),
    ),
    "diag": (np.diag, lambda t, x, k: t.diag(x, k), st.builds(lambda n: [(n,)], sides), st.tuples(st.integers(-3, 3))),
    "pad by reflection": (
        lambda x, m, n: np.pad(x, ((0, 0), (0, 0), (m, n)), "reflect"),
        lambda t, x, m, n: t.nn.functional.pad(x, (m, n), "reflect"),
        st.builds(lambda m, n: [(m, n, 5)], sides, sides),
        st.tuples(sides, sides),
    ),
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(data=st.data())
def test_values_and_gradients(name: str, data: Any) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs, shapes, arguments = CASES[name]
    args = data.draw(arguments)
    inputs = tuple(samples.real(*shape, k=k) for k, shape in enumerate(data.draw(shapes)))
    leaves, tensors = tracked(inputs), [torch.tensor(x, requires_grad=True) for x in inputs]
    y, z = ours(*leaves, *args), theirs(torch, *tensors, *args)
    assert_close(y.data, z.detach().numpy(), "value", 1e-12)
    u = signed(y.shape)
    z.backward(torch.tensor(u))
    for k, (g, x) in enumerate(zip(autograd.grad(y, leaves, u), tensors, strict=True)):
        assert_close(g.data, x.grad.numpy(), f"gradient of input {k}", 1e-12)
