"""EoMT: the last blocks of a plain ViT are the decoder."""

from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.layout import Layout
from headway.core.systems import system
from headway.vision.layers.box_head import BoxHead
from headway.vision.layers.upscale import Upscale
from headway.vision.models.mask_segmenter import MaskSegmenter
from headway.vision.models.masks import Masks
from headway.vision.models.vit import ViT

# How fast queries lose their masks once they begin to.
POWER = 0.9


@system(
    id=None,
    name="EoMT",
    paper="https://arxiv.org/abs/2503.19108",
    claim="a plain ViT segments: queries join its tokens for the last blocks, and the masks that they attend "
    "within are taken away during training; equal to transformers' with copied weights",
    test="packages/vision/tests/models/test_eomt.py",
)
class EoMT(MaskSegmenter):
    """A ViT whose last blocks see queries beside the patches; neither pixel decoder nor decoder.

    In training each query reads only the patches in the mask that it has so far, more and more of them
    everything, from the first of these blocks to the last; so in the end no mask is computed on the way.

    Args:
        num_classes: Classes, without the one for no object.
        backbone: The ViT; its head is not used.
        queries: The most masks that a picture may have.
        joint: Blocks that see queries, the last ones of the ViT.
        upscales: How many times the patches become twice as many on each side, for the masks.
        activation: Builds the activations of the heads.

    Shape:
        images: (B, channels, H, W). Output: ``Masks``.

    Raises:
        UserError: If the backbone is no ViT, has fewer blocks than ``joint``, or there is no query.

    Source:
        Kerssies et al. 2025, https://arxiv.org/abs/2503.19108.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("queries",)
    backbone: ViT

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        queries: int = 100,
        joint: int = 4,
        upscales: int = 2,
        activation: Callable[[], nn.Module] = nn.GELU,
    ) -> None:
        super().__init__(num_classes=num_classes, name="eomt")
        if not isinstance(backbone, ViT):
            raise UserError(f"EoMT needs a ViT as its backbone, got {type(backbone).__name__}")
        depth, dim = len(backbone.encoder.blocks), backbone.embed_dim
        if not 1 <= joint <= depth or queries < 1 or upscales < 0:
            raise UserError(
                f"joint {joint} must be 1 to the {depth} blocks of the ViT, queries {queries} at least 1, "
                f"and upscales {upscales} not negative"
            )
        self.backbone = backbone
        self.joint = joint
        self.queries = nn.Parameter(truncated_normal_(torch.empty(queries, dim)))
        self.upscale = nn.Sequential(
            *(Upscale(dim, activation=activation) for _ in range(upscales))
        )
        self.class_head = nn.Linear(dim, num_classes + 1)
        self.mask_head = BoxHead(dim, out=dim, activation=activation)
        # How likely a query reads within its mask, for each of the joint blocks.
        self.masked: Tensor
        self.register_buffer("masked", torch.ones(joint))
        self.likely = [1.0] * joint

    def prepare_step(self, progress: float) -> None:
        """Takes masks away, one joint block after the other: between a first and a last share of training."""
        for place in range(self.joint):
            begun = progress * (self.joint + 2) - (place + 1)
            self.masked[place] = (1 - min(1.0, max(0.0, begun))) ** POWER

    def forward(self, images: Tensor) -> Masks:
        """Returns class and mask of every query."""
        x, layout = self.backbone.embed(images)
        blocks = self.backbone.encoder.blocks
        first, number = len(blocks) - self.joint, len(self.queries)
        likely, found = self._likely(), []
        for place, block in enumerate(blocks):
            step, mask = place - first, None
            if step == 0:
                own = self.queries[None].to(x.dtype).expand(images.shape[0], -1, -1)
                x = torch.cat([own, x], dim=1)
                layout = layout.replace(prefix=layout.prefix + number)
            if step >= 0 and (self.training or likely[step] > 0):
                found.append(self._answer(x, layout))
                mask = self._mask(found[-1][1], layout, likely[step])
            x, layout = self.backbone.encoder.recomputed(block)(x, layout, mask=mask)
        last = self._answer(x, layout)
        return Masks(*last, aux=tuple(found) if self.training else ())

    def train(self, mode: bool = True) -> Self:
        """Chooses between training and inference."""
        self._likely()
        return super().train(mode)

    def _likely(self) -> list[float]:
        """Returns ``masked`` as numbers, of which the blocks that are run depend."""
        # What is exported has no values: then those that it had last count.
        if not self.masked.is_meta and not torch.compiler.is_exporting():
            self.likely = self.masked.tolist()
        return self.likely

    def _answer(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Returns class and mask of queries."""
        norm = self.backbone.encoder.norm
        x = norm(x) if norm is not None else x
        queries, patches = x[:, : len(self.queries)], x[:, layout.prefix :]
        assert layout.grid is not None
        pixels = self.upscale(patches.transpose(1, 2).unflatten(2, layout.grid))
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_head.logits(queries), pixels)
        return self.class_head(queries), masks

    def _mask(self, masks: Tensor, layout: Layout, likely: float) -> Tensor:
        """Returns what each token may read: a query the patches in its mask, and everything else.

        Shape:
            masks: logits, (B, Q, h, w). Output: (B, 1, N, N) bool.
        """
        size = layout.grid
        small = F.interpolate(masks.detach(), size=size, mode="bilinear", align_corners=False)
        inside = (small > 0).flatten(2)
        if likely < 1:
            free = torch.rand(inside.shape[:2], device=inside.device) > likely
            inside = inside | free[..., None]
        inside = F.pad(inside, (layout.prefix, 0), value=True)
        # Rows of all other tokens.
        rows = F.pad(inside, (0, 0, 0, inside.shape[2] - inside.shape[1]), value=True)
        return rows[:, None]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.backbone.encoder.checkpointing = enable
