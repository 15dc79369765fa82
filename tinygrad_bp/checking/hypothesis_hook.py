"""What hypothesis calls when it is imported: from then on ``@given(x=...)`` knows a Tensor by its annotation.

Here is nothing but the registration. The strategies load when one is drawn from, so that a program that imports
hypothesis without drawing a Tensor pays for the import of this package and for no more.
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor

__all__ = ["register"]


def register() -> None:
    """Tell hypothesis how to draw a Tensor: the entry point of the group "hypothesis"."""
    from hypothesis.strategies import register_type_strategy

    register_type_strategy(Tensor, _tensors)


def _tensors(_: type[Tensor]) -> Any:
    from .strategies import tensors

    return tensors()
