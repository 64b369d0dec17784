"""The conditional detection transformer."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import NormalizedSinusoidalPosition
from headway.core.positions.sinusoidal import sinusoids
from headway.core.stacks import Encoder, Stack
from headway.core.systems import system
from headway.vision.layers import BoxHead
from headway.vision.layers.conditional_attention import (
    ConditionalCrossAttention,
    ConditionalSelfAttention,
)
from headway.vision.models.class_prior import LIKELY, unlikely_
from headway.vision.models.denoising import logit
from headway.vision.models.detections import SigmoidDetections
from headway.vision.models.map_detector import MapDetector


@system(
    id=None,
    name="Conditional DETR",
    paper="https://arxiv.org/abs/2108.06152",
    claim="a query looks around a place of its own, apart from what it looks for; equal to transformers' "
    "with copied weights",
    test="packages/vision/tests/models/test_conditional_detr.py",
)
class ConditionalDETR(MapDetector):
    """A backbone, an encoder over its last map, and a decoder whose queries look around places of their own.

    Pictures of a batch may differ in size, and a picture gives in any batch what it gives alone.

    Args:
        num_classes: Classes.
        backbone: Gives a list of maps and says in ``feature_info`` how many channels they have; the last
            one is read (``ResNet``, ``Features`` of a ViT or Swin, ``TimmFeatures``).
        dim: Channels of a token.
        heads: Heads of the mixers.
        queries: Object queries: the most objects that a picture may have.
        encoder_depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        mixer: Builds the mixer of tokens, ``(dim, heads)``.
        between: Builds the mixer of queries, ``(dim, heads)``.
        cross: Builds the mixer from tokens to queries, ``(dim, heads, placed=)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        position: Builds what tells tokens their position, ``(dim)``.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``SigmoidDetections``.

    Source:
        Meng et al. 2021, https://arxiv.org/abs/2108.06152.
    """

    loss: ClassVar[str] = "focal"
    undecayed: ClassVar[tuple[str, ...]] = ("queries",)

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        heads: int = 8,
        queries: int = 300,
        encoder_depth: int = 6,
        decoder_depth: int = 6,
        mixer: MixerFactories = partial(PositionedSelfAttention, out_dropout=0.1),  # noqa: B008
        between: MixerFactory = partial(ConditionalSelfAttention, out_dropout=0.1),  # noqa: B008
        cross: MixerFactory = partial(ConditionalCrossAttention, out_dropout=0.1),  # noqa: B008
        feedforward: FeedForwardFactory = partial(  # noqa: B008
            MLP, hidden_dim=2048, activation=nn.ReLU, dropout=0.1
        ),
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
        position: Callable[[int], nn.Module] = NormalizedSinusoidalPosition,
    ) -> None:
        parts: Any = {"feedforward": feedforward, "norm": norm}
        own = {"mixer": mixer, "block": PostNormBlock}
        super().__init__(
            num_classes=num_classes,
            name="conditional_detr",
            backbone=backbone,
            dim=dim,
            position=position,
            encoder=Encoder(dim, encoder_depth, heads, **parts, **own, final_norm=False),
        )
        if queries < 1 or decoder_depth < 1:
            raise UserError(
                f"queries {queries} and decoder_depth {decoder_depth} must be at least 1"
            )
        self.queries = nn.Parameter(torch.randn(queries, dim))
        reads: Any = cross
        blocks = [
            PostNormBlock(
                dim, heads, mixer=between, cross=partial(reads, placed=place == 0), **parts
            )
            for place in range(decoder_depth)
        ]
        self.decoder = Stack(blocks, norm(dim))
        self.reference = _two_layers(dim, 2)
        self.query_scale = _two_layers(dim, dim)
        for part in (self.decoder, self.reference, self.query_scale):
            init_transformer_(part)
        self.class_head = nn.Linear(dim, num_classes)
        unlikely_(self.class_head, LIKELY)
        self.box_head = BoxHead(dim)
        self.box_head.stay_()

    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> SigmoidDetections:
        """Returns logits and boxes of every query."""
        memory, layout = self.encode(images, sizes)
        place = self.queries[None].to(memory.dtype)
        at = self.reference(place).float().sigmoid()
        waves = sinusoids(at.flip(-1) * (2 * math.pi), place.shape[-1]).to(memory.dtype)
        # Queries start empty: all that tells them apart is where they look.
        x = torch.zeros_like(place).expand(memory.shape[0], -1, -1)
        shift = F.pad(logit(at), (0, 2))
        found = []
        for number, block in enumerate(self.decoder.blocks):
            # What was found says how far each wave of the place counts.
            sine = waves * self.query_scale(x) if number else waves.expand_as(x)
            both = Layout(embedding=torch.cat([place.expand_as(x), sine], dim=-1))
            x, _ = self.decoder.recomputed(block)(x, both, context=memory, context_layout=layout)
            if self.training or number == len(self.decoder.blocks) - 1:
                out = self.decoder.norm(x) if self.decoder.norm is not None else x
                box = (self.box_head.logits(out).float() + shift).sigmoid()
                found.append((self.class_head(out), box))
        return SigmoidDetections(*found[-1], aux=tuple(found[:-1]))

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """Returns the layers that compute logits and boxes."""
        return self.class_head, self.box_head

    def new_classifier(self, num_classes: int) -> None:
        """Replaces the layer of the logits by a new one."""
        old = self.class_head
        self.class_head = nn.Linear(old.in_features, num_classes).to(old.weight)
        unlikely_(self.class_head, LIKELY)


def _two_layers(dim: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out))
