"""From the scores of a recogniser to tokens."""

from headway.speech.decoding.greedy import Path, greedy

__all__ = ["Path", "greedy"]
