"""Deformable attention to the maps as they are, with as many points on each as it needs."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.positioned import placed
from headway.core.mixers.sparse.deformable_attention import directions
from headway.core.ops import deformable_attention


class SamplingAttention(TokenMixer):
    """Weighted sum of tokens at a few positions around a query's box; neither values nor sums are projected.

    Args:
        dim: Channels of a token, and of those of the maps.
        heads: Heads.
        levels: Maps of the memory.
        points: Positions per head on each map, or of each.

    Shape:
        x: (B, N, dim). context: (B, M, dim). Output: (B, N, dim).

    Raises:
        UserError: If the queries have no boxes, or the memory another number of maps.

    Source:
        Peng et al. 2024 (D-FINE), https://arxiv.org/abs/2410.13842, and its code.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"embedding"})

    def __init__(
        self, dim: int, heads: int, *, levels: int = 3, points: Sequence[int] | int = 4
    ) -> None:
        super().__init__()
        self.head_dim, self.heads = check_heads(dim, heads, None), heads
        self.points = [points] * levels if isinstance(points, int) else list(points)
        if len(self.points) != levels or min(self.points) < 1:
            raise UserError(
                f"points {self.points} need one positive number for each of {levels} maps"
            )
        total = sum(self.points)
        self.offsets = nn.Linear(dim, heads * total * 2)
        self.weights = nn.Linear(dim, heads * total)
        self.init_own_()

    def init_own_(self) -> None:
        """Begins with equal weights; each head looks its own way, one step farther with each point."""
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        ways = directions(self.heads)
        far = torch.cat([torch.arange(1.0, count + 1.0) for count in self.points])
        with torch.no_grad():
            self.offsets.bias.copy_((ways[:, None] * far[:, None]).flatten())

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
    ) -> Tensor:
        """Reads the positions."""
        sides = context_layout.levels if context_layout is not None else None
        boxes = layout.positions
        if context is None or sides is None or len(sides) != len(self.points):
            raise UserError(
                f"SamplingAttention needs a context of {len(self.points)} maps; say levels= in its Layout"
            )
        if boxes is None or boxes.shape[-1] != 4:
            raise UserError("SamplingAttention needs positions= of its queries, boxes of 4 numbers")
        # From rows and columns to x and y.
        boxes = boxes.float().unflatten(-1, (2, 2)).flip(-1)
        query = placed(x, layout)
        weights = self.weights(query).unflatten(2, (self.heads, -1)).softmax(dim=-1)
        steps = self.offsets(query).float().unflatten(2, (self.heads, -1, 2))
        most, places, shares = max(self.points), [], []
        parts = zip(
            steps.split(self.points, 3), weights.split(self.points, 3), self.points, strict=True
        )
        for step, weight, count in parts:
            # As far as half the box with the last point, at first.
            at = boxes[:, :, None, None, 0] + step / count * boxes[:, :, None, None, 1] * 0.5
            # A map with fewer points has others of no weight.
            places.append(F.pad(at, (0, 0, 0, most - count)))
            shares.append(F.pad(weight, (0, most - count)))
        locations = torch.stack(places, dim=3)
        value = context.unflatten(2, (self.heads, -1))
        dtype = torch.promote_types(value.dtype, locations.dtype)
        out = deformable_attention(
            value.to(dtype), locations.to(dtype), torch.stack(shares, dim=3).to(dtype), levels=sides
        )
        return out.to(x.dtype)
