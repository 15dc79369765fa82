"""The same program twice, made alike: one twin runs eagerly, the other compiled, and both must agree in everything.

Compared after every call: results and errors, parameters, buffers, ``.grad``, what optimizers remember, the state of
the random generator, and the arguments, which nobody may have written.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_bp as bp
from tests.differences import error
from tinygrad_bp import nn, random
from tinygrad_bp.optim import Optimizer
from tinygrad_bp.recipe import Node

ONE_STEP = 1e-13
MANY_STEPS = 1e-9
SINGLE = 1e-4

Program = tuple[Callable[..., Any], dict[str, Any]]


def tolerance(dtype: Any, many: bool = False) -> float:
    return SINGLE if np.dtype(dtype) == np.float32 else MANY_STEPS if many else ONE_STEP


class Twins:
    """A program, given as what makes it: a function that returns the step and what belongs to it, by name."""

    def __init__(self, make: Callable[[], Program], tol: float = ONE_STEP, backend: str = "numpy") -> None:
        (self.eager, self.mine), (step, self.other) = self._made(make), self._made(make)
        self.compiled = bp.compile(step, backend=backend)
        self.uncompiled = step
        self.tol, self.calls = tol, 0

    @staticmethod
    def _made(make: Callable[[], Program]) -> Program:
        bp.manual_seed(0)
        return make()

    def call(self, *args: Any, compiled: bool = True, **kwargs: Any) -> Any:
        """Call both and compare; returns what the eager one did."""
        self.calls += 1
        given = copy.deepcopy((args, kwargs))
        wanted = self._outcome(self.eager, *given)
        same(given, (args, kwargs), f"call {self.calls}, arguments")
        found = self._outcome(self.compiled if compiled else self.uncompiled, *given)
        same(given, (args, kwargs), f"call {self.calls}, arguments")
        same(found, wanted, f"call {self.calls}, returned", self.tol)
        same(state(self.other), state(self.mine), f"call {self.calls}, left behind", self.tol)
        return wanted[0]

    def both(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Do something to what belongs to either program."""
        change(self.mine)
        change(self.other)

    def _outcome(self, step: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Any]:
        """What is returned or raised, and how far the random generator has come."""
        bp.manual_seed(self.calls)
        try:
            result = plain(step(*args, **kwargs))
        except bp.compiler.plan.CompileError:
            raise
        except Exception as raised:
            result = (type(raised).__name__, str(raised))
        return result, str(random.generator().bit_generator.state)


def plain(x: Any) -> Any:
    """A tree of results with copies of arrays in the place of tensors."""
    if isinstance(x, (Node, np.ndarray, np.generic)):
        return np.array(x.data if isinstance(x, Node) else x)
    if isinstance(x, dict):
        return {key: plain(below) for key, below in x.items()}
    return [type(x).__name__, *map(plain, x)] if isinstance(x, (list, tuple)) else x


def state(things: dict[str, Any]) -> dict[str, Any]:
    """Everything that a step may leave in tensors, modules and optimizers, as arrays and plain values."""
    found: dict[str, Any] = {}
    for name, thing in things.items():
        if isinstance(thing, nn.Module):
            found |= state({f"{name}.{path}": below for path, below in thing._tensors().items()})
        elif isinstance(thing, Optimizer):
            found[name] = plain(thing.state_dict())
        else:
            grad = thing.grad
            found[name] = [thing.data.copy(), thing.requires_grad, None if grad is None else grad.data.copy()]
    return found


def same(a: Any, b: Any, where: str, tol: float = 0.0) -> None:
    """Equal in structure and dtypes, with arrays equal to `tol`."""
    if isinstance(b, (np.ndarray, Node)):
        assert type(a) is type(b), f"{where}: {type(a).__name__} in the place of {type(b).__name__}"
        a, b = (x.data if isinstance(x, Node) else x for x in (a, b))
        assert a.dtype == b.dtype, f"{where}: dtype {a.dtype}, eagerly {b.dtype}"
        assert error(a, b) <= tol, f"{where}: error {error(a, b):.1e} > {tol:.0e}\n{a!s:.500}\neagerly\n{b!s:.500}"
    elif isinstance(b, dict):
        assert isinstance(a, dict) and list(a) == list(b), f"{where}: {a!r:.300}, eagerly {b!r:.300}"
        for key in b:
            same(a[key], b[key], f"{where}[{key!r}]", tol)
    elif isinstance(b, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b), f"{where}: {a!r:.300}, eagerly {b!r:.300}"
        for k, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{where}[{k}]", tol)
    else:
        assert a == b, f"{where}: {a!r}, eagerly {b!r}"
