"""nn.utils: clipping equals its formula and PyTorch's, also inside a compiled step; vectors of parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.compiler.twins import Twins
from tests.differences import close
from tinygrad_bp import nn
from tinygrad_bp.nn.utils import clip_grad_norm_, clip_grad_value_, parameters_to_vector, vector_to_parameters

SHAPES = [(4, 3), (4,), (), (0, 2)]


def tensors(seed=0, dtype=np.float64):
    """Tensors with gradients, and one without."""
    rng = np.random.default_rng(seed)
    found = [bp.Tensor(rng.normal(size=shape).astype(dtype), requires_grad=True) for shape in SHAPES]
    for t in found:
        t.grad = bp.Tensor(np.asarray(rng.normal(size=t.shape), dtype))
    return [*found, bp.tensor([1.0], requires_grad=True)]


def gradients(ts):
    return np.concatenate([t.grad.data.reshape(-1) for t in ts if t.grad is not None])


@pytest.mark.parametrize("norm_type", [2.0, 1, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e3, 0, math.inf])
def test_clip_grad_norm_is_its_formula(norm_type, max_norm):
    ts = tensors()
    arrays, before = [t.grad.data for t in ts[:4]], gradients(ts)
    norm = clip_grad_norm_(ts, max_norm, norm_type)
    assert type(norm) is bp.Tensor
    assert not norm.requires_grad
    assert close(norm.data, np.linalg.norm(before, norm_type), 1e-14)
    assert close(gradients(ts), before * min(1.0, max_norm / (norm.item() + 1e-6)), 1e-14)
    assert all(t.grad.data is array for t, array in zip(ts, arrays))
    assert ts[4].grad is None


def test_clipping_keeps_float32():
    ts = tensors(dtype=np.float32)
    assert clip_grad_norm_(iter(ts), 0.1).dtype == np.float32
    assert {t.grad.dtype for t in ts[:4]} == {np.dtype(np.float32)}
    assert np.linalg.norm(gradients(ts)) == pytest.approx(0.1, rel=1e-4)


def test_nothing_to_clip():
    w = bp.zeros(0, requires_grad=True)
    for parameters in ([], w, [w]):
        assert clip_grad_norm_(parameters, 1.0).item() == 0.0
    w.grad = bp.zeros(0)
    for norm_type in (2.0, 1.0, math.inf):
        assert clip_grad_norm_(w, 1.0, norm_type).item() == 0.0


def test_a_norm_that_is_not_finite():
    ts = tensors()
    ts[0].grad.data[0, 0] = math.inf
    before = gradients(ts)
    message = (
        r"^clip_grad_norm_: the norm of the gradients is inf\. Nothing was written; lower lr, or look for what over"
    )
    with pytest.raises(FloatingPointError, match=message):
        clip_grad_norm_(ts, 1.0, error_if_nonfinite=True)
    assert (gradients(ts) == before).all()
    assert clip_grad_norm_(ts, 1.0).item() == math.inf
    assert np.isnan(gradients(ts)).sum() == 1  # inf times 0
    assert np.nansum(np.abs(gradients(ts))) == 0.0


def test_clip_grad_value():
    ts = tensors()
    before = gradients(ts)
    clip_grad_value_(ts, 0.5)
    assert (gradients(ts) == np.clip(before, -0.5, 0.5)).all()


def test_a_gradient_that_was_clipped_was_written():
    w = bp.tensor([3.0, 4.0], requires_grad=True)
    (w**3).sum().backward(create_graph=True)
    later = (w.grad * w.grad).sum()
    clip_grad_value_(w, 1.0)
    with pytest.raises(RuntimeError, match="was written after"):
        later.backward()


@given(st.floats(0.01, 10.0), st.sampled_from([0.5, 1.0, 2.0, 3.0, math.inf]), st.integers(0, 99))
@pytest.mark.oracle
def test_clipping_equals_pytorchs(max_norm, norm_type, seed):
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    ts = [t for t in tensors(seed) if t.size]
    theirs = [torch.tensor(t.data, requires_grad=True) for t in ts]
    for t, other in zip(ts, theirs):
        other.grad = None if t.grad is None else torch.tensor(t.grad.data)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert close(clip_grad_norm_(ts, max_norm, norm_type).data, expected.numpy(), 1e-12)
    assert close(
        gradients(ts), np.concatenate([t.grad.numpy().reshape(-1) for t in theirs if t.grad is not None]), 1e-12
    )


@pytest.mark.parametrize("norm_type", [2.0, 1.0, math.inf, None])
def test_clipping_inside_a_compiled_step(norm_type):
    def make():
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        optimizer = bp.optim.SGD(net.parameters(), lr=0.5)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            if norm_type is None:
                clip_grad_value_(net.parameters(), 0.05)
                optimizer.step()
                return loss
            norm = clip_grad_norm_(net.parameters(), 0.2, norm_type, error_if_nonfinite=True)
            optimizer.step()
            return loss, norm

        return step, {"net": net, "optimizer": optimizer}

    twins, rng = Twins(make), np.random.default_rng(1)
    for scale in (1.0, 0.01, 10.0):
        twins.call(scale * rng.normal(size=(6, 4)), rng.integers(0, 3, 6))


def test_vectors_of_parameters():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = parameters_to_vector(net.parameters())
    assert vector.tolist() == [x for p in net.parameters() for x in p.data.reshape(-1)]
    (vector * vector).sum().backward()
    assert all((p.grad.data == 2 * p.data).all() for p in net.parameters())
    arrays, new = [p.data for p in net.parameters()], np.arange(vector.size, dtype=np.float32)
    for vector in (new, bp.Tensor(new), new.tolist()):
        vector_to_parameters(0 * new, net.parameters())
        vector_to_parameters(vector, net.parameters())
        assert (parameters_to_vector(net.parameters()).data == new).all()
    assert all(p.data is array and p.dtype == np.float64 for p, array in zip(net.parameters(), arrays))


def test_writing_a_vector_between_forward_and_backward_is_noticed():
    w = bp.tensor([2.0], requires_grad=True)
    y = (w * w).sum()
    vector_to_parameters([3.0], [w])
    with pytest.raises(RuntimeError, match="was written after"):
        y.backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda w: clip_grad_norm_(w, -1.0),
            ValueError,
            r"^clip_grad_norm_: max_norm is -1\.0\. Pass a number >= 0\.$",
        ),
        (
            lambda w: clip_grad_norm_(w, math.nan),
            ValueError,
            r"^clip_grad_norm_: max_norm is nan\. Pass a number >= 0\.$",
        ),
        (lambda w: clip_grad_norm_(w, "1"), TypeError, r"^clip_grad_norm_: max_norm is '1', a str\. Pass a number\.$"),
        (lambda w: clip_grad_norm_(w, 1.0, 0), ValueError, r"^clip_grad_norm_: norm_type is 0\. Pass a number > 0\.$"),
        (
            lambda w: clip_grad_norm_(w, 1.0, "inf"),
            TypeError,
            r"^clip_grad_norm_: norm_type is 'inf', a str\. Pass a num",
        ),
        (lambda w: clip_grad_value_(w, -1), ValueError, r"^clip_grad_value_: clip_value is -1\. Pass a number >= 0\.$"),
        (
            lambda w: clip_grad_norm_(nn.Linear(1, 1), 1.0),
            TypeError,
            r"^clip_grad_norm_: got a Linear for parameters\. Pass net\.parameters\(\)\.$",
        ),
        (
            lambda w: clip_grad_norm_([w, 1.0], 1.0),
            TypeError,
            r"^clip_grad_norm_: parameter 1 is a float\. Pass Tensors",
        ),
        (lambda w: clip_grad_value_(None, 1.0), TypeError, r"^clip_grad_value_: got a NoneType for parameters\. Pass"),
        (
            lambda w: parameters_to_vector([]),
            ValueError,
            r"^parameters_to_vector: there are no parameters\. Pass those",
        ),
        (
            lambda w: vector_to_parameters(np.zeros((1, 2)), [w]),
            ValueError,
            r"^vector_to_parameters: the vector has shape \(1, 2\), the tensors 2 entries\. Pass \(2,\)\.$",
        ),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(bp.tensor([1.0, 2.0], requires_grad=True))
