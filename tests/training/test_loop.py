"""fit is the loop one would write, and its numbers are what they say."""

from __future__ import annotations

import logging

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
    (record,) = bp.fit(
        model, bp.nn.MSELoss(), bp.optim.SGD(model.parameters(), lr=0.1), loader, 1, validation=loader[0]
    )
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


# ---- metrics, schedules, clipping ---------------------------------------------------------------------------------


def still(model):
    return bp.optim.SGD(model.parameters(), lr=0.0)


def test_metrics_are_in_the_records_of_all_rows():
    model, loss, _ = digits_net()

    def sureness(outputs, targets):
        return outputs.max(axis=1).mean()

    asked = ["f1", "accuracy", sureness]
    (record,) = bp.fit(model, loss, still(model), batches(32), 1, validation=(X_TEST, Y_TEST), metrics=asked)
    keys = ["loss", "f1", "accuracy", "sureness"]
    assert list(record) == ["epoch", *keys, *(f"val_{key}" for key in keys), "seconds"]
    for prefix, X, y in (("", X_TRAIN, Y_TRAIN), ("val_", X_TEST, Y_TEST)):
        scores = bp.training.evaluate(model, loss, X, y, asked)
        assert [record[prefix + key] for key in keys] == pytest.approx([scores[key] for key in keys], rel=1e-12)


def test_no_metrics_are_none():
    model, loss, optimizer = digits_net()
    (record,) = bp.fit(model, loss, optimizer, batches(), 1, metrics=[])
    assert list(record) == ["epoch", "loss", "seconds"]


def test_the_targets_of_a_loader_are_all_looked_at():
    X, y = np.zeros((6, 2)), np.array([[0.0], [1.0], [1.0], [0.0], [2.0], [3.0]])
    model = bp.nn.Linear(2, 1)
    (record,) = bp.fit(model, bp.nn.MSELoss(), still(model), DataLoader(X, y, batch_size=3), 1)
    assert list(record) == ["epoch", "loss", "seconds"]  # the first batch alone looks like classes


@pytest.mark.parametrize("asked", ["r2", "mae"])
def test_a_metric_that_does_not_fit_is_refused(asked):
    model, *rest = digits_net()
    with pytest.raises(
        ValueError, match=rf"fit: {asked} compares numbers, entry by entry; the outputs have shape \(32, 10"
    ):
        bp.fit(model, *rest, batches(), 1, metrics=[asked])


def test_a_schedule_is_stepped_once_an_epoch_and_its_rates_recorded():
    model, loss, optimizer = digits_net(lr=0.5)
    schedule = lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    history = bp.fit(model, loss, optimizer, batches(), 5, schedule=schedule)
    assert [record["lr"] for record in history] == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert list(history[0])[:3] == ["epoch", "lr", "loss"]
    assert schedule.last_epoch == 5


class Scripted(bp.training.Metric):
    """Says what it was told to, epoch by epoch."""

    def __init__(self, *values, higher_is_better=True):
        self._values, self.higher_is_better = iter(values), higher_is_better

    def sums(self, outputs, targets):
        return np.zeros(1)

    def value(self, sums):
        return next(self._values)


def test_a_plateau_is_judged_by_the_monitored_number():
    model, loss, optimizer = digits_net(lr=0.5)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=0)
    script = Scripted(0.5, 0.4, 0.6, 0.6)
    history = bp.fit(
        model, loss, optimizer, batches(), 4, metrics=[script], schedule=schedule, monitor="scripted"
    )  # the loss falls all the time
    assert [record["lr"] for record in history] == [0.5, 0.5, 0.25, 0.25]
    assert optimizer.param_groups[0]["lr"] == 0.125


@pytest.mark.parametrize(
    ("mode", "settings", "message"),
    [
        (
            "min",
            {"monitor": "accuracy"},
            r'^fit: of accuracy the schedule waits for the min\. Make it with mode="max"\.$',
        ),
        (
            "min",
            {"metrics": ["f1"], "monitor": "val_f1"},
            r'^fit: of val_f1 the schedule .* Make it with mode="max"\.$',
        ),
        ("max", {}, r'^fit: of val_loss the schedule waits for the max\. Make it with mode="min"\.$'),
    ],
)
def test_a_plateau_looks_the_way_in_which_the_number_improves(mode, settings, message):
    model, loss, optimizer = digits_net()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, mode)
    with pytest.raises(ValueError, match=message):
        bp.fit(*(model, loss, optimizer, batches(), 1), schedule=schedule, validation=(X_TEST, Y_TEST), **settings)


@pytest.mark.parametrize("compile", [True, False])
def test_gradients_are_clipped_before_the_step_and_compiled_too(compile, caplog):
    by_hand, loss, optimizer = digits_net()
    for _ in range(2):
        for x, y in [(X_TRAIN[:50], Y_TRAIN[:50]), (X_TRAIN[50:], Y_TRAIN[50:])]:
            optimizer.zero_grad()
            loss(by_hand(x), y).backward()
            norm = np.sqrt(sum((p.grad.data**2).sum() for p in by_hand.parameters()))
            assert norm > 0.2
            for p in by_hand.parameters():
                p.grad.data[...] *= 0.2 / (norm + 1e-6)
            optimizer.step()
    model, *rest = digits_net()
    with caplog.at_level(logging.WARNING, "tinygrad_bp"):
        bp.fit(model, *rest, DataLoader(X_TRAIN, Y_TRAIN, batch_size=50), 2, clip_norm=0.2, compile=compile)
    assert not caplog.messages
    for p, q in zip(model.parameters(), by_hand.parameters()):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9)


# ---- the best epoch -----------------------------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "higher", "epochs", "best"),
    [
        ([0.5, 0.6, 0.6, 0.4, 0.9], True, 4, 2),
        ([0.5, 0.6, 0.4, 0.4, 0.5, 0.1], False, 5, 3),
        ([NAN, 0.1, NAN, NAN, 0.9], True, 4, 2),
        ([NAN, NAN, 0.1], False, 2, 0),
        ([0.1, 0.2, 0.3], True, 3, 3),
    ],
)
def test_it_stops_when_patience_is_over_and_restores_the_best(values, higher, epochs, best, caplog):
    model, *rest = digits_net()
    weights = []
    with caplog.at_level(logging.INFO, "tinygrad_bp"):
        history = bp.fit(
            *(model, *rest, batches(), 3 if epochs == 3 else 10),
            metrics=[Scripted(*values, higher_is_better=higher)],
            monitor="scripted",
            patience=2,
            restore_best=True,
            on_epoch=lambda record: weights.append(state(model)),
        )
    assert len(history) == epochs
    assert state(model) == weights[best - 1]
    reason = f"the best is {values[best - 1]:g} of epoch {best}" if best else "it was never a number"
    told = [f"fit: stopped after epoch {epochs}: no better scripted for 2 epochs, {reason}"]
    assert caplog.messages == (told if epochs - best == 2 else [])


def test_the_validation_loss_is_monitored_unless_told_otherwise():
    def stops(**settings):
        model, loss, _ = digits_net()
        history = bp.fit(model, loss, still(model), batches(100), 9, patience=1, **settings)
        return len(history)

    falling = {"metrics": [Scripted(*range(20), higher_is_better=True)]}
    assert stops(**falling) == stops(validation=(X_TEST, Y_TEST), **falling) == 2  # no loss changes
    assert stops(monitor="scripted", **falling) == 9
    model, *rest = digits_net()
    worse = (X_TEST, (Y_TEST + 1) % 10)  # what is learnt makes it worse
    history = bp.fit(model, *rest, batches(), 9, validation=worse, patience=1, monitor="loss")
    assert len(history) == 9
    model, *rest = digits_net()
    assert len(bp.fit(model, *rest, batches(), 9, validation=worse, patience=1)) < 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "val_los"}, r'fit: there is no "val_los" to monitor\. Did you mean "val_loss"\?'),
        ({"monitor": "f1", "validation": None}, r'fit: there is no "f1" to monitor\. Choose loss, accuracy\.'),
        ({"monitor": "val_loss", "validation": None}, r'there is no "val_loss" to monitor\. Did you mean "loss"\?'),
        ({"monitor": "accuracy", "metrics": ["f1"]}, r'there is no "accuracy" to monitor\.'),
        ({"patience": 0}, r"fit: patience is 0\. Wait for at least 1\."),
        ({"snapshots": -1}, r"fit: snapshots is -1\. Keep some, or 0 for none\."),
        ({"clip_norm": -1.0}, r"fit: clip_norm is -1\.0\. Pass a number in"),
        ({"resume": True}, r"fit: resume is True, but there is no run folder\. Name it with out\."),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_the_first_batch(settings, message):
    model, *rest = digits_net()
    before = state(model)
    with pytest.raises(ValueError, match=message):
        bp.fit(model, *rest, batches(), 1, **{"validation": (X_TEST, Y_TEST)} | settings)
    assert state(model) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 1.5}, r"fit: patience is 1\.5, a float\. Pass an integer >= 1\."),
        ({"snapshots": True}, r"fit: snapshots is True, a bool\. Pass an integer >= 0\."),
        ({"clip_norm": "1"}, r"fit: clip_norm is '1', a str\. Pass a number\."),
        ({"validation": X_TEST}, r"fit: validation is a ndarray\. Pass a pair of inputs and targets, \(X, y\)\."),
        ({"schedule": 0.9}, r"fit: schedule is a float\. Pass one of bp\.optim\.lr_scheduler's\."),
    ],
)
def test_settings_of_another_kind_are_refused(settings, message):
    model, *rest = digits_net()
    with pytest.raises(TypeError, match=message):
        bp.fit(model, *rest, batches(), 1, **settings)


def test_what_will_not_be_measured_cannot_be_monitored():
    model = bp.nn.Linear(64, 10)
    loader = DataLoader(X_TRAIN, np.full((100, 10), 0.5), batch_size=50)
    with pytest.raises(ValueError, match=r'fit: there is no "accuracy" to monitor\. Choose loss\.'):
        bp.fit(model, bp.nn.MSELoss(), still(model), loader, 1, monitor="accuracy")


def test_the_schedule_of_another_optimizer_is_refused():
    model, loss, optimizer = digits_net()
    schedule = lr_scheduler.ExponentialLR(still(model), 0.5)
    with pytest.raises(ValueError, match=r"fit: the schedule is of another optimizer\. Make it for this one\."):
        bp.fit(model, loss, optimizer, batches(), 1, schedule=schedule)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": abs}, r"^fit: model is a builtin_function_or_method\. Pass a Module\.$"),
        ({"optimizer": None}, r"^fit: optimizer is a NoneType\. Pass one of bp\.optim's\.$"),
        ({"loss": bp.nn.MSELoss}, r"^fit: loss is the class MSELoss\. Make an instance: MSELoss\(\)\.$"),
        (
            {"loader": DataLoader(Y_TEST)},
            r"^fit: the loader is of 1 arrays\. Make it of inputs and targets, \(X, y\)\.$",
        ),
    ],
)
def test_objects_of_another_kind_are_refused(wrong, message):
    given = dict(zip(("model", "loss", "optimizer"), digits_net(), strict=True)) | {"loader": batches()} | wrong
    with pytest.raises((TypeError, ValueError), match=message):
        bp.fit(**given, epochs=1)


@pytest.mark.parametrize("compile", [True, False])
def test_a_model_gives_one_tensor(compile):
    class Twice(bp.nn.Linear):
        def forward(self, input):
            return super().forward(input), input

    model = Twice(64, 10)
    with pytest.raises(TypeError, match=r"^fit: the model gives a tuple, which has no rows\. Let it give one tensor"):
        bp.fit(model, lambda both, y: bp.nn.CrossEntropyLoss()(both[0], y), still(model), batches(), 1, compile=compile)
