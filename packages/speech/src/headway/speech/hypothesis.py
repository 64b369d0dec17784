"""What was heard in a recording."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import NamedTuple, Self

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word.

    Args:
        text: The word.
        start: Where it begins, in seconds.
        end: Where it ends, in seconds.
        confidence: How sure the model is, in 0..1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of speech.

    Args:
        text: What is said in it.
        start: Where it begins, in seconds.
        end: Where it ends, in seconds.
        confidence: How sure the model is, in 0..1.
        words: The words, where the model knows where they are.
    """

    text: str
    start: float
    end: float
    confidence: float
    words: tuple[Word, ...] = ()


class Alternative(NamedTuple):
    """Another reading of a recording.

    Args:
        text: The text.
        score: Its score by the search, a log-probability with what the search adds.
    """

    text: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """What was heard in one recording.

    Args:
        text: The text.
        confidence: How sure the model is, in 0..1: the geometric mean of the probabilities of its tokens.
        segments: Where what is said; their texts make up the whole.
        tokens: Numbers of the tokens.
        frames: At which stride of the encoder each of them begins; empty where nobody knows.
        alternatives: The best readings that the search found, the best one first.
        curves: What a picture shows over time, by name: a value in 0..1 for each stride of the encoder.
        language: What is spoken, such as ``en``; empty where nobody says.
        scores: What else the model says of its answer, by name.
    """

    text: str
    confidence: float
    segments: tuple[Segment, ...] = ()
    tokens: Sequence[int] = ()
    frames: Sequence[int] = ()
    alternatives: tuple[Alternative, ...] = ()
    curves: Mapping[str, Tensor] = field(default_factory=dict)
    language: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    def later(self, seconds: float) -> Self:
        """Returns the same, heard so many seconds later."""
        return replace(self, segments=tuple(_later(one, seconds) for one in self.segments))


def _later(segment: Segment, seconds: float) -> Segment:
    words = (
        replace(word, start=word.start + seconds, end=word.end + seconds) for word in segment.words
    )
    start, end = segment.start + seconds, segment.end + seconds
    return replace(segment, start=start, end=end, words=tuple(words))


def joined(parts: Sequence[Hypothesis]) -> Hypothesis:
    """Returns what was heard in parts of a recording, one after the other, as one.

    Args:
        parts: At least one; each is later already.
    """
    if len(parts) == 1:
        return parts[0]
    counts = [max(1, len(part.tokens)) for part in parts]
    sure = _mean([part.confidence for part in parts], counts)
    return Hypothesis(
        text=" ".join(part.text for part in parts if part.text),
        confidence=sure,
        segments=tuple(segment for part in parts for segment in part.segments),
        tokens=[token for part in parts for token in part.tokens],
        language=parts[0].language,
        # Of the part that the model is least sure of.
        scores=min(parts, key=lambda part: part.confidence).scores,
    )


def segment_of(
    pieces: Sequence[str],
    starts: Sequence[float],
    ends: Sequence[float],
    confidences: Sequence[float],
) -> tuple[Segment, ...]:
    """Returns one segment with its words; none where nothing was said.

    Args:
        pieces: What each token adds to the text, spaces included.
        starts: Where each begins, in seconds.
        ends: Where each ends, in seconds.
        confidences: Probability of each.
    """
    words: list[Word] = []
    text, first, last, sure = "", 0.0, 0.0, [0.0]

    def close() -> None:
        if text.strip():
            words.append(Word(text=text.strip(), start=first, end=last, confidence=_mean(sure)))

    for piece, start, end, confidence in zip(pieces, starts, ends, confidences, strict=True):
        if piece[:1].isspace() or not text:
            close()
            text, first, sure = "", start, []
            if not piece.strip():
                last = end
                sure = [1.0]
                continue
        text, last = text + piece, end
        sure.append(confidence)
    close()
    if not words:
        return ()
    return (
        Segment(
            text=" ".join(word.text for word in words),
            start=words[0].start,
            end=words[-1].end,
            confidence=_mean([word.confidence for word in words]),
            words=tuple(words),
        ),
    )


def _mean(confidences: Sequence[float], counts: Sequence[int] | None = None) -> float:
    """Returns the geometric mean, each as often as it counts; none is taken for less than 1e-30."""
    counts = [1] * len(confidences) if counts is None else counts
    logs = (count * log(max(one, 1e-30)) for one, count in zip(confidences, counts, strict=True))
    return exp(sum(logs) / sum(counts))
