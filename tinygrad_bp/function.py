"""Function: forward and backward as two methods with a context between them, for people who come from PyTorch.

It is an adapter to the table: each subclass is one row, whose joint partial is its `backward`. Several outputs are laid
end to end in one array and cut out again. An operation of a line or two is said shorter with
:func:`tinygrad_bp.primitive`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from . import ops
from .recipe import Node, Op, enable_grad, leaf, no_grad
from .tensor import Tensor

__all__ = ["Context", "Function"]


class Context:
    """What one call of a Function's forward leaves for its backward; attributes of your own may be added.

    Attributes
    ----------
    needs_input_grad
        For each argument of forward, whether its gradient is asked for.
    saved_tensors
        What `save_for_backward` was given.
    """

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Any, ...] = ()
    _constants: tuple[Any, ...] = ()  # outputs without a derivative
    _fed: tuple[Any, ...]  # the arguments of forward
    _outputs: list[Any]
    _packed: Any  # the outputs that have derivatives, end to end; None once the row has it
    _kept: list[int]  # which these are

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs and outputs of forward: in a second derivative they are differentiated, as they must be."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say of outputs that they have no derivative; integers and bools have none anyway."""
        self._constants = tensors

    def _holds(self, y: Any, outputs: Sequence[Any], args: Sequence[Any]) -> tuple[Any, ...]:
        """The saved tensors as what they are in the graph: an argument, a part of the row's output y."""
        pieces = dict(zip(self._kept, outputs))
        found = []
        for x in self.saved_tensors:
            source = [args[k] for k, fed in enumerate(self._fed) if fed is x]
            source += [pieces[k] for k, output in enumerate(self._outputs) if output is x and k in pieces]
            if not source and getattr(x, "dtype", np.dtype(int)).kind == "f":
                raise RuntimeError(
                    f"backward: '{y.grad_fn.name}' saved a tensor of shape {x.shape} that is neither input nor output; "
                    "a second derivative would take it for a constant. Save what it was computed from."
                )
            found.append(source[0] if source else x)
        return tuple(found)


class Function:
    """An operation with a backward of its own: define `forward` and `backward`, call `apply`.

    ``forward(ctx, *args)`` computes with untracked Tensors and returns one or a tuple of them (or of arrays).
    ``backward(ctx, *gradients)`` takes dC/d(output) for every output and returns dC/d(argument) for every argument,
    None for what has none. Second derivatives need a backward that is said in operations of this library or of NumPy.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> class Cube(bp.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * g
    >>> x = bp.Tensor([1.0, 2.0], requires_grad=True)
    >>> Cube.apply(x).sum().backward()
    >>> x.grad
    tensor([ 3., 12.])
    >>> bp.gradcheck(Cube.apply, x).status
    'PASS'
    """

    _row: ClassVar[Op]

    def __init_subclass__(cls) -> None:
        def joint(g: Any, y: Any, *args: Any) -> list[Any]:
            return _gradients(cls, g, y, *args)

        cls._row = Op(cls.__name__, _packed_output, (), joint)

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """The outputs; every subclass defines it."""
        raise NotImplementedError("Function: has no forward. Define forward(ctx, *args) in the class, a staticmethod.")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradients of the arguments; every subclass defines it."""
        raise NotImplementedError("Function: has no backward. Define backward(ctx, g) in the class, a staticmethod.")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """``forward(ctx, *args)``, recorded."""
        ctx = Context()
        ctx._fed = tuple(leaf(x.data) if isinstance(x, Node) else x for x in args)
        ctx.needs_input_grad = tuple(isinstance(x, Node) and x.tracked for x in args)
        with no_grad():
            result = cls.forward(ctx, *ctx._fed)
        ctx._outputs = [_checked(cls, y) for y in (result if isinstance(result, tuple) else (result,))]
        ctx._kept = [k for k, y in enumerate(ctx._outputs) if _has_derivative(y, ctx._constants)]
        nodes = [x for x in args if isinstance(x, Node)]
        if nodes and ctx._kept:
            ctx._packed = _packed([ctx._outputs[k] for k in ctx._kept])
            node = cls._row(*nodes, params=(ctx,))
            ctx._packed = None
            outputs: list[Any] = list(ctx._outputs)
            for k, piece in zip(ctx._kept, _cut(node, ctx)):
                outputs[k] = piece
            result = tuple(outputs) if isinstance(result, tuple) else outputs[0]
        return result


def _packed_output(*args: Any) -> Any:
    return args[-1]._packed


def _checked(cls: type[Function], y: Any) -> Any:
    if not isinstance(y, (Tensor, np.ndarray, np.generic, float, int)):
        raise TypeError(f"{cls.__name__}: its forward returned a {type(y).__name__}. Return Tensors or arrays.")
    return y if isinstance(y, Tensor) else leaf(np.asarray(y))


def _has_derivative(y: Any, constants: Sequence[Any]) -> bool:
    return y.dtype.kind == "f" and not any(y is x or y.data is x for x in constants)


def _packed(outputs: Sequence[Tensor]) -> Any:
    """The arrays of several outputs end to end; that of one as it is."""
    if len(outputs) == 1:
        return outputs[0].data
    return np.concatenate([np.reshape(y.data, -1) for y in outputs])


def _cut(packed: Any, ctx: Context) -> list[Any]:
    """The parts of what `_packed` made, in the shapes and dtypes of the outputs."""
    if len(ctx._kept) == 1:
        return [packed]
    pieces, start = [], 0
    for y in (ctx._outputs[k] for k in ctx._kept):
        end = start + math.prod(y.shape)
        pieces.append(ops.astype(ops.reshape(packed[start:end], y.shape), y.dtype))
        start = end
    return pieces


def _gradients(cls: type[Function], g: Any, y: Any, *args: Any) -> list[Any]:
    """The joint partial: dC/d(input) for every Tensor among the arguments."""
    *inputs, ctx = args
    recorded = isinstance(y, Node)
    with enable_grad() if recorded else no_grad():
        incoming: list[Any] = [leaf(np.zeros_like(output.data)) for output in ctx._outputs]
        for k, piece in zip(ctx._kept, _cut(g if recorded else leaf(g), ctx)):
            incoming[k] = piece
        if recorded:
            fed = iter(inputs)
            given = [next(fed) if isinstance(x, Node) else x for x in ctx._fed]
            saved, ctx.saved_tensors = ctx.saved_tensors, ctx._holds(y, _cut(y, ctx), given)
            try:
                found = cls.backward(ctx, *incoming)
            finally:
                ctx.saved_tensors = saved
        else:
            found = cls.backward(ctx, *incoming)
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != len(ctx._fed):
        raise RuntimeError(
            f"backward: '{cls.__name__}' takes {len(ctx._fed)} arguments, its backward returned {len(found)} gradients."
            " Return one for each, None for what has none."
        )
    wanted = [gx for gx, x in zip(found, ctx._fed) if isinstance(x, Node)]
    return wanted if recorded else [gx.data if isinstance(gx, Node) else gx for gx in wanted]
