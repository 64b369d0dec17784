"""The feature maps of a model of timm, where timm is installed."""

import importlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from headway.core.backbones.frozen_batch_norm import FrozenBatchNorm
from headway.core.errors import UserError
from headway.core.module import Module


class TimmFeatures(Module):
    """A backbone by timm's name.

    Args:
        name: Such as ``"resnet50"`` or ``"convnext_tiny.fb_in1k"``.
        pretrained: Whether timm loads its published weights.
        channels: Channels of a picture.
        out_indices: Which stages give maps; the last one if None.
        frozen_norms: Whether batch norms become fixed numbers, as DETR has it.

    Shape:
        images: (B, channels, H, W). Output: a list of (B, C, h, w).

    Raises:
        UserError: If timm is not installed, or has no such model with feature maps.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        channels: int = 3,
        out_indices: Sequence[int] | None = None,
        frozen_norms: bool = True,
    ) -> None:
        super().__init__()
        try:
            # By name: headway's models need torch alone, and only this backbone needs timm.
            timm: Any = importlib.import_module("timm")
        except ImportError:
            raise UserError(
                f"the backbone {name} comes from timm, which is not installed: pip install timm; "
                "headway.vision.layers.ResNet needs nothing further"
            ) from None
        wanted = tuple(out_indices) if out_indices is not None else (-1,)
        try:
            self.model = timm.create_model(
                name,
                pretrained=pretrained,
                in_chans=channels,
                features_only=True,
                out_indices=wanted,
            )
        except (RuntimeError, AttributeError, AssertionError) as error:
            raise UserError(f"timm cannot give feature maps of {name!r}: {error}") from None
        # Rebuilding the model from its arguments must not download anything.
        self.init_args["pretrained"] = False
        if frozen_norms:
            freeze_norms(self.model)

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of each map."""
        return self.model.feature_info.get_dicts()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the maps, channels first."""
        return self.model(images)


def freeze_norms(module: nn.Module) -> None:
    """Replaces every batch norm below ``module`` by its fixed numbers."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm(child.num_features, eps=child.eps)
            frozen.load_state_dict(
                {k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"}
            )
            # timm's batch norms may hold an activation.
            after = [m for m in (getattr(child, "drop", None), getattr(child, "act", None)) if m]
            setattr(module, name, nn.Sequential(frozen, *after) if after else frozen)
        else:
            freeze_norms(child)
