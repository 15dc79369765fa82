"""One forward pass at two sizes of the batch, walked side by side: what a file for any number of rows is made from.

A recipe says what was computed from 2 rows; the same recipe of 3 other rows says what of it depends on their number.
A size that differs is a :class:`Rows`, an integer that grows with the batch. Numbers that differ, and that no recipe
tells how to compute, depend on the rows in a way that nobody can see: they are refused. What does not depend on the
input is a constant, however it was computed. At last the list is run on other rows, on one, and on those that were
handed in, and has to give what the model gives. How it becomes a file is told in the other modules here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..autograd import copy
from ..nn.calls import Call, innermost, record_calls
from ..ops import TABLE
from ..recipe import Node, Op, enable_grad
from ..tensor import Tensor

__all__ = ["Paired", "Rows", "Value", "calls_of", "paired", "recorded"]

FEW, MORE = 2, 3  # rows of the two forward passes
CHECKED, GIVEN = (5, 33, 1), 64  # rows of the checks, and how many at most of those that were handed in
_KNOWN = {id(row) for row in (*TABLE, copy)}


@dataclass(frozen=True)
class Rows:
    """The integer ``scale * n + shift``, where the batch has n rows.

    >>> Rows(3, -1).at(10)
    29
    """

    scale: int
    shift: int

    def at(self, n: int) -> int:
        """What it is for `n` rows."""
        return self.scale * n + self.shift


Size: TypeAlias = int | Rows


@dataclass(eq=False)
class Value:
    """One array of the forward pass.

    Attributes
    ----------
    kind
        "input"; "parameter", what `state_dict` lists; "constant", any other array that does not depend on the input;
        "computed", by a row from `inputs` and `params`.
    op
        The name of the row; "" where nothing was computed.
    inputs
        What the row was fed: values, numbers, or None; a number that depends on how many rows there are is a
        :class:`Rows`.
    params
        What follows them: plain data, lists as tuples. Integers that depend on the number of rows are :class:`Rows`, in
        tuples and slices too; an array that is the input (as an index, say) is the input's Value.
    shape
        With :class:`Rows` where it depends on their number.
    dtype
        As the model computed it.
    data
        The numbers: of a computed value those of 2 rows. A constant that is as long as the batch along an axis is the
        same all along it and has length 1 there; its `shape` says :class:`Rows`.
    name
        The dotted name of a parameter, else "".
    path
        That of the innermost module that computed it, "" for the model itself.
    row
        The row itself; `is_known` says whether it is one of the table, and not someone's own of the same name.
    """

    kind: Literal["input", "parameter", "constant", "computed"]
    op: str
    inputs: tuple[Any, ...]
    params: tuple[Any, ...]
    shape: tuple[Size, ...]
    dtype: np.dtype[Any]
    data: NDArray[Any] = field(repr=False)
    name: str = ""
    path: str = ""
    row: Op | None = field(default=None, repr=False)

    @property
    def is_known(self) -> bool:
        """Whether it was computed by a row of the table."""
        return id(self.row) in _KNOWN

    @property
    def is_fixed(self) -> bool:
        """Whether it is a parameter or a constant whose shape does not depend on the rows: `data` is all of it."""
        return self.kind in ("parameter", "constant") and not _depends(self.shape)


class Paired(NamedTuple):
    """What a model computes: from the input, by `body` in this order, its outputs (flattened, in their order)."""

    input: Value
    body: list[Value]
    outputs: list[Value]


def paired(model: Any, x: Any) -> Paired:
    """What ``model(x)`` computes for any number of rows, in evaluation.

    `x` are some rows, axis 0: their numbers are drawn from for the forward passes. The model is left as it was.

    Raises
    ------
    TypeError
        The model is no Module, or returns something else than tensors.
    ValueError
        The model does something that recipes do not tell: it branches, or computes outside of the table.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> net = bp.nn.Sequential(bp.nn.Linear(4, 2), bp.nn.Flatten(0))
    >>> y = paired(net, bp.ones(1, 4)).outputs[0]
    >>> y.op, y.shape, y.path, y.inputs[0].op, y.inputs[0].shape
    ('reshape', (Rows(scale=2, shift=0),), '1', 'linear', (Rows(scale=1, shift=0), 2))
    """
    if not hasattr(model, "named_modules"):
        raise TypeError(f"export: the model is a {type(model).__name__}. Pass a Module.")
    few, more = _drawn(x, FEW, 0), _drawn(x, MORE, 1)
    with recorded(model), enable_grad(), np.errstate(all="ignore"):
        calls, other_calls = calls_of(model, few, FEW), calls_of(model, more, MORE)
        walk = _Walk(model, few, more, calls)
        outputs = [walk.value(a, b) for a, b in _both_outputs(calls[0].output, other_calls[0].output)]
        found = Paired(walk.input, _in_order(outputs), outputs)
        with warnings.catch_warnings(action="ignore"):  # of the variance of one row, say
            for rows in [*(_drawn(x, n, n) for n in CHECKED), _given(x)]:
                _check(found, rows, model)
    return found


def calls_of(model: Any, x: Any, n: int) -> list[Call]:
    """The calls of ``model(x)``; a model that does not take these n rows, which nobody handed in, is refused."""
    try:
        return record_calls(model, x)
    except (ValueError, IndexError) as error:
        raise ValueError(f"export: of {n} rows the model says: {error}") from error


# ---- the rows ----------------------------------------------------------------------------------------------


def _drawn(x: Any, n: int, seed: int) -> Tensor:
    """`n` rows in the way of those of x: each entry from one of its rows, floats moved up by less than a half."""
    given = x.data if isinstance(x, Tensor) else np.asarray(x)
    if given.dtype.kind not in "fiub" or not given.ndim or not given.size:
        raise ValueError(f"export: x is {given.dtype} of shape {given.shape}. Pass at least one row of numbers.")
    rng = np.random.default_rng(seed)
    rows = np.take_along_axis(given, rng.integers(0, len(given), (n, *given.shape[1:])), 0)
    if given.dtype.kind != "f":
        return Tensor(rows)
    return Tensor((rows + rng.uniform(0.0, 0.5, rows.shape)).astype(given.dtype), requires_grad=True)


def _given(x: Any) -> Tensor:
    """The first rows as they were handed in."""
    rows = np.array((x.data if isinstance(x, Tensor) else np.asarray(x))[:GIVEN])
    return Tensor(rows, requires_grad=rows.dtype.kind == "f")


@contextmanager
def recorded(model: Any) -> Iterator[None]:
    """In eval(), and with recipes of all that parameters go into; then each module and parameter as it was."""
    modes = [(module, module.training) for module in model.modules()]
    frozen = [parameter for parameter in model.parameters() if not parameter.tracked and parameter.dtype.kind == "f"]
    try:
        model.eval()
        for parameter in frozen:
            parameter.tracked = True
        yield
    finally:
        for parameter in frozen:
            parameter.tracked = False
        for module, mode in modes:
            module.training = mode


def _flattened(output: Any) -> list[Node]:
    """The tensors of an output, however they are nested."""
    if isinstance(output, Node):
        return [output]
    if isinstance(output, (tuple, list)):
        return [y for part in output if part is not None for y in _flattened(part)]
    raise TypeError(f"export: the model returns a {type(output).__name__}. Return a Tensor, or a tuple of them.")


def _both_outputs(a: Any, b: Any) -> Iterator[tuple[Node, Node]]:
    few, more = _flattened(a), _flattened(b)
    if len(few) != len(more):
        raise ValueError(
            f"export: the model returns {len(few)} tensors for {FEW} rows and {len(more)} for {MORE}. "
            "Return as many for any rows."
        )
    return zip(few, more)


# ---- the walk ----------------------------------------------------------------------------------------------


class _Walk:
    """Two recipes walked side by side."""

    def __init__(self, model: Any, few: Tensor, more: Tensor, calls: list[Call]) -> None:
        self.calls, self.few, self.more = calls, few.data, more.data
        shape = _sizes(few.shape, more.shape)
        self.input = Value("input", "", (), (), shape, few.dtype, few.data, "x")
        self.found: dict[int, tuple[Any, Value]] = {id(few): (more, self.input)}  # by the first of each pair
        self.names = {id(tensor): name for name, tensor in model._tensors().items()}
        self.path = ""

    def value(self, a: Node, b: Node) -> Value:
        """What both are. No recursion: a recipe may be longer than Python's stack."""
        pending = [(a, b)]
        while pending:
            mine, other = pending[-1]
            if id(mine) in self.found:
                if self.found[id(mine)][0] is not other:
                    self.at(mine)
                    raise self.refusal("what is computed depends on the rows", "Compute the same of any rows.")
                pending.pop()
                continue
            missing = [pair for pair in self.fed(mine, other) if id(pair[0]) not in self.found]
            if missing:
                pending += missing
            else:
                pending.pop()
                self.found[id(mine)] = other, self.computed(mine, other) if mine.recipe else self.leaf(mine, other)
        return self.found[id(a)][1]

    def fed(self, a: Node, b: Node) -> list[tuple[Node, Node]]:
        """The pairs of nodes that both were computed from."""
        if not a.recipe and not b.recipe:
            return []
        self.at(a)
        op, mine, _ = a.recipe or (None, None, None)
        other_op, other, _ = b.recipe or (None, None, None)
        if op is not other_op or mine is None or other is None or len(mine) != len(other):
            names = [row.name if row else "nothing" for row in (op, other_op)]
            what = f"{FEW} rows are computed by {names[0]}, {MORE} by {names[1]}"
            raise self.refusal(what, "Compute the same of any rows, without backward().")
        return [(x, y) for x, y in zip(mine, other) if isinstance(x, Node) and isinstance(y, Node)]

    def computed(self, a: Node, b: Node) -> Value:
        """A value made by a row; a constant where neither rows nor their number went into it."""
        self.at(a)
        (op, mine, params), (_, others, other_params) = cast(Any, (a.recipe, b.recipe))
        inputs = tuple(self.argument(op, *pair) for pair in zip(mine, others))
        shape = _sizes(a.data.shape, b.data.shape)
        value = Value("computed", op.name, inputs, (), shape, a.data.dtype, a.data, path=self.path, row=op)
        value.params = self.param(op, tuple(params), tuple(other_params))
        fixed = all(x.is_fixed if isinstance(x, Value) else not isinstance(x, Rows) for x in inputs)
        if fixed and not _depends(value.params) and _equal(a.data, b.data):
            return Value("constant", "", (), (), shape, a.data.dtype, a.data, path=self.path)
        return value

    def argument(self, op: Op, a: Any, b: Any) -> Any:
        """One input of a row."""
        if isinstance(a, Node) and isinstance(b, Node):
            return self.found[id(a)][1]
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return self.array(a, b)
        return self.param(op, a, b)

    def param(self, op: Op, a: Any, b: Any) -> Any:
        """One param of a row, or a number among its inputs."""
        a, b = (list(x) if isinstance(x, tuple) else x.item() if isinstance(x, np.generic) else x for x in (a, b))
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            return tuple(self.param(op, *pair) for pair in zip(a, b))
        if isinstance(a, slice) and isinstance(b, slice):
            return slice(*[self.param(op, getattr(a, end), getattr(b, end)) for end in ("start", "stop", "step")])
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            value = self.array(a, b)
            return value.data if value.is_fixed else value
        if type(a) is int and type(b) is int:
            return _sizes((a,), (b,))[0]
        if type(a) is type(b) and (a == b or a != a):
            return a
        mine, other = (f"a {type(x).__name__}" if hasattr(x, "dtype") else repr(x) for x in (a, b))
        what = f"{op.name} is given {mine} for {FEW} rows and {other} for {MORE}"
        raise self.refusal(what, "Give it the same for any rows.")

    def leaf(self, a: Node, b: Node) -> Value:
        """A tensor that nothing has computed, or whose computation nobody recorded."""
        self.at(a)
        if name := self.names.get(id(a)):
            return Value("parameter", "", (), (), a.data.shape, a.data.dtype, a.data, name)
        return self.array(a.data, b.data)

    def array(self, a: NDArray[Any], b: NDArray[Any]) -> Value:
        """An array that was made on the way: the input's numbers, or a constant."""
        if a.dtype == self.few.dtype and _equal(a, self.few) and _equal(b, self.more):
            return self.input
        if a.ndim == b.ndim and a.dtype == b.dtype:
            shape = _sizes(a.shape, b.shape)
            one = tuple(slice(0, 1) if isinstance(n, Rows) else slice(None) for n in shape)
            kept = a[one]
            same = kept.shape == b[one].shape and all(_equal(x, np.broadcast_to(kept, x.shape)) for x in (a, b))
            if same:
                return Value("constant", "", (), (), shape, a.dtype, kept, path=self.path)
        what = f"an array of shape {a.shape}, {a.dtype}, differs from call to call, and no recipe tells why"
        raise self.refusal(
            what, "Compute it from x as a Tensor of floats, without detach() and no_grad(), and draw no numbers."
        )

    def at(self, node: Node) -> None:
        """Whatever is refused from here on belongs to this node's module."""
        call = innermost(self.calls, node)
        self.path = call.path if call else ""

    def refusal(self, what: str, cure: str) -> ValueError:
        return ValueError(f"export: {self.path or 'the model'}: {what}. {cure}")


def _sizes(a: Sequence[int], b: Sequence[int]) -> tuple[Size, ...]:
    """Integers that are the one for FEW rows, the other for MORE."""
    steps = MORE - FEW
    return tuple(m if m == n else Rows((n - m) // steps, m - FEW * (n - m) // steps) for m, n in zip(a, b))


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _depends(plain: Any) -> bool:
    """Whether plain data have Rows, or the input, in them."""
    if isinstance(plain, slice):
        plain = (plain.start, plain.stop, plain.step)
    return any(map(_depends, plain)) if isinstance(plain, tuple) else isinstance(plain, (Rows, Value))


def _in_order(outputs: list[Value]) -> list[Value]:
    """The computed values below the outputs, each after those it is computed from."""
    order: dict[int, Value] = {}
    pending = outputs[::-1]
    while pending:
        value = pending[-1]
        missing = [x for x in _values(value) if x.kind == "computed" and id(x) not in order]
        if missing and id(value) not in order:
            pending += missing[::-1]
        else:
            pending.pop()
            if value.kind == "computed":
                order.setdefault(id(value), value)
    return list(order.values())


def _values(value: Value) -> list[Value]:
    """The values that a value is computed from."""
    return [x for x in value.inputs if isinstance(x, Value)]


# ---- the check ---------------------------------------------------------------------------------------------


def _check(found: Paired, x: Tensor, model: Any) -> None:
    """What was found, run on other rows, gives what the model gives; otherwise it is refused."""
    try:
        expected = [y.data for y in _flattened(model(x))]
    except (ValueError, IndexError):
        if len(x.data) > 1:
            raise
        return  # the model itself does not take a single row
    known: dict[int, Any] = {id(found.input): x.data}
    here = _for_rows(len(x.data), known)
    for value in found.body:
        row = cast(Op, value.row)
        try:
            y = np.asarray(row.forward(*map(here, value.inputs), *map(here, value.params)))
        except (ValueError, IndexError, TypeError):
            y = None
        if y is None or (y.shape != here(value.shape) and len(x.data) > 1):  # of one row a slice may have less
            raise _other(value.path, len(x.data))
        known[id(value)] = y
    if not all(_close(here(y), z) for y, z in zip(found.outputs, expected)):
        raise _other("", len(x.data))


def _close(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether they are equal but for the order of sums in a library."""
    tolerance = np.sqrt(np.finfo(b.dtype).eps) if b.dtype.kind == "f" else 0.0
    return a.shape == b.shape and bool(np.allclose(a, b, tolerance, tolerance, equal_nan=True))


def _other(path: str, n: int) -> ValueError:
    what = f"what is computed of {n} rows is not what {FEW} and {MORE} rows show"
    return ValueError(f"export: {path or 'the model'}: {what}. Compute the same of each row, and draw no numbers.")


def _for_rows(n: int, known: dict[int, Any]) -> Callable[[Any], Any]:
    """How inputs and params are read where there are n rows."""

    def here(x: Any) -> Any:
        if isinstance(x, Value):
            return known[id(x)] if id(x) in known else np.broadcast_to(x.data, here(x.shape))
        if isinstance(x, tuple):
            return tuple(map(here, x))
        if isinstance(x, slice):
            return slice(here(x.start), here(x.stop), here(x.step))
        return x.at(n) if isinstance(x, Rows) else x

    return here
