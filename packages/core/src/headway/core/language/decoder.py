"""The causal decoder as a language model, made of parts."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.cache import Cache, CacheGroup
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.generation import Generated, Sampling
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.language.model import LanguageModel, next_token_scores
from headway.core.language.tokenizer import NumberedTokens, Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.norms import LayerNorm
from headway.core.positions import PositionTable
from headway.core.stacks import Decoder
from headway.core.stacks.decoder import CausalSelfAttention


class DecoderOptions(TypedDict, total=False):
    """What every decoder language model with parts of its own passes on; it adds the parts of others."""

    tokenizer: Tokenizer | None
    dim: int
    depth: int
    heads: int
    max_length: int
    cross: MixerFactory | None
    dropout: float
    drop_path: float


class DecoderLanguageModel(LanguageModel):
    """Says what follows each token, from what came before, and from a context if a part reads one.

    Llama, GPT-2, Mistral, Qwen2 and GPT-NeoX are such models with parts of their own.

    Args:
        tokenizer: What the tokens mean; ``usual_tokenizer`` if None.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        max_length: Most tokens of a text, start and end included; generation stops there. Where positions are
            learned there are no others.
        mixer: Builds the causal token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        cross: Builds the mixer that reads a context, ``(dim, heads)``; none if None.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        position: Builds what is added to the tokens, ``(dim, max_length)``; nothing if None (the mixers
            know).
        tied: Whether the head shares the weights of the embedding.
        dropout: Probability of dropping a channel of an embedded token in training.
        drop_path: Rate of stochastic depth of the last block.

    Attributes:
        usual_tokenizer: Made where none is given: numbers without a meaning, in a domain what its texts are.

    Shape:
        tokens: (B, T) int64. context: (B, M, C). Output: logits (B, T, V) of the token that follows each.

    Source:
        Radford et al. 2018, https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf,
        section 3.1.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = NumberedTokens

    def __init__(
        self,
        *,
        tokenizer: Tokenizer | None = None,
        dim: int = 256,
        depth: int = 4,
        heads: int = 8,
        max_length: int = 128,
        mixer: MixerFactories = CausalSelfAttention,
        cross: MixerFactory | None = None,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        position: Callable[[int, int], PositionTable] | None = None,
        tied: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(self.usual_tokenizer() if tokenizer is None else tokenizer, max_length)
        self.tied = tied
        self.embedding = nn.Embedding(len(self.tokenizer), dim)
        self.position = position(dim, max_length) if position is not None else None
        self.dropout = Dropout(dropout)
        parts = {"mixer": mixer, "feedforward": feedforward, "norm": norm, "block": block}
        self.decoder = Decoder(dim, depth, heads, cross=cross, drop_path=drop_path, **parts)
        init_transformer_(self.decoder)
        truncated_normal_(self.embedding.weight)
        self.head = nn.Linear(dim, len(self.tokenizer), bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        else:
            truncated_normal_(self.head.weight)

    def forward(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
        context: Tensor | None = None,
        context_lengths: Tensor | None = None,
    ) -> Tensor:
        """Returns the logits of the token that follows each.

        Args:
            tokens: Numbers of tokens, right-padded. A token sees only itself and those before, so
                padding needs no ``lengths`` unless the mixer reads the whole row.
            lengths: Real tokens of each row, (B,).
            cache: What the rows have seen before; from ``init_cache``.
            context: What the rows are about, for ``cross``.
            context_lengths: Real tokens of it, (B,); all if None.
        """
        told = {"context": context, "context_lengths": context_lengths}
        return self.head(self.features(tokens, lengths=lengths, cache=cache, **told))

    def features(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
        context: Tensor | None = None,
        context_lengths: Tensor | None = None,
    ) -> Tensor:
        """Returns the vector of each token that the head reads, (B, T, dim); arguments as of ``forward``."""
        told = {"context": context, "context_lengths": context_lengths}
        return self.through(self.embedding(tokens), lengths=lengths, cache=cache, **told)

    def through(
        self,
        x: Tensor,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
        context: Tensor | None = None,
        context_lengths: Tensor | None = None,
    ) -> Tensor:
        """Returns what positions and blocks make of embedded tokens, (B, T, dim)."""
        layout = Layout(lengths=lengths) if lengths is not None else None
        about = Layout(lengths=context_lengths) if context_lengths is not None else None
        if self.position is not None:
            x = x + self.position(self._places(x, cache))
        x, _ = self.decoder(
            self.dropout(x), layout, context=context, context_layout=about, cache=cache
        )
        return x

    @property
    def width(self) -> int:
        """Channels of the vector of a token."""
        return self.embedding.embedding_dim

    def read(
        self, tokens: Tensor, *, lengths: Tensor | None, cache: Cache, **conditions: Any
    ) -> None:
        """Takes the beginning of texts into a cache; nothing is said of what follows."""
        if tokens.shape[1]:
            self.features(tokens, lengths=lengths, cache=cache, **conditions)

    def score(self, tokens: Tensor, *, lengths: Tensor | None = None, **conditions: Any) -> Tensor:
        """Returns the log-probability of each token behind the first, 0 for padding."""
        # A causal model never sees the padding on the right, and is faster without its lengths.
        return next_token_scores(self(tokens[:, :-1], **conditions), tokens, lengths)

    def init_cache(self, batch: int, max_length: int | None = None) -> CacheGroup:
        """Returns an empty cache for ``batch`` texts."""
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
        """Continues prompts that begin with the start token; see ``headway.core.generation.generate``."""
        return self.continued(
            prompts,
            sampling=sampling,
            batch_size=batch_size,
            generator=generator,
            progress=progress,
            conditions=conditions,
        )

    def set_max_length(self, max_length: int) -> None:
        """Allows texts of another length; rotations reach any position, learned ones end where they do.

        Raises:
            UserError: If positions are learned and there are fewer.
        """
        if self.position is not None:
            self.position.cut(max_length)
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

    def _places(self, x: Tensor, cache: Cache | None) -> Tensor:
        assert self.position is not None
        places = torch.arange(x.shape[1], device=x.device)
        if cache is not None:
            return cache.lengths[:, None] + places
        if isinstance(x.shape[1], int) and x.shape[1] > self.position.length:
            raise UserError(
                f"a text of {x.shape[1]} tokens is longer than the {self.position.length} learned "
                "positions of the model; leave it out, or take a model with more"
            )
        return places
