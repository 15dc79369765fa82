"""One step of backpropagation as data: what every layer was given, computed and was blamed for, in arrays.

:func:`~tinygrad_bp.explain` makes a `Step`; findings, the text in a terminal and the page are made from it. The names
are those of the four equations: a layer computes z from a^{l-1}, its activation a^l from z; delta^l = dC/dz^l. Nothing
is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = ["Finding", "Layer", "Step"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """One call of a module with parameters of its own, and of what followed without any: its activation.

    Attributes
    ----------
    path, kind
        The dotted name of the module and of its class: ``"0"``, ``"Linear"``.
    number
        l, from 1 for the first.
    activation
        What followed, up to the next layer: ``"ReLU"``, ``"ReLU + Dropout"``, "" for nothing.
    before
        a^{l-1}, what the layer was given.
    z, a
        What the layer gave, and what its activation made of it; a is z where there is none.
    delta
        dC/dz.
    parameters, gradients
        The arrays of the layer's own parameters, and dC/d(each), by their own names: ``"weight"``, ``"bias"``.
    equations
        By ``"delta"`` and the names of parameters, the equation that gives the number: ``"BP1"``, or "" for the chain
        rule alone.
    """

    path: str
    kind: str
    number: int
    activation: str
    before: Array = field(repr=False)
    z: Array = field(repr=False)
    a: Array = field(repr=False)
    delta: Array = field(repr=False)
    parameters: dict[str, Array] = field(repr=False)
    gradients: dict[str, Array] = field(repr=False)
    equations: dict[str, str]


@dataclass(frozen=True)
class Finding:
    """Something that keeps a net from learning.

    Attributes
    ----------
    layer
        The path of the layer, "" for the whole net or its data.
    kind
        One word: ``"dead"``, ``"saturated"``, ``"vanishing"``.
    text
        What is wrong, with the numbers; then what to do.
    """

    layer: str
    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class Step:
    """One forward and one backward pass.

    Attributes
    ----------
    model, loss_name, loss
        The model's repr, the name of the loss, and what it gave.
    sample
        The row of the mini-batch whose step it is, None for the step of the whole mini-batch.
    rows
        In the mini-batch, on which the findings rest.
    x, y, output
        Inputs, targets and outputs of the step.
    layers
        In the order in which they were called.
    findings
        What keeps the net from learning, the worst first; of the whole mini-batch.
    graph
        The picture of the net as SVG, "" where it could not be drawn.
    """

    model: str
    loss_name: str
    loss: float
    sample: int | None
    rows: int
    x: Array = field(repr=False)
    y: Array = field(repr=False)
    output: Array = field(repr=False)
    layers: list[Layer] = field(repr=False)
    findings: list[Finding]
    graph: str = field(repr=False)
