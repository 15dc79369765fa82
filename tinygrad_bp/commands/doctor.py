"""doctor: what makes NumPy slow on this machine, and what to do about it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .. import doctor as machine

__all__ = ["add"]


def add(commands: Any) -> None:
    """Enter the command."""
    doctor = commands.add_parser(
        "doctor",
        help="what makes NumPy slow on this machine, and what to do about it",
        description="Tell versions, the CPU, NumPy's BLAS and its kernels, threads, the speed of products and of a "
        "training step written by hand, eager and compiled, and what could be improved.",
    )
    doctor.add_argument("--json", action="store_true", help="the same as JSON")
    doctor.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    facts = machine.examine()
    print(json.dumps(machine.to_dict(facts), indent=2, allow_nan=False) if arguments.json else machine.render(facts))
    return 0
