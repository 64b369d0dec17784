"""How far a transcript is from what was said."""

from headway.speech.metrics.errors import Errors, character_errors, count_errors, word_errors
from headway.speech.metrics.normalisation import NORMALISERS, normalise

__all__ = [
    "NORMALISERS",
    "Errors",
    "character_errors",
    "count_errors",
    "normalise",
    "word_errors",
]
