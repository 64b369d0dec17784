"""Deformable attention in plain PyTorch: every dtype and device, any order of derivative; the oracle."""

from collections.abc import Sequence

import torch
from torch import Tensor

Grid = tuple[int, int]


def attention(value: Tensor, locations: Tensor, weights: Tensor, levels: Sequence[Grid]) -> Tensor:
    """Weighted values at positions between tokens, computed in float32 (float64 for float64 inputs).

    Shape:
        As in `headway.core.ops.deformable_attention`.

    Source:
        Zhu et al. 2021 (Deformable DETR), https://arxiv.org/abs/2010.04159, eq. 3.
    """
    dtype = torch.float64 if value.dtype == torch.float64 else torch.float32
    batch, _, heads, width = value.shape
    queries = locations.shape[1]
    total = value.new_zeros(batch, heads, queries, width, dtype=dtype)
    start = 0
    for level, (rows, columns) in enumerate(levels):
        tokens = value[:, start : start + rows * columns].to(dtype).transpose(1, 2)
        start += rows * columns
        # (B, H, Q, P) from here on; a position is that of a token's centre, half a token from the border.
        x, y = (locations[:, :, :, level].to(dtype).transpose(1, 2)).unbind(-1)
        x, y = x * columns - 0.5, y * rows - 0.5
        left, upper = x.detach().floor(), y.detach().floor()
        given = weights[:, :, :, level].to(dtype).transpose(1, 2)
        for right in (0, 1):
            for down in (0, 1):
                column, row = (left + right).long(), (upper + down).long()
                # Not by the distance, whose derivative is zero at the centre of a token.
                share_x = x - left if right else 1.0 - (x - left)
                share_y = y - upper if down else 1.0 - (y - upper)
                share = share_x * share_y * given
                inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
                number = (row * columns + column).masked_fill(~inside, 0)
                number = number.flatten(2)[..., None].expand(-1, -1, -1, width)
                found = tokens.gather(2, number).unflatten(2, (queries, -1))
                # Not a product with zero: what is not read may be no number.
                found = found.masked_fill(~inside[..., None], 0.0)
                total = total + (found * share[..., None]).sum(dim=3)
    return total.transpose(1, 2).flatten(2).to(value.dtype)
