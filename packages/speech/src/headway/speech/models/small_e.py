"""Small-E: a language model with linear attention speaks in words of a vocabulary of mel features."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.cache import CacheGroup
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import SwiGLU
from headway.core.generation import Sampling
from headway.core.generation.draws import row_keys, uniform
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import Rotary
from headway.core.stacks import Decoder, Encoder
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import LogMel
from headway.speech.layers.mel_codes import MelCodes, delayed, undelayed
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.position_attention import GATED_LINEAR, PositionAwareAttention
from headway.speech.models.fast_speech import framed, spoken_text
from headway.speech.synthesiser import AS_LEARNED, Manner, Spoken, Synthesiser

ALL = partial(SelfAttention, position=Rotary)


class Coded(NamedTuple):
    """What the language model says.

    Args:
        words: Logits of the words of each vocabulary, (B, S, levels, words).
        ends: Logits of the end, in the place of a word of the first vocabulary, (B, S).
    """

    words: Tensor
    ends: Tensor


@system(
    id=433,
    name="Small-E",
    paper="https://arxiv.org/abs/2406.04467",
    claim="attention that sees where in a text it is repeats and skips less than one that sees what is there",
    test="packages/speech/tests/models/test_small_e.py",
)
class SmallE(Synthesiser):
    """Reads a text, then says word after word of mel features, with a state that does not grow.

    Causal blocks of linear attention hear the speech so far, one attention finds where in the text it is and
    reads on there, and further blocks say the next words: one of each vocabulary, each level a step after
    the one before. The first level is drawn, the others are the likeliest. The paper's words are those of a
    codec; here they are of mel features (``MelCodes``). It knows no durations: manners of speaking are
    refused.

    Args:
        codes: Builds the vocabularies, ``(bands)``.
        dim: Channels.
        depth: Blocks before the attention to the text, and as many behind it.
        text_depth: Blocks over the text.
        heads: Heads of the mixers.
        tokenizer: What the tokens mean; characters if None.
        front_end: Mel features; those of 22,050 Hz if None.
        mixer: Builds the causal mixer of the speech, ``(dim, heads)``.
        text_mixer: Builds the mixer of the text, ``(dim, heads)``; it tells where a token is.
        feedforward: Builds the feed-forward, ``(dim)``.
        reader: Builds what reads the text, ``(dim, heads)``.
        dropout: Probability of dropping a channel of an embedded token in training.
        sampling: How words of the first level are drawn; from the 100 likeliest if None.
        longest: Tokens of speech of a text at most.
        seed: Of what is drawn.

    Shape:
        tokens: (B, U), lengths: (B,), rows: (B, S, levels) as ``delayed`` gives them, counts: (B,).
        Output: ``Coded`` of the rows and of none before them, (B, S + 1, ...).

    Raises:
        UserError: If the tokenizer lacks start or end, or ``longest`` is below 1.

    Source:
        Lemerle et al. 2024, https://arxiv.org/abs/2406.04467, and its code.
    """

    aligns = False

    def __init__(
        self,
        *,
        codes: Callable[[int], MelCodes] = MelCodes,
        dim: int = 256,
        depth: int = 3,
        text_depth: int = 3,
        heads: int = 4,
        tokenizer: Tokenizer | None = None,
        front_end: LogMel | None = None,
        mixer: MixerFactories = GATED_LINEAR,
        text_mixer: MixerFactories = ALL,
        feedforward: FeedForwardFactory = SwiGLU,
        reader: MixerFactory = PositionAwareAttention,
        dropout: float = 0.1,
        sampling: Sampling | None = None,
        longest: int = 1024,
        seed: int = 0,
    ) -> None:
        tokenizer = spoken_text() if tokenizer is None else tokenizer
        if tokenizer.start is None or tokenizer.end is None:
            raise UserError("a text begins and ends; give the tokenizer both tokens")
        if longest < 1:
            raise UserError(f"longest is {longest}; a text has at least one token of speech")
        super().__init__(
            tokenizer=tokenizer, front_end=LogMel() if front_end is None else front_end
        )
        self.longest, self.seed = longest, seed
        self.sampling = Sampling(top_k=100) if sampling is None else sampling
        self.codes = codes(self.mel.mels)
        levels, words = self.codes.levels, self.codes.words
        self.embedding = nn.Embedding(len(tokenizer), dim)
        self.spoken = nn.Embedding(levels * (words + 2), dim)
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(dim, text_depth, heads, mixer=text_mixer, feedforward=feedforward)
        parts = {"mixer": mixer, "feedforward": feedforward}
        self.listener = Decoder(dim, depth, heads, final_norm=False, **parts)
        self.reader = reader(dim, heads)
        self.writer = Decoder(dim, depth, heads, **parts)
        self.head, self.end = nn.Linear(dim, levels * words), nn.Linear(dim, 1)
        for part in (self.encoder, self.listener, self.reader, self.writer):
            init_transformer_(part)
        truncated_normal_(self.head.weight)

    @property
    def complete(self) -> bool:
        """Whether statistics and words were measured."""
        return super().complete and self.codes.complete

    @torch.no_grad()
    def measure(self, recordings: Iterable[Tensor]) -> None:
        """Measures the statistics of the front end, and the words of its features."""
        kept = [one.to(self.device) for one in recordings if len(one) >= self.mel.least]
        if not self.front_end.complete:
            self.front_end.measure(kept)
        self.codes.measure(self.front_end(one[None]).inputs[0] for one in kept)

    def forward(self, tokens: Tensor, lengths: Tensor, rows: Tensor, counts: Tensor) -> Coded:
        """Returns what follows the rows, and what comes first.

        Args:
            tokens: Tokens of the texts, start and end among them.
            lengths: Tokens of each.
            rows: Words of speech, each level a step after the one before.
            counts: Tokens of speech of each.
        """
        # Before the first row no level has begun.
        rows = F.pad(rows, (0, 0, 1, 0), value=self.codes.words)
        layout = Layout(lengths=counts + self.codes.levels + 1)
        text, about = self._read(tokens, lengths)
        x, _ = self.listener(self.dropout(self._heard(rows)), layout)
        x = x + self.reader(x, layout, context=text, context_layout=about)
        return self._said(self.writer(x, layout)[0])

    def loss(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Returns the cross-entropy of the words of all levels, and that of the first with the end."""
        with torch.no_grad():
            features, steps = self.front_end(batch.inputs, batch.lengths)
            codes, counts = self.codes.codes(features, steps)
        return self.code_loss(batch.targets, batch.target_lengths, codes, counts)

    def code_loss(
        self, tokens: Tensor, lengths: Tensor, codes: Tensor, counts: Tensor
    ) -> dict[str, Tensor]:
        """Returns the losses where speech is given as words.

        Shape:
            tokens: (B, U). lengths: (B,). codes: (B, N, levels). counts: (B,).
        """
        words = self.codes.words
        rows = delayed(codes, counts, words)
        said = self(*framed(self.tokenizer, tokens, lengths), rows, counts)
        logits = said.words[:, :-1]
        place = torch.arange(rows.shape[1], device=rows.device)
        losses = []
        for level in range(self.codes.levels):
            wanted, found = rows[:, :, level], logits[:, :, level]
            known = wanted < words
            if level == 0:
                last = place == counts[:, None]
                found = torch.cat((found, said.ends[:, :-1, None]), dim=2)
                wanted, known = wanted.masked_fill(last, words), known | last
            losses.append(F.cross_entropy(found[known], wanted[known]))
        mean = torch.stack(losses).mean()
        return {"loss": mean, "mel": mean, "first": losses[0]}

    @torch.no_grad()
    def speak(self, tokens: Tensor, lengths: Tensor, *, manner: Manner = AS_LEARNED) -> Spoken:
        """Returns the features of texts; what is drawn for each is the same alone and in any batch."""
        if manner != AS_LEARNED:
            raise UserError(
                "this synthesiser speaks as it has learned; leave speed, pitch and energy"
            )
        codes, counts = self.write(tokens, lengths)
        features = self.codes.features(codes)
        steps = counts * self.codes.frames
        return Spoken(zero_beyond(features, steps), steps, None)

    @torch.no_grad()
    def write(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the words of texts, and tokens of speech of each.

        Shape:
            tokens: (B, U). lengths: (B,). Output: (B, N, levels), (B,).
        """
        levels, words = self.codes.levels, self.codes.words
        text, about = self._read(*framed(self.tokenizer, tokens, lengths))
        batch, device = len(tokens), tokens.device
        cache = self.init_cache(batch)
        keys = row_keys(1, torch.Generator().manual_seed(self.seed), device).expand(batch)
        counts = torch.full((batch,), self.longest, device=device)
        row = torch.full((batch, 1, levels), words, device=device)
        level = torch.arange(levels, device=device)
        written: list[Tensor] = []
        for step in range(self.longest + levels - 1):
            if bool((counts + levels - 1 <= step).all()):
                break
            said = self._step(row, text, about, cache)
            ends = said.ends[:, 0] if step else torch.full_like(said.ends[:, 0], -torch.inf)
            first = torch.cat((said.words[:, 0, 0], ends[:, None]), dim=1)
            drawn = self.sampling(first, uniform(keys, torch.tensor(step, device=device)))
            ending = (drawn == words) & (step < counts)
            counts = counts.masked_fill(ending, step)
            # The end is drawn once; what a row says behind it is not heard.
            row = torch.cat((drawn[:, None], said.words[:, 0, 1:].argmax(dim=2)), dim=1)
            place = step - level
            row = row.masked_fill(place >= counts[:, None], words + 1)
            row = row.masked_fill(place < 0, words)[:, None]
            written.append(row)
        count = int(counts.max()) if batch else 0
        codes = undelayed(torch.cat(written, dim=1), count)
        return codes.masked_fill(codes >= words, 0), counts

    def init_cache(self, batch: int) -> CacheGroup:
        """Returns what is remembered of the speech and the text; it does not grow where mixers are linear."""
        place = self.device
        parts = {"listener": self.listener, "reader": self.reader, "writer": self.writer}
        return CacheGroup(
            {
                name: part.init_cache(batch, self.longest, device=place)
                for name, part in parts.items()
            }
        )

    def align(self, waveforms: Tensor, samples: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Raises: durations are not known.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "Small-E does not know where a token is in its speech; align with FastSpeech"
        )

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        new = self.tokenizer.with_vocabulary(vocabulary)
        renumber(self.embedding, self.tokenizer, new)
        self.take_tokenizer(new)

    def _step(self, row: Tensor, text: Tensor, about: Layout, cache: CacheGroup) -> Coded:
        """Returns what follows one more row, (B, 1, levels), of each item."""
        x, _ = self.listener(self._heard(row), cache=cache["listener"])
        read = self.reader(x, context=text, context_layout=about, cache=cache["reader"])
        return self._said(self.writer(x + read, cache=cache["writer"])[0])

    def _read(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Layout]:
        about = Layout(lengths=lengths)
        return self.encoder(self.dropout(self.embedding(tokens)), about)[0], about

    def _heard(self, rows: Tensor) -> Tensor:
        first = (self.codes.words + 2) * torch.arange(rows.shape[2], device=rows.device)
        return self.spoken(rows + first).sum(dim=2)

    def _said(self, x: Tensor) -> Coded:
        words = self.head(x).unflatten(2, (self.codes.levels, self.codes.words))
        return Coded(words, self.end(x).squeeze(2))
