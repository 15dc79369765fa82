"""Initial values: distributions, fans, in place, repeatable."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import stats

import tinygrad_bp as bp
from tinygrad_bp.nn import init

SHAPE = (40, 60, 5)
FAN_IN, FAN_OUT = 300, 200

# name: (call, distribution that the entries follow)
DRAWS = {
    "uniform_": (lambda t: init.uniform_(t, -2.0, 3.0), stats.uniform(-2.0, 5.0)),
    "normal_": (lambda t: init.normal_(t, 1.0, 0.5), stats.norm(1.0, 0.5)),
    "xavier_uniform_": (
        lambda t: init.xavier_uniform_(t, gain=2.0),
        stats.uniform(-2.0 * math.sqrt(6 / 500), 4.0 * math.sqrt(6 / 500)),
    ),
    "xavier_normal_": (init.xavier_normal_, stats.norm(0.0, math.sqrt(2 / 500))),
    "kaiming_uniform_": (
        lambda t: init.kaiming_uniform_(t, a=math.sqrt(5.0)),
        stats.uniform(-1 / math.sqrt(FAN_IN), 2 / math.sqrt(FAN_IN)),
    ),
    "kaiming_normal_": (
        lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
        stats.norm(0.0, math.sqrt(2 / FAN_OUT)),
    ),
    "lecun_normal_": (init.lecun_normal_, stats.norm(0.0, 1 / math.sqrt(FAN_IN))),
}


def test_every_draw_is_in_the_list():
    assert set(init.__all__) == {*DRAWS, "constant_", "zeros_", "ones_", "calculate_gain"}


@pytest.mark.parametrize("name", DRAWS)
def test_the_entries_follow_the_distribution(name):
    draw, distribution = DRAWS[name]
    bp.manual_seed(0)
    tensor = bp.zeros(*SHAPE)
    assert draw(tensor) is tensor
    assert stats.kstest(tensor.data.ravel(), distribution.cdf).pvalue > 0.01
    assert stats.kstest(1.05 * tensor.data.ravel(), distribution.cdf).pvalue < 0.01


@pytest.mark.parametrize("name", DRAWS)
def test_the_seed_repeats_a_draw_in_place_and_dtype_rounds_it(name):
    draw, _ = DRAWS[name]
    arrays = []
    for dtype in (np.float64, np.float64, np.float32):
        bp.manual_seed(5)
        tensor = bp.zeros(4, 6, dtype=dtype)
        array = tensor.data
        draw(tensor)
        assert tensor.data is array
        arrays.append(array)
    assert (arrays[0] == arrays[1]).all()
    assert (arrays[2] == arrays[0].astype(np.float32)).all()


def test_constants():
    tensor = bp.zeros(2, 3)
    assert (init.constant_(tensor, 1.5).data == 1.5).all()
    assert (init.ones_(tensor).data == 1.0).all()
    assert (init.zeros_(tensor).data == 0.0).all()


def test_a_write_between_forward_and_backward_is_noticed():
    w = bp.tensor([2.0], requires_grad=True)
    y = w * w
    init.zeros_(w)
    with pytest.raises(RuntimeError, match=r"^backward: an input of 'multiply' of shape \(1,\) was written after"):
        y.backward(np.ones(1))


def test_gains():
    gains = {"linear": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / 1.0001)}
    for name, gain in gains.items():
        assert init.calculate_gain(name) == pytest.approx(gain, rel=1e-15)
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0


def test_what_is_refused():
    w = bp.zeros(2, 3)
    with pytest.raises(ValueError, match=r"^uniform_: the bounds 1\.0 and 0\.0 enclose nothing\. Pass a <= b\.$"):
        init.uniform_(w, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"^normal_: std is -1\.0\. Pass one >= 0\.$"):
        init.normal_(w, 0.0, -1.0)
    with pytest.raises(ValueError, match=r"^calculate_gain: 'swish' has no gain\. Choose one of linear, sigmoid,"):
        init.kaiming_normal_(w, nonlinearity="swish")
    with pytest.raises(ValueError, match=r"^kaiming_uniform_: mode is 'in'\. Choose fan_in or fan_out\.$"):
        init.kaiming_uniform_(w, mode="in")


@pytest.mark.parametrize("name", [n for n in DRAWS if n not in ("uniform_", "normal_")])
@pytest.mark.parametrize("shape", [(3,), (), (0, 3)])
def test_fans_need_a_weight(name, shape):
    message = f"{name}: a tensor of shape {shape} has no fans. Pass a weight (out, in, ...)."
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(init, name)(bp.zeros(shape))
