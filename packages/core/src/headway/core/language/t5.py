"""T5: an encoder reads a text, a decoder writes another one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory
from headway.core.cache import Cache, CacheGroup
from headway.core.dropout import Dropout
from headway.core.feedforward import MLP
from headway.core.generation import Generated, Sampling
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.language.model import LanguageModel, next_token_scores
from headway.core.language.tokenizer import NumberedTokens, Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.module import evaluating
from headway.core.norms import RMSNorm
from headway.core.positions import BucketedBias
from headway.core.positions.bucketed import share_biases
from headway.core.stacks import Decoder, Encoder
from headway.core.systems import system

PlainMLP = partial(MLP, activation=nn.ReLU, bias=False)


@system(
    id=None,
    name="T5",
    paper="https://arxiv.org/abs/1910.10683",
    claim="an encoder and a decoder with biases of distances, equal to transformers' with copied weights",
    test="packages/core/tests/weights/test_t5.py",
)
class T5(LanguageModel):
    """Writes a text about another one, the source, which an encoder reads.

    What is trained and generated are the tokens of the target; the source is a condition, ``source`` and
    ``source_lengths``. All blocks of a stack share one table of relative biases. ``features`` are those of
    the encoder, for heads on top of what is read.

    Args:
        tokenizer: What the tokens mean, of both texts; its start is that of the target.
        dim: Channels of a token.
        depth: Number of blocks of the encoder.
        decoder_depth: Of the decoder; as many if None.
        heads: Heads of the mixers.
        head_dim: Width of a head; ``dim / heads`` if None.
        max_length: Most tokens of a target; generation stops there.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        position: Builds the biases of distances, ``(heads, head_dim, causal=)``.
        tied: Whether the head shares the weights of the embedding.
        scaled: Whether what the head reads is divided by the root of ``dim``.
        dropout: Probability of dropping a channel of an embedded token in training.

    Attributes:
        usual_tokenizer: Made where none is given.

    Shape:
        tokens: (B, T) int64. source: (B, S) int64. Output: logits (B, T, V).

    Source:
        Raffel et al. 2019, https://arxiv.org/abs/1910.10683, section 2.1.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = NumberedTokens

    def __init__(
        self,
        *,
        tokenizer: Tokenizer | None = None,
        dim: int = 256,
        depth: int = 4,
        decoder_depth: int | None = None,
        heads: int = 8,
        head_dim: int | None = None,
        max_length: int = 128,
        feedforward: FeedForwardFactory = PlainMLP,
        norm: Callable[[int], nn.Module] = RMSNorm,
        position: Callable[..., BucketedBias] = BucketedBias,
        tied: bool = True,
        scaled: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(self.usual_tokenizer() if tokenizer is None else tokenizer, max_length)
        self.tied, self.factor = tied, dim**-0.5 if scaled else 1.0
        self.embedding = nn.Embedding(len(self.tokenizer), dim)
        self.dropout = Dropout(dropout)
        plain = {"head_dim": head_dim, "qkv_bias": False, "out_bias": False}
        mixer = partial(SelfAttention, **plain)
        parts: dict[str, Any] = {"feedforward": feedforward, "norm": norm}
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=partial(mixer, position=partial(position, causal=False)),
            **parts,
        )
        self.decoder = Decoder(
            dim,
            depth if decoder_depth is None else decoder_depth,
            heads,
            mixer=partial(mixer, causal=True, position=partial(position, causal=True)),
            cross=partial(CrossAttention, **plain),
            **parts,
        )
        init_transformer_(self.encoder)
        init_transformer_(self.decoder)
        for stack in (self.encoder, self.decoder):
            share_biases(stack)
        truncated_normal_(self.embedding.weight)
        self.head = nn.Linear(dim, len(self.tokenizer), bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        else:
            truncated_normal_(self.head.weight)

    def encode(self, source: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns what the decoder reads of a source, (B, S, dim).

        Args:
            source: Numbers of tokens, right-padded.
            lengths: Real tokens of each row; all if None.
        """
        layout = Layout(lengths=lengths) if lengths is not None else None
        x, _ = self.encoder(self.dropout(self.embedding(source)), layout)
        return x

    def forward(
        self,
        tokens: Tensor,
        *,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        context: Tensor | None = None,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Returns the logits of the token that follows each.

        Args:
            tokens: Of the target, from its start on; right-padded.
            source: Of what the target is about.
            source_lengths: Real tokens of each source; all if None.
            context: What ``encode`` made of the source, in its place.
            lengths: Real tokens of each target; a token sees only those before, so padding needs none.
            cache: What the rows have seen before; from ``init_cache``.
        """
        if context is None and source is not None:
            context = self.encode(source, source_lengths)
        told = {"context": context, "source_lengths": source_lengths}
        return self.head(self._decode(tokens, lengths, cache, **told) * self.factor)

    def features(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns what the encoder makes of the tokens, (B, T, dim)."""
        return self.encode(tokens, lengths)

    def read(
        self, tokens: Tensor, *, lengths: Tensor | None, cache: Cache, **conditions: Any
    ) -> None:
        """Takes the beginning of targets into a cache; nothing is said of what follows."""
        if tokens.shape[1]:
            self._decode(tokens, lengths, cache, **conditions)

    def score(self, tokens: Tensor, *, lengths: Tensor | None = None, **conditions: Any) -> Tensor:
        """Returns the log-probability of each token behind the first, 0 for padding.

        Args:
            tokens: Of the target, from its start on.
            lengths: Real tokens of each row, (B,); all if None.
            **conditions: ``source`` and ``source_lengths``.
        """
        return next_token_scores(self(tokens[:, :-1], **conditions), tokens, lengths)

    def init_cache(self, batch: int, max_length: int | None = None) -> CacheGroup:
        """Returns an empty cache for ``batch`` targets."""
        return self.decoder.init_cache(batch, max_length or self.max_length)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling | None = None,
        batch_size: int = 256,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        progress: Callable[[int], None] | None = None,
        **conditions: Any,
    ) -> Generated:
        """Writes about sources; see ``headway.core.generation.generate``.

        Args:
            prompts: Beginnings of targets, at least the start token each.
            sampling: How the next token is chosen.
            batch_size: Rows at a time.
            generator: Where chance comes from.
            progress: Called with the number of targets that ended in a step.
            **conditions: ``source`` and ``source_lengths``, one row for each prompt.
        """
        source, lengths = conditions["source"], conditions.get("source_lengths")
        told = {
            "context": self._encoded(source, lengths, batch_size),
            "source_lengths": lengths,
        }
        return self.continued(
            prompts,
            sampling=sampling,
            batch_size=batch_size,
            generator=generator,
            progress=progress,
            conditions=told,
        )

    @property
    def width(self) -> int:
        """Channels of the vector of a token."""
        return self.embedding.embedding_dim

    def set_max_length(self, max_length: int) -> None:
        """Allows targets of another length; distances reach any."""
        self.max_length = self.init_args["max_length"] = max_length

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them.

        Args:
            vocabulary: The new tokens; the special ones stay at their numbers.
        """
        old, new = self.tokenizer, self.tokenizer.with_vocabulary(vocabulary)
        self.tokenizer = self.init_args["tokenizer"] = new
        renumber(self.embedding, old, new)
        renumber(self.head, old, new)
        if self.tied:
            self.head.weight = self.embedding.weight

    @torch.no_grad()
    def _encoded(self, source: Tensor, lengths: Tensor | None, batch_size: int) -> Tensor:
        parts = source.to(self.device).split(batch_size)
        counts = (
            [None] * len(parts) if lengths is None else lengths.to(self.device).split(batch_size)
        )
        with evaluating(self):
            return torch.cat([self.encode(*pair) for pair in zip(parts, counts, strict=True)])

    def _decode(
        self,
        tokens: Tensor,
        lengths: Tensor | None,
        cache: Cache | None,
        *,
        context: Tensor | None,
        source_lengths: Tensor | None = None,
    ) -> Tensor:
        layout = Layout(lengths=lengths) if lengths is not None else None
        about = Layout(lengths=source_lengths) if source_lengths is not None else None
        x = self.dropout(self.embedding(tokens))
        x, _ = self.decoder(x, layout, context=context, context_layout=about, cache=cache)
        return x
