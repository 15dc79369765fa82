"""python -m tinygrad_bp check: what it finds and runs, what it prints, its exit codes, and how it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import __main__ as command
from tinygrad_bp.checking import cases, domains, targets

ROOT = Path(__file__).parent.parent.parent
DIGITS = str(ROOT / "examples" / "digits.toml")

SOURCE = '''
"""Things to check."""

import numpy as np
import tinygrad_bp as bp

print("imported")  # goes to stderr, so that JSON stays JSON


def dense(x, w, b=None):
    return np.tanh(x @ w) if b is None else np.tanh(x @ w + b)


def constant(x):
    return x * 0.0


def noisy(x):
    return x.astype(np.float32).astype(float)


def choosy(x, y, power=2):
    return x**power + y


def of_list(*xs):
    return xs[0]


wrong = bp.primitive("wrong", np.sin, lambda g, y, x: -g * np.cos(x))
ignoring = bp.primitive("ignoring", np.sin, lambda g, y, x: np.cos(x) + 0.0 * g)
relu = bp.ops.relu
number = 3.0


class Scale(bp.nn.Module):
    def __init__(self, n, start=1.0):
        self.factor = bp.nn.Parameter(np.full(n, start))

    def forward(self, x):
        return self.factor * x


class Skewed(Scale):
    def forward(self, x):
        return wrong(self.factor * x)


class Drawn(bp.nn.Module):
    def __init__(self, n):
        self.linear = bp.nn.Linear(n, 2)

    def forward(self, x):
        return wrong(self.linear(x))


class Inside:
    scale = Scale(2)

    @staticmethod
    def right(x):
        return np.exp(x)


def make(n=3):
    return bp.nn.Sequential(bp.nn.Linear(n, 2), bp.nn.Tanh())


def make_default():
    return Scale(4)


def make_number(n):
    return n


def make_function(power):
    return lambda x: x**power


net = Scale(3)
hidden = [lambda x: x * x][0]


def forward(x, w):
    return x @ w


def backward(x, w, upstream):
    return upstream @ w.T, x.T @ upstream


def backward_wrong(x, w, upstream):
    return upstream @ w.T, -x.T @ upstream


def cost(theta):
    return np.sum(theta**2)


def gradient(theta):
    return 2 * theta
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder but for things.py; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    Path("things.py").write_text(SOURCE)
    loaded = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - loaded:
        if not name.startswith("tinygrad_bp"):
            del sys.modules[name]


def check(*arguments):
    """The exit code."""
    try:
        return command.main(["check", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def checked(capsys, *arguments):
    """The exit code and what stands on stdout."""
    code = check(*arguments)
    return code, capsys.readouterr().out


# ---- what is checked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["things:dense", "--input", "4x3", "--input", "3x2"], 0, r"PASS  dense\(x, w\): 144 .*"),
        (["things.py:dense", "--input", "w=3x2", "--input", "x=4x3"], 0, r"PASS  dense\(x, w\): 144 .*"),
        (["things.py:dense", "--input", "4x3", "--input", "b=2", "--input", "3x2"], 0, r"PASS  dense\(x, w, b\): .*"),
        (["things.py:choosy", "--input", "3", "--input", "y=3"], 0, r"PASS  choosy\(x, y\): 18 .*"),
        (["things.py:choosy", "--input", "x=", "--input", "y="], 0, r"PASS  choosy\(x, y\): 2 .*"),
        (["things.py:wrong"], 1, r"FAIL  wrong\(.*: the gradient of x \(6 of 6 entries\) is wrong"),
        (["things.py:wrong", "--input", "2"], 1, r"FAIL  wrong\(.*\(2 of 2 entries\) is wrong"),
        (["things.py:ignoring"], 4, "CONTRACT  ignoring.*"),
        (["things.py:constant", "--input", "3"], 3, "VACUOUS  constant.*"),
        (["things.py:relu"], 0, r"PASS  relu\(x\): 36 .*"),
        (["things.py:Scale", "--args", "3", "--input", "2x3"], 0, r"PASS  Scale\(\): 54 .*"),
        (["things.py:Scale(3, 2.5)", "--input", "2x3"], 0, r"PASS  Scale\(\): 54 .*"),
        (["things.py:Scale(9)", "--args", "3, 2.5", "--input", "x=2x3"], 0, r"PASS  Scale\(\): 54 .*"),
        (["things.py:Skewed", "--args", "3", "--input", "2x3"], 1, r"FAIL  Skewed\(\): the gradients? of .*"),
        (["things.py:net", "--input", "2x3"], 0, r"PASS  Scale\(\): 54 .*"),
        (["things.py:Inside.scale", "--input", "2"], 0, r"PASS  Scale\(\): 8 .*"),
        (["things.py:Inside.right", "--input", "2"], 0, r"PASS  right\(x\): 4 .*"),
        (["things.py:make(3)", "--input", "4x3"], 0, "PASS  Sequential.*"),
        (["things.py:make", "--args", "3", "--input", "4x3"], 0, "PASS  Sequential.*"),
        (["things.py:make_default", "--input", "4"], 0, r"PASS  Scale\(\): 32 .*"),
        (["things.py:make_function", "--args", "2", "--input", "3"], 0, r"PASS  function\(x\): 9 .*"),
        (["tinygrad_bp.ops:log"], 0, r"PASS  log\(x\): 36 .*"),
        (["tinygrad_bp.ops:log", "--input", "2x5"], 0, r"PASS  log\(x\): 100 .*"),
        (["tinygrad_bp.ops:power", "--input", "2", "--input", "2"], 0, r"PASS  power\(.*: 8 .*"),
        (["tinygrad_bp.ops:softmax", "--input", "2x3"], 0, r"PASS  softmax\(x\): 36 .*"),
        (["tinygrad_bp.ops:equal"], 4, "CONTRACT  equal.*bool.*"),
        (["tinygrad_bp.nn:Linear"], 0, r"PASS  Linear\(in_features=3, out_features=4\): .*"),
        (["tinygrad_bp.nn:CrossEntropyLoss"], 0, r"PASS  CrossEntropyLoss\(.*"),
        (["tinygrad_bp.nn:Linear(2, 1, False)", "--input", "5x2"], 0, r"PASS  Linear\(in_features=2, out_features=1.*"),
        (["tinygrad_bp.nn.functional:mse_loss", "--input", "2x2", "--input", "2x2"], 0, r"PASS  mse_loss\(.*"),
        (["--plain", "things:forward,backward", "--input", "4x3", "--input", "3x2"], 0, r"PASS  forward\(x, w\): .*"),
        (["--plain", "things.py:forward,backward_wrong", "--input", "4x3", "--input", "3x2"], 1, r"FAIL .* w .*"),
        (["--plain", "things.py:cost,gradient", "--loss", "--input", "3"], 0, r"PASS  cost\(theta\): 3 .*"),
    ],
)  # fmt: skip
def test_what_is_named_is_checked(capsys, arguments, code, line):
    found, out = checked(capsys, *arguments)
    assert re.fullmatch(line, out.splitlines()[0])
    assert found == code
    assert "imported" not in out


def test_options_reach_the_check(capsys):
    def report(*options):
        code, out = checked(capsys, "things.py:dense", "--input", "4x3", "--input", "3x2", "--json", *options)
        assert code == 0
        return json.loads(out)

    assert (report()["seed"], report()["mode"], report()["order"]) == (0, "full", 1)
    assert report("--seed", "7")["seed"] == 7
    assert report("--mode", "fast")["mode"] == "fast"
    assert report("--order", "2")["order"] == 2
    assert report() == report()
    assert report()["resolution"] != report("--seed", "1")["resolution"]  # of other inputs
    Path("near.py").write_text(
        "import numpy as np, tinygrad_bp as bp\n"
        "near = bp.primitive('near', np.sin, lambda g, y, x: g * np.cos(x) * (1 + 1e-4))\n"
    )
    assert check("near.py:near") == 1
    assert check("near.py:near", "--rtol", "1e-3") == 0


def test_the_seed_is_that_of_the_parameters(capsys):
    Path("made.py").write_text("import tinygrad_bp as bp\ndef make():\n    layer = bp.nn.Linear(2, 1)\n")
    weights = []
    for seed in (0, 0, 1):
        check("things.py:make", "--args", "3", "--input", "2x3", "--seed", seed)
        bp.manual_seed(seed)
        weights.append(bp.nn.Linear(3, 2).weight.tolist())
    made = [targets.named_checks("things.py:make", "3", ["2x3"], seed, {})[0].run.args[0] for seed in (0, 0, 1)]
    assert [layer[0].weight.tolist() for layer in made] == weights
    assert weights[0] == weights[1] != weights[2]


def test_json_of_one_check_is_its_report(capsys):
    code, out = checked(capsys, "things.py:wrong", "--json")
    document = json.loads(out)
    report = bp.gradcheck(bp.primitive("wrong", np.sin, lambda g, y, x: -g * np.cos(x)), np.ones((2, 3)))
    assert code == 1
    assert document.keys() == report.to_dict().keys()
    assert (document["status"], document["diagnosis"][0]["code"]) == ("FAIL", "SIGN")


def test_a_document_is_its_model_with_its_loss_and_each_layer(capsys):
    code, out = checked(capsys, DIGITS)
    assert code == 0
    lines = out.splitlines()
    names = ["model and loss", "0: Linear(in_features=64, out_features=64)", "1: ReLU()", "2: Linear("]
    assert [re.match(rf"(PASS|KINK) +{re.escape(name)}", line) is not None for name, line in zip(names, lines)] == [
        True
    ] * 4
    assert re.fullmatch(r"4 checks: .*", lines[-1])
    assert len(lines) == 5
    code, out = checked(capsys, DIGITS, "--json")
    assert [len(json.loads(out)), code] == [4, 0]


def test_a_document_checks_the_model_it_describes():
    experiment = bp.Experiment.from_spec(DIGITS)
    first = targets.named_checks(DIGITS, None, [], 0, {})[0]
    cost, x, y = first.run.args
    assert cost.state_dict().keys() == {f"model.{name}" for name in experiment.model.state_dict()}
    assert x.shape == (32, 64)
    assert y.shape == (32,)
    assert np.array_equal(cost.model[0].weight.data, experiment.model[0].weight.data)


def test_a_document_with_recurrent_layers_and_others_in_one_another(tmp_path):
    file = tmp_path / "net.toml"
    head = Path(DIGITS).read_text("utf-8")
    file.write_text(
        head.partition("[[model")[0]
        + """
        [model]
        layers = [
            {type = "Unflatten", dim = 1, unflattened_size = [8, 8]},
            {type = "GRU", hidden_size = 2, batch_first = true},
            {type = "LastStep", batch_first = true},
            {type = "Sequential", layers = [{type = "Linear", out_features = 10}]},
        ]
        [loss]"""
        + head.partition("[loss]")[2]
    )
    names = [check.name for check in targets.named_checks(str(file), None, [], 0, {})]
    assert [name.partition("(")[0] for name in names] == ["model and loss", "0: Unflatten", "1: GRU", "3: Sequential"]


# ---- --all -----------------------------------------------------------------------------------------------------------


def test_every_row_and_layer_of_ours_is_right(capsys):
    """At order 1; at order 2 test_every_row.py checks them, and `.ci/run` by this command."""
    code, out = checked(capsys, "--all")
    *lines, without, last = out.splitlines()
    found = [line.split()[:2] for line in lines]
    rows = {row.name for row in bp.ops.TABLE if row.differentiable}
    layers = {name for name in bp.nn.__all__ if isinstance(getattr(bp.nn, name), type)} - {"Module", "Parameter"}
    assert {name for _, name in found} == rows | layers
    assert len(found) == len(rows | layers)
    assert {status for status, _ in found} == {"PASS"}
    assert set(without.removeprefix("without a derivative: ").split(", ")) == {
        row.name for row in bp.ops.TABLE if not row.differentiable
    }
    assert last == f"{len(found)} checks: {len(found)} PASS"
    assert code == 0


def test_a_wrong_row_is_found_among_all(capsys, monkeypatch):
    wrong = bp.primitive("sin", np.sin, lambda g, y, x: -g * np.cos(x))
    ignoring = bp.primitive("cos", np.cos, lambda g, y, x: -np.sin(x) + 0.0 * g)
    constant = bp.primitive("tan", lambda x: np.sign(x), lambda g, y, x: g * 0.0)
    for name in list(domains.OURS):
        if name not in {"sin", "cos", "tan", "exp", "linear", "Linear", "equal"}:
            monkeypatch.delitem(domains.OURS, name)
    for row in (constant, wrong, ignoring):
        monkeypatch.setitem(domains.OURS, row.name, row)
        code, out = checked(capsys, "--all")
        assert code == {"sin": 1, "cos": 4, "tan": 3}[row.name]
    assert re.findall(r"^\n(\w+)  (sin|cos|tan)\b", out, re.MULTILINE) == [  # the reports, below the table
        ("FAIL", "sin"),
        ("CONTRACT", "cos"),
        ("VACUOUS", "tan"),
    ]
    assert re.fullmatch(r"\d+ checks: \d+ PASS, 1 VACUOUS, 1 FAIL, 1 CONTRACT", out.splitlines()[-1])
    code, out = checked(capsys, "--all", "--json")
    assert [code, len(json.loads(out))] == [4, len(domains.OURS) - 1]  # equal has no derivative


def test_no_line_of_the_domains_is_idle():
    rows = {row.name for row in bp.ops.TABLE if row.differentiable}
    layers = set(domains.OURS) - {row.name for row in bp.ops.TABLE}
    for table in (domains.DOMAINS, domains.SHAPES, domains.PARAMS):
        assert set(table) <= rows
    assert set(domains.MAKERS) | set(domains.INPUTS) <= layers


# ---- saved cases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["things.py:wrong", "--input", "3"],
        ["things:wrong"],
        ["things.py:Skewed", "--args", "3", "--input", "2x3"],
        ["things.py:Drawn", "--args", "3", "--input", "2x3", "--seed", "1"],
        ["things.py:Skewed(3)", "--input", "2x3", "--mode", "fast"],
        ["--plain", "things.py:forward,backward_wrong", "--input", "4x3", "--input", "3x2"],
        ["--plain", "things:cost,gradient", "--loss", "--input", "3", "--rtol", "1e-7"],
    ],
)
def test_a_saved_report_runs_again(arguments, folder):
    plain = "--plain" in arguments
    given = dict(zip(arguments, arguments[1:]))
    shapes = [b for a, b in zip(arguments, arguments[1:]) if a == "--input"]
    options = {"mode": given["--mode"]} if "--mode" in given else {}
    options |= {"rtol": float(given["--rtol"])} if "--rtol" in given else {}
    options |= {"loss": True} if "--loss" in arguments else {}
    if plain:
        report = targets.plain_check(given["--plain"], shapes, 0, options).run()
    else:
        report = targets.named_checks(arguments[0], given.get("--args"), shapes, int(given.get("--seed", 0)), options)[
            0
        ].run()
    report.save("case.npz")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    script = [sys.executable, "-m", "tinygrad_bp", "check", "--load", str(folder / "case.npz"), "--json"]
    path = os.pathsep.join([str(ROOT), str(folder)])
    run = subprocess.run(script, cwd=elsewhere, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    again = json.loads(run.stdout)
    assert run.returncode == {"PASS": 0, "FAIL": 1}[report.status]
    assert again == json.loads(report.to_json())


def test_constants_and_none_are_kept(capsys):
    Path("more.py").write_text("import numpy as np\n\ndef f(x, b, n, flag, how):\n    return x**n if flag else x\n")
    module = targets._module("more.py")
    bp.gradcheck(module.f, np.ones(2), None, 3, True, "so").save("case.npz")
    case = cases.load_case("case.npz")
    assert list(case.inputs) == ["x", "b", "n", "flag", "how"]
    assert [case.inputs[name] for name in ("b", "n", "flag", "how")] == [None, 3, True, "so"]
    assert check("--load", "case.npz") == 0


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (np.linalg.norm, "numpy.linalg:norm"),
        (bp.ops.sin, "tinygrad_bp.ops.circular:sin"),
        (bp.nn.Linear, "tinygrad_bp.nn.layers:Linear"),
        (bp.nn.Linear.forward, "tinygrad_bp.nn.layers:Linear.forward"),
        (len, "builtins:len"),
    ],
)
def test_names_lead_back(thing, name):
    assert cases.name_of(thing) == name
    assert cases.is_found_again(name)
    source, _, inside = name.rpartition(":")
    assert targets._found(source, inside) is thing


def test_what_has_no_name_says_so():
    def local(x):
        return x

    for thing in (local, lambda x: x, bp.nn.Linear(1, 1), bp.primitive("f", np.sin, lambda g, y, x: g)):
        assert not cases.is_found_again(cases.name_of(thing))
    module = targets._module("things.py")
    assert cases.name_of(module.wrong) == f"{Path('things.py').resolve()}:wrong"
    assert cases.name_of(module.net) == f"{Path('things.py').resolve()}:net"


# ---- refusals --------------------------------------------------------------------------------------------------------

REFUSED = {
    "": "one of the arguments TARGET --plain --load --all is required",
    "--all things.py:f": "not allowed with argument",
    "things": "check: 'things' names nothing. Write pkg.mod:NAME, file.py:NAME or a .toml or .json file.",
    "things.py:": "check: 'things.py:' names nothing.",
    "thing:dense": "check: there is no module thing. Did you mean 'things'?",
    "nothing_like_it:f": "check: there is no module nothing_like_it. Name it from this folder, or name its file.",
    "tinygrad_bp.chekcing:f": "check: there is no module tinygrad_bp.chekcing. Did you mean 'checking'?",
    "tinygrad_bp.opz.fused:f": "check: there is no module tinygrad_bp.opz. Did you mean 'ops'?",
    "thing.py:dense": "check: there is no file thing.py. Did you mean 'things.py'?",
    "nothing_like_it.py:f": "check: there is no file nothing_like_it.py. Check the path.",
    "things.py:densse": "check: things.py has no 'densse'. Did you mean 'dense'?",
    "things.py:zzzzzz": "check: things.py has no 'zzzzzz'. Name what it defines.",
    "things.py:Inside.rigt": "check: things.py has no 'Inside.rigt'. Did you mean 'right'?",
    "things.py:number": "check: things.py:number is a float. Name a function, a row, a layer, or what makes a layer.",
    "things.py:make_number(3)": "check: things.py:make_number makes a int. Name a function, a row, a layer,",
    "things.py:Scale --input 3": "check: Scale() raised TypeError: .* missing 1 required positional argument: 'n'. "
    "Give its arguments with --args '3, 4'.",
    "things.py:Scale --args x --input 3": "check: Scale(x) raised ValueError: .*. Give its arguments",
    "things.py:Scale --args 3) --input 3": "check: Scale(3)) raised SyntaxError: .*. Give its arguments with",
    "things.py:dense": "check: the input x of dense has no shape. Give it: --input x=4x3.",
    "things.py:dense --input 3": "check: the input w of dense has no shape. Give it: --input w=4x3.",
    "things.py:dense --input z=3": "check: --input z=3: dense takes x, w, b. Give each one shape.",
    "things.py:dense --input x=3 --input x=4": "check: --input x=4: dense takes x, w, b. Give each one shape.",
    "things.py:constant --input 3 --input 4": "check: --input 4: constant takes x. Give each one shape.",
    "things.py:constant --input 3,4": "check: --input 3,4: '3,4' is no shape. Write 4x3, x=4x3, or x= for a number.",
    "things.py:constant --input -3": "check: --input -3: '-3' is no shape.",
    "things.py:constant --input": "argument --input: expected one argument",
    "things.py:constant --input x=-3": "check: --input x=-3: '-3' is no shape.",
    "numpy:max --plain numpy:max,min": "not allowed with argument",
    "math:hypot --input 3": "check: hypot does not tell its arguments. Wrap it in a function that names them.",
    "--plain things.py:forward": "check: --plain things.py:forward does not name two functions. "
    "Write module:forward,backward.",
    "--plain forward,backward": "check: --plain forward,backward does not name two functions.",
    "--plain things.py:forward,bakward --input 3": "check: things.py has no 'bakward'. Did you mean 'backward'?",
    "--plain things.py:forward,number --input 3": "check: things.py:number is a float. Name a function,",
    "--plain things.py:forward,backward --order 2": "check: --order does not go with --plain. Leave it out.",
    "--plain things.py:forward,backward --args 2": "check: --args does not go with --plain. Leave it out.",
    "things.py:constant --loss": "check: --loss does not go with TARGET. Leave it out.",
    "--all --input 3": "check: --input does not go with --all. Leave it out.",
    "--load case.npz --seed 1": "check: --seed does not go with --load. Leave it out.",
    "--load none.npz": "check: none.npz: No such file or directory. Name a file that a report has saved.",
    "--load things.py": "load: things.py has the suffix '.py'. Use .safetensors or .npz.",
    "digts.toml": "digts.toml: there is no such file.",
    f"{DIGITS} --input 3": "check: a document has its own model and data. Leave --args and --input out.",
    "things.py:constant --input 3 --seed -1": "argument --seed: '-1' is no integer >= 0",
    "things.py:constant --input 3 --rtol 2": "gradcheck: rtol is 2.0. Pass a number between 0 and 1, such as 1e-6.",
    "things.py:constant --input 3 --order 3": "argument --order: invalid choice",
    "broken.py:f": "check: importing broken.py raised ZeroDivisionError: division by zero. Mend it, or name another.",
    "syntax.py:f": "check: importing syntax.py raised SyntaxError: .*. Mend it, or name another.",
    "exits.py:f": "check: importing exits.py raised SystemExit: 3. Mend it, or name another.",
    "imports.py:f": "check: importing imports.py raised ModuleNotFoundError: No module named 'not_there'. Mend it,",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_wrong_is_one_line_and_exit_code_2(capsys, line):
    for name, source in [
        ("broken", "1 / 0"),
        ("syntax", "f("),
        ("exits", "raise SystemExit(3)"),
        ("imports", "import not_there"),
    ]:
        Path(f"{name}.py").write_text(source)
    assert check(*line.replace("3) ", "3)  ").split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (message,) = [text for text in captured.err.splitlines() if text != "imported"]
    assert re.search(".*".join(map(re.escape, REFUSED[line].split(".*"))), message)


def test_a_file_that_fails_is_not_kept(capsys):
    Path("broken.py").write_text("1 / 0")
    assert check("broken.py:f", "--input", "3") == 2
    Path("broken.py").write_text("def f(x):\n    return x * x\n")
    assert check("broken.py:f", "--input", "3") == 0


def broken_case(**changes):
    """A case whose JSON is changed."""
    bp.gradcheck(bp.ops.sin, np.ones(2)).save("case.npz")
    arrays = bp.load("case.npz")
    document = json.loads(arrays.pop("case.json").tobytes()) | changes
    bp.save("case.npz", arrays | {"case.json": np.frombuffer(json.dumps(document).encode(), np.uint8)})


NO_CASE = "check: case.npz holds no check. Use a file that a report has saved."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.save("case.npz", {"x": np.ones(2)}), NO_CASE),
        (lambda: bp.save("case.npz", {"case.json": np.ones(2)}), NO_CASE),
        (lambda: broken_case(kind="other"), NO_CASE),
        (lambda: broken_case(targets=3), NO_CASE),
        (lambda: broken_case(inputs={"z": None}), NO_CASE),
        (lambda: broken_case(options=[1]), NO_CASE),
        (lambda: Path("case.npz").write_bytes(b"PK nothing"), "load: case.npz is damaged: .*"),
        (lambda: Path("case.npz").mkdir(), "check: case.npz: Is a directory. Name a file that a report has saved."),
        (
            lambda: bp.gradcheck(lambda x: x, np.ones(2)).save("case.npz"),
            "check: .*:<lambda> is a lambda, a local function or a layer without a name. "
            "Define it at the top of a module and save the report again.",
        ),
        (
            lambda: bp.gradcheck(np.sum, np.ones((2, 2)), (0, 1)).save("case.npz"),
            "check: the argument axis of numpy:sum was a tuple, which no file holds. "
            "Call the check with the arrays of case.npz.",
        ),
        (
            lambda: cases.save_case(
                "case.npz", "layer", [targets._made(targets._found("things.py", "Scale"), "things.py", "Scale", "3")],
                {"x": np.ones(3), "factor": np.ones(2)}, {},
            ),
            "check: factor of .*things.py:Scale(3) has shape (3,), in case.npz (2,). Save the report again.",
        ),
        (lambda: broken_case(targets=["things:dens"]), "check: things has no 'dens'. Did you mean 'dense'?"),
        (lambda: broken_case(targets=["thin"]), "check: 'thin' names nothing. .*"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_case_is_refused(capsys, make, message):
    make()
    capsys.readouterr()
    assert check("--load", "case.npz") == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text != "imported"]
    assert re.fullmatch(".*".join(map(re.escape, message.split(".*"))), line)


# ---- the process -----------------------------------------------------------------------------------------------------


def test_the_command_needs_numpy_only_and_keeps_the_current_folder_on_its_path(folder):
    code = f"""
import sys
for name in ("rich", "matplotlib", "safetensors", "hypothesis", "pytest"):
    sys.modules[name] = None
sys.path[:] = [p for p in sys.path if p not in ("", {str(folder)!r})]  # as the installed script has it
from tinygrad_bp.__main__ import main
sys.exit(main(["check", "things:wrong"]))
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (1, "imported\n")
    assert run.stdout.startswith("FAIL  wrong(")


def test_help_names_the_exit_codes(capsys):
    assert check("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Exit codes: 0 PASS or KINK, 1 FAIL, 2 bad usage or target, 3 INCONCLUSIVE or VACUOUS, 4 CONTRACT." in text
    documented = set(re.findall(r"--[a-z]+", text)) - {"--help"}
    assert documented == {
        "--plain",
        "--load",
        "--all",
        "--args",
        "--input",
        "--loss",
        "--seed",
        "--order",
        "--mode",
        "--rtol",
        "--import",
        "--json",
    }
