"""What a recogniser heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word and when it was said, in seconds."""

    start: float
    end: float
    text: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a recording, in seconds."""

    start: float
    end: float
    text: str
    confidence: float
    words: Sequence[Word] = ()


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """What was heard in one recording."""

    text: str
    confidence: float
    segments: Sequence[Segment] = ()
    alternatives: Sequence[tuple[str, float]] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    entries: Sequence[int] = ()
    frames: Sequence[int] = ()
