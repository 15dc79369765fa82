"""The checkers that are compared, each given the same NumPy forward and backward, each at its own defaults.

Ours in full and fast mode, `torch.autograd.gradcheck` slow and fast, `jax.test_util.check_vjp` in float64,
`autograd.test_util.check_grads` (HIPS), and the recipe of the courses: central differences with h = 1e-5, wrong from a
relative error of 1e-4 on. A peer that raises has not passed the gradient. Peers are imported on first use.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .functions import Arrays, Function, floats

PASS, FAIL, UNSURE = "pass", "fail", "unsure"


class Outcome(NamedTuple):
    verdict: str
    calls: int
    """How often the forward was called."""
    codes: tuple[str, ...] = ()
    """The first diagnosis of each argument, and of what concerns all."""
    report: Any = None


Tool = Callable[[Function, Arrays, int], Outcome]


class _Counted:
    """A forward that counts its calls; its signature is the forward's."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.__wrapped__ = forward
        self.calls = 0

    def __call__(self, *arrays: Any) -> Any:
        self.calls += 1
        return self.__wrapped__(*arrays)


def ours(mode: str, **options: Any) -> Tool:
    def check(function: Function, arrays: Arrays, seed: int) -> Outcome:
        import tinygrad_bp as bp

        forward = _Counted(function.forward)
        report = bp.check_backprop(forward, function.backward, *arrays, mode=mode, rng=seed, **options)
        verdict = PASS if report.ok else UNSURE if report.status in ("INCONCLUSIVE", "VACUOUS") else FAIL
        first = {d.argument: d.code for d in reversed(report.diagnosis)}
        return Outcome(verdict, forward.calls, tuple(first.values()), report)

    return check


def _passed(check: Callable[[], Any]) -> str:
    """A peer passes what it does not complain about."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return FAIL if check() is False else PASS
        except Exception:
            return FAIL


def _of_floats(function: Function, arrays: Arrays) -> tuple[list[Any], Callable[..., Any], Callable[..., Any]]:
    """The float arrays, and the function of them alone."""
    chosen = floats(arrays)

    def full(xs: Any) -> list[Any]:
        new = dict(zip(chosen, xs))
        return [new.get(k, a) for k, a in enumerate(arrays)]

    def forward(*xs: Any) -> Any:
        return np.asarray(function.forward(*full([np.array(x) for x in xs])))

    def backward(xs: Any, upstream: Any) -> Any:
        return function.backward(*full([np.array(x) for x in xs]), np.array(upstream))

    return [arrays[k].copy() for k in chosen], forward, backward


def torch_gradcheck(fast: bool) -> Tool:
    def check(function: Function, arrays: Arrays, seed: int) -> Outcome:
        import torch

        xs, forward, backward = _of_floats(function, arrays)
        calls = 0

        class Checked(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *tensors: Any) -> Any:
                nonlocal calls
                calls += 1
                ctx.save_for_backward(*tensors)
                return torch.from_numpy(forward(*(t.detach().numpy() for t in tensors)).copy())

            @staticmethod
            def backward(ctx: Any, upstream: Any) -> Any:
                given = [t.detach().numpy() for t in ctx.saved_tensors]
                gradients = backward(given, upstream.numpy())
                return tuple(None if g is None else torch.from_numpy(np.array(g)) for g in gradients)

        torch.manual_seed(seed)
        tensors = [torch.tensor(x, requires_grad=True) for x in xs]
        return Outcome(_passed(lambda: torch.autograd.gradcheck(Checked.apply, tensors, fast_mode=fast)), calls)

    return check


def jax_check_vjp(function: Function, arrays: Arrays, seed: int) -> Outcome:
    import jax
    from jax.test_util import check_vjp

    jax.config.update("jax_enable_x64", True)
    xs, forward, backward = _of_floats(function, arrays)
    counted = _Counted(forward)

    def vjp(*given: Any) -> Any:
        given = tuple(np.asarray(x) for x in given)
        return forward(*given), lambda upstream: tuple(backward(given, np.asarray(upstream)))

    return Outcome(_passed(lambda: check_vjp(counted, vjp, tuple(xs))), counted.calls)


def hips_check_grads(function: Function, arrays: Arrays, seed: int) -> Outcome:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    xs, forward, backward = _of_floats(function, arrays)
    counted = _Counted(forward)
    row = primitive(lambda *given: counted(*given))
    gradient = lambda k: lambda y, *given: lambda upstream: backward(given, upstream)[k]
    defvjp(row, *(gradient(k) for k in range(len(xs))), argnums=range(len(xs)))
    state = np.random.get_state()
    np.random.seed(seed)  # the peer draws its directions from NumPy's global generator
    try:
        return Outcome(_passed(lambda: check_grads(row, modes=["rev"], order=1)(*xs)), counted.calls)
    finally:
        np.random.set_state(state)


def fixed_step(function: Function, arrays: Arrays, seed: int) -> Outcome:
    """(f(x + h) - f(x - h)) / 2h with h = 1e-5 for a random upstream; |a - n| / max(|a|, |n|) below 1e-4 everywhere."""
    xs, forward, backward = _of_floats(function, arrays)
    counted = _Counted(forward)

    def check() -> bool:
        upstream = np.random.default_rng(seed).normal(size=forward(*xs).shape)
        gradients = backward(xs, upstream)
        if len(gradients) != len(xs):
            return False
        for x, g in zip(xs, gradients):
            if np.shape(g) != x.shape:
                return False
            numeric = np.zeros_like(x)
            for i in range(x.size):
                sides = []
                for h in (1e-5, -1e-5):
                    before, x.flat[i] = x.flat[i], x.flat[i] + h
                    sides.append(counted(*xs))
                    x.flat[i] = before
                numeric.flat[i] = np.sum((sides[0] - sides[1]) * upstream) / 2e-5
            error = np.abs(g - numeric)
            if not np.all(error <= 1e-4 * np.maximum(np.abs(g), np.abs(numeric))):
                return False
        return True

    return Outcome(_passed(check), counted.calls)


FULL, FAST = "ours, full", "ours, fast"
TORCH_FAST = "torch fast"
OURS: dict[str, Tool] = {FULL: ours("full"), FAST: ours("fast")}
_PEERS: dict[str, tuple[str, Tool]] = {
    "torch slow": ("torch", torch_gradcheck(fast=False)),
    TORCH_FAST: ("torch", torch_gradcheck(fast=True)),
    "jax": ("jax", jax_check_vjp),
    "HIPS": ("autograd", hips_check_grads),
    "h = 1e-5": ("numpy", fixed_step),
}
PEERS: dict[str, Tool] = {name: tool for name, (module, tool) in _PEERS.items() if find_spec(module)}
