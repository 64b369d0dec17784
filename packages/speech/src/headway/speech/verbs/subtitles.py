"""Transcripts as files of subtitles and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from headway.speech.hypothesis import Hypothesis, Segment


def srt(segments: Sequence[Segment]) -> Iterator[str]:
    """Yields the lines of a SubRip file."""
    for number, segment in enumerate(segments, start=1):
        yield f"{number}\n"
        yield f"{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n"
        yield f"{_flat(segment.text)}\n\n"


def vtt(segments: Sequence[Segment]) -> Iterator[str]:
    """Yields the lines of a WebVTT file; words that have times are marked with them.

    Source:
        W3C 2019, https://www.w3.org/TR/webvtt1/.
    """
    yield "WEBVTT\n\n"
    for segment in segments:
        yield f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n"
        words = [f"<{_clock(word.start, '.')}>{_escaped(word.text)}" for word in segment.words]
        yield f"{' '.join(words) if words else _escaped(_flat(segment.text))}\n\n"


def as_json(hypothesis: Hypothesis) -> dict[str, Any]:
    """Returns a transcript for JSON: text, how sure the model is, segments and words in seconds."""
    return {
        "text": hypothesis.text,
        "confidence": round(hypothesis.confidence, 6),
        "scores": {name: round(value, 6) for name, value in hypothesis.scores.items()},
        "language": hypothesis.language,
        "segments": [
            {
                **_span(segment),
                "words": [_span(word) for word in segment.words],
            }
            for segment in hypothesis.segments
        ],
    }


def _span(part: Any) -> dict[str, Any]:
    return {
        "start": round(part.start, 3),
        "end": round(part.end, 3),
        "text": part.text.strip(),
        "confidence": round(part.confidence, 6),
    }


def _clock(seconds: float, point: str) -> str:
    """Returns hours, minutes, seconds and thousandths."""
    whole = round(max(0.0, seconds) * 1000)
    minutes, thousandths = divmod(whole, 60_000)
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d}"
        f"{point}{thousandths % 1000:03d}"
    )


def _flat(text: str) -> str:
    """Returns a text in one line, without what would end a cue."""
    return " ".join(text.split()).replace("-->", "->")


def _escaped(text: str) -> str:
    for mark, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, name)
    return text
