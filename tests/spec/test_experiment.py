"""A document becomes what it says, both ways, and every mistake in one is one line with its place."""

from __future__ import annotations

import copy
import functools
import json
import operator
import tomllib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.spec.documents import DOCUMENT, TEXT, changed, layer
from tests.spec.drawn import documents
from tinygrad_bp.data.sources import SOURCES
from tinygrad_bp.spec.reading import written

# ---- what a document makes ----------------------------------------------------------------------------------------


def test_the_example_is_what_it_says():
    experiment = bp.Experiment.from_spec(DOCUMENT)
    assert repr(experiment.model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=64, out_features=64)\n"
        "  (1): ReLU()\n"
        "  (2): Linear(in_features=64, out_features=10)\n"
        ")"
    )
    assert type(experiment.loss) is bp.nn.CrossEntropyLoss
    (group,) = experiment.optimizer.param_groups
    assert (type(experiment.optimizer), group["lr"], group["momentum"]) == (bp.optim.SGD, 0.05, 0.9)
    assert all(a is b for a, b in zip(group["params"], experiment.model.parameters(), strict=True))
    parts = experiment.parts
    assert [len(part[1]) for part in (parts.train, parts.validation, parts.test)] == [1257, 180, 360]
    assert (experiment.loader.batch_size, experiment.loader.shuffle) == (32, True)
    assert (experiment.schedule, experiment.settings) == (None, {"epochs": 60})
    assert all(module.training for module in experiment.model.modules())


def test_the_parts_are_stratified_and_disjoint_and_all_there():
    parts = bp.Experiment.from_spec(DOCUMENT).parts
    for part, share in ((parts.train, 0.7), (parts.validation, 0.1), (parts.test, 0.2)):
        assert np.all(np.abs(np.bincount(part[1]) - share * np.bincount(bp.data.digits()[1])) <= 2)
    together = np.concatenate([part[0] for part in (parts.train, parts.validation, parts.test)])
    assert sorted(map(bytes, together)) == sorted(map(bytes, bp.data.digits()[0]))


def run(document, epochs=2):
    experiment = bp.Experiment.from_spec(document | {"train": {"epochs": epochs}})
    losses = [record["loss"] for record in experiment.fit()]
    return losses, {name: array.tobytes() for name, array in experiment.model.state_dict().items()}


def test_the_seed_decides_everything():
    assert run(DOCUMENT) == run(DOCUMENT)
    assert run(DOCUMENT) == run({key: value for key, value in DOCUMENT.items() if key != "seed"})  # 0 is the default
    assert run(DOCUMENT)[0] != run(changed(["seed"], 1))[0]


def test_split_weights_and_order_have_seeds_of_their_own():
    experiment = bp.Experiment.from_spec(DOCUMENT)
    split, weights, order = map(int, np.random.SeedSequence(0).generate_state(3))
    parts = SOURCES["digits"](test=0.2, seed=split)
    bp.manual_seed(weights)
    first = bp.nn.Linear(64, 64)
    loader = bp.data.DataLoader(*parts.train, batch_size=32, shuffle=True, seed=order)
    assert np.array_equal(experiment.parts.train[0], parts.train[0])
    assert np.array_equal(experiment.model[0].weight.data, first.weight.data)
    assert np.array_equal(next(iter(experiment.loader))[0], next(iter(loader))[0])


def test_from_a_toml_file_a_json_file_and_a_dict_the_same_comes(tmp_path):
    (tmp_path / "a.toml").write_text(TEXT)
    (tmp_path / "b.toml").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())  # as Windows may save it
    (tmp_path / "c.json").write_text(json.dumps(DOCUMENT))
    runs = [run(DOCUMENT, 1)]
    for name in ("a.toml", "b.toml", "c.json"):
        experiment = bp.Experiment.from_spec(tmp_path / name)
        experiment.settings["epochs"] = 1
        losses = [record["loss"] for record in experiment.fit()]
        runs.append((losses, {key: array.tobytes() for key, array in experiment.model.state_dict().items()}))
    assert all(one == runs[0] for one in runs)


def test_arguments_reach_the_constructors():
    document = changed(["optim"], {"type": "Adam", "lr": 1, "betas": [0.5, 0.75]})
    document["data"] |= {"shuffle": False, "drop_last": True}
    document["loss"]["reduction"] = "sum"
    document["model"]["layers"] = [
        {"type": "LeakyReLU", "negative_slope": 1},
        {"type": "Linear", "in_features": 64, "out_features": 10, "bias": False, "dtype": "float32"},
    ]
    experiment = bp.Experiment.from_spec(document)
    assert experiment.optimizer.param_groups[0]["betas"] == (0.5, 0.75)
    assert (experiment.loader.shuffle, experiment.loader.drop_last) == (False, True)
    assert experiment.loss.reduction == "sum"
    assert experiment.model[0].negative_slope == 1
    assert (experiment.model[1].bias, experiment.model[1].weight.dtype) == (None, np.float32)


def test_mnist_brings_its_own_test_rows(data_file):
    document = changed(["data"], {"name": "mnist", "folder": str(data_file("mnist.pkl.gz").parent), "batch_size": 1000})
    document["train"]["epochs"] = 1
    document["data"]["dtype"] = "float32"
    experiment = bp.Experiment.from_spec(document)
    assert experiment.model[0].in_features == 784
    parts = experiment.parts
    assert [len(part[1]) for part in (parts.train, parts.validation, parts.test)] == [50000, 10000, 10000]
    assert experiment.model[0].weight.dtype == np.float32
    assert experiment.fit()[0]["val_accuracy"] > 0.8


def test_evaluate_is_of_the_part_that_is_named():
    document = changed(["data"], {"name": "xor", "test": 0.3, "validation": 0.0})
    document["train"]["metrics"] = ["f1"]
    document["model"]["layers"][2]["out_features"] = 2
    experiment = bp.Experiment.from_spec(document)
    rows = {"test": 60, "train": 140}
    for part, count in rows.items():
        X, y = getattr(experiment.parts, part)
        expected = bp.training.evaluate(experiment.model, experiment.loss, X, y, ["f1"])
        assert experiment.evaluate(part) == expected
        assert list(expected) == ["loss", "f1", "rows"]
        assert expected["rows"] == count
    assert experiment.evaluate() == experiment.evaluate("test")
    for part in ("validation", "columns", "tests"):
        with pytest.raises(ValueError, match=rf'^evaluate: the data have no part "{part}"\. There is train, test\.$'):
            experiment.evaluate(part)


def test_fit_gets_all_of_it(monkeypatch, tmp_path):
    document = changed(["schedule"], {"type": "ExponentialLR", "gamma": 0.5})
    document["train"] = {"epochs": 3, "patience": 1, "monitor": "val_f1", "metrics": ["f1"], "clip_norm": 1.0}
    experiment = bp.Experiment.from_spec(document)
    seen = []
    history = experiment.fit(on_epoch=seen.append)
    assert seen == history
    assert [record["lr"] for record in history] == [0.05 * 0.5**k for k in range(len(history))]
    assert list(history[0]) == ["epoch", "lr", "loss", "f1", "val_loss", "val_f1", "seconds"]
    got = {}
    monkeypatch.setattr(bp.spec.experiment, "fit", lambda *args, **named: got.update(named))
    experiment.fit(tmp_path, resume=True, progress=True)
    assert (got["out"], got["resume"], got["progress"], got["on_epoch"]) == (tmp_path, True, True, None)
    assert {name: got[name] for name in document["train"]} == document["train"]
    assert got["schedule"] is experiment.schedule
    assert got["validation"] is experiment.parts.validation


def test_schedules_are_made_for_the_optimizer():
    warm_up = {"type": "LinearLR", "start_factor": 0.5, "total_iters": 2}
    fall = {"type": "SequentialLR", "schedulers": [{"type": "ExponentialLR", "gamma": 0.5}], "milestones": []}
    document = changed(["schedule"], {"type": "SequentialLR", "schedulers": [warm_up, fall], "milestones": [2]})
    experiment = bp.Experiment.from_spec(document)
    assert experiment.schedule.optimizer is experiment.optimizer
    rates = []
    for _ in range(4):
        rates.append(experiment.optimizer.param_groups[0]["lr"])
        experiment.schedule.step()
    assert np.allclose(rates, [0.025, 0.0375, 0.05, 0.025], rtol=1e-12)


# ---- there and back -----------------------------------------------------------------------------------------------


def timeless(history):
    return [{key: repr(value) for key, value in record.items() if key != "seconds"} for record in history]


def bits(arrays):
    return [(array.dtype, array.shape, array.tobytes()) for array in arrays]


def bits_of(experiment):
    """Weights and two passes of batches; trains nothing."""
    batches = [array for _ in range(2) for batch in experiment.loader for array in batch]
    return bits([*experiment.model.state_dict().values(), *batches])


@settings(max_examples=30)
@given(documents())
def test_what_to_spec_says_is_an_equal_experiment(document):
    before = copy.deepcopy(document)
    experiment = bp.Experiment.from_spec(document)
    table = experiment.to_spec()
    assert document == before
    again = bp.Experiment.from_spec(tomllib.loads(written(table)))
    assert again.to_spec() == table
    assert bits_of(again) == bits_of(experiment)
    assert repr(again.optimizer.state_dict()) == repr(experiment.optimizer.state_dict())
    assert repr(again.schedule) == repr(experiment.schedule)


@settings(max_examples=8)
@given(documents())
def test_an_equal_experiment_has_the_same_history_bit_for_bit(document):
    experiment = bp.Experiment.from_spec(document)
    table = experiment.to_spec()
    bp.Experiment.from_spec(document)  # which restarts the generator
    with suppress(FloatingPointError):  # the rates are drawn without mercy
        history = experiment.fit()
        assert experiment.to_spec() == table
        again = bp.Experiment.from_spec(table)
        assert timeless(again.fit()) == timeless(history)
        assert bits(again.model.state_dict().values()) == bits(experiment.model.state_dict().values())


def test_what_to_spec_gives_is_a_copy():
    experiment = bp.Experiment.from_spec(DOCUMENT)
    experiment.to_spec()["data"]["name"] = "moons"
    assert experiment.document["data"] == experiment.to_spec()["data"] == DOCUMENT["data"]
    experiment.document["train"]["epochs"] = 1
    assert DOCUMENT["train"]["epochs"] == 60


def test_to_spec_fills_in_the_sizes_and_the_seed():
    document = {key: value for key, value in DOCUMENT.items() if key != "seed"}
    table = bp.Experiment.from_spec(document).to_spec()
    assert table["seed"] == 0
    assert [layer.get("in_features") for layer in table["model"]["layers"]] == [64, None, 64]
    assert {key: table[key] for key in ("data", "loss", "optim", "train")} == {
        key: DOCUMENT[key] for key in ("data", "loss", "optim", "train")
    }


def test_a_model_that_cannot_be_told_stands_as_it_was_given(monkeypatch):
    class Secretive(bp.nn.Module):
        def __init__(self, factor: float) -> None:
            self._factor = factor

        def forward(self, x):
            return self._factor * x

    monkeypatch.setitem(bp.spec.LAYERS, "Secretive", Secretive)
    document = changed(layer(1, None)[:-1], {"type": "Secretive", "factor": 0.5})
    table = bp.Experiment.from_spec(document).to_spec()
    assert table["model"] == document["model"]
    assert bits_of(bp.Experiment.from_spec(table)) == bits_of(bp.Experiment.from_spec(document))


def test_a_relative_path_is_relative_to_the_document_and_absolute_afterwards(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.csv").write_text("x,z,y\n" + "".join(f"{k},{k % 3},{k % 2}\n" for k in range(40)))
    table = {"name": "csv", "path": "../a.csv", "target": "y"}
    document = changed(["data"], table)
    document["model"] = {"type": "Linear", "out_features": 2}
    (tmp_path / "sub" / "a.toml").write_text(written(document))
    experiment = bp.Experiment.from_spec(tmp_path / "sub" / "a.toml")
    assert experiment.parts.columns.classes == ("0", "1")
    assert experiment.to_spec()["data"] == table | {"path": str(tmp_path / "a.csv")}
    monkeypatch.chdir(tmp_path / "sub")
    of_dict = bp.Experiment.from_spec(document)
    assert of_dict.to_spec() == experiment.to_spec()
    monkeypatch.chdir(tmp_path)
    assert bits_of(bp.Experiment.from_spec(of_dict.to_spec())) == bits_of(experiment)
    with pytest.raises(FileNotFoundError, match=r"^data: .*a\.csv: there is no such file\."):
        bp.Experiment.from_spec(document)


# ---- mistakes -----------------------------------------------------------------------------------------------------

MISTAKES = [
    # the document
    (["format"], 2, r"format = 2: this version reads format 1\."),
    (["format"], "1", r'format = "1": this version reads format 1\.'),
    (["format"], True, r"format = true: is a bool\. Give an integer\."),
    (["format"], ..., r"format: is missing from the document\. Give an integer\."),
    (["seed"], -1, r"seed = -1: is negative\. Give an integer >= 0\."),
    (["seed"], 1.0, r"seed = 1\.0: is a float\. Give an integer\."),
    (["sede"], 1, r"sede: unknown key of the document\. Did you mean seed\?"),
    (
        ["x"],
        [1] * 99,
        r"x: unknown key of the document\. Its keys: format, seed, data, model, loss, optim, schedule, train\.",
    ),
    ([3], 1, r"3: unknown key of the document\."),
    (["a b"], 1, r'"a b": unknown key of the document\.'),
    (["a\nb"], 1, r'"a\\nb": unknown key of the document\.'),
    (["data"], ..., r"data: is missing from the document\. Give a table\."),
    (["train"], ..., r"train: is missing from the document\. Give a table\."),
    (["loss"], "MSELoss", r'loss = "MSELoss": is a string\. Give a table\.'),
    # data
    (["data", "name"], "digit", r'data\.name = "digit": there is no such data set\. Did you mean "digits"\?'),
    (
        ["data", "name"],
        "cifar",
        r'= "cifar": there is no such data set\. One of your own comes in by --import or bp\.register\. Choose from ',
    ),
    (["data", "name"], 5, r"data\.name = 5: is an integer\. Choose from digits, mnist, csv, "),
    (["data", "name"], ..., r"data\.name: is missing\. Choose from digits, mnist, csv, "),
    (["data", "batch_size"], 0, r"data: DataLoader: batch_size is 0\. Give an integer >= 1\."),
    (["data", "batch_size"], 32.0, r"data\.batch_size = 32\.0: is a float\. Give an integer\."),
    (["data", "batchsize"], 3, r"data\.batchsize: unknown key of \[data\] of digits\. Did you mean batch_size\?"),
    (
        ["data", "seed"],
        3,
        r"data\.seed: unknown key of \[data\] of digits\. Its keys: validation, test, targets, dtype, batch_size, shu",
    ),
    (["data", "arrays"], "x", r"data\.arrays: unknown key of \[data\] of digits\."),
    (["data", "folder"], "x", r"data\.folder: unknown key of \[data\] of digits\."),
    (["data", "test"], 1.5, r"data: train_validation_test_split: test is 1\.5\. Give a number "),
    (
        ["data", "test"],
        0.95,
        r"data: train_validation_test_split: validation 0\.1 and test 0\.95 leave nothing to train on",
    ),
    (["data", "targets"], "label", r'data\.targets = "label": is not one of .*\. Did you mean "labels"\?'),
    (["data"], {"name": "csv", "target": "y"}, r"data\.path: is missing from \[data\] of csv\. Give a string\."),
    (["data"], {"name": "csv", "path": "no.csv", "target": "y"}, r"^data: .*no\.csv: there is no such file\."),
    (["data"], {"name": "csv", "path": "a\x00b", "target": "y"}, r"^data: "),
    (["data"], {"name": "npz", "path": "../../etc/passwd"}, r"^data: "),
    (["data"], {"name": "../digits"}, r'data\.name = "\.\./digits": there is no such data set\. Did you mean "digits"'),
    (["data"], {"name": "moons", "n": 10**9}, r"data\.n = 1000000000: is too large\. Give at most 100000000\."),
    (["data", "batch_size"], 10**30, r"data\.batch_size = 10+: is too large\."),
    (["data", "test"], True, r"data\.test = true: is a bool\. Give a number\."),
    (["data", "test"], None, r"data\.test = null: is null\. Give a number\."),
    (["data", "shuffle"], 1, r"data\.shuffle = 1: is an integer\. Give true or false\."),
    (
        ["data"],
        {"name": "mnist", "test": 0.2},
        r"data\.test: unknown key of \[data\] of mnist\. Its keys: folder, targets, dtype, batch_size",
    ),
    (
        ["data"],
        {"name": "mnist", "folder": "nowhere"},
        r"data: mnist: .*nowhere has neither mnist\.pkl\.gz nor the four",
    ),
    # loss
    (
        ["loss", "type"],
        "CrossEntropy",
        r'loss\.type = "CrossEntropy": there is no such loss\. Did you mean "CrossEntropyLo',
    ),
    *(
        (
            ["loss", "type"],
            name,
            rf"^loss of the model's output \(10, 10\): {name} does not take class labels \(10,\)\. "
            rf"Use targets = {other} or CrossEntropyLoss\.$",
        )
        for names, other in (
            (("MSELoss", "QuadraticLoss", "L1Loss", "HuberLoss", "SmoothL1Loss"), '"one-hot"'),
            (("BCELoss", "BCEWithLogitsLoss"), '"binary", "one-hot"'),
        )
        for name in names
    ),
    (
        layer(2, "out_features"),
        5,
        r"loss of the model's output \(10, 5\): the data has 10 classes, more than 5\. Give the last layer out_"
        r"features = 10\.$",
    ),
    (
        ["model", "layers"],
        [{"type": "Unflatten", "dim": 1, "unflattened_size": [8, 8]}, {"type": "Linear", "out_features": 8}],
        r"output \(10, 8, 8\): CrossEntropyLoss takes a number for each class, \(n, 10\)\. End the model with Fl",
    ),
    (
        ["loss", "type"],
        "NLLLoss",
        r"loss: NLLLoss takes logarithms of .*; the model gives 0\.\d+\. End it with LogSoftmax, ",
    ),
    (
        ["loss", "reduction"],
        "summ",
        r'loss\.reduction = "summ": is not one of "mean", "sum", "none"\. Did you mean "sum"\?',
    ),
    (["loss", "reduction"], "x", r'loss\.reduction = "x": is not one of "mean", "sum", "none"\.$'),
    (["loss", "reduction"], 3, r'loss\.reduction = 3: is an integer\. Give one of "mean", "sum", "none"\.'),
    (
        ["loss", "reduction"],
        "none",
        r'loss\.reduction = "none": gives \(10,\), not a single number\. Choose "mean" or "sum"\.',
    ),
    # optim
    (["optim", "type"], "adam", r'optim\.type = "adam": there is no such optimizer\. Did you mean "Adam"\?'),
    (
        ["optim", "type"],
        "Optimizer",
        r'optim\.type = "Optimizer": there is no such optimizer\. .* Choose from SGD, Adagrad, Adam, AdamW, RMSprop\.',
    ),
    (["optim", "lr"], ..., r"optim\.lr: is missing from SGD\. Give a number\."),
    (["optim", "lr"], "0.05", r'optim\.lr = "0\.05": is a string\. Give a number\.'),
    (["optim", "lr"], True, r"optim\.lr = true: is a bool\. Give a number\."),
    (["optim", "lr"], -1, r"optim: SGD: lr is -1\. Pass a number in \[0, inf\)\."),
    (["optim", "lr"], float("nan"), r"optim: SGD: lr is nan\. Pass a number in \[0, inf\)\."),
    (["optim", "nesterov"], 1, r"optim\.nesterov = 1: is an integer\. Give true or false\."),
    (
        ["optim", "params"],
        [],
        r"optim\.params: unknown key of SGD\. Its keys: lr, momentum, dampening, weight_decay",
    ),
    (
        ["optim"],
        {"type": "Adam", "betas": [0.9]},
        r"optim\.betas = \[0\.9\]: is a list\. Give \[a number, a number\]\.",
    ),
    (["optim"], {"type": "Adam", "betas": [0.9, "x"]}, r"optim\.betas = .*: is a list\. Give \[a number, a number\]\."),
    (
        ["optim"],
        {"type": "Adam", "betas": [1.5, 0.9]},
        r"optim: Adam: betas\[0\] is 1\.5\. Pass a number in \[0, 1\)\.",
    ),
    (
        ["model", "layers"],
        [{"type": "ReLU"}],
        r"model: has nothing to train\. Give it layers that have weights, such as Linear\.",
    ),
    # train
    (["train", "epochs"], 0, r"train\.epochs = 0: too few\. Train for at least 1\."),
    (["train", "epochs"], ..., r"train\.epochs: is missing from \[train\]\. Give an integer\."),
    (["train", "epochs"], 1.5, r"train\.epochs = 1\.5: is a float\. Give an integer\."),
    (["train", "epoch"], 1, r"train\.epoch: unknown key of \[train\]\. Did you mean epochs\?"),
    (["train", "out"], "x", r"train\.out: unknown key of \[train\]\."),
    (["train", "resume"], True, r"train\.resume: unknown key of \[train\]\."),
    (["train", "validation"], 0.1, r"train\.validation: unknown key of \[train\]\."),
    (["train", "patience"], 0, r"train\.patience = 0: too few\. Wait for at least 1 epoch\."),
    (["train", "snapshots"], -1, r"train\.snapshots = -1: too few\. Keep some, or 0 for none\."),
    (["train", "patience"], 1.0, r"train\.patience = 1\.0: is a float\. Give an integer"),
    (["train", "clip_norm"], -1, r"train: clip_norm is -1\. Pass a number in \[0, inf\)\."),
    (["train", "clip_norm"], 0, r"train\.clip_norm = 0: nothing would be learnt\. Give a number above 0, or leave it "),
    (["train", "clip_norm"], float("nan"), r"train: clip_norm is nan\. Pass a number in \[0, inf\)\."),
    (
        ["train", "metrics"],
        ["f1", "acuracy"],
        r'train\.metrics\[1\] = "acuracy": there is no such metric\. Did you mean "accuracy"\?',
    ),
    (
        ["train", "metrics"],
        ["x"],
        r'train\.metrics\[0\] = "x": there is no such metric\. Choose from accuracy, f1, mae',
    ),
    (["train", "metrics"], ["mae"], r"train\.metrics: mae compares numbers"),
    (["train", "metrics"], ["f1", "f1"], r'train\.metrics: the name "f1" of a metric is taken'),
    (["train", "metrics"], "f1", r'train\.metrics = "f1": is a string\. Give \['),
    (["train", "monitor"], "val_los", r'train\.monitor = "val_los": is not measured\. Did you mean "val_loss"\?'),
    (
        ["train", "monitor"],
        "f1",
        r'train\.monitor = "f1": is not measured\. Choose from loss, accuracy, val_loss, val_',
    ),
    # schedule
    (["schedule"], {"type": "Step"}, r'schedule\.type = "Step": there is no such schedule\. Did you mean "StepLR"\?'),
    (["schedule"], {"type": "LambdaLR"}, r'schedule\.type = "LambdaLR": there is no such schedule\.'),
    (["schedule"], {"type": "StepLR"}, r"schedule\.step_size: is missing from StepLR\. Give an integer\."),
    (["schedule"], {"type": "StepLR", "step_size": 0}, r"schedule: StepLR: step_size is 0\. Pass an integer >= 1\."),
    (
        ["schedule"],
        {"type": "SequentialLR", "schedulers": [{"type": "StepLR", "step": 3}], "milestones": []},
        r"schedule\.schedulers\[0\]\.step: unknown key of StepLR\. Did you mean step_size\?",
    ),
    (
        ["schedule"],
        {"type": "SequentialLR", "schedulers": [{"type": "ReduceLROnPlateau"}], "milestones": []},
        r"schedule: SequentialLR: schedule 0 is a ReduceLROnPlateau\.",
    ),
    (["schedule"], [], r"schedule = \[\]: is a list\. Give a table\."),
    (
        ["schedule"],
        {"type": "ReduceLROnPlateau", "mode": "max"},
        r'schedule\.mode = "max": val_loss improves the other way\. Give "min"\.',
    ),
    # sizes
    (layer(0, "out_features"), 10**9, r"model\.layers\[0\]\.out_features = 1000000000: is too large\. Give at most"),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[message[:40] for _, _, message in MISTAKES])
def test_a_mistake_is_one_line_with_its_place(path, value, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message) as caught:
        bp.Experiment.from_spec(changed(path, value))
    assert len(str(caught.value).splitlines()) == 1


def test_a_plateau_looks_the_way_in_which_the_number_improves():
    document = changed(["train", "monitor"], "val_accuracy")
    with pytest.raises(ValueError, match=r'schedule\.mode = "min": val_accuracy improves the other way\. Give "max"\.'):
        bp.Experiment.from_spec(document | {"schedule": {"type": "ReduceLROnPlateau"}})
    schedule = bp.Experiment.from_spec(document | {"schedule": {"type": "ReduceLROnPlateau", "mode": "max"}}).schedule
    assert schedule.mode == "max"


@pytest.mark.parametrize(
    ("targets", "loss", "message"),
    [
        (
            "binary",
            "CrossEntropyLoss",
            r"CrossEntropyLoss takes class labels, the targets are \(32, 1\)\. Use targets = \"la",
        ),
        ("binary", "NLLLoss", r"NLLLoss takes class labels, the targets are \(32, 1\)\. Use targets = "),
        ("one-hot", "NLLLoss", r"NLLLoss takes class labels, the targets are \(32, 2\)\. Use targets = "),
        ("binary", "BCEWithLogitsLoss", r"binary_cross_entropy_with_logits: .*\(32, 3\).*\(32, 1\)"),
        (
            "one-hot",
            "CrossEntropyLoss",
            r"cross_entropy: input \(32, 3\) needs labels \(32,\) or probabilities \(32, 3\)",
        ),
        ("one-hot", "MSELoss", r"mse_loss: .*\(32, 3\).*\(32, 2\)"),
    ],
)
def test_a_loss_that_does_not_fit_the_targets(targets, loss, message):
    document = changed(["data"], {"name": "moons", "targets": targets})
    document |= {"model": {"type": "Linear", "out_features": 3}, "loss": {"type": loss}}
    with pytest.raises(ValueError, match=rf"^loss of the model's output \(32, 3\): {message}") as caught:
        bp.Experiment.from_spec(document)
    assert len(str(caught.value).splitlines()) == 1


def test_a_softmax_before_cross_entropy_is_said(caplog):
    document = changed(["loss", "type"], "CrossEntropyLoss")
    bp.Experiment.from_spec(document)
    assert caplog.messages == []
    document["model"]["layers"].append({"type": "Softmax"})
    bp.Experiment.from_spec(document)
    said = "loss: CrossEntropyLoss takes the softmax itself, and gets probabilities. Leave Softmax out."
    assert caplog.messages == [said]


def test_whole_numbers_are_classes_unless_a_document_says_so(tmp_path):
    (tmp_path / "few.csv").write_text("x,y\n" + "".join(f"{k},{k * k}\n" for k in range(12)))
    data = {"name": "csv", "path": str(tmp_path / "few.csv"), "target": "y"}
    document = changed(["data"], data) | {"model": {"type": "Linear", "out_features": 1}, "loss": {"type": "MSELoss"}}
    with pytest.raises(ValueError, match=r'12 rows of 12 classes are too few .* no class, set targets = "numbers"\.$'):
        bp.Experiment.from_spec(document)
    data |= {"validation": 0.0, "test": 0.0}
    with pytest.raises(ValueError, match=r'Use targets = "numbers", "one-hot" or CrossEntropyLoss\.$'):
        bp.Experiment.from_spec(document | {"data": data})
    assert bp.Experiment.from_spec(document | {"data": data | {"targets": "numbers"}}).parts.train[1].shape == (12, 1)


def test_data_of_ones_own_may_have_one_kind_of_targets(monkeypatch):
    monkeypatch.setitem(bp.spec.DATA, "pixels", lambda *, seed: bp.data.sources.digits(seed=seed))
    document = changed(["data"], {"name": "pixels"}) | {"loss": {"type": "MSELoss"}}
    with pytest.raises(ValueError, match=r"MSELoss does not take class labels \(10,\)\. Use CrossEntropyLoss\.$"):
        bp.Experiment.from_spec(document)


def test_log_probabilities_are_never_above_0():
    document = changed(["loss", "type"], "NLLLoss")
    document["model"]["layers"].append({"type": "LogSoftmax"})
    assert isinstance(bp.Experiment.from_spec(document).loss, bp.nn.NLLLoss)
    document["model"]["layers"].append({"type": "Softmax"})
    with pytest.raises(
        ValueError, match=r"^loss: NLLLoss takes logarithms of probabilities, which are never above 0; "
    ):
        bp.Experiment.from_spec(document)


def test_a_loss_of_ones_own_has_to_give_a_number(monkeypatch):
    class Each(bp.nn.Module):
        def forward(self, input, target):
            return (input - input).sum(axis=1)

    monkeypatch.setitem(bp.spec.LOSSES, "Each", Each)
    with pytest.raises(ValueError, match=r'^loss: gives \(10,\), not a single number\. Choose "mean" or "sum"\.$'):
        bp.Experiment.from_spec(changed(["loss", "type"], "Each"))


def test_without_validation_there_is_no_number_of_it_to_monitor():
    document = changed(["train", "monitor"], "val_loss")
    document["data"]["validation"] = 0.0
    message = r'^train\.monitor = "val_loss": is not measured\. Did you mean "loss"\?$'
    with pytest.raises(ValueError, match=message):
        bp.Experiment.from_spec(document)


def test_labels_of_many_classes_are_tried_with_the_last_of_them(tmp_path):
    np.savez(tmp_path / "many.npz", X=np.zeros((200, 3)), y=np.arange(200) % 100)
    document = changed(["data"], {"name": "npz", "path": str(tmp_path / "many.npz"), "test": 0.0, "validation": 0.0})
    document["model"]["layers"][2]["out_features"] = 99
    with pytest.raises(
        ValueError, match=r"^loss of the model's output \(32, 99\): the data has 100 classes, more than 99\. "
    ):
        bp.Experiment.from_spec(document)
    document["model"]["layers"][2]["out_features"] = 100
    assert bp.Experiment.from_spec(document).model[2].out_features == 100


def test_a_last_batch_of_one_row_is_tried_before_the_first_epoch_comes_to_it():
    document = changed(
        ["model", "layers"], [{"type": "BatchNorm1d"}, {"type": "Dropout"}, *DOCUMENT["model"]["layers"]]
    )
    document["data"]["batch_size"] = 8  # of 1257 rows
    message = (
        r"^data\.batch_size = 8: the last batch of 1257 rows has one\. Set data\.drop_last = true, or another "
        r"batch_size\. The model: batch_norm: "
    )
    with pytest.raises(ValueError, match=message) as caught:
        bp.Experiment.from_spec(document)
    assert len(str(caught.value).splitlines()) == 1
    document["data"]["drop_last"] = True
    kept = bp.Experiment.from_spec(document).model.state_dict()
    document["model"]["layers"][0] = {"type": "LayerNorm"}
    document["data"]["drop_last"] = False
    assert bp.Experiment.from_spec(document).model.state_dict().keys() != kept.keys()
    after = bp.rand(1).item()
    document["data"]["drop_last"] = True
    bp.Experiment.from_spec(document)
    assert bp.rand(1).item() == after  # trying drew nothing


def test_trying_one_row_leaves_no_trace_in_the_model():
    rows = [{"type": "Unflatten", "dim": 1, "unflattened_size": [4, 16]}, {"type": "BatchNorm1d"}, {"type": "Flatten"}]
    document = changed(["model", "layers"], [*rows, {"type": "Linear", "out_features": 10}])
    document["data"]["batch_size"] = 8
    norm = bp.Experiment.from_spec(document).model[1]
    assert norm.num_batches_tracked.item() == 0
    assert not norm.running_mean.data.any()


def test_a_seed_may_be_of_any_size():
    document = changed(["seed"], 2**200)
    assert bp.Experiment.from_spec(document).to_spec()["seed"] == 2**200
    with pytest.raises(ValueError, match=r"^seed: an integer has more than 1000 digits\. Give a shorter one\.$"):
        bp.Experiment.from_spec(changed(["seed"], 10**1000))


def test_a_dict_that_holds_itself_is_refused():
    document = copy.deepcopy(DOCUMENT)
    document["model"]["layers"].append(document["model"])
    with pytest.raises(ValueError, match=r"^the values are nested too deeply\."):
        bp.Experiment.from_spec(document)


def test_a_wrong_type_is_a_type_error_and_a_wrong_value_a_value_error():
    with pytest.raises(TypeError):
        bp.Experiment.from_spec(changed(["optim", "lr"], "fast"))
    with pytest.raises(ValueError):
        bp.Experiment.from_spec(changed(["optim", "lr"], -1.0))


FILES = {
    "syntax.toml": (
        TEXT.replace("lr = 0.05", "lr 0.05").encode(),
        r"this is no TOML: .*\(at line 20, column 4\)\. Correct the document there\.$",
    ),
    "twice.toml": (
        TEXT.replace("lr = 0.05", "lr = 1\nlr = 2").encode(),
        r"TOML: Cannot overwrite a value \(at line 21, .*\)\. Correct the",
    ),
    "syntax.json": (b'{"format": 1,}', r"this is no JSON: .*line 1 column 1\d .*\. Correct the document there\.$"),
    "twice.json": (b'{"format": 1, "format": 1}', r'the key "format" stands twice in one table\. Keep one\.'),
    "list.json": (
        b"[1]",
        r"the document is a list\. Give a table\.$",
    ),
    "deep.toml": (b"x = " + b"[" * 9999, r"the values are nested too deeply\. Give the tables that a document has\.$"),
    "latin.toml": ("# größe".encode("latin-1"), r"byte 4 is not UTF-8\. Save the document as UTF-8\."),
    "utf16.toml": (TEXT.encode("utf-16"), r"byte 0 is not UTF-8\."),
    "empty.toml": (b"", r"format: is missing from the document\."),
    "key.toml": (
        TEXT.replace("momentum", "momentun").encode(),
        r"optim\.momentun: unknown key of SGD\. Did you mean momentum\?",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file_is_named(name, tmp_path):
    content, message = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        bp.Experiment.from_spec(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^digit\.toml: there is no such file\.$"):
        bp.Experiment.from_spec("digit.toml")
    Path("digits.toml").write_text(TEXT)
    with pytest.raises(
        FileNotFoundError, match=r'^digit\.toml: there is no such file\. Did you mean "digits\.toml"\?$'
    ):
        bp.Experiment.from_spec("digit.toml")
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Name a document\."):
        bp.Experiment.from_spec(tmp_path)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 3, 2**63, 10**30, 0.5, -0.5, 1e300, float("inf"), float("nan")]),
    st.sampled_from(["", "Linear", "SGD", "mean", "digits", "in_features", "float32", "\x00", "line\nline"]),
    st.sampled_from([[], {}, [[]], [{}], {"type": "Linear"}, {"type": []}, {"": 1}]),
)
PLACES = [
    ["format"],
    ["seed"],
    *(["data", key] for key in (*DOCUMENT["data"], "validation", "targets", "dtype", "drop_last")),
    *(list(layer(2, key)) for key in ("type", "in_features", "bias", "dtype")),
    ["model", "layers"],
    ["model", "layers", 1],
    ["loss", "type"],
    ["loss", "reduction"],
    *(["optim", key] for key in ("type", "lr", "momentum", "dampening", "weight_decay", "nesterov", "")),
    *(["train", key] for key in ("epochs", "metrics", "patience", "monitor", "clip_norm", "restore_best", "compile")),
    ["train", "snapshots"],
    *([key] for key in ("data", "model", "loss", "optim", "schedule", "train")),
]


@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=2))
def test_nonsense_is_refused_in_one_line_or_makes_sense(changes):
    document = copy.deepcopy(DOCUMENT)
    for (*way, last), value in changes:
        with suppress(LookupError, TypeError):  # the first change may have taken away the place of the second
            functools.reduce(operator.getitem, way, document)[last] = copy.deepcopy(value)
    try:
        experiment = bp.Experiment.from_spec(document)
    except (ValueError, TypeError, OSError) as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(experiment, bp.spec.Experiment)


def test_a_document_is_a_path_or_a_dict():
    with pytest.raises(TypeError, match=r"^from_spec: the document is a list\. Pass a path or a dict\."):
        bp.Experiment.from_spec([1])
