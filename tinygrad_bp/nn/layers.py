"""The layers of a fully connected network, and the one that looks up.

Each calls one row of the table (:mod:`tinygrad_bp.ops`), where the formulas are computed; a layer adds the parameters
and how they begin. Argument names and defaults are PyTorch's. Sequential lives in :mod:`~tinygrad_bp.nn.module`, the
losses in :mod:`~tinygrad_bp.nn.losses`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import ops
from .functional import dropout, embedding, linear
from .functional.accepted import as_dtype, as_input, as_sizes, check_settings
from .functional.layers import check_row
from .init import normal_, uniform_
from .module import Module, Parameter

__all__ = ["Dropout", "Embedding", "Flatten", "Identity", "Linear", "Unflatten"]


class Affine(Module):
    """What has a weight, and maybe a bias."""

    def _begin(self, shape: tuple[int, ...], outputs: int, bias: bool, dtype: DTypeLike | None) -> None:
        """Entries uniform in +-1/sqrt(n), where n numbers are summed for an output."""
        name = type(self).__name__
        check_settings(name, bias=bias)
        dtype = as_dtype(name, dtype)
        self.weight = Parameter(np.zeros(shape, dtype))
        self.bias = Parameter(np.zeros(outputs, dtype)) if bias else None
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))
        for parameter in self.parameters():
            uniform_(parameter, -bound, bound)


class Linear(Affine):
    """``z = x W^T + b``, for every row x.

    Parameters
    ----------
    in_features, out_features
        Entries of a row, and of the result: (..., in) gives (..., out).
    bias
        Whether there is a b.
    dtype
        Of the parameters; by default the package's.

    Attributes
    ----------
    weight
        W, (out, in). Entries begin uniform in +-1/sqrt(in), as PyTorch's.
    bias
        b, (out,), begins likewise; or None.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> layer = Linear(784, 30)
    >>> layer(bp.zeros(10, 784)).shape, layer.weight.shape, layer
    ((10, 30), (30, 784), Linear(in_features=784, out_features=30))
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: DTypeLike | None = None) -> None:
        (self.in_features,) = as_sizes("Linear", "in_features", in_features, 1, 1)
        (self.out_features,) = as_sizes("Linear", "out_features", out_features, 1, 1)
        self._begin((self.out_features, self.in_features), self.out_features, bias, dtype)

    def forward(self, input: Any) -> Any:
        """``x W^T + b``."""
        return linear(input, self.weight, self.bias)


class Flatten(Module):
    """Axes `start_dim` to `end_dim` made one: (n, channels, height, width) to (n, channels * height * width).

    >>> import tinygrad_bp as bp
    >>> Flatten()(bp.zeros(10, 1, 28, 28)).shape
    (10, 784)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        (self.start_dim,) = as_sizes("Flatten", "start_dim", start_dim, 1, -64)
        (self.end_dim,) = as_sizes("Flatten", "end_dim", end_dim, 1, -64)

    def forward(self, input: Any) -> Any:
        """The same entries in the flat shape."""
        input = as_input("Flatten", "input", input)
        shape = input.shape
        axes = range(len(shape))[self.start_dim : (self.end_dim + 1) or None]
        if not axes:
            raise ValueError(
                f"Flatten: input {shape} has no axes from {self.start_dim} to {self.end_dim}. Add a batch axis."
            )
        flat = math.prod(shape[i] for i in axes)
        return ops.reshape(input, (*shape[: axes[0]], flat, *shape[axes[-1] + 1 :]))


class Unflatten(Module):
    """Axis `dim` made several, of the sizes `unflattened_size`, one of which may be -1: what is left.

    >>> import tinygrad_bp as bp
    >>> Unflatten(1, (1, 8, 8))(bp.zeros(10, 64)).shape
    (10, 1, 8, 8)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        (self.dim,) = as_sizes("Unflatten", "dim", dim, 1, -64)
        if not isinstance(unflattened_size, (tuple, list)) or not unflattened_size:
            raise TypeError(f"Unflatten: unflattened_size is {unflattened_size!r}. Pass a tuple of sizes.")
        n = len(unflattened_size)
        self.unflattened_size = as_sizes("Unflatten", "unflattened_size", unflattened_size, n, -1)
        if self.unflattened_size.count(-1) > 1:
            raise ValueError(f"Unflatten: unflattened_size is {unflattened_size}. Pass -1 for one at most.")

    def forward(self, input: Any) -> Any:
        """The same entries in the other shape."""
        input = as_input("Unflatten", "input", input)
        shape, sizes = input.shape, self.unflattened_size
        if not -len(shape) <= self.dim < len(shape):
            raise ValueError(f"Unflatten: input {shape} has no axis {self.dim}. Pass one of its axes as dim.")
        axis = self.dim % len(shape)
        known = math.prod(size for size in sizes if size != -1)
        if shape[axis] % known if -1 in sizes and known else shape[axis] != known or -1 in sizes:
            parts = f"axis {self.dim} of input {shape} does not split into {sizes}"
            raise ValueError(f"Unflatten: {parts}. Pass sizes that do.")
        sizes = tuple(shape[axis] // known if size == -1 else size for size in sizes)
        return ops.reshape(input, (*shape[:axis], *sizes, *shape[axis + 1 :]))


class Identity(Module):
    """``x`` itself.

    >>> Identity()(1.0)
    1.0
    """

    def forward(self, input: Any) -> Any:
        """``x``."""
        return input


class Dropout(Module):
    """In training every entry is 0 with probability `p`, else divided by 1 - p; in evaluation ``x`` itself.

    >>> import tinygrad_bp as bp
    >>> bp.manual_seed(0)
    >>> layer = Dropout(0.5)
    >>> layer(bp.ones(4)), layer.eval()(bp.ones(4))
    (tensor([2., 0., 0., 0.]), tensor([1., 1., 1., 1.]))
    """

    def __init__(self, p: float = 0.5) -> None:
        check_settings("Dropout", p=p)
        self.p = float(p)

    def forward(self, input: Any) -> Any:
        """``x``, thinned out in training."""
        return dropout(input, self.p, self.training)


class Embedding(Module):
    """A learned row for every integer: (...) gives (..., embedding_dim).

    Parameters
    ----------
    num_embeddings, embedding_dim
        How many rows, and the entries of one.
    padding_idx
        A row that begins 0 and receives no gradient, counted from the end if negative; or None.
    dtype
        Of the parameter; by default the package's.

    Attributes
    ----------
    weight
        The rows, (num_embeddings, embedding_dim). Entries begin normal, with mean 0 and variance 1, as PyTorch's.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> Embedding(65, 8)([[3, 64], [0, 3]]).shape
    (2, 2, 8)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: DTypeLike | None = None
    ) -> None:
        (self.num_embeddings,) = as_sizes("Embedding", "num_embeddings", num_embeddings, 1, 1)
        (self.embedding_dim,) = as_sizes("Embedding", "embedding_dim", embedding_dim, 1, 1)
        if padding_idx is not None:
            check_row("Embedding", padding_idx, num_embeddings)
        self.padding_idx = padding_idx
        dtype = as_dtype("Embedding", dtype)
        self.weight = Parameter(np.zeros((num_embeddings, embedding_dim), dtype))
        normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0.0

    def forward(self, input: Any) -> Any:
        """The rows that `input` numbers."""
        return embedding(input, self.weight, self.padding_idx)
