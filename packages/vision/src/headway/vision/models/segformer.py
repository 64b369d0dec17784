"""SegFormer: a pyramid without positions, and a head of linear layers that gives each pixel a class."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import depth_rates
from headway.core.systems import system
from headway.vision.layers.spatial_reduction import EPS, MixBlock, as_maps, resized, tokens
from headway.vision.models.segmenter import Segmenter


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
        if not dims or not len(dims) == len(depths) == len(heads) == len(reductions):
            raise UserError(
                f"dims, depths, heads and reductions have {len(dims)}, {len(depths)}, {len(heads)} and "
                f"{len(reductions)} entries; give each stage one"
            )
        strides = [4 * 2**stage for stage in range(len(dims))]
        # A side of the map of keys has a place at least.
        self.least = max(a * b for a, b in zip(strides, reductions, strict=True))
        rates = iter(depth_rates(drop_path, sum(depths)))
        self.stages = nn.ModuleList(
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
        self.projections = nn.ModuleList(nn.Linear(width, dim) for width in dims)
        self.fuse = nn.Conv2d(len(dims) * dim, dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(dim, num_classes, 1)
        init_transformer_(self)
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):
                # As published: a normal of the variance 2 / fan_out.
                outputs = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / outputs))
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def features(self, images: Tensor) -> list[Tensor]:
        """Returns the map of each stage, the finest first."""
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps

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

    def get_classifier(self) -> nn.Module:
        """Returns the layer of the logits."""
        return self.classifier

    def new_classifier(self, num_classes: int) -> None:
        """Replaces the layer of the logits."""
        old = self.classifier
        self.classifier = nn.Conv2d(old.in_channels, num_classes, 1).to(old.weight)

    def layer_depth(self, name: str) -> int:
        """Returns 0 for the stages and 1 for the head: ``layer_decay`` is the ratio of their rates."""
        return 0 if name.startswith("stages.") else 1
