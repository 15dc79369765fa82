"""The strategies draw what they promise, shrink to small examples, and serve an annotation once installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp.checking import hypothesis_hook, strategies

hypothesis_hook.register()  # as hypothesis does itself where the package is installed

# ---- what is drawn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        lambda a: a.shape == (),
        lambda a: a.shape == (0,),
        lambda a: a.ndim == 3 and a.size == 0,
        lambda a: a.dtype == np.float32,
        lambda a: a.dtype == np.float64,
        lambda a: a.flags.f_contiguous and not a.flags.c_contiguous,
        lambda a: not a.flags.forc and all(stride > 0 for stride in a.strides) and a.flags.writeable,
        lambda a: a.size > 1 and any(stride < 0 for stride in a.strides),
        lambda a: a.size > 1 and 0 in a.strides,
        lambda a: a.flags.c_contiguous and not a.flags.writeable,
        lambda a: a.size and bool((np.signbit(a) & (a == 0)).any()),
        lambda a: a.size and bool((a == 0.5).any()) and bool((a == -1).any()),
        lambda a: a.size and bool(((a > 0) & (a < 1e-6)).any()),
        lambda a: a.size and bool(((a != 1) & (abs(a - 1) < 2e-7)).any()),
        lambda a: a.size > 1 and len(np.unique(a)) < a.size and 0 not in a.strides,
        lambda a: a.size > 1 and bool((abs(np.diff(np.unique(a))) < 2e-7).any()),
        lambda a: a.size and bool((abs(a) > 1.5).any()),
    ],
)
def test_arrays_include(wanted):
    found = find(strategies.arrays(), lambda a: bool(wanted(a)), settings=settings(max_examples=5000))
    assert found.size <= 12


@given(strategies.arrays())
def test_arrays_are_float_arrays_with_finite_values(a):
    assert type(a) is np.ndarray
    assert a.dtype in (np.float64, np.float32)
    assert np.isfinite(a).all()
    assert (abs(a) <= 4).all()
    assert a.ndim <= 3
    assert all(n <= 4 for n in a.shape)


@given(st.data(), strategies.array_shapes())
def test_layouts_keep_shape_dtype_and_values(data, shape):
    a = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    b = data.draw(strategies.layouts())(a)
    assert type(b) is np.ndarray
    assert (b.shape, b.dtype) == (a.shape, a.dtype)
    assert not np.shares_memory(a, b) or 0 in b.strides
    assert np.array_equal(a, b) or (0 in b.strides and np.array_equal(b, np.broadcast_to(a[:1], shape)))


@given(strategies.arrays(np.float32, (2, 3), elements=strategies.floats(0.5, 1.0, dtype=np.float32)))
def test_arrays_take_dtype_shape_and_elements(a):
    assert (a.dtype, a.shape) == (np.float32, (2, 3))
    assert ((a >= 0.5) & (a <= 1.0)).all()


@given(strategies.array_shapes(min_dims=1, max_dims=2, min_side=2, max_side=3))
def test_shapes_take_their_bounds(shape):
    assert len(shape) in (1, 2)
    assert set(shape) <= {2, 3}


@given(strategies.mutually_broadcastable_arrays())
def test_pairs_broadcast(pair):
    a, b = pair
    assert (a + b).shape == np.broadcast_shapes(a.shape, b.shape)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda a, b: len(a) == len(b) == 3 and 0 in a and 0 in b and any(m == 1 < n for m, n in zip(a, b)),
        lambda a, b: len(a) == len(b) == 2 and a[0] == b[1] == 1 and a[1] > 1 and b[0] > 1,
        lambda a, b: a == () and b == (2,),
        lambda a, b: a == (3,) and b == (2, 3),
        lambda a, b: a == (1,) and b == (0,),
    ],
)
def test_pairs_include(wanted):
    find(strategies.mutually_broadcastable_shapes(), lambda drawn: wanted(*drawn.input_shapes))


@given(strategies.mutually_broadcastable_shapes(3, min_dims=1, max_dims=2, min_side=2, max_side=3))
def test_shapes_of_a_pair_take_their_bounds(drawn):
    assert {len(shape) for shape in drawn.input_shapes} <= {1, 2}
    assert {n for shape in drawn.input_shapes for n in shape} <= {2, 3}


def test_three_arrays_broadcast():
    a, b, c = find(strategies.mutually_broadcastable_arrays(3), lambda drawn: len({x.shape for x in drawn}) == 3)
    assert np.broadcast_shapes(a.shape, b.shape, c.shape) == (a + b + c).shape


@pytest.mark.parametrize("requires_grad", [True, False])
def test_tensors_require_grad_as_asked(requires_grad):
    x = find(strategies.tensors(np.float32, (2,), requires_grad=requires_grad), lambda x: True)
    assert isinstance(x, bp.Tensor)
    assert (x.requires_grad, x.shape, x.dtype) == (requires_grad, (2,), np.float32)


# ---- a gradient that is wrong shrinks to its smallest input ----------------------------------------------------------


def test_a_wrong_slope_at_a_tie_shrinks_to_two_equal_numbers():
    def both_get_all(pair):
        a, b = (bp.Tensor(x, requires_grad=True) for x in pair)
        np.maximum(a, b).sum().backward()
        return bool((a.grad.data.sum() == b.grad.data.sum() == 0.5) and a.shape == b.shape == ())

    a, b = find(strategies.mutually_broadcastable_arrays(2), both_get_all, settings=settings(max_examples=5000))
    assert a == b == 0


# ---- by annotation ---------------------------------------------------------------------------------------------------


@given(x=...)
def test_an_annotation_is_enough(x: bp.Tensor):
    assert isinstance(x, bp.Tensor)
    assert x.requires_grad


def test_from_type_and_collections_of_tensors():
    assert isinstance(find(st.from_type(bp.Tensor), lambda x: x.ndim == 2), bp.Tensor)
    assert find(st.from_type(list[bp.Tensor]), lambda xs: len(xs) == 2)[1].requires_grad
