"""The printed step computes what the plan means, reads as if written by hand, and allocates only what it returns."""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import keyword
import math
import operator
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.compiler.build import Memory, Writer, memory_of, plans, run
from tinygrad_bp.compiler.numpy_source import Source, emit
from tinygrad_bp.compiler.plan import UFUNCS, CompileError, Plan, Slot, Value

SEEN: list[Any] = []


def look(x: Any) -> None:
    """A check that remembers what it was shown, by way of a module: the list itself could not be printed."""
    sys.modules["tests.compiler.test_numpy_source"].SEEN.append(np.array(x))  # type: ignore[attr-defined]


def loaded(source: Source) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(source.text, "<step>", "exec"), namespace)
    return namespace


def made(source: Source, memory: Memory) -> Callable[..., Any]:
    arrays = [v.params[0] if v.op == "constant" else memory[v] for v in source.arrays]
    return loaded(source)["make"](*arrays)


def assert_same(got: Any, want: Any) -> None:
    assert isinstance(got, np.generic if not want.shape else np.ndarray) or type(got) is np.ndarray
    assert got.shape == want.shape and got.dtype == want.dtype
    small = got.dtype.itemsize == 4
    np.testing.assert_allclose(got, want, rtol=1e-5 if small else 1e-12, atol=1e-4 if small else 1e-11)


def follow(plan: Plan, memory: Memory, steps: int = 3) -> str:
    """Step the source beside the plan; outputs, states and what checks see are equal, inputs are left alone."""
    source = emit(plan)
    print(source.text)  # shown by a test that fails
    read = {a for v in plan.body for a in v.values}
    own: Memory = {v: x.copy(order="K" if v in read else "C") for v, x in memory.items()}
    step = made(source, own)
    generators = [np.random.default_rng(1) for _ in range(2)]
    rng = generators[1:] * any(v.op == "draw" for v in plan.body)
    kept: list[Any] = []
    for _ in range(steps):
        SEEN.clear()
        want, wanted = run(plan, memory, generators[0]), SEEN.copy()
        SEEN.clear()
        with np.errstate(all="ignore"):
            result = step(*(own[v] for v in plan.inputs), *rng)
        got = [] if result is None else list(result) if type(result) is tuple else [result]
        assert not any(np.shares_memory(a, b) for k, a in enumerate(got) for b in [*own.values(), *kept, *got[:k]])
        for a, b in zip([*got, *SEEN], [*want, *wanted], strict=True):
            assert_same(a, b)
        for v in memory:
            assert_same(own[v], memory[v])
        kept += got
    return source.text


def printable(plan: Plan) -> Plan:
    """The plan with a check that can be printed in the place of the one of the drawn plans."""
    new: dict[Value, Value] = {}
    body = []
    for v in plan.body:
        args = tuple(new.get(a, a) if isinstance(a, Value) else a for a in v.args)
        new[v] = replace(v, args=args, params=(look, v.params[1]) if v.op == "check" else v.params)
        body.append(new[v])
    return plan.mapped(body, new)


@settings(max_examples=250)
@given(plans())
def test_drawn_plans_compute_what_they_mean(plan: Plan) -> None:
    plan = printable(plan)
    follow(plan, memory_of(plan, 1))


# ---- the classic net ---------------------------------------------------------------------------------------


class Named(Writer):
    """A writer whose results have names and notes."""

    note = ""

    def named(self, name: str, op: str, *args: Any, **more: Any) -> Value:
        plain = self(op, *args, **more)
        self.body[-1] = v = replace(plain, name=name, note=self.note)
        self.examples[v] = self.examples.pop(plain)
        return v


def classic(sizes: tuple[int, int, int], batch: int, dtype: Any = np.float64) -> tuple[Plan, Memory]:
    """Forward, backward and update of a net of two sigmoid layers with the quadratic loss, as they are recorded."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return generator.standard_normal(shape).astype(dtype)

    w = Named()
    x, y = w.input(normal(batch, sizes[0]), "x"), w.input(normal(batch, sizes[2]), "y")
    parameters = []
    for k in (1, 2):
        parameters += [w.state(normal(sizes[k], sizes[k - 1]), f"W{k}"), w.state(normal(sizes[k]), f"b{k}")]
    W1, b1, W2, b2 = parameters
    lr = w.state(np.array(3.0, dtype), "lr")
    left = [w.state(np.zeros(p.shape, dtype), f"grad_{p.name}") for p in parameters]

    def layer(k: int, a: Value, W: Value, b: Value) -> Value:
        w.note = f"layer {k}: z{k} = {a.name} W{k}^T + b{k}"
        z = w.named(f"z{k}", "add", w.named("", "matmul", a, w.named("", "transpose", W, params=(None,))), b)
        w.note = f"a{k} = sigmoid(z{k})"
        e = w.named("", "exp", w.named("", "minimum", z, 40.0))
        return w.named(f"a{k}", "divide", e, w.named("", "add", 1.0, e))

    def error(k: int, a: Value) -> Value:
        rest = w.named("", "subtract", 1.0, a)
        return w.named(f"delta{k}", "multiply", w.named("", "multiply", g, a), rest)

    def gradients(k: int, delta: Value, a: Value) -> list[Value]:
        w.note = f"BP4, BP3: gradients of layer {k}"
        turned = w.named("", "transpose", delta, params=((1, 0),))
        return [w.named(f"grad_W{k}", "matmul", turned, a), w.named(f"grad_b{k}", "sum", delta, params=((0,), False))]

    a1 = layer(1, x, W1, b1)
    a2 = layer(2, a1, W2, b2)
    w.note = "BP1: delta2"
    g = w.named("", "multiply", w.named("", "subtract", a2, y), 1.0 / batch)
    delta2 = error(2, a2)
    found = gradients(2, delta2, a1)
    w.note = "BP2: delta1"
    g = w.named("grad_a1", "matmul", delta2, W2)
    found = gradients(1, error(1, a1), x) + found
    writes = [*zip(left, found, strict=True)]
    for p, g in zip(parameters, found, strict=True):
        w.note = f"descend: {p.name}"
        writes.append((p, w.named(p.name, "subtract", p, w.named("", "multiply", lr, g))))
    return w.plan(writes), {v: w.examples[v] for v in (*w.inputs, *w.states)}


CLASSIC = '''\
"""Backpropagation through 4-3-2.

    step = make(W1, b1, W2, b2, lr, grad_W1, grad_b1, grad_W2, grad_b2)
    step(x, y)

x        (5, 4)  argument
y        (5, 2)  argument
W1       (3, 4)  read and written
b1       (3,)    read and written
W2       (2, 3)  read and written
b2       (2,)    read and written
lr       ()      read
grad_W1  (3, 4)  written
grad_b1  (3,)    written
grad_W2  (2, 3)  written
grad_b2  (2,)    written

Numbers are float64 where nothing else is said; a call writes into its last array (copyto: first).
"""

import numpy as np
from numpy import add, divide, exp, minimum, multiply, subtract


def make(W1, b1, W2, b2, lr, grad_W1, grad_b1, grad_W2, grad_b2):
    z1 = a1 = np.empty((5, 3))
    t1 = grad_a1 = delta1 = np.empty((5, 3))
    z2 = a2 = np.empty((5, 2))
    t2 = delta2 = np.empty((5, 2))
    t3 = np.empty((5, 2))
    t4 = np.empty((5, 3))
    t5 = np.empty((3, 4))
    t6 = np.empty(3)
    t7 = np.empty((2, 3))
    t8 = np.empty(2)
    c40 = np.array(40.0)
    one = np.array(1.0)
    c0_2 = np.array(0.2)
    ones5 = np.ones(5)
    W1_T = W1.T
    W2_T = W2.T
    delta2_T = delta2.T
    delta1_T = delta1.T

    def step(x, y):
        # layer 1: z1 = x W1^T + b1
        x.dot(W1_T, z1)
        add(z1, b1, z1)
        # a1 = sigmoid(z1)
        minimum(z1, c40, out=a1)
        exp(a1, a1)
        add(one, a1, t1)
        divide(a1, t1, a1)
        # layer 2: z2 = a1 W2^T + b2
        a1.dot(W2_T, z2)
        add(z2, b2, z2)
        # a2 = sigmoid(z2)
        minimum(z2, c40, out=a2)
        exp(a2, a2)
        add(one, a2, t2)
        divide(a2, t2, a2)
        # BP1: delta2
        subtract(a2, y, delta2)
        multiply(delta2, c0_2, delta2)
        subtract(one, a2, t3)
        multiply(delta2, a2, delta2)
        multiply(delta2, t3, delta2)
        # BP4, BP3: gradients of layer 2
        delta2_T.dot(a1, grad_W2)
        ones5.dot(delta2, grad_b2)
        # BP2: delta1
        delta2.dot(W2, grad_a1)
        subtract(one, a1, t4)
        multiply(grad_a1, a1, delta1)
        multiply(delta1, t4, delta1)
        # BP4, BP3: gradients of layer 1
        delta1_T.dot(x, grad_W1)
        ones5.dot(delta1, grad_b1)
        # descend: W1
        multiply(lr, grad_W1, t5)
        subtract(W1, t5, W1)
        # descend: b1
        multiply(lr, grad_b1, t6)
        subtract(b1, t6, b1)
        # descend: W2
        multiply(lr, grad_W2, t7)
        subtract(W2, t7, W2)
        # descend: b2
        multiply(lr, grad_b2, t8)
        subtract(b2, t8, b2)

    return step
'''


def test_the_classic_net_is_printed_as_it_is_written_by_hand() -> None:
    assert emit(classic((4, 3, 2), 5)[0], "Backpropagation through 4-3-2").text == CLASSIC


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_classic_net_computes_what_it_means(dtype: Any) -> None:
    text = follow(*classic((20, 30, 10), 7, dtype))
    assert ("np.float32" in text) == (dtype is np.float32)
    assert "float64)" not in text


# ---- every operation ---------------------------------------------------------------------------------------


def arrays(dtype: Any) -> tuple[Any, Any]:
    """Two arrays of a dtype in which most functions have a value."""
    x = np.array([[0.25, 0.5, 0.75], [0.375, 0.5, 0.125]])
    return (x if np.dtype(dtype).kind == "f" else x * 8 > 3).astype(dtype), (4 * x).round().astype(dtype)


@pytest.mark.parametrize("name", sorted(set(UFUNCS) - {"isnat"}))  # isnat is for times
def test_every_elementwise_function(name: str) -> None:
    """In every dtype, with arrays and with Python's numbers, into buffers, states and outputs."""
    tried = 0
    for dtype in (np.float64, np.float32, np.int64, np.int8, np.bool):
        w = Writer()
        a, b = (w.input(x, letter) for x, letter in zip(arrays(dtype), "xy", strict=True))
        scalar = w.input(arrays(dtype)[0][0, 0], "z")
        for args in [(a,), (scalar,)] if UFUNCS[name].nin == 1 else [(a, b), (a, 2), (2.0, b), (a, True), (scalar, 1)]:
            try:
                v, out = (w(name, *args) for _ in range(2))
            except (TypeError, OverflowError):
                continue
            tried += 1
            state = w.state(np.zeros(v.shape, v.dtype), "s")
            outputs = [out, w("copy", v)]
            follow(
                w.plan([(state, w(name, *args))], outputs), {leaf: w.examples[leaf] for leaf in (*w.inputs, state)}, 2
            )
    assert tried >= 2


X = np.arange(6.0).reshape(2, 3) - 2.5
PLANS: dict[str, Callable[[Writer, Value], Value]] = {
    "sum": lambda w, x: w("sum", x, params=((1,), False)),
    "sum over the batch": lambda w, x: w("sum", x, params=((0,), False)),
    "sum of everything": lambda w, x: w("sum", x, params=((0, 1), False)),
    "sum over no axis": lambda w, x: w("sum", x, params=((), False)),
    "sum with keepdims": lambda w, x: w("sum", x, params=((0,), True)),
    "sum of integers": lambda w, x: w("sum", w.cast(x, np.int32), params=((0,), False)),
    "sum of many axes": lambda w, x: w("sum", w("reshape", x, params=((1, 2, 3),)), params=((0, 2), False)),
    "prod": lambda w, x: w("prod", x, params=((0,), False)),
    "max": lambda w, x: w("max", x, params=((0, 1), True)),
    "min": lambda w, x: w("min", x, params=((1,), False)),
    "all": lambda w, x: w("all", x, params=((1,), False)),
    "any": lambda w, x: w("any", w("greater", x, 1.0), params=((0,), False)),
    "vector times vector": lambda w, x: w("matmul", *[w("slice", x, params=(i,)) for i in (0, 1)]),
    "matrix times vector": lambda w, x: w("matmul", x, w("slice", x, params=(0,))),
    "vector times matrix": lambda w, x: w("matmul", w("slice", x, params=((slice(None), 0),)), x),
    "stacks": lambda w, x: w("matmul", *[w("reshape", x, params=(s,)) for s in ((2, 1, 3), (2, 3, 1))]),
    "product of integers": lambda w, x: w(
        "matmul", w.cast(x, np.int64), w.cast(w("transpose", x, params=(None,)), np.int64)
    ),
    "mixed product": lambda w, x: w("matmul", w.cast(x, np.float32), w("transpose", x, params=(None,))),
    "where": lambda w, x: w("where", w("greater", x, 0.0), x, w("negative", x)),
    "where and a number": lambda w, x: w("where", w("greater", x, 0.0), x, 0.0),
    "where and numbers": lambda w, x: w("where", w("greater", x, 0.0), 2, 1.5),
    "where nothing is true": lambda w, x: w("where", False, x, 1.0),
    "where something is not 0": lambda w, x: w("where", x, x, -1.0),
    "where the choices broadcast": lambda w, x: w("where", w("greater", x, 0.0), w("slice", x, params=(0,)), x),
    "copy": lambda w, x: w("copy", x),
    "cast down": lambda w, x: w.cast(x, np.float32),
    "cast to integers": lambda w, x: w.cast(x, np.int16),
    "full": lambda w, x: w("add", w.full((2, 3), 2.0), x),
    "full of ones": lambda w, x: w("add", w.full((2, 3), 1, np.float32), x),
    "full of one number": lambda w, x: w("multiply", w.full((), -0.5), x),
    "nan, infinities and minus zero": lambda w, x: functools.reduce(
        lambda a, b: w("fmin", a, b), [np.nan, math.inf, -math.inf, -0.0], x
    ),
    "put": lambda w, x: w.put(x, 7.0, (0, slice(1, None))),
    "put into zeros": lambda w, x: w.put(w.full((2, 3), 0.0), w("slice", x, params=(0,)), 1),
    "put everywhere": lambda w, x: w.put(x, 1.0, ...),
    "put at indices": lambda w, x: w.put(x, 7.0, (w.constant(np.array([0, 1, 1]), "made"), slice(None, None, -1))),
    "put into a number": lambda w, x: w.put(w("sum", x, params=((0, 1), False)), 3.0, ()),
    "put into a scalar": lambda w, x: w.put(w.call(np.vdot, x, x), 3.0, ()),
    "add_at": lambda w, x: w.put(x, x, (w.constant(np.array([1, 1]), "made"),), "add_at"),
    "add_at one index": lambda w, x: w.put(x, 2.0, 1, "add_at"),
    "transpose": lambda w, x: w("transpose", x, params=((1, 0),)),
    "transpose of three": lambda w, x: w("transpose", w("reshape", x, params=((1, 2, 3),)), params=((1, 0, 2),)),
    "reshape": lambda w, x: w("reshape", x, params=((3, 2),)),
    "reshape of a transpose": lambda w, x: w("reshape", w("transpose", x, params=(None,)), params=((6,),)),
    "reshape to a number": lambda w, x: w("reshape", w("max", x, params=((0, 1), True)), params=((),)),
    "broadcast_to": lambda w, x: w("broadcast_to", x, params=((4, 2, 3),)),
    "slice": lambda w, x: w("slice", x, params=((slice(None), slice(2, None, -1), None),)),
    "slice of one entry": lambda w, x: w("slice", x, params=((0, np.int64(1)),)),
    "slice of nothing": lambda w, x: w("slice", x, params=((slice(0, 0), ...),)),
    "call": lambda w, x: w.call(np.concatenate, [x, x], axis=1),
    "call that gives a number": lambda w, x: w.call(np.vdot, x, x),
    "call that gives Python's number": lambda w, x: w("multiply", w.cast(x, np.float32), w.call(np.count_nonzero, x)),
    "call of linalg": lambda w, x: w.call(np.linalg.norm, x, axis=1, keepdims=True),
    "call with a dtype": lambda w, x: w.call(np.cumsum, x, dtype=np.dtype(np.float32)),
    "call of a method of a ufunc": lambda w, x: w.call(np.add.reduceat, x, [0, 1], axis=1),
    "call of ours": lambda w, x: w.call(spread, x, times=2),
    "index": lambda w, x: w.call(operator.getitem, x, (w.constant(np.arange(2), "made"), slice(0, 2))),
    "arithmetic of scalars": lambda w, x: functools.reduce(
        lambda a, op: w(op, a, 0.5), ["add", "subtract", "multiply", "divide"], w.call(np.vdot, x, x)
    ),
    "numbers alone": lambda w, x: w("multiply", x, w("add", 1, 2)),
    "draw": lambda w, x: w("add", x, w.call("random", (2, 3), op="draw")),
    "draw float32": lambda w, x: w.call("standard_normal", (2, 3), dtype=np.float32, op="draw"),
    "draw by another method": lambda w, x: w.call("standard_exponential", (2, 3), method="inv", op="draw"),
    "draw a number": lambda w, x: w.call("random", op="draw"),
    "draw what has no out=": lambda w, x: w.call("integers", 5, size=(2, 3), op="draw"),
    "draw with an array": lambda w, x: w.call("normal", x, 2.0, op="draw"),
    "a constant that is taken": lambda w, x: w("add", x, w.constant(X * 3)),
    "a constant that is written out": lambda w, x: w("add", x, w.constant(X * 3, "made")),
    "a large constant": lambda w, x: w.call(np.vdot, *[w.constant(np.sqrt(np.arange(50.0)), "made")] * 2),
}


def spread(x: Any, times: int) -> Any:
    """The mean over the last axis, repeated."""
    return np.repeat(_mean(x)[:, None], times, axis=AXIS)


def _mean(x: Any) -> Any:
    return x.sum(AXIS) / x.shape[AXIS]


AXIS = 1


@pytest.mark.parametrize("what", PLANS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_other_operation(what: str, dtype: Any) -> None:
    """Into an output, a buffer and a state; of an input, of a buffer and of a state that is F-ordered."""
    w = Writer()
    x, s = w.input(X.astype(dtype), "x"), w.state(np.asfortranarray(X.astype(dtype)), "s")
    outputs = []
    for operand in (x, w("negative", x), s):
        try:
            outputs.append(PLANS[what](w, operand))
        except ValueError:
            pytest.fail(f"{what} does not take {dtype}")
        outputs.append(w("copy", PLANS[what](w, operand)))
    last = PLANS[what](w, s)
    state = w.state(np.zeros(last.shape, last.dtype), "last")
    writes = [(state, last)] + ([(s, last)] if (s.shape, s.dtype) == (last.shape, last.dtype) else [])
    follow(w.plan(writes, outputs), {leaf: w.examples[leaf].copy(order="K") for leaf in (x, s, state)})


# ---- what the text looks like ------------------------------------------------------------------------------


def lines(text: str, function: str = "step") -> list[str]:
    """The lines of make before step, or those of step."""
    make, step = text.split("\ndef make(")[1].split("\n    def step(")
    chosen = make if function == "make" else step.split("\n    return step")[0]
    return [line.strip() for line in chosen.split("\n")[1:] if line.strip()]


def test_numbers_are_arrays_of_the_dtype_that_is_computed_in() -> None:
    w = Writer()
    x, i = w.input(np.ones(3, np.float32)), w.input(np.ones(3, np.int8), "i")
    values = [w("multiply", x, 0.5), w("add", i, 2), w("multiply", i, 0.25), w("less", i, 300), w("ldexp", x, 3)]
    text = emit(w.plan(outputs=values)).text
    assert lines(text, "make") == [
        "half = np.array(0.5, np.float32)",
        "two = np.array(2, np.int8)",
        "c0_25 = np.array(0.25)",
        "c3 = np.array(3, np.int32)",
    ]
    assert "out_4 = less(i, 300)" in lines(text)
    assert [v.dtype for v in values] == [np.float32, np.int8, np.float64, np.bool, np.float32]


def test_equal_numbers_are_one_array_and_have_telling_names() -> None:
    w = Writer()
    v = w.input(np.ones(3))
    for x in (1, 1.0, 40.0, -1.0, -0.0, 0.1, 1 / 3, 1e-8, math.inf, -math.inf, math.nan, 2):
        v = w("add", v, x)
    assert lines(emit(w.plan(outputs=[v])).text, "make")[1:] == [
        "one = np.array(1.0)",
        "c40 = np.array(40.0)",
        "minus_one = np.array(-1.0)",
        "zero = np.array(-0.0)",
        "c0_1 = np.array(0.1)",
        "c = np.array(0.3333333333333333)",
        "c1e_08 = np.array(1e-08)",
        "inf = np.array(np.inf)",
        "minus_inf = np.array(-np.inf)",
        "nan = np.array(np.nan)",
        "two = np.array(2.0)",
    ]


def test_a_full_array_is_made_once_and_only_if_it_is_read() -> None:
    w = Writer()
    x, s = w.input(X), w.state(X, "s")
    zeros, ones, sevens = (w.full((2, 3), number) for number in (0.0, 1.0, 7.0))
    values = [w("add", w("add", x, ones), sevens), w.put(zeros, 1.0, 0)]
    text = emit(w.plan([(s, zeros)], values)).text
    assert lines(text, "make") == [
        "t1 = np.empty((2, 3))",
        "ones = np.ones((2, 3))",
        "full = np.full((2, 3), 7.0)",
        *(["zeros = np.zeros((2, 3))"] if "zeros." in text else []),
    ]
    assert "s.fill(0.0)" in lines(text)


def test_views_of_buffers_and_states_are_taken_once() -> None:
    w = Writer()
    x, s = w.input(X), w.state(X, "s")
    hidden = w("negative", x)
    of_buffer = [
        w("transpose", hidden, params=(None,)),
        w("reshape", hidden, params=((6,),)),
        w("slice", w("reshape", hidden, params=((3, 2),)), params=((0, slice(None)),)),
        w("broadcast_to", hidden, params=((2, 2, 3),)),
    ]
    of_state = [w("transpose", s, params=((1, 0),)), w("reshape", s, params=((2, 1, 3),))]
    may_copy = [
        w("reshape", s, params=((6,),)),
        w("reshape", of_buffer[0], params=((6,),)),
        w("transpose", x, params=(None,)),
    ]
    twice = [w("transpose", s, params=((1, 0),))]
    text = emit(w.plan(outputs=[w("copy", v) for v in of_buffer + of_state + may_copy + twice])).text
    assert lines(text, "make") == [
        "t1 = np.empty((2, 3))",
        "t2 = np.empty((3, 2))",
        "t1_T = t1.T",
        "t1_flat = t1.reshape(6)",
        "t1_reshaped = t1.reshape(3, 2)",
        "t1_reshaped_part = t1_reshaped[0, :]",
        "t1_broadcast = np.broadcast_to(t1, (2, 2, 3))",
        "s_T = s.T",
        "s_reshaped = s.reshape(2, 1, 3)",
        "t2_flat = t2.reshape(6)",
    ]
    assert {"s_flat = s.reshape(6)", "copyto(t2, t1_T)", "x_T = x.T"} < set(lines(text))


def test_products_are_spelled_by_their_size() -> None:
    w = Writer()
    x, W, v = w.input(np.ones((64, 64))), w.state(np.ones((64, 63)), "W"), w.input(np.ones((2, 3, 3)), "v")
    values = [w("matmul", x, W), w("matmul", x, x), w("matmul", v, v)]
    assert lines(emit(w.plan(outputs=values)).text) == [
        "out = x.dot(W)", "out_2 = matmul(x, x)", "out_3 = matmul(v, v)", "return out, out_2, out_3",
    ]  # fmt: skip


def test_only_what_is_surely_contiguous_is_written_by_dot() -> None:
    """A parameter may be F-ordered, which dot refuses; a gradient that is left behind is made for the step."""
    w = Writer()
    x, parameter, bias = w.input(np.ones((3, 3))), w.state(np.ones((3, 3)), "W"), w.state(np.ones(3), "b")
    left, sums = w.state(np.ones((3, 3)), "left"), w.state(np.ones(3), "sums")
    first = w("add", w("add", x, parameter), bias)
    total = [w("sum", first, params=((0,), False)) for _ in range(2)]
    product = [w("matmul", first, x) for _ in range(2)]
    plan = w.plan([(parameter, product[0]), (left, product[1]), (bias, total[0]), (sums, total[1])])
    assert lines(emit(plan).text)[-4:] == [
        "add.reduce(t1, 0, None, b)", "ones3.dot(t1, sums)", "matmul(t1, x, W)", "t1.dot(x, left)",
    ]  # fmt: skip


def test_unnamed_values_are_called_what_they_become() -> None:
    w = Named()
    z = w.named("z", "add", w.named("", "negative", w.named("", "negative", w.input(X))), 1.0)
    a = w.named("a", "exp", z)
    assert lines(emit(w.plan(outputs=[w.named("", "copy", a)])).text) == [
        "negative(x, z)", "negative(z, z)", "add(z, one, z)", "exp(z, a)", "out = a.copy()", "return out",
    ]  # fmt: skip


def test_a_note_is_written_where_it_changes() -> None:
    w = Named()
    v = w.input(X)
    for note in ("", "first", "first", "second,\n  on two lines", "", "second,\n  on two lines"):
        w.note = note
        v = w.named("", "negative", v)
    comments = [line[0] == "#" for line in lines(emit(w.plan(outputs=[v])).text)]
    assert comments == [False, True, False, False, True, False, False, True, False, False]
    assert "# second, on two lines" in lines(emit(w.plan(outputs=[v])).text)


AWKWARD = [
    "add",
    "lambda",
    "np",
    "x",
    "x",
    "step",
    "make",
    "rng",
    "1",
    "net.0.weight",
    "None",
    "out",
    "t1",
    "z2",
    "z",
    "z",
]


def test_names_clash_with_nothing() -> None:
    w = Named()
    x = w.input(X, "x")
    leaves = [
        *(w.state(X + k, name) for k, name in enumerate(AWKWARD)),
        w.state(X, ""),
        w.constant(X, "x"),
        w.constant(X),
    ]
    values = [
        w.named(name, op, w.named("", "add", x, leaf), leaf)
        for name in AWKWARD
        for leaf, op in zip(leaves, ["add", "copyto"[:0] or "multiply"] * 9)
    ]
    total = functools.reduce(lambda a, b: w.named("", "add", a, b), values)
    text = follow(w.plan([(leaves[0], total)], [values[-1], total]), {v: w.examples[v] for v in (*w.inputs, *w.states)})
    names = [node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    assert {"net_0_weight", "lambda_2", "_1", "x_2", "step_2"} < set(names)
    assert not any(map(keyword.iskeyword, names))


def test_the_header_tells_shapes_dtypes_and_what_is_written() -> None:
    w = Writer()
    x, i = w.input(np.ones((2, 3), np.float32), "x"), w.input(np.arange(2), "i")
    s, g, c = w.state(X, "s"), w.state(X, "g"), w.constant(X)
    w.state(X, "unused")
    v = w("add", w("add", w("add", x, s), c), w("slice", i, params=((slice(None), None),)))
    source = emit(w.plan([(g, v)], [w("sum", v, params=((0, 1), False))]), 'Say "it\\" \n twice.')
    assert source.arrays == (s, g, c)
    assert ast.get_docstring(ast.parse(source.text)) == "\n".join(
        [
            "Say 'it\\' twice.",
            "",
            "    step = make(s, g, c1)",
            "    out = step(x, i)",
            "",
            "x   (2, 3)  float32, argument",
            "i   (2,)    int64, argument",
            "s   (2, 3)  read",
            "g   (2, 3)  written",
            "c1  (2, 3)  constant",
            "",
            "Numbers are float64 where nothing else is said; a call writes into its last array (copyto: first).",
        ]
    )


def test_long_lists_of_arguments_are_wrapped() -> None:
    w = Writer()
    total = w.input(X)
    for k in range(300):
        total = w("add", total, w.state(X, f"parameter_{k}"))
    text = follow(w.plan(outputs=[total]), {v: w.examples[v] for v in (*w.inputs, *w.states)}, 1)
    assert max(map(len, text.split("\n"))) <= 100


def test_a_plan_that_does_nothing() -> None:
    assert lines(follow(Writer().plan(), {})) == ["pass"]


def test_a_step_allocates_nothing_that_grows_with_the_net() -> None:
    """But for the buffer through which NumPy broadcasts a bias: at most 8192 numbers."""
    plan, memory = classic((784, 512, 10), 128)
    step = made(emit(plan), memory)
    batch = [memory[v] for v in plan.inputs]
    step(*batch)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            step(*batch)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 1000
    assert peak < np.getbufsize() * 8 + 4000 < memory[plan.states[0]].nbytes // 40


# ---- functions that are printed ----------------------------------------------------------------------------


def test_a_function_is_printed_with_what_it_uses_and_only_that() -> None:
    w = Writer()
    text = emit(w.plan(outputs=[w.call(spread, w.input(X), times=2)])).text
    printed = text[text.index("import numpy") : text.index("\n\ndef make")]
    assert (
        printed
        == '''import numpy as np

AXIS = 1


def _mean(x: Any) -> Any:
    return x.sum(AXIS) / x.shape[AXIS]


def spread(x: Any, times: int) -> Any:
    """The mean over the last axis, repeated."""
    return np.repeat(_mean(x)[:, None], times, axis=AXIS)
'''
    )
    assert lines(text) == ["out = spread(x, times=2)", "return out"]


def module(tmp_path: Any, monkeypatch: Any, name: str, text: str) -> Any:
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


ONE = """
import math
import os.path as where
from fractions import Fraction as F
import numpy as xp
from numpy import exp, sum as total
SCALE, LIMITS = 2.0, (0.0, float("inf"), None, xp.float32(0.5))

def add(x, limit=LIMITS[1], *, scale=SCALE):
    # a comment that stays
    keep = [add for add in (1,)]
    return total(exp(x) * scale) * F(1, 2).numerator * helper(x, 3) + math.pi * len(where.sep) + min(limit, 4.0)

def helper(x, n):
    return xp.minimum(x, n).max() if n == 0 else helper(x, n - 1)
"""
TWO = """
import numpy as np
SCALE = 3.0

def helper(x):
    def inner(y):
        return y * SCALE  # not the other SCALE
    return inner(x) + np.exp(x).sum()

def exp(x): return helper(x) if x.ndim else exp(x[None])
"""


def test_functions_of_several_modules_do_not_get_into_each_others_way(tmp_path: Any, monkeypatch: Any) -> None:
    one = module(tmp_path, monkeypatch, "one_of_two", ONE.replace("add for add", "k for k"))
    two = module(tmp_path, monkeypatch, "two_of_two", TWO)
    w = Named()
    x = w.input(X)
    values = [
        w.named("helper", "exp", x),
        w.call(one.add, x),
        w.call(two.exp, x),
        w.call(two.helper, x),
        w.call(one.helper, x, 0),
    ]
    text = follow(w.plan(outputs=values), {x: X})
    assert "# a comment that stays" in text and "import math\n" in text and "import numpy as xp\n" in text
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {alias.name for node in imports for alias in node.names} | {
        getattr(node, "module", "") for node in imports
    }
    assert "one_of_two" not in modules and "two_of_two" not in modules


def test_functions_named_like_numpys_and_pythons_give_way(tmp_path: Any, monkeypatch: Any) -> None:
    first = "def exp(x): return sum(x)\n\ndef sum(x): return x + 1.0\n"
    second = "from numpy import exp, any\n\ndef both(x): return exp(x) + sum([1.0, 2.0]) + any(x)\n"
    ours = module(tmp_path, monkeypatch, "named_like_numpys", first)
    theirs = module(tmp_path, monkeypatch, "that_uses_numpys", second)
    w = Writer()
    x = w.input(X)
    text = follow(w.plan(outputs=[w.call(ours.exp, x), w.call(theirs.both, x)]), {x: X})
    assert "def sum(" not in text and "import any" not in text


def test_a_decorator_of_checks_is_left_out(tmp_path: Any, monkeypatch: Any) -> None:
    text = """
from tinygrad_bp.opaque import value_check

@value_check
def positive(x):
    if not (x > 0).all():
        raise ValueError("not positive")
"""
    check = module(tmp_path, monkeypatch, "some_checks", text).positive
    w = Writer()
    x, s = w.input(np.ones((2, 3))), w.state(X, "s")
    w.call(check, x, op="check")
    source = emit(w.plan([(s, w("copy", x))]))
    assert "value_check" not in source.text
    memory = {s: np.zeros((2, 3))}
    step = made(source, memory)
    step(np.ones((2, 3)))
    with pytest.raises(ValueError, match="not positive"):
        step(X)
    assert (memory[s] == 1.0).all()


def closure() -> Any:
    k = 2

    def inner(x: Any) -> Any:
        return x * k

    return inner


TABLE = [1, 2]


def uses_a_list(x: Any) -> Any:
    return x * TABLE[0]


def writes_a_global(x: Any) -> Any:
    global AXIS
    AXIS = 1
    return x


@functools.lru_cache
def decorated(x: Any) -> Any:
    return x


def imports_ours(x: Any) -> Any:
    from tinygrad_bp import ops

    return ops.tanh(x)


def uses_a_class(x: Any) -> Any:
    return Named() or x


def uses_what_is_not_there(x: Any) -> Any:
    return x + nowhere  # type: ignore[name-defined]  # noqa: F821


def uses_a_lambda(x: Any) -> Any:
    return twice(x)


twice = lambda x: 2 * x

namespace: dict[str, Any] = {}
exec("def without_source(x): return x", namespace)

REFUSED = [
    (lambda x: x, r"<lambda> cannot be printed with the step: it is the lambda of line \d+ of tests.compiler"),
    (closure(), "closure.<locals>.inner cannot be .*: it uses k of the function around it"),
    (uses_a_list, "uses_a_list cannot be .*: it uses TABLE, a list"),
    (writes_a_global, "it writes the global AXIS"),
    (decorated, "decorated cannot be .*: it is decorated with functools.lru_cache"),
    (imports_ours, "it imports tinygrad_bp"),
    (uses_a_class, "it uses Named, which is no plain function"),
    (uses_what_is_not_there, "it uses nowhere, which its module does not define"),
    (uses_a_lambda, "<lambda> cannot be printed"),
    (namespace["without_source"], "without_source cannot be .*: its source is not to be found"),
    (Named().named, r"Named.named cannot be .*: it is a method\. Write it with def at the top of a module, using"),
    (functools.partial(spread, times=2), "it is a partial"),
]


@pytest.mark.parametrize(("function", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_a_function_whose_source_cannot_stand_alone_is_refused(function: Any, message: str) -> None:
    x = Value("input", (), (), (2, 3), np.dtype(float), "x")
    v = Value("call", (x,), (function, ((Slot(0),), {})), (2, 3), np.dtype(float))
    with pytest.raises(CompileError, match=message):
        emit(Plan((v,), (x,), (), (), (v,)))


def test_an_argument_that_cannot_be_written_is_refused() -> None:
    x = Value("input", (), (), (2, 3), np.dtype(float), "x")
    v = Value("call", (x,), (np.take, ((Slot(0), {1, 2}), {})), (2, 3), np.dtype(float))
    with pytest.raises(CompileError, match=r"\{1, 2\}, a set, cannot be written in the source of the step"):
        emit(Plan((v,), (x,), (), (), (v,)))
