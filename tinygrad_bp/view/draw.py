"""`draw`: a picture of what was computed, from tensors or of a model, as SVG, as DOT, in a notebook.

A model is run once on the inputs it is drawn with, in the mode it is in, and is afterwards as it was before.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from .. import random
from ..containers import like, paths
from ..io.atomic import in_place_of
from ..nn.calls import Call, record_calls
from ..nn.module import Module
from ..recipe import Node, enable_grad, leaf
from .dot import dot
from .graph import Graph, fold_repeats, levels, read, with_backward
from .layout import layout
from .svg import svg

__all__ = ["Drawing", "draw"]

_MANY = 60


class Drawing:
    """A picture: `svg` and `dot` are its text, `save` writes it, and notebooks show it."""

    def __init__(self, graph: Graph, title: str) -> None:
        self._graph, self._title = graph, title

    @cached_property
    def svg(self) -> str:
        """The picture as SVG, for light and dark pages; needs graphlay (extra `cli`). ValueError: too many boxes."""
        return svg(self._graph, layout(self._graph), self._title)

    @cached_property
    def dot(self) -> str:
        """The graph in the DOT language of Graphviz."""
        return dot(self._graph, self._title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, as its suffix says: .svg, .dot or .gv."""
        suffix = os.path.splitext(os.fspath(path))[1].lower()
        if suffix not in (".svg", ".dot", ".gv"):
            raise ValueError(f"draw: cannot write {os.fspath(path)}. Name a .svg, .dot or .gv file.")
        text = self.svg if suffix == ".svg" else self.dot
        with in_place_of(path) as file:
            file.write(text.encode())

    def _repr_svg_(self) -> str | None:
        try:
            return self.svg
        except (ModuleNotFoundError, ValueError):
            return None

    def __repr__(self) -> str:
        counts = f"{len(self._graph.boxes)} boxes, {len(self._graph.arrows)} arrows"
        return f"<Drawing of {self._title}: {counts}; .svg, .dot, .save(path)>"


def draw(what: Any, *inputs: Any, backward: bool = False, depth: int | None = None) -> Drawing:
    """A picture of how tensors were computed, or of what a model does with these inputs.

    Parameters
    ----------
    what
        A Tensor, several in a list (gradients made with ``create_graph=True`` show the backward pass as recorded),
        or a Module.
    inputs
        What the Module is called with: arrays or Tensors.
    backward
        Whether the vjp of every box stands beside it, with the gradients on their way back.
    depth
        How many levels of modules are opened: 0 draws the model as one box, 1 what it calls, and so on; beyond the last
        level, the operations within layers. None opens as many as give at most 60 boxes, where stages that come again
        and again count as one.

    Raises
    ------
    TypeError, ValueError
        In one line: what cannot be drawn, or that the model cannot be called with these inputs.
    RuntimeError
        A graph that ``backward()`` has freed.
    ModuleNotFoundError
        On ``.svg``: graphlay (extra `cli`) is not installed.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> draw(bp.nn.Sequential(bp.nn.Linear(2, 3), bp.nn.Sigmoid()), bp.ones(5, 2))
    <Drawing of Sequential: 4 boxes, 3 arrows; .svg, .dot, .save(path)>
    """
    if depth is not None and (type(depth) is not int or depth < 0):
        raise ValueError(f"draw: depth is {depth!r}. Pass 0 for the model as one box, 1 for what it calls, and so on.")
    if isinstance(what, Module):
        graph, title = _of_model(what, inputs, depth), type(what).__name__
    else:
        graph, title = _of_tensors(what, inputs, depth), "graph"
    return Drawing(with_backward(graph) if backward else graph, title)


def _of_tensors(what: Any, inputs: tuple[Any, ...], depth: int | None) -> Graph:
    outputs = list(what) if isinstance(what, (list, tuple)) else [what]
    if not outputs:
        raise ValueError("draw: the list of tensors is empty. Pass a Tensor, a list of them, or a Module.")
    if inputs or depth is not None:
        raise TypeError("draw: inputs and depth are those of a Module. Pass the tensors alone, in a list.")
    for output in outputs:
        if not isinstance(output, Node):
            raise TypeError(f"draw: cannot draw a {type(output).__name__}. Pass a Tensor, a list of them, or a Module.")
    names = ["output"] if len(outputs) == 1 else [f"output {k}" for k in range(len(outputs))]
    graph = read(dict(zip(names, outputs)))
    return fold_repeats(graph) if len(graph.boxes) > _MANY else graph


def _of_model(model: Module, given: tuple[Any, ...], depth: int | None) -> Graph:
    calls, inputs = _forward(model, given)
    outputs = {f"output{way}": x for way, x in paths(calls[0].output) if isinstance(x, Node)}
    names: dict[Node, str] = {tensor: name for name, tensor in model._tensors().items()}
    if depth is not None:
        return fold_repeats(read(outputs, inputs, names, calls, depth))
    for level in range(max(1, *levels(calls).values()), 0, -1):
        graph = fold_repeats(read(outputs, inputs, names, calls, level))
        if len(graph.boxes) <= _MANY:
            break
    return graph


def _forward(model: Module, given: tuple[Any, ...]) -> tuple[list[Call], dict[str, Any]]:
    """The calls of the model, and its inputs by name, from which all that is computed is recorded."""
    try:
        inspect.signature(model.forward).bind(*given)
    except TypeError as error:
        name = type(model).__name__
        raise TypeError(
            f"draw: {name} is not called like this, {error}. Pass its inputs after it: draw(model, x)."
        ) from error
    inputs: dict[str, Any] = {}
    args = []
    parameters = [name for name, p in inspect.signature(model.forward).parameters.items()]
    for k, argument in enumerate(given):
        new = []
        name = parameters[k] if k < len(parameters) else f"input {k}"
        for way, x in paths(argument):
            x = _input(x)
            if isinstance(x, (Node, np.ndarray)):
                inputs[f"{name}{way}"] = x
            new.append(x)
        args.append(like(argument, new))
    with _untouched(model), enable_grad():
        return record_calls(model, *args), inputs


def _input(x: Any) -> Any:
    data = x.data if isinstance(x, Node) else x
    if isinstance(data, list):
        data = np.asarray(data)
    if isinstance(data, np.ndarray) and data.dtype.kind == "f":
        return leaf(data, True)
    return leaf(data) if isinstance(x, Node) else data


@contextmanager
def _untouched(model: Module) -> Iterator[None]:
    """Buffers and the package's generator are afterwards as before."""
    kept = [(buffer, buffer.data.copy(), buffer.clock) for buffer in model.buffers()]
    bits = random.generator().bit_generator
    state = bits.state
    try:
        yield
    finally:
        bits.state = state
        for buffer, data, clock in kept:
            buffer.data[...] = data
            buffer.clock = clock
