"""Schedules equal PyTorch's for fifty epochs, to twelve digits, with settings that hypothesis draws."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp.optim import lr_scheduler

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # PyTorch misses optimizer.step()
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

factors = st.floats(0.05, 1.0)
SCHEDULES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "LambdaLR": st.fixed_dictionaries({"lr_lambda": st.just(lambda k: 1 / (1 + 0.1 * k))}),
    "ExponentialLR": st.fixed_dictionaries({"gamma": factors}),
    "StepLR": st.fixed_dictionaries({"step_size": st.integers(1, 9)}, optional={"gamma": factors}),
    "MultiStepLR": st.fixed_dictionaries(
        {"milestones": st.lists(st.integers(0, 50), max_size=5)}, optional={"gamma": factors}
    ),
    "LinearLR": st.fixed_dictionaries(
        {}, optional={"start_factor": factors, "end_factor": factors, "total_iters": st.integers(1, 20)}
    ),
    "CosineAnnealingLR": st.fixed_dictionaries({"T_max": st.integers(1, 60)}, optional={"eta_min": st.floats(0, 0.3)}),
}
PLATEAUS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["min", "max"]),
        "factor": st.floats(0.05, 0.9),
        "patience": st.integers(0, 5),
        "threshold": st.floats(0.0, 0.5),
        "threshold_mode": st.sampled_from(["rel", "abs"]),
        "cooldown": st.integers(0, 3),
        "min_lr": st.sampled_from([0.0, 0.01, [0.1, 0.02]]),
    },
)


def twins(make: Any) -> Any:
    """The schedule of ours and PyTorch's: made by `make`, given the module of schedules and an optimizer."""
    torch = pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    made = []
    for library, schedules in ((bp, lr_scheduler), (torch, torch.optim.lr_scheduler)):
        groups = [{"params": [library.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.5, 0.1)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.append(make(schedules, library.optim.SGD(groups, lr=1.0)))
    return made


def assert_equal_rates(ours: Any, theirs: Any) -> None:
    assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12, abs=1e-12)
    assert [group["lr"] for group in ours.optimizer.param_groups] == ours.get_last_lr()
    assert ours.last_epoch == theirs.last_epoch


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=25)
@given(data=st.data())
def test_a_schedule_equals_pytorchs(name: str, data: Any) -> None:
    given = data.draw(SCHEDULES[name])
    ours, theirs = twins(lambda schedules, optimizer: getattr(schedules, name)(optimizer, **given))
    for _ in range(50):
        assert_equal_rates(ours, theirs)
        ours.step()
        theirs.step()


@settings(max_examples=50)
@given(PLATEAUS, st.lists(st.floats(-2.0, 2.0), min_size=50, max_size=50))
def test_a_plateau_equals_pytorchs(given: dict[str, Any], metrics: list[float]) -> None:
    ours, theirs = twins(lambda schedules, optimizer: schedules.ReduceLROnPlateau(optimizer, **given))
    for value in metrics:
        ours.step(value)
        theirs.step(value)
        assert_equal_rates(ours, theirs)


@settings(max_examples=25)
@given(st.data())
def test_one_after_the_other_equals_pytorchs(data: Any) -> None:
    names = data.draw(st.lists(st.sampled_from(list(SCHEDULES)), min_size=1, max_size=3))
    given = [data.draw(SCHEDULES[name]) for name in names]
    steps = st.lists(st.integers(1, 30), min_size=len(names) - 1, max_size=len(names) - 1, unique=True)
    milestones = sorted(data.draw(steps))

    def make(schedules: Any, optimizer: Any) -> Any:
        parts = [getattr(schedules, name)(optimizer, **each) for name, each in zip(names, given)]
        return schedules.SequentialLR(optimizer, parts, milestones)

    ours, theirs = twins(make)
    for _ in range(50):
        assert_equal_rates(ours, theirs)
        ours.step()
        theirs.step()


def test_every_schedule_is_compared() -> None:
    assert set(lr_scheduler.__all__) == {*SCHEDULES, "LRScheduler", "ReduceLROnPlateau", "SequentialLR"}
