"""bp.checkpoint: the same results and gradients to any order, with less memory."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.checks import refuses
from tests.differences import assert_close
from tinygrad_bp import nn
from tinygrad_bp.recipe import wrote

X = np.array([[0.3, -1.2, 2.0], [0.1, 0.9, -0.4]])


def network(seed=0):
    bp.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh())


def test_gradients_are_the_same_to_the_last_bit():
    net = network()
    x = bp.Tensor(X, requires_grad=True)
    for f in (net, bp.checkpoint(net), bp.checkpoint(bp.checkpoint(net))):
        loss = (f(f(x)) ** 2).sum()
        found = bp.autograd.grad(loss, [x, *net.parameters()])
        if f is net:
            wanted, value = found, loss.item()
        assert loss.item() == value
        for a, b in zip(found, wanted, strict=True):
            assert a.tolist() == b.tolist()


def test_derivatives_of_order_2_and_3():
    net = network()

    def derived(f, order, x):
        return f(x) if order == 0 else bp.grad(lambda x: (derived(f, order - 1, x) ** 2).sum())(x)

    for order in (2, 3):
        found, wanted = (derived(f, order, bp.Tensor(X)) for f in (bp.checkpoint(net), net))
        assert_close(found.data, wanted.data, f"order {order}", 1e-13)


def test_containers_constants_and_untouched_tensors():
    w = bp.tensor(2.0, requires_grad=True)

    @bp.checkpoint
    def f(batch, *, shift):
        """Named."""
        return {"y": batch["x"] * w + shift, "same": batch["x"], "n": 3, "parts": (w * w, np.ones(2))}

    assert f.__doc__ == "Named."
    x = bp.tensor(X, requires_grad=True)
    out = f({"x": x}, shift=1.0)
    assert out["same"] is x
    assert out["n"] == 3
    (out["y"].sum() + out["parts"][0] * 5.0).backward()
    assert x.grad.tolist() == np.full(X.shape, 2.0).tolist()
    assert w.grad.item() == X.sum() + 20.0


def test_what_was_drawn_is_drawn_again():
    def noisy(x):
        return x * bp.random.generator().random(x.shape)

    x = bp.Tensor(X, requires_grad=True)
    bp.manual_seed(3)
    y = bp.checkpoint(noisy)(x)
    between = bp.random.generator().random()
    y.sum().backward()
    after = bp.random.generator().random()
    bp.manual_seed(3)
    drawn = bp.random.generator().random(X.shape)
    assert x.grad.tolist() == drawn.tolist()
    assert [between, after] == bp.random.generator().random(2).tolist()


def test_without_gradients_the_function_runs_as_it_is():
    calls = []

    @bp.checkpoint
    def f(x):
        calls.append(1)
        return x * 2

    x = bp.Tensor(X, requires_grad=True)
    with bp.no_grad():
        assert not f(x).requires_grad
    assert not f(bp.Tensor(X)).requires_grad
    assert len(calls) == 2
    f(x).sum().backward()
    assert len(calls) == 4


def test_in_a_compiled_step():
    net = network()
    f = bp.checkpoint(net)

    def step(x):
        net.zero_grad()
        loss = (f(x) ** 2).sum()
        loss.backward()
        return loss, net[0].weight.grad

    compiled = bp.compile(step)
    for x in (X, X * 0.5):
        for a, b in zip(compiled(x), step(x), strict=True):
            assert_close(a.data, b.data, "compiled", 1e-14)


def test_the_memory_between_is_given_back():
    w = bp.Tensor(np.ones(100_000), requires_grad=True)

    def block(x):
        for _ in range(10):
            x = np.sin(x * w)
        return x

    def peak(f):
        gc.collect()
        tracemalloc.start()
        x = w * 1.0
        for _ in range(8):
            x = f(x)
        x.sum().backward()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most / w.data.nbytes

    assert peak(block) > 160
    assert peak(bp.checkpoint(block)) < 45


def test_no_cycles():
    gc.disable()
    try:
        net = network()
        f = bp.checkpoint(net)
        gc.collect()
        for _ in range(3):
            f(f(bp.Tensor(X, requires_grad=True))).sum().backward()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_what_is_refused():
    x, count = bp.Tensor(X, requires_grad=True), [0]

    @bp.checkpoint
    def fickle(x):
        count[0] += 1
        return x[: count[0]] * 2

    with refuses(RuntimeError, "backward: a checkpointed function gave shapes [(1, 3)], then [(2, 3)] when"):
        fickle(x).sum().backward()
    y = bp.checkpoint(lambda x: x * x)(x)
    wrote(x)
    with refuses(RuntimeError, "was written after"):
        y.sum().backward()
    y = bp.checkpoint(lambda x: x * x)(x)
    x.data = x.data.copy()
    with refuses(RuntimeError, "backward: an input of a checkpointed function was replaced or written since. Run the"):
        y.sum().backward()
    with refuses(TypeError, "checkpoint: got a int, not a function. Call it as bp.checkpoint(f)(x)."):
        bp.checkpoint(3)
    with pytest.raises(ZeroDivisionError):
        bp.checkpoint(lambda x: x * (1 / 0))(x)


ELSE = "backward: a checkpointed function used or gave something else when computed again. Make it depend on nothing"


def test_other_numbers_the_second_time_are_refused():
    x, rng = bp.Tensor(X, requires_grad=True), np.random.default_rng(0)
    y = bp.checkpoint(lambda x: x * rng.random(x.shape))(x)
    with refuses(RuntimeError, ELSE):
        y.sum().backward()
    assert x.grad is None
    factors = iter([0.1, 0.2])
    y = bp.checkpoint(lambda x: np.concatenate([1000.0 * x, x * next(factors)]))(x)  # small beside the rest
    with refuses(RuntimeError, ELSE):
        y[2:].sum().backward()


def test_a_leaf_made_inside():
    x = bp.Tensor(X, requires_grad=True)
    bp.checkpoint(lambda x: x * bp.Tensor(5.0, requires_grad=True))(x).sum().backward()
    assert x.grad.tolist() == np.full(X.shape, 5.0).tolist()


def test_a_result_of_nan_or_one_that_is_rounded_otherwise_is_no_other():
    x, factors = bp.Tensor([1.0, np.nan, np.inf], requires_grad=True), iter([1.0, 1.0 + 1e-15])
    bp.checkpoint(lambda x: x * next(factors))(x).sum().backward()
    x, factors = bp.Tensor(X, requires_grad=True), iter([1.0, 1.0 + 1e-15])
    bp.checkpoint(lambda x: x * next(factors))(x).sum().backward()
    assert_close(x.grad.data, np.ones_like(X), "gradient", 1e-14)


@pytest.mark.parametrize("value", [2.0, 5.0])
def test_another_parameter_the_second_time_is_refused(value):
    x, net = bp.Tensor(X, requires_grad=True), nn.Module()
    net.w = nn.Parameter([2.0])
    y = bp.checkpoint(lambda x: net.w * x)(x)
    net.w = nn.Parameter([value])
    with refuses(RuntimeError, ELSE):
        y.sum().backward()


def test_a_constant_that_was_written_in_between_is_refused():
    x, b = bp.Tensor(np.zeros(2), requires_grad=True), bp.Tensor([2.0, 2.0])
    y = bp.checkpoint(lambda x: b * x)(x)  # 0, whatever b is
    nn.init.constant_(b, 7.0)
    with refuses(RuntimeError, "backward: an input of a checkpointed function was replaced or written since. Run the"):
        y.sum().backward()
