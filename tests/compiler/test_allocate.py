"""Every value lives where nobody needs what was there: drawn plans run by their layout, and each rule by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from tests.compiler.build import SEEN, Machine, Memory, Writer, look, memory_of, plans, run
from tinygrad_bp.compiler import allocate as module
from tinygrad_bp.compiler.allocate import Buffer, Layout, allocate
from tinygrad_bp.compiler.passes import optimize
from tinygrad_bp.compiler.plan import UFUNCS, VIEWS, Plan, Value


def assert_same(got: Any, want: Any) -> None:
    assert np.shape(got) == np.shape(want)
    assert np.asarray(got).dtype == np.asarray(want).dtype
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def follow(plan: Plan, layout: Layout, meant: Plan, seed: int = 1) -> None:
    """Run the plan by its layout twice, and what is meant beside it; outputs, states and what checks see are equal."""
    memory = memory_of(meant, seed)
    own: Memory = {v: array.copy(order="K") for v, array in memory.items()}
    machine = Machine(plan, layout, own)
    generators = [np.random.default_rng(seed) for _ in range(2)]
    for _ in range(2):
        SEEN.clear()
        want, wanted = run(meant, memory, generators[0]), SEEN.copy()
        SEEN.clear()
        got, seen = machine.step(generators[1]), SEEN.copy()
        for a, b in zip([*got, *seen], [*want, *wanted], strict=True):
            assert_same(a, b)
        for v in memory:
            assert_same(own[v], memory[v])


@settings(max_examples=200)
@given(plans())
def test_drawn_plans_run_by_their_layout(plan: Plan) -> None:
    for meant in (plan, optimize(plan)):
        follow(*allocate(meant), meant)


# ---- the test catches mistakes ----


def forget_views(plan: Plan) -> dict[Value, Value]:
    """A view of a view is thought to live in the view."""
    leaves = {a: a for v in plan.body for a in v.values}
    return leaves | {v: v.args[0] if v.op in VIEWS or v.alias is not None else v for v in plan.body}


def any_arg(v: Value, roots: Any) -> Any:
    """Any operation is written over any arg of its shape."""
    return (a for a in v.values if roots[a] is a and (a.shape, a.dtype) == (v.shape, v.dtype))


def any_elementwise(v: Value, roots: Any) -> Any:
    """A function is written over an arg though another arg is a view of that."""
    return any_arg(v, roots) if v.op in UFUNCS else iter(())


def whenever(plan: Plan, roots: Any, last: Any) -> Any:
    """A state is written though others read it later."""
    return ((v, state) for state, v in plan.writes if v.op in UFUNCS and v not in plan.outputs)


def no_copies(plan: Plan) -> Plan:
    """What is returned may be anybody's memory."""
    return replace(plan, writes=tuple((s, v) for s, v in plan.writes if v in plan.body and v.op not in VIEWS))


DEFECTS = [("_roots", forget_views), ("_overwritable", any_arg), ("_overwritable", any_elementwise)]
DEFECTS += [("_straight", whenever), ("_with_copies", no_copies)]


@pytest.mark.parametrize(("name", "defect"), DEFECTS, ids=[defect.__name__ for _, defect in DEFECTS])
def test_drawn_plans_catch_a_mistake(name: str, defect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, name, defect)

    @settings(max_examples=1000, phases=[Phase.generate], report_multiple_bugs=False)
    @given(plans())
    def drawn(plan: Plan) -> None:
        follow(*allocate(plan), plan)

    with pytest.raises((AssertionError, KeyError)):
        drawn()


def test_a_copy_left_out_at_the_end_is_caught() -> None:
    w = Writer()
    s, x = w.state(np.ones(3), "s"), w.input(np.ones(3))
    new = w("add", s, x)
    meant = w.plan([(s, new)], [w("multiply", s, new)])
    plan, layout = allocate(meant)
    follow(plan, layout, meant)
    assert layout.copies == ((s, new),)
    with pytest.raises(AssertionError):
        follow(plan, replace(layout, copies=()), meant)


# ---- each rule ----


class Example(Writer):
    """A writer with inputs x[3, 3] and states a[3, 3], b[3, 3], c[3, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.a, self.b, self.c = (
            make(np.ones((3, 3)), name) for make, name in zip([self.input, *[self.state] * 3], "xabc")
        )

    def T(self, v: Value) -> Value:
        return self("transpose", v, params=((1, 0),))


def homes(plan: Plan) -> list[str]:
    """Where each instruction has its result, as text; that plan and layout compute what is meant is checked."""
    new, layout = allocate(plan)
    follow(new, layout, plan)

    def home(v: Value) -> str:
        if v not in layout.homes:
            return "view"
        place = layout.homes[v]
        return f"#{place.number}" if isinstance(place, Buffer) else place.name if place else "new"

    return [f"{v.op} {home(v)}" for v in new.body] + [f"{s.name} <- {v.op} {home(v)}" for s, v in layout.copies]


def elementwise_in_place(w: Example) -> Plan:
    e = w("exp", w("matmul", w.x, w.x))
    return w.plan(outputs=[w("sum", w("multiply", e, e), params=((0,), False))])


def one_reads_it_later(w: Example) -> Plan:
    e = w("exp", w.x)
    return w.plan(outputs=[w("sum", w("multiply", w("tanh", e), e), params=((0,), False))])


def a_view_reads_it_later(w: Example) -> Plan:
    e = w("exp", w.x)
    view = w("slice", w.T(e), params=(0,))
    t = w("tanh", e)
    return w.plan(outputs=[w("matmul", t, view)])


def another_arg_is_a_view_of_it(w: Example) -> Plan:
    e = w("exp", w.x)
    return w.plan(outputs=[w("matmul", w("add", e, w.T(e)), w.x)])


def another_dtype_or_shape(w: Example) -> Plan:
    e = w("exp", w.x)
    return w.plan(outputs=[w("sum", w("greater", w.cast(e, np.float32), 1.0), params=((0,), False))])


def products_and_sums_read_their_args(w: Example) -> Plan:
    p = w("matmul", w("matmul", w("exp", w.x), w.x), w.x)
    return w.plan(outputs=[w("negative", w("sum", p, params=((0, 1), True)))])


def where_over_its_last(w: Example) -> Plan:
    c, e, t = w("greater", w.x, 0.0), w("exp", w.x), w("tanh", w.x)
    return w.plan(outputs=[w("sum", w("where", c, e, t), params=((0,), False))])


def put_over_its_first(w: Example) -> Plan:
    e, t = w("exp", w.x), w("tanh", w.x)
    p = w.put(e, w("slice", t, params=(0,)), 1)
    q = w.put(p, w("slice", p, params=(0,)), 1, "add_at")
    return w.plan(outputs=[w("sum", q, params=((0,), False))])


def a_full_for_itself(w: Example) -> Plan:
    f = w.full((3, 3), 2.0)
    return w.plan(outputs=[w("matmul", w("exp", w("negative", f)), w.x)])


def calls_allocate(w: Example) -> Plan:
    c = w.call(np.tril, w.x)
    ravelled = w.call(np.ravel, c, alias=0)
    return w.plan(outputs=[w("sum", w("exp", w("exp", ravelled)), params=((0,), False))])


def draws_have_buffers(w: Example) -> Plan:
    shapes = [w.call(method, size=(3, 3), op="draw") for method in ("random", "standard_normal", "exponential")]
    single = w.call("random", size=(), op="draw")
    return w.plan(outputs=[w("add", w("matmul", w("add", w("exp", shapes[0]), shapes[1]), shapes[2]), single)])


def no_view_of_it(w: Example) -> Plan:
    e = w("exp", w.x)
    flat = w("reshape", w.T(e), params=((9,),))
    also = w("reshape", w.T(w.x), params=((9,),))
    split = w("reshape", w.T(e), params=((3, 1, 3, 1),))
    total = w("add", w("add", flat, also), w("reshape", split, params=((9,),)))
    return w.plan(outputs=[w("sum", total, params=((0,), False))])


def nothing_and_single_numbers(w: Example) -> Plan:
    none = w("exp", w("slice", w.x, params=(slice(0, 0),)))
    total = w("add", w("sum", none, params=((0, 1), False)), w("slice", w.x, params=((0, 0),)))
    return w.plan(outputs=[w("multiply", w("exp", total), w("slice", total, params=(Ellipsis,)))])


BUFFERS: list[tuple[Callable[[Example], Plan], list[str]]] = [
    (elementwise_in_place, ["matmul #0", "exp #0", "multiply #0", "sum new"]),
    (one_reads_it_later, ["exp #0", "tanh #1", "multiply #1", "sum new"]),
    (a_view_reads_it_later, ["exp #0", "transpose view", "slice view", "tanh #1", "matmul new"]),
    (another_arg_is_a_view_of_it, ["exp #0", "transpose view", "add #1", "matmul new"]),
    (another_dtype_or_shape, ["exp #0", "cast #1", "greater #2", "sum new"]),
    (products_and_sums_read_their_args, ["exp #0", "matmul #1", "matmul #0", "sum #2", "negative new"]),
    (where_over_its_last, ["greater #0", "exp #1", "tanh #2", "where #2", "sum new"]),
    (put_over_its_first, ["exp #0", "tanh #1", "slice view", "put #0", "slice view", "add_at #1", "sum new"]),
    (a_full_for_itself, ["full #0", "negative #1", "exp #1", "matmul new"]),
    (calls_allocate, ["call new", "call view", "exp #0", "exp #0", "sum new"]),
    (draws_have_buffers, ["draw #0", "draw #1", "draw new", "draw new", "exp #0", "add #0", "matmul #1", "add new"]),
    (no_view_of_it, ["exp #0", "transpose view", "copy #1", "reshape view", "transpose view", "copy #2", "reshape view",
                     "transpose view", "reshape view", "add #3", "copy #4", "reshape view", "add #3", "sum new"]),
    (nothing_and_single_numbers, ["slice view", "exp #0", "sum #1", "slice view", "add #1", "exp #2", "slice view",
                                  "multiply new"]),
]  # fmt: skip


def sgd(w: Example) -> Plan:
    grad = w("matmul", w.x, w.a)
    w.call(look, grad, op="check")
    return w.plan([(w.a, w("subtract", w.a, w("multiply", grad, 0.1))), (w.b, grad)])


def momentum(w: Example) -> Plan:
    moved = w("add", w("multiply", w.b, 0.9), w("exp", w.x))
    return w.plan([(w.b, moved), (w.a, w("subtract", w.a, moved))])


def a_check_is_between(w: Example) -> Plan:
    less = w("multiply", w.b, 0.9)
    w.call(look, less, op="check")
    return w.plan([(w.b, w("add", less, w.x))])


def read_later(w: Example) -> Plan:
    new = w("add", w.a, w.x)
    return w.plan([(w.a, new), (w.b, w("multiply", w.a, new))])


def read_later_through_a_view(w: Example) -> Plan:
    view = w.T(w.a)
    new = w("add", w.a, w.x)
    return w.plan([(w.a, new), (w.b, w("multiply", view, new))])


def read_across_in_the_same_instruction(w: Example) -> Plan:
    mask = w("greater", w.x, 0.0)
    return w.plan([(w.a, w("add", w.a, w.T(w.a))), (w.b, w("matmul", w.b, w.x)), (w.c, w("where", mask, w.c, w.x))])


def swapped(w: Example) -> Plan:
    return w.plan([(w.a, w.b), (w.b, w.a)])


def passed_on(w: Example) -> Plan:
    return w.plan([(w.a, w.b), (w.b, w.c), (w.c, w("exp", w.x))])


def the_old_one_is_kept(w: Example) -> Plan:
    change = w("subtract", w.a, w.b)
    return w.plan([(w.b, w.a), (w.a, w("add", w.a, change))])


def leaves_and_views(w: Example) -> Plan:
    e = w("exp", w.x)
    return w.plan([(w.a, w.x), (w.b, w.T(e)), (w.c, w.T(w.c))])


def one_for_two(w: Example) -> Plan:
    e = w("exp", w.x)
    return w.plan([(w.a, e), (w.b, e)], [w("sum", w("tanh", e), params=((0,), False))])


def itself_and_full(w: Example) -> Plan:
    return w.plan([(w.a, w.a), (w.b, w.full((3, 3), 0.0)), (w.c, w.call(np.tril, w.x))])


STATES: list[tuple[Callable[[Example], Plan], list[str]]] = [
    (sgd, ["matmul b", "check new", "multiply #0", "subtract a"]),
    (momentum, ["multiply b", "exp #0", "add b", "subtract a"]),
    (a_check_is_between, ["multiply #0", "check new", "add b"]),
    (read_later, ["add #0", "multiply b", "a <- add #0"]),
    (read_later_through_a_view, ["transpose view", "add #0", "multiply b", "a <- add #0"]),
    (read_across_in_the_same_instruction,
     ["greater #0", "transpose view", "add #1", "matmul #2", "where #3", "a <- add #1", "b <- matmul #2",
      "c <- where #3"]),
    (swapped, ["copy #0", "copy b", "a <- copy #0"]),
    (passed_on, ["copy #0", "exp c", "copy a", "b <- copy #0"]),
    (the_old_one_is_kept, ["subtract #0", "copy b", "add a"]),
    (leaves_and_views, ["exp #0", "transpose view", "transpose view", "copy a", "copy b", "copy #0", "c <- copy #0"]),
    (one_for_two, ["exp a", "tanh #0", "sum new", "b <- exp a"]),
    (itself_and_full, ["full #0", "call new", "b <- full #0", "c <- call new"]),
]  # fmt: skip


def leaves_are_copied(w: Example) -> Plan:
    return w.plan([(w.a, w("exp", w.a))], [w.x, w.a, w.constant(np.ones(3)), w.x])


def views_are_copied(w: Example) -> Plan:
    e = w("exp", w.x)
    return w.plan(outputs=[w.T(e), e, e, w.call(np.ravel, w.x, alias=0), w.full((3,), 1.0)])


def also_left_in_a_state(w: Example) -> Plan:
    e = w("exp", w.a)
    return w.plan([(w.a, e), (w.b, w("tanh", e))], [e])


OUTPUTS: list[tuple[Callable[[Example], Plan], list[str]]] = [
    (leaves_are_copied, ["copy new", "copy new", "copy new", "copy new", "exp a"]),
    (views_are_copied, ["exp new", "copy new", "transpose view", "copy new", "call view", "copy new", "full new"]),
    (also_left_in_a_state, ["exp new", "tanh b", "a <- exp new"]),
]


@pytest.mark.parametrize(("build", "expected"), BUFFERS + STATES + OUTPUTS, ids=lambda x: getattr(x, "__name__", ""))
def test_homes(build: Callable[[Example], Plan], expected: list[str]) -> None:
    assert homes(build(Example())) == expected


def test_a_deep_net_has_few_buffers() -> None:
    w = Example()
    v = w.x
    for _ in range(50):
        v = w("tanh", w("add", w("matmul", v, w.a), 1.0))
    _, layout = allocate(w.plan(outputs=[w("sum", v, params=((0, 1), False))]))
    assert len({home for home in layout.homes.values() if home}) == 2


def test_the_same_plan_has_the_same_layout() -> None:
    first, second = ([str(home) for home in allocate(sgd(Example()))[1].homes.values()] for _ in range(2))
    assert first == second
