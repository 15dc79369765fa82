"""The training step in PyTorch: eager as its users write it, and one graph of the whole step under torch.compile.

Compiled, the step is written with `torch.func.grad_and_value` and updates of the parameters in place: the faster of the
ways tried. Compiling the model, the loss or `optimizer.step` of the eager loop costs more calls than it saves here.
"""

from __future__ import annotations

from typing import Any

from . import adam, machine
from .nets import LEARNING_RATE, Contender, Problem


def pytorch(p: Problem) -> Contender:
    import torch

    torch.set_num_threads(machine.threads())
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
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        if p.optimizer == "SGD"
        else torch.optim.Adam(model.parameters(), lr=adam.RATE, fused=True)
    )

    def step() -> None:
        optimizer.zero_grad()
        (torch.nn.functional.mse_loss(model(x), y, reduction="sum") * scale).backward()
        optimizer.step()

    return Contender("PyTorch", step, lambda: [q.detach().numpy() for q in model.parameters()])


def torch_compile(p: Problem) -> Contender:
    import torch

    torch.set_num_threads(machine.threads())
    x, y, scale = torch.from_numpy(p.x), torch.from_numpy(p.y), 0.5 / p.net.batch
    parameters = [torch.from_numpy(array.copy()) for array in p.flat]
    means = [(torch.zeros_like(q), torch.zeros_like(q)) for q in parameters]
    t = torch.zeros(1, dtype=torch.float64)  # not 0-d: PyTorch 2.13 loses what a compiled function writes into that

    def loss(parameters: list[Any], x: Any, y: Any) -> Any:
        a = x
        for W, b in zip(parameters[::2], parameters[1::2], strict=True):
            a = torch.sigmoid(torch.nn.functional.linear(a, W, b))
        return torch.nn.functional.mse_loss(a, y, reduction="sum") * scale

    def sgd(x: Any, y: Any) -> Any:
        gradients, value = torch.func.grad_and_value(loss)(parameters, x, y)
        for q, g in zip(parameters, gradients, strict=True):
            q.sub_(LEARNING_RATE * g)
        return value

    def with_adam(x: Any, y: Any) -> Any:
        gradients, value = torch.func.grad_and_value(loss)(parameters, x, y)
        t.add_(1.0)
        rate, root = adam.RATE / (1.0 - adam.BETA1**t), torch.sqrt(1.0 - adam.BETA2**t)
        for q, g, (m, v) in zip(parameters, gradients, means, strict=True):
            m.mul_(adam.BETA1).add_((1.0 - adam.BETA1) * g)
            v.mul_(adam.BETA2).add_((1.0 - adam.BETA2) * (g * g))
            q.sub_(rate * m / (torch.sqrt(v) / root + adam.EPS))
        return value

    torch.compiler.reset()  # a graph of this problem alone: no guards of others, no dynamic shapes
    update = torch.compile(sgd if p.optimizer == "SGD" else with_adam, fullgraph=True, dynamic=False)
    return Contender("torch.compile", lambda: update(x, y), lambda: [q.numpy() for q in parameters])


def why_not_compiled() -> str:
    """Why torch.compile does not work here, in one line; "" where it does."""
    import torch

    try:
        torch.compile(lambda x: x + 1.0)(torch.ones(2))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return ""
