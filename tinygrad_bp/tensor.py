"""The Tensor: an array that remembers how it was made. This file is spelling only.

Operators and methods, each one line that names a row of the table. What is computed is said in :mod:`tinygrad_bp.ops`,
how gradients flow in :mod:`tinygrad_bp.autograd`, which row answers which NumPy function in
:mod:`tinygrad_bp.dispatch`; ways to make a tensor are in :mod:`tinygrad_bp.creation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import DTypeLike, NDArray

from . import autograd, dispatch, ops, recipe
from .recipe import Node, Op, leaf

__all__ = ["Tensor", "as_array", "default_dtype", "require_floating", "set_default_dtype"]

Axis = int | tuple[int, ...] | None
DType = DTypeLike | None

# ---- from data to array ------------------------------------------------------------------------------------

_default_dtype: np.dtype[Any] = np.dtype(np.float64)


def default_dtype() -> np.dtype[Any]:
    """The dtype of tensors made from Python numbers and of new parameters: float64 unless set otherwise."""
    return _default_dtype


def set_default_dtype(dtype: DTypeLike) -> None:
    """Make `dtype`, a floating dtype, that of tensors made from Python numbers and of new parameters."""
    global _default_dtype
    new = np.dtype(dtype)
    if new.kind != "f":
        raise TypeError(f"set_default_dtype: {new} is not a floating dtype. Pass float64 or float32.")
    _default_dtype = new


def as_array(data: Any, dtype: DType = None) -> NDArray[Any]:
    """Real numbers or bools as an ndarray of native byte order, sharing memory with an array where it can."""
    data = data.data if isinstance(data, Node) else data
    if type(data) in recipe.NUMBERS and hasattr(data, "dtype"):  # what stands in for an array
        return data.astype(dtype or data.dtype, copy=False)
    if isinstance(data, (np.matrix, np.ma.MaskedArray)):
        raise TypeError(f"Tensor: a {type(data).__name__} has other arithmetic. Pass np.asarray(...) of it.")
    try:
        wanted = None if dtype is None else np.dtype(dtype)
        array = np.asarray(data)
    except TypeError as error:
        raise TypeError(f"Tensor: {error}. Pass a dtype of real numbers or bools.") from error
    except ValueError as error:
        raise ValueError(f"Tensor: the data is no regular array ({error}). Pass rows of equal length.") from error
    if wanted is None:
        typed = isinstance(data, (ndarray, np.generic)) or array.dtype.kind != "f"
        wanted = array.dtype.newbyteorder("=") if typed else _default_dtype
    bad = [str(given) for given in (array.dtype, wanted) if given.kind not in "fiub"]
    if bad:
        raise TypeError(f"Tensor: dtype {bad[0]} is not offered. Pass real numbers or bools.")
    return array.astype(wanted, copy=False)


def require_floating(dtype: np.dtype[Any], what: str) -> None:
    """Refuse a dtype that cannot have gradients, in the name of `what`."""
    if dtype.kind != "f":
        raise TypeError(f"{what}: only floating dtypes can require grad, not {dtype}. Pass dtype=float.")


# ---- the tensor --------------------------------------------------------------------------------------------


class Tensor(Node):
    """An array that remembers how it was made, so that ``backward()`` can find the gradients.

    Parameters
    ----------
    data : array-like
        Real numbers or bools. An array is shared, not copied, unless the tensor requires grad.
    requires_grad : bool
        Whether ``backward()`` accumulates a gradient in ``.grad``. Floating dtypes only.
    dtype : dtype, optional
        Default: that of an array; ``set_default_dtype`` for Python floats.

    Raises
    ------
    TypeError
        For complex numbers, strings and objects, and for integers that are to require grad.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> x = bp.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = ()
    __hash__ = Node.__hash__

    def __init__(self, data: Any, requires_grad: bool = False, dtype: DType = None) -> None:
        array = as_array(data, dtype)
        if requires_grad:
            require_floating(array.dtype, type(self).__name__)
            array = array.copy()
        self.data, self.tracked, self.recipe, self.gradient = array, bool(requires_grad), None, None
        self.clock = leaf(array).clock

    # -- what it is --

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it; settable on a leaf."""
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not self.is_leaf:
            raise RuntimeError("requires_grad: a computed tensor follows its inputs. Use detach() to cut it off.")
        if value:
            require_floating(self.dtype, "requires_grad")
            self.recipe = None  # what it was computed with had no derivative; from here on it is a leaf
            self.data = self.data.copy()  # which the library may write
        self.tracked = bool(value)

    @property
    def grad(self) -> Tensor | None:
        """What ``backward()`` has accumulated here, None before."""
        return self.gradient

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else leaf(as_array(value, self.dtype))
            if value.shape != self.shape:
                raise ValueError(f"grad: shape {value.shape} does not fit the tensor's {self.shape}. Pass its shape.")
            if value.dtype != self.dtype:
                raise TypeError(f"grad: dtype {value.dtype} does not fit the tensor's {self.dtype}. Pass its dtype.")
        self.gradient = value

    @property
    def grad_fn(self) -> Op | None:
        """The row that computed it, None for a leaf."""
        return self.recipe[0] if self.recipe else None

    @property
    def is_leaf(self) -> bool:
        """Whether nothing tracked computed it."""
        return self.recipe is None or not self.tracked

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(self.data.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the entries."""
        return self.data.dtype

    @property
    def T(self) -> Tensor:  # noqa: N802
        """All axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes swapped."""
        if self.ndim < 2:
            raise ValueError(f"mT: a tensor of shape {self.shape} is no stack of matrices. It needs two axes.")
        return ops.swapaxes(self, -1, -2)

    # -- out of the graph --

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        gradient : array-like, optional
            dC/d(self), of its shape; may be left out for a scalar.
        retain_graph : bool, optional
            Keep the graph for another call; None means `create_graph`.
        create_graph : bool
            Record the backward pass too, so that the gradients can be differentiated. Each leaf then points at its
            gradient and the gradient's graph at the leaf: a reference cycle, which ``autograd.grad`` does not make.

        Raises
        ------
        RuntimeError
            Nothing here requires grad; not a scalar and no `gradient`; a freed graph; an input written since.
        """
        autograd.backward(self, gradient, retain_graph, create_graph)

    def detach(self) -> Tensor:
        """The same memory without the history."""
        return leaf(self.data)

    def numpy(self) -> NDArray[Any]:
        """The array itself, not a copy; of a tensor that does not require grad."""
        return self.__array__() if self.tracked else self.data

    def item(self) -> Any:
        """The one entry as a Python number."""
        if self.data.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} has {self.size} entries, not one. Index it first.")
        return self.data.item()

    def tolist(self) -> Any:
        """The entries as nested lists of Python numbers."""
        return self.data.tolist()

    def __array__(self, dtype: DType = None, copy: bool | None = None) -> NDArray[Any]:
        if self.tracked:
            raise TypeError(
                "numpy: the tensor requires grad; as an array it would lose its history. Call detach() first."
            )
        return np.array(self.data, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return dispatch.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return dispatch.call_function(function, args, kwargs)

    # -- as a Python object --

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (np.dtype(float), np.dtype(int), np.dtype(bool)) else f", dtype={self.dtype}"
        made = f", grad_fn={self.grad_fn}" if not self.is_leaf else ", requires_grad=True" if self.tracked else ""
        return f"tensor({text}{dtype}{made})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise TypeError(
                "pickle: a computed tensor cannot be copied or pickled with its history. Call detach() first."
            )
        return _rebuilt, (type(self), self.data, self.tracked, self.gradient)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iter: a tensor of shape () has no axis to iterate over. Use item().")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return (value.data if isinstance(value, Node) else value) in self.data

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ValueError(f"bool: a tensor of shape {self.shape} has no one truth value. Use any() or all().")
        return bool(self.data.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.data.__index__()

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("setitem: a tensor is not written by item, its graph would be wrong. Use np.where or ops.put.")

    # -- operators --

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.square(self) if type(other) is int and other == 2 else ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def _in_place(self, other: Any) -> Any:
        """``t += other`` makes a new tensor under the old name, which for a parameter would end its training."""
        if self.tracked and self.recipe is None:
            raise RuntimeError(
                "in place: a leaf that requires grad is not updated by an operator. "
                "Write w.data -= lr * w.grad.data, or use an optimizer."
            )
        return NotImplemented

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __imatmul__ = __ipow__ = _in_place

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return ops.positive(self)

    def __abs__(self) -> Tensor:
        return ops.absolute(self)

    def __invert__(self) -> Tensor:
        return ops.invert(self)

    def __and__(self, other: Any) -> Tensor:
        return ops.bitwise_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return ops.bitwise_or(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.not_equal(self, other)

    # -- the common rows as methods --

    def exp(self) -> Tensor:
        """E to the power of every entry."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """max(x, 0)."""
        return ops.relu(self)

    def sin(self) -> Tensor:
        """The sine."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """The cosine."""
        return ops.cos(self)

    def square(self) -> Tensor:
        """Every entry times itself."""
        return ops.square(self)

    def abs(self) -> Tensor:
        """The absolute value."""
        return ops.absolute(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum along `axis`."""
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean along `axis`."""
        return ops.mean(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The product along `axis`."""
        return ops.prod(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest entry along `axis`; ties share the gradient."""
        return ops.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest entry along `axis`; ties share the gradient."""
        return ops.min(self, axis, keepdims)

    def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """The variance along `axis`, over n - ddof."""
        return ops.var(self, axis, ddof, keepdims)

    def std(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """The standard deviation along `axis`, over n - ddof."""
        return ops.std(self, axis, ddof, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The position of the first largest entry."""
        return ops.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The position of the first smallest entry."""
        return ops.argmin(self, axis, keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether all entries are nonzero."""
        return ops.all(self, axis, keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether any entry is nonzero."""
        return ops.any(self, axis, keepdims)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """Running sums along `axis`."""
        return ops.cumsum(self, axis)

    def cumprod(self, axis: int | None = None) -> Tensor:
        """Running products along `axis`."""
        return ops.cumprod(self, axis)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """The sum of the diagonal."""
        return ops.trace(self, offset, axis1, axis2)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """The entries [i, i + offset] of two axes."""
        return ops.diagonal(self, offset, axis1, axis2)

    def round(self, decimals: int = 0) -> Tensor:
        """Every entry rounded, without a derivative."""
        return ops.round(self, decimals)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """log(sum(exp(x))), safe for large entries."""
        return ops.logsumexp(self, axis, keepdims)

    def softmax(self, axis: int = -1) -> Tensor:
        """exp(x) / sum(exp(x)) along `axis`."""
        return ops.softmax(self, axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """log(softmax(x)) along `axis`."""
        return ops.log_softmax(self, axis)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Entries moved into [min, max]."""
        return ops.clip(self, min, max)

    def dot(self, other: Any) -> Tensor:
        """np.dot for scalars, vectors and matrices."""
        return ops.dot(self, other)

    def reshape(self, *shape: Any) -> Tensor:
        """The same entries in another shape; -1 for one axis to be worked out."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def flatten(self) -> Tensor:
        """The entries as a vector."""
        return ops.reshape(self, -1)

    ravel = flatten

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order; reversed without arguments."""
        return ops.transpose(self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Two axes swapped."""
        return ops.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without axes of length 1."""
        return ops.squeeze(self, axis)

    def take(self, indices: Any, axis: int | None = None) -> Tensor:
        """The slices at `indices` along `axis`."""
        return ops.take(self, indices, axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Tensor:
        """Every entry `repeats` times in a row."""
        return ops.repeat(self, repeats, axis)

    def astype(self, dtype: DTypeLike, copy: bool = True) -> Tensor:
        """The entries in another dtype; the gradient comes back in this one."""
        return self if not copy and self.dtype == dtype else ops.astype(self, dtype)

    def copy(self) -> Tensor:
        """A copy that is computed from this tensor."""
        return ops.astype(self, self.dtype)


recipe.returns(Tensor)


def _rebuilt(cls: type[Tensor], data: NDArray[Any], tracked: bool, gradient: Tensor | None) -> Tensor:
    node: Tensor = leaf(data, tracked, cls)
    node.gradient = gradient
    return node
