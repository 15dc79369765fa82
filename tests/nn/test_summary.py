"""model.summary(): the table, its numbers for every layer, what is shared, and that it leaves no trace."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.nn.test_layers import LAYERS, SHAPES
from tinygrad_bp import nn


class Tied(nn.Module):
    """Shares a weight and a module, holds itself, and has frozen parameters, buffers and draws."""

    def __init__(self):
        self.embedding = nn.Embedding(10, 4)
        self.norm = nn.BatchNorm1d(4)
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.LSTM(4, 4))
        self.again = self.inner
        self.head = nn.Linear(4, 10)
        self.head.weight = self.embedding.weight
        self.head.bias.requires_grad = False
        self.unused = nn.Tanh()
        self.me = [self]

    def forward(self, words):
        x = self.norm(self.embedding(words))
        return self.head(self.again(self.inner(x)[0])[0])


def test_the_table_of_a_model_with_everything():
    words = np.array([1, 2, 3])
    assert repr(Tied().summary(words)).splitlines() == [
        "layer                           output                    parameters",
        "Tied                            (3, 10)",
        "  embedding: Embedding          (3, 4)                            40",
        "  norm: BatchNorm1d             (3, 4)                             8",
        "  inner: Sequential (2 calls)   (3, 4), ((1, 4), (1, 4))",
        "    0: Linear (2 calls)         (3, 4)                            20",
        "    1: Dropout (2 calls)        (3, 4)",
        "    2: LSTM (2 calls)           (3, 4), ((1, 4), (1, 4))         160",
        "  again: Sequential (is inner)",
        "  head: Linear (10 frozen)      (3, 10)                           10",
        "  unused: Tanh                  not called",
        "  me.0: Tied (is the whole)",
        "--------------------------------------------------------------------",
        "238 parameters, 228 trainable; 1,904 bytes of float64",
        "9 numbers in buffers; 72 bytes",
        "head.weight is embedding.weight, counted once",
    ]


def test_without_inputs_there_are_no_shapes():
    summary = Tied().summary()
    assert [row.output for row in summary.rows] == [""] * 11
    assert "output" not in repr(summary)
    assert repr(nn.ReLU().summary()).splitlines() == ["layer    parameters", "ReLU", 19 * "-", "no parameters"]


@pytest.mark.parametrize("name", LAYERS)
def test_of_every_layer_the_numbers_are_right(name):
    model = LAYERS[name]()
    shape = SHAPES.get(name.split()[0], [(5, 3)])[0]
    summary = model.summary(shape)
    assert summary.parameters == sum(row.parameters for row in summary.rows) == sum(p.size for p in model.parameters())
    assert summary.bytes == sum(p.data.nbytes for p in model.parameters())
    assert [row.path for row in summary.rows] == [path for path, _ in model.named_modules()]
    assert summary.rows[0].output == str(model(np.zeros(shape)).shape)
    assert "not called" not in repr(summary)
    assert max(map(len, repr(summary).splitlines())) <= 80


def test_a_shape_gives_zeros_in_the_dtype_of_the_model():
    seen = []

    class Looking(nn.Linear):
        def forward(self, x):
            seen.append((type(x), x.dtype, x.any(), x.shape, self.training, bp.is_grad_enabled()))
            return super().forward(x)

    summary = Looking(2, 3, dtype=np.float32).summary((7, 2))
    assert seen == [(np.ndarray, np.float32, False, (7, 2), False, False)]
    assert summary.notes == ["9 parameters, all trainable; 36 bytes of float32"]
    assert nn.Identity().summary((np.int64(2), 3)).rows[0].output == "(2, 3)"
    assert nn.Identity().summary(()).rows[0].output == "()"


def test_several_inputs_and_a_loss():
    assert nn.CrossEntropyLoss().summary((4, 10), np.zeros(4, int)).rows[0].output == "()"
    assert nn.LSTM(3, 4).summary((5, 2, 3), (bp.ones(1, 2, 4), bp.ones(1, 2, 4))).rows[0].output == (
        "(5, 2, 4), ((1, 2, 4), (1, 2, 4))"
    )


def test_outputs_that_are_no_tensors_and_calls_that_differ():
    class Odd(nn.Module):
        def __init__(self):
            self.layer = nn.Tanh()

        def forward(self, x):
            self.layer(x[:1])
            return {"all": self.layer(x), "rest": [None, 3.0]}

    whole, layer = Odd().summary((2, 3)).rows
    assert whole.output == "all: (2, 3), rest: None, float"
    assert layer == ("layer", "Tanh", "  layer: Tanh (2 calls)", "(1, 3) / (2, 3)", 0)


def test_what_is_too_long_is_cut_to_80_columns():
    class Long(nn.Module):
        def __init__(self):
            self.a_name_that_is_rather_long_for_an_attribute = nn.Sequential(nn.Linear(2, 3))

        def forward(self, x):
            y = self.a_name_that_is_rather_long_for_an_attribute(x)
            return tuple(y for _ in range(9))

    lines = repr(Long().summary((123456, 2))).splitlines()
    assert max(map(len, lines)) == 80
    assert lines[1] == "Long" + 26 * " " + "  (123456, 3), (123456, 3), (123456..."
    assert lines[2].startswith("  a_name_that_is_rather_lon...  (123456, 3)")


def test_it_leaves_no_trace():
    class Restless(Tied):
        def __init__(self):
            super().__init__()
            self.seen = bp.zeros(2)
            self.fixed = bp.Tensor(np.broadcast_to(np.ones(1), (2,)))
            self.last = None

        def forward(self, words):
            self.seen.data[...] += 1
            self.last = words
            np.log(0.0 * bp.random.generator().random(3))
            return super().forward(words)

    model = Restless()
    model.inner.eval()
    with np.errstate(divide="ignore"):
        model(np.array([1, 2])).sum().backward()
    model.last = None
    attributes = [(vars(module), dict(vars(module))) for module in model.modules()]
    grads = [p.grad for p in model.parameters()]
    state, drawn = model.state_dict(), bp.random.generator().bit_generator.state
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.summary(np.array([1, 2, 3]))
        with pytest.raises(TypeError, match="embedding"):
            model.summary((3,))
    assert all(list(now.items()) == list(before.items()) for now, before in attributes)
    assert all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))
    assert all((array == state[name]).all() for name, array in model.state_dict().items())
    assert bp.random.generator().bit_generator.state == drawn
    assert model.training and not model.inner.training


def test_a_loss_that_was_recorded_before_can_still_be_walked_back():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    loss = model(np.arange(8.0).reshape(4, 2)).sum()
    model.summary((4, 2))
    loss.backward()


def test_inputs_that_were_read_otherwise_than_meant_are_told():
    with pytest.raises(TypeError, match=r"^summary: an input is the integer 784\. Pass an array, or a shape"):
        nn.Linear(784, 10).summary(784)
    with pytest.raises(ValueError, match=r"linear: input \(2, 4\) has 4 features, weight \(10, 784\) expects") as error:
        nn.Linear(784, 10).summary((2, 4))
    said = "summary: a tuple of integers is a shape, of zeros in float64; pass an array for others"
    assert error.value.__notes__ == [said]
