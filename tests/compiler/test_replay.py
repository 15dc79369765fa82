"""What is promised of a replay: what it returns and leaves in ``.grad``, when it records anew, how it fails, memory."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.compiler.plan import CompileError

from .twins import Twins, same, state

rng = np.random.default_rng(0)


def batch(n: int = 5) -> tuple[Any, Any]:
    return rng.normal(size=(n, 3)), rng.integers(0, 2, n)


def make(momentum: float = 0.9, zero: str = "start") -> Any:
    net, loss = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), nn.CrossEntropyLoss()
    optimizer = bp.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)

    def step(x: Any, y: Any) -> Any:
        if zero == "start":
            optimizer.zero_grad()
        output = net(x)
        cost = loss(output, y)
        cost.backward()
        optimizer.step()
        if zero == "end":
            optimizer.zero_grad()
        return cost, output, net[0].weight.grad, net[0].weight

    return step, {"net": net, "optimizer": optimizer}


# ---- results and gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", ["start", "end", "never"])
def test_gradients_are_left_as_eagerly(zero: str) -> None:
    twins = Twins(lambda: make(zero=zero))
    for k in range(5):
        twins.call(*batch(), compiled=k != 3)
    assert (twins.other["net"][0].weight.grad is None) == (zero == "end")


def test_results_are_tensors_of_their_own() -> None:
    twins = Twins(make)
    twins.call(*batch())
    first = twins.compiled(*batch())
    kept = [t.data.copy() for t in first]
    for t in first:
        assert type(t) is bp.Tensor and not t.requires_grad and t.is_leaf and t.data.flags.writeable
        assert t.data.base is None
    second = twins.compiled(*batch())
    for a, b, c in zip(first, kept, second, strict=True):
        assert a.data is not c.data and np.array_equal(a.data, b) and not np.array_equal(a.data, c.data)
    before = state(twins.other)
    for t in (*first, *second):
        t.data[...] = np.nan
    same(state(twins.other), before, "left behind")
    assert np.isfinite(twins.compiled(*batch())[0].data)


def test_results_share_no_memory_with_each_other_or_the_arguments() -> None:
    step = bp.compile(lambda x: (x, x.T, x[0], x, {"again": x}))
    x = np.ones((2, 3))
    for _ in range(2):
        a, b, c, d, e = step(x)
        found = [t.data for t in (a, b, c, d, e["again"])]
        assert not any(np.shares_memory(p, q) for k, p in enumerate(found) for q in [x, *found[:k]])


def adding() -> Any:
    w = bp.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        (w * w * 0.5).sum().backward()
        w.data = w.data - 0.25 * w.grad.data
        return bp.Tensor(w.data) + x, bp.Tensor(w.data) * x

    return step, w


@pytest.mark.parametrize("argument", [lambda w: w.grad.data, lambda w: w.grad, lambda w: w.grad.data[::-1]])
def test_an_argument_may_be_a_gradient_of_the_last_call(argument: Any) -> None:
    (eager, mine), (step, other) = adding(), adding()
    compiled = bp.compile(step)
    for x in (np.ones(3), bp.Tensor(np.ones(3))):
        same([t.data for t in compiled(x)], [t.data for t in eager(x)], "returned", 1e-14)
    for _ in range(3):
        found, wanted = compiled(argument(other)), eager(argument(mine))
        same([t.data for t in found], [t.data for t in wanted], "returned", 1e-14)
        same(state({"w": other}), state({"w": mine}), "left behind", 1e-14)


@pytest.mark.parametrize("argument", [lambda w: w.data, lambda w: w.data[::-1], lambda w: w.detach()])
def test_an_argument_that_the_step_writes_is_refused(argument: Any) -> None:
    step, w = adding()
    compiled = bp.compile(step)
    compiled(np.ones(3))
    compiled(bp.Tensor(np.ones(3)))
    before = w.data.copy()
    for _ in range(2):
        with pytest.raises(CompileError, match="shares memory"):
            compiled(argument(w))
        same(w.data, before, "left behind")


# ---- recordings ------------------------------------------------------------------------------------------------------


def test_there_is_one_recording_for_each_kind_of_call() -> None:
    step = bp.compile(lambda x, scale=1.0, power=1, flag=None: (bp.Tensor(x) * scale) ** power if flag else x * scale)
    with pytest.raises(CompileError, match="source: nothing has been recorded yet"):
        step.source  # noqa: B018
    assert step.recordings == []
    calls: list[tuple[Any, dict[str, Any], int]] = [
        ((np.ones(3),), {}, 1),
        ((np.ones(3),), {}, 1),
        ((np.ones(4),), {}, 2),
        ((np.ones(3, np.float32),), {}, 3),
        ((np.ones(3), 2.0), {}, 4),
        ((np.ones(3), 3.0), {}, 4),
        ((np.ones(3),), {"scale": 2.0}, 5),
        ((np.ones(3), 2.0, 2, True), {}, 6),
        ((np.ones(3), 2.0, 3, True), {}, 7),
        ((np.ones(3), 4.0, 2, True), {}, 7),
        ((bp.Tensor(np.ones(3)),), {}, 8),
    ]
    for args, kwargs, recordings in calls:
        wanted, found = step.function(*args, **kwargs), step(*args, **kwargs)
        same(
            np.array(found.data), np.array(wanted.data if isinstance(wanted, bp.Tensor) else wanted), "returned", 1e-14
        )
        assert len(step.recordings) == recordings
    assert len({repr(recording) for recording in step.recordings}) > 1
    assert "import numpy as np" in step.source


def test_modes_and_the_default_dtype_are_part_of_the_kind() -> None:
    def make() -> Any:
        w = bp.tensor([1.0, 2.0], requires_grad=True)

        def step(x: Any) -> Any:
            y = w * x * bp.tensor(0.1)
            return y, y.requires_grad, bp.is_grad_enabled()

        return step, {"w": w}

    twins = Twins(make)
    for _ in range(2):
        twins.call(np.ones(2))
        with bp.no_grad():
            twins.call(np.ones(2))
        bp.set_default_dtype("float32")
        try:
            twins.call(np.ones(2))
        finally:
            bp.set_default_dtype("float64")
    assert len(twins.compiled.recordings) == 3


# ---- errors in a replay ----------------------------------------------------------------------------------------------


def test_a_label_out_of_range_is_refused_as_eagerly() -> None:
    twins = Twins(make)
    x, y = batch()
    twins.call(x, y)
    twins.call(x, y)
    before = state(twins.other)
    messages = []
    for step in (twins.compiled, twins.eager):
        with pytest.raises(ValueError, match="label") as error:
            step(x, np.where(np.arange(5) == 2, 7, y))
        messages.append(str(error.value))
        if step is twins.compiled:
            same(state(twins.other), before, "left behind")
    assert messages[0] == messages[1]
    twins.both(lambda things: things["optimizer"].zero_grad())
    twins.call(x, y)
    assert len(twins.compiled.recordings) <= 2


def test_gradients_that_are_not_finite_are_refused_before_a_parameter_is_written() -> None:
    twins = Twins(make)
    x, y = batch()
    twins.call(x, y)
    twins.call(x, y)
    before = {name: array.copy() for name, array in twins.other["net"].state_dict().items()}
    memory = twins.other["optimizer"].state_dict()
    bad, messages = np.where(np.arange(15).reshape(5, 3) == 4, np.inf, x), []
    for step in (twins.compiled, twins.eager):
        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="not finite") as error:
            step(bad, y)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    same(twins.other["net"].state_dict(), before, "parameters")
    same(twins.other["optimizer"].state_dict(), memory, "memory")
    twins.both(lambda things: things["optimizer"].zero_grad())
    twins.call(x, y)


@pytest.mark.parametrize("lr", [-1.0, float("nan"), float("inf"), "0.1", None, True])
def test_a_wrong_lr_is_refused_as_eagerly(lr: Any) -> None:
    twins = Twins(make)
    x, y = batch()
    twins.call(x, y)
    twins.call(x, y)
    before = state(twins.other)
    twins.both(lambda things: things["optimizer"].param_groups[0].update(lr=lr))
    messages = []
    for step in (twins.compiled, twins.eager):
        with pytest.raises((ValueError, TypeError), match="lr is") as error:
            step(x, y)
        messages.append((type(error.value), str(error.value)))
    assert messages[0] == messages[1]
    twins.both(lambda things: things["optimizer"].param_groups[0].update(lr=0.1))
    same(state(twins.other), before, "left behind")


def test_a_tensor_that_requires_grad_is_no_argument() -> None:
    with pytest.raises(CompileError, match=r"argument 'x' requires grad. Pass x.detach\(\)"):
        bp.compile(lambda x: x * 2.0)(bp.tensor([1.0], requires_grad=True))


# ---- steps in steps and threads --------------------------------------------------------------------------------------


def test_a_compiled_step_in_a_compiled_step() -> None:
    def make() -> Any:
        w = bp.tensor([1.0, 2.0], requires_grad=True)

        def inner(x: Any) -> Any:
            w.grad = None
            ((w * x) ** 2).sum().backward()
            w.data -= 0.1 * w.grad.data
            return w.grad

        compiled = bp.compile(inner)
        return lambda x: (compiled(x).data + 1.0, compiled(2.0 * x).data), {"w": w}

    twins = Twins(make)
    for _ in range(3):
        twins.call(np.array([0.5, 0.25]))


def test_a_step_called_in_one_thread_after_the_other() -> None:
    twins = Twins(make)
    failed: list[BaseException] = []

    def call() -> None:
        try:
            twins.call(*batch())
        except BaseException as error:
            failed.append(error)

    for _ in range(4):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert not failed
    assert len(twins.compiled.recordings) == 1


def test_another_thread_works_eagerly_while_a_step_is_recorded() -> None:
    w, seen = bp.tensor([1.0, 2.0], requires_grad=True), bp.tensor([0.0])
    begin, done = threading.Lock(), threading.Lock()

    def other() -> None:
        begin.acquire()
        v = bp.tensor([3.0], requires_grad=True)
        (v * w.detach().numpy()[1] * float(bp.rand(1).sum() * 0 + 1)).sum().backward()
        seen.data[...] = v.grad.data
        done.release()

    def step(x: Any) -> Any:
        begin.release()
        done.acquire()
        return w * x

    begin.acquire()
    done.acquire()
    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    assert bp.compile(step)(np.ones(2)).tolist() == [1.0, 2.0]
    thread.join()
    assert seen.tolist() == [2.0]


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_recordings_keep_no_examples_and_calls_no_memory() -> None:
    n = 200_000
    w = bp.tensor(np.ones(4), requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        (w * x).mean().backward()
        w.data -= 0.1 * w.grad.data
        return w.grad

    compiled = bp.compile(step)
    compiled(np.ones((3, 4)))
    gc.collect()
    tracemalloc.start()
    try:
        compiled(np.ones((n // 4, 4)))
        compiled.recordings.pop(0)
        gc.collect()
        without = tracemalloc.get_traced_memory()[0]
        assert without < n, "something of a recording outlives it"
        for _ in range(1000):
            compiled(np.ones((3, 4)))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - without < 20_000
    finally:
        tracemalloc.stop()


def test_an_example_is_not_kept_by_its_recording() -> None:
    compiled, x = bp.compile(lambda x: bp.Tensor(x).sum()), np.ones(1000)
    alive = weakref.ref(x)
    compiled(x)
    del x
    gc.collect()
    assert alive() is None
