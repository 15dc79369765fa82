"""What a program meets while it is recorded: properties in the place of slots, and draws that are written down.

For as long as a recording lasts, the recording thread reads and writes a :class:`~tinygrad_bp.compiler.trace.Trace`
where it would read and write tensors, optimizers and the random generator; every other thread has the real ones.
Whatever happens, all of it is undone in the end.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np

from .. import opaque, random, recipe
from ..optim.optimizers import Optimizer
from ..recipe import Node
from .handle import Handle, Setting
from .origin import program_line
from .plan import CompileError
from .trace import Trace

__all__ = ["in_recording", "lock", "recording"]

_DRAWS = {
    *("random", "standard_normal", "normal", "uniform", "integers", "standard_exponential", "exponential", "binomial"),
    *("permutation", "permuted", "choice", "poisson", "standard_gamma", "gamma", "beta", "laplace", "gumbel"),
}

lock = threading.RLock()
"""Held while a step is recorded: one recording at a time."""

_current: Trace | None = None


def in_recording() -> bool:
    """Whether this thread is recording a step."""
    trace = _current  # read once: another thread's recording may end meanwhile
    return trace is not None and trace.thread == threading.get_ident()


class _Draws:
    """What stands in the place of the random generator: every draw is recorded."""

    def __init__(self, trace: Trace, generator: np.random.Generator) -> None:
        trace.generator = copy.deepcopy(generator)  # for the examples; the real one is not advanced
        self._trace, self._real = trace, generator

    def __getattr__(self, name: str) -> Any:
        if not in_recording():
            return getattr(self._real, name)
        if name not in _DRAWS:
            raise CompileError(
                f"compile: {program_line()} uses generator().{name}, which cannot be recorded. "
                "Draw outside of the step."
            )
        return lambda *args, **kwargs: self._trace.emit("draw", (args, kwargs), (name,))


def _property(undo: ExitStack, owner: type, name: str, get: Any, put: Any) -> None:
    """Put a property in the place of a slot or attribute, until `undo` is closed."""
    before = vars(owner).get(name)
    slot = before or _Attribute(name)

    def read(self: Any) -> Any:
        return get(self, slot) if in_recording() else slot.__get__(self)

    def write(self: Any, value: Any) -> None:
        put(self, slot, value) if in_recording() else slot.__set__(self, value)

    undo.callback(setattr, owner, name, before) if before is not None else undo.callback(delattr, owner, name)
    setattr(owner, name, property(read, write))


class _Attribute:
    """An entry of an instance's ``__dict__``, spoken to as a slot."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        try:
            return vars(instance)[self.name]
        except KeyError:
            raise AttributeError(self.name) from None

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = value


@contextmanager
def recording() -> Iterator[Trace]:
    """Within the block this thread's tensors, optimizers and random draws are seen by the trace."""
    global _current
    with lock, ExitStack() as undo:
        trace = _current = Trace(vars(Node)["data"])
        undo.callback(_stop)
        _property(undo, Node, "data", trace.data, trace.set_data)
        _property(undo, Node, "gradient", trace.gradient, trace.set_gradient)
        for k, name in enumerate(("state", "param_groups")):
            _property(undo, Optimizer, name, partial(_of_optimizer, trace, k), _set_of_optimizer)
        undo.callback(recipe.NUMBERS.difference_update, {Handle, Setting})
        recipe.NUMBERS.update({Handle, Setting})
        undo.callback(opaque.hand_to, None)
        opaque.hand_to(trace)
        undo.callback(setattr, random, "_generator", random.generator())
        draws: Any = _Draws(trace, random.generator())
        random._generator = draws
        yield trace
        if random._generator is not draws:
            raise CompileError("compile: the step calls manual_seed, which a replay would not. Call it outside.")


def _stop() -> None:
    global _current
    _current = None


def _of_optimizer(trace: Trace, k: int, optimizer: Optimizer, slot: Any) -> Any:
    return trace.optimizer(optimizer)[k] if "param_groups" in vars(optimizer) else slot.__get__(optimizer)


def _set_of_optimizer(optimizer: Optimizer, slot: Any, value: Any) -> None:
    slot.__set__(optimizer, value)
