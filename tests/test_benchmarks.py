"""The benchmark runs, reports, and refuses a contender that computes something else. No test asserts a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .benchmarks import machine, report
from .benchmarks.measure import ImportTiming, Timing, check_equal
from .benchmarks.nets import LEARNING_RATE, NETS, Contender, Net, Problem, hand_written, hand_written_out, problem
from .benchmarks.training_step import main

TINY = Net("7-6-5-4, batch 3", (7, 6, 5, 4), 3)
REPOSITORY = Path(__file__).parents[1]


def by_differences(p: Problem) -> Contender:
    """Another way to the same update: gradients of the loss by central differences."""
    weights = [array.copy() for array in p.flat]

    def loss() -> float:
        a = p.x
        for W, b in zip(weights[::2], weights[1::2], strict=True):
            a = 1 / (1 + np.exp(-(a @ W.T + b)))
        return float(((a - p.y) ** 2).sum() / (2 * p.net.batch))

    def step() -> None:
        gradients = [np.empty_like(array) for array in weights]
        for array, gradient in zip(weights, gradients, strict=True):
            for i in np.ndindex(array.shape):
                kept = array[i]
                array[i] = kept + 1e-6
                above = loss()
                array[i] = kept - 1e-6
                gradient[i] = (above - loss()) / 2e-6
                array[i] = kept
        for array, gradient in zip(weights, gradients, strict=True):
            array -= LEARNING_RATE * gradient

    return Contender("differences", step, lambda: weights)


def planted(p: Problem, layer: int, factor: float) -> Contender:
    """The hand-written step, except that one layer's weights move `factor` times as far."""
    right = hand_written(p)

    def step() -> None:
        before = right.parameters()[2 * layer].copy()
        right.step()
        array = right.parameters()[2 * layer]
        array += (factor - 1) * (array - before)

    return Contender("planted", step, right.parameters)


def test_hand_written_step_is_gradient_descent_on_the_quadratic_loss() -> None:
    p = problem(TINY, "float64")
    right, wrong = hand_written(p), by_differences(p)
    right.step()
    wrong.step()
    for start, a, b in zip(p.flat, right.parameters(), wrong.parameters(), strict=True):
        assert np.abs(a - b).max() <= 1e-7 * np.abs(a - start).max()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("net", [TINY, *NETS[:3]], ids=lambda net: net.name)
def test_both_hand_written_steps_agree(net: Net, dtype: str) -> None:
    p = problem(net, dtype)
    check_equal(p, [hand_written(p), hand_written_out(p)])


@pytest.mark.parametrize(("dtype", "factor"), [("float64", 1 + 1e-8), ("float32", 1 + 1e-3)])
@pytest.mark.parametrize("layer", [0, 6])
def test_a_wrong_contender_is_refused(layer: int, dtype: str, factor: float) -> None:
    p = problem(NETS[2], dtype)
    with pytest.raises(ValueError, match=rf"^planted: .*{dtype}: after 3 steps parameter \d+ \({dtype}\) is .*e-"):
        check_equal(p, [hand_written(p), planted(p, layer, factor)])


def test_another_dtype_and_nan_are_refused() -> None:
    p = problem(TINY, "float32")
    right = hand_written(problem(TINY, "float64"))
    with pytest.raises(ValueError, match=r"parameter 0 \(float64\)"):
        check_equal(p, [hand_written(p), right])
    with pytest.raises(ValueError, match="is nan from hand-written"):
        check_equal(p, [hand_written(p), planted(p, 0, float("nan"))])


def test_quick_mode_reports_from_a_clean_environment() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.training_step", "--quick"]
    forced = os.environ | {"OPENBLAS_CORETYPE": "Prescott"}
    result = subprocess.run(command, cwd=REPOSITORY, env=forced, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "| net | dtype | hand-written | hand-written, out= |" in result.stdout
    assert "| 20-8-4, batch 5 | float32 |" in result.stdout
    assert "BLAS kernels: " in result.stdout
    assert "Prescott" not in result.stdout


def test_environment_has_one_thread_and_no_forced_kernel() -> None:
    environment = machine.clean_environment({"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "8", "HOME": "/"})
    assert "OPENBLAS_CORETYPE" not in environment
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["HOME"] == "/"


def made_up(ours: float, torch: float) -> list[Timing]:
    """Three rounds of every net, with these multiples of the hand-written step."""
    rows = [[1e-4, 1e-4 * ours, 1e-4 * torch]] * 3
    names = ["hand-written", report.OURS, report.PYTORCH]
    return [Timing(problem(net, dtype), names, rows) for net in NETS for dtype in ("float64", "float32")]


def test_ratios_are_taken_within_a_round() -> None:
    timing = Timing(problem(TINY, "float64"), ["hand-written", "other"], [[1.0, 2.0], [10.0, 10.0], [2.0, 6.0]])
    assert timing.baseline == 2.0
    assert timing.ratios == {"hand-written": 1.0, "other": 2.0}


def test_page_states_the_goals_and_what_is_missed() -> None:
    met = report.page(made_up(1.0, 3.0), ImportTiming(0.1, 0.11, 1.1))
    assert "Every goal is met." in met
    assert "missed" not in met
    assert f"over 3 rounds. The process {'stays on one core' if machine.is_pinned() else 'is not pinned'}" in met
    text = report.page(made_up(1.2, 1.1), ImportTiming(0.1, 0.15, 1.5))
    assert "| 784-30-10, batch 10, float64 | 1.30 | 1.20 | met |" in text
    assert "| 784-512-512-10, batch 128, float32 | 1.05 | 1.20 | **missed** |" in text
    assert "| 784-30-10, batch 10, float64: ahead of PyTorch | 1.10 | 1.20 | **missed** |" in text
    assert "import, times `import numpy` (1.50, goal 1.30)." in text


def test_readme_keeps_everything_outside_the_markers() -> None:
    text = "before\n<!-- benchmark -->\nold\n<!-- /benchmark -->\nafter\n"
    assert report.between_markers(text, "new") == "before\n<!-- benchmark -->\nnew\n<!-- /benchmark -->\nafter\n"
    for broken in ("nothing", "<!-- /benchmark -->\n<!-- benchmark -->", text + text):
        with pytest.raises(ValueError, match=r"^README: expected <!-- benchmark --> and then"):
            report.between_markers(broken, "new")


def test_a_readme_without_markers_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no table here\n")
    with pytest.raises(SystemExit):
        main(["--quick", "--readme", str(readme)])
    assert "README: expected <!-- benchmark -->" in capsys.readouterr().err
    assert readme.read_text() == "no table here\n"


def test_the_gradient_check_benchmark_writes_its_table(tmp_path: Path) -> None:
    page = tmp_path / "trust.md"
    page.write_text("before\n<!-- speed of the checker -->\nold\n<!-- /speed of the checker -->\nafter\n")
    command = [sys.executable, "-m", "tests.benchmarks.gradient_check", "--rounds", "1", "--write", str(page)]
    printed = subprocess.check_output(command, cwd=REPOSITORY, text=True)
    assert printed.count("|") > 20
    written = page.read_text()
    assert printed.strip() in written and written.startswith("before\n") and written.endswith("\nafter\n")
    assert "old" not in written
