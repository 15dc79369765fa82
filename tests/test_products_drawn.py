"""Products on shapes, axes and subscripts that hypothesis draws: values are NumPy's, gradients those of differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_bp import ops

from . import references, samples
from .samples import S, Sample
from .test_table_drawn import check

lengths = st.lists(st.integers(0, 2), min_size=5, max_size=5)


@st.composite
def ellipses(draw: Any) -> Sample:
    """One to three operands, each with its ellipsis anywhere, over axes of one length or of 1; an output or none."""
    sizes = dict(zip("ijk", draw(st.lists(st.integers(1, 3), min_size=3, max_size=3))))
    batch = draw(st.sampled_from([[2, 3], [3], []]))
    terms, operands, used = [], [], set()
    for number in range(draw(st.sampled_from([2, 1, 3]))):
        word = draw(st.text("ijk", max_size=2))
        own = [draw(st.sampled_from([n, 1])) for n in batch[draw(st.integers(0, len(batch))) :]]
        at = draw(st.integers(0, len(word)))
        before, after = word[:at], word[at:]
        shape = [*[sizes[i] for i in before], *own, *[sizes[i] for i in after]]
        terms.append(f"{before}...{after}")
        operands.append(samples.real(*shape, k=number))
        used |= {*word}
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        output = draw(st.permutations([*draw(st.sets(st.sampled_from(sorted(used)))), "..."] if used else ["..."]))
        subscripts += f"->{''.join(output)}"
    optimize = {"optimize": True} if draw(st.booleans()) else {}
    return S(*operands, subscripts=subscripts, **optimize)


def in_lists(subscripts: str) -> list[Any]:
    """The same subscripts, as lists of numbers."""
    terms = subscripts.replace("->", ",").split(",")
    return [["..." if c == "." else ord(c) - 97 for c in term.replace("...", ".")] for term in terms]


@settings(max_examples=30)
@given(ellipses())
def test_einsum_with_ellipses(sample: Sample) -> None:
    check(references.subscripted(ops.einsum), references.subscripted(np.einsum), sample)
    lists = [[Ellipsis if i == "..." else i for i in term] for term in in_lists(sample.params["subscripts"])]
    by_numbers = references.subscripted(ops.einsum)(*sample.inputs, **sample.params | {"subscripts": lists})
    if "->" in sample.params["subscripts"]:
        np.testing.assert_array_equal(by_numbers, references.subscripted(ops.einsum)(*sample.inputs, **sample.params))
    else:  # letters come out in the order of the alphabet, numbers in their own, which is the same
        np.testing.assert_allclose(by_numbers, np.einsum(sample.params["subscripts"], *sample.inputs), rtol=1e-14)


@st.composite
def contractions(draw: Any) -> Sample:
    """Two arrays and pairs of axes of one length, in any order, counted from either end."""
    sizes = draw(lengths)
    n = draw(st.integers(0, 2))
    a = draw(st.permutations([*range(n), *[3] * draw(st.integers(0, 1))]))
    b = draw(st.permutations([*range(n), *[4] * draw(st.integers(0, 1))]))
    signs = draw(st.tuples(st.booleans(), st.booleans()))
    axes = [[word.index(i) - (len(word) if negative else 0) for i in range(n)] for word, negative in zip((a, b), signs)]
    return S(samples.real(*[sizes[i] for i in a]), samples.real(*[sizes[i] for i in b], k=1), axes=axes)


@settings(max_examples=20)
@given(contractions())
def test_tensordot(sample: Sample) -> None:
    check(ops.tensordot, np.tensordot, sample)


small = st.lists(st.integers(0, 3), max_size=3)


@settings(max_examples=20)
@given(st.sampled_from(["kron", "inner", "dot"]), small, small)
def test_products_of_any_shapes(name: str, a: list[int], b: list[int]) -> None:
    if name != "kron" and a and b:
        b = [*b[:-1], a[-1]] if name == "inner" or len(b) == 1 else [*b[:-2], a[-1], b[-1]]
    check(getattr(ops, name), getattr(np, name), S(samples.real(*a), samples.real(*b, k=1)))


@settings(max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.booleans(), st.booleans())
def test_multi_dot(sides: list[int], first: bool, last: bool) -> None:
    shapes = [*zip(sides, sides[1:])]
    if len(shapes) < 2:
        return
    shapes[0] = shapes[0][1:] if first else shapes[0]
    shapes[-1] = shapes[-1][:1] if last else shapes[-1]
    check(references.gathered(ops.multi_dot), references.gathered(np.linalg.multi_dot), samples.R(*shapes))
