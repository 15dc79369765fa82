"""The house holds: who imports whom, how long the files are, what an import costs, what the README promises first."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinygrad_bp"

# A file imports only from files above it. The package's own __init__.py loads those above it when it is imported, and
# the others on first use; to type checkers it imports them all.
MAP = [
    "recipe.py",
    "opaque.py",
    "autograd.py",
    "ops/arithmetic.py",
    "ops/discrete.py",
    "ops/elementary.py",
    "ops/circular.py",
    "ops/special.py",
    "ops/activations.py",
    "ops/reduce.py",
    "ops/shape.py",
    "ops/index.py",
    "ops/order.py",
    "ops/linear.py",
    "ops/products.py",
    "ops/einsum.py",
    "ops/linalg.py",
    "ops/fused.py",
    "ops/losses.py",
    "ops/normalize.py",
    "ops/convolve.py",
    "ops/pool.py",
    "ops/recurrent.py",
    "ops/attention.py",
    "ops/__init__.py",
    "dispatch.py",
    "tensor.py",
    "creation.py",
    "containers.py",
    "transforms.py",
    "random.py",
    "function.py",
    "checkpoint.py",
    "nn/functional/accepted.py",
    "nn/functional/layers.py",
    "nn/functional/activations.py",
    "nn/functional/convolution.py",
    "nn/functional/pooling.py",
    "nn/functional/normalization.py",
    "nn/functional/attention.py",
    "nn/functional/losses.py",
    "nn/functional/__init__.py",
    "nn/init.py",
    "nn/calls.py",
    "nn/summary.py",
    "nn/module.py",
    "nn/layers.py",
    "nn/activations.py",
    "nn/convolution.py",
    "nn/pooling.py",
    "nn/normalization.py",
    "nn/recurrent.py",
    "nn/attention.py",
    "nn/losses.py",
    "nn/utils.py",
    "nn/__init__.py",
    "optim/optimizers.py",
    "optim/lr_scheduler.py",
    "optim/__init__.py",
    "__init__.py",
    "spelling.py",
    "io/atomic.py",
    "io/weights.py",
    "io/__init__.py",
    "view/curves.py",
    "view/graph.py",
    "view/layout.py",
    "view/svg.py",
    "view/dot.py",
    "view/draw.py",
    "view/step.py",
    "view/findings.py",
    "view/telling.py",
    "view/page.py",
    "view/explain.py",
    "view/__init__.py",
    "data/loader.py",
    "data/split.py",
    "data/download.py",
    "data/datasets.py",
    "data/generated.py",
    "data/tables.py",
    "data/columns.py",
    "data/sources.py",
    "data/__init__.py",
    "checking/cases.py",
    "checking/report.py",
    "checking/problem.py",
    "checking/adapters.py",
    "checking/differences.py",
    "checking/contract.py",
    "checking/patterns.py",
    "checking/evidence.py",
    "checking/rules.py",
    "checking/diagnosis.py",
    "checking/verdict.py",
    "checking/opinions.py",
    "checking/pipeline.py",
    "checking/checks.py",
    "checking/__init__.py",
    "checking/strategies.py",
    "checking/hypothesis_hook.py",
    "checking/pytest_plugin.py",
    "checking/domains.py",
    "compiler/plan.py",
    "compiler/passes.py",
    "compiler/allocate.py",
    "compiler/function_source.py",
    "compiler/numpy_source.py",
    "compiler/standalone.py",
    "compiler/kernels.py",
    "compiler/lowering.py",
    "compiler/fusion.py",
    "compiler/loop_source.py",
    "compiler/numba_module.py",
    "compiler/numba_source.py",
    "compiler/handle.py",
    "compiler/origin.py",
    "compiler/trace.py",
    "compiler/watch.py",
    "compiler/naming.py",
    "compiler/surroundings.py",
    "compiler/checks.py",
    "compiler/entry.py",
    "compiler/__init__.py",
    "compiler/record.py",
    "compiler/step.py",
    "exporting/paired.py",
    "exporting/numpy_plan.py",
    "exporting/followed.py",
    "exporting/onnx_writer.py",
    "exporting/onnx_ops.py",
    "exporting/onnx_layers.py",
    "exporting/onnx_file.py",
    "exporting/numpy_text.py",
    "exporting/numpy_file.py",
    "exporting/__init__.py",
    "training/metrics.py",
    "training/scoring.py",
    "training/run.py",
    "training/progress.py",
    "training/state.py",
    "training/run_folder.py",
    "training/keeper.py",
    "training/loop.py",
    "training/__init__.py",
    "spec/mistakes.py",
    "spec/arguments.py",
    "spec/registry.py",
    "spec/reading.py",
    "spec/model.py",
    "spec/experiment.py",
    "spec/schema.py",
    "spec/__init__.py",
    "checking/targets.py",
    "doctor.py",
    "commands/running.py",
    "commands/__init__.py",
    "commands/train.py",
    "commands/score.py",
    "commands/predict.py",
    "commands/schema.py",
    "commands/check.py",
    "commands/doctor.py",
    "commands/material.py",
    "commands/export.py",
    "commands/graph.py",
    "commands/explain.py",
    "__main__.py",
]
# The engine, the tensor, and the pages of the table that a multilayer perceptron needs.
CORE = ["recipe.py", "autograd.py", "tensor.py"]
CORE += ["ops/arithmetic.py", "ops/elementary.py", "ops/linear.py", "ops/fused.py"]

# The folders that have budgets of their own, and what is left for all the rest.
BUDGETS = {"ops/": 2400, "nn/": 2250, "optim/": 700, "checking/": 3200, "compiler/": 4100}
BUDGETS |= {"data/": 1250, "io/": 300, "training/": 980, "spec/": 1150, "commands/": 1000}
BUDGETS |= {"view/": 1900, "exporting/": 1950}
REST = 2200

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in FILES]

# What the extras bring, imported only inside functions.
OPTIONAL = {"rich", "matplotlib", "safetensors", "tomli_w", "graphlay", "onnx", "hypothesis", "numba", "llvmlite"}
# What a file is made for and imports at once: it is loaded by nothing else of the package.
FOR = {"checking/strategies.py": {"hypothesis"}, "checking/pytest_plugin.py": {"pytest"}}


class Import(ast.NodeVisitor):
    """Collects the imports of a file: (file or module, line, whether importing the file runs it)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inside: list[tuple[str, int, bool]] = []
        self.outside: list[tuple[str, int, bool]] = []
        self._runs = True
        self.visit(ast.parse(path.read_text("ascii")))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        runs, self._runs = self._runs, False
        self.generic_visit(node)
        self._runs = runs

    def visit_If(self, node: ast.If) -> None:
        runs = self._runs
        self._runs = runs and ast.unparse(node.test) != "TYPE_CHECKING"
        self.generic_visit(node)
        self._runs = runs

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name.split("."), node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        folder = ("tinygrad_bp", *self.path.relative_to(PACKAGE).parts[:-1])
        start = folder[: len(folder) + 1 - node.level] if node.level else ()
        for alias in node.names:
            self._add([*start, *(node.module or "").split("."), alias.name], node.lineno)

    def _add(self, parts: list[str], line: int) -> None:
        parts = [part for part in parts if part]
        if parts[0] != "tinygrad_bp":
            self.outside.append((parts[0], line, self._runs))
            return
        place = PACKAGE.joinpath(*parts[1:])
        while not (file := place.with_suffix(".py")).is_file() and not (file := place / "__init__.py").is_file():
            place = place.parent  # the last part is a name in a file
        self.inside.append((file.relative_to(PACKAGE).as_posix(), line, self._runs))


def code_lines(path: Path) -> int:
    """Lines with code on them: no blank lines, comments or docstrings."""
    source = path.read_text("ascii")
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def test_every_file_is_in_the_map():
    assert sorted(MAP) == sorted(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_imports_only_from_files_above_it(path):
    name = path.relative_to(PACKAGE).as_posix()
    above = MAP[: MAP.index(name)]
    below = [
        f"{name}:{line} imports {imported}, which is not above it"
        for imported, line, runs in Import(path).inside
        if imported not in above and (runs or name != "__init__.py")
    ]
    assert not below, "\n".join(below)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_needs_numpy_only_and_extras_inside_functions(path):
    name = path.relative_to(PACKAGE).as_posix()
    for module, line, runs in Import(path).outside:
        allowed = {"numpy"} | (FOR.get(name, set()) if runs else OPTIONAL)
        assert module in allowed | sys.stdlib_module_names, f"{path}:{line} imports {module}"


def test_the_budgets(capsys):
    lines = {name: code_lines(path) for name, path in zip(NAMES, FILES, strict=True)}
    longest = max(lines, key=lines.__getitem__)
    spent = {folder: sum(lines[name] for name in NAMES if name.startswith(folder)) for folder in BUDGETS}
    spent |= {"the rest": sum(lines.values()) - sum(spent.values())}
    spent |= {"core": sum(lines[name] for name in CORE), longest: lines[longest]}
    budgets = BUDGETS | {"the rest": REST, "core": 1000, longest: 400}
    with capsys.disabled():
        print("\ncode lines:", ", ".join(f"{part} {spent[part]} of {most}" for part, most in budgets.items()))
    assert not {part: spent[part] for part, most in budgets.items() if spent[part] > most}


def test_code_lines_counts_code_only(tmp_path):
    source = '"""Doc."""\n\n# comment\nx = 1  # why\ndef f():\n    """Doc\n    doc."""\n    return """\n    text"""\n'
    (tmp_path / "some.py").write_text(source)
    assert code_lines(tmp_path / "some.py") == 4


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_package_is_ascii_and_every_file_says_what_it_is(path):
    assert path.read_bytes().isascii()
    assert ast.get_docstring(ast.parse(path.read_text("ascii")))


def modules_loaded_by(statement: str) -> list[str]:
    """The modules that a statement loads from files in a new interpreter."""
    code = f"""
import sys
before = set(sys.modules)
{statement}
print(*sorted(name for name in set(sys.modules) - before if getattr(sys.modules[name], "__file__", None)))
"""
    return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()


def test_importing_the_package_loads_numpy_and_the_engine_and_nothing_else():
    loaded = modules_loaded_by("import tinygrad_bp")
    beyond = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {"numpy", "tinygrad_bp"}
    assert not beyond
    later = {"view", "exporting", "io", "data", "checking", "compiler", "spec", "training", "doctor", "__main__"}
    assert not [name for name in loaded if name.startswith("tinygrad_bp.") and name.split(".")[1] in later]
    assert "tinygrad_bp.tensor" in loaded


def test_the_readme_begins_with_the_two_commands():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "not related to tinygrad" in readme.splitlines()[0]
    setup = "python3 -m venv .venv && .venv/bin/python -m pip install -q "
    assert re.findall(r"^```sh\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)[:2] == [
        setup + "'.[cli]' && .venv/bin/python -m tinygrad_bp train examples/digits.toml\n",
        setup + "'.[test]' && .venv/bin/python -m pytest -q\n",
    ]
