"""A process that forks runs of the command line and kills them: it imports everything once, for all of them.

Reads orders from stdin, each a line of JSON, and answers each with one: what ended the run (a status of waitpid), how
long it took, and how often it touched its folder. What kills it cannot be caught, so nothing is cleaned up:

    "seconds"   SIGKILL so long after its start
    "touch"     SIGKILL at its n-th touch of the folder: before it opens, syncs, renames, removes or makes something
    "bytes"     SIGXFSZ in the middle of a write, when a file grows longer than that

Drawing takes longer than all the rest, so with "sketch" a picture is only the numbers that would be drawn.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from tinygrad_bp.__main__ import main
from tinygrad_bp.io.atomic import in_place_of
from tinygrad_bp.training import run_folder

TOUCHING = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            run(order, writing)
        os.close(writing)
        status = waited(child, order.get("seconds"))
        seconds = time.monotonic() - began
        with os.fdopen(reading, "rb") as pipe:
            touches = len(pipe.read())
        print(json.dumps({"status": status, "seconds": seconds, "touches": touches}), flush=True)


def waited(child: int, seconds: float | None) -> int:
    """The status of the child, which is killed after so many seconds."""
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # no harm where it has ended: it is still there until it is waited for
    return os.waitpid(child, 0)[1]


def run(order: dict, writing: int) -> None:
    """What the child does; it does not return."""
    code = 70
    try:
        os.chdir(order["folder"])
        for number, name in ((1, os.devnull), (2, order["errors"])):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        count_touches(os.path.abspath(order["out"]), order.get("touch"), writing)
        if "bytes" in order:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["bytes"], order["bytes"]))
        if order["sketch"]:
            run_folder.write_curves = sketch
        code = main(order["arguments"])
    finally:
        sys.stderr.flush()
        os._exit(code)


def sketch(history: list, path: Path, **options: object) -> None:
    for suffix in (".png", ".svg"):
        with in_place_of(path.with_suffix(suffix)) as file:
            file.write(json.dumps([history, options]).encode())


def count_touches(folder: str, last: int | None, writing: int) -> None:
    """From now on, a byte to the pipe for everything that touches the folder; at the last one the process is killed."""
    touches = 0

    def touch() -> None:
        nonlocal touches
        touches += 1
        os.write(writing, b".")
        if touches == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple) -> None:
        if event in TOUCHING and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if path == folder or path.startswith(folder + os.sep):
                touch()

    def fsync(file: int) -> None:
        touch()
        synced(file)

    synced, os.fsync = os.fsync, fsync
    sys.addaudithook(hook)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # what is slow the first time: fonts
        run_folder.write_curves([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}], f"{folder}/curve")
    serve()
