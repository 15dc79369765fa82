"""NumPy on Tensors, both ways: every ufunc and function of the tables equals NumPy and records; the rest is refused.

The tables are those of tinygrad_bp/tensor.py: a function added there fails here until it has a case.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import operator
import re

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import ops

from . import differences, references, samples

tables = importlib.import_module("tinygrad_bp.dispatch")

A = np.array([[0.62, 0.35, 0.81], [0.17, 0.74, 0.48]])
B = np.array([0.29, 0.93, 0.56])
SQUARE = np.array([[0.9, 0.2], [0.3, 0.7]])
V = np.array([0.3, 0.9, 0.1, 0.6, 0.2, 0.5])
MASK = A > 0.5
REFUSED = "the gradient would be lost. Call it on t.detach().numpy(), or say it with rows of tinygrad_bp.ops."


def leaf(data):
    return bp.Tensor(data, requires_grad=True)


def refuses(error, message):
    return pytest.raises(error, match=re.escape(message))


class X:
    """The place of a tensor in a call."""

    def __init__(self, array):
        self.array = array

    def __repr__(self):
        return f"X{self.array.shape}"


def filled(value, fill):
    """`value` with every X in it replaced by fill(its array)."""
    if isinstance(value, X):
        return fill(value.array)
    if isinstance(value, dict):
        return {name: filled(v, fill) for name, v in value.items()}
    return type(value)(filled(v, fill) for v in value) if isinstance(value, (list, tuple)) else value


def pieces(result):
    return result if isinstance(result, (list, tuple)) else [result]


ROUNDED_OTHERWISE = {"vecdot", "matvec", "vecmat", "gradient", "float_power"}  # than by NumPy


def check(f, args, kwargs, differentiable=True):
    """f equals NumPy's on arrays, records, and its gradient is the slope that differences see."""
    expected = pieces(f(*filled(args, np.array), **filled(kwargs, np.array)))
    leaves = []

    def to_leaf(array):
        leaves.append(leaf(array) if array.dtype.kind == "f" else bp.Tensor(array))
        return leaves[-1]

    computed = pieces(f(*filled(args, to_leaf), **filled(kwargs, to_leaf)))
    assert len(computed) == len(expected)
    for y, z in zip(computed, expected, strict=True):
        assert type(y) is bp.Tensor
        assert y.dtype == np.asarray(z).dtype
        np.testing.assert_allclose(y.data, z, rtol=1e-15 if f.__name__ in ROUNDED_OTHERWISE else 0)
        assert y.requires_grad is differentiable
    with bp.no_grad():
        assert not any(y.requires_grad for y in pieces(f(*filled(args, to_leaf), **filled(kwargs, to_leaf))))
    del leaves[len(leaves) // 2 :]
    if not differentiable:
        return
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 1.5, np.shape(z)) for z in expected]

    def total(*arrays):
        feed = iter(arrays)
        ys = pieces(f(*filled(args, lambda _: next(feed)), **filled(kwargs, lambda _: next(feed))))
        return sum(float((np.asarray(y) * w).sum()) for y, w in zip(ys, weights, strict=True))

    sum(((y * w).sum() for y, w in zip(computed, weights, strict=True)), bp.Tensor(0.0)).backward()
    arrays = [t.data.copy() for t in leaves]
    h = 1e-6
    for k, t in enumerate(leaves):
        if not t.requires_grad:
            continue
        slopes = np.empty_like(arrays[k])
        for i in np.ndindex(t.shape):
            center = arrays[k][i]
            arrays[k][i] = center + h
            above = total(*arrays)
            arrays[k][i] = center - h
            slopes[i] = (above - total(*arrays)) / (2 * h)
            arrays[k][i] = center
        np.testing.assert_allclose(np.zeros(t.shape) if t.grad is None else t.grad.data, slopes, rtol=1e-7, atol=1e-7)


# ---- ufuncs ------------------------------------------------------------------------------------------------

UFUNCS = sorted(tables.UFUNCS, key=lambda u: u.__name__)
LOGICAL = {np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert}


def operands(ufunc):
    if ufunc in LOGICAL:
        return [MASK, ~MASK[0]]
    if ufunc is np.arccosh:
        return [A + 1.0]
    if ufunc is np.matmul:
        return [A, A.T + 0.1]
    if ufunc.__name__ == "vecmat":
        return [A[:, 0].copy(), A]
    return [A, B]


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda u: u.__name__)
def test_76_every_ufunc_of_the_table_equals_numpy_and_records(ufunc):
    values = operands(ufunc)[: ufunc.nin]
    differentiable = getattr(tables.UFUNCS[ufunc], "differentiable", True)
    check(ufunc, [X(v) for v in values], {}, differentiable)
    if ufunc.nin == 2:
        a, b = values
        check(ufunc, [X(a), b], {}, differentiable)
        check(ufunc, [a, X(b)], {}, differentiable)
        if not ufunc.signature and ufunc not in LOGICAL:
            for number in (0.5, np.float64(0.5), np.array(0.5)):
                check(ufunc, [X(a), number], {}, differentiable)
                check(ufunc, [number, X(a)], {}, differentiable)
            check(ufunc, [X(a), b.tolist()], {}, differentiable)


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda u: u.__name__)
def test_ufuncs_refuse_out_where_dtype_and_other_keywords(ufunc):
    values = operands(ufunc)[: ufunc.nin]
    tensors = [leaf(v) if v.dtype.kind == "f" else bp.Tensor(v) for v in values]
    out = ufunc(*values)
    before = out.copy()
    name = f"np.{ufunc.__name__}"
    message = f"{name}: cannot write a Tensor into an array. Use the result, or write t.detach().numpy()."
    with refuses(TypeError, message):
        ufunc(*tensors, out=out)
    if ufunc not in (np.maximum, np.minimum):  # NumPy deprecates that
        with refuses(TypeError, message):
            ufunc(*tensors, out)
    with refuses(TypeError, message):
        ufunc(*values, out=tensors[0])
    assert np.array_equal(out, before)
    for word, value in (("where", MASK), ("dtype", float), ("casting", "unsafe"), ("order", "F")):
        if ufunc.signature and word == "where":
            continue  # NumPy itself knows no where= here
        with refuses(TypeError, f"{name}: {word} is not offered on a Tensor. Call {name}(...) plainly."):
            ufunc(*tensors, **{word: value})


EVERY_UFUNC = sorted({u for u in vars(np).values() if isinstance(u, np.ufunc)}, key=lambda u: u.__name__)


@pytest.mark.parametrize("ufunc", [u for u in EVERY_UFUNC if u not in tables.UFUNCS], ids=lambda u: u.__name__)
def test_a_ufunc_without_a_row_is_refused(ufunc):
    values = [A, B, B, B][: ufunc.nin]
    for k in range(ufunc.nin):
        args = [leaf(v) if i == k else v for i, v in enumerate(values)]
        with refuses(TypeError, f"np.{ufunc.__name__}: has no derivative here, the gradient would be lost: "):
            ufunc(*args)


def test_abs_has_two_names():
    assert np.abs(leaf(A)).grad_fn is ops.absolute
    assert np.fabs(leaf(A)).grad_fn is ops.absolute


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum], ids=lambda u: u.__name__)
def test_76_reduce_is_the_reduction_along_the_first_axis(ufunc):
    for args, kwargs in (
        ((), {}),
        ((1,), {}),
        ((), {"axis": -1}),
        ((), {"axis": None}),
        ((), {"axis": (0, 1)}),
        ((), {"axis": 1, "keepdims": True}),
        ((0, None, None, True), {}),
        ((), {"axis": 0, "dtype": None, "out": None}),
    ):
        check(ufunc.reduce, [X(A), *args], kwargs)
    check(ufunc.reduce, [X(B)], {})


@pytest.mark.parametrize("ufunc", tables.REDUCTIONS, ids=lambda u: u.__name__)
def test_reduce_of_every_reduction(ufunc):
    for axis in (0, 1, None, (0, 1)):
        y = ufunc.reduce(leaf(A), axis=axis)
        assert y.grad_fn is (tables.REDUCTIONS[ufunc] if y.requires_grad else None) or y.dtype == bool
        np.testing.assert_allclose(y.data, ufunc.reduce(A, axis=axis), rtol=1e-15)


def test_accumulate_and_outer():
    for ufunc in tables.ACCUMULATIONS:
        for args, kwargs in (((), {}), ((1,), {}), ((), {"axis": -1})):
            check(ufunc.accumulate, [X(A), *args], kwargs)
    for ufunc in (np.add, np.multiply, np.hypot, np.power):
        for a, b in ((X(A), X(B)), (X(B), A), (2.0, X(B)), (X(B), 2.0)):
            check(ufunc.outer, [a, b], {})


def test_reduce_refuses_what_the_reduction_does_not_offer():
    t, out = leaf(A), np.zeros(3)
    for word, value in (("initial", 1.0), ("where", MASK), ("dtype", float)):
        with refuses(TypeError, f"sum: has no argument '{word}'. It takes x, axis, keepdims."):
            np.add.reduce(t, **{word: value})
    with refuses(TypeError, "np.add: cannot write a Tensor into an array."):
        np.add.reduce(t, out=out)
    assert not out.any()
    with refuses(TypeError, "np.subtract: reduce is not offered on a Tensor. Call np.subtract(...) plainly."):
        np.subtract.reduce(t)


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("accumulate", (leaf(A),)),
        ("reduce", (leaf(A),)),
        ("reduceat", (leaf(B), [0, 1])),
        ("at", (B, [0], leaf(B[:1]))),
    ],
    ids=str,
)
def test_the_other_methods_of_ufuncs_are_refused(method, args):
    before = B.copy()
    with refuses(TypeError, f"np.hypot: {method} is not offered on a Tensor. Call np.hypot(...) plainly."):
        getattr(np.hypot, method)(*args)
    with refuses(TypeError, "np.add: dtype is not offered on a Tensor. Call np.add(...) plainly."):
        np.add.outer(leaf(A), B, dtype=np.float32)
    assert np.array_equal(before, B)


# ---- arrays and NumPy's scalars on the left ----------------------------------------------------------------

ON_THE_LEFT = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.eq,
    operator.ne,
]


@pytest.mark.parametrize("f", ON_THE_LEFT)
@pytest.mark.parametrize(
    "left", [A, A[:, ::-1], np.float64(2), np.float32(2), np.int64(2), np.bool_(True), np.array(2.0)]
)
def test_76_arrays_and_numpy_scalars_give_way_to_a_tensor(f, left):
    t = leaf(A)
    y = f(left, t)
    assert type(y) is bp.Tensor
    np.testing.assert_array_equal(y.data, f(left, A))
    assert y.requires_grad is (f in ON_THE_LEFT[:4] or f in (operator.mod, operator.pow))


def test_76_an_array_times_a_matrix():
    t = leaf(SQUARE)
    y = A.T @ t
    assert type(y) is bp.Tensor
    y.sum().backward()
    np.testing.assert_allclose(t.grad.data, A @ np.ones((3, 2)))
    assert type(np.matmul(A.T, t)) is bp.Tensor


@pytest.mark.parametrize(
    "f",
    [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.ifloordiv, operator.imod],
)
@pytest.mark.parametrize("tracked", [True, False])
def test_76_an_array_is_not_changed_into_or_by_a_tensor(f, tracked):
    a = A.copy()
    with pytest.raises(
        TypeError, match=r"np\.\w+: cannot write a Tensor into an array\. Use the result, or write t\.detach"
    ):
        f(a, bp.Tensor(A, requires_grad=tracked))
    assert np.array_equal(a, A)


@pytest.mark.parametrize(
    "write",
    [
        lambda a, t: operator.setitem(a, ..., t),
        lambda a, t: operator.setitem(a, slice(None), t),
        lambda a, t: np.copyto(a, t),
        lambda a, t: np.add(a, 1.0, out=t),
        lambda a, t: np.fill_diagonal(a, t),
        lambda a, t: np.putmask(a, MASK, t),
        lambda a, t: np.place(a, MASK, t),
        lambda a, t: np.put(a, [0], t),
    ],
)
def test_76_no_function_writes_a_tensor_into_an_array(write):
    a, t = A.copy(), leaf(A + 1.0)
    with pytest.raises(TypeError, match=r"would be lost|would lose its history|cannot write a Tensor"):
        write(a, t)
    assert np.array_equal(a, A)
    assert np.array_equal(t.data, A + 1.0)


def test_24_matrices_and_masked_arrays_on_the_left():
    t = leaf(A)
    with pytest.raises(TypeError, match="matrix"):
        A.T.view(np.matrix) * t
    with pytest.raises(TypeError, match=r"MaskedArray|would lose its history"):
        A.view(np.ma.MaskedArray) * t


# ---- functions ---------------------------------------------------------------------------------------------

AXES = [((), {}), ((1,), {}), ((), {"axis": (0, 1)}), ((), {"axis": -1, "keepdims": True})]
REDUCE = [([X(A), *args], kwargs) for args, kwargs in AXES]
VARIANCE = [
    ([X(A), 0, None, None, 1], {}),
    ([X(A)], {"ddof": 1, "axis": 1}),
    ([X(A), 1, None, None, 1, True], {}),
]
DISCRETE = {np.argmax, np.argmin, np.all, np.any, np.count_nonzero, np.round}

CASES = {
    **{f: [*REDUCE, ([X(A), 0, None, None], {})] for f in (np.sum, np.mean, np.prod)},
    **{f: [*REDUCE, ([X(A), 0, None, True], {})] for f in (np.max, np.min, np.amax, np.amin, np.all, np.any)},
    **{f: [*REDUCE, *VARIANCE] for f in (np.var, np.std)},
    np.count_nonzero: REDUCE,
    **{f: [([X(A)], {}), ([X(A), 1], {}), ([X(A)], {"axis": 0, "keepdims": True})] for f in (np.argmax, np.argmin)},
    np.cumsum: [([X(A)], {}), ([X(A), 1], {}), ([X(A)], {"axis": -2})],
    np.reshape: [([X(A), (3, 2)], {}), ([X(A), -1], {}), ([X(A), (3, -1)], {})],
    np.ravel: [([X(A)], {})],
    np.copy: [([X(A)], {})],
    np.squeeze: [([X(A[None])], {}), ([X(A[None]), 0], {}), ([X(A[:, None])], {"axis": (1,)})],
    np.expand_dims: [([X(A), 0], {}), ([X(A), (0, 2)], {}), ([X(A)], {"axis": -1})],
    np.transpose: [([X(A)], {}), ([X(A[None]), (2, 0, 1)], {}), ([X(A[None])], {"axes": (1, -1, 0)})],
    np.swapaxes: [([X(A), 0, 1], {}), ([X(A[None])], {"axis1": 0, "axis2": -1})],
    np.moveaxis: [([X(A[None]), 0, -1], {}), ([X(A[None]), (0, 1), (2, 0)], {})],
    np.broadcast_to: [([X(B), (2, 3)], {}), ([X(A[:, :1]), (4, 2, 3)], {})],
    np.flip: [([X(A)], {}), ([X(A), 1], {}), ([X(A)], {"axis": (0, 1)})],
    np.roll: [([X(A), 1], {}), ([X(A), 2, 1], {}), ([X(A), (1, 2)], {"axis": (0, 1)})],
    np.tril: [([X(A)], {}), ([X(A), 1], {}), ([X(A)], {"k": -1})],
    np.triu: [([X(A)], {}), ([X(A), 1], {}), ([X(A)], {"k": -1})],
    np.pad: [
        ([X(A), 1], {}),
        ([X(A), ((1, 0), (2, 3))], {}),
        ([X(A), (1, 2), "constant"], {}),
        ([X(A), ((1, 0), (2, 3))], {"constant_values": 7.0}),
    ],
    np.concatenate: [
        ([[X(A), A]], {}),
        ([[X(A), X(A[:1])], 0], {}),
        ([(A, X(A[:, :1]))], {"axis": 1}),
        ([[X(A), X(B)]], {"axis": None}),
    ],
    np.stack: [([[X(B), B]], {}), ([[X(A), X(A)], 1], {}), ([(X(A), X(A))], {"axis": -1})],
    np.vstack: [([[X(B), A]], {}), ([[X(B), X(B)]], {})],
    np.hstack: [([[X(B), B[:1]]], {}), ([[X(A), X(A[:, :1])]], {})],
    np.split: [
        ([X(V), 3], {}),
        ([X(V), [1, 4]], {}),
        ([X(A), 3, 1], {}),
        ([X(A)], {"indices_or_sections": [1], "axis": -1}),
    ],
    np.repeat: [([X(A), 2], {}), ([X(A), [1, 2], 0], {}), ([X(A)], {"repeats": 2, "axis": -1})],
    np.tile: [([X(B), 2], {}), ([X(A), (2, 2)], {}), ([X(B)], {"reps": (2, 1)})],
    np.take: [([X(A), [0, 4, 4]], {}), ([X(A), [[0, 1], [1, 2]], 1], {}), ([X(A)], {"indices": 1, "axis": -1})],
    np.take_along_axis: [
        ([X(A), np.array([[0, 1], [2, 2]]), 1], {}),
        ([X(A)], {"indices": np.array([[0, 1, 0]]), "axis": 0}),
        ([X(A)], {"indices": np.array([[0, 1], [2, 2]]), "axis": -1}),
    ],
    np.where: [([MASK, X(A), 0.0], {}), ([MASK, X(A), X(B)], {}), ([X(MASK), X(A), B], {}), ([MASK[0], 1.0, X(A)], {})],
    np.clip: [
        ([X(A), 0.3, 0.7], {}),
        ([X(A), None, 0.7], {}),
        ([X(A), B, None], {}),
        ([X(A)], {"a_min": 0.3, "a_max": 0.7}),
    ],
    np.dot: [([X(A), X(B)], {}), ([X(B), B], {}), ([A.T, X(A)], {}), ([X(B), 2.0], {}), ([X(A), X(A.T.copy())], {})],
    np.outer: [([X(A), X(B)], {}), ([B, X(B)], {})],
    np.einsum: [
        (["ij,j->i", X(A), X(B)], {}),
        (["ij->ji", X(A)], {}),
        (["ij,ij", X(A), A], {}),
        (["i,j", X(B), B], {}),
    ],
    np.round: [([X(A)], {}), ([X(A), 1], {}), ([X(100 * A)], {"decimals": -1})],
    np.linalg.matmul: [([X(A), X(A.T.copy())], {}), ([A, X(B)], {})],
    np.full_like: [([X(A), X(V[:1])], {}), ([X(A), X(B)], {}), ([X(B), X(V[:1])], {"shape": (2, 2)})],
    **{
        getattr(np, name): [([X(B)], {}), ([X(A)], {"axis": 1})]
        for name in ("cumulative_sum", "cumulative_prod")
        if hasattr(np, name)
    },
    np.astype: [([X(A), np.float64], {}), ([X(A), "float64"], {"copy": True})],
    np.linalg.outer: [([X(B), X(V)], {})],
    **{f: [([X(A)], {})] for f in (np.real, np.real_if_close)},
    np.linalg.norm: [
        ([X(B)], {}),
        ([X(A)], {}),
        ([X(A), 1, 1], {}),
        ([X(A)], {"axis": 0, "keepdims": True}),
        ([X(A)], {"ord": np.inf, "axis": 1}),
    ],
}


def title(function):
    return f"{function.__module__}.{function.__name__}"


def sampled(name):
    """Calls of a NumPy function on the samples of its row: the function called so, the inputs and the params."""
    function, row, word = tables._found(name), tables.ROWS[name], name.rpartition(".")[2]
    if word not in samples.SPELLED and not samples.of(word):
        word = getattr(row, "name", None) or row.__name__
    call = references.called(word, function)
    for sample in samples.SPELLED.get(word) or samples.of(word):
        with contextlib.suppress(TypeError, ValueError):  # of a row that takes more than NumPy
            call(*sample.inputs, **sample.params)
            yield call, sample


def as_tensor(x):
    return bp.Tensor(x) if isinstance(x, np.ndarray) else x


FROM_SAMPLES = [name for name in tables.ROWS if (f := tables._found(name)) and f not in CASES]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what NumPy will drop
@pytest.mark.parametrize("name", FROM_SAMPLES)
def test_a_function_of_the_table_equals_numpy_on_the_samples_of_its_row(name):
    found = [*sampled(name)]
    assert found
    for call, sample in found[:8]:
        expected = pieces(call(*sample.inputs, **sample.params))
        for y, z in zip(pieces(call(*map(as_tensor, sample.inputs), **sample.params)), expected, strict=True):
            assert type(y) is bp.Tensor
            assert y.dtype == z.dtype
            differences.assert_close(y.data, z, name, 1e-14)


def parameters(function):
    """Names of the parameters that may be given by name, None where NumPy does not tell."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:  # NumPy 2.0 does not tell those of functions in C
        return None
    return [p.name if p.kind is p.POSITIONAL_OR_KEYWORD else None for p in found]


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [pytest.param(f, *case, id=f"{f.__name__}-{k}") for f, cases in CASES.items() for k, case in enumerate(cases)],
)
def test_76_every_function_of_the_table_equals_numpy_and_records(function, args, kwargs):
    differentiable = function not in DISCRETE
    check(function, args, kwargs, differentiable)
    names = parameters(function)
    if names is not None and function is not np.einsum:
        positional = next((k for k, name in enumerate(names) if name is not None), len(names))
        named = dict(zip(names[positional:], args[positional:], strict=False))
        check(function, args[:positional], named | kwargs, differentiable)


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_functions_refuse_the_arguments_they_do_not_offer(function):
    args, _ = CASES[function][0]
    offered = {*tables._parameters(tables.FUNCTIONS[function])[0], *tables._RENAMED}
    values = {"dtype": np.float32, "where": True, "initial": 0.0, "order": "F", "casting": "unsafe"}
    values |= {"copy": False, "subok": True, "mean": 0.0, "correction": 1, "out": np.zeros(1)}
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:
        names = ["out"]
    offered |= {"dtype"} if function.__name__ in tables._WITH_DTYPE else set()
    defaults, _ = tables._parameters(function)
    for word in [n for n in names[1:] if n in values and n not in offered and values[n] is not defaults.get(n)]:
        with refuses(
            TypeError, f"{title(function).replace('numpy', 'np')}: {word}= is not offered on a Tensor. Leave it out."
        ):
            function(*filled(args, leaf), **{word: values[word]})
    assert not values["out"].any()


def test_functions_refuse_by_position_what_they_refuse_by_name():
    t, out = leaf(A), np.zeros(3)
    for call, message in (
        (lambda: np.sum(t, 0, None, out), "np.sum: out= is not offered on a Tensor. Leave it out."),
        (lambda: np.max(t, 0, out), "np.max: out= is not offered on a Tensor. Leave it out."),
        (lambda: np.concatenate([t, t], 0, out), "np.concatenate: out= is not offered on a Tensor. Leave it out."),
        (lambda: np.take(t, [0], 0, out), "np.take: out= is not offered on a Tensor. Leave it out."),
        (lambda: np.reshape(t, (3, 2), "F"), "np.reshape: order= is not offered on a Tensor. Leave it out."),
        (lambda: np.mean(A, out=t), "np.mean: out= is not offered on a Tensor. Leave it out."),
    ):
        with refuses(TypeError, message):
            call()
    assert not out.any()


def test_defaults_may_be_given():
    t = leaf(A)
    assert (
        np.sum(t, axis=None, dtype=None, out=None, keepdims=False, initial=np._NoValue, where=np._NoValue).shape == ()
    )
    assert np.reshape(t, (3, 2), order="C").shape == (3, 2)
    assert np.copy(t, order="K", subok=False).shape == (2, 3)
    with refuses(TypeError, "np.reshape: order= is not offered on a Tensor. Leave it out."):
        np.reshape(t, (3, 2), order="F")
    with refuses(TypeError, "np.meshgrid: copy= is not offered on a Tensor. Leave it out."):
        np.meshgrid(leaf(B), B, copy=1)


def test_sums_compute_in_the_dtype_they_are_given():
    for f in (np.sum, np.prod, np.mean, np.var, np.std, np.cumsum, np.trace):
        t = leaf(A.astype(np.float32))
        y = f(t, dtype=np.float64)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y.data, f(A.astype(np.float32), dtype=np.float64), rtol=1e-15)
        y.sum().backward()
        assert t.grad.dtype == np.float32
    counted = np.sum(bp.Tensor(MASK), 1, int)
    assert counted.tolist() == MASK.sum(1).tolist()
    assert not np.sum(leaf(A), dtype=int).requires_grad


def test_positions_and_masks_may_be_tensors():
    t, two, mask = leaf(A), bp.Tensor(np.array([0, 1])), bp.Tensor(MASK)
    for f in (
        lambda t, two, mask: np.delete(t, two, 1),
        lambda t, two, mask: np.insert(t, two, 7.0, 1),
        lambda t, two, mask: np.split(t, two, 1)[1],
        lambda t, two, mask: np.array_split(t, two + 1, 1)[1],
        lambda t, two, mask: np.repeat(t, two + 1, 0),
        lambda t, two, mask: np.tile(t, two + 1),
        lambda t, two, mask: np.resize(t, two + 1),
        lambda t, two, mask: np.take(t, two, 1),
        lambda t, two, mask: np.extract(mask, t),
        lambda t, two, mask: np.compress(two, t, 0),
        lambda t, two, mask: np.select([mask], [t], 1.0),
        lambda t, two, mask: np.choose(two, [t[:, :2], 1.0]),
    ):
        y = f(t, two, mask)
        assert y.requires_grad
        np.testing.assert_array_equal(y.data, f(A, np.array([0, 1]), MASK))


def test_coordinates_of_a_gradient_have_derivatives():
    points = np.array([0.1, 0.4, 1.2])
    check(np.gradient, [X(A), X(points)], {"axis": 1})
    check(np.gradient, [X(B), X(np.array(0.3))], {})
    assert np.gradient(leaf(A.astype(np.float32)), np.float64(0.5), axis=1).dtype == np.float32


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="np.clip has min= and max= since NumPy 2.1")
def test_clip_by_its_new_names():
    check(np.clip, [X(A)], {"min": 0.3})
    check(np.clip, [X(A)], {"min": 0.3, "max": 0.7})


def test_where_with_one_argument_gives_indices():
    (rows, columns), (r, c) = np.where(leaf(A) > 0.5), np.where(MASK)
    assert np.array_equal(rows, r)
    assert np.array_equal(columns, c)


def test_concatenate_mixes_arrays_tensors_and_lists():
    t = leaf(B)
    y = np.concatenate([t, B, [1.0, 2.0], bp.Tensor(B)])
    assert type(y) is bp.Tensor
    assert y.shape == (11,)
    y.sum().backward()
    assert t.grad.tolist() == [1.0, 1.0, 1.0]


# ---- what is refused, what passes through ------------------------------------------------------------------


@pytest.mark.parametrize("function", [np.mean, np.var, np.nanstd], ids=lambda f: f.__name__)
def test_a_mean_is_not_computed_in_integers(function):
    with refuses(TypeError, f"np.{function.__name__}: dtype=int64 would round the result. Pass one of floats."):
        function(leaf(SQUARE), dtype=int)


@pytest.mark.skipif(not hasattr(np, "cumulative_sum"), reason="NumPy 2.0 has no cumulative_sum")
@pytest.mark.parametrize("name", ["sum", "prod"])
def test_cumulative_functions_of_two_axes_want_one(name):
    with refuses(ValueError, f"np.cumulative_{name}: shape (2, 2) has 2 axes. Pass axis=."):
        getattr(np, f"cumulative_{name}")(leaf(SQUARE))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda t: np.fft.fft(t), f"np.fft.fft: has no derivative here, {REFUSED}"),
        (lambda t: np.corrcoef([0.0, 1.0], t[0]), "lost: nobody has asked for it yet. Compute it with rows, or give"),
        (lambda t: np.linspace(t[0], 1.0), "np.linspace: has no derivative here, the gradient would be lost: it makes"),
        (lambda t: np.histogram(t), "lost: counts have no derivative. Give it t.detach().numpy()."),
        (lambda t: np.copyto(SQUARE.copy(), t), "lost: a tensor is not written in place. Use np.where or bp.ops.put."),
        (lambda t: np.polyval(t[0], 2.0), "written as sums of powers. Call it on t.detach().numpy(), or say it with"),
    ],
)
def test_76_a_function_without_a_row_is_refused(call, line):
    with refuses(TypeError, line):
        call(leaf(SQUARE))


PASSED = {
    np.shape: [X(A)],
    np.ndim: [X(A)],
    np.size: [X(A), 1],
    np.result_type: [X(A), np.float32],
    np.can_cast: [np.float32, np.float64],
    np.iscomplexobj: [X(A)],
    np.isrealobj: [X(A)],
    np.shares_memory: [X(A), A],
    np.may_share_memory: [A, X(A)],
    np.zeros_like: [X(A)],
    np.ones_like: [X(A), np.float32],
    np.array_equal: [X(A), A],
    np.allclose: [A, X(A), 1e-9],
    np.isclose: [X(A), X(B)],
    np.argsort: [X(A), 0],
    np.nonzero: [X(A - 0.35)],
    np.argwhere: [X(A - 0.35)],
    np.searchsorted: [X(np.sort(B)), X(A)],
    np.array_repr: [X(A)],
    np.array_str: [X(A)],
    np.array2string: [X(A)],
    np.empty_like: [X(A)],
    np.argpartition: [X(V), 2],
    np.array_equiv: [X(A), A],
    np.common_type: [X(A), A.astype(np.float32)],
    np.diag_indices_from: [X(SQUARE)],
    np.digitize: [X(V), np.sort(B)],
    np.einsum_path: ["ij,j->i", X(A), B],
    np.flatnonzero: [X(A - 0.35)],
    np.iscomplex: [X(A)],
    np.isin: [X(A), X(B)],
    np.isneginf: [X(A)],
    np.isposinf: [X(A)],
    np.isreal: [X(A)],
    np.ix_: [X(np.array([0, 2])), [True, False]],
    np.lexsort: [(X(B), V[:3])],
    np.min_scalar_type: [X(B)],
    np.nanargmax: [X(A), 1],
    np.nanargmin: [X(A)],
    np.ravel_multi_index: [[X(np.array([0, 1])), np.array([1, 1])], (2, 3)],
    np.tril_indices_from: [X(A), 1],
    np.triu_indices_from: [X(A)],
    np.unravel_index: [X(np.array([0, 4])), (2, 3)],
    np.linalg.matrix_rank: [X(A)],
}


def test_every_function_that_passes_through_has_a_case():
    assert {title(f) for f in tables.PASS_THROUGH} == {title(f) for f in PASSED}


@pytest.mark.parametrize("function", PASSED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("make", [leaf, bp.Tensor, lambda a: leaf(a) * 1], ids=["leaf", "plain", "computed"])
def test_what_is_not_differentiable_by_nature_passes_through(function, make):
    args = PASSED[function]
    result = function(*filled(args, lambda a: make(a) if a.dtype.kind == "f" else bp.Tensor(a)))
    expected = function(*filled(args, lambda a: a))
    assert type(result) is type(expected)
    if function is np.empty_like:
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    elif function in (np.shares_memory, np.may_share_memory):
        assert result is False or make is bp.Tensor
    else:
        np.testing.assert_equal(result, expected)


def test_like_functions_take_a_shape_by_name():
    assert type(np.full_like(leaf(A), 2)) is np.ndarray
    assert np.full_like(leaf(A), 2, dtype=np.float32).dtype == np.float32
    assert np.full_like(bp.Tensor(MASK), 0.7).tolist() == np.full_like(MASK, 0.7).tolist()
    assert np.zeros_like(leaf(A), shape=(4,)).shape == (4,)


def test_77_conversions_are_guarded():
    t = leaf(A)
    message = "numpy: the tensor requires grad; as an array it would lose its history. Call detach() first."
    for convert in (
        np.asarray,
        np.array,
        np.asanyarray,
        np.ascontiguousarray,
        lambda t: np.array([t, t]),
        lambda t: np.full((2, 3), t),
        lambda t: np.random.default_rng(0).permutation(t),
        lambda t: np.vectorize(lambda x: x)(t),
        lambda t: np.testing.assert_allclose(t, A),
    ):
        with pytest.raises(TypeError, match=re.escape(message) + "|the gradient would be lost"):
            convert(t)
    assert np.array_equal(np.asarray(t.detach()), A)
    assert np.array_equal(np.array([t.detach(), t.detach()]), np.stack([A, A]))


def test_shuffling_a_tensor_in_place_is_refused():
    t = leaf(B)
    with pytest.raises((TypeError, UserWarning), match=r"setitem|shuffling a 'Tensor' object"):
        np.random.default_rng(0).shuffle(t)
    assert np.array_equal(t.data, B)


def test_numpys_own_tests_work_on_detached_tensors():
    t = leaf(A) * 1
    for assertion in (np.testing.assert_allclose, np.testing.assert_array_equal, np.testing.assert_array_almost_equal):
        assertion(t.detach(), A)
        assertion(A, t.detach())
        with pytest.raises(AssertionError):
            assertion(t.detach(), A + 1.0)


def test_results_on_tensors_that_require_no_grad_are_tensors_too():
    t = bp.Tensor(A)
    for y in (np.exp(t), np.sum(t), np.concatenate([t, t]), A * t, np.add.reduce(t)):
        assert type(y) is bp.Tensor
        assert not y.requires_grad


def test_a_number_may_be_an_operand_of_einsum():
    x = bp.Tensor([1.0, 2.0], requires_grad=True)
    np.einsum(",i->i", 3.0, x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_ends_of_differences_take_their_dtype():
    x = bp.Tensor(np.array([1.0, 3.0], np.float32), requires_grad=True)
    y = np.ediff1d(x, to_begin=1.0, to_end=[2.0, 4.0])
    assert y.dtype == np.float32
    assert y.tolist() == [1.0, 2.0, 2.0, 4.0]
