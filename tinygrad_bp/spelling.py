"""The near match at the end of a message about a name that is not there.

Files of data and documents use it; how a name is put in quotes is theirs to say.
Which names there are is not known here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

__all__ = ["did_you_mean"]


def did_you_mean(word: str, choices: Collection[str], quote: Callable[[str], str] = repr) -> str:
    """' Did you mean ...?', or '' where no choice is near; case does not count.

    >>> did_you_mean("Specis", ["species", "width"])
    " Did you mean 'species'?"
    """
    lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), lower, n=1)
    return f" Did you mean {quote(lower[found[0]])}?" if found else ""
