"""From what a model says of a recording to texts: greedy, with beams, with what else knows the language."""

from headway.speech.search.attention import Written, joint_search
from headway.speech.search.ctc import aligned, needed_tokens, prefix_beam_search
from headway.speech.search.ctc_prefix import PrefixScores, PrefixState
from headway.speech.search.found import Found
from headway.speech.search.guides import Guide, Guides, HotWords, LanguageGuide
from headway.speech.search.transducer import (
    TransducerParts,
    beam_transducer,
    greedy_transducer,
)

__all__ = [
    "Found",
    "Guide",
    "Guides",
    "HotWords",
    "LanguageGuide",
    "PrefixScores",
    "PrefixState",
    "TransducerParts",
    "Written",
    "aligned",
    "beam_transducer",
    "greedy_transducer",
    "joint_search",
    "needed_tokens",
    "prefix_beam_search",
]
