"""A graph that has been laid out as an SVG: a picture that every browser opens, in light and in dark.

Colours say what a box is, and so do shapes, for those who see no colours: what goes in and comes out is round, what
belongs to the way back is dashed. All text is real text, the style is in the file, and there is no script. Class names
begin with ``bp-``, and there are no ids, so that several pictures go into one page.
"""

from __future__ import annotations

from html import escape
from math import hypot

from .graph import Arrow, Box, Graph
from .layout import LINE, PAD, SMALL, TITLE, Layout, Place, Route

__all__ = ["svg"]

_ROUND = {"input", "output", "leaf", "constant"}
_HEAD = 7.0
_CORNER = 8.0

_STYLE = """
.bp-graph { --page: #ffffff; --text: #1c2430; --soft: #5b6675; --line: #7b8794;
  --input: #d8f3e3; --input-edge: #1f8a54; --operation: #e0ecfb; --operation-edge: #2f6fb5;
  --output: #ece3fb; --output-edge: #7446b8; --leaf: #fdf0cf; --leaf-edge: #b07a0b;
  --constant: #eceff3; --constant-edge: #7b8794; --gradient: #fde4e1; --gradient-edge: #c2402f; }
@media (prefers-color-scheme: dark) { .bp-graph { --page: #14181f; --text: #edf1f6; --soft: #a7b2c0; --line: #8d99a8;
  --input: #123b27; --input-edge: #4cc488; --operation: #16304f; --operation-edge: #6aa9ee;
  --output: #33214f; --output-edge: #b28cf0; --leaf: #43330c; --leaf-edge: #e0ac3c;
  --constant: #2a313b; --constant-edge: #8d99a8; --gradient: #4b1d18; --gradient-edge: #f08475; } }
.bp-graph text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  fill: var(--text); }
.bp-graph .bp-title { font-size: TITLEpx; font-weight: 600; }
.bp-graph .bp-note { font-size: SMALLpx; fill: var(--soft); }
.bp-graph .bp-row, .bp-graph .bp-shape { font-size: SMALLpx;
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.bp-graph .bp-shape { fill: var(--soft); stroke: var(--page); stroke-width: 5px; paint-order: stroke;
  stroke-linejoin: round; }
.bp-graph .bp-way { fill: none; stroke: var(--line); stroke-width: 1.5px; }
.bp-graph .bp-head { fill: var(--line); }
.bp-graph .bp-back .bp-way { stroke: var(--gradient-edge); stroke-dasharray: 5 3; }
.bp-graph .bp-back .bp-head { fill: var(--gradient-edge); }
.bp-graph .bp-back .bp-shape { fill: var(--gradient-edge); }
.bp-graph .bp-page { fill: var(--page); }
.bp-graph .bp-box { stroke-width: 1.5px; }
"""
_KINDS = ("input", "operation", "output", "leaf", "constant", "gradient")


def _style() -> str:
    colours = "".join(
        f".bp-graph .bp-{kind} {{ fill: var(--{kind}); stroke: var(--{kind}-edge); }}\n" for kind in _KINDS
    )
    return _STYLE.replace("TITLE", str(TITLE)).replace("SMALL", str(SMALL)) + colours


def svg(graph: Graph, found: Layout, title: str) -> str:
    """The picture; the same graph gives the same text."""
    width, height = _n(found.width), _n(found.height)
    said = f"{title}: {len(graph.boxes)} boxes, {len(graph.arrows)} arrows"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bp-graph" role="img" aria-label="{escape(said)}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_style()}</style>",
        f'<rect class="bp-page" width="{width}" height="{height}" rx="8"/>',
        *(_arrow(arrow, route) for arrow, route in zip(graph.arrows, found.routes)),
        *(_box(box, place) for box, place in zip(graph.boxes, found.places)),
        *(_label(arrow, route) for arrow, route in zip(graph.arrows, found.routes)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(box: Box, place: Place) -> str:
    kind = "operation" if box.kind == "module" else box.kind
    radius = place.height / 2 if box.kind in _ROUND else 8
    dashes = ' stroke-dasharray="5 3"' if box.kind == "gradient" else ""
    middle = place.x + place.width / 2
    y = place.y + PAD + TITLE - 4
    parts = [f"<title>{escape(box.detail)}</title>"] if box.detail else []
    parts.append(
        f'<rect class="bp-box bp-{kind}" x="{_n(place.x)}" y="{_n(place.y)}" width="{_n(place.width)}" '
        f'height="{_n(place.height)}" rx="{_n(radius)}"{dashes}/>'
    )
    parts.append(_text("bp-title", middle, y, box.title, "middle"))
    if box.note:
        y += LINE
        parts.append(_text("bp-note", middle, y, box.note, "middle"))
    y += 6
    for row in box.rows:
        y += LINE
        row_kind = {"parameter": "leaf"}.get(row.kind, row.kind)
        left, right = place.x + 6, place.x + place.width - 6
        parts.append(
            f'<rect class="bp-{row_kind}" stroke-width="0" x="{_n(left)}" y="{_n(y - 13)}" '
            f'width="{_n(right - left)}" height="{LINE - 1}" rx="3"/>'
        )
        parts.append(_text("bp-row", left + 5, y, row.name, "start"))
        parts.append(_text("bp-row", right - 5, y, row.shape, "end"))
    return f"<g>{''.join(parts)}</g>"


def _arrow(arrow: Arrow, route: Route) -> str:
    points = list(route.points)
    (x0, y0), (x1, y1) = points[-2:]
    length = hypot(x1 - x0, y1 - y0) or 1.0
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    base = (x1 - _HEAD * ux, y1 - _HEAD * uy)
    points[-1] = base
    sides = [(base[0] + s * uy * _HEAD / 2, base[1] - s * ux * _HEAD / 2) for s in (1, -1)]
    head = " ".join(f"{_n(x)},{_n(y)}" for x, y in ((x1, y1), *sides))
    kind = "bp-back" if arrow.gradient else "bp-forth"
    return f'<g class="{kind}"><path class="bp-way" d="{_path(points)}"/><polygon class="bp-head" points="{head}"/></g>'


def _path(points: list[tuple[float, float]]) -> str:
    """Lines from point to point, with round corners."""
    parts = [f"M{_pair(points[0])}"]
    for before, here, after in zip(points, points[1:], points[2:]):
        parts += [f"L{_pair(_toward(here, before))}", f"Q{_pair(here)} {_pair(_toward(here, after))}"]
    return "".join([*parts, f"L{_pair(points[-1])}"])


def _toward(here: tuple[float, float], there: tuple[float, float]) -> tuple[float, float]:
    dx, dy = there[0] - here[0], there[1] - here[1]
    length = hypot(dx, dy) or 1.0
    part = min(_CORNER, length / 2) / length
    return here[0] + part * dx, here[1] + part * dy


def _label(arrow: Arrow, route: Route) -> str:
    x, y = route.label
    text = _text("bp-shape", x, y + SMALL / 3, arrow.shape, "middle")
    return f'<g class="bp-back">{text}</g>' if arrow.gradient else text


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def _pair(point: tuple[float, float]) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
