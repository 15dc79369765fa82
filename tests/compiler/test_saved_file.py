"""A saved step runs where only NumPy is installed, and computes what the plan means."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler.build import Memory, Writer, run
from tests.compiler.test_numpy_source import classic
from tinygrad_bp.compiler.numpy_source import emit
from tinygrad_bp.compiler.plan import Plan, Value
from tinygrad_bp.compiler.standalone import standalone

# Runs a statement in a world in which nothing but NumPy is installed, and a warning is an error.
ALONE = """
import runpy, sys, warnings

class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"numpy", "step"}:
            raise ImportError(f"{name} is not installed")

warnings.simplefilter("error")
sys.meta_path.insert(0, OnlyNumPy())
sys.path.insert(0, ".")
"""


def alone(folder: Path, statements: str) -> str:
    """What the statements print, or the last line of their traceback."""
    command = [sys.executable, "-I", "-c", ALONE + statements]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().split("\n")[-1]


def saved(folder: Path, plan: Plan, memory: Memory, title: str = "A step") -> str:
    source = emit(plan, title)
    initial = {v: v.params[0] if v.op == "constant" else memory[v] for v in source.arrays}
    text = standalone(source, plan, initial, [memory[v] for v in plan.inputs], title)
    (folder / "step.py").write_text(text, "ascii")
    return text


def simple(w: Writer, outputs: Sequence[Value] = (), dtype: Any = np.float64) -> tuple[Plan, Memory]:
    """p -> 0.5 p + x"""
    x, p = w.input(np.ones(3, dtype), "x"), w.state(np.array([8, 0, 6], dtype), "p")
    plan = w.plan([(p, w("add", w("multiply", p, 0.5), x))], outputs)
    return plan, {x: w.examples[x], p: w.examples[p]}


PROGRAM = "runpy.run_path('step.py', run_name='__main__')"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_classic_net_learns_where_only_numpy_is_installed(tmp_path: Path, dtype: Any) -> None:
    plan, memory = classic((20, 30, 10), 10, dtype)
    saved(tmp_path, plan, memory, "Backpropagation")
    norm = np.linalg.norm(memory[plan.states[0]])
    words = alone(tmp_path, PROGRAM).split()
    assert words[:3] == ["norm", "of", "W1:"]
    assert words[3] == str(norm)
    for _ in range(10):
        run(plan, memory)
    after = np.linalg.norm(memory[plan.states[0]])
    assert abs(float(words[6]) - after) < after * (1e-12 if dtype is np.float64 else 1e-5)
    assert abs(after - norm) > 1e-3


def test_it_can_be_imported_and_used(tmp_path: Path) -> None:
    plan, memory = classic((20, 30, 10), 10)
    saved(tmp_path, plan, memory)
    statements = """
from step import load, make
import numpy as np
arrays, again = load(), load()
step = make(**arrays)
for _ in range(2):
    assert step(**load("step")) is None
assert all((a == b).all() for a, b in zip(again.values(), load().values()))
np.savez("after.npz", **arrays)
"""
    assert alone(tmp_path, statements) == ""
    for _ in range(2):
        run(plan, memory)
    with np.load(tmp_path / "after.npz") as after:
        assert after.files == [v.name for v in plan.states]
        for v in plan.states:
            assert after[v.name].dtype == v.dtype
            np.testing.assert_allclose(after[v.name], memory[v], rtol=1e-12, atol=1e-12)


def test_a_loss_is_printed_at_the_first_step_and_the_tenth(tmp_path: Path) -> None:
    w = Writer()
    plan, memory = simple(w)
    (p,) = plan.states
    loss = w("max", p, params=((0,), False))
    saved(tmp_path, w.plan(plan.writes, [loss]), memory)
    assert alone(tmp_path, PROGRAM) == f"result: 8.0 at the first step, {2 + 6 / 512} at the tenth"


def test_of_several_results_the_first_is_printed_and_of_an_array_its_norm(tmp_path: Path) -> None:
    w = Writer()
    plan, memory = simple(w)
    (p,) = plan.states
    saved(tmp_path, w.plan(plan.writes, [p, w("negative", p)]), memory)
    after = np.linalg.norm(2 + np.array([6, -2, 4]) / 512)
    assert alone(tmp_path, PROGRAM) == f"norm of p: 10.0 at the first step, {after} at the tenth"


def test_a_step_that_draws_is_seeded(tmp_path: Path) -> None:
    w = Writer()
    noise = w.call("standard_normal", (3,), dtype=np.float32, op="draw")
    plan, memory = simple(w, [noise, w.call("integers", 9, op="draw")], np.float32)
    assert "step(x, rng)" in saved(tmp_path, plan, memory)
    generator = np.random.default_rng(0)
    norms = [np.linalg.norm(run(plan, memory, generator)[0]) for _ in range(10)]
    assert alone(tmp_path, PROGRAM) == f"norm of result: {norms[0]!s} at the first step, {norms[-1]!s} at the tenth"


def at_least_three(x: Any) -> None:
    if not (x >= 3.0).all():
        raise ValueError(f"{x.min()} is less than 3")


def test_checks_are_there_and_raise(tmp_path: Path) -> None:
    w = Writer()
    plan, memory = simple(w)
    w.call(at_least_three, w("add", plan.states[0], 3.0), op="check")
    saved(tmp_path, w.plan(plan.writes), memory)
    assert alone(tmp_path, PROGRAM).startswith("norm of p: 10.0 at first, 3.46")
    saved(tmp_path, w.plan(plan.writes), memory | {plan.states[0]: np.full(3, -1.0)})
    assert alone(tmp_path, PROGRAM) == "ValueError: 2.0 is less than 3"


def test_a_step_that_neither_returns_nor_writes(tmp_path: Path) -> None:
    w = Writer()
    x = w.input(np.ones(3), "x")
    w.call(at_least_three, w("add", x, 2.0), op="check")
    saved(tmp_path, w.plan(), {x: np.ones(3)})
    assert alone(tmp_path, PROGRAM) == "ten steps"


def test_what_is_kept_is_small_and_the_same_every_time(tmp_path: Path) -> None:
    """Gradients that are left behind have no initial value worth keeping; F-ordered parameters become C-ordered."""
    plan, memory = classic((784, 30, 10), 10)
    memory |= {v: np.random.default_rng(0).random(v.shape) for v in plan.states if v.name.startswith("grad")}
    W1 = plan.states[0]
    memory[W1] = np.asfortranarray(memory[W1])
    text = saved(tmp_path, plan, memory)
    kept = sum(memory[v].nbytes for v in (*plan.inputs, *plan.states) if not v.name.startswith("grad"))
    assert len(text) < 1.5 * kept
    assert text == saved(tmp_path, plan, memory)
    statement = "from step import load; print(load()['W1'].flags.c_contiguous, abs(load()['grad_W1']).max())"
    assert alone(tmp_path, statement) == "True 0.0"


def test_the_package_is_named_in_the_docstring_only_and_numpy_is_all_that_is_imported(tmp_path: Path) -> None:
    plan, memory = classic((4, 3, 2), 5)
    text = saved(tmp_path, plan, memory, "Backpropagation.")
    tree = ast.parse(text)
    doc = ast.get_docstring(tree)
    assert doc is not None
    assert doc.startswith("Backpropagation.\n\n    step = make(W1, b1")
    assert "from step import load, make" in doc
    assert text.count("tinygrad") == doc.count("tinygrad") == 1
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert names | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)} == {"numpy", "base64", "io"}
    assert text.index("def main()") < text.index("ARCHIVE = ") < text.index("if __name__")


def test_arguments_may_have_any_name(tmp_path: Path) -> None:
    w = Writer()
    names = ["file", "allow_pickle", "make", "load", "np", "base64", "function", "x.y"]
    states = [w.state(np.full(2, float(k)), name) for k, name in enumerate(names)]
    x = w.input(np.ones(2), "arrays")
    writes = [(s, w("add", s, x)) for s in states]
    saved(tmp_path, w.plan(writes), {v: w.examples[v] for v in (x, *states)})
    program = "from step import *; a = load(); make(**a)(**load('step')); print(*(int(v[0]) for v in a.values()), *a)"
    assert alone(tmp_path, program) == "1 2 3 4 5 6 7 8 file allow_pickle make_2 load_2 np_2 base64 function x_y"
