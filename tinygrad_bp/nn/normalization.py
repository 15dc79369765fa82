"""The layers that normalise: weights that begin 1, biases that begin 0, and one call of a function each.

Names, arguments and state are PyTorch's. Formulas, shapes and errors are written at the functions in
:mod:`~tinygrad_bp.nn.functional`. What BatchNorm remembers of the batches are buffers, written in place in training.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from ..recipe import wrote
from ..tensor import Tensor
from . import functional as F
from .functional.accepted import as_dtype, as_input, as_sizes, check_settings
from .functional.normalization import Shape, as_shape
from .module import Module, Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm", "RMSNorm"]


def _learned(shape: Shape, begin: float, wanted: bool, dtype: np.dtype[Any]) -> Parameter | None:
    return Parameter(np.full(shape, begin, dtype)) if wanted else None


class _BatchNorm(Module):
    axes: ClassVar[tuple[int, ...]]
    shapes: ClassVar[str]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        name = type(self).__name__
        check_settings(name, eps=eps, affine=affine, track_running_stats=track_running_stats)
        check_settings(name, **{} if momentum is None else {"momentum": momentum})
        (self.num_features,), dtype = as_sizes(name, "num_features", num_features, 1, 1), as_dtype(name, dtype)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = _learned(self.num_features, 1.0, affine, dtype)
        self.bias = _learned(self.num_features, 0.0, affine, dtype)
        self.running_mean = Tensor(np.zeros(self.num_features, dtype)) if track_running_stats else None
        self.running_var = Tensor(np.ones(self.num_features, dtype)) if track_running_stats else None
        self.num_batches_tracked = Tensor(np.array(0)) if track_running_stats else None

    def forward(self, input: Any) -> Any:
        """The input, every channel normalised."""
        name = type(self).__name__
        input = as_input(name, "input", input)
        if input.ndim not in self.axes or input.shape[1] != self.num_features:
            expected = self.shapes.format(self.num_features)
            raise ValueError(f"{name}: input has shape {input.shape}. Pass {expected}.")
        momentum: Any = self.momentum
        tracked = self.num_batches_tracked if self.training else None
        if tracked is not None and momentum is None:
            momentum = 1.0 / (tracked.data + 1)
        statistics = self.running_mean, self.running_var
        training = self.training or self.running_mean is None
        y = F.batch_norm(input, *statistics, self.weight, self.bias, training, momentum, self.eps)
        if tracked is not None:
            tracked.data[...] = tracked.data + 1
            wrote(tracked)
        return y


class BatchNorm1d(_BatchNorm):
    """Every channel of (n, channels) or (n, channels, length) with mean 0 and variance 1, times weight, plus bias.

    Parameters
    ----------
    num_features
        The channels.
    eps
        What is added to the variance.
    momentum
        How far the running statistics move towards those of a batch; None makes them the mean over all batches.
    affine
        Whether there are a weight and a bias.
    track_running_stats
        Whether there are running statistics, which evaluation uses; without, it uses those of its batch.
    dtype
        Of the parameters and statistics; by default the package's.

    Attributes
    ----------
    weight, bias
        (channels,), begin 1 and 0; or None.
    running_mean, running_var, num_batches_tracked
        The running statistics, begin 0 and 1, and how many batches they have seen; or None.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> layer = BatchNorm1d(2)
    >>> layer(bp.tensor([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-0.9999950000374997, 0.0], [0.9999950000374997, 0.0]]
    >>> layer.running_mean, layer.num_batches_tracked
    (tensor([0.2, 0.5]), tensor(1))
    """

    axes = (2, 3)
    shapes = "(n, {0}) or (n, {0}, length)"


class BatchNorm2d(_BatchNorm):
    """Every channel of (n, channels, height, width) with mean 0 and variance 1, times weight, plus bias.

    Parameters and attributes are :class:`BatchNorm1d`'s.

    >>> import tinygrad_bp as bp
    >>> layer = BatchNorm2d(20)
    >>> layer(bp.randn(10, 20, 12, 12)).shape, layer.num_batches_tracked
    ((10, 20, 12, 12), tensor(1))
    """

    axes = (4,)
    shapes = "(n, {0}, height, width)"


class LayerNorm(Module):
    """The last axes of every sample with mean 0 and variance 1, times weight, plus bias.

    Parameters
    ----------
    normalized_shape
        The shape of these axes.
    eps
        What is added to the variance.
    elementwise_affine, bias
        Whether there is a weight; and whether there is a bias with it.
    dtype
        Of the parameters; by default the package's.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> LayerNorm(2)(bp.tensor([[1.0, 3.0], [0.0, 1000.0]])).detach()
    tensor([[-0.999995,  0.999995],
            [-1.      ,  1.      ]])
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        check_settings("LayerNorm", eps=eps, elementwise_affine=elementwise_affine, bias=bias)
        shape, dtype = as_shape("LayerNorm", normalized_shape), as_dtype("LayerNorm", dtype)
        self.normalized_shape = normalized_shape if isinstance(normalized_shape, int) else shape
        self.elementwise_affine = elementwise_affine
        self.eps = eps
        self.weight = _learned(shape, 1.0, elementwise_affine, dtype)
        self.bias = _learned(shape, 0.0, elementwise_affine and bias, dtype)

    def forward(self, input: Any) -> Any:
        """The input, every sample normalised."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """The last axes of every sample divided by the root of the mean of their squares, times weight.

    Parameters are :class:`LayerNorm`'s; `eps` is by default the distance from 1 to the next number of the dtype.

    >>> import tinygrad_bp as bp
    >>> RMSNorm(2)(bp.tensor([[3.0, -3.0], [0.0, 5.0]])).detach()
    tensor([[ 1.        , -1.        ],
            [ 0.        ,  1.41421356]])
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        check_settings("RMSNorm", eps=0.0 if eps is None else eps, elementwise_affine=elementwise_affine)
        shape, dtype = as_shape("RMSNorm", normalized_shape), as_dtype("RMSNorm", dtype)
        self.normalized_shape = normalized_shape if isinstance(normalized_shape, int) else shape
        self.elementwise_affine = elementwise_affine
        self.eps = eps
        self.weight = _learned(shape, 1.0, elementwise_affine, dtype)

    def forward(self, input: Any) -> Any:
        """The input, every sample scaled."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """Groups of channels of every sample, (n, channels, ...), with mean 0 and variance 1, times weight, plus bias.

    Parameters
    ----------
    num_groups, num_channels
        How many groups, a divisor of the channels, and how many channels.
    eps
        What is added to the variance.
    affine
        Whether there are a weight and a bias, (channels,).
    dtype
        Of the parameters; by default the package's.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> GroupNorm(4, 20)(bp.randn(10, 20, 12, 12)).shape
    (10, 20, 12, 12)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: DTypeLike | None = None
    ) -> None:
        check_settings("GroupNorm", eps=eps, affine=affine)
        dtype = as_dtype("GroupNorm", dtype)
        (self.num_groups,) = as_sizes("GroupNorm", "num_groups", num_groups, 1, 1)
        (self.num_channels,) = as_sizes("GroupNorm", "num_channels", num_channels, 1, 1)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: {num_channels} channels make no {num_groups} equal groups. Pass a divisor as num_groups."
            )
        self.eps = eps
        self.affine = affine
        self.weight = _learned(num_channels, 1.0, affine, dtype)
        self.bias = _learned(num_channels, 0.0, affine, dtype)

    def forward(self, input: Any) -> Any:
        """The input, every group normalised."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
