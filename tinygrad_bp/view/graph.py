"""What was computed as boxes and arrows, plain data: from the recipes of tensors, or from the calls of a model.

A box is an operation, a closed module, a leaf, what went in or came out; an arrow is a value on its way, labelled with
its shape. Parameters that have names are rows of the box that uses them. `read` finds them all, `fold_repeats` makes
one box of stages that come again and again, `with_backward` adds the vjp of every box and the gradients on their way
back. Where the boxes stand, and how they look, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..containers import leaves
from ..nn.calls import Call, innermost
from ..nn.module import Parameter
from ..recipe import Node, ParamOp

__all__ = ["Arrow", "Box", "Graph", "Row", "fold_repeats", "levels", "read", "shape_text", "with_backward"]

TIMES, DOT, PARTIAL, DASH = "\u00d7", "\u00b7", "\u2202", "\u2013"

_MOST_ROWS = 4
_LONGEST = 36
_LONGEST_PERIOD = 4


@dataclass(frozen=True)
class Row:
    """A parameter (or a gradient of one) in a box: its name and its shape."""

    name: str
    shape: str
    kind: str = "parameter"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _printed(self.name))


@dataclass(frozen=True)
class Box:
    """One box; `kind` is input, output, leaf, constant, operation, module or gradient; `detail` is told on asking."""

    kind: str
    title: str
    note: str = ""
    rows: tuple[Row, ...] = ()
    detail: str = ""
    tracked: bool = True
    numbers: int = 0
    """How many numbers its parameters hold."""

    def __post_init__(self) -> None:
        for name in ("title", "note"):
            object.__setattr__(self, name, _printed(getattr(self, name)))
        object.__setattr__(self, "detail", "\n".join(map(_printable, self.detail.split("\n"))))


@dataclass(frozen=True)
class Arrow:
    """A value on its way from a box to a box, by their positions; or a gradient, from the later box to the earlier."""

    source: int
    target: int
    shape: str
    tracked: bool = True
    gradient: bool = False


@dataclass(frozen=True)
class Graph:
    """Boxes in the order in which they were computed, and arrows; `beside` pairs a box with its vjp."""

    boxes: list[Box]
    arrows: list[Arrow]
    beside: Mapping[int, int]


def shape_text(shape: Sequence[int]) -> str:
    """A shape as it stands in a picture.

    >>> shape_text((64,)), shape_text(())
    ('64', 'scalar')
    """
    return TIMES.join(map(str, shape)) or "scalar"


def _printable(text: str) -> str:
    """Text without control characters and half characters, which no file of text may hold."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _printed(text: str) -> str:
    """What is printed of a text: all, or of a long one its ends."""
    text = _printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}\u2026{text[1 - _LONGEST // 2 :]}"


# ---- reading recipes ------------------------------------------------------------------------------------------------


def read(
    outputs: Mapping[str, Node],
    inputs: Mapping[str, Any] | None = None,
    names: Mapping[Node, str] | None = None,
    calls: Sequence[Call] = (),
    depth: int = 0,
) -> Graph:
    """The graph behind `outputs`, back to `inputs` and to the leaves.

    Parameters
    ----------
    outputs, inputs
        What came out and went in, by name.
    names
        The names of the parameters and buffers of a model: they become rows.
    calls, depth
        Its calls, and how many levels of them are opened: 0 leaves the whole closed. Layers stay closed, unless
        `depth` is beyond the last level.
    """
    return _Reader(inputs or {}, names or {}, calls, depth).read(outputs)


def levels(calls: Iterable[Call]) -> dict[Call, int]:
    """How deep every call is within others: 0 for that of the whole."""
    found: dict[Call, int] = {}
    for call in calls:
        found[call] = 0 if call.parent is None else found[call.parent] + 1
    return found


class _Reader:
    def __init__(self, inputs: Mapping[str, Any], names: Mapping[Node, str], calls: Sequence[Call], depth: int) -> None:
        self.inputs, self.names, self.calls, self.depth = inputs, names, calls, depth
        self.given = {id(x): x for x in inputs.values()} | {id(x.data): x for x in inputs.values() if _is_node(x)}
        self.level = levels(calls)
        self.to_operations = depth > max(self.level.values(), default=0)
        self.places: dict[int, Any] = {}
        self.uses: dict[int, tuple[Any, list[Any]]] = {}  # by id: a place, and what flows into it from others
        self.rows: dict[int, dict[Node, None]] = {}
        self.tracked: set[int] = set()

    def read(self, outputs: Mapping[str, Node]) -> Graph:
        self._walk(outputs.values())
        first = [(x, Box("input", name, tracked=_tracked(x))) for name, x in self.inputs.items()]
        known = {id(x) for x, _ in first}
        others = sorted((place for place, _ in self.uses.values() if id(place) not in known), key=_time)
        placed = [*first, *((place, self._box(place)) for place in others)]
        index = {id(place): position for position, (place, _) in enumerate(placed)}
        boxes = [box for _, box in placed]
        arrows = [
            Arrow(index[id(self._place(x))], index[id(place)], _shape(x), _tracked(x) and id(place) in self.tracked)
            for place, _ in placed
            for x in self.uses.get(id(place), (None, []))[1]
        ]
        for name, output in outputs.items():
            arrows.append(Arrow(index[id(self._place(output))], len(boxes), _shape(output), _tracked(output)))
            boxes.append(Box("output", name, tracked=_tracked(output)))
        return Graph(boxes, arrows, {})

    def _walk(self, outputs: Iterable[Node]) -> None:
        """Find every place behind the outputs, and what flows into it."""
        waiting: list[Any] = list(outputs)
        seen = set(map(id, waiting))
        while waiting:
            value = waiting.pop()
            place = self._place(value)
            _, uses = self.uses.setdefault(id(place), (place, []))
            if _tracked(value):
                self.tracked.add(id(place))
            for x in self._behind(value, place):
                if x in self.names if _is_node(x) else False:
                    self.rows.setdefault(id(place), {})[x] = None
                    continue
                if self._place(x) is not place and not any(x is used for used in uses):
                    uses.append(x)
                if id(x) not in seen:
                    seen.add(id(x))
                    waiting.append(x)

    def _behind(self, value: Any, place: Any) -> list[Any]:
        """The arrays and tensors that a value was computed from, and what its closed module was given."""
        if id(value) in self.given or not _is_node(value):
            return []
        found: list[Any] = []
        if value.recipe is not None:
            op, inputs, params = value.recipe
            if inputs is None:
                raise RuntimeError(
                    f"draw: the graph of '{op.name}' was freed by backward(). Draw before it, or keep it: "
                    "backward(retain_graph=True)."
                )
            closed = isinstance(place, Call)
            found += [x for x in inputs if _is_node(x) or (isinstance(x, np.ndarray) and x.size > 1 and not closed)]
            found += [x for x in params if id(x) in self.given]
        if isinstance(place, Call):
            found += [x for x in leaves(place.inputs) if _is_node(x) or id(x) in self.given]
        return [self.given.get(id(x), x) for x in found]

    def _place(self, value: Any) -> Any:
        """Where a value comes from: the outermost closed call that made it, or itself."""
        if id(value) in self.places:
            return self.places[id(value)]
        place = value
        if _is_node(value) and id(value) not in self.given:
            call = innermost(self.calls, value)  # type: ignore[arg-type]
            while call is not None:
                if self.level[call] >= self.depth or (_is_layer(call) and not self.to_operations):
                    place = call
                call = call.parent
        self.places[id(value)] = place
        return place

    def _box(self, place: Any) -> Box:
        tracked = id(place) in self.tracked
        if isinstance(place, Call):
            return _module_box(place, tracked)
        if not _is_node(place) or place.recipe is None:
            kind = "leaf" if _tracked(place) else "constant"
            title = "Parameter" if isinstance(place, Parameter) else kind
            return Box(kind, title, detail=f"{title} {_shape(place)}", tracked=tracked)
        rows = tuple(Row(self.names[x], _shape(x), _row_kind(x)) for x in self.rows.get(id(place), ()))
        note = _settings(place)
        return Box("operation", place.recipe[0].name, note, rows, f"{place.recipe[0].name}({note})", tracked)


def _is_layer(call: Call) -> bool:
    """Whether a module calls no other, or is one of `nn` that has parameters of its own, as attention."""
    package = Parameter.__module__.rpartition(".")[0]
    own = any(isinstance(value, Parameter) for value in vars(call.module).values())
    return not call.children or (call.parent is not None and own and type(call.module).__module__.startswith(package))


def _module_box(call: Call, tracked: bool) -> Box:
    named = list(call.module.named_parameters())
    numbers = sum(parameter.size for _, parameter in named)
    rows = tuple(Row(name, _shape(parameter), _row_kind(parameter)) for name, parameter in named)
    if len(rows) > _MOST_ROWS:
        rows = (Row(f"{len(rows)} parameters", f"{numbers:,}"),)
    return Box("module", type(call.module).__name__, call.path, rows, repr(call.module), tracked, numbers)


def _is_node(x: Any) -> bool:
    return isinstance(x, Node)


def _tracked(x: Any) -> bool:
    return isinstance(x, Node) and x.tracked


def _shape(x: Any) -> str:
    return shape_text(np.shape(x.data if isinstance(x, Node) else x))


def _row_kind(x: Node) -> str:
    return "parameter" if x.tracked else "constant"


def _time(place: Any) -> int:
    if isinstance(place, Call):
        return place.began
    return int(place.clock) if isinstance(place, Node) else -1


def _settings(node: Any) -> str:
    """What an operation was told besides arrays: its numbers by position, its params where they are not the usual."""
    op, inputs, params = node.recipe
    told = []
    if any(_is_number(x) for x in inputs):
        told += [f"{np.asarray(x).item():.4g}" if _is_number(x) else DOT for x in inputs]
    names = op.names[-len(params) :] if isinstance(op, ParamOp) and params else [""] * len(params)
    for name, value in zip(names, params):
        if isinstance(op, ParamOp) and name in op.defaults and _equal(value, op.defaults[name]):
            continue
        text = f"array {_shape(value)}" if isinstance(value, np.ndarray) else repr(value)
        told.append(f"{name}={text}" if name else text)
    return ", ".join(told)


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) or (isinstance(x, np.ndarray) and x.size == 1)


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and not isinstance(a, np.ndarray) and bool(a == b)


# ---- folding --------------------------------------------------------------------------------------------------------


def fold_repeats(graph: Graph) -> Graph:
    """The same with one box for stages that follow one another again and again, three times or more."""
    into: dict[int, list[Arrow]] = {}
    for arrow in graph.arrows:
        into.setdefault(arrow.target, []).append(arrow)
    looks = [
        (box.kind, box.title, box.rows, sorted((k - arrow.source, arrow.shape) for arrow in into.get(k, ())))
        for k, box in enumerate(graph.boxes)
    ]
    boxes: list[Box] = []
    index: list[int] = []  # where each box of the graph is now
    while (start := len(index)) < len(graph.boxes):
        period, times = _repeats(looks, start, graph.arrows)
        stages = graph.boxes[start : start + period * times]
        index += [len(boxes)] * len(stages)
        boxes.append(stages[0] if times == 1 else _stages_box(stages, period, times))
    moved = (replace(arrow, source=index[arrow.source], target=index[arrow.target]) for arrow in graph.arrows)
    return Graph(boxes, list(dict.fromkeys(arrow for arrow in moved if arrow.source != arrow.target)), {})


def _repeats(looks: Sequence[Any], start: int, arrows: Sequence[Arrow]) -> tuple[int, int]:
    """How many boxes from `start` on are a stage, and how often it comes; (1, 1) where it comes less than three times.

    What flows into the stages from before goes to the first, what flows out of them comes from the last.
    """
    best = (1, 1)
    for period in range(1, min(_LONGEST_PERIOD, len(looks) // 3) + 1):
        end = start + period
        while end < len(looks) and looks[end] == looks[end - period]:
            end += 1
        times = (end - start) // period
        end = start + times * period
        within = range(start, end)
        one_way = all(
            arrow.target < start + period
            if arrow.source < start
            else arrow.target < end or arrow.source >= end - period
            for arrow in arrows
            if arrow.source in within or arrow.target in within
        )
        if times >= 3 and one_way and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _stages_box(stages: Sequence[Box], period: int, times: int) -> Box:
    titles = [box.title for box in stages[:period]]
    title = titles[0] if period == 1 else f"({', '.join(titles)})"
    numbers = sum(box.numbers for box in stages)
    rows = (Row("parameters", f"{numbers:,}"),) if numbers else ()
    paths = [box.note for box in stages if box.kind == "module"]
    note = f"{paths[0]} {DASH} {paths[-1]}" if paths else ""
    detail = "\n".join(box.detail for box in stages[:period])
    return Box("module", f"{times} {TIMES} {title}", note, rows, detail, any(box.tracked for box in stages), numbers)


# ---- the way back ---------------------------------------------------------------------------------------------------


def with_backward(graph: Graph) -> Graph:
    """The same with the vjp of every box beside it, and the gradients on their way from the output to the inputs."""
    boxes, arrows = list(graph.boxes), list(graph.arrows)
    beside: dict[int, int] = {}
    for position, box in enumerate(graph.boxes):
        if box.tracked:
            beside[position] = len(boxes)
            boxes.append(_vjp(box))
    for arrow in graph.arrows:
        if arrow.tracked and arrow.source in beside and arrow.target in beside:
            arrows.append(Arrow(beside[arrow.target], beside[arrow.source], arrow.shape, gradient=True))
    return Graph(boxes, arrows, beside)


def _vjp(box: Box) -> Box:
    if box.kind in ("operation", "module"):
        rows = [
            replace(row, name=f"{PARTIAL}{row.name}", kind="gradient") for row in box.rows if row.kind == "parameter"
        ]
        return Box("gradient", f"{box.title} vjp", box.note if box.kind == "module" else "", tuple(rows))
    return Box("gradient", f"{PARTIAL}C/{PARTIAL}{box.title}")
