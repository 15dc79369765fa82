"""Recurrent layers against PyTorch's, with arguments and shapes drawn by hypothesis: outputs, states, all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.differences import assert_close
from tinygrad_bp import nn

pytestmark = pytest.mark.oracle
torch: Any = None
SAME = 1e-12


@pytest.fixture(scope="module", autouse=True)
def pytorch() -> None:
    """PyTorch, imported by the first test that runs and not by collecting them."""
    global torch
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")


def tensors(y: Any) -> list[Any]:
    return [t for part in y for t in tensors(part)] if isinstance(y, (tuple, list)) else [y]


def compare(ours: Any, theirs: Any, x: Any, hx: Any, seed: int) -> None:
    """The same weights, input and states in both; every output, and every gradient of a sum weighted at random."""
    ours.load_state_dict({name: p.detach().numpy() for name, p in theirs.named_parameters()})
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    rng = np.random.default_rng(seed)
    results = []
    for layer, leaf in ((ours, lambda a: bp.Tensor(a, True)), (theirs, lambda a: torch.tensor(a, requires_grad=True))):
        given = [leaf(a) for a in (x, *(hx or ()))]
        states = given[1:]
        y = tensors(layer(given[0], (tuple(states) if len(states) > 1 else states[0]) if states else None))
        if not results:
            weights = [rng.normal(size=t.shape) for t in y]
        as_theirs = torch.tensor if layer is theirs else np.asarray
        sum((t * as_theirs(v)).sum() for t, v in zip(y, weights, strict=True)).backward()
        results.append([*y, *[t.grad for t in (*given, *layer.parameters())]])
    for k, (a, b) in enumerate(zip(*results, strict=True)):
        assert a.shape == tuple(b.shape)
        assert_close(a.detach().numpy(), b.detach().numpy(), f"result {k}", SAME)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["RNN", "LSTM", "GRU"]),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    steps=st.integers(1, 5),
    batch=st.sampled_from([None, 0, 1, 3]),
    num_layers=st.integers(1, 3),
    arguments=st.fixed_dictionaries({name: st.booleans() for name in ("bias", "batch_first", "bidirectional")}),
    nonlinearity=st.sampled_from(["tanh", "relu"]),
    with_states=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_layers(kind, sizes, steps, batch, num_layers, arguments, nonlinearity, with_states, seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    more = {"nonlinearity": nonlinearity} if kind == "RNN" else {}
    theirs = getattr(torch.nn, kind)(*sizes, num_layers=num_layers, dtype=torch.float64, **arguments, **more)
    ours = getattr(nn, kind)(*sizes, num_layers=num_layers, **arguments, **more)
    shape = (steps,) if batch is None else (batch, steps) if arguments["batch_first"] else (steps, batch)
    runs = num_layers * (1 + arguments["bidirectional"])
    states = [
        rng.normal(size=(runs, *([] if batch is None else [batch]), sizes[1])) for _ in range(1 + (kind == "LSTM"))
    ]
    compare(ours, theirs, rng.normal(size=(*shape, sizes[0])), states if with_states else None, seed)


@settings(max_examples=30)
@given(
    kind=st.sampled_from(["RNNCell", "LSTMCell", "GRUCell"]),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    batch=st.sampled_from([None, 0, 1, 3]),
    bias=st.booleans(),
    nonlinearity=st.sampled_from(["tanh", "relu"]),
    with_states=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_cells(kind, sizes, batch, bias, nonlinearity, with_states, seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    more = {"nonlinearity": nonlinearity} if kind == "RNNCell" else {}
    theirs = getattr(torch.nn, kind)(*sizes, bias=bias, dtype=torch.float64, **more)
    ours = getattr(nn, kind)(*sizes, bias=bias, **more)
    shape = () if batch is None else (batch,)
    states = [rng.normal(size=(*shape, sizes[1])) for _ in range(1 + (kind == "LSTMCell"))]
    compare(ours, theirs, rng.normal(size=(*shape, sizes[0])), states if with_states else None, seed)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_first_values_have_the_spread_of_pytorch_s(kind):
    bp.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, kind)(30, 400), getattr(torch.nn, kind)(30, 400)
    for (name, p), (same, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == same
        assert abs(np.abs(p.data).max() / q.detach().abs().max().item() - 1.0) < 0.02
