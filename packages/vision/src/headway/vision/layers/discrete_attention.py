"""Deformable attention that reads whole tokens instead of what lies between them."""

import torch
from torch import Tensor

from headway.core.mixers import DeformableAttention


class DiscreteDeformableAttention(DeformableAttention):
    """Each position is that of a token, so no interpolation is needed; where to look is then not learned.

    It is for fine-tuning and inference of a model that learned its positions with ``DeformableAttention``,
    whose parameters it has.

    Source:
        Lv et al. 2024 (RT-DETRv2), https://arxiv.org/abs/2407.17140, section 3.2.
    """

    def read(
        self, value: Tensor, locations: Tensor, weights: Tensor, levels: tuple[tuple[int, ...], ...]
    ) -> Tensor:
        """Returns the weighted sums of values of tokens; positions beyond a map are those at its edge."""
        parts, start = [], 0
        for place, (rows, columns) in enumerate(levels):
            at = locations[:, :, :, place]
            # Rounded as published: half a token past the one that the position lies in.
            x = (at[..., 0] * columns + 0.5).to(torch.int64).clamp(0, columns - 1)
            y = (at[..., 1] * rows + 0.5).to(torch.int64).clamp(0, rows - 1)
            parts.append(y * columns + x + start)
            start = start + rows * columns
        # Heads in front of queries, levels and points.
        index = torch.stack(parts, dim=3).permute(0, 2, 1, 3, 4)
        flat = index.flatten(2)[..., None].expand(-1, -1, -1, value.shape[-1])
        read = value.transpose(1, 2).gather(2, flat)
        read = read.unflatten(2, index.shape[2:]).permute(0, 2, 1, 3, 4, 5)
        return (read * weights[..., None].to(read.dtype)).sum(dim=(3, 4)).flatten(2)
