"""What a recording relies on: numbers, arrays and objects that a step refers to, wherever a user has put them."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import enum
import logging
import pickle
import threading
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.compiler.plan import CompileError
from tinygrad_bp.compiler.step import MANY

ONES = np.ones(2)


class Conf:
    rate = 2.0


class Slotted:
    __slots__ = ("k",)

    def __init__(self):
        self.k = 2.0


class Holder(nn.Module):
    def __init__(self):
        self.config, self._private = {"k": 2.0}, [[2.0]]

    def forward(self, x):
        return x * self.config["k"] * self._private[0][0]


CONFIG, NESTED, LONG, NAMES = {"k": 2.0}, [[2.0]], [2.0] * 300, SimpleNamespace(k=2.0)
PARSED, SLOTTED, HOLDER = argparse.Namespace(k=2.0), Slotted(), Holder()
MASK, WEIGHTS = np.array([True, False]), np.array([2.0, 2.0])
power = 2.0
POWER = bp.primitive("to_the", lambda x: x**power, lambda g, y, x: g * power * x ** (power - 1))


def put(place, key, value):
    place[key] = value


def with_default(x, box=NESTED):
    return x * box[0][0]


CHANGES = {
    "a dict": (lambda x: x * CONFIG["k"], lambda k: put(CONFIG, "k", k)),
    "a nested list": (lambda x: x * NESTED[0][0], lambda k: put(NESTED[0], 0, k)),
    "a default": (with_default, lambda k: put(NESTED[0], 0, k)),
    "a long list": (lambda x: x * LONG[250], lambda k: put(LONG, 250, k)),
    "a namespace": (lambda x: x * NAMES.k, lambda k: setattr(NAMES, "k", k)),
    "parsed arguments": (lambda x: x * PARSED.k, lambda k: setattr(PARSED, "k", k)),
    "a slot": (lambda x: x * SLOTTED.k, lambda k: setattr(SLOTTED, "k", k)),
    "a class": (lambda x: x * Conf.rate, lambda k: setattr(Conf, "rate", k)),
    "a dict in a module": (lambda x: HOLDER(x), lambda k: put(HOLDER.config, "k", k)),
    "a private list in a module": (lambda x: HOLDER(x), lambda k: put(HOLDER._private[0], 0, k)),
    "a short mask": (lambda x: x[MASK] * 3.0, lambda k: put(MASK, 1, k != 2.0)),
    "an array": (lambda x: x * (WEIGHTS * 2.0 / WEIGHTS.max()), lambda k: put(WEIGHTS, 0, k)),
    "an array, entry by entry": (lambda x: x * WEIGHTS[0], lambda k: put(WEIGHTS, 0, k)),
    "a global of a primitive": (lambda x: POWER(bp.Tensor(x * 3.0)), lambda k: put(globals(), "power", k)),
}


@pytest.mark.parametrize("where", CHANGES)
def test_a_number_that_changes_is_seen(where):
    function, change = CHANGES[where]
    step = bp.compile(function)
    for k in (2.0, 5.0, 2.0):
        change(k)
        np.testing.assert_array_equal(step(ONES).numpy(), np.asarray(getattr(function(ONES), "data", function(ONES))))
    change(2.0)
    assert len(step.recordings) <= 2


def test_an_object_that_is_an_argument_is_watched():
    model, step = Holder(), bp.compile(lambda model, x: model(x))
    assert step(model, ONES).tolist() == [4.0, 4.0]
    model.config["k"] = 3.0
    assert step(model, ONES).tolist() == [6.0, 6.0]


def test_an_array_that_a_name_leads_to_is_written_as_eagerly():
    velocity, w = np.zeros(2), bp.tensor([1.0, 2.0], requires_grad=True)

    def step(x):
        w.grad = None
        (w * x).sum().backward()
        np.multiply(velocity, 0.5, out=velocity)
        np.add(velocity, w.grad.data, out=velocity)
        w.data -= 0.1 * velocity

    compiled = bp.compile(step)
    for _ in range(3):
        compiled(ONES)
    np.testing.assert_allclose(velocity, [1.75, 1.75], rtol=1e-15)
    np.testing.assert_allclose(w.data, [1.0 - 0.425, 2.0 - 0.425], rtol=1e-15)


class Counting(bp.optim.SGD):
    n = 0

    def step(self):
        self.n += 1
        super().step()


class Scaled(bp.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.scale = 1.0

    def update(self, p, g, state, group):
        p -= group["lr"] * self.scale * g


def training(optimizer_class):
    w = bp.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optimizer_class([w], lr=0.5)

    def step(x):
        optimizer.zero_grad()
        cost = (w * x).sum()
        cost.backward()
        optimizer.step()
        return cost

    return w, optimizer, step


def test_a_counter_of_an_optimizer_is_refused_and_an_attribute_seen():
    w, optimizer, step = training(Counting)
    with pytest.raises(CompileError, match=r"the step changes 'optimizer\.n'"):
        bp.compile(step)(ONES)
    assert optimizer.n == 0
    assert w.tolist() == [1.0, 2.0]
    w, optimizer, step = training(Scaled)
    step = bp.compile(step)
    step(ONES)
    optimizer.scale = 2.0
    step(ONES)
    assert w.tolist() == [1.0 - 1.5, 2.0 - 1.5]


class Odd(nn.Module):
    def __init__(self):
        self.layer, self.calls, self.t = nn.Linear(2, 1), 0, 1.0

    def forward(self, x):
        return self.layer(x) * self.t


class Odder(Odd):
    def forward(self, x):
        self.calls += 1
        return self.layer(x) * self.calls


@pytest.mark.parametrize("kind", [Odd, Odder])
def test_fit_trains_what_it_would_eagerly(kind, caplog):
    def train(compile):
        bp.manual_seed(0)
        model = kind()
        rng = np.random.default_rng(0)
        batches = [(rng.random((4, 2)), rng.random((4, 1))) for _ in range(3)]

        def anneal(record):
            model.t *= 0.5

        optimizer = bp.optim.SGD(model.parameters(), lr=0.1)
        bp.fit(model, nn.MSELoss(), optimizer, batches, epochs=3, on_epoch=anneal, compile=compile)
        return model

    with caplog.at_level(logging.WARNING, "tinygrad_bp"):
        eager, compiled = train(False), train(True)
    for p, q in zip(eager.parameters(), compiled.parameters()):
        np.testing.assert_allclose(q.data, p.data, rtol=1e-12)
    assert compiled.calls == eager.calls
    told = "fit: the step is not compiled, training is slower. compile: the step changes 'model.calls'"
    assert [told in message for message in caplog.messages] == [True] * (kind is Odder)


def test_a_method_has_a_step_for_every_object():
    class Model:
        def __init__(self, k):
            self.w = bp.Tensor([k])

        @bp.compile
        def step(self, x):
            return self.w * x

    first, second = Model(1.0), Model(2.0)
    assert [m.step(np.ones(1)).item() for m in (first, second, first)] == [1.0, 2.0, 1.0]
    assert first.step is first.step is not second.step


def test_a_compiled_method_and_its_override():
    class A:
        def __init__(self):
            self.w = bp.Tensor([1.0, 2.0])

        @bp.compile
        def step(self, x):
            return self.w * x

    class B(A):
        def step(self, x):
            return super().step(x) * 2.0

    class C(A):
        @bp.compile
        def step(self, x):
            return super().step(x) * 3.0

    class D(A):
        __slots__ = ()

    class Bare:
        __slots__ = ()

        @bp.compile
        def step(self, x):
            return x

    for kind, factor in ((A, 1.0), (B, 2.0), (C, 3.0), (D, 1.0)):
        model = kind()
        for _ in range(3):
            assert model.step(ONES).tolist() == [factor, 2.0 * factor]
    with pytest.raises(TypeError, match=r"^compile: a Bare has no __dict__ to keep its step in\."):
        Bare().step(ONES)


def test_the_first_result_of_an_optimizer_with_memory_is_as_later_ones():
    w, optimizer, _ = training(bp.optim.Adam)

    @bp.compile
    def step(x):
        optimizer.zero_grad()
        cost = (w * x).sum()
        cost.backward()
        optimizer.step()
        return {"cost": cost, "w": w, "x": x}

    first, second = step(ONES), step(ONES)
    for result in (first, second):
        assert [type(result[key]) for key in ("cost", "w", "x")] == [bp.Tensor] * 3
        assert not any(result[key].requires_grad for key in result)
    assert first["w"].tolist() != second["w"].tolist()


def test_a_copy_of_a_step_writes_into_the_copy():
    class Trainer:
        def __init__(self):
            self.w = bp.tensor([1.0], requires_grad=True)
            self.step = bp.compile(self.train)

        def train(self, x):
            self.w.data -= x

    trainer = Trainer()
    trainer.step(np.ones(1))
    other = copy.deepcopy(trainer)
    other.step(np.ones(1))
    assert (trainer.w.item(), other.w.item()) == (0.0, -1.0)


Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Record:
    a: object


def test_results_and_arguments_of_other_kinds():
    assert bp.compile(lambda x: Pair(x * 2.0, {"c": x}))(ONES).a.tolist() == [2.0, 2.0]
    with pytest.raises(CompileError, match=r"^compile: the step returns a Record\. Return tensors"):
        bp.compile(lambda x: Record(x))(ONES)
    with pytest.raises(CompileError, match=r"^compile: argument 'x' is a dataclass\. Pass a dict"):
        bp.compile(lambda x: x.a)(Record(ONES))
    for array in (ONES.astype(np.longdouble), ONES + 0j, np.ma.array(ONES)):
        with pytest.raises(CompileError, match=r"^compile: argument 'x' is a \w+ of dtype \w+\. Pass an array of real"):
            bp.compile(lambda x: x * 2.0)(array)
    assert bp.compile(lambda x, s: x * s)(ONES.astype(np.float32), np.float64(0.5)).dtype == np.float64
    assert bp.compile(lambda x, s: x * s)(ONES.astype(np.float32), 0.5).dtype == np.float32
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        bp.compile(lambda x, y: x * y)(ONES)


def lasting(x):
    yield x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "got a int, not a function"),
        (nn.Linear, "got the class Linear, not a function"),
        (lasting, "a generator or coroutine outlives its call"),
    ],
)
def test_what_cannot_be_a_step(function, message):
    with pytest.raises(TypeError, match=f"^compile: {message}"):
        bp.compile(function)


def test_an_iterator_and_a_generator_made_inside_are_refused():
    numbers = iter(range(9))
    with pytest.raises(CompileError, match=r"^compile: the step uses 'numbers', a range_iterator"):
        bp.compile(lambda x: x * next(numbers))(ONES)
    with pytest.raises(CompileError, match="draws from a random generator of its own"):
        bp.compile(lambda x: x * np.random.default_rng().random())(ONES)
    assert np.random.default_rng(0).random() == np.random.default_rng(0).random()


def test_after_many_recordings_it_runs_eagerly_and_says_so_once(caplog):
    numbers = {"k": 0.0}
    step = bp.compile(lambda x: x * numbers["k"])
    with caplog.at_level(logging.WARNING, "tinygrad_bp"):
        for k in range(MANY + 5):
            numbers["k"] = float(k)
            assert step(ONES).tolist() == [k, k]
    assert len(step.recordings) == MANY
    assert "What differs from the latest is numbers." in caplog.text
    assert [message.partition(",")[0] for message in caplog.messages] == [
        f"compile: <lambda> has been recorded {MANY} times"
    ]


def test_threads_wait_for_each_other():
    step = bp.compile(lambda x: np.tanh(x @ np.ones((3, 300))).sum(1))
    inputs = [np.full((400, 3), k / 10) for k in range(4)]
    expected = [np.tanh(x @ np.ones((3, 300))).sum(1) for x in inputs]
    wrong = []

    def work(k):
        for _ in range(50):
            if not np.allclose(step(inputs[k]).data, expected[k], rtol=1e-12):
                wrong.append(k)

    step(inputs[0])
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_recording_used_last_is_the_one_that_is_shown(tmp_path):
    step = bp.compile(lambda x: x * 2.0)
    step(np.ones(5))
    step(np.ones(3))
    step(np.ones(5))
    assert "x  (5,)" in step.source
    with pytest.raises(IsADirectoryError, match=r"^save: .* is a folder\. Name a file in it"):
        step.save(tmp_path)
    with pytest.raises(TypeError, match=r"^save: the path is a NoneType\. Pass the name of a file"):
        step.save(None)


# ---- what cannot be replaced, what belongs to libraries, what is undone ----------------------------------------------

FIXED, BRACES = (np.ones(2),), {"{a}": 2.0}
DATA = np.arange(20.0)


class Constants:
    mean = np.ones(2)


def of_a_default(x, m=FIXED[0]):
    return x * m


@pytest.mark.parametrize(
    ("function", "array"),
    [(lambda x: x * FIXED[0], FIXED[0]), (of_a_default, FIXED[0]), (lambda x: x * Constants.mean, Constants.mean)],
)
def test_an_array_that_no_stand_in_can_replace_is_compared(function, array):
    step = bp.compile(function)
    for k in (1.0, 5.0, 1.0):
        array[:] = k
        assert step(ONES).tolist() == [k, k]


def test_a_large_array_that_cannot_be_followed_is_refused():
    large = (np.ones(10_000),)
    with pytest.raises(CompileError, match=r"^compile: 'large\[0\]' is an array of shape \(10000,\) in a tuple"):
        bp.compile(lambda x: x * large[0].sum())(ONES)


def test_betas_of_any_numbers_are_settings():
    def train(compiled):
        w, optimizer, step = training(bp.optim.Adam)
        optimizer.param_groups[0]["betas"] = (0, np.float64(0.99))
        step = bp.compile(step) if compiled else step
        for _ in range(3):
            step(ONES)
        optimizer.param_groups[0]["betas"] = (0.9, 0.5)
        step(ONES)
        return w.data

    np.testing.assert_allclose(train(True), train(False), rtol=1e-13)


def test_a_gradient_that_is_replaced_is_left_anew():
    w = bp.tensor([1.0, 2.0], requires_grad=True)

    @bp.compile
    def step(x):
        w.grad = None
        (w * x).sum().backward()

    step(ONES)
    w.grad.data = w.grad.data * 0.5
    step(3.0 * ONES)
    assert w.grad.tolist() == [3.0, 3.0]


def test_a_gradient_of_the_users_is_not_written():
    w, mine = bp.tensor([1.0, 2.0], requires_grad=True), bp.tensor([10.0, 10.0])
    w.grad = mine
    step = bp.compile(lambda x: (w * x).sum().backward())
    for k in range(3):
        step(ONES)
        assert w.grad.tolist() == [11.0 + k] * 2
    assert mine.tolist() == [10.0, 10.0]


def test_slices_of_an_array_that_is_named_may_be_arguments():
    step = bp.compile(lambda a: a + DATA[:5])
    assert step(DATA[:5]).tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert DATA.flags.writeable


class Kind(enum.IntEnum):
    A = 2


@pytest.mark.parametrize("argument", [Kind.A, np.int64(3), True, "text", None, {"{a}": 1, Kind.A: 2.0}])
def test_an_argument_that_is_no_array_is_recorded_once(argument):
    step = bp.compile(lambda x, k: x * BRACES["{a}"])
    for _ in range(3):
        assert step(ONES, copy.copy(argument)).tolist() == [2.0, 2.0]
    assert len(step.recordings) == 1


def test_dtypes_that_are_equal_need_not_be_one_object():
    step = bp.compile(lambda x: x * 2.0)
    for _ in range(3):
        step(pickle.loads(pickle.dumps(ONES)))
    assert len(step.recordings) == 1


def test_nan_in_a_closure_is_itself():
    missing = float("nan")
    step = bp.compile(lambda x: np.where(np.isnan(x), missing, x))
    assert step(ONES).tolist() == [1.0, 1.0]
    assert len(step.recordings) == 1


def test_a_compiled_function_in_a_compiled_function():
    inner = bp.compile(lambda t: np.exp(t * 2.0) + t)
    inner(bp.Tensor(ONES))
    outer = bp.compile(lambda x: inner(bp.Tensor(x)))
    for _ in range(2):
        np.testing.assert_allclose(outer(2.0 * ONES).data, np.exp(4.0) + 2.0, rtol=1e-14)
    assert len(inner.recordings) == 1


def test_a_library_that_is_named_is_not_searched():
    import hypothesis

    def function(x, show=False):
        return hypothesis.find(x) if show else x * 2.0

    step = bp.compile(function)
    assert step(ONES).tolist() == [2.0, 2.0]
    assert not any(words.startswith("hypothesis.") for _, words in step.recordings[0].missing.__self__.conditions)


def test_what_is_named_and_not_used_may_change_between_calls():
    trainer = SimpleNamespace(scale=2.0, epoch=0)
    step = bp.compile(lambda x: x * trainer.scale)
    for _ in range(3):
        step(ONES)
        trainer.epoch += 1
    assert len(step.recordings) == 1


def test_a_chain_of_many_objects():
    class Link:
        def __init__(self, below):
            self.below = below

    chain = None
    for _ in range(3000):
        chain = Link(chain)
    assert bp.compile(lambda x: x * (2.0 if chain.below else 1.0))(ONES).tolist() == [2.0, 2.0]


def test_an_attribute_that_is_deleted_is_missed():
    model = Odd()
    step = bp.compile(lambda x: x * getattr(model, "extra", 1.0))
    model.extra = 3.0
    assert step(ONES).tolist() == [3.0, 3.0]
    del model.extra
    assert step(ONES).tolist() == [1.0, 1.0]


def test_threads_record_one_after_the_other():
    results = []

    def work(k):
        step = bp.compile(lambda x: x * DATA[:2] + k)
        results.extend((k, step(ONES).tolist()) for _ in range(5))

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(k, [k, k + 1.0]) for k in map(float, range(4)) for _ in range(5)]
    assert type(DATA) is np.ndarray


@pytest.mark.parametrize("view", [np.flip, np.rot90, np.fliplr, np.flipud, np.diagonal, np.diag])
def test_a_view_that_a_function_gives_is_not_read_after_a_write(view):
    def late(x):
        y = x * 1.0
        v = view(y)
        y += 1.0
        return v * 1.0

    def into(x):
        y = x * 1.0
        view(y)[0] = 5.0
        return y

    square = np.arange(4.0).reshape(2, 2)
    assert bp.compile(lambda x: view(x * 1.0) * 1.0)(square).tolist() == view(square).tolist()
    with pytest.raises(CompileError, match="reads a view of an array that has been written since"):
        bp.compile(late)(square)
    with pytest.raises(CompileError, match="writes into a view of an array"):
        bp.compile(into)(square)


def test_threads_that_record_do_not_disturb_replays():
    failures = []

    def work(k):
        try:
            for i in range(6):
                step = bp.compile(lambda x, i=i: x * DATA[:2] + k + i)
                assert all(step(ONES).tolist() == [k + i, k + i + 1.0] for _ in range(20))
                assert len(step.recordings) == 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
