"""Cheaper proofs of the same: the check that gradients are finite, said with sums of squares that are at hand.

Entries are finite if the sum of their squares is. The gradient of a weight matrix is a product, delta^T x, and where a
batch is smaller than a layer it has more entries than its factors together: then the squares of those will do, by the
inequality of Cauchy and Schwarz. Where a sum is not finite, every gradient is looked at as before.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

from ..optim.optimizers import BLOCK, check_finite
from .plan import Plan, Slot, Value

__all__ = ["cheaper_checks", "check_squares"]

Flat = Any


def check_squares(optimizer: str, gradients: list[Any], flat: list[Flat], factors: list[tuple[Flat, Flat]]) -> None:
    """check_finite, unless the sums of squares of `flat`, and |d|^2 |x|^2 of the factors (d, x), tell already."""
    total = 0.0
    for g in flat:
        total += g.dot(g)
    for d, x in factors:
        total += d.dot(d) * x.dot(x)
    if not total < inf:
        check_finite(optimizer, gradients)


def cheaper_checks(plan: Plan) -> Plan:
    """The plan with `check_squares` in the place of `check_finite`; large gradients that are no products stay there."""
    body: list[Value] = []
    for v in plan.body:
        body += _cheaper(v) if v.op == "check" and v.params[0] is check_finite.__wrapped__ else [v]  # type: ignore[attr-defined]
    return plan.mapped(body, {})


def _cheaper(check: Value) -> list[Value]:
    (optimizer, gradients), named = check.params[1]
    views: dict[Value, Value] = {}
    args, flat, factors, large = list(check.args), [], [], [None] * len(gradients)

    def flattened(x: Value) -> Slot:
        if x not in views:
            views[x] = x if x.ndim == 1 else Value("reshape", (x,), ((x.size,),), (x.size,), x.dtype, note=check.note)
        args.append(views[x])
        return Slot(len(args) - 1)

    for position, slot in enumerate(gradients):
        if slot is not None:
            g = check.args[slot.k]
            pair = _factors(g)
            if pair:
                factors.append(tuple(map(flattened, pair)))
            elif g.size <= BLOCK:
                flat.append(flattened(g))
            else:
                large[position] = slot
    template = ((optimizer, gradients, flat, factors), named)
    quick = replace(check, args=tuple(args), params=(check_squares, template))
    made = [view for x, view in views.items() if view is not x]
    if any(large):
        return [*made, quick, replace(check, params=(check.params[0], ((optimizer, large), named)))]
    return [*made, quick]


def _factors(g: Value) -> tuple[Value, Value] | None:
    """The matrices of which a gradient is the product, where they have fewer entries than it."""
    if g.op != "matmul" or g.ndim != 2:
        return None
    a, b = (x.args[0] if x.op == "transpose" else x for x in g.values)
    return (a, b) if a.ndim == b.ndim == 2 and a.size + b.size < g.size else None
