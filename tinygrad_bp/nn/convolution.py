"""Convolution layers: Conv1d, Conv2d, ConvTranspose2d, with PyTorch's arguments, parameters and first values.

What they compute is said in :mod:`~tinygrad_bp.nn.functional.convolution`; beyond the edges there are zeros
(`padding_mode` is not offered).
"""

from __future__ import annotations

from typing import Any, Literal

from numpy.typing import DTypeLike

from .functional.accepted import as_sizes
from .functional.convolution import as_output_padding, as_settings, conv1d, conv2d, conv_transpose2d
from .layers import Affine

__all__ = ["Conv1d", "Conv2d", "ConvTranspose2d"]

Size = int | tuple[int] | tuple[int, int]


class _Convolution(Affine):
    """Settings, refused here where no input could make them right, and parameters."""

    _axes = 2
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | Literal["valid", "same"] = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        name = type(self).__name__
        for role, channels in (("groups", groups), ("in_channels", in_channels), ("out_channels", out_channels)):
            as_sizes(name, role, channels, 1, 1)
            if channels % groups:
                raise ValueError(f"{name}: {role}={channels} is no multiple of groups={groups}. Pass a multiple.")
        as_settings(name, self._axes, stride, padding, dilation, groups)
        kernel = as_sizes(name, "kernel_size", kernel_size, self._axes, 1)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        self._begin((first, second // groups, *kernel), out_channels, bias, dtype)


class Conv1d(_Convolution):
    """The correlation of signals (n, in, length) with learned filters; (in, length) is one sample.

    Arguments and attributes are those of :class:`Conv2d`, along one axis.

    >>> import tinygrad_bp as bp
    >>> layer = Conv1d(4, 8, 3, padding="same")
    >>> layer(bp.zeros(10, 4, 50)).shape, layer.weight.shape
    ((10, 8, 50), (8, 4, 3))
    """

    _axes = 1

    def forward(self, input: Any) -> Any:
        """``conv1d(x, weight, bias)``."""
        return conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Convolution):
    """The correlation of images (n, in, height, width) with learned filters; (in, height, width) is one sample.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input; filters, which are the channels of the result.
    kernel_size
        An integer, or (height, width).
    stride, padding, dilation, groups
        As of :func:`~tinygrad_bp.nn.functional.conv2d`.
    bias
        Whether there is a b.
    dtype
        Of the parameters; by default the package's.

    Attributes
    ----------
    weight
        (out, in / groups, kernel height, kernel width). Entries begin uniform in +-1/sqrt(fan_in), where fan_in is the
        product of all but the first of these, as PyTorch's.
    bias
        (out,), begins likewise; or None.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> layer = Conv2d(1, 20, kernel_size=5)
    >>> layer(bp.zeros(10, 1, 28, 28)).shape, layer.weight.shape
    ((10, 20, 24, 24), (20, 1, 5, 5))
    """

    def forward(self, input: Any) -> Any:
        """``conv2d(x, weight, bias)``."""
        return conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """The transpose of a convolution by learned filters, from (n, in, height, width) to images that are larger.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, groups, bias, dilation, dtype
        As of :class:`Conv2d`.
    output_padding
        As of :func:`~tinygrad_bp.nn.functional.conv_transpose2d`.

    Attributes
    ----------
    weight
        (in, out / groups, kernel height, kernel width). Entries begin uniform in +-1/sqrt(product of all but the
        first), as PyTorch's.
    bias
        (out,), begins likewise; or None.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> layer = ConvTranspose2d(40, 20, 4, stride=2, padding=1)
    >>> layer(bp.zeros(10, 40, 7, 7)).shape, layer.weight.shape
    ((10, 20, 14, 14), (40, 20, 4, 4))
    """

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        dtype: DTypeLike | None = None,
    ) -> None:
        as_sizes("ConvTranspose2d", "padding", padding, 2, 0)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype)
        as_output_padding("ConvTranspose2d", output_padding, as_sizes("ConvTranspose2d", "stride", stride, 2, 1))
        self.output_padding = output_padding

    def forward(self, input: Any) -> Any:
        """``conv_transpose2d(x, weight, bias)``."""
        how: Any = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return conv_transpose2d(input, self.weight, self.bias, *how)
