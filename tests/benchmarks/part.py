"""One part of the benchmark, in the process it needs; started by `training_step`, which sets the environment.

    python -m tests.benchmarks.part "own kernels" --rounds 11 --json FILE

runs one by hand, in whatever environment it is given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from . import costs, field, machine
from .measure import TOLERANCE, measure
from .nets import NETS, Net, problem
from .results import Part


class Table(NamedTuple):
    """Who is measured on what."""

    optimizer: str
    nets: tuple[Net, ...]
    names: tuple[str, ...]


_QUICK = (Net("20-8-4, batch 5", (20, 8, 4), 5),)
PARTS = {
    "own kernels": (Table("SGD", NETS, field.WIDEST), Table("Adam", NETS[:1], field.WHOLE)),
    "AVX2 kernels": (Table("SGD", NETS, field.OF_TWO_KERNELS), Table("Adam", NETS[:1], field.OF_TWO_KERNELS)),
    "two cores": (Table("SGD", NETS, field.TWO_CORES),),
    "quick": (Table("SGD", _QUICK, field.SMALL), Table("Adam", _QUICK, field.SMALL)),
    "costs": (),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.part")
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="write what was measured there")
    options = parser.parse_args()
    machine.pin_to_cores(machine.threads())
    options.json.write_text(measured(options.name, options.rounds).to_json(), encoding="utf-8")


def measured(name: str, rounds: int) -> Part:
    timings, left_out = [], []
    for table in PARTS[name]:
        present, reasons = field.present(table.names)
        left_out += [reason for reason in reasons if reason not in left_out]
        for net in table.nets:
            for dtype in TOLERANCE:
                p = problem(net, dtype, table.optimizer)
                timings.append(measure(p, field.contenders(present, p), rounds))
                print(f"{name}: {net.name}, {table.optimizer}, {dtype}: {rounds} rounds", file=sys.stderr)
    figures = costs.figures() if name == "costs" else []
    return Part(name, machine.blas_kernel(), machine.cores(), machine.is_pinned(), timings, figures, left_out)


if __name__ == "__main__":
    main()
