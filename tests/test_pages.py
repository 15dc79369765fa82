"""The generated pages are what their writer writes, and what docs/coverage.md says of each function of NumPy is so."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_bp as bp

from . import make_pages
from .make_pages import ALIASES, DOCS, PAGES, REFUSED, SINCE, UNASKED, UNTIL, known, passes, records, words

VERSION = tuple(map(int, np.__version__.split(".")[:2]))
NEWEST = (2, 5)  # what the page knows


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_writer_writes(name: str) -> None:
    written = (DOCS / name).read_text("utf-8")
    assert written == PAGES[name](), f"docs/{name} is out of date. Say python -m tests.make_pages."


# ---- complete --------------------------------------------------------------------------------------------------------


def public(module: ModuleType, before: str = "") -> dict[str, Any]:
    """The functions of a module of NumPy, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: getattr(module, name, None) for name in module.__all__ if name[0] != "_"}
    is_other = (type, ModuleType)
    return {before + name: f for name, f in found.items() if callable(f) and not isinstance(f, is_other)}


FUNCTIONS = public(np) | public(np.linalg, "linalg.")


def is_here(name: str) -> bool:
    """Whether NumPy, as installed, has a function of the page."""
    since, until = SINCE.get(name, "2.0"), UNTIL.get(name, "9.9")
    return tuple(map(int, since.split("."))) <= VERSION <= tuple(map(int, until.split(".")))


@pytest.mark.skipif(VERSION > NEWEST, reason="the page is for NumPy 2.0 to 2.5, and this is newer")
def test_every_function_of_numpy_is_on_the_page() -> None:
    assert {name for name in known() if is_here(name)} == {*FUNCTIONS}


def test_a_function_is_said_to_be_one_thing() -> None:
    kinds = [{*records()}, passes(), {*words(REFUSED)}, {*words(UNASKED)}]
    said = [name for kind in kinds for name in kind]
    assert not {name for name in said if said.count(name) > 1}
    names = [name for table in (REFUSED, UNASKED) for group in table.values() for name in group.split()]
    assert len(names) == len({*names})


def test_other_names_are_names_of_the_same_functions() -> None:
    assert [name for name, other in ALIASES.items() if FUNCTIONS[name] is not FUNCTIONS[other]] == []


# ---- what the page says is so ----------------------------------------------------------------------------------------


SHAPED = [np.array([[0.9, 0.2], [0.3, 0.7]]), np.array([0.3, 0.9, 0.1, 0.6]), np.array(0.5), np.full((1, 2, 2), 0.5)]


def calls(scale: float) -> Iterator[tuple[Any, ...]]:
    """Arguments of all kinds, with a tensor among them that requires grad, or one of bools or integers."""
    for array in SHAPED:
        x, mask, zero = bp.Tensor(array * scale, requires_grad=True), array > 0.4, np.zeros(array.shape, int)
        yield from [(x,), (x, x), (x, 1), (1, x), (x, array), (array, x), (x, 0, 0), (x, x, x), (mask, x, array)]
        yield from [([x, x],), ([array, x],), (mask, x), ([mask], [x]), (0, [x, x]), (1, 0, x), (x, (0,)), (x, float)]
        yield from [(str, 0, x), (str, x), (x, [str], [str]), ("ii", x), (x, 0, 1, [x]), (array, 1, x)]
        yield from [(array, mask, x), ("file", x), (x, zero, 0), (mask.ravel(), x)]
        flags, zeros = bp.Tensor(mask), bp.Tensor(zero)
        yield from [(flags,), (mask, flags), (zeros, (3, 3)), ((zeros, zeros), (3, 3))]


def inside(result: Any) -> Iterator[Any]:
    """A result, or the parts of it."""
    if isinstance(result, (list, tuple)):
        for part in result:
            yield from inside(part)
    else:
        yield result


class Outcome(NamedTuple):
    """What came of all calls of a function."""

    tensors: bool
    """Whether some returned a Tensor."""
    answers: bool
    """Whether some returned something else."""
    lost: list[Any]
    """Plain results that change with the numbers in a tensor that requires grad: they no longer know of it."""
    complaints: list[str]


def numbers(result: Any) -> list[Any]:
    """The plain numbers in a result; whether some are equal or greater is an answer."""
    parts = (part for part in inside(result) if isinstance(part, (np.ndarray, np.inexact, float)))
    return [np.asarray(part) for part in parts if np.asarray(part).dtype.kind in "fcO"]


def outcome(function: Any) -> Outcome:
    tensors, answers, lost, complaints = False, False, [], []
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for args, other in zip(calls(1.0), calls(1.01), strict=True):
            try:
                one, two = function(*args), function(*other)
            except Exception as error:
                complaints.append(f"{type(error).__name__}: {error}")
                continue
            is_tensor = [isinstance(part, bp.Tensor) for part in inside(one)]
            tensors, answers = tensors or any(is_tensor), answers or not all(is_tensor)
            if [
                a
                for a, b in zip(numbers(one), numbers(two), strict=True)
                if not np.array_equal(a, b, equal_nan=a.dtype.kind != "O")
            ]:
                lost.append((args, one))
    return Outcome(tensors, answers, lost, complaints)


HERE = [name for name in sorted(known()) if name in FUNCTIONS]
QUIET = words(UNASKED).keys() - UNASKED["are about NumPy itself"].split()


@pytest.mark.parametrize("name", [name for name in HERE if name in records()])
def test_what_records_returns_tensors(name: str) -> None:
    found = outcome(FUNCTIONS[name])
    assert found.tensors, found.complaints
    assert not found.lost


@pytest.mark.parametrize("name", [name for name in HERE if name in passes()])
def test_what_passes_through_answers(name: str) -> None:
    found = outcome(FUNCTIONS[name])
    assert found.answers, found.complaints
    assert not found.tensors
    assert not found.lost or name == "empty_like"  # whose numbers are nobody's


@pytest.mark.parametrize("name", [name for name in HERE if name in words(REFUSED)])
def test_what_is_refused_says_so(name: str) -> None:
    found = outcome(FUNCTIONS[name])
    assert not found.tensors
    assert not found.lost
    name = ALIASES.get(name, name)
    reason, _, cure = words(REFUSED)[name].partition("; ")
    line = f"np.{name}: has no derivative here, the gradient would be lost: {reason}. {cure[:1].upper()}{cure[1:]}"
    assert [complaint for complaint in found.complaints if line in complaint]


@pytest.mark.parametrize("name", sorted({*HERE} & QUIET - {"fromiter", "empty"}))
def test_what_is_not_asked_takes_no_numbers(name: str) -> None:
    assert not outcome(FUNCTIONS[name]).lost


def test_all_of_fft_is_refused() -> None:
    for function in public(np.fft).values():
        if hasattr(function, "_implementation"):
            found = outcome(function)
            assert not found.tensors
            assert not found.lost
            assert [complaint for complaint in found.complaints if "has no derivative here" in complaint]


# ---- the writer ------------------------------------------------------------------------------------------------------


def test_signatures_and_first_lines() -> None:
    assert make_pages.line_of("f", bp.nn.functional.linear).startswith("- `f(input, weight, bias=None)`: ")
    module = make_pages.line_of("nn", bp.nn)
    assert module.startswith("- `nn`: ")
    assert "``" not in make_pages.api()
