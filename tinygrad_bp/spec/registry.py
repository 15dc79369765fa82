"""The closed lists that `type` and `name` of a document choose from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from .. import data, nn, optim
from ..nn import losses

__all__ = ["DATA", "LAYERS", "LOSSES", "OPTIMIZERS"]

Pair = tuple[NDArray[Any], NDArray[Any]]


def _digits(test: float = 0.2, *, seed: int) -> tuple[Pair, Pair]:
    X_train, X_test, y_train, y_test = data.train_test_split(*data.digits(), test=test, seed=seed)
    return (X_train, y_train), (X_test, y_test)


def _mnist(folder: str | None = None, *, seed: int) -> tuple[Pair, Pair]:
    train, _, test = data.mnist(folder)
    return train, test


def _classes(package: Any, base: type) -> dict[str, Any]:
    found = {name: getattr(package, name) for name in package.__all__}
    return {name: made for name, made in found.items() if inspect.isclass(made) and issubclass(made, base)}


DATA: dict[str, Callable[..., tuple[Pair, Pair]]] = {"digits": _digits, "mnist": _mnist}
LOSSES = _classes(losses, nn.Module)
_OF_OTHER_CALLS = {"Module", "Sequential", *nn.recurrent.__all__, *nn.attention.__all__, *LOSSES}
LAYERS = {name: made for name, made in _classes(nn, nn.Module).items() if name not in _OF_OTHER_CALLS}
"""Layers that take one array and return one, made from plain values."""
OPTIMIZERS = {name: made for name, made in _classes(optim, optim.Optimizer).items() if name != "Optimizer"}
