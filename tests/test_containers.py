"""Containers of arrays: taken apart and put together, and all transforms over them."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp.containers import leaves, like, matched, paths

from .checks import refuses
from .differences import assert_close


class Layer(NamedTuple):
    w: Any
    b: Any


W, B, X = np.array([[0.3, -0.7], [1.1, 0.4]]), np.array([0.2, -0.5]), np.array([0.9, -1.3])
PARAMS = {"layers": [Layer(W, B), Layer(W.T * 0.5, None)], "scale": 1.5}

CONTAINERS = st.recursive(
    st.builds(np.array, st.floats(-2, 2)) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3) | st.tuples(inner)
    ),
    max_leaves=8,
)


# ---- taken apart and put together ------------------------------------------------------------------------------------


@given(CONTAINERS)
def test_put_together_is_what_was_taken_apart(x):
    assert repr(like(x, leaves(x))) == repr(x)
    assert matched("test", x, x) == leaves(x)
    found = [way for way, _ in paths(x)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "x", [1.0, [1.0, 2.0], [[1, 2], [3, 4]], (1.0, 2.0), np.ones(2), bp.ones(2), [np.float64(1.0)]]
)
def test_numbers_are_an_array(x):
    assert leaves(x)[0] is x
    assert len(leaves(x)) == 1


def test_leaves_have_paths():
    assert [way for way, _ in paths(PARAMS)] == [
        "['layers'][0][0]",
        "['layers'][0][1]",
        "['layers'][1][0]",
        "['scale']",
    ]


def test_a_named_tuple_keeps_its_type():
    built = like(PARAMS, range(4))
    assert built == {"layers": [Layer(0, 1), Layer(2, None)], "scale": 3}
    assert type(built["layers"][0]) is Layer


def test_keys_are_matched_by_name():
    assert matched("f", {"a": X, "b": W}, {"b": 1.0, "a": 2.0}) == [2.0, 1.0]


@pytest.mark.parametrize(
    ("x", "given", "message"),
    [
        ({"a": X}, X, "f: got one array for a dict of 'a'. Pass a container of the same structure."),
        ({"a": X}, {"b": X}, "f: got a dict of 'b' for a dict of 'a'."),
        ({"a": X}, {"a": X, "b": X}, "f: got a dict of 'a', 'b' for a dict of 'a'."),
        ({"a": [X, X]}, {"a": [X]}, "f['a']: got a list of 1 for a list of 2."),
        ([X, X], {"a": X, "b": X}, "f: got a dict of 'a', 'b' for a list of 2."),
        ([X], None, "f: got None for a list of 1."),
    ],
)
def test_other_structures_are_refused(x, given, message):
    with refuses(ValueError, message):
        matched("f", x, given)


# ---- transforms over containers --------------------------------------------------------------------------------------


def loss(params: Any, x: Any) -> Any:
    for layer in params["layers"]:
        x = np.tanh(layer.w @ x + (0.0 if layer.b is None else layer.b))
    return (x * params["scale"]).sum()


def flat(x: Any) -> Any:
    return np.concatenate([np.ravel(leaf.data if isinstance(leaf, bp.Tensor) else leaf) for leaf in leaves(x)])


def unflat(vector: Any, x: Any) -> Any:
    ends = np.cumsum([np.size(leaf) for leaf in leaves(x)])[:-1]
    if isinstance(vector, bp.Tensor):
        ends = [0, *ends.tolist(), vector.size]
        pieces = [vector[a:b] for a, b in zip(ends[:-1], ends[1:])]
    else:
        pieces = np.split(vector, ends)
    return like(x, [piece.reshape(np.shape(leaf)) for piece, leaf in zip(pieces, leaves(x))])


def on_vector(vector: Any) -> Any:
    return loss(unflat(vector, PARAMS), X)


V = np.linspace(-1.0, 1.0, flat(PARAMS).size)


def test_gradients_have_the_structure_of_the_argument():
    value, found = bp.value_and_grad(loss)(PARAMS, X)
    assert value.item() == loss(PARAMS, X)
    assert [g.shape for g in leaves(found)] == [np.shape(x) for x in leaves(PARAMS)]
    assert type(found["layers"][1]) is Layer
    assert found["layers"][1].b is None
    assert_close(flat(found), bp.grad(on_vector)(flat(PARAMS)).data, "gradient", 1e-14)
    both = bp.grad(loss, (0, 1))(PARAMS, X)
    assert_close(flat(both[0]), flat(found), "of both", 0.0)
    assert both[1].shape == X.shape


def test_hessians_are_blocks_within_blocks():
    blocks = bp.hessian(loss)(PARAMS, X)
    inner = blocks["layers"][0].w["layers"][1].w
    assert inner.shape == (2, 2, 2, 2)
    whole = bp.hessian(on_vector)(flat(PARAMS)).data
    rows = [
        np.concatenate([b.data.reshape(np.size(a), -1) for b in leaves(row)], 1)
        for a, row in zip(leaves(PARAMS), _rows(blocks))
    ]
    assert_close(np.concatenate(rows), whole, "hessian", 1e-14)


def _rows(blocks: Any) -> list[Any]:
    """The values of a container of containers, of the outer structure."""
    layers = blocks["layers"]
    return [layers[0].w, layers[0].b, layers[1].w, blocks["scale"]]


def test_products_with_the_hessian_and_the_jacobian():
    whole = bp.hessian(on_vector)(flat(PARAMS)).data
    found = bp.hvp(lambda params: loss(params, X), PARAMS, unflat(V, PARAMS))
    assert_close(flat(found), whole @ V, "hvp", 1e-14)
    y, dy = bp.jvp(lambda params: loss(params, X), PARAMS, unflat(V, PARAMS))
    assert y.item() == loss(PARAMS, X)
    assert_close(dy.item(), bp.grad(on_vector)(flat(PARAMS)).data @ V, "jvp", 1e-14)


def test_results_may_be_containers():
    def f(a: Any, b: Any) -> Any:
        return {"product": a * b, "sums": [a.sum(), 3.0, None], "b": b}

    y, pull = bp.vjp(f, X, B)
    assert y["sums"][2] is None
    da, db = pull({"product": np.ones(2), "sums": [2.0, 5.0, None], "b": B})
    assert_close(da.data, B + 2.0, "da", 0.0)
    assert_close(db.data, X + B, "db", 0.0)
    jacobian = bp.jacobian(f)(X, B)
    assert jacobian["product"].tolist() == np.diag(B).tolist()
    assert [g.tolist() for g in jacobian["sums"][:2]] == [[1.0, 1.0], [0.0, 0.0]]
    _, dy = bp.jvp(f, (X, B), (np.ones(2), np.zeros(2)))
    assert_close(dy["product"].data, B, "dy", 0.0)
    assert dy["sums"][0].item() == 2.0
    assert dy["b"].tolist() == [0.0, 0.0]


# ---- jvp and hvp -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_along_a_direction_nest(order):
    """d^n/dt^n of sin(x + t v) by jvp in jvp."""

    def derived(n: int, x: Any) -> Any:
        return np.sin(x) if n == 0 else bp.jvp(lambda x: derived(n - 1, x), x, np.array([1.0, 2.0]))[1]

    wanted = [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)][order](X) * np.array([1.0, 2.0]) ** order
    assert_close(derived(order, X).data, wanted, "derivative", 1e-14)


def test_jvp_and_hvp_are_differentiable_in_all_they_are_given():
    x, v = bp.tensor(X, requires_grad=True), bp.tensor(B, requires_grad=True)
    scale = bp.tensor(2.0, requires_grad=True)
    for call, dx, dv in (
        (lambda: bp.jvp(lambda x: scale * x**3, x, v)[1], 12.0 * X * B, 6.0 * X**2),
        (lambda: bp.hvp(lambda x: (scale * x**3).sum(), x, v), 12.0 * B, 12.0 * X),
    ):
        y = call()
        found = bp.autograd.grad(y.sum(), [x, v, scale])
        assert_close(found[0].data, dx, "dx", 1e-14)
        assert_close(found[1].data, dv, "dv", 1e-14)
        assert_close(found[2].data, y.data.sum() / 2.0, "dscale", 1e-14)


def test_jvp_and_hvp_leave_nothing_behind():
    x = bp.tensor(X, requires_grad=True)
    for result in (bp.jvp(np.sin, X, B)[1], bp.hvp(lambda x: (x**3).sum(), X, B)):
        assert not result.requires_grad
    with bp.no_grad():
        assert not bp.jvp(np.sin, x, B)[1].requires_grad
        assert_close(bp.hvp(lambda x: (x**3).sum(), x, B).data, 6.0 * X * B, "hvp", 1e-15)
    assert x.grad is None


def test_an_ordered_dict_stays_one():
    for kind in (OrderedDict, lambda **parts: defaultdict(list, parts)):
        x = kind(b=X, a=B)
        found = bp.grad(lambda p: (p["a"] * p["b"]).sum())(x)
        assert type(found) is type(x)
        assert list(found) == ["b", "a"]
        assert found["a"].tolist() == X.tolist()
        assert x["b"] is X


def test_a_tuple_of_numbers_or_lists_holds_the_arguments():
    def f(a, b):
        return (a * a * b).sum()

    y, dy = bp.jvp(f, (2.0, 3.0), (1.0, 10.0))
    assert [y.item(), dy.item()] == [12.0, 52.0]
    assert [h.item() for h in bp.hvp(f, (2.0, 3.0), (1.0, 10.0))] == [46.0, 4.0]
    assert bp.jvp(f, ([1.0, 2.0], [3.0, 4.0]), ([1.0, 0.0], [0.0, 1.0]))[1].item() == 10.0
    of_a, of_b = bp.hvp(f, ([1.0, 2.0], bp.tensor([3.0, 4.0])), [[1.0, 0.0], np.zeros(2)])
    assert [of_a.tolist(), of_b.tolist()] == [[6.0, 0.0], [2.0, 0.0]]


def test_the_derivative_of_integers_is_zero():
    y, dy = bp.jvp(lambda x: {"y": 2.0 * x, "n": np.argmax(x), "b": x > 0}, X, B)
    assert y["n"].item() == np.argmax(X)
    assert [dy["y"].tolist(), dy["n"].tolist(), dy["b"].tolist()] == [(2.0 * B).tolist(), 0.0, [0.0, 0.0]]


def test_what_does_not_depend_on_the_argument_has_zeros():
    assert bp.jvp(lambda x: np.ones(3), X, B)[1].tolist() == [0.0, 0.0, 0.0]
    assert bp.hvp(lambda x: x.sum(), X, B).tolist() == [0.0, 0.0]
    assert bp.hvp(lambda a, b: (a * a).sum(), (X, B), (B, B))[1].tolist() == [0.0, 0.0]


def test_vectors_that_do_not_fit_are_refused():
    for name, call in (("jvp", bp.jvp), ("hvp", bp.hvp)):
        with refuses(ValueError, f"{name}: the vector has shape (3,), not (2,). Pass one of that shape."):
            call(np.sum, X, np.ones(3))
        with refuses(ValueError, f"{name}: the vector ['w'] has shape (1,), not (2,). Pass one of that shape."):
            call(lambda p: p["w"].sum(), {"w": X}, {"w": np.ones(1)})
        with refuses(ValueError, f"{name}: got one array for a tuple of 2. Pass a container of the same structure."):
            call(lambda a, b: a.sum(), (X, B), X)
        with refuses(TypeError, f"{name}: argument 0['n'] has dtype int64. Pass floats, such as 2.0."):
            call(lambda p: p["n"].sum(), {"n": np.arange(2)}, {"n": X})
        with refuses(TypeError, f"{name}: the vector ['w']: dtype <U1 is not offered. Pass real numbers or bools."):
            call(lambda p: p["w"].sum(), {"w": X}, {"w": "a"})
        with refuses(TypeError, f"{name}: got a float, not a function."):
            call(1.0, X, X)
