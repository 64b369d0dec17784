"""The real-time detection transformer."""

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
from headway.core.mixers import DeformableAttention, PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks import QueryDecoder, Stack
from headway.core.systems import system
from headway.vision.layers import BoxHead, ConvNorm, HybridEncoder
from headway.vision.models.boxes import rows_first
from headway.vision.models.by_size import by_size
from headway.vision.models.class_prior import unlikely_
from headway.vision.models.denoising import ContrastiveDenoising, logit
from headway.vision.models.detections import Denoised, Pairs, SigmoidDetections
from headway.vision.models.detector import ObjectDetector, maps_of
from headway.vision.models.query_selection import QuerySelection


@system(
    id=None,
    name="RT-DETR",
    paper="https://arxiv.org/abs/2304.08069",
    claim="tokens of all maps are the first queries, attention runs over the smallest map alone, and noisy "
    "objects teach the decoder; equal to transformers' with copied weights",
    test="packages/vision/tests/models/test_rt_detr.py",
)
class RTDETR(ObjectDetector):
    """A backbone, a hybrid encoder, queries chosen among its tokens, and a decoder that refines their boxes.

    Pictures of a batch may differ in size: those of one size go through the model together, so a picture
    gives in any batch what it gives alone.

    Args:
        num_classes: Classes.
        backbone: Gives a list of maps and says in ``feature_info`` how many channels they have (``ResNetD``,
            ``ResNet``, ``Features``, ``TimmFeatures``).
        dim: Channels of a query.
        encoder_dim: Channels of the maps of the encoder; ``dim`` if None.
        heads: Heads of the decoder.
        queries: How many objects a picture may have.
        depth: Blocks of the decoder.
        encoder: Builds the encoder of the maps, ``(channels, encoder_dim)``.
        mixer: Builds the mixer of queries, ``(dim, heads)``.
        cross: Builds the mixer from maps to queries, ``(dim, heads, levels=)``; it steps from boxes.
        feedforward: Builds the feed-forward of the decoder, ``(dim)``.
        norm: Builds the norms of queries, ``(dim)``.
        block: Builds a block of the decoder, ``(dim, heads, ...)``.
        learned_queries: Whether queries begin as learned ones, and only their boxes as those of tokens.
        denoising: Builds what makes queries of objects in training, ``(classes, dim)``; none if None.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``SigmoidDetections``.

    Source:
        Zhao et al. 2023, https://arxiv.org/abs/2304.08069.
    """

    loss: ClassVar[str] = "varifocal"
    undecayed: ClassVar[tuple[str, ...]] = ("first",)

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
        encoder: Callable[[Sequence[int], int], nn.Module] = HybridEncoder,
        mixer: MixerFactories = PositionedSelfAttention,
        cross: MixerFactory = DeformableAttention,
        feedforward: FeedForwardFactory = partial(MLP, hidden_dim=1024, activation=nn.ReLU),  # noqa: B008
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
        block: BlockFactory = PostNormBlock,
        learned_queries: bool = False,
        denoising: Callable[[int, int], ContrastiveDenoising] | None = ContrastiveDenoising,
    ) -> None:
        super().__init__(num_classes=num_classes, name="rt_detr")
        if min(queries, depth) < 1:
            raise UserError(f"queries {queries} and depth {depth} must be at least 1")
        info = maps_of(backbone)
        self.queries = queries
        self.backbone = backbone
        width = dim if encoder_dim is None else encoder_dim
        self.encoder = encoder([one["num_chs"] for one in info], width)
        self.projections = nn.ModuleList([ConvNorm(width, dim) for _ in info])
        self.selection = QuerySelection(dim, num_classes, queries, norm=norm)
        first = nn.Parameter(nn.init.xavier_uniform_(torch.empty(queries, dim)))
        self.first = first if learned_queries else None
        self.denoising = denoising(num_classes, dim) if denoising is not None else None
        by_level: Any = cross
        self.decoder = QueryDecoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            cross=partial(by_level, levels=len(info)),
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=False,
        )
        init_transformer_(self.decoder)
        self.query_position = nn.Sequential(
            nn.Linear(4, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)
        )
        self.class_heads = nn.ModuleList([nn.Linear(dim, num_classes) for _ in range(depth)])
        self.box_heads = nn.ModuleList([BoxHead(dim) for _ in range(depth)])
        # Every class is unlikely at first, and no block moves a box.
        for head in (self.selection.class_head, *self.class_heads):
            unlikely_(head, 1 / (num_classes + 1))
        for head in self.box_heads:
            head.stay_()  # pyright: ignore[reportCallIssue]

    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> SigmoidDetections:
        """Returns logits and boxes of every query."""
        return self._answer(images, sizes, None)

    def taught(
        self,
        images: Tensor,
        sizes: Tensor | Sequence[Sequence[int]] | None,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> SigmoidDetections:
        """Returns what it answers in training, with objects with noise among the queries."""
        return self._answer(images, sizes, (boxes, labels))

    def _answer(
        self,
        images: Tensor,
        sizes: Tensor | Sequence[Sequence[int]] | None,
        objects: tuple[Sequence[Tensor], Sequence[Tensor]] | None,
    ) -> SigmoidDetections:
        return by_size(images, sizes, lambda part, rows: self._found(part, rows, objects))

    def _found(
        self,
        images: Tensor,
        rows: list[int] | None,
        objects: tuple[Sequence[Tensor], Sequence[Tensor]] | None,
    ) -> SigmoidDetections:
        """Returns what is found in pictures of one size: these rows of the batch, or all."""
        memory, levels = self.encode(images)
        first = self.selection(memory, levels)
        tokens, starts = first.tokens.detach(), first.boxes.detach()
        if self.first is not None:
            tokens = self.first.to(tokens).expand_as(tokens)
        noisy = None
        if self.training and self.denoising is not None and objects is not None:
            rows = list(range(len(objects[0]))) if rows is None else rows
            own = [[every[row] for row in rows] for every in objects]
            noisy = self.denoising(own[0], own[1], self.queries)
        if noisy is not None:
            tokens = torch.cat([noisy.tokens.to(tokens), tokens], dim=1)
            starts = torch.cat([noisy.boxes.to(starts), starts], dim=1)
        mask = None if noisy is None else noisy.mask
        found = self._decoded(tokens, starts.sigmoid(), memory, levels, mask)
        if not self.training:
            logits, boxes = found[-1][:2]
            return SigmoidDetections(logits, boxes)
        denoised = ()
        if noisy is not None and rows is not None:
            known = noisy.tokens.shape[1]
            apart = tuple(tuple(part[:, :known] for part in one) for one in found)
            denoised = (Denoised(rows, apart, noisy.objects, noisy.groups),)
            found = tuple(tuple(part[:, known:] for part in one) for one in found)
        aux = ((first.logits, first.boxes.sigmoid()), *found[:-1])
        logits, boxes, *edges = found[-1]
        return SigmoidDetections(logits, boxes, aux, denoised, edges=tuple(edges))

    def encode(self, images: Tensor) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
        """Returns the tokens of all maps, one map after the other, and rows and columns of each."""
        maps = self.encoder(self.backbone(images))
        maps = [part(one) for part, one in zip(self.projections, maps, strict=True)]
        levels = tuple((one.shape[2], one.shape[3]) for one in maps)
        return torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1), levels

    def _decoded(
        self,
        x: Tensor,
        at: Tensor,
        memory: Tensor,
        levels: tuple[tuple[int, int], ...],
        mask: Tensor | None,
    ) -> Pairs:
        """Returns logits and boxes behind every block."""
        maps = Layout(levels=levels)
        found = []
        for place, block in enumerate(self.decoder.blocks):
            layout = Layout(
                embedding=self.query_position(at.to(x.dtype)),
                positions=rows_first(at),
            )
            x, _ = self.decoder.recomputed(block)(
                x, layout, context=memory, context_layout=maps, mask=mask
            )
            moved = self.box_heads[place].logits(x).float()  # pyright: ignore[reportCallIssue]
            box = (moved + logit(at)).sigmoid()
            if self.training or place == len(self.decoder.blocks) - 1:
                found.append((self.class_heads[place](x), box))
            at = box.detach()
        return tuple(found)

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """Returns the layers that compute logits and boxes of the last block."""
        return self.class_heads[-1], self.box_heads[-1]

    def new_classifier(self, num_classes: int) -> None:
        """Replaces all that knows the classes by new layers: of queries, of each block, of noisy objects."""
        weight = self.selection.class_head.weight
        dim = weight.shape[1]
        self.selection.class_head = nn.Linear(dim, num_classes).to(weight)
        self.class_heads = nn.ModuleList(
            [nn.Linear(dim, num_classes).to(weight) for _ in self.class_heads]
        )
        for head in (self.selection.class_head, *self.class_heads):
            unlikely_(head, 1 / (num_classes + 1))
        make = self.init_args["denoising"]
        self.denoising = None if make is None else make(num_classes, dim).to(weight)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.decoder.checkpointing = enable
        stack = getattr(self.encoder, "encoder", None)
        if isinstance(stack, Stack):
            stack.checkpointing = enable
