"""The sum of products that a string of letters describes: one row, and its derivative is einsums again.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. The gradient of one operand is the einsum of g with all the
others, their letters arranged so that its own come out.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..recipe import row

__all__ = ["einsum"]

_LETTERS = string.ascii_letters


def _einsum_partials(g: Any, z: Any, xs: Sequence[Any], subscripts: str, optimize: Any) -> list[Any]:
    """For each operand the einsum of g with all the others (and with ones, for letters that nobody else has)."""
    terms, output = subscripts.split("->")
    operands = terms.split(",")
    how = optimize if isinstance(optimize, (bool, str)) else True  # a path is that of the forward alone
    partials: list[Any] = []
    for k, (term, x) in enumerate(zip(operands, xs, strict=True)):
        if isinstance(x, (int, float)):
            partials.append(None)
            continue
        own = _distinct(term, subscripts)
        words = [output, *operands[:k], *operands[k + 1 :]]
        arrays = [g, *xs[:k], *xs[k + 1 :]]
        known = {axis for word, array in zip(words, arrays) for axis in zip(word, np.shape(array))}
        if own != term or not known.issuperset(zip(term, x.shape)):
            words, arrays = [*words, own], [*arrays, _diagonal(term, x)]
        partials.append(np.einsum(f"{','.join(words)}->{own}", *arrays, optimize=how))
    return partials


def _distinct(term: str, used: str) -> str:
    """A term with repeated letters renamed to fresh ones, so that it can be the output of an einsum."""
    fresh = (chr(c) for c in range(ord("A"), ord("z")) if chr(c).isalpha() and chr(c) not in used)
    return "".join(next(fresh) if letter in term[:i] else letter for i, letter in enumerate(term))


def _diagonal(term: str, x: Any) -> Any:
    """Ones in the shape of x, but 0 off the diagonal of repeated letters."""
    ones = np.ones_like(x)
    grids = np.indices(x.shape, sparse=True)
    for i, letter in enumerate(term):
        ones = ones * (grids[term.index(letter)] == grids[i]) if letter in term[:i] else ones
    return ones


_einsum = row(
    "einsum",
    lambda xs, subscripts, optimize=False: np.einsum(subscripts, *xs, optimize=optimize),
    joint=_einsum_partials,
    variadic=True,
)


def einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Any:
    """The sum of products that `subscripts` describes, as np.einsum; an ellipsis and repeated letters are allowed.

    The other form, ``einsum(a, [0, 1], b, [1, 2], [0, 2])``, names the axes of each operand by numbers. `optimize` says
    in which order three or more operands are multiplied; their derivatives are, too.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _in_letters((subscripts, *operands))
    return _einsum(operands, _explicit(subscripts, operands), optimize)


def _in_letters(args: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Operands and their lists of numbers, taken apart: the lists as a string."""

    def word(axes: Any) -> str:
        if not isinstance(axes, (list, tuple)):
            what = f"axes are a {type(axes).__name__}, they belong after each operand as a list"
            raise TypeError(f'einsum: {what}. Pass einsum(a, [0, 1], b, [1, 2], [0, 2]), or "ij,jk->ik" first.')
        for axis in axes:
            if axis is not Ellipsis and not 0 <= axis < len(_LETTERS):
                raise ValueError(f"einsum: axis {axis} has no letter. Pass numbers from 0 to {len(_LETTERS) - 1}.")
        return "".join("..." if axis is Ellipsis else _LETTERS[axis] for axis in axes)

    n = len(args) // 2
    output = f"->{word(args[-1])}" if len(args) % 2 else ""
    return ",".join(map(word, args[1 : 2 * n : 2])) + output, tuple(args[: 2 * n : 2])


def _explicit(subscripts: str, operands: Sequence[Any]) -> str:
    """Subscripts with their output written out and every ellipsis spelled in letters."""
    text = subscripts.replace(" ", "")
    terms, arrow, output = text.partition("->")
    words = terms.split(",")
    if len(words) != len(operands):
        raise ValueError(f"einsum: '{subscripts}' names {len(words)} operands, got {len(operands)}. Pass one for each.")
    fresh = "".join(chr(c) for c in range(ord("A"), ord("z")) if chr(c).isalpha() and chr(c) not in text)
    spare = [np.ndim(x) - len(word.replace("...", "")) for word, x in zip(words, operands, strict=True)]
    widest = fresh[: max([0, *[n for n, word in zip(spare, words, strict=True) if "..." in word]])]
    words = [w.replace("...", widest[len(widest) - n :] if n > 0 else "") for w, n in zip(words, spare, strict=True)]
    if arrow and widest and "..." not in output:
        raise ValueError(
            f"einsum: '{subscripts}' loses the axes of its ellipsis. Put ... into the output, or name them."
        )
    if not arrow:
        letters = "".join(words)
        output = widest + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in widest))
    return f"{','.join(words)}->{output.replace('...', widest)}"
