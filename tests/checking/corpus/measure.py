"""Runs checkers on the corpus: right code in every regime, and every mistake that shows there.

A row says what one checker said of one gradient at one point. The work is cut by function and regime, and runs in as
many processes as asked for.
"""

from __future__ import annotations

import multiprocessing
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

from . import development, held_out
from .functions import Arrays, Function, Mistake, Regime, copies, entries, is_mistake, regimes_of
from .tools import OURS, PEERS

DEVELOPMENT, HELD_OUT = "development", "held-out"
HALVES = {
    **{f.name: DEVELOPMENT for f in development.FUNCTIONS},
    **{f.name: HELD_OUT for f in held_out.FUNCTIONS},
}
FUNCTIONS = {f.name: f for f in development.FUNCTIONS + held_out.FUNCTIONS}
NONE = Mistake("", (), lambda f: f)
RIGHT, MISLEADING, UNNAMED = "right", "misleading", "unnamed"


class Row(NamedTuple):
    """One verdict; kind and naming are empty for right code, naming also for mistakes that passed or have no name."""

    function: str
    regime: str
    seed: int
    kind: str
    halves: tuple[str, str]
    """Of the function and of the kind."""
    tool: str
    verdict: str
    calls: int
    entries: int
    codes: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    at_kink: bool = False
    """Whether the mistake is one that is made at kinks only."""

    @property
    def naming(self) -> str:
        """Right if it has a right name and no wrong one; OTHER is no name."""
        named = {code for code in self.codes if code != "OTHER"}
        if not named:
            return UNNAMED
        return RIGHT if named <= set(self.expected) else MISLEADING


class Task(NamedTuple):
    """A function in a regime: which seeds for right code, which for mistakes, by which tools."""

    function: str
    regime: str
    right: Sequence[int]
    wrong: Sequence[int]
    tools: Sequence[str]
    kinds: str
    """"development", "held-out" or "all"."""
    share: int = 1
    """Of the mistakes that can be planted anywhere, one in this many is (another one in every function and regime)."""


def mistakes_in(half: str) -> Iterator[tuple[str, Mistake]]:
    for name, module in ((DEVELOPMENT, development), (HELD_OUT, held_out)):
        if half in (name, "all"):
            yield from ((name, m) for m in module.MISTAKES)


def run(tasks: Sequence[Task], processes: int = 1) -> list[Row]:
    """The rows of all tasks."""
    if processes == 1:
        return [row for task in tasks for row in perform(task)]
    rows: list[Row] = []
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for done, found in enumerate(pool.map(perform, tasks), 1):
            rows += found
            print(f"\r{done} of {len(tasks)} parts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rows


def perform(task: Task) -> list[Row]:
    function = FUNCTIONS[task.function]
    (regime,) = (r for r in regimes_of(function) if r.name == task.regime)
    tools = {name: (OURS | PEERS)[name] for name in task.tools}
    half, rows = HALVES[task.function], []
    right = regime.make(function)

    def judge(make: Callable[[], Function | None], seed: int, arrays: Arrays, m: Mistake, kind_half: str) -> None:
        for name, tool in tools.items():
            given = make()  # anew for each tool: some mistakes remember their calls
            assert given
            try:
                verdict, calls, codes, _ = tool(given, copies(arrays), seed)
            except Exception as error:
                error.add_note(f"{name} | {function.name} | {regime.name} | seed {seed} | {m.kind or 'right code'}")
                raise
            point = (function.name, regime.name, seed, m.kind, (half, kind_half))
            rows.append(Row(*point, name, verdict, calls, entries(arrays), codes, m.codes, m.only_at_kink))

    for seed in task.right:
        judge(lambda: right, seed, right.draw(seed), NONE, half)
    for seed in task.wrong:
        arrays = right.draw(seed)
        for kind_half, m in planted(task, function):
            if shows(m, function, regime, arrays):
                judge(partial(m.made_in, function, regime), seed, arrays, m, kind_half)
    return rows


def shows(m: Mistake, function: Function, regime: Regime, arrays: Arrays) -> bool:
    """Whether the mistake can be made in the function, and is one in this regime at this point."""
    wrong, right = m.made_in(function, regime), regime.make(function)
    return wrong is not None and is_mistake(wrong, right, arrays, regime, m.only_at_kink)


def planted(task: Task, function: Function) -> Iterable[tuple[str, Mistake]]:
    """The mistakes of the function itself, and of those that can be planted anywhere one in `share`."""
    turn = zlib.crc32(f"{task.function} {task.regime}".encode())
    for k, (half, m) in enumerate(mistakes_in(task.kinds)):
        if m.function == function.name or (not m.function and (k + turn) % task.share == 0):
            yield half, m
