"""All of a document: its data, its model and its training, made and ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, nn, optim
from ..random import manual_seed
from ..recipe import no_grad
from ..training.loop import Record, fit
from .arguments import Argument, Table, arguments, checked, choice
from .mistakes import at, kind_of, shown
from .model import FORMAT, made, model_of
from .reading import read
from .registry import DATA, LOSSES, OPTIMIZERS, Pair

__all__ = ["Experiment"]


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a document describes, made and ready to train.

    Attributes
    ----------
    seed
        From which the split, the initial weights and the order of the rows each have a seed of their own
        (``np.random.SeedSequence``): from one seed for all three, the split and the first shuffle would be alike.
    train, test
        Inputs and targets to train on, and held out.
    loader, model, loss, optimizer
        As `fit` takes them.
    settings
        The other arguments of `fit`: ``{"epochs": 60}``.
    """

    seed: int
    train: Pair = field(repr=False)
    test: Pair = field(repr=False)
    loader: data.DataLoader = field(repr=False)
    model: nn.Sequential
    loss: nn.Module
    optimizer: optim.Optimizer
    settings: dict[str, Any]

    def fit(self, on_epoch: Callable[[Record], object] | None = None) -> list[Record]:
        """Train the model as the document says; returns the history of :func:`~tinygrad_bp.fit`."""
        return fit(
            self.model, self.loss, self.optimizer, self.loader, **self.settings, test=self.test, on_epoch=on_epoch
        )

    @classmethod
    def from_spec(cls, document: str | os.PathLike[str] | Table) -> Experiment:
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
        >>> round(history[-1]["test_accuracy"], 1)
        0.9
        """
        if isinstance(document, Mapping):
            return _experiment(document)
        if not isinstance(document, (str, os.PathLike)):
            raise TypeError(f"from_spec: the document is a {type(document).__name__}. Pass a path or a dict.")
        path = Path(document)
        with at(os.fspath(document)):
            return _experiment(read(path))


def _experiment(document: Any) -> Experiment:
    sections = dict.fromkeys(("data", "model", "loss", "optim", "train"), Argument(dict))
    keys = {"format": Argument(int), "seed": Argument(int, 0), **sections}
    if not isinstance(document, Mapping):
        raise TypeError(f"the document is {kind_of(document)}. Give a table with {', '.join(keys)}.")
    if document.get("format", FORMAT) != FORMAT:
        raise ValueError(f"format = {shown(document['format'])}: this version reads format {FORMAT}.")
    values = {"seed": 0} | checked(document, "", keys, "the document")
    if values["seed"] < 0:
        raise ValueError(f"seed = {shown(values['seed'])}: is negative. Give an integer >= 0.")
    of_split, of_weights, of_order = map(int, np.random.SeedSequence(values["seed"]).generate_state(3))
    manual_seed(of_weights)
    train, test, loader = _data(values["data"], of_split, of_order)
    rows = np.unique(train[1], return_index=True)[1]  # one of every class
    model, outputs = model_of(values["model"], train[0][rows])
    loss = _loss(values["loss"], outputs, train[1][rows])
    optimizer = made(values["optim"], "optim", OPTIMIZERS, "optimizer", model.parameters())
    settings = checked(values["train"], "train", arguments(fit), "[train]")
    if settings["epochs"] < 1:
        raise ValueError(f"train.epochs = {settings['epochs']}: too few. Train for at least 1.")
    return Experiment(values["seed"], train, test, loader, model, loss, optimizer, settings)


def _data(table: Table, of_split: int, of_order: int) -> tuple[Pair, Pair, data.DataLoader]:
    load = DATA[choice(table, "data", "name", DATA, "data set")]
    of_data = arguments(load)
    of_loader = arguments(data.DataLoader) | {"shuffle": Argument(bool, True)}
    values = checked(table, "data", of_data | of_loader, f"[data] of {table['name']}", "name")
    with at("data"):
        train, test = load(**{name: values[name] for name in values if name in of_data}, seed=of_split)
        batches = {"shuffle": True} | {name: values[name] for name in values if name in of_loader}
        return train, test, data.DataLoader(*train, **batches, seed=of_order)


def _loss(table: Table, outputs: Any, targets: Any) -> nn.Module:
    loss: nn.Module = made(table, "loss", LOSSES, "loss")
    labels = targets.ndim == 1 and targets.dtype.kind in "iu"
    with at(f"loss of the model's output {np.shape(outputs)}"), no_grad():
        try:
            cost = loss(outputs, targets)
        except ValueError as error:
            if not labels or isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)):
                raise
            raise ValueError(
                f"{table['type']} does not take class labels {targets.shape}. "
                "Use CrossEntropyLoss, or NLLLoss after LogSoftmax."
            ) from error
    if np.ndim(cost):
        raise ValueError(
            f'loss.reduction = {shown(table["reduction"])}: gives no single number. Choose "mean" or "sum".'
        )
    return loss
