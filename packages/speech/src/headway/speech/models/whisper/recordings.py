"""Recordings of any length: windows that move on by what was written, several recordings at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, isnan
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.module import evaluating
from headway.speech.encoder import Encoded
from headway.speech.hypothesis import Hypothesis, Segment, Word
from headway.speech.models.whisper.alignment import TimedWord, timed_words
from headway.speech.models.whisper.marks import Marks
from headway.speech.models.whisper.search import Answer, WhisperSearch, answers

if TYPE_CHECKING:
    from headway.speech.models.whisper.model import Whisper

# What is drawn at a higher temperature is not told to the next window.
_CARRIED = 0.5


@dataclass
class Piece:
    """What was said between two moments.

    Args:
        start: In seconds from the beginning of the recording.
        end: The same.
        tokens: Marks of time among them.
        answer: The answer it is part of.
        words: With times from the beginning of the recording.
    """

    start: float
    end: float
    tokens: list[int]
    answer: Answer
    words: list[TimedWord] = field(default_factory=list)


@dataclass
class Track:
    """A recording that is being transcribed.

    Args:
        place: Among the recordings.
        levels: Of the front end, (T, mels).
        frames: That are no filling.
        loudest: Of the levels.
    """

    place: int
    levels: Tensor
    frames: int
    loudest: Tensor
    seek: int = 0
    language: str | None = None
    sure: float = 1.0
    written: list[int] = field(default_factory=list)
    carried: int = 0
    pieces: list[Piece] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def before(self, most: int) -> list[int]:
        """Returns what the next window is told, at most so many tokens."""
        return self.written[self.carried :][-most:]


def transcribe_recordings(
    model: "Whisper",
    recordings: Iterable[Tensor],
    *,
    search: WhisperSearch,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, Hypothesis]]:
    """Yields place and transcript of each recording as soon as it is done.

    Args:
        model: The model.
        recordings: Samples at the rate of the front end, (S,) each, of any length.
        search: How.
        batch_size: Windows at a time, of as many recordings.
        progress: Called with 1 for each recording that is done.
    """
    waiting = enumerate(recordings)
    active: deque[Track] = deque()
    with evaluating(model), torch.no_grad():
        while True:
            while len(active) < batch_size and (given := next(waiting, None)) is not None:
                active.append(_begun(model, *given))
            if not active:
                return
            going = [track for track in active if track.seek < track.frames]
            if going:
                _advance(model, going, search)
            for track in [track for track in active if track.seek >= track.frames]:
                active.remove(track)
                if progress is not None:
                    progress(1)
                yield track.place, _result(model, track, search)


def transcribe_windows(
    model: "Whisper", encoded: Encoded, search: WhisperSearch
) -> list[Hypothesis]:
    """Returns the transcripts of single windows.

    Args:
        model: The model.
        encoded: What it heard in each.
        search: How.
    """
    sizes = [round(2 * count) for count in encoded.lengths.tolist()]
    nothing = encoded.encoded.new_zeros((0, 0))
    tracks = [Track(place, nothing, size, nothing) for place, size in enumerate(sizes)]
    with evaluating(model), torch.no_grad():
        _write(model, tracks, encoded, sizes, search)
    return [_result(model, track, search) for track in tracks]


def _begun(model: "Whisper", place: int, samples: Tensor) -> Track:
    front = model.front_end
    samples = samples.to(model.device)
    count = torch.tensor([len(samples)], device=samples.device)
    # A few frames more, which the last samples still reach.
    levels = front.levels(F.pad(samples, (0, 800))[None], count)[0]
    return Track(place, levels, len(samples) // front.hop, levels.max())


def _window(model: "Whisper", track: Track) -> Tensor:
    """Returns the features of the next window, (T, mels), as the front end makes those of a short one."""
    front = model.front_end
    end = len(track.levels) if front.filling == "silence" else track.frames
    levels = track.levels[track.seek : min(track.seek + front.frames, end)]
    missing = (0, 0, 0, front.frames - len(levels))
    if front.filling == "zeros":
        return F.pad(front.scaled(levels, track.loudest), missing)
    return front.scaled(F.pad(levels, missing, value=front.quietest), track.loudest)


def _advance(model: "Whisper", tracks: Sequence[Track], search: WhisperSearch) -> None:
    """Transcribes the next window of each recording and moves on."""
    front = model.front_end
    sizes = [min(front.frames, track.frames - track.seek) for track in tracks]
    inputs = torch.stack([_window(model, track) for track in tracks])
    inputs = inputs.to(model.encoder.position.dtype)
    heard = model.encode(inputs, torch.tensor(sizes, device=inputs.device))
    _write(model, tracks, heard, sizes, search)


def _write(
    model: "Whisper",
    tracks: Sequence[Track],
    heard: Encoded,
    sizes: Sequence[int],
    search: WhisperSearch,
) -> None:
    """Adds to each recording what was said in a window of so many frames."""
    front, marks = model.front_end, model.marks
    _hear_languages(model, tracks, heard, search)
    most = model.max_length // 2 - 1
    prompts = [
        marks.prompt(
            language=track.language,
            task=search.task,
            timestamps=search.timestamps,
            before=track.before(most) if search.carry else (),
        )
        for track in tracks
    ]
    found = answers(model, heard.encoded, prompts, search)
    spoken = [place for place, answer in enumerate(found) if not answer.is_silence(search)]
    cuts = {
        place: cut(marks, found[place], tracks[place].seek / front.rate, sizes[place] / front.rate)
        for place in spoken
    }
    words = _timed(model, tracks, heard, cuts, sizes, search) if search.timed else {}
    for place, (track, answer, size) in enumerate(zip(tracks, found, sizes, strict=True)):
        track.answers.append(answer)
        if place not in cuts:
            track.seek += size
            continue
        pieces, seconds, whole = cuts[place]
        step = size if seconds is None else round(seconds * front.rate)
        if search.timed and not whole and words.get(place):
            last = round(words[place][-1].end * front.rate)
            step = last - track.seek if last > track.seek else step
        # Something is always left behind, or a window would be heard forever.
        track.seek += step if step > 0 else size
        real = [one for one in pieces if one.end > one.start and marks.text(one.tokens).strip()]
        track.pieces += real
        track.written += [token for one in real for token in one.tokens]
        if answer.temperature > _CARRIED:
            track.carried = len(track.written)


def cut(
    marks: Marks, answer: Answer, offset: float, length: float
) -> tuple[list[Piece], float | None, bool]:
    """Cuts what was written of a window where two marks of time stand side by side.

    Args:
        marks: The special tokens.
        answer: What was written.
        offset: Where the window begins, in seconds.
        length: Of the window, in seconds.

    Returns:
        The pieces; after how many seconds the next window begins, None for the end of this one; and whether
        the last piece ends with a mark and nothing follows.
    """
    tokens = answer.tokens
    timed = [marks.is_time(token) for token in tokens]
    alone = timed[-2:] == [False, True]
    bounds = [place for place in range(1, len(tokens)) if timed[place - 1] and timed[place]]
    if not bounds:
        last = next(
            (t for t, is_ in zip(reversed(tokens), reversed(timed), strict=True) if is_), None
        )
        end = length if last in (None, marks.times.start) else marks.seconds(last)
        return [Piece(offset, offset + end, tokens, answer)], None, alone
    ends = [*bounds, len(tokens)] if alone else bounds
    pieces, begin = [], 0
    for end in ends:
        part = tokens[begin:end]
        start, stop = (offset + marks.seconds(token) for token in (part[0], part[-1]))
        pieces.append(Piece(start, stop, part, answer))
        begin = end
    return pieces, None if alone else marks.seconds(tokens[bounds[-1] - 1]), alone


def _timed(
    model: "Whisper",
    tracks: Sequence[Track],
    heard: Encoded,
    cuts: dict[int, tuple[list[Piece], float | None, bool]],
    sizes: Sequence[int],
    search: WhisperSearch,
) -> dict[int, list[TimedWord]]:
    """Gives the words of the pieces their times; returns those of each window."""
    marks, rate = model.marks, model.front_end.rate
    texts = [
        [token for piece in cuts[place][0] for token in marks.words(piece.tokens)]
        if place in cuts
        else []
        for place in range(len(tracks))
    ]
    lengths = [size // 2 for size in sizes]
    languages = [track.language for track in tracks]
    found = timed_words(model, heard.encoded, lengths, texts, languages, search.task)
    for place, words in enumerate(found):
        offset = tracks[place].seek / rate
        for word in words:
            word.start, word.end = word.start + offset, word.end + offset
        rest = deque(words)
        for piece in cuts[place][0] if place in cuts else ():
            room = len(marks.words(piece.tokens))
            while rest and room > 0:
                room -= len(rest[0].tokens)
                piece.words.append(rest.popleft())
            _fit(piece)
    return dict(enumerate(found))


def _fit(piece: Piece) -> None:
    """Lets a piece begin and end with its words, unless a mark says better where a long one does."""
    if not piece.words:
        return
    first, last = piece.words[0], piece.words[-1]
    if first.start < piece.start < first.end - 0.5:
        first.start = piece.start
    if last.start + 0.5 < piece.end < last.end:
        last.end = piece.end
    piece.start, piece.end = first.start, max(last.end, first.start)


def _hear_languages(
    model: "Whisper", tracks: Sequence[Track], heard: Encoded, search: WhisperSearch
) -> None:
    if search.language is not None or not model.multilingual:
        for track in tracks:
            track.language = search.language
        return
    new = [place for place, track in enumerate(tracks) if track.language is None]
    if not new:
        return
    index = torch.tensor(new, device=heard.encoded.device)
    part = type(heard)(heard.encoded[index], heard.lengths[index])
    for place, shares in zip(new, model.languages(part), strict=True):
        tracks[place].language, tracks[place].sure = next(iter(shares.items()))


def _result(model: "Whisper", track: Track, search: WhisperSearch) -> Hypothesis:
    marks, found = model.marks, track.answers
    tokens = sum(len(answer.tokens) + 1 for answer in found) or 1
    mean = sum(answer.log_prob * (len(answer.tokens) + 1) for answer in found) / tokens
    segments = [
        Segment(
            start=piece.start,
            end=piece.end,
            text=marks.text(piece.tokens).strip(),
            confidence=exp(piece.answer.log_prob),
            words=tuple(
                Word(
                    start=word.start,
                    end=word.end,
                    text=word.text.strip(),
                    confidence=word.probability,
                )
                for word in piece.words
            ),
        )
        for piece in track.pieces
    ]
    scores = {
        "log_prob": mean,
        "silence": max((answer.silence for answer in found), default=float("nan")),
        "compression": max((answer.compression for answer in found), default=0.0),
        "temperature": max((answer.temperature for answer in found), default=0.0),
    }
    if model.multilingual and search.language is None:
        scores["language"] = track.sure
    scores = {name: value for name, value in scores.items() if not isnan(value)}
    return Hypothesis(
        text=" ".join(segment.text for segment in segments),
        confidence=exp(mean) if found else 0.0,
        segments=tuple(segments),
        tokens=[token for piece in track.pieces for token in piece.tokens],
        language=track.language or ("" if model.multilingual else "en"),
        scores=scores,
    )
