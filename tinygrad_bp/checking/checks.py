"""Where people meet the checker: one function for each thing there is to check, all of them answering with a Report.

Each makes a :class:`~tinygrad_bp.checking.problem.Problem` and leaves the rest to
:mod:`~tinygrad_bp.checking.pipeline`. Whatever the function under test does, the answer is a report: exceptions, wrong
arity, None, integers and infinities become a line of it. Only options that mean nothing are errors.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from .. import random
from ..nn.module import Module
from ..recipe import Node
from .adapters import argument_names, of_backprop, of_function, of_layer, of_loss
from .pipeline import Make, Options, Seed, checked, generators_kept, to_order
from .problem import Broken
from .report import SEVERITY, Call, Diagnosis, Report

__all__ = ["assert_gradcheck", "check_backprop", "check_layer", "check_loss", "gradcheck"]

Mode = Literal["auto", "full", "fast"]
Kinks = Literal["allow", "fail"]


def gradcheck(
    fn: Callable[..., Any],
    *inputs: Any,
    mode: Mode = "auto",
    order: Literal[1, 2] = 1,
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Are the gradients of `fn`, a function of Tensors, right?

    Parameters
    ----------
    fn : callable
        Takes the inputs, returns a Tensor, or a tuple, list or dict of them. A layer is handed to :func:`check_layer`.
    inputs
        Float arrays and Tensors are differentiated, in float64 whatever their dtype; integers, bools, None and
        everything else are passed on as they are.
    mode : "auto", "full" or "fast"
        "full" measures every derivative, "fast" a few sums of them with random signs and, if these are off, the
        entries that make them so. "auto" is "full" up to 2,000 input entries.
    order : 1 or 2
        2 checks the backward itself as well (its derivatives by inputs and incoming gradient), and that second
        derivatives are symmetric.
    rtol : float
        Relative error that is allowed beside the numeric error.
    kinks : "allow" or "fail"
        Whether a value between the two slopes at a kink is right.
    rng : None, int or numpy.random.Generator
        The seed of the directions, 0 by default; or the generator that `fn` draws from, which is put back to its
        present state before every call, as the package's own generator always is.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bool(bp.gradcheck(lambda x, w: (x @ w).tanh(), bp.randn(4, 3), bp.randn(3, 2)))
    True
    >>> cube = bp.primitive("cube", lambda x: x**3, lambda g, y, x: g * 2 * x**2)
    >>> bp.gradcheck(cube, [1.0, 2.0]).diagnosis[0].code
    'FACTOR'
    """
    if isinstance(fn, Module):
        return check_layer(fn, *inputs, mode=mode, order=order, rtol=rtol, kinks=kinks, rng=rng)
    options = Options("gradcheck", mode, order, rtol, kinks, rng)
    call = Call("function", (fn,), _named(fn, inputs), options.given())
    return to_order(lambda g: of_function(fn, inputs, g), call, options)


def check_backprop(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *arrays: Any,
    loss: bool = False,
    mode: Mode = "auto",
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Does `backward`, written by hand on NumPy arrays, return the gradients of `forward`?

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` returns an array, or a tuple of arrays.
    backward : callable
        ``backward(*arrays, upstream)`` returns one gradient for each float array (or for each argument): an array, a
        tuple or list, or a dict by the names of the arguments. None is zero. `upstream` has the shape of the output.
    loss : bool
        `forward` returns a scalar, and the backward is ``backward(*arrays)``: the gradients of that scalar.

    The other parameters are those of :func:`gradcheck`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_bp as bp
    >>> def forward(x, W, b):
    ...     return x @ W.T + b
    >>> def backward(x, W, b, upstream):
    ...     return upstream @ W, upstream.T @ x, upstream[0]
    >>> x, W, b = np.ones((4, 3)), np.eye(2, 3), np.zeros(2)
    >>> bp.check_backprop(forward, backward, x, W, b).diagnosis[0].code
    'BROADCAST'
    """
    options = Options("check_backprop", mode, 1, rtol, kinks, rng)
    call = Call(
        "backprop", (forward, backward), _named(forward, arrays), options.given() | ({"loss": True} if loss else {})
    )
    return checked(lambda g: of_backprop(forward, backward, arrays, loss, g), call, options)


def check_loss(
    f: Callable[..., Any],
    params: Any,
    grads: Any,
    mode: Mode = "auto",
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Are `grads` the gradients of the scalar f by `params`?

    Parameters
    ----------
    f : callable
        A scalar: ``f(*params)`` of a list or tuple, ``f(params)`` of one array or a dict; or ``f()``, which reads the
        arrays `params` where they are: then they are changed for the length of the check.
    params, grads
        An array, or lists, tuples and dicts of arrays nested in the same way; Tensors count as arrays.

    The other parameters are those of :func:`gradcheck`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_bp as bp
    >>> theta = np.array([1.0, 2.0, 3.0])
    >>> bool(bp.check_loss(lambda theta: np.sum(theta**2), theta, 2 * theta))
    True
    """
    options = Options("check_loss", mode, 1, rtol, kinks, rng)
    return checked(lambda g: of_loss(f, params, grads, g), None, options)


def check_layer(
    layer: Module,
    *inputs: Any,
    mode: Mode = "auto",
    order: Literal[1, 2] = 1,
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Are the gradients of a layer right, by every parameter and every input, in training and in evaluation?

    What is checked is a copy: the layer is left as it was found. Where evaluation gives the same numbers as training it
    is not measured again; else the report is the worse of the two and its notes name the other. The parameters are
    those of :func:`gradcheck`.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bool(bp.check_layer(bp.nn.Linear(3, 2), bp.randn(4, 3)))
    True
    """
    if not isinstance(layer, Module):
        finding = Diagnosis("INPUT", f"a {type(layer).__name__} is no nn.Module", "Pass a layer, or use gradcheck")
        return Report("check_layer", "CONTRACT", diagnosis=(finding,))
    options = Options("check_layer", mode, order, rtol, kinks, rng)
    parameters = {name: p.data.copy() for name, p in layer.named_parameters()}
    call = Call("layer", (layer,), _named(layer.forward, inputs) | parameters, options.given())

    def in_mode(training: bool) -> Make:
        return lambda generator: of_layer(_copied(layer, generator).train(training), inputs, generator)

    first = to_order(in_mode(True), call, options)
    if first.ok and _alike(in_mode(True), in_mode(False), options):
        return first
    second = to_order(in_mode(False), call, options)
    in_training = SEVERITY.index(first.status) >= SEVERITY.index(second.status)
    note = f"this is in training; in evaluation: {second.status}"
    if not in_training:
        note = f"this is in evaluation; in training: {first.status}"
    worse = first if in_training else second
    return replace(worse, evals=first.evals + second.evals, notes=(*worse.notes, note))


def _copied(layer: Module, generator: np.random.Generator | None) -> Module:
    """A copy of the layer, which draws from the same generators."""
    same = {id(g): g for g in (generator, random.generator())}
    try:
        return copy.deepcopy(layer, same)
    except Exception as error:
        text = f"a copy of the layer is what is checked, and it cannot be copied: {error}"
        raise Broken("INPUT", text, "Give its class a __deepcopy__") from error


def _alike(one: Make, other: Make, options: Options) -> bool:
    """Whether functions and backwards give the same numbers, to the bit."""
    found = []
    with generators_kept(options.generator):
        for make in (one, other):
            try:
                problem = make(options.generator)
                problem.rewind()
                found.append((problem.y, problem.vjp(np.random.default_rng(0).standard_normal(problem.y.size))))
            except Broken:
                return False
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*found))


def assert_gradcheck(fn: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    """:func:`gradcheck`, which raises AssertionError with the report where the gradients cannot be trusted.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.assert_gradcheck(bp.ops.sigmoid, [0.5, -1.0]).status
    'PASS'
    """
    report = gradcheck(fn, *inputs, **options)
    if not report:
        raise AssertionError(str(report))
    return report


def _named(function: Any, given: Sequence[Any]) -> dict[str, Any]:
    arrays = [a.data if isinstance(a, Node) else a for a in given]
    return dict(zip(argument_names(function, len(given)), arrays))
