"""Attention with linear biases."""

import math
from typing import Any

import torch
from torch import Tensor

from headway.core.positions.base import Position
from headway.core.systems import system


def alibi_slopes(heads: int) -> list[float]:
    """Returns the slopes of the paper: a geometric series, interleaved if ``heads`` is no power of two."""
    closest = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (head + 1) / closest) for head in range(closest)]
    if closest < heads:
        slopes += alibi_slopes(2 * closest)[0::2][: heads - closest]
    return slopes


@system(
    id=96,
    name="ALiBi",
    paper="https://arxiv.org/abs/2108.12409",
    claim="scores fall linearly with distance, each head with a fixed slope of a geometric series",
    test="packages/core/tests/parts/test_positions.py",
)
class ALiBi(Position):
    """Lowers a score in proportion to the distance of query and key, each head with its own slope.

    Distances add up over the axes of a grid. The slopes are fixed, not learned.

    Args:
        heads: Heads.
        head_dim: Width of a head (not used).

    Source:
        Press et al. 2021, https://arxiv.org/abs/2108.12409, section 3.
    """

    slopes: Tensor

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the slope of each head."""
        return {"slopes": torch.tensor(alibi_slopes(self.heads), dtype=torch.float32)}

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the dense bias ``-slope * distance``."""
        distance = (query_positions[:, :, None] - key_positions[:, None]).abs().sum(-1)
        if prefix:
            placed = [
                torch.arange(size, device=distance.device) >= prefix for size in distance.shape[1:]
            ]
            distance = distance * (placed[0][:, None] & placed[1])
        return {"bias": (-self.slopes[:, None, None] * distance[:, None]).to(query.dtype)}
