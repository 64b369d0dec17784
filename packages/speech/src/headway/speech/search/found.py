"""What a search finds."""

from collections.abc import Sequence
from typing import NamedTuple


class Found(NamedTuple):
    """A way to write what was heard.

    Args:
        entries: Entries of the vocabulary.
        frames: At which token of the encoder each begins.
        log_probs: Log-probability of each entry, of which a confidence is made.
        score: By which the search ranks; the log-probability of the whole, and what guides added.
    """

    entries: Sequence[int]
    frames: Sequence[int]
    log_probs: Sequence[float]
    score: float
