"""Sample inputs for every row of the table, and for every function that is spelled with rows: data, nothing else.

A new row needs one line in the file of its page, in `ROWS` (or in `UNARY`, `BINARY`, `REDUCTIONS` of `table.py`, which
give it a family of shapes); a new function of `ops.__all__` one line in `SPELLED`. The values lie inside each domain
and away from kinks and ties, which `docs/conventions.md` is about. What the results must be is in `FORMULAS` of the
page and in `tests/references.py`.
"""

from __future__ import annotations

from . import (
    activations,
    attention,
    convolve,
    linalg,
    losses,
    normalize,
    order,
    pool,
    products,
    recurrent,
    reductions,
    shapes,
    special,
    table,
)
from .values import *  # noqa: F403
from .values import Samples

# fmt: off
PAGES = (
    special, activations, reductions, shapes, order, products, linalg, normalize, convolve, pool, recurrent, attention,
    losses,
)
# fmt: on
UNARY, BINARY, REDUCTIONS, FAMILIES = table.UNARY, table.BINARY, table.REDUCTIONS, table.FAMILIES
ROWS: dict[str, Samples] = dict(table.ROWS)
SPELLED: dict[str, Samples] = dict(table.SPELLED)
FORMULAS = {name: f for page in PAGES for name, f in page.FORMULAS.items()}
LINEAR = set().union(*(page.LINEAR for page in PAGES))
for page in PAGES:
    for mine, whole in ((page.ROWS, ROWS), (page.SPELLED, SPELLED)):
        for name, samples in mine.items():
            whole[name] = whole.get(name, []) + samples


def of(row: str) -> Samples:
    """All samples of a row."""
    return FAMILIES.get(row, []) + ROWS.get(row, [])
