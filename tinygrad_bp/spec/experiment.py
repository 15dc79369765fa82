"""All of a document: its data, its model and its training, made and ready to run.

Whatever can be wrong is found here, before the first epoch: the loss and the metrics are tried on what the model gives
for some rows. Nothing of a document is executed, and nothing is written but what `fit` writes into its run folder.
"""

from __future__ import annotations

import copy
import logging
import math
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from .. import data, nn, optim
from ..data.sources import Parts
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from ..optim.optimizers import check_number
from ..random import generator, manual_seed
from ..recipe import no_grad
from ..training.loop import Record, fit
from ..training.metrics import METRICS, chosen, usual
from ..training.scoring import evaluate, require_fit
from .arguments import Argument, arguments, checked
from .mistakes import at, nearest, shown
from .model import FORMAT, made, model_of, parts_of, sections, seeds, to_spec
from .reading import anchored, plain, read
from .registry import DATA, LOSSES, OPTIMIZERS, SCHEDULES

__all__ = ["Experiment", "of_loader", "of_train"]

_log = logging.getLogger("tinygrad_bp")
_OF_FIT = ("epochs", "metrics", "patience", "monitor", "restore_best", "clip_norm", "compile", "snapshots")
_ROWS = 32  # on which model, loss and metrics are tried, where targets are no labels


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a document describes, made and ready to train.

    Attributes
    ----------
    document
        As it was given, a copy; places of files are absolute.
    seed
        From which the split, the initial weights and the order of the rows each have a seed of their own.
    parts
        The rows to train on, and those held out to validate and to test.
    loader, model, loss, optimizer, schedule
        As :func:`~tinygrad_bp.fit` takes them.
    settings
        The other arguments of `fit` that a document can give: ``{"epochs": 60}``.
    """

    document: dict[str, Any] = field(repr=False)
    seed: int
    parts: Parts = field(repr=False)
    loader: data.DataLoader = field(repr=False)
    model: nn.Module
    loss: nn.Module
    optimizer: optim.Optimizer
    schedule: LRScheduler | None
    settings: dict[str, Any]

    @classmethod
    def from_spec(cls, document: str | os.PathLike[str] | Mapping[str, Any]) -> Experiment:
        """The experiment that a document describes; restarts the package's generator (`bp.manual_seed`) from its seed.

        Parameters
        ----------
        document
            A path, read as JSON if it ends in .json and else as TOML, or a dict of the same shape.

        Raises
        ------
        ValueError, TypeError, OSError
            In one line: the file, the path in the document, the value, and what to write instead.

        Examples
        --------
        >>> experiment = Experiment.from_spec({
        ...     "format": 1,
        ...     "data": {"name": "digits", "batch_size": 32},
        ...     "model": {"layers": [{"type": "Linear", "out_features": 10}]},
        ...     "loss": {"type": "CrossEntropyLoss"},
        ...     "optim": {"type": "SGD", "lr": 0.1},
        ...     "train": {"epochs": 2},
        ... })
        >>> experiment.model
        Sequential(
          (0): Linear(in_features=64, out_features=10)
        )
        >>> history = experiment.fit()
        >>> round(history[-1]["val_accuracy"], 1), round(experiment.evaluate()["accuracy"], 1)
        (0.9, 0.9)
        """
        if isinstance(document, Mapping):
            return _experiment(anchored(plain(document), Path()))
        if not isinstance(document, (str, os.PathLike)):
            raise TypeError(f"from_spec: the document is a {type(document).__name__}. Pass a path or a dict.")
        with at(os.fspath(document)):
            return _experiment(read(Path(document)))

    def to_spec(self) -> dict[str, Any]:
        """The document with its seed and the sizes that were inferred, from which an equal experiment is made.

        A model of your own that :func:`to_spec` cannot tell stands as it was given.

        >>> experiment = Experiment.from_spec({
        ...     "format": 1,
        ...     "data": {"name": "xor", "targets": "binary"},
        ...     "model": {"type": "Linear", "out_features": 1},
        ...     "loss": {"type": "BCEWithLogitsLoss"},
        ...     "optim": {"type": "Adam"},
        ...     "train": {"epochs": 2},
        ... })
        >>> experiment.to_spec()["model"]
        {'type': 'Linear', 'in_features': 2, 'out_features': 1}
        """
        document: dict[str, Any] = plain(self.document)
        with suppress(TypeError, ValueError):
            document |= to_spec(self.model)
        return {"format": FORMAT, "seed": self.seed, **document}

    def fit(
        self,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = False,
        on_epoch: Callable[[Record], object] | None = None,
    ) -> list[Record]:
        """Train the model as the document says; arguments, files and history are those of :func:`~tinygrad_bp.fit`."""
        return fit(
            self.model,
            self.loss,
            self.optimizer,
            self.loader,
            **self.settings,
            validation=self.parts.validation,
            schedule=self.schedule,
            out=out,
            resume=resume,
            progress=progress,
            on_epoch=on_epoch,
        )

    def evaluate(self, part: str = "test") -> dict[str, Any]:
        """The loss, the metrics and the number of rows of a part: "train", "validation" or "test".

        Raises
        ------
        ValueError
            There is no such part.
        """
        parts = {name: getattr(self.parts, name) for name in ("train", "validation", "test")}
        if parts.get(part) is None:
            there = ", ".join(name for name, pair in parts.items() if pair is not None)
            raise ValueError(f"evaluate: the data have no part {shown(part)}. There is {there}.")
        X, y = parts[part]
        return evaluate(self.model, self.loss, X, y, self.settings.get("metrics"))


def of_loader() -> dict[str, Argument]:
    """The keys of [data] that are the DataLoader's, which shuffles unless a document says no."""
    return arguments(data.DataLoader, given=1) | {"shuffle": Argument(bool, True)}


def of_train() -> dict[str, Argument]:
    """The keys of [train]: the arguments of `fit` that are neither objects nor of one run only."""
    return {name: argument for name, argument in arguments(fit).items() if name in _OF_FIT}


def _experiment(document: dict[str, Any]) -> Experiment:
    values = sections(document, ("data", "model", "loss", "optim", "train"))
    settings = checked(values["train"], "train", of_train(), "[train]")
    of_split, of_weights, of_order = seeds(values["seed"])
    parts = parts_of(values["data"], of_split)
    loader = _loader(values["data"], parts, of_order)
    manual_seed(of_weights)
    inputs, targets = _some(*parts.train)
    model, outputs = model_of(values["model"], inputs)
    _check_one_row(model, loader)
    loss = _loss(values["loss"], outputs, targets, _kinds_of_targets(values["data"]["name"]))
    parameters = list(model.parameters())
    if not parameters:
        raise ValueError("model: has nothing to train. Give it layers that have weights, such as Linear.")
    optimizer = made(values["optim"], "optim", OPTIMIZERS, "optimizer", parameters)
    schedule = None
    if values.get("schedule") is not None:
        schedule = made(values["schedule"], "schedule", SCHEDULES, "schedule", optimizer)
    monitor, rises = _check_settings(settings, loss, np.asarray(outputs), targets, parts.validation is not None)
    if isinstance(schedule, ReduceLROnPlateau) and schedule.mode != (mode := "max" if rises else "min"):
        raise ValueError(
            f"schedule.mode = {shown(schedule.mode)}: {monitor} improves the other way. Give {shown(mode)}."
        )
    return Experiment(document, values["seed"], parts, loader, model, loss, optimizer, schedule, settings)


def _loader(table: Mapping[str, Any], parts: Parts, seed: int) -> data.DataLoader:
    settings = {name: argument.default for name, argument in of_loader().items()}
    with at("data"):
        return data.DataLoader(*parts.train, **{name: table.get(name, settings[name]) for name in settings}, seed=seed)


def _some(X: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows to try things on; of labels one of each class, or of as many as there are rows to try."""
    rows = np.unique(y, return_index=True)[1] if _are_labels(y) else np.arange(len(y))
    if len(rows) > _ROWS:
        rows = np.append(rows[: _ROWS - 1], rows[-1])
    return X[rows], y[rows]


def _check_one_row(model: nn.Module, loader: data.DataLoader) -> None:
    """Refuse a batch of one row where that cannot be trained on, as by BatchNorm: without this, after an epoch."""
    X, size = loader.arrays[0], loader.batch_size
    if size > 1 and (len(X) % size != 1 or loader.drop_last):
        return
    place = f"data.batch_size = {size}: the last batch of {len(X)} rows has one"
    state = generator().bit_generator.state
    with at(f"{place}. Set data.drop_last = true, or another batch_size. The model"), no_grad():
        copy.deepcopy(model).train()(X[:1])
    generator().bit_generator.state = state


def _are_labels(targets: NDArray[Any]) -> bool:
    return targets.ndim == 1 and targets.dtype.kind in "iu"


def _kinds_of_targets(name: str) -> tuple[Any, ...]:
    """What `targets` can be in [data] of this name."""
    argument = arguments(DATA[name]).get("targets")
    return () if argument is None else get_args(argument.hint)


def _loss(table: Mapping[str, Any], outputs: Any, targets: NDArray[Any], kinds: Collection[str]) -> nn.Module:
    """The loss, after it was tried on what the model gives."""
    loss: nn.Module = made(table, "loss", LOSSES, "loss")
    with at(f"loss of the model's output {np.shape(outputs)}"), no_grad():
        try:
            cost = loss(outputs, targets)
        except (TypeError, ValueError) as error:
            raise ValueError(_mismatch(loss, targets, np.shape(outputs), kinds) or str(error)) from error
    if isinstance(loss, nn.NLLLoss) and (highest := np.asarray(outputs).max()) > 1e-2:
        raise ValueError(
            f"loss: NLLLoss takes logarithms of probabilities, which are never above 0; the model gives {highest:.3g}. "
            "End it with LogSoftmax, or use CrossEntropyLoss."
        )
    if isinstance(loss, nn.CrossEntropyLoss) and np.allclose(np.asarray(outputs).sum(axis=1), 1, atol=1e-6):
        _log.warning("loss: CrossEntropyLoss takes the softmax itself, and gets probabilities. Leave Softmax out.")
    if np.ndim(cost):
        place = f"loss.reduction = {shown(table['reduction'])}" if "reduction" in table else "loss"
        raise ValueError(f'{place}: gives {np.shape(cost)}, not a single number. Choose "mean" or "sum".')
    return loss


def _mismatch(loss: nn.Module, targets: NDArray[Any], given: tuple[int, ...], kinds: Collection[str]) -> str:
    """What to do where a loss is for others of the `kinds` of targets, or for more numbers than are `given`, or ''."""
    of_labels, name = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)), type(loss).__name__
    one_hot = isinstance(loss, nn.CrossEntropyLoss) and targets.ndim == 2 and targets.shape[1] > 1  # which it takes
    if of_labels and not _are_labels(targets) and not one_hot:
        return f'{name} takes class labels, the targets are {targets.shape}. Use targets = "labels" or another loss.'
    classes = int(targets.max()) + 1 if of_labels and _are_labels(targets) else 0
    if classes and len(given) != 2:
        return f"{name} takes a number for each class, (n, {classes}). End the model with Flatten and Linear."
    if classes > given[-1]:
        return f"the data has {classes} classes, more than {given[-1]}. Give the last layer out_features = {classes}."
    if not of_labels and _are_labels(targets):
        binary = isinstance(loss, (nn.BCELoss, nn.BCEWithLogitsLoss))
        others = ", ".join(shown(kind) for kind in ("binary" if binary else "numbers", "one-hot") if kind in kinds)
        use = f"targets = {others} or CrossEntropyLoss" if others else "CrossEntropyLoss"
        return f"{name} does not take class labels {targets.shape}. Use {use}."
    return ""


def _check_settings(
    settings: Mapping[str, Any], loss: nn.Module, outputs: NDArray[Any], targets: NDArray[Any], validated: bool
) -> tuple[str, bool]:
    """Refuse what `fit` would refuse, in the words of the document; what is monitored, and whether it is to rise."""
    if settings["epochs"] < 1:
        raise ValueError(f"train.epochs = {shown(settings['epochs'])}: too few. Train for at least 1.")
    if settings.get("snapshots", 0) < 0:
        raise ValueError(f"train.snapshots = {shown(settings['snapshots'])}: too few. Keep some, or 0 for none.")
    patience, clip_norm = settings.get("patience"), settings.get("clip_norm")
    if patience is not None and patience < 1:
        raise ValueError(f"train.patience = {shown(patience)}: too few. Wait for at least 1 epoch.")
    if clip_norm is not None:
        check_number("train", "clip_norm", clip_norm, 0.0, math.inf)
        if clip_norm == 0:
            raise ValueError("train.clip_norm = 0: nothing would be learnt. Give a number above 0, or leave it out.")
    names = settings.get("metrics")
    for k, name in enumerate(names or []):
        if name not in METRICS:
            near = nearest(name, METRICS) or f" Choose from {', '.join(METRICS)}."
            raise ValueError(f"train.metrics[{k}] = {shown(name)}: there is no such metric.{near}")
    metrics = usual(loss, outputs, targets) if names is None else chosen(names, loss, "train.metrics")
    require_fit("train.metrics", metrics, outputs, targets)
    measured = ["loss", *(metric.name for metric in metrics)]
    measured += [f"val_{name}" for name in measured if validated]
    monitor = settings.get("monitor", "val_loss" if validated else "loss")
    if monitor not in measured:
        near = nearest(monitor, measured) or f" Choose from {', '.join(measured)}."
        raise ValueError(f"train.monitor = {shown(monitor)}: is not measured.{near}")
    return monitor, any(m.higher_is_better for m in metrics if m.name == monitor.removeprefix("val_"))
