"""The closed registries, and what is added to them: by register, and from modules of others."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.data.sources import SOURCES
from tinygrad_bp.spec import DATA, LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, import_layers
from tinygrad_bp.training.metrics import METRICS, Metric

REGISTRIES = (LAYERS, LOSSES, OPTIMIZERS, SCHEDULES, DATA, METRICS)


@pytest.fixture(autouse=True)
def as_before():
    """Takes out again what a test registers and imports."""
    kept, modules = [dict(registry) for registry in REGISTRIES], set(sys.modules)
    yield
    for registry, before in zip(REGISTRIES, kept, strict=True):
        registry.clear()
        registry.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]


def test_the_registries_hold_the_public_classes_and_nothing_else():
    modules = {
        name for name in nn.__all__ if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    }
    assert set(LOSSES) == set(nn.losses.__all__)
    assert set(LAYERS) == modules - set(LOSSES) - {"Module"}
    assert {"Sequential", "LSTM", "GRUCell", "MultiheadAttention", "TransformerEncoder", "Unflatten"} <= set(LAYERS)
    assert set(OPTIMIZERS) == set(bp.optim.__all__) - {"Optimizer", "lr_scheduler"}
    assert set(SCHEDULES) == set(bp.optim.lr_scheduler.__all__) - {"LRScheduler", "LambdaLR"}
    assert DATA is SOURCES


# ---- register -----------------------------------------------------------------------------------------------------


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


class Halved(bp.optim.SGD):
    pass


class Level(bp.optim.lr_scheduler.LRScheduler):
    pass


class Huber(nn.HuberLoss):
    pass


class Within(Metric):
    pass


def rows(n: int = 10, *, seed: int):
    return n


def worst(outputs, targets):
    return abs(outputs - targets).max()


def test_what_is_registered_can_be_named():
    for made in (Doubled, Halved, Level, Within):
        assert bp.register(made) is made
    bp.register(Huber, "loss")
    bp.register(rows, kind="data")
    bp.register(worst, kind="metric")
    assert (LAYERS["Doubled"], OPTIMIZERS["Halved"], SCHEDULES["Level"]) == (Doubled, Halved, Level)
    assert (LOSSES["Huber"], DATA["rows"], METRICS["worst"]) == (Huber, rows, worst)
    assert type(METRICS["within"]) is Within
    assert "Huber" not in LAYERS
    model = bp.from_spec({"format": 1, "model": {"layers": [{"type": "Doubled"}]}})
    assert model(3.0) == 6.0
    assert bp.to_spec(model)["model"] == {"layers": [{"type": "Doubled"}]}


def test_the_same_definition_may_come_again():
    def define():
        @bp.register
        class Again(nn.Module):
            pass

        return Again

    first, second = define(), define()  # as a cell of a notebook that is run twice
    assert first is not second
    assert LAYERS["Again"] is second
    bp.register(Within)
    bp.register(Within())


REFUSED = [
    (
        type("Linear", (nn.Linear,), {}),
        None,
        ValueError,
        r"Linear is the name of tinygrad_bp\.nn\.layers\.Linear already\.",
    ),
    (
        type("Accuracy", (Metric,), {}),
        None,
        ValueError,
        r"accuracy is the name of tinygrad_bp\.training\.metrics\.Accuracy",
    ),
    (Doubled, "lay", ValueError, r"kind is 'lay'\. Choose from layer, loss, optimizer, schedule, data, metric\."),
    (
        int,
        None,
        TypeError,
        r"int is no layer, optimizer, schedule or metric\. Pass a class made from Module, Optimizer, ",
    ),
    (Doubled(), None, TypeError, r"Doubled is no layer, optimizer, schedule or metric\."),
    (rows, None, TypeError, r"rows is no layer, optimizer, schedule or metric\. .* or a function and its kind"),
    (worst, "data", TypeError, r"worst is no data\."),
    (rows, "layer", TypeError, r"rows is no layer\."),
    (Halved, "layer", TypeError, r"Halved is no layer\."),
    (Doubled, "data", TypeError, r"Doubled is no data\."),
    (3, None, TypeError, r"int is no layer"),
]


@pytest.mark.parametrize(("made", "kind", "error", "message"), REFUSED)
def test_what_cannot_be_registered(made, kind, error, message):
    before = [dict(registry) for registry in REGISTRIES]
    with pytest.raises(error, match=f"^register: {message}"):
        bp.register(made, kind)
    assert before == list(REGISTRIES)


# ---- import_layers --------------------------------------------------------------------------------------------------

MODULE = """
import tinygrad_bp as bp
from tinygrad_bp import nn
from my_others import Other  # defined elsewhere: not registered

class MyLayer(nn.Module):
    def __init__(self, width: int = 3):
        self.width = width

class _Private(nn.Module):
    pass

@lambda made: bp.register(made, "loss")
class MyLoss(nn.MSELoss):
    pass
"""


@pytest.mark.parametrize("name", ["my_layers", "my_layers.py", "folder/my_layers.py"])
def test_layers_of_a_module(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    file = tmp_path / (name if name.endswith(".py") else f"{name}.py")
    file.write_text(MODULE)
    (tmp_path / "my_others.py").write_text("from tinygrad_bp import nn\nclass Other(nn.Module): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    before, path = set(LAYERS), list(sys.path)
    module = import_layers(name)
    assert set(LAYERS) - before == {"MyLayer"}
    assert LOSSES["MyLoss"] is module.MyLoss
    assert LAYERS["MyLayer"] is module.MyLayer
    assert import_layers(name) is module  # again is no conflict
    assert import_layers(file) is module
    assert bp.from_spec({"format": 1, "model": {"type": "MyLayer", "width": 5}}).width == 5
    assert sys.path == path


BROKEN = {
    "my_syntax.py": ("x = 1\ny = = 2\n", r"my_syntax\.py:2: SyntaxError: invalid syntax"),
    "my_name.py": ("\n\nprint(nothing)\n", r"my_name\.py:3: NameError: name 'nothing' is not defined"),
    "my_call.py": (
        "import tinygrad_bp as bp\ndef f():\n    return bp.nn.Linear(0, 1)\nf()\n",
        r"my_call\.py:3: ValueError: Linear: in_features is 0\. Pass numbers >= 1\.",
    ),
    "my_exit.py": ("import sys\nsys.exit('no\\nmore')\n", r"my_exit\.py:2: SystemExit: no more"),
    "my_import.py": (
        "import nothing_of_this_name\n",
        r"my_import\.py:1: ModuleNotFoundError: No module named 'nothing_of",
    ),
    "my_taken.py": (
        "from tinygrad_bp import nn\nclass ReLU(nn.Module): pass\n",
        r"import my_taken(\.py)?: register: ReLU is the name of tinygrad_bp\.nn\.activations\.ReLU already\. Cho",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("by", ["file", "name"])
def test_errors_in_a_module_are_one_line_with_file_and_line(tmp_path, monkeypatch, name, by):
    monkeypatch.chdir(tmp_path)
    text, message = BROKEN[name]
    (tmp_path / name).write_text(text)
    given = name if by == "file" else name.removesuffix(".py")
    with pytest.raises(ValueError, match=message) as caught:
        import_layers(given)
    assert str(caught.value).startswith(f"import {given}: ")
    assert len(str(caught.value).splitlines()) == 1
    if "taken" not in name:
        assert name.removesuffix(".py") not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_layer.py", r"import my_layer\.py: there is no such file\. Did you mean \"my_layers\.py\"\?"),
        ("my_layer", r"import my_layer: there is no such module\. Did you mean \"my_layers\"\?"),
        ("nothing.of.this", r"import nothing\.of\.this: there is no such module\."),
        ("../my_layers", r"import \.\./my_layers: there is no such module\. Name a module or a \.py file\."),
        ("", r"import : there is no such module\."),
    ],
)
def test_a_module_that_is_not_there(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_layers.py").write_text(MODULE)
    with pytest.raises(FileNotFoundError, match=f"^{message}"):
        import_layers(name)


def test_a_file_with_the_name_of_another_module(tmp_path):
    (tmp_path / "numpy.py").write_text(MODULE)
    with pytest.raises(ValueError, match=r"numpy\.py: there is a module numpy already\. Give the file another name\."):
        import_layers(tmp_path / "numpy.py")
    assert sys.modules["numpy"] is np
