"""Rows on shapes, axes, indices, dtypes and memory layouts that hypothesis draws: what nobody thought of writing down.

The checks are those of the table test; a drawn shape is filled from the domain that `samples.py` gives the row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygrad_bp import Tensor, ops

from . import references, samples
from .checks import check_order_1, check_order_2, pull, signed
from .differences import assert_close
from .samples import S, Sample
from .test_table import EXACT, LAYOUTS, SINGLE

ROWS = {row.name: row for row in ops.TABLE}
shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
full_shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)
dtypes = st.sampled_from([np.float64, np.float32])
layouts = st.sampled_from([np.array, *LAYOUTS])


def named(family: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name in family if ROWS[name].differentiable])


def check(call: Callable[..., Any], reference: Callable[..., Any], sample: Sample) -> None:
    """Forward, order 1, order 2."""
    y = call(*[Tensor(x) for x in sample.inputs], **sample.params)
    expected = np.asarray(reference(*sample.inputs, **sample.params))
    assert y.dtype == expected.dtype
    assert_close(y.data, expected, "forward", EXACT)
    check_order_1(call, sample)
    check_order_2(call, sample)


def check_dtype_and_layout(call: Callable[..., Any], sample: Sample, dtype: Any, layout: Callable[[Any], Any]) -> None:
    """The same numbers, to the precision of the dtype, from an array of another dtype in another layout."""
    inputs = tuple(layout(x.astype(dtype) if x.dtype.kind == "f" else x) for x in sample.inputs)
    copies = tuple(x.astype(np.float64 if x.dtype.kind == "f" else x.dtype, order="C") for x in inputs)
    y, expected = (call(*map(Tensor, xs), **sample.params) for xs in (inputs, copies))
    assert y.dtype == dtype
    assert_close(y.data, expected.data, "forward", EXACT if dtype == np.float64 else SINGLE)
    u = signed(y.shape)
    for a, b in zip(pull(call, inputs, sample.params, u), pull(call, copies, sample.params, u)):
        assert a.dtype == dtype
        assert_close(a, b, "gradient", EXACT if dtype == np.float64 else SINGLE)


# ---- elementwise -----------------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(named(samples.UNARY), shapes, dtypes, layouts)
def test_unary(name: str, shape: tuple[int, ...], dtype: Any, layout: Callable[[Any], Any]) -> None:
    sample = S(samples.UNARY[name](*shape))
    check(ROWS[name], references.of(name), sample)
    check_dtype_and_layout(ROWS[name], sample, dtype, layout)


@settings(max_examples=200)
@given(
    named(samples.BINARY),
    npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3),
    dtypes,
    layouts,
)
def test_binary(name: str, drawn: Any, dtype: Any, layout: Callable[[Any], Any]) -> None:
    a, b = samples.BINARY[name]
    sample = S(a(*drawn.input_shapes[0]), b(*drawn.input_shapes[1], k=1))
    check(ROWS[name], references.of(name), sample)
    check_dtype_and_layout(ROWS[name], sample, dtype, layout)


# ---- reductions ------------------------------------------------------------------------------------------------------


@st.composite
def shape_and_axis(draw: Any, shapes: Any) -> tuple[tuple[int, ...], Any]:
    shape = draw(shapes)
    axes = npst.valid_tuple_axes(len(shape)) | st.none()
    return shape, draw(axes | st.integers(-len(shape), len(shape) - 1) if shape else axes)


@settings(max_examples=200)
@given(named(samples.REDUCTIONS), shape_and_axis(full_shapes), st.booleans(), dtypes, layouts)
def test_reduction(name: str, drawn: Any, keepdims: bool, dtype: Any, layout: Callable[[Any], Any]) -> None:
    shape, axis = drawn
    sample = S(samples.REDUCTIONS[name](*shape), axis=axis, keepdims=keepdims)
    check(ROWS[name], references.of(references.NAMES.get(name, name)), sample)
    check_dtype_and_layout(ROWS[name], sample, dtype, layout)


@settings(max_examples=60)
@given(st.sampled_from(["sum", "prod", "norm"]), shape_and_axis(shapes), st.booleans())
def test_reduction_of_nothing(name: str, drawn: Any, keepdims: bool) -> None:
    shape, axis = drawn
    sample = S(samples.real(*shape), axis=axis, keepdims=keepdims)
    check(ROWS[name], references.of(references.NAMES.get(name, name)), sample)


@settings(max_examples=60)
@given(st.sampled_from(["softmax", "log_softmax"]), full_shapes.filter(bool), st.data(), dtypes, layouts)
def test_softmax(name: str, shape: Any, data: Any, dtype: Any, layout: Callable[[Any], Any]) -> None:
    sample = S(samples.real(*shape), axis=data.draw(st.integers(-len(shape), len(shape) - 1)))
    check(ROWS[name], references.of(name), sample)
    check_dtype_and_layout(ROWS[name], sample, dtype, layout)


# ---- indexing --------------------------------------------------------------------------------------------------------


@st.composite
def array_and_index(draw: Any) -> tuple[Any, Any]:
    """Any index: basic, integer arrays, boolean masks, and mixtures, with duplicates."""
    shape = draw(npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    integers = npst.integer_array_indices(shape, result_shape=npst.array_shapes(min_dims=0, max_dims=2, min_side=0))
    masks = st.integers(1, len(shape)).flatmap(lambda n: npst.arrays(bool, shape[:n]))
    basic = npst.basic_indices(shape, allow_newaxis=True, max_dims=6)
    mixed = st.tuples(
        *[
            st.slices(n) | st.integers(-n, n - 1) | st.lists(st.integers(-n, n - 1), min_size=2, max_size=2)
            for n in shape
        ]
    )
    return samples.real(*shape), draw(basic | integers | masks | mixed)


@settings(max_examples=300)
@given(array_and_index(), layouts)
def test_index(drawn: Any, layout: Callable[[Any], Any]) -> None:
    """The gradient of x[index] is np.add.at of the incoming gradient."""
    x, index = drawn
    x = layout(x)
    y = ops.getitem(x, index)
    assert_close(y, x[index], "forward", 0.0)
    u = signed(np.shape(y))
    expected = np.zeros(x.shape)
    np.add.at(expected, index, u)
    assert_close(pull(ops.getitem, (x,), {"index": index}, u)[0], expected, "gradient", EXACT)
    check_order_2(ops.getitem, S(x, index=index))


@st.composite
def array_indices_and_axis(draw: Any) -> tuple[Any, Any, int]:
    """Lengths of 1 broadcast either way."""
    shape = draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    other = [draw(st.integers(1, 3)) if n == 1 else draw(st.sampled_from([1, n])) for n in shape]
    other[axis] = draw(st.integers(0, 3))
    indices = npst.arrays(np.int64, tuple(other), elements=st.integers(-shape[axis], shape[axis] - 1))
    return samples.real(*shape), draw(indices), axis


@settings(max_examples=100)
@given(array_indices_and_axis())
def test_take_along_axis(drawn: Any) -> None:
    x, indices, axis = drawn
    check(ops.take_along_axis, np.take_along_axis, S(x, indices=indices, axis=axis))


# ---- products --------------------------------------------------------------------------------------------------------


@settings(max_examples=120)
@given(
    npst.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0, max_side=3),
    dtypes,
    layouts,
)
def test_matmul(drawn: Any, dtype: Any, layout: Callable[[Any], Any]) -> None:
    a, b = drawn.input_shapes
    sample = S(samples.real(*a), samples.real(*b, k=1))
    check(ops.matmul, np.matmul, sample)
    check_dtype_and_layout(ops.matmul, sample, dtype, layout)


@st.composite
def einsum_samples(draw: Any) -> Sample:
    """One to three operands with letters i, j, k, repeated and summed as it comes, with or without output, ellipsis."""
    lengths = {letter: draw(st.integers(1, 3)) for letter in "ijk"}
    terms = draw(st.lists(st.text("ijk", max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    batch = draw(st.sampled_from([(), (2,)]))
    dots = "..." if batch else ""
    subscripts = ",".join(dots + term for term in terms)
    if draw(st.booleans()):
        output = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
        subscripts += f"->{dots}{''.join(output)}"
    operands = [samples.real(*batch, *[lengths[i] for i in term], k=k) for k, term in enumerate(terms)]
    return S(*operands, subscripts=subscripts)


@settings(max_examples=120)
@given(einsum_samples())
def test_einsum(sample: Sample) -> None:
    check(references.subscripted(ops.einsum), references.subscripted(np.einsum), sample)
