"""A recurrent cell whose gate is a stack of window attention."""

from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import WindowAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import mixer_for

State = tuple[Tensor, Tensor]
"""What a cell shows and what it keeps, (B, H * W, dim) each."""


class SquareWindows(WindowAttention):
    """Windows that shrink to the shorter side of a grid that is not larger, and then are not shifted at all.

    ``WindowAttention`` decides that for each axis, as published Swins do.

    Source:
        Tang et al. 2023 (SwinLSTM), https://arxiv.org/abs/2308.09891, and its code.
    """

    def windows_on(self, grid: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns window and shift on a grid."""
        side = min(grid)
        if side > min(self.window):
            return self.window, self.shift
        return (side, side), (0, 0)


Plain = partial(SquareWindows, window=4)
Shifted = partial(SquareWindows, window=4, shift=2)


class JoiningBlock(Module):
    """A pre-norm block that may read a second sequence beside its own, place by place.

    Args:
        dim: Channels of a token.
        mixer: The mixer.
        feedforward: The feed-forward.
        joins: Whether a second sequence is read.

    Shape:
        x, other: (B, N, dim). Output: the same.

    Source:
        Tang et al. 2023, https://arxiv.org/abs/2308.09891, and its code: both share the norm.
    """

    def __init__(self, dim: int, *, mixer: nn.Module, feedforward: nn.Module, joins: bool) -> None:
        super().__init__()
        self.mixer_norm, self.norm = LayerNorm(dim, eps=1e-5), LayerNorm(dim, eps=1e-5)
        self.join = nn.Linear(2 * dim, dim) if joins else None
        self.mixer, self.feedforward = mixer, feedforward

    def forward(self, x: Tensor, other: Tensor, layout: Layout) -> Tensor:
        """Joins, mixes and transforms."""
        read = self.mixer_norm(x)
        if self.join is not None:
            read = self.join(torch.cat([read, self.mixer_norm(other)], dim=2))
        x = x + self.mixer(read, layout)
        return x + self.feedforward(self.norm(x))


class SwinLSTMCell(Module):
    """An LSTM with one gate for all: forget, enter and show are decided by the same blocks.

    ``c = f * (c + tanh(F))`` and ``h = f * tanh(c)`` with ``f = sigmoid(F)`` and F the blocks of input and
    ``h``. The first block reads ``h``; of the others every second one reads the input anew.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        depth: Blocks.
        mixer: Builds the mixers, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forwards, ``(dim)``.

    Shape:
        x: (B, H * W, dim) on a grid. Output: what the cell shows, the same, and its state.

    Source:
        Tang et al. 2023, https://arxiv.org/abs/2308.09891, eq. 3 to 6.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        depth: int = 2,
        mixer: MixerFactories = (Plain, Shifted),
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            JoiningBlock(
                dim,
                mixer=mixer_for(mixer, place)(dim, heads),
                feedforward=feedforward(dim),
                joins=place % 2 == 0,
            )
            for place in range(depth)
        )

    def forward(self, x: Tensor, state: State | None, layout: Layout) -> tuple[Tensor, State]:
        """Goes one step."""
        shown, kept = state if state is not None else (torch.zeros_like(x), torch.zeros_like(x))
        mixed = x
        for place, block in enumerate(self.blocks):
            mixed = block(mixed, x if place else shown, layout)
        gate = mixed.sigmoid()
        kept = gate * (kept + mixed.tanh())
        shown = gate * kept.tanh()
        return shown, (shown, kept)


class OverlappingPatches(nn.ConvTranspose2d):
    """Tokens as a frame: each is written over its patch and one place less beyond it.

    Args:
        dim: Channels of a token.
        channels: Of the frame.
        patch: Side of a patch.

    Shape:
        x: (B, dim, H, W). Output: (B, channels, patch * H, patch * W).

    Source:
        Tang et al. 2023, https://arxiv.org/abs/2308.09891, and its code, which has patches of 2 alone.
    """

    def __init__(self, dim: int, channels: int, patch: int) -> None:
        over = patch - 1
        super().__init__(dim, channels, 2 * patch - 1, patch, padding=over, output_padding=over)


class SeparatePatches(nn.ConvTranspose2d):
    """Tokens as a frame, each its own patch: headway's own choice in the place of ``OverlappingPatches``.

    Args:
        dim: Channels of a token.
        channels: Of the frame.
        patch: Side of a patch.

    Shape:
        x: (B, dim, H, W). Output: (B, channels, patch * H, patch * W).
    """

    def __init__(self, dim: int, channels: int, patch: int) -> None:
        super().__init__(dim, channels, patch, patch)
