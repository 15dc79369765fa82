"""A run that was ended anywhere and gone on with ends bit for bit where the one ends that was not."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tinygrad_bp.data import DataLoader, digits
from tinygrad_bp.optim import lr_scheduler
from tinygrad_bp.training import keeper
from tinygrad_bp.training.progress import Silent
from tinygrad_bp.training.run import Run

X, Y = (part[:90] for part in digits())
HELD_OUT = tuple(part[90:150] for part in digits())
BATCHES = 4  # three of 28 rows, and one of 6


class Killed(BaseException):
    """The process is gone."""


def plain():
    return bp.nn.Sequential(bp.nn.Linear(64, 8), bp.nn.Tanh(), bp.nn.Linear(8, 10))


def noisy():
    """Draws in every step, and has buffers."""
    return bp.nn.Sequential(
        *(bp.nn.Linear(64, 8), bp.nn.BatchNorm1d(8), bp.nn.ReLU(), bp.nn.Dropout(0.3), bp.nn.Linear(8, 10))
    )


class Counting(bp.nn.Module):
    """Cannot be compiled for a batch that is smaller."""

    def __init__(self):
        self.layer, self._seen = bp.nn.Linear(64, 10), 0

    def forward(self, x):
        if len(x) < 28:
            self._seen += 1
        return self.layer(x)


def sgd(parameters):
    return bp.optim.SGD(parameters, lr=0.1)


def momentum(parameters):
    return bp.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)


def adam(parameters):
    return bp.optim.AdamW(parameters, lr=0.01)


def warm_up(optimizer):
    rising = lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    return lr_scheduler.SequentialLR(optimizer, [rising, lr_scheduler.ExponentialLR(optimizer, 0.5)], milestones=[2])


def plateau(optimizer):
    return lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0, threshold=0.5)


def cosine(optimizer):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)


class Setup:
    """The same code every time: new objects of one run."""

    def __init__(self, model=plain, optimizer=sgd, schedule=None, seed=None, shuffle=True, loader=None, **settings):
        self.arguments = (model, optimizer, schedule, seed, shuffle, loader)
        self.settings = {"validation": HELD_OUT} | settings

    def fit(self, out, epochs=3, weight=None, **more):
        model, optimizer, schedule, seed, shuffle, loader = self.arguments
        bp.manual_seed(3)
        self.model = model()
        self.optimizer = optimizer(self.model.parameters())
        self.schedule = schedule and schedule(self.optimizer)
        loader = loader or DataLoader(X, Y, batch_size=28, shuffle=shuffle, seed=seed)
        return bp.fit(
            *(self.model, bp.nn.CrossEntropyLoss(weight), self.optimizer, loader, epochs),
            schedule=self.schedule,
            out=out,
            **self.settings | more,
        )

    def left(self, out):
        """Everything that is left of a run: its files and its objects, in bytes."""
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}
        return files | {
            "model": {name: array.tobytes() for name, array in self.model.state_dict().items()},
            "optimizer": repr(self.optimizer.state_dict()),
            "schedule": repr(self.schedule),
            "generator": bp.random.generator().bit_generator.state,
        }


@contextlib.contextmanager
def after(batches, what):
    """`what` happens once, during the batch of that number."""
    count, number = Run.count, iter(range(1, 10**6))

    def counted(self, *args):
        count(self, *args)
        if next(number) == batches:
            what()

    with mock.patch.object(Run, "count", counted):
        yield


def control_c():
    signal.raise_signal(signal.SIGINT)


def killed():
    raise Killed


@pytest.fixture
def quick(monkeypatch):
    """Pictures and waiting for the disk take most of the time; a checkpoint after every batch."""
    monkeypatch.setattr("tinygrad_bp.training.run_folder.write_curves", lambda *_, **__: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(keeper, "OFTEN", 0.0)


def without_seconds(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


SETUPS = {
    "sgd": Setup(clip_norm=0.5, metrics=["accuracy", "f1"]),
    "momentum": Setup(noisy, momentum, plateau, seed=1, clip_norm=1.0, monitor="val_accuracy"),
    "adam": Setup(noisy, adam, warm_up, patience=1, monitor="loss", restore_best=True),
    "half eager": Setup(Counting, momentum, shuffle=False),
    "eager": Setup(noisy, adam, cosine, compile=False, patience=2, restore_best=True),
    "eager, seeded": Setup(plain, momentum, seed=5, compile=False, validation=None),
}


@functools.cache
def uninterrupted(name):
    with tempfile.TemporaryDirectory() as folder:
        history = SETUPS[name].fit(f"{folder}/run")
        return without_seconds(history), SETUPS[name].left(f"{folder}/run")


def ends_as_if_nothing_had_been(name, ends):
    with tempfile.TemporaryDirectory() as folder:
        for batches, what in ends:
            with after(batches, what), contextlib.suppress(KeyboardInterrupt, Killed):
                SETUPS[name].fit(f"{folder}/run", resume=True)
        history = SETUPS[name].fit(f"{folder}/run", resume=True)
        assert (without_seconds(history), SETUPS[name].left(f"{folder}/run")) == uninterrupted(name)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("sgd", [(1, control_c), (3, killed)]),  # after the first batch, and after the last of an epoch
        ("momentum", [(2, killed), (5, control_c)]),
        ("adam", [(5, control_c)]),
        ("half eager", [(4, killed), (1, control_c)]),
    ],
)
def test_a_compiled_run_goes_on_bit_for_bit(name, ends, quick):
    ends_as_if_nothing_had_been(name, ends)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["eager", "eager, seeded"]),
    ends=st.lists(st.tuples(st.integers(1, 3 * BATCHES), st.sampled_from([control_c, killed])), min_size=1, max_size=3),
)
def test_a_run_that_was_ended_anywhere_goes_on_bit_for_bit(name, ends, quick):
    ends_as_if_nothing_had_been(name, ends)


# ---- what an end leaves -------------------------------------------------------------------------------------------

FILES = ["checkpoint/state.safetensors", "curve.png", "curve.svg", "metrics.jsonl", "model.safetensors"]
SNAPSHOTS = [f"snapshots/epoch-0000{epoch}.safetensors" for epoch in range(4)]


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def lines(folder):
    return len((folder / "metrics.jsonl").read_text().splitlines())


def weights(setup):
    return {name: array.tolist() for name, array in setup.model.state_dict().items()}


def test_a_run_that_was_ended_has_the_files_of_one_that_was_not(tmp_path):
    setup = Setup(optimizer=momentum, seed=1, compile=False)
    setup.fit(tmp_path / "one")
    ended = pytest.raises(KeyboardInterrupt, match=r"fit: interrupted in epoch 2, all is in")
    with after(5, control_c), ended:
        setup.fit(tmp_path / "two", resume=True)
    assert sorted(files(tmp_path / "two")) == FILES + SNAPSHOTS[:2]
    saved = {name: array.tolist() for name, array in bp.load(tmp_path / "two" / "model.safetensors").items()}
    assert saved == weights(setup)
    setup.fit(tmp_path / "two", resume=True)
    assert sorted(files(tmp_path / "two")) == FILES + SNAPSHOTS
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_a_finished_run_stays_as_it_is_and_gives_its_history_and_best_weights(tmp_path, quick):
    setup = SETUPS["eager"]
    history, left = uninterrupted("eager")
    setup.fit(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = setup.fit(tmp_path, resume=True, progress=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    assert (again, setup.left(tmp_path)) == (history, left)
    best = min(range(len(history)), key=lambda k: history[k]["val_loss"])
    setup.fit(tmp_path / "best", epochs=best + 1, restore_best=False)
    assert setup.left(tmp_path / "best")["model"] == left["model"]


def test_a_finished_run_can_be_given_more_epochs(tmp_path, quick):
    setup = SETUPS["eager, seeded"]
    setup.fit(tmp_path, epochs=2)
    history = setup.fit(tmp_path, epochs=3, resume=True)
    assert (without_seconds(history), setup.left(tmp_path)) == uninterrupted("eager, seeded")
    with pytest.raises(ValueError, match=r"resume: the run is in epoch 3, epochs is 2\. Pass at least 3\."):
        setup.fit(tmp_path, epochs=2, resume=True)


@pytest.mark.parametrize(("patience", "over"), [(None, False), (2, False), (1, True)])
def test_more_epochs_are_still_to_come_unless_patience_is_over(patience, over, tmp_path, quick):
    worse = Setup(optimizer=lambda parameters: bp.optim.SGD(parameters, lr=1e-9), compile=False, monitor="accuracy")
    worse.fit(tmp_path, epochs=2, patience=patience)
    folder = keeper.RunFolder(tmp_path)
    assert folder.finished() and folder.finished(2)
    assert folder.finished(3) is over
    assert (len(worse.fit(tmp_path, epochs=3, patience=patience, resume=True)) == 2) is over


@pytest.mark.parametrize(
    ("setup", "batches", "said"),
    [
        (SETUPS["eager, seeded"], 1, "going on in epoch 1, batch 2 of 4"),
        (SETUPS["eager, seeded"], 6, "going on in epoch 2, batch 3 of 4"),
        (SETUPS["eager, seeded"], 8, "going on in epoch 2, batch 4 of 4"),  # what is left of it is its end
        (Setup(compile=False, loader=[(X, Y)]), 2, "going on in epoch 2, batch 1 of 1"),
        (Setup(compile=False, loader=[(X, Y)]), 1, "nothing was saved yet: from the beginning"),
    ],
)
def test_where_a_run_goes_on_is_said(setup, batches, said, tmp_path, quick, capsys):
    with after(batches, control_c), pytest.raises(KeyboardInterrupt):
        setup.fit(tmp_path, resume=False, progress=True)
    assert "going on" not in (first := capsys.readouterr().out) and "beginning" not in first
    setup.fit(tmp_path, resume=True, progress=True)
    assert capsys.readouterr().out.splitlines()[0] == said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"clip_norm": 1.0},
            r"resume: clip_norm of the run was None, here it is 1\.0\. Use what the run was begun with",
        ),
        ({"snapshots": 0}, r"resume: snapshots of the run was 12, here it is 0\. Use what the run was begun with"),
        ({"metrics": ["f1"]}, r"resume: metrics of the run was None, here it is \['f1'\]"),
        ({"compile": True}, r"resume: compile of the run was False, here it is True"),
        ({"validation": HELD_OUT}, r"resume: the validation data is not that of the run\. Use what the run was begun"),
        ({"weight": np.full(10, 2.0)}, r"resume: the weight of the loss is not that of the run\. Use what the run was"),
    ],
)
def test_a_run_goes_on_with_the_settings_it_was_begun_with(settings, message, tmp_path, quick):
    setup = SETUPS["eager, seeded"]
    with after(2, killed), pytest.raises(Killed):
        setup.fit(tmp_path)
    with pytest.raises(ValueError, match=message):
        setup.fit(tmp_path, resume=True, **settings)


@pytest.mark.parametrize("part", [0, 1])
def test_other_validation_data_are_refused(part, tmp_path, quick):
    """With them the epochs before and after would be judged by different rows."""
    setup = SETUPS["eager"]
    with after(2, killed), pytest.raises(Killed):
        setup.fit(tmp_path)
    before, other = files(tmp_path), [*HELD_OUT]
    other[part] = other[part][::-1]
    with pytest.raises(ValueError, match=r"resume: the validation data is not that of the run\."):
        setup.fit(tmp_path, resume=True, validation=other)
    assert files(tmp_path) == before


def test_a_folder_in_use_is_refused_before_anything_is_done(tmp_path, quick):
    setup = SETUPS["eager, seeded"]
    setup.fit(tmp_path, epochs=1)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"holds an earlier run"):
        setup.fit(tmp_path)
    assert files(tmp_path) == before


def test_a_loader_without_a_position_goes_on_at_the_beginning_of_an_epoch(tmp_path, quick):
    pairs = [(X[:30], Y[:30]), (X[30:60], Y[30:60]), (X[60:], Y[60:])]
    setup = Setup(noisy, adam, compile=False, loader=pairs)
    setup.fit(tmp_path / "one")
    for batches, what, whole in ((2, control_c, 0), (5, control_c, 1), (2, killed, 1), (3, killed, 1)):
        with after(batches, what), contextlib.suppress(KeyboardInterrupt, Killed):
            setup.fit(tmp_path / "two", resume=True)
        assert lines(tmp_path / "two") == whole
    setup.fit(tmp_path / "two", resume=True)
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_what_on_epoch_raises_ends_the_run_with_everything_saved(tmp_path, quick):
    setup = Setup(noisy, momentum, cosine, compile=False)
    seen = []

    def stop(record):
        seen.append(record["epoch"])
        if record["epoch"] == 2:
            raise StopIteration

    setup.fit(tmp_path / "one")
    with pytest.raises(StopIteration):
        setup.fit(tmp_path / "two", on_epoch=stop)
    assert lines(tmp_path / "two") == 2
    assert (tmp_path / "two" / "model.safetensors").exists()
    setup.fit(tmp_path / "two", resume=True, on_epoch=stop)
    assert seen == [1, 2, 3]
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_on_epoch_is_called_again_unless_a_checkpoint_came_after_it(tmp_path, quick):
    """What it changes is in the checkpoint that follows, so a run that is killed before that repeats it."""
    setup = Setup(optimizer=momentum, compile=False)

    def slower(record):
        setup.optimizer.param_groups[0]["lr"] *= 0.5

    def broken(*_):
        raise Killed

    setup.fit(tmp_path / "one", on_epoch=slower)
    with mock.patch.object(keeper.RunFolder, "append", broken), pytest.raises(Killed):
        setup.fit(tmp_path / "two", on_epoch=slower)
    setup.fit(tmp_path / "two", resume=True, on_epoch=slower)
    assert files(tmp_path / "two") == files(tmp_path / "one")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("made", value) for value in (None, [3], {})),
        *(("loop", value) for value in (None, [3], {})),
        ("made/the model", 3),
        ("loop/settings", {}),
        ("loop/sums", None),
        ("loop/history", None),
    ],
)
def test_a_checkpoint_that_somebody_else_made_up_is_refused(path, value, tmp_path, quick):
    """Its SHA-256 is right, for anybody can write one."""
    setup = SETUPS["eager, seeded"]
    with after(2, killed), pytest.raises(Killed):
        setup.fit(tmp_path)
    checkpoint, keys = tmp_path / "checkpoint" / "state.safetensors", path.split("/")
    state = bp.load(checkpoint)
    functools.reduce(operator.getitem, keys[:-1], state)[keys[-1]] = value
    bp.save(checkpoint, state)
    before = files(tmp_path)
    assert not keeper.RunFolder(tmp_path).finished()
    with pytest.raises(ValueError, match=r"^resume: "):
        setup.fit(tmp_path, resume=True)
    assert files(tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_folder_in_which_a_run_is_going_on_is_left_alone(tmp_path, quick):
    setup, refused = SETUPS["eager, seeded"], []

    def too_soon(record):
        with pytest.raises(ValueError, match=r"another process writes there\. Wait for it") as error:
            Setup(plain, momentum, seed=5, compile=False, validation=None).fit(tmp_path, resume=True)
        refused.append(error)

    for _ in range(3):
        with after(5, control_c), contextlib.suppress(KeyboardInterrupt):
            setup.fit(tmp_path, resume=True, on_epoch=too_soon)
    assert len(refused) == 3
    assert files(tmp_path).items() <= uninterrupted("eager, seeded")[1].items()


@pytest.mark.filterwarnings("ignore:overflow|invalid:RuntimeWarning")
def test_a_loss_that_is_not_finite_leaves_the_checkpoint_before(tmp_path, quick):
    bad = X.copy()
    bad[60:] = np.inf
    setup = Setup(loader=DataLoader(bad, Y, batch_size=30))
    with pytest.raises(FloatingPointError, match=r"fit: the loss is nan in epoch 1, batch 3\. Lower the learning rate"):
        setup.fit(tmp_path)
    state = bp.load(tmp_path / "checkpoint" / "state.safetensors")
    assert state["loop"]["batch"] == 2
    assert {name: array.tolist() for name, array in state["model"].items()} == weights(setup)


# ---- snapshots ----------------------------------------------------------------------------------------------------


def snapshots(folder):
    return [epoch for epoch, _ in keeper.RunFolder(folder).snapshots()]


TWO_BATCHES = [(X[:45], Y[:45]), (X[45:], Y[45:])]


@pytest.mark.parametrize(
    ("epochs", "most", "kept"),
    [
        (3, 12, [0, 1, 2, 3]),
        (11, 12, [*range(12)]),
        (12, 12, [*range(9), 10, 12]),
        (30, 12, [0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 30]),
        (30, 4, [0, 1, 16, 30]),
        (3, 1, [3]),
        (3, 2, [0, 3]),
        (3, 3, [0, 1, 3]),
        (3, 0, []),
    ],
)
def test_the_first_epochs_and_the_last_are_kept_and_ever_fewer_between(epochs, most, kept, tmp_path, quick):
    setup = Setup(compile=False, validation=None, loader=TWO_BATCHES, snapshots=most)
    seen = []
    setup.fit(tmp_path, epochs, on_epoch=lambda record: seen.append(len(snapshots(tmp_path))))
    assert snapshots(tmp_path) == kept
    assert max(seen) <= max(most - 1, 0)
    assert (tmp_path / "snapshots").exists() is (most > 0)


def test_of_very_many_epochs_powers_of_two_are_kept():
    kept = keeper._thinned(range(100_001), 12)
    assert sorted(kept) == [0, 1, *(2**k for k in range(8, 17))]


def test_a_snapshot_is_the_weights_after_that_epoch_and_not_the_best_ones(tmp_path, quick):
    worse = (HELD_OUT[0], (HELD_OUT[1] + 1) % 10)
    setup, seen = Setup(noisy, adam, compile=False, restore_best=True, validation=worse), []
    setup.fit(tmp_path, epochs=6, on_epoch=lambda record: seen.append(weights(setup)))
    bp.manual_seed(3)
    first = {name: array.tolist() for name, array in noisy().state_dict().items()}
    for (epoch, path), there in zip(keeper.RunFolder(tmp_path).snapshots(), [first, *seen], strict=True):
        assert {name: array.tolist() for name, array in bp.load(path).items()} == there, epoch
    assert weights(setup) in seen[:-1]  # the best is another


@pytest.mark.parametrize("most", [1, 2, 4, 7])
def test_a_run_that_was_ended_and_prolonged_has_the_snapshots_of_one_that_was_not(most, tmp_path, quick):
    setup = Setup(noisy, momentum, cosine, compile=False, validation=None, loader=TWO_BATCHES, snapshots=most)
    setup.fit(tmp_path / "one", epochs=20)
    for epochs, batches, what in ((5, 99, killed), (9, 3, killed), (13, 99, killed), (20, 8, control_c)):
        with after(batches, what), contextlib.suppress(KeyboardInterrupt, Killed):
            setup.fit(tmp_path / "two", epochs=epochs, resume=True)
        there = snapshots(tmp_path / "two")
        assert len(there) <= most
    setup.fit(tmp_path / "two", epochs=20, resume=True)
    assert snapshots(tmp_path / "two") == snapshots(tmp_path / "one")
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_what_was_kept_after_the_last_checkpoint_is_cleared_away(tmp_path, quick, monkeypatch):
    """A run that was killed has files of epochs that it will come to again."""
    setup = Setup(compile=False, validation=None)
    monkeypatch.setattr(keeper, "OFTEN", 1e9)  # the first checkpoint is the last
    with after(5 * BATCHES + 1, killed), pytest.raises(Killed):
        setup.fit(tmp_path, epochs=6)
    assert snapshots(tmp_path) == [0, 1, 2, 3, 4, 5]
    with after(1, control_c), pytest.raises(KeyboardInterrupt):
        setup.fit(tmp_path, epochs=6, resume=True)
    assert snapshots(tmp_path) == [0]


def test_what_on_epoch_raises_leaves_the_weights_of_that_epoch(tmp_path, quick):
    setup = Setup(compile=False, validation=None, snapshots=2)
    with pytest.raises(ZeroDivisionError):
        setup.fit(tmp_path, on_epoch=lambda record: 1 / (record["epoch"] - 2))
    assert snapshots(tmp_path) == [0, 2]


def test_a_run_that_kept_none_yet_goes_on(tmp_path, quick):
    """Checkpoints that were written before there were snapshots say nothing of them."""
    setup = Setup(noisy, adam, compile=False, validation=None)
    setup.fit(tmp_path / "one", epochs=5)
    setup.fit(tmp_path / "two", epochs=3)
    state = bp.load(tmp_path / "two" / "checkpoint" / "state.safetensors")
    del state["loop"]["settings"]["snapshots"]
    bp.save(tmp_path / "two" / "checkpoint" / "state.safetensors", state)
    shutil.rmtree(tmp_path / "two" / "snapshots")
    setup.fit(tmp_path / "two", epochs=5, resume=True)
    assert snapshots(tmp_path / "two") == [4, 5]
    there = files(tmp_path / "two")
    assert there == {name: content for name, content in files(tmp_path / "one").items() if name in there}


# ---- checkpoints and signals --------------------------------------------------------------------------------------


def test_a_checkpoint_is_saved_when_the_last_took_a_twentieth_of_the_time_since(tmp_path, monkeypatch):
    now, saved, count = [100.0], [], Run.count

    def saves(self, state):
        saved.append(state["loop"]["batch"] + BATCHES * len(state["loop"]["history"]))
        now[0] += 0.5

    def counts(self, *args):
        count(self, *args)
        now[0] += 1.0

    monkeypatch.setattr("tinygrad_bp.training.run_folder.write_curves", lambda *_, **__: None)
    monkeypatch.setattr(keeper.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(keeper.RunFolder, "save_checkpoint", saves)
    monkeypatch.setattr(Run, "count", counts)
    Setup(compile=False, validation=None).fit(tmp_path, epochs=6)
    assert saved == [1, 12, 23, 24]  # after the first batch, after more than 10 s each, and at the end


def test_sigterm_does_the_same_and_exits_with_143(tmp_path, quick):
    with after(3, lambda: signal.raise_signal(signal.SIGTERM)), pytest.raises(SystemExit) as ended:
        SETUPS["eager, seeded"].fit(tmp_path)
    assert ended.value.code == 143
    assert bp.load(tmp_path / "checkpoint" / "state.safetensors")["loop"]["batch"] == 3
    assert (tmp_path / "model.safetensors").exists()


def test_a_second_control_c_ends_at_once(tmp_path, quick):
    def twice():
        control_c()
        control_c()

    with after(3, twice), pytest.raises(KeyboardInterrupt):
        SETUPS["eager, seeded"].fit(tmp_path)
    assert bp.load(tmp_path / "checkpoint" / "state.safetensors")["loop"]["batch"] == 2
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("owner", "method"),
    [(Run, "end_epoch"), (keeper.RunFolder, "append"), (keeper.RunFolder, "close"), (Silent, "__exit__")],
)
def test_control_c_when_all_batches_are_done_is_raised_after_all_is_saved(owner, method, tmp_path, quick):
    """In the validation of the last epoch, or later: nothing is left to go on with."""
    setup, before, seen = SETUPS["eager, seeded"], getattr(owner, method), []

    def interrupted(self, *args):
        if len(seen) >= 2:
            control_c()
        return before(self, *args)

    with mock.patch.object(owner, method, interrupted), pytest.raises(KeyboardInterrupt, match=r"^$"):
        setup.fit(tmp_path, on_epoch=seen.append)
    assert files(tmp_path).items() <= uninterrupted("eager, seeded")[1].items()
    assert keeper.RunFolder(tmp_path).finished()


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_handlers_are_there_only_while_it_runs_and_only_with_a_folder(tmp_path, quick):
    before, during = handlers(), []
    setup = SETUPS["eager, seeded"]
    setup.fit(tmp_path / "one", on_epoch=lambda record: during.append(handlers()), epochs=1)
    assert during[0] != before == handlers()
    with pytest.raises(ZeroDivisionError):
        setup.fit(tmp_path / "two", on_epoch=lambda record: 1 / 0, epochs=1)
    assert handlers() == before
    setup.fit(None, on_epoch=lambda record: during.append(handlers()), epochs=1)
    assert during[1] == before


def test_a_signal_that_is_ignored_stays_so(tmp_path, quick):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with after(2, control_c):
            assert len(SETUPS["eager, seeded"].fit(tmp_path, epochs=1)) == 1
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)


def test_another_thread_keeps_its_run_and_leaves_signals_alone(tmp_path, quick):
    found = []

    def train():
        found.append(SETUPS["eager, seeded"].fit(tmp_path, epochs=1, on_epoch=lambda record: found.append(handlers())))

    before = handlers()
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found[0] == before
    assert len(found[1]) == 1
