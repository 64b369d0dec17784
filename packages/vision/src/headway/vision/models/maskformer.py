"""MaskFormer: a decoder as DETR's gives masks in place of boxes."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import PositionedCrossAttention, PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import NormalizedSinusoidalPosition
from headway.core.stacks import QueryDecoder
from headway.core.systems import system
from headway.vision.layers.box_head import BoxHead
from headway.vision.layers.pixel_decoder import PyramidPixelDecoder
from headway.vision.models.detector import maps_of
from headway.vision.models.mask_segmenter import MaskSegmenter
from headway.vision.models.masks import Masks


@system(
    id=None,
    name="MaskFormer",
    paper="https://arxiv.org/abs/2107.06278",
    claim="classes of pixels and of objects are found alike, as masks with one class each; equal to "
    "transformers' with copied weights",
    test="packages/vision/tests/models/test_maskformer.py",
)
class MaskFormer(MaskSegmenter):
    """A backbone, a pyramid of its maps for pixels, and a decoder that reads the last map for masks.

    Args:
        num_classes: Classes, without the one for no object.
        backbone: Gives a list of maps, from the largest on, and says in ``feature_info`` how many channels
            they have (``Features`` of a Swin or another pyramid, ``ResNet``, ``TimmFeatures``). The masks are
            as large as the first.
        dim: Channels of a token.
        pixel_dim: Channels of the pyramid.
        mask_dim: Channels in which queries and pixels are compared.
        heads: Heads of the mixers.
        queries: The most masks that a picture may have.
        depth: Blocks of the decoder.
        mixer: Builds the mixer of queries, ``(dim, heads)``.
        cross: Builds the mixer from tokens to queries, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.

    Shape:
        images: (B, channels, H, W). Output: ``Masks``.

    Raises:
        UserError: If a number is below 1, or the backbone has a single map.

    Source:
        Cheng et al. 2021, https://arxiv.org/abs/2107.06278.
    """

    loss: ClassVar[str] = "focal"
    undecayed: ClassVar[tuple[str, ...]] = ("queries",)

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        pixel_dim: int = 256,
        mask_dim: int = 256,
        heads: int = 8,
        queries: int = 100,
        depth: int = 6,
        mixer: MixerFactories = partial(PositionedSelfAttention, out_dropout=0.1),  # noqa: B008
        cross: MixerFactory = partial(PositionedCrossAttention, out_dropout=0.1),  # noqa: B008
        feedforward: FeedForwardFactory = partial(  # noqa: B008
            MLP, hidden_dim=2048, activation=nn.ReLU, dropout=0.1
        ),
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
        block: BlockFactory = PostNormBlock,
    ) -> None:
        super().__init__(num_classes=num_classes, name="maskformer")
        if min(queries, pixel_dim, mask_dim, depth) < 1:
            raise UserError(
                f"queries {queries}, pixel_dim {pixel_dim}, mask_dim {mask_dim} and depth {depth} must be at "
                "least 1"
            )
        channels = [one["num_chs"] for one in maps_of(backbone)]
        self.backbone = backbone
        self.pixels = PyramidPixelDecoder(channels, pixel_dim, mask_dim)
        # As published: what is wide enough already is read as it is.
        last = channels[-1]
        self.projection = nn.Conv2d(last, dim, 1) if last != dim else nn.Identity()
        self.position = NormalizedSinusoidalPosition(dim)
        self.queries = nn.Parameter(torch.randn(queries, dim))
        parts: Any = {"mixer": mixer, "feedforward": feedforward, "norm": norm, "block": block}
        self.decoder = QueryDecoder(dim, depth, heads, cross=cross, **parts)
        init_transformer_(self.decoder)
        self.class_head = nn.Linear(dim, num_classes + 1)
        self.mask_head = BoxHead(dim, out=mask_dim)

    def forward(self, images: Tensor) -> Masks:
        """Returns class and mask of every query."""
        maps = self.backbone(images)
        pixels, last = self.pixels(maps), self.projection(maps[-1])
        layout = Layout(grid=(last.shape[2], last.shape[3]))
        context = last.flatten(2).transpose(1, 2)
        there = layout.replace(embedding=self.position(layout, context.shape[1]).to(context))
        positions = self.queries[None].to(context.dtype)
        # Queries start empty: all that tells them apart is their embedding.
        empty = torch.zeros_like(positions).expand(images.shape[0], -1, -1)
        outs = self.decoder.after_each(
            empty, Layout(embedding=positions), context=context, context_layout=there
        )
        read = outs if self.training else outs[-1:]
        found = [
            (
                self.class_head(out),
                torch.einsum("bqc,bchw->bqhw", self.mask_head.logits(out), pixels),
            )
            for out in read
        ]
        return Masks(*found[-1], aux=tuple(found[:-1]))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.decoder.checkpointing = enable
