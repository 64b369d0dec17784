"""What stands around the kernel integrals of FactFormer: positions, blocks and the march through time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.blocks.residual import NormFactory, PreNorm
from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import FactorizedAttention
from headway.core.module import Module
from headway.core.sublayer import Sublayer
from headway.timeseries.layers.torch_norm import TorchLayerNorm


class FourierPlaces(Module):
    """Tokens of the positions of a grid: sines and cosines of random frequencies, and a linear layer.

    A position is its share of each axis, so a finer grid has the same tokens in the same positions.

    Args:
        dim: Channels of a token, an even number.
        axes: Axes of the grid.
        scale: Standard deviation of the frequencies, in periods over an axis.

    Shape:
        Output: (N, dim), last axis of the grid fastest.

    Source:
        Tancik et al. 2020, https://arxiv.org/abs/2006.10739; Li et al. 2023,
        https://arxiv.org/abs/2305.17560, whose code has a scale of 1 for Darcy flow.
    """

    frequencies: Tensor

    def __init__(self, dim: int, axes: int, *, scale: float = 1.0) -> None:
        super().__init__()
        if dim % 2:
            raise UserError(f"dim {dim} must be even: half of the channels are sines, half cosines")
        self.register_buffer("frequencies", scale * torch.randn(axes, dim // 2))
        self.projection = nn.Linear(dim, dim)

    def forward(self, grid: tuple[int, ...]) -> Tensor:
        """Returns the tokens."""
        sides = [
            torch.arange(side, device=self.frequencies.device, dtype=self.frequencies.dtype) / side
            for side in grid
        ]
        positions = torch.stack(torch.meshgrid(sides, indexing="ij"), dim=-1).flatten(0, -2)
        angles = 2 * torch.pi * positions @ self.frequencies
        return self.projection(torch.cat([angles.sin(), angles.cos()], dim=-1))


class KernelBlock(Sublayer):
    """Adds the positions to the stream, then what the mixer makes of it; a feed-forward only if asked for.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds a feed-forward, ``(dim)``; none if None, as published.
        norm: Builds the norms, ``(dim)``.
        places: Builds the tokens of the places, ``(dim, axes)``; none if None.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim) on a grid. Output: (B, N, dim) and the layout.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2305.17560, section 3.3 and its code.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory = FactorizedAttention,
        feedforward: FeedForwardFactory | None = None,
        norm: NormFactory = TorchLayerNorm,
        places: Callable[[int, int], nn.Module] | None = FourierPlaces,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        function = mixer(dim, heads)
        options: Any = {"norm": norm, "layer_scale": layer_scale, "drop_path": drop_path}
        axes = int(getattr(function, "axes", 2))
        self.places = places(dim, axes) if places is not None else None
        self.mixer = PreNorm(dim, function, **options)
        self.feedforward = (
            PreNorm(dim, feedforward(dim), **options) if feedforward is not None else None
        )

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
        """Runs the block."""
        if self.places is not None:
            grid = layout.grid if layout is not None and layout.grid is not None else (x.shape[1],)
            x = x + self.places(grid)
        x, layout = self.mixer(x, layout, bias=bias, mask=mask)
        return self.feedforward(x, layout) if self.feedforward is not None else (x, layout)


class LatentMarch(Module):
    """Goes on in time among the hidden channels, and writes a frame after each step.

    Args:
        dim: Channels of a token.
        outputs: Fields of a frame.
        steps: Frames that it can write; each has an embedding of its own.
        expansion: Hidden channels as a multiple of ``dim``.
        groups: Groups of the first layer that writes; ``expansion`` times as many normalise.

    Shape:
        x: (B, N, dim). Output: (B, steps, N, outputs).

    Raises:
        UserError: If more steps are asked for than there are embeddings, or groups do not divide ``dim``.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2305.17560, section 3.3.
    """

    def __init__(
        self, dim: int, outputs: int, *, steps: int = 1, expansion: int = 2, groups: int = 8
    ) -> None:
        super().__init__()
        if steps < 1 or expansion < 1 or groups < 1 or dim % groups:
            raise UserError(
                f"steps {steps} and expansion {expansion} must be at least 1, and groups {groups} must "
                f"divide dim {dim}"
            )
        hidden = expansion * dim
        self.steps, self.groups = steps, expansion * groups
        self.expand = nn.Linear(dim, hidden, bias=False)
        self.times = nn.Parameter(0.02 * torch.randn(steps, hidden))
        self.advance = PreNorm(hidden, MLP(hidden, hidden_dim=dim), norm=TorchLayerNorm)
        self.gain = nn.Parameter(torch.ones(hidden))
        self.offset = nn.Parameter(torch.zeros(hidden))
        self.write = nn.Sequential(
            nn.Conv1d(hidden, dim, 1, groups=groups, bias=False),
            nn.GELU(),
            nn.Conv1d(dim, dim // 2, 1, bias=False),
            nn.GELU(),
            nn.Conv1d(dim // 2, outputs, 1),
        )

    def forward(self, x: Tensor, steps: int = 1) -> Tensor:
        """Returns the frames."""
        if not 1 <= steps <= self.steps:
            raise UserError(f"{steps} steps asked of a march of {self.steps}; build it with more")
        x = self.expand(x)
        frames = []
        for step in range(steps):
            x, _ = self.advance(x + self.times[step])
            wide = F.group_norm(x.transpose(1, 2), self.groups, self.gain, self.offset)
            frames.append(self.write(wide).transpose(1, 2))
        return torch.stack(frames, dim=1)


class LinearStep(Module):
    """One linear layer, for one frame: headway's own choice in the place of ``LatentMarch``.

    Args:
        dim: Channels of a token.
        outputs: Fields of a frame.

    Shape:
        x: (B, N, dim). Output: (B, 1, N, outputs).
    """

    steps = 1

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.norm = TorchLayerNorm(dim)
        self.layer = nn.Linear(dim, outputs)

    def forward(self, x: Tensor, steps: int = 1) -> Tensor:
        """Returns the frame."""
        return self.layer(self.norm(x))[:, None]
