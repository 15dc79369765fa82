"""graph: the net of a document or a run as a picture, SVG or DOT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..spec.mistakes import at
from ..view.draw import draw
from .material import material
from .running import add_import, exit_on

__all__ = ["add"]

ROWS = 2  # a batch of one would hide which axis is the rows


def add(commands: Any) -> None:
    """Enter the command."""
    parser = commands.add_parser(
        "graph",
        help="the net as a picture: layers, operations, shapes, parameters",
        description="Draw the net of a run folder, which gets graph.svg, or that of a document, whose SVG goes to the "
        "standard output; or write a .svg, or a .dot for Graphviz, with -o.",
    )
    parser.add_argument("model", metavar="RUN|FILE", help="the folder of a run, or a .toml or .json document")
    parser.add_argument("-o", dest="output", metavar="PICTURE", help="write the picture there: .svg, .dot or .gv")
    parser.add_argument("--backward", action="store_true", help="also the gradients on their way back")
    parser.add_argument("--depth", type=int, metavar="N", help="open N levels of modules; 0 is the net as one box")
    add_import(parser)
    parser.set_defaults(command=_graph)


def _graph(arguments: argparse.Namespace) -> int:
    with exit_on(2, ImportError, MemoryError, OSError, TypeError, ValueError):
        found = material(arguments.model, arguments.modules)
        with at(arguments.model):
            picture = draw(found.model, found.X[:ROWS], backward=arguments.backward, depth=arguments.depth)
        path = arguments.output or (found.folder and found.folder / "graph.svg")
        if path is None:
            sys.stdout.write(picture.svg)
        else:
            picture.save(Path(path))
            print(path)
    return 0
