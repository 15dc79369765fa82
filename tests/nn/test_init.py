"""Initial values: distributions, fans, in place, repeatable."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import stats

import tinygrad_bp as bp
from tests.differences import close
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
    "trunc_normal_": (
        lambda t: init.trunc_normal_(t, 1.0, 2.0, -1.0, 4.0),
        stats.truncnorm(-1.0, 1.5, loc=1.0, scale=2.0),
    ),
    "lecun_normal_": (init.lecun_normal_, stats.norm(0.0, 1 / math.sqrt(FAN_IN))),
}


def test_every_draw_is_in_the_list():
    assert set(init.__all__) == {*DRAWS, "constant_", "zeros_", "ones_", "eye_", "orthogonal_", "calculate_gain"}


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
    assert (init.eye_(tensor).data == np.eye(2, 3)).all()


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (2, 3, 2, 2), (8, 3, 2), (1, 1)])
def test_an_orthogonal_matrix(shape):
    w = init.orthogonal_(bp.zeros(*shape), gain=2.0).data.reshape(shape[0], -1)
    product = w @ w.T if len(w) <= w.shape[1] else w.T @ w
    assert close(product, 4.0 * np.eye(len(product)), 1e-13)


def test_all_orthogonal_matrices_are_equally_likely():
    bp.manual_seed(0)
    first = [init.orthogonal_(bp.zeros(2, 2)).data[0] for _ in range(500)]
    angles = [math.atan2(y, x) for x, y in first]
    assert stats.kstest(angles, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01


def test_a_write_between_forward_and_backward_is_noticed():
    w = bp.tensor([2.0], requires_grad=True)
    y = w * w
    init.zeros_(w)
    with pytest.raises(RuntimeError, match=r"^backward: an input of 'multiply' of shape \(1,\) was written after"):
        y.backward(np.ones(1))


def test_gains():
    gains = {
        "selu": 0.75,
        "conv2d": 1,
        "linear": 1,
        "sigmoid": 1,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / 1.0001),
    }
    for name, gain in gains.items():
        assert init.calculate_gain(name) == pytest.approx(gain, rel=1e-15)
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0


def test_what_is_refused():
    w = bp.zeros(2, 3)
    with pytest.raises(ValueError, match=r"^uniform_: the bounds 1\.0 and 0\.0 enclose nothing\. Pass a <= b\.$"):
        init.uniform_(w, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"^normal_: std is -1\.0\. Pass one >= 0\.$"):
        init.normal_(w, 0.0, -1.0)
    with pytest.raises(ValueError, match=r"^eye_: a tensor of shape \(3,\) is no matrix\. Pass one of two axes\.$"):
        init.eye_(bp.zeros(3))
    with pytest.raises(
        ValueError, match=r"^trunc_normal_: std is 0\.0, the bounds -2\.0 and 2\.0\. Pass a std > 0 and"
    ):
        init.trunc_normal_(w, std=0.0)
    with pytest.raises(ValueError, match=r"^trunc_normal_: std is 1\.0, the bounds 1\.0 and 1\.0\. Pass a std > 0 and"):
        init.trunc_normal_(w, a=1.0, b=1.0)
    message = (
        r"^trunc_normal_: N\(0\.0, 1\.0\^2\) falls into \[9\.0, 10\.0\] with probability 0\.0e\+00\. Move the bounds"
    )
    with pytest.raises(ValueError, match=message):
        init.trunc_normal_(w, a=9.0, b=10.0)
    with pytest.raises(ValueError, match=r"^calculate_gain: 'swish' has no gain\. Choose one of linear, conv1d,"):
        init.kaiming_normal_(w, nonlinearity="swish")
    with pytest.raises(ValueError, match=r"^kaiming_uniform_: mode is 'in'\. Choose fan_in or fan_out\.$"):
        init.kaiming_uniform_(w, mode="in")


WRITERS = [name for name in init.__all__ if name.endswith("_")]


@pytest.mark.parametrize("name", WRITERS)
def test_only_tensors_of_floats_are_written(name):
    arguments = {"constant_": (1.5,)}.get(name, ())
    message = rf"^{name}: got one of int64 for a tensor\. Pass one of floats, such as layer\.weight\.$"
    with pytest.raises(TypeError, match=message):
        getattr(init, name)(bp.tensor([[1, 2], [3, 4]]), *arguments)
    for wrong in (None, np.ones((2, 2))):
        message = rf"^{name}: got a {type(wrong).__name__} for a tensor\. Pass one of floats, such as layer\.weight\.$"
        with pytest.raises(TypeError, match=message):
            getattr(init, name)(wrong, *arguments)


def test_settings_that_are_no_numbers_are_named():
    w = bp.zeros(2, 3)
    with pytest.raises(TypeError, match=r"^constant_: val is 'a', a str\. Pass a number\.$"):
        init.constant_(w, "a")
    with pytest.raises(TypeError, match=r"^uniform_: b is True, a bool\. Pass a number\.$"):
        init.uniform_(tensor=w, b=True)
    with pytest.raises(TypeError, match=r"^xavier_normal_: gain is None, a NoneType\. Pass a number\.$"):
        init.xavier_normal_(w, None)
    assert w.data.tolist() == np.zeros((2, 3)).tolist()


@pytest.mark.parametrize(
    "name", [n for n in DRAWS if n not in ("uniform_", "normal_", "trunc_normal_")] + ["orthogonal_"]
)
@pytest.mark.parametrize("shape", [(3,), (), (0, 3)])
def test_fans_need_a_weight(name, shape):
    message = f"{name}: a tensor of shape {shape} has no fans. Pass a weight (out, in, ...)."
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(init, name)(bp.zeros(shape))
