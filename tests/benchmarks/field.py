"""Who takes part in which table, and why somebody does not: not installed, or not working here.

Every entry makes a `nets.Contender` from a `nets.Problem`. The framework is imported inside it, and each is given its
fastest idiomatic way: fused losses and one graph for PyTorch, donated buffers and synchronous dispatch for JAX, no
memory guards for MyGrad. Unlike the hand-written step all of them also compute the loss, as their users' code does.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from . import adam, nets, ours, peers, peers_jax, peers_torch
from .nets import Contender, Problem

HAND, OUT, EAGER, COMPILED, NUMBA = "hand-written", "hand-written, out=", "eager", "compiled", "compiled, numba"
PYTORCH, TORCH_COMPILE = "PyTorch", "torch.compile"
JAX, DONATED, SCAN = "JAX jit", "JAX jit, donated", "JAX scan"
HIPS, MYGRAD, AGAIN = "HIPS autograd", "MyGrad", "the same again"

SMALL = (HAND, OUT, EAGER, COMPILED)
TWO_CORES = (HAND, EAGER, COMPILED, NUMBA, PYTORCH, DONATED, SCAN)
OF_TWO_KERNELS = (*SMALL, NUMBA, PYTORCH, JAX, DONATED, SCAN, AGAIN)  # compiling with PyTorch takes a minute a part
WHOLE = (*SMALL, NUMBA, PYTORCH, TORCH_COMPILE, JAX, DONATED, SCAN, AGAIN)
WIDEST = (*WHOLE[:-1], HIPS, MYGRAD, AGAIN)

_BY_HAND = {"SGD": (nets.hand_written, nets.hand_written_out), "Adam": (adam.hand_written, adam.hand_written_out)}
_MAKERS: dict[str, Callable[[Problem], Contender]] = {
    HAND: lambda p: _BY_HAND[p.optimizer][0](p),
    OUT: lambda p: _BY_HAND[p.optimizer][1](p),
    EAGER: ours.eager,
    COMPILED: ours.compiled,
    NUMBA: ours.compiled_numba,
    PYTORCH: peers_torch.pytorch,
    TORCH_COMPILE: peers_torch.torch_compile,
    JAX: peers_jax.jax_jit,
    DONATED: peers_jax.jax_donated,
    SCAN: peers_jax.jax_scan,
    HIPS: peers.hips_autograd,
    MYGRAD: peers.mygrad,
    AGAIN: lambda p: _BY_HAND[p.optimizer][0](p, AGAIN),
}
_NEEDS = {NUMBA: "numba", PYTORCH: "torch", TORCH_COMPILE: "torch", JAX: "jax", DONATED: "jax", SCAN: "jax"}
_NEEDS |= {HIPS: "autograd", MYGRAD: "mygrad"}


def present(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of these names that can run here, and for each of the others a line that says why not."""
    reasons = {name: _why_not(name) for name in names}
    return [name for name in names if not reasons[name]], [f"{name}: {why}" for name, why in reasons.items() if why]


def contenders(names: Sequence[str], p: Problem) -> list[Contender]:
    return [_MAKERS[name](p) for name in names]


def _why_not(name: str) -> str:
    module = _NEEDS.get(name)
    if module and importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    if name in (COMPILED, NUMBA):
        import tinygrad_bp as bp

        return "" if hasattr(bp, "compile") else "tinygrad_bp has no compile"
    return peers_torch.why_not_compiled() if name == TORCH_COMPILE else ""
