"""A model that returns feature maps."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from headway.core.module import Module
from headway.vision.models.vit import ViT, take_indices


class Features(Module):
    """Returns the outputs of some blocks as maps, (B, C, H, W) each.

    Args:
        model: The model whose blocks are read.
        out_indices: Which blocks; the last three if None.
    """

    def __init__(self, model: nn.Module, out_indices: Sequence[int] | None = None) -> None:
        super().__init__()
        assert isinstance(model, ViT)
        self.model = model
        depth = len(model.encoder.blocks)
        self.out_indices = take_indices(
            depth, min(3, depth) if out_indices is None else out_indices
        )

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of each map."""
        return [self.model.feature_info[index] for index in self.out_indices]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the maps."""
        return self.model.forward_intermediates(
            images, self.out_indices, norm=True, intermediates_only=True
        )
