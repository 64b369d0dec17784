"""D-FINE: boxes whose edges are refined as distributions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.systems import system
from headway.vision.layers import BoxHead
from headway.vision.layers.elan_encoder import ELANEncoder
from headway.vision.layers.gated_block import GatedBlock
from headway.vision.layers.sampling_attention import SamplingAttention
from headway.vision.models.boxes import rows_first
from headway.vision.models.denoising import ContrastiveDenoising, logit
from headway.vision.models.edge_bins import EdgeBins, EdgeQuality
from headway.vision.models.rt_detr import RTDETR


@system(
    id=None,
    name="D-FINE",
    paper="https://arxiv.org/abs/2410.13842",
    claim="each block refines distributions of the four edges of a box; equal to transformers' with copied "
    "weights",
    test="packages/vision/tests/models/test_dfine.py",
)
class DFINE(RTDETR):
    """An RT-DETR whose blocks add to distributions of the edges of each box.

    Args:
        num_classes: Classes.
        backbone: Gives a list of maps and says in ``feature_info`` how many channels they have
            (``HGNetV2``, ``ResNetD``, ``ResNet``, ``Features``, ``TimmFeatures``).
        dim: Channels of a query.
        encoder_dim: Channels of the maps of the encoder; ``dim`` if None.
        heads: Heads of the decoder.
        queries: How many objects a picture may have.
        depth: Blocks of the decoder.
        encoder: Builds the encoder of the maps, ``(channels, encoder_dim)``.
        mixer: Builds the mixer of queries, ``(dim, heads)``.
        cross: Builds the mixer from maps to queries, ``(dim, heads, levels=)``.
        feedforward: Builds the feed-forward of the decoder, ``(dim)``.
        norm: Builds the norms of queries, ``(dim)``.
        bins: Builds the steps of edges.
        learned_queries: Whether queries begin as learned ones.
        denoising: Builds what makes queries of objects in training, ``(classes, dim)``; none if None.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``SigmoidDetections``.

    Source:
        Peng et al. 2024, https://arxiv.org/abs/2410.13842.
    """

    loss: ClassVar[str] = "fine"

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        encoder_dim: int | None = None,
        heads: int = 8,
        queries: int = 300,
        depth: int = 6,
        encoder: Callable[[Sequence[int], int], nn.Module] = ELANEncoder,
        mixer: MixerFactories = PositionedSelfAttention,
        cross: MixerFactory = SamplingAttention,
        feedforward: FeedForwardFactory = partial(MLP, hidden_dim=1024, activation=nn.ReLU),  # noqa: B008
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
        bins: Callable[[], EdgeBins] = EdgeBins,
        learned_queries: bool = False,
        denoising: Callable[[int, int], ContrastiveDenoising] | None = ContrastiveDenoising,
    ) -> None:
        parts: Any = {"mixer": mixer, "cross": cross, "feedforward": feedforward, "norm": norm}
        super().__init__(
            num_classes=num_classes,
            backbone=backbone,
            dim=dim,
            encoder_dim=encoder_dim,
            heads=heads,
            queries=queries,
            depth=depth,
            encoder=encoder,
            block=GatedBlock,
            learned_queries=learned_queries,
            denoising=denoising,
            **parts,
        )
        self.pretrained_cfg["architecture"] = "d_fine"
        if encoder_dim in (None, dim):
            self.projections = nn.ModuleList([nn.Identity() for _ in self.projections])
        self.bins = bins()
        self.first_box = BoxHead(dim)
        out = 4 * (self.bins.bins + 1)
        self.box_heads = nn.ModuleList([BoxHead(dim, out=out) for _ in range(depth)])
        self.quality = nn.ModuleList([EdgeQuality() for _ in range(depth)])
        # No block moves a box at first.
        for head in (self.first_box, *self.box_heads):
            head.stay_()  # pyright: ignore[reportCallIssue]

    def _decoded(
        self,
        x: Tensor,
        at: Tensor,
        memory: Tensor,
        levels: tuple[tuple[int, int], ...],
        mask: Tensor | None,
    ) -> tuple[tuple[Tensor, ...], ...]:
        """Returns logits and boxes behind the first layer and every block, and what the edges are made of."""
        maps = Layout(levels=levels)
        found: list[tuple[Tensor, ...]] = []
        edges = before = first = None
        for place, block in enumerate(self.decoder.blocks):
            embedding = self.query_position(at.to(x.dtype)).clamp(-10, 10)
            layout = Layout(embedding=embedding, positions=rows_first(at))
            x, _ = self.decoder.recomputed(block)(
                x, layout, context=memory, context_layout=maps, mask=mask
            )
            if first is None:
                box = (self.first_box.logits(x).float() + logit(at)).sigmoid()
                if self.training:
                    found.append((self.class_heads[0](x), box))
                first = box.detach()
            told = x if before is None else x + before
            moved = self.box_heads[place].logits(told)  # pyright: ignore[reportCallIssue]
            edges = moved if edges is None else edges + moved
            box = self.bins.boxes(edges, first)
            if self.training or place == len(self.decoder.blocks) - 1:
                scores = self.quality[place](self.class_heads[place](x), edges)
                found.append((scores, box, edges, first))
            at, before = box.detach(), x.detach()
        return tuple(found)
