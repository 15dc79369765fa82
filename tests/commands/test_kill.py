"""Killed at any instant and resumed, a run ends bit for bit where the run that was never killed ends."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands.shell import ROOT, files

if sys.platform == "win32":
    pytest.skip("kills and forks as Unix does", allow_module_level=True)

EPOCHS = 20
# Whatever a run remembers: two moments a parameter, a mask in every pass, a rate that falls, the best weights, an
# epoch that ends in a smaller batch, and snapshots that give way to later ones. 126 rows to train on are 8 batches.
DOCUMENT = f"""
format = 1
data = {{name = "moons", n = 180, batch_size = 16}}
loss = {{type = "CrossEntropyLoss"}}
optim = {{type = "Adam", lr = 0.02}}
schedule = {{type = "CosineAnnealingLR", T_max = {EPOCHS}}}
train = {{epochs = {EPOCHS}, metrics = ["accuracy", "f1"], restore_best = true, clip_norm = 5.0, snapshots = 5}}

[model]
layers = [
    {{type = "Linear", out_features = 12}},
    {{type = "Dropout", p = 0.2}},
    {{type = "ReLU"}},
    {{type = "Linear", out_features = 2}},
]
"""


KINDS = ("seconds", "touch", "bytes")
KILLS = 54
MOST = 5  # kills of one run, before it is let through


@dataclass(frozen=True)
class Ended:
    signal: int  # 0 where the run came to its end
    seconds: float
    touches: int


class Server:
    """The process of killed_runs.py; its runs are of net.toml in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.commands.killed_runs"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, sketch: bool, **end: float) -> Ended:
        """Begin or go on with the run NAME/run, until the end or what ends it before."""
        arguments = ["train", "net.toml", "--out", f"{name}/run", "--resume"]
        errors = self.folder / f"{name}.txt"
        errors.touch()  # it may be killed before it gets there
        order = {"arguments": arguments, "folder": str(self.folder), "out": f"{name}/run", "errors": str(errors)}
        print(json.dumps(order | {"sketch": sketch} | end), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        code = os.waitstatus_to_exitcode(answer["status"])
        assert (code <= 0) and not errors.read_text(), errors.read_text()
        return Ended(-code, answer["seconds"], answer["touches"])


def stage(run: Path) -> str:
    """How far a run that was killed had come."""
    if not (run / "checkpoint" / "state.safetensors").exists():
        return "before the first checkpoint"
    metrics = run / "metrics.jsonl"
    finishing = (run / "model.safetensors").exists() or metrics.read_bytes().count(b"\n") == EPOCHS
    return "while finishing" if finishing else "in the middle"


@pytest.fixture
def server(tmp_path):
    (tmp_path / "net.toml").write_text(DOCUMENT)
    server = Server(tmp_path)
    with server.process:
        yield server


def test_a_run_killed_at_any_instant_goes_on_bit_for_bit(server, tmp_path, capsys):
    subprocess.run(
        [sys.executable, "-m", "tinygrad_bp", "train", "net.toml", "--out", "whole/run", "--quiet"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    whole = {False: files(tmp_path / "whole/run")}
    assert server.run("drawn", sketch=False).signal == 0
    assert files(tmp_path / "drawn/run") == whole[False]  # in a process that forks the run is the same
    never_killed = server.run("sketched", sketch=True)
    whole[True] = files(tmp_path / "sketched/run")
    alike = {"checkpoint/state.safetensors", "columns.json", "metrics.jsonl", "model.safetensors", "spec.toml"}
    alike |= {f"snapshots/epoch-{epoch:05}.safetensors" for epoch in (0, 1, 8, 16, EPOCHS)}
    assert {name for name in whole[True] if whole[True][name] == whole[False][name]} == alike
    assert whole[True].keys() - alike == {"curve.png", "curve.svg"}

    draw, kinds, stages = random.Random(0), Counter(), Counter()
    most = {
        "seconds": never_killed.seconds,
        "touch": never_killed.touches,
        "bytes": max(map(len, whole[True].values())),
    }
    run = 0
    while kinds.total() < KILLS:
        name, sketch = f"run{run}", run % 5 > 0
        for kind in [draw.choices(KINDS, (5, 5, 1))[0] for _ in range(MOST)]:
            end = most[kind] * draw.random() ** 2  # more of them early, as a run that goes on has less before it
            end = end if kind == "seconds" else 1 + int(end)
            if not server.run(name, sketch, **{kind: end}).signal:
                break
            kinds[kind] += 1
            stages[stage(tmp_path / name / "run")] += 1
        else:
            assert server.run(name, sketch).signal == 0
        found = files(tmp_path / name / "run")
        assert found.keys() == whole[sketch].keys()
        assert [file for file in found if found[file] != whole[sketch][file]] == []
        run += 1
    with capsys.disabled():
        print(f"\n{kinds.total()} kills of {run} runs: {dict(kinds)}; {dict(stages)}")
    assert len(stages) == 3
