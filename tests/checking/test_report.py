"""What a report says and keeps: short text, plain JSON, the worst entries, and Python that makes the check again."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.checking import Report, Verdict
from tinygrad_bp.checking.cases import load_case

X = np.array([0.5, -1.0, 2.0])


def forward(x, w):
    return np.tanh(x * w)


def backward(x, w, upstream):
    g = upstream * (1 - np.tanh(x * w) ** 2)
    return g * w, -g * x


WRONG = bp.check_backprop(forward, backward, X, X[::-1].copy())
RIGHT = bp.check_backprop(forward, lambda x, w, u: (backward(x, w, u)[0], -backward(x, w, u)[1]), X, X[::-1].copy())
slope = bp.primitive("slope", np.tanh, lambda g, y, x: g * (1 - y))


def test_a_report_is_true_where_the_gradient_can_be_trusted():
    for status in ("PASS", "KINK"):
        assert Report("f", status)
    for status in ("VACUOUS", "INCONCLUSIVE", "FAIL", "CONTRACT"):
        assert not Report("f", status)
    assert not WRONG
    assert RIGHT


def test_a_failure_in_words():
    lines = str(WRONG).splitlines()
    assert lines[0] == "FAIL  forward(x, w): the gradient of w (3 of 3 entries) is wrong"
    assert lines[1] == "  diagnosis  SIGN: the gradient has the wrong sign"
    assert lines[2].startswith("             -> ")
    assert lines[3].startswith("  worst      dy[2]/dw[2]: analytic -0.839949, numeric 0.839949 +- ")
    assert lines[3].endswith(", ratio -1")
    labels = [line.split()[0] for line in lines]
    assert [label for label in labels if label in {"arguments", "note", "opinion", "evidence", "reproduce"}] == [
        "arguments", "note", "opinion", "opinion", "evidence", "reproduce"
    ]  # fmt: skip
    assert "x ok (3 entries, resolved to" in str(WRONG)
    assert "noise of the forward 4e-16" in str(WRONG)
    assert repr(WRONG) == str(WRONG)


def test_a_success_in_one_line_and_its_evidence():
    lines = str(RIGHT).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("PASS  forward(x, w): 18 derivatives are right, resolved to ")


def test_no_report_is_longer_than_25_lines():
    names = [f"a{k}" for k in range(40)]
    source = (
        f"def many({', '.join(names)}):\n    return {' + '.join(f'{k + 2} * {name}' for k, name in enumerate(names))}"
    )
    scope = {}
    exec(source, scope)
    wrong = [lambda u, k=k: u * (k + 2.5) for k in range(40)]
    report = bp.check_backprop(scope["many"], lambda *args: [w(args[-1]) for w in wrong], *[X + k for k in range(40)])
    assert report.status == "FAIL"
    assert len(report.diagnosis) == 8
    assert len(str(report).splitlines()) <= 25
    assert all(len(line) < 400 for line in str(report).splitlines())
    assert "34 more" in str(report)


def test_the_same_finding_is_said_once():
    report = bp.check_backprop(lambda x, y: x + y, lambda x, y, u: (-u, 0 - u), X, X + 1)
    assert str(report).count("SIGN") == 1
    assert "SIGN (x, y): " in str(report)


def test_worst_entries_come_first():
    def scaled(x, upstream):
        return upstream * np.array([1.0, 1.1, 3.0])

    report = bp.check_backprop(lambda x: x * 1.0, scaled, X)
    assert [w.index for w in report.worst(2)] == [(2, 2), (1, 1)]
    first = report.worst(1)[0]
    assert (first.output, first.argument, first.where) == ("y", "x", "dy[2]/dx[2]")
    assert first.ratio == pytest.approx(3.0)
    assert first.analytic == pytest.approx(3.0)
    assert first.numeric == pytest.approx(1.0)
    assert len(report.worst(100)) == 9


def test_blocks_hold_the_numbers():
    block = WRONG.blocks["y", "w"]
    assert block.size == 3
    assert (np.diag(block.verdict) == Verdict.FAIL).all()
    assert block.entries.tolist() == [Verdict.FAIL] * 3
    assert np.allclose(block.analytic, -block.numeric)
    assert block.resolution < 1e-9


@pytest.mark.parametrize("report", [WRONG, RIGHT, bp.gradcheck(bp.ops.sqrt, [0.0, 1.0]), bp.gradcheck(bp.ops.exp)])
def test_json(report):
    read = json.loads(report.to_json())
    assert read["status"] == report.status
    assert read["ok"] is bool(report)
    assert [d["code"] for d in read["diagnosis"]] == [d.code for d in report.diagnosis]
    assert read == json.loads(json.dumps(report.to_dict()))


def test_numbers_that_json_does_not_know():
    report = bp.check_backprop(np.sqrt, lambda x, u: u * np.inf, np.array([1.0]))
    assert report.status == "FAIL"
    assert json.loads(report.to_json())["worst"][0]["analytic"] == "inf"


@pytest.mark.parametrize(
    "report",
    [
        WRONG,
        bp.gradcheck(slope, X, rtol=1e-4),
        bp.check_layer(nn.Linear(3, 2), X[None]),
        bp.check_backprop(forward, lambda x, w, u: None, X, X),
    ],
    ids=["backprop", "function", "layer", "contract"],
)
def test_a_reproduction_makes_the_same_check_again(report, capsys, tmp_path, monkeypatch):
    source = report.repro()
    scope = {}
    scope |= dict(zip(("forward", "backward"), report.call.things, strict=False))
    lines = [line for line in source.splitlines() if not line.startswith("from ") and "= ..." not in line]
    scope |= {"slope": slope, "layer": report.call.things[0]}
    exec("\n".join(lines), scope)
    assert capsys.readouterr().out.splitlines()[0].split()[0] == report.status


def test_a_reproduction_spells_out_exact_arrays():
    x = np.array([0.1, 1 / 3, 1e-300])
    source = bp.gradcheck(slope, x).repro()
    line = next(line for line in source.splitlines() if line.startswith("x = "))
    scope = {"np": np}
    exec(line, scope)
    assert np.array_equal(scope["x"], x)
    assert "too large to spell out" in bp.gradcheck(slope, np.ones(100)).repro()


def test_a_saved_check_holds_the_inputs_and_the_names(tmp_path):
    WRONG.save(tmp_path / "case.npz")
    case = load_case(tmp_path / "case.npz")
    assert case.kind == "backprop"
    assert [name.rpartition(":")[2] for name in case.targets] == ["forward", "backward"]
    assert np.array_equal(case.inputs["x"], X)
    assert 'report.save("case.npz"), then: python -m tinygrad_bp check --load case.npz' in str(WRONG)


def test_a_loss_in_hand_cannot_be_saved(tmp_path):
    report = bp.check_loss(np.sum, X, X)
    for method in (lambda: report.save(tmp_path / "case.npz"), report.repro):
        with pytest.raises(ValueError, match=r"the report on sum\(params\) was not made by a check"):
            method()
    assert "reproduce" not in str(report)
