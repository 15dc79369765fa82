"""Pooling, spelled as in PyTorch: windows slide over the last axis (1d) or the last two (2d).

An input is (n, channels, length) or (n, channels, height, width), or one sample without n. Sizes are one integer for
all axes, or a tuple with one for each. `return_indices` and `divisor_override` are not offered.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from .accepted import as_floats, as_input, as_sizes, check_settings

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d"]

Size = int | tuple[int, ...]


def check_windows(
    name: str, axes: int, kernel_size: Size, stride: Size | None, padding: Size = 0, dilation: Size = 1
) -> tuple[tuple[int, ...], ...]:
    """(size, stride, padding, dilation), an entry an axis; what makes no windows is refused."""
    kernel = as_sizes(name, "kernel_size", kernel_size, axes, 1)
    step = kernel if stride is None else as_sizes(name, "stride", stride, axes, 1)
    around = as_sizes(name, "padding", padding, axes, 0)
    for k, p in zip(kernel, around, strict=True):
        if 2 * p > k:
            raise ValueError(f"{name}: padding {p} is more than half of kernel_size {k}. Pass at most {k // 2}.")
    return kernel, step, around, as_sizes(name, "dilation", dilation, axes, 1)


def _images(name: str, axes: int, input: Any) -> Any:
    """An input of floats with the axes that are pooled, channels before them, and maybe samples before these."""
    input = as_input(name, "input", input)
    if input.ndim not in (axes + 1, axes + 2):
        wanted = "(n, channels, length)" if axes == 1 else "(n, channels, height, width)"
        raise ValueError(f"{name}: input has shape {input.shape}. Pass {wanted}, or one sample without n.")
    return as_floats(name, input)


def _max_pool(name: str, axes: int, input: Any, sizes: tuple[Any, ...], ceil_mode: bool) -> Any:
    check_settings(name, ceil_mode=ceil_mode)
    return ops.max_pool(_images(name, axes, input), *check_windows(name, axes, *sizes), bool(ceil_mode))


def max_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Any:
    """The largest entry of every window of the last axis; arguments as :func:`max_pool2d`'s.

    >>> import tinygrad_bp as bp
    >>> max_pool1d(bp.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]), 3, 1)
    tensor([[3., 5., 5.]])
    """
    return _max_pool("max_pool1d", 1, input, (kernel_size, stride, padding, dilation), ceil_mode)


def max_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Any:
    """The largest entry of every window of the last two axes; the first of equals, row by row, gets the gradient.

    Parameters
    ----------
    input
        (n, channels, height, width), or (channels, height, width).
    kernel_size
        Height and width of a window.
    stride
        From one window to the next; by default `kernel_size`.
    padding
        Rows and columns added on every side, which never are the largest; at most half of `kernel_size`.
    dilation
        From one entry of a window to the next.
    ceil_mode
        Whether a window that begins in the input and ends behind it counts.

    Raises
    ------
    ValueError
        A shape without these axes, sizes that make no windows, a window larger than the input.
    TypeError
        Sizes that are no integers, an input that is not of floats.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> max_pool2d(bp.tensor(np.arange(16.0).reshape(1, 4, 4)), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return _max_pool("max_pool2d", 2, input, (kernel_size, stride, padding, dilation), ceil_mode)


def _avg_pool(
    name: str, axes: int, input: Any, sizes: tuple[Any, ...], ceil_mode: bool, count_include_pad: bool
) -> Any:
    check_settings(name, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
    size, stride, padding, _ = check_windows(name, axes, *sizes)
    return ops.avg_pool(_images(name, axes, input), size, stride, padding, bool(ceil_mode), bool(count_include_pad))


def avg_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of every window of the last axis; arguments as :func:`avg_pool2d`'s.

    >>> import tinygrad_bp as bp
    >>> avg_pool1d(bp.tensor([[1.0, 3.0, 2.0, 6.0]]), 2)
    tensor([[2., 4.]])
    """
    return _avg_pool("avg_pool1d", 1, input, (kernel_size, stride, padding), ceil_mode, count_include_pad)


def avg_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of every window of the last two axes; arguments and errors as :func:`max_pool2d`'s, and

    Parameters
    ----------
    count_include_pad
        Whether the rows and columns of zeros that `padding` adds count as entries of a window.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> avg_pool2d(bp.tensor(np.arange(16.0).reshape(1, 4, 4)), 2)
    tensor([[[ 2.5,  4.5],
             [10.5, 12.5]]])
    """
    return _avg_pool("avg_pool2d", 2, input, (kernel_size, stride, padding), ceil_mode, count_include_pad)


def adaptive_avg_pool1d(input: Any, output_size: int) -> Any:
    """The means of `output_size` windows that cover the last axis, as alike in length as they can be.

    >>> import tinygrad_bp as bp
    >>> adaptive_avg_pool1d(bp.tensor([[1.0, 3.0, 2.0, 6.0]]), 1)
    tensor([[3.]])
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: int | tuple[int | None, ...] | None) -> Any:
    """The means of windows that cover the last two axes, `output_size` along each; None leaves an axis as it is.

    Window i of an axis of length n goes from i n / size, rounded down, to (i + 1) n / size, rounded up.

    >>> import tinygrad_bp as bp
    >>> adaptive_avg_pool2d(bp.ones(10, 20, 7, 5), (3, None)).shape
    (10, 20, 3, 5)
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def _adaptive_avg_pool(name: str, axes: int, input: Any, output_size: Any) -> Any:
    input = _images(name, axes, input)
    lengths = input.shape[-axes:]
    if 0 in lengths:
        raise ValueError(f"{name}: input has shape {input.shape}, nothing to average. Pass axes of at least one entry.")
    return ops.adaptive_avg_pool(input, as_output(name, output_size, lengths))


def as_output(name: str, output_size: Any, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """An entry an axis; None is the length of that axis."""
    if len(lengths) > 1 and output_size is None:
        return lengths
    if isinstance(output_size, (tuple, list)) and len(output_size) == len(lengths):
        output_size = tuple(n if size is None else size for n, size in zip(lengths, output_size))
    return as_sizes(name, "output_size", output_size, len(lengths), 1)
