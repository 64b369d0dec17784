"""The decoder under the rules of a transcript, for the generation of core."""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from headway.core.cache import Cache, CacheGroup
from headway.core.language import DecoderLanguageModel
from headway.speech.models.whisper.marks import TICK, Marks


class WrittenTimes(Cache):
    """What a row has written, as far as the rules ask.

    Args:
        rows: Rows.
        device: Where the model is.

    Attributes:
        count: Tokens behind the prompt.
        last: The newest of them, and ``before`` the one in front of it.
        latest: The latest mark of time; -1 where there is none.
    """

    names = ("count", "last", "before", "latest")

    def __init__(self, rows: int, device: torch.device | None = None) -> None:
        whole = torch.zeros(rows, dtype=torch.int64, device=device)
        self.lengths = whole
        self.count, self.last, self.before, self.latest = whole - 1, whole, whole, whole - 1

    def add(self, tokens: Tensor, times: range) -> None:
        """Takes what was given to the model: at first the end of the prompt, then what is written."""
        self.count = self.count + 1
        written = self.count > 0
        self.before = torch.where(written, self.last, self.before)
        self.last = torch.where(written, tokens, self.last)
        timed = written & (tokens >= times.start) & (tokens < times.stop)
        self.latest = torch.where(timed, tokens, self.latest)

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets everything, or the given rows."""
        index: Any = slice(None) if rows is None else rows
        for name, value in zip(self.names, (-1, 0, 0, -1), strict=True):
            changed = getattr(self, name).clone()
            changed[index] = value
            setattr(self, name, changed)

    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in the given order."""
        for name in ("lengths", *self.names):
            setattr(self, name, getattr(self, name)[rows])

    def put(self, rows: Tensor, other: Self) -> None:
        """Takes the rows of another."""
        for name in self.names:
            changed = getattr(self, name).clone()
            changed[rows] = getattr(other, name)
            setattr(self, name, changed)


class TranscriptDecoder:
    """Says what may be written next: a ``CausalModel`` whose log-probabilities are those under the rules.

    Never written are the tokens that tell the model what to do and those of ``suppressed``. With times, a
    transcript begins with a mark, marks come in pairs but for the last, none is earlier than the one before,
    and where all marks together are likelier than any text, a mark it is.

    Args:
        decoder: The decoder.
        marks: Its special tokens.
        suppressed: Further tokens that are never written.
        begin_suppressed: Those that are not the first.
        timestamps: Whether marks of time are written.
        latest_begin: Where the first mark is at the latest, in seconds.

    Attributes:
        silence: Of each sequence the probability that nobody speaks, where ``place`` says which it is.

    Source:
        Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 4.5.
    """

    def __init__(
        self,
        decoder: DecoderLanguageModel,
        marks: Marks,
        *,
        suppressed: Sequence[int] = (),
        begin_suppressed: Sequence[int] = (),
        timestamps: bool = True,
        latest_begin: float = 1.0,
    ) -> None:
        self.decoder, self.marks, self.timestamps = decoder, marks, timestamps
        self.never = torch.zeros(len(marks.tokenizer), dtype=torch.bool, device=decoder.device)
        self.never[[*suppressed, *marks.controls(), marks.untimed]] = True
        if not timestamps:
            self.never[marks.times.start : marks.times.stop] = True
        self.first = torch.as_tensor(begin_suppressed, dtype=torch.int64, device=decoder.device)
        self.latest_begin = marks.times.start + round(latest_begin / TICK)
        self.places = torch.arange(marks.times.start, marks.times.stop, device=decoder.device)
        self.silence: dict[int, float] = {}

    def init_cache(self, batch: int, max_length: int) -> CacheGroup:
        """Returns an empty cache of the decoder, and of what the rules ask."""
        return CacheGroup(
            {
                "decoder": self.decoder.init_cache(batch, max_length),
                "times": WrittenTimes(batch, self.decoder.device),
            }
        )

    def read(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None,
        cache: CacheGroup,
        context: Tensor,
        begin: Tensor,
        place: Tensor,
        room: Tensor,
    ) -> None:
        """Takes the prompts but for their last tokens into a cache, in one pass.

        Args:
            tokens: The prompts, (R, T).
            lengths: Tokens of each; all if None.
            cache: Of ``init_cache``.
            context: What was heard.
            begin: Where in the prompt the transcript starts, (R,).
            place: Which sequence a row is, (R,).
            room: Most tokens that a row may write, (R,).
        """
        if not tokens.shape[1]:
            return
        found = self.decoder.features(
            tokens, lengths=lengths, cache=cache["decoder"], context=context
        )
        there = (begin < (tokens.shape[1] if lengths is None else lengths)).nonzero()[:, 0]
        if len(there):
            self._hear_silence(self.decoder.head(found[there, begin[there]]), place[there])

    def __call__(
        self,
        tokens: Tensor,
        *,
        cache: CacheGroup,
        context: Tensor,
        begin: Tensor,
        place: Tensor,
        room: Tensor,
    ) -> Tensor:
        """Returns the logits of what follows, minus infinity where it must not; arguments as of ``read``."""
        found = self.decoder(tokens, cache=cache["decoder"], context=context)
        times: Any = cache["times"]
        times.add(tokens[:, -1], self.marks.times)
        logits = found[:, -1].float()
        fresh = times.count == 0
        if bool(fresh.any()):
            heard = (fresh & (tokens[:, -1] == self.marks.start)).nonzero()[:, 0]
            if len(heard):
                self._hear_silence(logits[heard], place[heard])
        return self._allowed(logits, times, fresh, room)[:, None]

    def _hear_silence(self, logits: Tensor, places: Tensor) -> None:
        if self.marks.silence is None:
            return
        shares = logits.float().softmax(dim=-1)[:, self.marks.silence]
        self.silence.update(zip(places.tolist(), shares.tolist(), strict=True))

    def _allowed(self, logits: Tensor, times: WrittenTimes, fresh: Tensor, room: Tensor) -> Tensor:
        logits = logits.masked_fill(self.never, -math.inf)
        if len(self.first) and bool(fresh.any()):
            hidden = logits[:, self.first].masked_fill(fresh[:, None], -math.inf)
            logits[:, self.first] = hidden
        if self.timestamps:
            self._order_times(logits, times, fresh)
        full = (times.count >= room).nonzero()[:, 0]
        if len(full):
            logits[full] = -math.inf
            logits[full, self.marks.end] = 0.0
        return logits

    def _order_times(self, logits: Tensor, times: WrittenTimes, fresh: Tensor) -> None:
        marks = self.marks.times
        after_time = ~fresh & (times.last == times.latest)
        pair = after_time & ((times.count < 2) | (times.before >= marks.start))
        open_ = after_time & ~pair
        # A mark may be said twice, to end a piece and to begin the next one, and no third time.
        least = times.latest + 1 - open_.long()
        forbidden = self.places < least[:, None]
        forbidden |= pair[:, None]
        forbidden |= fresh[:, None] & (self.places > self.latest_begin)
        timed = logits[:, marks.start : marks.stop]
        timed.masked_fill_(forbidden, -math.inf)
        text = logits[:, : marks.start]
        # Behind a single mark stands another one or the end, and no text.
        text[:, : self.marks.end].masked_fill_(open_[:, None], -math.inf)
        text.masked_fill_(fresh[:, None], -math.inf)
        likelier = timed.logsumexp(dim=-1) > text.amax(dim=-1)
        text.masked_fill_(likelier[:, None], -math.inf)
