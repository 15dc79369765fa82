"""The training step in two more libraries that differentiate NumPy code: HIPS autograd and MyGrad (SGD only)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .nets import LEARNING_RATE, Contender, Problem


def hips_autograd(p: Problem) -> Contender:
    import autograd
    import autograd.numpy as anp

    parameters = [array.copy() for array in p.flat]

    def loss(parameters: list[Any]) -> Any:
        a = p.x
        for W, b in _pairs(parameters):
            a = 1.0 / (1.0 + anp.exp(-(anp.dot(a, W.T) + b)))
        return anp.sum((a - p.y) ** 2) / (2 * p.net.batch)

    gradient = autograd.grad(loss)

    def step() -> None:
        for q, g in zip(parameters, gradient(parameters), strict=True):
            q -= LEARNING_RATE * g

    return Contender("HIPS autograd", step, lambda: parameters)


def mygrad(p: Problem) -> Contender:
    import mygrad as mg
    from mygrad.nnet.activations import sigmoid

    mg.turn_memory_guarding_off()
    parameters = [mg.tensor(array) for array in p.flat]

    def step() -> None:
        a: Any = p.x
        for W, b in _pairs(parameters):
            a = sigmoid(mg.matmul(a, W.T) + b)
        (mg.sum((a - p.y) ** 2) / (2 * p.net.batch)).backward()
        for q in parameters:
            q.data -= LEARNING_RATE * q.grad

    return Contender("MyGrad", step, lambda: [q.data for q in parameters])


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
