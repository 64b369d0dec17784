"""The deformable detection transformer."""

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
from headway.core.mixers import DeformableAttention, PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import NormalizedSinusoidalPosition
from headway.core.stacks import Encoder, QueryDecoder
from headway.core.systems import system
from headway.vision.layers import BoxHead, MapProjections
from headway.vision.models.boxes import rows_first
from headway.vision.models.by_size import by_size
from headway.vision.models.class_prior import LIKELY, unlikely_
from headway.vision.models.denoising import logit
from headway.vision.models.detections import Pairs, Proposals, SigmoidDetections
from headway.vision.models.detector import ObjectDetector, maps_of
from headway.vision.models.proposals import ProposalSelection

# The logit of a side at first.
SIDE = -2.0


@system(
    id=None,
    name="Deformable DETR",
    paper="https://arxiv.org/abs/2010.04159",
    claim="encoder and decoder read a few learned positions of maps of several scales, boxes are refined "
    "from block to block, and tokens propose the first ones; equal to transformers' with copied weights",
    test="packages/vision/tests/models/test_deformable_detr.py",
)
class DeformableDETR(ObjectDetector):
    """A backbone, an encoder and a decoder of deformable attention over maps of several scales.

    Pictures of a batch may differ in size: those of one size go through the model together, so a picture
    gives in any batch what it gives alone.

    Args:
        num_classes: Classes.
        backbone: Gives a list of maps and says in ``feature_info`` how many channels they have (``ResNet``,
            ``Features``, ``TimmFeatures``).
        dim: Channels of a token.
        heads: Heads of the mixers.
        queries: How many objects a picture may have.
        levels: Maps; further ones are made of the backbone's last, and with 1 that one alone is read.
        encoder_depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder.
        refine: Whether each block moves the boxes of the one before and has layers of its own for them;
            otherwise each finds its boxes anew, by layers that all share.
        two_stage: Whether tokens propose the boxes that queries begin with; learned ones otherwise.
        own_classes: Whether each block has a layer of its own for the classes; as ``refine`` if None.
        mixer: Builds the mixer of queries, ``(dim, heads)``.
        attention: Builds the mixer of tokens, and that from tokens to queries, ``(dim, heads, levels=)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``SigmoidDetections``.

    Raises:
        UserError: If ``two_stage`` does not refine, or a number is below 1.

    Source:
        Zhu et al. 2021, https://arxiv.org/abs/2010.04159.
    """

    loss: ClassVar[str] = "focal"
    undecayed: ClassVar[tuple[str, ...]] = ("queries", "level_embedding")

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        heads: int = 8,
        queries: int = 300,
        levels: int = 4,
        encoder_depth: int = 6,
        decoder_depth: int = 6,
        refine: bool = True,
        two_stage: bool = False,
        own_classes: bool | None = None,
        mixer: MixerFactories = partial(PositionedSelfAttention, out_dropout=0.1),  # noqa: B008
        attention: MixerFactory = partial(DeformableAttention, out_dropout=0.1),  # noqa: B008
        feedforward: FeedForwardFactory = partial(  # noqa: B008
            MLP, hidden_dim=1024, activation=nn.ReLU, dropout=0.1
        ),
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
    ) -> None:
        super().__init__(num_classes=num_classes, name="deformable_detr")
        if min(queries, levels, encoder_depth, decoder_depth) < 1:
            raise UserError(
                f"queries {queries}, levels {levels}, encoder_depth {encoder_depth} and decoder_depth "
                f"{decoder_depth} must be at least 1"
            )
        if two_stage and not refine:
            raise UserError("two_stage=True needs refine=True: blocks refine what tokens propose")
        channels = [one["num_chs"] for one in maps_of(backbone)]
        self.backbone = backbone
        self.projections = MapProjections(channels, dim, levels=levels)
        self.position = NormalizedSinusoidalPosition(dim, centred=True)
        self.level_embedding = nn.Parameter(torch.randn(levels, dim))
        by_level: Any = attention
        shared: Any = {"feedforward": feedforward, "norm": norm, "block": PostNormBlock}
        read = partial(by_level, levels=levels)
        self.encoder = Encoder(dim, encoder_depth, heads, mixer=read, **shared, final_norm=False)
        self.decoder = QueryDecoder(
            dim, decoder_depth, heads, mixer=mixer, cross=read, **shared, final_norm=False
        )
        init_transformer_(self.encoder)
        init_transformer_(self.decoder)
        if two_stage:
            self.selection = ProposalSelection(dim, num_classes, queries, norm=norm)
            self.register_parameter("queries", None)
        else:
            self.selection = None
            self.queries = nn.Parameter(torch.randn(queries, 2 * dim))
            self.reference = nn.Linear(dim, 2)
            nn.init.xavier_uniform_(self.reference.weight)
            nn.init.zeros_(self.reference.bias)
        own = refine if own_classes is None else own_classes
        self.class_heads = nn.ModuleList(
            [nn.Linear(dim, num_classes) for _ in range(decoder_depth if own else 1)]
        )
        self.box_heads = nn.ModuleList(
            [BoxHead(dim) for _ in range(decoder_depth if refine else 1)]
        )
        self.refine = refine
        boxes = [*self.box_heads] + ([self.selection.box_head] if self.selection else [])
        for place, head in enumerate(boxes):
            head.stay_()  # pyright: ignore[reportCallIssue]
            if not two_stage and place == 0:
                nn.init.constant_(head.layers[-1].bias.data[2:], SIDE)  # pyright: ignore
        self._begin_classes()

    def _begin_classes(self) -> None:
        for head in self.class_heads:
            unlikely_(head, LIKELY)
        if self.selection is not None:
            unlikely_(self.selection.class_head, LIKELY)

    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> SigmoidDetections:
        """Returns logits and boxes of every query."""
        return by_size(images, sizes, self._found)

    def encode(self, images: Tensor) -> tuple[Tensor, Layout]:
        """Returns the encoded tokens of all maps, one map after the other, and their layout."""
        maps = self.projections(self.backbone(images))
        levels = tuple((one.shape[2], one.shape[3]) for one in maps)
        embeddings = []
        for level, grid in zip(self.level_embedding, levels, strict=True):
            place = self.position(Layout(grid=grid), grid[0] * grid[1]).to(level)
            embeddings.append(place + level)
        x = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
        layout = Layout(levels=levels)
        x, _ = self.encoder(x, layout.replace(embedding=torch.cat(embeddings, dim=1)))
        return x, layout

    def _found(self, images: Tensor, rows: list[int] | None) -> SigmoidDetections:
        """Returns what is found in pictures of one size: these rows of the batch, or all."""
        memory, layout = self.encode(images)
        proposals = ()
        if self.selection is not None:
            first = self.selection(memory, layout.levels)
            x, embedding, at = first.tokens, first.embedding, first.boxes
            if self.training:
                rows = list(range(len(images))) if rows is None else rows
                proposals = (Proposals(rows, first.every.logits, first.every.boxes.sigmoid()),)
        else:
            queries = self.queries[None].to(memory.dtype).expand(memory.shape[0], -1, -1)
            embedding, x = queries.chunk(2, dim=-1)
            at = self.reference(embedding).float().sigmoid()
        found = self._decoded(x, embedding, at, memory, layout)
        return SigmoidDetections(*found[-1], aux=found[:-1], proposals=proposals)

    def _decoded(
        self, x: Tensor, embedding: Tensor, at: Tensor, memory: Tensor, maps: Layout
    ) -> Pairs:
        """Returns logits and boxes behind every block."""
        found = []
        last = len(self.decoder.blocks) - 1
        for place, block in enumerate(self.decoder.blocks):
            layout = Layout(embedding=embedding, positions=rows_first(at))
            x, _ = self.decoder.recomputed(block)(x, layout, context=memory, context_layout=maps)
            wanted = self.training or place == last
            if not wanted and not self.refine:
                continue
            moved = _of(self.box_heads, place).logits(x).float()
            box = (moved + F.pad(logit(at), (0, 4 - at.shape[-1]))).sigmoid()
            if wanted:
                found.append((_of(self.class_heads, place)(x), box))
            if self.refine:
                at = box.detach()
        return tuple(found)

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """Returns the layers that compute logits and boxes of the last block."""
        return self.class_heads[-1], self.box_heads[-1]

    def new_classifier(self, num_classes: int) -> None:
        """Replaces all that knows the classes by new layers: of each block, and of what is proposed."""
        for place, head in enumerate(self.class_heads):
            weight: Any = head.weight
            self.class_heads[place] = nn.Linear(weight.shape[1], num_classes).to(weight)
        if self.selection is not None:
            weight = self.selection.class_head.weight
            self.selection.class_head = nn.Linear(weight.shape[1], num_classes).to(weight)
        self._begin_classes()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.encoder.checkpointing = self.decoder.checkpointing = enable


def _of(heads: nn.ModuleList, place: int) -> Any:
    """Returns the layer of a block, or the one that all share."""
    return heads[place if len(heads) > 1 else 0]
