"""Gradients checked: right, wrong or cannot tell, and what is wrong named.

:func:`gradcheck` takes a function of Tensors, :func:`check_layer` a layer, :func:`check_backprop` and
:func:`check_loss` NumPy code written by hand, :func:`numeric_jacobian` only measures. Strategies for hypothesis are in
:mod:`~tinygrad_bp.checking.strategies`, the pytest fixture in :mod:`~tinygrad_bp.checking.pytest_plugin`.
"""

from __future__ import annotations

from .differences import Estimate, numeric_jacobian
from .checks import assert_gradcheck, check_backprop, check_layer, check_loss, gradcheck
from .report import Block, Diagnosis, Report, Verdict

__all__ = [
    "Block", "Diagnosis", "Estimate", "Report", "Verdict", "assert_gradcheck", "check_backprop", "check_layer",
    "check_loss", "gradcheck", "numeric_jacobian",
]  # fmt: skip
