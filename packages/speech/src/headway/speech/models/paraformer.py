"""Paraformer: all tokens at once, from as many sums of frames as were spoken."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.module import Module
from headway.core.positions import RelativeSinusoidal
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.decoding import Reading
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers import Fired, IntegrateAndFire
from headway.speech.layers.padding import mask_of
from headway.speech.recogniser import Recogniser
from headway.speech.search import GREEDY, Search
from headway.speech.tokenizers import TextTokenizer, Unit

RELATIVE_ATTENTION = partial(SelfAttention, position=RelativeSinusoidal)


class ParallelDecoder(Module):
    """Blocks in which every token sees all tokens and all that was heard.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixer of the tokens, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        x: (B, U, dim). context: (B, T, dim). lengths, context_lengths: (B,). Output: (B, U, dim).
    """

    def __init__(
        self,
        dim: int,
        *,
        depth: int = 6,
        heads: int = 4,
        mixer: MixerFactories = RELATIVE_ATTENTION,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        block = partial(PreNormBlock, cross=CrossAttention)
        self.blocks = Encoder(dim, depth, heads, mixer=mixer, feedforward=feedforward, block=block)
        init_transformer_(self.blocks)

    def forward(
        self, x: Tensor, lengths: Tensor, context: Tensor, context_lengths: Tensor
    ) -> Tensor:
        """Runs the blocks."""
        return self.blocks(
            x,
            Layout(lengths=lengths),
            context=context,
            context_layout=Layout(lengths=context_lengths),
        )[0]


@system(
    id=477,
    name="Paraformer",
    paper="https://arxiv.org/abs/2206.08317",
    claim="integrate-and-fire says how many tokens there are and where, so one pass writes them all",
    test="packages/speech/tests/models/test_paraformer.py",
)
class Paraformer(Recogniser):
    """A recogniser that finds out how many tokens were spoken and writes them in one pass.

    In training the decoder runs twice: what it gets wrong in the first pass decides how many tokens of the
    text, drawn at random, the second one is shown in the place of what was heard of them.

    Args:
        encoder: The encoder.
        tokenizer: What the tokens mean; characters if None.
        front_end: What recordings go through; Kaldi's log-mel features, as many as the encoder hears, if
            None.
        counter: Builds what sums frames up to tokens, ``(dim)``.
        decoder: Builds the decoder, ``(dim)``.
        glance: Share of the wrong tokens of the first pass that are shown to the second; 0 leaves the
            first pass out.
        length_weight: Of the error in the number of tokens, in the loss.

    Shape:
        inputs: (B, T, F) features or (B, T) samples. lengths: (B,), all T if None. Output: ``Encoded``.

    Raises:
        UserError: If the share is not in 0 to 1.

    Source:
        Gao et al. 2022, https://arxiv.org/abs/2206.08317, without its minimum word error rate training.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
        counter: Callable[[int], IntegrateAndFire] = IntegrateAndFire,
        decoder: Callable[[int], ParallelDecoder] = ParallelDecoder,
        glance: float = 0.4,
        length_weight: float = 1.0,
    ) -> None:
        super().__init__(encoder=encoder, tokenizer=tokenizer, front_end=front_end)
        if not 0 <= glance <= 1:
            raise UserError(f"glance is {glance}, not in 0 to 1")
        self.glance, self.length_weight = glance, length_weight
        self.counter = counter(encoder.dim)
        self.decoder = decoder(encoder.dim)
        self.embedding = nn.Embedding(len(self.tokenizer), encoder.dim)
        truncated_normal_(self.embedding.weight)
        self.head = nn.Linear(encoder.dim, len(self.tokenizer))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns what is heard."""
        return self.encode(inputs, lengths)

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the cross-entropy of the tokens and the error in their number, and their sum."""
        heard, lengths, *_ = self.encoded(batch, encoded)
        fired = self.counter(heard, lengths, batch.target_lengths)
        x, longest = fired.tokens, fired.tokens.shape[1]
        targets = batch.targets[:, :longest]
        real = mask_of(batch.target_lengths, longest)
        targets = targets.masked_fill(~real, -100)
        if self.training and self.glance:
            x = self._glanced(x, targets, fired.lengths, heard, lengths)
        scores = self._scores(x, fired.lengths, heard, lengths)
        count = real.sum().clamp_min(1)
        tokens = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="sum") / count
        number = (fired.amount - batch.target_lengths).abs().mean()
        return {"loss": tokens + self.length_weight * number, "tokens": tokens, "number": number}

    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns the best token at every place.

        Raises:
            UserError: If more than one reading is to be followed: all tokens are written at once.
        """
        if search.beam > 1:
            raise UserError("this recogniser writes all tokens at once; leave beam at 1")
        heard, lengths, *_ = encoded
        fired = self.counter(heard, lengths)
        scores = self._scores(fired.tokens, fired.lengths, heard, lengths)
        sure, best = scores.log_softmax(-1).max(-1)
        return self.hypotheses([[one] for one in _readings(fired, best, sure)], encoded)

    def _scores(self, x: Tensor, tokens: Tensor, encoded: Tensor, lengths: Tensor) -> Tensor:
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, len(self.tokenizer))
        return self.head(self.decoder(x, tokens, encoded, lengths)).float()

    @torch.no_grad()
    def _shown(self, targets: Tensor, guessed: Tensor) -> Tensor:
        """Returns which tokens the second pass is shown, (B, U)."""
        real = targets >= 0
        wrong = (real & (guessed != targets)).sum(1)
        number = (self.glance * wrong).long()
        order = torch.rand(targets.shape, device=targets.device).masked_fill(~real, 2.0)
        return order.argsort(1).argsort(1) < number[:, None]

    def _glanced(
        self, x: Tensor, targets: Tensor, tokens: Tensor, encoded: Tensor, lengths: Tensor
    ) -> Tensor:
        with torch.no_grad():
            guessed = self._scores(x, tokens, encoded, lengths).argmax(-1)
        shown = self._shown(targets, guessed)
        said = self.embedding(targets.clamp_min(0)).to(x.dtype)
        return torch.where(shown[..., None], said, x)

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        self._take(self.tokenizer.with_vocabulary(vocabulary))

    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary of characters or words."""
        self._take(TextTokenizer(unit=unit))

    def get_classifier(self) -> Any:
        """Returns the layer that computes the scores."""
        return self.head

    def _take(self, new: Tokenizer) -> None:
        for layer in (self.embedding, self.head):
            renumber(layer, self.tokenizer, new)
        self.take_tokenizer(new)


def _readings(fired: Fired, best: Tensor, sure: Tensor) -> list[Reading]:
    """Returns the tokens of each item with their places in time."""
    rows = zip(
        best.tolist(),
        sure.tolist(),
        fired.starts.tolist(),
        fired.ends.tolist(),
        fired.lengths.tolist(),
        strict=True,
    )
    return [
        Reading(tokens[:n], starts[:n], ends[:n], log_probs[:n], sum(log_probs[:n]))
        for tokens, log_probs, starts, ends, n in rows
    ]
