"""The layers that are measured against PyTorch: forward and backward of each, from the same numbers, and their goals.

A model is built twice from one seed, as PyTorch's module and as ours with its weights. A step takes no optimizer,
except that of the convolutional net: it is the whole of what its training does with one mini-batch. Activations of
convolutions lie in memory as convolutions leave them (channels first, samples last), since inside a net they do; those
of PyTorch as it likes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import tinygrad_bp as bp
from tinygrad_bp import nn

Array = np.ndarray[Any, Any]
Step = Callable[[], None]


class Model(NamedTuple):
    """What is measured; goals, as ratios to PyTorch: float32 and float64 with AVX2 kernels, float32 with NumPy's."""

    name: str
    shape: tuple[int, ...]
    ours: Callable[[], Any]
    theirs: Callable[[Any], Any]
    goals: tuple[float, float, float]


def conv(n: int, c: int, size: int, f: int, k: int, goals: tuple[float, float, float], **how: int) -> Model:
    extra = "".join(f", {name} {value}" for name, value in how.items() if name != "padding")
    return Model(
        f"conv {k}x{k}, {c} to {f} channels, {n} of {size}x{size}{extra}",
        (n, c, size, size),
        lambda: nn.Conv2d(c, f, k, **how),
        lambda torch: torch.nn.Conv2d(c, f, k, **how),
        goals,
    )


def pool(name: str, shape: tuple[int, ...], *args: int) -> Model:
    size = "x".join(map(str, shape))
    return Model(
        f"{name}{args} of {size}",
        shape,
        lambda: getattr(nn, name)(*args),
        lambda torch: getattr(torch.nn, name)(*args),
        (0.7, 0.9, 0.7),
    )


class OfThree(nn.Module):
    """Attention of an input with itself, in four heads."""

    def forward(self, x: Any) -> Any:
        """One head's queries, keys and values side by side along the last axis of x."""
        return nn.functional.scaled_dot_product_attention(x[0], x[1], x[2])


def _torch_of_three(torch: Any) -> Any:
    class Theirs(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.scaled_dot_product_attention(x[0], x[1], x[2])

    return Theirs()


ENCODER = {"d_model": 128, "nhead": 4, "dim_feedforward": 512, "dropout": 0.0, "batch_first": True}
CONV, POINT, RECURRENT, ATTENTION = (2.2, 0.9, 1.6), (1.8, 1.0, 1.1), (2.5, 1.0, 1.8), (1.1, 1.0, 0.75)

MODELS = (
    conv(32, 16, 14, 32, 3, CONV, padding=1),
    conv(32, 32, 28, 32, 3, CONV, padding=1),
    conv(64, 64, 14, 64, 3, CONV, padding=1),
    conv(32, 64, 14, 128, 1, POINT),
    conv(32, 32, 28, 64, 3, CONV, padding=1, stride=2),
    pool("MaxPool2d", (32, 32, 28, 28), 2),
    pool("MaxPool2d", (10, 20, 24, 24), 2),
    pool("MaxPool2d", (32, 32, 28, 28), 3, 2),
    pool("AvgPool2d", (32, 32, 28, 28), 2),
    Model(
        "LSTM, 128 units, 32 of length 32",
        (32, 32, 128),
        lambda: nn.LSTM(128, 128, batch_first=True),
        lambda torch: torch.nn.LSTM(128, 128, batch_first=True),
        RECURRENT,
    ),
    Model(
        "GRU, 128 units, 32 of length 32",
        (32, 32, 128),
        lambda: nn.GRU(128, 128, batch_first=True),
        lambda torch: torch.nn.GRU(128, 128, batch_first=True),
        (1.0, 1.0, 0.7),
    ),
    Model("attention, 4 heads of 32, 16 of length 64", (3, 16, 4, 64, 32), OfThree, _torch_of_three, ATTENTION),
    Model(
        "transformer encoder layer, width 128, 16 of length 64",
        (16, 64, 128),
        lambda: nn.TransformerEncoderLayer(**ENCODER),
        lambda torch: torch.nn.TransformerEncoderLayer(**ENCODER),
        ATTENTION,
    ),
    Model(
        "LayerNorm of 1024 x 128",
        (1024, 128),
        lambda: nn.LayerNorm(128),
        lambda torch: torch.nn.LayerNorm(128),
        (2.5, 2.5, 2.5),
    ),
)


# ---- both sides of a model: a step, and what it must leave -----------------------------------------------------------


class Pair(NamedTuple):
    """The same step twice, and the arrays that both leave."""

    dtype: str
    goals: tuple[float, float, float]
    ours: Step
    theirs: Step
    left: Callable[[], list[tuple[Array, Array]]]


def layer(model: Model, dtype: str) -> Pair:
    """Forward and backward of one layer."""
    import torch

    torch.manual_seed(0)
    theirs = model.theirs(torch).to(getattr(torch, dtype))
    ours = _with_weights(model.ours, theirs, dtype)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(model.shape).astype(dtype)
    a, b = bp.Tensor(_samples_last(x), requires_grad=True), torch.tensor(x, requires_grad=True)
    a.data = _samples_last(x)
    shape = _output(ours(a)).shape
    g = rng.standard_normal(shape).astype(dtype)
    upstream, theirs_upstream = _samples_last(g), torch.tensor(g)
    results: dict[str, Any] = {}
    parameters, theirs_parameters = list(ours.parameters()), list(theirs.parameters())

    def our_step() -> None:
        a.grad = None
        for p in parameters:
            p.grad = None
        y = _output(ours(a))
        y.backward(upstream)
        results["ours"] = y.data

    def their_step() -> None:
        b.grad = None
        for p in theirs_parameters:
            p.grad = None
        y = _output(theirs(b))
        y.backward(theirs_upstream)
        results["theirs"] = y.detach().numpy()

    def left() -> list[tuple[Array, Array]]:
        gradients = [(p.grad.data, q.grad.numpy()) for p, q in zip([a, *parameters], [b, *theirs_parameters])]
        return [(results["ours"], results["theirs"]), *gradients]

    return Pair(dtype, model.goals, our_step, their_step, left)


def cross_entropy(n: int, dtype: str) -> Pair:
    """The loss of n rows of 10 logits, and its gradient."""
    import torch

    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((n, 10)).astype(dtype), rng.integers(0, 10, n)
    a, b, t = bp.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True), torch.tensor(labels)

    def ours() -> None:
        a.grad = None
        nn.functional.cross_entropy(a, labels).backward()

    def theirs() -> None:
        b.grad = None
        torch.nn.functional.cross_entropy(b, t).backward()

    return Pair(dtype, (0.7, 0.7, 0.7), ours, theirs, lambda: [(a.grad.data, b.grad.numpy())])


def convolutional_net(dtype: str) -> Pair:
    """A training step of the net of chapter 6 of Nielsen's book on 10 images, with SGD."""
    import torch

    def build(of: Any) -> Any:
        return of.Sequential(
            *[of.Conv2d(1, 20, 5), of.ReLU(), of.MaxPool2d(2), of.Conv2d(20, 40, 5), of.ReLU(), of.MaxPool2d(2)],
            *[of.Flatten(), of.Linear(640, 100), of.ReLU(), of.Linear(100, 10)],
        )

    torch.manual_seed(0)
    theirs = build(torch.nn).to(getattr(torch, dtype))
    ours = _with_weights(lambda: build(nn), theirs, dtype)
    rng = np.random.default_rng(0)
    x, labels = rng.random((10, 1, 28, 28)).astype(dtype), rng.integers(0, 10, 10)
    b, t = torch.tensor(x), torch.tensor(labels)
    sgd, their_sgd = bp.optim.SGD(ours.parameters(), lr=0.03), torch.optim.SGD(theirs.parameters(), lr=0.03)

    def our_step() -> None:
        sgd.zero_grad()
        nn.functional.cross_entropy(ours(bp.Tensor(x)), labels).backward()
        sgd.step()

    def their_step() -> None:
        their_sgd.zero_grad()
        torch.nn.functional.cross_entropy(theirs(b), t).backward()
        their_sgd.step()

    def left() -> list[tuple[Array, Array]]:
        return [(p.data, q.detach().numpy()) for p, q in zip(ours.parameters(), theirs.parameters())]

    return Pair(dtype, (0.9, 0.95, 0.75), our_step, their_step, left)


def _with_weights(make: Callable[[], Any], theirs: Any, dtype: str) -> Any:
    """Our module with the weights of theirs."""
    bp.set_default_dtype(dtype)
    try:
        ours = make()
    finally:
        bp.set_default_dtype("float64")
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return ours


def _output(y: Any) -> Any:
    return y[0] if isinstance(y, tuple) else y


def _samples_last(x: Array) -> Array:
    """The same numbers; those of images with the sample as the last axis in memory."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2) if x.ndim == 4 else x


NET = "Nielsen's convolutional net, batch 10, whole step"
PAIRS: dict[str, Callable[[str], Pair]] = {
    NET: convolutional_net,
    **{model.name: partial(layer, model) for model in MODELS},
    **{f"cross-entropy, {n} rows of 10": partial(cross_entropy, n) for n in (10, 128, 1024)},
}
"""Everything that is measured: by name, a function of the dtype."""
