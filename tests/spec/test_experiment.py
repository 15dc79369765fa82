"""A document becomes what it says, both ways, and every mistake in one is one line with its place."""

from __future__ import annotations

import copy
import functools
import json
import operator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_bp as bp
from tests.spec.documents import DOCUMENT, TEXT, changed, layer

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
    assert (len(experiment.train[1]), len(experiment.test[1])) == (1437, 360)
    assert (experiment.loader.batch_size, experiment.loader.shuffle) == (32, True)
    assert experiment.settings == {"epochs": 60}
    assert all(module.training for module in experiment.model.modules())


def test_the_test_rows_are_a_stratified_fifth_and_disjoint_from_the_rest():
    experiment = bp.Experiment.from_spec(DOCUMENT)
    counts = np.bincount(experiment.test[1])
    assert np.all(np.abs(counts - np.bincount(bp.data.digits()[1]) / 5) < 1)
    together = np.concatenate([experiment.train[0], experiment.test[0]])
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
    X_train, _, y_train, _ = bp.data.train_test_split(*bp.data.digits(), test=0.2, seed=split)
    bp.manual_seed(weights)
    first = bp.nn.Linear(64, 64)
    loader = bp.data.DataLoader(X_train, y_train, batch_size=32, shuffle=True, seed=order)
    assert np.array_equal(experiment.train[0], X_train)
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
    experiment = bp.Experiment.from_spec(document)
    assert experiment.model[0].in_features == 784
    assert (len(experiment.train[1]), len(experiment.test[1])) == (50000, 10000)
    assert experiment.fit()[0]["test_accuracy"] > 0.8


# ---- mistakes -----------------------------------------------------------------------------------------------------

NUMBER_OF_ROWS = r"train_test_split: of the 178 rows of class 0, test=0\.0001 holds out 0"
MISTAKES = [
    # the document
    (["format"], 2, r"format = 2: this version reads format 1\."),
    (["format"], "1", r'format = "1": this version reads format 1\.'),
    (["format"], True, r"format = true: is a bool\. Give an integer\."),
    (["format"], ..., r"format: is missing from the document\. Give an integer\."),
    (["seed"], -1, r"seed = -1: is negative\. Give an integer >= 0\."),
    (["seed"], 1.0, r"seed = 1\.0: is a float\. Give an integer\."),
    (["sede"], 1, r'sede = 1: the document has no such key\. Did you mean "seed"\?'),
    (
        ["x"],
        [1] * 99,
        r"x = \[1(, 1)+,\.\.\.: the document has no such key\. Its keys: format, seed, data, model, loss",
    ),
    ([3], 1, r"3 = 1: the document has no such key\."),
    (["a b"], 1, r'"a b" = 1: the document has no such key\.'),
    (["a\nb"], 1, r'"a\\nb" = 1: the document has no such key\.'),
    (["data"], ..., r"data: is missing from the document\. Give a table\."),
    (["train"], ..., r"train: is missing from the document\. Give a table\."),
    (["loss"], "MSELoss", r'loss = "MSELoss": is a string\. Give a table\.'),
    # data
    (["data", "name"], "digit", r'data\.name = "digit": there is no such data set\. Did you mean "digits"\?'),
    (["data", "name"], "cifar", r'data\.name = "cifar": there is no such data set\. Choose from digits, mnist\.'),
    (["data", "name"], 5, r"data\.name = 5: is an integer\. Choose from digits, mnist\."),
    (["data", "name"], ..., r"data\.name: is missing\. Choose from digits, mnist\."),
    (["data", "batch_size"], 0, r"data: DataLoader: batch_size is 0\. Give an integer >= 1\."),
    (["data", "batch_size"], 32.0, r"data\.batch_size = 32\.0: is a float\. Give an integer\."),
    (
        ["data", "batchsize"],
        3,
        r'data\.batchsize = 3: \[data\] of digits has no such key\. Did you mean "batch_size"\?',
    ),
    (
        ["data", "seed"],
        3,
        r"data\.seed = 3: \[data\] of digits has no such key\. Its keys: test, batch_size, shuffle, d",
    ),
    (["data", "arrays"], "x", r'data\.arrays = "x": \[data\] of digits has no such key\.'),
    (["data", "folder"], "x", r'data\.folder = "x": \[data\] of digits has no such key\.'),
    (["data", "test"], 1.5, r"data: train_test_split: test is 1\.5\. Give a number between 0 and 1\."),
    (["data", "test"], 0.0001, f"data: {NUMBER_OF_ROWS}"),
    (["data", "test"], True, r"data\.test = true: is a bool\. Give a number\."),
    (["data", "test"], None, r"data\.test = null: is null\. Give a number\."),
    (["data", "shuffle"], 1, r"data\.shuffle = 1: is an integer\. Give true or false\."),
    (
        ["data"],
        {"name": "mnist", "test": 0.2},
        r"data\.test = 0\.2: \[data\] of mnist has no such key\. Its keys: folder",
    ),
    (["data"], {"name": "mnist", "folder": "nowhere"}, r"data: mnist: nowhere has neither mnist\.pkl\.gz nor the four"),
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
            r"Use CrossEntropyLoss, or NLLLoss after LogSoftmax\.$",
        )
        for name in ("MSELoss", "QuadraticLoss", "L1Loss", "BCELoss", "BCEWithLogitsLoss")
    ),
    (
        layer(2, "out_features"),
        5,
        r"loss of the model's output \(10, 5\): cross_entropy: label 5 at index 5 is not a class",
    ),
    (
        ["loss", "reduction"],
        "summ",
        r'loss\.reduction = "summ": is not one of "mean", "sum", "none"\. Did you mean "sum"\?',
    ),
    (["loss", "reduction"], "x", r'loss\.reduction = "x": is not one of "mean", "sum", "none"\.$'),
    (["loss", "reduction"], 3, r'loss\.reduction = 3: is an integer\. Give one of "mean", "sum", "none"\.'),
    (["loss", "reduction"], "none", r'loss\.reduction = "none": gives no single number\. Choose "mean" or "sum"\.'),
    # optim
    (["optim", "type"], "adam", r'optim\.type = "adam": there is no such optimizer\. Did you mean "Adam"\?'),
    (
        ["optim", "type"],
        "Optimizer",
        r'optim\.type = "Optimizer": there is no such optimizer\. Choose from SGD, Adagrad, Adam, AdamW, RMSprop\.',
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
        r"optim\.params = \[\]: SGD has no such key\. Its keys: lr, momentum, dampening, weight_decay",
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
    (["model", "layers"], [{"type": "ReLU"}], r"optim: SGD: there are no parameters\."),
    # train
    (["train", "epochs"], 0, r"train\.epochs = 0: too few\. Train for at least 1\."),
    (["train", "epochs"], ..., r"train\.epochs: is missing from \[train\]\. Give an integer\."),
    (["train", "epochs"], 1.5, r"train\.epochs = 1\.5: is a float\. Give an integer\."),
    (["train", "epoch"], 1, r'train\.epoch = 1: \[train\] has no such key\. Did you mean "epochs"\?'),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[message[:40] for _, _, message in MISTAKES])
def test_a_mistake_is_one_line_with_its_place(path, value, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message) as caught:
        bp.Experiment.from_spec(changed(path, value))
    assert len(str(caught.value).splitlines()) == 1


def test_a_wrong_type_is_a_type_error_and_a_wrong_value_a_value_error():
    with pytest.raises(TypeError):
        bp.Experiment.from_spec(changed(["optim", "lr"], "fast"))
    with pytest.raises(ValueError):
        bp.Experiment.from_spec(changed(["optim", "lr"], -1.0))
    with pytest.raises(TypeError, match=r"the document is a list\. Give a table with format, seed, data, model, loss"):
        bp.spec.experiment._experiment([])


FILES = {
    "syntax.toml": (
        TEXT.replace("lr = 0.05", "lr 0.05").encode(),
        r"this is no TOML: .*\(at line 19, column 4\)\. Correct the document there\.$",
    ),
    "twice.toml": (
        TEXT.replace("lr = 0.05", "lr = 1\nlr = 2").encode(),
        r"TOML: Cannot overwrite a value \(at line 20, .*\)\. Correct the",
    ),
    "syntax.json": (b'{"format": 1,}', r"this is no JSON: .*line 1 column 1\d .*\. Correct the document there\.$"),
    "twice.json": (b'{"format": 1, "format": 1}', r'the key "format" stands twice in one table\. Keep one\.'),
    "list.json": (
        b"[1]",
        r"the document is a list\. Give a table with format, seed, data, model, loss, optim, train\.",
    ),
    "deep.toml": (b"x = " + b"[" * 9999, r"the values are nested too deeply\. Give the tables that a document has\.$"),
    "latin.toml": ("# größe".encode("latin-1"), r"byte 4 is not UTF-8\. Save the document as UTF-8\."),
    "utf16.toml": (TEXT.encode("utf-16"), r"byte 0 is not UTF-8\."),
    "empty.toml": (b"", r"format: is missing from the document\."),
    "key.toml": (
        TEXT.replace("momentum", "momentun").encode(),
        r'optim\.momentun = 0\.9: .* Did you mean "momentum"\?',
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
    *(["data", key] for key in (*DOCUMENT["data"], "shuffle", "drop_last")),
    *(list(layer(2, key)) for key in ("type", "in_features", "bias", "dtype")),
    ["model", "layers"],
    ["model", "layers", 1],
    ["loss", "type"],
    ["loss", "reduction"],
    *(["optim", key] for key in ("type", "lr", "momentum", "dampening", "weight_decay", "nesterov", "")),
    ["train", "epochs"],
    *([key] for key in ("data", "model", "loss", "optim", "train")),
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
