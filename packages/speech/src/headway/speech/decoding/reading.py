"""What a search finds."""

from collections.abc import Sequence
from typing import NamedTuple


class Reading(NamedTuple):
    """A way to write what was heard.

    Args:
        tokens: Numbers of the tokens.
        frames: At which token of the encoder each begins.
        ends: At which token of the encoder each has ended.
        log_probs: Log-probability of each, of which a confidence is made.
        score: By which the search ranks: the log-probability of the whole, and what guides add.
    """

    tokens: Sequence[int]
    frames: Sequence[int]
    ends: Sequence[int]
    log_probs: Sequence[float]
    score: float
