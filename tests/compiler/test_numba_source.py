"""What numba makes of the modules: every operation, checks that stop a part, memory, whole steps, the cache."""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_bp as bp
from tests.compiler.build import Writer, memory_of, plans
from tests.compiler.test_fusion import array, follow, getitem
from tinygrad_bp import nn
from tinygrad_bp.compiler import numba_module, numba_source
from tinygrad_bp.compiler.fusion import COMPARING, FLOATING, LOGICAL, fuse
from tinygrad_bp.compiler.numba_source import emit, load
from tinygrad_bp.compiler.plan import CompileError, Plan, Value, evaluate
from tinygrad_bp.optim import SGD, Adam
from tinygrad_bp.optim.optimizers import check_finite

numba = pytest.importorskip("numba", reason="needs numba: pip install 'tinygrad_bp[jit]'")


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache directory of our own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_BP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def check(w: Writer, plan: Plan, blas: bool | None = None) -> None:
    source = emit(plan, blas=blas)
    follow(plan, {v: w.examples[v].copy() for v in (*plan.inputs, *plan.states)}, load(source), source)


# ---- every operation ---------------------------------------------------------------------------------------

UNARY = {op for op in FLOATING if getattr(np, op).nin == 1}
HARD = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.5, -2.5, 30.0, -30.0, 1e-20, 1e20, -1e20, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_elementwise_operations_are_numpys(dtype: Any) -> None:
    w = Writer()
    x, y = (w.input(np.array(pair, dtype), name) for name, pair in zip("xy", np.meshgrid(HARD, HARD)))
    exact = {"add", "subtract", "multiply", "divide", "square", "sqrt", "reciprocal", "negative", "maximum", "minimum"}
    outputs = [w(op, x) for op in sorted(UNARY)] + [w(op, x, y) for op in sorted((FLOATING | COMPARING) - UNARY)]
    outputs += [w(op, x, y) for op in sorted(LOGICAL - {"logical_not"})] + [w("logical_not", x)]
    outputs += [w(op, a, b) for op in ("add", "divide", "maximum", "greater", "power") for a, b in ((x, 3), (-0.5, x))]
    outputs += [w("power", x, 2), w("multiply", x, -np.inf), w("add", np.nan, x), w("equal", x, True)]
    outputs += [w("where", w("greater", x, y), x, 0.0), w("where", y, x, y), w.cast(x, bool), w("copy", x)]
    plan = w.plan(outputs=outputs)
    assert {group.kind for group in fuse(plan).groups} == {"loop"}
    arguments = [w.examples[v] for v in (x, y)]
    results = load(emit(plan))()(*arguments)
    for v, got in zip(outputs, results, strict=True):
        with np.errstate(all="ignore"):
            want = evaluate(
                v,
                [dict(zip((x, y), arguments)).get(a, w.examples.get(a)) if isinstance(a, Value) else a for a in v.args],
            )
        assert got.dtype == v.dtype
        if v.op in exact or v.dtype == bool:
            np.testing.assert_array_equal(got, want, str(v))
        else:
            np.testing.assert_allclose(
                got, want, 4 * np.finfo(dtype).eps, np.finfo(dtype).smallest_normal, err_msg=str(v)
            )


def test_dtypes_mix_as_in_numpy() -> None:
    w = Writer()
    d, f = w.input(array(2, 3), "d"), w.input(array(2, 3, dtype=np.float32), "f")
    i, u, m = (
        w.input(np.array([-1, 2, 3]), "i"),
        w.input(np.array([7, 2, 0], np.uint8), "u"),
        w.input(array(2, 3) > 0, "m"),
    )
    t = w.state(np.array(0.5), "t")
    outputs = [w("add", d, f), w("multiply", f, t), w("multiply", f, 0.1), w("subtract", d, m), w("multiply", d, i)]
    outputs += [w("add", f, u), w("equal", i, u), w("less", i, 2), w("where", m, f, 0.1), w("where", i, d, f)]
    outputs += [
        w.cast(i, np.float32),
        w.cast(m, np.float64),
        w.cast(d, np.int64),
        w("add", i, i),
        w("exp", i),
        w("exp", m),
    ]
    outputs += [
        w("sum", i, params=((0,), False)),
        w("sum", f, params=((0, 1), False)),
        w("any", d, params=((1,), False)),
    ]
    outputs += [w("logical_not", m), w("copy", i), w("greater", u, -1), w("sum", m, params=((1,), True))]
    check(w, w.plan(outputs=outputs))


def test_functions_that_loops_do_not_know_are_numpys() -> None:
    w = Writer()
    x, s = w.input(array(3, 3), "x"), w.state(array(3, 3), "s")
    a = w("heaviside", w("negative", x), 0.5)
    b = w.call(np.linalg.inv, w("add", w("matmul", x, s), a))
    c = w("multiply", b, w.call("standard_normal", size=(3, 3), op="draw"))
    check(w, w.plan([(s, w("add", s, c))], [w.put(x, 5.0, (slice(None), 1)), w("floor_divide", x, 0.3)]))


def test_vdot_is_a_sum() -> None:
    w = Writer()
    x, y = w.input(array(3, 4), "x"), w.input(array(3, 4), "y")
    plan = w.plan(outputs=[w.call(np.vdot, x, y)])
    assert [group.kind for group in fuse(plan).groups] == ["loop"]
    check(w, plan)


@settings(max_examples=12)
@given(plans())
def test_drawn_plans_compute_what_they_mean(plan: Plan) -> None:
    source = emit(plan)
    follow(plan, memory_of(plan, 1), load(source), source)


@pytest.mark.parametrize("blas", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_layer_and_its_gradients(dtype: Any, blas: bool) -> None:
    w = Writer()
    x, y = w.input(array(5, 4, dtype=dtype), "x"), w.input(array(5, 3, dtype=dtype), "y")
    W, b, g = (w.state(array(*s, dtype=dtype), name) for s, name in (((3, 4), "W"), ((3,), "b"), ((3, 4), "g")))
    a = w("tanh", w("add", w("matmul", x, w("transpose", W, params=((1, 0),))), b))
    delta = w("multiply", w("subtract", a, y), w("subtract", 1.0, w("square", a)))
    slope = w("matmul", w("transpose", delta, params=((1, 0),)), x)
    writes = [(g, slope), (W, w("subtract", W, w("multiply", slope, 0.1)))]
    check(w, w.plan([*writes, (b, w("subtract", b, w("sum", delta, params=((0,), False))))], [a]), blas)


# ---- checks ------------------------------------------------------------------------------------------------


def checked() -> tuple[Plan, Value, Any]:
    w = Writer()
    x, s, seen = w.input(np.ones(3), "x"), w.state(np.ones(3), "s"), w.state(np.zeros(3), "seen")
    g = w("multiply", x, 2.0)
    w.call(check_finite.__wrapped__, "SGD", [g], op="check")  # type: ignore[attr-defined]
    plan = w.plan([(seen, g), (s, w("subtract", s, g))])
    source = emit(plan)
    arrays = {"s": np.ones(3), "seen": np.zeros(3)}
    return plan, load(source)(*(arrays[v.name] for v in source.arrays)), arrays


def test_a_check_that_fails_raises_before_what_stands_after_it_is_written() -> None:
    plan, step, arrays = checked()
    assert [group.kind for group in fuse(plan).groups].count("guard") == 1
    with pytest.raises(FloatingPointError, match="parameter 0, shape \\(3,\\), has 1 of 3"):
        step(np.array([1.0, np.nan, 1.0]))
    np.testing.assert_array_equal(arrays["s"], [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(arrays["seen"], [2.0, np.nan, 2.0])  # as eagerly: the gradient was there


def test_a_guard_that_is_wrong_goes_on() -> None:
    _, step, arrays = checked()
    with np.errstate(over="ignore"):
        step(np.array([1.0, 1e200, 1.0]))  # its square is infinite, it is not
    np.testing.assert_array_equal(arrays["s"], [-1.0, 1.0 - 2e200, -1.0])


def test_a_gather_outside_of_its_array_raises() -> None:
    w = Writer()
    x, rows, labels = w.input(array(3, 4), "x"), w.constant(np.arange(3)), w.input(np.array([0, 3, -4]), "labels")
    plan = w.plan(outputs=[w.call(getitem, x, (rows, labels))])
    assert "call" not in [group.kind for group in fuse(plan).groups]
    step = load(emit(plan))(np.arange(3))
    table = array(3, 4)
    np.testing.assert_array_equal(step(table, np.array([0, 3, -4])), [table[0, 0], table[1, 3], table[2, 0]])
    for wrong in (4, -5, 10**15):
        with pytest.raises(IndexError, match="out of bounds"):
            step(table, np.array([0, wrong, 0]))


# ---- memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["F", "strided", "read-only"])
def test_inputs_may_lie_as_they_like(kind: str) -> None:
    w = Writer()
    x = w.input(array(4, 6), "x")
    step = load(emit(w.plan(outputs=[w("matmul", x, w("exp", w("transpose", x, params=((1, 0),))))])))()
    given = {
        "F": np.asfortranarray(array(4, 6)),
        "strided": np.repeat(array(4, 6), 2, 1)[:, ::2],
        "read-only": array(4, 6),
    }[kind]
    given.setflags(write=kind != "read-only")
    np.testing.assert_allclose(step(given), given @ np.exp(given.T), 1e-14)


def test_the_step_holds_its_arrays() -> None:
    w = Writer()
    x, s = w.input(array(50, 50), "x"), w.state(array(50, 50), "s")
    plan = w.plan([(s, w("tanh", w("matmul", w("matmul", x, s), x)))])
    make = load(emit(plan))
    step = make(np.eye(50))  # nobody else holds the state
    gc.collect()
    others = [np.full((50, 50), np.nan) for _ in range(50)]
    for _ in range(3):
        step(np.eye(50) / 2)
    state = next(a for a in step.arrays if a.ndim == 2 and np.allclose(a, np.diag(np.diag(a))) and a[0, 0] < 0.1)  # type: ignore[attr-defined]
    assert np.isfinite(state).all() and np.isnan(others).all()


# ---- steps -------------------------------------------------------------------------------------------------

STEPS = {
    "SGD": (lambda p: SGD(p, lr=0.5), nn.Sigmoid, nn.QuadraticLoss()),
    "momentum": (lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01), nn.Tanh, nn.MSELoss()),
    "Adam": (lambda p: Adam(p, lr=0.01), nn.ReLU, nn.CrossEntropyLoss()),
    "softplus": (lambda p: Adam(p, lr=0.01), nn.Softplus, nn.BCEWithLogitsLoss()),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", STEPS)
def test_a_compiled_step_equals_the_eager_one(case: str, dtype: str) -> None:
    make_optimizer, activation, loss_of = STEPS[case]
    generator = np.random.default_rng(0)
    x = generator.standard_normal((7, 5)).astype(dtype)
    labels = isinstance(loss_of, nn.CrossEntropyLoss)
    y = generator.integers(0, 4, 7) if labels else generator.random((7, 4)).astype(dtype)

    def trained(compiled: bool) -> list[Any]:
        bp.manual_seed(1)
        net = nn.Sequential(
            nn.Linear(5, 6, dtype=np.dtype(dtype)), activation(), nn.Linear(6, 4, dtype=np.dtype(dtype))
        )
        optimizer = make_optimizer(net.parameters())

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_of(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = bp.compile(step, backend="numba") if compiled else step
        losses = [run(bp.Tensor(x), bp.Tensor(y)).item() for _ in range(6)]
        gradients = [p.grad.data for p in net.parameters()]
        return [np.array(losses), *(p.data for p in net.parameters()), *gradients]

    for got, want in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(
            got, want, rtol=1e-12 if dtype == "float64" else 1e-4, atol=1e-13 if dtype == "float64" else 1e-6
        )


# ---- the cache ---------------------------------------------------------------------------------------------


def small() -> tuple[Any, Any]:
    w = Writer()
    x = w.input(array(3), "x")
    return emit(w.plan(outputs=[w("exp", x)]), "A small step"), x


def test_a_module_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_BP_CACHE", str(tmp_path))
    source, _ = small()
    first = numba_module._module(source.text)
    (file,) = tmp_path.glob("*.py")
    assert file.read_text("ascii") == source.text
    second = numba_module._module(source.text)
    assert sum(first.part_0.stats.cache_hits.values()) == 0
    assert sum(second.part_0.stats.cache_hits.values()) == 1
    np.testing.assert_allclose(load(source)()(np.zeros(3)), 1.0)


def test_a_damaged_module_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_BP_CACHE", str(tmp_path))
    source, _ = small()
    load(source)
    (file,) = tmp_path.glob("*.py")
    file.write_text("half a li")
    np.testing.assert_allclose(load(source)()(np.zeros(3)), 1.0)
    assert file.read_text("ascii") == source.text and not list(tmp_path.glob("*.tmp"))


def test_a_directory_that_cannot_be_written_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TINYGRAD_BP_CACHE", str(tmp_path / "file" / "below"))
    source, _ = small()
    np.testing.assert_allclose(load(source)()(np.zeros(3)), 1.0)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_BP_CACHE", "/own")
    assert numba_module._folder() == Path("/own")
    monkeypatch.delenv("TINYGRAD_BP_CACHE")
    if sys.platform != "win32":
        monkeypatch.setenv("XDG_CACHE_HOME", "/x")
        assert numba_module._folder() == Path("/x/tinygrad_bp")
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert numba_module._folder() == Path.home() / ".cache" / "tinygrad_bp"


# ---- without numba -----------------------------------------------------------------------------------------


def test_without_numba_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_module, "find_spec", lambda name: None)
    message = (
        r"compile: backend 'numba' needs numba, which is not installed. pip install 'tinygrad_bp\[jit\]', or leave"
    )
    with pytest.raises(CompileError, match=message):
        numba_source.require()
    with pytest.raises(CompileError, match=message):
        load(small()[0])


def test_numba_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(CompileError, match=r"which NUMBA_DISABLE_JIT switches off\. Unset that variable, or leave"):
        numba_source.require()


def test_the_module_needs_no_numba_to_be_imported() -> None:
    assert importlib.util.find_spec("numba") is not None
    assert "numba" not in vars(numba_module)
