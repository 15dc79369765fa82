"""Layers and whole models against PyTorch, forward and backward, one core. From the repository's root:

    python -m tests.benchmarks.layers --write docs/performance-layers.md

Both sides start from the same numbers and must leave the same results and gradients, or nothing is timed. They take
turns in one process; a ratio is taken within a round, and the tables show its median. A second process forces OpenBLAS'
AVX2 kernels. No test asserts a time: the goals stand beside what was measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import machine

_REPOSITORY = Path(__file__).resolve().parents[2]
_TRIED = (Path(__file__).parent / "tried_layers.md").read_text(encoding="utf-8").strip()
_TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
_BLOCK_SECONDS = 0.01
_HEAD = """# Layers against PyTorch

This page is written by a script: `python -m tests.benchmarks.layers --write docs/performance-layers.md`.

Forward and backward of a layer through the library, recording and all, as a multiple of the same in PyTorch (eager, one
thread), so that below 1.00 this library is faster. Results and gradients were compared first (1e-10 in float64). Both
take turns in one process on one core; the tables show the median ratio of {rounds} rounds. What is measured is in
`tests/benchmarks/layer_models.py`: of the convolutional net a whole training step, of all else forward and backward.
PyTorch multiplies matrices with kernels of its own, so what it is compared with depends on NumPy's: *its own choice* on
this CPU, and *AVX2*, forced by `OPENBLAS_CORETYPE=Haswell`, which it would choose on a CPU without AVX-512.

- CPU: {cpu}
- BLAS kernels, NumPy's own choice: {kernel}
- {versions}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.layers")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--only", default="", metavar="TEXT", help="only what has TEXT in its name")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="measure in this process, and write the ratios there")
    options = parser.parse_args(arguments)
    if options.json:
        options.json.write_text(json.dumps(measured(options.rounds, options.only)), encoding="utf-8")
        return 0
    parts = {"NumPy's own": "", "AVX2": machine.AVX2_KERNEL}
    found = {name: _in_a_process(options, kernel) for name, kernel in parts.items()}
    page = _page(found, options.rounds)
    print(page)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    return 0


def _in_a_process(options: Any, kernel: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ratios.json"
        command = [sys.executable, "-m", "tests.benchmarks.layers", "--json", str(file)]
        command += ["--rounds", str(options.rounds), "--only", options.only]
        environment = machine.clean_environment(os.environ, 1, kernel)
        if subprocess.run(command, cwd=_REPOSITORY, env=environment, check=False).returncode:
            raise SystemExit("benchmark: a part failed; nothing was written. What it said is above.")
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found


def measured(rounds: int, only: str) -> dict[str, Any]:
    """The kernel, and for every model and dtype PyTorch's time and the ratio."""
    import torch

    from .layer_models import PAIRS

    torch.set_num_threads(1)
    machine.pin_to_cores(1)
    rows = []
    for dtype in ("float32", "float64"):
        for name, make in PAIRS.items():
            if only in name:
                pair = make(dtype)
                check_equal(name, pair)
                seconds, ratio = _timed(pair, rounds)
                rows.append({"name": name, "dtype": dtype, "goals": pair.goals, "torch": seconds, "ratio": ratio})
                print(f"{name}, {dtype}: {ratio:.2f}", file=sys.stderr)
    return {"kernel": machine.blas_kernel(), "rows": rows}


def check_equal(name: str, pair: Any) -> None:
    """Both sides leave the same arrays after a step: ValueError names the model and the distance."""
    pair.ours()
    pair.theirs()
    for k, (a, b) in enumerate(pair.left()):
        error = np.abs(a - b).max() / max(1.0, np.abs(b).max())
        if a.dtype != b.dtype or not error <= _TOLERANCE[pair.dtype]:
            raise ValueError(f"{name}: {pair.dtype}: array {k} is {error:.1e} from PyTorch's. Nothing was timed.")


def _timed(pair: Any, rounds: int) -> tuple[float, float]:
    """PyTorch's seconds, and the median of ours / theirs."""
    block = max(1, round(_BLOCK_SECONDS / _seconds(pair.theirs, 3)))
    ours, theirs = [], []
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for turn in range(rounds):
            order = ((pair.ours, ours), (pair.theirs, theirs))
            for step, times in order if turn % 2 else reversed(order):
                step()
                times.append(_seconds(step, block))
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return median(theirs), median(a / b for a, b in zip(ours, theirs, strict=True))


def _seconds(step: Any, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def _page(found: dict[str, Any], rounds: int) -> str:
    own, avx2 = found["NumPy's own"], found["AVX2"]
    lines = [
        _HEAD.format(
            rounds=rounds,
            cpu=machine.cpu_name(),
            kernel=own["kernel"],
            versions=machine.versions("numpy", "torch"),
        ),
        "| model | f32, own | (goal) | f32, AVX2 | (goal) | f64, own | f64, AVX2 | (goal) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in own["rows"]:
        if row["dtype"] == "float32":
            ratio = {
                (part, r["dtype"]): r["ratio"]
                for part, those in (("own", own), ("AVX2", avx2))
                for r in those["rows"]
                if r["name"] == row["name"]
            }
            f32, f64, f32_own = row["goals"]
            cells = [
                *[ratio["own", "float32"], f32_own, ratio["AVX2", "float32"], f32],
                *[ratio["own", "float64"], ratio["AVX2", "float64"], f64],
            ]
            lines.append(f"| {row['name']} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    return "\n".join([*lines, "", "## What was tried", "", _TRIED]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
