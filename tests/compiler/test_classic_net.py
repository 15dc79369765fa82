"""The step that is printed for the classic 784-30-10 net is the classic hand-written backpropagation."""

from __future__ import annotations

import re
import runpy

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.differences import close
from tests.reference import nielsen
from tinygrad_bp import nn, optim

SIZES, BATCH, RATE = (784, 30, 10), 10, 3.0


@pytest.fixture(scope="module")
def classic(tmp_path_factory):
    """The hand-written net, and the file that the same net was saved as before its first step."""
    np.random.seed(0)
    hand = nielsen.Network(list(SIZES))
    layers = [part for n, m in zip(SIZES[:-1], SIZES[1:]) for part in (nn.Linear(n, m), nn.Sigmoid())]
    net, loss = nn.Sequential(*layers), nn.QuadraticLoss()
    optimizer = optim.SGD(net.parameters(), lr=RATE)

    @bp.compile
    def step(x, y):
        optimizer.zero_grad()
        cost = loss(net(x), y)
        cost.backward()
        optimizer.step()
        return cost

    x, y = next(mini_batches(1))
    step(x, y)
    by_hand = [array for w, b in zip(hand.weights, hand.biases) for array in (w, b[:, 0])]
    net.load_state_dict(dict(zip(net.state_dict(), by_hand, strict=True)))
    path = tmp_path_factory.mktemp("saved") / "step.py"
    step.save(path)
    return hand, path


def mini_batches(n):
    rng = np.random.default_rng(1)
    for _ in range(n):
        yield rng.random((BATCH, SIZES[0])), np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], BATCH)]


def test_a_hundred_steps_of_the_saved_file_are_those_written_by_hand(classic):
    hand, path = classic
    saved = runpy.run_path(str(path))
    arrays = saved["load"]()
    step = saved["make"](**arrays)
    for x, y in mini_batches(100):
        a = x
        for w, b in zip(hand.weights, hand.biases):
            a = nielsen.sigmoid(a @ w.T + b[:, 0])
        assert close(step(x, y), ((a - y) ** 2).sum() / (2 * BATCH), 1e-12)
        hand.update_mini_batch([(u[:, None], v[:, None]) for u, v in zip(x, y)], RATE)
        for k, (w, b) in enumerate(zip(hand.weights, hand.biases), start=1):
            assert close(arrays[f"W{k}"], w, 1e-12)
            assert close(arrays[f"b{k}"], b[:, 0], 1e-12)


def test_it_names_the_package_in_its_docstring_only(classic):
    _, path = classic
    text = path.read_text()
    docstring = text[: text.index('"""', 3)]
    assert text.count("tinygrad") == docstring.count("tinygrad") == 1
    assert set(re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE)) == {
        "__future__",
        "base64",
        "io",
        "numpy",
        "step",
    }


def test_its_lines_say_which_of_the_four_equations_they_are(classic):
    _, path = classic
    body = path.read_text().partition("def step(x, y):")[2].partition("return loss")[0]
    equations = re.findall(r"# (BP\d.*)\n((?: +[^# ].*\n)+)", body)
    assert [(name, calls.split()) for name, calls in equations if name.startswith("BP4")] == [
        ("BP4: grad_W2 = delta2^T a1", ["delta2_T.dot(a1,", "grad_W2)"]),
        ("BP4: grad_W1 = delta1^T x", ["matmul(delta1_T,", "x,", "grad_W1)"]),
    ]
    assert [name.partition(":")[0] for name, _ in equations] == ["BP1", "BP1", "BP2", "BP4", "BP3", "BP2", "BP4", "BP3"]
