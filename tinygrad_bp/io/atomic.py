"""Files replaced in one piece: the old one or the new one, whatever happens in between; and one writer at a time.

`in_place_of` gives a file to write to beside the one that is meant, and puts it in its place when all of it is on the
disk. An error leaves nothing behind. Only a process that is killed, or a power cut, can leave the file it was writing;
its name says so, and `remove_leftovers` clears it away; that nobody else is writing there, `only_writer_of` knows.
What is in the files is not known here.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["in_place_of", "only_writer_of", "remove_leftovers"]

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part")


@contextmanager
def in_place_of(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends well, and is gone when it does not.

    It is written as ``.NAME.XXXXXXXX.part`` in the same folder. A link stays a link, and a file keeps its permissions.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        There is no such folder, or a folder is in the place of the file.
    OSError
        The folder cannot be written, or the disk is full. An older file is untouched.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with in_place_of(f"{folder}/notes.txt") as file:
    ...         _ = file.write(b"all of it")
    ...     Path(folder, "notes.txt").read_text()
    'all of it'
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {path.parent}. Create it first.")
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a folder. Name a file in it.")
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(new, "xb") as file:
            with suppress(FileNotFoundError):
                new.chmod(stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete what killed processes left of the files that they were writing in `folder`, and nothing else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, ".model.npz.0123abcd.part").write_bytes(b"half of")
    ...     remove_leftovers(folder)
    ...     os.listdir(folder)
    []
    """
    for entry in os.scandir(folder):
        if _LEFTOVER.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            Path(entry).unlink(missing_ok=True)


@contextmanager
def only_writer_of(folder: str | os.PathLike[str]) -> Iterator[None]:
    """A block for this folder, which is made, that nobody else is in; a process that is killed has left it.

    Where the system has no locks (Windows, some networks) nothing is promised.

    Raises
    ------
    ValueError
        Somebody else is in it.
    OSError
        The folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as runs, only_writer_of(f"{runs}/first"):
    ...     os.listdir(runs)
    ['first']
    """
    with suppress(FileExistsError):  # a file in its place is for others to refuse
        Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another process writes there. Wait for it, or name another folder.") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Let the new name outlast a power cut, where the system can."""
    with suppress(OSError):  # Windows opens no folders, some file systems have nothing to sync
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
