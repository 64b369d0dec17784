"""An encoder that uses few blocks many times."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks.adapted import BottleneckAdapter
from headway.core.cache import Cache, CacheGroup
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.passed import Passed
from headway.core.stacks.encoder import Encoder, EncoderStackOptions
from headway.core.sublayer import Sublayer
from headway.core.systems import system


class Use(Sublayer):
    """One use of a block, with an adapter behind it.

    Args:
        block: The block; other uses share it.
        adapter: What is learned for this use alone, on a branch; none if None.
    """

    def __init__(self, block: nn.Module, adapter: nn.Module | None) -> None:
        super().__init__()
        self.block, self.adapter = block, adapter

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
        """Runs the block and adds what the adapter makes of its tokens."""
        x, layout = self.block(
            x,
            layout,
            context=context,
            context_layout=context_layout,
            bias=bias,
            mask=mask,
            cache=cache,
        )
        return (x if self.adapter is None else x + self.adapter(x, layout)), layout

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> CacheGroup:
        """Returns the cache of this use."""
        block: Any = self.block
        return block.init_cache(batch, max_length, dtype, device)


@system(
    id=497,
    name="BRST",
    paper="https://arxiv.org/abs/2303.13072",
    claim="a block used again with a small adapter of each use's own does more than one used again as it is",
    test="packages/core/tests/parts/test_reusing_encoder.py",
)
class ReusingEncoder(Encoder):
    """Few blocks, each used several times in a row, with an adapter of its own behind every use.

    The parameters are those of ``unique`` blocks and of ``depth`` adapters. With ``unique`` 1 and no
    adapter it is the encoder of the Universal Transformer (without halting).

    Args:
        dim: Channels of a token.
        depth: Number of uses.
        heads: Heads of the mixers.
        unique: Number of blocks; it divides ``depth``.
        adapter: Builds the adapter of a use, ``(dim)``; none if None.
        **encoder: As of every ``Encoder``: mixer, feedforward, norm, block, final_norm, drop_path ...

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Raises:
        UserError: If ``unique`` does not divide ``depth``.

    Source:
        Tang et al. 2023, https://arxiv.org/abs/2303.13072, from its abstract: which block is used when, and
        the inside of the adapter, are our choice.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        unique: int = 1,
        adapter: Callable[[int], nn.Module] | None = BottleneckAdapter,
        **encoder: Passed[EncoderStackOptions],
    ) -> None:
        if unique < 1 or depth % unique:
            raise UserError(f"{unique} blocks cannot be used as often as each other in {depth}")
        super().__init__(dim, unique, heads, **encoder)
        self.blocks = nn.ModuleList(
            Use(block, adapter(dim) if adapter is not None else None)
            for block in self.blocks
            for _ in range(depth // unique)
        )
