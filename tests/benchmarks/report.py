"""What was measured, in Markdown: the tables, the page docs/performance.md, and the part of README.md between markers.

`tried.md` beside this file is the one part of the page that is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from . import field, goals, machine
from .results import Figure, Part, Timing

MARKERS = ("<!-- benchmark -->", "<!-- /benchmark -->")
TRIED = (Path(__file__).parent / "tried.md").read_text(encoding="utf-8").strip()
_OF_THE_README = (
    field.HAND,
    field.EAGER,
    field.COMPILED,
    field.NUMBA,
    field.PYTORCH,
    field.TORCH_COMPILE,
    field.DONATED,
)
_TITLES = {"own kernels": "One core, NumPy's own kernels", "AVX2 kernels": "One core, AVX2 kernels"}

_HEAD = """# Performance

This page is written by a script, never by hand (but for "What was tried"):
`python -m tests.benchmarks.training_step --write docs/performance.md --readme README.md`.

## What is measured

One training step: forward, backward and the update of every weight. The nets are layers of `x @ W.T + b` and a sigmoid
under the quadratic loss, trained by plain SGD or Adam on one mini-batch that stays in memory. All are compared with the
same step *written by hand* in vectorised NumPy by someone who knows it: one `exp` per sigmoid, `delta.T @ x`,
`delta.sum(0)`, `W -= rate * dW`, and no loss value, since the update does not need it (`tests/benchmarks/nets.py`,
`adam.py`); `out=` is the same arithmetic in buffers that are allocated once. All others do compute the loss, as
their users' code does.

- `eager`, `compiled` and `compiled, numba` are this library (`ours.py`): one function of `(x, y)` with zero_grad,
  forward, backward, step, which returns the loss; called as it stands, through `bp.compile(function)`, and through
  `bp.compile(function, backend="numba")`. What is timed is the call `step(x, y)`, with all it checks.
- `PyTorch` is eager, with its fused Adam; `torch.compile` is the whole step as one graph (`peers_torch.py`).
- `JAX jit` is one jitted function per step, with donated buffers or without; `JAX scan` is an epoch of 100 mini-batches
  (12 on the wide net) in one jitted `lax.scan`, its time divided by their number (`peers_jax.py`).

## How

Before anything is timed, three steps of every contender must leave the hand-written step's weights, within 1e-9
(float64) or 1e-4 (float32) of the distance by which those steps moved each array. Then the contenders take turns in one
process, in blocks of about 3 ms of the hand-written step, in an order that rotates; a ratio is taken within each round,
and the tables show its median over {rounds} rounds. {pinned}, every thread pool has
as many threads as there are cores, and the garbage collector is off while a clock runs. The environment is cleaned
before NumPy is loaded: glibc is told to keep freed memory, so that no contender pays page faults for its temporaries
because of what another has allocated (the hand-written step gains most by this).
`the same again` is a second copy of the hand-written step: its distance from 1.00 is the noise of the measurement.

The kernels with which OpenBLAS multiplies matrices decide much, so they are stated. *NumPy's own* are those it chooses
for this CPU; the *AVX2* kernels, which it would choose on a CPU without AVX-512, are forced in a process of their own
by `OPENBLAS_CORETYPE=Haswell`. PyTorch and JAX bring kernels of their own, so a ratio to them depends on NumPy's.

- CPU: {cpu}
- BLAS kernels, NumPy's own choice: {kernel}
- {versions}
"""


def tables(parts: Sequence[Part]) -> str:
    """Every table: the ratios of each part, single figures, the goals."""
    sections = [section for part in parts for section in _ratios_of(part)]
    figures = [figure for part in parts for figure in part.figures]
    if figures:
        sections += ["## What a compiled step costs, and an import", _figures(figures)]
    judged = goals.judged(parts)
    if judged:
        sections += ["## Goals", *_goals(judged, figures)]
    return "\n\n".join(sections) + "\n"


def page(parts: Sequence[Part]) -> str:
    """The whole of docs/performance.md."""
    first = parts[0]
    head = _HEAD.format(
        rounds=len(first.timings[0].seconds),
        pinned="The process stays on one core" if first.pinned else "The process is not pinned to a core",
        cpu=machine.cpu_name(),
        kernel=first.kernel,
        versions=machine.versions("numpy", "numba", "torch", "jax", "autograd", "mygrad"),
    )
    return "\n\n".join([head.rstrip(), tables(parts).rstrip(), "## What was tried", TRIED]).rstrip() + "\n"


def summary(parts: Sequence[Part]) -> str:
    """What README.md shows: a few columns of the first table and the conditions in one sentence."""
    first = parts[0]
    return (
        "One training step (forward, backward, update), as multiples of the same step written by hand in NumPy, in\n"
        f"one process on one core ({machine.cpu_name()}, BLAS kernels {first.kernel}; less is faster).\n"
        "How, with which other kernels, and against which goals: [docs/performance.md](docs/performance.md).\n\n"
        f"{_ratios(first.of('SGD'), _OF_THE_README)}"
    )


def between_markers(text: str, content: str) -> str:
    """The text with what stands between the two markers replaced; ValueError where they are missing."""
    start, end = MARKERS
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"README: expected {start} and then {end}, once each. Put them where the table goes.")
    return f"{text[: text.index(start)]}{start}\n{content}\n{text[text.index(end) :]}"


def _ratios_of(part: Part) -> Iterator[str]:
    if not part.timings and not part.left_out:
        return
    title = _TITLES.get(part.name, part.name.capitalize())
    yield f"## {title}" + (f" ({part.kernel})" if part.kernel else "")
    for optimizer in ("SGD", "Adam"):
        if timings := part.of(optimizer):
            yield f"{optimizer}, multiples of the hand-written step (less is faster):"
            yield _ratios(timings, timings[0].names)
    if part.kernel:
        yield f"BLAS kernels: {part.kernel}; {part.cores} core{'s' * (part.cores > 1)}."
    if part.left_out:
        yield f"Left out: {'; '.join(part.left_out)}."


def _ratios(timings: Sequence[Timing], names: Sequence[str]) -> str:
    shown = [name for name in names[1:] if name in timings[0].names]
    rows = []
    for t in timings:
        hand, ratios = _microseconds(t.baseline), t.ratios
        rows.append([t.net, t.dtype, hand, *(f"{ratios[name]:.2f}" for name in shown)])
    return _table(["net", "dtype", names[0], *shown], rows)


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us"


def _figures(figures: Sequence[Figure]) -> str:
    rows = []
    for f in figures:
        goal = "" if f.goal is None else _number(f.goal, f.unit)
        missed = f.goal is not None and f.value > f.goal
        value = _number(f.value, f.unit)
        rows.append([f.what, f"**{value}**" if missed else value, goal])
    return _table(["", "measured", "goal, at most"], rows)


def _goals(judged: Sequence[goals.Goal], figures: Sequence[Figure]) -> Iterator[str]:
    nets = list(dict.fromkeys(goal.net for goal in judged))
    cells: dict[str, dict[str, str]] = {}
    for g in judged:
        text = f"{g.measured:.2f} ({g.at_most:.2f})"
        cells.setdefault(g.who, {})[g.net] = text if g.met else f"**{text}**"
    yield "Measured, and in brackets the most it should be; what is missed is bold. Other goals are in the table above."
    yield _table(
        ["multiples of hand-written", *nets], [[who, *(row.get(n, "") for n in nets)] for who, row in cells.items()]
    )
    missed = [f"{g.who}, {g.net} ({g.measured:.2f}, goal {g.at_most:.2f})" for g in judged if not g.met]
    missed += [
        f"{f.what} ({_number(f.value, f.unit)}, goal {_number(f.goal, f.unit)})"
        for f in figures
        if f.goal is not None and f.value > f.goal
    ]
    yield f"Missed, {len(missed)}: " + "; ".join(missed) + "." if missed else "Every goal is met."


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 10 or unit == "bytes" else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
