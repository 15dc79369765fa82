"""Convolutions, spelled as in PyTorch: a batch (n, c, size) or one sample (c, size), an integer or one for each axis.

All are rows of :mod:`~tinygrad_bp.ops.convolve`: a convolution along one axis is one over images of height 1, and a
transposed convolution is the derivative of a convolution by its input.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ...ops.convolve import check_bias, conv_size
from .accepted import as_floats, as_input, as_sizes

__all__ = ["conv1d", "conv2d", "conv_transpose2d"]

Size = int | tuple[int, ...]


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """The correlation of signals (n, c, length) with filters (f, c / groups, kernel), as :func:`conv2d` along one axis.

    >>> import tinygrad_bp as bp
    >>> conv1d(bp.tensor([[[1.0, 2.0, 4.0, 8.0]]]), bp.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2., 4.]]])
    """
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    """``y[n, f, p, q] = b[f] + sum of w[f, c, i, j] x[n, c, stride p + dilation i - padding, ...]`` over c, i, j.

    Parameters
    ----------
    input
        x, (n, c, height, width), or (c, height, width).
    weight
        w, (f, c / groups, kernel height, kernel width).
    bias
        b, (f,), or None.
    stride, dilation
        An integer, or (vertical, horizontal).
    padding
        Zeros on each side, likewise; "valid" is 0; "same" with stride 1 gives a result of the size of the input.
    groups
        Of so many parts of the channels each is seen by its part of the filters only.

    Raises
    ------
    TypeError
        Arguments that are not integers.
    ValueError
        Shapes that do not fit, a kernel larger than the padded input, "same" with another stride.

    Notes
    -----
    Weights are taken to be finite: an infinite one times the zeros of the padding is nan. Where Winograd's algorithm
    computes (3 x 3 weights, stride and dilation 1, from 16 channels, filters and 8 samples on), an infinite input gives
    nan where the definition gives infinity, and entries near the largest number may overflow where their sums do not;
    nan itself appears where the definition has it, and nowhere else.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> conv2d(bp.ones(10, 1, 28, 28), bp.ones(20, 1, 5, 5)).shape
    (10, 20, 24, 24)
    """
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The transpose of a convolution: every x[n, c, p, q] adds w[c, f, i, j] times itself to each pixel its window has.

    Parameters
    ----------
    input
        x, (n, c, height, width), or (c, height, width).
    weight
        w, (c, f / groups, kernel height, kernel width): that of the :func:`conv2d` of which this is the transpose.
    bias
        (f,), or None.
    stride, padding, groups, dilation
        As of that convolution.
    output_padding
        Rows and columns more, less than the stride: that convolution maps several sizes to one.

    Raises
    ------
    TypeError
        Arguments that are not integers.
    ValueError
        Shapes that do not fit, a result without pixels, an output_padding that is not less than the stride.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> conv_transpose2d(bp.tensor([[[[1.0, 2.0]]]]), bp.ones(1, 1, 1, 3), stride=(1, 2))
    tensor([[[[1., 1., 3., 2., 2.]]]])
    """
    name = "conv_transpose2d"
    x, w = as_input(name, "input", input), _filters(name, weight)
    padding = as_sizes(name, "padding", padding, 2, 0)
    *how, groups = as_settings(name, 2, stride, padding, dilation, groups)
    more = as_output_padding(name, output_padding, how[0])
    if x.ndim == 3:
        y = conv_transpose2d(x.reshape((1, *x.shape)), w, bias, stride, padding, output_padding, groups, dilation)
        return y.reshape(y.shape[1:])
    if x.ndim != 4 or w.ndim != 4 or x.shape[1] != len(w):
        raise ValueError(
            f"{name}: input {x.shape} and weight {w.shape} do not fit. Pass (n, c, h, w) and (c, f / groups, kh, kw)."
        )
    if len(w) % groups:
        raise ValueError(f"{name}: groups={groups} does not divide {len(w)} channels. Pass a divisor of them.")
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, s, p, d, k, extra in zip(x.shape[2:], *how, w.shape[2:], more)
    )
    if min(size) < 1:
        raise ValueError(f"{name}: the result of input {x.shape} would be of size {size}. Pass less padding.")
    y = ops.conv2d_dx(x, w, size, *how, groups)
    if bias is None:
        return y
    bias = as_input(name, "bias", bias)
    check_bias(name, bias.shape, w.shape, w.shape[1] * groups)
    return ops.add(y, bias.reshape((-1, 1, 1)))


def as_output_padding(name: str, output_padding: Size, stride: tuple[int, ...]) -> tuple[int, ...]:
    """An entry an axis; what is not less than the stride is refused."""
    more = as_sizes(name, "output_padding", output_padding, 2, 0)
    if any(extra >= s for extra, s in zip(more, stride)):
        raise ValueError(f"{name}: output_padding is {more}, stride {stride}. Pass an output_padding less than that.")
    return more


def as_settings(
    name: str, axes: int, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[Any, Any, Any, int]:
    """Stride, padding and dilation with an entry an axis, and the groups; the padding may be a word."""
    stride, dilation = as_sizes(name, "stride", stride, axes, 1), as_sizes(name, "dilation", dilation, axes, 1)
    if not isinstance(padding, str):
        padding = as_sizes(name, "padding", padding, axes, 0)
    elif padding not in ("valid", "same"):
        raise ValueError(f'{name}: padding is {padding!r}. Pass "valid", "same" or numbers.')
    elif padding == "same" and max(stride) > 1:
        raise ValueError(f'{name}: padding="same" needs stride 1, got {stride}. Pass numbers.')
    return stride, padding, dilation, as_sizes(name, "groups", groups, 1, 1)[0]


def _filters(name: str, weight: Any) -> Any:
    weight = as_floats(name, weight, "weight")
    if 0 in weight.shape:
        raise ValueError(f"{name}: weight has shape {weight.shape}. Pass filters of at least one entry.")
    return weight


def _convolution(
    name: str, axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    x, w = as_input(name, "input", input), _filters(name, weight)
    if x.ndim == axes + 1:
        y = _convolution(name, axes, x.reshape((1, *x.shape)), w, bias, stride, padding, dilation, groups)
        return y.reshape(y.shape[1:])
    stride, padding, dilation, groups = as_settings(name, axes, stride, padding, dilation, groups)
    if isinstance(padding, str):
        x, padding = _padded(x, w.shape[2:], padding, dilation)
    if bias is not None:
        bias = as_input(name, "bias", bias)
    if axes == 2:
        return ops.conv2d(x, w, bias, stride, padding, dilation, groups)
    conv_size(name, x.shape, w.shape, stride, padding, dilation, groups)
    if bias is not None:
        check_bias(name, bias.shape, w.shape, len(w))
    x, w = (t.reshape((*t.shape[:2], 1, t.shape[2])) for t in (x, w))
    y = ops.conv2d(x, w, bias, (1, *stride), (0, *padding), (1, *dilation), groups)
    return y.reshape((*y.shape[:2], y.shape[3]))


def _padded(x: Any, kernel: Any, padding: str, dilation: Any) -> tuple[Any, tuple[int, ...]]:
    """The input and the padding of numbers that "valid" or "same" mean; an odd zero is put behind the input."""
    if padding == "valid":
        return x, (0,) * len(kernel)
    total = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if any(n % 2 for n in total):
        x = ops.pad(x, [(0, 0), (0, 0), *((0, n % 2) for n in total)])
    return x, tuple(n // 2 for n in total)
