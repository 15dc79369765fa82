"""Files fetched from a server on this machine: once, checked, in one piece; every way to fail is one line."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tinygrad_bp.data import download
from tinygrad_bp.data.download import cache_folder, fetch

CONTENT = bytes(range(256)) * 1000  # of several pieces
SHA256 = hashlib.sha256(CONTENT).hexdigest()


# -- what should happen --


def test_a_file_is_fetched_once(server, tmp_path):
    server.answers["/a.gz"] = CONTENT
    path = tmp_path / "deep" / "down" / "a.gz"
    assert fetch(server.url("a.gz"), str(path), SHA256.upper()) == path
    assert path.read_bytes() == CONTENT
    assert fetch(server.url("a.gz"), path, SHA256) == path
    assert server.asked == ["/a.gz"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("there", [b"", CONTENT[:-1], CONTENT[:-1] + b"\x00"], ids=["empty", "cut off", "a bit"])
def test_a_damaged_file_is_fetched_again(server, tmp_path, there):
    server.answers["/a.gz"] = CONTENT
    (tmp_path / "a.gz").write_bytes(there)
    fetch(server.url("a.gz"), tmp_path / "a.gz", SHA256)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT


def chunked(request, end=b"0\r\n\r\n"):
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT) + end)


def test_an_answer_may_be_chunked_or_come_from_another_address(server, tmp_path, capsys):
    server.answers["/a.gz"] = chunked
    server.answers["/old"] = redirection("/a.gz")
    fetch(server.url("old"), tmp_path / "a.gz", SHA256)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT
    assert capsys.readouterr().err == f"downloading {server.url('old')}\n"


# -- what can go wrong: one line, nothing changed, nothing left --


def redirection(target):
    def answer(request):
        request.send_response(302)
        request.send_header("Location", target)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def cut_off(request):
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT[:100_000])


def reset(request):
    cut_off(request)
    request.wfile.flush()
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def too_short(request):
    request.send_response(200)
    request.send_header("Content-Length", "7")
    request.end_headers()
    request.wfile.write(CONTENT)


OTHER = hashlib.sha256(b"something else").hexdigest()
SEVEN = hashlib.sha256(CONTENT[:7]).hexdigest()
AGAIN = "Check the network and the address, and try again."


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (None, ConnectionError, "answered 404 Not Found. Check the address, or try again later."),
        (lambda r: r.send_error(503), ConnectionError, "answered 503 Service Unavailable. Check the address, or try "),
        (
            b"something else",
            ValueError,
            f"has sha256 {OTHER}, not {SHA256}. Try again; if it stays so, the file there ",
        ),
        (too_short, ValueError, f"has sha256 {SEVEN}, not {SHA256}. Try again; "),
        (cut_off, ConnectionError, f"broke off after 100000 of {len(CONTENT)} bytes. Try again."),
        (lambda r: chunked(r, b""), ConnectionError, f"broke off after {len(CONTENT)} bytes. Try again."),
        (lambda r: None, ConnectionError, "cannot be reached: Remote end closed connection without response. " + AGAIN),
        (lambda r: r.wfile.write(b"220 mail\r\n\r\n"), ConnectionError, "cannot be reached: 220 mail. " + AGAIN),
        (redirection("file:///etc/hosts"), ConnectionError, "answered 302 "),
        (redirection("ftp://127.0.0.1/a.gz"), ConnectionError, "cannot be reached: unknown url type: ftp. " + AGAIN),
        (redirection("/a.gz"), ConnectionError, "answered 302 "),
    ],
    ids=["missing", "busy", "other", "short", "cut", "chunk", "silence", "mail", "file", "ftp", "circle"],
)
@pytest.mark.parametrize("there", [None, b"damaged"], ids=["new", "damaged"])
def test_what_a_server_can_do_wrong(server, tmp_path, answer, error, message, there):
    if answer is not None:
        server.answers["/a.gz"] = answer
    if there is not None:
        (tmp_path / "a.gz").write_bytes(there)
    url = server.url("a.gz")
    with pytest.raises(error, match="^" + re.escape(f"fetch: {url} {message}")) as caught:
        fetch(url, tmp_path / "a.gz", SHA256)
    assert "\n" not in str(caught.value)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [there] * (there is not None)


def test_a_connection_that_is_reset(server, tmp_path):
    server.answers["/a.gz"] = reset
    found = r"(broke off after \d+ of 256000 bytes|cannot be reached): Connection reset by peer\. "  # before any answer
    with pytest.raises(ConnectionError, match=f"^fetch: {re.escape(server.url('a.gz'))} {found}"):
        fetch(server.url("a.gz"), tmp_path / "a.gz", SHA256)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (lambda request: None, "cannot be reached: timed out. " + AGAIN),
        (cut_off, f"broke off after 65536 of {len(CONTENT)} bytes: timed out. Try again."),
    ],
    ids=["nothing", "half"],
)
def test_a_server_that_falls_silent(server, tmp_path, monkeypatch, begin, message):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    over = threading.Event()

    def answer(request):
        begin(request)
        request.wfile.flush()
        over.wait()

    server.answers["/a.gz"] = answer
    try:
        with pytest.raises(ConnectionError, match="^" + re.escape(f"fetch: {server.url('a.gz')} {message}") + "$"):
            fetch(server.url("a.gz"), tmp_path / "a.gz", SHA256)
    finally:
        over.set()
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.gz"
    with pytest.raises(ConnectionError, match="^" + re.escape(f"fetch: {url} cannot be reached: Connection refused.")):
        fetch(url, tmp_path / "new" / "a.gz", SHA256)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "ftp://127.0.0.1/a", "data:,a", "a.gz", "", "//127.0.0.1/a", "httpx://127.0.0.1/a"]
)
def test_other_addresses_are_refused(tmp_path, url):
    message = f"fetch: {url} is no address of HTTP. Give one that begins with https:// or http://."
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        fetch(url, tmp_path / "a.gz", SHA256)


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:port/a", "http://a b/", "http://..", "http://[::1/a"])
def test_addresses_that_are_none(tmp_path, url):
    with pytest.raises(ConnectionError, match="^" + re.escape(f"fetch: {url} cannot be reached: ") + ".+" + AGAIN):
        fetch(url, tmp_path / "a.gz", SHA256)


def test_a_place_that_cannot_be_written(server, tmp_path, monkeypatch):
    server.answers["/a.gz"] = CONTENT
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    under, folder = tmp_path / "file" / "a.gz", tmp_path / "folder"
    for path, message in (
        (under, f"fetch: {under} cannot be written or read: File exists. Name another folder."),
        (folder, f"save: {folder} is a folder. Name a file in it."),
    ):
        with pytest.raises(OSError, match="^" + re.escape(message) + "$"):
            fetch(server.url("a.gz"), path, SHA256)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a\.gz cannot be written or read: No space left on device\. Name another "):
        fetch(server.url("a.gz"), tmp_path / "a.gz", SHA256)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_interrupt_leaves_nothing(server, tmp_path, monkeypatch):
    server.answers["/a.gz"] = CONTENT

    class Interrupting:
        def __init__(self):
            self.pieces = 0

        def update(self, piece):
            self.pieces += 1
            if self.pieces == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(hashlib, "sha256", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        fetch(server.url("a.gz"), tmp_path / "a.gz", SHA256)
    assert list(tmp_path.iterdir()) == []


# -- what is shown --


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown_on_a_terminal(server, folder, monkeypatch, progress=True) -> str:
    server.answers["/a.gz"] = CONTENT
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    fetch(server.url("a.gz"), folder / "[a].gz", SHA256, progress)
    return terminal.getvalue()


def test_a_bar_on_a_terminal(server, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown_on_a_terminal(server, tmp_path, monkeypatch)
    assert "[a].gz" in text
    assert "256.0/256.0 kB" in text
    assert "\x1b[38;5;" in text
    assert capsys.readouterr().out == ""


def test_a_bar_without_colours(server, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown_on_a_terminal(server, tmp_path, monkeypatch)
    assert "256.0/256.0 kB" in text
    assert "\x1b[3" not in text


def test_a_line_where_rich_is_not_installed(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    text = shown_on_a_terminal(server, tmp_path, monkeypatch)
    assert text == f"downloading {server.url('a.gz')} (0.3 MB)\n"


def test_a_line_elsewhere_and_nothing_on_request(server, tmp_path, monkeypatch, capsys):
    server.answers["/a.gz"] = CONTENT
    fetch(server.url("a.gz"), tmp_path / "a.gz", SHA256)
    assert capsys.readouterr() == ("", f"downloading {server.url('a.gz')} (0.3 MB)\n")
    fetch(server.url("a.gz"), tmp_path / "a.gz", SHA256)
    fetch(server.url("a.gz"), tmp_path / "b.gz", SHA256, progress=False)
    assert capsys.readouterr() == ("", "")
    assert shown_on_a_terminal(server, tmp_path, monkeypatch, progress=False) == ""


# -- the cache --


@pytest.fixture
def no_cache(monkeypatch, tmp_path) -> Path:
    """No variable that names a cache; the home directory."""
    for name in ("TINYGRAD_BP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


def test_the_cache_folder(no_cache, monkeypatch):
    assert cache_folder() == no_cache / ".cache" / "tinygrad_bp"
    monkeypatch.setenv("LOCALAPPDATA", str(no_cache / "local"))
    assert cache_folder() == no_cache / ".cache" / "tinygrad_bp"
    monkeypatch.setattr(sys, "platform", "win32")
    assert cache_folder() == no_cache / "local" / "tinygrad_bp"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == no_cache / "local" / "tinygrad_bp"
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_cache / "xdg"))
    assert cache_folder() == no_cache / "xdg" / "tinygrad_bp"
    monkeypatch.setenv("TINYGRAD_BP_CACHE", str(no_cache / "own"))
    assert cache_folder() == no_cache / "own"
    monkeypatch.chdir(no_cache)
    monkeypatch.setenv("TINYGRAD_BP_CACHE", "here")
    assert cache_folder() == no_cache / "here"
    assert list(no_cache.iterdir()) == []


def test_no_home(no_cache, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    message = "cache_folder: no home directory. Name a folder in TINYGRAD_BP_CACHE."
    with pytest.raises(FileNotFoundError, match="^" + re.escape(message) + "$"):
        cache_folder()


def test_importing_data_loads_no_network():
    code = "import sys, tinygrad_bp.data; print([name for name in ('urllib.request', 'rich') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
