"""The name that was perhaps meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """` (nearest: 'text')`, or nothing where no known name is alike."""
    known = list(known)
    folded = {other.casefold(): other for other in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f" (nearest: {folded[found[0]]!r})" if found else ""
