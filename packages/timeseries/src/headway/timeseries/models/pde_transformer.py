"""PDE-Transformer: the next fields of any equation on a grid, each field in tokens of its own."""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention, WindowAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.stacks.stack import mixer_for
from headway.core.systems import system
from headway.timeseries.layers.conditioned import (
    FieldBlock,
    PatchExpanding,
    fields_of,
    patches_of,
)

Plain = partial(WindowAttention, window=8)
Shifted = partial(WindowAttention, window=8, shift=4)


@system(
    id=414,
    name="PDE-Transformer",
    paper="https://arxiv.org/abs/2505.24717",
    claim="separate tokens for each field: any number of fields in any order, joined by attention among "
    "them; what is known of the equation enters every norm",
    test="packages/timeseries/tests/models/test_pde_transformer.py",
)
class PDETransformer(Module):
    """Shifted windows in a U: down to coarser grids, up again, each level joined with its counterpart.

    Args:
        kinds: Kinds of fields that it knows (velocity along an axis, density ...).
        conditions: Numbers that describe the equation (time step, viscosity ...).
        patch: Side of a patch, a divisor of height and width.
        dim: Channels of a token on the finest grid.
        depth: Blocks of each level, on the way down and on the way up.
        levels: Grids, each half as fine as the one before.
        heads: Heads of the mixers on the finest grid; doubled at each level.
        mixer: Builds the mixers of the places, ``(dim, heads)``; a sequence is cycled over the depth.
        fields: Builds the mixers of the fields, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.

    Shape:
        x: (B, C, H, W). kinds: (C,), whole numbers. conditions: (B, conditions). Output: the same as x.

    Raises:
        UserError: If a size is below 1.

    Source:
        Holzschuh et al. 2025, https://arxiv.org/abs/2505.24717 (the variant with separate channels).
    """

    def __init__(
        self,
        *,
        kinds: int = 1,
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
        sizes = {"kinds": kinds, "patch": patch, "depth": depth, "levels": levels}
        for name, value in (*sizes.items(), ("conditions", conditions)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.kinds, self.conditions, self.patch, self.levels = kinds, conditions, patch, levels
        widths = [dim * 2**level for level in range(levels)]
        self.embedding = nn.Linear(patch**2, dim)
        self.kind = nn.Embedding(kinds, dim)
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
                    fields=fields,
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
        self.head = nn.Linear(dim, patch**2)

    def forward(self, x: Tensor, kinds: Tensor, conditions: Tensor) -> Tensor:
        """Returns the next fields."""
        self.check(x, kinds, conditions)
        items, number = x.shape[:2]
        patches = patches_of(x.flatten(0, 1), self.patch)
        grid = (patches.shape[1], patches.shape[2])
        tokens = self.embedding(patches).flatten(1, 2).unflatten(0, (items, number))
        tokens = tokens + self.kind(kinds)[None, :, None]
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
        change = self.head(self.norm(tokens)).flatten(0, 1).unflatten(1, grid)
        return x + fields_of(change, self.patch).unflatten(0, (items, number))

    def check(self, x: Tensor, kinds: Tensor, conditions: Tensor) -> None:
        """Raises if fields, kinds and conditions do not fit each other and the model."""
        side = self.patch * 2 ** (self.levels - 1)
        if x.ndim != 4 or x.shape[2] % side or x.shape[3] % side:
            raise UserError(
                f"PDETransformer with patch {self.patch} and {self.levels} levels reads fields "
                f"(B, C, H, W) whose sides are multiples of {side}, got {tuple(x.shape)}"
            )
        if kinds.shape != (x.shape[1],) or conditions.shape != (len(x), self.conditions):
            raise UserError(
                f"{x.shape[1]} fields need as many kinds and ({len(x)}, {self.conditions}) conditions, got "
                f"{tuple(kinds.shape)} and {tuple(conditions.shape)}"
            )
