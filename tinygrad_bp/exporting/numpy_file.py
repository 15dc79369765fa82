"""A trained model as one Python file that predicts with NumPy alone and can be read as if written by hand.

The file has ``predict(x)``, a line for every step with the shape of what it gives, and the arrays at its end. For a
classifier it has ``classify(x)``, too, and run as a program it predicts the rows of a file. Before it is written it is
run on other numbers of rows and compared with the model. It says nothing of training: that is ``bp.compile``'s.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy import ndarray

from ..compiler.function_source import Functions
from ..compiler.plan import Value
from ..io.atomic import in_place_of
from ..nn.module import Module
from ..recipe import Node, leaf, no_grad
from .numpy_plan import RECORDED, Forward, arrays_in, evaluated, forward, some
from .numpy_text import Block, Expression, is_of_states, place, size_text
from .paired import Rows

__all__ = ["numpy_source", "scaling", "write_numpy"]

Array = ndarray[Any, Any]

TRIED = 1, 11  # rows
_USED = {"classes", "columns", "categories", "target", "threshold"}
_RESERVED = {"np", "n", "x", "y", "predict", "classify", "read", "table", "numbers", "main", "load", "ARCHIVE"}
_RESERVED |= {"CLASSES", "COLUMNS", "CATEGORIES", "PLACES", "TARGET", "number", "base64", "csv", "io", "sys"}
_RESERVED |= {"file", "allow_pickle"}  # np.savez's own


def write_numpy(
    model: Module,
    x: Any,
    path: str | os.PathLike[str],
    *,
    mean: Any = None,
    scale: Any = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write :func:`numpy_source` to a file; one of that name is replaced, and only when the new one is complete.

    >>> import tempfile, tinygrad_bp as bp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_numpy(bp.nn.Linear(3, 2), bp.ones(1, 3), f"{folder}/model.py")
    ...     os.listdir(folder)
    ['model.py']
    """
    text = numpy_source(model, x, mean=mean, scale=scale, metadata=metadata)
    with in_place_of(path) as file:
        file.write(text.encode("ascii"))


def numpy_source(
    model: Module, x: Any, *, mean: Any = None, scale: Any = None, metadata: Mapping[str, Any] | None = None
) -> str:
    r"""The text of the file: ``predict(x)`` gives what `model` gives in eval mode, for any number of rows.

    Parameters
    ----------
    x
        Some rows such as the model takes, axis 0 the rows: their shape and dtype are those of the file's x.
    mean, scale
        The file computes ``(x - mean) / scale`` first: as many numbers as a row has. Both, or neither.
    metadata
        ``classes``: the labels, by their position in the output. ``columns``: the names of the numbers in a row.
        ``categories``: what a column of text may hold, by its name; "kind=cat" is then the name of the number that is
        1 where column kind is cat. ``target``: columns of a .csv that are no input. ``threshold``: above which a single
        output means the second of two classes; 0 where it is left out. Of other keys the file only tells.

    Raises
    ------
    ValueError
        What cannot be exported, with its module: it looks at numbers that are known only when it runs, draws random
        ones, or does other things for other numbers of rows; classes or columns that do not fit the model.
    TypeError
        The model is no Module.

    Examples
    --------
    >>> import numpy as np, tinygrad_bp as bp
    >>> net = bp.nn.Sequential(bp.nn.Linear(3, 2), bp.nn.ReLU())
    >>> text = numpy_source(net, np.ones((1, 3)))
    >>> print(*[line for line in text.splitlines() if line[:6] in ("    z1", "    a1")], sep="\n")
        z1 = x @ W1.T + b1        # (n, 2)
        a1 = np.maximum(z1, 0.0)  # (n, 2)
    """
    if not isinstance(model, Module):
        raise TypeError(f"export: the model is a {type(model).__name__}. Pass a Module.")
    rows = np.asarray(x.data if isinstance(x, Node) else x)
    if not rows.ndim or not len(rows):
        raise ValueError(f"export: x has shape {rows.shape}, no rows. Pass some rows such as the model takes.")
    with evaluated(model):
        scales = scaling(rows, mean, scale)
        text = _File(forward(model, rows), model, rows, dict(scales), metadata or {}).text()
        _try(text, model, rows, scales)
    return text


def scaling(rows: Array, mean: Any, scale: Any) -> dict[str, Array]:
    """Mean and scale as arrays of one row, flattened; none where nothing is scaled."""
    given = {"mean": (mean, 0.0), "scale": (scale, 1.0)}
    if mean is None and scale is None:
        return {}
    if rows.dtype.kind != "f":
        raise TypeError(f"export: x is {rows.dtype}, and only floats are scaled. Pass floats, or no mean and scale.")
    size = rows[0].size
    arrays = {name: np.full(size, other) if x is None else np.array(x, float) for name, (x, other) in given.items()}
    for name, array in arrays.items():
        if array.size != size:
            raise ValueError(f"export: {name} has shape {array.shape}, a row of x {size} numbers. Pass one for each.")
    return {name: array.reshape(-1) for name, array in arrays.items()}


def _try(text: str, model: Module, rows: Array, scaling: Mapping[str, Array]) -> None:
    """Refuse a file that does not compute what the model does for other numbers of rows."""
    known: dict[str, Any] = {"__name__": "model"}
    exec(text, known)
    for n in TRIED:
        x = some(rows, n)
        try:
            with no_grad():
                wanted = [np.asarray(y.data if isinstance(y, Node) else y) for y in arrays_in(model(leaf(x)))]
        except (ValueError, IndexError):  # the model itself does not take a single row
            continue
        raw = (x.reshape(n, -1) * scaling["scale"] + scaling["mean"]).reshape(x.shape) if scaling else x
        try:
            given = arrays_in(known["predict"](raw))
            fits = all(_agree(a, b) for a, b in zip(given, wanted, strict=True))
        except (TypeError, ValueError, IndexError):  # of shapes that do not fit
            fits = False
        if not fits:
            raise ValueError(
                f"export: the model does other things for {n} rows than for {RECORDED[0]} and {RECORDED[1]}. "
                "Let what it does not depend on how many rows there are."
            )


def _agree(a: Array, b: Array) -> bool:
    close = 1e-4 if b.dtype.itemsize < 8 else 1e-8
    return np.shape(a) == b.shape and np.allclose(a, b, close, close, equal_nan=True)


class _File:
    """The parts of the file."""

    def __init__(
        self, found: Forward, model: Module, rows: Array, scaling: dict[str, Array], metadata: Mapping[str, Any]
    ) -> None:
        self.plan, self.calls, self.model, self.rows, self.arrays = found.plan, found.calls, model, rows, scaling
        self.about = metadata
        self._refuse_misfits()
        self.functions = Functions({*_RESERVED, *scaling})
        for v in self.plan.body:
            if v.op in ("call", "check"):
                self.functions.called(v.params[0])  # functions choose their names before values do
        self.block = Block(self.functions, {self.plan.inputs[0]: "x"}, self.plan.body, self.plan.outputs)
        for v, array in found.states.items():
            if v in self.block.users or v in self.plan.outputs:
                self._kept(v, v.name or "p", array)
        leaves = dict.fromkeys([*(a for v in self.plan.body for a in v.values), *self.plan.outputs])
        for v in leaves:
            if v.op == "constant":
                self._constant(v)
        self.own: dict[str, str] = {}  # the functions made of rows of the table, by what stands in them
        for _, group in groupby(self.plan.body, lambda v: v.note):
            self._function(list(group))

    def _refuse_misfits(self) -> None:
        columns, classes = self.about.get("columns"), self.about.get("classes")
        if columns and len(columns) != self.rows[0].size:
            raise ValueError(f"export: {len(columns)} columns, but a row of x has {self.rows[0].size}. Name them all.")
        if columns and len(set(columns)) < len(columns):
            twice = next(name for k, name in enumerate(columns) if name in columns[:k])
            raise ValueError(f"export: two columns are named {twice!r}. Name them differently.")
        y = self.plan.outputs[0]
        self.outputs = y.shape[1] if classes and y.ndim == 2 and len(self.plan.outputs) == 1 else 0  # to choose from
        if classes and self.outputs and self.outputs < len(classes) and (self.outputs, len(classes)) != (1, 2):
            raise ValueError(f"export: {len(classes)} classes, but the model gives {size_text(y.shape)}. Name as many.")

    def _kept(self, v: Value, name: str, array: Array) -> None:
        self.block.names[v] = self.block.unique(name)
        self.arrays[self.block.names[v]] = array

    def _constant(self, v: Value) -> None:
        """An array that is no tensor: written out if it is small, or follows the rows."""
        (array,), (n, *_) = v.params, (*v.shape, 0)
        text = f"np.array({array.tolist()}, {self.functions.expression(array.dtype)})"
        if isinstance(n, Rows) and len(array) > 1:
            text = f"np.arange({self.block.size(n)})"
        elif len(text) > 40 or not array.size or not np.isfinite(array).all():
            self._kept(v, "c", array)
            text = self.block.names.pop(v)
        if any(isinstance(size, Rows) for size in v.shape) and not text.startswith("np.arange"):
            text = f"np.broadcast_to({text}, {self.block.shape(v.shape)})"
        self.block.inside[v] = Expression(text)

    def _function(self, group: Sequence[Value]) -> None:
        """Let a call of a row that takes several lines be a call of a function: sigmoid(z1)."""
        inside = set(group)
        outer = [
            v for v in group if v in self.plan.outputs or any(u not in inside for u in self.block.users.get(v, []))
        ]
        given: dict[Value, str] = {a: "z" for v in group for a in v.values if a not in inside}
        if len(outer) != 1 or len(given) != 1 or any(is_of_states(v) for v in group):
            return
        block = Block(self.functions, given, group, outer)
        lines = [line for _, line in block.statements()]
        if len(lines) < 2 or block.by_rows or {v.op for v in group} & {"put", "add_at", "check"}:
            return
        text = "\n".join(f"    {line}" for line in [*lines[:-1], f"return {lines[-1].partition(' = ')[2]}"])
        if text not in self.own:
            self.own[text] = self.block.unique(group[0].note.split()[1])
        self.block.calls[outer[0]] = (self.own[text], next(iter(given)))
        self.block.skipped |= inside - set(outer)

    # ---- what stands in it ----

    def text(self) -> str:
        """The whole file."""
        body = [f"    {line}" if line else "" for line in self._body()]  # which says if it needs n
        own = [f"def {name}(z):\n{lines}" for lines, name in self.own.items()]
        kernels = ["\n".join(self.functions.constants)] * bool(self.functions.constants) + self.functions.texts
        capitals = dict(self._capitals())
        constants = "\n".join(f"{name} = {_literal(value)}" for name, value in capitals.items())
        constants += _PLACES * ("CATEGORIES" in capitals)
        imports = sorted({"import csv", "import sys", *["import base64", "import io"] * bool(self.arrays)})
        head = ["from __future__ import annotations\n"] * bool(kernels) + sorted([*imports, *self.functions.imports])
        start = ["\n".join(self._docstring()), "\n".join(head), "import numpy as np", *[constants] * bool(constants)]
        parts = ["\n\n".join(start), "\n".join([*self._head(), *body]), *self._classify(), *own, *kernels]
        parts += [self._read(), _TABLE, self._main(), *self._archive(), 'if __name__ == "__main__":\n    main()\n']
        return "\n\n\n".join(parts)

    def _archive(self) -> list[str]:
        if not self.arrays:
            return []
        archive = io.BytesIO()
        dense: dict[str, Any] = {name: np.asarray(array, order="C") for name, array in self.arrays.items()}
        np.savez_compressed(archive, **dense)
        data = base64.encodebytes(archive.getvalue()).decode()
        names = ", ".join(self.arrays) if len(self.arrays) > 1 else f"({next(iter(self.arrays))},)"
        return [_LOAD, f'ARCHIVE = """\n{data}"""\n{names} = load()']

    def _docstring(self) -> Iterator[str]:
        x, *outputs = (*self.plan.inputs, *self.plan.outputs)
        names = [", ".join(self._returned()), "x", *self.arrays]
        shapes = [size_text(y.shape) for y in outputs]
        rows = [(name, str(array.shape), str(array.dtype)) for name, array in self.arrays.items()]
        rows = [("x", size_text(x.shape), str(x.dtype)), *rows]
        rows += [(name, shape, str(y.dtype)) for name, shape, y in zip(self._returned(), shapes, outputs)]
        wide, wider = (max(len(row[k]) for row in rows) for k in (0, 1))
        yield f'"""A model written out: {names[0]} = predict(x), with NumPy and nothing else.'
        yield ""
        yield from (f"    {_ascii(line)}".rstrip() for line in repr(self.model).split("\n"))
        yield ""
        yield from (f"{name:{wide}}  {shape:{wider}}  {dtype}" for name, shape, dtype in rows)
        yield ""
        yield from (f"{_ascii(key)}: {_ascii(str(x))}" for key, x in self.about.items() if key not in _USED)
        yield "x has n rows, as many as you like. Run as a program, python model.py rows.npy, or rows.csv with a line"
        yield "of names, it prints a line for each. Written by tinygrad_bp, which it does not need."
        yield '"""'

    def _returned(self) -> list[str]:
        return [self.block.names.get(y, f"y{k}") for k, y in enumerate(self.plan.outputs)]

    def _capitals(self) -> Iterator[tuple[str, Any]]:
        """What stands at the head of the file, in capitals."""
        columns = self.about.get("columns")
        if self.about.get("classes"):
            classes = [*map(str, self.about["classes"])]
            yield "CLASSES", (*classes, *map(str, range(len(classes), self.outputs)))
        if columns:
            yield "COLUMNS", tuple(columns)
            if categories := self.about.get("categories"):
                yield "CATEGORIES", {kind: tuple(known) for kind, known in categories.items()}
        elif self.about.get("target"):
            yield "TARGET", tuple(self.about["target"])

    def _head(self) -> Iterator[str]:
        """The lines of predict before those of the model."""
        x = self.plan.inputs[0]
        dtype, shape = (self.functions.expression(x.dtype), repr(x.shape[1:]))
        if "scale" in self.arrays:
            dtype = "np.float64"
        yield "def predict(x):"
        given = ", ".join(f"{name} {size_text(y.shape)}" for name, y in zip(self._returned(), self.plan.outputs))
        yield f'    """{given} of x {size_text(x.shape)}, a row a sample."""'
        if x.dtype.kind in "iu":
            yield f"    whole = np.asarray(x).astype({dtype})"
            yield "    if not np.array_equal(x, whole):"
            yield f'        raise ValueError("predict: x holds numbers that {x.dtype} has not. Pass whole numbers.")'
            yield "    x = whole"
        else:
            yield f"    x = np.asarray(x, {dtype})"
        yield f"    if x.shape[1:] != {shape}:"
        wanted = f"Pass {size_text(x.shape)}, a row a sample."
        yield f'        raise ValueError(f"predict: x has shape {{x.shape}}. {wanted}")'
        if self.block.by_rows:
            yield "    n = len(x)"
        if "scale" in self.arrays:
            scaled = "(x - mean) / scale"
            if x.ndim != 2:
                scaled = "((x.reshape(len(x), -1) - mean) / scale).reshape(x.shape)"
            yield f"    x = {scaled}" if x.dtype == np.float64 else f"    x = ({scaled}).astype(np.{x.dtype})"

    def _body(self) -> Iterator[str]:
        """The lines of predict that are the model, under a comment for each module, each with the shape it gives."""
        lines = [(place(v), v, line) for v, line in self.block.statements()]
        width = max((len(line) for *_, line in lines if len(line) <= COMMENT), default=0)
        for key, group in groupby(lines, lambda each: each[0]):
            yield from self._comment(key)
            for _, v, line in group:
                yield line if v.op == "check" else f"{line:{width}}  # {size_text(v.shape)}"
        yield f"return {', '.join(self.block.text_of(y) for y in self.plan.outputs)}"

    def _comment(self, key: str) -> Iterator[str]:
        call = self.calls[int(key)]
        name = _ascii(repr(call.module)).split("\n")
        said = name[0] if len(name) == 1 and len(name[0]) <= 105 else _ascii(type(call.module).__name__)
        path = _ascii(" ".join(call.path.split()))
        yield from ("", f"# {path}: {said}" if path else f"# {said}")

    def _classify(self) -> list[str]:
        if not self.outputs:
            return []
        threshold = float(self.about.get("threshold", 0.0))
        if self.outputs == 1:
            return [
                _CLASSIFY.format(of=f"the second where the output is above {threshold}", k="int(p)", each="p")
                + f"predict(x)[:, 0] > {threshold}]"
            ]
        return [_CLASSIFY.format(of="that of the largest output", k="k", each="k") + "predict(x).argmax(axis=1)]"]

    def _read(self) -> str:
        shape = ", ".join(["len(lines)", *map(str, self.rows.shape[1:])])
        if self.about.get("columns"):
            return _READ_COLUMNS.format(shape=shape) + (_TEXT if self.about.get("categories") else _NO_TEXT)
        return _READ.format(shape=shape, wanted=" if cell[0] not in TARGET" * bool(self.about.get("target")))

    def _main(self) -> str:
        if self.outputs:
            return _MAIN.format(lines="lines = classify(x)")
        first = "[0]" if len(self.plan.outputs) > 1 else ""
        return _MAIN.format(lines=_NUMBERS.format(first=first))


COMMENT = 70  # letters before a comment that is in line with the others

_NUMBERS = """\
y = predict(x){first}
        lines = [",".join(map(str, row)) for row in y.reshape(len(y), -1).tolist()]"""

_CLASSIFY = '''\
def classify(x):
    """The class of each row: {of}."""
    return [CLASSES[{k}] for {each} in '''

_LOAD = '''\
def load():
    """The arrays of the model, which stand below."""
    with np.load(io.BytesIO(base64.b64decode(ARCHIVE)), allow_pickle=False) as archive:
        return [archive[name] for name in archive.files]'''

_PLACES = """
PLACES = {f"{kind}={category}": (kind, category) for kind in CATEGORIES for category in CATEGORIES[kind]}"""

_READ = '''\
def read(path):
    """The rows of an .npy file, or of a .csv with a line of names."""
    if path.endswith(".npy"):
        return np.load(path)
    names, lines = table(path)
    if names not in [[str(k + first) for k in range(len(names))] for first in (0, 1)]:
        try:
            np.array(names, float)
        except ValueError:
            pass
        else:
            raise ValueError("the first line is numbers. Give a line of names first.")
    cells = enumerate([zip(names, line) for line in lines], 1)
    return np.array([[number(k, *cell) for cell in line{wanted}] for k, line in cells]).reshape({shape})'''

_READ_COLUMNS = '''\
def read(path):
    """The rows of an .npy file, or of a .csv that has the COLUMNS, in any order."""
    if path.endswith(".npy"):
        return np.load(path)
    names, lines = table(path)
    cells = dict(zip(names, zip(*lines)))
    return np.transpose([numbers(cells, column) for column in COLUMNS]).reshape({shape})


def numbers(cells, column):
    """What x holds for a column."""
'''

_NO_TEXT = """\
    if column not in cells:
        raise ValueError(f"there is no column {column!r}.")
    return [number(k, column, cell) for k, cell in enumerate(cells[column], 1)]"""

_TEXT = """\
    kind, category = PLACES.get(column, (column, None))
    if kind not in cells:
        raise ValueError(f"there is no column {kind!r}.")
    if category is None:
        return [number(k, kind, cell) for k, cell in enumerate(cells[kind], 1)]
    if unknown := set(cells[kind]) - set(CATEGORIES[kind]):
        raise ValueError(f"{kind} is {min(unknown)!r}. Known are {CATEGORIES[kind]}.")
    return [float(cell == category) for cell in cells[kind]]"""

_TABLE = '''\
def table(path):
    """The names of a .csv's columns, and its lines; cells are separated by what cuts the first into most."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        mark = max(",;\\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark))))
        file.seek(0)
        lines = csv.reader(file, delimiter=mark, skipinitialspace=True)
        names, *lines = [[cell.strip() for cell in line] for line in lines if line] or [[]]
    if not lines:
        raise ValueError("there are no rows. Give a line of names, then the rows.")
    if len(set(names)) < len(names):
        raise ValueError("two columns have the same name.")
    for k, line in enumerate(lines, 1):
        if len(line) != len(names):
            raise ValueError(f"row {k} has {len(line)} cells, but there are {len(names)} names.")
    return names, lines


def number(k, column, cell):
    """The number in a cell of row k."""
    try:
        found = float(cell.replace("_", "?") if cell.isascii() else "?")
    except ValueError:
        found = np.nan
    if not np.isfinite(found):
        raise ValueError(f"row {k}, column {column!r} is {cell!r}, no finite number.")
    return found'''

_MAIN = '''\
def main():
    """Print a line for each row of a file."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {{sys.argv[0]}} rows.npy|rows.csv")
    try:
        x = read(sys.argv[1])
        if not np.isfinite(x).all():
            raise ValueError("not all of its numbers are finite.")
        {lines}
    except (OSError, ValueError, TypeError, IndexError, EOFError, csv.Error) as error:
        sys.exit(f"{{sys.argv[1]}}: {{error}}")
    print(*lines, sep="\\n")'''


def _ascii(text: str) -> str:
    """Text that may stand in a docstring or a comment."""
    return text.encode("ascii", "backslashreplace").decode().replace("\\", "/").replace('"""', "'''")


def _literal(value: Any) -> str:
    """A text, a tuple of them, on several lines if it is long, or a dict of tuples."""
    if isinstance(value, str):
        return ascii(value) if "'" in value or '"' in value else f'"{ascii(value)[1:-1]}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(one)}" for key, one in value.items()) + "}"
    words = [f"{_literal(one)}," for one in value]
    if len(line := " ".join(words)) <= 100:
        return f"({line[:-1] if len(words) > 1 else line})"
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > 100:
            lines.append("")
        lines[-1] += f" {word}"
    return "(\n" + "".join(f"   {line}\n" for line in lines) + ")"
