"""DiTAR: a language model says what the next patch of speech is about, local diffusion writes it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import Rotary
from headway.core.stacks import Decoder
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import LogMel
from headway.speech.layers.padding import mask_of, zero_beyond
from headway.speech.layers.patches import LocalDiffusion, PatchReader, PatchWriter, cut_patches
from headway.speech.models.fast_speech import framed, spoken_text
from headway.speech.synthesiser import AS_LEARNED, Manner, Spoken, Synthesiser

CAUSAL = partial(SelfAttention, position=Rotary, causal=True)
ALL = partial(SelfAttention, position=Rotary)
READER = partial(PatchReader, mixer=ALL)
WRITER = partial(LocalDiffusion, mixer=ALL)


class Told(NamedTuple):
    """What the language model says.

    Args:
        vectors: Of each patch, and of what would stand behind the last one, (B, N + 1, dim).
        ends: Logits that there is no patch, (B, N + 1).
    """

    vectors: Tensor
    ends: Tensor


@system(
    id=469,
    name="DiTAR",
    paper="https://arxiv.org/abs/2502.03930",
    claim="a patch that is drawn by local diffusion is one of those that there are, not their mean",
    test="packages/speech/tests/models/test_ditar.py",
)
class DiTAR(Synthesiser):
    """Reads a text, then writes speech patch by patch, each seen as one vector by a causal language model.

    The patches are of mel features, not of the latents of a codec. It learns when to end and knows no
    durations: manners of speaking are refused.

    Args:
        patch: Steps of a patch.
        history: Patches before it that the writer sees.
        dim: Channels.
        depth: Blocks of the language model.
        heads: Heads of its mixers.
        tokenizer: What the tokens mean; characters if None.
        front_end: Mel features; those of 22,050 Hz if None.
        mixer: Builds the causal token mixer, ``(dim, heads)``; it tells where a token is.
        feedforward: Builds the feed-forward, ``(dim)``.
        reader: Builds what makes a vector of a patch, ``(bands, dim)``.
        writer: Builds what writes a patch, ``(bands, dim, patch)``.
        longest: Patches of a text at most.
        seed: Of the noise that speech is made of.

    Shape:
        tokens: (B, U), lengths: (B,), patches: (B, N, patch, bands), counts: (B,). Output: ``Told``.

    Raises:
        UserError: If the tokenizer lacks start or end, or a number is below its limit.

    Source:
        Jia et al. 2025, https://arxiv.org/abs/2502.03930 (no public code).
    """

    aligns = False

    def __init__(
        self,
        *,
        patch: int = 4,
        history: int = 1,
        dim: int = 256,
        depth: int = 6,
        heads: int = 4,
        tokenizer: Tokenizer | None = None,
        front_end: LogMel | None = None,
        mixer: MixerFactories = CAUSAL,
        feedforward: FeedForwardFactory = MLP,
        reader: Callable[[int, int], PatchReader] = READER,
        writer: Callable[[int, int, int], PatchWriter] = WRITER,
        longest: int = 512,
        seed: int = 0,
    ) -> None:
        tokenizer = spoken_text() if tokenizer is None else tokenizer
        if tokenizer.start is None or tokenizer.end is None:
            raise UserError("a text begins and ends; give the tokenizer both tokens")
        if patch < 1 or history < 0 or longest < 1:
            raise UserError(
                f"patch is {patch}, history {history} and longest {longest}; they begin at 1, 0 and 1"
            )
        super().__init__(
            tokenizer=tokenizer, front_end=LogMel() if front_end is None else front_end
        )
        self.patch, self.history, self.longest, self.seed = patch, history, longest, seed
        bands = self.mel.mels
        self.embedding = nn.Embedding(len(tokenizer), dim)
        self.reader = reader(bands, dim)
        self.decoder = Decoder(dim, depth, heads, mixer=mixer, feedforward=feedforward)
        init_transformer_(self.decoder)
        self.end = nn.Linear(dim, 1)
        self.writer = writer(bands, dim, patch)

    def forward(self, tokens: Tensor, lengths: Tensor, patches: Tensor, counts: Tensor) -> Told:
        """Returns what the language model says of each patch, from the text and the patches before.

        Args:
            tokens: Tokens of the texts, start and end among them.
            lengths: Tokens of each.
            patches: Patches of speech.
            counts: Patches of each.
        """
        words, spoken = tokens.shape[1], patches.shape[1]
        read = self.reader(patches.flatten(0, 1)).unflatten(0, (len(patches), spoken))
        # Behind each text comes its speech: from the end on, places are those of patches.
        both = torch.cat((self.embedding(tokens), read), dim=1)
        place = torch.arange(words + spoken, device=tokens.device)
        behind = place - lengths[:, None]
        place = torch.where(behind < 0, place, (words + behind).clamp_max(words + spoken - 1))
        both = both.gather(1, place[..., None].expand(-1, -1, both.shape[2]))
        found, _ = self.decoder(both, Layout(lengths=lengths + counts))
        # The last token of the text speaks of the first patch.
        place = lengths[:, None] - 1 + torch.arange(spoken + 1, device=tokens.device)
        place = place.clamp_max(words + spoken - 1)
        vectors = found.gather(1, place[..., None].expand(-1, -1, found.shape[2]))
        return Told(vectors, self.end(vectors).squeeze(2))

    def loss(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Returns the loss of what writes patches and that of the end."""
        with torch.no_grad():
            features, steps = self.front_end(batch.inputs, batch.lengths)
            patches, counts = cut_patches(features, steps, self.patch)
        tokens, lengths = framed(self.tokenizer, batch.targets, batch.target_lengths)
        vectors, ends = self(tokens, lengths, patches, counts)
        place = torch.arange(ends.shape[1], device=ends.device)
        last = (place == counts[:, None]).to(ends)
        known = mask_of(counts + 1, ends.shape[1])
        end = F.binary_cross_entropy_with_logits(ends[known], last[known])
        real = mask_of(counts, patches.shape[1])
        histories = self._histories(patches)
        written = self.writer.loss(vectors[:, :-1][real], histories[real], patches[real])
        return {"loss": written + end, "mel": written, "end": end}

    @torch.no_grad()
    def speak(self, tokens: Tensor, lengths: Tensor, *, manner: Manner = AS_LEARNED) -> Spoken:
        """Returns the features of texts; the noise of each is the same alone and in any batch."""
        if manner != AS_LEARNED:
            raise UserError(
                "this synthesiser speaks as it has learned; leave speed, pitch and energy"
            )
        tokens, lengths = framed(self.tokenizer, tokens, lengths)
        rows, bands, place = len(tokens), self.mel.mels, tokens.device
        generator = torch.Generator().manual_seed(self.seed)
        cache = self.decoder.init_cache(rows, tokens.shape[1] + self.longest, device=place)
        found, _ = self.decoder(self.embedding(tokens), Layout(lengths=lengths), cache=cache)
        told = found[torch.arange(rows, device=place), lengths - 1]
        counts = torch.zeros(rows, dtype=torch.int64, device=place)
        going = torch.ones(rows, dtype=torch.bool, device=place)
        history = torch.zeros(rows, self.history * self.patch, bands, device=place)
        written: list[Tensor] = []
        while len(written) < self.longest:
            # There is always something to be heard.
            if written:
                going = going & (self.end(told).squeeze(1) < 0)
            if not going.any():
                break
            noise = torch.randn(1, self.patch, bands, generator=generator).to(told)
            drawn = self.writer.draw(told, history, noise.expand(rows, -1, -1))
            counts += going
            written.append(drawn)
            history = torch.cat((history, drawn), dim=1)[:, drawn.shape[1] :]
            found, _ = self.decoder(self.reader(drawn)[:, None], None, cache=cache)
            told = found[:, 0]
        steps = counts * self.patch
        return Spoken(zero_beyond(torch.cat(written, dim=1), steps), steps, None)

    def align(self, waveforms: Tensor, samples: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Raises: nothing is known of where a token is.

        Raises:
            UserError: Always.
        """
        raise UserError("DiTAR does not know where a token is in its speech; align with FastSpeech")

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        new = self.tokenizer.with_vocabulary(vocabulary)
        renumber(self.embedding, self.tokenizer, new)
        self.take_tokenizer(new)

    def _histories(self, patches: Tensor) -> Tensor:
        """Returns the steps before each patch, (B, N, history * patch, bands)."""
        before = F.pad(patches, (0, 0, 0, 0, self.history, 0))
        shifted = [before[:, place : place + patches.shape[1]] for place in range(self.history)]
        if not shifted:
            return patches[:, :, :0]
        return torch.cat(shifted, dim=2)
