"""The benchmark runs, reports, and refuses a contender that computes something else. No test asserts a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import accumulate, cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_bp as bp

from .benchmarks import adam, costs, field, goals, layer_models, layers, machine, ours, report
from .benchmarks.measure import check_equal, measure
from .benchmarks.nets import LEARNING_RATE, NETS, Contender, Net, Problem, hand_written, problem
from .benchmarks.results import Figure, Part, Timing
from .benchmarks.training_step import main

TINY = Net("7-6-5-4, batch 3", (7, 6, 5, 4), 3)
REPOSITORY = Path(__file__).parents[1]


def by_hand(p: Problem) -> list[Contender]:
    return field.contenders([field.HAND, field.OUT], p)


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
    right = by_hand(p)[0]

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


def test_hand_written_adam_is_the_formula() -> None:
    """One step of Adam is lr * g / (|g| + eps), whatever came before it; g is what a step of SGD moves by."""
    p = problem(TINY, "float64")
    sgd, other = hand_written(p), adam.hand_written(p)
    sgd.step()
    other.step()
    for start, a, b in zip(p.flat, sgd.parameters(), other.parameters(), strict=True):
        g = (start - a) / LEARNING_RATE
        assert np.abs(start - b - 1e-3 * g / (np.abs(g) + 1e-8)).max() <= 1e-12


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("net", [TINY, *NETS[:3]], ids=lambda net: net.name)
def test_both_hand_written_steps_and_ours_agree(net: Net, optimizer: str, dtype: str) -> None:
    p = problem(net, dtype, optimizer)
    check_equal(p, [*by_hand(p), ours.eager(p), ours.compiled(p)])


@pytest.mark.parametrize(("dtype", "factor"), [("float64", 1 + 1e-8), ("float32", 1 + 1e-3)])
@pytest.mark.parametrize("layer", [0, 6])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_wrong_contender_is_refused(optimizer: str, layer: int, dtype: str, factor: float) -> None:
    p = problem(NETS[2], dtype, optimizer)
    message = rf"^planted: .*{optimizer}, {dtype}: after 3 steps parameter \d+ \({dtype}\) is .*e-"
    with pytest.raises(ValueError, match=message):
        check_equal(p, [by_hand(p)[0], planted(p, layer, factor)])


def test_a_contender_of_many_updates_a_call_is_compared_and_timed_per_update(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(TINY, "float64")
    now = 0  # nanoseconds
    made: list[int] = []

    def stepping(nanoseconds: int) -> tuple[Contender, Callable[[int], None]]:
        right = hand_written(p)

        def some(count: int) -> None:
            nonlocal now
            now += count * nanoseconds
            for _ in range(count):
                right.step()

        return right, some

    hand, one = stepping(1000)
    other, some = stepping(500)

    def epoch(count: int) -> None:
        made.append(count)
        some(count)

    contenders = [
        Contender("hand-written", lambda: one(1), hand.parameters),
        Contender("epoch", lambda: epoch(100), other.parameters, 100, epoch),
    ]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now)
    timing = measure(p, contenders, 3)
    assert made[0] == 3
    assert set(made[1:]) == {100}
    assert timing.ratios["epoch"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"^epoch: "):
        check_equal(p, contenders)  # the two have made different numbers of steps


def test_another_dtype_and_nan_are_refused() -> None:
    p = problem(TINY, "float32")
    right = hand_written(problem(TINY, "float64"))
    with pytest.raises(ValueError, match=r"parameter 0 \(float64\)"):
        check_equal(p, [hand_written(p), right])
    with pytest.raises(ValueError, match="is nan from hand-written"):
        check_equal(p, [hand_written(p), planted(p, 0, float("nan"))])


def test_quick_mode_reports_from_a_clean_environment(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    command = [sys.executable, "-m", "tests.benchmarks.training_step", "--quick", "--write", str(page)]
    forced = os.environ | {"OPENBLAS_CORETYPE": "Prescott"}
    result = subprocess.run(command, cwd=REPOSITORY, env=forced, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for text in (result.stdout, page.read_text()):
        assert "| net | dtype | hand-written | hand-written, out= | eager | compiled |" in text
        assert text.count("| 20-8-4, batch 5 | float32 |") == 2
        assert "BLAS kernels: " in text
        assert "Prescott" not in text


def test_a_part_that_fails_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(SystemExit, match=r"^benchmark: the part 'quick' failed; nothing was written"):
        main(["--quick"])


def test_environment_has_its_threads_and_its_kernel() -> None:
    forced = {"OPENBLAS_CORETYPE": "Prescott", "OMP_NUM_THREADS": "8", "HOME": "/"}
    environment = machine.clean_environment(forced)
    assert "OPENBLAS_CORETYPE" not in environment
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["HOME"] == "/"
    assert environment["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    two = machine.clean_environment(forced, threads=2, kernel="Haswell")
    assert two["OPENBLAS_CORETYPE"] == "Haswell"
    assert two["OMP_NUM_THREADS"] == two["OPENBLAS_NUM_THREADS"] == "2"
    assert two["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads=2"


def test_what_is_not_installed_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(field._NEEDS, field.MYGRAD, "no_such_module")
    names, reasons = field.present([field.HAND, field.MYGRAD])
    assert names == [field.HAND]
    assert reasons == ["MyGrad: no_such_module is not installed"]
    part = Part("own kernels", "SkylakeX", left_out=reasons)
    assert "Left out: MyGrad: no_such_module is not installed." in report.tables([part])


def test_ratios_are_taken_within_a_round() -> None:
    timing = Timing("a net", "float64", "SGD", ["hand-written", "other"], [[1.0, 2.0], [10.0, 10.0], [2.0, 6.0]])
    assert timing.baseline == 2.0
    assert timing.ratios == {"hand-written": 1.0, "other": 2.0}


def made_up(kernel: str, optimizer: str = "SGD", cores: int = 1, **ratios: float) -> Part:
    """Three rounds of every net, with these multiples of the hand-written step."""
    names = {"numba": field.NUMBA, "jit": field.JAX, "donated": field.DONATED, "PyTorch": field.PYTORCH}
    rows = [[1e-4, *(1e-4 * ratio for ratio in ratios.values())]] * 3
    called = [field.HAND, *(names.get(name, name) for name in ratios)]
    timings = [Timing(net.name, dtype, optimizer, called, rows) for net in NETS for dtype in ("float64", "float32")]
    return Part("own kernels", kernel, cores, cores == 1, timings)


def test_parts_survive_their_journey_as_json() -> None:
    part = made_up("SkylakeX", compiled=0.5)
    part.figures.append(Figure("import", 1.1, goal=1.3))
    assert Part.from_json(part.to_json()) == part


def missed(part: Part) -> set[tuple[str, str]]:
    return {(goal.who, goal.net) for goal in goals.judged([part]) if not goal.met}


def test_goals_are_those_of_the_kernels() -> None:
    """0.76 and 0.46 lie between the goals for AVX-512 and for AVX2."""
    first, deep, wide = NETS[0].name, NETS[2].name, NETS[3].name
    own = missed(made_up("SkylakeX", compiled=0.76, numba=0.46))
    assert {("compiled; SkylakeX, float64", first), ("compiled, numba; SkylakeX, float64", deep)} <= own
    assert not any(net == wide for _, net in own)
    avx2 = missed(made_up("Haswell", compiled=0.76, numba=0.46))
    assert avx2 == {("compiled, numba; Haswell, float32", deep), ("compiled; Haswell, float32", deep)}


def test_ahead_means_ahead_of_the_faster_way_to_call_jax() -> None:
    small = {net.name for net in NETS[:3]}
    behind = missed(made_up("SkylakeX", compiled=0.6, numba=0.3, jit=0.9, donated=0.5))
    assert behind == {(f"compiled ahead of JAX jit; SkylakeX, {d}", n) for d in ("float64", "float32") for n in small}
    behind = missed(made_up("Haswell", compiled=0.6, numba=0.3, jit=0.2))
    assert behind == {
        (f"compiled, numba ahead of JAX jit; Haswell, {d}", n) for d in ("float64", "float32") for n in small
    }


def test_adam_has_goals_on_the_first_net_and_two_cores_none() -> None:
    behind = missed(made_up("SkylakeX", "Adam", compiled=0.95, numba=0.3))
    assert behind == {(f"compiled with Adam; SkylakeX, {d}", NETS[0].name) for d in ("float64", "float32")}
    assert goals.judged([made_up("SkylakeX", cores=2, compiled=9.0)]) == []


def test_page_states_the_goals_and_what_is_missed() -> None:
    good = made_up("SkylakeX", eager=1.0, PyTorch=3.0)
    good.figures.append(Figure("import, times `import numpy`", 1.1, goal=1.3))
    met = report.page([good])
    assert "Every goal is met." in met
    assert "**" not in met
    assert "over 3 rounds. The process stays on one core" in met
    assert "| import, times `import numpy` | 1.10 | 1.30 |" in met
    bad = made_up("SkylakeX", eager=1.2, PyTorch=1.1)
    bad.figures.append(Figure("import, times `import numpy`", 1.5, goal=1.3))
    text = report.page([bad])
    assert "| eager; SkylakeX, float64 | 1.20 (1.30) | 1.20 (1.25) | 1.20 (1.30) | **1.20 (1.05)** |" in text
    assert "| eager ahead of PyTorch; SkylakeX, float32 | **1.20 (1.10)** |" in text
    assert "| import, times `import numpy` | **1.50** | 1.30 |" in text
    assert "Missed, 11: eager; SkylakeX, float64, 784-512-512-10, batch 128 (1.20, goal 1.05);" in text
    assert "import, times `import numpy` (1.50, goal 1.30)." in text


def test_readme_shows_the_first_table_with_fewer_columns() -> None:
    text = report.summary([made_up("SkylakeX", eager=1.2, compiled=0.7, donated=0.9, MyGrad=4.0)])
    assert "| net | dtype | hand-written | eager | compiled | JAX jit, donated |" in text
    assert "| 784-30-10, batch 10 | float32 | 100 us | 1.20 | 0.70 | 0.90 |" in text


def test_every_call_of_a_replay_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(TINY, "float64")
    function, _ = ours.training_step(p)
    step = bp.compile(function)
    cost = step(p.x, p.y)
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter_ns=lambda: next(clock)))
    bare, timed, calls = costs.bare_and_timed(step.source, p)
    assert float(bare(p.x, p.y)) == cost.item()  # from the same first weights
    assert calls > 20
    clock = accumulate(cycle([0, 3000] * calls + [0, 1000]))  # a call takes 3 us with the clock, the clock 1 us
    assert timed(p.x, p.y, 5) == pytest.approx(2.0 * calls)


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


# ---- layers against PyTorch ------------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_every_layer_that_is_timed_computes_what_pytorch_does():
    pytest.importorskip("torch", reason="needs PyTorch, of the extra 'bench'")
    for name, make in layer_models.PAIRS.items():
        for dtype in ("float32", "float64"):
            layers.check_equal(name, make(dtype))


def test_a_layer_that_computes_something_else_is_not_timed():
    def step() -> None: ...

    wrong = layer_models.Pair("float64", (1.0, 1.0, 1.0), step, step, lambda: [(np.ones(3), np.ones(3) + 1e-9)])
    with pytest.raises(ValueError, match=r"this: float64: array 0 is 1\.0e-09 from PyTorch's\. Nothing was timed\."):
        layers.check_equal("this", wrong)
