"""The calls of a forward pass: in order, within one another, with their values, and nothing left behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.nn.calls import innermost, record_calls


class Residual(nn.Module):
    def __init__(self):
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

    def forward(self, x):
        return x + self.inner(self.inner(x)) * 2.0


def test_calls_are_in_order_and_know_within_which_they_were_made():
    model = Residual()
    calls = record_calls(model, np.ones((2, 3)))
    assert [c.path for c in calls] == ["", *["inner", "inner.0", "inner.1"] * 2]
    assert [c.parent.path if c.parent else None for c in calls] == [None, *["", "inner", "inner"] * 2]
    assert [c.path for c in calls[0].children] == ["inner", "inner"]
    assert calls[1].output is calls[4].inputs[0]
    np.testing.assert_array_equal(calls[0].output.data, model(np.ones((2, 3))).data)


def test_a_value_belongs_to_the_innermost_call():
    model = Residual()
    x = bp.Tensor(np.ones((2, 3)), requires_grad=True)
    calls = record_calls(model, x)
    added = calls[0].output
    (_, (_, scaled), _) = added.recipe
    assert innermost(calls, added).path == innermost(calls, scaled).path == ""
    (_, (tanh, _), _) = scaled.recipe
    assert innermost(calls, tanh) is calls[6]
    assert innermost(calls, tanh.recipe[1][0]) is calls[5]
    assert innermost(calls, x) is innermost(calls, bp.ones(1)) is innermost(calls, model.inner[0].weight) is None


def test_nothing_is_left_behind_even_after_an_error():
    model = Residual()
    own = model.inner[1].forward
    vars(model.inner[1])["forward"] = lambda x: own(x) * 1.0
    before = [dict(vars(module)) for module in model.modules()]
    record_calls(model, np.ones((2, 3)))
    with pytest.raises(ValueError, match="linear"):
        record_calls(model, np.ones((2, 4)))
    assert [dict(vars(module)) for module in model.modules()] == before


def test_a_call_that_failed_is_over():
    class Careful(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Linear(4, 2), nn.Linear(3, 2)

        def forward(self, x):
            try:
                return self.first(x)
            except ValueError:
                return self.second(x)

    calls = record_calls(Careful(), np.ones((2, 3)))
    assert [(call.path, call.parent and call.parent.path) for call in calls] == [
        ("", None),
        ("first", ""),
        ("second", ""),
    ]


def test_calls_of_other_threads_are_not_noted():
    class Both(nn.Module):
        def __init__(self):
            self.layer = nn.Tanh()

        def forward(self, x):
            other = threading.Thread(target=self.layer, args=(x,))
            other.start()
            other.join()
            return self.layer(x)

    assert [call.path for call in record_calls(Both(), bp.ones(2))] == ["", "layer"]
