"""The Tensor's spelling: data in, data out, Python's protocols, operators, dtypes, methods, creation."""

from __future__ import annotations

import copy
import gc
import operator
import pickle
import weakref

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.checks import refuses
from tinygrad_bp import ops
from tinygrad_bp.nn import Parameter
from tinygrad_bp.tensor import default_dtype, set_default_dtype

A = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]])


def leaf(data, dtype=None):
    return bp.Tensor(data, requires_grad=True, dtype=dtype)


@pytest.fixture
def float32_by_default():
    set_default_dtype(np.float32)
    yield
    set_default_dtype(np.float64)


# ---- construction ------------------------------------------------------------------------------------------


def test_a_tensor_shares_the_array_it_is_given():
    a = A.copy()
    t = bp.Tensor(a)
    assert t.data is a
    assert not t.requires_grad
    assert bp.from_numpy(a).data is a
    assert bp.Tensor(t).data is a


def test_a_tensor_that_requires_grad_owns_a_copy():
    a = A.copy()
    t = leaf(a)
    assert not np.shares_memory(t.data, a)
    a[:] = 0.0
    assert np.array_equal(t.data, A)


def test_tensor_always_copies():
    a = A.copy()
    for source in (a, bp.Tensor(a), leaf(a)):
        for requires_grad in (False, True):
            t = bp.tensor(source, requires_grad=requires_grad)
            assert not np.shares_memory(t.data, getattr(source, "data", source))
            assert t.requires_grad is requires_grad
            assert t.is_leaf


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "f8"),
        ([1.0, 2], "f8"),
        ([], "f8"),
        (3, int),
        ([[1, 2], [3, 4]], int),
        ((True, False), bool),
        (range(3), int),
        (np.float32(1.5), "f4"),
        (np.ones(2, "f4"), "f4"),
        (np.ones(2, "f2"), "f2"),
        (np.ones(2, "i2"), "i2"),
        (np.ones(2, ">f8"), "f8"),
        (np.ones(2, "u1"), "u1"),
        ([np.ones(2), [1, 2]], "f8"),
        ([bp.Tensor([1.0]), bp.Tensor([2.0])], "f8"),
    ],
)
def test_the_dtype_is_that_of_the_data(data, dtype):
    for make in (bp.Tensor, bp.tensor):
        t = make(data)
        assert t.dtype == dtype
        assert t.dtype.isnative
        assert type(t.data) is np.ndarray
        assert t.shape == np.shape(data if not isinstance(data, list) or not data else np.array(data))


def test_a_dtype_may_be_given():
    assert bp.Tensor([1, 2], dtype=float).dtype == np.float64
    assert bp.Tensor([1, 2], requires_grad=True, dtype="float32").dtype == np.float32
    assert bp.tensor(A, dtype=np.float16).dtype == np.float16
    assert bp.Tensor([0.0, 2.0], dtype=bool).tolist() == [False, True]
    a = A.copy()
    assert bp.Tensor(a, dtype=np.float64).data is a


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1j, "complex128"),
        (np.ones(2, "c8"), "complex64"),
        ("abc", "<U3"),
        (["a", "b"], "<U1"),
        (b"abc", "|S3"),
        (None, "object"),
        ([1.0, None], "object"),
        (object(), "object"),
        ({"a": 1}, "object"),
        (np.datetime64("2020-01-01"), "datetime64[D]"),
        (np.ones(2, "m8[s]"), "timedelta64[s]"),
        (np.zeros(2, "i4,f4"), "[('f0', '<i4'), ('f1', '<f4')]"),
    ],
)
def test_11_12_13_data_that_is_not_real_numbers_is_refused(data, dtype):
    for make in (bp.Tensor, bp.tensor):
        with refuses(TypeError, f"Tensor: dtype {dtype} is not offered. Pass real numbers or bools."):
            make(data)
    with refuses(TypeError, "is not offered"):
        bp.Tensor(data, requires_grad=True)


@pytest.mark.parametrize("dtype", [complex, object, str, "m8[s]"])
def test_12_13_a_dtype_that_is_not_real_is_refused(dtype):
    for make in (bp.Tensor, bp.tensor):
        with refuses(TypeError, f"Tensor: dtype {np.dtype(dtype)} is not offered. Pass real numbers or bools."):
            make([1.0, 2.0], dtype=dtype)
    with refuses(TypeError, f"astype: dtype {np.dtype(dtype)} is not offered."):
        bp.Tensor([1.0, 2.0]).astype(dtype)


@pytest.mark.parametrize("data", [1, True, [1, 2], [True], np.ones(2, int), np.ones(2, "u1"), bp.Tensor([1])])
def test_11_integers_and_bools_cannot_require_grad(data):
    dtype = bp.Tensor(data).dtype
    message = f"Tensor: only floating dtypes can require grad, not {dtype}. Pass dtype=float."
    with refuses(TypeError, message):
        bp.Tensor(data, requires_grad=True)
    with refuses(TypeError, message):
        bp.tensor(data, requires_grad=True)
    t = bp.Tensor(data)
    with refuses(TypeError, f"requires_grad: only floating dtypes can require grad, not {dtype}. Pass dtype=float."):
        t.requires_grad = True
    assert not t.requires_grad
    t.requires_grad = False


def test_ragged_data_is_refused():
    with pytest.raises(ValueError, match=r"Tensor: the data is no regular array \(.*\)\. Pass rows of equal length\."):
        bp.Tensor([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("kind", [np.matrix, np.ma.MaskedArray])
def test_24_matrices_and_masked_arrays_are_refused(kind):
    with refuses(TypeError, f"Tensor: a {kind.__name__} has other arithmetic. Pass np.asarray(...) of it."):
        bp.Tensor(A.view(kind))


def test_a_list_of_tensors_that_require_grad_is_refused():
    with refuses(TypeError, "numpy: the tensor requires grad; as an array it would lose its history."):
        bp.Tensor([leaf(1.0), leaf(2.0)])


def test_from_numpy_takes_arrays_only():
    with refuses(TypeError, "from_numpy: got a list. Pass an ndarray, or use tensor(...)."):
        bp.from_numpy([1.0])


def test_float16_computes_as_numpy_does():
    x = leaf(A, dtype=np.float16)
    y = (x * x).mean()
    y.backward()
    assert (y.dtype, x.grad.dtype) == (np.float16, np.float16)
    np.testing.assert_allclose(x.grad.numpy(), A / 3, rtol=1e-3)


# ---- the default dtype -------------------------------------------------------------------------------------


def test_the_default_dtype_is_that_of_python_numbers(float32_by_default):
    assert default_dtype() == np.float32
    assert bp.Tensor(1.5).dtype == np.float32
    assert leaf([1.0, 2]).dtype == np.float32
    for made in (bp.zeros(2), bp.ones(2), bp.full(2, 3), bp.eye(2), bp.arange(3.0)):
        assert made.dtype == np.float32
    assert bp.Tensor([1, 2]).dtype == int
    assert bp.arange(3).dtype == int
    assert bp.Tensor(A).dtype == np.float64
    assert bp.Tensor(1.5, dtype=np.float64).dtype == np.float64
    assert bp.zeros(2, dtype=np.float64).dtype == np.float64
    assert bp.arange(3.0, dtype=np.float64).dtype == np.float64
    x = leaf([1.0, 2.0])
    (x * 2.0).sum().backward()
    assert x.grad.dtype == np.float32


def test_the_default_dtype_is_float64_and_must_be_floating():
    assert default_dtype() == np.float64
    for dtype in (int, bool, complex, object):
        with refuses(
            TypeError,
            f"set_default_dtype: {np.dtype(dtype)} is not a floating dtype. Pass float64 or float32.",
        ):
            set_default_dtype(dtype)
    assert default_dtype() == np.float64


# ---- what it is --------------------------------------------------------------------------------------------


def test_shape_and_kind():
    t = leaf(A)
    assert (t.shape, t.ndim, t.size, t.dtype) == ((2, 3), 2, 6, np.float64)
    assert type(t.size) is int
    assert np.array_equal(t.T.data, A.T)
    assert bp.Tensor(np.ones((2, 3, 4))).T.shape == (4, 3, 2)
    assert bp.Tensor(np.ones((2, 3, 4))).mT.shape == (2, 4, 3)
    assert t.mT.requires_grad
    with refuses(ValueError, "mT: a tensor of shape (3,) is no stack of matrices. It needs two axes."):
        bp.Tensor(np.ones(3)).mT  # noqa: B018


def test_leaves_and_computed_tensors():
    x = leaf(A)
    y = x * 2
    assert (x.is_leaf, x.grad_fn, x.requires_grad) == (True, None, True)
    assert (y.is_leaf, y.grad_fn, y.requires_grad) == (False, ops.multiply, True)
    assert y.detach().is_leaf
    assert y.detach().data is y.data
    assert not y.detach().requires_grad
    assert bp.Tensor(A).is_leaf


def test_requires_grad_can_be_set_on_a_leaf():
    t = bp.Tensor([1.0, 2.0])
    t.requires_grad = True
    (t * t).sum().backward()
    assert t.grad.tolist() == [2.0, 4.0]
    t.requires_grad = False
    assert not (t * t).requires_grad
    y = leaf([1.0]) * 2
    for value in (True, False):
        with refuses(RuntimeError, "requires_grad: a computed tensor follows its inputs. Use detach() to cut it off."):
            y.requires_grad = value


def test_what_had_no_derivative_becomes_a_leaf_when_it_is_to_require_grad():
    y = ops.floor(leaf([1.5, 2.5]))
    assert y.is_leaf
    y.requires_grad = True
    (y * 3.0).sum().backward()
    assert y.grad.tolist() == [3.0, 3.0]


def test_a_tensor_has_slots_and_can_be_weakly_referenced():
    t = leaf(A)
    assert weakref.ref(t)() is t
    with pytest.raises(AttributeError):
        t.label = "x"


# ---- .grad -------------------------------------------------------------------------------------------------


def test_grad_is_none_then_a_tensor_and_can_be_assigned():
    x = leaf([1.0, 2.0])
    assert x.grad is None
    g = bp.Tensor([5.0, 6.0])
    x.grad = g
    assert x.grad is g
    (x * 1.0).sum().backward()
    assert x.grad.tolist() == [6.0, 7.0]
    assert g.tolist() == [5.0, 6.0]
    x.grad = [1, 2]
    assert type(x.grad) is bp.Tensor
    assert x.grad.dtype == np.float64
    array = np.array([3.0, 4.0])
    x.grad = array
    (x * 1.0).sum().backward()
    assert array.tolist() == [3.0, 4.0]
    x.grad = None
    assert x.grad is None


def test_79_a_grad_that_does_not_fit_is_refused():
    x = leaf([1.0, 2.0])
    x.grad = [1.0, 1.0]
    for value, shape in ((1.0, ()), ([1.0], (1,)), (np.ones((1, 2)), (1, 2)), (bp.Tensor(np.ones(3)), (3,))):
        with refuses(ValueError, f"grad: shape {shape} does not fit the tensor's (2,). Pass its shape."):
            x.grad = value
    for value in (bp.Tensor([1, 2]), bp.Tensor(np.float32([1, 2]))):
        with refuses(TypeError, f"grad: dtype {value.dtype} does not fit the tensor's float64. Pass its dtype."):
            x.grad = value
    for value in ("ab", 1j, object()):
        with refuses(TypeError, "Tensor: dtype"):
            x.grad = value
    assert x.grad.tolist() == [1.0, 1.0]


# ---- out of the graph --------------------------------------------------------------------------------------


def test_77_numpy_is_guarded_while_a_gradient_would_be_lost():
    message = "numpy: the tensor requires grad; as an array it would lose its history. Call detach() first."
    for t in (leaf(A), leaf(A) * 2):
        for lose in (
            np.asarray,
            np.array,
            bp.Tensor.numpy,
            lambda t: np.asarray([t, t]),
            lambda t: np.asarray(t, "f4"),
        ):
            with refuses(TypeError, message):
                lose(t)
        assert np.array_equal(np.asarray(t.detach()), t.data)


def test_77_numbers_always_come_out():
    for data in (2.5, [2.5], [[2.5]]):
        for t in (leaf(data), leaf(data) * 1):
            assert (t.item(), float(t), int(t), bool(t), complex(t)) == (2.5, 2.5, 2, True, 2.5)
            assert type(t.item()) is float
            assert np.array(t.tolist()).tolist() == np.array(data).tolist()
    assert type(bp.Tensor(3).item()) is int
    assert type(bp.Tensor(True).item()) is bool
    assert leaf(A).tolist() == A.tolist()


def test_numpy_is_the_array_itself():
    a = A.copy()
    t = bp.Tensor(a)
    assert t.numpy() is a
    assert np.asarray(t) is a
    assert np.asarray(t, np.float32).dtype == np.float32
    assert np.array(t, copy=None) is a
    assert not np.shares_memory(np.array(t), a)
    with pytest.raises(ValueError, match="copy"):
        np.array(t, dtype=np.float32, copy=False)


@pytest.mark.parametrize("data", [[1.0, 2.0], [], np.ones((2, 1))])
def test_item_of_many(data):
    t = bp.Tensor(data)
    message = f"item: a tensor of shape {t.shape} has {t.size} entries, not one. Index it first."
    for convert in (bp.Tensor.item, float, int):
        with refuses(ValueError, message):
            convert(t)


# ---- as a Python object ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: bp.Tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: leaf([1.0, 2.0]), "tensor([1., 2.], requires_grad=True)"),
        (lambda: leaf([1.0, 2.0]) * 2, "tensor([2., 4.], grad_fn=<op 'multiply'>)"),
        (lambda: bp.Tensor(1.5), "tensor(1.5)"),
        (lambda: bp.Tensor(3), "tensor(3)"),
        (lambda: bp.Tensor([True, False]), "tensor([ True, False])"),
        (lambda: bp.Tensor(np.float32([1, 2])), "tensor([1., 2.], dtype=float32)"),
        (lambda: leaf(np.float32([1, 2])), "tensor([1., 2.], dtype=float32, requires_grad=True)"),
        (lambda: bp.Tensor(np.int8([1, 2])), "tensor([1, 2], dtype=int8)"),
        (lambda: bp.Tensor([]), "tensor([])"),
        (lambda: bp.Tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
        (lambda: leaf([1.0]) > 0, "tensor([ True])"),
    ],
)
def test_repr(make, text):
    assert repr(make()) == str(make()) == f"{make()}" == text


def test_repr_of_many_entries_is_short():
    assert len(repr(bp.zeros(1000, 1000))) < 400


def test_format_takes_a_spec_for_one_entry():
    loss = leaf(0.123456) * 1
    assert f"{loss:.3f}" == "0.123"
    assert f"{bp.Tensor([[7]]):04d}" == "0007"
    with refuses(ValueError, "item: a tensor of shape (2,) has 2 entries, not one."):
        f"{bp.Tensor([1.0, 2.0]):.3f}"


def test_78_truth():
    assert bp.Tensor([[1.0]])
    assert not bp.Tensor(0.0)
    for data in ([1.0, 2.0], [], np.zeros((2, 2))):
        t = bp.Tensor(data)
        with refuses(ValueError, f"bool: a tensor of shape {t.shape} has no one truth value. Use any() or all()."):
            bool(t)


def test_78_equality_is_elementwise_and_hash_is_identity():
    a, b = bp.Tensor([1.0, 2.0]), bp.Tensor([1.0, 3.0])
    assert (a == b).tolist() == [True, False]
    assert (a != b).tolist() == [False, True]
    assert (a == None).tolist() == [False, False]  # noqa: E711  as NumPy
    assert (a != None).tolist() == [True, True]  # noqa: E711
    same = bp.Tensor(a.data)
    assert len({a, b, same, a}) == 3
    assert {a: "a", same: "same"}[a] == "a"
    assert hash(a) != hash(same)
    for value in ("a", object()):
        with refuses(TypeError, f"equal: cannot compute with a {type(value).__name__}."):
            a == value  # noqa: B015


def test_78_contains_looks_at_the_entries():
    t = leaf([1.0, 2.0])
    assert 2.0 in t
    assert 3.0 not in t
    assert bp.Tensor(2.0) in t
    assert 0.25 in leaf(A)
    assert 0.26 not in leaf(A)


def test_78_length_and_iteration():
    t = leaf(A)
    assert len(t) == 2
    rows = list(t)
    assert [row.tolist() for row in rows] == A.tolist()
    assert all(row.requires_grad for row in rows)
    first, _ = t
    first.sum().backward()
    assert t.grad.tolist() == [[1.0] * 3, [0.0] * 3]
    with pytest.raises(TypeError, match="len\\(\\) of unsized object"):
        len(bp.Tensor(1.0))
    with refuses(TypeError, "iter: a tensor of shape () has no axis to iterate over. Use item()."):
        iter(bp.Tensor(1.0))
    assert sum(leaf([1.0, 2.0, 3.0])).item() == 6.0
    assert [float(x) for x in reversed(t[0])] == A[0, ::-1].tolist()


def test_an_integer_is_an_index():
    rows = ["a", "b", "c"]
    assert rows[bp.Tensor(1)] == "b"
    assert rows[bp.Tensor([0.1, 0.9, 0.0]).argmax()] == "b"
    assert list(range(bp.Tensor(3))) == [0, 1, 2]
    for t in (bp.Tensor(1.0), bp.Tensor([1, 2])):
        with pytest.raises(TypeError, match="only integer scalar arrays can be converted to a scalar index"):
            rows[t]


def test_19_34_items_are_not_assigned():
    t = leaf([1.0, 2.0])
    for index in (0, slice(None), ..., [0, 1]):
        with refuses(
            TypeError, "setitem: a tensor is not written by item, its graph would be wrong. Use np.where or ops.put."
        ):
            t[index] = 5.0
    assert t.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        slice(None, None, -1),
        ...,
        None,
        (0, 1),
        (..., 0),
        [1, 0, 1],
        np.array([[0], [1]]),
        A > 0,
        ([1, 0], [2, 2]),
    ],
    ids=str,
)
def test_indexing_is_numpys(index):
    t = leaf(A)
    y = t[index]
    assert type(y) is bp.Tensor
    assert np.array_equal(y.data, A[index])
    y.sum().backward()
    counts = np.zeros_like(A)
    np.add.at(counts, index, 1.0)
    assert np.array_equal(t.grad.data, counts)


def test_indexing_by_tensors():
    t = leaf(A)
    assert np.array_equal(t[t > 0].data, A[A > 0])
    assert np.array_equal(t[bp.Tensor([1, 0])].data, A[[1, 0]])
    assert np.array_equal(t[bp.Tensor(1), bp.Tensor([0, 2])].data, A[1, [0, 2]])


# ---- copies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_74_leaves_are_pickled_with_their_gradient(protocol):
    x = leaf(np.float32([1, 2]))
    (x * x).sum().backward()
    y = pickle.loads(pickle.dumps(x, protocol))
    assert type(y) is bp.Tensor
    assert (y.tolist(), y.dtype, y.requires_grad, y.grad.tolist()) == ([1.0, 2.0], np.float32, True, [2.0, 4.0])
    assert y.is_leaf
    (y * y).sum().backward()
    assert y.grad.tolist() == [4.0, 8.0]
    assert x.grad.tolist() == [2.0, 4.0]


def test_74_deepcopy_shares_nothing():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert not np.shares_memory(x.data, y.data)
    assert not np.shares_memory(x.grad.data, y.grad.data)
    assert y.grad.tolist() == x.grad.tolist()
    both = copy.deepcopy([x, x])
    assert both[0] is both[1]


def test_74_a_parameter_stays_a_parameter():
    p = Parameter([1.0, 2.0])
    frozen = Parameter([1.0], requires_grad=False)
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(q) is Parameter
        assert q.requires_grad
        assert type(q * 2) is bp.Tensor
    assert not copy.deepcopy(frozen).requires_grad


def test_74_a_computed_tensor_is_not_pickled_or_copied():
    y = leaf([1.0]) * 2
    message = "pickle: a computed tensor cannot be copied or pickled with its history. Call detach() first."
    for of in (pickle.dumps, copy.copy, copy.deepcopy):
        with refuses(TypeError, message):
            of(y)
    assert pickle.loads(pickle.dumps(y.detach())).tolist() == [2.0]
    assert pickle.loads(pickle.dumps(y > 1)).tolist() == [True]
    y.sum().backward()
    with refuses(TypeError, message):
        pickle.dumps(y)


def test_copy_and_astype_are_computed():
    x = leaf([1.5, 2.5])
    y = x.copy()
    assert not np.shares_memory(x.data, y.data)
    (y * 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert (x > 2).copy().tolist() == [False, True]
    z = leaf([1.5, 2.5])
    half = z.astype(np.float32)
    assert half.dtype == np.float32
    (half * 3.0).sum().backward()
    assert z.grad.dtype == np.float64
    assert z.grad.tolist() == [3.0, 3.0]
    assert z.astype(float, copy=False) is z
    assert not np.shares_memory(z.astype(float).data, z.data)
    assert z.astype(int).tolist() == [1, 2]
    assert z.astype(bool).dtype == bool
    assert not z.astype(int).requires_grad


# ---- operators ---------------------------------------------------------------------------------------------

SMOOTH = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.pow,
    operator.mod,
]
STEPS = [
    operator.floordiv,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.eq,
    operator.ne,
]
P, Q = np.array([0.6, 1.4, 2.3]), np.array([[1.25], [2.0]])


def pairs(f):
    """The operator on two tensors, a tensor and an array or a number, and the other way round."""
    yield leaf(P), leaf(Q), f(P, Q)
    yield leaf(P), Q, f(P, Q)
    if f in STEPS:
        yield leaf(P), P[::-1].copy(), f(P, P[::-1])  # equal in the middle
    yield P, leaf(Q), f(P, Q)
    yield leaf(P), bp.Tensor(Q), f(P, Q)
    for number in (2.0, 2, True, np.float64(2.0), np.float32(2.0), np.int64(2), np.array(2.0)):
        yield leaf(P), number, f(P, np.asarray(number))
        yield number, leaf(P), f(np.asarray(number), P)
    yield leaf(P), (1.3 * P).tolist(), f(P, 1.3 * P)
    yield P.tolist(), leaf(1.3 * P), f(P, 1.3 * P)


@pytest.mark.parametrize("f", SMOOTH + STEPS)
def test_operators_are_numpys_on_both_sides(f):
    for a, b, expected in pairs(f):
        y = f(a, b)
        assert type(y) is bp.Tensor
        assert type(y.data) is np.ndarray
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y.data, expected)
        assert y.requires_grad is (f in SMOOTH)


@pytest.mark.parametrize("f", SMOOTH)
def test_operators_have_gradients_on_both_sides(f):
    h = 1e-6
    for a, b, _ in pairs(f):
        y = f(a, b)
        y.sum().backward()
        for k, x in enumerate((a, b)):
            if isinstance(x, bp.Tensor) and x.requires_grad:
                other = (b, a)[k]
                other = other.data if isinstance(other, bp.Tensor) else np.asarray(other, float)

                def total(x, k=k, other=other):
                    return f(x, other) if k == 0 else f(other, x)

                slope = (total(x.data + h) - total(x.data - h)) / (2 * h)
                while slope.ndim > x.ndim:
                    slope = slope.sum(0)
                for axis, n in enumerate(x.shape):
                    slope = slope.sum(axis, keepdims=True) if n == 1 else slope
                np.testing.assert_allclose(x.grad.data, slope, rtol=1e-6, atol=1e-6)


def test_unary_operators():
    x = leaf(P)
    for f in (operator.neg, operator.pos, abs):
        y = f(x)
        np.testing.assert_array_equal(y.data, f(P))
        assert y.requires_grad
    assert (~(x > 1)).tolist() == [True, False, False]


def test_masks_combine():
    x = leaf(P)
    assert ((x > 1) & (x < 2)).tolist() == [False, True, False]
    assert ((x < 1) | (x > 1.75)).tolist() == [True, False, True]
    assert ((P > 1) & (x < 2)).tolist() == [False, True, False]
    assert ((x > 1) & (P < 2)).tolist() == [False, True, False]


def test_matmul_on_both_sides():
    w = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for a, b in ((leaf(A), w), (A, leaf(w)), (leaf(A), leaf(w)), (A.tolist(), leaf(w))):
        y = a @ b
        assert type(y) is bp.Tensor
        np.testing.assert_allclose(y.data, A @ w)
        y.sum().backward()
        if isinstance(a, bp.Tensor):
            np.testing.assert_allclose(a.grad.data, np.ones((2, 2)) @ w.T)
        if isinstance(b, bp.Tensor):
            np.testing.assert_allclose(b.grad.data, A.T @ np.ones((2, 2)))
    with refuses(ValueError, "matmul: shapes (2, 3) and (2, 3) do not fit."):
        leaf(A) @ A


def test_powers():
    x = leaf(P)
    assert (x**2).grad_fn is ops.square
    for p in (2, 2.0, 3, -1, 0.5, 0):
        np.testing.assert_array_equal((x**p).data, P**p)
    np.testing.assert_array_equal((2**x).data, 2**P)
    np.testing.assert_array_equal((x**True).data, P)


def test_operations_between_unrelated_types_are_pythons_errors():
    x = leaf(P)
    for f in (operator.xor, operator.lshift, divmod):
        with pytest.raises(TypeError, match="unsupported operand type"):
            f(x, x)


# ---- dtypes ------------------------------------------------------------------------------------------------

WEAK = [2, 2.0, True, np.float64(2.0), np.float32(2.0), np.float16(2.0), np.int64(2), np.uint8(2), np.bool_(True)]


@pytest.mark.parametrize("number", WEAK, ids=lambda n: f"{type(n).__name__}")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_45_numbers_are_weak_so_a_precision_stays(number, dtype):
    x = leaf([1.0, 2.0], dtype)
    for f in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, np.maximum, np.arctan2):
        assert f(x, number).dtype == dtype
        assert f(number, x).dtype == dtype
    y = (x * number + number).mean()
    y.backward()
    assert (y.dtype, x.grad.dtype) == (dtype, dtype)


def test_45_means_and_losses_keep_float32():
    x = leaf([[1.0, 2.0], [3.0, 4.0]], np.float32)
    for y in (x.mean(), x.var(), x.std(), x.softmax(), x.sigmoid(), x.logsumexp(), ops.norm(x), ops.mse_loss(x, 0 * x)):
        assert y.dtype == np.float32


@pytest.mark.parametrize("a", ["?", "u1", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("b", ["?", "u1", "i4", "i8", "f2", "f4", "f8"])
def test_arrays_promote_as_numpy_promotes(a, b):
    x, y = np.ones(2, a), np.ones(2, b)
    for f in (operator.add, operator.mul, operator.truediv, np.maximum):
        expected = f(x, y).dtype
        assert f(bp.Tensor(x), bp.Tensor(y)).dtype == expected
        assert f(bp.Tensor(x), y).dtype == expected
        assert f(x, bp.Tensor(y)).dtype == expected
    for number in (2, 2.0, True):
        assert (bp.Tensor(x) * number).dtype == (x * number).dtype


def test_integers_compute_as_numpys_do():
    n = bp.Tensor([7, 8])
    assert (n // 2).tolist() == [3, 4]
    assert (n % 4).tolist() == [3, 0]
    assert (n / 2).tolist() == [3.5, 4.0]
    assert n.sum().dtype == int
    assert n.mean().item() == 7.5
    with refuses(ValueError, "power: Integers to negative integer powers are not allowed."):
        n**-1


def test_29_a_scalar_is_a_0d_array_everywhere():
    x = leaf(2.0)
    for y in (x * 1, x.sum(), x + 1, -x, x**2, x.reshape(()), leaf([1.0, 2.0]).max(), leaf([1.0])[0], x.exp(), 3.0 - x):
        assert type(y.data) is np.ndarray
        assert y.shape == ()
    x.exp().backward()
    assert type(x.grad.data) is np.ndarray


# ---- methods -----------------------------------------------------------------------------------------------

POSITIVE = np.abs(A) + 0.1


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        *(
            (name, args, kwargs)
            for name in ("sum", "mean", "prod", "max", "min", "var", "std", "all", "any")
            for args, kwargs in (((), {}), ((1,), {}), ((), {"axis": (0, 1)}), ((), {"axis": -1, "keepdims": True}))
        ),
        *((name, (), {"axis": 1, "ddof": 1}) for name in ("var", "std")),
        *((name, args, {}) for name in ("argmax", "argmin", "cumsum", "cumprod") for args in ((), (0,), (-1,))),
        *((name, args, {}) for name in ("trace", "diagonal") for args in ((), (1,), (-1, 1, 0))),
        *(("round", args, {}) for args in ((), (1,))),
        ("argmax", (), {"axis": 1, "keepdims": True}),
        ("reshape", (3, 2), {}),
        ("reshape", ((3, 2),), {}),
        ("reshape", (-1,), {}),
        ("reshape", (3, -1), {}),
        ("flatten", (), {}),
        ("ravel", (), {}),
        ("transpose", (), {}),
        ("transpose", (1, 0), {}),
        ("transpose", ((1, 0),), {}),
        ("transpose", ([1, 0],), {}),
        ("transpose", (None,), {}),
        ("swapaxes", (0, 1), {}),
        ("squeeze", (), {}),
        ("take", ([0, 4],), {}),
        ("take", ([0, 1, 1],), {"axis": 1}),
        ("repeat", (2,), {}),
        ("repeat", ([1, 2],), {"axis": 0}),
        ("clip", (0.3, 2.0), {}),
        ("clip", (), {"min": 0.3}),
        ("clip", (), {"max": 0.3}),
        ("dot", (A.T,), {}),
        ("astype", ("f4",), {}),
        ("copy", (), {}),
        ("tolist", (), {}),
    ],
)
def test_methods_of_arrays(method, args, kwargs):
    x = leaf(POSITIVE)
    y, expected = getattr(x, method)(*args, **kwargs), getattr(POSITIVE, method)(*args, **kwargs)
    if method == "tolist":
        assert y == expected
        return
    assert type(y) is bp.Tensor
    assert y.shape == expected.shape
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.data, expected, rtol=1e-15)
    if method in ("all", "any", "argmax", "argmin", "round"):
        assert not y.requires_grad
    else:
        y.backward(np.ones(y.shape))
        assert x.grad.shape == x.shape


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        *((name, getattr(np, name)) for name in ("exp", "log", "sqrt", "tanh", "sin", "cos", "square", "abs")),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("relu", lambda x: np.maximum(x, 0)),
        ("logsumexp", lambda x: np.log(np.exp(x).sum())),
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        ("log_softmax", lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    ],
)
def test_methods_of_functions(method, expected):
    y = getattr(leaf(POSITIVE), method)()
    assert y.requires_grad
    np.testing.assert_allclose(y.data, expected(POSITIVE), rtol=1e-14)


def test_methods_take_the_axis():
    x = leaf(A)
    np.testing.assert_allclose(x.softmax(axis=0).data.sum(0), np.ones(3))
    np.testing.assert_allclose(x.log_softmax(0).exp().data.sum(0), np.ones(3))
    np.testing.assert_allclose(x.logsumexp(1, keepdims=True).data, np.log(np.exp(A).sum(1, keepdims=True)))
    assert x.squeeze(axis=None).shape == (2, 3)
    assert leaf(np.ones((1, 2, 1))).squeeze(0).shape == (2, 1)


# ---- creation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: bp.zeros(2, 3), np.zeros((2, 3))),
        (lambda: bp.zeros((2, 3)), np.zeros((2, 3))),
        (lambda: bp.zeros(), np.zeros(())),
        (lambda: bp.ones(2), np.ones(2)),
        (lambda: bp.ones((2,), dtype="f4"), np.ones(2, "f4")),
        (lambda: bp.full((2, 2), 7), np.full((2, 2), 7.0)),
        (lambda: bp.full(2, True, dtype=bool), np.full(2, True)),
        (lambda: bp.eye(3), np.eye(3)),
        (lambda: bp.arange(5), np.arange(5)),
        (lambda: bp.arange(1, 2, 0.25), np.arange(1, 2, 0.25)),
        (lambda: bp.arange(5, dtype="f4"), np.arange(5, dtype="f4")),
    ],
)
def test_creation(made, expected):
    t = made()
    assert t.dtype == expected.dtype
    np.testing.assert_array_equal(t.data, expected)
    assert not t.requires_grad


def test_creation_with_a_gradient():
    for t in (
        bp.zeros(2, requires_grad=True),
        bp.ones(2, requires_grad=True),
        bp.full(2, 3.0, requires_grad=True),
        bp.arange(2.0, requires_grad=True),
        bp.eye(2, requires_grad=True),
    ):
        assert t.requires_grad
        assert t.is_leaf
    with refuses(TypeError, "Tensor: only floating dtypes can require grad, not int64. Pass dtype=float."):
        bp.arange(3, requires_grad=True, dtype="i8")


def test_tensors_die_at_once():
    gc.disable()
    try:
        t = leaf(A)
        ref = weakref.ref(t)
        t.grad = A
        del t
        assert ref() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("mode", [bp.enable_grad, bp.no_grad])
def test_19_a_parameter_is_not_updated_by_an_operator(mode):
    w = bp.Tensor([1.0, 2.0], requires_grad=True)
    with mode(), pytest.raises(RuntimeError, match=r"^in place: a leaf that requires grad .* Write w\.data -= lr"):
        w -= 1.0
    assert w.tolist() == [1.0, 2.0]
    assert w.requires_grad


def test_20_an_operator_with_assignment_makes_a_new_tensor():
    x = bp.Tensor([1.0, 2.0], requires_grad=True)
    y = z = x * 2.0
    y += 1.0
    assert (y.tolist(), z.tolist()) == ([3.0, 5.0], [2.0, 4.0])
    constant = bp.Tensor([1.0])
    constant *= 3.0
    assert constant.tolist() == [3.0]


def test_13_a_dtype_nobody_knows_is_refused():
    with pytest.raises(TypeError, match=r"^Tensor: data type 'foo' not understood\. Pass a dtype of real numbers"):
        bp.Tensor([1.0], dtype="foo")
