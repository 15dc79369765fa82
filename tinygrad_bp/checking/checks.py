"""Where people meet the checker: one function for each thing there is to check, all of them answering with a Report.

Each makes a :class:`~tinygrad_bp.checking.problem.Problem`, and `_checked` does the rest in one order: contract, then
numbers, then a name for what is wrong. Whatever the function under test does, the answer is a report: exceptions,
wrong arity, None, integers and infinities become a line of it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import autograd
from ..nn.module import Module
from ..recipe import Node, Op
from . import opinions, verdict
from .contract import Contract, examine
from .diagnosis import Case, diagnose
from .differences import scales
from .problem import Broken, Problem, argument_names, of_backprop, of_function, of_gradient, of_layer, of_loss
from .report import SEVERITY, Block, Call, Diagnosis, Report, Status, Verdict

__all__ = ["assert_gradcheck", "check_backprop", "check_layer", "check_loss", "gradcheck"]

Array = NDArray[Any]
Mode = Literal["auto", "full", "fast"]
Kinks = Literal["allow", "fail"]
Seed = int | np.random.Generator | None
Make = Callable[[np.random.Generator | None], Problem]

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
        Takes the inputs, returns a Tensor, or a tuple, list or dict of them.
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
    call = Call("function", (fn,), _named(fn, inputs), _given(mode=mode, order=order, rtol=rtol, kinks=kinks))
    return _to_order(order, lambda g: of_function(fn, inputs, g), call, mode, rtol, kinks, rng)


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
    options = _given(loss=loss, mode=mode, rtol=rtol, kinks=kinks)
    call = Call("backprop", (forward, backward), _named(forward, arrays), options)
    return _checked(lambda g: of_backprop(forward, backward, arrays, loss, g), call, mode, rtol, kinks, rng)


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
        ``f(*params)``, a scalar; or ``f()``, which reads the arrays `params` where they are: then they are changed
        for the length of the check.
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
    return _checked(lambda g: of_loss(f, params, grads, g), None, mode, rtol, kinks, rng)


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

    The layer is left as it was found. Where evaluation gives the same numbers as training it is not measured again;
    else the report is the worse of the two and its notes name the other. The parameters are those of :func:`gradcheck`.

    Examples
    --------
    >>> import tinygrad_bp as bp
    >>> bool(bp.check_layer(bp.nn.Linear(3, 2), bp.randn(4, 3)))
    True
    """
    if not isinstance(layer, Module):
        finding = Diagnosis("INPUT", f"a {type(layer).__name__} is no nn.Module", "Pass a layer, or use gradcheck")
        return Report("check_layer", "CONTRACT", diagnosis=(finding,))
    parameters = {name: p.data.copy() for name, p in layer.named_parameters()}
    inputs_by_name = _named(layer.forward, inputs) | parameters
    call = Call("layer", (layer,), inputs_by_name, _given(mode=mode, order=order, rtol=rtol, kinks=kinks))

    def in_mode(training: bool) -> Make:
        return lambda generator: of_layer(layer.train(training), inputs, generator)

    modes = {module: module.training for module in layer.modules()}
    try:
        first = _to_order(order, in_mode(True), call, mode, rtol, kinks, rng)
        if first.ok and _alike(in_mode(True), in_mode(False)):
            return first
        second = _to_order(order, in_mode(False), call, mode, rtol, kinks, rng)
    finally:
        for module, training in modes.items():
            module.training = training
    in_training = SEVERITY.index(first.status) >= SEVERITY.index(second.status)
    note = f"this is in training; in evaluation: {second.status}"
    if not in_training:
        note = f"this is in evaluation; in training: {first.status}"
    worse = first if in_training else second
    return replace(worse, evals=first.evals + second.evals, notes=(*worse.notes, note))


def _alike(*makes: Make) -> bool:
    """Whether functions and backwards give the same numbers, to the bit."""
    found = []
    for make in makes:
        try:
            problem = make(None)
        except Broken:
            return False
        try:
            found.append((problem.y, problem.vjp(np.random.default_rng(0).standard_normal(problem.y.size))))
        except Broken:
            return False
        finally:
            problem.leave()
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


def _given(**options: Any) -> dict[str, Any]:
    """The options that differ from their defaults."""
    defaults = {"mode": "auto", "order": 1, "rtol": 1e-6, "kinks": "allow", "loss": False}
    return {key: value for key, value in options.items() if value != defaults[key]}


def _to_order(order: int, make: Make, call: Call, mode: str, rtol: float, kinks: str, rng: Seed) -> Report:
    """The check of a function, and at order 2, where that is right, of its backward."""
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is {order!r}. Pass 1 or 2.")
    report = _checked(make, call, mode, rtol, kinks, rng)
    if order == 1 or not report.ok:
        return report
    second = _checked(lambda g: of_gradient(make(g)), call, mode, rtol, kinks, rng, symmetric=True)
    return replace(second, order=2, evals=report.evals + second.evals)


# ---- one check -----------------------------------------------------------------------------------------------------


def _checked(
    make: Make,
    call: Call | None,
    mode: str,
    rtol: float,
    kinks: str,
    rng: Seed,
    symmetric: bool = False,
) -> Report:
    """Contract, then numbers, then a name for what is wrong."""
    _require_options(mode, rtol, kinks, rng)
    seed = rng if isinstance(rng, (int, np.integer)) else 0
    own = np.random.default_rng(seed)
    problem: Problem | None = None
    try:
        with np.errstate(all="ignore"):
            problem = make(rng if isinstance(rng, np.random.Generator) else None)
            return _report(problem, own, int(seed), call, mode, rtol, kinks, symmetric)
    except Broken as broken:
        name = problem.name if problem else "check_loss" if call is None else _title(call)
        evals = problem.evals if problem else 0
        return Report(name, "CONTRACT", diagnosis=(broken.diagnosis,), evals=evals, seed=int(seed), call=call)
    finally:
        if problem is not None:
            problem.rewind()
            problem.leave()


def _title(call: Call) -> str:
    thing = call.things[0]
    name = getattr(thing, "name", None) or getattr(thing, "__name__", type(thing).__name__)
    return "function" if name == "<lambda>" else str(name)


def _require_options(mode: str, rtol: float, kinks: str, rng: Any) -> None:
    if mode not in ("auto", "full", "fast"):
        raise ValueError(f"gradcheck: mode is {mode!r}. Pass 'auto', 'full' or 'fast'.")
    if kinks not in ("allow", "fail"):
        raise ValueError(f"gradcheck: kinks is {kinks!r}. Pass 'allow' or 'fail'.")
    if not (isinstance(rtol, (int, float)) and 0.0 < rtol < 1.0):
        raise ValueError(f"gradcheck: rtol is {rtol!r}. Pass a number between 0 and 1, such as 1e-6.")
    if not (rng is None or isinstance(rng, np.random.Generator) or (isinstance(rng, (int, np.integer)) and rng >= 0)):
        raise TypeError(f"gradcheck: rng is {rng!r}. Pass None, a seed >= 0 or a numpy.random.Generator.")


def _report(
    problem: Problem, rng: np.random.Generator, seed: int, call: Call | None, mode: str, rtol: float, kinks: str,
    symmetric: bool,
) -> Report:  # fmt: skip
    contract = examine(problem, rng)
    base = Report(problem.name, "CONTRACT", diagnosis=contract.broken, seed=seed, call=call)
    if any(d.code in UNMEASURABLE for d in contract.broken):
        return replace(base, evals=problem.evals)
    if not problem.x.size or not problem.y.size:
        empty = Diagnosis("EMPTY", "the arrays have no entries, so no derivative can be checked", "Pass larger ones")
        return replace(base, evals=problem.evals, diagnosis=(*contract.broken, empty))
    measure = verdict.fast if verdict.select(mode, problem) == "fast" else verdict.full
    found = measure(problem, contract, rtol, rng)
    if kinks == "fail":
        found.verdict[found.verdict == Verdict.KINK] = Verdict.FAIL
    named = _diagnosed(problem, contract, found)
    about = {d.argument for d in named}
    diagnoses = [*named, *(d for d in contract.broken if d.code != "SHAPE" or d.argument not in about)]
    if symmetric:
        diagnoses += opinions.asymmetry(problem, found)
    status, notes = _status(problem, contract, found, bool(diagnoses))
    if status in ("FAIL", "CONTRACT"):
        notes += _where(problem, call)
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
        noise=found.noise,
        evals=problem.evals,
    )


def _status(problem: Problem, contract: Contract, found: verdict.Findings, diagnosed: bool) -> tuple[Status, list[str]]:
    """The status, and what must be said about it."""
    notes = []
    domain = found.measured & np.isnan(found.estimate.value).any(axis=1)
    if found.noise > 1e-9 and not domain.any():
        digits = "float32" if found.noise < 1e-5 else "few digits"
        notes.append(
            f"the forward is noisy: {found.noise:.0e} of its size ({digits} inside?); smaller errors do not show"
        )
    zero = [name for name, cut in zip(problem.names, problem.cuts) if found.vanishes[cut].all()]
    worst = int(found.verdict.max(initial=0))
    if contract.broken:
        return "CONTRACT", notes
    if worst == Verdict.FAIL or diagnosed:
        return "FAIL", notes
    if worst == Verdict.UNSURE:
        return "INCONCLUSIVE", [*notes, _why(problem, found)]
    if len(zero) == len(problem.names):
        return "VACUOUS", notes
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
        return "undecided (noise): rounding inside the function hides the derivative. Compute in float64 throughout."
    return "undecided (unsettled): the function leaps here, or wiggles faster than any step. Check at another point."


def _blocks(problem: Problem, found: verdict.Findings) -> Any:
    """The matrices as one block for each pair of output and argument."""
    columns = zip(problem.outputs, problem.output_cuts, problem.output_shapes)
    projected = found.mode == "fast" and problem.y.size > 1
    pairs = [("(v . y)", slice(0, 1), ())] if projected else list(columns)
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
    scale = scales(problem)
    rivals = {name: found.estimate.value[cut].T for name, cut in zip(problem.names, problem.cuts)}
    values = dict(zip(problem.names, problem.inputs)) | problem.others
    unread = {d.argument for d in contract.broken if d.code == "DTYPE"}
    diagnoses = []
    for k, (name, cut) in enumerate(zip(problem.names, problem.cuts)):
        part = found.verdict[cut].T
        if name in unread or not (part == Verdict.FAIL).any():
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
            step=scale[cut],
            rivals={other: n for other, n in rivals.items() if other != name},
        )
        diagnoses.append(diagnose(case))
    return diagnoses


# ---- where it is ---------------------------------------------------------------------------------------------------


def _where(problem: Problem, call: Call | None) -> list[str]:
    """The file and line of what is wrong: of a backward written by hand, or of the row in a graph that fails alone."""
    if call is None:
        return []
    if call.kind == "backprop":
        return [f"the backward is {_place(call.things[1])}"]
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
