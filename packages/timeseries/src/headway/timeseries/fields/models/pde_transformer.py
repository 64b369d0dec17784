"""PDE-Transformer: the next fields of any equation on a grid."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention, WindowAttention
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.stacks.stack import mixer_for
from headway.core.systems import system
from headway.timeseries.fields.layers.conditioned import FieldBlock, PatchExpanding
from headway.timeseries.fields.layers.field_tokens import FieldTokens, SeparateFields
from headway.timeseries.fields.models.simulator import Simulator

Plain = partial(WindowAttention, window=8)
Shifted = partial(WindowAttention, window=8, shift=4)


@system(
    id=414,
    name="PDE-Transformer",
    paper="https://arxiv.org/abs/2505.24717",
    claim="after its idea, not its network: separate tokens for each field, any number in any "
    "order, joined by attention among them; what is known of the equation enters every norm",
    test="packages/timeseries/tests/fields/models/test_pde_transformer.py",
)
class PDETransformer(Simulator):
    """Shifted windows in a U: down to coarser grids, up again, each level joined with its counterpart.

    It keeps the paper's idea (windows within a field, attention among the fields at a position, a U, the
    equation in every norm), but is **not** the authors' network: that is ``PDETransformerSC``, which is
    told no numbers of the equation. Theirs has cosine attention with a learned scale and a network for the
    bias of a position, no projection behind attention, gates that start at 1 (here at 0, as in DiT), 3 x 3
    convolutions with pixel shuffles between the levels (here merging and linear layers), twice the width
    on the way up to the finest grid, a 3 x 3 convolution and a conditioned norm at the end; kind of field,
    equation and parameters enter as one sum of embeddings (here the kind is added to the tokens, numbers
    of the equation go through a small network), and it writes the fields, not their change.

    Args:
        channels: Builds what makes tokens of fields, ``(patch, dim)``: ``SeparateFields`` or ``MixedFields``.
        conditions: Numbers that describe the equation (time step, viscosity ...).
        patch: Side of a patch, a divisor of height and width.
        dim: Channels of a token on the finest grid.
        depth: Blocks of each level, on the way down and on the way up.
        levels: Grids, each half as fine as the one before.
        heads: Heads of the mixers on the finest grid; doubled at each level.
        mixer: Builds the mixers of the positions, ``(dim, heads)``; a sequence is cycled over the depth.
        fields: Builds the mixers that join separate fields, ``(dim, heads)``; mixed ones need none.
        feedforward: Builds the feed-forwards, ``(dim)``.

    Shape:
        x: (B, C, H, W). kinds: (C,), whole numbers, of separate fields; without, there is one field of each
        kind. conditions: (B, conditions). Output: the same as x.

    Raises:
        UserError: If a size is below 1.

    Source:
        Holzschuh et al. 2025, https://arxiv.org/abs/2505.24717.
    """

    def __init__(
        self,
        *,
        channels: Callable[[int, int], FieldTokens] = SeparateFields,
        conditions: int = 1,
        patch: int = 4,
        dim: int = 96,
        depth: int = 2,
        levels: int = 3,
        heads: int = 4,
        mixer: MixerFactories = (Plain, Shifted),
        fields: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        sizes = {"patch": patch, "depth": depth, "levels": levels}
        for name, value in (*sizes.items(), ("conditions", conditions)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.conditions, self.patch, self.levels = conditions, patch, levels
        widths = [dim * 2**level for level in range(levels)]
        self.channels = channels(patch, dim)
        self.condition = nn.ModuleList(
            nn.Sequential(nn.Linear(conditions, width), nn.SiLU(), nn.Linear(width, width))
            for width in widths
        )

        def blocks(level: int) -> nn.ModuleList:
            return nn.ModuleList(
                FieldBlock(
                    widths[level],
                    heads * 2**level,
                    mixer=mixer_for(mixer, place),
                    fields=fields if self.channels.separate else None,
                    feedforward=feedforward,
                )
                for place in range(depth)
            )

        self.down = nn.ModuleList(blocks(level) for level in range(levels))
        self.merging = nn.ModuleList(PatchMerging(width) for width in widths[:-1])
        self.up = nn.ModuleList(blocks(level) for level in range(levels - 1))
        self.expanding = nn.ModuleList(PatchExpanding(width) for width in widths[1:])
        self.joining = nn.ModuleList(nn.Linear(2 * width, width) for width in widths[:-1])
        self.norm = LayerNorm(dim)

    def forward(self, x: Tensor, kinds: Tensor | None, conditions: Tensor) -> Tensor:
        """Returns the next fields."""
        self.check(x, conditions)
        tokens, grid = self.channels(x, kinds)
        items, number = tokens.shape[:2]
        known = [layer(conditions) for layer in self.condition]
        grids, kept = [grid], []
        for level, blocks in enumerate(self.down):
            if level:
                kept.append(tokens)
                layout = Layout(grid=grids[-1])
                tokens, layout = self.merging[level - 1](tokens.flatten(0, 1), layout)
                tokens = tokens.unflatten(0, (items, number))
                grids.append((layout.grid[0], layout.grid[1]))
            for block in cast(nn.ModuleList, blocks):
                tokens = block(tokens, known[level], Layout(grid=grids[level]))
        for level in reversed(range(self.levels - 1)):
            coarse = self.expanding[level](tokens.flatten(0, 1), grids[level + 1])
            both = [coarse.unflatten(0, (items, number)), kept[level]]
            tokens = self.joining[level](torch.cat(both, dim=3))
            for block in cast(nn.ModuleList, self.up[level]):
                tokens = block(tokens, known[level], Layout(grid=grids[level]))
        return x + self.channels.inverse(self.norm(tokens), grid)

    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the fields after the last frame, one of each kind."""
        if conditions is None:
            raise UserError(f"PDETransformer needs conditions (B, {self.conditions}), got none")
        return self(frames[:, -1], None, conditions)

    def check(self, x: Tensor, conditions: Tensor) -> None:
        """Raises if fields and conditions do not fit each other and the model."""
        side = self.patch * 2 ** (self.levels - 1)
        if x.ndim != 4 or x.shape[2] % side or x.shape[3] % side:
            raise UserError(
                f"PDETransformer with patch {self.patch} and {self.levels} levels reads fields "
                f"(B, C, H, W) whose sides are multiples of {side}, got {tuple(x.shape)}"
            )
        if conditions.shape != (x.shape[0], self.conditions):
            raise UserError(
                f"{x.shape[0]} items need conditions ({x.shape[0]}, {self.conditions}), "
                f"got {tuple(conditions.shape)}"
            )
