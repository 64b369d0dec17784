"""What a transducer writes: the best next token again and again, or the likeliest texts."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from headway.core.systems import system
from headway.speech.decoding.guides import Guide, Guides, Text
from headway.speech.decoding.reading import Reading

State = tuple[Tensor, ...]


class Predicts(Protocol):
    """What is asked of a predictor."""

    def start(self, rows: int, device: torch.device) -> tuple[Tensor, State]:
        """Returns the vector of empty texts (rows, C) and what is remembered of them."""
        ...

    def step(self, entries: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns the vector behind one more entry of each text, and what is remembered."""
        ...


class Joins(Protocol):
    """What is asked of a joint network."""

    def __call__(self, encoded: Tensor, predicted: Tensor, /) -> Tensor:
        """Returns scores (B, T, U, V) of frames (B, T, 1, C) and texts (B, 1, U, C')."""
        ...


class TransducerParts(NamedTuple):
    """The parts of a transducer that write.

    Args:
        predictor: Says what was written.
        joint: Scores entries, and durations behind them.
        blank: Entry that stands for nothing.
        durations: Frames that a step may move on; none for the usual transducer.
        most: Most tokens that begin at one frame.
    """

    predictor: Predicts
    joint: Joins
    blank: int
    durations: Sequence[int] = ()
    most: int = 10

    def scores(self, encoded: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns log-probabilities of entries (N, V) and durations (N, D) of rows of frames and texts."""
        scores = self.joint(encoded[:, None, None], written[:, None, None])[:, 0, 0].float()
        split = scores.shape[1] - len(self.durations)
        lasting = scores[:, split:].log_softmax(-1) if self.durations else None
        return scores[:, :split].log_softmax(-1), lasting


@system(
    id=None,
    name="Label looping",
    paper="https://arxiv.org/abs/2406.06220",
    claim="rows look for their next tokens side by side, so the predictor runs once for a token of all",
    test="packages/speech/tests/decoding/test_transducer_search.py",
)
def greedy_transducer(parts: TransducerParts, encoded: Tensor, lengths: Tensor) -> list[Reading]:
    """Writes the best entry at every step, for all rows together.

    Rows look for their next token each by itself, past the blanks, and then all that found one write it
    together: the predictor runs once for a token and never for a blank.

    Args:
        parts: Of the transducer.
        encoded: Frames.
        lengths: Real frames of each row.

    Shape:
        encoded: (B, T, C). lengths: (B,).

    Source:
        Bataev et al. 2024, https://arxiv.org/abs/2406.06220 (label looping).
    """
    steps = BestSteps(parts, len(encoded), encoded.device)
    steps.add(encoded, lengths)
    return steps.readings()


class BestSteps:
    """The best steps of a transducer as far as frames are known; what comes next goes on where they ended.

    Args:
        parts: Of the transducer.
        rows: Recordings that are heard side by side.
        device: Of the frames.
    """

    def __init__(self, parts: TransducerParts, rows: int, device: torch.device) -> None:
        self.parts = parts
        with torch.no_grad():
            self.written, self.state = parts.predictor.start(rows, device)
        self.moves = torch.tensor(tuple(parts.durations) or (0,), device=device)
        # Frames of each row that are past, where the row stands, and tokens that begin there.
        self.past = torch.zeros(rows, dtype=torch.int64, device=device)
        self.frame, self.begun = torch.zeros_like(self.past), torch.zeros_like(self.past)
        self.texts: list[list[tuple[int, int, int, float]]] = [[] for _ in range(rows)]
        self.sums = [0.0] * rows

    @torch.no_grad()
    def add(self, encoded: Tensor, lengths: Tensor) -> None:
        """Goes on through more frames.

        Args:
            encoded: Frames, (B, T, C).
            lengths: Real frames of each row, (B,).
        """
        end = self.past + lengths
        while True:
            wrote, entries, steps = [], [], []
            looking = (self.frame < end).nonzero()[:, 0]
            while len(looking):
                looking, who, best, step = self._look(encoded, looking)
                wrote.append(who)
                entries.append(best)
                steps.append(step)
                looking = looking[self.frame[looking] < end[looking]]
            if not sum(map(len, wrote)):
                break
            self._write(torch.cat(wrote), torch.cat(entries), torch.cat(steps))
        self.past = end

    def _look(self, encoded: Tensor, looking: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Takes one step in some rows: those that found nothing, those that found a token, tokens, moves."""
        here = self.frame[looking]
        scores, lasting = self.parts.scores(
            encoded[looking, here - self.past[looking]], self.written[looking]
        )
        sure, best = scores.max(dim=1)
        nothing = best == self.parts.blank
        if lasting is None:
            step = nothing.long()
        else:
            longest, place = lasting.max(dim=1)
            sure, step = sure + longest, self.moves[place]
            step = torch.where(nothing, step.clamp_min(1), step)
        for row, value in zip(looking.tolist(), sure.tolist(), strict=True):
            self.sums[row] += value
        said = (~nothing).nonzero()[:, 0]
        for place, row in zip(said.tolist(), looking[said].tolist(), strict=True):
            begins, token = int(here[place]), int(best[place])
            ends = begins + max(1, int(step[place]))
            self.texts[row].append((token, begins, ends, float(scores[place, token])))
        on = looking[nothing]
        self.frame[on] += step[nothing]
        self.begun[on] = 0
        return on, looking[said], best[said], step[said]

    def _write(self, who: Tensor, entries: Tensor, step: Tensor) -> None:
        """Tells the predictor the tokens that some rows found, and moves these on."""
        self.begun[who] = torch.where(step > 0, 0, self.begun[who] + 1)
        # One frame does not give tokens without end.
        full = self.begun[who] >= self.parts.most
        self.frame[who] += torch.where(full, 1, step)
        self.begun[who] = self.begun[who].masked_fill(full, 0)
        self.written = self.written.clone()
        known = tuple(x[who] for x in self.state)
        vector, changed = self.parts.predictor.step(entries, known)
        self.written[who] = vector
        self.state = tuple(
            x.index_copy(0, who, y) for x, y in zip(self.state, changed, strict=True)
        )

    def readings(self) -> list[Reading]:
        """Returns what each row has written; a token ends with the frames at the latest."""
        return [
            Reading(
                [token for token, _, _, _ in text],
                [start for _, start, _, _ in text],
                [min(end, length) for _, _, end, _ in text],
                [sure for _, _, _, sure in text],
                total,
            )
            for text, total, length in zip(self.texts, self.sums, self.past.tolist(), strict=True)
        ]


@torch.no_grad()
def beam_transducer(
    parts: TransducerParts,
    encoded: Tensor,
    *,
    beams: int = 8,
    best: int = 1,
    guides: Sequence[Guide] = (),
) -> list[Reading]:
    """Writes the likeliest texts of one recording, each with all its alignments that the beams keep.

    All candidates of a frame are extended before the next frame; those with the same text and frame are one
    whose probabilities are added.

    Args:
        parts: Of the transducer.
        encoded: Frames of one recording.
        beams: Candidates that are kept at each frame.
        best: Texts that are returned at most.
        guides: What else knows which texts are likely.

    Shape:
        encoded: (T, C).

    Source:
        Graves 2012, https://arxiv.org/abs/1211.3711, section 2.5, but breadth first, so that all candidates
        are scored together; durations as in Xu et al. 2023, https://arxiv.org/abs/2304.06795.
    """
    return _Beams(parts, encoded, beams, Guides(guides)).run(best)


class _Beams:
    """One run of the search: what is known of each text, and the candidates that wait at each frame."""

    def __init__(self, parts: TransducerParts, encoded: Tensor, beams: int, guides: Guides) -> None:
        self.parts, self.encoded, self.beams, self.guides = parts, encoded, beams, guides
        self.frames = len(encoded)
        written, state = parts.predictor.start(1, encoded.device)
        self.known: dict[Text, tuple[Tensor, State]] = {
            (): (written[0], tuple(x[0] for x in state))
        }
        moves = tuple(parts.durations)
        self.waits = [(place, frames) for place, frames in enumerate(moves) if frames] or [(0, 1)]
        self.writes = list(enumerate(moves)) or [(0, 0)]
        # For each frame, and the end: the log-probability of each text that is there, and one way to it.
        self.pool: list[dict[Text, float]] = [{} for _ in range(self.frames + 1)]
        self.ways: dict[Text, Reading] = {(): Reading((), (), (), (), 0.0)}
        self.pool[0][()] = 0.0
        self.beyond: dict[Text, float] = {}

    def run(self, best: int) -> list[Reading]:
        """Goes through the frames."""
        for frame in range(self.frames):
            here = self._kept(self.pool[frame], self.beams)
            self.pool[frame] = {}
            for begun in range(self.parts.most + 1):
                if not here:
                    break
                here = self._extended(frame, here, last=begun == self.parts.most)
        # Where no candidate ends with the recording, those that would have gone on are better than none.
        ended = self.pool[self.frames] or self.beyond
        ranked = sorted(
            ((score + self.guides.total(text, ended=True), text) for text, score in ended.items()),
            key=lambda pair: (-pair[0], pair[1]),
        )
        return [
            way._replace(score=score) for score, text in ranked[:best] for way in [self.ways[text]]
        ]

    def _extended(self, frame: int, here: dict[Text, float], *, last: bool) -> dict[Text, float]:
        """Moves candidates on; returns those that wrote a token and are still at this frame."""
        texts = list(here)
        self._predict(texts)
        written = torch.stack([self.known[text][0] for text in texts])
        heard = self.encoded[frame].expand(len(texts), -1)
        scores, lasting = self.parts.scores(heard, written)
        so_far = torch.tensor([here[text] for text in texts], device=scores.device)
        nothing = scores[:, self.parts.blank]
        for place, frames in self.waits:
            gone = so_far + nothing + (0.0 if lasting is None else lasting[:, place])
            for text, score in zip(texts, gone.tolist(), strict=True):
                self._add(self._at(frame + frames), text, score)
        if last:
            return {}
        tokens = scores.index_fill(
            1, torch.tensor([self.parts.blank], device=scores.device), -torch.inf
        )
        guided = self.guides.of(texts, scores.shape[1])
        before = torch.tensor([self.guides.total(text) for text in texts])
        still: dict[Text, float] = {}
        for place, frames in self.writes:
            gone = (so_far[:, None] + tokens).cpu()
            if lasting is not None:
                gone = gone + lasting[:, place, None].cpu()
            rank = gone + before[:, None] + guided
            places = rank.flatten().topk(min(self.beams, rank.numel())).indices.tolist()
            target = still if not frames else self._at(frame + frames, written=True)
            for number in places:
                row, entry = divmod(number, rank.shape[1])
                if not torch.isneginf(rank[row, entry]):
                    text = (*texts[row], entry)
                    if text not in self.ways:
                        way = self.ways[texts[row]]
                        self.ways[text] = Reading(
                            text,
                            (*way.frames, frame),
                            (*way.ends, min(frame + max(1, frames), self.frames)),
                            (*way.log_probs, float(scores[row, entry])),
                            0.0,
                        )
                    self._add(target, text, float(gone[row, entry]))
        return self._kept(still, self.beams)

    def _at(self, frame: int, *, written: bool = False) -> dict[Text, float]:
        """Returns the candidates at a frame; a token ends at a frame of the recording."""
        inside = frame < self.frames or (frame == self.frames and not written)
        return self.pool[frame] if inside else self.beyond

    def _add(self, target: dict[Text, float], text: Text, score: float) -> None:
        there = target.get(text)
        pair = torch.tensor([score] if there is None else [score, there], dtype=torch.float64)
        target[text] = float(pair.logsumexp(0))

    def _kept(self, candidates: dict[Text, float], most: int) -> dict[Text, float]:
        if len(candidates) <= most:
            return candidates
        rank = {text: score + self.guides.total(text) for text, score in candidates.items()}
        return {text: candidates[text] for text in sorted(rank, key=lambda t: (-rank[t], t))[:most]}

    def _predict(self, texts: list[Text]) -> None:
        """Runs the predictor over texts that are new."""
        new = [text for text in texts if text not in self.known]
        if not new:
            return
        states = zip(*(self.known[text[:-1]][1] for text in new), strict=True)
        last = torch.tensor([text[-1] for text in new], device=self.encoded.device)
        written, state = self.parts.predictor.step(last, tuple(torch.stack(x) for x in states))
        for row, text in enumerate(new):
            self.known[text] = (written[row], tuple(x[row] for x in state))
