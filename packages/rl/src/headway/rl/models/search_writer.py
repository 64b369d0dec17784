"""Writing with an encoder-decoder: what the prompts are goes along with the rows of the cache."""

from collections.abc import Callable

import torch
from torch import Tensor

from headway.core.cache import Cache, CacheGroup
from headway.core.layout import Layout
from headway.core.stacks import Decoder


class ContextCache(Cache):
    """The encoded prompts, kept row by row beside the caches of the decoder that reads them.

    Args:
        context: What the encoder has made of the prompts, (B, M, C).
        lengths: Tokens of each prompt, (B,).
    """

    def __init__(self, context: Tensor, lengths: Tensor) -> None:
        self.context, self.lengths = context, lengths

    def reset(self, rows: Tensor | None = None) -> None:
        """Does nothing: a row that begins anew writes about the same prompt."""

    def select(self, rows: Tensor) -> None:
        """Keeps the given rows in the given order."""
        self.context, self.lengths = self.context[rows], self.lengths[rows]


class SearchWriter:
    """A ``CausalModel`` for ``generate``: one row for each prompt, in their order.

    Args:
        decoder: Writes; reads the prompts by cross-attention.
        embed: Embeds tokens.
        logits: Says what comes next.
        context: What the encoder has made of the prompts, (B, M, C).
        lengths: Tokens of each prompt, (B,).
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        embed: Callable[[Tensor], Tensor],
        logits: Callable[[Tensor], Tensor],
        context: Tensor,
        lengths: Tensor,
    ) -> None:
        self.decoder, self.embed, self.logits = decoder, embed, logits
        self.context, self.lengths = context, lengths

    def init_cache(self, batch: int, max_length: int) -> CacheGroup:
        """Returns an empty cache of the decoder, and the prompts beside it."""
        cache = self.decoder.init_cache(batch, max_length, self.context.dtype, self.context.device)
        return CacheGroup(
            {"decoder": cache, "context": ContextCache(self.context[:batch], self.lengths[:batch])}
        )

    def __call__(self, tokens: Tensor, *, cache: Cache | None = None) -> Tensor:
        """Returns the logits (B, T, V) of what follows each token (B, T)."""
        assert isinstance(cache, CacheGroup)
        prompts = cache["context"]
        assert isinstance(prompts, ContextCache)
        x, _ = self.decoder(
            self.embed(tokens),
            context=prompts.context,
            context_layout=Layout(lengths=prompts.lengths),
            cache=cache["decoder"],
        )
        return self.logits(x)


def padded(rows: list[list[int]], padding: int, device: torch.device | None = None) -> Tensor:
    """Returns rows of tokens as one tensor, filled up on the right."""
    longest = max(map(len, rows))
    return torch.tensor([row + [padding] * (longest - len(row)) for row in rows], device=device)
