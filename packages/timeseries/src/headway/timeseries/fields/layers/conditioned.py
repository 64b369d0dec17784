"""Blocks of the PDE-Transformer: windows, channels, and what is known of the equation."""

from torch import Tensor, nn

from headway.core.blocks import ConditionedBranch
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.layout import Layout
from headway.core.module import Module


class FieldBlock(Module):
    """Windows within each field, attention among the fields at each position, a feed-forward.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        mixer: Builds the mixer of the positions, ``(dim, heads)``.
        fields: Builds the mixer of the fields, ``(dim, heads)``; None where all fields share their tokens.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        x: (B, C, N, dim), C fields of N positions. condition: (B, dim). Output: the same as x.

    Source:
        Holzschuh et al. 2025, https://arxiv.org/abs/2505.24717, section 3.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory,
        fields: MixerFactory | None,
        feedforward: FeedForwardFactory,
    ) -> None:
        super().__init__()
        self.mixer = ConditionedBranch(dim, mixer(dim, heads))
        self.fields = None if fields is None else ConditionedBranch(dim, fields(dim, heads))
        self.feedforward = ConditionedBranch(dim, feedforward(dim))

    def forward(self, x: Tensor, condition: Tensor, layout: Layout) -> Tensor:
        """Mixes positions, then fields, and transforms."""
        items, fields, positions = x.shape[:3]
        own = condition.repeat_interleave(fields, dim=0)
        x = self.mixer(x.flatten(0, 1), own, layout).unflatten(0, (items, fields))
        if self.fields is not None:
            across = x.transpose(1, 2).flatten(0, 1)
            across = self.fields(across, condition.repeat_interleave(positions, dim=0), Layout())
            x = across.unflatten(0, (items, positions)).transpose(1, 2)
        return self.feedforward(x.flatten(0, 1), own, layout).unflatten(0, (items, fields))


class PatchExpanding(Module):
    """One token becomes 2 x 2 of half the channels.

    Args:
        dim: Channels that it reads, even.

    Shape:
        x: (B, H * W, dim) on ``grid``. Output: (B, 4 * H * W, dim / 2).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Expands."""
        pieces = self.projection(x).unflatten(1, grid).unflatten(3, (2, 2, -1))
        # (B, H, W, 2, 2, C) to rows and columns of the finer grid.
        return pieces.transpose(2, 3).flatten(1, 4)


def patches_of(x: Tensor, patch: int) -> Tensor:
    """Returns the positions of each patch of (B, H, W) fields, (B, H / patch, W / patch, patch ** 2)."""
    cut = x.unflatten(1, (-1, patch)).unflatten(3, (-1, patch))
    return cut.transpose(2, 3).flatten(3)


def fields_of(patches: Tensor, patch: int) -> Tensor:
    """Returns what ``patches_of`` cut, whole again, (B, H, W)."""
    return patches.unflatten(3, (patch, patch)).transpose(2, 3).flatten(3).flatten(1, 2)
