"""Schedules: the rates they write, their state, composition, and what is refused."""

from __future__ import annotations

import copy
import json
import math
import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp.optim import SGD, Adam, lr_scheduler
from tinygrad_bp.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

RATES = (0.5, 0.1)  # of two groups


def optimizer_of(rates=RATES):
    return SGD([{"params": [bp.zeros(2, requires_grad=True)], "lr": lr} for lr in rates], lr=1.0)


# name: (how it is made, the closed form of the rate)
CASES = {
    "LambdaLR": (lambda o: LambdaLR(o, lambda k: 0.9**k), lambda lr, k: lr * 0.9**k),
    "ExponentialLR": (lambda o: ExponentialLR(o, 0.8), lambda lr, k: lr * 0.8**k),
    "StepLR": (lambda o: StepLR(o, 3, gamma=0.5), lambda lr, k: lr * 0.5 ** (k // 3)),
    "MultiStepLR": (
        lambda o: MultiStepLR(o, [4, 2, 4], gamma=0.5),
        lambda lr, k: lr * 0.5 ** sum(k >= milestone for milestone in (2, 4, 4)),
    ),
    "LinearLR": (
        lambda o: LinearLR(o, 0.25, 0.75, total_iters=4),
        lambda lr, k: lr * (0.25 + 0.5 * min(k, 4) / 4),
    ),
    "CosineAnnealingLR": (
        lambda o: CosineAnnealingLR(o, 5, eta_min=0.01),
        lambda lr, k: 0.01 + (lr - 0.01) * (1 + math.cos(math.pi * k / 5)) / 2,
    ),
    "SequentialLR": (
        lambda o: SequentialLR(o, [LinearLR(o, 0.1, total_iters=3), CosineAnnealingLR(o, 6)], [3]),
        lambda lr, k: lr * (0.1 + 0.3 * k if k < 3 else (1 + math.cos(math.pi * (k - 3) / 6)) / 2),
    ),
}
each_case = pytest.mark.parametrize("name", CASES)


def test_every_schedule_is_in_the_list():
    assert set(lr_scheduler.__all__) == {*CASES, "LRScheduler", "ReduceLROnPlateau"}


@each_case
def test_the_rates_are_the_closed_form(name):
    make, rate = CASES[name]
    optimizer = optimizer_of()
    scheduler = make(optimizer)
    for epoch in range(20):
        expected = [rate(lr, epoch) for lr in RATES]
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        assert scheduler.get_last_lr() == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert scheduler.last_epoch == epoch
        scheduler.step()
    assert all(type(group["lr"]) is float for group in optimizer.param_groups)
    assert [group["initial_lr"] for group in optimizer.param_groups] == list(RATES)


@each_case
def test_a_loaded_schedule_goes_on_as_if_never_saved(name):
    make, _ = CASES[name]
    ours, theirs = optimizer_of(), optimizer_of((3.0, 4.0))
    a, b = make(ours), make(theirs)
    for _ in range(4):
        a.step()
    b.step()
    saved = json.loads(json.dumps(a.state_dict()))  # plain data
    theirs.load_state_dict(ours.state_dict())
    b.load_state_dict(saved)
    for _ in range(6):
        assert b.get_last_lr() == a.get_last_lr()
        a.step()
        b.step()


def test_an_optimizer_s_state_is_loaded_with_or_without_a_schedule():
    plain, scheduled = optimizer_of(), optimizer_of()
    ExponentialLR(scheduled, 0.5).step()
    plain.load_state_dict(scheduled.state_dict())
    assert [group["initial_lr"] for group in plain.param_groups] == list(RATES)
    resumed = ExponentialLR(plain, 0.5, last_epoch=1)  # as PyTorch, from the rate of the epoch before
    assert resumed.get_last_lr() == [lr * 0.25 for lr in RATES]
    scheduled.load_state_dict(optimizer_of().state_dict())
    assert scheduled.param_groups[0]["lr"] == 0.5


def test_factors_of_schedules_that_are_stepped_together_multiply():
    optimizer = optimizer_of((1.0,))
    both = [LinearLR(optimizer, 0.5, total_iters=2), StepLR(optimizer, 2, 0.1)]
    for expected in (0.5, 0.75, 0.1, 0.1, 0.01):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-12)
        for scheduler in both:
            scheduler.step()


def test_a_rate_set_by_hand_is_gone_on_from():
    optimizer = optimizer_of((1.0,))
    scheduler = ExponentialLR(optimizer, 0.5)
    optimizer.param_groups[0]["lr"] = 8.0
    scheduler.step()
    assert scheduler.get_last_lr() == [4.0]


def test_one_function_a_group():
    scheduler = LambdaLR(optimizer_of(), [lambda k: 1.0, lambda k: np.float32(1 + k)])
    scheduler.step()
    assert scheduler.get_last_lr() == [0.5, 0.2]


def test_a_compiled_step_follows_a_schedule():
    ends = []
    for wrap in (bp.compile, lambda step: step):
        w = bp.nn.Parameter([1.0, -2.0])
        optimizer = Adam([w], lr=0.1)
        scheduler = SequentialLR(optimizer, [LinearLR(optimizer, 0.1), StepLR(optimizer, 3)], [4])

        def step(x, w=w, optimizer=optimizer):
            optimizer.zero_grad()
            ((w * x) ** 2).sum().backward()
            optimizer.step()

        step = wrap(step)
        for k in range(10):
            step(np.array([1.0, 0.5 + k]))
            scheduler.step()
        ends.append(w.data)
    assert np.allclose(*ends, rtol=1e-13, atol=0.0)


# ---- by what is measured ------------------------------------------------------------------------------------------


def measured(metrics, **settings):
    optimizer = optimizer_of((1.0,))
    scheduler = ReduceLROnPlateau(optimizer, **settings)
    rates = []
    for value in metrics:
        scheduler.step(value)
        rates += scheduler.get_last_lr()
    return rates


def test_a_plateau_lowers_the_rate_after_patience():
    assert measured([1, 1, 1, 1, 1], patience=1, factor=0.5) == [1, 1, 0.5, 0.5, 0.25]
    assert measured([1, 2, 2, 3, 3], patience=0, factor=0.5, mode="max") == [1, 1, 0.5, 0.5, 0.25]
    assert measured([math.nan] * 3, patience=1, factor=0.5) == [1, 0.5, 0.5]
    assert measured([bp.tensor(1.0), np.float32(1.0)], patience=0, factor=0.5) == [1, 0.5]


def test_better_means_by_the_threshold():
    assert measured([1.0, 0.95], patience=0, factor=0.5, threshold=0.1) == [1, 0.5]
    assert measured([1.0, 0.85], patience=0, factor=0.5, threshold=0.1) == [1, 1]
    assert measured([10.0, 9.85], patience=0, factor=0.5, threshold=0.1, threshold_mode="abs") == [1, 1]
    assert measured([10.0, 10.05], patience=0, factor=0.5, threshold=0.1, threshold_mode="abs", mode="max") == [1, 0.5]


def test_cooldown_the_lowest_rate_and_the_least_change():
    assert measured([1] * 7, patience=0, factor=0.5, cooldown=2) == [1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert measured([1] * 4, patience=0, factor=0.5, min_lr=0.4) == [1, 0.5, 0.4, 0.4]
    assert measured([1] * 4, patience=0, factor=0.5, eps=0.3) == [1, 0.5, 0.5, 0.5]


def test_the_state_of_a_plateau_is_plain_and_goes_on():
    a, b = (ReduceLROnPlateau(optimizer_of((1.0,)), patience=2, factor=0.5) for _ in range(2))
    for _ in range(3):
        a.step(1.0)
    b.load_state_dict(json.loads(json.dumps(a.state_dict())))
    for scheduler in (a, b):
        scheduler.step(1.0)
    assert a.get_last_lr() == b.get_last_lr() == [0.5]


# ---- what is refused ----------------------------------------------------------------------------------------------

O = optimizer_of()  # noqa: E741
OTHER = optimizer_of()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StepLR([], 3), TypeError, "StepLR: got a list for optimizer. Pass one of bp.optim's."),
        (lambda: StepLR(O, 0), ValueError, "StepLR: step_size is 0. Pass an integer >= 1."),
        (lambda: StepLR(O, 2.0), TypeError, "StepLR: step_size is 2.0, a float. Pass an integer."),
        (lambda: StepLR(O, 2, "a"), TypeError, "StepLR: gamma is 'a', a str. Pass a number."),
        (lambda: StepLR(O, 2, last_epoch=-2), ValueError, "StepLR: last_epoch is -2. Pass an integer >= -1."),
        (
            lambda: StepLR(optimizer_of(), 2, last_epoch=3),
            ValueError,
            "StepLR: last_epoch is 3, but group 0 has no initial_lr. Load the optimizer's state first, or leave",
        ),
        (lambda: ExponentialLR(O, -0.5), ValueError, "ExponentialLR: gamma is -0.5. Pass a number in [0, inf)."),
        (lambda: ExponentialLR(O, math.nan), ValueError, "ExponentialLR: gamma is nan. Pass a number in [0, inf)."),
        (lambda: MultiStepLR(O, [2, 1.5]), TypeError, "MultiStepLR: a milestone is 1.5, a float. Pass an integer."),
        (lambda: MultiStepLR(O, [-1]), ValueError, "MultiStepLR: a milestone is -1. Pass an integer >= 0."),
        (lambda: LinearLR(O, 0.0), ValueError, "LinearLR: the factors are 0.0 and 1.0. Pass a start in (0, 1], an end"),
        (lambda: LinearLR(O, 0.5, 2.0), ValueError, "LinearLR: the factors are 0.5 and 2.0. Pass a start in (0, 1]"),
        (lambda: LinearLR(O, total_iters=0), ValueError, "LinearLR: total_iters is 0. Pass an integer >= 1."),
        (lambda: CosineAnnealingLR(O, 0), ValueError, "CosineAnnealingLR: T_max is 0. Pass an integer >= 1."),
        (lambda: CosineAnnealingLR(O, 5, -1.0), ValueError, "CosineAnnealingLR: eta_min is -1.0. Pass a number in [0"),
        (lambda: LambdaLR(O, 0.5), TypeError, "LambdaLR: lr_lambda is no function of the epoch. Pass one, or a list"),
        (lambda: LambdaLR(O, [abs]), ValueError, "LambdaLR: 1 functions for 2 groups. Pass one a group, or one."),
        (
            lambda: SequentialLR(O, [StepLR(O, 2), abs], [3]),
            TypeError,
            "SequentialLR: schedule 1 is a builtin_function_or_method. Pass schedules of the epoch alone.",
        ),
        (
            lambda: SequentialLR(O, [ReduceLROnPlateau(O)], []),
            TypeError,
            "SequentialLR: schedule 0 is a ReduceLROnPlateau. Pass schedules of the epoch alone.",
        ),
        (
            lambda: SequentialLR(O, [StepLR(OTHER, 2)], []),
            ValueError,
            "SequentialLR: schedule 0 is of another optimizer. Make all of them for this one.",
        ),
        (
            lambda: SequentialLR(O, [StepLR(O, 2)], [3]),
            ValueError,
            "SequentialLR: 1 schedules and the milestones [3] do not fit. Pass one milestone fewer than schedules, in",
        ),
        (
            lambda: SequentialLR(O, [StepLR(O, 2) for _ in range(3)], [4, 3]),
            ValueError,
            "SequentialLR: 3 schedules and the milestones [4, 3] do not fit.",
        ),
        (lambda: SequentialLR(O, [StepLR(O, 2)] * 2, [0]), ValueError, "SequentialLR: a milestone is 0. Pass an integ"),
        (
            lambda: ReduceLROnPlateau(O, "low"),
            ValueError,
            'ReduceLROnPlateau: mode is \'low\'. Choose "min" or "max".',
        ),
        (
            lambda: ReduceLROnPlateau(O, threshold_mode="r"),
            ValueError,
            'ReduceLROnPlateau: threshold_mode is \'r\'. Choose "rel" or "abs".',
        ),
        (
            lambda: ReduceLROnPlateau(O, factor=1.0),
            ValueError,
            "ReduceLROnPlateau: factor is 1.0. Pass a number in [0, 1)",
        ),
        (
            lambda: ReduceLROnPlateau(O, patience=-1),
            ValueError,
            "ReduceLROnPlateau: patience is -1. Pass an integer >= 0",
        ),
        (lambda: ReduceLROnPlateau(O, cooldown=0.5), TypeError, "ReduceLROnPlateau: cooldown is 0.5, a float. Pass an"),
        (
            lambda: ReduceLROnPlateau(O, threshold=-1),
            ValueError,
            "ReduceLROnPlateau: threshold is -1. Pass a number in",
        ),
        (
            lambda: ReduceLROnPlateau(O, min_lr=-1),
            ValueError,
            "ReduceLROnPlateau: min_lr is -1. Pass a number in [0, inf",
        ),
        (
            lambda: ReduceLROnPlateau(O, min_lr=[0.1]),
            ValueError,
            "ReduceLROnPlateau: min_lr has 1 numbers for 2 groups. Pass one a group.",
        ),
        (lambda: ReduceLROnPlateau(O, eps="x"), TypeError, "ReduceLROnPlateau: eps is 'x', a str. Pass a number."),
        (
            lambda: ReduceLROnPlateau(O).step(),
            TypeError,
            "ReduceLROnPlateau: step() was called without metrics. Pass what was measured, step(loss).",
        ),
        (lambda: MultiStepLR(O, 5), TypeError, "MultiStepLR: milestones is 5. Pass a list."),
        (lambda: SequentialLR(O, None, []), TypeError, "SequentialLR: schedulers is None. Pass a list."),
        (lambda: SequentialLR(O, [], 3), TypeError, "SequentialLR: milestones is 3. Pass a list."),
        (lambda: LambdaLR(O, lambda k: "a"), TypeError, "LambdaLR: lr_lambda(0) is a str. Pass a number."),
        (lambda: LambdaLR(O, lambda k: None), TypeError, "LambdaLR: lr_lambda(0) is a NoneType. Pass a number."),
        (lambda: LambdaLR(O, lambda k: -1), ValueError, "LambdaLR: lr is -0.5. Pass a number in [0, inf)."),
        (lambda: ReduceLROnPlateau(O).step("a"), TypeError, "ReduceLROnPlateau: metrics is a str. Pass a number."),
        (
            lambda: ReduceLROnPlateau(O).step(np.ones(3)),
            TypeError,
            "ReduceLROnPlateau: metrics is a ndarray. Pass a number.",
        ),
        (
            lambda: LRScheduler(O),
            NotImplementedError,
            "LRScheduler: has no get_lr. Define get_lr(self) in the class.",
        ),
        (
            lambda: StepLR(O, 2).load_state_dict("a"),
            TypeError,
            "load_state_dict: the state is a str. Pass what state_dict() returned.",
        ),
        (
            lambda: StepLR(O, 2).load_state_dict(ExponentialLR(O, 1.0).state_dict()),
            ValueError,
            "load_state_dict: the state differs in step_size. Use the schedule it was saved from.",
        ),
        (
            lambda: StepLR(O, 2).load_state_dict(StepLR(optimizer_of((1.0,)), 2).state_dict()),
            ValueError,
            "load_state_dict: the state has 1 groups, the optimizer 2. Use the optimizer it was saved with.",
        ),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        make()


def test_a_rate_that_is_refused_is_not_written():
    optimizer = optimizer_of()
    scheduler = LambdaLR(optimizer, [lambda k: 0.5, lambda k: 1.0 - k])
    scheduler.step()
    with pytest.raises(ValueError, match=r"^LambdaLR: lr is -0\.1\. Pass"):
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == scheduler.get_last_lr() == [0.25, 0.0]


def test_what_is_printed():
    scheduler = StepLR(optimizer_of(), 3)
    assert repr(scheduler) == "StepLR(step_size=3, gamma=0.1, base_lrs=[0.5, 0.1], last_epoch=0)"
    assert repr(scheduler.optimizer) == (
        "SGD(lr=0.5, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, initial_lr=0.5; "
        "lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, initial_lr=0.1)"
    )


def test_a_group_added_later_is_refused():
    optimizer = optimizer_of()
    scheduler = StepLR(optimizer, 1)
    optimizer.add_param_group({"params": [bp.zeros(1, requires_grad=True)]})
    before = copy.deepcopy([group["lr"] for group in optimizer.param_groups])
    with pytest.raises(
        ValueError, match=r"^StepLR\.step: the optimizer has 3 groups, the schedule was made for 2\. Add"
    ):
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == before


def test_a_cosine_made_for_a_later_epoch_is_that_of_the_epoch():
    optimizer = optimizer_of((0.5,))
    optimizer.param_groups[0] |= {"initial_lr": 0.5, "lr": 0.125}  # as PyTorch: whatever the rate is now
    rate = 0.5 * (1 + math.cos(math.pi * 3 / 5)) / 2
    assert CosineAnnealingLR(optimizer, 5, last_epoch=2).get_last_lr() == pytest.approx([rate], rel=1e-15)
