"""What a search finds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from headway.core.language import Tokenizer
from headway.speech.hypothesis import Alternative, Hypothesis, segment_of
from headway.speech.tokenizers import text_pieces


class Reading(NamedTuple):
    """A way to write what was heard.

    Args:
        tokens: Numbers of the tokens.
        frames: At which token of the encoder each begins.
        ends: At which token of the encoder each has ended.
        log_probs: Log-probability of each, of which a confidence is made; without tokens what else is sure
            that there are none.
        score: By which the search ranks: the log-probability of the whole, and what guides add.
    """

    tokens: Sequence[int]
    frames: Sequence[int]
    ends: Sequence[int]
    log_probs: Sequence[float]
    score: float


def hypothesis_of(
    readings: Sequence[Reading],
    tokenizer: Tokenizer,
    *,
    begins: Sequence[int],
    seconds_per_token: float,
) -> Hypothesis:
    """Returns what was heard in a recording.

    Args:
        readings: The best one in front; none where nothing was found.
        tokenizer: What the tokens mean.
        begins: Stride of the encoder at which each of its tokens begins, and at which the last one ends.
        seconds_per_token: Seconds of a stride.
    """
    if not readings:
        return Hypothesis(text="", confidence=0.0)
    best = readings[0]
    text = tokenizer.decode(best.tokens)
    mean = sum(best.log_probs) / max(1, len(best.log_probs))
    frames, ends = ([begins[place] for place in places] for places in (best.frames, best.ends))
    placed = len(best.frames) == len(best.tokens)
    return Hypothesis(
        text=text,
        confidence=math.exp(min(0.0, mean if best.log_probs else best.score)),
        segments=segment_of(
            text_pieces(tokenizer, best.tokens),
            [seconds_per_token * frame for frame in frames],
            [seconds_per_token * end for end in ends],
            [math.exp(value) for value in best.log_probs[: len(best.tokens)]],
        )
        if placed
        else (),
        tokens=list(best.tokens),
        frames=frames,
        alternatives=tuple(
            Alternative(tokenizer.decode(one.tokens), one.score) for one in readings
        ),
    )
