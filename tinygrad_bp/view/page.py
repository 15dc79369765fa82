"""Steps of backpropagation as one page of HTML: a picture for every array, the equations beside their numbers.

`page` puts numbers, style and script into one file that asks the network for nothing, and that its own policy forbids
to. Arrays are cut to what can be seen: a small one goes in with every digit, a larger one with 8 bits an entry, one
that is larger still as its first images, or as blocks of which the entry of greatest magnitude stands for all; the
page says which. What is computed here is what a reader would compute by hand from the arrays of a step; where the
numbers do not come to the gradients of that step, they are left out. How things look is in page.css and page.js.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite, isqrt
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .step import Layer, Step

__all__ = ["page"]

Array = NDArray[Any]

_LARGEST = 4_500_000  # bytes
# entries of an array that are shown, entries up to which every digit is kept: the first pair that fits
_SHARES = ((131072, 512), (65536, 256), (32768, 128), (16384, 64), (8192, 32), (4096, 16), (1024, 8), (256, 4), (64, 1))
_TILES = 100
_TILES_OF_A_LAYER = 24
_FEW = 4
_SIDE = 256
_UNITS = 128
_CURVES = 3


def page(
    steps: Sequence[tuple[str, Step]],
    history: Sequence[Mapping[str, Any]] | None = None,
    title: str = "One step of backpropagation",
) -> str:
    """Steps, each with its label, as one self-contained HTML file under 5 MB; more than one go on a slider.

    Parameters
    ----------
    steps
        Such as ``("epoch 3", explain(...))``, of one model and the same rows. A number that ends a label is the epoch
        at which the curves are marked.
    history
        The records that `fit` returns, drawn as curves.

    Raises
    ------
    ValueError
        There are no steps.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])
    >>> z, delta = x @ w.T, np.array([[2.0]])
    >>> labels = {"delta": "BP1", "weight": "BP4"}
    >>> layer = Layer("0", "Linear", 1, "", x, z, z, delta, {"weight": w}, {"weight": delta.T @ x}, labels)
    >>> text = page([("now", Step("Linear(2, 1)", "MSELoss", 1.0, None, 1, x, z * 0, z, [layer], [], ""))])
    >>> text[:15], "src=" in text
    ('<!DOCTYPE html>', False)
    """
    if not steps:
        raise ValueError("page: there are no steps. Pass at least one, as (label, explanation).")
    here = Path(__file__)
    style, script = (here.with_suffix(kind).read_text("ascii") for kind in (".css", ".js"))
    for shown, exact in _SHARES:
        with np.errstate(all="ignore"):  # what is not finite is shown as it is
            data = _json(_Content(shown, exact).of(steps, history or []))
        if len(data) < _LARGEST:
            break
    parts = {
        "title": html.escape(title),
        "graph": steps[-1][1].graph,
        "style": style,
        "script": script,
        "digest": b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "data": data,
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], here.with_suffix(".html").read_text("ascii"))
    return text.encode("ascii", "xmlcharrefreplace").decode()  # whatever encoding it is written or served in


class _Content:
    """What page.js reads: steps as JSON, and every array once."""

    def __init__(self, shown: int, exact: int) -> None:
        self._shown = shown
        self._exact = exact
        self._cells: list[dict[str, Any]] = []
        self._known: dict[tuple[bytes, str], int] = {}

    def of(self, steps: Sequence[tuple[str, Step]], history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        moments = [step for _, step in steps]
        entries = [_entries(moments, number) for number in range(len(moments[0].layers))]
        return {
            "steps": [
                {"label": label, "epoch": _epoch(label)} | self._step(step, _rows(moments), entries)
                for label, step in steps
            ],
            "curves": _curves(history),
            "cells": self._cells,
        }

    def _step(self, step: Step, rows: Mapping[int, int], entries: Sequence[Array | None]) -> dict[str, Any]:
        first = step.layers[0].before if step.layers else step.x
        images = _is_images(first)
        layers = []
        for place, layer in enumerate(step.layers):
            from_images = images and layer.before.shape == first.shape and place == 0
            layers.append(
                {
                    "path": layer.path,
                    "kind": layer.kind,
                    "number": layer.number,
                    "activation": layer.activation,
                    "equations": layer.equations,
                    "before": self._picture(  # more images stand above
                        layer.before, from_images and len(first) <= _FEW, _TILES_OF_A_LAYER
                    ),
                    "z": self._picture(layer.z, most=_TILES_OF_A_LAYER),
                    "a": self._picture(layer.a, most=_TILES_OF_A_LAYER),
                    "delta": self._picture(layer.delta, most=_TILES_OF_A_LAYER),
                    "parameters": {
                        name: {
                            "value": self._picture(value, from_images and name == "weight"),
                            "gradient": self._picture(layer.gradients[name], from_images and name == "weight"),
                        }
                        for name, value in layer.parameters.items()
                    },
                    "units": self._units(step, place, rows, entries[place]),
                }
            )
        return {
            "model": step.model,
            "loss_name": step.loss_name,
            "loss": step.loss,
            "sample": step.sample,
            "rows": step.rows,
            "findings": [{"layer": each.layer, "kind": each.kind, "text": each.text} for each in step.findings],
            "x": self._picture(step.x, _is_images(step.x)),
            "y": self._picture(step.y),
            "output": self._picture(step.output),
            "classes": _classes(step),
            "layers": layers,
        }

    def _picture(self, array: Array, images: bool = False, most: int = _TILES) -> dict[str, Any]:
        """An array as a row of matrices, cut to what is shown."""
        array = np.asarray(array, np.float64)
        side = isqrt(array.shape[-1]) if images and array.ndim == 2 else 0
        stack = array.reshape(-1, side, side) if side else _stack(array)
        count = min(len(stack), max(1, self._shown // max(1, stack[0].size)), most) if array.size else 0
        kept, block = _blocks(stack[:count], self._shown)
        finite = array[np.isfinite(array)]
        seen = np.abs(kept[np.isfinite(kept)])
        return {
            "shape": array.shape,
            "stack": (len(stack), *stack.shape[1:]),
            "cut": kept.shape,
            "block": block,
            "square": bool(side) or array.ndim > 3,
            "across": array.shape[1] if array.ndim == 4 and array.shape[1] <= 16 else 0,
            "cells": self._add(kept),
            "limit": float((np.max if seen.size <= 512 else _nearly_all)(seen)) if seen.size else 0.0,
            "low": float(finite.min()) if finite.size else 0.0,
            "high": float(finite.max()) if finite.size else 0.0,
            "rms": _rms(finite),
            "bad": array.size - finite.size,
        }

    def _add(self, array: Array, digits: bool = False) -> int:
        """Where the array is among the cells: as float64, or as 1 (minus infinity), 2 to 254, 255, and 0 for nan."""
        finite = np.isfinite(array)
        scale = float(np.max(np.abs(array[finite]), initial=0.0))
        if digits or array.size <= self._exact:
            kind, content = "f", array.astype("<f8").tobytes()
        else:
            levels = np.round(np.where(finite, array, 0.0) / (scale or 1.0) * 126.0) + 128.0
            levels = np.where(finite, levels, np.where(np.isnan(array), 0.0, np.where(array > 0, 255.0, 1.0)))
            kind, content = "q", levels.astype(np.uint8).tobytes()
        key = (content, kind if kind == "f" else repr(scale))
        if key not in self._known:
            self._known[key] = len(self._cells)
            self._cells.append({"kind": kind, "scale": scale, "base64": b64encode(content).decode()})
        return self._known[key]

    def _units(
        self, step: Step, place: int, rows: Mapping[int, int], entries: Array | None
    ) -> dict[str, int | float] | None:
        """The numbers of the equations for every unit of a Linear layer, in one row of the mini-batch."""
        layer = step.layers[place]
        if entries is None or not _by_hand(layer):
            return None
        before, z, a, delta = (_flat(array) for array in (layer.before, layer.z, layer.a, layer.delta))
        row, units = rows[len(z)], np.arange(len(entries))
        numbers: dict[str, Array] = {
            "z": z[row, units],
            "delta": delta[row, units],
            "i": entries,
            "before": before[row, entries],
            "weight": layer.parameters["weight"][units, entries],
            "dweight": layer.gradients["weight"][units, entries],
        }
        if "bias" in layer.parameters:
            numbers |= {"bias": layer.parameters["bias"][units], "dbias": layer.gradients["bias"][units]}
        numbers |= {name: array[row, units] for name, array in _error(step, place, z, a, delta).items()}
        worked = {name: self._add(np.asarray(array, np.float64), digits=True) for name, array in numbers.items()}
        return {"row": row, "rows": len(z), "of": z.shape[1], "count": len(units)} | worked


def _error(step: Step, place: int, z: Array, a: Array, delta: Array) -> dict[str, Array]:
    """The factors of delta where their product is delta: what came back, the slope, and how the loss gave it."""
    layer = step.layers[place]
    slope = _SLOPES[layer.activation](z, a) if layer.activation in _SLOPES and a.shape == z.shape else None
    if slope is None:
        return {}
    factors = {"a": a, "slope": slope}
    equation = layer.equations.get("delta")
    if equation == "BP2":
        above = step.layers[place + 1]
        if above.kind != "Linear" or above.z.shape[:-1] != layer.z.shape[:-1]:
            return factors
        back = _flat(above.delta) @ above.parameters["weight"]
        return factors | ({"back": back} if _equal(back * slope, delta) else {})
    if equation == "BP1":
        with np.errstate(all="ignore"):
            back = np.where(delta == 0.0, 0.0, delta / slope)
        factors["back"] = back
        if step.loss_name in _LOSSES:
            said, wanted, factor = _LOSSES[step.loss_name](a, step.y)
            if np.shape(wanted) == a.shape and _equal((said - wanted) * factor * slope, delta):
                factors |= {"said": said, "wanted": wanted, "factor": np.full(a.shape, factor)}
        return factors
    return {}


def _sigmoid(z: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _softmax(z: Array) -> Array:
    raised = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def _one_hot(y: Array, classes: int) -> Array:
    return np.asarray(y[..., None] == np.arange(classes), np.float64)


# da/dz of each activation, by its name
_SLOPES: dict[str, Callable[[Array, Array], Array]] = {
    "": lambda z, a: np.ones_like(z),
    "Sigmoid": lambda z, a: a * (1.0 - a),
    "Tanh": lambda z, a: 1.0 - a**2,
    "ReLU": lambda z, a: (z > 0).astype(z.dtype),
    "LeakyReLU": lambda z, a: np.divide(a, z, out=np.zeros_like(z), where=z != 0),
    "Softplus": lambda z, a: _sigmoid(z),
}
# what the net said, what was wanted, and the factor that makes their difference dC/da
_LOSSES: dict[str, Callable[[Array, Array], tuple[Array, Array, float]]] = {
    "QuadraticLoss": lambda a, y: (a, y, 1.0 / len(a)),
    "MSELoss": lambda a, y: (a, y, 2.0 / a.size),
    "CrossEntropyLoss": lambda a, y: (_softmax(a), y if y.ndim == a.ndim else _one_hot(y, a.shape[-1]), 1.0 / len(a)),
    "BCEWithLogitsLoss": lambda a, y: (_sigmoid(a), y, 1.0 / a.size),
}


def _by_hand(layer: Layer) -> bool:
    """Whether the equations give the gradients of this layer: it is Linear, and called once."""
    if layer.kind != "Linear" or layer.delta.size == 0 or layer.before.shape[:-1] != layer.z.shape[:-1]:
        return False
    before, delta = _flat(layer.before), _flat(layer.delta)
    bias = layer.gradients.get("bias")
    return _equal(delta.T @ before, layer.gradients["weight"]) and (bias is None or _equal(delta.sum(0), bias))


def _rows(moments: Sequence[Step]) -> dict[int, int]:
    """For every number of rows that a layer has, the row whose error is the greatest over all steps."""
    errors: dict[int, Array] = {}
    for layer in reversed(moments[0].layers):
        if layer.delta.ndim > 1 and layer.delta.size and (count := len(_flat(layer.delta))) not in errors:
            same = [each.layers[layer.number - 1].delta for each in moments if len(each.layers) >= layer.number]
            errors[count] = np.sum([np.nan_to_num(np.abs(_flat(delta)).sum(1)) for delta in same], axis=0)
    return {count: int(np.argmax(error)) for count, error in errors.items()}


def _entries(moments: Sequence[Step], place: int) -> Array | None:
    """For every unit of a Linear layer the input whose weight has the greatest gradients over all steps."""
    if moments[0].layers[place].kind != "Linear":
        return None
    gradients = [step.layers[place].gradients["weight"][:_UNITS] for step in moments]
    return np.asarray(np.sum([np.nan_to_num(np.abs(gradient)) for gradient in gradients], axis=0).argmax(axis=1))


def _classes(step: Step) -> dict[str, list[int]] | None:
    """The class that is wanted of each row and the one that the net says, where targets are classes."""
    if step.y.ndim != 1 or step.y.dtype.kind not in "iu" or step.output.ndim != 2 or len(step.output) != len(step.y):
        return None
    return {"wanted": step.y.tolist(), "said": step.output.argmax(1).tolist() if step.output.size else []}


def _is_images(x: Array) -> bool:
    """Rows of 64, 256, 400, 784 ... numbers are images of equal sides; what has channels is one anyway."""
    return x.ndim == 2 and x.shape[1] >= 64 and isqrt(x.shape[1]) ** 2 == x.shape[1]


def _flat(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def _stack(array: Array) -> Array:
    """(matrices, rows, columns), in the order of the entries; axes of length 1 are no axes."""
    if not array.size:
        return np.zeros((0, 1, 1))
    array = array.squeeze()
    return array.reshape(-1, *((1, 1, *array.shape)[-2:]))


def _blocks(stack: Array, most: int) -> tuple[Array, tuple[int, int]]:
    """Matrices of at most `most` entries: of each block the entry of greatest magnitude, nan before infinity."""
    count, rows, columns = stack.shape
    down, over = (1, -(-columns // most)) if rows == 1 else (-(-rows // _SIDE), -(-columns // _SIDE))
    while -(-rows // down) * -(-columns // over) > most:
        down, over = min(2 * down, rows), 2 * over
    if down * over == 1 or not stack.size:
        return stack, (1, 1)
    padded = np.pad(stack, ((0, 0), (0, -rows % down), (0, -columns % over)))
    blocks = padded.reshape(count, -(-rows // down), down, -(-columns // over), over).swapaxes(2, 3)
    blocks = blocks.reshape(*blocks.shape[:3], -1)
    greatest = np.argmax(np.abs(blocks), axis=-1, keepdims=True)  # argmax takes the first nan
    return np.take_along_axis(blocks, greatest, axis=-1)[..., 0], (down, over)


def _nearly_all(magnitudes: Array) -> float:
    return float(np.quantile(magnitudes, 0.998)) or float(magnitudes.max())


def _rms(values: Array) -> float:
    scale = float(np.max(np.abs(values), initial=0.0))
    return scale * float(np.sqrt(np.mean((values / scale) ** 2))) if scale else 0.0


def _equal(a: Array, b: Array) -> bool:
    """Equal but for rounding, which is that of float32 at worst."""
    return a.shape == b.shape and bool(np.max(np.abs(a - b), initial=0.0) <= 1e-4 * np.max(np.abs(b), initial=0.0))


def _epoch(label: str) -> int | None:
    number = re.search(r"\d+$", label)
    return int(number[0]) if number else None


def _curves(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The loss and metrics of the history, in training and in validation."""

    def values(name: str) -> list[float | None]:
        return [record[name] if isinstance(record.get(name), Real) else None for record in history]

    names: Iterable[str] = dict.fromkeys(key.removeprefix("val_") for record in history for key in record)
    measured = [name for name in names if name not in {"epoch", "lr", "seconds"}]
    curves = [{"name": name, "training": values(name), "validation": values(f"val_{name}")} for name in measured]
    epochs = [record["epoch"] for record in history]
    seen = [each for each in curves if any(v is not None for v in [*each["training"], *each["validation"]])]
    return [each | {"epochs": epochs} for each in seen[:_CURVES]]


def _json(content: Any) -> str:
    """JSON that can stand in a script element; numbers that are not finite are the texts that Number() takes."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        if isinstance(value, (np.floating, float)) and not isfinite(value):
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        return value.item() if isinstance(value, np.generic) else value

    return json.dumps(plain(content), separators=(",", ":")).replace("<", "\\u003c")
