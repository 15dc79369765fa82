"""``bp.compile``: call a function as before; what it does is recorded once and replayed from then on.

A :class:`Step` keeps one recording for every kind of call (structure, shapes and dtypes of the arguments, modes, and
whatever else the recording has relied on) and looks for one that holds; where none does, it records. How a function is
recorded is said in :mod:`tinygrad_bp.compiler.trace`, how the plan is improved and written in the files below it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from ..io.weights import in_place_of
from ..recipe import Node, leaf
from ..tensor import Tensor
from . import numpy_source
from .checks import cheaper_checks
from .entry import MISS, Facts
from .handle import Handle, Setting
from .naming import named
from .passes import optimize
from .plan import CompileError, Plan, Slot, Value
from .standalone import standalone
from .surroundings import Surroundings
from .trace import Trace, in_recording, recording

__all__ = ["CompileError", "Recording", "Step", "compile"]

BACKENDS = ("numpy", "numba")


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
    if not callable(function):
        raise TypeError(f"compile: got a {type(function).__name__}, not a function. Pass a function of the mini-batch.")
    if backend == "numba":
        from . import numba_source

        numba_source.require()
    return Step(function, backend)


class Recording:
    """One kind of call: its plan, its source, and the door to its replay.

    Attributes
    ----------
    key
        The arguments it is for, in words.
    plan
        The improved instructions; ``print(recording.plan)`` shows them.
    source
        The text that runs.
    arrays, examples
        The array behind each leaf of the plan, and copies of the arguments of the first call.
    """

    def __init__(
        self,
        title: str,
        plan: Plan,
        source: str,
        enter: Callable[[Any, Any], Any],
        arrays: Mapping[Value, ndarray[Any, Any]],
        examples: Sequence[ndarray[Any, Any]],
    ) -> None:
        self.title, self.plan, self.source, self.enter = title, plan, source, enter
        self.arrays, self.examples = arrays, examples
        self.key = ", ".join(f"{v.name} {list(v.shape)} {v.dtype}" for v in plan.inputs)

    def __repr__(self) -> str:
        return f"<recording of {self.key}: {len(self.plan.body)} instructions>"


class Step:
    """A compiled function; made by :func:`compile`.

    Attributes
    ----------
    recordings
        One for every kind of call so far.
    """

    def __init__(self, function: Callable[..., Any], backend: str) -> None:
        self.function, self.backend = function, backend
        self.recordings: list[Recording] = []
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the function; the first call of a kind records."""
        for recording_ in self.recordings:
            result = recording_.enter(args, kwargs)
            if result is not MISS:
                return result
        return self._first(args, kwargs)

    def _first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if in_recording():
            return self.function(*args, **kwargs)
        found = self._record(args, kwargs)
        if found is None:  # an optimizer makes what it will remember: that happens once, and eagerly
            result = self.function(*args, **kwargs)
            found = self._record(args, kwargs)
            if found is None:
                raise CompileError(
                    "compile: the step makes new optimizer state in every call. Make it in the first, "
                    "or call the step without compiling it."
                )
            self.recordings.insert(0, found)
            return result
        self.recordings.insert(0, found)
        result = found.enter(args, kwargs)
        if result is MISS:
            raise CompileError("compile: the step changes what it relies on. Call it without compiling it.")
        return result

    def _record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording | None:
        return _Recorder(self.function, args, kwargs).recording(self.backend)

    @property
    def source(self) -> str:
        """The latest recording as Python that imports NumPy only: what runs."""
        return self._latest().source

    def save(self, path: str | Path) -> None:
        """Write the latest recording as a program of its own, with the arrays as they are now.

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
        latest = self._latest()
        source = numpy_source.emit(latest.plan, latest.title)
        arrays = {v: v.params[0] if v.op == "constant" else latest.arrays[v] for v in source.arrays}
        with in_place_of(Path(path)) as file:
            file.write(standalone(source, latest.plan, arrays, latest.examples, latest.title).encode("utf-8"))

    def _latest(self) -> Recording:
        if not self.recordings:
            raise CompileError("source: nothing has been recorded yet. Call the step once.")
        return self.recordings[0]

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__name__', 'function')}, {len(self.recordings)} recordings>"


class _Recorder:
    """One run of a function under observation."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.facts = Facts()
        self.inputs: list[Handle] = []
        self.outputs: list[Handle] = []
        self.gradients: list[tuple[Node, Any]] = []
        self.buffers: list[tuple[Value, Handle]] = []
        self.owners: dict[Value, Node] = {}

    def recording(self, backend: str) -> Recording | None:
        """The recording, or None where the function has made state for an optimizer."""
        around = Surroundings(self.function)
        names = self._argument_names()
        paths = [
            *(path for k, x in enumerate(self.args) for path in self.facts.arguments(x, f"a{k}")),
            *(path for key, x in self.kwargs.items() for path in self.facts.arguments(x, f"kwargs[{key!r}]")),
        ]
        self.facts.conditions.insert(0, f"kwargs.keys() == {set(self.kwargs)}" if self.kwargs else "not kwargs")
        self.facts.modes()
        self.facts.surroundings(around)
        with recording() as trace:
            args = [self._stand_in(trace, x, name) for x, name in zip(self.args, names)]
            kwargs = {key: self._stand_in(trace, x, key) for key, x in self.kwargs.items()}
            with around.watched():
                try:
                    result = self.function(*args, **kwargs)
                finally:
                    if trace.refusals:
                        raise trace.refusals[0] from None
            template = self._returned(trace, result)
            made = trace.has_new_state()
            if not made:
                self._left_behind(trace)
        if made:
            trace.close()
            return None
        self.facts.trace(trace)
        plan = trace.plan(self.inputs, self.outputs, self.buffers)
        written = [node for node, (value, handle, _) in trace.tensors.items() if handle._value is not value]
        del args, kwargs, result
        plan = cheaper_checks(optimize(named(plan, trace, around.paths(), self.owners)))
        trace.close()
        return self._written(plan, trace, paths, written, template, backend)

    def _argument_names(self) -> list[str]:
        try:
            bound = inspect.signature(self.function).bind(*self.args, **self.kwargs)
        except ValueError:
            return [f"x{k}" for k in range(len(self.args))]
        names = []
        for name, x in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            names += [f"{name}{k}" for k in range(len(x))] if kind is inspect.Parameter.VAR_POSITIONAL else [name]
        return names[: len(self.args)]

    def _stand_in(self, trace: Trace, x: Any, name: str) -> Any:
        """An argument with handles in the place of arrays."""
        if isinstance(x, dict):
            return {key: self._stand_in(trace, below, f"{name}_{key}") for key, below in x.items()}
        if isinstance(x, (list, tuple)):
            below = [self._stand_in(trace, y, f"{name}_{k}") for k, y in enumerate(x)]
            return type(x)(*below) if hasattr(x, "_fields") else type(x)(below)
        if isinstance(x, Tensor):
            if x.tracked:
                raise CompileError(
                    f"compile: argument '{name}' requires grad. Pass x.detach(), make bp.Tensor(x, requires_grad=True) "
                    "inside the step, and return its .grad."
                )
            return leaf(self._stand_in(trace, trace.array_of(x), name))
        if isinstance(x, ndarray):
            self.inputs.append(trace.input(x, name))
        elif isinstance(x, (float, np.floating)):
            handle = trace.input(np.asarray(float(x)), name)
            self.inputs.append(Setting(trace, handle.value, handle.example))
        else:
            return x
        return self.inputs[-1]

    def _returned(self, trace: Trace, result: Any) -> Any:
        """The result with a slot for every array, whose handles are kept."""
        if isinstance(result, dict):
            return {key: self._returned(trace, x) for key, x in result.items()}
        if isinstance(result, (list, tuple)):
            below = [self._returned(trace, x) for x in result]
            return type(result)(*below) if hasattr(result, "_fields") else type(result)(below)
        if isinstance(result, Node):
            result = result.data
        if type(result) is ndarray or isinstance(result, np.generic):
            result = trace.emit("copy", (np.asarray(result),))
        if not isinstance(result, Handle):
            return result
        self.outputs.append(result)
        return Slot(len(self.outputs) - 1)

    def _left_behind(self, trace: Trace) -> None:
        """The gradients that the function leaves in ``.grad``, each in an array that the recording owns."""
        for node, g in trace.gradients.items():
            before = trace.looked.get(node, MISS)
            if g is before:
                continue
            if isinstance(g, Node) and isinstance(g.data, Handle) and g not in trace.tensors:
                kept = isinstance(before, Node) and before in trace.tensors  # added to what was there
                if kept and trace.tensors[before][2].flags.carray:
                    value, g_tensor = trace.tensors[before][0], before
                else:
                    array = np.zeros(g.data.shape, g.data.dtype)
                    value, g_tensor = trace.state(array).value, leaf(array)
                self.buffers.append((value, g.data))
                self.owners[value] = node
                g = g_tensor
            self.gradients.append((node, g))

    def _written(
        self, plan: Plan, trace: Trace, paths: list[str], written: list[Node], template: Any, backend: str
    ) -> Recording:
        """The plan as code, with a door."""
        title = f"{getattr(self.function, '__name__', 'step')}, written out"
        if backend == "numba":
            from . import numba_source

            source = numba_source.emit(plan, title)
            make = numba_source.load(source)
        else:
            source = numpy_source.emit(plan, title)
            known: dict[str, Any] = {"__name__": "step"}
            exec(source.text, known)
            make = known["make"]
        outside = dict(zip(plan.states, trace.arrays.values()))
        step = make(*(v.params[0] if v.op == "constant" else outside[v] for v in source.arrays))
        step = np.errstate(all="ignore")(step)  # a replay does not warn
        draws = any(v.op == "draw" for v in plan.body)
        returned = (template, len(self.outputs))
        enter = self.facts.door(step, len(self.args), paths, trace, draws, written, self.gradients, returned)
        return Recording(title, plan, source.text, enter, outside, [x.example.copy() for x in self.inputs])
