"""RunFolder: what is written, in which order, what is refused, and what a killed process leaves."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re

import numpy as np
import pytest

from tinygrad_bp.io import load
from tinygrad_bp.training import run_folder
from tinygrad_bp.training.run_folder import RunFolder

HISTORY = [{"epoch": 1, "loss": 0.5, "seconds": 0.1}, {"epoch": 2, "loss": math.nan, "seconds": 0.2}]
LINES = ['{"epoch": 1, "loss": 0.5}', '{"epoch": 2, "loss": null}']
WEIGHTS = {"weight": np.ones((2, 3)).T}


def state(finished):
    return {"loop": {"finished": finished, "history": HISTORY}}


def files(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "first")


def test_a_run_from_beginning_to_end(folder):
    assert folder.begin(resume=False) is None
    assert not folder.finished()
    for record in HISTORY:
        folder.append(record)
    assert (folder.path / "metrics.jsonl").read_text().splitlines() == LINES
    folder.save_checkpoint(WEIGHTS)  # somebody's file
    assert not folder.finished()
    folder.save_checkpoint(state(False))
    assert not folder.finished()
    assert RunFolder(folder.path).begin(resume=True)["loop"]["finished"] is False
    folder.close(HISTORY, WEIGHTS, state(True))
    assert folder.finished()
    outputs = ["curve.png", "curve.svg", "metrics.jsonl", "model.safetensors"]
    assert files(folder.path) == [os.path.join("checkpoint", "state.safetensors"), *outputs]
    assert (load(folder.path / "model.safetensors")["weight"] == WEIGHTS["weight"]).all()
    before = contents(folder.path)
    history = RunFolder(folder.path).begin(resume=True)["loop"]["history"]
    assert [json.dumps(record) for record in history] == [json.dumps(record) for record in HISTORY]
    assert contents(folder.path) == before


def test_the_metrics_are_cut_back_to_the_history(folder):
    folder.begin(resume=False)
    for record in HISTORY:
        folder.append(record)
    with open(folder.path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "lo')  # killed in a line
    folder.rewrite(HISTORY[:1])
    folder.append(HISTORY[1])
    assert (folder.path / "metrics.jsonl").read_text().splitlines() == LINES


def test_files_in_different_folders_are_the_same(tmp_path):
    for name in ("one", "two"):
        folder = RunFolder(tmp_path / name)
        folder.begin(resume=False)
        folder.close(HISTORY, WEIGHTS, state(True), best=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_checkpoint_is_written_last(folder, monkeypatch):
    """At whatever file a run dies while it ends, it is not finished, and ends as it would have ended."""
    folder.begin(resume=False)
    folder.save_checkpoint(state(False))
    replaced = []
    real = os.replace

    def replace(new, old):
        if len(replaced) == stop:
            raise KeyboardInterrupt("killed")
        replaced.append(os.path.basename(old))
        real(new, old)

    monkeypatch.setattr(os, "replace", replace)
    names = ["metrics.jsonl", "model.safetensors", "curve.png", "curve.svg", "state.safetensors"]
    for stop in range(len(names)):
        replaced.clear()
        with pytest.raises(KeyboardInterrupt, match="killed"):
            folder.close(HISTORY, WEIGHTS, state(True))
        assert replaced == names[:stop]
        assert not folder.finished()
    stop = None
    folder.close(HISTORY, WEIGHTS, state(True))
    assert replaced[-5:] == names
    assert folder.finished()


def test_snapshots_are_listed_by_epoch_and_thinned(folder):
    folder.begin(resume=False)
    assert folder.snapshots() == []
    for epoch in (100000, 7, 0):
        folder.save_snapshot(epoch, WEIGHTS)
    (folder.path / "snapshots" / "notes.txt").touch()
    names = ["epoch-00000.safetensors", "epoch-00007.safetensors", "epoch-100000.safetensors"]
    listed = [(epoch, folder.path / "snapshots" / name) for epoch, name in zip((0, 7, 100000), names)]
    assert folder.snapshots() == listed
    assert (load(listed[1][1])["weight"] == WEIGHTS["weight"]).all()
    folder.thin_snapshots([0, 100000, 5])
    assert folder.snapshots() == [listed[0], listed[2]]


def test_a_folder_of_snapshots_alone_is_a_run(folder):
    folder.path.mkdir(parents=True)
    folder.save_snapshot(0, WEIGHTS)
    refused(
        lambda: folder.check(resume=False),
        f"{folder.path} holds an earlier run (snapshots). Go on with it by --resume, or name another folder.",
    )


def test_an_interrupt_before_the_first_epoch_draws_nothing(folder):
    folder.begin(resume=False)
    folder.close([], WEIGHTS, state(False))
    assert not (folder.path / "curve.png").exists()
    assert (folder.path / "metrics.jsonl").read_bytes() == b""
    assert RunFolder(folder.path).begin(resume=True) is not None


def test_what_a_killed_process_left_is_cleared_away(folder):
    folder.begin(resume=False)
    folder.save_snapshot(0, WEIGHTS)
    names = ("curve.png", "checkpoint/state.safetensors", "snapshots/epoch-00001.safetensors")
    files = [folder.path / name for name in names]
    left = [file.with_name(f".{file.name}.0123abcd.part") for file in files]
    for path in left:
        path.write_bytes(b"half of")
    assert RunFolder(folder.path).begin(resume=True) is None  # no checkpoint yet
    assert not any(path.exists() for path in left)


# ---- what is refused ----------------------------------------------------------------------------------------------


def refused(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        call()


def test_an_earlier_run_is_refused_without_resume(folder):
    folder.begin(resume=False)
    folder.close(HISTORY, WEIGHTS, state(False))
    before = contents(folder.path)
    message = f"{folder.path} holds an earlier run (checkpoint, curve.png, curve.svg ...). Go on with it by "
    refused(lambda: folder.check(resume=False), f"{message}--resume, or name another folder.")
    refused(lambda: folder.begin(resume=False), f"fit: {message}resume=True, or name another folder.")
    assert contents(folder.path) == before
    folder.check(resume=True)


def test_the_files_of_the_command_are_a_run_to_the_command_only(folder):
    folder.path.mkdir(parents=True)
    (folder.path / "spec.toml").touch()
    (folder.path / "columns.json").touch()
    refused(
        lambda: folder.check(resume=False),
        f"{folder.path} holds an earlier run (columns.json, spec.toml). Go on with it by --resume, or name another "
        "folder.",
    )
    folder.check(resume=True)
    assert folder.begin(resume=False) is None


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_other_things_is_refused(folder, resume):
    folder.path.mkdir(parents=True)
    (folder.path / ".hidden").touch()
    folder.check(resume)
    (folder.path / "notes.txt").touch()
    message = f"{folder.path} holds other things (notes.txt). Name another folder for the run."
    refused(lambda: folder.check(resume), message)
    refused(lambda: folder.begin(resume), f"fit: {message}")
    assert files(folder.path) == [".hidden", "notes.txt"]
    (folder.path / "spec.toml").touch()  # a run in which somebody keeps notes
    assert folder.begin(resume=True) is None


def test_a_file_in_the_place_of_the_folder_is_refused(folder):
    folder.path.parent.mkdir()
    folder.path.write_text("text")
    refused(lambda: folder.begin(resume=False), f"fit: {folder.path} is a file. Name a folder for the run.")


def test_a_damaged_checkpoint_is_refused_and_kept(folder):
    folder.begin(resume=False)
    folder.save_checkpoint(state(False))
    path = folder.path / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(
        ValueError, match=r"^load: .*state\.safetensors is damaged: .*\. Use another copy of the file\.$"
    ):
        folder.begin(resume=True)
    assert path.exists()


@pytest.mark.parametrize("package", ["safetensors", "matplotlib"])
def test_a_missing_package_is_said_at_once(folder, monkeypatch, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(run_folder, "find_spec", lambda name: None if name == package else real(name))
    message = rf"^fit: a run folder needs {package}\. pip install 'tinygrad_bp\[cli\]'\.$"
    with pytest.raises(ModuleNotFoundError, match=message):
        folder.begin(resume=False)
    assert not folder.path.exists()
