"""The training loop and what goes with it: metrics, progress, the run folder and the checkpoint."""

from __future__ import annotations

from .loop import fit
from .scoring import Score, evaluate

__all__ = ["Score", "evaluate", "fit"]
