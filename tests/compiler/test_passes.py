"""Each pass says the same in fewer instructions: what becomes of which formula, on special values too; drawn plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.compiler.build import SEEN, Writer, look, memory_of, plans, run
from tinygrad_bp.compiler.passes import common_subexpressions, dead_code, fold_constants, optimize, simplify
from tinygrad_bp.compiler.plan import Plan, Value

SPECIAL = np.array([[-0.0, 0.0, 1.0], [np.nan, np.inf, -np.inf], [1e-30, -3.7, 1e30]])
Build = Callable[[Writer], Value]


def formula(v: Any) -> str:
    """A value written out: what it is computed from, down to the leaves."""
    if not isinstance(v, Value):
        return repr(v)
    if v.op in ("input", "state"):
        return v.name
    if v.op == "constant":
        return f"{v.params[0].tolist()}"
    words = [*map(formula, v.args), *(getattr(p, "__name__", repr(p)) for p in v.params)]
    return f"{v.op}({', '.join(words)})"


class Example(Writer):
    """A writer with leaves of special values: x[3, 3], y[3, 3], r[3], t[] (no Python number), f float32, n int64."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.y = self.input(SPECIAL, "x"), self.input(SPECIAL.T, "y")
        self.r, self.t = self.input(SPECIAL[0], "r"), self.input(np.float64(0.5), "t")
        with np.errstate(over="ignore"):
            self.f, self.n = self.input(SPECIAL.astype(np.float32), "f"), self.input(np.arange(9).reshape(3, 3), "n")

    def returned(self, v: Value, *outputs: Value) -> Plan:
        return self.plan(outputs=[v, *outputs])

    def evaluated(self, plan: Plan) -> list[Any]:
        return run(plan, {leaf: self.examples[leaf] for leaf in plan.inputs}, np.random.default_rng(0))


def becomes(improve: Callable[[Plan], Plan], build: Build) -> str:
    """The formula of what a pass makes of one value; its shape, dtype and bits must be what they were."""
    w = Example()
    old = w.returned(build(w))
    new = improve(old)
    (got,), (want,) = w.evaluated(new), w.evaluated(old)
    assert (new.outputs[0].shape, new.outputs[0].dtype) == (old.outputs[0].shape, old.outputs[0].dtype)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]))
    return formula(new.outputs[0])


SIMPLER: list[tuple[Build, str]] = [
    # what changes nothing
    (lambda w: w("multiply", w.x, 1.0), "x"),
    (lambda w: w("multiply", 1, w.x), "x"),
    (lambda w: w("multiply", w.f, 1.0), "f"),
    (lambda w: w("multiply", w.n, 1), "n"),
    (lambda w: w("divide", w.x, 1.0), "x"),
    (lambda w: w("subtract", w.x, 0.0), "x"),
    (lambda w: w("subtract", w.x, 0), "x"),
    (lambda w: w("add", w.n, 0), "n"),
    (lambda w: w("power", w.x, 1), "x"),
    (lambda w: w("positive", w.x), "x"),
    (lambda w: w("copy", w.x), "x"),
    (lambda w: w.cast(w.x, float), "x"),
    (lambda w: w("reshape", w.x, params=((3, 3),)), "x"),
    (lambda w: w("transpose", w.x, params=((0, 1),)), "x"),
    (lambda w: w("broadcast_to", w.x, params=((3, 3),)), "x"),
    (lambda w: w("slice", w.x, params=(slice(None),)), "x"),
    (lambda w: w("slice", w.x, params=((Ellipsis, slice(0, 3)),)), "x"),
    (lambda w: w("where", w("equal", w.x, w.y), w.x, w.x), "x"),
    (lambda w: w("where", w.full((3, 3), True, bool), w.x, w.y), "x"),
    (lambda w: w("where", w.full((), False, bool), w.x, w.y), "y"),
    # signs
    (lambda w: w("negative", w("negative", w.x)), "x"),
    (lambda w: w("add", w.x, w("negative", w.y)), "subtract(x, y)"),
    (lambda w: w("add", w("negative", w.x), w.y), "subtract(y, x)"),
    (lambda w: w("subtract", w.x, w("negative", w.y)), "add(x, y)"),
    (lambda w: w("multiply", w.x, -1.0), "negative(x)"),
    (lambda w: w("multiply", w("negative", w.x), 3.0), "multiply(x, -3.0)"),
    (lambda w: w("negative", w("multiply", w.x, 3.0)), "multiply(x, -3.0)"),
    (lambda w: w("negative", w("divide", w.x, 3.0)), "divide(x, -3.0)"),
    # cheaper ones
    (lambda w: w("multiply", w.x, w.x), "square(x)"),
    (lambda w: w("divide", 1.0, w.x), "reciprocal(x)"),
    (lambda w: w("divide", w.full((), 1.0), w.x), "reciprocal(x)"),
    (lambda w: w("divide", w.x, 8), "multiply(x, 0.125)"),
    (lambda w: w("divide", w.f, -2.0), "multiply(f, -0.5)"),
    (lambda w: w("multiply", 3.0, w.x), "multiply(x, 3.0)"),
    (lambda w: w("add", 1.0, w.x), "add(x, 1.0)"),
    # factors
    (lambda w: w("multiply", w("multiply", w.x, 2.0), 0.25), "multiply(x, 0.5)"),
    (lambda w: w("multiply", w("divide", w.x, 4.0), 4.0), "x"),
    (lambda w: w("divide", w("multiply", 4.0, w.x), 2), "multiply(x, 2.0)"),
    # numbers in the place of arrays full of them
    (lambda w: w("multiply", w.x, w.full((3, 3), 3.0)), "multiply(x, 3.0)"),
    (lambda w: w("multiply", w.full((), 1.0), w.x), "x"),
    (lambda w: w("add", w.f, w.full((3,), 2.0, np.float32)), "add(f, 2.0)"),
    (lambda w: w("maximum", w.x, w.full((3, 3), 0.0)), "maximum(x, 0.0)"),
    (lambda w: w("multiply", w.n, w.full((), 2.5, np.int64)), "multiply(n, 2)"),
    (lambda w: w("where", w("equal", w.x, w.y), w.x, w.full((3, 3), 0.0)), "where(equal(x, y), x, 0.0)"),
    (lambda w: w("where", w("equal", w.x, w.y), w.full((), 1.0), 0.5), "where(equal(x, y), 1.0, 0.5)"),
    # broadcasting that happens by itself
    (lambda w: w("add", w.x, w("broadcast_to", w.r, params=((3, 3),))), "add(x, r)"),
    (lambda w: w("add", w.x, w("reshape", w.r, params=((1, 3),))), "add(x, r)"),
    (lambda w: w("add", w.x, w("copy", w("broadcast_to", w.r, params=((3, 3),)))), "add(x, r)"),
    (lambda w: w("multiply", w.x, w("broadcast_to", w.t, params=((3, 3),))), "multiply(x, t)"),
    (lambda w: w("where", w("equal", w.x, w.y), w("broadcast_to", w.r, params=((3, 3),)), w.x),
     "where(equal(x, y), r, x)"),
    # shapes
    (lambda w: w("reshape", w("reshape", w.x, params=((9,),)), params=((9, 1),)), "reshape(x, (9, 1))"),
    (lambda w: w("reshape", w("reshape", w.x, params=((9,),)), params=((3, 3),)), "x"),
    (lambda w: w("transpose", w("transpose", w.x, params=((1, 0),)), params=((1, 0),)), "x"),
    (lambda w: w("transpose", w("transpose", w("reshape", w.x, params=((1, 3, 3),)), params=((1, 2, 0),)),
                 params=((1, 2, 0),)), "transpose(reshape(x, (1, 3, 3)), (2, 0, 1))"),
    (lambda w: w("broadcast_to", w("broadcast_to", w.r, params=((3, 3),)), params=((2, 3, 3),)),
     "broadcast_to(r, (2, 3, 3))"),
    (lambda w: w("broadcast_to", w("reshape", w.r, params=((1, 3),)), params=((3, 3),)), "broadcast_to(r, (3, 3))"),
    (lambda w: w("reshape", w("sum", w.x, params=((0,), True)), params=((3,),)), "sum(x, (0,), False)"),
    (lambda w: w("reshape", w("max", w.x, params=((1,), False)), params=((3, 1),)), "max(x, (1,), True)"),
    (lambda w: w.cast(w.cast(w.f, float), np.float32), "f"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "expected"), SIMPLER, ids=[expected for _, expected in SIMPLER])
def test_simplify(build: Build, expected: str) -> None:
    assert becomes(simplify, build) == expected


ROUNDED: list[tuple[Build, str]] = [
    (lambda w: w("multiply", w("multiply", w.x, 0.1), 0.3), "multiply(x, 0.03)"),
    (lambda w: w("divide", w("multiply", w.f, 2.0), 10), "multiply(f, 0.2)"),
    (lambda w: w("divide", w("divide", w.x, 3), 5.0), "divide(x, 15.0)"),
    (lambda w: w("multiply", w("negative", w("divide", w.x, 3)), 0.5), "multiply(x, -0.16666666666666666)"),
    (lambda w: w("power", w.x, 3), "multiply(square(x), x)"),
    # in the last digit NumPy 2.0's power is neither its square nor its reciprocal
    (lambda w: w("power", w.x, 2), "square(x)"),
    (lambda w: w("power", w.x, 2.0), "square(x)"),
    (lambda w: w("power", w.f, -1.0), "reciprocal(f)"),
]


@pytest.mark.parametrize(("build", "expected"), ROUNDED, ids=[expected for _, expected in ROUNDED])
def test_simplify_where_the_last_digit_may_differ(build: Build, expected: str) -> None:
    w = Example()
    plan = w.returned(build(w))
    new = simplify(plan)
    assert formula(new.outputs[0]) == expected
    tolerance = 4 * np.finfo(plan.outputs[0].dtype).eps
    np.testing.assert_allclose(*w.evaluated(new), *w.evaluated(plan), rtol=tolerance, atol=0)


STAYS: list[Build] = [
    lambda w: w("add", w.x, 0.0),  # -0.0 + 0.0 is 0.0
    lambda w: w("subtract", w.x, -0.0),
    lambda w: w("multiply", w.x, 0.0),  # nan and inf
    lambda w: w("subtract", 0.0, w.x),
    lambda w: w("maximum", 0.0, w.x),  # of -0.0 and 0.0 one or the other, by the order
    lambda w: w("negative", w("subtract", w.x, w.y)),  # -0.0
    lambda w: w("power", w.x, 0.5),  # pow(-inf, 0.5) is inf
    lambda w: w("divide", w.x, 3.0),
    lambda w: w("multiply", w.n, 1.0),  # makes floats of whole numbers
    lambda w: w("divide", w.n, 1),
    lambda w: w("divide", 1, w.n),  # reciprocal of whole numbers is whole
    lambda w: w("power", w.n, 2),
    lambda w: w("multiply", w.f, w.t),  # an array of one number decides the dtype, a number does not
    lambda w: w("multiply", w.f, w.full((), 1.0)),
    lambda w: w("add", w.f, w.full((3, 3), 0.1)),
    lambda w: w("multiply", w.x, w.full((3,), 0.1, np.float32)),  # 0.1 in float32 is another number
    lambda w: w("multiply", w.r, w.full((3, 3), 1.0)),  # the shape comes from the array of ones
    lambda w: w("multiply", w.t, w("broadcast_to", w.r, params=((3, 3),))),
    lambda w: w("add", w.x, w("reshape", w.r, params=((3, 1),))),
    lambda w: w("multiply", w("equal", w.x, w.y), w("equal", w.x, w.y)),  # square of truth values is int8
    lambda w: w("multiply", w("multiply", w.x, 1e300), 1e-300),  # inf in between
    lambda w: w("multiply", w("multiply", w.f, 1e-20), 1e20),
    lambda w: w("multiply", w("multiply", w.n, 2), 3),
    lambda w: w("multiply", w("multiply", w.n, 0.5), 3.0),
    lambda w: w("divide", w.x, 2.0**-1060),
    lambda w: w("divide", w.x, 0.0),
    lambda w: w("multiply", w.x, np.inf),
    lambda w: w("multiply", w("multiply", w.x, w.y), w.x),
    lambda w: w("reshape", w("sum", w.x, params=((0, 1), True)), params=((1,),)),
    lambda w: w("slice", w.x, params=((slice(None), slice(None, None, -1)),)),
    lambda w: w("transpose", w.x, params=((1, 0),)),
    lambda w: w.cast(w.cast(w.x, np.float32), float),
    lambda w: w.cast(w.cast(w.n, float), np.int64),
    lambda w: w("copy", w("broadcast_to", w.r, params=((3, 3),))),
    lambda w: w("where", w("equal", w.x, w.y), w.f, w.full((), 0.1)),
    lambda w: w("where", w("equal", w.r, w.r), w.full((3, 3), 1.0), w.r),
    lambda w: w("where", w.full((), True, bool), w.r, w.x),
    lambda w: w("divide", w.cast(w.n, np.float16), 2.0**20),
]


@pytest.mark.parametrize("build", STAYS)
def test_simplify_leaves_what_is_not_the_same(build: Build) -> None:
    w = Example()
    plan = w.returned(build(w))
    assert simplify(plan) is plan


def lines(plan: Plan) -> list[str]:
    """The plan as it prints, without shapes."""
    told = [line.split("  [")[0].strip() for line in str(plan).splitlines()]
    return [line for line in told if not line.startswith(("inputs:", "states:"))]


# ---- dead code ----


def test_dead_code_keeps_what_somebody_needs_and_every_effect() -> None:
    w = Example()
    a, b, kept = w.state(SPECIAL, "a"), w.state(SPECIAL, "b"), w("exp", w.x)
    w.call(look, w("tanh", w.x), op="check")
    w.call("random", 3, op="draw")
    w("sin", kept)
    plan = dead_code(w.plan([(a, a), (b, kept)], [w("negative", w.y)]))
    assert lines(plan) == [
        "v0 = exp(x)",
        "v1 = tanh(x)",
        "v2 = check(v1, look, ((Slot(k=0),), {}))",
        "v3 = draw('random', ((3,), {}))",
        "v4 = negative(y)",
        "b <- v0",
        "return v4",
    ]
    assert dead_code(plan) is plan


# ---- common subexpressions ----


def test_the_same_is_computed_once() -> None:
    w = Example()
    same = [w("exp", w("add", *pair)) for pair in ((w.x, w.y), (w.y, w.x), (w.x, w.y))]
    plan = common_subexpressions(w.plan(outputs=[w("multiply", same[0], same[1]), same[2]]))
    assert lines(plan) == ["v0 = add(x, y)", "v1 = exp(v0)", "v2 = multiply(v1, v1)", "return v2, v1"]


def test_equal_arrays_calls_and_indices_are_the_same() -> None:
    w, array = Example(), np.arange(3)
    for _ in range(2):
        w.call(np.concatenate, [w.x, w.y], axis=0)
        w.put(w.x, w.r, (w.constant(array), slice(0, 3)))
    plan = common_subexpressions(w.plan(outputs=w.body))
    assert [v.op for v in plan.body] == ["call", "put"]
    assert plan.outputs == plan.body * 2


DIFFERENT: list[tuple[Build, Build]] = [
    (lambda w: w("subtract", w.x, w.y), lambda w: w("subtract", w.y, w.x)),
    (lambda w: w("maximum", w.x, w.y), lambda w: w("maximum", w.y, w.x)),  # of -0.0 and 0.0
    (lambda w: w("add", w.x, 0.0), lambda w: w("add", w.x, -0.0)),
    (lambda w: w("multiply", w.n, 1), lambda w: w("multiply", w.n, 1.0)),
    (lambda w: w("add", w.n, 1), lambda w: w("add", w.n, True)),
    (lambda w: w.cast(w.x, np.float32), lambda w: w.cast(w.x, complex)),
    (lambda w: w.full((3,), 1), lambda w: w.full((3, 1), 1)),
    (lambda w: w("sum", w.x, params=((0,), True)), lambda w: w("sum", w.x, params=((0,), False))),
    (lambda w: w("slice", w.x, params=(slice(0, 2),)), lambda w: w("slice", w.x, params=(slice(1, 3),))),
    (lambda w: w.put(w.x, w.t, 0), lambda w: w.put(w.x, w.t, 1)),
    (lambda w: w.call(np.cumsum, w.x, axis=0), lambda w: w.call(np.cumsum, w.x, axis=1)),
    (lambda w: w.call(np.cumsum, w.x, axis=0), lambda w: w.call(np.cumprod, w.x, axis=0)),
    (lambda w: w.call("random", 3, op="draw"), lambda w: w.call("random", 3, op="draw")),
    (lambda w: w.call(look, w.x, op="check"), lambda w: w.call(look, w.x, op="check")),
    (lambda w: w.constant(np.ones(3)), lambda w: w.constant(np.ones(3))),  # one of them may be written later
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_what_only_looks_the_same_is_computed_twice(first: Build, second: Build) -> None:
    w = Example()
    plan = w.returned(w.call(np.copy, first(w)), w.call(np.copy, second(w)))
    assert common_subexpressions(plan) is plan


# ---- constants ----


FOLDED: list[tuple[Build, str]] = [
    (lambda w: w("multiply", w.full((3, 3), 2.0), 3.0), "full(6.0)"),
    (lambda w: w("exp", w("negative", w.full((3, 3), 0.0))), "full(1.0)"),
    (lambda w: w("reshape", w.full((3, 3), 2.0), params=((9,),)), "full(2.0)"),
    (lambda w: w("broadcast_to", w.full((), 0.1), params=((3,),)), "full(0.1)"),
    (lambda w: w("sum", w.full((3, 3), 2.0), params=((0,), True)), "full(6.0)"),
    (lambda w: w("sum", w.full((3, 3), True, bool), params=((0,), True)), "full(3)"),
    (lambda w: w("greater", w.full((3,), 2.0), 1), "full(True)"),
    (lambda w: w.cast(w.full((3,), 2.5), np.int64), "full(2)"),
    (lambda w: w("divide", w.full((3,), 1.0), 0.0), "full(inf)"),
    (lambda w: w("add", w.constant(np.arange(3), "made"), 1), "[1, 2, 3]"),
    (lambda w: w("slice", w.constant(np.arange(3), "made"), params=((slice(None), None),)), "[[0], [1], [2]]"),
    (lambda w: w("add", w("sum", w.full((0, 3), 1.0), params=((0,), False)), w.r), "add(full(0.0), r)"),
]


@pytest.mark.parametrize(("build", "expected"), FOLDED, ids=[expected for _, expected in FOLDED])
def test_constants_are_computed_now(build: Build, expected: str) -> None:
    assert becomes(fold_constants, build) == expected


NOT_FOLDED: list[Build] = [
    lambda w: w("add", w.constant(np.arange(3)), 1),  # the user's own, who may write it between two steps
    lambda w: w("add", w.x, 1.0),
    lambda w: w.call(np.tril, w.constant(np.ones((3, 3)), "made")),
    lambda w: w.put(w.full((3000,), 0.0), w.full((), 1.0), 0),  # more to keep than to compute
]


@pytest.mark.parametrize("build", NOT_FOLDED)
def test_what_may_change_is_not_computed_now(build: Build) -> None:
    w = Example()
    v = build(w)
    assert fold_constants(w.returned(v)).outputs[0].op == v.op


# ---- names, order, all of them ----


def test_a_name_goes_to_what_takes_its_place() -> None:
    w = Example()
    product = w("matmul", w.x, w.y)
    loss = Value("copy", (product,), (), (3, 3), np.dtype(float), "loss", "the loss")
    twice = Value("multiply", (loss, 2.0), (), (3, 3), np.dtype(float), "twice", "doubled")
    shown = Value("multiply", (twice, 1.0), (), (3, 3), np.dtype(float), "shown")
    plan = simplify(Plan((product, loss, twice, shown), tuple(w.inputs), (), (), (shown,)))
    assert lines(plan) == ["loss = matmul(x, y)", "twice = multiply(loss, 2.0)", "return twice"]
    assert [v.note for v in plan.body] == ["the loss", "doubled"]


def test_a_whole_step_is_what_one_would_write() -> None:
    w = Writer()
    x, y = w.input(np.ones((4, 3)), "x"), w.input(np.ones((4, 2)), "y")
    weight, bias, grad = (w.state(np.ones(s), n) for s, n in (((2, 3), "W"), (2, "b"), (2, "grad_b")))
    product = w("matmul", x, w("transpose", weight, params=((1, 0),)))
    z = w("add", product, w("copy", w("broadcast_to", bias, params=((4, 2),))))
    incoming = w("divide", w("multiply", w.full((), 1.0), 0.5), 4)
    delta = w("multiply", w("subtract", z, y), w("broadcast_to", incoming, params=((4, 2),)))
    delta = w("multiply", delta, 2.0)
    again = w("subtract", z, y)
    loss = w("divide", w("sum", w("multiply", again, again), params=((0, 1), False)), 8)
    summed = w("copy", w("reshape", w("sum", delta, params=((0,), True)), params=((2,),)))
    update = w("subtract", bias, w("multiply", w("add", w.full((2,), 0.0), 0.5), summed))
    plan = optimize(w.plan([(bias, update), (grad, summed), (weight, w("copy", weight))], [loss]))
    assert lines(plan) == [
        "v0 = transpose(W, (1, 0))",
        "v1 = matmul(x, v0)",
        "v2 = add(v1, b)",
        "v3 = subtract(v2, y)",
        "v4 = multiply(v3, 0.25)",
        "v5 = square(v3)",
        "v6 = sum(v5, (0, 1), False)",
        "v7 = multiply(v6, 0.125)",
        "v8 = sum(v4, (0,), False)",
        "v9 = multiply(v8, 0.5)",
        "v10 = subtract(b, v9)",
        "b <- v10",
        "grad_b <- v8",
        "return v7",
    ]


def assert_equal_results(new: Plan, old: Plan, seed: int) -> None:
    memories = [memory_of(old, seed) for _ in range(2)]
    SEEN.clear()
    got, seen = run(new, memories[0], np.random.default_rng(seed)), SEEN.copy()
    SEEN.clear()
    want, wanted = run(old, memories[1], np.random.default_rng(seed)), SEEN.copy()
    pairs = [
        *zip([*got, *seen], [*want, *wanted], strict=True),
        *((memories[0][v], memories[1][v]) for v in old.states),
    ]
    for a, b in pairs:
        assert a.shape == b.shape and a.dtype == b.dtype
        tolerance = 1e-13 if a.dtype == float else 1e-5
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.max(np.abs(b), initial=0)))


@settings(max_examples=100)
@given(plans())
def test_drawn_plans_keep_their_results(plan: Plan) -> None:
    for improve in (dead_code, fold_constants, simplify, common_subexpressions, optimize):
        new = improve(plan)
        assert_equal_results(new, plan, seed=2)
    assert optimize(new) is new
