"""A model that returns feature maps."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.vision.models.classifier import take_indices


class Features(Module):
    """Returns the outputs of some blocks, or of the stages of a hierarchical model, as maps.

    Args:
        model: A model with ``feature_info`` and ``forward_intermediates``, such as ViT and Swin.
        out_indices: Which blocks or stages; the last three if None.
        norm: Builds a norm of each map, ``(C)``; if None, that of the model, where it has one.

    Shape:
        images: (B, channels, H, W). Output: a list of (B, C, h, w).

    Raises:
        UserError: If the model has no feature maps.
    """

    def __init__(
        self,
        model: nn.Module,
        out_indices: Sequence[int] | None = None,
        *,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(model, "forward_intermediates"):
            raise UserError(
                f"{type(model).__name__} has no feature maps; use a model with forward_intermediates"
            )
        self.model: Any = model
        depth = len(self.model.feature_info)
        self.out_indices = take_indices(
            depth, min(3, depth) if out_indices is None else out_indices
        )

        widths = [one["num_chs"] for one in self.feature_info]
        self.norms = None if norm is None else nn.ModuleList([norm(width) for width in widths])

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of each map."""
        return [self.model.feature_info[index] for index in self.out_indices]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the maps."""
        maps = self.model.forward_intermediates(
            images, self.out_indices, norm=self.norms is None, intermediates_only=True
        )
        if self.norms is None:
            return maps
        # Norms read channels last.
        return [
            norm(one.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for norm, one in zip(self.norms, maps, strict=True)
        ]
