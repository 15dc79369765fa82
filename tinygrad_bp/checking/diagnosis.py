"""From two matrices of derivatives that differ to the name of the mistake: a table of rules, the first that fits wins.

The strictest tests come first: where one fits, a later and looser one often would, too. Where the evidence is thin the
weaker claim is made, in the end OTHER: a wrong name costs its reader more than none. The rules themselves are in
:mod:`~tinygrad_bp.checking.rules`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import rules
from .evidence import Case
from .report import Diagnosis

__all__ = ["RULES", "Case", "diagnose"]

RULES: tuple[Callable[[Case], Diagnosis | None], ...] = (
    # nothing to compare: what makes every comparison void
    rules.wrong_shape,
    rules.not_finite,
    rules.at_kinks,
    rules.unresolved,
    rules.flat,
    # one number tells all: no other claim is as simple
    rules.detached,
    rules.sign_or_factor,
    rules.swapped,
    # the right numbers in the wrong places: every entry of A is used, hardly anything fits by chance
    rules.shifted,
    rules.flipped,
    rules.transposed,
    # paths and outputs are forgotten: A or A - N is made of zeros, and of N
    rules.skip_path,
    rules.diagonal,
    rules.contributions,
    # a factor is missing: it is made of values at hand, and must be borne out
    rules.chain_factor,
    rules.mistaken_value,
    # a term is missing: rarer than a factor
    rules.missing_mean,
    rules.missing_term,
    # where it is wrong: it says little of how, so it comes after all that explains the numbers
    rules.repeated,
    rules.region,
    rules.index_region,
    rules.only_lost,
    rules.mask,
    rules.rearranged_behind_a_slope,
    rules.misplaced,
    # what is left of a pattern: these fit the most
    rules.missing_path,
    rules.missing_norm,
    rules.off_together,
    rules.factor_by_axis,
    rules.value_alone,
)


def diagnose(case: Case) -> Diagnosis:
    """The first rule that fits names the mistake; OTHER where none does."""
    with np.errstate(all="ignore"):
        return next(filter(None, (rule(case) for rule in RULES)), None) or rules.other(case)
