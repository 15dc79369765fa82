"""One check from end to end: the contract, then the numbers, then a name for what is wrong, and a Report of it all.

Whatever the function under test does, the answer is a report: what it raises, and what cannot be measured, becomes a
line of it. The functions people call are in :mod:`~tinygrad_bp.checking.checks`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import autograd, random
from ..recipe import Op
from . import opinions, verdict
from .adapters import of_function, of_gradient
from .contract import Contract, examine
from .diagnosis import Case, diagnose
from .problem import Broken, Problem
from .report import Block, Call, Diagnosis, Report, Status, Verdict, counted

__all__ = ["Make", "Options", "Seed", "checked", "generators_kept", "to_order"]

Array = NDArray[Any]
Seed = int | np.random.Generator | None
Make = Callable[[np.random.Generator | None], Problem]

TOO_SMALL = "undecided (rounding): too small beside the function's own value to be measured. Check it alone, or scaled."
UNMEASURABLE = {"NONDETERMINISTIC", "ACCUMULATES", "UPSTREAM", "COUNT"}  # numbers would only repeat the finding


@dataclass(frozen=True)
class Options:
    """How to check, as the caller said."""

    operation: str
    mode: str
    order: int
    rtol: float
    kinks: str
    rng: Seed

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.mode not in ("auto", "full", "fast"):
            raise ValueError(f"{self.operation}: mode is {self.mode!r}. Pass 'auto', 'full' or 'fast'.")
        if self.order not in (1, 2):
            raise ValueError(f"{self.operation}: order is {self.order!r}. Pass 1 or 2.")
        if self.kinks not in ("allow", "fail"):
            raise ValueError(f"{self.operation}: kinks is {self.kinks!r}. Pass 'allow' or 'fail'.")
        if not (isinstance(self.rtol, (int, float)) and 0.0 < self.rtol < 1.0):
            raise ValueError(f"{self.operation}: rtol is {self.rtol!r}. Pass a number between 0 and 1, such as 1e-6.")
        seed = isinstance(self.rng, (int, np.integer)) and self.rng >= 0
        if not (self.rng is None or isinstance(self.rng, np.random.Generator) or seed):
            what = f"{self.operation}: rng is {self.rng!r}"
            raise TypeError(f"{what}. Pass None, a seed >= 0 or a numpy.random.Generator.")

    @property
    def generator(self) -> np.random.Generator | None:
        """What the function draws from, if that was passed."""
        return self.rng if isinstance(self.rng, np.random.Generator) else None

    @property
    def seed(self) -> int:
        """Of the checker's own directions."""
        return 0 if self.rng is None or isinstance(self.rng, np.random.Generator) else int(self.rng)

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as data."""
        values = {"mode": self.mode, "order": self.order, "rtol": self.rtol, "kinks": self.kinks, "rng": self.seed}
        defaults = {"mode": "auto", "order": 1, "rtol": 1e-6, "kinks": "allow", "rng": 0}
        return {key: value for key, value in values.items() if value != defaults[key]}


@contextmanager
def generators_kept(rng: np.random.Generator | None) -> Iterator[None]:
    """Generators that the function draws from are afterwards where they were before."""
    states = [(g.bit_generator, g.bit_generator.state) for g in (random.generator(), rng) if g]
    try:
        yield
    finally:
        for generator, state in states:
            generator.state = state


def to_order(make: Make, call: Call, options: Options) -> Report:
    """The check of a function, and at order 2, where that is right, of its backward."""
    report = checked(make, call, options)
    if options.order == 1 or not report.ok:
        return report
    second = checked(lambda g: of_gradient(make(g)), call, options, symmetric=True)
    return replace(second, order=2, evals=report.evals + second.evals)


# ---- one check -----------------------------------------------------------------------------------------------------


def checked(make: Make, call: Call | None, options: Options, symmetric: bool = False) -> Report:
    """Contract, then numbers, then a name for what is wrong."""
    problem: Problem | None = None
    with np.errstate(all="ignore"), generators_kept(options.generator):
        try:
            problem = make(options.generator)
            return _report(problem, call, options, symmetric)
        except Broken as broken:
            name = problem.name if problem else options.operation if call is None else _title(call)
            evals, found = problem.evals if problem else 0, (broken.diagnosis,)
            return Report(name, "CONTRACT", diagnosis=found, evals=evals, seed=options.seed, call=call)
        finally:
            if problem is not None:
                problem.leave()


def _title(call: Call) -> str:
    thing = call.things[0]
    name = getattr(thing, "name", None) or getattr(thing, "__name__", type(thing).__name__)
    return "function" if name == "<lambda>" else str(name)


def _report(problem: Problem, call: Call | None, options: Options, symmetric: bool) -> Report:
    rng = np.random.default_rng(options.seed)
    contract = examine(problem, rng)
    base = Report(problem.name, "CONTRACT", diagnosis=contract.broken, seed=options.seed, call=call)
    if any(d.code in UNMEASURABLE for d in contract.broken):
        return replace(base, evals=problem.evals, notes=tuple(_where(problem, call, contract.broken)))
    if not problem.x.size or not problem.y.size:
        empty = Diagnosis("EMPTY", "the arrays have no entries, so no derivative can be checked", "Pass larger ones")
        return replace(base, evals=problem.evals, diagnosis=(*contract.broken, empty))
    measure = verdict.fast if verdict.select(options.mode, problem) == "fast" else verdict.full
    found = measure(problem, contract, options.rtol, rng)
    if options.kinks == "fail" and (found.verdict == Verdict.KINK).any():
        text = f"{counted(int((found.verdict == Verdict.KINK).sum()), 'derivative')} at a kink, and kinks='fail'"
        named = [Diagnosis("KINK", text, "Check at another point, or allow the slopes between the two sides")]
    else:
        named = _diagnosed(problem, contract, found)
    about = {d.argument for d in named}
    diagnoses = [*named, *(d for d in contract.broken if d.code != "SHAPE" or d.argument not in about)]
    if symmetric:
        diagnoses += opinions.asymmetry(problem, found)
    status, notes = _status(problem, contract, found, bool(diagnoses))
    if symmetric and found.mode == "fast":
        notes.append("that second derivatives are symmetric is tested in full mode only")
    if status in ("FAIL", "CONTRACT"):
        notes += _where(problem, call, contract.broken)
    if options.kinks == "fail":
        found.verdict[found.verdict == Verdict.KINK] = Verdict.FAIL
    second = opinions.second(problem, found, rng) if status == "FAIL" else ()
    blocks = dict(_blocks(problem, found))
    return replace(
        base,
        status=status,
        mode=found.mode,
        blocks=blocks,
        diagnosis=tuple(sorted(diagnoses, key=lambda d: ("OTHER", "SHARED").count(d.code))),
        notes=tuple(notes),
        opinions=second,
        sharpness=found.sharpness,
        noise=found.noise,
        evals=problem.evals,
    )


def _status(problem: Problem, contract: Contract, found: verdict.Findings, diagnosed: bool) -> tuple[Status, list[str]]:
    """The status, and what must be said about it."""
    notes = []
    domain = found.measured & np.isnan(found.estimate.value).any(axis=1)
    if found.noise > 1e-9 and not domain.any() and np.any(found.estimate.value):
        digits = "float32" if found.noise < 1e-5 else "few digits"
        notes.append(
            f"the forward is noisy: {found.noise:.0e} of its size ({digits} inside?); smaller errors do not show"
        )
    first = np.abs(np.nan_to_num(problem.flat(contract.raw), posinf=0.0, neginf=0.0)).max(initial=0.0)
    if contract.defect.max(initial=0.0) > 1e-9 * first > 0.0:
        rounds = contract.defect.max() / first
        notes.append(f"the backward rounds to {rounds:.0e} of its size (float32 inside?); smaller errors do not show")
    zero = [name for name, cut in zip(problem.names, problem.cuts) if found.vanishes[cut].all()]
    worst = int(found.verdict.max(initial=0))
    if contract.broken:
        return "CONTRACT", notes
    if worst == Verdict.FAIL or diagnosed:
        return "FAIL", notes
    if worst == Verdict.UNSURE:
        small = np.abs(found.analytic) * contract.scale[:, None] <= 1e-7 * np.abs(problem.y).max(initial=0.0)
        small &= ~(found.measured[:, None] & np.isnan(found.estimate.value))
        if small[found.verdict == Verdict.UNSURE].all():
            return "INCONCLUSIVE", [*notes, TOO_SMALL]
        return "INCONCLUSIVE", [*notes, _why(problem, found)]
    if len(zero) == len(problem.names):
        if not found.analytic.any():
            return "VACUOUS", notes
        return "INCONCLUSIVE", [*notes, TOO_SMALL]
    if zero:
        notes.append(f"every derivative by {' and '.join(zero)} is zero here: not tested")
    return ("KINK" if worst == Verdict.KINK else "PASS"), notes


def _why(problem: Problem, found: verdict.Findings) -> str:
    unsure = found.verdict == Verdict.UNSURE
    error = found.estimate.error[unsure]
    if np.isnan(found.estimate.value[unsure & found.measured[:, None]]).any():
        why = f": {problem.raised}" if problem.raised else ""
        return f"undecided (domain): the function cannot be computed on both sides{why}. Check inside its domain."
    if (found.estimate.kink & unsure).any() or (found.mode == "fast" and (found.verdict == Verdict.KINK).any()):
        return "undecided (kinks): more kinks than fast mode takes apart. Check at another point, or with mode='full'."
    if found.noise > 1e-9 and np.isfinite(error).any():
        cure = "Compute in float64 throughout, or allow rtol=1e-3."
        return f"undecided (noise): rounding inside the function hides the derivative. {cure}"
    return "undecided (unsettled): the function leaps here, or wiggles faster than any step. Check at another point."


def _blocks(problem: Problem, found: verdict.Findings) -> Any:
    """The matrices as one block for each pair of output and argument."""
    columns = zip(problem.outputs, problem.output_cuts, problem.output_shapes)
    projected = found.mode == "fast" and problem.y.size > 1
    pairs = [("v . y", slice(0, 1), ())] if projected else list(columns)
    e = found.estimate
    matrices = (found.analytic, e.value, e.error, found.verdict, e.lo, e.hi)
    for output, rows, shape in pairs:
        for name, cut, argument in zip(problem.names, problem.cuts, problem.shapes):
            parts = [np.ascontiguousarray(matrix[cut, rows].T).reshape(shape + argument) for matrix in matrices]
            yield (output, name), Block(output, name, argument, *parts)


def _diagnosed(problem: Problem, contract: Contract, found: verdict.Findings) -> list[Diagnosis]:
    """A name for what is wrong with each argument that has a wrong entry."""
    y, v = problem.y, contract.v if found.v is None else found.v
    if len(problem.outputs) == 1:
        y, v = (a.reshape(problem.output_shapes[0]) for a in (y, v))
    rivals = {name: found.estimate.value[cut].T for name, cut in zip(problem.names, problem.cuts)}
    values = dict(zip(problem.names, problem.inputs)) | problem.others
    unread = {d.argument for d in contract.broken if d.code == "DTYPE"}
    diagnoses: list[Diagnosis] = []
    for k, (name, cut) in enumerate(zip(problem.names, problem.cuts)):
        part = found.verdict[cut].T
        if name in unread or len(diagnoses) == verdict.ARGUMENTS or not (part == Verdict.FAIL).any():
            continue
        raw = contract.raw[k]
        case = Case(
            argument=name,
            x=problem.inputs[k],
            y=y,
            others={other: a for other, a in values.items() if other != name},
            analytic=found.analytic[cut].T,
            numeric=found.estimate.value[cut].T,
            error=found.estimate.error[cut].T,
            wrong=part == Verdict.FAIL,
            kink=found.estimate.kink[cut].T,
            measured=found.measured[cut],
            raw=None if raw is None else np.asarray(raw, np.float64),
            v=v,
            step=contract.scale[cut],
            rivals={other: n for other, n in rivals.items() if other != name},
        )
        diagnoses.append(diagnose(case))
    return diagnoses


# ---- where it is ---------------------------------------------------------------------------------------------------


def _where(problem: Problem, call: Call | None, broken: Sequence[Diagnosis]) -> list[str]:
    """The file and line of what is wrong: of a function written by hand, or of the row in a graph that fails alone."""
    if call is None:
        return []
    if call.kind == "backprop":
        forward = any("the forward" in d.text for d in broken)
        which = "forward" if forward else "backward"
        return [f"the {which} is {_place(call.things[0 if forward else 1])}"]
    try:
        outputs = problem.graph()
    except Exception:  # a forward that cannot even be recorded has been reported already
        return []
    found, seen = [], set()
    for node in autograd.topological([y for y in outputs if y.tracked]):
        op, _, params = node.recipe  # type: ignore[misc]
        small = sum(np.size(value) for value in node.values) <= 400
        if op.name in seen or not small or not op.differentiable:
            continue
        seen.add(op.name)
        found += _of_a_row(op, node.values, params)
    return found[:3]


def _of_a_row(op: Op, values: Sequence[Any], params: tuple[Any, ...]) -> list[str]:
    def alone(*inputs: Any) -> Any:
        return Op.__call__(op, *inputs, params=params)

    try:
        problem = of_function(alone, values)
        contract = examine(problem, np.random.default_rng(0))
        found = verdict.full(problem, contract, 1e-6, np.random.default_rng(0))
    except Broken:
        return []
    wrong = [
        k for k, cut in enumerate(problem.cuts)
        if contract.broken or (found.verdict[cut] == Verdict.FAIL).any()
    ]  # fmt: skip
    if not wrong:
        return []
    positions = [k for k, value in enumerate(values) if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
    k = positions[wrong[0]]
    line = op.joint or op.partials[k]
    return [f"the row '{op.name}' is wrong by itself: its partial for input {k} is {_place(line)}"]


def _place(function: Any) -> str:
    """File and line of a function."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None) or getattr(type(function).__call__, "__code__", None)
    if code is None:
        return f"{function!r}"
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}"
