"""What is checked: a function and its backward, whatever they were written in, as functions of one flat vector.

A :class:`Problem` holds the float arguments side by side in one vector x and the outputs in one vector y, so that the
rest of the checker knows two things only: ``value(x) = y`` and ``vjp(v) = v . dy/dx``. It counts the calls of the
function, puts random generators back before each of them, and never lets the function touch the arrays it keeps.
Problems are made by :mod:`~tinygrad_bp.checking.adapters`.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import autograd, random
from ..containers import paths
from ..recipe import Node, leaf
from ..tensor import Tensor
from .report import Diagnosis, counted

__all__ = ["Broken", "Problem", "Record", "fits", "tensors", "tracked"]

Array = NDArray[Any]
Forward = Callable[[list[Array]], Any]
Backward = Callable[[list[Array], list[Array]], Sequence[Any]]
Record = Callable[[list[Any]], tuple[Any, list[Any]]]


class Broken(Exception):  # noqa: N818 - not an error of the checker: a finding about what it checks
    """The contract is broken so badly that nothing can be measured."""

    def __init__(self, code: str, text: str, hint: str) -> None:
        super().__init__(text)
        self.diagnosis = Diagnosis(code, text, hint)


class Problem:
    """A function of float arrays and its backward.

    Parameters
    ----------
    name : str
        What reports call it.
    forward : callable
        Takes the list of arrays, returns an array or Tensor, or a tuple, list or dict of them.
    backward : callable
        Takes the list of arrays and the list of incoming gradients, one for each output; returns a gradient for each
        array, None for zero.
    inputs : mapping
        The float arrays by name. They are copied, and measured in float64.
    others : mapping
        What the function takes besides: shown to the diagnosis, never changed.
    rng : numpy.random.Generator, optional
        What the function draws from: put back to its present state before each call, as the package's own always is.
    record : callable
        Of functions of Tensors: from leaves to the outputs and the nodes to differentiate by, one for each input.
        Without it the gradients are arrays that the backward made, which may share memory with nothing.
    leave : callable
        Undoes what calls of the function have left behind.

    Raises
    ------
    Broken
        The function cannot be called, or there is nothing to differentiate.
    """

    def __init__(
        self,
        name: str,
        forward: Forward,
        backward: Backward,
        inputs: Mapping[str, Any],
        *,
        others: Mapping[str, Any] | None = None,
        rng: np.random.Generator | None = None,
        record: Record | None = None,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.forward, self.backward, self.leave = name, forward, backward, leave
        self.others, self.record, self.owns_gradients = dict(others or {}), record, record is None
        self._others = {key: np.array(a) for key, a in self.others.items()}
        self.rng, self.evals, self.raised, self._last = rng, 0, "", b""
        try:
            self._start(inputs)
        except BaseException:
            leave()
            raise

    def _start(self, inputs: Mapping[str, Any]) -> None:
        self._generators = [(g.bit_generator, g.bit_generator.state) for g in (random.generator(), self.rng) if g]
        self.names, self.inputs = list(inputs), [np.array(a, np.float64) for a in inputs.values()]
        for key, a in zip(self.names, self.inputs):
            _require_finite(key, a)
        self.shapes = [a.shape for a in self.inputs]
        self.cuts = _cuts(self.shapes)
        self.x = _joined(self.inputs)
        outputs = _float_outputs(self.run(self.arrays(self.x)))
        self.outputs, self.output_shapes = list(outputs), [np.shape(y) for y in outputs.values()]
        self.output_cuts = _cuts(self.output_shapes)
        self.y = _joined(outputs.values())
        for key, y in outputs.items():
            _require_finite(f"the output {key}", y, "Check where the function is finite")

    # -- the function --

    def arrays(self, x: Array) -> list[Array]:
        """The vector x as the arguments: views of one fresh copy."""
        x = x.copy()
        return [x[cut].reshape(shape) for cut, shape in zip(self.cuts, self.shapes)]

    def value(self, x: Array) -> Array:
        """Y at x; nan where the function cannot be computed."""
        try:
            outputs = _float_outputs(self.run(self.arrays(x)))
        except Broken as broken:
            if broken.diagnosis.code != "RAISES":
                raise
            self.raised = self.raised or broken.diagnosis.text
            return np.full(self.y.shape, np.nan)
        if [np.shape(y) for y in outputs.values()] != self.output_shapes:
            raise Broken(
                "SHAPE",
                f"the output has shape {', '.join(str(np.shape(y)) for y in outputs.values())} near the inputs and "
                f"{', '.join(map(str, self.output_shapes))} at them",
                "Return one shape, whatever the values",
            )
        return _joined(outputs.values())

    def run(self, arrays: list[Array]) -> Any:
        """What the forward returns, as it came."""
        self.evals += 1
        self._last = _bytes(arrays)
        self.rewind()
        try:
            return self.forward(arrays)
        except Exception as error:
            raise _raised("forward", error) from error

    def graph(self) -> list[Any]:
        """The outputs as Tensors with the graph behind them; nothing of NumPy code written by hand."""
        self.rewind()
        return [] if self.record is None else tensors(self.record(tracked(self.arrays(self.x)))[0])

    def others_before(self) -> list[tuple[str, Array, Array]]:
        """Name, array, and the array as it was at first, of what the function takes besides."""
        return [(name, a, self._others[name]) for name, a in self.others.items()]

    def rewind(self) -> None:
        """Put the random generators where they were at first."""
        for generator, state in self._generators:
            generator.state = state

    hint = "Mend the call, or the function"
    """What to do when the backward raises."""
    seedless = False
    """Whether the backward takes no incoming gradient: that of a loss is one."""

    # -- its backward --

    def upstream(self, v: Array) -> list[Array]:
        """The vector v as the incoming gradients of the outputs: fresh arrays."""
        return [v[cut].reshape(shape).copy() for cut, shape in zip(self.output_cuts, self.output_shapes)]

    def pull(self, arrays: list[Array], upstream: list[Array]) -> list[Any]:
        """What the backward returns: a gradient for each argument, as it came.

        Code written by hand may use what its forward has kept, so the last forward must have been of these arrays.
        """
        if self.owns_gradients and self._last != _bytes(arrays):
            self.run([a.copy() for a in arrays])
        self.rewind()
        try:
            found = list(self.backward(arrays, upstream))
        except Broken:
            raise
        except Exception as error:
            raise _raised("backward", error, self.hint) from error
        if len(found) != len(self.names):
            raise Broken(
                "COUNT", f"the backward returned {counted(len(found), 'gradient')}", f"Return {len(self.names)}"
            )
        return found

    def vjp(self, v: Array) -> Array:
        """V . dy/dx as one vector: zeros for None, nan for what has not the shape of its argument."""
        return self.flat(self.pull(self.arrays(self.x), self.upstream(v)))

    def row(self, k: int) -> Array:
        """The gradient of output k alone."""
        one = np.zeros(self.y.size)
        one[k] = 1.0
        return self.vjp(one)

    def flat(self, gradients: Sequence[Any]) -> Array:
        """Gradients as they came, as one vector."""
        return _joined(
            np.zeros(shape) if g is None else g if fits(g, shape) else np.full(shape, np.nan)
            for g, shape in zip(gradients, self.shapes)
        )


def _bytes(arrays: Sequence[Array]) -> bytes:
    return b"".join(a.tobytes() for a in arrays)


def fits(g: Any, shape: tuple[int, ...]) -> bool:
    """Whether g is real numbers of that shape."""
    array = np.asarray(g)
    return array.shape == shape and array.dtype.kind in "fiub"


def _joined(arrays: Any) -> Array:
    flat = [np.asarray(a, np.float64).ravel() for a in arrays]
    return np.concatenate(flat) if flat else np.zeros(0)


def _cuts(shapes: list[tuple[int, ...]]) -> list[slice]:
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)]).tolist()
    return [slice(a, b) for a, b in zip(ends[:-1], ends[1:])]


def _require_finite(what: str, array: Array, hint: str = "Pass finite numbers") -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(map(int, bad[0]))
        at = f" at index {index}" if index else ""
        raise Broken("NONFINITE", f"{what} is {np.asarray(array)[index]}{at}", hint)


def _named(result: Any) -> dict[str, Any]:
    """What a forward returned by its names or places, also what is nested in tuples and lists."""
    if isinstance(result, Mapping):
        return {str(key): value for key, value in result.items()}
    if not isinstance(result, (tuple, list)):
        return {"y": result}
    parts = [paths(y) if isinstance(y, (tuple, list)) else [("", y)] for y in result]
    return {f"y[{k}]{way}": y for k, part in enumerate(parts) for way, y in part}


def _float_outputs(result: Any) -> dict[str, Array]:
    """The float arrays among what a forward returned, by name."""
    named = _named(result)
    arrays = {key: value.data if isinstance(value, Node) else np.asarray(value) for key, value in named.items()}
    for key, value in arrays.items():
        if value.dtype.kind not in "fiub":
            kind = type(named[key]).__name__ if value.dtype.kind == "O" else value.dtype
            raise Broken("INPUT", f"the forward returned a {kind} for {key}", "Return real numbers")
    floats = {key: value for key, value in arrays.items() if value.dtype.kind == "f"}
    if not floats:
        kinds = " and ".join(str(value.dtype) for value in arrays.values()) or "nothing"
        raise Broken("INPUT", f"the forward returned {kinds}, which has no derivative", "Return floats")
    return floats


def _raised(what: str, error: Exception, hint: str = "Mend the call, or the function") -> Broken:
    """A finding of an exception that a user's function let out: its words, and the last line of theirs."""
    not_theirs = tuple(str(Path(module.__file__ or "").parent) for module in (autograd, np, inspect))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(not_theirs)]
    at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split()).rstrip(".")
    return Broken("RAISES", f"the {what} raised {type(error).__name__}: {text}{at}", hint)


def tracked(arrays: Sequence[Array]) -> list[Any]:
    """Leaves that require grad and share memory with the arrays, so that a write into them is seen."""
    return [leaf(a, True) for a in arrays]


def tensors(result: Any) -> list[Any]:
    """The float outputs in the order of `value`; constants count as Tensors."""
    found = [y if isinstance(y, Node) else Tensor(y) for y in _named(result).values()]
    return [y for y in found if y.data.dtype.kind == "f"]
