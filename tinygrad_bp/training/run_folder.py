"""The folder of a run: what was measured, drawn and learnt, and the checkpoint from which it goes on.

    metrics.jsonl                  a line an epoch
    model.safetensors              the weights
    curve.png, curve.svg           the picture
    checkpoint/state.safetensors   everything the run needs to go on, in one file

Every file is replaced in one piece, but for metrics.jsonl, which grows by lines and is written anew from the history
when a run goes on. The outputs are written before the checkpoint that says the run is finished: a run that is killed
at any instant goes on from the checkpoint before. spec.toml and columns.json belong to the command `train`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["RunFolder"]


class RunFolder:
    """The files of one run under `path`; nothing is read or written before `begin`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def check(self, resume: bool) -> None:
        """Refuse a folder that holds an earlier run, without `resume`, or other things and no run; changes nothing.

        A command calls it before it writes its own files (spec.toml, columns.json); they count here, not in `begin`.

        Raises
        ------
        ValueError
            What is there, and what to do.
        """

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

    def finished(self) -> bool:
        """Whether there is a checkpoint, and its state has a true "finished"."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl: the record without `seconds`."""

    def rewrite(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Make metrics.jsonl the lines of `history`: call it when a run begins or goes on."""

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint by what `state.gather` returned."""

    def close(self, history: Sequence[Mapping[str, Any]], weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write everything at the end of a run or when it is interrupted: the outputs, then the checkpoint.

        Parameters
        ----------
        weights
            For model.safetensors: ``model.state_dict()``.
        state
            For the checkpoint: with ``"finished": True`` in `loop` at the end, False when interrupted.
        """
