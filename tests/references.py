"""What each row and each function spelled with rows must compute: NumPy's function of that name, or the formula.

A formula is written as a textbook has it, not as the library does. All take the inputs of a sample, then its params by
name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import samples

Function = Callable[..., Any]


def gathered(f: Function) -> Function:
    """A function of one sequence as a function of its entries."""
    return lambda *xs, **params: f(list(xs), **params)


def subscripted(f: Function) -> Function:
    """A function like einsum with its subscripts by name: a string, or lists of numbers, the last for the output."""

    def called(*xs: Any, subscripts: Any, **params: Any) -> Any:
        if isinstance(subscripts, str):
            return f(subscripts, *xs, **params)
        pairs = [part for pair in zip(xs, subscripts) for part in pair]
        return f(*pairs, *subscripts[len(xs) :], **params)

    return called


def one_piece(f: Function) -> Function:
    """One of the arrays that f returns, or its only one."""
    return lambda *xs, piece=..., **params: f(*xs, **params) if piece is ... else f(*xs, **params)[piece]


def end_to_end(f: Function) -> Function:
    """All the arrays that f returns, or its only one, as one vector."""

    def called(*xs: Any, **params: Any) -> Any:
        found = f(*xs, **params)
        return np.concatenate([x.reshape(-1) for x in (found if isinstance(found, tuple) else (found,))])

    return called


def by_name(first: str, is_sequence: bool = False) -> Callable[[Function], Function]:
    """A function with its first argument by name, and its second a sequence of the inputs or the only one."""
    return lambda f: lambda *xs, **params: f(params.pop(first), [*xs] if is_sequence else xs[0], **params)


def in_rows(f: Function) -> Function:
    """A function of nested lists: so many inputs in each row; None for one list."""

    def called(*xs: Any, rows: Any) -> Any:
        queue = iter(xs)
        return f([[next(queue) for _ in range(n)] for n in rows] if rows else [*xs])

    return called


def with_an_end(f: Function) -> Function:
    """A function whose second input, if there is one, is put `at` an end."""
    return lambda x, *end, at=None, **params: f(x, **dict(zip([at], end)), **params)


def weighted(f: Function) -> Function:
    """A function like average with its weights as the second input."""
    return lambda x, weights=None, **params: f(x, weights=weights, **params)


# How a function that does not take its inputs one by one is called.
CALLS = {
    **dict.fromkeys(["concatenate", "stack", "vstack", "hstack", "dstack", "column_stack", "multi_dot"], gathered),
    **dict.fromkeys(["split", "array_split", "vsplit", "hsplit", "dsplit", "unstack"], one_piece),
    **dict.fromkeys(["broadcast_arrays", "meshgrid"], end_to_end),
    "gradient": lambda f: end_to_end(lambda x, *h, at=(), **params: f(x, *h, *at, **params)),
    **dict.fromkeys(["qr", "eigh", "svd", "slogdet"], one_piece),
    **dict.fromkeys(["compress", "extract"], by_name("condition")),
    "choose": by_name("a", True),
    "select": by_name("conditions", True),
    "block": in_rows,
    "insert": lambda f: lambda x, values, obj, axis=None: f(x, obj, values, axis),
    "diff": with_an_end,
    "einsum": subscripted,
    "average": weighted,
}


def reduced(losses: Any, reduction: str, n: int) -> Any:
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / n


def quadratic_loss(a: Any, y: Any, reduction: str = "mean") -> Any:
    return reduced(((a - y) ** 2).reshape(len(a), -1).sum(1) / 2, reduction, len(a))


def bce_with_logits(x: Any, y: Any, reduction: str = "mean") -> Any:
    p, q = 1.0 / (1.0 + np.exp(-x)), 1.0 / (1.0 + np.exp(x))
    return reduced(-y * np.log(p) - (1.0 - y) * np.log(q), reduction, x.size)


def log_softmax(x: Any, axis: int = -1) -> Any:
    return x - np.log(np.sum(np.exp(x), axis, keepdims=True))


def cross_entropy(x: Any, y: Any, reduction: str = "mean") -> Any:
    p = y if y.ndim == x.ndim else np.eye(x.shape[1])[y]
    return reduced(-(p * log_softmax(x)).sum(-1), reduction, len(x))


def put(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    x = np.zeros(shape)
    np.add.at(x, index, g)
    return x


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Every entry of g added to the entry that broadcasting would have copied there."""
    n = int(np.prod(shape))
    source = np.broadcast_to(np.arange(n).reshape(shape), g.shape)
    return np.array([g[source == i].sum() for i in range(n)]).reshape(shape)


FORMULAS: dict[str, Function] = {
    "over": np.divide,
    "times": np.multiply,
    "gate": lambda g, is_open: np.where(is_open, g, 0.0),
    "cast": lambda x, dtype: x.astype(dtype),
    "discrete": lambda x, dtype: x.astype(dtype),
    "astype": lambda x, dtype: x.astype(dtype),
    "clip": lambda x, a_min=None, a_max=None: np.clip(x, a_min, a_max),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "relu": lambda x: (x > 0) * x,
    "leaky_relu": lambda x, negative_slope=0.01: x * np.where(x > 0, 1.0, negative_slope),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(x) - 1.0)),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
    "logsumexp": lambda x, axis=None, keepdims=False: np.log(np.sum(np.exp(x), axis, keepdims=keepdims)),
    "norm": np.linalg.norm,
    "root of squares": lambda x, axis=None, keepdims=False: np.sum(np.abs(x) ** 2, axis, keepdims=keepdims) ** 0.5,
    "reshape": lambda x, shape: x.reshape(shape),
    "getitem": lambda x, index: x[index],
    "put": put,
    "linear": lambda x, w, b: x @ w.T + (0.0 if b is None else b),
    "softmax": lambda x, axis=-1: np.exp(x) / np.sum(np.exp(x), axis, keepdims=True),
    "log_softmax": log_softmax,
    "quadratic_loss": quadratic_loss,
    "mse_loss": lambda a, y, reduction="mean": reduced((a - y) ** 2, reduction, a.size),
    "binary_cross_entropy_with_logits": bce_with_logits,
    "cross_entropy": cross_entropy,
    "copy": np.copy,
    "sum_to": sum_to,
    **samples.FORMULAS,
}


# Rows that share their name with a function that takes more.
NAMES = {"norm": "root of squares", **{name: f"packed {name}" for name in ("qr", "eigh", "svd", "slogdet")}}


def called(name: str, f: Function) -> Function:
    """A function of that name as a function of the inputs of a sample, then its params."""
    return CALLS[name](f) if name in CALLS else f


def of(name: str) -> Function:
    """The reference of a name."""
    return called(name, FORMULAS[name] if name in FORMULAS else getattr(np, name))
