"""Arguments from signatures: which types a document has words for, and what becomes of its values."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
import pytest
from numpy.typing import DTypeLike

from tinygrad_bp import nn
from tinygrad_bp.optim.lr_scheduler import LRScheduler
from tinygrad_bp.spec.arguments import (
    DTYPE,
    WRONG,
    Argument,
    arguments,
    call,
    checked,
    converted,
    made_of,
    parameters,
    wanted,
)
from tinygrad_bp.spec.mistakes import at

TABLE = {"type": "ReLU"}
# A type; what it is in words; values and what becomes of them; values that are refused.
TYPES = [
    (bool, "true or false", [(True, True)], [1, "true", None]),
    (int, "an integer", [(3, 3), (10**30, 10**30)], [True, 3.0, "3", [3], None]),
    (float, "a number", [(0.5, 0.5), (1, 1), (math.inf, math.inf)], [True, "0.5", None]),
    (str, "a string", [("", ""), ("none", "none")], [1, None, ["a"]]),
    (str | None, 'a string or "none"', [("none", "none")], [None, 1]),
    (int | None, 'an integer or "none"', [(1, 1), ("none", None)], [None, "None", False]),
    (Optional[float], 'a number or "none"', [("none", None)], [None]),  # noqa: UP045
    (Literal["a", 1], 'one of "a", 1', [("a", "a"), (1, 1)], ["b", True, 1.0, None]),
    (
        tuple[int, float],
        "[an integer, a number]",
        [([1, 2.5], (1, 2.5)), ((1, 2), (1, 2))],
        [[1], [1, 2, 3], 1, [1.5, 1]],
    ),
    (tuple[int, ...], "[an integer, ...]", [([1, 2], (1, 2)), ([], ())], [["a"], "a", 1, {}]),
    (int | tuple[int, int], "an integer or [an integer, an integer]", [(2, 2), ([2, 3], (2, 3))], [[2], 2.0, "2"]),
    (tuple[int | None, ...], '[an integer or "none", ...]', [([1, "none"], (1, None))], [[None]]),
    (tuple, "a list", [([1, "a"], (1, "a"))], [1]),
    (list, "a list", [([1, "a"], [1, "a"])], [1, "a"]),
    (list[str], "[a string, ...]", [(["a"], ["a"])], ["a", [1]]),
    (Sequence[float], "[a number, ...]", [([1, 0.5], [1, 0.5])], [1.0]),
    (float | Sequence[float], "a number or [a number, ...]", [(1, 1), ([1.0], [1.0])], ["a"]),
    (Iterable[int], "[an integer, ...]", [([1], [1])], [1]),
    (dict, "a table", [({"a": 1}, {"a": 1})], [[1], 1]),
    (Mapping[str, int], "a table", [({"a": 1}, {"a": 1})], [1]),
    (Path, "a string", [("a/b", Path("a/b"))], [1, None]),
    (str | os.PathLike[str], "a string", [("a", "a")], [1]),
    (nn.Module, "a table", [(TABLE, TABLE)], ["ReLU", 3, [TABLE]]),
    (nn.Linear | None, 'a table or "none"', [(TABLE, TABLE), ("none", None)], [None]),
    (list[nn.Module], "[a table, ...]", [([TABLE], [TABLE])], [TABLE]),
    (Sequence[LRScheduler], "[a table, ...]", [([TABLE], [TABLE])], [1]),
    (nn.Module | Callable[[Any], Any], "a table", [(TABLE, TABLE)], ["abs"]),
    (Any, "a value", [(v, v) for v in (True, 1, 0.5, "none", [1], {"a": [1]})], [None, abs]),
    (Callable[[Any], Any], "", [], [1, "abs"]),
    (None | type(None), "", [], []),
    (type, "", [], ["int", 1]),
    (np.ndarray, "", [], [[1.0]]),
    (tuple[np.ndarray, int], "", [], [[1.0, 1]]),
    (set[int], "", [], [[1]]),
]


@pytest.mark.parametrize(("hint", "words", "right", "wrong"), TYPES, ids=[str(hint) for hint, *_ in TYPES])
def test_types(hint, words, right, wrong):
    assert wanted(hint) == words
    for value, expected in right:
        got = converted(value, hint)
        assert (type(got), got) == (type(expected), expected)
    assert [value for value in wrong if converted(value, hint) is not WRONG] == []


def test_what_a_nested_table_makes():
    assert made_of(nn.Module | None) is made_of(list[nn.Linear]) is nn.Module
    assert made_of(Sequence[LRScheduler]) is LRScheduler
    assert made_of(int) is made_of(list[int]) is made_of(Any) is None


def test_arguments_are_those_of_the_signature():
    assert arguments(nn.Linear) == {
        "in_features": Argument(int),
        "out_features": Argument(int),
        "bias": Argument(bool, True),
        "dtype": Argument(DTYPE, None),
    }
    assert list(arguments(nn.TransformerEncoder)) == ["encoder_layer", "num_layers", "norm"]
    assert arguments(nn.Sequential)["layers"].default == ()
    assert made_of(arguments(nn.Sequential)["layers"].hint) is nn.Module
    assert arguments(nn.MultiheadAttention)["kdim"] == Argument(int | None, None)


class Positional(nn.Module):
    def __init__(self, first, /, second: int = 2, *rest: int, third: Callable[[int], int] = abs, seed: int = 0):
        self.got = (first, second, rest, third, seed)


class PassedOn(Positional):
    def __init__(self, *args, extra="x", **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = extra


class Named(nn.Linear):
    def __init__(self, extra: "NotThere" = 1, **kwargs):  # noqa: F821, UP037
        super().__init__(**kwargs)


def load(path: str, shuffle: bool = True, dtype: DTypeLike = "float32", *, seed: int) -> None: ...


def test_arguments_of_others():
    assert arguments(Positional) == {
        "first": Argument(Any),
        "second": Argument(int, 2),
        "rest": Argument(list[int], ()),
        "seed": Argument(int, 0),
    }
    assert list(parameters(Positional)) == ["first", "second", "rest", "third", "seed"]
    assert next(iter(arguments(PassedOn))) == "extra"
    assert list(arguments(Named)) == ["extra", "in_features", "out_features", "bias", "dtype"]
    assert arguments(Named)["extra"] == Argument(Any, 1)
    assert arguments(load, given=1) == {"shuffle": Argument(bool, True), "dtype": Argument(DTYPE, "float32")}


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ({"first": 1}, (1, 2, (), abs, 0)),
        ({"first": 1, "second": 5, "seed": 4}, (1, 5, (), abs, 4)),
        ({"first": 1, "rest": [7, 8]}, (1, 2, (7, 8), abs, 0)),
        ({"first": 1, "second": 5, "rest": [7]}, (1, 5, (7,), abs, 0)),
    ],
)
def test_call_gives_each_value_its_way(values, got):
    assert call(Positional, (), values).got == got
    assert call(Positional, (values.pop("first"),), values).got == got


def test_a_checked_table_is_complete_and_has_nothing_else():
    known = arguments(nn.Linear)
    table = {"type": "Linear", "in_features": 2, "out_features": 3}
    assert checked(table, "here", known, "Linear", "type") == {"in_features": 2, "out_features": 3}
    with pytest.raises(ValueError, match=r"^here\.type: unknown key of Linear\. Did you mean dtype\?"):
        checked(table, "here", known, "Linear")
    with pytest.raises(ValueError, match=r'^here\."a b": unknown key of Linear\.'):
        checked({"a b": 1}, "here", known, "Linear")
    with pytest.raises(ValueError, match=r"^here\.in_features: is missing from Linear\. Give an integer\.$"):
        checked({}, "here", known, "Linear")
    with pytest.raises(TypeError, match=r"^here = 3: is an integer\. Give a table\.$"):
        checked(3, "here", known, "Linear")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (TypeError("a\nb"), TypeError, "here: a b"),
        (FileNotFoundError("a"), FileNotFoundError, "here: a"),
        (IndexError("a"), ValueError, "here: a"),
        (MemoryError("a"), ValueError, "here: a"),
        (KeyError("a"), ValueError, "here: KeyError: 'a'"),
        (ZeroDivisionError("a"), ValueError, "here: ZeroDivisionError: a"),
    ],
)
def test_errors_get_a_place_and_one_line(error, kind, message):
    with pytest.raises(kind) as caught, at("here"):
        raise error
    assert str(caught.value) == message
    assert type(caught.value) is kind
