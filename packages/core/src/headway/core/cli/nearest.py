"""The name that was probably meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """Returns ``"; did you mean 'x'?"``, or an empty string where nothing is close.

    Args:
        name: What was given.
        known: What would have been right.
        most: How many to offer.
    """
    known = sorted(set(known))
    same = [full for full in known if full.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, known, n=most, cutoff=0.6)
    if not close:
        # The end of a path is often all that is remembered.
        ends = {full.rsplit("/", 1)[-1]: full for full in known}
        tail = difflib.get_close_matches(name.rsplit("/", 1)[-1], ends, n=most, cutoff=0.6)
        close = [ends[end] for end in tail]
    return f"; did you mean {' or '.join(repr(full) for full in close)}?" if close else ""
