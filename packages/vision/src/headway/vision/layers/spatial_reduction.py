"""Blocks that see the map of their tokens: attention to a smaller map, a feed-forward with a convolution."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.drop_path import DropPath
from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.norms import LayerNorm

EPS = 1e-5


class SpatialReductionAttention(Module):
    """Attention whose keys and values come from a map that a strided convolution has made smaller.

    Args:
        dim: Channels.
        heads: Heads.
        reduction: How many times shorter the sides of the map of keys are; 1 is plain attention.

    Shape:
        maps: (B, dim, H, W), H and W at least ``reduction``. Output: the same.

    Raises:
        UserError: If heads do not divide ``dim`` or the reduction is below 1.

    Source:
        Wang et al. 2021, https://arxiv.org/abs/2102.12122; Xie et al. 2021, https://arxiv.org/abs/2105.15203.
    """

    def __init__(self, dim: int, *, heads: int, reduction: int = 1) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise UserError(f"heads is {heads}; it must be at least 1 and divide dim, {dim}")
        if reduction < 1:
            raise UserError(f"reduction is {reduction}; it must be at least 1")
        self.heads = heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.reduce = nn.Conv2d(dim, dim, reduction, reduction) if reduction > 1 else None
        self.norm = LayerNorm(dim, eps=EPS) if reduction > 1 else None

    def forward(self, maps: Tensor) -> Tensor:
        """Mixes the tokens of each map."""
        seen = tokens(maps)
        if self.reduce is not None and self.norm is not None:
            seen = self.norm(tokens(self.reduce(maps)))
        query, key, value = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(tokens(maps)), self.key(seen), self.value(seen))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return as_maps(self.out(mixed.transpose(1, 2).flatten(2)), maps)


class MixFeedForward(Module):
    """A feed-forward with a 3x3 convolution of each channel, which tells tokens where they are.

    Args:
        dim: Channels.
        ratio: Width of the hidden layer in multiples of ``dim``.

    Shape:
        maps: (B, dim, H, W). Output: the same.

    Source:
        Xie et al. 2021, https://arxiv.org/abs/2105.15203.
    """

    def __init__(self, dim: int, *, ratio: float = 4.0) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def forward(self, maps: Tensor) -> Tensor:
        """Transforms each token, knowing its neighbours."""
        hidden = self.conv(as_maps(self.fc1(tokens(maps)), maps))
        return as_maps(self.fc2(F.gelu(tokens(hidden))), maps)


class MixBlock(Module):
    """Attention with spatial reduction, then a feed-forward with a convolution, each behind a norm.

    Args:
        dim: Channels.
        heads: Heads.
        reduction: As of ``SpatialReductionAttention``.
        ratio: As of ``MixFeedForward``.
        drop_path: Rate of stochastic depth.

    Shape:
        maps: (B, dim, H, W). Output: the same.
    """

    def __init__(
        self, dim: int, *, heads: int, reduction: int, ratio: float = 4.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(dim, eps=EPS), LayerNorm(dim, eps=EPS)
        self.attention = SpatialReductionAttention(dim, heads=heads, reduction=reduction)
        self.feedforward = MixFeedForward(dim, ratio=ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """Adds both branches."""
        maps = maps + self.drop_path(self.attention(as_maps(self.norm1(tokens(maps)), maps)))
        return maps + self.drop_path(self.feedforward(as_maps(self.norm2(tokens(maps)), maps)))


def tokens(maps: Tensor) -> Tensor:
    """Returns the places of maps as tokens: (B, C, H, W) to (B, HW, C)."""
    return maps.flatten(2).transpose(1, 2)


def as_maps(tokens: Tensor, like: Tensor) -> Tensor:
    """Returns tokens, (B, HW, C), as maps of the height and width of ``like``, (B, C, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, like.shape[2:])


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes maps to a height and width, bilinearly."""
    return F.interpolate(maps, size=list(size), mode="bilinear", align_corners=False)
