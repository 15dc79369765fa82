"""Where the boxes of a graph stand and which way its arrows go, in pixels: from top to bottom, without overlaps.

The size of a box follows from its text, whose width is estimated: a picture is made without fonts. The places and the
ways are found by graphlay, which gives the same for the same graph. Nothing is drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .graph import Arrow, Box, Graph

__all__ = ["LINE", "MONO", "PAD", "SMALL", "TITLE", "Layout", "Place", "Route", "layout", "text_width"]

TITLE, SMALL = 14, 12
"""Sizes of type: of titles, and of all that is smaller."""
LINE, PAD = 18, 10
"""The height of a line, and the room to the border of a box."""
MONO = 0.602

_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]{} -/"), frozenset("mwMWNOQGD@%&\u2202")


@dataclass(frozen=True)
class Place:
    """A box on the page: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """The corners of an arrow's way, and the middle of its label."""

    points: tuple[tuple[float, float], ...]
    label: tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """A place for every box and a route for every arrow, in their order, on a page of this size."""

    places: list[Place]
    routes: list[Route]
    width: float
    height: float


def text_width(text: str, size: float) -> float:
    """About how wide a text is in bold sans-serif type, rather more than less.

    >>> text_width("ill", 10) < text_width("abc", 10) < text_width("MMM", 10)
    True
    """
    return size * sum(0.36 if c in _NARROW else 0.92 if c in _WIDE else 0.68 for c in text)


def size_of(box: Box) -> tuple[float, float]:
    """Width and height of a box."""
    widths = [text_width(box.title, TITLE), text_width(box.note, SMALL)]
    widths += [MONO * SMALL * (len(row.name) + len(row.shape) + 2) for row in box.rows]
    lines = 1 + bool(box.note) + len(box.rows)
    return round(max(widths)) + 2 * PAD + 4, lines * LINE + 2 * PAD - 6 + (6 if box.rows else 0)


def layout(graph: Graph) -> Layout:
    """Places and routes for a graph.

    Raises
    ------
    ValueError
        There are more boxes than anybody could look at.
    ModuleNotFoundError
        graphlay (extra `cli`) is not installed.
    """
    if len(graph.boxes) > _MOST:
        raise ValueError(
            f"draw: the graph has {len(graph.boxes)} boxes, a picture at most {_MOST}. Draw a part of it, a model with "
            "less depth, or take .dot."
        )
    try:
        import graphlay
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("draw: a picture needs graphlay. pip install 'tinygrad_bp[cli]'.") from error
    asked = graphlay.Graph()
    sizes = [size_of(box) for box in graph.boxes]
    for position, (width, height) in enumerate(sizes):
        asked.node(position, width=width, height=height)
    for arrow in graph.arrows:
        ends = (arrow.target, arrow.source) if arrow.gradient else (arrow.source, arrow.target)
        asked.edge(*ends, label_size={"width": MONO * SMALL * len(arrow.shape) + 8, "height": SMALL + 4})
    found = graphlay.layout(asked, options=_OPTIONS)
    return _arranged(graph.arrows, sizes, found)


_OPTIONS = {"direction": "topbottom", "spacing": {"layer_gap": 44.0, "node_gap": 24.0}}
_MARGIN = 16
_MOST = 300


def _arranged(arrows: list[Arrow], sizes: list[tuple[float, float]], found: Any) -> Layout:
    corner, far = found.bounds["min"], found.bounds["max"]
    labels = [
        (edge["label_anchor"]["x"], MONO * SMALL * len(arrow.shape) / 2) for arrow, edge in zip(arrows, found.edges)
    ]
    left = min([corner["x"], *(x - half for x, half in labels)])  # a label may stand out beyond all boxes and ways
    right = max([far["x"], *(x + half for x, half in labels)])
    dx, dy = _MARGIN - left, _MARGIN - corner["y"]
    places = [
        Place(
            round(node["center"]["x"] + dx - width / 2, 1),
            round(node["center"]["y"] + dy - height / 2, 1),
            width,
            height,
        )
        for node, (width, height) in zip(found.nodes, sizes)
    ]
    routes = []
    for arrow, edge in zip(arrows, found.edges):
        points = [(round(p["x"] + dx, 1), round(p["y"] + dy, 1)) for p in edge["points"]]
        anchor = edge["label_anchor"]
        label = (round(anchor["x"] + dx, 1), round(anchor["y"] + dy, 1))
        routes.append(Route(tuple(points[::-1] if arrow.gradient else points), label))
    return Layout(places, routes, round(right - left, 1) + 2 * _MARGIN, far["y"] - corner["y"] + 2 * _MARGIN)
