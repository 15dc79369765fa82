"""bp.Function: forward and backward as two methods, to any order, for several outputs and other arguments."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.checks import refuses
from tests.differences import assert_close

X, Y = np.array([0.3, -1.2, 2.0]), np.array([1.5, 0.4, -0.7])


class Product(bp.Function):
    """x * y from saved inputs."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * y, g * x


class Exp(bp.Function):
    """exp(x) from the saved output."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class Polar(bp.Function):
    """Two outputs of two shapes, an integer one between them, and an argument that is no tensor."""

    @staticmethod
    def forward(ctx, x, y, scale):
        r = np.sqrt((x * x + y * y).sum()) * scale
        ctx.scale = scale
        ctx.save_for_backward(x, y, r)
        return r, np.arange(3), np.arctan2(y, x)

    @staticmethod
    def backward(ctx, dr, dn, dphi):
        x, y, r = ctx.saved_tensors
        assert dn.dtype.kind == "i"
        d = x * x + y * y
        squared = ctx.scale * ctx.scale
        return dr * x * squared / r - dphi * y / d, dr * y * squared / r + dphi * x / d, None


def polar(x, y):
    r, _, phi = Polar.apply(x, y, 3.0)
    return r * r * phi


@pytest.mark.parametrize(
    ("f", "plain", "inputs"),
    [
        (Product.apply, lambda x, y: x * y, (X, Y)),
        (lambda x: Product.apply(x, x), lambda x: x * x, (X,)),
        (Exp.apply, np.exp, (X,)),
        (lambda x: Exp.apply(Product.apply(Exp.apply(x), x)), lambda x: np.exp(np.exp(x) * x), (X,)),
        (polar, lambda x, y: 9.0 * (x * x + y * y).sum() * np.arctan2(y, x), (X, Y)),
    ],
)
def test_gradients_of_three_orders_are_those_of_the_rows(f, plain, inputs):
    def derived(f, order, *xs):
        return f(*xs) if order == 0 else bp.grad(lambda *xs: (derived(f, order - 1, *xs) ** 2).sum())(*xs)

    for order in range(4):
        found, wanted = (derived(function, order, *map(bp.Tensor, inputs)) for function in (f, plain))
        assert_close(found.data, wanted.data, f"order {order}", 1e-12)
    assert bp.gradcheck(f, *inputs, order=2)


def test_arrays_in_arrays_or_tensors_of_arrays_out():
    assert Product.apply(X, Y).tolist() == (X * Y).tolist()
    r, n, phi = Polar.apply(bp.Tensor(X), Y, 1.0)
    assert not r.requires_grad and not phi.requires_grad
    assert n.tolist() == [0, 1, 2]


def test_what_needs_a_gradient_is_told():
    asked = []

    class Told(bp.Function):
        @staticmethod
        def forward(ctx, x, y, n):
            return x + y

        @staticmethod
        def backward(ctx, g):
            asked.append(ctx.needs_input_grad)
            return g, g, None

    Told.apply(bp.Tensor(X, requires_grad=True), bp.Tensor(Y), 2).sum().backward()
    assert asked == [(True, False, False)]


def test_what_is_marked_has_no_derivative():
    class Halves(bp.Function):
        @staticmethod
        def forward(ctx, x):
            rest = x - np.floor(x)
            whole = x - rest
            ctx.mark_non_differentiable(whole)
            return whole, rest

        @staticmethod
        def backward(ctx, dwhole, drest):
            assert not dwhole.data.any()
            return drest

    x = bp.Tensor(X, requires_grad=True)
    whole, rest = Halves.apply(x)
    assert not whole.requires_grad
    assert rest.requires_grad
    (whole + rest).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_dtypes_are_kept():
    class Two(bp.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x.astype(np.float64) * 3

        @staticmethod
        def backward(ctx, a, b):
            assert (a.dtype, b.dtype) == (np.float32, np.float64)
            return a * 2 + b * 3

    x = bp.Tensor(X.astype(np.float32), requires_grad=True)
    a, b = Two.apply(x)
    assert (a.dtype, b.dtype) == (np.float32, np.float64)
    (a.sum() + b.sum()).backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [5.0, 5.0, 5.0]


def test_in_a_compiled_step():
    def step(x, y):
        x = bp.Tensor(x, requires_grad=True)
        loss = (polar(Exp.apply(x), bp.Tensor(y)) ** 2).sum()
        loss.backward()
        return loss, x.grad

    compiled = bp.compile(step)
    for scale in (1.0, 0.7):
        for a, b in zip(compiled(X * scale, Y), step(X * scale, Y), strict=True):
            assert_close(a.data, b.data, "compiled", 1e-14)
    assert len(compiled.recordings) == 1


def test_nothing_outlives_its_graph():
    gc.disable()
    try:
        x = bp.Tensor(X, requires_grad=True)
        y = Exp.apply(x)
        found = weakref.ref(y)
        polar(y, Y).sum().backward()
        del y
        assert found() is None
    finally:
        gc.enable()


def test_an_intermediate_may_be_saved_for_one_derivative_only():
    class Saves(bp.Function):
        @staticmethod
        def forward(ctx, x):
            e = np.exp(x)
            ctx.save_for_backward(e, np.argsort(x.data))
            return e + 1.0

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = bp.Tensor(X, requires_grad=True)
    Saves.apply(x).sum().backward()
    assert_close(x.grad.data, np.exp(X), "gradient", 0.0)
    with refuses(RuntimeError, "backward: 'Saves' saved a tensor of shape (3,) that is neither input nor output"):
        bp.autograd.grad(Saves.apply(x).sum(), x, create_graph=True)


@pytest.mark.parametrize(
    ("forward", "backward", "error", "message"),
    [
        (None, None, NotImplementedError, "Function: has no forward. Define forward(ctx, *args) in the class"),
        (lambda ctx, x: x * 2, None, NotImplementedError, "Function: has no backward. Define backward(ctx, g)"),
        (lambda ctx, x: "a", None, TypeError, "Wrong: its forward returned a str. Return Tensors or arrays."),
        (
            lambda ctx, x: x * 2,
            lambda ctx, g: (g, g),
            RuntimeError,
            "backward: 'Wrong' takes 1 arguments, its backward returned 2 gradients. Return one for each",
        ),
        (
            lambda ctx, x: x * 2,
            lambda ctx, g: g[:1],
            None,
            None,
        ),
        (
            lambda ctx, x: x * 2,
            lambda ctx, g: np.ones((2, 2)),
            RuntimeError,
            "backward: the partial of 'Wrong' for input 0 returned shape (2, 2), the input has (3,).",
        ),
    ],
)
def test_what_is_refused(forward, backward, error, message):
    methods = {"forward": forward, "backward": backward}
    wrong = type("Wrong", (bp.Function,), {name: staticmethod(f) for name, f in methods.items() if f})
    x = bp.Tensor(X, requires_grad=True)
    if error is None:
        with refuses(RuntimeError, "returned shape (1,), the input has (3,)."):
            wrong.apply(x).sum().backward()
        return
    with refuses(error, message):
        wrong.apply(x).sum().backward()
