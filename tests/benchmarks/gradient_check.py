"""What a gradient check costs. From the repository's root:

    python -m tests.benchmarks.gradient_check --write docs/trust.md

A small layer in full mode, where every derivative is measured, and the loss of a net of 23,860 parameters in fast mode;
each right, and with one wrong entry to find. PyTorch's gradcheck does the same work where it is installed. The process
restarts itself in a cleaned environment and stays on one core; medians are printed, and no test asserts a time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import machine

MARKERS = ("<!-- speed of the checker -->", "<!-- /speed of the checker -->")
Work = Callable[[], Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gradient_check")
    parser.add_argument("--rounds", type=int, default=21, help="runs of each (default 21)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table between this file's markers")
    options = parser.parse_args(arguments)
    machine.pin_to_cores(1)
    table = measured(options.rounds)
    print(table)
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        start, end = (text.index(marker) for marker in MARKERS)
        written = f"{text[: start + len(MARKERS[0])]}\n{table}\n{text[end:]}"
        options.write.write_text(written, encoding="utf-8")
    return 0


def measured(rounds: int) -> str:
    """The table in Markdown: medians of alternating runs."""
    contenders = _ours() | _torchs()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for work, _, _ in contenders.values():
        work()
    for _ in range(rounds):
        for name, (work, _, _) in contenders.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    rows = ["| check | entries | forward calls | median | goal |", "| --- | --- | --- | --- | --- |"]
    for name, (work, entries, goal) in contenders.items():
        evals = getattr(work(), "evals", "")
        rows.append(f"| {name} | {entries} | {evals} | {_milliseconds(median(seconds[name]))} | {goal} |")
    where = f"{machine.cpu_name()}, BLAS kernels {machine.blas_kernel()}, one core, {rounds} alternating runs"
    return "\n".join([*rows, "", f"{where}; {machine.versions('numpy', 'torch')}."])


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _ours() -> dict[str, tuple[Work, int, str]]:
    import tinygrad_bp as bp
    from tinygrad_bp import nn

    rng = np.random.default_rng(0)
    bp.manual_seed(0)
    small, x = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2)), rng.standard_normal((2, 3))
    net = nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    X, Y, quadratic = rng.random((10, 784)), np.eye(10), nn.QuadraticLoss()
    parameters = list(net.parameters())

    def loss() -> Any:
        return quadratic(net(X), Y)

    loss().backward()
    right = [p.grad.data.copy() for p in parameters if p.grad is not None]
    wrong = [g.copy() for g in right]
    wrong[0][3, 100] *= 1.5
    return {
        "3-4-2 layer, full": (lambda: _must(bp.check_layer(small, x), "PASS"), 32, "50 ms"),
        "784-30-10 loss, fast": (lambda: _must(bp.check_loss(loss, parameters, right), "PASS"), 23860, "3 s"),
        "784-30-10 loss, fast, one entry wrong: found": (
            lambda: _must(bp.check_loss(loss, parameters, wrong), "FAIL"),
            23860,
            "",
        ),
    }


def _must(report: Any, status: str) -> Any:
    if report.status != status:
        raise SystemExit(f"expected {status}:\n{report}")
    return report


def _torchs() -> dict[str, tuple[Work, int, str]]:
    try:
        import torch
    except ImportError:
        return {}
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    small = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sigmoid(), torch.nn.Linear(4, 2)).double()
    net = torch.nn.Sequential(
        torch.nn.Linear(784, 30), torch.nn.Sigmoid(), torch.nn.Linear(30, 10), torch.nn.Sigmoid()
    ).double()
    X, Y = torch.rand(10, 784, dtype=torch.float64), torch.eye(10, dtype=torch.float64)

    def check(model: Any, fast: bool, function: Callable[[Any], Any], *inputs: Any) -> bool:
        names = [name for name, _ in model.named_parameters()]

        def run(*values: Any) -> Any:
            given, leaves = values[: len(inputs)], values[len(inputs) :]
            return function(torch.func.functional_call(model, dict(zip(names, leaves)), given or (X,)))

        return bool(torch.autograd.gradcheck(run, (*inputs, *model.parameters()), fast_mode=fast))

    return {
        "PyTorch gradcheck, 3-4-2 layer, slow": (lambda: check(small, False, lambda y: y, x), 32, ""),
        "PyTorch gradcheck, 784-30-10 loss, fast": (
            lambda: check(net, True, lambda a: ((a - Y) ** 2).sum() / 20),
            23860,
            "",
        ),
    }


if __name__ == "__main__":
    if machine.clean_environment(os.environ) != dict(os.environ):
        command = [sys.executable, "-m", "tests.benchmarks.gradient_check", *sys.argv[1:]]
        os.execve(sys.executable, command, machine.clean_environment(os.environ))
    sys.exit(main())
