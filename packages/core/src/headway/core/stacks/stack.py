"""What encoder and decoder share: a list of blocks and a final norm."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from headway.core.blocks.block import Block, MixerFactories, MixerFactory
from headway.core.cache import Cache, CacheGroup
from headway.core.errors import UserError
from headway.core.feedforward import FeedForward
from headway.core.layout import Layout
from headway.core.mixers.base import last_tokens
from headway.core.resample.base import Resampler
from headway.core.sublayer import Sublayer
from headway.core.taps import tap


def depth_rates(rate: float | Sequence[float], depth: int) -> list[float]:
    """Returns the rates of stochastic depth, rising linearly from 0 to ``rate``, or as they are given.

    Raises:
        UserError: If rates are given, but not one for each block.
    """
    if isinstance(rate, Sequence):
        if len(rate) != depth:
            raise UserError(
                f"drop_path has {len(rate)} rates for {depth} blocks; give one for each"
            )
        return list(rate)
    return [rate * place / max(1, depth - 1) for place in range(depth)]


def mixer_for(mixer: MixerFactories, place: int) -> MixerFactory:
    """Returns the mixer of a block: a sequence is cycled over the depth."""
    if isinstance(mixer, Sequence):
        if not mixer:
            raise UserError("the sequence of mixers is empty; name at least one")
        return mixer[place % len(mixer)]
    return mixer


class Stack(Sublayer):
    """Blocks one after the other, and a norm at the end.

    Args:
        blocks: The blocks, in order; the same block may stand in several places.
        norm: The norm at the end; none if None.
        checkpointing: Whether to recompute blocks in the backward pass instead of keeping what they
            computed: less memory, about a third more time.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        norm: nn.Module | None = None,
        *,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if not blocks:
            raise UserError("a stack needs at least one block; give depth of at least 1")
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.checkpointing = checkpointing

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Layout | None]:
        """Runs the blocks and the norm.

        Padding is set to zero on the way in: whatever it held, even NaN, changes neither results nor
        gradients.
        """
        x = zero_padding(x, layout)
        context = zero_padding(context, context_layout) if context is not None else None
        tap(self, "input", x)
        for place, block in enumerate(self.blocks):
            x, layout = self.recomputed(block)(
                x,
                layout,
                context=context,
                context_layout=context_layout,
                bias=bias,
                mask=mask,
                cache=cast(CacheGroup, cache)[place] if cache is not None else None,
            )
        return (self.norm(x) if self.norm is not None else x), layout

    def last(
        self, x: Tensor, layout: Layout | None = None, *, cache: Cache | None = None
    ) -> Tensor:
        """Returns what it makes of the last token of each row, (B, C); the last block computes no others.

        Args:
            x: Tokens, with padding on the right alone.
            layout: Of the tokens; ``lengths`` where there is padding.
            cache: Of ``init_cache``; changed as by a whole pass.
        """
        x = zero_padding(x, layout)
        tap(self, "input", x)
        caches = [None] * len(self.blocks) if cache is None else list(cast(CacheGroup, cache))
        for block, one in zip(self.blocks[:-1], caches, strict=False):
            x, layout = block(x, layout, cache=one)
        block = self.blocks[-1]
        if isinstance(block, Block):
            x = block.last(x, layout, cache=caches[-1])
        else:
            x = last_tokens(block(x, layout, cache=caches[-1])[0], layout)
        return (self.norm(x) if self.norm is not None else x)[:, 0]

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many of so many tokens leave it at least, (B,); all, where nothing merges them."""
        return lengths

    def recomputed(self, block: nn.Module) -> Callable[..., Any]:
        """Returns what runs a block: itself, or its recomputation where checkpointing is on."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return partial(checkpoint, block, use_reentrant=False)
        return block

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> CacheGroup:
        """Returns one cache for each application of a block (shared blocks get several).

        Raises:
            UserError: If a part of a block cannot run step by step.
        """
        for module in self.modules():
            if isinstance(module, FeedForward) and not module.stepwise:
                raise UserError(
                    f"{type(module).__name__} cannot run step by step: it needs all tokens at once; "
                    "undo it (unmerge_model) before a cache is used"
                )
            if isinstance(module, Resampler):
                raise UserError(
                    f"{type(module).__name__} changes the number of tokens and cannot run step by step; "
                    "build the stack without it"
                )
        return CacheGroup(
            [
                cast(CacheGroup, block.init_cache(batch, max_length, dtype, device))  # pyright: ignore[reportCallIssue]
                for block in self.blocks
            ]
        )


def zero_padding(x: Tensor, layout: Layout | None) -> Tensor:
    """Returns ``x`` with zeros where a token is padding."""
    mask = layout.token_mask(x.shape[1]) if layout is not None else None
    return x if mask is None else x.masked_fill(~mask[..., None], 0.0)
