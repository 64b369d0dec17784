"""From the scores of a recogniser to tokens: greedy, with beams, with what else knows the language."""

from headway.speech.decoding.attention import Written, joint_search
from headway.speech.decoding.ctc import aligned, needed_tokens, prefix_beam_search
from headway.speech.decoding.ctc_prefix import PrefixScores, PrefixState
from headway.speech.decoding.greedy import BestPath, greedy
from headway.speech.decoding.guides import Guide, Guides, HotWords, LanguageGuide, guides_of
from headway.speech.decoding.reading import Reading, hypothesis_of
from headway.speech.decoding.transducer import (
    BestSteps,
    TransducerParts,
    beam_transducer,
    greedy_transducer,
)

__all__ = [
    "BestPath",
    "BestSteps",
    "Guide",
    "Guides",
    "HotWords",
    "LanguageGuide",
    "PrefixScores",
    "PrefixState",
    "Reading",
    "TransducerParts",
    "Written",
    "aligned",
    "beam_transducer",
    "greedy",
    "greedy_transducer",
    "guides_of",
    "hypothesis_of",
    "joint_search",
    "needed_tokens",
    "prefix_beam_search",
]
