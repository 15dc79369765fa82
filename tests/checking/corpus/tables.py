"""What was measured, in Markdown: the block of docs/trust.md between the markers, and the same on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .functions import AT_KINK, FLOAT32, NEAR_KINK, NOMINAL, REGIMES
from .measure import DEVELOPMENT, HALVES, HELD_OUT, MISLEADING, RIGHT, UNNAMED, Row, mistakes_in
from .special import ERRORS, Diluted
from .tools import FAIL, FAST, FULL, PASS, UNSURE

MARKERS = ("<!-- corpus -->", "<!-- /corpus -->")


def between_markers(text: str, content: str) -> str:
    """The text with what stands between the two markers replaced; ValueError where they are missing."""
    start, end = MARKERS
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"page: expected {start} and then {end}, once each. Put them where the tables go.")
    return f"{text[: text.index(start)]}{start}\n{content}\n{text[text.index(end) :]}"


def block(
    command: str, rows: Sequence[Row], dilution: Sequence[Diluted], smallest: dict[str, dict[float, float]]
) -> str:
    """All tables, with the command that made them."""
    parts = [f"Made by `{command}`. {_counts(rows)}"]
    parts += ["### Right code that was failed", _right(rows)]
    parts += ["### Mistakes that passed", _wrong(rows)]
    parts += ["### Mistakes named", _naming(rows), *_by_code(rows)]
    parts += ["### Forward calls", _calls(rows)]
    if dilution:
        parts += ["### One wrong entry among many", _dilution(dilution)]
    if smallest:
        parts += ["### The smallest relative error caught", _smallest(smallest)]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _tools(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.tool for row in rows))


def _share(part: int, whole: int) -> str:
    """In %; what is above 0 and below 0.1 is not rounded to 0."""
    percent = 100 * part / whole
    return f"{percent:.0f}" if part in (0, whole) else f"{percent:.1f}" if percent >= 0.1 else f"{percent:.2g}"


def _counts(rows: Sequence[Row]) -> str:
    one = [row for row in rows if row.tool == rows[0].tool]
    right, wrong = sum(not row.kind for row in one), [row for row in one if row.kind]
    functions = len({row.function for row in one})
    kinds = {half: len({m.kind for _, m in mistakes_in(half)}) for half in (DEVELOPMENT, HELD_OUT)}
    halves = {half: sum(h == half for h in HALVES.values()) for half in (DEVELOPMENT, HELD_OUT)}
    pairs = len({(row.function, row.kind) for row in wrong})
    return (
        f"{functions} functions ({halves[DEVELOPMENT]} for development, {halves[HELD_OUT]} held out), "
        f"{kinds[DEVELOPMENT]} and {kinds[HELD_OUT]} kinds of mistakes, {pairs} pairs of a function and a kind.\n"
        f"Every tool judged {right} right gradients and {len(wrong)} wrong ones."
    )


def _verdicts(rows: Sequence[Row], bad: str, groups: Sequence[tuple[str, Callable[[Row], bool]]]) -> str:
    """For each group of rows and each tool, % of the bad verdict, in brackets % inconclusive."""
    names, lines = _tools(rows), []
    for label, belongs in groups:
        some = [row for row in rows if belongs(row)]
        if not some:
            continue
        cells = []
        for name in names:
            mine = [row.verdict for row in some if row.tool == name]
            unsure = mine.count(UNSURE)
            cells.append(_share(mine.count(bad), len(mine)) + (f" ({_share(unsure, len(mine))})" if unsure else ""))
        lines.append([label, str(len(some) // len(names)), *cells])
    return table(["regime", "n", *names], lines)


def _right(rows: Sequence[Row]) -> str:
    groups: list[tuple[str, Callable[[Row], bool]]] = [
        (regime.name, lambda row, name=regime.name: row.regime == name) for regime in REGIMES
    ]
    groups += [("**all in float64**", lambda row: row.regime not in FLOAT32)]
    return _verdicts([row for row in rows if not row.kind], FAIL, groups)


def _wrong(rows: Sequence[Row]) -> str:
    plain = (NOMINAL, AT_KINK, NEAR_KINK)
    groups: list[tuple[str, Callable[[Row], bool]]] = [
        (regime.name, lambda row, name=regime.name: row.regime == name) for regime in REGIMES
    ]
    groups += [
        ("**all in float64**", lambda row: row.regime not in FLOAT32),
        (
            "not linear in the incoming gradient",
            lambda row: row.expected == ("UPSTREAM",) and row.regime not in FLOAT32,
        ),
        ("wrong value at a kink", lambda row: row.at_kink),
        ("too large by 1e-4, nominal and kinks", lambda row: row.kind == "too large by 1e-4" and row.regime in plain),
        ("too large by 5e-6, nominal and kinks", lambda row: row.kind == "too large by 5e-6" and row.regime in plain),
        ("one entry wrong, nominal and kinks", lambda row: row.kind.startswith("one entry") and row.regime in plain),
        ("gradient zero, gradients x 1e-7", lambda row: row.kind == "detached" and row.regime == "gradients x 1e-7"),
    ]
    return _verdicts([row for row in rows if row.kind], PASS, groups)


def is_plain(row: Row) -> bool:
    """Where names are judged first: ordinary inputs, and kinks for the mistakes made there."""
    return row.regime == NOMINAL or (row.at_kink and row.regime == AT_KINK)


def _naming(rows: Sequence[Row]) -> str:
    head = [
        "function, kind",
        "mode",
        "n",
        "named right",
        "misleading",
        "not named",
        "all regimes: n",
        "right",
        "misleading",
    ]
    lines = []
    for halves in ((DEVELOPMENT,) * 2, (DEVELOPMENT, HELD_OUT), (HELD_OUT, DEVELOPMENT), (HELD_OUT,) * 2, None):
        for tool in (FULL, FAST):
            some = [row for row in rows if row.tool == tool and row.expected and _in(row, halves)]
            if not some:
                continue
            plain = [row.naming for row in some if is_plain(row)]
            every = [row.naming for row in some]
            label = " x ".join(halves) if halves else "**held out: either**"
            lines.append(
                [label, tool.removeprefix("ours, "), str(len(plain))]
                + [_share(plain.count(n), len(plain)) for n in (RIGHT, MISLEADING, UNNAMED)]
                + [str(len(every)), *(_share(every.count(n), len(every)) for n in (RIGHT, MISLEADING))]
            )
    return table(head, lines)


def _in(row: Row, halves: tuple[str, ...] | None) -> bool:
    return row.halves == halves if halves else HELD_OUT in row.halves


def _by_code(rows: Sequence[Row]) -> list[str]:
    """Of the held-out mistakes, in full mode and plain regimes, by the first of their names."""
    some = [row for row in rows if row.tool == FULL and row.expected and HELD_OUT in row.halves and is_plain(row)]
    lines = []
    for code in sorted({row.expected[0] for row in some}):
        naming = [row.naming for row in some if row.expected[0] == code]
        lines.append([code, str(len(naming)), *(_share(naming.count(n), len(naming)) for n in (RIGHT, MISLEADING))])
    return [table(["held out, by name", "n", "named right", "misleading"], lines)] if lines else []


def _calls(rows: Sequence[Row]) -> str:
    lines = []
    for tool in _tools(rows):
        cells = [tool]
        for regimes in ((NOMINAL,), tuple(regime.name for regime in REGIMES)):
            mine = [r for r in rows if r.tool == tool and not r.kind and r.verdict == PASS and r.regime in regimes]
            per_entry = sum(r.calls for r in mine) / max(1, sum(r.entries for r in mine))
            per_check = sum(r.calls for r in mine) / max(1, len(mine))
            cells += [f"{per_entry:.1f}", f"{per_check:.0f}", str(max((r.calls for r in mine), default=0))]
        lines.append(cells)
    head = ["on passing code", "nominal: per entry", "per check", "most", "all regimes: per entry", "per check", "most"]
    return table(head, lines)


def _dilution(dilution: Sequence[Diluted]) -> str:
    names = list(dict.fromkeys(d.tool for d in dilution))
    cells = {(d.wrong, d.size, d.tool): d for d in dilution}
    lines = []
    for wrong, size in dict.fromkeys((d.wrong, d.size) for d in dilution):
        line = [wrong, str(size)]
        for name in names:
            d = cells.get((wrong, size, name))
            line.append("-" if d is None else _share(d.caught, d.trials) + _located(d))
        lines.append(line)
    return table(["% caught", "entries", *names], lines)


def _located(d: Diluted) -> str:
    return "" if d.located is None else f", located {_share(d.located, d.trials)}"


def _smallest(smallest: dict[str, dict[float, float]]) -> str:
    lines = [[f"{e:.0e}", *(f"{100 * shares[e]:.0f}" for shares in smallest.values())] for e in ERRORS]
    return table(["% of functions caught, relative error", *smallest], lines)
