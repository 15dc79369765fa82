"""Optimizers: the formulas written out, groups, state, and a step that is all or nothing."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.differences import close
from tinygrad_bp import nn
from tinygrad_bp.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

SHAPES = [(4, 3), (4,), (), (0, 2), (2, 3, 2)]


def tensors(dtype="float64"):
    rng = np.random.default_rng(0)
    return [bp.Tensor(rng.normal(size=shape), requires_grad=True, dtype=dtype) for shape in SHAPES]


def gradients(steps, dtype="float64"):
    rng = np.random.default_rng(1)
    return [[rng.normal(size=shape).astype(dtype) for shape in SHAPES] for _ in range(steps)]


def run(optimizer, params, steps):
    for gs in gradients(steps, params[0].dtype):
        for p, g in zip(params, gs):
            p.grad = bp.Tensor(g)
        optimizer.step()
    return [p.data for p in params]


# ---- formulas -----------------------------------------------------------------------------------------------------


def sgd_by_hand(lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    def move(p, gs):
        v = None
        for g in gs:
            g = g + weight_decay * p
            v = g if v is None else momentum * v + (1 - dampening) * g
            p = p - lr * (g + momentum * v if nesterov else v if momentum else g)
        return p

    return move


def adam_by_hand(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    def move(p, gs):
        m = v = 0.0
        for t, g in enumerate(gs, start=1):
            g = g + weight_decay * p
            m = betas[0] * m + (1 - betas[0]) * g
            v = betas[1] * v + (1 - betas[1]) * g**2
            p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        return p

    return move


def adamw_by_hand(lr=1e-3, weight_decay=1e-2, **settings):
    def move(p, gs):
        ends = [p]
        for t in range(1, len(gs) + 1):  # a step of Adam does not depend on p
            before, after = (adam_by_hand(lr, **settings)(0.0, gs[:k]) for k in (t - 1, t))
            ends.append(ends[-1] * (1 - lr * weight_decay) + (after - before))
        return ends[-1]

    return move


def rmsprop_by_hand(lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    def move(p, gs):
        v = mean = b = 0.0
        for g in gs:
            g = g + weight_decay * p
            v = alpha * v + (1 - alpha) * g**2
            mean = alpha * mean + (1 - alpha) * g
            b = momentum * b + g / (np.sqrt(v - centered * mean**2) + eps)
            p = p - lr * b
        return p

    return move


def adagrad_by_hand(lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    def move(p, gs):
        s = initial_accumulator_value
        for t, g in enumerate(gs):
            g = g + weight_decay * p
            s = s + g**2
            p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(s) + eps)
        return p

    return move


CASES = {
    "SGD": (SGD, sgd_by_hand, {"lr": 0.1}),
    "momentum": (SGD, sgd_by_hand, {"lr": 0.1, "momentum": 0.9}),
    "dampening": (SGD, sgd_by_hand, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    "weight decay": (SGD, sgd_by_hand, {"lr": 0.1, "weight_decay": 0.01}),
    "momentum and weight decay": (SGD, sgd_by_hand, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "all of them": (SGD, sgd_by_hand, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    "nesterov": (SGD, sgd_by_hand, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "nesterov and weight decay": (
        SGD,
        sgd_by_hand,
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    ),
    "Adam": (Adam, adam_by_hand, {}),
    "Adam with everything": (
        Adam,
        adam_by_hand,
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1},
    ),
    "AdamW": (AdamW, adamw_by_hand, {}),
    "AdamW with everything": (
        AdamW,
        adamw_by_hand,
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1},
    ),
    "RMSprop": (RMSprop, rmsprop_by_hand, {}),
    "RMSprop with momentum": (RMSprop, rmsprop_by_hand, {"lr": 0.02, "alpha": 0.9, "momentum": 0.8, "eps": 1e-6}),
    "RMSprop centered": (RMSprop, rmsprop_by_hand, {"alpha": 0.9, "centered": True}),
    "RMSprop with everything": (
        RMSprop,
        rmsprop_by_hand,
        {"lr": 0.02, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "centered": True},
    ),
    "Adagrad": (Adagrad, adagrad_by_hand, {}),
    "Adagrad with everything": (
        Adagrad,
        adagrad_by_hand,
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3},
    ),
}
each_case = pytest.mark.parametrize("case", CASES)


@each_case
def test_ten_steps_are_the_formula(case):
    optimizer, by_hand, settings = CASES[case]
    params = tensors()
    starts = [p.data.copy() for p in params]
    ends = run(optimizer(params, **settings), params, 10)
    for start, end, *gs in zip(starts, ends, *gradients(10)):
        assert close(end, by_hand(**settings)(start, gs), 1e-13)


@each_case
def test_float32_stays_float32(case):
    optimizer, by_hand, settings = CASES[case]
    params = tensors("float32")
    starts = [p.data.copy() for p in params]
    optimizer = optimizer(params, **settings)
    ends = run(optimizer, params, 5)
    for start, end, *gs in zip(starts, ends, *gradients(5)):
        assert end.dtype == np.float32
        assert close(end, by_hand(**settings)(start.astype(float), gs), 1e-5)
    dtypes = {array.dtype for state in optimizer.state.values() for name, array in state.items() if name != "step"}
    assert dtypes == {np.dtype(np.float32)}


@each_case
def test_arrays_are_written_in_place_and_gradients_are_left_alone(case):
    optimizer, _, settings = CASES[case]
    params = tensors()
    optimizer = optimizer(params, **settings)
    run(optimizer, params, 2)
    arrays = [(p.data, *(a for a in optimizer.state[p].values())) for p in params]
    (gs,) = gradients(1)
    for p, g in zip(params, gs):
        p.grad = bp.Tensor(g)
    optimizer.step()
    for p, (data, *kept), g, before in zip(params, arrays, gs, *gradients(1)):
        assert p.data is data
        assert all(a is b for a, b in zip(optimizer.state[p].values(), kept))
        assert (g == before).all()
        assert p.grad.data is g


def test_settings_are_read_at_every_step():
    (p,) = params = [bp.tensor([1.0], requires_grad=True)]
    optimizer = SGD(params, lr=0.5)
    p.grad = bp.tensor([1.0])
    for lr, expected in ((0.5, 0.5), (0.25, 0.25), (0, 0.25), (np.float32(0.125), 0.125)):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        assert p.item() == expected
    optimizer.param_groups[0]["weight_decay"] = 8.0
    optimizer.step()
    assert p.item() == 0.125 - 0.125 * (1.0 + 8.0 * 0.125)


DESCENTS = [
    lambda p: SGD(p, lr=0.1, momentum=0.9),
    lambda p: Adam(p, lr=0.05),
    lambda p: AdamW(p, lr=0.05, weight_decay=0.0),
    lambda p: RMSprop(p, lr=0.02, momentum=0.5, eps=1e-2),
    lambda p: Adagrad(p, lr=0.5),
]


@pytest.mark.parametrize("optimizer", DESCENTS)
def test_a_bowl_is_descended(optimizer):
    target = np.array([1.0, -2.0, 3.0])
    w = bp.zeros(3, requires_grad=True)
    optimizer = optimizer([w])
    for _ in range(500):
        optimizer.zero_grad()
        nn.functional.quadratic_loss(w, target, "sum").backward()
        optimizer.step()
    assert close(w.data, target, 1e-3)


# ---- groups -------------------------------------------------------------------------------------------------------


def test_groups_have_settings_of_their_own():
    a, b, c = (bp.tensor([1.0], requires_grad=True) for _ in range(3))
    optimizer = SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.25)
    optimizer.add_param_group({"params": (x for x in [c]), "lr": 1.0, "momentum": 0.9})
    for p in (a, b, c):
        p.grad = bp.tensor([1.0])
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == [0.75, 0.5, 0.0]
    assert optimizer.param_groups[1] == {
        "params": [b],
        "lr": 0.5,
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
    }


def test_a_parameter_without_gradient_is_skipped():
    a, b = (bp.tensor([1.0], requires_grad=True) for _ in range(2))
    a.grad = bp.tensor([1.0])
    optimizer = SGD([a, b], lr=0.5, momentum=0.9, weight_decay=0.1)
    optimizer.step()
    assert (a.item(), b.item()) == (1.0 - 0.5 * 1.1, 1.0)
    assert "momentum_buffer" not in optimizer.state[b]


def test_frozen_parameters_may_be_given():
    layer = nn.Linear(2, 3)
    layer.bias.requires_grad = False
    bias = layer.bias.data.copy()
    optimizer = SGD(layer.parameters(), lr=0.5, weight_decay=0.1)
    layer(np.ones((4, 2))).sum().backward()
    optimizer.step()
    assert (layer.bias.data == bias).all()


def test_zero_grad_forgets_the_gradients():
    params = tensors()
    optimizer = SGD(params, lr=0.1)
    run(optimizer, params, 1)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)


# ---- a step is all or nothing -------------------------------------------------------------------------------------


def refused(optimizer, params, error, message):
    before = [p.data.copy() for p in params]
    with pytest.raises(error, match="^" + re.escape(message)):
        optimizer.step()
    assert all((p.data == old).all() for p, old in zip(params, before))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_gradient_that_is_not_finite_stops_the_step(optimizer, bad):
    params = tensors()
    optimizer = optimizer(params, lr=0.1)
    (gs,) = gradients(1)
    gs[4][1, 2, 0] = bad
    for p, g in zip(params, gs):
        p.grad = bp.Tensor(g)
    name = type(optimizer).__name__
    message = f"{name}.step: the gradient of parameter 4, shape (2, 3, 2), has 1 of 12 entries that are not finite. No"
    refused(optimizer, params, FloatingPointError, message)
    refused(optimizer, params, FloatingPointError, message)


def test_a_gradient_whose_square_overflows_is_finite():
    p = bp.zeros(2, requires_grad=True, dtype=np.float32)
    p.grad = bp.Tensor(np.array([1e30, -1e30], np.float32))
    SGD([p], lr=1.0).step()
    assert p.tolist() == [np.float32(-1e30), np.float32(1e30)]


def test_a_gradient_of_another_shape_or_dtype_never_reaches_a_step():
    p = tensors()[1]
    with pytest.raises(ValueError, match=r"^grad: shape \(1, 4\) does not fit the tensor's \(4,\)\."):
        p.grad = bp.zeros(1, 4)
    with pytest.raises(TypeError, match=r"^grad: dtype float32 does not fit the tensor's float64\."):
        p.grad = bp.zeros(4, dtype=np.float32)


def test_a_step_without_backward():
    params = tensors()
    message = "SGD.step: no parameter has a gradient. Call backward() on the loss first."
    refused(SGD(params, lr=0.1), params, RuntimeError, message)


@pytest.mark.parametrize(
    ("lr", "error", "message"),
    [
        (math.nan, ValueError, "SGD: lr is nan. Pass a number in [0, inf)."),
        (-1.0, ValueError, "SGD: lr is -1.0. Pass a number in [0, inf)."),
        ("1", TypeError, "SGD: lr is '1', a str. Pass a number."),
    ],
)
def test_a_learning_rate_that_went_bad_stops_the_step(lr, error, message):
    params = tensors()
    optimizer = SGD([{"params": params[:2]}, {"params": params[2:]}], lr=0.1)
    for p, g in zip(params, gradients(1)[0]):
        p.grad = bp.Tensor(g)
    optimizer.param_groups[1]["lr"] = lr
    refused(optimizer, params, error, message)


def test_a_step_between_forward_and_backward_is_noticed():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = SGD(net.parameters(), lr=0.1)
    net(np.ones((4, 2))).sum().backward()
    late = net(np.ones((4, 2))).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"^backward: an input of 'linear' of shape \(1, 3\) was written after"):
        late.backward()


# ---- construction -------------------------------------------------------------------------------------------------

W = bp.tensor([1.0, 2.0], requires_grad=True)
NET = nn.Linear(2, 1)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        *[(made, name) for made in (SGD, Adam, AdamW, RMSprop, Adagrad) for name in ("lr", "weight_decay")],
        *[(made, "eps") for made in (Adam, AdamW, RMSprop, Adagrad)],
        *[(SGD, "momentum"), (SGD, "dampening"), (RMSprop, "momentum"), (RMSprop, "alpha")],
        *[(Adagrad, "lr_decay"), (Adagrad, "initial_accumulator_value")],
    ],
)
def test_settings_out_of_range(optimizer, name, bad):
    high = 1 if name in ("dampening", "alpha") else "inf"
    message = f"{optimizer.__name__}: {name} is {bad}. Pass a number in [0, {high})."
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        optimizer([W], **{"lr": 0.1, name: bad})


@pytest.mark.parametrize("optimizer", [SGD, Adam])
@pytest.mark.parametrize("bad", ["0.1", True, None, [0.1], 1j])
def test_settings_that_are_no_numbers(optimizer, bad):
    message = f"{optimizer.__name__}: lr is {bad!r}, a {type(bad).__name__}. Pass a number."
    with pytest.raises(TypeError, match="^" + re.escape(message)):
        optimizer([W], lr=bad)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD([], lr=0.1), ValueError, "SGD: there are no parameters. Pass those of a model that has some."),
        (lambda: SGD([{"params": []}], lr=0.1), ValueError, "SGD: there are no parameters."),
        (lambda: SGD(W, lr=0.1), TypeError, "SGD: got one Tensor for params. Pass a list of them, [tensor]."),
        (lambda: SGD([np.ones(2)], lr=0.1), TypeError, "SGD: parameter 0 is a ndarray. Pass Tensors."),
        (lambda: SGD([W, W * 2], lr=0.1), ValueError, "SGD: parameter 1 of shape (2,) was computed. Pass leaves."),
        (
            lambda: SGD([W, bp.Tensor([1.0])], lr=0.1),
            ValueError,
            "SGD: parameter 1 of shape (1,) does not require grad. Make it with requires_grad=True.",
        ),
        (lambda: SGD(NET, lr=0.1), TypeError, "SGD: got a Linear for params. Pass net.parameters()."),
        (lambda: SGD(nn.Sequential(NET), lr=0.1), TypeError, "SGD: got a Sequential for params. Pass net.parameters()"),
        (lambda: Adam(NET.parameters), TypeError, "Adam: got a method for params. Pass net.parameters()."),
        (lambda: SGD(None, lr=0.1), TypeError, "SGD: got a NoneType for params. Pass net.parameters()."),
        (lambda: SGD({"params": [W]}, lr=0.1), TypeError, "SGD: got a dict for params. Pass a list of dicts, [{...}]."),
        (lambda: SGD([{"params": NET}], lr=0.1), TypeError, "SGD: got a Linear for params. Pass net.parameters()."),
        (
            lambda: SGD([W], lr=0.1).load_state_dict("sgd.npz"),
            TypeError,
            "load_state_dict: the state is a str. Pass what state_dict() returned.",
        ),
        (lambda: SGD([W, W], lr=0.1), ValueError, "SGD: parameter 1 of shape (2,) is given twice. Pass it once."),
        (
            lambda: SGD([{"params": [W]}, {"params": [W]}], lr=0.1),
            ValueError,
            "SGD: parameter 0 of shape (2,) is given twice. Pass it once.",
        ),
        (lambda: SGD([{"params": [W]}, W], lr=0.1), TypeError, "SGD: a group is a Tensor. Pass dicts, or tensors, not"),
        (
            lambda: SGD([{"params": [W], "eta": 1.0}], lr=0.1),
            ValueError,
            "SGD: a group has unknown eta. Its keys are params, lr, momentum, dampening, weight_decay, nesterov.",
        ),
        (lambda: SGD([{"lr": 1.0}], lr=0.1), ValueError, "SGD: a group has no 'params'. Its keys are params, lr,"),
        (lambda: SGD([W], lr=0.1, dampening=1.0), ValueError, "SGD: dampening is 1.0. Pass a number in [0, 1)."),
        (
            lambda: SGD([W], lr=0.1, nesterov=True),
            ValueError,
            "SGD: nesterov needs momentum > 0 and dampening 0, not 0.0 and 0.0.",
        ),
        (
            lambda: SGD([W], lr=0.1, momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "SGD: nesterov needs momentum > 0 and dampening 0, not 0.9 and 0.1.",
        ),
        (lambda: SGD([W], lr=0.1, nesterov="no"), TypeError, "SGD: nesterov is 'no'. Pass True or False."),
        (lambda: RMSprop([W], centered=1), TypeError, "RMSprop: centered is 1. Pass True or False."),
        (lambda: AdamW([W], betas=0.9), ValueError, "AdamW: betas is 0.9. Pass two numbers in [0, 1)."),
        (lambda: Adam([W], betas=0.9), ValueError, "Adam: betas is 0.9. Pass two numbers in [0, 1)."),
        (lambda: Adam([W], betas=(0.9,)), ValueError, "Adam: betas is (0.9,). Pass two numbers in [0, 1)."),
        (lambda: Adam([W], betas=(0.9, 1.0)), ValueError, "Adam: betas[1] is 1.0. Pass a number in [0, 1)."),
        (lambda: Adam([W], betas=("a", 0.9)), TypeError, "Adam: betas[0] is 'a', a str. Pass a number."),
        (
            lambda: Optimizer([W], lr=0.1).update(W.data, W.data, {}, {}),
            NotImplementedError,
            "Optimizer: has no update. Define update(self, p, g, state, group) in the class.",
        ),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        make()


def test_a_group_that_is_refused_changes_nothing():
    optimizer = SGD([W], lr=0.1)
    other = bp.tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="given twice"):
        optimizer.add_param_group({"params": [other, W]})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [other]})


# ---- state --------------------------------------------------------------------------------------------------------


@each_case
def test_a_loaded_optimizer_goes_on_as_if_never_saved(case):
    optimizer, _, settings = CASES[case]
    ours, theirs = tensors(), tensors()
    a, b = optimizer(ours, **settings), optimizer(theirs, **{"lr": 9.0, **settings})
    run(a, ours, 3)
    run(b, theirs, 1)
    for p, q in zip(ours, theirs):
        q.data[...] = p.data
    b.load_state_dict(a.state_dict())
    assert all((p == q).all() for p, q in zip(run(a, ours, 3), run(b, theirs, 3)))


def test_state_dict_has_pytorchs_form_and_copies():
    a, b = (bp.tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.25, momentum=0.9)
    assert optimizer.state_dict()["state"] == {}
    b.grad = bp.tensor([1.0])
    optimizer.step()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0], [1]]
    assert [group["lr"] for group in state["param_groups"]] == [0.25, 0.5]
    assert list(state["state"]) == [1]
    assert list(state["state"][1]) == ["momentum_buffer"]
    state["state"][1]["momentum_buffer"][...] = 7.0
    state["param_groups"][0]["lr"] = 7.0
    assert optimizer.state[b]["momentum_buffer"] == 1.0
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_loading_forgets_what_the_saved_one_did_not_know_and_writes_in_place():
    p = bp.tensor([1.0], requires_grad=True)
    p.grad = bp.tensor([1.0])
    optimizer = SGD([p], lr=0.25, momentum=0.9)
    fresh = optimizer.state_dict()
    optimizer.step()
    buffer, later = optimizer.state[p]["momentum_buffer"], optimizer.state_dict()
    optimizer.step()
    optimizer.load_state_dict(later)
    assert optimizer.state[p]["momentum_buffer"] is buffer
    assert buffer == 1.0
    optimizer.load_state_dict(fresh)
    assert "momentum_buffer" not in optimizer.state[p]


def test_a_state_that_does_not_fit_is_refused_and_nothing_is_loaded():
    def adam(*sizes, **settings):
        params = [bp.zeros(n, requires_grad=True) for n in sizes]
        for p in params:
            p.grad = bp.ones(p.size)
        optimizer = Adam(params, **settings)
        optimizer.step()
        return optimizer

    def broken(**changes):
        return adam(2, 3, lr=0.5).state_dict() | changes

    optimizer = adam(2, 3)
    before = copy.deepcopy(optimizer.state_dict())
    cases = [
        (adam(2).state_dict(), "load_state_dict: groups of [1] parameters do not fit this optimizer's [2]."),
        (
            adam(2, 4, lr=0.5).state_dict(),
            "load_state_dict: exp_avg of parameter 1 has dtype float64 and shape (4,), it needs numbers of shape (3,).",
        ),
        (
            SGD([bp.zeros(n, requires_grad=True) for n in (2, 3)], lr=0.5).state_dict(),
            "load_state_dict: a group differs in betas, dampening, eps, momentum, nesterov. Use the optimizer it was",
        ),
        ({"w": 1}, "load_state_dict: got the keys ['w']. Pass what state_dict() returned."),
        (broken(state={5: {"exp_avg": np.zeros(2)}}), "load_state_dict: there is no parameter 5 here, only 2."),
        (
            broken(state={0: {"step": 1.0, "_lr": 2.0}}),
            "load_state_dict: parameter 0 has ['_lr', 'step'], Adam remembers ['exp_avg', 'exp_avg_sq', 'step']. Use",
        ),
        (
            broken(state={0: {"step": np.ones(2), "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}}),
            "load_state_dict: step of parameter 0 has dtype float64 and shape (2,), it needs numbers of shape ().",
        ),
        (
            broken(state={0: {"step": "1", "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}}),
            "load_state_dict: step of parameter 0 has dtype <U1 and shape (), it needs numbers of shape ().",
        ),
        (
            broken(param_groups=[adam(2, 3).param_groups[0] | {"params": [0, 1], "lr": -1.0}]),
            "Adam: lr is -1.0. Pass a number in [0, inf).",
        ),
    ]
    for state, message in cases:
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for i in (0, 1):
        assert all((after["state"][i][name] == before["state"][i][name]).all() for name in before["state"][i])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_model_and_its_optimizer_can_be_copied_together(copied):
    net = nn.Linear(2, 3)
    optimizer = Adam(net.parameters(), lr=0.1)

    def step(net, optimizer):
        optimizer.zero_grad()
        net(np.ones((4, 2))).sum().backward()
        optimizer.step()

    step(net, optimizer)
    twin, twins = copied((net, optimizer))
    step(net, optimizer)
    assert (twin.weight.data != net.weight.data).all()
    step(twin, twins)
    assert (twin.weight.data == net.weight.data).all()


def test_21_a_step_that_fails_halfway_has_stamped_what_it_wrote():
    w, frozen = bp.Tensor([1.0], requires_grad=True), bp.Tensor([1.0], requires_grad=True)
    loss = (w * w).sum()
    w.grad = frozen.grad = bp.ones(1)
    frozen.data.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        SGD([w, frozen], lr=1.0).step()
    with pytest.raises(RuntimeError, match=r"^backward: an input of 'multiply' .* was written after"):
        loss.backward()


def test_a_number_resumes_in_the_dtype_of_its_parameter():
    def train(optimizer, p, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            (p * p * 0.3).sum().backward()
            optimizer.step()

    a, b = (bp.Tensor(np.float32(1.7), requires_grad=True) for _ in range(2))
    whole, half = SGD([a], lr=0.1, momentum=0.9), SGD([b], lr=0.1, momentum=0.9)
    train(whole, a, 20)
    train(half, b, 10)
    resumed = SGD([b], lr=0.1, momentum=0.9)
    resumed.load_state_dict(half.state_dict())
    train(resumed, b, 10)
    assert a.item() == b.item()
    assert resumed.state_dict()["state"][0]["momentum_buffer"].dtype == np.float32


def test_rounding_does_not_make_a_centered_mean_square_negative():
    p, g = bp.zeros(50, requires_grad=True), np.linspace(0.1, 3.0, 50)
    optimizer, below = RMSprop([p], alpha=0.5, centered=True), 0
    for _ in range(60):  # the variance of a gradient that never changes goes to 0
        p.grad = bp.Tensor(g)
        optimizer.step()
        state = optimizer.state[p]
        below += np.count_nonzero(state["square_avg"] < state["grad_avg"] ** 2)
    assert below
    assert np.isfinite(p.data).all()
