"""You only look at one sequence: a plain vision transformer that detects."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import LearnedPosition
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.vision.layers import BoxHead, ImageTokens
from headway.vision.models.by_size import by_size
from headway.vision.models.classifier import sides
from headway.vision.models.detections import Detections, SigmoidDetections
from headway.vision.models.detector import ObjectDetector


@system(
    id=None,
    name="YOLOS",
    paper="https://arxiv.org/abs/2106.00666",
    claim="detection tokens beside the patches of a plain ViT become objects, and positions of any picture "
    "are added between blocks, too; equal to transformers' with copied weights",
    test="packages/vision/tests/models/test_yolos.py",
)
class YOLOS(ObjectDetector):
    """A plain ViT whose class token has many fellows, each of which answers for one object.

    There is no decoder and no map: detection tokens and patches mix in every block. Pixels on the right and
    at the bottom that fill no patch are not seen, so pictures should have sides of whole patches, as
    ``pretrained_cfg`` asks for. Pictures of a batch may differ in size: those of one size go through the
    model together.

    Args:
        num_classes: Classes, without the one for no object.
        image_size: Side, or (height, width), in pixels that positions are made for; others are interpolated.
        dim: Channels of a token.
        depth: Blocks.
        heads: Heads of the mixers.
        queries: Detection tokens: the most objects that a picture may have.
        between: Whether positions are added behind every block but the last, too.
        embedding: Builds the patch embedding, ``(dim)``.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        drop_path: Rate of stochastic depth of the last block, to which it rises linearly from 0; or of each.

    Shape:
        images: (B, channels, H, W), padded on the right and at the bottom. sizes: (B, 2), height and width
        of each picture in pixels. Output: ``Detections``.

    Source:
        Fang et al. 2021, https://arxiv.org/abs/2106.00666.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int | Sequence[int] = (512, 864),
        dim: int = 192,
        depth: int = 12,
        heads: int = 3,
        queries: int = 100,
        between: bool = True,
        embedding: Callable[[int], PatchEmbedding] = partial(PatchEmbedding, remainder="drop"),  # noqa: B008
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        drop_path: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(num_classes=num_classes, name="yolos")
        if min(queries, depth) < 1:
            raise UserError(f"queries {queries} and depth {depth} must be at least 1")
        self.queries = queries
        self.embedding = embedding(dim)
        grid = self.embedding.grid(sides(image_size))
        position = partial(LearnedPosition, antialias=False)
        # Detection tokens stand where a ViT has its registers, in front of the patches.
        self.tokens = ImageTokens(dim, grid, registers=queries, position=position)
        after = range(depth - 1) if between else ()
        self.between = nn.ModuleList([position(dim, grid, self.tokens.prefix) for _ in after])
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            drop_path=drop_path,
        )
        init_transformer_(self.encoder)
        # Logits, too, are made by the three layers of a box.
        self.class_head = BoxHead(dim, out=num_classes + 1)
        self.box_head = BoxHead(dim)
        self.pretrained_cfg["multiple"] = max(self.embedding.patch)

    def forward(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> Detections:
        """Returns logits and boxes of every detection token."""
        found = by_size(images, sizes, self._found)
        return Detections(found.logits, found.boxes)

    def _found(self, images: Tensor, rows: list[int] | None) -> SigmoidDetections:
        """Returns what is found in pictures of one size."""
        x, layout = self.tokens(*self.embedding(images))
        last = len(self.encoder.blocks) - 1
        for place, block in enumerate(self.encoder.blocks):
            x, _ = self.encoder.recomputed(block)(x, layout)
            if place < last and len(self.between):
                x = x + self.between[place](layout, x.shape[1])
        front = self.tokens.prefix
        x = x[:, front - self.queries : front]
        x = self.encoder.norm(x) if self.encoder.norm is not None else x
        return SigmoidDetections(self.class_head.logits(x), self.box_head(x))

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """Returns the layers that compute logits and boxes."""
        return self.class_head, self.box_head

    def new_classifier(self, num_classes: int) -> None:
        """Replaces the last layer of the logits by a new one."""
        weight: torch.Tensor = self.class_head.layers[-1].weight  # pyright: ignore
        self.class_head.layers[-1] = nn.Linear(weight.shape[1], num_classes + 1).to(weight)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.encoder.checkpointing = enable
