"""The page as a file: all of it inside, its numbers those of the step, names that are markup shown as text."""

from __future__ import annotations

import base64
import dataclasses
import json
import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp.view.explain import explain
from tinygrad_bp.view.page import page
from tinygrad_bp.view.step import Finding, Step

nn = bp.nn


def a_step(*layers, x=(4, 2), y=None, loss=None, **changes):
    bp.manual_seed(0)
    x = np.random.default_rng(0).normal(size=x) if isinstance(x, tuple) else x
    model = nn.Sequential(*layers)
    y = np.zeros(model(x).shape) if y is None else y
    step = explain(model, loss or nn.QuadraticLoss(), x, y)
    return Step(**vars(step) | {"graph": ""} | changes)


def content(text):
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', text)[1])


def numbers(content, place):
    cells = content["cells"][place]
    raw = base64.b64decode(cells["base64"])
    if cells["kind"] == "f":
        return np.frombuffer(raw, "<f8")
    levels = np.frombuffer(raw, np.uint8).astype(float)
    values = (levels - 128) / 126 * cells["scale"]
    return np.where(levels == 0, np.nan, np.where(levels == 255, np.inf, np.where(levels == 1, -np.inf, values)))


def test_a_small_step_is_there_with_every_digit_and_asks_for_nothing():
    step = a_step(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1))
    text = page([("now", step)])
    assert "http" not in text.replace("http-equiv", "") and "src=" not in text and "@import" not in text
    assert text.isascii() and "{{" not in text
    found = content(text)
    shown = found["steps"][0]["layers"]
    for layer, pictured in zip(step.layers, shown, strict=True):
        for name in ("before", "z", "a", "delta"):
            np.testing.assert_array_equal(numbers(found, pictured[name]["cells"]), getattr(layer, name).ravel())
        for name, value in layer.gradients.items():
            place = pictured["parameters"][name]["gradient"]["cells"]
            np.testing.assert_array_equal(numbers(found, place), value.ravel())


def test_the_equations_come_to_the_numbers_beside_them():
    step = a_step(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.Tanh())
    found = content(page([("now", step)]))
    for layer, shown in zip(step.layers, found["steps"][0]["layers"], strict=True):
        unit = {name: numbers(found, place) for name, place in shown["units"].items() if name not in _COUNTS}
        row = shown["units"]["row"]
        np.testing.assert_allclose(unit["back"] * unit["slope"], layer.delta[row], rtol=1e-12)
        np.testing.assert_allclose(unit["dbias"], layer.delta.sum(0), rtol=1e-12)
        j, k = np.arange(len(unit["i"])), unit["i"].astype(int)
        np.testing.assert_allclose(unit["dweight"], (layer.delta.T @ layer.before)[j, k], rtol=1e-12)
        np.testing.assert_array_equal(unit["weight"], layer.parameters["weight"][j, k])
    np.testing.assert_allclose((unit["said"] - unit["wanted"]) * unit["factor"], unit["back"], rtol=1e-12)


_COUNTS = {"row", "rows", "of", "count"}


def test_where_the_numbers_do_not_come_to_the_gradients_nothing_is_written_out():
    step = a_step(nn.Linear(2, 3))
    (layer,) = step.layers
    wrong = dataclasses.replace(layer, gradients=layer.gradients | {"weight": layer.gradients["weight"] + 1.0})
    shown = content(page([("now", dataclasses.replace(step, layers=[wrong]))]))["steps"][0]["layers"]
    assert shown[0]["units"] is None
    assert content(page([("now", step)]))["steps"][0]["layers"][0]["units"] is not None


@pytest.mark.parametrize(
    ("layers", "x"),
    [
        ([nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)], (5, 1, 8, 8)),
        ([nn.Conv1d(2, 4, 3), nn.ReLU()], (5, 2, 8)),
        ([nn.LayerNorm(4), nn.Linear(4, 3)], (5, 6, 4)),
        ([nn.Linear(64, 3), nn.ReLU()], (1, 64)),
    ],
    ids=["images", "signals", "sequences", "one-row"],
)
def test_arrays_of_every_rank_are_pictures_of_all_their_entries(layers, x):
    step = a_step(*layers, x=x)
    found = content(page([("now", step)]))
    for layer, shown in zip(step.layers, found["steps"][0]["layers"], strict=True):
        for name in ("before", "z", "a", "delta"):
            array, picture = getattr(layer, name), shown[name]
            assert np.prod(picture["stack"]) == array.size and picture["block"] == [1, 1]
            got = numbers(found, picture["cells"])
            step_of_levels = np.abs(array).max() / 252 + 1e-12
            np.testing.assert_allclose(got, array.ravel()[: got.size], atol=step_of_levels, rtol=0)


def test_nan_and_infinity_stay_themselves_small_and_large():
    small, large = np.array([[1.0, np.nan, np.inf, -np.inf]]), np.ones((30, 30))
    large[0, :3] = np.nan, np.inf, -np.inf
    step = a_step(nn.Linear(2, 1), x=np.ones((1, 2)), y=np.ones((1, 1)))
    step = dataclasses.replace(step, x=small, output=large, loss=float("nan"))
    found = content(page([("now", step)]))
    first = found["steps"][0]
    assert first["loss"] == "NaN" and first["x"]["bad"] == 3 and first["output"]["bad"] == 3
    np.testing.assert_array_equal(numbers(found, first["x"]["cells"]), small.ravel())
    np.testing.assert_array_equal(numbers(found, first["output"]["cells"])[:4], [np.nan, np.inf, -np.inf, 1.0])


def test_empty_arrays_are_pictures_of_nothing():
    step = a_step(nn.Linear(2, 1), x=np.ones((1, 2)), y=np.ones((1, 1)))
    (layer,) = step.layers
    step = dataclasses.replace(step, layers=[dataclasses.replace(layer, before=np.empty(0))])
    (shown,) = content(page([("now", step)]))["steps"][0]["layers"]
    assert shown["before"]["cut"][0] == 0


def test_names_and_titles_that_are_markup_are_text():
    bad = "</script><script>alert(1)</script>"
    step = a_step(nn.Linear(2, 1), model=bad, findings=[Finding(bad, bad, bad)])
    text = page([(bad, step)], title=bad)
    assert bad not in text and "<script>alert" not in text
    assert content(text)["steps"][0]["findings"][0]["text"] == bad
    assert "&lt;/script&gt;" in text
    assert page([("now", a_step(nn.Linear(2, 1)))], title="{{data}}").count("{{data}}") == 2


def test_a_large_net_over_twelve_steps_is_under_5_mb_and_says_what_is_left_out():
    rng = np.random.default_rng(0)
    x = rng.random((128, 784))
    step = a_step(
        nn.Linear(784, 100),
        nn.Sigmoid(),
        nn.Linear(100, 10),
        x=x,
        y=rng.integers(0, 10, 128),
        loss=nn.CrossEntropyLoss(),
    )
    steps = []
    for epoch in range(12):
        layers = [
            dataclasses.replace(
                layer,
                parameters={k: v + epoch for k, v in layer.parameters.items()},
                gradients={k: v * rng.normal(size=v.shape) for k, v in layer.gradients.items()},
                delta=layer.delta + epoch,
            )
            for layer in step.layers
        ]
        steps.append((f"epoch {epoch}", dataclasses.replace(step, layers=layers)))
    text = page(steps)
    assert len(text) < 5_000_000
    weight = content(text)["steps"][0]["layers"][0]["parameters"]["weight"]["value"]
    assert weight["stack"] == [100, 28, 28] and weight["cut"] == [100, 28, 28]
    assert content(text)["steps"][0]["x"]["cut"][0] < 128


def test_a_block_is_its_entry_of_greatest_magnitude():
    large = np.random.default_rng(0).normal(size=(400, 300))
    large[7, 9] = -50.0
    step = dataclasses.replace(a_step(nn.Linear(2, 1)), output=large)
    found = content(page([("now", step)]))
    picture = found["steps"][0]["output"]
    assert picture["block"] == [2, 2] and picture["cut"] == [1, 200, 150]
    assert numbers(found, picture["cells"]).reshape(200, 150)[3, 4] == pytest.approx(-50.0)


def test_the_history_becomes_curves_and_a_label_says_where_they_are_marked():
    history = [{"epoch": 1, "loss": 0.5, "val_loss": 0.6, "lr": 0.1}, {"epoch": 2, "loss": float("nan")}]
    step = a_step(nn.Linear(2, 1))
    found = content(page([("epoch 0", step), ("epoch 2", step), ("now", step)], history))
    assert found["curves"] == [{"name": "loss", "training": [0.5, "NaN"], "validation": [0.6, None], "epochs": [1, 2]}]
    assert [each["epoch"] for each in found["steps"]] == [0, 2, None]


def test_no_steps():
    with pytest.raises(ValueError, match=r"page: there are no steps\. Pass at least one"):
        page([])
