"""tinygrad_bp: automatic differentiation in NumPy, for people who learn, teach or write backpropagation.

A :class:`Tensor` remembers how it was made; ``backward()`` walks that memory back to the gradients. Not related to
tinygrad. Data sets, weight files, pictures, documents and the training loop load on first use.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy

from . import autograd, nn, ops, optim
from .checkpoint import checkpoint
from .creation import arange, eye, from_numpy, full, ones, tensor, zeros
from .function import Function
from .random import manual_seed, rand, randn
from .recipe import enable_grad, is_grad_enabled, no_grad, primitive
from .tensor import Tensor, set_default_dtype
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

if TYPE_CHECKING:
    from . import checking, compiler, data, exporting, io, spec, training, view
    from .checking import assert_gradcheck, check_backprop, check_layer, check_loss, gradcheck, numeric_jacobian
    from .compiler.step import compile
    from .exporting import export
    from .io.weights import load, save
    from .spec import Experiment, from_spec, register, to_spec
    from .training import fit
    from .view.draw import draw
    from .view.explain import explain

__version__ = "0.1.0"

# Arrays of some MB come and go in every step. Once a block of up to 32 MB was freed, glibc keeps as much for the next;
# until then it returns it to the system, and to get it back, page by page, takes up to half of a step.
numpy.empty(2**25 - 2**16, numpy.uint8)

_LATER = {
    "fit": "training",
    "from_spec": "spec",
    "register": "spec",
    "to_spec": "spec",
    "Experiment": "spec",
    "draw": "view.draw",
    "explain": "view.explain",
    "export": "exporting",
    "load": "io.weights",
    "save": "io.weights",
}
_LATER |= {name: name for name in ("checking", "compiler", "data", "exporting", "io", "spec", "training", "view")}
_LATER["compile"] = "compiler.step"
_CHECKS = ("assert_gradcheck", "check_backprop", "check_layer", "check_loss", "gradcheck", "numeric_jacobian")
_LATER |= dict.fromkeys(_CHECKS, "checking")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"tinygrad_bp: there is no '{name}' here. {_instead(name)}")
    module = import_module(f"{__name__}.{_LATER[name]}")
    return module if name == _LATER[name] else getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _instead(name: str) -> str:
    """Where a name of NumPy's or PyTorch's is, or the nearest word."""
    if name in ops.__all__:
        return f"Use np.{name}(t) or bp.ops.{name}." if hasattr(numpy, name) else f"Use bp.ops.{name}."
    for package in (nn, optim):
        if name in package.__all__:
            return f"Use bp.{package.__name__.rpartition('.')[2]}.{name}."
    near = difflib.get_close_matches(name, __all__, 1)
    return f"Did you mean '{near[0]}'?" if near else "See dir(tinygrad_bp)."


__all__ = [
    "Experiment",
    "Function",
    "Tensor",
    "arange",
    "assert_gradcheck",
    "autograd",
    "check_backprop",
    "check_layer",
    "check_loss",
    "checking",
    "checkpoint",
    "compile",
    "compiler",
    "data",
    "draw",
    "enable_grad",
    "explain",
    "export",
    "exporting",
    "eye",
    "fit",
    "from_numpy",
    "from_spec",
    "full",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "io",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "load",
    "manual_seed",
    "nn",
    "no_grad",
    "numeric_jacobian",
    "ones",
    "ops",
    "optim",
    "primitive",
    "rand",
    "randn",
    "register",
    "save",
    "set_default_dtype",
    "spec",
    "tensor",
    "to_spec",
    "training",
    "value_and_grad",
    "view",
    "vjp",
    "zeros",
]
