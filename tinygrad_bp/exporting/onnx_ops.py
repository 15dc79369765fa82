"""The rows of the table as ONNX nodes: arithmetic, activations, products, reductions, shapes and indices.

Each exporter is one line or a few of the :class:`~tinygrad_bp.exporting.onnx_writer.Writer`; `EXPORTERS` says which row
has which. The rows of layers that ONNX has a node of its own for are in `onnx_layers`.
"""

from __future__ import annotations

from .onnx_writer import Exporter

__all__ = ["EXPORTERS"]

EXPORTERS: dict[str, Exporter] = {}
