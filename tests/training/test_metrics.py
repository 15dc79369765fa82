"""Metrics are what they say, add up over batches, and say which targets they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp.training import METRICS, Mean, Metric
from tinygrad_bp.training.metrics import chosen, usual

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 50)
SCORES = RNG.normal(size=(50, 4))
NUMBERS = RNG.normal(2000.0, 5.0, (50, 3)), RNG.normal(2000.0, 5.0, (50, 3))


def measured(name, outputs, targets, loss=None):
    (metric,) = chosen([name], loss or bp.nn.MSELoss(), "fit")
    assert not metric.misfit(outputs, targets)
    return metric.value(metric.sums(outputs, targets))


def f1_by_hand(predicted, true):
    """Precision and recall of every class that was met, their harmonic means averaged."""
    found = []
    for k in sorted({*predicted.tolist(), *true.tolist()}):
        hits = ((predicted == k) & (true == k)).sum()
        precision, recall = hits / max((predicted == k).sum(), 1), hits / max((true == k).sum(), 1)
        found.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return np.mean(found)


# ---- what they are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [LABELS, np.eye(4)[LABELS], np.eye(4, dtype=int)[LABELS]])
def test_classes_are_labels_or_one_hot(targets):
    predicted = SCORES.argmax(1)
    assert measured("accuracy", SCORES, targets) == (predicted == LABELS).mean()
    assert measured("f1", SCORES, targets) == pytest.approx(f1_by_hand(predicted, LABELS), rel=1e-14)


@pytest.mark.parametrize("shape", [(6, 1), (6,)])
def test_a_column_says_1_above_a_half_and_a_logit_above_0(shape):
    outputs = np.array([-0.2, 0.2, 0.4, 0.6, 0.7, 2.0]).reshape(shape)
    targets = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0]).reshape(shape)
    assert measured("accuracy", outputs, targets, bp.nn.BCELoss()) == 4 / 6
    assert measured("accuracy", outputs, targets, bp.nn.MSELoss()) == 4 / 6
    assert measured("accuracy", outputs, targets, bp.nn.BCEWithLogitsLoss()) == 4 / 6
    assert measured("accuracy", outputs - 0.3, targets, bp.nn.BCEWithLogitsLoss()) == 5 / 6
    assert measured("accuracy", outputs, targets, bp.nn.functional.binary_cross_entropy_with_logits) == 4 / 6
    said, true = (outputs > 0.5).ravel().astype(int), targets.ravel().astype(int)
    assert measured("f1", outputs, targets) == pytest.approx(f1_by_hand(said, true), rel=1e-14)


def test_every_position_of_a_sequence_is_a_row_and_ignored_labels_do_not_count():
    scores, labels = RNG.normal(size=(5, 4, 7)), RNG.integers(0, 4, (5, 7))
    right = scores.argmax(1) == labels
    assert measured("accuracy", scores, labels, bp.nn.CrossEntropyLoss()) == right.mean()
    for ignored, loss in ((2, bp.nn.CrossEntropyLoss(ignore_index=2)), (-100, bp.nn.NLLLoss())):
        some = np.where(labels == 2, ignored, labels)
        assert measured("accuracy", scores, some, loss) == right[labels != 2].mean()
        counts = labels != 2
        by_hand = f1_by_hand(scores.argmax(1)[counts], labels[counts])
        assert measured("f1", scores, some, loss) == pytest.approx(by_hand, rel=1e-14)
        if ignored == -100:
            assert measured("accuracy", scores, some, bp.nn.functional.nll_loss) == right[labels != 2].mean()
    nothing = np.full((5, 7), -100)
    assert all(math.isnan(measured(name, scores, nothing, bp.nn.NLLLoss())) for name in ("accuracy", "f1"))


def test_numbers():
    outputs, targets = NUMBERS
    errors = outputs - targets
    assert measured("mae", outputs, targets) == pytest.approx(np.abs(errors).mean(), rel=1e-14)
    assert measured("rmse", outputs, targets) == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-14)
    spread = ((targets - targets.mean(0)) ** 2).sum(0)
    assert measured("r2", outputs, targets) == pytest.approx((1 - (errors**2).sum(0) / spread).mean(), rel=1e-8)
    assert measured("r2", targets, targets) == 1.0


def test_r2_of_what_does_not_vary_is_nan():
    for value in np.linspace(0.1, 1000.0, 50):  # of some the squares add up to a little more than they should
        constant = np.full((21, 1), value)
        assert math.isnan(measured("r2", constant + 0.5, constant))


def test_r2_is_of_the_columns_that_vary():
    targets = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    outputs = targets + np.array([[0.5], [0.0], [-0.25]])
    assert measured("r2", outputs, targets) == measured("r2", outputs[:, :1], targets[:, :1])


def test_float32_is_summed_in_float64():
    targets = np.zeros((100_000, 1), np.float32)
    assert measured("mae", targets + np.float32(0.1), targets) == pytest.approx(np.float32(0.1), rel=1e-12)


@given(
    cuts=st.lists(st.integers(0, 50), max_size=4).map(lambda cuts: [0, *sorted(cuts), 50]),
    name=st.sampled_from([*METRICS]),
)
def test_sums_of_batches_are_those_of_all_rows(cuts, name):
    outputs, targets = (SCORES, LABELS) if name in ("accuracy", "f1") else NUMBERS
    (metric,) = chosen([name], bp.nn.CrossEntropyLoss(), "fit")
    parts = [metric.sums(outputs[a:b], targets[a:b]) for a, b in zip(cuts[:-1], cuts[1:])]
    whole = metric.sums(outputs, targets)
    assert all(part.shape == whole.shape and part.ndim == 1 for part in parts)
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-13)


def test_a_function_is_averaged_over_the_rows():
    def worst(outputs, targets):
        return abs(outputs - targets).max()

    metric = Mean(worst, higher_is_better=False)
    sums = sum(metric.sums(np.zeros(len(rows)), np.array(rows)) for rows in ([1.0, 3.0, 2.0], [5.0]))
    assert (metric.name, metric.value(sums), metric.higher_is_better) == ("worst", (3 * 3.0 + 5.0) / 4, False)


# ---- which --------------------------------------------------------------------------------------------------------


def test_the_usual_is_accuracy_where_the_targets_are_classes():
    def names(outputs, targets):
        return [metric.name for metric in usual(bp.nn.MSELoss(), np.asarray(outputs), np.asarray(targets))]

    assert names(SCORES, LABELS) == names(SCORES, np.eye(4)[LABELS]) == ["accuracy"]
    assert names(np.zeros((3, 1)), [[0.0], [1.0], [1.0]]) == names(np.zeros((2, 1)), [[True], [False]]) == ["accuracy"]
    for targets in (np.zeros((4, 2)), np.zeros((4, 2), int), np.full((4, 2), 0.5), np.eye(3), np.arange(4.0)):
        assert names(np.zeros((4, 2)), targets) == []
    assert names(np.zeros((3, 1)), [[0.0], [1.0], [2.0]]) == names(np.zeros((3, 1)), [0, 1, 0]) == []
    assert names(3.0, 1.0) == names(np.zeros(3), 1) == []


def test_labels_that_only_a_loss_of_ones_own_can_leave_out_are_no_classes():
    labels = np.array([0, -1, 2])
    assert usual(max, np.zeros((3, 4)), labels) == []
    assert usual(max, np.zeros((3, 4)), abs(labels)) != []
    assert METRICS["f1"].of(bp.nn.CrossEntropyLoss(ignore_index=-1)).misfit(np.zeros((3, 4)), labels) == ""
    assert METRICS["f1"].of(max).misfit(np.zeros((3, 4)), labels).startswith("needs class labels (n,) >= 0, one-hot")


def test_the_threshold_is_that_of_the_loss_for_the_usual_too():
    outputs, targets = np.array([[0.25], [-0.5]]), np.array([[1.0], [0.0]])
    for loss, right in ((bp.nn.BCEWithLogitsLoss(), 1.0), (bp.nn.BCELoss(), 0.5)):
        (accuracy,) = usual(loss, outputs, targets)
        assert accuracy.value(accuracy.sums(outputs, targets)) == right


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["acuracy"], r'^fit: there is no metric "acuracy"\. Did you mean "accuracy"\?$'),
        (["zzz"], r'^fit: there is no metric "zzz"\. Choose accuracy, f1, mae, rmse, r2\.$'),
        (["mae", "mae"], r'^fit: the name "mae" of a metric is taken\. Give each one of its own\.$'),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(metrics, message):
    with pytest.raises(ValueError, match=message):
        chosen(metrics, bp.nn.MSELoss(), "fit")


@pytest.mark.parametrize("name", ["loss", "epoch", "val_accuracy", "seconds"])
def test_names_of_records_are_taken(name):
    def metric(outputs, targets):
        return 0.0

    metric.__name__ = name
    with pytest.raises(ValueError, match=f'the name "{name}" of a metric is taken'):
        chosen([metric], bp.nn.MSELoss(), "fit")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("accuracy", r"fit: metrics is 'accuracy'\. Pass a list, such as \[\"accuracy\"\]"),
        (7, r"fit: metrics is 7\. Pass a list"),
        ([7], r"fit: 7 is no metric\. Pass a name, a Metric or a function of outputs and targets"),
        ([Mean], r"fit: <class .*Mean'> is no metric"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, message):
    with pytest.raises(TypeError, match=message):
        chosen(metrics, bp.nn.MSELoss(), "fit")


def test_a_metric_without_its_methods_says_so():
    class Half(Metric):
        pass

    assert Half().name == "half"
    with pytest.raises(NotImplementedError, match=r"Half: has no sums\. Define sums\(self, outputs, targets\)"):
        Half().sums(SCORES, LABELS)
    with pytest.raises(NotImplementedError, match=r"Half: has no value\. Define value\(self, sums\)"):
        Half().value(np.zeros(1))
