"""Queries with masks that read the maps of a pixel decoder in turns."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.positions import NormalizedSinusoidalPosition
from headway.core.stacks import QueryDecoder
from headway.vision.layers.box_head import BoxHead
from headway.vision.models.mask_segmenter import MaskSegmenter
from headway.vision.models.masks import Masks


class MaskedDecoding(MaskSegmenter):
    """The decoder of Mask2Former and its relatives: each block reads within the masks of the one before.

    A subclass calls ``begin_decoder`` when it is built, and gives ``decode`` the maps of its pixel decoder.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("queries", "query_embedding", "level_embedding")

    def begin_decoder(
        self, decoder: QueryDecoder, dim: int, mask_dim: int, *, queries: int, levels: int
    ) -> None:
        """Builds what ``decode`` needs.

        Args:
            decoder: Blocks that take ``mask``, and a norm.
            dim: Channels of a token.
            mask_dim: Channels in which queries and pixels are compared.
            queries: The most masks that a picture may have.
            levels: Maps that queries read.
        """
        self.position = NormalizedSinusoidalPosition(dim)
        self.level_embedding = nn.Parameter(torch.randn(levels, dim))
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.query_embedding = nn.Parameter(torch.randn(queries, dim))
        self.decoder = decoder
        init_transformer_(self.decoder)
        self.class_head = nn.Linear(dim, self.num_classes + 1)
        self.mask_head = BoxHead(dim, out=mask_dim)

    def decode(self, pixels: Tensor, maps: Sequence[Tensor]) -> Masks:
        """Returns class and mask of every query.

        Args:
            pixels: The map of which masks are made, (B, mask_dim, H, W).
            maps: What the queries read, a list of (B, dim, h, w), one for each level.
        """
        contexts = []
        for one, level in zip(maps, self.level_embedding, strict=True):
            layout = Layout(grid=(one.shape[2], one.shape[3]))
            x = one.flatten(2).transpose(1, 2) + level
            embedding = self.position(layout, x.shape[1]).to(x)
            contexts.append((x, layout.replace(embedding=embedding)))
        x = self.queries[None].to(pixels.dtype).expand(pixels.shape[0], -1, -1)
        layout = Layout(embedding=self.query_embedding[None])
        found = [self._answer(x, pixels)]
        for place, block in enumerate(self.decoder.blocks):
            context, there = contexts[place % len(contexts)]
            x, _ = self.decoder.recomputed(block)(
                x,
                layout,
                context=context,
                context_layout=there,
                mask=self.may_read(found[-1][1], there.grid),
            )
            found.append(self._answer(x, pixels))
        logits, masks = found[-1]
        return Masks(logits, masks, tuple(found[:-1]) if self.training else ())

    def may_read(self, masks: Tensor, grid: tuple[int, ...] | None) -> Tensor:
        """Returns which tokens of a map each query may read: those in its mask, or all where that is empty.

        Shape:
            masks: logits, (B, Q, h, w). Output: (B, 1, Q, rows * columns of the grid) bool.
        """
        inside = within(masks, grid)
        return inside | ~inside.any(-1, keepdim=True)

    def _answer(self, x: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns class and mask of queries."""
        assert self.decoder.norm is not None
        x = self.decoder.norm(x)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_head.logits(x), pixels)
        return self.class_head(x), masks


def within(masks: Tensor, grid: tuple[int, ...] | None) -> Tensor:
    """Returns which tokens of a map lie in the mask of each query.

    Shape:
        masks: logits, (B, Q, h, w). Output: (B, 1, Q, rows * columns of the grid) bool.
    """
    small = F.interpolate(masks.detach(), size=grid, mode="bilinear", align_corners=False)
    return (small >= 0).flatten(2)[:, None]
