"""Plans in groups, and the text of their loops, which is Python: here it runs as it stands, without numba, many times.

What numba makes of the same text is tested in test_numba_source.py.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.compiler.build import SEEN, Memory, Writer, memory_of, plans, run
from tinygrad_bp.compiler import numba_module
from tinygrad_bp.compiler.fusion import Fused, Place, fuse, matrix
from tinygrad_bp.compiler.kernels import KERNELS
from tinygrad_bp.compiler.numba_module import Module, load
from tinygrad_bp.compiler.numba_source import emit
from tinygrad_bp.compiler.numpy_source import Source
from tinygrad_bp.compiler.plan import Plan, Value


def vector(address: Any, size: int, dtype: Any) -> Any:
    kind = np.dtype(dtype)
    return np.frombuffer((ctypes.c_char * (size * kind.itemsize)).from_address(int(address)), kind)


def gemm(dtype: Any) -> Callable[..., None]:
    """What BLAS does, by the book, with rows one after the other."""

    def product(order: int, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, *rest: Any) -> None:
        assert order == 101
        a, lda, b, ldb, beta, c, ldc = rest
        out = vector(c, (m - 1) * ldc + n, dtype)
        for i in range(m):
            for j in range(n):
                total = beta * out[i * ldc + j] if beta else 0.0
                for r in range(k):
                    x = vector(a, 1 + (r * lda + i if ta == 112 else i * lda + r), dtype)[-1]
                    y = vector(b, 1 + (j * ldb + r if tb == 112 else r * ldb + j), dtype)[-1]
                    total += alpha * x * y
                out[i * ldc + j] = total

    return product


TOOLS = {
    **KERNELS,
    "vector": vector,
    "dgemm": gemm(np.float64),
    "sgemm": gemm(np.float32),
    "loop": lambda function: function,
    "part": lambda signature: lambda function: function,
    "table": numba_module._table,
}


def interpreted(source: Source) -> Callable[..., Callable[..., Any]]:
    """``make`` of a module whose parts are not compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba_module, "require", lambda: None)
        patch.setattr(numba_module, "_tools", lambda: TOOLS)
        patch.setattr(numba_module, "_file", lambda text: None)
        return load(source)


def assert_same(got: Any, want: Any) -> None:
    assert type(got) is np.ndarray and got.shape == want.shape and got.dtype == want.dtype
    single = got.dtype.itemsize == 4
    np.testing.assert_allclose(got, want, rtol=1e-5 if single else 1e-12, atol=1e-4 if single else 1e-11)


def follow(plan: Plan, memory: Memory, make: Callable[..., Any], source: Source, steps: int = 3) -> None:
    """Step the module beside the plan: outputs, states and what checks see are equal, inputs are left alone."""
    print(source.text)  # shown by a test that fails
    read = {a for v in plan.body for a in v.values}
    own: Memory = {v: x.copy(order="K" if v in read else "C") for v, x in memory.items()}
    step = make(*(v.params[0] if v.op == "constant" else own[v] for v in source.arrays))
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


def check(plan: Plan, memory: Memory | None = None, blas: bool = True, steps: int = 3) -> Module:
    source = emit(plan, blas=blas)
    follow(plan, memory_of(plan, 1) if memory is None else memory, interpreted(source), source, steps)
    assert isinstance(source, Module)
    return source


@settings(max_examples=200)
@given(plans())
def test_drawn_plans_compute_what_they_mean(plan: Plan) -> None:
    check(plan)


@settings(max_examples=60)
@given(plans())
def test_drawn_plans_compute_what_they_mean_without_blas(plan: Plan) -> None:
    assert "gemm(" not in check(plan, blas=False).text


# ---- what shares a loop ------------------------------------------------------------------------------------


def array(*shape: int, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def shown(fused: Fused) -> list[tuple[str, list[str]]]:
    return [(group.kind, [v.op for v in group.members]) for group in fused.groups]


def test_a_chain_and_the_sum_that_ends_it_are_one_loop_without_memory() -> None:
    w = Writer()
    x, y = w.input(array(4, 5), "x"), w.input(array(4, 5), "y")
    total = w("sum", w("square", w("subtract", w("tanh", x), y)), params=((0, 1), False))
    plan = w.plan(outputs=[total])
    fused = fuse(plan)
    assert shown(fused) == [("loop", ["tanh", "subtract", "square", "sum"])]
    assert fused.stored == {total}
    assert "for j" not in check(plan).text  # contiguous axes are one


def test_what_a_later_loop_needs_is_computed_there() -> None:
    w = Writer()
    x, m = w.input(array(4, 4), "x"), w.state(array(4, 4), "m")
    early = w("multiply", m, 0.9)
    g = w("matmul", x, x)
    new = w("add", early, g)
    fused = fuse(w.plan([(m, new)]))
    assert shown(fused) == [("product", ["matmul"]), ("loop", ["multiply", "add"])]
    assert early not in fused.stored and fused.direct == {new: m}


def test_the_normalising_sum_of_a_softmax_is_read_by_the_next_loop() -> None:
    w = Writer()
    x = w.input(array(4, 5), "x")
    e = w("exp", w("subtract", x, w("max", x, params=((1,), True))))
    out = w("divide", e, w("sum", e, params=((1,), True)))
    plan = w.plan(outputs=[out])
    assert shown(fuse(plan)) == [("loop", ["max"]), ("loop", ["subtract", "exp", "sum"]), ("loop", ["divide"])]
    check(plan)


@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("op", ["sum", "prod", "max", "min", "all", "any"])
def test_reductions_over_any_axes(op: str, axes: tuple[int, ...]) -> None:
    w = Writer()
    x = w.input(array(2, 3, 4) > 0.3 if op in ("all", "any") else array(2, 3, 4), "x")
    y = w.input(array(2, 1, 4, dtype=np.float32), "y")
    outputs = [w(op, v, params=(axes, keep)) for v in (x, y) for keep in (False, True)]
    plan = w.plan(outputs=outputs)
    assert {group.kind for group in fuse(plan).groups} == {"loop"}
    check(plan, {v: w.examples[v] for v in plan.inputs})


def test_loops_that_differ_in_names_only_are_one_function() -> None:
    w = Writer()
    x, f = w.input(array(3, 3), "x"), w.input(array(2, 2, dtype=np.float32), "f")
    for _ in range(3):
        x, f = w("matmul", w("tanh", x), x), w("matmul", w("tanh", f), f)
    text = check(w.plan(outputs=[x, f])).text
    assert text.count("@loop") == 2 and text.count("= tanh_float64(") == text.count("= tanh_float32(") == 1


def test_nan_goes_through_a_maximum() -> None:
    w = Writer()
    x = w.input(np.array([[1.0, np.nan, 2.0], [3.0, 4.0, np.nan]]), "x")
    outputs = [w(op, x, params=((1,), False)) for op in ("max", "min")] + [w("maximum", x, 0.0), w("minimum", 0.0, x)]
    plan = w.plan(outputs=outputs)
    check(plan, {x: w.examples[x]})


def test_a_gather_reads_what_is_complete() -> None:
    w = Writer()
    x, places = w.input(array(4), "x"), w.input(np.array([3, -1, 0, 1]), "places")
    plan = w.plan(outputs=[w("negative", w.call(getitem, w("exp", x), places))])
    assert [kind for kind, _ in shown(fuse(plan))].count("call") == 0
    check(plan, {v: w.examples[v] for v in plan.inputs})
    w = Writer()
    s, places = w.state(array(4), "s"), w.input(np.array([3, -1, 0, 1]), "places")
    plan = w.plan([(s, w.call(getitem, s, places))])
    check(plan, {v: w.examples[v] for v in (s, places)})


def getitem(x: Any, index: Any) -> Any:
    return x[index]


getitem.__module__, getitem.__name__ = "tinygrad_bp.compiler.handle", "_getitem"


# ---- memory ------------------------------------------------------------------------------------------------


def test_a_state_is_written_where_it_stands_if_its_readers_are_done() -> None:
    w = Writer()
    a, lr = w.state(array(3, 3), "a"), w.state(np.array(0.1), "lr")
    g = w("matmul", a, w("transpose", a, params=((1, 0),)))
    new = w("subtract", a, w("multiply", lr, g))
    plan = w.plan([(a, new)])
    assert fuse(plan).direct == {new: a}
    assert "copyto" not in check(plan).text


def test_a_state_is_written_after_readers_that_have_to_wait() -> None:
    w = Writer()
    x, s, p = w.input(array(3, 3), "x"), w.state(array(3, 3), "s"), w.state(array(3, 3), "p")
    late = w("matmul", w("matmul", w("matmul", x, x), x), s)
    later = w("add", w("matmul", late, x), p)
    plan = w.plan([(s, w("negative", s)), (p, w("tanh", p))], [late, later])
    assert len(fuse(plan).direct) == 2
    check(plan)


@pytest.mark.parametrize("late", ["transposed", "after", "swapped"])
def test_a_state_that_is_still_read_is_written_at_the_end(late: str) -> None:
    w = Writer()
    a, b = w.state(array(3, 3), "a"), w.state(array(3, 3), "b")
    if late == "transposed":
        plan = w.plan([(a, w("add", a, w("transpose", a, params=((1, 0),))))])
    elif late == "after":
        new = w("negative", a)
        plan = w.plan([(a, new)], [w("matmul", a, new)])
    else:
        plan = w.plan([(a, b), (b, a)])
    assert "copyto(" in check(plan).text


def test_a_buffer_is_lent_again_when_its_readers_are_done() -> None:
    w = Writer()
    x = w.input(array(3, 3), "x")
    for _ in range(6):
        x = w("matmul", x, x)
    assert check(w.plan(outputs=[x])).text.count("np.empty(") == 2


def test_the_arrays_belong_to_the_step() -> None:
    w = Writer()
    a = w.state(array(3, 3), "a")
    source = emit(w.plan([(a, w("matmul", a, a))]))
    step = interpreted(source)(np.eye(3))
    assert any(array.shape == (3, 3) for array in step.arrays)  # type: ignore[attr-defined]


# ---- products ----------------------------------------------------------------------------------------------


def test_a_bias_is_where_the_product_starts() -> None:
    w = Writer()
    x, W, b = w.input(array(4, 3), "x"), w.state(array(2, 3), "W"), w.state(array(2), "b")
    plan = w.plan(outputs=[w("add", w("matmul", x, w("transpose", W, params=((1, 0),))), b)])
    assert shown(fuse(plan)) == [("product", ["product"])]
    check(plan)


def test_a_product_that_others_read_stays_without_its_bias() -> None:
    w = Writer()
    x, b = w.input(array(3, 3), "x"), w.state(array(3), "b")
    z = w("matmul", x, x)
    plan = w.plan(outputs=[w("add", z, b), w("exp", z)])
    assert shown(fuse(plan))[0] == ("product", ["matmul"])
    check(plan)


def test_a_gradient_is_added_where_it_stands() -> None:
    w = Writer()
    d, x, g = w.input(array(4, 2), "d"), w.input(array(4, 3), "x"), w.state(array(2, 3), "g")
    plan = w.plan([(g, w("add", g, w("matmul", w("transpose", d, params=((1, 0),)), x)))])
    text = check(plan).text
    assert "for " not in text and "np.empty" not in text


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((1, 3), (3, 1)), ((1, 1), (1, 4))])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_of_vectors(shapes: Any, dtype: Any) -> None:
    w = Writer()
    a, b = (w.input(array(*shape, dtype=dtype), name) for shape, name in zip(shapes, "ab"))
    plan = w.plan(outputs=[w("matmul", a, b)])
    assert shown(fuse(plan)) == [("product", ["matmul"])]
    check(plan)


@pytest.mark.parametrize("index", [(slice(1, 3),), (slice(None), slice(1, 3)), (slice(None, None, 2),)])
def test_products_of_parts(index: Any) -> None:
    w = Writer()
    a = w.input(array(4, 4), "a")
    part = w("slice", a, params=(index,))
    plan = w.plan(outputs=[w("matmul", part, w("transpose", part, params=((1, 0),)))])
    assert shown(fuse(plan)) == [("product", ["matmul"])]
    check(plan)


def test_what_blas_cannot_read_is_left_to_numpy() -> None:
    root = Value("input", (), (), (6, 6), np.dtype(float))
    assert matrix(Place(root, 0, (6, 1)), (6, 6)) == (False, 6)
    assert matrix(Place(root, 0, (1, 6)), (6, 6)) == (True, 6)
    assert matrix(Place(root, 0, (12, 2)), (3, 3)) is None  # every second column
    assert matrix(Place(root, 30, (-6, 1)), (6, 6)) is None
    assert matrix(Place(root, 0, (0, 1)), (6, 6)) is None  # one row, broadcast
    w = Writer()
    x, y = w.input(array(2, 3, 4), "x"), w.input(array(4, 4), "y")
    flipped = w("slice", y, params=((slice(None, None, -1),),))
    plan = w.plan(outputs=[w("matmul", x, y), w("matmul", y, flipped)])
    assert [kind for kind, _ in shown(fuse(plan))] == ["call", "call"]
    check(plan)


def test_equal_plans_give_equal_text() -> None:
    def written() -> str:
        w = Writer()
        x, s = w.input(array(4, 3), "x"), w.state(array(3), "s")
        return emit(w.plan([(s, w("sum", w("exp", w("add", x, s)), params=((0,), False)))])).text

    assert written() == written()
