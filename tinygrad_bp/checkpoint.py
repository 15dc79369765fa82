"""checkpoint: recompute in the backward pass what the forward pass did not store.

Of a function under it, only arguments and results are kept, with the tensors it found outside of itself (parameters);
everything between is computed again when the gradient is asked for. Twice the forward time buys the memory of all but
one such function at a time (Chen et al., "Training deep nets with sublinear memory cost", 2016).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import numpy as np

from . import opaque, random
from .autograd import walk
from .containers import leaves, like
from .function import Function
from .recipe import enable_grad, is_grad_enabled, leaf
from .tensor import Tensor

__all__ = ["checkpoint"]


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` with the same results and gradients, to any order, storing nothing but its arguments and results.

    Arguments and results may be containers of Tensors; what f draws from ``bp.random.generator()`` is drawn the same
    the second time. State that f changes (running statistics) is changed twice, as in PyTorch. In a compiled step f
    runs as it is.

    Raises
    ------
    RuntimeError
        f gives other results the second time, or uses other tensors; a tensor it used was written in between.
    TypeError
        f is no function.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> block = bp.checkpoint(lambda x: np.tanh(x * 2.0))
    >>> bp.grad(lambda x: block(block(x)))(0.0)
    tensor(4.)
    """
    if not callable(f):
        raise TypeError(f"checkpoint: got a {type(f).__name__}, not a function. Call it as bp.checkpoint(f)(x).")

    @functools.wraps(f)
    def evaluate(*args: Any, **named: Any) -> Any:
        if not is_grad_enabled() or opaque.is_recording():
            return f(*args, **named)
        begin, state = leaf(None).clock, random.generator().bit_generator.state
        y = f(*args, **named)
        outputs = [x for x in leaves(y) if _is_inside(x, begin)]
        if not outputs:
            return y
        again = _Segment(f, args, named, begin, state, outputs)
        new = iter(_Recomputed.apply(again, *again.sources))
        return like(y, [next(new) if _is_inside(x, begin) else x for x in leaves(y)])

    return evaluate


def _is_inside(x: Any, begin: int) -> bool:
    """Whether x was computed, from something tracked, after the time `begin`."""
    return isinstance(x, Tensor) and x.tracked and x.recipe is not None and x.clock > begin


def _graph(outputs: Sequence[Tensor], begin: int) -> tuple[list[Tensor], list[Tensor]]:
    """What was computed for `outputs` after the time `begin`, inputs first, and the other tensors it came from."""
    inside: dict[Tensor, None] = dict.fromkeys(outputs)
    outside: dict[Tensor, None] = {}
    stack = list(outputs)
    while stack:
        for x in stack.pop().recipe[1]:  # type: ignore[index]
            if _is_inside(x, begin) and x not in inside:
                inside[x] = None
                stack.append(x)
            elif isinstance(x, Tensor) and x not in inside and (x.tracked or x.clock <= begin):
                outside[x] = None
    return sorted(inside, key=attrgetter("clock")), list(outside)


class _Segment:
    """One call of a function: how to compute it again, and the tensors from outside that it used, tracked or not."""

    def __init__(self, f: Any, args: Any, named: Any, begin: int, state: Any, outputs: Sequence[Tensor]) -> None:
        self.f, self.args, self.named, self.state = f, args, named, state
        self.results: Any = tuple(y.data for y in outputs)
        self.outside = _graph(outputs, begin)[1]
        self.older = {x for x in self.outside if x.clock <= begin}
        self.sources = [x for x in self.outside if x.tracked]
        self.arrays, self.end = [x.data for x in self.outside], leaf(None).clock

    def gradients(self, results: Sequence[Tensor], incoming: Sequence[Any]) -> list[Any]:
        """The function computed again, with the same results, and walked back to its sources."""
        if any(x.data is not array or x.clock > self.end for x, array in zip(self.outside, self.arrays)):
            raise RuntimeError(
                "backward: an input of a checkpointed function was replaced or written since. Run the forward again."
            )
        begin, nested = leaf(None).clock, is_grad_enabled()
        with enable_grad():
            with _drawn_again(self.state):
                outputs = [x for x in leaves(self.f(*self.args, **self.named)) if _is_inside(x, begin)]
            order, outside = _graph(outputs, begin)
            older = {x for x in outside if x.clock <= begin}
            before, again = ([y.shape for y in ys] for ys in (results, outputs))
            if before != again or older != self.older or not all(map(_are_alike, outputs, results)):
                what = f"gave shapes {before}, then {again}" if before != again else "used or gave something else"
                raise RuntimeError(
                    f"backward: a checkpointed function {what} when computed again. "
                    "Make it depend on nothing but its arguments and parameters."
                )
            found = walk(order, zip(outputs, incoming if nested else [g.data for g in incoming]), None, nested)
        return [found.get(x) for x in self.sources]


def _are_alike(new: Tensor, old: Tensor) -> bool:
    """Whether these are equal but for rounding."""
    if np.array_equal(new.data, old.data, equal_nan=True):
        return True
    tolerance = np.finfo(old.dtype).eps ** 0.75
    largest = np.max(np.abs(old.data), where=np.isfinite(old.data), initial=0.0)
    return np.allclose(new.data, old.data, tolerance, tolerance * largest, equal_nan=True)


class _Recomputed(Function):
    """A segment as one operation on its sources."""

    @staticmethod
    def forward(ctx: Any, segment: _Segment, *sources: Any) -> Any:
        ctx.segment, results, segment.results = segment, segment.results, None
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return (None, *ctx.segment.gradients(ctx._outputs, gradients))


@contextmanager
def _drawn_again(state: Any) -> Iterator[None]:
    """Within the block the package's generator draws what it drew from `state` on."""
    bits = random.generator().bit_generator
    before = bits.state
    bits.state = state
    try:
        yield
    finally:
        bits.state = before
