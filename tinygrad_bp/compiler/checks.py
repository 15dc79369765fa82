"""Cheaper proofs of the same: the check that gradients are finite, said with what the gradients are made of.

The gradient of a weight matrix is a product, delta^T x. It has more entries than its factors together where a batch is
smaller than a layer, and reading all of them once is a sixth of the step of a small net. If the sums of squares of both
factors have a finite product, so is every entry. Where that cannot be told, the gradient itself is looked at as before.
"""

from __future__ import annotations

from dataclasses import replace

from ..optim.optimizers import check_finite, check_products
from .plan import Plan, Slot, Value

__all__ = ["cheaper_checks"]


def cheaper_checks(plan: Plan) -> Plan:
    """The plan with `check_products` in the place of `check_finite`, where products are larger than their factors."""
    return plan.mapped([_cheaper(v) if v.op == "check" else v for v in plan.body], {})


def _cheaper(v: Value) -> Value:
    function, template = v.params
    if function is not getattr(check_finite, "__wrapped__", None):
        return v
    (optimizer, gradients), named = template
    args, factors = list(v.args), []
    for position, slot in enumerate(gradients):
        if slot is None:
            continue
        g = v.args[slot.k]
        if g.op == "matmul" and g.ndim == 2:
            a, b = (x.args[0] if x.op == "transpose" else x for x in g.args)
            if a.ndim == b.ndim == 2 and a.size + b.size < g.size:
                factors.append((position, Slot(len(args)), Slot(len(args) + 1)))
                args += [a, b]
    if not factors:
        return v
    return replace(v, args=tuple(args), params=(check_products, ((optimizer, gradients, factors), named)))
