"""Self-attention of queries that come in groups, each of which detects by itself."""

from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import PositionedSelfAttention


class GroupedSelfAttention(PositionedSelfAttention):
    """``PositionedSelfAttention`` within groups of equally many queries, one behind the other.

    Args:
        dim: Channels of a token.
        heads: Heads.
        size: Queries of a group.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, groups * size, dim). Output: the same.

    Raises:
        UserError: If the tokens are no whole groups.

    Source:
        Chen et al. 2022 (Group DETR), https://arxiv.org/abs/2207.13085, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        size: int = 300,
        qkv_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            qkv_bias=qkv_bias,
            out_bias=out_bias,
            dropout=dropout,
            out_dropout=out_dropout,
        )
        self.size = size

    def mix(self, x: Tensor, layout: Layout) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Attends within groups."""
        if x.shape[1] % self.size:
            raise UserError(f"{x.shape[1]} queries are no groups of {self.size}")
        groups = x.shape[1] // self.size
        embedding = layout.embedding
        if groups > 1:
            x = x.unflatten(1, (groups, self.size)).flatten(0, 1)
            if embedding is not None:
                embedding = embedding.expand(x.shape[0] // groups, -1, -1)
                embedding = embedding.unflatten(1, (groups, self.size)).flatten(0, 1)
        out = super().mix(x, Layout(embedding=embedding), bias=None, mask=None)
        return out.unflatten(0, (-1, groups)).flatten(1, 2) if groups > 1 else out
