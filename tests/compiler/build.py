"""Plans written by hand and drawn at random, and two interpreters: of a plan, and of a plan and its layout.

The second follows the layout to the letter, and hands out memory full of nan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_bp.compiler.allocate import Buffer, Layout
from tinygrad_bp.compiler.plan import LEAVES, REDUCTIONS, UFUNCS, VIEWS, Plan, Value, evaluate, pack, unpack


class Writer:
    """Writes a plan: one method per operation, each of which finds shape and dtype by trying it."""

    def __init__(self) -> None:
        self.body: list[Value] = []
        self.inputs: list[Value] = []
        self.states: list[Value] = []
        self.examples: dict[Value, Any] = {}

    def input(self, array: Any, name: str = "x") -> Value:
        return self._leaf("input", (), array, name, self.inputs)

    def state(self, array: Any, name: str = "s") -> Value:
        return self._leaf("state", (), array, name, self.states)

    def constant(self, array: Any, name: str = "") -> Value:
        return self._leaf("constant", (np.asarray(array),), array, name, [])

    def full(self, shape: tuple[int, ...], number: complex, dtype: Any = np.float64) -> Value:
        return self._add("full", (), (number,), np.full(shape, number, dtype))

    def cast(self, x: Value, dtype: Any) -> Value:
        return self._add("cast", (x,), (), self.examples[x].astype(dtype))

    def put(self, x: Value, value: Any, index: Any, op: str = "put") -> Value:
        values, template = pack(index)
        return self._add(op, (x, value, *values), (template,), self.examples[x])

    def call(self, function: Any, *args: Any, op: str = "call", alias: int | None = None, **named: Any) -> Value:
        values, template = pack((args, named))
        return self(op, *values, params=(function, template), alias=alias)

    def __call__(self, op: str, *args: Any, params: tuple[Any, ...] = (), alias: int | None = None) -> Value:
        trial = Value(op, args, params, (), np.dtype(float))
        generator = np.random.default_rng(0)
        with np.errstate(all="ignore"):
            example = evaluate(trial, [self.examples.get(a, a) if isinstance(a, Value) else a for a in args], generator)
        return self._add(op, args, params, np.zeros(()) if example is None else example, alias)

    def plan(self, writes: Sequence[tuple[Value, Value]] = (), outputs: Sequence[Value] = ()) -> Plan:
        return Plan(tuple(self.body), tuple(self.inputs), tuple(self.states), tuple(writes), tuple(outputs))

    def _leaf(self, op: str, params: tuple[Any, ...], array: Any, name: str, leaves: list[Value]) -> Value:
        array = np.asarray(array)
        leaf = Value(op, (), params, array.shape, array.dtype, name)
        self.examples[leaf] = array
        leaves.append(leaf)
        return leaf

    def _add(self, op: str, args: tuple[Any, ...], params: Any, example: Any, alias: int | None = None) -> Value:
        example = np.asarray(example)
        self.body.append(Value(op, args, params, example.shape, example.dtype, alias=alias))
        self.examples[self.body[-1]] = example
        return self.body[-1]


Memory = dict[Value, Any]


def run(plan: Plan, memory: Memory, generator: np.random.Generator | None = None) -> list[Any]:
    """The outputs, each value in an array of its own; `memory` holds inputs and states, written at the end."""
    held: Memory = {leaf: array.copy() for leaf, array in memory.items()}
    for v in plan.body:
        args = [_array(a, held) for a in v.args]
        with np.errstate(all="ignore"):
            result = evaluate(v, args, generator)
        held[v] = None if result is None else np.array(result)
        if v.op != "check":
            assert held[v].shape == v.shape and held[v].dtype == v.dtype, f"{v.op} gives {held[v].dtype}{held[v].shape}"
    outputs = [np.array(_array(v, held)) for v in plan.outputs]
    for state, last in plan.writes:
        memory[state][...] = _array(last, held)
    return outputs


def _array(a: Any, held: Memory) -> Any:
    if not isinstance(a, Value):
        return a
    return a.params[0] if a.op == "constant" else held[a]


class Machine:
    """A plan that runs by its layout to the letter: buffers allocated once, states written in place.

    NumPy forgives an operation that is told to write over what it reads; this machine does not.
    """

    def __init__(self, plan: Plan, layout: Layout, memory: Memory) -> None:
        self.plan, self.layout, self.memory = plan, layout, memory
        buffers = {home for home in layout.homes.values() if isinstance(home, Buffer)}
        assert len({b.number for b in buffers}) == len(buffers)
        self.arrays: dict[Buffer, Any] = {b: np.empty(b.shape, b.dtype) for b in buffers}
        self.held: Memory = {}
        self.constant: set[Buffer] = set()
        for v in plan.body:
            home = layout.homes.get(v)
            if v.op == "full" and isinstance(home, Buffer):  # filled once and for all
                self.arrays[home].fill(v.params[0])
                self.constant.add(home)

    def step(self, generator: np.random.Generator | None = None) -> list[Any]:
        """The outputs; `memory`, which holds inputs and states, is written as the layout says."""
        for buffer, array in self.arrays.items():
            if buffer not in self.constant:
                array.fill({"f": np.nan, "b": True}.get(array.dtype.kind, -77))
        self.held = dict(self.memory)
        for v in self.plan.body:
            args = [_array(a, self.held) for a in v.args]
            with np.errstate(all="ignore"):
                self.held[v] = self._result(v, args, generator)
        for state, last in self.layout.copies:
            np.copyto(self.memory[state], self.held[last])
        outputs = [self.held[v] for v in self.plan.outputs]
        others = [*self.memory.values(), *self.arrays.values(), *(v.params[0] for v in self._constants())]
        for k, array in enumerate(outputs):
            assert not any(np.shares_memory(array, other) for other in [*others, *outputs[:k]]), "an output is shared"
        return outputs

    def _constants(self) -> set[Value]:
        return {a for v in self.plan.body for a in v.values if a.op == "constant"}

    def _result(self, v: Value, args: list[Any], generator: np.random.Generator | None) -> Any:
        home = self.layout.homes.get(v)
        assert (v in self.layout.homes) != (v.op in VIEWS or v.alias is not None)
        if home is None:
            result = evaluate(v, args, generator)
            return result if result is None else np.asarray(result)
        out = self.arrays[home] if isinstance(home, Buffer) else self.memory[home]
        assert out.shape == v.shape and out.dtype == v.dtype
        same = [k for k, a in enumerate(args) if isinstance(a, np.ndarray) and np.shares_memory(a, out)]
        allowed = {"where": (2,), "copy": (0,), "cast": (0,), "put": (0,), "add_at": (0,)}.get(v.op, ())
        for k in range(len(args)) if v.op in UFUNCS else allowed:
            if k in same and (args[k].__array_interface__ == out.__array_interface__):
                same.remove(k)
        assert not same, f"{v.op} is written over its arg {same}"
        if v.op == "full":
            if home not in self.constant:
                out.fill(v.params[0])
        elif v.op in UFUNCS:
            UFUNCS[v.op](*args, out=out)
        elif v.op in REDUCTIONS:
            REDUCTIONS[v.op].reduce(args[0], axis=v.params[0], keepdims=v.params[1], out=out)
        elif v.op == "matmul":
            np.matmul(*args, out=out)
        elif v.op == "draw":
            assert generator is not None
            getattr(generator, v.params[0])(dtype=v.dtype, out=out)
        elif v.op == "where":
            np.copyto(out, args[2])
            np.copyto(out, args[1], where=args[0])
        else:
            np.copyto(out, args[0], casting="unsafe")
            if v.op == "put":
                out[unpack(v.params[0], args[2:])] = args[1]
            elif v.op == "add_at":
                np.add.at(out, unpack(v.params[0], args[2:]), args[1])
        return out


SEEN: list[Any] = []


def look(x: Any) -> None:
    """A check that remembers what it was shown."""
    SEEN.append(np.array(x))


LEAVES_OF_DRAWN = {
    "x": ("input", (2, 3), float), "u": ("input", (3,), float), "f": ("input", (2, 3), np.float32),
    "i": ("input", (2,), np.int64), "m": ("input", (2, 3), bool), "A": ("state", (2, 3), float),
    "B": ("state", (2, 3), float), "S": ("state", (3, 3), float), "c": ("state", (3,), float),
    "t": ("state", (), float), "F": ("state", (2, 3), np.float32), "n": ("state", (2,), np.int64),
    "k": ("constant", (2, 3), float), "made": ("constant", (3,), float), "e": ("input", (0, 3), float),
}  # fmt: skip
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 0.1, 1, 2, 0, -1]


def numbers_of(shape: tuple[int, ...], dtype: Any, generator: np.random.Generator) -> Any:
    """Small numbers, eighths among them, in an array that may be F-ordered or strided."""
    whole = generator.integers(-16, 17, shape) if dtype is not np.int64 else generator.integers(0, 2, shape)
    array = (whole / 8 if np.dtype(dtype).kind == "f" else whole).astype(dtype)
    order = generator.integers(3)
    if order == 0 or not shape:
        return np.array(array)
    return np.asfortranarray(array) if order == 1 else np.repeat(array, 2, axis=-1)[..., ::2]


def memory_of(plan: Plan, seed: int) -> Memory:
    """Arrays for the inputs and states of a plan."""
    generator = np.random.default_rng(seed)
    return {v: numbers_of(v.shape, v.dtype.type, generator) for v in (*plan.inputs, *plan.states)}


class Drawn(Plan):
    """A plan that a failing test prints readably."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"\n{self}")


@st.composite
def plans(draw: st.DrawFn, steps: int = 40) -> Plan:
    """Any operations on leaves of few shapes, so that many fit each other; views of views; states swapped; effects."""
    w, generator = Writer(), np.random.default_rng(7)
    for name, (op, shape, dtype) in LEAVES_OF_DRAWN.items():
        getattr(w, op)(numbers_of(shape, dtype, generator), name)
    for _ in range(draw(st.sampled_from([steps // 4, steps]))):
        _step(draw, w)
        if draw(st.booleans()):
            seen = draw(st.sampled_from([v for v in w.body[-6:] if v.op != "check"] or w.inputs))
            w.call(look, seen, op="check")
    values = [v for v in w.examples if v.op != "check"]
    writes = []
    for state in w.states:
        fitting = [v for v in values if (v.shape, v.dtype) == (state.shape, state.dtype)]
        if draw(st.booleans()):
            writes.append((state, draw(st.sampled_from(fitting[-3:] if draw(st.booleans()) else fitting))))
    return Drawn(**vars(w.plan(writes, draw(st.lists(st.sampled_from(values[::-1]), max_size=3)))))


def _step(draw: st.DrawFn, w: Writer) -> None:
    """One more instruction."""

    def some(accept: Any) -> Value:
        fitting = [v for v in w.examples if v.op != "check" and accept(v)]
        lately, states = fitting[-3:], [v for v in fitting if v.op == "state"]
        return draw(st.sampled_from(draw(st.sampled_from([fitting, lately, lately, states or lately]))))

    def real(v: Value) -> bool:
        return v.dtype.kind == "f"

    def fits(shape: tuple[int, ...]) -> Any:
        return lambda v: real(v) and all(a in (1, b) for a, b in zip(v.shape[::-1], shape[::-1], strict=False))

    kind = draw(st.sampled_from(KINDS))
    x = some(real)
    if kind == "unary":
        w(draw(st.sampled_from(["negative", "tanh", "absolute", "negative", "square", "positive"])), x)
    elif kind == "binary":
        op = draw(st.sampled_from(["add", "subtract", "multiply", "maximum", "add", "multiply"]))
        pair = [x, some(fits(x.shape))]
        w(op, *draw(st.permutations(pair)))
    elif kind == "mirrored":
        x = some(lambda v: real(v) and v.ndim > 0)
        w(draw(st.sampled_from(["add", "maximum"])), x, w("slice", x, params=(slice(None, None, -1),)))
    elif kind == "number":
        op = draw(st.sampled_from(["add", "subtract", "multiply", "minimum", "multiply"]))
        w(op, *draw(st.permutations([x, draw(st.sampled_from(NUMBERS))])))
    elif kind == "divide":
        w("divide", x, draw(st.sampled_from([1.0, 2.0, 4.0, 0.1, 10.0, 3])))
    elif kind == "reciprocal":
        w("divide", 1.0, w("add", w("square", x), 1.0))
    elif kind == "power":
        w("power", x, draw(st.sampled_from([1, 2, 3, 2.0])))
    elif kind == "compare":
        a, b = (some(lambda v: v.op in LEAVES and v.shape == (2, 3)) for _ in range(2))
        w(draw(st.sampled_from(["greater", "equal"])), a, b)
    elif kind == "where":
        a = some(lambda v: real(v) and v.shape == (2, 3))
        b = some(lambda v: v.dtype == a.dtype and v.shape in ((2, 3), (), (1, 3)))
        w("where", some(lambda v: v.dtype == bool and v.shape == (2, 3)), *draw(st.permutations([a, b])))
    elif kind == "reduce":
        axes = tuple(sorted(draw(st.sets(st.integers(0, x.ndim - 1))))) if x.ndim else ()
        op = draw(st.sampled_from(["sum", "sum", "max"])) if x.size else "sum"
        w(op, x, params=(axes, draw(st.booleans())))
    elif kind == "matmul":
        a = some(lambda v: real(v) and v.ndim == 2 and v.shape[1] == 3)
        w("matmul", a, some(lambda v: real(v) and v.shape in ((3, 3), (3,), (3, 2))))
    elif kind == "transpose":
        w("transpose", x, params=(tuple(draw(st.permutations(range(x.ndim)))),))
    elif kind == "reshape":
        shapes = [s for s in [(2, 3), (3, 2), (6,), (1, 2, 3), (3,), (1, 3), (), (1,)] if np.prod(s) == x.size]
        w("reshape", x, params=(draw(st.sampled_from(shapes or [x.shape])),))
    elif kind == "broadcast_to":
        shapes = [s for s in [(2, 3), (3, 3), (1, 3), x.shape] if fits(s)(x) and x.ndim <= len(s)]
        w("broadcast_to", x, params=(draw(st.sampled_from(shapes)),))
    elif kind == "slice":
        parts = [slice(None), slice(None, None, -1), slice(0, 1), Ellipsis, (Ellipsis, slice(0, 2)), None]
        w("slice", x, params=(draw(st.sampled_from(parts if x.ndim else [Ellipsis, None, ()])),))
    elif kind == "row":
        w("slice", some(lambda v: v.shape in ((2, 3), (3,))), params=(draw(st.integers(-2, 1)),))
    elif kind == "copy":
        w("copy", x)
    elif kind == "cast":
        w.cast(some(lambda v: v.dtype.kind in "fb"), draw(st.sampled_from([float, np.float32])))
    elif kind == "full":
        w.full(draw(st.sampled_from([(2, 3), (), (3,), (1, 3)])), draw(st.sampled_from(NUMBERS)))
    elif kind == "put":
        x = some(lambda v: v.dtype == float and v.shape in ((2, 3), (3, 3)))
        index = draw(st.sampled_from([0, slice(0, 2), (Ellipsis, 1), some(lambda v: v.dtype == np.int64)]))
        shapes = [(), (1,)] if index == (Ellipsis, 1) else [(), (3,), *([] if index == 0 else [(1, 3), (2, 3)])]
        value = some(lambda v: v.dtype == float and v.shape in shapes)
        w.put(x, value, index, draw(st.sampled_from(["put", "add_at"])))
    elif kind == "call":
        w.call(np.concatenate if x.ndim else np.stack, [x, x])
    elif kind == "alias":
        w.call(np.ravel, x, alias=0)
    else:
        method = draw(st.sampled_from(["standard_normal", "random", "exponential"]))
        w.call(method, size=draw(st.sampled_from([(2, 3), (3,), ()])), op="draw")


KINDS = [
    "unary",
    "binary",
    "number",
    "binary",
    "number",
    "divide",
    "mirrored",
    "power",
    "reciprocal",
    "compare",
    "where",
    "reduce",
]
KINDS += ["matmul", "transpose", "reshape", "broadcast_to", "slice", "row", "copy", "cast", "full", "put", "call"]
KINDS += ["alias", "draw", "transpose", "slice", "unary", "mirrored"]
