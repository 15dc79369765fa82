"""What export, graph and explain work on: the model of a document or a run folder, its loss, and rows to feed it.

A document gives the model as it is initialised, a run folder what was learnt there; of a run that has no end yet, or
whose loss was no number, the last snapshot. The rows are those of the training data; nothing is trained and nothing is
written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..io.weights import load
from ..nn.module import Module
from ..spec import Experiment
from ..spec.mistakes import at
from ..training.run_folder import RunFolder
from .running import document_of, import_all, load_weights

__all__ = ["Material", "material"]


class Material(NamedTuple):
    """What a name on the command line stands for.

    Attributes
    ----------
    document, folder
        The document, and the run folder that it lies in, None for a document alone.
    experiment, model, loss
        Made from it; the weights are those of the run.
    X, y
        The rows to train on.
    """

    document: dict[str, Any]
    folder: Path | None
    experiment: Experiment
    model: Module
    loss: Module
    X: NDArray[Any]
    y: NDArray[Any]


def material(name: str, modules: list[str]) -> Material:
    """What the document or run folder `name` describes, after the `modules` of ``--import`` were imported.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        In one line: no such file or folder, no weights in it yet, or what is wrong in the document.

    Examples
    --------
    >>> import json, os, tempfile
    >>> document = {
    ...     "format": 1,
    ...     "data": {"name": "xor"},
    ...     "model": {"type": "Linear", "out_features": 2},
    ...     "loss": {"type": "CrossEntropyLoss"},
    ...     "optim": {"type": "Adam"},
    ...     "train": {"epochs": 1},
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.json")
    ...     with open(path, "w") as file:
    ...         json.dump(document, file)
    ...     found = material(path, [])
    >>> found.model, found.X.shape, found.folder
    (Linear(in_features=2, out_features=2), (140, 2), None)
    """
    import_all(modules)
    document, folder = document_of(name)
    with at(name):
        experiment = Experiment.from_spec(document)
    if folder is not None:
        kept = RunFolder(folder).snapshots()
        if kept and not (folder / "model.safetensors").is_file():
            with at(str(kept[-1][1])):
                experiment.model.load_state_dict(load(kept[-1][1]))
        else:
            load_weights(experiment.model, folder)
    return Material(document, folder, experiment, experiment.model, experiment.loss, *experiment.parts.train)
