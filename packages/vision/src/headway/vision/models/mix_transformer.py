"""MiT, the encoder of SegFormer: a pyramid without positions."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import depth_rates
from headway.vision.layers.spatial_reduction import EPS, MixBlock, as_maps, tokens
from headway.vision.models.with_classes import WithClasses


class MixStage(Module):
    """Overlapping patches of a map, blocks, and a norm.

    Args:
        channels: Channels of the map that comes in.
        dim: Channels of the map that goes out.
        stride: How many times shorter its sides become.
        heads: Heads of each block.
        reduction: Reduction of the attention of each block.
        drop_path: Rate of stochastic depth of each block.

    Shape:
        maps: (B, channels, H, W). Output: (B, dim, H / stride, W / stride), rounded up.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        stride: int,
        heads: int,
        reduction: int,
        drop_path: Sequence[float],
    ) -> None:
        super().__init__()
        kernel = 2 * stride - 1
        self.patches = nn.Conv2d(channels, dim, kernel, stride, kernel // 2)
        self.patch_norm = LayerNorm(dim, eps=EPS)
        self.blocks = nn.ModuleList(
            MixBlock(dim, heads=heads, reduction=reduction, drop_path=rate) for rate in drop_path
        )
        self.norm = LayerNorm(dim, eps=EPS)

    def forward(self, maps: Tensor) -> Tensor:
        """Returns the map of the stage."""
        maps = self.patches(maps)
        maps = as_maps(self.patch_norm(tokens(maps)), maps)
        for block in self.blocks:
            maps = block(maps)
        return as_maps(self.norm(tokens(maps)), maps)


class MixTransformer(WithClasses):
    """A classifier of pictures: the average of the tokens of the last stage, and a layer.

    Args:
        num_classes: Classes.
        dims: Channels of each stage.
        depths: Blocks of each stage.
        heads: Heads of each stage.
        reductions: Reduction of the attention of each stage.
        channels: Channels of a picture.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.

    Shape:
        images: (B, channels, H, W), of any height and width from 32 on (with the default reductions).
        Output: (B, num_classes).

    Raises:
        UserError: If the stages differ in number or there is no class.

    Source:
        Xie et al. 2021, https://arxiv.org/abs/2105.15203.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        dims: Sequence[int] = (32, 64, 160, 256),
        depths: Sequence[int] = (2, 2, 2, 2),
        heads: Sequence[int] = (1, 2, 5, 8),
        reductions: Sequence[int] = (8, 4, 2, 1),
        channels: int = 3,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__(num_classes=num_classes, name="mix_transformer")
        self.stages = mix_stages(
            channels=channels,
            dims=dims,
            depths=depths,
            heads=heads,
            reductions=reductions,
            drop_path=drop_path,
        )
        self.classifier = nn.Linear(dims[-1], num_classes)
        self.pretrained_cfg["input_size"] = (channels, 224, 224)
        init_transformer_(self)
        init_patches_(self.stages)

    def features(self, images: Tensor) -> list[Tensor]:
        """Returns the map of each stage, the finest first."""
        return maps_of(self.stages, images)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits."""
        return self.classifier(self.features(images)[-1].mean((2, 3)))

    def get_classifier(self) -> nn.Module:
        """Returns the layer of the logits."""
        return self.classifier

    def new_classifier(self, num_classes: int) -> None:
        """Replaces the layer of the logits."""
        old = self.classifier
        self.classifier = nn.Linear(old.in_features, num_classes).to(old.weight)
        init_transformer_(self.classifier)


def mix_stages(
    *,
    channels: int,
    dims: Sequence[int],
    depths: Sequence[int],
    heads: Sequence[int],
    reductions: Sequence[int],
    drop_path: float,
) -> nn.ModuleList:
    """Returns the stages of a pyramid.

    Args:
        channels: Channels of a picture.
        dims: Channels of each stage.
        depths: Blocks of each stage.
        heads: Heads of each stage.
        reductions: Reduction of the attention of each stage.
        drop_path: Rate of stochastic depth of the last block.

    Raises:
        UserError: If they differ in number.
    """
    if not dims or not len(dims) == len(depths) == len(heads) == len(reductions):
        raise UserError(
            f"dims, depths, heads and reductions have {len(dims)}, {len(depths)}, {len(heads)} and "
            f"{len(reductions)} entries; give each stage one"
        )
    rates = iter(depth_rates(drop_path, sum(depths)))
    return nn.ModuleList(
        MixStage(
            channels if not stage else dims[stage - 1],
            width,
            stride=2 if stage else 4,
            heads=heads[stage],
            reduction=reductions[stage],
            drop_path=[next(rates) for _ in range(depths[stage])],
        )
        for stage, width in enumerate(dims)
    )


def least_side(reductions: Sequence[int]) -> int:
    """Returns the pixels of a side whose map of keys still has a place in every stage."""
    return max(4 * 2**stage * reduction for stage, reduction in enumerate(reductions))


def maps_of(stages: Iterable[Any], images: Tensor) -> list[Tensor]:
    """Returns the map of each stage, the finest first."""
    maps = []
    for stage in stages:
        images = stage(images)
        maps.append(images)
    return maps


def init_patches_(stages: nn.Module) -> None:
    """Initialises convolutions as published: a normal of the variance 2 / fan_out."""
    for module in stages.modules():
        if isinstance(module, nn.Conv2d):
            outputs = module.weight[0, 0].numel() * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / outputs))
            assert module.bias is not None
            nn.init.zeros_(module.bias)
