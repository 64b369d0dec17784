"""Light-weight detection transformers on plain vision transformers."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import DeformableAttention
from headway.core.mixers.base import TokenMixer
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.positions.sinusoidal import sinusoids
from headway.core.stacks import QueryDecoder
from headway.core.systems import system
from headway.vision.layers import (
    BoxHead,
    GroupedSelfAttention,
    MapNorm,
    ScaledProjections,
    TiledAttention,
)
from headway.vision.models.box_selection import BoxSelection, moved
from headway.vision.models.boxes import rows_first
from headway.vision.models.by_size import by_size
from headway.vision.models.class_prior import LIKELY, unlikely_
from headway.vision.models.detections import SigmoidDetections
from headway.vision.models.detector import ObjectDetector, maps_of


class LWDETROptions(TypedDict, total=False):
    """What a detector of the family passes on."""

    num_classes: int
    backbone: nn.Module
    dim: int
    heads: int
    cross_heads: int
    queries: int
    groups: int
    depth: int
    mixer: MixerFactory
    cross: MixerFactory
    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]


@system(
    id=None,
    name="LW-DETR",
    paper="https://arxiv.org/abs/2406.03459",
    claim="maps of a plain ViT with tiles go to a short decoder with no encoder, and groups of queries teach "
    "it; equal to transformers' with copied weights",
    test="packages/vision/tests/models/test_lw_detr.py",
)
class LWDETR(ObjectDetector):
    """Maps of a plain vision transformer, tokens that propose boxes, and a short deformable decoder.

    In training the queries stand there ``groups`` times; each group chooses its own boxes and is matched with
    all objects by itself. One group answers afterwards, so the others cost nothing. Pictures of a batch may
    differ in size: those of one size go through the model together.

    Args:
        num_classes: Classes.
        backbone: Gives a list of maps of one size, as ``Features`` of a ViT does.
        dim: Channels of a query.
        heads: Heads of the mixer of queries.
        cross_heads: Heads of the mixer that reads the maps.
        queries: How many objects a picture may have.
        groups: Groups of queries in training.
        depth: Blocks of the decoder.
        projections: Makes maps of each scale, ``(channels, dim)``.
        mixer: Builds the mixer of queries, ``(dim, heads, size=)``.
        cross: Builds the mixer from maps to queries, ``(dim, heads, levels=)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``SigmoidDetections``.

    Source:
        Chen et al. 2024, https://arxiv.org/abs/2406.03459.
    """

    architecture: ClassVar[str] = "lw_detr"
    loss: ClassVar[str] = "aligned"
    undecayed: ClassVar[tuple[str, ...]] = ("first", "first_boxes")

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        heads: int = 8,
        cross_heads: int = 16,
        queries: int = 300,
        groups: int = 13,
        depth: int = 3,
        projections: Callable[[Sequence[int], int], ScaledProjections] = ScaledProjections,
        mixer: MixerFactory = GroupedSelfAttention,
        cross: MixerFactory = DeformableAttention,
        feedforward: FeedForwardFactory = partial(MLP, hidden_dim=2048, activation=nn.ReLU),  # noqa: B008
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
    ) -> None:
        super().__init__(num_classes=num_classes, name=self.architecture)
        if min(queries, groups, depth) < 1:
            raise UserError(
                f"queries {queries}, groups {groups} and depth {depth} must be at least 1"
            )
        self.queries, self.groups = queries, groups
        self.backbone = backbone
        info = maps_of(backbone)
        self.projections = projections([one["num_chs"] for one in info], dim)
        tiles = [one.tiles for one in backbone.modules() if isinstance(one, TiledAttention)]
        self.pretrained_cfg["multiple"] = info[0]["reduction"] * math.lcm(*tiles)
        self.selections = nn.ModuleList(
            [BoxSelection(dim, num_classes, queries, norm=norm) for _ in range(groups)]
        )
        self.first = nn.Parameter(torch.randn(groups * queries, dim))
        # Boxes begin as they are proposed.
        self.first_boxes = nn.Parameter(torch.zeros(groups * queries, 4))
        make_mixer: Any = mixer
        make_cross: Any = partial(cross, levels=len(self.projections.scales))
        self.decoder = QueryDecoder(
            dim,
            depth,
            heads,
            mixer=partial(make_mixer, size=queries),
            cross=partial(_reader, make=make_cross, own=cross_heads),
            feedforward=feedforward,
            norm=norm,
            block=PostNormBlock,
        )
        init_transformer_(self.decoder)
        self.query_position = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.class_head = nn.Linear(dim, num_classes)
        self.box_head = BoxHead(dim)
        for head in (self.box_head, *(one.box_head for one in self.selections)):
            head.stay_()  # pyright: ignore[reportCallIssue]
        self._begin_classes()

    def _begin_classes(self) -> None:
        for head in (self.class_head, *(one.class_head for one in self.selections)):
            unlikely_(head, LIKELY)  # pyright: ignore[reportArgumentType]

    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> SigmoidDetections:
        """Returns logits and boxes of every query, of every group in training."""
        return by_size(images, sizes, self._found)

    def _found(self, images: Tensor, rows: list[int] | None) -> SigmoidDetections:
        """Returns what is found in pictures of one size."""
        maps = self.projections(self.backbone(images))
        levels = tuple((one.shape[2], one.shape[3]) for one in maps)
        memory = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
        groups = self.groups if self.training else 1
        chosen = [one(memory, levels) for one in list(self.selections)[:groups]]
        logits, boxes = (torch.cat(one, dim=1) for one in zip(*chosen, strict=True))
        count = groups * self.queries
        at = moved(boxes.detach(), self.first_boxes[:count].float())
        # Rows before columns, as the published ones have it.
        waves = sinusoids(at[..., [1, 0, 2, 3]] * (2 * math.pi), self.query_position[0].in_features)
        layout = Layout(
            embedding=self.query_position(waves.to(memory.dtype)), positions=rows_first(at)
        )
        x = self.first[None, :count].to(memory.dtype).expand(memory.shape[0], -1, -1)
        outs = self.decoder.after_each(
            x, layout, context=memory, context_layout=Layout(levels=levels)
        )
        read = outs if self.training else outs[-1:]
        found = [(self.class_head(x), moved(at, self.box_head.logits(x).float())) for x in read]
        if not self.training:
            return SigmoidDetections(*found[-1])
        return SigmoidDetections(*found[-1], aux=((logits, boxes), *found[:-1]), groups=self.groups)

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """Returns the layers that compute logits and boxes."""
        return self.class_head, self.box_head

    def new_classifier(self, num_classes: int) -> None:
        """Replaces all that knows the classes by new layers: of queries, and of what groups choose."""
        for part in (self, *self.selections):
            weight: Any = part.class_head.weight
            part.class_head = nn.Linear(weight.shape[1], num_classes).to(weight)
        self._begin_classes()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.decoder.checkpointing = enable


def _reader(
    dim: int, heads: int, *, make: Callable[[int, int], TokenMixer], own: int
) -> TokenMixer:
    """Builds a mixer with heads of its own, whatever the block has."""
    return make(dim, own)


@system(
    id=None,
    name="RF-DETR",
    paper="https://arxiv.org/abs/2511.09554",
    claim="a DINOv2 whose tiles have class tokens of their own in the place of LW-DETR's backbone, and layer "
    "norms in its projections; equal to transformers' with copied weights, read from Roboflow's files, too",
    test="packages/vision/tests/models/test_lw_detr.py",
)
class RFDETR(LWDETR):
    """An ``LWDETR`` on a DINOv2 with tiles: normalisation is of each place, so batches may be small.

    Args:
        projections: Makes maps of each scale, ``(channels, dim)``.
        **options: As of ``LWDETR``.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``SigmoidDetections``.

    Source:
        Robinson et al. 2025, https://arxiv.org/abs/2511.09554, and its code.
    """

    architecture: ClassVar[str] = "rf_detr"

    def __init__(
        self,
        *,
        projections: Callable[[Sequence[int], int], ScaledProjections] = partial(  # noqa: B008
            ScaledProjections, norm=MapNorm
        ),
        **options: Passed[LWDETROptions],
    ) -> None:
        super().__init__(projections=projections, **options)
