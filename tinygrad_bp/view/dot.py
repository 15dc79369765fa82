"""A graph in the DOT language, for Graphviz and its many relatives. No layout is needed: they make their own."""

from __future__ import annotations

from .graph import Box, Graph

__all__ = ["dot"]

_FILL = {
    "input": "#d8f3e3",
    "operation": "#e0ecfb",
    "module": "#e0ecfb",
    "output": "#ece3fb",
    "leaf": "#fdf0cf",
    "constant": "#eceff3",
    "gradient": "#fde4e1",
}
_ROUND = {"input", "output", "leaf", "constant"}


def dot(graph: Graph, title: str) -> str:
    """The graph as text; the same graph gives the same text."""
    lines = [
        f"digraph {_quoted(title)} {{",
        '  node [shape=box style="rounded,filled" fontname="Helvetica" fontsize=12]',
        '  edge [fontname="Helvetica" fontsize=10]',
        *(f"  b{position} [{_look(box)}]" for position, box in enumerate(graph.boxes)),
        *(f"  {{ rank=same b{one} b{other} }}" for one, other in graph.beside.items()),
    ]
    for arrow in graph.arrows:
        label = f"label={_quoted(arrow.shape)}"
        if arrow.gradient:  # backwards, so that it ranks as its forward arrow
            label += ' dir=back color="#c2402f" fontcolor="#c2402f" style=dashed'
        one, other = (arrow.target, arrow.source) if arrow.gradient else (arrow.source, arrow.target)
        lines.append(f"  b{one} -> b{other} [{label}]")
    return "\n".join([*lines, "}"]) + "\n"


def _look(box: Box) -> str:
    text = [box.title, *([box.note] if box.note else []), *(f"{row.name} {row.shape}" for row in box.rows)]
    look = f'label={_quoted(chr(10).join(text))} fillcolor="{_FILL[box.kind]}"'
    if box.kind in _ROUND:
        look += " shape=ellipse style=filled"
    elif box.kind == "gradient":
        look += ' style="rounded,filled,dashed"'
    return look


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
