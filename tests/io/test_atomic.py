"""in_place_of: the old file or the new one, and nothing else; what a killed process leaves is cleared away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import pytest

from tinygrad_bp.io.atomic import in_place_of, only_writer_of, remove_leftovers


def put(path, content):
    with in_place_of(path) as file:
        file.write(content)


def test_the_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "w.bin"
    put(path, b"first")
    assert path.read_bytes() == b"first"
    put(str(path), b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt("stopped")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, stage, error):
    path = tmp_path / "w.bin"
    put(path, b"old")

    def fail(*args):
        raise error

    monkeypatch.setattr(os, stage, fail)
    with pytest.raises(type(error), match=r"No space left|stopped"):
        put(path, b"new")
    monkeypatch.undo()
    with pytest.raises(ZeroDivisionError, match="division"), in_place_of(path) as file:
        file.write(b"half")
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_file_then_name_then_folder_reach_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "w.bin"
    put(path, b"old")
    steps = []
    sync, replace = os.fsync, os.replace

    def watched_sync(handle):
        kind = "folder" if os.fstat(handle).st_ino == tmp_path.stat().st_ino else "file"
        steps.append((kind, path.read_bytes(), os.fstat(handle).st_size if kind == "file" else None))
        sync(handle)

    def watched_replace(new, old):
        assert re.fullmatch(r"\.w\.bin\.[0-9a-f]{8}\.part", os.path.basename(new))
        steps.append(("name", path.read_bytes(), os.path.getsize(new)))
        replace(new, old)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "replace", watched_replace)
    put(path, b"longer")
    folder = [] if os.name == "nt" else [("folder", b"longer", None)]
    assert steps == [("file", b"old", 6), ("name", b"old", 6), *folder]


def test_a_folder_that_cannot_be_synced_does_no_harm(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError("this system opens no folders")

    monkeypatch.setattr(os, "open", refuse)
    put(tmp_path / "w.bin", b"all of it")
    assert (tmp_path / "w.bin").read_bytes() == b"all of it"


def test_a_folder_in_the_way_or_missing_is_an_error(tmp_path):
    (tmp_path / "w.bin").mkdir()
    with pytest.raises(IsADirectoryError, match=r"^save: .*w\.bin is a folder\. Name a file in it\.$"):
        put(tmp_path / "w.bin", b"")
    with pytest.raises(FileNotFoundError, match=r"^save: there is no folder .*missing\. Create it first\.$"):
        put(tmp_path / "missing" / "w.bin", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["w.bin"]


def test_a_link_stays_a_link(tmp_path):
    put(tmp_path / "w.bin", b"old")
    (tmp_path / "link").symlink_to(tmp_path / "w.bin")
    put(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "w.bin").read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_stay_and_new_files_have_the_usual_ones(tmp_path):
    path = tmp_path / "w.bin"
    (tmp_path / "usual").touch()
    put(path, b"")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    path.chmod(0o600)
    with in_place_of(path) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600  # while it is written, too
    assert path.stat().st_mode & 0o777 == 0o600


KILLED = """
import os, signal, sys
from tinygrad_bp.io.atomic import in_place_of
with in_place_of(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_process_leaves_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "w.bin"
    put(path, b"old")
    assert subprocess.run([sys.executable, "-c", KILLED, path]).returncode == -signal.SIGKILL
    (left,) = set(tmp_path.iterdir()) - {path}
    assert path.read_bytes() == b"old"
    kept = [".w.bin.part", "w.bin.0123abcd.part", ".w.bin.0123abcd", ".w.bin.0123ABCD.part", ".w.0123abcd.part.txt"]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / ".folder.0123abcd.part").mkdir()
    remove_leftovers(tmp_path)
    assert not left.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"w.bin", ".folder.0123abcd.part", *kept}
    assert path.read_bytes() == b"old"


KILLER = """
import os, random, signal, sys, time
import numpy as np
from tinygrad_bp.io import load, save
from tinygrad_bp.io.atomic import remove_leftovers
folder, path = sys.argv[1], sys.argv[1] + "/w.safetensors"
def state(number):
    return {"numbers": np.full(20_000, float(number)), "list": [number]}
save(path, state(0))
random.seed(0)
left = 0
for kill in range(200):
    child = os.fork()
    if child == 0:
        for number in range(10**9):
            save(path, state(number))
    time.sleep(0.0005 + 0.005 * random.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    whole = load(path)
    assert (whole["numbers"] == whole["list"][0]).all()
    left += len(os.listdir(folder)) > 1
    remove_leftovers(folder)
    assert os.listdir(folder) == ["w.safetensors"]
print(left)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_200_instants_the_file_is_always_whole(tmp_path):
    """Each file says which state it is, and all of it must agree; most kills hit a file that is being written."""
    done = subprocess.run([sys.executable, "-c", KILLER, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_folder_has_one_writer_and_a_killed_one_has_left(tmp_path):
    folder = tmp_path / "new" / "run"
    code = "import sys, time; from tinygrad_bp.io.atomic import only_writer_of as only\n"
    code += "with only(sys.argv[1]): print('in', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "in\n"
        refused = r"run: another process writes there\. Wait for it, or name another folder\.$"
        with pytest.raises(ValueError, match=refused), only_writer_of(folder):
            pass
        other.kill()
        other.wait()
        for _ in range(2):
            with only_writer_of(folder), only_writer_of(tmp_path):
                assert list(folder.iterdir()) == []


def test_without_locks_everybody_may_write(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with only_writer_of(tmp_path / "run"), only_writer_of(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    refusing = SimpleNamespace(flock=mock.Mock(side_effect=OSError("no locks available")), LOCK_EX=2, LOCK_NB=4)
    monkeypatch.setitem(sys.modules, "fcntl", refusing)
    with only_writer_of(tmp_path / "run"), only_writer_of(tmp_path / "run"):
        assert refusing.flock.call_count == (0 if os.name == "nt" else 2)
