"""One run of a function under observation, and what comes of it: a recording.

Arguments become handles, the function runs, and what it returns and leaves behind becomes outputs and writes of a plan;
that is improved, written as code, and given a door (:mod:`tinygrad_bp.compiler.entry`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy import ndarray

from ..recipe import Node, leaf
from ..tensor import Tensor
from . import numpy_source
from .checks import cheaper_checks
from .entry import MISS, Facts
from .handle import Handle, Setting
from .naming import named
from .passes import optimize
from .plan import CompileError, Plan, Slot, Value
from .surroundings import Surroundings
from .trace import Trace
from .watch import recording

__all__ = ["Recording", "record"]

_left: WeakValueDictionary[int, Any] = WeakValueDictionary()  # gradients that replays leave, and may write again


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
    enter, missing
        The door, and what does not hold for a call, in words.
    arrays, examples
        The array behind each leaf of the plan, and copies of the arguments of the first call.
    """

    def __init__(
        self,
        title: str,
        plan: Plan,
        source: str,
        enter: Callable[[Any, Any], Any],
        missing: Callable[[Any, Any], str],
        arrays: Mapping[Value, ndarray[Any, Any]],
        examples: Sequence[ndarray[Any, Any]],
    ) -> None:
        self.title, self.plan, self.source, self.enter, self.missing = title, plan, source, enter, missing
        self.arrays, self.examples = arrays, examples
        self.key = ", ".join(f"{v.name} {list(v.shape)} {v.dtype}" for v in plan.inputs)

    def __repr__(self) -> str:
        return f"<recording of {self.key}: {len(self.plan.body)} instructions>"


def record(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], backend: str
) -> Recording | None:
    """The recording of a call, or None where the call makes state for an optimizer. Nothing real is changed."""
    return _Run(function, args, kwargs).recording(backend)


def _objects(tree: Any) -> Iterator[Any]:
    """What is among the arguments beside arrays, tensors and containers."""
    if isinstance(tree, (list, tuple, dict)):
        for below in tree.values() if isinstance(tree, dict) else tree:
            yield from _objects(below)
    elif not isinstance(tree, (ndarray, Node)):
        yield tree


class _Run:
    """One run of a function under observation."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.facts = Facts()
        self.inputs: list[Handle] = []
        self.outputs: list[Handle] = []
        self.gradients: list[tuple[Node, Any]] = []
        self.buffers: list[tuple[Value, Handle]] = []
        self.owners: dict[Value, Node] = {}
        self.results: dict[Value, str] = {}

    def recording(self, backend: str) -> Recording | None:
        """The recording, or None where the function has made state for an optimizer."""
        with recording() as trace:
            around = Surroundings(self.function, list(_objects((self.args, self.kwargs))))
            paths = self._rely_on(trace, around)
            names = self._argument_names()
            args = [self._stand_in(trace, x, name) for x, name in zip(self.args, names)]
            kwargs = {key: self._stand_in(trace, x, key) for key, x in self.kwargs.items()}
            with around.watched(trace.shared):
                try:
                    result = self.function(*args, **kwargs)
                finally:
                    if trace.refusals:
                        raise trace.refusals[0] from None
            template = self._returned(trace, result, "")
            if trace.has_new_state():
                trace.close()
                return None
            self._left_behind(trace)
        del args, kwargs, result
        self.facts.trace(trace)
        plan = trace.plan(self.inputs, self.outputs, self.buffers)
        written = [node for node, (value, handle, _) in trace.tensors.items() if handle._value is not value]
        plan = cheaper_checks(optimize(named(plan, trace, around.paths(), self.owners, self.results)))
        found = self._written(plan, trace, paths, written, template, backend)
        trace.close()
        return found

    def _rely_on(self, trace: Trace, around: Surroundings) -> list[str]:
        """Note what the recording will rely on; returns the expressions of the arrays among the arguments."""
        facts, names = self.facts, self._argument_names()
        facts.holds(f"kwargs.keys() == {facts.name(set(self.kwargs))}" if self.kwargs else "not kwargs", "the keywords")
        paths = []
        for k, (x, name) in enumerate(zip(self.args, names)):
            paths += facts.arguments(trace, x, f"a{k}", f"argument '{name}'")
        for key, x in self.kwargs.items():
            paths += facts.arguments(trace, x, f"kwargs[{key!r}]", f"argument '{key}'")
        facts.modes()
        facts.surroundings(around)
        return paths

    def _argument_names(self) -> list[str]:
        try:
            bound = inspect.signature(self.function).bind(*self.args, **self.kwargs)
        except (TypeError, ValueError):  # which the call itself will say
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
            if type(x) is not ndarray or x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
                raise CompileError(
                    f"compile: argument '{name}' is a {type(x).__name__} of dtype {x.dtype}. "
                    "Pass an array of real numbers of at most 64 bits."
                )
            self.inputs.append(trace.input(x, name))
        elif type(x) is float:
            handle = trace.input(np.asarray(x), name)
            self.inputs.append(Setting(trace, handle.value, handle.example))
        elif is_dataclass(x):
            raise CompileError(f"compile: argument '{name}' is a dataclass. Pass a dict or a tuple.")
        else:
            return x
        return self.inputs[-1]

    def _returned(self, trace: Trace, result: Any, name: str) -> Any:
        """The result with a slot for every array, whose handles are kept."""
        if isinstance(result, dict):
            return {key: self._returned(trace, x, str(key)) for key, x in result.items()}
        if isinstance(result, (list, tuple)):
            names = getattr(result, "_fields", [""] * len(result))
            below = [self._returned(trace, x, field) for x, field in zip(result, names)]
            return type(result)(*below) if hasattr(result, "_fields") else type(result)(below)
        if isinstance(result, Node):
            result = result.data
        if type(result) is ndarray or isinstance(result, np.generic):
            result = trace.emit("copy", (np.asarray(result),))
        if isinstance(result, Handle):
            self.outputs.append(result)
            if name.isidentifier():
                self.results[result.value] = name
            return Slot(len(self.outputs) - 1)
        if not isinstance(result, (bool, int, float, str, type(None))):
            raise CompileError(
                f"compile: the step returns a {type(result).__name__}. Return tensors, arrays and numbers, or lists, "
                "tuples and dicts of them."
            )
        return result

    def _left_behind(self, trace: Trace) -> None:
        """The gradients that the function leaves in ``.grad``, each in an array that the recording owns."""
        for node, g in trace.gradients.items():
            before = trace.looked.get(node, MISS)
            if g is before:
                continue
            if isinstance(g, Node) and isinstance(g.data, Handle) and g not in trace.tensors:
                if _left.get(id(before)) is before and before in trace.tensors:  # added to what a replay has left
                    value, g_tensor = trace.tensors[before][0], before
                else:
                    array = np.zeros(g.data.shape, g.data.dtype)
                    value, g_tensor = trace.state(array).value, leaf(array)
                    _left[id(g_tensor)] = g_tensor
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
        return Recording(
            title, plan, source.text, enter, self.facts.missing, outside, [x.example.copy() for x in self.inputs]
        )
