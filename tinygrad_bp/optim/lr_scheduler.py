"""Schedules: the learning rates of an optimizer as functions of the epoch.

Call ``scheduler.step()`` once an epoch, after the optimizer's steps; a compiled step reads the new rate at its next
call. As in PyTorch a rate is computed from the one before, so schedules of one optimizer can be stepped one after the
other, and their factors multiply; :class:`SequentialLR` lets one follow upon another, which is how a warm-up is made.
Formulas, names, arguments and defaults are PyTorch's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import cos, inf, pi
from typing import Any, Literal

import numpy as np

from .optimizers import Optimizer, check_number

# fmt: off
__all__ = [
    "CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "ReduceLROnPlateau",
    "SequentialLR", "StepLR",
]
# fmt: on


class LRScheduler:
    """The base: counts epochs and writes the rates; a subclass is one formula, `get_lr`.

    Attributes
    ----------
    optimizer
        Whose ``param_groups`` are written: "lr", and "initial_lr", what "lr" was in the beginning.
    last_epoch
        The epoch that the rates are those of: 0 after construction.
    base_lrs
        The initial rates, one a group.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> class InverseLR(LRScheduler):
    ...     def get_lr(self):
    ...         return [base / (1 + self.last_epoch) for base in self.base_lrs]
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = InverseLR(optimizer)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self._name}: got a {type(optimizer).__name__} for optimizer. Pass one of bp.optim's.")
        self._whole("last_epoch", last_epoch, -1)
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{self._name}: last_epoch is {last_epoch}, but group {number} has no initial_lr. "
                    "Load the optimizer's state first, or leave last_epoch out."
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._first = True
        self.step()
        self._first = False

    def get_lr(self) -> list[float]:
        """The rates of `last_epoch`, one a group, from the present ones: the formula; every subclass defines it."""
        raise NotImplementedError(f"{self._name}: has no get_lr. Define get_lr(self) in the class.")

    def step(self) -> None:
        """Go to the next epoch and write its rates into the optimizer."""
        self.last_epoch += 1
        self._write(self.get_lr())

    def get_last_lr(self) -> list[float]:
        """The rates written last, one a group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the settings: numbers, strings and lists of them.

        >>> import tinygrad_bp as bp
        >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
        >>> ExponentialLR(optimizer, gamma=0.5).state_dict()
        {'gamma': 0.5, 'base_lrs': [0.5], 'last_epoch': 0, '_last_lr': [0.5]}
        """
        kept = {name: value for name, value in vars(self).items() if name[0] != "_" and name != "optimizer"}
        kept["_last_lr"] = self._last_lr
        return {name: list(value) if isinstance(value, list) else value for name, value in kept.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict()` returned; the optimizer's rates come with the optimizer's own state.

        Raises
        ------
        ValueError
            The keys are not those of such a schedule, or it had another number of groups.
        TypeError
            The state is no dict.
        """
        vars(self).update(self._checked(state_dict))

    def _checked(self, state_dict: Any) -> dict[str, Any]:
        """A state that fits."""
        own = self.state_dict()
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: the state is a {type(state_dict).__name__}. Pass what state_dict() returned."
            )
        if set(state_dict) != set(own):
            differ = ", ".join(sorted(set(state_dict) ^ set(own)))
            raise ValueError(f"load_state_dict: the state differs in {differ}. Use the schedule it was saved from.")
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"load_state_dict: the state has {len(state_dict['base_lrs'])} groups, the optimizer "
                f"{len(self.base_lrs)}. Use the optimizer it was saved with."
            )
        return dict(state_dict)

    # -- for subclasses --

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.state_dict().items() if name[0] != "_")
        return f"{self._name}({settings})"

    def _rates(self) -> list[float]:
        """The present rates."""
        return [self._float("lr", group["lr"]) for group in self.optimizer.param_groups]

    def _write(self, rates: Sequence[float]) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"{self._name}.step: the optimizer has {len(groups)} groups, the schedule was made for "
                f"{len(self.base_lrs)}. Add groups first, then make the schedule."
            )
        for lr in rates:
            self._number("lr", lr)
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = list(rates)

    def _restart(self) -> None:
        """Be at epoch 0, from the initial rates."""
        self._write(self.base_lrs)
        self.last_epoch = -1
        LRScheduler.step(self)

    def _whole(self, name: str, value: Any, low: int) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{self._name}: {name} is {value!r}, a {type(value).__name__}. Pass an integer.")
        if value < low:
            raise ValueError(f"{self._name}: {name} is {value}. Pass an integer >= {low}.")

    def _number(self, name: str, value: Any, low: float = 0.0, high: float = inf) -> None:
        check_number(self._name, name, value, low, high)

    def _float(self, name: str, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"{self._name}: {name} is a {type(value).__name__}. Pass a number.") from None

    def _list(self, name: str, values: Any) -> list[Any]:
        if not isinstance(values, Iterable):
            raise TypeError(f"{self._name}: {name} is {values!r}. Pass a list.")
        return list(values)


# ---- factors -----------------------------------------------------------------------------------------------


class LambdaLR(LRScheduler):
    """initial_lr * lr_lambda(epoch), with one function, or one a group; they are not part of the state.

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(getattr(optimizer, "param_groups", ()))
        self._lambdas: Any = lr_lambda if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if not all(map(callable, self._lambdas)):
            raise TypeError("LambdaLR: lr_lambda is no function of the epoch. Pass one, or a list of one a group.")
        if len(self._lambdas) != groups:
            raise ValueError(f"LambdaLR: {len(self._lambdas)} functions for {groups} groups. Pass one a group, or one.")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """initial_lr * lr_lambda(epoch)"""
        factors = [self._float(f"lr_lambda({self.last_epoch})", f(self.last_epoch)) for f in self._lambdas]
        return [base * factor for base, factor in zip(self.base_lrs, factors)]


class ExponentialLR(LRScheduler):
    """Times `gamma` every epoch.

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self._number("gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """lr * gamma"""
        return [lr * self.gamma if self.last_epoch else lr for lr in self._rates()]


class StepLR(LRScheduler):
    """Times `gamma` every `step_size` epochs.

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = StepLR(optimizer, step_size=2)
    >>> for epoch in range(5):
    ...     print(scheduler.get_last_lr(), end=" ")
    ...     scheduler.step()
    [0.5] [0.5] [0.05] [0.05] [0.005]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self._whole("step_size", step_size, 1)
        self._number("gamma", gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """lr * gamma at every multiple of step_size"""
        falls = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if falls else lr for lr in self._rates()]


class MultiStepLR(LRScheduler):
    """Times `gamma` at each of the epochs `milestones`; at one named twice, twice.

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = MultiStepLR(optimizer, milestones=[1, 3])
    >>> for epoch in range(4):
    ...     print(scheduler.get_last_lr(), end=" ")
    ...     scheduler.step()
    [0.5] [0.05] [0.05] [0.005]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = self._list("milestones", milestones)
        for epoch in self.milestones:
            self._whole("a milestone", epoch, 0)
        self._number("gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """lr * gamma ** (how often the epoch is a milestone)"""
        return [lr * self.gamma ** self.milestones.count(self.last_epoch) for lr in self._rates()]


class LinearLR(LRScheduler):
    """Times a factor that goes in equal steps from `start_factor` to `end_factor` in `total_iters` epochs: a warm-up.

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> for epoch in range(4):
    ...     print(scheduler.get_last_lr(), end=" ")
    ...     scheduler.step()
    [0.25] [0.375] [0.5] [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3.0,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self._number("start_factor", start_factor)
        self._number("end_factor", end_factor)
        if not 0.0 < start_factor <= 1.0 or end_factor > 1.0:
            raise ValueError(
                f"LinearLR: the factors are {start_factor} and {end_factor}. Pass a start in (0, 1], an end in [0, 1]."
            )
        self._whole("total_iters", total_iters, 1)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """lr * factor(epoch) / factor(epoch - 1)"""
        epoch, rise = self.last_epoch, self.end_factor - self.start_factor
        if epoch == 0:
            return [lr * self.start_factor for lr in self._rates()]
        ratio = 1.0 + rise / (self.total_iters * self.start_factor + (epoch - 1) * rise)
        return [lr * ratio if epoch <= self.total_iters else lr for lr in self._rates()]


class CosineAnnealingLR(LRScheduler):
    """eta_min + (initial_lr - eta_min) (1 + cos(pi epoch / T_max)) / 2 (Loshchilov and Hutter, 2017, no restarts).

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=2)
    >>> for epoch in range(3):
    ...     print([round(lr, 12) for lr in scheduler.get_last_lr()], end=" ")
    ...     scheduler.step()
    [0.5] [0.25] [0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self._whole("T_max", T_max, 1)
        self._number("eta_min", eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """(lr - eta_min) times the ratio of 1 + cos(pi epoch / T_max) to that of the epoch before, + eta_min"""
        epoch, low = self.last_epoch, self.eta_min
        if epoch == 0:
            return self._rates()
        if self._first:
            return [low + (base - low) * (1.0 + cos(pi * epoch / self.T_max)) / 2.0 for base in self.base_lrs]
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the epoch before was at the bottom
            rise = (1.0 - cos(pi / self.T_max)) / 2.0
            return [lr + (base - low) * rise for lr, base in zip(self._rates(), self.base_lrs)]
        ratio = (1.0 + cos(pi * epoch / self.T_max)) / (1.0 + cos(pi * (epoch - 1) / self.T_max))
        return [low + (lr - low) * ratio for lr in self._rates()]


# ---- one after the other, and by what is measured ----------------------------------------------------------


class SequentialLR(LRScheduler):
    """Schedule k + 1 follows upon schedule k at epoch ``milestones[k]``, each from the initial rates and its epoch 0.

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> warm_up, fall = LinearLR(optimizer, start_factor=0.5, total_iters=2), ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = SequentialLR(optimizer, [warm_up, fall], milestones=[2])
    >>> for epoch in range(4):
    ...     print(scheduler.get_last_lr(), end=" ")
    ...     scheduler.step()
    [0.25] [0.375] [0.5] [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._schedulers: list[LRScheduler] = self._list("schedulers", schedulers)
        self.milestones = self._list("milestones", milestones)
        for k, scheduler in enumerate(self._schedulers):
            if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
                raise TypeError(
                    f"SequentialLR: schedule {k} is a {type(scheduler).__name__}. Pass schedules of the epoch alone."
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: schedule {k} is of another optimizer. Make all of them for this one.")
        for epoch in self.milestones:
            self._whole("a milestone", epoch, 1)
        if len(self._schedulers) != len(self.milestones) + 1 or self.milestones != sorted(set(self.milestones)):
            raise ValueError(
                f"SequentialLR: {len(self._schedulers)} schedules and the milestones {self.milestones} do not fit. "
                "Pass one milestone fewer than schedules, in increasing order."
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rates of the schedule whose turn it is, which writes them itself."""
        active = self._schedulers[bisect_right(self.milestones, self.last_epoch)]
        if self.last_epoch in (0, *self.milestones):
            active._restart()
        else:
            active.step()
        return active.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the milestones, and the state of every schedule."""
        return super().state_dict() | {"_schedulers": [each.state_dict() for each in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict()` returned."""
        state = self._checked(state_dict)
        pairs = list(zip(self._schedulers, state.pop("_schedulers"), strict=True))
        for scheduler, its in pairs:
            scheduler._checked(its)
        vars(self).update(state)
        for scheduler, its in pairs:
            scheduler.load_state_dict(its)


class ReduceLROnPlateau(LRScheduler):
    """Times `factor`, but not below `min_lr`, when what is measured has not become better for `patience` epochs.

    Call ``step(metrics)`` with the number that is to fall (`mode` "min") or to rise ("max"). It became better if it
    passed the best so far by more than `threshold`: as a part of that ("rel") or as it is ("abs"). After a change,
    `cooldown` epochs do not count. A change by less than `eps` is left out. A metric that is nan is no better.

    >>> import tinygrad_bp as bp
    >>> optimizer = bp.optim.SGD([bp.zeros(1, requires_grad=True)], lr=0.5)
    >>> scheduler = ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (1.0, 0.9, 0.95, 0.92):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        for name, value, choices in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            if value not in choices:
                raise ValueError(f'{self._name}: {name} is {value!r}. Choose "{choices[0]}" or "{choices[1]}".')
        self._number("factor", factor, 0.0, 1.0)
        self._whole("patience", patience, 0)
        self._number("threshold", threshold)
        self._whole("cooldown", cooldown, 0)
        self._number("eps", eps)
        groups = len(getattr(optimizer, "param_groups", ()))
        lows: Any = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        self.min_lrs: list[float] = lows
        for low in self.min_lrs:
            self._number("min_lr", low)
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"{self._name}: min_lr has {len(self.min_lrs)} numbers for {groups} groups. Pass one a group."
            )
        self.mode, self.factor, self.patience, self.eps = mode, factor, patience, eps
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.best = inf if mode == "min" else -inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def step(self, metrics: Any = None) -> None:
        """Go to the next epoch, in which `metrics` was measured."""
        if not self._first:
            self._look_at(metrics)
        super().step()

    def get_lr(self) -> list[float]:
        """lr * factor, if patience is over"""
        if self.num_bad_epochs <= self.patience:
            return self._rates()
        self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        lower = [max(lr * self.factor, low) for lr, low in zip(self._rates(), self.min_lrs)]
        return [new if lr - new > self.eps else lr for lr, new in zip(self._rates(), lower)]

    def _look_at(self, metrics: Any) -> None:
        if metrics is None:
            raise TypeError(f"{self._name}: step() was called without metrics. Pass what was measured, step(loss).")
        measured = self._float("metrics", metrics)
        better = self._is_better(measured)
        self.best = measured if better else self.best
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0

    def _is_better(self, measured: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        relative = self.threshold_mode == "rel"
        bound = self.best * (1.0 - sign * self.threshold) if relative else self.best - sign * self.threshold
        return sign * measured < sign * bound
