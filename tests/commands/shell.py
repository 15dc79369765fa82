"""The command line as tests use it: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tinygrad_bp import __main__ as command

ROOT = Path(__file__).parents[2]

MOONS = """
format = 1
data = {name = "moons", n = 80, batch_size = 16}
model = {layers = [{type = "Linear", out_features = 4}, {type = "Tanh"}, {type = "Linear", out_features = 2}]}
loss = {type = "CrossEntropyLoss"}
optim = {type = "Adam", lr = 0.05}
train = {epochs = 2, metrics = []}
"""
FILES = [
    *("checkpoint", "columns.json", "curve.png", "curve.svg", "metrics.jsonl", "model.safetensors", "snapshots"),
    "spec.toml",
]


def spawned(*arguments, **options):
    """The process of a command line, with the package of this checkout."""
    return subprocess.Popen(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "tinygrad_bp", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {}),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )


def exit_code(*arguments):
    """What main returns or exits with."""
    try:
        return command.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0


def left(folder="."):
    """Every file and folder below, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))


def files(folder):
    """The bytes of every file below, hidden ones too, by its name."""
    folder = Path(folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def state_of(folder):
    """All that could have changed: names, bytes and times."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [Path(folder), *Path(folder).rglob("*")]
    }
