"""Normalisations, spelled as in PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...ops.normalize import channel_moments
from ...recipe import Node, wrote
from .accepted import as_floats, as_input, as_sizes, check_settings, raw

__all__ = ["batch_norm", "group_norm", "layer_norm", "rms_norm"]

Shape = int | tuple[int, ...]


def layer_norm(input: Any, normalized_shape: Shape, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, mean and variance over the last axes of each sample.

    Parameters
    ----------
    normalized_shape
        The shape of these axes, and of `weight` and `bias`.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> layer_norm(bp.tensor([[1.0, 3.0], [9.0, 5.0]]), 2, eps=0.0)
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """
    check_settings("layer_norm", eps=eps)
    input, shape = _trailing("layer_norm", input, normalized_shape)
    weight, bias = _of_shape("layer_norm", shape, weight=weight, bias=bias)
    return ops.layer_norm(input, weight, bias, len(shape), eps)


def rms_norm(input: Any, normalized_shape: Shape, weight: Any = None, eps: float | None = None) -> Any:
    """``x / sqrt(mean(x^2) + eps) * weight``, the mean over the last axes of each sample, of shape `normalized_shape`.

    `eps` is by default the distance from 1 to the next number of the dtype.

    >>> import tinygrad_bp as bp
    >>> rms_norm(bp.tensor([[3.0, -3.0], [0.0, 0.0]]), 2)
    tensor([[ 1., -1.],
            [ 0.,  0.]])
    """
    input, shape = _trailing("rms_norm", input, normalized_shape)
    (weight,) = _of_shape("rms_norm", shape, weight=weight)
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    check_settings("rms_norm", eps=eps)
    return ops.rms_norm(input, weight, len(shape), eps)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, mean and variance over groups of channels of each sample.

    `input` is (n, channels, ...), `weight` and `bias` have an entry a channel; `num_groups` divides the channels.

    >>> import tinygrad_bp as bp
    >>> group_norm(bp.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    tensor([[-0.999995  ,  0.999995  , -0.99999995,  0.99999995]])
    """
    check_settings("group_norm", eps=eps)
    input = as_floats("group_norm", input)
    (groups,) = as_sizes("group_norm", "num_groups", num_groups, 1, 1)
    if input.ndim < 2 or 0 in input.shape[1:]:
        raise ValueError(f"group_norm: input has shape {input.shape}. Pass (n, channels, ...), with at least one each.")
    channels = input.shape[1]
    if channels % groups:
        raise ValueError(
            f"group_norm: {channels} channels make no {groups} equal groups. Pass a divisor as num_groups."
        )
    weight, bias = _of_shape("group_norm", (channels,), weight=weight, bias=bias)
    return ops.group_norm(input, weight, bias, groups, eps)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, mean and variance of each channel of (n, channels, ...).

    Parameters
    ----------
    running_mean, running_var
        (channels,), or None. In training mean and variance are those of the batch, and these are moved towards them in
        place: ``running += momentum (batch - running)``, with the variance over one entry less. Else these are used.
    weight, bias
        (channels,), or None.

    Raises
    ------
    ValueError
        In training, channels of a single entry; without training, no running statistics.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> mean, var = bp.zeros(1), bp.ones(1)
    >>> batch_norm(bp.tensor([[1.0], [3.0]]), mean, var, training=True), mean, var
    (tensor([[-0.999995],
            [ 0.999995]]), tensor([0.2]), tensor([1.1]))
    """
    check_settings("batch_norm", training=training, eps=eps)
    input = as_floats("batch_norm", input)
    if input.ndim < 2:
        raise ValueError(f"batch_norm: input has shape {input.shape}. Pass (n, channels, ...).")
    channels, kept = input.shape[1], {"running_mean": running_mean, "running_var": running_var}
    weight, bias, running_mean, running_var = _of_shape("batch_norm", (channels,), weight=weight, bias=bias, **kept)
    if not training:
        return _with(input, running_mean, running_var, weight, bias, eps)
    entries = input.shape[0] * math.prod(input.shape[2:])
    if entries < 2:
        raise ValueError(
            f"batch_norm: input {input.shape} has {entries} entries a channel, which have no variance. "
            "Pass more samples, or call eval()."
        )
    if running_mean is None or running_var is None:
        return ops.batch_norm(input, weight, bias, None, eps)
    for role, x in kept.items():
        _check_written(role, x)
    moments, mean, var = channel_moments(raw(input)), raw(running_mean), raw(running_var)
    mean += momentum * (moments[0] - mean)
    var += momentum * (moments[1] * (entries / (entries - 1)) - var)
    wrote(*(statistic for statistic in (running_mean, running_var) if isinstance(statistic, Node)))
    return ops.batch_norm(input, weight, bias, moments, eps)


def _check_written(role: str, x: Any) -> None:
    """Refuse what no running statistics can be written into."""
    if isinstance(x, (list, tuple)) or x.dtype.kind != "f" or (type(x) is np.ndarray and not x.flags.writeable):
        raise TypeError(f"batch_norm: {role} is written in training. Pass a Tensor or a writable array of floats.")


def _with(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """X normalised with a mean and a variance that are given."""
    if mean is None or var is None:
        raise ValueError(
            "batch_norm: there are no running statistics. Pass running_mean and running_var, or training=True."
        )
    channel = (-1,) + (1,) * (x.ndim - 2)
    scale = ops.power(ops.add(var, eps), -0.5)
    scale = scale if weight is None else ops.multiply(scale, weight)
    y = ops.multiply(ops.subtract(x, ops.reshape(mean, channel)), ops.reshape(scale, channel))
    return y if bias is None else ops.add(y, ops.reshape(bias, channel))


def _trailing(name: str, input: Any, normalized_shape: Shape) -> tuple[Any, tuple[int, ...]]:
    """An input of floats, and `normalized_shape` as a tuple; refused where the input does not end so."""
    input, shape = as_floats(name, input), as_shape(name, normalized_shape)
    if tuple(input.shape[-len(shape) :]) != shape:
        raise ValueError(f"{name}: input {input.shape} does not end in normalized_shape {shape}. Make them fit.")
    return input, shape


def as_shape(name: str, normalized_shape: Shape) -> tuple[int, ...]:
    """One or more lengths from 1 on, as a tuple."""
    axes = len(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else 1
    return as_sizes(name, "normalized_shape", normalized_shape, max(axes, 1), 1)


def _of_shape(name: str, shape: tuple[int, ...], **given: Any) -> list[Any]:
    """What is given and not None, refused where it has another shape."""
    found = {role: x if x is None else as_input(name, role, x) for role, x in given.items()}
    for role, x in found.items():
        if x is not None and x.shape != shape:
            raise ValueError(f"{name}: {role} has shape {x.shape}. Pass one of shape {shape}.")
    return list(found.values())
