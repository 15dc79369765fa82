"""Hypothesis strategies for code that takes arrays or Tensors: the inputs on which gradients go wrong.

Shapes without axes and with no entries, shapes that broadcast, arrays in every memory layout, in both float dtypes,
with values on kinks and ties and 1e-7 from them. Names and arguments are those of ``hypothesis.extra.numpy``, whose
strategies these are made of. A test whose argument is annotated ``x: Tensor`` draws from :func:`tensors` once
hypothesis has called :mod:`~tinygrad_bp.checking.hypothesis_hook`, which an installed package has it do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import DTypeLike, NDArray

from ..tensor import Tensor

__all__ = [
    "array_shapes", "arrays", "floating_dtypes", "floats", "layouts", "mutually_broadcastable_arrays",
    "mutually_broadcastable_shapes", "tensors",
]  # fmt: skip

Array = NDArray[Any]
Shape = tuple[int, ...]
Shapes = int | Shape | st.SearchStrategy[Shape] | None
DTypes = DTypeLike | st.SearchStrategy[Any] | None
Floats = st.SearchStrategy[float]

# ---- shapes --------------------------------------------------------------------------------------------------------


def array_shapes(
    *, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> st.SearchStrategy[Shape]:
    """Shapes, by default also ``()`` and those of arrays without entries.

    >>> from hypothesis import find
    >>> find(array_shapes(), lambda shape: True), find(array_shapes(), lambda shape: 0 in shape)
    ((), (0,))
    """
    return npst.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


@st.composite
def mutually_broadcastable_shapes(
    draw: st.DrawFn, num_shapes: int = 2, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3
) -> npst.BroadcastableShapes:
    """Shapes that broadcast against each other, such as ``(0, 1, 3)`` and ``(0, 2, 3)``, and the result's.

    Every axis of every shape is as likely to be broadcast as not, and missing axes are as likely as any number of them.
    """
    full = draw(array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side))
    ones = [1] if min_side <= 1 <= max_side else []

    def one() -> Shape:
        dims = draw(st.integers(min_dims, len(full)))
        return tuple(draw(st.sampled_from([n, *ones])) for n in full[len(full) - dims :])

    shapes = tuple(one() for _ in range(num_shapes))
    return npst.BroadcastableShapes(shapes, np.broadcast_shapes(*shapes))


# ---- values --------------------------------------------------------------------------------------------------------


def floating_dtypes() -> st.SearchStrategy[np.dtype[Any]]:
    """float64 and float32."""
    return st.sampled_from([np.dtype(np.float64), np.dtype(np.float32)])


def floats(min_value: float = -4.0, max_value: float = 4.0, *, dtype: DTypeLike = np.float64) -> Floats:
    """Numbers of the dtype, often 0, -0.0, a half or one with either sign, or 1e-7 from one of these.

    They are few, so that an array of them has ties, and entries that nearly tie.
    """
    corners = [*(c + d for c in (0.0, 1.0, -1.0, 0.5, -0.5) for d in (0.0, 1e-7, -1e-7)), -0.0]
    near = np.array([c for c in corners if min_value <= c <= max_value], dtype).tolist()
    low, high = np.array([min_value, max_value], dtype).tolist()
    bits: Any = 8 * np.dtype(dtype).itemsize
    plain = st.floats(low, high, width=bits, allow_subnormal=False)
    return st.sampled_from(near) | plain if near else plain


# ---- memory --------------------------------------------------------------------------------------------------------


def _contiguous(a: Array) -> Array:
    return a.copy()


def _fortran(a: Array) -> Array:
    return a.copy(order="F")


def _strided(a: Array) -> Array:
    """Every second entry of a larger array, along every axis."""
    every_second: Any = (..., *[slice(None, None, 2)] * a.ndim)
    view: Array = np.full([2 * n for n in a.shape], 9.0, a.dtype)[every_second]
    view[...] = a
    return view


def _reversed(a: Array) -> Array:
    """Negative strides."""
    turned: Any = (..., *[slice(None, None, -1)] * a.ndim)
    b: Array = a[turned].copy()[turned]
    return b


def _read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


def _zero_stride(a: Array) -> Array:
    """The first entry along the first axis, for all."""
    return np.broadcast_to(a[:1], a.shape) if a.ndim and a.size else a.copy()


def layouts() -> st.SearchStrategy[Callable[[Array], Array]]:
    """Functions that put an array into a memory layout: C, Fortran, strided, reversed, read-only, zero strides.

    All keep the values but the last, which repeats the first entry along the first axis.
    """
    return st.sampled_from([_contiguous, _fortran, _strided, _reversed, _read_only, _zero_stride])


# ---- arrays and Tensors --------------------------------------------------------------------------------------------


@st.composite
def arrays(draw: st.DrawFn, dtype: DTypes = None, shape: Shapes = None, *, elements: Floats | None = None) -> Array:
    """Arrays of floats in any layout; without arguments of any dtype and shape, with values as those of `floats`.

    >>> from hypothesis import find
    >>> find(arrays(np.float32, 2), lambda x: x.size and x[0] > x[1])
    array([0.e+00, -1.e-07], dtype=float32)
    """
    dtype = floating_dtypes() if dtype is None else dtype
    dtype = draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype
    shape = array_shapes() if shape is None else shape
    drawn = draw(npst.arrays(dtype, shape, elements=floats(dtype=dtype) if elements is None else elements))
    return draw(layouts())(drawn)


@st.composite
def mutually_broadcastable_arrays(
    draw: st.DrawFn, num_arrays: int = 2, dtype: DTypes = None, *, elements: Floats | None = None
) -> tuple[Array, ...]:
    """Arrays of shapes that broadcast against each other."""
    shapes = draw(mutually_broadcastable_shapes(num_arrays)).input_shapes
    return tuple(draw(arrays(dtype, shape, elements=elements)) for shape in shapes)


def tensors(
    dtype: DTypes = None, shape: Shapes = None, *, elements: Floats | None = None, requires_grad: bool = True
) -> st.SearchStrategy[Tensor]:
    """Tensors of :func:`arrays`; those that require grad hold a copy in C order, as every leaf does."""
    return arrays(dtype, shape, elements=elements).map(lambda a: Tensor(a, requires_grad))
