"""The table, walked: every row, on every sample, at orders 0, 1 and 2, in every memory layout.

`samples.py` says with what, `references.py` what must come out, `checks.py` what is compared, `differences.py` how
derivatives are measured. The last section tests the tests: it plants mistakes in copies of the rows and demands that
the same checks find every one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pytest

from tinygrad_bp import Tensor, autograd, ops, primitive
from tinygrad_bp.autograd import Op
from tinygrad_bp.ops.reduce import _kept

from . import references, samples
from .checks import check_order_1, check_order_2, floats, is_differentiable, naming, pull, signed, tracked, with_floats
from .differences import assert_close
from .samples import Sample

ALL_ROWS = (*ops.TABLE, *(row for row in vars(autograd).values() if isinstance(row, Op)))
EXACT = 1e-14  # for results that differ by rounding only
SINGLE = 1e-5  # the same in float32


class Entry(NamedTuple):
    """A function under test: called with the inputs of a sample, then its params by name."""

    name: str
    call: Callable[..., Any]
    reference: Callable[..., Any]
    samples: list[Sample]


def entry_of(row: Op) -> Entry:
    call = references.gathered(row) if getattr(row, "variadic", False) else row
    reference = references.NAMES.get(row.name, row.name)
    return Entry(row.name, call, references.of(reference), samples.of(row.name))


def spelled(name: str) -> Entry:
    return Entry(f"ops.{name}", references.called(name, getattr(ops, name)), references.of(name), samples.SPELLED[name])


ENTRIES = [entry_of(row) for row in ALL_ROWS] + [spelled(name) for name in samples.SPELLED]
every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
differentiable_rows = [row for row in ALL_ROWS if row.differentiable]


# ---- complete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ALL_ROWS, ids=[row.name for row in ALL_ROWS])
def test_a_row_has_samples(row: Op) -> None:
    assert samples.of(row.name), f"the row '{row.name}' has no samples: add a line to tests/samples.py"


def test_row_names_are_unique_and_samples_belong_to_rows() -> None:
    names = [row.name for row in ALL_ROWS]
    assert len(names) == len(set(names))
    assert set(samples.FAMILIES) | set(samples.ROWS) == set(names)


def test_a_function_spelled_with_rows_has_samples() -> None:
    functions = {
        name for name in ops.__all__ if callable(getattr(ops, name)) and not isinstance(getattr(ops, name), Op)
    }
    assert set(samples.SPELLED) == functions


# ---- order 0 ---------------------------------------------------------------------------------------------------------


@every_entry
def test_forward_is_numpy(entry: Entry) -> None:
    for sample in entry.samples:
        with naming(sample):
            expected = entry.reference(*sample.inputs, **sample.params)
            on_arrays = entry.call(*sample.inputs, **sample.params)
            assert isinstance(on_arrays, (np.ndarray, np.generic, int))
            for leaves in (
                tracked(sample.inputs),
                [Tensor(x) if isinstance(x, np.ndarray) else x for x in sample.inputs],
            ):
                y = entry.call(*leaves, **sample.params)
                assert type(y) is Tensor
                assert type(y.data) is np.ndarray
                assert y.data.dtype == np.asarray(on_arrays).dtype == np.asarray(expected).dtype
                assert_close(y.data, on_arrays, "Tensors against arrays", 0.0)
                assert_close(y.data, expected, "against the reference", EXACT)


@every_entry
def test_without_a_tracked_input_nothing_is_recorded(entry: Entry) -> None:
    for sample in entry.samples:
        y = entry.call(*[Tensor(x) if isinstance(x, np.ndarray) else x for x in sample.inputs], **sample.params)
        assert not y.requires_grad
        assert y.grad_fn is None


@pytest.mark.parametrize("row", ALL_ROWS, ids=[row.name for row in ALL_ROWS])
def test_what_is_recorded(row: Op) -> None:
    """A row that is not differentiable is recorded as well: nothing computed is invisible."""
    for sample in samples.of(row.name):
        if floats(sample.inputs):
            y = entry_of(row).call(*tracked(sample.inputs), **sample.params)
            assert y.grad_fn is row
            assert y.requires_grad == row.differentiable


# ---- orders 1 and 2 --------------------------------------------------------------------------------------------------


@every_entry
def test_order_1(entry: Entry) -> None:
    for sample in entry.samples:
        with naming(sample):
            if floats(sample.inputs) and is_differentiable(entry.call, sample):
                check_order_1(entry.call, sample)


@every_entry
def test_order_2(entry: Entry) -> None:
    for sample in entry.samples:
        with naming(sample):
            if floats(sample.inputs) and is_differentiable(entry.call, sample):
                check_order_2(entry.call, sample)


@every_entry
def test_one_input_alone(entry: Entry) -> None:
    """An input has the same gradient when the others are plain arrays."""
    for sample in entry.samples:
        chosen = floats(sample.inputs)
        if len(chosen) > 1 and is_differentiable(entry.call, sample):
            with naming(sample):
                u = signed(np.shape(entry.call(*sample.inputs, **sample.params)))
                for k, together in zip(chosen, pull(entry.call, sample.inputs, sample.params, u)):
                    x = Tensor(sample.inputs[k], requires_grad=True)
                    y = entry.call(*sample.inputs[:k], x, *sample.inputs[k + 1 :], **sample.params)
                    assert_close(autograd.grad(y, x, u)[0].data, together, f"input {k}", EXACT)


# ---- float32 ---------------------------------------------------------------------------------------------------------

NOT_VALUES = {"where", "cross_entropy", "ops.getitem", "ops.take"}  # their integers choose, they are not computed with
AT_LEAST_DOUBLE = {"ops.float_power"}  # as NumPy has it


def single(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return with_floats(inputs, tuple(inputs[k].astype(np.float32) for k in floats(inputs)))


@every_entry
def test_float32_stays_float32(entry: Entry) -> None:
    for sample in entry.samples:
        integers = any(isinstance(x, np.ndarray) and x.dtype.kind == "i" for x in sample.inputs)
        if not floats(sample.inputs) or "dtype" in sample.params or (integers and entry.name not in NOT_VALUES):
            continue
        with naming(sample):
            inputs = single(sample.inputs)
            y, y64 = (np.asarray(entry.call(*x, **sample.params)) for x in (inputs, sample.inputs))
            assert y.dtype == (np.float32 if y64.dtype == float and entry.name not in AT_LEAST_DOUBLE else y64.dtype)
            assert_close(y, y64, "forward", SINGLE)
            if is_differentiable(entry.call, sample):
                u = signed(y.shape)
                pairs = zip(*(pull(entry.call, x, sample.params, u) for x in (inputs, sample.inputs)), strict=True)
                for k, (a, b) in enumerate(pairs):
                    assert a.dtype == np.float32
                    assert_close(a, b, f"gradient of input {k}", SINGLE)


# ---- memory ----------------------------------------------------------------------------------------------------------


def strided(x: Any) -> Any:
    """Every other entry of a larger array."""
    view = np.zeros([2 * n for n in x.shape], x.dtype)[(..., *[slice(None, None, 2)] * x.ndim)]
    view[...] = x
    return view


def backwards(x: Any) -> Any:
    """Negative strides."""
    turned = (..., *[slice(None, None, -1)] * x.ndim)
    return x[turned].copy()[turned]


def fortran(x: Any) -> Any:
    """The first axis runs fastest."""
    return x.copy("F")


def read_only(x: Any) -> Any:
    x = x.copy()
    x.flags.writeable = False
    return x


def repeated(x: Any) -> Any:
    """The first entry along axis 0 for all: stride zero, and other values."""
    return np.broadcast_to(x[:1], x.shape) if x.ndim and len(x) else x


def swapped(x: Any) -> Any:
    """The other byte order."""
    return x.astype(x.dtype.newbyteorder())


LAYOUTS = [strided, backwards, fortran, read_only, repeated, swapped]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@every_entry
def test_layouts(entry: Entry, layout: Callable[[Any], Any]) -> None:
    """Values and gradients are those of contiguous arrays, whatever the strides."""
    for sample in entry.samples:
        with naming(sample):
            inputs = tuple(layout(x) if isinstance(x, np.ndarray) else x for x in sample.inputs)
            plain = tuple(
                np.array(x, x.dtype.newbyteorder("="), order="C") if isinstance(x, np.ndarray) else x for x in inputs
            )
            try:
                expected = entry.call(*tracked(plain), **sample.params)
            except np.linalg.LinAlgError:
                assert layout is repeated  # equal rows make no regular matrix
                continue
            y = entry.call(*tracked(inputs), **sample.params)
            assert y.dtype == expected.dtype
            assert_close(y.data, expected.data, "forward", EXACT)
            if y.requires_grad:
                u = layout(signed(y.shape))
                pairs = zip(
                    pull(entry.call, inputs, sample.params, u), pull(entry.call, plain, sample.params, u.copy())
                )
                for k, (a, b) in enumerate(pairs):
                    assert_close(a, b, f"gradient of input {k}", EXACT)


@pytest.mark.parametrize("create_graph", [False, True])
@every_entry
def test_memory_is_neither_written_nor_shared(entry: Entry, create_graph: bool) -> None:
    for sample in entry.samples:
        with naming(sample):
            u = signed(np.shape(entry.call(*sample.inputs, **sample.params)))
            given = [x for x in (*sample.inputs, u) if isinstance(x, np.ndarray)]
            before = [x.copy() for x in given]
            leaves = tracked(sample.inputs)
            y = entry.call(*leaves, **sample.params)
            if y.requires_grad:
                y.backward(u, create_graph=create_graph)
            for x, old in zip(given, before):
                assert_close(x, old, "an input or the incoming gradient was written", 0.0)
            grads = [leaves[k].grad.data for k in floats(sample.inputs) if y.requires_grad]
            for g in grads:
                assert type(g) is np.ndarray
                assert g.flags.writeable
                assert not any(np.shares_memory(g, x) for x in (*given, y.data))
            assert not any(np.shares_memory(a, b) for a, b in combinations(grads, 2))


# ---- the tester tested: mistakes planted in copies of the rows -------------------------------------------------------


def detached(*values: Any) -> tuple[Any, ...]:
    """The same values as constants: right at order 1, silently wrong at order 2."""
    return tuple(x.detach() if isinstance(x, Tensor) else x for x in values)


def one_entry(gx: Any) -> Any:
    """1 everywhere, 1.001 where gx is largest."""
    factor = np.ones(gx.shape)
    if gx.size:
        factor.flat[int(np.argmax(np.abs(*detached(gx))))] = 1.001
    return factor


Partial = Callable[..., Any]
MISTAKES: dict[str, Callable[[Partial], Partial]] = {
    "sign": lambda partial: lambda g, *args: -partial(g, *args),
    "factor": lambda partial: lambda g, *args: 1.001 * partial(g, *args),
    "one entry": lambda partial: lambda g, *args: one_entry(gx := partial(g, *args)) * gx,
    "a term too many": lambda partial: lambda g, *args: partial(g, *args) + 0.001,
    "nothing": lambda partial: lambda g, *args: 0.0 * partial(g, *args),
    "incoming gradient ignored": lambda partial: lambda g, *args: partial(g * 0.0 + 1.0, *args),
    "incoming gradient squared": lambda partial: lambda g, *args: partial(g * g, *args),
    "incoming gradient constant at order 2": lambda partial: lambda g, *args: partial(*detached(g), *args),
    "inputs constant at order 2": lambda partial: lambda g, *args: partial(g, *detached(*args)),
}
# Rows whose derivative does not depend on their inputs (or in steps only), so that the last mistake is none.
LINEAR = {
    *["add", "subtract", "negative", "positive", "remainder", "absolute", "cast", "copy", "sum_to", "put"],
    *["maximum", "minimum", "gate", "clip", "where", "max", "min", "relu", "leaky_relu", "sum", "mean", "cumsum"],
    *["reshape", "squeeze", "expand_dims", "transpose", "swapaxes", "moveaxis", "broadcast_to", "flip", "roll"],
    *["tril", "triu", "pad", "concatenate", "getitem"],
    *samples.LINEAR,
}


def planted(row: Op, k: int, mistake: Callable[[Partial], Partial]) -> Op:
    """A copy of the row with a mistake in its k-th partial."""
    wrong, joint = copy.copy(row), row.joint
    if joint is None:
        wrong.partials = (*row.partials[:k], mistake(row.partials[k]), *row.partials[k + 1 :])
    else:
        wrong_part = mistake(lambda *args: joint(*args)[k])
        wrong.joint = lambda *args: [wrong_part(*args) if i == k else gx for i, gx in enumerate(joint(*args))]
    return wrong


def is_found(row: Op) -> bool:
    """Whether some sample of the row fails a check."""
    for sample in samples.of(row.name):
        if floats(sample.inputs):
            try:
                check_order_1(entry_of(row).call, sample)
                check_order_2(entry_of(row).call, sample)
            except (AssertionError, RuntimeError):  # a wrong number, or a shape that the engine refuses
                return True
    return False


@pytest.mark.parametrize("row", differentiable_rows, ids=[row.name for row in differentiable_rows])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(row: Op, mistake: str) -> None:
    for k in range(2) if row.joint else [k for k, partial in enumerate(row.partials) if partial]:
        linear = row.name in LINEAR or (row.name, k) in {("linear", 2), ("conv2d", 2)}
        harmless = linear and mistake == "inputs constant at order 2"
        assert is_found(planted(row, k, MISTAKES[mistake])) != harmless, f"partial {k}"


TYPICAL = {
    "only the diagonal": (ops.softmax, lambda g, y, x, axis: g * y * (1.0 - y)),
    "a saved softmax": (ops.softmax, lambda g, y, x, axis: detached(y)[0] * (g - (g * y).sum(axis, keepdims=True))),
    "a sum forgotten": (ops.log_softmax, lambda g, y, x, axis: g - np.exp(y) * g),
    "a saved mean": (
        ops.var,
        lambda g, y, x, axis, ddof, keepdims: (x - detached(x)[0].mean(axis, keepdims=True)) * (g * 2.0 / 3.0),
    ),
    "the mean's 1/n forgotten": (
        ops.mean,
        lambda g, y, x, axis, keepdims: ops.sum.partials[0](g, y, x, axis, keepdims),
    ),
    "divided by a zero": (ops.prod, lambda g, y, x, axis, keepdims: _kept(g * y, x, axis) / x),
    "the wrong way round": (ops.cumsum, lambda g, y, x, axis: np.cumsum(g, axis or 0).reshape(x.shape)),
    "axes not inverted": (ops.transpose, lambda g, y, x, axes: np.transpose(g, axes)),
    "rolled once more": (ops.roll, lambda g, y, x, shift, axis: np.roll(g, shift, axis)),
    "all to the first": (ops.maximum, lambda g, z, a, b: g),
    "the right side's slope": (ops.relu, lambda g, y, x: np.where(x > 0, g, 0.001 * g)),
    "the factor itself": (ops.multiply, lambda g, z, a, b: g * a),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", TYPICAL)
def test_a_typical_mistake_is_found(name: str) -> None:
    row, wrong = TYPICAL[name]
    assert is_found(planted(row, 0, lambda partial: wrong))


def test_a_forward_that_misbehaves_is_found() -> None:
    def entry(forward: Callable[..., Any], sample: Sample) -> Entry:
        return Entry("wrong", primitive("wrong", forward, lambda g, y, x: g), lambda x: x, [sample])

    def fresh(*shape: int) -> Sample:
        return samples.S(samples.real(*shape))

    for check, wrong in [
        (test_forward_is_numpy, entry(lambda x: x * (1 + 1e-13), fresh(3))),
        (test_forward_is_numpy, entry(lambda x: x.astype(np.float32), fresh(3))),
        (test_float32_stays_float32, entry(lambda x: x * np.float64(1.0), fresh(3))),
        (lambda e: test_layouts(e, fortran), entry(lambda x: x.ravel("K").reshape(x.shape), fresh(2, 3))),
        (lambda e: test_memory_is_neither_written_nor_shared(e, False), entry(lambda x: np.negative(x, x), fresh(3))),
    ]:
        with pytest.raises(AssertionError):
            check(wrong)
