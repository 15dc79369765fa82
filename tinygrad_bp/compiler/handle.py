"""A stand-in for an array while a step is recorded: it answers NumPy's protocols and writes down what was asked.

A :class:`Handle` has the shape and dtype of an array, and an example of its values, so that shapes, dtypes and memory
are facts, not guesses. Every ufunc, function and method of NumPy's that meets one becomes an instruction; a write in
place gives the handle a new value. What would need the numbers themselves (``if loss > 1``, ``.item()``) raises and
names the line. Which arrays are replaced by handles is decided in :mod:`tinygrad_bp.compiler.trace`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..recipe import Node
from .plan import REDUCTIONS, UFUNCS, CompileError, Value

__all__ = ["Handle", "Recorder", "Setting"]


class Recorder(Protocol):
    """What a handle tells about: the list of instructions, and where the program stands."""

    def emit(self, op: str, tree: Any, params: tuple[Any, ...] = (), like: Any = None) -> Handle:
        """Append an instruction and return its result; `tree` holds its args, handles and arrays among them."""
        ...

    def line(self) -> str:
        """The line of the user's program that is being recorded."""
        ...

    truths: dict[Any, bool]
    """Which settings were asked whether they are zero, and the answers."""
    refusals: list[CompileError]
    """What was raised: the program, or NumPy, may have caught it."""


# ---- which NumPy functions become which instructions -------------------------------------------------------

_REDUCING: dict[Any, str] = {getattr(np, name): name for name in REDUCTIONS} | {np.amax: "max", np.amin: "min"}
_METHODS = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min"}
_METHODS |= {np.logical_and: "all", np.logical_or: "any"}
_FILLS = {np.zeros_like: 0.0, np.empty_like: 0.0, np.ones_like: 1.0}
_ANSWERED = {np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj, np.common_type}
_PERMUTING = {np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.matrix_transpose}
_RESHAPING = {np.reshape, np.ravel, np.squeeze, np.expand_dims, np.atleast_1d, np.atleast_2d, np.atleast_3d}
_ONE_CALL = {
    getattr(np, name)
    for name in (
        *("einsum", "vdot", "inner", "outer", "tensordot", "kron", "cross", "pad", "cumsum", "cumprod", "diff", "roll"),
        *("concatenate", "stack", "vstack", "hstack", "dstack", "column_stack", "tile", "repeat", "take", "rot90"),
        *("take_along_axis", "tril", "triu", "diag", "diagonal", "trace", "sort", "argsort", "argmax", "argmin"),
        *("searchsorted", "partition", "argpartition", "median", "quantile", "percentile", "ptp", "average", "round"),
        *("var", "std", "nansum", "nanmean", "nanmax", "nanmin", "nan_to_num", "trapezoid", "interp", "isclose"),
        *("convolve", "nanmedian", "nanvar"),
        *("count_nonzero", "flip", "fliplr", "flipud", "select", "allclose", "array_equal", "lexsort", "sinc"),
    )
} | {
    getattr(np.linalg, name)
    for name in ("inv", "solve", "det", "norm", "cholesky", "pinv", "matrix_power", "multi_dot", "eigvalsh", "trace")
}
_ONE_CALL.add(np.lib.stride_tricks.sliding_window_view)
_OF_VALUES = {np.array2string, np.array_repr, np.array_str, np.nonzero, np.argwhere, np.flatnonzero, np.unique}
_AS_FUNCTIONS = {
    *("sum", "prod", "max", "min", "all", "any", "mean", "var", "std", "argmax", "argmin", "cumsum", "cumprod", "dot"),
    *("swapaxes", "ravel", "squeeze", "copy", "clip", "take", "repeat", "round", "trace", "diagonal", "argsort", "ptp"),
}
_NEED_VALUES = {"item", "tolist", "tobytes", "nonzero", "searchsorted", "sort", "partition", "put", "resize"}


@cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)


def _given(function: Any, args: Any, kwargs: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """The arguments by name, for a function of which only some are understood; None and defaults count as not given."""
    signature = _signature(function)
    bound = signature.bind(*args, **kwargs).arguments
    given = {name: x for name, x in bound.items() if x is not None and x is not np._NoValue}
    unknown = [name for name in given if name not in known]
    other = [x for x in unknown if isinstance(given[x], Handle) or given[x] != signature.parameters[x].default]
    if other:
        name = function.__name__
        raise CompileError(f"compile: np.{name} with {', '.join(other)}= cannot be recorded. Leave it out.")
    return given


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None or (ndim == 0 and axis in (0, -1)):
        return tuple(range(ndim))
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, (np.integer, slice)) or type(i) is int for i in parts)


def _has_mask(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, Handle) and i.dtype == bool for i in parts)


# ---- the handle --------------------------------------------------------------------------------------------


class Handle(NDArrayOperatorsMixin):
    """What stands in the place of an array: a recorder's value, which a write in place replaces by another.

    One that is `scalar` stands for a NumPy scalar, which ``+=`` does not change.
    """

    __slots__ = ("_base", "_seen", "_value", "example", "recorder", "scalar")
    __hash__ = object.__hash__
    base = None

    def __init__(
        self, recorder: Recorder, value: Value, example: Any, base: Handle | None = None, scalar: bool = False
    ) -> None:
        self.recorder, self._value, self.example, self._base, self.scalar = recorder, value, example, base, scalar
        self._seen = base.value if base is not None else None

    @property  # type: ignore[misc]  # for reading only
    def __class__(self) -> Any:
        """What isinstance() is to believe: programs ask it."""
        return np.ndarray

    def follow(self, base: Handle | None) -> None:
        """Be a view of `base` from now on."""
        self._base, self._seen = base, base.value if base is not None else None

    @property
    def value(self) -> Value:
        """The value now; that of a view follows what is written into its array."""
        if self._base is not None and self._base.value is not self._seen:
            if self._value.op == "call":
                self._refuse("reads a view of an array that has been written since", "Copy it first")
            again = self.recorder.emit(self._value.op, (self._base,), self._value.params)
            self._value, self.example, self._seen = again._value, again.example, self._base.value
        return self._value

    def write(self, new: Any) -> None:
        """Hold `new`, a handle, array or number, from now on: broadcast and cast as NumPy does in ``x[...] = new``."""
        if not isinstance(new, Handle):
            number = np.ndim(new) == 0
            new = self.recorder.emit(*("full", (), (new,), self) if number else ("copy", (new,)))
        if isinstance(new, Setting) or new.dtype != self.dtype:
            new = self.recorder.emit("cast", (new,), (), (new.shape, self.dtype))
        if new.shape != self.shape:
            new = self.recorder.emit("copy", (np.broadcast_to(new, self.shape),))
        if self._base is not None:
            base, op, param = self._base, self._value.op, self._value.params[0]
            if op == "slice":
                base.write(self.recorder.emit("put", (base, new, param)))
            elif op == "transpose":
                base.write(np.transpose(new, tuple(map(param.index, range(self.ndim)))))
            elif op == "reshape":
                base.write(np.reshape(new, base.shape))
            else:
                self._refuse("writes into a view of an array", "Write into the array itself")
        elif self._value.op == "input":
            self._refuse("writes into an argument of the step", "Write into a copy of it, x.copy()")
        else:
            self._value, self.example = new.value, new.example

    # -- what is known --

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array."""
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of the array."""
        return self._value.dtype

    @property
    def ndim(self) -> int:
        """As of the array."""
        return len(self._value.shape)

    @property
    def size(self) -> int:
        """As of the array."""
        return math.prod(self._value.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self.dtype} {self.shape}, known only when the step runs>"

    # -- what is not --

    def _refuse(self, what: str, cure: str) -> Any:
        line = self.recorder.line()
        error = CompileError(f"compile: {line} {what}. {cure}, or call the step without compiling it.")
        self.recorder.refusals.append(error)
        raise error

    def _unknown(self, *_: Any, **__: Any) -> Any:
        self._refuse(
            f"needs the numbers in an array of shape {self.shape}, which are known only when the step runs",
            "Use np.where, or decide outside of the step",
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __contains__ = __format__ = _unknown

    def __array__(self, *_: Any, **__: Any) -> Any:
        self._refuse(
            f"puts an array of shape {self.shape}, which is known only when the step runs, into one of NumPy's own",
            "Make that with np.zeros_like(x), or keep it in a bp.Tensor outside of the step",
        )

    # -- NumPy's protocols --

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if any(isinstance(x, Node) for x in inputs):
            return NotImplemented  # the tensor answers: it records its recipe
        emit, name = self.recorder.emit, ufunc.__name__
        if method == "at" and ufunc is np.add and isinstance(inputs[0], Handle):
            x, index, new = inputs
            return x.write(emit("add_at", (x, new, index)))
        if method == "reduce" and ufunc in _METHODS:
            axis, keepdims = kwargs.pop("axis", 0), kwargs.pop("keepdims", False)
            result = emit(_METHODS[ufunc], inputs, (_axes(axis, inputs[0].ndim), keepdims))
        elif method == "__call__" and ufunc is np.matmul:
            result = emit("matmul", inputs)
        elif method == "__call__" and UFUNCS.get(name) is ufunc:
            result = emit(name, inputs)
        else:
            self._refuse(f"calls np.{name}.{method}, which cannot be recorded", "Say it with other functions")
        if {key for key, x in kwargs.items() if x is not None}:
            self._refuse(f"calls np.{name} with {', '.join(kwargs)}=", "Leave it out")
        return result if out is None else self._written(out[0], result)

    def _written(self, out: Any, result: Any) -> Any:
        """`out` holding the result, where that is allowed."""
        if not isinstance(out, Handle):
            self._refuse(
                f"writes into an array of shape {np.shape(out)} that belongs to no tensor and no optimizer",
                "Keep it in a bp.Tensor",
            )
        if out.scalar:
            return result
        out.write(result)
        return out

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(t, Node) for t in types):
            return NotImplemented
        if function in _ANSWERED:
            return function(*_examples(args), **_examples(kwargs))
        if (out := kwargs.get("out")) is not None:
            return self._written(out, function(*args, **{key: x for key, x in kwargs.items() if key != "out"}))
        rule = _RULES.get(function)
        if rule is not None:
            return rule(self.recorder, function, args, kwargs)
        if function in _OF_VALUES:
            self._unknown()
        if function in _ONE_CALL:
            return self.recorder.emit("call", (args, kwargs), (function,))
        name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
        return self._refuse(f"calls {name}, which cannot be recorded", "Say it with other functions")

    def __getattr__(self, name: str) -> Any:
        if name in _AS_FUNCTIONS:
            return partial(getattr(np, name), self)
        if name in _NEED_VALUES:
            return self._unknown
        if hasattr(np.ndarray, name) and name[:2] != "__":
            self._refuse(f"asks for .{name} of an array, which cannot be recorded", "Say it with functions of NumPy")
        raise AttributeError(f"while a step is recorded, an array has no attribute '{name}'")

    # -- the methods whose arguments differ from the function's --

    def reshape(self, *shape: Any) -> Any:
        """As of the array."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """As of the array."""
        return np.transpose(self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None)

    @property
    def T(self) -> Any:  # noqa: N802
        """As of the array."""
        return self.transpose()

    @property
    def mT(self) -> Any:  # noqa: N802
        """As of the array."""
        return np.swapaxes(self, -1, -2)

    def flatten(self) -> Any:
        """As of the array."""
        return self.reshape(-1).copy()

    def fill(self, value: Any) -> None:
        """As of the array."""
        self.write(value)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """As of the array."""
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return self.recorder.emit("cast", (self,), (), (self.shape, np.dtype(dtype)))

    def __getitem__(self, index: Any) -> Any:
        if _is_basic(index):
            return self.recorder.emit("slice", (self,), (index,))
        if _has_mask(index):
            self._refuse("takes entries by a mask: how many is known only when it runs", "Use np.where")
        return self.recorder.emit("call", ((self, index), {}), (_getitem,))

    def __setitem__(self, index: Any, new: Any) -> None:
        if type(index) in (type(...), tuple, slice) and index in (..., (), slice(None)):
            self.write(new)
        else:
            self.write(self.recorder.emit("put", (self, new, index)))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))


class Setting(Handle):
    """A number that may change from call to call, such as lr: it takes the dtype of what it meets, as a float does.

    Whether it is zero may be asked, and is then part of what the recording depends on.
    """

    __slots__ = ("key",)

    def __init__(self, recorder: Recorder, value: Value, example: Any, key: Any = None) -> None:
        super().__init__(recorder, value, example, scalar=True)
        self.key = key

    def __bool__(self) -> bool:
        if self.key is None:  # computed from settings
            self._unknown()
        self.recorder.truths[self.key] = bool(self.example)
        return bool(self.example)


def _getitem(x: Any, index: Any) -> Any:
    return x[index]


def _examples(tree: Any) -> Any:
    if isinstance(tree, Handle):
        return tree.example
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(_examples, tree))
    return {key: _examples(x) for key, x in tree.items()} if isinstance(tree, dict) else tree


# ---- functions with instructions of their own: (recorder, function, args, kwargs) -> handle ----------------


def _reduce(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    given = _given(function, args, kwargs, ("a", "axis", "keepdims"))
    x = given["a"]
    return recorder.emit(_REDUCING[function], (x,), (_axes(given.get("axis"), x.ndim), bool(given.get("keepdims"))))


def _mean(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    given = _given(function, args, kwargs, ("a", "axis", "keepdims"))
    x = given["a"]
    axes = _axes(given.get("axis"), x.ndim)
    total = recorder.emit("sum", (x,), (axes, bool(given.get("keepdims"))))
    return total / math.prod(x.shape[i] for i in axes)


def _fill(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    x, *others = args
    number = _FILLS[function] if function in _FILLS else others.pop(0) if others else kwargs["fill_value"]
    shape, dtype = kwargs.get("shape"), kwargs.get("dtype", others[0] if others else None)
    shape = x.shape if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    return recorder.emit("full", (), (number,), (shape, dtype))


def _permute(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    x, *others = args
    lengths = np.empty(range(1, x.ndim + 1), bool)  # every axis is known by its length
    return recorder.emit("transpose", (x,), (tuple(n - 1 for n in function(lengths, *others, **kwargs).shape),))


def _reshape(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    x, *others = args
    return recorder.emit("reshape", (x,), (function(x.example, *others, **kwargs).shape,))


def _broadcast_to(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    return recorder.emit("broadcast_to", args[:1], (np.broadcast_to(args[0].example, *args[1:], **kwargs).shape,))


def _where(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    if len(args) != 3:
        raise CompileError(
            f"compile: {recorder.line()} asks np.where for positions: how many is known only when it runs. "
            "Give np.where both values."
        )
    return recorder.emit("where", args)


def _clip(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    given = _given(function, args, kwargs, ("a", "a_min", "a_max", "min", "max"))
    x = given["a"]
    low, high = (given.get(f"a_{name}", given.get(name)) for name in ("min", "max"))
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _dot(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    if all(np.ndim(x) in (1, 2) for x in args):
        return recorder.emit("matmul", args)
    return recorder.emit("call", (args, kwargs), (function,))


def _copy(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    return recorder.emit("copy", args[:1])


def _copyto(recorder: Recorder, function: Any, args: Any, kwargs: Any) -> Any:
    target, new = args
    if not isinstance(target, Handle):
        target = np.empty(0) if kwargs else target
        return np.add(new, 0, out=target)  # which says that it belongs to nobody
    target.write(new if not kwargs else np.where(kwargs["where"], new, target))
    return None


_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(_REDUCING, _reduce),
    **dict.fromkeys([*_FILLS, np.full_like], _fill),
    **dict.fromkeys(_PERMUTING, _permute),
    **dict.fromkeys(_RESHAPING, _reshape),
    np.mean: _mean,
    np.broadcast_to: _broadcast_to,
    np.where: _where,
    np.clip: _clip,
    np.dot: _dot,
    np.copy: _copy,
    np.copyto: _copyto,
}
