"""The recording: a function runs once through the ordinary eager code, with handles in the place of all arrays.

Nothing has to be declared. While a step is recorded, reading ``.data`` of any tensor gives its handle, so every
parameter and buffer is found when it is touched; the state and the settings of an optimizer are found when it steps;
the random generator gives handles too. None of the real objects is written: what the function would leave behind (new
values, ``.grad``, state) is kept here, and becomes the writes of the plan. Names and comments are given in
:mod:`tinygrad_bp.compiler.naming`; what a recording relies on is checked in :mod:`tinygrad_bp.compiler.entry`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import byte_bounds

from ..optim.optimizers import Optimizer
from ..recipe import Node, leaf
from .handle import Handle, Setting
from .origin import Origin, origin, program_line
from .plan import VIEWS, CompileError, Plan, Value, evaluate, pack

__all__ = ["Trace", "is_number"]

Array = ndarray[Any, Any]
Key = tuple[Any, ...]

_NUMBERS = (bool, int, float)

# ---- the trace ---------------------------------------------------------------------------------------------


def _handles(tree: Any) -> Iterator[Handle]:
    """The handles in nested lists, tuples and dicts."""
    if isinstance(tree, Handle):
        yield tree
    elif type(tree) in (list, tuple, dict):
        for below in tree.values() if type(tree) is dict else tree:
            yield from _handles(below)


def is_number(x: Any) -> bool:
    """Whether a value in `param_groups` is a setting that may change: a number, but no bool."""
    return isinstance(x, (int, float, np.number)) and not isinstance(x, bool)


class Trace:
    """What one recording has found and written down; the `Recorder` of its handles.

    Attributes
    ----------
    body, origins
        The instructions so far, and where each comes from.
    arrays
        For every leaf "state" the array outside that it stands for.
    tensors
        Every tensor that was there before and was touched: its leaf, its handle now, its array.
    gradients
        What ``.grad`` of such a tensor is now, where it was set; `looked` holds what it was where that was asked first.
    optimizers
        Those that were used, with their (state, param_groups) as the function sees and leaves them.
    memory
        For every array an optimizer remembers: its leaf, its handle now, and (optimizer, parameter, name).
    settings
        The leaf of every setting in use: (optimizer, group, name, place in a tuple or None, dtype).
    truths
        Whether a setting was zero, where that was asked: (optimizer, group, name, place).
    refusals
        The errors of handles that were asked what they do not know: the program, or NumPy, may have caught them.
    setting_checks
        Checks of settings, to be repeated when one changes.
    written
        The arrays outside that the step writes, known at the end.
    """

    def __init__(self, slot: Any) -> None:
        self._slot = slot
        self.thread = threading.get_ident()
        self.start = leaf(None).clock
        self.body: list[Value] = []
        self.origins: dict[Value, Origin] = {}
        self.arrays: dict[Value, Array] = {}
        self.tensors: dict[Node, list[Any]] = {}
        self.gradients: dict[Node, Any] = {}
        self.looked: dict[Node, Any] = {}
        self.optimizers: dict[Optimizer, tuple[Any, Any]] = {}
        self.memory: list[tuple[Value, Handle, Key]] = []
        self.settings: dict[Key, Value] = {}
        self.truths: dict[Key, bool] = {}
        self.refusals: list[CompileError] = []
        self.setting_checks: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.generator: np.random.Generator | None = None
        self.written: list[Array] = []
        self.closed = False
        self._examples: dict[Value, Any] = {}
        self._constants: dict[int, Value] = {}
        self._shared: dict[int, Handle] = {}
        self._leaf: dict[int, Value] = {}
        self._groups: dict[Optimizer, list[dict[str, Any]]] = {}

    def line(self) -> str:
        """The line of the user's program that is being recorded."""
        return "a stand-in for an array that outlived its recording" if self.closed else program_line()

    # -- instructions --

    def emit(self, op: str, tree: Any, params: tuple[Any, ...] = (), like: Any = None) -> Any:
        """Append an instruction, run it on the examples, and return its result.

        `tree` holds handles, arrays and numbers: the args; for calls (args, kwargs); for put and add_at (array, what
        is put, index). `like` is a handle or (shape, dtype), for "full" and "cast".
        """
        if threading.get_ident() != self.thread:
            raise RuntimeError(
                "compile: an array is being recorded by another thread. Wait until its first call is over."
            )
        if self.closed:
            raise CompileError(f"compile: {self.line()} was used. Do not keep arrays of a step outside of it.")
        if op in ("call", "check", "draw"):
            args, template = pack(self._valued(tree))
            result = self._append(op, args, (*params, template), like)
            if result._value.alias is not None:  # a view of an argument: what is written there is seen here
                shared = [x for x in _handles(tree) if x.value is args[result._value.alias]]
                result.follow(shared[0] if shared else None)
            return result
        if op in ("put", "add_at"):
            x, new, index = tree
            places, template = pack(self._valued(index)) if not params else ((), params[0])
            return self._append(op, (self._valued(x), self._valued(new), *places), (template,), like)
        if not any(isinstance(x, Setting) for x in tree):
            base = tree[0] if op in VIEWS and isinstance(tree[0], Handle) else None
            return self._append(op, tuple(map(self._valued, tree)), params, like, base)
        arrays = [x.dtype for x in tree if not isinstance(x, (Setting, *_NUMBERS))]
        if op == "cast":
            return self._typed(tree[0], like[1])
        if arrays:  # a setting takes the dtype of what it meets, as a float does
            dtype = np.result_type(*arrays, 0.0)
            return self.emit(op, [self._typed(x, dtype) if isinstance(x, Setting) else x for x in tree], params, like)
        plain = self._append(op, tuple(map(self._valued, tree)), params, like)
        return Setting(self, plain.value, plain.example)

    def _append(self, op: str, args: Key, params: Key, like: Any, base: Handle | None = None) -> Handle:
        shape, dtype = (like.shape, like.dtype) if isinstance(like, Handle) else like or ((), np.dtype(float))
        operands = [self._examples[x] if isinstance(x, Value) else x for x in args]
        with np.errstate(all="ignore"):
            example = evaluate(Value(op, args, params, shape, np.dtype(dtype)), operands, self.generator)
        scalar = isinstance(example, (np.generic, *_NUMBERS))
        example = np.asarray(example) if scalar else example
        if not isinstance(example, ndarray) and op != "check":
            raise CompileError(
                f"compile: {program_line()} calls {getattr(params[0], '__name__', params[0])}, which gives no array. "
                "Call the step without compiling it."
            )
        alias = None
        if op == "call":
            alias = next((k for k, x in enumerate(operands) if np.may_share_memory(example, x)), None)
        if op != "check":
            shape, dtype = example.shape, example.dtype
        value = Value(op, args, params, shape, dtype, alias=alias)
        self.body.append(value)
        self.origins[value] = origin()
        self._examples[value] = example
        base = base if base is not None and np.may_share_memory(example, base.example) else None
        return Handle(self, value, example, base, scalar)

    def _valued(self, x: Any) -> Any:
        """A tree with values in the place of handles and arrays; numbers of Python's stay as they are."""
        if isinstance(x, Handle):
            return x.value
        if isinstance(x, Node):
            return self._valued(x.data)
        if isinstance(x, np.generic):
            return self.emit("full", (), (x.item(),), ((), x.dtype)).value
        if isinstance(x, ndarray):
            return self._constant(x)
        if type(x) in (list, tuple):
            return type(x)(map(self._valued, x))
        if type(x) is dict:
            return {key: self._valued(below) for key, below in x.items()}
        return slice(*map(self._valued, (x.start, x.stop, x.step))) if type(x) is slice else x

    def _constant(self, array: Array) -> Value:
        """The leaf of an array that is no tensor's: taken by reference, never written."""
        if array.dtype.kind not in "fiub":
            raise CompileError(f"compile: {program_line()} uses an array of dtype {array.dtype}. Pass real numbers.")
        if id(array) in self._shared:
            return self._shared[id(array)].value
        if id(array) not in self._constants:
            value = Value("constant", (), (array,), array.shape, array.dtype)
            self._constants[id(array)], self._examples[value] = value, array
        return self._constants[id(array)]

    def state(self, array: Array, name: str = "") -> Handle:
        """The handle of an array outside."""
        value = Value("state", (), (), array.shape, array.dtype, name)
        self.arrays[value] = self._examples[value] = array
        return Handle(self, value, array)

    def input(self, array: Array, name: str) -> Handle:
        """The handle of an argument."""
        value = Value("input", (), (), array.shape, array.dtype, name)
        self._examples[value] = array
        return Handle(self, value, array)

    def kernel(self, function: Callable[..., Any], args: Key) -> Any:
        """Record a computation as one instruction."""
        if threading.get_ident() != self.thread or not any(isinstance(x, Value) for x in pack(self._valued(args))[0]):
            return function(*args)
        return self.emit("call", (args, {}), (function,))

    def check(self, function: Callable[..., None], args: Key) -> None:
        """Record a check of values; one that looks only at settings is kept for when they change."""
        if threading.get_ident() != self.thread:
            function(*args)
            return
        if any(isinstance(x, Setting) for x in args):
            self.setting_checks.append((function, args))
            args = tuple(x.example.item() if isinstance(x, Setting) else x for x in args)
        if any(isinstance(x, Value) for x in pack(self._valued(args))[0]):
            self.emit("check", (args, {}), (function,))
        else:
            function(*args)

    # -- settings --

    def setting(self, key: Key, number: float) -> Setting:
        """The handle of a number in `param_groups`."""
        return Setting(self, self._setting_leaf((*key, np.dtype(float)), number), np.asarray(number, float), key)

    def _setting_leaf(self, key: Key, number: float) -> Value:
        if key not in self.settings:
            handle = self.state(np.asarray(number, key[-1]), key[2] if key[3] is None else f"{key[2][:-1]}{key[3] + 1}")
            self.settings[key] = handle.value
        return self.settings[key]

    def _typed(self, x: Setting, dtype: Any) -> Handle:
        """A setting, or what was computed from settings, as an array of a dtype."""
        if x.key is None:
            return self._append("cast", (x.value,), (), ((), dtype))
        value = self._setting_leaf((*x.key, np.dtype(dtype)), x.example.item())
        return Handle(self, value, self._examples[value])

    # -- tensors --

    def array_of(self, node: Node) -> Array:
        """The array itself, of a tensor that is no state but an argument."""
        array: Array = self._slot.__get__(node)
        return array

    def data(self, node: Node, slot: Any) -> Any:
        """What reading ``node.data`` gives: the array of a tensor made in the step, the handle of any other."""
        if node in self.tensors:
            return self.tensors[node][1]
        array = slot.__get__(node)
        if type(array) is not ndarray or node.clock > self.start:
            return array
        if node.tracked and node.recipe is not None:
            raise CompileError(
                f"compile: {program_line()} uses a tensor of shape {array.shape} that was computed outside of the "
                "step. Compute it inside, or detach() it."
            )
        handle = self.shared(array)
        self.tensors[node] = [self._leaf[id(array)], handle, array]
        return handle

    def shared(self, array: Array) -> Handle:
        """The handle of an array outside: the same for all tensors and names that share the array."""
        if id(array) not in self._shared:
            handle = self.state(array)
            self._shared[id(array)], self._leaf[id(array)] = handle, handle.value
        return self._shared[id(array)]

    def set_data(self, node: Node, slot: Any, new: Any) -> None:
        """What ``node.data = new`` does."""
        if isinstance(new, Handle):
            new.scalar = False
        if getattr(node, "clock", self.start) >= self.start and node not in self.tensors:
            slot.__set__(node, new)
            return
        old = self.data(node, slot)
        if new is not old:
            new = new if isinstance(new, Handle) else self.emit("copy", (np.asarray(new),))
            if (new.shape, new.dtype) != (old.shape, old.dtype):
                raise CompileError(
                    f"compile: {program_line()} replaces an array of shape {old.shape}, {old.dtype}, by one of "
                    f"{new.shape}, {new.dtype}. Write into it, or call the step without compiling it."
                )
            self.tensors[node][1] = new

    def gradient(self, node: Node, slot: Any) -> Any:
        """What reading ``.grad`` gives."""
        if node.clock > self.start and node not in self.tensors:
            return slot.__get__(node)
        if node not in self.gradients:
            self.looked[node] = self.gradients[node] = slot.__get__(node)
        return self.gradients[node]

    def set_gradient(self, node: Node, slot: Any, new: Any) -> None:
        """What writing ``.grad`` does."""
        if getattr(node, "clock", self.start) >= self.start and node not in self.tensors:
            slot.__set__(node, new)
        else:
            self.gradients[node] = new

    # -- optimizers --

    def optimizer(self, optimizer: Optimizer) -> tuple[Any, Any]:
        """(state, param_groups) of an optimizer as the function sees them: copies with handles in them."""
        if optimizer not in self.optimizers:
            real = vars(optimizer)
            groups = [
                {name: self._group_entry((optimizer, k, name), value) for name, value in group.items()}
                for k, group in enumerate(real["param_groups"])
            ]
            state = {
                p: {name: self._remembered((optimizer, p, name), value) for name, value in kept.items()}
                for p, kept in real["state"].items()
            }
            self.optimizers[optimizer] = (state, groups)
            self._groups[optimizer] = [dict(group) for group in groups]
        return self.optimizers[optimizer]

    def _group_entry(self, key: Key, value: Any) -> Any:
        if isinstance(value, (tuple, list)) and value and all(map(is_number, value)):
            return tuple(self.setting((*key, i), float(x)) for i, x in enumerate(value))
        if is_number(value):
            return self.setting((*key, None), float(value))
        return list(value) if key[2] == "params" else value

    def _remembered(self, key: Key, value: Any) -> Any:
        if not isinstance(value, ndarray):
            return value
        if key[2].startswith("_"):  # scratch, which nobody reads before it is written
            return self.emit("full", (), (0,), (value.shape, value.dtype))
        handle = self.state(value)
        self.memory.append((handle.value, handle, key))
        return handle

    # -- the end --

    def has_new_state(self) -> bool:
        """Whether an optimizer remembers something that it did not when the recording began.

        Raises CompileError where something else about an optimizer has changed.
        """
        new = False
        for optimizer, (state, groups) in self.optimizers.items():
            real = vars(optimizer)
            if len(groups) != len(real["param_groups"]):
                raise CompileError("compile: the step adds a group to an optimizer. Add it outside of the step.")
            for group, before, handles in zip(groups, real["param_groups"], self._groups[optimizer]):
                changed = [name for name in before if group.get(name) is not handles[name]]
                if changed:
                    raise CompileError(
                        f"compile: the step changes {changed[0]} in param_groups, which a replay would not repeat. "
                        "Change it outside of the step."
                    )
            for p, kept in state.items():
                before = real["state"].get(p, {})
                new = new or any(name not in before and name[0] != "_" for name in kept)
                changed = [name for name, x in before.items() if not isinstance(x, ndarray) and kept.get(name) is not x]
                if changed:
                    raise CompileError(
                        f"compile: the step changes '{changed[0]}' in an optimizer's state, a Python number that a "
                        "replay would not change. Keep it as an array of shape ()."
                    )
        return new

    def plan(self, inputs: list[Handle], outputs: list[Handle], gradients: list[tuple[Value, Handle]]) -> Plan:
        """What was recorded, as a plan that also writes `gradients`."""
        last = [(self._leaf[key], handle) for key, handle in self._shared.items()]
        last += [(value, handle) for value, handle, _ in self.tensors.values()]
        last += [(value, self.optimizers[o][0][p][name]) for value, _, (o, p, name) in self.memory]
        writes = {value: handle.value for value, handle in last if handle.value is not value}
        writes |= {value: handle.value for value, handle in gradients}
        for value in writes:
            array = self.arrays[value]
            if not (array.flags.c_contiguous and array.flags.writeable):
                raise CompileError(
                    f"compile: the step writes into an array of shape {array.shape} that is not contiguous, or "
                    "read-only. Replace it: t.data = np.array(t.data, order='C')."
                )
        self.written = [self.arrays[value] for value in writes]
        self._check_memory([handle.example for handle in inputs])
        results = tuple(handle.value for handle in outputs)
        return Plan(
            tuple(self.body), tuple(h.value for h in inputs), tuple(self.arrays), tuple(writes.items()), results
        )

    def _check_memory(self, arguments: list[Array]) -> None:
        """Refuse where an array that is written shares memory with another: a replay could read it too late."""
        written = set(map(id, self.written))
        known = {id(x): x for x in (*self.arrays.values(), *(v.params[0] for v in self._constants.values()))}
        places = [(*byte_bounds(x), key in written) for key, x in known.items() if x.size]
        places += [(*byte_bounds(x), False) for x in arguments if x.size]
        end, was_written = 0, False
        for low, high, is_written in sorted(places):
            if low < end and (was_written or is_written):
                raise CompileError(
                    "compile: an array that the step writes shares memory with another one that it uses. "
                    "Give each its own (np.array(...)), or call the step without compiling it."
                )
            was_written = is_written or (was_written and low < end)
            end = max(end, high)

    def made(self) -> list[Value]:
        """The constants that the step itself has made: nobody else holds them, so nobody will ever write them."""
        references = 3  # of the leaf, of its example, and of the call that counts
        return [
            value
            for value in self._constants.values()
            if value.params[0].base is None and sys.getrefcount(value.params[0]) <= references
        ]

    def close(self) -> None:
        """Let go of everything that is only of interest while recording."""
        self.closed = True
        for held in (self._examples, self.origins, self.tensors, self.optimizers, self.looked, self.gradients):
            held.clear()
        for shared in (self._shared, self._leaf, self._groups, self._constants):
            shared.clear()
        self.memory.clear()
