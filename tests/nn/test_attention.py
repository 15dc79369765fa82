"""Attention, and the encoder of the transformer: what masks and settings mean, second derivatives, errors."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.checks import refuses
from tests.differences import close
from tinygrad_bp import nn
from tinygrad_bp.nn import functional as F


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(autouse=True)
def seeded():
    bp.manual_seed(0)


# ---- the function ----------------------------------------------------------------------------------------------------

Q, K, V = normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 6, seed=2)


def test_attention_is_the_mean_of_the_values_where_all_keys_are_alike():
    alike = np.ones((2, 5, 4))
    assert close(F.scaled_dot_product_attention(Q, alike, V), V.mean(1, keepdims=True) + np.zeros((2, 3, 6)), 1e-15)


def test_arrays_give_an_array_and_tensors_of_float32_one_of_float32():
    assert type(F.scaled_dot_product_attention(Q, K, V)) is np.ndarray
    q, k, v = (bp.Tensor(x.astype(np.float32), requires_grad=True) for x in (Q, K, V))
    for mask in (None, np.ones((3, 5), bool), np.zeros((3, 5))):
        y = F.scaled_dot_product_attention(q, k, v, mask)
        assert y.dtype == np.float32
        assert {g.dtype for g in bp.autograd.grad(y.sum(), (q, k, v))} == {np.dtype(np.float32)}


def test_a_mask_of_bools_or_of_infinities_leaves_keys_out():
    some = np.array([True, False, True, True, False])
    expected = F.scaled_dot_product_attention(Q, K[:, some], V[:, some])
    assert close(F.scaled_dot_product_attention(Q, K, V, some), expected, 1e-15)
    assert close(F.scaled_dot_product_attention(Q, K, V, np.where(some, 0.0, -np.inf)), expected, 1e-15)
    assert close(F.scaled_dot_product_attention(Q, K, V, some.tolist()), expected, 1e-15)
    assert close(F.scaled_dot_product_attention(Q, K, V, bp.Tensor(some)), expected, 1e-15)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("masks", [lambda mask: mask, lambda mask: np.where(mask, 0.0, -np.inf)])
def test_a_query_without_keys_gets_zeros_and_gives_zeros(masks):
    mask = np.ones((2, 3, 5), bool)
    mask[0, 1] = False
    leaves = [bp.Tensor(x, requires_grad=True) for x in (Q, K, V, normal(3, 5) * 0.0)]
    y = F.scaled_dot_product_attention(*leaves[:3], leaves[3] + masks(mask) if masks(mask).dtype == float else mask)
    assert (y.data[0, 1] == 0).all()
    y.sum().backward()
    assert (leaves[0].grad.data[0, 1] == 0).all()
    assert all(np.isfinite(x.grad.data).all() for x in leaves if x.grad is not None)
    assert leaves[1].grad.data.any()


def test_no_queries_and_no_keys():
    assert F.scaled_dot_product_attention(Q[:, :0], K, V).shape == (2, 0, 6)
    assert (F.scaled_dot_product_attention(Q, K[:, :0], V[:, :0]) == np.zeros((2, 3, 6))).all()


def test_large_scores_do_not_overflow():
    assert close(F.scaled_dot_product_attention(1e150 * np.eye(2), 1e150 * np.eye(2), np.eye(2)), np.eye(2), 0.0)


def test_causal_is_a_mask():
    for keys in (2, 5):  # fewer than queries, and more
        k, v = K[:, :keys], V[:, :keys]
        expected = F.scaled_dot_product_attention(Q, k, v, np.tri(3, keys, dtype=bool))
        assert (F.scaled_dot_product_attention(Q, k, v, is_causal=True) == expected).all()


def test_scale():
    expected = F.scaled_dot_product_attention(3.0 * Q, K, V)
    assert close(F.scaled_dot_product_attention(Q, K, V, scale=1.5), expected, 1e-15)
    assert close(F.scaled_dot_product_attention(Q, K, V, scale=0)[:, 0], V.mean(1), 1e-15)


def test_dropout_of_weights():
    assert (F.scaled_dot_product_attention(Q, K, V, dropout_p=1.0) == 0).all()
    weights = F.scaled_dot_product_attention(np.zeros((100, 4)), np.zeros((10, 4)), np.eye(10), dropout_p=0.2)
    assert set(np.round(np.unique(weights), 12)) == {0.0, 0.125}  # 1/10, or that over 0.8
    assert 0.15 < (weights == 0).mean() < 0.25


def test_second_derivatives_by_inputs_and_mask():
    def attention(q, k, v, mask):
        return F.scaled_dot_product_attention(q, k, v, mask)

    assert bp.gradcheck(attention, Q[0], K[0], V[0], normal(3, 5, seed=3), order=2).status == "PASS"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Q, K[..., :3], V), ValueError, "query (2, 3, 4) has 4 features, key (2, 5, 3) has 3. Give both as many"),
        ((Q[..., :0], K[..., :0], V), ValueError, "query (2, 3, 0) has 0 features, key (2, 5, 0) has 0."),
        ((Q, K, V[:, :4]), ValueError, "key (2, 5, 4) has length 5, value (2, 4, 6) has 4. Pass one value for each"),
        ((Q[0, 0], K, V), ValueError, "query (4,), key (2, 5, 4), value (2, 5, 6). Give each the axes (..., length"),
        ((normal(3, 3, 4), K, V), ValueError, "batches of query (3, 3, 4), key (2, 5, 4), value (2, 5, 6) do not"),
        ((Q, K, V, np.ones((3, 4), bool)), ValueError, "attn_mask has shape (3, 4), the scores (2, 3, 5). Pass a mask"),
        ((Q, K, V, np.ones((4, 2, 3, 5))), ValueError, "attn_mask has shape (4, 2, 3, 5), the scores (2, 3, 5)."),
        ((Q, K, V, np.ones((3, 5), int)), TypeError, "attn_mask has dtype int64. Pass bools, or floats to add"),
        ((Q, K, V, {}), TypeError, "the attn_mask is a dict. Pass a Tensor, an array or a list of numbers."),
        ((Q, K, V, None, 1.5), ValueError, "dropout_p is 1.5. Pass a number from 0 to 1."),
        ((Q, K, V, None, np.nan), ValueError, "dropout_p is nan. Pass a number from 0 to 1."),
        ((Q, K, V, np.ones(5, bool), 0.0, True), ValueError, "attn_mask and is_causal=True are both given. Pass one"),
        ((Q, K, "v"), TypeError, "the value is a str. Pass a Tensor, an array or a list of numbers."),
    ],
)
def test_what_the_function_refuses(arguments, error, message):
    with refuses(error, f"scaled_dot_product_attention: {message}"):
        F.scaled_dot_product_attention(*arguments)


# ---- the layer -------------------------------------------------------------------------------------------------------


def test_the_parameters_begin_as_pytorchs():
    layer = nn.MultiheadAttention(60, 3)
    bound = np.sqrt(6.0 / (180 + 60))
    assert layer.in_proj_weight.shape == (180, 60)
    assert 0.99 * bound < np.abs(layer.in_proj_weight.data).max() <= bound
    assert not layer.in_proj_bias.data.any()
    assert not layer.out_proj.bias.data.any()
    assert np.abs(layer.out_proj.weight.data).max() <= 1 / np.sqrt(60)
    other = nn.MultiheadAttention(4, 2, kdim=3, vdim=5, bias=False, dtype=np.float32)
    names = ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]
    assert [(name, p.shape, p.dtype) for name, p in other.named_parameters()] == [
        (name, (4, n), np.float32) for name, n in zip(names, (4, 3, 5, 4))
    ]


def test_a_batch_is_its_samples_one_by_one_whichever_axis_it_has():
    first = nn.MultiheadAttention(4, 2, batch_first=True)
    second = nn.MultiheadAttention(4, 2)
    second.load_state_dict(first.state_dict())
    k = normal(2, 5, 4, seed=1)
    y, weights = first(Q, k, k)
    turned, same = second(*(x.swapaxes(0, 1) for x in (Q, k, k)))
    assert close(turned.data.swapaxes(0, 1), y.data, 1e-15)
    assert close(same.data, weights.data, 1e-15)
    for i in range(2):
        one, of_one = second(Q[i], k[i], k[i])
        assert close(one.data, y.data[i], 1e-15)
        assert close(of_one.data, weights.data[i], 1e-15)


def test_weights():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    assert layer(Q, Q, Q, need_weights=False)[1] is None
    assert layer(Q[0], Q[0], Q[0], need_weights=False)[1] is None
    of_heads, mean = layer(Q, Q, Q, average_attn_weights=False)[1], layer(Q, Q, Q)[1]
    assert of_heads.shape == (2, 2, 3, 3)
    assert close(of_heads.data.mean(1), mean.data, 1e-15)
    assert close(mean.data.sum(-1), np.ones((2, 3)), 1e-15)
    assert layer(Q[0], Q[0], Q[0], average_attn_weights=False)[1].shape == (2, 3, 3)


def test_true_in_a_mask_leaves_a_key_out():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    out = np.array([[False, True, False], [True, True, False]])
    weights = layer(Q, Q, Q, out)[1].data
    assert ((weights == 0) == np.broadcast_to(out[:, None], (2, 3, 3))).all()
    above = np.triu(np.ones((3, 3), bool), 1)
    both = layer(Q, Q, Q, out, attn_mask=above)[1].data
    assert ((both == 0) == (out[:, None] | above)).all()
    added = np.where(out, -np.inf, 0.0), np.where(above, -np.inf, 0.0)
    for padding, mask in [(out, added[1]), (added[0], above), added]:
        assert (layer(Q, Q, Q, padding, attn_mask=mask)[1].data == both).all()
    assert (layer(Q, Q, Q, out, is_causal=True)[1].data == both).all()
    assert (layer(Q, Q, Q, out, attn_mask=above, is_causal=True)[1].data == both).all()


def test_dropout_in_training_only():
    layer = nn.MultiheadAttention(4, 2, 1.0, batch_first=True)
    assert not layer(Q, Q, Q)[0].data.any()
    assert layer.eval()(Q, Q, Q)[0].data.any()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ((6, 4), ValueError, "embed_dim 6 is no multiple of num_heads 4. Pass a divisor."),
        ((0, 1), ValueError, "embed_dim is 0. Pass numbers >= 1."),
        ((4, 0), ValueError, "num_heads is 0. Pass numbers >= 1."),
        ((4, 2.0), TypeError, "num_heads is 2.0. Pass an integer."),
        ((4, 2, 1.1), ValueError, "dropout is 1.1. Pass a number from 0 to 1."),
        ((4, 2, -0.1), ValueError, "dropout is -0.1. Pass a number from 0 to 1."),
    ],
)
def test_settings_that_are_refused(settings, error, message):
    with refuses(error, f"MultiheadAttention: {message}"):
        nn.MultiheadAttention(*settings)


X = normal(3, 2, 4)  # length 3, batch 2


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((X[0, 0], X, X), ValueError, "query (4,), key (3, 2, 4), value (3, 2, 4). Pass all as (length, batch, feat"),
        ((X, X[0], X[0]), ValueError, "query (3, 2, 4), key (2, 4), value (2, 4). Pass all as (length, batch, feat"),
        ((X[..., :3], X, X), ValueError, "query (3, 2, 3) has 3 features, the layer expects 4."),
        ((X, X, X[..., :1]), ValueError, "value (3, 2, 1) has 1 features, the layer expects 4."),
        ((X, X, X[:2]), ValueError, "key (3, 2, 4) and value (2, 2, 4) differ in length or batch."),
        ((X, X[:, :1], X[:, :1]), ValueError, "query (3, 2, 4) is a batch of 2, key (3, 1, 4) of 1. Pass as many."),
        ((X, X, X, np.ones((3, 2), bool)), ValueError, "key_padding_mask has shape (3, 2). Pass (2, 3) for these"),
        ((X, X, X, None, True, np.ones((2, 3), bool)), ValueError, "attn_mask has shape (2, 3). Pass (3, 3) or (4, 3"),
        ((X, X, X, np.ones((2, 3), int)), TypeError, "key_padding_mask has dtype int64. Pass bools, or floats to add"),
        ((X[0], X[0], X[0], np.ones((1, 2), bool)), ValueError, "key_padding_mask has shape (1, 2). Pass (2,) for"),
        ((X, X, None), TypeError, "the value is a NoneType. Pass a Tensor"),
    ],
)
def test_inputs_that_are_refused(inputs, error, message):
    with refuses(error, f"MultiheadAttention: {message}"):
        nn.MultiheadAttention(4, 2)(*inputs)


# ---- the encoder -----------------------------------------------------------------------------------------------------


def test_the_encoder_layer_drops_out_in_training_only():
    layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=1.0, norm_first=True)
    assert (layer(X).data == X).all()  # what is added to it is left out
    assert (layer.eval()(X).data != X).any()


def test_the_causal_encoder_sees_nothing_to_come():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 5, activation="gelu"), 2).eval()
    later = X + np.array([0.0, 0.0, 1.0])[:, None, None]
    seen = np.abs(encoder(later, is_causal=True).data - encoder(X, is_causal=True).data).max((1, 2)) > 0
    assert seen.tolist() == [False, False, True]
    padded = encoder(later, src_key_padding_mask=np.array([[False, False, True]] * 2)).data[:2]
    assert close(padded, encoder(X[:2]).data, 1e-14)


def test_the_layers_of_an_encoder_begin_alike_and_are_trained_apart():
    layer = nn.TransformerEncoderLayer(4, 2, 5)
    encoder = nn.TransformerEncoder(layer, 2)
    first, second = encoder.layers
    assert len(list(encoder.parameters())) == 24
    assert (first.linear1.weight.data == layer.linear1.weight.data).all()
    (encoder(X) ** 3).sum().backward()
    assert layer.linear1.weight.grad is None
    assert (first.linear1.weight.grad.data != second.linear1.weight.grad.data).any()


def test_what_the_encoder_refuses():
    with refuses(ValueError, """TransformerEncoderLayer: activation is 'rely'. Choose "relu" or "gelu", or pass a"""):
        nn.TransformerEncoderLayer(4, 2, activation="rely")
    with refuses(ValueError, "TransformerEncoder: num_layers is 0. Pass numbers >= 1."):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 0)
