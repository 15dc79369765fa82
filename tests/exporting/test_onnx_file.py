"""The ONNX file as a whole: its input and outputs, what it keeps, scaling, and what is refused."""

from __future__ import annotations

import doctest
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.exporting.runtime import assert_agrees, assert_close, session
from tinygrad_bp import nn
from tinygrad_bp.exporting import onnx_file
from tinygrad_bp.exporting.onnx_file import onnx_model, write_onnx

oracle = pytest.mark.oracle
X = np.random.default_rng(0).normal(size=(4, 3))


def net() -> Any:
    bp.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2), nn.Softmax())


class Two(nn.Module):
    """Parameters with the names that a file has for its input and outputs, and several outputs."""

    def __init__(self) -> None:
        self.x, self.y, self.y0 = nn.Parameter([1.0]), nn.Parameter([2.0]), nn.Parameter([[3.0]])

    def forward(self, x: Any) -> Any:
        y = x * self.x + self.y
        return y, (y * self.y0, x, y)


def dimensions(info: Any) -> list[Any]:
    return [d.dim_param or d.dim_value for d in info.type.tensor_type.shape.dim]


@oracle
def test_a_file_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    import onnx

    write_onnx(net(), X, tmp_path / "model.onnx", {"classes": '["no", "yes"]'})
    model = onnx.load(tmp_path / "model.onnx")
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 21)]
    assert (model.producer_name, model.producer_version) == ("tinygrad_bp", bp.__version__)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"classes": '["no", "yes"]'}
    (x,), (y,) = model.graph.input, model.graph.output
    assert (x.name, dimensions(x)) == ("x", ["rows", 3])
    assert (y.name, dimensions(y)) == ("y", ["rows", 2])
    assert {x.type.tensor_type.elem_type, y.type.tensor_type.elem_type} == {onnx.TensorProto.FLOAT}
    assert [array.name for array in model.graph.initializer] == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert [(node.name, node.op_type) for node in model.graph.node] == [
        ("0/Gemm", "Gemm"),
        ("1/Relu", "Relu"),
        ("3/Gemm", "Gemm"),
        ("4/Softmax", "Softmax"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@oracle
def test_shapes_that_are_no_plain_number_of_rows() -> None:
    model = onnx_model(nn.Sequential(nn.Flatten(0), lambda x: np.concatenate([x, [1.0]])), X)
    assert dimensions(model.graph.output[0]) == ["3*rows+1"]


@oracle
def test_several_outputs_and_names_that_are_taken() -> None:
    model = onnx_model(Two(), X)
    assert [y.name for y in model.graph.output] == ["y0", "y1", "y2", "y3"]
    assert_agrees(Two(), [X.astype(np.float32)])


class Twice(nn.Module):
    def forward(self, x: Any) -> Any:
        y = x.exp()
        return y, y


@oracle
def test_one_value_as_two_outputs() -> None:
    assert [node.op_type for node in onnx_model(Twice(), X).graph.node] == ["Exp", "Identity"]
    assert_agrees(Twice(), [X.astype(np.float32)])


@oracle
@pytest.mark.parametrize(
    ("model", "x", "nodes"),
    [
        (nn.Flatten(), np.ones((1, 2, 3)), ["Reshape"]),
        (nn.Linear(3, 2), np.ones((1, 2, 3)), ["MatMul", "Add"]),
        (nn.Identity(), X, ["Identity"]),
        (nn.Sequential(nn.Embedding(3, 2), nn.Flatten()), np.ones((1, 2), int), ["Gather", "Reshape"]),
    ],
)
def test_a_file_holds_what_it_needs(model: Any, x: Any, nodes: list[str]) -> None:
    graph = onnx_model(model, x).graph
    assert [node.op_type for node in graph.node] == nodes
    assert_nothing_is_left_over(graph)


@oracle
def test_rows_whose_work_another_node_does_are_not_written() -> None:
    graph = onnx_model(nn.Sequential(nn.GRU(3, 2), nn.EveryStep()), np.ones((1, 2, 3))).graph
    assert "Gemm" not in [node.op_type for node in graph.node]
    assert_nothing_is_left_over(graph)


def assert_nothing_is_left_over(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input if name}
    assert {array.name for array in graph.initializer} == used - {"x"} - {name for n in graph.node for name in n.output}
    assert all(used.intersection(node.output) or node.output[0] == "y" for node in graph.node)


@oracle
def test_rows_of_integers() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2))
    batches = [np.random.default_rng(n).integers(0, 5, (n, 2)) for n in (1, 3, 9)]
    assert_agrees(model, batches)
    assert_agrees(nn.Linear(2, 3), batches)


@oracle
def test_float32_is_what_a_float64_model_becomes() -> None:
    for dtype in (np.float32, np.float64):
        model = nn.Sequential(nn.Linear(3, 4, dtype=dtype), nn.Tanh())
        (y,) = session(onnx_model(model, X.astype(dtype))).run(None, {"x": X.astype(np.float32)})
        assert y.dtype == np.float32
        assert_close(y, model(X.astype(dtype)).data.astype(np.float32), str(dtype))


@oracle
@pytest.mark.parametrize(
    ("mean", "scale"), [([1.0, -2.0, 30.0], [1.0, 3.0, 0.5]), (None, [2.0] * 3), ([2.0] * 3, None)]
)
def test_columns_as_they_were_before_scaling(mean: Any, scale: Any) -> None:
    model = net().eval()
    raw = X * (1.0 if scale is None else scale) + (0.0 if mean is None else mean)
    running = session(onnx_model(model, X, mean=mean, scale=scale))
    (y,) = running.run(None, {"x": raw.astype(np.float32)})
    assert_close(y, model(X).data.astype(np.float32), "scaled")


@oracle
def test_rows_with_axes_are_scaled_entry_by_entry() -> None:
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    running = session(onnx_model(nn.Identity(), x, mean=np.arange(12.0), scale=np.full(12, 2.0)))
    assert np.array_equal(running.run(None, {"x": x})[0], (x - x[0]) / 2.0)


@oracle
def test_integers_are_not_scaled() -> None:
    message = r"^export: x is int64, and only floats are scaled\. Pass rows of floats, or no mean and scale\.$"
    with pytest.raises(TypeError, match=message):
        onnx_model(nn.Linear(2, 2), np.zeros((1, 2), int), mean=[0.0, 0.0])


@oracle
def test_the_model_keeps_its_mode_and_a_refusal_leaves_no_file(tmp_path: Path) -> None:
    model = nn.Sequential(net(), nn.Sequential(lambda x: np.sort(x, -1)))
    (tmp_path / "model.onnx").write_text("older")
    with pytest.raises(ValueError, match=r"^export: 1: 'sort' has no counterpart in ONNX here\. Spell it with other "):
        write_onnx(model, X, tmp_path / "model.onnx")
    assert all(module.training for module in model.modules())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.onnx", "older")]


@oracle
def test_ones_own_row_is_refused_by_its_name() -> None:
    own = bp.primitive("exp", lambda x: x * x, lambda g, y, x: 2.0 * g * x)
    with pytest.raises(ValueError, match=r"^export: 0: 'exp' has no counterpart in ONNX here\."):
        onnx_model(nn.Sequential(nn.Sequential(own)), X)


@oracle
@pytest.mark.parametrize("op_type", ["NoSuchNode", "Trilu"])  # the second is one, but not for vectors
def test_what_the_checker_refuses(monkeypatch: pytest.MonkeyPatch, op_type: str) -> None:
    monkeypatch.setitem(onnx_file.EXPORTERS, "exp", lambda w, value: w.node(op_type, w.of(value.inputs[0])))
    with pytest.raises(
        ValueError, match=r"^export: onnx refuses the file: .+\. Spell the model with other operations\.$"
    ):
        onnx_model(nn.Sequential(nn.Flatten(0), np.exp), X)


@oracle
def test_numbers_that_float32_has_not() -> None:
    mask = np.array([-1e300, -1e300, -1e300])
    assert_agrees(nn.Sequential(lambda x: x * 0.0 + mask, nn.Softmax()), [X.astype(np.float32)])
    (y,) = session(onnx_model(nn.Sequential(lambda x: np.minimum(x, np.inf) + 1e300), X)).run(
        None, {"x": np.zeros((1, 3), np.float32)}
    )
    assert (y == np.finfo(np.float32).max).all()


@oracle
@pytest.mark.parametrize("function", [onnx_model, write_onnx])
def test_examples_of_docstrings(function: Any) -> None:
    text = function.__doc__.replace("# doctest: +SKIP", "")
    example = doctest.DocTestParser().get_doctest(text, vars(onnx_file), function.__name__, None, 0)
    assert len(example.examples) > 2
    assert doctest.DocTestRunner().run(example).failed == 0


def test_without_the_package_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = r"^export: this needs the package onnx\. pip install 'tinygrad_bp\[onnx\]'\.$"
    with pytest.raises(ModuleNotFoundError, match=message):
        onnx_model(net(), X)
