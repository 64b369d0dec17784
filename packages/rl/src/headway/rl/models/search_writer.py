"""Writing with an encoder-decoder: ``generate`` lets the encoded prompts go along with the rows."""

from collections.abc import Callable

import torch
from torch import Tensor

from headway.core.cache import Cache, CacheGroup
from headway.core.layout import Layout
from headway.core.stacks import Decoder


class SearchWriter:
    """A ``CausalModel`` for ``generate``, whose conditions are what the encoder has made of the prompts.

    Args:
        decoder: Writes; reads the prompts by cross-attention.
        embed: Embeds tokens.
        logits: Says what comes next.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        embed: Callable[[Tensor], Tensor],
        logits: Callable[[Tensor], Tensor],
    ) -> None:
        self.decoder, self.embed, self.logits = decoder, embed, logits

    def init_cache(self, batch: int, max_length: int) -> CacheGroup:
        """Returns an empty cache of the decoder."""
        return self.decoder.init_cache(batch, max_length)

    def __call__(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
        context: Tensor | None = None,
        context_lengths: Tensor | None = None,
    ) -> Tensor:
        """Returns the logits (B, T, V) of what follows each token (B, T)."""
        x, _ = self.decoder(
            self.embed(tokens),
            None if lengths is None else Layout(lengths=lengths),
            context=context,
            context_layout=Layout(lengths=context_lengths),
            cache=cache,
        )
        return self.logits(x)


def padded(rows: list[list[int]], padding: int, device: torch.device | None = None) -> Tensor:
    """Returns rows of tokens as one tensor, filled up on the right."""
    longest = max(map(len, rows))
    return torch.tensor([row + [padding] * (longest - len(row)) for row in rows], device=device)
