"""train: what it prints, what it leaves in the run folder, how it goes on, and how it refuses."""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import re
import shutil
import signal
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.commands.shell import FILES, MOONS, ROOT, exit_code, files, left, spawned, state_of
from tests.terminal import shown_by
from tinygrad_bp.commands import running, train
from tinygrad_bp.io.atomic import only_writer_of
from tinygrad_bp.spec.reading import written
from tinygrad_bp.training.run_folder import RunFolder

DIGITS = (ROOT / "examples" / "digits.toml").read_text("utf-8")
ENDLESS = MOONS.replace("epochs = 2", "epochs = 1000000")
unix = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals as Unix has them")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run of MOONS."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "moons.toml").write_text(MOONS)
    assert exit_code("train", folder / "moons.toml", "--out", folder / "run", "--quiet") == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder with nothing but a short document, moons.toml."""
    monkeypatch.chdir(tmp_path)
    Path("moons.toml").write_text(MOONS)
    return tmp_path


@pytest.fixture
def run(trained):
    """A copy of the finished run, runs/moons."""
    shutil.copytree(trained, "runs/moons")
    return Path("runs/moons")


# ---- a run --------------------------------------------------------------------------------------------------------


def test_the_document_of_the_readme_is_right_on_97_of_100_digits():
    Path("digits.toml").write_text(DIGITS)
    process = spawned("train", "digits.toml")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    lines = output.splitlines()
    last = re.fullmatch(r"test accuracy (\d\.\d{4}) \((\d+) of 360\)", lines[-1])
    assert last
    assert float(last[1]) == round(int(last[2]) / 360, 4) >= 0.97
    rows = "1257 rows to train on, 180 to validate, 360 to test"
    assert lines[0] == f"digits.toml: 4810 weights and biases; {rows}"
    assert lines[1].startswith("epoch  1/60  loss ")
    assert lines[-4].startswith("epoch 60/60  loss ")
    assert len(lines) < 20
    assert lines[-3] == f"wrote {Path('runs', 'digits')}: {', '.join(FILES)}"
    assert lines[-2].startswith("test loss 0.")
    assert sorted(os.listdir("runs/digits")) == FILES


def test_the_run_folder_holds_the_run(capsys):
    assert exit_code("train", "moons.toml", "-o", "out/here", "--seed", "3", "--set", "train.metrics=['accuracy']") == 0
    assert left() == sorted(
        [
            "moons.toml",
            "out",
            *(f"out/here/{name}".rstrip("/") for name in ["", *FILES, "checkpoint/state.safetensors"]),
            *(f"out/here/snapshots/epoch-0000{epoch}.safetensors" for epoch in (0, 1, 2)),
        ]
    )
    folder = Path("out/here")
    spec = tomllib.loads((folder / "spec.toml").read_text())
    assert spec["seed"] == 3
    assert spec["train"] == {"epochs": 2, "metrics": ["accuracy"]}
    assert [layer.get("in_features") for layer in spec["model"]["layers"]] == [2, None, 4]
    again = bp.Experiment.from_spec(folder / "spec.toml")
    history = again.fit()
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert records == [{key: value for key, value in record.items() if key != "seconds"} for record in history]
    weights = bp.load(folder / "model.safetensors")
    assert all(np.array_equal(weights[name], array) for name, array in again.model.state_dict().items())
    assert json.loads((folder / "columns.json").read_text()) == again.parts.columns.to_dict()
    accuracy = again.evaluate()["accuracy"]
    assert capsys.readouterr().out.splitlines()[-1] == f"test accuracy {accuracy:.4f} ({round(16 * accuracy)} of 16)"


def test_two_runs_of_a_document_are_the_same_files(trained):
    assert exit_code("train", "moons.toml", "--quiet") == 0
    assert files("runs/moons") == files(trained)


def test_the_spec_of_a_run_trains_the_same_again(trained, capsys):
    for document in (trained / "spec.toml", trained):
        assert exit_code("train", document, "-o", "again") == 0
        said = f"a new run of {document}, in again; with --resume {document} itself would go on"
        assert (said == capsys.readouterr().out.splitlines()[0]) is (document == trained)
        assert Path("again/model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
        assert Path("again/spec.toml").read_bytes() == (trained / "spec.toml").read_bytes()
        shutil.rmtree("again")


def test_places_of_data_are_absolute_in_the_run_folder(tmp_path, capsys):
    Path("data").mkdir()
    rows = "".join(f"{k},{k % 3},{'ab'[k % 2]}\n" for k in range(40))
    Path("data/some.csv").write_text(f"x,y,kind\n{rows}")
    Path("data/net.json").write_text(
        json.dumps(
            {
                "format": 1,
                "data": {"name": "csv", "path": "some.csv", "target": "kind"},
                "model": {"type": "Linear", "out_features": 2},
                "loss": {"type": "CrossEntropyLoss"},
                "optim": {"type": "SGD", "lr": 0.1},
                "train": {"epochs": 1},
            }
        )
    )
    assert exit_code("train", "data/net.json", "--quiet") == 0
    assert tomllib.loads(Path("runs/net/spec.toml").read_text())["data"]["path"] == str(tmp_path / "data" / "some.csv")
    assert (
        exit_code("train", "data/net.json", "-o", "text", "--set", "data.target=y", "--set", "model.out_features=3")
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1] == "columns of text, one-hot: kind (2)"
    shutil.copy("data/some.csv", "other.csv")
    assert exit_code("train", "data/net.json", "--quiet", "-o", "out", "--set", "data.path=other.csv") == 0
    assert tomllib.loads(Path("out/spec.toml").read_text())["data"]["path"] == str(tmp_path / "other.csv")


def test_an_empty_folder_is_a_run_folder():
    Path("out").mkdir(mode=0o700)
    assert exit_code("train", "moons.toml", "-o", "out", "--quiet") == 0
    assert sorted(os.listdir("out")) == FILES
    assert Path("out").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        (["data.validation=0.2"], r"test loss 0\.\d{4} \(16 rows\)"),
        (["data.test=0.0"], r"validation loss 0\.\d{4} \(8 rows\)"),
        (["data.test=0.0", "data.validation=0.0"], r"no rows were held out"),
        (["train.metrics=['accuracy', 'f1']"], r"test f1 0\.\d{4}\ntest accuracy 0\.\d{4} \(\d+ of 16\)"),
    ],
)
def test_the_last_lines_are_the_scores_on_what_was_held_out(settings, last, capsys):
    assert exit_code("train", "moons.toml", *(word for setting in settings for word in ("--set", setting))) == 0
    assert re.search(f"\n{last}\n$", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("scores", "lines"),
    [
        ({"loss": 0.25, "rows": 360}, ["test loss 0.2500 (360 rows)"]),
        ({"loss": 12345.678, "accuracy": 0.75, "rows": 4}, ["test loss 12345.6780", "test accuracy 0.7500 (3 of 4)"]),
        ({"loss": 1e-7, "r2": -0.5, "rows": 4}, ["test r2 -0.5000", "test loss 1.000e-07 (4 rows)"]),
        ({"loss": 0.0, "accuracy": 0.3, "rows": 4}, ["test loss 0.0000", "test accuracy 0.3000 (4 rows)"]),
        ({"loss": np.nan, "accuracy": np.nan, "rows": 4}, ["test loss nan", "test accuracy nan (4 rows)"]),
    ],
)
def test_scores_are_told_line_by_line(scores, lines):
    assert running.score_lines("test", scores) == lines


def test_quiet_says_nothing(capsys):
    fonts = logging.getLogger("matplotlib.font_manager")  # it has something to say where finding fonts takes long
    fonts.setLevel(logging.WARNING)
    assert exit_code("train", "moons.toml", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert not fonts.isEnabledFor(logging.WARNING)


def test_json_is_one_object_on_stdout_and_the_progress_is_on_stderr(capsys):
    settings = ["--set", "optim.lr=0.5", "--set", "train.epochs=3"]  # with these the best epoch is not the last
    assert exit_code("train", "moons.toml", "--json", *settings) == 0
    output, errors = capsys.readouterr()
    found = json.loads(output)
    records = [json.loads(line) for line in Path("runs/moons/metrics.jsonl").read_text().splitlines()]
    best = min(records, key=lambda record: record["val_loss"])
    assert list(found) == ["folder", "finished", "epochs", "best", "final", "validation", "test", "seconds"]
    assert (found["folder"], found["finished"], found["epochs"]) == ("runs/moons", True, 3)
    assert (found["best"], found["final"]) == (best, records[-1])
    assert best["epoch"] < 3
    assert found["validation"] == {"loss": records[-1]["val_loss"], "rows": 8}
    assert found["test"]["rows"] == 16
    assert 0 < found["seconds"] < 600
    assert re.match(r"moons\.toml: 22 weights and biases; 56 rows to train on, .*\nepoch 1/3  loss", errors)
    assert errors.endswith(f"test loss {found['test']['loss']:.4f} (16 rows)\n")
    assert exit_code("train", "runs/moons", "--resume", "--json", "--quiet") == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert json.loads(output) | {"seconds": found["seconds"]} == found


def test_why_a_step_is_not_compiled_is_one_line_on_stderr(capsys, monkeypatch):
    def fit(experiment, **_):
        logging.getLogger("tinygrad_bp").warning("fit: the step is not compiled.\n  Because.")
        sys.exit(3)

    monkeypatch.setattr(bp.Experiment, "fit", fit)
    assert exit_code("train", "moons.toml", "-o", "a") == 3
    assert capsys.readouterr().err.splitlines()[0] == "fit: the step is not compiled. Because."
    assert exit_code("train", "moons.toml", "-o", "b", "--quiet") == 3
    assert "compiled" not in capsys.readouterr().err
    assert not logging.getLogger("tinygrad_bp").handlers


@unix
@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_shows_a_bar_with_loss_and_accuracy(colours, tmp_path):
    environment = {"TERM": "xterm-256color", "COLUMNS": "80"} | ({} if colours else {"NO_COLOR": "1"})
    command = ("train", "moons.toml", "--set", "train.metrics=['accuracy']")
    shown = shown_by(lambda end: spawned(*command, stdout=end, env=environment))
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert re.search(r"epoch 2/2\s+loss \d\.\d{4}\s+val accuracy \d\.\d{4} ", plain)  # in 80 columns nothing is cut off
    assert bool(re.search(r"\x1b\[[\d;]*m", shown)) == colours
    assert plain.splitlines()[-1].startswith("test accuracy ")


def test_a_reader_that_goes_away_ends_the_run_in_silence():
    read, write = os.pipe()
    os.close(read)
    process = spawned("train", "moons.toml", stdout=write)
    os.close(write)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (1, "")


# ---- going on -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["moons.toml"], ["runs/moons"], ["runs/moons/spec.toml", "-o", "runs/moons"]])
def test_a_finished_run_stays_as_it_is(arguments, run, capsys):
    before = state_of("runs")
    assert exit_code("train", *arguments, "--resume") == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{run}: this run is finished, nothing is left to do."
    assert state_of("runs") == before


@pytest.mark.parametrize("there", [[], ["spec.toml"], ["spec.toml", "columns.json", ".columns.json.01234567.part"]])
def test_a_run_killed_before_its_first_checkpoint_starts_anew(there, trained):
    if there:
        Path("runs/moons").mkdir(parents=True)
    for name in there:
        source = trained / name.split(".")[-3] if name.startswith(".") else trained / name
        Path("runs/moons", name).write_bytes(source.read_bytes() if source.exists() else b"half")
    assert exit_code("train", "moons.toml", "--resume", "--quiet") == 0
    assert sorted(os.listdir("runs/moons")) == FILES
    for name in ("model.safetensors", "metrics.jsonl", "columns.json"):
        assert Path("runs/moons", name).read_bytes() == (trained / name).read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--set", "optim.lr=0.1"], r"optim\.lr = 0\.05, here it is 0\.1"),
        (["--set", "optim.lr=0.1", "--set", "train.epochs=3"], r"optim\.lr = 0\.05, here it is 0\.1"),
        (["--set", "train.epochs=1"], r"train\.epochs = 2, here it is 1"),
        (["--seed", "7"], r"seed = 0, here it is 7"),
        (["--set", "data.noise=0.2"], r"data\.noise left out, here it is 0\.2"),
        (["--set", "model.layers[1].type=ReLU"], r'model\.layers\[1\]\.type = "Tanh", here it is "ReLU"'),
        (["--set", "train={epochs = 2}"], r"train\.metrics = \[\], here it is left out"),
        (["--set", "train.metrics=['accuracy']"], r'train\.metrics\[0\] left out, here it is "accuracy"'),
    ],
)
def test_a_run_of_another_document_does_not_go_on(settings, message, run, capsys):
    before = state_of("runs")
    assert exit_code("train", "moons.toml", "--resume", *settings) == 2
    output, errors = capsys.readouterr()
    cure = "Leave that as it was, or name another folder: --out."
    assert re.fullmatch(rf"{run}: was run with {message}\. {re.escape(cure)}\n", errors), errors
    assert output == ""
    assert state_of("runs") == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "model.safetensors", "columns.json"])
def test_what_has_gone_from_a_finished_run_is_written_again(name, run, capsys):
    before = files(run)
    (run / name).unlink()
    assert exit_code("train", run, "--resume") == 0
    assert files(run) == before
    assert not capsys.readouterr().err
    (run / "metrics.jsonl").write_bytes(b"")  # somebody else's affair
    assert exit_code("train", run, "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["final"]["epoch"] == 2


def test_of_two_runs_begun_at_once_one_has_the_folder(trained, monkeypatch, capsys):
    from_spec = bp.Experiment.from_spec

    def later(document):
        shutil.copytree(trained, "runs/moons")
        return from_spec(document)

    monkeypatch.setattr(bp.Experiment, "from_spec", later)
    assert exit_code("train", "moons.toml", "--set", "optim.lr=0.1") == 2
    assert re.match(rf"{Path('runs', 'moons')} holds an earlier run \(checkpoint, .*\)\. ", capsys.readouterr().err)
    assert files("runs/moons") == files(trained)


@unix
def test_a_run_that_another_process_is_writing_is_left_alone(run, capsys):
    before = state_of(run)
    with only_writer_of(run):
        assert exit_code("train", run, "--resume", "--set", "train.epochs=3") == 2
    assert capsys.readouterr().err == f"{run}: another process writes there. Wait for it, or name another folder.\n"
    assert state_of(run) == before


def test_a_run_goes_on_to_more_epochs(run, capsys):
    longer = ["--set", "train.epochs=4"]
    assert exit_code("train", "moons.toml", "-o", "whole", "--quiet", *longer) == 0
    for document in ("moons.toml", run):  # of a finished run, then of one that is at its end anew
        assert exit_code("train", document, "--resume", *longer) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "going on in epoch 3, batch 1 of 4"
    assert lines[-2] == f"{run}: this run is finished, nothing is left to do."
    assert files(run) == files("whole")


def test_a_run_that_was_killed_before_its_first_new_epoch_is_not_finished(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bp.Experiment, "fit", lambda *_, **__: sys.exit(9))
        assert exit_code("train", "moons.toml", "--resume", "--quiet", "--set", "train.epochs=3") == 9
    assert exit_code("train", run, "--resume", "--quiet") == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_run_that_does_not_go_on_is_of_as_many_epochs_as_before(run, monkeypatch, capsys):
    before = files(run)
    monkeypatch.setattr("tinygrad_bp.training.loop.fingerprint", lambda *_: "of other data")
    assert exit_code("train", "moons.toml", "--resume", "--set", "train.epochs=3") == 2
    assert capsys.readouterr().err.startswith("resume: the training data is not that of the run. ")
    assert files(run) == before


def test_long_values_are_compared_to_their_end(run):
    places = [f"/{'very/' * 20}long/{name}.csv" for name in "ab"]
    spec = {"data": {"path": places[0], "noise": float("nan")}, "optim": {"lr": 1}}
    (run / "spec.toml").write_text(written(spec))
    same = written(spec | {"optim": {"lr": 1.0}})
    train._check_same(run, same)
    message = f'{run}: was run with data.path = "{places[0]}", here it is "{places[1]}". '
    with pytest.raises(ValueError, match=re.escape(message)):
        train._check_same(run, same.replace(*places))


def test_without_resume_an_earlier_run_is_left_alone(run, capsys):
    before = state_of("runs")
    assert exit_code("train", "moons.toml") == 2
    errors = capsys.readouterr().err
    assert re.fullmatch(r"runs/moons holds an earlier run .*by --resume, or name another folder\.\n", errors)
    assert state_of("runs") == before


def test_a_run_does_not_go_on_with_other_data(capsys):
    table = "x,y,kind\n" + "".join(f"{k},{k % 3},{'ab'[k % 2]}\n" for k in range(40))
    Path("some.csv").write_text(table)
    Path("net.toml").write_text(
        MOONS.replace('name = "moons", n = 80', 'name = "csv", path = "some.csv", target = "kind"')
    )
    assert exit_code("train", "net.toml", "--quiet") == 0
    Path("some.csv").write_text(table.replace("39,0", "41,0"))
    checkpoint = Path("runs/net/checkpoint/state.safetensors")
    state = bp.load(checkpoint)
    state["loop"]["finished"] = False
    bp.save(checkpoint, state)
    before = files("runs/net")
    assert exit_code("train", "net.toml", "--resume") == 2
    assert re.fullmatch(r"resume: the training data is not that of the run\. .*\n", capsys.readouterr().err)
    assert files("runs/net") == before


def test_a_damaged_checkpoint_is_one_line(run, capsys):
    checkpoint = run / "checkpoint" / "state.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    before = state_of("runs")
    assert exit_code("train", "moons.toml", "--resume") == 2
    assert re.fullmatch(r".*checkpoint/state\.safetensors .*\n", capsys.readouterr().err)
    assert state_of("runs") == before


# ---- ended early --------------------------------------------------------------------------------------------------


def test_a_run_that_diverges_is_one_line_and_says_what_is_kept(capsys):
    assert exit_code("train", "moons.toml", "--set", "optim.lr=1e200", "--set", "model.layers[1].type=ReLU") == 1
    errors = capsys.readouterr().err
    kept = "What was saved until then stays in runs/moons; give the next run another folder with --out."
    assert re.fullmatch(
        rf"fit: the loss is nan in epoch 1, batch \d\. Lower the learning rate.* {re.escape(kept)}\n", errors
    )
    assert {"spec.toml", "columns.json"} <= set(os.listdir("runs/moons"))


@unix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_saved_and_says_how_it_goes_on(number, code):
    Path("mine.py").write_text("")
    Path("long.toml").write_text(ENDLESS)
    listening = functools.partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # also where tests run in the background
    process = spawned("train", "long.toml", "-o", "a run", "--import", "mine.py", preexec_fn=listening)
    assert "rows to train on" in process.stdout.readline()
    assert process.stdout.readline().startswith("epoch       1/1000000  loss")
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    again = "python -m tinygrad_bp train 'a run' --resume --import mine.py"
    found = re.fullmatch(rf"interrupted in epoch (\d+) of 1000000: saved\. Go on with: {again}\n", errors)
    assert (process.returncode, bool(found)) == (code, True), errors
    assert sorted(os.listdir("a run")) == FILES
    assert len(Path("a run/metrics.jsonl").read_text().splitlines()) == int(found[1]) - 1


@unix
def test_an_interrupted_run_goes_on_to_the_same_files(monkeypatch, capsys):
    append, numbers = RunFolder.append, [signal.SIGINT, signal.SIGTERM]

    def interrupted(folder, record):
        append(folder, record)
        if numbers:
            os.kill(os.getpid(), numbers.pop())

    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    monkeypatch.setattr(RunFolder, "append", interrupted)
    try:
        ends = [exit_code("train", "moons.toml", "--resume", "--set", "train.epochs=3") for _ in range(3)]
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before):
            signal.signal(number, handler)
    assert ends == [143, 130, 0]
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "interrupted in epoch 2 of 3",
        "interrupted in epoch 3 of 3",
    ]
    assert exit_code("train", "moons.toml", "--set", "train.epochs=3", "--out", "whole", "--quiet") == 0
    assert files("runs/moons") == files("whole")


@pytest.mark.parametrize("stop", [KeyboardInterrupt("fit: ..."), KeyboardInterrupt(), SystemExit(143)])
def test_what_is_said_of_an_interrupted_run(stop, monkeypatch, capsys):
    def fit(*_, **__):
        raise stop

    monkeypatch.setattr(bp.Experiment, "fit", fit)
    assert exit_code("train", "moons.toml") == (143 if isinstance(stop, SystemExit) else 130)
    kept = "saved" if str(stop) else "at the last checkpoint"
    again = "Go on with: python -m tinygrad_bp train runs/moons --resume"
    assert capsys.readouterr().err == f"interrupted in epoch 1 of 2: {kept}. {again}\n"


def test_a_run_interrupted_when_all_was_done_says_so(run, monkeypatch, capsys):
    def fit(*_, **__):
        shutil.copytree(run, "other", dirs_exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(bp.Experiment, "fit", fit)
    assert exit_code("train", "moons.toml", "-o", "other") == 130
    assert capsys.readouterr().err == "interrupted when all was done: other is finished.\n"


def test_an_interrupt_before_the_training_is_one_line(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bp.Experiment, "from_spec", interrupted)
    assert exit_code("train", "moons.toml") == 130
    assert capsys.readouterr().err == "interrupted.\n"
    assert left() == ["moons.toml"]


@unix
def test_sigterm_before_the_training_ends_in_silence(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(bp.Experiment, "from_spec", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert exit_code("train", "moons.toml") == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr() == ("", "")
    assert left() == ["moons.toml"]


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["moon.toml"], r"moon\.toml: there is no such file\. Did you mean .?moons\.toml.?\?"),
        (["."], r"\.: is no run folder, it holds no spec\.toml\. Name a document, or a folder of train\."),
        (["wrong.toml"], r"wrong\.toml: optim\.lrr.*: unknown key of Adam\. Did you mean .?lr.?\?"),
        (
            ["moons.toml", "--set", "optim.lrr=1"],
            r"moons\.toml: optim\.lrr.*: unknown key of Adam\. Did you mean .?lr.?\?",
        ),
        (["moons.toml", "--set", "lr"], r'moons\.toml: "lr": is no setting\. Give place=value, as in optim\.lr=0\.1\.'),
        (["moons.toml", "--seed", "x"], r'moons\.toml: seed = "x": .*'),
        (["moons.toml", "--seed", "-1"], r"moons\.toml: seed = -1: .*"),
        (["moons.toml", "-o", "full"], r"full holds other things \(a file\)\. .*"),
        (["moons.toml", "-o", "full", "--resume"], r"full holds other things \(a file\)\. .*"),
        (["moons.toml", "-o", "wrong.toml"], r".*wrong\.toml is a file\. Name a folder for the run\."),
        (
            ["moons.toml", "-o", "wrong.toml/out"],
            r"wrong\.toml/out: Not a directory\. Name another folder with --out\.",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    Path("wrong.toml").write_text(MOONS.replace("lr =", "lrr ="))
    Path("full").mkdir()
    Path("full", "a file").touch()
    before = left()
    assert exit_code("train", *arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(message + r"\n", errors), errors
    assert left() == before


@pytest.mark.parametrize("package", ["rich", "matplotlib", "safetensors", "tomli_w"])
def test_a_missing_extra_is_said_before_anything_runs(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert exit_code("train", "moons.toml") == 2
    name = package.replace("_", "-")
    assert capsys.readouterr() == ("", f"{name}: not installed. pip install 'tinygrad_bp[cli]'.\n")
    assert left() == ["moons.toml"]


def test_a_disk_that_is_full_is_one_line(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bp.training.run_folder, "save", full)
    assert exit_code("train", "moons.toml") == 1
    assert capsys.readouterr().err == (
        "runs/moons: No space left on device. Make room, and go on with: "
        "python -m tinygrad_bp train runs/moons --resume\n"
    )


def test_a_reader_who_leaves_while_it_trains_ends_a_run_in_silence(tmp_path):
    (tmp_path / "moons.toml").write_text(MOONS.replace("epochs = 2", "epochs = 20000"))  # a line for each tenth
    run = spawned("train", "moons.toml", cwd=tmp_path)
    assert any(line.startswith("epoch ") for line in run.stdout)
    run.stdout.close()
    assert (run.wait(60), run.stderr.read()) == (1, "")
    run.stderr.close()
    assert (tmp_path / "runs" / "moons" / "model.safetensors").is_file()
