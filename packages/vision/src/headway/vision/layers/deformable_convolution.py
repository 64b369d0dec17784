"""A convolution that chooses where it reads."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module


class DeformableConvolution(Module):
    """A 3 x 3 convolution whose points are moved, and weighted, by what another one finds; no bias.

    At first nothing is moved, and each point counts half. Beyond the border are zeros.

    Args:
        channels: Input channels.
        out: Output channels.

    Shape:
        x: (B, channels, H, W). Output: (B, out, H, W).

    Raises:
        UserError: If a number is below 1.

    Source:
        Zhu et al. 2019, https://arxiv.org/abs/1811.11168.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        if min(channels, out) < 1:
            raise UserError(f"channels {channels} and out {out} must be at least 1")
        # Of each point how far down and to the right, and how much it counts.
        self.steps = nn.Conv2d(channels, 27, 3, padding=1)
        self.weight = nn.Parameter(torch.empty(out, channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        for parameter in self.steps.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves."""
        rows, columns = x.shape[2:]
        found = self.steps(x).float()
        steps, weights = found[:, :18].unflatten(1, (9, 2)), found[:, 18:].sigmoid()
        axes = [torch.arange(side, device=x.device, dtype=steps.dtype) for side in (rows, columns)]
        down, right = torch.meshgrid(*axes, indexing="ij")
        near = torch.arange(-1, 2, device=x.device, dtype=steps.dtype)
        # Points row by row.
        y = steps[:, :, 0] + down + near.repeat_interleave(3)[:, None, None]
        x_at = steps[:, :, 1] + right + near.repeat(3)[:, None, None]
        where = torch.stack([(2 * x_at + 1) / columns - 1, (2 * y + 1) / rows - 1], dim=-1)
        read = F.grid_sample(x, where.flatten(2, 3).to(x.dtype), align_corners=False)
        read = read.unflatten(3, (rows, columns)) * weights[:, None].to(x.dtype)
        return torch.einsum("bcphw,ocp->bohw", read, self.weight.flatten(2))
