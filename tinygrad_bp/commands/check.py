"""check: gradients are right, wrong, or cannot be told, and what is wrong is named."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import ops
from .running import add_import, exit_on, import_all, no_bytecode

if TYPE_CHECKING:
    from ..checking.report import Report

__all__ = ["add"]


def add(commands: Any) -> None:
    """Enter the command."""
    check = commands.add_parser(
        "check",
        help="check gradients: right, wrong or cannot tell, and what is wrong named",
        description="Check the gradients of what TARGET names, of NumPy code written by hand, of a saved case, or of "
        "every row and layer of this package.",
        epilog="Exit codes: 0 PASS or KINK, 1 FAIL, 2 bad usage or target, 3 INCONCLUSIVE or VACUOUS, 4 CONTRACT.",
    )
    of = check.add_mutually_exclusive_group(required=True)
    what = "pkg.mod:NAME or file.py:NAME, a function of Tensors, a row, a layer or what makes one; or a document"
    of.add_argument("target", nargs="?", metavar="TARGET", help=what)
    of.add_argument("--plain", metavar="SOURCE:FORWARD,BACKWARD", help="functions of arrays, in a module or file")
    of.add_argument("--load", metavar="FILE", help="what a report has saved: the same check again")
    of.add_argument("--all", action="store_const", const=True, help="every row and every layer of this package")
    check.add_argument("--args", metavar="VALUES", help="arguments of a class or factory: '3, 4'")
    check.add_argument(
        "--input", action="append", metavar="[NAME=]4x3", help="a shape, in order or by name; repeatable"
    )
    check.add_argument("--loss", action="store_const", const=True, help="--plain: forward returns a scalar loss")
    check.add_argument("--seed", type=_natural, metavar="N", help="of inputs, parameters and the checker (0)")
    check.add_argument("--order", type=int, choices=(1, 2), help="2 checks the backward itself, too")
    check.add_argument("--mode", choices=("auto", "full", "fast"), help="how much is measured")
    check.add_argument("--rtol", type=float, metavar="X", help="the relative error that counts as right (1e-6)")
    add_import(check)
    check.add_argument("--json", action="store_true", help="the reports as JSON")
    check.set_defaults(command=_check)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no integer >= 0")
    return int(text)


_WITHOUT = {
    "target": ("loss",),
    "plain": ("args", "order"),
    "load": ("args", "input", "loss", "mode", "order", "rtol", "seed"),
    "all": ("args", "input", "loss"),
}
_CODES = {"PASS": 0, "KINK": 0, "FAIL": 1, "INCONCLUSIVE": 3, "VACUOUS": 3, "CONTRACT": 4}


def _check(arguments: argparse.Namespace) -> int:
    from ..checking import targets
    from ..checking.report import SEVERITY

    given = {name: value for name, value in vars(arguments).items() if value is not None}
    kind = next(kind for kind in _WITHOUT if kind in given)
    kinds = (ImportError, MemoryError, OSError, TypeError, ValueError)
    with exit_on(2, *kinds), redirect_stdout(sys.stderr), no_bytecode():  # where what is run prints
        import_all(arguments.modules)
        for option in _WITHOUT[kind]:
            if option in given:
                raise ValueError(
                    f"check: --{option} does not go with {'TARGET' if kind == 'target' else '--' + kind}. Leave it out."
                )
        seed, shapes = given.get("seed", 0), given.get("input", [])
        options = {name: given[name] for name in ("order", "mode", "rtol", "loss") if name in given} | {"rng": seed}
        if kind == "target":
            checks = targets.named_checks(given["target"], given.get("args"), shapes, seed, options)
        elif kind == "plain":
            checks = [targets.plain_check(given["plain"], shapes, seed, options)]
        else:
            checks = [targets.loaded_check(given["load"])] if kind == "load" else targets.every_check(seed, options)
        reports = [check.run() for check in checks]
    if arguments.json:
        found = [report.to_dict() for report in reports]
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2, allow_nan=False))
    elif len(reports) == 1:
        print(replace(reports[0], call=None))  # to run it again takes this command, not the report
        if not reports[0]:
            print(f"  reproduce  python -m tinygrad_bp {shlex.join(arguments.typed)}")
    else:
        _print_table([check.name for check in checks], reports)
        if kind == "all":
            print(f"without a derivative: {', '.join(row.name for row in ops.TABLE if not row.differentiable)}")
        counts = Counter(sorted((report.status for report in reports), key=SEVERITY.index))
        print(f"{len(reports)} checks: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    return _CODES[max((report.status for report in reports), key=SEVERITY.index)]


def _print_table(names: Sequence[str], reports: Sequence[Report]) -> None:
    """A line for each check, then the reports that are not right."""
    for name, report in zip(names, reports):
        count = sum(block.verdict.size for block in report.blocks.values())
        how = "by projections" if report.mode == "fast" else f"to {report.resolution:.0e}"
        cells = (f"{report.status:<12}", f"{name:<{max(map(len, names))}}", f"{count:6} derivatives {how:<14}")
        print("  ".join([*cells, f"{report.evals:5} forward calls"]))
    for report in reports:
        if not report:
            print(f"\n{replace(report, call=None)}")
