"""``bp.compile``: call a function as before; what it does is recorded once and replayed from then on.

A :class:`Step` keeps one recording for every kind of call (structure, shapes and dtypes of the arguments, modes, and
whatever else the recording has relied on) and looks for one that holds; where none does, it records. How a function is
recorded is said in :mod:`tinygrad_bp.compiler.trace`, how the plan is improved and written in the files below it.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import update_wrapper
from types import MethodType
from typing import Any

import numpy as np

from ..io.atomic import in_place_of
from ..tensor import Tensor
from . import numpy_source
from .entry import MISS
from .plan import CompileError
from .record import Recording, record
from .standalone import standalone
from .watch import in_recording, lock

__all__ = ["CompileError", "Recording", "Step", "compile"]

BACKENDS = ("numpy", "numba")
MANY = 32  # recordings of one step at most

_LASTING = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
_log = logging.getLogger("tinygrad_bp")


def compile(function: Callable[..., Any] | None = None, *, backend: str = "numpy") -> Any:
    """`function` as a :class:`Step`: recorded at the first call of each kind, then replayed as flat NumPy calls.

    The function is a whole training step, forward, backward and update, or any part of one; it is written as ever, and
    nothing has to be declared. A replay leaves behind what the function would: parameters, buffers and what optimizers
    remember are written in place, ``.grad`` is there until the next call, results are new tensors without history.
    Compiled and eager calls may be mixed. Changing ``lr`` or another number in `param_groups` takes effect at once.

    Parameters
    ----------
    function
        Its arguments may be arrays, tensors that do not require grad, numbers, and lists, tuples and dicts of them.
        Left out, ``compile`` is a decorator: ``@bp.compile`` or ``@bp.compile(backend="numba")``.
    backend
        "numpy", or "numba" (the extra ``jit``), which fuses what is elementwise and is faster on small nets.

    Raises
    ------
    CompileError
        At the first call, before anything is changed: the step needs numbers that are known only when it runs (``if
        loss > 1``, ``.item()``), or changes something that a replay would not change. The line is named.
    ValueError
        There is no such back end.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> w = bp.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = bp.optim.SGD([w], lr=0.25)
    >>> @bp.compile
    ... def step(x):
    ...     optimizer.zero_grad()
    ...     loss = (w * x).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> step(np.array([2.0, 4.0])), w
    (tensor(10.), tensor([0.5, 1. ], requires_grad=True))
    """
    if backend not in BACKENDS:
        raise ValueError(f'compile: there is no backend {backend!r}. Choose "numpy" or "numba".')
    if function is None:
        return lambda wrapped: compile(wrapped, backend=backend)
    if not callable(function) or isinstance(function, type):
        what = f"the class {function.__name__}" if isinstance(function, type) else f"a {type(function).__name__}"
        raise TypeError(f"compile: got {what}, not a function. Pass a function of the mini-batch.")
    if any(kind(function) for kind in _LASTING):
        raise TypeError("compile: a generator or coroutine outlives its call. Compile a function that it calls.")
    if backend == "numba":
        from . import numba_source

        numba_source.require()
    return Step(function, backend)


def _detached(result: Any) -> Any:
    """The result of an eager call as a replay returns it: without history."""
    if isinstance(result, (Tensor, np.ndarray, np.generic)):
        return Tensor(np.copy(result.data if isinstance(result, Tensor) else result))
    if isinstance(result, dict):
        return {key: _detached(x) for key, x in result.items()}
    if isinstance(result, (list, tuple)):
        below = map(_detached, result)
        return type(result)(*below) if hasattr(result, "_fields") else type(result)(below)
    return result


class Step:
    """A compiled function; made by :func:`compile`.

    Attributes
    ----------
    recordings
        One for every kind of call so far, the one used last first.
    """

    def __init__(self, function: Callable[..., Any], backend: str) -> None:
        self.function, self.backend = function, backend
        self.recordings: list[Recording] = []
        self._told = self._always_new = False
        self._key = ""
        update_wrapper(self, function)

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"compiled {owner.__module__}.{owner.__qualname__}.{name}"  # no identifier: it hides no attribute

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A compiled method: a step of its own for every object, kept in the object's ``__dict__``."""
        if instance is None or not self._key:
            return self
        if in_recording():
            return MethodType(self.function, instance)
        kept = getattr(instance, "__dict__", None)
        if kept is None:
            name = type(instance).__name__
            raise TypeError(
                f"compile: a {name} has no __dict__ to keep its step in. Call bp.compile(...) on a function."
            )
        if self._key not in kept:
            kept[self._key] = Step(MethodType(self.function, instance), self.backend)
        return kept[self._key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the function; the first call of a kind records."""
        if self.recordings:
            result = self.recordings[0].enter(args, kwargs)
            if result is not MISS:
                return result
        if in_recording():
            return self.function(*args, **kwargs)
        with lock:  # while another thread records, nothing holds: ask again
            result = self._replayed(args, kwargs)
            return self._first(args, kwargs) if result is MISS else result

    def _replayed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the first recording that holds gives, or MISS."""
        for k, recording in enumerate(self.recordings):
            result = recording.enter(args, kwargs)
            if result is not MISS:
                self.recordings.insert(0, self.recordings.pop(k))
                return result
        return MISS

    def _first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(self.recordings) == MANY:
            self._give_up(args, kwargs)
            return _detached(self.function(*args, **kwargs))
        found = record(self.function, args, kwargs, self.backend)
        if found is not None:
            self.recordings.insert(0, found)
            result = found.enter(args, kwargs)
            if result is MISS:
                raise CompileError("compile: the step changes what it relies on. Call it without compiling it.")
            return result
        if self._always_new:
            raise CompileError(
                "compile: the step makes new optimizer state in every call. Make it in the first, "
                "or call the step without compiling it."
            )
        result = _detached(self.function(*args, **kwargs))  # an optimizer makes what it remembers: once, and eagerly
        with suppress(CompileError):  # the step is done; the next call says so, before it changes anything
            found = record(self.function, args, kwargs, self.backend)
            self._always_new = found is None
        if found is not None:
            self.recordings.insert(0, found)
        return result

    def _give_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "compile: %s has been recorded %d times, and runs eagerly from now on where no recording holds, which "
                "is slow. What differs from the latest is %s. Pass what changes as an argument, numbers as floats.",
                *(getattr(self.function, "__name__", "step"), MANY, self.recordings[0].missing(args, kwargs)),
            )

    @property
    def source(self) -> str:
        """The recording used last as Python that imports NumPy only: what runs."""
        return self._latest().source

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording used last as a program of its own, with the arrays as they are now.

        It needs NumPy and nothing else. Run, it takes ten steps on the mini-batch with which the step was recorded;
        imported, it gives ``make(**load())``, the step. A file of that name is replaced, and only when the new one is
        complete.

        >>> import numpy as np, pathlib, tempfile, tinygrad_bp as bp
        >>> twice = bp.compile(lambda x: x + x)
        >>> twice(np.ones(2))
        tensor([2., 2.])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     twice.save(pathlib.Path(folder) / "twice.py")
        """
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"save: the path is a {type(path).__name__}. Pass the name of a file.")
        latest = self._latest()
        source = numpy_source.emit(latest.plan, latest.title)
        arrays = {v: v.params[0] if v.op == "constant" else latest.arrays[v] for v in source.arrays}
        with in_place_of(path) as file:
            file.write(standalone(source, latest.plan, arrays, latest.examples, latest.title).encode("utf-8"))

    def _latest(self) -> Recording:
        if not self.recordings:
            raise CompileError("source: nothing has been recorded yet. Call the step once.")
        return self.recordings[0]

    def __reduce__(self) -> Any:
        return Step, (self.function, self.backend)  # a copy records anew: it may be of another model

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__name__', 'function')}, {len(self.recordings)} recordings>"
