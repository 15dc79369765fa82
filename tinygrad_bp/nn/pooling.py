"""The pooling layers: sizes, checked when the layer is made, and one call of a function each.

Arguments, shapes and errors are those of the functions in :mod:`~tinygrad_bp.nn.functional`.
"""

from __future__ import annotations

from typing import ClassVar

from . import functional as F
from .functional.accepted import as_sizes, check_settings
from .functional.pooling import Size, as_output, check_windows
from .module import Calling

__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d"]


class _MaxPool(Calling):
    axes: ClassVar[int]
    settings = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        check_settings(type(self).__name__, ceil_mode=ceil_mode)
        check_windows(type(self).__name__, self.axes, kernel_size, stride, padding, dilation)
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode


class MaxPool1d(_MaxPool):
    """The largest entry of every window: (n, channels, length) gives (n, channels, windows).

    >>> import tinygrad_bp as bp
    >>> MaxPool1d(2)(bp.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]))
    tensor([[3., 5.]])
    """

    axes = 1
    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest entry of every window: (n, channels, height, width) gives (n, channels, rows, columns).

    >>> import tinygrad_bp as bp
    >>> MaxPool2d(2)(bp.zeros(10, 20, 24, 24)).shape
    (10, 20, 12, 12)
    """

    axes = 2
    function = staticmethod(F.max_pool2d)


class _AvgPool(Calling):
    axes: ClassVar[int]
    settings = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        check_settings(type(self).__name__, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
        check_windows(type(self).__name__, self.axes, kernel_size, stride, padding)
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad


class AvgPool1d(_AvgPool):
    """The mean of every window: (n, channels, length) gives (n, channels, windows).

    >>> import tinygrad_bp as bp
    >>> AvgPool1d(2)(bp.tensor([[1.0, 3.0, 2.0, 6.0]]))
    tensor([[2., 4.]])
    """

    axes = 1
    function = staticmethod(F.avg_pool1d)


class AvgPool2d(_AvgPool):
    """The mean of every window: (n, channels, height, width) gives (n, channels, rows, columns).

    >>> import tinygrad_bp as bp
    >>> AvgPool2d(3, 2, padding=1)(bp.zeros(10, 20, 24, 24)).shape
    (10, 20, 12, 12)
    """

    axes = 2
    function = staticmethod(F.avg_pool2d)


class AdaptiveAvgPool1d(Calling):
    """The means of `output_size` windows that cover the axis: (n, channels, length) gives (n, channels, output_size).

    >>> import tinygrad_bp as bp
    >>> AdaptiveAvgPool1d(1)(bp.tensor([[1.0, 3.0, 2.0, 6.0]]))
    tensor([[3.]])
    """

    function = staticmethod(F.adaptive_avg_pool1d)
    settings = ("output_size",)

    def __init__(self, output_size: int) -> None:
        (self.output_size,) = as_sizes("AdaptiveAvgPool1d", "output_size", output_size, 1, 1)


class AdaptiveAvgPool2d(Calling):
    """The means of windows that cover the two axes, `output_size` along each: (n, channels, *output_size).

    >>> import tinygrad_bp as bp
    >>> AdaptiveAvgPool2d(1)(bp.zeros(10, 20, 7, 5)).shape
    (10, 20, 1, 1)
    """

    function = staticmethod(F.adaptive_avg_pool2d)
    settings = ("output_size",)

    def __init__(self, output_size: int | tuple[int | None, ...] | None) -> None:
        as_output("AdaptiveAvgPool2d", output_size, (1, 1))
        self.output_size = output_size
