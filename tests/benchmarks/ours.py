"""The training step in this library: the usual loop body of PyTorch's users, as it stands and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import adam
from .nets import LEARNING_RATE, Contender, Problem


def training_step(p: Problem) -> tuple[Callable[[Any, Any], Any], Any]:
    """The function of (x, y) that a user writes, and its model, which holds the problem's first weights."""
    from tinygrad_bp import nn, optim

    layers: list[nn.Module] = []
    for W, _ in p.weights:
        layers += [nn.Linear(W.shape[1], W.shape[0], dtype=p.dtype), nn.Sigmoid()]
    model, loss = nn.Sequential(*layers), nn.QuadraticLoss()
    model.load_state_dict(dict(zip(model.state_dict(), p.flat, strict=True)))
    settings = {"SGD": {"lr": LEARNING_RATE}, "Adam": {"lr": adam.RATE}}
    optimizer = getattr(optim, p.optimizer)(model.parameters(), **settings[p.optimizer])

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        cost = loss(model(x), y)
        cost.backward()
        optimizer.step()
        return cost

    return step, model


def eager(p: Problem) -> Contender:
    step, model = training_step(p)
    return Contender("eager", lambda: step(p.x, p.y), lambda: [q.data for q in model.parameters()])


def compiled(p: Problem) -> Contender:
    return _compiled("compiled", p)


def compiled_numba(p: Problem) -> Contender:
    return _compiled("compiled, numba", p, backend="numba")


def _compiled(name: str, p: Problem, **options: str) -> Contender:
    import tinygrad_bp as bp

    function, model = training_step(p)
    step = bp.compile(function, **options)
    return Contender(name, lambda: step(p.x, p.y), lambda: [q.data for q in model.parameters()])
