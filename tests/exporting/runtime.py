"""A model, its ONNX and onnxruntime: they agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp.exporting.onnx_file import onnx_model

TOLERANCE = 1e-6


def session(model: Any) -> Any:
    """onnxruntime, ready to run an onnx.ModelProto."""
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra 'bench'")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def flattened(output: Any) -> list[Any]:
    if isinstance(output, (tuple, list)):
        return [y for part in output for y in flattened(part)]
    return [output.data if isinstance(output, bp.Tensor) else np.asarray(output)]


def assert_agrees(model: Any, batches: Sequence[Any], labels: Sequence[str] | None = None) -> None:
    """The runtime's outputs for every batch are those of the model in eval(), in float64, to 1e-6."""
    pytest.importorskip("onnx", reason="needs onnx, of the extra 'onnx'")
    with np.errstate(all="ignore"):
        running = session(onnx_model(model, batches[0]))
        training, _ = model.training, model.eval()
        for x in batches:
            wide = x.astype(np.float64) if x.dtype.kind == "f" else x
            expected = flattened(model(bp.Tensor(wide)))
            found = running.run(None, {"x": x})
            assert len(found) == len(expected)
            for label, y, z in zip(labels or range(len(found)), found, expected, strict=True):
                assert_close(y, z, f"{label}, {len(x)} rows")
        model.train(training)


def assert_close(y: Any, z: Any, label: str) -> None:
    assert y.shape == z.shape, f"{label}: {y.shape} instead of {z.shape}"
    assert y.dtype.kind == z.dtype.kind, f"{label}: {y.dtype} instead of {z.dtype}"
    y, z = y.astype(np.float64), z.astype(np.float64)
    special = ~np.isfinite(z)
    assert np.array_equal(y[special], z[special], equal_nan=True), label
    difference = np.abs(y - z)[~special].max(initial=0.0)
    assert difference <= TOLERANCE * max(1.0, np.abs(z[~special]).max(initial=0.0)), f"{label}: {difference}"
