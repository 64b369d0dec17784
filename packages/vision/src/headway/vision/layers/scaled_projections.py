"""Maps of several scales made of those of a plain vision transformer, which are all of one size."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.vision.layers.conv_norm import ActivationFactory, ConvNorm, NormFactory

# Wider maps are made half as wide before they are enlarged.
WIDE = 512


class MapNorm(LayerNorm):
    """Layer normalisation of the channels at each place of a map.

    Args:
        dim: Channels.
        eps: Added to the variance.

    Shape:
        x: (B, dim, H, W). Output: the same.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6) -> None:
        super().__init__(dim, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the channels."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class C2fBlock(Module):
    """Half of the channels go through pairs of 3x3 convolutions in a row; what each gave is joined.

    Args:
        channels: Input channels.
        out: Output channels.
        depth: Pairs of convolutions.
        expansion: Channels within as a share of ``out``.
        norm: Builds the norms, ``(dim)``.
        activation: Builds the activations.

    Shape:
        x: (B, channels, H, W). Output: (B, out, H, W).

    Source:
        Chen et al. 2024 (LW-DETR), https://arxiv.org/abs/2406.03459, section 3.1.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        depth: int = 3,
        expansion: float = 0.5,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = nn.SiLU,
    ) -> None:
        super().__init__()
        hidden = int(out * expansion)
        if hidden < 1:
            raise UserError(f"expansion {expansion} of {out} channels leaves none")
        parts: dict[str, Any] = {"norm": norm, "activation": activation}
        wide = partial(ConvNorm, hidden, hidden, kernel=3, **parts)
        self.first = ConvNorm(channels, 2 * hidden, **parts)
        self.steps = nn.ModuleList([nn.Sequential(wide(), wide()) for _ in range(depth)])
        self.last = ConvNorm((2 + depth) * hidden, out, **parts)

    def forward(self, x: Tensor) -> Tensor:
        """Joins what all pairs gave."""
        found = list(self.first(x).chunk(2, dim=1))
        for step in self.steps:
            found.append(step(found[-1]))
        return self.last(torch.cat(found, dim=1))


class ScaledProjections(Module):
    """Makes a map of each scale of all maps of a plain backbone: enlarged, kept or halved, and joined.

    Args:
        channels: Of the maps, which are all of one size.
        dim: Channels of the maps then.
        scales: Side of each map as a multiple of theirs: 2, 1 or 0.5.
        depth: Of the ``C2fBlock`` of each map.
        expansion: Of the same.
        norm: Builds the norms of convolutions, ``(dim)``.
        activation: Builds the activations of the blocks.

    Shape:
        maps: a list of (B, C, H, W). Output: a list of (B, dim, scale * H, scale * W).

    Raises:
        UserError: If a scale is none of them.

    Source:
        Chen et al. 2024 (LW-DETR), https://arxiv.org/abs/2406.03459, section 3.1.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = 256,
        *,
        scales: Sequence[float] = (1.0,),
        depth: int = 3,
        expansion: float = 0.5,
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = nn.SiLU,
    ) -> None:
        super().__init__()
        if not scales or any(one not in (2.0, 1.0, 0.5) for one in scales):
            raise UserError(f"scales {list(scales)} must be 2, 1 or 0.5, at least one of them")
        self.scales = tuple(scales)
        resized, blocks = [], []
        for scale in scales:
            parts = [_resized(width, scale, norm) for width in channels]
            resized.append(nn.ModuleList([part for part, _ in parts]))
            blocks.append(
                C2fBlock(
                    sum(width for _, width in parts),
                    dim,
                    depth=depth,
                    expansion=expansion,
                    norm=norm,
                    activation=activation,
                )
            )
        self.resized, self.blocks = nn.ModuleList(resized), nn.ModuleList(blocks)
        self.norms = nn.ModuleList([MapNorm(dim) for _ in scales])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Makes the maps."""
        sizes = {tuple(one.shape[2:]) for one in maps}
        if len(sizes) > 1:
            raise UserError(
                f"ScaledProjections reads maps of one size, got {sorted(sizes)}; take blocks of a plain ViT"
            )
        found = []
        for parts, block, norm in zip(self.resized, self.blocks, self.norms, strict=True):
            own: Any = parts
            joined = [part(one) for part, one in zip(own, maps, strict=True)]
            found.append(norm(block(torch.cat(joined, dim=1))))
        return found


def _resized(width: int, scale: float, norm: NormFactory) -> tuple[nn.Module, int]:
    """Returns what resizes a map of so many channels, and how many it has then."""
    if scale == 0.5:
        return nn.Sequential(
            ConvNorm(width, width, kernel=3, stride=2, norm=norm, activation=nn.ReLU)
        ), width
    if scale == 1.0:
        return nn.Sequential(), width
    if width <= WIDE:
        return nn.Sequential(nn.ConvTranspose2d(width, width // 2, 2, 2)), width // 2
    narrow = ConvNorm(width, width // 2, norm=norm, activation=nn.ReLU)
    return nn.Sequential(narrow, nn.ConvTranspose2d(width // 2, width // 4, 2, 2)), width // 4
