"""The functions of a network, spelled as in PyTorch: layers, activations and losses without state.

Each is a thin name over a row of the table (:mod:`tinygrad_bp.ops`), with `dim` for an axis. Tensors, arrays and
numbers are accepted everywhere; fed only arrays, a function returns an array. What they accept is in
:mod:`~tinygrad_bp.nn.functional.accepted`. Layers that own parameters live in :mod:`tinygrad_bp.nn`.
"""
# ruff: noqa: F403

from __future__ import annotations

from . import activations, attention, convolution, layers, losses, normalization, pooling
from .activations import *
from .attention import *
from .convolution import *
from .layers import *
from .losses import *
from .normalization import *
from .pooling import *

_PAGES = (layers, activations, convolution, pooling, normalization, attention, losses)
__all__ = [name for page in _PAGES for name in page.__all__]
