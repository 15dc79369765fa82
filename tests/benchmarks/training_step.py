"""One training step (forward, backward, update), measured side by side. From the repository's root:

    python -m tests.benchmarks.training_step --write docs/performance.md --readme README.md

Every contender starts from the same weights and must hold the hand-written step's weights after three steps, or nothing
is timed. The process restarts itself in a cleaned environment and stays on one core. Frameworks that are not installed
are left out. No test asserts a time: the goals are stated in the report, next to what was measured.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import machine, peers, report
from .measure import TOLERANCE, ImportTiming, Timing, measure, measure_import
from .nets import NETS, Net, hand_written, hand_written_out, problem

_QUICK = Net("20-8-4, batch 5", (20, 8, 4), 5)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training_step")
    parser.add_argument("--quick", action="store_true", help="one tiny net, NumPy only, three rounds: does it run?")
    parser.add_argument("--rounds", type=int, default=101, help="rounds per net and dtype (default 101)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the whole report there")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="write the table between this file's markers")
    options = parser.parse_args(arguments)
    readme = options.readme.read_text(encoding="utf-8") if options.readme else "".join(report.MARKERS)
    try:
        report.between_markers(readme, "")
    except ValueError as error:
        parser.error(str(error))
    machine.pin_to_one_core()
    timings, imports = _quick() if options.quick else _whole(options.rounds)
    print(report.tables(timings, imports))
    if options.write:
        options.write.write_text(report.page(timings, imports), encoding="utf-8")
    if options.readme:
        options.readme.write_text(report.between_markers(readme, report.summary(timings)), encoding="utf-8")
    return 0


def _quick() -> tuple[list[Timing], None]:
    problems = [problem(_QUICK, dtype) for dtype in TOLERANCE]
    return [measure(p, [hand_written(p), hand_written_out(p)], 3) for p in problems], None


def _whole(rounds: int) -> tuple[list[Timing], ImportTiming]:
    timings = []
    for net in NETS:
        for dtype in TOLERANCE:
            p = problem(net, dtype)
            contenders = [hand_written(p), *(make(p) for make in peers.installed())]
            contenders += [hand_written_out(p), hand_written(p, "the same again")]
            timings.append(measure(p, contenders, rounds))
            print(f"{net.name}, {dtype}: {rounds} rounds", file=sys.stderr)
    return timings, measure_import(pairs=21)


if __name__ == "__main__":
    environment = machine.clean_environment(os.environ)
    if environment != dict(os.environ):
        command = [sys.executable, "-m", "tests.benchmarks.training_step", *sys.argv[1:]]
        os.execve(sys.executable, command, environment)
    sys.exit(main())
