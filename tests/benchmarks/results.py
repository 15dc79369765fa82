"""What a process measured: ratios of steps, single figures, and what they were measured on. All of it goes to JSON.

The parts of the benchmark need processes of their own (the BLAS kernel and the thread pools are chosen when NumPy is
loaded), so each writes what it found into a file, which the process that writes the report reads.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True)
class Timing:
    """Seconds of one step, per round and contender; the others are compared with the first contender."""

    net: str
    dtype: str
    optimizer: str
    names: list[str]
    seconds: list[list[float]]

    @property
    def baseline(self) -> float:
        """The first contender's step in seconds, median over rounds."""
        return median(row[0] for row in self.seconds)

    @property
    def ratios(self) -> dict[str, float]:
        """Name: median over rounds of its seconds / the first contender's seconds in that round."""
        return {name: median(row[k] / row[0] for row in self.seconds) for k, name in enumerate(self.names)}


@dataclass(frozen=True)
class Figure:
    """One number, its unit, and what it should be at most; no goal where it is only stated."""

    what: str
    value: float
    unit: str = ""
    goal: float | None = None


@dataclass(frozen=True)
class Part:
    """What one process measured, the BLAS kernel and the cores it had, and who could not take part and why."""

    name: str
    kernel: str = ""
    cores: int = 1
    pinned: bool = False
    timings: list[Timing] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def of(self, optimizer: str) -> list[Timing]:
        return [t for t in self.timings if t.optimizer == optimizer]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Part:
        fields = json.loads(text)
        timings = [Timing(**t) for t in fields.pop("timings")]
        return Part(timings=timings, figures=[Figure(**f) for f in fields.pop("figures")], **fields)
