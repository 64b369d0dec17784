"""A learned bias for relative positions, the far ones in groups."""

import math

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.positions.relative import TableBias


class BucketedBias(TableBias):
    """Adds a learned number to each score that depends on the head and on how far the key is, in groups.

    Near distances have a number each, farther ones share it, in groups that widen with the logarithm of the
    distance; all beyond ``max_distance`` share the last.

    Args:
        heads: Heads.
        head_dim: Width of a head (not used).
        buckets: Groups; half of them for keys that follow, unless ``causal``.
        max_distance: From where on all distances are one group.
        causal: Whether keys never follow the query.

    Raises:
        UserError: If there are too few groups.

    Source:
        Raffel et al. 2019 (T5), https://arxiv.org/abs/1910.10683, section 2.1.
    """

    def __init__(
        self,
        heads: int,
        head_dim: int,
        *,
        buckets: int = 32,
        max_distance: int = 128,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.buckets, self.max_distance, self.causal = buckets, max_distance, causal
        side = buckets if causal else buckets // 2
        if side < 2 or max_distance <= side // 2:
            raise UserError(
                f"{buckets} buckets up to a distance of {max_distance} are no groups; use 32 and 128"
            )
        self.table = nn.Parameter(truncated_normal_(torch.empty(buckets, heads)))

    def index(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Returns the group of each pair of positions, (B or 1, T, S)."""
        if query_positions.shape[-1] != 1:
            raise UserError(
                f"BucketedBias is of sequences, got positions with {query_positions.shape[-1]} coordinates"
            )
        ahead = (key_positions[:, None] - query_positions[:, :, None])[..., 0].round().long()
        side, start = self.buckets, torch.zeros_like(ahead)
        if self.causal:
            distance = (-ahead).clamp_min(0)
        else:
            side = side // 2
            start, distance = side * (ahead > 0).long(), ahead.abs()
        exact = side // 2
        grown = (distance.clamp_min(1).float() / exact).log() / math.log(self.max_distance / exact)
        far = (exact + (grown * (side - exact)).long()).clamp_max(side - 1)
        return start + torch.where(distance < exact, distance, far)


def share_biases(module: nn.Module) -> None:
    """Gives all blocks of a stack the table of relative biases of the first."""
    positions = [part for part in module.modules() if isinstance(part, BucketedBias)]
    for position in positions[1:]:
        position.table = positions[0].table
