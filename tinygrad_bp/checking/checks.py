"""Where people meet the checker: one function for each thing there is to check, all of them answering with a Report.

Each makes a :class:`~tinygrad_bp.checking.problem.Problem`, and `_checked` does the rest in one order: contract, then
numbers, then a name for what is wrong. Whatever the function under test does, the answer is a report: exceptions,
wrong arity, None, integers and infinities become a line of it.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import autograd, random
from ..nn.module import Module
from ..recipe import Node, Op
from . import opinions, verdict
from .contract import Contract, examine
from .diagnosis import Case, diagnose
from .problem import Broken, Problem, argument_names, of_backprop, of_function, of_gradient, of_layer, of_loss
from .report import SEVERITY, Block, Call, Diagnosis, Report, Status, Verdict, counted

__all__ = ["assert_gradcheck", "check_backprop", "check_layer", "check_loss", "gradcheck"]

Array = NDArray[Any]
Mode = Literal["auto", "full", "fast"]
Kinks = Literal["allow", "fail"]
Seed = int | np.random.Generator | None
Make = Callable[[np.random.Generator | None], Problem]

TOO_SMALL = "undecided (rounding): too small beside the function's own value to be measured. Check it alone, or scaled."
UNMEASURABLE = {"NONDETERMINISTIC", "ACCUMULATES", "UPSTREAM", "COUNT"}  # numbers would only repeat the finding


def gradcheck(
    fn: Callable[..., Any],
    *inputs: Any,
    mode: Mode = "auto",
    order: Literal[1, 2] = 1,
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Are the gradients of `fn`, a function of Tensors, right?

    Parameters
    ----------
    fn : callable
        Takes the inputs, returns a Tensor, or a tuple, list or dict of them. A layer is handed to :func:`check_layer`.
    inputs
        Float arrays and Tensors are differentiated, in float64 whatever their dtype; integers, bools, None and
        everything else are passed on as they are.
    mode : "auto", "full" or "fast"
        "full" measures every derivative, "fast" a few sums of them with random signs and, if these are off, the
        entries that make them so. "auto" is "full" up to 2,000 input entries.
    order : 1 or 2
        2 checks the backward itself as well (its derivatives by inputs and incoming gradient), and that second
        derivatives are symmetric.
    rtol : float
        Relative error that is allowed beside the numeric error.
    kinks : "allow" or "fail"
        Whether a value between the two slopes at a kink is right.
    rng : None, int or numpy.random.Generator
        The seed of the directions, 0 by default; or the generator that `fn` draws from, which is put back to its
        present state before every call, as the package's own generator always is.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bool(bp.gradcheck(lambda x, w: (x @ w).tanh(), bp.randn(4, 3), bp.randn(3, 2)))
    True
    >>> cube = bp.primitive("cube", lambda x: x**3, lambda g, y, x: g * 2 * x**2)
    >>> bp.gradcheck(cube, [1.0, 2.0]).diagnosis[0].code
    'FACTOR'
    """
    if isinstance(fn, Module):
        return check_layer(fn, *inputs, mode=mode, order=order, rtol=rtol, kinks=kinks, rng=rng)
    options = Options("gradcheck", mode, order, rtol, kinks, rng)
    call = Call("function", (fn,), _named(fn, inputs), options.given())
    return _to_order(lambda g: of_function(fn, inputs, g), call, options)


def check_backprop(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *arrays: Any,
    loss: bool = False,
    mode: Mode = "auto",
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Does `backward`, written by hand on NumPy arrays, return the gradients of `forward`?

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` returns an array, or a tuple of arrays.
    backward : callable
        ``backward(*arrays, upstream)`` returns one gradient for each float array (or for each argument): an array, a
        tuple or list, or a dict by the names of the arguments. None is zero. `upstream` has the shape of the output.
    loss : bool
        `forward` returns a scalar, and the backward is ``backward(*arrays)``: the gradients of that scalar.

    The other parameters are those of :func:`gradcheck`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_bp as bp
    >>> def forward(x, W, b):
    ...     return x @ W.T + b
    >>> def backward(x, W, b, upstream):
    ...     return upstream @ W, upstream.T @ x, upstream[0]
    >>> x, W, b = np.ones((4, 3)), np.eye(2, 3), np.zeros(2)
    >>> bp.check_backprop(forward, backward, x, W, b).diagnosis[0].code
    'BROADCAST'
    """
    options = Options("check_backprop", mode, 1, rtol, kinks, rng)
    call = Call(
        "backprop", (forward, backward), _named(forward, arrays), options.given() | ({"loss": True} if loss else {})
    )
    return _checked(lambda g: of_backprop(forward, backward, arrays, loss, g), call, options)


def check_loss(
    f: Callable[..., Any],
    params: Any,
    grads: Any,
    mode: Mode = "auto",
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Are `grads` the gradients of the scalar f by `params`?

    Parameters
    ----------
    f : callable
        A scalar: ``f(*params)`` of a list or tuple, ``f(params)`` of one array or a dict; or ``f()``, which reads the
        arrays `params` where they are: then they are changed for the length of the check.
    params, grads
        An array, or lists, tuples and dicts of arrays nested in the same way; Tensors count as arrays.

    The other parameters are those of :func:`gradcheck`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_bp as bp
    >>> theta = np.array([1.0, 2.0, 3.0])
    >>> bool(bp.check_loss(lambda theta: np.sum(theta**2), theta, 2 * theta))
    True
    """
    options = Options("check_loss", mode, 1, rtol, kinks, rng)
    return _checked(lambda g: of_loss(f, params, grads, g), None, options)


def check_layer(
    layer: Module,
    *inputs: Any,
    mode: Mode = "auto",
    order: Literal[1, 2] = 1,
    rtol: float = 1e-6,
    kinks: Kinks = "allow",
    rng: Seed = None,
) -> Report:
    """Are the gradients of a layer right, by every parameter and every input, in training and in evaluation?

    What is checked is a copy: the layer is left as it was found. Where evaluation gives the same numbers as training it
    is not measured again; else the report is the worse of the two and its notes name the other. The parameters are
    those of :func:`gradcheck`.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bool(bp.check_layer(bp.nn.Linear(3, 2), bp.randn(4, 3)))
    True
    """
    if not isinstance(layer, Module):
        finding = Diagnosis("INPUT", f"a {type(layer).__name__} is no nn.Module", "Pass a layer, or use gradcheck")
        return Report("check_layer", "CONTRACT", diagnosis=(finding,))
    options = Options("check_layer", mode, order, rtol, kinks, rng)
    parameters = {name: p.data.copy() for name, p in layer.named_parameters()}
    call = Call("layer", (layer,), _named(layer.forward, inputs) | parameters, options.given())

    def in_mode(training: bool) -> Make:
        return lambda generator: of_layer(_copied(layer, generator).train(training), inputs, generator)

    first = _to_order(in_mode(True), call, options)
    if first.ok and _alike(in_mode(True), in_mode(False), options):
        return first
    second = _to_order(in_mode(False), call, options)
    in_training = SEVERITY.index(first.status) >= SEVERITY.index(second.status)
    note = f"this is in training; in evaluation: {second.status}"
    if not in_training:
        note = f"this is in evaluation; in training: {first.status}"
    worse = first if in_training else second
    return replace(worse, evals=first.evals + second.evals, notes=(*worse.notes, note))


def _copied(layer: Module, generator: np.random.Generator | None) -> Module:
    """A copy of the layer, which draws from the same generators."""
    same = {id(g): g for g in (generator, random.generator())}
    try:
        return copy.deepcopy(layer, same)
    except Exception as error:
        text = f"a copy of the layer is what is checked, and it cannot be copied: {error}"
        raise Broken("INPUT", text, "Give its class a __deepcopy__") from error


def _alike(one: Make, other: Make, options: Options) -> bool:
    """Whether functions and backwards give the same numbers, to the bit."""
    found = []
    with _generators_kept(options.generator):
        for make in (one, other):
            try:
                problem = make(options.generator)
                problem.rewind()
                found.append((problem.y, problem.vjp(np.random.default_rng(0).standard_normal(problem.y.size))))
            except Broken:
                return False
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*found))


def assert_gradcheck(fn: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    """:func:`gradcheck`, which raises AssertionError with the report where the gradients cannot be trusted.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bp.assert_gradcheck(bp.ops.sigmoid, [0.5, -1.0]).status
    'PASS'
    """
    report = gradcheck(fn, *inputs, **options)
    if not report:
        raise AssertionError(str(report))
    return report


def _named(function: Any, given: Sequence[Any]) -> dict[str, Any]:
    arrays = [a.data if isinstance(a, Node) else a for a in given]
    return dict(zip(argument_names(function, len(given)), arrays))


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
def _generators_kept(rng: np.random.Generator | None) -> Iterator[None]:
    """Generators that the function draws from are afterwards where they were before."""
    states = [(g.bit_generator, g.bit_generator.state) for g in (random.generator(), rng) if g]
    try:
        yield
    finally:
        for generator, state in states:
            generator.state = state


def _to_order(make: Make, call: Call, options: Options) -> Report:
    """The check of a function, and at order 2, where that is right, of its backward."""
    report = _checked(make, call, options)
    if options.order == 1 or not report.ok:
        return report
    second = _checked(lambda g: of_gradient(make(g)), call, options, symmetric=True)
    return replace(second, order=2, evals=report.evals + second.evals)


# ---- one check -----------------------------------------------------------------------------------------------------


def _checked(make: Make, call: Call | None, options: Options, symmetric: bool = False) -> Report:
    """Contract, then numbers, then a name for what is wrong."""
    problem: Problem | None = None
    with np.errstate(all="ignore"), _generators_kept(options.generator):
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
    y, v = problem.y, contract.v
    if found.v is not None:
        y, v = np.reshape(found.v @ y, (1,)), np.ones(1)
    elif len(problem.outputs) == 1:
        y, v = (a.reshape(problem.output_shapes[0]) for a in (y, v))
    rivals = {name: found.estimate.value[cut].T for name, cut in zip(problem.names, problem.cuts)}
    values = dict(zip(problem.names, problem.inputs)) | problem.others
    unread = {d.argument for d in contract.broken if d.code == "DTYPE"}
    diagnoses: list[Diagnosis] = []
    for k, (name, cut) in enumerate(zip(problem.names, problem.cuts)):
        part = found.verdict[cut].T
        if name in unread or len(diagnoses) == verdict.ARGUMENTS or not (part == Verdict.FAIL).any():
            continue
        raw = contract.raw[k] if found.mode == "full" else None
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
