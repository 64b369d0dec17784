"""Cameras as keypoints: a few places on each picture instead of its maps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.backbones import ResNet, SpatialSoftmax
from headway.core.errors import UserError
from headway.core.module import Module
from headway.rl.layers.observations.base import Observations
from headway.rl.layers.observations.eyes import Eyes
from headway.rl.spaces import Space


class GroupsOf16(nn.GroupNorm):
    """A group norm of groups of sixteen channels.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim // 16, dim)


class CameraKeypoints(Module):
    """A residual network, and the places on its last map that a spatial softmax says.

    Args:
        keypoints: How many.
        depths: Blocks of each stage of the network; (2, 2, 2, 2) is ResNet-18.
        norm: Builds the norms of the network, ``(dim)``; group norm may learn from few demonstrations.
        resize: Height and width that pictures are brought to; as they are if None.
        crop: Height and width that are cut out then: at random in training, from the middle otherwise;
            nothing if None.

    Shape:
        pictures: (..., 3, H, W). Output: (..., 2 * keypoints).

    Source:
        Chi et al. 2023, https://arxiv.org/abs/2303.04137, section 4.3.
    """

    def __init__(
        self,
        *,
        keypoints: int = 32,
        depths: Sequence[int] = (2, 2, 2, 2),
        norm: Callable[[int], nn.Module] = GroupsOf16,
        resize: Sequence[int] | None = None,
        crop: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        for name, sides in (("resize", resize), ("crop", crop)):
            if sides is not None and (len(sides) != 2 or min(sides) < 1):
                raise UserError(f"{name} is {list(sides)}; it is a height and a width")
        self.size = None if resize is None else tuple(resize)
        self.cut = None if crop is None else tuple(crop)
        self.channels = 2 * keypoints
        widths = [64 * 2**stage for stage in range(len(depths))]
        self.backbone = ResNet(depths=depths, widths=widths, bottleneck=False, norm=norm)
        self.pool = SpatialSoftmax(widths[-1], keypoints=keypoints)
        self.out = nn.Linear(self.channels, self.channels)

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns what is known of the places."""
        x = pictures.flatten(0, -4)
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        maps = self.backbone(self._cropped(x))[-1]
        return F.relu(self.out(self.pool(maps).flatten(1))).unflatten(0, pictures.shape[:-3])

    def _cropped(self, x: Tensor) -> Tensor:
        if self.cut is None:
            return x
        (height, width), (high, wide) = x.shape[-2:], self.cut
        if high > height or wide > width:
            raise UserError(f"crop is {list(self.cut)}, pictures have {height} x {width} pixels")
        if self.training:
            top = int(torch.randint(height - high + 1, ()))
            left = int(torch.randint(width - wide + 1, ()))
        else:
            top, left = round((height - high) / 2), round((width - wide) / 2)
        return x[..., top : top + high, left : left + wide]


class KeypointObservations(Eyes):
    """A token for each camera, of keypoints, and one for each part that is no picture; cameras first.

    Args:
        dim: Channels of a token.
        space: A ``Dict`` of pictures of bytes (height, width, 3) and of whatever else ``encoder_for`` reads.
        eye: Builds what reads pictures, one for all cameras.

    Shape:
        Observations: a mapping of name to (B, T, *shape). Output: (B, T, dim), the mean of the tokens.

    Source:
        Lee et al. 2024, https://arxiv.org/abs/2403.03181; as in LeRobot's VQ-BeT.
    """

    def __init__(
        self, dim: int, space: Space, *, eye: Callable[[], CameraKeypoints] = CameraKeypoints
    ) -> None:
        super().__init__(dim, space)
        self.eye = eye()
        self.projection = nn.Linear(self.eye.channels, dim)

    @property
    def learned_positions(self) -> int:
        """One for each part."""
        return len(self.views) + (0 if self.vectors is None else self.vectors.learned_positions)

    def tokens(self, observations: Observations) -> Tensor:
        """Returns the token of each camera, then those of the other parts, (B, T, parts, dim)."""
        seen = [self.projection(self.eye(x)) for x in self.pictures(observations)]
        tokens = torch.stack(seen, dim=2)
        if self.vectors is None:
            return tokens
        return torch.cat([tokens, self.vectors.tokens(observations)], dim=2)
