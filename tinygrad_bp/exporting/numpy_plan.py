"""What a model computes from rows, as a plan of the compiler's that holds for any number of them.

The forward is recorded for two numbers of rows. Where the two plans differ, they may differ only by numbers that
follow the rows, which become :class:`~tinygrad_bp.exporting.paired.Rows`; anything else is refused, with the module
that does it. Values get the names that a person would give them. How it is printed is in the files below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy import ndarray

from ..compiler.handle import Handle
from ..compiler.passes import optimize, rewrite
from ..compiler.plan import LEAVES, REDUCTIONS, UFUNCS, CompileError, Plan, Value
from ..compiler.trace import Trace
from ..compiler.watch import recording
from ..nn.calls import Call
from ..nn.module import Module
from ..ops import activations
from ..recipe import Node, leaf, no_grad
from .paired import Rows, calls_of

__all__ = ["RECORDED", "Forward", "arrays_in", "evaluated", "forward", "some"]

Array = ndarray[Any, Any]

RECORDED = 5, 7  # numbers of rows; odd, as a division by 2 may become a product


class Forward(NamedTuple):
    """The plan, with Rows among its numbers; the calls of modules; the array behind each leaf "state" of the plan.

    A value's note says which of the calls computed it, which row of the table, and the how-manieth row that was.
    """

    plan: Plan
    calls: list[Call]
    states: dict[Value, Array]


@contextmanager
def evaluated(model: Module) -> Iterator[None]:
    """A block in which the model is in eval mode, and a CompileError becomes the ValueError of an export."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with np.errstate(all="ignore"):
            yield
    except CompileError as error:
        reason = str(error).removeprefix("compile: ").replace("call the step without compiling it", "leave it out")
        raise ValueError(f"export: {reason.replace('the step', 'the forward')}") from None
    finally:
        for module, mode in modes:
            module.training = mode


def forward(model: Module, x: Array) -> Forward:
    """What the model, which is in eval mode, computes from rows such as x.

    Raises CompileError where it looks at numbers that are known only when it runs, and ValueError, with the module,
    where it draws random ones, writes into a tensor, or does other things for another number of rows; TypeError where
    it returns no tensors.

    >>> import tinygrad_bp as bp
    >>> print(forward(bp.nn.ReLU().eval(), np.ones((1, 3))).plan)
          inputs: x [Rows(scale=1, shift=0), 3]
               a = maximum(x, 0.0)  [Rows(scale=1, shift=0), 3] float64
          return a
    """
    first, second = (_recorded(model, some(x, n)) for n in RECORDED)
    return first._replace(plan=_paired(first, second))


def some(x: Array, n: int) -> Array:
    """That many rows, taken from x over and over."""
    return x[np.arange(n) % len(x)]


def arrays_in(output: Any) -> Iterator[Any]:
    """The tensors and arrays in what a module gave, or was given."""
    if isinstance(output, (tuple, list)):
        for one in output:
            yield from arrays_in(one)
    elif isinstance(output, (Node, ndarray, np.generic)):
        yield output


# ---- recording -------------------------------------------------------------------------------------------------------


def _recorded(model: Module, x: Array) -> Forward:
    with recording() as trace, no_grad():
        given = trace.input(x, "x")
        calls = calls_of(model, leaf(given), len(x))
        if trace.refusals:
            raise trace.refusals[0]
        outputs = [_handle_in(trace, y) for y in arrays_in(calls[0].output)]
        if not outputs:
            what = type(calls[0].output).__name__
            raise TypeError(f"export: the model returns a {what}. Return a Tensor, or a tuple of them.")
        plan = trace.plan([given], outputs, [])
        names, notes = _Names(trace, model, calls).all()
    states = {replace(v, name=names.get(v, "")): array for v, array in trace.arrays.items()}
    new: dict[Any, Value] = dict(zip(trace.arrays, states))
    for v in plan.body:
        args = tuple(new.get(a, a) for a in v.args)
        new[v] = replace(v, args=args, name=names.get(v, ""), note=notes[v])
    trace.close()
    for v in plan.body:
        if v.op == "draw":
            _refuse(new[v], calls, "draws random numbers in eval mode. Let it draw only while training")
    for _, last in plan.writes:
        _refuse(new[last], calls, "writes into a tensor in eval mode. Let it write only while training")
    body, results = (tuple(new.get(v, v) for v in of) for of in (plan.body, plan.outputs))
    plan = optimize(Plan(body, plan.inputs, tuple(states), (), results))
    return Forward(optimize(rewrite(plan, _plainer)), calls, states)


def _handle(y: Any) -> Handle | None:
    """That of a tensor or array, the same every time; none where the forward made it of numbers."""
    array = y.data if isinstance(y, Node) else y
    return array if isinstance(array, Handle) else None


def _handle_in(trace: Trace, y: Any) -> Handle:
    """A new one, then, of a constant."""
    handle = _handle(y)
    made: Handle = trace.emit("copy", (y.data if isinstance(y, Node) else y,)) if handle is None else handle
    return made


def _refuse(v: Value, calls: list[Call], what: str) -> NoReturn:
    call = calls[int(v.note.split()[0])] if v.note else calls[0]
    path = f" ({call.path})" if call.path else ""
    raise ValueError(f"export: {type(call.module).__name__}{path} {what}.")


class _Names:
    """z1 is what the first linear layer or convolution gives, W1 and b1 are its weights, a1 is what follows from z1.

    What another module gives has the module's name. No other value has one: it may be written inside another's line.
    """

    def __init__(self, trace: Trace, model: Module, calls: list[Call]) -> None:
        self.trace, self.model = trace, model
        self.calls = sorted(calls, key=lambda call: call.ended)  # what is inside another ends before it
        self.number = {call: k for k, call in enumerate(calls)}
        self.names: dict[Value, str] = {}
        self.layers = 0
        self.reached: dict[Value, int] = {}  # how many layers there were before it

    def all(self) -> tuple[dict[Value, str], dict[Value, str]]:
        """The names and the notes."""
        last: dict[Any, Value] = {}
        owners: dict[Any, int] = {}
        for v in self.trace.body:
            last[self.trace.origins[v].owner] = v
            owners.setdefault(self.trace.origins[v].owner, len(owners))
        notes, claimed = {}, self._claimed()
        for v in self.trace.body:
            origin = self.trace.origins[v]
            row = origin.op.name.strip("_") if origin.op else "t"
            notes[v] = f"{claimed.get(v, 0)} {row} {owners[origin.owner]}"
            self.reached[v] = self.layers
            if origin.op and last[origin.owner] is v:
                self._of_row(row, v, origin.inputs)
        for call in self.calls:
            kind = type(call.module)
            for v in map(_added, self._values(call.output)[:1]):
                if kind.__name__ not in ("Sequential", "Identity") and v in self.reached and v not in self.names:
                    is_activation = kind.__module__.endswith("nn.activations")
                    word = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__.rstrip("123d"))
                    self.names[v] = f"a{self.reached[v] or ''}" if is_activation else word.lower()
        for _, module in self.model.named_modules():
            is_norm = type(module).__module__.endswith("nn.normalization")
            for name, x in vars(module).items():
                if isinstance(x, Node) and x in self.trace.tensors:
                    self.names.setdefault(self.trace.tensors[x][0], _NORMS.get(name, name) if is_norm else name)
        return self.names, notes

    def _values(self, tree: Any) -> list[Value]:
        return [handle.value for handle in map(_handle, arrays_in(tree)) if handle is not None]

    def _claimed(self) -> dict[Value, int]:
        """The number of the innermost call that computed each value."""
        claimed: dict[Value, Call] = {}
        for call in self.calls:
            seen, pending = set(self._values(call.inputs)), self._values(call.output)
            while pending:
                v = pending.pop()
                if v not in seen and v.op not in LEAVES and _is_within(claimed.setdefault(v, call), call):
                    pending += v.values
                seen.add(v)
        return {v: self.number[call] for v, call in claimed.items()}

    def _of_row(self, row: str, v: Value, inputs: Sequence[Any]) -> None:
        if row == "linear" or row.startswith("conv"):
            self.layers += 1
            self.names[_added(v)] = f"z{self.layers}"
            for letter, x in zip("Wb", inputs[1:]):
                for leaf in map(_reshaped, self._values(x)):
                    if leaf.op == "state":
                        self.names.setdefault(leaf, f"{letter}{self.layers}")
        elif row in _ACTIVATIONS:
            self.names[v] = f"a{self.layers or ''}"


def _added(v: Value) -> Value:
    """A bias is added to a matrix in place, in a view of it, which then has its old shape again: the sum itself."""
    return x if (x := _reshaped(v)).op == "add" else v


def _reshaped(v: Value) -> Value:
    """What a value is a reshape of."""
    while v.op == "reshape":
        v = v.args[0]
    return v


def _is_within(call: Call | None, other: Call) -> bool:
    """Whether a call is the other, or was made within it."""
    while call is not None and call is not other:
        call = call.parent
    return call is other


_NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}
_ACTIVATIONS = {"sigmoid", "tanh", "relu", "softmax", "log_softmax", *activations.__all__} - {"ndtr"}


# ---- plainer instructions, and two plans as one ----------------------------------------------------------------------


def _plainer(v: Value) -> Value | None:
    """f(x.T, y.T) = f(x, y).T, and so for sums along an axis; (x as a matrix) @ w, as many axes as x, = x @ w."""
    inside = [a for a in v.values if a.ndim]
    if (v.op in UFUNCS or (v.op in REDUCTIONS and v.params[1])) and inside:
        turns = {a.params[0] if a.op == "transpose" else () for a in inside}
        if len(turns) == 1 and () not in turns and all(a.ndim == v.ndim for a in inside):
            axes = turns.pop()
            args = tuple(a.args[0] if a in inside else a for a in v.args)
            params = (tuple(sorted(axes[k] for k in v.params[0])), True) if v.params else ()
            shape = tuple(v.shape[axes.index(k)] for k in range(v.ndim))
            turned = replace(v, args=args, params=params, shape=shape, name="")
            return replace(v, op="transpose", args=(turned,), params=(axes,))
    if v.op == "reshape" and v.args[0].op == "matmul":
        x, w = v.args[0].args
        if x.op == "reshape" and w.ndim == 2:
            x = x.args[0]
            if x.ndim > 2 and x.shape[-1] == w.shape[0] and v.shape == (*x.shape[:-1], w.shape[1]):
                return replace(v, op="matmul", args=(x, w), params=())
    return None


class _DifferError(Exception):
    """Two trees that are not the same but for numbers that follow the rows."""


def _paired(first: Forward, second: Forward) -> Plan:
    """The first plan with Rows in the place of all numbers that follow the rows."""
    new: dict[Any, Value] = {}
    twins: dict[Value, Value] = {}

    def both(a: Any, b: Any) -> Any:
        if isinstance(a, Value) and isinstance(b, Value):
            if a.op == b.op == "constant" and a not in new:
                new[a] = replace(a, shape=both(a.shape, b.shape), params=(_constant(*a.params, *b.params),))
                twins[a] = b
            if twins.get(a) is not b:
                raise _DifferError
            return new[a]
        if type(a) is not type(b):
            raise _DifferError
        if type(a) in (tuple, list) and len(a) == len(b):
            return type(a)(map(both, a, b))
        if type(a) is dict and a.keys() == b.keys():
            return {key: both(a[key], b[key]) for key in a}
        if type(a) is slice:
            return slice(both(a.start, b.start), both(a.stop, b.stop), both(a.step, b.step))
        if a is b or a == b or (a != a and b != b):
            return a
        if type(a) not in (int, float) or a != int(a) or b != int(b) or (b - a) % (RECORDED[1] - RECORDED[0]):
            raise _DifferError
        scale = int(b - a) // (RECORDED[1] - RECORDED[0])
        return Rows(scale, int(a) - scale * RECORDED[0])

    known = [*zip(first.plan.inputs, second.plan.inputs)]
    arrays = {id(array): v for v, array in second.states.items()}
    known += [(v, arrays[id(array)]) for v, array in first.states.items() if id(array) in arrays]
    for a, b in known:
        new[a], twins[a] = a if a.op == "state" else replace(a, shape=both(a.shape, b.shape)), b
    body, notes, note = [], {}, ""
    for v in reversed(first.plan.body):  # what a pass made has the note of what it was made for
        note = notes[v] = v.note or note
    for a, b in zip_longest(first.plan.body, second.plan.body):
        try:
            args, params, shape = (both(getattr(a, of), getattr(b, of)) for of in ("args", "params", "shape"))
            both((a.op, a.dtype.str), (b.op, b.dtype.str))
        except (_DifferError, AttributeError):
            more, v = (second, b) if len(second.plan.body) > len(first.plan.body) else (first, a)
            cure = "Let what it does not depend on how many rows there are, and draw no numbers"
            _refuse(v, more.calls, f"does other things for {RECORDED[0]} rows than for {RECORDED[1]}. {cure}")
        new[a], twins[a] = replace(a, args=args, params=params, shape=shape, note=notes[a]), b
        body.append(new[a])
    try:
        outputs = both(first.plan.outputs, second.plan.outputs)
    except _DifferError:
        _refuse(first.plan.outputs[0], first.calls, "returns other things for other numbers of rows. Let it not")
    return Plan(tuple(body), tuple(new[v] for v in first.plan.inputs), first.plan.states, (), outputs)


def _constant(a: Array, b: Array) -> Array:
    """An array that has as many rows as x only by being the same in all of them: with one of them."""
    for axis, (m, n) in enumerate(zip(a.shape, b.shape)):
        if m != n and not (_counts(a) and _counts(b)):
            a, b = a.take([0], axis) if (a == a.take([0], axis)).all() else a, b.take([0], axis)
    if _counts(a) and _counts(b):
        return a
    if a.shape != b.shape or a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        raise _DifferError
    return a


def _counts(x: Array) -> bool:
    """Whether it is 0, 1, 2, ..."""
    return x.dtype == np.intp and x.ndim == 1 and np.array_equal(x, np.arange(len(x)))
