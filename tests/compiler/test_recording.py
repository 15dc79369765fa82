"""What is promised of recording: state is found, what cannot be replayed is refused, and nothing real is changed."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import tinygrad_bp as bp

# ---- arrays and tensors mixed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x, w: x * w,
        lambda x, w: x @ w,
        lambda x, w: np.add(x, w),
        lambda x, w: np.concatenate([x, w]),
        lambda x, w: np.where(x > 0, x, w),
    ],
)
def test_an_argument_left_of_a_tensor_does_not_lose_its_gradient(mixed):
    w = bp.tensor([1.0, 2.0], requires_grad=True)

    def step(x):
        w.grad = None
        mixed(x, w).sum().backward()
        return w.grad

    x = np.array([3.0, -4.0])
    assert bp.compile(step)(x).tolist() == step(x).tolist()


@pytest.mark.parametrize("axis", [2, -3, (0, 0)])
def test_a_wrong_axis_is_refused_as_without_compiling(axis):
    with pytest.raises(ValueError, match="axis"):
        bp.compile(lambda x: bp.Tensor(x).sum(axis))(np.ones((2, 3)))


@pytest.mark.parametrize("index", [np.int64(1), np.array([True, False, True]), np.array([2, 0])])
def test_gradients_of_entries_taken_by_an_array(index):
    def step(x):
        t = bp.Tensor(x, requires_grad=True)
        (t[index] ** 2).sum().backward()
        return t.grad

    x = np.array([1.0, 2.0, 3.0])
    assert bp.compile(step)(x).tolist() == step(x).tolist()


def test_entries_taken_by_labels():
    w = bp.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)

    def step(y):
        w.grad = None
        w[np.arange(len(y)), y].sum().backward()
        return w.grad

    y = np.array([0, 2, 1, 2])
    assert bp.compile(step)(y).tolist() == step(y).tolist()


def test_functions_with_out_write_where_it_says():
    w, foreign = bp.tensor([1.0, 2.0], requires_grad=True), (np.zeros(2),)

    def step(x):
        np.clip(w.data * x, 0.0, 3.0, out=foreign[0])

    with pytest.raises(bp.compiler.plan.CompileError, match=r"\(np.clip\(.*\) writes into an array of shape \(2,\)"):
        bp.compile(step)(np.array([1.0, 2.0]))
    bp.compile(lambda x: np.clip(w.data * x, 0.0, 3.0, out=w.data))(np.array([1.0, 2.0]))
    assert w.tolist() == [1.0, 3.0]


# ---- writing in place ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [
        lambda x: (s := x.sum(), operator.iadd(s, 1.0), s)[::2],
        lambda x: (s := x[0], operator.iadd(s, 1.0), s)[::2],
        lambda x: (s := np.exp(x[0, ...]), operator.imul(s, 2.0), s),
        lambda x: (s := x.copy(), operator.iadd(s, 1.0), s),
        lambda x: (s := x.copy(), v := s[1:], operator.imul(v, 3.0), s, v),
        lambda x: (s := np.stack([x, x]), v := s.T[1], operator.imul(v, 3.0), s, v),
        lambda x: (s := np.stack([x, x]), v := s.reshape(-1)[1:], operator.imul(v, 3.0), s, v),
        lambda x: (s := np.stack([np.stack([x, x])] * 3), v := s.transpose(2, 0, 1), operator.imul(v[1][0], 7.0), s, v),
        lambda x: (s := np.stack([x, x]), v := s.T.reshape(-1), operator.imul(s, 3.0), s, v),
        lambda x: (s := np.stack([x, x]), v := s.reshape(-1), operator.imul(s, 3.0), s, v),
        lambda x: (s := x.copy(), t := s, operator.isub(t, 1.0), s, t),
        lambda x: (s := x.astype(float), operator.iadd(s, 1.0), x),
    ],
)
def test_what_is_written_in_place_is_what_numpy_would_write(program):
    def step(x):
        return [np.array(0.0) + a for a in program(x)]

    x = np.array([1.0, 2.0, 3.0])
    assert [a.tolist() for a in bp.compile(step)(x)] == [a.tolist() for a in step(x.copy())]


@pytest.mark.parametrize(
    "write",
    [
        lambda x: operator.iadd(x, 1.0),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: np.copyto(x, 0.0),
        lambda x: operator.iadd(x[1:], 1.0),
        lambda x: operator.iadd(bp.Tensor(x).data, 1.0),
    ],
)
def test_writing_into_an_argument_is_refused(write):
    with pytest.raises(bp.compiler.plan.CompileError, match=r"writes into an argument of the step\. Write into a copy"):
        bp.compile(write)(np.ones(3))


def test_a_setting_is_a_number_that_an_operator_does_not_change():
    class Halved(bp.optim.Optimizer):
        def update(self, p, g, state, group):
            lr = group["lr"]
            lr *= 0.5
            p -= lr * g

    def run(compiled):
        a, b = bp.tensor([1.0], requires_grad=True), bp.tensor([1.0], requires_grad=True)
        optimizer = Halved([a, b], lr=1.0)

        def step(x, rate):
            before = rate
            rate *= 2.0
            ((a + b) * x).sum().backward()
            optimizer.step()
            return rate * x, before * x

        step = bp.compile(step) if compiled else step
        return [[y.tolist() for y in step(np.ones(1), 3.0)], a.tolist(), b.tolist()]

    assert run(True) == run(False)


def test_gradients_in_an_order_of_their_own_are_added_to():
    w = bp.tensor(np.ones((2, 3)), requires_grad=True)
    w.grad = bp.Tensor(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    step = bp.compile(lambda x: (w * x).sum().backward())
    for k in range(1, 4):
        step(np.ones(3))
        assert w.grad.tolist() == (np.arange(6.0).reshape(2, 3) + k).tolist()


# ---- numbers that are known only when the step runs ------------------------------------------------------------------

NEEDS_NUMBERS = {
    "if": lambda loss: loss if loss > 1 else loss * 2,
    "while": lambda loss: next(loss for _ in iter(lambda: bool(loss > 1), False)),
    "item": lambda loss: loss * loss.item(),
    "float": lambda loss: loss * float(loss),
    "int": lambda loss: loss * int(loss.data),
    "tolist": lambda loss: loss * loss.tolist(),
    "asarray": lambda loss: loss * np.asarray(loss.data),
    "format": lambda loss: (f"{loss.data:.3f}", loss)[1],
    "print": lambda loss: (print(loss), loss)[1],
    "max": lambda loss: max(loss, loss * 2),
    "in": lambda loss: loss if 1.0 in loss.data.reshape(1) else loss * 2,
    "all": lambda loss: loss if np.isfinite(loss.data).all() else loss * 0,
    "allclose": lambda loss: loss if np.allclose(loss.data, 0) else loss * 0,
    "nonzero": lambda loss: loss * len(np.nonzero(loss.data.reshape(1))[0]),
    "unique": lambda loss: loss * len(np.unique(loss.data.reshape(1))),
    "where": lambda loss: loss * len(np.where(loss.data.reshape(1))[0]),
    "mask": lambda loss: loss * len(loss.data.reshape(1)[loss.data.reshape(1) > 0]),
    "mask of a tensor": lambda loss: loss.reshape(1)[loss.data.reshape(1) > 0].sum(),
    "range": lambda loss: loss * len(range(loss.data.astype(int))),
    "index": lambda loss: [loss, loss * 2][loss.data.astype(int) * 0],
    "slice": lambda loss: loss * np.ones(3)[: loss.data.astype(int)].sum(),
    "array of numbers": lambda loss: np.array([loss.data, 1.0]).sum() * loss,
    "into another array": lambda loss: (z := np.zeros(3), z.__setitem__(0, loss.data), loss * z.sum())[2],
    "of another array": lambda loss: loss * np.eye(3)[loss.data.astype(int)].sum(),
    "sort": lambda loss: (a := loss.data.reshape(1).copy(), a.sort(), loss * a[0])[2],
    "flat": lambda loss: loss * next(loss.data.reshape(1).flat),
    "view": lambda loss: loss * loss.data.view(np.int64),
    "hasattr": lambda loss: loss if hasattr(loss.data, "strides") else loss * 2,
    "where=": lambda loss: loss * np.sum(loss.data.reshape(1), where=loss.data.reshape(1) > 0),
    "dtype=": lambda loss: loss * np.add(loss.data, 1, dtype=np.float32),
    "accumulate": lambda loss: loss * np.add.accumulate(loss.data.reshape(1))[0],
    "fft": lambda loss: loss * np.fft.fft(loss.data.reshape(1)).real[0],
}


def caught(loss):
    try:
        return loss * loss.item()
    except Exception:
        return loss


@pytest.mark.parametrize("what", [*NEEDS_NUMBERS, "caught"])
def test_what_needs_numbers_is_refused_and_its_line_named(what):
    use = NEEDS_NUMBERS.get(what, caught)
    w = bp.tensor([1.0, 2.0], requires_grad=True)

    def step(x):
        loss = use(((w * x) ** 2).mean())
        loss.backward()
        w.data -= w.grad.data

    compiled = bp.compile(step)
    with pytest.raises(bp.compiler.plan.CompileError, match=r"^compile: ") as error:
        compiled(np.array([1.0, 3.0]))
    assert what.endswith("=") or "of test_recording.py (" in str(error.value)
    assert w.tolist() == [1.0, 2.0] and w.grad is None and not compiled.recordings


ONE_HOT = bp.Tensor(np.eye(3))
NEEDS_NONE = {
    "isinstance": lambda loss: loss if isinstance(loss.data, np.ndarray) else loss * 2,
    "shape": lambda loss: loss if loss.data.shape == () and loss.data.ndim == 0 else loss * 2,
    "dtype": lambda loss: loss if loss.data.dtype == np.float64 else loss * 2,
    "mask put": lambda loss: (a := loss.data.reshape(1).copy(), a.__setitem__(a > 0.5, 0.25), loss * a[0])[2],
    "add.at": lambda loss: (a := loss.data.reshape(1).copy(), np.add.at(a, [0, 0], 2.0), loss * a[0])[2],
    "median": lambda loss: loss * np.median(loss.data.reshape(1)),
    "searchsorted": lambda loss: loss * np.searchsorted(np.arange(5.0), loss.data),
    "iteration": lambda loss: sum(x for x in loss.reshape(1)),
    "one hot": lambda loss: loss * ONE_HOT[loss.data.reshape(1).astype(int) * 0 + 1].sum(),
}


@pytest.mark.parametrize("what", NEEDS_NONE)
def test_what_needs_no_numbers_is_recorded(what):
    def step(x):
        w = bp.Tensor(x, requires_grad=True)
        loss = NEEDS_NONE[what]((w**2).mean())
        loss.backward()
        return loss, w.grad

    compiled = bp.compile(step)
    for k in (0.1, 1.0, 2.0):
        x = np.array([1.0, -1.0]) * k
        for a, b in zip(compiled(x), step(x), strict=True):
            assert a.tolist() == pytest.approx(b.tolist(), rel=1e-14)
    assert len(compiled.recordings) == 1


# ---- what optimizers remember ----------------------------------------------------------------------------------------


class Looking(bp.optim.Optimizer):
    """Decides by what it remembers, which no recording can."""

    def update(self, p, g, state, group):
        if "sum" not in state:
            state["sum"] = np.zeros_like(g)
        elif state["sum"].max() > 1e9:
            raise AssertionError
        state["sum"] += g
        p -= group["lr"] * state["sum"]


class Forgetful(bp.optim.Optimizer):
    """Remembers everything anew."""

    def update(self, p, g, state, group):
        state[f"gradient {len(state)}"] = g + 0.0
        p -= group["lr"] * g


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [(Looking, "needs the numbers in an array"), (Forgetful, "makes new optimizer state in every call")],
)
def test_a_step_that_cannot_be_recorded_is_refused_before_it_is_done(optimizer, reason):
    """The first call is the eager one that makes the state; it is done, so it is no matter of refusing it."""
    w = bp.tensor([4.0], requires_grad=True)
    sgd = optimizer([w], lr=0.5)

    def step(x):
        sgd.zero_grad()
        (w * x).sum().backward()
        sgd.step()
        return w * 1.0

    compiled = bp.compile(step)
    assert compiled(np.ones(1)).tolist() == w.tolist() != [4.0]
    before = w.tolist()
    for _ in range(2):
        with pytest.raises(bp.compiler.plan.CompileError, match=reason):
            compiled(np.ones(1))
        assert w.tolist() == before
