"""Windows of a Swin that detection tokens pass through, with the same weights."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import WindowAttention
from headway.core.mixers.softmax.scores import attend, split_heads
from headway.core.positions import NormalizedSinusoidalPosition


class ReconfiguredAttention(WindowAttention):
    """Patches attend within windows; tokens in front of them attend to each other, or to all patches, too.

    All share queries, keys, values and projection. Positions of the tokens in front are ``layout.embedding``,
    projected here; those of the patches that they read are sines of rows and columns. Patches see patches
    alone, so a Swin without such tokens is what it was.

    Args:
        dim: Channels of a token.
        heads: Heads.
        window: Side of a window, or (height, width), in tokens.
        shift: By how many tokens the windows are moved.
        cross: Whether tokens in front read the patches; published in the last stage alone.
        position_dim: Channels of the positions of tokens in front.
        qkv_bias: Whether queries, keys and values have a learned bias.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, prefix + H * W, dim). Output: the same.

    Raises:
        UserError: If there are tokens in front without positions.

    Source:
        Song et al. 2021 (ViDT), https://arxiv.org/abs/2110.03921, section 3.1.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"prefix", "embedding"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        window: int | Sequence[int] = 7,
        shift: int | Sequence[int] = 0,
        cross: bool = False,
        position_dim: int = 256,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            window=window,
            shift=shift,
            qkv_bias=qkv_bias,
            dropout=dropout,
            out_dropout=out_dropout,
        )
        self.placing = nn.Linear(position_dim, dim)
        self.patch_position = NormalizedSinusoidalPosition(dim) if cross else None

    def mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Attends within windows, and from the tokens in front."""
        front, patches = x[:, : layout.prefix], x[:, layout.prefix :]
        own = layout.replace(prefix=0, embedding=None)
        out = super().mix(patches, own)
        if not layout.prefix:
            return out
        if layout.embedding is None:
            raise UserError(
                "ReconfiguredAttention needs embedding= in the Layout, positions of the tokens in front"
            )
        query, key, value = self.qkv(front + self.placing(layout.embedding)).chunk(3, dim=-1)
        if self.patch_position is not None:
            place = self.patch_position(own, patches.shape[1]).to(patches)
            _, keys, values = self.qkv(patches + place).chunk(3, dim=-1)
            key, value = torch.cat([keys, key], dim=1), torch.cat([values, value], dim=1)
        query, key, value = split_heads(self.head_dim, query, key, value)
        found = attend(self, query, key, value, self.dropout, {})
        found = self.out_dropout(self.projection(found.transpose(1, 2).flatten(2)))
        return torch.cat([found, out], dim=1)
