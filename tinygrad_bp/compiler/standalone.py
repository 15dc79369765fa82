"""The file that a compiled step is saved as: its source, its initial arrays, and a program that tries it.

The file needs NumPy and nothing else. Its ``load()`` returns the arrays that ``make`` takes, ``load("step")`` the
mini-batch with which the step was recorded; both are kept at the end of the file, as the text of a compressed npz
archive. Run as a program, it takes ten steps on that mini-batch and prints what came of it.
"""

from __future__ import annotations

import ast
import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .numpy_source import Source, one_line
from .plan import Plan, Value

__all__ = ["standalone"]

_USE = """\

Written by tinygrad_bp, which it does not need: NumPy is enough. Run as a program, it takes ten steps on the mini-batch
with which the step was recorded. To use it from another file, if this is step.py:

    from step import load, make

    arrays = load()          # the arguments of make by name, with their initial values: new arrays at every call
    step = make(**arrays)    # what is written, is written into these arrays"""

_LOAD = '''

def load(function="make"):
    """The arguments of make by name, as they were when this file was written; load("step"): those of the first step."""
    import base64
    import io

    with np.load(io.BytesIO(base64.b64decode(ARCHIVE)), allow_pickle=False) as archive:
        return {key.partition(".")[2]: archive[key] for key in archive.files if key.startswith(function + ".")}


def main():
    """Take ten steps on the mini-batch of the first."""
    arrays, batch = load(), load("step")
'''

_RANDOM = """\
    batch["rng"] = np.random.default_rng(0)
"""

_RETURNED = """\
    step = make(**arrays)
    results = [step(**batch){first} for _ in range(10)]
    print("{name}:", {before}, "at the first step,", {after}, "at the tenth")
"""

_WRITTEN = """\
    before = np.linalg.norm(arrays["{name}"])
    step = make(**arrays)
    for _ in range(10):
        step(**batch)
    print("norm of {name}:", before, "at first,", np.linalg.norm(arrays["{name}"]), "after ten steps")
"""

_NOTHING = """\
    step = make(**arrays)
    for _ in range(10):
        step(**batch)
    print("ten steps")
"""


def standalone(
    source: Source,
    plan: Plan,
    arrays: Mapping[Value, np.ndarray[Any, Any]],
    examples: Sequence[np.ndarray[Any, Any]],
    title: str = "One training step",
) -> str:
    """The text of a file that runs on its own: `source` with initial `arrays` and the first mini-batch, `examples`.

    ``arrays[v]`` is the initial array of each v in ``source.arrays``; of one that the plan never reads, zeros are kept.
    """
    tree = ast.parse(source.text)
    functions = {node.name: node.args.args for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    names = {v: arg.arg for v, arg in zip(source.arrays, functions["make"])}
    read = {a for v in plan.body for a in v.values} | set(plan.results())
    kept = {f"make.{name}": arrays[v] if v in read else np.zeros_like(arrays[v]) for v, name in names.items()}
    kept |= {f"step.{arg.arg}": x for arg, x in zip(functions["step"], examples)}
    dense: dict[str, Any] = {name: np.asarray(x, order="C") for name, x in kept.items()}
    archive = io.BytesIO()
    np.savez_compressed(archive, **dense)

    lines = source.text.split("\n")
    lines[0] = f'"""{one_line(title)}.'
    end = lines.index('"""')
    lines[end:end] = _USE.split("\n")
    main = _RANDOM * (len(functions["step"]) > len(plan.inputs)) + _shown(plan, names, read)
    data = base64.encodebytes(archive.getvalue()).decode()
    end_of_file = f'\n\nARCHIVE = """\n{data}"""\n\nif __name__ == "__main__":\n    main()\n'
    return "\n".join(lines) + _LOAD + main + end_of_file


def _shown(plan: Plan, names: Mapping[Value, str], read: set[Value]) -> str:
    """The lines that print what came of ten steps."""
    if plan.outputs:
        output = plan.outputs[0]
        name, show = output.name or "result", "results[{}].item()"
        if output.size != 1:
            name, show = f"norm of {name}", "np.linalg.norm(results[{}])"
        first = "[0]" if len(plan.outputs) > 1 else ""
        return _RETURNED.format(name=name, first=first, before=show.format(0), after=show.format(-1))
    written = [state for state, _ in plan.writes]
    for state in [state for state in written if state in read] or written:
        return _WRITTEN.format(name=names[state])
    return _NOTHING
