"""The training loop and what goes with it: metrics, progress, the run folder and the checkpoint."""

from __future__ import annotations

from .loop import fit
from .metrics import METRICS, Mean, Metric
from .run_folder import RunFolder
from .scoring import evaluate, predict, probabilities

__all__ = ["METRICS", "Mean", "Metric", "RunFolder", "evaluate", "fit", "predict", "probabilities"]
