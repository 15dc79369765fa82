"""What is asked of a function's gradients: order 1 against differences of the function, order 2 of order 1.

A check takes a function and a :class:`~tests.samples.Sample`; its float inputs are differentiated, the others are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tinygrad_bp import Tensor, autograd

from . import samples
from .differences import assert_close, gradient, vjp
from .samples import Sample


def refuses(error: type[Exception], message: str) -> Any:
    """Within the block this error is raised, and its message holds `message`."""
    return pytest.raises(error, match=re.escape(message))


@contextmanager
def naming(sample: Sample) -> Iterator[None]:
    """An error inside says which sample it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"sample: {sample!r}")
        raise


def signed(shape: tuple[int, ...], k: int = 0) -> Any:
    """A random direction without zeros."""
    return np.asarray(-samples.real(*shape, k=k + 7))


def floats(inputs: tuple[Any, ...]) -> list[int]:
    """Which inputs are to be differentiated."""
    return [k for k, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]


def tracked(inputs: tuple[Any, ...]) -> list[Any]:
    """The inputs with a leaf in the place of each float array (of each array, if none is float), sharing its memory."""
    chosen = floats(inputs)
    leaves = [
        Tensor(x) if k in chosen or (isinstance(x, np.ndarray) and not chosen) else x for k, x in enumerate(inputs)
    ]
    for k in chosen:
        leaves[k].tracked = True  # requires_grad would copy, and lose the layout
    return leaves


def is_differentiable(call: Callable[..., Any], sample: Sample) -> bool:
    return bool(call(*tracked(sample.inputs), **sample.params).requires_grad)


def pull(call: Callable[..., Any], inputs: tuple[Any, ...], params: dict[str, Any], u: Any) -> list[Any]:
    """u dy/dx for every float input x, as arrays."""
    leaves = tracked(inputs)
    grads = autograd.grad(call(*leaves, **params), [leaves[k] for k in floats(inputs)], u)
    return [g.data for g in grads]


def with_floats(inputs: tuple[Any, ...], xs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs with new arrays in the place of the float arrays."""
    new = dict(zip(floats(inputs), xs))
    return tuple(new.get(k, x) for k, x in enumerate(inputs))


def check_order_1(call: Callable[..., Any], sample: Sample) -> None:
    """The vjp against differences of the forward."""
    inputs, params = sample
    xs = [inputs[k] for k in floats(inputs)]
    u = signed(np.shape(call(*inputs, **params)))
    numeric = vjp(lambda *xs: call(*with_floats(inputs, xs), **params), u, *xs)
    for k, (a, b) in enumerate(zip(pull(call, inputs, params, u), numeric, strict=True)):
        assert_close(a, b, f"order 1, input {k}")


def check_order_2(call: Callable[..., Any], sample: Sample) -> None:
    """<w, vjp> differentiated by the inputs and by the incoming gradient, against differences of the vjp."""
    inputs, params = sample
    xs = [inputs[k] for k in floats(inputs)]
    u = signed(np.shape(call(*inputs, **params)))
    ws = [signed(x.shape, k + 1) for k, x in enumerate(xs)]

    def slope(*arrays: Any) -> Any:
        return sum(map(np.vdot, ws, pull(call, with_floats(inputs, arrays[:-1]), params, arrays[-1])))

    leaves, seed = tracked(inputs), Tensor(u, requires_grad=True)
    targets = [leaves[k] for k in floats(inputs)]
    first = autograd.grad(call(*leaves, **params), targets, seed, create_graph=True)
    total = sum((w * g).sum() for w, g in zip(ws, first))
    wanted = [*targets, seed]
    second = autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else [None] * len(wanted)
    for k, (a, b) in enumerate(zip(second, gradient(slope, *xs, u), strict=True)):
        assert_close(
            np.zeros_like(b) if a is None else a.data, b, f"order 2, input {k} (the last: the incoming gradient)"
        )
