"""The pooling layers: sizes, checked when the layer is made, and one call of a function each.

Arguments, shapes and errors are those of the functions in :mod:`~tinygrad_bp.nn.functional`.
"""

from __future__ import annotations

from typing import Any

from . import functional as F
from .functional.pooling import Size, check_windows
from .module import Module

__all__ = ["MaxPool1d", "MaxPool2d"]


class MaxPool1d(Module):
    """The largest entry of every window: (n, channels, length) gives (n, channels, windows).

    >>> import tinygrad_bp as bp
    >>> MaxPool1d(2)(bp.tensor([[1.0, 3.0, 2.0, 5.0, 4.0]]))
    tensor([[3., 5.]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        check_windows("MaxPool1d", 1, kernel_size, stride, padding, dilation)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        """The largest entries."""
        return F.max_pool1d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MaxPool2d(Module):
    """The largest entry of every window: (n, channels, height, width) gives (n, channels, rows, columns).

    >>> import tinygrad_bp as bp
    >>> MaxPool2d(2)(bp.zeros(10, 20, 24, 24)).shape
    (10, 20, 12, 12)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        check_windows("MaxPool2d", 2, kernel_size, stride, padding, dilation)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        """The largest entries."""
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
