"""What was measured, in Markdown: the tables, the page docs/performance.md, and the part of README.md between markers.

The goals are written here, next to the code that prints the measured ratio beside each of them and names those missed.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import machine
from .measure import ImportTiming, Timing

OURS, PYTORCH = "tinygrad_bp", "PyTorch"
GOALS = {
    ("784-30-10, batch 10", "float64"): 1.30,
    ("784-30-10, batch 10", "float32"): 1.40,
    ("784-100-10, batch 10", "float64"): 1.25,
    ("784-100-10, batch 10", "float32"): 1.25,
    ("784, six of 32, 10, batch 32", "float64"): 1.30,
    ("784, six of 32, 10, batch 32", "float32"): 1.30,
    ("784-512-512-10, batch 128", "float64"): 1.05,
    ("784-512-512-10, batch 128", "float32"): 1.05,
}
IMPORT_GOAL = 1.30
MARKERS = ("<!-- benchmark -->", "<!-- /benchmark -->")

_HEAD = """# Performance

This page is written by a script, never by hand:
`python -m tests.benchmarks.training_step --write docs/performance.md --readme README.md`.

## What is measured

One training step: forward, backward and the update of every weight. The nets are layers of `x @ W.T + b` and a sigmoid
under the quadratic loss, trained by plain SGD on one mini-batch that stays in memory. All are compared with the same
step *written by hand* in vectorised NumPy by someone who knows it: one `exp` per sigmoid, `delta.T @ x`,
`delta.sum(0)`, `W -= rate * dW`, and no loss value, since the update does not need it (`tests/benchmarks/nets.py`).
The frameworks do compute the loss, as their users' code does, and their steps are written as their users write them
(`tests/benchmarks/peers.py`). Ours is eager: `nn.Sequential`, `nn.QuadraticLoss`, `optim.SGD`, and in the loop
zero_grad, forward, backward, step.

## How

Before anything is timed, three steps of every contender must leave the hand-written step's weights, within 1e-9
(float64) or 1e-4 (float32) of the distance by which those steps moved each array. Then the contenders take turns in one
process, in blocks of about 3 ms of the hand-written step, in an order that rotates; a ratio is taken within each round,
and the tables show its median over {rounds} rounds. {pinned}, every thread pool has one thread, and
the garbage collector is off while a clock runs. The environment is cleaned before NumPy is loaded: variables that force
a BLAS kernel (`OPENBLAS_CORETYPE`) are removed, and glibc is told to keep freed memory, so that no contender pays page
faults for its temporaries because of what another has allocated (the hand-written step gains most by this).
`the same again` is a second copy of the hand-written step: its distance from 1.00 is the noise of the measurement.

- CPU: {cpu}
- BLAS kernels, NumPy's own choice: {kernel}
- {versions}

PyTorch and JAX bring kernels of their own, so a ratio to them depends on the kernels that NumPy chose.
"""


def tables(timings: Sequence[Timing], imports: ImportTiming | None) -> str:
    """The ratios; where our library took part, the goals and what is missed; the kernel under them."""
    kernel = f"BLAS kernels: {machine.blas_kernel()}."
    parts = ["## Multiples of the hand-written step (less is faster)", _ratios(timings), kernel]
    if imports:
        rows, missed = _goals(timings, imports)
        parts += ["## Goals", rows, missed]
    return "\n\n".join(parts) + "\n"


def page(timings: Sequence[Timing], imports: ImportTiming | None) -> str:
    """The whole of docs/performance.md."""
    head = _HEAD.format(
        rounds=len(timings[0].seconds),
        pinned="The process stays on one core" if machine.is_pinned() else "The process is not pinned to a core",
        cpu=machine.cpu_name(),
        kernel=machine.blas_kernel(),
        versions=machine.versions("numpy", "torch", "jax", "autograd", "mygrad"),
    )
    return head + "\n" + tables(timings, imports)


def summary(timings: Sequence[Timing]) -> str:
    """What README.md shows: the ratios and the conditions in one sentence."""
    return (
        "One training step (forward, backward, update), as multiples of the same step written by hand in NumPy, in\n"
        f"one process on one core ({machine.cpu_name()}, BLAS kernels {machine.blas_kernel()}; less is faster).\n"
        f"How, and against which goals: [docs/performance.md](docs/performance.md).\n\n{_ratios(timings)}"
    )


def between_markers(text: str, content: str) -> str:
    """The text with what stands between the two markers replaced; ValueError where they are missing."""
    start, end = MARKERS
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"README: expected {start} and then {end}, once each. Put them where the table goes.")
    return f"{text[: text.index(start)]}{start}\n{content}\n{text[text.index(end) :]}"


def _ratios(timings: Sequence[Timing]) -> str:
    names = timings[0].names[1:]
    rows = []
    for t in timings:
        hand, ratios = f"{t.baseline * 1e6:.0f} us", t.ratios
        rows.append([t.problem.net.name, t.problem.dtype, hand, *(f"{ratios[name]:.2f}" for name in names)])
    return _table(["net", "dtype", "hand-written", *names], rows)


def _goals(timings: Sequence[Timing], imports: ImportTiming) -> tuple[str, str]:
    judged = []
    for t in timings:
        what = f"{t.problem.net.name}, {t.problem.dtype}"
        judged.append((what, GOALS[t.problem.net.name, t.problem.dtype], t.ratios[OURS]))
        if PYTORCH in t.ratios:
            judged.append((f"{what}: ahead of PyTorch", t.ratios[PYTORCH], t.ratios[OURS]))
    judged.append(("import, times `import numpy`", IMPORT_GOAL, imports.ratio))
    verdict = {True: "met", False: "**missed**"}
    rows = [[what, f"{goal:.2f}", f"{ratio:.2f}", verdict[ratio <= goal]] for what, goal, ratio in judged]
    missed = [f"{what} ({ratio:.2f}, goal {goal:.2f})" for what, goal, ratio in judged if ratio > goal]
    table = _table(["goal", "at most", "measured", ""], rows)
    table += f"\n\nWhole processes in turn: `import numpy` {imports.numpy * 1e3:.0f} ms, "
    table += f"`import tinygrad_bp` {imports.tinygrad_bp * 1e3:.0f} ms."
    return table, "Missed: " + "; ".join(missed) + "." if missed else "Every goal is met."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
