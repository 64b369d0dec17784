"""The Swin transformer."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from headway.core.blocks.block import MixerFactories
from headway.core.embeddings import PatchEmbedding
from headway.core.mixers import WindowAttention
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.resample import PatchMerging
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.vision.models.pyramid import Pyramid, PyramidOptions

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
        dim: Channels of a token of the first stage.
        depths: Blocks of each stage.
        heads: Heads of the mixers of each stage.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        mixer: Builds the token mixer, ``(dim, heads)``. A sequence is cycled over each stage, or has one
            entry for every block of the model.
        norm: Builds the norms, ``(dim)``.
        resampler: Builds what stands between two stages, ``(dim, 2 * dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        **options: As of every ``Pyramid``: image_size, num_classes, feedforward, block, final_norm, drop_path
            and head.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Liu et al. 2021, https://arxiv.org/abs/2103.14030.
    """

    def __init__(
        self,
        *,
        dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        embedding: Callable[[int], nn.Module] = partial(  # noqa: B008
            PatchEmbedding, patch=4, norm=LayerNorm, remainder="pad"
        ),
        mixer: MixerFactories = WINDOWS,
        norm: Callable[[int], nn.Module] = LayerNorm,
        resampler: Callable[[int, int], Sublayer] = PatchMerging,
        layer_scale: float | None = None,
        **options: Passed[PyramidOptions],
    ) -> None:
        super().__init__(
            dims=[dim * 2**place for place in range(len(depths))],
            depths=depths,
            heads=heads,
            embedding=embedding,
            mixer=mixer,
            norm=norm,
            resampler=resampler,
            layer_scale=layer_scale,
            **options,
        )
