"""The same training step in this library and in the other frameworks, each as its own users write it.

Every function takes a `nets.Problem` and gives a `nets.Contender`; the framework is imported inside it. Where a
framework has a faster idiomatic way, it is given it: one fused loss and one thread for PyTorch, donated buffers and
synchronous dispatch for JAX, no memory guards for MyGrad. Unlike the hand-written step all of them also compute the
loss, as their users' code does.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .nets import LEARNING_RATE, Contender, Problem


def tinygrad_bp(p: Problem) -> Contender:
    from tinygrad_bp import nn, optim

    layers: list[nn.Module] = []
    for W, _ in p.weights:
        layers += [nn.Linear(W.shape[1], W.shape[0], dtype=p.dtype), nn.Sigmoid()]
    model, loss, x, y = nn.Sequential(*layers), nn.QuadraticLoss(), p.x, p.y
    names = list(model.state_dict())
    model.load_state_dict(dict(zip(names, p.flat, strict=True)))
    optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return Contender("tinygrad_bp", step, lambda: [q.data for q in model.parameters()])


def pytorch(p: Problem) -> Contender:
    import torch

    torch.set_num_threads(1)
    layers: list[torch.nn.Module] = []
    for W, b in p.weights:
        linear = torch.nn.Linear(W.shape[1], W.shape[0], dtype=getattr(torch, p.dtype))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.Sigmoid()]
    model = torch.nn.Sequential(*layers)
    x, y = torch.from_numpy(p.x), torch.from_numpy(p.y)
    scale = 0.5 / p.net.batch
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        (torch.nn.functional.mse_loss(model(x), y, reduction="sum") * scale).backward()
        optimizer.step()

    return Contender("PyTorch", step, lambda: [q.detach().numpy() for q in model.parameters()])


def jax_jit(p: Problem) -> Contender:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    x, y = jnp.asarray(p.x), jnp.asarray(p.y)

    def loss(parameters: list[Any], x: Any, y: Any) -> Any:
        a = x
        for W, b in _pairs(parameters):
            a = jax.nn.sigmoid(a @ W.T + b)
        return ((a - y) ** 2).sum() / (2 * p.net.batch)

    def update(parameters: list[Any], x: Any, y: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(parameters, x, y)
        return [q - LEARNING_RATE * g for q, g in zip(parameters, gradients, strict=True)], value

    compiled: Any = jax.jit(update, donate_argnums=0)
    parameters = [jnp.array(array) for array in p.flat]

    def step() -> None:
        nonlocal parameters
        parameters, _ = compiled(parameters, x, y)

    return Contender("JAX jit", step, lambda: [np.array(q) for q in parameters])


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
    mg: Any = importlib.import_module("mygrad")
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


def installed() -> list[Callable[[Problem], Contender]]:
    """This library and whichever of the others can be imported here, in the order of the report's columns."""
    makers = {"torch": pytorch, "jax": jax_jit, "autograd": hips_autograd, "mygrad": mygrad}
    return [tinygrad_bp, *(make for module, make in makers.items() if importlib.util.find_spec(module))]


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
