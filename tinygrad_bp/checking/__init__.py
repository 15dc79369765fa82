"""Gradients checked: right, wrong or cannot tell, and what is wrong named.

:func:`gradcheck` takes a function of Tensors, :func:`check_layer` a layer, :func:`check_backprop` and
:func:`check_loss` NumPy code written by hand, :func:`numeric_jacobian` only measures. Strategies for hypothesis are in
:mod:`~tinygrad_bp.checking.strategies`, the pytest fixture in :mod:`~tinygrad_bp.checking.pytest_plugin`; these are
loaded wherever pytest and hypothesis are, so the checks themselves load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks import assert_gradcheck, check_backprop, check_layer, check_loss, gradcheck
    from .differences import Estimate, numeric_jacobian
    from .report import Block, Diagnosis, Report, Verdict

_CHECKS = ("assert_gradcheck", "check_backprop", "check_layer", "check_loss", "gradcheck")
_LATER = dict.fromkeys(_CHECKS, "checks") | dict.fromkeys(("Estimate", "numeric_jacobian"), "differences")
_LATER |= dict.fromkeys(("Block", "Diagnosis", "Report", "Verdict"), "report")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"tinygrad_bp.checking: there is no '{name}' here. See dir(tinygrad_bp.checking).")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__]


__all__ = [
    "Block", "Diagnosis", "Estimate", "Report", "Verdict", "assert_gradcheck", "check_backprop", "check_layer",
    "check_loss", "gradcheck", "numeric_jacobian",
]  # fmt: skip
