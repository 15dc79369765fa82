"""One forward at two batch sizes: what is found in it, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn
from tinygrad_bp.exporting.paired import Paired, Rows, Value, paired

N = Rows(1, 0)
X = np.linspace(-1.0, 1.0, 12).reshape(4, 3)


class Called(nn.Module):
    """A function of x as a module, with a few tensors of its own."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.weight = nn.Parameter([[1.0, 2.0, 3.0]])
        self.known = bp.tensor([[4.0, 5.0, 6.0]])

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def found(function: Any, x: Any = X) -> Paired:
    return paired(Called(function), x)


def rows(found: Paired) -> list[str]:
    return [value.op for value in found.body]


# ---- what is found ------------------------------------------------------------------------------------------------


def test_a_net() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)))
    x, body, (y,) = paired(net, X)
    assert (x.kind, x.shape, x.dtype, x.name) == ("input", (N, 3), np.float64, "x")
    assert [(value.op, value.path, value.shape) for value in body] == [
        ("linear", "0", (N, 4)),
        ("tanh", "1.0", (N, 4)),
        ("linear", "1.1", (N, 2)),
    ]
    assert y is body[-1]
    assert body[0].inputs[0] is x
    assert [(p.kind, p.name, p.data is q.data) for p, q in zip(body[0].inputs[1:], net[0].parameters())] == [
        ("parameter", "0.weight", True),
        ("parameter", "0.bias", True),
    ]
    assert all(value.is_known for value in body)
    assert y.data.shape == (2, 2)


def test_sizes_that_depend_on_the_rows() -> None:
    assert found(lambda x: np.concatenate([x, x, x[:1]])).outputs[0].shape == (Rows(2, 1), 3)
    assert found(lambda x: x.reshape(x.shape[0] * 3)).body[0].params == (Rows(3, 0),)
    assert found(lambda x: x.reshape(x.shape[0], -1, 1)).body[0].params == ((N, -1, 1),)
    (index,) = found(lambda x: x[: x.shape[0] - 1, 0]).body[0].params
    assert index == (slice(None, Rows(1, -1), None), 0)
    assert found(lambda x: x * x.shape[0]).body[0].inputs[1] == N
    assert found(lambda x: x @ x.T).outputs[0].shape == (N, N)
    assert [Rows(3, -2).at(n) for n in (1, 2, 9)] == [1, 4, 25]


def test_arrays_as_long_as_the_batch_keep_one_row() -> None:
    (value,) = found(lambda x: x + np.zeros((3, x.shape[0], 1))).body
    zeros = value.inputs[1]
    assert (zeros.kind, zeros.shape, zeros.data.shape, zeros.is_fixed) == ("constant", (3, N, 1), (3, 1, 1), False)


def test_what_does_not_depend_on_x_is_a_constant() -> None:
    model = Called(lambda x: x * np.exp(model.weight[:, ::-1]) + model.known)
    product, total = paired(model, X).body
    assert (product.op, total.op) == ("multiply", "add")
    assert product.inputs[1].kind == "constant"
    assert np.array_equal(product.inputs[1].data, np.exp([[3.0, 2.0, 1.0]]))
    assert (total.inputs[1].kind, total.inputs[1].name) == ("parameter", "known")
    (value,) = found(lambda x: np.broadcast_to(Called(None).weight, (x.shape[0], 3)), X).body
    assert (value.op, value.params) == ("broadcast_to", ((N, 3),))  # it does depend on how many rows there are


def test_rows_of_a_parameter_are_as_many_as_it_has() -> None:
    model = Called(lambda x: x.sum() * model.two[: x.shape[0]])
    model.two = nn.Parameter([[1.0], [2.0]])  # of which one row is wanted where x has one
    assert rows(paired(model, X)) == ["sum", "getitem", "multiply"]


def test_constants_that_are_no_numbers_or_look_like_the_input() -> None:
    assert found(lambda x: x + np.array([np.nan, 1.0, 2.0])).body[0].inputs[1].kind == "constant"
    model = Called(lambda x: model.weight[x][:, 0] + np.zeros(x.shape[0]))
    assert paired(model, np.zeros(3, int)).body[-1].inputs[1].kind == "constant"


def test_an_index_that_is_the_input() -> None:
    x = np.array([[0, 2], [1, 1], [3, 0]])
    given, (value,), _ = paired(nn.Embedding(4, 5), x)
    assert given.dtype == np.int64
    assert value.op == "getitem"
    assert value.params[0] is given
    assert value.shape == (N, 2, 5)


def test_frozen_parameters_are_followed_too() -> None:
    model = nn.Embedding(4, 5)
    model.weight.requires_grad = False
    assert rows(paired(model, np.array([0, 3]))) == ["getitem"]
    assert not model.weight.requires_grad


def test_several_outputs_are_flattened_in_their_order() -> None:
    outputs = paired(nn.LSTM(3, 2), np.zeros((1, 4, 3))).outputs
    assert [y.shape for y in outputs] == [(N, 4, 2), (1, 4, 2), (1, 4, 2)]
    x, body, outputs = found(lambda x: [x, (x, None)])
    assert outputs == [x, x]
    assert not body


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[1].eval()
    before, drawn = model.state_dict(), bp.random.generator().bit_generator.state
    with bp.no_grad():
        assert rows(paired(model, X)) == ["linear", "subtract", "multiply", "add"]
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert bp.random.generator().bit_generator.state == drawn
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match=r"^export: 2: "):
        paired(nn.Sequential(model[0], model[1], Called(lambda x: bp.tensor(x.data))), X)
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_long_recipes() -> None:
    def many(x: Any) -> Any:
        for _ in range(3000):
            x = x + 1.0
        return x

    assert len(found(many).body) == 3000


def test_one_row_is_enough() -> None:
    assert rows(found(lambda x: x - x.mean(0), X[:1])) == ["mean", "subtract"]
    assert rows(found(np.exp, np.ones(1, np.float32))) == ["exp"]


def test_own_rows_are_not_known_by_the_name_of_another() -> None:
    own = bp.primitive("exp", lambda x: x * x, lambda g, y, x: 2.0 * g * x)
    assert [(value.op, value.is_known) for value in found(lambda x: own(np.exp(x))).body] == [
        ("exp", True),
        ("exp", False),
    ]


# ---- what is refused ----------------------------------------------------------------------------------------------

UNSEEN = r"differs from call to call, and no recipe tells why\. Compute it from x as a Tensor of floats, without detach"
OTHER = (
    r"what is computed of 5 rows is not what 2 and 3 rows show\. Compute the same of each row, and draw no numbers\."
)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + bp.tensor(x.data * 2.0), r"0: an array of shape \(2, 3\), float64, " + UNSEEN),
        (lambda x: bp.tensor(x.data * 2.0), r"0: an array of shape \(2, 3\), float64, " + UNSEEN),
        (lambda x: x[np.argsort(x.data[:, 0])], r"0: an array of shape \(2,\), int64, " + UNSEEN),
        (lambda x: x + (np.arange(x.shape[0]) // 2)[:, None], r"0: an array of shape \(2, 1\), int64, " + UNSEEN),
        (lambda x: x * RNG.normal(), r"0: multiply is given [-.\d]+ for 2 rows and [-.\d]+ for 3\. Give it the same"),
        (
            lambda x: x + (x[0] if x.shape[0] > 2 else X[0]),
            r"0: add is given a ndarray for 2 rows and a Tensor for 3\. ",
        ),
        (lambda x: x / (1.0 / x.shape[0]), r"0: divide is given 0\.5 for 2 rows and 0\.33+ for 3\. Give it the same"),
        (lambda x: x.sum(0) if x.shape[0] > 2 else x.mean(0), r"0: 2 rows are computed by mean, 3 by sum\. Compute"),
        (lambda x: x if x.shape[0] > 2 else -x, r"0: 2 rows are computed by negative, 3 by nothing\. Compute the same"),
        (lambda x: x.sum() if x.shape[0] > 4 else x.mean(), OTHER),
        (lambda x: x.exp() if x.shape[0] > 4 else x, OTHER),
        (lambda x: x[::2], r"0: " + OTHER),
        (lambda x: (x @ x.T).reshape(-1), r"0: " + OTHER),
    ],
)
def test_what_depends_on_the_rows_unseen(function: Any, message: str) -> None:
    for x in (X, X[:1]):
        with pytest.raises(ValueError, match=rf"^export: (the model: )?{message}"):
            paired(nn.Sequential(Called(function)), x)


def test_branches_on_the_numbers_are_found_in_the_check() -> None:
    x = np.zeros((5, 1))
    x[2] = 9.0
    with pytest.raises(ValueError, match=OTHER):
        found(lambda x: x * (2.0 if x.shape[0] == 5 else 1.0), x)


def test_one_row_many_and_the_rows_that_were_given_are_tried() -> None:
    for n, function in [
        (33, lambda x: x * min(len(x), 7)),
        (64, lambda x: x * (2.0 if len(x) > 40 else 1.0)),
        (1, lambda x: x if len(x) > 1 else -x),
    ]:
        with pytest.raises(ValueError, match=rf"what is computed of {n} rows is not what 2 and 3 rows show"):
            found(function, np.ones((64, 3)))
    assert rows(found(lambda x: x[1:] - x.reshape(-1, 3)[:-1])) == ["getitem", "reshape", "getitem", "subtract"]
    assert rows(found(lambda x: x - x[1])) == ["getitem", "subtract"]  # which takes no single row


def test_structures_that_differ_in_what_they_share() -> None:
    def function(x: Any) -> Any:
        a, b = x.exp(), x.exp()
        return a + (b if x.shape[0] > 2 else a)

    message = r"^export: the model: what is computed depends on the rows\. Compute the same of any rows\.$"
    with pytest.raises(ValueError, match=message):
        found(function)


def test_backward_inside_of_the_model() -> None:
    def function(x: Any) -> Any:
        y = (x * x).sum()
        y.backward()
        return y

    with pytest.raises(ValueError, match=r"^export: the model: 2 rows are computed by sum.*without backward\(\)\.$"):
        found(function)


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.float64(1.0), np.array(["a"]), np.zeros((2, 0))])
def test_x_must_be_rows_of_numbers(x: Any) -> None:
    with pytest.raises(ValueError, match=r"^export: x is \S+ of shape \(.*\)\. Pass at least one row of numbers\.$"):
        found(np.exp, x)


def test_the_model_must_be_a_module_that_returns_tensors() -> None:
    with pytest.raises(TypeError, match=r"^export: the model is a function\. Pass a Module\.$"):
        paired(lambda x: x, X)
    with pytest.raises(TypeError, match=r"^export: the model returns a dict\. Return a Tensor, or a tuple of them\.$"):
        found(lambda x: {"y": x})
    message = r"^export: the model returns 2 tensors for 2 rows and 3 for 3\. Return as many for any rows\.$"
    with pytest.raises(ValueError, match=message):
        found(lambda x: [*x])


def test_a_value_says_little() -> None:
    assert "data" not in repr(Value("input", "", (), (), (N,), np.dtype(float), np.zeros(2)))
