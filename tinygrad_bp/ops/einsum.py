"""The sum of products that a string of letters describes: one row, and its derivative is einsums again.

The words are those of :mod:`~tinygrad_bp.ops.arithmetic`. The gradient of one operand is the einsum of g with all the
others, their letters arranged so that its own come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..recipe import row

__all__ = ["einsum"]


def _einsum_partials(g: Any, z: Any, xs: Sequence[Any], subscripts: str) -> list[Any]:
    """For each operand the einsum of g with all the others (and with ones, for letters that nobody else has)."""
    terms, output = subscripts.split("->")
    operands = terms.split(",")
    partials = []
    for k, (term, x) in enumerate(zip(operands, xs, strict=True)):
        own = _distinct(term, subscripts)
        words = [output, *operands[:k], *operands[k + 1 :]]
        arrays = [g, *xs[:k], *xs[k + 1 :]]
        known = {axis for word, array in zip(words, arrays) for axis in zip(word, array.shape)}
        if own != term or not known.issuperset(zip(term, x.shape)):
            words, arrays = [*words, own], [*arrays, _diagonal(term, x)]
        partials.append(np.einsum(f"{','.join(words)}->{own}", *arrays))
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


_einsum = row("einsum", lambda xs, subscripts: np.einsum(subscripts, *xs), joint=_einsum_partials, variadic=True)


def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products that `subscripts` describes, as np.einsum; an ellipsis and repeated letters are allowed."""
    return _einsum(operands, _explicit(subscripts, operands))


def _explicit(subscripts: str, operands: Sequence[Any]) -> str:
    """Subscripts with their output written out and every ellipsis spelled in letters."""
    if not isinstance(subscripts, str):
        raise TypeError(f'einsum: subscripts are a {type(subscripts).__name__}. Pass a string, such as "ij,jk->ik".')
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
