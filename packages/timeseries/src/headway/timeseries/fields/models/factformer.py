"""FactFormer: the next fields of a simulation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import FactorizedAttention
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.timeseries.fields.layers.kernel_block import KernelBlock, LatentMarch
from headway.timeseries.fields.models.simulator import Simulator
from headway.timeseries.layers.torch_norm import TorchLayerNorm


@system(
    id=172,
    name="FactFormer",
    paper="https://arxiv.org/abs/2305.17560",
    claim="blocks of factorised kernel integrals learn the step of a flow on a grid, which a network of "
    "single positions cannot, and give the same field on a finer grid",
    test="packages/timeseries/tests/fields/models/test_factformer.py",
)
class FactFormer(Simulator):
    """Maps fields on a grid to fields on it; ``rollout`` applies it to its own output and goes on in time.

    It equals the authors' network for time-dependent flows but for the starting weights, for the average
    in ``FactorizedAttention`` and for the positions of the grid: theirs run over (0, 2 pi) or (0, 1), ends
    included, these are shares of an axis that goes round.

    Args:
        channels: Fields that it reads (several moments or quantities).
        outputs: Fields that it writes, not more than ``channels``.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixers, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forwards, ``(dim)``; none if None, as published.
        block: Builds a block, ``(dim, heads, ...)``.
        head: Builds what writes frames, ``(dim, outputs)``: ``LatentMarch`` with as many ``steps`` as
            training asks for, or ``LinearStep``.
        change: Whether the head writes the change against the last ``outputs`` channels that were read,
            not the fields themselves.

    Shape:
        x: (B, channels, *grid). Output: (B, outputs, *grid).

    Raises:
        UserError: If more is written than read.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2305.17560.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        outputs: int = 1,
        dim: int = 64,
        depth: int = 4,
        heads: int = 4,
        mixer: MixerFactories = FactorizedAttention,
        feedforward: FeedForwardFactory | None = None,
        block: BlockFactory = KernelBlock,
        head: Callable[[int, int], nn.Module] = LatentMarch,
        change: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= outputs <= channels:
            raise UserError(f"outputs {outputs} must lie between 1 and channels {channels}")
        self.channels, self.outputs, self.change = channels, outputs, change
        self.embedding = nn.Linear(channels, dim)
        function: Any = feedforward  # a KernelBlock may have none
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=function,
            block=block,
            norm=TorchLayerNorm,
            final_norm=False,
        )
        self.head = head(dim, outputs)

    def march(self, x: Tensor, steps: int = 1) -> Tensor:
        """Returns the next frames without reading any of them again.

        Shape:
            x: (B, channels, *grid). Output: (B, steps, outputs, *grid).
        """
        if x.ndim < 3 or x.shape[1] != self.channels:
            raise UserError(
                f"this FactFormer reads fields (B, {self.channels}, *grid), got {tuple(x.shape)}"
            )
        grid = tuple(x.shape[2:])
        tokens = self.embedding(x.flatten(2).transpose(1, 2))
        tokens, _ = self.encoder(tokens, Layout(grid=grid))
        frames = self.head(tokens, steps).transpose(2, 3).unflatten(3, grid)
        return x[:, None, -self.outputs :] + frames if self.change else frames

    def forward(self, x: Tensor) -> Tensor:
        """Returns the next fields."""
        return self.march(x)[:, 0]

    def known(self, frames: Tensor) -> Tensor:
        """Returns what the model reads of a film: its last ``channels / outputs`` frames."""
        reads = self.channels // self.outputs
        if frames.shape[1] < reads or self.channels % self.outputs:
            raise UserError(
                f"this FactFormer reads {self.channels} channels, which is not a number of whole frames of "
                f"{self.outputs} fields up to the {frames.shape[1]} given"
            )
        return frames[:, -reads:].flatten(1, 2)

    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the fields after the last frames.

        Shape:
            frames: (B, T, outputs, *grid). Output: (B, outputs, *grid).
        """
        return self(self.known(frames))

    def rollout(self, frames: Tensor, steps: int, conditions: Tensor | None = None) -> Tensor:
        """Returns the frames that follow; as many at once as the head marches."""
        if steps < 1:
            raise UserError(f"steps is {steps}; ask for at least 1 frame")
        at_once: int = getattr(self.head, "steps", 1)
        found: list[Tensor] = []
        while len(found) < steps:
            following = self.march(self.known(frames), min(at_once, steps - len(found)))
            found += following.unbind(1)
            frames = torch.cat([frames, following], dim=1)
        return torch.stack(found, dim=1)
