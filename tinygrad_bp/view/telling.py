"""A step of backpropagation as text for a terminal, like a worked example in a textbook.

First what is wrong, then the forward pass layer by layer, then the errors and gradients from the last layer to the
first, each with the equation that gives it, and last the sizes of all of them side by side. A small array is printed
whole; of a large one its norm and the entries of greatest magnitude with their places. Nothing is computed of a net
here but what says how delta of the last layer comes from the loss.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

import numpy as np

from .findings import first_active, flat_units
from .step import Array, Layer, Step

__all__ = ["told"]

_NARROWEST = 60
_CELL = 11
_WHOLE = 24  # entries up to which an array is printed whole
_LARGEST = 3
_BOLD, _MARK, _WARN, _OFF = "\x1b[1m", "\x1b[36m", "\x1b[33m", "\x1b[0m"


def told(step: Step, width: int = 80, color: bool = False) -> str:
    """The step in lines of at most `width` characters; `color`: with the colours of a terminal.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])
    >>> z, delta = x @ w.T, np.array([[2.0]])
    >>> labels = {"delta": "BP1", "weight": "BP4"}
    >>> layer = Layer("0", "Linear", 1, "", x, z, z, delta, {"weight": w}, {"weight": delta.T @ x}, labels)
    >>> text = told(Step("Linear(2, 1)", "MSELoss", 1.0, None, 1, x, z * 0, z, [layer], [], ""))
    >>> print(text[text.index("BACKWARD") : text.index("SIZES")])
    BACKWARD
    <BLANKLINE>
    Layer 1
    BP1  delta^1 = (z^1 - y) * 2                                              (1, 1)
                2
    BP4  dC/dw^1 = delta^1 (a^0)^T                                            (1, 2)
                2          4
    <BLANKLINE>
    <BLANKLINE>
    """
    with np.errstate(all="ignore"):
        return "\n".join(_Text(step, width, color).lines())


class _Text:
    def __init__(self, step: Step, width: int, color: bool) -> None:
        self._step, self._width, self._color = step, max(width, _NARROWEST), color
        self._named = {layer.path: _named(layer) for layer in step.layers if layer.path}

    def lines(self) -> Iterator[str]:
        """All of it."""
        step = self._step
        yield self._colored("ONE STEP OF BACKPROPAGATION", _BOLD)
        yield ""
        rows = "1 row" if step.rows == 1 else f"{step.rows} rows"
        which = f"the mini-batch of {rows}" if step.sample is None else f"row {step.sample} of {step.rows}, alone"
        layers = "1 layer" if len(step.layers) == 1 else f"{len(step.layers)} layers"
        yield from self._wrapped(f"{step.model.split('(')[0]}, {layers}, on {which}.")
        yield from self._wrapped(f"C = {step.loss_name} = {_number(step.loss)}")
        yield ""
        yield from self._findings()
        yield self._colored("FORWARD", _BOLD)
        yield ""
        yield from self._array("", "a^0 = x", step.x)
        yield ""
        for layer in step.layers:
            yield from self._forward(layer)
        yield from self._array("", "y", step.y)
        yield ""
        yield self._colored("BACKWARD", _BOLD)
        yield ""
        for layer in reversed(step.layers):
            yield from self._backward(layer)
        yield from self._sizes()

    def _findings(self) -> Iterator[str]:
        if not self._step.findings:
            yield from self._wrapped("Nothing was found that keeps it from learning.")
            yield ""
            return
        yield self._colored("WHAT KEEPS IT FROM LEARNING", _BOLD)
        yield ""
        for finding in self._step.findings:
            place = f": {self._named[finding.layer]}" if finding.layer in self._named else ""
            yield self._colored(f"! {finding.kind}{place}", _WARN)
            yield from self._wrapped(finding.text, "  ")
            yield ""

    def _forward(self, layer: Layer) -> Iterator[str]:
        yield from self._heading(layer)
        z, given, bias = f"z^{layer.number}", self._given(layer), ""
        if given.startswith("x"):
            yield from self._array("", f"{given}, the input of the layer", layer.before)
        for name, value in layer.parameters.items():
            yield from self._array("", _symbol(layer, name), value)
        formula = f"{layer.kind}({given})"
        if _is_known(layer):
            bias = f" + b^{layer.number}" if "bias" in layer.parameters else ""
            weight = f"w^{layer.number}"
            formula = f"conv({weight}, {given}){bias}" if _is_conv(layer) else f"{weight} {given}{bias}"
        yield from self._array("", f"{z} = {formula}", layer.z)
        if layer.activation:
            yield from self._array("", f"a^{layer.number} = {_applied(layer, z)}", layer.a)
        if first_active(layer) == "ReLU" and len(layer.z) > 1:
            dead = (flat_units(layer, layer.z) <= 0.0).all(0)
            if dead.any():
                yield from self._wrapped(f"{dead.sum()} of {dead.size} units are 0 in every row", "       ")
        yield ""

    def _backward(self, layer: Layer) -> Iterator[str]:
        yield f"Layer {layer.number}"
        equations, l = layer.equations, layer.number  # noqa: E741
        rows = ", summed over the rows" if layer.delta.ndim and len(layer.delta) > 1 else ""
        yield from self._array(equations["delta"], f"delta^{l} = {self._error(layer)}", layer.delta)
        for name in reversed(layer.gradients):
            symbol, label = _symbol(layer, name), equations.get(name, "")
            formula = ", by the chain rule"
            if label == "BP3":
                formula = f" = delta^{l}{', summed over rows and places' if _is_conv(layer) else rows}"
            elif label == "BP4":
                given = self._given(layer)
                formula = f" = conv({given}, delta^{l}){rows}" if _is_conv(layer) else f" = delta^{l} ({given})^T{rows}"
            yield from self._array(label, f"dC/d{symbol}{formula}", layer.gradients[name])
        yield ""

    def _error(self, layer: Layer) -> str:
        """How delta comes about."""
        l, label = layer.number, layer.equations["delta"]  # noqa: E741
        if label == "BP1":
            return _output_error(self._step, layer)
        if label != "BP2":
            return f"dC/dz^{l}, by the chain rule"
        above = self._step.layers[l]
        weights = f"convT(w^{l + 1}, delta^{l + 1})" if _is_conv(above) else f"(w^{l + 1})^T delta^{l + 1}"
        return weights + _slope(layer)

    def _sizes(self) -> Iterator[str]:
        yield self._colored("SIZES", _BOLD)
        yield ""
        column = min(30, self._width - 52)
        yield f"{'layer':<{column}}{'norm z':>10}{'norm delta':>12}{'norm gradient':>15}{'of parameters':>15}"
        for layer in self._step.layers:
            name = f"{layer.number} {layer.kind} {layer.path}"
            weights, gradients = (_norm(*arrays.values()) for arrays in (layer.parameters, layer.gradients))
            share = _number(gradients / weights) if weights else "-"
            sizes = f"{_number(_norm(layer.z)):>10}{_number(_norm(layer.delta)):>12}{_number(gradients):>15}{share:>15}"
            yield f"{name if len(name) < column else name[: column - 4] + '...':<{column}}{sizes}"

    def _given(self, layer: Layer) -> str:
        """The activation of the layer before, or else what the layer is given, by its own name."""
        below = self._step.layers[layer.number - 2].a if layer.number > 1 else self._step.x
        same = below.shape == layer.before.shape and np.array_equal(below, layer.before, equal_nan=True)
        return f"a^{layer.number - 1}" if same else f"x^{layer.number}"

    def _heading(self, layer: Layer) -> Iterator[str]:
        then = f", then {layer.activation}" if layer.activation else ""
        yield from (self._colored(line, _BOLD) for line in self._wrapped(f"L{_named(layer)[1:]}{then}"))

    def _array(self, label: str, name: str, array: Array) -> Iterator[str]:
        """A line with the equation and the shape, and the numbers below it."""
        shape = f"({', '.join(map(str, array.shape))}{',' if array.ndim == 1 else ''})"
        *lines, last = textwrap.wrap(name, self._width - 5 - len(shape) - 2, subsequent_indent="    ") or [""]
        lines.append(f"{last:<{self._width - 5 - len(shape)}}{shape}")
        yield self._colored(f"{label:<5}", _MARK) + lines[0]
        yield from (f"     {line}" for line in lines[1:])
        yield from self._numbers(array)

    def _numbers(self, array: Array) -> Iterator[str]:
        if array.size > _LARGEST and (array == array.flat[0]).all():
            yield f"       all {_number(array.flat[0])}"
            return
        if array.size <= _WHOLE:
            for row in array.reshape(-1, array.shape[-1] if array.ndim else 1) if array.size else []:
                cells = [f"{_number(value):>{_CELL}}" for value in row.tolist()]
                across = (self._width - 2) // _CELL
                yield from ("  " + "".join(cells[k : k + across]) for k in range(0, len(cells), across))
            return
        if array.dtype.kind != "f":
            yield f"       integers from {array.min()} to {array.max()}"
            return
        magnitudes = np.abs(np.nan_to_num(array.astype(np.float64), nan=np.inf))
        flat = magnitudes.reshape(-1)
        candidates = np.flatnonzero(flat >= np.partition(flat, -_LARGEST)[-_LARGEST])
        entries = candidates[np.argsort(-flat[candidates], kind="stable")][:_LARGEST]
        places = [tuple(map(int, np.unravel_index(k, array.shape))) for k in entries]
        largest = ", ".join(f"{_number(array[place].item())} at [{','.join(map(str, place))}]" for place in places)
        yield from self._wrapped(f"norm {_number(_norm(array))}; largest {largest}", "       ")

    def _wrapped(self, text: str, indent: str = "") -> list[str]:
        return textwrap.wrap(text, self._width, initial_indent=indent, subsequent_indent=indent)

    def _colored(self, text: str, how: str) -> str:
        return f"{how}{text}{_OFF}" if self._color and text.strip() else text


# ---- formulas -------------------------------------------------------------------------------------------------------

_SLOPES: dict[str, Callable[[Array, Array], Array]] = {
    "": lambda z, a: np.ones_like(z),
    "ReLU": lambda z, a: (z > 0.0) * 1.0,
    "Sigmoid": lambda z, a: a * (1.0 - a),
    "Tanh": lambda z, a: 1.0 - a * a,
}
_ELEMENTWISE = {"ELU", "GELU", "LeakyReLU", "Mish", "ReLU", "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh"}


def _output_error(step: Step, layer: Layer) -> str:
    """BP1 as the loss has it, where the numbers bear it out, else in general."""
    slope = _slope(layer)
    error, formula = _difference(step, layer)
    if error.any():
        factor = float(np.vdot(error, layer.delta) / np.vdot(error, error))
        if np.abs(layer.delta - factor * error).max() <= 1e-6 * np.abs(layer.delta).max():
            share = f" * {factor:.6g}" if factor > 1.0 + 1e-6 else f" / {1.0 / factor:.6g}"
            share = "" if abs(factor - 1.0) < 1e-6 else share
            slope = "" if step.loss_name == "BCELoss" else slope  # which the loss has cancelled
            return f"({formula}){share}{slope}" if share or slope else formula
    return f"dC/d{'a' if layer.activation else 'z'}^{layer.number}{slope}"


def _difference(step: Step, layer: Layer) -> tuple[Array, str]:
    """What delta is a multiple of, for the usual losses, and its formula without the slope; zeros for others."""
    z, a, y, n = layer.z, layer.a, step.y, layer.number
    if step.loss_name == "CrossEntropyLoss" and y.ndim < z.ndim == 2:
        y = np.equal.outer(y, np.arange(z.shape[-1]))
    if y.shape == a.shape == z.shape:
        if step.loss_name == "CrossEntropyLoss" and not layer.activation:
            e = np.exp(z - z.max(-1, keepdims=True))
            return e / e.sum(-1, keepdims=True) - y, f"softmax(z^{n}) - y"
        if step.loss_name == "BCEWithLogitsLoss" and not layer.activation:
            return 0.5 * (1.0 + np.tanh(0.5 * z)) - y, f"sigmoid(z^{n}) - y"
        if step.loss_name == "BCELoss" and layer.activation == "Sigmoid":
            return a - y, f"a^{n} - y"
        if step.loss_name in ("MSELoss", "QuadraticLoss") and layer.activation in _SLOPES:
            return (a - y) * _SLOPES[layer.activation](z, a), f"{'a' if layer.activation else 'z'}^{n} - y"
    return np.zeros(1), ""


def _slope(layer: Layer) -> str:
    """What comes back through the activation."""
    names = [name for name in layer.activation.split(" + ") if name not in ("", "Flatten")]
    if not names:
        return ""
    if len(names) == 1 and names[0] in _ELEMENTWISE:
        return f" * {names[0].lower()}'(z^{layer.number})"
    return f", back through {' and '.join(reversed(names))}"


def _applied(layer: Layer, z: str) -> str:
    """The activation of z: ``flatten(relu(z^1))``."""
    for name in layer.activation.split(" + "):
        z = f"{name.lower()}({z})"
    return z


def _named(layer: Layer) -> str:
    path = f' "{layer.path}"' if layer.path else ""
    return f"layer {layer.number}, {layer.kind}{path}"


def _symbol(layer: Layer, name: str) -> str:
    """w^2 and b^2 for weight and bias of what the equations are written for, else the name."""
    known = {"weight": f"w^{layer.number}", "bias": f"b^{layer.number}"} if _is_known(layer) else {}
    return known.get(name, f"({name})")


def _is_conv(layer: Layer) -> bool:
    return layer.kind.startswith("Conv")


def _is_known(layer: Layer) -> bool:
    return layer.kind in ("Linear", "Conv1d", "Conv2d")


def _norm(*arrays: Array) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays)))


def _number(value: float) -> str:
    return f"{value:.4g}"
