"""One training step (forward, backward, update), measured side by side. From the repository's root:

    python -m tests.benchmarks.training_step --write docs/performance.md --readme README.md

Every contender starts from the same weights and must hold the hand-written step's weights after three steps, or nothing
is timed. Each part runs in a process of its own, in a cleaned environment: one core with the BLAS kernels that NumPy
chooses, one core with AVX2 kernels, two cores, and single figures. Frameworks that are not installed are left out. No
test asserts a time: the goals are stated in the report, next to what was measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import machine, report
from .results import Part

_REPOSITORY = Path(__file__).resolve().parents[2]


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
    parts = [_part("quick", 3)] if options.quick else list(_whole(options.rounds))
    print(report.tables(parts))
    if options.write:
        options.write.write_text(report.page(parts), encoding="utf-8")
    if options.readme:
        options.readme.write_text(report.between_markers(readme, report.summary(parts)), encoding="utf-8")
    return 0


def _whole(rounds: int) -> Iterator[Part]:
    own = _part("own kernels", rounds)
    yield own
    if own.kernel in machine.AVX2_KERNELS:
        yield Part("AVX2 kernels", left_out=["NumPy's own kernels are AVX2 kernels"])
    elif own.kernel == "unknown" or not machine.has_avx2():
        yield Part("AVX2 kernels", left_out=["NumPy's BLAS is not OpenBLAS, or the CPU does not say that it has AVX2"])
    else:
        yield _part("AVX2 kernels", rounds, kernel=machine.AVX2_KERNEL)
    if machine.cores() > 1:
        yield _part("two cores", rounds, threads=2)
    else:
        yield Part("two cores", left_out=["there is one core"])
    yield _part("costs", rounds)


def _part(name: str, rounds: int, threads: int = 1, kernel: str = "") -> Part:
    """What a new process measures in an environment of its own; SystemExit where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "part.json"
        command = [sys.executable, "-m", "tests.benchmarks.part", name]
        command += ["--rounds", str(rounds), "--json", str(written)]
        environment = machine.clean_environment(os.environ, threads, kernel)
        if subprocess.run(command, cwd=_REPOSITORY, env=environment, check=False).returncode:
            raise SystemExit(f"benchmark: the part '{name}' failed; nothing was written. What it said is above.")
        return Part.from_json(written.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
