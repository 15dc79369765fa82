"""Networks: modules, layers, losses and how weights begin. Names and arguments are PyTorch's."""
# ruff: noqa: F403

from __future__ import annotations

from . import (
    activations,
    attention,
    convolution,
    functional,
    init,
    layers,
    losses,
    module,
    normalization,
    pooling,
    recurrent,
    utils,
)
from .activations import *
from .attention import *
from .convolution import *
from .layers import *
from .losses import *
from .module import *
from .normalization import *
from .pooling import *
from .recurrent import *

_PAGES = (module, layers, activations, convolution, pooling, normalization, recurrent, attention, losses)
__all__ = ["functional", "init", "utils", *(name for page in _PAGES for name in page.__all__)]
