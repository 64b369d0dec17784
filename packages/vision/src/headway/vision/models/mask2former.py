"""Mask2Former: queries that read within their own masks."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import (
    DeformableAttention,
    PositionedCrossAttention,
    PositionedSelfAttention,
)
from headway.core.norms import LayerNorm
from headway.core.stacks import QueryDecoder
from headway.core.systems import system
from headway.vision.layers.masked_block import MaskedBlock
from headway.vision.layers.pixel_decoder import DeformablePixelDecoder
from headway.vision.models.detector import maps_of
from headway.vision.models.masked_decoding import MaskedDecoding
from headway.vision.models.masks import Masks


@system(
    id=None,
    name="Mask2Former",
    paper="https://arxiv.org/abs/2112.01527",
    claim="queries attend within the masks that the block before gave them; equal to transformers' with "
    "copied weights",
    test="packages/vision/tests/models/test_mask2former.py",
)
class Mask2Former(MaskedDecoding):
    """A backbone, a pixel decoder of deformable attention, and a decoder of masked attention.

    The maps of the pixel decoder are read in turns, from the smallest on, one in each block.

    Args:
        num_classes: Classes, without the one for no object.
        backbone: Gives a list of maps, from the largest on, and says in ``feature_info`` how many channels
            they have (``Features`` of a Swin or another pyramid, ``ResNet``, ``TimmFeatures``). The masks are
            as large as the first.
        dim: Channels of a token.
        mask_dim: Channels in which queries and pixels are compared.
        heads: Heads of the mixers.
        queries: The most masks that a picture may have.
        levels: How many maps, from the smallest on, attend to each other and are read by queries.
        encoder_depth: Blocks of the pixel decoder.
        decoder_depth: Blocks of the decoder.
        mixer: Builds the mixer of queries, ``(dim, heads)``.
        cross: Builds the masked mixer from pixels to queries, ``(dim, heads)``.
        attention: Builds the mixer of pixels, ``(dim, heads, levels=)``.
        encoder_feedforward: Builds the feed-forward of the pixel decoder, ``(dim)``.
        feedforward: Builds that of the decoder, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Shape:
        images: (B, channels, H, W). Output: ``Masks``.

    Raises:
        UserError: If a number is below 1, or the backbone has too few maps.

    Source:
        Cheng et al. 2022, https://arxiv.org/abs/2112.01527.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        mask_dim: int = 256,
        heads: int = 8,
        queries: int = 100,
        levels: int = 3,
        encoder_depth: int = 6,
        decoder_depth: int = 9,
        mixer: MixerFactories = PositionedSelfAttention,
        cross: MixerFactory = PositionedCrossAttention,
        attention: MixerFactory = DeformableAttention,
        encoder_feedforward: FeedForwardFactory = partial(  # noqa: B008
            MLP, hidden_dim=1024, activation=nn.ReLU
        ),
        feedforward: FeedForwardFactory = partial(MLP, hidden_dim=2048, activation=nn.ReLU),  # noqa: B008
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
    ) -> None:
        super().__init__(num_classes=num_classes, name="mask2former")
        if min(queries, mask_dim, encoder_depth, decoder_depth) < 1:
            raise UserError(
                f"queries {queries}, mask_dim {mask_dim}, encoder_depth {encoder_depth} and decoder_depth "
                f"{decoder_depth} must be at least 1"
            )
        self.backbone = backbone
        self.pixels = DeformablePixelDecoder(
            [one["num_chs"] for one in maps_of(backbone)],
            dim,
            mask_dim,
            heads=heads,
            depth=encoder_depth,
            levels=levels,
            attention=attention,
            feedforward=encoder_feedforward,
            norm=norm,
        )
        self.begin_decoder(
            QueryDecoder(
                dim,
                decoder_depth,
                heads,
                mixer=mixer,
                cross=cross,
                feedforward=feedforward,
                norm=norm,
                block=MaskedBlock,
            ),
            dim,
            mask_dim,
            queries=queries,
            levels=levels,
        )

    def forward(self, images: Tensor) -> Masks:
        """Returns class and mask of every query."""
        return self.decode(*self.pixels(self.backbone(images)))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.pixels.encoder.checkpointing = self.decoder.checkpointing = enable
