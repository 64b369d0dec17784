"""The vision transformer with a distillation token."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from headway.core.answers import answer
from headway.core.errors import UserError
from headway.core.heads import ClassificationHead
from headway.core.heads.classification import classifier
from headway.core.layout import Layout
from headway.core.passed import Passed
from headway.core.systems import system
from headway.vision.layers import ImageTokens
from headway.vision.models.classifier import ImageClassifier, Images
from headway.vision.models.vit import ViT, ViTOptions


@answer
class DistilledLogits(NamedTuple):
    """What a distilled model returns in training.

    Args:
        logits: From the class token, (B, K).
        distillation_logits: From the distillation token, (B, K).
    """

    logits: Tensor
    distillation_logits: Tensor


class Distilled(ImageClassifier):
    """What a model with class and distillation token in front adds to one with a class token alone.

    In training it returns both logits; in evaluation their mean. A subclass names it before the model whose
    tokens it reads, and makes ``distillation_classifier``.
    """

    distillation_classifier: nn.Module
    tokens: Any

    def make_classifier(self) -> None:
        """Makes the second classifier.

        Raises:
            UserError: If there is no class token or no distillation token.
        """
        if self.tokens.class_token is None or self.tokens.distillation_token is None:
            raise UserError(
                f"a {type(self).__name__} needs tokens with class_token and distillation_token"
            )
        self.distillation_classifier = classifier(self.num_features, self.num_classes)

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
        made = classifier(self.num_features, num_classes)
        self.distillation_classifier = made.to(weight.device, weight.dtype)


@system(
    id=14,
    name="DeiT",
    paper="https://arxiv.org/abs/2012.12877",
    claim="a distillation token with a head of its own learns from a teacher; evaluation averages both",
    test="packages/vision/tests/models/test_vit_distilled.py",
)
class DistilledViT(Distilled, ViT):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A ViT with a second head that reads a distillation token.

    In training it returns both logits; in evaluation their mean.

    Args:
        tokens: Builds the tokens in front; must have a class and a distillation token.
        **options: As of every ``ViT``, but for its ``head``.

    Source:
        Touvron et al. 2020, https://arxiv.org/abs/2012.12877, section 4.
    """

    def __init__(
        self,
        *,
        tokens: Callable[[int, Sequence[int]], ImageTokens] = partial(  # noqa: B008
            ImageTokens, distillation_token=True
        ),
        **options: Passed[ViTOptions],
    ) -> None:
        super().__init__(tokens=tokens, head=ClassificationHead, **options)
        self.make_classifier()
