"""A pseudo-terminal: what a process shows a person."""

from __future__ import annotations

import os


def shown_by(start):
    """All that the process wrote which `start` began, given the terminal as the place to write to."""
    import pty  # which only Unix has

    main_end, end = pty.openpty()
    process = start(end)
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(main_end, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    assert process.wait() == 0, process.stderr.read()
    process.stderr.close()
    os.close(main_end)
    return shown.decode()
