"""The table: one page per family, each row a function of arrays with one line per partial derivative.

Fed Tensors a row records its recipe, fed arrays it is the plain function. The names of a page are its ``__all__``;
:data:`TABLE` lists every row, so that tests (and readers) can walk it.
"""
# ruff: noqa: F403

from __future__ import annotations

from ..recipe import Op
from . import (
    activations,
    arithmetic,
    attention,
    circular,
    discrete,
    elementary,
    fused,
    index,
    linalg,
    losses,
    normalize,
    order,
    pool,
    products,
    recurrent,
    reduce,
    shape,
    special,
)
from . import convolve as _convolve
from . import einsum as _einsum
from . import linear as _linear
from .activations import *
from .arithmetic import *
from .attention import *
from .circular import *
from .convolve import *
from .discrete import *
from .einsum import *
from .elementary import *
from .fused import *
from .index import *
from .linalg import *
from .linear import *
from .losses import *
from .normalize import *
from .order import *
from .pool import *
from .products import *
from .recurrent import *
from .reduce import *
from .shape import *
from .special import *

# fmt: off
PAGES = (
    arithmetic, discrete, elementary, circular, special, activations, reduce, shape, index, order, _linear, products,
    _einsum, linalg, fused, losses, normalize, _convolve, pool, recurrent, attention,
)
# fmt: on
_FOUND = (row for page in PAGES for row in vars(page).values() if isinstance(row, Op))
TABLE: tuple[Op, ...] = tuple(dict.fromkeys(_FOUND))

__all__ = ["TABLE", *(name for page in PAGES for name in page.__all__)]
