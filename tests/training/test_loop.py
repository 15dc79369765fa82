"""fit is the loop one would write, and its numbers are what they say."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp.data import DataLoader, digits, train_test_split
from tinygrad_bp.optim import lr_scheduler

X_TRAIN, X_TEST, Y_TRAIN, Y_TEST = train_test_split(*digits(), test=0.2, seed=1)
X_TRAIN, Y_TRAIN = X_TRAIN[:100], Y_TRAIN[:100]


def digits_net(loss=None, lr=0.1):
    bp.manual_seed(5)
    model = bp.nn.Sequential(bp.nn.Linear(64, 16), bp.nn.Tanh(), bp.nn.Linear(16, 10))
    return model, loss or bp.nn.CrossEntropyLoss(), bp.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def batches(size=32):
    return DataLoader(X_TRAIN, Y_TRAIN, batch_size=size, shuffle=True, seed=7)


def state(model):
    return {name: array.tobytes() for name, array in model.state_dict().items()}


def without_seconds(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


class Noise(bp.nn.Module):
    """Adds 1 in training and nothing else."""

    def forward(self, input):
        return input + 1.0 if self.training else input


def test_it_is_the_loop_written_by_hand():
    by_hand, loss, optimizer = digits_net()
    loader = batches()
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            loss(by_hand(x), y).backward()
            optimizer.step()
    model, *rest = digits_net()
    bp.fit(model, *rest, batches(), epochs=3, validation=(X_TEST, Y_TEST))
    assert state(model) == state(by_hand)


def test_the_same_seeds_give_the_same_run_bit_for_bit():
    runs = []
    for _ in range(2):
        model, *rest = digits_net()
        runs.append((without_seconds(bp.fit(model, *rest, batches(), 3, validation=(X_TEST, Y_TEST))), state(model)))
    assert runs[0] == runs[1]


def test_a_record_counts_every_row_once_with_the_weights_it_met():
    model, loss, _ = digits_net()
    still = bp.optim.SGD(model.parameters(), lr=0.0)
    (record,) = bp.fit(model, loss, still, batches(size=32), 1, validation=(X_TEST, Y_TEST))  # 32, 32, 32 and 4 rows
    logits = model(X_TRAIN).data
    shifted = logits - logits.max(axis=1, keepdims=True)
    costs = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(100), Y_TRAIN]
    assert record["epoch"] == 1
    assert record["loss"] == pytest.approx(costs.mean(), rel=1e-12)
    assert record["accuracy"] == (logits.argmax(axis=1) == Y_TRAIN).mean()
    assert record["val_accuracy"] == (model(X_TEST).data.argmax(axis=1) == Y_TEST).mean()
    assert record["val_loss"] == pytest.approx(loss(model(X_TEST), Y_TEST).item(), rel=1e-12)
    assert record["seconds"] > 0


def test_a_summed_loss_is_reported_per_row():
    records = []
    for reduction in ("mean", "sum"):
        model, loss, _ = digits_net(bp.nn.CrossEntropyLoss(reduction=reduction))
        still = bp.optim.SGD(model.parameters(), lr=0.0)
        records += bp.fit(model, loss, still, batches(), 1, validation=(X_TEST, Y_TEST))
    mean, total = records
    assert total["loss"] == pytest.approx(mean["loss"], rel=1e-12)
    assert total["val_loss"] == pytest.approx(mean["val_loss"], rel=1e-12)


@pytest.mark.parametrize("targets", [np.zeros((4, 2)), np.zeros((4, 2), dtype=int)])
def test_without_class_labels_there_is_no_accuracy(targets):
    model = bp.nn.Linear(3, 2)
    loader = [(np.ones((4, 3)), targets)]
    (record,) = bp.fit(model, bp.nn.MSELoss(), bp.optim.SGD(model.parameters(), lr=0.1), loader, 1, validation=loader[0])
    assert list(record) == ["epoch", "loss", "val_loss", "seconds"]


def test_a_plain_function_is_a_loss_and_tensors_are_data():
    model = bp.nn.Linear(3, 2)
    loader = [(bp.ones(4, 3), bp.tensor([0, 1, 0, 1]))]
    optimizer = bp.optim.SGD(model.parameters(), lr=0.1)
    history = bp.fit(model, bp.nn.functional.cross_entropy, optimizer, loader, 2)
    assert [record["accuracy"] for record in history] == [0.5, 0.5]


def test_on_epoch_sees_each_record_at_once_and_can_stop():
    model, *rest = digits_net()
    seen = []

    def stop_at_two(record):
        seen.append(record)
        if record["epoch"] == 2:
            raise StopIteration

    with pytest.raises(StopIteration):
        bp.fit(model, *rest, batches(), epochs=5, on_epoch=stop_at_two)
    assert [record["epoch"] for record in seen] == [1, 2]


def test_training_is_in_train_mode_and_scoring_in_eval_mode():
    model = bp.nn.Sequential(bp.nn.Linear(1, 1), Noise())
    model.eval()
    model[0].weight.data[:] = 0.0
    model[0].bias.data[:] = 0.0
    still = bp.optim.SGD(model.parameters(), lr=0.0)
    pair = (np.ones((2, 1)), np.zeros((2, 1)))
    (record,) = bp.fit(model, bp.nn.MSELoss(), still, [pair], 1, validation=pair)
    assert (record["loss"], record["val_loss"]) == (1.0, 0.0)
    assert model.training


@pytest.mark.filterwarnings("ignore:overflow|invalid:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_before_its_step():
    model, loss, optimizer = digits_net()
    good, bad = (X_TRAIN[:10], Y_TRAIN[:10]), (np.full((10, 64), np.nan), Y_TRAIN[:10])
    with pytest.raises(FloatingPointError, match=r"fit: the loss is nan in epoch 1, batch 2\. Lower the learning rate"):
        bp.fit(model, loss, optimizer, [good, bad], 2)
    once, *rest = digits_net()
    bp.fit(once, *rest, [good], 1)
    assert state(model) == state(once)


@pytest.mark.parametrize("epochs", [0, -3])
def test_fewer_than_one_epoch_is_refused(epochs):
    model, *rest = digits_net()
    with pytest.raises(ValueError, match=rf"fit: epochs is {epochs}\. Train for at least 1"):
        bp.fit(model, *rest, batches(), epochs)


def test_a_loader_that_runs_dry_is_refused():
    model, *rest = digits_net()
    with pytest.raises(ValueError, match=r"fit: the loader gave no batch in epoch 2\. Pass one that starts anew"):
        bp.fit(model, *rest, iter(batches()), epochs=2)


@pytest.mark.parametrize("epochs", [2.5, "3", True, None])
def test_epochs_that_are_no_integer_are_refused(epochs):
    net = bp.nn.Sequential(bp.nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"^fit: epochs is .* Pass an integer >= 1\."):
        bp.fit(net, bp.nn.MSELoss(), bp.optim.SGD(net.parameters(), lr=0.1), [], epochs=epochs)
