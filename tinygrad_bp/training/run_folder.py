"""The folder of a run: what was measured, drawn and learnt, and the checkpoint from which it goes on.

    metrics.jsonl                       a line an epoch
    model.safetensors                   the weights
    snapshots/epoch-00003.safetensors   the weights after some of the epochs; 0 is before the first
    curve.png, curve.svg                the picture
    checkpoint/state.safetensors        everything the run needs to go on, in one file

Every file is replaced in one piece, but for metrics.jsonl, which grows by lines and is written anew from the history
when a run goes on. The outputs are written before the checkpoint that says the run is finished: a run that is killed
at any instant goes on from the checkpoint before. spec.toml and columns.json belong to the command `train`.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..io.atomic import in_place_of, remove_leftovers
from ..io.weights import load, save
from ..view.curves import write_curves

__all__ = ["RunFolder"]

_PREPARED = {"spec.toml", "columns.json"}
_WRITTEN = {"metrics.jsonl", "model.safetensors", "curve.png", "curve.svg", "snapshots", "checkpoint"}
_SNAPSHOT = re.compile(r"epoch-(\d{5,})\.safetensors")


class RunFolder:
    """The files of one run under `path`; nothing is read or written before it is asked for.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     folder = RunFolder(f"{runs}/first")
    ...     folder.begin(resume=False)
    ...     folder.append({"epoch": 1, "loss": 0.5, "seconds": 0.1})
    ...     print((folder.path / "metrics.jsonl").read_text())
    {"epoch": 1, "loss": 0.5}
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def check(self, resume: bool) -> None:
        """Refuse a folder that holds an earlier run, without `resume`, or other things and no run; changes nothing.

        The command calls it before it writes its own files (spec.toml, columns.json); they count here, not in `begin`,
        and messages are in its words.

        Raises
        ------
        ValueError
            What is there, and what to do.
        """
        self._check(resume, set(), "", "--resume")

    def begin(self, resume: bool) -> dict[str, Any] | None:
        """Make the folder, clear away what a killed process left, and return the state in the checkpoint.

        None means from the beginning: a new run, or one that was killed before its first checkpoint.

        Raises
        ------
        ValueError
            As `check` (but for spec.toml and columns.json), or the checkpoint is damaged.
        ModuleNotFoundError
            safetensors or matplotlib (extra `cli`) is not installed.
        """
        for package in ("safetensors", "matplotlib"):  # now, and not when the training is over
            if find_spec(package) is None:
                raise ModuleNotFoundError(f"fit: a run folder needs {package}. pip install 'tinygrad_bp[cli]'.")
        self._check(resume, _PREPARED, "fit: ", "resume=True")
        self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self._checkpoint.parent, self._snapshots):
            if folder.exists():
                remove_leftovers(folder)
        return load(self._checkpoint) if self._checkpoint.exists() else None

    def finished(self, epochs: int = 0) -> bool:
        """Whether all is there, and the run in the checkpoint has come to its end, that of `epochs` or of patience."""
        is_whole = all(map(Path.exists, (self._metrics, self.path / "model.safetensors", self._checkpoint)))
        match load(self._checkpoint).get("loop") if is_whole else None:
            case {"finished": True, "history": list(run)} if len(run) >= epochs:
                return True
            case {"finished": True, "history": list(run), "best_epoch": int(best), "settings": {"patience": int(most)}}:
                return len(run) - best >= most
        return False

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl: the record without `seconds`, and null for numbers that are not finite."""
        with open(self._metrics, "ab") as file:
            file.write(_line(record))

    def rewrite(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Make metrics.jsonl the lines of `history`: when a run begins or goes on."""
        with in_place_of(self._metrics) as file:
            file.writelines(map(_line, history))

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint by what `state.gather` returned."""
        save(self._checkpoint, state)

    def snapshots(self) -> list[tuple[int, Path]]:
        """The epochs after which the weights were kept, in their order, and the files; 0 is before training."""
        names = os.listdir(self._snapshots) if self._snapshots.is_dir() else []
        found = [(int(match[1]), self._snapshots / match[0]) for match in map(_SNAPSHOT.fullmatch, names) if match]
        return sorted(found)

    def save_snapshot(self, epoch: int, weights: Mapping[str, Any]) -> None:
        """Keep ``model.state_dict()`` as it is after an epoch."""
        self._snapshots.mkdir(exist_ok=True)
        save(self._snapshots / f"epoch-{epoch:05}.safetensors", weights)

    def thin_snapshots(self, epochs: Collection[int]) -> None:
        """Remove the snapshots of all but these epochs."""
        for epoch, path in self.snapshots():
            if epoch not in epochs:
                path.unlink()

    def close(
        self,
        history: Sequence[Mapping[str, Any]],
        weights: Mapping[str, Any],
        state: Mapping[str, Any],
        best: int | None = None,
    ) -> None:
        """Write everything at the end of a run or when it is interrupted: the outputs, then the checkpoint.

        Parameters
        ----------
        weights
            For model.safetensors: ``model.state_dict()``.
        state
            For the checkpoint; its `loop` has ``"finished": True`` at the end of a run, False when it is interrupted.
        best
            The epoch of the weights, for the picture, where it is not the last.
        """
        self.rewrite(history)
        save(self.path / "model.safetensors", weights)
        if history:
            write_curves(history, self.path / "curve", best=best)
        self.save_checkpoint(state)

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def _checkpoint(self) -> Path:
        return self.path / "checkpoint" / "state.safetensors"

    @property
    def _snapshots(self) -> Path:
        return self.path / "snapshots"

    def _check(self, resume: bool, prepared: set[str], operation: str, flag: str) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ValueError(f"{operation}{self.path} is a file. Name a folder for the run.")
        there = {name for name in os.listdir(self.path) if name[0] != "."}
        run = there & (_PREPARED | _WRITTEN)
        if there and not run:
            raise ValueError(
                f"{operation}{self.path} holds other things ({_listed(there)}). Name another folder for the run."
            )
        if run - prepared and not resume:
            raise ValueError(
                f"{operation}{self.path} holds an earlier run ({_listed(run - prepared)}). Go on with it by {flag}, "
                "or name another folder."
            )


def _line(record: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in record.items() if name != "seconds"}
    finite = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in kept.items()}
    return json.dumps(finite, allow_nan=False).encode() + b"\n"


def _listed(names: set[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (" ..." if len(names) > len(first) else "")
