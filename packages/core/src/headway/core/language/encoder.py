"""The encoder as a model of texts: every token sees all others."""

from collections.abc import Callable, Sequence
from typing import ClassVar, TypedDict

from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.feedforward import GELU, MLP
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.language.text import TextModel
from headway.core.language.text_embedding import TextEmbedding
from headway.core.language.tokenizer import NumberedTokens, Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder


class TokenHead(Module):
    """Says which token stands in each place: a logit for each token.

    Args:
        dim: Channels of a token.
        size: Tokens of the vocabulary.
        bias: Whether each token has one.

    Shape:
        x: (B, T, dim). Output: (B, T, size).
    """

    def __init__(self, dim: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.decoder = nn.Linear(dim, size, bias=bias)
        truncated_normal_(self.decoder.weight)
        if bias:
            nn.init.zeros_(self.decoder.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.decoder(x)


class MaskedHead(TokenHead):
    """Says which token stands in each place: a layer with a norm, and a logit for each token.

    Args:
        dim: Channels of a token.
        size: Tokens of the vocabulary.
        activation: Class of the activation of the layer.
        norm: Builds the norm behind it, ``(dim)``.
        bias: Whether the layer learns a bias.
        out_bias: Whether each token has one.

    Shape:
        x: (B, T, dim). Output: (B, T, size).

    Source:
        Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.1; the layer in front is that of the
        released code.
    """

    def __init__(
        self,
        dim: int,
        size: int,
        *,
        activation: Callable[[], nn.Module] = GELU,
        norm: Callable[[int], nn.Module] = LayerNorm,
        bias: bool = True,
        out_bias: bool = True,
    ) -> None:
        super().__init__(dim, size, bias=out_bias)
        self.dense = nn.Linear(dim, dim, bias=bias)
        self.activation = activation()
        self.norm = norm(dim)
        truncated_normal_(self.dense.weight)
        if bias:
            nn.init.zeros_(self.dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.decoder(self.norm(self.activation(self.dense(x))))


class EncoderOptions(TypedDict, total=False):
    """What every encoder of texts with parts of its own passes on; it adds the parts of others."""

    tokenizer: Tokenizer | None
    dim: int
    depth: int
    heads: int
    max_length: int
    tied: bool
    drop_path: float


class EncoderLanguageModel(TextModel):
    """Says what a token of a text is from all others; hidden ones are those that it was trained on.

    BERT, RoBERTa, ESM-2 and ModernBERT are such models with parts of their own.

    Args:
        tokenizer: What the tokens mean; ``usual_tokenizer`` if None.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        max_length: Most tokens of a text, start and end included. Where positions are learned there are no
            others.
        embedding: Builds what makes vectors of tokens, ``(size, dim, max_length)``.
        mixer: Builds the token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        final_norm: Whether a norm ends the stack.
        head: Builds the head, ``(dim, size)``.
        tied: Whether the head shares the weights of the embedding.
        drop_path: Rate of stochastic depth of the last block.

    Attributes:
        usual_tokenizer: Made where none is given: numbers without a meaning, in a domain what its texts are.

    Shape:
        tokens: (B, T) int64. Output: logits (B, T, V) of what stands in each place.

    Source:
        Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.
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
        embedding: Callable[[int, int, int], TextEmbedding] = TextEmbedding,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        final_norm: bool = True,
        head: Callable[[int, int], TokenHead] = MaskedHead,
        tied: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(self.usual_tokenizer() if tokenizer is None else tokenizer, max_length)
        self.tied = tied
        self.embedding = embedding(len(self.tokenizer), dim, max_length)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=final_norm,
            drop_path=drop_path,
        )
        init_transformer_(self.encoder)
        self.head = head(dim, len(self.tokenizer))
        if tied:
            self.head.decoder.weight = self.embedding.token.weight

    def forward(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits of what stands in each place.

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row, (B,); all if None.
        """
        return self.head(self.features(tokens, lengths=lengths))

    def features(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the vector of each token that the head reads, (B, T, dim); arguments as of ``forward``."""
        layout = Layout(lengths=lengths) if lengths is not None else None
        x, _ = self.encoder(self.embedding(tokens, lengths), layout)
        return x

    @property
    def width(self) -> int:
        """Channels of the vector of a token."""
        return self.embedding.token.embedding_dim

    def set_max_length(self, max_length: int) -> None:
        """Allows texts of another length; rotations reach any position, learned ones end where they do.

        Raises:
            UserError: If positions are learned and there are fewer.
        """
        self.embedding.cut(max_length)
        self.max_length = self.init_args["max_length"] = max_length

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them.

        Args:
            vocabulary: The new tokens; the special ones stay at their numbers.
        """
        old, new = self.tokenizer, self.tokenizer.with_vocabulary(vocabulary)
        self.tokenizer = self.init_args["tokenizer"] = new
        renumber(self.embedding.token, old, new)
        renumber(self.head.decoder, old, new)
        if self.tied:
            self.head.decoder.weight = self.embedding.token.weight
