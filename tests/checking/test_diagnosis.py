"""The diagnosis names the mistakes planted in `mistakes.py`, each by its rule, and claims nothing on thin evidence."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_bp as bp
from tests.checking.mistakes import MISTAKES, mistake, normal
from tinygrad_bp.checking import diagnosis
from tinygrad_bp.checking.diagnosis import RULES, Case, diagnose

CASES = {name: m.case() for name, m in MISTAKES.items()}


def case_of(A: Any, N: Any, wrong: Any = None, **changes: Any) -> Case:
    """A case of two matrices, a row for every output."""
    A, N = np.array(A, float), np.array(N, float)
    m, n = N.shape
    wrong = np.abs(A - N) > 1e-6 if wrong is None else np.array(wrong)
    x, y = np.arange(1.0, n + 1), np.arange(1.0, m + 1) + 0.5
    none, v = np.zeros((m, n), bool), np.arange(1.0, m + 1)
    case = Case("x", x, y, {}, A, N, 1e-12 * np.abs(N) + 1e-14, wrong, none, np.ones(n, bool), A.T @ v, v, x)
    return replace(case, **changes)


@pytest.mark.parametrize("name", MISTAKES)
def test_names_the_mistake(name):
    found = diagnose(CASES[name])
    assert (found.code, MISTAKES[name].text in found.text) == (MISTAKES[name].code, True), found
    assert found.argument == CASES[name].argument
    assert found.hint or found.code == "OTHER"
    assert "\n" not in found.text and len(found.text) < 220


# ---- the table -----------------------------------------------------------------------------------------------------

# What a rule claims of a mistake that an earlier rule names: here the order of the table decides.
LATER = {
    "not_finite": "wrong_shape",
    "transposed": "flipped",
    "skip_path": "flat, sign_or_factor, shifted",
    "diagonal": "shifted, skip_path",
    "contributions": "diagonal",
    "missing_term": "detached, sign_or_factor, chain_factor, mistaken_value",
    "region": "sign_or_factor, missing_term",
    "index_region": "flipped",
    "only_lost": "shifted, contributions, region, index_region",
    "mask": "shifted",
    "misplaced": "shifted, flipped, transposed, rearranged_behind_a_slope",
    "missing_norm": "index_region",
    "value_alone": "sign_or_factor, diagonal, mistaken_value, missing_mean, region, mask",
}


@np.errstate(all="ignore")
def claims(case: Case) -> list[tuple[str, str]]:
    """(rule, code) of all rules that claim to know the mistake; those after `unresolved` need clear entries."""
    rules = RULES if case.bad.any() else RULES[:4]
    return [(rule.__name__, found.code) for rule in rules if (found := rule(case))]


@pytest.fixture(scope="module")
def claimed() -> list[tuple[Case, list[tuple[str, str]]]]:
    return [(case, claims(case) or [("other", "OTHER")]) for case in [*CASES.values(), *SPECIAL]]


def test_every_rule_is_silent_on_the_mistakes_of_the_others_but_where_the_order_decides(claimed):
    later = {
        (rule, found[0][0])
        for _, found in claimed
        for rule, code in found[1:]
        if code not in (found[0][1], "OTHER")
    }  # fmt: skip
    expected = {(rule, first) for rule, firsts in LATER.items() for first in firsts.split(", ")}
    assert later == expected, (sorted(later - expected), sorted(expected - later))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_without_a_rule_a_mistake_loses_its_name(rule, claimed, monkeypatch):
    cases = [case for case, found in claimed if found[0][0] == rule.__name__]
    before = [diagnose(case) for case in cases]
    monkeypatch.setattr(diagnosis, "RULES", tuple(other for other in RULES if other is not rule))

    def after(case: Case) -> Any:
        try:
            return diagnose(case)
        except ValueError:
            assert rule.__name__ == "unresolved"  # the rules after it take for granted that some entry is clear
            return None

    assert any(after(case) != found for case, found in zip(cases, before))


# ---- rules that the matrices of smooth functions do not show -------------------------------------------------------

KINK = case_of([[7.0, 0.0], [0.0, 1.0]], [[0.5, 0.0], [0.0, 1.0]], kink=np.array([[True, False], [False, False]]))
FLAT = case_of(np.eye(4), np.zeros((4, 4)))
GATHERED = mistake(
    "DUPLICATE",
    "names more than once",
    lambda e, i: np.exp(e[i]),
    lambda g, e, i: np.array([g[k == i][-1] * np.exp(e[k]) if (k == i).any() else 0 for k in range(len(e))]),
    normal(6),
    np.array([0, 2, 2, 4, 2, 1, 3]),
).case(scalar=True)
UNCLEAR = case_of([[1e-3, 1.0]], [[0.0, 1.0]], error=np.array([[1.5e-4, 1e-12]]), wrong=[[True, False]])
LONE = case_of(np.diag([1.0, 2, 3, 6, 5, 6]), np.diag([1.0, 2, 3, 4, 5, 6]))
BY_ROWS = case_of(
    np.array([[1.3], [0.7], [2.1], [1.9]]) * np.cos(np.arange(20.0).reshape(4, 5)),
    np.cos(np.arange(20.0).reshape(4, 5)),
)
SPECIAL = [KINK, FLAT, GATHERED, UNCLEAR, BY_ROWS]


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        (KINK, "KINK", "7 at the kink dy[0]/dx[0]: not between the slopes"),
        (FLAT, "OTHER", "does not change here, yet the gradient is 1 at dy[0]/dx[0]"),
        (GATHERED, "DUPLICATE", "i names more than once"),
        (UNCLEAR, "OTHER", "1 of 2 entries are wrong; worst x[0]"),
        (BY_ROWS, "OTHER", "right up to a factor that depends on the index along axis 0 of the output only"),
        (LONE, "OTHER", "1 of 6 entries are wrong; worst dy[3]/dx[3]: analytic 6, numeric 4, ratio 1.5"),
    ],
)
def test_special(case, code, text):
    found = diagnose(case)
    assert (found.code, text in found.text) == (code, True), found


# ---- how much evidence ---------------------------------------------------------------------------------------------


def test_of_one_entry_only_the_factor_is_told():
    """x = 0.5, y = 0.25: missing factors x, y, 1 - y, 1 - x**2 ... cannot be told from a constant."""
    for factor in (0.5, 0.25, 0.75, 0.1234):
        found = diagnose(case_of([[factor]], [[1.0]], x=np.array([0.5]), y=np.array([0.25])))
        assert found.code == "FACTOR", found


def test_two_entries_do_not_make_a_chain_factor_with_a_constant():
    x = np.array([0.3, 0.7])
    assert diagnose(case_of(np.diag(1.7 * x), np.eye(2), x=x)).code == "OTHER"
    assert diagnose(case_of(np.diag(x), np.eye(2), x=x)).code == "CHAIN"


def test_random_errors_have_no_name():
    rng = np.random.default_rng(0)
    for m, n in [(1, 1), (1, 2), (2, 2), (3, 3), (1, 7), (4, 6), (12, 12)] * 20:
        N = rng.normal(size=(m, n))
        named = diagnose(
            case_of(N * (1 + 0.3 * rng.normal(size=N.shape)), N, x=rng.normal(size=n), y=rng.normal(size=m))
        )
        assert named.code == "OTHER" or n * m == 1, named


def test_random_errors_of_diagonal_matrices_have_no_name():
    rng = np.random.default_rng(1)
    for n in (3, 4, 6, 9) * 20:
        N = np.diag(rng.normal(size=n))
        named = diagnose(case_of(N * (1 + 0.3 * rng.normal(size=n)), N, x=rng.normal(size=n), y=rng.normal(size=n)))
        assert named.code == "OTHER", named


@pytest.mark.parametrize(("noise", "least"), [(1e-6, 0.97), (1e-5, 0.97), (1e-4, 0.85), (1e-3, 0.65)])
def test_noise_takes_names_away_and_does_not_change_them(noise, least):
    rng, tally = np.random.default_rng(5), Counter[str]()
    for name, case in CASES.items():
        scale = np.abs(case.numeric) + 0.1 * np.abs(case.numeric).max()
        numeric, error = case.numeric + noise * scale * rng.normal(size=scale.shape), 3 * noise * scale
        wrong = case.wrong & ~(np.abs(case.analytic - numeric) <= 10 * error)
        if wrong.any():
            code = diagnose(replace(case, numeric=numeric, error=error, wrong=wrong)).code
            tally["right" if code == MISTAKES[name].code else "unnamed" if code == "OTHER" else "misleading"] += 1
    assert tally["right"] >= least * tally.total(), tally
    assert tally["misleading"] <= 0.03 * tally.total(), tally


def test_the_gradient_of_one_number_at_some_columns_is_enough_for_many():
    tally = Counter[str]()
    for m in MISTAKES.values():
        case = m.case(scalar=True)
        if case.wrong.any():
            code = diagnose(case).code
            tally["right" if code == m.code else "unnamed" if code == "OTHER" else "misleading"] += 1
    assert tally["right"] >= 0.6 * tally.total(), tally
    assert tally["misleading"] <= 0.05 * tally.total(), tally


# ---- what it says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("one row", "counts 1 of the 4 outputs that use each entry", "sum the incoming gradient over axis 0"),
        ("bias not summed", "shape (4, 5), b has (5,): it is not summed over axis 0", "b was broadcast: .sum(0)"),
        ("column not summed", "it is not summed over axis 1", ".sum(1, keepdims=True)"),
        ("no mean", "too large by 4, the size of axis 0 of z", "divide by it: a mean, not a sum"),
        ("scale", "off by the factor 3.33333; 3.33333 is 1 / alpha", "multiply by 0.3"),
        ("sigmoid', of y", "the factor y * (1 - y) is missing", "multiply by y * (1 - y)"),
        ("weight decay", "analytic - numeric = -0.1 * w: this term is missing", "add 0.1 * w"),
    ],
)
def test_what_it_says(name, text, hint):
    found = diagnose(CASES[name])
    assert text in found.text and hint in found.hint, found


def test_arguments_that_are_no_numbers_are_passed_over():
    case = replace(CASES["tanh'"], others={"mode": "same", "nothing": None, "many": [1, 2], "flag": True})
    assert diagnose(case).code == "CHAIN"


def test_numbers_without_axes():
    one = np.array(2.0)
    case = case_of([[3.0]], [[1.0]], x=one, y=one, v=np.array(1.0), raw=np.array(3.0))
    assert diagnose(case).text == "off by the factor 3"


def test_the_scalar_may_be_given_instead_of_the_outputs():
    m = MISTAKES["minus sum"]
    case = m.case(scalar=True)
    assert diagnose(replace(case, y=np.array([1.0]), v=np.ones(1))).code == "SIGN"


@pytest.mark.parametrize(
    ("backward", "code", "text"),
    [
        (lambda x, u: 1.0 * u, "CHAIN", "the factor (1 - y**2) is missing"),
        (lambda x, u: (u * (1 - np.tanh(x) ** 2)).ravel(), "SHAPE", "the gradient has shape (42,), x has (6, 7)"),
        (lambda x, u: u * (2 - np.tanh(x) ** 2), "SKIP", "1 times the identity"),
    ],
)
def test_fast_mode_hands_over_the_outputs_and_the_gradient_as_it_came(backward, code, text):
    report = bp.check_backprop(np.tanh, backward, normal(6, 7), mode="fast")
    assert [d.code for d in report.diagnosis] == [code] and text in report.diagnosis[0].text, report
