"""Files fetched once over HTTP: checked against their SHA-256, and put in the cache in one piece.

A file that is there and right is never asked for again. What breaks off, or turns out to be another file, leaves
nothing behind. Which files there are, and what is in them, is not known here.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..io.atomic import in_place_of

if TYPE_CHECKING:
    from http.client import HTTPResponse

__all__ = ["cache_folder", "fetch"]

TIMEOUT = 30.0  # seconds without an answer, or without a byte of it
CHUNK = 1 << 16


def cache_folder() -> Path:
    """Return where fetched files are kept; the folder need not exist yet.

    $TINYGRAD_BP_CACHE, else $XDG_CACHE_HOME/tinygrad_bp, else ~/.cache/tinygrad_bp; on Windows %LOCALAPPDATA% in the
    place of ~/.cache. As the XDG Base Directory Specification has it, a relative XDG_CACHE_HOME is passed over.

    Raises FileNotFoundError where none of these is set and there is no home directory.

    >>> os.environ["TINYGRAD_BP_CACHE"] = "/var/cache/nets"
    >>> cache_folder().as_posix()
    '/var/cache/nets'
    >>> del os.environ["TINYGRAD_BP_CACHE"]
    """
    if named := os.environ.get("TINYGRAD_BP_CACHE"):
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.environ.get("LOCALAPPDATA", "") if sys.platform == "win32" else ""
    try:
        return (Path(base) if base else Path.home() / ".cache") / "tinygrad_bp"
    except RuntimeError:
        raise FileNotFoundError("cache_folder: no home directory. Name a folder in TINYGRAD_BP_CACHE.") from None


def fetch(url: str, path: str | os.PathLike[str], sha256: str, progress: bool = True) -> Path:
    """Return `path`, the file whose SHA-256 is `sha256`: as it is there, or fetched from `url` first.

    Parameters
    ----------
    url
        An address that begins with http:// or https://.
    path
        The file. Folders that it needs are made. A file that is there and has another SHA-256 is replaced.
    sha256
        64 hexadecimal digits.
    progress
        Whether to say on stderr what is fetched: a bar of rich on a terminal, else a line.

    Raises
    ------
    ValueError
        Another kind of address, or a file with another SHA-256.
    OSError
        The server cannot be reached, answers with an error or breaks off (ConnectionError); the file cannot be written.

    Whatever is raised, what was at `path` is as it was, and no other file is left.

    Examples
    --------
    >>> fetch("ftp://example.org/digits.gz", "digits.gz", 64 * "0")
    Traceback (most recent call last):
    ValueError: fetch: ftp://example.org/digits.gz is no address of HTTP. Give one that begins with https:// or http://.
    """
    path, expected = Path(path), sha256.lower()
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"fetch: {url} is no address of HTTP. Give one that begins with https:// or http://.")
    try:
        if path.is_file() and _sha256(path) == expected:
            return path
        with _answer(url) as response:
            path.parent.mkdir(parents=True, exist_ok=True)
            with in_place_of(path) as file, _shown(url, path.name, response.length, progress) as advance:
                digest = hashlib.sha256()
                for chunk in _chunks(response, url):
                    digest.update(chunk)
                    file.write(chunk)
                    advance(len(chunk))
                if digest.hexdigest() != expected:
                    raise ValueError(
                        f"fetch: {url} has sha256 {digest.hexdigest()}, not {expected}. "
                        "Try again; if it stays so, the file there is another one."
                    )
    except (ConnectionError, IsADirectoryError):
        raise
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"fetch: {path} cannot be written or read: {reason}. Name another folder.") from error
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _answer(url: str) -> Iterator[HTTPResponse]:
    """The answer to a request, when it is a file; its body is still to be read."""
    from http.client import HTTPException
    from urllib import request
    from urllib.error import HTTPError

    opener = request.OpenerDirector()  # urlopen would follow a redirection to FTP
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    try:
        response = opener.open(url, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        reason = " ".join(error.reason.split())
        raise ConnectionError(
            f"fetch: {url} answered {error.code} {reason}. Check the address, or try again later."
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        raise ConnectionError(
            f"fetch: {url} cannot be reached: {_reason(error)}. Check the network and the address, and try again."
        ) from error
    with response:
        yield response


def _chunks(response: HTTPResponse, url: str) -> Iterator[bytes]:
    """The body piece by piece, all of it."""
    from http.client import HTTPException, IncompleteRead

    size, got = response.length, 0
    of_all = "" if size is None else f" of {size}"
    try:
        while chunk := response.read(CHUNK):
            got += len(chunk)
            yield chunk
        if size is not None and got < size:
            raise IncompleteRead(b"", size - got)
    except (OSError, HTTPException) as error:
        got += len(getattr(error, "partial", b""))
        reason = "" if isinstance(error, IncompleteRead) else f": {_reason(error)}"
        raise ConnectionError(f"fetch: {url} broke off after {got}{of_all} bytes{reason}. Try again.") from error


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    from urllib.error import URLError

    reason = error.reason if isinstance(error, URLError) else error
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return " ".join(text.split())


@contextmanager
def _shown(url: str, name: str, size: int | None, progress: bool) -> Iterator[Callable[[int], object]]:
    """A function to call with the number of bytes of each piece: a bar on a terminal, else one line now."""
    bar = _bar() if progress and sys.stderr.isatty() else None
    if bar is None:
        if progress:
            much = "" if size is None else f" ({size / 1e6:.1f} MB)"
            print(f"downloading {url}{much}", file=sys.stderr, flush=True)
        yield lambda come: None
    else:
        with bar:
            task = bar.add_task(name, total=size)
            yield lambda come: bar.advance(task, come)


def _bar() -> Any:
    """A bar of rich, where it is installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    name = TextColumn("{task.description}", markup=False)
    return Progress(name, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True))
