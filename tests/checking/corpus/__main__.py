"""Measures the checker on the corpus: `python -m tests.checking.corpus --seeds 20 --peers --write docs/trust.md`."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy loads: the arrays are tiny

import argparse
import sys
from pathlib import Path

from . import special, tables
from .functions import FLOAT32, regimes_of
from .measure import DEVELOPMENT, FUNCTIONS, HALVES, HELD_OUT, Row, Task, run
from .tools import FAIL, OURS, PASS, PEERS

FAILURES_SHOWN = 40


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.checking.corpus", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="points for right code, in every function and regime")
    parser.add_argument("--wrong-seeds", type=int, default=1, help="points for every mistake")
    parser.add_argument("--share", type=int, default=1, help="plant one in this many of the mistakes of any function")
    parser.add_argument("--half", choices=(DEVELOPMENT, HELD_OUT, "all"), default="all")
    parser.add_argument("--peers", action="store_true", help="also run PyTorch, JAX, HIPS autograd, the fixed step")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, metavar="docs/trust.md", help="put the tables between its markers")
    options = parser.parse_args()

    tools = [*OURS, *(PEERS if options.peers else ())]
    tasks = [
        Task(f.name, r.name, range(options.seeds), range(options.wrong_seeds), tools, options.half, options.share)
        for f in FUNCTIONS.values()
        if options.half in (HALVES[f.name], "all")
        for r in regimes_of(f)
    ]
    rows = run(tasks, options.processes)
    dilution = special.diluted(20, options.peers) if options.half == "all" else []
    smallest = special.smallest_errors(options.peers) if options.half == "all" else {}
    command = "python -m tests.checking.corpus " + " ".join(sys.argv[1:])
    content = tables.block(command, rows, dilution, smallest)
    print(content)
    _list_failures(rows)
    if options.write:
        page = options.write.read_text("utf-8")
        options.write.write_text(tables.between_markers(page, content), "utf-8")


def _list_failures(rows: list[Row]) -> None:
    """What ours got wrong, so that it can be looked at."""
    failures = [
        row
        for row in rows
        if row.tool in OURS and (row.verdict == PASS and row.regime not in FLOAT32 if row.kind else row.verdict == FAIL)
    ]
    print(f"\nOurs wrong (mistakes: in float64): {len(failures)}")
    for row in failures[:FAILURES_SHOWN]:
        print(
            f"  {row.tool} | {row.function} | {row.regime} | seed {row.seed} | {row.kind or 'right code'} {row.codes}"
        )


if __name__ == "__main__":
    main()
