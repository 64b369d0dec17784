"""The vision transformer with a distillation token."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from headway.core.answers import answer
from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import ClassificationHead
from headway.core.heads.classification import classifier
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks.stack import BlockFactory
from headway.core.systems import system
from headway.vision.layers import ImageTokens
from headway.vision.models.classifier import Images
from headway.vision.models.vit import ViT


@answer
class DistilledLogits(NamedTuple):
    """What a distilled model returns in training.

    Args:
        logits: From the class token, (B, K).
        distillation_logits: From the distillation token, (B, K).
    """

    logits: Tensor
    distillation_logits: Tensor


@system(
    id=14,
    name="DeiT",
    paper="https://arxiv.org/abs/2012.12877",
    claim="a distillation token with a head of its own learns from a teacher; evaluation averages both",
    test="packages/vision/tests/models/test_vit_distilled.py",
)
class DistilledViT(ViT):
    """A ViT with a second head that reads a distillation token.

    In training it returns both logits; in evaluation their mean.

    Args:
        image_size: As in ``ViT``, and so are all the others.
        num_classes: Classes.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        embedding: Builds the patch embedding.
        tokens: Builds the tokens in front; must have a class and a distillation token.
        mixer: Builds the token mixer.
        feedforward: Builds the feed-forward.
        norm: Builds the norms.
        block: Builds a block.
        final_norm: Whether a norm ends the encoder.
        layer_scale: Where a learned scale of each branch starts.
        drop_path: Rate of stochastic depth of the last block.

    Source:
        Touvron et al. 2020, https://arxiv.org/abs/2012.12877, section 4.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
        dim: int = 192,
        depth: int = 12,
        heads: int = 3,
        embedding: Callable[[int], nn.Module] = PatchEmbedding,
        tokens: Callable[[int, Sequence[int]], ImageTokens] = partial(  # noqa: B008
            ImageTokens, distillation_token=True
        ),
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        final_norm: bool = True,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            image_size=image_size,
            num_classes=num_classes,
            dim=dim,
            depth=depth,
            heads=heads,
            embedding=embedding,
            tokens=tokens,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=final_norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
            head=ClassificationHead,
        )
        if self.tokens.class_token is None or self.tokens.distillation_token is None:
            raise UserError("a DistilledViT needs tokens with class_token and distillation_token")
        self.distillation_classifier = classifier(dim, num_classes)

    def both(self, x: Tensor, layout: Layout | None) -> DistilledLogits:
        """Returns the logits of class and distillation token."""
        if layout is not None and layout.offsets is not None:
            second = x[0, layout.offsets[:-1] + 1]
        else:
            second = x[:, 1]
        return DistilledLogits(self.head(x, layout), self.distillation_classifier(second))

    def forward(self, images: Images) -> Tensor | DistilledLogits:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns both logits in training, their mean in evaluation."""
        both = self.both(*self.encode(images))
        return both if self.training else (both.logits + both.distillation_logits) / 2

    def forward_head(self, x: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Returns the mean of both logits, or with ``pre_logits`` the mean of what they read."""
        if pre_logits:
            return (x[:, 0] + x[:, 1]) / 2
        both = self.both(x, Layout(prefix=self.tokens.prefix))
        return (both.logits + both.distillation_logits) / 2

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns the layers that compute both logits."""
        return self.head.classifier, self.distillation_classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces both classifiers; each reads a token of its own."""
        super().reset_classifier(num_classes, global_pool)
        weight = self.tokens.class_token
        assert weight is not None
        self.distillation_classifier = classifier(self.embed_dim, num_classes).to(
            weight.device, weight.dtype
        )
