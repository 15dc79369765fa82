"""The goals, and what was measured beside each of them: multiples of the hand-written step, and who is to be ahead.

Goals of single figures, such as the cost of an import, stand where these are measured, in `costs.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import field, machine
from .results import Part, Timing

NETS = ("784-30-10, batch 10", "784-100-10, batch 10", "784, six of 32, 10, batch 32", "784-512-512-10, batch 128")
_SMALL = NETS[:3]
# For each net (float64, float32); AVX2 kernels are slower than AVX-512 ones in what all contenders share, the products.
_OWN = {
    field.EAGER: ((1.30, 1.40), (1.25, 1.25), (1.30, 1.30), (1.05, 1.05)),
    field.COMPILED: ((0.75, 0.70), (0.85, 0.75), (0.75, 0.65), (1.00, 1.00)),
    field.NUMBA: ((0.45, 0.35), (0.50, 0.42), (0.45, 0.30), (0.92, 0.92)),
}
_AVX2 = {
    field.COMPILED: ((0.82, 0.80), (0.90, 0.82), (0.80, 0.72), (1.02, 1.02)),
    field.NUMBA: ((0.60, 0.55), (0.67, 0.60), (0.60, 0.45), (0.97, 0.97)),
}
_ORDER = (field.EAGER, field.COMPILED, field.NUMBA)
_ADAM = {field.COMPILED: 0.90, field.NUMBA: 0.35}


@dataclass(frozen=True)
class Goal:
    """One cell: a contender's ratio on one net, and what it should be at most."""

    name: str
    kind: str
    where: str
    net: str
    measured: float
    at_most: float

    @property
    def who(self) -> str:
        return f"{self.name}{self.kind}; {self.where}"

    @property
    def met(self) -> bool:
        return self.measured <= self.at_most


def judged(parts: Sequence[Part]) -> list[Goal]:
    """Every goal for which there is a measurement: of our library, on the nets that have goals, on one core."""
    found: list[Goal] = []
    for part in parts:
        if part.cores == 1:
            for t in part.timings:
                if t.net in NETS:
                    found += _of(part, t)
    return sorted(found, key=lambda goal: (_ORDER.index(goal.name), goal.kind))


def _of(part: Part, t: Timing) -> Iterator[Goal]:
    where = f"{part.kernel}, {t.dtype}"
    avx2, ratios = part.kernel in machine.AVX2_KERNELS, t.ratios
    if t.optimizer == "Adam":
        if t.net == NETS[0]:
            for name in filter(ratios.__contains__, _ADAM):
                yield Goal(name, " with Adam", where, t.net, ratios[name], _ADAM[name])
        return
    for name, goals in (_AVX2 if avx2 else _OWN).items():
        if name in ratios:
            at_most = dict(zip(NETS, goals, strict=True))[t.net][t.dtype == "float32"]
            yield Goal(name, "", where, t.net, ratios[name], at_most)
    for name, other in _ahead(t.net, avx2):
        theirs = [ratios[peer] for peer in other if peer in ratios]
        if name in ratios and theirs:
            yield Goal(name, f" ahead of {other[0]}", where, t.net, ratios[name], min(theirs))


def _ahead(net: str, avx2: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(Ours, the peers it is to be ahead of): JAX called per step, with donated buffers or without."""
    per_call = (field.JAX, field.DONATED)
    if not avx2:
        yield field.EAGER, (field.PYTORCH,)
    if net in _SMALL:
        yield field.NUMBA, per_call
        if not avx2:
            yield field.COMPILED, per_call
