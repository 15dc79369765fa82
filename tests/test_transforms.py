"""Functions of functions against closed forms: nesting, closures, what stays differentiable, what is refused."""

from __future__ import annotations

import gc
import math
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.checks import refuses
from tinygrad_bp import autograd, ops

RNG = np.random.default_rng(7)
M = RNG.standard_normal((4, 4))
V = RNG.standard_normal(4)


def close(actual, expected, tolerance=1e-12):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0.0) <= tolerance * max(1.0, np.abs(expected).max(initial=0.0))


# ---- grad and value_and_grad -------------------------------------------------------------------------------


def quadratic(x):
    return x @ M @ x


def test_grad_of_a_quadratic_form():
    g = bp.grad(quadratic)(V)
    assert type(g) is bp.Tensor
    close(g, (M + M.T) @ V)


def test_value_and_grad_agree_with_the_parts():
    value, g = bp.value_and_grad(quadratic)(V)
    close(value, V @ M @ V)
    close(g, bp.grad(quadratic)(V))


@pytest.mark.parametrize("x", [2.0, np.float64(2.0), np.array(2.0), bp.Tensor(2.0), bp.Tensor(2.0, requires_grad=True)])
def test_arguments_may_be_numbers_arrays_or_tensors(x):
    g = bp.grad(lambda x: x**3)(x)
    assert g.item() == 12.0
    assert bp.grad(lambda x: (x * x).sum())([x if isinstance(x, float) else 2.0, 3.0]).tolist() == [4.0, 6.0]


def f(x, y, z=1.0):
    return (x * x * y).sum() * z


def test_argnums():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    close(bp.grad(f)(x, y), 2 * x * y)
    close(bp.grad(f, 1)(x, y), x * x)
    close(bp.grad(f, -1)(x, y), x * x)
    close(bp.grad(f, argnums=2)(x, y, 5.0), (x * x * y).sum())
    one = bp.grad(f, (1,))(x, y)
    assert type(one) is tuple
    close(one[0], x * x)
    dy, dx = bp.grad(f, (1, 0))(x, y)
    close(dx, 2 * x * y)
    close(dy, x * x)
    value, (dx, dz) = bp.value_and_grad(f, (0, 2))(x, y, 5.0)
    close(value, 5 * (x * x * y).sum())
    close(dx, 10 * x * y)
    close(dz, (x * x * y).sum())


def test_the_other_arguments_are_handed_on_as_they_are():
    seen = []
    bp.grad(lambda x, *rest: seen.append(rest) or x)(1.0, "a", None, V)
    assert seen == [("a", None, V)]


def test_a_gradient_keeps_the_dtype_of_its_argument():
    x = np.float32([1.0, 2.0])
    assert bp.grad(lambda x: (x * x).sum())(x).dtype == np.float32
    assert bp.grad(lambda x: (x * V[:2]).sum())(x).dtype == np.float32
    assert bp.hessian(lambda x: (x**3).sum())(x).dtype == np.float32


def test_the_gradient_of_a_constant_is_zero():
    for constant in (1.0, 3, np.array(2.0), np.float64(2.0), bp.Tensor(2.0)):
        value, g = bp.value_and_grad(lambda x, c=constant: c)(V)
        assert float(value) == float(constant)
        close(g, np.zeros(4))
    dx, dy = bp.grad(lambda x, y: (x * x).sum(), (0, 1))(V, V)
    close(dx, 2 * V)
    close(dy, np.zeros(4))
    close(bp.grad(lambda x: ops.sign(x).sum())(V), np.zeros(4))
    close(bp.grad(lambda x: x.detach().sum())(V), np.zeros(4))


def test_the_gradient_of_the_identity_is_one():
    value, g = bp.value_and_grad(lambda x: x)(3.0)
    assert (value.item(), g.item()) == (3.0, 1.0)


# ---- nesting -----------------------------------------------------------------------------------------------


def derivatives(f, x, n):
    values = []
    for _ in range(n + 1):
        values.append(float(f(bp.Tensor(x))))
        f = bp.grad(f)
    return values


def test_nesting_to_order_four():
    assert derivatives(lambda x: x**4, 2.0, 5) == [16.0, 32.0, 48.0, 48.0, 24.0, 0.0]
    close(derivatives(ops.exp, 0.7, 4), [math.exp(0.7)] * 5)
    s, c = math.sin(0.7), math.cos(0.7)
    close(derivatives(ops.sin, 0.7, 4), [s, c, -s, -c, s])
    close(derivatives(ops.log, 2.0, 4), [math.log(2.0), 1 / 2, -1 / 4, 2 / 8, -6 / 16])
    t = math.tanh(0.3)
    d = 1 - t * t
    close(derivatives(ops.tanh, 0.3, 3), [t, d, -2 * t * d, -2 * d * d + 4 * t * t * d])
    close(derivatives(lambda x: 1 / x, 2.0, 4), [0.5, -0.25, 0.25, -0.375, 0.75])


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=6),
    st.floats(-2, 2),
)
def test_nested_derivatives_of_polynomials(coefficients, x):
    p = np.polynomial.Polynomial(coefficients)

    def evaluate(x):
        y = 0.0
        for c in reversed(coefficients):
            y = y * x + float(c)
        return y + 0.0 * x

    close(derivatives(evaluate, x, 4), [p.deriv(k)(x) if k else p(x) for k in range(5)], 1e-12)


def test_perturbations_are_not_confused():
    """The inner derivative is 1 whatever x is, so the outer function is x itself."""
    assert bp.grad(lambda x: x * bp.grad(lambda y: x + y)(1.0))(1.0).item() == 1.0
    assert bp.grad(lambda x: x * bp.grad(lambda y: x * y)(2.0))(3.0).item() == 6.0  # d(x * x)
    assert bp.grad(lambda x: bp.grad(lambda y: x * y * y)(x))(3.0).item() == 12.0  # d(2 x * x)
    assert bp.grad(lambda x: bp.grad(lambda x: x * x)(x) * x)(3.0).item() == 12.0
    assert bp.grad(lambda x: bp.grad(lambda y: bp.grad(lambda z: x * y * z * z)(y))(x))(2.0).item() == 16.0  # 4 x^2


def test_a_function_may_return_what_an_enclosing_one_differentiates_by():
    assert bp.grad(lambda x: bp.value_and_grad(lambda y: x)(1.0)[0])(3.0).item() == 1.0
    assert bp.grad(lambda x: bp.value_and_grad(lambda y: y)(x)[0])(3.0).item() == 1.0
    assert bp.grad(lambda x: bp.grad(lambda y: x)(1.0))(3.0).item() == 0.0


def test_mixed_partial_derivatives_commute():
    def g(x, y):
        return ops.sin(x * y) * x

    xy = bp.grad(lambda x, y: bp.grad(g, 1)(x, y), 0)(0.3, 0.7)
    yx = bp.grad(lambda x, y: bp.grad(g, 0)(x, y), 1)(0.3, 0.7)
    close(xy, yx)
    close(xy, 2 * 0.3 * math.cos(0.21) - 0.3 * 0.3 * 0.7 * math.sin(0.21))


def test_a_gradient_step_can_be_differentiated():
    """The derivative of the loss after one step of descent, by the chain rule written out."""

    def loss(w):
        return (w * w * w).sum()

    def after(w, lr):
        return loss(w - lr * bp.grad(loss)(w))

    w, lr = np.array([0.5, -0.2]), 0.1
    stepped = w - lr * 3 * w * w
    dw, dlr = bp.grad(after, (0, 1))(w, lr)
    close(dw, 3 * stepped**2 * (1 - lr * 6 * w))
    close(dlr, (3 * stepped**2 * -3 * w * w).sum())


# ---- closures ----------------------------------------------------------------------------------------------


def test_results_are_plain_where_nothing_else_is_tracked():
    for x in (V, bp.Tensor(V)):
        value, g = bp.value_and_grad(quadratic)(x)
        y, pull = bp.vjp(lambda x: x * x, x)
        for result in (value, g, y, *pull(V), bp.jacobian(lambda x: x * x)(x), bp.hessian(quadratic)(x)):
            assert not result.requires_grad
            assert result.recipe is None


def test_results_are_differentiable_in_a_parameter_the_function_uses():
    w = bp.Tensor(V, requires_grad=True)
    x = np.arange(4.0)
    value, g = bp.value_and_grad(lambda x: (w * x * x).sum())(x)
    close(g.detach(), 2 * V * x)
    close(autograd.grad(g.sum(), w, retain_graph=True)[0], 2 * x)
    close(autograd.grad(value, w)[0], x * x)
    jacobian = bp.jacobian(lambda x: w * x)(x)
    jacobian.sum().backward()
    close(w.grad, np.ones(4))
    w.grad = None
    y, pull = bp.vjp(lambda x: w * x, x)
    pull(np.ones(4))[0].sum().backward()
    close(w.grad, np.ones(4))
    assert y.requires_grad


def test_results_are_differentiable_in_an_argument_that_requires_grad():
    x = bp.Tensor(V, requires_grad=True)
    g = bp.grad(lambda x: (x**3).sum())(x)
    assert x.grad is None
    g.sum().backward()
    close(x.grad, 6 * V)
    h = x * 1.0
    g = bp.grad(lambda h: (h**3).sum())(h)
    close(autograd.grad(g.sum(), x)[0], 6 * V)


def test_a_parameter_used_in_the_function_is_not_its_argument():
    """f(w) = sum(w * w_outer): the derivative in the argument only, though both are the same tensor."""
    w = bp.Tensor(V, requires_grad=True)
    g = bp.grad(lambda v: (v * w).sum())(w)
    close(g.detach(), V)
    close(autograd.grad(g.sum(), w)[0], np.ones(4))


def test_no_grad_of_any_tensor_is_touched():
    w, x = bp.Tensor(V, requires_grad=True), bp.Tensor(V, requires_grad=True)
    w.grad = [1.0, 2.0, 3.0, 4.0]
    for transform in (bp.grad, bp.value_and_grad, bp.hessian, bp.jacobian):
        transform(lambda x: (w * x * x).sum())(x)
    assert w.grad.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert x.grad is None
    assert x.requires_grad
    assert not bp.Tensor(V).requires_grad


def test_results_share_memory_with_nothing_the_caller_has():
    x = np.array([1.0, 2.0])
    t = bp.Tensor(x)
    for transform in (
        bp.grad(lambda x: x.sum()),
        bp.grad(lambda x: (x * x).sum()),
        lambda x: bp.vjp(lambda x: x, x)[0],
        lambda x: bp.vjp(lambda x: x, x)[1](np.ones(2))[0],
        bp.jacobian(lambda x: x),
    ):
        for argument in (x, t):
            result = transform(argument)
            result.data[...] = 7.0
            assert x.tolist() == [1.0, 2.0]


# ---- inside no_grad ----------------------------------------------------------------------------------------


def test_inside_no_grad_transforms_work_and_record_nothing():
    w = bp.Tensor(V, requires_grad=True)
    with bp.no_grad():
        value, g = bp.value_and_grad(lambda x: (w * x * x).sum())(V)
        assert not value.requires_grad
        assert not g.requires_grad
        assert bp.grad(bp.grad(lambda x: x**3))(2.0).item() == 12.0
        assert not bp.hessian(lambda x: (w * x * x).sum())(V).requires_grad
        assert not bp.is_grad_enabled()
    close(g, 2 * V * V)


def test_no_grad_inside_the_function_cuts():
    def g(x):
        with bp.no_grad():
            y = x * x
        return y * x

    assert bp.grad(g)(3.0).item() == 9.0


# ---- vjp ---------------------------------------------------------------------------------------------------


def test_vjp_pulls_back_as_often_as_asked():
    y, pull = bp.vjp(lambda x, m: m @ x, V, M)
    close(y, M @ V)
    for v in (np.ones(4), V, bp.Tensor(V), V.tolist()):
        dx, dm = pull(v)
        close(dx, M.T @ np.asarray(v))
        close(dm, np.outer(np.asarray(v), V))


def test_vjp_of_a_scalar_takes_a_number():
    y, pull = bp.vjp(lambda x: (x * x).sum(), V)
    close(y, (V * V).sum())
    close(pull(10.0)[0], 20 * V)


def test_pulling_back_a_tracked_vector_records():
    _, pull = bp.vjp(lambda x: x**3, V)
    v = bp.Tensor(np.ones(4), requires_grad=True)
    (u,) = pull(v)
    u.sum().backward()
    close(v.grad, 3 * V * V)


def test_a_vjp_of_a_vjp_is_a_jacobian_vector_product():
    def forward(f, x, t):
        y, pull = bp.vjp(f, x)
        return bp.vjp(lambda v: pull(v)[0], np.zeros(y.shape))[1](t)[0]

    close(forward(lambda x: ops.sin(M @ x), V, np.ones(4)), np.cos(M @ V) * (M @ np.ones(4)))


def test_vjp_inside_grad():
    def norm_of_gradient(x):
        _, pull = bp.vjp(lambda x: (x**3).sum(), x)
        return (pull(1.0)[0] ** 2).sum()

    close(bp.grad(norm_of_gradient)(V), 36 * V**3)


# ---- jacobian and hessian ----------------------------------------------------------------------------------


def test_jacobians_of_linear_and_elementwise_functions():
    close(bp.jacobian(lambda x: M @ x)(V), M)
    close(bp.jacobian(ops.sin)(V), np.diag(np.cos(V)))
    p = np.exp(V) / np.exp(V).sum()
    close(bp.jacobian(ops.softmax)(V), np.diag(p) - np.outer(p, p))


def test_the_jacobian_has_the_shape_of_the_output_then_the_input():
    x = RNG.standard_normal((2, 3))
    j = bp.jacobian(lambda x: x.T)(x)
    assert j.shape == (3, 2, 2, 3)
    close(j, np.einsum("il,jk->ijkl", np.eye(3), np.eye(2)))
    assert bp.jacobian(lambda x: x.sum())(x).shape == (2, 3)
    assert bp.jacobian(lambda x: x * V)(2.0).shape == (4,)
    assert bp.jacobian(lambda x: x * x)(2.0).item() == 4.0
    assert bp.jacobian(lambda x: x[:0])(V).shape == (0, 4)
    close(bp.jacobian(lambda x: np.ones(2))(V), np.zeros((2, 4)))
    close(bp.jacobian(lambda x, m: m @ x, 1)(V, M)[2, 2], V)


def test_a_jacobian_of_a_jacobian():
    close(bp.jacobian(bp.jacobian(lambda x: x**3))(V), np.einsum("i,ij,ik->ijk", 6 * V, np.eye(4), np.eye(4)))
    second = bp.jacobian(bp.jacobian(lambda x: (M @ x) ** 2))(V)
    close(second, 2 * np.einsum("ia,ib->iab", M, M))


def test_grad_of_a_function_of_a_jacobian():
    close(bp.grad(lambda x: bp.jacobian(ops.sin)(x).sum())(V), -np.sin(V))


def test_hessians():
    close(bp.hessian(quadratic)(V), M + M.T)
    p = np.exp(V) / np.exp(V).sum()
    close(bp.hessian(ops.logsumexp)(V), np.diag(p) - np.outer(p, p))
    assert bp.hessian(lambda x: x**4)(2.0).item() == 48.0
    x, y = V[:2], V[2:]
    close(bp.hessian(lambda x, y: (x * y * y).sum(), 1)(x, y), np.diag(2 * x))
    close(bp.hessian(lambda x: x.sum())(V), np.zeros((4, 4)))


def test_the_hessian_of_a_small_net_against_differences():
    x, labels = RNG.standard_normal((5, 3)), np.array([0, 1, 1, 0, 1])
    shapes = [(4, 3), (4,), (2, 4), (2,)]
    sizes = [math.prod(shape) for shape in shapes]

    def loss(theta):
        parts, start = [], 0
        for shape, n in zip(shapes, sizes, strict=True):
            parts.append(theta[start : start + n].reshape(shape))
            start += n
        w1, b1, w2, b2 = parts
        return ops.cross_entropy(ops.linear(ops.tanh(ops.linear(x, w1, b1)), w2, b2), labels)

    theta = 0.5 * RNG.standard_normal(sum(sizes))
    h = bp.hessian(loss)(theta).numpy()
    g = bp.grad(loss)
    step = 1e-5
    differences = [(g(theta + e).numpy() - g(theta - e).numpy()) / (2 * step) for e in step * np.eye(len(theta))]
    close(h, differences, 1e-9)
    close(h, h.T, 1e-14)


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [bp.grad, bp.value_and_grad, bp.hessian])
@pytest.mark.parametrize("shape", [(4,), (1,)])
def test_05_a_gradient_needs_a_scalar(transform, shape):
    name = transform.__name__
    advice = "hessian. Reduce it." if name == "hessian" else "gradient. Reduce it, or use jacobian or vjp."
    message = f"{name}: the function returned shape {shape}; only a scalar has a {advice}"
    with refuses(RuntimeError, message):
        transform(lambda x: x[: shape[0]])(V)


@pytest.mark.parametrize("x", [2, True, [1, 2], np.ones(2, int), bp.Tensor([1, 2]), np.ones(2, bool)])
def test_11_arguments_must_be_floating(x):
    dtype = bp.Tensor(x).dtype
    for name, call in (
        ("grad", bp.grad(ops.sum)),
        ("value_and_grad", bp.value_and_grad(ops.sum)),
        ("jacobian", bp.jacobian(ops.sum)),
        ("hessian", bp.hessian(ops.sum)),
        ("vjp", lambda x: bp.vjp(ops.sum, x)),
    ):
        with refuses(TypeError, f"{name}: argument 0 has dtype {dtype}. Pass floats, such as 2.0."):
            call(x)


@pytest.mark.parametrize("transform", [bp.grad, bp.value_and_grad, bp.jacobian, bp.hessian, bp.vjp])
def test_what_is_differentiated_is_a_function(transform):
    x = bp.tensor(2.0, requires_grad=True)
    for arguments, kind in (((2.0,), "float"), ((x * x, x), "Tensor")):
        message = (
            f"{transform.__name__}: got a {kind}, not a function. Pass a function, or use bp.autograd.grad(outputs"
        )
        with refuses(TypeError, message):
            transform(*arguments)


@pytest.mark.parametrize("x", [1j, "a", object()])
def test_12_13_arguments_must_be_numbers(x):
    with refuses(TypeError, "grad: argument 0: dtype"):
        bp.grad(ops.sum)(x)
    with refuses(TypeError, "grad: argument 0 is None. Pass an array, a number or a container of them."):
        bp.grad(ops.sum)(None)


@pytest.mark.parametrize("result", [None, "a", [1.0, 2.0], (1.0,), 1j, ["a", np.ones(2)]])
def test_what_the_function_may_return(result):
    wrong = result[0] if isinstance(result, list) and result[0] == "a" else result
    for name, call in (
        ("grad", bp.grad(lambda x: result)),
        ("jacobian", bp.jacobian(lambda x: result)),
        ("vjp", lambda x: bp.vjp(lambda x: result, x)),
        ("jvp", lambda x: bp.jvp(lambda x: result, x, x)),
        ("hvp", lambda x: bp.hvp(lambda x: result, x, x)),
    ):
        with refuses(
            TypeError,
            f"{name}: the function returned a {type(wrong).__name__}. Return Tensors, arrays or numbers, or containers",
        ):
            call(V)


@pytest.mark.parametrize("result", [{}, [np.ones(2), np.ones(2)], np.ones((2, 1))])
def test_a_gradient_is_of_one_scalar(result):
    what = "shape (2, 1)" if isinstance(result, np.ndarray) else f"{len(result)} arrays"
    for name, call, kind in (
        ("grad", bp.grad(lambda x: result), "gradient. Reduce it, or use jacobian or vjp."),
        ("hessian", bp.hessian(lambda x: result), "hessian. Reduce it."),
        ("hvp", lambda x: bp.hvp(lambda x: result, x, x), "hessian. Reduce it."),
    ):
        with refuses(RuntimeError, f"{name}: the function returned {what}; only a scalar has a {kind}"):
            call(V)


@pytest.mark.parametrize("argnums", [2, -3, (0, 2)])
def test_argnums_out_of_range(argnums):
    k = argnums if isinstance(argnums, int) else 2
    with refuses(ValueError, f"grad: argnums {k} is out of range for 2 arguments. Count from 0."):
        bp.grad(f, argnums)(1.0, 2.0)
    if isinstance(argnums, int):
        with refuses(ValueError, f"jacobian: argnums {k} is out of range for 2 arguments. Count from 0."):
            bp.jacobian(f, argnums)(1.0, 2.0)


@pytest.mark.parametrize("argnums", [1.0, "0", None, [0, 1], (0, "1")])
def test_argnums_of_another_kind(argnums):
    with refuses(TypeError, f"grad: argnums is {argnums!r}. Pass an integer or a tuple of integers."):
        bp.grad(f, argnums)(1.0, 2.0)
    with refuses(TypeError, f"jacobian: argnums is {argnums!r}. Pass an integer."):
        bp.jacobian(f, argnums)(1.0, 2.0)
    with refuses(TypeError, "jacobian: argnums is (0, 1). Pass an integer."):
        bp.jacobian(f, (0, 1))(1.0, 2.0)
    with refuses(TypeError, "hessian: argnums is (0, 1). Pass an integer."):
        bp.hessian(f, (0, 1))(1.0, 2.0)


def test_06_a_vector_that_does_not_fit():
    _, pull = bp.vjp(lambda x: x * x, V)
    with refuses(ValueError, "vjp: the vector has shape (3,), not (4,). Pass one of that shape."):
        pull(np.ones(3))
    with refuses(TypeError, "vjp: the vector: dtype complex128 is not offered."):
        pull(np.ones(4) * 1j)


def test_an_exception_in_the_function_comes_through_and_restores_the_mode():
    def broken(x):
        raise ZeroDivisionError("on purpose")

    with bp.no_grad():
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            bp.grad(broken)(1.0)
        assert not bp.is_grad_enabled()
    assert bp.is_grad_enabled()


# ---- memory, threads, determinism --------------------------------------------------------------------------


def test_69_nothing_survives_a_transform():
    kept = []

    def g(x):
        h = ops.sin(x)
        kept.append(weakref.ref(h))
        return (h * h).sum()

    gc.collect()
    gc.disable()
    try:
        results = [bp.grad(g)(V), bp.value_and_grad(g)(V), bp.hessian(g)(V), bp.jacobian(g)(V)]
        y, pull = bp.vjp(g, V)
        assert kept.pop()() is not None
        del y, pull
        assert [node() for node in kept] == [None] * len(kept)
    finally:
        gc.enable()
    assert len(results) == 4


def test_72_threads_nest_for_themselves():
    def third(x):
        return bp.grad(bp.grad(bp.grad(lambda x: ops.exp(2.0 * x))))(x).item()

    xs = np.linspace(-1.0, 1.0, 64).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(third, xs)) == [third(x) for x in xs]


def test_60_the_same_bits_every_time():
    first, again = (bp.hessian(lambda x: ops.logsumexp(M @ x) * ops.sin(x).sum())(V).numpy() for _ in range(2))
    assert first.tobytes() == again.tobytes()
