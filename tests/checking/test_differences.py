"""Derivatives by differences: right to many digits, with an error that covers what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp.checking.differences import noise_level

SMOOTH = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "line": (lambda x: 7 * x, lambda x: 7 + 0 * x),
    "wiggly": (lambda x: np.sin(300 * x), lambda x: 300 * np.cos(300 * x)),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(x=st.floats(-3, 3))
def test_a_smooth_derivative_is_right_within_its_own_error(name, x):
    f, df = SMOOTH[name]
    found = bp.numeric_jacobian(f, x)
    true = df(np.float64(x))
    assert abs(found.value - true) <= 6 * found.error + 1e-13 * abs(true) + 1e-15
    assert found.error <= 1e-7 * max(1, abs(true))
    assert not found.kink


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_the_step_follows_the_size_of_the_argument(scale):
    x = scale * np.array([0.3, -1.7, 2.2])
    found = bp.numeric_jacobian(lambda x: (x / scale) ** 3, x)
    true = np.diag(3 * (x / scale) ** 2 / scale)
    assert np.abs(found.value - true).max() <= 1e-10 / scale


def test_float32_inside_gives_a_larger_error_not_a_wrong_value():
    found = bp.numeric_jacobian(lambda x: np.tanh(x.astype(np.float32)).astype(float), np.linspace(-1, 1, 7))
    true = np.diag(1 - np.tanh(np.linspace(-1, 1, 7)) ** 2)
    assert (np.abs(found.value - true) <= 10 * found.error + 1e-300).all()
    assert 1e-8 < found.error.max() < 1e-2


def test_a_kink_has_two_slopes():
    found = bp.numeric_jacobian(lambda x: np.maximum(2 * x, -x), np.array([0.0, 1.0, -1.0]))
    assert np.diag(found.kink).tolist() == [True, False, False]
    assert np.diag(found.lo).round(9).tolist() == [-1, 2, -1]
    assert np.diag(found.hi).round(9).tolist() == [2, 2, -1]


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7, -1e-7, -1e-4])
def test_beside_a_kink_the_slope_is_measured_not_excused(distance):
    found = bp.numeric_jacobian(np.abs, np.array([distance, 1.0]))
    assert not found.kink.any()
    assert found.value[0, 0] == pytest.approx(np.sign(distance), abs=1e-6)


def test_at_the_edge_of_the_domain_nothing_is_claimed():
    found = bp.numeric_jacobian(np.sqrt, np.array([0.0, 4.0]))
    assert np.isinf(found.error[0, 0])
    assert found.value[1, 1] == pytest.approx(0.25, abs=1e-12)


def test_near_the_edge_smaller_steps_are_taken():
    found = bp.numeric_jacobian(np.log, np.array([1e-9, 1.0]))
    assert found.value[0, 0] == pytest.approx(1e9, rel=1e-6)
    assert abs(found.value[0, 0] - 1e9) <= 6 * found.error[0, 0]


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,), (2, 0, 3)])
def test_shapes(shape):
    found = bp.numeric_jacobian(lambda x: np.stack([x, 2 * x]), np.ones(shape))
    assert found.value.shape == found.error.shape == found.kink.shape == (2, *shape, *shape)


def test_functions_of_tensors_are_measured_too():
    found = bp.numeric_jacobian(lambda x: bp.ops.exp(bp.Tensor(x)), np.array([0.0, 1.0]))
    assert found.value == pytest.approx(np.diag([1, np.e]), abs=1e-10)


@pytest.mark.parametrize(
    ("f", "x", "message"),
    [
        (np.log, [-1.0], "numeric_jacobian: the output y is nan at index .0,.. Check where the function is finite"),
        (np.sqrt, [np.inf], "numeric_jacobian: x is inf at index .0,.. Pass finite numbers"),
        (lambda x: 1 / 0, [1.0], "numeric_jacobian: the forward raised ZeroDivisionError: division by zero"),
        (np.sign, [], "numeric_jacobian: x is not|nothing"),
    ],
)
def test_what_cannot_be_measured_is_said(f, x, message):
    if not x:
        assert bp.numeric_jacobian(f, np.array(x)).value.shape == (0, 0)
        return
    with pytest.raises(ValueError, match=message):
        bp.numeric_jacobian(f, np.array(x))


@pytest.mark.parametrize(
    ("f", "low", "high"),
    [
        (np.tanh, 1e-17, 3e-15),
        (lambda x: np.tanh(x.astype(np.float32)).astype(float), 1e-9, 1e-6),
        (lambda x: (1e6 + np.tanh(x)) - 1e6, 1e-12, 1e-9),
        (lambda x: x * 0.0 + np.pi, 0.0, 3e-15),
        (lambda x: np.maximum(x, 0.5), 0.0, 3e-15),
    ],
    ids=["float64", "float32 inside", "cancellation", "constant", "kink"],
)
def test_noise(f, low, high):
    x, u = np.linspace(0.5, 2, 6), np.array([1, -1, 1, 1, -1, 1.0])
    noise = noise_level(lambda h: f(x + h * u), f(x)).level
    assert low <= np.median(noise) <= high
