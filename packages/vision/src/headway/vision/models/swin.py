"""The Swin transformer."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.embeddings import PatchEmbedding
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.mixers import WindowAttention
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.stacks.stack import BlockFactory
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.vision.models.pyramid import Pyramid

# Plain and shifted windows in turns, as published.
WINDOWS = (partial(WindowAttention, window=7), partial(WindowAttention, window=7, shift=3))


@system(
    id=None,
    name="Swin",
    paper="https://arxiv.org/abs/2103.14030",
    claim="shifted windows connect neighbouring windows at linear cost, equal to timm's with copied weights",
    test="packages/vision/tests/models/test_swin.py",
)
class Swin(Pyramid):
    """Stages of blocks; between two of them 2 x 2 tokens become one of twice the width.

    Pictures of any size will do: what patches, merging and windows do not divide is filled up with
    zeros. Any mixer for tokens on a grid may take the place of the windows.

    Args:
        image_size: Side, or (height, width), in pixels that the model prefers; any other will do.
        num_classes: Classes; with 0 the model returns the pooled vector.
        dim: Channels of a token of the first stage.
        depths: Blocks of each stage.
        heads: Heads of the mixers of each stage.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        mixer: Builds the token mixer, ``(dim, heads)``. A sequence is cycled over each stage, or has one
            entry for every block of the model.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        resampler: Builds what stands between two stages, ``(dim, 2 * dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.
        head: Builds the head, ``(dim of the last stage, num_classes)``.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Liu et al. 2021, https://arxiv.org/abs/2103.14030.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
        dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        embedding: Callable[[int], nn.Module] = partial(  # noqa: B008
            PatchEmbedding, patch=4, norm=LayerNorm, remainder="pad"
        ),
        mixer: MixerFactories = WINDOWS,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        resampler: Callable[[int, int], Sublayer] = PatchMerging,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        head: Callable[[int, int], ClassificationHead] = partial(  # noqa: B008
            ClassificationHead, pooling=AveragePooling
        ),
    ) -> None:
        super().__init__(
            image_size=image_size,
            num_classes=num_classes,
            dims=[dim * 2**place for place in range(len(depths))],
            depths=depths,
            heads=heads,
            embedding=embedding,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            resampler=resampler,
            layer_scale=layer_scale,
            drop_path=drop_path,
            head=head,
        )
