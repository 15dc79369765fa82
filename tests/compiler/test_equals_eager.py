"""One compiled step equals the eager one: every row, layer, loss and optimizer of the library, at orders 1 and 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.checks import floats, naming
from tests.differences import error
from tests.nn import test_layers
from tests.samples import Sample
from tests.test_table import ENTRIES, Entry
from tinygrad_bp import autograd, nn
from tinygrad_bp.nn import functional as F
from tinygrad_bp.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from .twins import ONE_STEP, Twins, tolerance

DTYPES = ("float64", "float32")

# ---- rows ------------------------------------------------------------------------------------------------------------


def derivatives(entry: Entry, sample: Sample) -> Any:
    """A step that returns the value of a function, its gradients, and gradients of a sum of cosines of these."""
    wanted = floats(sample.inputs)

    def step(*inputs: Any) -> list[Any]:
        xs = [bp.Tensor(x, k in wanted) if k in wanted or np.ndim(x) else x for k, x in enumerate(inputs)]
        y = entry.call(*xs, **sample.params)
        targets = [xs[k] for k in wanted]
        if not targets or not y.requires_grad:
            return [y]
        first = autograd.grad((y * y + y).sum(), targets, create_graph=True)
        second = autograd.grad(sum(np.cos(g).sum() for g in first), targets, allow_unused=True)
        return [y, *first, *second]

    return step


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_a_row_and_its_derivatives_of_order_1_and_2(entry: Entry) -> None:
    for sample in entry.samples:
        with naming(sample):
            step = derivatives(entry, sample)
            compiled = bp.compile(step)
            for shift in (0, 1):
                inputs = [np.roll(x, shift) if k in floats(sample.inputs) else x for k, x in enumerate(sample.inputs)]
                wanted, found = step(*inputs), compiled(*inputs)
                for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
                    if not isinstance(b, bp.Tensor):
                        b = bp.Tensor(b) if b is not None else b
                    assert type(a) is type(b)
                    assert b is None or (a.dtype == b.dtype and error(a.data, b.data) <= ONE_STEP), (
                        f"result {k}: {a}, {b}"
                    )


# ---- layers and losses -----------------------------------------------------------------------------------------------

# Those whose draws or sizes matter here are others than in the tests of gradients.
LAYERS = test_layers.LAYERS | {
    "Dropout": lambda: nn.Dropout(0.25),
    "MultiheadAttention": lambda: test_layers.flat(test_layers.SelfAttention(2, 2, 0.25)),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(3, 1, 2, 0.25, "gelu"),
    "TransformerEncoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(3, 1, 1, 0.0, F.tanh, bias=False), 2
    ),
}


def of_dtype(dtype: str, make: Any) -> Any:
    bp.set_default_dtype(dtype)
    try:
        return make()
    finally:
        bp.set_default_dtype("float64")


def test_every_layer_is_in_the_list() -> None:
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type) and not name.endswith("Loss")}
    assert layers - {"Module", "Parameter"} == {name.split()[0] for name in LAYERS}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (x, shape)
        for x in LAYERS
        for shape in test_layers.SHAPES.get(x.split()[0], [(5, 3), (2, 5, 3), (2, 0, 3), (3, 3)])
    ],
)
def test_a_layer(name: str, shape: tuple[int, ...], dtype: str) -> None:
    def make() -> Any:
        layer = of_dtype(dtype, LAYERS[name])

        def step(x: Any) -> Any:
            for p in layer.parameters():
                p.grad = None
            x = bp.Tensor(x, requires_grad=True)
            y = layer(x)
            (y * np.cos(y)).sum().backward()
            return y, x.grad

        return step, {"layer": layer}

    twins = Twins(make, tolerance(dtype))
    rng = np.random.default_rng(1)
    for training in (True, True, False, False):
        twins.both(lambda things, mode=training: things["layer"].train(mode))
        twins.call(rng.normal(size=shape).astype(dtype))


LOSSES: dict[str, tuple[Any, ...]] = {
    # the loss, what goes in, what it is compared with: functions of the generator; settings
    "QuadraticLoss": (F.quadratic_loss, lambda r: r.normal(size=(5, 3)), lambda r: r.normal(size=(5, 3))),
    "MSELoss": (F.mse_loss, lambda r: r.normal(size=(5, 3)), lambda r: r.normal(size=(5, 3))),
    "L1Loss": (F.l1_loss, lambda r: r.normal(size=(5, 3)), lambda r: r.normal(size=(5, 3))),
    "BCELoss": (F.binary_cross_entropy, lambda r: r.uniform(size=(5, 3)), lambda r: r.integers(0, 2, (5, 3)) * 1.0),
    "BCEWithLogitsLoss": (
        F.binary_cross_entropy_with_logits,
        lambda r: r.normal(size=(5, 3)),
        lambda r: r.uniform(size=(5, 3)),
    ),
    "CrossEntropyLoss": (F.cross_entropy, lambda r: r.normal(size=(5, 3)), lambda r: r.integers(0, 3, 5)),
    "CrossEntropyLoss of distributions": (
        F.cross_entropy,
        lambda r: r.normal(size=(5, 3)),
        lambda r: r.dirichlet(np.ones(3), 5),
    ),
    "CrossEntropyLoss with everything": (
        F.cross_entropy,
        lambda r: r.normal(size=(5, 3, 2)),
        lambda r: r.integers(-1, 3, (5, 2)),
        {"weight": np.array([0.5, 1.0, 2.0]), "ignore_index": -1, "label_smoothing": 0.1},
    ),
    "CrossEntropyLoss of weighted distributions": (
        F.cross_entropy,
        lambda r: r.normal(size=(5, 3)),
        lambda r: r.dirichlet(np.ones(3), 5),
        {"weight": np.array([0.5, 1.0, 2.0]), "label_smoothing": 0.1},
    ),
    "NLLLoss": (F.nll_loss, lambda r: -r.uniform(size=(5, 3)), lambda r: r.integers(0, 3, 5)),
    "NLLLoss with everything": (
        F.nll_loss,
        lambda r: -r.uniform(size=(5, 3, 2)),
        lambda r: r.integers(-1, 3, (5, 2)),
        {"weight": np.array([0.5, 1.0, 2.0]), "ignore_index": -1},
    ),
    "BCELoss with a weight": (
        F.binary_cross_entropy,
        lambda r: r.uniform(size=(5, 3)),
        lambda r: r.integers(0, 2, (5, 3)) * 1.0,
        {"weight": np.array([0.5, 1.0, 2.0])},
    ),
    "BCEWithLogitsLoss with weights": (
        F.binary_cross_entropy_with_logits,
        lambda r: r.normal(size=(5, 3)),
        lambda r: r.uniform(size=(5, 3)),
        {"weight": np.array([[1.0], [2.0], [3.0], [4.0], [0.0]]), "pos_weight": np.array([0.5, 1.0, 2.0])},
    ),
    "SmoothL1Loss": (F.smooth_l1_loss, lambda r: r.normal(size=(5, 3)), lambda r: r.normal(size=(5, 3)), {"beta": 0.7}),
    "HuberLoss": (F.huber_loss, lambda r: r.normal(size=(5, 3)), lambda r: r.normal(size=(5, 3)), {"delta": 0.7}),
}


def test_every_loss_is_in_the_list() -> None:
    assert {name for name in nn.__all__ if name.endswith("Loss")} == {name.split()[0] for name in LOSSES}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss(name: str, reduction: str, dtype: str) -> None:
    function, inputs, targets, *options = LOSSES[name]
    settings = options[0] if options else {}

    def make() -> Any:
        layer = getattr(nn, name.split()[0])(reduction=reduction, **settings)

        def step(x: Any, y: Any) -> Any:
            spelled = bp.Tensor(x, requires_grad=True), bp.Tensor(x, requires_grad=True)
            losses = layer(spelled[0], y), function(spelled[1], y, reduction=reduction, **settings)
            for loss in losses:
                (loss * loss).sum().backward()
            return losses, [x.grad for x in spelled]

        return step, {}

    twins = Twins(make, tolerance(dtype))
    rng = np.random.default_rng(1)
    for _ in range(3):
        y = targets(rng)
        twins.call(inputs(rng).astype(dtype), y if y.dtype.kind == "i" else y.astype(dtype))


# ---- optimizers ------------------------------------------------------------------------------------------------------


class Rprop(Optimizer):
    """A user's own: remembers an array and a number, and has a setting of its own."""

    remembered = {"mean": True, "count": False}

    def __init__(self, params: Any, lr: float, decay: float = 0.5) -> None:
        super().__init__(params, lr=lr, decay=decay)

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        if "mean" not in state:
            state |= {"mean": np.zeros_like(p), "count": np.zeros(())}
        state["count"] += 1.0
        state["mean"] *= group["decay"]
        state["mean"] += (1.0 - group["decay"]) * g
        p -= group["lr"] * np.tanh(state["mean"]) / np.sqrt(state["count"])


OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda params: SGD(params, lr=0.1),
    "momentum": lambda params: SGD(params, lr=0.1, momentum=0.9),
    "dampening": lambda params: SGD(params, lr=0.1, momentum=0.9, dampening=0.3),
    "weight decay": lambda params: SGD(params, lr=0.1, weight_decay=0.01),
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "all of SGD": lambda params: SGD(params, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.01),
    "Adam": Adam,
    "Adam with weight decay": lambda params: Adam(params, lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.01),
    "AdamW": lambda params: AdamW(params, lr=0.01),
    "RMSprop": RMSprop,
    "all of RMSprop": lambda params: RMSprop(params, lr=0.01, weight_decay=0.01, momentum=0.9, centered=True),
    "Adagrad": Adagrad,
    "all of Adagrad": lambda params: Adagrad(params, 0.1, 0.1, 0.01, initial_accumulator_value=0.5),
    "a user's own": lambda params: Rprop(params, lr=0.1),
}


def test_every_optimizer_is_in_the_list() -> None:
    assert set(bp.optim.__all__) - {"Optimizer", "lr_scheduler"} <= {
        type(make([nn.Parameter(1.0)])).__name__ for make in OPTIMIZERS.values()
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_an_optimizer(name: str, dtype: str) -> None:
    def make() -> Any:
        net = of_dtype(dtype, lambda: nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 3)))
        optimizer, loss = OPTIMIZERS[name](net.parameters()), nn.CrossEntropyLoss()

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            cost = loss(net(x), y)
            cost.backward()
            optimizer.step()
            return cost

        return step, {"net": net, "optimizer": optimizer}

    twins = Twins(make, tolerance(dtype))
    rng = np.random.default_rng(1)
    for _ in range(4):
        twins.call(rng.normal(size=(6, 4)).astype(dtype), rng.integers(0, 3, 6))


# ---- order 2 inside a step -------------------------------------------------------------------------------------------


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def gradient_penalty(net: Any, x: Any) -> Any:
    x = bp.Tensor(x, requires_grad=True)
    (g,) = autograd.grad(net(x).sum(), x, create_graph=True)
    return (net(x) ** 2).mean() + ((g * g).sum(1) - 1.0).mean()


def penalty_on_weights(net: Any, x: Any) -> Any:
    loss = (net(x) ** 2).mean()
    gs = autograd.grad(loss, list(net.parameters()), create_graph=True)
    return loss + 0.1 * sum((g * g).sum() for g in gs)


def curvature(net: Any, x: Any) -> Any:
    h = bp.hessian(lambda w: (F.linear(bp.Tensor(x), w) ** 3).mean())(net[0].weight.detach())
    return (net(x) * h.sum().detach()).mean()


def transforms(net: Any, x: Any) -> Any:
    value, slope = bp.value_and_grad(lambda x: (net(x) ** 2).sum())(bp.Tensor(x))
    jacobian = bp.jacobian(lambda x: net(x).reshape(-1))(bp.Tensor(x))
    return (net(x) * value.detach()).mean() + (net(slope.detach()) ** 2).sum() + jacobian.detach().sum() * net(x).sum()


@pytest.mark.parametrize("loss", [gradient_penalty, penalty_on_weights, curvature, transforms])
def test_gradients_of_gradients_inside_a_step(loss: Any) -> None:
    def make() -> Any:
        net = small_net()
        optimizer = SGD(net.parameters(), lr=0.05)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            cost = loss(net, x)
            cost.backward()
            optimizer.step()
            return cost

        return step, {"net": net, "optimizer": optimizer}

    twins = Twins(make)
    rng = np.random.default_rng(1)
    for _ in range(3):
        twins.call(rng.normal(size=(5, 3)))


@pytest.mark.parametrize("transform", [bp.grad, bp.hessian, bp.value_and_grad])
def test_a_transform_itself(transform: Any) -> None:
    function = transform(lambda w: (np.tanh(w @ w[::-1]) + (w**3).sum()) / w[0])
    twins = Twins(lambda: (lambda x: function(bp.Tensor(x, requires_grad=True)), {}))
    for k in (1.0, 2.0, 3.0):
        twins.call(np.array([0.3, -0.4, 0.1]) * k)


def test_backward_with_create_graph_leaves_gradients_that_can_be_differentiated() -> None:
    def make() -> Any:
        w = bp.tensor([0.3, -0.2], requires_grad=True)

        def step(x: Any) -> Any:
            w.grad = None
            ((w * x) ** 3).sum().backward(create_graph=True)
            (second,) = autograd.grad((w.grad * w.grad).sum(), w)
            w.data -= 0.1 * second.data
            w.grad = second
            return second

        return step, {"w": w}

    twins = Twins(make)
    for k in (1.0, 2.0, 3.0):
        twins.call(np.array([1.0, 2.0]) * k)


@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_indices_that_change_from_step_to_step(mode: Any) -> None:
    def make() -> Any:
        w = bp.tensor([[0.3, -0.2, 0.5], [0.1, 0.7, -0.4]], requires_grad=True)

        def step(indices: Any) -> Any:
            w.grad = None
            (np.take(w, indices, axis=1, mode=mode) * np.take_along_axis(w, indices, 1)).sum().backward()
            return w.grad

        return step, {"w": w}

    twins = Twins(make)
    for indices in ([[0, 2], [1, 1]], [[1, -1], [0, 2]]):
        twins.call(np.array(indices))
