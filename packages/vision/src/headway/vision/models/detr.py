"""The detection transformer."""

from collections.abc import Callable, Sequence
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
from headway.core.stacks import Encoder, QueryDecoder
from headway.core.systems import system
from headway.vision.layers import BoxHead
from headway.vision.models.detections import Detections
from headway.vision.models.map_detector import MapDetector


@system(
    id=None,
    name="DETR",
    paper="https://arxiv.org/abs/2005.12872",
    claim="queries matched one to one with objects detect without suppression of duplicates; equal to "
    "transformers' with copied weights",
    test="packages/vision/tests/models/test_detr.py",
)
class DETR(MapDetector):
    """A backbone, an encoder over its last map, and a decoder of learned object queries.

    Pictures of a batch may differ in size: each goes through the backbone by itself, and the tokens that
    fill up the map are masked. So a picture gives in any batch what it gives alone, which a convolution
    over padded pictures would not.

    Args:
        num_classes: Classes, without the one for no object.
        backbone: Gives a list of maps and says in ``feature_info`` how many channels they have; the last
            one is read (``ResNet``, ``Features`` of a ViT or Swin, ``TimmFeatures``).
        dim: Channels of a token.
        heads: Heads of the mixers.
        queries: Object queries: the most objects that a picture may have.
        encoder_depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        mixer: Builds the mixer of tokens and of queries, ``(dim, heads)``.
        cross: Builds the mixer from tokens to queries, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        position: Builds what tells tokens their position, ``(dim)``.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``Detections``.

    Source:
        Carion et al. 2020, https://arxiv.org/abs/2005.12872.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("queries",)

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        heads: int = 8,
        queries: int = 100,
        encoder_depth: int = 6,
        decoder_depth: int = 6,
        mixer: MixerFactories = partial(PositionedSelfAttention, out_dropout=0.1),  # noqa: B008
        cross: MixerFactory = partial(PositionedCrossAttention, out_dropout=0.1),  # noqa: B008
        feedforward: FeedForwardFactory = partial(  # noqa: B008
            MLP, hidden_dim=2048, activation=nn.ReLU, dropout=0.1
        ),
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
        block: BlockFactory = PostNormBlock,
        position: Callable[[int], nn.Module] = NormalizedSinusoidalPosition,
    ) -> None:
        parts: Any = {"mixer": mixer, "feedforward": feedforward, "norm": norm, "block": block}
        super().__init__(
            num_classes=num_classes,
            name="detr",
            backbone=backbone,
            dim=dim,
            position=position,
            encoder=Encoder(dim, encoder_depth, heads, **parts, final_norm=False),
        )
        if queries < 1:
            raise UserError(f"queries must be at least 1, got {queries}")
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.decoder = QueryDecoder(dim, decoder_depth, heads, cross=cross, **parts)
        init_transformer_(self.decoder)
        self.class_head = nn.Linear(dim, num_classes + 1)
        self.box_head = BoxHead(dim)

    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> Detections:
        """Returns logits and boxes of every query."""
        memory, layout = self.encode(images, sizes)
        positions = self.queries[None].to(memory.dtype)
        # Queries start empty: all that tells them apart is their embedding.
        empty = torch.zeros_like(positions).expand(memory.shape[0], -1, -1)
        outs = self.decoder.after_each(  # pyright: ignore[reportCallIssue]
            empty, Layout(embedding=positions), context=memory, context_layout=layout
        )
        read = outs if self.training else outs[-1:]
        answers = [(self.class_head(out), self.box_head(out)) for out in read]
        return Detections(*answers[-1], aux=tuple(answers[:-1]))

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """Returns the layers that compute logits and boxes."""
        return self.class_head, self.box_head

    def new_classifier(self, num_classes: int) -> None:
        """Replaces the layer of the logits by a new one."""
        old = self.class_head
        self.class_head = nn.Linear(old.in_features, num_classes + 1).to(old.weight)
