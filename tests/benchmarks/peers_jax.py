"""The training step in JAX, jitted: called per step, per step with donated buffers, and an epoch in one lax.scan.

Dispatch is synchronous: by default another thread takes every call, which made small steps slower on one core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import adam
from .nets import LEARNING_RATE, Contender, Problem

_ENTRIES_OF_AN_EPOCH = 10_000_000


def jax_jit(p: Problem) -> Contender:
    return _per_call("JAX jit", p)


def jax_donated(p: Problem) -> Contender:
    return _per_call("JAX jit, donated", p, donate_argnums=0)


def jax_scan(p: Problem) -> Contender:
    """One call is an epoch over 100 mini-batches, or as many as have ten million entries: the same one, in copies."""
    import jax
    import jax.numpy as jnp

    update, state, *_ = _update(p)
    length = min(100, _ENTRIES_OF_AN_EPOCH // (p.x.size + sum(q.size for q in p.flat)))
    xs, ys = jnp.array(np.stack([p.x] * length)), jnp.array(np.stack([p.y] * length))

    def over(state: Any, xs: Any, ys: Any) -> Any:
        return jax.lax.scan(lambda state, batch: update(state, *batch), state, (xs, ys))

    epoch: Any = jax.jit(over, donate_argnums=0)

    def some(count: int) -> None:
        nonlocal state
        state, _ = epoch(state, xs[:count], ys[:count])

    def step() -> None:
        nonlocal state
        state, _ = epoch(state, xs, ys)

    return Contender("JAX scan", step, lambda: [np.array(q) for q in state[0]], length, some)


def _per_call(name: str, p: Problem, **options: int) -> Contender:
    import jax

    update, state, x, y = _update(p)
    compiled: Any = jax.jit(update, **options)

    def step() -> None:
        nonlocal state
        state, _ = compiled(state, x, y)

    return Contender(name, step, lambda: [np.array(q) for q in state[0]])


def _update(p: Problem) -> tuple[Callable[..., Any], Any, Any, Any]:
    """update(state, x, y) -> (state, cost), the first state, x and y; state[0] is the list of parameters."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)

    def loss(parameters: list[Any], x: Any, y: Any) -> Any:
        a = x
        for W, b in zip(parameters[::2], parameters[1::2], strict=True):
            a = jax.nn.sigmoid(a @ W.T + b)
        return ((a - y) ** 2).sum() / (2 * p.net.batch)

    def sgd(state: Any, x: Any, y: Any) -> Any:
        (parameters,) = state
        cost, gradients = jax.value_and_grad(loss)(parameters, x, y)
        return ([q - LEARNING_RATE * g for q, g in zip(parameters, gradients, strict=True)],), cost

    def with_adam(state: Any, x: Any, y: Any) -> Any:
        parameters, ms, vs, t = state
        cost, gradients = jax.value_and_grad(loss)(parameters, x, y)
        t = t + 1.0
        rate = (adam.RATE / (1.0 - adam.BETA1**t)).astype(p.dtype)
        root = jnp.sqrt(1.0 - adam.BETA2**t).astype(p.dtype)
        ms = [adam.BETA1 * m + (1.0 - adam.BETA1) * g for m, g in zip(ms, gradients, strict=True)]
        vs = [adam.BETA2 * v + (1.0 - adam.BETA2) * g * g for v, g in zip(vs, gradients, strict=True)]
        new = [q - rate * m / (jnp.sqrt(v) / root + adam.EPS) for q, m, v in zip(parameters, ms, vs, strict=True)]
        return (new, ms, vs, t), cost

    x, y, parameters = jnp.asarray(p.x), jnp.asarray(p.y), [jnp.array(array) for array in p.flat]
    if p.optimizer == "SGD":
        return sgd, (parameters,), x, y
    zeros = [[jnp.zeros_like(q) for q in parameters] for _ in range(2)]
    return with_adam, (parameters, *zeros, jnp.zeros(())), x, y
