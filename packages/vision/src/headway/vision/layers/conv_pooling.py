"""A smaller map of wider tokens by a convolution of each channel."""

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.resample import Resampler

_STRIDE = 2


class ConvPooling(Resampler):
    """Halves the map by a convolution of each channel; tokens in front of it go through a linear layer.

    Args:
        dim: Channels of a token.
        out_dim: Channels of a pooled token, a multiple of ``dim``.

    Shape:
        x: (B, prefix + H * W, dim). Output: (B, prefix + ceil(H / 2) * ceil(W / 2), out_dim) and its layout.

    Raises:
        UserError: If ``out_dim`` is no multiple of ``dim``.

    Source:
        Heo et al. 2021 (PiT), https://arxiv.org/abs/2103.16302, section 3.2.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        if out_dim % dim:
            raise UserError(f"{out_dim} channels cannot be made of {dim}: give a multiple of them")
        self.conv = nn.Conv2d(
            dim, out_dim, _STRIDE + 1, stride=_STRIDE, padding=_STRIDE // 2, groups=dim
        )
        self.prefix = nn.Linear(dim, out_dim)

    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Pools the map."""
        if layout.grid is None or len(layout.grid) != 2 or layout.positions is not None:
            raise UserError("ConvPooling needs all tokens of a picture on their grid (H, W)")
        front, patches = x[:, : layout.prefix], x[:, layout.prefix :]
        picture = self.conv(patches.transpose(1, 2).unflatten(2, layout.grid))
        pooled = picture.flatten(2).transpose(1, 2)
        grid = (picture.shape[2], picture.shape[3])
        return torch.cat([self.prefix(front), pooled], dim=1), layout.replace(grid=grid)
