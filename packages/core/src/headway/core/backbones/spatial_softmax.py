"""Where on a map something is: the expected place of each channel."""

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module


class SpatialSoftmax(Module):
    """Makes keypoints of maps: the mean place of each, with weights that are a softmax over the map.

    Args:
        channels: Of the maps.
        keypoints: How many; each looks through a 1x1 convolution of its own.

    Shape:
        maps: (B, channels, H, W). Output: (B, keypoints, 2), across and down, both from -1 to 1.

    Raises:
        UserError: If there are none.

    Source:
        Finn et al. 2015, https://arxiv.org/abs/1509.06113, section V; with a convolution as in Mandlekar
        et al. 2021, https://arxiv.org/abs/2108.03298.
    """

    def __init__(self, channels: int, *, keypoints: int = 32) -> None:
        super().__init__()
        if channels < 1 or keypoints < 1:
            raise UserError(
                f"channels is {channels} and keypoints {keypoints}; at least 1 is needed"
            )
        self.keypoints = keypoints
        self.look = nn.Conv2d(channels, keypoints, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Returns the places."""
        weights = self.look(maps).flatten(2).softmax(dim=-1).unflatten(-1, maps.shape[-2:])
        down, across = (
            torch.linspace(-1, 1, side, dtype=weights.dtype, device=weights.device)
            for side in maps.shape[-2:]
        )
        return torch.stack([weights.sum(dim=2) @ across, weights.sum(dim=3) @ down], dim=-1)
