"""The second version of the Swin transformer."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from headway.core.blocks import ResidualPostNorm, ResidualPostNormBlock
from headway.core.blocks.block import BlockFactory, MixerFactories
from headway.core.heads import ClassificationHead
from headway.core.mixers import CosineWindowAttention
from headway.core.passed import Passed
from headway.core.resample import PostNormPatchMerging
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.vision.models.pyramid import PyramidSizes
from headway.vision.models.swin import Swin

# Plain and shifted windows in turns.
WINDOWS = (
    partial(CosineWindowAttention, window=8),
    partial(CosineWindowAttention, window=8, shift=4),
)


class SwinV2Options(PyramidSizes, total=False):
    """What ``SwinV2`` passes on to ``Swin``."""

    dim: int
    depths: Sequence[int]
    heads: Sequence[int]
    embedding: Callable[[int], nn.Module]
    norm: Callable[[int], nn.Module]
    layer_scale: float | None
    head: Callable[[int, int], ClassificationHead]


@system(
    id=None,
    name="Swin V2",
    paper="https://arxiv.org/abs/2111.09883",
    claim="scores are cosines and places go through a network, equal to timm's and transformers' with "
    "copied weights",
    test="packages/vision/tests/models/test_swin_v2.py",
)
class SwinV2(Swin):
    """A Swin whose scores are cosines, whose places go through a network and whose branches end in norms.

    Pictures of any size will do. Branches are silent at first: their norms begin with a weight of zero.

    Args:
        mixer: Builds the token mixer, ``(dim, heads)``. A sequence is cycled over each stage, or has one
            entry for every block of the model.
        block: Builds a block, ``(dim, heads, ...)``.
        resampler: Builds what stands between two stages, ``(dim, 2 * dim)``.
        **options: As of every ``Swin``: image_size, num_classes, dim, depths, heads, embedding, feedforward,
            norm, final_norm, layer_scale, drop_path and head.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Liu et al. 2021, https://arxiv.org/abs/2111.09883.
    """

    def __init__(
        self,
        *,
        mixer: MixerFactories = WINDOWS,
        block: BlockFactory = ResidualPostNormBlock,
        resampler: Callable[[int, int], Sublayer] = PostNormPatchMerging,
        **options: Passed[SwinV2Options],
    ) -> None:
        super().__init__(mixer=mixer, block=block, resampler=resampler, **options)
        for part in self.modules():
            if isinstance(part, ResidualPostNorm):
                nn.init.zeros_(part.norm.get_parameter("weight"))
