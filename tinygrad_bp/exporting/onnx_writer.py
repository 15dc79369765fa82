"""What every exporter of a row writes to: the nodes and the constants of an ONNX graph, and the names of its values.

A graph computes in three dtypes: floats are float32, integers int64, the rest bool. An exporter is a function of the
:class:`Writer` and of one computed :class:`~tinygrad_bp.exporting.paired.Value`: it names the inputs by ``of``, writes
nodes and returns the name of the result. Which row has which exporter is in `onnx_ops` and `onnx_layers`; the file is
put together in `onnx_file`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .paired import Rows, Size, Value

__all__ = ["Exporter", "Writer", "refusal", "type_of"]

_TYPES: dict[str, np.dtype[Any]] = {"f": np.dtype(np.float32), "b": np.dtype(bool)}
_TYPES |= dict.fromkeys("iu", np.dtype(np.int64))
_LARGEST = float(np.finfo(np.float32).max)


def type_of(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype that a graph has for it: float32, int64 or bool.

    >>> type_of("float64"), type_of("uint8")
    (dtype('float32'), dtype('int64'))
    """
    return _TYPES[np.dtype(dtype).kind]


def refusal(value: Value, what: str) -> ValueError:
    """The error for a value that has no ONNX: `what` its row does, a full stop, and what to do instead.

    >>> import numpy as np
    >>> value = Value("computed", "sort", (), (), (), np.dtype(float), np.zeros(()), path="0.sorted")
    >>> refusal(value, "has no ONNX. Leave it out")
    ValueError("export: 0.sorted: 'sort' has no ONNX. Leave it out.")
    """
    return ValueError(f"export: {value.path or 'the model'}: '{value.op}' {what}.")


class Writer:
    """A graph in the making, `nodes` and `initializers`; its input "x" is the Value `given`, its outputs have names.

    Examples
    --------
    An exporter, here of a row that multiplies its input, of any dtype, by the number of rows:

    >>> def exporter(w: Writer, value: Value) -> str:
    ...     return w.node("Mul", w.of(value.inputs[0], float), w.of(Rows(1, 0), float))
    """

    def __init__(self, given: Value, outputs: Sequence[str] = ("y",)) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.path = ""  # of the module whose nodes are being written
        self._names: dict[tuple[int, np.dtype[Any]], str] = {(id(given), type_of(given.dtype)): "x"}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._taken, self._kept = {"x", *outputs}, set[str]()

    # -- nodes --

    @overload
    def node(self, op_type: str, *inputs: str, outputs: Literal[1] = 1, **attributes: Any) -> str: ...

    @overload
    def node(self, op_type: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]: ...

    def node(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str | tuple[str, ...]:
        """Write one node, and name its output; with `outputs` > 1 all of them.

        `inputs` are names, "" for one that is left out. `attributes` are ONNX's; None leaves one out.
        """
        from onnx import helper

        names = tuple(self._fresh(f"{self.path}/{op_type}" if self.path else op_type) for _ in range(outputs))
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op_type, list(inputs), list(names), name=names[0], **given))
        return names if outputs > 1 else names[0]

    def write(self, value: Value, exporter: Exporter) -> None:
        """Write the nodes that compute `value`: what the exporter returns is its name from now on."""
        self.path = value.path
        self._names[id(value), type_of(value.dtype)] = exporter(self, value)

    def output(self, value: Value, name: str) -> None:
        """Let `value` be an output of the graph: it is computed under that name, by a node of its own if need be."""
        from onnx import helper

        known, last = self.of(value), self.nodes[-1] if self.nodes else None
        if last is not None and [*last.output] == [known] and known not in self._kept:
            last.output[0] = self._names[id(value), type_of(value.dtype)] = name
        else:
            self.nodes.append(helper.make_node("Identity", [known], [name], name=name))
        self._kept.add(name)

    # -- names of what there is --

    def of(self, x: Value | Rows | float | None, dtype: DTypeLike | None = None) -> str:
        """The name of a value or a number, in the graph's type of `dtype`, by default its own; "" for None.

        A value with the shape () is one too; a constant that is as long as the batch has its whole shape.
        """
        if x is None:
            return ""
        if isinstance(x, Rows):
            count = self.node("Squeeze", self.ints([x]))
            return count if dtype is None else self.cast(count, dtype)
        if not isinstance(x, Value):
            return self.constant(x, dtype=dtype)
        wanted = type_of(x.dtype if dtype is None else dtype)
        key = id(x), wanted
        if key not in self._names:
            if x.kind in ("parameter", "constant"):
                self._names[key] = self._whole(x, self.constant(x.data, x.name, wanted))
            else:
                self._names[key] = self.cast(self._names[id(x), type_of(x.dtype)], wanted)
        return self._names[key]

    def cast(self, name: str, dtype: DTypeLike) -> str:
        """A value in the graph's type of `dtype`."""
        from onnx import helper

        return self.node("Cast", name, to=helper.np_dtype_to_tensor_dtype(type_of(dtype)))

    def constant(self, array: ArrayLike, name: str = "", dtype: DTypeLike | None = None) -> str:
        """An array of the graph's own, in the graph's type of `dtype`, by default its own; small ones are shared.

        A finite number that float32 has not becomes the largest that it has.
        """
        from onnx import numpy_helper

        array = np.asarray(array)
        wanted = type_of(array.dtype if dtype is None else dtype)
        if wanted.kind == "f":
            array = np.where(np.isinf(array), array, np.clip(array, -_LARGEST, _LARGEST))
        array = np.array(array, wanted, order="C")  # in one block, as it is stored
        key = array.dtype, array.shape, array.tobytes() if array.size <= 64 else len(self.initializers), name
        if key not in self._constants:
            self._constants[key] = self._fresh(name or "constant")
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def ints(self, sizes: Sequence[Size]) -> str:
        """A vector of int64: a shape, axes, the ends of slices. Those that are Rows are computed from the input."""
        if not any(isinstance(n, Rows) for n in sizes):
            return self.constant(np.array(sizes, np.int64).reshape(-1))
        parts = [self._size(n) for n in sizes]
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    # -- inside --

    def _size(self, n: Size) -> str:
        """A vector of one."""
        if not isinstance(n, Rows):
            return self.constant(np.array([n], np.int64))
        count = self.node("Shape", "x", start=0, end=1)
        count = count if n.scale == 1 else self.node("Mul", count, self.constant(np.array([n.scale], np.int64)))
        return self.node("Add", count, self.constant(np.array([n.shift], np.int64))) if n.shift else count

    def _whole(self, value: Value, name: str) -> str:
        """A constant in the whole of its shape."""
        return name if value.is_fixed else self.node("Expand", name, self.ints(value.shape))

    def _fresh(self, name: str) -> str:
        """A name that nothing has, as near to `name` as can be."""
        found, k = name, 1
        while found in self._taken:
            found, k = f"{name}_{k}", k + 1
        self._taken.add(found)
        return found


Exporter: TypeAlias = Callable[[Writer, Value], str]
"""Writes the nodes that compute a value, and returns the name of the result, in the graph's type of its dtype."""
