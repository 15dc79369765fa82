"""Attention and the encoder equal PyTorch's: values, weights, and gradients by all inputs, masks and parameters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.differences import assert_close
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:Support for mismatched .*mask:UserWarning", "ignore:enable_nested_tensor"),
]
torch = None
SAME = 1e-12
sizes, flags = st.integers(1, 5), st.booleans()
seeds = st.integers(0, 999).map(np.random.default_rng)


@pytest.fixture(autouse=True, scope="module")
def pytorch():
    global torch
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")


def a_mask(rng, kind, *shape, keep_first=True):
    """What PyTorch's layers take: bools, True is left out; or floats to add, some of them -inf. The first key stays."""
    if kind is None:
        return None
    out = rng.random(shape) < 0.4
    if keep_first:
        out[..., 0] = False
    return out if kind == "bool" else np.where(out, -np.inf, rng.normal(size=shape))


kinds = st.sampled_from([None, "bool", "float"])


def gradients(run, inputs, parameters=()):
    """Ours: the results of `run`, then the gradients of a fixed combination of them by inputs and parameters."""
    leaves = [bp.Tensor(x, requires_grad=True) if x is not None and x.dtype.kind == "f" else x for x in inputs]
    results = [y for y in run(*leaves) if y is not None]
    total = sum((y * np.cos(np.arange(y.size)).reshape(y.shape)).sum() for y in results)
    wanted = [x for x in leaves if isinstance(x, bp.Tensor)] + list(parameters)
    return [y.data for y in (*results, *bp.autograd.grad(total, wanted))]


def pytorchs(run, inputs, parameters=()):
    leaves = [None if x is None else torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    results = [y for y in run(*leaves) if y is not None]
    total = sum((y * torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)).sum() for y in results)
    wanted = [x for x in leaves if x is not None and x.requires_grad] + list(parameters)
    return [y.detach().numpy() for y in (*results, *torch.autograd.grad(total, wanted))]


def assert_same(ours, theirs):
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert_close(a, b, f"result or gradient {k}", SAME)


@given(
    seeds,
    st.sampled_from([((), (), ()), ((2,), (2,), (2,)), ((2, 3), (2, 3), (2, 3)), ((2, 1), (1, 3), (2, 3))]),
    *[sizes] * 4,
    st.one_of(kinds, st.just("causal")),
    flags,
    st.sampled_from([None, 0.3]),
)
def test_scaled_dot_product_attention(rng, batches, queries, keys, width, features, kind, of_each, scale):
    q, k, v = (
        rng.normal(size=(*batch, *shape))
        for batch, shape in zip(batches, ((queries, width), (keys, width), (keys, features)))
    )
    batch = np.broadcast_shapes(*batches) if of_each else ()
    is_causal = kind == "causal"
    mask = None if is_causal else a_mask(rng, kind, *batch, queries, keys, keep_first=False)
    mask = ~mask if kind == "bool" else mask
    settings = {"is_causal": is_causal, "scale": scale}

    def run(function):
        return lambda q, k, v, mask: [function(q, k, v, mask, **settings)]

    theirs = run(torch.nn.functional.scaled_dot_product_attention)
    assert_same(gradients(run(F.scaled_dot_product_attention), (q, k, v, mask)), pytorchs(theirs, (q, k, v, mask)))


def twins(name, *args, **settings):
    """A layer of ours and one of PyTorch's, which learns ours' parameters by their names."""
    theirs = getattr(torch.nn, name)(*args, **settings, dtype=torch.float64)
    ours = getattr(nn, name)(*args, **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_(std=0.5)
    ours.load_state_dict({name: p.numpy() for name, p in theirs.state_dict().items()})
    return ours, theirs


def on_both(layers, run, inputs):
    ours, theirs = layers
    assert_same(
        gradients(lambda *xs: run(ours, *xs), inputs, ours.parameters()),
        pytorchs(lambda *xs: run(theirs, *xs), inputs, theirs.parameters()),
    )


@settings(max_examples=50)
@given(st.data(), seeds, *[sizes] * 5, *[flags] * 6)
def test_multihead_attention(
    data, rng, heads, width, batch, queries, keys, bias, batch_first, batched, itself, need_weights, average
):
    embed = heads * width
    widths = [embed] * 3 if itself else [embed, data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))]
    keys = queries if itself else keys
    attention, padding = data.draw(kinds), data.draw(kinds)
    torch.manual_seed(0)
    layers = twins(
        "MultiheadAttention", embed, heads, bias=bias, kdim=widths[1], vdim=widths[2], batch_first=batch_first
    )
    shapes = [(length, n) for length, n in zip((queries, keys, keys), widths)]
    if batched:
        shapes = [(batch, *shape) if batch_first else (shape[0], batch, shape[1]) for shape in shapes]
    each = (heads * (batch if batched else 1),) if data.draw(flags) else ()
    masks = a_mask(rng, attention, *each, queries, keys), a_mask(rng, padding, *[batch] * batched, keys)

    def run(layer, *inputs):
        *xs, attn_mask, key_padding_mask = inputs
        xs = xs if len(xs) > 1 else xs * 3
        return layer(*xs, key_padding_mask, need_weights, attn_mask, average)

    on_both(layers, run, [rng.normal(size=shape) for shape in shapes[: 1 if itself else 3]] + list(masks))


def test_queries_that_no_key_is_left_for_change_nothing():
    """PyTorch gives nan where it also returns the weights, and this where it does not."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    out = np.array([[True, True, True], [False, True, False]])
    layers = twins("MultiheadAttention", 4, 2, batch_first=True)
    on_both(layers, lambda layer, x, out: layer(x, x, x, out, need_weights=False), [rng.normal(size=(2, 3, 4)), out])


@given(seeds, sizes, sizes, kinds, flags, flags, flags, flags, st.sampled_from(["relu", "gelu", "tanh"]))
@settings(max_examples=25)
def test_transformer_encoder_layer(rng, batch, length, kind, padded, batch_first, norm_first, bias, activation):
    torch.manual_seed(0)
    ours, theirs = twins(
        "TransformerEncoderLayer", 6, 2, 5, 0.0, activation="gelu" if activation == "tanh" else activation,
        layer_norm_eps=1e-4, batch_first=batch_first, norm_first=norm_first, bias=bias,
    )  # fmt: skip
    if activation == "tanh":  # a function instead of a name
        ours.activation, theirs.activation = F.tanh, torch.tanh
    x = rng.normal(size=(batch, length, 6) if batch_first else (length, batch, 6))
    masks = a_mask(rng, kind, length, length), a_mask(rng, "bool" if padded else None, batch, length)
    on_both((ours, theirs), lambda layer, x, mask, padding: [layer(x, mask, padding)], [x, *masks])


def test_transformer_encoder():
    torch.manual_seed(0)
    mine, other = twins("TransformerEncoderLayer", 4, 2, 3, 0.0, batch_first=True)
    ours = nn.TransformerEncoder(mine, 2, nn.LayerNorm(4))
    theirs = torch.nn.TransformerEncoder(other, 2, torch.nn.LayerNorm(4, dtype=torch.float64))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    on_both((ours, theirs), lambda layer, x, mask: [layer(x, mask)], [x, np.triu(np.ones((3, 3), bool), 1)])
