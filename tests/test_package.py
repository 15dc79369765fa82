"""The names of the package: what completion offers, and what a name that is not there answers."""

from __future__ import annotations

import re

import pytest

import tinygrad_bp as bp


def test_completion_offers_what_loads_on_first_use_too():
    assert dir(bp) == sorted([*bp.__all__, "__version__"])
    assert {"save", "load", "fit", "from_spec"} <= set(dir(bp))
    assert all(hasattr(bp, name) for name in dir(bp))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("exp", "Use np.exp(t) or bp.ops.exp."),
        ("sigmoid", "Use bp.ops.sigmoid."),
        ("Linear", "Use bp.nn.Linear."),
        ("SGD", "Use bp.optim.SGD."),
        ("tensr", "Did you mean 'tensor'?"),
        ("zzz", "See dir(tinygrad_bp)."),
    ],
)
def test_a_name_that_is_not_there_says_where_it_is(name, advice):
    with pytest.raises(AttributeError, match=re.escape(f"tinygrad_bp: there is no '{name}' here. {advice}") + "$"):
        getattr(bp, name)
