"""schema: the JSON Schema of documents, with which an editor completes and checks them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..io.atomic import in_place_of
from ..spec.schema import schema
from .running import add_import, exit_on, import_all

__all__ = ["add"]


def add(commands: Any) -> None:
    """Enter the command."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of documents, for editors",
        description="Print the JSON Schema of documents, from which editors complete and check them.",
    )
    add_import(parser)
    parser.add_argument("-o", dest="output", metavar="FILE", help="write it there instead")
    parser.set_defaults(command=_schema)


def _schema(arguments: argparse.Namespace) -> int:
    with exit_on(2, ImportError, OSError, TypeError, ValueError):
        import_all(arguments.modules)
        text = json.dumps(schema(), indent=2, allow_nan=False) + "\n"
        if arguments.output is None:
            print(text, end="")
        else:
            with in_place_of(arguments.output) as file:
                file.write(text.encode())
    return 0
