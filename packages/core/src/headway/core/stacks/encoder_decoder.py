"""Encoder and decoder together."""

from torch import Tensor

from headway.core.cache import Cache
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.stacks.decoder import Decoder
from headway.core.stacks.encoder import Encoder


class EncoderDecoder(Module):
    """An encoder whose output is the context of a decoder.

    Args:
        encoder: Reads the source.
        decoder: Writes the target; built with ``cross=CrossAttention``.

    Shape:
        source: (B, M, C). target: (B, N, C). Output: (B, N, C).

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.1.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, source: Tensor, layout: Layout | None = None) -> tuple[Tensor, Layout | None]:
        """Returns the context and its layout."""
        return self.encoder(source, layout)

    def decode(
        self,
        target: Tensor,
        context: Tensor,
        layout: Layout | None = None,
        context_layout: Layout | None = None,
        *,
        cache: Cache | None = None,
    ) -> Tensor:
        """Returns the decoded tokens; step by step with a cache."""
        out, _ = self.decoder(
            target, layout, context=context, context_layout=context_layout, cache=cache
        )
        return out

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        layout: Layout | None = None,
        target_layout: Layout | None = None,
    ) -> Tensor:
        """Encodes the source and decodes the target."""
        context, context_layout = self.encode(source, layout)
        return self.decode(target, context, target_layout, context_layout)
