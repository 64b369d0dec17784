"""Vision and detection transformers: a Swin whose detection tokens answer, and a decoder without a neck."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.layout import Layout
from headway.core.mixers import DeformableAttention, PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.stacks import QueryDecoder
from headway.core.systems import system
from headway.vision.layers import BoxHead, MapProjections
from headway.vision.layers.reconfigured_attention import ReconfiguredAttention
from headway.vision.models.boxes import rows_first
from headway.vision.models.by_size import by_size
from headway.vision.models.class_prior import LIKELY, unlikely_
from headway.vision.models.deformable_detr import SIDE
from headway.vision.models.denoising import logit
from headway.vision.models.detections import Labelled, SigmoidDetections
from headway.vision.models.detector import ObjectDetector
from headway.vision.models.query_selection import expected_shares
from headway.vision.models.swin import Swin

# As the authors' Swin has it.
NORM = partial(LayerNorm, eps=1e-5)


def reconfigured_swin(
    *,
    dim: int = 96,
    depths: Sequence[int] = (2, 2, 6, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
    cross: Sequence[int] = (-1,),
    position_dim: int = 256,
    drop_path: float = 0.0,
) -> Swin:
    """Returns a Swin whose windows detection tokens pass through; this is what recipes name.

    Args:
        dim: Channels of a token of the first stage.
        depths: Blocks of each stage.
        heads: Heads of the mixers of each stage.
        window: Side of a window in tokens.
        cross: Stages in which detection tokens read the patches.
        position_dim: Channels of the positions of detection tokens: ``dim`` of the detector.
        drop_path: Rate of stochastic depth of the last block.
    """
    reading = {place % len(depths) for place in cross}
    mixer = [
        partial(
            ReconfiguredAttention,
            window=window,
            shift=window // 2 if place % 2 else 0,
            cross=stage in reading,
            position_dim=position_dim,
        )
        for stage, depth in enumerate(depths)
        for place in range(depth)
    ]
    return Swin(
        num_classes=0,
        embedding=partial(PatchEmbedding, patch=4, norm=NORM, remainder="pad"),
        norm=NORM,
        resampler=partial(PatchMerging, norm=NORM),
        dim=dim,
        depths=depths,
        heads=heads,
        mixer=mixer,
        final_norm=False,
        drop_path=drop_path,
    )


@system(
    id=165,
    name="ViDT",
    paper="https://arxiv.org/abs/2110.03921",
    claim="detection tokens go through the windows of a Swin with its own weights and read patches in the "
    "last stage; they and maps of all stages are all that a deformable decoder needs, or no decoder at all",
    test="packages/vision/tests/models/test_vidt.py",
)
class ViDT(ObjectDetector):
    """A Swin with detection tokens, and a decoder that refines what they found.

    Pictures of a batch may differ in size: those of one size go through the model together.

    Args:
        num_classes: Classes.
        backbone: A Swin of ``ReconfiguredAttention`` (``reconfigured_swin``).
        dim: Channels of a query, and of the positions of detection tokens.
        heads: Heads of the mixers of the decoder.
        queries: Detection tokens: how many objects a picture may have.
        depth: Blocks of the decoder; with 0 detection tokens answer themselves.
        overlaps: Whether queries say in training how well their boxes fit (ViDT+).
        labels: Whether tokens of the maps say in training which classes lie there (ViDT+).
        mixer: Builds the mixer of queries, ``(dim, heads)``.
        attention: Builds the mixer from maps to queries, ``(dim, heads, levels=)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``SigmoidDetections``.

    Raises:
        UserError: If a block of the Swin has other windows, or ``labels`` has no decoder to learn for.

    Source:
        Song et al. 2021, https://arxiv.org/abs/2110.03921; ViDT+: Song et al. 2022,
        https://arxiv.org/abs/2204.07962.
    """

    loss: ClassVar[str] = "joint"
    undecayed: ClassVar[tuple[str, ...]] = ("tokens", "positions")

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Swin,
        dim: int = 256,
        heads: int = 8,
        queries: int = 100,
        depth: int = 6,
        overlaps: bool = False,
        labels: bool = False,
        mixer: MixerFactories = partial(PositionedSelfAttention, out_dropout=0.1),  # noqa: B008
        attention: MixerFactory = partial(DeformableAttention, out_dropout=0.1),  # noqa: B008
        feedforward: FeedForwardFactory = partial(  # noqa: B008
            MLP, hidden_dim=1024, activation=nn.ReLU, dropout=0.1
        ),
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
    ) -> None:
        super().__init__(num_classes=num_classes, name="vidt")
        if queries < 1 or depth < 0:
            raise UserError(f"queries {queries} must be at least 1 and depth {depth} not negative")
        if labels and not depth:
            raise UserError("labels=True teaches the maps of a decoder: give depth of at least 1")
        _check_windows(backbone, dim)
        self.backbone = backbone
        self.tokens = nn.Parameter(truncated_normal_(torch.empty(1, queries, backbone.dims[0])))
        self.positions = nn.Parameter(truncated_normal_(torch.empty(1, queries, dim)))
        self.query_projection = _narrowed(backbone.dims[-1], dim)
        self.position_projection = _narrowed(dim, dim)
        self.reference = nn.Linear(dim, 2)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)
        self.decoder = None
        if depth:
            channels = [*backbone.dims[1:], dim]
            self.last = PatchMerging(backbone.dims[-1], dim, norm=NORM)
            init_transformer_(self.last)
            self.projections = MapProjections(channels, dim, levels=len(channels))
            by_level: Any = attention
            self.decoder = QueryDecoder(
                dim,
                depth,
                heads,
                mixer=mixer,
                cross=partial(by_level, levels=len(channels)),
                feedforward=feedforward,
                norm=norm,
                block=PostNormBlock,
                final_norm=False,
            )
            init_transformer_(self.decoder)
        answers = range(depth + 1)
        self.class_heads = nn.ModuleList([nn.Linear(dim, num_classes) for _ in answers])
        self.box_heads = nn.ModuleList([BoxHead(dim) for _ in answers])
        self.overlap_heads = (
            nn.ModuleList([BoxHead(dim, out=1) for _ in answers]) if overlaps else None
        )
        self.label_projection = nn.Sequential(nn.Linear(dim, dim), norm(dim)) if labels else None
        self.label_head = nn.Linear(dim, num_classes) if labels else None
        for place, head in enumerate(self.box_heads):
            head.stay_()  # pyright: ignore[reportCallIssue]
            if place == 0:
                nn.init.constant_(head.layers[-1].bias.data[2:], SIDE)  # pyright: ignore
        self._begin_classes()

    def _begin_classes(self) -> None:
        for head in (*self.class_heads, *([self.label_head] if self.label_head else [])):
            unlikely_(head, LIKELY)

    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> SigmoidDetections:
        """Returns logits and boxes of every detection token."""
        return by_size(images, sizes, self._found)

    def body(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns the maps of all stages but the first, and the detection tokens behind the last.

        Args:
            images: Pictures of one size.
        """
        x, layout = self.backbone.embed(images)
        queries = self.tokens.to(x.dtype).expand(x.shape[0], -1, -1)
        count, maps = queries.shape[1], []
        for place, stage in enumerate(self.backbone.stages):
            own: Any = stage
            if own.downsample is not None:
                # A detection token is all four neighbours of itself.
                merging = own.downsample
                queries = merging.projection(merging.norm(queries.repeat(1, 1, 4)))
                x, layout = merging(x, layout)
            mixed = layout.replace(prefix=count, embedding=self.positions.to(x.dtype))
            x = torch.cat([queries, x], dim=1)
            for block in own.blocks:
                x, _ = own.recomputed(block)(x, mixed)
            queries, x = x[:, :count], x[:, count:]
            if place:
                maps.append(_map(x, layout))
        if self.decoder is not None:
            maps.append(_map(*self.last(x, layout)))
        return maps, queries

    def _found(self, images: Tensor, rows: list[int] | None) -> SigmoidDetections:
        """Returns what is found in pictures of one size."""
        maps, queries = self.body(images)
        x = self.query_projection(queries.transpose(1, 2)).transpose(1, 2)
        place = self.position_projection(self.positions.to(x.dtype).transpose(1, 2)).transpose(1, 2)
        at = self.reference(place).float().sigmoid().expand(x.shape[0], -1, -1)
        found = [self._answer(0, x, at)]
        labelled: tuple[Labelled, ...] = ()
        if self.decoder is not None:
            maps = self.projections(maps)
            levels = tuple((one.shape[2], one.shape[3]) for one in maps)
            memory = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
            for step, block in enumerate(self.decoder.blocks):
                layout = Layout(embedding=place, positions=rows_first(found[-1][1].detach()))
                x, _ = self.decoder.recomputed(block)(
                    x, layout, context=memory, context_layout=Layout(levels=levels)
                )
                found.append(self._answer(step + 1, x, found[-1][1].detach()))
            if self.training and self.label_head is not None:
                rows = list(range(len(images))) if rows is None else rows
                labelled = (Labelled(rows, self._labels(memory, levels), levels),)
        logits, boxes, *fit = found[-1]
        if not self.training:
            return SigmoidDetections(logits, boxes)
        return SigmoidDetections(
            logits, boxes, tuple(found[:-1]), edges=tuple(fit), labelled=labelled
        )

    def _answer(self, step: int, x: Tensor, at: Tensor) -> tuple[Tensor, ...]:
        """Returns logits and boxes, in training also how well these fit, behind so many blocks."""
        heads: Any = (self.class_heads[step], self.box_heads[step])
        box = (heads[1].logits(x).float() + F.pad(logit(at), (0, 4 - at.shape[-1]))).sigmoid()
        if not self.training or self.overlap_heads is None:
            return heads[0](x), box
        fit: Any = self.overlap_heads[step]
        return heads[0](x), box, fit.logits(x)[..., 0]

    def _labels(self, memory: Tensor, levels: Sequence[tuple[int, int]]) -> Tensor:
        """Returns the logits of each class for each token; those near a border say the same of all."""
        assert self.label_projection is not None
        assert self.label_head is not None
        _, valid = expected_shares(levels, memory.device)
        return self.label_head(self.label_projection(memory * valid.to(memory.dtype)))

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """Returns the layers that compute logits and boxes of the last block."""
        return self.class_heads[-1], self.box_heads[-1]

    def new_classifier(self, num_classes: int) -> None:
        """Replaces all that knows the classes by new layers: of each block, and of the tokens of maps."""
        for place, head in enumerate(self.class_heads):
            weight: Any = head.weight
            self.class_heads[place] = nn.Linear(weight.shape[1], num_classes).to(weight)
        if self.label_head is not None:
            weight = self.label_head.weight
            self.label_head = nn.Linear(weight.shape[1], num_classes).to(weight)
        self._begin_classes()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.backbone.set_grad_checkpointing(enable)
        if self.decoder is not None:
            self.decoder.checkpointing = enable


def _check_windows(backbone: nn.Module, dim: int) -> None:
    if not isinstance(backbone, Swin):
        raise UserError(
            f"ViDT detects with a Swin, got {type(backbone).__name__}; use reconfigured_swin"
        )
    blocks: Any = [block for stage in backbone.stages for block in stage.blocks]  # pyright: ignore
    mixers = [block.mixer.function for block in blocks]
    for one in mixers:
        if not isinstance(one, ReconfiguredAttention) or one.placing.in_features != dim:
            raise UserError(
                f"every mixer of the Swin must be a ReconfiguredAttention with position_dim={dim}, got "
                f"{type(one).__name__}; use reconfigured_swin"
            )


def _narrowed(channels: int, dim: int) -> nn.Sequential:
    """Returns a projection of tokens (B, C, N) with a norm over all of them."""
    projection = nn.Conv1d(channels, dim, 1)
    nn.init.xavier_uniform_(projection.weight)
    nn.init.zeros_(projection.bias)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(projection, nn.GroupNorm(math.gcd(32, dim), dim))


def _map(x: Tensor, layout: Layout) -> Tensor:
    assert layout.grid is not None
    return x.transpose(1, 2).unflatten(2, layout.grid)
