"""The table of the layers of a model: what each is, gives and has, and what all of them have together.

The tree is that of the attributes, in which a module stands once, and what shares it says so. Shapes are those of one
forward pass with the inputs that are given, in eval mode and without recording; the model is afterwards as it was. Here
is no count of operations and no memory of activations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..random import generator
from ..recipe import no_grad
from ..tensor import Tensor, default_dtype
from .calls import Call, record_calls

__all__ = ["Row", "Summary", "summarize"]

_WIDTH = 80
_WIDEST_OUTPUT = 36


class Row(NamedTuple):
    """A module in the tree.

    Attributes
    ----------
    path, kind
        The dotted name in the whole, and the class.
    layer
        Both as they stand in the table, with what is particular: frozen, called twice, shared.
    output
        The shape of what it gave, or those of several calls; empty where nothing was run.
    parameters
        How many numbers it has itself, without those of modules in it and those that were counted before.
    """

    path: str
    kind: str
    layer: str
    output: str
    parameters: int


@dataclass(frozen=True, repr=False)
class Summary:
    """What a model has; printed, a table.

    Attributes
    ----------
    rows
        The modules, each before those in it.
    parameters, trainable, bytes
        How many numbers all parameters have, how many of them learn, and their memory.
    notes
        What stands below the table.
    """

    rows: list[Row]
    parameters: int
    trainable: int
    bytes: int
    notes: list[str]

    def __repr__(self) -> str:
        head = ("layer", "output" if any(row.output for row in self.rows) else "", "parameters")
        cells = [head, *((row.layer, row.output, f"{row.parameters:,}" if row.parameters else "") for row in self.rows)]
        layer, output, count = (max(map(len, column)) for column in zip(*cells))
        output = min(output, _WIDEST_OUTPUT)
        layer = min(layer, _WIDTH - output - count - 4)
        lines = [f"{_cut(a, layer):{layer}}  {_cut(b, output):{output}}  {c:>{count}}".rstrip() for a, b, c in cells]
        return "\n".join([*lines, "-" * len(lines[0]), *self.notes])


def summarize(model: Any, *inputs: Any) -> Summary:
    """What :meth:`Module.summary` returns.

    >>> import tinygrad_bp as bp
    >>> summarize(bp.nn.Linear(2, 3)).rows
    [Row(path='', kind='Linear', layer='Linear', output='', parameters=9)]
    """
    tree = _Tree(model, _calls(model, inputs) if inputs else None)
    rows, learnt, buffers = list(tree.rows(model)), list(model.parameters()), list(model.buffers())
    parameters, trainable, size = _size(learnt), _trainable(learnt), sum(p.data.nbytes for p in learnt)
    learning = "all trainable" if trainable == parameters else f"{trainable:,} trainable"
    kinds = " and ".join(sorted({str(p.dtype) for p in learnt}))
    notes = [f"{parameters:,} parameters, {learning}; {size:,} bytes of {kinds}" if parameters else "no parameters"]
    notes += (
        [f"{_size(buffers):,} numbers in buffers; {sum(b.data.nbytes for b in buffers):,} bytes"] if buffers else []
    )
    notes += [f"{name} is {first}, counted once" for name, first in tree.shared.items()]
    return Summary(rows, parameters, trainable, size, notes)


class _Tree:
    """The modules in their order, and the tensors that are reached a second time."""

    def __init__(self, model: Any, calls: dict[str, list[Call]] | None) -> None:
        self.calls = calls
        self.shared: dict[str, str] = {}
        self._first = {id(value): path for path, value in [*model.named_modules(), *model._tensors().items()]}
        self._learnt = {id(parameter) for parameter in model.parameters()}

    def rows(self, module: Any, path: str = "", name: str = "", depth: int = 0) -> Iterator[Row]:
        """The row of a module, then those of the modules in it."""
        kind = type(module).__name__
        layer = "  " * depth + (f"{name}: " if name else "") + kind
        if (first := self._first[id(module)]) != path:
            yield Row(path, kind, f"{layer} (is {first or 'the whole'})", "", 0)
            return
        inside = [(below, f"{path}.{below}" if path else below, value) for below, value in module._inside()]
        tensors = {at: value for _, at, value in inside if isinstance(value, Tensor)}
        self.shared |= {at: self._first[id(x)] for at, x in tensors.items() if self._first[id(x)] != at}
        own = [x for at, x in tensors.items() if at not in self.shared and id(x) in self._learnt]
        calls = None if self.calls is None else self.calls[path]
        shapes = ["not called"] if calls == [] else [_shape(call.output) for call in calls or ()]
        notes = [f"{len(calls)} calls"] if calls and len(calls) > 1 else []
        if frozen := _size(own) - _trainable(own):
            notes.append(f"{frozen:,} frozen")
        yield Row(
            path,
            kind,
            layer + (f" ({', '.join(notes)})" if notes else ""),
            " / ".join(dict.fromkeys(shapes)),
            _size(own),
        )
        for below, at, value in inside:
            if at not in tensors:
                yield from self.rows(value, at, below, depth + 1)


def _calls(model: Any, inputs: tuple[Any, ...]) -> dict[str, list[Call]]:
    """The calls of one pass by the path of what was called; of the model nothing is changed."""
    shapes = [_is_shape(x) for x in inputs]
    kind = next((p.dtype for p in model.parameters()), default_dtype())
    found: dict[str, list[Call]] = defaultdict(list)
    with _as_it_was(model), no_grad(), np.errstate(all="ignore"):
        try:
            for call in record_calls(model, *(np.zeros(x, kind) if of else x for x, of in zip(inputs, shapes))):
                found[call.path].append(call)
        except Exception as error:
            if any(shapes):
                error.add_note(f"summary: a tuple of integers is a shape, of zeros in {kind}; pass an array for others")
            raise
    return found


def _is_shape(x: Any) -> bool:
    if isinstance(x, (int, np.integer)):
        raise TypeError(f"summary: an input is the integer {x}. Pass an array, or a shape as a tuple: (1, {x}).")
    return isinstance(x, tuple) and all(isinstance(n, (int, np.integer)) for n in x)


@contextmanager
def _as_it_was(model: Any) -> Iterator[None]:
    """A block in which the model is in eval mode; attributes, buffers and the package's generator are put back."""
    attributes = [(vars(module), dict(vars(module))) for module in model.modules()]
    buffers = [(buffer, buffer.data.copy()) for buffer in model.buffers()]
    drawn = generator().bit_generator.state
    model.eval()
    try:
        yield
    finally:
        generator().bit_generator.state = drawn
        for now, before in attributes:
            now.clear()
            now.update(before)
        for buffer, array in buffers:
            if buffer.data.tobytes() != array.tobytes():
                buffer.data[...] = array


def _shape(output: Any) -> str:
    """Shapes of tensors, in tuples, lists and dicts as they are; None, or the type of anything else."""
    if isinstance(output, (tuple, list)):
        return ", ".join(f"({_shape(x)})" if isinstance(x, (tuple, list)) else _shape(x) for x in output)
    if isinstance(output, dict):
        return ", ".join(f"{name}: {_shape(x)}" for name, x in output.items())
    if isinstance(output, (Tensor, np.ndarray, np.generic)):
        return str(output.shape)
    return "None" if output is None else type(output).__name__


def _size(tensors: list[Any]) -> int:
    return sum(tensor.size for tensor in tensors)


def _trainable(parameters: list[Any]) -> int:
    return _size([p for p in parameters if p.requires_grad])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
