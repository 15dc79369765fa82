"""bp.export: what it refuses for files of both kinds, and what it promises of names and columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.exporting.runtime import assert_close, session
from tinygrad_bp import nn

X = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
KINDS = pytest.mark.parametrize("kind", [pytest.param(".onnx", marks=pytest.mark.oracle), ".py"])


class Called(nn.Module):
    """A function of its layer and of x, as a module."""

    def __init__(self, function: Any) -> None:
        self.function, self.layer = function, nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.function(self.layer, x)


class Two(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x + y


def asserting(layer: Any, x: Any) -> Any:
    try:
        assert (layer(x) < 5.0).all()
    except AssertionError:
        return x
    return layer(x)


NEEDS = r"export: line \d+ of \S+ \(.*\) needs the numbers in an array"
NO_TENSOR = r"export: the model returns a (dict|NoneType|float)\. Return a Tensor, or a tuple of them\."
REFUSED: dict[str, tuple[Any, str]] = {
    "if": (lambda layer, x: x if float(abs(x).max()) < 10.0 else layer(x), NEEDS),
    "any": (lambda layer, x: x if (layer(x) > 5.0).any() else layer(x), NEEDS),
    "int": (lambda layer, x: layer(x) + float(int(abs(x).max() // 10)), NEEDS),
    "numpy": (lambda layer, x: x if layer(x).detach().numpy().max() > 5.0 else layer(x), NEEDS),
    "assert": (asserting, NEEDS),
    "dict": (lambda layer, x: {"y": layer(x)}, NO_TENSOR),
    "None": (lambda layer, x: None, NO_TENSOR),
    "number": (lambda layer, x: 3.0, NO_TENSOR),
    "five rows": (lambda layer, x: layer(x).reshape(4, 3, 1), r"export: of [25] rows the model says: reshape: cannot"),
    "a draw": (lambda layer, x: x * np.random.normal(), r"export: Called does other .* and draw no numbers\."),
}


@KINDS
@pytest.mark.parametrize("name", REFUSED)
def test_what_no_file_can_say(name: str, kind: str, tmp_path: Path) -> None:
    function, message = REFUSED[name]
    if (name, kind) == ("a draw", ".onnx"):
        message = r"export: the model: multiply is given .* for 2 rows and .* for 3\. Give it the same for any rows\."
    with pytest.raises((ValueError, TypeError), match=rf"^{message}"):
        bp.export(Called(function), X, tmp_path / f"m{kind}")
    assert not [*tmp_path.iterdir()]


@KINDS
def test_arguments_that_cannot_be(kind: str, tmp_path: Path) -> None:
    path, net = tmp_path / f"m{kind}", nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"^export: the model is a type\. Pass a Module\.$"):
        bp.export(nn.Linear, X, path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^export: Two\.forward, given x: .*'y'\. Wrap it in a Module that"):
        bp.export(Two(), X, path)
    with pytest.raises(TypeError, match=r"^export: x is a tuple of 2 arrays\. Pass one, axis 0 the rows\.$"):
        bp.export(net, (X, X), path)
    for x in (np.zeros((0, 3)), 1.0, np.array(["a"])):
        with pytest.raises(ValueError, match=r"^export: x is \S+ of shape \(.*\)\. Pass at least one row of"):
            bp.export(net, x, path)
    for number in (np.nan, np.inf):
        net.weight.data[1, 1] = number
        with pytest.raises(ValueError, match=r"^export: weight holds nan or inf\. Train the model again"):
            bp.export(net, X, path)
    net.weight.data[1, 1] = 1e300
    if kind == ".onnx":
        with pytest.raises(ValueError, match=r"^export: weight holds 1e\+300, too large for float32\. Train"):
            bp.export(net, X, path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("path", [b"m.py", 3, None])
def test_a_path_is_a_name(path: Any) -> None:
    with pytest.raises(TypeError, match=r"^export: the path is a \w+\. Give the name of a file, \.onnx or \.py\.$"):
        bp.export(nn.Linear(3, 2), X, path)


def test_layers_and_parameters_of_any_name(tmp_path: Path) -> None:
    names = ["gr\u00f6\u00dfe", "a b", "a\nimport os", "q'", "x@W", "file", "\u65e5\u672c", "lambda", ""]
    net = nn.Module()
    for name in names:
        setattr(net, name, nn.Parameter(np.arange(3.0)))
        setattr(net, f"layer {name}", nn.Linear(3, 3))
    net.forward = lambda x: sum(getattr(net, f"layer {name}")(x) * getattr(net, name) for name in names)  # type: ignore[method-assign]
    bp.export(net, X, tmp_path / "m.py")
    known: dict[str, Any] = {"__name__": "model"}
    exec((tmp_path / "m.py").read_text("ascii"), known)
    np.testing.assert_allclose(known["predict"](X), net(X).data, rtol=1e-12)


def test_models_that_speak_to_x_as_to_a_tensor(tmp_path: Path) -> None:
    bp.export(Called(lambda layer, x: x.exp().sigmoid()), X, tmp_path / "m.py")


@pytest.mark.oracle
@pytest.mark.parametrize(("mean", "scale"), [(2008.3, 0.82), (5666666.7, 1e5), (-300.01, 0.5)])
def test_columns_far_from_zero(mean: float, scale: float, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx, of the extra 'onnx'")
    net = nn.Sequential(nn.Linear(1, 4), nn.Tanh())
    raw = (mean + scale * np.random.default_rng(0).normal(size=(50, 1))).astype(np.float32)
    bp.export(net, X[:, :1], tmp_path / "m.onnx", mean=[mean], scale=[scale])
    (y,) = session(onnx.load(tmp_path / "m.onnx")).run(None, {"x": raw})
    assert_close(y, net((raw.astype(float) - mean) / scale).data.astype(np.float32), "scaled")


def test_columns_that_float32_would_lose(tmp_path: Path) -> None:
    message = (
        r"^export: column 'when' is 1\.7e\+09 \+- 1e\+04, where float32 has steps "
        r"of 128\. Subtract 1\.7e\+09 and train again, or use \.py\.$"
    )
    given: dict[str, Any] = {"mean": [0.0, 1.7e9, 1.0], "scale": [1.0, 1e4, 1.0]}
    with pytest.raises(ValueError, match=message):
        bp.export(nn.Linear(3, 2), X, tmp_path / "m.onnx", **given, metadata={"columns": ["a", "when", "b"]})
    with pytest.raises(ValueError, match=r"^export: column 1 is 1"):
        bp.export(nn.Linear(3, 2), X, tmp_path / "m.onnx", **given)
    bp.export(nn.Linear(3, 2), X, tmp_path / "m.py", **given)
