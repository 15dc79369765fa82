"""Being written."""

from typing import Any


def add(commands: Any) -> None:
    """Enter the command."""
