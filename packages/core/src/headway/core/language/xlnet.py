"""XLNet: an encoder that says tokens in any order, by a second stream that does not see what it says."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.init import truncated_normal_
from headway.core.language.encoder import EncoderLanguageModel, EncoderOptions, TokenHead
from headway.core.language.text_embedding import TextEmbedding
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.passed import Passed
from headway.core.positions import RelativeSinusoidal
from headway.core.systems import system

PlainTokens = partial(TextEmbedding, position=None, norm=None)
RelativeEncoding = partial(
    SelfAttention, position=RelativeSinusoidal, qkv_bias=False, out_bias=False
)


class _BesideXLNet(EncoderOptions, total=False):
    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]


@system(
    id=None,
    name="XLNet",
    paper="https://arxiv.org/abs/1906.08237",
    claim="a token is said from any others by a stream that never sees it; equal to transformers' with "
    "copied weights",
    test="packages/core/tests/weights/test_xlnet.py",
)
class XLNet(EncoderLanguageModel):
    """Relative positions, a norm behind each sum, and two streams where tokens are said in any order.

    Called as every encoder is, all tokens see each other. ``say`` runs both streams in one pass: a text and,
    beside it, one query for each place that knows the place alone and sees the text, with the same weights.

    Args:
        embedding: As of every ``EncoderLanguageModel``.
        mixer: As of every ``EncoderLanguageModel``.
        block: As of every ``EncoderLanguageModel``.
        final_norm: As of every ``EncoderLanguageModel``.
        head: As of every ``EncoderLanguageModel``.
        **options: As of every ``EncoderLanguageModel``.

    Source:
        Yang et al. 2019, https://arxiv.org/abs/1906.08237, section 2.3.
    """

    def __init__(
        self,
        *,
        embedding: Callable[[int, int, int], TextEmbedding] = PlainTokens,
        mixer: MixerFactories = RelativeEncoding,
        block: BlockFactory = PostNormBlock,
        final_norm: bool = False,
        head: Callable[[int, int], TokenHead] = TokenHead,
        **options: Passed[_BesideXLNet],
    ) -> None:
        parts = {"embedding": embedding, "mixer": mixer, "block": block, "head": head}
        super().__init__(final_norm=final_norm, **parts, **options)
        self.query = nn.Parameter(truncated_normal_(torch.empty(self.width)))

    def say(self, tokens: Tensor, seen: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits of each token, (B, T, V), from those that it sees, never from itself.

        Args:
            tokens: Numbers of tokens, right-padded; what nobody sees may be any.
            seen: Whether token i sees token j, for an order in which the tokens are said: those before it.
                A token that sees none is said from the place alone.
            lengths: Real tokens of each row, (B,); all if None.

        Shape:
            tokens: (B, T) int64. seen: (B or 1, T, T) bool. Output: (B, T, V).
        """
        rows, count = tokens.shape
        own = torch.eye(count, dtype=torch.bool, device=tokens.device)
        if lengths is not None:
            real = torch.arange(count, device=tokens.device) < lengths[:, None]
            seen = seen & real[:, None, :]
        of_text, of_queries = seen | own, seen & ~own
        # Nobody sees the queries.
        mask = torch.cat([of_text, of_queries], dim=1)
        mask = torch.cat([mask, torch.zeros_like(mask)], dim=2)
        places = torch.arange(count, device=tokens.device).repeat(2)[None, :, None]
        text = self.embedding(tokens, lengths)
        both = torch.cat([text, self.query.to(text.dtype).expand(rows, count, -1)], dim=1)
        x, _ = self.encoder(both, Layout(positions=places), mask=mask[:, None])
        return self.head(x[:, count:])
