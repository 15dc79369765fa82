"""Single figures: what an import costs, what a replay costs beside its NumPy calls, what compiling costs.

A compiled step is a list of NumPy calls. Its source, which `step.source` prints, is run once more here with a clock
around every line; the sum of the lines, less the clock's own time, is what the bare calls take.
"""

from __future__ import annotations

import ast
import gc
import inspect
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import field, ours
from .nets import LEARNING_RATE, NETS, Net, Problem, problem
from .results import Figure

_REPOSITORY = Path(__file__).resolve().parents[2]
_DEEP = Net("100 layers of 10, batch 10", (10,) * 101, 10)
_LARGE = Net("784-1000-10, batch 100", (784, 1000, 10), 100)
_LARGER = Net("784-2000-10, batch 100", (784, 2000, 10), 100)
_REPEATS = 100


def figures() -> list[Figure]:
    """All of them; those of compiled steps where the library compiles, those of numba where it is installed."""
    found = _imports(pairs=21)
    present, _ = field.present([field.COMPILED, field.NUMBA])
    if field.COMPILED in present:
        found += [*_replay(problem(NETS[0], "float64")), *_memory(), _recording()]
    if field.NUMBA in present:
        found += _numba()
    return found


def _imports(pairs: int) -> list[Figure]:
    """`import numpy` and `import tinygrad_bp` in new processes, in turn, both from bytecode, as they are installed."""
    with tempfile.TemporaryDirectory() as bytecode:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def seconds(module: str) -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=_REPOSITORY, env=environment)
            return time.perf_counter() - start

        times = [(seconds("numpy"), seconds("tinygrad_bp")) for _ in range(pairs + 1)]
    del times[0]  # wrote the bytecode
    return [
        Figure("import, times `import numpy`", median(b / a for a, b in times), goal=1.30),
        Figure("`import numpy`, a whole process", 1e3 * median(a for a, _ in times), "ms"),
        Figure("`import tinygrad_bp`, a whole process", 1e3 * median(b for _, b in times), "ms"),
    ]


def _replay(p: Problem) -> list[Figure]:
    """step(x, y), the function it replays, and that function's calls one by one: in turn, medians of differences."""
    step = _compiled(p)
    bare, timed, calls = bare_and_timed(step.source, p)
    rounds = [
        (_median(lambda: step(p.x, p.y)), _median(lambda: bare(p.x, p.y)), timed(p.x, p.y, _REPEATS)) for _ in range(41)
    ]
    whole = f"{p.net.name}, {p.dtype}"
    per_call = median(b - c for _, b, c in rounds) / calls
    return [
        Figure(f"the {calls} calls that replay {whole}, one by one", median(c for _, _, c in rounds), "us"),
        Figure("their replay, beyond that, per call", per_call, "us", goal=0.05),
        Figure("`step(x, y)`, beyond the replay", median(a - b for a, b, _ in rounds), "us"),
    ]


def bare_and_timed(source: str, p: Problem) -> tuple[Callable[..., Any], Callable[..., float], int]:
    """The function that a compiled step of plain SGD replays; the same with a clock; how many calls it makes.

    The second, given a number of repeats, gives the microseconds that the calls of one step take, clocks deducted.
    """
    tree = ast.parse(source)
    bare = _make(tree, p)
    step = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "step")
    calls = [line for line in step.body if not isinstance(line, ast.Return)]
    clocked: list[ast.stmt] = []
    for k, line in enumerate([*calls, ast.Pass()]):  # the last is what the clock itself takes
        clocked += [*ast.parse("_start = _clock()").body, line, *ast.parse(f"_spent[{k}] = _clock() - _start").body]
    step.body = [*clocked, *(line for line in step.body if isinstance(line, ast.Return))]
    spent = [0] * (len(calls) + 1)
    one_step = _make(ast.fix_missing_locations(tree), p, _clock=time.perf_counter_ns, _spent=spent)

    def timed(x: Any, y: Any, repeats: int) -> float:
        rows = []
        for _ in range(repeats):
            one_step(x, y)
            rows.append(list(spent))
        *each, own = (median(column) for column in zip(*rows))
        return 1e-3 * (sum(each) - own * len(each))

    return bare, timed, len(calls)


def _make(tree: ast.Module, p: Problem, **names: Any) -> Callable[..., Any]:
    """Run the module and hand its `make` new arrays, by their names: W1, b1, grad_W1, ..., lr."""
    namespace: dict[str, Any] = dict(names)
    exec(compile(tree, "<step>", "exec"), namespace)
    arrays = {f"{letter}{k}": q.copy() for k, layer in enumerate(p.weights, 1) for letter, q in zip("Wb", layer)}
    arrays |= {f"grad_{name}": np.zeros_like(q) for name, q in arrays.items()}
    arrays["lr"] = np.array(LEARNING_RATE, p.dtype)
    return namespace["make"](*(arrays[name] for name in inspect.signature(namespace["make"]).parameters))


def _median(step: Callable[[], object]) -> float:
    """Microseconds of one call."""
    clock, spent = time.perf_counter_ns, []
    for _ in range(_REPEATS):
        start = clock()
        step()
        spent.append(clock() - start)
    return 1e-3 * median(spent)


def _memory() -> list[Figure]:
    """What a replay allocates at its peak, and what twice as large a net adds to that.

    To add a bias NumPy allocates a buffer of its own, of 8192 entries at most; both nets are large enough for that.
    """
    large, larger = (_peak(problem(net, "float64")) for net in (_LARGE, _LARGER))
    return [
        Figure(f"memory allocated in a step of {_LARGE.name}, at its peak", large, "bytes"),
        Figure(f"what {_LARGER.name}, adds to that", larger - large, "bytes", goal=1024.0),
    ]


def _peak(p: Problem) -> int:
    step = _compiled(p)
    tracemalloc.start()
    try:
        step(p.x, p.y)
        gc.collect()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        step(p.x, p.y)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _recording() -> Figure:
    """The first call of a compiled step: it records, plans, emits, and runs the result once."""
    p = problem(_DEEP, "float64")
    seconds = median(first_call(p) for _ in range(5))
    return Figure(f"first call of {_DEEP.name}: record, plan, emit, run", seconds, "s", goal=0.3)


def first_call(p: Problem, **options: str) -> float:
    import tinygrad_bp as bp

    function, _ = ours.training_step(p)
    step = bp.compile(function, **options)
    start = time.perf_counter()
    step(p.x, p.y)
    return time.perf_counter() - start


def _numba() -> list[Figure]:
    """The first call under numba in new processes, with nothing in the cache and with all of it."""
    code = "from tests.benchmarks import costs, nets; "
    code += "print(costs.first_call(nets.problem(nets.NETS[{net}], 'float64'), backend='numba'))"
    found = []
    with tempfile.TemporaryDirectory() as cache:
        for net in (0, 2):
            for state in ("nothing cached", "cached"):
                printed = subprocess.check_output(
                    [sys.executable, "-c", code.format(net=net)],
                    cwd=_REPOSITORY,
                    env=os.environ | {"XDG_CACHE_HOME": cache},
                    text=True,
                )
                found.append(Figure(f"first call under numba, {NETS[net].name}, {state}", float(printed), "s"))
    return found


def _compiled(p: Problem) -> Any:
    """A compiled step of the problem that has run a few times."""
    import tinygrad_bp as bp

    function, _ = ours.training_step(p)
    step = bp.compile(function)
    for _ in range(5):
        step(p.x, p.y)
    return step
