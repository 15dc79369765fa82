"""Inputs on which every row of the table and every layer of ours can be checked, drawn from a seed.

A row is given real numbers, from 0.5 to 2 with random signs, away from kinks and ties, in shapes that broadcast. What
is here is the exceptions, one line each: rows of another domain; rows and layers that need other shapes or arguments.
A row or layer that comes without the line it needs fails a test.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nn, ops
from ..nn import losses, pooling, recurrent
from ..recipe import Op, ParamOp

__all__ = ["OURS", "Draw", "call_of"]

Array = NDArray[Any]
Shape = tuple[int, ...]

_CLASSES = {name: made for name, made in vars(nn).items() if isinstance(made, type) and issubclass(made, nn.Module)}
OURS: dict[str, Any] = {row.name: row for row in ops.TABLE} | _CLASSES
del OURS["Module"]
"""Every row of the table, every layer and every loss, by name."""


class Draw:
    """Numbers from a seed, by the domain a row needs."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def positive(self, *shape: int) -> Array:
        """0.5 to 2."""
        return np.asarray(self.rng.uniform(0.5, 2.0, shape))

    def real(self, *shape: int) -> Array:
        """The same with random signs."""
        signs: Array = self.rng.choice([-1.0, 1.0], shape)
        return self.positive(*shape) * signs

    def unit(self, *shape: int) -> Array:
        """0.2 to 0.8 with random signs."""
        return 0.4 * self.real(*shape)

    def fraction(self, *shape: int) -> Array:
        """0.2 to 0.8."""
        return 0.4 * self.positive(*shape)

    def above_one(self, *shape: int) -> Array:
        """1.5 to 3."""
        return 1.0 + self.positive(*shape)

    def regular(self, *shape: int) -> Array:
        """Matrices with eigenvalues and singular values apart, positive definite by each triangle."""
        matrix: Array = np.eye(shape[-2], shape[-1]) * np.arange(2.0, 2.0 + shape[-1]) + 0.2 * self.real(*shape)
        return matrix

    def flag(self, *shape: int) -> Array:
        """Bools."""
        return self.rng.random(shape) < 0.5

    def labels(self, rows: int, classes: int) -> Array:
        """A class for each row."""
        return self.rng.integers(0, classes, rows)

    def input_of(self, function: Any, k: int, shape: Shape) -> Array:
        """Input k of a row, in its domain; of any other function real numbers."""
        domains = DOMAINS.get(function.name, ()) if isinstance(function, Op) else ()
        return np.asarray(getattr(self, domains[k] if k < len(domains) else "real")(*shape))


# ---- rows ----------------------------------------------------------------------------------------------------------

_DECOMPOSED = ("inv", "solve", "det", "cofactors", "slogdet", "cholesky", "qr", "eigh", "svd", "pinv", "matrix_power")
DOMAINS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["log", "log2", "log10", "sqrt"], ("positive",)),
    **dict.fromkeys(["log1p", "tan", "arcsin", "arccos", "arctanh"], ("unit",)),
    "arccosh": ("above_one",),
    "power": ("positive", "real"),
    **dict.fromkeys(["remainder", "fmod"], ("unit", "above_one")),
    "copysign": ("real", "flag"),
    "heaviside": ("flag", "real"),
    **dict.fromkeys(["gate", "max_pool_take", "max_pool_put"], ("real", "flag")),
    "where": ("flag", "real", "real"),
    **dict.fromkeys(["rnn", "lstm", "gru"], ("unit",) * 5),
    "binary_cross_entropy_with_logits": ("real", "fraction"),
    "binary_cross_entropy": ("fraction", "fraction"),
    **dict.fromkeys(_DECOMPOSED, ("regular",)),
}
BROADCAST: tuple[Shape, ...] = ((2, 3), (3,), (2, 1))
SHAPES: dict[str, tuple[Shape, ...]] = {
    **dict.fromkeys(_DECOMPOSED, ((2, 3, 3),)),
    "solve": ((3, 3), (3, 2)),
    "squeeze": ((2, 1, 3),),
    "broadcast_to": ((3,),),
    "put": ((3,),),
    "concatenate": ((2, 3), (1, 3)),
    "einsum": ((2, 3), (3, 4)),
    "linear": ((5, 3), (4, 3), (4,)),
    "matmul": ((2, 3), (3, 4)),
    "convolve": ((3,), (2,)),
    "attention_weights": ((3, 2), (4, 2), (3, 4)),
    **dict.fromkeys(["quadratic_loss", "mse_loss", "binary_cross_entropy_with_logits"], ((4, 3), (4, 3))),
    "cross_entropy": ((4, 3), (4, 3)),
    "rnn": ((2, 1, 3), (3, 3), (3,), (1, 3)),
    "lstm": ((2, 1, 8), (8, 2), (8,), (1, 2), (1, 2)),
    "gru": ((2, 1, 6), (6, 2), (6,), (1, 2)),
    "conv2d": ((2, 2, 4, 3), (3, 2, 2, 2), (3,)),
    "conv2d_dx": ((2, 3, 3, 2), (3, 2, 2, 2)),
    "conv2d_dw": ((2, 2, 4, 3), (2, 3, 3, 2)),
    **dict.fromkeys(["max_pool", "avg_pool"], ((2, 5, 4),)),
    "layer_norm": ((2, 3), (3,), (3,)),
    "rms_norm": ((2, 3), (3,)),
    "batch_norm": ((4, 3), (3,), (3,)),
    "avg_pool_put": ((2, 2, 2),),
    "max_pool_take": ((2, 5, 4), (2, 5, 4)),
    "max_pool_put": ((2, 2, 2), (2, 5, 4)),
}
_PLAIN = ((1, 1), (0, 0), (1, 1), 1)  # a convolution's stride, padding, dilation, groups
PARAMS: dict[str, tuple[Any, ...]] = {
    "eigh": ("L",),
    "matrix_power": (-2,),
    **dict.fromkeys(["sum", "mean", "var", "cumsum", "prod", "max", "min", "logsumexp", "norm"], (1,)),
    **dict.fromkeys(["cumprod", "nanmean", "nanvar", "nanmax", "nanmin", "median", "nanmedian"], (1,)),
    "permuted": (np.array([[1, 0, 2], [0, 2, 1]]), 1),
    "partition": (1,),
    "quantile": (0.3, 1),
    "cast": (float,),
    "reshape": ((3, 2),),
    "expand_dims": (1,),
    "swapaxes": (0, 1),
    "moveaxis": (0, 1),
    "broadcast_to": ((2, 3),),
    "roll": (1,),
    "pad": (1,),
    "getitem": ([0, 0, 1],),
    "put": ([0, 0, 2], (4,)),
    "concatenate": (0,),
    "einsum": ("ij,jk->ik",),
    "conv2d": _PLAIN,
    "conv2d_dx": ((4, 3), *_PLAIN),
    "conv2d_dw": ((2, 2), *_PLAIN),
    "batch_norm": (None,),
    "avg_pool": ((2, 2), (2, 2), (0, 0)),
    "avg_pool_put": ((2, 5, 4), (2, 2), (2, 2), (0, 0), False, True),
    **dict.fromkeys(["max_pool", "max_pool_take", "max_pool_put"], ((2, 2), (2, 2), (0, 0), (1, 1), False)),
}


# ---- layers --------------------------------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(3, 4),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
    **{name: partial(getattr(nn, name), 3, 2) for name in recurrent.__all__ if not name.endswith("Step")},
    "Conv1d": lambda: nn.Conv1d(2, 3, 2),
    "Conv2d": lambda: nn.Conv2d(2, 3, 2, padding=1),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, 3, 2, stride=2),
    "Dropout": lambda: nn.Dropout(0.5).eval(),
    "Unflatten": lambda: nn.Unflatten(-1, (3, -1)),
    "BatchNorm1d": lambda: nn.BatchNorm1d(3),
    "BatchNorm2d": lambda: nn.BatchNorm2d(2),
    "LayerNorm": lambda: nn.LayerNorm(3),
    "RMSNorm": lambda: nn.RMSNorm(3),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "Embedding": lambda: nn.Embedding(5, 3),
    **{name: partial(getattr(nn, name), 2) for name in pooling.__all__},
    "MultiheadAttention": lambda: nn.MultiheadAttention(2, 2, bias=False),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(3, 1, 2, 0.0, "gelu", bias=False),
    "TransformerEncoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(3, 1, 1, 0.0, "gelu", bias=False), 2
    ),
}
INPUTS: dict[str, Callable[[Draw], tuple[Array, ...]]] = {
    "Flatten": lambda d: (d.real(2, 3, 2),),
    **dict.fromkeys(["RNNCell", "GRUCell"], lambda d: (d.real(2, 3), d.real(2, 2))),
    "Conv1d": lambda d: (d.real(2, 2, 4),),
    **dict.fromkeys(["Conv2d", "ConvTranspose2d"], lambda d: (d.real(2, 2, 2, 3),)),
    "Embedding": lambda d: (d.labels(4, 5),),
    "BatchNorm1d": lambda d: (d.real(4, 3),),
    "BatchNorm2d": lambda d: (d.real(2, 2, 1, 3),),
    "GroupNorm": lambda d: (d.real(2, 4, 2),),
    **dict.fromkeys(["MaxPool1d", "AvgPool1d", "AdaptiveAvgPool1d"], lambda d: (d.real(2, 1, 5),)),
    **dict.fromkeys(["MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"], lambda d: (d.real(2, 1, 4, 3),)),
    "MultiheadAttention": lambda d: (d.real(2, 2, 2), d.real(3, 2, 2), d.real(3, 2, 2)),
    **dict.fromkeys(losses.__all__, lambda d: (d.real(4, 3), d.real(4, 3))),
    **dict.fromkeys(["CrossEntropyLoss", "NLLLoss"], lambda d: (d.real(4, 3), d.labels(4, 3))),
    "BCELoss": lambda d: (d.fraction(4, 3), d.fraction(4, 3)),
    "BCEWithLogitsLoss": lambda d: (d.real(4, 3), d.fraction(4, 3)),
}


def call_of(thing: Any, seed: int) -> tuple[Callable[..., Any], list[Any]]:
    """A row as a function, or a small layer or loss of the class, and arguments for it.

    >>> from tinygrad_bp import ops
    >>> function, (x, w, b) = call_of(ops.linear, 0)
    >>> function(x, w, b).shape
    (5, 4)
    >>> call_of(nn.Linear, 0)[0]
    Linear(in_features=3, out_features=4)
    """
    draw = Draw(seed)
    if not isinstance(thing, Op):
        inputs = INPUTS.get(thing.__name__)
        return MAKERS.get(thing.__name__, thing)(), [*inputs(draw)] if inputs else [draw.real(2, 3)]
    shapes = SHAPES.get(thing.name) or BROADCAST[: thing.arity]
    arrays, params = [draw.input_of(thing, k, shape) for k, shape in enumerate(shapes)], PARAMS.get(thing.name, ())
    variadic = isinstance(thing, ParamOp) and thing.variadic
    if not variadic and not any(isinstance(param, float) for param in params):
        return thing, [*arrays, *params]

    def bound(*inputs: Any) -> Any:
        return thing(inputs, *params) if variadic else thing(*inputs, *params)

    bound.__name__ = thing.name
    return bound, [*arrays]
