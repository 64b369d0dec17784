"""FactFormer: the next field of a simulation."""

from functools import partial

from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import FactorizedAttention
from headway.core.positions import Rotary
from headway.core.stacks import Encoder
from headway.core.stacks.stack import BlockFactory
from headway.core.systems import system
from headway.timeseries.models.simulator import Simulator

Factorized = partial(FactorizedAttention, position=Rotary)


@system(
    id=172,
    name="FactFormer",
    paper="https://arxiv.org/abs/2305.17560",
    claim="blocks of factorised kernel integrals learn the step of a flow on a grid, which a network of "
    "single places cannot",
    test="packages/timeseries/tests/models/test_factformer.py",
)
class FactFormer(Simulator):
    """Maps fields on a grid to fields on it; ``rollout`` applies it to its own output and goes on in time.

    It adds what it computes to the last ``outputs`` channels that it read.

    Args:
        channels: Fields that it reads (several moments or quantities).
        outputs: Fields that it writes, not more than ``channels``.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixers, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forwards, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.

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
        mixer: MixerFactories = Factorized,
        feedforward: FeedForwardFactory = MLP,
        block: BlockFactory = PreNormBlock,
    ) -> None:
        super().__init__()
        if not 1 <= outputs <= channels:
            raise UserError(f"outputs {outputs} must lie between 1 and channels {channels}")
        self.channels, self.outputs = channels, outputs
        self.embedding = nn.Linear(channels, dim)
        self.encoder = Encoder(dim, depth, heads, mixer=mixer, feedforward=feedforward, block=block)
        self.head = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the next fields."""
        if x.ndim < 3 or x.shape[1] != self.channels:
            raise UserError(
                f"this FactFormer reads fields (B, {self.channels}, *grid), got {tuple(x.shape)}"
            )
        grid = tuple(x.shape[2:])
        tokens = self.embedding(x.flatten(2).transpose(1, 2))
        tokens, _ = self.encoder(tokens, Layout(grid=grid))
        change = self.head(tokens).transpose(1, 2).unflatten(2, grid)
        return x[:, -self.outputs :] + change

    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the fields after the last frames; the model reads ``channels / outputs`` of them.

        Shape:
            frames: (B, T, outputs, *grid). Output: (B, outputs, *grid).
        """
        reads = self.channels // self.outputs
        if frames.shape[1] < reads or self.channels % self.outputs:
            raise UserError(
                f"this FactFormer reads {self.channels} channels, which is not a number of whole frames of "
                f"{self.outputs} fields up to the {frames.shape[1]} given"
            )
        return self(frames[:, -reads:].flatten(1, 2))
