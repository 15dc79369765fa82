"""What a check found: the verdict of every derivative, the diagnosis, and the text, JSON and files made of them.

A :class:`Report` is true where the gradient can be trusted (PASS, KINK). Nothing is computed here but what is shown:
the numbers come from :mod:`~tinygrad_bp.checking.differences`, the judgement from
:mod:`~tinygrad_bp.checking.verdict`, the name of the mistake from :mod:`~tinygrad_bp.checking.diagnosis`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .cases import Kind, is_found_again, name_of, save_case

__all__ = ["SEVERITY", "Block", "Call", "Diagnosis", "Report", "Status", "Verdict", "Worst"]

Array = NDArray[Any]
Status = Literal["PASS", "KINK", "VACUOUS", "INCONCLUSIVE", "FAIL", "CONTRACT"]
SEVERITY: tuple[Status, ...] = ("PASS", "KINK", "VACUOUS", "INCONCLUSIVE", "FAIL", "CONTRACT")


class Verdict(IntEnum):
    """Of one derivative, one entry of an output by one entry of an input; the worse the larger."""

    PASS = 0
    KINK = 1
    UNSURE = 2
    FAIL = 3


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, in the words of a person who has seen the mistake before."""

    code: str
    """One word: BROADCAST, SIGN, FACTOR, ..., or of a broken contract: ACCUMULATES, SHAPE, ..."""
    text: str
    """What was found, with the numbers."""
    hint: str = ""
    """What to do about it."""
    argument: str = ""
    """Whose gradient it is about; empty where it is about all."""

    def __str__(self) -> str:
        return f"{self.code}: {self.text} -> {self.hint}" if self.hint else f"{self.code}: {self.text}"


@dataclass(frozen=True)
class Block:
    """The derivatives of one output by one argument; the arrays have the shape ``output.shape + input.shape``.

    In fast mode the output is the scalar ``v . y`` and `numeric` is nan where an entry was not measured alone.
    """

    output: str
    argument: str
    shape: tuple[int, ...]
    """Of the argument."""
    analytic: Array
    numeric: Array
    error: Array
    """The estimated error of `numeric`."""
    verdict: Array
    """A :class:`Verdict` for every entry."""
    lo: Array
    """The smaller of the slopes to the two sides; equal to `numeric` away from kinks."""
    hi: Array

    @property
    def size(self) -> int:
        """How many entries the argument has."""
        return int(np.prod(self.shape))

    @property
    def resolution(self) -> float:
        """The largest estimated error, relative to the largest derivative of the block; nan where none was measured."""
        known = self.error[np.isfinite(self.error)]
        scale = float(np.abs(self.numeric[np.isfinite(self.numeric)]).max(initial=0.0))
        return float(known.max()) / scale if known.size and scale else float("nan")

    @property
    def entries(self) -> Array:
        """The worst verdict on each entry of the argument, over all entries of the output."""
        outer = tuple(range(self.verdict.ndim - len(self.shape)))
        return np.asarray(self.verdict.max(axis=outer, initial=0))


@dataclass(frozen=True)
class Worst:
    """One derivative that is wrong, or nearest to it."""

    output: str
    argument: str
    index: tuple[int, ...]
    """Of the output, then of the argument: an index into the arrays of the block."""
    where: str
    """The same in words: ``dy[0, 3]/db[3]``."""
    analytic: float
    numeric: float
    error: float
    ratio: float


@dataclass(frozen=True)
class Call:
    """How the check was called: what it takes to call it again."""

    kind: Kind
    things: tuple[Any, ...]
    inputs: Mapping[str, Any]
    options: Mapping[str, Any]


CHECKS = {"function": "gradcheck", "backprop": "check_backprop", "layer": "check_layer"}
SPARE_NAMES = {"function": ("function",), "backprop": ("forward", "backward"), "layer": ("layer",)}
MOST_LINES = 25
PRINTABLE = 60  # numbers that a reproduction still spells out


@dataclass(frozen=True, repr=False)
class Report:
    """The outcome of a check: true for PASS and KINK, and printed in at most 25 lines.

    `status` is the worst that was found, in this order: CONTRACT (the backward does what no backward may, or the check
    could not be made at all), FAIL (a derivative is wrong), INCONCLUSIVE (the numbers could not decide), VACUOUS (every
    derivative is zero here: nothing was tested), KINK (right; some derivatives lie at a kink, where each value between
    the two slopes is allowed), PASS.
    """

    name: str
    status: Status
    mode: str = "full"
    order: int = 1
    blocks: Mapping[tuple[str, str], Block] = field(default_factory=dict)
    """By the names of output and argument."""
    diagnosis: tuple[Diagnosis, ...] = ()
    """What is wrong and what to do, the most telling first."""
    notes: tuple[str, ...] = ()
    """Why nothing could be decided; what else was seen."""
    opinions: tuple[str, ...] = ()
    """Of a failure, what other ways to tell say."""
    sharpness: float = float("nan")
    """Of fast mode: the error of the sums relative to what each argument adds to them."""
    noise: float = 0.0
    """Of the function, relative to its size: 1e-16 is float64, 1e-7 float32."""
    evals: int = 0
    """Calls of the function."""
    seed: int = 0
    call: Call | None = None

    @property
    def ok(self) -> bool:
        """Whether the gradients can be trusted: PASS or KINK."""
        return self.status in ("PASS", "KINK")

    def __bool__(self) -> bool:
        return self.ok

    @property
    def resolution(self) -> float:
        """The worst estimated error of a numeric derivative, relative to its block; nan where none was measured."""
        known = [self.sharpness, *(block.resolution for block in self.blocks.values())]
        return max((r for r in known if r == r), default=float("nan"))

    def worst(self, k: int = 3) -> list[Worst]:
        """The k derivatives that are wrong by most, or nearest to it."""
        ranked = []
        for block in self.blocks.values():
            measured = np.isfinite(block.error) | ~np.isfinite(block.analytic)
            scale = np.abs(block.numeric[np.isfinite(block.numeric)]).max(initial=0.0) or 1.0
            off = np.nan_to_num(np.abs(block.analytic - block.numeric) / scale, nan=1e300, posinf=1e300)
            for flat in np.lexsort((-off.ravel(), -block.verdict.ravel(), ~measured.ravel()))[:k]:
                if measured.flat[flat]:
                    rank = (-int(block.verdict.flat[flat]), -float(off.flat[flat]))
                    ranked.append((rank, block, tuple(map(int, np.unravel_index(flat, off.shape)))))
        ranked.sort(key=lambda entry: entry[0])
        return [_worst(block, index) for _, block, index in ranked[:k]]

    # -- as text --

    def __str__(self) -> str:
        """Say it in at most 25 lines."""
        lines = [f"{self.status}  {self._headline()}"]
        for k, (said, arguments) in enumerate(list(self._findings().items())[:4]):
            if self.status == "CONTRACT" and not k:
                continue  # it is the headline
            code, text, hint = said
            whose = f" ({_listed(arguments)})" if len(self._wrong()) > 1 and any(arguments) else ""
            lines.append(_labelled("diagnosis" if len(lines) == 1 else "", f"{code}{whose}: {text}"))
            if hint:
                lines.append(_labelled("", f"-> {hint}"))
        if self.status in ("FAIL", "INCONCLUSIVE", "KINK") or (self.status == "CONTRACT" and self._wrong()):
            worst = self.worst(3)
            shown = [w for w in worst if self._verdict(w) >= Verdict.UNSURE and not self._unknown(w.argument)]
            lines += [_labelled("worst" if w is shown[0] else "", _spelled(w)) for w in shown]
        arguments = self._arguments()
        if arguments and self.status != "PASS":
            lines.append(_labelled("arguments", _listed(arguments, "; ")))
        lines += [_labelled("note", note) for note in self.notes[:6]]
        lines += [_labelled("opinion", opinion) for opinion in self.opinions]
        if self.evals:
            lines.append(_labelled("evidence", self._evidence()))
        if not self.ok and self.call is not None:
            lines.append(_labelled("reproduce", self._command()))
        return "\n".join(lines[:MOST_LINES])

    __repr__ = __str__

    def _headline(self) -> str:
        wrong = self._wrong()
        if self.status == "FAIL":
            many = len(wrong) > 1
            counts = _listed([f"{name} ({_of(block, Verdict.FAIL)})" for name, block in wrong.items()])
            return f"{self.name}: the gradient{'s' * many} of {counts} {'are' if many else 'is'} wrong"
        if self.status == "CONTRACT":
            first = next((d for d in self.diagnosis if d.text), None)
            if first is None:
                return self.name
            whose = f" ({first.argument})" if first.argument and first.argument not in first.text else ""
            return f"{self.name}: {first.code}{whose}: {first.text}. {first.hint[:1].upper()}{first.hint[1:]}."
        total = sum(block.verdict.size for block in self.blocks.values())
        if self.status == "VACUOUS":
            every = f"all {total} derivatives are" if total > 1 else "its one derivative is"
            return f"{self.name}: {every} zero here, so nothing was tested. Check at another point."
        if self.status == "INCONCLUSIVE":
            unsure = sum(int((block.verdict == Verdict.UNSURE).sum()) for block in self.blocks.values())
            return f"{self.name}: cannot tell for {unsure} of {counted(total, 'derivative')}."
        if self.status == "KINK":
            kinks = sum(int((block.verdict == Verdict.KINK).sum()) for block in self.blocks.values())
            at = f"{kinks} of {counted(total, 'derivative')} at a kink, between the slopes to its sides"
            return f"{self.name}: right; {at}"
        how = f"resolved to {self.resolution:.0e}" + (" by signed sums" if self.mode == "fast" else "")
        what = counted(total, "derivative") + (" of the backward" if self.order == 2 else "")
        return f"{self.name}: {what} {'are' if total > 1 else 'is'} right, {how}"

    def _unknown(self, argument: str) -> bool:
        """Whether a gradient came in a wrong shape, so that no entry of it can be compared."""
        return all(np.isnan(block.analytic).all() for (_, name), block in self.blocks.items() if name == argument)

    def _verdict(self, w: Worst) -> int:
        return int(self.blocks[w.output, w.argument].verdict[w.index])

    def _findings(self) -> dict[tuple[str, str, str], list[str]]:
        """The diagnoses, with the arguments of which they are the same."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for d in self.diagnosis:
            found.setdefault((d.code, d.text, d.hint), []).append(d.argument)
        return found

    def _wrong(self) -> dict[str, Block]:
        """The worst block of each argument with wrong entries."""
        found: dict[str, Block] = {}
        for (_, name), block in self.blocks.items():
            if (block.verdict == Verdict.FAIL).any():
                found.setdefault(name, block)
        return found

    def _arguments(self) -> list[str]:
        wrong, seen, found = self._wrong(), set(), []
        for (_, name), block in self.blocks.items():
            if name not in wrong and name not in seen:
                seen.add(name)
                verdict = block.verdict.max(initial=0)
                word = {0: "ok", 1: "at a kink", 2: "undecided"}[int(verdict)]
                if verdict == Verdict.PASS and not block.analytic.any():
                    word = "zero"
                resolved = f", resolved to {block.resolution:.0e}" if block.resolution == block.resolution else ""
                found.append(f"{name} {word} ({counted(block.size, 'entry')}{resolved})")
        return found

    def _evidence(self) -> str:
        calls = f"{counted(self.evals, 'forward call')}, seed {self.seed}"
        if not self.blocks:
            return calls
        measured = "every derivative alone" if self.mode == "full" else "sums with random signs"
        return f"{measured}, noise of the forward {self.noise:.0e}, {calls}"

    def _command(self) -> str:
        if self.call and all(is_found_again(name_of(thing)) for thing in self.call.things):
            return 'report.save("case.npz"), then: python -m tinygrad_bp check --load case.npz'
        return "print(report.repro())"

    # -- to keep --

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write inputs and names to an .npz file, which ``python -m tinygrad_bp check --load`` checks again."""
        if self.call is None:
            raise ValueError(f"save: the report on {self.name} was not made by a check that can be run again.")
        save_case(path, self.call.kind, self.call.things, self.call.inputs, self.call.options)

    def repro(self) -> str:
        """Python that makes the same check again, with the exact arrays."""
        if self.call is None:
            raise ValueError(f"repro: the report on {self.name} was not made by a check that can be run again.")
        lines = ["import numpy as np", "import tinygrad_bp as bp"]
        names = []
        for thing, spare in zip(self.call.things, SPARE_NAMES[self.call.kind]):
            source, _, name = name_of(thing).rpartition(":")
            bare = name.split(".")[0]
            names.append(name if is_found_again(name) else spare)
            if not is_found_again(name):
                lines.append(f"{spare} = ...  # what was checked, from {source}")
            elif source.endswith(".py"):
                lines.append(f"from {os.path.basename(source)[:-3]} import {bare}  # {source}")
            else:
                lines.append(f"from {source} import {bare}")
        arguments = []
        layer = self.call.things[0] if self.call.kind == "layer" else None
        parameters = dict(layer.named_parameters()) if layer else {}
        for key, value in self.call.inputs.items():
            if key in parameters:
                lines.append(f"dict({names[0]}.named_parameters())[{key!r}].data[...] = {_literal(value)}")
                continue
            variable = key if key.isidentifier() else "".join(c if c.isalnum() else "_" for c in key)
            arguments.append(variable)
            lines.append(f"{variable} = {_literal(value)}")
        options = "".join(f", {key}={value!r}" for key, value in self.call.options.items())
        check = f"bp.{CHECKS[self.call.kind]}({', '.join([*names, *arguments])}{options})"
        return "\n".join([*lines, f"print({check})", ""])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data; numbers that JSON does not know are strings."""
        return {
            "name": self.name,
            "status": self.status,
            "ok": self.ok,
            "mode": self.mode,
            "order": self.order,
            "diagnosis": [asdict(d) for d in self.diagnosis],
            "worst": [{key: _plain(value) for key, value in asdict(w).items()} for w in self.worst(10)],
            "blocks": [_summary(block) for block in self.blocks.values()],
            "notes": list(self.notes),
            "opinions": list(self.opinions),
            "noise": _plain(self.noise),
            "resolution": _plain(self.resolution),
            "evals": self.evals,
            "seed": self.seed,
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)


def counted(n: int, what: str) -> str:
    """N things: ``1 entry``, ``2 entries``."""
    return f"{n} {what}" if n == 1 else f"{n} {what.removesuffix('y')}ies" if what.endswith("y") else f"{n} {what}s"


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    """The first six, and how many more there are."""
    shown = [*names[:6], f"{len(names) - 6} more"] if len(names) > 7 else names
    return separator.join(shown)


def _labelled(label: str, text: str) -> str:
    return f"  {label:<10} {text}"


def _spelled(w: Worst) -> str:
    near = abs(w.ratio - 1.0) < 1e-3  # print until the digits differ
    analytic, numeric = (f"{value:.{12 if near else 6}g}" for value in (w.analytic, w.numeric))
    ratio = f"1 {w.ratio - 1.0:+.1e}" if near else f"{w.ratio:.4g}"
    return f"{w.where}: analytic {analytic}, numeric {numeric} +- {w.error:.0e}, ratio {ratio}"


def _of(block: Block, verdict: Verdict) -> str:
    hit = int((block.entries == verdict).sum())
    known = int(np.isfinite(block.error).reshape(-1, block.size).any(axis=0).sum()) if block.size else 0
    sampled = "" if known == block.size else f" measured, {block.size} in all"
    return f"{hit} of {counted(known or block.size, 'entry')}{sampled}"


def _worst(block: Block, index: tuple[int, ...]) -> Worst:
    a, n, e = (float(array[index]) for array in (block.analytic, block.numeric, block.error))
    outer = len(index) - len(block.shape)
    name = f"({block.output})" if " " in block.output else block.output
    output = name + _subscript(index[:outer])
    where = f"d{output}/d{block.argument}{_subscript(index[outer:])}"
    ratio = a / n + 0.0 if n else float("inf") if a else 1.0
    return Worst(block.output, block.argument, index, where, a, n, e, ratio)


def _subscript(index: Sequence[int]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _literal(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size <= PRINTABLE:
        return f"np.array({value.tolist()!r}, dtype={str(value.dtype)!r}).reshape({value.shape})"
    if isinstance(value, np.ndarray):
        return "...  # too large to spell out: report.save() keeps it"
    return repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def _summary(block: Block) -> dict[str, Any]:
    counts = {v.name: int((block.verdict == v).sum()) for v in Verdict if (block.verdict == v).any()}
    return {
        "output": block.output,
        "argument": block.argument,
        "shape": list(block.shape),
        "verdicts": counts,
        "resolution": _plain(block.resolution),
    }
