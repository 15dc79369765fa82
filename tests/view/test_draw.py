"""Pictures of graphs: what is in them, where it stands, how it is folded, and what is refused."""

from __future__ import annotations

import builtins
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.view.graph import Arrow, Box, Graph, fold_repeats
from tinygrad_bp.view.layout import layout

X = np.linspace(-1.0, 1.0, 8).reshape(2, 4)
SVG = "{http://www.w3.org/2000/svg}"


class Residual(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return x + np.tanh(self.fc(x))


MODELS = {
    "mlp": (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), X),
    "residual": (nn.Sequential(Residual(), Residual()), X),
    "cnn": (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)),
        np.ones((2, 1, 8, 8)),
    ),
    "lstm": (
        nn.Sequential(nn.LSTM(4, 3, batch_first=True), nn.LastStep(batch_first=True), nn.Linear(3, 2)),
        np.ones((2, 5, 4)),
    ),
    "encoder": (nn.TransformerEncoderLayer(4, 2, 8), np.ones((2, 3, 4))),
    "indices": (nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)), np.array([0, 3])),
}


def described(graph):
    """Every arrow as "from -> to: shape"."""
    titles = [box.title for box in graph.boxes]
    return [f"{titles[a.source]} -> {titles[a.target]}: {a.shape}" for a in graph.arrows]


def test_a_model_is_its_layers_with_their_parameters_and_the_shapes_between():
    graph = bp.draw(*MODELS["mlp"])._graph
    assert described(graph) == [
        "input -> Linear: 2\u00d74",
        "Linear -> ReLU: 2\u00d73",
        "ReLU -> Linear: 2\u00d73",
        "Linear -> output: 2\u00d72",
    ]
    assert [(row.name, row.shape) for row in graph.boxes[1].rows] == [("weight", "3\u00d74"), ("bias", "3")]
    assert [box.note for box in graph.boxes] == ["", "0", "1", "2", ""]


def test_what_goes_around_a_layer_is_an_arrow_around_it():
    assert described(bp.draw(Residual(), X)._graph) == [
        "x -> Linear: 2\u00d74",
        "Linear -> tanh: 2\u00d74",
        "x -> add: 2\u00d74",
        "tanh -> add: 2\u00d74",
        "add -> output: 2\u00d74",
    ]


def test_depth_opens_and_closes_modules():
    model, x = MODELS["mlp"]
    titles = [[box.title for box in bp.draw(model, x, depth=depth)._graph.boxes] for depth in range(3)]
    assert titles[0] == ["input", "Sequential", "output"]
    assert titles[1] == ["input", "Linear", "ReLU", "Linear", "output"]
    assert titles[2] == ["input", "linear", "relu", "linear", "output"]


def test_tensors_are_their_recipes():
    w = bp.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss = ((w @ w.T) * 2.0).sum(axis=0).max()
    assert described(bp.draw(loss)._graph) == [
        "leaf -> transpose: 2\u00d72",
        "leaf -> matmul: 2\u00d72",
        "transpose -> matmul: 2\u00d72",
        "matmul -> multiply: 2\u00d72",
        "multiply -> sum: 2\u00d72",
        "sum -> max: 2",
        "max -> output: scalar",
    ]
    notes = {box.title: box.note for box in bp.draw(loss)._graph.boxes}
    assert (notes["multiply"], notes["sum"]) == ("\u00b7, 2", "axis=0")


def test_a_recorded_gradient_is_drawn_as_what_it_is():
    x = bp.Tensor([1.0, 2.0], requires_grad=True)
    y = np.exp(x).sum()
    (g,) = bp.autograd.grad([y], [x], create_graph=True)
    graph = bp.draw([y, g])._graph
    assert [box.title for box in graph.boxes if box.kind == "output"] == ["output 0", "output 1"]
    assert "exp -> multiply: 2" in described(graph) or "exp -> times: 2" in described(graph)


def test_the_way_back_has_the_vjp_of_every_box_and_the_gradients_of_its_parameters():
    graph = bp.draw(*MODELS["residual"], backward=True)._graph
    forth = bp.draw(*MODELS["residual"])._graph
    back = [arrow for arrow in graph.arrows if arrow.gradient]
    assert len(graph.boxes) == 2 * len(forth.boxes)
    assert {(a.target, a.source, a.shape) for a in back} == {
        (graph.beside[a.source], graph.beside[a.target], a.shape) for a in forth.arrows
    }
    for box, vjp in graph.beside.items():
        names = [row.name for row in graph.boxes[box].rows]
        assert [row.name for row in graph.boxes[vjp].rows] == [f"\u2202{name}" for name in names]


def test_nothing_flows_back_to_indices():
    graph = bp.draw(*MODELS["indices"], backward=True)._graph
    assert [box.title for box in graph.boxes if box.kind == "gradient"] == [
        "Embedding vjp", "Linear vjp", "\u2202C/\u2202output"
    ]  # fmt: skip


def test_big_models_are_folded():
    deep = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(200)))
    graph = bp.draw(deep, X)._graph
    assert [box.title for box in graph.boxes] == ["input", "200 \u00d7 (Linear, Tanh)", "output"]
    assert [(row.name, row.shape) for row in graph.boxes[1].rows] == [("parameters", "4,000")]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 6)
    graph = bp.draw(encoder, np.ones((2, 3, 4)))._graph
    assert [box.title for box in graph.boxes] == ["src", "6 \u00d7 TransformerEncoderLayer", "output"]


def chain(*titles, more=()):
    boxes = [Box("module", title, str(k), numbers=1) for k, title in enumerate(titles)]
    return Graph(boxes, [*(Arrow(k, k + 1, "2") for k in range(len(boxes) - 1)), *more], {})


@pytest.mark.parametrize(
    ("titles", "folded"),
    [
        ("xaaay", ["x", "3 \u00d7 a", "y"]),
        ("xaay", ["x", "a", "a", "y"]),
        ("xabababy", ["x", "3 \u00d7 (a, b)", "y"]),
        ("xababay", ["x", "a", "b", "a", "b", "a", "y"]),
        ("abcdeabcdeabcde", [*"abcdeabcdeabcde"]),
        ("xaaaabbby", ["x", "4 \u00d7 a", "3 \u00d7 b", "y"]),
    ],
)
def test_stages_that_come_three_times_are_one_box(titles, folded):
    found = fold_repeats(chain(*titles))
    assert [box.title for box in found.boxes] == folded
    assert described(found) == [f"{a} -> {b}: 2" for a, b in zip(folded, folded[1:])]


def test_layers_in_lists_and_attention_stay_closed():
    class Listed(nn.Module):
        def __init__(self):
            self.blocks = {"a.b": nn.Linear(2, 2), "\ud800\x00": [nn.Linear(2, 2)]}

        def forward(self, x):
            return self.blocks["\ud800\x00"][0](self.blocks["a.b"](x))

    picture = bp.draw(Listed(), np.ones((3, 2)))
    assert [box.title for box in picture._graph.boxes] == ["x", "Linear", "Linear", "output"]
    assert "\ufffd\ufffd" in picture.svg.encode().decode()
    picture = bp.draw(nn.TransformerEncoderLayer(4, 2, 8), np.ones((3, 1, 4)))
    assert "MultiheadAttention" in [box.title for box in picture._graph.boxes]
    opened = bp.draw(nn.MultiheadAttention(4, 2), *[np.ones((3, 1, 4))] * 3)
    assert "attention" in " ".join(box.title for box in opened._graph.boxes)


def test_labels_are_on_the_page():
    class Around(nn.Module):
        def __init__(self):
            self.inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

        def forward(self, x):
            return x + self.inner(x)

    graph = bp.draw(Around(), np.ones((3, 100, 200, 4)))._graph
    page = layout(graph)
    for arrow, route in zip(graph.arrows, page.routes):
        half = 3.6 * len(arrow.shape)
        assert half < route.label[0] < page.width - half


def test_what_flows_out_of_the_middle_keeps_stages_apart():
    assert len(fold_repeats(chain(*"xaaay", more=[Arrow(2, 4, "2")])).boxes) == 5
    assert len(fold_repeats(chain(*"xaaay", more=[Arrow(0, 3, "2")])).boxes) == 5
    assert len(fold_repeats(chain(*"xaaay", more=[Arrow(3, 4, "2")])).boxes) == 3


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_boxes_do_not_overlap_and_arrows_join_them(name, backward):
    drawing = bp.draw(*MODELS[name], backward=backward)
    graph, found = drawing._graph, layout(drawing._graph)
    for a, b in combinations(found.places, 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart
    for place in found.places:
        assert 0 <= place.x <= place.x + place.width <= found.width
        assert 0 <= place.y <= place.y + place.height <= found.height
    for arrow, route in zip(graph.arrows, found.routes, strict=True):
        for end, place in (
            (route.points[0], found.places[arrow.source]),
            (route.points[-1], found.places[arrow.target]),
        ):
            assert place.x - 1 <= end[0] <= place.x + place.width + 1
            assert place.y - 1 <= end[1] <= place.y + place.height + 1
    root = ET.fromstring(drawing.svg)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {box.title for box in graph.boxes} | {arrow.shape for arrow in graph.arrows} <= set(texts)
    assert drawing.dot.startswith("digraph") and drawing.dot.count(" -> ") == len(graph.arrows)


def test_the_picture_stands_alone_and_is_the_same_every_time():
    model, x = MODELS["mlp"]
    text = bp.draw(model, x).svg
    assert text == bp.draw(model, x).svg == bp.draw(model, x)._repr_svg_()
    assert "prefers-color-scheme: dark" in text and "<script" not in text
    assert text.count("http") == 1  # the name of SVG itself


def test_strange_names_are_only_text():
    class Odd(nn.Module):
        def __init__(self):
            setattr(self, 'a<b>&"c"', nn.Linear(4, 2))

        def forward(self, x):
            return getattr(self, 'a<b>&"c"')(x)

    drawing = bp.draw(Odd(), X)
    texts = ["".join(text.itertext()) for text in ET.fromstring(drawing.svg).iter(f"{SVG}text")]
    assert 'a<b>&"c"' in texts
    assert '\\"c\\"' in drawing.dot


def test_the_model_is_afterwards_as_before():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    bp.manual_seed(3)
    before, then = model.state_dict(), bp.rand(2).tolist()
    bp.manual_seed(3)
    bp.draw(model, X, backward=True).svg  # noqa: B018
    assert bp.rand(2).tolist() == then
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert model.training and all(parameter.grad is None for parameter in model.parameters())


def test_files_by_their_suffix(tmp_path):
    drawing = bp.draw(*MODELS["mlp"])
    for name, text in (("a.svg", drawing.svg), ("a.dot", drawing.dot), ("a.gv", drawing.dot)):
        drawing.save(tmp_path / name)
        assert (tmp_path / name).read_text("utf-8") == text
    with pytest.raises(ValueError, match=r"^draw: cannot write .*a\.png\. Name a \.svg, \.dot or \.gv file\.$"):
        drawing.save(tmp_path / "a.png")
    assert repr(drawing) == "<Drawing of Sequential: 5 boxes, 4 arrows; .svg, .dot, .save(path)>"


def test_without_graphlay_there_is_dot_and_one_line(monkeypatch):
    importing = builtins.__import__

    def without(name, *rest):
        if name == "graphlay":
            raise ModuleNotFoundError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    drawing = bp.draw(*MODELS["mlp"])
    assert drawing.dot and drawing._repr_svg_() is None
    with pytest.raises(ModuleNotFoundError, match=r"^draw: a picture needs graphlay\. pip install"):
        drawing.svg  # noqa: B018


def test_long_loops_are_folded_or_refused():
    x = v = w = bp.Tensor(1.0, requires_grad=True)
    for _ in range(300):
        v, w = np.sin(v) * 2.0, w * 1.01 + x
    assert [box.title for box in bp.draw(v)._graph.boxes] == ["leaf", "300 \u00d7 (sin, multiply)", "output"]
    long = bp.draw(w)
    assert long.dot and long._repr_svg_() is None
    with pytest.raises(ValueError, match=r"^draw: the graph has 602 boxes, a picture at most 300\. Draw a part of it"):
        long.svg  # noqa: B018


def freed():
    y = np.exp(bp.Tensor([1.0], requires_grad=True)).sum()
    y.backward()
    return y


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: bp.draw(np.ones(3)), TypeError, r"^draw: cannot draw a ndarray\. Pass a Tensor"),
        (lambda: bp.draw([]), ValueError, r"^draw: the list of tensors is empty"),
        (lambda: bp.draw(bp.ones(2), depth=1), TypeError, r"^draw: inputs and depth are those of a Module"),
        (lambda: bp.draw(MODELS["mlp"][0]), TypeError, r"^draw: Sequential is not called like this, missing .*'input'"),
        (lambda: bp.draw(*MODELS["mlp"], depth=-1), ValueError, r"^draw: depth is -1\. Pass 0"),
        (lambda: bp.draw(*MODELS["mlp"], depth="2"), ValueError, r"^draw: depth is '2'\. Pass 0"),
        (lambda: bp.draw(freed()), RuntimeError, r"^draw: the graph of '\w+' was freed by backward\(\)"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_drawing_needs_no_more_than_numpy_until_it_is_laid_out():
    code = "import sys, tinygrad_bp as bp; bp.draw(bp.ones(2)).dot; sys.exit('graphlay' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
