"""Maps of a backbone, made equally wide, and smaller ones of the last."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module


class MapProjections(Module):
    """A convolution and a group norm for each map; further maps are half as large as the one before.

    Args:
        channels: Of the maps, from the largest to the smallest map.
        dim: Channels of all maps then.
        levels: How many maps there shall be; with one the last map alone is read.

    Raises:
        UserError: If there are more maps than levels, and more than one level.

    Shape:
        maps: a list of (B, C, H, W). Output: a list of (B, dim, H, W).

    Source:
        Zhu et al. 2021 (Deformable DETR), https://arxiv.org/abs/2010.04159, appendix A.2.
    """

    def __init__(self, channels: Sequence[int], dim: int, *, levels: int) -> None:
        super().__init__()
        self.read = len(channels) if levels > 1 else 1
        if not self.read <= levels:
            raise UserError(
                f"levels {levels} are fewer than the {len(channels)} maps of the backbone; with levels=1 its "
                "last map is read, others need as many levels or more, or fewer out_indices"
            )
        own = [nn.Conv2d(one, dim, 1) for one in channels[-self.read :]]
        inputs = [channels[-1]] + [dim] * levels
        further = [nn.Conv2d(inputs[place], dim, 3, 2, 1) for place in range(levels - self.read)]
        self.layers = nn.ModuleList(
            [nn.Sequential(one, nn.GroupNorm(math.gcd(32, dim), dim)) for one in (*own, *further)]
        )
        for layer in (*own, *further):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Projects the maps."""
        maps = list(maps)[-self.read :]
        found = [layer(one) for layer, one in zip(self.layers, maps, strict=False)]
        x = maps[-1]
        for layer in list(self.layers)[self.read :]:
            x = layer(x)
            found.append(x)
        return found
