"""The engine: depth, sharing, seeds, freed graphs, failures, aliasing, the write clock, grad modes, threads, memory.

Numbers in the names of tests are those of the project's checklist of bad input and faults.
"""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.checks import refuses
from tinygrad_bp import autograd, ops, recipe
from tinygrad_bp.autograd import topological
from tinygrad_bp.recipe import Op, primitive

ROOT = Path(__file__).parent.parent


def leaf(*values, dtype=None):
    return bp.Tensor(values if len(values) != 1 else values[0], requires_grad=True, dtype=dtype)


@pytest.fixture
def no_collector():
    """The cyclic garbage collector off: what dies here dies by reference counting."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# ---- depth and sharing -------------------------------------------------------------------------------------


def test_01_a_chain_of_a_million_operations():
    x = leaf(1.0)
    y = x
    for _ in range(1_000_000):
        y = y + 1.0
    assert y.item() == 1_000_001
    y.backward()
    assert x.grad.item() == 1.0


def test_01_a_chain_of_200_000_operations_differentiated_twice():
    x = leaf(1.0)
    y = x * x
    for _ in range(200_000):
        y = -y
    (dx,) = autograd.grad(y, x, create_graph=True)
    (ddx,) = autograd.grad(dx, x)
    assert (dx.item(), ddx.item()) == (2.0, 2.0)


@pytest.mark.parametrize("by", ["deleting it", "backward"])
def test_02_a_deep_graph_is_freed_without_recursion(by, no_collector):
    y = leaf(1.0) + 1.0
    first = weakref.ref(y)
    for _ in range(200_000):
        y = y + 1.0
    if by == "backward":
        y.backward()
    else:
        del y
    assert first() is None


def test_03_sixty_diamonds_in_linear_time():
    calls = []

    def partial(g, y, a, b):
        calls.append(1)
        return g

    add = primitive("counted_add", np.add, partial, partial)
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = add(y, y)
    assert len(topological([y])) == 60
    y.backward()
    assert x.grad.item() == 2.0**60
    assert len(calls) == 120


def test_04_the_same_tensor_twice_in_one_operation():
    x = leaf(1.0, 2.0, 3.0)
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0, 6.0]

    m = leaf([[1.0, 2.0], [3.0, 4.0]])
    (m @ m.T).sum().backward()
    assert m.grad.tolist() == [[8.0, 12.0], [8.0, 12.0]]  # 2 * column sums

    weights = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    for join in (np.stack, ops.stack, np.vstack):
        x = leaf(1.0, 2.0, 3.0)
        (join([x, x]) * weights).sum().backward()
        assert x.grad.tolist() == [11.0, 22.0, 33.0]


def test_a_node_waits_for_all_its_consumers():
    """The gradient of h arrives along paths of different lengths; it is passed on once, when it is complete."""
    calls = []
    double = primitive("double", lambda x: 2.0 * x, lambda g, y, x: calls.append(g) or 2.0 * g)
    x = leaf(3.0)
    h = double(x)
    y = h
    for _ in range(5):
        y = y * 1.0 + h
    y.backward()
    assert calls == [6.0]
    assert x.grad.item() == 12.0


@given(st.data())
def test_random_graphs_count_their_paths(data):
    """Every node is a whole number of times each leaf, so its gradients are whole numbers, to be met exactly.

    The steps hand gradients on as they are, as views or scaled: an addition into an array that two nodes share,
    or a node passed on before it is complete, shows.
    """
    leaves = [leaf(np.full((2, 3), float(k))) for k in range(3)]
    nodes = [(t, np.eye(3)[k]) for k, t in enumerate(leaves)]
    for _ in range(data.draw(st.integers(1, 12))):
        step = data.draw(st.sampled_from(["add", "add", "subtract", "negative", "positive", "transposed", "scale"]))
        (a, m), (b, n) = (data.draw(st.sampled_from(nodes)) for _ in range(2))
        nodes.append(
            {
                "add": lambda a=a, b=b, m=m, n=n: (a + b, m + n),
                "subtract": lambda a=a, b=b, m=m, n=n: (a - b, m - n),
                "negative": lambda a=a, m=m: (-a, -m),
                "positive": lambda a=a, m=m: (+a, m),
                "transposed": lambda a=a, m=m: (a.T.reshape(3, 2).T, m),
                "scale": lambda a=a, m=m: (a * 3.0, 3.0 * m),
            }[step]()
        )
    y, m = nodes[-1]
    seed = np.arange(6.0).reshape(2, 3)
    for create_graph in (True, False):
        for t, g, n in zip(
            leaves, autograd.grad(y, leaves, seed, True, create_graph, allow_unused=True), m, strict=True
        ):
            assert np.array_equal(np.zeros((2, 3)) if g is None else g.data, n * seed), (t, n)
    y.backward(seed)
    for t, n in zip(leaves, m, strict=True):
        assert np.array_equal(np.zeros((2, 3)) if t.grad is None else t.grad.data, n * seed)
    assert np.array_equal(seed, np.arange(6.0).reshape(2, 3))


def test_topological_puts_inputs_first():
    x = leaf(2.0)
    a = x * x
    b = a + x
    c = a * b
    order = topological([c, b])
    assert set(order) == {a, b, c}
    assert order.index(a) < order.index(b) < order.index(c)


# ---- recipes -----------------------------------------------------------------------------------------------


def test_a_computed_tensor_remembers_operation_inputs_and_params():
    x = leaf([[1.0, 2.0]])
    y = ops.sum(x, axis=1)
    assert y.recipe == (ops.sum, (x,), (1, False))
    assert y.grad_fn is ops.sum
    assert repr(ops.sum) == "<op 'sum'>"
    assert x.recipe is None
    assert x.grad_fn is None


def test_what_has_no_derivative_is_visible_but_ends_the_gradient():
    x = leaf(1.0, -2.0)
    mask = x > 0
    assert mask.grad_fn is ops.greater
    assert not mask.requires_grad
    assert not ops.greater.differentiable
    assert ops.sum.differentiable
    assert ops.sign(x).requires_grad is False


def test_an_untracked_result_remembers_nothing():
    y = bp.Tensor([1.0]) * 2.0
    assert y.recipe is None
    with bp.no_grad():
        assert (leaf(1.0) * 2.0).recipe is None


def test_without_a_tensor_a_row_is_plain_numpy():
    y = ops.multiply(np.array([1.0, 2.0]), 2.0)
    assert type(y) is np.ndarray
    assert type(ops.softmax(np.array([1.0, 2.0]))) is np.ndarray
    assert y.tolist() == [2.0, 4.0]


# ---- seeds -------------------------------------------------------------------------------------------------


def test_05_backward_on_a_non_scalar_needs_a_gradient():
    x = leaf(1.0, 2.0)
    with refuses(
        RuntimeError,
        "backward: a tensor of shape (2,) has no implicit gradient; only a scalar has. "
        "Reduce it (loss.mean()) or pass gradient=.",
    ):
        (x * x).backward()
    with refuses(RuntimeError, "grad: a tensor of shape (2,) has no implicit gradient"):
        autograd.grad(x * x, x)
    assert x.grad is None


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_05_one_entry_is_not_a_scalar(shape):
    x = leaf(np.ones(shape))
    with refuses(RuntimeError, f"backward: a tensor of shape {shape} has no implicit gradient"):
        x.backward()


@pytest.mark.parametrize("seed", [[1.0, 10.0], np.array([1, 10]), bp.Tensor([1.0, 10.0]), (1, 10), np.float32([1, 10])])
def test_a_seed_weighs_the_outputs(seed):
    x = leaf(1.0, 2.0)
    (x * x).backward(seed)
    assert x.grad.tolist() == [2.0, 40.0]
    assert x.grad.dtype == np.float64
    (g,) = autograd.grad(x * x, x, [seed])
    assert g.tolist() == [2.0, 40.0]


@pytest.mark.parametrize("seed", [1.0, [1.0], [[1.0, 1.0]], np.ones(3), bp.Tensor(1.0)])
def test_06_a_seed_of_the_wrong_shape(seed):
    x = leaf(1.0, 2.0)
    shape = np.shape(seed)
    with refuses(ValueError, f"backward: gradient has shape {shape}, the tensor (2,). Pass one of that shape."):
        (x * x).backward(seed)
    assert x.grad is None


@pytest.mark.parametrize("seed", [np.array([1j, 1]), np.array(["a", "b"]), np.array([None, 1]), np.ones(2, "m8[s]")])
def test_06_a_seed_of_the_wrong_kind(seed):
    x = leaf(1.0, 2.0)
    with refuses(TypeError, f"backward: gradient has dtype {seed.dtype}. Pass a floating array."):
        (x * x).backward(seed)
    assert x.grad is None


def test_the_seed_takes_the_dtype_of_the_output():
    x = leaf(1.0, 2.0, dtype=np.float32)
    (x * x).backward(np.array([1.0, 10.0]))
    assert x.grad.dtype == np.float32


def test_a_seed_is_neither_written_nor_shared():
    seed = np.ones(2)
    x = leaf(1.0, 2.0)
    x.backward(seed)
    x.backward(seed)
    assert x.grad.tolist() == [2.0, 2.0]
    x.grad.data[:] = 7.0
    assert seed.tolist() == [1.0, 1.0]


def test_a_seed_that_is_tracked_is_differentiated_too():
    x, v = leaf(1.0, 2.0), leaf(1.0, 10.0)
    (g,) = autograd.grad(x * x, x, v, create_graph=True)
    (dv,) = autograd.grad(g.sum(), v)
    assert dv.tolist() == [2.0, 4.0]


def test_backward_where_nothing_requires_grad():
    message = (
        "backward: this tensor of shape () does not require grad and was not computed from one that does. "
        "Create an input with requires_grad=True, outside no_grad(); gradients need create_graph=True."
    )
    with refuses(RuntimeError, message):
        bp.Tensor(1.0).backward()
    with refuses(RuntimeError, message):
        (bp.Tensor(1.0) * 2.0).backward()
    x = leaf(1.0)
    with bp.no_grad():
        y = x * x
    with refuses(RuntimeError, message):
        y.backward()
    with refuses(RuntimeError, message.replace("backward", "grad", 1)):
        autograd.grad(y, x)
    with refuses(RuntimeError, message):
        ops.sign(x).backward()


def test_backward_on_a_leaf_and_several_outputs_of_grad():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1.0
    y, z = x * x, x * 5.0
    assert [g.item() for g in autograd.grad([y, z], [x], retain_graph=True)] == [11.0]
    assert [g.item() for g in autograd.grad([y, z, y], x, [1.0, 10.0, bp.Tensor(100.0)])] == [656.0]


# ---- freed and retained graphs -----------------------------------------------------------------------------


def test_07_backward_twice_says_that_the_graph_was_freed():
    x = leaf(3.0)
    y = x * x
    y.backward()
    message = (
        "backward: the graph of 'multiply' was freed by an earlier backward(). Pass retain_graph=True to that call."
    )
    with refuses(RuntimeError, message):
        y.backward()
    with refuses(RuntimeError, message):
        autograd.grad(y, x)
    assert x.grad.item() == 6.0


def test_07_a_shared_part_of_the_graph_is_freed_too():
    x = leaf(3.0)
    h = x * x
    a, b = h + 1.0, h * 2.0
    a.backward()
    with refuses(RuntimeError, "backward: the graph of 'multiply' was freed"):
        b.backward()
    assert x.grad.item() == 6.0


def test_07_grad_frees_as_backward_does():
    x = leaf(3.0)
    y = x * x
    autograd.grad(y, x)
    with refuses(RuntimeError, "backward: the graph of 'multiply' was freed"):
        autograd.grad(y, x)


def test_08_a_retained_graph_accumulates_exactly():
    x = leaf(0.1, 0.7)
    loss = (ops.exp(x * x) * x).sum()
    loss.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    loss.backward(retain_graph=True)
    assert np.array_equal(x.grad.numpy(), 2 * once)
    loss.backward()
    assert np.array_equal(x.grad.numpy(), 2 * once + once)
    with refuses(RuntimeError, "was freed"):
        loss.backward()


def test_08_only_leaves_receive_gradients():
    x = leaf(3.0)
    h = x * x
    (h * h).backward()
    assert h.grad is None
    assert x.grad.item() == 108.0


def test_create_graph_retains_unless_told_otherwise():
    x = leaf(3.0)
    y = x**3
    (g,) = autograd.grad(y, x, create_graph=True)
    (again,) = autograd.grad(y, x)
    assert g.item() == again.item() == 27.0
    y = x**3
    (g,) = autograd.grad(y, x, create_graph=True, retain_graph=False)
    with refuses(RuntimeError, "was freed"):
        autograd.grad(y, x)


def test_80_gradients_accumulate_until_they_are_set_to_none():
    x = leaf(1.0, 2.0)
    (x * 3.0).sum().backward()
    (x * 4.0).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]
    x.grad = None
    (x * 4.0).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_backward_with_create_graph_leaves_gradients_that_can_be_differentiated():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.backward()
    assert (first.item(), x.grad.item()) == (12.0, 12.0)


def test_recorded_gradients_accumulate_and_stay_differentiable():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    (x**2).backward(create_graph=True)
    assert x.grad.item() == 16.0
    (ddx,) = autograd.grad(x.grad, x)
    assert ddx.item() == 14.0
    x.grad = None


# ---- autograd.grad -----------------------------------------------------------------------------------------


def test_grad_touches_no_grad_and_takes_computed_inputs():
    x = leaf(3.0)
    h = x * x
    y = h * h
    assert [g.item() for g in autograd.grad(y, [h, x, y])] == [18.0, 108.0, 1.0]
    assert x.grad is None


def test_10_a_leaf_that_the_loss_does_not_see_keeps_none():
    x, unused = leaf(1.0), leaf(1.0)
    (x * x).backward()
    assert unused.grad is None


def test_10_grad_refuses_unused_inputs_unless_allowed():
    x, unused = leaf(1.0), leaf(1.0, 2.0)
    y = x * x
    with refuses(
        RuntimeError,
        "grad: the outputs were not computed from input 1 of shape (2,). Pass allow_unused=True to get None for it.",
    ):
        autograd.grad(y, [x, unused], retain_graph=True)
    dx, none = autograd.grad(y, [x, unused], allow_unused=True)
    assert dx.item() == 2.0
    assert none is None


def test_10_an_input_seen_only_where_there_is_no_derivative_is_unused():
    x = leaf(1.0)
    w = leaf(2.0)
    for condition in (x > 0, x):
        dx, dw = autograd.grad(ops.where(condition, w, 0.0), [x, w], allow_unused=True)
        assert dx is None
        assert dw.item() == 1.0


def test_grad_refuses_inputs_that_do_not_require_grad():
    x, plain = leaf(1.0), bp.Tensor([1.0])
    with refuses(RuntimeError, "grad: input 1 of shape (1,) does not require grad. Set requires_grad=True."):
        autograd.grad(x * plain, [x, plain], [np.ones(1)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, x: autograd.grad(3.0, x), "grad: output 0 is a float. Pass Tensors."),
        (lambda y, x: autograd.grad([y, 3.0], x), "grad: output 1 is a float. Pass Tensors."),
        (lambda y, x: autograd.grad(y, np.ones(3)), "grad: input 0 is a ndarray. Pass Tensors."),
        (lambda y, x: autograd.grad(y, [x, None]), "grad: input 1 is a NoneType. Pass Tensors."),
    ],
)
def test_grad_takes_tensors(call, message):
    x = leaf(1.0)
    with refuses(TypeError, message):
        call(x * x, x)


def test_grad_outputs_are_one_for_each_output():
    x = leaf(1.0, 2.0)
    y = x * x
    with refuses(ValueError, "grad: 2 outputs, 1 grad_outputs. Pass one for each output."):
        autograd.grad([y, y], x, [np.ones(2)])
    for seed in (np.ones(2), [np.ones(2)], (bp.Tensor([1.0, 1.0]),), [1.0, 1.0], bp.Tensor([1.0, 1.0])):
        assert autograd.grad(y, x, seed, retain_graph=True)[0].tolist() == [2.0, 4.0]
    for seed in (1.0, 1, np.float32(1), np.array(1.0)):
        assert autograd.grad(y.sum(), x, seed, retain_graph=True)[0].tolist() == [2.0, 4.0]


def test_partials_that_nobody_asked_for_are_not_called():
    def never(*_):
        raise AssertionError("called")

    f = primitive("f", lambda a, b: a * b, lambda g, y, a, b: g * b, never)
    x, y = leaf(2.0), leaf(3.0)
    assert autograd.grad(f(x, y), x)[0].item() == 3.0
    f(x, 5.0).backward()
    f(x, bp.Tensor(5.0)).backward()
    assert x.grad.item() == 10.0


# ---- failures leave nothing behind -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("create_graph", [False, True])
def test_09_75_an_exception_in_a_partial_writes_no_gradient_and_leaves_the_graph_usable(error, create_graph):
    broken = True

    def partial(g, y, x):
        if broken:
            raise error("on purpose")
        return 2.0 * g

    fragile = primitive("fragile", lambda x: 2.0 * x, partial)
    a, b = leaf(1.0), leaf(2.0)
    b.grad = bp.Tensor(5.0)
    y = fragile(a) * b
    with pytest.raises(error, match="on purpose"):
        y.backward(create_graph=create_graph)
    assert a.grad is None
    assert b.grad.item() == 5.0
    broken = False
    y.backward()
    assert (a.grad.item(), b.grad.item()) == (4.0, 7.0)


# ---- the user's own operations -----------------------------------------------------------------------------


def run(partial, forward=lambda x: 2.0 * x):
    x = leaf(1.0, 2.0, 3.0)
    primitive("mine", forward, partial)(x).sum().backward()
    return x.grad


def test_a_primitive_of_any_order():
    cube = primitive("cube", lambda x: x * x * x, lambda g, y, x: g * 3.0 * x * x)
    f = lambda x: cube(x)
    values = []
    for _ in range(4):
        values.append(f(2.0).item() if isinstance(f(2.0), bp.Tensor) else f(2.0))
        f = bp.grad(f)
    assert values == [8.0, 12.0, 12.0, 6.0]


def test_a_primitive_takes_params_by_name_and_default():
    scale = primitive("scale", lambda x, by=2.0, plus=0.0: by * x + plus, lambda g, y, x, by, plus: by * g)
    x = leaf(1.0)
    assert [scale(x).item(), scale(x, 3.0).item(), scale(x, plus=1.0).item(), scale(by=5.0, x=x).item()] == [2, 3, 3, 5]
    scale(x, by=7.0).backward()
    assert x.grad.item() == 7.0
    assert scale(np.array(1.0), by=3.0) == 3.0


def test_broadcasting_is_undone_for_a_primitive():
    add = primitive("add3", lambda a, b: a + b, lambda g, y, a, b: g, lambda g, y, a, b: g)
    a, b = leaf(np.zeros((2, 1, 3))), leaf(np.zeros((4, 1)))
    add(a, b).sum().backward()
    assert np.array_equal(a.grad.numpy(), np.full((2, 1, 3), 4.0))
    assert np.array_equal(b.grad.numpy(), np.full((4, 1), 6.0))


@pytest.mark.parametrize("n", [1, 3, 1024, 5000])
def test_a_bias_receives_the_sum_over_the_batch(n):
    b = leaf([0.0, 0.0])
    (np.ones((n, 2)) + b).backward(np.arange(2.0 * n).reshape(n, 2))
    assert b.grad.tolist() == [n * (n - 1.0), n * n]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            np.ones(4),
            "backward: the partial of 'mine' for input 0 returned shape (4,), the input has (3,). "
            "Return the shape of the input, or of the output where the input was broadcast.",
        ),
        (1.0, "backward: the partial of 'mine' for input 0 returned shape (), the input has (3,)."),
        (
            np.ones(3, complex),
            "backward: the partial of 'mine' for input 0 returned dtype complex128. Return a floating array.",
        ),
        (np.ones(3, int), f"backward: the partial of 'mine' for input 0 returned dtype {np.dtype(int)}."),
        (np.ones(3, bool), "backward: the partial of 'mine' for input 0 returned dtype bool."),
        (
            None,
            "backward: the partial of 'mine' for input 0 returned a NoneType. "
            "Return an array, or declare the partial itself as None.",
        ),
        ("abc", "backward: the partial of 'mine' for input 0 returned a str."),
        ([1.0, 1.0, 1.0], "backward: the partial of 'mine' for input 0 returned a list."),
    ],
)
def test_15_a_partial_that_breaks_its_contract(result, message):
    with refuses(RuntimeError, message):
        run(lambda g, y, x: result)


def test_15_a_partial_of_another_precision_is_brought_to_that_of_the_input():
    assert run(lambda g, y, x: np.float32([1, 2, 3])).dtype == np.float64


@pytest.mark.parametrize(
    ("joint", "count"),
    [
        (lambda g, z, a, b: [g], "1"),
        (lambda g, z, a, b: [g, g, g], "3"),
        (lambda g, z, a, b: g, "a ndarray"),
        (
            lambda g, z, a, b: None,
            "a NoneType",
        ),
    ],
)
def test_15_a_joint_line_of_the_wrong_count(joint, count):
    both = recipe.row("both", lambda a, b: a + b, joint=joint)
    message = f"backward: 'both' has 2 inputs, its joint partials are {count}. Return one for each."
    with refuses(RuntimeError, message):
        both(leaf(1.0, 2.0), leaf(1.0, 2.0)).sum().backward()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: primitive("f", lambda x: x, lambda g, y, x: g, lambda g, y, x: g),
            "f: 2 partials for a forward of 1 inputs. Give one for each input.",
        ),
        (
            lambda: primitive("f", lambda *x: x[0], lambda g, y, x: g),
            "f: its forward takes * or keyword-only arguments. Name each input by position.",
        ),
        (lambda: primitive("f", lambda x, *, k: x, lambda g, y, x: g), "f: its forward takes * or keyword-only"),
        (
            lambda: primitive("f", min, lambda g, y, x: g),
            "f: its forward does not tell its arguments. Wrap it: lambda x: forward(x).",
        ),
    ],
)
def test_15_a_primitive_declared_wrongly(make, message):
    with refuses(TypeError, message):
        make()


@pytest.mark.parametrize("result", [[1.0, 2.0], None, "ab"])
def test_15_a_forward_that_returns_no_array(result):
    f = primitive("f", lambda x: result, lambda g, y, x: g)
    with refuses(TypeError, f"f: its forward returned a {type(result).__name__}. Return an array."):
        f(leaf(1.0, 2.0))


def test_a_forward_may_return_a_number():
    f = primitive("f", lambda x: float(x.sum()), lambda g, y, x: np.broadcast_to(g, x.shape))
    x = leaf(1.0, 2.0)
    y = f(x)
    assert type(y.data) is np.ndarray
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.sum(x, 0, False, 1), "sum: takes 3 arguments (x, axis, keepdims), got 4."),
        (lambda x: ops.sum(x, dim=0), "sum: has no argument 'dim'. It takes x, axis, keepdims."),
        (lambda x: ops.sum(x, 0, axis=0), "sum: argument 'axis' was given twice. Pass it once."),
        (lambda x: ops.reshape(x), "reshape: argument 'shape' is missing. It takes x, shape."),
        (lambda x: ops.add(x), "add: takes 2 inputs, got 1. Pass 2."),
        (lambda x: ops.exp(x, x), "exp: takes 1 inputs, got 2. Pass 1."),
        (
            lambda x: ops.leaky_relu(x, bp.Tensor(0.1)),
            "leaky_relu: 'negative_slope' has no partial derivative, it cannot be a Tensor. "
            "Pass a number or an array, or give the operation a partial for it.",
        ),
    ],
)
def test_operations_called_wrongly(call, message):
    with refuses(TypeError, message):
        call(leaf(1.0, 2.0))


class Strange:
    pass


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (1j, "a complex"),
        ("a", "a str"),
        (Strange(), "a Strange"),
        (np.datetime64("2020-01-01"), "a date"),
        (np.array([1j, 1]), "an array of dtype complex128"),
        (np.array([1, None]), "an array of dtype object"),
        (np.array(["a", "b"]), "an array of dtype <U1"),
        (np.ones(2, "m8[s]"), "an array of dtype timedelta64[s]"),
        (np.array([(1, 2.0), (3, 4.0)], "i4,f4"), "an array of dtype [('f0', '<i4'), ('f1', '<f4')]"),
        ([1j, 2], "an array of dtype complex128"),
        (np.ma.array([1.0, 2.0]), "a MaskedArray"),
        (np.ones((1, 2)).view(np.matrix), "a matrix"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_12_13_24_what_an_operation_does_not_compute_with(value, what):
    message = f"multiply: cannot compute with {what}. Pass a Tensor, an array of numbers or a number."
    for tensor in (leaf(1.0, 2.0), bp.Tensor([1.0, 2.0])):
        with refuses(TypeError, message):
            ops.multiply(tensor, value)
        with refuses(TypeError, message):
            ops.multiply(value, tensor)


def test_25_shapes_that_do_not_broadcast_are_named():
    a, b = leaf(np.ones(3)), leaf(np.ones(4))
    with refuses(ValueError, "add: shapes (3,) and (4,) do not broadcast. Make them equal, or 1, axis by axis."):
        a + b
    with refuses(ValueError, "multiply: shapes (3,) and (4,) do not broadcast."):
        a * np.ones(4)


def test_30_33_numpys_own_complaints_keep_their_class_and_name_the_operation():
    x = leaf(np.ones((2, 3)))
    with refuses(np.exceptions.AxisError, "sum: axis 2 is out of bounds for array of dimension 2 (input"):
        ops.sum(x, 2)
    with pytest.raises(ValueError, match=r"reshape: cannot reshape array .* \(input shapes: \(2, 3\)\)\."):
        x.reshape(4, 4)
    with pytest.raises(IndexError, match=r"getitem: index 5 is out of bounds .* \(input shapes: \(2, 3\)\)\."):
        x[5]
    with pytest.raises(TypeError, match=r"invert: ufunc 'invert' not supported"):
        ops.invert(x)


def test_sum_to_refuses_what_is_no_broadcast():
    with refuses(ValueError, "sum_to: shape (3,) is no broadcast of (2,)."):
        autograd.sum_to(np.ones(3), (2,))
    with refuses(ValueError, "sum_to: shape (3,) is no broadcast of (2, 3)."):
        autograd.sum_to(np.ones(3), (2, 3))


# ---- aliasing ----------------------------------------------------------------------------------------------


def network(x, w, b):
    """Broadcasts, views, fan-out: everything that tempts an engine to share memory."""
    h = x @ w.T + b
    return (h.T.reshape(-1)[::2] * 2.0).sum() + ops.sum(x, 0).mean() + (+b).sum() + (w + w).sum()


def parts():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in ((4, 3), (2, 3), (2,))]


@pytest.mark.parametrize("create_graph", [False, True])
def test_23_gradients_share_memory_with_nothing(create_graph):
    arrays = parts()
    leaves = [leaf(array) for array in arrays]
    y = network(*leaves)
    seed = np.array(1.0)
    y.backward(seed, create_graph=create_graph)
    everything = [*arrays, seed, y.data, *(t.data for t in leaves), *(t.grad.data for t in leaves)]
    for i, a in enumerate(everything):
        for b in everything[i + 1 :]:
            assert not np.shares_memory(a, b)
    for t in leaves:
        before = [array.copy() for array in everything]
        t.grad.data += 100.0  # also: it is writable
        changed = [k for k, array in enumerate(everything) if not np.array_equal(array, before[k])]
        assert [everything[k] is t.grad.data for k in changed] == [True]
        t.grad = None


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: (x + y).sum(),
        lambda x, y: x.sum() + y.sum(),
        lambda x, y: (np.concatenate([x, y]) * 1.0).sum(),
        lambda x, y: (x.reshape(3, 1) + y.reshape(3, 1)).sum(),
        lambda x, y: (x[::-1] + y[::-1]).sum(),
        lambda x, y: recipe.row("add", lambda a, b: a + b, joint=lambda g, z, a, b: [h := g * 1.0, h])(x, y).sum(),
    ],
)
def test_23_two_gradients_are_two_arrays(f, create_graph):
    for of in ("backward", "grad"):
        x, y = leaf(1.0, 2.0, 3.0), leaf(4.0, 5.0, 6.0)
        if of == "backward":
            f(x, y).backward(create_graph=create_graph)
            dx, dy = x.grad, y.grad
        else:
            dx, dy = autograd.grad(f(x, y), [x, y], create_graph=create_graph)
        before = dy.data.copy()
        dx.data *= 10.0
        assert np.array_equal(dy.data, before)
        assert [x.tolist(), y.tolist()] == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        x.grad = y.grad = None


@pytest.mark.parametrize("create_graph", [False, True])
def test_23_a_leafs_own_backward_does_not_share_the_seed(create_graph):
    for seed in (bp.Tensor([1.0, 2.0]), leaf(1.0, 2.0), np.array([1.0, 2.0])):
        x = leaf(0.0, 0.0)
        x.backward(seed, create_graph=create_graph)
        assert not np.shares_memory(x.grad.data, getattr(seed, "data", seed))
        x.grad = None


def test_a_gradient_is_an_array_in_a_tensor_even_for_a_scalar():
    x = leaf(2.0)
    (x * x + x).backward()
    assert type(x.grad) is bp.Tensor
    assert type(x.grad.data) is np.ndarray
    assert x.grad.shape == ()
    assert type(autograd.grad(x * x, x)[0].data) is np.ndarray


def test_22_the_users_arrays_are_never_written():
    arrays = parts()
    for array in arrays:
        array.flags.writeable = False
    x, w, b = bp.Tensor(arrays[0]), leaf(arrays[1]), leaf(arrays[2])
    network(x, w, b).backward()
    for t in (w, b):
        t.data -= 0.1 * t.grad.data  # they own copies
    assert x.data is arrays[0]
    assert [float(a.sum()) for a in arrays] == [float(a.sum()) for a in parts()]


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: a[::-1, ::-1],
        lambda a: np.repeat(a, 2, 1)[:, ::2],
        lambda a: a.astype(">f8"),
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a.view(type("Sub", (np.ndarray,), {})),
    ],
    ids=["fortran", "negative strides", "strided", "big endian", "zero strides", "subclass"],
)
def test_24_any_memory_layout_gives_the_same_gradients(layout):
    x, w, b = parts()
    x, w = layout(x), layout(w)
    x.flags.writeable = False
    results = []
    for make in (np.ascontiguousarray, lambda a: a):
        t, v, c = leaf(make(x).astype(float)) if make is np.ascontiguousarray else leaf(x), leaf(make(w)), leaf(b)
        network(t, v, c).backward()
        assert t.grad.dtype == np.float64
        assert t.grad.dtype.isnative
        results.append([t.grad.numpy(), v.grad.numpy(), c.grad.numpy()])
    for contiguous, any_layout in zip(*results, strict=True):
        np.testing.assert_allclose(any_layout, contiguous, rtol=1e-14)


def test_24_a_subclass_among_the_operands_is_an_ordinary_array():
    sub = np.ones(2).view(type("Sub", (np.ndarray,), {}))
    y = leaf(1.0, 2.0) * sub
    assert type(y.data) is np.ndarray


def test_45_gradients_keep_the_dtype_of_their_leaf():
    a, b = leaf(1.0, 2.0, dtype=np.float32), leaf(3.0, 4.0)
    (a * b).sum().backward()
    assert a.grad.dtype == np.float32
    assert b.grad.dtype == np.float64


# ---- the write clock ---------------------------------------------------------------------------------------


def write(w):
    """As an optimizer does: in place, then stamped."""
    w.data *= 10.0
    recipe.wrote(w)


STALE = (
    "backward: an input of '{}' of shape (2,) was written after '{}' had used it "
    "(an optimizer step or a load between forward and backward). Run the forward again."
)


@pytest.mark.parametrize("create_graph", [False, True])
def test_18_21_a_write_between_forward_and_backward_is_refused(create_graph):
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * x).sum()
    write(w)
    with refuses(RuntimeError, STALE.format("multiply", "multiply")):
        loss.backward(create_graph=create_graph)
    with refuses(RuntimeError, STALE.format("multiply", "multiply")):
        autograd.grad(loss, x, create_graph=create_graph)
    assert w.grad is None
    assert x.grad is None
    loss = (w * x).sum()
    loss.backward()
    assert x.grad.tolist() == [10.0, 20.0]


@pytest.mark.parametrize(
    "view", [lambda w: w.T, lambda w: w.reshape(1, 2), lambda w: w[::-1], lambda w: w.T.reshape(1, 2)[0]]
)
def test_18_21_views_of_what_was_written_are_refused_too(view):
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (view(w) * x).sum()
    write(w)
    for targets in ([x], [w], [w, x]):
        with refuses(RuntimeError, "of shape (2,) was written after"):
            autograd.grad(loss, targets)
    with refuses(RuntimeError, "of shape (2,) was written after"):
        loss.backward()


def test_18_a_rebound_array_is_not_seen_by_backward_and_refused_where_it_would_be():
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * x).sum()
    w.data = w.data * 10.0
    with refuses(RuntimeError, STALE.format("multiply", "multiply").replace("(2,)", "(2,) and (2,)")):
        loss.backward(create_graph=True)
    loss.backward()
    assert x.grad.tolist() == [1.0, 2.0]


def test_21_a_write_to_something_untracked_is_refused_as_well():
    mean, x = bp.Tensor([1.0, 2.0]), leaf(3.0, 4.0)
    loss = (mean * x).sum()
    write(mean)
    with refuses(RuntimeError, STALE.format("multiply", "multiply")):
        loss.backward()


def test_21_a_write_after_backward_is_what_training_does():
    w = leaf(1.0, 2.0)
    for _ in range(3):
        loss = (w * w).sum()
        loss.backward()
        w.grad = None
        write(w)
    assert w.tolist() == [1000.0, 2000.0]


def test_21_an_array_put_in_the_place_of_another_does_not_change_the_past():
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (w * x).sum()
    w.data = w.data * 10.0
    loss.backward()
    assert x.grad.tolist() == [1.0, 2.0]


def test_20_augmented_assignment_makes_a_new_tensor():
    x = leaf(1.0, 2.0)
    h = x * 1.0
    before = h
    y = (h * h).sum()
    h += 1.0
    h *= 5.0
    assert before.tolist() == [1.0, 2.0]
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


# ---- grad modes --------------------------------------------------------------------------------------------


def test_modes_nest_and_are_restored_after_an_exception():
    assert bp.is_grad_enabled()
    with bp.no_grad():
        assert not bp.is_grad_enabled()
        with bp.enable_grad():
            assert bp.is_grad_enabled()
        assert not bp.is_grad_enabled()
        with pytest.raises(ZeroDivisionError), bp.enable_grad():
            raise ZeroDivisionError
        assert not bp.is_grad_enabled()
    assert bp.is_grad_enabled()


def test_modes_decorate_functions_each_call_anew():
    @bp.no_grad()
    def evaluate(x, n=2):
        """Doc."""
        inside = bp.is_grad_enabled()
        return inside if n == 0 else evaluate(x, n - 1)

    @bp.enable_grad()
    def train():
        return bp.is_grad_enabled()

    assert evaluate(1.0) is False
    assert evaluate(1.0, n=1) is False
    assert evaluate.__name__ == "evaluate"
    assert evaluate.__doc__ == "Doc."
    assert bp.is_grad_enabled()
    with bp.no_grad():
        assert train() is True


def test_one_mode_object_can_be_entered_again():
    off = bp.no_grad()
    for _ in range(2):
        with off, off:
            assert not bp.is_grad_enabled()
        assert bp.is_grad_enabled()


def test_modes_do_not_decorate_what_outlives_the_call():
    def generator():
        yield 1

    async def coroutine():
        return 1

    async def asynchronous_generator():
        yield 1

    for function in (generator, coroutine, asynchronous_generator):
        with refuses(TypeError, "no_grad: a generator or coroutine outlives the call. Use a with block inside it."):
            bp.no_grad()(function)


def test_backward_works_inside_no_grad():
    x = leaf(3.0)
    y = x * x
    with bp.no_grad():
        y.backward()
    assert x.grad.item() == 6.0
    y = x**3
    with bp.no_grad():
        (g,) = autograd.grad(y, x, create_graph=True)
    assert autograd.grad(g, x)[0].item() == 18.0


def test_72_grad_mode_belongs_to_its_thread():
    inside, seen = threading.Event(), threading.Event()

    def off():
        with bp.no_grad():
            inside.set()
            assert seen.wait(10)
            return bp.is_grad_enabled()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(off)
        assert inside.wait(10)
        here = bp.is_grad_enabled()
        seen.set()
        assert future.result() is False
    assert here is True


def test_72_grad_mode_belongs_to_its_asyncio_task():
    async def off(gate):
        with bp.no_grad():
            gate.set()
            await asyncio.sleep(0)
            return bp.is_grad_enabled()

    async def main():
        gate = asyncio.Event()
        task = asyncio.create_task(off(gate))
        await gate.wait()
        here = bp.is_grad_enabled()
        return here, await task

    assert asyncio.run(main()) == (True, False)


def test_72_a_task_started_in_no_grad_inherits_it():
    async def mode():
        return bp.is_grad_enabled()

    async def main():
        with bp.no_grad():
            return await asyncio.create_task(mode())

    assert asyncio.run(main()) is False


def gradient_of_a_net(seed):
    rng = np.random.default_rng(seed)
    w, x = leaf(rng.standard_normal((8, 8))), rng.standard_normal((16, 8))
    for _ in range(30):
        loss = (ops.tanh(ops.tanh(x @ w.T) @ w) ** 2).mean()
        w.grad = None
        loss.backward()
        w.data -= 0.1 * w.grad.data
        recipe.wrote(w)
    return w.grad.numpy()


def test_72_eight_threads_with_graphs_of_their_own():
    alone = [gradient_of_a_net(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(gradient_of_a_net, range(8)))
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a, b)


def test_72_threads_share_leaves_they_only_read():
    w = leaf(np.arange(6.0).reshape(2, 3))
    xs = [np.full((4, 3), float(k)) for k in range(8)]

    def gradient(x):
        return autograd.grad((x @ w.T).sum(), w)[0].numpy()

    with ThreadPoolExecutor(8) as pool:
        for x, g in zip(xs, pool.map(gradient, xs), strict=True):
            assert np.array_equal(g, np.broadcast_to(x.sum(0), (2, 3)))


# ---- memory ------------------------------------------------------------------------------------------------


def test_69_graphs_die_by_reference_counting_alone(no_collector):
    w = leaf(np.ones((3, 3)))
    h = ops.tanh(w @ w)
    loss = h.sum()
    nodes = [weakref.ref(h), weakref.ref(loss)]
    del h
    loss.backward()
    assert nodes[0]() is None  # backward() has let go of it although loss lives
    del loss
    assert nodes[1]() is None
    assert gc.collect() == 0


def test_69_recorded_gradients_of_grad_make_no_cycle(no_collector):
    w = leaf(np.ones((3, 3)))
    loss = ops.tanh(w @ w).sum()
    (g,) = autograd.grad(loss, w, create_graph=True)
    nodes = [weakref.ref(loss), weakref.ref(g)]
    del loss, g
    assert [node() for node in nodes] == [None, None]


def test_69_ten_thousand_steps_do_not_grow(no_collector):
    w, b, x = leaf(np.ones((4, 3))), leaf(np.zeros(4)), np.ones((5, 3))

    def steps(n):
        for _ in range(n):
            w.grad = b.grad = None
            loss = ops.cross_entropy(ops.linear(x, w, b), np.array([0, 1, 2, 3, 0]))
            loss.backward()
            for p in (w, b):
                p.data -= 0.01 * p.grad.data
                recipe.wrote(p)

    steps(100)
    tracemalloc.start()
    try:
        steps(10)
        before = tracemalloc.get_traced_memory()[0]
        steps(10_000)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert (after - before) / 10_000 < 0.1 * 1024


def test_70_a_caught_exception_does_not_keep_the_graph(no_collector):
    def boom(g, y, x):
        raise ZeroDivisionError

    fragile = primitive("fragile", lambda x: 2.0 * x, boom)
    w = leaf(np.ones(3))
    nodes = []
    for where in ("forward", "partial", "freed"):
        h = w * 2.0
        nodes.append(weakref.ref(h))
        try:
            if where == "forward":
                h + np.ones(4)
            elif where == "partial":
                fragile(h).sum().backward()
            else:
                loss = h.sum()
                loss.backward()
                loss.backward()
        except (ValueError, ZeroDivisionError, RuntimeError):
            pass
        h = loss = None
    assert [node() for node in nodes] == [None, None, None]


def test_71_a_number_keeps_no_graph(no_collector):
    w = leaf(np.ones(3))
    h = w * 2.0
    node = weakref.ref(h)
    losses = [h.sum().item(), float(h.sum()), h.sum().detach()]
    del h
    assert node() is None
    assert [float(loss) for loss in losses] == [6.0, 6.0, 6.0]


# ---- the same everywhere -----------------------------------------------------------------------------------


def test_60_a_run_repeats_bit_for_bit_and_leaves_numpys_generator_alone():
    before = np.random.get_state()
    first, again = gradient_of_a_net(3), gradient_of_a_net(3)
    assert first.tobytes() == again.tobytes()
    after = np.random.get_state()
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]


SCRIPT = """
import numpy as np
import tinygrad_bp as bp
x = bp.Tensor([-800.0, 0.0, 800.0], requires_grad=True)
loss = (bp.ops.sigmoid(x) + bp.ops.log_softmax(x) + bp.ops.softplus(x) + np.tanh(x)).sum()
loss.backward()
print(loss.item(), *x.grad.tolist())
for wrong in (lambda: (x * x).backward(), loss.backward, lambda: np.asarray(x), lambda: bp.Tensor(1j)):
    try:
        wrong()
    except (RuntimeError, TypeError) as error:
        print(error)
"""


def test_81_82_the_same_without_assertions_and_with_warnings_as_errors():
    outputs = {
        flags: subprocess.run(
            [sys.executable, *flags, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for flags in [(), ("-O",), ("-OO",), ("-W", "error")]
    }
    assert {run.stderr for run in outputs.values()} == {""}
    texts = {run.stdout for run in outputs.values()}
    assert len(texts) == 1
    assert len(texts.pop().splitlines()) == 5


def test_82_nothing_in_the_package_is_validated_by_assert():
    for path in (ROOT / "tinygrad_bp").rglob("*.py"):
        assert not re.search(r"^\s*assert\b", path.read_text("ascii"), re.MULTILINE), path


def test_the_class_that_rows_return_is_the_tensor():
    assert type(ops.add(leaf(1.0), 1.0)) is bp.Tensor
    assert isinstance(ops.add, Op)


# ---- words for what goes wrong in a user's own operation ------------------------------------------------------


def test_an_operation_that_is_no_function_is_refused():
    with refuses(TypeError, "p: a int is no function. Pass forward, then partials or None."):
        primitive("p", 3, lambda g, y, x: g)
    with refuses(TypeError, "p: a float is no function. Pass forward, then partials or None."):
        primitive("p", np.exp, 2.0)
    with refuses(TypeError, "p: a NoneType is no function. Pass forward, then partials or None."):
        primitive("p", None)


def test_an_error_in_a_partial_names_the_operation():
    y = primitive("mine", lambda x: x * 2.0, lambda g: g)(leaf(1.0))
    with pytest.raises(TypeError, match="positional argument") as caught:
        y.sum().backward()
    assert caught.value.__notes__ == ["in the backward of 'mine'"]


def test_an_error_of_the_walk_has_no_note():
    y = primitive("mine", lambda x: x * 2.0, lambda g, y, x: None)(leaf(1.0))
    with pytest.raises(RuntimeError, match=r"^backward: the partial of 'mine'") as caught:
        y.sum().backward()
    assert not hasattr(caught.value, "__notes__")


def test_a_ufunc_needs_a_partial_for_each_input():
    with refuses(TypeError, "m: its forward has 2 inputs and 1 outputs for 1 partials. Give one partial for each"):
        primitive("m", np.multiply, lambda g, y, a, b: g * b)
    with refuses(TypeError, "m: its forward has 1 inputs and 2 outputs for 1 partials."):
        primitive("m", np.modf, lambda g, y, x: g)


def test_an_unused_input_leaves_the_graph_as_it_was():
    x, unused = leaf(1.0), leaf(2.0)
    y = x * x
    with refuses(RuntimeError, "grad: the outputs were not computed from input 1"):
        autograd.grad(y, [x, unused])
    y.backward()
    assert x.grad.item() == 2.0


def test_a_partial_may_return_an_array_where_the_backward_is_recorded():
    constant = primitive("constant", lambda x: x * 3.0, lambda g, y, x: np.full(x.shape, 3.0))
    x = leaf(1.0, 2.0)
    (constant(x) * 1.0).sum().backward(create_graph=True)
    assert x.grad.tolist() == [3.0, 3.0]


def test_an_index_array_may_change_after_the_forward():
    w, index = leaf(1.0, 2.0, 3.0), np.array([0, 1])
    y = w[index].sum()
    index[0] = 2
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0, 0.0]


def test_turning_requires_grad_on_leaves_the_users_array_alone():
    array = np.ones(2)
    t = bp.Tensor(array)
    t.requires_grad = True
    t.data += 1.0
    assert array.tolist() == [1.0, 1.0]


def test_take_counts_with_booleans():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert np.array_equal(np.take(bp.Tensor(x), [True, False], axis=0).numpy(), np.take(x, [True, False], axis=0))
