"""explain: one step of backpropagation with all its numbers, as data, as text and as a page.

The step is run on a copy of the model, recorded, and walked back to the output of every layer. Which of the four
equations gives a number is read off the recording: a label stands only where nothing but that equation was at work.
What is wrong with the net is found in :mod:`~tinygrad_bp.view.findings`; how things are said and shown is in
:mod:`~tinygrad_bp.view.telling` and :mod:`~tinygrad_bp.view.page`.
"""

from __future__ import annotations

import copy
import html
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import grad, topological
from ..containers import leaves
from ..io.atomic import in_place_of
from ..nn import activations, losses
from ..nn.calls import Call, innermost, record_calls
from ..nn.convolution import Conv1d, Conv2d
from ..nn.layers import Linear
from ..nn.module import Module, Parameter
from ..nn.normalization import BatchNorm1d, BatchNorm2d
from ..random import generator
from ..recipe import Node, enable_grad, leaf
from ..tensor import Tensor, as_array
from .draw import draw
from .findings import findings
from .page import page
from .step import Array, Finding, Layer, Step
from .telling import told

__all__ = ["Explanation", "explain"]

_WEIGHTED = (Linear, Conv1d, Conv2d)  # z = w a + b, for which the equations are written
_OVER_ROWS = (BatchNorm1d, BatchNorm2d)
_NAMES = {name.lower(): name for name in activations.__all__}  # relu, in a forward, is the ReLU
_LOSSES = {getattr(losses, name).function.__name__: name for name in losses.__all__}
# fmt: off
_SHAPES = {
    "broadcast_to", "copy", "expand_dims", "getitem", "moveaxis", "pick", "reshape", "squeeze", "swapaxes", "transpose",
}  # what changes no number and so activates nothing
# fmt: on


class Explanation(Step):
    """A :class:`~tinygrad_bp.view.step.Step` that can tell itself; ``print(explanation)`` tells it in a terminal."""

    def text(self, width: int = 80, color: bool = False) -> str:
        """The step like a worked example in a textbook, in lines of at most `width` characters."""
        return told(self, width, color)

    def html(self, title: str = "One step of backpropagation") -> str:
        """The step as one self-contained page."""
        return page([(self.loss_name, self)], title=title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page (.html) or the text (.txt), in one piece.

        Raises
        ------
        ValueError
            Another ending.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in (".html", ".txt"):
            raise ValueError(f"explain: {os.fspath(path)!r} ends in neither .html nor .txt. Name such a file.")
        content = self.html() if suffix == ".html" else self.text() + "\n"
        with in_place_of(path) as file:
            file.write(content.encode())

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        kinds = ", ".join(finding.kind for finding in self.findings) or "none"
        return f"<Explanation: {self.loss_name} {self.loss:.6g}, {len(self.layers)} layers, findings: {kinds}>"

    def _repr_html_(self) -> str:
        frame = 'style="width: 100%; height: 50rem; border: 0" title="One step of backpropagation"'
        return f'<iframe {frame} srcdoc="{html.escape(self.html())}"></iframe>'


def explain(model: Module, loss: Callable[..., Any], x: Any, y: Any, sample: int | None = None) -> Explanation:
    """One step of backpropagation on a mini-batch: z, a, delta and the gradients of every layer, and what is wrong.

    The model runs in the mode it is in, on a copy: its parameters, buffers and gradients and the package's generator
    stay as they are.

    Parameters
    ----------
    model, loss
        As :func:`~tinygrad_bp.fit` takes them; ``loss(model(x), y)`` is a single number.
    x, y
        Inputs and targets, a row a sample: arrays or tensors.
    sample
        A row: the numbers are those of this row alone, as if it were the mini-batch; what is wrong is found on all
        rows. None: the numbers are those of the mini-batch.

    Raises
    ------
    ValueError
        x and y differ in rows, or have none; the loss gives more than one number.
    IndexError
        There is no such row.
    TypeError
        The model is no Module, or cannot be copied; the loss is no function, or gives no number.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> net = bp.nn.Sequential(bp.nn.Linear(2, 2), bp.nn.Sigmoid(), bp.nn.Linear(2, 1))
    >>> step = explain(net, bp.nn.QuadraticLoss(), np.eye(2), np.zeros((2, 1)), sample=0)
    >>> hidden, output = step.layers
    >>> hidden.activation, hidden.equations["delta"], output.equations["delta"]
    ('Sigmoid', 'BP2', 'BP1')
    >>> weight, a = output.parameters["weight"], hidden.a
    >>> bool(np.allclose(hidden.delta, output.delta @ weight * a * (1 - a)))
    True
    """
    if not isinstance(model, Module):
        raise TypeError(f"explain: the model is a {type(model).__name__}. Pass a Module, such as nn.Sequential(...).")
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(f"explain: the loss is {loss!r}. Pass a function, or a module such as nn.MSELoss().")
    x, y = _rows(x, "x"), _rows(y, "y")
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        raise ValueError(f"explain: x has shape {x.shape}, y {y.shape}. Pass as many rows of each, at least one.")
    if sample is not None and (isinstance(sample, bool) or not isinstance(sample, (int, np.integer))):
        raise TypeError(f"explain: sample is {sample!r}. Pass the number of a row, from 0, or None.")
    if sample is not None and not 0 <= sample < len(x):
        raise IndexError(f"explain: there is no row {sample} among {len(x)}. Choose 0 to {len(x) - 1}.")
    state = generator().bit_generator.state
    try:
        step = _explained(model, loss, x, y, None, len(x))
        found = [*_unlearnable(model), *step.findings, *findings(step)]
        if sample is not None:
            generator().bit_generator.state = state
            try:
                step = _explained(model, loss, x[sample : sample + 1], y[sample : sample + 1], sample, len(x))
            except ValueError as error:  # of BatchNorm, for one
                raise ValueError(f"explain: row {sample} alone: {error} Leave sample out.") from error
        picture = _picture(model, step.x)
    finally:
        generator().bit_generator.state = state
    return Explanation(**vars(step) | {"findings": found, "graph": picture})


def _explained(model: Module, loss: Callable[..., Any], x: Array, y: Array, sample: int | None, rows: int) -> Step:
    """The step on these rows, as yet without picture, and with the findings of the recording alone."""
    x, y = x.copy(), y.copy()
    with enable_grad(), np.errstate(all="ignore"), _copied(model) as model:
        calls = record_calls(model, Tensor(x, requires_grad=x.dtype.kind == "f"))
        output = calls[0].output
        cost = loss(output, y)
        if cost is None:
            raise TypeError("explain: the loss gives None. Let it return a number.")
        if np.size(cost) != 1:
            raise ValueError(f'explain: the loss has shape {np.shape(cost)}, not one number. Give it reduction="mean".')
        recording = _Recording(calls, cost)
        layers, found = recording.layers(), [*recording.mixed_rows(), *recording.every_pair(y)]
    return Step(
        model=repr(model),
        loss_name=_name_of(loss),
        loss=float(cost),
        sample=sample,
        rows=rows,
        x=x,
        y=y,
        output=as_array(_tensors(output)[0]),
        layers=layers,
        findings=found,
        graph="",
    )


@contextmanager
def _copied(model: Module) -> Iterator[Module]:
    """A copy whose parameters are those of the model, which the loss may use too, as a penalty; all require grad.

    Afterwards they are as they were.
    """
    parameters = list(model.parameters())
    before = [(parameter.requires_grad, parameter.data.copy()) for parameter in parameters]
    try:
        copied = copy.deepcopy(model, {id(parameter): parameter for parameter in parameters})
    except TypeError as error:
        raise TypeError(f"explain: the model cannot be copied: {error}. Keep such things out of it.") from error
    try:
        for parameter in parameters:
            parameter.requires_grad = True
        yield copied
    finally:
        for parameter, (required, data) in zip(parameters, before):
            parameter.requires_grad = required
            if (parameter.data != data).any():
                parameter.data[...] = data


class _Recording:
    """A forward pass as it was recorded: its calls, and every value that the cost was computed from, by time."""

    def __init__(self, calls: list[Call], cost: Any) -> None:
        self._calls = calls
        self._cost = cost
        self._order = topological([cost]) if isinstance(cost, Node) and cost.tracked else []
        self._users: dict[Node, list[Node]] = {}
        for node in self._order:
            for x in node.recipe[1]:  # type: ignore[index]
                if isinstance(x, Node):
                    self._users.setdefault(x, []).append(node)

    def layers(self) -> list[Layer]:
        """One for every call of a module with parameters of its own."""
        called = [(call, own) for call in self._calls if (own := _own_parameters(call.module))]
        gradients = self._gradients([x for call, own in called for x in (*own.values(), *_tensors(call.output))])
        found = []
        for number, (call, own) in enumerate(called, 1):
            outputs = _tensors(call.output)
            z = next((z for z in outputs if id(z) in gradients), outputs[0])  # of several, that which counts
            above = next((later for later, _ in called if later.began > call.ended), None)
            is_next = above is not None and above is called[number][0]  # and not behind a layer within this one
            chain = self._chain(z, self._calls[0].ended if above is None else above.began)
            found.append(
                Layer(
                    path=call.path,
                    kind=type(call.module).__name__,
                    number=number,
                    activation=self._activation(call, chain[1:]),
                    before=as_array(next(iter(_tensors(call.inputs)), leaf(np.empty(0)))),
                    z=as_array(z),
                    a=as_array(chain[-1]),
                    delta=gradients.get(id(z), np.zeros_like(as_array(z))),
                    parameters={name: p.data.copy() for name, p in own.items()},
                    gradients={name: gradients.get(id(p), np.zeros_like(p.data)) for name, p in own.items()},
                    equations={"delta": self._error(chain, above if is_next else None)}
                    | self._equations(call.module, own),
                )
            )
        return found

    def mixed_rows(self) -> Iterator[Finding]:
        """Outputs of a row that the numbers of other rows have gone into, where it is not BatchNorm that takes them."""
        x: Any = self._calls[0].inputs[0]
        output: Any = _tensors(self._calls[0].output)[0]
        by_design = any(isinstance(call.module, _OVER_ROWS) and call.module.training for call in self._calls)
        if by_design or not (x.requires_grad and output.tracked) or len(x) < 2 or output.shape[:1] != x.shape[:1]:
            return
        seed = np.zeros(output.shape, output.dtype)
        seed[-1] = np.cos(np.arange(seed[-1].size)).reshape(seed[-1].shape)  # 1 everywhere would hide a softmax
        (gradient,) = grad(output, x, Tensor(seed), retain_graph=True, allow_unused=True)
        if gradient is not None and gradient.data[:-1].any() and np.isfinite(gradient.data).all():
            text = f"The output of row {len(x) - 1} depends on other rows of x, where axis 0 is that of the rows."
            cure = "Look for batch_first = True left out, a softmax or mean over axis 0, a reshape."
            yield Finding("", "rows", f"{text} {cure}")

    def every_pair(self, y: Array) -> Iterator[Finding]:
        """A loss of one's own that takes a column (n, 1) and a row (n,) together, and so every pair of rows."""
        n = len(y)
        node: Any
        for node in self._order:
            shapes = [np.shape(x) for x in node.recipe[1]]
            if n > 1 and y.shape == (n,) and node.shape == (n, n) and set(shapes) == {(n, 1), (n,)}:
                text = f"The loss takes ({n}, 1) and ({n},) together, which gives ({n}, {n}): every output is compared"
                cure = "with every target. Give it y of the shape of the output: y.reshape(-1, 1)."
                yield Finding("", "rows", f"{text} {cure}")

    def _gradients(self, nodes: list[Node]) -> dict[int, Array]:
        """dC/d(node) by the identity of the node, of those that the cost was computed from."""
        nodes = [node for node in nodes if node in self._users]
        found = grad(self._cost, nodes, retain_graph=True) if nodes else ()
        return {id(node): gradient.data for node, gradient in zip(nodes, found)}

    def _chain(self, z: Node, until: float) -> list[Node]:
        """z and, in their order, the values computed from nothing but z before that time."""
        chain = {z: None}
        for node in self._order:
            tracked = [x for x in node.recipe[1] if isinstance(x, Node) and x.tracked]  # type: ignore[index]
            if node.clock < until and tracked and all(x in chain for x in tracked):
                chain[node] = None
        return list(chain)

    def _activation(self, layer: Call, chain: list[Node]) -> str:
        """The names of what computed the chain: modules without parameters, or else rows of the table."""
        names: dict[Any, str] = {}
        for node in chain:
            call = innermost(self._calls, node)
            if call is not None and call.began > layer.ended and not call.children:
                names[call] = type(call.module).__name__
            elif (row := node.recipe[0].name) not in _SHAPES:  # type: ignore[index]
                names[node] = _NAMES.get(row.replace("_", ""), row)
        return " + ".join(names.values())

    def _error(self, chain: list[Node], above: Call | None) -> str:
        """BP1 where only the loss follows; BP2 where a goes into the weights of the layer above, and nowhere else."""
        if self._chain(chain[0], inf)[-1] is self._cost:
            return "BP1"
        inside = set(chain)
        users = [user for x in chain for user in self._users.get(x, []) if user not in inside]
        if above is None or type(above.module) not in _WEIGHTED or len(users) != 1:
            return ""
        return "BP2" if above.began < users[0].clock < above.ended else ""

    def _equations(self, module: Module, own: Mapping[str, Parameter]) -> dict[str, str]:
        """BP3 and BP4 where the parameters are those of z = w a + b, and used once."""
        known = {"weight": "BP4", "bias": "BP3"} if type(module) in _WEIGHTED else {}
        return {name: known.get(name, "") if len(self._users.get(p, [])) == 1 else "" for name, p in own.items()}


def _unlearnable(model: Module) -> Iterator[Finding]:
    """Nothing to learn with."""
    parameters = list(model.parameters())
    if not parameters:
        yield Finding("", "frozen", "The model has no parameters: there is nothing to learn with. Give it layers.")
    elif not any(parameter.requires_grad for parameter in parameters):
        text = "No parameter requires grad: an optimizer changes nothing. Set requires_grad = True on some."
        yield Finding("", "frozen", text)


def _rows(values: Any, name: str) -> Array:
    try:
        return as_array(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"explain: {name} is no array: {error}") from error


def _own_parameters(module: Module) -> dict[str, Parameter]:
    """Those of the module and of no module below it."""
    below = {id(parameter) for child in module.children() for parameter in child.parameters()}
    return {name: parameter for name, parameter in module.named_parameters() if id(parameter) not in below}


def _tensors(x: Any) -> list[Node]:
    """The tensors in what modules take and give; arrays become tensors."""
    return [x if isinstance(x, Node) else leaf(x) for x in leaves(x) if isinstance(x, (Node, np.ndarray))]


def _name_of(loss: Callable[..., Any]) -> str:
    """The name of the loss as a module, also where it is given as a function."""
    name = getattr(loss, "__name__", type(loss).__name__)
    return _LOSSES.get(name, name)


def _picture(model: Module, x: Array) -> str:
    """The net as SVG, "" where nothing is installed to draw it."""
    try:
        with np.errstate(all="ignore"), _copied(model) as copied:
            return draw(copied, x).svg
    except ModuleNotFoundError:
        return ""
