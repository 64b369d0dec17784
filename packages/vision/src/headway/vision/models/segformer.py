"""SegFormer: a pyramid without positions, and a head of linear layers that gives each pixel a class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.init import init_transformer_
from headway.core.systems import system
from headway.vision.layers.spatial_reduction import as_maps, resized, tokens
from headway.vision.models.mix_transformer import (
    MixTransformer,
    init_patches_,
    least_side,
    maps_of,
    mix_stages,
)
from headway.vision.models.segmenter import Segmenter


@system(
    id=None,
    name="SegFormer",
    paper="https://arxiv.org/abs/2105.15203",
    claim="tokens without positions know where they are by a convolution; equal to transformers' with copied "
    "weights",
    test="packages/vision/tests/models/test_segformer.py",
)
class SegFormer(Segmenter):
    """Gives each pixel the logits of its classes.

    Args:
        num_classes: Classes.
        dims: Channels of each stage.
        depths: Blocks of each stage.
        heads: Heads of each stage.
        reductions: Reduction of the attention of each stage.
        channels: Channels of a picture.
        dim: Channels of the head.
        dropout: Dropout in front of the classifier.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.

    Shape:
        images: (B, channels, H, W), of any height and width from 32 on (with the default reductions).
        Output: (B, num_classes, H, W).

    Raises:
        UserError: If the stages differ in number or there is no class.

    Source:
        Xie et al. 2021, https://arxiv.org/abs/2105.15203.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        dims: Sequence[int] = (32, 64, 160, 256),
        depths: Sequence[int] = (2, 2, 2, 2),
        heads: Sequence[int] = (1, 2, 5, 8),
        reductions: Sequence[int] = (8, 4, 2, 1),
        channels: int = 3,
        dim: int = 256,
        dropout: float = 0.1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__(num_classes=num_classes, name="segformer")
        self.stages = mix_stages(
            channels=channels,
            dims=dims,
            depths=depths,
            heads=heads,
            reductions=reductions,
            drop_path=drop_path,
        )
        self.least = least_side(reductions)
        self.projections = nn.ModuleList(nn.Linear(width, dim) for width in dims)
        self.fuse = nn.Conv2d(len(dims) * dim, dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(dim, num_classes, 1)
        init_transformer_(self)
        init_patches_(self.stages)

    def features(self, images: Tensor) -> list[Tensor]:
        """Returns the map of each stage, the finest first."""
        return maps_of(self.stages, images)

    def coarse(self, images: Tensor) -> Tensor:
        """Returns the logits of the finest map, (B, num_classes, H / 4, W / 4)."""
        maps = self.features(images)
        wide = [
            resized(as_maps(layer(tokens(x)), x), maps[0].shape[2:])
            for layer, x in zip(self.projections, maps, strict=True)
        ]
        # The coarsest first, as published weights have it.
        fused = F.relu(self.norm(self.fuse(torch.cat(wide[::-1], 1))))
        return self.classifier(self.dropout(fused))

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits of every pixel."""
        return resized(self.coarse(images), images.shape[2:])

    def semantic(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Returns the probabilities of each pixel; logits are what is resized."""
        logits = self.coarse(images).float()
        return resized(logits, images.shape[2:] if size is None else size).softmax(1)

    def get_classifier(self) -> tuple[nn.Module, ...]:
        """Returns the head: over an encoder that knew no pixels all of it is new."""
        return self.projections, self.fuse, self.norm, self.classifier

    def new_classifier(self, num_classes: int) -> None:
        """Replaces the layer of the logits."""
        old = self.classifier
        self.classifier = nn.Conv2d(old.in_channels, num_classes, 1).to(old.weight)

    def layer_depth(self, name: str) -> int:
        """Returns 0 for the stages and 1 for the head: ``layer_decay`` is the ratio of their rates."""
        return 0 if name.startswith("stages.") else 1


# Published members: channels, depths and channels of the head.
_WIDE = (64, 128, 320, 512)
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": (_WIDE, (2, 2, 2, 2), 256),
    "b2": (_WIDE, (3, 4, 6, 3), 768),
    "b3": (_WIDE, (3, 4, 18, 3), 768),
    "b4": (_WIDE, (3, 8, 27, 3), 768),
    "b5": (_WIDE, (3, 6, 40, 3), 768),
}


def segformer(size: str, *, num_classes: int = 150, **options: Any) -> SegFormer:
    """Builds a published member, ``b0`` to ``b5``.

    Args:
        size: Of ``SIZES``.
        num_classes: Classes of a pixel.
        **options: Of ``SegFormer``.
    """
    dims, depths, dim = SIZES[size]
    return SegFormer(num_classes=num_classes, dims=dims, depths=depths, dim=dim, **options)


def mix_transformer(size: str, *, num_classes: int = 1000, **options: Any) -> MixTransformer:
    """Builds the published encoder, ``b0`` to ``b5``, as a classifier of pictures.

    Args:
        size: Of ``SIZES``.
        num_classes: Classes.
        **options: Of ``MixTransformer``.
    """
    dims, depths, _ = SIZES[size]
    return MixTransformer(num_classes=num_classes, dims=dims, depths=depths, **options)
