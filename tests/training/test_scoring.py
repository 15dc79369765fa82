"""A model is looked at without a trace, in chunks that do not show."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp.training import evaluate, predict, probabilities
from tinygrad_bp.training.scoring import ROWS

F = bp.nn.functional
RNG = np.random.default_rng(0)
MANY = RNG.normal(size=(2 * ROWS + 44, 6)), RNG.integers(0, 3, 2 * ROWS + 44)


class Noise(bp.nn.Module):
    """Adds 1 in training and nothing else; remembers how many rows it was given at once."""

    def __init__(self):
        self._given, self._recorded = [], []

    def forward(self, input):
        self._given.append(len(input))
        self._recorded.append(bp.is_grad_enabled())
        return input + 1.0 if self.training else input


def net():
    bp.manual_seed(0)
    return bp.nn.Sequential(bp.nn.Linear(6, 3), Noise(), bp.nn.Dropout(0.5))


def test_the_rows_go_through_in_chunks_and_come_out_as_one_array():
    model = net()
    outputs = predict(model, MANY[0])
    assert type(outputs) is np.ndarray
    assert model[1]._given == [ROWS, ROWS, 44]
    expected = MANY[0] @ model[0].weight.data.T + model[0].bias.data
    np.testing.assert_allclose(outputs, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(predict(model, bp.Tensor(MANY[0])), outputs)


@pytest.mark.parametrize(
    "loss",
    [
        *(bp.nn.CrossEntropyLoss(reduction=reduction) for reduction in ("mean", "sum")),
        bp.nn.CrossEntropyLoss(weight=[1.0, 5.0, 0.1]),
        bp.nn.CrossEntropyLoss(ignore_index=1),
        F.cross_entropy,
    ],
)
def test_the_loss_is_that_of_all_rows_together(loss):
    X, y = MANY
    model = net()
    scores = evaluate(model, loss, X, y)
    cost = loss(model.eval()(X), y).item()
    assert scores["loss"] == pytest.approx(
        cost / len(X) if getattr(loss, "reduction", "") == "sum" else cost, rel=1e-13
    )
    assert list(scores) == ["loss", "accuracy", "rows"]
    assert scores["rows"] == len(X)


def test_what_is_asked_for_is_measured():
    outputs, targets = np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]])

    def largest(outputs, targets):
        return outputs.max()

    scores = evaluate(bp.nn.Identity(), bp.nn.MSELoss(), outputs, targets, ["mae", largest])
    assert scores == {"loss": 2.0, "mae": 1.0, "largest": 3.0, "rows": 2}
    assert evaluate(bp.nn.Identity(), bp.nn.MSELoss(), outputs, targets, []) == {"loss": 2.0, "rows": 2}
    perfect = evaluate(bp.nn.Identity(), bp.nn.CrossEntropyLoss(), 1000 * np.eye(3), np.arange(3))
    assert perfect == {"loss": 0.0, "accuracy": 1.0, "rows": 3}


@pytest.mark.parametrize(
    ("metric", "targets", "message"),
    [
        (
            "accuracy",
            np.full((4, 3), 0.5),
            r"evaluate: accuracy needs class labels \(n,\) >= 0, one-hot .*; the outputs",
        ),
        ("f1", np.zeros(4), r"f1 needs .*outputs have shape \(4, 3\), the targets \(4,\) and dtype float64\. Choose a"),
        ("mae", np.arange(4) % 3, r"mae compares numbers, entry by entry; the outputs have shape \(4, 3\), the targ"),
    ],
)
def test_a_metric_that_does_not_fit_the_targets_is_refused(metric, targets, message):
    with pytest.raises(ValueError, match=message):
        evaluate(bp.nn.Identity(), lambda outputs, _: outputs.sum(), np.zeros((4, 3)), targets, [metric])


def test_every_mode_is_put_back_and_nothing_recorded():
    model = bp.nn.Sequential(bp.nn.Linear(1, 1), Noise())
    model[1].eval()  # frozen on purpose, inside a model that trains
    seen = []
    evaluate(model, lambda outputs, _: seen.append(outputs) or outputs.sum(), np.ones((2, 1)), np.ones((2, 1)))
    assert (model.training, model[0].training, model[1].training) == (True, True, False)
    assert not seen[0].requires_grad
    assert model[1]._recorded == [False]
    with pytest.raises(ValueError, match="linear"):
        evaluate(model, bp.nn.MSELoss(), np.ones((2, 3)), np.ones((2, 1)))
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


def test_what_is_no_array_of_rows_goes_through_as_a_whole():
    assert predict(bp.nn.Identity(), [[1.0], [2.0]]).tolist() == [[1.0], [2.0]]
    model = Noise()
    assert predict(model, np.ones(1000)).shape == (1000,)
    assert model._given == [1000]
    assert predict(net(), MANY[0][:0]).shape == (0, 3)


def test_a_model_must_give_a_row_for_a_row():
    class Mean(bp.nn.Module):
        def forward(self, x):
            return x.mean(0)

    with pytest.raises(ValueError, match=r"predict: the model gave shape \(6,\) for 256 rows\. Let it give one row"):
        predict(Mean(), bp.Tensor(MANY[0]))


def test_probabilities():
    logits = RNG.normal(size=(5, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities(bp.nn.CrossEntropyLoss(), logits), shares, rtol=1e-14)
    np.testing.assert_allclose(probabilities(bp.nn.NLLLoss(), np.log(shares)), shares, rtol=1e-14)
    np.testing.assert_allclose(probabilities(bp.nn.BCEWithLogitsLoss(), logits), 1 / (1 + np.exp(-logits)), rtol=1e-14)
    np.testing.assert_array_equal(probabilities(bp.nn.BCELoss(), shares), shares)
    np.testing.assert_array_equal(
        probabilities(F.cross_entropy, bp.Tensor(logits)), probabilities(bp.nn.CrossEntropyLoss(), logits)
    )
    images = np.moveaxis(logits.reshape(1, 5, 3), 2, 1)  # classes are axis 1
    np.testing.assert_allclose(
        np.moveaxis(probabilities(bp.nn.CrossEntropyLoss(), images), 1, 2)[0], shares, rtol=1e-14
    )
    np.testing.assert_allclose(probabilities(bp.nn.CrossEntropyLoss(), logits[0]), shares[0], rtol=1e-14)


@pytest.mark.parametrize(("loss", "name"), [(bp.nn.MSELoss(), "MSELoss"), (F.mse_loss, "mse_loss")])
def test_outputs_of_other_losses_are_no_probabilities(loss, name):
    with pytest.raises(ValueError, match=f"probabilities: the outputs of a model trained with {name} are none. Train"):
        probabilities(loss, np.zeros((2, 2)))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_rows_have_no_score(reduction):
    with pytest.raises(ValueError, match=r"^evaluate: X has no rows\. Pass at least one\.$"):
        evaluate(bp.nn.Linear(2, 1), bp.nn.MSELoss(reduction), np.ones((0, 2)), np.ones((0, 1)))
